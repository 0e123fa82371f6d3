//! The real binary as a process: configuration file in, running daemon, log and exit code out.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::{dovecot::deliver, until};

/// An installation below one directory: configuration, database and published list.
pub struct Installation {
    dir: PathBuf,
}

impl Installation {
    /// `mailboxes` are the tables of the configuration that name the mailboxes.
    pub fn new(dir: &Path, mailboxes: &str) -> Self {
        let this = Self { dir: dir.join("bounced") };
        fs::create_dir_all(&this.dir).expect("the test directory is writable");
        this.configure(&format!(
            "[database]\npath = \"bounced.db\"\n[suppressions]\npath = \"suppressions.db\"\n{mailboxes}"
        ));
        this
    }

    /// Replaces the whole configuration.
    pub fn configure(&self, text: &str) {
        fs::write(self.config(), text).expect("the test directory is writable");
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("bounced.toml")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.dir.join("bounced.db")
    }

    /// The published list.
    pub fn published(&self) -> PathBuf {
        self.dir.join("suppressions.db")
    }

    /// The published list as a constant database.
    pub fn cdb(&self) -> PathBuf {
        self.dir.join("suppressions.cdb")
    }

    /// `bounced ARGS --config …`, to be run to its end.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"));
        command.args(args).arg("--config").arg(self.config()).stdin(Stdio::null());
        command
    }

    /// Starts `bounced run`; its log is appended to one file over all starts.
    pub fn run(&self) -> Daemon {
        self.run_with(&[])
    }

    /// The same with further arguments.
    pub fn run_with(&self, args: &[&str]) -> Daemon {
        self.start(self.command(&[&["run"], args].concat()))
    }

    /// The same in a process group of its own, for one that is going to be stopped: the kernel wakes a group in which
    /// somebody is stopped (SIGHUP, SIGCONT) as soon as the shell ends that started it, tests and all.
    pub fn run_apart(&self) -> Daemon {
        let mut command = self.command(&["run"]);
        command.process_group(0);
        self.start(command)
    }

    fn start(&self, mut command: Command) -> Daemon {
        let log = fs::File::options().create(true).append(true).open(self.log_file()).expect("writable");
        let child = command
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("the binary is built");
        Daemon { child }
    }

    /// Everything that all daemons so far have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("bounced has logged:\n{}", self.log());
        }
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// SIGTERM, then waits for the end.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill(1) exists").success());
        self.exit().await
    }

    /// Waits until it ends by itself.
    pub async fn exit(&mut self) -> ExitStatus {
        until("the daemon ends", Duration::from_secs(20), async || self.child.try_wait().expect("it is our child"))
            .await
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An installation that reads a Maildir.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub bounced: Installation,
}

impl Place {
    pub fn new() -> Self {
        let dir = super::directory();
        let maildir = dir.path().join("Maildir");
        fs::create_dir(&maildir).expect("the test directory is writable");
        let mailbox = format!("[maildir.bounces]\npath = \"{}\"\npoll = \"20ms\"\n", maildir.display());
        let bounced = Installation::new(dir.path(), &mailbox);
        Self { dir, bounced }
    }

    pub fn maildir(&self) -> PathBuf {
        self.dir.path().join("Maildir")
    }

    /// A bounce of `anna{n}@customer.example`, from a mail of its own.
    pub fn bounce(&self, n: usize) {
        let sample = include_str!("../../scripts/samples/postfix-user-unknown.eml");
        let mail = sample.replace("anna", &format!("anna{n}")).replace("Message-Id: <", &format!("Message-Id: <{n}."));
        deliver(&self.maildir(), &mail);
    }
}
