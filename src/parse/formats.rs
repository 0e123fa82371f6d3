//! config/formats.toml: what programs write in their bounces, as data -> [`Formats`]. A row names a program, the
//! source of its words, those words, and the first lines of a bounce that it writes; a new program is one row.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use aho_corasick::AhoCorasick;
use serde::Deserialize;
use toml::Spanned;

use super::mime::{Mail, joined, on_one_line};
use crate::tables::{self, IdleRow, Layer, OwnRow, Placed, TableError, TableFile};

/// A program's sentences stand near the top; below come transcripts and quoted mail.
const MOST_SEARCHED: usize = 8 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    drop: Vec<Spanned<String>>,
    #[serde(default)]
    format: Vec<FormatRow>,
}

/// One program that writes bounces.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatRow {
    /// The name of the format.
    id: Spanned<String>,
    replaces: Option<Spanned<String>>,
    /// Which program writes it, and where that is known from: for the reader of the table.
    #[serde(rename = "source")]
    _source: Option<String>,
    /// Sentences that only this program writes; blanks and line ends between the words don't matter.
    #[serde(default)]
    signs: Vec<String>,
    /// `Name: start of the value` of header fields that only this program writes.
    #[serde(default)]
    headers: Vec<String>,
    /// What stands directly before an address that failed.
    #[serde(default)]
    labels: Vec<String>,
    /// The first lines of such a bounce; lines that begin with `X-` are fields of its header.
    #[serde(default)]
    accepts: Vec<Spanned<String>>,
    /// First lines that look alike.
    #[serde(default)]
    rejects: Vec<Spanned<String>>,
}

tables::named_row!(FormatRow);

/// The table, compiled.
#[derive(Debug)]
pub(super) struct Formats {
    rows: Vec<Placed<FormatRow>>,
    names: Vec<Arc<str>>,
    /// The signs of all rows in one matcher, made by the first who asks: a reply asks for none.
    matcher: OnceLock<AhoCorasick>,
    /// The row of each sign.
    row_of: Vec<usize>,
    /// In the order of the rows.
    headers: Vec<RowHeader>,
    labels: Vec<String>,
}

/// A header field by which a row knows a program.
#[derive(Debug)]
struct RowHeader {
    row: usize,
    /// As the row has it.
    line: String,
    name: String,
    /// With what its value begins.
    start: String,
}

impl RowHeader {
    fn new(row: usize, line: &str) -> Self {
        let (name, start) = line.split_once(": ").unwrap_or((line, ""));
        Self { row, line: line.to_owned(), name: name.to_owned(), start: start.to_owned() }
    }
}

