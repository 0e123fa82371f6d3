//! config/kinds.toml -> [`SIGNS`], compiled once: which words in which place of a mail speak for which kind.
//! Refuses to weigh them.

use std::{borrow::Cow, collections::HashMap, ops::Range, sync::LazyLock};

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use crate::{
    parse::{Vocabulary, passage::Passage},
    report::{Evidence, Location},
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

/// The mail's places; the heaviest sign of each counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
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

/// Where in its place the words must stand.
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

/// One row's judgement, without its words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sign {
    /// What it speaks for.
    pub speaks_for: For,
    /// How much it counts.
    pub weight: u32,
    /// Where in its place it must stand.
    pub at: At,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    enough: u32,
    returned_message: u32,
    enough_answered: u32,
    rather_than_failure: u32,
    reply_prefixes: Vec<String>,
    gave_up: Vec<String>,
    goes_on: Vec<String>,
    refused_by_receipt: Vec<String>,
    field: Vec<FieldRow>,
    sign: Vec<WordsRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldRow {
    names: Vec<String>,
    /// Any value when empty.
    #[serde(default)]
    values: Vec<String>,
    #[serde(rename = "for")]
    speaks_for: For,
    weight: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordsRow {
    #[serde(rename = "in")]
    place: WordsPlace,
    #[serde(rename = "for")]
    speaks_for: For,
    weight: u32,
    #[serde(default)]
    at: At,
    words: Vec<String>,
}

/// The places whose words are looked at.
#[derive(Clone, Copy, PartialEq, Deserialize)]
enum WordsPlace {
    From,
    Subject,
    #[serde(rename = "text")]
    Text,
}

/// The words of one place with their signs. Linear in the length of the text.
pub(super) struct Matcher {
    automaton: AhoCorasick,
    signs: Vec<Sign>,
}

impl Matcher {
    fn new<'r>(rows: impl Iterator<Item = &'r WordsRow>) -> Self {
        let mut signs = Vec::new();
        let mut words = Vec::new();
        for row in rows {
            let sign = Sign { speaks_for: row.speaks_for, weight: row.weight, at: row.at };
            for spelling in row.words.iter().flat_map(|word| spellings(word)) {
                signs.push(sign);
                words.push(spelling);
            }
        }
        Self { automaton: automaton(&words), signs }
    }

    /// Every sign in a normalised text and where it stands; [`At`] is the caller's to check.
    pub(super) fn find<'s>(&'s self, text: &'s str) -> impl Iterator<Item = (Sign, Range<usize>)> + 's {
        self.automaton.find_overlapping_iter(text).map(|m| (self.signs[m.pattern()], m.range()))
    }
}

/// The values that a field must have, and what it speaks for then.
pub(super) struct FieldSign {
    values: Vec<String>,
    /// The row's judgement.
    pub sign: Sign,
}

impl FieldSign {
    /// Whether the field's value (lower case) is one that the row asks for.
    pub(super) fn fits(&self, value: &str) -> bool {
        self.values.is_empty() || self.values.iter().any(|v| value.contains(v.as_str()))
    }
}

/// The compiled table.
pub(super) struct Signs {
    /// The least sum of weights that decides.
    pub enough: u32,
    /// The weight of a returned message for a report.
    pub returned_message: u32,
    /// The least sum that makes a mail a report where its subject has a reply prefix.
    pub enough_answered: u32,
    /// How many times the signs of a delay or a success count against those of a failure.
    pub rather_than_failure: u32,
    /// Prefixes of answered and forwarded subjects, without the colon.
    pub reply_prefixes: Vec<String>,
    /// Field name in lower case -> its rows.
    pub fields: HashMap<String, Vec<FieldSign>>,
    /// The words of From.
    pub from: Matcher,
    /// The words of Subject.
    pub subject: Matcher,
    /// The words of the text.
    pub text: Matcher,
    gave_up: AhoCorasick,
    goes_on: AhoCorasick,
    refused_by_receipt: AhoCorasick,
}

impl Signs {
    /// Whether a normalised text says that nothing more will be tried.
    pub(super) fn gave_up(&self, text: &str) -> bool {
        self.gave_up.is_match(text) && !self.goes_on.is_match(text)
    }

    /// Whether a normalised text of a receipt says that the message was refused.
    pub(super) fn refused_by_receipt(&self, text: &str) -> bool {
        self.refused_by_receipt.is_match(text)
    }
}

fn embedded() -> File {
    toml::from_str(include_str!("../../../config/kinds.toml")).expect("the embedded table is valid")
}

/// The words of the table.
pub(super) fn vocabulary() -> Vocabulary {
    let File { field, sign, gave_up, goes_on, reply_prefixes, .. } = embedded();
    let (senders, others): (Vec<_>, Vec<_>) = sign.into_iter().partition(|row| row.place == WordsPlace::From);
    let words = |rows: Vec<WordsRow>| rows.into_iter().flat_map(|row| row.words);
    let values = field.into_iter().flat_map(|row| row.values);
    let sentences = words(others).chain(values).chain(gave_up).chain(goes_on).chain(reply_prefixes);
    Vocabulary { sentences: sentences.collect(), senders: words(senders).collect() }
}

/// The table of this build.
pub(super) static SIGNS: LazyLock<Signs> = LazyLock::new(|| {
    let file = embedded();
    let words = |place| Matcher::new(file.sign.iter().filter(move |row| row.place == place));
    let (from, subject, text) = (words(WordsPlace::From), words(WordsPlace::Subject), words(WordsPlace::Text));
    let mut fields: HashMap<String, Vec<FieldSign>> = HashMap::new();
    for row in file.field {
        let sign = Sign { speaks_for: row.speaks_for, weight: row.weight, at: At::Anywhere };
        for name in &row.names {
            let of_name = fields.entry(name.to_ascii_lowercase()).or_default();
            of_name.push(FieldSign { values: row.values.clone(), sign });
        }
    }
    Signs {
        enough: file.enough,
        returned_message: file.returned_message,
        enough_answered: file.enough_answered,
        rather_than_failure: file.rather_than_failure,
        reply_prefixes: file.reply_prefixes,
        fields,
        from,
        subject,
        text,
        gave_up: automaton(&file.gave_up),
        goes_on: automaton(&file.goes_on),
        refused_by_receipt: automaton(&file.refused_by_receipt),
    }
});

fn automaton<W: AsRef<str>>(words: &[W]) -> AhoCorasick {
    AhoCorasick::new(words.iter().map(AsRef::as_ref)).expect("the embedded words are far fewer than 2^31")
}

/// A word as it stands, as ASCII keyboards write it in German, and as they write it elsewhere.
fn spellings(word: &str) -> Vec<String> {
    let mut spellings = vec![word.to_owned()];
    let umlauts = word.replace('ä', "ae").replace('ö', "oe").replace('ü', "ue").replace('ß', "ss");
    let bare: String = word.chars().map(without_accent).collect();
    for other in [umlauts, bare] {
        if !spellings.contains(&other) {
            spellings.push(other);
        }
    }
    spellings
}

fn without_accent(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ő' | 'ø' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ť' => 't',
        'ù' | 'ú' | 'û' | 'ü' | 'ů' | 'ű' => 'u',
        'ý' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ğ' => 'g',
        'ď' => 'd',
        _ => c,
    }
}

