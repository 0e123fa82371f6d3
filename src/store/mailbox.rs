//! How mailboxes fare.

use serde::Serialize;
use sqlx::FromRow;

use crate::clock::Moment;

/// How an attempt to read a mailbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat<'a> {
    /// It was read to its end, or waits for new mail.
    Read,
    /// It could not be read.
    Failed(Failure<'a>),
}

/// Why a mailbox could not be read, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failure<'a> {
    /// For people.
    pub why: &'a str,
    /// When that is tried again, in seconds since 1970-01-01 UTC; `None` where reading goes on all the same.
    pub next_try: Option<i64>,
    /// Only a person can mend it.
    pub needs_person: bool,
}

/// How a mailbox fares, for people and health checks. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct MailboxStatus {
    /// Its name in the configuration.
    pub mailbox: String,
    /// When it was last read successfully.
    pub read_at: Option<i64>,
    /// How long the machine ran then, in seconds: see [`Moment`].
    #[serde(skip)]
    pub read_uptime: Option<i64>,
    /// When the last attempt failed; `None` when it succeeded.
    pub failed_at: Option<i64>,
    /// Why the last attempt failed; `None` when it succeeded.
    pub failure: Option<String>,
    /// How many attempts failed since the last one that succeeded.
    pub failures: i64,
    /// When the next attempt follows one that failed.
    pub next_try: Option<i64>,
    /// Only a person can mend what failed.
    pub needs_person: bool,
    /// Messages recorded.
    pub messages: i64,
    /// Messages among them that were bounces.
    pub bounces: i64,
    /// When the newest recorded message was received.
    pub newest: Option<i64>,
    /// Messages committed but not yet moved, flagged or left alone.
    pub unsettled: i64,
    /// Since when one of them is refused.
    pub unsettled_since: Option<i64>,
    /// Messages that are there and could not be read yet.
    pub pending: i64,
    /// Since when one of them can't be read of which nobody has said that he knows.
    pub pending_since: Option<i64>,
    /// Messages among them over which the process died more than once, and of which nobody has said that he knows.
    pub set_aside: i64,
    /// When the last message was recorded.
    pub recorded: Option<i64>,
    /// How many seconds after its arrival the last message was recorded.
    pub lag: Option<i64>,
    /// When the database was made: what arrived before it lay there already.
    #[serde(skip)]
    pub begun: Option<i64>,
}

/// What was recorded under a name that nobody reads: commands were handed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct HandedOverTotal {
    /// The name.
    #[serde(rename = "handed_over")]
    pub mailbox: String,
    /// Messages recorded.
    pub messages: i64,
    /// Messages among them that were bounces.
    pub bounces: i64,
    /// When the newest of them was received, in seconds since 1970-01-01 UTC.
    pub newest: Option<i64>,
}

/// A message that could not be read yet. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct PendingMessage {
    /// The mailbox that it lies in.
    pub mailbox: String,
    /// Where it lies there, in the form of the source that reads the mailbox.
    pub place: String,
    /// Since when it can't be read.
    pub first_failed: i64,
    /// How often that was tried.
    pub tries: i64,
    /// When it is tried again.
    pub next_try: i64,
    /// Why it failed the last time.
    pub why: String,
    /// Whether a person has said that he knows of it.
    pub acknowledged: bool,
}

/// What a person says about messages that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingAnswer {
    /// Try them again now.
    Retry,
    /// They are no reason to worry; they are tried all the same.
    Acknowledge,
}

impl MailboxStatus {
    /// When it was last read successfully.
    #[must_use]
    pub fn read(&self) -> Option<Moment> {
        self.read_at.map(|wall| Moment { wall, uptime: self.read_uptime.unwrap_or(i64::MAX) })
    }

    /// A mailbox that the store has never heard of.
    #[must_use]
    pub fn never_tried(mailbox: &str) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            read_at: None,
            read_uptime: None,
            failed_at: None,
            failure: None,
            failures: 0,
            next_try: None,
            needs_person: false,
            messages: 0,
            bounces: 0,
            newest: None,
            unsettled: 0,
            unsettled_since: None,
            pending: 0,
            pending_since: None,
            set_aside: 0,
            recorded: None,
            lag: None,
            begun: None,
        }
    }
}
