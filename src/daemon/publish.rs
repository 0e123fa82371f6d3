//! Carries to the followers what others changed: commands that a person runs, other daemons on the same store.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{app::Recorder, store::StoreError};

/// How often the store is asked; an answer of "nothing" costs it one look-up.
const ASK: Duration = Duration::from_secs(1);

/// Returns when told to stop, or with an error that no retry mends.
pub(super) async fn follow(recorder: Arc<Recorder>, stop: CancellationToken) -> Result<(), StoreError> {
    while stop.run_until_cancelled(tokio::time::sleep(ASK)).await.is_some() {
        match recorder.publish().await {
            Err(StoreError::Busy(why)) => tracing::warn!("{why}"),
            done => done?,
        }
    }
    Ok(())
}
