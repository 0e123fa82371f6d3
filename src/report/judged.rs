//! A verdict and the chain of evidence that led to it.

use serde::Serialize;

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
    /// The row that decided, e.g. `codes:5.1.1`, `codes:550 "user unknown"`, `phrases:google.over-quota`.
    pub rule: String,
    /// Whether the mail's own signals contradict each other (4.x.x against 5yz).
    pub conflict: bool,
    /// Everything considered, the winner first.
    pub candidates: Vec<Candidate>,
}

/// One row that had something to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The row, in the form of [`Verdict::rule`].
    pub rule: String,
    /// What the row says.
    pub judgement: Judgement,
    /// The field or part of the mail that led to the row.
    pub place: &'static str,
    /// The line of the mail that led to the row.
    pub line: String,
    /// Whether it decided, and if not, why.
    pub outcome: Outcome,
}

/// Whether a candidate decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It decided.
    Won,
    /// Stronger evidence stood against it.
    Outranked,
    /// It decided, but the first digit of the mail's codes allows no class as bad as the row's.
    Limited,
}
