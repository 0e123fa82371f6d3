//! A message as it lies in a mailbox, before anybody has read it: the types that sources and store share.

mod arrival;

use std::{fmt, sync::Arc};

pub use arrival::arrival;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

/// Where one message lies within its mailbox, in a form that only the source that made it reads: everybody else keeps
/// it, compares it and hands it back. For people there is [`describe`](crate::source::Source::describe).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place(String);

impl Place {
    /// For the source that makes it, and for the store that kept it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the source that made it, and for the store that keeps it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How far a mailbox was read, in a form that only the source that made it reads, like [`Place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// For the source that makes it, and for the store that kept it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the source that made it, and for the store that keeps it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One message as it lies in the mailbox.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it lies.
    pub place: Place,
    /// INTERNALDATE or the file's modification time, in seconds since 1970-01-01 UTC.
    pub received: i64,
    /// The size in octets, of the whole message even where `body` was cut.
    pub size: u64,
    /// The bytes; cut at the configured limit, so that memory stays bounded.
    pub body: Arc<[u8]>,
    /// Tells what was cut off from what another message with the same beginning lost; `None` where nothing was.
    pub rest: Option<[u8; 32]>,
    /// The addresses that it came to, where whoever handed it over said so. Where it lies in a mailbox its header says it.
    pub delivered_to: Vec<String>,
}

impl Message {
    /// What makes it the same message wherever it turns up again: SHA-256 of its bytes.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let body = Sha256::digest(&self.body);
        self.rest.map_or(body, |rest| Sha256::new().chain_update(body).chain_update(rest).finalize()).into()
    }
}

/// Messages that are read, judged and committed together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// What is true of the mailbox once they are committed.
    pub reading: Reading,
}

impl Batch {
    /// Whether there is nothing to commit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.reading.pending.is_empty() && self.reading.gone.is_empty()
    }
}

/// How far the reading of a mailbox has come; committed together with the messages that it speaks of.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Where to read on; never beyond a message that is neither committed nor pending. `None` where it did not move, or
    /// where the source finds out in another way what is new.
    pub cursor: Option<Cursor>,
    /// Messages that are there and could not be read now. One that was read at last is pending no longer by being
    /// committed.
    pub pending: Vec<Pending>,
    /// Places that were pending, and hold no message any more.
    pub gone: Vec<Place>,
}

/// A message that is there and could not be read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Where it lies.
    pub place: Place,
    /// When it is tried again.
    pub retry: Retry,
}

/// A step that failed for one message, and is tried again for as long as the message is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// When it failed for the first time, in seconds since 1970-01-01 UTC like all times here.
    pub first_failed: i64,
    /// How often it failed.
    pub tries: u32,
    /// When it is due again.
    pub next_try: i64,
    /// Why it failed the last time, for people.
    pub why: String,
}

impl Retry {
    /// The shortest and the longest wait, in seconds. In between a message waits half as long again as it has waited:
    /// a fault that is over after a minute is noticed within half a minute, one that lasts for days costs a few tries
    /// a day.
    const WAITS: (i64, i64) = (10, 6 * 3600);

    /// It failed at `now`; `before` says how it fared until then.
    #[must_use]
    pub fn after(before: Option<&Self>, now: i64, why: impl Into<String>) -> Self {
        let first_failed = before.map_or(now, |before| before.first_failed.min(now));
        let tries = before.map_or(0, |before| before.tries).saturating_add(1);
        let wait = ((now - first_failed) / 2).clamp(Self::WAITS.0, Self::WAITS.1);
        Self { first_failed, tries, next_try: now + wait, why: why.into() }
    }

    /// The process died over it at `now`: each try may stop the reading of everything else for a moment, so the first
    /// waits for an hour.
    #[must_use]
    pub fn after_death(before: Option<&Self>, now: i64, why: impl Into<String>) -> Self {
        let retry = Self::after(before, now, why);
        Self { next_try: retry.next_try.max(now + 3600), ..retry }
    }

