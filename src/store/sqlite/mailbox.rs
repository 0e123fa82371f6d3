//! What the store knows of each mailbox: how far it was read, what is not settled yet, and how it fares.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{ROWS_A_STATEMENT, SqliteStore, is_kept, json};
use crate::{
    clock::Moment,
    message::{Cursor, Disposition, Pending, Place, Reading, Resume, Retry, Unsettled},
    store::{Failure, HandedOverTotal, Heartbeat, MailboxStatus, PendingAnswer, PendingMessage, StoreError},
};

impl SqliteStore {
    pub(in crate::store) async fn resume(&self, mailbox: &str) -> Result<Resume, StoreError> {
        self.read_resume(mailbox).await.map_err(|error| self.error(error))
    }

    async fn read_resume(&self, mailbox: &str) -> Result<Resume, sqlx::Error> {
        let row: Option<(Option<String>, bool)> =
            sqlx::query_as("SELECT position, read_at IS NOT NULL FROM cursor WHERE mailbox = ?1")
                .bind(mailbox)
                .fetch_optional(&self.readers)
                .await?;
        let (cursor, worked) = row.unwrap_or_default();
        let pending: Vec<(String, i64, u32, i64, String)> = sqlx::query_as(
            "SELECT place, first_failed, tries, next_try, why FROM pending WHERE mailbox = ?1 ORDER BY place",
        )
        .bind(mailbox)
        .fetch_all(&self.readers)
        .await?;
        let pending = pending.into_iter().map(|(place, first_failed, tries, next_try, why)| Pending {
            place: Place::new(place),
            retry: Retry { first_failed, tries, next_try, why },
        });
        Ok(Resume { cursor: cursor.map(Cursor::new), pending: pending.collect(), worked, ..Resume::default() })
    }

