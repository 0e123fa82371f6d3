//! What a store knows, a batch of judged messages and the policy -> everything that the commit writes. Pure: it knows
//! no SQL and no clock, so that every store commits the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    EventKind, TablesVersion,
    brake::Hours,
    failures::{Failures, Telling},
    list_changes::{List, ListChanges},
};
use crate::{
    codes::{Class, Reason},
    message::{Disposition, Place},
    policy::{Case, Policy, brake::hour_of},
    report::{Action, Address, Finding, Kind, Recipient, Report, Trust, Trusts, Verdict},
    suppression::{History, Origin, Sign, Suppression, Why},
};

/// One message with everything that is recorded of it.
#[derive(Debug, Clone)]
pub struct JudgedMessage {
    /// Where it lies.
    pub place: Place,
    /// SHA-256 of its bytes: what makes it the same message wherever it turns up again.
    pub sha256: [u8; 32],
    /// When the mailbox received it, in seconds since 1970-01-01 UTC.
    pub received: i64,
    /// Its size in octets.
    pub size: u64,
    /// What it said.
    pub report: Report,
    /// One verdict for each of `report.recipients`, in their order.
    pub verdicts: Vec<Verdict>,
    /// How far it can be believed.
    pub trusts: Trusts,
    /// The tables by which it was judged.
    pub tables: Arc<TablesVersion>,
    /// What is to become of it after the commit.
    pub disposition: Disposition,
}

/// What is known of an address before the batch.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownAddress {
    /// What the policy asks about.
    pub history: History,
    /// The revision of the last change of the list that was about it.
    pub last_change: Option<i64>,
}

/// What the store knows before the batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The SHA-256 of each message of the batch that is recorded.
    pub known: HashSet<[u8; 32]>,
    /// What is known of the addresses that [`addresses`] names.
    pub histories: HashMap<String, KnownAddress>,
    /// The highest row number that a message ever had.
    pub last_message: i64,
    /// The highest row number that a bounce ever had.
    pub last_bounce: i64,
    /// The highest row number that a complaint ever had.
    pub last_complaint: i64,
    /// The highest revision that an event ever had.
    pub last_revision: i64,
    /// The reports of the failures of which the batch tells that count already; `None` where nobody knows.
    pub failures: Option<Failures>,
    /// Of the remotes that may have called too many dead by now, how many they did before; and of all together, under
    /// the name of none.
    pub hours: HashMap<String, Hours>,
}

/// The rows of one commit, in the order of the batch.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Messages that were not recorded before.
    pub messages: Vec<NewMessage<'a>>,
    /// Their recipients.
    pub bounces: Vec<NewBounce<'a>>,
    /// Who complained.
    pub complaints: Vec<NewComplaint<'a>>,
    /// Bounces that were recorded before and count no more, since these tell of the same failures and know more.
    pub outdone: Vec<i64>,
    /// Signs of life that nobody vouches for, of addresses of which something is known.
    pub doubted: Vec<(NewSign<'a>, &'a JudgedMessage)>,
    /// What they change on the suppression list and of what waits for a person.
    pub list: ListChanges<'a>,
    /// One for each bounce, one for each complaint, then one for each change of the list.
    pub events: Vec<NewEvent<'a>>,
    /// The places of the whole batch, of messages that were recorded before as well.
    pub unsettled: Vec<(&'a Place, Disposition)>,
}

/// A row of `message`.
#[derive(Debug)]
pub(super) struct NewMessage<'a> {
    pub id: i64,
    pub judged: &'a JudgedMessage,
}

/// A row of `bounce`.
#[derive(Debug)]
pub(super) struct NewBounce<'a> {
    pub id: i64,
    pub message: i64,
    pub position: i64,
    pub judged: &'a JudgedMessage,
    pub recipient: &'a Recipient,
    pub verdict: &'a Verdict,
    /// The answer of [`Policy::counts`], unless another report has told of it.
    pub counts: bool,
    /// Whether it does not count because another report has told of the same failure.
    pub told_before: bool,
    /// Who takes the mail of the recipient, or refused it; `None` of who did not fail.
    pub provider: Option<String>,
    pub trust: Trust,
}

