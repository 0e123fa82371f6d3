//! The file that mail servers read follows the store, whatever happens in between.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bounced::{
    follower::{Followers, Published},
    message::Reading,
    policy::Policy,
    report::Address,
    store::{By, Store, StoreError},
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, by, entry};

struct List {
    f: Fixture,
    published: Published,
}

impl List {
    async fn new() -> Self {
        let f = Fixture::new().await;
        let published = Published::new(f.path("suppressions.db"));
        Self { f, published }
    }

    fn path(&self) -> PathBuf {
        self.published.path().to_owned()
    }

    async fn open(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }

    /// `address origin reason` of each row.
    async fn rows(&self) -> Vec<String> {
        rows(&mut self.open().await).await
    }

    /// How far the list has come.
    async fn revision(&self) -> i64 {
        self.f.value_of("suppressions.db", "SELECT revision FROM following").await
    }

    async fn bounce(&self, uid: u32, address: &str) {
        self.f.commit(&[entry(uid, START + i64::from(uid) * DAY, &[(address, HARD)])]).await;
    }
}

async fn rows(connection: &mut SqliteConnection) -> Vec<String> {
    sqlx::query_scalar("SELECT email || ' ' || origin || ' ' || reason FROM suppression ORDER BY email")
        .fetch_all(connection)
        .await
        .unwrap()
}

async fn create(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).create_if_missing(true)).await.unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[tokio::test]
async fn the_list_follows_every_change_under_an_open_handle() {
    let l = List::new().await;
    l.published.start(&l.f.store).await.unwrap();
    let mut reader = l.open().await;
    assert!(rows(&mut reader).await.is_empty());
    let inode = fs::metadata(l.path()).unwrap().ino();

    l.bounce(1, "Ann@Example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(rows(&mut reader).await, ["ann@example.org hard user_unknown"]);

    l.f.store.suppress(&[address("bob@example.org")], &by(START)).await.unwrap();
    l.f.store.suppress(&[address("ann@example.org")], &By { note: Some("asked"), ..by(START) }).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(rows(&mut reader).await, ["ann@example.org manual user_unknown", "bob@example.org manual manual"]);

    l.f.store.release(&[address("ann@example.org")], &by(START + DAY)).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(rows(&mut reader).await, ["bob@example.org manual manual"]);
    assert_eq!(fs::metadata(l.path()).unwrap().ino(), inode, "a mail server keeps its handle");
}

#[tokio::test]
async fn a_soft_entry_that_turns_hard_is_published_as_hard() {
    let l = List::new().await;
    let soft: Vec<_> = (0..5).map(|n| entry(n, START + i64::from(n) * 4 * DAY, &[("ann@example.org", SOFT)])).collect();
    l.f.commit(&soft).await;
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["ann@example.org soft mailbox_full"]);
    l.bounce(30, "ann@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["ann@example.org hard user_unknown"]);
}

#[tokio::test]
async fn an_entry_whose_time_is_over_leaves_the_list() {
    let l = List::new().await;
    let soft: Vec<_> = (0..5).map(|n| entry(n, START + i64::from(n) * 4 * DAY, &[("ann@example.org", SOFT)])).collect();
    l.f.commit(&soft).await;
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await.len(), 1);
    assert_eq!(l.f.store.expire(START + 60 * DAY).await.unwrap(), 1);
    l.published.follow(&l.f.store).await.unwrap();
    assert!(l.rows().await.is_empty());
}

#[tokio::test]
async fn the_list_is_a_rollback_journal_file() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut l.open().await).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    // https://www.sqlite.org/fileformat.html: bytes 18 and 19 are 1 for rollback journalling and 2 for WAL.
    assert_eq!(fs::read(l.path()).unwrap()[18..20], [1, 1]);
    assert_eq!(fs::read(l.f.database()).unwrap()[18..20], [2, 2]);
}

#[tokio::test]
async fn a_missing_list_is_rebuilt_with_the_next_change() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    fs::remove_file(l.path()).unwrap();
    l.bounce(2, "bob@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["ann@example.org hard user_unknown", "bob@example.org hard user_unknown"]);
}

#[tokio::test]
async fn a_crash_between_commit_and_publishing_heals() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    l.bounce(2, "bob@example.org").await;
    l.f.store.release(&[address("ann@example.org")], &by(START)).await.unwrap();
    l.f.store.close().await;

    let store = Store::open(&l.f.database()).await.unwrap();
    Published::new(l.path()).follow(&store).await.unwrap();
    assert_eq!(l.rows().await, ["bob@example.org hard user_unknown"]);
}

