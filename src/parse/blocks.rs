//! A text that speaks of several addresses -> the lines that speak of each. Refuses to know what they say.

use std::{collections::HashMap, ops::Range};

use super::{
    failed::{COMMAS, heads_reached, is_joint, is_separator},
    reply::begins_with_status,
    words::Words,
};
use crate::{
    codes::begins_with_code,
    text::{addresses, split_lines},
};

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
/// stands in brackets: that is said of the last one. Behind a blank line, what begins with a code goes on with the
/// block of the only one named last. Where several are wanted, what ends with a colon above addresses that have nothing
/// beside them speaks of them. One pass over the text, and at most [`MOST_ABOUT`] octets for each address.
pub(super) fn blocks(words: &str, addresses_wanted: &[&str], table: &Words) -> Vec<Vec<Range<usize>>> {
    let index: HashMap<&str, usize> = addresses_wanted.iter().enumerate().map(|(i, a)| (*a, i)).collect();
    let mut out = vec![Vec::new(); addresses_wanted.len()];
    let mut taken_up = vec![0; addresses_wanted.len()];
    let mut current: Vec<usize> = Vec::new();
    // Whose block a blank line has ended.
    let mut last = None;
    // Whether the block has said something, and whether other lines stand between its addresses and this one.
    let (mut said, mut interrupted) = (false, false);
    // Whether the line above ends within a list, and whether it ends with an address.
    let (mut within_list, mut ends_named) = (false, false);
    // What stands above the next list, and what heads this one.
    let (mut above, mut heading) = (Paragraph::default(), None);
    let mut start = 0;
    for line in split_lines(words).flat_map(|line| clauses(line, &index)) {
        let range = start..start + line.len();
        start = range.end;
        let mut names_others = false;
        let named: Vec<_> = addresses(line)
            .filter_map(|(range, address)| {
                let wanted = index.get(address.normalised());
                names_others |= wanted.is_none();
                Some((range, *wanted?))
            })
            .collect();
        if named.is_empty() {
            (within_list, ends_named) = (false, false);
            above.go_on(line, &range);
            if line.trim().is_empty() {
                if said && !current.is_empty() {
                    last = Some(current[0]).filter(|_| current.len() == 1);
                    current.clear();
                }
                continue;
            }
            // What stands below says nothing of those above.
            if heads_reached(line, table) {
                last = None;
                current.clear();
                continue;
            }
            if let Some(last) = last.filter(|_| current.is_empty() && begins_with_answer(line)) {
                current.push(last);
            } else if names_others {
                last = None;
            }
            // Sendmail lists addresses, and below one of them its own "(reason: …)" or "(expanded from: …)".
            if let (true, Some(&last)) = (line.trim_start().starts_with('('), current.last()) {
                current = vec![last];
            }
            interrupted = true;
            // "because:" announces what stands behind the blank line.
            said = !line.trim_end().ends_with(':');
        } else {
            last = None;
            let (before, behind) = (&line[..named[0].0.start], &line[named[named.len() - 1].0.end..]);
            let goes_on = (within_list && is_separator(before.trim_start())) || (ends_named && is_joint(before, table));
            within_list = (is_separator(behind) && behind.contains(COMMAS)) || is_joint(behind, table);
            ends_named = within_list || is_separator(behind);
            let opens = ((said || interrupted) && !goes_on) || is_answer(line) || current.len() >= MOST_SHARING;
            interrupted = false;
            let taken: usize = named.iter().map(|(r, _)| r.len()).sum();
            said = line.trim().len().saturating_sub(taken) > "<>:(),;".len();
            let next = std::mem::take(&mut above).heading().filter(|_| addresses_wanted.len() > 1);
            if opens {
                // The heading of a list says nothing of the one above it.
                if let Some(next) = next.as_ref().filter(|_| !said) {
                    current.iter().for_each(|&i| out[i].retain(|line: &Range<usize>| line.start < next.start));
                }
                current.clear();
                heading = None;
            }
            heading = next.or(heading).filter(|_| !said);
            if let Some(heading) = &heading {
                for &(_, i) in &named {
                    let has = out[i].last().is_some_and(|line| line.start >= heading.start);
                    if !has && taken_up[i] + heading.len() <= MOST_ABOUT {
                        taken_up[i] += heading.len();
                        out[i].push(heading.clone());
                    }
                }
            }
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

/// The last lines that name nobody, up to the blank line before them.
#[derive(Default)]
struct Paragraph {
    range: Option<Range<usize>>,
    /// Whether a blank line stands below it.
    ended: bool,
    /// Whether it announces what follows: `These users are unknown:`.
    announces: bool,
}

impl Paragraph {
    fn go_on(&mut self, line: &str, range: &Range<usize>) {
        if line.trim().is_empty() {
            self.ended = true;
            return;
        }
        let goes_on = self.range.as_ref().filter(|_| !self.ended);
        self.range = Some(goes_on.map_or(range.start, |above| above.start)..range.end);
        self.ended = false;
        self.announces = line.trim_end().ends_with([':', '：']);
    }

    fn heading(self) -> Option<Range<usize>> {
        self.range.filter(|_| self.announces)
    }
}

/// The clauses of a line that says one thing of one address and another of the next: `To anna@example.org: no such user; to
/// bob@example.org: mailbox full`. An answer behind an address that names another one is a clause, too.
fn clauses<'t>(line: &'t str, index: &HashMap<&str, usize>) -> impl Iterator<Item = &'t str> {
    let mut ends = Vec::new();
    // Few lines name two.
    if memchr::memchr_iter(b'@', line.as_bytes()).nth(1).is_some() {
        let mut last: Option<(usize, usize)> = None;
        for (range, address) in addresses(line) {
            let Some(&wanted) = index.get(address.normalised()) else { continue };
            if let Some((end, before)) = last
                && before != wanted
            {
                let between = line.get(end..range.start);
                ends.extend(between.and_then(clause_end).map(|at| end + at));
            }
            last = Some((range.end, wanted));
        }
    }
    let mut start = 0;
    ends.into_iter().chain([line.len()]).map(move |end| &line[std::mem::replace(&mut start, end)..end])
}

/// Where between two addresses the clause of the first ends; `None` where both stand in one.
fn clause_end(between: &str) -> Option<usize> {
    let answer = between.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '>' | ':'));
    if begins_with_code(answer) && !answer.contains(char::is_alphabetic) {
        return Some(between.len() - answer.len());
    }
    let end = [";", ". ", "), "].iter().filter_map(|mark| Some(between.rfind(mark)? + mark.len())).max()?;
    between[..end].contains(char::is_alphabetic).then_some(end)
}

