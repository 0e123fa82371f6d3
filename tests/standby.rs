//! Several daemons on one database: each mailbox is read by one, another takes over when that one stops, dies or sleeps,
//! and nothing is lost or recorded twice.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    daemon::{Daemon, Installation},
    database,
    dovecot::deliver,
    hand_over, until,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixStream,
    time::timeout,
};

/// Longer than a lease lasts: thirty seconds.
const TAKES_OVER: Duration = Duration::from_secs(240);

/// A bounce from a mail of its own to a recipient of its own, at a domain of his own.
fn bounce(n: usize) -> String {
    let sample = include_str!("../scripts/samples/postfix-user-unknown.eml");
    let of_each = |text: &str, name: &str| text.replace(name, &format!("{name}{n}"));
    of_each(&of_each(sample, "anna"), "customer").replace("Message-Id: <", &format!("Message-Id: <{n}."))
}

/// An empty Maildir.
fn maildir(dir: &Path, name: &str) -> PathBuf {
    let maildir = dir.join(name);
    for part in ["new", "cur", "tmp"] {
        fs::create_dir_all(maildir.join(part)).unwrap();
    }
    maildir
}

/// Two installations on one database and one list, each with a log and a configuration of its own.
struct Pair {
    dir: tempfile::TempDir,
    first: Installation,
    second: Installation,
}

impl Pair {
    fn new(mailboxes: &str) -> Self {
        let dir = support::directory();
        let [first, second] = ["first", "second"].map(|name| {
            let own = dir.path().join(name);
            fs::create_dir(&own).unwrap();
            let bounced = Installation::new(&own, "");
            let files = "[database]\npath = \"../../bounced.db\"\n[suppressions]\npath = \"../../suppressions.db\"\n";
            bounced.configure(&format!("{files}{mailboxes}"));
            bounced
        });
        Self { dir, first, second }
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("bounced.db")
    }

    async fn count(&self, query: &'static str) -> i64 {
        database::count(&self.database(), query).await
    }

    async fn has_its_lease(&self) {
        until("it has its lease", TAKES_OVER, async || {
            (self.count("SELECT count(*) FROM lease").await > 0).then_some(())
        })
        .await;
    }

    async fn recorded(&self, messages: usize) {
        until("all is recorded", TAKES_OVER, async || {
            (self.count("SELECT count(*) FROM message").await >= messages as i64).then_some(())
        })
        .await;
    }

    /// Each of so many mails is recorded once, and lies once where it belongs.
    async fn balances(&self, mails: usize, maildir: &Path) {
        let each_once = "SELECT count(*) FROM (SELECT address FROM bounce GROUP BY address HAVING count(*) = 1)";
        until("all is moved", TAKES_OVER, async || {
            let unsettled = self.count("SELECT count(*) FROM unsettled").await;
            (unsettled == 0 && support::messages(maildir) == 0).then_some(())
        })
        .await;
        let rows = [each_once, "SELECT count(*) FROM bounce", "SELECT count(*) FROM message"];
        for query in rows {
            assert_eq!(self.count(query).await, mails as i64, "{query}");
        }
        assert_eq!(support::messages(&maildir.join(".Processed")), mails, "each moved once");
    }
}

async fn says(bounced: &Installation, words: &str) {
    until(words, TAKES_OVER, async || bounced.log().contains(words).then_some(())).await;
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Puts a daemon to sleep that is not writing at this moment: the lock with which SQLite writes would sleep with it, and
/// nobody could write until it wakes (docs/operations.md).
async fn put_to_sleep(daemon: &Daemon, database: &Path) {
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::ZERO);
    let mut beside = SqliteConnection::connect_with(&options).await.unwrap();
    until("it sleeps without the lock", TAKES_OVER, async || {
        signal(daemon.pid(), "-STOP");
        let free = beside.execute("BEGIN IMMEDIATE; ROLLBACK").await.is_ok();
        if !free {
            signal(daemon.pid(), "-CONT");
        }
        free.then_some(())
    })
    .await;
    beside.close().await.unwrap();
}

/// How often its threads have gone to sleep so far.
fn naps(daemon: &Daemon) -> u64 {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten();
    let naps = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    threads.filter_map(naps).sum()
}

