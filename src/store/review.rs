//! Addresses that one message too many brought, as a person sees them before he decides.

use serde::Serialize;
use sqlx::FromRow;

/// An address that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Held {
    /// The normalised address.
    pub address: String,
    /// `hard` or `soft`: how it would come onto the list.
    pub origin: String,
    /// The reason of the bounce.
    pub reason: Option<String>,
    /// The rule of the bounce.
    pub rule: Option<String>,
    /// What the refusing server said, as the message tells it.
    pub diagnostic: Option<String>,
    /// When the bounce was received, ISO 8601 in UTC.
    pub since: String,
    /// The row in `message`: what `--message` names.
    pub message: Option<i64>,
    /// The mailbox that it was read from.
    pub mailbox: Option<String>,
    /// Its Message-ID.
    pub message_id: Option<String>,
}

/// What a person says about addresses that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldAnswer {
    /// They go onto the list.
    Approve,
    /// They stay off it.
    Reject,
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
}
