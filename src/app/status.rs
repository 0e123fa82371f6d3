//! How each configured mailbox fares, and whether that is well.

use std::time::Duration;

use serde::Serialize;

use crate::{
    config::Config,
    follower::{Followers, Trouble},
    store::{MailboxStatus, Store, StoreError},
};

/// How one mailbox fares.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MailboxHealth {
    /// Whether it was read successfully within the time allowed.
    pub healthy: bool,
    /// What the store knows of it.
    #[serde(flatten)]
    pub status: MailboxStatus,
}

/// Every configured mailbox, in the order of the configuration; one that was last read successfully longer than
/// `max_age` before `now` (seconds since 1970-01-01 UTC) is not healthy.
///
/// # Errors
/// See [`StoreError`]; a store that was never made is one.
pub async fn status(config: &Config, max_age: Duration, now: i64) -> Result<Vec<MailboxHealth>, StoreError> {
    let store = Store::open_existing(&config.database.path).await?;
    let known = store.status().await?;
    store.close().await;
    Ok(health(
        config.mailboxes().into_iter().map(|mailbox| mailbox.name),
        known,
        now.saturating_sub_unsigned(max_age.as_secs()),
    ))
}

/// The published lists that can't follow the database.
///
/// # Errors
/// See [`StoreError`]; a store that was never made is one.
pub async fn list_troubles(config: &Config) -> Result<Vec<Trouble>, StoreError> {
    let store = Store::open_existing(&config.database.path).await?;
    let troubles = Followers::configured(config).troubles(&store).await;
    store.close().await;
    troubles
}

/// Mailboxes that are no longer configured are nobody's worry; those never tried are.
fn health<'a>(
    mailboxes: impl Iterator<Item = &'a str>,
    mut known: Vec<MailboxStatus>,
    oldest: i64,
) -> Vec<MailboxHealth> {
    mailboxes
        .map(|name| {
            let found = known.iter().position(|status| status.mailbox == name).map(|at| known.swap_remove(at));
            let status = found.unwrap_or_else(|| MailboxStatus::never_tried(name));
            MailboxHealth { healthy: status.read_at.is_some_and(|at| at >= oldest), status }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_healthy_as_long_as_its_last_reading_is_recent() {
        let read = |mailbox: &str, read_at| MailboxStatus { read_at, ..MailboxStatus::never_tried(mailbox) };
        let failed =
            MailboxStatus { failed_at: Some(2_000), failure: Some("no".into()), ..read("failing", Some(1_000)) };
        let known = vec![read("stale", Some(999)), read("gone", Some(0)), read("fresh", Some(1_000)), failed];
        let found = health(["fresh", "stale", "failing", "new"].into_iter(), known, 1_000);
        let found: Vec<_> = found.iter().map(|m| (m.status.mailbox.as_str(), m.healthy)).collect();
        assert_eq!(found, [("fresh", true), ("stale", false), ("failing", true), ("new", false)]);
    }
}