    pub(in crate::store) async fn unsettled(
        &self,
        mailbox: &str,
        now: i64,
        limit: u32,
    ) -> Result<Vec<Unsettled>, StoreError> {
        type Row = (String, String, Option<i64>, u32, i64, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT place, disposition, first_failed, tries, next_try, why FROM unsettled
             WHERE mailbox = ?1 AND next_try <= ?2 ORDER BY next_try, place LIMIT ?3",
        )
        .bind(mailbox)
        .bind(now)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))?;
        let unsettled = rows.into_iter().map(|(place, disposition, first_failed, tries, next_try, why)| {
            let untouched = disposition == word(Disposition::Untouched);
            Unsettled {
                place: Place::new(place),
                disposition: if untouched { Disposition::Untouched } else { Disposition::Processed },
                retry: first_failed.map(|first_failed| Retry {
                    first_failed,
                    tries,
                    next_try,
                    why: why.unwrap_or_default(),
                }),
            }
        });
        Ok(unsettled.collect())
    }

    pub(in crate::store) async fn put_off(&self, mailbox: &str, failed: &[(Place, Retry)]) -> Result<(), StoreError> {
        if failed.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for (place, retry) in failed {
            let update = "UPDATE unsettled SET first_failed = ?3, tries = ?4, next_try = ?5, why = ?6
                          WHERE mailbox = ?1 AND place = ?2";
            note_retry(&mut tx, update, mailbox, place, retry).await.map_err(|error| self.error(error))?;
        }
        tx.commit().await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn unrecorded(
        &self,
        mailbox: &str,
        places: Vec<Place>,
    ) -> Result<Vec<Place>, StoreError> {
        let texts: Vec<&str> = places.iter().map(Place::as_str).collect();
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT p.value FROM json_each(?1) AS p
             WHERE NOT EXISTS (SELECT 1 FROM message AS m WHERE m.mailbox = ?2 AND m.place = p.value)
               AND NOT EXISTS (SELECT 1 FROM passed AS q WHERE q.mailbox = ?2 AND q.place = p.value)
               AND NOT EXISTS (SELECT 1 FROM pending AS w WHERE w.mailbox = ?2 AND w.place = p.value)
             ORDER BY p.key",
        )
        .bind(json(&texts).map_err(|error| self.error(error))?)
        .bind(mailbox)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))?;
        Ok(found.into_iter().map(Place::new).collect())
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
        at: Moment,
        beat: Heartbeat<'_>,
    ) -> Result<(), StoreError> {
        let query = match beat {
            Heartbeat::Read => sqlx::query(
                "INSERT INTO cursor (mailbox, read_at, read_uptime) VALUES (?1, ?2, ?3)
                 ON CONFLICT (mailbox) DO UPDATE SET read_at = excluded.read_at, read_uptime = excluded.read_uptime,
                 failed_at = NULL, failure = NULL, failures = 0, next_try = NULL, needs_person = 0",
            )
            .bind(mailbox)
            .bind(at.wall)
            .bind(at.uptime),
            Heartbeat::Failed(Failure { why, next_try, needs_person }) => sqlx::query(
                "INSERT INTO cursor (mailbox, failed_at, failure, failures, next_try, needs_person)
                 VALUES (?1, ?2, ?3, 1, ?4, ?5)
                 ON CONFLICT (mailbox) DO UPDATE SET failed_at = excluded.failed_at, failure = excluded.failure,
                 failures = failures + 1, next_try = excluded.next_try, needs_person = excluded.needs_person",
            )
            .bind(mailbox)
            .bind(at.wall)
            .bind(why)
            .bind(next_try)
            .bind(needs_person),
        };
        let mut tx = self.begin().await?;
        self.check_lease(&mut tx, mailbox).await?;
        query.execute(&mut *tx).await.map_err(|error| self.error(error))?;
        tx.commit().await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn pending(&self) -> Result<Vec<PendingMessage>, StoreError> {
        sqlx::query_as(
            "SELECT mailbox, place, first_failed, tries, next_try, why, acknowledged FROM pending
             ORDER BY mailbox, first_failed, place",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn answer_pending(
        &self,
        mailbox: Option<&str>,
        place: Option<&Place>,
        answer: PendingAnswer,
    ) -> Result<u64, StoreError> {
        let query = match answer {
            PendingAnswer::Retry => {
                "UPDATE pending SET next_try = 0 WHERE (?1 IS NULL OR mailbox = ?1) AND (?2 IS NULL OR place = ?2)"
            }
            PendingAnswer::Acknowledge => {
                "UPDATE pending SET acknowledged = 1 WHERE (?1 IS NULL OR mailbox = ?1) AND (?2 IS NULL OR place = ?2)"
            }
        };
        let query = sqlx::query(query).bind(mailbox).bind(place.map(Place::as_str));
        let done = query.execute(&self.writer).await.map_err(|error| self.error(error))?;
        Ok(done.rows_affected())
    }

    pub(in crate::store) async fn asked_again(&self, mailbox: &str) -> Result<Vec<Place>, StoreError> {
        let places: Vec<String> =
            sqlx::query_scalar("SELECT place FROM pending WHERE mailbox = ?1 AND next_try = 0 ORDER BY place")
                .bind(mailbox)
                .fetch_all(&self.readers)
                .await
                .map_err(|error| self.error(error))?;
        if !places.is_empty() {
            // Asked once: what fails again waits as long as it did.
            sqlx::query("UPDATE pending SET next_try = 1 WHERE mailbox = ?1 AND next_try = 0")
                .bind(mailbox)
                .execute(&self.writer)
                .await
                .map_err(|error| self.error(error))?;
        }
        Ok(places.into_iter().map(Place::new).collect())
    }

    pub(in crate::store) async fn status(&self) -> Result<Vec<MailboxStatus>, StoreError> {
        sqlx::query_as(
            "SELECT c.mailbox, c.read_at, c.read_uptime, c.failed_at, c.failure, c.failures, c.next_try, c.needs_person,
                    coalesce(t.messages, 0) AS messages, coalesce(t.bounces, 0) AS bounces, t.newest,
                    (SELECT count(*) FROM unsettled AS u WHERE u.mailbox = c.mailbox) AS unsettled,
                    (SELECT min(u.first_failed) FROM unsettled AS u WHERE u.mailbox = c.mailbox) AS unsettled_since,
                    (SELECT count(*) FROM pending AS p WHERE p.mailbox = c.mailbox) AS pending,
                    (SELECT min(p.first_failed) FROM pending AS p WHERE p.mailbox = c.mailbox AND p.acknowledged = 0)
                        AS pending_since,
                    (SELECT count(*) FROM pending AS p JOIN attempt AS a ON a.mailbox = p.mailbox AND a.place = p.place
                     WHERE p.mailbox = c.mailbox AND p.acknowledged = 0) AS set_aside,
                    t.recorded, t.lag,
                    (SELECT unixepoch(min(installed_on)) FROM _sqlx_migrations) AS begun
             FROM cursor AS c LEFT JOIN total_by_mailbox AS t ON t.mailbox = c.mailbox
             ORDER BY c.mailbox",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn handed_over(&self) -> Result<Vec<HandedOverTotal>, StoreError> {
        sqlx::query_as(
            "SELECT t.mailbox, t.messages, t.bounces, t.newest FROM total_by_mailbox AS t
             WHERE t.messages > 0 AND NOT EXISTS (SELECT 1 FROM cursor AS c WHERE c.mailbox = t.mailbox)
             ORDER BY t.mailbox",
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

/// Notes how far the reading has come, and of which of these messages no row of `message` tells where it lies.
pub(super) async fn note_reading(
    tx: &mut SqliteConnection,
    mailbox: &str,
    places: &[&Place],
    reading: &Reading,
) -> Result<(), sqlx::Error> {
    let texts: Vec<&str> = places.iter().map(|place| place.as_str()).collect();
    if !texts.is_empty() {
        let read = json(&texts)?;
        sqlx::query(
            "INSERT OR IGNORE INTO passed (mailbox, place)
             SELECT ?1, p.value FROM json_each(?2) AS p
             WHERE NOT EXISTS (SELECT 1 FROM message AS m WHERE m.mailbox = ?1 AND m.place = p.value)",
        )
        .bind(mailbox)
        .bind(&read)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM attempt WHERE mailbox = ?1 AND place IN (SELECT value FROM json_each(?2))")
            .bind(mailbox)
            .bind(&read)
            .execute(&mut *tx)
            .await?;
    }
    let over: Vec<&str> = texts.into_iter().chain(reading.gone.iter().map(Place::as_str)).collect();
    sqlx::query("DELETE FROM pending WHERE mailbox = ?1 AND place IN (SELECT value FROM json_each(?2))")
        .bind(mailbox)
        .bind(json(&over)?)
        .execute(&mut *tx)
        .await?;
    for pending in &reading.pending {
        note_pending(tx, mailbox, pending).await?;
    }
    match &reading.cursor {
        Some(cursor) => move_cursor(tx, mailbox, cursor).await,
        None => Ok(()),
    }
}

/// Notes that a message could not be read. What a person has said about it holds on.
pub(super) async fn note_pending(
    tx: &mut SqliteConnection,
    mailbox: &str,
    Pending { place, retry }: &Pending,
) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO pending (mailbox, place, first_failed, tries, next_try, why)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                  ON CONFLICT (mailbox, place) DO UPDATE SET first_failed = excluded.first_failed,
                  tries = excluded.tries, next_try = excluded.next_try, why = excluded.why";
    note_retry(tx, insert, mailbox, place, retry).await
}

/// Runs a statement that wants a mailbox, a place in it, and first_failed, tries, next_try and why of a retry.
async fn note_retry(
    tx: &mut SqliteConnection,
    statement: &'static str,
    mailbox: &str,
    place: &Place,
    retry: &Retry,
) -> Result<(), sqlx::Error> {
    sqlx::query(statement)
        .bind(mailbox)
        .bind(place.as_str())
        .bind(retry.first_failed)
        .bind(retry.tries)
        .bind(retry.next_try)
        .bind(&retry.why)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

async fn move_cursor(tx: &mut SqliteConnection, mailbox: &str, cursor: &Cursor) -> Result<(), sqlx::Error> {
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
