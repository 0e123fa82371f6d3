//! Stored bounces judged anew, address by address: all that an address goes through is read, judged and written in one
//! transaction, so that whoever is stopped goes on with the next address.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use sqlx::{FromRow, SqliteConnection};

use super::{SqliteStore, decoded, events, json, list, parsed, tables};
use crate::{
    policy::Case,
    report::{Action, Address, Recipient, StoredRecipient, Verdict},
    store::{
        Anew, Differences, EventKind, Judged, ListDifference, ListedAs, Progress, StoreError,
        list_changes::{Change, ListChanges, Replayed, Step, replay},
        plan::{DAEMON, NewEntry, NewEvent},
    },
    suppression::{Origin, Suppression, Why},
};

/// How many addresses, or bounces of nobody, are judged in one transaction.
const AT_ONCE: u32 = 300;

impl SqliteStore {
    pub(in crate::store) async fn reclassify(
        &self,
        anew: &Anew<'_>,
        behind: &Progress,
    ) -> Result<(Differences, Option<Progress>), StoreError> {
        let mut tx = if anew.dry_run {
            self.readers.begin().await.map_err(|error| self.error(error))?
        } else {
            self.begin().await?
        };
        let done = async {
            let done = judge_some(&mut tx, anew, behind).await?;
            tx.commit().await?;
            Ok(done)
        };
        done.await.map_err(|error| self.error(error))
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
}

async fn judge_some(
    tx: &mut SqliteConnection,
    anew: &Anew<'_>,
    behind: &Progress,
) -> Result<(Differences, Option<Progress>), sqlx::Error> {
    let current =
        if anew.dry_run { tables::known(tx, anew.tables).await? } else { Some(tables::row(tx, anew.tables).await?) };
    match behind {
        Progress::Address(behind) => judge_addresses(tx, anew, current, behind).await,
        Progress::Nobody(behind) => judge_nobodies(tx, anew, current, *behind).await,
    }
}

/// A row of `bounce`, as far as a verdict depends on it or is kept in it.
#[derive(Debug, FromRow)]
struct Row {
    id: i64,
    message: i64,
    at: i64,
    action: String,
    address_given: Option<String>,
    address: Option<String>,
    class: String,
    reason: String,
    fault: String,
    counts: bool,
    diagnostic: Option<String>,
    remote_mta: Option<String>,
    reporting_mta: Option<String>,
    rule: String,
    field: Option<String>,
    line: Option<i64>,
    words: Option<String>,
    lowered_from: Option<String>,
    lowered_line: Option<i64>,
    lowered_words: Option<String>,
    forwarded_to: Option<String>,
    forwarded_class: Option<String>,
    forwarded_reason: Option<String>,
    forwarded_fault: Option<String>,
    conflict: bool,
    tables: Option<i64>,
    evidence: Option<String>,
    mailbox: String,
    recorded: i64,
}

/// The columns of [`Row`], once for both queries.
macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.message, b.at, b.action, b.address_given, b.address, b.class, b.reason, b.fault, b.counts, \
             b.diagnostic, b.remote_mta, b.reporting_mta, b.rule, b.field, b.line, b.words, b.lowered_from, \
             b.lowered_line, b.lowered_words, b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault, \
             b.conflict, b.tables, b.evidence, m.mailbox, m.recorded ",
            $rest
        )
    };
}

/// What a verdict is in columns: class, reason, fault, rule, field, line, words, lowered_from, lowered_line,
/// lowered_words, forwarded_class, forwarded_reason, forwarded_fault and conflict.
type Columns = (
    (String, String, String, String),
    (Option<String>, Option<i64>, Option<String>),
    (Option<String>, Option<i64>, Option<String>),
    (Option<String>, Option<String>, Option<String>),
    bool,
);

impl Row {
    fn columns(&self) -> Columns {
        (
            (self.class.clone(), self.reason.clone(), self.fault.clone(), self.rule.clone()),
            (self.field.clone(), self.line, self.words.clone()),
            (self.lowered_from.clone(), self.lowered_line, self.lowered_words.clone()),
            (self.forwarded_class.clone(), self.forwarded_reason.clone(), self.forwarded_fault.clone()),
            self.conflict,
        )
    }

    fn judged(&self) -> Result<Judged, sqlx::Error> {
        let (class, reason, fault) = (parsed(&self.class)?, parsed(&self.reason)?, parsed(&self.fault)?);
        Ok(Judged { class, reason, fault })
    }

