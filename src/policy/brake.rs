//! How many addresses a remote newly called dead, hour by hour -> the hours in which it was more than can be true.
//! Pure: it counts what it is told, and knows no clock, no mail and no list.
//!
//! Servers err: on 15 December 2020 Gmail answered `550 5.1.1` for hours, for accounts that existed. One verdict does
//! not show that, many at once do. Time is the time of arrival, so that reading an old mailbox at once is no burst.

mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub(super) use keys::{Keys, of_files};

use super::{DAY, HOUR, Policy, Span};
use crate::text::{host_form, is_internal, organisation};

/// When verdicts wait instead of being believed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brake {
    /// How many addresses a remote may always call dead within an hour.
    pub least: u32,
    /// How many times as many as in its busiest usual hour it may.
    pub factor: u32,
    /// How many of a hundred addresses that died in an hour, whatever the remote, are to be its own before the hour is
    /// looked at: where an old list is mailed for the first time, all remotes have many.
    pub share: u32,
    /// For how many seconds an hour stays in memory.
    pub memory: i64,
    /// How many seconds later an address that waits has to be called dead again to be believed dead.
    pub again: i64,
    /// Domains that stand for themselves, whoever else has the same servers: domain -> name of its family.
    pub families: BTreeMap<String, String>,
}

/// What is known of one clock hour of a remote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hour {
    /// How many addresses it newly called dead, as far as they were counted before.
    pub before: i64,
    /// How many of these the brake took, and nothing has shown to be dead since.
    pub held: i64,
    /// How many of those that it took were found dead later, by a person or by another verdict.
    pub confirmed: i64,
    /// How many more there are now.
    pub new: i64,
    /// How many addresses all remotes together called dead in the hour, these among them.
    pub of_all: i64,
}

impl Hour {
    const fn dead(self) -> i64 {
        self.before + self.new
    }
}

/// The clock hour in which a moment lies, named by its first second.
#[must_use]
pub const fn hour_of(at: i64) -> i64 {
    at - at.rem_euclid(HOUR)
}

impl Default for Brake {
    /// The one that comes with the program.
    fn default() -> Self {
        Policy::embedded().brake.as_ref().clone()
    }
}

/// As `bounced check` prints it.
impl fmt::Display for Brake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, factor, share, memory, again, families } = self;
        let names: BTreeSet<&String> = families.values().collect();
        write!(
            f,
            "more than {least} addresses that one provider newly calls dead within an hour, more than {factor} times its \
             busiest hour within {}, and {share} of 100 that died then, wait until they are called dead again {} later",
            Span::of_seconds(*memory),
            Span::of_seconds(*again)
        )?;
        if names.is_empty() {
            Ok(())
        } else {
            write!(f, "; counted by themselves: {}", names.into_iter().cloned().collect::<Vec<_>>().join(", "))
        }
    }
}

impl Brake {
    /// Whose verdict on an address it is: that of the family of its domain; else of the organisation of the server that
    /// refused; else, where that is unknown, or is the one that reported, of the domain's own. The domain is in the form
    /// of normalised addresses.
    #[must_use]
    pub fn remote(&self, domain: &str, remote_mta: Option<&str>, reporting_mta: Option<&str>) -> String {
        if let Some(family) = self.families.get(domain) {
            return family.clone();
        }
        // A relay of the sender's own refuses for the whole world.
        let host = remote_mta.and_then(organisation_of);
        let host = host.filter(|host| reporting_mta.and_then(organisation_of).as_ref() != Some(host));
        host.unwrap_or_else(|| organisation(domain).unwrap_or(domain).to_owned())
    }

    /// Whether [`Brake::braked`] can find anything where this is one of the hours that changed, or one beside them.
    #[must_use]
    pub fn may_brake(&self, hour: Hour) -> bool {
        hour.held > 0 || hour.dead() > i64::from(self.least)
    }

