//! config/formats.toml: what programs write in their bounces, as data -> [`Formats`]. A row names a program, the
//! source of its words, and those words; a new program is one row.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use crate::{
    parse::{
        finding,
        mime::{Mail, unfold},
        text,
    },
    report::Finding,
};

/// A program's sentences stand near the top; below come transcripts and quoted mail.
const MOST_SEARCHED: usize = 8 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: Vec<Row>,
}

/// One program that writes bounces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    /// Which program writes it, and where that is known from: for the reader of the table.
    #[serde(rename = "source")]
    _source: String,
    /// Sentences that only this program writes; blanks and line ends between the words don't matter.
    #[serde(default)]
    signs: Vec<String>,
    /// `Name: start of the value` of header fields that only this program writes.
    #[serde(default)]
    headers: Vec<String>,
    /// What stands directly before an address that failed.
    #[serde(default)]
    labels: Vec<String>,
    /// Sentences which say that the program still tries.
    #[serde(default)]
    delayed: Vec<String>,
    /// Sentences which say that it has given up, whatever else reads like a delay.
    #[serde(default)]
    given_up: Vec<String>,
}

/// The table, compiled: each list of sentences is one matcher over all rows.
pub(in crate::parse) struct Formats {
    rows: Vec<Row>,
    signs: Matcher,
    delayed: Matcher,
    given_up: Matcher,
    labels: Vec<String>,
}

/// Sentences and the row that each comes from.
struct Matcher {
    automaton: AhoCorasick,
    row_of: Vec<usize>,
}

impl Matcher {
    fn new(rows: &[Row], sentences: impl Fn(&Row) -> &[String]) -> Self {
        let all = || rows.iter().enumerate().flat_map(|(i, row)| sentences(row).iter().map(move |s| (i, s)));
        Self {
            automaton: AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(all().map(|(_, sentence)| sentence))
                .expect("the tests compile the embedded table"),
            row_of: all().map(|(i, _)| i).collect(),
        }
    }

    /// The topmost row of the table that has a sentence in the text, and the sentence's place.
    fn topmost(&self, text: &str) -> Option<(usize, std::ops::Range<usize>)> {
        let found = self.automaton.find_overlapping_iter(text);
        found.map(|m| (self.row_of[m.pattern().as_usize()], m.range())).min_by_key(|(row, at)| (*row, at.start))
    }
}

impl Formats {
    /// The table that comes with the program.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Formats> =
            LazyLock::new(|| Formats::from_toml(include_str!("../../../config/formats.toml")));
        &EMBEDDED
    }

    fn from_toml(text: &str) -> Self {
        let File { format: rows } = toml::from_str(text).expect("the tests read the embedded table");
        let mut labels: Vec<String> = rows.iter().flat_map(|r| r.labels.iter().cloned()).collect();
        labels.sort();
        labels.dedup();
        Self {
            signs: Matcher::new(&rows, |r| &r.signs),
            delayed: Matcher::new(&rows, |r| &r.delayed),
            given_up: Matcher::new(&rows, |r| &r.given_up),
            labels,
            rows,
        }
    }

    /// The name of the program that wrote a mail, and the sentence or header that gives it away.
    pub fn recognise(&'static self, mail: &Mail<'_>, words: &str) -> Option<Finding<&'static str>> {
        let words = searched(words);
        if let Some((row, at)) = self.signs.topmost(&words) {
            return Some(finding(&self.rows[row].name, Self::SIGN, &words[at]));
        }
        self.rows.iter().find_map(|row| {
            let header = row.headers.iter().find(|h| has_header(mail, h))?;
            Some(finding(row.name.as_str(), "header", header))
        })
    }

    /// The place of a program's own sentence. A header alone makes no report: many of these programs send other
    /// mail, too.
    pub const SIGN: &str = "text part";

    /// The sentence which says that the program still tries; `None` where it has given up, too.
    pub fn says_delayed(&self, words: &str) -> Option<String> {
        let words = searched(words);
        let (_, at) = self.delayed.topmost(&words)?;
        self.given_up.topmost(&words).is_none().then(|| words[at].to_owned())
    }

    /// Whether the words say that the program has given up.
    pub fn says_given_up(&self, words: &str) -> bool {
        self.given_up.topmost(&searched(words)).is_some()
    }

    /// Whether a text ends with the label of a failed address. The text is lower case and without trailing
    /// blanks, brackets and colons.
    pub fn ends_with_label(&self, before: &str) -> bool {
        self.labels
            .iter()
            .any(|label| before.strip_suffix(label.as_str()).is_some_and(|rest| !rest.ends_with(char::is_alphanumeric)))
    }
}

/// The words in which sentences are looked for: without quoted lines (somebody's answer to a bounce quotes its
/// sentences), each run of white space one blank.
fn searched(words: &str) -> String {
    let words = text::clip(words, MOST_SEARCHED);
    let unquoted: Vec<&str> = words.lines().filter(|l| !l.trim_start().starts_with('>')).collect();
    unfold(&unquoted.join("\n"))
}

fn has_header(mail: &Mail<'_>, wanted: &str) -> bool {
    let (name, start) = wanted.split_once(": ").unwrap_or((wanted, ""));
    mail.header(name).is_some_and(|value| value.get(..start.len()).is_some_and(|v| v.eq_ignore_ascii_case(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        let formats = Formats::embedded();
        assert!(formats.rows.len() > 20);
        let mut names: Vec<&str> = formats.rows.iter().map(|r| r.name.as_str()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "a name stands twice");
        for row in &formats.rows {
            let sentences = [&row.signs, &row.delayed, &row.given_up, &row.labels];
            for sentence in sentences.into_iter().flatten() {
                assert_eq!(&unfold(sentence), sentence, "{}: blanks", row.name);
            }
            for label in &row.labels {
                let bare = label.to_lowercase();
                assert_eq!(&bare, label, "{}: labels are lower case", row.name);
                assert!(!label.ends_with([':', '<', '=', ' ']), "{}: {label:?} ends with what is trimmed", row.name);
            }
            assert!(!row._source.is_empty(), "{}: where is it known from?", row.name);
        }
    }

    #[test]
    fn a_quoted_bounce_is_not_recognised() {
        let formats = Formats::embedded();
        let mail = Mail::default();
        let words = "Hi. This is the\nqmail-send program at mx.example.org.";
        assert_eq!(formats.recognise(&mail, words).map(|k| k.value), Some("qmail"));
        assert_eq!(formats.recognise(&mail, &format!("What is this?\n> {}", words.replace('\n', "\n> "))), None);
    }
}
