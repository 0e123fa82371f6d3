//! What a batch makes of the suppression list: what is known of each address while its messages are read one after the
//! other, and the rows and events that come out of it. Pure, like the plan that it is a part of.

mod replay;

use std::collections::{BTreeMap, HashMap};

pub(super) use replay::{Change, Replayed, Step, replay};

use super::{
    EventKind,
    brake::{Braked, Dead, Hours, NewlyDead, Verdicts},
    plan::{KnownAddress, NewEntry, NewEvent, NewHeld, NewSign},
};
use crate::{
    policy::{Case, CaseKind, Policy, brake::Brake},
    report::Address,
    suppression::{History, InForce, Origin, Past, Suppression, Waiting, Why},
};

/// What a commit makes of the suppression list and of what waits: first the rows that go, then those that come. Of each
/// address there is one of each at most.
#[derive(Debug, Default)]
pub(super) struct ListChanges<'a> {
    /// Addresses whose entry ends.
    pub ended: Vec<&'a str>,
    /// Entries that are made, or take the place of what the address has but for `since` and `note`.
    pub entries: Vec<NewEntry<'a>>,
    /// Addresses about which nothing waits any more.
    pub let_go: Vec<&'a str>,
    /// What waits for a person.
    pub held: Vec<NewHeld<'a>>,
    /// The last sign of life of each address of which something is known.
    pub signs: Vec<NewSign<'a>>,
    /// Addresses that waited for another verdict of the kind, and come onto the list by it.
    pub confirmed: Vec<&'a str>,
    /// How many addresses each remote newly called dead.
    pub dead: Vec<Dead>,
    /// Hours of remotes of which what was believed before waits now.
    pub taken_back: Braked,
}

/// The list while a batch is read.
pub(super) struct List<'a> {
    known: HashMap<String, KnownAddress>,
    addresses: BTreeMap<&'a str, Of<'a>>,
    events: Events<'a>,
}

/// One address: what is known of it by now, and the rows that come out of it.
struct Of<'a> {
    address: &'a str,
    domain: &'a str,
    known: KnownAddress,
    ended: bool,
    entry: Option<NewEntry<'a>>,
    let_go: bool,
    held: Option<NewHeld<'a>>,
    sign: Option<NewSign<'a>>,
    /// Whether the entry is by a hard bounce, the first one of the address that is believed.
    newly_dead: Option<NewlyDead>,
    /// The entry of the same batch that it replaces.
    replaced: Option<NewEntry<'a>>,
}

/// What happened to the list, in order.
struct Events<'a> {
    all: Vec<NewEvent<'a>>,
    last_revision: i64,
    actor: &'a str,
}

impl<'a> List<'a> {
    /// The list as it was before; `actor` changes it, and the revision of the first change is the one behind
    /// `last_revision`.
    pub(super) const fn new(known: HashMap<String, KnownAddress>, last_revision: i64, actor: &'a str) -> Self {
        let events = Events { all: Vec::new(), last_revision, actor };
        Self { known, addresses: BTreeMap::new(), events }
    }

    fn of(&mut self, address: &'a Address) -> (&mut Of<'a>, &mut Events<'a>) {
        let (address, domain) = (address.normalised(), address.domain());
        let known = &mut self.known;
        let of = self.addresses.entry(address).or_insert_with(|| Of {
            address,
            domain,
            known: known.remove(address).unwrap_or_default(),
            ended: false,
            entry: None,
            let_go: false,
            held: None,
            sign: None,
            newly_dead: None,
            replaced: None,
        });
        (of, &mut self.events)
    }

