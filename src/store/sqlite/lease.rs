//! The tables `lease` and `standby`: which daemon reads a mailbox, and which ones wait. The tokens of the leases that this
//! process has stay here, so that nothing is written for a mailbox that another one has taken meanwhile.

use std::sync::PoisonError;

use sqlx::{Connection, Executor, SqliteConnection};

use super::{SqliteStore, json};
use crate::{
    clock::Moment,
    policy::DAY,
    store::{Holder, Lease, MailboxDaemons, ShownDaemon, StoreError},
};

/// The lease that this process has of a mailbox, or had.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    owner: String,
    token: i64,
}

impl SqliteStore {
    pub(in crate::store) async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        type Row = (String, i64, Option<String>, String, bool, i64);
        let rows: Vec<Row> =
            sqlx::query_as("SELECT mailbox, token, owner, daemon, holds_lock, renewals FROM lease ORDER BY mailbox")
                .fetch_all(&self.readers)
                .await
                .map_err(|error| self.error(error))?;
        let lease = |(mailbox, token, owner, daemon, holds_lock, renewals)| Lease {
            mailbox,
            token,
            owner,
            daemon,
            holds_lock,
            renewals,
        };
        Ok(rows.into_iter().map(lease).collect())
    }

    pub(in crate::store) async fn take_lease(
        &self,
        mailbox: &str,
        seen: Option<&Lease>,
        by: &Holder,
        holds_lock: bool,
        at: Moment,
    ) -> Result<bool, StoreError> {
        // Of several that saw the same one takes it.
        let taken: Option<i64> = sqlx::query_scalar(
            "INSERT INTO lease (mailbox, token, owner, daemon, holds_lock, renewals, renewed_at, renewed_uptime)
             VALUES (?1, 1, ?2, ?3, ?4, 0, ?5, ?6)
             ON CONFLICT (mailbox) DO UPDATE SET token = token + 1, owner = excluded.owner, daemon = excluded.daemon,
                 holds_lock = excluded.holds_lock, renewals = 0, renewed_at = excluded.renewed_at,
                 renewed_uptime = excluded.renewed_uptime
             WHERE token = ?7 AND renewals = ?8 AND owner IS ?9
             RETURNING token",
        )
        .bind(mailbox)
        .bind(&by.id)
        .bind(&by.name)
        .bind(holds_lock)
        .bind(at.wall)
        .bind(at.uptime)
        .bind(seen.map(|lease| lease.token))
        .bind(seen.map(|lease| lease.renewals))
        .bind(seen.and_then(|lease| lease.owner.as_deref()))
        .fetch_optional(&self.writer)
        .await
        .map_err(|error| self.error(error))?;
        let Some(token) = taken else { return Ok(false) };
        let fence = Fence { owner: by.id.clone(), token };
        self.fences.lock().unwrap_or_else(PoisonError::into_inner).insert(mailbox.to_owned(), fence);
        Ok(true)
    }

    pub(in crate::store) async fn renew_leases(
        &self,
        by: &Holder,
        holds_lock: bool,
        waits_for: &[String],
        at: Moment,
    ) -> Result<Vec<String>, StoreError> {
        self.without_sync(async |writer| {
            renew(writer, by, holds_lock, waits_for, at).await.map_err(|error| self.error(error))
        })
        .await
    }

    pub(in crate::store) async fn release_leases(&self, by: &Holder) -> Result<(), StoreError> {
        let released = async {
            let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            // Whoever gives a mailbox back did not die over what it was reading. What an earlier one died over is
            // remembered.
            for statement in [
                "DELETE FROM attempt WHERE deaths = 0 AND mailbox IN (SELECT mailbox FROM lease WHERE owner = ?1)",
                "UPDATE attempt SET under_way = 0
                 WHERE under_way = 1 AND mailbox IN (SELECT mailbox FROM lease WHERE owner = ?1)",
                "UPDATE lease SET owner = NULL WHERE owner = ?1",
                "DELETE FROM standby WHERE owner = ?1",
            ] {
                sqlx::query(statement).bind(&by.id).execute(&mut *tx).await?;
            }
            tx.commit().await
        };
        released.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn daemons(&self) -> Result<Vec<MailboxDaemons>, StoreError> {
        let rows: Vec<(String, bool, String, i64, i64)> = sqlx::query_as(
            "SELECT mailbox, 1 AS reads, daemon, renewed_at, renewed_uptime, 0 AS since FROM lease WHERE owner IS NOT NULL
             UNION ALL SELECT mailbox, 0, daemon, seen_at, seen_uptime, since FROM standby
             ORDER BY mailbox, reads DESC, since, daemon",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))?;
        let mut found: Vec<MailboxDaemons> = Vec::new();
        for (mailbox, reads, daemon, seen_at, seen_uptime) in rows {
            if found.last().is_none_or(|last| last.mailbox != mailbox) {
                found.push(MailboxDaemons { mailbox, reader: None, standby: Vec::new() });
            }
            let shown = ShownDaemon { daemon, seen_at, seen_uptime };
            if let Some(last) = found.last_mut() {
                if reads { last.reader = Some(shown) } else { last.standby.push(shown) }
            }
        }
        Ok(found)
    }

    /// For the transaction of whatever is written for a mailbox: its lock holds until the commit, so nobody takes the
    /// lease between the two. Mailboxes of which this process never had a lease are anybody's.
    pub(super) async fn check_lease(&self, tx: &mut SqliteConnection, mailbox: &str) -> Result<(), StoreError> {
        let fence = self.fences.lock().unwrap_or_else(PoisonError::into_inner).get(mailbox).cloned();
        let Some(Fence { owner, token }) = fence else { return Ok(()) };
        let mine = "SELECT EXISTS (SELECT 1 FROM lease WHERE mailbox = ?1 AND token = ?2 AND owner = ?3)";
        let is_mine = sqlx::query_scalar(mine).bind(mailbox).bind(token).bind(&owner).fetch_one(&mut *tx).await;
        if is_mine.map_err(|error| self.error(error))? {
            return Ok(());
        }
        Err(StoreError::overtaken(mailbox))
    }

    /// What has to outlive the process and not the power waits for no disk.
    pub(super) async fn without_sync<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.acquire().await.map_err(|error| self.error(error))?;
        writer.execute("PRAGMA synchronous = NORMAL").await.map_err(|error| self.error(error))?;
        let done = work(&mut writer).await;
        if let Err(error) = writer.execute("PRAGMA synchronous = FULL").await {
            // The commits that follow have to outlive the power: not on this connection, then.
            writer.detach().close().await.map_err(|error| self.error(error))?;
            return Err(self.error(error));
        }
        done
    }
}

