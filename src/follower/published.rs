//! The suppression list -> a small SQLite file of its own, for mail servers and tools that want SQL.
//!
//! A rollback-journal file, because a reader without write permission cannot open a WAL file that nobody has open;
//! changed in place, because a mail server keeps its handle and would go on reading a file that was renamed over.
//! The file knows which store it follows and up to which revision. Whoever changes it read that first and, once he may
//! write, looks whether the file is still as it was: so two processes cannot leave an older state behind, and nobody
//! keeps the file while he reads the store.
//!
//! Readers come first. What changes is worked out before the file is locked, and written in small transactions with
//! pauses between them; many changes that come one after the other are written together. The journal is kept in memory
//! and the disk is not waited for: a process that is killed leaves no journal behind, which readers without write
//! permission could not roll back.
//!
//! So the file has to be compared with the store, all of it, when it may not be what was last written: a process died
//! while it wrote (see `mark`), the machine was started since, or somebody else changed it by SQL, which a trigger in
//! the file notes. Otherwise it is trusted: a start carries over what happened since, and nothing more.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    io,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aho_corasick::AhoCorasick;
use futures::TryStreamExt;
use rustix::fs::Access;
use serde::Serialize;
use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    FileState, Follower, Turn, Update, file_error,
    mark::{Mark, Writing, boot},
    traces, with_u_labels,
};
use crate::{
    config::Config,
    files::{Replacement, companion_of, directory_of, keep_damaged},
    store::{
        Changes, Entry, Store, StoreError,
        sqlite::file::{claim, is_busy, is_damage, is_undone},
    },
};

/// The `application_id` of a published list (https://www.sqlite.org/fileformat.html#application_id): "bncp".
const PUBLISHED_ID: i64 = 0x626e_6370;

const TABLES: &str = include_str!("published.sql");

/// Whoever writes rows makes the file doubtful, and only the daemon and its commands say then that it is not.
const TRIGGERS: &str = include_str!("edited.sql");

/// How many events are carried over together: each turn has its price, and one that another writer overtakes is done
/// again.
const EVENTS_AT_ONCE: u32 = 20_000;

/// So many more than these, and most of a list was changed at once, as by an import: to compare all of it costs less.
const EVENTS_OF_A_NEW_LIST: i64 = 100_000;

/// So many that change nothing are worth a word in the file, so as to be passed over only once.
const EVENTS_WORTH_A_WORD: u32 = 1_000;

/// How many entries are changed under the first lock of a turn. Where they lie far from each other, each changes a page
/// of its own: so many cost about a millisecond.
const ROWS_A_LOCK: i64 = 250;

/// How many are changed under any lock. Their pages fit in the cache, wherever they lie.
const MOST_ROWS_A_LOCK: i64 = 2_000;

/// How long a lock may be held before the next one has fewer rows. It has more where this one took less than half.
const LONG: Duration = Duration::from_millis(1);

/// How many times as long as a lock was held the file is left to its readers before the next one.
const PAUSE: u32 = 4;

/// How long a statement waits for another writer, or whoever reads for what is being written.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long those who read are waited for. No new reader is let in meanwhile, and a look-up takes microseconds.
const LONGEST_LOCK: Duration = Duration::from_millis(2);

/// How often a portion is tried while somebody reads for longer.
const TRIES: u32 = 8;

/// How long whoever records a mail waits for the list.
const MOMENT: Duration = Duration::from_millis(500);

/// The file that mail servers read.
#[derive(Debug, Clone)]
pub struct Published {
    path: PathBuf,
    /// Whether the file may be replaced even though another store made it: once, by the start that was asked to.
    accepts: Arc<AtomicBool>,
    /// Whether the whole file is still to be compared, because it was busy at the start.
    unchecked: Arc<AtomicBool>,
    /// Whether somebody kept the file the last time. Each attempt to write keeps new readers out for a moment, so that
    /// from then on it is tried now and then, and not with each commit.
    kept: Arc<AtomicBool>,
    /// When this process last wrote into the file.
    written: Arc<Mutex<Option<Instant>>>,
}

