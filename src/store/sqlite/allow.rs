//! The table `allowed`: whom nothing but a person's word suppresses.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use super::{
    SqliteStore, events, json,
    list::{before, take_off},
};
use crate::{
    report::Address,
    store::{Allowed, By, EventKind, NewlyAllowed, StoreError, plan::NewEvent},
};

impl SqliteStore {
    pub(in crate::store) async fn allow(&self, addresses: &[Address], by: &By<'_>) -> Result<NewlyAllowed, StoreError> {
        let mut tx = self.begin().await?;
        self.refuse_forgotten(&mut tx, addresses).await?;
        if let Some(refused) = covered(&mut tx, addresses).await.map_err(|error| self.error(error))? {
            return Err(StoreError::Refused(refused));
        }
        let done = async {
            let done = allow(&mut tx, addresses, by).await?;
            tx.commit().await?;
            Ok(done)
        };
        done.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn disallow(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<bool>, StoreError> {
        let mut tx = self.begin().await?;
        let done = async {
            let were = disallow(&mut tx, addresses, by).await?;
            tx.commit().await?;
            Ok(were)
        };
        done.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn allowing(&self, address: &Address) -> Result<Option<Allowed>, StoreError> {
        // Its own row comes before that of its domain.
        sqlx::query_as(
            "SELECT address, strftime('%Y-%m-%dT%H:%M:%SZ', since, 'unixepoch') AS since, actor, note
             FROM allowed WHERE address IN (?1, '*@' || ?2) ORDER BY address = ?1 DESC LIMIT 1",
        )
        .bind(address.normalised())
        .bind(address.domain())
        .fetch_optional(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn allowed(&self) -> Result<Vec<Allowed>, StoreError> {
        sqlx::query_as(
            "SELECT address, strftime('%Y-%m-%dT%H:%M:%SZ', since, 'unixepoch') AS since, actor, note
             FROM allowed ORDER BY address",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.error(error))
    }
}

/// Which of these addresses is suppressed with its whole domain, in words.
async fn covered(tx: &mut SqliteConnection, addresses: &[Address]) -> Result<Option<String>, sqlx::Error> {
    let pairs: Vec<_> = addresses.iter().map(|address| (address.normalised(), address.domain())).collect();
    let found: Option<(String, String)> = sqlx::query_as(
        "SELECT a.value ->> 0, s.address FROM json_each(?1) AS a
         JOIN suppression AS s ON s.address = '*@' || (a.value ->> 1) WHERE s.address <> a.value ->> 0 LIMIT 1",
    )
    .bind(json(&pairs)?)
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|(address, entry)| {
        format!(
            "{address} can't be allowed: all of its domain is suppressed; take that off the list with `bounced \
             suppressions remove '{entry}'` first"
        )
    }))
}

/// Whoever is on the list leaves it, and whoever waits to come there waits no longer. Says how many.
async fn allow(tx: &mut SqliteConnection, addresses: &[Address], by: &By<'_>) -> Result<NewlyAllowed, sqlx::Error> {
    let domains: Vec<&str> = addresses.iter().filter(|a| a.local_part() == "*").map(Address::domain).collect();
    let of_domains: Vec<String> = if domains.is_empty() {
        Vec::new()
    } else {
        sqlx::query_scalar(
            "SELECT address FROM suppression WHERE domain IN (SELECT value FROM json_each(?1))
             UNION SELECT address FROM held WHERE domain IN (SELECT value FROM json_each(?1))",
        )
        .bind(json(&domains)?)
        .fetch_all(&mut *tx)
        .await?
    };
    let mut meant: Vec<Address> = of_domains.iter().filter_map(|address| Address::parse(address)).collect();
    meant.extend(addresses.iter().cloned());
    let there = before(tx, &meant).await?;
    let listed: BTreeMap<_, _> = there
        .iter()
        .filter(|(_, before)| before.origin().is_some())
        .map(|(address, before)| (*address, *before))
        .collect();
    take_off(tx, &listed, EventKind::Released, by).await?;
    let rows: Vec<_> = addresses.iter().map(|address| (address.normalised(), address.domain())).collect();
    sqlx::query(
        "INSERT INTO allowed (address, domain, since, actor, note)
         SELECT value ->> 0, value ->> 1, ?2, ?3, ?4 FROM json_each(?1) WHERE true
         ON CONFLICT (address) DO UPDATE SET note = coalesce(excluded.note, note)",
    )
    .bind(json(&rows)?)
    .bind(by.at)
    .bind(by.actor)
    .bind(by.note)
    .execute(&mut *tx)
    .await?;
    tell(tx, addresses, EventKind::Allowed, by).await?;
    let entries = listed.values().filter(|before| before.listed.is_some()).count() as u64;
    Ok(NewlyAllowed { entries, waiting: listed.len() as u64 - entries })
}

async fn disallow(tx: &mut SqliteConnection, addresses: &[Address], by: &By<'_>) -> Result<Vec<bool>, sqlx::Error> {
    let names: Vec<&str> = addresses.iter().map(Address::normalised).collect();
    let gone: Vec<String> =
        sqlx::query_scalar("DELETE FROM allowed WHERE address IN (SELECT value FROM json_each(?1)) RETURNING address")
            .bind(json(&names)?)
            .fetch_all(&mut *tx)
            .await?;
    let were: Vec<bool> = names.iter().map(|name| gone.iter().any(|gone| gone == name)).collect();
    let told: Vec<Address> =
        addresses.iter().zip(&were).filter(|(_, was)| **was).map(|(address, _)| address.clone()).collect();
    tell(tx, &told, EventKind::Disallowed, by).await?;
    Ok(were)
}

async fn tell(
    tx: &mut SqliteConnection,
    addresses: &[Address],
    kind: EventKind,
    by: &By<'_>,
) -> Result<(), sqlx::Error> {
    let there = before(tx, addresses).await?;
    let first = events::last_revision(&mut *tx).await? + 1;
    let told: Vec<_> = (first..)
        .zip(&there)
        .map(|(revision, (address, before))| NewEvent {
            address: Some(address),
            before: before.last_change,
            actor: Some(by.actor),
            note: by.note,
            ..NewEvent::new(revision, kind, by.at)
        })
        .collect();
    events::insert(tx, &told).await
}
