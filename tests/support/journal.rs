//! A private journald: systemd's own, without systemd, in a mount namespace, gone with the test. Needs root.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::until;

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// Takes whatever comes as fast as it comes, and nothing of the kernel's.
const CONFIGURATION: &str = "[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitBurst=0\nForwardToSyslog=no\n";

/// A running journald; stops when dropped.
pub struct Journal {
    dir: PathBuf,
    log: UnixDatagram,
    child: Child,
}

impl Journal {
    /// Starts below `dir`. `Err` says why there can be none here.
    pub async fn start(dir: &Path) -> Result<Self, String> {
        for (program, argument) in [(JOURNALD, "--version"), ("journalctl", "--version")] {
            if !Command::new(program).arg(argument).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
            {
                return Err(format!("{program} is not installed"));
            }
        }
        let namespace = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
        if !namespace.is_ok_and(|status| status.success()) {
            return Err("no mount namespace can be made here; only root can".to_owned());
        }
        let dir = dir.join("journal");
        for sub in ["", "entries", "sockets"] {
            fs::create_dir(dir.join(sub)).expect("the test directory is writable");
        }
        fs::write(dir.join("journald.conf"), CONFIGURATION).expect("writable");
        let script = format!(
            "mount -t tmpfs none /run; mkdir -p /run/log/journal /run/systemd/journal
             mount --bind entries /run/log/journal; mount --bind sockets /run/systemd/journal
             mount --bind journald.conf /etc/systemd/journald.conf
             exec {JOURNALD}"
        );
        let stderr = fs::File::create(dir.join("stderr")).expect("writable");
        // A test that is killed takes its server along.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "unshare", "--mount", "sh", "-euc", &script])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("util-linux has setpriv");
        let log = UnixDatagram::unbound().expect("a socket can be had");
        let journal = Self { dir, log, child };
        let socket = journal.dir.join("sockets/dev-log");
        until("journald listens", Duration::from_secs(20), async || journal.log.connect(&socket).ok()).await;
        Ok(journal)
    }

    /// Where it keeps its entries.
    pub fn directory(&self) -> PathBuf {
        self.dir.join("entries")
    }

    /// What syslog(3) sends for the facility mail (RFC 5424 §6.2.1): `program[pid]: text`.
    pub fn log(&self, line: &str) {
        self.log.send(format!("<22>{line}").as_bytes()).expect("journald listens");
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("journald has said:\n{}", fs::read_to_string(self.dir.join("stderr")).unwrap_or_default());
        }
    }
}
