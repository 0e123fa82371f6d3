//! What is stored of an address, as far as the list depends on it.

use std::collections::{HashMap, HashSet};

use sqlx::{FromRow, SqliteConnection};

use super::{
    super::json,
    bounces::{StoredBounce, stored_bounces},
};
use crate::{report::Address, store::ListedAs, suppression::Why};

/// A row of `complaint`.
#[derive(Debug, FromRow)]
pub(super) struct StoredComplaint {
    pub id: i64,
    pub message: i64,
    pub at: i64,
    pub address: String,
    pub trust: String,
    pub mailbox: String,
    pub recorded: i64,
}

/// A row of `event` that is about the list.
#[derive(Debug, FromRow)]
pub(super) struct StoredEvent {
    pub revision: i64,
    pub at: i64,
    pub kind: String,
    pub address: String,
    pub origin: Option<String>,
    pub bounce: Option<i64>,
    pub complaint: Option<i64>,
    pub recorded: Option<i64>,
    pub expires: Option<i64>,
    pub causes: Option<String>,
    pub actor: Option<String>,
}

impl StoredEvent {
    /// When it was written. Earlier versions noted nothing else than when it happened.
    pub fn recorded(&self) -> i64 {
        self.recorded.unwrap_or(self.at)
    }
}

/// A row of `suppression` or of `held`.
#[derive(Debug, FromRow)]
pub(super) struct StoredEntry {
    pub address: String,
    pub why: Option<String>,
    pub origin: String,
    pub reason: Option<String>,
    pub rule: Option<String>,
    pub policy: Option<String>,
    pub bounce: Option<i64>,
    pub complaint: Option<i64>,
    pub expires: Option<i64>,
    pub revision: Option<i64>,
}

impl StoredEntry {
    pub fn why(&self) -> Option<Why> {
        self.why.as_deref().and_then(|why| why.parse().ok())
    }

    pub fn listed(&self) -> Option<ListedAs> {
        Some(ListedAs {
            origin: self.origin.parse().ok()?,
            reason: self.reason.clone(),
            policy: self.policy.clone(),
            expires: self.expires,
        })
    }
}

/// The last sign of life.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastSign {
    pub at: i64,
    /// The message that showed it, and when that was recorded; `None` where somebody told it.
    pub message: Option<(i64, i64)>,
}

/// What is stored of an address.
#[derive(Debug, Default)]
pub(super) struct StoredAddress {
    pub bounces: Vec<StoredBounce>,
    pub complaints: Vec<StoredComplaint>,
    /// In the order of their revisions.
    pub events: Vec<StoredEvent>,
    pub alive: Option<LastSign>,
    pub entry: Option<StoredEntry>,
    pub held: Option<StoredEntry>,
}

/// What is stored of some addresses.
pub(super) struct StoredAddresses(HashMap<String, StoredAddress>);

impl StoredAddresses {
    pub async fn read(tx: &mut SqliteConnection, addresses: &[String]) -> Result<Self, sqlx::Error> {
        let mut all: HashMap<String, StoredAddress> = HashMap::new();
        let asked = json(&addresses)?;
        let rows: Vec<StoredBounce> = sqlx::query_as(stored_bounces!(
            "FROM json_each(?1) AS a JOIN bounce AS b ON b.address = a.value JOIN message AS m ON m.id = b.message"
        ))
        .bind(&asked)
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            let address = row.address.clone().unwrap_or_default();
            all.entry(address).or_default().bounces.push(row);
        }
        let rows: Vec<StoredComplaint> = sqlx::query_as(
            "SELECT c.id, c.message, c.at, c.address, c.trust, m.mailbox, m.recorded
             FROM json_each(?1) AS a JOIN complaint AS c ON c.address = a.value JOIN message AS m ON m.id = c.message",
        )
        .bind(&asked)
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            all.entry(row.address.clone()).or_default().complaints.push(row);
        }
        let listed: Vec<StoredEntry> = sqlx::query_as(
            "SELECT s.address, NULL AS why, s.origin, s.reason, s.rule, s.policy, s.bounce, s.complaint, s.expires, s.revision
             FROM json_each(?1) AS a JOIN suppression AS s ON s.address = a.value
             UNION ALL
             SELECT h.address, h.why, h.origin, h.reason, h.rule, h.policy, h.bounce, h.complaint, h.expires, h.revision
             FROM json_each(?1) AS a JOIN held AS h ON h.address = a.value",
        )
        .bind(&asked)
        .fetch_all(&mut *tx)
        .await?;
        for entry in listed {
            let of = all.entry(entry.address.clone()).or_default();
            let place = if entry.why.is_some() { &mut of.held } else { &mut of.entry };
            *place = Some(entry);
        }
        let alive: Vec<(String, i64, Option<i64>, Option<i64>)> = sqlx::query_as(
            "SELECT l.address, l.at, m.id, m.recorded
             FROM json_each(?1) AS a JOIN alive AS l ON l.address = a.value LEFT JOIN message AS m ON m.id = l.message",
        )
        .bind(&asked)
        .fetch_all(&mut *tx)
        .await?;
        for (address, at, message, recorded) in alive {
            all.entry(address).or_default().alive = Some(LastSign { at, message: message.zip(recorded) });
        }
        for event in events_of(tx, addresses).await? {
            all.entry(event.address.clone()).or_default().events.push(event);
        }
        Ok(Self(all))
    }

    /// What is stored of an address.
    pub fn take(&mut self, address: &Address) -> StoredAddress {
        self.0.remove(address.normalised()).unwrap_or_default()
    }

    /// What persons said of its whole domain.
    pub fn of_domain(&self, address: &Address) -> &[StoredEvent] {
        self.0.get(&format!("*@{}", address.domain())).map_or(&[], |stored| &stored.events)
    }
}

/// What happened to the list with these addresses: by the index, and along the chain of those that made an entry.
async fn events_of(tx: &mut SqliteConnection, addresses: &[String]) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let mut asked: HashSet<&str> = addresses.iter().map(String::as_str).collect();
    let domains: Vec<String> =
        addresses.iter().filter_map(|address| Some(format!("*@{}", address.rsplit_once('@')?.1))).collect();
    asked.extend(domains.iter().map(String::as_str));
    sqlx::query_as(
        "WITH RECURSIVE head (revision) AS (
             SELECT e.revision FROM json_each(?1) AS a JOIN event AS e ON e.address = a.value
             WHERE e.kind <> 'suppressed'
             UNION
             SELECT s.revision FROM json_each(?1) AS a JOIN suppression AS s ON s.address = a.value
             UNION
             SELECT h.revision FROM json_each(?1) AS a JOIN held AS h ON h.address = a.value
         ), chain (revision) AS (
             SELECT revision FROM head WHERE revision IS NOT NULL
             UNION
             SELECT e.before FROM chain JOIN event AS e ON e.revision = chain.revision WHERE e.before IS NOT NULL
         )
         SELECT e.revision, e.at, e.kind, e.address, e.origin, e.bounce, e.complaint, e.recorded, e.expires, e.causes, e.actor
         FROM chain JOIN event AS e ON e.revision = chain.revision WHERE e.address IS NOT NULL ORDER BY e.revision",
    )
    .bind(json(&asked)?)
    .fetch_all(tx)
    .await
}
