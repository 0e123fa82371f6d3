//! What a store knows, a batch of judged messages and the policy -> everything that the commit writes. Pure: it knows
//! no SQL and no clock, so that every store commits the same.

use std::collections::{HashMap, HashSet};

use super::EventKind;
use crate::{
    codes::Class,
    message::{Disposition, Place},
    policy::{self, Policy},
    report::{Address, Finding, Kind, Recipient, Report, Verdict},
    suppression::{History, Origin, Suppression},
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
    /// What is to become of it after the commit.
    pub disposition: Disposition,
}

/// What the store knows before the batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The SHA-256 of each message of the batch that is recorded.
    pub known: HashSet<[u8; 32]>,
    /// What is known of the addresses that [`addresses`] names.
    pub histories: HashMap<String, History>,
    /// The highest row number that a message ever had.
    pub last_message: i64,
    /// The highest row number that a bounce ever had.
    pub last_bounce: i64,
    /// The highest row number that a complaint ever had.
    pub last_complaint: i64,
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
    /// What the bounces change on the suppression list.
    pub suppressions: Vec<NewSuppression<'a>>,
    /// What they would change, had not their message changed as much as one may. They wait for a person.
    pub held: Vec<NewSuppression<'a>>,
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
    /// The answer of [`Policy::counts`].
    pub counts: bool,
}

/// A row of `complaint`.
#[derive(Debug)]
pub(super) struct NewComplaint<'a> {
    pub id: i64,
    pub message: i64,
    pub position: i64,
    pub judged: &'a JudgedMessage,
    pub complainer: &'a Finding<Address>,
}

/// A row of `suppression` or of `held`; where the address has one it takes its place, but for `since` and `note`.
#[derive(Debug)]
pub(super) struct NewSuppression<'a> {
    pub bounce: i64,
    pub address: &'a str,
    pub domain: &'a str,
    pub suppression: Suppression,
}

/// A row of `event`; the store gives it its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewEvent<'a> {
    pub at: i64,
    pub kind: EventKind,
    pub address: Option<&'a str>,
    pub origin: Option<Origin>,
    pub bounce: Option<i64>,
    pub complaint: Option<i64>,
    pub note: Option<&'a str>,
}

/// The messages of a batch that are not recorded yet; of equal ones the first.
pub(super) fn fresh<'a>(batch: &'a [JudgedMessage], known: &HashSet<[u8; 32]>) -> Vec<&'a JudgedMessage> {
    let mut seen = HashSet::new();
    batch.iter().filter(|judged| !known.contains(&judged.sha256) && seen.insert(&judged.sha256)).collect()
}

/// The addresses whose histories [`Plan::new`] needs for these messages.
pub(super) fn addresses<'a>(fresh: &[&'a JudgedMessage], policy: &Policy) -> HashSet<&'a str> {
    let judged = fresh.iter().flat_map(|judged| reported(judged));
    judged
        .filter_map(|(recipient, verdict)| address_that_counts(recipient, verdict, policy))
        .map(|(address, _)| address)
        .collect()
}

/// The recipients that a delivery report speaks of. Automatic answers and complaints report on no delivery.
fn reported(judged: &JudgedMessage) -> impl Iterator<Item = (&Recipient, &Verdict)> {
    let reports = match judged.report.kind {
        Kind::Bounce | Kind::Delayed | Kind::Delivered => true,
        Kind::AutoReply | Kind::Complaint | Kind::NotBounce => false,
    };
    judged.report.recipients.iter().zip(&judged.verdicts).filter(move |_| reports)
}

/// The address and the domain of a recipient who may be suppressed at all.
fn address_that_counts<'a>(recipient: &'a Recipient, verdict: &Verdict, policy: &Policy) -> Option<(&'a str, &'a str)> {
    let address = recipient.address.as_ref().filter(|_| policy.counts(recipient, verdict.fault))?;
    Some((address.normalised(), address.domain()))
}

