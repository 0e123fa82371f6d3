//! The daemon follows the logs that real mail servers write while they work, through rotation and kill -9, with no mailbox
//! beside: each delivery and each refusal counts once.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use flate2::bufread::MultiGzDecoder;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{
    beside::{self, Server},
    copy_and_truncate,
    daemon::Installation,
    database::{count, rows},
    journal::Journal,
    postfix::{Postfix, UTF8_BOUNCE_DOMAIN, hand_in},
    sink::{Script, Sink, Stage},
    until,
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(40);

/// So many clients hand in mail at once.
const CLIENTS: usize = 4;

/// So many mails at most in one test.
const MOST: usize = 5_000;

/// Every fifth is refused, and some others are never taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    Refused,
    GivenUp,
}

fn fate(n: usize) -> Fate {
    match n {
        _ if n.is_multiple_of(5) => Fate::Refused,
        _ if n % 20 == 7 => Fate::GivenUp,
        _ => Fate::Delivered,
    }
}

/// Each at a domain of his own.
fn recipient(n: usize) -> String {
    format!("reader{n}@domain{n}.example")
}

fn script(mails: usize) -> Script {
    let mut script = Script::default();
    for n in 0..mails {
        match fate(n) {
            Fate::Delivered => {}
            Fate::Refused => script.answer(Stage::Rcpt, &recipient(n), "550 5.1.1 User unknown"),
            Fate::GivenUp => script.answer(Stage::Rcpt, &recipient(n), "452 4.2.2 Mailbox full"),
        }
    }
    script
}

/// Hands in one mail, over a connection of its own.
async fn submit(port: u16, n: usize) {
    let mail = format!("Subject: News\r\nMessage-ID: <{n}@news.example>\r\n\r\nHello!\r\n");
    hand_in(port, &format!("news@{UTF8_BOUNCE_DOMAIN}"), &recipient(n), &mail).await.unwrap();
}

/// The log with all that was rotated of it.
fn all_of(log: &Path) -> Vec<u8> {
    let name = log.file_name().unwrap().to_str().unwrap();
    let of_log = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(name);
    let files = fs::read_dir(log.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).filter(of_log);
    let mut octets = Vec::new();
    for file in files {
        let opened = BufReader::new(File::open(&file).unwrap());
        let read = match file.extension() {
            Some(extension) if extension == "gz" => MultiGzDecoder::new(opened).read_to_end(&mut octets),
            _ => { opened }.read_to_end(&mut octets),
        };
        read.unwrap();
    }
    octets
}

fn lines_of(log: &Path) -> i64 {
    all_of(log).iter().filter(|octet| **octet == b'\n').count() as i64
}

/// A log that is followed, and nothing else.
struct Followed {
    bounced: Installation,
    log: PathBuf,
}

impl Followed {
    fn new(dir: &Path, format: &str, log: PathBuf) -> Self {
        let table = format!("[mail_log.mx]\nformat = \"{format}\"\npath = \"{}\"\n", log.display());
        Self { bounced: Installation::new(dir, &table), log }
    }

    async fn sent(&self) -> i64 {
        count(&self.bounced.database(), "SELECT coalesce(sum(sent), 0) FROM sent_by_day").await
    }

