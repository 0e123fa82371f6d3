//! What a commit records, and that it does so exactly once.

use bounced::{
    codes::{Class, Fault, Judgement, Reason},
    message::{Cursor, Disposition, Place},
    policy::Policy,
    report::{Action, Kind, Lowered},
    store::Store,
    suppression::Origin,
};

use crate::fixture::{BLOCKED, DAY, Fixture, HARD, MAILBOX, SOFT, START, entry};

#[tokio::test]
async fn a_message_is_recorded_once_whatever_place_it_comes_back_with() {
    let f = Fixture::new().await;
    let first = entry(1, START, &[("Ann@Example.org", HARD), ("bob@example.org", SOFT)]);
    let committed = f.commit(std::slice::from_ref(&first)).await;
    assert_eq!((committed.new, committed.duplicates, committed.suppressed.len()), (1, 0, 1));

    let mut moved = first.clone();
    moved.place = Place::new("8:1");
    let mut copied = first.clone();
    copied.place = Place::new("1767225600.1.host");
    let other = f
        .store
        .commit("other", &[moved.clone(), copied.clone(), first.clone()], None, &Policy::default())
        .await
        .unwrap();
    assert_eq!((other.new, other.duplicates, other.suppressed.len()), (0, 3, 0));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM message").await, 1);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 2);

    let unsettled: Vec<_> = f.store.resume("other").await.unwrap().unsettled;
    for entry in [&moved, &copied, &first] {
        assert!(unsettled.contains(&(entry.place.clone(), Disposition::Processed)), "{:?}", entry.place);
    }
}

#[tokio::test]
async fn a_message_twice_in_one_batch_is_recorded_once() {
    let f = Fixture::new().await;
    let first = entry(1, START, &[("ann@example.org", HARD)]);
    let mut again = first.clone();
    again.place = Place::new("7:2");
    let committed = f.commit(&[first, again]).await;
    assert_eq!((committed.new, committed.duplicates, committed.suppressed.len()), (1, 1, 1));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 1);
}

#[tokio::test]
async fn what_is_settled_is_not_resumed_and_the_cursor_is() {
    let f = Fixture::new().await;
    let mut untouched = entry(2, START, &[]);
    untouched.report.kind = Kind::NotBounce;
    untouched.disposition = Disposition::Untouched;
    let batch = [entry(1, START, &[("ann@example.org", HARD)]), untouched];
    f.store.commit(MAILBOX, &batch, Some(&Cursor::new("7:2")), &Policy::default()).await.unwrap();

    f.store.close().await;
    let store = Store::open(&f.database()).await.unwrap();
    let resume = store.resume(MAILBOX).await.unwrap();
    assert_eq!(resume.cursor, Some(Cursor::new("7:2")));
    assert_eq!(
        resume.unsettled,
        [(batch[0].place.clone(), Disposition::Processed), (batch[1].place.clone(), Disposition::Untouched)]
    );
    store.settled("other", &[batch[0].place.clone()]).await.unwrap();
    store.settled(MAILBOX, &[batch[0].place.clone()]).await.unwrap();
    let resume = store.resume(MAILBOX).await.unwrap();
    assert_eq!(resume.unsettled, [(batch[1].place.clone(), Disposition::Untouched)]);
    assert_eq!(store.resume("other").await.unwrap().cursor, None);
}

#[tokio::test]
async fn places_are_known_after_a_restart() {
    let f = Fixture::new().await;
    let mut one = entry(1, START, &[("ann@example.org", HARD)]);
    one.place = Place::new("1767225600.M1P2.host");
    f.commit(std::slice::from_ref(&one)).await;
    f.store.settled(MAILBOX, std::slice::from_ref(&one.place)).await.unwrap();
    assert!(f.store.resume(MAILBOX).await.unwrap().unsettled.is_empty());
    assert!(f.store.known(MAILBOX).await.unwrap().contains(&one.place));
    assert!(f.store.known("other").await.unwrap().is_empty());
}

#[tokio::test]
async fn no_action_but_failed_counts_as_a_failure() {
    let f = Fixture::new().await;
    for (uid, &action) in (1..).zip(Action::ALL) {
        let mut one = entry(uid, START, &[("ann@example.org", HARD)]);
        one.report.recipients[0].address = bounced::report::Address::parse(&format!("{action}@example.org"));
        one.report.recipients[0].action = action;
        f.commit(&[one]).await;
    }
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 5);
    assert_eq!(f.value::<String>("SELECT group_concat(address) FROM hard_bounces").await, "failed@example.org");
    assert_eq!(f.value::<String>("SELECT group_concat(address) FROM suppression").await, "failed@example.org");
    assert_eq!(f.value::<i64>("SELECT sum(bounces) FROM bounces_by_domain").await, 1);
    assert_eq!(f.value::<i64>("SELECT sum(bounces) FROM bounces_by_reason").await, 1);
}

