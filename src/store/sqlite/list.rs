//! The suppression list: who asks and who changes it by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{
    Stream, TryStreamExt,
    stream::{self, try_unfold},
};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool, query_builder::Separated};

use super::{ROWS_A_STATEMENT, SqliteStore, alive, brake, decoded, events, is_kept, json, last_change, parsed, review};
use crate::{
    policy::brake::Brake,
    report::Address,
    store::{
        By, Committed, Entry, EventKind, ListSelection, Listed, StoreError, TakenOff,
        list_changes::ListChanges,
        plan::{DAEMON, NewEntry, NewEvent},
    },
    suppression::Origin,
};

/// The columns of [`Listed`], once for both queries.
macro_rules! listed {
    ($rest:expr) => {
        concat!(
            "SELECT address, domain, origin, reason, since, at, expires, policy, note, rule, status, reply, diagnostic, field, line, words, \
             lowered_from, lowered_line, lowered_words, forwarded_to, forwarded_class, forwarded_reason, \
             forwarded_fault, bounced, mailbox, place, message_id, bounce, message \
             FROM suppression_list ",
            $rest
        )
    };
}

/// A page of the list, of a domain or of all.
macro_rules! selected {
    ($domain:literal) => {
        listed!(concat!(
            "WHERE address > ?1 AND ",
            $domain,
            " AND (?4 IS NULL OR origin = ?4) AND (?5 IS NULL OR reason = ?5) AND (?6 IS NULL OR at >= ?6)
             AND (?7 IS NULL OR expires <= strftime('%Y-%m-%dT%H:%M:%SZ', ?7, 'unixepoch')) ORDER BY address LIMIT ?2"
        ))
    };
}

impl SqliteStore {
    pub(in crate::store) fn suppressions(
        &self,
        selection: &ListSelection,
    ) -> impl Stream<Item = Result<Listed, StoreError>> + Send + Unpin + use<'_> {
        let first = (selection.after.clone().unwrap_or_default(), selection.limit.unwrap_or(u32::MAX));
        let selection = Arc::new(selection.clone());
        let pages = try_unfold(Some(first), move |from| {
            let selection = Arc::clone(&selection);
            async move {
                let Some((behind, left)) = from else { return Ok(None) };
                let rows = rows(&self.readers, &selection, &behind, left.min(ROWS)).await;
                let rows = rows.map_err(|error| self.error(error))?;
                let left = left.saturating_sub(u32::try_from(rows.len()).unwrap_or(left));
                let next = rows.last().filter(|_| left > 0).map(|last| (last.address.clone(), left));
                Ok(Some((stream::iter(rows.into_iter().map(Ok)), next)))
            }
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
            let came = page_read.await.unwrap_or_else(|error| Err(sqlx::Error::Io(error.into())));
            let (entries, last) = came.map_err(|error| self.error(error))?;
            // While this page is used, the next one is read.
            let next = last.map(|last| tokio::spawn(page(self.readers.clone(), last)));
            let entries = read(&entries).map_err(|error| self.error(error))?;
            Ok(Some((entries, next)))
        }))
    }

    pub(in crate::store) async fn has_more_entries_than(&self, most: u32) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM suppression LIMIT 1 OFFSET ?1)")
            .bind(most)
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn entries_of(&self, addresses: &BTreeSet<String>) -> Result<Vec<Entry>, StoreError> {
        self.read_entries(addresses).await.map_err(|error| self.error(error))
    }

    async fn read_entries(&self, addresses: &BTreeSet<String>) -> Result<Vec<Entry>, sqlx::Error> {
        let entries: String = sqlx::query_scalar(
            "SELECT json_group_array(json_array(s.address, s.origin, s.reason, s.since))
             FROM json_each(?1) AS a JOIN suppression AS s ON s.address = a.value",
        )
        .bind(json(addresses)?)
        .fetch_one(&self.readers)
        .await?;
        read(&entries)
    }

    pub(in crate::store) async fn suppress(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<bool>, StoreError> {
        let mut tx = self.begin().await?;
        self.refuse_forgotten(&mut tx, addresses).await?;
        if let Some(refused) = allowed_of(&mut tx, addresses).await.map_err(|error| self.error(error))? {
            return Err(StoreError::Refused(refused));
        }
        let done = async {
            let before = before(&mut tx, addresses).await?;
            put(&mut tx, addresses, &before, by).await?;
            tx.commit().await?;
            Ok(addresses.iter().map(|address| before[address.normalised()].listed.is_none()).collect())
        };
        done.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn release(
        &self,
        addresses: &[Address],
        by: &By<'_>,
    ) -> Result<Vec<TakenOff>, StoreError> {
        let mut tx = self.begin().await?;
        let done = async {
            let before = before(&mut tx, addresses).await?;
            take_off(&mut tx, &before, EventKind::Released, by).await?;
            tx.commit().await?;
            let taken_off = |address: &Address| {
                let Before { listed, held, .. } = before[address.normalised()];
                TakenOff { entry: listed.is_some(), waiting: held.is_some() }
            };
            Ok(addresses.iter().map(taken_off).collect())
        };
        done.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn expire(&self, now: i64) -> Result<u64, StoreError> {
        let mut ended = 0;
        // Asked once a minute, and mostly there is none.
        let is_due = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM suppression WHERE expires <= ?1)").bind(now);
        if !is_due.fetch_one(&self.readers).await.map_err(|error| self.error(error))? {
            return Ok(0);
        }
        loop {
            let mut tx = self.begin().await?;
            let some = async {
                let some = expire_some(&mut tx, now).await?;
                tx.commit().await?;
                Ok(some)
            };
            let some = some.await.map_err(|error| self.error(error))?;
            if some == 0 {
                return Ok(ended);
            }
            ended += some;
        }
    }
}

/// What the list says of an address before a person changes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    /// How it came onto the list.
    pub listed: Option<Origin>,
    /// How it would come onto the list, or came there, where something waits for a person.
    pub held: Option<Origin>,
    /// The last change that was about it.
    pub last_change: Option<i64>,
}

