//! One commit: reads the facts, has it planned, and writes the plan, in one transaction. Every statement carries the
//! whole batch, because a statement costs more than the rows in it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    ROWS_A_STATEMENT, SqliteStore, brake, decoded, doubted, is_kept, json, last_change, list, mailbox, parsed, sent,
    tables, tokens, totals, unrecognised, verdict::VerdictColumns,
};
use crate::{
    message::{Place, Reading},
    policy::{DAY, Policy},
    report::Trusts,
    store::{
        Committed, JudgedMessage, StoreError,
        failures::{Failures, Telling},
        plan::{self, Facts, KnownAddress, NewBounce, NewComplaint, NewMessage, Plan},
        sent::{Vouching, believe as believe_alone, message_ids},
        tokens::Replay,
    },
    suppression::{HISTORY_DAYS, History, InForce, Past, Waiting},
};

impl SqliteStore {
    pub(in crate::store) async fn commit(
        &self,
        mailbox: &str,
        batch: &[JudgedMessage],
        reading: &Reading,
        policy: &Policy,
    ) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        self.check_lease(&mut tx, mailbox).await?;
        // Whoever is forgotten was named all the same.
        let of_nobody =
            batch.iter().filter(|judged| judged.report.names_nobody()).map(|judged| judged.sha256).collect();
        let anonymous = self.without_forgotten(&mut tx, batch).await?;
        let batch = anonymous.as_deref().unwrap_or(batch);
        let committed = match record(&mut tx, mailbox, batch, &of_nobody, reading, policy).await {
            Ok(committed) => tx.commit().await.map(|()| committed),
            Err(error) => {
                drop(tx);
                Err(error)
            }
        };
        committed.map_err(|error| self.error(error))
    }
}

impl SqliteStore {
    pub(in crate::store) async fn trusts(&self, judged: &JudgedMessage) -> Result<Trusts, StoreError> {
        let asked = async {
            let mut reader = self.readers.acquire().await?;
            let vouching = sent::vouching(&mut *reader).await?;
            let batch = std::slice::from_ref(judged);
            let (_, replays) = tokens::spend(&mut reader, batch).await?;
            let believed = believe(&mut reader, batch, &replays, vouching.as_ref()).await?;
            Ok(believed.map_or_else(|| judged.trusts.clone(), |mut batch| batch.remove(0).trusts))
        };
        asked.await.map_err(|error| self.error(error))
    }
}

async fn record(
    tx: &mut SqliteConnection,
    mailbox: &str,
    batch: &[JudgedMessage],
    of_nobody: &HashSet<[u8; 32]>,
    reading: &Reading,
    policy: &Policy,
) -> Result<Committed, sqlx::Error> {
    let vouching = sent::vouching(&mut *tx).await?;
    let policy = &*policy.vouching_since(vouching.as_ref().map(|vouching| vouching.since));
    let (spent, replays) = tokens::spend(tx, batch).await?;
    let believed = believe(tx, batch, &replays, vouching.as_ref()).await?;
    let batch = believed.as_deref().unwrap_or(batch);
    let facts = facts(tx, mailbox, batch, of_nobody, policy, vouching.is_some()).await?;
    let plan = Plan::new(mailbox, batch, policy, facts);
    unrecognised::make_way(tx, &plan.messages).await?;
    insert_messages(tx, mailbox, &plan.messages, of_nobody).await?;
    insert_bounces(tx, &plan.bounces).await?;
    insert_complaints(tx, &plan.complaints).await?;
    tokens::note(tx, &spent).await?;
    if let Some(vouching) = &vouching {
        doubted::note(tx, &plan, &vouching.salt).await?;
    }
    totals::add(tx, mailbox, &plan).await?;
    outdo(tx, &plan.outdone).await?;
    let mut committed = list::write(tx, plan.list, &plan.events, &policy.brake).await?;
    mailbox::insert_unsettled(tx, mailbox, &plan.unsettled).await?;
    let places: Vec<&Place> = batch.iter().map(|judged| &judged.place).collect();
    mailbox::note_reading(tx, mailbox, &places, reading).await?;
    committed.new = plan.messages.len();
    committed.duplicates = batch.len() - plan.messages.len();
    Ok(committed)
}

