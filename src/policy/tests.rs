//! What the policy decides, case by case and as properties.

use proptest::prelude::*;

use super::{span::DAY, *};
use crate::{
    codes::{Fault, Reason},
    suppression::InForce,
};

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3_600;
/// The row of the bounce at hand.
const ROW: i64 = 1_000;

fn address() -> Address {
    Address::parse("Ann@example.org").unwrap()
}

fn recipient(action: Action) -> Recipient {
    Recipient { address: Some(address()), action, ..Recipient::default() }
}

fn verdict(class: Class, reason: Reason, fault: Fault) -> Verdict {
    Verdict {
        class,
        reason,
        fault,
        status: None,
        reply: None,
        rule: "codes:550".to_owned(),
        conflict: false,
        advice: String::new(),
        winner: None,
        lowered: None,
        forwarded: None,
        outranked: Vec::new(),
    }
}

/// A bounce through the recipient's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounce {
    class: Class,
    reason: Reason,
    at: i64,
}

impl Bounce {
    const fn past(self, row: i64) -> Past {
        let Self { class, reason, at } = self;
        Past { bounce: row, at, class, reason, fault: Fault::Recipient, mailbox: None, trust: Trust::Local }
    }
}

const fn hard(reason: Reason, at: i64) -> Bounce {
    Bounce { class: Class::Hard, reason, at }
}

const fn soft(reason: Reason, at: i64) -> Bounce {
    Bounce { class: Class::Soft, reason, at }
}

/// A history of such bounces that many days from now, with row numbers from 1.
fn history(class: Class, reason: Reason, days: &[i64]) -> History {
    let past = (1..).zip(days).map(|(row, day)| Bounce { class, reason, at: NOW + day * DAY }.past(row));
    History { past: past.collect(), ..History::default() }
}

/// Enough of them, and the last one is yet to come.
fn nearly_full() -> History {
    history(Class::Soft, Reason::MailboxFull, &[-20, -15, -10, -5])
}

fn decide(policy: &Policy, history: &History, bounce: Bounce) -> Option<Suppression> {
    decide_in(policy, history, bounce, Fault::Recipient, "news", ROW)
}

fn decide_in(
    policy: &Policy,
    history: &History,
    Bounce { class, reason, at }: Bounce,
    fault: Fault,
    mailbox: &str,
    row: i64,
) -> Option<Suppression> {
    let (recipient, verdict) = (recipient(Action::Failed), verdict(class, reason, fault));
    policy.decide(history, &Case::of_bounce(mailbox, at, row, &recipient, &verdict, Trust::Local).unwrap())
}

fn complain(policy: &Policy, history: &History, at: i64) -> Option<Suppression> {
    policy.decide(history, &Case::of_complaint("news", at, ROW, &address(), Trust::Local))
}

/// Rules before those that come with the program.
fn with_rules(text: &str) -> Policy {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    std::fs::write(&path, text).unwrap();
    Policy::load(&[path]).unwrap()
}

#[test]
fn one_hard_bounce_suppresses_the_normalised_address_for_good() {
    let found = decide(&Policy::embedded(), &History::default(), hard(Reason::UserUnknown, NOW)).expect("suppressed");
    let expected = Suppression {
        address: "ann@example.org".to_owned(),
        origin: Origin::Hard,
        reason: Some(Reason::UserUnknown),
        rule: Some("codes:550".to_owned()),
        policy: Some("hard".to_owned()),
        diagnostic: None,
        since: NOW,
        expires: None,
        note: None,
        causes: vec![ROW],
    };
    assert_eq!(found, expected);
}

#[test]
fn a_complaint_suppresses_for_good_and_outranks_bounces() {
    let found = complain(&Policy::embedded(), &History::default(), NOW).expect("suppressed");
    assert_eq!((found.origin, found.policy.as_deref(), found.expires), (Origin::Complaint, Some("complaint"), None));
    assert_eq!((found.reason, found.rule, found.causes), (None, None, Vec::new()));
    for &origin in Origin::ALL {
        let entry = Some(InForce { origin, since: NOW - DAY, expires: None });
        let history = History { entry, ..History::default() };
        let outranks = !matches!(origin, Origin::Complaint | Origin::Manual);
        assert_eq!(complain(&Policy::embedded(), &history, NOW).is_some(), outranks, "{origin}");
    }
}

