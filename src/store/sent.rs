//! What we sent: kept as keyed hashes alone, so that a bounce can be held against it and nobody can read from it whom we
//! mail. Knows no SQL.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::JudgedMessage;
use crate::report::{Address, Trust};

/// One message that we sent to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Its Message-ID, without angle brackets; of one that has none only the number is kept.
    pub message_id: Option<String>,
    /// To whom.
    pub recipient: Address,
    /// Who takes the recipient's mail: the organisational domain of the server, or of the recipient.
    pub provider: String,
    /// The campaign that it belongs to.
    pub campaign: Option<String>,
    /// Whether it is known to have been delivered.
    pub is_delivered: bool,
}

/// What a mail log told, and how far it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReading {
    /// Where to read on, in the words of whoever reads it.
    pub cursor: String,
    /// Lines that were read.
    pub lines: u64,
    /// Those of them that could not be understood.
    pub skipped: u64,
    /// When they were read, in seconds since 1970-01-01 UTC.
    pub read_at: i64,
    /// The time of the last delivery that they tell of, in seconds since 1970-01-01 UTC.
    pub told_at: Option<i64>,
    /// What is known of messages on their way by their queue IDs, in JSON; `None` where one has left.
    pub queue: Vec<(String, Option<String>)>,
    /// What was sent, and what became of it at once.
    pub sent: Vec<Sent>,
    /// Message-IDs of messages that also went to somebody who is on no list of ours, and when: into a mailbox or a program
    /// here, or sent by others.
    pub elsewhere: Vec<(String, i64)>,
}

/// How far a mail log was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// What it is called in the configuration.
    pub name: String,
    /// Lines that were read in all.
    pub lines: u64,
    /// Those of them that could not be read.
    pub skipped: u64,
    /// When it was read last, in seconds since 1970-01-01 UTC.
    pub read_at: i64,
    /// The time of the last delivery that it told of.
    pub told_at: Option<i64>,
}

/// Keeps hashes from being compared with those of anybody else.
pub(super) struct Salt(pub Vec<u8>);

/// What is known of what we send as a whole.
pub(super) struct Vouching {
    /// Since when our own mail can be told from what strangers write, in seconds since 1970-01-01 UTC.
    pub since: i64,
    pub salt: Salt,
}

/// As many octets of a hash as are kept.
const KEPT: usize = 16;

impl Salt {
    /// Another one for each store.
    pub fn new() -> Self {
        Self(rand::random::<[u8; 32]>().to_vec())
    }

    fn hash(&self, parts: &[&str]) -> [u8; KEPT] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length will do");
        for part in parts {
            mac.update(part.as_bytes());
            // No Message-ID and no address has it.
            mac.update(b"\n");
        }
        let whole = mac.finalize().into_bytes();
        whole[..KEPT].try_into().expect("a SHA-256 is longer")
    }

    /// What is kept of a Message-ID.
    pub fn message(&self, message_id: &str) -> [u8; KEPT] {
        self.hash(&[message_id])
    }

    /// What is kept of a recipient of a message; nothing that he has in common with the same one of another.
    pub fn recipient(&self, message_id: &str, recipient: &Address) -> [u8; KEPT] {
        self.hash(&[message_id, recipient.normalised()])
    }
}

/// What is received so many seconds before a message was sent may speak of it: clocks differ, and a log may know the
/// day of a delivery, or the hour, better than the second.
pub(super) const CLOCKS: i64 = 3_600;

/// Who got a message that went to him alone.
pub(super) struct Alone {
    /// The hash of him.
    pub recipient: Vec<u8>,
    /// When the first attempt to deliver it is known to have been made.
    pub at: i64,
}

impl Alone {
    /// Whether what was received then, and is said of this recipient, can speak of it. Message-IDs can be foretold: who
    /// wrote before the message was sent has not seen it.
    pub fn vouches(&self, recipient: &[u8], received: i64) -> bool {
        self.recipient == recipient && received.saturating_add(CLOCKS) >= self.at
    }
}

/// The Message-IDs of which messages speak: those returned, and those answered.
pub(super) fn message_ids(batch: &[JudgedMessage]) -> Vec<&str> {
    let mut all: Vec<&str> = batch
        .iter()
        .flat_map(|judged| {
            let report = &judged.report;
            [report.original.message_id.as_deref(), report.provenance.in_reply_to.as_deref()].into_iter().flatten()
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Believes what speaks of a message that went to nobody else, by the Message-IDs of such messages.
pub(super) fn believe(batch: &mut [JudgedMessage], salt: &Salt, alone: &BTreeMap<String, Alone>) {
    for JudgedMessage { report, trusts, received, .. } in batch {
        let mut believe = |message_id: &Option<String>, address: &Address| {
            let sent = message_id.as_deref().and_then(|id| Some((id, alone.get(id)?)));
            if sent.is_some_and(|(id, sent)| sent.vouches(&salt.recipient(id, address), *received)) {
                trusts.raise(address, Trust::Matched);
            }
        };
        let complainers = report.complainers.iter().map(|complainer| &complainer.value);
        for address in report.recipients.iter().filter_map(|recipient| recipient.address.as_ref()).chain(complainers) {
            believe(&report.original.message_id, address);
        }
        if let Some(author) = &report.author {
            believe(&report.provenance.in_reply_to, &author.value);
        }
    }
}
