//! Running text -> the mail addresses in it and where they stand. Refuses to know whose they are.

use std::ops::Range;

use super::Address;

/// An address in running text and the byte range that it takes, quotes of a local part included.
pub fn addresses(text: &str) -> impl Iterator<Item = (Range<usize>, Address)> {
    memchr::memchr_iter(b'@', text.as_bytes()).filter_map(move |at| {
        let start = at - without_decoration(&text[..at], local_part_start(&text[..at])).len();
        let rest = &text[at + 1..];
        let domain = if rest.starts_with('[') {
            rest.bytes().take(64).position(|b| b == b']').map_or(0, |i| i + 1)
        } else {
            domain_length(rest)
        };
        // A sentence's full stop and the dash of a bullet are not the domain's.
        let domain = rest.get(..domain)?.trim_end_matches(['.', '-']).len();
        let range = start..at + 1 + domain;
        Address::parse(text.get(range.clone())?).map(|address| (range, address))
    })
}

fn domain_length(rest: &str) -> usize {
    let mut before = '@';
    let mut dotted = false;
    for (i, c) in rest.char_indices().take(LONGEST_DOMAIN + 1) {
        // Chinese and Japanese sentences go on without a blank: `anna@example.org不存在`.
        let goes_on = dotted && before.is_ascii_alphanumeric() && is_east_asian(c);
        if goes_on || !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_')) {
            return i;
        }
        dotted |= c == '.';
        before = c;
    }
    rest.len().min(LONGEST_DOMAIN)
}

/// From the CJK radicals upwards: scripts that put no blanks between words.
fn is_east_asian(c: char) -> bool {
    c >= '\u{2E80}'
}

/// RFC 1035 §2.3.4.
const LONGEST_DOMAIN: usize = 255;

fn local_part_start(before: &str) -> usize {
    if let Some(inside) = before.strip_suffix('"') {
        let open = inside.rfind('"').filter(|&i| before.len() - i <= 66);
        return open.unwrap_or(before.len());
    }
    let mut start = before.len();
    let mut after = '@';
    for (i, c) in before.char_indices().rev().take(128) {
        let sentence = after.is_ascii_alphanumeric() && is_east_asian(c);
        if sentence || !(c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)) {
            break;
        }
        (start, after) = (i, c);
    }
    start
}

/// Quotes and labels around an address in running text look like a part of it: `'anna@example.org'`,
/// `SMTP=anna@example.org`. Between angle brackets everything belongs to it.
fn without_decoration(before: &str, start: usize) -> &str {
    let local = &before[start..];
    if before[..start].ends_with('<') || local.starts_with('"') {
        return local;
    }
    let local = local.trim_start_matches(['\'', '`', '*', '|', '=', '{', '#']);
    match local.split_once('=') {
        Some((label, bare)) if LABELS.iter().any(|l| label.eq_ignore_ascii_case(l)) => bare,
        _ => local,
    }
}

/// Labels that stand before an address with an equals sign: the syntax of X.400 gateways and log lines, in no language.
const LABELS: &[&str] = &["smtp", "rcpt", "to", "from", "mailto", "email", "e-mail", "addr", "address", "user"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_sentences() {
        let text = "To <bob@example.org>, mailto:\"a b\"@example.com. and x@[192.0.2.1] (jörg@bücher.example).";
        let found: Vec<_> = addresses(text).map(|(_, a)| a.given().to_owned()).collect();
        assert_eq!(found, ["bob@example.org", "\"a b\"@example.com", "x@[192.0.2.1]", "jörg@bücher.example"]);
    }
}
