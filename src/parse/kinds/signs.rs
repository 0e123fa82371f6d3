//! config/kinds.toml -> [`Signs`]: which words in which area of a mail speak for which kind. Refuses to weigh them.

use std::{
    cmp::Ordering,
    ops::Range,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use serde::Deserialize;
use toml::Spanned;

use super::prove;
use crate::{
    parse::{
        Vocabulary,
        passage::Passage,
        words::{Role, Words, can_be_found},
    },
    report::{Evidence, Location},
    tables::{self, IdleRow, Layer, OwnRow, Placed, TableError, TableFile},
    text::{Index, fold, fold_words},
};

/// What a sign speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum For {
    /// A delivery report of any kind.
    Report,
    /// A report that delivery failed.
    Bounce,
    /// A report that delivery is late.
    Delayed,
    /// A report that delivery succeeded.
    Delivered,
    /// An automatic answer.
    AutoReply,
    /// A complaint.
    Complaint,
    /// Something else that is known.
    NotBounce,
}

/// The mail's areas; the heaviest sign of each counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// The From field.
    From,
    /// The Return-Path field.
    ReturnPath,
    /// The Subject field.
    Subject,
    /// Every other field.
    Field,
    /// The text's first words.
    Text,
    /// The other parts.
    Parts,
}

impl Area {
    /// Whether it tells who sent the mail.
    pub(super) const fn is_header(self) -> bool {
        matches!(self, Self::From | Self::ReturnPath | Self::Field)
    }
}

/// Where in its area the words must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum At {
    /// Anywhere.
    #[default]
    Anywhere,
    /// At the start.
    Start,
    /// Nothing else beside them.
    Whole,
}

/// Who sends a mail with a sign. The last of these that a mail shows counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sender {
    /// Nothing tells.
    #[default]
    #[serde(skip)]
    Untold,
    /// A program of any kind.
    Program,
    /// Somebody at a mail program.
    Person,
    /// A mail server, about mail that was sent to it.
    Server,
    /// A help desk or a tracker, about what others wrote to it.
    Desk,
}

/// One row's judgement, without its words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sign {
    /// The row; `None` for what no row has.
    pub row: Option<usize>,
    /// What it speaks for.
    pub speaks_for: For,
    /// How much it counts.
    pub weight: u32,
    /// Where in its area it must stand.
    pub at: At,
    /// Who sends such a mail.
    pub sender: Sender,
    /// Whether a list or a bulk sender puts it on what goes to its members.
    pub to_members: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The lowest file must have it.
    scale: Option<Scale>,
    #[serde(default)]
    drop: Vec<Spanned<String>>,
    #[serde(default)]
    sign: Vec<SignRow>,
}

/// What weights are held against.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    /// The least sum of weights that decides.
    pub enough: u32,
    /// The weight of a returned message for a report.
    pub returned_message: u32,
    /// The least sum that makes a mail a report where its subject has a reply prefix.
    pub enough_answered: u32,
    /// The least sum that makes a mail a report where a person may have written it.
    pub enough_by_hand: u32,
    /// The least sum that makes a mail a report of whose header nothing but the subject speaks for one.
    pub enough_unsigned: u32,
    /// How many times the signs of a delay or a success count against those of a failure.
    pub rather_than_failure: u32,
}

/// Words, or a field, that speak for a kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignRow {
    pub id: Spanned<String>,
    replaces: Option<Spanned<String>>,
    #[serde(rename = "in")]
    pub area: RowArea,
    #[serde(default)]
    pub fields: Vec<String>,
    #[serde(rename = "for")]
    pub speaks_for: For,
    pub weight: u32,
    #[serde(default)]
    pub at: At,
    #[serde(default)]
    pub sender: Sender,
    /// Whether a list or a bulk sender puts it on what goes to its members.
    #[serde(default)]
    pub to_members: bool,
    /// What the format of such a mail is called.
    pub format: Option<String>,
    /// Who writes so: for the reader of the table.
    #[serde(rename = "source")]
    pub _source: Option<String>,
    #[serde(default)]
    pub says: Vec<String>,
    #[serde(default)]
    pub accepts: Vec<Spanned<String>>,
    #[serde(default)]
    pub rejects: Vec<Spanned<String>>,
    /// Rows beside which this one decides, and a lighter one would not.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests hold the row against it"))]
    pub decides_beside: Option<Vec<Spanned<String>>>,
    /// Rows beside which it does not decide, and a heavier one would.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests hold the row against it"))]
    pub yields_to: Option<Vec<Spanned<String>>>,
}

