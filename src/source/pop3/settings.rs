//! `[pop3.NAME]` in the configuration. Opens nothing and checks nothing but the words.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::source::{
    SecretSource, Settings, Timeouts, Tls,
    login::{self, Account, Mechanism, Protocol, Provider, TokenSource},
    settings, tls,
};

/// A POP3 mailbox. Only `user`, `host` (or `provider`) and `password` (or `token`) must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of its own: [pop3.NAME]")]
pub struct Pop3Settings {
    /// A provider whose host and token servers are known.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// DNS name or address of the server, where it is not the provider's; the certificate must be made out to it.
    #[serde(default, deserialize_with = "settings::host")]
    pub host: Option<String>,
    /// TCP port; without one 995 for implicit TLS and 110 for the others.
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
    /// Where the password comes from.
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
    /// What happens to a message once its rows are committed.
    #[serde(default)]
    pub after: AfterPop3,
    /// How often to look.
    #[serde(default = "five_minutes", deserialize_with = "settings::time")]
    pub poll: Duration,
    /// The most messages in one batch; a batch also ends at 8 MiB.
    #[serde(default = "settings::batch", deserialize_with = "settings::some")]
    pub batch: usize,
    /// The most octets to keep of one message; the rest is read and dropped, as POP3 has it.
    #[serde(default = "settings::max_message", deserialize_with = "settings::some")]
    pub max_message: u32,
    /// How long to wait for the server.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// What happens to a message once its rows are committed: POP3 has no folders and no flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterPop3 {
    /// It stays as it is.
    #[default]
    Leave,
    /// It is deleted.
    Delete,
}

impl Pop3Settings {
    /// The port: the one that is set, or the one that RFC 8314 §3.3 or RFC 1939 §3 names.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.map_or(
            match self.tls {
                Tls::Implicit => 995,
                Tls::StartTls | Tls::Plain => 110,
            },
            NonZeroU16::get,
        )
    }

    /// How to log in to the mailbox of this name.
    pub(super) fn log_in_as(&self, mailbox: &str) -> Account {
        Account {
            mailbox: mailbox.to_owned(),
            protocol: Protocol::Pop3,
            user: self.user.clone(),
            host: login::host(self.host.as_deref(), self.provider, Protocol::Pop3).to_owned(),
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

impl Settings for Pop3Settings {
    fn describe(&self) -> String {
        let account = self.log_in_as("");
        format!("{} by POP3 ({}{})", account.who(), self.tls.describe(), account.describe())
    }

    fn becomes(&self) -> String {
        match self.after {
            AfterPop3::Leave => "left as they are".into(),
            AfterPop3::Delete => "deleted".into(),
        }
    }

    fn account(&self, mailbox: &str) -> Option<Account> {
        Some(self.log_in_as(mailbox))
    }

    fn contradiction(&self) -> Option<String> {
        self.log_in_as("").contradiction()
    }

    fn unusable_file(&self) -> Option<String> {
        tls::unusable_file(self.ca_file.as_deref(), self.certificate.as_deref())
    }

    fn folders(&self) -> Vec<Self> {
        vec![Self { after: AfterPop3::Leave, ..self.clone() }]
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        login::paths_mut(&mut self.password, &mut self.token, [&mut self.ca_file, &mut self.certificate])
    }
}

/// Providers count logins, and lock whoever looks too often.
fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_mailbox_names_server_and_port() {
        for (text, expected, afterwards) in [
            ("host = 'mx'\nuser = 'u'\npassword = { file = 'p' }", "u at mx:995 by POP3 (TLS)", "left as they are"),
            (
                "provider = 'gmail'\nuser = 'u'\ntoken = { command = 't' }\nafter = 'delete'",
                "u at pop.gmail.com:995 by POP3 (TLS, with a token that is handed over)",
                "deleted",
            ),
            (
                "host = 'mx'\ntls = 'starttls'\nuser = 'u'\npassword = { env = 'P' }",
                "u at mx:110 by POP3 (STARTTLS)",
                "left as they are",
            ),
        ] {
            let settings: Pop3Settings = toml::from_str(text).unwrap();
            assert_eq!((settings.describe().as_str(), settings.becomes().as_str()), (expected, afterwards));
            assert_eq!(settings.contradiction(), None);
        }
        let nowhere: Pop3Settings =
            toml::from_str("user = 'u'\nprovider = 'icloud'\npassword = { file = 'p' }").unwrap();
        assert!(nowhere.contradiction().unwrap().contains("needs host"));
    }
}
