//! Mails that look like reports and name nobody: they are listed, copied out of the mailbox that they lie in by now,
//! and read again.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    daemon::{Installation, Place},
    database,
    dovecot::deliver,
    until,
};

const SOON: Duration = Duration::from_secs(60);

/// It is a report, and whom it is about stands in no mail.
const NOBODY: &str = "From: MAILER-DAEMON@mx.example.org\nMessage-ID: <nobody@mx.example.org>\nSubject: Undelivered Mail Returned \
                      to Sender\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; \
                      boundary=b\n\n--b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; \
                      mx.example.org\n\nAction: failed\nStatus: 5.1.1\n--b--\n";

fn run(bounced: &Installation, args: &[&str], code: i32) -> (String, String) {
    let output = bounced.command(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{told}{said}");
    (told, said)
}

/// What an earlier version, or other tables, would have made of the bounces of `anna1`: they named nobody.
async fn as_if_nobody_were_named(bounced: &Installation) {
    let options = SqliteConnectOptions::new().filename(bounced.database());
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let of_anna = "SELECT message FROM bounce WHERE address = 'anna1@customer.example'";
    for change in [
        format!("UPDATE message SET names_nobody = 1 WHERE id IN ({of_anna})"),
        "DELETE FROM suppression WHERE address = 'anna1@customer.example'".to_owned(),
        "DELETE FROM bounce WHERE address = 'anna1@customer.example'".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(change)).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}

/// From three mails that the daemon has recorded and moved: one of nobody, one of `anna1`, one of `anna2`.
async fn is_found_again(bounced: &Installation, dir: &Path) {
    let is_done = async || {
        let settled = database::count(&bounced.database(), "SELECT count(*) FROM unsettled").await == 0;
        (settled && database::count(&bounced.database(), "SELECT count(*) FROM message").await == 3).then_some(())
    };
    until("all are recorded and moved", SOON, is_done).await;
    let (told, _) = run(bounced, &["unrecognised"], 0);
    assert!(told.lines().count() == 1 && told.contains(" bounces "), "{told}");
    run(bounced, &["retry", "--unrecognised"], 0);
    let (told, _) = run(bounced, &["unrecognised", "--json", "bounces"], 0);
    assert!(told.contains(r#""message_id":"nobody@mx.example.org""#), "it names nobody still: {told}");
    for command in [
        &["unrecognised", "other"][..],
        &["retry", "other"],
        &["retry", "--unrecognised", "other"],
        &["login", "other"],
    ] {
        let (_, said) = run(bounced, command, 2);
        assert!(said.contains("no mailbox is called `other`; there are: bounces"), "{said}");
    }
    run(bounced, &["unrecognised", "archive"], 1);

    as_if_nobody_were_named(bounced).await;
    let received = "SELECT max(received) FROM message WHERE names_nobody = 1";
    let received = database::count(&bounced.database(), received).await;
    let copies = dir.join("copies");
    let (told, said) = run(bounced, &["unrecognised", "--export", copies.to_str().unwrap()], 0);
    assert!(told.lines().count() == 2 && said.contains("2 mails copied"), "{told}{said}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&copies), 0o700);
    assert!(fs::read_dir(&copies).unwrap().all(|file| mode(&file.unwrap().path()) == 0o600));
    let copied: Vec<String> =
        fs::read_dir(&copies).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(copied.iter().any(|mail| mail.contains("anna1")) && copied.iter().all(|mail| !mail.contains("anna2")));

    let (told, _) = run(bounced, &["retry", "--unrecognised"], 0);
    assert!(told.contains("2 of 2 messages") && told.contains("1 name somebody now; suppressed: 1 address"), "{told}");
    let rows: Vec<(String, i64)> = database::rows(
        &bounced.database(),
        "SELECT b.address, b.at FROM bounce AS b JOIN message AS m ON m.id = b.message
         WHERE m.names_nobody = 0 AND m.mailbox = 'bounces' AND b.address LIKE 'anna1@%'",
    )
    .await;
    assert_eq!(rows.len(), 1);
    assert!(rows[0].1 <= received);
    assert_eq!(database::count(&bounced.database(), "SELECT count(*) FROM message").await, 3);
    assert_eq!(database::count(&bounced.database(), "SELECT count(*) FROM unsettled").await, 0);
    run(bounced, &["suppressions", "check", "anna1@customer.example"], 0);
    let (told, _) = run(bounced, &["unrecognised"], 0);
    assert_eq!(told.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_nobody_is_found_in_the_maildir_that_it_was_moved_to() {
    let place = Place::new();
    place.bounce(1);
    place.bounce(2);
    deliver(&place.maildir(), NOBODY);
    let daemon = place.bounced.run();
    is_found_again(&place.bounced, place.dir.path()).await;
    assert!(daemon.terminate().await.success());

    // A folder that can't be read is no matter where all are found before.
    let none = place.dir.path().join("none").display().to_string();
    let (moved, aside) = (place.maildir().join(".Processed"), place.maildir().join("aside"));
    fs::rename(&moved, &aside).unwrap();
    fs::write(&moved, "no folder").unwrap();
    let (_, said) = run(&place.bounced, &["unrecognised", "--export", &none], 69);
    assert!(said.contains("1 mail not found in any mailbox that could be looked through"), "{said}");
    run(&place.bounced, &["retry", "--unrecognised"], 69);
    for file in fs::read_dir(aside.join("cur")).unwrap().chain(fs::read_dir(aside.join("new")).unwrap()) {
        let file = file.unwrap();
        fs::copy(file.path(), place.maildir().join("cur").join(file.file_name())).unwrap();
    }
    run(&place.bounced, &["unrecognised", "--export", &none], 0);
    fs::remove_dir_all(place.maildir().join("cur")).unwrap();
    fs::create_dir(place.maildir().join("cur")).unwrap();
    fs::remove_file(&moved).unwrap();
    fs::rename(&aside, &moved).unwrap();

    // Where it lies no more nothing is lost.
    fs::remove_dir_all(place.maildir().join(".Processed")).unwrap();
    let (told, said) = run(&place.bounced, &["unrecognised", "--export", &none], 66);
    assert!(told.lines().count() == 1 && said.contains("1 mail not found in any mailbox"), "{said}");
    run(&place.bounced, &["retry", "--unrecognised"], 0);
    assert_eq!(database::count(&place.bounced.database(), "SELECT count(*) FROM message").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_no_mailbox_has_to_be_handed_over_again() {
    let place = Place::new();
    let mail = place.dir.path().join("nobody.eml");
    fs::write(&mail, NOBODY).unwrap();
    run(&place.bounced, &["import", mail.to_str().unwrap()], 0);
    let copies = place.dir.path().join("copies");
    let export = ["unrecognised", "--export", copies.to_str().unwrap()];
    for command in [&export[..], &["retry", "--unrecognised"]] {
        let (_, said) = run(&place.bounced, command, 0);
        assert!(said.contains("1 mail came by LMTP") && said.contains("hand it over again"), "{said}");
    }
    // One of a mailbox that was there once.
    let options = SqliteConnectOptions::new().filename(place.bounced.database());
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("UPDATE message SET mailbox = 'former', place = '7:1'").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    for (command, code) in [(&export[..], 66), (&["retry", "--unrecognised", "former"], 0)] {
        let (_, said) = run(&place.bounced, command, code);
        assert!(said.contains("former: is not configured any more; its 1 mail can't be looked for"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_nobody_is_found_in_the_imap_folder_that_it_was_moved_to() {
    let Some(dovecot) = support::dovecot("") else { return };
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), &support::as_mailbox(&dovecot));
    let sample = include_str!("../scripts/samples/postfix-user-unknown.eml");
    for n in [1, 2] {
        dovecot.deliver(
            &sample.replace("anna", &format!("anna{n}")).replace("Message-Id: <", &format!("Message-Id: <{n}.")),
        );
    }
    dovecot.deliver(NOBODY);
    let daemon = bounced.run();
    is_found_again(&bounced, dir.path()).await;
    assert!(daemon.terminate().await.success());
}
