//! What is stored of an address -> what happened to it, in the order in which it was recorded.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;

use super::{
    super::parsed,
    bounces::{Rejudged, StoredBounce},
    stored::{LastSign, StoredAddress, StoredComplaint, StoredEntry, StoredEvent},
};
use crate::{
    policy::Case,
    report::{Action, Address},
    store::{
        Anew, EventKind,
        list_changes::{Change, Step},
        plan::DAEMON,
    },
    suppression::Why,
};

/// An event, and which rows were written before it.
pub(super) struct Told<'a> {
    event: &'a StoredEvent,
    of_domain: bool,
    /// The last rows of `bounce` and of `complaint` before it, where rows of the address were written in the same second.
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
pub(super) async fn told<'a>(
    connection: &mut SqliteConnection,
    of: &'a StoredAddress,
    of_domain: &'a [StoredEvent],
    bounces: &[Rejudged],
) -> Result<Vec<Told<'a>>, sqlx::Error> {
    let bounced: HashSet<i64> = bounces.iter().map(|again| again.row.recorded).collect();
    let complained: HashSet<i64> = of.complaints.iter().map(|row| row.recorded).collect();
    let own = of.events.iter().map(|event| (event, false));
    let mut all: Vec<_> = own.chain(of_domain.iter().map(|event| (event, true))).collect();
    all.sort_unstable_by_key(|(event, _)| event.revision);
    let mut told = Vec::new();
    for (event, of_domain) in all {
        let (revision, second) = (event.revision, event.recorded());
        let (with_bounce, with_complaint) = (bounced.contains(&second), complained.contains(&second));
        let bounce = if with_bounce { last_row(connection, EventKind::Bounce, revision).await? } else { 0 };
        let complaint = if with_complaint { last_row(connection, EventKind::Complaint, revision).await? } else { 0 };
        told.push(Told { event, of_domain, behind: (with_bounce || with_complaint).then_some((bounce, complaint)) });
    }
    Ok(told)
}

/// The last row of `bounce`, or of `complaint`, that was written before an event of the same second as some such row.
///
/// No index leads there. But that row has an event, which lies before this one or behind it by no more than what was
/// written in a second: so it is looked for on both sides, farther and farther away. Those of one kind have their rows in
/// the order of their revisions.
async fn last_row(connection: &mut SqliteConnection, kind: EventKind, revision: i64) -> Result<i64, sqlx::Error> {
    let mut reach = NEAR;
    loop {
        let (before, behind): (Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT (SELECT coalesce(e.bounce, e.complaint) FROM event AS e
                     WHERE e.revision BETWEEN ?1 - ?2 AND ?1 AND e.kind = ?3 ORDER BY e.revision DESC LIMIT 1),
                    (SELECT coalesce(e.bounce, e.complaint) FROM event AS e
                     WHERE e.revision BETWEEN ?1 AND ?1 + ?2 AND e.kind = ?3 ORDER BY e.revision LIMIT 1)",
        )
        .bind(revision)
        .bind(reach)
        .bind(kind.as_str())
        .fetch_one(&mut *connection)
        .await?;
        match before.or(behind.map(|row| row - 1)) {
            Some(row) => return Ok(row),
            None if reach >= FARTHEST => return Ok(0),
            None => reach *= 10,
        }
    }
}

/// How many events on either side of one are looked at first.
const NEAR: i64 = 1_000;

/// More events than are written in a second.
const FARTHEST: i64 = 1_000_000;

/// What happened to an address, in the order in which it was recorded.
pub(super) fn steps<'a>(
    anew: &Anew<'_>,
    address: &'a Address,
    bounces: &'a [Rejudged],
    of: &'a StoredAddress,
    told: &[Told<'_>],
) -> Result<Vec<Step<'a>>, sqlx::Error> {
    // What waited because nobody vouched for it, and was believed later. Of persons there are steps of their own.
    let believed: HashSet<(Option<i64>, Option<i64>)> = told
        .iter()
        .filter(|Told { event, .. }| {
            event.kind == EventKind::Suppressed.as_str() && event.actor.as_deref() == Some(DAEMON)
        })
        .map(|Told { event, .. }| (event.bounce, event.complaint))
        .collect();
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
            (case, waits.and_then(StoredEntry::why).unwrap_or(Why::Flood))
        })
        // Whether it is believed is asked anew.
        .filter(|(case, why)| *why != Why::Unverified && !believed.contains(case))
        .collect();
    let mut rows: Vec<Written<'a>> = Vec::new();
    for again in bounces {
        let StoredBounce { id, message, at, ref action, recorded, .. } = again.row;
        let written = |step| Written { message, recorded, bounce: Some(id), complaint: None, step };
        if action == Action::Delivered.as_str() {
            if anew.policy.demands.are_met(Some(&again.row.mailbox), at, again.trust) {
                rows.push(written(Step::Alive { at }));
            }
        } else if let Some(case) = again.case().filter(|case| again.counts_as(anew, case)) {
            let (held, remote) = (held.get(&(Some(id), None)).copied(), again.remote(anew.policy));
            rows.push(written(Step::Case { case, remote, message, held }));
        }
    }
    for &StoredComplaint { id, message, at, ref trust, ref mailbox, recorded, .. } in &of.complaints {
        let case = Case::of_complaint(mailbox, at, id, address, parsed(trust)?);
        let held = held.get(&(None, Some(id))).copied();
        let step = Step::Case { case, remote: None, message, held };
        rows.push(Written { message, recorded, bounce: None, complaint: Some(id), step });
    }
    rows.sort_by_key(|written| written.message);
    // Where an event tells of it, it has its place.
    let is_told = |sign: &LastSign| told.iter().any(|told| told.is_sign_of_life() && told.event.at == sign.at);
    if let Some(LastSign { at, message }) = of.alive.filter(|sign| !is_told(sign)) {
        // Behind what its message said, or what was recorded until then.
        let place = rows.partition_point(|other| match message {
            Some((message, _)) => other.message <= message,
            None => other.recorded <= at,
        });
        let (message, recorded) = message.unwrap_or((0, at));
        // It follows whatever stands before it.
        rows.insert(
            place,
            Written { message, recorded, bounce: Some(0), complaint: None, step: Step::LastSign { at } },
        );
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
    Ok(steps)
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
    /// A sign of life that changed something, whatever the last one was.
    fn is_sign_of_life(&self) -> bool {
        let StoredEvent { ref kind, bounce, complaint, .. } = *self.event;
        kind == EventKind::Revived.as_str()
            || (kind == EventKind::Held.as_str() && bounce.is_none() && complaint.is_none())
    }

    fn step<'a>(&self) -> Option<Step<'a>> {
        let StoredEvent { at, ref kind, ref origin, bounce, complaint, expires, ref actor, .. } = *self.event;
        let kind = kind.parse().ok()?;
        let row = bounce.or(complaint);
        if self.is_sign_of_life() {
            return Some(Step::Alive { at });
        }
        let origin = origin.as_deref().and_then(|origin| origin.parse().ok());
        // Earlier versions did not note it: what had no bounce was a person's.
        let by_person = actor.as_deref().map_or(row.is_none(), |actor| actor != DAEMON);
        Some(Step::Change(Change { kind, at, origin, expires, row, by_person, of_domain: self.of_domain }))
    }
}