#[test]
fn the_gate_lets_failures_through_that_a_rule_is_for_and_nothing_else() {
    let policy = Policy::embedded();
    let counts = |recipient: &Recipient, verdict: &Verdict| {
        Case::of_bounce("news", NOW, ROW, recipient, verdict, Trust::Local).is_some_and(|case| policy.counts(&case))
    };
    for &action in Action::ALL {
        for &class in Class::ALL {
            for &reason in Reason::ALL {
                for &fault in Fault::ALL {
                    let of_recipient = fault == Fault::Recipient;
                    let undetermined = (class, reason, fault) == (Class::Soft, Reason::Undetermined, Fault::Unknown);
                    let failed = action == Action::Failed && class != Class::Success;
                    let counted = counts(&recipient(action), &verdict(class, reason, fault));
                    let told = format!("{action} {class} {reason} {fault}");
                    assert_eq!(counted, failed && (of_recipient || undetermined), "{told}");
                }
            }
        }
    }
    let dead = verdict(Class::Hard, Reason::UserUnknown, Fault::Recipient);
    assert!(!counts(&Recipient::default(), &dead), "nobody");
    assert!(!counts(&Recipient { is_ours: true, ..recipient(Action::Failed) }, &dead), "the sender");
    let delivered = verdict(Class::Success, Reason::Delivered, Fault::Recipient);
    let any = with_rules("[[rule]]\nid = 'any'\nfor = 'forever'\n");
    let failed = recipient(Action::Failed);
    assert!(!any.counts(&Case::of_bounce("news", NOW, ROW, &failed, &delivered, Trust::Local).unwrap()), "a success");
    let everybody = Recipient { address: Address::parse("*@example.org"), ..recipient(Action::Failed) };
    assert!(!counts(&everybody, &dead), "a whole domain");
    let bare = Address::parse("*@example.org").unwrap();
    assert!(!policy.counts(&Case::of_complaint("news", NOW, ROW, &bare, Trust::Local)), "a whole domain complains");
}

#[test]
fn whom_nothing_suppresses_never_counts() {
    let never = |entries: &[&str]| Never::try_from(entries.iter().map(|&e| e.to_owned()).collect::<Vec<_>>());
    for (entries, suppressed) in [
        (&["bob@example.org", "@example.net"][..], true),
        (&["ANN@example.org"], false),
        (&["@Example.ORG"], false),
        (&["*@example.org"], false),
        (&["@org"], true),
    ] {
        let policy = Policy { never: never(entries).unwrap(), ..Policy::embedded() };
        let found = decide(&policy, &History::default(), hard(Reason::UserUnknown, NOW));
        assert_eq!(found.is_some(), suppressed, "{entries:?}");
        assert_eq!(complain(&policy, &History::default(), NOW).is_some(), suppressed, "{entries:?}");
    }
    let error = never(&["ann@example.org", "example.org"]).unwrap_err().to_string();
    assert!(error.contains("`example.org`"), "{error}");
}

#[test]
fn whom_a_person_allowed_nothing_suppresses() {
    let history = History { allowed: true, ..nearly_full() };
    let policy = Policy::embedded();
    for bounce in [hard(Reason::UserUnknown, NOW), soft(Reason::MailboxFull, NOW)] {
        assert_eq!(decide(&policy, &history, bounce), None);
    }
    assert_eq!(complain(&policy, &history, NOW), None);
}

