//! Commands that only ask: they answer beside a long writer, without permission to write, when no daemon runs, and
//! after one was killed; where that can't be, they say what to do.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{cdb, daemon::Installation, database, until};
use tempfile::TempDir;

const DEAD: &str = "anna@customer.example";

/// Without permission to write whatever they meet.
const NOBODY: &str = "65534";

/// An installation whose files everybody may read.
struct Place {
    dir: TempDir,
    bounced: Installation,
}

impl Place {
    fn new() -> Self {
        let dir = support::directory();
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(dir.path().join("mail").join(part)).unwrap();
        }
        let mail = include_str!("../scripts/samples/postfix-user-unknown.eml");
        fs::write(dir.path().join("mail/new/1"), mail).unwrap();
        let bounced = Installation::new(dir.path(), "[maildir.box]\npath = \"../mail\"\n");
        // An empty file is taken as it is, with its mode; SQLite gives its companions the same.
        fs::write(bounced.database(), "").unwrap();
        fs::set_permissions(bounced.database(), fs::Permissions::from_mode(0o644)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_bounced"), dir.path().join("program")).unwrap();
        Self { dir, bounced }
    }

    async fn listed(&self) {
        // The note of how the mailbox fares comes last.
        until("the mailbox is read and the list is published", Duration::from_secs(30), async || {
            let read = "SELECT count(*) FROM cursor WHERE read_at IS NOT NULL";
            let noted = database::count(&self.bounced.database(), read).await == 1;
            (noted && cdb::addresses(&self.bounced.cdb()) == [DEAD]).then_some(())
        })
        .await;
    }

    /// Runs a program for somebody who may read everything and write nothing.
    fn as_reader(&self, program: &Path, args: &[&str]) -> Output {
        let home = self.bounced.database();
        let home = home.parent().unwrap();
        let mode = |mode| fs::set_permissions(home, fs::Permissions::from_mode(mode)).unwrap();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
            command
        } else {
            mode(0o555);
            Command::new(program)
        };
        let output = command.args(args).current_dir("/").output().unwrap();
        mode(0o755);
        output
    }

    fn ask(&self, args: &[&str]) -> (Option<i32>, String) {
        let config = self.bounced.config();
        let args = [args, &["--config", config.to_str().unwrap()]].concat();
        let output = self.as_reader(&self.dir.path().join("program"), &args);
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// Every command that only asks, and README's look into the database.
    fn all_answer(&self, when: &str) {
        for (args, code, expected) in [
            (&["status"][..], 0, "1 message, 1 bounce"),
            (&["suppressions", "list"], 0, DEAD),
            (&["suppressions", "check", DEAD], 0, "user_unknown"),
            (&["suppressions", "export"], 0, DEAD),
            (&["review", "list"], 1, ""),
        ] {
            let (exit, said) = self.ask(args);
            assert!(exit == Some(code) && said.contains(expected), "{when}: {args:?}: {exit:?} {said}");
        }
        self.shell_answers(when, &self.bounced.database());
    }

    fn shell_answers(&self, when: &str, database: &Path) {
        let readme = include_str!("../README.md");
        let (_, look) = readme.split_once("sqlite3 -readonly /var/lib/bounced/bounced.db \"").expect("README has it");
        let (query, _) = look.split_once('"').expect("README has it");
        let shell =
            ["/usr/bin/sqlite3", "/usr/local/bin/sqlite3"].map(Path::new).into_iter().find(|path| path.exists());
        let Some(shell) = shell else { return support::skip(when, "the sqlite3 shell is not installed") };
        let output = self.as_reader(shell, &["-readonly", database.to_str().unwrap(), query]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("user_unknown"), "{when}: {output:?}");
    }

    fn companion(&self, ending: &str) -> std::path::PathBuf {
        self.bounced.database().with_file_name(format!("bounced.db-{ending}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_asks_is_answered_without_permission_to_write() {
    let place = Place::new();
    let daemon = place.bounced.run();
    place.listed().await;
    place.all_answer("beside the daemon");

    let options = SqliteConnectOptions::new().filename(place.bounced.database());
    let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
    let mut long = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    long.execute("UPDATE bounce SET reason = 'changed'").await.unwrap();
    place.all_answer("beside a long writer");
    let checked = place.bounced.command(&["check", "--connect"]).output().unwrap();
    assert!(checked.status.success(), "beside a long writer: {checked:?}");
    long.rollback().await.unwrap();
    writer.close().await.unwrap();

    assert!(daemon.terminate().await.success());
    assert!(!place.companion("wal").exists(), "a clean stop leaves one file");
    place.all_answer("while no daemon runs");
    let copy = place.dir.path().join("copy.db");
    fs::copy(place.bounced.database(), &copy).unwrap();
    place.shell_answers("a copy of the file alone", &copy);

    // A command that writes leaves the file as it found it.
    let added = place.bounced.command(&["suppressions", "add", DEAD]).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    place.all_answer("after a command that writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_who_only_asks_is_answered_or_told_what_to_do() {
    let place = Place::new();
    let daemon = place.bounced.run();
    place.listed().await;
    daemon.kill();
    place.all_answer("after the daemon was killed");

    // As a copy made by somebody who did not think of it.
    fs::remove_file(place.companion("shm")).unwrap();
    for args in [&["status"][..], &["suppressions", "list"], &["suppressions", "check", DEAD]] {
        let (exit, said) = place.ask(args);
        let helps = said.contains("start bounced, or run this as root") && said.lines().count() == 1;
        assert!(exit == Some(74) && helps, "{args:?}: {exit:?} {said}");
    }
    fs::set_permissions(place.bounced.database(), fs::Permissions::from_mode(0o000)).unwrap();
    let (exit, said) = place.ask(&["status"]);
    assert!(exit == Some(74) && said.contains("cannot be read: Permission denied"), "{exit:?} {said}");
    fs::set_permissions(place.bounced.database(), fs::Permissions::from_mode(0o644)).unwrap();

    let daemon = place.bounced.run();
    until("it is at work", Duration::from_secs(30), async || {
        (place.bounced.log().matches(" opened ").count() == 2).then_some(())
    })
    .await;
    place.all_answer("after the next start");
    assert!(daemon.terminate().await.success());
    place.all_answer("after the next stop");
}
