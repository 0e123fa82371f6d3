//! How long to wait before the next attempt: doubling, with jitter, so that many clients don't return in step.

use std::time::Duration;

/// Waiting times for one thing that keeps failing.
#[derive(Debug, Clone)]
pub struct Backoff {
    ceiling: Duration,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// The first wait lasts at most `first`, none lasts longer than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { ceiling: first, first, longest }
    }

    /// The next wait: between half of the current ceiling and all of it; the ceiling then doubles.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = self.ceiling.min(self.longest);
        self.ceiling = ceiling.saturating_mul(2);
        ceiling.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// It worked: start again from the first wait.
    pub fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 5 * second);
        for ceiling in [1, 2, 4, 5, 5].map(|n| n * second) {
            let wait = backoff.next_wait();
            assert!(wait <= ceiling && wait >= ceiling / 2, "{wait:?} of {ceiling:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= second);
    }
}
