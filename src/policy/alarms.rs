//! What is known of the mail that we send -> which alarms begin and which are over. Pure: it compares what it is told with
//! the numbers of `[alarms]` in config/policy.toml, and knows no clock, no mail and no list.

mod keys;

use std::{collections::BTreeSet, fmt};

pub(super) use keys::{Keys, of_files};

use super::{DAY, Policy, Span};
use crate::{
    codes::words,
    text::{count, grouped},
};

words! {
    /// What an alarm is about.
    AlarmKind {
        /// A provider refuses our mail for a reason of our own that is new there.
        OwnFault = "own_fault",
        /// Too much of what we send goes to addresses that are dead.
        HardRate = "hard_rate",
        /// A provider called more addresses dead than can be true, and they wait.
        Burst = "burst",
        /// A mailbox or a mail log tells of nothing for unusually long.
        Silent = "silent",
    }
}

/// When there is an alarm, and when rates mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarms {
    /// Of how many messages sent on there is a rate.
    pub rate_least: u32,
    /// How many refusals within a day are an alarm, where a provider gave no such reason before.
    pub own_fault_least: u32,
    /// For how many seconds before that day it must not have.
    pub own_fault_new: i64,
    /// After how many seconds without one that is over.
    pub own_fault_over: i64,
    /// Of how many messages sent within a day on their hard bounces are looked at.
    pub hard_least: u32,
    /// How many hard bounces of a thousand messages are a warning.
    pub hard_warning: u32,
    /// How many are a reason to stop.
    pub hard_stop: u32,
    /// Below how many both are over.
    pub hard_over: u32,
    /// How many times the longest silence of the past is unusually long.
    pub silent_factor: u32,
    /// How many seconds of silence are never unusual.
    pub silent_least: i64,
    /// From how many messages on it is known what is usual.
    pub silent_known: u32,
    /// For how many seconds a silence is remembered.
    pub silent_memory: i64,
}

impl Default for Alarms {
    /// Those that come with the program.
    fn default() -> Self {
        Policy::embedded().alarms.as_ref().clone()
    }
}

/// As `bounced check` prints it, a line for each kind that has numbers.
impl fmt::Display for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_cent = |thousandths: u32| format!("{}.{} %", thousandths / 10, thousandths % 10);
        let [new, over, memory, least] =
            [self.own_fault_new, self.own_fault_over, self.silent_memory, self.silent_least].map(Span::of_seconds);
        writeln!(
            f,
            "{}: {} refusals of a provider within a day for a fault of ours, and none in {new} before, until {over} \
             after the last",
            AlarmKind::OwnFault,
            self.own_fault_least
        )?;
        writeln!(
            f,
            "{}: more than {} or {} hard bounces of what was sent in a day, {} messages at least, until they are less \
             than {}",
            AlarmKind::HardRate,
            per_cent(self.hard_warning),
            per_cent(self.hard_stop),
            self.hard_least,
            per_cent(self.hard_over)
        )?;
        write!(
            f,
            "{}: nothing told for {least} and {} times the longest silence in {memory}, of {} messages at least",
            AlarmKind::Silent,
            self.silent_factor,
            self.silent_known
        )
    }
}

/// Refusals by a provider for one reason that is our own fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFault {
    /// Who refuses.
    pub provider: String,
    /// Why, as `bounced codes` has it.
    pub reason: String,
    /// The code of the last one, where it had one.
    pub code: Option<String>,
    /// How many within the last day.
    pub within_day: u64,
    /// How many in [`Alarms::own_fault_new`] before it.
    pub before: u64,
    /// When the last one was received, in seconds since 1970-01-01 UTC.
    pub last: i64,
}

/// What a mailbox or a mail log told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telling {
    /// What it is called in the configuration.
    pub name: String,
    /// When the last that it told of happened, in seconds since 1970-01-01 UTC.
    pub last: Option<i64>,
    /// How many messages it told of in [`Alarms::silent_memory`].
    pub messages: u64,
    /// How many seconds the two of them that were farthest apart were.
    pub longest: i64,
}

/// What is known of the mail that we send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlarmFacts {
    /// As of when, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Refusals that are our own fault.
    pub own_faults: Vec<OwnFault>,
    /// Messages sent within the last day.
    pub sent: u64,
    /// Hard bounces within the last day.
    pub hard: u64,
    /// Providers that called more addresses dead than can be true, and how many of these wait.
    pub outages: Vec<(String, u64)>,
    /// The mailboxes and mail logs.
    pub tellings: Vec<Telling>,
}

/// What an alarm is called: while one is open there is no other one of that name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlarmName {
    /// What it is about.
    pub kind: AlarmKind,
    /// Of whom.
    pub about: String,
}

/// An alarm that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlarm {
    /// What it is called.
    pub name: AlarmName,
    /// The same for people, with the figures.
    pub words: String,
}

/// Alarms that begin, and those that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlarmChanges {
    /// None of these is open.
    pub raised: Vec<NewAlarm>,
    /// All of these are.
    pub cleared: Vec<AlarmName>,
}

/// Whether there is something to be alarmed about.
enum Unease {
    /// There is; the words are for people.
    Alarming(String),
    /// There is not, but what began before is not over.
    Lingering,
}

