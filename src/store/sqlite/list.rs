//! The suppression list: who asks and who changes it by hand.

use std::collections::HashSet;

use futures::{Stream, StreamExt};
use sqlx::{Row, sqlite::SqliteRow};

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
            "SELECT address, origin, reason, since, note, rule, status, reply, diagnostic, field, line, words, \
             lowered_from, lowered_line, lowered_words, bounced, mailbox, place, message_id, bounce, message \
             FROM suppression_list ",
            $rest
        )
    };
}

impl SqliteStore {
    pub(in crate::store) fn suppressions(&self) -> impl Stream<Item = Result<Listed, StoreError>> + Send + Unpin + '_ {
        sqlx::query_as(listed!("ORDER BY address"))
            .fetch(&self.readers)
            .map(|row| row.map_err(|error| self.error(error)))
    }

    pub(in crate::store) async fn suppression(&self, address: &Address) -> Result<Option<Listed>, StoreError> {
        sqlx::query_as(listed!("WHERE address = ?1"))
            .bind(address.normalised())
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.error(error))
    }

    pub(in crate::store) fn entries(&self) -> impl Stream<Item = Result<Entry, StoreError>> + Send + Unpin + '_ {
        sqlx::query("SELECT address, origin, reason, since FROM suppression")
            .fetch(&self.readers)
            .map(|row| row.and_then(|row| entry(&row)).map_err(|error| self.error(error)))
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
        address: &Address,
        note: Option<&str>,
        at: i64,
    ) -> Result<bool, StoreError> {
        self.put(address, note, at).await.map_err(|error| self.error(error))
    }

    async fn put(&self, address: &Address, note: Option<&str>, at: i64) -> Result<bool, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
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
            note,
        };
        events::insert(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(!listed)
    }

    pub(in crate::store) async fn release(&self, address: &Address, at: i64) -> Result<bool, StoreError> {
        self.take_off(address, at).await.map_err(|error| self.error(error))
    }

    async fn take_off(&self, address: &Address, at: i64) -> Result<bool, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let origin: Option<String> = sqlx::query_scalar("DELETE FROM suppression WHERE address = ?1 RETURNING origin")
            .bind(address.normalised())
            .fetch_optional(&mut *tx)
            .await?;
        // Whoever waits to come onto the list is meant as well.
        let held: Option<String> = sqlx::query_scalar("DELETE FROM held WHERE address = ?1 RETURNING origin")
            .bind(address.normalised())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(origin) = origin.or(held) else { return Ok(false) };
        let event = NewEvent {
            at,
            kind: EventKind::Released,
            address: Some(address.normalised()),
            origin: Some(parsed(&origin)?),
            bounce: None,
            note: None,
        };
        events::insert(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn entry(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        address: row.try_get("address")?,
        origin: parsed(row.try_get("origin")?)?,
        reason: row.try_get("reason")?,
        since: row.try_get("since")?,
    })
}