impl Formats {
    /// Files of one's own, the strongest first, and the one that comes with the program.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
        TableFile::read_all(own, tables::embedded!("formats"))
    }

    /// The rows of these files, the strongest first.
    ///
    /// # Errors
    /// Rows are refused.
    pub fn of_files(files: &[Arc<TableFile>]) -> Result<Self, TableError> {
        let layers = files.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
        let formats = Self::of(tables::overlay(layers)?)?;
        // What comes with the program is proved by its tests.
        let own = formats.rows.iter().filter(|placed| placed.file.is_own());
        own.into_iter().try_for_each(|placed| formats.prove(placed))?;
        Ok(formats)
    }

    /// Rows of one's own without which each of their examples would have the same name and each of their labels would
    /// be known all the same.
    pub fn idle_rows(files: &[Arc<TableFile>]) -> Result<Vec<IdleRow>, TableError> {
        let mut own = Vec::new();
        for file in files.iter().filter(|file| file.is_own()) {
            let rows = file.parse::<File>()?.format;
            own.extend(rows.into_iter().map(|row| OwnRow::new(file, &row.id.clone(), row)));
        }
        tables::idle_rows(files, Self::of_files, own, |formats, row| {
            let examples = row.accepts.iter().chain(&row.rejects);
            let named = examples.map(|text| formats.found_in(text.get_ref()).map(str::to_owned)).collect::<Vec<_>>();
            (named, row.labels.iter().map(|label| formats.ends_with_label(label)).collect::<Vec<_>>())
        })
    }

    fn of(rows: Vec<Placed<FormatRow>>) -> Result<Self, TableError> {
        for Placed { file, row } in &rows {
            check(file, row)
                .map_err(|problem| file.refuse(&row.id.span(), &format!("`{}` {problem}", row.id.get_ref())))?;
        }
        let mut labels: Vec<String> = rows.iter().flat_map(|placed| placed.row.labels.iter().cloned()).collect();
        labels.sort();
        labels.dedup();
        let numbered = rows.iter().enumerate();
        let row_of = numbered.clone().flat_map(|(row, placed)| placed.row.signs.iter().map(move |_| row)).collect();
        let headers = numbered.flat_map(|(row, placed)| placed.row.headers.iter().map(move |h| RowHeader::new(row, h)));
        let headers = headers.collect();
        let names = rows.iter().map(|placed| placed.row.id.get_ref().as_str().into()).collect();
        Ok(Self { matcher: OnceLock::new(), row_of, headers, labels, names, rows })
    }

    /// What the table looks for.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        let rows = self.rows.iter().map(|placed| &placed.row);
        rows.flat_map(|r| r.signs.iter().chain(&r.headers).chain(&r.labels)).map(String::as_str)
    }

    /// The name of the program that wrote a mail: the topmost row that has a sign or a header in it.
    pub fn recognise(&self, mail: &Mail<'_>, words: &str) -> Option<Arc<str>> {
        let in_mail =
            |wanted: &RowHeader| mail.header(&wanted.name).is_some_and(|value| begins_with(value, &wanted.start));
        self.find(words, in_mail).map(|row| Arc::clone(&self.names[row]))
    }

    fn matcher(&self) -> &AhoCorasick {
        self.matcher.get_or_init(|| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(self.rows.iter().flat_map(|placed| &placed.row.signs))
                .expect("a few hundred sentences are far fewer than 2^31")
        })
    }

    fn find(&self, words: &str, has_header: impl Fn(&RowHeader) -> bool) -> Option<usize> {
        let words = searched(words);
        let signs = self.matcher().find_overlapping_iter(&words).map(|m| self.row_of[m.pattern().as_usize()]);
        signs.min().or_else(|| self.headers.iter().find(|header| has_header(header)).map(|header| header.row))
    }

    /// The name of the row that is found in an example.
    fn found_in(&self, example: &str) -> Option<&str> {
        let (fields, words) = header_and_words(example);
        let found = self.find(words, |wanted| fields.iter().any(|field| begins_with(field, &wanted.line)));
        found.map(|row| self.rows[row].row.id.get_ref().as_str())
    }

    /// Whether a text ends with the label of a failed address. The text is lower case and without trailing
    /// blanks, brackets and colons.
    pub fn ends_with_label(&self, before: &str) -> bool {
        self.labels.iter().any(|label| ends_with(before, label))
    }

    /// The row is found on each text that it accepts and on none that it rejects.
    fn prove(&self, placed: &Placed<FormatRow>) -> Result<(), TableError> {
        let Placed { file, row } = placed;
        let id = row.id.get_ref();
        for (examples, accepted) in [(&row.accepts, true), (&row.rejects, false)] {
            for example in examples {
                let found = self.found_in(example.get_ref()).unwrap_or("none");
                if (found == id) != accepted {
                    let verb = if accepted { "accepts" } else { "rejects" };
                    let problem = format!("`{id}` {verb} {:?}, but `{found}` is found", example.get_ref());
                    return Err(file.refuse(&example.span(), &problem));
                }
            }
        }
        Ok(())
    }
}

fn layer(file: &Arc<TableFile>) -> Result<Layer<FormatRow>, TableError> {
    let File { drop, format } = file.parse()?;
    Ok(Layer { file: Arc::clone(file), rows: format, drop })
}

/// What can never match, or proves nothing.
fn check(file: &TableFile, row: &FormatRow) -> Result<(), String> {
    if row.signs.is_empty() && row.headers.is_empty() && row.labels.is_empty() {
        return Err("has neither signs nor headers nor labels".into());
    }
    if row.accepts.is_empty() && file.has_examples() {
        return Err("has no example in `accepts`".into());
    }
    if let Some(words) =
        row.signs.iter().chain(&row.labels).find(|words| on_one_line(words) != **words || words.is_empty())
    {
        return Err(format!("can never find {words:?}: between words stands one blank, and none at the ends"));
    }
    let bare = |label: &&String| label.to_lowercase() == **label && !label.ends_with([':', '<', '=', '(', '"', '\'']);
    match row.labels.iter().find(|label| !bare(label)) {
        Some(label) => Err(format!("can never find {label:?}: labels are lower case, without what stands behind them")),
        None => Ok(()),
    }
}

/// Scripts without letter case put no blanks between words: a label may end a sentence.
fn ends_with(before: &str, label: &str) -> bool {
    let unspaced = |c: char| c.is_alphabetic() && !c.is_lowercase() && !c.is_uppercase();
    before.strip_suffix(label).is_some_and(|rest| !rest.ends_with(char::is_alphanumeric) || label.starts_with(unspaced))
}

/// The words in which sentences are looked for: without quoted lines (somebody's answer to a bounce quotes its
/// sentences), each run of white space one blank.
fn searched(words: &str) -> String {
    let words = &words[..words.floor_char_boundary(MOST_SEARCHED)];
    let unquoted = words.lines().filter(|l| !l.trim_start().starts_with('>'));
    joined(unquoted.flat_map(str::split_ascii_whitespace), words.len())
}

fn begins_with(value: &str, start: &str) -> bool {
    value.get(..start.len()).is_some_and(|v| v.eq_ignore_ascii_case(start))
}

