//! A file of another program -> who was not to be mailed by it, row by row: addresses, why, since when. Pure, and no
//! more of a file is in memory than one row. Knows no suppression list, no policy and no arguments.
//!
//! Which program wrote a file is told by its fields alone. What resembles nothing that is known is refused: a list of
//! subscribers looks much like a list of those who left.

mod date;
mod forms;
mod json;
mod records;
mod sent;

use std::{fmt, io::BufRead};

pub use records::{Broken, Found, Record, Records};
use records::{Kind, Start};
pub use sent::{SentRow, open_sent};

use crate::{
    codes::{Reason, words},
    report::Address,
    suppression::Origin,
};

words! {
    /// Who wrote the file.
    Form {
        /// Anybody: one address a line.
        Text = "text",
        /// `bounced suppressions export` or `list --json`.
        Bounced = "bounced",
        /// Mailgun: bounces, complaints, unsubscribes.
        Mailgun = "mailgun",
        /// Amazon SES: its suppression list.
        Ses = "ses",
        /// SendGrid: bounces, invalid emails, spam reports, unsubscribes.
        Sendgrid = "sendgrid",
        /// Postmark: the suppressions of a stream.
        Postmark = "postmark",
        /// Brevo: blocked contacts.
        Brevo = "brevo",
        /// listmonk: bounces, subscribers on the blocklist.
        Listmonk = "listmonk",
        /// phpList: its blacklist, subscribers on it.
        Phplist = "phplist",
    }
}

/// What one row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Somebody who is not to be mailed.
    Entry(Box<Entry>),
    /// Somebody whom the file names for another reason.
    Left(Left),
    /// What can't be understood, and why.
    Bad(String),
}

/// Somebody who was not to be mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The address, or `*@domain` for all of a domain.
    pub address: Address,
    /// As our own export says; of the files of others [`Origin::Complaint`] where they say so, else [`Origin::Import`].
    pub origin: Origin,
    /// Why, where the file says it in one word of ours.
    pub reason: Option<Reason>,
    /// The rule that decided, in the words of whoever exported it.
    pub rule: Option<String>,
    /// The row of the policy that asked for it, as our own export says.
    pub policy: Option<String>,
    /// What the refusing server said.
    pub diagnostic: Option<String>,
    /// What a person noted, or what the other program calls it.
    pub note: Option<String>,
    /// Since when.
    pub since: Since,
    /// Until when, in seconds since 1970-01-01 UTC; `None`: for good.
    pub expires: Option<i64>,
    /// Whether the refusal speaks of the address.
    pub about: About,
}

/// Since when somebody was not to be mailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// In seconds since 1970-01-01 UTC.
    Given(i64),
    /// The file gives a date that can't be read.
    Unread,
    /// The file does not say.
    Absent,
}

/// What a refusal is about, by what the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The address: the other program says so.
    Address,
    /// The address, or the message and its sender: [`Entry::diagnostic`] has to be judged.
    AddressOrMessage,
}

words! {
    /// Why a row puts nobody on the list.
    Left {
        /// The file says itself that the person may be mailed.
        NotSuppressed = "not_suppressed",
        /// A soft bounce: the other program went on mailing.
        Soft = "soft",
        /// The message or its sender was refused, and not the address.
        Message = "message",
        /// The person left one list or topic of several.
        OneTopic = "one_topic",
        /// The time of the entry is over.
        Expired = "expired",
    }
}

impl Left {
    /// For people, behind a number.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::NotSuppressed => "not suppressed by what the file says",
            Self::Soft => "soft bounces",
            Self::Message => "refused for the message or its sender, not for the address",
            Self::OneTopic => "off one list or topic only",
            Self::Expired => "expired",
        }
    }
}

/// A file whose form is known.
#[derive(Debug)]
pub struct Import<S> {
    /// Who wrote it.
    pub form: Form,
    /// What stands in it.
    pub records: Records<S>,
}

/// Why a file is not read at all.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So many octets of the fields of a file are told: what is no table may have all of it in its first line.
const LONGEST_FIELDS: usize = 200;

impl<S: BufRead> Import<S> {
    /// Finds out how a file is written and, unless it is named, who wrote it.
    ///
    /// # Errors
    /// Nobody writes such files, or not the one that is named.
    pub fn open(source: S, named: Option<Form>) -> Result<Self, Unreadable> {
        let start = Start::of(source).map_err(|error| Unreadable(format!("can't read it: {error}")))?;
        let kind = match named {
            Some(Form::Text) if !start.is_json() => Kind::Lines,
            _ => start.kind(),
        };
        let mut records = Records::new(start, kind);
        let first = match records.first() {
            // What has no row may be anybody's.
            Ok(None) => return Ok(Self { form: named.unwrap_or(Form::Text), records }),
            Ok(Some(first)) => first,
            Err(broken) => return Err(Unreadable(broken.to_string())),
        };
        let form = forms::recognised(first, named).ok_or_else(|| {
            let mut fields = first.names().join(", ");
            if fields.len() > LONGEST_FIELDS {
                fields.truncate(fields.floor_char_boundary(LONGEST_FIELDS));
                fields.push('…');
            }
            Unreadable(match named {
                Some(form) => format!("{form} writes no file with these fields: {fields}"),
                None => format!("no program is known to write a file with these fields: {fields}"),
            })
        })?;
        Ok(Self { form, records })
    }
}

impl Form {
    /// What a record of such a file says; `now` in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn row(self, record: &Record, now: i64) -> Row {
        forms::row(self, record, now)
    }
}

#[cfg(test)]
mod tests;
