//! The daemon is killed at random moments while it reads, and records each bounce exactly once.

mod support;

use std::{fs, io::Write, path::Path, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    daemon::{Installation, Place},
    database,
    dovecot::deliver,
    until,
};
use tokio::time::sleep;

const MAILS: usize = 2_000;

/// A bounce like the sample, from a mail of its own to a recipient of its own.
fn bounce(n: usize) -> String {
    let sample = include_str!("../scripts/samples/postfix-user-unknown.eml");
    let of_each = |text: &str, name: &str| text.replace(name, &format!("{name}{n}"));
    // Each at a domain of its own: no server calls too many dead at once.
    let sample = of_each(&of_each(sample, "anna"), "customer");
    sample.replace("Message-Id: <", &format!("Message-Id: <{n}."))
}

/// What Postfix logs of one message that a program on this machine has sent; each to a recipient at a domain of his own.
fn logged(n: usize) -> String {
    let (id, at) = (format!("{n:05X}AB12"), jiff::Timestamp::now());
    let became = if n.is_multiple_of(3) {
        "dsn=5.1.1, status=bounced (host mx.customer.example[192.0.2.1] said: 550 5.1.1 User unknown (in reply to RCPT TO \
         command))"
    } else {
        "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1)"
    };
    let relay = format!("mx.customer{n}.example[192.0.2.1]:25");
    let became = became.replace("customer.", &format!("customer{n}."));
    [
        format!("pickup[9]: {id}: uid=1000 from=<news>"),
        format!("cleanup[9]: {id}: message-id=<{n}@news.example>"),
        format!("qmgr[9]: {id}: from=<news@news.example>, size=345, nrcpt=1 (queue active)"),
        format!("smtp[9]: {id}: to=<anna@customer{n}.example>, relay={relay}, delay=0.1, delays=0/0/0/0.1, {became}"),
        format!("qmgr[9]: {id}: removed"),
    ]
    .map(|line| format!("{at} mx postfix/{line}\n"))
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_reads_a_mail_log_that_is_rotated_it_counts_each_delivery_and_each_refusal_exactly_once() {
    const SENT: usize = 6_000;
    let dir = support::directory();
    let (log, rotated) = (dir.path().join("mail.log"), dir.path().join("mail.log.1"));
    fs::write(&log, "").unwrap();
    fs::create_dir_all(dir.path().join("Maildir/new")).unwrap();
    for folder in ["Maildir/cur", "Maildir/tmp"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let configuration = format!(
        "[maildir.bounces]\npath = \"{}\"\n[mail_log.mx]\nformat = \"postfix\"\npath = \"{}\"\n",
        dir.path().join("Maildir").display(),
        log.display()
    );
    let bounced = Installation::new(dir.path(), &configuration);
    let sent = async || database::count(&bounced.database(), "SELECT coalesce(sum(sent), 0) FROM sent_by_day").await;
    let told = async || database::count(&bounced.database(), "SELECT count(*) FROM message").await;
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("SEED is a number"));
    println!("to repeat these moments: SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    // Of a log of which nothing was ever read, nobody knows what it is called after rotation.
    fs::write(&log, logged(0)).unwrap();
    let daemon = bounced.run();
    until("the log is known", Duration::from_secs(30), async || (sent().await == 1).then_some(())).await;
    daemon.kill();
    let (mut kills, mut written) = (0, 1);
    while written < SENT {
        let daemon = bounced.run();
        let until_then = SENT.min(written + random.random_range(300..900));
        let mut file = fs::File::options().append(true).create(true).open(&log).unwrap();
        for n in written..until_then {
            let lines = logged(n);
            // A line is not always written at once.
            let (first, second) = lines.split_at(random.random_range(0..lines.len()));
            file.write_all(first.as_bytes()).unwrap();
            file.write_all(second.as_bytes()).unwrap();
            if n % 50 == 0 {
                sleep(Duration::from_millis(random.random_range(0..40))).await;
            }
        }
        written = until_then;
        let known = told().await;
        if random.random_bool(0.5) {
            until("some is recorded", Duration::from_secs(30), async || (told().await > known).then_some(())).await;
        }
        sleep(Duration::from_micros(random.random_range(0..80_000))).await;
        daemon.kill();
        kills += 1;
        // The last one is read before it goes.
        if written < SENT && kills % 3 == 0 {
            fs::rename(&log, &rotated).unwrap();
            fs::write(&log, "").unwrap();
            let daemon = bounced.run();
            until("the rotated log is read", Duration::from_secs(30), async || {
                (sent().await >= written as i64).then_some(())
            })
            .await;
            daemon.kill();
        }
    }
    assert!(kills >= 5, "{kills} kills prove little");
    // The last start has something to read, too: whoever is told to end before he listens ends badly.
    fs::File::options().append(true).open(&log).unwrap().write_all(logged(SENT).as_bytes()).unwrap();
    let daemon = bounced.run();
    let all = SENT as i64 + 1;
    until("all is counted", Duration::from_secs(60), async || (sent().await >= all).then_some(())).await;
    assert!(daemon.terminate().await.success());
    let failed = (0..=SENT).filter(|n| n.is_multiple_of(3)).count() as i64;
    for (rows, expected) in [
        ("SELECT sum(sent) FROM sent_by_day", all),
        ("SELECT sum(delivered) FROM sent_by_day", all - failed),
        ("SELECT count(*) FROM sent", all),
        ("SELECT count(*) FROM message WHERE format = 'postfix-log'", failed),
        ("SELECT count(DISTINCT address) FROM bounce WHERE counts AND class = 'hard' AND trust = 'verified'", failed),
        ("SELECT count(*) FROM bounce", failed),
        ("SELECT count(*) FROM suppression", failed),
        ("SELECT lines FROM mail_log", 5 * all),
        ("SELECT skipped FROM mail_log", 0),
        ("SELECT count(*) FROM mail_log_queue", 0),
        ("SELECT count(*) FROM unsettled", 0),
    ] {
        assert_eq!(database::count(&bounced.database(), rows).await, expected, "{rows}");
    }
}

/// Kills the daemon again and again, each time after a random number of further rows and a random moment more.
/// `mailbox` is the configuration that reads `maildir`, by whatever way.
async fn survive_kills(mailbox: &str, maildir: &Path) {
    let dir = support::directory();
    for n in 0..MAILS {
        deliver(maildir, &bounce(n));
    }
    let bounced = Installation::new(dir.path(), mailbox);
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("SEED is a number"));
    println!("to repeat these moments: SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let recorded = async || database::count(&bounced.database(), "SELECT count(*) FROM message").await as usize;

    let mut kills = 0;
    while recorded().await < MAILS {
        let goal = MAILS.min(recorded().await + random.random_range(1..120));
        let daemon = bounced.run();
        until("rows arrive", Duration::from_secs(60), async || (recorded().await >= goal).then_some(())).await;
        sleep(Duration::from_micros(random.random_range(0..80_000))).await;
        daemon.kill();
        kills += 1;
    }
    assert!(kills >= 5, "{kills} kills prove little");

    // What was committed but not yet moved is moved by the next start, which reads on.
    deliver(maildir, &bounce(MAILS));
    let daemon = bounced.run();
    until("everything is read and moved", Duration::from_secs(60), async || {
        (recorded().await > MAILS && support::messages(maildir) == 0).then_some(())
    })
    .await;
    assert!(daemon.terminate().await.success());
    let all = MAILS + 1;

    let each_once = "SELECT count(*) FROM (SELECT address FROM bounce GROUP BY address HAVING count(*) = 1)";
    assert_eq!(database::count(&bounced.database(), each_once).await as usize, all, "each recorded exactly once");
    for rows in ["SELECT count(*) FROM bounce", "SELECT count(*) FROM message", "SELECT count(*) FROM suppression"] {
        assert_eq!(database::count(&bounced.database(), rows).await as usize, all, "{rows}");
    }
    let published = database::count(&bounced.published(), "SELECT count(*) FROM suppression").await;
    assert_eq!(published as usize, all, "the published list healed");
    assert_eq!(support::messages(&maildir.join(".Processed")), all, "each moved once");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_reading_imap_it_records_and_moves_each_bounce_exactly_once() {
    let Some(dovecot) = support::dovecot("") else { return };
    survive_kills(&(support::as_mailbox(&dovecot) + "batch = 50\n"), &dovecot.maildir()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_reading_a_maildir_it_records_and_moves_each_bounce_exactly_once() {
    let dir = support::directory();
    let maildir = dir.path().join("Maildir");
    fs::create_dir(&maildir).unwrap();
    survive_kills(&format!("[maildir.bounces]\npath = \"{}\"\nbatch = 50\n", maildir.display()), &maildir).await;
}

/// Breaks what the daemon does next, as a kill in the midst of it does, or mends it.
async fn execute(file: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(20));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the database is there");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement is right");
    connection.close().await.expect("it is open");
}

/// The mail comes first, and then what tells that we sent the message: lines of the log, or a file. What is written of
/// that is two transactions; a process that ends before either of them leaves the rest for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_that_waits_is_believed_when_the_log_or_a_file_tells_of_its_message_whoever_is_killed() {
    const SOON: Duration = Duration::from_secs(30);
    let place = Place::new();
    let log = place.dir.path().join("mail.log");
    fs::write(&log, "").unwrap();
    for folder in ["tmp", "new", "cur"] {
        fs::create_dir(place.maildir().join(folder)).unwrap();
    }
    place.bounced.configure(&format!(
        "[database]\npath = \"bounced.db\"\n[suppressions]\npath = \"suppressions.db\"\n\
         [maildir.bounces]\npath = \"{}\"\npoll = \"20ms\"\n[mail_log.mx]\nformat = \"postfix\"\npath = \"{}\"\n",
        place.maildir().display(),
        log.display()
    ));
    let file = place.bounced.database();
    let value = async |sql| database::count(&file, sql).await;
    let listed = async || value("SELECT count(*) FROM suppression").await;
    let waiting = async || value("SELECT count(*) FROM held WHERE why = 'unverified'").await;
    let sent = async || value("SELECT count(*) FROM sent").await;
    let logged = |n: usize| {
        let (id, at) = (format!("{n:05X}AB12"), jiff::Timestamp::now());
        let lines = [
            format!("pickup[9]: {id}: uid=1000 from=<news>"),
            format!("cleanup[9]: {id}: message-id=<anna{n}.2026@lists.example.org>"),
            format!("qmgr[9]: {id}: from=<news@lists.example.org>, size=345, nrcpt=1 (queue active)"),
            format!(
                "smtp[9]: {id}: to=<anna{n}@customer.example>, relay=mx.customer.example[192.0.2.1]:25, delay=0.1, \
                 delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1)"
            ),
            format!("qmgr[9]: {id}: removed"),
        ];
        let lines = lines.map(|line| format!("{at} mx postfix/{line}\n")).concat();
        fs::File::options().append(true).open(&log).unwrap().write_all(lines.as_bytes()).unwrap();
    };

    let mut daemon = place.bounced.run();
    until("the daemon has begun to doubt", SOON, async || {
        (value("SELECT count(*) FROM vouching").await == 1).then_some(())
    })
    .await;
    (1..=5).for_each(|n| place.bounce(n));
    until("all wait", SOON, async || (waiting().await == 5).then_some(())).await;
    assert_eq!(listed().await, 0);
    logged(1);
    until("the first is believed", SOON, async || (listed().await == 1).then_some(())).await;
    assert_eq!((waiting().await, sent().await), (4, 1));
    let of = |n: usize| format!("anna{n}@customer.example");
    let asked = || place.bounced.command(&["suppressions", "check", &of(1)]).output().unwrap();
    until("it is published", SOON, async || {
        let published = "SELECT count(*) FROM suppression";
        (database::count(&place.bounced.published(), published).await == 1).then_some(())
    })
    .await;
    assert_eq!(asked().status.code(), Some(0));

    // It dies over the lines, and behind them.
    for (n, broken, mended, known) in [
        (2, "CREATE TRIGGER stop BEFORE INSERT ON sent BEGIN SELECT RAISE(ABORT, 'no'); END", "DROP TRIGGER stop", 1),
        (
            3,
            "CREATE TRIGGER stop BEFORE UPDATE OF trust ON bounce BEGIN SELECT RAISE(ABORT, 'no'); END",
            "DROP TRIGGER stop",
            3,
        ),
    ] {
        execute(&file, broken).await;
        logged(n);
        daemon.exit().await;
        assert_eq!((listed().await, sent().await), (n as i64 - 1, known));
        execute(&file, mended).await;
        daemon = place.bounced.run();
        until("it is believed at the next start", SOON, async || (listed().await == n as i64).then_some(())).await;
    }

    // A file, with whoever reads it killed before he believes, and again.
    let csv = place.dir.path().join("sent.csv");
    let now = jiff::Timestamp::now().as_second();
    let rows = |n: usize| format!("time,message_id,recipient\n{now},anna{n}.2026@lists.example.org,{}\n", of(n));
    let import = || place.bounced.command(&["sent", "import", csv.to_str().unwrap()]).output().unwrap();
    fs::write(&csv, rows(4)).unwrap();
    assert!(import().status.success());
    assert_eq!((listed().await, waiting().await), (4, 1), "no daemon is needed for it");
    fs::write(&csv, rows(5)).unwrap();
    execute(&file, "CREATE TRIGGER stop BEFORE UPDATE OF trust ON bounce BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    assert!(!import().status.success());
    execute(&file, "DROP TRIGGER stop").await;
    assert_eq!((listed().await, sent().await), (4, 5));
    // The daemon waits for the rest of the file, for ten minutes.
    daemon.kill();
    execute(&file, "UPDATE doubted SET due = due - 600").await;
    let daemon = place.bounced.run();
    until("the last is believed", SOON, async || (listed().await == 5).then_some(())).await;
    assert!(daemon.terminate().await.success());
    for (rows, expected) in [
        ("SELECT count(*) FROM bounce WHERE trust = 'matched' AND counts", 5),
        ("SELECT count(*) FROM held", 0),
        ("SELECT count(*) FROM doubted", 0),
        ("SELECT count(*) FROM event WHERE kind = 'suppressed' AND note IS NOT NULL", 5),
        ("SELECT sum(sent) FROM sent_by_day", 5),
    ] {
        assert_eq!(value(rows).await, expected, "{rows}");
    }
}