impl Alarms {
    /// Which alarms begin, and which are over, where these are open. What the facts don't name is over.
    #[must_use]
    pub fn decide(&self, facts: &AlarmFacts, open: &BTreeSet<AlarmName>) -> AlarmChanges {
        let mut changes = AlarmChanges::default();
        let mut lasting = BTreeSet::new();
        for (kind, about, unease) in self.unease_of_all(facts, open) {
            let name = AlarmName { kind, about };
            if let Unease::Alarming(words) = unease
                && !open.contains(&name)
                && !lasting.contains(&name)
            {
                changes.raised.push(NewAlarm { name: name.clone(), words });
            }
            lasting.insert(name);
        }
        changes.cleared = open.difference(&lasting).cloned().collect();
        changes
    }

    fn unease_of_all(&self, facts: &AlarmFacts, open: &BTreeSet<AlarmName>) -> Vec<(AlarmKind, String, Unease)> {
        let own_faults = facts.own_faults.iter().filter_map(|fault| {
            let about = format!("{} {}", fault.provider, fault.reason);
            Some((AlarmKind::OwnFault, about, self.own_fault(fault, facts.at)?))
        });
        let rates = self.hard_rates(facts, open);
        let bursts = facts.outages.iter().filter(|(_, waiting)| *waiting > 0).map(|(provider, waiting)| {
            let words = format!(
                "{provider} called more addresses dead than can be true; waiting: {} (bounced review list)",
                count(*waiting, "address")
            );
            (AlarmKind::Burst, provider.clone(), Unease::Alarming(words))
        });
        let silent = facts
            .tellings
            .iter()
            .filter_map(|telling| Some((AlarmKind::Silent, telling.name.clone(), self.silent(telling, facts.at)?)));
        own_faults.chain(rates).chain(bursts).chain(silent).collect()
    }

    fn own_fault(&self, fault: &OwnFault, now: i64) -> Option<Unease> {
        if now - fault.last >= self.own_fault_over {
            return None;
        }
        let is_new = fault.before == 0 && fault.within_day >= self.own_fault_least.into();
        Some(if is_new {
            let advice = fault.code.as_ref().map(|code| format!(" (`bounced codes {code}` tells what to do)"));
            Unease::Alarming(format!(
                "{} refuses our mail for a fault of ours, {}: {} within a day and none in {} before{}",
                fault.provider,
                fault.reason,
                grouped(fault.within_day),
                Span::of_seconds(self.own_fault_new),
                advice.unwrap_or_default()
            ))
        } else {
            Unease::Lingering
        })
    }

    /// Who is told to stop is not warned as well.
    fn hard_rates(&self, facts: &AlarmFacts, open: &BTreeSet<AlarmName>) -> Option<(AlarmKind, String, Unease)> {
        let rate = |about: &str, most: u32| Some((AlarmKind::HardRate, about.to_owned(), self.hard_rate(facts, most)?));
        let stop = AlarmName { kind: AlarmKind::HardRate, about: "stop".to_owned() };
        rate(&stop.about, self.hard_stop)
            .filter(|(.., unease)| matches!(unease, Unease::Alarming(_)) || open.contains(&stop))
            .or_else(|| rate("warning", self.hard_warning))
    }

    /// With fewer messages than are looked at, so many are taken: who stops sending is not alarmed for ever.
    fn hard_rate(&self, facts: &AlarmFacts, most: u32) -> Option<Unease> {
        let AlarmFacts { sent, hard, .. } = *facts;
        let is_above = |of: u64, rate: u32| u128::from(hard) * 1_000 > u128::from(of) * u128::from(rate);
        let taken = sent.max(self.hard_least.into());
        if sent >= self.hard_least.into() && is_above(sent, most) {
            let words = format!(
                "{} of {} within a day, more than {}.{} %",
                count(hard, "hard bounce"),
                count(sent, "message"),
                most / 10,
                most % 10
            );
            return Some(Unease::Alarming(words));
        }
        let is_over = u128::from(hard) * 1_000 < u128::from(taken) * u128::from(self.hard_over);
        (!is_over).then_some(Unease::Lingering)
    }

    fn silent(&self, telling: &Telling, now: i64) -> Option<Unease> {
        let silence = now - telling.last?;
        if silence < self.silent_least {
            return None;
        }
        let usual = telling.longest.saturating_mul(self.silent_factor.into());
        let is_unusual = telling.messages >= self.silent_known.into() && silence > usual;
        Some(if is_unusual {
            Unease::Alarming(format!(
                "{} told of nothing for {}; the longest silence in {} before was {}",
                telling.name,
                count((silence / 3_600).unsigned_abs(), "hour"),
                Span::of_seconds(self.silent_memory),
                count((telling.longest / 3_600).unsigned_abs(), "hour")
            ))
        } else {
            Unease::Lingering
        })
    }

    /// From when on refusals that are our own fault matter.
    #[must_use]
    pub const fn own_faults_since(&self, now: i64) -> i64 {
        now - DAY - self.own_fault_new
    }

    /// The part of so many messages sent; `None` where they are too few to tell.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "nobody sends so many")]
    pub fn rate(&self, some: u64, sent: u64) -> Option<f64> {
        (sent >= self.rate_least.into()).then(|| some as f64 / sent as f64)
    }
}

#[cfg(test)]
mod tests;
