//! Where one remote calls more addresses dead than can be true, they wait: also those that were believed before.

use bounced::{
    message::Reading,
    policy::Policy,
    report::Action,
    store::{Committed, HeldAnswer, HeldSelection, JudgedMessage, Records},
};

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, by, entry};

const HOUR: i64 = 3_600;
const A_MESSAGE: i64 = 40;

/// Messages about `40 * messages` addresses at Gmail, evenly over so many hours from `at`.
fn burst(first: u32, at: i64, hours: i64, messages: i64) -> Vec<JudgedMessage> {
    (0..messages)
        .map(|n| {
            let names: Vec<String> =
                (0..A_MESSAGE).map(|address| format!("a{}@gmail.com", n * A_MESSAGE + address)).collect();
            of_gmail(first + u32::try_from(n).unwrap(), at + n * hours * HOUR / messages, &names)
        })
        .collect()
}

fn of_gmail(uid: u32, at: i64, names: &[impl AsRef<str>]) -> JudgedMessage {
    let recipients: Vec<_> = names.iter().map(|name| (name.as_ref(), HARD)).collect();
    let mut message = entry(uid, at, &recipients);
    for recipient in &mut message.report.recipients {
        recipient.remote_mta = Some("gmail-smtp-in.l.google.com".to_owned());
    }
    message
}

/// A report that mail reached these.
fn delivered(uid: u32, at: i64, name: &str) -> JudgedMessage {
    let mut message = of_gmail(uid, at, &[name]);
    message.report.recipients[0].action = Action::Delivered;
    message
}

async fn commit(f: &Fixture, batch: &[JudgedMessage]) -> Committed {
    f.store.commit(MAILBOX, batch, &Reading::default(), &Policy::default()).await.unwrap()
}

async fn listed(f: &Fixture) -> i64 {
    f.value("SELECT count(*) FROM suppression").await
}

async fn waiting(f: &Fixture) -> i64 {
    f.value("SELECT count(*) FROM held WHERE why = 'outage' AND remote = 'gmail.com'").await
}

/// `listed`, `held` or `free`.
async fn state(f: &Fixture, name: &str) -> &'static str {
    let sql = "SELECT 'listed', address FROM suppression UNION ALL SELECT 'held', address FROM held";
    let rows: Vec<(String, String)> = f.rows(sql).await;
    match rows.iter().find(|(_, address)| address == name) {
        Some((state, _)) if state == "listed" => "listed",
        Some(_) => "held",
        None => "free",
    }
}

fn gmail() -> HeldSelection {
    HeldSelection { remote: Some("gmail.com".to_owned()), ..HeldSelection::default() }
}

/// Everything of the burst waits, and nothing of anybody else, in whatever order and batches it is read.
#[tokio::test]
async fn a_burst_waits_in_any_order_and_nobody_else_does() {
    let mut all = burst(1, START + 40 * 60, 5, 60);
    all.extend((0..60).map(|n| {
        let name = format!("gone@company{n}.example");
        let mut message = entry(1_000 + n, START + i64::from(n) * 300, &[(&name, HARD)]);
        message.report.recipients[0].remote_mta = Some("aspmx.l.google.com".to_owned());
        message
    }));
    let mut states = Vec::new();
    for step in [1, 7, 77, 119] {
        for size in [9, 120] {
            let f = Fixture::new().await;
            let order: Vec<_> = (0..all.len()).map(|n| all[n * step % all.len()].clone()).collect();
            let mut committed = (0, 0, 0);
            for batch in order.chunks(size) {
                let now = commit(&f, batch).await;
                committed = (committed.0 + now.suppressed.len(), committed.1 + now.held, committed.2 + now.ended);
            }
            assert_eq!((listed(&f).await, waiting(&f).await), (60, 2_400), "step {step}, batches of {size}");
            let (suppressed, held, ended) = committed;
            assert_eq!((suppressed - ended, held), (60, 2_400));
            let unlike: i64 = f
                .value(
                    "SELECT count(*) FROM event AS e WHERE kind = 'suppressed' AND address LIKE '%@gmail.com' AND NOT
                        EXISTS (SELECT 1 FROM event AS h WHERE h.before = e.revision AND h.kind = 'held')",
                )
                .await;
            assert_eq!(unlike, 0, "what was believed was taken back");
            let hours: Vec<(String, i64, i64, i64, i64)> =
                f.rows("SELECT remote, hour, dead, held, confirmed FROM dead_by_hour ORDER BY remote, hour").await;
            states.push(hours);
        }
    }
    assert!(states.iter().all(|state| *state == states[0]), "{states:?}");
    let sums = |remote: &str| {
        let of = states[0].iter().filter(|row| row.0 == remote);
        of.fold((0, 0), |(dead, held), row| (dead + row.2, held + row.3))
    };
    assert_eq!((sums("gmail.com"), sums("google.com"), sums("")), ((2_400, 2_400), (60, 0), (2_460, 0)));
}