/// The row of `following`: what the file holds.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
struct Following {
    store: String,
    revision: i64,
    /// The start of the machine in which all of it was last known to be right; empty since somebody else changed it.
    boot: String,
}

impl Following {
    /// Of a file that is right as a whole.
    fn whole(store: String, revision: i64) -> Self {
        Self { store, revision, boot: boot().unwrap_or("unknown").to_owned() }
    }

    /// Whether the file may not be what was last written, as far as it says so itself. Only a start has to ask whether
    /// the machine was started since.
    fn is_doubtful(&self, at_start: bool) -> bool {
        self.boot.is_empty() || (at_start && boot() != Some(&self.boot))
    }
}

/// What is compared with the store.
enum Extent {
    /// The whole file: it may not be what was last written, or follows another store.
    All,
    /// The whole file: somebody left the list whom nobody names any more, or most of it is new. What is right is noted, so
    /// that it is not compared again.
    AllOnce,
    /// The addresses that changed.
    Changed(BTreeSet<String>),
}

/// Why a turn ended early.
enum Halt {
    Store(StoreError),
    File(sqlx::Error),
    /// The file contradicts itself.
    Damaged,
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        if is_damage(&error) { Self::Damaged } else { Self::File(error) }
    }
}

impl Follower for Published {
    const NAME: &'static str = "published list";
    const UPDATE: Update = Update::InPlace;
    const REST: u32 = 0;
    const SPACING: Duration = Duration::from_millis(100);

    fn configured(config: &Config) -> Self {
        let this = Self::new(&config.suppressions.path);
        this.accepts.store(config.suppressions.accept_new_store, Ordering::Relaxed);
        this
    }

    fn path(&self) -> &Path {
        &self.path
    }