    /// A bounce that counts, or a complaint, that a message brought; that one may put `left` more addresses onto the
    /// list. `remote` says whose verdict a hard bounce is.
    pub(super) fn learn(
        &mut self,
        policy: &Policy,
        case: &Case<'a>,
        remote: Option<String>,
        message: i64,
        left: &mut u32,
    ) {
        self.learn_and(policy, case, remote, message, || match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                None
            }
            None => Some(Why::Flood),
        });
    }

    /// The same, where `waits` says why what would come onto the list waits for a person, if it does.
    fn learn_and(
        &mut self,
        policy: &Policy,
        case: &Case<'a>,
        remote: Option<String>,
        message: i64,
        waits: impl FnOnce() -> Option<Why>,
    ) {
        let (of, events) = self.of(case.address);
        of.expire(case.at, events);
        let decided = policy.decide(&of.known.history, case);
        if decided.is_none() {
            let doubtful = policy.decide_if_true(&of.known.history, case);
            if let Some(suppression) = doubtful.filter(|doubtful| of.is_left_to_a_person(doubtful.origin)) {
                of.hold(Why::Unverified, case, suppression, remote, message, events);
            }
        } else if let Some(suppression) = decided.filter(|found| !of.waits_on(found.origin, case.at, &policy.brake)) {
            match waits() {
                None => of.put(case, suppression, remote, message, events),
                Some(_) if suppression.origin == Origin::Soft && of.known.history.held.is_some() => {}
                Some(why) => of.hold(why, case, suppression, remote, message, events),
            }
        }
        if let (CaseKind::Bounce, Some(verdict)) = (case.kind, case.verdict) {
            of.known.history.past.push(Past {
                bounce: case.row,
                at: case.at,
                class: verdict.class,
                reason: verdict.reason,
                fault: verdict.fault,
                mailbox: Some(case.mailbox.to_owned()),
                trust: case.trust,
            });
        }
    }

    /// A sign of life; of an address of which nothing is known it says nothing.
    pub(super) fn revive(&mut self, address: &'a Address, sign: NewSign<'a>) {
        let (of, events) = self.of(address);
        of.expire(sign.at, events);
        // Most are of people of whom nobody ever doubted it.
        if of.known.is_anything() {
            of.revive(sign, events);
        }
    }

    /// Whether anything is known of an address by now.
    pub(super) fn knows(&mut self, address: &'a Address) -> bool {
        self.of(address).0.known.is_anything()
    }

    /// What comes out of all that, the events in the order of their revisions.
    pub(super) fn finish(self) -> (ListChanges<'a>, Vec<NewEvent<'a>>) {
        self.finish_as(ListChanges::default())
    }

    /// The same, but who died in an hour in which more died than can be true waits.
    pub(super) fn finish_braked(
        mut self,
        brake: &Brake,
        hours: HashMap<String, Hours>,
    ) -> (ListChanges<'a>, Vec<NewEvent<'a>>) {
        let changes = self.put_the_brake_on(brake, hours);
        self.finish_as(changes)
    }

    fn finish_as(self, mut changes: ListChanges<'a>) -> (ListChanges<'a>, Vec<NewEvent<'a>>) {
        for of in self.addresses.into_values() {
            changes.signs.extend(of.sign);
            changes.ended.extend(of.ended.then_some(of.address));
            changes.entries.extend(of.entry);
            changes.let_go.extend(of.let_go.then_some(of.address));
            changes.held.extend(of.held);
        }
        (changes, self.events.all)
    }

    fn put_the_brake_on(&mut self, brake: &Brake, hours: HashMap<String, Hours>) -> ListChanges<'a> {
        let mut verdicts = Verdicts::new(brake, hours);
        for (entry, newly_dead) in self.addresses.values().filter_map(Of::newly_dead) {
            verdicts.count(entry, newly_dead);
        }
        verdicts.judge();
        let mut confirmed = Vec::new();
        for of in self.addresses.values_mut() {
            let Some((entry, &newly_dead)) = of.newly_dead() else { continue };
            if verdicts.waits(entry, &newly_dead, &of.known.history.past) {
                of.wait(newly_dead, &mut self.events);
            } else if newly_dead.waited.is_some() {
                confirmed.push(of.address);
            }
        }
        let (dead, taken_back) = verdicts.finish();
        ListChanges { confirmed, dead, taken_back, ..ListChanges::default() }
    }
}

impl<'a> Of<'a> {
    /// Ends an entry whose time was over at `at`.
    fn expire(&mut self, at: i64, events: &mut Events<'a>) {
        let origin = self.known.history.entry.map(|entry| entry.origin);
        if let Some(expired) = self.known.history.expire(at) {
            self.end();
            self.tell(EventKind::Expired, expired, origin, events);
        }
    }

    /// The rows of an entry that is no longer in force.
    fn end(&mut self) {
        self.ended = true;
        self.entry = None;
        self.newly_dead = None;
        self.known.history.entry = None;
        if self.known.history.held.is_some_and(|held| held.why == Why::Alive) {
            self.stop_waiting();
        }
    }

