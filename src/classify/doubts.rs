//! What leaves open whether an address is dead, in the words around those that say so: an "or", an "if", a name that they
//! are part of, a sentence about something else. The words stand at the head of the phrase table; knows nothing of rows.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use foldhash::HashSet;

use super::shapes::{Term, ends_word, goes_on_as_name, in_one_sentence};
use crate::text::{BEHIND_REPLY, is_unspaced};

/// In octets: as far back as a condition is looked for.
const LONGEST_CLAUSE: usize = 120;

/// In octets, from the end of one alternative to the end of the other.
const LONGEST_ALTERNATIVE: usize = 160;

/// In octets, before the word that is denied.
const LONGEST_DENIAL: usize = 8;

/// As many words are looked at before those that are said of something else: "refers to a".
const MOST_WORDS_BEFORE: usize = 3;

/// The words of [`Doubts`], folded, on their way there.
#[derive(Debug, Default)]
pub(super) struct DoubtWords {
    /// What stands between alternatives.
    pub or: Vec<String>,
    /// Those of them behind which anything is another alternative.
    pub or_else: Vec<String>,
    /// Save where one of these stands behind them.
    pub or_same: Vec<Term>,
    /// What begins a condition.
    pub conditions: Vec<String>,
    /// What denies that an address is dead.
    pub denials: Vec<String>,
    /// Nouns that make what stands before them a name: "user unknown rate".
    pub named: Vec<String>,
    /// What tells whose the name before it is, an address between them or not: "unknown user <…> in MAIL FROM".
    pub whose: Vec<String>,
    /// Nouns that something else than the recipient goes by.
    pub others: HashSet<String>,
}

/// What leaves open whether an address is dead.
#[derive(Debug)]
pub(super) struct Doubts {
    or: Vec<String>,
    or_else: Vec<String>,
    or_same: Vec<Term>,
    /// With the blank behind each.
    conditions: AhoCorasick,
    denials: AhoCorasick,
    named: Vec<String>,
    whose: Vec<String>,
    others: HashSet<String>,
}

impl From<DoubtWords> for Doubts {
    fn from(words: DoubtWords) -> Self {
        let DoubtWords { or, or_else, or_same, mut conditions, denials, named, whose, others } = words;
        // A blank ends them, save in scripts that put none between words.
        let is_open = |word: &&mut String| !word.ends_with(|c| c == '\'' || is_unspaced(c));
        conditions.iter_mut().filter(is_open).for_each(|word| word.push(' '));
        // Looked for in a few octets: no other kind is made as fast.
        let few = |words: &[String]| {
            let kind = Some(AhoCorasickKind::NoncontiguousNFA);
            AhoCorasick::builder().kind(kind).build(words).expect("a few words compile")
        };
        Self { or, or_else, or_same, conditions: few(&conditions), denials: few(&denials), named, whose, others }
    }
}

impl Doubts {
    /// Whether a clause ends in a condition: "550 refused if …".
    pub(super) fn is_conditional(&self, before: &str) -> bool {
        let near = &before[before.floor_char_boundary(before.len().saturating_sub(LONGEST_CLAUSE))..];
        let clause = near.rsplit([',', ';', ':', '!', '?', '。', '、']).next().unwrap_or(near);
        let clause = clause.rsplit(". ").next().unwrap_or(clause);
        let mut found = self.conditions.find_iter(clause);
        found.any(|condition| !clause[..condition.start()].ends_with(char::is_alphanumeric))
    }

    /// Whether words that would be said of a dead address are denied, part of a name, or said of something else.
    pub(super) fn is_of_nobody(&self, text: &str, part: &Range<usize>) -> bool {
        let (before, behind) = (&text[..part.start], &text[part.end..]);
        let is_name = || {
            let noun = behind.trim_start_matches(is_quote).strip_prefix([' ', '-'])?;
            let behind_address = || noun.split_once(' ').filter(|(word, _)| word.contains('@')).map(|(_, rest)| rest);
            let whose = || behind_word(&self.whose, noun).or_else(|| behind_word(&self.whose, behind_address()?));
            behind_word(&self.named, noun).or_else(whose)
        };
        let is_of_another = || {
            // Within quotes what counts is what is quoted: `policy "no unknown users"`.
            let quote = before.rfind('"').filter(|_| before.matches('"').count() % 2 == 1);
            let noun =
                before[..quote.unwrap_or(before.len())].trim_end_matches(|c| matches!(c, ' ' | '<') || is_quote(c));
            let words = noun.rmatch_indices(|c: char| !(c.is_alphanumeric() || c == '-'));
            let mut starts = words.map(|(at, mark)| at + mark.len()).chain([0]).take(MOST_WORDS_BEFORE);
            noun.len() < before.len() && starts.any(|start| self.others.contains(&noun[start..]))
        };
        let is_denied = || {
            let near = &text[text.floor_char_boundary(part.start.saturating_sub(LONGEST_DENIAL))..part.end];
            self.denials.is_match(near)
        };
        is_name().is_some() || is_of_another() || is_denied()
    }

