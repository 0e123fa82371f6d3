//! UID SEARCH (RFC 9051 §6.4.4): for what is new, for what did not come, and for what is not settled yet.

use super::{
    connection::Connection,
    response::{Response, Status},
};
use crate::source::SourceError;

/// So many UIDs are taken from one answer; the next search finds the others.
const MOST_UIDS: usize = 1 << 20;

/// The UIDs that match, ascending.
pub(super) async fn uid_search(connection: &mut Connection, criteria: &str) -> Result<Vec<u32>, SourceError> {
    let mut found = Vec::new();
    let keep = |response| {
        if let Response::Search(uids) = response {
            found.extend(uids.into_iter().take(MOST_UIDS - found.len()));
        }
    };
    let end = connection.run(&[format!("UID SEARCH {criteria}")], keep).await?.remove(0);
    if end.status != Status::Ok {
        return Err(connection.put_off(&end, format!("SEARCH failed: {}", end.text)));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
