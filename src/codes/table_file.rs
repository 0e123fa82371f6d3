//! A table's file (TOML) -> [`CodeTable`]. Whatever could hide a slip of the pen is refused with file and line:
//! unknown keys and words, duplicates, rows and phrases that can never answer.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use serde::Deserialize;
use toml::Spanned;

use super::{
    Class, CodeTable, Deviation, EnhancedStatusCode, Fault, Judgement, Meaning, Reason, Reasons, ReplyCode, Row,
    Weight,
    table::{Key, Phrases, Variant, folded},
};

/// Where the default table lies in the source tree; names it in errors.
const EMBEDDED: (&str, &str) = ("config/codes.toml", include_str!("../../config/codes.toml"));

/// Shorter phrases would fit almost any text.
const SHORTEST_PHRASE: usize = 4;

/// Why a table was refused, in one line: file, line, what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TableError(pub String);

impl CodeTable {
    /// The table that comes with the program: config/codes.toml.
    #[must_use]
    pub fn embedded() -> Self {
        Self::from_toml(EMBEDDED.1, EMBEDDED.0).expect("the tests read the embedded table")
    }

    /// Reads a table from a file.
    ///
    /// # Errors
    /// The file can't be read, or the table in it is refused.
    pub fn load(path: &Path) -> Result<Self, TableError> {
        let text = fs::read_to_string(path)
            .map_err(|err| TableError(format!("{}: can't read the code table: {err}", path.display())))?;
        Self::from_toml(&text, &path.display().to_string())
    }

    /// Reads a table from TOML text; `file` names it in errors.
    ///
    /// # Errors
    /// The text is no table, or a row can't be meant as it is written.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, TableError> {
        Reader { text, file, reasons: Reasons::default(), rows: BTreeMap::new() }.read()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    reason: BTreeMap<Reason, Meaning>,
    digit: Vec<DigitSpec>,
    #[serde(default)]
    reply: Vec<ReplySpec>,
    #[serde(default)]
    status: Vec<StatusSpec>,
}

/// `[[digit]]`: what is left to say where only the first digit is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DigitSpec {
    code: Spanned<u8>,
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    #[serde(default = "specific")]
    weight: Weight,
    at_most: Option<Class>,
    description: String,
    advice: Option<String>,
    reference: String,
}

/// `[[reply]]`: a reply code and its text variants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplySpec {
    code: Spanned<u16>,
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    #[serde(default = "specific")]
    weight: Weight,
    description: String,
    advice: Option<String>,
    reference: String,
    #[serde(default)]
    variant: Vec<VariantSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantSpec {
    id: Spanned<String>,
    says: Vec<Spanned<String>>,
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    #[serde(default = "specific")]
    weight: Weight,
    description: Option<String>,
    advice: Option<String>,
}

/// `[[status]]`: an enhanced status code `x.y.z` or `x.y.*` with an outcome for each class digit that has a meaning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusSpec {
    code: Spanned<String>,
    #[serde(rename = "2")]
    success: Option<OutcomeSpec>,
    #[serde(rename = "4")]
    transient: Option<OutcomeSpec>,
    #[serde(rename = "5")]
    permanent: Option<OutcomeSpec>,
    #[serde(default = "specific")]
    weight: Weight,
    description: String,
    advice: Option<String>,
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeSpec {
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    weight: Option<Weight>,
    advice: Option<String>,
}

const fn specific() -> Weight {
    Weight::Specific
}