#[tokio::test]
async fn the_changes_of_another_process_are_carried_over() {
    let l = List::new().await;
    l.published.start(&l.f.store).await.unwrap();
    let other = Store::open(&l.f.database()).await.unwrap();
    other.suppress(&[address("bob@example.org")], &by(START)).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["bob@example.org manual manual"]);
    other.release(&[address("bob@example.org")], &by(START)).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    assert!(l.rows().await.is_empty());
}

#[tokio::test]
async fn more_changes_than_are_carried_over_at_once_all_arrive() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    let batch: Vec<_> = (10..2_510).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), HARD)])).collect();
    l.f.commit(&batch).await;
    l.f.store.release(&[address("ann@example.org")], &by(START)).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    let rows = l.rows().await;
    assert_eq!(rows.len(), 2_500);
    assert!(!rows.iter().any(|row| row.starts_with("ann@")));
    assert_eq!(l.revision().await, l.f.store.newest_revision().await.unwrap());
}

#[tokio::test]
async fn nobody_waits_where_nothing_changed() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    let (before, revision) = (fs::read(l.path()).unwrap(), l.revision().await);
    // A reader that never ends would keep whoever wants to write.
    let mut reader = l.open().await;
    let mut held = reader.begin().await.unwrap();
    rows(&mut held).await;
    l.f.commit(&[entry(2, START, &[("bob@example.org", SOFT)])]).await;
    l.published.follow(&l.f.store).await.unwrap();
    l.published.start(&l.f.store).await.unwrap();
    drop(held);
    let after = l.revision().await;
    assert!(after >= revision);
    // After many bounces that change nothing it need not pass over them again.
    let batch: Vec<_> = (10..1_510).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), SOFT)])).collect();
    l.f.commit(&batch).await;
    l.published.follow(&l.f.store).await.unwrap();
    assert!(l.revision().await >= after + 1_000);
    assert_eq!(l.rows().await, ["ann@example.org hard user_unknown"]);
    assert_ne!(before, fs::read(l.path()).unwrap());
}

#[tokio::test]
async fn a_store_restored_from_a_backup_is_followed_again_once_a_person_says_so() {
    for back_again in [false, true] {
        let l = List::new().await;
        l.bounce(1, "ann@example.org").await;
        l.published.follow(&l.f.store).await.unwrap();
        l.f.store.close().await;
        let backup = fs::read(l.f.database()).unwrap();
        let store = Store::open(&l.f.database()).await.unwrap();
        store.release(&[address("ann@example.org")], &by(START)).await.unwrap();
        store.suppress(&[address("bob@example.org")], &by(START)).await.unwrap();
        l.published.follow(&store).await.unwrap();
        assert_eq!(l.rows().await, ["bob@example.org manual manual"]);
        if back_again {
            // The list is then right by chance, and only its revision is not.
            store.release(&[address("bob@example.org")], &by(START)).await.unwrap();
            let again = [entry(2, START + DAY, &[("ann@example.org", HARD)])];
            store.commit(MAILBOX, &again, &Reading::default(), &Policy::default()).await.unwrap();
            l.published.follow(&store).await.unwrap();
        }
        store.close().await;
        let before = fs::read(l.path()).unwrap();

        fs::write(l.f.database(), backup).unwrap();
        let store = Store::open(&l.f.database()).await.unwrap();
        for refused in [l.published.follow(&store).await, l.published.start(&store).await] {
            assert!(matches!(&refused, Err(StoreError::Foreign(text)) if text.contains("is newer")), "{refused:?}");
        }
        assert!(fs::read(l.path()).unwrap() == before);
        let mut config = l.f.config();
        config.suppressions.accept_new_store = true;
        Followers::configured(&config).start(&store).await.unwrap();
        assert_eq!(l.rows().await, ["ann@example.org hard user_unknown"]);
        assert_eq!(l.revision().await, store.newest_revision().await.unwrap());
    }
}

