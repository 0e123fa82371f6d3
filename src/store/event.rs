//! What happened, in the order in which it was committed: what followers of a store read.

use std::collections::BTreeSet;

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
        /// A person took an address off the list.
        Released = "released",
        /// The time of an entry was over.
        Expired = "expired",
        /// A sign of life ended an entry, or what waited to become one.
        Revived = "revived",
        /// An entry that today's tables and policy would not make was taken off.
        Corrected = "corrected",
        /// An address that would have gone onto the list waits for a person, or one that is on it, and lives.
        Held = "held",
        /// A person said no to what was held.
        Rejected = "rejected",
        /// A person said that nothing suppresses an address.
        Allowed = "allowed",
        /// A person took that back.
        Disallowed = "disallowed",
        /// Somebody was forgotten.
        Forgotten = "forgotten",
        /// An alarm was raised.
        AlarmRaised = "alarm_raised",
        /// An alarm was cleared.
        AlarmCleared = "alarm_cleared",
    }
}

impl EventKind {
    /// Whether it is about the suppression list, what waits for a person or the allow list; else it leads to a row of its
    /// own, or nowhere.
    #[must_use]
    pub const fn is_of_list(self) -> bool {
        !matches!(self, Self::Bounce | Self::Complaint | Self::Forgotten | Self::AlarmRaised | Self::AlarmCleared)
    }
}

/// One thing that happened, written in the transaction that made it so. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number: higher than that of everything committed before, and never given twice.
    pub revision: i64,
    /// When: for a bounce and what it led to, when it was received.
    pub at: i64,
    /// What.
    pub kind: EventKind,
    /// Whose entry changed; `None` for a bounce, a complaint and an alarm, whose rows say it, and of who was forgotten.
    pub address: Option<String>,
    /// How the entry came onto the list; `None` where it is about none.
    pub origin: Option<Origin>,
    /// The row in `bounce` that it is about or was caused by; `None` where none was.
    pub bounce: Option<i64>,
    /// The row in `complaint` that it is about or was caused by.
    pub complaint: Option<i64>,
    /// The row in `alarm` that it is about.
    pub alarm: Option<i64>,
    /// When it was written; `None` for a bounce and a complaint, and where an earlier version wrote it.
    pub recorded: Option<i64>,
    /// The reason of the bounce that caused it.
    pub reason: Option<String>,
    /// The row of the policy that asked for it.
    pub policy: Option<String>,
    /// When the time of the entry is over; `None` for good.
    pub expires: Option<i64>,
    /// The rows of the bounces that were counted, in the order in which they were received; the last one decided.
    pub causes: Vec<i64>,
    /// The revision of the change before, of the same address.
    pub before: Option<i64>,
    /// Who did it: a person, or `bounced` itself.
    pub actor: Option<String>,
    /// What the person noted.
    pub note: Option<String>,
}

/// What some events in a row changed on the suppression list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many events they are.
    pub events: u32,
    /// The number of the last of them; where there are none, that after which they were asked for.
    pub revision: i64,
    /// Whether the entry of somebody is gone whom no event names any more.
    pub is_unnamed: bool,
    /// Whose entries may have changed; in the order of the list, in which reading and writing them is cheap.
    pub addresses: BTreeSet<String>,
}
