//! A private Postfix: Debian's binaries with configuration, queue, log and ports of their own below one directory.
//! Bounces go to an LMTP server, everything else is relayed as routed. Needs root, as Postfix does.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{free_port, processes, until};

const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// No chroot (Debian's default) anywhere: the processes must see the published list.
const MASTER_CF: &str = "
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 1 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
lmtp      unix - - n - - lmtp
virtual   unix - n n - - virtual
error     unix - - n - - error
retry     unix - - n - - error
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
";

/// The domain whose mail, the bounces, goes to the LMTP server (RFC 2033).
pub const BOUNCE_DOMAIN: &str = "example.org";

/// The same for bounces that need SMTPUTF8 (RFC 6531), which Dovecot's LMTP has not: into a Maildir, by Postfix itself.
pub const UTF8_BOUNCE_DOMAIN: &str = "idn.example.org";

/// Postfix delivers as anybody but root.
const NOBODY: u32 = 65534;

/// A running Postfix; stops when dropped.
pub struct Postfix {
    config: PathBuf,
    port: u16,
    master: Child,
}

impl Postfix {
    /// Why there can be no Postfix here, if so.
    pub fn missing() -> Option<&'static str> {
        if !Path::new(MASTER).exists() {
            return Some("Postfix is not installed");
        }
        let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
        (!root).then_some("a private Postfix must be started by root")
    }

    /// Starts below `dir` and waits until SMTP is answered. `routes` are `(recipient domain, sink port)`; `relay`
    /// takes all other mail; `lmtp` is the port that the bounces go to.
    pub async fn start(dir: &Path, relay: u16, routes: &[(String, u16)], lmtp: u16) -> Self {
        let config = dir.join("postfix");
        let (queue, data, log) = (config.join("queue"), config.join("data"), config.join("log"));
        fs::create_dir_all(&queue).expect("the test directory is writable");
        fs::create_dir_all(&data).expect("the test directory is writable");
        let postfix = fs::metadata("/var/lib/postfix").expect("Postfix is installed");
        chown(&data, Some(postfix.uid()), None).expect("we are root");

        let port = free_port();
        fs::write(config.join("master.cf"), MASTER_CF.replace("{port}", &port.to_string())).expect("writable");
        let mut transports = format!("{UTF8_BOUNCE_DOMAIN} virtual:\n");
        for (domain, port) in routes {
            transports.push_str(&format!("{domain} smtp:[127.0.0.1]:{port}\n"));
        }
        fs::write(config.join("transport"), transports).expect("writable");
        let mail_base = config.join("mail");
        for sub in ["", "bounces", "bounces/new", "bounces/cur", "bounces/tmp"] {
            fs::create_dir(mail_base.join(sub)).expect("writable");
            chown(mail_base.join(sub), Some(NOBODY), Some(NOBODY)).expect("we are root");
        }
        let (config_dir, queue_dir, data_dir) = (config.display(), queue.display(), data.display());
        fs::write(
            config.join("main.cf"),
            format!(
                "compatibility_level = 3.6
queue_directory = {queue_dir}
data_directory = {data_dir}
maillog_file = {log}
maillog_file_prefixes = {config_dir}
myhostname = mx.example.org
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
disable_dns_lookups = yes
smtp_host_lookup = native
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_peername_lookup = no
alias_maps =
alias_database =
local_recipient_maps =
biff = no
recipient_delimiter = +
virtual_mailbox_domains = {BOUNCE_DOMAIN} {UTF8_BOUNCE_DOMAIN}
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
virtual_mailbox_base = {mail_base}
virtual_mailbox_maps = static:bounces/
virtual_uid_maps = static:{NOBODY}
virtual_gid_maps = static:{NOBODY}
relayhost = [127.0.0.1]:{relay}
transport_maps = texthash:{config_dir}/transport
# One mail, one connection: a refused greeting or a 421 shall not slow its neighbours down.
smtp_connection_cache_on_demand = no
smtp_destination_concurrency_failed_cohort_limit = 0
smtp_destination_recipient_limit = 1
# A deferred mail expires with the second attempt, so that a 4yz becomes a bounce within seconds.
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
maximal_queue_lifetime = 1s
bounce_queue_lifetime = 1s
smtpd_relay_restrictions = permit_mynetworks, reject
# Whoever is refused one recipient after the other is answered as fast as anybody.
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_recipient_restrictions =
",
                log = log.display(),
                mail_base = mail_base.display(),
            ),
        )
        .expect("writable");
        for file in ["dynamicmaps.cf", "postfix-files"] {
            fs::copy(Path::new("/etc/postfix").join(file), config.join(file)).expect("Debian's Postfix has it");
        }
        let config_arg = config.to_str().expect("the test directory's name is text");
        let check = Command::new("postfix").args(["-c", config_arg, "check"]).output().expect("Postfix is installed");
        assert!(check.status.success(), "postfix check: {}", String::from_utf8_lossy(&check.stderr));
        // A test that is killed takes its Postfix along.
        let master = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", MASTER, "-s", "-c", config_arg])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(config.join("stderr")).expect("writable"))
            .spawn()
            .expect("util-linux has setpriv");
        let postfix = Self { config, port, master };
        until("Postfix answers", Duration::from_secs(20), async || TcpStream::connect(("127.0.0.1", port)).await.ok())
            .await;
        postfix
    }

    /// Refuses whom the published suppression list names, by the constant database, with the very look-ups that
    /// docs/database.md shows.
    pub fn refuse_suppressed(&self, cdb: &Path) {
        let documented = include_str!("../../docs/database.md");
        let (_, look_ups) = documented.split_once("\nsmtpd_recipient_restrictions =\n").expect("it is documented");
        let (look_ups, _) = look_ups.split_once("permit_mynetworks").expect("other restrictions follow");
        let (_, domains) = documented.split_once("`/etc/postfix/suppressed-domains` has one line").expect("so is this");
        let domains = domains.split("```").nth(1).expect("the line follows");
        fs::write(self.config.join("suppressed-domains"), domains).expect("writable");
        let list = cdb.with_extension("");
        let look_ups = look_ups
            .replace("/var/lib/bounced/suppressions", list.to_str().expect("the name is text"))
            .replace("/etc/postfix", self.config.to_str().expect("the name is text"));
        self.restrict(&look_ups);
    }

    /// The same by SQL.
    pub fn refuse_suppressed_by_sql(&self, list: &Path) {
        let documented = include_str!("../../docs/database.md");
        let (_, table) = documented.split_once("```\ndbpath = ").expect("it is documented");
        let table = format!("dbpath = {}", table.split("```").next().expect("it has an end"));
        let table = table.replace("/var/lib/bounced/suppressions.db", list.to_str().expect("the name is text"));
        fs::write(self.config.join("suppressions.cf"), table).expect("writable");
        let (_, look_up) = documented.split_once("always through `proxy:`, as `").expect("it is documented");
        let (look_up, _) = look_up.split_once('`').expect("it has an end");
        self.restrict(&look_up.replace("/etc/postfix", self.config.to_str().expect("the name is text")));
    }

    fn restrict(&self, look_ups: &str) {
        let restrictions = format!("smtpd_recipient_restrictions = {look_ups}");
        let main = fs::read_to_string(self.config.join("main.cf")).expect("written at the start");
        let (rest, _) = main.split_once("smtpd_recipient_restrictions =").expect("it stands at the end");
        fs::write(self.config.join("main.cf"), format!("{rest}{restrictions}\n")).expect("writable");
        self.reload();
    }

    /// Adds services, settings that count from now on, and routes; a route's domain is not looked for elsewhere then.
    pub fn add(&self, master: &str, main: &str, transport: &str) {
        let read = |name: &str| fs::read_to_string(self.config.join(name)).expect("written at the start");
        let write = |name: &str, text: String| fs::write(self.config.join(name), text).expect("writable");
        write("master.cf", read("master.cf") + master);
        write("transport", read("transport") + transport);
        let main = main.replace("/etc/postfix", self.config.to_str().expect("the name is text"));
        // As long as the rest of a test takes.
        let patient = "bounce_queue_lifetime = 1d\nmaximal_queue_lifetime = 1d\n";
        let is_new = |line: &&str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            !format!("{main}{patient}").lines().any(|new| new.split('=').next().is_some_and(|new| new.trim() == key))
        };
        let kept: String = read("main.cf").lines().filter(is_new).map(|line| format!("{line}\n")).collect();
        write("main.cf", kept + &main + patient);
        self.reload();
    }

    fn reload(&self) {
        let reload = Command::new("postfix").arg("-c").arg(&self.config).arg("reload").output().expect("installed");
        assert!(reload.status.success(), "postfix reload: {}", String::from_utf8_lossy(&reload.stderr));
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Whether it has no mail left.
    pub fn is_empty(&self) -> bool {
        let queue = Command::new("postqueue").arg("-c").arg(&self.config).arg("-p").output().expect("installed");
        queue.stdout.starts_with(b"Mail queue is empty")
    }

    /// Where it logs.
    pub fn log_file(&self) -> PathBuf {
        self.config.join("log")
    }

    /// Its own way: the log gets another name, is opened anew, and packed a second later.
    pub fn rotate_log(&self) {
        let rotated = Command::new("postfix").arg("-c").arg(&self.config).arg("logrotate").output().expect("installed");
        assert!(rotated.status.success(), "postfix logrotate: {}", String::from_utf8_lossy(&rotated.stderr));
    }

    /// Tries at once whatever waits: what was on its way when it was told to reload waits for minutes.
    pub fn flush(&self) {
        let flushed = Command::new("postqueue").arg("-c").arg(&self.config).arg("-f").status().expect("installed");
        assert!(flushed.success(), "postqueue -f");
    }

    /// The processes that write its log.
    pub fn log_writers(&self) -> Vec<u32> {
        let master = self.master.id();
        let is_ours = |process: &u32| {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            status.starts_with("Name:\tpostlogd\n") && status.contains(&format!("\nPPid:\t{master}\n"))
        };
        processes().filter(is_ours).collect()
    }

    /// The port on which it takes mail.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Maildir with the mail for [`UTF8_BOUNCE_DOMAIN`].
    pub fn utf8_maildir(&self) -> PathBuf {
        self.config.join("mail/bounces")
    }

    /// Hands in one small mail; `Err` is the first reply that was no success.
    pub async fn submit(&self, sender: &str, recipient: &str) -> Result<(), String> {
        let mail = format!(
            "From: News <news@{BOUNCE_DOMAIN}>\r\nTo: <{recipient}>\r\nSubject: The spring issue\r\nMessage-ID: \
             <{}@{BOUNCE_DOMAIN}>\r\nList-Id: News <news.{BOUNCE_DOMAIN}>\r\nX-Campaign-ID: spring\r\n\r\nHello!\r\n",
            sender.replace(['@', '+'], ".")
        );
        self.hand_in(sender, recipient, &mail).await
    }

    /// The same with a mail of one's own.
    pub async fn hand_in(&self, sender: &str, recipient: &str, mail: &str) -> Result<(), String> {
        hand_in(self.port, sender, recipient, mail).await
    }
}

