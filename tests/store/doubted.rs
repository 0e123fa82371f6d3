//! What nobody vouched for when it was read is asked about again: when it becomes known that we sent the message of which it
//! speaks. And what vouches for a mail but once.

use bounced::{
    app::{Judge, Outdated, believe_sent, erase_outdated},
    config::{Config, Retention},
    message::Reading,
    policy::{Demand, Demands, Policy},
    report::{Action, Address, Evidence, Finding, Kind, Recipient, Signature, StoredRecipient, Trust, Trusts, Verdict},
    store::{
        Anew, By, Committed, HeldAnswer, HeldSelection, JudgedMessage, LogReading, Progress, Raised, Sent, Store,
        StoreError, TablesVersion,
    },
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, by, complaint, entry};

const ANN: &str = "ann@example.org";
const BOB: &str = "bob@example.net";
const TO_ANN: &str = "to-ann@news.example";

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn sent(message_id: &str, recipient: &str) -> Sent {
    Sent {
        at: START,
        message_id: Some(message_id.to_owned()),
        recipient: address(recipient),
        provider: "example".to_owned(),
        campaign: None,
        is_delivered: true,
    }
}

/// A report of the message that has this Message-ID.
fn about(mut one: JudgedMessage, message_id: &str) -> JudgedMessage {
    one.report.original.message_id = Some(message_id.to_owned());
    one
}

/// An answer of his own program to the message that has this Message-ID.
fn answer(uid: u32, at: i64, author: &str, message_id: &str) -> JudgedMessage {
    let mut one = entry(uid, at, &[]);
    one.report.kind = Kind::AutoReply;
    one.report.author = Some(Finding { value: address(author), evidence: Evidence::of_structure("From") });
    one.report.provenance.in_reply_to = Some(message_id.to_owned());
    one
}

/// What a mail log tells, with what is in the queue.
async fn log(f: &Fixture, sent: &[Sent], queue: &[(&str, Option<&str>)]) {
    let queue = queue.iter().map(|(id, message_id)| {
        ((*id).to_owned(), message_id.map(|message_id| format!("{{\"since\":1,\"message_id\":\"{message_id}\"}}")))
    });
    let reading = LogReading { queue: queue.collect(), sent: sent.to_vec(), read_at: START, ..LogReading::default() };
    f.store.commit_log("mx", &reading).await.unwrap();
}

/// A store that doubts.
async fn doubting() -> Fixture {
    let f = Fixture::new().await;
    f.store.vouch_from(START).await.unwrap();
    f
}

async fn raise_with(store: &Store, policy: &Policy, now: i64) -> Raised {
    let mut all = Raised::default();
    while let Some(Raised { count, changes }) = store.raise_due(policy, now).await.unwrap() {
        all.count += count;
        all.changes.suppressed.extend(changes.suppressed);
        all.changes.held += changes.held;
        all.changes.ended += changes.ended;
    }
    all
}

async fn raise(f: &Fixture) -> u64 {
    raise_with(&f.store, &Policy::default(), START).await.count
}

async fn listed(f: &Fixture) -> Vec<(String, String)> {
    f.rows("SELECT address, origin FROM suppression ORDER BY address").await
}

async fn waiting(f: &Fixture) -> Vec<(String, String)> {
    f.rows("SELECT address, why FROM held ORDER BY address").await
}

fn of(address: &str, what: &str) -> (String, String) {
    (address.to_owned(), what.to_owned())
}

