//! The table `used_token`.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use sqlx::SqliteConnection;

use super::{json, parsed};
use crate::store::{
    JudgedMessage,
    tokens::{self, Replay, Use, Uses},
};

/// What the tokens of a batch are used for that is new, and which messages come too late for that.
pub(super) async fn spend(
    tx: &mut SqliteConnection,
    batch: &[JudgedMessage],
) -> Result<(BTreeMap<[u8; 32], Use>, Vec<Replay>), sqlx::Error> {
    let named = tokens::named(batch);
    if named.is_empty() {
        return Ok(Default::default());
    }
    let named: Vec<String> = named.iter().map(|digest| HEXLOWER.encode(digest)).collect();
    let rows: Vec<(Vec<u8>, String, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT t.token, t.origin, t.mail, t.until FROM used_token AS t
         WHERE t.token IN (SELECT unhex(value) FROM json_each(?1))",
    )
    .bind(json(&named)?)
    .fetch_all(tx)
    .await?;
    let digest = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| sqlx::Error::Decode("no SHA-256".into()));
    let known = rows.into_iter().map(|(token, origin, mail, until)| {
        Ok((digest(token)?, Use { origin: parsed(&origin)?, mail: digest(mail)?, until }))
    });
    Ok(tokens::spend(batch, known.collect::<Result<Uses, sqlx::Error>>()?))
}

/// Keeps what tokens were used for.
pub(super) async fn note(tx: &mut SqliteConnection, spent: &BTreeMap<[u8; 32], Use>) -> Result<(), sqlx::Error> {
    if spent.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = spent
        .iter()
        .map(|(token, Use { origin, mail, until })| {
            (HEXLOWER.encode(token), origin.as_str(), HEXLOWER.encode(mail), until)
        })
        .collect();
    sqlx::query(
        "INSERT INTO used_token (token, origin, mail, until)
         SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3 FROM json_each(?1) WHERE true
         ON CONFLICT (token) DO UPDATE SET origin = excluded.origin, mail = excluded.mail",
    )
    .bind(json(&rows)?)
    .execute(tx)
    .await
    .map(drop)
}
