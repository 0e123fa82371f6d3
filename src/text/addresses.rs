//! Running text -> the mail addresses in it and where they stand. Refuses to know whose they are.

use std::ops::Range;

use super::{Address, is_unseen, labels::is_address_label};

/// An address in running text and the byte range that it takes, quotes of a local part included. A piece of something
/// that is no address is none either: `a@b@example.org` holds neither `a@b` nor `b@example.org`.
pub fn addresses(text: &str) -> impl Iterator<Item = (Range<usize>, Address)> {
    address_ranges(text).filter_map(move |range| {
        let address = Address::parse(text.get(range.clone())?)?;
        let goes_on = text[..range.start].chars().next_back().is_some_and(is_cut_before)
            || text[range.end..].chars().next().is_some_and(is_cut_behind)
            // Within the quotes of another one's local part.
            || text[range.end..].starts_with("\"@");
        (!goes_on).then_some((range, address))
    })
}

/// What stands around each `@` like an address, whether it is one or not.
pub(super) fn address_ranges(text: &str) -> impl Iterator<Item = Range<usize>> {
    memchr::memchr_iter(b'@', text.as_bytes()).map(move |at| {
        let start = at - without_decoration(&text[..at], local_part_start(&text[..at])).len();
        let rest = &text[at + 1..];
        let domain = if rest.starts_with('[') {
            rest.bytes().take(64).position(|b| b == b']').map_or(0, |i| i + 1)
        } else {
            domain_length(rest)
        };
        // A sentence's full stop and the dash of a bullet are not the domain's.
        let domain = rest.get(..domain).map_or(0, |domain| domain.trim_end_matches(['.', '-']).len());
        start..at + 1 + domain
    })
}

/// Whether what ends with this character goes on in the address behind it.
fn is_cut_before(c: char) -> bool {
    c == '@' || c == '\\' || (is_unseen(c) && !c.is_whitespace())
}

/// Whether an address goes on with this character.
fn is_cut_behind(c: char) -> bool {
    c == '@' || (is_unseen(c) && !c.is_whitespace())
}

/// The address of a field that holds one and nothing else but what may stand around it: a display name, brackets,
/// quotes, a label (`mailto:`, `SMTP=`), a comment.
#[must_use]
pub fn address_of(field: &str) -> Option<Address> {
    Address::parse(field).or_else(|| {
        let (range, address) = addresses(field).next()?;
        let bracketed = field[..range.start].trim_end().ends_with('<');
        let before = field[..range.start].trim_end_matches(|c: char| is_bracket(c) || c.is_whitespace());
        // A display name stands before brackets only; else it would be a part of the address.
        let named = bracketed && !before.ends_with([',', ';', '@']);
        let labelled = !before.contains(char::is_whitespace) && before.ends_with([':', '=']);
        let behind = field[range.end..].trim_start_matches(|c: char| is_bracket(c) && c != '(' || ".,;".contains(c));
        let commented = behind.trim_start().starts_with('(');
        let alone = before.is_empty() || named || labelled;
        (alone && (behind.trim().is_empty() || commented)).then_some(address)
    })
}

fn is_bracket(c: char) -> bool {
    "<>()[]\"'`".contains(c)
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
    for (i, c) in before.char_indices().rev().take(LONGEST_LOCAL + 1) {
        let sentence = after.is_ascii_alphanumeric() && is_east_asian(c);
        if sentence || !(c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)) {
            return start;
        }
        (start, after) = (i, c);
    }
    // Its beginning was not found, unless it is that of the text.
    if start == 0 { 0 } else { before.len() }
}

/// In characters: twice RFC 5321 §4.5.3.1.1, because VERP senders are that long.
const LONGEST_LOCAL: usize = 128;

