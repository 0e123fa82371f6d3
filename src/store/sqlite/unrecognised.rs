//! Messages that look like reports and name nobody.

use data_encoding::HEXLOWER;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, json};
use crate::{
    message::Place,
    store::{StoreError, Unrecognised, plan::NewMessage},
};

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

    pub(in crate::store) async fn naming_nobody(
        &self,
        mailbox: &str,
        places: &[Place],
    ) -> Result<Vec<Place>, StoreError> {
        let texts: Vec<&str> = places.iter().map(Place::as_str).collect();
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT p.value FROM json_each(?1) AS p CROSS JOIN message AS m
             WHERE m.mailbox = ?2 AND m.place = p.value AND m.names_nobody = 1",
        )
        .bind(json(&texts).map_err(|error| self.error(error))?)
        .bind(mailbox)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))?;
        Ok(found.into_iter().map(Place::new).collect())
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
    let digests: Vec<String> = messages.iter().map(|message| HEXLOWER.encode(&message.judged.sha256)).collect();
    sqlx::query("DELETE FROM message WHERE names_nobody = 1 AND sha256 IN (SELECT unhex(value) FROM json_each(?1))")
        .bind(json(&digests)?)
        .execute(&mut *tx)
        .await?;
    Ok(())
}
