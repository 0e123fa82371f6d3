//! The suppression list -> a small SQLite file of its own that mail servers read.
//!
//! A rollback-journal file, because a reader without write permission cannot open a WAL file that nobody has open;
//! changed in place, because a mail server keeps its handle and would go on reading a file that was renamed over.
//! The file knows which store it follows and up to which revision. Whoever changes it read that first and, once he may
//! write, looks whether it still holds: so two processes cannot leave an older state behind, and nobody keeps the file
//! while he reads the store.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use futures::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteConnectOptions,
};

use crate::{
    config::Config,
    store::{
        Entry, EventKind, Store, StoreError,
        sqlite::file::{BUSY_TIMEOUT, claim},
    },
};

/// The `application_id` of a published list (https://www.sqlite.org/fileformat.html#application_id): "bncp".
const PUBLISHED_ID: i64 = 0x626e_6370;

/// How many events are read and carried over at once.
const EVENTS_AT_ONCE: u32 = 1_000;

/// How many entries are handed to SQLite at once.
const ROWS_A_STATEMENT: usize = 100;

/// The file that mail servers read.
#[derive(Debug, Clone)]
pub struct Published {
    path: PathBuf,
}

/// The row of `following`: what the file holds.
#[derive(Debug, PartialEq, Eq, FromRow)]
struct Following {
    store: String,
    revision: i64,
}

/// What is compared with the store.
enum Extent {
    /// The whole file: it is new, was edited or restored by somebody, or follows another store.
    All,
    /// The addresses that changed.
    Changed(HashSet<String>),
}

impl Published {
    /// The list at this path; nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn configured(config: &Config) -> Self {
        Self::new(&config.suppressions.path)
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file equal to the store's list, whatever it held; makes it when it is missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn start(&self, store: &Store) -> Result<(), StoreError> {
        self.bring_up(store, true).await
    }

    /// Carries the changes since the last time into the file; rebuilds it when it is missing, follows another store, or
    /// is ahead of this one, as after a restored backup.
    ///
    /// The file is opened each time: this takes well under a millisecond, and notices when it was deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn follow(&self, store: &Store) -> Result<(), StoreError> {
        self.bring_up(store, false).await
    }

    async fn bring_up(&self, store: &Store, all: bool) -> Result<(), StoreError> {
        let options =
            SqliteConnectOptions::new().filename(&self.path).create_if_missing(true).busy_timeout(BUSY_TIMEOUT);
        let mut file = SqliteConnection::connect_with(&options).await.map_err(|error| self.error(error))?;
        if !prepare(&mut file).await.map_err(|error| self.error(error))? {
            return Err(StoreError::foreign_file(&self.path));
        }
        let done = self.carry_over(&mut file, store, all).await;
        // Closing says nothing new, and an error above is the one to report.
        let _ = file.close().await;
        done
    }

    async fn carry_over(&self, file: &mut SqliteConnection, store: &Store, mut all: bool) -> Result<(), StoreError> {
        let id = store.id().await?;
        loop {
            let held = following(file).await.map_err(|error| self.error(error))?;
            let newest = store.newest_revision().await?;
            let (extent, revision) = if all || held.store != id || held.revision > newest {
                (Extent::All, newest)
            } else {
                let events = store.events_after(held.revision, EVENTS_AT_ONCE).await?;
                let revision = events.last().map_or(held.revision, |event| event.revision);
                let more = events.len() == EVENTS_AT_ONCE as usize;
                let changes = events.into_iter().filter(|event| event.kind != EventKind::Bounce);
                let changed: HashSet<String> = changes.filter_map(|event| event.address).collect();
                // A few bounces that change nothing are no reason to write: they are passed over again the next time.
                if changed.is_empty() && !more {
                    return Ok(());
                }
                (Extent::Changed(changed), revision)
            };
            // Read after the revision: what is newer is carried over once more, which does no harm.
            self.collect(file, store, &extent).await?;
            let carried = Following { store: id.clone(), revision };
            if write(file, &extent, &held, &carried).await.map_err(|error| self.error(error))? {
                all = false;
            }
        }
    }

    /// Reads the store's entries into a table that only this connection sees.
    async fn collect(&self, file: &mut SqliteConnection, store: &Store, extent: &Extent) -> Result<(), StoreError> {
        let emptied = file.execute(
            "CREATE TEMP TABLE IF NOT EXISTS entry (
                 email TEXT NOT NULL PRIMARY KEY, origin TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL
             );
             CREATE TEMP TABLE IF NOT EXISTS changed (email TEXT NOT NULL PRIMARY KEY);
             DELETE FROM entry;
             DELETE FROM changed",
        );
        emptied.await.map_err(|error| self.error(error))?;
        match extent {
            Extent::All => {
                let mut chunks = store.entries().try_chunks(ROWS_A_STATEMENT);
                while let Some(chunk) = chunks.try_next().await.map_err(|error| error.1)? {
                    insert_entries(file, &chunk).await.map_err(|error| self.error(error))?;
                }
            }
            Extent::Changed(addresses) if !addresses.is_empty() => {
                let entries = store.entries_of(addresses).await?;
                insert_entries(file, &entries).await.map_err(|error| self.error(error))?;
                insert_changed(file, addresses).await.map_err(|error| self.error(error))?;
            }
            Extent::Changed(_) => {}
        }
        Ok(())
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        StoreError::of_sqlite(&self.path, error)
    }
}

