//! What is stored of an address, and what today's tables and policy make of it -> what is different. Pure.

use super::{
    super::decoded,
    bounces::Rejudged,
    stored::{StoredAddress, StoredEntry, StoredEvent},
};
use crate::{
    codes::Class,
    report::Address,
    store::{Anew, EventKind, ListDifference, ListedAs, list_changes::Replayed, plan::NewEntry},
    suppression::{Origin, Suppression, Why},
};

impl StoredAddress {
    /// What today's tables and policy make of the list; `None` where that is what it says, and where what led to an entry
    /// is gone or is a person's word.
    pub(super) fn difference(
        &self,
        address: &Address,
        replayed: &Replayed<'_>,
        bounces: &[Rejudged],
        anew: &Anew<'_>,
    ) -> Option<ListDifference> {
        let waits = self.held.as_ref().filter(|held| held.why() != Some(Why::Alive));
        let after = replayed.entry.as_ref().map(|(entry, _)| entry);
        let as_listed = |entry: &NewEntry<'_>| ListedAs {
            origin: entry.suppression.origin,
            reason: entry.suppression.reason.map(|reason| reason.to_string()),
            policy: entry.suppression.policy.clone(),
            expires: entry.suppression.expires,
        };
        match (&self.entry, after) {
            _ if replayed.by_person => return None,
            (Some(entry), _) if !self.can_be_judged(entry, bounces) => return None,
            (Some(entry), Some(after)) if is_same(entry, after) => return None,
            // Not more than what is known for sure.
            (None, Some(_)) if replayed.is_doubtful => return None,
            (Some(entry), Some(after)) if replayed.is_doubtful && lasts_longer(after, entry) => return None,
            (Some(entry), after) if says_less(after, entry) && !self.is_all_there(entry, bounces, anew) => return None,
            (None, Some(_)) if waits.is_some() => return None,
            (None, Some(after)) if self.was_taken_back(after.suppression.since) => return None,
            (None, None) if waits.is_none_or(|_| replayed.waits) => return None,
            _ => {}
        }
        Some(ListDifference {
            address: address.normalised().to_owned(),
            before: self.entry.as_ref().and_then(StoredEntry::listed),
            after: after.map(as_listed),
            waited: waits.is_some(),
            held: None,
        })
    }

    /// Whether a person or a sign of life has spoken against an entry since then; but one that other tables took off was
    /// on the list all the same.
    fn was_taken_back(&self, since: i64) -> bool {
        if self.events.last().is_some_and(|last| last.kind == EventKind::Corrected.as_str()) {
            return false;
        }
        let against = [EventKind::Rejected, EventKind::Revived, EventKind::Released].map(EventKind::as_str);
        self.alive.as_ref().is_some_and(|sign| sign.at >= since)
            || self.events.iter().any(|event| against.contains(&event.kind.as_str()) && event.at >= since)
    }

    /// Whether an entry can be judged at all: it is no person's, and what decided is there.
    fn can_be_judged(&self, entry: &StoredEntry, bounces: &[Rejudged]) -> bool {
        if matches!(entry.origin.parse(), Ok(Origin::Manual | Origin::Import) | Err(_)) {
            return false;
        }
        if let Some(complaint) = entry.complaint {
            return self.complaints.iter().any(|row| row.id == complaint);
        }
        let is_there = |bounce: i64| find(bounces, bounce).is_some();
        entry.bounce.is_some_and(is_there) && self.causes(entry).is_none_or(|causes| causes.into_iter().all(is_there))
    }

    /// The bounces that were counted; `None` where that was not noted, as in earlier versions.
    fn causes(&self, entry: &StoredEntry) -> Option<Vec<i64>> {
        let event = self.events.iter().find(|event| Some(event.revision) == entry.revision)?;
        decoded(event.causes.as_deref()?).ok()
    }

    /// Whether nothing that led to an entry can be missing. Where it was not noted, retention may have erased some of it:
    /// then no more is known than whether the bounce that decided is still believed.
    fn is_all_there(&self, entry: &StoredEntry, bounces: &[Rejudged], anew: &Anew<'_>) -> bool {
        let is_believed = |again: &Rejudged| again.verdict.class == Class::Hard && again.counts(anew);
        let decided = entry.bounce.and_then(|bounce| find(bounces, bounce));
        entry.complaint.is_some()
            || self.causes(entry).is_some()
            || (entry.origin == Origin::Hard.as_str() && decided.is_some_and(|again| !is_believed(again)))
    }

    /// Whether the same bounce or complaint has brought the address onto the list before: then it was let through, or
    /// approved by a person.
    pub(super) fn was_brought_by(&self, entry: &NewEntry<'_>) -> bool {
        let by = (entry.bounce, entry.complaint);
        let brought = |event: &StoredEvent| event.kind == EventKind::Suppressed.as_str();
        self.events.iter().any(|event| brought(event) && (event.bounce, event.complaint) == by)
    }

    /// The message that brought an entry.
    pub(super) fn message(&self, entry: &NewEntry<'_>, bounces: &[Rejudged]) -> Option<i64> {
        let of_complaint = || self.complaints.iter().find(|row| Some(row.id) == entry.complaint).map(|row| row.message);
        entry.bounce.and_then(|bounce| find(bounces, bounce)).map(|again| again.row.message).or_else(of_complaint)
    }
}

/// One of the bounces, which are in the order of their rows.
fn find(bounces: &[Rejudged], bounce: i64) -> Option<&Rejudged> {
    bounces.binary_search_by_key(&bounce, |again| again.row.id).ok().map(|at| &bounces[at])
}

fn lasts_longer(after: &NewEntry<'_>, before: &StoredEntry) -> bool {
    let end = |expires: Option<i64>| expires.unwrap_or(i64::MAX);
    end(after.suppression.expires) > end(before.expires)
}

/// Whether an entry goes, or becomes a weaker or a shorter one.
fn says_less(after: Option<&NewEntry<'_>>, before: &StoredEntry) -> bool {
    let end = |expires: Option<i64>| expires.unwrap_or(i64::MAX);
    let rank = before.origin.parse().map_or(0, Origin::rank);
    after.is_none_or(|after| {
        let Suppression { origin, expires, .. } = after.suppression;
        origin.rank() < rank || end(expires) < end(before.expires)
    })
}

fn is_same(entry: &StoredEntry, after: &NewEntry<'_>) -> bool {
    let Suppression { origin, reason, rule, policy, expires, .. } = &after.suppression;
    entry.origin == origin.as_str()
        && entry.reason.as_deref() == reason.map(|reason| reason.as_str())
        // Of a bounce that was recorded before, the rule is that of its row.
        && (rule.is_none() || entry.rule == *rule)
        && entry.policy == *policy
        && entry.expires == *expires
        && (entry.bounce, entry.complaint) == (after.bounce, after.complaint)
}
