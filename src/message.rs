//! A message as it lies in a mailbox, before anybody has read it: the types that sources and store share.

use std::{collections::HashSet, sync::Arc};

/// Where one message lies within its mailbox, in a form that only the source that made it reads: everybody else keeps
/// it, compares it and hands it back. For people there is [`describe`](crate::source::Source::describe).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place(String);

impl Place {
    /// For the source that makes it, and for the store that kept it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the source that made it, and for the store that keeps it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How far a mailbox was read, in a form that only the source that made it reads, like [`Place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// For the source that makes it, and for the store that kept it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the source that made it, and for the store that keeps it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One message as it lies in the mailbox.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it lies.
    pub place: Place,
    /// INTERNALDATE or the file's modification time, in seconds since 1970-01-01 UTC.
    pub received: i64,
    /// The size in octets, of the whole message even where `body` was cut.
    pub size: u64,
    /// The bytes; cut at the configured limit, so that memory stays bounded.
    pub body: Arc<[u8]>,
}

/// Messages that are read, judged and committed together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Where to read on once these messages are committed; never beyond one that was not delivered. `None` where the
    /// source finds out in another way what is new.
    pub cursor: Option<Cursor>,
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
    /// Of the last batch that was committed and had one.
    pub cursor: Option<Cursor>,
    /// Committed but perhaps not settled: a crash came between. Settle these before anything is fetched.
    pub unsettled: Vec<(Place, Disposition)>,
    /// What is committed and needs no second look, for a source that
    /// [`asks for it`](crate::source::Source::ASKS_FOR_KNOWN).
    pub known: HashSet<Place>,
}