impl<'a> Plan<'a> {
    /// Plans the commit of one batch.
    ///
    /// A message that was recorded before adds no rows; its place still counts as unsettled. The policy is asked about
    /// each recipient in turn, and what it learns on the way counts for the ones after.
    pub(super) fn new(batch: &'a [JudgedMessage], policy: &Policy, facts: Facts) -> Self {
        let Facts { known, mut histories, last_message, last_bounce, last_complaint } = facts;
        let messages: Vec<_> =
            (last_message + 1..).zip(fresh(batch, &known)).map(|(id, judged)| NewMessage { id, judged }).collect();
        let mut bounces: Vec<NewBounce<'a>> = Vec::with_capacity(messages.len());
        let (mut suppressions, mut held) = (Vec::new(), Vec::new());
        for message in &messages {
            let mut left = policy.most_per_message;
            for (position, (recipient, verdict)) in (0..).zip(reported(message.judged)) {
                let id = bounces.last().map_or(last_bounce, |bounce| bounce.id) + 1;
                if let Some((address, domain)) = address_that_counts(recipient, verdict, policy) {
                    let at = message.judged.received;
                    let history = histories.entry(address.to_owned()).or_default();
                    if let Some(suppression) = policy::decide(policy, history, recipient, verdict, at) {
                        let new = NewSuppression { bounce: id, address, domain, suppression };
                        if left > 0 {
                            left -= 1;
                            history.suppressed = Some(new.suppression.origin);
                            suppressions.push(new);
                        } else {
                            held.push(new);
                        }
                    }
                    if verdict.class == Class::Soft {
                        history.soft.push(at);
                    }
                }
                let counts = policy.counts(recipient, verdict.fault);
                let judged = message.judged;
                bounces.push(NewBounce { id, message: message.id, position, judged, recipient, verdict, counts });
            }
        }
        // Two messages of the batch may speak of one address: what came onto the list needs no second look.
        let listed: HashSet<&str> = suppressions.iter().map(|new: &NewSuppression<'_>| new.address).collect();
        held.retain(|new| !listed.contains(new.address));
        let complaints = complaints(&messages, last_complaint);
        let events = events(&bounces, &complaints, &suppressions, &held);
        let unsettled = batch.iter().map(|judged| (&judged.place, judged.disposition)).collect();
        Self { messages, bounces, complaints, suppressions, held, events, unsettled }
    }
}

/// Who complained by these messages. A complaint alone puts nobody onto the list.
fn complaints<'a>(messages: &[NewMessage<'a>], last_complaint: i64) -> Vec<NewComplaint<'a>> {
    let of_each = messages.iter().flat_map(|new| {
        let judged = new.judged;
        (0..).zip(&judged.report.complainers).map(move |(position, complainer)| (new.id, position, judged, complainer))
    });
    let numbered = (last_complaint + 1..).zip(of_each);
    numbered
        .map(|(id, (message, position, judged, complainer))| NewComplaint { id, message, position, judged, complainer })
        .collect()
}

