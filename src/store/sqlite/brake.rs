//! The table `dead_by_hour`, and what it means for entries that were believed before: see `policy::brake`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{FromRow, Row, SqliteConnection};

use super::{events, json, last_change};
use crate::{
    policy::{
        HOUR,
        brake::{Brake, Hour},
    },
    store::{
        BrakedRemote, EventKind, ListedAs,
        brake::{ALL, Braked, Dead, Hours, suspects},
        plan::{DAEMON, NewHeld},
    },
    suppression::{Origin, Why},
    text::organisation,
};

/// What was counted of the remotes that may be braked, where so many more are called dead as `touched` says; and of all
/// remotes together.
pub(super) async fn hours(
    tx: &mut SqliteConnection,
    touched: &BTreeMap<String, BTreeMap<i64, i64>>,
    brake: &Brake,
) -> Result<HashMap<String, Hours>, sqlx::Error> {
    let hours = || touched.values().flat_map(BTreeMap::keys).copied();
    let (Some(first), Some(last)) = (hours().min(), hours().max()) else { return Ok(HashMap::new()) };
    let pairs: Vec<(&str, i64)> =
        touched.iter().flat_map(|(remote, hours)| hours.keys().map(move |hour| (remote.as_str(), *hour))).collect();
    let near = sqlx::query(
        "SELECT d.remote, d.hour, d.dead, d.held, d.confirmed
         FROM json_each(?1) AS t CROSS JOIN dead_by_hour AS d
              ON d.remote = t.value ->> 0 AND d.hour BETWEEN (t.value ->> 1) - ?2 AND (t.value ->> 1) + ?2",
    )
    .bind(json(&pairs)?)
    .bind(HOUR)
    .fetch_all(&mut *tx)
    .await?;
    let mut suspects = suspects(brake, touched, &read(&near)?);
    if suspects.is_empty() {
        return Ok(HashMap::new());
    }
    suspects.push(ALL);
    let (before, after) = brake.reach();
    let rows = sqlx::query(
        "SELECT d.remote, d.hour, d.dead, d.held, d.confirmed
         FROM json_each(?1) AS t CROSS JOIN dead_by_hour AS d ON d.remote = t.value AND d.hour BETWEEN ?2 AND ?3",
    )
    .bind(json(&suspects)?)
    .bind(first - before)
    .bind(last + after)
    .fetch_all(&mut *tx)
    .await?;
    let mut all = read(&rows)?;
    for remote in suspects {
        all.entry(remote.to_owned()).or_default();
    }
    Ok(all)
}

fn read(rows: &[sqlx::sqlite::SqliteRow]) -> Result<HashMap<String, Hours>, sqlx::Error> {
    let mut all: HashMap<String, Hours> = HashMap::new();
    for row in rows {
        let hour = Hour {
            before: row.try_get("dead")?,
            held: row.try_get("held")?,
            confirmed: row.try_get("confirmed")?,
            ..Hour::default()
        };
        all.entry(row.try_get("remote")?).or_default().insert(row.try_get("hour")?, hour);
    }
    Ok(all)
}

/// Counts the dead, of each remote and of all.
pub(super) async fn count(tx: &mut SqliteConnection, dead: &[Dead]) -> Result<(), sqlx::Error> {
    if dead.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = dead.iter().map(|row| (&row.remote, row.hour, row.dead, row.held)).collect();
    sqlx::query(
        "INSERT INTO dead_by_hour (remote, hour, dead, held, confirmed)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, 0 FROM json_each(?1)
         UNION ALL
         SELECT ?2, value ->> 1, sum(value ->> 2), 0, 0 FROM json_each(?1) GROUP BY value ->> 1
         ON CONFLICT (remote, hour) DO UPDATE SET dead = dead + excluded.dead, held = held + excluded.held",
    )
    .bind(json(&rows)?)
    .bind(ALL)
    .execute(tx)
    .await
    .map(drop)
}

