//! Logs of a real Postfix and a real Exim: `tests/logs/NAME.log` is read, and `NAME.txt` beside it says what became of
//! whom. `UPDATE=1 cargo test --test maillog` writes the texts anew: read the diff.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{collections::BTreeMap, fs, path::Path};

use bounced::{
    maillog::{Delivery, Format, LogSettings, Outcome, Queued, Reader, ReaderSettings},
    text::SubmissionHost,
};
use jiff::tz::TimeZone;
use proptest::prelude::*;

/// A day after the logs were written.
const NOW: i64 = 1_795_800_000;

fn settings() -> ReaderSettings {
    let headers = ["X-Campaign-Id", "X-Campaign"];
    ReaderSettings {
        submission_hosts: Vec::new(),
        campaign_headers: headers.map(str::to_owned).to_vec(),
        zone: TimeZone::UTC,
    }
}

fn read_with(reader: &mut Reader, log: &str) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for line in log.split_inclusive('\n') {
        reader.line(line.as_bytes(), NOW, &mut deliveries);
    }
    deliveries
}

fn read(format: Format, log: &str) -> Vec<Delivery> {
    read_with(&mut Reader::new(format, settings()), log)
}

/// One line for each delivery, with what there is.
fn stated(delivery: &Delivery) -> String {
    let Delivery { at, queue_id, recipient, outcome, outbound, ours, .. } = delivery;
    let at = jiff::Timestamp::from_second(*at).unwrap();
    let whose = if *ours { "ours" } else { "others'" };
    let way = if *outbound { "outbound" } else { "here" };
    let mut line = format!("{at} {queue_id} {} {outcome} {way} {whose}", recipient.given());
    for (name, value) in [
        ("final", &delivery.final_recipient),
        ("status", &delivery.status.map(|status| status.to_string())),
        ("remote", &delivery.remote_mta),
        ("from", &delivery.sender),
        ("message-id", &delivery.message_id),
        ("campaign", &delivery.campaign),
        ("text", &delivery.text),
    ] {
        if let Some(value) = value {
            line += &format!(" {name}={value:?}");
        }
    }
    line + "\n"
}

const LOGS: [(&str, Format); 3] =
    [("postfix", Format::Postfix), ("exim", Format::Exim), ("exim-every-field", Format::Exim)];

fn log(name: &str) -> String {
    fs::read_to_string(Path::new("tests/logs").join(name).with_extension("log")).unwrap()
}

#[test]
fn real_logs_read_as_stated() {
    for (name, format) in LOGS {
        let read: String = read(format, &log(name)).iter().map(stated).collect();
        let path = Path::new("tests/logs").join(name).with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &read).unwrap();
        }
        let expected = fs::read_to_string(&path).expect("run with UPDATE=1");
        for (read, expected) in read.lines().zip(expected.lines()) {
            assert_eq!(read, expected, "{name}");
        }
        assert_eq!(read.lines().count(), expected.lines().count(), "{name}");
    }
}

#[test]
fn a_reader_that_is_handed_what_another_one_knew_goes_on_where_it_was() {
    for (name, format) in LOGS {
        let log = log(name);
        let whole = read(format, &log);
        let lines: Vec<_> = log.split_inclusive('\n').collect();
        for every in [1, 7, 40] {
            let mut kept: BTreeMap<String, Queued> = BTreeMap::new();
            let mut parts = Vec::new();
            for part in lines.chunks(every) {
                let mut reader = Reader::new(format, settings());
                let as_text = |queued: &Queued| serde_json::from_str(&serde_json::to_string(queued).unwrap()).unwrap();
                reader.load(kept.iter().map(|(id, queued)| (id.clone(), as_text(queued))));
                parts.extend(read_with(&mut reader, &part.concat()));
                for (id, queued) in reader.take_changes() {
                    match queued {
                        Some(queued) => drop(kept.insert(id, queued)),
                        None => assert!(kept.remove(&id).is_some(), "{id} was never kept"),
                    }
                }
            }
            assert_eq!(parts, whole, "{name}, {every} lines at a time");
            // Exim's frozen reports stay in its queue.
            let is_left = |queued: &Queued| queued.sender.as_deref() != Some("") && format == Format::Postfix;
            assert!(!kept.values().any(is_left), "{kept:?}");
        }
    }
}

