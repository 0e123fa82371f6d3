//! What is known of the messages in a mail server's queue, until they leave it. Bounded: the oldest are forgotten first.

use std::collections::{BTreeMap, VecDeque};

use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::Delivery;
use crate::{codes::EnhancedStatusCode, text::Address};

/// How much is remembered, by [`Queued::weight`]: so many messages of the usual kind.
const MOST: usize = 200_000;

/// More recipients of one message that wait are not remembered, which is told. Postfix takes 1,000 by SMTP; a program on the
/// same machine may name more.
const MOST_DEFERRED: usize = 10_000;

/// The octets that are kept of what servers and senders choose, but of a Message-ID, which is compared: RFC 5322 §2.1.1
/// gives it a line.
const LONGEST: usize = 400;
const LONGEST_MESSAGE_ID: usize = 998;

/// A message in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// When it was first heard of, in seconds since 1970-01-01 UTC.
    pub since: i64,
    /// Without angle brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The envelope sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The value of its campaign header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// The place of that header in the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign_rank: Option<usize>,
    /// Whether our own programs have sent it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ours: bool,
    /// Whoever did not get it at the first attempt, by address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deferred: BTreeMap<String, Deferral>,
    /// Whether there were too many of them to remember all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
    /// No message, but the line that a process has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
}

/// A line of which not all pieces have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The number of the next piece.
    pub next: usize,
    /// The number of the last one.
    pub last: usize,
    /// What has come.
    pub line: String,
}

/// A recipient that waits, and the last answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// The address that was mailed.
    pub recipient: String,
    /// What an alias made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_recipient: Option<String>,
    /// The enhanced status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The server that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_mta: Option<String>,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether it is to go to another server.
    pub outbound: bool,
}

impl Deferral {
    /// The enhanced status code.
    pub(super) fn status(&self) -> Option<EnhancedStatusCode> {
        self.status.as_deref()?.parse().ok()
    }
}

impl Queued {
    /// What was last answered for a recipient.
    pub(super) fn deferral(&self, recipient: &Address, final_recipient: Option<&str>) -> Option<&Deferral> {
        // Most messages arrive at once.
        if self.deferred.is_empty() { None } else { self.deferred.get(&key(recipient, final_recipient)) }
    }

    /// The header that stands first in the settings names the campaign, whatever their order in the message.
    pub(super) fn name_campaign(&mut self, value: &str, rank: usize) {
        if self.campaign_rank.is_none_or(|known| rank < known) {
            self.campaign = Some(clipped(value, LONGEST));
            self.campaign_rank = Some(rank);
        }
    }

    pub(super) fn set_sender(&mut self, sender: &str) {
        self.sender = Some(clipped(sender, LONGEST));
        // An automatic answer goes to whomever a stranger named.
        self.ours &= !sender.is_empty();
    }

    fn weight(&self) -> usize {
        let texts = [&self.message_id, &self.sender, &self.campaign].into_iter().flatten();
        let texts = texts.chain(self.unfinished.as_ref().map(|unfinished| &unfinished.line));
        1 + texts.map(|text| text.len() / 100).sum::<usize>() + 2 * self.deferred.len()
    }
}

/// An alias may lead to several.
fn key(recipient: &Address, final_recipient: Option<&str>) -> String {
    final_recipient.map_or_else(
        || recipient.normalised().to_owned(),
        |final_recipient| [recipient.normalised(), " ", final_recipient].concat(),
    )
}

fn clipped(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

#[derive(Debug)]
struct Entry {
    queued: Queued,
    /// Which of the marks in `ages` is its own.
    age: u64,
    /// Whether whoever keeps this elsewhere has it.
    is_kept: bool,
    /// Whether it is counted in `of_others`.
    is_counted: bool,
}

/// The messages by queue id.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: HashMap<String, Entry>,
    /// Of all entries together.
    weight: usize,
    /// In the order in which they came; with those that have left, until they are too many.
    ages: VecDeque<(u64, String)>,
    next_age: u64,
    /// What is to be kept or forgotten elsewhere.
    changed: HashSet<String>,
    /// How many messages with this Message-ID others have sent.
    of_others: HashMap<String, u32>,
    /// The messages with too many recipients that wait, since that was asked last.
    crowded: Vec<String>,
    /// How many recipients that waited were forgotten since then.
    forgotten: usize,
}

impl Queue {
    pub(super) fn load(&mut self, queued: impl IntoIterator<Item = (String, Queued)>) {
        let mut all: Vec<_> = queued.into_iter().collect();
        all.sort_by_key(|(_, queued)| queued.since);
        for (id, queued) in all {
            self.end(&id);
            self.insert(&id, queued, true);
            self.count(&id);
        }
        self.bound();
    }

    pub(super) fn take_changes(&mut self) -> Vec<(String, Option<Queued>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed
            .map(|id| {
                let queued = self.entries.get_mut(&id).map(|entry| {
                    entry.is_kept = true;
                    entry.queued.clone()
                });
                (id, queued)
            })
            .collect()
    }

    pub(super) fn take_unremembered(&mut self) -> Vec<String> {
        let crowded = std::mem::take(&mut self.crowded).into_iter();
        let mut told: Vec<_> = crowded
            .map(|id| {
                format!(
                    "more than {MOST_DEFERRED} recipients of message {id} wait; of the others nothing is known when \
                     it expires"
                )
            })
            .collect();
        let forgotten = std::mem::take(&mut self.forgotten);
        if forgotten > 0 {
            told.push(format!(
                "more messages wait than are remembered; nothing is known of {forgotten} recipients of the oldest when \
                 these expire"
            ));
        }
        told
    }

