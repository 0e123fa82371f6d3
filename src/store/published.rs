//! The suppression list of the store -> a small SQLite file of its own that mail servers read.
//!
//! A rollback-journal file, because a reader without write permission cannot open a WAL file that nobody has open;
//! changed in place, because a mail server keeps its handle and would go on reading a file that was renamed over.
//! The file knows which change of the store it has followed last, so that it heals after a crash between the two
//! files, and two processes that change the list at once cannot leave an older state behind.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{BUSY_TIMEOUT, Store, StoreError, claim};

/// The `application_id` of a published list: "bncp".
const PUBLISHED_ID: i64 = 0x626e_6370;

/// The file that mail servers read.
#[derive(Debug, Clone)]
pub struct Published {
    path: PathBuf,
}

/// How much of the list is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What the store changed since the last time.
    Changes,
    /// Everything: the file was made, edited or restored by somebody, or follows another store.
    All,
}

impl Published {
    /// The list at this path; nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file equal to the store's list, whatever it held; makes it when it is missing. For the start.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn reconcile(&self, store: &Store) -> Result<(), StoreError> {
        self.bring_up(store, Extent::All).await
    }

    /// Carries the changes since the last time into the file; rebuilds it when it is missing. For after a commit.
    ///
    /// The file is opened each time: this takes well under a millisecond, and notices when it was deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn follow(&self, store: &Store) -> Result<(), StoreError> {
        self.bring_up(store, Extent::Changes).await
    }

    async fn bring_up(&self, store: &Store, extent: Extent) -> Result<(), StoreError> {
        let options =
            SqliteConnectOptions::new().filename(&self.path).create_if_missing(true).busy_timeout(BUSY_TIMEOUT);
        let error = |error| StoreError::of(&self.path, error);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(error)?;
        if !prepare(&mut connection).await.map_err(error)? {
            return Err(StoreError::foreign(&self.path));
        }
        let followed = follow(&mut connection, store.path(), extent).await;
        // Closing says nothing new, and an error above is the one to report.
        let _ = connection.close().await;
        followed.map_err(error)
    }
}

/// Makes the tables; `false` when the file is somebody else's.
async fn prepare(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let ours: i64 =
        sqlx::query_scalar("SELECT application_id FROM pragma_application_id").fetch_one(&mut *connection).await?;
    if ours == PUBLISHED_ID {
        return Ok(true);
    }
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    if !claim(&mut tx, PUBLISHED_ID).await? {
        return Ok(false);
    }
    tx.execute(include_str!("published.sql")).await?;
    tx.commit().await?;
    Ok(true)
}

async fn follow(connection: &mut SqliteConnection, store: &Path, extent: Extent) -> Result<(), sqlx::Error> {
    // Where somebody's tool has turned it into WAL.
    connection.execute("PRAGMA main.journal_mode = DELETE").await?;
    sqlx::query("ATTACH ?1 AS store").bind(store.to_string_lossy().as_ref()).execute(&mut *connection).await?;
    let (same, followed, newest): (bool, i64, i64) = sqlx::query_as(
        "SELECT f.store = s.id, f.revision, (SELECT coalesce(max(revision), 0) FROM store.suppression_log)
         FROM main.following AS f, store.store AS s",
    )
    .fetch_one(&mut *connection)
    .await?;
    if same && followed == newest && extent == Extent::Changes {
        return Ok(());
    }
    // A deferred transaction that writes to the list first: IMMEDIATE would lock the attached store as well.
    let mut tx = connection.begin().await?;
    sqlx::query("UPDATE main.following SET revision = revision").execute(&mut *tx).await?;
    let since = if same && extent == Extent::Changes {
        sqlx::query_scalar("SELECT revision FROM main.following").fetch_one(&mut *tx).await?
    } else {
        None
    };
    carry(&mut tx, since).await?;
    tx.commit().await
}

/// Carries what the store changed after revision `since` over, or everything. Rows that are right stay untouched,
/// so that the file is locked against its readers only for a moment.
async fn carry(tx: &mut SqliteConnection, since: Option<i64>) -> Result<(), sqlx::Error> {
    let changed = match since {
        Some(_) => "IN (SELECT address FROM store.suppression_log WHERE revision > ?1)",
        None => "IS NOT NULL",
    };
    sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM main.suppression WHERE email {changed}
         AND NOT EXISTS (SELECT 1 FROM store.suppression AS s WHERE s.address = main.suppression.email)"
    )))
    .bind(since)
    .execute(&mut *tx)
    .await?;
    sqlx::query(AssertSqlSafe(format!(
        "INSERT OR REPLACE INTO main.suppression (email, origin, reason, since)
         SELECT address, origin, coalesce(reason, origin), since FROM store.suppression WHERE address {changed}
         EXCEPT SELECT email, origin, reason, since FROM main.suppression WHERE email {changed}"
    )))
    .bind(since)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE main.following SET
             store = (SELECT id FROM store.store),
             revision = (SELECT coalesce(max(revision), 0) FROM store.suppression_log)",
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