/// What one reader makes of lines of Postfix that follow each other.
fn postfix(lines: &[&str]) -> Vec<Delivery> {
    read(Format::Postfix, &lines.iter().map(|line| format!("Nov 26 16:41:21 mx {line}\n")).collect::<String>())
}

/// The same for Exim.
fn exim(lines: &[&str]) -> Vec<Delivery> {
    read(Format::Exim, &lines.iter().map(|line| format!("2026-11-26 16:41:21 {line}\n")).collect::<String>())
}

const SENT: &str = "postfix/smtp[3]: 4D5C98E0F1: to=<ann@one.example>, relay=mx.one.example[192.0.2.1]:25, delay=1, \
                    delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok)";

#[test]
fn who_has_sent_a_message_is_told_by_who_handed_it_in() {
    for (came, ours) in [
        ("postfix/pickup[1]: 4D5C98E0F1: uid=33 from=<www-data>", true),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=localhost[127.0.0.1]", true),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=localhost[::1]:4711", true),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=unknown[203.0.113.9]", false),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=localhost[203.0.113.9]", false),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=unknown[unknown]", false),
        (
            "postfix/submission/smtpd[1]: 4D5C98E0F1: client=x.example[203.0.113.9], sasl_method=PLAIN, sasl_username=ann",
            true,
        ),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=x.example[203.0.113.9], sasl_method=PLAIN, sasl_username=", false),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=app.example[198.51.100.77]", true),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=app.example[198.51.101.77]", false),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=Named.Example[192.0.2.8]", true),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=unknown[2001:db8:1::7]", true),
        ("postfix/smtpd[1]: 4D5C98E0F1: client=unknown[2001:db8:2::7]", false),
        // A filter hands it back, and says from whom it has it.
        (
            "postfix/smtpd[1]: 4D5C98E0F1: client=localhost[127.0.0.1], orig_queue_id=4AAAAAAAA1, orig_client=x.example[203.0.113.9]",
            false,
        ),
        (
            "postfix/smtpd[1]: 4D5C98E0F1: client=localhost[127.0.0.1], orig_queue_id=4AAAAAAAA1, orig_client=localhost[127.0.0.1]",
            true,
        ),
        (
            "postfix/smtpd[1]: 4D5C98E0F1: client=localhost[127.0.0.1], sasl_username=x, orig_client=x.example[203.0.113.9]",
            false,
        ),
        ("postfix/cleanup[1]: 4D5C98E0F1: message-id=<x@y>", false),
    ] {
        let hosts = ["198.51.100.0/24", "named.example", "2001:db8:1::/48", "203.0.113.10"];
        let hosts = serde_json::from_value::<Vec<SubmissionHost>>(hosts.to_vec().into()).unwrap();
        let mut reader = Reader::new(Format::Postfix, ReaderSettings { submission_hosts: hosts, ..settings() });
        let log: String = [came, SENT].iter().map(|line| format!("Nov 26 16:41:21 mx {line}\n")).collect();
        let read = read_with(&mut reader, &log);
        assert_eq!(read.iter().map(|delivery| delivery.ours).collect::<Vec<_>>(), [ours], "{came}");
    }
    // An automatic answer goes to whomever a stranger named.
    let null = "postfix/qmgr[2]: 4D5C98E0F1: from=<>, size=300, nrcpt=1 (queue active)";
    assert!(!postfix(&["postfix/pickup[1]: 4D5C98E0F1: uid=33 from=<>", null, SENT])[0].ours);
    // Of what was handed in before the log began nothing is known.
    assert!(!postfix(&[SENT])[0].ours);
}