/// The batch as far as it can be believed: less where a token was used before, more where a message that was returned is
/// known to have gone to nobody else. `None` where it is neither.
async fn believe(
    tx: &mut SqliteConnection,
    batch: &[JudgedMessage],
    replays: &[Replay],
    vouching: Option<&Vouching>,
) -> Result<Option<Vec<JudgedMessage>>, sqlx::Error> {
    let alone = match vouching {
        Some(vouching) => sent::alone(tx, &message_ids(batch), &vouching.salt).await?,
        None => BTreeMap::new(),
    };
    if replays.is_empty() && alone.is_empty() {
        return Ok(None);
    }
    let mut batch = batch.to_vec();
    for Replay { message, address } in replays {
        batch[*message].trusts.unsign(address);
    }
    if let Some(vouching) = vouching {
        believe_alone(&mut batch, &vouching.salt, &alone);
    }
    Ok(Some(batch))
}

/// These count no more: others tell of the same failures.
pub(super) async fn outdo(tx: &mut SqliteConnection, bounces: &[i64]) -> Result<(), sqlx::Error> {
    if bounces.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE bounce SET counts = 0, told_before = 1 WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(json(&bounces)?)
        .execute(tx)
        .await
        .map(drop)
}

/// The write lock is ours, so what is read here holds until the commit.
async fn facts(
    tx: &mut SqliteConnection,
    mailbox: &str,
    batch: &[JudgedMessage],
    of_nobody: &HashSet<[u8; 32]>,
    policy: &Policy,
    asks_failures: bool,
) -> Result<Facts, sqlx::Error> {
    let (last_message, last_bounce, last_complaint, last_revision): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'message'), 0),
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'bounce'), 0),
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'complaint'), 0),
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)",
    )
    .fetch_one(&mut *tx)
    .await?;
    let mut known = known(tx, batch, of_nobody).await?;
    let read_before = read_before(tx, mailbox, &plan::fresh(batch, &known), of_nobody).await?;
    known.extend(read_before);
    let fresh = plan::fresh(batch, &known);
    let oldest = fresh.iter().map(|judged| judged.received).min().unwrap_or_default();
    let addresses = plan::addresses(mailbox, &fresh, policy);
    let column = if policy.asks_mailbox() { Column::Mailbox } else { Column::Nothing };
    let hours = brake::hours(tx, &plan::hard_by_hour(mailbox, &fresh, policy), &policy.brake).await?;
    let histories = histories(tx, &addresses, oldest, column).await?;
    // Where there may be a mail log: of a mailbox alone each report is what it is.
    let failures = if asks_failures {
        Some(known_failures(tx, &plan::failures(&fresh), policy, &HashSet::new()).await?)
    } else {
        None
    };
    Ok(Facts { known, histories, last_message, last_bounce, last_complaint, last_revision, failures, hours })
}

/// The reports of these failures that count already, but for some of them.
pub(super) async fn known_failures(
    tx: &mut SqliteConnection,
    failures: &BTreeSet<(&str, &str)>,
    policy: &Policy,
    but: &HashSet<i64>,
) -> Result<Failures, sqlx::Error> {
    let mut known = Failures::default();
    if failures.is_empty() {
        return Ok(known);
    }
    let rows = sqlx::query(
        "SELECT b.id, b.address, b.original_message_id, b.class, b.counts, b.at, b.trust, m.mailbox
         FROM json_each(?1) AS j CROSS JOIN bounce AS b JOIN message AS m ON m.id = b.message
         WHERE b.address = j.value ->> 0 AND b.original_message_id = j.value ->> 1 AND b.action = 'failed'
               AND b.told_before = 0",
    )
    .bind(json(&failures)?)
    .fetch_all(&mut *tx)
    .await?;
    for row in rows {
        let telling = Telling {
            bounce: row.try_get("id")?,
            class: parsed(row.try_get("class")?)?,
            counts: row.try_get("counts")?,
            is_believed: policy.demands.are_met(
                Some(row.try_get("mailbox")?),
                row.try_get("at")?,
                parsed(row.try_get("trust")?)?,
            ),
        };
        if !but.contains(&telling.bounce) {
            known.know((row.try_get("address")?, row.try_get("original_message_id")?), telling);
        }
    }
    Ok(known)
}

