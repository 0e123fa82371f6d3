//! Stored bounces judged anew, address by address. What an address went through is read and judged without a lock, so that
//! nobody waits for that, and written in one transaction, so that whoever is stopped goes on with the next address.
//!
//! Who comes onto the list is put off until all are counted: he goes by the rules of a commit, by which too many of one
//! message, or of one remote within an hour, wait for a person.

mod bounces;
mod difference;
mod steps;
mod stored;

use std::collections::{VecDeque, hash_map::Entry};

use bounces::Rejudged;
pub(super) use bounces::{StoredBounce, stored_bounces};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use steps::{steps, told};
use stored::StoredAddresses;

use super::{SqliteStore, brake, events, json, list, tables};
use crate::{
    policy::brake::hour_of,
    report::Address,
    store::{
        Anew, Differences, EventKind, ListDifference, Progress, StoreError,
        brake::{Braked, Verdicts},
        list_changes::{ListChanges, Replayed, replay},
        plan::{NewEntry, NewEvent, NewHeld},
        reclassify::{Newcomers, Room, Stage},
    },
    suppression::{Origin, Why},
};

/// How many addresses are judged in one transaction at most.
const ADDRESSES_AT_ONCE: u32 = 300;

/// How many bounces, where none of the addresses has more.
const BOUNCES_AT_ONCE: usize = 2_000;

impl SqliteStore {
    pub(in crate::store) async fn reclassify(
        &self,
        anew: &Anew<'_>,
        progress: &mut Progress,
    ) -> Result<Option<Differences>, StoreError> {
        self.judge_some(anew, &mut progress.0).await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn bounces(&self, since: Option<i64>) -> Result<u64, StoreError> {
        // Of whole days, and of those who failed: it is no more than how long one has to wait.
        let count: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(bounces), 0) FROM total_by_day WHERE day > ?1 - 86400")
                .bind(since.unwrap_or(0))
                .fetch_one(&self.readers)
                .await
                .map_err(|error| self.error(error))?;
        Ok(count.unsigned_abs())
    }

    async fn judge_some(&self, anew: &Anew<'_>, stage: &mut Stage) -> Result<Option<Differences>, sqlx::Error> {
        match stage {
            Stage::Addresses { behind, newcomers } => {
                let addresses = self.addresses_behind(anew, behind).await?;
                let Some(last) = addresses.last().cloned() else {
                    let newcomers = std::mem::take(newcomers);
                    let (next, differences) = self.brake(anew, newcomers).await?;
                    *stage = next;
                    return Ok(Some(differences));
                };
                let judging = Judging::Each { room: &newcomers.room };
                let Outcome { differences, new, dead, used } = self.judge_addresses(anew, &addresses, &judging).await?;
                newcomers.addresses.extend(new);
                for (remote, hour) in dead {
                    *newcomers.dead.entry(remote).or_default().entry(hour).or_default() += 1;
                }
                newcomers.room.0.extend(used.0);
                *behind = last;
                Ok(Some(differences))
            }
            Stage::Newcomers { left, braked, room } => {
                if left.is_empty() {
                    *stage = Stage::Nobodies(self.nobodies(anew).await?);
                    return Ok(Some(Differences::default()));
                }
                let count = left.len().min(ADDRESSES_AT_ONCE as usize);
                let addresses: Vec<String> = left.iter().take(count).cloned().collect();
                let judging = Judging::Newcomers { braked, room };
                let outcome = self.judge_addresses(anew, &addresses, &judging).await?;
                left.drain(..count);
                room.0.extend(outcome.used.0);
                Ok(Some(outcome.differences))
            }
            Stage::Nobodies(left) => {
                if left.is_empty() {
                    *stage = Stage::Nothing;
                    return Ok(None);
                }
                let count = left.len().min(BOUNCES_AT_ONCE);
                let ids: Vec<i64> = left.iter().take(count).copied().collect();
                let differences = self.judge_nobodies(anew, &ids).await?;
                left.drain(..count);
                Ok(Some(differences))
            }
            Stage::Nothing => Ok(None),
        }
    }

