//! What the store knows of each mailbox: how far it was read, what is not settled yet, and how it fares.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{ROWS_A_STATEMENT, SqliteStore, is_kept};
use crate::{
    message::{Cursor, Disposition, Place, Resume},
    store::{Heartbeat, MailboxStatus, StoreError},
};

impl SqliteStore {
    pub(in crate::store) async fn resume(&self, mailbox: &str) -> Result<Resume, StoreError> {
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

    pub(in crate::store) async fn known(&self, mailbox: &str) -> Result<HashSet<Place>, StoreError> {
        let known: Vec<String> = sqlx::query_scalar("SELECT place FROM message WHERE mailbox = ?1")
            .bind(mailbox)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.error(error))?;
        Ok(known.into_iter().map(Place::new).collect())
    }

    pub(in crate::store) async fn settled(&self, mailbox: &str, done: &[Place]) -> Result<(), StoreError> {
        if done.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for chunk in done.chunks(ROWS_A_STATEMENT) {
            QueryBuilder::<Sqlite>::new("DELETE FROM unsettled WHERE mailbox = ")
                .push_bind(mailbox)
                .push(" AND place IN (")
                .push_values(chunk, |mut row, place| {
                    row.push_bind(place.as_str());
                })
                .push(")")
                .build()
                .persistent(is_kept(chunk.len()))
                .execute(&mut *tx)
                .await
                .map_err(|error| self.error(error))?;
        }
        tx.commit().await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn heartbeat(
        &self,
        mailbox: &str,
        at: i64,
        beat: Heartbeat<'_>,
    ) -> Result<(), StoreError> {
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

    pub(in crate::store) async fn status(&self) -> Result<Vec<MailboxStatus>, StoreError> {
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
    unsettled: &[(&Place, Disposition)],
) -> Result<(), sqlx::Error> {
    for chunk in unsettled.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO unsettled (mailbox, place, disposition) ")
            .push_values(chunk, |mut row, (place, disposition)| {
                row.push_bind(mailbox).push_bind(place.as_str()).push_bind(word(*disposition));
            })
            .build()
            .persistent(is_kept(chunk.len()))
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
