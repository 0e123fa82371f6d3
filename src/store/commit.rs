//! One batch of judged messages -> rows, in one transaction. Every statement carries the whole batch, because a
//! statement costs more than the rows in it.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::{ROWS_A_STATEMENT, Store, StoreError, mailbox};
use crate::{
    codes::{Class, Fault},
    message::{Cursor, Disposition, Place},
    report::{Action, Kind, Recipient, Report, Verdict},
    suppression::{HISTORY_DAYS, History, Suppression},
};

/// One message with everything that is recorded of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it lies.
    pub place: Place,
    /// SHA-256 of its bytes: what makes it the same message wherever it turns up again.
    pub sha256: [u8; 32],
    /// When the mailbox received it, in seconds since 1970-01-01 UTC.
    pub received: i64,
    /// Its size in octets.
    pub size: u64,
    /// What it said.
    pub report: Report,
    /// One verdict for each of `report.recipients`, in their order.
    pub verdicts: Vec<Verdict>,
    /// What is to become of it after the commit.
    pub disposition: Disposition,
}

/// What a commit changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Messages recorded for the first time.
    pub new: usize,
    /// Messages that were recorded before, or twice in the batch.
    pub duplicates: usize,
    /// Addresses that went onto the suppression list, or whose entry turned from soft to hard.
    pub suppressed: Vec<Suppression>,
}

/// A message that is new, with its row number.
struct Fresh<'a> {
    id: i64,
    entry: &'a Entry,
}

/// A recipient of a new message, with its row number.
struct Reported<'a> {
    id: i64,
    message: i64,
    position: i64,
    entry: &'a Entry,
    recipient: &'a Recipient,
    verdict: &'a Verdict,
}

impl Store {
    /// Records a batch, the suppressions that `decide` draws from it, and the cursor, all or nothing.
    ///
    /// A message that was recorded before (by its SHA-256) adds no rows; its place still counts as unsettled until
    /// [`Store::settled`]. So the same batch may be committed again after any crash. `decide` is asked once for each
    /// failed recipient with an address, in order, with the history as it stands after the verdicts before it.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is written then.
    pub async fn commit(
        &self,
        mailbox: &str,
        entries: &[Entry],
        cursor: Option<&Cursor>,
        decide: impl Fn(&History, &Recipient, &Verdict, i64) -> Option<Suppression> + Send,
    ) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        let committed = record(&mut tx, mailbox, entries, cursor, decide).await.map_err(|error| self.error(error))?;
        tx.commit().await.map_err(|error| self.error(error))?;
        Ok(committed)
    }
}

async fn record(
    tx: &mut SqliteConnection,
    mailbox: &str,
    entries: &[Entry],
    cursor: Option<&Cursor>,
    decide: impl Fn(&History, &Recipient, &Verdict, i64) -> Option<Suppression> + Send,
) -> Result<Committed, sqlx::Error> {
    // The write lock is ours, so row numbers can be given out here.
    let (last_message, last_bounce): (i64, i64) =
        sqlx::query_as("SELECT (SELECT coalesce(max(id), 0) FROM message), (SELECT coalesce(max(id), 0) FROM bounce)")
            .fetch_one(&mut *tx)
            .await?;

    let mut seen = recorded(tx, entries).await?;
    let fresh: Vec<Fresh<'_>> = (last_message + 1..)
        .zip(entries.iter().filter(|entry| seen.insert(entry.sha256)))
        .map(|(id, entry)| Fresh { id, entry })
        .collect();
    let reported: Vec<Reported<'_>> =
        (last_bounce + 1..).zip(fresh.iter().flat_map(recipients)).map(|(id, one)| Reported { id, ..one }).collect();

    let histories = histories(tx, &reported).await?;
    let decided = suppressions(&reported, histories, decide);

    insert_messages(tx, mailbox, &fresh).await?;
    insert_bounces(tx, &reported).await?;
    insert_suppressions(tx, &decided).await?;
    mailbox::insert_unsettled(tx, mailbox, entries).await?;
    if let Some(cursor) = cursor {
        mailbox::move_cursor(tx, mailbox, cursor).await?;
    }
    Ok(Committed {
        new: fresh.len(),
        duplicates: entries.len() - fresh.len(),
        suppressed: decided.into_iter().map(|(_, suppression)| suppression).collect(),
    })
}

