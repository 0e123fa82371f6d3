//! What every SQLite file of ours needs, the store as well as a follower's: a mark that it is ours, patience with other
//! processes, and each of SQLite's errors as one line for a person, with whether a retry can help.

use std::{io, path::Path, time::Duration};

use sqlx::{Executor, SqliteConnection, migrate::MigrateError};

use crate::{files::directory_of, store::StoreError};

/// How long a statement waits for another process to finish its transaction.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Marks an empty database file as ours; `false` when it is another program's, or another kind of ours.
pub(crate) async fn claim(connection: &mut SqliteConnection, id: i64) -> Result<bool, sqlx::Error> {
    if owner(&mut *connection).await? == Owner::Nobody {
        // A pragma takes no bound values.
        connection.execute(sqlx::AssertSqlSafe(format!("PRAGMA application_id = {id}"))).await?;
        return Ok(true);
    }
    Ok(owner(connection).await? == Owner::Marked(id))
}

/// Whose a database file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// There is nothing in it.
    Nobody,
    /// What stands in its head; 0 where its program doesn't say.
    Marked(i64),
}

pub(super) async fn owner(connection: &mut SqliteConnection) -> Result<Owner, sqlx::Error> {
    let (mark, tables): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(connection)
    .await?;
    Ok(if (mark, tables) == (0, 0) { Owner::Nobody } else { Owner::Marked(mark) })
}

/// errno(3), the same on every Unix: too many open files in the system.
const ENFILE: i32 = 23;
/// The same: in this process.
const EMFILE: i32 = 24;

/// Primary result codes (https://www.sqlite.org/rescode.html); extended ones carry them in the low byte.
mod code {
    pub const PERM: i32 = 3;
    pub const BUSY: i32 = 5;
    pub const LOCKED: i32 = 6;
    pub const READONLY: i32 = 8;
    pub const IOERR: i32 = 10;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const CANTOPEN: i32 = 14;
    pub const NOTADB: i32 = 26;
    /// A part of the file is missing; an extended code.
    pub const IOERR_SHORT_READ: i32 = 522;
    /// Of a statement that was written for other tables.
    pub const ERROR: i32 = 1;
}

/// Whether a file contradicts itself, or lacks tables and rows that were made with it.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } => true,
        error => result_code(error).is_some_and(|found| {
            [code::CORRUPT, code::NOTADB, code::ERROR].contains(&(found & 0xff)) || found == code::IOERR_SHORT_READ
        }),
    }
}

/// Whether somebody else has locked a file.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    primary(error) == Some(code::BUSY)
}

/// Whether nothing of a commit that failed so is left in the file.
pub(crate) fn is_undone(error: &sqlx::Error) -> bool {
    [Some(code::BUSY), Some(code::FULL)].contains(&primary(error))
}

/// SQLite's extended result code.
fn result_code(error: &sqlx::Error) -> Option<i32> {
    match error {
        sqlx::Error::Database(e) => e.code().and_then(|code| code.parse().ok()),
        sqlx::Error::PoolTimedOut => Some(code::BUSY),
        _ => None,
    }
}

/// The same without its details.
fn primary(error: &sqlx::Error) -> Option<i32> {
    result_code(error).map(|code| code & 0xff)
}

/// Whether something ran out for a moment.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

impl StoreError {
    pub(crate) fn of_sqlite(path: &Path, error: sqlx::Error) -> Self {
        let file = path.display();
        match primary(&error) {
            Some(code::BUSY | code::LOCKED) => {
                Self::Busy(format!("database {file} is locked by another program; trying again helps"))
            }
            Some(code::FULL) => Self::Busy(format!("database {file} cannot grow: the disk is full; free some space")),
            Some(code::IOERR) => {
                Self::Busy(format!("database {file} cannot be read or written ({error}); check the disk and its quota"))
            }
            Some(code::CORRUPT | code::NOTADB) => Self::damaged(path),
            Some(code::READONLY | code::PERM) => Self::unwritable(path),
            Some(code::CANTOPEN) => Self::unopened(path),
            _ => Self::Unusable(format!("database {file}: {error}")),
        }
    }