    /// Kills the daemon and rotates the log at random moments, now while the daemon reads it and now while it does not, and
    /// sends mail through the server on `port` as long as that lasts, [`MOST`] at most; says how many.
    async fn survives(&self, port: u16, mut rotate: impl FnMut(usize)) -> usize {
        let seed =
            std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("SEED is a number"));
        println!("to repeat these moments: SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        // Of a log of which nothing was ever read, nobody knows what it is called after rotation.
        submit(port, 0).await;
        let daemon = self.bounced.run();
        until("the log is known", SOON, async || (self.sent().await == 1).then_some(())).await;
        daemon.kill();
        let (next, is_over) = (Arc::new(AtomicUsize::new(1)), CancellationToken::new());
        let mut load = JoinSet::new();
        for _ in 0..CLIENTS {
            let (next, is_over) = (Arc::clone(&next), is_over.clone());
            load.spawn(async move {
                while !is_over.is_cancelled() {
                    let next = next.fetch_update(Relaxed, Relaxed, |n| (n < MOST).then_some(n + 1));
                    let Ok(n) = next else { break };
                    submit(port, n).await;
                }
            });
        }
        let (mut kills, mut rotations) = (0, 0);
        while kills < 8 || rotations < 4 {
            let daemon = self.bounced.run();
            sleep(Duration::from_millis(random.random_range(50..1_500))).await;
            let is_read = random.random_bool(0.5);
            if is_read && self.log.exists() {
                rotate(rotations);
                rotations += 1;
                sleep(Duration::from_millis(random.random_range(0..1_500))).await;
            }
            daemon.kill();
            kills += 1;
            if !is_read && self.log.exists() {
                rotate(rotations);
                rotations += 1;
            }
        }
        is_over.cancel();
        while let Some(client) = load.join_next().await {
            client.unwrap();
        }
        let mails = next.load(Relaxed);
        println!("{mails} mails, {kills} kills, {rotations} rotations");
        mails
    }