/// Who of these, a JSON array, waits for another verdict of the kind was dead when he began to.
pub(super) async fn confirm(tx: &mut SqliteConnection, addresses: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE dead_by_hour AS d SET held = held - n, confirmed = confirmed + n
         FROM (SELECT h.remote AS of, h.since - h.since % ?2 AS began, count(*) AS n
               FROM json_each(?1) AS a CROSS JOIN held AS h ON h.address = a.value
               WHERE h.why = 'outage' AND h.remote IS NOT NULL GROUP BY 1, 2)
         WHERE d.remote = of AND d.hour = began",
    )
    .bind(addresses)
    .bind(HOUR)
    .execute(tx)
    .await
    .map(drop)
}

/// What waits after a commit because of the brake, by the remote.
pub(super) fn told(held: &[NewHeld<'_>], taken_back: &BTreeMap<String, Vec<TakenBack>>) -> Vec<BrakedRemote> {
    let mut all: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for new in held.iter().filter(|new| new.why == Why::Outage) {
        if let Some(remote) = new.entry.as_ref().and_then(|entry| entry.remote.as_deref()) {
            all.entry(remote).or_default().0 += 1;
        }
    }
    for (remote, taken) in taken_back {
        all.entry(remote).or_default().1 += taken.len();
    }
    let told = |(remote, (held, taken_back)): (&str, _)| BrakedRemote { remote: remote.to_owned(), held, taken_back };
    all.into_iter().map(told).collect()
}

/// An entry that is taken back, because the hour of its verdict is braked.
#[derive(Debug, FromRow)]
pub(super) struct TakenBack {
    pub address: String,
    hour: i64,
    /// When it was called dead.
    since: i64,
    /// Whether the address has shown since then that it lives.
    is_alive: bool,
    /// The event of the entry that it took the place of.
    before: Option<i64>,
    reason: Option<String>,
    policy: Option<String>,
    expires: Option<i64>,
}

impl TakenBack {
    /// The entry in short.
    pub(super) fn listed(self) -> ListedAs {
        let Self { reason, policy, expires, .. } = self;
        ListedAs { origin: Origin::Hard, reason, policy, expires }
    }
}

/// SQL for the alarms about a remote: about it, or about it and a reason.
macro_rules! alarms_about {
    () => {
        "FROM alarm WHERE (about = ?1 OR substr(about, 1, length(?1) + 1) = ?1 || ' ')"
    };
}

/// SQL that asks whether nobody else is of a domain, or below it.
macro_rules! and_nobody_is_of_it {
    () => {
        " AND NOT EXISTS (SELECT 1 FROM bounce AS b WHERE b.domain = ?1)
          AND NOT EXISTS (SELECT 1 FROM total_by_domain WHERE domain = ?1 OR domain LIKE '%.' || ?1)
          AND NOT EXISTS (SELECT 1 FROM complaint WHERE domain = ?1 OR domain LIKE '%.' || ?1)
          AND NOT EXISTS (SELECT 1 FROM held WHERE domain = ?1 OR domain LIKE '%.' || ?1)
          AND NOT EXISTS (SELECT 1 FROM suppression WHERE domain = ?1 OR domain LIKE '%.' || ?1)"
    };
}

/// Erases what was counted of a remote that is the domain of one address and of nobody else, and the alarms about it: the
/// name of a person may be in it.
pub(super) async fn forget(tx: &mut SqliteConnection, domain: &str) -> Result<(), sqlx::Error> {
    let remote = organisation(domain).unwrap_or(domain);
    for remote in BTreeSet::from([remote, domain]) {
        let is_there: bool = sqlx::query_scalar(concat!(
            "SELECT EXISTS (SELECT 1 FROM dead_by_hour WHERE remote = ?1) OR EXISTS (SELECT 1 ",
            alarms_about!(),
            ")"
        ))
        .bind(remote)
        .fetch_one(&mut *tx)
        .await?;
        // Asked only then: the list is looked through for it.
        if is_there {
            for sql in [
                concat!("DELETE FROM dead_by_hour WHERE remote = ?1", and_nobody_is_of_it!()),
                concat!("DELETE ", alarms_about!(), and_nobody_is_of_it!()),
            ] {
                sqlx::query(sql).bind(remote).execute(&mut *tx).await?;
            }
        }
    }
    Ok(())
}

/// Takes back what was believed of remotes in hours that are braked: it waits like the rest of them. Who has shown since
/// then that he lives waits for nothing, and an entry that another took the place of is there again.
pub(super) async fn take_back(
    tx: &mut SqliteConnection,
    braked: &Braked,
    brake: &Brake,
) -> Result<BTreeMap<String, Vec<TakenBack>>, sqlx::Error> {
    let taken = to_take_back(tx, braked, brake).await?;
    for (remote, taken) in &taken {
        take_back_of(tx, remote, taken).await?;
    }
    Ok(taken)
}

/// Which entries that is, by the remote: not what a person put onto the list, nor what was called dead again long enough
/// after.
pub(super) async fn to_take_back(
    connection: &mut SqliteConnection,
    braked: &Braked,
    brake: &Brake,
) -> Result<BTreeMap<String, Vec<TakenBack>>, sqlx::Error> {
    let mut all = BTreeMap::new();
    for (remote, hours) in braked {
        // What a person said, or approved, has no causes. What another origin or a later verdict made of an entry has
        // another event, of another time; but `bounced reclassify` tells of old ones. An entry that took the place of one
        // by soft bounces has the time of that, and is found by its bounce.
        let taken: Vec<TakenBack> = sqlx::query_as(
            "SELECT s.address, t.value AS hour, s.since, s.reason, s.policy, s.expires, NULL AS before,
                    EXISTS (SELECT 1 FROM alive AS a WHERE a.address = s.address AND a.at >= s.since) AS is_alive
             FROM json_each(?1) AS t
             CROSS JOIN suppression AS s ON s.since BETWEEN t.value AND t.value + ?2 - 1
             CROSS JOIN event AS e ON e.revision = s.revision
             WHERE s.remote = ?3 AND s.origin = 'hard' AND e.kind = 'suppressed' AND e.causes IS NOT NULL
               AND (e.at = s.since OR e.actor <> ?5)
               AND NOT EXISTS (SELECT 1 FROM bounce AS b
                               WHERE b.address = s.address AND b.at >= s.since + ?4 AND b.counts = 1 AND b.class = 'hard'
                                 AND b.at - b.at % ?2 NOT IN (SELECT value FROM json_each(?1)))
             UNION ALL
             SELECT s.address, t.value, d.at, s.reason, s.policy, s.expires, w.revision,
                    EXISTS (SELECT 1 FROM alive AS a WHERE a.address = s.address AND a.at >= d.at)
             FROM json_each(?1) AS t
             CROSS JOIN bounce AS d ON d.at BETWEEN t.value AND t.value + ?2 - 1
             CROSS JOIN suppression AS s ON s.address = d.address AND s.bounce = d.id
             CROSS JOIN event AS e ON e.revision = s.revision
             CROSS JOIN event AS w ON w.revision = e.before
             WHERE s.remote = ?3 AND s.origin = 'hard' AND e.kind = 'suppressed' AND e.causes IS NOT NULL
               AND s.since < d.at AND w.kind = 'suppressed' AND w.origin IN ('soft', 'import')
               AND NOT EXISTS (SELECT 1 FROM bounce AS b
                               WHERE b.address = s.address AND b.at >= d.at + ?4 AND b.counts = 1 AND b.class = 'hard'
                                 AND b.at - b.at % ?2 NOT IN (SELECT value FROM json_each(?1)))",
        )
        .bind(json(hours)?)
        .bind(HOUR)
        .bind(remote)
        .bind(brake.again)
        .bind(DAEMON)
        .fetch_all(&mut *connection)
        .await?;
        if !taken.is_empty() {
            all.insert(remote.clone(), taken);
        }
    }
    Ok(all)
}

async fn take_back_of(tx: &mut SqliteConnection, remote: &str, taken: &[TakenBack]) -> Result<(), sqlx::Error> {
    let mut revision = events::last_revision(&mut *tx).await?;
    // Address, hour, what becomes of it, its event; what is there again, the event of that; when it was called dead.
    let mut rows = Vec::with_capacity(taken.len());
    for TakenBack { address, hour, since, is_alive, before, .. } in taken {
        let (kind, event) = (if *is_alive { EventKind::Revived } else { EventKind::Held }, revision + 1);
        // A sign of life ends that, too.
        let before = before.filter(|_| !is_alive);
        let again = before.map(|_| revision + 2);
        revision = again.unwrap_or(event);
        rows.push((address, hour, kind.as_str(), event, before, again, since));
    }
    let rows = json(&rows)?;
    sqlx::query(concat!(
            "INSERT INTO event (revision, at, kind, address, origin, bounce, recorded, reason, policy, expires, before, actor)
         SELECT t.value ->> 3, t.value ->> 6, t.value ->> 2, s.address, s.origin, s.bounce, unixepoch(), s.reason, s.policy,
                s.expires, ",
            last_change!("s.address", "s.revision"),
            ", ?2
         FROM json_each(?1) AS t CROSS JOIN suppression AS s ON s.address = t.value ->> 0",
        ))
    .bind(&rows)
    .bind(DAEMON)
    .execute(&mut *tx)
    .await?;
    for sql in [
        "INSERT OR REPLACE INTO held (address, domain, why, origin, reason, rule, policy, diagnostic, bounce, message,
                                      remote, since, expires, revision, note)
         SELECT s.address, s.domain, 'outage', s.origin, s.reason, s.rule, s.policy, s.diagnostic, s.bounce, b.message,
                s.remote, t.value ->> 6, s.expires, t.value ->> 3, s.note
         FROM json_each(?1) AS t CROSS JOIN suppression AS s ON s.address = t.value ->> 0
         LEFT JOIN bounce AS b ON b.id = s.bounce WHERE t.value ->> 2 = 'held'",
        "DELETE FROM held WHERE address IN (SELECT value ->> 0 FROM json_each(?1) WHERE value ->> 2 <> 'held')",
        "DELETE FROM suppression WHERE address IN (SELECT value ->> 0 FROM json_each(?1) WHERE value ->> 4 IS NULL)",
    ] {
        sqlx::query(sql).bind(&rows).execute(&mut *tx).await?;
    }
    sqlx::query("INSERT INTO event (revision, at, kind, address, origin, bounce, recorded, reason, policy, expires, causes, before,
                            actor)
         SELECT t.value ->> 5, w.at, w.kind, w.address, w.origin, w.bounce, unixepoch(), w.reason, w.policy, w.expires,
                w.causes, t.value ->> 3, ?2
         FROM json_each(?1) AS t CROSS JOIN event AS w ON w.revision = t.value ->> 4")
    .bind(&rows)
    .bind(DAEMON)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE suppression AS s
         SET origin = w.origin, reason = w.reason, policy = w.policy, bounce = b.id, rule = b.rule, complaint = NULL,
             diagnostic = b.diagnostic, remote = NULL, expires = w.expires, revision = t.value ->> 5
         FROM json_each(?1) AS t CROSS JOIN event AS w ON w.revision = t.value ->> 4
         LEFT JOIN bounce AS b ON b.id = w.bounce
         WHERE s.address = t.value ->> 0",
    )
    .bind(&rows)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE dead_by_hour AS d SET held = held + n
         FROM (SELECT t.value ->> 1 AS began, count(*) AS n FROM json_each(?1) AS t GROUP BY 1)
         WHERE d.remote = ?2 AND d.hour = began",
    )
    .bind(rows)
    .bind(remote)
    .execute(tx)
    .await
    .map(drop)
}
