//! The suppression list as a person or a program asks for it and changes it. Whoever changes it here publishes it, too.

use std::{io::BufRead, sync::Arc};

use futures::Stream;

use super::{
    import::{BadRows, ImportStage, ImportedFile, Importer, lay_ready},
    open_store,
};
use crate::{
    config::Config,
    follower::Followers,
    import::{Form, Import},
    message::Place,
    report::Address,
    store::{
        AddressHistory, Allowed, Answered, By, Entry, Forgotten, Held, HeldAnswer, HeldSelection, ListSelection,
        Listed, NewlyAllowed, Revived, Store, StoreError, TakenOff, WithoutNote,
    },
};

/// What is said of one address now.
#[derive(Debug)]
pub struct Standing {
    /// What keeps mail from it: its own entry, or that of all of its domain.
    pub entry: Option<Listed>,
    /// What waits for a person.
    pub held: Option<Held>,
    /// The row of the allow list that covers it.
    pub allowed: Option<Allowed>,
    /// Whether the configuration says that nothing but a person suppresses it.
    pub is_never: bool,
    /// Whether it was forgotten.
    pub forgotten: Option<Forgotten>,
}

impl Standing {
    /// Whether it is not to be mailed.
    #[must_use]
    pub fn is_suppressed(&self) -> bool {
        self.entry.is_some() || self.forgotten.is_some_and(|forgotten| forgotten.suppressed)
    }
}

/// The list of one installation.
#[derive(Debug)]
pub struct List {
    pub(super) store: Store,
    pub(super) followers: Followers,
    config: Config,
}