/// The event of a bounce or a complaint leads to its row and holds nothing else: there are many of them.
fn events<'a>(
    bounces: &[NewBounce<'a>],
    complaints: &[NewComplaint<'a>],
    suppressions: &[NewSuppression<'a>],
    held: &[NewSuppression<'a>],
) -> Vec<NewEvent<'a>> {
    let row = |judged: &JudgedMessage, kind, bounce, complaint| NewEvent {
        at: judged.received,
        kind,
        address: None,
        origin: None,
        bounce,
        complaint,
        note: None,
    };
    let recorded = bounces.iter().map(|new| row(new.judged, EventKind::Bounce, Some(new.id), None));
    let complained = complaints.iter().map(|new| row(new.judged, EventKind::Complaint, None, Some(new.id)));
    let decided = suppressions.iter().map(|new| (EventKind::Suppressed, new));
    let changed = decided.chain(held.iter().map(|new| (EventKind::Held, new))).map(|(kind, new)| NewEvent {
        at: new.suppression.since,
        kind,
        address: Some(new.address),
        origin: Some(new.suppression.origin),
        bounce: Some(new.bounce),
        complaint: None,
        note: None,
    });
    recorded.chain(complained).chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        codes::{Fault, Reason},
        report::{Action, Evidence},
    };

    const DAY: i64 = 86_400;

    /// A store of the simplest kind: it keeps what it is told to write, and tells it again.
    #[derive(Debug, Default, Clone, PartialEq)]
    struct Memory {
        messages: Vec<(i64, [u8; 32])>,
        /// Row, message, address, received, class, whether it counts.
        bounces: Vec<(i64, i64, Option<String>, i64, Class, bool)>,
        /// Row, message, address.
        complaints: Vec<(i64, i64, String)>,
        list: BTreeMap<String, Origin>,
        released: BTreeMap<String, i64>,
        events: Vec<(EventKind, Option<String>, Option<i64>)>,
    }

    impl Memory {
        fn facts(&self, batch: &[JudgedMessage]) -> Facts {
            let known = self.messages.iter().map(|(_, sha256)| *sha256).collect();
            let histories = addresses(&fresh(batch, &known), &Policy::default()).into_iter().map(|address| {
                let soft = self.bounces.iter().filter(|(_, _, of, _, class, counts)| {
                    *counts && *class == Class::Soft && of.as_deref() == Some(address)
                });
                let history = History {
                    soft: soft.map(|bounce| bounce.3).collect(),
                    released_at: self.released.get(address).copied(),
                    suppressed: self.list.get(address).copied(),
                };
                (address.to_owned(), history)
            });
            Facts {
                histories: histories.collect(),
                last_message: self.messages.last().map_or(0, |message| message.0),
                last_bounce: self.bounces.last().map_or(0, |bounce| bounce.0),
                last_complaint: self.complaints.last().map_or(0, |complaint| complaint.0),
                known,
            }
        }

        fn commit(&mut self, batch: &[JudgedMessage]) {
            let plan = Plan::new(batch, &Policy::default(), self.facts(batch));
            let places: Vec<_> = batch.iter().map(|judged| (&judged.place, judged.disposition)).collect();
            assert_eq!(plan.unsettled, places, "every place is to be settled, whatever is known of its message");
            self.messages.extend(plan.messages.iter().map(|message| (message.id, message.judged.sha256)));
            for new in &plan.bounces {
                let address = new.recipient.address.as_ref().map(|address| address.normalised().to_owned());
                let class = new.verdict.class;
                self.bounces.push((new.id, new.message, address, new.judged.received, class, new.counts));
            }
            for NewComplaint { id, message, complainer, .. } in plan.complaints {
                self.complaints.push((id, message, complainer.value.normalised().to_owned()));
            }
            for new in plan.suppressions {
                assert_eq!(new.suppression.address, new.address);
                self.list.insert(new.suppression.address, new.suppression.origin);
            }
            for event in plan.events {
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
            reason: Reason::UserUnknown,
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
            place: Place::new(number.to_string()),
            sha256: [number; 32],
            received: day * DAY,
            size: 1,
            verdicts: verdicts.collect(),
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
            let plan = Plan::new(&batch, &Policy::default(), Memory::default().facts(&batch));
            let (bounces, others) = plan.events.split_at(plan.bounces.len());
            let (complaints, changes) = others.split_at(plan.complaints.len());
            for (event, row) in bounces.iter().zip(&plan.bounces) {
                let small = NewEvent {
                    at: row.judged.received, kind: EventKind::Bounce, address: None, origin: None, bounce: Some(row.id),
                    complaint: None, note: None,
                };
                prop_assert_eq!(event, &small);
            }
            for (event, row) in complaints.iter().zip(&plan.complaints) {
                let small = NewEvent {
                    at: row.judged.received, kind: EventKind::Complaint, address: None, origin: None, bounce: None,
                    complaint: Some(row.id), note: None,
                };
                prop_assert_eq!(event, &small);
            }
            let named: usize = plan.messages.iter().map(|new| new.judged.report.complainers.len()).sum();
            prop_assert_eq!(plan.complaints.len(), named);
            prop_assert_eq!(changes.len(), plan.suppressions.len());
            for (event, row) in changes.iter().zip(&plan.suppressions) {
                prop_assert_eq!(event.kind, EventKind::Suppressed);
                prop_assert_eq!((event.address, event.bounce), (Some(row.address), Some(row.bounce)));
                prop_assert_eq!((event.origin, event.at), (Some(row.suppression.origin), row.suppression.since));
            }
            let ids: Vec<_> = plan.bounces.iter().map(|bounce| bounce.id).collect();
            prop_assert_eq!(ids, (1..).take(plan.bounces.len()).collect::<Vec<_>>());
        }

        #[test]
        fn nobody_is_suppressed_whom_the_gate_keeps_out(batch in batch()) {
            let plan = Plan::new(&batch, &Policy::default(), Memory::default().facts(&batch));
            for bounce in &plan.bounces {
                prop_assert_eq!(bounce.counts, Policy::default().counts(bounce.recipient, bounce.verdict.fault));
                let kind = bounce.judged.report.kind;
                prop_assert!(matches!(kind, Kind::Bounce | Kind::Delayed | Kind::Delivered));
            }
            for new in &plan.suppressions {
                let cause = plan.bounces.iter().find(|bounce| bounce.id == new.bounce);
                prop_assert!(cause.is_some_and(|bounce| bounce.counts));
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
        assert_eq!(memory.list.values().collect::<Vec<_>>(), [&Origin::Hard]);
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
            let plan = Plan::new(batch, &policy, Facts::default());
            let of = |rows: &[NewSuppression<'_>]| rows.iter().map(|new| new.address.to_owned()).collect::<Vec<_>>();
            (of(&plan.suppressions), of(&plan.held))
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
        let plan = Plan::new(&batch, &Policy::default(), facts);
        assert_eq!(plan.messages[0].id, 8);
        let rows: Vec<_> = plan.bounces.iter().map(|bounce| (bounce.id, bounce.message, bounce.position)).collect();
        assert_eq!(rows, [(42, 8, 0), (43, 8, 1)]);
        let rows: Vec<_> = plan.complaints.iter().map(|new| (new.id, new.message, new.position)).collect();
        assert_eq!(rows, [(17, 9, 0), (18, 9, 1)]);
    }
}
