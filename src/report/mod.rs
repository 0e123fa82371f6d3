//! What a mail said: the types between parsing and judging. Knows nothing of MIME, hard or soft.

mod evidence;
mod judged;
mod stored;
mod trust;

use std::sync::Arc;

pub use evidence::{Evidence, Excerpt, Finding, Location};
pub use judged::{Candidate, Forwarded, Lowered, Verdict};
use serde::Serialize;
pub use stored::StoredRecipient;
pub use trust::{Provenance, Signature, Trust, Trusts};

use crate::codes::{EnhancedStatusCode, ReplyCode, words};
pub use crate::text::Address;
use crate::text::{SAID, addresses};

words! {
    /// What a mail in the bounce mailbox is.
    Kind {
        /// At least one recipient failed for good.
        Bounce = "bounce",
        /// Still trying; nothing has failed yet.
        Delayed = "delayed",
        /// A success report: delivered, relayed or expanded.
        Delivered = "delivered",
        /// Out of office and other automatic answers (RFC 3834).
        AutoReply = "auto_reply",
        /// A feedback report: somebody pressed "spam" (RFC 5965).
        Complaint = "complaint",
        /// Anything else.
        NotBounce = "not_bounce",
    }
}

words! {
    /// The Action field of a DSN (RFC 3464 §2.3.3).
    Action {
        /// Could not be delivered; the reporting MTA has given up.
        Failed = "failed",
        /// Not yet delivered; the reporting MTA goes on trying.
        Delayed = "delayed",
        /// Delivered to the address.
        Delivered = "delivered",
        /// Relayed to a system that sends no reports.
        Relayed = "relayed",
        /// Delivered and forwarded to several addresses.
        Expanded = "expanded",
    }
}

/// A recipient of a report that doesn't say what became of the message has failed.
impl Default for Action {
    fn default() -> Self {
        Self::Failed
    }
}

/// Everything that one mail says about deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the mail is.
    pub kind: Kind,
    /// The line or structure that decided the kind.
    pub kind_because: Finding<Kind>,
    /// For people: the format that it is written in, e.g. `rfc3464`, `qmail`; `none` for what is no report.
    pub format: Arc<str>,
    /// `kinds:ID` of the row that speaks for the kind most, where weighed signs decided it.
    pub kind_rule: Option<Arc<str>>,
    /// RFC 3464 §2.2.2: the MTA that wrote the report, without its `dns;` type.
    pub reporting_mta: Option<String>,
    /// The Message-ID of the report itself, without angle brackets.
    pub message_id: Option<String>,
    /// The Date field of the report, in seconds since 1970-01-01 UTC. Written by a stranger.
    pub date: Option<i64>,
    /// One entry for each recipient that the mail reports on, in the order of the mail.
    pub recipients: Vec<Recipient>,
    /// Who complained, each once; nobody in what is no complaint. They are no recipients, for nothing became of a
    /// delivery.
    pub complainers: Vec<Finding<Address>>,
    /// Who wrote the mail: of an automatic answer and of what is no report only, and only where From names one mailbox.
    pub author: Option<Finding<Address>>,
    /// How many more it names than one report may put on record.
    pub left_out: usize,
    /// By what it can be believed.
    pub provenance: Provenance,
    /// The returned original message, as far as it is there.
    pub original: Original,
}

impl Report {
    /// Everybody of whom it says something: recipients, those who complained, and who wrote it.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        let recipients = self.recipients.iter().filter_map(|recipient| recipient.address.as_ref());
        let complainers = self.complainers.iter().map(|complainer| &complainer.value);
        recipients.chain(complainers).chain(self.author.as_ref().map(|author| &author.value))
    }

    /// Whether it looks like a report, and nobody is found in it.
    #[must_use]
    pub fn names_nobody(&self) -> bool {
        let is_report = match self.kind {
            Kind::Bounce | Kind::Delayed | Kind::Delivered | Kind::Complaint => true,
            Kind::AutoReply | Kind::NotBounce => false,
        };
        is_report && self.complainers.is_empty() && self.recipients.iter().all(|recipient| recipient.address.is_none())
    }

    /// What is said of a mail that reports on nobody.
    #[must_use]
    pub fn of_nobody(kind_because: Finding<Kind>) -> Self {
        Self {
            kind: kind_because.value,
            kind_because,
            format: "none".into(),
            kind_rule: None,
            reporting_mta: None,
            message_id: None,
            date: None,
            recipients: Vec::new(),
            complainers: Vec::new(),
            author: None,
            left_out: 0,
            provenance: Provenance::default(),
            original: Original::default(),
        }
    }
}

