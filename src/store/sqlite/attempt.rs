//! The table `attempt`: which messages are being read right now, and how often the process died over one that was read
//! alone.

use sqlx::{Connection, SqliteConnection};

use super::{SqliteStore, json, mailbox::note_pending};
use crate::{
    message::{Pending, Place, Retry},
    store::{Death, StoreError},
};

/// A message over which the process died so often, alone, is set aside. Once is chance: something else may have
/// killed it.
const MOST_DEATHS: u32 = 2;

impl SqliteStore {
    pub(in crate::store) async fn attempt(&self, mailbox: &str, places: &[&Place]) -> Result<(), StoreError> {
        self.without_sync(async |writer| self.write_attempt(writer, mailbox, places).await).await
    }

    pub(in crate::store) async fn nobody_died(&self, mailbox: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        // What an earlier process died over is remembered.
        let forgotten = nothing_is_under_way(&mut tx, mailbox).await;
        forgotten.map_err(|error| self.error(error))?;
        tx.commit().await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn deaths(&self, mailbox: &str, now: i64) -> Result<Vec<Death>, StoreError> {
        self.count_deaths(mailbox, now).await.map_err(|error| self.error(error))
    }

    async fn write_attempt(
        &self,
        writer: &mut SqliteConnection,
        mailbox: &str,
        places: &[&Place],
    ) -> Result<(), StoreError> {
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))?;
        self.check_lease(&mut tx, mailbox).await?;
        insert_attempt(&mut tx, mailbox, places).await.map_err(|error| self.error(error))?;
        tx.commit().await.map_err(|error| self.error(error))
    }

    async fn count_deaths(&self, mailbox: &str, now: i64) -> Result<Vec<Death>, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let rows: Vec<(String, bool, u32)> =
            sqlx::query_as("SELECT place, under_way, deaths FROM attempt WHERE mailbox = ?1")
                .bind(mailbox)
                .fetch_all(&mut *tx)
                .await?;
        let under_way = rows.iter().filter(|(_, under_way, _)| *under_way).count();
        let mut found = Vec::with_capacity(rows.len());
        for (place, is_under_way, before) in &rows {
            let alone = *is_under_way && under_way == 1;
            let deaths = before + u32::from(alone);
            let set_aside = alone && deaths >= MOST_DEATHS;
            found.push(Death { place: Place::new(place), deaths, set_aside });
            if !set_aside {
                continue;
            }
            let stored: Option<(i64, u32, i64, String)> = sqlx::query_as(
                "SELECT first_failed, tries, next_try, why FROM pending WHERE mailbox = ?1 AND place = ?2",
            )
            .bind(mailbox)
            .bind(place)
            .fetch_optional(&mut *tx)
            .await?;
            let stored =
                stored.map(|(first_failed, tries, next_try, why)| Retry { first_failed, tries, next_try, why });
            let why = format!("bounced died {deaths} times while it read this message and no other");
            let retry = Retry::after_death(stored.as_ref(), now, why);
            note_pending(&mut tx, mailbox, &Pending { place: Place::new(place), retry }).await?;
        }
        // Those that were alone are remembered; whichever of several it was shows when they are read one at a time.
        for death in found.iter().filter(|death| death.deaths > 0) {
            sqlx::query("UPDATE attempt SET deaths = ?3, under_way = 0 WHERE mailbox = ?1 AND place = ?2")
                .bind(mailbox)
                .bind(death.place.as_str())
                .bind(death.deaths)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("DELETE FROM attempt WHERE mailbox = ?1 AND deaths = 0").bind(mailbox).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(found)
    }
}

async fn nothing_is_under_way(tx: &mut SqliteConnection, mailbox: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM attempt WHERE mailbox = ?1 AND deaths = 0").bind(mailbox).execute(&mut *tx).await?;
    sqlx::query("UPDATE attempt SET under_way = 0 WHERE mailbox = ?1").bind(mailbox).execute(&mut *tx).await?;
    Ok(())
}

async fn insert_attempt(tx: &mut SqliteConnection, mailbox: &str, places: &[&Place]) -> Result<(), sqlx::Error> {
    let places: Vec<&str> = places.iter().map(|place| place.as_str()).collect();
    nothing_is_under_way(tx, mailbox).await?;
    sqlx::query(
        "INSERT INTO attempt (mailbox, place, under_way, deaths) SELECT ?1, value, 1, 0 FROM json_each(?2) WHERE true
         ON CONFLICT (mailbox, place) DO UPDATE SET under_way = 1",
    )
    .bind(mailbox)
    .bind(json(&places)?)
    .execute(&mut *tx)
    .await?;
    Ok(())
}
