//! One daemon a database: two would read the same mailboxes and fight over every message. What the file says is no
//! business of the lock; see [`beside`].

use std::{
    fs::{File, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread,
    time::Duration,
};

use super::DaemonError;
use crate::{app::beside, files::give_to_owner_of_directory, store::StoreError};

/// So often, and with such pauses, is a lock asked for that somebody has: commands take it for a moment to learn whether a
/// daemon runs.
const TRIES: (usize, Duration) = (20, Duration::from_millis(10));

/// Held as long as it lives; the kernel lets go of it even after `kill -9`.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// Whether the last daemon was told to stop. Then it died over no message, whatever it was reading.
    pub(super) last_was_stopped: bool,
}

impl Lock {
    /// Locks a file beside the database. Not the database itself: closing any handle on it would drop SQLite's locks.
    pub(super) fn take(database: &Path) -> Result<Self, DaemonError> {
        let path = beside::lock_file(database);
        let unusable = |error: std::io::Error| {
            DaemonError::Store(StoreError::Unusable(format!(
                "{} can't be locked: {error}; the directory must exist and the user that runs bounced must be able to write in it",
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
        match try_lock(&file) {
            Ok(()) => {
                let last_was_stopped = beside::begin(&file).map_err(unusable)?;
                Ok(Self { file, last_was_stopped })
            }
            Err(TryLockError::WouldBlock) => Err(DaemonError::Locked(format!(
                "another `bounced run` works on {}; stop it, or give this one a database of its own",
                database.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Says that this daemon ends because it was told to. Where that can't be written it counts as one that died.
    pub(super) fn note_stop(&self) {
        beside::note_stop(&self.file);
    }
}

fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES.0 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(TRIES.1),
            done => return done,
        }
    }
    file.try_lock()
}