    /// The recipient and the verdict that its tables give him now; `None` where not enough is stored.
    fn judge(&self, anew: &Anew<'_>) -> Result<Option<(Recipient, Verdict)>, sqlx::Error> {
        let Some(evidence) = &self.evidence else { return Ok(None) };
        let stored = StoredRecipient {
            action: parsed(&self.action)?,
            address_given: self.address_given.as_deref(),
            is_address: self.address.is_some(),
            diagnostic: self.diagnostic.as_deref(),
            remote_mta: self.remote_mta.as_deref(),
            forwarded_to: self.forwarded_to.as_deref(),
            evidence,
        };
        Ok((anew.judge)(&stored, self.reporting_mta.as_deref()))
    }

    /// The recipient and the verdict that he got, as far as a policy asks for them.
    fn as_it_is(&self) -> Result<(Recipient, Verdict), sqlx::Error> {
        let Judged { class, reason, fault } = self.judged()?;
        let recipient = Recipient {
            address: self.address_given.as_deref().and_then(Address::parse),
            action: parsed(&self.action)?,
            // Whoever is ours does not count, and counts are asked no more here.
            is_ours: !self.counts,
            diagnostic: self.diagnostic.as_deref().map(Into::into),
            remote_mta: self.remote_mta.clone(),
            ..Recipient::default()
        };
        let verdict = Verdict {
            class,
            reason,
            fault,
            status: None,
            reply: None,
            rule: self.rule.clone(),
            conflict: self.conflict,
            advice: String::new(),
            winner: None,
            lowered: None,
            forwarded: None,
            outranked: Vec::new(),
        };
        Ok((recipient, verdict))
    }
}

fn columns_of(verdict: &Verdict) -> Columns {
    let evidence = verdict.winner.as_ref().map(|winner| &winner.evidence);
    let lowered = verdict.lowered.as_ref();
    let lowered_by = lowered.and_then(|lowered| lowered.evidence.as_ref());
    let forwarded = verdict.forwarded.as_ref().map(|forwarded| forwarded.judgement);
    let (class, reason, fault) = (verdict.class, verdict.reason, verdict.fault);
    (
        (class.to_string(), reason.to_string(), fault.to_string(), verdict.rule.clone()),
        (
            evidence.map(|evidence| evidence.location.to_string()),
            evidence.and_then(|evidence| evidence.line).map(Into::into),
            evidence.map(|evidence| evidence.words.clone()),
        ),
        (
            lowered.map(|lowered| lowered.from.to_string()),
            lowered_by.and_then(|evidence| evidence.line).map(Into::into),
            lowered_by.map(|evidence| evidence.words.clone()),
        ),
        (
            forwarded.map(|judgement| judgement.class.to_string()),
            forwarded.map(|judgement| judgement.reason.to_string()),
            forwarded.map(|judgement| judgement.fault.to_string()),
        ),
        verdict.conflict,
    )
}

/// A bounce with today's verdict, or the one that it keeps.
struct Again {
    row: Row,
    recipient: Recipient,
    verdict: Verdict,
    /// Whether the verdict is today's.
    is_todays: bool,
}

impl Again {
    fn of(row: Row, anew: &Anew<'_>, differences: &mut Differences) -> Result<Self, sqlx::Error> {
        let asked = anew.since.is_none_or(|since| row.at >= since);
        let todays = if asked { row.judge(anew)? } else { None };
        let is_todays = todays.is_some();
        if asked && matches!(row.action.as_str(), "failed" | "delayed") {
            differences.bounces += 1;
            differences.left += u64::from(!is_todays);
        }
        let (recipient, verdict) = match todays {
            Some(todays) => todays,
            None => row.as_it_is()?,
        };
        Ok(Self { row, recipient, verdict, is_todays })
    }

