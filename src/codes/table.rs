//! The code table: config/codes.toml -> rows, and from a code to the row that answers.

use super::{EnhancedStatusCode, Judgement, ReplyCode};

/// How much a row's word is worth against other evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The code covers many things (x.0.0, 5.7.1, bare 550): any fitting phrase beats it.
    Vague,
    /// The code means one thing (5.1.1, 5.2.2): only an unmistakable phrase beats it.
    Specific,
}

/// One row of the table, or one text variant of a row.
#[derive(Debug, Clone)]
pub struct Row {
    /// What the row says.
    pub judgement: Judgement,
    /// How much its word is worth.
    pub weight: Weight,
}

/// The row that answers a look-up, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// E.g. `codes:5.1.1`, `codes:5.1.*`, `codes:5`, `codes:550`, `codes:550 "user unknown"`.
    pub rule: String,
    /// What it says.
    pub judgement: Judgement,
    /// How much its word is worth.
    pub weight: Weight,
}

/// Why a table was refused: file, line and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TableError(pub String);

/// All rows, compiled for look-up.
#[derive(Debug, Default)]
pub struct CodeTable {}

impl CodeTable {
    /// Exact row, else x.y.*, else the class digit.
    #[must_use]
    pub fn status(&self, _code: EnhancedStatusCode) -> Option<Answer> {
        None
    }

    /// The text variant of the row that fits `text`, else the row itself, else the class digit.
    #[must_use]
    pub fn reply(&self, _code: ReplyCode, _text: &str) -> Option<Answer> {
        None
    }
}
