//! What happened to one address: along the column `before` from its last change back to its first, so that the many
//! entries that bounces make need no row in an index.

use std::collections::HashMap;

use sqlx::{FromRow, SqliteConnection};

use super::{SqliteStore, decoded, json};
use crate::{
    report::Address,
    store::{AddressHistory, Alive, Cause, PastChange, StoreError},
};

/// A change with the rows that caused it.
#[derive(FromRow)]
struct ChangeRow {
    #[sqlx(flatten)]
    change: PastChange,
    causes: String,
    complaint: Option<i64>,
}

impl SqliteStore {
    pub(in crate::store) async fn history(&self, address: &Address) -> Result<AddressHistory, StoreError> {
        self.read_history(address).await.map_err(|error| self.error(error))
    }

    async fn read_history(&self, address: &Address) -> Result<AddressHistory, sqlx::Error> {
        // All of it as it was at one moment.
        let mut tx = self.readers.begin().await?;
        let rows = changes(&mut tx, address).await?;
        let mut counted = Vec::new();
        for row in &rows {
            counted.push(decoded::<Vec<i64>>(&row.causes)?);
        }
        let bounces = bounces(&mut tx, &counted.concat()).await?;
        let complaints = complaints(&mut tx, &rows.iter().filter_map(|row| row.complaint).collect::<Vec<_>>()).await?;
        let changes = rows.into_iter().zip(counted).map(|(row, counted)| {
            let counted = counted.iter().filter_map(|id| bounces.get(id));
            let complained = row.complaint.iter().filter_map(|id| complaints.get(id));
            PastChange { causes: counted.chain(complained).cloned().collect(), ..row.change }
        });
        let changes = changes.collect();
        let alive: Option<Alive> = sqlx::query_as(
            "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', at, 'unixepoch') AS at, sign FROM alive WHERE address = ?1",
        )
        .bind(address.normalised())
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(AddressHistory { address: address.normalised().to_owned(), changes, alive })
    }
}

async fn changes(tx: &mut SqliteConnection, address: &Address) -> Result<Vec<ChangeRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT e.revision, e.kind, strftime('%Y-%m-%dT%H:%M:%SZ', e.at, 'unixepoch') AS at,
                strftime('%Y-%m-%dT%H:%M:%SZ', e.recorded, 'unixepoch') AS recorded, e.origin, e.reason, e.policy,
                strftime('%Y-%m-%dT%H:%M:%SZ', e.expires, 'unixepoch') AS expires, e.actor, e.note,
                coalesce(e.causes, iif(e.bounce IS NULL, '[]', json_array(e.bounce))) AS causes, e.complaint
         FROM (WITH RECURSIVE chain (revision) AS (
                 SELECT max(last.revision) FROM (
                   SELECT revision FROM suppression WHERE address = ?1
                   UNION ALL SELECT revision FROM held WHERE address = ?1
                   UNION ALL SELECT max(revision) FROM event WHERE address = ?1 AND kind <> 'suppressed') AS last
                 UNION ALL
                 SELECT e.before FROM chain AS c JOIN event AS e ON e.revision = c.revision WHERE e.before IS NOT NULL)
               SELECT revision FROM chain) AS c
         JOIN event AS e ON e.revision = c.revision ORDER BY e.revision",
    )
    .bind(address.normalised())
    .fetch_all(tx)
    .await
}

async fn bounces(tx: &mut SqliteConnection, ids: &[i64]) -> Result<HashMap<i64, Cause>, sqlx::Error> {
    let rows: Vec<Cause> = sqlx::query_as(
        "SELECT b.id, strftime('%Y-%m-%dT%H:%M:%SZ', b.at, 'unixepoch') AS received, b.class, b.reason, b.status, b.reply,
                b.diagnostic, m.mailbox, m.message_id
         FROM json_each(?1) AS i JOIN bounce AS b ON b.id = i.value JOIN message AS m ON m.id = b.message",
    )
    .bind(json(&ids)?)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|cause| (cause.id, cause)).collect())
}

async fn complaints(tx: &mut SqliteConnection, ids: &[i64]) -> Result<HashMap<i64, Cause>, sqlx::Error> {
    let rows: Vec<Cause> = sqlx::query_as(
        "SELECT c.id, strftime('%Y-%m-%dT%H:%M:%SZ', c.at, 'unixepoch') AS received, NULL AS class, NULL AS reason,
                NULL AS status, NULL AS reply, NULL AS diagnostic, m.mailbox, m.message_id
         FROM json_each(?1) AS i JOIN complaint AS c ON c.id = i.value JOIN message AS m ON m.id = c.message",
    )
    .bind(json(&ids)?)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|cause| (cause.id, cause)).collect())
}
