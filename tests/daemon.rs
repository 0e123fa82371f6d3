//! The daemon over a Maildir: in this process where the library is meant, as a process where signals are.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/database.rs"]
mod database;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc as channel,
    thread,
    time::{Duration, Instant},
};

use bounced::{
    config::Config,
    daemon::{self, Control, DaemonError},
    report::{Address, Kind},
    source::maildir::MaildirSettings,
    store::{By, ListSelection, PendingAnswer, Store, StoreError},
};
use futures::TryStreamExt;
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Nothing here takes a second; longer than this is a failure, not bad luck.
const LONG: Duration = Duration::from_secs(30);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(place.path("box").join(part)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn deliver(&self, key: &str, mail: &str) {
        fs::write(self.path("box/tmp").join(key), mail).unwrap();
        fs::rename(self.path("box/tmp").join(key), self.path("box/new").join(key)).unwrap();
    }

    fn bounce(&self, key: &str, recipient: &str, answer: &str) {
        self.deliver(key, &bounce(key, recipient, answer));
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.database.path = self.path("bounced.db");
        config.suppressions.path = self.path("list.db");
        let mut settings: MaildirSettings = toml::from_str("path = '/'\npoll = '20ms'").unwrap();
        settings.path = self.path("box");
        config.maildir.insert("box".into(), settings);
        config
    }

    /// The names of the files of a folder, without flags.
    fn files(&self, folder: &str) -> Vec<String> {
        let parts = ["new", "cur"].map(|part| self.path(folder).join(part));
        let files = parts.iter().filter_map(|part| fs::read_dir(part).ok()).flatten();
        let mut names: Vec<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.iter_mut().for_each(|name| name.truncate(name.find(':').unwrap_or(name.len())));
        names.sort();
        names
    }
}

fn bounce(id: &str, recipient: &str, answer: &str) -> String {
    let status = answer.split(' ').nth(1).unwrap();
    format!(
        "From: MAILER-DAEMON@mx.example.org\nTo: bounces@lists.example.org\nSubject: Undelivered Mail\n\
         Message-ID: <{id}@mx.example.org>\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\nContent-Type: text/plain\n\nSorry.\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n\
         Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\n\
         Diagnostic-Code: smtp; {answer}\n--b--\n"
    )
}

const UNKNOWN: &str = "550 5.1.1 User unknown";
const PERSONAL: &str =
    "From: ann@example.com\nTo: bounces@lists.example.org\nSubject: Lunch?\nMessage-ID: <l@example.com>\n\nAt noon?\n";

/// A daemon within this process.
struct Running {
    stop: CancellationToken,
    _reload: mpsc::Sender<()>,
    ended: JoinHandle<Result<(), DaemonError>>,
}

fn control() -> (mpsc::Sender<()>, Control) {
    let (reload, reloads) = mpsc::channel(1);
    (reload, Control { stop: CancellationToken::new(), reload: reloads })
}

impl Running {
    fn start(config: Config) -> Self {
        let (reload, control) = control();
        Self { stop: control.stop.clone(), _reload: reload, ended: tokio::spawn(daemon::run(config, control)) }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(LONG, self.ended).await.expect("stops soon").unwrap().expect("stops without an error");
    }
}

