//! Several reports of one failure, by its address and the Message-ID of what failed -> which of them counts. Pure, like the
//! plan that asks.

use std::collections::HashMap;

use crate::codes::Class;

/// The address, and the Message-ID of the message that failed.
pub(super) type Failure = (String, String);

/// A report of a failure, as a row of `bounce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Telling {
    /// Its row.
    pub bounce: i64,
    pub class: Class,
    /// Whether the policy lets it count.
    pub counts: bool,
    /// Whether it is believed as far as is demanded where it was read.
    pub is_believed: bool,
}

impl Telling {
    /// How much it says of the address: what is worse was known to somebody who knew more.
    const fn weight(&self) -> (bool, bool) {
        (matches!(self.class, Class::Hard), self.counts)
    }

    /// Whether nothing is left to say for the other, which came later.
    fn says_all_of(&self, other: &Self) -> bool {
        self.is_believed >= other.is_believed && self.weight() >= other.weight()
    }
}

/// The reports that count, by what they tell of.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(HashMap<Failure, Vec<Telling>>);

impl Failures {
    /// One that was told before, and counts.
    pub fn know(&mut self, failure: Failure, told: Telling) {
        self.0.entry(failure).or_default().push(told);
    }

    /// The next report: `None` where another one has said as much, else the rows that have nothing to say beside it.
    ///
    /// What nobody believes takes nothing from what is believed, whichever came first.
    pub fn tell(&mut self, failure: Failure, new: Telling) -> Option<Vec<i64>> {
        let known = self.0.entry(failure).or_default();
        if known.iter().any(|old| old.says_all_of(&new)) {
            return None;
        }
        let outdone = known.extract_if(.., |old| new.says_all_of(old)).map(|old| old.bounce).collect();
        known.push(new);
        Some(outdone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_believed_counts_unless_a_later_one_knows_worse() {
        let telling = |bounce, class, counts, is_believed| Telling { bounce, class, counts, is_believed };
        let (hard, soft) = (Class::Hard, Class::Soft);
        for (first, second, expected) in [
            ((hard, true, true), (hard, true, true), None),
            ((hard, true, true), (soft, true, true), None),
            ((hard, true, true), (hard, true, false), None),
            ((soft, true, true), (hard, true, true), Some(vec![1])),
            // Nobody knows whether it is true that it is worse: both are on record.
            ((soft, true, true), (hard, true, false), Some(vec![])),
            ((hard, true, false), (soft, true, true), Some(vec![])),
            ((hard, true, false), (hard, true, true), Some(vec![1])),
            ((soft, true, false), (hard, true, true), Some(vec![1])),
            ((soft, true, false), (soft, true, false), None),
            // What the policy passes over is no word against what it counts.
            ((soft, false, true), (soft, true, true), Some(vec![1])),
            ((soft, true, true), (soft, false, true), None),
        ] {
            let mut failures = Failures::default();
            let failure = || ("ann@example.org".to_owned(), "m1@ours".to_owned());
            failures.know(failure(), telling(1, first.0, first.1, first.2));
            let second = telling(2, second.0, second.1, second.2);
            assert_eq!(failures.tell(failure(), second), expected, "{first:?} {second:?}");
            let other = ("bob@example.org".to_owned(), "m1@ours".to_owned());
            assert_eq!(failures.tell(other, second), Some(Vec::new()), "of another address");
        }
    }
}