    /// Whether "or" stands behind one of two parts of a text, and the other ends in the same sentence.
    pub(super) fn alternate(&self, text: &str, one: &Range<usize>, other: &Range<usize>) -> bool {
        let (first, second) = if one.end < other.end { (one, other) } else { (other, one) };
        let behind = &text[first.end..second.end];
        let from_word = behind.trim_start_matches(|c: char| !c.is_alphanumeric());
        behind.len() < LONGEST_ALTERNATIVE && in_one_sentence(behind) && behind_word(&self.or, from_word).is_some()
    }

    /// Whether a part of a text and a state of a living address are members of one list of alternatives: "Invalid, full
    /// or disabled mailbox", "user unknown / spam / full". The state may stand within a part that reaches over it:
    /// "mailbox is not allowed to receive mail or does not exist".
    pub(super) fn are_listed(&self, text: &str, part: &Range<usize>, state: &Range<usize>) -> bool {
        let begins_with_or = |text: &str| {
            let from_word = text.trim_start_matches([' ', ',']);
            from_word.starts_with(['/', '|']) || behind_word(&self.or, from_word).is_some()
        };
        // Those of a link or an address are no "or".
        let is_stroke = |word: &str| word.contains(['/', '|']) && !word.contains(['@', '.', ':']);
        let is_or_in = |gap: &str| {
            gap.split(' ').any(is_stroke) || gap.match_indices(' ').any(|(at, _)| begins_with_or(&gap[at..]))
        };
        // "Closed, full or nonexistent": the last comma of a list is an "or".
        let goes_on = |gap: &str| gap.starts_with(',') && begins_with_or(&text[part.end.max(state.end)..]);
        let joins = |gap: Range<usize>| {
            let gap = text.get(gap).filter(|gap| gap.len() <= LONGEST_ALTERNATIVE && in_one_sentence(gap));
            gap.is_some_and(|gap| is_or_in(gap) || goes_on(gap))
        };
        if overlap(part, state) {
            joins(part.start..state.start) || joins(state.end..part.end)
        } else {
            joins(part.end.min(state.end)..part.start.max(state.start))
        }
    }

    /// Whether "or" stands behind a part of a text, and behind it more than the same in other words.
    pub(super) fn or_something_else(&self, behind: &str) -> bool {
        let from_word = behind.trim_start_matches(|c: char| !c.is_alphanumeric());
        let gap = &behind[..behind.len() - from_word.len()];
        if !in_one_sentence(gap) && gap.trim() != ";" {
            return false;
        }
        // "Unknown, suspended or …": the second of three.
        let behind_second = || from_word.split_once(' ').filter(|_| gap.trim() == ",").map(|(_, third)| third);
        let other = behind_word(&self.or_else, from_word).or_else(|| behind_word(&self.or_else, behind_second()?));
        let Some(other) = other else { return false };
        let other = &other[..other.floor_char_boundary(LONGEST_ALTERNATIVE)];
        let other = other.split([';', '!', '?', '。']).next().unwrap_or(other);
        let reply_ends = BEHIND_REPLY.iter().filter_map(|frame| other.find(frame)).min();
        let other = &other[..reply_ends.unwrap_or(other.len())];
        let other = other.split(". ").next().unwrap_or(other).trim();
        // One word more is a noun that the words before it speak of as well: "no such user or domain", "unknown address
        // or alias: anna@example.org".
        let noun = other.rsplit_once(' ').filter(|(_, name)| name.contains('@')).map_or(other, |(noun, _)| noun);
        let is_sentence = noun.contains(' ') || noun.contains(is_unspaced);
        let says = |term: &Term| other.match_indices(term.head()).any(|(at, _)| term.end(other, at).is_some());
        is_sentence && !self.or_same.iter().any(says)
    }
}

/// Whether two parts of a text have a place in common.
pub(super) fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// What stands behind one of these words, where the text begins with it.
fn behind_word<'t>(words: &[String], text: &'t str) -> Option<&'t str> {
    let is_name = |rest: &str| goes_on_as_name(rest) || rest.split(' ').next().is_some_and(|end| end.contains('@'));
    let is_whole = |word: &str, rest: &str| ends_word(word, rest) && !is_name(rest);
    words.iter().find_map(|word| text.strip_prefix(word.as_str()).filter(|rest| is_whole(word, rest)))
}

const fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}