#[test]
fn each_reason_asks_for_as_much_as_its_rule_says() {
    use Reason::{BadDomain, Disabled, ForwardingFailed, MailboxFull, Undetermined, UserUnknown};
    let eight = [-30, -26, -22, -18, -14, -10, -6];
    for (class, reason, days, rule) in [
        (Class::Hard, UserUnknown, &[][..], Some("hard")),
        (Class::Hard, MailboxFull, &[], Some("hard")),
        (Class::Hard, BadDomain, &[], None),
        (Class::Hard, BadDomain, &[0, 0, 0], None),
        (Class::Hard, BadDomain, &[-1], Some("bad-domain")),
        (Class::Hard, BadDomain, &[-60], Some("bad-domain")),
        (Class::Hard, BadDomain, &[-61], None),
        (Class::Soft, MailboxFull, &[-14, -9, -5, -2], Some("mailbox-full")),
        (Class::Soft, MailboxFull, &[-13, -9, -5, -2], None),
        (Class::Soft, MailboxFull, &[-14, -9, -5], None),
        (Class::Soft, MailboxFull, &[-60, -9, -5, -2], Some("mailbox-full")),
        (Class::Soft, MailboxFull, &[-61, -9, -5, -2], None),
        (Class::Soft, ForwardingFailed, &[-14, -3], Some("forwarding-failed")),
        (Class::Soft, ForwardingFailed, &[-13, -3], None),
        (Class::Soft, ForwardingFailed, &[-14], None),
        (Class::Soft, Undetermined, &eight, Some("undetermined")),
        (Class::Soft, Undetermined, &eight[1..], None),
        (Class::Soft, UserUnknown, &eight, Some("soft")),
        (Class::Soft, Disabled, &[-29, -26, -22, -18, -14, -10, -6], None),
        (Class::Soft, Disabled, &[-120, -26, -22, -18, -14, -10, -6], Some("soft")),
        (Class::Soft, Disabled, &[-121, -26, -22, -18, -14, -10, -6], None),
    ] {
        let found = decide(&Policy::embedded(), &history(class, reason, days), Bounce { class, reason, at: NOW });
        let told = format!("{class} {reason} {days:?}");
        assert_eq!(found.as_ref().and_then(|found| found.policy.as_deref()), rule, "{told}");
        let origin = found.map(|found| found.origin);
        assert_eq!(origin, rule.map(|_| if class == Class::Hard { Origin::Hard } else { Origin::Soft }), "{told}");
    }
}

#[test]
fn bounces_within_half_a_day_count_as_one() {
    let at = |hours: &[i64]| History {
        past: (1..).zip(hours).map(|(row, h)| soft(Reason::ForwardingFailed, NOW - h * HOUR).past(row)).collect(),
        ..History::default()
    };
    for (hours, enough) in [(&[14 * 24, 12][..], true), (&[14 * 24, 11], false), (&[14 * 24, 14 * 24 - 11], false)] {
        let found = decide(&Policy::embedded(), &at(hours), soft(Reason::ForwardingFailed, NOW));
        assert_eq!(found.is_some(), enough, "{hours:?}");
    }
}

#[test]
fn a_bounce_counts_for_the_first_rule_that_fits_and_for_no_other() {
    let eight = [-30, -26, -22, -18, -14, -10, -6];
    for reason in [Reason::MailboxFull, Reason::Undetermined, Reason::ForwardingFailed] {
        let others = history(Class::Soft, reason, &eight);
        assert_eq!(decide(&Policy::embedded(), &others, soft(Reason::Disabled, NOW)), None, "{reason}");
    }
    let mut mixed = history(Class::Soft, Reason::Filtered, &eight[..4]);
    mixed.past.extend(history(Class::Soft, Reason::Moved, &eight[4..]).past);
    assert!(decide(&Policy::embedded(), &mixed, soft(Reason::Disabled, NOW)).is_some(), "they have one rule");
}