/// A text as the words of the table are written, and the way back to its lines.
#[derive(Default)]
pub(super) struct Normalised<'t> {
    /// Lower case, single blanks, plain apostrophes and punctuation; quoted lines left out.
    pub text: String,
    lines: Vec<(usize, Passage<'t>)>,
}

impl<'t> Normalised<'t> {
    /// One field or line.
    pub(super) fn of(text: Passage<'t>) -> Self {
        let mut normalised = Self::default();
        normalised.push_line(text);
        normalised
    }

    /// Adds the lines of a text, except quoted ones.
    pub(super) fn push(&mut self, text: Passage<'t>) {
        text.lines().filter(|line| !line.text.trim_start().starts_with('>')).for_each(|line| self.push_line(line));
    }

    fn push_line(&mut self, line: Passage<'t>) {
        let line = line.trimmed();
        if line.text.is_empty() {
            return;
        }
        self.lines.push((self.text.len(), line));
        for word in plain(line.text).split_whitespace() {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
    }

    /// The line in which the word at `offset` stands.
    pub(super) fn evidence(&self, offset: usize) -> Evidence {
        let next = self.lines.partition_point(|(start, _)| *start <= offset);
        let line = next.checked_sub(1).map(|i| self.lines[i].1).unwrap_or_default();
        line.excerpt(&Location::TextPart).evidence(0..line.text.len())
    }
}

/// Lower case and plain punctuation: ’ as ', full-width forms and no-break blanks as ASCII.
fn plain(line: &str) -> Cow<'_, str> {
    if line.is_ascii() {
        return Cow::Owned(line.to_ascii_lowercase());
    }
    let plain = |c: char| match c {
        '’' | '‘' | '`' | '´' => '\'',
        '\u{a0}' | '\u{202f}' | '\u{3000}' => ' ',
        '：' => ':',
        '（' => '(',
        '）' => ')',
        '‐' | '‑' | '–' => '-',
        _ => c,
    };
    Cow::Owned(line.chars().map(plain).collect::<String>().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_as_texts_are_normalised() {
        let file: File = toml::from_str(include_str!("../../../config/kinds.toml")).unwrap();
        let words = file.sign.iter().flat_map(|r| &r.words).chain(&file.gave_up).chain(&file.goes_on);
        let words = words.chain(&file.refused_by_receipt);
        let mut seen = 0;
        for word in words {
            assert_eq!(Normalised::of(word.as_str().into()).text, word.trim(), "never matches as it stands");
            seen += 1;
        }
        assert!(seen > 1000, "only {seen} words");
    }

    #[test]
    fn words_are_known_without_their_accents() {
        for subject in
            ["rückläufer", "ruecklaeufer", "rucklaufer", "não entregue", "nao entregue", "reponse automatique"]
        {
            assert!(SIGNS.subject.find(subject).count() > 0, "{subject}");
        }
    }

    #[test]
    fn quoted_lines_are_no_words_of_the_mail() {
        let mut words = Normalised::default();
        words.push("Was  heißt das?\n> Undelivered\n\nL’adresse".into());
        assert_eq!(words.text, "was heißt das? l'adresse");
        assert_eq!(words.evidence(words.text.find("adresse").unwrap()).words, "L’adresse");
    }
}