    /// All of `mails` is counted once, and each line was read once. `flush` has the server try what it puts off.
    async fn counts_each_once(&self, format: &str, mails: usize, flush: impl Fn()) {
        let daemon = self.bounced.run();
        let failed = (0..mails).filter(|&n| fate(n) != Fate::Delivered).count() as i64;
        let database = self.bounced.database();
        let mut seen = [0; 5];
        until("all is read", SOON, async || {
            let told = count(&database, "SELECT count(*) FROM message").await;
            let lines = count(&database, "SELECT lines FROM mail_log").await;
            let waiting = count(&database, "SELECT count(*) FROM mail_log_queue").await;
            let now = [self.sent().await, lines, lines_of(&self.log), told, waiting];
            if std::mem::replace(&mut seen, now) == now {
                flush();
            } else {
                println!("sent, lines, lines of the files, failed, waiting: {now:?} ({mails} mails, {failed} to fail)");
            }
            (now[0] >= mails as i64 && now[1] >= now[2] && told >= failed && waiting == 0).then_some(())
        })
        .await;
        assert!(daemon.terminate().await.success());
        assert_eq!(count(&database, "SELECT lines FROM mail_log").await, lines_of(&self.log));
        let all = mails as i64;
        for (rows, expected) in [
            ("SELECT sum(sent) FROM sent_by_day", all),
            ("SELECT sum(delivered) FROM sent_by_day", all - failed),
            // What is nobody's address marks that others have the message, too: Postfix's own bounces stay here.
            ("SELECT count(*) FROM sent WHERE recipient <> zeroblob(16)", all),
            ("SELECT sum(delivered) FROM sent WHERE recipient <> zeroblob(16)", all - failed),
            ("SELECT count(*) FROM message", failed),
            ("SELECT count(*) FROM bounce", failed),
            ("SELECT count(*) FROM bounce WHERE counts AND NOT told_before AND trust = 'verified'", failed),
            ("SELECT skipped FROM mail_log", 0),
        ] {
            assert_eq!(count(&database, rows).await, expected, "{rows}");
        }
        let of = |class: &str, fated: Fate| {
            let fated = (0..mails).filter(|&n| fate(n) == fated).map(recipient);
            (class.to_owned(), fated.collect::<BTreeSet<_>>())
        };
        for (class, expected) in [of("hard", Fate::Refused), of("soft", Fate::GivenUp)] {
            let bounced: Vec<(String, String)> = rows(&database, "SELECT class, address FROM bounce").await;
            let bounced: BTreeSet<_> = bounced.into_iter().filter(|row| row.0 == class).map(|row| row.1).collect();
            assert_eq!(bounced, expected, "{class}");
        }
        let format = format!("{format}-log");
        let formats: Vec<(String,)> = rows(&database, "SELECT DISTINCT format FROM message").await;
        assert_eq!(formats, [(format,)]);
        assert!(!self.bounced.log().contains(" lost"), "nothing is told as lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_postfix_logs_under_load_counts_once_through_rotation_and_kills() {
    if let Some(why) = Postfix::missing() {
        return support::skip("what_a_postfix_logs_under_load_counts_once", why);
    }
    let dir = support::directory();
    let sink = Sink::start(script(MOST)).await;
    let postfix = Postfix::start(dir.path(), sink.port, &[], support::free_port()).await;
    let log = postfix.log_file();
    let followed = Followed::new(dir.path(), "postfix", log.clone());
    let rotate = |number: usize| {
        if number.is_multiple_of(2) {
            postfix.rotate_log();
        } else {
            let copy = log.with_extension(format!("20991231-{number:06}"));
            copy_and_truncate(&log, &copy, || postfix.log_writers());
        }
    };
    let mails = followed.survives(postfix.port(), rotate).await;
    followed.counts_each_once("postfix", mails, || postfix.flush()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_exim_logs_under_load_counts_once_through_rotation_and_kills() {
    let dir = support::directory();
    let sink = Sink::start(script(MOST)).await;
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    // Exim writes as a user that there is in its namespace only.
    fs::set_permissions(&logs, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let config = format!(
        "exim_path = PROGRAM\nprimary_hostname = mx.example\nkeep_environment =\nhost_lookup =\nrfc1413_query_timeout = 0s\n\
         tls_advertise_hosts =\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = PORT\nacl_smtp_rcpt = rcpt\n\
         smtp_accept_max = 100\nsmtp_accept_queue_per_connection = 0\nlog_file_path = {}/%slog\n\
         begin acl\nrcpt:\n  accept\n\
         begin routers\nreports:\n  driver = redirect\n  domains = {UTF8_BOUNCE_DOMAIN}\n  data = :blackhole:\n\
         all:\n  driver = manualroute\n  transport = remote_smtp\n  route_list = * 127.0.0.1::{} byname\n  self = send\n\
         begin transports\nremote_smtp:\n  driver = smtp\n  hosts_try_fastopen =\n",
        logs.display(),
        sink.port
    );
    let exim = match Server::start(&beside::EXIM, dir.path(), &config).await {
        Ok(exim) => exim,
        Err(why) => return support::skip("what_an_exim_logs_under_load_counts_once", &why),
    };
    let log = logs.join("mainlog");
    let followed = Followed::new(dir.path(), "exim", log.clone());
    let rotate = |number: usize| {
        // The newest is the first.
        for number in (1..10).rev() {
            let name = |number: usize| logs.join(format!("mainlog.{number}"));
            fs::rename(name(number), name(number + 1)).ok();
        }
        let first = logs.join("mainlog.1");
        if number.is_multiple_of(2) {
            fs::rename(&log, first).unwrap();
        } else {
            copy_and_truncate(&log, &first, || exim.processes());
        }
    };
    let mails = followed.survives(exim.port, rotate).await;
    followed.counts_each_once("exim", mails, || ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_at_once_is_on_the_list_by_the_log_alone() {
    if let Some(why) = Postfix::missing() {
        return support::skip("whoever_is_refused_at_once_is_on_the_list_by_the_log_alone", why);
    }
    let dir = support::directory();
    let sink = Sink::start(script(6)).await;
    let postfix = Postfix::start(dir.path(), sink.port, &[], support::free_port()).await;
    let followed = Followed::new(dir.path(), "postfix", postfix.log_file());
    for n in 0..6 {
        submit(postfix.port(), n).await;
    }
    let check = || followed.bounced.command(&["check", "--connect"]).output().unwrap();
    let checked = until("check finds lines", SOON, async || {
        let checked = check();
        let text = String::from_utf8(checked.stdout).unwrap();
        text.contains("say something of a message").then_some((checked.status, text))
    })
    .await;
    assert!(checked.0.success() && checked.1.contains("mail log        mx: Postfix in "), "{}", checked.1);
    let daemon = followed.bounced.run();
    until("all is counted", SOON, async || (followed.sent().await == 6).then_some(())).await;
    let listed = async || {
        let listed: Vec<(String, String)> =
            rows(&followed.bounced.published(), "SELECT email, reason FROM suppression ORDER BY email").await;
        (listed.len() == 2).then_some(listed)
    };
    let listed = until("the refused are published", SOON, listed).await;
    assert_eq!(listed, [0, 5].map(|n| (recipient(n), "user_unknown".to_owned())));
    assert!(daemon.terminate().await.success());
    let told = followed.bounced.log();
    assert!(told.contains("reads Postfix in ") && told.contains(" from its start"), "{told}");
}

/// What a Postfix says of one message, line by line.
fn logged(n: usize) -> [String; 5] {
    let id = format!("{n:05X}AB12");
    let became = match fate(n) {
        Fate::Delivered => "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1)".to_owned(),
        _ => format!("dsn=5.1.1, status=bounced (host mx.domain{n}.example[192.0.2.1] said: 550 5.1.1 User unknown)"),
    };
    let to = format!("to=<{}>, relay=mx.domain{n}.example[192.0.2.1]:25, delay=0.1, delays=0/0/0/0.1", recipient(n));
    [
        format!("postfix/pickup[9]: {id}: uid=1000 from=<news>"),
        format!("postfix/cleanup[9]: {id}: message-id=<{n}@news.example>"),
        format!("postfix/qmgr[9]: {id}: from=<news@news.example>, size=345, nrcpt=1 (queue active)"),
        format!("postfix/smtp[9]: {id}: {to}, {became}"),
        format!("postfix/qmgr[9]: {id}: removed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_journal_is_followed_through_kills() {
    const MAILS: usize = 400;
    let dir = support::directory();
    let journal = match Journal::start(dir.path()).await {
        Ok(journal) => journal,
        Err(why) => return support::skip("a_live_journal_is_followed_through_kills", &why),
    };
    let table = format!(
        "[mail_log.mx]\nformat = \"postfix\"\njournal = true\njournal_directory = \"{}\"\n",
        journal.directory().display()
    );
    let bounced = Installation::new(dir.path(), &table);
    let sent = async || count(&bounced.database(), "SELECT coalesce(sum(sent), 0) FROM sent_by_day").await;
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("SEED is a number"));
    println!("to repeat these moments: SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut written = 0;
    while written < MAILS {
        let daemon = bounced.run();
        let until_then = MAILS.min(written + random.random_range(20..120));
        for line in (written..until_then).flat_map(logged) {
            journal.log(&line);
        }
        let known = sent().await;
        if random.random_bool(0.7) {
            until("some is recorded", SOON, async || (sent().await > known).then_some(())).await;
        }
        sleep(Duration::from_micros(random.random_range(0..80_000))).await;
        daemon.kill();
        written = until_then;
    }
    let checked = bounced.command(&["check", "--connect"]).output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && text.contains("mx: 200 of its last 200 lines say something"), "{text}");
    let daemon = bounced.run();
    until("all is counted", SOON, async || (sent().await >= MAILS as i64).then_some(())).await;
    let lines = async || count(&bounced.database(), "SELECT lines FROM mail_log").await;
    until("all is read", SOON, async || (lines().await >= 5 * MAILS as i64).then_some(())).await;
    assert!(daemon.terminate().await.success());
    let failed = (0..MAILS).filter(|&n| fate(n) != Fate::Delivered).count() as i64;
    let all = MAILS as i64;
    for (rows, expected) in [
        ("SELECT sum(sent) FROM sent_by_day", all),
        ("SELECT sum(delivered) FROM sent_by_day", all - failed),
        ("SELECT count(*) FROM sent", all),
        ("SELECT count(*) FROM bounce", failed),
        ("SELECT count(*) FROM suppression", failed),
        ("SELECT lines FROM mail_log", 5 * all),
        ("SELECT skipped FROM mail_log", 0),
        ("SELECT count(*) FROM mail_log_queue", 0),
    ] {
        assert_eq!(count(&bounced.database(), rows).await, expected, "{rows}");
    }
}
