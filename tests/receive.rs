//! Mails that servers hand over to `bounced receive`: each is on record exactly once when the server has thrown it away, whatever
//! fails meanwhile. The servers are real, and set up as docs/receive.md says.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    beside::{self, Server},
    daemon::Installation,
    database,
    postfix::{BOUNCE_DOMAIN, Postfix, hand_in},
    until,
};

const SOON: Duration = Duration::from_secs(60);
const SAMPLE: &str = include_str!("../scripts/samples/postfix-user-unknown.eml");

/// As whom mail servers run the command here.
const NOBODY: u32 = 65_534;

/// A bounce of `anna{n}@customer.example`.
fn bounce(n: usize) -> String {
    let mail = SAMPLE.replace("anna", &format!("anna{n}")).replace("Message-Id: <", &format!("Message-Id: <{n}."));
    mail.replace("customer.example", &format!("customer{n}.example"))
}

fn receive(mut command: Command, mail: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that ends without reading says why.
    let _ = child.stdin.take().unwrap().write_all(mail);
    child.wait_with_output().unwrap()
}

/// Runs the command and expects this code; an error is one line that holds `words`.
#[track_caller]
fn expect(command: Command, mail: &str, code: i32, words: &str) {
    let output = receive(command, mail.as_bytes());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty() && said.contains(words) && said.is_empty() == (code == 0), "{said}");
    assert!(code == 64 || said.lines().count() <= 1, "{said}");
}