#[test]
fn rules_look_at_domain_mailbox_and_fault() {
    let policy = with_rules(
        "[[rule]]\nid = 'theirs'\ndomain = 'example.net'\nfor = 'never'\n\
         [[rule]]\nid = 'alerts'\nmailbox = 'alerts'\nclass = 'hard'\ncount = 2\nwithin = '30d'\nfor = ['24h', '48h']\n\
         [[rule]]\nid = 'lost'\nfault = 'network'\nclass = 'soft'\nfor = '24h'\n",
    );
    assert!(policy.asks_mailbox() && !Policy::embedded().asks_mailbox());
    let ask = |history: &History, fault, mailbox| {
        decide_in(&policy, history, hard(Reason::UserUnknown, NOW), fault, mailbox, ROW).and_then(|found| found.policy)
    };
    let read_in = |mailbox: Option<&str>| {
        let mut history = history(Class::Hard, Reason::UserUnknown, &[-3]);
        history.past[0].mailbox = mailbox.map(str::to_owned);
        history
    };
    assert_eq!(ask(&History::default(), Fault::Recipient, "news").as_deref(), Some("hard"));
    assert_eq!(ask(&History::default(), Fault::Recipient, "alerts"), None, "two are asked for");
    assert_eq!(ask(&read_in(Some("alerts")), Fault::Recipient, "alerts").as_deref(), Some("alerts"));
    assert_eq!(ask(&read_in(Some("news")), Fault::Recipient, "alerts"), None, "that one has another rule");
    assert_eq!(ask(&History::default(), Fault::Network, "news"), None, "the rule is for soft ones");
    let busy = soft(Reason::Network, NOW);
    let found = decide_in(&policy, &History::default(), busy, Fault::Network, "news", ROW);
    assert_eq!(found.and_then(|found| found.policy).as_deref(), Some("lost"));
    let there = Recipient { address: Address::parse("bob@example.net"), ..recipient(Action::Failed) };
    let dead = verdict(Class::Hard, Reason::UserUnknown, Fault::Recipient);
    let case = Case::of_bounce("news", NOW, ROW, &there, &dead, Trust::Local).unwrap();
    assert!(!policy.counts(&case) && policy.decide(&History::default(), &case).is_none(), "never");
    let below = Recipient { address: Address::parse("bob@mail.example.net"), ..there.clone() };
    assert!(
        policy.counts(&Case::of_bounce("news", NOW, ROW, &below, &dead, Trust::Local).unwrap()),
        "not what lies below"
    );
}

#[test]
fn a_rule_of_ones_own_may_be_for_the_complaints_of_a_mailbox() {
    let policy = with_rules("[[rule]]\nid = 'ours'\nkind = 'complaint'\nmailbox = 'news'\nfor = 'never'\n");
    assert_eq!(complain(&policy, &History::default(), NOW), None);
    let found = policy.decide(&History::default(), &Case::of_complaint("other", NOW, ROW, &address(), Trust::Local));
    assert_eq!(found.and_then(|found| found.policy).as_deref(), Some("complaint"));
}

#[test]
fn each_return_lasts_longer_and_counts_from_the_end_of_the_last() {
    let policy = Policy::embedded();
    for (ran_out, lasts) in [
        (&[][..], Some(30)),
        (&[-100], Some(90)),
        (&[-300, -100], None),
        (&[-390, -300, -100], None),
        (&[-20], Some(90)),
    ] {
        let expired = ran_out.iter().map(|day| NOW + day * DAY).collect();
        let found = decide(&policy, &History { expired, ..nearly_full() }, soft(Reason::MailboxFull, NOW));
        let expires = found.expect("suppressed").expires;
        assert_eq!(expires, lasts.map(|days| NOW + days * DAY), "{ran_out:?}");
    }
    let expired = vec![NOW - 100 * DAY, NOW - 20 * DAY + 1];
    let history = History { expired, ..nearly_full() };
    assert_eq!(decide(&policy, &history, soft(Reason::MailboxFull, NOW)), None, "the first lies before the end");
    // Long before, when the entry was there.
    let late = soft(Reason::MailboxFull, NOW - 30 * DAY);
    assert_eq!(decide(&policy, &history, late), None);
}

#[test]
fn the_last_time_that_a_rule_names_lasts_for_all_later_returns() {
    let policy = with_rules("[[rule]]\nid = 'short'\nclass = 'hard'\nfor = ['30d', '90d']\n");
    for (ran_out, lasts) in [(0, 30), (1, 90), (2, 90), (5, 90)] {
        let expired = (1..=ran_out).map(|n| NOW - n * DAY).collect();
        let found = decide(&policy, &History { expired, ..History::default() }, hard(Reason::Moved, NOW));
        assert_eq!(found.expect("suppressed").expires, Some(NOW + lasts * DAY), "{ran_out}");
    }
}