    async fn state(&self) -> Result<Option<FileState>, StoreError> {
        if self.path.metadata().is_ok_and(|metadata| metadata.len() == 0) || !self.path.exists() {
            return Ok(None);
        }
        // Read-only: whoever only asks must not roll back, make or mend.
        let options = SqliteConnectOptions::new().filename(&self.path).read_only(true).busy_timeout(PATIENCE);
        match read_state(&options).await {
            Ok(held) => Ok(held),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    async fn start(&self, store: &Store) -> Result<(), StoreError> {
        Self::start(self, store).await
    }

    async fn follow(&self, store: &Store) -> Result<Turn, StoreError> {
        Self::follow(self, store).await.map(|()| Turn::Complete)
    }

    async fn leave_no_traces(&self, names: &AhoCorasick) -> Result<(), StoreError> {
        let failed = |error: io::Error| file_error(&self.path, &error);
        // Mostly there are none, and readers need not wait.
        if traces::are_in(&self.path, names).map_err(failed)? { self.compact().await } else { Ok(()) }
    }

    async fn follow_at_once(&self, store: &Store) -> bool {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = written.is_none_or(|written| written.elapsed() >= Self::SPACING);
        // Whatever is wrong is said by the next turn.
        is_time
            && !self.kept.load(Ordering::Relaxed)
            && matches!(timeout(MOMENT, Self::follow(self, store)).await, Ok(Ok(())))
    }
}

impl Published {
    /// The list at this path; nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            accepts: Arc::default(),
            unchecked: Arc::default(),
            kept: Arc::default(),
            written: Arc::default(),
        }
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file equal to the store's list; makes it when it is missing. All of it is compared only where it may
    /// not be what was last written.
    ///
    /// # Errors
    /// See [`StoreError`]. [`StoreError::Foreign`]: it lists what this store never said.
    pub async fn start(&self, store: &Store) -> Result<(), StoreError> {
        self.unchecked.store(true, Ordering::Relaxed);
        self.follow(store).await
    }

    /// Carries the changes since the last time into the file; makes it anew when it is missing or damaged.
    ///
    /// The file is opened each time: this takes well under a millisecond, and notices when it was deleted.
    ///
    /// # Errors
    /// As for [`Published::start`].
    pub async fn follow(&self, store: &Store) -> Result<(), StoreError> {
        let done = self.try_to_follow(store).await;
        self.kept.store(matches!(done, Err(StoreError::Busy(_))), Ordering::Relaxed);
        done
    }

    async fn try_to_follow(&self, store: &Store) -> Result<(), StoreError> {
        let at_start = self.unchecked.load(Ordering::Relaxed);
        if !self.path.exists() {
            self.build(store).await?;
        } else if self.is_foreign() {
            self.replace_foreign(store).await?;
        }
        match self.bring_up(store, at_start).await {
            Err(Halt::Damaged) => {
                self.replace_damaged(store).await?;
                self.bring_up(store, at_start).await.map_err(|halt| self.error_of(halt))?;
            }
            done => done.map_err(|halt| self.error_of(halt))?,
        }
        if at_start {
            self.unchecked.store(false, Ordering::Relaxed);
        }
        self.accepts.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn bring_up(&self, store: &Store, at_start: bool) -> Result<(), Halt> {
        // Whoever left a journal, the first to open the file for writing rolls it back, even if it is of another file.
        let journal = self.journal().exists();
        let was_ours = journal && self.is_marked_as_ours().await?;
        let mut file = SqliteConnection::connect_with(&writing(&self.path)).await?;
        let done = match prepare(&mut file).await {
            Ok(true) => self.carry_over(&mut file, store, at_start, journal).await,
            Ok(false) if was_ours => Err(Halt::Damaged),
            Ok(false) => Err(StoreError::foreign_file(&self.path).into()),
            Err(error) => Err(error.into()),
        };
        // Closing says nothing new, and an error above is the one to report.
        let _ = file.close().await;
        done
    }

    async fn carry_over(
        &self,
        file: &mut SqliteConnection,
        store: &Store,
        at_start: bool,
        journal: bool,
    ) -> Result<(), Halt> {
        let mut all = journal || self.mark().is_left() || following(file).await?.is_doubtful(at_start);
        if (all || at_start) && !is_sound(file).await? {
            return Err(Halt::Damaged);
        }
        if all {
            tracing::debug!("all of published list {} is compared with the database", self.path.display());
        }
        let id = store.id().await?;
        loop {
            let held = following(file).await?;
            let version = data_version(file).await?;
            let newest = store.newest_revision().await?;
            let ours = held.store == id && held.revision <= newest;
            if !ours && !self.accepts.load(Ordering::Relaxed) {
                self.state_of(file, &held).await?.permits(&self.path, &id, newest)?;
            }
            let (extent, revision) = if all || !ours {
                (Extent::All, newest)
            } else {
                let changes = store.changes_after(held.revision, EVENTS_AT_ONCE).await?;
                // A few bounces that change nothing are no reason to write: they are passed over again the next time.
                let is_of_nobody = changes.addresses.is_empty() && !changes.is_unnamed;
                if is_of_nobody && changes.events < EVENTS_WORTH_A_WORD {
                    return Ok(());
                }
                if changes.is_unnamed || is_new_list(store, &changes, held.revision, newest).await? {
                    (Extent::AllOnce, newest)
                } else {
                    (Extent::Changed(changes.addresses), changes.revision)
                }
            };
            // Read after the revision: what is newer is carried over once more, which does no harm.
            collect(file, store, &extent).await?;
            let carried = match extent {
                Extent::All | Extent::AllOnce => Following::whole(id.clone(), revision),
                Extent::Changed(_) => Following { revision, ..held.clone() },
            };
            if self.write(file, &extent, &held, &carried, version).await? {
                all = false;
            }
        }
    }

    /// Makes what was collected the truth; `false` when somebody else wrote meanwhile: what is left then is worked out
    /// anew. The revision comes last, so that whoever dies in between begins where he began.
    async fn write(
        &self,
        file: &mut SqliteConnection,
        extent: &Extent,
        held: &Following,
        carried: &Following,
        version: i64,
    ) -> Result<bool, Halt> {
        let count = work_out(file, extent).await?;
        // All was right: what happened since the file's own revision is read next, and may be no reason to write
        // either.
        let is_right = held.store == carried.store && held.revision <= carried.revision && held.boot == carried.boot;
        if count == 0 && matches!(extent, Extent::All) && is_right && !self.mark().is_left() {
            return Ok(true);
        }
        // Each row that is written makes the file doubtful; so it stays until the last of a comparison.
        let midway = match extent {
            Extent::Changed(_) => held.clone(),
            // A part of this store's list must not be taken for another store's.
            Extent::All | Extent::AllOnce if held.store != carried.store || held.revision > carried.revision => {
                Following { store: carried.store.clone(), revision: 0, boot: String::new() }
            }
            Extent::All | Extent::AllOnce => Following { boot: String::new(), ..held.clone() },
        };
        let (mut done, mut rows, mut tries) = (0, ROWS_A_LOCK, 1);
        loop {
            file.execute("BEGIN IMMEDIATE").await?;
            if data_version(file).await? != version {
                file.execute("ROLLBACK").await?;
                return Ok(false);
            }
            change(file, done..done + rows).await?;
            let is_last = done + rows >= count;
            keep_following(file, if is_last { carried } else { &midway }).await?;
            let locking = Instant::now();
            match self.commit(file).await {
                Ok(()) if is_last => return Ok(true),
                Ok(()) => (done, tries) = (done + rows, 1),
                Err(Halt::File(error)) if is_busy(&error) && tries < TRIES => tries += 1,
                Err(halt) => return Err(halt),
            }
            let took = locking.elapsed();
            if took < LONG / 2 {
                rows = (rows * 2).min(MOST_ROWS_A_LOCK);
            } else if took > LONG {
                rows = (rows / 2).max(ROWS_A_LOCK);
            }
            sleep(took * PAUSE).await;
        }
    }

    /// Commits, or rolls back while a reader stays. This is when readers are kept out: nothing waits for a disk here,
    /// and what can be done before or after is.
    async fn commit(&self, file: &mut SqliteConnection) -> Result<(), Halt> {
        let failed = |error: io::Error| file_error(&self.path, &error);
        let writing = self.begin_writing().await?;
        // SQLite's own patience sleeps for milliseconds, with all readers kept out.
        wait_for_others(file, Duration::ZERO).await?;
        let began = Instant::now();
        let done = loop {
            match file.execute("COMMIT").await {
                Err(error) if is_busy(&error) && began.elapsed() < LONGEST_LOCK => yield_now().await,
                done => break done.map(drop),
            }
        };
        if done.is_err() {
            // Fails where SQLite has done so by itself.
            let _ = file.execute("ROLLBACK").await;
        }
        // Any other failure may have left a part of it.
        if done.as_ref().err().is_none_or(is_undone) {
            writing.end().map_err(failed)?;
        }
        wait_for_others(file, PATIENCE).await?;
        done?;
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    async fn begin_writing(&self) -> Result<Writing, StoreError> {
        let (mark, failed) = (self.mark(), |error: io::Error| file_error(&self.path, &error));
        let began = Instant::now();
        loop {
            match mark.set().map_err(failed)? {
                Some(writing) => return Ok(writing),
                // Whoever wrote before is about to take his away.
                None if began.elapsed() < PATIENCE => yield_now().await,
                None => return Err(failed(io::ErrorKind::ResourceBusy.into())),
            }
        }
    }

    /// Writes the file anew in its place, without what erased rows have left. Readers wait for it.
    async fn compact(&self) -> Result<(), StoreError> {
        let mut file = SqliteConnection::connect_with(&writing(&self.path)).await.map_err(|error| self.error(error))?;
        let compacted = async {
            keep_journal_in_memory(&mut file).await.map_err(|error| self.error(error))?;
            let writing = self.begin_writing().await?;
            let done = file.execute("VACUUM").await;
            // Any other failure may have left a part of it.
            if done.as_ref().err().is_none_or(is_undone) {
                writing.end().map_err(|error| file_error(&self.path, &error))?;
            }
            done.map(drop).map_err(|error| self.error(error))
        };
        let compacted = compacted.await;
        let _ = file.close().await;
        compacted
    }

    fn mark(&self) -> Mark {
        Mark::of(&self.path)
    }

    async fn state_of(&self, file: &mut SqliteConnection, held: &Following) -> Result<FileState, sqlx::Error> {
        Ok(FileState { store: held.store.clone(), revision: held.revision, empty: is_empty(file).await? })
    }

    /// Makes the file while nobody sees it: a long list takes seconds, and half of one would let dead addresses pass.
    async fn build(&self, store: &Store) -> Result<(), StoreError> {
        let failed = |error: io::Error| file_error(&self.path, &error);
        let begun = Replacement::begin(&self.path, None);
        let replacement = begun.map_err(|error| match error.kind() {
            // These words know more of what is wrong with a path.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StoreError::unopened(&self.path),
            _ => failed(error),
        })?;
        let options = writing(replacement.temporary()).journal_mode(SqliteJournalMode::Memory);
        let mut file = SqliteConnection::connect_with(&options).await.map_err(|error| self.error(error))?;
        let filled = fill(&mut file, store).await.map_err(|halt| self.error_of(halt));
        let closed = file.close().await.map_err(|error| self.error(error));
        filled.and(closed)?;
        // The disk may take long.
        let committed = tokio::task::spawn_blocking(move || replacement.commit());
        committed.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        // Of the one that lay there.
        if self.mark().is_left()
            && let Some(left) = self.mark().set().map_err(failed)?
        {
            left.end().map_err(failed)?;
        }
        Ok(())
    }

    async fn replace_damaged(&self, store: &Store) -> Result<(), StoreError> {
        let failed = |error: io::Error| file_error(&self.path, &error);
        let kept = keep_damaged(&self.path).map_err(failed)?;
        // Rolled back over the new file it would damage that one, too.
        match std::fs::remove_file(self.journal()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        self.build(store).await?;
        tracing::warn!(
            "published list {} was damaged and is made anew; what was there is kept as {}",
            self.path.display(),
            kept.display()
        );
        Ok(())
    }

    /// Whether the file can't be written, or holds nothing and is not of the user whose directory it lies in.
    fn is_foreign(&self) -> bool {
        let owners = self.path.metadata().ok().zip(directory_of(&self.path).metadata().ok());
        rustix::fs::access(&self.path, Access::WRITE_OK).is_err()
            || owners.is_some_and(|(file, directory)| file.len() == 0 && file.uid() != directory.uid())
    }

    /// Puts a file of our own in the place of one that belongs to somebody else, as `postmap -q` and copies made by
    /// root leave it: one that holds nothing, or what this store may change.
    async fn replace_foreign(&self, store: &Store) -> Result<(), StoreError> {
        let empty = self.path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0);
        let held = if empty { None } else { Some(self.state().await?.ok_or_else(|| self.not_ours())?) };
        if let Some(held) = held.filter(|_| !self.accepts.load(Ordering::Relaxed)) {
            held.permits(&self.path, &store.id().await?, store.newest_revision().await?)?;
        }
        self.build(store).await.map_err(|_| self.not_ours())?;
        tracing::warn!(
            "published list {} belonged to another user and is made anew; reload mail servers that have it open",
            self.path.display()
        );
        Ok(())
    }

    fn not_ours(&self) -> StoreError {
        let file = self.path.display();
        StoreError::Unusable(format!(
            "published list {file} belongs to another user and cannot be written; move it away (`mv {file} \
             {file}.old`), it is made anew"
        ))
    }

    fn journal(&self) -> PathBuf {
        companion_of(&self.path, "-journal")
    }

    /// As the file lies there: no journal is looked at.
    async fn is_marked_as_ours(&self) -> Result<bool, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(&self.path).read_only(true).immutable(true);
        let mut file = SqliteConnection::connect_with(&options).await?;
        let id = application_id(&mut file).await;
        let _ = file.close().await;
        id.map(|id| id == PUBLISHED_ID)
    }

    fn error_of(&self, halt: Halt) -> StoreError {
        match halt {
            Halt::Store(error) => error,
            Halt::File(error) => self.error(error),
            Halt::Damaged => StoreError::damaged(&self.path),
        }
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        StoreError::of_sqlite(&self.path, error)
    }
}

/// See the head of this module for the journal and the disk.
fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(PATIENCE)
        .synchronous(SqliteSynchronous::Off)
        // In KiB. What a lock changes fits in, so that nothing is written before its end.
        .pragma("cache_size", "-16000")
        // Whoever left the list is not to be found in the file either, as far as that costs nothing more to write.
        .pragma("secure_delete", "FAST")
}

async fn read_state(options: &SqliteConnectOptions) -> Result<Option<FileState>, sqlx::Error> {
    let mut file = SqliteConnection::connect_with(options).await?;
    let held = async {
        let Following { store, revision, .. } = following(&mut file).await?;
        Ok(Some(FileState { store, revision, empty: is_empty(&mut file).await? }))
    };
    let held = held.await;
    let _ = file.close().await;
    held
}

/// Makes the tables; `false` when the file is somebody else's.
async fn prepare(file: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Not an option of the connection: that would turn another program's WAL file into something else.
    if application_id(file).await? == PUBLISHED_ID {
        keep_journal_in_memory(file).await?;
    } else {
        let mut tx = file.begin_with("BEGIN IMMEDIATE").await?;
        if !claim(&mut tx, PUBLISHED_ID).await? {
            return Ok(false);
        }
        tx.execute(TABLES).await?;
        tx.execute(TRIGGERS).await?;
        tx.commit().await?;
        keep_journal_in_memory(file).await?;
    }
    Ok(true)
}

/// Takes a file out of WAL mode as well, where somebody's tool has turned it into that.
async fn keep_journal_in_memory(file: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    file.execute("PRAGMA main.journal_mode = MEMORY").await.map(drop)
}

async fn application_id(file: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT application_id FROM pragma_application_id").fetch_one(file).await
}

/// Whether SQLite finds nothing wrong with the file.
async fn is_sound(file: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let found: String = sqlx::query_scalar("PRAGMA main.quick_check(1)").fetch_one(file).await?;
    Ok(found == "ok")
}

async fn following(file: &mut SqliteConnection) -> Result<Following, sqlx::Error> {
    sqlx::query_as("SELECT store, revision, boot FROM following").fetch_one(file).await
}

async fn is_empty(file: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM suppression)").fetch_one(file).await
}

