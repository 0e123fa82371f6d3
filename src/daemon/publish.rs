//! Carries to the followers what is recorded, and what others changed: commands that a person runs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{app::Recorder, store::StoreError};

/// Returns when told to stop, or when the database has to be opened anew. A list that can't be written is no reason to
/// stop reading: all of it can be made again.
pub(super) async fn follow(recorder: Arc<Recorder>, stop: CancellationToken) -> Result<(), StoreError> {
    recorder.keep_published(&stop).await
}
