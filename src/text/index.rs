//! Many words and sentences -> where each of them stands in a text. Knows nothing of what they mean.
//!
//! An automaton reads a text as fast, but to make the one of all phrases takes longer than judging two hundred mails,
//! and a mail pipe starts the program for each mail. This is made by sorting.

use std::ops::Range;

use foldhash::HashMap;

/// In octets: patterns are found by so many of their first ones, and shorter ones by as many as they have.
const LONG: usize = 4;

/// Patterns, to be found in texts.
#[derive(Debug, Clone)]
pub struct Index {
    patterns: Vec<String>,
    long: Sorted<LONG, { usize::MAX }>,
    short: Sorted<2, LONG>,
    /// There is hardly ever one.
    single: Sorted<1, 2>,
}

impl Index {
    /// An index of patterns; they are told by their place in the list. One without a character is found nowhere.
    #[must_use]
    pub fn new(patterns: Vec<String>) -> Self {
        let (long, short, single) = (Sorted::of(&patterns), Sorted::of(&patterns), Sorted::of(&patterns));
        Self { long, short, single, patterns }
    }

    /// The patterns, as they were given.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Hands out every place of every pattern in a text, in the order in which they begin, where several begin the
    /// longest first.
    pub fn find(&self, text: &str, mut found: impl FnMut(usize, Range<usize>)) {
        let single = Some(&self.single).filter(|single| !single.patterns.is_empty());
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let mut tell = |pattern: usize| found(pattern, at..at + self.patterns[pattern].len());
            self.long.begin(&self.patterns, rest, &mut tell);
            self.short.begin(&self.patterns, rest, &mut tell);
            if let Some(single) = single {
                single.begin(&self.patterns, rest, &mut tell);
            }
            rest = &rest[1..];
        }
    }
}

/// The patterns of at least `N` and less than `LONGER` octets, the order that of their octets.
#[derive(Debug, Clone)]
struct Sorted<const N: usize, const LONGER: usize> {
    /// The first octets of each, side by side: most of a search looks at nothing else of the many patterns that begin
    /// alike, which lie all over the memory.
    first_octets: Vec<u128>,
    /// Each with the longest other one that it begins with, by its place here.
    patterns: Vec<(usize, Option<usize>)>,
    /// Those that begin with the same `N` octets.
    starts: HashMap<u32, Range<usize>>,
    /// A bit for each start, of those that share it: at most places of a text no pattern begins.
    filter: Box<[u64]>,
}

