//! The lock beside the database: of several daemons one has it, and whoever gets it knows that the one who had it is dead
//! or was told to stop, without waiting for its leases to run out. What the file says is no business of the lock; see
//! [`beside`].

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::Duration,
};

use super::DaemonError;
use crate::{app::beside, files::give_to_owner_of_directory, store::StoreError};

/// So often, and with such pauses, is a lock asked for at the start that somebody has: commands take it for a moment to
/// learn whether a daemon runs.
const TRIES: (usize, Duration) = (20, Duration::from_millis(10));

/// Once taken it is held as long as it lives; the kernel lets go of it even after `kill -9`.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// Once it is taken, whether the last daemon that had it was told to stop. Then that one died over no message, whatever
    /// it was reading.
    taken: OnceLock<bool>,
}

impl Lock {
    /// Opens a file beside the database. Not the database itself: closing any handle on it would drop SQLite's locks.
    pub(super) fn open(database: &Path) -> Result<Self, DaemonError> {
        let path = beside::lock_file(database);
        let unusable = |error: io::Error| {
            DaemonError::Store(StoreError::Unusable(format!(
                "{} can't be locked: {error}; the directory must exist and the user that runs bounced must be able to \
                 write in it",
                path.display()
            )))
        };
        let is_new = !path.exists();
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            // The directory may be one in which others make links.
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(unusable)?;
        if is_new {
            give_to_owner_of_directory(&file, &path);
        }
        let lock = Self { file, path: path.clone(), taken: OnceLock::new() };
        for _ in 1..TRIES.0 {
            if lock.try_take().map_err(unusable)? {
                break;
            }
            thread::sleep(TRIES.1);
        }
        Ok(lock)
    }

    /// Takes it where nobody else has it; says whether it is ours.
    pub(super) fn take(&self) -> bool {
        // What fails now is tried again, and leases run out without it.
        self.is_held() || self.try_take().unwrap_or(false)
    }

    fn try_take(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => {
                let last_was_stopped = beside::begin(&self.file)?;
                let _ = self.taken.set(last_was_stopped);
                Ok(self.is_held())
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether it is ours. One whose file somebody has deleted or replaced says nothing of others.
    pub(super) fn is_held(&self) -> bool {
        let of = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
        self.taken.get().is_some() && of(self.file.metadata()) == of(fs::metadata(&self.path))
    }

    /// Whether the last one that had it was told to stop.
    pub(super) fn last_was_stopped(&self) -> bool {
        self.taken.get().is_some_and(|stopped| *stopped)
    }

    /// Says that this daemon ends because it was told to. Where that can't be written it counts as one that died.
    pub(super) fn note_stop(&self) {
        if self.is_held() {
            beside::note_stop(&self.file);
        }
    }
}