#[tokio::test]
async fn a_bounce_that_is_read_before_the_line_of_its_message_suppresses_when_that_is_read() {
    let f = doubting().await;
    let batch = [
        about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN),
        about(entry(2, START + 6, &[(BOB, HARD)]), TO_ANN),
        about(entry(3, START + 7, &[("eve@example.com", HARD)]), "other@news.example"),
    ];
    f.commit(&batch).await;
    assert_eq!((listed(&f).await.len(), waiting(&f).await.len()), (0, 3));
    assert_eq!(raise(&f).await, 0, "nothing is known yet");
    log(&f, &[sent(TO_ANN, ANN)], &[]).await;
    assert_eq!(listed(&f).await, [], "that is another transaction");
    let raised = raise_with(&f.store, &Policy::default(), START).await;
    assert_eq!((raised.count, raised.changes.suppressed.len()), (1, 1));
    assert_eq!(listed(&f).await, [of(ANN, "hard")]);
    assert_eq!(waiting(&f).await, [of(BOB, "unverified"), of("eve@example.com", "unverified")]);
    let trusts: Vec<(String, String)> = f.rows("SELECT address, trust FROM bounce ORDER BY id").await;
    assert_eq!(trusts[..2], [of(ANN, "matched"), of(BOB, "unverified")]);
    let told: Vec<(String, String, i64)> = f
        .rows(
            "SELECT e.kind, coalesce(e.note, ''), s.revision = e.revision AND s.since = 1767225605 AND e.before IS NOT NULL
             FROM event AS e JOIN suppression AS s ON s.address = e.address WHERE e.kind = 'suppressed'",
        )
        .await;
    assert_eq!(
        told,
        [("suppressed".to_owned(), "known by now: we sent the message, and to nobody else".to_owned(), 1)]
    );
    assert_eq!(raise(&f).await, 0, "once");
    // As the entry of a bounce that was believed at once.
    let other = doubting().await;
    log(&other, &[sent(TO_ANN, ANN)], &[]).await;
    other.commit(&batch).await;
    let entry =
        "SELECT concat_ws('|', address, origin, reason, rule, policy, diagnostic, bounce, remote, since, expires)
                 FROM suppression";
    let entries = (f.rows::<(String,)>(entry).await, other.rows::<(String,)>(entry).await);
    assert_eq!(entries.0, entries.1);
    let dead = "SELECT concat_ws('|', remote, hour, dead, held) FROM dead_by_hour ORDER BY 1";
    assert_eq!(f.rows::<(String,)>(dead).await, other.rows::<(String,)>(dead).await, "the brake has counted it");
    // And nothing of that is put right by who judges everything anew.
    let judge = |stored: &StoredRecipient<'_>, _: Option<&str>| -> Option<(Recipient, Verdict)> {
        Some((stored.recipient()?, crate::fixture::verdict(HARD)))
    };
    let tables = TablesVersion { digest: "another".to_owned(), version: "9" };
    let policy = Policy::default().vouching_since(Some(START)).into_owned();
    let by = By::new("eve", START + DAY);
    let anew = Anew { judge: &judge, tables: &tables, policy: &policy, since: None, by, dry_run: false };
    let mut progress = Progress::default();
    while let Some(differences) = f.store.reclassify(&anew, &mut progress).await.unwrap() {
        assert!(differences.list.is_empty(), "{differences:?}");
    }
    assert_eq!(listed(&f).await, [of(ANN, "hard")]);
}

#[tokio::test]
async fn complaints_and_signs_of_life_are_believed_as_late() {
    let f = doubting().await;
    log(&f, &[sent("soft@news.example", BOB)], &[]).await;
    f.store.suppress(&[address(BOB)], &by(START)).await.unwrap();
    f.execute("UPDATE suppression SET origin = 'soft', expires = 9999999999").await;
    let batch = [
        about(complaint(1, START + 5, &[ANN]), TO_ANN),
        answer(2, START + 6, BOB, "to-bob@news.example"),
        answer(3, START + 6, "nobody@example.org", "to-nobody@news.example"),
    ];
    f.commit(&batch).await;
    let reached = {
        let mut one = about(entry(4, START + 7, &[("eve@example.com", SOFT)]), "to-eve@news.example");
        one.report.kind = Kind::Delivered;
        one.report.recipients[0].action = Action::Delivered;
        one
    };
    f.commit(&[entry(5, START, &[("eve@example.com", HARD)]), reached]).await;
    assert_eq!(waiting(&f).await, [of(ANN, "unverified"), of("eve@example.com", "unverified")]);
    assert_eq!(listed(&f).await, [of(BOB, "soft")]);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM doubted WHERE address IS NOT NULL").await, 1, "of whom is known");
    let messages = [
        sent(TO_ANN, ANN),
        sent("to-bob@news.example", BOB),
        sent("to-eve@news.example", "eve@example.com"),
        sent("to-nobody@news.example", "nobody@example.org"),
    ];
    log(&f, &messages, &[]).await;
    let raised = raise_with(&f.store, &Policy::default(), START).await;
    assert_eq!((raised.count, raised.changes.ended), (3, 1));
    assert_eq!((listed(&f).await, waiting(&f).await), (vec![of(ANN, "complaint")], Vec::new()));
    assert_eq!(f.rows::<(String,)>("SELECT trust FROM complaint").await, [("matched".to_owned(),)]);
}

