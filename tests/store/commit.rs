//! What a commit records, and that it does so exactly once.

use bounced::{
    codes::{Class, Fault, Judgement, Reason},
    message::{Cursor, Disposition, Place, Reading},
    policy::Policy,
    report::{Action, Address, Candidate, Evidence, Kind, Location, Lowered},
    store::Store,
    suppression::Origin,
};

use crate::fixture::{BLOCKED, DAY, Fixture, HARD, MAILBOX, SOFT, START, by, entry, up_to};

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
        .commit("other", &[moved.clone(), copied.clone(), first.clone()], &Reading::default(), &Policy::default())
        .await
        .unwrap();
    assert_eq!((other.new, other.duplicates, other.suppressed.len()), (0, 3, 0));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM message").await, 1);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 2);

    assert_eq!(f.unsettled("other").await, ["1767225600.1.host", "7:1", "8:1"]);
    // No row of `message` names them, and yet they need no second look.
    let places = [&moved, &copied, &first].map(|entry| entry.place.clone());
    assert!(f.store.unrecorded("other", places.to_vec()).await.unwrap().is_empty());
}

/// Of a long message only so much is read as the configuration says, and its SHA-256 is that of what was read.
#[tokio::test]
async fn a_message_that_is_read_again_under_another_limit_is_the_same() {
    let f = Fixture::new().await;
    let first = entry(1, START, &[("ann@example.org", HARD)]);
    f.commit(std::slice::from_ref(&first)).await;
    let mut again = first.clone();
    again.sha256 = [1; 32];
    let committed = f.commit(std::slice::from_ref(&again)).await;
    assert_eq!((committed.new, committed.duplicates), (0, 1));
    assert_eq!(f.unsettled(MAILBOX).await, ["7:1"], "it is settled all the same");

    // Another message at the same place, as after a server has lost its numbers.
    let mut others = [again.clone(), again.clone(), again.clone(), again];
    others[0].size += 1;
    others[1].received += 1;
    others[2].report.message_id = None;
    others[3].place = Place::new("7:2");
    for (n, mut other) in (2..).zip(others) {
        other.sha256 = [n; 32];
        assert_eq!(f.commit(&[other]).await.new, 1, "{n}");
    }
    let mut elsewhere = first.clone();
    elsewhere.sha256 = [9; 32];
    let committed = f.store.commit("other", &[elsewhere], &Reading::default(), &Policy::default()).await.unwrap();
    assert_eq!(committed.new, 1);
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
    f.store.commit(MAILBOX, &batch, &up_to("7:2"), &Policy::default()).await.unwrap();

    f.store.close().await;
    let store = Store::open(&f.database()).await.unwrap();
    let resume = store.resume(MAILBOX).await.unwrap();
    assert_eq!(resume.cursor, Some(Cursor::new("7:2")));
    let unsettled = store.unsettled(MAILBOX, 0, 9).await.unwrap();
    let unsettled: Vec<_> = unsettled.into_iter().map(|one| (one.place, one.disposition, one.retry)).collect();
    let expected = [(&batch[0], Disposition::Processed), (&batch[1], Disposition::Untouched)];
    assert_eq!(unsettled, expected.map(|(one, disposition)| (one.place.clone(), disposition, None)));
    store.settled("other", &[batch[0].place.clone()]).await.unwrap();
    store.settled(MAILBOX, &[batch[0].place.clone()]).await.unwrap();
    assert_eq!(store.unsettled(MAILBOX, 0, 9).await.unwrap()[0].place, Place::new("7:2"));
    assert_eq!(store.resume("other").await.unwrap().cursor, None);
    assert!(store.unsettled("other", 0, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn places_are_known_after_a_restart() {
    let f = Fixture::new().await;
    let mut one = entry(1, START, &[("ann@example.org", HARD)]);
    one.place = Place::new("1767225600.M1P2.host");
    f.commit(std::slice::from_ref(&one)).await;
    f.store.settled(MAILBOX, std::slice::from_ref(&one.place)).await.unwrap();
    assert!(f.unsettled(MAILBOX).await.is_empty());
    let places = [one.place.clone(), Place::new("1767225600.M2P2.host")];
    assert_eq!(f.store.unrecorded(MAILBOX, places.to_vec()).await.unwrap(), places[1..]);
    assert_eq!(f.store.unrecorded("other", places.to_vec()).await.unwrap(), places);
}

#[tokio::test]
async fn no_action_but_failed_counts_as_a_failure() {
    let f = Fixture::new().await;
    for (uid, &action) in (1..).zip(Action::ALL) {
        let mut one = entry(uid, START, &[("ann@example.org", HARD)]);
        one.report.recipients[0].address = Address::parse(&format!("{action}@example.org"));
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

/// Field, line and words, and whether and by what the verdict was lowered.
type Kept = (Option<String>, Option<i64>, Option<String>, Option<String>, Option<i64>, Option<String>);

async fn kept(f: &Fixture) -> Vec<Kept> {
    f.rows("SELECT field, line, words, lowered_from, lowered_line, lowered_words FROM bounce ORDER BY id").await
}

#[tokio::test]
async fn a_row_keeps_the_evidence_of_what_decided_and_of_what_lowered_it() {
    let f = Fixture::new().await;
    let evidence = |field: &'static str, line, words: &str| Evidence {
        location: Location::Field(field.into()),
        range: 0..1,
        line: Some(line),
        words: words.to_owned(),
    };
    let mut one = entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD), ("eve@example.org", HARD)]);
    let winner = one.verdicts[0].winner.clone().unwrap();
    let loser = Candidate { evidence: evidence("Status", 16, "5.1.1"), ..winner.clone() };
    let by = evidence("Status", 9, "4.1.1");
    one.verdicts[0].outranked = vec![loser];
    one.verdicts[1].class = Class::Soft;
    one.verdicts[1].lowered = Some(Lowered { from: Class::Hard, digit: 4, evidence: Some(by) });
    one.verdicts[2].winner = None;
    f.commit(&[one]).await;

    let text = |text: &str| Some(text.to_owned());
    let won = (text("Diagnostic-Code"), Some(17), text("smtp; 550 5.1.1 no"));
    let (field, line, words) = won.clone();
    let lowered = (won.0, won.1, won.2, text("hard"), Some(9), text("4.1.1"));
    let expected = [(field, line, words, None, None, None), lowered, (None, None, None, None, None, None)];
    assert_eq!(kept(&f).await, expected);
}

#[tokio::test]
async fn the_gate_s_answer_is_kept_with_each_bounce() {
    let f = Fixture::new().await;
    let mut uid = 0;
    let mut batch = Vec::new();
    for &action in Action::ALL {
        for &fault in Fault::ALL {
            uid += 1;
            let mut one = entry(uid, START, &[("ann@example.org", Judgement { fault, ..SOFT })]);
            one.report.recipients[0].action = action;
            batch.push(one);
        }
    }
    f.commit(&batch).await;
    let wrong = "SELECT count(*) FROM bounce WHERE counts <> (action = 'failed' AND fault = 'recipient')";
    assert_eq!(f.value::<i64>(wrong).await, 0);
    assert_eq!(f.value::<i64>("SELECT sum(counts) FROM bounce").await, 1);
}

/// A policy that wants so many full mailboxes, as far apart as it can look.
fn counting(count: u32) -> Policy {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let rule = format!(
        "[[rule]]\nid = \"full\"\nreasons = \"mailbox_full\"\ncount = {count}\nspread = \"14d\"\nwithin = \"400d\"\nfor = \"forever\"\n"
    );
    std::fs::write(&file, rule).unwrap();
    Policy::load(&[file]).unwrap()
}

#[tokio::test]
async fn a_history_reaches_back_400_days_and_holds_only_what_counts() {
    let policy = counting(3);
    for (first, judgement, enough) in [(0, SOFT, true), (-1, SOFT, false), (0, BLOCKED, false), (0, HARD, false)] {
        let f = Fixture::new().await;
        let mut oldest = entry(1, START + first * DAY, &[("ann@example.org", judgement)]);
        // A delay is no failure yet, whatever the verdict on it says.
        if judgement == HARD {
            oldest.verdicts[0].class = Class::Soft;
            oldest.report.recipients[0].action = Action::Delayed;
        }
        for one in [oldest, entry(2, START + 200 * DAY, &[("ann@example.org", SOFT)])] {
            assert!(f.store.commit(MAILBOX, &[one], &Reading::default(), &policy).await.unwrap().suppressed.is_empty());
        }
        let last = [entry(3, START + 400 * DAY, &[("ann@example.org", SOFT)])];
        let suppressed = f.store.commit(MAILBOX, &last, &Reading::default(), &policy).await.unwrap().suppressed;
        assert_eq!(!suppressed.is_empty(), enough, "{first} {judgement:?}");
    }
}

#[tokio::test]
async fn an_old_mail_among_new_ones_has_its_own_history() {
    let policy = counting(2);
    let f = Fixture::new().await;
    f.store
        .commit(MAILBOX, &[entry(1, START, &[("ann@example.org", SOFT)])], &Reading::default(), &policy)
        .await
        .unwrap();
    let batch = [
        entry(2, START + 900 * DAY, &[("bob@example.org", SOFT)]),
        entry(3, START + 300 * DAY, &[("ann@example.org", SOFT)]),
    ];
    let suppressed = f.store.commit(MAILBOX, &batch, &Reading::default(), &policy).await.unwrap().suppressed;
    assert_eq!(suppressed.iter().map(|s| s.address.as_str()).collect::<Vec<_>>(), ["ann@example.org"]);
}

#[tokio::test]
async fn the_last_removal_counts_and_nothing_else_is_one() {
    let f = Fixture::new().await;
    let ann = Address::parse("ann@example.org").unwrap();
    let hard = |uid, day| [entry(uid, START + day * DAY, &[("ann@example.org", HARD)])];
    f.commit(&hard(1, 0)).await;
    f.store.release(std::slice::from_ref(&ann), &by(START + DAY)).await.unwrap();
    f.commit(&hard(2, 2)).await;
    f.store.release(std::slice::from_ref(&ann), &by(START + 5 * DAY)).await.unwrap();
    f.commit(&hard(3, 3)).await;
    assert_eq!(f.store.suppression(&ann).await.unwrap(), None, "received between the two removals");

    // Soft bounces put bob on the list; a hard one that was received before that but read later still counts.
    let soft: Vec<_> =
        (0..5).map(|n| entry(10 + n, START + i64::from(n) * 4 * DAY, &[("bob@example.org", SOFT)])).collect();
    assert_eq!(f.commit(&soft).await.suppressed.len(), 1);
    f.commit(&[entry(20, START + 10 * DAY, &[("bob@example.org", HARD)])]).await;
    assert_eq!(f.value::<String>("SELECT origin FROM suppression").await, "hard");
}

#[tokio::test]
async fn a_hard_bounce_in_the_second_of_a_removal_counts_and_an_older_one_does_not() {
    for (seconds, back) in [(-1, false), (0, true), (1, true)] {
        let f = Fixture::new().await;
        f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
        let ann = Address::parse("ann@example.org").unwrap();
        f.store.release(std::slice::from_ref(&ann), &by(START + DAY)).await.unwrap();
        f.commit(&[entry(2, START + DAY + seconds, &[("ann@example.org", HARD)])]).await;
        assert_eq!(f.store.suppression(&ann).await.unwrap().is_some(), back, "{seconds} s later");
    }
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
    assert!(f.unsettled(MAILBOX).await.is_empty());
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

#[tokio::test]
async fn an_entry_that_turns_hard_leads_to_the_hard_bounce_and_stands_there_since_it_was_soft() {
    let f = Fixture::new().await;
    let soft: Vec<_> =
        (1..=5).map(|n| entry(n, START + i64::from(n) * 4 * DAY, &[("ann@example.org", SOFT)])).collect();
    f.commit(&soft).await;
    f.commit(&[entry(6, START + 30 * DAY, &[("ann@example.org", HARD)])]).await;
    let found: Vec<(String, i64, i64)> = f.rows("SELECT origin, bounce, since FROM suppression").await;
    assert_eq!(found, [("hard".to_owned(), 6, START + 20 * DAY)]);
}