impl Before {
    /// Whoever waits to come onto the list is meant as well.
    pub fn origin(self) -> Option<Origin> {
        self.listed.or(self.held)
    }
}

/// What the list says of these addresses.
pub(super) async fn before<'a>(
    tx: &mut SqliteConnection,
    addresses: &'a [Address],
) -> Result<BTreeMap<&'a str, Before>, sqlx::Error> {
    let mut all: BTreeMap<&str, Before> =
        addresses.iter().map(|address| (address.normalised(), Before::default())).collect();
    let rows = sqlx::query(concat!(
        "SELECT a.value AS address, s.origin AS listed, h.origin AS held, ",
        last_change!("a.value", "s.revision", "h.revision"),
        " AS last_change
         FROM json_each(?1) AS a
         LEFT JOIN suppression AS s ON s.address = a.value LEFT JOIN held AS h ON h.address = a.value",
    ))
    .bind(json(&all.keys().collect::<Vec<_>>())?)
    .fetch_all(tx)
    .await?;
    for row in &rows {
        let origin = |column| row.try_get::<Option<&str>, _>(column)?.map(parsed).transpose();
        if let Some(before) = all.get_mut(row.try_get::<&str, _>("address")?) {
            let last_change = row.try_get("last_change")?;
            *before = Before { listed: origin("listed")?, held: origin("held")?, last_change };
        }
    }
    Ok(all)
}

/// Puts addresses onto the list because a person says so; what waits about them waits no longer.
async fn put(
    tx: &mut SqliteConnection,
    addresses: &[Address],
    before: &BTreeMap<&str, Before>,
    by: &By<'_>,
) -> Result<(), sqlx::Error> {
    let mut revision = events::last_revision(&mut *tx).await?;
    let (mut rows, mut told) = (Vec::new(), Vec::new());
    for address in addresses {
        revision += 1;
        rows.push((address.normalised(), address.domain(), revision));
        told.push(NewEvent {
            address: Some(address.normalised()),
            origin: Some(Origin::Manual),
            before: before[address.normalised()].last_change,
            actor: Some(by.actor),
            note: by.note,
            ..NewEvent::new(revision, EventKind::Suppressed, by.at)
        });
    }
    sqlx::query(
        "INSERT INTO suppression (address, domain, origin, since, note, revision)
         SELECT value ->> 0, value ->> 1, 'manual', ?2, ?3, value ->> 2 FROM json_each(?1) WHERE true
         ON CONFLICT (address) DO UPDATE SET origin = excluded.origin, note = coalesce(excluded.note, note),
         expires = NULL, revision = excluded.revision",
    )
    .bind(json(&rows)?)
    .bind(by.at)
    .bind(by.note)
    .execute(&mut *tx)
    .await?;
    review::let_go(tx, &before.keys().copied().collect::<Vec<_>>()).await?;
    events::insert(tx, &told).await
}

