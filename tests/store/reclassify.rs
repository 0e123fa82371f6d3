//! Stored bounces judged anew: what is the same stays, what is not is put right, and what persons decided stays decided.

use std::{
    cell::Cell,
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bounced::{
    app::Judge,
    codes::{Judgement, Reason},
    message::Reading,
    policy::Policy,
    report::{Action, Address, Evidence, Finding, Kind, Recipient, StoredRecipient, Verdict},
    store::{Anew, By, Differences, HeldAnswer, HeldSelection, JudgedMessage, Progress, TablesVersion},
    suppression::Why,
};
use proptest::prelude::*;

use crate::fixture::{BLOCKED, DAY, Fixture, GONE, HARD, SOFT, START, by, complaint, entry, imported, verdict};

/// What was said is what the fixture wrote into the diagnostic; `other` makes something else of it.
fn judge(
    other: impl Fn(Judgement) -> Judgement + Send + Sync,
) -> impl Fn(&StoredRecipient<'_>, Option<&str>) -> Option<(Recipient, Verdict)> + Send + Sync {
    move |stored, reporting_mta| {
        assert_eq!(reporting_mta, Some("mx.example.org"));
        let recipient = stored.recipient()?;
        let said = recipient.diagnostic.as_ref()?.as_str().rsplit(": ").next()?.parse::<Reason>().ok()?;
        let judgement = [HARD, SOFT, BLOCKED, GONE].into_iter().find(|judgement| judgement.reason == said)?;
        Some((recipient, verdict(other(judgement))))
    }
}

async fn reclassify(
    f: &Fixture,
    digest: &str,
    at: i64,
    dry_run: bool,
    other: impl Fn(Judgement) -> Judgement + Send + Sync,
) -> Differences {
    let tables = TablesVersion { digest: digest.to_owned(), version: "9" };
    let by = By { actor: "eve", note: Some("new tables"), at };
    let judge = judge(other);
    let anew = Anew { judge: &judge, tables: &tables, policy: &Policy::default(), since: None, by, dry_run };
    judge_all(f, &anew).await
}

async fn judge_all(f: &Fixture, anew: &Anew<'_>) -> Differences {
    let (mut all, mut progress) = (Differences::default(), Progress::default());
    while let Some(some) = f.store.reclassify(anew, &mut progress).await.unwrap() {
        all.add(some);
    }
    all
}

/// Everything that it could change.
async fn all(f: &Fixture) -> Vec<(String,)> {
    f.rows(
        "SELECT concat_ws('|', 'list', address, origin, reason, rule, policy, bounce, complaint, since, expires, note) FROM suppression
         UNION ALL SELECT concat_ws('|', 'held', address, why, origin, bounce, since) FROM held
         UNION ALL SELECT concat_ws('|', 'bounce', id, class, reason, fault, counts, rule, field, line, words) FROM bounce
         UNION ALL SELECT concat_ws('|', 'domain', domain, bounces, hard, soft, sender_fault) FROM total_by_domain
         UNION ALL SELECT concat_ws('|', 'day', day, class, reason, fault, bounces) FROM total_by_day
         UNION ALL SELECT concat_ws('|', 'event', max(revision)) FROM event ORDER BY 1",
    )
    .await
}

const fn softer(judgement: Judgement) -> Judgement {
    if matches!(judgement.reason, Reason::UserUnknown) { SOFT } else { judgement }
}

fn counts(differences: &Differences) -> Vec<(String, u64)> {
    differences.verdicts.iter().map(|((was, is), count)| (format!("{was} -> {is}"), *count)).collect()
}

#[tokio::test]
async fn an_entry_that_todays_tables_would_not_make_is_taken_off() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD), ("cyd@example.org", BLOCKED)])])
        .await;
    f.store.suppress(&[Address::parse("bob@example.org").unwrap()], &by(START + 5)).await.unwrap();
    let before = all(&f).await;

    let dry = reclassify(&f, "new", START + DAY, true, softer).await;
    assert_eq!(all(&f).await, before, "a dry run changes nothing");
    let done = reclassify(&f, "new", START + DAY, false, softer).await;
    assert_eq!(done, dry);
    assert_eq!((done.bounces, done.left, done.list.len()), (3, 0, 1));
    assert_eq!(counts(&done), [("hard user_unknown recipient -> soft mailbox_full recipient".to_owned(), 2)]);
    let list: Vec<(String, String)> = f.rows("SELECT address, origin FROM suppression").await;
    assert_eq!(list, [("bob@example.org".to_owned(), "manual".to_owned())], "a person's word stays");
    let event: Vec<(String, String, String, String, i64)> =
        f.rows("SELECT kind, address, actor, note, at FROM event ORDER BY revision DESC LIMIT 1").await;
    let told = ("corrected".to_owned(), "ann@example.org".to_owned(), "eve".to_owned(), "new tables".to_owned());
    assert_eq!(event, [(told.0, told.1, told.2, told.3, START + DAY)]);
    let totals: Vec<(i64, i64)> = f.rows("SELECT hard, soft FROM total_by_domain").await;
    assert_eq!(totals, [(0, 3)]);

    // With the same tables there is nothing left to do, and with the old ones all comes back.
    assert_eq!(reclassify(&f, "new", START + DAY, false, softer).await, Differences::default());
    let back = reclassify(&f, "old", START + 2 * DAY, false, |judgement| judgement).await;
    let differences = back.list;
    assert_eq!(differences.len(), 1);
    assert_eq!((differences[0].address.as_str(), differences[0].before.is_none()), ("ann@example.org", true));
    let list: Vec<(String, String, i64)> = f.rows("SELECT address, origin, since FROM suppression ORDER BY 1").await;
    assert_eq!(list[0], ("ann@example.org".to_owned(), "hard".to_owned(), START));
    assert_eq!(
        f.value::<i64>("SELECT count(*) FROM bounce AS b JOIN tables AS t ON t.id = b.tables WHERE t.digest = 'old'")
            .await,
        3
    );
}