    /// The next addresses that bounces or complaints name.
    async fn addresses_behind(&self, anew: &Anew<'_>, behind: &str) -> Result<Vec<String>, sqlx::Error> {
        let found: Vec<(String, i64)> = sqlx::query_as(
            "SELECT address, sum(rows) FROM (
                 SELECT address, rows FROM (SELECT b.address, count(*) AS rows FROM bounce AS b WHERE b.address > ?1
                                            GROUP BY b.address HAVING max(b.at) >= ?2 ORDER BY b.address LIMIT ?3)
                 UNION ALL
                 SELECT address, rows FROM (SELECT c.address, count(*) AS rows FROM complaint AS c WHERE c.address > ?1
                                            GROUP BY c.address HAVING max(c.at) >= ?2 ORDER BY c.address LIMIT ?3))
             GROUP BY address ORDER BY address LIMIT ?3",
        )
        .bind(behind)
        .bind(anew.since.unwrap_or(i64::MIN))
        .bind(ADDRESSES_AT_ONCE)
        .fetch_all(&self.readers)
        .await?;
        let mut rows = 0;
        let fit = found.into_iter().take_while(|(_, of_it)| {
            let is_first = rows == 0;
            rows += usize::try_from(*of_it).unwrap_or(usize::MAX);
            is_first || rows <= BOUNCES_AT_ONCE
        });
        Ok(fit.map(|(address, _)| address).collect())
    }

    /// The bounces that name nobody: eight octets of memory for each, and no more is read of the table.
    async fn nobodies(&self, anew: &Anew<'_>) -> Result<VecDeque<i64>, sqlx::Error> {
        let ids: Vec<i64> = sqlx::query_scalar("SELECT b.id FROM bounce AS b WHERE b.address IS NULL AND b.at >= ?1")
            .bind(anew.since.unwrap_or(i64::MIN))
            .fetch_all(&self.readers)
            .await?;
        Ok(ids.into())
    }

    /// Finds the hours in which too many are called dead, and takes back what was believed of them.
    async fn brake(&self, anew: &Anew<'_>, newcomers: Newcomers) -> Result<(Stage, Differences), sqlx::Error> {
        let Newcomers { addresses: left, dead, .. } = newcomers;
        let brake = &anew.policy.brake;
        let mut tx =
            if anew.dry_run { self.readers.begin().await? } else { self.writer.begin_with("BEGIN IMMEDIATE").await? };
        let verdicts = Verdicts::foreseen(brake, brake::hours(&mut tx, &dead, brake).await?, &dead);
        let taken_back = if anew.dry_run {
            brake::to_take_back(&mut tx, &verdicts.taken_back(), brake).await?
        } else {
            brake::take_back(&mut tx, &verdicts.taken_back(), brake).await?
        };
        tx.commit().await?;
        let list = taken_back.into_values().flatten().map(|taken| ListDifference {
            address: taken.address.clone(),
            before: Some(taken.listed()),
            after: None,
            waited: false,
            held: Some(Why::Outage),
        });
        let differences = Differences { list: list.collect(), ..Differences::default() };
        Ok((Stage::Newcomers { left, braked: verdicts.braked(), room: Room::default() }, differences))
    }

    async fn judge_addresses(
        &self,
        anew: &Anew<'_>,
        addresses: &[String],
        judging: &Judging<'_>,
    ) -> Result<Outcome, sqlx::Error> {
        let parsed: Vec<Address> = addresses.iter().filter_map(|address| Address::parse(address)).collect();
        if anew.dry_run {
            let mut read = self.readers.begin().await?;
            return Ok(judge_addresses(&mut read, anew, addresses, &parsed, judging).await?.1);
        }
        let mut writer = self.writer.acquire().await?;
        let version = data_version(&mut writer).await?;
        let judged = {
            let mut read = self.readers.begin().await?;
            judge_addresses(&mut read, anew, addresses, &parsed, judging).await?
        };
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let (changes, outcome) = if data_version(&mut tx).await? == version {
            judged
        } else {
            // Somebody has written meanwhile: what is read now holds.
            judge_addresses(&mut tx, anew, addresses, &parsed, judging).await?
        };
        let current = tables::row(&mut tx, anew.tables).await?;
        bounces::write(&mut tx, &changes.verdicts, &changes.judged, current).await?;
        list::change(&mut tx, &changes.list).await?;
        brake::count(&mut tx, &changes.list.dead).await?;
        events::insert(&mut tx, &changes.events).await?;
        tx.commit().await?;
        Ok(outcome)
    }

    /// Bounces that name nobody: no list depends on them.
    async fn judge_nobodies(&self, anew: &Anew<'_>, ids: &[i64]) -> Result<Differences, sqlx::Error> {
        let current = tables::known(&mut *self.readers.acquire().await?, anew.tables).await?;
        let rows: Vec<StoredBounce> = sqlx::query_as(stored_bounces!(
            "FROM json_each(?1) AS i JOIN bounce AS b ON b.id = i.value JOIN message AS m ON m.id = b.message"
        ))
        .bind(json(&ids)?)
        .fetch_all(&self.readers)
        .await?;
        let mut differences = Differences::default();
        let (mut verdicts, mut judged) = (Vec::new(), Vec::new());
        for row in rows.into_iter().filter(|row| current.is_none() || row.tables != current) {
            let again = Rejudged::of(row, anew, &mut differences)?;
            verdicts.extend(again.difference(anew, &mut differences)?);
            judged.extend(again.is_todays.then_some(again.row.id));
        }
        if !anew.dry_run && !judged.is_empty() {
            let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            let current = tables::row(&mut tx, anew.tables).await?;
            bounces::write(&mut tx, &verdicts, &judged, current).await?;
            tx.commit().await?;
        }
        Ok(differences)
    }
}

