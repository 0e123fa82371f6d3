//! `[imap.NAME]` in the configuration. Opens nothing and checks nothing but the words.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::source::{
    After, SecretSource, Settings, Timeouts, Tls,
    login::{self, Account, Mechanism, Protocol, Provider, TokenSource},
    settings, tls,
};

/// An IMAP mailbox. Only `user`, `host` (or `provider`) and `password` (or `token`) must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of its own: [imap.NAME]")]
pub struct ImapSettings {
    /// A provider whose host and token servers are known.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// DNS name or address of the server, where it is not the provider's; the certificate must be made out to it.
    #[serde(default, deserialize_with = "settings::host")]
    pub host: Option<String>,
    /// TCP port; without one 993 for implicit TLS and 143 for the others.
    #[serde(default)]
    pub port: Option<NonZeroU16>,
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
    #[serde(deserialize_with = "settings::word")]
    pub user: String,
    /// Where the password comes from: `{ file = "…" }`, `{ env = "…" }`, `{ command = "…" }` or `{ credential = "…" }`.
    #[serde(default)]
    pub password: Option<SecretSource>,
    /// Where access tokens come from, in place of a password.
    #[serde(default)]
    pub token: Option<TokenSource>,
    /// PEM file with the client certificate and its key, for servers that ask for one.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// How to log in, where the server's own choice is not the right one.
    #[serde(default)]
    pub mechanism: Option<Mechanism>,
    /// The folder to read; separators as the server writes them.
    #[serde(default = "inbox", deserialize_with = "settings::word")]
    pub folder: String,
    /// What happens to a message once its rows are committed.
    #[serde(default)]
    pub after: After,
    /// How often to look; with IDLE the server tells at once, and this is how often the connection is proved alive.
    #[serde(default = "one_minute", deserialize_with = "settings::time")]
    pub poll: Duration,
    /// Use IDLE (RFC 2177) where the server has it.
    #[serde(default = "yes")]
    pub idle: bool,
    /// The most messages in one batch; a batch also ends at 8 MiB.
    #[serde(default = "settings::batch", deserialize_with = "settings::some")]
    pub batch: usize,
    /// The most octets to read of one message; the rest is left on the server.
    #[serde(default = "settings::max_message", deserialize_with = "settings::some")]
    pub max_message: u32,
    /// How long to wait for the server.
    #[serde(default)]
    pub timeouts: Timeouts,
}

impl ImapSettings {
    /// The port: the one that is set, or the one that RFC 8314 §3.2 or RFC 9051 §2.1 names.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.map_or(
            match self.tls {
                Tls::Implicit => 993,
                Tls::StartTls | Tls::Plain => 143,
            },
            NonZeroU16::get,
        )
    }

    /// The server; empty where none is known.
    #[must_use]
    pub fn host(&self) -> &str {
        login::host(self.host.as_deref(), self.provider, Protocol::Imap)
    }

    /// How to log in to the mailbox of this name.
    pub(super) fn log_in_as(&self, mailbox: &str) -> Account {
        Account {
            mailbox: mailbox.to_owned(),
            protocol: Protocol::Imap,
            user: self.user.clone(),
            host: self.host().to_owned(),
            port: self.port(),
            provider: self.provider,
            mechanism: self.mechanism,
            password: self.password.clone(),
            token: self.token.clone(),
            certificate: self.certificate.clone(),
            limit: self.timeouts.connect,
        }
    }
}

impl Settings for ImapSettings {
    fn describe(&self) -> String {
        let Self { folder, tls, .. } = self;
        let account = self.log_in_as("");
        format!("{} ({}{}), folder {folder}", account.who(), tls.describe(), account.describe())
    }

    fn becomes(&self) -> String {
        self.after.describe()
    }

    fn account(&self, mailbox: &str) -> Option<Account> {
        Some(self.log_in_as(mailbox))
    }

    fn contradiction(&self) -> Option<String> {
        if let Some(problem) = self.log_in_as("").contradiction() {
            return Some(problem);
        }
        // RFC 9051 §5.1: only INBOX has no case.
        let is_inbox = |folder: &str| folder.eq_ignore_ascii_case("INBOX");
        let is_read = |folder: &str| folder == self.folder || (is_inbox(folder) && is_inbox(&self.folder));
        let moves_in_place = matches!(&self.after, After::Move(folder) if is_read(folder));
        moves_in_place
            .then(|| format!("after moves messages to the folder that is read, {}; name another", self.folder))
    }

    fn unusable_file(&self) -> Option<String> {
        tls::unusable_file(self.ca_file.as_deref(), self.certificate.as_deref())
    }

    fn folders(&self) -> Vec<Self> {
        let moved = match &self.after {
            After::Move(name) => Some(name.clone()),
            After::Flag | After::Leave => None,
        };
        let folder = |folder| Self { folder, after: After::Leave, idle: false, ..self.clone() };
        [self.folder.clone()].into_iter().chain(moved).map(folder).collect()
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        login::paths_mut(&mut self.password, &mut self.token, [&mut self.ca_file, &mut self.certificate])
    }
}

fn inbox() -> String {
    "INBOX".into()
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ImapSettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn three_keys_make_an_imap_mailbox() {
        let settings = read(
            r#"
            host = "imap.example.org"
            user = "bounces@example.org"
            password = { file = "/etc/bounced/password" }
            "#,
        );
        assert_eq!(settings.password, Some(SecretSource::File("/etc/bounced/password".into())));
        assert_eq!((settings.tls, settings.port, settings.insecure), (Tls::Implicit, None, false));
        assert_eq!(settings.after, After::Move("Processed".into()));
        assert_eq!((settings.folder.as_str(), settings.idle, settings.batch), ("INBOX", true, 500));
    }

    #[test]
    fn every_choice_has_its_word() {
        let settings = read(
            r#"
            host = "127.0.0.1"
            tls = "starttls"
            user = "bounces"
            password = { env = "PASSWORD" }
            after = { move = "Done" }
            poll = "5m"
            timeouts = { response = "10s" }
            "#,
        );
        assert_eq!((settings.tls, settings.after), (Tls::StartTls, After::Move("Done".into())));
        assert_eq!(settings.poll, Duration::from_secs(300));
        assert_eq!(settings.timeouts.response, Duration::from_secs(10));
    }

    #[test]
    fn what_is_said_of_a_mailbox_names_the_port_that_is_used() {
        let base = "host = 'mx'\nuser = 'u'\npassword = { file = 'p' }\nca_file = 'c'\n";
        for (changes, expected) in [
            ("", "u at mx:993 (TLS), folder INBOX"),
            ("tls = 'starttls'", "u at mx:143 (STARTTLS), folder INBOX"),
            ("tls = 'plain'\nport = 1143\nfolder = 'Bounces'", "u at mx:1143 (no encryption), folder Bounces"),
        ] {
            let mut settings = read(&format!("{base}{changes}"));
            assert_eq!(settings.describe(), expected);
            assert_eq!(settings.paths_mut(), [&PathBuf::from("p"), &PathBuf::from("c")]);
        }
    }
}
