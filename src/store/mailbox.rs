//! What the store knows of each mailbox: how far it was read, what is not settled yet, and how it fares.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::{Entry, ROWS_A_STATEMENT, Store, StoreError};
use crate::message::{Cursor, Disposition, Place, Resume};

/// How an attempt to read a mailbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat<'a> {
    /// It was read to its end, or waits for new mail.
    Read,
    /// It could not be read; the text says why.
    Failed(&'a str),
}

/// How a mailbox fares, for people and health checks. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct MailboxStatus {
    /// Its name in the configuration.
    pub mailbox: String,
    /// When it was last read successfully.
    pub read_at: Option<i64>,
    /// When the last attempt failed; `None` when it succeeded.
    pub failed_at: Option<i64>,
    /// Why the last attempt failed; `None` when it succeeded.
    pub failure: Option<String>,
    /// Messages recorded.
    pub messages: i64,
    /// Messages among them that were bounces.
    pub bounces: i64,
    /// When the newest recorded message was received.
    pub newest: Option<i64>,
    /// Messages committed but not yet moved, flagged or left alone.
    pub unsettled: i64,
}

impl Store {
    /// What an earlier run left of a mailbox, without what is known of its places: see [`Store::known`]. When the source has opened with it, its `unsettled` places are done:
    /// hand them to [`Store::settled`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn resume(&self, mailbox: &str) -> Result<Resume, StoreError> {
        self.read_resume(mailbox).await.map_err(|error| self.error(error))
    }

    async fn read_resume(&self, mailbox: &str) -> Result<Resume, sqlx::Error> {
        let cursor: Option<String> =
            sqlx::query_scalar("SELECT position FROM cursor WHERE mailbox = ?1 AND position IS NOT NULL")
                .bind(mailbox)
                .fetch_optional(&self.readers)
                .await?;
        let unsettled: Vec<(String, String)> =
            sqlx::query_as("SELECT place, disposition FROM unsettled WHERE mailbox = ?1 ORDER BY place")
                .bind(mailbox)
                .fetch_all(&self.readers)
                .await?;
        let unsettled = unsettled.into_iter().map(|(place, disposition)| {
            let untouched = disposition == word(Disposition::Untouched);
            (Place::new(place), if untouched { Disposition::Untouched } else { Disposition::Processed })
        });
        Ok(Resume { cursor: cursor.map(Cursor::new), unsettled: unsettled.collect(), known: HashSet::new() })
    }

    /// The places of all messages of a mailbox that are recorded; for a source that asks for them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn known(&self, mailbox: &str) -> Result<HashSet<Place>, StoreError> {
        let known: Vec<String> = sqlx::query_scalar("SELECT place FROM message WHERE mailbox = ?1")
            .bind(mailbox)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.error(error))?;
        Ok(known.into_iter().map(Place::new).collect())
    }

    /// Notes that these messages were moved, flagged or left alone, as they were to be.
    ///
    /// # Errors
    /// See [`StoreError`]; they are settled once more after the next start then, which does no harm.
    pub async fn settled(&self, mailbox: &str, done: &[Place]) -> Result<(), StoreError> {
        if done.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for chunk in done.chunks(ROWS_A_STATEMENT) {
            QueryBuilder::<Sqlite>::new("DELETE FROM unsettled WHERE mailbox = ")
                .push_bind(mailbox)
                .push(" AND (place) IN (")
                .push_values(chunk, |mut row, place| {
                    row.push_bind(place.as_str());
                })
                .push(")")
                .build()
                .persistent(chunk.len() == ROWS_A_STATEMENT)
                .execute(&mut *tx)
                .await
                .map_err(|error| self.error(error))?;
        }
        tx.commit().await.map_err(|error| self.error(error))
    }

    /// Notes at `at` (seconds since 1970-01-01 UTC) how reading a mailbox went.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn heartbeat(&self, mailbox: &str, at: i64, beat: Heartbeat<'_>) -> Result<(), StoreError> {
        let query = match beat {
            Heartbeat::Read => sqlx::query(
                "INSERT INTO cursor (mailbox, read_at) VALUES (?1, ?2)
                 ON CONFLICT (mailbox) DO UPDATE SET read_at = excluded.read_at, failed_at = NULL, failure = NULL",
            )
            .bind(mailbox)
            .bind(at),
            Heartbeat::Failed(why) => sqlx::query(
                "INSERT INTO cursor (mailbox, failed_at, failure) VALUES (?1, ?2, ?3)
                 ON CONFLICT (mailbox) DO UPDATE SET failed_at = excluded.failed_at, failure = excluded.failure",
            )
            .bind(mailbox)
            .bind(at)
            .bind(why),
        };
        query.execute(&self.writer).await.map_err(|error| self.error(error))?;
        Ok(())
    }

    /// How each mailbox fares that was ever tried, in the order of their names.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn status(&self) -> Result<Vec<MailboxStatus>, StoreError> {
        sqlx::query_as(
            "SELECT c.mailbox, c.read_at, c.failed_at, c.failure,
                    (SELECT count(*) FROM message AS m WHERE m.mailbox = c.mailbox) AS messages,
                    (SELECT count(*) FROM message AS m WHERE m.mailbox = c.mailbox AND m.kind = 'bounce') AS bounces,
                    (SELECT max(m.received) FROM message AS m WHERE m.mailbox = c.mailbox) AS newest,
                    (SELECT count(*) FROM unsettled AS u WHERE u.mailbox = c.mailbox) AS unsettled
             FROM cursor AS c ORDER BY c.mailbox",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }
}

pub(super) async fn insert_unsettled(
    tx: &mut SqliteConnection,
    mailbox: &str,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    for chunk in entries.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO unsettled (mailbox, place, disposition) ")
            .push_values(chunk, |mut row, entry| {
                row.push_bind(mailbox).push_bind(entry.place.as_str()).push_bind(word(entry.disposition));
            })
            .build()
            .persistent(chunk.len() == ROWS_A_STATEMENT)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn move_cursor(tx: &mut SqliteConnection, mailbox: &str, cursor: &Cursor) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO cursor (mailbox, position) VALUES (?1, ?2)
         ON CONFLICT (mailbox) DO UPDATE SET position = excluded.position",
    )
    .bind(mailbox)
    .bind(cursor.as_str())
    .execute(&mut *tx)
    .await?;
    Ok(())
}

const fn word(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Processed => "processed",
        Disposition::Untouched => "untouched",
    }
}