/// A row of `complaint`.
#[derive(Debug)]
pub(super) struct NewComplaint<'a> {
    pub id: i64,
    pub message: i64,
    pub position: i64,
    pub judged: &'a JudgedMessage,
    pub complainer: &'a Finding<Address>,
    /// Who takes the mail of the complainer.
    pub provider: String,
    pub trust: Trust,
}

/// A row of `suppression`.
#[derive(Debug, Clone)]
pub(super) struct NewEntry<'a> {
    pub address: &'a str,
    pub domain: &'a str,
    pub suppression: Suppression,
    pub bounce: Option<i64>,
    pub complaint: Option<i64>,
    /// Whose verdict it is, of an entry by a hard bounce.
    pub remote: Option<String>,
    /// The event that tells of it.
    pub revision: i64,
}

/// A row of `held`.
#[derive(Debug, Clone)]
pub(super) struct NewHeld<'a> {
    pub why: Why,
    pub address: &'a str,
    pub domain: &'a str,
    /// Of the entry that it is about.
    pub origin: Origin,
    /// When the mail was received that brought it.
    pub since: i64,
    /// That mail.
    pub message: Option<i64>,
    /// The entry that an approval makes; `None` where it takes one off.
    pub entry: Option<NewEntry<'a>>,
    /// The event that tells of it.
    pub revision: i64,
}

/// A row of `alive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewSign<'a> {
    pub address: &'a str,
    pub at: i64,
    pub sign: Sign,
    pub message: Option<i64>,
}

/// A row of `event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewEvent<'a> {
    pub revision: i64,
    pub at: i64,
    pub kind: EventKind,
    pub address: Option<&'a str>,
    pub origin: Option<Origin>,
    pub bounce: Option<i64>,
    pub complaint: Option<i64>,
    pub reason: Option<Reason>,
    pub policy: Option<String>,
    pub expires: Option<i64>,
    /// The rows of the bounces that were counted.
    pub causes: Vec<i64>,
    /// The revision of the change before, of the same address.
    pub before: Option<i64>,
    /// Who did it.
    pub actor: Option<&'a str>,
    pub note: Option<&'a str>,
}

/// Who does what nobody decides by hand.
pub(super) const DAEMON: &str = "bounced";

impl NewEvent<'_> {
    /// One that says nothing but what happened, and when.
    pub(super) const fn new(revision: i64, kind: EventKind, at: i64) -> Self {
        Self {
            revision,
            at,
            kind,
            address: None,
            origin: None,
            bounce: None,
            complaint: None,
            reason: None,
            policy: None,
            expires: None,
            causes: Vec::new(),
            before: None,
            actor: None,
            note: None,
        }
    }
}

/// The messages of a batch that are not recorded yet; of equal ones the first.
pub(super) fn fresh<'a>(batch: &'a [JudgedMessage], known: &HashSet<[u8; 32]>) -> Vec<&'a JudgedMessage> {
    let mut seen = HashSet::new();
    batch.iter().filter(|judged| !known.contains(&judged.sha256) && seen.insert(&judged.sha256)).collect()
}

/// The addresses, with their domains, whose histories [`Plan::new`] needs for these messages.
pub(super) fn addresses<'a>(
    mailbox: &'a str,
    fresh: &[&'a JudgedMessage],
    policy: &Policy,
) -> BTreeMap<&'a str, &'a str> {
    let named = |address: &'a Address| (address.normalised(), address.domain());
    let mut all = BTreeMap::new();
    for judged in fresh {
        let counting = reported(judged).filter_map(|(recipient, verdict, trust)| {
            let case = Case::of_bounce(mailbox, judged.received, 0, recipient, verdict, trust)?;
            policy.counts(&case).then_some(case.address)
        });
        all.extend(counting.map(named));
        all.extend(judged.report.complainers.iter().map(|complainer| named(&complainer.value)));
        all.extend(signs(judged).map(|(address, ..)| named(address)));
    }
    all
}

/// The endings of the formats of messages that are no mails but what a mail log says.
pub(super) const OF_MAIL_LOG: &str = "-log";