#[tokio::test]
async fn a_message_that_may_still_go_to_others_is_waited_for_and_one_that_did_matches_nobody() {
    let f = doubting().await;
    f.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
    log(&f, &[sent(TO_ANN, ANN)], &[("A1", Some(TO_ANN))]).await;
    assert_eq!(raise(&f).await, 0, "it is in the queue");
    f.commit(&[about(entry(2, START + 6, &[(ANN, HARD)]), TO_ANN)]).await;
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce WHERE trust = 'matched'").await, 0, "nor at once");
    log(&f, &[], &[("A1", None)]).await;
    assert_eq!(raise_with(&f.store, &Policy::default(), START + 6).await.count, 2, "no line of it comes any more");
    assert_eq!(listed(&f).await, [of(ANN, "hard")]);
    for others in [true, false] {
        let f = doubting().await;
        f.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
        log(&f, &[sent(TO_ANN, ANN)], &[("A1", Some(TO_ANN))]).await;
        assert_eq!(raise(&f).await, 0);
        let late = [sent(TO_ANN, BOB)];
        log(&f, if others { &late } else { &[] }, &[("A1", None)]).await;
        assert_eq!(raise(&f).await, u64::from(!others));
        assert_eq!(listed(&f).await.len(), usize::from(!others));
        assert_eq!(f.value::<i64>("SELECT count(*) FROM doubted").await, 0, "it is known by now");
    }
}

#[tokio::test]
async fn what_came_before_its_message_was_sent_is_believed_neither_late_nor_at_once_nor_when_judged_anew() {
    const HOUR: i64 = 3_600;
    // By how much the bounce came before the message was sent.
    for (before, is_believed) in [(HOUR, true), (HOUR + 1, false), (9 * DAY, false)] {
        let sent = |id: &str, to: &str| Sent { at: START + before, ..sent(id, to) };
        let answered = answer(2, START, BOB, "to-bob@news.example");
        let complained = about(complaint(3, START, &["eve@example.com"]), "to-eve@news.example");
        let laid = [about(entry(1, START, &[(ANN, HARD)]), TO_ANN), answered, complained];
        let messages =
            [sent(TO_ANN, ANN), sent("to-bob@news.example", BOB), sent("to-eve@news.example", "eve@example.com")];
        let expected = if is_believed { 3 } else { 0 };
        let late = doubting().await;
        late.store.suppress(&[address(BOB)], &by(START)).await.unwrap();
        late.commit(&laid).await;
        log(&late, &messages, &[]).await;
        assert_eq!(raise(&late).await, expected, "late, {before}");
        late.store.ask_again(i64::MIN, START).await.unwrap();
        assert_eq!(raise(&late).await, 0, "anew, {before}");
        let at_once = doubting().await;
        log(&at_once, &messages, &[]).await;
        at_once.commit(&laid).await;
        for f in [late, at_once] {
            let trusts: Vec<(String,)> = f.rows("SELECT trust FROM bounce UNION ALL SELECT trust FROM complaint").await;
            assert!(trusts.iter().all(|(trust,)| (trust == "matched") == is_believed), "{before}: {trusts:?}");
        }
    }
    // What is stored by an earlier version is asked about from an hour before the first message on.
    let f = doubting().await;
    f.commit(&[about(entry(1, START - HOUR + 1, &[(ANN, HARD)]), TO_ANN)]).await;
    f.commit(&[about(entry(2, START, &[(BOB, HARD)]), TO_ANN)]).await;
    f.execute("DELETE FROM doubted").await;
    log(&f, &[sent(TO_ANN, ANN)], &[]).await;
    f.store.ask_again(i64::MIN, START).await.unwrap();
    assert_eq!(
        f.value::<i64>("SELECT count(*) FROM doubted").await,
        1,
        "of a message to somebody else nothing is asked"
    );
    assert_eq!(raise(&f).await, 1);
}

