//! A database of an earlier version, made by its own program: it shows the same list afterwards, and an attempt that
//! fails leaves it as it was.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bounced::store::Store;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::cdb;

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-1").join(name)
}

fn kept_text(name: &str) -> String {
    fs::read_to_string(kept(name)).unwrap()
}

/// A copy of the database and its published lists.
struct Old {
    dir: TempDir,
}

impl Old {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["bounced.db", "suppressions.db", "suppressions.cdb"] {
            fs::copy(kept(name), dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What `bounced run` does first.
    async fn migrate(&self) {
        Store::open(&self.path("bounced.db")).await.unwrap().close().await;
    }

    fn installed(&self, command: &mut Command) -> Output {
        command
            .env("BOUNCED_CONFIG", "/dev/null")
            .env("BOUNCED__DATABASE__PATH", self.path("bounced.db"))
            .env("BOUNCED__SUPPRESSIONS__PATH", self.path("suppressions.db"))
            .output()
            .unwrap()
    }

    fn bounced(&self, args: &[&str]) -> Output {
        self.installed(Command::new(env!("CARGO_BIN_EXE_bounced")).args(args))
    }

    fn answer(&self, args: &[&str], code: i32) -> String {
        let output = self.bounced(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn connect(&self, name: &str) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.path(name))).await.unwrap()
    }

    /// The tables and indexes, and every row of every table: nothing that is in the file is missing here.
    async fn everything(&self) -> BTreeMap<String, Vec<String>> {
        let mut connection = self.connect("bounced.db").await;
        let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        assert_eq!(sound, "ok");
        let schema: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT name, sql FROM sqlite_schema").fetch_all(&mut connection).await.unwrap();
        let mut all = BTreeMap::from([("schema".to_owned(), schema.iter().map(|row| format!("{row:?}")).collect())]);
        for table in tables(&mut connection).await {
            let columns = columns(&mut connection, &table).await;
            all.insert(table.clone(), rows(&mut connection, &table, &columns).await);
        }
        connection.close().await.unwrap();
        all
    }

    async fn version(&self) -> i64 {
        let mut connection = self.connect("bounced.db").await;
        let newest = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        newest.unwrap()
    }
}

async fn tables(connection: &mut SqliteConnection) -> Vec<String> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    sqlx::query_scalar(tables).fetch_all(connection).await.unwrap()
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)").bind(table).fetch_all(connection).await.unwrap()
}

/// Each row as one text, in an order of their own.
async fn rows(connection: &mut SqliteConnection, table: &str, columns: &[String]) -> Vec<String> {
    let quoted: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
    let sql = format!("SELECT {} AS row FROM {table} ORDER BY row", quoted.join(" || ',' || "));
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap()
}

