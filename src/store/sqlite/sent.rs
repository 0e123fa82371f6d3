//! What we sent, and how far the mail logs were read.

use std::collections::{BTreeMap, HashMap};

use data_encoding::HEXLOWER;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqliteExecutor};

use super::{ROWS_A_STATEMENT, SqliteStore, doubted, is_kept, json};
use crate::{
    policy::DAY,
    store::{
        LogReading, LogStatus, Sent, StoreError,
        sent::{Alone, Salt, Vouching},
    },
};

/// So many seconds may lie between two recipients of one message in a file of what was sent.
const FILE_LASTS: i64 = 600;

/// Stands for recipients of whom nothing else is kept: no hash of anybody is all zeros.
const ELSEWHERE: [u8; 16] = [0; 16];

/// SQL for whether the message of a Message-ID has not left our mail server: it may go to others yet.
macro_rules! in_queue {
    ($message_id:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM mail_log_queue AS q
                     WHERE iif(json_valid(q.message), q.message ->> '$.message_id', NULL) = ",
            $message_id,
            ")"
        )
    };
}
pub(super) use in_queue;

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

    pub(in crate::store) async fn record_sent(&self, sent: &[Sent], now: i64) -> Result<u64, StoreError> {
        self.vouch_from(now).await?;
        let recorded = async {
            let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            // What stands farther below may have gone to others.
            let new = insert(&mut tx, sent, now + FILE_LASTS).await?;
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
    insert(tx, &reading.sent, reading.read_at).await?;
    insert_elsewhere(tx, &reading.elsewhere).await?;
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

/// What is known of what we send; `None` while nobody can tell it from what strangers write.
pub(super) async fn vouching(of: impl SqliteExecutor<'_>) -> Result<Option<Vouching>, sqlx::Error> {
    let found: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT since, salt FROM vouching").fetch_optional(of).await?;
    Ok(found.map(|(since, salt)| Vouching { since, salt: Salt(salt) }))
}

/// A Message-ID, the first and the last hash of its recipients, and when it was sent to the first.
type Ends = (String, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>);

/// Those of these messages that went to one alone, and go to nobody else any more.
pub(super) async fn alone(
    connection: &mut SqliteConnection,
    message_ids: &[&str],
    salt: &Salt,
) -> Result<BTreeMap<String, Alone>, sqlx::Error> {
    let mut alone = BTreeMap::new();
    for chunk in message_ids.chunks(ROWS_A_STATEMENT) {
        let hashed: Vec<(&str, String)> = chunk.iter().map(|&id| (id, HEXLOWER.encode(&salt.message(id)))).collect();
        // The first and the last: of a message to many not all are looked at.
        let rows: Vec<Ends> = sqlx::query_as(concat!(
            "SELECT j.value ->> 0,
                    (SELECT s.recipient FROM sent AS s WHERE s.message = unhex(j.value ->> 1)
                     ORDER BY s.recipient LIMIT 1),
                    (SELECT s.recipient FROM sent AS s WHERE s.message = unhex(j.value ->> 1)
                     ORDER BY s.recipient DESC LIMIT 1),
                    (SELECT s.at FROM sent AS s WHERE s.message = unhex(j.value ->> 1)
                     ORDER BY s.recipient LIMIT 1)
             FROM json_each(?1) AS j WHERE NOT ",
            in_queue!("j.value ->> 0")
        ))
        .bind(json(&hashed)?)
        .fetch_all(&mut *connection)
        .await?;
        for (id, first, last, at) in rows {
            if let (Some(recipient), Some(at)) = (first.filter(|first| last.as_ref() == Some(first)), at) {
                alone.insert(id, Alone { recipient, at });
            }
        }
    }
    Ok(alone)
}

/// Notes that these messages went to somebody else as well.
async fn insert_elsewhere(tx: &mut SqliteConnection, elsewhere: &[(String, i64)]) -> Result<(), sqlx::Error> {
    if elsewhere.is_empty() {
        return Ok(());
    }
    let Some(Vouching { salt, .. }) = vouching(&mut *tx).await? else { return Ok(()) };
    let rows: Vec<(String, i64)> = elsewhere.iter().map(|(id, at)| (HEXLOWER.encode(&salt.message(id)), *at)).collect();
    sqlx::query(
        "INSERT INTO sent (message, recipient, at, delivered)
         SELECT unhex(value ->> 0), ?2, max(value ->> 1), 0 FROM json_each(?1) WHERE true GROUP BY value ->> 0
         ON CONFLICT (message, recipient) DO UPDATE SET at = max(at, excluded.at)",
    )
    .bind(json(&rows)?)
    .bind(&ELSEWHERE[..])
    .execute(tx)
    .await
    .map(drop)
}

/// Keeps what was sent and counts it, but for what is kept already, and has what speaks of it asked about again from `due`
/// on; says how much was new.
async fn insert(tx: &mut SqliteConnection, sent: &[Sent], due: i64) -> Result<u64, sqlx::Error> {
    if sent.is_empty() {
        return Ok(0);
    }
    let salt: Vec<u8> = sqlx::query_scalar("SELECT salt FROM vouching").fetch_one(&mut *tx).await?;
    let salt = Salt(salt);
    let is_any_doubted: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM doubted)").fetch_one(&mut *tx).await?;
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
        if is_any_doubted {
            let pairs = chunk.iter().zip(&hashes).filter_map(|(one, hashes)| {
                let [_, recipient] = hashes.as_ref()?;
                Some((one.message_id.as_deref()?, HEXLOWER.encode(recipient)))
            });
            doubted::ask_from(tx, &pairs.collect::<Vec<_>>(), due).await?;
        }
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
