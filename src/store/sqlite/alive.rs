//! The table `alive`: signs of life, and what they change.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{
    ROWS_A_STATEMENT, SqliteStore,
    commit::{Column, histories},
    events, is_kept, json, list,
};
use crate::{
    report::Address,
    store::{
        By, EventKind, Revived, StoreError,
        list_changes::List,
        plan::{DAEMON, NewSign, OF_MAIL_LOG},
    },
    suppression::Sign,
};

/// How many addresses are looked up and changed in one transaction.
const AT_ONCE: usize = 1_000;

impl SqliteStore {
    pub(in crate::store) async fn revive(&self, addresses: &[Address], by: &By<'_>) -> Result<Revived, StoreError> {
        let signs: Vec<_> = addresses.iter().map(|address| (address, by.at)).collect();
        self.note_signs(&signs, Sign::Told, by).await
    }

    pub(in crate::store) async fn note_delivered(&self, deliveries: &[(&Address, i64)]) -> Result<Revived, StoreError> {
        let proven = self.deliveries_that_prove(deliveries).await.map_err(|error| self.error(error))?;
        self.note_signs(&proven, Sign::Delivered, &By::new(DAEMON, 0)).await
    }

    /// Without those of addresses whose mail came back after it was taken: a server that takes everything and refuses
    /// later, or a relay on the way, shows nothing by taking it. Such a bounce stands in a mailbox, and not in a mail log.
    async fn deliveries_that_prove<'a>(
        &self,
        deliveries: &[(&'a Address, i64)],
    ) -> Result<Vec<(&'a Address, i64)>, sqlx::Error> {
        let addresses: Vec<&str> = deliveries.iter().map(|(address, _)| address.normalised()).collect();
        let came_back: HashSet<String> = sqlx::query_scalar(
            "SELECT j.value FROM json_each(?1) AS j
             WHERE EXISTS (SELECT 1 FROM bounce AS b JOIN message AS m ON m.id = b.message
                           WHERE b.address = j.value AND b.at >= (SELECT since FROM vouching) AND b.counts = 1
                             AND m.format NOT LIKE '%' || ?2)",
        )
        .bind(json(&addresses)?)
        .bind(OF_MAIL_LOG)
        .fetch_all(&self.readers)
        .await?
        .into_iter()
        .collect();
        let came_back = |address: &Address| came_back.contains(address.normalised());
        Ok(deliveries.iter().copied().filter(|(address, _)| !came_back(address)).collect())
    }

    /// `by` says who noted them and why; each sign has its own time.
    async fn note_signs(&self, signs: &[(&Address, i64)], sign: Sign, by: &By<'_>) -> Result<Revived, StoreError> {
        let mut done = Revived::default();
        for chunk in signs.chunks(AT_ONCE) {
            let mut tx = self.begin().await?;
            let some = async {
                let some = revive(&mut tx, chunk, sign, by).await?;
                tx.commit().await?;
                Ok(some)
            };
            let some = some.await.map_err(|error| self.error(error))?;
            done.known += some.known;
            done.ended += some.ended;
            done.asked += some.asked;
        }
        Ok(done)
    }
}

async fn revive(
    tx: &mut SqliteConnection,
    signs: &[(&Address, i64)],
    sign: Sign,
    by: &By<'_>,
) -> Result<Revived, sqlx::Error> {
    let pairs = signs.iter().map(|(address, _)| (address.normalised(), address.domain())).collect();
    let oldest = signs.iter().map(|&(_, at)| at).min().unwrap_or_default();
    let known = histories(tx, &pairs, oldest, Column::Nothing).await?;
    let mut list = List::new(known, events::last_revision(&mut *tx).await?, by.actor);
    for &(address, at) in signs {
        list.revive(address, NewSign { address: address.normalised(), at, sign, message: None });
    }
    let (changes, mut events) = list.finish();
    // What ran out by itself has no note.
    for event in events.iter_mut().filter(|event| event.kind != EventKind::Expired) {
        event.note = by.note;
    }
    list::change(tx, &changes).await?;
    events::insert(tx, &events).await?;
    let (ended, asked) = (changes.ended.len() as u64, changes.held.len() as u64);
    Ok(Revived { known: changes.signs.len() as u64, ended, asked })
}

/// Keeps of each address the last sign.
pub(super) async fn note(tx: &mut SqliteConnection, signs: &[NewSign<'_>]) -> Result<(), sqlx::Error> {
    for chunk in signs.chunks(ROWS_A_STATEMENT) {
        QueryBuilder::<Sqlite>::new("INSERT INTO alive (address, at, sign, message) ")
            .push_values(chunk, |mut row, new| {
                row.push_bind(new.address).push_bind(new.at).push_bind(new.sign.as_str()).push_bind(new.message);
            })
            .push(
                " ON CONFLICT (address) DO UPDATE SET at = excluded.at, sign = excluded.sign, message = excluded.message
                  WHERE excluded.at > at",
            )
            .build()
            .persistent(is_kept(chunk.len()))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