/// Makes the tables; `false` when the file is somebody else's.
async fn prepare(file: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let ours: i64 =
        sqlx::query_scalar("SELECT application_id FROM pragma_application_id").fetch_one(&mut *file).await?;
    if ours != PUBLISHED_ID {
        let mut tx = file.begin_with("BEGIN IMMEDIATE").await?;
        if !claim(&mut tx, PUBLISHED_ID).await? {
            return Ok(false);
        }
        tx.execute(include_str!("published.sql")).await?;
        tx.commit().await?;
    }
    // Where somebody's tool has turned it into WAL.
    file.execute("PRAGMA main.journal_mode = DELETE").await?;
    Ok(true)
}

async fn following(file: &mut SqliteConnection) -> Result<Following, sqlx::Error> {
    sqlx::query_as("SELECT store, revision FROM following").fetch_one(file).await
}

async fn insert_entries(file: &mut SqliteConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    for chunk in entries.chunks(ROWS_A_STATEMENT) {
        // OR REPLACE: while it was read, the list may have changed.
        QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO temp.entry (email, origin, reason, since) ")
            .push_values(chunk, |mut row, entry| {
                let origin = entry.origin.as_str();
                row.push_bind(&entry.address)
                    .push_bind(origin)
                    .push_bind(entry.reason.as_deref().unwrap_or(origin))
                    .push_bind(entry.since);
            })
            .build()
            .persistent(chunk.len() == ROWS_A_STATEMENT)
            .execute(&mut *file)
            .await?;
    }
    Ok(())
}

async fn insert_changed(file: &mut SqliteConnection, addresses: &HashSet<String>) -> Result<(), sqlx::Error> {
    let addresses: Vec<&String> = addresses.iter().collect();
    for chunk in addresses.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new("INSERT INTO temp.changed (email) ")
            .push_values(chunk, |mut row, address| {
                row.push_bind(*address);
            })
            .build()
            .persistent(chunk.len() == ROWS_A_STATEMENT)
            .execute(&mut *file)
            .await?;
    }
    Ok(())
}

/// Makes what was collected the truth; `false` when somebody else wrote meanwhile. Rows that are right stay untouched, so
/// that the file is locked against its readers only for a moment.
async fn write(
    file: &mut SqliteConnection,
    extent: &Extent,
    held: &Following,
    carried: &Following,
) -> Result<bool, sqlx::Error> {
    let mut tx = file.begin_with("BEGIN IMMEDIATE").await?;
    if following(&mut tx).await? != *held {
        return Ok(false);
    }
    let concerned = match extent {
        Extent::All => "",
        Extent::Changed(_) => "AND email IN (SELECT email FROM temp.changed)",
    };
    let deleted = tx.execute(AssertSqlSafe(format!(
        "DELETE FROM main.suppression
         WHERE NOT EXISTS (SELECT 1 FROM temp.entry AS e WHERE e.email = main.suppression.email) {concerned}"
    )));
    let deleted = deleted.await?.rows_affected();
    let inserted = tx.execute(
        "INSERT OR REPLACE INTO main.suppression (email, origin, reason, since)
         SELECT email, origin, reason, since FROM temp.entry AS e
         WHERE NOT EXISTS (
             SELECT 1 FROM main.suppression AS s
             WHERE s.email = e.email AND s.origin = e.origin AND s.reason = e.reason AND s.since = e.since
         )",
    );
    let inserted = inserted.await?.rows_affected();
    // All was right: what happened since the file's own revision is read next, and may be no reason to write either.
    if deleted + inserted == 0
        && matches!(extent, Extent::All)
        && held.store == carried.store
        && held.revision <= carried.revision
    {
        return Ok(true);
    }
    sqlx::query("UPDATE main.following SET store = ?1, revision = ?2 WHERE store <> ?1 OR revision <> ?2")
        .bind(&carried.store)
        .bind(carried.revision)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Address;

    #[tokio::test]
    async fn whoever_read_before_another_wrote_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        let published = Published::new(dir.path().join("suppressions.db"));
        published.start(&store).await.unwrap();

        let options = SqliteConnectOptions::new().filename(published.path());
        let mut slow = SqliteConnection::connect_with(&options).await.unwrap();
        let held = following(&mut slow).await.unwrap();
        published.collect(&mut slow, &store, &Extent::All).await.unwrap();
        store.suppress(&Address::parse("ann@example.org").unwrap(), None, 0).await.unwrap();
        published.follow(&store).await.unwrap();

        let carried = Following { store: held.store.clone(), revision: held.revision };
        assert!(!write(&mut slow, &Extent::All, &held, &carried).await.unwrap(), "what it read is older");
        let listed: i64 = sqlx::query_scalar("SELECT count(*) FROM suppression").fetch_one(&mut slow).await.unwrap();
        assert_eq!(listed, 1);
    }
}
