//! How long somebody may still be waiting: what tells a slow mailbox from one that hangs. Knows nothing of what is
//! awaited.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So much later than announced is still no fault: the machine may be busy.
const SLACK: Duration = Duration::from_secs(60);

/// A mark that whoever waits sets before each wait, and that a watchdog looks at. Clones are the same mark.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Option<Instant>>>);

impl Progress {
    /// I wait no longer than this, and set the mark again then.
    pub fn until(&self, wait: Duration) {
        self.set(Instant::now().checked_add(wait));
    }

    /// I wait for nothing.
    pub fn rest(&self) {
        self.set(None);
    }

    /// Whether it was set again in time.
    #[must_use]
    pub fn is_on_time(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|limit| limit + SLACK >= Instant::now())
    }

    fn set(&self, limit: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_in_time_as_long_as_it_was_announced() {
        let (progress, half_hour) = (Progress::default(), Duration::from_secs(1800));
        tokio::time::advance(half_hour).await;
        assert!(progress.is_on_time(), "nothing is awaited");
        progress.clone().until(half_hour);
        tokio::time::advance(half_hour + SLACK).await;
        assert!(progress.is_on_time());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!progress.is_on_time());
        progress.until(Duration::MAX);
        assert!(progress.is_on_time());
        progress.until(Duration::ZERO);
        tokio::time::advance(half_hour).await;
        progress.rest();
        assert!(progress.is_on_time());
    }
}