#[test]
fn the_end_of_an_entry_takes_nothing_from_a_rule_that_suppresses_for_good() {
    let policy = Policy::embedded();
    let ended = |at: i64| History { expired: vec![at], ..history(Class::Hard, Reason::BadDomain, &[-10]) };
    assert!(decide(&policy, &ended(NOW - DAY), hard(Reason::BadDomain, NOW)).is_some());
    assert!(decide(&policy, &ended(NOW + DAY), hard(Reason::UserUnknown, NOW)).is_some());
}

#[test]
fn a_removal_sticks_and_counting_begins_anew() {
    let policy = Policy::embedded();
    let removed = |seconds: i64| History { released_at: Some(NOW + seconds), ..nearly_full() };
    let ask = |seconds, bounce| decide(&policy, &removed(seconds), bounce).map(|found| found.origin);
    assert_eq!(ask(60, hard(Reason::UserUnknown, NOW)), None, "older than the removal");
    assert_eq!(ask(0, hard(Reason::UserUnknown, NOW)), Some(Origin::Hard), "in the same second");
    assert_eq!(ask(-60, hard(Reason::UserUnknown, NOW)), Some(Origin::Hard));
    assert_eq!(ask(-60, soft(Reason::MailboxFull, NOW)), None, "the next soft one");
    assert_eq!(ask(-20 * DAY + 1, soft(Reason::MailboxFull, NOW)), None, "one of those before still counts");
    assert_eq!(ask(-20 * DAY, soft(Reason::MailboxFull, NOW)), Some(Origin::Soft), "as many as it takes since");
    assert_eq!(complain(&policy, &removed(60), NOW), None);
    assert!(complain(&policy, &removed(0), NOW).is_some());
    let history = History { released_at: Some(NOW - DAY), ..history(Class::Hard, Reason::BadDomain, &[-10]) };
    assert_eq!(decide(&policy, &history, hard(Reason::BadDomain, NOW)), None);
    let expired = vec![NOW - 300 * DAY, NOW - 200 * DAY];
    let history = History { expired, released_at: Some(NOW - 150 * DAY), ..nearly_full() };
    let found = decide(&policy, &history, soft(Reason::MailboxFull, NOW)).expect("suppressed");
    assert_eq!(found.expires, Some(NOW + 30 * DAY), "the first time since");
}

#[test]
fn a_sign_of_life_clears_what_was_counted_and_not_what_is_enough_alone() {
    let policy = Policy::embedded();
    let alive = |seconds: i64| History { alive_at: Some(NOW + seconds), ..nearly_full() };
    let ask = |seconds, bounce| decide(&policy, &alive(seconds), bounce).is_some();
    assert!(!ask(-20 * DAY, soft(Reason::MailboxFull, NOW)), "in the second of the first bounce");
    assert!(ask(-20 * DAY - 1, soft(Reason::MailboxFull, NOW)));
    assert!(!ask(1, soft(Reason::MailboxFull, NOW)));
    assert!(ask(1, hard(Reason::UserUnknown, NOW)), "a person decides");
    assert!(complain(&policy, &alive(1), NOW).is_some(), "who complains lives");
    let away =
        |days: i64| History { alive_at: Some(NOW + days * DAY), ..history(Class::Hard, Reason::BadDomain, &[-10]) };
    assert!(decide(&policy, &away(-5), hard(Reason::BadDomain, NOW)).is_none(), "the domain was there in between");
    assert!(decide(&policy, &away(-11), hard(Reason::BadDomain, NOW)).is_some());
    let at_once = with_rules("[[rule]]\nid = 'strict'\nclass = 'soft'\nfor = '24h'\n");
    assert!(decide(&at_once, &alive(1), soft(Reason::MailboxFull, NOW)).is_none(), "soft, and older");
    let expired = vec![NOW - 300 * DAY, NOW - 200 * DAY];
    let history = History { expired, alive_at: Some(NOW - 250 * DAY), ..nearly_full() };
    let found = decide(&policy, &history, soft(Reason::MailboxFull, NOW)).expect("suppressed");
    assert_eq!(found.expires, Some(NOW + 90 * DAY), "the second time since");
}

