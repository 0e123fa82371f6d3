//! The published lists beside the running program: they hurt none of their readers, hold nobody up, survive whatever
//! happens to it, and forget nobody by mistake.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    cdb,
    daemon::{Installation, Place},
    database, until,
};
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(30);

impl Place {
    /// Waits until so many are recorded and moved.
    async fn moved(&self, count: usize) {
        until("all is recorded and moved", SOON, async || {
            let recorded = database::count(&self.bounced.database(), "SELECT count(*) FROM message").await as usize;
            let moved = support::messages(&self.maildir().join(".Processed"));
            (recorded == count && moved == count).then_some(())
        })
        .await;
    }

    /// Waits until both lists name so many.
    async fn listed(&self, count: usize) {
        until("both lists name them", SOON, async || {
            let rows = database::count(&self.bounced.published(), "SELECT count(*) FROM suppression").await as usize;
            (rows == count && cdb::addresses(&self.bounced.cdb()).len() == count).then_some(())
        })
        .await;
    }

    /// Runs a command to its end: its exit code and what it printed.
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.bounced.command(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// Both lists, as they lie there.
    fn lists(&self) -> [Vec<u8>; 2] {
        [self.bounced.published(), self.bounced.cdb()].map(|path| fs::read(path).unwrap())
    }

    /// Runs the daemon to its end, which comes with this code and a last line with these words; `check` tells
    /// beforehand.
    async fn refuses(&self, code: i32, words: &[&str]) {
        let (foretold, text) = self.run(&["check", "--connect"]);
        assert!(foretold == Some(code) && words.iter().all(|word| text.contains(word)), "{text}");
        let before = self.bounced.log().len();
        let status = self.bounced.run().exit().await;
        let log = self.bounced.log().split_off(before);
        assert_eq!(status.code(), Some(code), "{log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.starts_with("bounced: ") && words.iter().all(|word| last.contains(word)), "{last}");
    }

    /// Removes the database and its companions.
    fn lose_database(&self) {
        for ending in ["", "-wal", "-shm"] {
            let mut path = self.bounced.database().into_os_string();
            path.push(ending);
            fs::remove_file(path).ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_a_reader_holds_holds_nobody_up() {
    let place = Place::new();
    let daemon = place.bounced.run();
    place.bounce(0);
    place.moved(1).await;
    place.listed(1).await;
    let options = SqliteConnectOptions::new().filename(place.bounced.published()).read_only(true);
    let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
    let mut held = reader.begin().await.unwrap();
    held.execute("SELECT count(*) FROM suppression").await.unwrap();
    // One batch after the other, each with something to publish.
    for n in 1..=5 {
        let began = Instant::now();
        place.bounce(n);
        place.moved(n + 1).await;
        // Ten seconds, when the list is waited for.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    let heard = async || cdb::addresses(&place.bounced.cdb()).len() == 6;
    until("the list that has no lock goes on", SOON, async || heard().await.then_some(())).await;
    until("it is said", SOON, async || place.bounced.log().contains("locked by another program").then_some(())).await;
    held.rollback().await.unwrap();
    place.listed(6).await;
    until("the end of it, too", SOON, async || place.bounced.log().contains("again").then_some(())).await;
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_whole_lists_that_anybody_can_read() {
    let place = Place::new();
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("SEED is a number"));
    println!("to repeat these moments: SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (published, cdb_path) = (place.bounced.published(), place.bounced.cdb());
    let mut sent = 0;
    let mut before = (0, 0);
    for _ in 0..25 {
        let daemon = place.bounced.run();
        // Of all rounds together not as many as an outage.
        for _ in 0..7 {
            place.bounce(sent);
            sent += 1;
        }
        sleep(Duration::from_micros(random.random_range(0..150_000))).await;
        daemon.kill();
        if !published.exists() {
            continue;
        }
        let mut journal = published.clone().into_os_string();
        journal.push("-journal");
        assert!(!Path::new(&journal).exists(), "whoever may only read can't roll it back");
        // Opens no file for writing and takes no lock, as a reader without any permission.
        let options = SqliteConnectOptions::new().filename(&published).read_only(true).immutable(true);
        let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM suppression").fetch_one(&mut reader).await.unwrap();
        let records = if cdb_path.exists() { cdb::records(&cdb_path).expect("a whole file").len() } else { 0 };
        assert!(rows >= before.0 && records >= before.1, "nobody is forgotten");
        before = (rows, records);
    }
    let daemon = place.bounced.run();
    place.moved(sent).await;
    place.listed(sent).await;
    assert!(daemon.terminate().await.success());
    let left: Vec<_> = fs::read_dir(published.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| [".new-", ".damaged", "-writing"].iter().any(|left| name.contains(left)))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_but_not_published_is_on_both_lists_after_the_next_start() {
    let place = Place::new();
    let daemon = place.bounced.run();
    place.bounce(0);
    place.moved(1).await;
    place.listed(1).await;
    let before = place.lists();
    place.bounce(1);
    place.moved(2).await;
    place.listed(2).await;
    daemon.kill();
    // As a kill between the commit and the lists leaves them.
    fs::write(place.bounced.published(), &before[0]).unwrap();
    fs::write(place.bounced.cdb(), &before[1]).unwrap();
    let daemon = place.bounced.run();
    place.listed(2).await;
    // Those that take longer are written before it ends.
    place.bounce(2);
    place.moved(3).await;
    assert!(daemon.terminate().await.success());
    assert_eq!(cdb::addresses(&place.bounced.cdb()).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_compares_only_a_list_that_may_not_be_as_it_was_left() {
    let place = Place::new();
    let config = fs::read_to_string(place.bounced.config()).unwrap();
    place.bounced.configure(&format!("[log]\nlevel = \"debug\"\n{config}"));
    let mark = place.bounced.published().with_extension("db-writing");
    for (n, compared) in [0, 0, 0, 1, 1].into_iter().enumerate() {
        if n == 3 {
            // As a kill in the middle of writing leaves it.
            fs::write(&mark, "").unwrap();
        }
        let daemon = place.bounced.run();
        place.bounce(n);
        place.moved(n + 1).await;
        place.listed(n + 1).await;
        if n == 1 {
            daemon.kill();
        } else {
            assert!(daemon.terminate().await.success());
        }
        let found = place.bounced.log().matches("is compared with the database").count();
        assert_eq!(found, compared, "{n}: {}", place.bounced.log());
        assert!(!mark.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_older_database_does_not_wipe_the_lists() {
    let place = Place::new();
    let daemon = place.bounced.run();
    place.bounce(0);
    place.moved(1).await;
    place.listed(1).await;
    assert!(daemon.terminate().await.success());
    let backup = fs::read(place.bounced.database()).unwrap();
    let daemon = place.bounced.run();
    place.bounce(1);
    place.moved(2).await;
    place.listed(2).await;
    assert!(daemon.terminate().await.success());
    let lists = place.lists();

    place.lose_database();
    place.bounce(2);
    place.refuses(78, &["is missing or empty", "suppressions.db", "backup", "--accept-new-store"]).await;
    assert!(!place.bounced.database().exists(), "a backup would be in its way");
    let (code, text) = place.run(&["suppressions", "add", "eve@example.org"]);
    assert!(code == Some(78) && text.contains("is missing"), "{text}");

    // Of another installation, or empty.
    fs::write(place.bounced.database(), "").unwrap();
    place.refuses(78, &["--accept-new-store"]).await;
    let waits = SqliteConnectOptions::new().filename(place.bounced.database());
    let mut waits = SqliteConnection::connect_with(&waits).await.unwrap();
    waits
        .execute("INSERT INTO held (address, domain, why, origin, since) VALUES ('eve@example.org', 'example.org', 'flood', 'hard', 0)")
        .await
        .unwrap();
    waits.close().await.unwrap();
    for change in
        [["suppressions", "add", "eve@example.org"], ["review", "approve", "--all"], ["review", "reject", "--all"]]
    {
        let (code, text) = place.run(&change);
        assert!(code == Some(78) && text.contains("from another database"), "{text}");
    }
    assert_eq!(database::count(&place.bounced.database(), "SELECT count(*) FROM suppression").await, 0, "not changed");
    assert_eq!(database::count(&place.bounced.database(), "SELECT count(*) FROM held").await, 1, "not changed");

    place.lose_database();
    fs::write(place.bounced.database(), &backup).unwrap();
    place.refuses(78, &["is newer", "--accept-new-store"]).await;
    assert!(place.lists() == lists && support::messages(&place.maildir()) == 1, "nothing was touched");

    let daemon = place.bounced.run_with(&["--accept-new-store"]);
    let expected = ["anna0", "anna2"].map(|name| format!("{name}@customer.example"));
    let as_said = async || (cdb::addresses(&place.bounced.cdb()) == expected).then_some(());
    until("what only the lost database knew is gone, as said", SOON, as_said).await;
    place.listed(2).await;
    assert!(daemon.terminate().await.success());

    place.lose_database();
    let (code, text) = place.run(&["suppressions", "add", "eve@example.org", "--accept-new-store"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(cdb::addresses(&place.bounced.cdb()), ["eve@example.org"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_list_under_a_running_daemon_is_said_shown_and_left_alone_and_nothing_else_stops() {
    let other = Place::new();
    assert_eq!(other.run(&["suppressions", "add", "theirs@example.org"]).0, Some(0));
    let theirs = other.lists();

    let place = Place::new();
    let mut daemon = place.bounced.run();
    place.bounce(0);
    place.moved(1).await;
    place.listed(1).await;
    until("it is healthy", SOON, async || (place.run(&["status"]).0 == Some(0)).then_some(())).await;
    for (path, list) in [place.bounced.published(), place.bounced.cdb()].iter().zip(&theirs) {
        let beside = path.with_extension("moved");
        fs::write(&beside, list).unwrap();
        fs::rename(&beside, path).unwrap();
    }
    place.bounce(1);
    place.moved(2).await;
    for list in ["suppressions.db", "suppressions.cdb"] {
        let said = format!("{list} was made from another database");
        until("it is said", SOON, async || place.bounced.log().contains(&said).then_some(())).await;
    }
    assert!(daemon.is_running());
    assert!(place.lists() == theirs);
    let (code, text) = place.run(&["status"]);
    assert_eq!((code, text.matches("was made from another database").count()), (Some(1), 2), "{text}");
    let (_, json) = place.run(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["mailbox"], &json[0]["healthy"]), (&"bounces".into(), &true.into()));
    assert!(json[2]["list"].as_str().unwrap().ends_with("suppressions.cdb") && json[2]["healthy"] == false, "{json}");
    let (code, text) = place.run(&["suppressions", "remove", "anna0@customer.example"]);
    assert!(code == Some(78) && text.contains("left as it is"), "{text}");

    [place.bounced.published(), place.bounced.cdb()].iter().for_each(|path| fs::remove_file(path).unwrap());
    place.listed(2).await;
    assert_eq!(place.run(&["status"]).0, Some(0));
    assert!(daemon.terminate().await.success());

    // With nobody there to make it anew, one that is gone is told as well.
    fs::remove_file(place.bounced.cdb()).unwrap();
    let (code, text) = place.run(&["status"]);
    assert!(code == Some(1) && text.contains("suppressions.cdb is missing or damaged"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_replaced_while_in_use_settles_no_mail() {
    for replaced in [false, true] {
        let place = Place::new();
        let mut daemon = place.bounced.run();
        place.bounce(0);
        place.moved(1).await;
        place.listed(1).await;
        let lists = place.lists();
        let moved = place.bounced.database().with_extension("moved");
        fs::rename(place.bounced.database(), &moved).unwrap();
        if replaced {
            fs::copy(&moved, place.bounced.database()).unwrap();
        }
        place.bounce(1);
        // A code after which the unit starts it anew.
        assert_eq!(daemon.exit().await.code(), Some(75), "{}", place.bounced.log());
        assert!(place.bounced.log().contains("while in use"), "{}", place.bounced.log());
        assert_eq!(support::messages(&place.maildir()), 1, "not moved away: its rows are in no file");
        assert!(place.lists() == lists, "nor changed for what was written there");
    }
}

/// SQLite goes on in the file that has no name any more, and nobody else sees what it writes there.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_the_database_that_is_deleted_while_in_use_settles_no_mail_and_loses_nothing() {
    if !Path::new("/proc/self/fd").exists() {
        support::skip("a deleted log of the database", "nobody tells which files are open");
        return;
    }
    let place = Place::new();
    let mut daemon = place.bounced.run();
    place.bounce(0);
    place.moved(1).await;
    let log = place.bounced.database().with_extension("db-wal");
    fs::remove_file(log).unwrap();
    place.bounce(1);
    assert_eq!(daemon.exit().await.code(), Some(75), "{}", place.bounced.log());
    assert!(place.bounced.log().contains("bounced.db-wal, a part of database"), "{}", place.bounced.log());
    assert_eq!(support::messages(&place.maildir()), 1, "not moved away");
    let _daemon = place.bounced.run();
    place.moved(2).await;
}

/// A file system of its own, which a test may fill.
struct Disk(PathBuf);

impl Disk {
    /// `None`, with a line that says so, where none can be mounted.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m,mode=755", "bounced"]).arg(at).output();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            support::skip("a full disk", "no small file system can be mounted here");
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_shows_in_the_status_of_the_mailbox_at_once_and_not_when_there_is_room_again() {
    let place = Place::new();
    let Some(disk) = Disk::mount(place.bounced.database().parent().unwrap()) else { return };
    let mailbox = format!("[maildir.bounces]\npath = \"{}\"\npoll = \"20ms\"\n", place.maildir().display());
    let bounced = Installation::new(place.dir.path(), &mailbox);
    let daemon = bounced.run();
    place.bounce(0);
    place.moved(1).await;
    let status = || {
        let (code, text) = place.run(&["status"]);
        let line = text.lines().find(|line| line.contains(" bounces: ")).unwrap_or(&text).to_owned();
        (code, line, text)
    };
    until("all is well", SOON, async || (status().0 == Some(0)).then_some(())).await;
    disk.fill();
    place.bounce(1);
    // Long before the mailbox is stale, and before five attempts have failed.
    let line = until("it is told", Duration::from_secs(6), async || {
        let (code, line, _) = status();
        (code == Some(1) && line.starts_with("FAILING")).then_some(line)
    })
    .await;
    assert!(line.contains("last attempt failed") && line.contains("cannot grow: the disk is full"), "{line}");
    let (_, json) = place.run(&["status", "--json"]);
    assert!(json.contains("\"wrong\":[\"failing\"]") && json.contains("the disk is full"), "{json}");
    disk.free();
    place.moved(2).await;
    until("all is well again", SOON, async || (status().0 == Some(0)).then_some(())).await;
    assert_eq!(daemon.terminate().await.code(), Some(0));

    disk.remount("ro");
    let (code, _, text) = status();
    assert!(code == Some(1) && text.contains("WRONG") && text.contains("is mounted read-only"), "{text}");
    disk.remount("rw");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_brings_both_lists_up_to_date_where_no_daemon_runs() {
    let place = Place::new();
    let add = |address: &str| assert_eq!(place.run(&["suppressions", "add", address]).0, Some(0));
    ["ann@example.org", "bob@example.org"].into_iter().for_each(add);
    place.listed(2).await;
    assert_eq!(place.run(&["suppressions", "remove", "ann@example.org"]).0, Some(0));
    assert_eq!(cdb::addresses(&place.bounced.cdb()), ["bob@example.org"]);

    // At once, and beside a daemon: whoever comes last leaves all of them.
    place.bounce(0);
    let daemon = place.bounced.run();
    let names: Vec<String> = (0..12).map(|n| format!("u{n:02}@example.org")).collect();
    let commands: Vec<_> =
        names.iter().map(|name| place.bounced.command(&["suppressions", "add", name]).spawn().unwrap()).collect();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    // The commands may be done before the daemon has begun.
    place.moved(1).await;
    place.listed(14).await;
    let others = ["bob@example.org", "anna0@customer.example"].map(str::to_owned);
    let expected: BTreeSet<_> = names.into_iter().chain(others).collect();
    assert_eq!(cdb::addresses(&place.bounced.cdb()).into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(daemon.terminate().await.success());
}

/// The command by which docs/database.md tries the list, and what it leaves where there is none.
#[tokio::test(flavor = "multi_thread")]
async fn postmap_finds_whom_the_list_names_and_what_it_leaves_behind_is_replaced() {
    let postmap = Path::new("/usr/sbin/postmap");
    if !postmap.exists() {
        return support::skip("postmap", "Postfix is not installed");
    }
    let place = Place::new();
    let docs = include_str!("../docs/database.md");
    let (_, rest) = docs.split_once("Try it: `postmap -q ").unwrap();
    let (address, rest) = rest.split_once(' ').unwrap();
    let (table, _) = rest.split_once('`').unwrap();
    let table =
        table.replace("/var/lib/bounced/suppressions", place.bounced.cdb().with_extension("").to_str().unwrap());
    // Not the machine's own configuration, whatever that says.
    let config = place.dir.path().join("postfix");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("main.cf"), "compatibility_level = 3.6\nmeta_directory = /etc/postfix\n").unwrap();
    let ask = |address: &str| {
        let output = Command::new(postmap).arg("-c").arg(&config).args(["-q", address, &table]).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = ask(address);
    if said.contains("unsupported dictionary type") {
        return support::skip("postmap", "Postfix does not read constant databases");
    }
    assert_ne!(code, Some(0), "{said}");
    assert_eq!(place.run(&["suppressions", "add", address, "bob@bücher.example"]).0, Some(0));
    let refused = "REJECT 5.1.1 Recipient is on our suppression list: manual\n".to_owned();
    for listed in [address, "bob@bücher.example", "bob@xn--bcher-kva.example"] {
        assert_eq!(ask(listed), (Some(0), refused.clone()), "{listed}");
    }
    assert_eq!(ask("nobody@example.org"), (Some(1), String::new()));
    // Asked while the list is gone: what that leaves holds nobody up.
    fs::remove_file(place.bounced.cdb()).unwrap();
    assert_ne!(ask(address).0, Some(0));
    let daemon = place.bounced.run();
    place.bounce(0);
    place.moved(1).await;
    place.listed(4).await;
    assert_eq!(ask(address), (Some(0), refused));
    assert_eq!(daemon.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_the_list_is_told_truly_whether_it_was_changed() {
    let place = Place::new();
    let change = |args: &[&str]| {
        let output = place.bounced.command(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(change(&["suppressions", "add", "ann@example.com"]).0, Some(0));
    let listed = |address: &str| change(&["suppressions", "check", address]).0 == Some(0);

    // A reader that does not let go of the published list.
    let options = SqliteConnectOptions::new().filename(place.bounced.published());
    let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
    reader.execute("BEGIN; SELECT count(*) FROM suppression").await.unwrap();
    let (code, said) = change(&["suppressions", "add", "bob@example.com"]);
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("the change is in the database") && !said.contains("nothing"), "{said}");
    assert!(listed("bob@example.com"));
    // What is not published yet can't be published now, either: this is found out before.
    let (code, said) = change(&["suppressions", "remove", "ann@example.com"]);
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("the list was not changed"), "{said}");
    assert!(listed("ann@example.com"));
    reader.close().await.unwrap();
    assert_eq!(change(&["suppressions", "remove", "ann@example.com"]).0, Some(0));
    assert!(!listed("ann@example.com"));
}

/// The user and group `nobody` of Debian.
const NOBODY: (u32, u32) = (65_534, 65_534);

#[tokio::test(flavor = "multi_thread")]
async fn what_root_leaves_behind_keeps_the_daemons_own_user_from_nothing() {
    let place = Place::new();
    let directories = [place.dir.path(), place.bounced.database().parent().unwrap()].map(Path::to_owned);
    if place.dir.path().metadata().unwrap().uid() != 0 {
        return support::skip("what_root_leaves_behind", "only root can give files away");
    }
    directories.iter().for_each(|directory| chown(directory, Some(NOBODY.0), Some(NOBODY.1)).unwrap());
    let as_nobody = |args: &[&str]| {
        let output = place.bounced.command(args).uid(NOBODY.0).gid(NOBODY.1).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    // Before the daemon ever ran.
    assert_eq!(place.run(&["suppressions", "add", "ann@example.org"]).0, Some(0));
    for file in [place.bounced.database(), place.bounced.published(), place.bounced.cdb()] {
        let made = file.metadata().unwrap();
        assert_eq!((made.uid(), made.gid()), NOBODY, "{}", file.display());
    }
    let (code, text) = as_nobody(&["suppressions", "add", "bob@example.org"]);
    assert_eq!(code, Some(0), "{text}");
    // `postmap -q` makes an empty file where there is none; a copy that root put back is root's.
    for empty in [true, false] {
        for list in [place.bounced.published(), place.bounced.cdb()] {
            let held = if empty { Vec::new() } else { fs::read(&list).unwrap() };
            fs::remove_file(&list).unwrap();
            fs::write(&list, held).unwrap();
        }
        let (code, text) =
            as_nobody(&["suppressions", "add", if empty { "carl@example.org" } else { "dora@example.org" }]);
        assert_eq!(code, Some(0), "{text}");
        place.listed(if empty { 3 } else { 4 }).await;
    }
    // What holds something else is nobody's to replace.
    fs::remove_file(place.bounced.published()).unwrap();
    fs::write(place.bounced.published(), "a person's notes").unwrap();
    let (code, text) = as_nobody(&["suppressions", "add", "emil@example.org"]);
    assert_eq!(code, Some(74), "{text}");
    assert!(text.contains("belongs to another user") && text.contains("mv "), "{text}");
    assert_eq!(fs::read_to_string(place.bounced.published()).unwrap(), "a person's notes");
}
