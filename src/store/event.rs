//! What happened, in the order in which it was committed: what followers of a store read.

use serde::Serialize;

use crate::{codes::words, suppression::Origin};

words! {
    /// What happened.
    EventKind {
        /// A bounce was recorded.
        Bounce = "bounce",
        /// It was recorded who complained.
        Complaint = "complaint",
        /// An address went onto the suppression list, or its entry changed.
        Suppressed = "suppressed",
        /// An address that would have gone onto the list waits for a person.
        Held = "held",
        /// A person took an address off the list, or rejected one that was held.
        Released = "released",
    }
}

impl EventKind {
    /// Whether it changes the suppression list or what waits for a person; else it leads to a row of its own.
    #[must_use]
    pub const fn is_of_list(self) -> bool {
        !matches!(self, Self::Bounce | Self::Complaint)
    }
}

/// One thing that happened, written in the transaction that made it so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number: higher than that of everything committed before, and never given twice.
    pub revision: i64,
    /// When, in seconds since 1970-01-01 UTC: for a bounce and what it led to, when it was received.
    pub at: i64,
    /// What.
    pub kind: EventKind,
    /// Whose entry changed; `None` for a bounce and a complaint, whose rows say it.
    pub address: Option<String>,
    /// How the entry came onto the list; `None` for a bounce and a complaint.
    pub origin: Option<Origin>,
    /// The row in `bounce` that it is about or was caused by; `None` where a person did it.
    pub bounce: Option<i64>,
    /// The row in `complaint` that it is about.
    pub complaint: Option<i64>,
    /// What the person noted.
    pub note: Option<String>,
}
