//! The text of a bounce -> where the returned original begins in it, behind the program's own words.

use super::{
    fields::{CLAUSES, leading_name},
    words::{Role, Words},
};
use crate::text::split_lines;

/// Where the returned original begins in a text. Linear in the length of the text.
pub(super) fn begins_at(text: &str, words: &Words) -> Option<usize> {
    let mut marked = false;
    let mut words_end = None;
    let mut offset = 0;
    // Header lines up to here are known to begin no message: each is looked at once.
    let mut looked_at = 0;
    for line in split_lines(text) {
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
        offset += line.len();
        let bare = without_dashes(line);
        if bare.is_empty() {
            continue;
        }
        marked = marked || is_marker(bare, words);
        if words_end.is_none() && words.have(Role::EndsWords, bare) {
            words_end = Some(offset);
        }
    }
    words_end
}

/// Whether a line, without dashes around it, announces the returned original.
fn is_marker(line: &str, words: &Words) -> bool {
    words.have(Role::BeginsOriginal, line) || (line.len() < 80 && words.have(Role::MentionsOriginal, line))
}

fn without_dashes(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '=' | '*' | '_' | '+' | '|'))
}

/// The name of an unindented `Name: value` line.
fn header_name(line: &str) -> Option<&str> {
    let name = leading_name(line);
    ((1..=60).contains(&name.len()) && line[name.len()..].starts_with(':')).then_some(name)
}

/// Whether header lines follow one another here: two behind a marker, else three with one that only a message
/// that has travelled carries (a bounce's own summary has From, To and Subject too). And how many octets they take.
fn header_block(text: &str, marked: bool, words: &Words) -> (bool, usize) {
    let (mut fields, mut travelled) = (0, false);
    let indent = &text[..text.len() - text.trim_start_matches([' ', '\t']).len()];
    let mut octets = 0;
    for line in split_lines(text).take(40) {
        let bare = line.strip_prefix(indent).unwrap_or(line);
        let folded = bare.starts_with([' ', '\t']) && !bare.trim().is_empty() || goes_on(bare);
        if !folded || fields == 0 {
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

/// HTML takes away the blanks before a folded line: a clause is what a Received field goes on with.
fn goes_on(line: &str) -> bool {
    line.split_once(' ').is_some_and(|(word, _)| CLAUSES.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_is_split_off() {
        let text = "Sorry.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <a@example.org>\nFrom: a\n\nbody\n";
        let at = begins_at(text, &Words::embedded()).expect("there");
        assert!(text[..at].ends_with("message.\n\n") && text[at..].starts_with("Return-Path"));
    }

    #[test]
    fn a_header_without_the_blanks_of_its_folded_lines_is_one() {
        let text = "Sorry.\n\nReceived: from a.example\nby b.example with SMTP\nfor <c@b.example>; Tue\nFrom: a\nTo: c\n\nHi\n";
        assert_eq!(begins_at(text, &Words::embedded()), Some("Sorry.\n\n".len()));
    }

    #[test]
    fn a_summary_of_the_message_is_no_original() {
        let text = "Your message\nTo: bob@example.org\nSubject: hi\ncould not be delivered\n";
        assert_eq!(begins_at(text, &Words::embedded()), None);
    }
}
