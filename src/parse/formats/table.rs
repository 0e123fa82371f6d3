//! config/formats.toml: what programs write in their bounces, as data -> [`Formats`]. A row names a program, the
//! source of its words, and those words; a new program is one row.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use crate::parse::{
    mime::{Mail, unfold},
    text,
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
}

/// The table, compiled.
pub(in crate::parse) struct Formats {
    rows: Vec<Row>,
    /// The signs of all rows in one matcher, and the row of each.
    signs: AhoCorasick,
    row_of: Vec<usize>,
    labels: Vec<String>,
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
        let signs: Vec<(usize, &String)> =
            rows.iter().enumerate().flat_map(|(i, row)| row.signs.iter().map(move |s| (i, s))).collect();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(signs.iter().map(|(_, sign)| sign))
            .expect("the tests compile the embedded table");
        let row_of = signs.iter().map(|(row, _)| *row).collect();
        Self { signs: automaton, row_of, labels, rows }
    }

    /// What the table looks for.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|r| r.signs.iter().chain(&r.headers).chain(&r.labels)).map(String::as_str)
    }

    /// The name of the program that wrote a mail: the topmost row that has a sign or a header in it.
    pub fn recognise(&self, mail: &Mail<'_>, words: &str) -> Option<&str> {
        let words = searched(words);
        let signs = self.signs.find_overlapping_iter(&words).map(|m| self.row_of[m.pattern().as_usize()]);
        let row =
            signs.min().or_else(|| self.rows.iter().position(|row| row.headers.iter().any(|h| has_header(mail, h))))?;
        Some(&self.rows[row].name)
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
            let sentences = [&row.signs, &row.labels];
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
        assert_eq!(formats.recognise(&mail, words), Some("qmail"));
        assert_eq!(formats.recognise(&mail, &format!("What is this?\n> {}", words.replace('\n', "\n> "))), None);
    }
}