/// What came an hour before and an hour after waits too; two hours away it does not.
#[tokio::test]
async fn the_hours_beside_a_burst_belong_to_it() {
    let f = Fixture::new().await;
    for (uid, hour) in [(1, -2), (2, -1), (3, 1), (4, 2)] {
        let name = format!("hour{hour}@gmail.com");
        commit(&f, &[of_gmail(uid, START + hour * HOUR, &[&name])]).await;
    }
    assert_eq!(listed(&f).await, 4);
    commit(&f, &burst(10, START, 1, 5)).await;
    assert_eq!(waiting(&f).await, 0, "200 are not too many");
    commit(&f, &[of_gmail(20, START, &["one-more@gmail.com"])]).await;
    assert_eq!(waiting(&f).await, 203);
    for (hour, expected) in [(-2, "listed"), (-1, "held"), (1, "held"), (2, "listed")] {
        assert_eq!(state(&f, &format!("hour{hour}@gmail.com")).await, expected, "{hour}");
    }
}

#[tokio::test]
async fn who_is_called_dead_again_three_days_later_is_believed_dead() {
    let f = Fixture::new().await;
    commit(&f, &burst(1, START, 2, 20)).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (0, 800));
    let events: i64 = f.value("SELECT count(*) FROM event WHERE kind <> 'bounce'").await;
    commit(&f, &[of_gmail(100, START + 3 * DAY - 1, &["a0@gmail.com"])]).await;
    assert_eq!(state(&f, "a0@gmail.com").await, "held");
    assert_eq!(f.value::<i64>("SELECT count(*) FROM event WHERE kind <> 'bounce'").await, events, "nothing happened");
    commit(&f, &[of_gmail(101, START + 3 * DAY, &["a0@gmail.com"])]).await;
    assert_eq!(state(&f, "a0@gmail.com").await, "listed");
    let hour: (i64, i64, i64) = f
        .rows("SELECT dead, held, confirmed FROM dead_by_hour WHERE remote = 'gmail.com' ORDER BY hour LIMIT 1")
        .await
        .remove(0);
    assert_eq!(hour, (400, 399, 1));
    assert_eq!(f.value::<i64>("SELECT since FROM suppression").await, START, "dead since then");
    // Another burst is no confirmation.
    let mut second = burst(200, START + 7 * DAY, 1, 1);
    let others: Vec<String> = (0..400).map(|n| format!("b{n}@gmail.com")).collect();
    second.extend((0..10).map(|n| of_gmail(300 + n, START + 7 * DAY + 60, &others[n as usize * 40..][..40])));
    commit(&f, &second).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (1, 1_199));
    let since: i64 = f.value("SELECT since FROM held WHERE address = 'a1@gmail.com'").await;
    assert_eq!(since, START, "it has waited since then");
}

/// An archive is read in any order: who was called dead again long after is dead, whichever was read first.
#[tokio::test]
async fn a_later_verdict_that_was_read_before_counts() {
    for together in [false, true] {
        let f = Fixture::new().await;
        let mut all = vec![of_gmail(1, START, &["a0@gmail.com"]), of_gmail(2, START + 8 * DAY, &["a0@gmail.com"])];
        all.extend(burst(10, START, 1, 6));
        if together {
            commit(&f, &all).await;
        } else {
            commit(&f, &all[..2]).await;
            assert_eq!(listed(&f).await, 1);
            commit(&f, &all[2..]).await;
        }
        assert_eq!(state(&f, "a0@gmail.com").await, "listed", "together: {together}");
        assert_eq!(waiting(&f).await, 239);
    }
}

#[tokio::test]
async fn who_lives_waits_for_nothing() {
    // Before the burst is seen, after it, and within one batch.
    let f = Fixture::new().await;
    commit(&f, &[of_gmail(1, START, &["a0@gmail.com"]), delivered(2, START + 60, "a0@gmail.com")]).await;
    assert_eq!(f.value::<String>("SELECT why FROM held").await, "alive");
    let mut all = burst(10, START, 1, 6);
    all.push(delivered(3, START + HOUR, "a1@gmail.com"));
    commit(&f, &all).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (0, 238));
    commit(&f, &[delivered(4, START + HOUR, "a2@gmail.com")]).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (0, 237));
    for name in ["a0@gmail.com", "a1@gmail.com", "a2@gmail.com"] {
        assert_eq!(state(&f, name).await, "free", "{name}");
    }
    assert_eq!(f.value::<i64>("SELECT count(DISTINCT address) FROM event WHERE kind = 'revived'").await, 3);
}

