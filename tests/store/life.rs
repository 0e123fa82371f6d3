//! Entries that end: by signs of life, by their time, by an allowance.

use bounced::{
    codes::Judgement,
    report::{Action, Address, Evidence, Finding, Kind},
    store::{By, HeldAnswer, HeldSelection, JudgedMessage, StoreError},
};

use crate::fixture::{DAY, Fixture, HARD, SOFT, START, by, entry};

const ANN: &str = "ann@example.org";

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A mail of this kind that somebody wrote.
fn written(uid: u32, received: i64, kind: Kind, author: &str) -> JudgedMessage {
    let mut one = entry(uid, received, &[]);
    one.report.kind = kind;
    one.report.author = Some(Finding { value: address(author), evidence: Evidence::of_structure("From") });
    one
}

/// A report that this address was reached.
fn delivered(uid: u32, received: i64, to: &str) -> JudgedMessage {
    let mut one = entry(uid, received, &[(to, SOFT)]);
    one.report.kind = Kind::Delivered;
    one.report.recipients[0].action = Action::Delivered;
    one
}

/// Ann's mailbox is full on five days, the last of them the sixteenth.
async fn full() -> Fixture {
    let f = Fixture::new().await;
    f.commit(&softs(1, 0)).await;
    assert_eq!(listed(&f).await, [ANN]);
    f
}

/// Five soft bounces, four days apart, from this day on.
fn softs(uid: u32, day: i64) -> Vec<JudgedMessage> {
    (0..5u32).map(|n| entry(uid + n, START + (day + 4 * i64::from(n)) * DAY, &[(ANN, SOFT)])).collect()
}

async fn dead(address: &str, judgement: Judgement) -> Fixture {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[(address, judgement)])]).await;
    f
}

async fn listed(f: &Fixture) -> Vec<String> {
    let rows: Vec<(String,)> = f.rows("SELECT address FROM suppression ORDER BY address").await;
    rows.into_iter().map(|(address,)| address).collect()
}

/// What happened to the list, and who did it.
async fn told(f: &Fixture) -> Vec<(String, String)> {
    f.rows("SELECT kind, actor FROM event WHERE address IS NOT NULL ORDER BY revision").await
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(kind, actor)| ((*kind).to_owned(), (*actor).to_owned())).collect()
}

#[tokio::test]
async fn each_sign_of_life_ends_a_soft_entry_and_what_was_counted() {
    let signs = [
        written(50, START + 17 * DAY, Kind::AutoReply, ANN),
        written(50, START + 17 * DAY, Kind::NotBounce, "Ann@Example.org"),
        delivered(50, START + 17 * DAY, ANN),
    ];
    for sign in signs {
        let f = full().await;
        let committed = f.commit(&[sign]).await;
        assert_eq!((committed.ended, listed(&f).await.len()), (1, 0));
        assert_eq!(told(&f).await, pairs(&[("suppressed", "bounced"), ("revived", "bounced")]));
        // The next one does not bring it back; as many as at the first time do.
        let again = softs(60, 20);
        f.commit(&again[..4]).await;
        assert!(listed(&f).await.is_empty());
        f.commit(&again[4..]).await;
        assert_eq!(listed(&f).await, [ANN]);
    }
}

#[tokio::test]
async fn a_sign_from_before_the_last_bounce_says_nothing() {
    let f = full().await;
    f.commit(&[written(50, START + 15 * DAY, Kind::AutoReply, ANN)]).await;
    assert_eq!(listed(&f).await, [ANN]);
}

#[tokio::test]
async fn nobody_else_is_revived_and_of_strangers_nothing_is_kept() {
    let f = full().await;
    let complaint = crate::fixture::complaint(51, START + 20 * DAY, &["carl@example.org"]);
    f.commit(&[written(50, START + 20 * DAY, Kind::AutoReply, "bob@example.org"), complaint]).await;
    assert!(listed(&f).await.contains(&ANN.to_owned()));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM alive").await, 0);
}

#[tokio::test]
async fn who_is_suppressed_for_good_and_lives_is_shown_to_a_person_once() {
    let f = dead(ANN, HARD).await;
    let waiting = || async { f.rows::<(String, String)>("SELECT address, why FROM held").await };
    f.commit(&[written(2, START + DAY, Kind::AutoReply, ANN)]).await;
    assert_eq!(listed(&f).await, [ANN], "never without a person");
    assert_eq!(waiting().await, pairs(&[(ANN, "alive")]));
    let all = HeldSelection::default();
    assert_eq!(f.store.answer_held(&all, HeldAnswer::Reject, &by(START + 2 * DAY)).await.unwrap().unchanged, 1);
    f.commit(&[written(3, START + 3 * DAY, Kind::AutoReply, ANN)]).await;
    assert!(waiting().await.is_empty(), "he has said no");
    assert_eq!(listed(&f).await, [ANN]);

    let f = dead(ANN, HARD).await;
    f.commit(&[written(2, START + DAY, Kind::NotBounce, ANN)]).await;
    assert_eq!(f.store.answer_held(&all, HeldAnswer::Approve, &by(START + 2 * DAY)).await.unwrap().released, 1);
    assert!(listed(&f).await.is_empty());
    assert_eq!(told(&f).await, pairs(&[("suppressed", "bounced"), ("held", "bounced"), ("released", "ann")]),);
    f.commit(&[entry(4, START + DAY, &[(ANN, HARD)])]).await;
    assert!(listed(&f).await.is_empty(), "received before that");
    f.commit(&[entry(5, START + 3 * DAY, &[(ANN, HARD)])]).await;
    assert_eq!(listed(&f).await, [ANN]);
}