/// The fields of an example's header, and its words.
fn header_and_words(example: &str) -> (Vec<&str>, &str) {
    let fields: Vec<&str> = example.lines().take_while(|line| line.starts_with("X-")).collect();
    let words = if fields.is_empty() { example } else { example.split_once("\n\n").map_or("", |(_, words)| words) };
    (fields, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::words::Words;
    use crate::text::addresses;

    #[test]
    fn every_row_is_found_by_its_examples_and_needed_for_them() {
        let formats = Formats::of_files(&Formats::files(&[]).unwrap()).unwrap();
        // One more or one less: change the number, and say in the changelog what is recognised.
        assert_eq!(formats.rows.len(), 48);
        let mut wrong = Vec::new();
        for (n, placed) in formats.rows.iter().enumerate() {
            wrong.extend(formats.prove(placed).err().map(|error| error.to_string()));
            let row = &placed.row;
            let id = row.id.get_ref();
            assert!(row._source.as_ref().is_some_and(|s| !s.is_empty()), "{id}: where is it known from?");
            let fields = row.accepts.iter().flat_map(|e| header_and_words(e.get_ref()).0);
            let shown = fields.filter(|field| row.headers.iter().any(|h| begins_with(field, h))).count();
            if !row.headers.is_empty() && shown == 0 {
                wrong.push(format!("{id}: no example has one of its headers"));
            }
            if !row.labels.is_empty() {
                let before: Vec<String> = row.accepts.iter().flat_map(|e| before_addresses(e.get_ref())).collect();
                let labelled = |before: &&String| row.labels.iter().any(|label| ends_with(before, label));
                let needed = before.iter().filter(labelled).any(|before| {
                    let others = formats.rows.iter().enumerate().filter(|(m, _)| *m != n);
                    !others.flat_map(|(_, other)| &other.row.labels).any(|label| ends_with(before, label))
                });
                if !needed {
                    wrong.push(format!("{id}: no example has one of its labels before an address"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What stands in a line before an address, or in the line above an address that begins its line.
    fn before_addresses(text: &str) -> Vec<String> {
        let bare = |before: &str| before.trim_end_matches(|c: char| !c.is_alphanumeric() && c != ')').to_lowercase();
        let mut above = String::new();
        let mut before = Vec::new();
        for line in text.lines() {
            if let Some((range, _)) = addresses(line).next() {
                let start = bare(&line[..range.start]);
                before.push(if start.is_empty() { above.clone() } else { start });
            }
            above = bare(line);
        }
        before
    }

    #[test]
    fn a_row_above_is_found_before_those_whose_sentences_it_borrows() {
        let formats = Formats::of_files(&Formats::files(&[]).unwrap()).unwrap();
        let exim = "This message was created automatically by mail delivery software.";
        let found = |words: &str| formats.find(words, |_| false).map(|row| formats.rows[row].row.id.get_ref().as_str());
        assert_eq!(found(exim), Some("exim"));
        assert_eq!(found(&format!("{exim}\n\nbob@example.com, ERROR CODE :550 - no")), Some("zoho"));
    }

    #[test]
    fn rows_of_ones_own_stand_first_and_must_prove_themselves() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("mine.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Formats::of_files(&Formats::files(std::slice::from_ref(&path)).unwrap()).map_err(|e| e.to_string())
        };
        let own = "[[format]]\nid = 'mine'\nsigns = ['this is the qmail-send program at mine']\n";
        let formats = load(&format!("{own}accepts = ['Hi. This is the qmail-send program at mine.']")).unwrap();
        let table = Words::embedded();
        let recognise = |words| formats.recognise(&Mail::empty(&table), words);
        assert_eq!(recognise("This is the qmail-send program at mine.").as_deref(), Some("mine"));
        assert_eq!(recognise("This is the qmail-send program at yours.").as_deref(), Some("qmail"));
        for (text, problem) in [
            (format!("{own}accepts = ['Hi.']"), "mine.toml:4: `mine` accepts \"Hi.\", but `none` is found"),
            (format!("{own}accepts = []"), "mine.toml:2: `mine` has no example in `accepts`"),
            ("drop = ['qmial']".into(), "mine.toml:1: there is no row `qmial` to drop"),
            (
                "[[format]]\nid = 'a'\nsigns = ['two  blanks']\naccepts = ['x']".into(),
                "mine.toml:2: `a` can never find",
            ),
            ("[[format]]\nid = 'a'\naccepts = ['x']".into(), "mine.toml:2: `a` has neither signs nor headers"),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let without = load("drop = ['qmail']").unwrap();
        assert_eq!(without.recognise(&Mail::empty(&table), "This is the qmail-send program."), None);
    }

    #[test]
    fn a_quoted_bounce_is_not_recognised() {
        let formats = Formats::of_files(&Formats::files(&[]).unwrap()).unwrap();
        let words = Words::embedded();
        let mail = Mail::empty(&words);
        let said = "Hi. This is the\nqmail-send program at mx.example.org.";
        assert_eq!(formats.recognise(&mail, said).as_deref(), Some("qmail"));
        assert_eq!(formats.recognise(&mail, &format!("What is this?\n> {}", said.replace('\n', "\n> "))), None);
    }
}
