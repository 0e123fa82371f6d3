//! The code table: from a code to the row that answers, and the text variants that change a row's answer.
//! Knows nothing of files, see `file`, and nothing of mails, of finding words and of what outranks what, see
//! classify.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;

use super::{Class, EnhancedStatusCode, Judgement, Reasons, ReplyCode, words};
use crate::tables::Example;

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

impl Key {
    /// The first digit of the codes that it stands for.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Digit(digit) | Self::Status { class: digit, .. } => digit,
            Self::Reply(code) => code.class_digit(),
        }
    }
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
pub struct CodeRow {
    /// What the row answers for.
    pub code: Key,
    /// The row's name in verdicts: `codes:5.1.1`, `codes:5.1.*`, `codes:5`, `codes:550`.
    pub rule: Arc<str>,
    /// What the row says.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Why class or fault deviate from what follows from the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
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
    /// The file that the row stands in.
    pub file: String,
    /// The line of its code.
    pub line: usize,
}

/// A row's answer when the reply carries certain words.
#[derive(Debug, Clone, Serialize)]
pub struct Variant {
    /// Names the variant: its code and a word, `550.user-unknown`.
    pub id: String,
    /// What names it in verdicts: `codes:550.user-unknown`.
    pub rule: String,
    /// Any of these phrases calls for this variant. Case and the width of white space do not matter.
    pub says: Vec<String>,
    /// What the variant says.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Why class or fault deviate from what follows from the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How much its word is worth.
    pub weight: Weight,
    /// What the code means with these words.
    pub description: String,
    /// What a person should do about it.
    pub advice: String,
    /// Replies on which the variant answers for its code.
    pub accepts: Vec<String>,
    /// Replies on which it does not.
    pub rejects: Vec<String>,
    /// The file that the variant stands in.
    pub file: String,
    /// The line of its id.
    pub line: usize,
}

/// All rows.
#[derive(Debug, Clone, Default)]
pub struct CodeTable {
    reasons: Reasons,
    rows: BTreeMap<Key, CodeRow>,
    examples: Vec<Example>,
}

impl CodeTable {
    pub(super) const fn new(reasons: Reasons, rows: BTreeMap<Key, CodeRow>, examples: Vec<Example>) -> Self {
        Self { reasons, rows, examples }
    }

    /// What the text variants say of themselves.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The worst class that a code with this first digit may lead to, whatever phrases say; `None` is no limit.
    #[must_use]
    pub fn at_most(&self, digit: u8) -> Option<Class> {
        self.rows.get(&Key::Digit(digit))?.at_most
    }

    /// The row that answers for an enhanced status code: its own, else x.y.*, else that of the digit.
    #[must_use]
    pub fn status_row(&self, code: EnhancedStatusCode) -> Option<&CodeRow> {
        let (class, subject) = (code.class_digit(), code.subject());
        [
            Key::Status { class, subject, detail: Some(code.detail()) },
            Key::Status { class, subject, detail: None },
            Key::Digit(class),
        ]
        .iter()
        .find_map(|key| self.rows.get(key))
    }

    /// The row that answers for a reply code, whatever the words beside it say: its own, else that of the digit.
    #[must_use]
    pub fn reply_row(&self, code: ReplyCode) -> Option<&CodeRow> {
        [Key::Reply(code), Key::Digit(code.class_digit())].iter().find_map(|key| self.rows.get(key))
    }

    /// What answers for the codes of a row: that row, else the next wider one.
    #[must_use]
    pub fn answer(&self, key: Key) -> Option<&CodeRow> {
        let wider = match key {
            Key::Status { class, subject, detail: Some(_) } => Key::Status { class, subject, detail: None },
            _ => Key::Digit(key.digit()),
        };
        [key, wider, Key::Digit(key.digit())].iter().find_map(|key| self.rows.get(key))
    }

    /// The text variant with this id, and the row that it belongs to.
    #[must_use]
    pub fn variant(&self, id: &str) -> Option<(&CodeRow, &Variant)> {
        self.rows().find_map(|row| Some((row, row.variants.iter().find(|variant| variant.id == id)?)))
    }

    /// What follows from each reason.
    #[must_use]
    pub const fn reasons(&self) -> &Reasons {
        &self.reasons
    }