    /// The hours of one remote whose verdicts wait; some may not be among `hours`, because nothing came in them yet.
    ///
    /// `hours` begin before the first that changed, by [`Brake::reach`], and `changed` is that one: what was decided
    /// about the hours before it stays, unless they belong to a burst that shows now.
    ///
    /// A burst has an hour that is too busy. The hours beside it belong to it, too, as long as they are busier than any
    /// usual one; and one more at either end, in which it began or ceased.
    #[must_use]
    pub fn braked(&self, hours: &BTreeMap<i64, Hour>, changed: i64) -> BTreeSet<i64> {
        let mut series = Series { brake: self, hours, braked: BTreeSet::new() };
        for (&at, hour) in hours.range(changed..) {
            if series.is_known(at) {
                continue;
            }
            if hour.held > 0 {
                series.braked.insert(at);
            }
            let busy = hour.dead() > self.least.into() && self.stands_out(*hour);
            if busy && hour.dead() > series.most(at) {
                series.braked.insert(at);
                series.spread(at, -HOUR);
                series.spread(at, HOUR);
            }
        }
        series.braked
    }

    /// Whether the dead of an hour are this remote's above all.
    fn stands_out(&self, hour: Hour) -> bool {
        100 * hour.dead() >= i64::from(self.share) * hour.of_all
    }

    /// How far before and after the hours that changed [`Brake::braked`] looks, in seconds.
    #[must_use]
    pub fn reach(&self) -> (i64, i64) {
        (self.memory + DAY, DAY)
    }

    /// Whether a bounce received at `at` confirms one received at `since`, that waits.
    #[must_use]
    pub const fn confirms(&self, since: i64, at: i64) -> bool {
        at.abs_diff(since) >= self.again.unsigned_abs()
    }
}

fn organisation_of(host: &str) -> Option<String> {
    let host = host_form(host);
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    (!address && !is_internal(&host)).then(|| organisation(&host).map(str::to_owned))?
}

/// The hours of a remote, and which of them are braked as far as is known.
struct Series<'a> {
    brake: &'a Brake,
    hours: &'a BTreeMap<i64, Hour>,
    braked: BTreeSet<i64>,
}

