//! A message as it lies in a mailbox, before anybody has read it: the types that sources, pipeline and store share.

use std::{collections::HashSet, fmt, sync::Arc};

/// Where one message lies within its mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Locator {
    /// RFC 9051 §2.3.1.1: a UID means a message only together with its UIDVALIDITY.
    Imap {
        /// UIDVALIDITY of the folder.
        uid_validity: u32,
        /// UID of the message.
        uid: u32,
    },
    /// The unique part of a Maildir file name, before `:2,`.
    Maildir {
        /// The unique name.
        key: String,
    },
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imap { uid_validity, uid } => write!(f, "UID {uid} (UIDVALIDITY {uid_validity})"),
            Self::Maildir { key } => f.write_str(key),
        }
    }
}

/// One message as it lies in the mailbox.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it lies.
    pub locator: Locator,
    /// INTERNALDATE or the file's modification time, in seconds since 1970-01-01 UTC.
    pub received: i64,
    /// The size in octets, of the whole message even where `body` was cut.
    pub size: u64,
    /// The bytes; cut at the configured limit, so that memory stays bounded.
    pub body: Arc<[u8]>,
}

/// What to do with a message whose rows are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It was a report: move, flag or leave it, as the mailbox is configured.
    Processed,
    /// It was none: leave it untouched.
    Untouched,
}

/// What an earlier run knew of a mailbox.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// IMAP: the UIDVALIDITY and the highest UID up to which everything is committed.
    pub cursor: Option<(u32, u32)>,
    /// Committed but perhaps not settled: a crash came between. Settle these before anything is fetched.
    pub unsettled: Vec<(Locator, Disposition)>,
    /// Maildir: keys that are committed and need no second look.
    pub known: HashSet<String>,
}