/// Which messages of the batch are in the store already.
async fn known(
    tx: &mut SqliteConnection,
    batch: &[JudgedMessage],
    of_nobody: &HashSet<[u8; 32]>,
) -> Result<HashSet<[u8; 32]>, sqlx::Error> {
    let mut found = HashSet::new();
    for chunk in batch.chunks(ROWS_A_STATEMENT) {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT sha256, names_nobody FROM message WHERE sha256 IN (");
        let mut values = query.separated(", ");
        for judged in chunk {
            values.push_bind(&judged.sha256[..]);
        }
        query.push(")");
        for row in query.build().persistent(is_kept(chunk.len())).fetch_all(&mut *tx).await? {
            let sha256 = <[u8; 32]>::try_from(row.try_get::<&[u8], _>(0)?);
            // Other tables may find somebody where nobody was found.
            let named_nobody: bool = row.try_get(1)?;
            found.extend(sha256.ok().filter(|sha256| !named_nobody || of_nobody.contains(sha256)));
        }
    }
    Ok(found)
}

/// Which of these messages lay at their places before. Of a long one only so much is read as the configuration says:
/// read again under another limit it has another SHA-256, and is the same message.
async fn read_before(
    tx: &mut SqliteConnection,
    mailbox: &str,
    fresh: &[&JudgedMessage],
    of_nobody: &HashSet<[u8; 32]>,
) -> Result<HashSet<[u8; 32]>, sqlx::Error> {
    let mut found = HashSet::new();
    for chunk in fresh.chunks(ROWS_A_STATEMENT) {
        let select = "SELECT place, size, received, message_id, names_nobody FROM message WHERE mailbox = ";
        let mut query = QueryBuilder::<Sqlite>::new(select);
        query.push_bind(mailbox).push(" AND place IN (");
        let mut values = query.separated(", ");
        for judged in chunk {
            values.push_bind(judged.place.as_str());
        }
        query.push(")");
        for row in query.build().persistent(is_kept(chunk.len())).fetch_all(&mut *tx).await? {
            let (place, message_id): (&str, Option<&str>) = (row.try_get("place")?, row.try_get("message_id")?);
            let (size, received): (i64, i64) = (row.try_get("size")?, row.try_get("received")?);
            let named_nobody: bool = row.try_get("names_nobody")?;
            let same = chunk.iter().filter(|judged| {
                (!named_nobody || of_nobody.contains(&judged.sha256))
                    && judged.place.as_str() == place
                    && i64::try_from(judged.size).unwrap_or(i64::MAX) == size
                    && judged.received == received
                    && judged.report.message_id.as_deref() == message_id
            });
            found.extend(same.map(|judged| judged.sha256));
        }
    }
    Ok(found)
}

/// What is asked of a bounce beside what the index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Nothing,
    Mailbox,
}

