//! The suppression list as people and followers see it.

use serde::Serialize;
use sqlx::FromRow;

use crate::suppression::Origin;

/// An entry in force: all that a mail server needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The normalised address.
    pub address: String,
    /// How it came onto the list.
    pub origin: Origin,
    /// The reason of the bounce that decided; `None` where a person did.
    pub reason: Option<String>,
    /// Since when, in seconds since 1970-01-01 UTC.
    pub since: i64,
}

/// One row of the view `suppression_list`: an address and everything that led to it. Times are ISO 8601 in UTC, but for
/// `at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Listed {
    /// The normalised address.
    pub address: String,
    /// Its domain.
    pub domain: String,
    /// `hard`, `soft` or `manual`.
    pub origin: String,
    /// The reason of the bounce that decided.
    pub reason: Option<String>,
    /// Since when.
    pub since: String,
    /// The same in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// What a person noted.
    pub note: Option<String>,
    /// The rule of the bounce that decided.
    pub rule: Option<String>,
    /// The enhanced status code of that bounce.
    pub status: Option<String>,
    /// The reply code of that bounce.
    pub reply: Option<i64>,
    /// What the refusing server said.
    pub diagnostic: Option<String>,
    /// The field or part of the mail that led to the rule.
    pub field: Option<String>,
    /// The line of the mail, as it was sent, that led to the rule; counted from 1.
    pub line: Option<i64>,
    /// What that line says.
    pub words: Option<String>,
    /// The class that the rule gives, where the mail's codes allow none as bad.
    pub lowered_from: Option<String>,
    /// The line of the mail with the code that allows no worse.
    pub lowered_line: Option<i64>,
    /// What that line says.
    pub lowered_words: Option<String>,
    /// The other mailbox that the bounce speaks of, to which the address forwards.
    pub forwarded_to: Option<String>,
    /// The class of the verdict on that one.
    pub forwarded_class: Option<String>,
    /// Its reason.
    pub forwarded_reason: Option<String>,
    /// Its fault.
    pub forwarded_fault: Option<String>,
    /// When the bounce was received.
    pub bounced: Option<String>,
    /// The mailbox that the bounce was read from.
    pub mailbox: Option<String>,
    /// Where it lay there, in the form of the source that read it.
    pub place: Option<String>,
    /// The Message-ID of the bounce.
    pub message_id: Option<String>,
    /// The row in `bounce`.
    pub bounce: Option<i64>,
    /// The row in `message`.
    pub message: Option<i64>,
}
