//! One message puts only so many addresses onto the list; the rest waits for a person.

use bounced::{
    message::Reading,
    policy::Policy,
    store::{By, Held, HeldAnswer, HeldSelection, TakenOff},
};
use futures::TryStreamExt;

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, by, entry};

fn policy() -> Policy {
    Policy { most_per_message: 3, ..Policy::default() }
}

async fn held(f: &Fixture, selection: HeldSelection) -> Vec<Held> {
    f.store.held(&selection).try_collect().await.unwrap()
}

async fn listed(f: &Fixture) -> Vec<String> {
    let rows: Vec<(String,)> = f.rows("SELECT address FROM suppression ORDER BY address").await;
    rows.into_iter().map(|(address,)| address).collect()
}

/// A message that names five dead addresses, of two domains.
async fn five() -> Fixture {
    let f = Fixture::new().await;
    let names = ["a@one.example", "b@one.example", "c@two.example", "d@two.example", "e@one.example"];
    let all = names.map(|name| (name, HARD));
    let committed = f.store.commit(MAILBOX, &[entry(1, START, &all)], &Reading::default(), &policy()).await.unwrap();
    assert_eq!((committed.suppressed.len(), committed.held), (3, 2));
    f
}

#[tokio::test]
async fn what_is_above_the_limit_is_recorded_and_waits() {
    let f = five().await;
    assert_eq!(listed(&f).await, ["a@one.example", "b@one.example", "c@two.example"]);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce WHERE counts = 1").await, 5);
    let waiting = held(&f, HeldSelection::default()).await;
    let names: Vec<_> = waiting.iter().map(|one| (one.address.as_str(), one.origin.as_str(), one.message)).collect();
    assert_eq!(names, [("d@two.example", "hard", Some(1)), ("e@one.example", "hard", Some(1))]);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM event WHERE kind = 'held'").await, 2);
}

#[tokio::test]
async fn a_person_approves_and_rejects_by_address_domain_and_message() {
    let f = five().await;
    let domain = HeldSelection { domain: Some("one.example".to_owned()), ..HeldSelection::default() };
    assert_eq!(held(&f, domain.clone()).await.len(), 1);
    assert_eq!(f.store.answer_held(&domain, HeldAnswer::Reject, &by(START + DAY)).await.unwrap().unchanged, 1);
    let other = HeldSelection { message: Some(2), ..HeldSelection::default() };
    assert_eq!(f.store.answer_held(&other, HeldAnswer::Approve, &by(START + DAY)).await.unwrap().all(), 0);
    let message = HeldSelection { message: Some(1), ..HeldSelection::default() };
    assert_eq!(f.store.answer_held(&message, HeldAnswer::Approve, &by(START + DAY)).await.unwrap().suppressed, 1);
    assert_eq!(listed(&f).await, ["a@one.example", "b@one.example", "c@two.example", "d@two.example"]);
    assert_eq!(f.store.held_count().await.unwrap(), 0);
    let last: Vec<(String, String)> = f.rows("SELECT kind, address FROM event ORDER BY revision DESC LIMIT 2").await;
    let [approved, rejected] = &last[..] else { panic!("{last:?}") };
    assert_eq!((approved.0.as_str(), approved.1.as_str()), ("suppressed", "d@two.example"));
    assert_eq!((rejected.0.as_str(), rejected.1.as_str()), ("rejected", "e@one.example"));

    // A rejection holds against what came before it, and not against what comes after.
    let again = |uid, day: i64| entry(uid, START + day * DAY, &[("e@one.example", HARD)]);
    f.commit(&[again(8, 0)]).await;
    assert!(!listed(&f).await.contains(&"e@one.example".to_owned()));
    f.commit(&[again(9, 2)]).await;
    assert!(listed(&f).await.contains(&"e@one.example".to_owned()));
}

