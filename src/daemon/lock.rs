//! One daemon a database: two would read the same mailboxes and fight over every message.

use std::{
    fs::{File, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::DaemonError;
use crate::store::StoreError;

/// Held as long as it lives; the kernel lets go of it even after `kill -9`.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Locks a file beside the database. Not the database itself: closing any handle on it would drop SQLite's locks.
    pub(super) fn take(database: &Path) -> Result<Self, DaemonError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let unusable = |error: std::io::Error| {
            DaemonError::Store(StoreError::Unusable(format!(
                "{} can't be locked: {error}; the directory must exist and the user that runs bounced must be able to write in it",
                path.display()
            )))
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            // The directory may be one in which others make links.
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(DaemonError::Locked(format!(
                "another `bounced run` works on {}; stop it, or give this one a database of its own",
                database.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}
