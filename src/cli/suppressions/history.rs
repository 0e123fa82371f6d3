//! What happened to addresses, as a person reads it.

use std::io::{self, Write};

use serde_json::json;

use crate::{
    app::List,
    cli::{
        Exit, Failure,
        terminal::{json_line, printable},
    },
    report::Address,
    store::{AddressHistory, Cause, Change},
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
        let entry = list.covering(address).await?;
        if history.changes.is_empty() && history.allowed.is_none() && entry.is_none() {
            exit = Exit::No;
        }
        if json {
            let mut object = json!(history);
            object["suppressed"] = json!(entry.is_some());
            json_line(out, &object)?;
            continue;
        }
        let now = match entry {
            Some(row) => format!("suppressed since {} by the entry {}", row.since, row.address),
            None => "not on the list".to_owned(),
        };
        write(&history, &now, out)?;
    }
    Ok(exit)
}

fn write(history: &AddressHistory, now: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", printable(&history.address))?;
    for change in &history.changes {
        let when = change.recorded.as_ref().unwrap_or(&change.at);
        writeln!(out, "  {when}  {:<10}  {}", change.kind, printable(&about(change)))?;
        for cause in &change.causes {
            writeln!(out, "    {}", printable(&cited(cause)))?;
        }
    }
    let line = |what: &str, when: &str, more: String| format!("{what} {when}{more}");
    let by = |actor: &Option<String>| actor.as_ref().map(|actor| format!(" by {actor}")).unwrap_or_default();
    let allowed = history.allowed.as_ref().map(|row| {
        let note = row.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        line("allowed since", &row.since, format!("{} by the entry {}{note}", by(&row.actor), row.address))
    });
    let alive = history.alive.as_ref().map(|alive| line("last sign of life", &alive.at, format!(": {}", alive.sign)));
    for fact in [Some(now.to_owned()), allowed, alive].into_iter().flatten() {
        writeln!(out, "  now: {}", printable(&fact))?;
    }
    Ok(())
}

/// `hard, user_unknown, until 2026-12-01T00:00:00Z, policy dead.mailbox, by ann: asked on the phone`.
fn about(change: &Change) -> String {
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