/// Waits until so many messages of the mailbox are recorded and settled.
async fn recorded(config: &Config, messages: i64) {
    let seen = async {
        loop {
            if let Ok(store) = Store::open_existing(&config.database.path).await {
                let status = store.status().await.unwrap();
                store.close().await;
                if status.iter().any(|s| s.mailbox == "box" && s.messages == messages && s.unsettled == 0) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, seen).await.expect("the messages are recorded soon");
}

async fn suppressed(config: &Config) -> Vec<String> {
    let store = Store::open_existing(&config.database.path).await.unwrap();
    let list: Vec<_> = store.suppressions(&ListSelection::default()).try_collect().await.unwrap();
    store.close().await;
    list.into_iter().map(|listed| listed.address).collect()
}

#[tokio::test]
async fn what_lies_in_the_mailbox_and_what_arrives_later_is_recorded_suppressed_and_moved() {
    let place = Place::new();
    let config = place.config();
    place.bounce("1", "ann@example.com", UNKNOWN);
    place.bounce("2", "bob@example.com", "452 4.2.2 Mailbox full");
    place.deliver("3", PERSONAL);
    let running = Running::start(config.clone());
    recorded(&config, 3).await;
    place.bounce("4", "eve@example.com", UNKNOWN);
    recorded(&config, 4).await;
    running.stop().await;

    assert_eq!(suppressed(&config).await, ["ann@example.com", "eve@example.com"]);
    assert_eq!(place.files("box"), ["3"], "what is no bounce stays");
    assert_eq!(place.files("box/.Processed"), ["1", "2", "4"]);
}

#[tokio::test]
async fn a_second_run_records_only_what_is_new() {
    let place = Place::new();
    let config = place.config();
    place.bounce("1", "ann@example.com", UNKNOWN);
    place.deliver("2", PERSONAL);
    let running = Running::start(config.clone());
    recorded(&config, 2).await;
    running.stop().await;

    // The same mail under another name, as a copy or a restored backup brings it.
    place.bounce("3", "bob@example.com", UNKNOWN);
    place.deliver("4", &bounce("1", "ann@example.com", UNKNOWN));
    let running = Running::start(config.clone());
    recorded(&config, 3).await;
    let settled = async {
        while !place.files("box/.Processed").contains(&"4".to_owned()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, settled).await.expect("the copy is settled as well");
    running.stop().await;
    recorded(&config, 3).await;
}

#[tokio::test]
async fn told_to_stop_it_settles_what_it_has_recorded() {
    let place = Place::new();
    let mut config = place.config();
    config.maildir.get_mut("box").unwrap().batch = 1;
    let keys = (100..400).map(|n| n.to_string());
    keys.for_each(|key| place.bounce(&key, &format!("user{key}@example.com"), UNKNOWN));
    let running = Running::start(config.clone());
    let some = async {
        while place.files("box/.Processed").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, some).await.expect("the first is moved soon");
    running.stop().await;

    let store = Store::open_existing(&config.database.path).await.unwrap();
    let status = store.status().await.unwrap().remove(0);
    store.close().await;
    assert_eq!(status.unsettled, 0);
    assert_eq!(place.files("box/.Processed").len() as i64, status.messages);
    assert!(!place.files("box").is_empty(), "it was stopped long before the end");
}

#[tokio::test]
async fn the_configuration_says_which_kinds_are_settled() {
    let place = Place::new();
    let mut config = place.config();
    config.report.processed = vec![Kind::NotBounce];
    place.bounce("1", "ann@example.com", UNKNOWN);
    place.deliver("2", PERSONAL);
    let running = Running::start(config.clone());
    recorded(&config, 2).await;
    running.stop().await;
    assert_eq!((place.files("box"), place.files("box/.Processed")), (vec!["1".into()], vec!["2".into()]));
}

#[tokio::test]
async fn a_mailbox_that_refuses_stops_the_daemon_only_when_no_other_can_be_read() {
    let place = Place::new();
    let mut config = place.config();
    let mut gone = config.maildir["box"].clone();
    gone.path = place.path("nowhere");
    config.maildir.insert("gone".into(), gone.clone());
    place.bounce("1", "ann@example.com", UNKNOWN);
    let running = Running::start(config.clone());
    recorded(&config, 1).await;
    running.stop().await;
    let store = Store::open_existing(&config.database.path).await.unwrap();
    let status = store.status().await.unwrap();
    assert!(status.iter().any(|s| s.mailbox == "gone" && s.failure.is_some()), "{status:?}");
    store.close().await;

    config.maildir.remove("box");
    let ended = timeout(LONG, Running::start(config).ended).await.expect("gives up").unwrap();
    assert!(matches!(&ended, Err(DaemonError::Refused(why)) if why.contains("nowhere")), "{ended:?}");
}

#[tokio::test]
async fn what_others_change_is_published_and_a_list_that_was_deleted_is_made_again() {
    let place = Place::new();
    let config = place.config();
    let running = Running::start(config.clone());
    recorded(&config, 0).await;
    // As the command does, but that its published list may be another one.
    let store = Store::open(&config.database.path).await.unwrap();
    store.suppress(&[Address::parse("ann@example.com").unwrap()], &By::new("test", 0)).await.unwrap();
    let published = async || {
        let found = async {
            let listed = "SELECT count(*) FROM suppression WHERE email = 'ann@example.com'";
            while database::count(&config.suppressions.path, listed).await != 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, found).await.expect("it is published soon");
    };
    published().await;
    fs::remove_file(&config.suppressions.path).unwrap();
    published().await;
    store.close().await;
    running.stop().await;
}

/// A daemon as a process of its own, and its log.
struct Process {
    child: Child,
    log: channel::Receiver<String>,
}

impl Process {
    fn start(place: &Place, environment: &[(&str, &str)]) -> Self {
        Self::start_with(place, "", environment)
    }

    /// With more mailboxes than the one.
    fn start_with(place: &Place, more: &str, environment: &[(&str, &str)]) -> Self {
        let config =
            "[database]\npath = 'bounced.db'\n[suppressions]\npath = 'list.db'\n[codes]\nfiles = ['codes.toml']\n\
                      [maildir.box]\npath = 'box'\npoll = '20ms'\n"
                .to_owned()
                + more;
        fs::write(place.path("bounced.toml"), config).unwrap();
        if !place.path("codes.toml").exists() {
            fs::write(place.path("codes.toml"), "").unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_bounced"))
            .arg("--config")
            .arg(place.path("bounced.toml"))
            .arg("run")
            .env_clear()
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        Self { child, log }
    }

    /// Reads the log up to a line with this text, and gives that line.
    fn says(&self, text: &str) -> String {
        self.up_to(text).lines().last().unwrap_or_default().to_owned()
    }

    /// Reads the log up to a line with this text, and gives all of it.
    fn up_to(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let line = self.log.recv_timeout(LONG).unwrap_or_else(|_| panic!("no `{text}` in:\n{seen}"));
            let found = line.contains(text);
            seen.push_str(&line);
            seen.push('\n');
            if found {
                return seen;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn exit(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where the test failed; otherwise it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_stop_signal_ends_it_with_0() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let process = Process::start(&place, &[]);
        process.says("Maildir opened");
        // As timeout(1) does, and Ctrl-C under a script that passes it on.
        process.signal(signal);
        process.signal(signal);
        process.says("stopped");
        assert_eq!(process.exit(), Some(0), "{signal}");
    }
}

#[test]
fn a_reload_takes_a_good_table_and_refuses_a_broken_one() {
    let place = Place::new();
    let process = Process::start(&place, &[]);
    place.bounce("1", "ann@example.com", "550 5.1.1 zzz");
    assert!(process.says("suppressed").contains("codes:5.1.1"));
    process.says("read 1 message:");

    fs::write(place.path("codes.toml"), "[[status]]\ncode = 'five'").unwrap();
    process.signal("HUP");
    let refused = process.says("the old ones stay");
    assert!(refused.contains("codes.toml:"), "names file and line: {refused}");
    place.bounce("2", "bob@example.com", "550 5.1.1 zzz");
    process.says("bob@example.com");
    process.says("read 1 message:");

    let soft = "[[status]]\ncode = 'x.1.1'\nreplaces = '5.1.1'\n5 = { reason = 'mailbox_full' }\n\
                description = 'd'\nreference = 'r'\n";
    fs::write(place.path("codes.toml"), soft).unwrap();
    process.signal("HUP");
    process.says("read anew");
    place.bounce("3", "eve@example.com", "550 5.1.1 zzz");
    let read = process.says("read 1 message:");
    assert!(read.contains("suppressed=0"), "{read}");
    process.signal("TERM");
    assert_eq!(process.exit(), Some(0));
}

/// Files that were named after the start are read, and what needs a restart is said to need one.
#[test]
fn a_reload_takes_a_policy_that_is_newly_named() {
    let place = Place::new();
    let configuration = || fs::read_to_string(place.path("bounced.toml")).unwrap();
    let process = Process::start(&place, &[]);
    place.bounce("1", "ann@example.com", UNKNOWN);
    assert!(process.says("read 1 message:").contains("suppressed=1"));
    let own = "[[rule]]\nid = 'mine'\nclass = 'hard'\nfor = 'never'\n";
    fs::write(place.path("policy.toml"), own).unwrap();
    let before = configuration();
    fs::write(place.path("bounced.toml"), format!("{before}\n[policy]\nfiles = 'policy.toml'\n")).unwrap();
    process.signal("HUP");
    assert!(process.says("the old ones stay").contains("[policy] files"), "file, line and key");
    fs::write(place.path("bounced.toml"), format!("{before}\n[policy]\nfiles = ['policy.toml']\n")).unwrap();
    process.signal("HUP");
    process.says("read anew");
    place.bounce("2", "bob@example.com", UNKNOWN);
    assert!(process.says("read 1 message:").contains("suppressed=0"));
    let retention = "\n[retention]\nbounces = '400d'\n";
    fs::write(place.path("bounced.toml"), format!("{before}{retention}")).unwrap();
    process.signal("HUP");
    process.says("comes into force with a restart");
    place.bounce("3", "eve@example.com", UNKNOWN);
    assert!(process.says("read 1 message:").contains("suppressed=1"), "the file is named no longer");
    process.signal("TERM");
    assert_eq!(process.exit(), Some(0));
}

#[test]
fn json_log_lines_are_json() {
    let place = Place::new();
    let process = Process::start(&place, &[("BOUNCED__LOG__FORMAT", "json")]);
    let line: serde_json::Value = serde_json::from_str(&process.says("started")).unwrap();
    assert_eq!((line["level"].as_str(), line["mailboxes"].as_i64()), (Some("INFO"), Some(1)));
    process.signal("TERM");
    assert_eq!(process.exit(), Some(0));
}

#[test]
fn systemd_hears_of_readiness_reload_life_and_the_end() {
    let place = Place::new();
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let hears = |text: &str| {
        let mut datagram = [0; 4096];
        loop {
            let length = socket.recv(&mut datagram).unwrap();
            if String::from_utf8_lossy(&datagram[..length]).contains(text) {
                return;
            }
        }
    };
    let path = place.path("notify").to_str().unwrap().to_owned();
    let process = Process::start(&place, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "200000")]);
    hears("READY=1");
    hears("WATCHDOG=1");
    process.signal("HUP");
    hears("RELOADING=1");
    hears("READY=1");
    process.signal("TERM");
    hears("STOPPING=1");
    assert_eq!(process.exit(), Some(0));
}

/// An IMAP server that answers everything but a look into the folder; a line of it arrives at the channel.
fn server_that_hangs() -> (u16, channel::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, hangs) = channel::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"* OK hello\r\n").unwrap();
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            let (tag, command) = line.split_once(' ').unwrap();
            let data = match command.split(' ').next().unwrap() {
                "CAPABILITY" => "* CAPABILITY IMAP4rev1\r\n",
                "SELECT" => "* OK [UIDVALIDITY 7] x\r\n",
                "UID" => {
                    let _ = asked.send(line);
                    continue;
                }
                _ => "",
            };
            let _ = stream.write_all(format!("{data}{tag} OK done\r\n").as_bytes());
        }
    });
    (port, hangs)
}

