//! The table `held`: addresses that wait for a person, and what he says about them.

use futures::{Stream, StreamExt};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{ROWS_A_STATEMENT, SqliteStore, commit::bind_entry, is_kept, json};
use crate::store::{EventKind, Held, HeldAnswer, HeldSelection, StoreError, plan::NewSuppression};

/// Which rows of `held AS h` and `bounce AS b` a selection means.
macro_rules! selected {
    () => {
        "(?1 IS NULL OR h.address IN (SELECT value FROM json_each(?1)))
         AND (?2 IS NULL OR h.domain = ?2) AND (?3 IS NULL OR b.message = ?3)"
    };
}

impl SqliteStore {
    pub(in crate::store) fn held(
        &self,
        selection: &HeldSelection,
    ) -> impl Stream<Item = Result<Held, StoreError>> + Send + Unpin + '_ {
        sqlx::query_as(concat!(
            "SELECT h.address, h.origin, h.reason, h.rule, h.diagnostic,
                    strftime('%Y-%m-%dT%H:%M:%SZ', h.since, 'unixepoch') AS since,
                    m.id AS message, m.mailbox, m.message_id
             FROM held AS h LEFT JOIN bounce AS b ON b.id = h.bounce LEFT JOIN message AS m ON m.id = b.message
             WHERE ",
            selected!(),
            " ORDER BY m.id, h.address"
        ))
        .bind(selection.addresses.as_ref().map(|all| serde_json::json!(all).to_string()))
        .bind(selection.domain.clone())
        .bind(selection.message)
        .fetch(&self.readers)
        .map(|row| row.map_err(|error| self.error(error)))
    }

    pub(in crate::store) async fn held_count(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM held")
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.error(error))?;
        Ok(count.unsigned_abs())
    }

    pub(in crate::store) async fn answer_held(
        &self,
        selection: &HeldSelection,
        answer: HeldAnswer,
        at: i64,
    ) -> Result<u64, StoreError> {
        self.answer(selection, answer, at).await.map_err(|error| self.error(error))
    }

    async fn answer(&self, selection: &HeldSelection, answer: HeldAnswer, at: i64) -> Result<u64, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("CREATE TEMP TABLE IF NOT EXISTS answered (address TEXT NOT NULL PRIMARY KEY)")
            .execute(&mut *tx)
            .await?;
        sqlx::query(concat!(
            "INSERT INTO temp.answered SELECT h.address FROM main.held AS h LEFT JOIN main.bounce AS b ON b.id = h.bounce
             WHERE ",
            selected!()
        ))
        .bind(selection.addresses.as_ref().map(json).transpose()?)
        .bind(&selection.domain)
        .bind(selection.message)
        .execute(&mut *tx)
        .await?;
        let (kind, note) = match answer {
            HeldAnswer::Approve => (EventKind::Suppressed, "approved"),
            HeldAnswer::Reject => (EventKind::Released, "rejected"),
        };
        if answer == HeldAnswer::Approve {
            // An entry that a person made stays as it is, and so does one that says as much already.
            sqlx::query(
                "INSERT INTO suppression (address, domain, origin, reason, rule, diagnostic, bounce, since)
                 SELECT address, domain, origin, reason, rule, diagnostic, bounce, since FROM held
                 WHERE address IN (SELECT address FROM temp.answered)
                 ON CONFLICT (address) DO UPDATE SET
                 origin = excluded.origin, reason = excluded.reason, rule = excluded.rule,
                 diagnostic = excluded.diagnostic, bounce = excluded.bounce
                 WHERE origin = 'soft' AND excluded.origin = 'hard'",
            )
            .execute(&mut *tx)
            .await?;
        }
        // Who is on the list for another reason stays there, so that nobody is released by a rejection.
        sqlx::query(
            "INSERT INTO event (at, kind, address, origin, bounce, note)
             SELECT ?1, ?2, address, origin, bounce, ?3 FROM held AS h
             WHERE h.address IN (SELECT address FROM temp.answered)
               AND (?2 = 'suppressed' OR NOT EXISTS (SELECT 1 FROM suppression AS s WHERE s.address = h.address))",
        )
        .bind(at)
        .bind(kind.as_str())
        .bind(note)
        .execute(&mut *tx)
        .await?;
        let answered = sqlx::query("DELETE FROM held WHERE address IN (SELECT address FROM temp.answered)")
            .execute(&mut *tx)
            .await?
            .rows_affected();
        sqlx::query("DELETE FROM temp.answered").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(answered)
    }
}

/// A later message that says the same takes the place of the one before.
pub(super) async fn hold(tx: &mut SqliteConnection, held: &[NewSuppression<'_>]) -> Result<(), sqlx::Error> {
    for chunk in held.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT OR REPLACE INTO held (address, domain, origin, reason, rule, diagnostic, bounce, since) ",
        )
        .push_values(chunk, |mut row, new| bind_entry(&mut row, new))
        .build()
        .persistent(is_kept(chunk.len()))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Addresses that have come onto the list wait no longer.
pub(super) async fn forget(tx: &mut SqliteConnection, addresses: &[&str]) -> Result<(), sqlx::Error> {
    if addresses.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM held WHERE address IN (SELECT value FROM json_each(?1))")
        .bind(json(&addresses)?)
        .execute(&mut *tx)
        .await?;
    Ok(())
}
