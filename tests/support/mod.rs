//! The real servers that tests run against, each private to one test: own directory, own ports, gone with the test.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod beside;
pub mod cdb;
pub mod cyrus;
pub mod daemon;
pub mod database;
pub mod dovecot;
pub mod imap;
pub mod journal;
pub mod postfix;
pub mod sink;

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use dovecot::Dovecot;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    time::{Instant, sleep, timeout},
};

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

/// All processes of this machine.
pub fn processes() -> impl Iterator<Item = u32> {
    let names =
        fs::read_dir("/proc").expect("there is /proc").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok())
}

/// Copies a file and truncates it, as logrotate's `copytruncate` does, but while those who write it are held: it would lose
/// what they write between the one and the other.
pub fn copy_and_truncate(file: &Path, copy: &Path, writers: impl Fn() -> Vec<u32>) {
    let signal = |signal: &str, processes: &[u32]| {
        let processes = processes.iter().map(u32::to_string);
        // Some may have ended meanwhile.
        Command::new("kill").arg(signal).args(processes).stderr(Stdio::null()).status().expect("there is kill(1)");
    };
    let mut held = Vec::new();
    // Those that the first ones have started before they were held are held as well.
    loop {
        let new: Vec<u32> = writers().into_iter().filter(|process| !held.contains(process)).collect();
        if new.is_empty() {
            break;
        }
        signal("-STOP", &new);
        held.extend(new);
    }
    fs::copy(file, copy).expect("it is there");
    File::create(file).expect("it can be written");
    signal("-CONT", &held);
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

/// Hands a mail over by LMTP; the reply for each recipient.
pub async fn hand_over(stream: impl AsyncRead + AsyncWrite + Unpin, recipients: &[&str], mail: &str) -> Vec<String> {
    let mut stream = BufReader::new(stream);
    let all: String = recipients.iter().map(|to| format!("RCPT TO:<{to}>\r\n")).collect();
    let commands = format!("LHLO client\r\nMAIL FROM:<>\r\n{all}DATA\r\n{mail}\r\n.\r\nQUIT\r\n");
    stream.write_all(commands.as_bytes()).await.expect("the server listens");
    let mut lines = stream.lines();
    let mut replies = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        replies.push(line);
    }
    let data = replies.iter().position(|line| line.starts_with("354")).unwrap_or_else(|| panic!("{replies:?}"));
    replies[data + 1..][..recipients.len()].to_vec()
}

/// The code blocks below a heading of docs/receive.md.
pub fn recipe(heading: &str) -> Vec<&'static str> {
    let (_, below) =
        include_str!("../../docs/receive.md").split_once(&format!("\n### {heading}\n")).expect("documented");
    let section = below.split("\n## ").next().into_iter().flat_map(|section| section.split("\n### ")).next();
    section.expect("it has an end").split("```\n").skip(1).step_by(2).collect()
}