/// Another one where another connection has written meanwhile.
async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await
}

/// What is done about who comes onto the list.
enum Judging<'j> {
    /// He is counted, and judged later.
    Each { room: &'j Room },
    /// He comes there, or waits.
    Newcomers { braked: &'j Braked, room: &'j Room },
}

/// What judging some addresses came to.
struct Outcome {
    differences: Differences,
    /// Who comes onto the list, and is judged later.
    new: Vec<String>,
    /// The remotes that call him newly dead, and the hours.
    dead: Vec<(String, i64)>,
    /// What is left of the messages that brought these.
    used: Room,
}

async fn judge_addresses<'a>(
    connection: &mut SqliteConnection,
    anew: &Anew<'a>,
    names: &[String],
    addresses: &'a [Address],
    judging: &Judging<'_>,
) -> Result<(Changes<'a>, Outcome), sqlx::Error> {
    let current = tables::known(&mut *connection, anew.tables).await?;
    let mut known = StoredAddresses::read(connection, names).await?;
    let mut revision = events::last_revision(&mut *connection).await?;
    let mut changes = Changes::default();
    let (Judging::Each { room } | Judging::Newcomers { room, .. }) = judging;
    let (mut new, mut dead, mut used) = (Vec::new(), Vec::new(), Room::default());
    let mut differences = Differences::default();
    let mut verdicts = match judging {
        Judging::Each { .. } => None,
        Judging::Newcomers { braked, .. } => Some(Verdicts::some(&anew.policy.brake, (*braked).clone())),
    };
    for address in addresses {
        let mut of = known.take(address);
        // Nobody has taken it off yet, but its time is over.
        of.entry = of.entry.filter(|entry| entry.expires.is_none_or(|expires| expires > anew.by.at));
        // What today's tables and policy have said already they would say once more.
        let is_current = of.bounces.iter().all(|row| row.tables.is_some() && row.tables == current);
        if is_current && of.complaints.is_empty() {
            continue;
        }
        let mut of_address = Differences::default();
        let bounces = std::mem::take(&mut of.bounces).into_iter().map(|row| Rejudged::of(row, anew, &mut of_address));
        let mut bounces = bounces.collect::<Result<Vec<_>, _>>()?;
        bounces.sort_unstable_by_key(|again| again.row.id);
        let mut rows = Vec::new();
        for again in &bounces {
            rows.extend(again.difference(anew, &mut of_address)?);
        }
        let told = told(connection, &of, known.of_domain(address), &bounces).await?;
        let replayed = replay(anew.policy, address, steps(anew, address, &bounces, &of, &told)?, anew.by.at);
        if let Some(mut difference) = of.difference(address, &replayed, &bounces, anew) {
            let newly_dead = replayed.newly_dead.filter(|_| difference.is_newly_dead());
            let after = replayed.entry.as_ref().map(|(entry, _)| entry);
            let message = after.and_then(|entry| of.message(entry, &bounces));
            if difference.is_new() && after.is_some_and(|entry| !of.was_brought_by(entry)) {
                let fits = fits(connection, anew, message, room, &mut used).await?;
                match &mut verdicts {
                    None => {
                        new.push(address.normalised().to_owned());
                        let newly_dead = newly_dead.filter(|newly_dead| fits && newly_dead.waited.is_none());
                        let remote = after.and_then(|entry| entry.remote.clone());
                        dead.extend(remote.zip(newly_dead).map(|(remote, dead)| (remote, hour_of(dead.at))));
                        // It is judged once more then, and told of.
                        continue;
                    }
                    Some(_) if !fits => difference.held = Some(Why::Flood),
                    Some(verdicts) => {
                        if let Some((entry, newly_dead)) = after.zip(newly_dead) {
                            verdicts.count(entry, &newly_dead);
                            let waits = verdicts.waits(entry, &newly_dead, &replayed.past);
                            difference.held = waits.then_some(Why::Outage);
                        }
                    }
                }
            }
            revision += 1;
            let before = of.events.iter().map(|event| event.revision).max();
            let origin_before = of.entry.as_ref().or(of.held.as_ref()).and_then(|entry| entry.origin.parse().ok());
            let change = NewChange { difference: &difference, replayed, origin_before, before, message };
            changes.add(address, change, anew, revision);
            of_address.list.push(difference);
        }
        changes.verdicts.extend(rows);
        changes.judged.extend(bounces.iter().filter(|again| again.is_todays).map(|again| again.row.id));
        differences.add(of_address);
    }
    if let Some(verdicts) = verdicts {
        changes.list.dead = verdicts.finish().0;
    }
    Ok((changes, Outcome { differences, new, dead, used }))
}

