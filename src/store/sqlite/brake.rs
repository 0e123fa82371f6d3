//! The table `dead_by_hour`, and what it means for entries that were believed before: see `policy::brake`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{Row, SqliteConnection};

use super::{events, json, last_change};
use crate::{
    policy::brake::{Brake, HOUR, Hour},
    store::{
        brake::{ALL, Dead, Hours, suspects},
        plan::DAEMON,
    },
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

/// Takes back what was believed of remotes in hours that are braked: it waits like the rest of them, but for what a
/// person put onto the list, and for what was called dead again long enough after. Who has shown since then that he
/// lives waits for nothing. Says how many there were.
pub(super) async fn take_back(
    tx: &mut SqliteConnection,
    braked: &BTreeMap<String, BTreeSet<i64>>,
    brake: &Brake,
) -> Result<usize, sqlx::Error> {
    let mut taken = 0;
    for (remote, hours) in braked {
        taken += take_back_of(tx, remote, hours, brake).await?;
    }
    Ok(taken)
}

async fn take_back_of(
    tx: &mut SqliteConnection,
    remote: &str,
    hours: &BTreeSet<i64>,
    brake: &Brake,
) -> Result<usize, sqlx::Error> {
    sqlx::query(
        "CREATE TEMP TABLE IF NOT EXISTS taken_back
         (address TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL, hour INTEGER NOT NULL, kind TEXT NOT NULL)",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM temp.taken_back").execute(&mut *tx).await?;
    // What another origin or a later verdict made of an entry has another event, of another time.
    let taken = sqlx::query(
        "INSERT INTO temp.taken_back
         SELECT s.address, ?5 + row_number() OVER (ORDER BY s.address), t.value,
                iif(EXISTS (SELECT 1 FROM main.alive AS a WHERE a.address = s.address AND a.at >= s.since),
                    'revived', 'held')
         FROM json_each(?1) AS t
         CROSS JOIN main.suppression AS s ON s.since BETWEEN t.value AND t.value + ?2 - 1
         CROSS JOIN main.event AS e ON e.revision = s.revision
         WHERE s.remote = ?3 AND s.origin = 'hard' AND e.kind = 'suppressed' AND e.actor = ?6 AND e.at = s.since
           AND NOT EXISTS (SELECT 1 FROM main.bounce AS b
                           WHERE b.address = s.address AND b.at >= s.since + ?4 AND b.counts = 1 AND b.class = 'hard'
                             AND b.at - b.at % ?2 NOT IN (SELECT value FROM json_each(?1)))",
    )
    .bind(json(hours)?)
    .bind(HOUR)
    .bind(remote)
    .bind(brake.again)
    .bind(events::last_revision(&mut *tx).await?)
    .bind(DAEMON)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if taken == 0 {
        return Ok(0);
    }
    for sql in [
        concat!(
            "INSERT INTO event (revision, at, kind, address, origin, bounce, recorded, reason, policy, expires, before, actor)
         SELECT t.revision, s.since, t.kind, s.address, s.origin, s.bounce, unixepoch(), s.reason, s.policy, s.expires,
                ",
            last_change!("s.address", "s.revision"),
            ", made.actor
         FROM temp.taken_back AS t JOIN main.suppression AS s ON s.address = t.address
         JOIN main.event AS made ON made.revision = s.revision ORDER BY t.revision",
        ),
        "DELETE FROM main.held WHERE address IN (SELECT address FROM temp.taken_back)",
        "INSERT INTO held (address, domain, why, origin, reason, rule, policy, diagnostic, bounce, message, remote, since,
                           expires, revision, note)
         SELECT s.address, s.domain, 'outage', s.origin, s.reason, s.rule, s.policy, s.diagnostic, s.bounce, b.message,
                s.remote, s.since, s.expires, t.revision, s.note
         FROM temp.taken_back AS t JOIN main.suppression AS s ON s.address = t.address
         LEFT JOIN main.bounce AS b ON b.id = s.bounce WHERE t.kind = 'held'",
        "DELETE FROM main.suppression WHERE address IN (SELECT address FROM temp.taken_back)",
    ] {
        sqlx::query(sql).execute(&mut *tx).await?;
    }
    sqlx::query(
        "UPDATE main.dead_by_hour AS d SET held = held + n
         FROM (SELECT t.hour AS began, count(*) AS n FROM temp.taken_back AS t GROUP BY t.hour)
         WHERE d.remote = ?1 AND d.hour = began",
    )
    .bind(remote)
    .execute(tx)
    .await?;
    Ok(usize::try_from(taken).unwrap_or(usize::MAX))
}