/// Hands a mail in at any server; `Err` is the first reply that was no success.
pub async fn hand_in(port: u16, sender: &str, recipient: &str, mail: &str) -> Result<(), String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let utf8 = if recipient.is_ascii() { "" } else { " SMTPUTF8" };
    for command in [
        String::new(),
        "EHLO localhost\r\n".to_owned(),
        format!("MAIL FROM:<{sender}>{utf8}\r\n"),
        format!("RCPT TO:<{recipient}>\r\n"),
        "DATA\r\n".to_owned(),
        format!("{mail}.\r\n"),
        "QUIT\r\n".to_owned(),
    ] {
        write.write_all(command.as_bytes()).await.expect("the server listens");
        let reply = loop {
            let line = lines.next_line().await.expect("the server answers").expect("the server answers");
            if line.as_bytes().get(3) != Some(&b'-') {
                break line;
            }
        };
        if !reply.starts_with(['2', '3']) {
            return Err(reply);
        }
    }
    Ok(())
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // SIGTERM, so that master takes its children along.
        Command::new("kill").arg(self.master.id().to_string()).status().ok();
        self.master.wait().ok();
        if std::thread::panicking() {
            eprintln!("Postfix has logged:\n{}", fs::read_to_string(self.config.join("log")).unwrap_or_default());
        }
    }
}