#[test]
fn a_mailbox_that_hangs_delays_the_stop_a_little_and_a_second_signal_not_at_all() {
    for impatient in [false, true] {
        let place = Place::new();
        let (port, hangs) = server_that_hangs();
        let port = port.to_string();
        let process = Process::start(
            &place,
            &[
                ("BOUNCED__IMAP__SLOW__HOST", "127.0.0.1"),
                ("BOUNCED__IMAP__SLOW__PORT", &port),
                ("BOUNCED__IMAP__SLOW__TLS", "plain"),
                ("BOUNCED__IMAP__SLOW__USER", "u"),
                ("BOUNCED__IMAP__SLOW__PASSWORD__COMMAND", "/bin/echo x"),
                ("BOUNCED__IMAP__SLOW__AFTER", "leave"),
            ],
        );
        hangs.recv_timeout(LONG).expect("the folder is looked into");
        let asked = Instant::now();
        process.signal("TERM");
        process.says("finishing the batches");
        if impatient {
            // Two signals within a second are one wish.
            thread::sleep(Duration::from_millis(1_100));
            process.signal("TERM");
            process.says("ending at once");
            assert_eq!(process.exit(), Some(128 + 15));
        } else {
            let last = process.says("stopped");
            assert!(!last.contains("in the middle"), "it was left in time: {last}");
            assert_eq!(process.exit(), Some(0));
            assert!(asked.elapsed() < LONGEST_STOP, "{:?}", asked.elapsed());
        }
    }
}