/// Changes whenever another connection has changed the file (https://www.sqlite.org/pragma.html#pragma_data_version).
async fn data_version(file: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA main.data_version").fetch_one(file).await
}

/// Writes the whole list into a new file.
async fn fill(file: &mut SqliteConnection, store: &Store) -> Result<(), Halt> {
    let carried = Following::whole(store.id().await?, store.newest_revision().await?);
    let mut tx = file.begin().await?;
    claim(&mut tx, PUBLISHED_ID).await?;
    tx.execute(TABLES).await?;
    let mut pages = store.entries();
    while let Some(page) = pages.try_next().await? {
        insert_entries(&mut tx, "main.suppression", &page).await?;
    }
    // What is filled in first does not go through them.
    tx.execute(TRIGGERS).await?;
    keep_following(&mut tx, &carried).await?;
    Ok(tx.commit().await?)
}

/// Whether most of the list changed since a revision, of whose events these are the first.
async fn is_new_list(store: &Store, first: &Changes, since: i64, newest: i64) -> Result<bool, StoreError> {
    let most_change_it = first.addresses.len() * 2 >= EVENTS_AT_ONCE as usize;
    let most_of_it = u32::try_from(2 * (newest - since)).unwrap_or(u32::MAX);
    Ok(newest - first.revision >= EVENTS_OF_A_NEW_LIST
        && most_change_it
        && !store.has_more_entries_than(most_of_it).await?)
}