/// A file on its way to a table.
struct Reader<'a> {
    text: &'a str,
    file: &'a str,
    reasons: Reasons,
    /// Each row with the place of its code.
    rows: BTreeMap<Key, (Row, Range<usize>)>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<CodeTable, TableError> {
        let file: File = toml::from_str(self.text)
            .map_err(|err| self.refuse(&err.span().unwrap_or_default(), err.message().trim_end()))?;
        self.reasons = Reasons::new(file.reason).map_err(|missing| {
            self.refuse(
                &(0..0),
                &format!("there is no [reason.{missing}]: each reason needs its class, fault and advice"),
            )
        })?;
        // The digits first: the rows are held against their limits.
        file.digit.into_iter().try_for_each(|spec| self.digit(spec))?;
        file.reply.into_iter().try_for_each(|spec| self.reply(spec))?;
        file.status.into_iter().try_for_each(|spec| self.status(spec))?;
        if let Some(digit) = [2, 4, 5].into_iter().find(|digit| !self.rows.contains_key(&Key::Digit(*digit))) {
            return Err(self.refuse(
                &(0..0),
                &format!("no [[digit]] row for {digit}: 2, 4 and 5 each need one, for codes that have no row"),
            ));
        }
        let rows = self.rows.into_iter().map(|(key, (row, _))| (key, row)).collect();
        Ok(CodeTable::new(self.reasons, rows))
    }

    fn digit(&mut self, spec: DigitSpec) -> Result<(), TableError> {
        let place = spec.code.span();
        let digit = spec.code.into_inner();
        if !(2..=5).contains(&digit) {
            return Err(self.refuse(&place, &format!("`{digit}` is no first digit of a code; expected 2, 3, 4 or 5")));
        }
        let judgement = self.judgement(spec.at_most, &spec.reason, spec.class, spec.fault, spec.because.as_deref())?;
        let advice = self.advice(judgement, spec.advice);
        let row = Row {
            at_most: spec.at_most,
            ..row(Key::Digit(digit), judgement, spec.weight, spec.description, advice, spec.reference)
        };
        self.add(row, place)
    }

    fn reply(&mut self, spec: ReplySpec) -> Result<(), TableError> {
        let place = spec.code.span();
        let Some(code) = ReplyCode::new(*spec.code.get_ref()) else {
            let problem = format!("`{}` is no reply code; expected 200 to 599", spec.code.get_ref());
            return Err(self.refuse(&place, &problem));
        };
        let limit = self.limit(code.class_digit());
        let judgement = self.judgement(limit, &spec.reason, spec.class, spec.fault, spec.because.as_deref())?;
        let advice = self.advice(judgement, spec.advice);
        self.reachable(&spec.variant)?;
        let key = Key::Reply(code);
        let variants = spec
            .variant
            .into_iter()
            .map(|v| {
                let judgement = self.judgement(limit, &v.reason, v.class, v.fault, v.because.as_deref())?;
                Ok(Variant {
                    id: v.id.into_inner(),
                    judgement,
                    weight: v.weight,
                    description: v.description.unwrap_or_else(|| spec.description.clone()),
                    advice: self.advice(judgement, v.advice),
                    says: v.says.into_iter().map(Spanned::into_inner).collect(),
                })
            })
            .collect::<Result<Vec<_>, TableError>>()?;
        let row = Row {
            phrases: Phrases::compile(key, &variants),
            variants,
            ..row(key, judgement, spec.weight, spec.description, advice, spec.reference)
        };
        self.add(row, place)
    }

    fn status(&mut self, spec: StatusSpec) -> Result<(), TableError> {
        let place = spec.code.span();
        let Some((subject, detail)) = subject_and_detail(spec.code.get_ref()) else {
            let problem =
                format!("`{}` is no status; expected \"x.SUBJECT.DETAIL\" or \"x.SUBJECT.*\"", spec.code.get_ref());
            return Err(self.refuse(&place, &problem));
        };
        let outcomes = [(2, spec.success), (4, spec.transient), (5, spec.permanent)];
        if outcomes.iter().all(|(_, outcome)| outcome.is_none()) {
            let problem = format!("{} says nothing; expected an outcome for 2, 4 or 5", spec.code.get_ref());
            return Err(self.refuse(&place, &problem));
        }
        for (class, outcome) in outcomes.into_iter().filter_map(|(class, outcome)| Some((class, outcome?))) {
            let limit = self.limit(class);
            let because = outcome.because.as_deref();
            let judgement = self.judgement(limit, &outcome.reason, outcome.class, outcome.fault, because)?;
            let row = row(
                Key::Status { class, subject, detail },
                judgement,
                outcome.weight.unwrap_or(spec.weight),
                spec.description.clone(),
                self.advice(judgement, outcome.advice.or_else(|| spec.advice.clone())),
                spec.reference.clone(),
            );
            self.add(row, place.clone())?;
        }
        Ok(())
    }

    fn add(&mut self, row: Row, place: Range<usize>) -> Result<(), TableError> {
        if let Some((_, first)) = self.rows.get(&row.code) {
            let problem = format!("{} has a row already, in line {}", row.code, self.line(first));
            return Err(self.refuse(&place, &problem));
        }
        self.rows.insert(row.code, (row, place));
        Ok(())
    }

    fn judgement(
        &self,
        limit: Option<Class>,
        reason: &Spanned<Reason>,
        class: Option<Class>,
        fault: Option<Fault>,
        because: Option<&str>,
    ) -> Result<Judgement, TableError> {
        if let (Some(class), Some(limit)) = (class, limit)
            // Class sorts from the worst to the best.
            && class < limit
        {
            let problem = format!("class `{class}` can't be reached: codes with this digit have at_most = \"{limit}\"");
            return Err(self.refuse(&reason.span(), &problem));
        }
        let own = Deviation { class, fault, because };
        self.reasons.judgement(*reason.get_ref(), limit, &own).map_err(|problem| self.refuse(&reason.span(), &problem))
    }

    /// The worst class that the digit's row allows.
    fn limit(&self, digit: u8) -> Option<Class> {
        self.rows.get(&Key::Digit(digit))?.0.at_most
    }

    fn advice(&self, judgement: Judgement, own: Option<String>) -> String {
        own.unwrap_or_else(|| self.reasons.advice(judgement, None).to_owned())
    }

    /// Refuses a phrase that holds another one which answers first: it could never decide.
    fn reachable(&self, variants: &[VariantSpec]) -> Result<(), TableError> {
        let mut earlier: Vec<(usize, &Spanned<String>, String)> = Vec::new();
        for (n, variant) in variants.iter().enumerate() {
            if variant.says.is_empty() {
                return Err(self.refuse(
                    &variant.id.span(),
                    "a variant without phrases can never answer; expected says = [\"…\"]",
                ));
            }
            for phrase in &variant.says {
                let own = folded(phrase.get_ref());
                if own.len() < SHORTEST_PHRASE {
                    let problem =
                        format!("the phrase {own:?} would fit anything; expected {SHORTEST_PHRASE} letters or more");
                    return Err(self.refuse(&phrase.span(), &problem));
                }
                // Within a variant the order of the phrases does not matter: the longer one is idle either way.
                let idle = earlier.iter().find_map(|(m, other, text)| {
                    if own.contains(text) {
                        Some((phrase, *other))
                    } else if *m == n && text.contains(&own) {
                        Some((*other, phrase))
                    } else {
                        None
                    }
                });
                if let Some((idle, first)) = idle {
                    let problem = format!(
                        "the phrase {:?} can never decide: {:?} in line {} answers first",
                        idle.get_ref(),
                        first.get_ref(),
                        self.line(&first.span())
                    );
                    return Err(self.refuse(&idle.span(), &problem));
                }
                earlier.push((n, phrase, own));
            }
        }
        Ok(())
    }

    fn line(&self, place: &Range<usize>) -> usize {
        1 + self.text.bytes().take(place.start).filter(|b| *b == b'\n').count()
    }

    fn refuse(&self, place: &Range<usize>, problem: &str) -> TableError {
        TableError(format!("{}:{}: {}", self.file, self.line(place), problem.replace('\n', "; ")))
    }
}