/// Whether a message may bring one more address: `room` is what was left before this transaction, `used` what is now.
async fn fits(
    connection: &mut SqliteConnection,
    anew: &Anew<'_>,
    message: Option<i64>,
    room: &Room,
    used: &mut Room,
) -> Result<bool, sqlx::Error> {
    let Some(message) = message else { return Ok(true) };
    if let Entry::Vacant(place) = used.0.entry(message) {
        place.insert(match room.0.get(&message) {
            Some(left) => *left,
            None => anew.policy.most_per_message.saturating_sub(brought_by(connection, message).await?),
        });
    }
    Ok(used.take(message))
}

/// How many addresses are on the list because of a message.
pub(super) async fn brought_by(connection: &mut SqliteConnection, message: i64) -> Result<u32, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM bounce AS b JOIN suppression AS s ON s.address = b.address AND s.bounce = b.id
                 WHERE b.message = ?1)
              + (SELECT count(*) FROM complaint AS c JOIN suppression AS s ON s.address = c.address AND s.complaint = c.id
                 WHERE c.message = ?1)",
    )
    .bind(message)
    .fetch_one(connection)
    .await
}

/// What is written of some addresses.
#[derive(Default)]
struct Changes<'a> {
    /// Bounces whose rows change.
    verdicts: Vec<Value>,
    /// Bounces that today's tables have judged.
    judged: Vec<i64>,
    list: ListChanges<'a>,
    events: Vec<NewEvent<'a>>,
}

impl<'a> Changes<'a> {
    /// `before` is the last change that was about the address, `message` what brought the entry that is to be.
    fn add(&mut self, name: &'a Address, change: NewChange<'_>, anew: &Anew<'a>, revision: i64) {
        let NewChange { difference, replayed, origin_before, before, message } = change;
        let (name, domain) = (name.normalised(), name.domain());
        let event = |kind| NewEvent {
            address: Some(name),
            before,
            actor: Some(anew.by.actor),
            note: anew.by.note,
            ..NewEvent::new(revision, kind, anew.by.at)
        };
        // Whether somebody lives is asked for as long as the entry stays.
        if difference.waited || difference.after.is_none() {
            self.list.let_go.push(name);
        }
        let Some((NewEntry { mut suppression, bounce, complaint, remote, .. }, since)) = replayed.entry else {
            self.list.ended.push(name);
            self.events.push(NewEvent { origin: origin_before, ..event(EventKind::Corrected) });
            return;
        };
        let kind = if difference.held.is_some() { EventKind::Held } else { EventKind::Suppressed };
        self.events.push(NewEvent {
            origin: Some(suppression.origin),
            bounce,
            complaint,
            reason: suppression.reason,
            policy: suppression.policy.clone(),
            expires: suppression.expires,
            causes: suppression.causes.clone(),
            ..event(kind)
        });
        let (origin, dead_since) = (suppression.origin, replayed.newly_dead.map(|newly_dead| newly_dead.at));
        suppression.since = dead_since.filter(|_| difference.held.is_some()).unwrap_or(since);
        let since = suppression.since;
        let entry = NewEntry { address: name, domain, suppression, bounce, complaint, remote, revision };
        match difference.held {
            None => self.list.entries.push(entry),
            Some(why) => {
                let entry = Some(entry);
                self.list.held.push(NewHeld { why, address: name, domain, origin, since, message, entry, revision });
            }
        }
    }
}

/// What becomes of an address.
struct NewChange<'c> {
    difference: &'c ListDifference,
    replayed: Replayed<'c>,
    /// How it came onto the list, or would have.
    origin_before: Option<Origin>,
    /// The last change that was about it.
    before: Option<i64>,
    /// What brought the entry that is to be.
    message: Option<i64>,
}