    pub(super) fn get(&self, id: &str) -> Option<&Queued> {
        self.entries.get(id).map(|entry| &entry.queued)
    }

    /// Changes a message, of which nothing is known where it is new.
    pub(super) fn change<T>(&mut self, id: &str, at: i64, change: impl FnOnce(&mut Queued) -> T) -> T {
        if !self.entries.contains_key(id) {
            self.insert(id, Queued { since: at, ..Queued::default() }, false);
        }
        if !self.changed.contains(id) {
            self.changed.insert(id.to_owned());
        }
        let queued = &mut self.entries.get_mut(id).expect("it is there, or was put there").queued;
        let before = queued.weight();
        let changed = change(queued);
        self.weight = self.weight - before + queued.weight();
        self.bound();
        changed
    }

    pub(super) fn identify(&mut self, id: &str, at: i64, message_id: &str) {
        if message_id.is_empty() || self.get(id).is_some_and(|queued| queued.message_id.is_some()) {
            return;
        }
        let message_id = clipped(message_id, LONGEST_MESSAGE_ID);
        let is_of_others = self.of_others.contains_key(&message_id);
        self.change(id, at, |queued| {
            queued.message_id = Some(message_id);
            // What a filter hands back comes from this machine, and is still the stranger's who has sent it.
            queued.ours &= !is_of_others;
        });
        self.count(id);
    }

    /// Counts a message of others.
    fn count(&mut self, id: &str) {
        if let Some(entry) = self.entries.get_mut(id)
            && !entry.queued.ours
            && let Some(message_id) = &entry.queued.message_id
        {
            *self.of_others.entry(message_id.clone()).or_default() += 1;
            entry.is_counted = true;
        }
    }

    /// Remembers that a recipient waits.
    pub(super) fn defer(&mut self, id: &str, delivery: &Delivery) {
        let deferral = Deferral {
            recipient: delivery.recipient.given().to_owned(),
            final_recipient: delivery.final_recipient.clone(),
            status: delivery.status.map(|status| status.to_string()),
            remote_mta: delivery.remote_mta.as_deref().map(|remote_mta| clipped(remote_mta, LONGEST)),
            text: delivery.text.as_deref().map(|text| clipped(text, LONGEST)),
            outbound: delivery.outbound,
        };
        let key = key(&delivery.recipient, delivery.final_recipient.as_deref());
        let deferred = self.get(id).map(|queued| &queued.deferred);
        let known = deferred.and_then(|deferred| deferred.get(&key));
        let is_full = deferred.is_some_and(|deferred| deferred.len() >= MOST_DEFERRED);
        if known.is_none() && is_full {
            if !self.change(id, delivery.at, |queued| std::mem::replace(&mut queued.has_more, true)) {
                self.crowded.push(id.to_owned());
            }
        } else if known != Some(&deferral) {
            self.change(id, delivery.at, |queued| queued.deferred.insert(key, deferral));
        }
    }

    /// It is not one of ours after all.
    pub(super) fn disown(&mut self, id: &str, at: i64) {
        if self.get(id).is_some_and(|queued| queued.ours) {
            self.change(id, at, |queued| queued.ours = false);
        }
    }

    /// A recipient waits no longer.
    pub(super) fn settle(&mut self, id: &str, delivery: &Delivery) {
        let key = key(&delivery.recipient, delivery.final_recipient.as_deref());
        self.change(id, delivery.at, |queued| queued.deferred.remove(&key));
    }

    /// Nobody waits any longer.
    pub(super) fn take_deferred(&mut self, id: &str, at: i64) -> BTreeMap<String, Deferral> {
        if self.get(id).is_none_or(|queued| queued.deferred.is_empty()) {
            return BTreeMap::new();
        }
        self.change(id, at, |queued| std::mem::take(&mut queued.deferred))
    }

    pub(super) fn end(&mut self, id: &str) {
        let Some(entry) = self.entries.remove(id) else { return };
        self.weight -= entry.queued.weight();
        if entry.is_kept {
            self.changed.insert(id.to_owned());
        } else {
            self.changed.remove(id);
        }
        if let Some(message_id) = entry.queued.message_id.filter(|_| entry.is_counted)
            && let Some(count) = self.of_others.get_mut(&message_id)
        {
            *count -= 1;
            if *count == 0 {
                self.of_others.remove(&message_id);
            }
        }
    }

    fn insert(&mut self, id: &str, queued: Queued, is_kept: bool) {
        // Whoever is still to be told that it has left has it.
        let is_kept = is_kept || self.changed.contains(id);
        self.weight += queued.weight();
        self.ages.push_back((self.next_age, id.to_owned()));
        self.entries.insert(id.to_owned(), Entry { queued, age: self.next_age, is_kept, is_counted: false });
        self.next_age += 1;
        if self.ages.len() > 2 * self.entries.len() + 1024 {
            let entries = &self.entries;
            self.ages.retain(|(age, id)| entries.get(id).is_some_and(|entry| entry.age == *age));
        }
    }

    fn bound(&mut self) {
        while self.weight > MOST && self.entries.len() > 1 {
            let Some((age, id)) = self.ages.pop_front() else { return };
            if let Some(entry) = self.entries.get(&id).filter(|entry| entry.age == age) {
                self.forgotten += entry.queued.deferred.len();
                self.end(&id);
            }
        }
    }
}