#[tokio::test]
async fn what_led_to_an_entry_and_is_gone_is_not_held_against_it() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD)])]).await;
    f.commit(&[entry(2, START, &[("ann@example.org", BLOCKED)])]).await;
    f.execute("DELETE FROM bounce WHERE id = 1; UPDATE bounce SET evidence = NULL WHERE id = 2").await;
    let done = reclassify(&f, "new", START, false, softer).await;
    assert_eq!((done.bounces, done.left, done.verdicts.len(), done.list.len()), (2, 1, 0, 0));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 2);
}

/// Nor is what a person decided, when nothing tells of it any more.
#[tokio::test]
async fn what_a_person_made_of_an_entry_is_not_judged() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)]), complaint(2, START, &["bob@example.org"])]).await;
    // Whoever complained has a bounce as well, for without one nothing of his is judged.
    f.commit(&[entry(3, START, &[("bob@example.org", SOFT)])]).await;
    let both = ["ann@example.org", "bob@example.org"].map(|address| Address::parse(address).unwrap());
    f.store.suppress(&both, &by(START + 5)).await.unwrap();
    f.execute("DELETE FROM event").await;
    assert!(reclassify(&f, "new", START + DAY, false, softer).await.list.is_empty());
    assert!(reclassify(&f, "newer", START + DAY, false, |_| GONE).await.list.is_empty());
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression WHERE origin = 'manual'").await, 2);
}

#[tokio::test]
async fn only_bounces_of_late_are_judged_anew_where_that_is_asked() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)]), entry(2, START + DAY, &[("bob@example.org", HARD)])])
        .await;
    let tables = TablesVersion { digest: "new".to_owned(), version: "9" };
    let judge = judge(softer);
    let policy = Policy::default();
    let anew = Anew {
        judge: &judge,
        tables: &tables,
        policy: &policy,
        since: Some(START + 1),
        by: by(START + DAY),
        dry_run: false,
    };
    let done = judge_all(&f, &anew).await;
    assert_eq!((done.bounces, done.list.len()), (1, 1));
    assert_eq!(done.list[0].address, "bob@example.org");
}