#[tokio::test]
async fn a_mail_that_reports_no_delivery_leaves_no_bounce() {
    let f = Fixture::new().await;
    for (uid, &kind) in (1..).zip(Kind::ALL) {
        let mut one = entry(uid, START, &[("ann@example.org", HARD)]);
        one.report.kind = kind;
        f.commit(&[one]).await;
    }
    assert_eq!(f.value::<i64>("SELECT count(*) FROM message").await, 6);
    let reporting = "SELECT group_concat(m.kind) FROM bounce AS b JOIN message AS m ON m.id = b.message";
    assert_eq!(f.value::<String>(reporting).await, "bounce,delayed,delivered");
}

#[tokio::test]
async fn a_verdict_that_was_lowered_keeps_its_evidence() {
    let f = Fixture::new().await;
    let mut one = entry(1, START, &[("ann@example.org", HARD)]);
    let verdict = &mut one.verdicts[0];
    verdict.class = Class::Soft;
    verdict.lowered = Some(Lowered { from: Class::Hard, digit: 4, evidence: None });
    f.commit(&[one]).await;
    let evidence = "SELECT field || ' ' || line || ' ' || words FROM bounce";
    assert_eq!(f.value::<String>(evidence).await, "Diagnostic-Code 17 smtp; 550 5.1.1 no");
}

#[tokio::test]
async fn soft_bounces_suppress_across_batches_and_within_one() {
    let f = Fixture::new().await;
    let on = |uid, day| entry(uid, START + day * DAY, &[("ann@example.org", SOFT), ("bob@example.org", BLOCKED)]);
    assert!(f.commit(&[on(1, 0), on(2, 5)]).await.suppressed.is_empty());
    assert!(f.commit(&[on(3, 9)]).await.suppressed.is_empty());
    let committed = f.commit(&[on(4, 12), on(5, 14), on(6, 15)]).await;
    let found: Vec<_> = committed.suppressed.iter().map(|s| (s.address.as_str(), s.origin, s.since)).collect();
    assert_eq!(found, [("ann@example.org", Origin::Soft, START + 14 * DAY)]);

    let committed = f.commit(&[entry(7, START + 20 * DAY, &[("ann@example.org", HARD)])]).await;
    assert_eq!(committed.suppressed.len(), 1);
    assert_eq!(f.value::<String>("SELECT origin FROM suppression").await, "hard");
    assert_eq!(f.value::<i64>("SELECT since FROM suppression").await, START + 14 * DAY, "listed since the soft ones");
}

#[tokio::test]
async fn a_batch_larger_than_one_statement_is_recorded_whole() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (1..=2_500)
        .map(|uid| entry(uid, START, &[(format!("user{uid}@example.org").as_str(), HARD), ("x@example.com", SOFT)]))
        .collect();
    let committed = f.commit(&batch).await;
    assert_eq!((committed.new, committed.suppressed.len()), (2_500, 2_500));
    assert_eq!(f.commit(&batch).await.duplicates, 2_500);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 5_000);
    let places: Vec<_> = batch.iter().map(|entry| entry.place.clone()).collect();
    f.store.settled(MAILBOX, &places).await.unwrap();
    assert!(f.store.resume(MAILBOX).await.unwrap().unsettled.is_empty());
}

#[tokio::test]
async fn every_word_of_the_domain_fits_the_tables() {
    let f = Fixture::new().await;
    let mut uid = 0;
    let mut next = |judgement| {
        uid += 1;
        entry(uid, START, &[("ann@example.org", judgement)])
    };
    let mut batch = Vec::new();
    for &class in Class::ALL {
        batch.push(next(Judgement { class, ..HARD }));
    }
    for &fault in Fault::ALL {
        batch.push(next(Judgement { fault, ..HARD }));
    }
    for &reason in Reason::ALL {
        batch.push(next(Judgement { reason, ..HARD }));
    }
    for &kind in Kind::ALL {
        let mut one = next(HARD);
        one.report.kind = kind;
        batch.push(one);
    }
    for &action in Action::ALL {
        let mut one = next(HARD);
        one.report.recipients[0].action = action;
        batch.push(one);
    }
    assert_eq!(f.commit(&batch).await.new, batch.len());
}

#[tokio::test]
async fn a_recipient_without_address_is_recorded_and_suppresses_nobody() {
    let f = Fixture::new().await;
    let committed = f.commit(&[entry(1, START, &[("nobody", HARD)])]).await;
    assert!(committed.suppressed.is_empty());
    assert_eq!(f.value::<i64>("SELECT count(*) FROM hard_bounces WHERE address IS NULL").await, 1);
}