    /// Every row: digits first, then reply codes, then enhanced status codes.
    pub fn rows(&self) -> impl Iterator<Item = &CodeRow> {
        self.rows.values()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codes::{Fault, Reason};

    fn status<'t>(table: &'t CodeTable, code: &str) -> &'t CodeRow {
        table.status_row(code.parse().unwrap()).unwrap_or_else(|| panic!("no row answers {code}"))
    }

    fn in_words(row: &CodeRow) -> String {
        let Judgement { class, reason, fault } = row.judgement;
        format!("{class} {reason} {fault}")
    }

    #[test]
    fn statuses_are_judged_from_the_specific_to_the_general() {
        let table = CodeTable::embedded();
        for (code, rule, judgement, weight) in [
            ("5.1.1", "codes:5.1.1", "hard user_unknown recipient", Weight::Specific),
            ("4.1.1", "codes:4.1.1", "soft user_unknown recipient", Weight::Specific),
            ("5.1.2", "codes:5.1.2", "hard bad_domain recipient", Weight::Specific),
            ("5.1.3", "codes:5.1.3", "hard bad_address recipient", Weight::Specific),
            ("5.1.6", "codes:5.1.6", "hard moved recipient", Weight::Specific),
            ("5.1.7", "codes:5.1.7", "soft sender_rejected sender", Weight::Specific),
            ("5.1.8", "codes:5.1.8", "soft sender_rejected sender", Weight::Specific),
            ("5.1.10", "codes:5.1.10", "hard bad_domain recipient", Weight::Specific),
            ("5.1.999", "codes:5.1.*", "soft undetermined recipient", Weight::Vague),
            ("5.2.1", "codes:5.2.1", "hard disabled recipient", Weight::Vague),
            ("4.2.1", "codes:4.2.1", "soft disabled recipient", Weight::Vague),
            ("5.2.2", "codes:5.2.2", "soft mailbox_full recipient", Weight::Specific),
            ("4.2.2", "codes:4.2.2", "soft mailbox_full recipient", Weight::Specific),
            ("5.2.3", "codes:5.2.3", "soft too_big content", Weight::Specific),
            ("5.3.4", "codes:5.3.4", "soft too_big content", Weight::Specific),
            ("5.4.1", "codes:5.4.1", "soft network network", Weight::Vague),
            ("5.4.7", "codes:5.4.7", "soft expired network", Weight::Vague),
            ("5.6.0", "codes:5.6.0", "soft content content", Weight::Vague),
            ("5.7.1", "codes:5.7.1", "soft policy sender", Weight::Vague),
            ("5.7.13", "codes:5.7.13", "hard disabled recipient", Weight::Specific),
            ("5.7.25", "codes:5.7.25", "soft auth sender", Weight::Specific),
            ("4.7.999", "codes:4.7.*", "soft deferred sender", Weight::Vague),
            ("5.0.0", "codes:5.0.0", "soft undetermined unknown", Weight::Vague),
            ("5.9.9", "codes:5", "soft undetermined unknown", Weight::Vague),
            ("2.1.5", "codes:2.1.5", "success delivered unknown", Weight::Specific),
            ("2.2.1", "codes:2", "success delivered unknown", Weight::Vague),
        ] {
            let answer = status(&table, code);
            assert_eq!((&*answer.rule, &*in_words(answer), answer.weight), (rule, judgement, weight), "{code}");
        }
    }

    #[test]
    fn codes_that_cover_many_things_are_vague() {
        let table = CodeTable::embedded();
        for code in ["5.0.0", "5.1.0", "5.2.0", "5.3.0", "5.4.0", "5.4.1", "5.5.0", "5.7.0", "5.7.1"] {
            assert_eq!(status(&table, code).weight, Weight::Vague, "{code}");
        }
        for code in ["550", "551", "552", "553", "554"] {
            let row = table.reply_row(code.parse().unwrap()).unwrap();
            assert_eq!(row.weight, Weight::Vague, "{code}");
        }
    }

    #[test]
    fn no_4_is_ever_hard() {
        let table = CodeTable::embedded();
        assert_eq!([2, 3, 4, 5].map(|digit| table.at_most(digit)), [None, None, Some(Class::Soft), None]);
        let hard = table.rows().filter(|row| row.judgement.class == Class::Hard);
        assert!(hard.map(|row| row.code.to_string()).all(|code| code.starts_with('5')));
    }

    /// Names of the rows and variants whose answer fits, in the table's order; a variant goes by its first phrase.
    fn rows_with(fits: impl Fn(Judgement) -> bool) -> Vec<String> {
        let table = CodeTable::embedded();
        let answers = table.rows().flat_map(|row| {
            let variants = row.variants.iter().map(|v| (format!("{} {}", row.code, v.says[0]), v.judgement));
            std::iter::once((row.code.to_string(), row.judgement)).chain(variants)
        });
        answers.filter(|(_, judgement)| fits(*judgement)).map(|(name, _)| name).collect()
    }

    /// A hard answer drops an address at once: a row that begins or ceases to give one has to be meant.
    #[test]
    fn only_these_rows_call_an_address_dead() {
        let expected = [
            "501 bad address syntax",
            "521 does not accept mail",
            "525",
            "550 user unknown",
            "550 mailbox unavailable",
            "551 user unknown",
            "551 user not local",
            "552 user unknown",
            "553 user unknown",
            "553 mailbox name not allowed",
            "554 user unknown",
            "556",
            "5.1.1",
            "5.1.2",
            "5.1.3",
            "5.1.6",
            "5.1.10",
            "5.2.1",
            "5.4.310",
            "5.7.13",
            "5.7.17",
            "5.7.18",
        ];
        assert_eq!(rows_with(|judgement| judgement.class == Class::Hard), expected);
    }

    /// Soft answers with this fault drop an address when they go on for long.
    #[test]
    fn only_these_rows_blame_the_recipient_for_now() {
        let expected = [
            "422 mailbox full",
            "450 user unknown",
            "450 mailbox full",
            "452 mailbox full",
            "550",
            "550 mailbox full",
            "551",
            "552",
            "552 mailbox full",
            "553",
            "4.1.*",
            "4.1.1",
            "4.1.3",
            "4.1.4",
            "4.1.6",
            "4.1.10",
            "4.2.*",
            "4.2.1",
            "4.2.2",
            "4.4.310",
            "4.7.13",
            "4.7.17",
            "4.7.18",
            "5.1.*",
            "5.1.0",
            "5.1.4",
            "5.2.*",
            "5.2.0",
            "5.2.2",
        ];
        let blames = |j: Judgement| j.class == Class::Soft && j.fault == Fault::Recipient;
        assert_eq!(rows_with(blames), expected);
    }

    #[test]
    fn a_hard_answer_blames_the_recipient_and_a_success_nobody() {
        assert!(rows_with(|j| j.class == Class::Hard && j.fault != Fault::Recipient).is_empty());
        assert!(rows_with(|j| (j.class == Class::Success) != (j.reason == Reason::Delivered)).is_empty());
    }

    /// IANA's registry of enhanced status codes, as last detail of each subject (RFC 5248 and those after it).
    #[test]
    fn every_registered_status_has_a_row_of_its_own() {
        let table = CodeTable::embedded();
        for (subject, last) in [(0, 0), (1, 10), (2, 4), (3, 6), (4, 7), (5, 6), (6, 10), (7, 30)] {
            for (class, detail) in [4, 5].into_iter().flat_map(|class| (0..=last).map(move |detail| (class, detail))) {
                let code = EnhancedStatusCode::new(class, subject, detail).unwrap();
                assert_eq!(status(&table, &code.to_string()).rule.as_ref(), format!("codes:{code}"));
            }
        }
    }

    /// RFC 5321 and its extensions, and the codes in use beside them.
    #[test]
    fn every_known_reply_has_a_row_of_its_own() {
        let table = CodeTable::embedded();
        let known = [200, 211, 214, 220, 221, 235, 334, 354, 520, 521, 530, 538, 571, 572];
        let ranges =
            [250..=253, 421..=422, 430..=430, 432..=432, 450..=456, 458..=459, 500..=504, 523..=525, 533..=535];
        for code in known.into_iter().chain(ranges.into_iter().flatten()).chain(550..=557) {
            let row = table.reply_row(ReplyCode::new(code).unwrap()).unwrap();
            assert_eq!(*row.rule, format!("codes:{code}"));
        }
    }

    /// Advice that tells to drop an address would contradict a soft judgement.
    #[test]
    fn what_is_soft_is_not_to_be_removed() {
        let table = CodeTable::embedded();
        for row in table.rows() {
            let variants = row.variants.iter().map(|v| (&v.judgement, &v.advice));
            for (judgement, advice) in std::iter::once((&row.judgement, &row.advice)).chain(variants) {
                let drops = advice.to_lowercase().contains("remove");
                assert!(judgement.class == Class::Hard || !drops, "{}: {} and \"{advice}\"", row.code, judgement.class);
            }
        }
    }

    proptest! {
        #[test]
        fn every_code_is_answered(
            class in prop::sample::select(vec![2u8, 4, 5]), subject in 0u16..1000, detail in 0u16..1000,
            code in 200u16..600
        ) {
            static TABLE: std::sync::LazyLock<CodeTable> = std::sync::LazyLock::new(CodeTable::embedded);
            prop_assert!(TABLE.status_row(EnhancedStatusCode::new(class, subject, detail).unwrap()).is_some());
            let code = ReplyCode::new(code).unwrap();
            prop_assert!(code.class_digit() == 3 || TABLE.reply_row(code).is_some());
        }
    }
}
