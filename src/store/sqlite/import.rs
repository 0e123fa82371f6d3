//! The list of another program -> the suppression list. The entries wait in a table of the connection's own, in the order
//! of their addresses, so that a million of them are a handful of statements that go along the list once.

use sqlx::{Connection, Executor, QueryBuilder, Sqlite, SqliteConnection, pool::PoolConnection};

use super::{ROWS_A_STATEMENT, SqliteStore, events, is_kept, json, last_change};
use crate::{
    store::{By, Imported, StoreError},
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
                // Whoever only compares has a connection of another kind, and a file would be written all over.
                "PRAGMA temp_store = MEMORY",
                // What an import left that was given up.
                "DROP TABLE IF EXISTS temp.arriving",
                "DROP TABLE IF EXISTS temp.chosen",
                "DROP TABLE IF EXISTS temp.rank",
                "CREATE TEMP TABLE arriving (
                     address TEXT PRIMARY KEY, domain TEXT, origin TEXT, rank INTEGER, reason TEXT, rule TEXT,
                     diagnostic TEXT, since INTEGER, expires INTEGER, note TEXT
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
        for chunk in entries.chunks(ROWS_A_STATEMENT) {
            add(&mut self.connection, chunk).await.map_err(|error| self.store.error(error))?;
        }
        Ok(())
    }

    pub(in crate::store) async fn compare(self) -> Result<Imported, StoreError> {
        let Self { store, mut connection } = self;
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

    pub(in crate::store) async fn finish(self, by: &By<'_>) -> Result<Imported, StoreError> {
        let Self { store, mut connection } = self;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| store.error(error))?;
        let forgotten = store.skip_forgotten(&mut tx).await?;
        let written = async {
            let imported = choose(&mut tx).await?;
            write(&mut tx, by).await?;
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
        "INSERT INTO temp.arriving (address, domain, origin, rank, reason, rule, diagnostic, since, expires, note) ",
    )
    .push_values(entries, |mut row, entry| {
        row.push_bind(&entry.address)
            .push_bind(entry.address.rsplit_once('@').map_or("", |(_, domain)| domain))
            .push_bind(entry.origin.as_str())
            .push_bind(i64::from(entry.origin.rank()))
            .push_bind(entry.reason.map(|reason| reason.as_str()))
            .push_bind(entry.rule.as_deref())
            .push_bind(entry.diagnostic.as_deref())
            .push_bind(entry.since)
            .push_bind(entry.expires)
            .push_bind(entry.note.as_deref());
    })
    .push(
        " ON CONFLICT (address) DO UPDATE SET
            origin = excluded.origin, rank = excluded.rank, reason = excluded.reason, rule = excluded.rule,
            diagnostic = excluded.diagnostic, since = excluded.since, expires = excluded.expires, note = excluded.note
          WHERE excluded.rank > rank
             OR excluded.rank = rank AND expires IS NOT NULL AND (excluded.expires IS NULL OR excluded.expires > expires)",
    )
    .build()
    .persistent(is_kept(entries.len()))
    .execute(connection)
    .await
    .map(drop)
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
async fn write(tx: &mut SqliteConnection, by: &By<'_>) -> Result<(), sqlx::Error> {
    let behind = events::last_revision(&mut *tx).await?;
    sqlx::query(
        "INSERT INTO main.event (revision, at, kind, address, origin, recorded, reason, expires, before, actor, note)
         SELECT ?1 + c.number, ?2, 'suppressed', a.address, a.origin, unixepoch(), a.reason,
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
        "INSERT INTO main.suppression (address, domain, origin, reason, rule, diagnostic, since, expires, revision, note)
         SELECT a.address, a.domain, a.origin, a.reason, a.rule, a.diagnostic, a.since, a.expires, ?1 + c.number,
                coalesce(a.note, ?2)
         FROM temp.chosen AS c JOIN temp.arriving AS a ON a.address = c.address WHERE true ORDER BY c.number
         ON CONFLICT (address) DO UPDATE SET
             origin = excluded.origin, reason = excluded.reason, rule = excluded.rule, policy = NULL,
             diagnostic = excluded.diagnostic, bounce = NULL, complaint = NULL, since = excluded.since,
             expires = iif(expires IS NULL OR excluded.expires IS NULL, NULL, max(expires, excluded.expires)),
             revision = excluded.revision, note = excluded.note",
    )
    .bind(behind)
    .bind(by.note)
    .execute(&mut *tx)
    .await?;
    tx.execute("DELETE FROM main.held WHERE address IN (SELECT c.address FROM temp.chosen AS c)").await.map(drop)
}

/// What waited takes memory for as long as the connection lives.
async fn clear(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for statement in ["DROP TABLE temp.arriving", "DROP TABLE temp.chosen", "DROP TABLE temp.rank"] {
        connection.execute(statement).await?;
    }
    Ok(())
}