#[tokio::test]
async fn a_person_answers_for_many_addresses_at_once() {
    let f = five().await;
    let of = |names: &[&str]| HeldSelection {
        addresses: Some(names.iter().map(|&name| name.to_owned()).collect()),
        ..HeldSelection::default()
    };
    assert!(held(&f, of(&[])).await.is_empty(), "nobody named is not everybody meant");
    let both = of(&["d@two.example", "a@one.example", "e@one.example"]);
    assert_eq!(held(&f, both.clone()).await.len(), 2);
    let domain = HeldSelection { domain: Some("two.example".to_owned()), ..both };
    assert_eq!(f.store.answer_held(&domain, HeldAnswer::Approve, &by(START)).await.unwrap().suppressed, 1);
    assert_eq!(
        f.store.answer_held(&of(&["e@one.example"]), HeldAnswer::Reject, &by(START)).await.unwrap().unchanged,
        1
    );
    assert_eq!(f.store.held_count().await.unwrap(), 0);
}

#[tokio::test]
async fn whoever_comes_onto_the_list_otherwise_waits_no_longer() {
    let f = five().await;
    f.commit(&[entry(2, START, &[("d@two.example", HARD)])]).await;
    let waiting = held(&f, HeldSelection::default()).await;
    assert_eq!(waiting.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["e@one.example"]);
    // By hand, too; an approval then leaves the person's entry alone.
    let e = bounced::report::Address::parse("e@one.example").unwrap();
    f.store.suppress(std::slice::from_ref(&e), &By { note: Some("asked"), ..by(START) }).await.unwrap();
    f.store.answer_held(&HeldSelection::default(), HeldAnswer::Approve, &by(START)).await.unwrap();
    let entry: Vec<(String, String)> = f.rows("SELECT origin, note FROM suppression WHERE address LIKE 'e@%'").await;
    assert_eq!(entry, [("manual".to_owned(), "asked".to_owned())]);
}

#[tokio::test]
async fn a_soft_entry_is_no_answer_to_what_waits_for_worse() {
    let f = five().await;
    let soft: Vec<_> =
        (0..5).map(|n| entry(10 + n, START + i64::from(n) * 4 * DAY, &[("d@two.example", SOFT)])).collect();
    f.commit(&soft).await;
    assert!(listed(&f).await.contains(&"d@two.example".to_owned()));
    let waiting = held(&f, HeldSelection::default()).await;
    assert_eq!(waiting.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["d@two.example", "e@one.example"]);
}

#[tokio::test]
async fn a_rejection_releases_nobody_who_is_on_the_list_for_another_reason() {
    let f = Fixture::new().await;
    f.execute(
        "INSERT INTO suppression (address, domain, origin, since) VALUES ('e@one.example', 'one.example', 'soft', 1)",
    )
    .await;
    let names = ["a@one.example", "b@one.example", "c@two.example", "e@one.example"];
    let all = names.map(|name| (name, HARD));
    f.store.commit(MAILBOX, &[entry(1, START, &all)], &Reading::default(), &policy()).await.unwrap();
    assert_eq!(
        f.store.answer_held(&HeldSelection::default(), HeldAnswer::Reject, &by(START)).await.unwrap().unchanged,
        1
    );
    assert!(listed(&f).await.contains(&"e@one.example".to_owned()));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM event WHERE kind = 'released'").await, 0);
}

#[tokio::test]
async fn a_person_who_adds_or_removes_an_address_has_answered_for_it() {
    let f = five().await;
    let address = |text| bounced::report::Address::parse(text).unwrap();
    assert_eq!(f.store.suppress(&[address("d@two.example")], &by(START)).await.unwrap(), [true]);
    let waiting = TakenOff { entry: false, waiting: true };
    assert_eq!(f.store.release(&[address("e@one.example")], &by(START)).await.unwrap(), [waiting]);
    assert_eq!(f.store.held_count().await.unwrap(), 0);
    assert!(!listed(&f).await.contains(&"e@one.example".to_owned()));
    assert_eq!(f.store.release(&[address("e@one.example")], &by(START)).await.unwrap(), [TakenOff::default()]);
}
