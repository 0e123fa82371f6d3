//! The list of another program -> the suppression list. The entries wait in tables of the connection's own: first as they
//! come, then in the order of their addresses, so that a million of them are a handful of statements that go along the
//! list once. These tables lie in a file that is nobody's but this connection's, so that a long list takes no memory.

use sqlx::{Connection, Executor, QueryBuilder, Sqlite, SqliteConnection, pool::PoolConnection};

use super::{ROWS_A_STATEMENT, SqliteStore, events, is_kept, json, last_change};
use crate::{
    store::{By, Imported, StoreError, WithoutNote},
    suppression::{Origin, Suppression},
};

/// Entries that wait in the connection that writes: nobody else writes meanwhile.
#[derive(Debug)]
pub struct SqliteImport {
    store: SqliteStore,
    connection: PoolConnection<Sqlite>,
}

impl SqliteStore {
    pub(in crate::store) async fn import(&self) -> Result<SqliteImport, StoreError> {
        let begun = async {
            let mut connection = self.writer.acquire().await?;
            for statement in [
                // Takes away what an import left that was given up.
                "PRAGMA temp_store = MEMORY",
                "PRAGMA temp_store = FILE",
                // In KiB.
                "PRAGMA temp.cache_size = -32000",
                "DROP TABLE IF EXISTS temp.laid_ready",
                "DROP TABLE IF EXISTS temp.arriving",
                "DROP TABLE IF EXISTS temp.chosen",
                "DROP TABLE IF EXISTS temp.rank",
                "CREATE TEMP TABLE laid_ready (
                     number INTEGER PRIMARY KEY, address TEXT, domain TEXT, origin TEXT, rank INTEGER, reason TEXT,
                     rule TEXT, policy TEXT, diagnostic TEXT, since INTEGER, expires INTEGER, note TEXT
                 )",
                "CREATE TEMP TABLE arriving (
                     address TEXT PRIMARY KEY, domain TEXT, origin TEXT, rank INTEGER, reason TEXT, rule TEXT,
                     policy TEXT, diagnostic TEXT, since INTEGER, expires INTEGER, note TEXT
                 ) WITHOUT ROWID",
                "CREATE TEMP TABLE chosen (number INTEGER PRIMARY KEY, address TEXT, is_new INTEGER, before INTEGER)",
                "CREATE TEMP TABLE rank (origin TEXT PRIMARY KEY, rank INTEGER) WITHOUT ROWID",
            ] {
                connection.execute(statement).await?;
            }
            QueryBuilder::<Sqlite>::new("INSERT INTO temp.rank (origin, rank) ")
                .push_values(Origin::ALL, |mut row, origin| {
                    row.push_bind(origin.as_str()).push_bind(i64::from(origin.rank()));
                })
                .build()
                .execute(&mut *connection)
                .await?;
            Ok(connection)
        };
        let connection = begun.await.map_err(|error| self.error(error))?;
        Ok(SqliteImport { store: self.clone(), connection })
    }
}

impl SqliteImport {
    pub(in crate::store) async fn add(&mut self, entries: &[Suppression]) -> Result<(), StoreError> {
        let added = async {
            // As one change of the connection's own tables: each has its price.
            let mut tx = self.connection.begin().await?;
            for chunk in entries.chunks(ROWS_A_STATEMENT) {
                add(&mut tx, chunk).await?;
            }
            tx.commit().await
        };
        added.await.map_err(|error| self.store.error(error))
    }

    pub(in crate::store) async fn compare(self) -> Result<Imported, StoreError> {
        let Self { store, mut connection } = self;
        arrange(&mut connection).await.map_err(|error| store.error(error))?;
        let mut tx = connection.begin().await.map_err(|error| store.error(error))?;
        let forgotten = store.skip_forgotten(&mut tx).await?;
        let compared = async {
            let imported = choose(&mut tx).await?;
            tx.rollback().await?;
            Ok(Imported { forgotten, ..imported })
        };
        let imported = compared.await.map_err(|error| store.error(error))?;
        clear(&mut connection).await.map_err(|error| store.error(error))?;
        Ok(imported)
    }

