//! How many lines of a mail server's log one core reads: 100,000 lines of mailings to one recipient each, as Postfix and
//! Exim write them, from the client that hands a message in until it has left the queue.

use std::hint::black_box;

use bounced::maillog::{Delivery, Format, Reader, ReaderSettings};
use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use jiff::tz::TimeZone;

fn main() {
    divan::main();
}

const LINES: usize = 100_000;
/// After the times in the lines.
const NOW: i64 = 1_795_800_000;

/// Repeats what the server writes of one message; QUEUE, NUMBER and TIME differ. Every tenth is refused.
fn log(time: &str, sent: &[&str], refused: &[&str]) -> Vec<String> {
    let message = |number: usize| {
        let lines = if number % 10 == 9 { refused } else { sent };
        let (minute, second) = (number / 60 / 60 % 60, number / 60 % 60);
        let time = time.replace("MM:SS", &format!("{minute:02}:{second:02}"));
        let of = move |line: &&str| {
            let line = line.replace("QUEUE", &format!("{number:06}")).replace("NUMBER", &number.to_string());
            format!("{time} {line}\n")
        };
        lines.iter().map(of).collect::<Vec<_>>()
    };
    (0..).flat_map(message).take(LINES).collect()
}

fn postfix() -> Vec<String> {
    const CAME: [&str; 4] = [
        "mx postfix/smtpd[21714]: 5BQUEUE8E0EA: client=localhost[127.0.0.1]",
        "mx postfix/cleanup[21716]: 5BQUEUE8E0EA: message-id=<spring.NUMBER@news.example.org>",
        "mx postfix/cleanup[21716]: 5BQUEUE8E0EA: info: header X-Campaign: spring from localhost[127.0.0.1]; \
         from=<bounce+NUMBER@news.example.org> to=<reader.NUMBER@customer.example> proto=ESMTP helo=<app.example.org>",
        "mx postfix/qmgr[21608]: 5BQUEUE8E0EA: from=<bounce+NUMBER@news.example.org>, size=34512, nrcpt=1 (queue active)",
    ];
    const REMOVED: &str = "mx postfix/qmgr[21608]: 5BQUEUE8E0EA: removed";
    let sent = "mx postfix/smtp[21717]: 5BQUEUE8E0EA: to=<reader.NUMBER@customer.example>, \
                relay=mx1.customer.example[192.0.2.1]:25, delay=0.53, delays=0.01/0.01/0.3/0.21, dsn=2.0.0, status=sent (250 \
                2.0.0 Ok: queued as ABC123DEF)";
    let refused = "mx postfix/smtp[21717]: 5BQUEUE8E0EA: to=<reader.NUMBER@customer.example>, \
                   relay=mx1.customer.example[192.0.2.1]:25, delay=0.53, delays=0.01/0.01/0.3/0.21, dsn=5.1.1, \
                   status=bounced (host mx1.customer.example[192.0.2.1] said: 550 5.1.1 <reader.NUMBER@customer.example>: \
                   Recipient address rejected: User unknown in virtual mailbox table (in reply to RCPT TO command))";
    let of = |last| [&CAME[..], &[last, REMOVED]].concat();
    log("Nov 26 16:MM:SS", &of(sent), &of(refused))
}

fn exim() -> Vec<String> {
    let came = "QUEUE-0001sn-0F <= bounce+NUMBER@news.example.org H=localhost (app.example.org) [127.0.0.1] P=esmtp S=34512 \
                id=spring.NUMBER@news.example.org";
    let sent = "QUEUE-0001sn-0F => reader.NUMBER@customer.example R=dnslookup T=remote_smtp H=mx1.customer.example \
                [192.0.2.1] X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256 CV=yes C=\"250 2.0.0 Ok: queued as \
                ABC123DEF\"";
    let refused = "QUEUE-0001sn-0F ** reader.NUMBER@customer.example R=dnslookup T=remote_smtp H=mx1.customer.example \
                   [192.0.2.1]: SMTP error from remote mail server after RCPT TO:<reader.NUMBER@customer.example>: 550 5.1.1 \
                   User unknown";
    let completed = "QUEUE-0001sn-0F Completed";
    log("2026-11-26 16:MM:SS", &[came, sent, completed], &[came, refused, completed])
}

fn read(bencher: Bencher, format: Format, lines: &[String]) {
    let octets: usize = lines.iter().map(String::len).sum();
    bencher.counter(ItemsCount::new(lines.len())).counter(BytesCount::new(octets)).bench(|| {
        let settings = ReaderSettings {
            submission_hosts: Vec::new(),
            campaign_headers: vec!["X-Campaign".to_owned()],
            zone: TimeZone::UTC,
        };
        let mut reader = Reader::new(format, settings);
        let mut deliveries: Vec<Delivery> = Vec::new();
        for line in lines {
            reader.line(black_box(line.as_bytes()), NOW, &mut deliveries);
        }
        assert!(deliveries.len() > LINES / 7, "only {} deliveries were read", deliveries.len());
        deliveries
    });
}

#[divan::bench]
fn lines_of_postfix(bencher: Bencher) {
    read(bencher, Format::Postfix, &postfix());
}

#[divan::bench]
fn lines_of_exim(bencher: Bencher) {
    read(bencher, Format::Exim, &exim());
}