#[test]
fn only_exims_own_words_say_who_handed_a_message_in() {
    for (came, ours) in [
        ("<= a@b.example U=www-data P=local S=300", true),
        ("<= a@b.example U=www-data P=local-esmtp S=300", true),
        ("<= a@b.example H=localhost [127.0.0.1] P=esmtp S=300", true),
        ("<= a@b.example H=localhost [127.0.0.1]:4711 I=[192.0.2.5]:25 P=esmtp S=300", true),
        ("<= a@b.example H=mail.example (helo.example) [203.0.113.9] P=esmtpsa X=TLS1.3 A=plain:ann S=300", true),
        ("<= a@b.example H=mail.example [203.0.113.9] P=esmtps X=TLS1.3 S=300", false),
        ("<= a@b.example H=mail.example [203.0.113.9]:4711 I=[127.0.0.1]:25 P=esmtp S=300", false),
        ("<= <> R=1xWckT-0001sr-12 U=Debian-exim P=local S=300", false),
        ("<= <> U=www-data P=local S=300", false),
        // What strangers write into their sender, HELO, ident, Message-ID or subject.
        ("<= \"x U=root P=local S=1 \"@b.example H=mail.example [203.0.113.9] P=esmtp S=300", false),
        ("<= \"x\\\" H=[127.0.0.1] P=esmtp S=1 \"@b.example H=mail.example [203.0.113.9] P=esmtp S=300", false),
        ("<= a@b.example H=([127.0.0.1]) [203.0.113.9] P=esmtp S=300", false),
        ("<= a@b.example H=(x) [127.0.0.1] P=esmtp (y) [203.0.113.9] P=esmtp S=300", false),
        ("<= a@b.example H=(x) [127.0.0.1] P=esmtp S=1 T=\"y (z) [203.0.113.9] P=esmtp S=300", false),
        ("<= a@b.example H=(x) [127.0.0.1]) [203.0.113.9] P=esmtp S=300", false),
        ("<= a@b.example H=mail.example [203.0.113.9] U=x P=esmtpa A=plain:ann P=esmtp S=300", false),
        ("<= a@b.example H=mail.example [203.0.113.9] P=esmtp S=300 id=x P=esmtpa A=plain:x", false),
        ("<= a@b.example H=mail.example [203.0.113.9] P=esmtp S=300 T=\"U=root P=local\"", false),
    ] {
        let delivered =
            "1xWckT-0001sn-0F => c@d.example R=dnslookup T=remote_smtp H=mx.d.example [192.0.2.1] C=\"250 Ok\"";
        let read = exim(&[&format!("1xWckT-0001sn-0F {came}"), delivered]);
        assert_eq!(read.iter().map(|delivery| delivery.ours).collect::<Vec<_>>(), [ours], "{came}");
    }
}

#[test]
fn every_form_of_a_line_is_read() {
    let came = "1xWckT-0001sn-0F <= a@b.example U=x P=local S=300 id=m@b.example";
    let sent = "1xWckT-0001sn-0F => c@d.example R=dnslookup T=remote_smtp H=mx.d.example [2001:db8::1]:25 C=\"250 Ok\"";
    let new = |line: &str| line.replace("1xWckT-0001sn-0F", "1rGpVy-000000005Fl-0001");
    for log in [
        format!("2026-11-26 16:41:21 {came}\n2026-11-26 16:41:21 {sent}"),
        format!("2026-11-26 16:41:21 {}\r\n2026-11-26 16:41:21 {}\r\n", new(came), new(sent)),
        format!("2026-11-26 16:41:21.123 +0000 [77] {came}\n2026-11-26 16:41:21.124 +0000 [78] {sent}"),
        format!("Nov 26 16:41:21 mx exim[77]: {came}\nNov 26 16:41:21 mx exim[77]: {sent}"),
        format!(
            "2026-11-26T16:41:21Z mx exim4[77]: 2026-11-26 17:00:00 {came}\nNov 26 16:41:21 mx exim4: 2026-11-26 17:00:00 {sent}"
        ),
    ] {
        let read = read(Format::Exim, &log);
        let [delivery] = &read[..] else { panic!("{log}: {read:?}") };
        assert_eq!((delivery.at, delivery.ours, delivery.outbound), (1_795_711_281, true, true), "{log}");
        assert_eq!(delivery.message_id.as_deref(), Some("m@b.example"), "{log}");
        assert_eq!(delivery.remote_mta.as_deref(), Some("mx.d.example"), "{log}");
    }
    for log in [
        format!("Nov 26 16:41:21 mx {SENT}"),
        format!("2026-11-26T16:41:21.123456+00:00 mx {SENT}\r\n"),
        format!("Nov 26 16:41:21 mx {}", SENT.replace("4D5C98E0F1", "4XKw3p1zXcz9vPz")),
        format!("Nov 26 16:41:21 mx {}", SENT.replace("postfix/smtp", "postfix-out/relay/smtp")),
    ] {
        let read = read(Format::Postfix, &log);
        let [delivery] = &read[..] else { panic!("{log}: {read:?}") };
        assert_eq!((delivery.at, delivery.outcome), (1_795_711_281, Outcome::Delivered), "{log}");
    }
    // Neither reads the other's.
    assert_eq!(read(Format::Postfix, &format!("2026-11-26 16:41:21 {came}\n2026-11-26 16:41:21 {sent}")), []);
    assert_eq!(exim(&[SENT]), []);
}

