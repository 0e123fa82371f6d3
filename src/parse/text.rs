//! Text of a bounce -> the program's own words, and the returned original behind them.

use std::{collections::HashMap, ops::Range};

use super::words::{Role, Words};
use crate::report::Address;

/// Where the returned original begins in a text. Linear in the length of the text.
pub(super) fn original_at(text: &str, words: &Words) -> Option<usize> {
    let mut marked = false;
    let mut offset = 0;
    // Header lines up to here are known to begin no message: each is looked at once.
    let mut looked_at = 0;
    for line in text.split_inclusive('\n') {
        // Behind a marker, the original may be indented.
        let start = if marked { line.trim_start_matches([' ', '\t']) } else { line };
        let opens = header_name(start).is_some_and(|n| words.have(Role::OpensOriginal, &n.to_ascii_lowercase()));
        if opens && offset >= looked_at {
            let (found, octets) = header_block(&text[offset..], marked, words);
            if found {
                return Some(offset);
            }
            looked_at = offset + octets;
        }
        marked = marked || is_marker(line, words);
        offset += line.len();
    }
    None
}

/// Without the footer that Mailman and its kin put below what passes through a list: a long line of underscores and
/// a few lines that name the list.
pub(super) fn without_footer(words: &str) -> &str {
    let ruled = |line: &&str| line.len() >= SHORTEST_RULE && line.bytes().all(|b| b == b'_');
    let mut end = words.len();
    for line in words.rsplit('\n').take(LONGEST_FOOTER) {
        end = end.saturating_sub(line.len() + 1);
        if Some(line.trim()).as_ref().is_some_and(ruled) {
            return words.get(..end).unwrap_or(words);
        }
    }
    words
}

/// In octets; Mailman draws 47, Exchange 32 above the details for administrators.
const SHORTEST_RULE: usize = 40;
/// In lines, the rule included.
const LONGEST_FOOTER: usize = 8;

/// Whether a line announces the returned original. Leading dashes and blanks do not count.
fn is_marker(line: &str, words: &Words) -> bool {
    let line = line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '=' | '*' | '_' | '+' | '|'));
    words.have(Role::BeginsOriginal, line) || (line.len() < 80 && words.have(Role::MentionsOriginal, line))
}

/// The name of an unindented `Name: value` line.
fn header_name(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(':')?;
    let fits = !name.is_empty()
        && name.len() <= 60
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    fits.then_some(name)
}

/// Whether header lines follow one another here: two behind a marker, else three with one that only a message
/// that has travelled carries (a bounce's own summary has From, To and Subject too). And how many octets they take.
fn header_block(text: &str, marked: bool, words: &Words) -> (bool, usize) {
    let (mut fields, mut travelled) = (0, false);
    let indent = &text[..text.len() - text.trim_start_matches([' ', '\t']).len()];
    let mut octets = 0;
    for line in text.split_inclusive('\n').take(40) {
        let bare = line.strip_prefix(indent).unwrap_or(line);
        let folded = bare.starts_with([' ', '\t']) && fields > 0 && !bare.trim().is_empty();
        if !folded {
            let Some(name) = header_name(bare) else { break };
            fields += 1;
            travelled |= words.have(Role::ProvesTravel, &name.to_ascii_lowercase());
        }
        octets += line.len();
    }
    // What is indented may be a summary of the header.
    let marked = marked && (indent.is_empty() || travelled);
    (fields >= 2 && (marked || (fields >= 3 && travelled)), octets)
}

