//! Shapes: what a sentence is about, and what it says of it, with little between the two. Knows nothing of rows.
//!
//! Term stand between word boundaries, save in scripts that put no blanks between words. All of it is linear in the
//! text: of the nouns in front of a predicate only the nearest one is looked at, for what lies between it and the
//! predicate also lies between those before it and the predicate.

use std::{borrow::Borrow, fmt, net::IpAddr, ops::Range};

use foldhash::HashSet;
use serde::{Deserialize, Serialize};

use crate::{codes::begins_with_code, text::is_unspaced};

/// Which of the two stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// "mailbox … is full"
    AboutFirst,
    /// "no such … mailbox"
    SaysFirst,
    /// Both are said.
    Either,
}

/// What a sentence may be made of, where a report quotes what a server answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach<'w> {
    /// The words of who reports and the answer: "MAIL FROM:<news@a.example>: 550 does not exist".
    Report,
    /// One of the two, and nothing is said of another noun instead: neither "Failed recipient: anna@a.example Error: 502
    /// Command not recognized" nor "user policy not found" says anything of a recipient.
    Answer { words: &'w GapWords },
}

/// The words, folded, that tell whether a noun and what is said behind it belong together.
#[derive(Debug, Default)]
pub(super) struct GapWords {
    /// Nouns that are spoken of instead of the one before them: "user policy not found".
    pub(super) instead: HashSet<String>,
    /// Words that lead from a noun to where it stands, so that no noun behind them is another one: "user anna on this
    /// server".
    pub(super) prepositions: HashSet<String>,
    /// Words that what is said may begin with: "user policy has been revoked".
    pub(super) auxiliaries: HashSet<String>,
    /// Words behind which a code is the answer's: "anna@a.example Error: 502 Command not recognized".
    pub(super) before_answer: HashSet<String>,
}

impl GapWords {
    /// Whether a server's answer begins in a gap, behind the words of who reports it.
    fn begins_answer(&self, gap: &str) -> bool {
        let words = gap.split([' ', '[', '\'', '"']);
        let mut pairs = words.clone().zip(words.skip(1)).enumerate();
        // A blank alone is before a name that is a number: "user 450 unknown".
        let introduces =
            |n, word: &str| word.ends_with(':') || self.before_answer.contains(word) || (word.is_empty() && n > 0);
        pairs.any(|(n, (before, word))| begins_with_code(word) && introduces(n, before))
    }

    /// Whether the words between a noun and what is said end in another noun, or are an IP address: "user policy", "the
    /// recipient's public key", "address 192.0.2.1".
    fn names_another(&self, gap: &str) -> bool {
        // What stands in quotes is a name: "user 'service' unknown".
        let mut words = gap.trim_end().rsplit(' ').skip_while(|word| self.auxiliaries.contains(*word));
        let last = words.next().unwrap_or_default();
        let is_host = || last.trim_matches(['[', ']', '(', ')']).parse::<IpAddr>().is_ok();
        let leads_on = || gap.split(' ').any(|word| self.prepositions.contains(word));
        (self.instead.contains(last) || is_host()) && !leads_on()
    }
}

/// A folded word or several, a `*` at the end of a word standing for any ending.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Term(String);

impl Term {
    /// `None` where there is no word, or a `*` stands elsewhere than at the end of one.
    pub(super) fn new(folded: &str) -> Option<Self> {
        let is_word = |word: &str| {
            let stem = word.strip_suffix('*').unwrap_or(word);
            !(stem.is_empty() || stem.contains('*'))
        };
        // Most have no ending.
        let is_plain = !(folded.is_empty() || folded.contains('*'));
        (is_plain || folded.split(' ').all(is_word)).then(|| Self(folded.to_owned()))
    }

    /// What to look for: the text up to the first ending.
    pub(super) fn head(&self) -> &str {
        self.0.find('*').map_or(self.0.as_str(), |end| &self.0[..end])
    }

    /// What has to follow upon each other, and whether any ending follows: `adres* nie` is `adres`, any ending, ` nie`.
    fn pieces(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.split_inclusive('*').map(|piece| piece.strip_suffix('*').map_or((piece, false), |stem| (stem, true)))
    }

