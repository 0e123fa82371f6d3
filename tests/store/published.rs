//! The file that mail servers read follows the store, whatever happens in between.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use bounced::{
    follower::Published,
    message::Reading,
    policy::Policy,
    report::Address,
    store::{Store, StoreError},
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, entry};

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

    l.f.store.suppress(&address("bob@example.org"), None, START).await.unwrap();
    l.f.store.suppress(&address("ann@example.org"), Some("asked"), START).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(rows(&mut reader).await, ["ann@example.org manual user_unknown", "bob@example.org manual manual"]);

    l.f.store.release(&address("ann@example.org"), START + DAY).await.unwrap();
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
    l.f.store.release(&address("ann@example.org"), START).await.unwrap();
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
    other.suppress(&address("bob@example.org"), None, START).await.unwrap();
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["bob@example.org manual manual"]);
    other.release(&address("bob@example.org"), START).await.unwrap();
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
    l.f.store.release(&address("ann@example.org"), START).await.unwrap();
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
async fn a_store_restored_from_a_backup_is_followed_again() {
    for back_again in [false, true] {
        let l = List::new().await;
        l.bounce(1, "ann@example.org").await;
        l.published.follow(&l.f.store).await.unwrap();
        l.f.store.close().await;
        let backup = fs::read(l.f.database()).unwrap();
        let store = Store::open(&l.f.database()).await.unwrap();
        store.release(&address("ann@example.org"), START).await.unwrap();
        store.suppress(&address("bob@example.org"), None, START).await.unwrap();
        l.published.follow(&store).await.unwrap();
        assert_eq!(l.rows().await, ["bob@example.org manual manual"]);
        if back_again {
            // The list is then right by chance, and only its revision is not.
            store.release(&address("bob@example.org"), START).await.unwrap();
            let again = [entry(2, START + DAY, &[("ann@example.org", HARD)])];
            store.commit(MAILBOX, &again, &Reading::default(), &Policy::default()).await.unwrap();
            l.published.follow(&store).await.unwrap();
        }
        store.close().await;

        fs::write(l.f.database(), backup).unwrap();
        let store = Store::open(&l.f.database()).await.unwrap();
        l.published.follow(&store).await.unwrap();
        assert_eq!(l.rows().await, ["ann@example.org hard user_unknown"]);
        assert_eq!(l.revision().await, store.newest_revision().await.unwrap());
    }
}

#[tokio::test]
async fn an_edited_list_is_mended_at_the_start() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.bounce(2, "bob@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    sqlx::raw_sql(
        "DELETE FROM suppression WHERE email = 'ann@example.org';
         UPDATE suppression SET reason = 'spam';
         INSERT INTO suppression VALUES ('eve@example.org', 'hard', 'user_unknown', 0)",
    )
    .execute(&mut l.open().await)
    .await
    .unwrap();
    // What is only followed is not compared as a whole: that would take long with each change.
    l.published.follow(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["bob@example.org hard spam", "eve@example.org hard user_unknown"]);
    l.published.start(&l.f.store).await.unwrap();
    assert_eq!(l.rows().await, ["ann@example.org hard user_unknown", "bob@example.org hard user_unknown"]);
}

#[tokio::test]
async fn a_list_of_another_store_is_replaced_whole() {
    let l = List::new().await;
    l.bounce(1, "ann@example.org").await;
    l.published.follow(&l.f.store).await.unwrap();
    let other = Store::open(&l.f.path("other.db")).await.unwrap();
    other.suppress(&address("bob@example.org"), None, START).await.unwrap();
    l.published.follow(&other).await.unwrap();
    assert_eq!(l.rows().await, ["bob@example.org manual manual"]);
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
                    store.suppress(&address, None, START).await.unwrap();
                } else {
                    store.release(&address, START).await.unwrap();
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
    assert_eq!(look_up("Ann@Example.org"), "REJECT 5.1.1 Suppressed after bounces: user_unknown\n");
    assert_eq!(look_up("bob@example.org"), "");
}