/// An array of objects, or one object a line.
fn objects(text: &str) -> Vec<Map<String, Value>> {
    serde_json::from_str(text)
        .unwrap_or_else(|_| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What an object says now, as far as it was said before.
fn as_before(now: &[Map<String, Value>], before: &[Map<String, Value>]) -> Vec<Map<String, Value>> {
    let keys: Vec<_> = before[0].keys().collect();
    now.iter().map(|object| keys.iter().map(|&key| (key.clone(), object[key].clone())).collect()).collect()
}

fn csv_rows(text: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_database_of_the_first_version_shows_the_same_list() {
    let old = Old::new();
    let asked = old.bounced(&["suppressions", "list"]);
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(
        asked.status.code() == Some(74) && said.contains("start `bounced run`, which brings it up to date"),
        "{said}"
    );
    old.migrate().await;

    let before = objects(&kept_text("list.json"));
    assert_eq!(before.len(), 22);
    let after = objects(&old.answer(&["suppressions", "list", "--json"], 0));
    assert_eq!(as_before(&after, &before), before);
    let before = objects(&kept_text("held.json"));
    assert_eq!(as_before(&objects(&old.answer(&["review", "list", "--json"], 0)), &before), before);

    let list = kept_text("list.txt");
    assert_eq!(old.answer(&["suppressions", "export"], 0), list);
    let (before, after) =
        (csv_rows(&kept_text("list.csv")), old.answer(&["suppressions", "export", "--format", "csv"], 0));
    let after: Vec<BTreeMap<_, _>> = csv_rows(&after)
        .into_iter()
        .map(|row| row.into_iter().filter(|(name, _)| before[0].contains_key(name)).collect())
        .collect();
    assert_eq!(after, before);

    let listed: Vec<_> = list.lines().collect();
    old.answer(&[&["suppressions", "check"], listed.as_slice()].concat(), 0);
    for address in ["removed@example.com", "twice@example.com", "d@waits.example", "d@rejected.example"] {
        old.answer(&["suppressions", "check", address], 1);
    }
}

#[tokio::test]
async fn no_row_and_no_number_is_lost() {
    let (old, new) = (Old::new(), Old::new());
    new.migrate().await;
    let (mut before, mut after) = (old.connect("bounced.db").await, new.connect("bounced.db").await);
    for table in tables(&mut before).await.iter().filter(|table| *table != "_sqlx_migrations") {
        let columns = columns(&mut before, table).await;
        let (mut expected, found) = (rows(&mut before, table, &columns).await, rows(&mut after, table, &columns).await);
        if table == "event" {
            // A rejection was a release with that note.
            for row in expected.iter_mut().filter(|row| row.ends_with("'rejected'")) {
                *row = row.replace(",'released',", ",'rejected',");
            }
        }
        assert_eq!(found, expected, "{table}");
    }
    let numbers = "SELECT name || seq FROM sqlite_sequence WHERE name IN ('message', 'bounce', 'complaint', 'event')
                   ORDER BY name";
    let [before, after] = [&mut before, &mut after];
    let before: Vec<String> = sqlx::query_scalar(numbers).fetch_all(before).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, String>(numbers).fetch_all(after).await.unwrap(), before);
    assert_eq!(before.len(), 4);
}

/// The CHECKs of `event` are other ones, and its rows were not written anew.
#[tokio::test]
async fn what_could_not_be_told_before_is_told() {
    let old = Old::new();
    old.migrate().await;
    let mut connection = old.connect("bounced.db").await;
    let mut told = async |kind, address| {
        let sql = "INSERT INTO event (at, kind, alarm, address) VALUES (1, ?1, 7, ?2)";
        sqlx::query(sql).bind(kind).bind(address).execute(&mut connection).await.is_ok()
    };
    assert!(told("alarm_raised", None::<&str>).await && told("alarm_cleared", None).await);
    assert!(!told("alarm_raised", Some("ann@example.org")).await && !told("alarmed", None).await);
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
async fn what_was_published_before_is_followed_on() {
    let old = Old::new();
    old.answer(&["suppressions", "add", "new@example.com"], 0);
    let mut expected: Vec<_> = kept_text("list.txt").lines().map(str::to_owned).collect();
    expected.push("new@example.com".to_owned());
    expected.sort();
    assert_eq!(old.answer(&["suppressions", "export"], 0).lines().collect::<Vec<_>>(), expected);
    // An internationalised domain is published in both forms.
    expected.push("bob@bücher.example".to_owned());
    expected.sort();
    assert_eq!(cdb::addresses(&old.path("suppressions.cdb")), expected);
    let mut published = old.connect("suppressions.db").await;
    let found = sqlx::query_scalar("SELECT email FROM suppression ORDER BY email COLLATE BINARY");
    assert_eq!(found.fetch_all(&mut published).await.map(|found: Vec<String>| found).unwrap(), expected);
}

/// A process that may write files up to this size, in blocks of 512 octets.
fn limited(blocks: u32, when_full: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{when_full} ulimit -c 0; ulimit -f {blocks}; exec \"$0\" suppressions add new@example.com");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_bounced")]);
    command
}

/// The largest file of the migration is smaller.
const MOST_BLOCKS: u32 = 2_000;

#[tokio::test]
async fn a_migration_that_fails_leaves_the_file_as_it_was() {
    // The signal that a process gets for a file that is too large ends it as SIGKILL would, in the midst of its
    // writing; where it is ignored the write fails as on a full disk.
    for (journal, when_full) in [("DELETE", "trap '' XFSZ;"), ("DELETE", ""), ("WAL", "trap '' XFSZ;"), ("WAL", "")] {
        let old = Old::new();
        let mut connection = old.connect("bounced.db").await;
        let mode = format!("PRAGMA journal_mode = {journal}");
        sqlx::raw_sql(AssertSqlSafe(mode)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let before = old.everything().await;
        let mut failed = 0;
        for blocks in (8..MOST_BLOCKS).step_by(24) {
            let output = old.installed(&mut limited(blocks, when_full));
            if old.version().await > 1 {
                break;
            }
            assert!(!output.status.success());
            if when_full.is_empty() {
                assert!(output.status.signal().is_some(), "{output:?}");
            } else {
                let said = String::from_utf8(output.stderr).unwrap();
                let is_clear = said.lines().count() == 1 && said.contains("bounced.db") && said.contains("disk");
                assert!(is_clear && output.status.code() == Some(75), "{:?}: {said}", output.status);
            }
            assert_eq!(old.everything().await, before, "{journal} {when_full} {blocks}");
            failed += 1;
        }
        println!("{journal} {when_full}: {failed} attempts failed");
        assert!(failed > 5, "{journal} {when_full}: {failed}");
        old.answer(&["suppressions", "add", "new@example.com"], 0);
        assert_eq!(old.answer(&["suppressions", "export"], 0).lines().count(), 23);
    }
}