    /// Where the words that begin with the head at `start` end; `None` where something else goes on there.
    pub(super) fn end(&self, text: &str, start: usize) -> Option<usize> {
        let before = text[..start].chars().next_back();
        let starts_with_letter = self.head().chars().next().is_some_and(is_letter);
        if starts_with_letter && (before.is_some_and(is_letter) || ends_in_name(&text[..start])) {
            return None;
        }
        let mut end = start;
        for (piece, open) in self.pieces() {
            end += text[end..].strip_prefix(piece).map(|_| piece.len())?;
            let rest = &text[end..];
            if open {
                end += rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
            } else if !ends_word(piece, rest) || (piece.ends_with(is_letter) && goes_on_as_name(rest)) {
                return None;
            }
        }
        Some(end)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Term {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether a character is part of a word that blanks end.
fn is_letter(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

/// Whether what follows makes the word before it part of an address or a host name: `spam@`, `spam.example`.
pub(super) fn goes_on_as_name(rest: &str) -> bool {
    rest.starts_with('@') || rest.strip_prefix('.').is_some_and(|rest| rest.chars().next().is_some_and(is_letter))
}

/// Whether what stands before makes the word behind it part of an address or a host name: `@spam`, `example.spam`.
fn ends_in_name(before: &str) -> bool {
    before.ends_with('@')
        || before.strip_suffix('.').is_some_and(|before| before.chars().next_back().is_some_and(is_letter))
}

/// The first place where a predicate and what it speaks about stand together: from the start of the one to the end of
/// the other. Both lists are in the order of the text.
pub(super) fn together(
    text: &str,
    about: &[Range<usize>],
    says: &[Range<usize>],
    order: Order,
    between: usize,
    reach: Reach<'_>,
) -> Option<Range<usize>> {
    let in_answer = |gap: &str| match reach {
        Reach::Report => true,
        Reach::Answer { words } => !words.begins_answer(gap),
    };
    let of_noun = |gap: &str| match reach {
        Reach::Report => true,
        Reach::Answer { words } => !(words.begins_answer(gap) || words.names_another(gap)),
    };
    let forth = || adjacent(text, about, says, between, of_noun);
    let back = || adjacent(text, says, about, between, in_answer);
    match order {
        Order::AboutFirst => forth(),
        Order::SaysFirst => back(),
        Order::Either => forth().or_else(back),
    }
}

/// `first` and after it, near enough and in one sentence, `second`. The ends of `first` ascend.
fn adjacent(
    text: &str,
    first: &[Range<usize>],
    second: &[Range<usize>],
    between: usize,
    joins: impl Fn(&str) -> bool,
) -> Option<Range<usize>> {
    second.iter().find_map(|second| {
        let nearest = first.partition_point(|first| first.end <= second.start).checked_sub(1)?;
        let first = &first[nearest];
        let gap = &text[first.end..second.start];
        (one_sentence(gap, between) && joins(gap)).then_some(first.start..second.end)
    })
}

/// Whether no sentence ends in a text.
pub(super) fn in_one_sentence(text: &str) -> bool {
    !(text.contains([';', '!', '?', '。']) || text.contains(". ") || text.ends_with('.'))
}

/// Whether a word ends where the rest begins.
pub(super) fn ends_word(word: &str, rest: &str) -> bool {
    !word.chars().next_back().is_some_and(is_letter) || !rest.chars().next().is_some_and(is_letter)
}

/// Whether a gap has at most so many characters and no end of a sentence in it. Addresses and host names count for
/// nothing: "mailbox <anna@example.org> full" is "mailbox full".
fn one_sentence(gap: &str, most: usize) -> bool {
    if !in_one_sentence(gap) {
        return false;
    }
    let counted = gap.split(' ').filter(|word| !is_name(word)).map(|word| word.chars().count() + 1);
    counted.sum::<usize>() <= most + 1
}

/// Whether a word is an address or a host name.
fn is_name(word: &str) -> bool {
    let inner_dot = |at: usize| {
        word[..at].chars().next_back().is_some_and(is_letter) && word[at + 1..].chars().next().is_some_and(is_letter)
    };
    word.contains('@') || word.match_indices('.').any(|(at, _)| inner_dot(at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(words: &str, text: &str) -> Vec<String> {
        let words = Term::new(words).unwrap();
        let starts = text.match_indices(words.head()).map(|(start, _)| start);
        starts.filter_map(|start| Some(text[start..words.end(text, start)?].to_owned())).collect()
    }

    #[test]
    fn words_stand_alone_and_stems_take_any_ending() {
        for (words, text, expected) in [
            ("user", "user, users superuser user", &["user", "user"][..]),
            ("user*", "users superusers", &["users"]),
            ("adres* nie istnieje", "adresat nie istnieje, adres e-mail nie istnieje", &["adresat nie istnieje"]),
            ("mail box", "mail box mail boxes", &["mail box"]),
            ("邮箱", "您的邮箱已满", &["邮箱"]),
            ("存在しません*", "宛先は存在しませんので", &["存在しません"]),
            ("почт*", "почтовый ящик", &["почтовый"]),
            ("(user)", "no(user)x", &["(user)"]),
            ("spam", "spam@a.example a.spam.example @spam spam. anti-spam", &["spam", "spam"]),
        ] {
            assert_eq!(found(words, text), expected, "{words}");
        }
        for none in ["", "*", "us*er", "a *"] {
            assert_eq!(Term::new(none), None, "{none}");
        }
    }

    #[test]
    fn noun_and_predicate_stand_in_one_sentence() {
        let set = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let words = GapWords {
            instead: set(&["policy", "key"]),
            prepositions: set(&["under", "auf"]),
            auxiliaries: set(&["is", "has"]),
            before_answer: set(&["code", "error", "<<<"]),
        };
        let reach = || Reach::Answer { words: &words };
        let tell = |text: &str, order| {
            let all = |word: &str| text.match_indices(word).map(|(at, _)| at..at + word.len()).collect::<Vec<_>>();
            together(text, &all("user"), &all("unknown"), order, 20, reach()).map(|range| text[range].to_owned())
        };
        for (text, order, expected) in [
            ("the user ann is unknown here", Order::AboutFirst, Some("user ann is unknown")),
            ("the user ann is unknown here", Order::SaysFirst, None),
            ("unknown local user", Order::SaysFirst, Some("unknown local user")),
            ("unknown local user", Order::AboutFirst, None),
            ("unknown local user", Order::Either, Some("unknown local user")),
            ("user ann. unknown", Order::Either, None),
            ("user a.b@x.y unknown", Order::Either, Some("user a.b@x.y unknown")),
            ("user ann; unknown", Order::Either, None),
            ("user 12345678901234567890 unknown", Order::Either, None),
            (
                "user <a-very-long-name@a.example> at mx.a.example unknown",
                Order::Either,
                Some("user <a-very-long-name@a.example> at mx.a.example unknown"),
            ),
            ("user one, user two is unknown", Order::AboutFirst, Some("user two is unknown")),
            ("user 450 unknown", Order::AboutFirst, Some("user 450 unknown")),
            ("user: 450 unknown", Order::AboutFirst, None),
            ("user [450 unknown", Order::AboutFirst, None),
            ("user, code 450 unknown", Order::AboutFirst, None),
            ("user error 450 'unknown", Order::AboutFirst, None),
            ("user <<< 450 unknown", Order::AboutFirst, None),
            ("user: 250 unknown", Order::AboutFirst, Some("user: 250 unknown")),
            ("user policy unknown", Order::AboutFirst, None),
            ("user's public key unknown", Order::AboutFirst, None),
            ("user's public key has been unknown", Order::AboutFirst, None),
            ("user 192.0.2.1 unknown", Order::AboutFirst, None),
            ("user under our policy unknown", Order::AboutFirst, Some("user under our policy unknown")),
            ("user 'policy' unknown", Order::AboutFirst, Some("user 'policy' unknown")),
            ("user policy ann unknown", Order::AboutFirst, Some("user policy ann unknown")),
            ("unknown policy user", Order::SaysFirst, Some("unknown policy user")),
            ("unknown: 450 user", Order::SaysFirst, None),
        ] {
            assert_eq!(tell(text, order).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_said_of_another_may_stand_around_the_answer() {
        let (text, words) = ("sender: 550 unknown", GapWords::default());
        let [sender, unknown] = [&(0..6), &(12..19)].map(std::slice::from_ref);
        let reaching = |reach| together(text, sender, unknown, Order::AboutFirst, 20, reach);
        assert_eq!(reaching(Reach::Report), Some(0..19));
        assert_eq!(reaching(Reach::Answer { words: &words }), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-c*邮é .;]{0,30}", words in "[a-c邮é]{1,3}\\*?( [a-c邮]\\*?)?") {
            if let Some(words) = Term::new(&words) {
                for (start, _) in text.match_indices(words.head()) {
                    let end = words.end(&text, start);
                    prop_assert!(end.is_none_or(|end| text.is_char_boundary(end)));
                }
            }
        }
    }
}