#[tokio::test]
async fn who_else_knows_a_message_counts_though_he_is_on_no_list_of_ours() {
    let f = doubting().await;
    let elsewhere = |id: &str| LogReading { elsewhere: vec![(id.to_owned(), START)], ..LogReading::default() };
    f.store.commit_log("mx", &elsewhere(TO_ANN)).await.unwrap();
    log(&f, &[sent(TO_ANN, ANN), sent("other@news.example", BOB)], &[]).await;
    f.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
    f.commit(&[about(entry(2, START + 5, &[(BOB, HARD)]), "other@news.example")]).await;
    assert_eq!(listed(&f).await, [of(BOB, "hard")]);
    // It is no message of ours, either.
    f.store.commit_log("mx", &elsewhere("strangers@example.com")).await.unwrap();
    f.commit(&[about(entry(3, START + 5, &[("eve@example.com", HARD)]), "strangers@example.com")]).await;
    assert_eq!(listed(&f).await, [of(BOB, "hard")]);
    assert_eq!(f.value::<i64>("SELECT sum(sent) FROM sent_by_day").await, 2, "and is not counted");
}

#[tokio::test]
async fn retention_makes_no_message_of_several_one_of_one() {
    let f = doubting().await;
    let at = |one: Sent, day: i64| Sent { at: START + day * DAY, ..one };
    let messages = [at(sent(TO_ANN, ANN), 9), at(sent(TO_ANN, BOB), 0), at(sent("bob@news.example", BOB), 9)];
    log(&f, &messages, &[]).await;
    let erase = async |day: i64| {
        erase_outdated(&f.store, &Retention::default(), START + day * DAY, &CancellationToken::new()).await.unwrap()
    };
    erase(35).await;
    let hard = |uid, to: &str, id: &str| about(entry(uid, START + 35 * DAY, &[(to, HARD)]), id);
    f.commit(&[hard(1, ANN, TO_ANN), hard(2, BOB, "bob@news.example")]).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (vec![of(BOB, "hard")], vec![of(ANN, "unverified")]));
    for _ in 0..2 {
        erase(50).await;
    }
    assert_eq!(f.value::<i64>("SELECT count(*) FROM sent").await, 0, "the mark goes with the last");
    assert_eq!(erase(50).await, Outdated::default());
}

#[tokio::test]
async fn who_is_killed_before_he_believes_does_so_at_the_next_start_and_a_file_is_read_to_its_end_first() {
    let f = doubting().await;
    f.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
    f.store.record_sent(&[sent(TO_ANN, ANN)], START).await.unwrap();
    // The daemon beside whoever reads the file.
    assert_eq!(raise(&f).await, 0);
    let again = Store::open_existing(&f.database()).await.unwrap();
    assert_eq!(raise_with(&again, &Policy::default(), START + 599).await.count, 0);
    assert_eq!(raise_with(&again, &Policy::default(), START + 600).await.count, 1);
    assert_eq!(listed(&f).await, [of(ANN, "hard")]);

    let f = doubting().await;
    f.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
    for recipient in [ANN, BOB] {
        f.store.record_sent(&[sent(TO_ANN, recipient)], START).await.unwrap();
    }
    assert_eq!(raise_with(&f.store, &Policy::default(), i64::MAX).await, Raised::default());
    assert_eq!(listed(&f).await, []);
}

