//! What is erased is gone: the real binary over a Maildir, and every octet of its files.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, SystemTime},
};

use support::{
    daemon::Installation,
    database::{count, rows},
    until,
};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);

struct Place {
    dir: TempDir,
    installation: Installation,
}

impl Place {
    /// With a Maildir, and whatever else the configuration says.
    fn new() -> Self {
        let dir = support::directory();
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(dir.path().join("box").join(part)).unwrap();
        }
        let mailbox = format!("[maildir.box]\npath = \"{}\"\npoll = \"50ms\"\n", dir.path().join("box").display());
        let installation = Installation::new(dir.path(), &mailbox);
        Self { dir, installation }
    }

    fn configure_also(&self, text: &str) {
        let before = fs::read_to_string(self.installation.config()).unwrap();
        self.installation.configure(&format!("{before}{text}"));
    }

    /// A mail that was received so many days ago.
    fn deliver(&self, key: &str, days: u32, mail: &str) {
        let (made, place) = (self.dir.path().join("box/tmp").join(key), self.dir.path().join("box/new").join(key));
        fs::write(&made, mail).unwrap();
        File::options().write(true).open(&made).unwrap().set_modified(SystemTime::now() - DAY * days).unwrap();
        fs::rename(made, place).unwrap();
    }

    fn database(&self) -> PathBuf {
        self.installation.database()
    }

    async fn recorded(&self, count_of: &'static str, number: i64) {
        until(count_of, LONG, async || (count(&self.database(), count_of).await == number).then_some(())).await;
    }

    /// The mailbox knows what became of all mails.
    async fn settled(&self) {
        self.recorded("SELECT count(*) FROM unsettled", 0).await;
    }

    fn run(&self, args: &[&str]) -> Output {
        self.installation.command(args).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The files, but for the log and the configuration, that name somebody.
    fn naming(&self, who: &str) -> Vec<String> {
        let directory = self.installation.config();
        let mut found = Vec::new();
        for entry in fs::read_dir(directory.parent().unwrap()).unwrap() {
            let (path, name) = entry.map(|e| (e.path(), e.file_name().into_string().unwrap())).unwrap();
            // Gone meanwhile: that names nobody.
            let octets = fs::read(path).unwrap_or_default().to_ascii_lowercase();
            if !["log", "bounced.toml"].contains(&name.as_str()) && contains(&octets, who) {
                found.push(name);
            }
        }
        found.sort();
        found
    }
}

fn contains(octets: &[u8], who: &str) -> bool {
    octets.windows(who.len()).any(|window| window == who.as_bytes())
}

fn bounce(id: &str, recipient: &str, answer: &str) -> String {
    let status = answer.split(' ').nth(1).unwrap();
    format!(
        "From: MAILER-DAEMON@mx.example.org\nTo: bounces@lists.example.com\nSubject: Undelivered Mail\n\
         Message-ID: <{id}@mx.example.org>\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\nContent-Type: text/plain\n\nSorry, {recipient} could not be reached.\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n\
         Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\n\
         Diagnostic-Code: smtp; {answer}\n\
         --b\nContent-Type: message/rfc822\n\nFrom: news@lists.example.com\nTo: {recipient}\n\
         Message-ID: <news+{id}@lists.example.com>\n\nNews.\n--b--\n"
    )
}

fn complaint(id: &str, who: &str) -> String {
    format!(
        "From: fbl@isp.example\nTo: abuse@lists.example.com\nSubject: complaint\nMessage-ID: <{id}@isp.example>\n\
         MIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n\
         --b\nContent-Type: text/plain\n\nThis is an email abuse report.\n\
         --b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: isp/1\nVersion: 1\n\
         Original-Rcpt-To: <{who}>\n\
         --b\nContent-Type: message/rfc822\n\nFrom: news@lists.example.com\nTo: {who}\nSubject: News\n\n\
         News.\n--b--\n"
    )
}

const ANN: &str = "ann@example.org";