#[tokio::test]
async fn a_hard_bounce_that_is_read_late_suppresses_and_is_shown_as_alive() {
    let f = full().await;
    f.commit(&[written(50, START + 30 * DAY, Kind::AutoReply, ANN)]).await;
    f.commit(&[entry(51, START + 29 * DAY, &[(ANN, HARD)])]).await;
    assert_eq!(listed(&f).await, [ANN]);
    assert_eq!(f.value::<String>("SELECT why FROM held").await, "alive");
}

#[tokio::test]
async fn somebody_who_knows_tells_that_mail_was_delivered() {
    let f = full().await;
    let both = [address(ANN), address("stranger@example.org")];
    let done = f.store.revive(&both, &by(START + 20 * DAY)).await.unwrap();
    assert_eq!((done.known, done.ended, done.asked), (1, 1, 0));
    assert!(listed(&f).await.is_empty());
    assert_eq!(told(&f).await, pairs(&[("suppressed", "bounced"), ("revived", "ann")]));
    let rows: Vec<(String, String)> = f.rows("SELECT address, sign FROM alive").await;
    assert_eq!(rows, pairs(&[(ANN, "told")]));
}

#[tokio::test]
async fn an_entry_whose_time_is_over_is_taken_off_and_the_next_one_counts_anew() {
    let f = full().await;
    f.execute("UPDATE suppression SET expires = 1770000000").await;
    assert_eq!(f.store.expire(1_769_999_999).await.unwrap(), 0);
    assert_eq!(f.store.expire(1_770_000_000).await.unwrap(), 1);
    assert!(listed(&f).await.is_empty());
    let last: (String, i64, i64) =
        f.rows("SELECT kind, at, before FROM event ORDER BY revision DESC LIMIT 1").await.remove(0);
    assert_eq!((last.0.as_str(), last.1), ("expired", 1_770_000_000));
    let made: i64 = f.value("SELECT revision FROM event WHERE kind = 'suppressed'").await;
    assert_eq!(last.2, made);
    f.commit(&[entry(50, 1_770_000_001, &[(ANN, SOFT)])]).await;
    assert!(listed(&f).await.is_empty(), "one bounce alone");
}

/// Bounces read in one go go on where the daemon would have taken her off in between.
#[tokio::test]
async fn an_entry_whose_time_was_over_before_a_bounce_hides_nothing() {
    let f = Fixture::new().await;
    f.commit(&[softs(1, 0), softs(11, 50)].concat()).await;
    assert_eq!(f.value::<i64>("SELECT (since - 1767225600) / 86400 FROM suppression").await, 66);
    let kinds: Vec<String> = told(&f).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["suppressed", "expired", "suppressed"]);
}

#[tokio::test]
async fn an_older_sign_of_life_is_none_after_a_newer_one() {
    let f = full().await;
    for day in [20, 18] {
        f.store.revive(&[address(ANN)], &by(START + day * DAY)).await.unwrap();
    }
    assert_eq!(f.value::<i64>("SELECT (at - 1767225600) / 86400 FROM alive").await, 20);
}

#[tokio::test]
async fn who_is_allowed_leaves_the_list_and_nothing_but_a_person_brings_him_back() {
    for allowed in [ANN, "*@example.org"] {
        let f = dead(ANN, HARD).await;
        let note = By { note: Some("a customer"), ..by(START + DAY) };
        assert_eq!(f.store.allow(&[address(allowed)], &note).await.unwrap().entries, 1);
        assert!(listed(&f).await.is_empty());
        f.commit(&[entry(2, START + 2 * DAY, &[(ANN, HARD), ("bob@sub.example.org", HARD)])]).await;
        assert_eq!(listed(&f).await, ["bob@sub.example.org"], "{allowed}");
        for add in [ANN, "*@example.org"] {
            let refused = f.store.suppress(&[address("eve@example.net"), address(add)], &by(START)).await.unwrap_err();
            assert!(
                matches!(&refused, StoreError::Refused(why) if why.contains(allowed) && why.contains("--remove")),
                "{refused:?}"
            );
        }
        assert_eq!(listed(&f).await, ["bob@sub.example.org"], "nobody of those");
        let rows = f.store.allowed().await.unwrap();
        assert_eq!((rows[0].address.as_str(), rows[0].note.as_deref()), (allowed, Some("a customer")));
        let gone = f.store.disallow(&[address(allowed), address("x@example.org")], &by(START + 3 * DAY)).await.unwrap();
        assert_eq!(gone, [true, false]);
        f.commit(&[entry(3, START + 4 * DAY, &[(ANN, HARD)])]).await;
        assert!(listed(&f).await.contains(&ANN.to_owned()));
    }
}

#[tokio::test]
async fn nobody_is_allowed_whose_domain_is_suppressed() {
    let f = Fixture::new().await;
    f.store.suppress(&[address("*@example.org")], &by(START)).await.unwrap();
    let refused = f.store.allow(&[address(ANN)], &by(START)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Refused(why) if why.contains("remove '*@example.org'")), "{refused:?}");
    assert_eq!(f.store.allow(&[address("*@example.org")], &by(START)).await.unwrap().entries, 1);
    assert!(listed(&f).await.is_empty());
}

#[tokio::test]
async fn no_bounce_makes_an_entry_of_a_whole_domain() {
    let f = dead("*@example.org", HARD).await;
    f.commit(&[entry(2, START, &[("\"*\"@example.org", HARD)])]).await;
    assert!(listed(&f).await.is_empty());
}
