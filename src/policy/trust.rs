//! How far a bounce, a complaint or a sign of life must be believed before it changes the list by itself. Knows no mail
//! and not by what it is found out how far one is to be believed.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::Trust;

/// The mailbox of mails that come from archives, and how the names of others begin.
pub const ARCHIVE: &str = "archive";

/// Whether mails that come from archives may be recorded under this name.
#[must_use]
pub fn is_archive(mailbox: &str) -> bool {
    mailbox.strip_prefix(ARCHIVE).is_some_and(|more| more.is_empty() || more.starts_with('-'))
}

/// What is demanded, mailbox by mailbox. By default nothing is: anybody is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    /// Since when our own mail can be told from what strangers write, in seconds since 1970-01-01 UTC; `None` while it
    /// can't.
    pub vouching_since: Option<i64>,
    /// Of mailboxes that are not named.
    pub everywhere: Demand,
    /// Of those that are.
    pub mailboxes: BTreeMap<String, Demand>,
    /// The mailboxes that have the name of an archive and are none: a server or a disk says when their mails came.
    pub no_archives: BTreeSet<String>,
}

/// What is demanded in one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// At least so much; `None`: [`Trust::Local`] from [`Demands::vouching_since`] on.
    pub at_least: Option<Trust>,
    /// Of what was received from then on, in seconds since 1970-01-01 UTC.
    pub since: Option<i64>,
}

impl Demands {
    /// Whether what a mailbox received at a time is believed.
    #[must_use]
    pub fn are_met(&self, mailbox: Option<&str>, at: i64, trust: Trust) -> bool {
        let demand = self.demand(mailbox);
        // Whoever writes a mail writes its date as well, and an archive knows no other: only a person can say from when on
        // it is to be asked.
        let is_undated = demand.since.is_none() || mailbox.is_none_or(|name| !self.mailboxes.contains_key(name));
        let at = if is_undated && mailbox.is_some_and(|name| self.is_archive(name)) { i64::MAX } else { at };
        trust >= self.least(demand, at)
    }

    fn is_archive(&self, mailbox: &str) -> bool {
        is_archive(mailbox) && !self.no_archives.contains(mailbox)
    }

    fn demand(&self, mailbox: Option<&str>) -> &Demand {
        mailbox.and_then(|name| self.mailboxes.get(name)).unwrap_or(&self.everywhere)
    }

    fn least(&self, demand: &Demand, at: i64) -> Trust {
        if demand.since.is_some_and(|since| at < since) {
            return Trust::Unverified;
        }
        let automatic = || match self.vouching_since {
            Some(since) if at >= since => Trust::Local,
            _ => Trust::Unverified,
        };
        demand.at_least.unwrap_or_else(automatic)
    }

    fn all(&self) -> impl Iterator<Item = &Demand> {
        std::iter::once(&self.everywhere).chain(self.mailboxes.values())
    }

    /// Whether anybody is believed everywhere.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.all().all(|demand| self.least(demand, i64::MAX) == Trust::Unverified)
    }

    /// Whether it matters where a bounce was read.
    #[must_use]
    pub fn asks_mailbox(&self) -> bool {
        // Of archives what is demanded at last is demanded of all.
        let changes = self.least(&self.everywhere, i64::MIN) != self.least(&self.everywhere, i64::MAX);
        changes || self.all().any(|demand| *demand != self.everywhere)
    }

    /// Whether more is demanded somewhere as soon as our own mail can be told from what strangers write.
    #[must_use]
    pub fn wait_for_vouching(&self) -> bool {
        self.all().any(|demand| demand.at_least.is_none())
    }

    /// What must be shown in a mailbox from now on.
    #[must_use]
    pub fn of(&self, mailbox: &str) -> Trust {
        self.least(self.demand(Some(mailbox)), i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_before_the_day_is_believed_and_behind_it_what_is_demanded_there() {
        let demand = |at_least, since| Demand { at_least, since };
        let demands = Demands {
            vouching_since: Some(90),
            everywhere: demand(None, Some(100)),
            mailboxes: [
                ("a".to_owned(), demand(Some(Trust::Matched), Some(200))),
                ("b".to_owned(), demand(Some(Trust::Unverified), None)),
                ("d".to_owned(), demand(None, None)),
                ("e".to_owned(), demand(Some(Trust::Verified), None)),
                ("archive-of-a".to_owned(), demand(Some(Trust::Matched), Some(200))),
                ("archive-of-b".to_owned(), demand(Some(Trust::Unverified), None)),
                ("archive-of-e".to_owned(), demand(Some(Trust::Verified), None)),
            ]
            .into(),
            no_archives: ["archive-box".to_owned()].into(),
        };
        for (mailbox, at, least) in [
            // Its mails say themselves how old they are.
            (Some("archive"), 0, Trust::Local),
            (Some("archive-2016"), 0, Trust::Local),
            (Some("archive-box"), 99, Trust::Unverified),
            (Some("archived"), 99, Trust::Unverified),
            (Some("archive-of-a"), 199, Trust::Unverified),
            (Some("archive-of-a"), 200, Trust::Matched),
            (Some("archive-of-b"), 0, Trust::Unverified),
            (Some("archive-of-e"), 0, Trust::Verified),
            (None, 99, Trust::Unverified),
            (None, 100, Trust::Local),
            (Some("c"), 100, Trust::Local),
            (Some("a"), 199, Trust::Unverified),
            (Some("a"), 200, Trust::Matched),
            (Some("b"), 500, Trust::Unverified),
            (Some("d"), 89, Trust::Unverified),
            (Some("d"), 90, Trust::Local),
            (Some("e"), 0, Trust::Verified),
        ] {
            for trust in Trust::ALL {
                assert_eq!(demands.are_met(mailbox, at, *trust), *trust >= least, "{mailbox:?} {at} {trust}");
            }
        }
        assert_eq!(
            [demands.of("a"), demands.of("b"), demands.of("c")],
            [Trust::Matched, Trust::Unverified, Trust::Local]
        );
        assert!(demands.asks_mailbox() && !Demands::default().asks_mailbox());
    }

    #[test]
    fn nobody_is_doubted_before_it_can_be_known_what_was_sent_or_where_somebody_says_so() {
        let open = Demands::default();
        let knowing = Demands { vouching_since: Some(0), ..open.clone() };
        let told = Demand { at_least: Some(Trust::Unverified), since: None };
        assert!(open.are_none() && !knowing.are_none());
        assert!(Demands { everywhere: told, ..knowing.clone() }.are_none());
        let strict = Demand { at_least: Some(Trust::Local), since: None };
        assert!(!Demands { mailboxes: [("a".to_owned(), strict)].into(), ..open }.are_none());
    }
}