    fn case(&self) -> Option<Case<'_>> {
        Case::of_bounce(&self.row.mailbox, self.row.at, self.row.id, &self.recipient, &self.verdict)
    }

    /// Whether it may lead to a suppression. Of a verdict that stays only the policy can say no.
    fn counts(&self, anew: &Anew<'_>) -> bool {
        self.case().is_some_and(|case| self.counts_as(anew, &case))
    }

    fn counts_as(&self, anew: &Anew<'_>, case: &Case<'_>) -> bool {
        (self.is_todays || self.row.counts) && anew.policy.counts(case)
    }

    /// Notes what is different; says what the row is to hold where something is.
    fn difference(
        &self,
        anew: &Anew<'_>,
        differences: &mut Differences,
    ) -> Result<Option<serde_json::Value>, sqlx::Error> {
        let counts = self.counts(anew);
        if !self.is_todays {
            // Not whole: only whether it counts may have changed, by the policy.
            return Ok((counts != self.row.counts).then(|| json!([self.row.id, counts])));
        }
        let (before, after) = (self.row.columns(), columns_of(&self.verdict));
        if (&before, self.row.counts) == (&after, counts) {
            return Ok(None);
        }
        let Verdict { class, reason, fault, .. } = self.verdict;
        let (was, is) = (self.row.judged()?, Judged { class, reason, fault });
        if was == is {
            differences.otherwise_explained += u64::from(before != after);
        } else {
            *differences.verdicts.entry((was, is)).or_default() += 1;
        }
        let ((class, reason, fault, rule), said, lowered, forwarded, conflict) = after;
        Ok(Some(json!([
            self.row.id,
            counts,
            class,
            reason,
            fault,
            rule,
            said.0,
            said.1,
            said.2,
            lowered.0,
            lowered.1,
            lowered.2,
            forwarded.0,
            forwarded.1,
            forwarded.2,
            conflict
        ])))
    }
}

