//! Arguments that name mail addresses, one by one or in files -> the addresses. Knows nothing of what is done with
//! them.

use std::{collections::HashSet, io, path::Path};

use super::{Exit, Failure, input, terminal::printable};
use crate::report::Address;

/// An argument that is a mail address, alone, behind `mailto:`, or in angle brackets behind a name.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let address = or_domain(text)?;
    if address.local_part() == "*" {
        return Err("a whole domain is no address: name each of them".to_owned());
    }
    Ok(address)
}

/// The same, or all of a domain: `*@example.org`.
pub(super) fn or_domain(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let is_link = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("mailto:"));
    let text = if is_link { &text[7..] } else { text };
    if is_link && text.contains(['%', '?', ',']) {
        return Err("expected nothing but an address behind mailto:, e.g. mailto:ann@example.org".to_owned());
    }
    let text = if text.ends_with('>') { text.rsplit_once('<').map_or(text, |(_, address)| address) } else { text };
    if let Ok(domain) = text.strip_prefix('@').ok_or_else(String::new).and_then(domain) {
        return Err(format!("all of a domain is written *@{domain}"));
    }
    let address = Address::parse(text).ok_or_else(|| "expected one mail address, e.g. ann@example.org".to_owned())?;
    if address.local_part() != "*" && address.local_part().contains('*') {
        return Err("the one pattern is all of a domain, as *@example.org".to_owned());
    }
    Ok(address)
}

/// A domain, in the form that normalised addresses have.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let address = Address::parse(&format!("anybody@{}", text.trim_start_matches("*@").trim_start_matches('@')));
    address.map(|address| address.domain().to_owned()).ok_or_else(|| "expected a domain, e.g. example.org".to_owned())
}

/// All addresses that arguments name, each once and in their order, before anything is done with one of them.
pub(super) fn named(arguments: &[String]) -> Result<Vec<Address>, Failure> {
    read(arguments, address)
}

/// The same with whole domains.
pub(super) fn named_or_domains(arguments: &[String]) -> Result<Vec<Address>, Failure> {
    read(arguments, or_domain)
}

fn read(arguments: &[String], one: fn(&str) -> Result<Address, String>) -> Result<Vec<Address>, Failure> {
    let mut found = Vec::new();
    for argument in arguments {
        let is_file = argument == "-" || (Path::new(argument).is_file() && one(argument).is_err());
        if !is_file {
            let wrong = |what: String| {
                let or_file = if argument.contains('@') { "" } else { ", or a file of them that is there" };
                Failure::new(Exit::Usage, format_args!("`{}`: {what}{or_file}", printable(argument)))
            };
            found.push(one(argument).map_err(wrong)?);
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
                found.push(one(&line).map_err(wrong)?);
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

    #[test]
    fn a_whole_domain_is_the_one_pattern_and_only_where_it_makes_sense() {
        for text in ["*@Example.org", "<*@example.org>"] {
            assert_eq!(or_domain(text).map(|a| a.normalised().to_owned()), Ok("*@example.org".to_owned()), "{text}");
        }
        for text in ["a*@example.org", "**@example.org", "*@*.example.org", "@example.org", "*"] {
            assert!(or_domain(text).is_err(), "{text}");
        }
        assert_eq!(or_domain("@Example.org"), Err("all of a domain is written *@example.org".to_owned()));
        for text in ["example.org", "@Example.ORG", "*@example.org"] {
            assert_eq!(domain(text), Ok("example.org".to_owned()), "{text}");
        }
    }
}