#[tokio::test]
async fn where_nothing_is_known_of_what_we_send_nothing_is_believed_late_and_nobody_asks_for_ever() {
    let f = doubting().await;
    f.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
    log(&f, &[sent(TO_ANN, ANN)], &[]).await;
    f.execute("DELETE FROM vouching").await;
    assert_eq!(f.store.raise_due(&Policy::default(), START).await.unwrap(), None);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM doubted WHERE due IS NOT NULL").await, 1, "it is kept");
}

#[tokio::test]
async fn soft_bounces_are_counted_late_and_the_waiting_one_is_answered() {
    let f = doubting().await;
    let id = |n: u32| format!("{n}@news.example");
    for n in 0..5 {
        f.commit(&[about(entry(n + 1, START + 4 * i64::from(n) * DAY, &[(ANN, SOFT)]), &id(n))]).await;
    }
    assert_eq!(waiting(&f).await, [of(ANN, "unverified")]);
    let messages: Vec<Sent> = (0..4).map(|n| sent(&id(n), ANN)).collect();
    log(&f, &messages, &[]).await;
    assert_eq!(raise(&f).await, 4);
    assert_eq!((listed(&f).await, waiting(&f).await.len()), (Vec::new(), 1), "four of five");
    log(&f, &[sent(&id(4), ANN)], &[]).await;
    assert_eq!(raise(&f).await, 1);
    assert_eq!((listed(&f).await, waiting(&f).await), (vec![of(ANN, "soft")], Vec::new()));
}

#[tokio::test]
async fn what_a_person_said_stands_and_what_is_demanded_beyond_it() {
    let f = doubting().await;
    f.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
    f.store.answer_held(&HeldSelection::default(), HeldAnswer::Reject, &by(START + 9)).await.unwrap();
    log(&f, &[sent(TO_ANN, ANN)], &[]).await;
    assert_eq!(raise(&f).await, 1);
    assert_eq!((listed(&f).await, waiting(&f).await), (Vec::new(), Vec::new()));

    let f = doubting().await;
    let strict = Demand { at_least: Some(Trust::Verified), since: None };
    let policy = Policy { demands: Demands { everywhere: strict, ..Demands::default() }, ..Policy::default() };
    f.store.suppress(&[address(BOB)], &by(START)).await.unwrap();
    f.execute("UPDATE suppression SET origin = 'soft', expires = 9999999999").await;
    let eve = "eve@example.com";
    let batch = [
        about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN),
        about(complaint(2, START + 5, &[eve]), "to-eve@news.example"),
        answer(3, START + 6, BOB, "to-bob@news.example"),
    ];
    f.store.commit(MAILBOX, &batch, &Reading::default(), &policy).await.unwrap();
    let events = f.value::<i64>("SELECT count(*) FROM event").await;
    log(&f, &[sent(TO_ANN, ANN), sent("to-eve@news.example", eve), sent("to-bob@news.example", BOB)], &[]).await;
    let raised = raise_with(&f.store, &policy, START).await;
    assert_eq!((raised.count, raised.changes), (3, Committed::default()));
    assert_eq!(listed(&f).await, [of(BOB, "soft")]);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM event").await, events, "it waits on");
}

