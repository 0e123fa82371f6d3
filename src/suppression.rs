//! Who is not to be mailed any more and why: the types that policy and store share. Knows no rule and no SQL.

use serde::Serialize;

use crate::codes::{Reason, words};

words! {
    /// How an address came onto the suppression list.
    Origin {
        /// One hard bounce.
        Hard = "hard",
        /// Soft bounces over a long time.
        Soft = "soft",
        /// A person put it there.
        Manual = "manual",
    }
}

/// One address on the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// The normalised address.
    pub address: String,
    /// How it came onto the list.
    pub origin: Origin,
    /// The reason of the bounce that decided; `None` where a person did.
    pub reason: Option<Reason>,
    /// The rule of the bounce that decided.
    pub rule: Option<String>,
    /// What the refusing server said.
    pub diagnostic: Option<String>,
    /// Since when, in seconds since 1970-01-01 UTC: when the bounce was received, or when the person decided.
    pub since: i64,
    /// What the person noted.
    pub note: Option<String>,
}

/// How far back a [`History`] reaches, in days; no policy can look farther.
pub const HISTORY_DAYS: u32 = 400;

/// What is known of an address before the next verdict on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When soft verdicts with fault `recipient` were received, in seconds since 1970-01-01 UTC, in any order.
    pub soft: Vec<i64>,
    /// When a person last took it off the list, in seconds since 1970-01-01 UTC.
    pub released_at: Option<i64>,
    /// Whether it is on the list now, and how it came there.
    pub suppressed: Option<Origin>,
}
