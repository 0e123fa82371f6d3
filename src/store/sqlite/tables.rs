//! The table `tables`: by which tables verdicts were given.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use crate::store::{TablesVersion, plan::NewBounce};

/// The row of these tables, if they were ever used.
pub(super) async fn known(tx: &mut SqliteConnection, tables: &TablesVersion) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM tables WHERE digest = ?1").bind(&tables.digest).fetch_optional(tx).await
}

/// The row of these tables, made where there is none.
pub(super) async fn row(tx: &mut SqliteConnection, tables: &TablesVersion) -> Result<i64, sqlx::Error> {
    // Asked with each commit, and new once a release.
    if let Some(row) = known(tx, tables).await? {
        return Ok(row);
    }
    sqlx::query_scalar("INSERT INTO tables (digest, version, first_used) VALUES (?1, ?2, unixepoch()) RETURNING id")
        .bind(&tables.digest)
        .bind(tables.version)
        .fetch_one(tx)
        .await
}

/// The rows of the tables that judged these bounces, by their digests.
pub(super) async fn rows<'a>(
    tx: &mut SqliteConnection,
    bounces: &[NewBounce<'a>],
) -> Result<HashMap<&'a str, i64>, sqlx::Error> {
    let mut all = HashMap::new();
    for bounce in bounces {
        let tables = &bounce.judged.tables;
        if !all.contains_key(tables.digest.as_str()) {
            all.insert(tables.digest.as_str(), row(tx, tables).await?);
        }
    }
    Ok(all)
}