/// The bounces of an address that count; `$mailbox` is where each was read.
macro_rules! known_of {
    ($mailbox:literal) => {
        concat!(
            "SELECT a.value ->> 0 AS address,
                (SELECT json_group_array(json_array(b.id, b.at, b.class, b.reason, b.fault, b.trust, ",
            $mailbox,
            ")) FROM bounce AS b WHERE b.address = a.value ->> 0 AND b.at >= ?2 AND b.counts = 1) AS past,
                (SELECT max(e.at) FROM event AS e WHERE e.address = a.value ->> 0 AND e.kind <> 'suppressed'
                 AND e.kind IN ('released', 'rejected', 'allowed', 'disallowed')) AS released_at,
                (SELECT json_group_array(e.at) FROM event AS e WHERE e.address = a.value ->> 0
                 AND e.kind <> 'suppressed' AND e.kind = 'expired') AS expired,
                ",
            last_change!("a.value ->> 0", "s.revision", "h.revision"),
            " AS last_change,
                (SELECT l.at FROM alive AS l WHERE l.address = a.value ->> 0) AS alive_at,
                EXISTS (SELECT 1 FROM allowed AS w WHERE w.address IN (a.value ->> 0, '*@' || (a.value ->> 1)))
                AS allowed,
                s.origin, s.since, s.expires, h.why, h.origin AS held_origin, h.since AS held_since
             FROM json_each(?1) AS a
             LEFT JOIN suppression AS s ON s.address = a.value ->> 0
             LEFT JOIN held AS h ON h.address = a.value ->> 0"
        )
    };
}

/// What is known of these addresses, as far back as matters for a bounce received at `oldest`, in one query.
pub(super) async fn histories(
    tx: &mut SqliteConnection,
    addresses: &BTreeMap<&str, &str>,
    oldest: i64,
    mailbox: Column,
) -> Result<HashMap<String, KnownAddress>, sqlx::Error> {
    if addresses.is_empty() {
        return Ok(HashMap::new());
    }
    // Without it the index alone answers.
    let query = if mailbox == Column::Mailbox {
        sqlx::query(known_of!("(SELECT m.mailbox FROM message AS m WHERE m.id = b.message)"))
    } else {
        sqlx::query(known_of!("NULL"))
    };
    let rows = query
        .bind(json(&addresses.iter().collect::<Vec<_>>())?)
        .bind(oldest - i64::from(HISTORY_DAYS) * DAY)
        .fetch_all(&mut *tx)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("address")?, known_of(row)?))).collect()
}

fn known_of(row: &SqliteRow) -> Result<KnownAddress, sqlx::Error> {
    let origin = row.try_get::<Option<&str>, _>("origin")?.map(parsed).transpose()?;
    let why = row.try_get::<Option<&str>, _>("why")?.map(parsed).transpose()?;
    let entry = |origin| {
        Ok::<_, sqlx::Error>(InForce { origin, since: row.try_get("since")?, expires: row.try_get("expires")? })
    };
    let waiting = |why| {
        let origin = parsed(row.try_get("held_origin")?)?;
        Ok::<_, sqlx::Error>(Waiting { why, origin, since: row.try_get("held_since")? })
    };
    let history = History {
        past: decoded::<Vec<PastRow>>(row.try_get("past")?)?.into_iter().map(past).collect::<Result<_, _>>()?,
        released_at: row.try_get("released_at")?,
        expired: decoded(row.try_get("expired")?)?,
        alive_at: row.try_get("alive_at")?,
        entry: origin.map(entry).transpose()?,
        held: why.map(waiting).transpose()?,
        allowed: row.try_get("allowed")?,
    };
    Ok(KnownAddress { history, last_change: row.try_get("last_change")? })
}

type PastRow = (i64, i64, String, String, String, String, Option<String>);

fn past((bounce, at, class, reason, fault, trust, mailbox): PastRow) -> Result<Past, sqlx::Error> {
    let (class, reason, fault, trust) = (parsed(&class)?, parsed(&reason)?, parsed(&fault)?, parsed(&trust)?);
    Ok(Past { bounce, at, class, reason, fault, mailbox, trust })
}

