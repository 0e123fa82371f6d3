//! Codes and what they mean: reply codes, enhanced status codes, and the code table that judges them.
//! Knows nothing of mail, only of numbers, texts and rows; the floor that everything else stands on.

mod build;
mod file;
mod number;
mod outcome;
mod reachable;
mod reasons;
mod table;

pub use number::{EnhancedStatusCode, ParseCodeError, ReplyCode};
pub(crate) use number::{begins_with_code, status_length};
pub(crate) use outcome::words;
pub use outcome::{Class, Fault, Judgement, Reason, UnknownWord};
pub use reasons::{Deviation, Meaning, Reasons};
pub use table::{CodeRow, CodeTable, Key, Variant, Weight};
