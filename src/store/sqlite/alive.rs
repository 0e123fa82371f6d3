//! The table `alive`: signs of life, and what they change.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{
    ROWS_A_STATEMENT, SqliteStore,
    commit::{Column, histories},
    events, is_kept, list,
};
use crate::{
    report::Address,
    store::{
        By, EventKind, Revived, StoreError,
        list_changes::List,
        plan::{DAEMON, NewSign},
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
        self.note_signs(deliveries, Sign::Delivered, &By::new(DAEMON, 0)).await
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
