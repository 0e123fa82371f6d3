//! Whom nothing but a person's word suppresses: shown, and changed.

use std::io::Write;

use crate::{
    app::List,
    cli::{
        Exit, Failure,
        columns::{ADDRESS, padded},
        terminal::{count, json_line, printable},
    },
    report::Address,
    store::{By, NewlyAllowed},
};

/// Prints the allow list; [`Exit::No`] when nobody is on it.
pub(super) async fn show(list: &List, json: bool, out: &mut impl Write) -> Result<Exit, Failure> {
    let rows = list.allowed().await?;
    for row in &rows {
        if json {
            json_line(out, row)?;
            continue;
        }
        let actor = row.actor.as_deref().unwrap_or("-");
        let note = row.note.as_deref().unwrap_or_default();
        let address = padded(&printable(&row.address), ADDRESS);
        writeln!(out, "{address} {}  {}  {}", row.since, printable(actor), printable(note))?;
    }
    Ok(if rows.is_empty() { Exit::No } else { Exit::Yes })
}

/// Puts addresses and domains onto the allow list.
pub(super) async fn allow(
    list: &List,
    addresses: &[Address],
    by: &By<'_>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let NewlyAllowed { entries, waiting } = list.allow(addresses, by).await?;
    for address in addresses {
        writeln!(out, "{} is allowed: no bounce, complaint or import suppresses it", address.normalised())?;
    }
    if entries > 0 {
        let are = if entries == 1 { "is" } else { "are" };
        writeln!(out, "{} {are} off the suppression list", count(entries, "address"))?;
    }
    if waiting > 0 {
        let wait = if waiting == 1 { "waits" } else { "wait" };
        writeln!(out, "{} {wait} no longer to come onto it", count(waiting, "address"))?;
    }
    Ok(Exit::Yes)
}

/// Takes them off it; [`Exit::No`] when one was not on it.
pub(super) async fn disallow(
    list: &List,
    addresses: &[Address],
    by: &By<'_>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let were = list.disallow(addresses, by).await?;
    for (address, was) in addresses.iter().zip(&were) {
        let is = if *was { "is no longer allowed" } else { "is not on the allow list" };
        writeln!(out, "{} {is}", address.normalised())?;
    }
    Ok(if were.contains(&false) { Exit::No } else { Exit::Yes })
}