fn row(code: Key, judgement: Judgement, weight: Weight, description: String, advice: String, reference: String) -> Row {
    Row {
        code,
        rule: format!("codes:{code}").into(),
        judgement,
        weight,
        at_most: None,
        description,
        advice,
        reference,
        variants: Vec::new(),
        phrases: None,
    }
}

/// `x.1.10` -> 1, 10; `x.1.*` -> 1, any.
fn subject_and_detail(code: &str) -> Option<(u16, Option<u16>)> {
    let rest = code.strip_prefix("x.")?;
    let (subject, detail) = rest.split_once('.')?;
    let wild = detail == "*";
    let probe: EnhancedStatusCode = format!("5.{subject}.{}", if wild { "0" } else { detail }).parse().ok()?;
    Some((probe.subject(), (!wild).then(|| probe.detail())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = r#"
[[digit]]
code = 2
reason = "delivered"
description = "Success"
advice = "None."
reference = "RFC 3463"

[[digit]]
code = 4
reason = "deferred"
at_most = "soft"
description = "Transient"
advice = "Wait."
reference = "RFC 3463"

[[digit]]
code = 5
reason = "undetermined"
description = "Permanent"
advice = "Read."
reference = "RFC 3463"
"#;

    /// A row in one line, so that a case's line numbers can be read off.
    fn reply(code: &str, variants: &str) -> String {
        format!(
            "reply = [{{ code = {code}, reason = \"policy\", description = \"d\", \
             advice = \"a\", reference = \"r\", variant = [\n{variants}\n] }}]"
        )
    }

    fn variant(phrases: &str) -> String {
        format!("{{ id = \"v\", says = [{phrases}], reason = \"policy\" }},")
    }

    fn status(code: &str, outcomes: &str) -> String {
        format!(
            "status = [{{ code = \"{code}\",\n{outcomes} description = \"d\", advice = \"a\", reference = \"r\" }}]"
        )
    }

    /// The reasons of the table that comes with the program, placed last so that lines can be counted.
    fn with_reasons(text: &str) -> String {
        let reasons = EMBEDDED.1.split("\n\n").filter(|block| block.starts_with("[reason."));
        reasons.fold(text.to_owned(), |text, reason| format!("{text}\n{reason}\n"))
    }

    fn refusal(text: &str) -> String {
        CodeTable::from_toml(&with_reasons(text), "my.toml").expect_err(text).to_string()
    }

    #[test]
    fn slips_of_the_pen_are_refused_with_file_and_line() {
        const SOFT: &str = "reason = \"policy\"";
        for (head, problem) in [
            ("[[reply]\n", "my.toml:1: "),
            ("colour = 1\n", "my.toml:1: unknown field `colour`, expected one of `reason`, `digit`, `reply`, `status`"),
            (
                &reply("550", "{ id = \"v\", says = [\"user unknown\"], clas = \"hard\" }"),
                "my.toml:2: unknown field `clas`",
            ),
            (
                &reply("550", "").replace("reason", "class = \"sof\", reason"),
                "my.toml:1: unknown variant `sof`, expected one of `hard`, `soft`, `success`",
            ),
            (
                &reply("550", "").replace("reason", "class = \"hard\", reason"),
                "my.toml:1: this deviates from what follows from `policy` (soft, fault sender); add because = ",
            ),
            (
                &reply("550", "").replace("reason", "fault = \"sender\", reason"),
                "my.toml:1: fault `sender` follows from the reason `policy`: leave it out",
            ),
            (
                &reply("550", "").replace("reason", "because = \"b\", reason"),
                "my.toml:1: `because` tells why a row deviates",
            ),
            (
                &reply("550", "").replace("policy", "police"),
                "my.toml:1: unknown variant `police`, expected one of `user_unknown`",
            ),
            (&reply("550", "").replace("advice", "advise"), "my.toml:1: unknown field `advise`"),
            (&reply("\"550\"", ""), "my.toml:1: invalid type: string \"550\", expected u16"),
            (&reply("600", ""), "my.toml:1: `600` is no reply code; expected 200 to 599"),
            (&reply("550", &variant("")), "my.toml:2: a variant without phrases can never answer"),
            (&reply("550", &variant("\" no \"")), "my.toml:2: the phrase \"no\" would fit anything"),
            (
                &reply("550", &format!("{}\n\n{}", variant("\"user unknown\""), variant("\"Local  User unknown\""))),
                "my.toml:4: the phrase \"Local  User unknown\" can never decide: \"user unknown\" in line 2 answers first",
            ),
            (
                &reply("550", &variant("\"local user unknown\",\n\"user unknown\"")),
                "my.toml:2: the phrase \"local user unknown\" can never decide: \"user unknown\" in line 3 answers first",
            ),
            (
                &reply(
                    "450",
                    "{ id = \"v\", says = [\"gone for good\"],\nclass = \"hard\", reason = \"moved\", because = \"b\" }",
                ),
                "my.toml:3: class `hard` can't be reached: codes with this digit have at_most = \"soft\"",
            ),
            (
                &status("5.1.1", &format!("5 = {{ {SOFT} }},")),
                "my.toml:1: `5.1.1` is no status; expected \"x.SUBJECT.DETAIL\"",
            ),
            (&status("x.1.1000", &format!("5 = {{ {SOFT} }},")), "my.toml:1: `x.1.1000` is no status"),
            (&status("x.1.1", ""), "my.toml:1: x.1.1 says nothing; expected an outcome for 2, 4 or 5"),
            (&status("x.1.1", &format!("3 = {{ {SOFT} }},")), "my.toml:2: unknown field `3`"),
            (
                &status("x.1.1", "4 = { class = \"hard\", reason = \"policy\", because = \"b\" },"),
                "my.toml:2: class `hard` can't be reached",
            ),
        ] {
            let found = refusal(&format!("{head}\n{DIGITS}"));
            assert!(found.starts_with(problem), "\nexpected {problem}\n   found {found}");
            assert!(!found.contains('\n'), "{found}");
        }
    }

    #[test]
    fn doubles_are_refused_with_both_places() {
        let again = |row: &str| refusal(&format!("{DIGITS}\n{row}\n{row}"));
        let digit = &DIGITS[DIGITS.rfind("[[digit]]").unwrap()..];
        assert_eq!(again(digit), "my.toml:25: 5 has a row already, in line 18");
        let row = "[[status]]\ncode = \"x.1.*\"\n5 = { reason = \"policy\" }\n\
                   description = \"\"\nadvice = \"\"\nreference = \"\"";
        assert_eq!(again(row), "my.toml:31: 5.1.* has a row already, in line 25");
    }

    #[test]
    fn each_first_digit_needs_its_row() {
        assert!(refusal("").contains("missing field `digit`"));
        let without_5 = &DIGITS[..DIGITS.rfind("[[digit]]").unwrap()];
        assert_eq!(
            refusal(without_5),
            "my.toml:1: no [[digit]] row for 5: 2, 4 and 5 each need one, for codes that have no row"
        );
        assert!(refusal(&DIGITS.replace("code = 5", "code = 6")).starts_with("my.toml:18: `6` is no first digit"));
    }

    #[test]
    fn a_table_of_ones_own_replaces_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.toml");
        fs::write(&path, with_reasons(DIGITS)).unwrap();
        let table = CodeTable::load(&path).unwrap();
        assert_eq!(&*table.status("5.1.1".parse().unwrap()).unwrap().rule, "codes:5");

        let missing = CodeTable::load(&dir.path().join("other.toml")).unwrap_err().to_string();
        assert!(missing.contains("other.toml: can't read the code table: "), "{missing}");
    }
}
