//! The suppression list as people and followers see it.

use serde::Serialize;
use sqlx::FromRow;

use crate::{codes::Reason, suppression::Origin};

/// Who changes the list by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By<'a> {
    /// Who it is.
    pub actor: &'a str,
    /// Why, for whoever asks later.
    pub note: Option<&'a str>,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
}

impl<'a> By<'a> {
    /// Somebody who notes nothing.
    #[must_use]
    pub const fn new(actor: &'a str, at: i64) -> Self {
        Self { actor, note: None, at }
    }
}

/// An address, or all of a domain (`*@example.org`), that nothing but a person's word suppresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Allowed {
    /// The normalised address.
    pub address: String,
    /// Since when, ISO 8601 in UTC.
    pub since: String,
    /// Who said so.
    pub actor: Option<String>,
    /// Why.
    pub note: Option<String>,
}

/// What signs of life changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revived {
    /// Addresses of which anything was known.
    pub known: u64,
    /// Entries that ended.
    pub ended: u64,
    /// Entries for good about which a person is asked.
    pub asked: u64,
}

/// What a person ended of an address by taking it off the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenOff {
    /// Its entry.
    pub entry: bool,
    /// That something about it waited for a person.
    pub waiting: bool,
}

/// Whom an allowance took off the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewlyAllowed {
    /// Addresses that were on it.
    pub entries: u64,
    /// Addresses that were not, and waited to come onto it.
    pub waiting: u64,
}

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

/// Which rows of the list: those that fit everything that is said here; all where nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListSelection {
    /// A domain, in the form that normalised addresses have.
    pub domain: Option<String>,
    /// How they came onto the list.
    pub origin: Option<Origin>,
    /// The reason of the bounce that decided.
    pub reason: Option<Reason>,
    /// On the list since then or later, in seconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Their time is over by then, in seconds since 1970-01-01 UTC.
    pub expiring: Option<i64>,
    /// Behind this address.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// One row of the view `suppression_list`: an address and everything that led to it. Times are ISO 8601 in UTC, but for
/// `at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Listed {
    /// The normalised address.
    pub address: String,
    /// Its domain.
    pub domain: String,
    /// `complaint`, `hard`, `soft`, `manual` or `import`.
    pub origin: String,
    /// The reason of the bounce that decided.
    pub reason: Option<String>,
    /// Since when.
    pub since: String,
    /// The same in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// When its time is over; `None` for good.
    pub expires: Option<String>,
    /// The row of the policy that asked for it.
    pub policy: Option<String>,
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
