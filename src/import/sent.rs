//! A file of what a mailer has sent -> when, which message, to whom, row by row.

use std::io::BufRead;

use super::{
    Record, Records, Unreadable, date,
    records::{Kind, Start, address},
};
use crate::report::Address;

/// What one row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentRow {
    /// In seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Without angle brackets.
    pub message_id: String,
    /// To whom.
    pub recipient: Address,
    /// Where it is given.
    pub campaign: Option<String>,
}

/// The rows of a file of what was sent: CSV with names in its first line, or JSON.
///
/// # Errors
/// It can't be read, or is neither.
pub fn open_sent<S: BufRead>(source: S) -> Result<Records<S>, Unreadable> {
    let start = Start::of(source).map_err(|error| Unreadable(format!("can't read it: {error}")))?;
    match start.kind() {
        Kind::Lines => Err(Unreadable(
            "expected CSV whose first line names its columns (time, message_id, recipient, campaign), or NDJSON"
                .to_owned(),
        )),
        kind => Ok(Records::new(start, kind)),
    }
}

impl SentRow {
    /// What a record says.
    ///
    /// # Errors
    /// What is missing or can't be read, for people.
    pub fn read(record: &Record) -> Result<Self, String> {
        let needed = |name: &str, shown: &str| record.get(name).ok_or_else(|| format!("no {shown}"));
        let time = needed("time", "time")?;
        let message_id = needed("messageid", "message_id")?;
        let recipient = needed("recipient", "recipient")?;
        let bare = message_id.trim_start_matches('<').trim_end_matches('>');
        if bare.is_empty() {
            return Err(format!("message_id {message_id} is none"));
        }
        Ok(Self {
            at: date::seconds(time).ok_or_else(|| format!("time {time} is none"))?,
            message_id: bare.to_owned(),
            recipient: address(recipient).ok_or_else(|| format!("recipient {recipient} is no address"))?,
            campaign: record.get("campaign").map(str::to_owned),
        })
    }
}
