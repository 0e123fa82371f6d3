//! How mailboxes fare.

use serde::Serialize;
use sqlx::FromRow;

/// How an attempt to read a mailbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat<'a> {
    /// It was read to its end, or waits for new mail.
    Read,
    /// It could not be read; the text says why.
    Failed(&'a str),
}

/// How a mailbox fares, for people and health checks. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct MailboxStatus {
    /// Its name in the configuration.
    pub mailbox: String,
    /// When it was last read successfully.
    pub read_at: Option<i64>,
    /// When the last attempt failed; `None` when it succeeded.
    pub failed_at: Option<i64>,
    /// Why the last attempt failed; `None` when it succeeded.
    pub failure: Option<String>,
    /// Messages recorded.
    pub messages: i64,
    /// Messages among them that were bounces.
    pub bounces: i64,
    /// When the newest recorded message was received.
    pub newest: Option<i64>,
    /// Messages committed but not yet moved, flagged or left alone.
    pub unsettled: i64,
    /// Messages that are there and could not be read yet.
    pub pending: i64,
}

impl MailboxStatus {
    /// A mailbox that the store has never heard of.
    #[must_use]
    pub fn never_tried(mailbox: &str) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            read_at: None,
            failed_at: None,
            failure: None,
            messages: 0,
            bounces: 0,
            newest: None,
            unsettled: 0,
            pending: 0,
        }
    }
}
