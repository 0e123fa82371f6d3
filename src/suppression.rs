//! Who is not to be mailed any more and why: the types that policy and store share. Knows no rule and no SQL.

use serde::Serialize;

use crate::{
    codes::{Class, Fault, Reason, words},
    report::Trust,
};

words! {
    /// How an address came onto the suppression list.
    Origin {
        /// Its owner complained.
        Complaint = "complaint",
        /// Hard bounces.
        Hard = "hard",
        /// Soft bounces over a long time.
        Soft = "soft",
        /// A person put it there.
        Manual = "manual",
        /// It came with the list of another program.
        Import = "import",
    }
}

impl Origin {
    /// How much it says: a new entry takes the place of one that says less, and of no other.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Soft => 1,
            Self::Import => 2,
            Self::Hard => 3,
            Self::Complaint => 4,
            Self::Manual => 5,
        }
    }
}

words! {
    /// Why something about an address waits for a person.
    Why {
        /// One message named too many addresses.
        Flood = "flood",
        /// One provider called too many addresses dead at once.
        Outage = "outage",
        /// It is on the list for good, and shows signs of life.
        Alive = "alive",
        /// Anybody could have said so.
        Unverified = "unverified",
    }
}

words! {
    /// What shows that an address lives.
    Sign {
        /// A report of a delivery to it.
        Delivered = "delivered",
        /// It answered by itself.
        AutoReply = "auto_reply",
        /// Its owner wrote.
        OwnMail = "own_mail",
        /// Somebody who knows said so.
        Told = "told",
    }
}

/// An entry of the suppression list that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// The normalised address.
    pub address: String,
    /// How it came onto the list.
    pub origin: Origin,
    /// The reason of the bounce that decided; `None` where no bounce did.
    pub reason: Option<Reason>,
    /// The rule of the bounce that decided; `None` where no bounce did, and of one that was recorded before.
    pub rule: Option<String>,
    /// The row of the policy that asks for it; `None` where a person does.
    pub policy: Option<String>,
    /// What the refusing server said; `None` as for the rule, and where it said nothing.
    pub diagnostic: Option<String>,
    /// Since when, in seconds since 1970-01-01 UTC: when the bounce was received, or when the person decided.
    pub since: i64,
    /// When its time is over, in seconds since 1970-01-01 UTC; `None` for good.
    pub expires: Option<i64>,
    /// What the person noted.
    pub note: Option<String>,
    /// The rows of the bounces that were counted, in the order in which they were received; the last one decided.
    pub causes: Vec<i64>,
}

/// How far back a [`History`] reaches, in days; no policy can look farther.
pub const HISTORY_DAYS: u32 = 400;

/// A bounce that was recorded before, as far as a policy asks about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its row.
    pub bounce: i64,
    /// When it was received, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Hard or soft.
    pub class: Class,
    /// Why.
    pub reason: Reason,
    /// Whose fault.
    pub fault: Fault,
    /// Where it was read; `None` where no rule asks for that.
    pub mailbox: Option<String>,
    /// How far it can be believed.
    pub trust: Trust,
}

/// An entry that is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// How the address came there.
    pub origin: Origin,
    /// Since when, in seconds since 1970-01-01 UTC.
    pub since: i64,
    /// When its time is over, in seconds since 1970-01-01 UTC; `None` for good.
    pub expires: Option<i64>,
}

/// Something about an address waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Why.
    pub why: Why,
    /// Of the entry that it is about.
    pub origin: Origin,
    /// Since when, in seconds since 1970-01-01 UTC: when the mail was received that brought it.
    pub since: i64,
}

/// What is known of an address before the next verdict on it. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Its bounces that count, in any order.
    pub past: Vec<Past>,
    /// When a person last took it off the list.
    pub released_at: Option<i64>,
    /// When the time of earlier entries was over.
    pub expired: Vec<i64>,
    /// When it last showed a sign of life.
    pub alive_at: Option<i64>,
    /// Its entry.
    pub entry: Option<InForce>,
    /// What waits for a person.
    pub held: Option<Waiting>,
    /// Whether a person said that nothing suppresses it.
    pub allowed: bool,
}

impl History {
    /// When the time of its entry was over, if that was so at `at`; it has none any more then.
    pub fn expire(&mut self, at: i64) -> Option<i64> {
        let expires = self.entry.and_then(|entry| entry.expires).filter(|&expires| expires <= at)?;
        self.entry = None;
        self.expired.push(expires);
        Some(expires)
    }
}
