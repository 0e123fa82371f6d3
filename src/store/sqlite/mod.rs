//! The store as an SQLite file: all of its SQL. What the methods do is said at [`Store`](super::Store).

mod alive;
mod allow;
mod attempt;
mod brake;
mod commit;
mod doubted;
mod events;
mod figures;
pub(crate) mod file;
mod forget;
mod history;
mod import;
mod lease;
mod list;
mod mailbox;
mod reclassify;
mod retention;
mod review;
mod sent;
mod tables;
mod tokens;
mod totals;
mod unrecognised;
mod verdict;

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use rustix::{
    fs::{Access as Permissions, access},
    io::Errno,
};
use sqlx::{
    Connection, Executor, Sqlite, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::{Instant, sleep, timeout};

use self::file::{BUSY_TIMEOUT, Owner, claim, owner};
pub use self::import::SqliteImport;
use super::{StoreError, forgotten::Key};
use crate::files::{companion_of, directory_of, give_to_owner_of_directory};

/// The `application_id` of a store (https://www.sqlite.org/fileformat.html#application_id): "bncd".
const STORE_ID: i64 = 0x626e_6364;

/// The tables of this version.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a stop waits for the last statement, so as to leave the file as others can read it.
const LAST_STATEMENT: Duration = Duration::from_secs(1);

/// A statement costs more than its rows, up to about here.
const ROWS_A_STATEMENT: usize = 100;

/// Whether a statement with so many rows is prepared once and kept: the full ones, and those of a bounce that comes
/// alone. Of those in between there are too many lengths.
const fn is_kept(rows: usize) -> bool {
    rows == ROWS_A_STATEMENT || rows == 1
}

/// SQL for the last change of the list that was about an address: of the events that the index holds, and of the rows
/// whose `revision` is named; NULL where there is none.
macro_rules! last_change {
    ($address:literal $(, $revision:literal)+) => {
        concat!(
            "nullif(max(coalesce((SELECT max(e.revision) FROM event AS e WHERE e.address = ",
            $address,
            " AND e.kind <> 'suppressed'), 0)",
            $(", coalesce(", $revision, ", 0)",)+
            "), 0)"
        )
    };
}
use last_change;

/// The file and its connections.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    path: Arc<Path>,
    /// Which file was opened.
    inode: Option<Inode>,
    /// One connection: SQLite has one writer at a time, and waiting here is fair where its own lock is not.
    writer: SqlitePool,
    readers: SqlitePool,
    access: Access,
    /// What the hashes of forgotten addresses are made with, once it was needed.
    key: Arc<OnceLock<Key>>,
    /// Of each mailbox, the lease that this process took last.
    fences: Arc<Mutex<BTreeMap<String, lease::Fence>>>,
}

/// What the file was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Reading,
    /// In whatever mode the file is: one that others serve stays readable, and one that nobody serves is left alone.
    Writing,
    /// So that readers and the writer don't wait for each other.
    Serving,
}