impl List {
    /// Makes the store when it is missing: an address may be put on the list before the daemon ever ran.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        if config.database.path.exists() {
            return Self::open_existing(config).await;
        }
        Ok(Self::of(open_store(config).await?, config))
    }

    /// For whoever takes off the list: a store that was never made could only answer for a wrong path.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open_existing(config: &Config) -> Result<Self, StoreError> {
        Ok(Self::of(Store::open_existing(&config.database.path).await?, config))
    }

    /// For whoever only asks: no permission to write is needed, and no writer is waited for.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open_to_read(config: &Config) -> Result<Self, StoreError> {
        Ok(Self::of(Store::open_to_read(&config.database.path).await?, config))
    }

    fn of(store: Store, config: &Config) -> Self {
        Self { store, followers: Followers::configured(config), config: config.clone() }
    }

    /// The list in the order of its addresses, with everything that led to it.
    pub fn rows(
        &self,
        selection: &ListSelection,
    ) -> impl Stream<Item = Result<Listed, StoreError>> + Send + Unpin + use<'_> {
        self.store.suppressions(selection)
    }

    /// The entries in force in the order of their addresses, many at once, and nothing that led to them.
    pub fn entries(&self) -> impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + Unpin + '_ {
        self.store.entries()
    }

    /// The row of one address, if it is on the list.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn row(&self, address: &Address) -> Result<Option<Listed>, StoreError> {
        self.store.suppression(address).await
    }

    /// What keeps mail from an address: its own row, or that of all of its domain.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn covering(&self, address: &Address) -> Result<Option<Listed>, StoreError> {
        match (self.row(address).await?, Address::parse(&format!("*@{}", address.domain()))) {
            (None, Some(whole)) => self.row(&whole).await,
            (row, _) => Ok(row),
        }
    }

    /// What is said of an address: on the list and beside it.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Unusable`]: the key of those who were forgotten can't be read.
    pub async fn standing(&self, address: &Address) -> Result<Standing, StoreError> {
        let entry = self.covering(address).await?;
        // Of whom is forgotten there is no row.
        let is_own = entry.as_ref().is_some_and(|row| row.address == address.normalised());
        Ok(Standing {
            held: self.store.held_of(address).await?,
            allowed: self.store.allowing(address).await?,
            is_never: self.config.suppressions.never.holds(address),
            forgotten: if is_own { None } else { self.store.forgotten(address).await? },
            entry,
        })
    }

    /// Everything that happened to one address.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(&self, address: &Address) -> Result<AddressHistory, StoreError> {
        self.store.history(address).await
    }

    /// Where the mail lay that put the address on the list, in the words of the source that read it.
    #[must_use]
    pub fn describe_place(&self, row: &Listed) -> Option<String> {
        let (mailbox, place) = row.mailbox.as_deref().zip(row.place.as_deref())?;
        Some(self.config.describe_place(mailbox, &Place::new(place)))
    }

    /// Before a change: one that could not be published is refused as a whole.
    async fn prepare(&self) -> Result<(), StoreError> {
        if self.config.suppressions.accept_new_store {
            self.followers.start(&self.store).await
        } else {
            self.followers.follow(&self.store).await
        }
    }

    /// Changes the list and publishes that. What is refused says whether the change was made: an entry that is in the
    /// database is found by whoever asks there, and comes to the published lists later.
    pub(super) async fn change<T>(
        &self,
        now: i64,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let changed = async {
            self.make_ready(now).await?;
            change.await
        };
        let changed = changed.await.map_err(|error| error.and("the list was not changed"))?;
        self.publish().await.map(|()| changed)
    }

    /// The same for a change of several transactions: some of it may be done when another part is refused.
    pub(super) async fn change_in_parts<T>(
        &self,
        now: i64,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.make_ready(now).await.map_err(|error| error.and("the list was not changed"))?;
        let changed = change.await;
        let published = self.publish().await;
        let changed = changed
            .map_err(|error| error.and("what was done until then stays done; the same command again does the rest"))?;
        published.map(|()| changed)
    }

    async fn make_ready(&self, now: i64) -> Result<(), StoreError> {
        self.prepare().await?;
        self.store.expire(now).await.map(drop)
    }

    pub(super) async fn publish(&self) -> Result<(), StoreError> {
        self.followers.follow(&self.store).await.map_err(|error| match error {
            StoreError::Busy(_) | StoreError::Unusable(_) => {
                error.and("the change is in the database, and is published by the daemon or with the next change")
            }
            // These say themselves what becomes of it: a database that was replaced has lost it.
            StoreError::Foreign(_) | StoreError::Replaced(_) | StoreError::Refused(_) | StoreError::Overtaken(_) => {
                error
            }
        })
    }

    /// Puts addresses, or whole domains, on the list, whatever the policy says, and publishes that; says of each whether
    /// it is new to the list.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Foreign`], [`StoreError::Refused`]: nothing was changed.
    pub async fn suppress(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<bool>, StoreError> {
        self.change(by.at, self.store.suppress(addresses, by)).await
    }

    /// Takes addresses off the list, and what waits about them, and publishes that; says of each what that ended. Only
    /// what is received then or later puts one back: a complaint, a hard bounce, or bounces that are counted anew.
    ///
    /// # Errors
    /// As for [`List::suppress`].
    pub async fn release(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<TakenOff>, StoreError> {
        self.change(by.at, self.store.release(addresses, by)).await
    }

    /// Whom nothing but a person's word is to suppress; whoever of them is on the list leaves it, and that is published.
    /// Says how many these are, and how many waited to come there.
    ///
    /// # Errors
    /// As for [`List::suppress`].
    pub async fn allow(&self, addresses: &[Address], by: &By<'_>) -> Result<NewlyAllowed, StoreError> {
        self.change(by.at, self.store.allow(addresses, by)).await
    }

    /// Takes addresses off the allow list; says of each whether it was on it.
    ///
    /// # Errors
    /// As for [`List::suppress`].
    pub async fn disallow(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<bool>, StoreError> {
        self.change(by.at, self.store.disallow(addresses, by)).await
    }

    /// The allow list in the order of its addresses.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn allowed(&self) -> Result<Vec<Allowed>, StoreError> {
        self.store.allowed().await
    }

    /// Mail reached these addresses, as somebody knows who says so; what that changes is published.
    ///
    /// # Errors
    /// As for [`List::suppress`].
    pub async fn revive(&self, addresses: &[Address], by: &By<'_>) -> Result<Revived, StoreError> {
        self.change_in_parts(by.at, self.store.revive(addresses, by)).await
    }

    /// The addresses that wait for a person, message by message.
    pub fn held(&self, selection: &HeldSelection) -> impl Stream<Item = Result<Held, StoreError>> + Send + Unpin + '_ {
        self.store.held(selection)
    }

    /// Does with what waits what it waits for and publishes that, or leaves it as it is; says what became of how many.
    ///
    /// # Errors
    /// As for [`List::suppress`].
    pub async fn answer_held(
        &self,
        selection: &HeldSelection,
        answer: HeldAnswer,
        by: &By<'_>,
    ) -> Result<Answered, StoreError> {
        self.change(by.at, self.store.answer_held(selection, answer, by)).await
    }

    /// Puts the entries of another program's file onto the list and publishes that, all of them or none; says what stood
    /// in it, and what became of that. An entry without a note gets that of `by`, unless the file is a copy of a list of
    /// ours. `stage` hears what it is about.
    ///
    /// # Errors
    /// As for [`List::suppress`].
    pub async fn import<S: BufRead + Send + 'static>(
        &self,
        file: Import<S>,
        importer: Arc<Importer>,
        bad_rows: BadRows,
        by: &By<'_>,
        stage: &impl Fn(ImportStage),
    ) -> Result<ImportedFile, StoreError> {
        let change = async {
            let mut importing = self.store.import().await?;
            let without_note =
                if file.form == Form::Bounced { WithoutNote::Stays } else { WithoutNote::TakesThatOfChange };
            stage(ImportStage::Reading);
            let contents = lay_ready(file, importer, &mut importing, bad_rows).await?;
            let imported = if contents.is_acceptable(bad_rows) {
                stage(ImportStage::Writing(contents.entries));
                Some(importing.finish(by, without_note).await?)
            } else {
                None
            };
            stage(ImportStage::Publishing);
            Ok(ImportedFile { contents, imported })
        };
        self.change(by.at, change).await
    }

    /// Says what [`List::import`] would do, and changes nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn compare<S: BufRead + Send + 'static>(
        &self,
        file: Import<S>,
        importer: Arc<Importer>,
        bad_rows: BadRows,
        stage: &impl Fn(ImportStage),
    ) -> Result<ImportedFile, StoreError> {
        let mut importing = self.store.import().await?;
        stage(ImportStage::Reading);
        let contents = lay_ready(file, importer, &mut importing, bad_rows).await?;
        let imported = if contents.is_acceptable(bad_rows) {
            stage(ImportStage::Writing(contents.entries));
            Some(importing.compare().await?)
        } else {
            None
        };
        Ok(ImportedFile { contents, imported })
    }

    /// Closes the store.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
