//! Messages that vanish between reading and moving -> whether somebody else works on the same folder. A person who
//! tidies up is hardly ever that quick; a second `bounced` with a database of its own is, again and again, and then
//! each of the two gets only a part. Knows nothing of the server.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// So often within this time is no accident.
const PROOF: (usize, Duration) = (3, Duration::from_secs(24 * 3600));

#[derive(Debug, Default)]
pub(super) struct Rivals {
    vanished: VecDeque<Instant>,
}

impl Rivals {
    /// Of messages that were just read, some were gone when they were to be moved. Says whether that is news.
    pub(super) fn noticed(&mut self) -> bool {
        let before = self.are_there();
        self.vanished.push_back(Instant::now());
        if self.vanished.len() > PROOF.0 {
            self.vanished.pop_front();
        }
        self.are_there() && !before
    }

    pub(super) fn are_there(&self) -> bool {
        self.vanished.len() == PROOF.0 && self.vanished.front().is_some_and(|first| first.elapsed() < PROOF.1)
    }

    /// For people, with what to do.
    pub(super) fn complaint(folder: &str) -> String {
        format!(
            "messages vanish from {folder} between reading and moving: another program works on it, perhaps a second \
             bounced with a database of its own, and each gets only a part of the bounces; stop one of them, or give each a \
             folder of its own"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_once_is_an_accident_and_what_happens_daily_is_a_rival() {
        let mut rivals = Rivals::default();
        for expected in [false, false, true, false] {
            assert_eq!(rivals.noticed(), expected, "said once");
        }
        assert!(rivals.are_there());
        tokio::time::advance(PROOF.1).await;
        assert!(!rivals.are_there(), "it has ended");
        for _ in 0..5 {
            assert!(!rivals.noticed());
            tokio::time::advance(PROOF.1 / 2).await;
        }
    }
}