#[tokio::test]
async fn a_failure_that_the_log_told_of_counts_once_when_the_mail_is_believed_late() {
    for log_first in [true, false] {
        let f = doubting().await;
        let mail = about(entry(1, START + 5, &[(ANN, SOFT)]), TO_ANN);
        let mut of_log = about(entry(2, START + 4, &[(ANN, SOFT)]), TO_ANN);
        of_log.report.format = "postfix-log".into();
        of_log.trusts = Trusts::in_everything(Trust::Verified);
        for one in if log_first { [of_log, mail] } else { [mail, of_log] } {
            f.commit(&[one]).await;
        }
        log(&f, &[sent(TO_ANN, ANN)], &[]).await;
        assert_eq!(raise(&f).await, 1);
        let counts: Vec<(String, bool, bool)> =
            f.rows("SELECT trust, counts, told_before FROM bounce ORDER BY trust").await;
        assert_eq!(counts, [("matched".to_owned(), false, true), ("verified".to_owned(), true, false)], "{log_first}");
        assert_eq!(f.value::<i64>("SELECT sum(bounces) FROM bounces_by_day").await, 1);
    }
    // Four failures of which the log told; the mail that comes days later is no fifth.
    let f = doubting().await;
    let id = |n: u32| format!("{n}@news.example");
    for n in 0..4 {
        let mut of_log = about(entry(n + 1, START + 4 * i64::from(n) * DAY, &[(ANN, SOFT)]), &id(n));
        of_log.report.format = "postfix-log".into();
        of_log.trusts = Trusts::in_everything(Trust::Verified);
        f.commit(&[of_log]).await;
    }
    f.commit(&[about(entry(5, START + 16 * DAY, &[(ANN, SOFT)]), &id(3))]).await;
    log(&f, &[sent(&id(3), ANN)], &[]).await;
    assert_eq!((raise(&f).await, listed(&f).await), (1, Vec::new()));
    // Nor are those that told of the same once more counted when the next one is read.
    let f = doubting().await;
    let known = |uid: u32, at: i64, n: u32| {
        let mut one = about(entry(uid, at, &[(ANN, SOFT)]), &id(n));
        one.trusts = Trusts::in_everything(Trust::Verified);
        one
    };
    for n in 0..4 {
        let at = START + 5 * i64::from(n) * DAY;
        f.commit(&[known(2 * n + 1, at, n)]).await;
        f.commit(&[known(2 * n + 2, at + 2 * DAY, n)]).await;
    }
    assert_eq!(f.value::<i64>("SELECT sum(counts) FROM bounce").await, 4);
    assert_eq!(listed(&f).await, []);
}

#[tokio::test]
async fn a_bounce_that_is_believed_late_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let rule = "[[rule]]\nid = \"two\"\nclass = \"soft\"\ncount = 2\nwithin = \"60d\"\nfor = \"forever\"\n";
    std::fs::write(&file, rule).unwrap();
    let policy = Policy::load(&[file]).unwrap();
    let f = doubting().await;
    for (n, expected) in [(1, Vec::new()), (2, vec![of(ANN, "soft")])] {
        let id = format!("{n}@news.example");
        f.commit(&[about(entry(n, START + i64::from(n), &[(ANN, SOFT)]), &id)]).await;
        log(&f, &[sent(&id, ANN)], &[]).await;
        assert_eq!(raise_with(&f.store, &policy, START).await.count, 1);
        assert_eq!(listed(&f).await, expected);
    }
}

/// More hard bounces of one provider than can be true, of messages that are known since.
async fn outage() -> Fixture {
    let f = doubting().await;
    let victims: Vec<String> = (0..2_400).map(|n| format!("user{n}@gmail.com")).collect();
    let id = |victim: &str| format!("{victim}.news.example");
    let batch: Vec<JudgedMessage> = (1..)
        .zip(&victims)
        .map(|(uid, victim)| {
            let mut one = about(entry(uid, START + i64::from(uid), &[(victim, HARD)]), &id(victim));
            one.report.recipients[0].remote_mta = Some("gmail-smtp-in.l.google.com".to_owned());
            one
        })
        .collect();
    f.commit(&batch).await;
    log(&f, &victims.iter().map(|victim| sent(&id(victim), victim)).collect::<Vec<_>>(), &[]).await;
    f
}

#[tokio::test]
async fn too_many_that_are_believed_at_once_wait_like_those_that_are_read_at_once() {
    let f = outage().await;
    let raised = raise_with(&f.store, &Policy::default(), START).await;
    assert_eq!(raised.count, 2_400);
    assert_eq!(listed(&f).await, []);
    let waiting = waiting(&f).await;
    assert!(waiting.len() == 2_400 && waiting.iter().all(|(_, why)| why == "outage"));
}

/// A configuration with this store and a published list.
fn published(f: &Fixture) -> Config {
    let mut config = Config::default();
    config.database.path = f.database();
    config.suppressions.path = f.path("suppressions.db");
    config
}

