//! Exim and OpenSMTPD, each private to one test. Debian's programs (installed, or unpacked by scripts/unpack) have their
//! directories and users compiled in: they find them in a mount namespace of their own, gone with the test. Needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use super::{free_port, until};

/// What differs from one server to the other.
pub struct Kind {
    package: &'static str,
    program: &'static str,
    users: &'static [&'static str],
    /// Shell commands that make what the package's installation would; PROGRAMS is where its programs lie.
    install: &'static str,
    /// Behind the program's name; CONFIG is the path of its configuration.
    arguments: &'static str,
}

pub const EXIM: Kind = Kind {
    package: "exim4-daemon-light",
    program: "usr/sbin/exim4",
    users: &["Debian-exim"],
    install: "install -d -o Debian-exim /run/exim4 /var/spool/exim4 /var/log/exim4",
    arguments: "-C CONFIG -bdf -oP /run/exim4/pid",
};

pub const OPENSMTPD: Kind = Kind {
    package: "opensmtpd",
    program: "usr/sbin/smtpd",
    users: &["opensmtpd", "opensmtpq"],
    install: "install -d -m 711 /var/lib/opensmtpd/empty /var/spool/smtpd
              install -m 2755 -g opensmtpq PROGRAMS/smtpctl /run/smtpctl",
    arguments: "-d -f CONFIG",
};

/// A running server; stops when dropped.
pub struct Server {
    pub port: u16,
    dir: PathBuf,
    child: Child,
}

impl Server {
    /// Starts below `dir` and waits until SMTP is answered; in the configuration PORT stands for its port, and PROGRAM for
    /// its own path. `Err` says why there can be none here.
    pub async fn start(kind: &Kind, dir: &Path, configuration: &str) -> Result<Self, String> {
        let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("servers").join(kind.package);
        let roots = [unpacked, PathBuf::from("/")];
        let program = roots.iter().map(|root| root.join(kind.program)).find(|program| program.exists());
        let program = program.ok_or_else(|| format!("{} is neither unpacked nor installed", kind.package))?;
        let namespace = Command::new("unshare").args(["--mount", "true"]).status();
        if !namespace.is_ok_and(|status| status.success()) {
            return Err("no mount namespace can be made here; only root can".to_owned());
        }
        let port = free_port();
        let dir = dir.join(kind.package);
        fs::create_dir_all(&dir).expect("the test directory is writable");
        let config = dir.join("config");
        let path = program.to_str().expect("the name is text");
        let configuration = configuration.replace("PORT", &port.to_string()).replace("PROGRAM", path);
        fs::write(&config, configuration).expect("writable");
        let mut script = "cp /etc/passwd /etc/group .\n".to_owned();
        for (number, user) in (65_100..).zip(kind.users) {
            script +=
                &format!("echo {user}:x:{number}:{number}::/:/bin/false >> passwd; echo {user}:x:{number}: >> group\n");
        }
        script += "mount --bind passwd /etc/passwd; mount --bind group /etc/group\n";
        for covered in ["/run", "/var/spool", "/var/log", "/var/lib"] {
            script += &format!("mount -t tmpfs -o mode=755 none {covered}\n");
        }
        let programs = program.with_file_name("");
        script += &format!("{}\n", kind.install.replace("PROGRAMS", programs.to_str().expect("the name is text")));
        let arguments = kind.arguments.replace("CONFIG", config.to_str().expect("the name is text"));
        script += &format!("exec {} {arguments}\n", program.display());
        let log = fs::File::create(dir.join("log")).expect("writable");
        // A test that is killed takes its server along.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "unshare", "--mount", "sh", "-euc", &script])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("util-linux has setpriv");
        let server = Self { port, dir, child };
        let answers = async || TcpStream::connect(("127.0.0.1", port)).await.ok();
        until("the mail server answers", Duration::from_secs(20), answers).await;
        Ok(server)
    }

    /// A command that sees what the server sees.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.child.id().to_string(), "--", program]);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, so that it takes its children along.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = fs::read(self.dir.join("log")).unwrap_or_default();
            eprintln!("the mail server has logged:\n{}", String::from_utf8_lossy(&log));
        }
    }
}
