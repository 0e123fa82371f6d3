//! A verdict and the chain of evidence that led to it.

use serde::Serialize;

use super::Evidence;
use crate::codes::{Class, EnhancedStatusCode, Fault, Judgement, Reason, ReplyCode};

/// The judgement on one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Hard or soft; success for a recipient that did not fail.
    pub class: Class,
    /// Why, in one word.
    pub reason: Reason,
    /// Whose fault.
    pub fault: Fault,
    /// The enhanced status code that the mail gives.
    pub status: Option<EnhancedStatusCode>,
    /// The SMTP reply code that the mail gives.
    pub reply: Option<ReplyCode>,
    /// The row that decided, e.g. `codes:5.1.1`, `codes:550.user-unknown`, `phrases:google.over-quota`.
    pub rule: String,
    /// Whether the mail's own signals contradict each other (4.x.x against 5yz).
    pub conflict: bool,
    /// What a person should do about it.
    pub advice: String,
    /// What decided; `None` where no row had anything to say.
    pub winner: Option<Candidate>,
    /// Set where the winner's row says worse than the mail's codes allow.
    pub lowered: Option<Lowered>,
    /// Set where the report speaks of another mailbox than the one that we mailed.
    pub forwarded: Option<Forwarded>,
    /// What lost against the winner, the strongest first.
    pub outranked: Vec<Candidate>,
}

/// One row that had something to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The row, in the form of [`Verdict::rule`].
    pub rule: String,
    /// What the row says.
    pub judgement: Judgement,
    /// What in the mail led to the row.
    pub evidence: Evidence,
}

/// What became of a message behind the mailbox that we mailed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forwarded {
    /// The mailbox that it was forwarded to, as the mail names it.
    pub to: String,
    /// The verdict on that one.
    pub judgement: Judgement,
}

/// A verdict milder than the row that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lowered {
    /// What the row says.
    pub from: Class,
    /// The first digit of a code that allows no class as bad as that; 4 where the mail says that it still tries.
    pub digit: u8,
    /// The code, or the words that say so.
    pub evidence: Option<Evidence>,
}