/// Ann bounces, complains, and is named by what is said of others; many others bounce as well, before and behind her.
fn deliver_all(place: &Place) -> i64 {
    let refused = |who: &str| format!("550 5.1.1 <{who}>: Recipient address rejected: User unknown");
    // Not as many as an outage.
    for n in 0..150 {
        let who = format!("{}{n}@example.org", ["aa", "joann", "zoe"][n % 3]);
        place.deliver(&format!("other{n}"), 0, &bounce(&format!("other{n}"), &who, &refused(&who)));
    }
    place.deliver("joann", 0, &bounce("joann", "joann@example.org", &refused("joann@example.org")));
    place.deliver("ann1", 9, &bounce("ann1", "Ann@Example.org", "452 4.2.2 <ann@example.org>: mailbox full"));
    place.deliver("ann2", 0, &bounce("ann2", ANN, &refused(ANN)));
    place.deliver("ann3", 0, &complaint("ann3", ANN));
    place.deliver("bob", 0, &bounce("bob", "bob@example.org", "550 5.1.1 Unknown user, forwarded by ANN@example.org"));
    155
}

/// What is left where the address is that of somebody else who is called alike.
fn joann_is_known(place: &Place) {
    assert_eq!(place.naming("joann@example.org").len(), 3, "store and both lists");
    let checked = place.done(&["suppressions", "check", "joann@example.org"]);
    assert!(checked.contains("<joann@example.org>: Recipient address rejected"), "{checked}");
}

/// Of the files that name Joann, each place where no more than Ann would be named.
fn naming_ann(place: &Place) -> Vec<String> {
    let directory = place.installation.config().parent().unwrap().to_path_buf();
    let alone = |path: &Path| {
        let octets = fs::read(path).unwrap_or_default().to_ascii_lowercase();
        let hers = octets.windows(ANN.len()).enumerate().filter(|(_, window)| *window == ANN.as_bytes());
        hers.filter(|(at, _)| *at < 2 || &octets[at - 2..*at] != b"jo").count()
    };
    place.naming(ANN).into_iter().filter(|name| alone(&directory.join(name)) > 0).collect()
}

