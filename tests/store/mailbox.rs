//! How each mailbox fares, and what it still has to read and to settle.

use bounced::{
    clock::Moment,
    message::{Pending, Place, Reading, Retry},
    policy::Policy,
    store::{Death, Failure, Heartbeat, Holder, LogReading, PendingAnswer, Store, StoreError},
};

use crate::fixture::{Fixture, HARD, MAILBOX, START, entry, up_to};

fn at(wall: i64) -> Moment {
    Moment { wall, uptime: 0 }
}

fn failed(why: &str, needs_person: bool) -> Heartbeat<'_> {
    Heartbeat::Failed(Failure { why, next_try: Some(START + 60), needs_person })
}

#[tokio::test]
async fn status_tells_when_a_mailbox_was_last_read_and_why_it_is_not() {
    let f = Fixture::new().await;
    assert!(f.store.status().await.unwrap().is_empty());
    f.store.heartbeat(MAILBOX, at(START), Heartbeat::Read).await.unwrap();
    f.commit(&[entry(1, START - 5, &[("ann@example.org", HARD)])]).await;
    f.store.heartbeat("other", at(START + 1), failed("wrong password", true)).await.unwrap();
    f.store.heartbeat(MAILBOX, at(START + 2), failed("connection lost", false)).await.unwrap();

    let status = f.store.status().await.unwrap();
    assert_eq!(status.len(), 2);
    let (one, other) = (&status[0], &status[1]);
    assert_eq!(
        (one.read_at, one.failed_at, one.failure.as_deref()),
        (Some(START), Some(START + 2), Some("connection lost"))
    );
    assert_eq!((one.messages, one.bounces, one.newest, one.unsettled), (1, 1, Some(START - 5), 1));
    assert_eq!((other.read_at, other.failure.as_deref()), (None, Some("wrong password")));
    assert_eq!(
        [one, other].map(|status| (status.next_try, status.needs_person)),
        [(Some(START + 60), false), (Some(START + 60), true)]
    );

    f.store.heartbeat(MAILBOX, at(START + 3), Heartbeat::Read).await.unwrap();
    let one = &f.store.status().await.unwrap()[0];
    assert_eq!((one.read_at, one.failed_at, &one.failure), (Some(START + 3), None, &None));
    f.store.heartbeat("other", at(START + 3), Heartbeat::Read).await.unwrap();
    let other = &f.store.status().await.unwrap()[1];
    assert_eq!((other.next_try, other.needs_person), (None, false));
}

fn pending(place: &str) -> Pending {
    Pending { place: Place::new(place), retry: Retry::after(None, START, "UNAVAILABLE") }
}

#[tokio::test]
async fn a_message_is_pending_from_the_commit_that_passes_it_to_the_one_that_records_it() {
    let f = Fixture::new().await;
    let policy = Policy::default();
    let bounce = |uid| entry(uid, START, &[("ann@example.org", HARD)]);
    let reading = Reading { pending: vec![pending("7:2"), pending("7:3")], ..up_to("7:4") };
    f.store.commit(MAILBOX, &[bounce(1), bounce(4)], &reading, &policy).await.unwrap();
    f.store.heartbeat(MAILBOX, at(START), Heartbeat::Read).await.unwrap();
    let resume = f.store.resume(MAILBOX).await.unwrap();
    assert_eq!((resume.pending, resume.worked), (vec![pending("7:2"), pending("7:3")], true));
    assert_eq!(f.store.status().await.unwrap()[0].pending, 2);

    // One failed again, and nothing was read.
    let again = Retry::after(Some(&pending("7:3").retry), START + 10, "still UNAVAILABLE");
    let again = Pending { place: Place::new("7:3"), retry: again };
    let reading = Reading { pending: vec![again.clone()], ..Reading::default() };
    f.store.commit(MAILBOX, &[], &reading, &policy).await.unwrap();
    assert_eq!(f.store.resume(MAILBOX).await.unwrap().pending, [pending("7:2"), again]);

    // One was read at last, the other was expunged by somebody.
    f.commit(&[bounce(2)]).await;
    let reading = Reading { gone: vec![Place::new("7:3")], ..Reading::default() };
    f.store.commit(MAILBOX, &[], &reading, &policy).await.unwrap();
    let resume = f.store.resume(MAILBOX).await.unwrap();
    assert_eq!((resume.pending.len(), resume.cursor), (0, up_to("7:4").cursor));
}