#[tokio::test]
async fn a_command_that_believes_late_leaves_nothing_on_the_list_that_is_over_and_changes_none_of_another_store() {
    let f = doubting().await;
    let id = |n: u32| format!("{n}@news.example");
    for n in 0..5 {
        f.commit(&[about(entry(n + 1, START + 4 * i64::from(n) * DAY, &[(ANN, SOFT)]), &id(n))]).await;
    }
    log(&f, &(0..5).map(|n| sent(&id(n), ANN)).collect::<Vec<_>>(), &[]).await;
    f.store.suppress(&[address(BOB)], &by(START)).await.unwrap();
    let config = published(&f);
    let judge = Judge::new(&config).unwrap();
    let believed = believe_sent(&config, &judge, START + 900 * DAY).await.unwrap();
    assert_eq!((believed.count, believed.braked), (5, Vec::new()));
    assert_eq!(listed(&f).await.iter().map(|(address, _)| address.as_str()).collect::<Vec<_>>(), [BOB]);
    let of_ann: Vec<(String,)> =
        f.rows("SELECT kind FROM event WHERE address = 'ann@example.org' ORDER BY revision").await;
    let last: Vec<&str> = of_ann.iter().rev().take(2).map(|(kind,)| kind.as_str()).collect();
    assert_eq!(last, ["expired", "suppressed"]);

    let other = doubting().await;
    other.commit(&[about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN)]).await;
    log(&other, &[sent(TO_ANN, ANN)], &[]).await;
    let foreign = Config { suppressions: config.suppressions, ..published(&other) };
    let refused = believe_sent(&foreign, &judge, START + DAY).await;
    assert!(matches!(refused, Err(StoreError::Foreign(_))), "{refused:?}");
    assert_eq!(listed(&other).await, []);
    assert_eq!(believe_sent(&published(&other), &judge, START + DAY).await.unwrap().count, 1, "it waits for that");
}

