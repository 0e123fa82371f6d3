//! Whoever asks a large store waits for no scan of it: the plan of each documented query, and of each statement that
//! the store runs for its commands and its commits, goes along an index. In a process of its own, because it listens to
//! what all connections of the process run.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "store/fixture.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest")]
mod fixture;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bounced::{
    app::{self, List},
    clock::Moment,
    config::Config,
    message::Reading,
    policy::Policy,
    report::{Address, StoredRecipient},
    store::{Anew, By, HeldSelection, Holder, ListSelection, Progress, Records, Store, TablesVersion, WithoutNote},
};
use futures::TryStreamExt;
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tracing::{Event, Subscriber, field::Visit};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, complaint, entry, imported};

/// Tables that grow with every mail, and their names in statements and views. Those of the list may be gone along from
/// one end to the other, because a list is read so.
const LARGE: [&str; 6] = ["bounce", "b", "message", "m", "event", "e"];

/// Everything that is run on SQLite.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<BTreeSet<String>>>);

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            event.record(&mut self.clone());
        }
    }
}

impl Visit for Statements {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        // A short one stands in its summary as a whole.
        if (field.name() == "db.statement" && !value.is_empty()) || (field.name() == "summary" && !value.ends_with('…'))
        {
            self.0.lock().unwrap().insert(value.trim().to_owned());
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn fmt::Debug) {}
}

/// What is wrong with the plan of a statement: a scan of a large table, or one of its rows sorted.
async fn faults(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let plan: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(explained).fetch_all(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut beside = BTreeMap::<i64, Vec<&str>>::new();
    plan.iter().for_each(|(_, parent, _, step)| beside.entry(*parent).or_default().push(step));
    let is_large = |step: &&str| step.split(' ').nth(1).is_some_and(|table| LARGE.contains(&table));
    let mut faults = Vec::new();
    for steps in beside.values() {
        let large: Vec<_> = steps.iter().filter(|step| is_large(step)).collect();
        faults.extend(large.iter().filter(|step| step.starts_with("SCAN")).map(|step| (*step).to_string()));
        // One row at a time, for rows of another table that are few.
        let many = large.iter().any(|step| !step.contains("INTEGER PRIMARY KEY (rowid=?)"));
        faults.extend(steps.iter().filter(|step| many && step.contains("TEMP B-TREE")).map(|step| (*step).to_string()));
    }
    faults
}

async fn connect(f: &Fixture) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(f.database())).await.unwrap()
}

