//! Messages that look like reports and name nobody.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::SqliteStore;
use crate::store::{StoreError, Unrecognised, plan::NewMessage};

impl SqliteStore {
    pub(in crate::store) async fn unrecognised(&self, mailbox: Option<&str>) -> Result<Vec<Unrecognised>, StoreError> {
        let read = async {
            let rows = sqlx::query(
                "SELECT id, mailbox, place, sha256, received, kind, format, message_id, size FROM message
                 WHERE names_nobody = 1 AND (?1 IS NULL OR mailbox = ?1) ORDER BY mailbox, received, id",
            )
            .bind(mailbox)
            .fetch_all(&self.readers)
            .await?;
            let row = |row: SqliteRow| {
                Ok(Unrecognised {
                    id: row.try_get("id")?,
                    mailbox: row.try_get("mailbox")?,
                    place: row.try_get("place")?,
                    sha256: sha256(&row)?,
                    received: row.try_get("received")?,
                    kind: row.try_get("kind")?,
                    format: row.try_get("format")?,
                    message_id: row.try_get("message_id")?,
                    size: row.try_get("size")?,
                })
            };
            rows.into_iter().map(row).collect::<Result<Vec<_>, sqlx::Error>>()
        };
        read.await.map_err(|error| self.error(error))
    }
}

fn sha256(row: &SqliteRow) -> Result<[u8; 32], sqlx::Error> {
    row.try_get::<&[u8], _>("sha256")?.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// What names somebody now takes the place of what was recorded of the same messages when they named nobody.
pub(super) async fn make_way(tx: &mut SqliteConnection, messages: &[NewMessage<'_>]) -> Result<(), sqlx::Error> {
    let is_any = "SELECT EXISTS (SELECT 1 FROM message WHERE names_nobody = 1)";
    if !sqlx::query_scalar::<_, bool>(is_any).fetch_one(&mut *tx).await? {
        return Ok(());
    }
    for message in messages {
        sqlx::query("DELETE FROM message WHERE sha256 = ?1 AND names_nobody = 1")
            .bind(&message.judged.sha256[..])
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
