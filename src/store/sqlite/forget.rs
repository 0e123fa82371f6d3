//! Erases a person and keeps a keyed hash of the address; tells who was forgotten.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    time::Duration,
};

use data_encoding::HEXLOWER;
use sqlx::{AssertSqlSafe, Executor, Row, SqliteConnection};
use tokio::time::{Instant, sleep};

use super::{
    BUSY_TIMEOUT, SqliteStore, brake, json,
    list::{before, take_off},
};
use crate::{
    files::companion_of,
    report::Address,
    store::{
        By, Erased, EventKind, Forgotten, JudgedMessage, StoreError,
        forgotten::{self, Forms, Key},
    },
};

/// Where others may have written an address.
struct Texts {
    table: &'static str,
    key: &'static str,
    /// Whether the key is a number, by which a long table is gone through piece by piece.
    is_numbered: bool,
    columns: &'static [&'static str],
}

const TEXTS: [Texts; 9] = [
    Texts { table: "message", key: "id", is_numbered: true, columns: &["message_id"] },
    Texts {
        table: "bounce",
        key: "id",
        is_numbered: true,
        columns: &[
            "address_given",
            "diagnostic",
            "remote_mta",
            "reporting_mta",
            "provider",
            "original_message_id",
            "campaign",
            "list_id",
            "words",
            "lowered_words",
            "forwarded_to",
            "evidence",
        ],
    },
    Texts {
        table: "complaint",
        key: "id",
        is_numbered: true,
        columns: &["address_given", "provider", "original_message_id", "campaign", "list_id", "words"],
    },
    Texts { table: "event", key: "revision", is_numbered: true, columns: &["note"] },
    Texts { table: "suppression", key: "address", is_numbered: false, columns: &["diagnostic", "note", "remote"] },
    Texts { table: "held", key: "address", is_numbered: false, columns: &["diagnostic", "note", "remote"] },
    Texts { table: "allowed", key: "address", is_numbered: false, columns: &["note"] },
    Texts { table: "cursor", key: "mailbox", is_numbered: false, columns: &["failure"] },
    Texts { table: "pending", key: "place", is_numbered: false, columns: &["why"] },
];

/// So many rows are searched by one statement, so that the log can be emptied in between.
const ROWS_AT_ONCE: i64 = 50_000;

/// Those that hold an empty text where there is none.
const NEVER_NULL: [(&str, &str); 3] = [("complaint", "address_given"), ("complaint", "words"), ("pending", "why")];

impl SqliteStore {
    fn key_file(&self) -> PathBuf {
        companion_of(&self.path, ".key")
    }