/// Takes addresses off the list, and what waits about them.
pub(super) async fn take_off(
    tx: &mut SqliteConnection,
    before: &BTreeMap<&str, Before>,
    kind: EventKind,
    by: &By<'_>,
) -> Result<(), sqlx::Error> {
    let addresses: Vec<&str> = before.keys().copied().collect();
    delete_entries(tx, &addresses).await?;
    review::let_go(tx, &addresses).await?;
    let first = events::last_revision(&mut *tx).await? + 1;
    let there = before.iter().filter_map(|(address, before)| Some((*address, before.origin()?, before.last_change)));
    let told: Vec<_> = (first..)
        .zip(there)
        .map(|(revision, (address, origin, before))| NewEvent {
            address: Some(address),
            origin: Some(origin),
            before,
            actor: Some(by.actor),
            note: by.note,
            ..NewEvent::new(revision, kind, by.at)
        })
        .collect();
    events::insert(tx, &told).await
}

async fn delete_entries(tx: &mut SqliteConnection, addresses: &[&str]) -> Result<(), sqlx::Error> {
    if addresses.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM suppression WHERE address IN (SELECT value FROM json_each(?1))")
        .bind(json(&addresses)?)
        .execute(tx)
        .await
        .map(drop)
}

/// Which of these may not be suppressed because a person has said so, in words.
async fn allowed_of(tx: &mut SqliteConnection, addresses: &[Address]) -> Result<Option<String>, sqlx::Error> {
    let pairs: Vec<_> = addresses.iter().map(|address| (address.normalised(), address.domain())).collect();
    let found: Option<(String, String)> = sqlx::query_as(
        "SELECT a.value ->> 0, w.address FROM json_each(?1) AS a
         JOIN allowed AS w ON w.address IN (a.value ->> 0, '*@' || (a.value ->> 1))
         UNION ALL
         SELECT a.value ->> 0, w.address FROM json_each(?1) AS a
         JOIN allowed AS w ON w.domain = a.value ->> 1 WHERE a.value ->> 0 = '*@' || (a.value ->> 1)
         LIMIT 1",
    )
    .bind(json(&pairs)?)
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|(address, allowed)| {
        format!(
            "{address} can't be suppressed: {allowed} is on the allow list; take it off that with `bounced \
             suppressions allow --remove '{allowed}'` first"
        )
    }))
}

/// How many entries end in one transaction.
const EXPIRED_AT_ONCE: u32 = 500;