/// What the same policy makes of these when they are read in one go by tables that call them dead.
#[tokio::test]
async fn what_todays_tables_call_dead_waits_as_it_would_have_in_a_commit() {
    let f = Fixture::new().await;
    // Of one message, 55 at as many domains; and 11 messages about 240 addresses of one domain within an hour.
    let names: Vec<String> = (10..65).map(|n| format!("user@company{n}.example")).collect();
    let flood: Vec<_> = names.iter().map(|name| (name.as_str(), BLOCKED)).collect();
    f.commit(&[entry(1, START - 9 * DAY, &flood)]).await;
    for n in 0..6 {
        let names: Vec<String> = (0..40).map(|m| format!("user{n:02}{m:02}@gmail.com")).collect();
        let of_gmail: Vec<_> = names.iter().map(|name| (name.as_str(), BLOCKED)).collect();
        f.commit(&[entry(2 + n, START, &of_gmail)]).await;
    }
    f.commit(&[entry(90, START + 3 * DAY, &[("alone@example.org", BLOCKED)])]).await;
    let harder = |judgement: Judgement| if judgement == BLOCKED { HARD } else { judgement };
    let dry = reclassify(&f, "harder", START + 5 * DAY, true, harder).await;
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 0);
    let done = reclassify(&f, "harder", START + 5 * DAY, false, harder).await;
    assert_eq!(done, dry);
    assert_eq!((done.bounces, done.list.len()), (296, 296), "each is told of once");
    let why = |why: Option<Why>| done.list.iter().filter(|one| one.held == why).count();
    assert_eq!((why(None), why(Some(Why::Flood)), why(Some(Why::Outage))), (51, 5, 240));
    let held: Vec<(String, i64, i64)> =
        f.rows("SELECT why, count(*), count(DISTINCT since) FROM held GROUP BY why ORDER BY why").await;
    assert_eq!(held, [("flood".to_owned(), 5, 1), ("outage".to_owned(), 240, 1)]);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 51);
    assert_eq!(f.value::<i64>("SELECT since FROM held WHERE why = 'outage' LIMIT 1").await, START);
    let hour: Vec<(i64, i64)> = f.rows("SELECT dead, held FROM dead_by_hour WHERE remote = 'gmail.com'").await;
    assert_eq!(hour, [(240, 240)], "counted for those that come later");
    assert_eq!(reclassify(&f, "harder", START + 5 * DAY, false, harder).await, Differences::default());
    // They wait as any others do.
    let approved = f.store.answer_held(&HeldSelection::default(), HeldAnswer::Approve, &by(START + 6 * DAY)).await;
    assert_eq!(approved.unwrap().suppressed, 245);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 296);
    assert!(reclassify(&f, "again", START + 7 * DAY, false, harder).await.list.is_empty());
}

/// What was believed of the same hour goes the way of what comes to it.
#[tokio::test]
async fn an_hour_that_todays_tables_show_to_be_an_outage_is_taken_back() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@gmail.com", HARD)])]).await;
    for n in 0..6 {
        let names: Vec<String> = (0..40).map(|m| format!("user{n:02}{m:02}@gmail.com")).collect();
        let of_gmail: Vec<_> = names.iter().map(|name| (name.as_str(), BLOCKED)).collect();
        f.commit(&[entry(2 + n, START, &of_gmail)]).await;
    }
    let harder = |judgement: Judgement| if judgement == BLOCKED { HARD } else { judgement };
    let dry = reclassify(&f, "harder", START + DAY, true, harder).await;
    let done = reclassify(&f, "harder", START + DAY, false, harder).await;
    assert_eq!(done, dry);
    let ann = done.list.iter().find(|one| one.address == "ann@gmail.com").unwrap();
    assert_eq!((ann.before.is_some(), ann.after.is_none(), ann.held), (true, true, Some(Why::Outage)));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 0);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM held WHERE why = 'outage'").await, 241);
}

/// An earlier version did not note which bounces led to an entry, and retention may have erased some of them.
#[tokio::test]
async fn an_entry_whose_causes_nobody_noted_stays() {
    let f = Fixture::new().await;
    for n in 0..5 {
        f.commit(&[entry(
            n + 1,
            START + i64::from(n) * 4 * DAY,
            &[("ann@example.org", SOFT), ("bob@example.org", SOFT)],
        )])
        .await;
    }
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 2);
    f.execute(
        "UPDATE event SET causes = NULL WHERE address = 'ann@example.org';
         DELETE FROM bounce WHERE at < 1767225600 + 4 * 86400",
    )
    .await;
    let done = reclassify(&f, "new", START + 17 * DAY, false, |judgement| judgement).await;
    assert!(done.list.is_empty(), "{done:?}");
    // Even where what is left says nothing of the kind any more.
    let done = reclassify(&f, "newer", START + 17 * DAY, false, |_| BLOCKED).await;
    assert!(done.list.is_empty(), "{done:?}");
    // And where the one that decided is gone, nobody knows whether what is left would have brought it.
    f.execute("DELETE FROM bounce WHERE id IN (SELECT bounce FROM suppression)").await;
    let done = reclassify(&f, "newest", START + 17 * DAY, false, |_| HARD).await;
    assert!(done.list.is_empty(), "{done:?}");
}

