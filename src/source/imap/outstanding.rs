//! Which committed messages to move or flag together, after what the server did with them before. Knows nothing of the
//! server.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::narrow::Portion;
use crate::source::Backoff;

/// How long settling pauses after a connection broke over it: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

#[derive(Debug)]
pub(super) struct Settling {
    uid_validity: u32,
    portion: Portion,
    pause: Backoff,
    /// Not before then, because of that.
    paused: Option<(Instant, String)>,
    /// Those whose fate is known: this process has read them, and no connection broke over moving them. Of all others
    /// a server that was killed may have made a copy.
    certain: HashSet<u32>,
    /// Over one of these, asked for alone, the connection broke: they come last, and alone.
    loners: HashSet<u32>,
    /// The last of them: what is to be said of it.
    culprit: Option<(u32, String)>,
}

impl Settling {
    pub(super) fn new(batch: usize) -> Self {
        Self {
            uid_validity: 0,
            portion: Portion::new(batch.max(100)),
            pause: Backoff::new(PAUSE.0, PAUSE.1),
            paused: None,
            certain: HashSet::new(),
            loners: HashSet::new(),
            culprit: None,
        }
    }

    /// The folder is open again.
    pub(super) fn resume(&mut self, uid_validity: u32) {
        if self.uid_validity != uid_validity {
            (self.certain, self.loners, self.culprit) = Default::default();
            self.uid_validity = uid_validity;
        }
    }

    /// This process has read these.
    pub(super) fn read(&mut self, uids: impl Iterator<Item = u32>) {
        self.certain.extend(uids);
    }

    /// What to settle together, in this order, and what is not to be tried now, with why. An error is the reason for
    /// which nothing is.
    #[expect(clippy::type_complexity, reason = "two lists, each named above")]
    pub(super) fn plan(&mut self, uids: &[u32]) -> Result<(Vec<Vec<u32>>, Vec<(u32, String)>), String> {
        if let Some((_, why)) = self.paused.as_ref().filter(|(until, _)| Instant::now() < *until) {
            return Err(why.clone());
        }
        self.paused = None;
        let culprit = self.culprit.take().filter(|(uid, _)| uids.contains(uid));
        let now = uids.iter().copied().filter(|uid| culprit.as_ref().is_none_or(|(one, _)| one != uid));
        let (alone, together): (Vec<u32>, Vec<u32>) = now.partition(|uid| self.loners.contains(uid));
        let together = together.chunks(self.portion.get()).map(<[u32]>::to_vec);
        let alone = alone.into_iter().map(|uid| vec![uid]);
        Ok((together.chain(alone).collect(), culprit.into_iter().collect()))
    }

    /// Those of them that perhaps lie in the other folder already.
    pub(super) fn doubtful(&self, uids: &[u32]) -> Vec<u32> {
        uids.iter().copied().filter(|uid| !self.certain.contains(uid)).collect()
    }

    /// The server has answered about these: those that it refused are where they were, the others are done.
    pub(super) fn answered(&mut self, uids: &[u32], refused: &[(u32, String)]) {
        self.forget(uids.iter().copied());
        self.certain.extend(refused.iter().map(|(uid, _)| *uid));
        self.portion.answered();
        self.pause.reset();
    }

    /// These are done.
    pub(super) fn forget(&mut self, uids: impl Iterator<Item = u32>) {
        for uid in uids {
            self.certain.remove(&uid);
            self.loners.remove(&uid);
        }
    }

    /// The connection broke over these.
    pub(super) fn broke(&mut self, uids: &[u32], why: &str) {
        uids.iter().for_each(|uid| {
            self.certain.remove(uid);
        });
        self.portion.failed(uids.len());
        if let [uid] = uids {
            self.loners.insert(*uid);
            self.culprit = Some((*uid, why.to_owned()));
        }
        self.paused = Some((Instant::now() + self.pause.next_wait(), why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_that_ends_the_connection_is_found_and_the_others_go_before_it() {
        let mut settling = Settling::new(100);
        let uids: Vec<u32> = (1..=100).collect();
        settling.read(1..=100);
        let (mut broke, mut settled, mut refused) = (0, HashSet::new(), 0);
        while settled.len() < 99 {
            let left: Vec<u32> = uids.iter().copied().filter(|uid| !settled.contains(uid)).collect();
            let (portions, not_now) = match settling.plan(&left) {
                Ok(plan) => plan,
                Err(why) => {
                    assert_eq!(why, "BYE");
                    tokio::time::advance(Duration::from_secs(60)).await;
                    continue;
                }
            };
            refused += not_now.len();
            for portion in portions {
                if portion.contains(&40) {
                    settling.broke(&portion, "BYE");
                    broke += 1;
                    break;
                }
                settled.extend(portion.iter().copied());
                settling.answered(&portion, &[]);
            }
        }
        assert!(broke <= 6 && refused >= 1, "{broke} {refused}");
        assert_eq!(settling.doubtful(&[40]), [40], "perhaps it was copied");
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_earlier_process_read_is_in_doubt_until_the_server_has_answered() {
        let mut settling = Settling::new(100);
        settling.resume(7);
        assert_eq!(settling.doubtful(&[1, 2]), [1, 2]);
        settling.answered(&[1], &[(1, "quota".to_owned())]);
        settling.read([2].into_iter());
        assert!(settling.doubtful(&[1, 2]).is_empty());
        settling.resume(8);
        assert_eq!(settling.doubtful(&[1]), [1], "another message by now");
    }
}