#[test]
fn an_entry_gives_way_only_to_what_outranks_it() {
    let policy = Policy::embedded();
    for (listed, by_hard, by_soft) in [
        (Origin::Soft, true, false),
        (Origin::Import, true, false),
        (Origin::Hard, false, false),
        (Origin::Complaint, false, false),
        (Origin::Manual, false, false),
    ] {
        let entry = Some(InForce { origin: listed, since: NOW - DAY, expires: None });
        let history = History { entry, ..nearly_full() };
        assert_eq!(decide(&policy, &history, hard(Reason::UserUnknown, NOW)).is_some(), by_hard, "{listed}");
        assert_eq!(decide(&policy, &history, soft(Reason::MailboxFull, NOW)).is_some(), by_soft, "{listed}");
    }
}

#[test]
fn what_outranks_an_entry_never_ends_before_it() {
    let policy = with_rules("[[rule]]\nid = 'short'\nclass = 'hard'\nfor = '30d'\n");
    for (old, expected) in [(None, None), (Some(10), Some(30)), (Some(90), Some(90))] {
        let day = |days: i64| NOW + days * DAY;
        let entry = Some(InForce { origin: Origin::Soft, since: NOW - DAY, expires: old.map(day) });
        let found = decide(&policy, &History { entry, ..History::default() }, hard(Reason::UserUnknown, NOW));
        assert_eq!(found.expect("suppressed").expires, expected.map(day), "{old:?}");
    }
}

#[test]
fn an_entry_names_the_bounces_that_were_counted_and_begins_with_the_last_of_them() {
    let policy = Policy::embedded();
    let found = decide(&policy, &nearly_full(), soft(Reason::MailboxFull, NOW)).expect("suppressed");
    assert_eq!((found.since, found.causes), (NOW, vec![1, 2, 3, 4, ROW]));
    // Read late: it was enough when the last of them was received.
    let later = history(Class::Soft, Reason::MailboxFull, &[20, 15, 10, 5, -100]);
    let found = decide(&policy, &later, soft(Reason::MailboxFull, NOW)).expect("suppressed");
    assert_eq!((found.since, found.causes), (NOW + 20 * DAY, vec![ROW, 4, 3, 2, 1]));
    assert_eq!((found.reason, found.rule), (Some(Reason::MailboxFull), None), "the row of the last knows its rule");
    assert_eq!(found.expires, Some(NOW + 50 * DAY));
    let past = (0..=300).map(|row| hard(Reason::BadDomain, NOW - DAY + row).past(row)).collect();
    let many = History { past, ..History::default() };
    let causes = decide(&policy, &many, hard(Reason::BadDomain, NOW)).expect("suppressed").causes;
    assert_eq!((causes.len(), causes[0], causes[1], causes[99]), (MOST_CAUSES, 0, 203, ROW));
}

#[test]
fn the_examples_of_the_documents_can_be_used() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md")).unwrap();
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    // The one that names the file is no policy.
    let policies: Vec<&&str> = blocks.iter().filter(|block| !block.starts_with("[policy]")).collect();
    assert_eq!(policies.len() + 1, blocks.len());
    assert!(policies.len() > 2, "{blocks:?}");
    for block in policies {
        let policy = with_rules(block);
        assert!(policy.rules.len() >= 4 && policy != Policy::embedded(), "{block}");
    }
}

#[test]
fn a_file_that_is_refused_is_named() {
    let error = Policy::load(&["/nowhere/policy.toml".into()]).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/policy.toml: can't read the table"), "{error}");
}

/// Reads bounces in the order given and does what the policy says; entries stay for as long as they are to last.
fn read(policy: &Policy, bounces: &[Bounce]) -> (Option<Origin>, Option<i64>) {
    let mut history = History::default();
    for (row, &bounce) in (1..).zip(bounces) {
        if let Some(new) = decide_in(policy, &history, bounce, Fault::Recipient, "news", row) {
            history.entry = Some(InForce { origin: new.origin, since: new.since, expires: new.expires });
        }
        history.past.push(bounce.past(row));
    }
    (history.entry.map(|entry| entry.origin), history.entry.map(|entry| entry.since))
}