/// Writes today's verdicts into their rows, and by which tables they were given.
async fn write(
    tx: &mut SqliteConnection,
    changed: &[serde_json::Value],
    judged: &[i64],
    current: Option<i64>,
) -> Result<(), sqlx::Error> {
    let (whole, counts): (Vec<_>, Vec<_>) =
        changed.iter().partition(|row| row.as_array().is_some_and(|row| row.len() > 2));
    if !whole.is_empty() {
        sqlx::query(
            "UPDATE bounce SET counts = j.value ->> 1, class = j.value ->> 2, reason = j.value ->> 3,
                    fault = j.value ->> 4, rule = j.value ->> 5, field = j.value ->> 6, line = j.value ->> 7,
                    words = j.value ->> 8, lowered_from = j.value ->> 9, lowered_line = j.value ->> 10,
                    lowered_words = j.value ->> 11, forwarded_class = j.value ->> 12, forwarded_reason = j.value ->> 13,
                    forwarded_fault = j.value ->> 14, conflict = j.value ->> 15
             FROM json_each(?1) AS j WHERE bounce.id = j.value ->> 0",
        )
        .bind(json(&whole)?)
        .execute(&mut *tx)
        .await?;
    }
    if !counts.is_empty() {
        sqlx::query("UPDATE bounce SET counts = j.value ->> 1 FROM json_each(?1) AS j WHERE bounce.id = j.value ->> 0")
            .bind(json(&counts)?)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query("UPDATE bounce SET tables = ?2 WHERE id IN (SELECT value FROM json_each(?1)) AND tables IS NOT ?2")
        .bind(json(&judged)?)
        .bind(current)
        .execute(tx)
        .await
        .map(drop)
}

/// Bounces that name nobody: no list depends on them.
async fn judge_nobodies(
    tx: &mut SqliteConnection,
    anew: &Anew<'_>,
    current: Option<i64>,
    behind: i64,
) -> Result<(Differences, Option<Progress>), sqlx::Error> {
    let mut differences = Differences::default();
    let rows: Vec<Row> = sqlx::query_as(rows!(
        "FROM bounce AS b NOT INDEXED JOIN message AS m ON m.id = b.message
         WHERE b.id > ?1 AND b.address IS NULL AND b.at >= ?2 ORDER BY b.id LIMIT ?3"
    ))
    .bind(behind)
    .bind(anew.since.unwrap_or(i64::MIN))
    .bind(AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    let next = rows.last().map(|row| Progress::Nobody(row.id));
    let (mut changed, mut judged) = (Vec::new(), Vec::new());
    for row in rows.into_iter().filter(|row| current.is_none() || row.tables != current) {
        let again = Again::of(row, anew, &mut differences)?;
        changed.extend(again.difference(anew, &mut differences)?);
        judged.extend(again.is_todays.then_some(again.row.id));
    }
    if !anew.dry_run {
        write(tx, &changed, &judged, current).await?;
    }
    Ok((differences, next))
}

async fn judge_addresses(
    tx: &mut SqliteConnection,
    anew: &Anew<'_>,
    current: Option<i64>,
    behind: &str,
) -> Result<(Differences, Option<Progress>), sqlx::Error> {
    let mut differences = Differences::default();
    let addresses: Vec<String> = sqlx::query_scalar(
        "SELECT address FROM (SELECT DISTINCT b.address FROM bounce AS b
                              WHERE b.address > ?1 AND b.at >= ?2 ORDER BY b.address LIMIT ?3)
         UNION
         SELECT address FROM (SELECT DISTINCT c.address FROM complaint AS c
                              WHERE c.address > ?1 AND c.at >= ?2 ORDER BY c.address LIMIT ?3)
         ORDER BY address LIMIT ?3",
    )
    .bind(behind)
    .bind(anew.since.unwrap_or(i64::MIN))
    .bind(AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    let Some(last) = addresses.last() else { return Ok((differences, Some(Progress::Nobody(0)))) };
    let next = Some(Progress::Address(last.clone()));
    let mut known = Known::read(tx, &addresses).await?;
    let (mut changed, mut judged) = (Vec::new(), Vec::new());
    let mut changes = Changes::default();
    let mut revision = events::last_revision(&mut *tx).await?;
    let addresses: Vec<Address> = addresses.iter().filter_map(|address| Address::parse(address)).collect();
    for address in &addresses {
        let mut of = known.take(address);
        // Nobody has taken it off yet, but its time is over.
        of.entry = of.entry.filter(|entry| entry.expires.is_none_or(|expires| expires > anew.by.at));
        // What today's tables and policy have said already they would say once more.
        let is_current = of.bounces.iter().all(|row| row.tables.is_some() && row.tables == current);
        if is_current && of.complaints.is_empty() {
            continue;
        }
        let bounces = std::mem::take(&mut of.bounces).into_iter().map(|row| Again::of(row, anew, &mut differences));
        let mut bounces = bounces.collect::<Result<Vec<_>, _>>()?;
        bounces.sort_unstable_by_key(|again| again.row.id);
        for again in &bounces {
            changed.extend(again.difference(anew, &mut differences)?);
            judged.extend(again.is_todays.then_some(again.row.id));
        }
        let told = told(tx, &of, known.of_domain(address), &bounces).await?;
        let replayed = replay(anew.policy, address, steps(anew, address, &bounces, &of, &told), anew.by.at);
        if let Some(difference) = of.difference(address, &replayed, &bounces) {
            changes.add(address, &of, &difference, replayed.entry, anew, &mut revision);
            differences.list.push(difference);
        }
    }
    if !anew.dry_run {
        write(tx, &changed, &judged, current).await?;
        list::change(tx, &changes.list).await?;
        events::insert(tx, &changes.events).await?;
    }
    Ok((differences, next))
}

/// What the list becomes.
#[derive(Default)]
struct Changes<'a> {
    list: ListChanges<'a>,
    events: Vec<NewEvent<'a>>,
}

impl<'a> Changes<'a> {
    fn add(
        &mut self,
        address: &'a Address,
        of: &Stored,
        difference: &ListDifference,
        entry: Option<(NewEntry<'_>, i64)>,
        anew: &Anew<'a>,
        revision: &mut i64,
    ) {
        *revision += 1;
        let name = address.normalised();
        let before = of.events.iter().map(|event| event.revision).max();
        let actor = Some(anew.by.actor);
        let event =
            |kind| NewEvent { address: Some(name), before, actor, ..NewEvent::new(*revision, kind, anew.by.at) };
        // Whether somebody lives is asked for as long as the entry stays.
        if difference.waited || entry.is_none() {
            self.list.let_go.push(name);
        }
        let Some((NewEntry { mut suppression, bounce, complaint, .. }, since)) = entry else {
            self.list.ended.push(name);
            let origin = of.entry.as_ref().or(of.held.as_ref()).and_then(|entry| entry.origin.parse().ok());
            self.events.push(NewEvent { origin, note: anew.by.note, ..event(EventKind::Corrected) });
            return;
        };
        suppression.since = since;
        self.events.push(NewEvent {
            origin: Some(suppression.origin),
            bounce,
            complaint,
            reason: suppression.reason,
            policy: suppression.policy.clone(),
            expires: suppression.expires,
            causes: suppression.causes.clone(),
            note: anew.by.note,
            ..event(EventKind::Suppressed)
        });
        let domain = address.domain();
        self.list.entries.push(NewEntry {
            address: name,
            domain,
            suppression,
            bounce,
            complaint,
            remote: None,
            revision: *revision,
        });
    }
}

/// An event, and which rows were written before it.
struct Told<'a> {
    event: &'a Event,
    of_domain: bool,
    /// The last rows of `bounce` and of `complaint`, where rows were written in the same second.
    behind: Option<(i64, i64)>,
}

impl Told<'_> {
    fn is_behind(&self, written: &Written<'_>) -> bool {
        let at = self.event.recorded();
        match self.behind {
            Some((bounce, complaint)) if written.recorded == at => {
                written.bounce.is_some_and(|id| id <= bounce) || written.complaint.is_some_and(|id| id <= complaint)
            }
            _ => written.recorded <= at,
        }
    }
}