/// Reads the store's entries into a table that only this connection sees.
async fn collect(file: &mut SqliteConnection, store: &Store, extent: &Extent) -> Result<(), Halt> {
    file.execute(
        "CREATE TEMP TABLE IF NOT EXISTS entry (
             email TEXT NOT NULL PRIMARY KEY, origin TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL
         ) WITHOUT ROWID;
         CREATE TEMP TABLE IF NOT EXISTS changed (email TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
         DELETE FROM entry;
         DELETE FROM changed",
    )
    .await?;
    match extent {
        Extent::All | Extent::AllOnce => {
            let mut pages = store.entries();
            while let Some(page) = pages.try_next().await? {
                insert_entries(file, "temp.entry", &page).await?;
            }
        }
        Extent::Changed(addresses) if !addresses.is_empty() => {
            let entries = store.entries_of(addresses).await?;
            insert_entries(file, "temp.entry", &entries).await?;
            insert_changed(file, addresses).await?;
        }
        Extent::Changed(_) => {}
    }
    Ok(())
}

async fn insert_entries(file: &mut SqliteConnection, table: &str, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let origin = entry.origin.as_str();
        let row = |address| (address, origin, entry.reason.as_deref().unwrap_or(origin), entry.since);
        rows.push(row(Cow::Borrowed(&*entry.address)));
        rows.extend(with_u_labels(&entry.address).map(|second| row(second.into())));
    }
    // OR REPLACE: while it was read, the list may have changed.
    let insert = format!(
        "INSERT OR REPLACE INTO {table} (email, origin, reason, since)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)"
    );
    insert_all(file, &insert, &rows).await
}

