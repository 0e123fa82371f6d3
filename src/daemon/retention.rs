//! Once a day: what is too old is erased.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Outdated, Recorder},
    clock::now,
    config::Retention,
    store::{Store, StoreError},
};

const DAILY: Duration = Duration::from_secs(86_400);
/// What failed is tried again.
const RETRY: Duration = Duration::from_secs(600);

/// Returns when told to stop, or when the database has to be opened anew. Whatever else fails is no reason to stop
/// reading.
pub(super) async fn keep(
    recorder: Arc<Recorder>,
    store: Store,
    retention: Retention,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    loop {
        let erased = async {
            app::erase_hours(&store, recorder.brake_memory(), now(), &stop).await?;
            app::erase_outdated(&store, &retention, now(), &stop).await
        };
        let rest = match erased.await {
            Ok(erased) => {
                let Outdated { diagnostics, bounces, messages, sent } = erased;
                if erased != Outdated::default() {
                    tracing::info!(
                        messages,
                        bounces,
                        diagnostics,
                        sent,
                        "erased what was older than [retention] allows"
                    );
                }
                DAILY
            }
            Err(error @ StoreError::Replaced(_)) => return Err(error),
            Err(error) => {
                tracing::error!("what is too old is not erased yet, trying again: {error}");
                RETRY
            }
        };
        if stop.run_until_cancelled(sleep(rest)).await.is_none() {
            return Ok(());
        }
    }
}
