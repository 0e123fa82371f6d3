//! The tables of the view `figures`, and the table `alarm`.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, parsed};
use crate::{
    policy::{
        DAY, Policy,
        alarms::{AlarmChanges, AlarmFacts, AlarmName, Alarms, NewAlarm, OwnFault, Telling},
    },
    store::{Alarm, EventKind, Figures, FiguresBy, FiguresOf, FiguresTable, StoreError, plan::DAEMON},
};

/// SQL for the figures by a column of the three tables that have them, in an order: those of each, of all, and how many
/// there are. Each table is summed up by itself, along its key where that is the order.
macro_rules! figures_by {
    ($name:literal, $of_complaint:literal, $shown:literal, $order:literal) => {
        concat!(
            "WITH part (name, sent, delivered, hard, soft, blocked, complaints) AS (
                SELECT ",
            $name,
            ", sum(sent), sum(delivered), 0, 0, 0, 0 FROM sent_by_day WHERE day >= ?1 GROUP BY 1
                UNION ALL SELECT ",
            $name,
            ", 0, 0, sum(hard), sum(soft), sum(blocked), 0 FROM failed_by_day WHERE day >= ?1 GROUP BY 1
                UNION ALL SELECT ",
            $of_complaint,
            ", 0, 0, 0, 0, 0, count(*) FROM complaint WHERE at >= ?1 GROUP BY 1)
             SELECT ",
            $shown,
            " AS name, sum(sent) AS sent, sum(delivered) AS delivered, sum(hard) AS hard, sum(soft) AS soft,
             sum(blocked) AS blocked, sum(complaints) AS complaints, count(*) OVER () AS groups,
             sum(sum(sent)) OVER () AS all_sent, sum(sum(delivered)) OVER () AS all_delivered,
             sum(sum(hard)) OVER () AS all_hard, sum(sum(soft)) OVER () AS all_soft,
             sum(sum(blocked)) OVER () AS all_blocked, sum(sum(complaints)) OVER () AS all_complaints
             FROM part GROUP BY part.name ORDER BY ",
            $order,
            " LIMIT ?2"
        )
    };
}

/// That of which most was sent first, then that of which most failed.
macro_rules! most_first {
    ($name:literal, $of_complaint:literal) => {
        figures_by!($name, $of_complaint, "part.name", "2 DESC, sum(hard + soft + blocked) DESC, 1")
    };
}

impl SqliteStore {
    pub(in crate::store) async fn figures(
        &self,
        by: FiguresBy,
        since: i64,
        limit: u32,
    ) -> Result<FiguresTable, StoreError> {
        let sql = match by {
            FiguresBy::Day => figures_by!("day", "at - at % 86400", "date(part.name, 'unixepoch')", "1 DESC"),
            FiguresBy::Domain => most_first!("domain", "domain"),
            FiguresBy::Provider => most_first!("provider", "coalesce(provider, '')"),
            FiguresBy::Campaign => most_first!("campaign", "coalesce(campaign, '')"),
        };
        self.figures_of(sql, since, limit).await.map_err(|error| self.error(error))
    }

    async fn figures_of(&self, sql: &'static str, since: i64, limit: u32) -> Result<FiguresTable, sqlx::Error> {
        let rows = sqlx::query(sql).bind(since).bind(limit).fetch_all(&self.readers).await?;
        let mut table = FiguresTable::default();
        if let Some(first) = rows.first() {
            table.left_out = whole(first, "groups")?.saturating_sub(rows.len() as u64);
            table.total = Figures {
                sent: whole(first, "all_sent")?,
                delivered: whole(first, "all_delivered")?,
                hard: whole(first, "all_hard")?,
                soft: whole(first, "all_soft")?,
                blocked: whole(first, "all_blocked")?,
                complaints: whole(first, "all_complaints")?,
            };
        }
        let named = |row: &SqliteRow| Ok(FiguresOf { name: row.try_get("name")?, figures: read(row)? });
        table.rows = rows.iter().map(named).collect::<Result<_, sqlx::Error>>()?;
        Ok(table)
    }

    pub(in crate::store) async fn alarm_facts(
        &self,
        policy: &Policy,
        names: &[String],
        now: i64,
    ) -> Result<AlarmFacts, StoreError> {
        self.read_facts(policy, names, now).await.map_err(|error| self.error(error))
    }

