//! Which messages of the folder could not be read yet, when each is tried again, and what of that the store has still
//! to hear. Knows nothing of the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::uid::Uid;
use crate::message::{Pending, Place, Retry};

#[derive(Debug, Default)]
pub(super) struct PendingUids {
    uid_validity: u32,
    waiting: BTreeMap<u32, Retry>,
    /// Those of `waiting` of which the store has not heard, or not the last attempt.
    news: BTreeSet<u32>,
    gone: Vec<Place>,
}

impl PendingUids {
    /// The folder is open, and this is what the store knows. What it has not heard is newer.
    pub(super) fn resume(&mut self, uid_validity: u32, stored: Vec<Pending>) {
        if self.uid_validity != uid_validity {
            *self = Self { uid_validity, ..Self::default() };
        }
        self.waiting.retain(|uid, _| self.news.contains(uid));
        // What the store still knows as pending has still to hear that it is gone.
        self.gone.clear();
        for Pending { place, retry } in stored {
            match Uid::read(place.as_str()) {
                Some(uid) if uid.validity == uid_validity => {
                    self.waiting.entry(uid.uid).or_insert(retry);
                }
                // RFC 9051 §2.3.1.1: another UIDVALIDITY, other messages; they are read anew as what they are now.
                _ => self.gone.push(place),
            }
        }
    }

    pub(super) fn contains(&self, uid: u32) -> bool {
        self.waiting.contains_key(&uid)
    }

    /// It could not be read at `now`.
    pub(super) fn failed(&mut self, uid: u32, now: i64, why: &str) {
        let retry = Retry::after(self.waiting.get(&uid), now, why);
        self.waiting.insert(uid, retry);
        self.news.insert(uid);
    }

    /// It is due now, if it is pending.
    pub(super) fn ask(&mut self, uid: u32) -> bool {
        self.waiting.get_mut(&uid).map(|retry| retry.next_try = 0).is_some()
    }

    /// It was read. The store hears of that by the message itself.
    pub(super) fn remove(&mut self, uid: u32) {
        self.waiting.remove(&uid);
        self.news.remove(&uid);
    }

    /// There is no such message any more.
    pub(super) fn gone(&mut self, uid: u32) {
        self.remove(uid);
        self.gone.push(self.place(uid));
    }

    /// The one that is due for longest, if any.
    pub(super) fn due(&self, now: i64) -> Option<u32> {
        let due = self.waiting.iter().filter(|(_, retry)| retry.is_due(now));
        due.min_by_key(|(_, retry)| retry.next_try).map(|(uid, _)| *uid)
    }

    /// How long until the next is due; `None` when nothing is pending.
    pub(super) fn until_next(&self, now: i64) -> Option<Duration> {
        let next = self.waiting.values().map(|retry| retry.next_try).min()?;
        Some(Duration::from_secs(u64::try_from(next - now).unwrap_or(0)))
    }

    /// What the store has to hear with the next commit.
    pub(super) fn take_news(&mut self) -> (Vec<Pending>, Vec<Place>) {
        let news = std::mem::take(&mut self.news);
        let pending = news.into_iter().filter_map(|uid| {
            let retry = self.waiting.get(&uid)?.clone();
            Some(Pending { place: self.place(uid), retry })
        });
        (pending.collect(), std::mem::take(&mut self.gone))
    }

    fn place(&self, uid: u32) -> Place {
        Uid { validity: self.uid_validity, uid }.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(place: &str, next_try: i64) -> Pending {
        let retry = Retry { first_failed: 0, tries: 3, next_try, why: "no".into() };
        Pending { place: Place::new(place), retry }
    }

    #[test]
    fn what_the_store_has_not_heard_outlives_a_reconnection_and_the_rest_is_as_stored() {
        let mut uids = PendingUids::default();
        uids.resume(7, vec![pending("7:1", 50), pending("7:2", 60), pending("6:3", 0), pending("a.host", 0)]);
        assert_eq!(uids.take_news(), (Vec::new(), vec![Place::new("6:3"), Place::new("a.host")]));
        uids.failed(2, 100, "still no");
        uids.failed(9, 100, "no");
        uids.resume(7, vec![pending("7:2", 60), pending("7:4", 70)]);
        assert!(!uids.contains(1), "the store knows it no more");
        let (news, gone) = uids.take_news();
        let tries: Vec<_> = news.iter().map(|one| (one.place.as_str(), one.retry.tries)).collect();
        assert_eq!((tries, gone), (vec![("7:2", 4), ("7:9", 1)], vec![]));
        assert_eq!(uids.take_news(), (vec![], vec![]), "told once");
        uids.resume(8, vec![pending("7:2", 60)]);
        assert!(!uids.contains(2) && uids.due(i64::MAX).is_none());
    }

    #[test]
    fn the_one_that_waits_longest_comes_first() {
        let mut uids = PendingUids::default();
        uids.resume(7, vec![pending("7:1", 50), pending("7:2", 40)]);
        assert_eq!((uids.due(39), uids.until_next(39)), (None, Some(Duration::from_secs(1))));
        assert_eq!((uids.due(60), uids.until_next(60)), (Some(2), Some(Duration::ZERO)));
        assert!(uids.ask(1) && !uids.ask(9));
        assert_eq!(uids.due(39), Some(1));
        uids.gone(2);
        uids.remove(1);
        assert_eq!((uids.due(60), uids.until_next(60)), (None, None));
        assert_eq!(uids.take_news(), (vec![], vec![Place::new("7:2")]));
    }
}