async fn insert_changed(file: &mut SqliteConnection, addresses: &BTreeSet<String>) -> Result<(), sqlx::Error> {
    let second: Vec<String> = addresses.iter().filter_map(|address| with_u_labels(address)).collect();
    let addresses: Vec<&String> = addresses.iter().chain(&second).collect();
    insert_all(file, "INSERT INTO temp.changed (email) SELECT value FROM json_each(?1)", &addresses).await
}

/// Hands rows to SQLite as one value: with one for each column they would cost twice as much.
async fn insert_all(file: &mut SqliteConnection, insert: &str, rows: &impl Serialize) -> Result<(), sqlx::Error> {
    let rows = serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(AssertSqlSafe(insert)).bind(rows).execute(file).await.map(drop)
}

/// Works out, under no lock that keeps a reader out, what is to be changed: a table of rows to delete, whose `since` is
/// NULL, and of rows to put. Says how many there are. Rows that are right stay untouched.
async fn work_out(file: &mut SqliteConnection, extent: &Extent) -> Result<i64, sqlx::Error> {
    let concerned = match extent {
        Extent::All | Extent::AllOnce => "",
        Extent::Changed(_) => "AND s.email IN (SELECT email FROM temp.changed)",
    };
    let worked_out = file.execute(AssertSqlSafe(format!(
        "CREATE TEMP TABLE IF NOT EXISTS todo (
             number INTEGER PRIMARY KEY, email TEXT NOT NULL, origin TEXT, reason TEXT, since INTEGER
         );
         DELETE FROM todo;
         INSERT INTO todo (email)
         SELECT s.email FROM main.suppression AS s
         WHERE NOT EXISTS (SELECT 1 FROM temp.entry AS e WHERE e.email = s.email) {concerned};
         INSERT INTO todo (email, origin, reason, since)
         SELECT e.email, e.origin, e.reason, e.since FROM temp.entry AS e
         WHERE NOT EXISTS (
             SELECT 1 FROM main.suppression AS s
             WHERE s.email = e.email AND s.origin = e.origin AND s.reason = e.reason AND s.since = e.since
         )
         ORDER BY e.email"
    )));
    worked_out.await?;
    sqlx::query_scalar("SELECT count(*) FROM todo").fetch_one(file).await
}

