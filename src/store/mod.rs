//! Judged messages -> rows in an SQLite file, and the published list that mail servers read.
//! Knows nothing of mail formats and of rules; what suppresses an address is a function that the caller brings.
//!
//! Times are seconds since 1970-01-01 UTC in every table and argument; the views show them as ISO 8601 text.

mod commit;
mod error;
mod list;
mod mailbox;
mod published;

use std::{fs::File, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};

pub use commit::{Committed, Entry};
pub use error::StoreError;
pub use list::Listed;
pub use mailbox::{Heartbeat, MailboxStatus};
pub use published::Published;
use sqlx::{
    Connection, Executor, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::{Instant, sleep};

/// The `application_id` of a store (https://www.sqlite.org/fileformat.html#application_id): "bncd".
const STORE_ID: i64 = 0x626e_6364;

/// How long a statement waits for another process to finish its transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement costs more than its rows, up to about here. Statements with just as many rows are prepared once and
/// kept; shorter ones, of which there are many lengths, are not.
const ROWS_A_STATEMENT: usize = 100;

/// The database file of one installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    path: Arc<Path>,
    /// One connection: SQLite has one writer at a time, and waiting here is fair where its own lock is not.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the file, makes it when it is missing (but not its directory), and brings its tables up to date.
    ///
    /// # Errors
    /// See [`StoreError`]; the text names the path and says what to do.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::connect(path, true).await
    }

    /// Like [`Store::open`], for commands that have nothing to say about a store that was never made.
    ///
    /// # Errors
    /// Besides those of [`Store::open`]: [`StoreError::Unusable`] when there is no such file.
    pub async fn open_existing(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::missing(path));
        }
        Self::connect(path, false).await
    }

    async fn connect(path: &Path, create: bool) -> Result<Self, StoreError> {
        if create {
            make_private(path);
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            // A mail is moved away once its rows are committed, so the commit has to outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // A batch fills SQLite's own 1,000 pages, and each checkpoint waits for the disk twice.
            .pragma("wal_autocheckpoint", "4000");
        let pool = || SqlitePoolOptions::new().acquire_timeout(BUSY_TIMEOUT);
        let writer = pool()
            .max_connections(1)
            // On a full disk SQLite rolls back by itself, and sqlx goes on counting a transaction that is gone.
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            // In KiB. SQLite's own 2 MB are less than a large batch changes, which then goes to the disk more than once.
            .connect_with(options.clone().pragma("cache_size", "-8000"))
            .await
            .map_err(|error| StoreError::of(path, error))?;
        let readers = pool().max_connections(4).connect_lazy_with(options.pragma("query_only", "on"));
        let store = Self { path: path.into(), writer, readers };
        store.migrate().await?;
        store.write_ahead().await?;
        Ok(store)
    }

    /// Not an option of the connection: that would turn another program's file into WAL before `claim` sees it.
    async fn write_ahead(&self) -> Result<(), StoreError> {
        let give_up = Instant::now() + BUSY_TIMEOUT;
        loop {
            match self.writer.execute("PRAGMA journal_mode = WAL").await.map_err(|error| self.error(error)) {
                // The one statement that a busy timeout does not cover.
                Err(StoreError::Busy(_)) if Instant::now() < give_up => sleep(Duration::from_millis(5)).await,
                done => return done.map(drop),
            }
        }
    }

    /// In one transaction, so that two processes that start at once do not both make the tables.
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if !claim(&mut tx, STORE_ID).await.map_err(|error| self.error(error))? {
            return Err(StoreError::foreign(&self.path));
        }
        // `run` takes anything that can be acquired, and its future is then not `Send` for every lifetime.
        sqlx::migrate!("./migrations")
            .run_direct(None, &mut *tx, false)
            .await
            .map_err(|error| StoreError::migration(&self.path, error))?;
        tx.commit().await.map_err(|error| self.error(error))
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes what is under way and closes the file; its `-wal` companion goes away with the last process.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// IMMEDIATE: a transaction that reads before it writes would otherwise fail, whatever the busy timeout.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        StoreError::of(&self.path, error)
    }
}

/// Who bounced is nobody else's business, so the file is made for its owner and group alone; SQLite gives its companions
/// the same mode. Errors are left to SQLite, which meets them again.
fn make_private(path: &Path) {
    let _ = File::options().write(true).create_new(true).mode(0o640).open(path);
}

/// Marks an empty database file as ours; `false` when it is another program's, or another kind of ours.
async fn claim(connection: &mut SqliteConnection, id: i64) -> Result<bool, sqlx::Error> {
    let (found, tables): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(&mut *connection)
    .await?;
    if found == 0 && tables == 0 {
        // A pragma takes no bound values.
        connection.execute(sqlx::AssertSqlSafe(format!("PRAGMA application_id = {id}"))).await?;
        return Ok(true);
    }
    Ok(found == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Address;

    async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        (dir, store)
    }

    fn ann() -> Address {
        Address::parse("ann@example.org").unwrap()
    }

    fn busy(error: &StoreError, path: &Path, words: &str) {
        assert!(matches!(error, StoreError::Busy(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains(words) && !text.contains('\n'), "{text}");
    }

    #[tokio::test]
    async fn a_full_disk_loses_nothing_and_may_be_tried_again() {
        let (_dir, store) = store().await;
        // SQLite's own limit gives the answer of a full disk.
        store.writer.execute("PRAGMA max_page_count = 1").await.unwrap();
        let note = "long ".repeat(100_000);
        let error = store.suppress(&ann(), Some(&note), 0).await.expect_err("full");
        busy(&error, store.path(), "the disk is full");
        assert_eq!(store.suppression(&ann()).await.unwrap(), None);

        // The limit ended with its connection, as a full disk ends when space is freed.
        assert!(store.suppress(&ann(), Some(&note), 0).await.unwrap());
    }

    #[tokio::test]
    async fn a_locked_database_may_be_tried_again() {
        let (_dir, store) = store().await;
        let other = SqliteConnectOptions::new().filename(store.path());
        let other = SqlitePool::connect_with(other).await.unwrap();
        let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        store.writer.execute("PRAGMA busy_timeout = 0").await.unwrap();
        let error = store.suppress(&ann(), None, 0).await.expect_err("locked");
        busy(&error, store.path(), "locked by another program");
        held.rollback().await.unwrap();
        assert!(store.suppress(&ann(), None, 0).await.unwrap());
    }
}
