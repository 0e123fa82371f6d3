//! Arguments that name mail addresses, one by one or in files -> the addresses. Knows nothing of what is done with
//! them.

use std::{collections::HashSet, io, path::Path};

use super::{Exit, Failure, input, terminal::printable};
use crate::report::Address;

/// An argument that is a mail address, alone, behind `mailto:`, or in angle brackets behind a name.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let is_link = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("mailto:"));
    let text = if is_link { &text[7..] } else { text };
    if is_link && text.contains(['%', '?', ',']) {
        return Err("expected nothing but an address behind mailto:, e.g. mailto:ann@example.org".to_owned());
    }
    let text = if text.ends_with('>') { text.rsplit_once('<').map_or(text, |(_, address)| address) } else { text };
    let address = Address::parse(text).ok_or_else(|| "expected one mail address, e.g. ann@example.org".to_owned())?;
    if address.local_part().contains('*') {
        return Err("a pattern is no address: the list holds single addresses, so name each of them".to_owned());
    }
    Ok(address)
}

/// All addresses that arguments name, each once and in their order, before anything is done with one of them.
pub(super) fn named(arguments: &[String]) -> Result<Vec<Address>, Failure> {
    let mut found = Vec::new();
    for argument in arguments {
        let is_file = argument == "-" || (Path::new(argument).is_file() && address(argument).is_err());
        if !is_file {
            let wrong = |what: String| {
                let or_file = if argument.contains('@') { "" } else { ", or a file of them that is there" };
                Failure::new(Exit::Usage, format_args!("`{}`: {what}{or_file}", printable(argument)))
            };
            found.push(address(argument).map_err(wrong)?);
            continue;
        }
        let unreadable =
            |e: io::Error| Failure::new(Exit::Input, format_args!("{}: can't read it: {e}", printable(argument)));
        for (n, line) in input::lines(input::text(argument.as_ref()).map_err(unreadable)?).enumerate() {
            let line = line.map_err(unreadable)?.bytes;
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() && !line.starts_with('#') {
                let wrong = |what| {
                    Failure::new(
                        Exit::Input,
                        format_args!("{}, line {}: {what}; nothing was done", printable(argument), n + 1),
                    )
                };
                found.push(address(&line).map_err(wrong)?);
            }
        }
    }
    let mut seen = HashSet::new();
    found.retain(|address| seen.insert(address.normalised().to_owned()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_understood_as_people_write_it_or_refused() {
        for text in [
            "ann@example.org",
            "mailto:ann@example.org",
            "MAILTO:Ann@Example.ORG",
            "Ann B. <ann@example.org>",
            "<ann@example.org>",
        ] {
            assert_eq!(address(text).map(|a| a.normalised().to_owned()), Ok("ann@example.org".to_owned()), "{text}");
        }
        for text in
            ["*@example.org", "@example.org", "mailto:ann@example.org?subject=x", "a@example.org,b@example.org", "Ann"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
