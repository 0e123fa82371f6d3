//! What comes due by itself: entries whose time is over and what can be believed by now, once a minute, and alarms. Of
//! mailboxes it knows the names alone.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream::unfold};
use tokio_util::sync::CancellationToken;

use crate::{app::Recorder, clock::now, store::StoreError};

const EVERY: Duration = Duration::from_secs(60);
/// What the alarms go by may be many rows.
const ALARMS_EVERY: Duration = Duration::from_secs(300);

/// Who tells that something was sent, where it is not known who did.
const FILE: &str = "sent import";

/// Takes off the list whose time is over, and believes what turned out to be about mail of ours where whoever noted that was
/// killed before; until told to stop.
///
/// # Errors
/// See [`StoreError`]; a store that is busy is asked again a minute later.
pub(super) async fn keep(recorder: Arc<Recorder>, stop: CancellationToken) -> Result<(), StoreError> {
    loop {
        let done = match recorder.expire(now()).await {
            Ok(()) => recorder.raise_due(FILE, now()).await,
            failed => failed,
        };
        match done {
            Err(StoreError::Busy(why)) => tracing::warn!("{why}"),
            done => done?,
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(());
        }
    }
}

/// The time at every look for alarms, in seconds since 1970-01-01 UTC, until told to stop. First when what waited in the
/// mailboxes has had some time to be read: a daemon that was stopped for days has heard nothing meanwhile.
pub(super) fn looks(stop: CancellationToken) -> impl Stream<Item = i64> {
    unfold(stop, async |stop| {
        stop.run_until_cancelled(tokio::time::sleep(ALARMS_EVERY)).await?;
        Some((now(), stop))
    })
}

/// Raises and clears alarms about the mailboxes and mail logs of these names, at each of these times.
///
/// # Errors
/// Only when the database has to be opened anew; whatever else fails is no reason to stop reading.
pub(super) async fn watch(
    recorder: Arc<Recorder>,
    names: Vec<String>,
    times: impl Stream<Item = i64> + Send,
) -> Result<(), StoreError> {
    let mut times = pin!(times);
    while let Some(time) = times.next().await {
        match recorder.watch(&names, time).await {
            Err(error @ StoreError::Replaced(_)) => return Err(error),
            Err(error) => tracing::warn!("nobody knows whether there is an alarm, asking again: {error}"),
            Ok(()) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
