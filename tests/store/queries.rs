//! docs/database.md keeps its word: its queries run, and it knows every column.

use std::{collections::HashSet, process::Command};

use bounced::store::ListSelection;
use futures::TryStreamExt;
use sqlx::{Column, Connection, Executor, Row, SqliteConnection, Statement, sqlite::SqliteConnectOptions};

use crate::fixture::{BLOCKED, DAY, Fixture, GONE, HARD, SOFT, complaint, entry, sqlite3};

const DOCS: &str = include_str!("../../docs/database.md");

/// The fenced blocks of SQL in the section of ready queries, with their headings.
fn queries() -> Vec<(&'static str, &'static str)> {
    let section = DOCS.split("\n## ").find(|section| section.starts_with("Eleven ready queries")).unwrap();
    section
        .split("\n### ")
        .skip(1)
        .map(|query| {
            let sql = query.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
            (query.lines().next().unwrap(), sql)
        })
        .collect()
}

/// A store with something to find for each query, as of now.
async fn filled() -> Fixture {
    let f = Fixture::new().await;
    let now = f.value::<i64>("SELECT unixepoch()").await;
    let mut batch = vec![entry(1, now - DAY, &[("ann@example.org", HARD), ("gone@nowhere.example", GONE)])];
    batch.extend((2..6).map(|uid| entry(uid, now - i64::from(uid) * DAY, &[("bob@example.com", SOFT)])));
    batch.extend((6..9).map(|uid| entry(uid, now - 3_600, &[("eve@example.com", BLOCKED)])));
    batch.push(complaint(9, now - DAY, &["carl@example.net"]));
    f.commit(&batch).await;
    f
}

async fn open(f: &Fixture) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(f.database())).await.unwrap()
}

#[tokio::test]
async fn each_of_the_ready_queries_finds_something() {
    let f = filled().await;
    let mut connection = open(&f).await;
    let queries = queries();
    assert_eq!(queries.len(), 11);
    let mut first = Vec::new();
    for (heading, sql) in queries {
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap_or_else(|e| panic!("{heading}: {e}"));
        assert!(!rows.is_empty(), "{heading}");
        first.push(rows.iter().map(|row| row.try_get::<String, _>(0).unwrap_or_default()).collect::<Vec<_>>());
    }
    assert_eq!(first[0], ["ann@example.org", "carl@example.net"]);
    assert_eq!(first[1].iter().collect::<HashSet<_>>().len(), 2);
    assert_eq!(first[2], ["bob@example.com"], "four soft bounces, but not the one that is our own fault");
    assert_eq!(first[4], ["example.com", "example.org", "nowhere.example"]);
    assert_eq!(first[5], ["nowhere.example"]);
    assert_eq!(first[7], ["example.com"]);
    assert_eq!(first[10], ["carl@example.net"]);
}

#[tokio::test]
async fn the_sqlite3_shell_runs_the_ready_queries() {
    let Some(sqlite3) = sqlite3() else { return };
    let f = filled().await;
    for (heading, sql) in queries() {
        let output = Command::new(sqlite3).arg("-readonly").arg(f.database()).arg(sql).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty() && !output.stdout.is_empty(), "{heading}: {stderr}");
    }
}

#[tokio::test]
async fn every_column_is_documented() {
    let f = Fixture::new().await;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
    )
    .fetch_all(&mut open(&f).await)
    .await
    .unwrap();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let section = DOCS
            .split("\n### ")
            .find(|section| section.lines().next().is_some_and(|line| line.contains(&format!("`{name}`"))))
            .unwrap_or_else(|| panic!("no section on {name}"));
        let mut connection = open(&f).await;
        let sql = sqlx::AssertSqlSafe(format!("SELECT * FROM {name}"));
        let statement = connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await.unwrap();
        for column in statement.columns() {
            assert!(section.contains(&format!("`{}`", column.name())), "{name}.{}", column.name());
        }
    }
}

#[tokio::test]
async fn lookups_by_address_domain_and_time_use_an_index() {
    let f = Fixture::new().await;
    let mut connection = open(&f).await;
    for (table, condition) in [
        ("bounce", "address = 'ann@example.org'"),
        ("bounce", "domain = 'example.org'"),
        ("bounce", "at >= 1767225600"),
        ("complaint", "address = 'ann@example.org'"),
    ] {
        let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN SELECT id FROM {table} WHERE {condition}"));
        let plan: String = sqlx::query(sql).fetch_one(&mut connection).await.unwrap().get("detail");
        assert!(plan.contains("SEARCH") && plan.contains("INDEX"), "{condition}: {plan}");
    }
}

#[tokio::test]
async fn views_show_times_as_iso_8601() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, 1_767_225_600, &[("ann@example.org", HARD), ("bob@example.org", SOFT)])]).await;
    f.commit(&[complaint(2, 1_767_225_600, &["carl@example.org"])]).await;
    for sql in [
        "SELECT time FROM complaints",
        "SELECT time FROM hard_bounces",
        "SELECT time FROM soft_bounces",
        "SELECT since FROM suppression_list",
        "SELECT bounced FROM suppression_list",
        "SELECT first FROM bounces_by_domain",
    ] {
        assert_eq!(f.value::<String>(sql).await, "2026-01-01T00:00:00Z", "{sql}");
    }
    for sql in
        ["SELECT first FROM bounces_by_reason", "SELECT last FROM bounces_by_reason", "SELECT day FROM bounces_by_day"]
    {
        assert_eq!(f.value::<String>(sql).await, "2026-01-01", "{sql}");
    }
    for sql in [
        "SELECT at FROM complaints",
        "SELECT at FROM hard_bounces",
        "SELECT at FROM soft_bounces",
        "SELECT at FROM suppression_list",
        "SELECT at FROM bounces_by_day",
    ] {
        assert_eq!(f.value::<i64>(sql).await, 1_767_225_600, "{sql}");
    }
}

#[tokio::test]
async fn a_long_list_comes_whole_and_in_its_order() {
    let f = Fixture::new().await;
    f.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1234)
         INSERT INTO suppression (address, domain, origin, since)
         SELECT format('user%d@example.org', n * 7919 % 1234), 'example.org', 'manual', n FROM n",
    )
    .await;
    let rows: Vec<_> = f.store.suppressions(&ListSelection::default()).try_collect().await.unwrap();
    assert_eq!(rows.len(), 1234);
    assert!(rows.is_sorted_by(|a, b| a.address < b.address));
    assert!(rows.iter().all(|row| row.at > 0 && row.since.starts_with("1970-01-01T00:")));
}