/// The events of an address and those of its whole domain, in their order.
async fn told<'a>(
    tx: &mut SqliteConnection,
    of: &'a Stored,
    of_domain: &'a [Event],
    bounces: &[Again],
) -> Result<Vec<Told<'a>>, sqlx::Error> {
    let seconds: HashSet<i64> =
        bounces.iter().map(|again| again.row.recorded).chain(of.complaints.iter().map(|row| row.recorded)).collect();
    let own = of.events.iter().map(|event| (event, false));
    let mut all: Vec<_> = own.chain(of_domain.iter().map(|event| (event, true))).collect();
    all.sort_unstable_by_key(|(event, _)| event.revision);
    let mut told = Vec::new();
    for (event, of_domain) in all {
        let behind =
            if seconds.contains(&event.recorded()) { Some(last_rows(tx, event.revision).await?) } else { None };
        told.push(Told { event, of_domain, behind });
    }
    Ok(told)
}

/// The last rows of `bounce` and `complaint` that were written before an event; those of long before are never asked for.
async fn last_rows(tx: &mut SqliteConnection, revision: i64) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT coalesce((SELECT e.bounce FROM event AS e WHERE e.revision BETWEEN ?1 - ?2 AND ?1 AND e.kind = 'bounce'
                          ORDER BY e.revision DESC LIMIT 1), 0),
                coalesce((SELECT e.complaint FROM event AS e WHERE e.revision BETWEEN ?1 - ?2 AND ?1
                          AND e.kind = 'complaint' ORDER BY e.revision DESC LIMIT 1), 0)",
    )
    .bind(revision)
    .bind(FARTHEST)
    .fetch_one(tx)
    .await
}

/// More events than are written in a second.
const FARTHEST: i64 = 1_000_000;

/// What happened to an address, in the order in which it was recorded.
fn steps<'a>(
    anew: &Anew<'_>,
    address: &'a Address,
    bounces: &'a [Again],
    of: &'a Stored,
    told: &[Told<'_>],
) -> Vec<Step<'a>> {
    // What came of a case and waits, or has waited, for a person.
    let held: HashMap<(Option<i64>, Option<i64>), Why> = told
        .iter()
        .filter(|Told { event, .. }| {
            // What was taken back of who lives waited for nobody, and would have come onto the list else.
            event.kind == EventKind::Held.as_str()
                || (event.kind == EventKind::Revived.as_str() && event.bounce.is_some())
        })
        .map(|Told { event, .. }| {
            let case = (event.bounce, event.complaint);
            let waits = of.held.as_ref().filter(|held| (held.bounce, held.complaint) == case);
            (case, waits.and_then(Entry::why).unwrap_or(Why::Flood))
        })
        .collect();
    let mut rows: Vec<Written<'a>> = Vec::new();
    for again in bounces {
        let Row { id, message, at, ref action, recorded, .. } = again.row;
        let written = |step| Written { message, recorded, bounce: Some(id), complaint: None, step };
        if action == Action::Delivered.as_str() {
            rows.push(written(Step::Alive { at }));
        } else if let Some(case) = again.case().filter(|case| again.counts_as(anew, case)) {
            let held = held.get(&(Some(id), None)).copied();
            rows.push(written(Step::Case { case, message, held }));
        }
    }
    for &Complaint { id, message, at, ref mailbox, recorded, .. } in &of.complaints {
        let case = Case::of_complaint(mailbox, at, id, address);
        let held = held.get(&(None, Some(id))).copied();
        let step = Step::Case { case, message, held };
        rows.push(Written { message, recorded, bounce: None, complaint: Some(id), step });
    }
    rows.sort_by_key(|written| written.message);
    if let Some(LastSign { at, message }) = of.alive {
        // Behind what its message said, or what was recorded until then.
        let place = rows.partition_point(|other| match message {
            Some((message, _)) => other.message <= message,
            None => other.recorded <= at,
        });
        let (message, recorded) = message.unwrap_or((0, at));
        // It follows whatever stands before it.
        rows.insert(place, Written { message, recorded, bounce: Some(0), complaint: None, step: Step::Alive { at } });
    }
    let mut rows = rows.into_iter().peekable();
    let mut steps = Vec::new();
    for told in told {
        while let Some(written) = rows.next_if(|written| told.is_behind(written)) {
            steps.push(written.step);
        }
        steps.extend(told.step());
    }
    steps.extend(rows.map(|written| written.step));
    steps
}