async fn recorded(bounced: &Installation) -> (i64, i64) {
    let file = bounced.database();
    let messages = database::count(&file, "SELECT count(*) FROM message").await;
    (messages, database::count(&file, "SELECT count(*) FROM bounce").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_a_mail_server_whether_to_keep_the_mail() {
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "");
    let command = |args: &[&str]| bounced.command(&[&["receive"], args].concat());
    expect(command(&[]), "", 65, "there is no mail");
    assert!(!bounced.database().exists());
    expect(command(&[]), SAMPLE, 0, "");
    expect(command(&["--mailbox", "other"]), &format!("From x Thu Nov 26 10:00:00 2026\n{SAMPLE}"), 0, "");
    assert_eq!(recorded(&bounced).await, (1, 1), "the second time it is known");
    let published = "SELECT count(*) FROM suppression WHERE email = 'anna@customer.example'";
    assert_eq!(database::count(&bounced.published(), published).await, 1, "nobody else publishes it");
    assert_eq!(database::count(&bounced.database(), "SELECT count(*) FROM unsettled").await, 0);

    expect(command(&["--retry"]), SAMPLE, 64, "--retry");
    expect(command(&["--mailbox", "\u{7}"]), SAMPLE, 64, "--mailbox");
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_bounced"));
    elsewhere.args(["receive", "--config", "/nowhere/bounced.toml"]);
    expect(elsewhere, SAMPLE, 78, "/nowhere/bounced.toml");
    // Another program's answer to the same mistake is another one.
    assert_eq!(bounced.command(&["status", "--retry"]).output().unwrap().status.code(), Some(2));

    let options = SqliteConnectOptions::new().filename(bounced.database());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    expect(command(&[]), &bounce(1), 75, "locked");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(recorded(&bounced).await, (1, 1));

    if chown(bounced.database(), Some(0), Some(0)).is_ok() {
        let mut stranger = Command::new("setpriv");
        stranger.args(["--reuid", "65500", "--regid", "65500", "--clear-groups"]);
        stranger.arg(env!("CARGO_BIN_EXE_bounced")).args(["receive", "--config"]).arg(bounced.config());
        expect(stranger, &bounce(1), 77, "cannot be");
    }

    let lists = fs::read(bounced.database()).unwrap();
    fs::write(bounced.database(), "This is no database, but it is long enough to be looked at. ".repeat(100)).unwrap();
    expect(command(&[]), &bounce(1), 75, "damaged");
    fs::remove_file(bounced.database()).unwrap();
    expect(command(&[]), &bounce(1), 78, "is missing or empty");
    fs::write(bounced.database(), lists).unwrap();
    expect(command(&[]), &bounce(1), 0, "");
    assert_eq!(recorded(&bounced).await, (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_daemon_it_records_and_the_daemon_publishes() {
    let dir = support::directory();
    ["new", "cur", "tmp"].iter().for_each(|sub| fs::create_dir_all(dir.path().join("Maildir").join(sub)).unwrap());
    let mailbox = format!("[maildir.bounces]\npath = \"{}\"\n", dir.path().join("Maildir").display());
    let bounced = Installation::new(dir.path(), &mailbox);
    let daemon = bounced.run();
    until("the daemon has begun", SOON, async || bounced.log().contains("started").then_some(())).await;
    expect(bounced.command(&["receive", "--mailbox", "bounces"]), SAMPLE, 64, "give another one");
    // Many at once, each of them twice.
    let children: Vec<_> = (0..20)
        .map(|n| {
            let mail = bounce(n / 2);
            let command = bounced.command(&["receive"]);
            std::thread::spawn(move || receive(command, mail.as_bytes()))
        })
        .collect();
    for child in children {
        let output = child.join().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(recorded(&bounced).await, (10, 10));
    until("all are published", SOON, async || {
        (database::count(&bounced.published(), "SELECT count(*) FROM suppression").await == 10).then_some(())
    })
    .await;
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_recipient_is_believed() {
    let dir = support::directory();
    let bounced = Installation::new(
        dir.path(),
        "[verp]\nkeys = \"keys\"\naddress = \"bounce@news.example\"\n[trust.mailbox.pipe]\nsince = \"2020-01-01\"\n",
    );
    assert!(bounced.command(&["verp", "keygen"]).output().unwrap().status.success());
    let signed = bounced.command(&["verp", "sign", "anna1@customer1.example"]).output().unwrap().stdout;
    let signed = String::from_utf8(signed).unwrap();
    expect(bounced.command(&["receive", "--recipient", signed.trim()]), &bounce(1), 0, "");
    // The same address says nothing of anybody else.
    expect(bounced.command(&["receive", "--recipient", signed.trim()]), &bounce(2), 0, "");
    let rows: Vec<(String, String, bool)> = database::rows(
        &bounced.database(),
        "SELECT b.address, b.trust, EXISTS (SELECT 1 FROM suppression AS s WHERE s.address = b.address) FROM bounce AS b
         ORDER BY b.address",
    )
    .await;
    let row = |n: usize, trust: &str, listed| (format!("anna{n}@customer{n}.example"), trust.to_owned(), listed);
    assert_eq!(rows, [row(1, "verified", true), row(2, "unverified", false)]);
}

/// The code blocks below a heading of the document.
fn blocks(heading: &str) -> Vec<&'static str> {
    let (_, below) = include_str!("../docs/receive.md").split_once(&format!("\n### {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    section.split("```\n").skip(1).step_by(2).collect()
}

/// A program that stands for `bounced` with the right configuration. Each other time it is killed, at any moment.
fn killed_now_and_then(dir: &Path, bounced: &Installation) -> PathBuf {
    let script = dir.join("bounced-killed");
    let (program, config) = (env!("CARGO_BIN_EXE_bounced"), bounced.config());
    let text = format!(
        "#!/bin/sh\nexport BOUNCED_CONFIG={}\nn=$(od -An -N2 -tu2 /dev/urandom)\n\
         [ $((n % 2)) = 0 ] || exec {program} \"$@\"\n\
         exec 3<&0; {program} \"$@\" <&3 & sleep 0.$(printf %03d $((n / 2 % 400))); kill -9 $! && kill -9 $$; wait $!\n",
        config.display(),
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// Gives the installation to whom mail servers run the command as.
fn give_away(bounced: &Installation) {
    let dir = bounced.config();
    for file in [dir.parent().unwrap(), &dir] {
        chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Waits until so many bounces are on record, and finds no more of them.
async fn all_once(bounced: &Installation, count: usize, is_empty: impl AsyncFn() -> bool) {
    let count = i64::try_from(count).unwrap();
    let is_done = async || (is_empty().await && recorded(bounced).await.0 >= count).then_some(());
    until("the queue is empty, and each is on record", SOON, is_done).await;
    assert_eq!(recorded(bounced).await, (count, count));
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_hands_each_bounce_over_exactly_once_whatever_becomes_of_the_command() {
    let test = "postfix_hands_each_bounce_over_exactly_once_whatever_becomes_of_the_command";
    if let Some(why) = Postfix::missing() {
        return support::skip(test, why);
    }
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "");
    let right = fs::read_to_string(bounced.config()).unwrap();
    give_away(&bounced);
    let program = killed_now_and_then(dir.path(), &bounced);
    let [master, main, transport] = blocks("Postfix, as a command")[..] else { panic!("three blocks") };
    let postfix = Postfix::start(dir.path(), support::free_port(), &[], support::free_port()).await;
    let master =
        master.replace("/usr/local/bin/bounced", program.to_str().unwrap()).replace("user=bounced", "user=nobody");
    let transport = transport.replace("bounce@news.example", &format!("bounce@{BOUNCE_DOMAIN}"));
    postfix.add(&master, main, &transport);

    // What fails until a person mends it is kept as well.
    bounced.configure("[nonsense]\n");
    postfix.hand_in("", &format!("bounce@{BOUNCE_DOMAIN}"), &bounce(0).replace('\n', "\r\n")).await.unwrap();
    until("it is put off", SOON, async || postfix.log().contains("status=deferred").then_some(())).await;
    bounced.configure(&right);
    const COUNT: usize = 20;
    for n in 1..COUNT {
        let to = format!("bounce+k1.{n}.a.b@{BOUNCE_DOMAIN}");
        postfix.hand_in("", &to, &bounce(n).replace('\n', "\r\n")).await.unwrap();
    }
    all_once(&bounced, COUNT, async || postfix.is_empty()).await;
    let log = postfix.log();
    assert!(!log.contains("status=bounced") && log.matches("status=sent (delivered via bounced").count() == COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn exim_hands_each_bounce_over_exactly_once_whatever_becomes_of_the_command() {
    let test = "exim_hands_each_bounce_over_exactly_once_whatever_becomes_of_the_command";
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "[verp]\nkeys = \"keys\"\naddress = \"bounce@news.example\"\n");
    assert!(bounced.command(&["verp", "keygen"]).output().unwrap().status.success());
    let keys = bounced.config().with_file_name("keys");
    let program = killed_now_and_then(dir.path(), &bounced);
    let [router, transport] = blocks("Exim, as a command")[..] else { panic!("two blocks") };
    let transport = transport
        .replace("/usr/local/bin/bounced", program.to_str().unwrap())
        .replace("user = bounced", "user = nobody");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o777)).unwrap();
    let logs = logs.display();
    let config = format!(
        "exim_path = PROGRAM\nprimary_hostname = mx.example\nkeep_environment =\nhost_lookup =\nrfc1413_query_timeout = 0s\n\
         tls_advertise_hosts =\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = PORT\nacl_smtp_rcpt = accept\n\
         log_file_path = {logs}/%slog\nbegin routers\n{router}\nbegin transports\n{transport}\nbegin retry\n* * F,1d,1s\n"
    );
    let exim = match Server::start(&beside::EXIM, dir.path(), &config).await {
        Ok(exim) => exim,
        Err(why) => return support::skip(test, &why),
    };
    give_away(&bounced);
    chown(&keys, Some(NOBODY), Some(NOBODY)).unwrap();
    const COUNT: usize = 12;
    for n in 0..COUNT {
        let signed = bounced.command(&["verp", "sign", &format!("anna{n}@customer{n}.example")]).output().unwrap();
        let to = String::from_utf8(signed.stdout).unwrap();
        hand_in(exim.port, "", to.trim(), &bounce(n).replace('\n', "\r\n")).await.unwrap();
    }
    let exim_command = |args: &[&str]| {
        let path = beside::EXIM.program().unwrap();
        let mut command = exim.command(path.to_str().unwrap());
        command.args(args).output().unwrap()
    };
    // It looks at its queue when it is told to.
    let is_empty = async || {
        exim_command(&["-qf"]);
        exim_command(&["-bpc"]).stdout == b"0\n"
    };
    all_once(&bounced, COUNT, is_empty).await;
    let trusts: Vec<(String,)> = database::rows(&bounced.database(), "SELECT DISTINCT trust FROM bounce").await;
    assert_eq!(trusts, [("verified".to_owned(),)]);
}