#[test]
fn a_long_answer_keeps_its_beginning() {
    let words = "x".repeat(40_000);
    let line =
        SENT.replace("status=sent (250 2.0.0 Ok)", &format!("status=bounced (host mx[192.0.2.1] said: 550 {words})"));
    let read = postfix(&[&line]);
    assert_eq!((read[0].outcome, read[0].recipient.given()), (Outcome::Failed, "ann@one.example"));
    let kept = read[0].text.as_deref().unwrap();
    assert!(kept.starts_with("host mx[192.0.2.1] said: 550 xxx") && kept.len() < 17_000, "{}", kept.len());
}

#[test]
fn a_log_is_in_one_place() {
    let settings = |text: &str| toml::from_str::<LogSettings>(text).map_err(|error| error.message().to_owned());
    for (text, described) in [
        ("format = 'postfix'\npath = '/var/log/mail.log'", "Postfix in /var/log/mail.log"),
        ("format = 'exim'\njournal = true", "Exim in the journal"),
        (
            "format = 'exim'\njournal = true\njournal_directory = '/var/log/journal/mx'",
            "Exim in the journal of /var/log/journal/mx",
        ),
        (
            "format = 'exim'\nstdin = true\nsubmission_hosts = ['app.example', '10.0.0.0/8', '::1']",
            "Exim on standard input",
        ),
    ] {
        let settings = settings(text).unwrap();
        assert_eq!((settings.describe().as_str(), settings.contradiction()), (described, None));
    }
    for text in [
        "format = 'exim'",
        "format = 'postfix'\npath = 'x'\njournal = true",
        "format = 'exim'\nstdin = true\npath = 'x'",
        "format = 'exim'\nstdin = true\njournal_directory = 'x'",
    ] {
        assert!(settings(text).unwrap().contradiction().is_some(), "{text}");
    }
    for text in ["path = 'x'", "format = 'qmail'\npath = 'x'", "format = 'exim'\npth = 'x'"] {
        assert!(settings(text).is_err(), "{text}");
    }
    for host in ["", "10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0", "a b", "[::1]", "app.example/8"] {
        let refused = settings(&format!("format = 'exim'\nstdin = true\nsubmission_hosts = ['{host}']"));
        assert!(refused.is_err_and(|error| error.contains("a network (192.0.2.0/24)")), "{host}");
    }
}