    /// Of a store that was opened to be read alone.
    pub(super) fn of_reading(path: &Path, error: sqlx::Error) -> Self {
        let file = path.display();
        match primary(&error) {
            Some(code::CANTOPEN | code::READONLY | code::PERM) => match std::fs::File::open(path) {
                Err(error) if !is_passing(&error) => Self::Unusable(format!(
                    "database {file} cannot be read: {error}; run this as root or as the user that runs bounced \
                     (`sudo -u bounced bounced …`)"
                )),
                Err(_) => Self::unopened(path),
                Ok(_) => Self::Unusable(format!(
                    "database {file} was not closed in order (whoever had it open was killed, perhaps), and only who \
                     may write it and its directory can read it now; start bounced, or run this as root or as the \
                     user that runs bounced (`sudo -u bounced bounced …`)"
                )),
            },
            _ => Self::of_sqlite(path, error),
        }
    }

    /// Of the store's own file.
    fn unusable(path: &Path, what: &str) -> Self {
        Self::Unusable(format!("database {} {what}", path.display()))
    }

    pub(super) fn unwritable(path: &Path) -> Self {
        Self::unusable(
            path,
            "cannot be written; run this as root or as the user that runs bounced (`sudo -u bounced bounced …`), who \
             needs write permission on the file and its directory",
        )
    }

    pub(super) fn of_migration(path: &Path, error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Self::of_sqlite(path, error),
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => Self::other_version(path),
            error => Self::Unusable(format!("database {}: {error}", path.display())),
        }
    }

    pub(super) fn other_version(path: &Path) -> Self {
        Self::unusable(path, "was made by another version of bounced; install the newer version again")
    }

    pub(super) fn earlier_version(path: &Path) -> Self {
        Self::unusable(
            path,
            "was made by an earlier version of bounced; start `bounced run`, which brings it up to date",
        )
    }

    pub(super) fn empty_file(path: &Path) -> Self {
        Self::unusable(path, "is empty; check the path, or start `bounced run` to fill it")
    }

    pub(super) fn missing_file(path: &Path) -> Self {
        Self::unusable(path, "does not exist; check the path, or start `bounced run` to make it")
    }

    pub(crate) fn damaged(path: &Path) -> Self {
        Self::unusable(
            path,
            "is damaged or no SQLite database; restore it from a backup, or move it away and let a new one begin with \
             empty lists by --accept-new-store (`bounced run`, `receive`, `import`)",
        )
    }

    pub(super) fn replaced(path: &Path) -> Self {
        Self::Replaced(format!(
            "database {} was moved, deleted or replaced while in use; no mail is moved away any more, because what is \
             written now would be lost; bounced must open it anew",
            path.display()
        ))
    }

    pub(super) fn lost_log(path: &Path) -> Self {
        let file = path.display();
        Self::Replaced(format!(
            "{file}-wal, a part of database {file}, was deleted while in use; no mail is moved away any more, because \
             others would not see what is written now; bounced must open it anew"
        ))
    }

    pub(crate) fn foreign_file(path: &Path) -> Self {
        Self::Unusable(format!(
            "{} belongs to something else; give the store and the published list files of their own",
            path.display()
        ))
    }

    /// SQLite says no more than "unable to open"; the file system knows why.
    pub(crate) fn unopened(path: &Path) -> Self {
        let file = path.display();
        let parent = directory_of(path);
        let directory = parent.display();
        // Where the file can be opened after all, something ran out for a moment: descriptors, memory.
        let opened = std::fs::File::options().read(true).write(true).open(path);
        let passing = opened.err().is_none_or(|error| is_passing(&error));
        if passing && !path.is_dir() {
            return Self::Busy(format!(
                "database {file} cannot be opened now; too many files are open perhaps, trying again helps"
            ));
        }
        Self::Unusable(if path.is_dir() {
            format!("database {file} is a directory; name a file in it")
        } else if !parent.exists() {
            format!("database {file} cannot be made: directory {directory} does not exist; create it")
        } else if !parent.is_dir() {
            format!("database {file} cannot be made: {directory} is no directory; name another path")
        } else {
            format!(
                "database {file} cannot be opened; run this as root or as the user that runs bounced (`sudo -u \
                 bounced bounced …`), who needs write permission on it and on {directory}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_can_be_opened_after_all_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bounced.db");
        // As with too many open files, of which SQLite says no more.
        std::fs::write(&file, "").unwrap();
        assert!(matches!(StoreError::unopened(&file), StoreError::Busy(_)));
        for lasting in [dir.path().to_owned(), dir.path().join("nowhere/bounced.db")] {
            assert!(matches!(StoreError::unopened(&lasting), StoreError::Unusable(_)), "{}", lasting.display());
        }
    }
}
