//! The store of an installation, opened or made; but not made where a published list says that there was one.

use crate::{
    config::Config,
    follower::Followers,
    store::{Store, StoreError},
};

/// Opens the store; makes it when it is missing.
///
/// # Errors
/// [`StoreError::Foreign`] when it is missing and a published list is there: a new store would empty that list.
pub async fn open_store(config: &Config) -> Result<Store, StoreError> {
    let path = &config.database.path;
    if !path.exists() && !config.suppressions.accept_new_store {
        permit_new_store(config).await?;
    }
    Store::open(path).await
}

/// Whether a store may be made where there is none.
///
/// # Errors
/// [`StoreError::Foreign`]: a published list is there.
pub(super) async fn permit_new_store(config: &Config) -> Result<(), StoreError> {
    let Some(list) = Followers::configured(config).list_that_would_be_lost().await else { return Ok(()) };
    Err(StoreError::Foreign(format!(
        "database {} is missing or empty, but there is a published list, {}, that was made from it; restore the \
         database from a backup, or begin with an empty list, once, by --accept-new-store of `bounced run`, or \
         without a mailbox of `bounced receive` or `bounced import`",
        config.database.path.display(),
        list.display()
    )))
}