async fn insert_messages(
    tx: &mut SqliteConnection,
    mailbox: &str,
    messages: &[NewMessage<'_>],
    of_nobody: &HashSet<[u8; 32]>,
) -> Result<(), sqlx::Error> {
    for chunk in messages.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT INTO message
             (id, sha256, mailbox, place, message_id, received, kind, format, size, left_out, names_nobody) ",
        )
        .push_values(chunk, |mut row, NewMessage { id, judged }| {
            row.push_bind(*id)
                .push_bind(&judged.sha256[..])
                .push_bind(mailbox)
                .push_bind(judged.place.as_str())
                .push_bind(judged.report.message_id.as_deref())
                .push_bind(judged.received)
                .push_bind(judged.report.kind.as_str())
                .push_bind(judged.report.format.to_string())
                .push_bind(i64::try_from(judged.size).unwrap_or(i64::MAX))
                .push_bind(i64::try_from(judged.report.left_out).unwrap_or(i64::MAX))
                .push_bind(of_nobody.contains(&judged.sha256));
        })
        .build()
        .persistent(is_kept(chunk.len()))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn insert_bounces(tx: &mut SqliteConnection, bounces: &[NewBounce<'_>]) -> Result<(), sqlx::Error> {
    let tables = tables::rows(tx, bounces).await?;
    for chunk in bounces.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT INTO bounce
             (id, message, position, action, address_given, address, domain, class, reason, fault, counts, status,
              reply, diagnostic, remote_mta, reporting_mta, original_message_id, campaign, list_id, rule, field, line,
              words, lowered_from, lowered_line, lowered_words, forwarded_to, forwarded_class, forwarded_reason,
              forwarded_fault, conflict, at, tables, evidence, trust, told_before,
              provider) ",
        )
        .push_values(chunk, |mut row, bounce| {
            let NewBounce { judged, recipient, verdict, .. } = bounce;
            let address = recipient.address.as_ref();
            let columns = VerdictColumns::from(*verdict);
            row.push_bind(bounce.id)
                .push_bind(bounce.message)
                .push_bind(bounce.position)
                .push_bind(recipient.action.as_str())
                .push_bind(recipient.address_given())
                .push_bind(address.map(|a| a.normalised()))
                .push_bind(address.map(|a| a.domain()))
                .push_bind(columns.class)
                .push_bind(columns.reason)
                .push_bind(columns.fault)
                .push_bind(bounce.counts)
                .push_bind(verdict.status.map(|status| status.to_string()))
                .push_bind(verdict.reply.map(|reply| reply.get()))
                .push_bind(recipient.diagnostic.as_ref().map(|diagnostic| diagnostic.as_str()))
                .push_bind(recipient.remote_mta.as_deref())
                .push_bind(judged.report.reporting_mta.as_deref())
                .push_bind(judged.report.original.message_id.as_deref())
                .push_bind(judged.report.original.campaign.as_deref())
                .push_bind(judged.report.original.list_id.as_deref())
                .push_bind(columns.rule)
                .push_bind(columns.field)
                .push_bind(columns.line)
                .push_bind(columns.words)
                .push_bind(columns.lowered_from)
                .push_bind(columns.lowered_line)
                .push_bind(columns.lowered_words)
                .push_bind(verdict.forwarded.as_ref().map(|forwarded| forwarded.to.as_str()))
                .push_bind(columns.forwarded_class)
                .push_bind(columns.forwarded_reason)
                .push_bind(columns.forwarded_fault)
                .push_bind(columns.conflict)
                .push_bind(judged.received)
                .push_bind(tables[judged.tables.digest.as_str()])
                // Of whom nothing was said, nothing is judged again.
                .push_bind(recipient.to_store().filter(|_| recipient.says_anything()))
                .push_bind(bounce.trust.as_str())
                .push_bind(bounce.told_before)
                .push_bind(bounce.provider.as_deref());
        })
        .build()
        .persistent(is_kept(chunk.len()))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn insert_complaints(tx: &mut SqliteConnection, complaints: &[NewComplaint<'_>]) -> Result<(), sqlx::Error> {
    for chunk in complaints.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new(
            "INSERT INTO complaint
             (id, message, position, address_given, address, domain, original_message_id, campaign, list_id, field, line,
              words, at, trust, provider) ",
        )
        .push_values(chunk, |mut row, new| {
            let NewComplaint { judged, complainer, .. } = new;
            let original = &judged.report.original;
            row.push_bind(new.id)
                .push_bind(new.message)
                .push_bind(new.position)
                .push_bind(complainer.value.given())
                .push_bind(complainer.value.normalised())
                .push_bind(complainer.value.domain())
                .push_bind(original.message_id.as_deref())
                .push_bind(original.campaign.as_deref())
                .push_bind(original.list_id.as_deref())
                .push_bind(complainer.evidence.location.to_string())
                .push_bind(complainer.evidence.line)
                .push_bind(complainer.evidence.words.as_str())
                .push_bind(judged.received)
                .push_bind(new.trust.as_str())
                .push_bind(&new.provider);
        })
        .build()
        .persistent(is_kept(chunk.len()))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
