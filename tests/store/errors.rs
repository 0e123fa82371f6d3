//! What goes wrong with a database file is one clear line with its path and what to do, and nothing is lost.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use bounced::{
    follower::Published,
    message::Reading,
    policy::Policy,
    store::{Store, StoreError},
};

use crate::fixture::{Fixture, HARD, START, entry, nobody};

fn one_line_with(error: &StoreError, path: &Path, words: &str) {
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(path.to_str().unwrap()) && text.contains(words), "{text}");
}

async fn unusable(path: &Path, words: &str) {
    let error = Store::open(path).await.expect_err(words);
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    one_line_with(&error, path, words);
}

#[tokio::test]
async fn a_path_that_cannot_be_made_says_what_to_do() {
    let f = Fixture::new().await;
    fs::write(f.path("file"), "text").unwrap();
    unusable(&f.path("file/bounced.db"), "is no directory").await;
    unusable(&f.path("missing/bounced.db"), "does not exist; create it").await;
    unusable(f.path("").as_path(), "is a directory").await;

    let published = Published::new(f.path("missing/suppressions.db"));
    let error = published.start(&f.store).await.expect_err("no directory");
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    one_line_with(&error, published.path(), "does not exist; create it");
}

#[tokio::test]
async fn a_store_that_was_never_made_is_not_made_by_asking() {
    let f = Fixture::new().await;
    let path = f.path("never.db");
    let error = Store::open_existing(&path).await.expect_err("never made");
    one_line_with(&error, &path, "does not exist");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_as_a_store_and_put_aside_as_a_list() {
    let f = Fixture::new().await;
    let path = f.path("notes.txt");
    let text = "Not a database, but somebody's notes. ".repeat(100);
    fs::write(&path, &text).unwrap();
    unusable(&path, "damaged or no SQLite database").await;
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    Published::new(&path).start(&f.store).await.unwrap();
    assert_eq!(fs::read_to_string(f.path("notes.txt.damaged")).unwrap(), text);
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (1..500).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), HARD)])).collect();
    f.commit(&batch).await;
    f.store.close().await;
    let mut bytes = fs::read(f.database()).unwrap();
    bytes[4_096..].fill(0xa5);
    fs::write(f.database(), bytes).unwrap();
    unusable(&f.database(), "damaged").await;
}

#[tokio::test]
async fn a_truncated_database_is_refused_when_its_rows_are_needed() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (1..500).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), HARD)])).collect();
    f.commit(&batch).await;
    f.store.close().await;
    let bytes = fs::read(f.database()).unwrap();
    fs::write(f.database(), &bytes[..bytes.len() / 2]).unwrap();
    let error = match Store::open(&f.database()).await {
        Err(error) => error,
        Ok(store) => store
            .commit("bounces", &batch, &Reading::default(), &Policy::default())
            .await
            .expect_err("half of the file is gone"),
    };
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    one_line_with(&error, &f.database(), "damaged");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let f = Fixture::new().await;
    f.store.close().await;
    f.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', 1, x'00', 0)",
    )
    .await;
    unusable(&f.database(), "another version of bounced").await;
}

#[tokio::test]
async fn without_write_permission_the_line_names_the_permission() {
    let Some(user) = nobody() else { return };
    let f = Fixture::new().await;
    f.store.close().await;
    let program = f.path("bounced");
    fs::copy(env!("CARGO_BIN_EXE_bounced"), &program).unwrap();
    for (path, mode) in [(f.path(""), 0o555), (f.database(), 0o444), (program.clone(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for database in [f.database(), f.path("new.db")] {
        let output = Command::new(&program)
            .uid(user)
            .args(["--config", "/dev/null", "suppressions", "add", "ann@example.org"])
            .env("BOUNCED__DATABASE__PATH", &database)
            .env("BOUNCED__SUPPRESSIONS__PATH", f.path("suppressions.db"))
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(database.to_str().unwrap()) && stderr.contains("write permission"), "{stderr}");
    }
}
