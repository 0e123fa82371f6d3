//! How much was sent, what became of it, and what is wrong with it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Judge;
use crate::{
    config::Config,
    policy::{
        DAY, Policy,
        alarms::{AlarmChanges, AlarmKind},
    },
    store::{Alarm, Figures, FiguresBy, Store, StoreError},
};

/// What [`report`] tells of one day, domain, provider or campaign, or of all together. A rate is a part of what was sent;
/// `None` where that was too little to tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportLine {
    /// Which one; a day as `2026-01-31`, empty where nobody knows; `None` of all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// The part that was delivered.
    pub delivered_rate: Option<f64>,
    /// The part that bounced hard.
    pub hard_rate: Option<f64>,
    /// The part that bounced soft.
    pub soft_rate: Option<f64>,
    /// The part that was refused because of the sender or the message.
    pub blocked_rate: Option<f64>,
    /// The part that somebody complained of.
    pub complaint_rate: Option<f64>,
}

/// An alarm as people and programs see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownAlarm {
    /// What sort of thing it is.
    pub alarm: AlarmKind,
    /// Of whom.
    pub about: String,
    /// The same for people.
    pub words: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub raised: i64,
    /// When it was over; `None` while it lasts.
    pub cleared: Option<i64>,
}

impl From<Alarm> for ShownAlarm {
    fn from(alarm: Alarm) -> Self {
        let Alarm { name, words, raised, cleared, .. } = alarm;
        Self { alarm: name.kind, about: name.about, words, raised, cleared }
    }
}

/// How much was sent, what became of it, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MailReport {
    /// From when on, in seconds since 1970-01-01 UTC: where a day begins.
    pub since: i64,
    /// By what the lines are told apart.
    pub by: FiguresBy,
    /// The alarms: first those that last, then those that were over since.
    pub alarms: Vec<ShownAlarm>,
    /// The newest days, or those that have most.
    pub lines: Vec<ReportLine>,
    /// How many more there are.
    pub left_out: u64,
    /// Of all together.
    pub total: ReportLine,
}

/// Figures from the day on in which `since` (seconds since 1970-01-01 UTC) lies, at most `limit` lines of them. What
/// was sent is counted by days, so nothing is told of a part of one.
///
/// # Errors
/// See [`StoreError`]; a store that was never made is one.
pub async fn report(
    config: &Config,
    judge: &Judge,
    by: FiguresBy,
    since: i64,
    limit: u32,
) -> Result<MailReport, StoreError> {
    let since = since - since.rem_euclid(DAY);
    let policy = judge.policy();
    let store = Store::open_to_read(&config.database.path).await?;
    let (table, alarms) = (store.figures(by, since, limit).await?, store.alarms(since).await?);
    store.close().await;
    let line = |name: Option<String>, figures: Figures| {
        let rate = |some: u64| policy.alarms.rate(some, figures.sent);
        ReportLine {
            name,
            figures,
            delivered_rate: rate(figures.delivered),
            hard_rate: rate(figures.hard),
            soft_rate: rate(figures.soft),
            blocked_rate: rate(figures.blocked),
            complaint_rate: rate(figures.complaints),
        }
    };
    Ok(MailReport {
        since,
        by,
        alarms: alarms.into_iter().map(ShownAlarm::from).collect(),
        lines: table.rows.into_iter().map(|row| line(Some(row.name), row.figures)).collect(),
        left_out: table.left_out,
        total: line(None, table.total),
    })
}

/// Raises and clears alarms as of `now` (seconds since 1970-01-01 UTC), where these mailboxes and mail logs are read; says
/// which.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn watch(
    store: &Store,
    policy: &Policy,
    names: &[String],
    now: i64,
) -> Result<AlarmChanges, StoreError> {
    let facts = store.alarm_facts(policy, names, now).await?;
    let open: BTreeSet<_> = store.alarms(i64::MAX).await?.into_iter().map(|alarm| alarm.name).collect();
    let changes = policy.alarms.decide(&facts, &open);
    if changes == AlarmChanges::default() {
        return Ok(changes);
    }
    store.change_alarms(&changes, now).await
}
