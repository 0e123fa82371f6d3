//! What happened to one address, in the order in which it was recorded -> what the list would say of it, had it been
//! judged by today's tables and policy from the beginning. What persons decided stays decided. Pure, like the rest of the
//! plan.

use std::collections::HashMap;

use super::{List, Of};
use crate::{
    policy::{Case, Policy},
    report::Address,
    store::{
        EventKind,
        brake::NewlyDead,
        plan::{DAEMON, NewEntry, NewSign},
    },
    suppression::{History, InForce, Origin, Past, Sign, Suppression, Why},
};

/// Something that happened to an address.
#[derive(Debug)]
pub(in crate::store) enum Step<'a> {
    /// A bounce that counts, or a complaint; `remote` says whose verdict a hard one is, `held` why what came of it waits
    /// for a person, where it does.
    Case { case: Case<'a>, remote: Option<String>, message: i64, held: Option<Why> },
    /// It showed that it lives.
    Alive { at: i64 },
    /// It did so for the last time. Of the signs before this one only those are known that changed something.
    LastSign { at: i64 },
    /// The list changed, and nobody but an event tells of it.
    Change(Change),
}

/// An event of the list.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Change {
    pub kind: EventKind,
    pub at: i64,
    pub origin: Option<Origin>,
    pub expires: Option<i64>,
    /// The row of the bounce or the complaint that it is about.
    pub row: Option<i64>,
    /// Whether a person did it.
    pub by_person: bool,
    /// Whether it is about the whole domain.
    pub of_domain: bool,
}

/// What the list would say.
#[derive(Debug, Default)]
pub(in crate::store) struct Replayed<'a> {
    /// The entry, and since when it would be there; `None` where there would be none, or a person decides.
    pub entry: Option<(NewEntry<'a>, i64)>,
    /// Of an entry by a hard bounce, whether it is newly dead by it.
    pub newly_dead: Option<NewlyDead>,
    /// The bounces that count.
    pub past: Vec<Past>,
    /// Whether a sign of life that nobody kept may have kept the entry off the list, or made it shorter.
    pub is_doubtful: bool,
    /// Whether what the list says is a person's word.
    pub by_person: bool,
    /// Whether something would wait for a person.
    pub waits: bool,
}

/// Goes through what happened to an address until `now`.
pub(in crate::store) fn replay<'a>(
    policy: &Policy,
    address: &'a Address,
    steps: Vec<Step<'a>>,
    now: i64,
) -> Replayed<'a> {
    let mut list = List::new(HashMap::new(), 0, DAEMON);
    let mut persons = Persons::default();
    // The entry that was there when it last showed that it lives, by its event.
    let mut before_last_sign = None;
    for step in steps {
        match step {
            Step::Case { case, remote, message, held } => {
                list.of(address).0.known.history.allowed = persons.allow();
                list.learn_and(policy, &case, remote, message, || held);
            }
            Step::Alive { at } => list.revive(address, sign_at(address, at)),
            Step::LastSign { at } => {
                before_last_sign = list.of(address).0.entry.as_ref().map(|entry| entry.revision);
                list.revive(address, sign_at(address, at));
                // It was kept: so something was known of the address, whatever is stored of that.
                let history = &mut list.of(address).0.known.history;
                history.alive_at = history.alive_at.max(Some(at));
            }
            Step::Change(change) => persons.change(list.of(address).0, change),
        }
    }
    let (of, events) = list.of(address);
    of.expire(now, events);
    let Some(InForce { since, .. }) = of.known.history.entry else {
        let waits = of.known.history.held.is_some_and(|held| held.why != Why::Alive);
        return Replayed { waits, ..Replayed::default() };
    };
    let entry = of.entry.take();
    let is_doubtful = entry.as_ref().is_some_and(|entry| {
        let Suppression { origin, causes, .. } = &entry.suppression;
        before_last_sign == Some(entry.revision) && (*origin == Origin::Soft || causes.len() > 1)
    });
    Replayed {
        by_person: entry.is_none(),
        entry: entry.map(|entry| (entry, since)),
        newly_dead: of.newly_dead.take(),
        past: std::mem::take(&mut of.known.history.past),
        is_doubtful,
        waits: false,
    }
}

fn sign_at(address: &Address, at: i64) -> NewSign<'_> {
    NewSign { address: address.normalised(), at, sign: Sign::Told, message: None }
}

/// What persons have decided by now. An entry that is theirs has no row of its own here.
#[derive(Debug, Default)]
struct Persons {
    allowed: bool,
    allowed_domain: bool,
}

impl Persons {
    const fn allow(&self) -> bool {
        self.allowed || self.allowed_domain
    }

    fn change(&mut self, of: &mut Of<'_>, change: Change) {
        let Change { kind, at, origin, expires, row, by_person, of_domain } = change;
        // The entry of a domain is none of the address.
        if of_domain && !matches!(kind, EventKind::Allowed | EventKind::Disallowed) {
            return;
        }
        let history = &mut of.known.history;
        match kind {
            EventKind::Released => {
                history.released_at = history.released_at.max(Some(at));
                of.clear();
            }
            EventKind::Rejected => {
                history.released_at = history.released_at.max(Some(at));
                history.held = None;
                of.held = None;
            }
            EventKind::Expired if history.entry.is_some_and(|e| e.expires.is_some_and(|expires| expires <= at)) => {
                history.expired.push(at);
                of.clear();
            }
            EventKind::Suppressed if by_person => {
                // Who approves what waits decides what it is.
                let waits = of.held.take().and_then(|held| held.entry);
                let approved = waits.filter(|entry| row.is_some() && row == entry.bounce.or(entry.complaint));
                history.held = None;
                if let Some(entry) = approved {
                    let (origin, since) = (entry.suppression.origin, entry.suppression.since);
                    history.entry = Some(InForce { origin, since, expires });
                    of.entry = Some(entry);
                } else if let (None, Some(origin)) = (row, origin) {
                    let since = history.entry.map_or(at, |entry| entry.since);
                    history.entry = Some(InForce { origin, since, expires });
                    of.entry = None;
                }
            }
            EventKind::Allowed | EventKind::Disallowed => {
                let allowed = if of_domain { &mut self.allowed_domain } else { &mut self.allowed };
                *allowed = kind == EventKind::Allowed;
                if *allowed {
                    history.held = None;
                    of.held = None;
                    of.clear();
                }
                let history = &mut of.known.history;
                if !of_domain {
                    history.released_at = history.released_at.max(Some(at));
                }
            }
            // What else there is follows from what was told before.
            _ => {}
        }
    }
}

impl Of<'_> {
    /// Nothing is on the list and nothing waits.
    fn clear(&mut self) {
        let History { entry, held, .. } = &mut self.known.history;
        (*entry, *held) = (None, None);
        (self.entry, self.held) = (None, None);
    }
}
