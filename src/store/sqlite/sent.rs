//! What we sent, and how far the mail logs were read.

use std::collections::{BTreeMap, HashMap};

use data_encoding::HEXLOWER;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{ROWS_A_STATEMENT, SqliteStore, is_kept, json};
use crate::store::{
    JudgedMessage, LogReading, LogStatus, Sent, StoreError,
    sent::{Salt, believe, message_ids},
};

const DAY: i64 = 86_400;

impl SqliteStore {
    pub(in crate::store) async fn vouch_from(&self, now: i64) -> Result<i64, StoreError> {
        let begun = async {
            sqlx::query("INSERT INTO vouching (one, since, salt) VALUES (1, ?1, ?2) ON CONFLICT (one) DO NOTHING")
                .bind(now)
                .bind(Salt::new().0)
                .execute(&self.writer)
                .await?;
            sqlx::query_scalar("SELECT since FROM vouching").fetch_one(&self.writer).await
        };
        begun.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn vouching_since(&self) -> Result<Option<i64>, StoreError> {
        let since = sqlx::query_scalar("SELECT since FROM vouching").fetch_optional(&self.readers).await;
        since.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn vouch(&self, batch: &mut [JudgedMessage]) -> Result<Option<i64>, StoreError> {
        self.believe(batch).await.map_err(|error| self.error(error))
    }

    async fn believe(&self, batch: &mut [JudgedMessage]) -> Result<Option<i64>, sqlx::Error> {
        let mut reader = self.readers.acquire().await?;
        let vouching = sqlx::query_as("SELECT since, salt FROM vouching").fetch_optional(&mut *reader).await?;
        let Some((since, salt)): Option<(i64, Vec<u8>)> = vouching else { return Ok(None) };
        let salt = Salt(salt);
        let mut alone = BTreeMap::new();
        for chunk in message_ids(batch).chunks(ROWS_A_STATEMENT) {
            let hashes: BTreeMap<String, &str> =
                chunk.iter().map(|&id| (HEXLOWER.encode(&salt.message(id)), id)).collect();
            // The first and the last: of a message to many not all are looked at.
            let rows = sqlx::query(
                "SELECT j.value AS message,
                        (SELECT s.recipient FROM sent AS s WHERE s.message = unhex(j.value)
                         ORDER BY s.recipient LIMIT 1) AS first,
                        (SELECT s.recipient FROM sent AS s WHERE s.message = unhex(j.value)
                         ORDER BY s.recipient DESC LIMIT 1) AS last
                 FROM json_each(?1) AS j",
            )
            .bind(json(&hashes.keys().collect::<Vec<_>>())?)
            .fetch_all(&mut *reader)
            .await?;
            for row in rows {
                let (first, last): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.try_get("first")?, row.try_get("last")?);
                if let Some(recipient) = first.filter(|first| last.as_ref() == Some(first)) {
                    alone.insert(hashes[row.try_get::<&str, _>("message")?].to_owned(), recipient);
                }
            }
        }
        believe(batch, &salt, &alone);
        Ok(Some(since))
    }

    pub(in crate::store) async fn record_sent(&self, sent: &[Sent], now: i64) -> Result<u64, StoreError> {
        self.vouch_from(now).await?;
        let recorded = async {
            let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            let new = insert(&mut tx, sent).await?;
            tx.commit().await?;
            Ok(new)
        };
        recorded.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn log_resume(
        &self,
        name: &str,
    ) -> Result<Option<(String, Vec<(String, String)>)>, StoreError> {
        let resumed = async {
            let cursor = sqlx::query_scalar("SELECT cursor FROM mail_log WHERE name = ?1")
                .bind(name)
                .fetch_optional(&self.readers)
                .await?;
            let Some(cursor) = cursor else { return Ok(None) };
            let queue = sqlx::query_as("SELECT queue_id, message FROM mail_log_queue WHERE log = ?1")
                .bind(name)
                .fetch_all(&self.readers)
                .await?;
            Ok(Some((cursor, queue)))
        };
        resumed.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn commit_log(&self, name: &str, reading: &LogReading) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        self.check_lease(&mut tx, name).await?;
        let anonymous = self.queue_without_forgotten(&mut tx, &reading.queue).await?;
        let queue = anonymous.as_deref().unwrap_or(&reading.queue);
        let committed = async {
            record_reading(&mut tx, name, reading, queue).await?;
            tx.commit().await
        };
        committed.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn mail_logs(&self) -> Result<Vec<LogStatus>, StoreError> {
        let rows: Result<Vec<LogRow>, _> =
            sqlx::query_as("SELECT name, lines, skipped, read_at, told_at FROM mail_log ORDER BY name")
                .fetch_all(&self.readers)
                .await;
        let rows = rows.map_err(|error| self.error(error))?;
        let status = |(name, lines, skipped, read_at, told_at): LogRow| LogStatus {
            name,
            lines: lines.unsigned_abs(),
            skipped: skipped.unsigned_abs(),
            read_at,
            told_at,
        };
        Ok(rows.into_iter().map(status).collect())
    }
}

async fn record_reading(
    tx: &mut SqliteConnection,
    name: &str,
    reading: &LogReading,
    queue: &[(String, Option<String>)],
) -> Result<(), sqlx::Error> {
    insert(tx, &reading.sent).await?;
    let (gone, known): (Vec<_>, Vec<_>) = queue.iter().partition(|(_, message)| message.is_none());
    let gone: Vec<&str> = gone.iter().map(|(queue_id, _)| queue_id.as_str()).collect();
    sqlx::query("DELETE FROM mail_log_queue WHERE log = ?1 AND queue_id IN (SELECT value FROM json_each(?2))")
        .bind(name)
        .bind(json(&gone)?)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO mail_log_queue (log, queue_id, message)
         SELECT ?1, value ->> 0, value ->> 1 FROM json_each(?2) WHERE true
         ON CONFLICT (log, queue_id) DO UPDATE SET message = excluded.message",
    )
    .bind(name)
    .bind(json(&known)?)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO mail_log (name, cursor, lines, skipped, read_at, told_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, lines = lines + excluded.lines,
             skipped = skipped + excluded.skipped, read_at = excluded.read_at,
             told_at = coalesce(excluded.told_at, told_at)",
    )
    .bind(name)
    .bind(&reading.cursor)
    .bind(i64::try_from(reading.lines).unwrap_or(i64::MAX))
    .bind(i64::try_from(reading.skipped).unwrap_or(i64::MAX))
    .bind(reading.read_at)
    .bind(reading.told_at)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// The columns of [`LogStatus`].
type LogRow = (String, i64, i64, i64, Option<i64>);

/// Keeps what was sent and counts it, but for what is kept already; says how much was new.
async fn insert(tx: &mut SqliteConnection, sent: &[Sent]) -> Result<u64, sqlx::Error> {
    if sent.is_empty() {
        return Ok(0);
    }
    let salt: Vec<u8> = sqlx::query_scalar("SELECT salt FROM vouching").fetch_one(&mut *tx).await?;
    let salt = Salt(salt);
    let mut new = 0;
    let mut counts: BTreeMap<(i64, &str, &str, &str), (i64, i64)> = BTreeMap::new();
    for chunk in sent.chunks(ROWS_A_STATEMENT) {
        let hashes: Vec<Option<[[u8; 16]; 2]>> = chunk
            .iter()
            .map(|one| {
                let id = one.message_id.as_deref()?;
                Some([salt.message(id), salt.recipient(id, &one.recipient)])
            })
            .collect();
        let keys: Vec<[String; 2]> =
            hashes.iter().flatten().map(|pair| pair.map(|hash| HEXLOWER.encode(&hash))).collect();
        let known: Vec<(Vec<u8>, Vec<u8>, bool)> = sqlx::query_as(
            "SELECT s.message, s.recipient, s.delivered FROM json_each(?1) AS j CROSS JOIN sent AS s
             WHERE s.message = unhex(j.value ->> 0) AND s.recipient = unhex(j.value ->> 1)",
        )
        .bind(json(&keys)?)
        .fetch_all(&mut *tx)
        .await?;
        // Whether each is known to have been delivered.
        let mut known: HashMap<[Vec<u8>; 2], bool> =
            known.into_iter().map(|(message, recipient, delivered)| ([message, recipient], delivered)).collect();
        let mut changed: BTreeMap<[[u8; 16]; 2], (i64, bool)> = BTreeMap::new();
        for (one, hashes) in chunk.iter().zip(hashes) {
            let before = hashes.and_then(|pair| known.insert(pair.map(Vec::from), one.is_delivered));
            if let Some(pair) = hashes {
                let delivered = one.is_delivered || before.unwrap_or(false);
                known.insert(pair.map(Vec::from), delivered);
                if before != Some(delivered) {
                    changed.entry(pair).or_insert((one.at, delivered)).1 = delivered;
                }
            }
            let (is_new, is_delivered) = (before.is_none(), one.is_delivered && before != Some(true));
            new += u64::from(is_new);
            let campaign = one.campaign.as_deref().unwrap_or_default();
            let of = (one.at - one.at.rem_euclid(DAY), one.recipient.domain(), one.provider.as_str(), campaign);
            let count = counts.entry(of).or_default();
            count.0 += i64::from(is_new);
            count.1 += i64::from(is_delivered);
        }
        if !changed.is_empty() {
            QueryBuilder::<Sqlite>::new("INSERT INTO sent (message, recipient, at, delivered) ")
                .push_values(&changed, |mut row, ([message, recipient], (at, delivered))| {
                    row.push_bind(&message[..]).push_bind(&recipient[..]).push_bind(at).push_bind(delivered);
                })
                .push(" ON CONFLICT (message, recipient) DO UPDATE SET delivered = excluded.delivered")
                .build()
                .persistent(is_kept(changed.len()))
                .execute(&mut *tx)
                .await?;
        }
    }
    let counts: Vec<_> = counts.into_iter().filter(|&(_, count)| count != (0, 0)).collect();
    sqlx::query(
        "INSERT INTO sent_by_day (day, domain, provider, campaign, sent, delivered)
         SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[0][3]', value ->> '$[1][0]',
                value ->> '$[1][1]'
         FROM json_each(?1) WHERE true
         ON CONFLICT (day, domain, provider, campaign)
         DO UPDATE SET sent = sent + excluded.sent, delivered = delivered + excluded.delivered",
    )
    .bind(json(&counts)?)
    .execute(&mut *tx)
    .await?;
    Ok(new)
}