#[tokio::test]
async fn nothing_in_any_file_of_ours_names_who_is_forgotten() {
    let place = Place::new();
    let daemon = place.installation.run();
    let number = deliver_all(&place);
    place.recorded("SELECT count(*) FROM message", number).await;
    place.settled().await;
    // An entry that came and went leaves what only a look at the octets shows.
    place.done(&["suppressions", "remove", ANN]);
    place.done(&["suppressions", "add", "--note", "asked ann@example.org on the phone", ANN]);
    place.done(&["suppressions", "add", "--note", "the sister of ann@example.org", "eve@example.org"]);
    let before = naming_ann(&place);
    for file in ["suppressions.cdb", "suppressions.db"] {
        assert!(before.contains(&file.to_owned()), "{before:?}");
    }
    assert!(before.iter().any(|name| name.starts_with("bounced.db")), "{before:?}");

    let said = place.done(&["forget", "Ann@example.org"]);
    assert!(said.contains("ann@example.org is forgotten; erased: 2 bounces, 1 complaint"), "{said}");
    assert!(said.contains("mails in the mailboxes"), "{said}");
    assert_eq!(naming_ann(&place), [""; 0], "beside the daemon");
    joann_is_known(&place);

    // What comes now is recorded without her.
    let bounces = count(&place.database(), "SELECT count(*) FROM bounce").await;
    place.deliver("ann4", 0, &bounce("ann4", ANN, "550 5.1.1 <ann@example.org>: User unknown"));
    place.deliver("ann5", 0, &complaint("ann5", ANN));
    place.recorded("SELECT count(*) FROM message", number + 2).await;
    place.settled().await;
    assert_eq!(count(&place.database(), "SELECT count(*) FROM bounce").await, bounces + 1);
    let newest =
        "SELECT class, address, address_given, diagnostic, words, evidence FROM bounce ORDER BY id DESC LIMIT 1";
    type Row = (String, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);
    let newest: Vec<Row> = rows(&place.database(), newest).await;
    assert_eq!(newest, [("hard".to_owned(), None, None, None, None, None)]);
    assert_eq!(naming_ann(&place), [""; 0], "beside the daemon");
    let exit = daemon.terminate().await;
    assert!(exit.success());
    assert_eq!(naming_ann(&place), [""; 0], "with the daemon stopped");

    let added = place.run(&["suppressions", "add", ANN]);
    assert!(!added.status.success() && String::from_utf8_lossy(&added.stderr).contains("forgotten"), "{added:?}");
    let checked = place.done(&["suppressions", "check", ANN]);
    assert!(checked.contains("ann@example.org was forgotten"), "{checked}");
    let checked = place.done(&["suppressions", "check", "--json", ANN]);
    assert!(checked.contains(r#""suppressed":true"#) && checked.contains(r#""forgotten":""#), "{checked}");
    assert_eq!(naming_ann(&place), [""; 0], "whatever was refused");

    // Once more, without a daemon; then she is back.
    let said = place.done(&["forget", ANN]);
    assert!(said.contains("erased: 0 bounces, 0 complaints, 0 changes"), "{said}");
    place.done(&["forget", "--undo", ANN]);
    assert!(!place.run(&["forget", "--undo", ANN]).status.success(), "she is known already");
    place.done(&["suppressions", "add", ANN]);
}

#[tokio::test]
async fn nobody_who_was_forgotten_is_recorded_when_the_key_is_gone() {
    let place = Place::new();
    place.done(&["suppressions", "add", "bob@example.org"]);
    place.done(&["forget", ANN]);
    let key = place.database().with_file_name("bounced.db.key");
    let kept = fs::read(&key).unwrap();
    let other = [b"0".repeat(64), b"\n".to_vec()].concat();
    for wrong in [None, Some(&other[..])] {
        match wrong {
            None => fs::remove_file(&key).unwrap(),
            Some(wrong) => fs::write(&key, wrong).unwrap(),
        }
        let exit = place.installation.run().exit().await;
        assert_eq!(exit.code(), Some(74), "{}", place.installation.log());
        for args in [["suppressions", "check", ANN], ["suppressions", "add", "eve@example.org"]] {
            let refused = place.run(&args);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(refused.status.code() == Some(74) && said.contains("bounced.db.key"), "{refused:?}");
        }
    }
    fs::write(&key, kept).unwrap();
    assert!(place.done(&["suppressions", "list"]).contains("bob@example.org"));
    assert!(!place.run(&["suppressions", "check", ANN]).status.success(), "forgotten, and not suppressed");
}

#[tokio::test]
async fn the_daemon_erases_what_is_older_than_it_is_to_be_kept() {
    let place = Place::new();
    let daemon = place.installation.run();
    for (key, days) in [("old", 91), ("older", 400), ("new", 1)] {
        let who = format!("{key}@example.org");
        place.deliver(key, days, &bounce(key, &who, &format!("550 5.1.1 <{who}>: User unknown")));
    }
    place.recorded("SELECT count(*) FROM bounce", 3).await;
    place.settled().await;
    assert!(daemon.terminate().await.success());
    place.configure_also("[retention]\nmessages = \"300d\"\nbounces = \"90d\"\ndiagnostics = \"12h\"\n");
    let daemon = place.installation.run();
    place.recorded("SELECT count(*) FROM suppression WHERE diagnostic IS NULL", 3).await;
    let left: Vec<(String, bool)> =
        rows(&place.database(), "SELECT address, diagnostic IS NULL AND words IS NULL FROM bounce").await;
    assert_eq!(left, [("new@example.org".to_owned(), true)]);
    assert_eq!(count(&place.database(), "SELECT count(*) FROM message").await, 2);
    assert!(daemon.terminate().await.success());
}