    async fn read_facts(&self, policy: &Policy, names: &[String], now: i64) -> Result<AlarmFacts, sqlx::Error> {
        let mut reader = self.readers.acquire().await?;
        let own_faults = own_faults(&mut reader, policy, now).await?;
        let sent: i64 = sqlx::query_scalar("SELECT count(*) FROM sent WHERE at > ?1 AND recipient <> zeroblob(16)")
            .bind(now - DAY)
            .fetch_one(&mut *reader)
            .await?;
        // Nothing to hold them against.
        let hard: i64 = if sent == 0 {
            0
        } else {
            sqlx::query_scalar(
                // What a stranger may have written raises no alarm.
                "SELECT count(*) FROM bounce WHERE at > ?1 AND action = 'failed' AND told_before = 0 AND class = 'hard'
                 AND fault NOT IN ('sender', 'content') AND trust <> 'unverified'",
            )
            .bind(now - DAY)
            .fetch_one(&mut *reader)
            .await?
        };
        let outages: Vec<(String, i64)> = sqlx::query_as(
            "SELECT coalesce(remote, domain), count(*) FROM held WHERE why = 'outage' GROUP BY coalesce(remote, domain)",
        )
        .fetch_all(&mut *reader)
        .await?;
        let mut tellings = Vec::with_capacity(names.len());
        for name in names {
            tellings.push(telling(&mut reader, &policy.alarms, name, now).await?);
        }
        Ok(AlarmFacts {
            at: now,
            own_faults,
            sent: sent.unsigned_abs(),
            hard: hard.unsigned_abs(),
            outages: outages.into_iter().map(|(remote, waiting)| (remote, waiting.unsigned_abs())).collect(),
            tellings,
        })
    }

    pub(in crate::store) async fn alarms(&self, since: i64) -> Result<Vec<Alarm>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, kind, about, words, raised, cleared FROM alarm WHERE cleared IS NULL OR cleared >= ?1
             ORDER BY cleared IS NOT NULL, id DESC",
        )
        .bind(since)
        .fetch_all(&self.readers)
        .await;
        let read = |row: &SqliteRow| {
            let name = AlarmName { kind: parsed(row.try_get("kind")?)?, about: row.try_get("about")? };
            let (id, words) = (row.try_get("id")?, row.try_get("words")?);
            Ok(Alarm { id, name, words, raised: row.try_get("raised")?, cleared: row.try_get("cleared")? })
        };
        let alarms = rows.and_then(|rows| rows.iter().map(read).collect::<Result<_, sqlx::Error>>());
        alarms.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn change_alarms(
        &self,
        changes: &AlarmChanges,
        now: i64,
    ) -> Result<AlarmChanges, StoreError> {
        let mut tx = self.begin().await?;
        let changed = write_changes(&mut tx, changes, now).await.map_err(|error| self.error(error))?;
        tx.commit().await.map_err(|error| self.error(error))?;
        Ok(changed)
    }
}

/// Says which of them it changed.
async fn write_changes(
    tx: &mut SqliteConnection,
    changes: &AlarmChanges,
    now: i64,
) -> Result<AlarmChanges, sqlx::Error> {
    let mut changed = AlarmChanges::default();
    for name in &changes.cleared {
        let cleared = sqlx::query_scalar(
            "UPDATE alarm SET cleared = ?3 WHERE kind = ?1 AND about = ?2 AND cleared IS NULL RETURNING id",
        )
        .bind(name.kind.as_str())
        .bind(&name.about)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(alarm) = cleared {
            tell(tx, EventKind::AlarmCleared, alarm, now).await?;
            changed.cleared.push(name.clone());
        }
    }
    for new @ NewAlarm { name, words } in &changes.raised {
        let raised = sqlx::query_scalar(
            "INSERT INTO alarm (kind, about, words, raised) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, about) WHERE cleared IS NULL DO NOTHING RETURNING id",
        )
        .bind(name.kind.as_str())
        .bind(&name.about)
        .bind(words)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(alarm) = raised {
            tell(tx, EventKind::AlarmRaised, alarm, now).await?;
            changed.raised.push(new.clone());
        }
    }
    Ok(changed)
}

