//! The real servers that tests run against, each private to one test: own directory, own ports, gone with the test.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod beside;
pub mod cdb;
pub mod daemon;
pub mod database;
pub mod dovecot;
pub mod postfix;
pub mod sink;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use dovecot::Dovecot;
use tokio::time::{Instant, sleep, timeout};

/// Says that a test is skipped and why. Where `BOUNCED_TEST_NO_SKIP` is set (scripts/test as root), skipping fails.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("BOUNCED_TEST_NO_SKIP").is_none(), "{test} must not be skipped here: {why}");
    println!("SKIP {test}: {why}");
}

/// A directory for the servers of one test; their users must be able to look into it.
pub fn directory() -> tempfile::TempDir {
    let everyone = fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("bounced-").permissions(everyone).tempdir().expect("there is room in $TMPDIR")
}

/// A private Dovecot with `extra` in its configuration, unless there is none to be had here.
pub fn dovecot(extra: &str) -> Option<Dovecot> {
    let dovecot = Dovecot::with(extra);
    if dovecot.is_none() {
        skip("tests against Dovecot", "it is not installed");
    }
    dovecot
}

/// Configuration of a Dovecot that takes mail for its user over LMTP (RFC 2033) on this port.
pub fn lmtp_service(port: u16) -> String {
    let listener = format!("inet_listener lmtp {{\n address = 127.0.0.1\n port = {port}\n }}");
    format!("protocols = imap lmtp\nservice lmtp {{\n {listener}\n}}")
}

/// The table of the configuration that reads this Dovecot's INBOX and moves what is done to the folder Processed.
pub fn as_mailbox(dovecot: &Dovecot) -> String {
    let (port, ca_file) = (dovecot.imaps, dovecot.ca_file());
    let password = dovecot.dir.path().join("password");
    fs::write(&password, dovecot::PASSWORD).expect("the test directory is writable");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("it is ours");
    format!(
        "[imap.bounces]\nhost = \"localhost\"\nport = {port}\nca_file = \"{}\"\nuser = \"{}\"\npassword = {{ file = \
         \"{}\" }}\n",
        ca_file.display(),
        dovecot::USER,
        password.display()
    )
}

/// How many messages lie in the folder of a Maildir.
pub fn messages(folder: &Path) -> usize {
    ["new", "cur"].iter().filter_map(|sub| fs::read_dir(folder.join(sub)).ok()).map(Iterator::count).sum()
}

/// A loopback port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("it is bound").port()
}

/// Asks again and again until there is an answer; panics, naming what was awaited, when `limit` has passed.
pub async fn until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Ok(Some(answer)) = timeout(limit, ask()).await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
