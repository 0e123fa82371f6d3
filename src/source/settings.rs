//! What the configuration can say about a mailbox of whatever kind. Opens nothing and checks nothing but the words.

use std::{fmt, marker::PhantomData, net::IpAddr, path::PathBuf, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};

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

    /// What is wrong with a file that it can't do without, in one line with its key.
    fn unusable_file(&self) -> Option<String> {
        None
    }

    /// The folders in which its messages may lie, before and after they are settled, each as a mailbox of its own that
    /// leaves everything as it is; none where they lie nowhere.
    fn folders(&self) -> Vec<Self>
    where
        Self: Sized;

    /// The paths in it: relative ones start at the directory of the configuration file.
    fn paths_mut(&mut self) -> Vec<&mut PathBuf>;
}

/// What happens to a message once its rows are committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// It is moved to this folder, which is created when missing. The default, to `Processed`.
    Move(String),
    /// It stays, marked as seen and, where the server permits keywords, with `$Bounced`.
    Flag,
    /// It stays as it is.
    Leave,
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = After;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ move = \"FOLDER\" }, \"flag\" or \"leave\"")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<After, E> {
                match word {
                    "flag" => Ok(After::Flag),
                    "leave" => Ok(After::Leave),
                    "move" => Err(E::custom("which folder? expected { move = \"FOLDER\" }")),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<After, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Keys {
                    #[serde(rename = "move", deserialize_with = "word")]
                    folder: String,
                }
                let Keys { folder } = Keys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(After::Move(folder))
            }
        }
        // Not as an enum: the reader of the environment panics where a word stands in place of a table.
        deserializer.deserialize_any(Choice)
    }
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
#[serde(default, deny_unknown_fields, expecting = "a table such as { connect = \"30s\", response = \"1m\" }")]
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

/// What a text means; where it means nothing, or another value stands there, it is said what was `expected`.
pub(crate) fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    struct Text<P>(&'static str, P);

    impl<T, P: FnOnce(&str) -> Option<T>> Visitor<'_> for Text<P> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            let Self(expected, parse) = self;
            parse(text).ok_or_else(|| E::custom(format!("expected {expected}")))
        }
    }
    deserializer.deserialize_str(Text(expected, parse))
}

/// The keys of a table; where something else stands, it is said what was `expected`. A text is not repeated: it may be the
/// secret that the table should tell the way to.
pub(crate) fn keys<'de, D: Deserializer<'de>, K: Deserialize<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<K, D::Error> {
    struct Table<K>(&'static str, PhantomData<K>);

    impl<'de, K: Deserialize<'de>> Visitor<'de> for Table<K> {
        type Value = K;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, _: &str) -> Result<K, E> {
            Err(E::custom(format!("expected {}", self.0)))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<K, A::Error> {
            K::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Table(expected, PhantomData))
}

/// A span of time: `30s`, `5m`.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let parse = |text: &str| jiff::fmt::friendly::SpanParser::new().parse_unsigned_duration(text).ok();
    parsed(deserializer, "a time above 0 such as \"30s\" or \"5m\"", |text| parse(text).filter(|time| !time.is_zero()))
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
    parsed(deserializer, "a name, without line ends and characters that nobody sees", |word| {
        is_word(word).then(|| word.to_owned())
    })
}

/// Whether it is a name that people can read.
pub(crate) fn is_word(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(is_unseen)
}

/// The name or address of a server, without what stands around it in a URL.
pub(super) fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    parsed(deserializer, HOST, |host| is_host(host).then(|| Some(host.to_owned())))
}

/// What a host is, for whoever wrote something else.
pub(crate) const HOST: &str =
    "a host name or an address such as imap.example.org or 192.0.2.1; its port is a key of its own";

/// Whether it is a name or an address alone.
pub(crate) fn is_host(text: &str) -> bool {
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    is_name || text.parse::<IpAddr>().is_ok()
}

/// The default of `batch`.
pub(super) fn batch() -> usize {
    500
}

/// The default of `max_message`.
pub(super) fn max_message() -> u32 {
    2 << 20
}