#[test]
fn what_a_filter_hands_back_is_counted_once_and_stays_the_strangers() {
    let first = "postfix/smtp[3]: 4AAAAAAAA1: to=<ann@one.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, \
                 delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued \
                 as 4D5C98E0F1)";
    for (client, ours) in [("x.example[203.0.113.9]", false), ("localhost[127.0.0.1]", true)] {
        let came = format!("postfix/smtpd[1]: 4AAAAAAAA1: client={client}");
        let lines = [
            &came,
            "postfix/cleanup[2]: 4AAAAAAAA1: message-id=<m@x.example>",
            "postfix/smtpd[4]: 4D5C98E0F1: client=localhost[127.0.0.1]",
            "postfix/cleanup[2]: 4D5C98E0F1: message-id=<m@x.example>",
            first,
            "postfix/qmgr[2]: 4AAAAAAAA1: removed",
            SENT,
            "postfix/qmgr[2]: 4D5C98E0F1: removed",
        ];
        let read = postfix(&lines);
        let read: Vec<_> = read.iter().map(|delivery| (delivery.outbound, delivery.ours)).collect();
        assert_eq!(read, [(false, ours), (true, ours)], "{client}");
        // It may be delivered before the filter has answered.
        let early = [lines[0], lines[1], lines[2], lines[3], SENT, first];
        let read: Vec<_> = postfix(&early).iter().map(|delivery| (delivery.outbound, delivery.ours)).collect();
        assert_eq!(read, [(true, ours), (false, ours)], "{client}");
    }
}

#[test]
fn what_a_stranger_sends_without_a_message_id_stays_his_behind_a_filter_that_says_nothing() {
    let to = |words: &str| SENT.replace("4D5C98E0F1", "4AAAAAAAA1").replace("250 2.0.0 Ok", words);
    let first = to("250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4D5C98E0F1");
    for (client, ours) in [("x.example[203.0.113.9]", false), ("localhost[127.0.0.1]", true)] {
        let came = format!("postfix/smtpd[1]: 4AAAAAAAA1: client={client}");
        let lines = [
            &came,
            "postfix/cleanup[2]: 4AAAAAAAA1: message-id=<>",
            "postfix/smtpd[4]: 4D5C98E0F1: client=localhost[127.0.0.1]",
            "postfix/cleanup[2]: 4D5C98E0F1: message-id=<20261126.4D5C98E0F1@mx.example>",
            &first,
            SENT,
        ];
        let read: Vec<_> = postfix(&lines).iter().map(|delivery| (delivery.outbound, delivery.ours)).collect();
        assert_eq!(read, [(false, ours), (true, ours)], "{client}");
    }
}

#[test]
fn a_line_that_exim_cut_for_syslog_is_read_as_a_whole() {
    let came = "1xWckT-0001sn-0F <= a@b.example U=x P=local S=300 id=m@b.example";
    let words = "x".repeat(1_500);
    let failed = format!(
        "1xWckT-0001sn-0F ** c@d.example R=dnslookup T=remote_smtp H=mx.d.example [192.0.2.1]: SMTP error from remote mail \
         server after RCPT TO:<c@d.example>: 550 5.1.1 {words} no such user"
    );
    let (first, rest) = failed.split_at(870);
    let (second, third) = rest.split_at(800);
    let lines = [
        format!("mx exim[7]: 2026-11-26 16:41:21 {came}"),
        format!("mx exim[7]: [1/3] 2026-11-26 16:41:21 {first}"),
        "mx exim[8]: 2026-11-26 16:41:21 1xWckT-0001sn-0G Completed".to_owned(),
        format!("mx exim[7]: [2/3] {second}"),
        format!("mx exim[7]: [3/3] {third}"),
    ];
    let stamped = |lines: &[String]| lines.iter().map(|line| format!("Nov 26 16:41:21 {line}\n")).collect::<String>();
    let mut reader = Reader::new(Format::Exim, settings());
    let read = read_with(&mut reader, &stamped(&lines));
    let [delivery] = &read[..] else { panic!("{read:?}") };
    assert_eq!((delivery.outcome, delivery.recipient.given(), delivery.ours), (Outcome::Failed, "c@d.example", true));
    let text = delivery.text.as_deref().unwrap();
    assert!(text.contains("550 5.1.1 xxx") && text.ends_with("x no such user"), "{text}");
    assert_eq!((reader.unread(), reader.understood()), (0, 3));
    // The next reader has what the last one had of it.
    let (first, second) = lines.split_at(4);
    let mut reader = Reader::new(Format::Exim, settings());
    assert_eq!(read_with(&mut reader, &stamped(first)), []);
    let mut next = Reader::new(Format::Exim, settings());
    next.load(reader.take_changes().into_iter().filter_map(|(id, queued)| Some((id, queued?))));
    assert_eq!(read_with(&mut next, &stamped(second)), read);
    // A half that nobody can read is counted.
    let mut reader = Reader::new(Format::Exim, settings());
    assert_eq!(read_with(&mut reader, &stamped(&lines[3..])), []);
    assert_eq!(reader.unread(), 2);
}

