//! What goes wrong outside of the daemon: each fault gives one clear line that says what to do, and loses no mail.

mod support;

use std::{fs, time::Duration};

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{daemon::Installation, database, dovecot::deliver, until};

const BOUNCE: &str = include_str!("../scripts/samples/postfix-user-unknown.eml");

/// Runs the daemon to its end and expects the exit code and one line of error that holds all of `words`.
async fn refuses(bounced: &Installation, code: i32, words: &[&str]) {
    let before = bounced.log().len();
    let status = bounced.run().exit().await;
    let log = bounced.log().split_off(before);
    let errors: Vec<&str> =
        log.lines().filter(|line| line.starts_with("bounced: ") || line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "one clear line for {words:?}:\n{log}");
    for word in words {
        assert!(errors[0].contains(word), "`{word}` is not in: {}", errors[0]);
    }
    assert_eq!(status.code(), Some(code), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_retry_can_mend_ends_the_daemon_with_one_line_and_leaves_the_mail() {
    let Some(dovecot) = support::dovecot("") else { return };
    let dir = support::directory();
    dovecot.deliver(BOUNCE);
    let bounced = Installation::new(dir.path(), "");
    let files = "[database]\npath = \"bounced.db\"\n[suppressions]\npath = \"suppressions.db\"\n";
    let configure = |text: String| bounced.configure(&text);
    let mailbox = support::as_mailbox(&dovecot);

    let wrong_password = dir.path().join("wrong-password");
    fs::write(&wrong_password, "guess\n").unwrap();
    let right_password = dovecot.dir.path().join("password");
    let [right, wrong] = [right_password, wrong_password].map(|file| file.display().to_string());
    configure(files.to_owned() + &mailbox.replace(&right, &wrong));
    refuses(&bounced, 77, &["bounces", "password"]).await;

    let without_authority = mailbox.lines().filter(|line| !line.starts_with("ca_file")).collect::<Vec<_>>().join("\n");
    configure(files.to_owned() + &without_authority);
    refuses(&bounced, 77, &["certificate", "ca_file"]).await;

    configure(files.to_owned() + &mailbox + "folder = \"Nowhere\"\n");
    refuses(&bounced, 77, &["Nowhere", "folder"]).await;

    configure(files.to_owned() + &mailbox + "pasword = \"typo\"\n");
    refuses(&bounced, 78, &["bounced.toml:", "pasword"]).await;

    configure(files.replace("\"bounced.db\"", "\"nowhere/bounced.db\"") + &mailbox);
    refuses(&bounced, 74, &["nowhere", "the directory must exist"]).await;

    // A path that even root can't write to.
    configure(files.replace("\"bounced.db\"", "\"/proc/bounced.db\"") + &mailbox);
    refuses(&bounced, 74, &["/proc/bounced.db"]).await;

    fs::write(bounced.database(), "This is no database, but it is long enough to be looked at. ".repeat(100)).unwrap();
    configure(files.to_owned() + &mailbox);
    refuses(&bounced, 74, &["bounced.db", "damaged", "backup"]).await;

    assert_eq!(support::messages(&dovecot.maildir()), 1, "nothing was touched");
    fs::remove_file(bounced.database()).unwrap();
    let daemon = bounced.run();
    recorded(&bounced, 1).await;
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_waited_for() {
    let Some(mut dovecot) = support::dovecot("") else { return };
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), &support::as_mailbox(&dovecot));
    dovecot.deliver(BOUNCE);
    let mut daemon = bounced.run();
    recorded(&bounced, 1).await;

    let log = bounced.log();
    assert!(log.contains("folder=INBOX") && log.contains("folder=Processed"), "{log}");
    let without_name = |line: &&str| line.contains("folder") && !line.contains("mailbox=\"bounces\"");
    assert_eq!(log.lines().find(without_name), None);

    dovecot.stop();
    until("the daemon says so", Duration::from_secs(30), async || bounced.log().contains("WARN").then_some(())).await;
    assert!(daemon.is_running());

    dovecot.restart();
    dovecot.deliver(&BOUNCE.replace("anna", "another"));
    recorded(&bounced, 2).await;
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stays_locked_at_the_start_ends_it_with_75() {
    let dir = support::directory();
    let maildir = dir.path().join("Maildir");
    fs::create_dir(&maildir).unwrap();
    let bounced = Installation::new(dir.path(), &format!("[maildir.bounces]\npath = \"{}\"\n", maildir.display()));
    deliver(&maildir, BOUNCE);
    let daemon = bounced.run();
    recorded(&bounced, 1).await;
    assert!(daemon.terminate().await.success());

    deliver(&maildir, &BOUNCE.replace("anna", "another"));
    let options = SqliteConnectOptions::new().filename(bounced.database());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    refuses(&bounced, 75, &["bounced.db", "locked"]).await;
    assert_eq!(support::messages(&maildir), 1, "nothing was touched");
    other.close().await.unwrap();
    let daemon = bounced.run();
    recorded(&bounced, 2).await;
    assert!(daemon.terminate().await.success());
}

async fn recorded(bounced: &Installation, messages: i64) {
    until("the bounce is recorded", Duration::from_secs(60), async || {
        let count = database::count(&bounced.database(), "SELECT count(*) FROM message").await;
        (count == messages).then_some(())
    })
    .await;
}