#[tokio::test]
async fn an_edited_list_is_mended_with_the_next_turn_and_at_the_start() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.bounce(2, "bob@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    for edit in [
        "DELETE FROM suppression WHERE email = 'ann@example.org'",
        "UPDATE suppression SET reason = 'spam' WHERE email = 'ann@example.org'",
        "INSERT INTO suppression VALUES ('eve@example.org', 'hard', 'user_unknown', 0)",
        "DELETE FROM suppression",
    ] {
        for at_start in [false, true] {
            sqlx::raw_sql(edit).execute(&mut l.open().await).await.unwrap();
            let other = Published::new(l.path());
            let mended = if at_start { other.start(&l.f.store).await } else { l.published.follow(&l.f.store).await };
            mended.unwrap();
            assert_eq!(
                l.rows().await,
                ["ann@example.org hard user_unknown", "bob@example.org hard user_unknown"],
                "{edit} {at_start}"
            );
        }
    }
}

#[tokio::test]
async fn what_was_written_before_the_machine_started_is_compared_at_the_start_whoever_wrote_since() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    // A power cut took a change of the last seconds back, and left the file sound.
    sqlx::raw_sql("DELETE FROM suppression; UPDATE following SET boot = 'before'")
        .execute(&mut l.open().await)
        .await
        .unwrap();
    // As a command before the daemon: it carries over its own change, and knows nothing of the rest.
    l.bounce(2, "bob@example.org").await;
    Published::new(l.path()).follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["bob@example.org hard user_unknown"]);
    Published::new(l.path()).start(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["ann@example.org hard user_unknown", "bob@example.org hard user_unknown"]);
}

/// The mark that lies beside the list while it is written.
fn mark(l: &List) -> PathBuf {
    l.f.path("suppressions.db-writing")
}

#[tokio::test]
async fn what_a_kill_tears_in_the_middle_of_writing_is_mended_with_the_next_turn_and_at_the_start() {
    const PAGE: usize = 4_096;
    let l = List::new().await;
    let many: Vec<_> = (0..300).map(|uid| entry(uid, START, &[(&format!("u{uid:03}@example.org"), HARD)])).collect();
    l.f.commit(&many).await;
    l.published.start(&l.f.store).await.unwrap();
    let mut torn = 0;
    // The first change lets the file as long as it is: SQLite finds nothing wrong with one half of it.
    for more in [false, true] {
        let before = fs::read(l.path()).unwrap();
        let ending = if more { "x".repeat(50) } else { String::new() };
        let changed = (0..300).step_by(2).map(|n| address(&format!("u{n:03}@{ending}example.org")));
        l.f.store.suppress(&changed.collect::<Vec<_>>(), &by(START)).await.unwrap();
        l.published.follow(&l.f.store).await.unwrap();
        let (after, rows) = (fs::read(l.path()).unwrap(), l.rows().await);
        assert_eq!(after.len() > before.len(), more);
        // Pages are written one after the other, the file's own account of itself among the first.
        for pages in 1..after.len() / PAGE {
            let half = [&after[..pages * PAGE], before.get(pages * PAGE..).unwrap_or_default()].concat();
            torn += u32::from(half != after);
            for at_start in [false, true] {
                fs::write(l.path(), &half).unwrap();
                fs::write(mark(&l), "").unwrap();
                let other = Published::new(l.path());
                if at_start { other.start(&l.f.store).await } else { other.follow(&l.f.store).await }.unwrap();
                assert_eq!(l.rows().await, rows, "{pages} of the new pages");
                assert!(!mark(&l).exists());
            }
        }
    }
    assert!(torn >= 4, "{torn}");
}

#[tokio::test]
async fn a_comparison_that_breaks_off_is_made_again() {
    let l = List::new().await;
    let many: Vec<_> = (0..900).map(|uid| entry(uid, START, &[(&format!("u{uid:03}@example.org"), HARD)])).collect();
    l.f.commit(&many).await;
    l.published.start(&l.f.store).await.unwrap();
    let rows = l.rows().await;
    // Without a note in the file, as a power cut or a kill would have it.
    let torn = "CREATE TEMP TABLE kept AS SELECT boot FROM following;
         DELETE FROM suppression;
         UPDATE following SET boot = (SELECT boot FROM kept);
         CREATE TRIGGER fails BEFORE INSERT ON suppression WHEN NEW.email = 'u800@example.org'
         BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::raw_sql(torn).execute(&mut l.open().await).await.unwrap();
    fs::write(mark(&l), "").unwrap();
    l.published.follow(&l.f.store).await.expect_err("it breaks off");
    let midway = l.rows().await.len();
    assert!((1..900).contains(&midway), "{midway}");
    sqlx::raw_sql("DROP TRIGGER fails").execute(&mut l.open().await).await.unwrap();
    Published::new(l.path()).start(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, rows);
}

