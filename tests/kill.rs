//! The daemon is killed at random moments while it reads, and records each bounce exactly once.

mod support;

use std::{fs, path::Path, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{daemon::Installation, database, dovecot::deliver, until};
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
