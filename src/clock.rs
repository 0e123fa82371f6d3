//! The one clock: what time it is, and how long ago something was, also when somebody sets the time.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, in seconds since 1970-01-01 UTC. Somebody may set it.
    pub wall: i64,
    /// Seconds since the machine was started, sleep included (CLOCK_BOOTTIME). Nobody sets it; a new start begins anew.
    pub uptime: i64,
}

impl Moment {
    /// This one.
    #[must_use]
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        Self { wall, uptime: clock_gettime(ClockId::Boottime).tv_sec }
    }

    /// How many seconds it was before `now`; `None` where neither clock can tell: the machine was started since, and
    /// the time set back. Of two answers the longer: what seems fresh and is not would be trusted.
    #[must_use]
    pub fn age(self, now: Self) -> Option<u64> {
        let by = |then: i64, now: i64| u64::try_from(now - then).ok();
        by(self.wall, now.wall).max(by(self.uptime, now.uptime))
    }
}

/// The time of day, in seconds since 1970-01-01 UTC.
#[must_use]
pub fn now() -> i64 {
    Moment::now().wall
}

/// From when on whatever is looked after now and then is looked after: all of it at the same moments, so that an idle
/// process wakes up once for all.
pub(crate) fn ticks() -> Instant {
    static TICKS: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::from_std(*TICKS)
}

/// The next moment of those that come `every` so often.
pub(crate) fn next_tick(ticks: Instant, every: Duration) -> Instant {
    let passed = ticks.elapsed().as_millis() / every.as_millis();
    ticks + every * u32::try_from(passed + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_never_in_the_future_and_survives_a_clock_that_is_set() {
        let then = Moment { wall: 1_000, uptime: 50 };
        for (wall, uptime, age) in [
            (1_010, 60, Some(10)),
            (400, 60, Some(10)),      // set back
            (9_000, 60, Some(8_000)), // set forward
            (1_010, 5, Some(10)),     // started anew
            (400, 5, None),           // both
        ] {
            assert_eq!(then.age(Moment { wall, uptime }), age, "{wall} {uptime}");
        }
        assert_eq!(Moment::now().age(Moment::now()).map(|age| age < 60), Some(true));
    }
}
