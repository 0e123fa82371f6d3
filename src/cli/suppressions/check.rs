//! Whether an address is on the list, why, and what else is said of it.

use std::io::{self, Write};

use serde_json::json;

use crate::{
    app::{List, Standing},
    cli::{
        Exit, Failure,
        terminal::{Colours, json_line, printable},
    },
    report::Address,
    store::{Held, Listed},
    suppression::Origin,
};

/// Tells of each address; [`Exit::No`] when one is not suppressed.
pub(super) async fn tell(
    list: &List,
    addresses: &[Address],
    json: bool,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let mut all = Exit::Yes;
    for address in addresses {
        let standing = list.standing(address).await?;
        let exit = if standing.is_suppressed() { Exit::Yes } else { Exit::No };
        if exit == Exit::No {
            all = Exit::No;
        }
        if json {
            json_line(out, &object(address, &standing))?;
        } else {
            write(list, address, &standing, out)?;
        }
    }
    Ok(all)
}

fn object(address: &Address, standing: &Standing) -> serde_json::Value {
    let mut object = standing.entry.as_ref().map_or_else(|| json!({}), |row| json!(row));
    object["address"] = json!(address.normalised());
    object["suppressed"] = json!(standing.is_suppressed());
    if let Some(whole) = standing.entry.as_ref().filter(|row| row.address != address.normalised()) {
        object["entry"] = json!(whole.address);
    }
    add_beside(&mut object, standing);
    object
}

/// What is said of an address beside its entry, where anything is.
pub(super) fn add_beside(
    object: &mut serde_json::Value,
    Standing { held, allowed, is_never, forgotten, .. }: &Standing,
) {
    if let Some(held) = held {
        object["waits"] = json!(held);
    }
    if let Some(allowed) = allowed {
        object["allowed"] = json!(allowed);
    }
    if *is_never {
        object["never"] = json!(true);
    }
    if let Some(forgotten) = forgotten {
        object["forgotten"] = json!(time(forgotten.at));
    }
}

fn time(at: i64) -> String {
    jiff::Timestamp::from_second(at).unwrap_or_default().to_string()
}

/// The same in words.
pub(super) fn beside(Standing { held, allowed, is_never, forgotten, .. }: &Standing) -> Vec<String> {
    let forgotten = forgotten.map(|forgotten| {
        let was = if forgotten.suppressed { "was suppressed then" } else { "was not suppressed then" };
        format!("was forgotten at {}, and {was}", time(forgotten.at))
    });
    let held = held.as_ref().map(|held| {
        format!("waits for you since {}: {}; see `bounced review list {}`", held.since, why(held), held.address)
    });
    let allowed = allowed.as_ref().map(|row| {
        let by = row.actor.as_ref().map(|actor| format!(" by {actor}")).unwrap_or_default();
        let note = row.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        format!("allowed since {}{by} by the entry {}{note}", row.since, row.address)
    });
    let never = is_never.then(|| "never suppressed but by a person, as the configuration says".to_owned());
    [forgotten, held, allowed, never].into_iter().flatten().collect()
}

/// Why something about an address waits, in words.
pub(super) fn why(held: &Held) -> String {
    if held.is_of_life() {
        return "it is on the list, and shows signs of life".to_owned();
    }
    match held.remote.as_ref().filter(|_| held.is_of_an_outage()) {
        Some(remote) => format!("{remote} called too many dead at once"),
        None => "one message named too many addresses".to_owned(),
    }
}

fn write(list: &List, address: &Address, standing: &Standing, out: &mut impl Write) -> io::Result<()> {
    let mut facts = beside(standing).into_iter();
    if let Some(row) = &standing.entry {
        explain(list, address, row, out)?;
    } else {
        // Who was forgotten may well have been on it.
        let forgotten = standing.forgotten.and_then(|_| facts.next());
        let is = forgotten.unwrap_or_else(|| "is not on the list".to_owned());
        writeln!(out, "{} {is}", printable(address.normalised()))?;
    }
    for fact in facts {
        writeln!(out, "  {}", printable(&fact))?;
    }
    Ok(())
}

/// The commands that show more: what the rule is, and the whole mail taken apart.
fn more(row: &Listed) -> Vec<String> {
    // A rule is `phrases:ID`, `codes:CODE` or `codes:CODE.ID`: the table is the command that shows it.
    let rule = row.rule.as_deref().and_then(|rule| rule.split_once(':'));
    let rule = rule.filter(|(table, _)| ["codes", "phrases"].contains(table));
    let rule = rule.map(|(table, row)| format!("bounced {table} {row}"));
    let mail = row.message.map(|_| "bounced explain FILE (that mail, saved to a file)".to_owned());
    let complaint = (row.origin == Origin::Complaint.as_str())
        .then(|| format!("bounced suppressions history {} (the mail that complains)", row.address));
    rule.into_iter().chain(mail).chain(complaint).collect()
}

/// The way from an address back to the mail that put it on the list.
fn explain(list: &List, address: &Address, row: &Listed, out: &mut impl Write) -> io::Result<()> {
    let reason = row.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let origin = Colours::of(&io::stdout()).class(&row.origin, 0);
    let until = row.expires.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    let address = address.normalised();
    let whole = if row.address == address { "" } else { " with all of its domain" };
    writeln!(out, "{} is suppressed{whole} since {}{until} ({origin}{reason})", printable(address), row.since)?;
    let code = [row.reply.map(|reply| reply.to_string()), row.status.clone()].into_iter().flatten().collect::<Vec<_>>();
    let line = |line: Option<i64>| line.map(|line| format!(", line {line}")).unwrap_or_default();
    let lowered = row.lowered_from.as_ref().map(|from| {
        let words = row.lowered_words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
        format!("from {from}{}{words}", line(row.lowered_line))
    });
    let forwarded = row.forwarded_to.as_ref().map(|to| {
        let verdict = [&row.forwarded_class, &row.forwarded_reason].into_iter().flatten().map(String::as_str);
        format!("to {to}, {}", verdict.collect::<Vec<_>>().join(" · "))
    });
    for (name, value) in [
        ("note", row.note.clone()),
        ("rule", row.rule.clone()),
        ("policy", row.policy.clone()),
        ("code", Some(code.join(" "))),
        ("field", row.field.as_ref().map(|field| format!("{field}{}", line(row.line)))),
        ("words", row.words.clone()),
        ("lowered", lowered),
        ("forwarded", forwarded),
        ("diagnostic", row.diagnostic.clone()),
        ("message-id", row.message_id.clone()),
        ("received", row.bounced.clone()),
        ("mailbox", row.mailbox.clone()),
        ("place", list.describe_place(row)),
        ("more", Some(more(row).join("; "))),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            writeln!(out, "  {name:<11} {}", printable(&value))?;
        }
    }
    Ok(())
}