tables::named_row!(SignRow);

/// The areas that rows look at.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) enum RowArea {
    From,
    Subject,
    #[serde(rename = "text")]
    Text,
    #[serde(rename = "field")]
    Field,
}

/// The words of one area with their rows. Linear in the length of the text.
#[derive(Debug)]
pub(super) struct Matcher {
    /// The words, each with its row.
    words: Vec<(usize, String)>,
    /// Made by the first who asks: it takes as long as judging a dozen mails, and a reply asks for none.
    compiled: OnceLock<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    index: Index,
    /// The row of each pattern.
    rows: Vec<usize>,
}

impl Matcher {
    fn new(rows: &[Placed<SignRow>], area: RowArea) -> Self {
        let of_area = rows.iter().enumerate().filter(|(_, placed)| placed.row.area == area);
        let words = of_area.flat_map(|(n, placed)| placed.row.says.iter().map(move |word| (n, word.clone()))).collect();
        Self { words, compiled: OnceLock::new() }
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            let spelled =
                |(row, word): &(usize, String)| spellings(word).into_iter().map(|word| (*row, word)).collect();
            let (rows, words): (_, Vec<String>) = self.words.iter().flat_map::<Vec<_>, _>(spelled).unzip();
            Compiled { index: Index::new(words), rows }
        })
    }

    /// The rows whose words stand there, in the order in which these end, and where.
    fn find(&self, text: &str) -> impl Iterator<Item = (usize, Range<usize>)> {
        let Compiled { index, rows } = self.compiled();
        let mut found = Vec::new();
        index.find(text, |word, range| found.push((word, range)));
        found.sort_unstable_by_key(|(word, range)| (range.end, range.start, *word));
        found.into_iter().map(|(word, range)| (rows[word], range))
    }
}

/// The compiled table.
#[derive(Debug)]
pub(in crate::parse) struct Signs {
    /// What weights are held against.
    pub(super) scale: Scale,
    pub(super) rows: Vec<Placed<SignRow>>,
    /// The judgements of the rows.
    pub(super) signs: Vec<Sign>,
    /// `kinds:ID` of each row.
    rules: Vec<Arc<str>>,
    /// The rows of each field, in the order of [`by_name`].
    fields: Vec<(String, Vec<usize>)>,
    from: Matcher,
    subject: Matcher,
    text: Matcher,
}

