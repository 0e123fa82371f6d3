//! When bounces were received -> whether they are enough for a rule that asks for several, and which. Knows nothing of
//! what they said.

use std::ops::Range;

/// What a rule asks for. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// So many.
    pub count: u32,
    /// The first and the last at most so far apart.
    pub within: i64,
    /// The first and the last at least so far apart.
    pub spread: i64,
    /// Those closer than this count as one.
    pub spacing: i64,
}

impl Asked {
    /// Whether one is enough.
    pub const fn is_one(self) -> bool {
        self.count == 1
    }

    /// The earliest that are enough and have the one at `this` among them. `times` are sorted. Only those around
    /// `this` can have become enough by it, in whatever order they were read.
    pub fn first_enough(self, times: &[i64], this: usize) -> Option<Range<usize>> {
        (this..times.len()).take_while(|&last| times[last] - times[this] <= self.within).find_map(|last| {
            // The longest stretch that ends here has the most, and the greatest spread.
            let first = times.partition_point(|&at| at < times[last] - self.within);
            let stretch = first..last + 1;
            let far_enough = times[last] - times[first] >= self.spread;
            (far_enough && self.are_many(&times[stretch.clone()])).then_some(stretch)
        })
    }

    /// Whether there are as many as it takes, each no closer than `spacing` to the one counted before it.
    fn are_many(self, times: &[i64]) -> bool {
        let mut at = 0;
        (1..self.count).all(|_| {
            let next = times.partition_point(|&time| time < times[at] + self.spacing);
            at = next.max(at + 1);
            at < times.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKED: Asked = Asked { count: 5, within: 60, spread: 14, spacing: 0 };

    fn enough(asked: Asked, others: &[i64], this: i64) -> Option<(i64, i64)> {
        let mut times = [others, &[this]].concat();
        times.sort_unstable();
        let at = times.iter().position(|&time| time == this).unwrap();
        asked.first_enough(&times, at).map(|found| (times[found.start], times[found.end - 1]))
    }

    #[test]
    fn they_are_enough_by_number_within_the_time_and_far_enough_apart() {
        for (others, expected) in [
            (&[-20, -15, -10, -5][..], Some((-20, 0))),
            (&[-20, -15, -10], None),
            (&[-14, -3, -2, -1], Some((-14, 0))),
            (&[-13, -3, -2, -1], None),
            (&[-60, -30, -20, -10], Some((-60, 0))),
            (&[-61, -30, -20, -10], None),
            (&[-200, -100, -60, -30, -20, -10], Some((-60, 0))),
            // Read in another order: the one at hand is the first or in the middle.
            (&[20, 15, 10, 5], Some((0, 20))),
            (&[-10, 10, 5, -5], Some((-10, 10))),
            // The earliest moment at which they were enough, and not the last that is known.
            (&[-20, -15, -10, 20, 25], Some((-20, 20))),
            (&[5, 10, 14, 15, 16, 60], Some((0, 15))),
            (&[-90, -85, -80, -75, -71, 70, 75, 80, 85, 90], None),
            (&[0, 0, 0, 0], None),
        ] {
            assert_eq!(enough(ASKED, others, 0), expected, "{others:?}");
        }
    }

    #[test]
    fn those_that_are_too_close_count_as_one() {
        let asked = Asked { count: 3, within: 60, spread: 0, spacing: 12 };
        for (others, expected) in [
            (&[-24, -12][..], true),
            (&[-23, -12], false),
            (&[-24, -11], false),
            (&[-30, -29, -28, -1], false),
            (&[-30, -29, -18, -1], true),
            (&[12, 24], true),
        ] {
            assert_eq!(enough(asked, others, 0).is_some(), expected, "{others:?}");
        }
    }

    #[test]
    fn one_is_enough_where_one_is_asked_for() {
        let asked = Asked { count: 1, within: 0, spread: 0, spacing: 0 };
        assert!(asked.is_one() && !ASKED.is_one());
        assert_eq!(enough(asked, &[-5, 5], 0), Some((0, 0)));
    }

    proptest! {
        #[test]
        fn another_one_never_makes_too_few_of_enough(
            times in proptest::collection::vec(-100i64..100, 0..20), another in -100i64..100, count in 1u32..6,
            spread in 0i64..30, spacing in 0i64..15,
        ) {
            let asked = Asked { count, within: 60, spread, spacing };
            if enough(asked, &times, 0).is_some() {
                prop_assert!(enough(asked, &[&times[..], &[another]].concat(), 0).is_some());
            }
        }

        #[test]
        fn whichever_is_read_last_they_are_enough_at_the_same_moment(
            mut times in proptest::collection::vec(-100i64..100, 1..12), spacing in 0i64..15,
        ) {
            let asked = Asked { count: 4, within: 60, spread: 14, spacing };
            times.sort_unstable();
            let all = |times: &[i64]| -> Vec<usize> {
                (0..times.len()).filter_map(|this| asked.first_enough(times, this)).map(|found| found.end).collect()
            };
            let first = all(&times).into_iter().min();
            for this in 0..times.len() {
                let others = [&times[..this], &times[this + 1..]].concat();
                // Not enough before it: then it is what makes them enough, and when is no matter of order.
                if all(&others).is_empty() {
                    let found = asked.first_enough(&times, this);
                    prop_assert_eq!(found.map(|found| found.end), first);
                }
            }
        }
    }
}
