//! Erases a person from the store and from what follows it.

use super::List;
use crate::{
    report::Address,
    store::{By, Erased, Forgotten, StoreError},
};

impl List {
    /// Takes addresses off the list and publishes that, then erases whatever is known of them in all files of ours, and
    /// keeps a keyed hash of each. Says of each what was erased, and in how many texts of other rows they were named.
    ///
    /// # Errors
    /// See [`StoreError`]. What was done before stays so, and the whole may be done again.
    pub async fn forget(&self, addresses: &[Address], by: &By<'_>) -> Result<(Vec<Erased>, u64), StoreError> {
        // Whoever follows the list learns of the end of an entry by its name, and has to do so before that is gone.
        self.change(by.at, self.store.forget(addresses, by)).await?;
        let erased = async {
            let erased = self.store.erase_persons(addresses, by).await?;
            let texts = self.store.erase_names(addresses).await?;
            self.store.leave_no_traces().await?;
            self.followers.follow(&self.store).await?;
            self.followers.leave_no_traces(addresses).await?;
            Ok((erased, texts))
        };
        erased.await.map_err(|error: StoreError| {
            error.and("they are off the lists, and not all of them is erased: forget them once more")
        })
    }

    /// Whether somebody was forgotten.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Unusable`]: the key can't be read.
    pub async fn forgotten(&self, address: &Address) -> Result<Option<Forgotten>, StoreError> {
        self.store.forgotten(address).await
    }

    /// Ends that addresses are forgotten, and says of each whether it was: what is recorded from now on is recorded in
    /// full.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn recall(&self, addresses: &[Address]) -> Result<Vec<bool>, StoreError> {
        self.store.recall(addresses).await
    }
}