/// The address and the Message-ID by which a failure is found of which several reports tell.
pub(super) fn failure<'a>(judged: &'a JudgedMessage, recipient: &'a Recipient) -> Option<(&'a str, &'a str)> {
    let address = recipient.address.as_ref().filter(|_| recipient.action == Action::Failed)?;
    Some((address.normalised(), judged.report.original.message_id.as_deref()?))
}

/// The failures of which these messages tell that another one may have told, too.
pub(super) fn failures<'a>(fresh: &[&'a JudgedMessage]) -> BTreeSet<(&'a str, &'a str)> {
    let of = |judged: &'a JudgedMessage| reported(judged).filter_map(|(recipient, ..)| failure(judged, recipient));
    fresh.iter().flat_map(|&judged| of(judged)).collect()
}

/// By remote and hour, how many hard bounces of these messages count: more addresses are not newly called dead by them.
pub(super) fn hard_by_hour(
    mailbox: &str,
    fresh: &[&JudgedMessage],
    policy: &Policy,
) -> BTreeMap<String, BTreeMap<i64, i64>> {
    let mut all: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
    for judged in fresh {
        for (recipient, verdict, trust) in reported(judged).filter(|(_, verdict, _)| verdict.class == Class::Hard) {
            let case = Case::of_bounce(mailbox, judged.received, 0, recipient, verdict, trust);
            if let Some(case) = case.filter(|case| policy.counts(case)) {
                let hours = all.entry(remote(judged, recipient, policy)).or_default();
                *hours.entry(hour_of(case.at)).or_default() += 1;
            }
        }
    }
    all
}

/// Whose verdict it is.
fn remote(judged: &JudgedMessage, recipient: &Recipient, policy: &Policy) -> String {
    let domain = recipient.address.as_ref().map(Address::domain).unwrap_or_default();
    policy.brake.remote(domain, recipient.remote_mta.as_deref(), judged.report.reporting_mta.as_deref())
}

/// The recipients that a delivery report speaks of. Automatic answers and complaints report on no delivery.
pub(super) fn reported(judged: &JudgedMessage) -> impl Iterator<Item = (&Recipient, &Verdict, Trust)> {
    let reports = match judged.report.kind {
        Kind::Bounce | Kind::Delayed | Kind::Delivered => true,
        Kind::AutoReply | Kind::Complaint | Kind::NotBounce => false,
    };
    let judgements = judged.report.recipients.iter().zip(&judged.verdicts).filter(move |_| reports);
    judgements.map(|(recipient, verdict)| (recipient, verdict, judged.trusts.of(recipient.address.as_ref())))
}

/// Whom a message shows to be alive: whom a report calls reached, and who wrote it himself or let a program do so.
fn signs(judged: &JudgedMessage) -> impl Iterator<Item = (&Address, Sign, Trust)> {
    let reached = reported(judged)
        .filter(|(recipient, ..)| recipient.action == Action::Delivered)
        .filter_map(|(recipient, _, trust)| Some((recipient.address.as_ref()?, Sign::Delivered, trust)));
    let sign = match judged.report.kind {
        Kind::AutoReply => Some(Sign::AutoReply),
        Kind::NotBounce => Some(Sign::OwnMail),
        Kind::Bounce | Kind::Delayed | Kind::Delivered | Kind::Complaint => None,
    };
    let author = judged.report.author.as_ref().map(|author| &author.value);
    // The name of a domain entry is nobody's address.
    let written = author.zip(sign).map(|(address, sign)| (address, sign, judged.trusts.of(Some(address))));
    reached.chain(written).filter(|(address, ..)| address.local_part() != "*")
}

