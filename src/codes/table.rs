//! The code table: from a code (and the words beside it) to the row that answers.
//! Knows nothing of files, see `table_file`, and nothing of mails and of what outranks what, see classify.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aho_corasick::AhoCorasick;
use serde::Serialize;

use super::{Class, EnhancedStatusCode, Judgement, ReplyCode, words};

words! {
    /// How much a row's word is worth against other evidence.
    Weight {
        /// The code covers many things (x.0.0, 5.7.1, bare 550): any fitting phrase beats it.
        Vague = "vague",
        /// The code means one thing (5.1.1, 5.2.2): only an unmistakable phrase beats it.
        Specific = "specific",
    }
}

/// What a row answers for. Sorts as the table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Every code that starts with this digit and has no closer row: `5`.
    Digit(u8),
    /// One reply code: `550`.
    Reply(ReplyCode),
    /// One enhanced status code, `5.1.1`; or, without detail, all of a subject that have no row of their own, `5.1.*`.
    Status {
        /// First number: 2, 4 or 5.
        class: u8,
        /// Second number.
        subject: u16,
        /// Third number.
        detail: Option<u16>,
    },
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digit(digit) => write!(f, "{digit}"),
            Self::Reply(code) => write!(f, "{code}"),
            Self::Status { class, subject, detail: Some(detail) } => write!(f, "{class}.{subject}.{detail}"),
            Self::Status { class, subject, detail: None } => write!(f, "{class}.{subject}.*"),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What the row answers for.
    pub code: Key,
    /// The row's name in verdicts: `codes:5.1.1`, `codes:5.1.*`, `codes:5`, `codes:550`.
    pub rule: Arc<str>,
    /// What the row says.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// How much its word is worth.
    pub weight: Weight,
    /// On a digit's row: the worst class that any code with this first digit may lead to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Class>,
    /// What the code means, in the words of its reference.
    pub description: String,
    /// What a person should do about it.
    pub advice: String,
    /// Where the meaning is laid down.
    pub reference: String,
    /// Texts that change the answer; the first from the top that fits is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    #[serde(skip)]
    pub(super) phrases: Option<Phrases>,
}

/// A row's answer when the reply carries certain words.
#[derive(Debug, Clone, Serialize)]
pub struct Variant {
    /// Any of these phrases calls for this variant. Case and the width of white space do not matter.
    pub any: Vec<String>,
    /// What the variant says.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// How much its word is worth.
    pub weight: Weight,
    /// What the code means with these words.
    pub description: String,
    /// What a person should do about it.
    pub advice: String,
}

/// A row's phrases, compiled: pattern n of the matcher is entry n.
#[derive(Debug, Clone)]
pub(super) struct Phrases {
    matcher: AhoCorasick,
    /// The place in [`Row::variants`], and the rule to name in verdicts.
    entries: Vec<(usize, Arc<str>)>,
}

impl Phrases {
    /// Compiles the folded phrases of all variants, the first variant's first. `None` where there are none.
    pub(super) fn compile(key: Key, variants: &[Variant]) -> Option<Self> {
        let phrases = || variants.iter().enumerate().flat_map(|(n, v)| v.any.iter().map(move |phrase| (n, phrase)));
        let entries: Vec<_> = phrases().map(|(n, phrase)| (n, format!("codes:{key} \"{phrase}\"").into())).collect();
        let matcher = AhoCorasick::new(phrases().map(|(_, phrase)| folded(phrase)))
            .expect("a table's phrases are far below the automaton's limits");
        (!entries.is_empty()).then_some(Self { matcher, entries })
    }

    fn first_in(&self, text: &str) -> Option<&(usize, Arc<str>)> {
        let first = self.matcher.find_overlapping_iter(&folded(text)).map(|found| found.pattern().as_usize()).min()?;
        self.entries.get(first)
    }
}

/// Lower case, each run of white space one blank: the form in which phrases and texts are compared.
pub(super) fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    out
}

/// The row that answers a look-up, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// E.g. `codes:5.1.1`, `codes:5.1.*`, `codes:5`, `codes:550`, `codes:550 "user unknown"`. Shared with the table.
    pub rule: Arc<str>,
    /// What it says.
    pub judgement: Judgement,
    /// How much its word is worth.
    pub weight: Weight,
    /// Whether the words beside the code decided (a text variant), and not the code alone.
    pub variant: bool,
}

/// All rows, compiled for look-up.
#[derive(Debug, Clone, Default)]
pub struct CodeTable {
    rows: BTreeMap<Key, Row>,
}

impl CodeTable {
    pub(super) const fn new(rows: BTreeMap<Key, Row>) -> Self {
        Self { rows }
    }

    /// Exact row, else x.y.*, else the class digit.
    #[must_use]
    pub fn status(&self, code: EnhancedStatusCode) -> Option<Answer> {
        self.status_row(code).map(plain)
    }

    /// The text variant of the row that fits `text`, else the row itself, else the class digit.
    #[must_use]
    pub fn reply(&self, code: ReplyCode, text: &str) -> Option<Answer> {
        let row = self.reply_row(code)?;
        let Some((n, rule)) = row.phrases.as_ref().and_then(|phrases| phrases.first_in(text)) else {
            return Some(plain(row));
        };
        let Variant { judgement, weight, .. } = row.variants[*n];
        Some(Answer { rule: Arc::clone(rule), judgement, weight, variant: true })
    }

    /// The worst class that a code with this first digit may lead to, whatever phrases say; `None` is no limit.
    #[must_use]
    pub fn at_most(&self, digit: u8) -> Option<Class> {
        self.rows.get(&Key::Digit(digit))?.at_most
    }

    /// The row that answers for an enhanced status code.
    #[must_use]
    pub fn status_row(&self, code: EnhancedStatusCode) -> Option<&Row> {
        let (class, subject) = (code.class_digit(), code.subject());
        [
            Key::Status { class, subject, detail: Some(code.detail()) },
            Key::Status { class, subject, detail: None },
            Key::Digit(class),
        ]
        .iter()
        .find_map(|key| self.rows.get(key))
    }

    /// The row that answers for a reply code.
    #[must_use]
    pub fn reply_row(&self, code: ReplyCode) -> Option<&Row> {
        [Key::Reply(code), Key::Digit(code.class_digit())].iter().find_map(|key| self.rows.get(key))
    }

    /// Every row: digits first, then reply codes, then enhanced status codes.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}

fn plain(row: &Row) -> Answer {
    Answer { rule: Arc::clone(&row.rule), judgement: row.judgement, weight: row.weight, variant: false }
}
