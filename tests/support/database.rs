//! The database as its users see it: an SQLite file, read beside the daemon that writes it.

use std::path::Path;

use sqlx::{
    Connection, FromRow, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

/// Rows of one query; none when the file or its tables are not there yet.
pub async fn rows<T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin>(file: &Path, query: &'static str) -> Vec<T> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let Ok(mut connection) = SqliteConnection::connect_with(&options).await else { return Vec::new() };
    let rows = sqlx::query_as(query).fetch_all(&mut connection).await.unwrap_or_default();
    connection.close().await.ok();
    rows
}

/// The one number that a query like `SELECT count(*)` gives; 0 when the file or its tables are not there yet.
pub async fn count(file: &Path, query: &'static str) -> i64 {
    rows::<(i64,)>(file, query).await.first().map_or(0, |row| row.0)
}
