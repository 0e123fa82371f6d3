//! How many messages to ask a server for at once, after it has shown what it can't answer. Knows nothing of the
//! answers.

/// Grows to its limit while answers come, and shrinks when one brings the connection down, until the message that does
/// it stands alone.
#[derive(Debug, Clone)]
pub(super) struct Portion {
    most: usize,
    limit: usize,
}

impl Portion {
    /// Starts with `limit`, and never exceeds it.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self { most: limit, limit }
    }

    /// How many now; at least one.
    pub(super) const fn get(&self) -> usize {
        self.most
    }

    /// So many were asked for, and the answer never came to its end. Each failure costs a connection, and a wait before
    /// the next: to an eighth, so that one message of 500 is alone after three.
    pub(super) fn failed(&mut self, asked: usize) {
        self.most = (asked / 8).max(1);
    }

    /// An answer came.
    pub(super) fn answered(&mut self) {
        self.most = (self.most * 2).min(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_five_hundred_is_alone_after_three_failures() {
        let mut portion = Portion::new(500);
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(portion.get());
            portion.failed(portion.get());
        }
        assert_eq!(asked, [500, 62, 7, 1]);
        for expected in [2, 4, 8] {
            portion.answered();
            assert_eq!(portion.get(), expected);
        }
        (0..20).for_each(|_| portion.answered());
        assert_eq!(portion.get(), 500);
        assert_eq!(Portion::new(0).get(), 1);
    }
}