    pub(in crate::store) async fn finish(self, by: &By<'_>, without_note: WithoutNote) -> Result<Imported, StoreError> {
        let Self { store, mut connection } = self;
        // Before anybody has to wait for the list.
        arrange(&mut connection).await.map_err(|error| store.error(error))?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| store.error(error))?;
        let forgotten = store.skip_forgotten(&mut tx).await?;
        let written = async {
            let imported = choose(&mut tx).await?;
            write(&mut tx, by, without_note).await?;
            tx.commit().await?;
            Ok(Imported { forgotten, ..imported })
        };
        let imported = written.await.map_err(|error| store.error(error))?;
        clear(&mut connection).await.map_err(|error| store.error(error))?;
        Ok(imported)
    }
}

/// How many addresses are held against the hashes at once.
const HASHED_AT_ONCE: u32 = 10_000;

impl SqliteStore {
    /// Whoever asked to be forgotten does not arrive. Says how many these were.
    async fn skip_forgotten(&self, tx: &mut SqliteConnection) -> Result<u64, StoreError> {
        if self.key_in_use(tx).await?.is_none() {
            return Ok(0);
        }
        let (mut count, mut last) = (0, String::new());
        loop {
            let some =
                sqlx::query_scalar("SELECT address FROM temp.arriving WHERE address > ?1 ORDER BY address LIMIT ?2")
                    .bind(&last)
                    .bind(HASHED_AT_ONCE)
                    .fetch_all(&mut *tx)
                    .await;
            let some: Vec<String> = some.map_err(|error| self.error(error))?;
            let Some(end) = some.last() else { return Ok(count) };
            last.clone_from(end);
            let found = self.forgotten_among(tx, &some.into_iter().collect()).await?;
            count += found.len() as u64;
            sqlx::query("DELETE FROM temp.arriving WHERE address IN (SELECT value FROM json_each(?1))")
                .bind(json(&found).map_err(|error| self.error(error))?)
                .execute(&mut *tx)
                .await
                .map_err(|error| self.error(error))?;
        }
    }
}

async fn add(connection: &mut SqliteConnection, entries: &[Suppression]) -> Result<(), sqlx::Error> {
    QueryBuilder::<Sqlite>::new(
        "INSERT INTO temp.laid_ready (address, domain, origin, rank, reason, rule, policy, diagnostic, since, expires,
                                      note) ",
    )
    .push_values(entries, |mut row, entry| {
        row.push_bind(&entry.address)
            .push_bind(entry.address.rsplit_once('@').map_or("", |(_, domain)| domain))
            .push_bind(entry.origin.as_str())
            .push_bind(i64::from(entry.origin.rank()))
            .push_bind(entry.reason.map(|reason| reason.as_str()))
            .push_bind(entry.rule.as_deref())
            .push_bind(entry.policy.as_deref())
            .push_bind(entry.diagnostic.as_deref())
            .push_bind(entry.since)
            .push_bind(entry.expires)
            .push_bind(entry.note.as_deref());
    })
    .build()
    .persistent(is_kept(entries.len()))
    .execute(connection)
    .await
    .map(drop)
}

/// Puts what was laid ready in the order of the addresses, one entry for each: sorted at once, a million of them cost half
/// of what it takes to find the place of each.
async fn arrange(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for statement in [
        "INSERT INTO temp.arriving (address, domain, origin, rank, reason, rule, policy, diagnostic, since, expires, note)
         SELECT address, domain, origin, rank, reason, rule, policy, diagnostic, since, expires, note
         FROM temp.laid_ready WHERE true ORDER BY address, number
         ON CONFLICT (address) DO UPDATE SET
            origin = excluded.origin, rank = excluded.rank, reason = excluded.reason, rule = excluded.rule,
            policy = excluded.policy, diagnostic = excluded.diagnostic, since = excluded.since,
            expires = excluded.expires, note = excluded.note
         WHERE excluded.rank > rank
            OR excluded.rank = rank AND expires IS NOT NULL AND (excluded.expires IS NULL OR excluded.expires > expires)",
        "DROP TABLE temp.laid_ready",
    ] {
        connection.execute(statement).await?;
    }
    Ok(())
}