/// Says of which mailboxes the lease is still there.
async fn renew(
    writer: &mut SqliteConnection,
    by: &Holder,
    holds_lock: bool,
    waits_for: &[String],
    at: Moment,
) -> Result<Vec<String>, sqlx::Error> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    let held = sqlx::query_scalar(
        "UPDATE lease SET renewals = renewals + 1, holds_lock = ?2, renewed_at = ?3, renewed_uptime = ?4 WHERE owner = ?1
         RETURNING mailbox",
    )
    .bind(&by.id)
    .bind(holds_lock)
    .bind(at.wall)
    .bind(at.uptime)
    .fetch_all(&mut *tx)
    .await?;
    let waits_for = json(&waits_for)?;
    // Others that were killed while they waited take nothing back.
    sqlx::query(
        "DELETE FROM standby
         WHERE seen_at < ?3 OR (owner = ?1 AND mailbox NOT IN (SELECT value FROM json_each(?2)))",
    )
    .bind(&by.id)
    .bind(&waits_for)
    .bind(at.wall - DAY)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO standby (mailbox, owner, daemon, since, seen_at, seen_uptime)
         SELECT value, ?2, ?3, ?4, ?4, ?5 FROM json_each(?1) WHERE true
         ON CONFLICT (mailbox, owner) DO UPDATE SET seen_at = excluded.seen_at, seen_uptime = excluded.seen_uptime",
    )
    .bind(&waits_for)
    .bind(&by.id)
    .bind(&by.name)
    .bind(at.wall)
    .bind(at.uptime)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(held)
}