/// Which messages of the batch are in the store already.
async fn recorded(tx: &mut SqliteConnection, entries: &[Entry]) -> Result<HashSet<[u8; 32]>, sqlx::Error> {
    let mut found = HashSet::new();
    for chunk in entries.chunks(ROWS_A_STATEMENT) {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT sha256 FROM message WHERE sha256 IN (");
        let mut values = query.separated(", ");
        for entry in chunk {
            values.push_bind(&entry.sha256[..]);
        }
        query.push(")");
        for row in query.build().persistent(chunk.len() == ROWS_A_STATEMENT).fetch_all(&mut *tx).await? {
            found.extend(<[u8; 32]>::try_from(row.try_get::<&[u8], _>(0)?));
        }
    }
    Ok(found)
}

/// The recipients that a delivery report speaks of. Automatic answers and complaints report on no delivery.
fn recipients<'a>(fresh: &Fresh<'a>) -> impl Iterator<Item = Reported<'a>> {
    let (message, entry) = (fresh.id, fresh.entry);
    let reports = matches!(entry.report.kind, Kind::Bounce | Kind::Delayed | Kind::Delivered);
    let judged = (0..).zip(entry.report.recipients.iter().zip(&entry.verdicts)).filter(move |_| reports);
    judged.map(move |(position, (recipient, verdict))| Reported { id: 0, message, position, entry, recipient, verdict })
}

impl Reported<'_> {
    /// Whether it may lead to a suppression at all: the address failed, and by its own fault.
    fn address_at_fault(&self) -> Option<&str> {
        let counts = self.recipient.action == Action::Failed && self.verdict.fault == Fault::Recipient;
        self.recipient.address.as_ref().filter(|_| counts).map(|address| address.normalised())
    }
}

/// The histories of all addresses at fault, in one query.
async fn histories(
    tx: &mut SqliteConnection,
    reported: &[Reported<'_>],
) -> Result<HashMap<String, History>, sqlx::Error> {
    let addresses: HashSet<&str> = reported.iter().filter_map(Reported::address_at_fault).collect();
    let Some(oldest) = reported.iter().map(|r| r.entry.received).min() else {
        return Ok(HashMap::new());
    };
    let rows = sqlx::query(
        "SELECT a.value AS address,
                (SELECT json_group_array(b.at) FROM bounce AS b
                 WHERE b.address = a.value AND b.at >= ?2
                   AND b.action = 'failed' AND b.class = 'soft' AND b.fault = 'recipient') AS soft,
                (SELECT max(l.at) FROM suppression_log AS l
                 WHERE l.address = a.value AND l.change = 'removed') AS removed_at,
                (SELECT s.origin FROM suppression AS s WHERE s.address = a.value) AS origin
         FROM json_each(?1) AS a",
    )
    .bind(json(&addresses)?)
    .bind(oldest - i64::from(HISTORY_DAYS) * 86_400)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter()
        .map(|row| {
            let history = History {
                soft: serde_json::from_str(row.try_get("soft")?).map_err(|e| sqlx::Error::Decode(e.into()))?,
                removed_at: row.try_get("removed_at")?,
                suppressed: row
                    .try_get::<Option<&str>, _>("origin")?
                    .map(str::parse)
                    .transpose()
                    .map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            };
            Ok((row.try_get("address")?, history))
        })
        .collect()
}

fn json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|e| sqlx::Error::Encode(e.into()))
}

/// Asks `decide` about each verdict in turn; what it learns on the way counts for the ones after.
fn suppressions<'a>(
    reported: &'a [Reported<'a>],
    mut histories: HashMap<String, History>,
    decide: impl Fn(&History, &Recipient, &Verdict, i64) -> Option<Suppression>,
) -> Vec<(&'a Reported<'a>, Suppression)> {
    let mut decided = Vec::new();
    for one in reported {
        let Some(history) = one.address_at_fault().and_then(|address| histories.get_mut(address)) else {
            continue;
        };
        let at = one.entry.received;
        if let Some(suppression) = decide(history, one.recipient, one.verdict, at) {
            history.suppressed = Some(suppression.origin);
            decided.push((one, suppression));
        }
        if one.verdict.class == Class::Soft {
            history.soft.push(at);
        }
    }
    decided
}

