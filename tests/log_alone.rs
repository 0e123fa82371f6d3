//! A mail log, and no mailbox: the real binary over a file.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    time::Duration,
};

use support::{
    daemon::Installation,
    database::{count, rows},
    until,
};

const SOON: Duration = Duration::from_secs(30);

struct Place {
    dir: tempfile::TempDir,
    bounced: Installation,
}

impl Place {
    /// With whatever else the configuration says.
    fn new(format: &str, more: &str) -> Self {
        let dir = support::directory();
        let log = dir.path().join("mail.log");
        fs::write(&log, "").unwrap();
        let table = format!("[mail_log.mx]\nformat = \"{format}\"\npath = \"{}\"\n{more}", log.display());
        let bounced = Installation::new(dir.path(), &table);
        Self { dir, bounced }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("mail.log")
    }

    /// Lines as syslog writes them, now.
    fn write(&self, lines: &[&str]) {
        let at = jiff::Timestamp::now();
        let text: String = lines.iter().map(|line| format!("{at} mx {line}\n")).collect();
        File::options().append(true).open(self.log()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    async fn count(&self, query: &'static str) -> i64 {
        count(&self.bounced.database(), query).await
    }

    /// So many lines are read.
    async fn read(&self, lines: i64) {
        until("the lines are read", SOON, async || {
            (self.count("SELECT lines FROM mail_log").await == lines).then_some(())
        })
        .await;
    }
}

fn became(daemon: &str, id: &str, to: &str, said: &str) -> String {
    format!(
        "postfix/{daemon}[3]: {id}: to=<{to}>, relay=mx.one.example[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn={said})"
    )
}

const SENT: &str = "2.0.0, status=sent (250 2.0.0 Ok";
const REFUSED: &str = "5.1.1, status=bounced (host mx.one.example[192.0.2.1] said: 550 5.1.1 User unknown";
const LATER: &str = "4.2.2, status=deferred (host mx.one.example[192.0.2.1] said: 452 4.2.2 Mailbox full";

#[tokio::test(flavor = "multi_thread")]
async fn only_what_our_own_programs_sent_to_other_servers_counts_and_each_message_once() {
    let place = Place::new("postfix", "");
    let lines = [
        "postfix/pickup[1]: 4AAAAAAAA1: uid=33 from=<news>",
        "postfix/cleanup[1]: 4AAAAAAAA1: message-id=<1@news.example>",
        &became("smtp", "4AAAAAAAA1", "ann@one.example", SENT),
        // Into a mailbox, a program, by a filter's protocol.
        &became("virtual", "4AAAAAAAA1", "here@one.example", SENT),
        &became("lmtp", "4AAAAAAAA1", "there@one.example", REFUSED),
        // Put off three times, and then taken.
        &became("smtp", "4AAAAAAAA1", "bob@one.example", LATER),
        &became("smtp", "4AAAAAAAA1", "bob@one.example", LATER),
        &became("smtp", "4AAAAAAAA1", "bob@one.example", SENT),
        // A stranger's, sent on by an alias.
        "postfix/smtpd[1]: 4AAAAAAAA2: client=x.example[203.0.113.9]",
        &became("smtp", "4AAAAAAAA2", "carl@one.example", REFUSED),
        &became("smtp", "4AAAAAAAA2", "dora@one.example", SENT),
        // Without a Message-ID nobody can tell one attempt from the next.
        "postfix/pickup[1]: 4AAAAAAAA3: uid=33 from=<news>",
        &became("smtp", "4AAAAAAAA3", "eve@one.example", LATER),
        &became("smtp", "4AAAAAAAA3", "eve@one.example", LATER),
        &became("smtp", "4AAAAAAAA3", "eve@one.example", REFUSED),
        // Two who are refused in the same words.
        "postfix/pickup[1]: 4AAAAAAAA5: uid=33 from=<news>",
        "postfix/cleanup[1]: 4AAAAAAAA5: message-id=<5@news.example>",
        &became("smtp", "4AAAAAAAA5", "gus@one.example", REFUSED),
        &became("smtp", "4AAAAAAAA5", "hal@one.example", REFUSED),
        // Taken, and another mail is refused a moment later.
        "postfix/pickup[1]: 4AAAAAAAA4: uid=33 from=<news>",
        "postfix/cleanup[1]: 4AAAAAAAA4: message-id=<4@news.example>",
        &became("smtp", "4AAAAAAAA4", "ann@one.example", REFUSED),
    ];
    place.write(&lines);
    let daemon = place.bounced.run();
    place.read(lines.len() as i64).await;
    for (query, expected) in [
        // ann twice, bob, eve, gus, hal
        ("SELECT sum(sent) FROM sent_by_day", 6),
        ("SELECT sum(delivered) FROM sent_by_day", 2),
        ("SELECT count(*) FROM sent WHERE recipient <> zeroblob(16)", 5),
        ("SELECT count(*) FROM bounce", 4),
        ("SELECT count(*) FROM bounce WHERE address IN ('ann@one.example', 'eve@one.example') AND class = 'hard'", 2),
        ("SELECT count(*) FROM suppression", 4),
        ("SELECT skipped FROM mail_log", 0),
    ] {
        assert_eq!(place.count(query).await, expected, "{query}");
    }
    assert!(daemon.terminate().await.success());
    // What was read is not read again.
    place.write(&[&became("smtp", "4AAAAAAAA4", "fay@one.example", SENT)]);
    let daemon = place.bounced.run();
    place.read(lines.len() as i64 + 1).await;
    assert_eq!(place.count("SELECT sum(sent) FROM sent_by_day").await, 7);
    let known = place.count("SELECT count(*) FROM sent WHERE recipient <> zeroblob(16)").await;
    assert_eq!(known, 6, "its Message-ID was remembered");
    assert!(daemon.terminate().await.success());
    let told = place.bounced.log();
    assert!(told.contains("from its start") && told.contains("behind octet "), "{told}");
}

#[test]
fn check_says_how_much_of_a_log_is_understood_and_refuses_the_other_servers() {
    let check = |place: &Place| {
        let checked = place.bounced.command(&["check", "--connect"]).output().unwrap();
        let text = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
        (checked.status.code(), text)
    };
    let place = Place::new("postfix", "");
    let (code, text) = check(&place);
    assert!(code == Some(0) && text.contains("mx: 0 of its last 0 lines"), "{text}");
    let (sent, other) = (became("smtp", "4AAAAAAAA1", "ann@one.example", SENT), "dovecot: imap(ann): logged out");
    place.write(&[&sent, other, &sent]);
    let (code, text) = check(&place);
    assert!(code == Some(0) && text.contains("mx: 2 of its last 3 lines say something of a message"), "{text}");
    place.write(&[other; 300]);
    let (code, text) = check(&place);
    assert!(code == Some(77) && text.contains("FAILED          mx\n"), "{text}");
    assert!(
        text.contains("none of the last 200 lines of Postfix in") && text.contains("is `format` the server"),
        "{text}"
    );
    fs::remove_file(place.log()).unwrap();
    let (code, text) = check(&place);
    assert!(code == Some(69) && text.contains("mail.log can't be read: No such file"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_refuses_does_not_stop_a_log_from_being_read() {
    let place = Place::new("postfix", "[maildir.gone]\npath = \"/nowhere/at/all\"\n");
    place.write(&[
        "postfix/pickup[1]: 4AAAAAAAA1: uid=33 from=<news>",
        &became("smtp", "4AAAAAAAA1", "ann@one.example", SENT),
    ]);
    let mut daemon = place.bounced.run();
    place.read(2).await;
    until("the refusal is told", SOON, async || place.bounced.log().contains("/nowhere/at/all").then_some(())).await;
    place.write(&[&became("smtp", "4AAAAAAAA1", "bob@one.example", SENT)]);
    place.read(3).await;
    assert!(daemon.is_running());
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_forgotten_while_the_log_is_followed_is_not_written_down_again() {
    let place = Place::new("postfix", "");
    place.write(&[
        "postfix/pickup[1]: 4AAAAAAAA1: uid=33 from=<news>",
        "postfix/cleanup[1]: 4AAAAAAAA1: message-id=<1@news.example>",
        &became("smtp", "4AAAAAAAA1", "Ann@one.example", LATER),
        &became("smtp", "4AAAAAAAA1", "bob@one.example", LATER),
    ]);
    let daemon = place.bounced.run();
    place.read(4).await;
    let naming = |who: &str| {
        let files = fs::read_dir(place.bounced.config().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let names = |file: &PathBuf| {
            let octets = fs::read(file).unwrap_or_default().to_ascii_lowercase();
            !file.ends_with("log") && octets.windows(who.len()).any(|window| window == who.as_bytes())
        };
        files.filter(names).collect::<Vec<_>>()
    };
    assert!(!naming("ann@one.example").is_empty());
    let forgotten = place.bounced.command(&["forget", "ann@one.example"]).output().unwrap();
    assert!(forgotten.status.success(), "{forgotten:?}");
    assert_eq!(naming("ann@one.example"), Vec::<PathBuf>::new());
    // The daemon knows him still, and keeps what it knows of the message anew.
    place.write(&[&became("smtp", "4AAAAAAAA1", "carl@one.example", LATER)]);
    place.read(5).await;
    assert_eq!(naming("ann@one.example"), Vec::<PathBuf>::new());
    assert!(!naming("carl@one.example").is_empty());
    place.write(&["postfix/qmgr[5]: 4AAAAAAAA1: from=<news@ours.example>, status=expired, returned to sender"]);
    place.read(6).await;
    assert!(daemon.terminate().await.success());
    let failed: Vec<(Option<String>,)> =
        rows(&place.bounced.database(), "SELECT address FROM bounce ORDER BY address").await;
    let expected = [None, Some("bob@one.example"), Some("carl@one.example")].map(|who| (who.map(str::to_owned),));
    assert_eq!(failed, expected);
    assert_eq!(naming("ann@one.example"), Vec::<PathBuf>::new());
}