/// One portion of what was worked out.
async fn change(file: &mut SqliteConnection, portion: Range<i64>) -> Result<(), sqlx::Error> {
    for change in [
        "DELETE FROM main.suppression WHERE email IN
             (SELECT email FROM temp.todo WHERE number > ?1 AND number <= ?2 AND since IS NULL)",
        "INSERT OR REPLACE INTO main.suppression (email, origin, reason, since)
         SELECT email, origin, reason, since FROM temp.todo
         WHERE number > ?1 AND number <= ?2 AND since IS NOT NULL",
    ] {
        sqlx::query(change).bind(portion.start).bind(portion.end).execute(&mut *file).await?;
    }
    Ok(())
}

/// How long a statement waits for whoever has locked the file.
async fn wait_for_others(file: &mut SqliteConnection, patience: Duration) -> Result<(), sqlx::Error> {
    file.execute(AssertSqlSafe(format!("PRAGMA busy_timeout = {}", patience.as_millis()))).await.map(drop)
}

async fn keep_following(file: &mut SqliteConnection, carried: &Following) -> Result<(), sqlx::Error> {
    let keep =
        "UPDATE following SET store = ?1, revision = ?2, boot = ?3 WHERE store <> ?1 OR revision <> ?2 OR boot <> ?3";
    sqlx::query(keep).bind(&carried.store).bind(carried.revision).bind(&carried.boot).execute(file).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Address, store::By};

    #[tokio::test]
    async fn whoever_read_before_another_wrote_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        let published = Published::new(dir.path().join("suppressions.db"));
        published.start(&store).await.unwrap();

        let mut slow = SqliteConnection::connect_with(&writing(published.path())).await.unwrap();
        let held = following(&mut slow).await.unwrap();
        let version = data_version(&mut slow).await.unwrap();
        assert!(collect(&mut slow, &store, &Extent::All).await.is_ok());
        store.suppress(&[Address::parse("ann@example.org").unwrap()], &By::new("test", 0)).await.unwrap();
        published.follow(&store).await.unwrap();

        let carried = Following { revision: held.revision + 9, ..held.clone() };
        let written = published.write(&mut slow, &Extent::All, &held, &carried, version).await;
        assert!(matches!(written, Ok(false)), "what it read is older");
        let listed: i64 = sqlx::query_scalar("SELECT count(*) FROM suppression").fetch_one(&mut slow).await.unwrap();
        assert_eq!(listed, 1);
        assert!(following(&mut slow).await.unwrap().revision < carried.revision);
    }

    #[tokio::test]
    async fn while_somebody_keeps_the_file_it_is_not_tried_with_each_commit() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        let published = Published::new(dir.path().join("suppressions.db"));
        published.start(&store).await.unwrap();
        store.suppress(&[Address::parse("ann@example.org").unwrap()], &By::new("test", 0)).await.unwrap();
        let forget = || *published.written.lock().unwrap() = None;
        assert!(published.follow_at_once(&store).await);
        forget();

        let mut reader = SqliteConnection::connect_with(&writing(published.path())).await.unwrap();
        let mut kept = reader.begin().await.unwrap();
        kept.execute("SELECT count(*) FROM suppression").await.unwrap();
        store.suppress(&[Address::parse("bob@example.org").unwrap()], &By::new("test", 0)).await.unwrap();
        assert!(!published.follow_at_once(&store).await);
        kept.rollback().await.unwrap();
        assert!(!published.follow_at_once(&store).await, "left to the next turn");
        published.follow(&store).await.unwrap();
        forget();
        assert!(published.follow_at_once(&store).await);
    }

    #[tokio::test]
    async fn what_comes_right_after_another_change_is_left_to_the_next_turn() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        let published = Published::new(dir.path().join("suppressions.db"));
        published.start(&store).await.unwrap();
        let at = |when| *published.written.lock().unwrap() = Some(when);
        for name in ["ann", "bob"] {
            store
                .suppress(&[Address::parse(&format!("{name}@example.org")).unwrap()], &By::new("test", 0))
                .await
                .unwrap();
            // An hour from now, so that no slow machine is late.
            at(Instant::now() + Duration::from_secs(3_600));
            assert!(!published.follow_at_once(&store).await);
            at(Instant::now() - Published::SPACING);
            let before = Instant::now();
            assert!(published.follow_at_once(&store).await);
            assert!(published.written.lock().unwrap().is_some_and(|written| written >= before));
        }
    }
}
