//! What the configuration can say about a mailbox of whatever kind. Opens nothing and checks nothing but the words.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

/// A batch ends at so many octets of messages, so that memory stays bounded: there are two at a time, one on its way
/// into the store and the next.
pub(super) const BATCH_OCTETS: u64 = 8 << 20;

/// What the table of one mailbox says: `[SECTION.NAME]`, where the section names the source.
pub trait Settings {
    /// Where the messages are, in words for people: `Maildir /var/mail/bounces`.
    fn describe(&self) -> String;

    /// What happens to a message once its rows are committed.
    fn after(&self) -> &After;

    /// The paths in it: relative ones start at the directory of the configuration file.
    fn paths_mut(&mut self) -> Vec<&mut PathBuf>;
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

/// A span of time: `30s`, `5m`.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parser = jiff::fmt::friendly::SpanParser::new();
    parser.parse_unsigned_duration(&text).map_err(|_| D::Error::custom("expected a time such as 30s or 5m"))
}

/// The default of `batch`.
pub(super) fn batch() -> usize {
    500
}

/// The default of `max_message`.
pub(super) fn max_message() -> u32 {
    2 << 20
}