#[tokio::test]
async fn what_a_removal_has_answered_counts_no_more_with_what_came_after_it() {
    let f = Fixture::new().await;
    for n in 0..6 {
        f.commit(&[entry(n + 1, START + i64::from(n) * 4 * DAY, &[("ann@example.org", SOFT)])]).await;
        if n == 4 {
            let ann = Address::parse("ann@example.org").unwrap();
            assert!(f.store.release(&[ann], &by(START + 17 * DAY)).await.unwrap()[0].entry);
        }
    }
    let done = reclassify(&f, "new", START + 21 * DAY, false, |judgement| judgement).await;
    assert!(done.list.is_empty(), "{done:?}");
}

/// Of the signs of life only the last is kept: what one of those before may have prevented is not made up for.
#[tokio::test]
async fn what_a_forgotten_sign_of_life_may_have_prevented_is_not_made() {
    let f = Fixture::new().await;
    let wrote = |uid, days| {
        let mut one: JudgedMessage = entry(uid, START + days * DAY, &[]);
        let value = Address::parse("ann@example.org").unwrap();
        one.report.kind = Kind::AutoReply;
        one.report.author = Some(Finding { value, evidence: Evidence::of_structure("") });
        one
    };
    for (n, days) in [(1, 0), (2, 4), (3, 8)] {
        f.commit(&[entry(n, START + days * DAY, &[("ann@example.org", SOFT)])]).await;
    }
    f.commit(&[wrote(4, 9)]).await;
    for (n, days) in [(5, 12), (6, 16)] {
        f.commit(&[entry(n, START + days * DAY, &[("ann@example.org", SOFT)])]).await;
    }
    // Read late: it is the last all the same.
    f.commit(&[wrote(7, 13)]).await;
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 0, "it has lived in between");
    let done = reclassify(&f, "new", START + 17 * DAY, false, |judgement| judgement).await;
    assert!(done.list.is_empty(), "{done:?}");
}

/// A bounce of the same second as a change is before it or behind it, however much was written in that second.
#[tokio::test]
async fn what_was_written_in_one_second_keeps_its_order() {
    let f = Fixture::new().await;
    let ann = [Address::parse("ann@example.org").unwrap()];
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    f.store.release(&ann, &by(START + 5)).await.unwrap();
    let mut importing = f.store.import().await.unwrap();
    let many: Vec<_> = (0..3_000).map(|n| imported(&format!("user{n}@example.net"))).collect();
    importing.add(&many).await.unwrap();
    importing.finish(&by(START + 6), bounced::store::WithoutNote::Stays).await.unwrap();
    f.store.suppress(&ann, &by(START + 7)).await.unwrap();
    f.store.release(&ann, &by(START + 8)).await.unwrap();
    // As if all of it had been one second.
    f.execute(
        "UPDATE message SET recorded = 1767225600; UPDATE event SET recorded = 1767225600 WHERE kind <> 'bounce'",
    )
    .await;
    let done = reclassify(&f, "new", START + DAY, false, |judgement| judgement).await;
    assert!(done.list.is_empty(), "{done:?}");
    f.commit(&[entry(2, START + 9, &[("ann@example.org", HARD)])]).await;
    f.execute(
        "UPDATE message SET recorded = 1767225600; UPDATE event SET recorded = 1767225600 WHERE kind <> 'bounce'",
    )
    .await;
    let done = reclassify(&f, "newer", START + DAY, false, |judgement| judgement).await;
    assert!(done.list.is_empty(), "{done:?}");
}