    /// Whether it is time. A clock that was set back must not put it off for longer than the longest wait.
    #[must_use]
    pub const fn is_due(&self, now: i64) -> bool {
        now >= self.next_try || self.next_try - now > Self::WAITS.1
    }
}

/// What to do with a message whose rows are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It was a report: move, flag or leave it, as the mailbox is configured.
    Processed,
    /// It was none: leave it untouched.
    Untouched,
}

/// A message whose rows are committed, and of which its mailbox has perhaps not heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Where it lies.
    pub place: Place,
    /// What is to become of it.
    pub disposition: Disposition,
    /// How often that failed; `None` when it was not tried, or the process died over it.
    pub retry: Option<Retry>,
}

/// What an earlier run knew of a mailbox.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// Of the last batch that was committed and had one.
    pub cursor: Option<Cursor>,
    /// What could not be read yet.
    pub pending: Vec<Pending>,
    /// Whether the mailbox was ever read: what refuses it now did not always, and may stop doing so.
    pub worked: bool,
    /// Whom to ask what needs no second look.
    pub unrecorded: Unrecorded,
    /// Whether somebody only asks if the mailbox could be read: then nothing is made in it.
    pub only_looks: bool,
    /// Whether a daemon reads it meanwhile: what only one can have may be his then.
    pub is_read: bool,
}

/// Tells which of some places hold a message of which nothing is recorded, for a source that no cursor describes. The
/// default knows of no record.
#[derive(Clone, Default)]
pub struct Unrecorded(Option<Arc<Ask>>);

type Ask = dyn Fn(Vec<Place>) -> BoxFuture<'static, Result<Vec<Place>, String>> + Send + Sync;

impl Unrecorded {
    /// Of whoever keeps the records, and says in words why it can't answer now.
    pub fn told_by(
        ask: impl Fn(Vec<Place>) -> BoxFuture<'static, Result<Vec<Place>, String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// Which of these nothing is known of.
    ///
    /// # Errors
    /// Why nobody can tell now.
    pub async fn of(&self, places: Vec<Place>) -> Result<Vec<Place>, String> {
        match &self.0 {
            Some(ask) if !places.is_empty() => ask(places).await,
            _ => Ok(places),
        }
    }
}

impl fmt::Debug for Unrecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unrecorded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_that_begin_alike_are_two() {
        let message = |place: &str, rest| Message {
            place: Place::new(place),
            received: 7,
            size: 9,
            body: b"abcd".as_slice().into(),
            rest,
            delivered_to: Vec::new(),
        };
        let [whole, one, other] = [None, Some([1; 32]), Some([2; 32])].map(|rest| message("1", rest).sha256());
        assert_eq!(whole, <[u8; 32]>::from(Sha256::digest(b"abcd")));
        assert!(whole != one && one != other);
        assert_eq!(one, message("2", Some([1; 32])).sha256(), "wherever it lies");
    }

    #[test]
    fn what_fails_for_long_is_tried_less_and_less_often_and_never_given_up() {
        let mut retry = Retry::after(None, 1_000, "no");
        assert_eq!((retry.first_failed, retry.tries, retry.next_try), (1_000, 1, 1_010));
        let mut tries_in_the_first_hour = 0;
        for day in 0..30 {
            while retry.next_try < 1_000 + (day + 1) * 86_400 {
                let now = retry.next_try;
                assert!(!retry.is_due(now - 1) && retry.is_due(now));
                retry = Retry::after(Some(&retry), now, "still no");
                let (waited, wait) = (now - 1_000, retry.next_try - now);
                assert!(wait <= (waited / 2).max(10) && wait <= 6 * 3600, "{wait} s after {waited} s");
                tries_in_the_first_hour += u32::from(waited < 3600);
            }
        }
        assert!((10..20).contains(&tries_in_the_first_hour), "{tries_in_the_first_hour}");
        assert_eq!((retry.first_failed, retry.why.as_str()), (1_000, "still no"));
        assert!(retry.is_due(0), "the clock was set back to 1970");
    }
}