impl<'a> Plan<'a> {
    /// Plans the commit of one batch of a mailbox.
    ///
    /// A message that was recorded before adds no rows; its place still counts as unsettled. The policy is asked about
    /// each recipient in turn, and what it learns on the way counts for the ones after.
    pub(super) fn new(mailbox: &'a str, batch: &'a [JudgedMessage], policy: &Policy, facts: Facts) -> Self {
        let Facts { known, histories, last_message, last_bounce, last_complaint, last_revision, mut failures, hours } =
            facts;
        let messages: Vec<_> =
            (last_message + 1..).zip(fresh(batch, &known)).map(|(id, judged)| NewMessage { id, judged }).collect();
        let mut bounces: Vec<NewBounce<'a>> = Vec::with_capacity(messages.len());
        let mut complaints: Vec<NewComplaint<'a>> = Vec::new();
        let recorded: usize = messages
            .iter()
            .map(|NewMessage { judged, .. }| reported(judged).count() + judged.report.complainers.len())
            .sum();
        let behind = last_revision + i64::try_from(recorded).unwrap_or(i64::MAX);
        let mut list = List::new(histories, behind, DAEMON);
        let mut outdone: Vec<i64> = Vec::new();
        let mut doubted = Vec::new();
        for &NewMessage { id: message, judged } in &messages {
            let mut left = policy.most_per_message;
            let at = judged.received;
            for (position, (recipient, verdict, trust)) in (0..).zip(reported(judged)) {
                let id = bounces.last().map_or(last_bounce, |bounce| bounce.id) + 1;
                let case = Case::of_bounce(mailbox, at, id, recipient, verdict, trust);
                let counting = case.filter(|case| policy.counts(case));
                let told = failures.as_mut().zip(failure(judged, recipient)).map(|(failures, (to, message_id))| {
                    let is_believed = policy.demands.are_met(Some(mailbox), at, trust);
                    let telling = Telling { bounce: id, class: verdict.class, counts: counting.is_some(), is_believed };
                    failures.tell((to.to_owned(), message_id.to_owned()), telling)
                });
                let told_before = told == Some(None);
                outdone.extend(told.flatten().into_iter().flatten());
                let counting = counting.filter(|_| !told_before);
                let provider = (recipient.action == Action::Failed).then(|| remote(judged, recipient, policy));
                if let Some(case) = &counting {
                    let remote = provider.clone().filter(|_| verdict.class == Class::Hard);
                    list.learn(policy, case, remote, message, &mut left);
                }
                let counts = counting.is_some();
                bounces.push(NewBounce {
                    id,
                    message,
                    position,
                    judged,
                    recipient,
                    verdict,
                    counts,
                    told_before,
                    provider,
                    trust,
                });
            }
            for (position, complainer) in (0..).zip(&judged.report.complainers) {
                let trust = judged.trusts.of(Some(&complainer.value));
                let id = complaints.last().map_or(last_complaint, |complaint| complaint.id) + 1;
                let case = Case::of_complaint(mailbox, at, id, &complainer.value, trust);
                list.learn(policy, &case, None, message, &mut left);
                let provider = policy.brake.remote(complainer.value.domain(), None, None);
                complaints.push(NewComplaint { id, message, position, judged, complainer, provider, trust });
            }
            for (address, sign, trust) in signs(judged) {
                let sign = NewSign { address: address.normalised(), at, sign, message: Some(message) };
                if policy.demands.are_met(Some(mailbox), at, trust) {
                    list.revive(address, sign);
                } else if list.knows(address) {
                    doubted.push((sign, judged));
                }
            }
        }
        // Of those that stand beside each other.
        let (beside, outdone): (Vec<i64>, Vec<i64>) = outdone.into_iter().partition(|&id| id > last_bounce);
        let beside: HashSet<i64> = beside.into_iter().collect();
        for new in bounces.iter_mut().filter(|new| beside.contains(&new.id)) {
            (new.counts, new.told_before) = (false, true);
        }
        let (list, changes) = list.finish_braked(&policy.brake, hours);
        let events = recorded_events(&bounces, &complaints, last_revision).chain(changes).collect();
        let unsettled = batch.iter().map(|judged| (&judged.place, judged.disposition)).collect();
        Self { messages, bounces, complaints, outdone, doubted, list, events, unsettled }
    }
}

