//! What comes due by itself: entries whose time is over, once a minute, and alarms. Of mailboxes it knows the names alone.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{app::Recorder, clock::now, store::StoreError};

const EVERY: Duration = Duration::from_secs(60);
/// What the alarms go by may be many rows.
const ALARMS_EVERY: Duration = Duration::from_secs(300);

/// Takes off the list whose time is over, until told to stop.
///
/// # Errors
/// See [`StoreError`]; a store that is busy is asked again a minute later.
pub(super) async fn keep(recorder: Arc<Recorder>, stop: CancellationToken) -> Result<(), StoreError> {
    loop {
        match recorder.expire(now()).await {
            Err(StoreError::Busy(why)) => tracing::warn!("{why}"),
            done => done?,
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(());
        }
    }
}

/// Raises and clears alarms about the mailboxes and mail logs of these names, until told to stop. First when what waited in
/// them has had some time to be read: a daemon that was stopped for days has heard nothing meanwhile.
///
/// # Errors
/// Only when the database has to be opened anew; whatever else fails is no reason to stop reading.
pub(super) async fn watch(
    recorder: Arc<Recorder>,
    names: Vec<String>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    while stop.run_until_cancelled(tokio::time::sleep(ALARMS_EVERY)).await.is_some() {
        match recorder.watch(&names, now()).await {
            Err(error @ StoreError::Replaced(_)) => return Err(error),
            Err(error) => tracing::warn!("nobody knows whether there is an alarm, asking again: {error}"),
            Ok(()) => {}
        }
    }
    Ok(())
}
