//! What comes due by itself, once a minute. Knows nothing of mailboxes.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{app::Recorder, clock::now, store::StoreError};

const EVERY: Duration = Duration::from_secs(60);

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
