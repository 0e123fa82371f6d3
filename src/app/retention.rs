//! Erases what is older than the configuration wants it kept, a little at a time.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Retention,
    store::{Records, Store, StoreError},
};

/// So many rows are erased in one transaction, which takes some hundredths of a second.
const AT_ONCE: u32 = 200;

/// How many rows were erased, or lost what others wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outdated {
    /// Rows that keep no words of others any more.
    pub diagnostics: u64,
    /// Bounces and complaints.
    pub bounces: u64,
    /// Messages.
    pub messages: u64,
    /// Messages that we sent, by recipients.
    pub sent: u64,
}

/// Erases what is too old at `now` (seconds since 1970-01-01 UTC), until told to stop; what is left then is found the
/// next time.
///
/// # Errors
/// See [`StoreError`]; what was erased before stays so.
pub async fn erase_outdated(
    store: &Store,
    retention: &Retention,
    now: i64,
    stop: &CancellationToken,
) -> Result<Outdated, StoreError> {
    let before = |kept: Option<Duration>| Some(now.saturating_sub_unsigned(kept?.as_secs()));
    let mut erased = Outdated::default();
    // Whatever goes as a whole needs no part taken from it.
    if let Some(time) = before(retention.messages) {
        erased.messages = erase_records(store, Records::Messages, time, stop).await?;
    }
    if let Some(time) = before(retention.bounces) {
        erased.bounces = erase_records(store, Records::Bounces, time, stop).await?;
    }
    if let Some(time) = before(retention.diagnostics) {
        erased.diagnostics = erase_records(store, Records::Diagnostics, time, stop).await?;
        erased.diagnostics += erase_texts_of_entries(store, time, stop).await?;
    }
    if let Some(time) = before(retention.sent) {
        erased.sent = erase_records(store, Records::Sent, time, stop).await?;
    }
    Ok(erased)
}

/// Erases how many addresses remotes called dead more than `memory` seconds before `now` (seconds since 1970-01-01 UTC):
/// what was usual so long ago nobody asks any more.
///
/// # Errors
/// See [`StoreError`].
pub async fn erase_hours(store: &Store, memory: i64, now: i64, stop: &CancellationToken) -> Result<u64, StoreError> {
    erase_records(store, Records::DeadByHour, now.saturating_sub(memory), stop).await
}

async fn erase_records(
    store: &Store,
    records: Records,
    time: i64,
    stop: &CancellationToken,
) -> Result<u64, StoreError> {
    let mut all = 0;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let erased = store.erase_before(records, time, AT_ONCE).await?;
        if erased == 0 {
            break;
        }
        all += erased;
        rest(began, stop).await;
    }
    Ok(all)
}

async fn erase_texts_of_entries(store: &Store, time: i64, stop: &CancellationToken) -> Result<u64, StoreError> {
    let (mut all, mut behind) = (0, String::new());
    while !stop.is_cancelled() {
        let began = Instant::now();
        let mut erased = store.erase_texts_of_entries(time, &behind, AT_ONCE).await?;
        all += erased.len() as u64;
        let Some(last) = erased.pop() else { break };
        behind = last;
        rest(began, stop).await;
    }
    Ok(all)
}

/// Half of the time is for new mail.
async fn rest(began: Instant, stop: &CancellationToken) {
    stop.run_until_cancelled(sleep(began.elapsed())).await;
}