#[tokio::test]
async fn what_can_not_be_settled_is_put_off_and_keeps_its_reason() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[]), entry(2, START, &[])]).await;
    let retry = Retry::after(None, START, "over quota");
    f.store.put_off(MAILBOX, &[(Place::new("7:1"), retry.clone())]).await.unwrap();
    let due = async |now| f.store.unsettled(MAILBOX, now, 9).await.unwrap();
    assert_eq!(due(START).await.len(), 1);
    let both = due(retry.next_try).await;
    assert_eq!(both.iter().map(|one| one.retry.clone()).collect::<Vec<_>>(), [None, Some(retry)]);
    assert_eq!(f.store.unsettled(MAILBOX, i64::MAX, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_place_without_message_row_is_unrecorded_unless_its_row_was_erased() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[]), entry(2, START, &[])]).await;
    let places = || ["7:1", "7:2", "7:3"].map(Place::new).to_vec();
    assert_eq!(f.store.unrecorded(MAILBOX, places()).await.unwrap(), [Place::new("7:3")]);
    assert_eq!(f.store.unrecorded("other", places()).await.unwrap(), places());
    f.execute("DELETE FROM message WHERE place = '7:1'").await;
    assert_eq!(f.store.unrecorded(MAILBOX, places()).await.unwrap(), [Place::new("7:3")], "7:1 must not come back");
}

#[tokio::test]
async fn a_message_that_was_alone_at_two_deaths_is_set_aside_and_no_other() {
    let f = Fixture::new().await;
    let [bomb, other, third] = ["7:1", "7:2", "7:3"].map(Place::new);
    let died = |deaths: Vec<Death>| {
        let mut all: Vec<_> =
            deaths.into_iter().map(|death| (death.place.as_str().to_owned(), death.deaths, death.set_aside)).collect();
        all.sort();
        all
    };
    assert!(f.store.deaths(MAILBOX, START).await.unwrap().is_empty(), "nothing was ever read");
    // Several at once: whichever it was shows later.
    f.store.attempt(MAILBOX, &[&bomb, &other, &third]).await.unwrap();
    f.store.attempt("elsewhere", &[&bomb]).await.unwrap();
    let expected: Vec<_> = ["7:1", "7:2", "7:3"].map(|place| (place.to_owned(), 0, false)).into();
    assert_eq!(died(f.store.deaths(MAILBOX, START).await.unwrap()), expected);
    assert_eq!(died(f.store.deaths("elsewhere", START).await.unwrap()), [("7:1".to_owned(), 1, false)]);

    // One that is recorded was no cause.
    f.store.attempt(MAILBOX, &[&other]).await.unwrap();
    f.commit(&[entry(2, START, &[("ann@example.org", HARD)])]).await;
    assert!(died(f.store.deaths(MAILBOX, START).await.unwrap()).iter().all(|(place, ..)| place == "7:1"));
    // Alone, twice, with other messages between.
    f.store.attempt(MAILBOX, &[&bomb]).await.unwrap();
    assert_eq!(died(f.store.deaths(MAILBOX, START).await.unwrap()), [("7:1".to_owned(), 1, false)]);
    f.store.attempt(MAILBOX, &[&third]).await.unwrap();
    f.store.attempt(MAILBOX, &[&bomb]).await.unwrap();
    assert_eq!(f.value::<i64>("SELECT count(*) FROM pending").await, 0);
    assert_eq!(died(f.store.deaths(MAILBOX, START).await.unwrap()), [("7:1".to_owned(), 2, true)]);
    let pending = f.store.resume(MAILBOX).await.unwrap().pending;
    assert_eq!((pending.len(), &pending[0].place), (1, &bomb));
    assert!(pending[0].retry.next_try >= START + 3600 && pending[0].retry.why.contains("2 times"), "{pending:?}");
    // Another start in between changes nothing.
    assert_eq!(died(f.store.deaths(MAILBOX, START).await.unwrap()), [("7:1".to_owned(), 2, false)]);
    // Whoever said that he knows need not say it again when the next try ends no better.
    f.store.answer_pending(None, None, PendingAnswer::Acknowledge).await.unwrap();
    f.store.attempt(MAILBOX, &[&bomb]).await.unwrap();
    assert_eq!(died(f.store.deaths(MAILBOX, START + 7_200).await.unwrap()), [("7:1".to_owned(), 3, true)]);
    assert_eq!(f.value::<i64>("SELECT acknowledged FROM pending WHERE tries = 2").await, 1);
}

#[tokio::test]
async fn whoever_ends_the_process_after_what_was_read_was_let_go_ends_it_over_no_message() {
    let f = Fixture::new().await;
    f.execute("CREATE TRIGGER disk_full BEFORE INSERT ON message BEGIN SELECT RAISE(FAIL, 'disk full'); END").await;
    let place = Place::new("7:1");
    for _ in 0..3 {
        f.store.attempt(MAILBOX, &[&place]).await.unwrap();
        let messages = [entry(1, START, &[("ann@example.org", HARD)])];
        f.store.commit(MAILBOX, &messages, &Reading::default(), &Policy::default()).await.unwrap_err();
        f.store.attempt(MAILBOX, &[]).await.unwrap();
        assert!(f.store.deaths(MAILBOX, START).await.unwrap().is_empty(), "it was read, and nobody died");
    }
    assert!(f.store.resume(MAILBOX).await.unwrap().pending.is_empty());
}

fn holder(id: &str) -> Holder {
    Holder { id: id.to_owned(), name: format!("host {id}") }
}

