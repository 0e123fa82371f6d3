//! What [retention] erases, and what stays.

use std::time::Duration;

use bounced::{
    app::{self, Outdated},
    config::Retention,
    report::Address,
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{DAY, Fixture, GONE, HARD, SOFT, START, complaint, entry};

const DAYS: Duration = Duration::from_secs(86_400);

/// Two of the first day, and of the eleventh.
async fn filled() -> Fixture {
    let f = Fixture::new().await;
    let old = [
        entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", SOFT)]),
        complaint(2, START, &["eve@example.org"]),
    ];
    f.commit(&old).await;
    f.commit(&[
        entry(3, START + 10 * DAY, &[("joe@example.net", GONE)]),
        complaint(4, START + 10 * DAY, &["ben@example.org"]),
    ])
    .await;
    f
}

/// On the eleventh day, five days are kept of some.
async fn erase(f: &Fixture, five: fn(&mut Retention) -> &mut Option<Duration>) -> Outdated {
    let mut retention = Retention::default();
    *five(&mut retention) = Some(5 * DAYS);
    let (now, stop) = (START + 10 * DAY, CancellationToken::new());
    let erased = app::erase_outdated(&f.store, &retention, now, &stop).await.unwrap();
    assert_eq!(app::erase_outdated(&f.store, &retention, now, &stop).await.unwrap(), Outdated::default(), "once");
    erased
}

const BOUNCES: &str = "SELECT address FROM bounce ORDER BY address";
const COMPLAINTS: &str = "SELECT address FROM complaint ORDER BY address";

async fn names(f: &Fixture, sql: &'static str) -> String {
    let names: Vec<(String,)> = f.rows(sql).await;
    names.into_iter().map(|(name,)| name.split('@').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_others_wrote_goes_and_the_verdict_stays() {
    let f = filled().await;
    let erased = erase(&f, |retention| &mut retention.diagnostics).await;
    assert_eq!(erased, Outdated { diagnostics: 4, ..Outdated::default() }, "two bounces, a complaint and an entry");
    let texts =
        "SELECT address || ' ' || class || ' ' || (diagnostic IS NULL) || (words IS NULL) FROM bounce ORDER BY id";
    let texts: Vec<(String,)> = f.rows(texts).await;
    assert_eq!(
        texts,
        ["ann@example.org hard 11", "bob@example.org soft 11", "joe@example.net hard 00"].map(|t| (t.to_owned(),))
    );
    assert_eq!(f.value::<String>("SELECT group_concat(words, '|') FROM complaint").await, "|<ben@example.org>");
    let entry = f.store.suppression(&Address::parse("ann@example.org").unwrap()).await.unwrap().unwrap();
    assert_eq!((entry.reason.as_deref(), entry.reply, entry.diagnostic), (Some("user_unknown"), Some(550), None));
}

#[tokio::test]
async fn bounces_go_with_their_totals_and_the_list_stays() {
    let f = filled().await;
    let erased = erase(&f, |retention| &mut retention.bounces).await;
    assert_eq!(erased, Outdated { bounces: 3, ..Outdated::default() });
    assert_eq!((names(&f, BOUNCES).await.as_str(), names(&f, COMPLAINTS).await.as_str()), ("joe", "ben"));
    assert_eq!(f.value::<i64>("SELECT sum(bounces) FROM total_by_domain").await, 1);
    let entry = f.store.suppression(&Address::parse("ann@example.org").unwrap()).await.unwrap().unwrap();
    assert!(entry.bounce.is_none() && entry.diagnostic.is_some() && entry.rule.is_some(), "it still says why");
    assert_eq!(f.value::<i64>("SELECT count(*) FROM message").await, 4);
    let again = f.commit(&[entry_again()]).await;
    assert_eq!((again.new, again.duplicates), (0, 1), "a mail that is still there is not recorded anew");
}

fn entry_again() -> bounced::store::JudgedMessage {
    entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", SOFT)])
}

#[tokio::test]
async fn messages_go_with_all_that_they_said_and_their_places_stay_known() {
    let f = filled().await;
    let erased = erase(&f, |retention| &mut retention.messages).await;
    assert_eq!(erased, Outdated { messages: 2, ..Outdated::default() });
    assert_eq!((names(&f, BOUNCES).await.as_str(), names(&f, COMPLAINTS).await.as_str()), ("joe", "ben"));
    assert_eq!(f.value::<i64>("SELECT count(*) FROM message").await, 2);
    let places = vec![entry_again().place];
    assert!(f.store.unrecorded("bounces", places).await.unwrap().is_empty());
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression").await, 3, "one that bounced, two that complained");
}

#[tokio::test]
async fn more_than_one_transaction_takes_are_erased_and_whoever_is_told_to_stop_begins_none() {
    let f = Fixture::new().await;
    let many: Vec<_> = (0..450).map(|n| (format!("user{n}@example.org"), HARD)).collect();
    for (uid, chunk) in (1..).zip(many.chunks(45)) {
        let named: Vec<_> = chunk.iter().map(|(address, judgement)| (address.as_str(), *judgement)).collect();
        f.commit(&[entry(uid, START, &named)]).await;
    }
    let stop = CancellationToken::new();
    let retention = Retention { diagnostics: Some(DAYS), bounces: Some(2 * DAYS), messages: None, sent: None };
    stop.cancel();
    let stopped = app::erase_outdated(&f.store, &retention, START + 9 * DAY, &stop).await.unwrap();
    assert_eq!(stopped, Outdated::default());
    let erased = app::erase_outdated(&f.store, &retention, START + 9 * DAY, &CancellationToken::new()).await.unwrap();
    assert_eq!(
        erased,
        Outdated { diagnostics: 450, bounces: 450, messages: 0, sent: 0 },
        "the entries' own, once their bounces are gone"
    );
    assert_eq!(f.value::<i64>("SELECT count(*) FROM suppression WHERE diagnostic IS NULL").await, 450);
}