impl SqliteStore {
    pub(in crate::store) async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path);
        let store = Self::connect(path, Access::Serving).await?;
        store.write_ahead().await?;
        Ok(store)
    }

    pub(in crate::store) async fn open_existing(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::missing_file(path));
        }
        // SQLite opens it all the same, and says so when something was done already. To open the file and close it
        // again would give up its locks.
        if [path, directory_of(path)]
            .iter()
            .any(|place| access(*place, Permissions::WRITE_OK).is_err_and(|e| e == Errno::ACCESS))
        {
            return Err(StoreError::unwritable(path));
        }
        Self::connect(path, Access::Writing).await
    }

    pub(in crate::store) async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::missing_file(path)),
            Ok(found) if found.is_dir() => return Err(StoreError::unopened(path)),
            _ => {}
        }
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let readers = readers(options);
        let store = Self {
            path: path.into(),
            inode: inode(path),
            writer: readers.clone(),
            readers,
            access: Access::Reading,
            key: Arc::default(),
            fences: Arc::default(),
        };
        store.check_version().await?;
        Ok(store)
    }

    /// Whether the tables are those of this version. Whoever only reads can't bring them up to date.
    async fn check_version(&self) -> Result<(), StoreError> {
        match owner(&mut *self.readers.acquire().await.map_err(|error| self.error(error))?).await {
            Ok(Owner::Nobody) => return Err(StoreError::empty_file(&self.path)),
            Ok(Owner::Marked(STORE_ID)) => {}
            Ok(Owner::Marked(_)) => return Err(StoreError::foreign_file(&self.path)),
            Err(error) => return Err(self.error(error)),
        }
        let found = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version");
        let found: Vec<(i64, Vec<u8>)> = found.fetch_all(&self.readers).await.map_err(|error| self.error(error))?;
        let mut known = MIGRATIONS.iter();
        let is_known = |(version, checksum): &(i64, Vec<u8>)| {
            known.next().is_some_and(|known| known.version == *version && *known.checksum == **checksum)
        };
        if !found.iter().all(is_known) {
            return Err(StoreError::other_version(&self.path));
        }
        known.next().map_or(Ok(()), |_| Err(StoreError::earlier_version(&self.path)))
    }

    async fn connect(path: &Path, access: Access) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(access == Access::Serving)
            // A mail is moved away once its rows are committed, so the commit has to outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // A batch fills SQLite's own 1,000 pages, and each checkpoint waits for the disk twice.
            .pragma("wal_autocheckpoint", "4000");
        let writer = SqlitePoolOptions::new()
            .acquire_timeout(BUSY_TIMEOUT)
            .max_connections(1)
            // As long as one connection lives, nobody else's end takes away the log that those who may only read need.
            .idle_timeout(None)
            .max_lifetime(None)
            // On a full disk SQLite rolls back by itself, and sqlx goes on counting a transaction that is gone.
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_with(
                options
                    .clone()
                    // In KiB. A batch changes five pages a message, 10 MB in a large store, and what has no room here
                    // goes to the disk more than once: with half of this half as much again is written and read.
                    .pragma("cache_size", "-16000")
                    // A statement of many rows keeps the pages as they were before it, in case it fails halfway. In a
                    // file they are as much as the log itself.
                    .pragma("temp_store", "MEMORY"),
            )
            .await
            .map_err(|error| StoreError::of_sqlite(path, error))?;
        let readers = readers(options.pragma("query_only", "on"));
        let store = Self {
            path: path.into(),
            inode: inode(path),
            writer,
            readers,
            access,
            key: Arc::default(),
            fences: Arc::default(),
        };
        store.migrate().await?;
        // Without it nothing may be recorded.
        store.key_in_use(&mut *store.writer.acquire().await.map_err(|error| store.error(error))?).await?;
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
            return Err(StoreError::foreign_file(&self.path));
        }
        // `run` takes anything that can be acquired, and its future is then not `Send` for every lifetime.
        MIGRATIONS
            .run_direct(None, &mut *tx, false)
            .await
            .map_err(|error| StoreError::of_migration(&self.path, error))?;
        tx.commit().await.map_err(|error| self.error(error))
    }

    /// A file in WAL mode that nobody has open can't be opened by who may only read. So it is left in the other mode,
    /// and its companions go away. Where others have it open SQLite refuses that, and they keep it readable.
    pub(in crate::store) async fn close(&self) {
        self.readers.close().await;
        if self.access == Access::Serving
            && let Ok(Ok(mut last)) = timeout(LAST_STATEMENT, self.writer.acquire()).await
        {
            let _ = last.execute("PRAGMA journal_mode = DELETE").await;
        }
        self.writer.close().await;
    }

    pub(in crate::store) fn check_in_place(&self) -> Result<(), StoreError> {
        if self.inode.is_none() || inode(&self.path) != self.inode {
            return Err(StoreError::replaced(&self.path));
        }
        if log_is_deleted(&self.path) {
            return Err(StoreError::lost_log(&self.path));
        }
        Ok(())
    }

    pub(in crate::store) fn files(&self) -> [PathBuf; 2] {
        [self.path.to_path_buf(), companion_of(&self.path, "-wal")]
    }

    pub(in crate::store) async fn id(&self) -> Result<String, StoreError> {
        sqlx::query_scalar("SELECT id FROM store").fetch_one(&self.readers).await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn renew_id(&self) -> Result<(), StoreError> {
        let renewed = self.writer.execute("UPDATE store SET id = lower(hex(randomblob(16)))").await;
        renewed.map(drop).map_err(|error| self.error(error))
    }

    /// IMMEDIATE: a transaction that reads before it writes would otherwise fail, whatever the busy timeout.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        // SQLite says of a file that is gone that it can't be written, or that the disk fails.
        if self.inode.is_some() && inode(&self.path) != self.inode {
            return StoreError::replaced(&self.path);
        }
        match self.access {
            Access::Reading => StoreError::of_reading(&self.path, error),
            Access::Writing | Access::Serving => StoreError::of_sqlite(&self.path, error),
        }
    }
}

