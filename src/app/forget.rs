//! Erases a person from the store and from what follows it.

use super::List;
use crate::{
    report::Address,
    store::{By, Erased, Forgotten, StoreError},
};

/// What `forget` is about, for whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetStage {
    /// The addresses leave the lists, and their rows are erased.
    Erasing,
    /// Texts of other rows are searched: so many rows of so many.
    Searching(u64, u64),
    /// The database is written anew.
    Rewriting,
    /// The published lists lose what they still say.
    Publishing,
}

/// What became of one address, whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenPerson {
    /// The address.
    pub address: Address,
    /// What was erased of it.
    pub erased: Erased,
}

impl List {
    /// Takes addresses off the list and publishes that, then erases whatever is known of them in all files of ours, and
    /// keeps a keyed hash of each. Does the same for whomever an earlier process began to forget. Says of each what was
    /// erased, and in how many texts of other rows they were named. `stage` hears what it is about.
    ///
    /// # Errors
    /// See [`StoreError`]. What was done before stays so, and the next call goes on with it.
    pub async fn forget(
        &self,
        addresses: &[Address],
        by: &By<'_>,
        stage: &(dyn Fn(ForgetStage) + Sync),
    ) -> Result<(Vec<ForgottenPerson>, u64), StoreError> {
        stage(ForgetStage::Erasing);
        let mut all = addresses.to_vec();
        let begun = self.store.begun_to_forget().await?;
        all.extend(begun.into_iter().filter(|one| !addresses.iter().any(|a| a.normalised() == one.normalised())));
        if all.is_empty() {
            return Ok((Vec::new(), 0));
        }
        // Whoever follows the list learns of the end of an entry by its name, and has to do so before that is gone.
        self.change(by.at, self.store.forget(&all, by)).await?;
        let erased = async {
            let erased = self.store.erase_persons(&all, by).await?;
            let searched = |rows, of| stage(ForgetStage::Searching(rows, of));
            let texts = self.store.erase_names(&all, &searched).await?;
            stage(ForgetStage::Rewriting);
            self.store.leave_no_traces().await?;
            stage(ForgetStage::Publishing);
            self.followers.follow(&self.store).await?;
            self.followers.leave_no_traces(&all).await?;
            // Last: up to here the note says that not all was done.
            self.store.all_is_forgotten(&all).await?;
            Ok((erased, texts))
        };
        let (erased, texts) = erased.await.map_err(|error: StoreError| {
            error
                .and("they are off the lists, and not all of them is erased: `bounced forget --finish` goes on with it")
        })?;
        let persons = all.into_iter().zip(erased).map(|(address, erased)| ForgottenPerson { address, erased });
        Ok((persons.collect(), texts))
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