/// Which of those that wait come onto the list, numbered in the order of their addresses.
async fn choose(tx: &mut SqliteConnection) -> Result<Imported, sqlx::Error> {
    let allowed = tx
        .execute(
            "DELETE FROM temp.arriving WHERE
                 address IN (SELECT w.address FROM main.allowed AS w)
                 OR '*@' || domain IN (SELECT w.address FROM main.allowed AS w)
                 OR (address = '*@' || domain AND domain IN (SELECT w.domain FROM main.allowed AS w))",
        )
        .await?
        .rows_affected();
    // The change before is in whichever of the three tables an address has a row.
    tx.execute(concat!(
        "INSERT INTO temp.chosen (address, is_new, before)
         SELECT a.address, s.address IS NULL, ",
        last_change!("a.address", "s.revision", "h.revision"),
        " FROM temp.arriving AS a
         LEFT JOIN main.suppression AS s ON s.address = a.address
         LEFT JOIN main.held AS h ON h.address = a.address
         LEFT JOIN temp.rank AS r ON r.origin = s.origin
         WHERE s.address IS NULL
            OR r.rank < a.rank AND NOT (s.origin = 'soft' AND coalesce(a.expires <= s.expires, false))
         ORDER BY a.address",
    ))
    .await?;
    let (new, replaced, kept): (i64, i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(is_new), 0), coalesce(sum(NOT is_new), 0), (SELECT count(*) FROM temp.arriving) - count(*)
         FROM temp.chosen",
    )
    .fetch_one(tx)
    .await?;
    let [new, replaced, kept] = [new, replaced, kept].map(i64::unsigned_abs);
    Ok(Imported { new, replaced, kept, allowed, forgotten: 0 })
}

/// Writes the events and the entries of those that were chosen; what waits about them waits no longer.
async fn write(tx: &mut SqliteConnection, by: &By<'_>, without_note: WithoutNote) -> Result<(), sqlx::Error> {
    let behind = events::last_revision(&mut *tx).await?;
    sqlx::query(
        "INSERT INTO main.event (revision, at, kind, address, origin, recorded, reason, policy, expires, before, actor,
                                 note)
         SELECT ?1 + c.number, ?2, 'suppressed', a.address, a.origin, unixepoch(), a.reason, a.policy,
                CASE WHEN s.address IS NULL THEN a.expires
                     WHEN s.expires IS NULL OR a.expires IS NULL THEN NULL
                     ELSE max(s.expires, a.expires) END,
                c.before, ?3, coalesce(a.note, ?4)
         FROM temp.chosen AS c JOIN temp.arriving AS a ON a.address = c.address
         LEFT JOIN main.suppression AS s ON s.address = c.address ORDER BY c.number",
    )
    .bind(behind)
    .bind(by.at)
    .bind(by.actor)
    .bind(by.note)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO main.suppression (address, domain, origin, reason, rule, policy, diagnostic, since, expires,
                                       revision, note)
         SELECT a.address, a.domain, a.origin, a.reason, a.rule, a.policy, a.diagnostic, a.since, a.expires,
                ?1 + c.number, coalesce(a.note, ?2)
         FROM temp.chosen AS c JOIN temp.arriving AS a ON a.address = c.address WHERE true ORDER BY c.number
         ON CONFLICT (address) DO UPDATE SET
             origin = excluded.origin, reason = excluded.reason, rule = excluded.rule,
             policy = excluded.policy, diagnostic = excluded.diagnostic, bounce = NULL, complaint = NULL, since = excluded.since,
             expires = iif(expires IS NULL OR excluded.expires IS NULL, NULL, max(expires, excluded.expires)),
             revision = excluded.revision, note = excluded.note",
    )
    .bind(behind)
    .bind(match without_note {
        WithoutNote::TakesThatOfChange => by.note,
        WithoutNote::Stays => None,
    })
    .execute(&mut *tx)
    .await?;
    tx.execute("DELETE FROM main.held WHERE address IN (SELECT c.address FROM temp.chosen AS c)").await.map(drop)
}

/// Other statements of the connection have what they need for a moment in memory; that they say so takes the tables away.
async fn clear(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    connection.execute("PRAGMA temp_store = MEMORY").await.map(drop)
}
