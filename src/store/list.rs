//! The suppression list as people see and change it.

use futures::{Stream, StreamExt};
use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};
use crate::{report::Address, suppression::Origin};

/// One row of the view `suppression_list`: an address and everything that led to it. Times are ISO 8601 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Listed {
    /// The normalised address.
    pub address: String,
    /// `hard`, `soft` or `manual`.
    pub origin: String,
    /// The reason of the bounce that decided.
    pub reason: Option<String>,
    /// Since when.
    pub since: String,
    /// What a person noted.
    pub note: Option<String>,
    /// The rule of the bounce that decided.
    pub rule: Option<String>,
    /// The enhanced status code of that bounce.
    pub status: Option<String>,
    /// The reply code of that bounce.
    pub reply: Option<i64>,
    /// What the refusing server said.
    pub diagnostic: Option<String>,
    /// The field or part of the mail that the rule looked at.
    pub field: Option<String>,
    /// The line of the mail that led to the rule, counted from 1.
    pub line: Option<i64>,
    /// What that line says.
    pub words: Option<String>,
    /// When the bounce was received.
    pub bounced: Option<String>,
    /// The mailbox that the bounce was read from.
    pub mailbox: Option<String>,
    /// Where it lay there, in the form of the source that read it.
    pub place: Option<String>,
    /// The Message-ID of the bounce.
    pub message_id: Option<String>,
    /// The row in `bounce`.
    pub bounce: Option<i64>,
    /// The row in `message`.
    pub message: Option<i64>,
}

/// The columns of [`Listed`], once for both queries.
macro_rules! listed {
    ($rest:literal) => {
        concat!(
            "SELECT address, origin, reason, since, note, rule, status, reply, diagnostic, field, line, words, bounced, \
             mailbox, place, message_id, bounce, message FROM suppression_list ",
            $rest
        )
    };
}

impl Store {
    /// The list in the order of its addresses, row by row, so that a long one needs no memory.
    pub fn suppressions(&self) -> impl Stream<Item = Result<Listed, StoreError>> + Send + Unpin + '_ {
        sqlx::query_as(listed!("ORDER BY address"))
            .fetch(&self.readers)
            .map(|row| row.map_err(|error| self.error(error)))
    }

    /// The entry of one address, if it is on the list.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn suppression(&self, address: &Address) -> Result<Option<Listed>, StoreError> {
        sqlx::query_as(listed!("WHERE address = ?1"))
            .bind(address.normalised())
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.error(error))
    }

    /// Puts an address on the list because a person says so; `at` is in seconds since 1970-01-01 UTC. An entry that
    /// a bounce made becomes manual and keeps its evidence. Says whether the address is new to the list.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn suppress(&self, address: &Address, note: Option<&str>, at: i64) -> Result<bool, StoreError> {
        self.put(address, note, at).await.map_err(|error| self.error(error))
    }

    async fn put(&self, address: &Address, note: Option<&str>, at: i64) -> Result<bool, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let listed: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM suppression WHERE address = ?1)")
            .bind(address.normalised())
            .fetch_one(&mut *tx)
            .await?;
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
        sqlx::query("INSERT INTO suppression_log (at, address, change, origin, note) VALUES (?1, ?2, 'added', ?3, ?4)")
            .bind(at)
            .bind(address.normalised())
            .bind(Origin::Manual.as_str())
            .bind(note)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(!listed)
    }

    /// Takes an address off the list because a person says so; `at` is in seconds since 1970-01-01 UTC. Bounces
    /// received before then do not put it back. Says whether it was on the list.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn release(&self, address: &Address, at: i64) -> Result<bool, StoreError> {
        self.take_off(address, at).await.map_err(|error| self.error(error))
    }

    async fn take_off(&self, address: &Address, at: i64) -> Result<bool, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let logged = sqlx::query(
            "INSERT INTO suppression_log (at, address, change, origin)
             SELECT ?2, address, 'removed', origin FROM suppression WHERE address = ?1",
        )
        .bind(address.normalised())
        .bind(at)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM suppression WHERE address = ?1").bind(address.normalised()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(logged.rows_affected() > 0)
    }
}
