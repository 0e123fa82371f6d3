//! What waits for a person: addresses that one message too many brought, or one remote too fast, and who is on the list
//! for good and lives.

use serde::Serialize;
use sqlx::FromRow;

use crate::suppression::Why;

/// An address that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Held {
    /// The normalised address.
    pub address: String,
    /// `flood`, `outage`, `unverified` or `alive`: why it waits. Who is `alive` is on the list and would leave it, the
    /// others would come onto it.
    pub why: String,
    /// `hard`, `soft` …: how it would come onto the list, or came there.
    pub origin: String,
    /// The reason of the bounce.
    pub reason: Option<String>,
    /// The rule of the bounce.
    pub rule: Option<String>,
    /// What the refusing server said, as the message tells it.
    pub diagnostic: Option<String>,
    /// The remote that called it dead, where that is why it waits.
    pub remote: Option<String>,
    /// When the bounce or the sign of life was received, ISO 8601 in UTC.
    pub since: String,
    /// The row in `message`: what `--message` names.
    pub message: Option<i64>,
    /// The mailbox that it was read from.
    pub mailbox: Option<String>,
    /// Its Message-ID.
    pub message_id: Option<String>,
    /// The revision of the event that tells of it.
    pub revision: Option<i64>,
}

impl Held {
    /// Whether it waits because a remote called too many dead at once.
    #[must_use]
    pub fn is_of_an_outage(&self) -> bool {
        self.why == Why::Outage.as_str()
    }

    /// Whether it waits because somebody who is on the list shows signs of life.
    #[must_use]
    pub fn is_of_life(&self) -> bool {
        self.why == Why::Alive.as_str()
    }

    /// Whether anybody may have written what brought it.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        self.why == Why::Unverified.as_str()
    }
}

/// What a person says about addresses that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldAnswer {
    /// They go onto the list; who is on it and lives is taken off.
    Approve,
    /// They stay as they are.
    Reject,
}

/// What a person's word made of addresses that waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answered {
    /// Put onto the list, or given an entry there that says more.
    pub suppressed: u64,
    /// Taken off it: they live.
    pub released: u64,
    /// Left as they were.
    pub unchanged: u64,
}

impl Answered {
    /// How many waited.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.suppressed + self.released + self.unchanged
    }
}

/// Which of them: those that fit everything that is said here; all where nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldSelection {
    /// Normalised addresses.
    pub addresses: Option<Vec<String>>,
    /// A domain, in the form that normalised addresses have.
    pub domain: Option<String>,
    /// A row in `message`.
    pub message: Option<i64>,
    /// Who called them dead, where that is why they wait.
    pub remote: Option<String>,
}