/// An address in running text and the byte range that it takes, quotes of a local part included.
pub(super) fn addresses(text: &str) -> impl Iterator<Item = (Range<usize>, Address)> {
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

/// Whether a block says nothing but addresses.
pub(super) fn names_only(block: &str) -> bool {
    block.lines().all(|line| {
        let named: usize = addresses(line).map(|(range, _)| range.len()).sum();
        line.trim().len().saturating_sub(named) <= "<>:(),;".len()
    })
}

/// At most this much text is kept for one recipient; the cause stands in the first lines.
pub(super) const MOST_ABOUT: usize = 4096;

/// The lines of a text, as ranges, that speak of each of `addresses` (normalised), in their order.
///
/// A line that names an address opens its block; the block goes on to the next blank line after it has said
/// something, or to the next address. Addresses listed one under the other share the block that follows, except what
/// stands in brackets: that is said of the last one. One pass over the text, and at most [`MOST_ABOUT`] octets for each address.
pub(super) fn blocks(words: &str, addresses_wanted: &[&str]) -> Vec<Vec<Range<usize>>> {
    let index: HashMap<&str, usize> = addresses_wanted.iter().enumerate().map(|(i, a)| (*a, i)).collect();
    let mut out = vec![Vec::new(); addresses_wanted.len()];
    let mut taken_up = vec![0; addresses_wanted.len()];
    let mut current: Vec<usize> = Vec::new();
    // Whether the block has said something, and whether other lines stand between its addresses and this one.
    let (mut said, mut interrupted) = (false, false);
    let mut start = 0;
    for line in words.split_inclusive('\n') {
        let range = start..start + line.len();
        start = range.end;
        let named: Vec<_> = addresses(line).filter_map(|(r, a)| Some((r, *index.get(a.normalised())?))).collect();
        if named.is_empty() {
            if line.trim().is_empty() {
                if said {
                    current.clear();
                }
                continue;
            }
            // Sendmail lists addresses, and below one of them its own "(reason: …)" or "(expanded from: …)".
            if let (true, Some(&last)) = (line.trim_start().starts_with('('), current.last()) {
                current = vec![last];
            }
            interrupted = true;
            // "because:" announces what stands behind the blank line.
            said = !line.trim_end().ends_with(':');
        } else {
            if said || interrupted || current.len() >= MOST_SHARING {
                current.clear();
            }
            interrupted = false;
            let taken: usize = named.iter().map(|(r, _)| r.len()).sum();
            said = line.trim().len().saturating_sub(taken) > "<>:(),;".len();
            current.extend(named.into_iter().map(|(_, i)| i));
            current.dedup();
        }
        for &i in &current {
            if taken_up[i] + line.len() <= MOST_ABOUT {
                taken_up[i] += line.len();
                out[i].push(range.clone());
            }
        }
    }
    out
}

/// So many addresses may share one block of text.
const MOST_SHARING: usize = 64;

/// The first `most` octets, cut at a character.
pub(super) fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_is_split_off() {
        let text = "Sorry.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <a@example.org>\nFrom: a\n\nbody\n";
        let at = original_at(text, &Words::embedded()).expect("there");
        assert!(text[..at].ends_with("message.\n\n") && text[at..].starts_with("Return-Path"));
    }

    #[test]
    fn addresses_are_found_in_sentences() {
        let text = "To <bob@example.org>, mailto:\"a b\"@example.com. and x@[192.0.2.1] (jörg@bücher.example).";
        let found: Vec<_> = addresses(text).map(|(_, a)| a.given().to_owned()).collect();
        assert_eq!(found, ["bob@example.org", "\"a b\"@example.com", "x@[192.0.2.1]", "jörg@bücher.example"]);
    }

    /// The lines of each address in one text.
    fn blocks(words: &str, wanted: &[&str]) -> Vec<String> {
        let text = |lines: Vec<Range<usize>>| lines.into_iter().map(|line| &words[line]).collect();
        super::blocks(words, wanted).into_iter().map(text).collect()
    }

    #[test]
    fn each_address_gets_its_own_lines() {
        let text = "Hi.\n\n<a@x.org>:\nno such user\n\n<b@x.org>\n<c@x.org>\n  mailbox full\n\nBye\n";
        let blocks = blocks(text, &["a@x.org", "b@x.org", "c@x.org"]);
        assert_eq!(blocks[0], "<a@x.org>:\nno such user\n");
        assert_eq!(blocks[1], "<b@x.org>\n<c@x.org>\n  mailbox full\n");
        assert_eq!(blocks[2], "<c@x.org>\n  mailbox full\n");
    }

    #[test]
    fn a_transcript_below_a_list_is_no_part_of_it() {
        let text = "<a@x.org>\n<b@x.org>\n\nwhile talking to x.org.:\nTo:<a@x.org>\n550 a\nTo:<b@x.org>\n552 b\n";
        let blocks = blocks(text, &["a@x.org", "b@x.org"]);
        assert!(blocks[0].ends_with("550 a\n") && !blocks[0].contains("552"), "{blocks:?}");
        assert!(blocks[1].ends_with("552 b\n") && !blocks[1].contains("550"), "{blocks:?}");
    }

    #[test]
    fn brackets_speak_of_the_address_above_them() {
        let blocks = blocks("<a@x.org>\n<b@x.org>\n    (reason: 550 Host unknown)\n", &["a@x.org", "b@x.org"]);
        assert_eq!(blocks[0], "<a@x.org>\n<b@x.org>\n");
        assert_eq!(blocks[1], "<b@x.org>\n    (reason: 550 Host unknown)\n");
    }

    #[test]
    fn a_summary_of_the_message_is_no_original() {
        let text = "Your message\nTo: bob@example.org\nSubject: hi\ncould not be delivered\n";
        assert_eq!(original_at(text, &Words::embedded()), None);
    }
}