#[tokio::test]
async fn whoever_says_what_was_sent_hears_of_the_brake() {
    let f = outage().await;
    let file = f.path("sent.csv");
    std::fs::write(&file, "time,message_id,recipient\n1767225600,<1@ours>,ann@example.org\n").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
    command.args(["--config", "/dev/null", "sent", "import", "--json"]).arg(&file);
    command.env("BOUNCED__DATABASE__PATH", f.database());
    let output = command.env("BOUNCED__SUPPRESSIONS__PATH", f.path("suppressions.db")).output().unwrap();
    let [told, complaint] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(told.lines().last(), Some(r#"{"believed":2400}"#), "{complaint}");
    let heard: Vec<&str> = complaint.lines().filter(|line| line.contains("dead within an hour")).collect();
    assert!(heard.len() == 1 && heard[0].starts_with("bounced: gmail.com called more"), "{complaint}");
    assert_eq!(waiting(&f).await.len(), 2_400);
}

#[tokio::test]
async fn what_was_read_before_anything_was_kept_of_it_is_found_by_judging_anew() {
    let f = doubting().await;
    f.commit(&[
        about(entry(1, START + 5, &[(ANN, HARD)]), TO_ANN),
        about(complaint(2, START + 6, &[BOB]), "bob@news.example"),
        about(entry(3, START + 7, &[("eve@example.com", HARD)]), TO_ANN),
    ])
    .await;
    f.execute("DELETE FROM doubted").await;
    log(&f, &[sent(TO_ANN, ANN), sent("bob@news.example", BOB)], &[]).await;
    assert_eq!(raise(&f).await, 0);
    f.store.ask_again(i64::MIN, START).await.unwrap();
    assert_eq!(raise(&f).await, 2);
    assert_eq!(listed(&f).await, [of(ANN, "hard"), of(BOB, "complaint")]);
    erase_outdated(&f.store, &Retention::default(), START + 40 * DAY, &CancellationToken::new()).await.unwrap();
    f.store.ask_again(i64::MIN, START).await.unwrap();
    assert_eq!(raise(&f).await, 0);
    let trusts: Vec<(String,)> = f.rows("SELECT trust FROM bounce ORDER BY id").await;
    assert_eq!(trusts[0].0, "matched", "it stays believed when what was sent is erased");
}

/// A mail to an envelope sender that was signed for the address.
fn signed(mut one: JudgedMessage, token: u8, to: &str) -> JudgedMessage {
    one.trusts.sign(&address(to), Signature { digest: [token; 32], until: START + 30 * DAY });
    one
}

#[tokio::test]
async fn a_token_speaks_once_and_then_only_of_what_is_worse() {
    let f = doubting().await;
    let delayed = {
        let mut one = signed(entry(1, START, &[(ANN, SOFT)]), 1, ANN);
        one.report.kind = Kind::Delayed;
        one.report.recipients[0].action = Action::Delayed;
        one
    };
    let soft = |uid| signed(entry(uid, START + i64::from(uid), &[(ANN, SOFT)]), 1, ANN);
    let hard = |uid| signed(entry(uid, START + i64::from(uid), &[(ANN, HARD)]), 1, ANN);
    f.commit(&[delayed]).await;
    f.commit(&[soft(2), soft(3)]).await;
    f.commit(&[soft(4)]).await;
    f.commit(&[soft(2)]).await;
    f.commit(&[hard(5)]).await;
    let trusts: Vec<(String,)> = f.rows("SELECT trust FROM bounce ORDER BY id").await;
    let trusts: Vec<&str> = trusts.iter().map(|(trust,)| trust.as_str()).collect();
    assert_eq!(trusts, ["verified", "verified", "unverified", "unverified", "verified"]);
    assert_eq!(listed(&f).await, [of(ANN, "hard")]);
    // Two reports of one failure, as gateways write them, ask nobody.
    f.commit(&[hard(6)]).await;
    assert_eq!(waiting(&f).await, []);
    // A person takes her off: who has kept the mail puts her back as little as anybody.
    f.store.release(&[address(ANN)], &by(START + 50)).await.unwrap();
    f.commit(&[hard(60)]).await;
    assert_eq!((listed(&f).await, waiting(&f).await), (Vec::new(), vec![of(ANN, "unverified")]));
    f.commit(&[signed(complaint(61, START + 61, &[ANN]), 1, ANN)]).await;
    assert_eq!(listed(&f).await, [of(ANN, "complaint")], "nobody has said that before");
    f.store.release(&[address(ANN)], &by(START + 70)).await.unwrap();
    f.commit(&[signed(complaint(71, START + 71, &[ANN]), 1, ANN)]).await;
    f.commit(&[signed(entry(72, START + 72, &[(BOB, HARD)]), 2, BOB)]).await;
    assert_eq!(listed(&f).await, [of(BOB, "hard")], "another message, another token");
    // It is kept as long as it counts, and no message is known by it.
    let known = async || f.value::<i64>("SELECT count(*) FROM used_token").await;
    assert_eq!(known().await, 2);
    let erase = async |day| {
        erase_outdated(&f.store, &Retention::default(), START + day * DAY, &CancellationToken::new()).await.unwrap();
    };
    erase(60).await;
    assert_eq!(known().await, 2);
    erase(61).await;
    assert_eq!(known().await, 0);
}

#[tokio::test]
async fn a_used_token_leaves_what_else_vouches_for_a_mail() {
    let f = doubting().await;
    log(&f, &[sent(TO_ANN, ANN), sent("second@news.example", ANN)], &[]).await;
    f.commit(&[signed(about(entry(1, START, &[(ANN, SOFT)]), TO_ANN), 1, ANN)]).await;
    // Of the same day and with the same id: another message all the same.
    f.commit(&[signed(about(entry(2, START + 1, &[(ANN, SOFT)]), "second@news.example"), 1, ANN)]).await;
    let rows: Vec<(String, bool)> = f.rows("SELECT trust, counts FROM bounce ORDER BY id").await;
    assert_eq!(rows, [("verified".to_owned(), true), ("matched".to_owned(), true)]);
}