/// Each command that reads, the daemon's start, a commit, and an import.
async fn use_everything(f: &Fixture) {
    let mut config = Config::default();
    config.database.path = f.database();
    config.suppressions.path = f.path("suppressions.db");
    let many = entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD)]);
    let policy = Policy { most_per_message: 1, ..Policy::default() };
    let batch = [many, entry(2, START + DAY, &[("eve@example.org", SOFT)]), complaint(3, START, &["ann@example.org"])];
    f.store.commit(MAILBOX, &batch, &Reading::default(), &policy).await.unwrap();
    let now = Moment { wall: START + DAY, uptime: 1 };
    app::status(&config, Duration::from_secs(900), now).await.unwrap();

    let list = List::open_to_read(&config).await.unwrap();
    assert_eq!(list.rows(&ListSelection::default()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert_eq!(list.entries().try_concat().await.unwrap().len(), 1);
    assert_eq!(list.held(&HeldSelection::default()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    let ann = Address::parse("ann@example.org").unwrap();
    assert!(list.row(&ann).await.unwrap().is_some());
    assert!(!list.history(&ann).await.unwrap().changes.is_empty());
    list.close().await;

    let store = Store::open_existing(&f.database()).await.unwrap();
    store.resume(MAILBOX).await.unwrap();
    store.deaths(MAILBOX, START).await.unwrap();
    let holder = Holder { id: "me".into(), name: "here".into() };
    let at = Moment { wall: START, uptime: 0 };
    assert!(store.take_lease(MAILBOX, None, &holder, true, at).await.unwrap());
    store.renew_leases(&holder, true, &[], at).await.unwrap();
    assert_eq!((store.leases().await.unwrap().len(), store.daemons().await.unwrap().len()), (1, 1));
    store.unsettled(MAILBOX, i64::MAX, 10).await.unwrap();
    let places = || batch.iter().map(|judged| judged.place.clone()).collect::<Vec<_>>();
    assert!(store.unrecorded(MAILBOX, places()).await.unwrap().is_empty());
    assert!(store.naming_nobody(MAILBOX, &places()).await.unwrap().is_empty());
    store.settled(MAILBOX, &places()).await.unwrap();
    assert_eq!(store.events_after(0, 10).await.unwrap().len(), 7);
    assert_eq!(store.changes_after(0, 10).await.unwrap().addresses.len(), 2);
    assert!(store.first_change_since(0).await.unwrap().is_some());
    store.release(std::slice::from_ref(&ann), &By::new("test", START)).await.unwrap();
    let mut importing = store.import().await.unwrap();
    importing.add(&[imported("joe@example.org")]).await.unwrap();
    assert_eq!(importing.finish(&By::new("test", START), WithoutNote::Stays).await.unwrap().new, 1);
    let nothing = |_: &StoredRecipient<'_>, _: Option<&str>| None;
    let (tables, policy, by) = (TablesVersion::default(), Policy::default(), By::new("test", START));
    let mut anew = Anew { judge: &nothing, tables: &tables, policy: &policy, since: None, by, dry_run: true };
    for dry_run in [true, false] {
        anew.dry_run = dry_run;
        let mut progress = Progress::default();
        while store.reclassify(&anew, &mut progress).await.unwrap().is_some() {}
    }
    forget_everything(&store, ann).await;
    store.close().await;
}

/// What is too old, and a person.
async fn forget_everything(store: &Store, ann: Address) {
    store.erase_texts_of_entries(START, "", 10).await.unwrap();
    for records in [Records::Diagnostics, Records::Bounces, Records::Messages, Records::DeadByHour] {
        store.erase_before(records, START, 10).await.unwrap();
    }
    let (ann, by) = ([ann], By::new("test", START));
    store.forget(&ann, &by).await.unwrap();
    store.erase_persons(&ann, &by).await.unwrap();
    store.erase_names(&ann, &|_, _| {}).await.unwrap();
    assert_eq!(store.begun_to_forget().await.unwrap().len(), 1);
    store.all_is_forgotten(&ann).await.unwrap();
    store.check_key().await.unwrap();
    assert!(store.forgotten(&ann[0]).await.unwrap().is_some());
    assert!(store.suppress(&ann, &by).await.is_err());
    assert_eq!(store.recall(&ann).await.unwrap(), [true]);
}

#[tokio::test]
async fn nobody_waits_for_a_scan() {
    let statements = Statements::default();
    let of_sqlx = tracing_subscriber::filter::Targets::new().with_target("sqlx::query", tracing::Level::DEBUG);
    tracing_subscriber::registry().with(statements.clone().with_filter(of_sqlx)).init();
    let f = Fixture::new().await;
    use_everything(&f).await;
    let run = std::mem::take(&mut *statements.0.lock().unwrap());
    let own_tables: Vec<_> = run.iter().filter(|sql| sql.starts_with("CREATE TEMP TABLE")).cloned().collect();
    assert!(own_tables.len() >= 3, "{own_tables:?}");
    let explained = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    let run: Vec<_> = run.iter().filter(|sql| explained.iter().any(|verb| sql.starts_with(verb))).collect();
    assert!(run.len() >= 35, "{run:#?}");
    let docs = include_str!("../docs/database.md");
    let documented: Vec<_> = docs.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(documented.len(), 12);

    let newest = ["hard_bounces", "soft_bounces", "complaints", "suppression_list", "bounces_by_day"]
        .map(|view| format!("SELECT * FROM {view} WHERE at < 4102444800 ORDER BY at DESC LIMIT 100"));
    let of_domain = "SELECT * FROM hard_bounces WHERE domain = 'example.org' ORDER BY at DESC LIMIT 100".to_owned();
    // What a message leads to when it is erased.
    let erased = "DELETE FROM message WHERE id = 1".to_owned();

    let mut connection = connect(&f).await;
    for sql in own_tables {
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    let pages = newest.iter().chain([&of_domain, &erased]).map(String::as_str);
    // A word in the midst of a text is found by looking at each: `bounced forget` takes its time, and holds nobody up.
    let read_through = |sql: &&str| sql.contains("concat_ws");
    for sql in run.iter().map(|sql| sql.as_str()).filter(|sql| !read_through(sql)).chain(documented).chain(pages) {
        assert_eq!(faults(&mut connection, sql).await, [""; 0], "{sql}");
    }
    // What this test asks of a plan can be denied.
    for (sql, fault) in [
        ("SELECT * FROM hard_bounces WHERE time > '2026'", "SCAN b"),
        ("SELECT count(*) FROM message WHERE kind = 'bounce'", "SCAN message"),
        ("SELECT * FROM bounce WHERE at > 1 ORDER BY rule", "USE TEMP B-TREE FOR ORDER BY"),
    ] {
        assert_eq!(faults(&mut connection, sql).await, [fault], "{sql}");
    }
}
