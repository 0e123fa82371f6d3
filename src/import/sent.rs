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
        kind @ Kind::Json => Ok(Records::new(start, kind)),
        kind @ Kind::Table(_) => {
            let mut records = Records::new(start, kind);
            // Else every row would be told as a bad one.
            if let Ok(Some(first)) = records.first() {
                let missing = NEEDED.iter().filter(|(name, _)| !first.names().iter().any(|known| known == name));
                let missing: Vec<&str> = missing.map(|(_, shown)| *shown).collect();
                if !missing.is_empty() {
                    return Err(Unreadable(format!("the first line names no column {}", missing.join(", "))));
                }
            }
            Ok(records)
        }
    }
}

/// What every row must have, as it is compared and as it is written.
const NEEDED: [(&str, &str); 3] = [("time", "time"), ("messageid", "message_id"), ("recipient", "recipient")];

/// A clock may be wrong by so many seconds; what is sent later than that was not sent yet.
const MOST_AHEAD: i64 = 86_400;

impl SentRow {
    /// What a record says, at `now` (seconds since 1970-01-01 UTC).
    ///
    /// # Errors
    /// What is missing or can't be read, for people.
    pub fn read(record: &Record, now: i64) -> Result<Self, String> {
        let needed = |(name, shown): (&str, &str)| record.get(name).ok_or_else(|| format!("no {shown}"));
        let [time, message_id, recipient] = NEEDED.map(needed);
        let (time, message_id, recipient) = (time?, message_id?, recipient?);
        let bare = message_id.trim_start_matches('<').trim_end_matches('>');
        if bare.is_empty() {
            return Err(format!("message_id {message_id} is empty"));
        }
        let at = date::seconds(time).ok_or_else(|| {
            format!("time {time} is no time: expected one such as 2026-11-01T12:00:00Z, or seconds since 1970-01-01")
        })?;
        if at > now + MOST_AHEAD {
            return Err(format!("time {time} is in the future"));
        }
        Ok(Self {
            at,
            message_id: bare.to_owned(),
            recipient: address(recipient).ok_or_else(|| format!("recipient {recipient} is no address"))?,
            campaign: record.get("campaign").map(str::to_owned),
        })
    }
}
