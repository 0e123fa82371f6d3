//! A private Cyrus IMAP for tests: unpacked by scripts/unpack, for it can't be installed beside Dovecot; own directory and
//! port, gone when dropped. Needs root, as its master takes on another user.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{free_port, imap::Imap, until};

/// Who owns its files.
const NOBODY: (u32, u32) = (65534, 65534);

/// A running server.
pub struct Cyrus {
    pub port: u16,
    _dir: tempfile::TempDir,
    master: Child,
}

impl Cyrus {
    /// With the mailbox of [`USER`], who gets in with any password. `Err` says why there can be none here.
    pub async fn start() -> Result<Self, String> {
        let servers = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("servers");
        let programs = |package: &str| servers.join(package).join("usr/lib/cyrus/bin");
        let (common, imapd) = (programs("cyrus-common"), programs("cyrus-imapd").join("imapd"));
        if !common.join("master").exists() || !imapd.exists() {
            return Err("cyrus-imapd is not unpacked: scripts/unpack cyrus-common cyrus-imapd".to_owned());
        }
        if !fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            return Err("only root can start Cyrus".to_owned());
        }
        let (dir, port) = (super::directory(), free_port());
        let at = |name: &str| dir.path().join(name);
        for folder in ["lib", "lib/db", "lib/socket", "lib/proc", "lib/log", "lib/msg", "lib/lock", "spool"] {
            fs::create_dir(at(folder)).expect("the test directory is writable");
            chown(at(folder), Some(NOBODY.0), Some(NOBODY.1)).expect("root may");
        }
        let root = dir.path().display();
        let configuration = format!(
            "configdirectory: {root}/lib\npartition-default: {root}/spool\ndefaultpartition: default\nadmins: cyrus\n\
             cyrus_user: nobody\ncyrus_group: nogroup\nsasl_pwcheck_method: saslauthd\nsasl_saslauthd_path: {root}/auth\n\
             sasl_mech_list: PLAIN\nallowplaintext: yes\naltnamespace: yes\nunixhierarchysep: yes\nvirtdomains: off\n\
             expunge_mode: immediate\ndelete_mode: immediate\n"
        );
        fs::write(at("imapd.conf"), configuration).expect("the test directory is writable");
        let recover = common.join("ctl_cyrusdb");
        let services = format!(
            "START {{\n recover cmd=\"{} -C {root}/imapd.conf -r\"\n}}\nSERVICES {{\n imap cmd=\"{} -C {root}/imapd.conf\" \
             listen=\"127.0.0.1:{port}\" prefork=0\n}}\nEVENTS {{\n}}\n",
            recover.display(),
            imapd.display()
        );
        fs::write(at("cyrus.conf"), services).expect("the test directory is writable");
        believe_everybody(&at("auth"));
        let log = fs::File::create(at("log")).expect("the test directory is writable");
        let master = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(common.join("master"))
            .args(["-C".as_ref(), at("imapd.conf").as_os_str()])
            .args(["-M".as_ref(), at("cyrus.conf").as_os_str()])
            .args(["-p".as_ref(), at("pid").as_os_str()])
            .env("LD_LIBRARY_PATH", servers.join("cyrus-common").join(libraries()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .map_err(|error| format!("Cyrus can't be started: {error}"))?;
        let mut this = Self { port, _dir: dir, master };
        let mut admin = until("Cyrus answers", Duration::from_secs(60), async || {
            assert!(this.master.try_wait().expect("it is our child").is_none(), "Cyrus ends");
            Imap::login(port, "cyrus", "any").await.ok()
        })
        .await;
        admin.command(&format!("CREATE \"user/{USER}\"")).await;
        Ok(this)
    }
}

/// The one user.
pub const USER: &str = "bounces";

/// Where Debian has the libraries of this machine.
fn libraries() -> PathBuf {
    Path::new("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH))
}

/// In place of saslauthd: whatever the password, it is right. Four strings, each behind its length, and `OK` in the same
/// form.
fn believe_everybody(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("the test directory is writable");
    fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).expect("it is ours");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let asked = (0..4).try_for_each(|_| {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                stream.read_exact(&mut vec![0; u16::from_be_bytes(length).into()])
            });
            let _ = asked.and_then(|()| stream.write_all(b"\0\x02OK"));
        }
    });
}

impl Drop for Cyrus {
    fn drop(&mut self) {
        // SIGTERM, unlike Child::kill, lets the master end its own processes.
        let _ = Command::new("kill").arg(self.master.id().to_string()).status();
        let _ = self.master.wait();
    }
}
