//! Several at once: the daemon writes, people read and change the list, mail servers read the published file.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use bounced::{
    follower::Published,
    policy::Policy,
    store::{ListSelection, Store},
};
use futures::TryStreamExt;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::fixture::{Fixture, HARD, MAILBOX, SOFT, START, entry, nobody, sqlite3, up_to};

#[tokio::test]
async fn two_processes_may_make_the_store_at_once() {
    let f = Fixture::new().await;
    for n in 0..20 {
        let path = f.path(&format!("new-{n}.db"));
        let (one, two) = tokio::join!(Store::open(&path), Store::open(&path));
        one.and(two).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writer_reader_and_a_person_get_along() {
    let f = Fixture::new().await;
    let published = Published::new(f.path("suppressions.db"));
    published.start(&f.store).await.unwrap();

    let writer = tokio::spawn({
        let (store, published) = (f.store.clone(), published.clone());
        async move {
            for batch in 0..40 {
                let entries: Vec<_> = (batch * 50..batch * 50 + 50)
                    .map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), HARD), ("x@example.com", SOFT)]))
                    .collect();
                let reading = up_to(&(batch * 50 + 49).to_string());
                store.commit(MAILBOX, &entries, &reading, &Policy::default()).await.unwrap();
                published.follow(&store).await.unwrap();
                store.settled(MAILBOX, &entries.iter().map(|e| e.place.clone()).collect::<Vec<_>>()).await.unwrap();
            }
        }
    });
    let reader = tokio::spawn({
        let (path, list) = (f.database(), f.path("suppressions.db"));
        async move {
            let store = Store::open_existing(&path).await.unwrap();
            let options = SqliteConnectOptions::new().filename(list).read_only(true);
            let mut mail_server = SqliteConnection::connect_with(&options).await.unwrap();
            let mut seen = 0;
            while seen < 2_000 {
                seen = store
                    .suppressions(&ListSelection::default())
                    .try_fold(0, |n, _| async move { Ok(n + 1) })
                    .await
                    .unwrap();
                sqlx::query_scalar::<_, i64>("SELECT count(*) FROM suppression")
                    .fetch_one(&mut mail_server)
                    .await
                    .unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let f = std::sync::Arc::new(f);
    let person = tokio::task::spawn_blocking({
        let f = f.clone();
        move || {
            for n in 0..10 {
                let output = f.suppressions(&["add", &format!("hand{n}@example.org")]);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
    });
    let (writer, reader, person) = tokio::join!(writer, reader, person);
    writer.and(reader).and(person).unwrap();
    assert_eq!(f.value::<i64>("SELECT count(*) FROM message").await, 2_000);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 2_010);
    assert_eq!(f.value_of::<i64>("suppressions.db", "SELECT count(*) FROM suppression").await, 2_010);
    assert!(f.unsettled(MAILBOX).await.is_empty());
}

#[tokio::test]
async fn a_commit_that_is_dropped_midway_leaves_nothing_and_may_be_repeated() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (0..300).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), HARD)])).collect();
    let policy = Policy::default();
    for polls in 1..40 {
        let reading = up_to("299");
        let mut commit = Box::pin(f.store.commit(MAILBOX, &batch, &reading, &policy));
        let mut finished = false;
        for _ in 0..polls {
            // The first poll that is ready ends the commit; before that the future goes away between two statements.
            if futures::poll!(&mut commit).is_ready() {
                finished = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        if finished {
            break;
        }
        assert!([0, 300].contains(&f.value::<i64>("SELECT count(*) FROM message").await));
    }
    f.commit(&batch).await;
    assert_eq!(f.value::<i64>("SELECT count(*) FROM message").await, 300);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 300);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM event").await, 600);
}

#[tokio::test]
async fn a_reader_without_write_permission_reads_the_list_with_and_without_the_daemon() {
    let (Some(user), Some(sqlite3)) = (nobody(), sqlite3()) else { return };
    let f = Fixture::new().await;
    let published = Published::new(f.path("suppressions.db"));
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    published.start(&f.store).await.unwrap();
    for (path, mode) in [(f.path(""), 0o755), (published.path().to_owned(), 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let look_up = || {
        let output = Command::new(sqlite3)
            .uid(user)
            .arg(published.path())
            .arg("SELECT reason FROM suppression WHERE email = 'Ann@Example.org'")
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let options = SqliteConnectOptions::new().filename(published.path());
    let held = SqliteConnection::connect_with(&options).await.unwrap();
    assert_eq!(look_up(), ("user_unknown\n".to_owned(), String::new()));
    held.close().await.unwrap();
    f.store.close().await;
    assert_eq!(look_up(), ("user_unknown\n".to_owned(), String::new()));
}
