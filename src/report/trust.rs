//! How far a report can be believed: bounces have no sender who could vouch for them (RFC 3464 §4.1), so each shows by
//! what it brings along that it answers a message of ours.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Address, Evidence, Finding};
use crate::codes::words;

words! {
    /// Who can have made what a mail says of an address, from anybody to nobody but whom we wrote to.
    Trust {
        /// Anybody who can write to the bounce address.
        Unverified = "unverified",
        /// Our own mail server.
        Local = "local",
        /// Somebody who knows the Message-ID of a message that we sent to this address alone.
        Matched = "matched",
        /// Somebody who got a message to this address: he knows the envelope sender that we signed for it.
        Verified = "verified",
    }
}

/// What a mail brings along by which it can be believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The addresses that it was delivered to, as our own server put them down, each header once.
    pub delivered_to: Vec<Finding<String>>,
    /// The line by which our own server says that it made the mail itself.
    pub made_here: Option<Evidence>,
    /// RFC 5322 §3.6.4: the Message-ID, without angle brackets, that an answer is to.
    pub in_reply_to: Option<String>,
}

/// An envelope sender of ours that a mail came to, signed for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// SHA-256 of its token: what makes it the same wherever it comes again.
    pub digest: [u8; 32],
    /// The first second in which it counts no more, since 1970-01-01 UTC.
    pub until: i64,
}

/// How far what a mail says can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusts {
    /// Of whomever it says it.
    everything: Trust,
    /// Of single addresses, in normalised form, more than that.
    of: BTreeMap<String, Trust>,
    /// Addresses for which the envelope sender was signed.
    signed: BTreeMap<String, Signature>,
}

impl Default for Trusts {
    fn default() -> Self {
        Self::in_everything(Trust::Unverified)
    }
}

impl Trusts {
    /// One level for all that it says.
    #[must_use]
    pub const fn in_everything(trust: Trust) -> Self {
        Self { everything: trust, of: BTreeMap::new(), signed: BTreeMap::new() }
    }

    /// What it says of an address can be believed at least so far.
    pub fn raise(&mut self, address: &Address, trust: Trust) {
        if trust > self.unsigned(address) {
            self.of.insert(address.normalised().to_owned(), trust);
        }
    }

    /// It came to an envelope sender that was signed for this address.
    pub fn sign(&mut self, address: &Address, by: Signature) {
        self.signed.insert(address.normalised().to_owned(), by);
    }

    /// That says nothing: somebody else has used it before.
    pub fn unsign(&mut self, address: &Address) {
        self.signed.remove(address.normalised());
    }

    /// The envelope sender that was signed for an address.
    #[must_use]
    pub fn signature(&self, address: &Address) -> Option<&Signature> {
        self.signed.get(address.normalised())
    }

    /// How far what it says of an address can be believed, or of somebody whom it does not name.
    #[must_use]
    pub fn of(&self, address: Option<&Address>) -> Trust {
        let Some(address) = address else { return self.everything };
        if self.signature(address).is_some() { Trust::Verified } else { self.unsigned(address) }
    }

    /// Whatever envelope sender it came to.
    fn unsigned(&self, address: &Address) -> Trust {
        self.of.get(address.normalised()).copied().unwrap_or(self.everything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_one_is_believed_further_than_what_is_said_of_others_and_never_less() {
        let [ann, bob] = ["ann@example.org", "bob@example.org"].map(|text| Address::parse(text).unwrap());
        let mut trusts = Trusts::in_everything(Trust::Local);
        trusts.raise(&ann, Trust::Verified);
        trusts.raise(&ann, Trust::Matched);
        trusts.raise(&bob, Trust::Unverified);
        assert_eq!(
            [Some(&ann), Some(&bob), None].map(|of| trusts.of(of)),
            [Trust::Verified, Trust::Local, Trust::Local]
        );
        assert_eq!(Trusts::default().of(Some(&ann)), Trust::Unverified);
    }

    #[test]
    fn what_came_to_a_signed_address_is_worth_what_it_is_without_it_once_that_is_used() {
        let [ann, bob] = ["ann@example.org", "bob@example.org"].map(|text| Address::parse(text).unwrap());
        let mut trusts = Trusts::default();
        trusts.sign(&ann, Signature { digest: [1; 32], until: 9 });
        trusts.raise(&ann, Trust::Matched);
        assert_eq!([&ann, &bob].map(|of| trusts.of(Some(of))), [Trust::Verified, Trust::Unverified]);
        trusts.unsign(&ann);
        assert_eq!((trusts.of(Some(&ann)), trusts.signature(&ann)), (Trust::Matched, None));
    }
}