/// Something that may happen.
#[derive(Debug, Clone)]
enum Happens {
    Bounces(u8, Judgement),
    Delivered(u8),
    Complains(u8),
    /// One message too many names everybody.
    Flood,
    Suppressed(u8),
    Released(u8),
    Allowed(u8),
    Disallowed(u8),
    Told(u8),
    Approved,
    Rejected,
    Later(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    let who = 0u8..4;
    prop_oneof![
        6 => (who.clone(), prop_oneof![3 => Just(SOFT), 1 => Just(HARD), 1 => Just(BLOCKED), 1 => Just(GONE)])
            .prop_map(|(who, judgement)| Happens::Bounces(who, judgement)),
        1 => who.clone().prop_map(Happens::Delivered),
        1 => who.clone().prop_map(Happens::Complains),
        1 => Just(Happens::Flood),
        1 => who.clone().prop_map(Happens::Suppressed),
        2 => who.clone().prop_map(Happens::Released),
        1 => who.clone().prop_map(Happens::Allowed),
        1 => who.clone().prop_map(Happens::Disallowed),
        1 => who.prop_map(Happens::Told),
        1 => Just(Happens::Approved),
        1 => Just(Happens::Rejected),
        4 => (1u8..40).prop_map(Happens::Later),
    ]
}

fn address(who: u8) -> String {
    format!("user{who}@example.org")
}

async fn go_through(f: &Fixture, all: &[Happens]) -> i64 {
    let (now, uid) = (Cell::new(START), Cell::new(0));
    let next = || {
        uid.set(uid.get() + 1);
        uid.get()
    };
    let selection = HeldSelection::default();
    for one in all {
        let at = now.get();
        let person = |who: &u8| [Address::parse(&address(*who)).unwrap()];
        match one {
            Happens::Bounces(who, judgement) => {
                f.commit(&[entry(next(), at, &[(&address(*who), *judgement)])]).await;
            }
            Happens::Delivered(who) => {
                let mut one: JudgedMessage = entry(next(), at, &[(&address(*who), SOFT)]);
                one.report.recipients[0].action = Action::Delivered;
                f.commit(&[one]).await;
            }
            Happens::Complains(who) => {
                f.commit(&[complaint(next(), at, &[&address(*who)])]).await;
            }
            Happens::Flood => {
                let others: Vec<String> = (10..60).map(address).chain((0..4).map(address)).collect();
                let named: Vec<_> = others.iter().map(|address| (address.as_str(), HARD)).collect();
                f.commit(&[entry(next(), at, &named)]).await;
            }
            Happens::Suppressed(who) => {
                let _ = f.store.suppress(&person(who), &by(at)).await;
            }
            Happens::Released(who) => drop(f.store.release(&person(who), &by(at)).await.unwrap()),
            Happens::Allowed(who) => drop(f.store.allow(&person(who), &by(at)).await.unwrap()),
            Happens::Disallowed(who) => drop(f.store.disallow(&person(who), &by(at)).await.unwrap()),
            Happens::Told(who) => drop(f.store.revive(&person(who), &by(at)).await.unwrap()),
            Happens::Approved => drop(f.store.answer_held(&selection, HeldAnswer::Approve, &by(at)).await.unwrap()),
            Happens::Rejected => drop(f.store.answer_held(&selection, HeldAnswer::Reject, &by(at)).await.unwrap()),
            Happens::Later(days) => {
                now.set(at + i64::from(*days) * DAY);
                f.store.expire(now.get()).await.unwrap();
            }
        }
        f.store.expire(now.get()).await.unwrap();
    }
    now.get()
}

/// It was kept because something was known of the address; that the bounce before it was recorded first shows no clock.
#[tokio::test]
async fn the_last_sign_of_life_says_something_wherever_it_stands() {
    let gone = || Happens::Bounces(2, GONE);
    for happens in [
        vec![gone(), Happens::Later(1), Happens::Told(2), gone(), Happens::Flood, Happens::Approved],
        // It was on the list before it was said to live.
        vec![gone(), Happens::Later(1), gone(), Happens::Told(2)],
    ] {
        let f = Fixture::new().await;
        let now = go_through(&f, &happens).await;
        let before = all(&f).await;
        let differences = reclassify(&f, "alike", now, false, |judgement| judgement).await;
        assert!(differences.list.is_empty(), "{happens:?}: {differences:#?}");
        assert_eq!(all(&f).await, before, "{happens:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// By tables of another name that say the same.
    #[test]
    fn what_is_judged_alike_changes_nothing(happens in proptest::collection::vec(happens(), 1..30)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let f = Fixture::new().await;
            let now = go_through(&f, &happens).await;
            let before = all(&f).await;
            let differences = reclassify(&f, "alike", now, false, |judgement| judgement).await;
            prop_assert!(differences.list.is_empty() && differences.verdicts.is_empty(), "{differences:#?}");
            prop_assert_eq!(all(&f).await, before);
            Ok(())
        })?;
    }

    /// There and back again: nobody is on the list who was not, but for what waits for a person.
    #[test]
    fn tables_that_are_taken_back_leave_the_list_as_it_was(happens in proptest::collection::vec(happens(), 1..30)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let f = Fixture::new().await;
            let now = go_through(&f, &happens).await;
            let listed = |rows: Vec<(String,)>| {
                let key = |row: &String| row.splitn(4, '|').take(3).collect::<Vec<_>>().join("|");
                rows.into_iter().filter(|(row,)| row.starts_with("list")).map(|(row,)| (key(&row), row)).collect::<HashMap<_, _>>()
            };
            let before = listed(all(&f).await);
            reclassify(&f, "softer", now, false, softer).await;
            reclassify(&f, "again", now, false, |judgement| judgement).await;
            let after = listed(all(&f).await);
            for address in before.keys() {
                prop_assert!(after.contains_key(address), "{address}: {before:#?} {after:#?}");
            }
            Ok(())
        })?;
    }
}

