//! Once a day: what is too old is erased.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Outdated},
    clock::now,
    config::Retention,
    store::{Store, StoreError},
};

const DAILY: Duration = Duration::from_secs(86_400);
/// What failed is tried again.
const RETRY: Duration = Duration::from_secs(600);

/// Returns when told to stop, or when the database has to be opened anew. Whatever else fails is no reason to stop
/// reading.
pub(super) async fn keep(store: Store, retention: Retention, stop: CancellationToken) -> Result<(), StoreError> {
    if retention.is_for_ever() {
        return Ok(());
    }
    loop {
        let rest = match app::erase_outdated(&store, &retention, now(), &stop).await {
            Ok(erased) => {
                let Outdated { diagnostics, bounces, messages } = erased;
                if erased != Outdated::default() {
                    tracing::info!(messages, bounces, diagnostics, "erased what was older than [retention] allows");
                }
                DAILY
            }
            Err(error @ StoreError::Replaced(_)) => return Err(error),
            Err(error) => {
                tracing::error!("what is older than [retention] allows is not erased yet, trying again: {error}");
                RETRY
            }
        };
        if stop.run_until_cancelled(sleep(rest)).await.is_none() {
            return Ok(());
        }
    }
}