#[tokio::test]
async fn what_a_person_says_stands_and_makes_the_hour_usual() {
    let f = Fixture::new().await;
    let ann = bounced::report::Address::parse("a0@gmail.com").unwrap();
    commit(&f, &[of_gmail(1, START, &["a0@gmail.com"])]).await;
    f.store.suppress(&[ann], &by(START + 60)).await.unwrap();
    commit(&f, &burst(10, START, 1, 10)).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (1, 399));
    let other = HeldSelection { remote: Some("google.com".to_owned()), ..HeldSelection::default() };
    assert_eq!(f.store.answer_held(&other, HeldAnswer::Approve, &by(START + HOUR)).await.unwrap().all(), 0);
    assert_eq!(f.store.answer_held(&gmail(), HeldAnswer::Approve, &by(START + HOUR)).await.unwrap().suppressed, 399);
    assert_eq!((listed(&f).await, waiting(&f).await), (400, 0));
    commit(&f, &[of_gmail(30, START + 120, &["late@gmail.com"])]).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (401, 0), "the rest of the hour is believed");
    // As much as that is usual from now on.
    let names: Vec<String> = (0..400).map(|n| format!("c{n}@gmail.com")).collect();
    let next: Vec<_> = (0..10).map(|n| of_gmail(40 + n, START + 2 * DAY, &names[n as usize * 40..][..40])).collect();
    commit(&f, &next).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (801, 0));
}

/// Who is approved alone stays on the list, although the rest of the hour goes on waiting.
#[tokio::test]
async fn what_a_person_approved_of_an_hour_that_waits_is_not_taken_back() {
    let f = Fixture::new().await;
    commit(&f, &burst(10, START, 1, 10)).await;
    let alone = HeldSelection { addresses: Some(vec!["a0@gmail.com".to_owned()]), ..HeldSelection::default() };
    f.store.answer_held(&alone, HeldAnswer::Approve, &by(START + HOUR)).await.unwrap();
    assert_eq!((listed(&f).await, waiting(&f).await), (1, 399));
    commit(&f, &[of_gmail(30, START + 120, &["late@gmail.com"])]).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (1, 400));
    assert_eq!(state(&f, "a0@gmail.com").await, "listed");
}

/// Five soft bounces say that a mailbox is full for long; that it is dead says the burst alone.
#[tokio::test]
async fn who_is_on_the_list_by_soft_bounces_waits_with_the_others_and_stays_there() {
    for read_before in [false, true] {
        let f = Fixture::new().await;
        for n in 0..5 {
            commit(&f, &[entry(900 + n, START - 17 * DAY + i64::from(n) * 4 * DAY, &[("a0@gmail.com", SOFT)])]).await;
        }
        let entry_of = "SELECT origin, reason, rule, policy, bounce, since, expires FROM suppression";
        type Entry = (String, String, String, String, i64, i64, i64);
        let soft: Vec<Entry> = f.rows(entry_of).await;
        assert_eq!((soft.len(), soft[0].0.as_str()), (1, "soft"));
        let hard = of_gmail(800, START + 60, &["a0@gmail.com"]);
        if read_before {
            commit(&f, std::slice::from_ref(&hard)).await;
            assert_eq!(f.value::<String>("SELECT origin FROM suppression").await, "hard");
        }
        let committed = commit(&f, &burst(1, START, 1, 6)).await;
        assert_eq!(f.rows::<Entry>(entry_of).await, soft, "read before: {read_before}");
        assert_eq!(waiting(&f).await, 240);
        let told = &committed.braked[0];
        let taken_back = usize::from(read_before);
        assert_eq!((told.remote.as_str(), told.held, told.taken_back), ("gmail.com", 240 - taken_back, taken_back));
        let since: i64 = f.value("SELECT since FROM held WHERE address = 'a0@gmail.com'").await;
        assert_eq!(since, if read_before { START + 60 } else { START });
        let order: i64 = f.value("SELECT count(*) FROM event AS e JOIN event AS b ON b.revision = e.before WHERE b.revision > e.revision OR b.address <> e.address").await;
        assert_eq!(order, 0);
        // Dead all the same, as a later verdict shows.
        commit(&f, &[of_gmail(801, START + 5 * DAY, &["a0@gmail.com"])]).await;
        assert_eq!(f.value::<String>("SELECT origin FROM suppression").await, "hard");
        assert_eq!(waiting(&f).await, 239);
    }
}

#[tokio::test]
async fn hours_of_long_ago_are_erased_but_for_those_of_which_some_wait() {
    let f = Fixture::new().await;
    commit(&f, &burst(1, START, 1, 6)).await;
    commit(&f, &[of_gmail(50, START + 30 * HOUR, &["a@gmail.com"]), of_gmail(51, START + 9 * DAY, &["b@gmail.com"])])
        .await;
    let hours = "SELECT remote, hour, dead, held FROM dead_by_hour ORDER BY remote, hour";
    assert_eq!(f.rows::<(String, i64, i64, i64)>(hours).await.len(), 6);
    while f.store.erase_before(Records::DeadByHour, START + 9 * DAY, 2).await.unwrap() > 0 {}
    let (of_gmail, of_all) = ("gmail.com".to_owned(), String::new());
    let left =
        [(of_all, START + 9 * DAY, 1, 0), (of_gmail.clone(), START, 240, 240), (of_gmail, START + 9 * DAY, 1, 0)];
    assert_eq!(f.rows::<(String, i64, i64, i64)>(hours).await, left);
}