/// The event of a bounce or a complaint leads to its row and holds nothing else: there are many of them.
fn recorded_events<'a>(
    bounces: &[NewBounce<'a>],
    complaints: &[NewComplaint<'a>],
    last_revision: i64,
) -> impl Iterator<Item = NewEvent<'a>> {
    let bounces = bounces.iter().map(|new| (new.judged, EventKind::Bounce, Some(new.id), None));
    let complaints = complaints.iter().map(|new| (new.judged, EventKind::Complaint, None, Some(new.id)));
    (last_revision + 1..).zip(bounces.chain(complaints)).map(|(revision, (judged, kind, bounce, complaint))| NewEvent {
        bounce,
        complaint,
        ..NewEvent::new(revision, kind, judged.received)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        codes::Fault,
        policy::DAY,
        report::Evidence,
        suppression::{InForce, Past, Waiting},
    };

    const MAILBOX: &str = "bounces";

    /// A store of the simplest kind: it keeps what it is told to write, and tells it again.
    #[derive(Debug, Default, Clone, PartialEq)]
    struct Memory {
        messages: Vec<(i64, [u8; 32])>,
        /// Row, message, address, what a history says of it, whether it counts.
        bounces: Vec<(i64, i64, Option<String>, Past, bool)>,
        /// Row, message, address.
        complaints: Vec<(i64, i64, String)>,
        list: BTreeMap<String, InForce>,
        held: BTreeMap<String, Waiting>,
        alive: BTreeMap<String, i64>,
        released: BTreeMap<String, i64>,
        expired: BTreeMap<String, Vec<i64>>,
        events: Vec<(EventKind, Option<String>, Option<i64>)>,
    }

    impl Memory {
        fn facts(&self, batch: &[JudgedMessage]) -> Facts {
            let known = self.messages.iter().map(|(_, sha256)| *sha256).collect();
            let asked = addresses(MAILBOX, &fresh(batch, &known), &Policy::default());
            let histories = asked.into_keys().map(|address| {
                let past =
                    self.bounces.iter().filter(|(_, _, of, _, counts)| *counts && of.as_deref() == Some(address));
                let history = History {
                    past: past.map(|bounce| bounce.3.clone()).collect(),
                    released_at: self.released.get(address).copied(),
                    expired: self.expired.get(address).cloned().unwrap_or_default(),
                    alive_at: self.alive.get(address).copied(),
                    entry: self.list.get(address).copied(),
                    held: self.held.get(address).copied(),
                    allowed: false,
                };
                (address.to_owned(), KnownAddress { history, last_change: None })
            });
            Facts {
                failures: None,
                histories: histories.collect(),
                last_message: self.messages.last().map_or(0, |message| message.0),
                last_bounce: self.bounces.last().map_or(0, |bounce| bounce.0),
                last_complaint: self.complaints.last().map_or(0, |complaint| complaint.0),
                last_revision: i64::try_from(self.events.len()).unwrap(),
                hours: HashMap::new(),
                known,
            }
        }

        fn commit(&mut self, batch: &[JudgedMessage]) {
            let plan = Plan::new(MAILBOX, batch, &Policy::default(), self.facts(batch));
            let places: Vec<_> = batch.iter().map(|judged| (&judged.place, judged.disposition)).collect();
            assert_eq!(plan.unsettled, places, "every place is to be settled, whatever is known of its message");
            self.messages.extend(plan.messages.iter().map(|message| (message.id, message.judged.sha256)));
            for new in &plan.bounces {
                let address = new.recipient.address.as_ref().map(|address| address.normalised().to_owned());
                let Verdict { class, reason, fault, .. } = *new.verdict;
                let mailbox = Some(MAILBOX.to_owned());
                let (at, trust) = (new.judged.received, new.trust);
                let past = Past { bounce: new.id, at, class, reason, fault, mailbox, trust };
                self.bounces.push((new.id, new.message, address, past, new.counts));
            }
            for NewComplaint { id, message, complainer, .. } in plan.complaints {
                self.complaints.push((id, message, complainer.value.normalised().to_owned()));
            }
            let ListChanges { ended, entries, let_go, held, signs, .. } = plan.list;
            self.list.retain(|address, _| !ended.contains(&address.as_str()));
            for NewEntry { address, suppression: Suppression { origin, since, expires, .. }, .. } in entries {
                let since = self.list.get(address).map_or(since, |entry| entry.since);
                self.list.insert(address.to_owned(), InForce { origin, since, expires });
            }
            self.held.retain(|address, _| !let_go.contains(&address.as_str()));
            for NewHeld { address, why, origin, since, .. } in held {
                self.held.insert(address.to_owned(), Waiting { why, origin, since });
            }
            for NewSign { address, at, .. } in signs {
                let last = self.alive.entry(address.to_owned()).or_insert(at);
                *last = at.max(*last);
            }
            for event in plan.events {
                assert_eq!(event.revision, i64::try_from(self.events.len()).unwrap() + 1);
                if let (EventKind::Expired, Some(address)) = (event.kind, event.address) {
                    self.expired.entry(address.to_owned()).or_default().push(event.at);
                }
                self.events.push((event.kind, event.address.map(str::to_owned), event.bounce.or(event.complaint)));
            }
        }

        fn release(&mut self, address: &str, at: i64) {
            if self.list.remove(address).is_some() {
                self.released.insert(address.to_owned(), at);
                self.events.push((EventKind::Released, Some(address.to_owned()), None));
            }
        }
    }

    #[derive(Debug, Clone)]
    struct One {
        address: Option<u8>,
        action: Action,
        class: Class,
        fault: Fault,
    }

    fn message(number: u8, kind: Kind, day: i64, recipients: &[One]) -> JudgedMessage {
        let because = Finding { value: kind, evidence: Evidence::of_structure("") };
        let verdicts = recipients.iter().map(|one| Verdict {
            class: one.class,
            reason: if one.class == Class::Soft { Reason::MailboxFull } else { Reason::UserUnknown },
            fault: one.fault,
            status: None,
            reply: None,
            rule: "codes:550".to_owned(),
            conflict: false,
            advice: String::new(),
            winner: None,
            lowered: None,
            forwarded: None,
            outranked: Vec::new(),
        });
        JudgedMessage {
            tables: Arc::default(),
            place: Place::new(number.to_string()),
            sha256: [number; 32],
            received: day * DAY,
            size: 1,
            verdicts: verdicts.collect(),
            trusts: Trusts::default(),
            report: Report {
                recipients: recipients
                    .iter()
                    .map(|one| Recipient {
                        address: one.address.and_then(|n| Address::parse(&format!("user{n}@example.org"))),
                        action: one.action,
                        ..Recipient::default()
                    })
                    .collect(),
                complainers: recipients
                    .iter()
                    .filter(|_| kind == Kind::Complaint)
                    .filter_map(|one| Address::parse(&format!("user{}@example.org", one.address?)))
                    .map(|value| Finding { value, evidence: Evidence::of_structure("") })
                    .collect(),
                author: recipients
                    .first()
                    .and_then(|one| Address::parse(&format!("user{}@example.org", one.address?)))
                    .map(|value| Finding { value, evidence: Evidence::of_structure("") }),
                ..Report::of_nobody(because)
            },
            disposition: Disposition::Processed,
        }
    }

    fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
        proptest::sample::select(all)
    }

    /// Mostly failures through the recipient's own fault, so that there is something to suppress.
    fn ones() -> impl Strategy<Value = Vec<One>> {
        let one = (
            proptest::option::weighted(0.9, 0u8..3),
            prop_oneof![4 => Just(Action::Failed), 1 => one_of(Action::ALL)],
            prop_oneof![4 => Just(Class::Soft), 1 => one_of(Class::ALL)],
            prop_oneof![4 => Just(Fault::Recipient), 1 => one_of(Fault::ALL)],
        );
        let one = one.prop_map(|(address, action, class, fault)| One { address, action, class, fault });
        proptest::collection::vec(one, 0..3)
    }

    /// Messages with numbers of their own but for a few copies, in no order of time.
    fn batch() -> impl Strategy<Value = Vec<JudgedMessage>> {
        let kind = prop_oneof![4 => Just(Kind::Bounce), 1 => one_of(Kind::ALL)];
        proptest::collection::vec((0u8..40, kind, 0i64..60, ones()), 0..24)
            .prop_map(|all| all.iter().map(|(n, kind, day, ones)| message(*n, *kind, *day, ones)).collect())
    }

    proptest! {
        #[test]
        fn the_same_batch_twice_adds_nothing(batch in batch()) {
            let mut once = Memory::default();
            once.commit(&batch);
            let mut twice = once.clone();
            twice.commit(&batch);
            prop_assert_eq!(&twice, &once);
            let mut numbers: Vec<_> = once.messages.iter().map(|(_, sha256)| *sha256).collect();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), once.messages.len(), "no message is recorded twice");
        }

        #[test]
        fn where_a_batch_is_cut_makes_no_difference(batch in batch(), cut in 0usize..24) {
            let cut = cut.min(batch.len());
            let (mut whole, mut parts) = (Memory::default(), Memory::default());
            whole.commit(&batch);
            parts.commit(&batch[..cut]);
            parts.commit(&batch[cut..]);
            // The events of a commit are the bounces, the complaints, then the changes; each kind keeps its order.
            for memory in [&mut whole, &mut parts] {
                memory.events.sort_by_key(|event| (event.0.is_of_list(), event.0 == EventKind::Complaint));
            }
            prop_assert_eq!(parts, whole);
        }

        #[test]
        fn rows_and_events_match_one_to_one(batch in batch()) {
            let plan = Plan::new(MAILBOX, &batch, &Policy::default(), Memory::default().facts(&batch));
            let (bounces, others) = plan.events.split_at(plan.bounces.len());
            let (complaints, changes) = others.split_at(plan.complaints.len());
            for (event, row) in bounces.iter().zip(&plan.bounces) {
                let small = NewEvent { bounce: Some(row.id), ..NewEvent::new(event.revision, EventKind::Bounce, row.judged.received) };
                prop_assert_eq!(event, &small);
            }
            for (event, row) in complaints.iter().zip(&plan.complaints) {
                let small = NewEvent { complaint: Some(row.id), ..NewEvent::new(event.revision, EventKind::Complaint, row.judged.received) };
                prop_assert_eq!(event, &small);
            }
            let named: usize = plan.messages.iter().map(|new| new.judged.report.complainers.len()).sum();
            prop_assert_eq!(plan.complaints.len(), named);
            for row in &plan.list.entries {
                let event = changes.iter().find(|event| event.revision == row.revision).unwrap();
                prop_assert_eq!(event.kind, EventKind::Suppressed);
                prop_assert_eq!((event.address, event.bounce), (Some(row.address), row.bounce));
                prop_assert_eq!(event.origin, Some(row.suppression.origin));
                // Of several the entry keeps the time of the first.
                let first = changes.iter().find(|event| event.address == Some(row.address));
                if first == Some(event) {
                    prop_assert_eq!(event.at, row.suppression.since);
                }
                prop_assert_eq!(&event.causes, &row.suppression.causes);
            }
            for (before, event) in changes.iter().filter_map(|event| Some((event.before?, event))) {
                let before = changes.iter().find(|change| change.revision == before).unwrap();
                prop_assert_eq!(before.address, event.address);
                prop_assert!(before.revision < event.revision);
            }
            let revisions: Vec<_> = plan.events.iter().map(|event| event.revision).collect();
            prop_assert_eq!(revisions, (1..).take(plan.events.len()).collect::<Vec<_>>());
            let ids: Vec<_> = plan.bounces.iter().map(|bounce| bounce.id).collect();
            prop_assert_eq!(ids, (1..).take(plan.bounces.len()).collect::<Vec<_>>());
        }

        #[test]
        fn nobody_is_suppressed_whom_the_gate_keeps_out(batch in batch()) {
            let plan = Plan::new(MAILBOX, &batch, &Policy::default(), Memory::default().facts(&batch));
            for bounce in &plan.bounces {
                let &NewBounce { id, judged, recipient, verdict, trust, .. } = bounce;
                let case = Case::of_bounce(MAILBOX, judged.received, id, recipient, verdict, trust);
                prop_assert_eq!(bounce.counts, case.is_some_and(|case| Policy::default().counts(&case)));
                let kind = bounce.judged.report.kind;
                prop_assert!(matches!(kind, Kind::Bounce | Kind::Delayed | Kind::Delivered));
            }
            for new in &plan.list.entries {
                let cause = plan.bounces.iter().find(|bounce| Some(bounce.id) == new.bounce);
                prop_assert!(new.complaint.is_some() || cause.is_some_and(|bounce| bounce.counts));
            }
        }

        #[test]
        fn a_removal_sticks(before in batch(), after in batch()) {
            let mut memory = Memory::default();
            memory.commit(&before);
            // Later than every bounce.
            memory.list.clone().keys().for_each(|address| memory.release(address, 100 * DAY));
            let released = memory.released.clone();
            memory.commit(&after);
            prop_assert!(memory.list.keys().all(|address| !released.contains_key(address)));
        }
    }

    #[test]
    fn what_a_batch_teaches_counts_for_its_later_messages() {
        let soft = One { address: Some(1), action: Action::Failed, class: Class::Soft, fault: Fault::Recipient };
        let hard = One { class: Class::Hard, ..soft.clone() };
        let mut batch: Vec<_> =
            (0..6).map(|n| message(n, Kind::Bounce, 4 * i64::from(n), std::slice::from_ref(&soft))).collect();
        batch.push(message(9, Kind::Bounce, 30, &[hard.clone(), hard]));
        let mut memory = Memory::default();
        memory.commit(&batch);
        let changes: Vec<_> = memory.events.iter().filter(|event| event.0 == EventKind::Suppressed).cloned().collect();
        let by = |bounce| (EventKind::Suppressed, Some("user1@example.org".to_owned()), Some(bounce));
        assert_eq!(changes, [by(5), by(7)], "by the fifth soft bounce, and again only by the hard one");
        assert_eq!(memory.list.values().map(|entry| entry.origin).collect::<Vec<_>>(), [Origin::Hard]);
    }

    #[test]
    fn whoever_comes_onto_the_list_with_the_same_batch_does_not_wait() {
        let hard = |address| One {
            address: Some(address),
            action: Action::Failed,
            class: Class::Hard,
            fault: Fault::Recipient,
        };
        let policy = Policy { most_per_message: 1, ..Policy::default() };
        let both = message(1, Kind::Bounce, 0, &[hard(1), hard(2)]);
        let waiting = |batch: &[JudgedMessage]| {
            let plan = Plan::new(MAILBOX, batch, &policy, Facts::default());
            let entries = plan.list.entries.iter().map(|new| new.address.to_owned());
            let held = plan.list.held.iter().map(|new| new.address.to_owned());
            (entries.collect::<Vec<_>>(), held.collect::<Vec<_>>())
        };
        let [one, two] = ["user1@example.org", "user2@example.org"].map(str::to_owned);
        assert_eq!(waiting(std::slice::from_ref(&both)), (vec![one.clone()], vec![two.clone()]));
        assert_eq!(waiting(&[both, message(2, Kind::Bounce, 1, &[hard(2)])]), (vec![one, two], vec![]));
    }

    #[test]
    fn numbers_go_on_where_the_store_left_off() {
        let soft = One { address: Some(1), action: Action::Failed, class: Class::Soft, fault: Fault::Recipient };
        let two = [soft.clone(), soft];
        let batch = [message(1, Kind::Bounce, 0, &two), message(2, Kind::Complaint, 0, &two)];
        let facts = Facts { last_message: 7, last_bounce: 41, last_complaint: 16, ..Facts::default() };
        let plan = Plan::new(MAILBOX, &batch, &Policy::default(), facts);
        assert_eq!(plan.messages[0].id, 8);
        let rows: Vec<_> = plan.bounces.iter().map(|bounce| (bounce.id, bounce.message, bounce.position)).collect();
        assert_eq!(rows, [(42, 8, 0), (43, 8, 1)]);
        let rows: Vec<_> = plan.complaints.iter().map(|new| (new.id, new.message, new.position)).collect();
        assert_eq!(rows, [(17, 9, 0), (18, 9, 1)]);
    }
}
