//! What happened to one address of the list, as a person asks for it.

use serde::Serialize;
use sqlx::FromRow;

/// Everything that is known of how one address came onto the list and left it. Times are ISO 8601 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressHistory {
    /// The normalised address.
    pub address: String,
    /// What happened, in the order in which it was written.
    pub changes: Vec<PastChange>,
    /// The last sign of life.
    pub alive: Option<Alive>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct PastChange {
    /// The number of its event.
    pub revision: i64,
    /// `suppressed`, `released`, …: the kind of the event.
    pub kind: String,
    /// When what it tells of happened.
    pub at: String,
    /// When it was written; `None` where an earlier version wrote it.
    pub recorded: Option<String>,
    /// How the address came onto the list.
    pub origin: Option<String>,
    /// The reason of the bounce that caused it.
    pub reason: Option<String>,
    /// The row of the policy that asked for it.
    pub policy: Option<String>,
    /// When the time of the entry is over; `None` for good.
    pub expires: Option<String>,
    /// Who did it: a person, or `bounced` itself.
    pub actor: Option<String>,
    /// What the person noted.
    pub note: Option<String>,
    /// The bounces that were counted, in the order in which they were received, the one that decided last, or the
    /// complaint; those that are still on record.
    #[sqlx(skip)]
    pub causes: Vec<Cause>,
}

/// A bounce or a complaint that caused a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Cause {
    /// Its row in `bounce` or `complaint`.
    pub id: i64,
    /// When its mail was received.
    pub received: String,
    /// Hard or soft; `None` of a complaint, here and below.
    pub class: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The enhanced status code.
    pub status: Option<String>,
    /// The reply code.
    pub reply: Option<i64>,
    /// What the refusing server said.
    pub diagnostic: Option<String>,
    /// The mailbox that it was read from.
    pub mailbox: String,
    /// Its Message-ID.
    pub message_id: Option<String>,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Alive {
    /// When.
    pub at: String,
    /// `delivered`, `auto_reply`, `own_mail` or `told`.
    pub sign: String,
}
