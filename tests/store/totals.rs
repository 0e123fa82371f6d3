//! The tables `total_by_…` say what somebody would count, whatever is recorded, corrected and erased.

use bounced::{codes::Judgement, message::Reading, policy::Policy, report::Action};
use proptest::{prelude::*, test_runner::Config};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;

use crate::fixture::{BLOCKED, DAY, Fixture, GONE, HARD, SOFT, START, entry};

/// Address, judgement, whether it failed.
type To = (usize, usize, bool);

#[derive(Debug, Clone)]
enum Step {
    /// Messages of one of two mailboxes: each with its day and whom it speaks of.
    Commit(usize, Vec<(i64, Vec<To>)>),
    /// One of these statements, on every so-many-th row.
    Change(usize, i64),
}

const MAILBOXES: [&str; 2] = ["bounces", "returns"];
const ADDRESSES: [&str; 4] = ["ann@example.org", "bob@example.org", "eve@example.com", "joe@nowhere.example"];
const JUDGEMENTS: [Judgement; 4] = [HARD, SOFT, BLOCKED, GONE];

const CHANGES: [&str; 15] = [
    "DELETE FROM message WHERE id % ?1 = 0",
    "DELETE FROM bounce WHERE id % ?1 = 0",
    "UPDATE message SET kind = iif(kind = 'bounce', 'not_bounce', 'bounce') WHERE id % ?1 = 0",
    "UPDATE message SET mailbox = 'elsewhere' WHERE id % ?1 = 0",
    "UPDATE bounce SET class = iif(class = 'hard', 'soft', 'hard') WHERE id % ?1 = 0",
    "UPDATE bounce SET reason = 'bad_domain', fault = 'recipient' WHERE id % ?1 = 0",
    "UPDATE bounce SET reason = 'blocked', fault = 'sender' WHERE id % ?1 = 0",
    "UPDATE bounce SET action = iif(action = 'failed', 'delayed', 'failed') WHERE id % ?1 = 0",
    "UPDATE bounce SET at = at + 90000 WHERE id % ?1 = 0",
    "UPDATE bounce SET domain = NULL, address = NULL WHERE id % ?1 = 0",
    "UPDATE bounce SET domain = 'example.net', address = 'x@example.net' WHERE id % ?1 = 0",
    "UPDATE bounce SET campaign = NULL WHERE id % ?1 = 0",
    "UPDATE bounce SET campaign = 'corrected' WHERE id % ?1 = 0",
    "UPDATE bounce SET provider = 'big.example' WHERE id % ?1 = 0",
    "UPDATE bounce SET told_before = NOT told_before WHERE id % ?1 = 0",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let recipient = (0..ADDRESSES.len(), 0..JUDGEMENTS.len(), prop::bool::weighted(0.8));
    let message = (0..4_i64, prop::collection::vec(recipient, 0..4));
    let commit = (0..MAILBOXES.len(), prop::collection::vec(message, 1..8));
    let change = (0..CHANGES.len(), 1..4_i64);
    let step = prop_oneof![
        commit.prop_map(|(mailbox, messages)| Step::Commit(mailbox, messages)),
        change.prop_map(|(which, each)| Step::Change(which, each)),
    ];
    prop::collection::vec(step, 1..10)
}

const TOTALS: &str = "
    SELECT 'mailbox ' || mailbox AS of, messages AS n, bounces AS b, 0 AS c, 0 AS d, 0 AS e FROM total_by_mailbox
    UNION ALL SELECT 'day ' || day || class || reason || fault, bounces, 0, 0, 0, 0 FROM total_by_day
    UNION ALL SELECT 'domain ' || domain, bounces, hard, soft, bad_domain, sender_fault FROM total_by_domain
    UNION ALL SELECT 'failed ' || day || ' ' || domain || ' ' || provider || ' ' || campaign, hard, soft, blocked, 0, 0
    FROM failed_by_day
    UNION ALL SELECT 'campaign ' || campaign || class || reason, bounces, 0, 0, 0, 0 FROM total_by_campaign
    ORDER BY 1";

type Total = (String, i64, i64, i64, i64, i64);