/// The event of an alarm leads to its row, which says the rest.
async fn tell(tx: &mut SqliteConnection, kind: EventKind, alarm: i64, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO event (at, kind, alarm, recorded, actor) VALUES (?1, ?2, ?3, unixepoch(), ?4)")
        .bind(now)
        .bind(kind.as_str())
        .bind(alarm)
        .bind(DAEMON)
        .execute(tx)
        .await?;
    Ok(())
}

async fn own_faults(reader: &mut SqliteConnection, policy: &Policy, now: i64) -> Result<Vec<OwnFault>, sqlx::Error> {
    let mut rows = sqlx::query(
        // The code is that of the row with the last time: of a lone max() SQLite takes the other columns from there.
        "SELECT domain, remote_mta, reporting_mta, reason, sum(at > ?2) AS within_day, sum(at <= ?2) AS before,
                coalesce(status, CAST(reply AS TEXT)) AS code, max(at) AS last
         FROM bounce WHERE fault = 'sender' AND at > ?1 AND action = 'failed'
               AND (trust <> 'unverified' OR NOT EXISTS (SELECT 1 FROM vouching)) GROUP BY 1, 2, 3, 4",
    )
    .bind(policy.alarms.own_faults_since(now))
    .bind(now - DAY)
    .fetch(reader);
    let mut all: BTreeMap<(String, String), OwnFault> = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let (provider, reason): (String, String) = (provider_of(&row, policy)?, row.try_get("reason")?);
        // Nobody knows who refused.
        if provider.is_empty() {
            continue;
        }
        let (within_day, before, last) = (whole(&row, "within_day")?, whole(&row, "before")?, row.try_get("last")?);
        let key = (provider.clone(), reason.clone());
        let fault = all.entry(key).or_insert(OwnFault { provider, reason, code: None, within_day: 0, before: 0, last });
        if last >= fault.last {
            fault.code = row.try_get("code")?;
        }
        fault.within_day += within_day;
        fault.before += before;
        fault.last = fault.last.max(last);
    }
    Ok(all.into_values().collect())
}

async fn telling(reader: &mut SqliteConnection, alarms: &Alarms, name: &str, now: i64) -> Result<Telling, sqlx::Error> {
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT max(at) FROM (SELECT newest AS at FROM total_by_mailbox WHERE mailbox = ?1
                              UNION ALL SELECT told_at FROM mail_log WHERE name = ?1)",
    )
    .bind(name)
    .fetch_one(&mut *reader)
    .await?;
    // Months of messages are gone through only where it matters.
    if last.is_none_or(|last| now - last < alarms.silent_least) {
        return Ok(Telling { name: name.to_owned(), last, ..Telling::default() });
    }
    let (messages, longest): (i64, Option<i64>) = sqlx::query_as(
        "SELECT count(*), max(gap)
         FROM (SELECT received - lag(received) OVER (ORDER BY received) AS gap
               FROM message WHERE received > ?2 AND mailbox = ?1)",
    )
    .bind(name)
    .bind(now - alarms.silent_memory)
    .fetch_one(reader)
    .await?;
    let (messages, longest) = (messages.unsigned_abs(), longest.unwrap_or_default());
    Ok(Telling { name: name.to_owned(), last, messages, longest })
}

/// Who takes the mail, or refused it; empty where nobody knows.
fn provider_of(row: &SqliteRow, policy: &Policy) -> Result<String, sqlx::Error> {
    let domain: Option<&str> = row.try_get("domain")?;
    let domain = domain.unwrap_or_default();
    Ok(policy.brake.remote(domain, row.try_get("remote_mta")?, row.try_get("reporting_mta")?))
}

fn read(row: &SqliteRow) -> Result<Figures, sqlx::Error> {
    Ok(Figures {
        sent: whole(row, "sent")?,
        delivered: whole(row, "delivered")?,
        hard: whole(row, "hard")?,
        soft: whole(row, "soft")?,
        blocked: whole(row, "blocked")?,
        complaints: whole(row, "complaints")?,
    })
}

/// SQL counts with a sign.
fn whole(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<i64, _>(column)?.unsigned_abs())
}