    fn stop_waiting(&mut self) {
        self.let_go = true;
        self.held = None;
        self.known.history.held = None;
    }

    fn tell<'e>(
        &mut self,
        kind: EventKind,
        at: i64,
        origin: Option<Origin>,
        events: &'e mut Events<'a>,
    ) -> &'e mut NewEvent<'a> {
        events.last_revision += 1;
        let before = self.known.last_change.replace(events.last_revision);
        let (address, actor) = (Some(self.address), Some(events.actor));
        events.all.push(NewEvent { address, origin, before, actor, ..NewEvent::new(events.last_revision, kind, at) });
        events.all.last_mut().expect("it was pushed just now")
    }

    fn new_entry(
        &mut self,
        kind: EventKind,
        case: &Case<'a>,
        suppression: Suppression,
        remote: Option<String>,
        events: &mut Events<'a>,
    ) -> NewEntry<'a> {
        let (bounce, complaint) = match case.kind {
            CaseKind::Bounce => (suppression.causes.last().copied(), None),
            CaseKind::Complaint => (None, Some(case.row)),
        };
        let event = self.tell(kind, suppression.since, Some(suppression.origin), events);
        event.bounce = bounce;
        event.complaint = complaint;
        event.reason = suppression.reason;
        event.policy.clone_from(&suppression.policy);
        event.expires = suppression.expires;
        event.causes.clone_from(&suppression.causes);
        let revision = event.revision;
        let (address, domain) = (self.address, self.domain);
        NewEntry { address, domain, suppression, bounce, complaint, remote, revision }
    }

    /// Puts the address onto the list, or another entry in the place of the one that it has.
    fn put(
        &mut self,
        case: &Case<'a>,
        mut suppression: Suppression,
        remote: Option<String>,
        message: i64,
        events: &mut Events<'a>,
    ) {
        let history = &self.known.history;
        let waited = history.held.filter(|held| held.why == Why::Outage);
        // Soft bounces and imports do not say that it is dead.
        self.newly_dead = (suppression.origin == Origin::Hard).then_some(NewlyDead {
            message,
            at: suppression.since,
            waited,
            before: history.entry,
        });
        let (origin, expires) = (suppression.origin, suppression.expires);
        if let Some(waited) = waited {
            suppression.since = waited.since.min(suppression.since);
        }
        let since = history.entry.map_or(suppression.since, |entry| entry.since);
        // Read late: it has shown since then that it lives.
        let revived = history.alive_at.filter(|&alive| alive > suppression.since && origin == Origin::Hard);
        // A soft entry is no answer to what waits for worse.
        let answers = |held: Waiting| {
            origin != Origin::Soft
                || held.why == Why::Alive
                || (held.why == Why::Unverified && held.origin == Origin::Soft)
        };
        if history.held.is_some_and(answers) {
            self.stop_waiting();
        }
        let mut entry = self.new_entry(EventKind::Suppressed, case, suppression, remote, events);
        entry.suppression.since = since;
        self.replaced = self.entry.replace(entry);
        self.known.history.entry = Some(InForce { origin, since, expires });
        if let Some(at) = revived {
            self.ask_whether_alive(origin, at, None, events);
        }
    }

    /// What would have come onto the list waits for a person. A later message that says the same takes the place of the
    /// one before.
    fn hold(
        &mut self,
        why: Why,
        case: &Case<'a>,
        suppression: Suppression,
        remote: Option<String>,
        message: i64,
        events: &mut Events<'a>,
    ) {
        let entry = self.new_entry(EventKind::Held, case, suppression, remote, events);
        let (origin, since, revision) = (entry.suppression.origin, entry.suppression.since, entry.revision);
        let (address, domain) = (self.address, self.domain);
        let (message, entry) = (Some(message), Some(entry));
        self.held = Some(NewHeld { why, address, domain, origin, since, message, entry, revision });
        self.known.history.held = Some(Waiting { why, origin, since });
    }

    /// Whether it waits to be called dead again, and this is too soon.
    fn waits_on(&self, origin: Origin, at: i64, brake: &Brake) -> bool {
        let held = self.known.history.held.filter(|held| held.why == Why::Outage && origin == Origin::Hard);
        held.is_some_and(|held| !brake.confirms(held.since, at))
    }

    /// Whether a person is to see what nobody vouches for. What waits for another reason has been vouched for; and of the
    /// first of many soft bounces that are not to be believed there is enough to see.
    fn is_left_to_a_person(&self, origin: Origin) -> bool {
        self.known.history.held.is_none_or(|held| held.why == Why::Unverified && origin != Origin::Soft)
    }

    fn newly_dead(&self) -> Option<(&NewEntry<'a>, &NewlyDead)> {
        self.entry.as_ref().zip(self.newly_dead.as_ref())
    }

    /// What was put onto the list just now waits instead, unless the address has shown since then that it lives. What it
    /// took the place of stays.
    fn wait(&mut self, NewlyDead { message, at, waited, before }: NewlyDead, events: &mut Events<'a>) {
        let Some(mut entry) = std::mem::replace(&mut self.entry, self.replaced.take()) else { return };
        self.known.history.entry = before;
        events.of(entry.revision).kind = EventKind::Held;
        if let Some(alive) = self.known.history.alive_at.filter(|&alive| alive >= at) {
            match self.held.take() {
                Some(asked) => events.of(asked.revision).kind = EventKind::Revived,
                None => drop(self.tell(EventKind::Revived, alive, None, events)),
            }
            self.stop_waiting();
            if before.is_some_and(|before| before.origin == Origin::Soft) {
                self.end();
            }
            return;
        }
        let (why, since) = (Why::Outage, waited.map_or(at, |waited| waited.since));
        entry.suppression.since = since;
        let (address, domain, origin, revision) = (self.address, self.domain, entry.suppression.origin, entry.revision);
        let (message, entry) = (Some(message), Some(entry));
        self.held = Some(NewHeld { why, address, domain, origin, since, message, entry, revision });
        self.known.history.held = Some(Waiting { why, origin, since });
    }

    /// Who is on the list for good and shows signs of life is shown to a person.
    fn ask_whether_alive(&mut self, origin: Origin, since: i64, message: Option<i64>, events: &mut Events<'a>) {
        let revision = self.tell(EventKind::Held, since, Some(origin), events).revision;
        let (address, domain, why) = (self.address, self.domain, Why::Alive);
        self.held = Some(NewHeld { why, address, domain, origin, since, message, entry: None, revision });
        self.known.history.held = Some(Waiting { why, origin, since });
    }

    fn revive(&mut self, sign: NewSign<'a>, events: &mut Events<'a>) {
        let at = sign.at;
        let before = self.known.history.alive_at;
        self.known.history.alive_at = before.max(Some(at));
        if self.sign.is_none_or(|last| last.at < at) {
            self.sign = Some(sign);
        }
        // What waits to come onto the list does so for a mail that is older than this sign.
        if self.known.history.held.is_some_and(|held| held.why != Why::Alive && held.since <= at) {
            self.stop_waiting();
            self.tell(EventKind::Revived, at, None, events);
        }
        let Some(entry) = self.known.history.entry.filter(|entry| entry.since <= at) else { return };
        match entry.origin {
            Origin::Soft => {
                self.end();
                self.tell(EventKind::Revived, at, Some(Origin::Soft), events);
            }
            // Asked once: who said no is not asked again by each answer of the same program.
            Origin::Hard | Origin::Import if before.is_none_or(|before| before < entry.since) => {
                self.ask_whether_alive(entry.origin, at, sign.message, events);
            }
            // Who complains lives, and a person knew what he did.
            Origin::Hard | Origin::Import | Origin::Complaint | Origin::Manual => {}
        }
    }
}

impl<'a> Events<'a> {
    /// One of those that happened here.
    fn of(&mut self, revision: i64) -> &mut NewEvent<'a> {
        let at = self.all.binary_search_by_key(&revision, |event| event.revision);
        &mut self.all[at.expect("the rows of a batch have the revisions of its events")]
    }
}

impl KnownAddress {
    /// Whether a sign of life of this address says anything to anybody.
    const fn is_anything(&self) -> bool {
        let History { past, released_at, expired, entry, held, .. } = &self.history;
        !past.is_empty() || !expired.is_empty() || released_at.is_some() || entry.is_some() || held.is_some()
    }
}