/// `550 5.1.1 <bob@example.org>: no such user`, below a list of several, speaks of the one that it names.
fn is_answer(line: &str) -> bool {
    let line = line.trim_start();
    line.len() > 3 && line.bytes().take(3).all(|b| b.is_ascii_digit()) && line.as_bytes()[3].is_ascii_whitespace()
}

/// `550 no such user`, `Reported error: 550 5.1.1 no such user`.
fn begins_with_answer(line: &str) -> bool {
    let line = line.trim_start();
    let is_label = |text: &str| text.len() <= LONGEST_LABEL && !text.contains(|c: char| c.is_ascii_digit() || c == '@');
    let labelled = line.split_once([':', '：']).filter(|(label, _)| is_label(label));
    begins_with_code(line) || labelled.is_some_and(|(_, behind)| begins_with_status(behind.trim_start()))
}

/// In octets.
const LONGEST_LABEL: usize = 60;

/// So many addresses may share one block of text.
const MOST_SHARING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of each address in one text.
    fn blocks(words: &str, wanted: &[&str]) -> Vec<String> {
        let text = |lines: Vec<Range<usize>>| lines.into_iter().map(|line| &words[line]).collect();
        super::blocks(words, wanted, &Words::embedded()).into_iter().map(text).collect()
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
    fn what_one_line_says_of_two_is_told_apart() {
        for (text, of_a, of_b) in [
            ("a@x.org: no such user; b@x.org: full\n", "a@x.org: no such user;", " b@x.org: full\n"),
            ("To a@x.org (no such user). To b@x.org (full).\n", "To a@x.org (no such user). ", "To b@x.org (full).\n"),
            ("<a@x.org>: 550 5.1.1 <b@x.org>: unknown\n", "<a@x.org>: ", "550 5.1.1 <b@x.org>: unknown\n"),
            ("a@x.org 550 no such user; b@x.org 552 full\n", "a@x.org 550 no such user;", " b@x.org 552 full\n"),
            ("a@x.org (no such user), b@x.org (full)\n", "a@x.org (no such user), ", "b@x.org (full)\n"),
            ("a@x.org; b@x.org: unknown\n", "a@x.org; b@x.org: unknown\n", "a@x.org; b@x.org: unknown\n"),
            ("a@x.org and b@x.org: no.\n", "a@x.org and b@x.org: no.\n", "a@x.org and b@x.org: no.\n"),
            ("a@x.org no. a@x.org no\n", "a@x.org no. a@x.org no\n", ""),
        ] {
            assert_eq!(blocks(text, &["a@x.org", "b@x.org"]), [of_a, of_b], "{text}");
        }
    }

    #[test]
    fn a_sentence_that_names_two_goes_on_in_the_next_line() {
        for text in [
            "Not to a@x.org,\nb@x.org: no\n",
            "Not to a@x.org and\nb@x.org.\nno\n",
            "Not to a@x.org\nand b@x.org: no\n",
        ] {
            let blocks = blocks(text, &["a@x.org", "b@x.org"]);
            assert!(blocks.iter().all(|block| block.contains("no\n")), "{blocks:?}");
        }
        let apart = blocks("Not to a@x.org: full,\nb@x.org: no\n", &["a@x.org", "b@x.org"]);
        assert_eq!(apart, ["Not to a@x.org: full,\n", "b@x.org: no\n"]);
    }

    #[test]
    fn what_heads_a_list_is_said_of_those_in_it() {
        for (text, of_a, of_b) in [
            ("no:\n\na@x.org\nb@x.org\n\nBye\n", "no:\na@x.org\nb@x.org\nBye\n", "no:\nb@x.org\nBye\n"),
            // It may take several lines, and lists of one.
            ("Hi.\n\nnot\nhere：\n* a@x.org\n\nfull:\n<b@x.org>\n", "not\nhere：\n* a@x.org\n", "full:\n<b@x.org>\n"),
            // Twice in one list.
            ("no:\na@x.org\na@x.org\nb@x.org\n", "no:\na@x.org\na@x.org\nb@x.org\n", "no:\nb@x.org\n"),
            // A sentence between, no colon, and addresses that have their own reason.
            ("no:\n\nSee below.\n\na@x.org\nb@x.org\nBye\n", "a@x.org\nb@x.org\nBye\n", "b@x.org\nBye\n"),
            ("no\n\na@x.org\nb@x.org\nBye\n", "a@x.org\nb@x.org\nBye\n", "b@x.org\nBye\n"),
            ("no:\na@x.org: is full\nb@x.org: is away\n", "a@x.org: is full\n", "b@x.org: is away\n"),
            // What has been said of one ends the list.
            ("no:\na@x.org\nfull\n\nb@x.org\nBye\n", "no:\na@x.org\nfull\n", "b@x.org\nBye\n"),
        ] {
            assert_eq!(blocks(text, &["a@x.org", "b@x.org"]), [of_a, of_b], "{text}");
        }
        assert_eq!(blocks("no:\na@x.org\nBye\n", &["a@x.org"]), ["a@x.org\nBye\n"]);
        let long = format!("{}:\na@x.org\nb@x.org\n", "x".repeat(MOST_ABOUT));
        assert_eq!(blocks(&long, &["a@x.org", "b@x.org"]), ["a@x.org\nb@x.org\n", "b@x.org\n"]);
    }

    #[test]
    fn a_transcript_below_a_list_is_no_part_of_it() {
        let text = "<a@x.org>\n<b@x.org>\n\nwhile talking to x.org.:\nTo:<a@x.org>\n550 a\nTo:<b@x.org>\n552 b\n";
        let blocks = blocks(text, &["a@x.org", "b@x.org"]);
        assert!(blocks[0].ends_with("550 a\n") && !blocks[0].contains("552"), "{blocks:?}");
        assert!(blocks[1].ends_with("552 b\n") && !blocks[1].contains("550"), "{blocks:?}");
    }

    #[test]
    fn an_answer_below_a_list_speaks_of_the_one_that_it_names() {
        let blocks = blocks("<a@x.org>\n<b@x.org>\n550 <b@x.org>: no such user\n", &["a@x.org", "b@x.org"]);
        assert_eq!(blocks, ["<a@x.org>\n<b@x.org>\n", "<b@x.org>\n550 <b@x.org>: no such user\n"]);
    }

    #[test]
    fn a_code_behind_a_blank_line_speaks_of_the_only_one_named_last() {
        for (text, of_a, of_b) in [
            ("a@x.org\nno\n\n550 a\n\nb@x.org\nno\n\n552 b\n", "a@x.org\nno\n550 a\n", "b@x.org\nno\n552 b\n"),
            (
                "a@x.org\nno\n\nhelp\n\nError: 550 5.1.1\nb@x.org\nno\n",
                "a@x.org\nno\nError: 550 5.1.1\n",
                "b@x.org\nno\n",
            ),
            // Of two, of somebody else, of nobody yet, and what is no code.
            ("a@x.org\nb@x.org\nno\n\n550 a\n", "a@x.org\nb@x.org\nno\n", "b@x.org\nno\n"),
            ("a@x.org\nno\n\ne@x.org\n\n550 e\n\nb@x.org\nno\n", "a@x.org\nno\n", "b@x.org\nno\n"),
            (
                "550 x\n\na@x.org\nno\n\nsize: 552 bytes\n\nno: 7: 550 5.1.1\n\nb@x.org\nno\n",
                "a@x.org\nno\n",
                "b@x.org\nno\n",
            ),
        ] {
            assert_eq!(blocks(text, &["a@x.org", "b@x.org"]), [of_a, of_b], "{text}");
        }
    }

    #[test]
    fn brackets_speak_of_the_address_above_them() {
        let blocks = blocks("<a@x.org>\n<b@x.org>\n    (reason: 550 Host unknown)\n", &["a@x.org", "b@x.org"]);
        assert_eq!(blocks[0], "<a@x.org>\n<b@x.org>\n");
        assert_eq!(blocks[1], "<b@x.org>\n    (reason: 550 Host unknown)\n");
    }
}