/// What a daemon writes for its mailbox, and whether that was refused because another one has taken it.
async fn writes(store: &Store, uid: u32) -> [bool; 4] {
    let (policy, bounce) = (Policy::default(), entry(uid, START, &[("ann@example.org", HARD)]));
    let place = Place::new(format!("7:{uid}"));
    let all = [
        store.attempt(MAILBOX, &[&place]).await,
        store.commit(MAILBOX, &[bounce], &up_to(&format!("7:{uid}")), &policy).await.map(drop),
        store.heartbeat(MAILBOX, at(START), Heartbeat::Read).await,
        store.commit_log(MAILBOX, &LogReading { cursor: uid.to_string(), ..LogReading::default() }).await,
    ];
    all.map(|done| match done {
        Ok(()) => false,
        Err(StoreError::Overtaken(why)) => why.contains(MAILBOX),
        Err(other) => panic!("{other}"),
    })
}

#[tokio::test]
async fn who_was_overtaken_writes_nothing_more_for_the_mailbox_and_everything_for_others() {
    let f = Fixture::new().await;
    f.store.vouch_from(START).await.unwrap();
    let other = Store::open_existing(&f.database()).await.unwrap();
    let (a, b) = (holder("a"), holder("b"));
    assert_eq!(writes(&f.store, 1).await, [false; 4], "without leases, as commands do");
    assert!(f.store.take_lease(MAILBOX, None, &a, true, at(START)).await.unwrap());
    assert_eq!(writes(&f.store, 2).await, [false; 4]);

    let seen = other.leases().await.unwrap().remove(0);
    assert_eq!((seen.token, seen.owner.as_deref(), seen.holds_lock, seen.renewals), (1, Some("a"), true, 0));
    assert_eq!(f.store.renew_leases(&a, true, &[], at(START)).await.unwrap(), [MAILBOX]);
    assert!(!other.take_lease(MAILBOX, Some(&seen), &b, false, at(START)).await.unwrap(), "it was renewed meanwhile");
    assert!(!other.take_lease(MAILBOX, None, &b, false, at(START)).await.unwrap(), "nor is it the first");
    let seen = other.leases().await.unwrap().remove(0);
    assert!(other.take_lease(MAILBOX, Some(&seen), &b, false, at(START)).await.unwrap());

    assert_eq!(writes(&f.store, 3).await, [true; 4]);
    f.store.heartbeat("another", at(START), Heartbeat::Read).await.unwrap();
    assert_eq!(f.store.renew_leases(&a, true, &[], at(START)).await.unwrap(), Vec::<String>::new());
    let rows =
        "SELECT (SELECT count(*) FROM message) || ' ' || (SELECT position FROM cursor WHERE mailbox = 'bounces')";
    assert_eq!(f.value::<String>(rows).await, "2 7:2", "nothing came of it");
    assert_eq!(writes(&other, 3).await, [false; 4]);

    // It comes back, and then the token is another one.
    other.release_leases(&b).await.unwrap();
    let seen = f.store.leases().await.unwrap().remove(0);
    assert_eq!((seen.token, seen.owner.as_deref()), (2, None));
    assert!(f.store.take_lease(MAILBOX, Some(&seen), &a, true, at(START)).await.unwrap());
    assert_eq!(f.store.leases().await.unwrap()[0].token, 3);
    assert_eq!((writes(&f.store, 4).await, writes(&other, 5).await), ([false; 4], [true; 4]));
}

#[tokio::test]
async fn who_waits_is_shown_until_he_waits_no_more_and_who_gives_back_died_over_nothing() {
    let f = Fixture::new().await;
    let (a, b) = (holder("a"), holder("b"));
    let place = Place::new("7:1");
    assert!(f.store.take_lease(MAILBOX, None, &a, true, at(START)).await.unwrap());
    f.store.attempt(MAILBOX, &[&place]).await.unwrap();
    let waits = [MAILBOX.to_owned()];
    for moment in [START, START + 10] {
        f.store.renew_leases(&b, false, &waits, at(moment)).await.unwrap();
    }
    let shown = f.store.daemons().await.unwrap().remove(0);
    assert_eq!(shown.reader.map(|reader| reader.daemon), Some("host a".to_owned()));
    let standby: Vec<_> = shown.standby.iter().map(|one| (one.daemon.as_str(), one.seen_at)).collect();
    assert_eq!((shown.mailbox.as_str(), standby), (MAILBOX, vec![("host b", START + 10)]));

    f.store.release_leases(&a).await.unwrap();
    assert!(f.store.deaths(MAILBOX, START).await.unwrap().is_empty());
    let seen = f.store.leases().await.unwrap().remove(0);
    assert!(f.store.take_lease(MAILBOX, Some(&seen), &b, true, at(START)).await.unwrap());
    f.store.renew_leases(&b, true, &[], at(START)).await.unwrap();
    let shown = f.store.daemons().await.unwrap().remove(0);
    assert_eq!((shown.reader.unwrap().daemon.as_str(), shown.standby.len()), ("host b", 0));
}
