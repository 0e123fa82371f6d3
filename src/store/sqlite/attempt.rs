//! The table `attempt`: which messages are being read right now, and how often the process died over one that was read
//! alone.

use std::collections::HashMap;

use sqlx::{Connection, Executor, SqliteConnection};

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
        self.note_attempt(mailbox, places).await.map_err(|error| self.error(error))
    }

    /// The note has to outlive the process and not the power: it waits for no disk.
    async fn note_attempt(&self, mailbox: &str, places: &[&Place]) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.acquire().await?;
        writer.execute("PRAGMA synchronous = NORMAL").await?;
        let noted = write_attempt(&mut writer, mailbox, places).await;
        if let Err(error) = writer.execute("PRAGMA synchronous = FULL").await {
            // The commits that follow have to outlive the power: not on this connection, then.
            writer.detach().close().await?;
            return Err(error);
        }
        noted
    }

    pub(in crate::store) async fn nobody_died(&self) -> Result<(), StoreError> {
        // What an earlier process died over is remembered.
        let forgotten = self
            .writer
            .execute("DELETE FROM attempt WHERE deaths = 0; UPDATE attempt SET under_way = 0 WHERE under_way = 1")
            .await;
        forgotten.map(drop).map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn deaths(&self, now: i64) -> Result<Vec<Death>, StoreError> {
        self.count_deaths(now).await.map_err(|error| self.error(error))
    }

    async fn count_deaths(&self, now: i64) -> Result<Vec<Death>, sqlx::Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let rows: Vec<(String, String, bool, u32)> =
            sqlx::query_as("SELECT mailbox, place, under_way, deaths FROM attempt").fetch_all(&mut *tx).await?;
        let mut of_mailbox = HashMap::<&str, usize>::new();
        let under_way = rows.iter().filter(|(_, _, under_way, _)| *under_way);
        under_way.for_each(|(mailbox, ..)| *of_mailbox.entry(mailbox).or_default() += 1);
        let mut found = Vec::with_capacity(rows.len());
        for (mailbox, place, under_way, before) in &rows {
            let alone = *under_way && of_mailbox[mailbox.as_str()] == 1;
            let deaths = before + u32::from(alone);
            let set_aside = alone && deaths >= MOST_DEATHS;
            found.push(Death { mailbox: mailbox.clone(), place: Place::new(place), deaths, set_aside });
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
                .bind(&death.mailbox)
                .bind(death.place.as_str())
                .bind(death.deaths)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("DELETE FROM attempt WHERE deaths = 0").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(found)
    }
}

async fn write_attempt(writer: &mut SqliteConnection, mailbox: &str, places: &[&Place]) -> Result<(), sqlx::Error> {
    let places: Vec<&str> = places.iter().map(|place| place.as_str()).collect();
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("DELETE FROM attempt WHERE mailbox = ?1 AND deaths = 0").bind(mailbox).execute(&mut *tx).await?;
    sqlx::query("UPDATE attempt SET under_way = 0 WHERE mailbox = ?1").bind(mailbox).execute(&mut *tx).await?;
    sqlx::query(
        "INSERT INTO attempt (mailbox, place, under_way, deaths) SELECT ?1, value, 1, 0 FROM json_each(?2) WHERE true
         ON CONFLICT (mailbox, place) DO UPDATE SET under_way = 1",
    )
    .bind(mailbox)
    .bind(json(&places)?)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}