#[test]
fn more_recipients_than_are_remembered_are_told_once() {
    let mut reader = Reader::new(Format::Postfix, settings());
    let stamped = |line: &str| format!("Nov 26 16:41:21 mx {line}\n");
    let deferred = |n: usize| {
        stamped(&SENT.replace("ann@", &format!("ann{n}@")).replace("status=sent (250", "status=deferred (452"))
    };
    for _attempt in 0..2 {
        for n in 0..10_003 {
            read_with(&mut reader, &deferred(n));
        }
    }
    let told = reader.take_unremembered();
    assert!(matches!(&told[..], [told] if told.contains("10000 recipients of message 4D5C98E0F1 wait")), "{told:?}");
    let expired = stamped("postfix/qmgr[5]: 4D5C98E0F1: from=<news@ours.example>, status=expired, returned to sender");
    assert_eq!(read_with(&mut reader, &expired).len(), 10_000);
    // Of messages that are forgotten it is told as well.
    for message in 0..25 {
        for n in 0..5_000 {
            read_with(&mut reader, &deferred(n).replace("4D5C98E0F1", &format!("4D5C98E0{message:02}")));
        }
    }
    let told = reader.take_unremembered();
    assert!(matches!(&told[..], [told] if told.contains(" of 30000 recipients of the oldest")), "{told:?}");
    assert_eq!(reader.take_unremembered(), Vec::<String>::new());
}

#[test]
fn what_could_be_made_up_inside_an_address_is_left_out() {
    // `info_log_addr_form = internal`
    let made_up = "postfix/smtp[3]: 4D5C98E0F1: to=<ann@one.example>, relay=mx.one.example[192.0.2.1]:25, delay=1, \
                   delays=0/0/0/1, dsn=5.1.1, status=bounced (host mx said: 550 5.1.1 x@evil.example>, \
                   relay=mx.evil.example[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok))";
    assert_eq!(postfix(&[made_up]), []);
    for line in [
        r#"** ann@one.example <"ann"@one.example> R=a T=b H=mx [192.0.2.1]: 550 5.1.1 x@evil.example <"ann@one.example <\"ann\"@one.example> R=a T=b H=mx [192.0.2.1]: 550 5.1.1 x"@evil.example> R=dnslookup: all failed"#,
        r#"** ann@one.example R=a T=b H=mx [192.0.2.1]: 550 5.1.1 x@evil.example <"ann@one.example R=a T=b H=mx [192.0.2.1]: 550 5.1.1 y"@evil.example> R=dnslookup: all failed"#,
        r#"** bob@evil.example R=a T=b H=mx [192.0.2.1]: 550 5.1.1 <"ann"@one.example> R=a unknown"#,
        r#"** ann@one.example <"bob"@evil.example> R=a T=b H=mx [192.0.2.1]: 550 5.1.1 unknown"#,
    ] {
        assert_eq!(exim(&[&format!("1xWckT-0001sn-0F {line}")]), [], "{line}");
    }
}

#[test]
fn a_name_that_comes_again_is_another_message() {
    let first =
        ["postfix/pickup[1]: 4D5C98E0F1: uid=33 from=<x>", "postfix/cleanup[1]: 4D5C98E0F1: message-id=<first@x>"];
    let then = "postfix/smtpd[1]: 4D5C98E0F1: client=x.example[203.0.113.9]";
    let read = postfix(&[first[0], first[1], SENT, then, SENT]);
    let read: Vec<_> = read.iter().map(|delivery| (delivery.message_id.as_deref(), delivery.ours)).collect();
    assert_eq!(read, [(Some("first@x"), true), (None, false)]);
}