#[tokio::test]
async fn the_mark_of_somebody_who_is_writing_is_left_to_him() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    let writer = fs::File::create(mark(&l)).unwrap();
    writer.try_lock().unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    l.bounce(2, "bob@example.org").await;
    let error = l.published.follow(&l.f.store).await.expect_err("he is not done");
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
    assert!(mark(&l).exists());
    drop(writer);
    l.published.follow(&l.f.store).await.unwrap();
    assert!(!mark(&l).exists(), "he died");
    assert_eq!(l.rows().await.len(), 2);
}

#[tokio::test]
async fn a_damaged_list_is_made_anew_and_kept_aside() {
    let l = List::new().await;
    let many: Vec<_> = (10..1_010).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), HARD)])).collect();
    l.f.commit(&many).await;
    l.published.start(&l.f.store).await.unwrap();
    let (whole, rows) = (fs::read(l.path()).unwrap(), l.rows().await);
    let garbled = [&whole[..8_192], &vec![0xa5; whole.len() - 8_192]].concat();
    for damaged in [b"Not a database. ".repeat(300), whole[..whole.len() / 2].to_vec(), garbled] {
        fs::write(l.path(), &damaged).unwrap();
        l.published.start(&l.f.store).await.unwrap();
        assert_eq!(l.rows().await, rows);
        assert!(fs::read(l.f.path("suppressions.db.damaged")).unwrap() == damaged);
    }
    for (uid, sql) in
        ["DELETE FROM following", "DROP TABLE following", "DROP TABLE suppression"].into_iter().enumerate()
    {
        sqlx::raw_sql(sql).execute(&mut l.open().await).await.unwrap();
        // One that was never stopped notices as well.
        l.bounce(uid as u32, &format!("ann{uid}@example.org")).await;
        l.published.follow(&l.f.store).await.unwrap();
        assert_eq!(l.rows().await.len(), rows.len() + uid + 1, "{sql}");
    }
}

#[tokio::test]
async fn the_journal_of_another_file_does_not_spoil_the_list() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    // A journal that is hot: of a file with other pages, whose writer died.
    let other = l.f.path("other.db");
    let mut writer = create(&other).await;
    sqlx::raw_sql(
        "PRAGMA page_size = 4096; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(60000)); PRAGMA cache_size = 1; BEGIN;
         UPDATE t SET x = randomblob(60000); INSERT INTO t SELECT randomblob(60000) FROM t",
    )
    .execute(&mut writer)
    .await
    .unwrap();
    let journal = l.f.path("suppressions.db-journal");
    fs::copy(l.f.path("other.db-journal"), &journal).unwrap();
    assert!(fs::metadata(&journal).unwrap().len() > 4_096);
    l.published.start(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["ann@example.org hard user_unknown"]);
    assert!(!journal.exists(), "whoever may only read could not get past it");
}

/// How often the file was changed (https://www.sqlite.org/fileformat.html#file_change_counter).
fn changes(path: &Path) -> u32 {
    u32::from_be_bytes(fs::read(path).unwrap()[24..28].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_changes_take_many_short_locks_and_never_leave_a_journal() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    l.f.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO suppression (address, domain, origin, since)
         SELECT 'u' || i || '@example.org', 'example.org', 'manual', 0 FROM n;
         INSERT INTO event (at, kind, address, origin)
         SELECT 0, 'suppressed', address, 'manual' FROM suppression WHERE origin = 'manual'",
    )
    .await;
    let before = changes(&l.path());
    let done = Arc::new(AtomicBool::new(false));
    let watch = std::thread::spawn({
        let (journal, mark, done) = (l.f.path("suppressions.db-journal"), mark(&l), Arc::clone(&done));
        move || {
            let mut seen = (0, 0);
            while !done.load(Ordering::Relaxed) {
                seen.0 += u32::from(journal.exists());
                seen.1 += u32::from(mark.exists());
            }
            seen
        }
    });
    l.published.follow(&l.f.store).await.unwrap();
    done.store(true, Ordering::Relaxed);
    let (journals, marks) = watch.join().unwrap();
    assert_eq!(journals, 0, "a reader could not roll it back");
    assert!(marks > 0, "whoever comes after a kill could not see that it was in the middle of writing");
    assert_eq!(l.rows().await.len(), 100_001);
    let locks = changes(&l.path()) - before;
    assert!(locks >= 100_000 / 2_000, "{locks} locks for all of it are long ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stays_is_not_waited_for_and_keeps_no_other_reader_out() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.start(&l.f.store).await.unwrap();
    let mut reader = l.open().await;
    let mut held = reader.begin().await.unwrap();
    rows(&mut held).await;
    l.bounce(2, "bob@example.org").await;
    let began = Instant::now();
    let error = l.published.follow(&l.f.store).await.expect_err("it is held");
    assert!(matches!(&error, StoreError::Busy(text) if text.contains("locked")), "{error}");
    // Ten seconds, when nobody thought of those who wait behind the writer.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(l.rows().await.len(), 1, "another reader gets in");
    assert!(!mark(&l).exists(), "nothing was written");
    held.rollback().await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await.len(), 2);
}

