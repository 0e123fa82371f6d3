//! Who reads which mailbox: a lease for each, that one daemon has at a time. Knows no clock: whoever waits measures for
//! itself how long a lease was not renewed, so that nobody's clock decides.

use serde::Serialize;

use crate::clock::Moment;

/// A daemon that takes leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Of this process and no other.
    pub id: String,
    /// For people: the machine and the process.
    pub name: String,
}

/// Who has a mailbox, and what shows that it is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The name of the mailbox.
    pub mailbox: String,
    /// Rises with each daemon that takes it.
    pub token: i64,
    /// The [`Holder::id`] of who has it; `None` when it was given back.
    pub owner: Option<String>,
    /// For people.
    pub daemon: String,
    /// Whoever has the lock of the database knows that this one is dead, unless it is itself.
    pub holds_lock: bool,
    /// How often it was renewed: rises as long as its owner is alive.
    pub renewals: i64,
}

/// A daemon that has a mailbox or waits for it, for people and health checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownDaemon {
    /// The machine and the process.
    pub daemon: String,
    /// When it was last heard of, in seconds since 1970-01-01 UTC.
    pub seen_at: i64,
    /// How long the machine ran then: see [`Moment`].
    #[serde(skip)]
    pub seen_uptime: i64,
}

impl ShownDaemon {
    /// When it was last heard of.
    #[must_use]
    pub const fn seen(&self) -> Moment {
        Moment { wall: self.seen_at, uptime: self.seen_uptime }
    }
}

/// A mailbox and the daemons that there are for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxDaemons {
    /// The name of the mailbox.
    pub mailbox: String,
    /// Who reads it.
    pub reader: Option<ShownDaemon>,
    /// Who waits to take over, longest first.
    pub standby: Vec<ShownDaemon>,
}