/// Longer than that the unit, and whoever shuts the machine down, need not wait.
const LONGEST_STOP: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_database_that_somebody_keeps_locked_does_not_delay_the_stop_for_long_and_nothing_is_lost() {
    let place = Place::new();
    let lock = async || {
        let options = SqliteConnectOptions::new().filename(place.path("bounced.db"));
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        other
    };
    // While it reads, and while it starts.
    for started in [true, false] {
        let running = started.then(|| {
            let process = Process::start(&place, &[]);
            process.says("Maildir opened");
            process
        });
        let held = lock().await;
        place.bounce(&format!("1{started}"), &format!("ann.{started}@example.com"), UNKNOWN);
        let process = running.unwrap_or_else(|| Process::start(&place, &[]));
        // Long enough for it to find the mail or the database, and to wait; should it not have come so far, it ends
        // sooner.
        thread::sleep(Duration::from_secs(2));
        let asked = Instant::now();
        process.signal("TERM");
        assert_eq!(process.exit(), Some(0));
        assert!(asked.elapsed() < LONGEST_STOP, "{:?}", asked.elapsed());
        assert_eq!(place.files("box").len(), 1, "what is not recorded is not moved");
        held.close().await.unwrap();
        let process = Process::start(&place, &[]);
        process.says("suppressed");
        process.signal("TERM");
        assert_eq!(process.exit(), Some(0));
        assert!(place.files("box").is_empty());
    }
    assert_eq!(suppressed(&place.config()).await, ["ann.false@example.com", "ann.true@example.com"]);
}

