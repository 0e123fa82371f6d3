//! The list of another program on its way into the store.

use serde::Serialize;

use super::{By, StoreError, sqlite::SqliteImport};
use crate::suppression::Suppression;

/// What became, or would become, of the entries of another list. Each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Addresses that were not on the list.
    pub new: u64,
    /// Addresses whose entry said less, and was replaced.
    pub replaced: u64,
    /// Addresses whose entry says as much or more, and stays.
    pub kept: u64,
    /// Addresses that may not be suppressed because a person said so.
    pub allowed: u64,
    /// Addresses that were forgotten, and are not written down again.
    pub forgotten: u64,
}

/// What becomes of the note of an entry that comes without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutNote {
    /// It gets the note of the change.
    TakesThatOfChange,
    /// It has none afterwards either: it is the copy of one that had none.
    Stays,
}

/// Entries that are laid ready, and come onto the list together or not at all. Whoever drops it leaves the list as it was.
#[derive(Debug)]
pub enum Importing {
    /// In an SQLite file.
    Sqlite(SqliteImport),
}

impl Importing {
    /// Lays entries ready. Of several with one address that counts which says most; of equal ones the longest.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn add(&mut self, entries: &[Suppression]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(import) => import.add(entries).await,
        }
    }

    /// Says what would become of them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn compare(self) -> Result<Imported, StoreError> {
        match self {
            Self::Sqlite(import) => import.compare().await,
        }
    }

    /// Puts them onto the list, all or none. None takes the place of an entry that says as much or more, and none comes
    /// past the allow list.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was changed.
    pub async fn finish(self, by: &By<'_>, without_note: WithoutNote) -> Result<Imported, StoreError> {
        match self {
            Self::Sqlite(import) => import.finish(by, without_note).await,
        }
    }
}
