//! How much was sent and what became of it, and the alarms that follow from it. Knows no SQL.

use serde::Serialize;

use crate::{codes::words, policy::alarms::AlarmName};

words! {
    /// By what figures are told apart.
    FiguresBy {
        /// By the day, in UTC.
        Day = "day",
        /// By the domain of the recipient.
        Domain = "domain",
        /// By who takes the recipient's mail.
        Provider = "provider",
        /// By the campaign.
        Campaign = "campaign",
    }
}

/// How much was sent, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Messages by recipients, as far as a mail log or an import told of them.
    pub sent: u64,
    /// Those that were taken at once.
    pub delivered: u64,
    /// Hard bounces.
    pub hard: u64,
    /// Soft bounces.
    pub soft: u64,
    /// Bounces that have their cause in the sender or the message.
    pub blocked: u64,
    /// Complaints.
    pub complaints: u64,
}

/// The figures of one day, domain, provider or campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiguresOf {
    /// Which one; a day as `2026-01-31`; empty where nobody knows.
    pub name: String,
    /// Its figures.
    pub figures: Figures,
}

/// Figures that are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FiguresTable {
    /// The newest days, or those that have most.
    pub rows: Vec<FiguresOf>,
    /// How many more there are.
    pub left_out: u64,
    /// Of all together, with those that are left out.
    pub total: Figures,
}

/// An alarm that is, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Its row, to which its events lead.
    pub id: i64,
    /// What it is called.
    pub name: AlarmName,
    /// The same for people, as of when it began.
    pub words: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub raised: i64,
    /// When it was over; `None` while it lasts.
    pub cleared: Option<i64>,
}
