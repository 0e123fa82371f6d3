//! The table `event`: written with whatever it tells of, read by followers.

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{ROWS_A_STATEMENT, SqliteStore, is_kept, parsed};
use crate::store::{Event, EventKind, StoreError, plan::NewEvent};

impl SqliteStore {
    pub(in crate::store) async fn events_after(&self, revision: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read_events(revision, limit).await.map_err(|error| self.error(error))
    }

    async fn read_events(&self, revision: i64, limit: u32) -> Result<Vec<Event>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT revision, at, kind, address, origin, bounce, complaint, note FROM event
             WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )
        .bind(revision)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(event).collect()
    }

    pub(in crate::store) async fn list_changed_since(&self, revision: i64) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM event WHERE revision > ?1 AND kind IN ('suppressed', 'released'))",
        )
        .bind(revision)
        .fetch_one(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn first_change_since(&self, revision: i64) -> Result<Option<i64>, StoreError> {
        // An event has the time at which its bounce was received, which may be long before it was recorded.
        sqlx::query_scalar(
            "SELECT max(e.at, coalesce(m.recorded, e.at)) FROM event AS e
             LEFT JOIN bounce AS b ON b.id = e.bounce LEFT JOIN message AS m ON m.id = b.message
             WHERE e.revision > ?1 AND e.kind IN ('suppressed', 'released') ORDER BY e.revision LIMIT 1",
        )
        .bind(revision)
        .fetch_optional(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn newest_revision(&self) -> Result<i64, StoreError> {
        // Of the sequence and not of the rows: old ones may be gone.
        sqlx::query_scalar("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)")
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.error(error))
    }
}

fn event(row: &SqliteRow) -> Result<Event, sqlx::Error> {
    Ok(Event {
        revision: row.try_get("revision")?,
        at: row.try_get("at")?,
        kind: parsed(row.try_get("kind")?)?,
        address: row.try_get("address")?,
        origin: row.try_get::<Option<&str>, _>("origin")?.map(parsed).transpose()?,
        bounce: row.try_get("bounce")?,
        complaint: row.try_get("complaint")?,
        note: row.try_get("note")?,
    })
}

/// Their revisions ascend in the order given.
pub(super) async fn insert(tx: &mut SqliteConnection, events: &[NewEvent<'_>]) -> Result<(), sqlx::Error> {
    // Most are bounces, which have two values of their own; the rest of the row costs nothing then.
    for alike in events.chunk_by(|a, b| (a.kind == EventKind::Bounce) == (b.kind == EventKind::Bounce)) {
        for chunk in alike.chunks(ROWS_A_STATEMENT) {
            let mut query = if chunk[0].kind == EventKind::Bounce {
                QueryBuilder::<Sqlite>::new("INSERT INTO event (kind, at, bounce) ")
            } else {
                QueryBuilder::new("INSERT INTO event (kind, at, bounce, complaint, address, origin, note) ")
            };
            query.push_values(chunk, |mut row, event| {
                if event.kind == EventKind::Bounce {
                    row.push("'bounce'").push_bind(event.at).push_bind(event.bounce);
                } else {
                    row.push_bind(event.kind.as_str())
                        .push_bind(event.at)
                        .push_bind(event.bounce)
                        .push_bind(event.complaint)
                        .push_bind(event.address)
                        .push_bind(event.origin.map(|origin| origin.as_str()))
                        .push_bind(event.note);
                }
            });
            query.build().persistent(is_kept(chunk.len())).execute(&mut *tx).await?;
        }
    }
    Ok(())
}
