//! What judging stored bounces anew is asked, and what comes of it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
};

use super::{BrakedRemote, By, brake::Braked};
use crate::{
    codes::{Class, Fault, Reason},
    policy::Policy,
    report::{Recipient, StoredRecipient, Verdict},
    suppression::{Origin, Why},
};

/// Names the tables by which verdicts are given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablesVersion {
    /// SHA-256 of all that stands in them, of the policy and of the program's version, in hexadecimal.
    pub digest: String,
    /// The program's version.
    pub version: &'static str,
}

/// Judges a stored recipient anew, reported by that MTA; `None` where what is stored of it is not enough.
pub type JudgeAnew<'j> = dyn Fn(&StoredRecipient<'_>, Option<&str>) -> Option<(Recipient, Verdict)> + Send + Sync + 'j;

/// By what stored bounces are judged anew.
pub struct Anew<'a> {
    /// Gives the verdicts.
    pub judge: &'a JudgeAnew<'a>,
    /// The tables by which it does.
    pub tables: &'a TablesVersion,
    /// Decides about the list.
    pub policy: &'a Policy,
    /// Only bounces received then or later, in seconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Who asks for it, and when.
    pub by: By<'a>,
    /// Whether nothing is written.
    pub dry_run: bool,
}

/// How far judging anew has come, and what it has found on the way that is of moment for what is behind.
#[derive(Debug, Default)]
pub struct Progress(pub(super) Stage);

/// What is judged next.
#[derive(Debug)]
pub(super) enum Stage {
    /// The addresses behind this one, in their order.
    Addresses { behind: String, newcomers: Newcomers },
    /// Those who come onto the list, now that it is known how many there are of each remote.
    Newcomers { left: VecDeque<String>, braked: Braked, room: Room },
    /// The rows of these bounces, which name nobody.
    Nobodies(VecDeque<i64>),
    /// Nothing.
    Nothing,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Addresses { behind: String::new(), newcomers: Newcomers::default() }
    }
}

/// Who comes onto the list: not before all of them are counted, so that an outage waits here as it does in a commit.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// Their addresses, in order.
    pub addresses: VecDeque<String>,
    /// How many of them each remote calls newly dead, by the hour.
    pub dead: BTreeMap<String, BTreeMap<i64, i64>>,
    /// What is left of what their messages may bring.
    pub room: Room,
}

/// How many more addresses each message may put onto the list, of those that brought somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Room(pub HashMap<i64, u32>);

impl Room {
    /// Whether this message may bring one more; then one less is left.
    pub(super) fn take(&mut self, message: i64) -> bool {
        let Some(left) = self.0.get_mut(&message) else { return false };
        left.checked_sub(1).map(|fewer| *left = fewer).is_some()
    }
}

/// A verdict as a row has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Judged {
    /// Hard or soft.
    pub class: Class,
    /// Why.
    pub reason: Reason,
    /// Whose fault.
    pub fault: Fault,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.class, self.reason, self.fault)
    }
}

/// What became of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListDifference {
    /// Who it is.
    pub address: String,
    /// What its entry is now.
    pub before: Option<ListedAs>,
    /// What today's tables and policy make of it.
    pub after: Option<ListedAs>,
    /// Whether it was not on the list, but waited to come onto it.
    pub waited: bool,
    /// Why it waits for a person now, instead of coming onto the list or staying there.
    pub held: Option<Why>,
}

impl ListDifference {
    /// Whether the address comes onto the list, or gets an entry there that says more: as a bounce that is recorded brings
    /// one.
    pub(super) fn is_new(&self) -> bool {
        let rank = |listed: &Option<ListedAs>| listed.as_ref().map_or(0, |listed| listed.origin.rank());
        rank(&self.after) > rank(&self.before)
    }

    /// Whether it is called dead, and was not before.
    pub(super) fn is_newly_dead(&self) -> bool {
        self.is_new() && self.after.as_ref().is_some_and(|after| after.origin == Origin::Hard)
    }
}

/// An entry in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAs {
    /// How it came onto the list.
    pub origin: Origin,
    /// The reason of the bounce that decided.
    pub reason: Option<String>,
    /// The row of the policy.
    pub policy: Option<String>,
    /// When its time is over.
    pub expires: Option<i64>,
}

/// What judging some stored bounces anew comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Bounces that were looked at.
    pub bounces: u64,
    /// Those of them of which not enough is stored: their verdicts stay.
    pub left: u64,
    /// Bounces that get another verdict, by the old and the new one.
    pub verdicts: BTreeMap<(Judged, Judged), u64>,
    /// Bounces whose verdict stays, and for which another row speaks, or another line.
    pub otherwise_explained: u64,
    /// Bounces and complaints that could not be believed when they were read, and can be now: they are about messages
    /// that we are known to have sent since.
    pub believed: u64,
    /// Remotes that called more addresses dead than can be true, as is known now that these are believed.
    pub braked: Vec<BrakedRemote>,
    /// Addresses whose place on the list changes.
    pub list: Vec<ListDifference>,
}

impl Differences {
    /// Adds those of others.
    pub fn add(&mut self, other: Self) {
        self.bounces += other.bounces;
        self.left += other.left;
        self.otherwise_explained += other.otherwise_explained;
        self.believed += other.believed;
        self.braked.extend(other.braked);
        for (change, count) in other.verdicts {
            *self.verdicts.entry(change).or_default() += count;
        }
        self.list.extend(other.list);
    }
}
