//! A private Dovecot (scripts/private-dovecot, which the demo uses too) with one user, `bounces`.
//! Mail comes in over LMTP or straight into the Maildir, and is read over IMAP with TLS.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use super::{free_port, until};

/// A running Dovecot; stops when dropped, its mail stays.
pub struct Dovecot {
    /// IMAP over TLS on 127.0.0.1.
    pub port: u16,
    /// LMTP on 127.0.0.1.
    pub lmtp: u16,
    dir: PathBuf,
    master: Child,
}

impl Dovecot {
    /// Why there can be no Dovecot here, if so.
    pub fn missing() -> Option<&'static str> {
        let installed = Path::new("/usr/sbin/dovecot").exists() && Path::new("/usr/lib/dovecot/lmtp").exists();
        (!installed).then_some("dovecot-imapd and dovecot-lmtpd are not installed")
    }

    /// Starts below `dir` and waits until IMAP is answered. `extra` is added to the configuration.
    pub async fn start(dir: &Path, extra: &str) -> Self {
        Self::start_on(dir, free_port(), extra).await
    }

    /// Like [`Dovecot::start`], on a port that clients know already. Mail from an earlier start is still there.
    pub async fn start_on(dir: &Path, port: u16, extra: &str) -> Self {
        let dir = dir.join("dovecot");
        fs::create_dir_all(&dir).expect("the test directory is writable");
        let (lmtp, more) = (free_port(), dir.join("extra.conf"));
        let listener = format!("inet_listener lmtp {{\n address = 127.0.0.1\n port = {lmtp}\n }}");
        let lmtp_conf = format!("protocols = imap lmtp\nservice lmtp {{\n {listener}\n}}\n");
        fs::write(&more, format!("{lmtp_conf}{extra}\n")).expect("the test directory is writable");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/private-dovecot");
        let master = Command::new(script)
            .arg(&dir)
            .arg(port.to_string())
            .arg(&more)
            .stdin(Stdio::null())
            .stdout(fs::File::create(dir.join("stdout")).expect("writable"))
            .stderr(fs::File::create(dir.join("stderr")).expect("writable"))
            .spawn()
            .expect("the script is there");
        let dovecot = Self { port, lmtp, dir, master };
        until("Dovecot answers", Duration::from_secs(20), async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        dovecot
    }

    /// A table of the configuration that reads INBOX and moves what is done to the folder Processed.
    pub fn as_mailbox(&self) -> String {
        let (port, certificate, password) = (self.port, self.certificate(), self.password_file());
        format!(
            "[[imap]]\nname = \"bounces\"\nhost = \"localhost\"\nport = {port}\nca_file = \"{}\"\nuser = \
             \"bounces\"\npassword = {{ file = \"{}\" }}\n",
            certificate.display(),
            password.display()
        )
    }

    /// The authority that signed the server's certificate: the certificate itself.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    /// The file that holds the password of `bounces`.
    pub fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The Maildir that is INBOX.
    pub fn maildir(&self) -> PathBuf {
        self.dir.join("mail")
    }

    /// How many messages lie in a folder; `INBOX` is one.
    pub fn messages(&self, folder: &str) -> usize {
        let dir = if folder == "INBOX" { self.maildir() } else { self.maildir().join(format!(".{folder}")) };
        ["new", "cur"].iter().filter_map(|sub| fs::read_dir(dir.join(sub)).ok()).map(Iterator::count).sum()
    }

    /// Puts a message into INBOX as a delivery agent does. `unique` becomes its file name.
    pub fn deliver(&self, unique: &str, mail: &[u8]) {
        let (temporary, new) = (self.maildir().join("tmp").join(unique), self.maildir().join("new").join(unique));
        let owner = fs::metadata(self.maildir()).expect("made at the start");
        fs::write(&temporary, mail).expect("the Maildir is writable");
        chown(&temporary, Some(owner.uid()), Some(owner.gid())).expect("we are its owner or root");
        fs::rename(temporary, new).expect("same file system");
    }

    /// What Dovecot has logged, for a failing test to show.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("dovecot.log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // SIGTERM, so that the master takes its children along.
        Command::new("kill").arg(self.master.id().to_string()).status().ok();
        self.master.wait().ok();
    }
}