#[tokio::test]
async fn who_is_told_to_stop_in_the_middle_of_a_message_has_not_died_over_it() {
    let place = Place::new();
    let died = "bounced died while it read messages";
    for (signal, dies) in [("TERM", false), ("KILL", true), ("TERM", false)] {
        let process = Process::start(&place, &[]);
        process.says("Maildir opened");
        let options = SqliteConnectOptions::new().filename(place.path("bounced.db"));
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        // As a stop leaves it that does not wait for a database that is locked.
        other
            .execute("INSERT OR REPLACE INTO attempt (mailbox, place, under_way, deaths) VALUES ('box', '1', 1, 0)")
            .await
            .unwrap();
        other.close().await.unwrap();
        process.signal(signal);
        process.exit();
        let process = Process::start(&place, &[]);
        let seen = process.up_to("Maildir opened");
        assert_eq!(seen.contains(died), dies, "{signal}: {seen}");
        process.signal("TERM");
        assert_eq!(process.exit(), Some(0));
    }
}

#[tokio::test]
async fn a_list_that_can_not_be_written_stops_a_first_start_and_no_later_one() {
    let place = Place::new();
    let mut config = place.config();
    let list = std::mem::replace(&mut config.suppressions.path, place.path("missing/list.db"));
    place.bounce("1.a", "ann@example.org", UNKNOWN);
    let first = timeout(LONG, daemon::run(config.clone(), control().1)).await.expect("ends soon");
    assert!(matches!(first, Err(DaemonError::Store(StoreError::Unusable(_)))), "{first:?}");

    config.suppressions.path = list;
    let running = Running::start(config.clone());
    recorded(&config, 1).await;
    running.stop().await;
    config.suppressions.path = place.path("missing/list.db");
    place.bounce("2.b", "bob@example.org", UNKNOWN);
    let running = Running::start(config.clone());
    recorded(&config, 2).await;
    running.stop().await;
    assert_eq!(suppressed(&config).await, ["ann@example.org", "bob@example.org"]);
}

