//! The table `event`: written with whatever it tells of, read by followers.

use serde_json::json;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqliteExecutor, sqlite::SqliteRow};

use super::{ROWS_A_STATEMENT, SqliteStore, decoded, is_kept, parsed};
use crate::store::{Changes, Event, EventKind, StoreError, plan::NewEvent};

/// SQL that asks of an event whether the list, or what waits, may be another one since.
macro_rules! may_change_the_list {
    () => {
        "kind NOT IN ('bounce', 'complaint', 'alarm_raised', 'alarm_cleared')"
    };
}

impl SqliteStore {
    pub(in crate::store) async fn events_after(&self, revision: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read_events(revision, limit).await.map_err(|error| self.error(error))
    }

    async fn read_events(&self, revision: i64, limit: u32) -> Result<Vec<Event>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT revision, at, kind, address, origin, bounce, complaint, alarm, recorded, reason, policy, expires,
                    causes, before, actor, note
             FROM event WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )
        .bind(revision)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(event).collect()
    }

    pub(in crate::store) async fn changes_after(&self, revision: i64, limit: u32) -> Result<Changes, StoreError> {
        self.read_changes(revision, limit).await.map_err(|error| self.error(error))
    }

    async fn read_changes(&self, revision: i64, limit: u32) -> Result<Changes, sqlx::Error> {
        // As one value: a row of its own for each would cost many times as much.
        let (events, revision, is_unnamed, addresses): (u32, i64, bool, String) = sqlx::query_as(
            "SELECT count(*), coalesce(max(revision), ?1), coalesce(max(kind = 'forgotten'), 0),
                    json_group_array(DISTINCT address) FILTER (WHERE address IS NOT NULL)
             FROM (SELECT revision, kind, address FROM event WHERE revision > ?1 ORDER BY revision LIMIT ?2)",
        )
        .bind(revision)
        .bind(limit)
        .fetch_one(&self.readers)
        .await?;
        Ok(Changes { events, revision, is_unnamed, addresses: decoded(&addresses)? })
    }

    pub(in crate::store) async fn list_changed_since(&self, revision: i64) -> Result<bool, StoreError> {
        sqlx::query_scalar(concat!(
            "SELECT EXISTS (SELECT 1 FROM event WHERE revision > ?1 AND ",
            may_change_the_list!(),
            ")"
        ))
        .bind(revision)
        .fetch_one(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn first_change_since(&self, revision: i64) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(concat!(
            "SELECT coalesce(recorded, at) FROM event WHERE revision > ?1 AND ",
            may_change_the_list!(),
            " ORDER BY revision LIMIT 1"
        ))
        .bind(revision)
        .fetch_optional(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn newest_revision(&self) -> Result<i64, StoreError> {
        last_revision(&self.readers).await.map_err(|error| self.error(error))
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
        alarm: row.try_get("alarm")?,
        recorded: row.try_get("recorded")?,
        reason: row.try_get("reason")?,
        policy: row.try_get("policy")?,
        expires: row.try_get("expires")?,
        causes: row.try_get::<Option<&str>, _>("causes")?.map_or_else(|| Ok(Vec::new()), decoded)?,
        before: row.try_get("before")?,
        actor: row.try_get("actor")?,
        note: row.try_get("note")?,
    })
}

/// The revision of the last event; 0 before the first.
pub(super) async fn last_revision(of: impl SqliteExecutor<'_>) -> Result<i64, sqlx::Error> {
    // Of the sequence and not of the rows: old ones may be gone.
    sqlx::query_scalar("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)").fetch_one(of).await
}

/// Writes events, in the order of their revisions.
pub(super) async fn insert(tx: &mut SqliteConnection, events: &[NewEvent<'_>]) -> Result<(), sqlx::Error> {
    // Most are bounces, which have three values of their own; the rest of the row costs nothing then.
    for alike in events.chunk_by(|a, b| (a.kind == EventKind::Bounce) == (b.kind == EventKind::Bounce)) {
        for chunk in alike.chunks(ROWS_A_STATEMENT) {
            let mut query = if chunk[0].kind == EventKind::Bounce {
                QueryBuilder::<Sqlite>::new("INSERT INTO event (revision, kind, at, bounce) ")
            } else {
                QueryBuilder::new(
                    "INSERT INTO event (revision, kind, at, bounce, complaint, address, origin, recorded, reason, policy,
                                        expires, causes, before, actor, note) ",
                )
            };
            query.push_values(chunk, |mut row, event| {
                row.push_bind(event.revision);
                if event.kind == EventKind::Bounce {
                    row.push("'bounce'").push_bind(event.at).push_bind(event.bounce);
                } else {
                    row.push_bind(event.kind.as_str())
                        .push_bind(event.at)
                        .push_bind(event.bounce)
                        .push_bind(event.complaint)
                        .push_bind(event.address)
                        .push_bind(event.origin.map(|origin| origin.as_str()))
                        .push(if event.kind == EventKind::Complaint { "NULL" } else { "unixepoch()" })
                        .push_bind(event.reason.map(|reason| reason.as_str()))
                        .push_bind(event.policy.as_deref())
                        .push_bind(event.expires)
                        .push_bind((!event.causes.is_empty()).then(|| json!(event.causes).to_string()))
                        .push_bind(event.before)
                        .push_bind(event.actor)
                        .push_bind(event.note);
                }
            });
            query.build().persistent(is_kept(chunk.len())).execute(&mut *tx).await?;
        }
    }
    Ok(())
}
