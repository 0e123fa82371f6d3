//! Mails that servers hand over to `bounced receive`: each is on record exactly once when the server has thrown it
//! away, whatever fails meanwhile. The servers are real, and set up as docs/receive.md says. And archives, which count
//! as of their own time.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    beside::{self, Server},
    daemon::Installation,
    database,
    dovecot::is_2_4,
    hand_over,
    postfix::{BOUNCE_DOMAIN, Postfix, hand_in},
    recipe, until,
};
use tokio::net::TcpStream;

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
    expect(command(&[]), &SAMPLE.replace('\n', "\r\n"), 0, "");
    assert_eq!(recorded(&bounced).await, (1, 1), "the second time it is known, and with other line ends");
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
    let [master, main, transport] = recipe("Postfix, as a command")[..] else { panic!("three blocks") };
    let postfix = Postfix::start(dir.path(), support::free_port(), &[], support::free_port()).await;
    let master =
        master.replace("/usr/local/bin/bounced", program.to_str().unwrap()).replace("user=bounced", "user=nobody");
    let transport = transport.replace("bounce@news.example", &format!("bounce@{BOUNCE_DOMAIN}"));
    postfix.add(&master, main, &transport);

    // What fails until a person mends it is kept as well.
    bounced.configure("[nonsense]\n");
    postfix.hand_in("", &format!("bounce@{BOUNCE_DOMAIN}"), &bounce(0).replace('\n', "\r\n")).await.unwrap();
    until("it is put off", SOON, async || postfix.log().contains("dsn=4.3.5").then_some(())).await;
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
    let [router, transport] = recipe("Exim, as a command")[..] else { panic!("two blocks") };
    let transport = transport
        .replace("/usr/local/bin/bounced", program.to_str().unwrap())
        .replace("user = bounced", "user = nobody");
    let exim = match Server::exim_with(dir.path(), router, &transport).await {
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
    all_once(&bounced, COUNT, async || exim.exim_is_empty()).await;
    let trusts: Vec<(String,)> = database::rows(&bounced.database(), "SELECT DISTINCT trust FROM bounce").await;
    assert_eq!(trusts, [("verified".to_owned(),)]);
}

#[test]
fn procmail_tells_the_mail_server_to_try_again_what_is_not_taken() {
    let test = "procmail_tells_the_mail_server_to_try_again_what_is_not_taken";
    let Some(procmail) = beside::program("procmail", "usr/bin/procmail") else {
        return support::skip(test, "procmail is neither unpacked nor installed");
    };
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "");
    let right = fs::read_to_string(bounced.config()).unwrap();
    let program = killed_now_and_then(dir.path(), &bounced);
    let (rules, inbox) = (dir.path().join("procmailrc"), dir.path().join("inbox"));
    fs::write(&rules, recipe("procmail")[0].replace("/usr/local/bin/bounced", program.to_str().unwrap())).unwrap();
    // As a mail server calls it for one user, whose inbox it would be.
    let deliver = |mail: &str| {
        let mut command = Command::new(&procmail);
        command.arg(format!("DEFAULT={}", inbox.display())).arg(&rules);
        receive(command, mail.as_bytes()).status.code()
    };
    bounced.configure("[nonsense]\n");
    assert_eq!(deliver(&bounce(0)), Some(75));
    bounced.configure(&right);
    const COUNT: usize = 8;
    for n in 0..COUNT {
        while let failed @ Some(1..) | failed @ None = deliver(&bounce(n)) {
            assert_eq!(failed, Some(75));
        }
    }
    let count = i64::try_from(COUNT).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(recorded(&bounced)), (count, count));
    assert!(!inbox.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn sieve_hands_bounces_over_and_what_is_not_taken_is_read_in_the_inbox() {
    let test = "sieve_hands_bounces_over_and_what_is_not_taken_is_read_in_the_inbox";
    if is_2_4() {
        println!("SKIP {test}: Dovecot 2.4 is configured otherwise");
        return;
    }
    if !Path::new("/usr/lib/dovecot/modules/sieve/lib90_sieve_extprograms_plugin.so").exists() {
        return support::skip(test, "dovecot-sieve is not installed");
    }
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "[verp]\nkeys = \"keys\"\naddress = \"bounces@example.org\"\n");
    assert!(bounced.command(&["verp", "keygen"]).output().unwrap().status.success());
    give_away(&bounced);
    chown(bounced.config().with_file_name("keys"), Some(NOBODY), Some(NOBODY)).unwrap();
    let programs = dir.path().join("programs");
    fs::create_dir(&programs).unwrap();
    symlink(killed_now_and_then(dir.path(), &bounced), programs.join("bounced")).unwrap();
    let [settings, script] = recipe("Sieve")[..] else { panic!("two blocks") };
    let settings = settings.replace("/usr/local/lib/bounced/sieve", programs.to_str().unwrap());
    let port = support::free_port();
    let extra = format!("{}\n{settings}", support::lmtp_service(port));
    let Some(dovecot) = support::dovecot(&extra) else { return };
    fs::write(dovecot.dir.path().join(".dovecot.sieve"), script).unwrap();
    let inbox = || support::messages(&dovecot.maildir());
    const COUNT: usize = 16;
    let sign = |n: usize| bounced.command(&["verp", "sign", &format!("anna{n}@customer{n}.example")]).output().unwrap();
    let signed: Vec<_> = (0..COUNT).map(|n| String::from_utf8(sign(n).stdout).unwrap()).collect();
    let send = async |n: usize| {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let reply = hand_over(stream, &[signed[n].trim()], &bounce(n).replace('\n', "\r\n")).await;
        assert!(reply[0].starts_with("250"), "{reply:?}");
    };
    let right = fs::read_to_string(bounced.config()).unwrap();
    bounced.configure("[nonsense]\n");
    send(0).await;
    assert_eq!(inbox(), 1);
    bounced.configure(&format!("{right}[maildir.inbox]\npath = \"{}\"\n", dovecot.maildir().display()));
    for n in 1..COUNT {
        send(n).await;
    }
    let piped = recorded(&bounced).await.0;
    assert!(piped > 0 && inbox() > 1, "{piped} piped");
    let daemon = bounced.run();
    all_once(&bounced, COUNT, async || inbox() == 0).await;
    let trusts: Vec<(String,)> = database::rows(&bounced.database(), "SELECT DISTINCT trust FROM bounce").await;
    assert_eq!(trusts, [("verified".to_owned(),)]);
    assert!(daemon.terminate().await.success());
}

