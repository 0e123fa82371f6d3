//! The table `held`: addresses that wait for a person, and what he says about them.

use futures::{Stream, StreamExt};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{
    ROWS_A_STATEMENT, SqliteStore, brake, events, is_kept, json,
    list::{bind_entry, of_earlier_bounces},
};
use crate::{
    report::Address,
    store::{Answered, By, Held, HeldAnswer, HeldSelection, StoreError, plan::NewHeld},
    suppression::Origin,
};

/// Which rows of `held AS h` a selection means.
macro_rules! selected {
    () => {
        "(?1 IS NULL OR h.address IN (SELECT value FROM json_each(?1)))
         AND (?2 IS NULL OR h.domain = ?2) AND (?3 IS NULL OR h.message = ?3) AND (?4 IS NULL OR h.remote = ?4)"
    };
}

/// The columns of [`Held`].
macro_rules! held {
    () => {
        "SELECT h.address, h.why, h.origin, coalesce(h.reason, s.reason) AS reason, coalesce(h.rule, s.rule) AS rule,
                coalesce(h.diagnostic, s.diagnostic) AS diagnostic, h.remote,
                strftime('%Y-%m-%dT%H:%M:%SZ', h.since, 'unixepoch') AS since,
                h.message, m.mailbox, m.message_id, h.revision
         FROM held AS h LEFT JOIN message AS m ON m.id = h.message
         LEFT JOIN suppression AS s ON s.address = h.address AND h.why = 'alive' "
    };
}

impl SqliteStore {
    pub(in crate::store) fn held(
        &self,
        selection: &HeldSelection,
    ) -> impl Stream<Item = Result<Held, StoreError>> + Send + Unpin + '_ {
        sqlx::query_as(concat!(
            held!(),
            "WHERE ",
            selected!(),
            " ORDER BY h.why = 'outage', iif(h.why = 'outage', h.remote, NULL),
                       iif(h.why = 'outage', h.since - h.since % 3600, NULL), h.message, h.address"
        ))
        .bind(selection.addresses.as_ref().map(|all| serde_json::json!(all).to_string()))
        .bind(selection.domain.clone())
        .bind(selection.message)
        .bind(selection.remote.clone())
        .fetch(&self.readers)
        .map(|row| row.map_err(|error| self.error(error)))
    }

    pub(in crate::store) async fn held_of(&self, address: &Address) -> Result<Option<Held>, StoreError> {
        sqlx::query_as(concat!(held!(), "WHERE h.address = ?1"))
            .bind(address.normalised())
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.error(error))
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
        by: &By<'_>,
    ) -> Result<Answered, StoreError> {
        let mut tx = self.begin().await?;
        let done = async {
            let answered = answer_selected(&mut tx, selection, answer, by).await?;
            tx.commit().await?;
            Ok(answered)
        };
        done.await.map_err(|error| self.error(error))
    }
}

