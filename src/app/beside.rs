//! The file beside the database that a daemon has locked: whether the last one was told to stop, and what it could not
//! write into the database, of a full disk for instance. It is one block that is overwritten in place, so that a disk
//! without room takes it. Of who holds the lock it knows only whether somebody does.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::files::companion_of;

/// What the file says when a daemon ended because it was told to.
const STOPPED: &str = "stopped";

/// In octets: what every file system keeps in one piece.
const BLOCK: usize = 4096;

/// So many characters of an error are kept: it names a path and what to do.
const LONGEST: usize = 600;

/// An attempt to read a mailbox that failed, and of which the database could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Untold {
    pub mailbox: String,
    /// When the last one failed, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// How many in a row.
    pub failures: i64,
    pub why: String,
}

/// Where the file of a database lies.
#[must_use]
pub fn lock_file(database: &Path) -> PathBuf {
    companion_of(database, ".lock")
}

/// Whether a daemon works on a database. Asking takes the lock for a moment, for which a daemon that starts waits.
#[must_use]
pub fn daemon_runs(database: &Path) -> bool {
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(lock_file(database));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Begins the file anew for a daemon that has locked it; says whether the last one was told to stop.
///
/// # Errors
/// It can't be read.
pub fn begin(file: &File) -> io::Result<bool> {
    let mut said = String::new();
    // More than our own word is somebody else's, or that of a daemon that died.
    file.take(BLOCK as u64 + 1).read_to_string(&mut said)?;
    // On a full disk there is no block to be had, and what would stand in it is not told then.
    let _ = write(file, "");
    Ok(said.trim_end() == STOPPED)
}

/// Says that this daemon ends because it was told to. Where that can't be written it counts as one that died.
pub fn note_stop(file: &File) {
    let _ = write(file, STOPPED);
}

fn write(file: &File, text: &str) -> io::Result<()> {
    let mut block = [b' '; BLOCK];
    block[..text.len()].copy_from_slice(text.as_bytes());
    file.write_all_at(&block, 0)
}

/// Of each mailbox, what the database could not be told.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    untold: BTreeMap<String, Untold>,
}

impl Notes {
    pub(super) fn new(database: &Path) -> Self {
        Self { path: lock_file(database), untold: BTreeMap::new() }
    }

    /// An attempt failed, and the database was not told.
    pub(super) fn add(&mut self, mailbox: &str, at: i64, why: &str) {
        let failures = self.untold.get(mailbox).map_or(0, |before| before.failures) + 1;
        let why = why.chars().take(LONGEST).collect();
        self.untold.insert(mailbox.to_owned(), Untold { mailbox: mailbox.to_owned(), at, failures, why });
        self.write();
    }

    /// The database knows again how this mailbox fares.
    pub(super) fn clear(&mut self, mailbox: &str) {
        if self.untold.remove(mailbox).is_some() {
            self.write();
        }
    }

    /// Whoever can't write it has said in the log what failed.
    fn write(&self) {
        let mut text = String::new();
        for untold in self.untold.values() {
            // A string and three numbers can always be written.
            let line = serde_json::to_string(untold).unwrap_or_default();
            // What finds no room fares as the others that are told.
            if text.len() + line.len() < BLOCK {
                text.push_str(&line);
                text.push('\n');
            }
        }
        let file = File::options().write(true).custom_flags(libc::O_NOFOLLOW).open(&self.path);
        let _ = file.and_then(|file| write(&file, &text));
    }
}

/// What a daemon could not tell the database; nothing where nobody can tell.
pub(super) fn untold(database: &Path) -> Vec<Untold> {
    let mut text = String::new();
    let read = File::open(lock_file(database)).and_then(|file| file.take(BLOCK as u64).read_to_string(&mut text));
    read.map_or(Vec::new(), |_| text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_next_daemon_hears_whether_the_last_one_was_told_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("bounced.db");
        let open = || {
            let path = lock_file(&database);
            File::options().create(true).truncate(false).read(true).write(true).open(path).unwrap()
        };
        assert!(!begin(&open()).unwrap(), "the first");
        let mut notes = Notes::new(&database);
        notes.add("box", 5, "no room");
        note_stop(&open());
        assert!(untold(&database).is_empty());
        assert!(begin(&open()).unwrap());
        notes.add("box", 6, "no room");
        assert!(!begin(&open()).unwrap(), "it died");
        assert!(untold(&database).is_empty(), "and what failed then is over");
        fs::write(lock_file(&database), "stopped by somebody").unwrap();
        assert!(!begin(&open()).unwrap());
    }

    #[test]
    fn what_the_database_is_not_told_is_told_beside_it_until_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("bounced.db");
        let mut notes = Notes::new(&database);
        notes.add("box", 5, "no room");
        assert!(!lock_file(&database).exists(), "made by the daemon alone");
        fs::write(lock_file(&database), [b' '; BLOCK]).unwrap();
        notes.add("box", 6, "no room\nat all");
        notes.add("other", 7, &"é".repeat(5_000));
        let told = untold(&database);
        assert_eq!((told[0].mailbox.as_str(), told[0].at, told[0].failures), ("box", 6, 2));
        assert_eq!((told[0].why.as_str(), told[1].why.chars().count()), ("no room\nat all", LONGEST));
        (0..100).for_each(|n| notes.add(&format!("many{n}"), 8, "no room"));
        assert_eq!(fs::metadata(lock_file(&database)).unwrap().len(), BLOCK as u64, "it never grows");
        assert_eq!(untold(&database)[0].mailbox, "box");
        (0..100).for_each(|n| notes.clear(&format!("many{n}")));
        notes.clear("box");
        assert_eq!(untold(&database).len(), 1);
    }
}