/// Quotes and labels around an address in running text look like a part of it: `'anna@example.org'`,
/// `SMTP=anna@example.org`. Between angle brackets everything belongs to it.
fn without_decoration(before: &str, start: usize) -> &str {
    let local = &before[start..];
    if before[..start].ends_with('<') || local.starts_with('"') {
        return local;
    }
    let local = local.trim_start_matches(['\'', '`', '*', '|', '=', '{', '#']);
    match local.split_once('=') {
        Some((label, bare)) if is_address_label(label) => bare,
        _ => local,
    }
}

/// RFC 6533 §3: `\x{HEX}` stands for a character that 7 bits can't carry, as far as those are `allowed`.
#[must_use]
pub fn unescaped(text: &str, allowed: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ESCAPE) {
        let (before, after) = (&rest[..at], &rest[at + ESCAPE.len()..]);
        out.push_str(before);
        let digits = after.bytes().take(LONGEST_HEX).take_while(u8::is_ascii_hexdigit).count();
        let tail = after[digits..].strip_prefix('}');
        let c = u32::from_str_radix(&after[..digits], 16).ok().and_then(char::from_u32).filter(|c| allowed(*c));
        match (c, tail) {
            (Some(c), Some(tail)) => {
                out.push(c);
                rest = tail;
            }
            _ => {
                out.push_str(ESCAPE);
                rest = after;
            }
        }
    }
    out + rest
}

const ESCAPE: &str = "\\x{";

/// Digits of the highest code point, U+10FFFF, with a leading zero or two.
const LONGEST_HEX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_sentences() {
        let text = "To <bob@example.org>, mailto:\"a b\"@example.com. and x@[192.0.2.1] (jörg@bücher.example).";
        let found: Vec<_> = addresses(text).map(|(_, a)| a.given().to_owned()).collect();
        assert_eq!(found, ["bob@example.org", "\"a b\"@example.com", "x@[192.0.2.1]", "jörg@bücher.example"]);
    }

    #[test]
    fn escapes_are_read_and_broken_ones_stay() {
        for (text, expected) in [
            ("b\\x{FC}cher", "bücher"),
            ("\\x{90AE}\\x{7BB1}@a", "邮箱@a"),
            ("a\\x{}b\\x{FC", "a\\x{}b\\x{FC"),
            ("a\\x{40}b", "a\\x{40}b"),
            ("\\x{110000}\\x{FC}", "\\x{110000}ü"),
        ] {
            assert_eq!(unescaped(text, char::is_alphanumeric), expected);
        }
        assert_eq!(unescaped("a\\x{40}b", |_| true), "a@b");
    }

    #[test]
    fn a_piece_of_something_else_is_no_address() {
        let long = format!("to {}@example.org", "a".repeat(400));
        let quoted: Vec<_> = addresses("<\"a@b\"@example.org>: no").map(|(_, a)| a.given().to_owned()).collect();
        assert_eq!(quoted, ["\"a@b\"@example.org"]);
        for text in ["a@b@example.org", "a\0b@example.org", "b@example.org\u{202e}x", "b\u{212a}@example.org", &long] {
            assert_eq!(addresses(text).count(), 0, "{text:?}");
        }
    }

    #[test]
    fn a_field_holds_one_address_and_what_may_stand_around_it() {
        for field in [
            "anna@example.org",
            "<anna@example.org>",
            "Anna B. <anna@example.org>",
            "\"anna@example.org\"",
            "mailto:anna@example.org",
            "anna@example.org (Anna)",
            "anna@example.org;",
        ] {
            assert_eq!(address_of(field).expect(field).normalised(), "anna@example.org", "{field}");
        }
        let long = format!("{}@example.org", "a".repeat(400));
        for field in
            ["b anna@example.org", "anna@example.org; b@example.net", "anna@example.org\tb", "anna@example.org b"]
        {
            assert_eq!(address_of(field), None, "{field:?}");
        }
        for field in ["b,anna@example.org", "b\0anna@example.org", "b\"anna@example.org", "anna@example.org,b@x", &long]
        {
            assert_eq!(address_of(field), None, "{field:?}");
        }
    }
}
