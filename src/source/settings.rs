//! What can be said about a mailbox in the configuration. Opens nothing and checks nothing but the words.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

/// An IMAP mailbox. Only `host`, `user` and `password` must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImapSettings {
    /// What this mailbox is called in the log and in the database: the NAME of `[imap.NAME]`. Renaming it forgets
    /// where reading stopped.
    #[serde(skip)]
    pub name: String,
    /// DNS name or address of the server; the certificate must be made out to it.
    pub host: String,
    /// TCP port; without one 993 for implicit TLS and 143 for the others.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: Tls,
    /// Allows `tls = "plain"` to a server that isn't on loopback: anyone on the way then reads the password.
    #[serde(default)]
    pub insecure: bool,
    /// PEM file of the authorities (or the one certificate) to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// User name to log in with.
    pub user: String,
    /// Where the password comes from: `{ file = "…" }`, `{ env = "…" }` or `{ command = "…" }`.
    pub password: PasswordSource,
    /// The folder to read; separators as the server writes them.
    #[serde(default = "inbox")]
    pub folder: String,
    /// What happens to a message once its rows are committed.
    #[serde(default)]
    pub after: After,
    /// How often to look; with IDLE the server tells at once, and this is how often the connection is proved alive.
    #[serde(default = "one_minute", with = "jiff::fmt::serde::unsigned_duration::required")]
    pub poll: Duration,
    /// Use IDLE (RFC 2177) where the server has it.
    #[serde(default = "yes")]
    pub idle: bool,
    /// The most messages in one batch; a batch also ends at 8 MiB.
    #[serde(default = "batch")]
    pub batch: usize,
    /// The most octets to read of one message; the rest is left on the server.
    #[serde(default = "max_message")]
    pub max_message: u32,
    /// How long to wait for the server.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// A Maildir. Only `path` must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaildirSettings {
    /// What this mailbox is called in the log and in the database: the NAME of `[maildir.NAME]`. Renaming it forgets
    /// what was read.
    #[serde(skip)]
    pub name: String,
    /// The directory that holds `new`, `cur` and `tmp`.
    pub path: PathBuf,
    /// What happens to a message once its rows are committed.
    #[serde(default)]
    pub after: After,
    /// How often to look whether something was delivered.
    #[serde(default = "half_second", with = "jiff::fmt::serde::unsigned_duration::required")]
    pub poll: Duration,
    /// The most messages in one batch; a batch also ends at 8 MiB.
    #[serde(default = "batch")]
    pub batch: usize,
    /// The most octets to read of one message.
    #[serde(default = "max_message")]
    pub max_message: u32,
}

/// How the connection to an IMAP server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// TLS from the first octet (RFC 8314 §3.2).
    #[default]
    Implicit,
    /// STARTTLS (RFC 9051 §6.2.1); a server that doesn't offer it is refused.
    StartTls,
    /// None at all: to loopback only, unless `insecure` is set.
    Plain,
}

/// What happens to a message once its rows are committed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum After {
    /// It is moved to this folder, which is created when missing. The default, to `Processed`.
    Move(String),
    /// It stays, marked as seen and, where the server permits keywords, with `$Bounced`.
    Flag,
    /// It stays as it is.
    Leave,
}

impl Default for After {
    fn default() -> Self {
        Self::Move("Processed".into())
    }
}

/// Where a password comes from; it is read anew at every login.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordSource {
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Env(String),
    /// The first line that this command, run by `/bin/sh -c`, writes to its standard output.
    Command(String),
}

/// How long to wait for an IMAP server before the connection is given up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For the connection, TLS and the greeting together; also for a password command.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::required")]
    pub connect: Duration,
    /// For the next response to a command.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::required")]
    pub response: Duration,
    /// For a whole command, however busily its responses arrive.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::required")]
    pub command: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), response: Duration::from_secs(60), command: Duration::from_secs(600) }
    }
}

fn inbox() -> String {
    "INBOX".into()
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn half_second() -> Duration {
    Duration::from_millis(500)
}

fn yes() -> bool {
    true
}

fn batch() -> usize {
    500
}

fn max_message() -> u32 {
    2 << 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_make_an_imap_mailbox() {
        let settings: ImapSettings = toml::from_str(
            r#"
            host = "imap.example.org"
            user = "bounces@example.org"
            password = { file = "/etc/bounced/password" }
            "#,
        )
        .unwrap();
        assert_eq!(settings.password, PasswordSource::File("/etc/bounced/password".into()));
        assert_eq!((settings.tls, settings.port, settings.insecure), (Tls::Implicit, None, false));
        assert_eq!(settings.after, After::Move("Processed".into()));
        assert_eq!((settings.folder.as_str(), settings.idle, settings.batch), ("INBOX", true, 500));
    }

    #[test]
    fn every_choice_has_its_word() {
        let settings: ImapSettings = toml::from_str(
            r#"
            host = "127.0.0.1"
            tls = "starttls"
            user = "bounces"
            password = { env = "PASSWORD" }
            after = { move = "Done" }
            poll = "5m"
            timeouts = { response = "10s" }
            "#,
        )
        .unwrap();
        assert_eq!((settings.tls, settings.after), (Tls::StartTls, After::Move("Done".into())));
        assert_eq!(settings.poll, Duration::from_secs(300));
        assert_eq!(settings.timeouts.response, Duration::from_secs(10));
        let maildir: MaildirSettings = toml::from_str("path = '/var/mail/bounces'\nafter = 'flag'").unwrap();
        assert_eq!(maildir.after, After::Flag);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let refused = toml::from_str::<MaildirSettings>("path = '/m'\npol = '1s'").unwrap_err();
        assert!(refused.message().contains("unknown field `pol`"), "{refused}");
    }
}