fn readers(options: SqliteConnectOptions) -> SqlitePool {
    // A long list comes row by row from another thread, and each time that the buffer is full one waits for the other.
    let options = options.row_buffer_size(1_000);
    SqlitePoolOptions::new().acquire_timeout(BUSY_TIMEOUT).max_connections(4).connect_lazy_with(options)
}

/// Device and number: what a file is, whatever it is called.
type Inode = (u64, u64);

fn inode(path: &Path) -> Option<Inode> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether a connection of ours writes into a log that somebody has deleted: the next one to open the database makes
/// another log, and neither knows of the other. What is open is told by Linux alone; elsewhere nobody notices.
fn log_is_deleted(database: &Path) -> bool {
    let (Ok(database), Ok(open)) = (fs::canonicalize(database), fs::read_dir("/proc/self/fd")) else { return false };
    let deleted = companion_of(&database, "-wal (deleted)");
    open.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == deleted))
}

/// Who bounced is nobody else's business, so the file is made for its owner and group alone; SQLite gives its
/// companions the same mode. Errors are left to SQLite, which meets them again.
fn make_private(path: &Path) {
    if let Ok(made) = File::options().write(true).create_new(true).mode(0o640).open(path) {
        give_to_owner_of_directory(&made, path);
    }
}

/// A value as an argument for `json_each`.
fn json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|e| sqlx::Error::Encode(e.into()))
}

/// A value that SQLite gave as JSON.
fn decoded<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A word of a fixed set.
fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(word: &str) -> Result<T, sqlx::Error> {
    word.parse().map_err(|error: T::Err| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Address, store::By};

    async fn store() -> (tempfile::TempDir, SqliteStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("bounced.db")).await.unwrap();
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
        let error = store.suppress(&[ann()], &By { note: Some(&note), ..By::new("test", 0) }).await.expect_err("full");
        busy(&error, &store.path, "the disk is full");
        assert_eq!(store.suppression(&ann()).await.unwrap(), None);

        store.writer.execute("PRAGMA max_page_count = 100000").await.unwrap();
        assert_eq!(store.suppress(&[ann()], &By { note: Some(&note), ..By::new("test", 0) }).await.unwrap(), [true]);
    }

    #[tokio::test]
    async fn a_locked_database_may_be_tried_again() {
        let (_dir, store) = store().await;
        let other = SqliteConnectOptions::new().filename(&store.path);
        let other = SqlitePool::connect_with(other).await.unwrap();
        let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        store.writer.execute("PRAGMA busy_timeout = 0").await.unwrap();
        let error = store.suppress(&[ann()], &By::new("test", 0)).await.expect_err("locked");
        busy(&error, &store.path, "locked by another program");
        held.rollback().await.unwrap();
        assert_eq!(store.suppress(&[ann()], &By::new("test", 0)).await.unwrap(), [true]);
    }

    #[tokio::test]
    async fn a_database_that_was_deleted_is_said_to_be_gone_and_not_to_be_unwritable() {
        let (dir, store) = store().await;
        for file in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        let error = store.suppress(&[ann()], &By::new("test", 0)).await.err().or(store.check_in_place().err());
        assert!(matches!(&error, Some(StoreError::Replaced(why)) if why.contains("deleted")), "{error:?}");
    }
}
