//! What systemd is told (sd_notify(3)); does nothing when it was not systemd that started the process.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, interval};

/// An error here is systemd's to notice, when it hears nothing.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("systemd was not told: {error}");
    }
}

/// Every mailbox was tried once, or a reload is over.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The tables are being read anew.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("systemd was not told: {error}"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The daemon's loop still turns, and no mailbox waits longer than it announced.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// When systemd expects to hear from us, if it does.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Twice within the time that the unit's WatchdogSec= grants.
    pub(super) fn new() -> Self {
        let granted = sd_notify::watchdog_enabled().filter(|granted| *granted > Duration::ZERO);
        Self(granted.map(|granted| interval(granted / 2)))
    }

    /// Returns when it is time again; never when nobody listens.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}