/// A step that a message brought.
struct Written<'a> {
    message: i64,
    recorded: i64,
    bounce: Option<i64>,
    complaint: Option<i64>,
    step: Step<'a>,
}

impl<'e> Told<'e> {
    fn step<'a>(&self) -> Option<Step<'a>> {
        let Event { at, ref kind, ref origin, bounce, complaint, expires, ref actor, .. } = *self.event;
        let kind = kind.parse().ok()?;
        let row = bounce.or(complaint);
        // Signs of life that changed something, whatever the last one was.
        if kind == EventKind::Revived || (kind == EventKind::Held && row.is_none()) {
            return Some(Step::Alive { at });
        }
        let origin = origin.as_deref().and_then(|origin| origin.parse().ok());
        // Earlier versions did not note it: what had no bounce was a person's.
        let by_person = actor.as_deref().map_or(row.is_none(), |actor| actor != DAEMON);
        Some(Step::Change(Change { kind, at, origin, expires, row, by_person, of_domain: self.of_domain }))
    }
}

impl Stored {
    /// What today's tables and policy make of the list; `None` where that is what it says, and where what led to an entry
    /// is gone or is a person's word.
    fn difference(&self, address: &Address, replayed: &Replayed<'_>, bounces: &[Again]) -> Option<ListDifference> {
        let waits = self.held.as_ref().filter(|held| held.why() != Some(Why::Alive));
        let after = replayed.entry.as_ref().map(|(entry, _)| entry);
        let as_listed = |entry: &NewEntry<'_>| ListedAs {
            origin: entry.suppression.origin,
            reason: entry.suppression.reason.map(|reason| reason.to_string()),
            policy: entry.suppression.policy.clone(),
            expires: entry.suppression.expires,
        };
        match (&self.entry, after) {
            _ if replayed.by_person => return None,
            (Some(entry), _) if !self.can_be_judged(entry, bounces) => return None,
            (Some(entry), Some(after)) if is_same(entry, after) => return None,
            (None, Some(_)) if waits.is_some() => return None,
            (None, Some(after)) if self.was_taken_back(after.suppression.since) => return None,
            (None, None) if waits.is_none_or(|_| replayed.waits) => return None,
            _ => {}
        }
        Some(ListDifference {
            address: address.normalised().to_owned(),
            before: self.entry.as_ref().and_then(Entry::listed),
            after: after.map(as_listed),
            waited: waits.is_some(),
        })
    }

    /// Whether a person or a sign of life has spoken against an entry since then; but one that other tables took off was
    /// on the list all the same.
    fn was_taken_back(&self, since: i64) -> bool {
        if self.events.last().is_some_and(|last| last.kind == EventKind::Corrected.as_str()) {
            return false;
        }
        let against = [EventKind::Rejected, EventKind::Revived, EventKind::Released].map(EventKind::as_str);
        self.alive.as_ref().is_some_and(|sign| sign.at >= since)
            || self.events.iter().any(|event| against.contains(&event.kind.as_str()) && event.at >= since)
    }

    /// Whether all that led to an entry is there.
    fn can_be_judged(&self, entry: &Entry, bounces: &[Again]) -> bool {
        if matches!(entry.origin.parse(), Ok(Origin::Manual | Origin::Import) | Err(_)) {
            return false;
        }
        if let Some(complaint) = entry.complaint {
            return self.complaints.iter().any(|row| row.id == complaint);
        }
        let is_there = |bounce: i64| bounces.binary_search_by_key(&bounce, |again| again.row.id).is_ok();
        let event = self.events.iter().find(|event| Some(event.revision) == entry.revision);
        let causes = event.and_then(|event| event.causes.as_deref()).map(decoded::<Vec<i64>>);
        let causes = causes.and_then(Result::ok).unwrap_or_default();
        entry.bounce.is_some_and(is_there) && causes.into_iter().all(is_there)
    }
}