#[test]
fn whoever_keeps_a_message_hears_that_it_has_left_although_its_name_came_again() {
    let mut reader = Reader::new(Format::Postfix, settings());
    let mut changes = |lines: &[&str]| -> Vec<bool> {
        let log: String = lines.iter().map(|line| format!("Nov 26 16:41:21 mx {line}\n")).collect();
        read_with(&mut reader, &log);
        reader.take_changes().into_iter().map(|(_, queued)| queued.is_some()).collect()
    };
    let came = "postfix/pickup[1]: 4D5C98E0F1: uid=33 from=<x>";
    let left = "postfix/qmgr[5]: 4D5C98E0F1: removed";
    assert!(changes(&[came, left]).is_empty());
    assert_eq!(changes(&[came]), [true]);
    assert_eq!(changes(&[left, came, left]), [false]);
    assert!(changes(&[came, left]).is_empty());
}

#[test]
fn the_campaign_header_that_stands_first_in_the_settings_counts() {
    let header = |line: &str| format!("postfix/cleanup[1]: 4D5C98E0F1: info: header {line} from local; from=<a@b>");
    for (headers, campaign) in [
        (["X-Campaign: one", "x-campaign-id: two"], Some("two")),
        (["X-Campaign-Id: two", "X-Campaign: one"], Some("two")),
        (["X-Campaign-Id:  ", "X-Campaign: one"], Some("one")),
        (["X-Campaign: one", "X-Campaign: other"], Some("one")),
        (["X-Other: one", "Subject: other"], None),
    ] {
        let read = postfix(&[&header(headers[0]), &header(headers[1]), SENT]);
        assert_eq!(read[0].campaign.as_deref(), campaign, "{headers:?}");
    }
}

#[test]
fn other_lines_and_probes_say_nothing_of_a_delivery() {
    let probe = SENT.replace("status=sent", "status=deliverable");
    for line in [
        &probe,
        "postfix/smtp[3]: 4D5C98E0F1: to=<ann@one.example>, relay=none",
        "postfix/smtp[3]: connect to mx.one.example[192.0.2.1]:25: Connection refused",
        "postfix/smtpd[3]: NOQUEUE: reject: RCPT from x[203.0.113.9]: 550 5.1.1 <ann@one.example>: no; to=<ann@one.example>",
        "dovecot: lmtp(ann): 4D5C98E0F1: to=<ann@one.example>, relay=x, dsn=5.1.1, status=bounced (no)",
        "opendkim[5]: 4D5C98E0F1: DKIM-Signature field added",
        &SENT.replace("postfix/smtp", "other/smtp").replace("250 2.0.0 Ok", "queued by postfix/smtp"),
        "sshd[1]: Invalid user postfix/smtp[3]: 4D5C98E0F1: to=<ann@one.example>, relay=x, dsn=5.1.1, status=bounced (no)",
    ] {
        assert_eq!(postfix(&[line]), [], "{line}");
    }
    let mut reader = Reader::new(Format::Postfix, settings());
    assert_eq!(
        read_with(&mut reader, &format!("Nov 26 16:41:21 mx {SENT}\n\n\0\0\nNov 26 16:41:21 mx opendkim[5]: x\n"))
            .len(),
        1
    );
    assert_eq!(reader.unread(), 1);
}