#[tokio::test]
async fn a_file_that_can_not_be_read_waits_and_comes_when_it_can() {
    if fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0) {
        println!("skipped: root may read every file");
        return;
    }
    let place = Place::new();
    let config = place.config();
    place.bounce("1.a", "ann@example.org", UNKNOWN);
    place.bounce("2.b", "bob@example.org", UNKNOWN);
    let file = place.path("box/new/1.a");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let running = Running::start(config.clone());
    recorded(&config, 1).await;
    let store = Store::open_existing(&config.database.path).await.unwrap();
    assert_eq!(store.pending().await.unwrap().len(), 1);
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(store.answer_pending(Some("box"), None, PendingAnswer::Retry).await.unwrap(), 1);
    place.bounce("3.c", "carl@example.org", UNKNOWN);
    recorded(&config, 3).await;
    running.stop().await;
}

#[test]
fn with_three_mailboxes_each_line_says_of_which_it_is() {
    let place = Place::new();
    for name in ["second", "third"] {
        ["new", "cur", "tmp"].iter().for_each(|part| fs::create_dir_all(place.path(name).join(part)).unwrap());
    }
    place.bounce("1", "ann@example.com", UNKNOWN);
    // A file in the place of the folder: this mailbox refuses.
    fs::write(place.path("third/.Processed"), "").unwrap();
    let process =
        Process::start_with(&place, "[maildir.second]\npath = 'second'\n[maildir.third]\npath = 'third'\n", &[]);
    let mut seen = String::new();
    for text in ["third/.Processed", "read 1 message:"] {
        if !seen.contains(text) {
            seen += &process.up_to(text);
        }
    }
    let of_a_mailbox = |line: &&str| {
        ["Maildir opened", "third/.Processed", "read 1", "suppressed"].iter().any(|text| line.contains(text))
    };
    let lines: Vec<&str> = seen.lines().filter(of_a_mailbox).collect();
    assert!(lines.len() >= 4, "{seen}");
    for line in lines {
        assert!(["box", "second", "third"].iter().any(|name| line.contains(&format!("mailbox=\"{name}\""))), "{line}");
    }
}

/// Whatever a source says it says of one mailbox.
#[test]
fn no_source_logs_a_line_without_the_name_of_its_mailbox() {
    fn look(directory: &std::path::Path, found: &mut usize, wrong: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found, wrong);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (at, call) in
                ["error!(", "warn!(", "info!(", "debug!("].iter().flat_map(|call| text.match_indices(call))
            {
                *found += 1;
                if !text[at + call.len()..].trim_start().starts_with("mailbox") {
                    let line = text[..at].lines().count();
                    wrong.push(format!("{}:{line}", path.display()));
                }
            }
        }
    }
    let (mut found, mut wrong) = (0, Vec::new());
    look(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/source"), &mut found, &mut wrong);
    assert!(found >= 10 && wrong.is_empty(), "of {found}: {wrong:?}");
}