impl Signs {
    /// Files of one's own, the strongest first, and the one that comes with the program.
    ///
    /// # Errors
    /// A file can't be read.
    pub(in crate::parse) fn files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
        TableFile::read_all(own, tables::embedded!("kinds"))
    }

    /// The rows of these files, the strongest first.
    ///
    /// # Errors
    /// Rows are refused.
    pub(in crate::parse) fn of_files(files: &[Arc<TableFile>], words: &Words) -> Result<Self, TableError> {
        let (mut scale, mut layers) = (None, Vec::new());
        for file in files {
            let File { scale: own, drop, sign } = file.parse()?;
            scale = scale.or(own);
            layers.push(Layer { file: Arc::clone(file), rows: sign, drop });
        }
        let signs = Self::of(tables::overlay(layers)?, scale.expect("the table that comes with the program has it"))?;
        // What comes with the program is proved by its tests.
        let own = (0..signs.rows.len()).filter(|row| signs.rows[*row].file.is_own());
        own.into_iter().try_for_each(|row| prove::by_examples(&signs, words, row))?;
        Ok(signs)
    }

    /// Rows of one's own without which each of their examples would weigh the same.
    pub(in crate::parse) fn idle_rows(files: &[Arc<TableFile>], words: &Words) -> Result<Vec<IdleRow>, TableError> {
        let mut own = Vec::new();
        for file in files.iter().filter(|file| file.is_own()) {
            let rows = file.parse::<File>()?.sign;
            own.extend(rows.into_iter().map(|row| OwnRow::new(file, &row.id.clone(), row)));
        }
        let load = |files: &[Arc<TableFile>]| Self::of_files(files, words);
        tables::idle_rows(files, load, own, |signs, row| {
            let examples = row.accepts.iter().chain(&row.rejects);
            examples.map(|line| prove::weighed(signs, words, line.get_ref())).collect::<Vec<_>>()
        })
    }

    fn of(rows: Vec<Placed<SignRow>>, scale: Scale) -> Result<Self, TableError> {
        let mut fields: Vec<(String, Vec<usize>)> = Vec::new();
        for (n, Placed { file, row }) in rows.iter().enumerate() {
            check(file, row)
                .map_err(|problem| file.refuse(&row.id.span(), &format!("`{}` {problem}", row.id.get_ref())))?;
            for name in &row.fields {
                match fields.binary_search_by(|(field, _)| by_name(field, name)) {
                    Ok(at) => fields[at].1.push(n),
                    Err(at) => fields.insert(at, (name.clone(), vec![n])),
                }
            }
        }
        let sign = |(n, Placed { row, .. }): (usize, &Placed<SignRow>)| Sign {
            row: Some(n),
            speaks_for: row.speaks_for,
            weight: row.weight,
            at: row.at,
            sender: row.sender,
            to_members: row.to_members,
        };
        Ok(Self {
            scale,
            signs: rows.iter().enumerate().map(sign).collect(),
            rules: rows.iter().map(|placed| format!("kinds:{}", placed.row.id.get_ref()).into()).collect(),
            fields,
            from: Matcher::new(&rows, RowArea::From),
            subject: Matcher::new(&rows, RowArea::Subject),
            text: Matcher::new(&rows, RowArea::Text),
            rows,
        })
    }

    /// `kinds:ID` of a row.
    pub(super) fn rule(&self, row: usize) -> Arc<str> {
        Arc::clone(&self.rules[row])
    }

    /// The format that a row names.
    pub(super) fn format(&self, row: usize) -> Option<Arc<str>> {
        self.rows[row].row.format.as_deref().map(Into::into)
    }

    /// The rows that speak of a field.
    pub(super) fn rows_of_field(&self, name: &str) -> &[usize] {
        let found = self.fields.binary_search_by(|(field, _)| by_name(field, name));
        found.map_or(&[], |at| &self.fields[at].1)
    }

    /// The signs of those rows in the field's value, which is in lower case.
    pub(super) fn of_field(&self, rows: &[usize], value: &str) -> impl Iterator<Item = Sign> {
        let fits = move |row: &&usize| {
            let says = &self.rows[**row].row.says;
            says.is_empty() || says.iter().any(|v| value.contains(v.as_str()))
        };
        rows.iter().filter(fits).map(|row| self.signs[*row])
    }

    /// Every sign in a normalised text of an area and where it stands; [`At`] is the caller's to check.
    pub(super) fn find(&self, area: RowArea, text: &str) -> impl Iterator<Item = (Sign, Range<usize>)> {
        let matcher = match area {
            RowArea::From => &self.from,
            RowArea::Subject => &self.subject,
            RowArea::Text | RowArea::Field => &self.text,
        };
        matcher.find(text).map(|(row, range)| (self.signs[row], range))
    }

    /// The words of the table.
    pub(in crate::parse) fn vocabulary(&self) -> Vocabulary {
        let rows = self.rows.iter().map(|placed| &placed.row);
        let (senders, others): (Vec<_>, Vec<_>) = rows.partition(|row| row.area == RowArea::From);
        let words = |rows: Vec<&SignRow>| rows.into_iter().flat_map(|row| row.says.iter().cloned()).collect();
        Vocabulary { sentences: words(others), senders: words(senders) }
    }
}

