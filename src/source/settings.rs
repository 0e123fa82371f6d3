//! What the configuration can say about a mailbox of whatever kind. Opens nothing and checks nothing but the words.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error};

use super::login::Account;
use crate::text::is_unseen;

/// A batch ends at so many octets of messages, so that memory stays bounded: there are two at a time, one on its way
/// into the store and the next.
pub(super) const BATCH_OCTETS: u64 = 8 << 20;

/// What the table of one mailbox says: `[SECTION.NAME]`, where the section names the source.
pub trait Settings {
    /// Where the messages are, in words for people: `Maildir /var/mail/bounces`.
    fn describe(&self) -> String;

    /// What becomes of messages once their rows are committed, in words for people: `moved to Processed`.
    fn becomes(&self) -> String;

    /// How to log in to the mailbox of this name; `None` where nobody asks who is there.
    fn account(&self, _mailbox: &str) -> Option<Account> {
        None
    }

    /// What only one mailbox can have, in words for people; `None` where several may share all that they have.
    fn claims(&self) -> Option<String> {
        None
    }

    /// What can never work, in one line with what to do, where every key alone makes sense.
    fn contradiction(&self) -> Option<String> {
        None
    }

    /// The files that it can't do without, each with its key.
    fn needs(&self) -> Vec<(&'static str, &Path)> {
        Vec::new()
    }

    /// The folders in which its messages may lie, before and after they are settled, each as a mailbox of its own that leaves
    /// everything as it is; none where they lie nowhere.
    fn folders(&self) -> Vec<Self>
    where
        Self: Sized;

    /// The paths in it: relative ones start at the directory of the configuration file.
    fn paths_mut(&mut self) -> Vec<&mut PathBuf>;
}

/// What happens to a message once its rows are committed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum After {
    /// It is moved to this folder, which is created when missing. The default, to `Processed`.
    Move(#[serde(deserialize_with = "word")] String),
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

impl After {
    /// What becomes of a message, in words for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Move(folder) => format!("moved to {folder}"),
            Self::Flag => "flagged".into(),
            Self::Leave => "left as they are".into(),
        }
    }
}

/// How long to wait for a mail server before the connection is given up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For the connection, TLS and the greeting together; also for a password command.
    #[serde(deserialize_with = "time")]
    pub connect: Duration,
    /// For the next response to a command, or for enough of a large one; and for a whole exchange that is short by
    /// nature: the login, the start and the end of IDLE.
    #[serde(deserialize_with = "time")]
    pub response: Duration,
    /// For a whole command, however busily its responses arrive.
    #[serde(deserialize_with = "time")]
    pub command: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), response: Duration::from_secs(60), command: Duration::from_secs(600) }
    }
}

/// A span of time: `30s`, `5m`.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parser = jiff::fmt::friendly::SpanParser::new();
    let time = parser.parse_unsigned_duration(&text).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| D::Error::custom("expected a time above 0 such as 30s or 5m"))
}

/// How many: at least one.
pub(super) fn some<'de, D: Deserializer<'de>, N: Deserialize<'de> + Default + PartialEq>(
    deserializer: D,
) -> Result<N, D::Error> {
    let number = N::deserialize(deserializer)?;
    if number == N::default() { Err(D::Error::custom("expected at least 1")) } else { Ok(number) }
}

/// A name: some characters, and none that nobody sees.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let word = String::deserialize(deserializer)?;
    if word.trim().is_empty() || word.contains(is_unseen) {
        return Err(D::Error::custom("expected a name, without line ends and characters that nobody sees"));
    }
    Ok(word)
}

/// The name or address of a server, without what stands around it in a URL.
pub(super) fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let host = String::deserialize(deserializer)?;
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if is_name || host.parse::<IpAddr>().is_ok() {
        return Ok(Some(host));
    }
    Err(D::Error::custom(
        "expected a host name or an address such as imap.example.org or 192.0.2.1; its port is a key of its own",
    ))
}

/// The default of `batch`.
pub(super) fn batch() -> usize {
    500
}

/// The default of `max_message`.
pub(super) fn max_message() -> u32 {
    2 << 20
}