async fn answer_selected(
    tx: &mut SqliteConnection,
    selection: &HeldSelection,
    answer: HeldAnswer,
    by: &By<'_>,
) -> Result<Answered, sqlx::Error> {
    sqlx::query(
        "CREATE TEMP TABLE IF NOT EXISTS answered (address TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL)",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM temp.answered").execute(&mut *tx).await?;
    // Each has an event of its own, behind all that there are.
    sqlx::query(concat!(
        "INSERT INTO temp.answered
         SELECT h.address, ?5 + row_number() OVER (ORDER BY h.address) FROM main.held AS h WHERE ",
        selected!()
    ))
    .bind(selection.addresses.as_ref().map(json).transpose()?)
    .bind(&selection.domain)
    .bind(selection.message)
    .bind(&selection.remote)
    .bind(events::last_revision(&mut *tx).await?)
    .execute(&mut *tx)
    .await?;
    let approved = match answer {
        HeldAnswer::Approve => Some(approve(tx, by).await?),
        HeldAnswer::Reject => {
            tell(tx, by, "'rejected'").await?;
            None
        }
    };
    let left = sqlx::query("DELETE FROM held WHERE address IN (SELECT address FROM temp.answered)").execute(tx).await?;
    Ok(approved.unwrap_or(Answered { unchanged: left.rows_affected(), ..Answered::default() }))
}

/// Puts onto the list who waits for that, and takes off it who is there and lives.
async fn approve(tx: &mut SqliteConnection, by: &By<'_>) -> Result<Answered, sqlx::Error> {
    let answered: String =
        sqlx::query_scalar("SELECT json_group_array(address) FROM temp.answered").fetch_one(&mut *tx).await?;
    brake::confirm(tx, &answered).await?;
    // An entry that a person made stays as it is, and so does one that says as much already.
    let suppressed = sqlx::query(
        "INSERT INTO suppression (address, domain, origin, reason, rule, policy, diagnostic, bounce, complaint, remote,
                                  since, expires, note, revision)
         SELECT h.address, h.domain, h.origin, h.reason, h.rule, h.policy, h.diagnostic, h.bounce, h.complaint, h.remote,
                h.since, h.expires, h.note, a.revision
         FROM temp.answered AS a JOIN main.held AS h ON h.address = a.address WHERE h.why <> 'alive'
         ON CONFLICT (address) DO UPDATE SET
         origin = excluded.origin, reason = excluded.reason, rule = excluded.rule, policy = excluded.policy,
         diagnostic = excluded.diagnostic, bounce = excluded.bounce, complaint = excluded.complaint,
         remote = excluded.remote, expires = excluded.expires, revision = excluded.revision
         WHERE (SELECT n.value ->> 1 FROM json_each(?1) AS n WHERE n.value ->> 0 = excluded.origin)
             > (SELECT n.value ->> 1 FROM json_each(?1) AS n WHERE n.value ->> 0 = origin)",
    )
    .bind(json(&Origin::ALL.iter().map(|origin| (origin.as_str(), origin.rank())).collect::<Vec<_>>())?)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let released = sqlx::query(
        "DELETE FROM main.suppression WHERE address IN
         (SELECT a.address FROM temp.answered AS a JOIN main.held AS h ON h.address = a.address WHERE h.why = 'alive')",
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    // Of whom the list says as much already nothing has changed.
    let unchanged = sqlx::query(
        "DELETE FROM main.held WHERE why <> 'alive' AND address IN
         (SELECT a.address FROM temp.answered AS a JOIN main.suppression AS s ON s.address = a.address
          WHERE s.revision IS NOT a.revision)",
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tell(tx, by, "iif(h.why = 'alive', 'released', 'suppressed')").await?;
    Ok(Answered { suppressed, released, unchanged })
}

/// Writes the event of each answer.
async fn tell(tx: &mut SqliteConnection, by: &By<'_>, kind: &'static str) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO event (revision, at, kind, ");
    query
        .push("address, origin, bounce, complaint, recorded, reason, policy, expires, before, actor, note) SELECT a.revision, ")
        .push_bind(by.at)
        .push(", ")
        .push(kind)
        .push(", h.address, h.origin, h.bounce, h.complaint, unixepoch(), h.reason, h.policy, h.expires, h.revision, ")
        .push_bind(by.actor)
        .push(", ")
        .push_bind(by.note)
        .push(" FROM temp.answered AS a JOIN main.held AS h ON h.address = a.address ORDER BY a.revision");
    query.build().execute(tx).await.map(drop)
}

/// What comes later takes the place of what waits already.
pub(super) async fn hold(tx: &mut SqliteConnection, held: &[NewHeld<'_>]) -> Result<(), sqlx::Error> {
    let (entries, asked): (Vec<_>, Vec<_>) = held.iter().partition(|new| new.entry.is_some());
    for chunk in entries.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT OR REPLACE INTO held (address, domain, origin, reason, rule, policy, diagnostic, bounce, complaint,
                                          remote, since, expires, note, revision, why, message) ",
        )
        .push_values(chunk, |mut row, new| {
            if let Some(entry) = &new.entry {
                bind_entry(&mut row, entry);
            }
            row.push_bind(new.why.as_str()).push_bind(new.message);
        })
        .build()
        .persistent(is_kept(chunk.len()))
        .execute(&mut *tx)
        .await?;
    }
    let of_earlier = of_earlier_bounces(entries.iter().filter_map(|new| new.entry.as_ref()));
    if !of_earlier.is_empty() {
        sqlx::query(
            "UPDATE held SET rule = b.rule, diagnostic = b.diagnostic FROM bounce AS b
             WHERE b.id = held.bounce AND held.address IN (SELECT value FROM json_each(?1))",
        )
        .bind(json(&of_earlier)?)
        .execute(&mut *tx)
        .await?;
    }
    for chunk in asked.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT OR REPLACE INTO held (address, domain, origin, since, revision, why, message) ",
        )
        .push_values(chunk, |mut row, new| {
            row.push_bind(new.address)
                .push_bind(new.domain)
                .push_bind(new.origin.as_str())
                .push_bind(new.since)
                .push_bind(new.revision)
                .push_bind(new.why.as_str())
                .push_bind(new.message);
        })
        .build()
        .persistent(is_kept(chunk.len()))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Nothing waits about these any longer.
pub(super) async fn let_go(tx: &mut SqliteConnection, addresses: &[&str]) -> Result<(), sqlx::Error> {
    if addresses.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM held WHERE address IN (SELECT value FROM json_each(?1))")
        .bind(json(&addresses)?)
        .execute(&mut *tx)
        .await?;
    Ok(())
}