fn is_same(entry: &Entry, after: &NewEntry<'_>) -> bool {
    let Suppression { origin, reason, rule, policy, expires, .. } = &after.suppression;
    entry.origin == origin.as_str()
        && entry.reason.as_deref() == reason.map(|reason| reason.as_str())
        // Of a bounce that was recorded before, the rule is that of its row.
        && (rule.is_none() || entry.rule == *rule)
        && entry.policy == *policy
        && entry.expires == *expires
        && (entry.bounce, entry.complaint) == (after.bounce, after.complaint)
}

/// A row of `complaint`.
#[derive(Debug, FromRow)]
struct Complaint {
    id: i64,
    message: i64,
    at: i64,
    address: String,
    mailbox: String,
    recorded: i64,
}

/// A row of `event` that is about the list.
#[derive(Debug, FromRow)]
struct Event {
    revision: i64,
    at: i64,
    kind: String,
    address: String,
    origin: Option<String>,
    bounce: Option<i64>,
    complaint: Option<i64>,
    recorded: Option<i64>,
    expires: Option<i64>,
    causes: Option<String>,
    actor: Option<String>,
}

impl Event {
    /// When it was written. Earlier versions noted nothing else than when it happened.
    fn recorded(&self) -> i64 {
        self.recorded.unwrap_or(self.at)
    }
}

/// A row of `suppression` or of `held`.
#[derive(Debug, FromRow)]
struct Entry {
    address: String,
    why: Option<String>,
    origin: String,
    reason: Option<String>,
    rule: Option<String>,
    policy: Option<String>,
    bounce: Option<i64>,
    complaint: Option<i64>,
    expires: Option<i64>,
    revision: Option<i64>,
}

impl Entry {
    fn why(&self) -> Option<Why> {
        self.why.as_deref().and_then(|why| why.parse().ok())
    }

    fn listed(&self) -> Option<ListedAs> {
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
struct LastSign {
    at: i64,
    /// The message that showed it, and when that was recorded; `None` where somebody told it.
    message: Option<(i64, i64)>,
}

/// What is stored of an address.
#[derive(Debug, Default)]
struct Stored {
    bounces: Vec<Row>,
    complaints: Vec<Complaint>,
    /// In the order of their revisions.
    events: Vec<Event>,
    alive: Option<LastSign>,
    entry: Option<Entry>,
    held: Option<Entry>,
}

/// What is stored of some addresses.
struct Known(HashMap<String, Stored>);

impl Known {
    async fn read(tx: &mut SqliteConnection, addresses: &[String]) -> Result<Self, sqlx::Error> {
        let mut all: HashMap<String, Stored> = HashMap::new();
        let asked = json(&addresses)?;
        let rows: Vec<Row> = sqlx::query_as(rows!(
            "FROM json_each(?1) AS a JOIN bounce AS b ON b.address = a.value JOIN message AS m ON m.id = b.message"
        ))
        .bind(&asked)
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            let address = row.address.clone().unwrap_or_default();
            all.entry(address).or_default().bounces.push(row);
        }
        let rows: Vec<Complaint> = sqlx::query_as(
            "SELECT c.id, c.message, c.at, c.address, m.mailbox, m.recorded
             FROM json_each(?1) AS a JOIN complaint AS c ON c.address = a.value JOIN message AS m ON m.id = c.message",
        )
        .bind(&asked)
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            all.entry(row.address.clone()).or_default().complaints.push(row);
        }
        let listed: Vec<Entry> = sqlx::query_as(
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
    fn take(&mut self, address: &Address) -> Stored {
        self.0.remove(address.normalised()).unwrap_or_default()
    }

    /// What persons said of its whole domain.
    fn of_domain(&self, address: &Address) -> &[Event] {
        self.0.get(&format!("*@{}", address.domain())).map_or(&[], |stored| &stored.events)
    }
}

/// What happened to the list with these addresses: by the index, and along the chain of those that made an entry.
async fn events_of(tx: &mut SqliteConnection, addresses: &[String]) -> Result<Vec<Event>, sqlx::Error> {
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