/// One recipient of a report (RFC 3464 §2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// The address that we mailed; `None` when the mail names nobody, or gives what is no address.
    pub address: Option<Address>,
    /// Whether it is an address of the sender or of the list, by what the returned original says: nobody suppresses
    /// those for himself.
    pub is_ours: bool,
    /// Whether the server's answer begins with an address of who sent the message, and names nobody else: it speaks of him.
    pub refuses_sender: bool,
    /// RFC 3464 §2.3.1: as the sender wrote it.
    pub original_recipient: Option<String>,
    /// RFC 3464 §2.3.2: as the reporting MTA used it.
    pub final_recipient: Option<String>,
    /// Another mailbox that the message was forwarded to, as the mail names it: the report speaks of that one. `None`
    /// where it speaks of the address that we mailed.
    pub forwarded_to: Option<String>,
    /// RFC 3464 §2.3.3, or what the text of a non-DSN amounts to.
    pub action: Action,
    /// What says so; `None` where nothing does.
    pub action_because: Option<Evidence>,
    /// The enhanced status codes found, the most trustworthy first: the first is the one to report.
    pub statuses: Vec<Finding<EnhancedStatusCode>>,
    /// Whether the reporting MTA made the first of them of a reply that had none, so that it says no more than that.
    pub status_is_made_up: bool,
    /// The reply codes found, the most trustworthy first.
    pub replies: Vec<Finding<ReplyCode>>,
    /// RFC 3464 §2.3.5: the MTA that refused, without its `dns;` type.
    pub remote_mta: Option<String>,
    /// RFC 3464 §2.3.6 or the matching text: the words of the refusing server, unfolded.
    pub diagnostic: Option<Excerpt>,
    /// Further text of the mail that speaks of this recipient, for phrase look-up after the diagnostic.
    pub text: Excerpt,
}

impl Recipient {
    /// The address as the mail gives it, also where it is none that could be mailed as it stands.
    #[must_use]
    pub fn address_given(&self) -> Option<&str> {
        let fields = [&self.original_recipient, &self.final_recipient].into_iter().flatten();
        let mut values = fields.map(|field| match field.split_once(';') {
            Some((kind, value)) if !kind.contains('@') => value.trim(),
            _ => field.trim(),
        });
        // Exim names the command or the file that the address leads to.
        let is_given = |value: &&str| value.contains('@') && !value.starts_with(['|', '/']);
        self.address.as_ref().map(Address::given).or_else(|| values.find(is_given))
    }

    /// Whether the mail says anything by which the recipient can be judged.
    #[must_use]
    pub fn says_anything(&self) -> bool {
        let texts = [self.diagnostic.as_ref(), Some(&self.text)];
        !self.statuses.is_empty()
            || !self.replies.is_empty()
            || texts.into_iter().flatten().any(|text| !text.as_str().is_empty())
    }

    /// Whether the server's answer begins with an address of who sent the message, behind codes, and names nobody else:
    /// `550 5.1.1 <news@shop.example>: user unknown`. A server that looks whether the sender exists may say so of any
    /// command.
    #[must_use]
    pub fn is_answer_to(&self, is_senders: impl Fn(&Address) -> bool) -> bool {
        self.answered_for().is_some_and(|named| named.iter().all(is_senders))
    }

    /// Whom else the server's answer speaks of, where it begins with him, behind codes, and names nobody but him: whoever
    /// refuses a message while it is forwarded answers for the address that it was forwarded to.
    #[must_use]
    pub fn answered_for_another(&self) -> Option<Address> {
        let named = self.answered_for()?;
        named.iter().all(|other| *other == named[0]).then(|| named[0].clone())
    }

    /// Whom the server's answer names, where it begins with one who is not the recipient.
    fn answered_for(&self) -> Option<Vec<Address>> {
        let said = self.diagnostic.as_ref()?.as_str();
        let named: Vec<_> = addresses(said).collect();
        let (range, first) = named.first()?;
        let before = said[..range.start].rsplit(SAID).next().unwrap_or_default();
        let is_own = self.address.as_ref() == Some(first)
            || self.final_recipient.as_deref().is_some_and(|own| own.contains(first.given()));
        let begins = !before.contains(|c: char| c.is_alphabetic());
        (begins && !is_own).then(|| named.into_iter().map(|(_, address)| address).collect())
    }

    /// The enhanced status code to report.
    #[must_use]
    pub fn status(&self) -> Option<EnhancedStatusCode> {
        self.statuses.first().map(|f| f.value)
    }

    /// The reply code to report.
    #[must_use]
    pub fn reply(&self) -> Option<ReplyCode> {
        self.replies.first().map(|f| f.value)
    }
}

/// What the returned original message says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Original {
    /// Message-ID without angle brackets.
    pub message_id: Option<String>,
    /// The From address.
    pub from: Option<String>,
    /// The To addresses.
    pub to: Vec<String>,
    /// Whom it was delivered to, where it says so: by To, unless that names several, the sender or a list, or a server
    /// noted somebody else (`Received … for`); then by that note.
    pub recipient: Option<Address>,
    /// Addresses of those who sent it: From, Sender, Reply-To, Return-Path and the list's own; normalised.
    pub senders: Vec<String>,
    /// The Subject, decoded.
    pub subject: Option<String>,
    /// RFC 2919 List-Id, without angle brackets.
    pub list_id: Option<String>,
    /// The first of the configured campaign headers that is there: its value.
    pub campaign: Option<String>,
}

/// RFC 2919 §2.
const LONGEST_LIST_ID: usize = 255;

impl Original {
    /// Whether an address is one of those who sent the message, or that of the list that passed it on.
    #[must_use]
    pub fn is_ours(&self, address: &Address) -> bool {
        let of_sender = self.senders.iter().any(|sender| sender == address.normalised());
        let is_list = |id: &String| {
            id.len() <= LONGEST_LIST_ID && id.to_lowercase().contains(&address.normalised().replace('@', "."))
        };
        of_sender || self.list_id.as_ref().is_some_and(is_list)
    }
}