fn status(bounced: &Installation) -> serde_json::Value {
    let output = bounced.command(&["status", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A second daemon on the mailbox that `maildir` holds, whatever reads it there.
async fn takes_over(mailbox: &str, maildir: &Path) {
    let pair = Pair::new(mailbox);
    deliver(maildir, &bounce(0));
    let first = pair.first.run();
    pair.recorded(1).await;
    let second = pair.second.run();
    says(&pair.second, "waiting to take over").await;
    let shown = until("status shows both", TAKES_OVER, async || {
        let shown = status(&pair.second)[0].clone();
        shown["standby"].as_array().is_some_and(|standby| standby.len() == 1).then_some(shown)
    })
    .await;
    assert_eq!(shown["state"], "reading", "{shown}");
    let names = |daemon: &serde_json::Value, pid: u32| daemon["daemon"].as_str().unwrap().ends_with(&format!(" {pid}"));
    assert!(names(&shown["reader"], first.pid()) && names(&shown["standby"][0], second.pid()), "{shown}");
    let text = String::from_utf8(pair.second.command(&["status"]).output().unwrap().stdout).unwrap();
    assert!(text.contains(&format!("process {} waits to take over from ", second.pid())), "{text}");
    deliver(maildir, &bounce(1));
    pair.recorded(2).await;

    // Told to stop: at once, long before a lease runs out.
    assert!(first.terminate().await.success());
    let stopped = Instant::now();
    says(&pair.second, "took over this mailbox").await;
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    deliver(maildir, &bounce(2));
    pair.recorded(3).await;

    // Killed with the lock: the kernel tells.
    let first = pair.first.run();
    says(&pair.first, "waiting to take over").await;
    second.kill();
    let killed = Instant::now();
    says(&pair.first, "took over this mailbox").await;
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    (3..50).for_each(|n| drop(deliver(maildir, &bounce(n))));
    pair.recorded(50).await;
    pair.balances(50, maildir).await;
    assert!(first.terminate().await.success());
    let lines = pair.second.log().matches("waiting to take over").count();
    assert_eq!(lines, 1, "it is said once");
    assert!(!pair.first.log().contains("died") && !pair.second.log().contains("died"), "over nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_waits_and_takes_over_a_maildir_when_the_first_stops_or_dies() {
    let dir = support::directory();
    let maildir = maildir(dir.path(), "Maildir");
    takes_over(&format!("[maildir.bounces]\npath = \"{}\"\npoll = \"50ms\"\n", maildir.display()), &maildir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_waits_and_takes_over_an_imap_mailbox_when_the_first_stops_or_dies() {
    let Some(dovecot) = support::dovecot("") else { return };
    takes_over(&support::as_mailbox(&dovecot), &dovecot.maildir()).await;
}

/// The one that sleeps is overtaken in the midst of its work, and what it still does then is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_sleeps_is_overtaken_and_commits_nothing_when_it_wakes() {
    const MAILS: usize = 1_500;
    let dir = support::directory();
    let maildir = maildir(dir.path(), "Maildir");
    let listens = "[lmtp.handed]\nlisten = \"unix:../../lmtp.sock\"\n";
    let pair = Pair::new(&format!("{listens}[maildir.bounces]\npath = \"{}\"\nbatch = 20\n", maildir.display()));
    let socket = pair.dir.path().join("lmtp.sock");
    let hands_over = async |n: usize| {
        let mail = bounce(n).replace('\n', "\r\n");
        until("the socket answers", TAKES_OVER, async || {
            let stream = UnixStream::connect(&socket).await.ok()?;
            hand_over(stream, &["bounce@news.example"], &mail).await[0].starts_with("250").then_some(())
        })
        .await;
    };
    let first = pair.first.run_apart();
    pair.has_its_lease().await;
    let second = pair.second.run();
    says(&pair.second, "waiting to take over").await;
    (0..MAILS / 2).for_each(|n| drop(deliver(&maildir, &bounce(n))));
    pair.recorded(100).await;
    put_to_sleep(&first, &pair.database()).await;
    let asleep = Instant::now();
    says(&pair.second, "took over this mailbox").await;
    assert!(asleep.elapsed() >= Duration::from_secs(20), "not before it ran out: {:?}", asleep.elapsed());
    assert!(!pair.second.log().contains("died"), "whoever has the lock still is not dead");
    until("clients are greeted again", TAKES_OVER, async || {
        let mut line = String::new();
        let mut client = BufReader::new(UnixStream::connect(&socket).await.ok()?);
        timeout(Duration::from_secs(1), client.read_line(&mut line)).await.ok()?.ok()?;
        line.starts_with("220 ").then_some(())
    })
    .await;
    (MAILS / 2..MAILS).for_each(|n| drop(deliver(&maildir, &bounce(n))));
    pair.recorded(MAILS / 2 + 50).await;
    let token = pair.count("SELECT token FROM lease WHERE mailbox = 'bounces'").await;
    signal(first.pid(), "-CONT");
    says(&pair.first, "another daemon has taken over this mailbox").await;
    pair.recorded(MAILS).await;
    pair.balances(MAILS, &maildir).await;
    assert_eq!(pair.count("SELECT token FROM lease WHERE mailbox = 'bounces'").await, token, "nobody took it back");
    says(&pair.first, "waiting to take over").await;
    hands_over(MAILS).await;

    // The one that woke has the lock still; the other one stops, and it reads on.
    assert!(second.terminate().await.success());
    says(&pair.first, "took over this mailbox").await;
    deliver(&maildir, &bounce(MAILS + 1));
    pair.recorded(MAILS + 2).await;
    hands_over(MAILS + 2).await;
    pair.recorded(MAILS + 3).await;
    assert!(first.terminate().await.success());
}

/// Whatever it reads, it looks after all of it at the same moments, and asks the database where its files have changed.
#[tokio::test]
async fn a_daemon_with_nothing_to_do_sleeps_and_so_does_the_one_that_waits() {
    const WINDOW: Duration = Duration::from_secs(10);
    let dir = support::directory();
    let (maildir, log) = (maildir(dir.path(), "Maildir"), dir.path().join("mail.log"));
    fs::write(&log, "").unwrap();
    let pair = Pair::new(&format!(
        "[maildir.bounces]\npath = \"{}\"\n[lmtp.handed]\nlisten = \"unix:lmtp\"\n[mail_log.mx]\nformat = \"postfix\"\npath = \
         \"{}\"\n",
        maildir.display(),
        log.display()
    ));
    let first = pair.first.run();
    until("it has its leases", TAKES_OVER, async || {
        (pair.count("SELECT count(*) FROM lease").await == 3).then_some(())
    })
    .await;
    let second = pair.second.run();
    until("it waits for all", TAKES_OVER, async || {
        (pair.second.log().matches("waiting to take over").count() == 3).then_some(())
    })
    .await;
    // A start takes some time; then each window is like the next, on any machine.
    until("both sleep", TAKES_OVER, async || {
        let before = [&first, &second].map(naps);
        tokio::time::sleep(WINDOW).await;
        let naps: Vec<u64> =
            [&first, &second].map(naps).into_iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect();
        println!("{naps:?} in {WINDOW:?}");
        naps.iter().all(|naps| *naps <= 150).then_some(())
    })
    .await;
    for daemon in [first, second] {
        assert!(daemon.terminate().await.success());
    }
}

/// Killed without the lock, which sleeps: there is nothing but time that tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_owner_is_dead_and_had_no_lock_runs_out() {
    let dir = support::directory();
    let maildir = maildir(dir.path(), "Maildir");
    let pair = Pair::new(&format!("[maildir.bounces]\npath = \"{}\"\n", maildir.display()));
    // It has the lock, and another mailbox.
    let elsewhere = self::maildir(dir.path(), "elsewhere");
    let mailboxes = fs::read_to_string(pair.first.config()).unwrap();
    let other = mailboxes
        .replace("maildir.bounces", "maildir.other")
        .replace(&maildir.display().to_string(), &elsewhere.display().to_string());
    pair.first.configure(&other);
    let first = pair.first.run();
    pair.has_its_lease().await;
    let second = pair.second.run();
    deliver(&maildir, &bounce(0));
    deliver(&elsewhere, &bounce(1));
    pair.recorded(2).await;
    assert_eq!(pair.count("SELECT count(*) FROM lease WHERE holds_lock = 0").await, 1);
    second.kill();
    let killed = Instant::now();
    deliver(&maildir, &bounce(2));
    let second = pair.second.run();
    pair.recorded(3).await;
    assert!(killed.elapsed() >= Duration::from_secs(25), "{:?}", killed.elapsed());
    for daemon in [first, second] {
        assert!(daemon.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_waits_and_takes_over_a_mail_log() {
    let dir = support::directory();
    let log = dir.path().join("mail.log");
    fs::write(&log, "").unwrap();
    let mail = maildir(dir.path(), "Maildir");
    let configuration = format!(
        "[maildir.bounces]\npath = \"{}\"\n[mail_log.mx]\nformat = \"postfix\"\npath = \"{}\"\n",
        mail.display(),
        log.display()
    );
    let pair = Pair::new(&configuration);
    let write = |range: std::ops::Range<usize>| {
        let mut file = fs::File::options().append(true).open(&log).unwrap();
        for n in range {
            let (id, at) = (format!("{n:05X}AB12"), jiff::Timestamp::now());
            let lines = [
                format!("pickup[9]: {id}: uid=1000 from=<news>"),
                format!("cleanup[9]: {id}: message-id=<{n}@news.example>"),
                format!("qmgr[9]: {id}: from=<news@news.example>, size=345, nrcpt=1 (queue active)"),
                format!(
                    "smtp[9]: {id}: to=<anna@customer{n}.example>, relay=mx.customer{n}.example[192.0.2.1]:25, delay=0.1, \
                     delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1)"
                ),
                format!("qmgr[9]: {id}: removed"),
            ];
            lines.iter().for_each(|line| file.write_all(format!("{at} mx postfix/{line}\n").as_bytes()).unwrap());
        }
    };
    let sent = async |expected: i64| {
        until("all is counted", TAKES_OVER, async || {
            (pair.count("SELECT coalesce(sum(sent), 0) FROM sent_by_day").await >= expected).then_some(())
        })
        .await;
    };
    write(0..10);
    let first = pair.first.run();
    sent(10).await;
    let second = pair.second.run();
    until("it waits for both", TAKES_OVER, async || {
        (pair.second.log().matches("waiting to take over").count() == 2).then_some(())
    })
    .await;
    write(10..500);
    sent(20).await;
    first.kill();
    write(500..900);
    sent(900).await;
    assert!(second.terminate().await.success());
    for (query, expected) in [
        ("SELECT sum(sent) FROM sent_by_day", 900),
        ("SELECT sum(delivered) FROM sent_by_day", 900),
        ("SELECT lines FROM mail_log", 4_500),
    ] {
        assert_eq!(pair.count(query).await, expected, "{query}");
    }
}
