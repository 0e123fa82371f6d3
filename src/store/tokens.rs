//! Mails that came to envelope senders which we signed -> what each token was used for, and who uses one again. Pure.
//!
//! A message fails once for its recipient, so a token speaks once: for the first failure, and then for what is worse,
//! which a report that knows more may tell. Delays, deliveries and automatic answers use nothing up.

use std::collections::{BTreeMap, HashMap};

use super::{JudgedMessage, plan};
use crate::{
    codes::Class,
    report::{Action, Address, Signature},
    suppression::Origin,
};

/// What a token was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// The worst that was said by it.
    pub origin: Origin,
    /// SHA-256 of the mail that said it.
    pub mail: [u8; 32],
    /// When it expires, in seconds since 1970-01-01 UTC.
    pub until: i64,
}

/// By the digest of the token.
pub(super) type Uses = HashMap<[u8; 32], Use>;

/// A mail by whose token somebody else has said as much of its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replay {
    /// Which message of the batch.
    pub message: usize,
    pub address: Address,
}

/// What a message says by tokens: of whom, by which, and how bad it is.
fn said(judged: &JudgedMessage) -> impl Iterator<Item = (&Address, &Signature, Origin)> {
    let failed = plan::reported(judged).filter(|(recipient, ..)| recipient.action == Action::Failed);
    let failed = failed.filter_map(|(recipient, verdict, _)| {
        let origin = if verdict.class == Class::Hard { Origin::Hard } else { Origin::Soft };
        Some((recipient.address.as_ref()?, origin))
    });
    let complained = judged.report.complainers.iter().map(|complainer| (&complainer.value, Origin::Complaint));
    let signed = |(address, origin)| Some((address, judged.trusts.signature(address)?, origin));
    failed.chain(complained).filter_map(signed)
}

/// The tokens by which these messages say anything.
pub(super) fn named(batch: &[JudgedMessage]) -> Vec<[u8; 32]> {
    batch.iter().flat_map(said).map(|(_, signature, _)| signature.digest).collect()
}

/// Uses the tokens of a batch, in its order, where `known` are those that were used before: what is new of that, and which
/// messages come too late.
pub(super) fn spend(batch: &[JudgedMessage], mut known: Uses) -> (BTreeMap<[u8; 32], Use>, Vec<Replay>) {
    let (mut spent, mut replays) = (BTreeMap::new(), Vec::new());
    for (message, judged) in batch.iter().enumerate() {
        for (address, &Signature { digest, until }, origin) in said(judged) {
            let new = Use { origin, mail: judged.sha256, until };
            match known.get(&digest) {
                Some(before) if before.origin.rank() >= origin.rank() => {
                    // The same mail says it as often as it is read.
                    if before.mail != judged.sha256 {
                        replays.push(Replay { message, address: address.clone() });
                    }
                }
                _ => {
                    known.insert(digest, new);
                    spent.insert(digest, new);
                }
            }
        }
    }
    (spent, replays)
}