impl Series<'_> {
    fn hour(&self, at: i64) -> Hour {
        self.hours.get(&at).copied().unwrap_or_default()
    }

    /// How many addresses died in the busiest of these hours that stand out, those aside that wait.
    fn busiest(&self, from: i64, to: i64) -> i64 {
        let standing_out = self.hours.range(from..to).filter(|(_, hour)| self.brake.stands_out(**hour));
        let usual = standing_out.map(|(at, hour)| match (hour.held, self.braked.contains(at)) {
            (0, true) => 0,
            (0, false) => hour.dead(),
            (held, _) => hour.before - held,
        });
        usual.max().unwrap_or_default()
    }

    /// How many may die in an hour. The day before it counts once, so that no burst hides behind its own beginning.
    fn most(&self, at: i64) -> i64 {
        let Brake { least, factor, memory, .. } = *self.brake;
        let usual = i64::from(factor) * self.busiest(at - memory, at - DAY);
        usual.max(self.busiest(at - DAY, at)).max(least.into())
    }

    /// Whether as many as are too many were found dead: then the rest of the hour is believed, too.
    fn is_known(&self, at: i64) -> bool {
        let confirmed = self.hour(at).confirmed;
        confirmed > 0 && confirmed > self.most(at)
    }

    /// Takes the hours on one side of a braked one into its burst.
    fn spread(&mut self, from: i64, step: i64) {
        let mut at = from + step;
        while !self.is_known(at) {
            self.braked.insert(at);
            let busiest = self.busiest(at - self.brake.memory, at).max(self.brake.least.into());
            if self.hour(at).dead() <= busiest || !self.brake.stands_out(self.hour(at)) {
                break;
            }
            at += step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(counts: &[(i64, i64)]) -> BTreeMap<i64, Hour> {
        counts.iter().map(|&(hour, dead)| (hour * HOUR, Hour { new: dead, of_all: dead, ..Hour::default() })).collect()
    }

    /// The hours that are braked, counted from 0, where all of these are new.
    fn braked(hours: &BTreeMap<i64, Hour>) -> Vec<i64> {
        let first = hours.keys().next().expect("some hours");
        Brake::default().braked(hours, *first).into_iter().map(|at| at / HOUR).collect()
    }

    #[test]
    fn a_verdict_is_the_familys_the_servers_or_the_domains_own() {
        for (domain, remote_mta, reporting_mta, remote) in [
            ("gmail.com", Some("gmail-smtp-in.l.google.com"), None, "gmail.com"),
            ("googlemail.com", None, None, "gmail.com"),
            ("company.example", Some("ASPMX.L.Google.com."), Some("mx.sender.example"), "google.com"),
            ("company.example", Some("company.mail.protection.outlook.com"), None, "outlook.com"),
            ("hotmail.fr", Some("eur.olc.protection.outlook.com"), None, "hotmail.com"),
            ("mail.company.example", None, None, "company.example"),
            ("company.example", Some("[192.0.2.7]"), None, "company.example"),
            ("company.example", Some("mailstore"), None, "company.example"),
            ("company.example", Some("relay.sender.example"), Some("mx.sender.example"), "company.example"),
        ] {
            assert_eq!(Brake::default().remote(domain, remote_mta, reporting_mta), remote, "{domain} {remote_mta:?}");
        }
    }

    #[test]
    fn more_than_the_least_are_too_many_of_a_remote_that_is_new() {
        assert!(braked(&series(&[(0, 10), (10, 200)])).is_empty());
        assert_eq!(braked(&series(&[(0, 10), (10, 201)])), [9, 10, 11]);
    }

    #[test]
    fn more_than_three_times_the_busiest_hour_are_too_many_of_one_that_is_known() {
        let day = DAY / HOUR;
        let busiest = (0..300).map(|n| (n * day, 0)).chain([(7, 200)]);
        let with = |at: i64, dead: i64| series(&busiest.clone().chain([(at, dead)]).collect::<Vec<_>>());
        assert!(braked(&with(32, 600)).is_empty());
        assert_eq!(braked(&with(32, 601)), [31, 32, 33]);
        // The last day counts once.
        assert_eq!(braked(&with(31, 201)), [30, 31, 32]);
        // After sixty days it is forgotten.
        assert!(braked(&with(7 + 60 * day, 600)).is_empty());
        assert_eq!(braked(&with(8 + 60 * day, 201)).len(), 3);
    }

    #[test]
    fn a_burst_goes_on_for_as_long_as_it_is_busier_than_usual() {
        let with =
            [(0, 150), (100, 40), (101, 180), (102, 250), (103, 900), (104, 210), (105, 160), (106, 30), (107, 5)];
        assert_eq!(braked(&series(&with)), [101, 102, 103, 104, 105]);
    }

    #[test]
    fn where_all_remotes_have_many_nothing_waits() {
        let mut hours = series(&[(10, 1_000)]);
        hours.get_mut(&(10 * HOUR)).expect("it is there").of_all = 1_516;
        assert!(braked(&hours).is_empty());
        hours.get_mut(&(10 * HOUR)).expect("it is there").of_all = 1_515;
        assert_eq!(braked(&hours), [9, 10, 11]);
    }

    #[test]
    fn what_waits_goes_on_waiting_and_what_was_found_dead_does_not() {
        let hour = Hour { before: 150, held: 150, new: 1, of_all: 1_000, ..Hour::default() };
        assert_eq!(braked(&[(0, hour)].into()), [0], "although it would not stand out any more");
        let found = Hour { before: 500, held: 100, confirmed: 400, new: 50, of_all: 550 };
        assert!(braked(&[(0, found)].into()).is_empty());
        let few = Hour { confirmed: 200, ..found };
        assert_eq!(braked(&[(0, few)].into()), [-1, 0, 1]);
    }

    #[test]
    fn what_waits_is_not_usual() {
        let held = Hour { before: 900, held: 900, of_all: 900, ..Hour::default() };
        let mut hours = series(&[(50, 700)]);
        hours.insert(0, held);
        assert_eq!(Brake::default().braked(&hours, 50 * HOUR).len(), 3);
        hours.insert(0, Hour { held: 0, confirmed: 900, ..held });
        assert!(Brake::default().braked(&hours, 50 * HOUR).is_empty());
    }
}
