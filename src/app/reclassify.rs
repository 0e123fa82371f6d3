//! Stored bounces judged by the tables and the policy of today, and the list put right by it.

use super::{Believed, Judge, List, sent::raise_all};
use crate::{
    report::StoredRecipient,
    store::{Anew, By, Differences, Progress, Store, StoreError},
};

/// What is to be judged anew, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Reclassification<'a> {
    /// Only bounces received then or later, in seconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Who asks for it.
    pub by: By<'a>,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

impl List {
    /// How many bounces there are to be judged anew, about.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn bounces(&self, since: Option<i64>) -> Result<u64, StoreError> {
        self.store.bounces(since).await
    }

    /// Judges the stored bounces anew and publishes what that makes of the list; `told` hears of each step what it found.
    /// Whoever stops it finds what was judged until then put right, and the rest as it was.
    ///
    /// # Errors
    /// As for [`List::suppress`].
    pub async fn reclassify(
        &self,
        judge: &Judge,
        asked: &Reclassification<'_>,
        mut told: impl FnMut(Differences),
    ) -> Result<(), StoreError> {
        if asked.dry_run {
            return judge_all(&self.store, judge, asked, told).await;
        }
        let change = async {
            self.store.ask_again(asked.since.unwrap_or(i64::MIN), asked.by.at).await?;
            let Believed { count, braked } = raise_all(self, judge, asked.by.at).await?;
            told(Differences { believed: count, braked, ..Differences::default() });
            judge_all(&self.store, judge, asked, told).await
        };
        self.change_in_parts(asked.by.at, change).await
    }
}

async fn judge_all(
    store: &Store,
    judge: &Judge,
    asked: &Reclassification<'_>,
    mut told: impl FnMut(Differences),
) -> Result<(), StoreError> {
    let again = |stored: &StoredRecipient<'_>, reporting_mta: Option<&str>| {
        let recipient = stored.recipient()?;
        let verdict = judge.classifier().judge_recipient(&recipient, reporting_mta);
        Some((recipient, verdict))
    };
    let Reclassification { since, by, dry_run } = *asked;
    let policy = judge.policy().vouching_since(store.vouching_since().await?);
    let anew = Anew { judge: &again, tables: judge.version(), policy: &policy, since, by, dry_run };
    let mut progress = Progress::default();
    while let Some(differences) = store.reclassify(&anew, &mut progress).await? {
        told(differences);
    }
    Ok(())
}
