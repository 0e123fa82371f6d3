//! What happened, as followers read it.

use bounced::{
    message::Place,
    report::Address,
    store::{By, Event, EventKind},
    suppression::Origin,
};

use crate::fixture::{BLOCKED, DAY, Fixture, HARD, START, by, entry};

/// What, whose, by what origin, from which bounce, and when.
type Told<'a> = (EventKind, Option<&'a str>, Option<Origin>, Option<i64>, i64);

fn told(events: &[Event]) -> Vec<Told<'_>> {
    events.iter().map(|e| (e.kind, e.address.as_deref(), e.origin, e.bounce, e.at)).collect()
}

#[tokio::test]
async fn each_change_is_one_event_in_the_order_of_the_commits() {
    let f = Fixture::new().await;
    assert_eq!(f.store.newest_revision().await.unwrap(), 0);
    f.commit(&[entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", BLOCKED)])]).await;
    let ann = Address::parse("ann@example.org").unwrap();
    f.store.release(std::slice::from_ref(&ann), &by(START + DAY)).await.unwrap();
    f.store.release(std::slice::from_ref(&ann), &by(START + DAY)).await.unwrap();
    f.store.suppress(std::slice::from_ref(&ann), &By { note: Some("asked"), ..by(START + 2 * DAY) }).await.unwrap();

    let events = f.store.events_after(0, 100).await.unwrap();
    let (address, hard, manual) = (Some("ann@example.org"), Some(Origin::Hard), Some(Origin::Manual));
    assert_eq!(
        told(&events),
        [
            (EventKind::Bounce, None, None, Some(1), START),
            (EventKind::Bounce, None, None, Some(2), START),
            (EventKind::Suppressed, address, hard, Some(1), START),
            (EventKind::Released, address, hard, None, START + DAY),
            (EventKind::Suppressed, address, manual, None, START + 2 * DAY),
        ],
        "what changes nothing is no event"
    );
    assert_eq!(events[4].note.as_deref(), Some("asked"));
    assert_eq!(f.store.newest_revision().await.unwrap(), events[4].revision);
}

#[tokio::test]
async fn a_follower_reads_on_from_its_revision() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (1..=250).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), HARD)])).collect();
    f.commit(&batch).await;
    let (mut revision, mut read) = (0, Vec::new());
    loop {
        let events = f.store.events_after(revision, 60).await.unwrap();
        assert!(events.len() <= 60);
        let Some(last) = events.last() else { break };
        revision = last.revision;
        read.extend(events);
    }
    assert_eq!(read.len(), 500);
    assert!(read.windows(2).all(|pair| pair[0].revision < pair[1].revision));
    assert_eq!(revision, f.store.newest_revision().await.unwrap());
}

#[tokio::test]
async fn a_message_that_was_recorded_before_is_no_event() {
    let f = Fixture::new().await;
    let mut one = entry(1, START, &[("ann@example.org", HARD)]);
    f.commit(std::slice::from_ref(&one)).await;
    let newest = f.store.newest_revision().await.unwrap();
    one.place = Place::new("elsewhere");
    f.commit(&[one]).await;
    assert_eq!(f.store.newest_revision().await.unwrap(), newest);
}

#[tokio::test]
async fn numbers_of_erased_rows_are_never_given_again() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", BLOCKED)]), entry(2, START, &[("bob@example.org", BLOCKED)])])
        .await;
    f.execute("PRAGMA foreign_keys = ON; DELETE FROM message; DELETE FROM event").await;
    assert_eq!(f.store.newest_revision().await.unwrap(), 2, "events that are gone still count");
    f.commit(&[entry(3, START, &[("eve@example.org", BLOCKED)])]).await;
    assert_eq!(f.value::<i64>("SELECT id FROM message").await, 3);
    assert_eq!(f.value::<i64>("SELECT id FROM bounce").await, 3);
    assert_eq!(f.value::<i64>("SELECT revision FROM event").await, 3);
}
