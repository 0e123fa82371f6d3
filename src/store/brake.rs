//! The verdicts of a batch by remote and hour, and what was counted before -> which of them wait, and what is counted
//! now. Pure, like the plan that it is a part of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::plan::NewEntry;
use crate::{
    codes::Class,
    policy::{
        HOUR,
        brake::{Brake, Hour, hour_of},
    },
    suppression::{InForce, Past, Waiting},
};

/// Hours, by the seconds in which they begin.
pub(super) type Hours = BTreeMap<i64, Hour>;

/// The name under which all remotes are counted together.
pub(super) const ALL: &str = "";

/// A row of `dead_by_hour`, or what is added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dead {
    pub remote: String,
    pub hour: i64,
    pub dead: i64,
    pub held: i64,
}

/// An address gets an entry by a hard bounce, and had none, or one that does not say that it is dead.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewlyDead {
    /// The message that said it.
    pub message: i64,
    /// When it was received.
    pub at: i64,
    /// It waited for that: it was called dead before, in an hour in which too many were.
    pub waited: Option<Waiting>,
    /// The entry that it had.
    pub before: Option<InForce>,
}

/// The hours of remotes in which more addresses were called dead than can be true.
pub(super) type Braked = BTreeMap<String, BTreeSet<i64>>;

/// The verdicts of a batch.
pub(super) struct Verdicts<'b> {
    brake: &'b Brake,
    known: HashMap<String, Hours>,
    new: BTreeMap<String, BTreeMap<i64, Dead>>,
    braked: Braked,
}

impl<'b> Verdicts<'b> {
    /// `known` has the hours of all remotes of which some may be braked.
    pub(super) fn new(brake: &'b Brake, known: HashMap<String, Hours>) -> Self {
        Self { brake, known, new: BTreeMap::new(), braked: Braked::new() }
    }

    /// Verdicts of which it is known how many there are, by remote and hour, before any of them is given.
    pub(super) fn foreseen(
        brake: &'b Brake,
        known: HashMap<String, Hours>,
        counts: &BTreeMap<String, BTreeMap<i64, i64>>,
    ) -> Self {
        let mut verdicts = Self::new(brake, known);
        for (remote, hours) in counts {
            let row = |(&hour, &dead): (&i64, &i64)| (hour, Dead { remote: remote.clone(), hour, dead, held: 0 });
            verdicts.new.insert(remote.clone(), hours.iter().map(row).collect());
        }
        verdicts.judge();
        verdicts
    }

    /// Some of those that were foreseen: the same hours are braked, and these are counted.
    pub(super) fn some(brake: &'b Brake, braked: Braked) -> Self {
        Self { braked, ..Self::new(brake, HashMap::new()) }
    }

    /// An address comes onto the list. Who waited for that was counted when he began to.
    pub(super) fn count(&mut self, entry: &NewEntry<'_>, newly_dead: &NewlyDead) {
        let hour = hour_of(newly_dead.at);
        let Some(remote) = &entry.remote else { return };
        let hours = self.new.entry(remote.clone()).or_default();
        let row = hours.entry(hour).or_insert_with(|| Dead { remote: remote.clone(), hour, dead: 0, held: 0 });
        row.dead += i64::from(newly_dead.waited.is_none());
    }

    /// Finds the hours in which too many died; to be called when all are counted.
    pub(super) fn judge(&mut self) {
        let mut of_all = self.known.remove(ALL).unwrap_or_default();
        for row in self.new.values().flat_map(BTreeMap::values) {
            of_all.entry(row.hour).or_default().new += row.dead;
        }
        for (remote, new) in &self.new {
            let (Some(hours), Some(&first)) = (self.known.get_mut(remote), new.keys().next()) else { continue };
            for row in new.values() {
                hours.entry(row.hour).or_default().new = row.dead;
            }
            for (at, hour) in hours.iter_mut() {
                hour.of_all = of_all.get(at).map_or(0, |all| all.before + all.new);
            }
            self.braked.insert(remote.clone(), self.brake.braked(hours, first));
        }
    }

    fn is_braked(&self, remote: &str, hour: i64) -> bool {
        self.braked.get(remote).is_some_and(|hours| hours.contains(&hour))
    }

    /// Whether an address waits instead of coming onto the list. It does not where it was called dead again, long
    /// enough after, in an hour that is not braked.
    pub(super) fn waits(&mut self, entry: &NewEntry<'_>, newly_dead: &NewlyDead, past: &[Past]) -> bool {
        let (since, Some(remote)) = (newly_dead.at, &entry.remote) else { return false };
        let again = past.iter().filter(|past| past.class == Class::Hard && past.at > since);
        let waits = self.is_braked(remote, hour_of(since))
            && !again
                .clone()
                .any(|past| self.brake.confirms(since, past.at) && !self.is_braked(remote, hour_of(past.at)));
        if waits
            && newly_dead.waited.is_none()
            && let Some(row) = self.new.get_mut(remote).and_then(|hours| hours.get_mut(&hour_of(since)))
        {
            row.held += 1;
        }
        waits
    }

    /// What is counted, and the hours that are braked and of which something was believed before.
    pub(super) fn finish(self) -> (Vec<Dead>, Braked) {
        let taken_back = self.taken_back();
        let dead = self.new.into_values().flat_map(BTreeMap::into_values).filter(|row| row.dead > 0);
        (dead.collect(), taken_back)
    }

    /// The hours that are braked.
    pub(super) fn braked(&self) -> Braked {
        self.braked
            .iter()
            .filter(|(_, hours)| !hours.is_empty())
            .map(|(of, hours)| (of.clone(), hours.clone()))
            .collect()
    }

    /// Those of the hours that are braked of which something was believed before.
    pub(super) fn taken_back(&self) -> Braked {
        let believed = |(remote, braked): &(&String, &BTreeSet<i64>)| {
            let hours = self.known.get(*remote);
            braked.iter().any(|at| hours.and_then(|hours| hours.get(at)).is_some_and(|hour| hour.before > hour.held))
        };
        self.braked.iter().filter(believed).map(|(remote, hours)| (remote.clone(), hours.clone())).collect()
    }
}

/// Which remotes may be braked when so many more are called dead as `touched` says; `known` are the hours that changed
/// and those beside them.
pub(super) fn suspects<'t>(
    brake: &Brake,
    touched: &'t BTreeMap<String, BTreeMap<i64, i64>>,
    known: &HashMap<String, Hours>,
) -> Vec<&'t str> {
    let may_brake = |remote: &str, hours: &BTreeMap<i64, i64>, at: i64| {
        let hour = known.get(remote).and_then(|hours| hours.get(&at)).copied().unwrap_or_default();
        brake.may_brake(Hour { new: hours.get(&at).copied().unwrap_or_default(), ..hour })
    };
    let suspects = touched.iter().filter(|(remote, hours)| {
        hours.keys().any(|at| [at - HOUR, *at, at + HOUR].into_iter().any(|at| may_brake(remote, hours, at)))
    });
    suspects.map(|(remote, _)| remote.as_str()).collect()
}