#[test]
fn whoever_waits_when_a_message_expires_has_failed() {
    let deferred = |to: &str, words: &str| {
        format!(
            "postfix/smtp[3]: 4D5C98E0F1: to=<{to}>, relay=mx.one.example[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=4.2.2, \
             status=deferred (host mx.one.example[192.0.2.1] said: 452 4.2.2 {words} (in reply to RCPT TO command))"
        )
    };
    let lines = [
        deferred("ann@one.example", "first"),
        deferred("Bob@one.example", "full"),
        // An alias that leads to two.
        deferred("carl@one.example>, orig_to=<team@ours.example", "full"),
        deferred("dora@one.example>, orig_to=<team@ours.example", "full"),
        deferred("ann@one.example", "then"),
        SENT.replace("<ann@one.example>", "<bob@one.example>"),
        SENT.replace("<ann@one.example>", "<dora@one.example>, orig_to=<team@ours.example>"),
        "postfix/error[4]: 4D5C98E0F1: to=<eve@two.example>, relay=none, delay=1, delays=0/0/0/1, dsn=4.4.1, \
         status=deferred (delivery temporarily suspended: connect to mx.two.example[192.0.2.2]:25: Connection refused)"
            .to_owned(),
        "postfix/qmgr[5]: 4D5C98E0F1: from=<news@ours.example>, status=expired, returned to sender".to_owned(),
        "postfix/qmgr[5]: 4D5C98E0F1: from=<news@ours.example>, status=expired, returned to sender".to_owned(),
    ];
    let read = postfix(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let failed: Vec<_> = read
        .iter()
        .filter(|delivery| delivery.outcome == Outcome::Failed)
        .map(|delivery| {
            let text = delivery.text.as_deref().unwrap_or_default();
            let words = text.split(" (in reply").next().unwrap_or_default().rsplit(' ').next().unwrap_or_default();
            (delivery.recipient.given(), delivery.final_recipient.as_deref(), delivery.remote_mta.as_deref(), words)
        })
        .collect();
    let expected = [
        ("ann@one.example", None, Some("mx.one.example"), "then"),
        ("eve@two.example", None, Some("mx.two.example"), "refused"),
        ("team@ours.example", Some("carl@one.example"), Some("mx.one.example"), "full"),
    ];
    assert_eq!(failed, expected);
}

#[test]
fn the_oldest_are_forgotten_first() {
    let mut reader = Reader::new(Format::Postfix, settings());
    for number in 0..200_010 {
        let line = format!("Nov 26 16:41:21 mx postfix/pickup[1]: {number:010X}: uid=33 from=<x>");
        reader.line(line.as_bytes(), NOW, &mut Vec::new());
    }
    let kept: BTreeMap<_, _> = reader.take_changes().into_iter().collect();
    assert_eq!(kept.len(), 200_000);
    assert_eq!(kept.keys().next().map(String::as_str), Some("000000000A"));
    // Whoever keeps them hears of those that are forgotten later.
    reader.line(b"Nov 26 16:41:21 mx postfix/pickup[1]: FFFFFFFFFF: uid=33 from=<x>", NOW, &mut Vec::new());
    let changes: BTreeMap<_, _> = reader.take_changes().into_iter().collect();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes["000000000A"], None);
}

proptest! {
    #[test]
    fn no_line_is_too_much(line in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, cut in 0usize..400) {
        for (name, format) in LOGS {
            let mut reader = Reader::new(format, settings());
            reader.line(&line, NOW, &mut Vec::new());
            // Within a real one, and a part of one.
            let log = log(name);
            let real = log.lines().nth(at % log.lines().count()).unwrap().as_bytes();
            let cut = cut.min(real.len());
            let mixed = [&real[..cut], &line, &real[cut..]].concat();
            for line in [&mixed, &real[..cut], &real[cut..]] {
                reader.line(line, NOW, &mut Vec::new());
            }
        }
    }

    #[test]
    fn whatever_is_written_into_an_address_of_postfix_is_its_own(
        words in proptest::collection::vec(proptest::sample::select(&[
            ">", ", ", "relay=none", "orig_to=<", "status=bounced (", "dsn=5.1.1", "\\\"", "\\\\", "<", " ", "x", "@",
        ][..]), 0..12),
    ) {
        let address = format!("\"{}\"@one.example", words.concat());
        let line = format!(
            "Nov 26 16:41:21 mx postfix/smtp[3]: 4D5C98E0F1: to=<{address}>, relay=mx.one.example[192.0.2.1]:25, delay=1, \
             delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok)"
        );
        let read = read(Format::Postfix, &line);
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(read[0].recipient.given(), address.as_str());
        prop_assert_eq!(read[0].outcome, Outcome::Delivered);
    }
}
