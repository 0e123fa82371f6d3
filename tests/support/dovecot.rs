//! A private Dovecot for tests: own configuration, mailboxes, certificate and ports in a temporary directory, on
//! loopback, run by whoever runs the test. Gone when dropped. Speaks the configuration of Dovecot 2.3 and of 2.4.

#![allow(dead_code, reason = "every test that uses this uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// The one user, and the password.
pub const USER: &str = "bounces@example.org";
pub const PASSWORD: &str = r#"pa"ss \wörd"#;

/// Who owns the mailboxes where root runs the tests.
const NOBODY: u32 = 65534;

/// A running server.
pub struct Dovecot {
    pub dir: tempfile::TempDir,
    /// IMAP with STARTTLS.
    pub imap: u16,
    /// IMAP with implicit TLS.
    pub imaps: u16,
    extra: String,
    master: Child,
}

impl Dovecot {
    /// Starts one; `None`, with a line saying so, where Dovecot is not installed.
    pub fn start() -> Option<Self> {
        Self::with("")
    }

    /// Starts one with these lines added to its configuration, e.g. a shorter `imap_capability`.
    pub fn with(extra: &str) -> Option<Self> {
        let Some(version) = version() else {
            assert!(std::env::var_os("BOUNCED_TEST_NO_SKIP").is_none(), "dovecot must be installed here");
            println!("skipped: dovecot is not installed (Debian: apt-get install dovecot-imapd)");
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Dovecot's own users must reach their sockets below.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        certificate(dir.path(), "dovecot", "localhost");
        fs::create_dir_all(dir.path().join("Maildir")).unwrap();
        if fs::metadata(dir.path()).unwrap().uid() == 0 {
            // Dovecot opens no mail as root.
            chown(dir.path().join("Maildir"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // Free ports may be taken by somebody else before Dovecot binds them: then it ends, and others are tried.
        for _ in 0..5 {
            let [imap, imaps] = free_ports();
            fs::write(dir.path().join("dovecot.conf"), configuration(&version, dir.path(), imap, imaps, extra))
                .unwrap();
            let mut master = launch(dir.path());
            if ready(&mut master, imap) {
                return Some(Self { dir, imap, imaps, extra: extra.into(), master });
            }
            stop(&mut master);
        }
        panic!("dovecot does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    /// The certificate, which is its own authority.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("dovecot.pem")
    }

    /// The Maildir of the inbox; delivering there is what a delivery agent does.
    pub fn maildir(&self) -> PathBuf {
        self.dir.path().join("Maildir")
    }

    /// Delivers a message to the inbox.
    pub fn deliver(&self, message: &str) {
        deliver(&self.maildir(), message);
    }

    /// Ends the server, connections and all.
    pub fn stop(&mut self) {
        stop(&mut self.master);
    }

    /// Starts it again on the same ports with the same mailboxes.
    pub fn restart(&mut self) {
        self.stop();
        let version = version().expect("it ran before");
        let text = configuration(&version, self.dir.path(), self.imap, self.imaps, &self.extra);
        fs::write(self.dir.path().join("dovecot.conf"), text).unwrap();
        self.master = launch(self.dir.path());
        assert!(ready(&mut self.master, self.imap), "dovecot does not start again");
    }

    /// `doveadm` with these arguments, on behalf of [`USER`]; its standard output.
    pub fn doveadm(&self, arguments: &[&str]) -> String {
        let (command, rest) = arguments.split_first().expect("a command");
        let mut doveadm = Command::new("doveadm");
        doveadm.arg("-c").arg(self.dir.path().join("dovecot.conf"));
        // `mailbox list` and its like take the user after both words.
        let words: Vec<&str> = command.split(' ').collect();
        let output = doveadm.args(words).args(["-u", USER]).args(rest).output().expect("doveadm runs");
        assert!(output.status.success(), "doveadm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many messages the folder holds.
    pub fn count(&self, folder: &str) -> usize {
        self.doveadm(&["search", "mailbox", folder, "all"]).lines().count()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        stop(&mut self.master);
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
    }
}

/// Writes a message to a Maildir as a delivery agent does: into `tmp`, then by rename into `new`.
pub fn deliver(maildir: &Path, message: &str) -> String {
    let owner = fs::metadata(maildir).expect("the Maildir is there");
    let own = |path: &Path| chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("1700000000.M{count:08}P{}.localhost", std::process::id());
    let draft = maildir.join("tmp").join(&name);
    for part in ["tmp", "new", "cur"].map(|part| maildir.join(part)) {
        fs::create_dir_all(&part).unwrap();
        own(&part);
    }
    fs::write(&draft, message).unwrap();
    own(&draft);
    fs::rename(draft, maildir.join("new").join(&name)).unwrap();
    name
}

/// Writes NAME.pem and NAME.key for a host; the certificate is its own authority.
pub fn certificate(dir: &Path, name: &str, host: &str) {
    let signed = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    fs::write(dir.join(format!("{name}.pem")), signed.cert.pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), signed.signing_key.serialize_pem()).unwrap();
}

/// Debian keeps it where not every user's PATH looks.
fn dovecot() -> Command {
    let sbin = Path::new("/usr/sbin/dovecot");
    Command::new(if sbin.exists() { sbin } else { Path::new("dovecot") })
}

/// Whether it is configured as 2.4 is, which calls many things otherwise.
pub fn is_2_4() -> bool {
    version().is_some_and(|version| version.starts_with("2.4"))
}

fn version() -> Option<String> {
    let output = dovecot().arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn launch(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("log")).unwrap();
    dovecot()
        .arg("-F")
        .arg("-c")
        .arg(dir.join("dovecot.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("dovecot runs")
}

fn stop(master: &mut Child) {
    if let Ok(None) = master.try_wait() {
        // SIGTERM, unlike Child::kill, lets the master end its own processes.
        let _ = Command::new("kill").arg(master.id().to_string()).status();
    }
    let _ = master.wait();
}

/// Both sockets are held until both ports are known.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// Waits for the greeting.
fn ready(master: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && matches!(master.try_wait(), Ok(None)) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut greeting = [0; 4];
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            if stream.read_exact(&mut greeting).is_ok() {
                let _ = stream.write_all(b"A1 LOGOUT\r\n");
                return greeting == *b"* OK";
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn configuration(version: &str, dir: &Path, imap: u16, imaps: u16, extra: &str) -> String {
    let id = |flag: &str| {
        let output = Command::new("id").arg(flag).output().expect("id runs");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let owner = fs::metadata(dir.join("Maildir")).unwrap();
    let (mail_uid, mail_gid) = (owner.uid(), owner.gid());
    let (user, group, root, dir) = (id("-un"), id("-gn"), id("-u") == "0", dir.display());
    fs::write(format!("{dir}/passwd"), format!("{USER}:{{PLAIN}}{PASSWORD}\n")).unwrap();
    // Started by root, Dovecot insists on users of its own; started by anybody else, it can have no other user.
    let users = if root {
        String::new()
    } else {
        format!("default_internal_user = {user}\ndefault_internal_group = {group}\ndefault_login_user = {user}\n")
    };
    let chroot = if root { "" } else { "chroot =" };
    let common = format!(
        "protocols = imap
base_dir = {dir}/run
log_path = /dev/stderr
{users}first_valid_uid = 1
first_valid_gid = 1
ssl = yes
auth_mechanisms = plain
service imap-login {{
  {chroot}
  inet_listener imap {{
    LISTEN = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    LISTEN = 127.0.0.1
    port = {imaps}
    ssl = yes
  }}
}}
service anvil {{
  {chroot}
}}
"
    );
    let own = if version.starts_with("2.4") {
        format!(
            "dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
mail_driver = maildir
mail_home = {dir}
mail_path = {dir}/Maildir
ssl_server_cert_file = {dir}/dovecot.pem
ssl_server_key_file = {dir}/dovecot.key
auth_allow_cleartext = no
passdb passwd-file {{
  passwd_file_path = {dir}/passwd
}}
userdb static {{
  fields {{
    uid = {mail_uid}
    gid = {mail_gid}
    home = {dir}
  }}
}}
"
        )
    } else {
        format!(
            "mail_location = maildir:{dir}/Maildir
mailbox_list_index = no
ssl_cert = <{dir}/dovecot.pem
ssl_key = <{dir}/dovecot.key
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = {dir}/passwd
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={dir}
}}
"
        )
    };
    let listen = if version.starts_with("2.4") { "listen" } else { "address" };
    // 2.4 wants its version in the first line.
    if version.starts_with("2.4") {
        format!("{own}{}{extra}\n", common.replace("LISTEN", listen))
    } else {
        format!("{}{own}{extra}\n", common.replace("LISTEN", listen))
    }
}
