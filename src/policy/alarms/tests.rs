use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn facts() -> AlarmFacts {
    AlarmFacts { at: NOW, ..AlarmFacts::default() }
}

/// What begins and what is over, where these are open: `kind about`.
fn decided(facts: &AlarmFacts, open: &[(AlarmKind, &str)]) -> (Vec<String>, Vec<String>) {
    let open = open.iter().map(|&(kind, about)| AlarmName { kind, about: about.to_owned() }).collect();
    let AlarmChanges { raised, cleared } = Alarms::default().decide(facts, &open);
    let shown = |name: AlarmName| format!("{} {}", name.kind, name.about);
    (raised.into_iter().map(|new| shown(new.name)).collect(), cleared.into_iter().map(shown).collect())
}

#[test]
fn a_fault_of_ours_is_told_where_it_is_new_and_over_after_three_days() {
    let with = |within_day, before, ago| AlarmFacts {
        own_faults: vec![OwnFault {
            provider: "gmail.com".into(),
            reason: "blocked".into(),
            code: None,
            within_day,
            before,
            last: NOW - ago,
        }],
        ..facts()
    };
    let name = "own_fault gmail.com blocked";
    let open = [(AlarmKind::OwnFault, "gmail.com blocked")];
    let none: (Vec<String>, Vec<String>) = Default::default();
    assert_eq!(decided(&with(5, 0, 0), &[]), (vec![name.into()], vec![]));
    assert_eq!(decided(&with(4, 0, 0), &[]), none);
    assert_eq!(decided(&with(5, 1, 0), &[]), none, "it is an old one");
    assert_eq!(decided(&with(5, 0, 0), &open), none, "it is told already");
    assert_eq!(decided(&with(0, 9, 3 * DAY - 1), &open), none);
    assert_eq!(decided(&with(0, 9, 3 * DAY), &open), (vec![], vec![name.into()]));
    assert_eq!(decided(&facts(), &open), (vec![], vec![name.into()]));
}

#[test]
fn hard_bounces_alarm_above_two_and_five_percent_and_no_longer_below_one_and_a_half() {
    let with = |hard, sent| decided(&AlarmFacts { sent, hard, ..facts() }, &[]).0;
    assert_eq!(with(20, 1_000), [""; 0]);
    assert_eq!(with(21, 1_000), ["hard_rate warning"]);
    assert_eq!(with(50, 1_000), ["hard_rate warning"]);
    assert_eq!(with(51, 1_000), ["hard_rate stop"], "and no warning besides");
    assert_eq!(with(199, 199), [""; 0], "too few to tell");
    assert_eq!(with(200, 200).len(), 1);
    for about in ["warning", "stop"] {
        let open = [(AlarmKind::HardRate, about)];
        let over = |hard, sent| decided(&AlarmFacts { sent, hard, ..facts() }, &open).1.len();
        assert_eq!((over(15, 1_000), over(14, 1_000)), (0, 1), "{about}");
        // Nothing is sent any more: what trickles in is held against as many as are looked at.
        assert_eq!((over(3, 0), over(2, 0)), (0, 1), "{about}");
    }
    let changed = |hard, about| decided(&AlarmFacts { sent: 1_000, hard, ..facts() }, &[(AlarmKind::HardRate, about)]);
    assert_eq!(changed(51, "warning"), (vec!["hard_rate stop".into()], vec!["hard_rate warning".into()]));
    assert_eq!(changed(30, "stop"), (vec![], vec![]), "it lasts, and is told once");
}

#[test]
fn there_is_a_rate_of_fifty_messages_and_none_of_fewer() {
    let alarms = Alarms::default();
    assert_eq!([49, 50, 100].map(|sent| alarms.rate(1, sent)), [None, Some(0.02), Some(0.01)]);
}

#[test]
fn hard_bounces_are_told_with_their_number() {
    let changes = Alarms::default().decide(&AlarmFacts { sent: 2_000, hard: 41, ..facts() }, &BTreeSet::new());
    assert_eq!(changes.raised[0].words, "41 hard bounces of 2,000 messages within a day, more than 2.0 %");
}

#[test]
fn a_burst_lasts_for_as_long_as_somebody_waits() {
    let with = |waiting| AlarmFacts { outages: vec![("gmail.com".into(), waiting)], ..facts() };
    let open = [(AlarmKind::Burst, "gmail.com")];
    assert_eq!(decided(&with(1), &[]).0, ["burst gmail.com"]);
    assert_eq!(decided(&with(1), &open), Default::default());
    assert_eq!(decided(&with(0), &open).1, ["burst gmail.com"]);
}

#[test]
fn silence_is_told_where_it_is_unusual_and_over_with_the_first_word() {
    let with = |silence: i64, messages, longest| AlarmFacts {
        tellings: vec![Telling { name: "box".into(), last: Some(NOW - silence), messages, longest }],
        ..facts()
    };
    assert_eq!(decided(&with(DAY, 20, 3_600), &[]).0, ["silent box"]);
    for (silence, messages, longest) in [(DAY - 1, 20, 3_600), (DAY, 19, 3_600), (3 * DAY, 20, DAY)] {
        assert_eq!(decided(&with(silence, messages, longest), &[]), Default::default(), "{silence} {messages}");
    }
    let open = [(AlarmKind::Silent, "box")];
    assert_eq!(decided(&with(90 * DAY, 0, 0), &open), Default::default(), "what was usual is forgotten");
    assert_eq!(decided(&with(60, 20, 3_600), &open).1, ["silent box"]);
    assert_eq!(decided(&facts(), &open).1, ["silent box"], "it is not configured any more");
}

fn any_facts() -> impl Strategy<Value = AlarmFacts> {
    let fault =
        ("[ab]", "[xy]", 0..9_u64, 0..2_u64, 0..5 * DAY).prop_map(|(provider, reason, within_day, before, ago)| {
            OwnFault { provider, reason, code: None, within_day, before, last: NOW - ago }
        });
    let telling = ("[ab]", prop::option::of(0..9 * DAY), 0..40_u64, 0..2 * DAY)
        .prop_map(|(name, ago, messages, longest)| Telling { name, last: ago.map(|ago| NOW - ago), messages, longest });
    let (faults, tellings) = (prop::collection::vec(fault, 0..5), prop::collection::vec(telling, 0..4));
    let outages = prop::collection::vec(("[ab]", 0..3_u64), 0..4);
    (faults, 0..500_u64, 0..50_u64, outages, tellings).prop_map(|(own_faults, sent, hard, outages, tellings)| {
        AlarmFacts { at: NOW, own_faults, sent, hard, outages, tellings }
    })
}

proptest! {
    /// Whatever happens, in whatever order.
    #[test]
    fn an_alarm_is_raised_at_most_once_while_it_is_open(all in prop::collection::vec(any_facts(), 1..12)) {
        let mut open = BTreeSet::new();
        for facts in all {
            let AlarmChanges { raised, cleared } = Alarms::default().decide(&facts, &open);
            for name in cleared {
                prop_assert!(open.remove(&name), "cleared and not open: {:?}", name);
            }
            for new in raised {
                prop_assert!(open.insert(new.name.clone()), "raised and open: {:?}", new);
            }
            prop_assert_eq!(Alarms::default().decide(&facts, &open), AlarmChanges::default(), "nothing is new");
        }
    }
}