/// Bounces within some months, so that there is something to suppress.
fn bounces() -> impl Strategy<Value = Vec<Bounce>> {
    let kinds = prop_oneof![
        6 => Just((Class::Soft, Reason::MailboxFull)),
        4 => Just((Class::Soft, Reason::ForwardingFailed)),
        6 => Just((Class::Soft, Reason::UserUnknown)),
        2 => Just((Class::Hard, Reason::BadDomain)),
        1 => Just((Class::Hard, Reason::UserUnknown)),
    ];
    let one =
        (kinds, 0..150 * 24i64).prop_map(|((class, reason), hour)| Bounce { class, reason, at: NOW + hour * HOUR });
    proptest::collection::vec(one, 0..24)
}

fn histories() -> impl Strategy<Value = History> {
    let moment = || proptest::option::of((0..150 * 24i64).prop_map(|hour| NOW + hour * HOUR));
    let expired = proptest::collection::vec((0..150 * 24i64).prop_map(|hour| NOW + hour * HOUR), 0..3);
    (bounces(), moment(), moment(), expired).prop_map(|(bounces, released_at, alive_at, expired)| History {
        past: (1..).zip(bounces).map(|(row, bounce)| bounce.past(row)).collect(),
        released_at,
        alive_at,
        expired,
        ..History::default()
    })
}

fn one_bounce() -> impl Strategy<Value = Bounce> {
    let kinds = proptest::sample::select(vec![
        (Class::Soft, Reason::MailboxFull),
        (Class::Soft, Reason::ForwardingFailed),
        (Class::Soft, Reason::UserUnknown),
        (Class::Hard, Reason::BadDomain),
        (Class::Hard, Reason::UserUnknown),
    ]);
    (kinds, 0..150 * 24i64).prop_map(|((class, reason), hour)| Bounce { class, reason, at: NOW + hour * HOUR })
}

proptest! {
    #[test]
    fn the_order_of_arrival_decides_neither_whether_nor_how(
        (sent, shuffled) in bounces().prop_flat_map(|sent| (Just(sent.clone()), Just(sent).prop_shuffle())),
    ) {
        let mut sent = sent;
        sent.sort_by_key(|bounce| bounce.at);
        let (in_order, shuffled) = (read(&Policy::embedded(), &sent), read(&Policy::embedded(), &shuffled));
        prop_assert_eq!(in_order.0, shuffled.0);
        // Of several times at which there were enough another one may be found first, but never one before the first.
        if in_order.0 == Some(Origin::Soft) {
            prop_assert!(shuffled.1 >= in_order.1);
        }
    }

    #[test]
    fn more_success_never_suppresses_more(history in histories(), bounce in one_bounce(), hour in 0..160 * 24i64) {
        let policy = Policy::embedded();
        let alive = History { alive_at: history.alive_at.max(Some(NOW + hour * HOUR)), ..history.clone() };
        let (less, more) = (decide(&policy, &history, bounce), decide(&policy, &alive, bounce));
        if let Some(more) = more {
            let less = less.expect("suppressed even with another sign of life");
            let lasts = |found: &Suppression| found.expires.map_or(i64::MAX, |expires| expires - found.since);
            prop_assert!(lasts(&more) <= lasts(&less));
        }
    }

    #[test]
    fn what_was_received_before_a_removal_is_as_if_it_had_never_been(history in histories(), bounce in one_bounce()) {
        let policy = Policy::embedded();
        let found = decide(&policy, &history, bounce);
        if let Some(at) = history.released_at {
            if bounce.at < at {
                prop_assert_eq!(found, None);
            } else {
                let mut since = history.clone();
                since.past.retain(|past| past.at >= at);
                since.expired.retain(|&expired| expired > at);
                since.alive_at = since.alive_at.filter(|&alive| alive >= at);
                prop_assert_eq!(found, decide(&policy, &since, bounce));
            }
        }
    }

    #[test]
    fn another_bounce_never_takes_a_suppression_away(history in histories(), bounce in one_bounce(), more in one_bounce()) {
        let policy = Policy::embedded();
        let mut longer = history.clone();
        longer.past.push(more.past(999));
        if decide(&policy, &history, bounce).is_some() {
            prop_assert!(decide(&policy, &longer, bounce).is_some());
        }
    }
}