/// The order of field names (RFC 5322 §1.2.2: case does not matter); most differ in their length.
fn by_name(one: &str, other: &str) -> Ordering {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    let octets = || one.bytes().map(lower).cmp(other.bytes().map(lower));
    one.len().cmp(&other.len()).then_with(octets)
}

/// Nothing weighs more: one such sign outweighs all others of a mail together.
const HEAVIEST: u32 = 12;

/// What can never match, or proves nothing.
fn check(file: &TableFile, row: &SignRow) -> Result<(), String> {
    let of_field = row.area == RowArea::Field;
    if of_field == row.fields.is_empty() {
        return Err("needs `fields` where it is in = \"field\", and nowhere else".into());
    }
    if row.says.is_empty() && !of_field {
        return Err("has no words in `says` and can never be found".into());
    }
    if row.accepts.is_empty() && file.has_examples() {
        return Err("has no example in `accepts`".into());
    }
    if !(1..=HEAVIEST).contains(&row.weight) {
        return Err(format!("weighs {}; expected 1, a hint, to {HEAVIEST}, which nothing outweighs", row.weight));
    }
    can_be_found(&row.says)
}

/// A word without its accents, and as ASCII keyboards write it in German.
fn spellings(word: &str) -> Vec<String> {
    if !word.contains(['ä', 'ö', 'ü']) {
        return vec![fold_words(word)];
    }
    let umlauts = word.replace('ä', "ae").replace('ö', "oe").replace('ü', "ue");
    vec![fold_words(word), fold_words(&umlauts)]
}

/// A text as words are compared, and the way back to its lines.
#[derive(Default)]
pub(super) struct Normalised<'t> {
    /// Folded; quoted lines left out.
    pub text: String,
    lines: Vec<(usize, Passage<'t>)>,
}

/// In octets: of the name of a field.
const LONGEST_NAME: usize = 60;

impl<'t> Normalised<'t> {
    /// One field or line.
    pub(super) fn of(text: Passage<'t>) -> Self {
        let mut normalised = Self::default();
        normalised.push_line(text);
        normalised
    }

    /// Adds the lines of a text, except quoted ones and those that name another mail's subject.
    pub(super) fn push(&mut self, text: Passage<'t>, words: &Words) {
        let names_subject = |line: &str| {
            let name = line.split_once(':').map(|(name, _)| name.trim()).filter(|name| name.len() <= LONGEST_NAME);
            name.is_some_and(|name| words.have(Role::NamesSubject, &name.to_lowercase()))
        };
        self.text.reserve(text.text.len());
        let own = text.lines().filter(|line| !line.text.trim_start().starts_with('>') && !names_subject(line.text));
        own.for_each(|line| self.push_line(line));
    }

    fn push_line(&mut self, line: Passage<'t>) {
        let line = line.trimmed();
        if line.text.is_empty() {
            return;
        }
        self.lines.push((self.text.len(), line));
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(fold(line.text).as_str());
    }

    /// Takes words out that are somebody else's; nothing else moves.
    pub(super) fn blank(&mut self, words: &str) {
        if self.text.contains(words) {
            self.text = self.text.replace(words, &" ".repeat(words.len()));
        }
    }

    /// The line in which the word at `offset` stands.
    pub(super) fn evidence(&self, offset: usize) -> Evidence {
        let next = self.lines.partition_point(|(start, _)| *start <= offset);
        let line = next.checked_sub(1).map(|i| self.lines[i].1).unwrap_or_default();
        line.excerpt(&Location::TextPart).evidence(0..line.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_lines_are_no_words_of_the_mail() {
        let mut words = Normalised::default();
        let table = Words::embedded();
        words.push("Was  heißt das?\n> Undelivered\nBetreff: Undelivered\n\nL’adresse".into(), &table);
        assert_eq!(words.text, "was heisst das? l'adresse");
        assert_eq!(words.evidence(words.text.find("adresse").unwrap()).words, "L’adresse");
    }
}
