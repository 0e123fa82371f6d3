//! The suppression list: who asks and who changes it by hand.

use std::collections::HashSet;

use futures::{
    Stream, TryStreamExt,
    stream::{self, try_unfold},
};
use sqlx::{Row, SqlitePool, sqlite::SqliteRow};

use super::{SqliteStore, events, json, parsed, review};
use crate::{
    report::Address,
    store::{Entry, EventKind, Listed, StoreError, plan::NewEvent},
    suppression::Origin,
};

/// The columns of [`Listed`], once for both queries.
macro_rules! listed {
    ($rest:literal) => {
        concat!(
            "SELECT address, domain, origin, reason, since, at, note, rule, status, reply, diagnostic, field, line, words, \
             lowered_from, lowered_line, lowered_words, forwarded_to, forwarded_class, forwarded_reason, \
             forwarded_fault, bounced, mailbox, place, message_id, bounce, message \
             FROM suppression_list ",
            $rest
        )
    };
}

impl SqliteStore {
    pub(in crate::store) fn suppressions(&self) -> impl Stream<Item = Result<Listed, StoreError>> + Send + Unpin + '_ {
        let pages = try_unfold(Some(String::new()), |behind| async {
            let Some(behind) = behind else { return Ok(None) };
            let rows = rows(&self.readers, &behind).await.map_err(|error| self.error(error))?;
            let last = rows.last().map(|row| row.address.clone());
            Ok(Some((stream::iter(rows.into_iter().map(Ok)), last)))
        });
        Box::pin(pages.try_flatten())
    }

    pub(in crate::store) async fn suppression(&self, address: &Address) -> Result<Option<Listed>, StoreError> {
        sqlx::query_as(listed!("WHERE address = ?1"))
            .bind(address.normalised())
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.error(error))
    }

    pub(in crate::store) fn entries(&self) -> impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + Unpin + '_ {
        let first = tokio::spawn(page(self.readers.clone(), String::new()));
        Box::pin(try_unfold(Some(first), |page_read| async {
            let Some(page_read) = page_read else { return Ok(None) };
            let read = page_read.await.unwrap_or_else(|error| Err(sqlx::Error::Io(error.into())));
            let (entries, last) = read.map_err(|error| self.error(error))?;
            // While this page is used, the next one is read.
            let next = last.map(|last| tokio::spawn(page(self.readers.clone(), last)));
            let entries = decoded(&entries).map_err(|error| self.error(error))?;
            Ok(Some((entries, next)))
        }))
    }

    pub(in crate::store) async fn entries_of(&self, addresses: &HashSet<String>) -> Result<Vec<Entry>, StoreError> {
        self.read_entries(addresses).await.map_err(|error| self.error(error))
    }

    async fn read_entries(&self, addresses: &HashSet<String>) -> Result<Vec<Entry>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT s.address, s.origin, s.reason, s.since
             FROM json_each(?1) AS a JOIN suppression AS s ON s.address = a.value",
        )
        .bind(json(addresses)?)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(entry).collect()
    }

    pub(in crate::store) async fn suppress(
        &self,
        addresses: &[Address],
        note: Option<&str>,
        at: i64,
    ) -> Result<Vec<bool>, StoreError> {
        self.put(addresses, note, at).await.map_err(|error| self.error(error))
    }

    async fn put(&self, addresses: &[Address], note: Option<&str>, at: i64) -> Result<Vec<bool>, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut are_new = Vec::with_capacity(addresses.len());
        for address in addresses {
            let listed: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM suppression WHERE address = ?1)")
                .bind(address.normalised())
                .fetch_one(&mut *tx)
                .await?;
            review::forget(&mut tx, &[address.normalised()]).await?;
            sqlx::query(
                "INSERT INTO suppression (address, domain, origin, since, note) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (address) DO UPDATE SET origin = excluded.origin, note = coalesce(excluded.note, note)",
            )
            .bind(address.normalised())
            .bind(address.domain())
            .bind(Origin::Manual.as_str())
            .bind(at)
            .bind(note)
            .execute(&mut *tx)
            .await?;
            let event = NewEvent {
                at,
                kind: EventKind::Suppressed,
                address: Some(address.normalised()),
                origin: Some(Origin::Manual),
                bounce: None,
                complaint: None,
                note,
            };
            events::insert(&mut tx, &[event]).await?;
            are_new.push(!listed);
        }
        tx.commit().await?;
        Ok(are_new)
    }

    pub(in crate::store) async fn release(&self, addresses: &[Address], at: i64) -> Result<Vec<bool>, StoreError> {
        self.take_off(addresses, at).await.map_err(|error| self.error(error))
    }

    async fn take_off(&self, addresses: &[Address], at: i64) -> Result<Vec<bool>, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut were_listed = Vec::with_capacity(addresses.len());
        for address in addresses {
            let listed: Option<String> =
                sqlx::query_scalar("DELETE FROM suppression WHERE address = ?1 RETURNING origin")
                    .bind(address.normalised())
                    .fetch_optional(&mut *tx)
                    .await?;
            // Whoever waits to come onto the list is meant as well.
            let held: Option<String> = sqlx::query_scalar("DELETE FROM held WHERE address = ?1 RETURNING origin")
                .bind(address.normalised())
                .fetch_optional(&mut *tx)
                .await?;
            let origin = listed.or(held);
            were_listed.push(origin.is_some());
            let Some(origin) = origin else { continue };
            let event = NewEvent {
                at,
                kind: EventKind::Released,
                address: Some(address.normalised()),
                origin: Some(parsed(&origin)?),
                bounce: None,
                complaint: None,
                note: None,
            };
            events::insert(&mut tx, &[event]).await?;
        }
        tx.commit().await?;
        Ok(were_listed)
    }
}

/// How many rows with all that led to them are read at once: the first of them has to wait for the last.
const ROWS: u32 = 500;

/// The rows behind an address. One query for all of them would keep the log of a store from being emptied for as long
/// as somebody looks at a page of them.
async fn rows(readers: &SqlitePool, behind: &str) -> Result<Vec<Listed>, sqlx::Error> {
    sqlx::query_as(listed!("WHERE address > ?1 ORDER BY address LIMIT ?2"))
        .bind(behind)
        .bind(ROWS)
        .fetch_all(readers)
        .await
}

/// How many entries come as one value.
const PAGE: u32 = 5_000;

/// The entries behind an address as one value, and the last of their addresses; `None` where there are none. A row of
/// its own for each would cost many times as much: sqlx copies each value, and hands each row from one thread to
/// another.
async fn page(readers: SqlitePool, behind: String) -> Result<(String, Option<String>), sqlx::Error> {
    sqlx::query_as(
        "SELECT json_group_array(json_array(address, origin, reason, since)), max(address)
         FROM (SELECT address, origin, reason, since FROM suppression WHERE address > ?1 ORDER BY address LIMIT ?2)",
    )
    .bind(behind)
    .bind(PAGE)
    .fetch_one(&readers)
    .await
}

fn decoded(entries: &str) -> Result<Vec<Entry>, sqlx::Error> {
    let entries: Vec<(String, Origin, Option<String>, i64)> =
        serde_json::from_str(entries).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let entry = |(address, origin, reason, since)| Entry { address, origin, reason, since };
    Ok(entries.into_iter().map(entry).collect())
}

fn entry(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        address: row.try_get("address")?,
        origin: parsed(row.try_get("origin")?)?,
        reason: row.try_get("reason")?,
        since: row.try_get("since")?,
    })
}