async fn insert_messages(tx: &mut SqliteConnection, mailbox: &str, fresh: &[Fresh<'_>]) -> Result<(), sqlx::Error> {
    for chunk in fresh.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT INTO message
             (id, sha256, mailbox, place, message_id, received, kind, format, size) ",
        )
        .push_values(chunk, |mut row, Fresh { id, entry }| {
            row.push_bind(*id)
                .push_bind(&entry.sha256[..])
                .push_bind(mailbox)
                .push_bind(entry.place.as_str())
                .push_bind(entry.report.message_id.as_deref())
                .push_bind(entry.received)
                .push_bind(entry.report.kind.as_str())
                .push_bind(entry.report.format)
                .push_bind(i64::try_from(entry.size).unwrap_or(i64::MAX));
        })
        .build()
        .persistent(chunk.len() == ROWS_A_STATEMENT)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn insert_bounces(tx: &mut SqliteConnection, reported: &[Reported<'_>]) -> Result<(), sqlx::Error> {
    for chunk in reported.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT INTO bounce
             (id, message, position, action, address_given, address, domain, class, reason, fault, status, reply,
              diagnostic, remote_mta, reporting_mta, original_message_id, campaign, list_id, rule, field, line,
              words, conflict, at) ",
        )
        .push_values(chunk, |mut row, one| {
            let Reported { entry, recipient, verdict, .. } = one;
            let address = recipient.address.as_ref();
            // It decided even where the mail's codes then allowed nothing as bad as it says.
            let evidence = verdict.winner.as_ref().map(|winner| &winner.evidence);
            row.push_bind(one.id)
                .push_bind(one.message)
                .push_bind(one.position)
                .push_bind(recipient.action.as_str())
                .push_bind(address.map(|a| a.given()))
                .push_bind(address.map(|a| a.normalised()))
                .push_bind(address.map(|a| a.domain()))
                .push_bind(verdict.class.as_str())
                .push_bind(verdict.reason.as_str())
                .push_bind(verdict.fault.as_str())
                .push_bind(verdict.status.map(|status| status.to_string()))
                .push_bind(verdict.reply.map(|reply| reply.get()))
                .push_bind(recipient.diagnostic.as_ref().map(|words| words.as_str()))
                .push_bind(recipient.remote_mta.as_deref())
                .push_bind(entry.report.reporting_mta.as_deref())
                .push_bind(entry.report.original.message_id.as_deref())
                .push_bind(entry.report.original.campaign.as_deref())
                .push_bind(entry.report.original.list_id.as_deref())
                .push_bind(&verdict.rule)
                .push_bind(evidence.map(|e| e.location.to_string()))
                .push_bind(evidence.and_then(|e| e.line))
                .push_bind(evidence.map(|e| e.words.as_str()))
                .push_bind(verdict.conflict)
                .push_bind(entry.received);
        })
        .build()
        .persistent(chunk.len() == ROWS_A_STATEMENT)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn insert_suppressions(
    tx: &mut SqliteConnection,
    decided: &[(&Reported<'_>, Suppression)],
) -> Result<(), sqlx::Error> {
    for chunk in decided.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT INTO suppression (address, domain, origin, reason, rule, diagnostic, bounce, since, note) ",
        )
        .push_values(chunk, |mut row, (one, suppression)| {
            row.push_bind(&suppression.address)
                .push_bind(one.recipient.address.as_ref().map_or("", |a| a.domain()))
                .push_bind(suppression.origin.as_str())
                .push_bind(suppression.reason.map(|reason| reason.as_str()))
                .push_bind(suppression.rule.as_deref())
                .push_bind(suppression.diagnostic.as_deref())
                .push_bind(one.id)
                .push_bind(suppression.since)
                .push_bind(suppression.note.as_deref());
        })
        .push(
            " ON CONFLICT (address) DO UPDATE SET
              origin = excluded.origin, reason = excluded.reason, rule = excluded.rule,
              diagnostic = excluded.diagnostic, bounce = excluded.bounce",
        )
        .build()
        .persistent(chunk.len() == ROWS_A_STATEMENT)
        .execute(&mut *tx)
        .await?;
        QueryBuilder::<Sqlite>::new("INSERT INTO suppression_log (at, address, change, origin, note) ")
            .push_values(chunk, |mut row, (_, suppression)| {
                row.push_bind(suppression.since)
                    .push_bind(&suppression.address)
                    .push_bind("added")
                    .push_bind(suppression.origin.as_str())
                    .push_bind(suppression.note.as_deref());
            })
            .build()
            .persistent(chunk.len() == ROWS_A_STATEMENT)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