/// A bounce that arrived then (RFC 5322 §3.3).
fn dated(n: usize, date: &str, code: &str) -> String {
    let stamp = format!("Received: by mx.example.org (Postfix) id {n}; {date}\n");
    stamp + &bounce(n).replace("5.1.1", code).replace("550", if code.starts_with('4') { "450" } else { "550" })
}

fn import(bounced: &Installation, paths: &[&Path], code: i32) -> (String, String) {
    let paths: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let output = bounced.command(&[&["import"], &paths[..]].concat()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_all_kinds_are_recorded_once_as_of_their_own_time() {
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "");
    let path = |name: &str| dir.path().join(name);
    let old = "Tue, 1 Mar 2016 10:00:00 +0100";
    let hard = dated(1, old, "5.1.1");
    // What suppresses for 30 days; and for 90 when it happens again.
    let days: Vec<(i64, i64)> =
        [2016, 2017].into_iter().flat_map(|year| [1, 5, 9, 13, 16].map(|day| (year, day))).collect();
    let full = |&(year, day): &(i64, i64)| {
        dated(2, &format!("{day} Mar {year} 10:00:00 +0100"), "4.2.2").replace("User unknown", "Mailbox full")
    };
    let future = dated(3, "Tue, 1 Mar 2044 10:00:00 +0100", "5.1.1");
    let stray = "From me Tue Mar  1 10:00:00 2016\nyou have heard nothing\n";
    let quoted = format!("{}\n>From here on\n\n{stray}", dated(4, old, "5.1.1").trim_end());
    for sub in ["new", "cur", "tmp", ".Old/cur"] {
        fs::create_dir_all(path("Maildir").join(sub)).unwrap();
    }
    let full: Vec<String> = days.iter().map(full).collect();
    let mbox: String = [&hard]
        .into_iter()
        .chain(&full)
        .chain([&quoted])
        .map(|mail| format!("From MAILER-DAEMON Tue Mar  1 10:00:00 2016\n{mail}\n"))
        .collect();
    fs::write(path("old.mbox"), mbox).unwrap();
    fs::write(path("Maildir/cur/1.M1.host:2,S"), &hard).unwrap();
    fs::write(path("Maildir/.Old/cur/2.M1.host:2,S"), &future).unwrap();
    fs::write(path("Maildir/.Old/cur/3.M1.host:2,S"), quoted.replace("\n>From", "\nFrom")).unwrap();
    fs::write(path("Maildir/tmp/4.M1.host"), &hard[..hard.len() / 2]).unwrap();
    fs::write(path("bounce.eml"), dated(5, old, "5.1.1")).unwrap();
    assert!(Command::new("gzip").arg(path("bounce.eml")).status().unwrap().success());
    fs::write(path("cut.mbox.gz"), &fs::read(path("bounce.eml.gz")).unwrap()[..30]).unwrap();

    let all = [path("old.mbox"), path("Maildir"), path("cut.mbox.gz"), path("bounce.eml.gz"), path("nowhere")];
    let all: Vec<&Path> = all.iter().map(PathBuf::as_path).collect();
    let (told, said) = import(&bounced, &all, 66);
    assert!(
        told.starts_with("16 mails: 14 new, 2 known already; judged now: 16 bounce; suppressed: 4 addresses"),
        "{told}"
    );
    assert!(said.contains("cut.mbox.gz: can't read it") && said.contains("nowhere: can't read it"), "{said}");
    assert!(said.contains("old.mbox: 1 line within mails looks like the beginning of another mail"), "{said}");
    let (told, _) = import(&bounced, &all, 66);
    assert!(told.starts_with("16 mails: 0 new, 16 known already; judged now: none; suppressed: 0 addresses"), "{told}");

    let rows: Vec<(String, bool, i64)> = database::rows(
        &bounced.database(),
        "SELECT b.address, EXISTS (SELECT 1 FROM suppression AS s WHERE s.address = b.address AND s.since = b.at),
                iif(b.at > unixepoch() - 3600 AND b.at <= unixepoch(), 0, b.at)
         FROM bounce AS b ORDER BY b.address, b.at",
    )
    .await;
    let row = |n: usize, suppressed, at| (format!("anna{n}@customer{n}.example"), suppressed, at);
    let first = 1_456_822_800;
    let at = |&(year, day): &(i64, i64)| first + (day - 1) * 86_400 + (year - 2016) * 365 * 86_400;
    let soft: Vec<_> = days.iter().map(|day| row(2, false, at(day))).collect();
    let hard = [row(3, true, 0), row(4, true, first), row(5, true, first)];
    assert_eq!(rows, [&[row(1, true, first)], &soft[..], &hard].concat());
    let ended = "SELECT count(*) FROM event WHERE kind = 'expired' AND address LIKE 'anna2@%'";
    assert_eq!(database::count(&bounced.database(), ended).await, 2, "what they led to is over");
    let published = database::count(&bounced.published(), "SELECT count(*) FROM suppression").await;
    assert_eq!(published, 4);
    assert_eq!(database::count(&bounced.database(), "SELECT count(*) FROM unsettled").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_stopped_publishes_what_it_recorded() {
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "");
    let mut child = bounced
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Standard input stays open, and nothing more comes.
    let mut input = child.stdin.take().unwrap();
    let mail = |n| format!("From MAILER-DAEMON Tue Mar  1 10:00:00 2016\n{}\n", bounce(n));
    input.write_all((0..700).map(mail).collect::<String>().as_bytes()).unwrap();
    let part = async || (recorded(&bounced).await.0 >= 500).then_some(());
    until("a part is recorded", SOON, part).await;
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let (messages, bounces) = recorded(&bounced).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), messages), (Some(75), bounces), "{said}");
    assert!(said.contains(&format!("stopped; {messages} mails recorded; start it again")), "{said}");
    let published = database::count(&bounced.published(), "SELECT count(*) FROM suppression").await;
    assert_eq!(published, messages);
    drop(input);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mailbox_a_new_database_may_begin_anew() {
    for command in ["receive", "import"] {
        let dir = support::directory();
        let bounced = Installation::new(dir.path(), "");
        let with = |arguments: &[&str]| {
            let paths: &[&str] = if command == "import" { &["-"] } else { &[] };
            bounced.command(&[&[command], paths, arguments].concat())
        };
        assert_eq!(receive(with(&[]), bounce(1).as_bytes()).status.code(), Some(0));
        fs::remove_file(bounced.database()).unwrap();
        let refused = receive(with(&[]), bounce(2).as_bytes());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(78), "{said}");
        assert!(said.contains("--accept-new-store") && said.contains(command), "{said}");
        let begun = receive(with(&["--accept-new-store"]), bounce(2).as_bytes());
        let said = String::from_utf8(begun.stderr).unwrap();
        assert_eq!((begun.status.code(), &*said), (Some(0), ""), "{command}");
        let listed: Vec<(String,)> = database::rows(&bounced.published(), "SELECT email FROM suppression").await;
        assert_eq!(listed, [("anna2@customer2.example".to_owned(),)], "{command}");
        assert_eq!(receive(with(&[]), bounce(3).as_bytes()).status.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_mail_is_told_and_nothing_of_it_is_recorded() {
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "");
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("databases")).unwrap();
    fs::write(path("old.bz2"), b"BZh91AY&SY").unwrap();
    let database: &[u8] = b"SQLite format 3\0\x10\0\nname: x\n";
    for name in ["bounced.db", "databases/a.db", "databases/b.db"] {
        fs::write(path(name), database).unwrap();
    }
    let all = [path("old.bz2"), path("bounced.db"), path("databases")];
    let (told, said) = import(&bounced, &[&all[0], &all[1]], 66);
    assert!(told.starts_with("0 mails"), "{told}");
    assert!(said.contains("old.bz2: can't read it: packed by bzip2: unpack it first\n"), "{said}");
    assert!(said.contains("bounced.db: no mail\n"), "{said}");
    fs::write(path("empty.eml"), "").unwrap();
    fs::create_dir(path("nothing")).unwrap();
    for (empty, problem) in
        [(path("empty.eml"), "no mail"), (path("nothing"), "no mail in it"), ("/dev/null".into(), "no mail")]
    {
        let (_, said) = import(&bounced, &[&empty], 66);
        assert!(said.contains(&format!("{}: {problem}\n", empty.display())), "{said}");
    }
    let (_, said) = import(&bounced, &[&all[2]], 66);
    assert!(said.contains("passed over 2 files without mail: ") && said.contains("a.db and others\n"), "{said}");
    assert_eq!(recorded(&bounced).await, (0, 0));

    fs::write(path("databases/bounce.eml"), bounce(1)).unwrap();
    let (told, said) = import(&bounced, &[&all[2]], 0);
    assert!(told.starts_with("1 mail: 1 new") && said.contains("passed over 2 files"), "{told}{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_where_it_was() {
    const COUNT: usize = 3_000;
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "");
    let mbox = dir.path().join("old");
    let mail = |n: usize| {
        let date = format!("{} Mar 2016 {:02}:{:02}:{:02} +0000", 1 + n / 200, n % 24, n % 60, n / 60 % 60);
        format!("From MAILER-DAEMON Tue Mar  1 10:00:00 2016\n{}\n", dated(n, &date, "5.1.1"))
    };
    fs::write(&mbox, (0..COUNT).map(mail).collect::<String>()).unwrap();
    let mut last = 0;
    for kill in 0..3 {
        let mut child = bounced.command(&["import", mbox.to_str().unwrap()]).stdout(Stdio::null()).spawn().unwrap();
        let is_further = async || {
            let now = recorded(&bounced).await.0;
            (now > last || child.try_wait().unwrap().is_some()).then_some(now)
        };
        last = until("some are recorded", SOON, is_further).await;
        // Not always right behind a commit.
        tokio::time::sleep(Duration::from_millis(37 * kill)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (known, _) = recorded(&bounced).await;
    let (told, _) = import(&bounced, &[&mbox], 0);
    let new = COUNT - usize::try_from(known).unwrap();
    let group = |number: usize| {
        if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
    };
    let expected = format!("3,000 mails: {} new, {} known already", group(new), group(COUNT - new));
    assert!(told.starts_with(&expected), "{told} is not: {expected}");
    let count = i64::try_from(COUNT).unwrap();
    assert_eq!(recorded(&bounced).await, (count, count));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_an_archive_is_not_believed_for_the_age_that_it_claims() {
    let dir = support::directory();
    let config = "[verp]\nkeys = \"keys\"\naddress = \"bounce@news.example\"\n\
                  [trust.mailbox.archive-ours]\nrequired = \"unverified\"\n";
    let bounced = Installation::new(dir.path(), config);
    assert!(bounced.command(&["verp", "keygen"]).output().unwrap().status.success());
    let forged = dir.path().join("forged.eml");
    fs::write(&forged, dated(1, "Tue, 1 Mar 2016 10:00:00 +0100", "5.1.1")).unwrap();
    let (told, _) = import(&bounced, &[&forged], 0);
    assert!(told.contains("1 new") && told.contains("suppressed: 0 addresses"), "{told}");
    let waits = "SELECT count(*) FROM held AS h JOIN bounce AS b ON b.id = h.bounce
                 WHERE h.why = 'unverified' AND b.at = 1456822800";
    assert_eq!(database::count(&bounced.database(), waits).await, 1);

    // Where somebody says that nothing in it is forged.
    fs::write(&forged, dated(2, "Tue, 1 Mar 2016 10:00:00 +0100", "5.1.1")).unwrap();
    let path = forged.to_str().unwrap();
    let output = bounced.command(&["import", "--mailbox", "archive-ours", path]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("suppressed: 1 address"));
    for name in ["pipe", "archived", "old"] {
        let output = bounced.command(&["import", "--mailbox", name, path]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}