    /// The key by which somebody was forgotten; `None` where nobody was.
    pub(super) async fn key_in_use(&self, connection: &mut SqliteConnection) -> Result<Option<Key>, StoreError> {
        if let Some(key) = self.key.get() {
            return Ok(Some(key.clone()));
        }
        let any = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM forgotten)").fetch_one(&mut *connection).await;
        if !any.map_err(|error| self.error(error))? {
            return Ok(None);
        }
        let key = Key::read(&self.key_file()).map_err(|error| self.key_error(&error))?;
        let is_theirs = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM forgotten WHERE hash = ?1)")
            .bind(&key.own_hash()[..])
            .fetch_one(connection)
            .await;
        if !is_theirs.map_err(|error| self.error(error))? {
            let wrong = io::Error::new(io::ErrorKind::InvalidData, "it belongs to another database");
            return Err(self.key_error(&wrong));
        }
        Ok(Some(self.key.get_or_init(|| key).clone()))
    }

    fn key_error(&self, error: &io::Error) -> StoreError {
        let (file, database) = (self.key_file(), self.path.display());
        StoreError::Unusable(format!(
            "{} can't be used: {error}; without this key nobody can tell whom database {database} has forgotten, and \
             their bounces would be recorded in full. Put it back, or run this as root or as the user that runs \
             bounced; when it is lost for good, have all of them unknown: sqlite3 {database} 'DELETE FROM forgotten'",
            file.display(),
        ))
    }

    /// The messages as they may be recorded; `None`: as they are.
    pub(super) async fn without_forgotten(
        &self,
        tx: &mut SqliteConnection,
        batch: &[JudgedMessage],
    ) -> Result<Option<Vec<JudgedMessage>>, StoreError> {
        let Some(key) = self.key_in_use(tx).await? else { return Ok(None) };
        let found = among(tx, &key, &forgotten::named(batch)).await.map_err(|error| self.error(error))?;
        Ok((!found.is_empty()).then(|| forgotten::without(batch, &found)))
    }

    /// Which of these addresses were forgotten.
    pub(super) async fn forgotten_among(
        &self,
        connection: &mut SqliteConnection,
        addresses: &HashSet<String>,
    ) -> Result<HashSet<String>, StoreError> {
        let Some(key) = self.key_in_use(connection).await? else { return Ok(HashSet::new()) };
        among(connection, &key, addresses).await.map_err(|error| self.error(error))
    }

    /// Whoever asked to be forgotten is not written down again.
    pub(super) async fn refuse_forgotten(
        &self,
        tx: &mut SqliteConnection,
        addresses: &[Address],
    ) -> Result<(), StoreError> {
        let named = addresses.iter().map(|address| address.normalised().to_owned()).collect();
        let Some(address) = self.forgotten_among(tx, &named).await?.into_iter().min() else { return Ok(()) };
        Err(StoreError::Refused(format!(
            "{address} was forgotten, and would be written down again; if that is wanted, `bounced forget --undo \
             {address}` first"
        )))
    }

    pub(in crate::store) async fn forgotten(&self, address: &Address) -> Result<Option<Forgotten>, StoreError> {
        let mut reader = self.readers.acquire().await.map_err(|error| self.error(error))?;
        let Some(key) = self.key_in_use(&mut reader).await? else { return Ok(None) };
        let found = sqlx::query_as("SELECT at, suppressed FROM forgotten WHERE hash = ?1")
            .bind(&key.hash(address.normalised())[..])
            .fetch_optional(&mut *reader)
            .await
            .map_err(|error| self.error(error))?;
        Ok(found.map(|(at, suppressed)| Forgotten { at, suppressed }))
    }

    pub(in crate::store) async fn forget(&self, addresses: &[Address], by: &By<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let key = match self.key_in_use(&mut tx).await? {
            Some(key) => key,
            None => self.first_key(&mut tx, by.at).await?,
        };
        let done = async {
            for address in addresses {
                keep_hash(&mut tx, &key, address.normalised(), by.at).await?;
                sqlx::query("INSERT OR IGNORE INTO forgetting (address, at, actor) VALUES (?1, ?2, ?3)")
                    .bind(address.normalised())
                    .bind(by.at)
                    .bind(by.actor)
                    .execute(&mut *tx)
                    .await?;
            }
            // By events that still name them, so that whoever follows the list learns of it.
            let before = before(&mut tx, addresses).await?;
            take_off(&mut tx, &before, EventKind::Released, by).await?;
            tx.commit().await
        };
        done.await.map_err(|error| self.error(error))
    }

    /// The write lock is ours: nobody else makes a key now.
    async fn first_key(&self, tx: &mut SqliteConnection, at: i64) -> Result<Key, StoreError> {
        let file = self.key_file();
        let key = match Key::read(&file) {
            // Whoever made it did not come to its first use.
            Ok(key) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Key::make(&file),
            Err(error) => Err(error),
        };
        let key = key.map_err(|error| {
            let file = file.display();
            StoreError::Unusable(format!("{file} can't be read or made: {error}; check it and its directory"))
        })?;
        let noted = sqlx::query("INSERT INTO forgotten (hash, at, suppressed) VALUES (?1, ?2, 0)")
            .bind(&key.own_hash()[..])
            .bind(at)
            .execute(tx)
            .await;
        noted.map_err(|error| self.error(error))?;
        Ok(key)
    }

    pub(in crate::store) async fn erase_persons(
        &self,
        addresses: &[Address],
        by: &By<'_>,
    ) -> Result<Vec<Erased>, StoreError> {
        let mut all = Vec::with_capacity(addresses.len());
        for address in addresses {
            let mut tx = self.begin().await?;
            let erased = async {
                let erased = erase(&mut tx, address.normalised(), by).await?;
                tx.commit().await.map(|()| erased)
            };
            all.push(erased.await.map_err(|error| self.error(error))?);
        }
        Ok(all)
    }

    pub(in crate::store) async fn erase_names(
        &self,
        addresses: &[Address],
        searched: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<u64, StoreError> {
        let forms = Forms::of(addresses.iter().map(Address::normalised));
        let erased = async {
            let in_queue = self.erase_in_queue(&forms).await?;
            Ok(in_queue + self.erase_in_texts(&forms, searched).await?)
        };
        erased.await.map_err(|error| self.error(error))
    }

    /// What is known of messages on their way, but for what names them.
    async fn erase_in_queue(&self, forms: &Forms) -> Result<u64, sqlx::Error> {
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT log, queue_id FROM mail_log_queue
             WHERE EXISTS (SELECT 1 FROM (SELECT lower(message) AS said) AS t CROSS JOIN json_each(?1) AS f
                           WHERE instr(t.said, f.value ->> 0) > 0 AND instr(t.said, f.value ->> 1) > 0)",
        )
        .bind(json(&forms.words())?)
        .fetch_all(&self.readers)
        .await?;
        let mut count = 0;
        for some in found.chunks(ROWS_AT_ONCE.unsigned_abs() as usize) {
            // Whoever reads the log may have written meanwhile, and waits now.
            let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            for (log, queue_id) in some {
                let message: Option<String> =
                    sqlx::query_scalar("SELECT message FROM mail_log_queue WHERE log = ?1 AND queue_id = ?2")
                        .bind(log)
                        .bind(queue_id)
                        .fetch_optional(&mut *tx)
                        .await?;
                let Some(left) = message.and_then(|message| forgotten::without_names(&message, forms)) else {
                    continue;
                };
                sqlx::query("UPDATE mail_log_queue SET message = ?3 WHERE log = ?1 AND queue_id = ?2")
                    .bind(log)
                    .bind(queue_id)
                    .bind(left)
                    .execute(&mut *tx)
                    .await?;
                count += 1;
            }
            tx.commit().await?;
        }
        Ok(count)
    }

    /// Messages in a mail server's queue as they may be recorded; `None`: as they are. Whoever reads the log remembers what
    /// was said of somebody before he was forgotten.
    pub(super) async fn queue_without_forgotten(
        &self,
        tx: &mut SqliteConnection,
        queue: &[(String, Option<String>)],
    ) -> Result<Option<Vec<(String, Option<String>)>>, StoreError> {
        if self.key_in_use(tx).await?.is_none() {
            return Ok(None);
        }
        let named = forgotten::named_in_queue(queue.iter().filter_map(|(_, message)| message.as_deref()));
        let found = self.forgotten_among(tx, &named).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let forms = Forms::of(found.iter().map(String::as_str));
        let without = |message: &String| forgotten::without_names(message, &forms).unwrap_or_else(|| message.clone());
        Ok(Some(queue.iter().map(|(id, message)| (id.clone(), message.as_ref().map(without))).collect()))
    }

    async fn erase_in_texts(&self, forms: &Forms, searched: &(dyn Fn(u64, u64) + Sync)) -> Result<u64, sqlx::Error> {
        let mut tables = Vec::new();
        for Texts { table, key, is_numbered, columns } in TEXTS {
            let last: i64 = if is_numbered {
                let last = AssertSqlSafe(format!("SELECT coalesce(max({key}), 0) FROM {table}"));
                sqlx::query_scalar(last).fetch_one(&self.readers).await?
            } else {
                0
            };
            tables.push((table, key, columns, last));
        }
        let all: i64 = tables.iter().map(|(.., last)| last).sum();
        let (mut count, mut before) = (0, 0);
        for (table, key, columns, last) in tables {
            let mut behind = 0;
            loop {
                count += self.erase_in_rows(forms, (table, key, columns), (last > 0).then_some(behind)).await?;
                behind += ROWS_AT_ONCE;
                if behind >= last {
                    break;
                }
                searched((before + behind).unsigned_abs(), all.unsigned_abs());
            }
            before += last;
            searched(before.unsigned_abs(), all.unsigned_abs());
        }
        Ok(count)
    }

    /// In all rows of a table, or in some behind a number.
    async fn erase_in_rows(
        &self,
        forms: &Forms,
        (table, key, columns): (&'static str, &'static str, &'static [&'static str]),
        behind: Option<i64>,
    ) -> Result<u64, sqlx::Error> {
        let words = json(&forms.words())?;
        let mut count = 0;
        let names = columns.join(", ");
        let some = if behind.is_some() { format!("{key} > ?2 AND {key} <= ?3 AND") } else { String::new() };
        // Each row is looked at: nothing else finds a word in the midst of a text. SQLite's `lower` knows ASCII alone,
        // as do these words; what it finds is looked at as what it is.
        let found = sqlx::query(AssertSqlSafe(format!(
            "SELECT CAST({key} AS TEXT), {names} FROM {table}
             WHERE {some} EXISTS (SELECT 1 FROM (SELECT lower(concat_ws(char(10), {names})) AS said) AS t
                           CROSS JOIN json_each(?1) AS f
                           WHERE instr(t.said, f.value ->> 0) > 0 AND instr(t.said, f.value ->> 1) > 0)"
        )))
        .bind(&words)
        .bind(behind)
        .bind(behind.map(|behind| behind + ROWS_AT_ONCE))
        .fetch_all(&self.readers)
        .await?;
        for row in found {
            let mut is_named = false;
            for (n, name) in columns.iter().enumerate() {
                let said: Option<&str> = row.try_get(n + 1)?;
                if said.is_none_or(|said| !forms.are_in(said)) {
                    continue;
                }
                let nothing = if NEVER_NULL.contains(&(table, name)) { "''" } else { "NULL" };
                sqlx::query(AssertSqlSafe(format!("UPDATE {table} SET {name} = {nothing} WHERE {key} = ?1")))
                    .bind(row.try_get::<&str, _>(0)?)
                    .execute(&self.writer)
                    .await?;
                count += 1;
                is_named = true;
            }
            if is_named && table == "bounce" {
                // A part of what was said might give another verdict.
                sqlx::query("UPDATE bounce SET evidence = NULL WHERE id = ?1")
                    .bind(row.try_get::<&str, _>(0)?)
                    .execute(&self.writer)
                    .await?;
            }
        }
        Ok(count)
    }

    pub(in crate::store) async fn leave_no_traces(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.acquire().await.map_err(|error| self.error(error))?;
        // Not in memory: it is as large as the database. It takes away what the connection has for itself.
        writer.execute("PRAGMA temp_store = FILE").await.map_err(|error| self.error(error))?;
        let vacuumed = writer.execute("VACUUM").await;
        writer.execute("PRAGMA temp_store = MEMORY").await.map_err(|error| self.error(error))?;
        vacuumed.map_err(|error| self.error(error))?;
        self.empty_log(&mut writer).await
    }

    /// So that nothing is left in it.
    async fn empty_log(&self, writer: &mut SqliteConnection) -> Result<(), StoreError> {
        let give_up = Instant::now() + BUSY_TIMEOUT;
        loop {
            let (held_up, _, _): (bool, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_one(&mut *writer)
                .await
                .map_err(|error| self.error(error))?;
            if !held_up {
                return Ok(());
            }
            if Instant::now() >= give_up {
                let file = self.path.display();
                return Err(StoreError::Busy(format!(
                    "{file}-wal can't be emptied while somebody reads database {file}; trying again helps"
                )));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(in crate::store) async fn begun_to_forget(&self) -> Result<Vec<Address>, StoreError> {
        let begun: Vec<String> = sqlx::query_scalar("SELECT address FROM forgetting ORDER BY address")
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.error(error))?;
        Ok(begun.iter().filter_map(|address| Address::parse(address)).collect())
    }

    pub(in crate::store) async fn all_is_forgotten(&self, addresses: &[Address]) -> Result<(), StoreError> {
        let mut writer = self.writer.acquire().await.map_err(|error| self.error(error))?;
        let done = async {
            // Over what stood there, too.
            writer.execute("PRAGMA secure_delete = ON").await?;
            let names: Vec<&str> = addresses.iter().map(Address::normalised).collect();
            let deleted = sqlx::query("DELETE FROM forgetting WHERE address IN (SELECT value FROM json_each(?1))")
                .bind(json(&names)?)
                .execute(&mut *writer)
                .await;
            writer.execute("PRAGMA secure_delete = OFF").await?;
            deleted.map(drop)
        };
        done.await.map_err(|error| self.error(error))?;
        self.empty_log(&mut writer).await
    }

    pub(in crate::store) async fn check_key(&self) -> Result<(), StoreError> {
        let mut reader = self.readers.acquire().await.map_err(|error| self.error(error))?;
        self.key_in_use(&mut reader).await.map(drop)
    }

    pub(in crate::store) async fn recall(&self, addresses: &[Address]) -> Result<Vec<bool>, StoreError> {
        let mut tx = self.begin().await?;
        let Some(key) = self.key_in_use(&mut tx).await? else { return Ok(vec![false; addresses.len()]) };
        let recalled = async {
            let mut were_forgotten = Vec::with_capacity(addresses.len());
            for address in addresses {
                let done = sqlx::query("DELETE FROM forgotten WHERE hash = ?1")
                    .bind(&key.hash(address.normalised())[..])
                    .execute(&mut *tx)
                    .await?;
                were_forgotten.push(done.rows_affected() > 0);
                sqlx::query("DELETE FROM forgetting WHERE address = ?1")
                    .bind(address.normalised())
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await.map(|()| were_forgotten)
        };
        recalled.await.map_err(|error| self.error(error))
    }
}

async fn among(
    connection: &mut SqliteConnection,
    key: &Key,
    addresses: &HashSet<String>,
) -> Result<HashSet<String>, sqlx::Error> {
    let hashes: Vec<(String, &String)> =
        addresses.iter().map(|address| (HEXLOWER.encode(&key.hash(address)), address)).collect();
    let mut found = HashSet::new();
    // An import brings a million of them.
    for some in hashes.chunks(1_000) {
        let some: HashMap<&str, &String> = some.iter().map(|(hash, address)| (hash.as_str(), *address)).collect();
        let known: Vec<String> = sqlx::query_scalar(
            "SELECT a.value FROM json_each(?1) AS a
             WHERE EXISTS (SELECT 1 FROM forgotten AS f WHERE f.hash = unhex(a.value))",
        )
        .bind(json(&some.keys().collect::<Vec<_>>())?)
        .fetch_all(&mut *connection)
        .await?;
        found.extend(known.iter().filter_map(|hash| some.get(hash.as_str()).map(|&address| address.clone())));
    }
    Ok(found)
}

/// From here on whatever is recorded of the address is recorded without it.
async fn keep_hash(tx: &mut SqliteConnection, key: &Key, address: &str, at: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO forgotten (hash, at, suppressed)
         SELECT ?1, ?2, EXISTS (SELECT 1 FROM suppression WHERE address = ?3) WHERE true
         ON CONFLICT (hash) DO UPDATE SET suppressed = max(suppressed, excluded.suppressed)",
    )
    .bind(&key.hash(address)[..])
    .bind(at)
    .bind(address)
    .execute(&mut *tx)
    .await?;
    for statement in [
        "DELETE FROM alive WHERE address = ?1",
        "DELETE FROM allowed WHERE address = ?1",
        "DELETE FROM doubted WHERE address = ?1",
    ] {
        sqlx::query(statement).bind(address).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn erase(tx: &mut SqliteConnection, address: &str, by: &By<'_>) -> Result<Erased, sqlx::Error> {
    let bounces = sqlx::query("DELETE FROM bounce WHERE address = ?1").bind(address).execute(&mut *tx).await?;
    let complaints = sqlx::query("DELETE FROM complaint WHERE address = ?1").bind(address).execute(&mut *tx).await?;
    if let Some((_, domain)) = address.rsplit_once('@') {
        brake::forget(tx, domain).await?;
    }
    // All of its changes hang together by `before`, up to the one that took it off the list.
    let events = sqlx::query(
        "UPDATE event SET kind = 'forgotten', address = NULL, origin = NULL, bounce = NULL, complaint = NULL,
                          reason = NULL, policy = NULL, expires = NULL, causes = NULL, before = NULL, note = NULL
         WHERE revision IN (
             WITH RECURSIVE chain (revision) AS (
                 SELECT revision FROM event WHERE address = ?1 AND kind <> 'suppressed'
                 UNION SELECT e.before FROM chain AS c CROSS JOIN event AS e ON e.revision = c.revision
                 WHERE e.before IS NOT NULL)
             SELECT revision FROM chain)",
    )
    .bind(address)
    .execute(&mut *tx)
    .await?;
    // A list that was put back from a copy may name it still: this has it compared as a whole.
    sqlx::query("INSERT INTO event (at, kind, recorded, actor) VALUES (?1, 'forgotten', ?1, ?2)")
        .bind(by.at)
        .bind(by.actor)
        .execute(&mut *tx)
        .await?;
    Ok(Erased {
        bounces: bounces.rows_affected(),
        complaints: complaints.rows_affected(),
        events: events.rows_affected(),
    })
}