async fn run(steps: &[Step]) -> (Vec<Total>, Vec<Total>) {
    let f = Fixture::new().await;
    let options = SqliteConnectOptions::new().filename(f.database()).foreign_keys(true);
    let mut shell = SqliteConnection::connect_with(&options).await.unwrap();
    let mut uid = 0;
    for step in steps {
        match step {
            Step::Commit(mailbox, messages) => {
                let batch: Vec<_> = messages
                    .iter()
                    .map(|(day, recipients)| {
                        uid += 1;
                        let named: Vec<_> =
                            recipients.iter().map(|&(who, how, _)| (ADDRESSES[who], JUDGEMENTS[how])).collect();
                        let mut one = entry(uid, START + day * DAY + i64::from(uid), &named);
                        for (recipient, (_, _, failed)) in one.report.recipients.iter_mut().zip(recipients) {
                            recipient.action = if *failed { Action::Failed } else { Action::Delayed };
                        }
                        one
                    })
                    .collect();
                let (mailbox, policy) = (MAILBOXES[*mailbox], Policy::default());
                f.store.commit(mailbox, &batch, &Reading::default(), &policy).await.unwrap();
            }
            Step::Change(which, each) => {
                sqlx::query(CHANGES[*which]).bind(each).execute(&mut shell).await.unwrap();
            }
        }
    }
    let kept = sqlx::query_as(TOTALS).fetch_all(&mut shell).await.unwrap();
    sqlx::raw_sql(include_str!("../../scripts/recount.sql")).execute(&mut shell).await.unwrap();
    let counted = sqlx::query_as(TOTALS).fetch_all(&mut shell).await.unwrap();
    (kept, counted)
}

proptest! {
    #![proptest_config(Config { cases: 40, ..Config::default() })]

    #[test]
    fn totals_are_what_is_counted(steps in steps()) {
        let (kept, counted) = Runtime::new().unwrap().block_on(run(&steps));
        prop_assert_eq!(kept, counted);
    }
}

#[tokio::test]
async fn a_recount_counts_failed_recipients_alone_and_leaves_no_row_empty() {
    let f = Fixture::new().await;
    let mut late = entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", SOFT)]);
    late.report.recipients[1].action = Action::Delayed;
    f.commit(&[late, entry(2, START + DAY, &[("ann@example.org", BLOCKED)])]).await;
    let expected = [("example.org".to_owned(), 2, 1, 1, 0, 1)];
    let domains = "SELECT domain, bounces, hard, soft, bad_domain, sender_fault FROM total_by_domain";
    assert_eq!(f.rows::<Total>(domains).await, expected);
    f.execute("DELETE FROM total_by_domain; DELETE FROM total_by_mailbox").await;
    f.execute(include_str!("../../scripts/recount.sql")).await;
    assert_eq!(f.rows::<Total>(domains).await, expected);
    let mailbox = "SELECT messages || ' ' || bounces || ' ' || newest || ' ' || (recorded - lag) FROM total_by_mailbox";
    assert_eq!(f.value::<String>(mailbox).await, format!("2 2 {0} {0}", START + DAY));

    f.execute("PRAGMA foreign_keys = ON; DELETE FROM message").await;
    assert!(f.rows::<Total>(domains).await.is_empty());
    assert_eq!(
        f.value::<i64>(
            "SELECT (SELECT count(*) FROM total_by_day) + (SELECT count(*) FROM total_by_campaign)
                    + (SELECT count(*) FROM failed_by_day)"
        )
        .await,
        0
    );
    assert_eq!(f.value::<i64>("SELECT messages + bounces FROM total_by_mailbox").await, 0);
}

#[tokio::test]
async fn an_erased_bounce_leaves_its_entry_and_takes_along_who_waits() {
    let f = Fixture::new().await;
    let policy = Policy { most_per_message: 1, ..Policy::default() };
    let both = entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD)]);
    f.store.commit(MAILBOXES[0], &[both], &Reading::default(), &policy).await.unwrap();
    assert_eq!(f.value::<String>("SELECT group_concat(address) FROM held").await, "bob@example.org");
    f.execute("PRAGMA foreign_keys = ON; DELETE FROM message").await;
    assert_eq!(f.value::<i64>("SELECT count(*) FROM held").await, 0);
    let left: Vec<(String, Option<i64>, Option<i64>, String)> =
        f.rows("SELECT address, bounce, message, diagnostic FROM suppression_list").await;
    let diagnostic = "550 5.0.0 <ann@example.org>: user_unknown".to_owned();
    assert_eq!(left, [("ann@example.org".to_owned(), None, None, diagnostic)]);
}

#[tokio::test]
async fn a_mailbox_tells_of_the_newest_message_and_of_the_last_one() {
    let f = Fixture::new().await;
    let told = "SELECT newest || ' ' || (recorded - lag) FROM total_by_mailbox";
    f.commit(&[entry(1, START + 10, &[]), entry(2, START - 100, &[])]).await;
    assert_eq!(f.value::<String>(told).await, format!("{} {}", START + 10, START - 100));
    f.commit(&[entry(3, START - 50, &[])]).await;
    assert_eq!(f.value::<String>(told).await, format!("{} {}", START + 10, START - 50));
    f.commit(&[entry(4, START + 20, &[])]).await;
    assert_eq!(f.value::<String>(told).await, format!("{0} {0}", START + 20));
}