#[tokio::test]
async fn a_database_of_somebody_else_is_refused_and_left_alone() {
    let l = List::new().await;
    sqlx::raw_sql("CREATE TABLE suppression (theirs TEXT); INSERT INTO suppression VALUES ('precious')")
        .execute(&mut create(&l.f.path("theirs.db")).await)
        .await
        .unwrap();
    let theirs = l.f.path("theirs.db");
    let before = fs::read(&theirs).unwrap();
    for path in [theirs.as_path(), l.f.database().as_path()] {
        let error = Published::new(path).start(&l.f.store).await.expect_err("refused");
        assert!(matches!(&error, StoreError::Unusable(text) if text.contains("belongs to something else")), "{error}");
    }
    let error = Store::open(&theirs).await.expect_err("refused");
    assert!(matches!(&error, StoreError::Unusable(text) if text.contains("belongs to something else")), "{error}");
    assert_eq!(fs::read(&theirs).unwrap(), before);
}

#[tokio::test]
async fn two_writers_at_once_leave_the_newest_state() {
    let l = List::new().await;
    let other = Store::open(&l.f.database()).await.unwrap();
    let change = |store: Store, name: &'static str| {
        let published = l.published.clone();
        async move {
            for n in 0..20 {
                let address = address(&format!("{name}{}@example.org", n % 3));
                if n % 2 == 0 {
                    store.suppress(std::slice::from_ref(&address), &by(START)).await.unwrap();
                } else {
                    store.release(std::slice::from_ref(&address), &by(START)).await.unwrap();
                }
                published.follow(&store).await.unwrap();
            }
        }
    };
    let (one, two) = tokio::join!(tokio::spawn(change(l.f.store.clone(), "ann")), tokio::spawn(change(other, "ann")));
    one.and(two).unwrap();
    let wanted: Option<String> =
        l.f.value("SELECT group_concat(address) FROM (SELECT address FROM suppression ORDER BY address)").await;
    let found: Vec<String> = l.rows().await.iter().map(|row| row.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(found.join(","), wanted.unwrap_or_default());
}

#[tokio::test]
async fn postfix_reads_the_list_as_the_docs_say() {
    let Ok(true) =
        Command::new("postconf").arg("-m").output().map(|o| String::from_utf8_lossy(&o.stdout).contains("sqlite"))
    else {
        return println!("skipped: no Postfix with sqlite tables here");
    };
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();

    let table = include_str!("../../docs/database.md").split("```\ndbpath = ").nth(1).unwrap();
    let (documented, query) = table.split("\n```").next().unwrap().split_once('\n').unwrap();
    assert_eq!(documented, "/var/lib/bounced/suppressions.db");
    fs::write(l.f.path("suppressions.cf"), format!("dbpath = {}\n{query}\n", l.path().display())).unwrap();
    // A configuration of its own: the machine's may not exist.
    fs::write(l.f.path("main.cf"), "").unwrap();
    let look_up = |address: &str| {
        let table = format!("sqlite:{}", l.f.path("suppressions.cf").display());
        let config = l.f.path("");
        let output = Command::new("postmap").arg("-c").arg(config).args(["-q", address, &table]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(look_up("Ann@Example.org"), "REJECT 5.1.1 Recipient is on our suppression list: user_unknown\n");
    assert_eq!(look_up("bob@example.org"), "");
}
