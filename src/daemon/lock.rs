//! One daemon a database: two would read the same mailboxes and fight over every message. The file says as well whether
//! the last one ended because it was told to.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::DaemonError;
use crate::{files::give_to_owner_of_directory, store::StoreError};

/// What the file says then.
const STOPPED: &str = "stopped";

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
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
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
        match file.try_lock() {
            Ok(()) => Self::begin(file).map_err(unusable),
            Err(TryLockError::WouldBlock) => Err(DaemonError::Locked(format!(
                "another `bounced run` works on {}; stop it, or give this one a database of its own",
                database.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
    fn begin(mut file: File) -> std::io::Result<Self> {
        let mut said = String::new();
        // More than our own word is somebody else's.
        (&file).take(16).read_to_string(&mut said)?;
        file.set_len(0)?;
        file.rewind()?;
        Ok(Self { file, last_was_stopped: said == STOPPED })
    }

    /// Says that this daemon ends because it was told to. Where that can't be written it counts as one that died.
    pub(super) fn note_stop(&mut self) {
        let _ = self.file.write_all(STOPPED.as_bytes());
    }
}
