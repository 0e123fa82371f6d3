//! Who complained: a row with its evidence and an event, and nothing on the suppression list.

use bounced::{store::EventKind, suppression::Origin};

use crate::fixture::{DAY, Fixture, HARD, START, complaint, entry};

#[tokio::test]
async fn who_complained_is_recorded_with_the_line_that_says_so() {
    let f = Fixture::new().await;
    f.commit(&[complaint(7, START, &["Ann@Example.org", "bob@example.com"])]).await;
    let rows: Vec<(i64, i64, String, String, String)> =
        f.rows("SELECT message, position, address_given, address, domain FROM complaint ORDER BY id").await;
    let row = |position, given: &str, address: &str, domain: &str| {
        (1, position, given.to_owned(), address.to_owned(), domain.to_owned())
    };
    let both = [
        row(0, "Ann@Example.org", "ann@example.org", "example.org"),
        row(1, "bob@example.com", "bob@example.com", "example.com"),
    ];
    assert_eq!(rows, both);
    let rows: Vec<(String, String, String, String, i64, String, String)> = f
        .rows(
            "SELECT time, original_message_id, campaign, field, line, words, message_id FROM complaints
             WHERE address = 'ann@example.org'",
        )
        .await;
    let ann = [
        "2026-01-01T00:00:00Z",
        "original-7@example.org",
        "campaign-1",
        "Original-Rcpt-To",
        "<Ann@Example.org>",
        "7@mx.example.org",
    ]
    .map(str::to_owned);
    let [time, original, campaign, field, words, message_id] = ann;
    assert_eq!(rows, [(time, original, campaign, field, 23, words, message_id)]);
}

#[tokio::test]
async fn a_complaint_suppresses_who_complained_for_good_and_is_no_bounce() {
    let f = Fixture::new().await;
    // What a reader would have to get wrong first: a complaint with somebody who failed.
    let mut both = complaint(1, START, &["ann@example.org"]);
    let failed = entry(1, START, &[("bob@example.org", HARD)]);
    (both.report.recipients, both.verdicts) = (failed.report.recipients, failed.verdicts);
    let committed = f.commit(&[both]).await;
    let made: Vec<_> = committed.suppressed.iter().map(|s| (s.address.as_str(), s.origin, s.expires)).collect();
    assert_eq!((made, committed.held), (vec![("ann@example.org", Origin::Complaint, None)], 0));
    for (table, rows) in [
        ("SELECT count(*) FROM bounce", 0),
        ("SELECT count(*) FROM suppression WHERE complaint = 1 AND bounce IS NULL", 1),
        ("SELECT count(*) FROM complaint", 1),
    ] {
        assert_eq!(f.value::<i64>(table).await, rows, "{table}");
    }
}

#[tokio::test]
async fn a_complaint_is_recorded_once_and_goes_with_its_message() {
    let f = Fixture::new().await;
    let one = complaint(1, START, &["ann@example.org"]);
    f.commit(&[one.clone(), one.clone()]).await;
    f.commit(&[one, complaint(2, START + DAY, &["ann@example.org"]), complaint(3, START, &[])]).await;
    assert_eq!(f.value::<i64>("SELECT count(*) FROM complaint").await, 2);
    f.execute("PRAGMA foreign_keys = ON; DELETE FROM message WHERE id = 2").await;
    assert_eq!(f.value::<i64>("SELECT id FROM complaint").await, 1);
    // Its number leads to no other row later.
    f.commit(&[complaint(4, START, &["bob@example.com"])]).await;
    assert_eq!(f.value::<i64>("SELECT max(id) FROM complaint").await, 3);
}

#[tokio::test]
async fn each_complaint_is_an_event_that_leads_to_its_row() {
    let f = Fixture::new().await;
    f.commit(&[complaint(1, START, &["ann@example.org"]), entry(2, START + DAY, &[("bob@example.com", HARD)])]).await;
    let events = f.store.events_after(0, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.bounce, event.complaint, event.at)).collect();
    let expected = [
        (EventKind::Bounce, Some(1), None, START + DAY),
        (EventKind::Complaint, None, Some(1), START),
        (EventKind::Suppressed, None, Some(1), START),
        (EventKind::Suppressed, Some(1), None, START + DAY),
    ];
    assert_eq!(told, expected);
    assert!(events[1].address.is_none() && !events[1].kind.is_of_list());
    // To whoever follows the list nothing has happened.
    let newest = f.store.newest_revision().await.unwrap();
    f.commit(&[complaint(3, START, &["ann@example.org"])]).await;
    assert!(!f.store.list_changed_since(newest).await.unwrap());
}
