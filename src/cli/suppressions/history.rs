//! What happened to addresses, as a person reads it.

use std::io::{self, Write};

use serde_json::json;

use super::check::{add_beside, beside, why};
use crate::{
    app::{List, Standing},
    cli::{
        Exit, Failure,
        terminal::{json_line, printable},
    },
    report::Address,
    store::{AddressHistory, Cause, PastChange},
};

/// Tells of each address; [`Exit::No`] when there is nothing to tell of one.
pub(super) async fn tell(
    list: &List,
    addresses: &[Address],
    json: bool,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Yes;
    for address in addresses {
        let history = list.history(address).await?;
        let standing = list.standing(address).await?;
        let Standing { entry, allowed, forgotten, .. } = &standing;
        if history.changes.is_empty() && allowed.is_none() && entry.is_none() && forgotten.is_none() {
            exit = Exit::No;
        }
        if json {
            let mut object = json!(history);
            object["suppressed"] = json!(standing.is_suppressed());
            add_beside(&mut object, &standing);
            json_line(out, &object)?;
            continue;
        }
        write(&history, &standing, out)?;
    }
    Ok(exit)
}

fn write(history: &AddressHistory, standing: &Standing, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", printable(&history.address))?;
    for change in &history.changes {
        let when = change.recorded.as_ref().unwrap_or(&change.at);
        let held = standing.held.as_ref().filter(|held| held.revision == Some(change.revision));
        let why = held.map(|held| format!("; {}", why(held))).unwrap_or_default();
        writeln!(out, "  {when}  {:<10}  {}", change.kind, printable(&format!("{}{why}", about(change))))?;
        for cause in &change.causes {
            writeln!(out, "    {}", printable(&cited(cause)))?;
        }
    }
    let now = standing.entry.as_ref().map_or_else(
        || "not on the list".to_owned(),
        |row| format!("suppressed since {} by the entry {}", row.since, row.address),
    );
    let alive = history.alive.as_ref().map(|alive| format!("last sign of life {}: {}", alive.at, alive.sign));
    for fact in std::iter::once(now).chain(beside(standing)).chain(alive) {
        writeln!(out, "  now: {}", printable(&fact))?;
    }
    Ok(())
}

/// `hard, user_unknown, until 2026-12-01T00:00:00Z, policy dead.mailbox, by ann: asked on the phone`.
fn about(change: &PastChange) -> String {
    let until = change.expires.as_ref().map(|until| format!("until {until}"));
    let policy = change.policy.as_ref().map(|policy| format!("policy {policy}"));
    let actor = change.actor.as_ref().map(|actor| format!("by {actor}"));
    let facts = [change.origin.clone(), change.reason.clone(), until, policy, actor];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    match &change.note {
        Some(note) => format!("{facts}: {note}"),
        None => facts,
    }
}

/// `2026-11-01T00:00:00Z  hard user_unknown 550 5.1.1  550 5.1.1 No such user  <17@mx.example.org>`.
fn cited(cause: &Cause) -> String {
    let verdict = match (&cause.class, &cause.reason) {
        (Some(class), Some(reason)) => format!("{class} {reason}"),
        _ => "complaint".to_owned(),
    };
    let reply = cause.reply.map(|reply| format!(" {reply}")).unwrap_or_default();
    let status = cause.status.as_ref().map(|status| format!(" {status}")).unwrap_or_default();
    let id = cause.message_id.as_ref().map(|id| format!("<{id}>"));
    let verdict = format!("{verdict}{reply}{status}");
    let told = [Some(cause.received.clone()), Some(verdict), cause.diagnostic.clone(), id];
    told.into_iter().flatten().collect::<Vec<_>>().join("  ")
}
