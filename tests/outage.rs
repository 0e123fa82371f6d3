//! The daemon reads the bounces of 15 December 2020 from a Maildir, by the times of its files: nobody whom Gmail called dead
//! in error stays on the list, and everybody else who died is there.

mod support;

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use support::{daemon::Installation, database, until};

/// 2020-12-15T21:17:00Z.
const OUTAGE: u64 = 1_608_067_020;
const HOUR: u64 = 3_600;

/// A bounce of an account that does not exist, as its server says.
fn bounce(address: &str, host: &str) -> String {
    let sample = include_str!("../scripts/samples/postfix-user-unknown.eml");
    let (local, _) = address.split_once('@').expect("an address");
    let id = format!("Message-Id: <{}.", address.replace('@', "."));
    let sample = sample.replace("anna@customer.example", address).replace("anna", local);
    sample.replace("mx1.customer.example", host).replace("Message-Id: <", &id)
}

/// The false ones, in five hours, amid true ones of the week around.
fn mails(wrong: u64, right: u64) -> Vec<(u64, String)> {
    let gmail = (0..wrong).map(|n| {
        let at = OUTAGE + n * 5 * HOUR / wrong;
        (at, bounce(&format!("alive{n}@gmail.com"), "gmail-smtp-in.l.google.com"))
    });
    let others = (0..right).map(|n| {
        let at = OUTAGE - 72 * HOUR + n * 168 * HOUR / right;
        let host = if n % 3 == 0 { "aspmx.l.google.com" } else { "mx.company.example" };
        (at, bounce(&format!("dead{n}@company{}.example", n % 17), host))
    });
    gmail.chain(others).collect()
}

fn put(maildir: &Path, mails: impl IntoIterator<Item = (u64, String)>) {
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(folder)).expect("the test directory is writable");
    }
    for (n, (at, mail)) in mails.into_iter().enumerate() {
        let path = maildir.join(format!("new/{n:06}.test"));
        fs::write(&path, mail).expect("the test directory is writable");
        let file = File::options().write(true).open(&path).expect("it was written just now");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).expect("the file is ours");
    }
}

/// Reads them in the order of their names; `step` says in which order they have these.
async fn is_survived(wrong: u64, right: u64, step: usize) {
    let dir = support::directory();
    let maildir = dir.path().join("Maildir");
    let all = mails(wrong, right);
    let count = all.len();
    put(&maildir, (0..count).map(|n| all[n * step % count].clone()));
    let bounced = Installation::new(dir.path(), &format!("[maildir.bounces]\npath = \"{}\"\n", maildir.display()));
    let daemon = bounced.run();
    let database = bounced.database();
    until("everything is read", Duration::from_secs(600), async || {
        let recorded = database::count(&database, "SELECT count(*) FROM message").await;
        (recorded as usize == count).then_some(())
    })
    .await;
    assert!(daemon.terminate().await.success());
    for (rows, expected) in [
        ("SELECT count(*) FROM suppression WHERE domain = 'gmail.com'", 0),
        ("SELECT count(*) FROM suppression", right),
        ("SELECT count(*) FROM held WHERE why = 'outage' AND remote = 'gmail.com'", wrong),
        ("SELECT count(*) FROM held", wrong),
    ] {
        let found = database::count(&database, rows).await;
        assert_eq!(found as u64, expected, "{rows}");
    }
    let published = database::count(&bounced.published(), "SELECT count(*) FROM suppression").await;
    assert_eq!(published as u64, right);
    let approved = bounced.command(&["review", "approve", "--provider", "gmail.com"]).output().expect("it is built");
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    let published = database::count(&bounced.published(), "SELECT count(*) FROM suppression").await;
    assert_eq!(published as u64, right + wrong, "a person has the last word");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_gmail_calls_dead_by_the_hundreds_is_held_in_the_order_of_arrival() {
    is_survived(1_500, 60, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_gmail_calls_dead_by_the_hundreds_is_held_in_any_order() {
    is_survived(1_500, 60, 1_117).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "30,000 mails take minutes in a debug build"]
async fn thirty_thousand() {
    is_survived(30_000, 1_000, 1).await;
    is_survived(30_000, 1_000, 19_777).await;
}
