//! Erases what is old enough, a little at a time, so that no commit waits for it.

use super::{SqliteStore, json};
use crate::store::{Records, StoreError};

impl SqliteStore {
    pub(in crate::store) async fn erase_before(
        &self,
        records: Records,
        time: i64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.erase(records, time, limit).await.map_err(|error| self.error(error))
    }

    async fn erase(&self, records: Records, time: i64, limit: u32) -> Result<u64, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut erased = 0;
        for statement in statements(records) {
            erased += sqlx::query(*statement).bind(time).bind(limit).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(erased)
    }

    pub(in crate::store) async fn erase_texts_of_entries(
        &self,
        time: i64,
        behind: &str,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        self.erase_entries(time, behind, limit).await.map_err(|error| self.error(error))
    }

    async fn erase_entries(&self, time: i64, behind: &str, limit: u32) -> Result<Vec<String>, sqlx::Error> {
        // Looked for outside of the transaction: most of a long list may have nothing to erase.
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT s.address FROM suppression AS s LEFT JOIN bounce AS b ON b.id = s.bounce
             WHERE s.address > ?1 AND s.diagnostic IS NOT NULL AND coalesce(b.at, s.since) < ?2
             ORDER BY s.address LIMIT ?3",
        )
        .bind(behind)
        .bind(time)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        if !found.is_empty() {
            sqlx::query(
                "UPDATE suppression SET diagnostic = NULL
                 WHERE address IN (SELECT value FROM json_each(?1))
                   AND coalesce((SELECT b.at FROM bounce AS b WHERE b.id = suppression.bounce), since) < ?2",
            )
            .bind(json(&found)?)
            .bind(time)
            .execute(&self.writer)
            .await?;
        }
        Ok(found)
    }
}

/// What is erased of `sent` next. What stands for other recipients of a message stays as long as there is anybody else.
macro_rules! sent_before {
    () => {
        "SELECT s.message, s.recipient, s.at FROM sent AS s
         WHERE s.at < ?1 AND (s.recipient <> zeroblob(16)
                              OR NOT EXISTS (SELECT 1 FROM sent AS r WHERE r.message = s.message
                                             AND r.recipient > s.recipient))
         ORDER BY s.at, s.message, s.recipient LIMIT ?2"
    };
}

/// Each takes a time and a limit.
const fn statements(records: Records) -> &'static [&'static str] {
    match records {
        Records::Diagnostics => &[
            // The condition of the index bounce_with_text.
            "UPDATE bounce SET diagnostic = NULL, words = NULL, lowered_words = NULL, evidence = NULL
             WHERE id IN (SELECT id FROM bounce
                          WHERE at < ?1 AND (diagnostic IS NOT NULL OR words IS NOT NULL OR evidence IS NOT NULL)
                          ORDER BY at LIMIT ?2)",
            "UPDATE complaint SET words = ''
             WHERE id IN (SELECT id FROM complaint WHERE at < ?1 AND words <> '' ORDER BY at LIMIT ?2)",
            "UPDATE held SET diagnostic = NULL
             WHERE address IN (SELECT address FROM held WHERE since < ?1 AND diagnostic IS NOT NULL LIMIT ?2)",
        ],
        Records::Bounces => &[
            "DELETE FROM bounce WHERE id IN (SELECT id FROM bounce WHERE at < ?1 ORDER BY at LIMIT ?2)",
            "DELETE FROM complaint WHERE id IN (SELECT id FROM complaint WHERE at < ?1 ORDER BY at LIMIT ?2)",
        ],
        Records::DeadByHour => &["DELETE FROM dead_by_hour WHERE (remote, hour) IN
             (SELECT remote, hour FROM dead_by_hour WHERE hour < ?1 AND held = 0 LIMIT ?2)"],
        Records::Sent => &[
            // A message of several must not become one of one: of what is left of it is known that it was not all.
            concat!(
                "INSERT OR IGNORE INTO sent (message, recipient, at, delivered)
                 SELECT o.message, zeroblob(16), min(o.at), 0 FROM (",
                sent_before!(),
                ") AS o WHERE EXISTS (SELECT 1 FROM sent AS n WHERE n.message = o.message AND (n.message, n.recipient)
                                      NOT IN (SELECT message, recipient FROM (",
                sent_before!(),
                "))) GROUP BY o.message"
            ),
            concat!(
                "DELETE FROM sent WHERE (message, recipient) IN (SELECT message, recipient FROM (",
                sent_before!(),
                "))"
            ),
            "DELETE FROM doubted WHERE (message_id, recipient, kind, row) IN
             (SELECT message_id, recipient, kind, row FROM doubted WHERE at < ?1 ORDER BY at LIMIT ?2)",
            "DELETE FROM used_token WHERE token IN (SELECT token FROM used_token WHERE until < ?1 ORDER BY until LIMIT ?2)",
        ],
        Records::Messages => {
            &["DELETE FROM message WHERE id IN (SELECT id FROM message WHERE received < ?1 ORDER BY received LIMIT ?2)"]
        }
    }
}
