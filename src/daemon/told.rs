//! What the log was told of something that keeps failing: one line when it begins, one for each other reason, and one when
//! it is over. What fails and works in turns, as a server that ends each connection after a minute, is told once.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

/// Reasons are forgotten when nothing failed for so long.
const QUIET: Duration = Duration::from_secs(600);
/// What failed before and works again in between is told once more when it fails so often in a row.
const LASTING: u32 = 5;
/// Whoever gives a new reason each time is told of each so many times.
const MOST_REASONS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Told {
    reasons: BTreeSet<String>,
    /// Attempts that failed since the last one that did not, and since when.
    failures: u32,
    since: Option<Instant>,
    last: Option<Instant>,
    /// The log says that it fails.
    says_so: bool,
}

impl Told {
    /// An attempt failed. Says whether the log lacks that.
    pub(super) fn failed(&mut self, why: &str) -> bool {
        if self.last.is_none_or(|last| last.elapsed() >= QUIET) || self.reasons.len() >= MOST_REASONS {
            self.reasons.clear();
        }
        self.last = Some(Instant::now());
        self.since.get_or_insert_with(Instant::now);
        self.failures += 1;
        // A reason may carry a time or the number of a session.
        let words = why.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        let is_news = self.reasons.insert(words.collect::<Vec<_>>().join(" "));
        let lasts = self.failures >= LASTING && !self.says_so;
        self.says_so |= is_news || lasts;
        is_news || lasts
    }

    /// It works. Where the log says that it fails: after how many attempts, and how long that took.
    pub(super) fn works(&mut self) -> Option<(u32, Duration)> {
        let (failures, since) = (std::mem::take(&mut self.failures), self.since.take());
        let said = std::mem::take(&mut self.says_so);
        since.filter(|_| said).map(|since| (failures, since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_told_once_and_again_when_it_changes_or_is_over() {
        let mut told = Told::default();
        assert_eq!(told.works(), None, "nothing failed");
        let mut lines = Vec::new();
        for (n, why) in ["away", "away", "no answer within 10s", "away", "no answer within 20s"].into_iter().enumerate()
        {
            tokio::time::advance(Duration::from_secs(30)).await;
            if told.failed(why) {
                lines.push(n);
            }
        }
        assert_eq!(lines, [0, 2], "each reason once, whatever its numbers");
        assert_eq!(told.works(), Some((5, Duration::from_secs(120))));
        assert_eq!(told.works(), None, "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_each_minute_and_works_in_between_is_no_line_a_minute() {
        let mut told = Told::default();
        let mut lines = 0;
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(60)).await;
            lines += u32::from(told.failed("goodbye")) + u32::from(told.works().is_some());
        }
        assert_eq!(lines, 2);
        let again = (1..=6).map(|_| told.failed("goodbye")).collect::<Vec<_>>();
        assert_eq!(again, [false, false, false, false, true, false], "this time it lasts");
        assert!(told.works().is_some());
        tokio::time::advance(QUIET).await;
        assert!(told.failed("goodbye"), "nobody remembers the last time");
    }
}