impl<const N: usize, const LONGER: usize> Sorted<N, LONGER> {
    fn of(all: &[String]) -> Self {
        let is_here = |pattern: &String| (N..LONGER).contains(&pattern.len());
        let numbered = all.iter().enumerate().filter(|(_, pattern)| is_here(pattern));
        let mut order: Vec<(u128, usize)> =
            numbered.map(|(n, pattern)| (first_octets(pattern.as_bytes()), n)).collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| all[a.1].cmp(&all[b.1])).then(a.1.cmp(&b.1)));
        let first_octets = order.iter().map(|(octets, _)| *octets).collect();
        let (mut starts, mut filter) = (HashMap::default(), vec![0; FILTER / BITS].into_boxed_slice());
        let mut patterns: Vec<(usize, Option<usize>)> = Vec::with_capacity(order.len());
        // Those with which the last one begins, each beginning with the one before.
        let mut open: Vec<usize> = Vec::new();
        for (place, (_, number)) in order.into_iter().enumerate() {
            let text = &all[number];
            while open.pop_if(|last| !text.starts_with(all[patterns[*last].0].as_str())).is_some() {}
            patterns.push((number, open.last().copied()));
            open.push(place);
            if let Some(start) = Self::start(text.as_bytes()) {
                starts.entry(start).or_insert(place..place).end = place + 1;
                filter[bit(start) / BITS] |= 1 << (bit(start) % BITS);
            }
        }
        Self { first_octets, patterns, starts, filter }
    }

    /// The first `N` octets.
    fn start(text: &[u8]) -> Option<u32> {
        let mut octets = [0; LONG];
        octets[..N].copy_from_slice(text.first_chunk::<N>()?);
        Some(u32::from_le_bytes(octets))
    }

    /// Hands out the patterns with which a text begins, the longest first.
    fn begin(&self, all: &[String], text: &[u8], found: &mut impl FnMut(usize)) {
        let Some(start) = Self::start(text) else { return };
        if self.filter[bit(start) / BITS] >> (bit(start) % BITS) & 1 == 0 {
            return;
        }
        let Some(range) = self.starts.get(&start) else { return };
        let begins = |place: usize| text.starts_with(all[self.patterns[place].0].as_bytes());
        let is_not_behind = |(pattern, _): &(usize, _)| all[*pattern].as_bytes() <= text;
        // Whatever the text begins with stands at or before it in the order, and the last that does begins with all
        // the others.
        let octets = first_octets(text);
        let from = range.start + self.first_octets[range.clone()].partition_point(|&other| other < octets);
        let alike = self.first_octets[from..range.end].partition_point(|&other| other == octets);
        let behind = from + self.patterns[from..from + alike].partition_point(is_not_behind);
        let mut next = (behind > range.start).then(|| behind - 1);
        while let Some(place) = next.filter(|place| !begins(*place)) {
            next = self.patterns[place].1;
        }
        while let Some(place) = next {
            found(self.patterns[place].0);
            next = self.patterns[place].1;
        }
    }
}

/// In bits.
const FILTER: usize = 1 << 16;
const BITS: usize = u64::BITS as usize;

/// The bit of a start: the upper half of its product with a number that mixes all of it into them (Fibonacci hashing).
const fn bit(start: u32) -> usize {
    (start.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

/// A number that is in the order of texts, as far as it goes: it tells most of them apart.
fn first_octets(text: &[u8]) -> u128 {
    if let Some(octets) = text.first_chunk() {
        return u128::from_be_bytes(*octets);
    }
    let mut octets = [0; size_of::<u128>()];
    octets[..text.len()].copy_from_slice(text);
    u128::from_be_bytes(octets)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn found(patterns: &[String], text: &str) -> Vec<(usize, Range<usize>)> {
        let mut all = Vec::new();
        Index::new(patterns.to_vec()).find(text, |pattern, range| all.push((pattern, range)));
        all
    }

    #[test]
    fn what_stands_within_another_is_found_as_well() {
        let patterns = ["user unknown", "user", "unknown", "us", "r unknown recipient", "user u"].map(str::to_owned);
        let found = found(&patterns, "user unknown").into_iter().map(|(n, range)| (patterns[n].as_str(), range));
        let expected = [("user unknown", 0..12), ("user u", 0..6), ("user", 0..4), ("us", 0..2), ("unknown", 5..12)];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn all_is_found_that_is_there_and_nothing_else(
            patterns in vec("[ab ]{1,7}|[aä語]{0,3}", 0..30),
            text in "[ab ]{0,60}|[abä語 ]{0,30}",
        ) {
            let expected = (0..patterns.len()).flat_map(|n| {
                let at = (0..text.len()).filter(|&at| text.as_bytes()[at..].starts_with(patterns[n].as_bytes()));
                let len = patterns[n].len();
                at.filter(move |_| len > 0).map(move |at| (n, at..at + len)).collect::<Vec<_>>()
            });
            let mut expected: Vec<_> = expected.collect();
            let mut found = found(&patterns, &text);
            prop_assert!(found.is_sorted_by_key(|(_, range)| (range.start, std::cmp::Reverse(range.end))));
            found.sort_by_key(|(n, range)| (*n, range.start));
            expected.sort_by_key(|(n, range)| (*n, range.start));
            prop_assert_eq!(found, expected);
        }
    }
}