/// Every golden mail, recorded as the daemon records it.
async fn record_golden_mails(f: &Fixture) -> u32 {
    fn mails_below(dir: &Path, found: &mut Vec<PathBuf>) {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                mails_below(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "eml") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    mails_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails"), &mut paths);
    paths.sort();
    let judge = Judge::embedded();
    let judged: Vec<JudgedMessage> = (1..)
        .zip(&paths)
        .map(|(uid, path)| {
            let (report, verdicts) = judge.judge(&fs::read(path).unwrap());
            JudgedMessage { report, verdicts, ..entry(uid, START, &[]) }
        })
        .collect();
    let policy = Policy { most_per_message: u32::MAX, ..Policy::default() };
    f.store.commit("bounces", &judged, &Reading::default(), &policy).await.unwrap();
    u32::try_from(judged.len()).unwrap()
}

/// `bounced` with files of codes of one's own.
fn bounced(f: &Fixture, codes: &str, args: &[&str]) -> String {
    fs::write(f.path("codes.toml"), codes).unwrap();
    fs::write(
        f.path("bounced.toml"),
        "[codes]\nfiles = [\"codes.toml\"]\n[suppressions]\nmost_per_message = 4294967295\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bounced"))
        .arg("--config")
        .arg(f.path("bounced.toml"))
        .args(args)
        .env("BOUNCED__DATABASE__PATH", f.database())
        .env("BOUNCED__SUPPRESSIONS__PATH", f.path("suppressions.db"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// By the program, with its own tables and with others.
#[tokio::test]
async fn every_golden_mail_is_judged_anew_as_it_was_and_otherwise_by_other_tables() {
    let f = Fixture::new().await;
    assert!(record_golden_mails(&f).await > 100);
    let before = all(&f).await;
    let told: serde_json::Value = serde_json::from_str(&bounced(&f, "", &["reclassify", "--json"])).unwrap();
    assert!(told["bounces"].as_u64().unwrap() > 400, "{told}");
    // Of whom nothing was said there is nothing to judge.
    let silent = "SELECT count(*) FROM bounce WHERE evidence IS NULL AND action IN ('failed', 'delayed')";
    assert_eq!(told["left"], f.value::<i64>(silent).await);
    assert_eq!((&told["verdicts"], &told["list"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(told["otherwise_explained"], 0);
    assert_eq!(all(&f).await, before);

    let listed = "SELECT count(*) FROM suppression WHERE reason = 'user_unknown'";
    let unknown = f.value::<i64>(listed).await;
    assert!(unknown > 20, "{unknown}");
    let softer = "[reason.user_unknown]\nclass = \"soft\"\nfault = \"recipient\"\nadvice = \"Wait.\"\n";
    let told = bounced(&f, softer, &["reclassify", "--dry-run"]);
    for part in
        ["hard user_unknown recipient -> soft user_unknown recipient\n", "off the list: ", "nothing was changed"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(all(&f).await, before);
    bounced(&f, softer, &["reclassify", "--note", "softer"]);
    assert_eq!(f.value::<i64>(listed).await, 0);
    assert_eq!(
        f.value_of::<i64>("suppressions.db", "SELECT count(*) FROM suppression WHERE reason = 'user_unknown'").await,
        0
    );
    // A few have another bounce that is hard.
    let corrected: i64 = f.value("SELECT count(*) FROM event WHERE kind = 'corrected' AND note = 'softer'").await;
    assert!((20..=unknown).contains(&corrected), "{corrected}");
    bounced(&f, "", &["reclassify"]);
    assert_eq!(f.value::<i64>(listed).await, unknown);
}
