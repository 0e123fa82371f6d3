//! The tables `total_by_…` and `failed_by_day`: what a commit adds to them. Triggers of the database follow what is
//! changed later.

use serde::Serialize;
use sqlx::SqliteConnection;

use super::json;
use crate::store::{
    plan::Plan,
    totals::{OfMailbox, Totals},
};

/// One statement a table, whatever the batch holds.
pub(super) async fn add(tx: &mut SqliteConnection, mailbox: &str, plan: &Plan<'_>) -> Result<(), sqlx::Error> {
    if let Some(of) = OfMailbox::of(&plan.messages) {
        add_to_mailbox(tx, mailbox, &of).await?;
    }
    let Totals { by_day, by_domain, by_campaign, failed } = Totals::of(&plan.bounces);
    let by_day: Vec<_> =
        by_day.iter().map(|((day, class, reason, fault), bounces)| (day, class, reason, fault, bounces)).collect();
    let by_domain: Vec<_> = by_domain
        .iter()
        .map(|(domain, of)| (domain, of.bounces, of.hard, of.soft, of.bad_domain, of.sender_fault))
        .collect();
    let by_campaign: Vec<_> =
        by_campaign.iter().map(|((campaign, class, reason), bounces)| (campaign, class, reason, bounces)).collect();
    let failed: Vec<_> = failed
        .iter()
        .map(|((day, domain, provider, campaign), of)| (day, domain, provider, campaign, of.hard, of.soft, of.blocked))
        .collect();
    add_rows(
        tx,
        &failed,
        "INSERT INTO failed_by_day (day, domain, provider, campaign, hard, soft, blocked)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
         FROM json_each(?1) WHERE true
         ON CONFLICT (day, domain, provider, campaign) DO UPDATE SET
         hard = hard + excluded.hard, soft = soft + excluded.soft, blocked = blocked + excluded.blocked",
    )
    .await?;
    add_rows(
        tx,
        &by_day,
        "INSERT INTO total_by_day (day, class, reason, fault, bounces)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1) WHERE true
         ON CONFLICT (day, class, reason, fault) DO UPDATE SET bounces = bounces + excluded.bounces",
    )
    .await?;
    add_rows(
        tx,
        &by_domain,
        "INSERT INTO total_by_domain (domain, bounces, hard, soft, bad_domain, sender_fault)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?1) WHERE true
         ON CONFLICT (domain) DO UPDATE SET
         bounces = bounces + excluded.bounces, hard = hard + excluded.hard, soft = soft + excluded.soft,
         bad_domain = bad_domain + excluded.bad_domain, sender_fault = sender_fault + excluded.sender_fault",
    )
    .await?;
    add_rows(
        tx,
        &by_campaign,
        "INSERT INTO total_by_campaign (campaign, class, reason, bounces)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) WHERE true
         ON CONFLICT (campaign, class, reason) DO UPDATE SET bounces = bounces + excluded.bounces",
    )
    .await
}

/// Hands all rows to a statement, as one value; none are no reason to run it.
async fn add_rows(
    tx: &mut SqliteConnection,
    rows: &[impl Serialize],
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(statement).bind(json(&rows)?).execute(tx).await.map(drop)
}

async fn add_to_mailbox(tx: &mut SqliteConnection, mailbox: &str, of: &OfMailbox) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO total_by_mailbox (mailbox, messages, bounces, newest, recorded, lag)
         VALUES (?1, ?2, ?3, ?4, unixepoch(), unixepoch() - ?5)
         ON CONFLICT (mailbox) DO UPDATE SET
         messages = messages + excluded.messages, bounces = bounces + excluded.bounces,
         newest = max(coalesce(newest, excluded.newest), excluded.newest),
         recorded = excluded.recorded, lag = excluded.lag",
    )
    .bind(mailbox)
    .bind(of.messages)
    .bind(of.bounces)
    .bind(of.newest)
    .bind(of.last)
    .execute(&mut *tx)
    .await?;
    Ok(())
}