async fn expire_some(tx: &mut SqliteConnection, now: i64) -> Result<u64, sqlx::Error> {
    let rows: Vec<(String, String, i64, Option<i64>)> = sqlx::query_as(concat!(
        "SELECT s.address, s.origin, s.expires, ",
        last_change!("s.address", "s.revision"),
        " FROM suppression AS s WHERE s.expires <= ?1 ORDER BY s.expires LIMIT ?2",
    ))
    .bind(now)
    .bind(EXPIRED_AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let addresses: Vec<&str> = rows.iter().map(|(address, ..)| address.as_str()).collect();
    delete_entries(tx, &addresses).await?;
    sqlx::query("DELETE FROM held WHERE why = 'alive' AND address IN (SELECT value FROM json_each(?1))")
        .bind(json(&addresses)?)
        .execute(&mut *tx)
        .await?;
    let first = events::last_revision(&mut *tx).await? + 1;
    let mut told = Vec::new();
    for (revision, (address, origin, expires, before)) in (first..).zip(&rows) {
        told.push(NewEvent {
            address: Some(address),
            origin: Some(parsed(origin)?),
            before: *before,
            actor: Some(DAEMON),
            ..NewEvent::new(revision, EventKind::Expired, *expires)
        });
    }
    events::insert(tx, &told).await?;
    Ok(rows.len() as u64)
}

/// Makes of the list, of what waits and of the signs of life what a batch makes of them.
pub(super) async fn change(tx: &mut SqliteConnection, changes: &ListChanges<'_>) -> Result<(), sqlx::Error> {
    if !changes.confirmed.is_empty() {
        brake::confirm(tx, &json(&changes.confirmed)?).await?;
    }
    delete_entries(tx, &changes.ended).await?;
    insert_entries(tx, &changes.entries).await?;
    review::let_go(tx, &changes.let_go).await?;
    review::hold(tx, &changes.held).await?;
    alive::note(tx, &changes.signs).await
}

/// Writes what a batch makes of the list, the events that tell of it, and what the brake takes back; says what changed.
pub(super) async fn write(
    tx: &mut SqliteConnection,
    changes: ListChanges<'_>,
    told: &[NewEvent<'_>],
    brake: &Brake,
) -> Result<Committed, sqlx::Error> {
    change(tx, &changes).await?;
    events::insert(tx, told).await?;
    let taken_back = brake::take_back(tx, &changes.taken_back, brake).await?;
    brake::count(tx, &changes.dead).await?;
    let braked = brake::told(&changes.held, &taken_back);
    let taken_back = taken_back.values().map(Vec::len).sum::<usize>();
    Ok(Committed {
        held: changes.held.len() + taken_back,
        ended: changes.ended.len() + taken_back,
        braked,
        suppressed: changes.entries.into_iter().map(|new| new.suppression).collect(),
        ..Committed::default()
    })
}

/// The columns that an entry has on the list as well as when it waits: address, domain, origin, reason, rule, policy,
/// diagnostic, bounce, complaint, remote, since, expires, note and revision.
pub(super) fn bind_entry<'a>(row: &mut Separated<'_, Sqlite, &'static str>, new: &'a NewEntry<'a>) {
    let suppression = &new.suppression;
    row.push_bind(new.address)
        .push_bind(new.domain)
        .push_bind(suppression.origin.as_str())
        .push_bind(suppression.reason.map(|reason| reason.as_str()))
        .push_bind(suppression.rule.as_deref())
        .push_bind(suppression.policy.as_deref())
        .push_bind(suppression.diagnostic.as_deref())
        .push_bind(new.bounce)
        .push_bind(new.complaint)
        .push_bind(new.remote.as_deref())
        .push_bind(suppression.since)
        .push_bind(suppression.expires)
        .push_bind(suppression.note.as_deref())
        .push_bind(new.revision);
}

async fn insert_entries(tx: &mut SqliteConnection, entries: &[NewEntry<'_>]) -> Result<(), sqlx::Error> {
    for chunk in entries.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT INTO suppression (address, domain, origin, reason, rule, policy, diagnostic, bounce, complaint,
                                      remote, since, expires, note, revision) ",
        )
        .push_values(chunk, |mut row, new| bind_entry(&mut row, new))
        .push(
            " ON CONFLICT (address) DO UPDATE SET
              origin = excluded.origin, reason = excluded.reason, rule = excluded.rule, policy = excluded.policy,
              diagnostic = excluded.diagnostic, bounce = excluded.bounce, complaint = excluded.complaint,
              remote = coalesce(excluded.remote, remote), expires = excluded.expires, revision = excluded.revision",
        )
        .build()
        .persistent(is_kept(chunk.len()))
        .execute(&mut *tx)
        .await?;
    }
    let of_earlier = of_earlier_bounces(entries.iter());
    if of_earlier.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE suppression SET rule = b.rule, diagnostic = b.diagnostic FROM bounce AS b
         WHERE b.id = suppression.bounce AND suppression.address IN (SELECT value FROM json_each(?1))",
    )
    .bind(json(&of_earlier)?)
    .execute(tx)
    .await
    .map(drop)
}

/// Whose entry is decided by a bounce that was recorded before, of which the plan does not know what it said.
pub(super) fn of_earlier_bounces<'a>(entries: impl Iterator<Item = &'a NewEntry<'a>>) -> Vec<&'a str> {
    let is_of_earlier = |new: &&NewEntry<'_>| new.bounce.is_some() && new.suppression.rule.is_none();
    entries.filter(is_of_earlier).map(|new| new.address).collect()
}

/// How many rows with all that led to them are read at once: the first of them has to wait for the last.
const ROWS: u32 = 500;

/// The rows behind an address. One query for all of them would keep the log of a store from being emptied for as long
/// as somebody looks at a page of them.
async fn rows(
    readers: &SqlitePool,
    selection: &ListSelection,
    behind: &str,
    most: u32,
) -> Result<Vec<Listed>, sqlx::Error> {
    // One that asks for a domain only perhaps would go along the whole list for any.
    let query = match &selection.domain {
        None => sqlx::query_as(selected!("?3 IS NULL")),
        Some(_) => sqlx::query_as(selected!("domain = ?3")),
    };
    query
        .bind(behind)
        .bind(most)
        .bind(&selection.domain)
        .bind(selection.origin.map(|origin| origin.as_str()))
        .bind(selection.reason.map(|reason| reason.as_str()))
        .bind(selection.since)
        .bind(selection.expiring)
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

fn read(entries: &str) -> Result<Vec<Entry>, sqlx::Error> {
    let entries: Vec<(String, Origin, Option<String>, i64)> = decoded(entries)?;
    let entry = |(address, origin, reason, since)| Entry { address, origin, reason, since };
    Ok(entries.into_iter().map(entry).collect())
}
