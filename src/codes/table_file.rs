//! A table's files (TOML) -> [`CodeTable`]. Whatever could hide a slip of the pen is refused with file and line:
//! unknown keys and words, duplicates, rows and phrases that can never answer.

use std::{collections::BTreeMap, ops::Range, path::PathBuf, sync::Arc};

use serde::Deserialize;
use toml::Spanned;

use super::{
    Class, CodeRow, CodeTable, Deviation, EnhancedStatusCode, Fault, Judgement, Meaning, Reason, Reasons, ReplyCode,
    Weight,
    table::{Key, Variant},
};
use crate::{
    tables::{Example, Expected, Layer, Placed, Row, TableError, TableFile, overlay},
    text::fold,
};

/// Where the default table lies in the source tree; names it in errors.
const EMBEDDED: (&str, &str) = ("config/codes.toml", include_str!("../../config/codes.toml"));

/// Shorter phrases would fit almost any text.
const SHORTEST_PHRASE: usize = 4;

impl CodeTable {
    /// The table that comes with the program: config/codes.toml.
    #[must_use]
    pub fn embedded() -> Self {
        Self::load(&[]).expect("the tests read the embedded table")
    }

    /// The table that comes with the program, with files laid over it, the strongest first.
    ///
    /// # Errors
    /// A file can't be read, or a row in it can't be meant as it is written.
    pub fn load(files: &[PathBuf]) -> Result<Self, TableError> {
        let own = files.iter().map(|path| TableFile::read(path)).collect::<Result<Vec<_>, _>>()?;
        Self::from_files(own.into_iter().chain([TableFile::embedded(EMBEDDED.0, EMBEDDED.1)]).collect())
    }

    /// The table that some files make together, the strongest first.
    ///
    /// # Errors
    /// A row in them can't be meant as it is written.
    pub fn from_files(files: Vec<Arc<TableFile>>) -> Result<Self, TableError> {
        let mut meanings: BTreeMap<Reason, Meaning> = BTreeMap::new();
        let mut layers = Vec::new();
        for file in &files {
            let File { drop, reason, digit, reply, status, variant } = file.parse()?;
            for (reason, meaning) in reason {
                // The strongest file's word counts.
                meanings.entry(reason).or_insert(meaning);
            }
            let mut rows = Vec::new();
            for spec in digit {
                rows.push(spec.into_row(file)?);
            }
            for spec in reply {
                spec.into_rows(file, &mut rows)?;
            }
            for spec in status {
                spec.into_rows(file, &mut rows)?;
            }
            for spec in variant {
                rows.push(spec.into_row(file)?);
            }
            layers.push(Layer { file: Arc::clone(file), rows, drop });
        }
        let last = files.last().expect("a table has a file");
        let reasons = Reasons::new(meanings).map_err(|missing| {
            last.refuse(
                &(0..0),
                &format!("there is no [reason.{missing}]: each reason needs its class, fault and advice"),
            )
        })?;
        TableBuilder { reasons, rows: BTreeMap::new(), examples: Vec::new() }.build(overlay(layers)?, last)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    drop: Vec<Spanned<String>>,
    #[serde(default)]
    reason: BTreeMap<Reason, Meaning>,
    #[serde(default)]
    digit: Vec<DigitSpec>,
    #[serde(default)]
    reply: Vec<ReplySpec>,
    #[serde(default)]
    status: Vec<StatusSpec>,
    #[serde(default)]
    variant: Vec<LoneVariantSpec>,
}

/// `[[digit]]`: what is left to say where only the first digit is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DigitSpec {
    code: Spanned<u8>,
    replaces: Option<Spanned<String>>,
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
    replaces: Option<Spanned<String>>,
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

/// `[[reply.variant]]`: a text variant of the row above it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantSpec {
    id: Spanned<String>,
    replaces: Option<Spanned<String>>,
    says: Vec<Spanned<String>>,
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    #[serde(default = "specific")]
    weight: Weight,
    description: Option<String>,
    advice: Option<String>,
    #[serde(default)]
    accepts: Vec<Spanned<String>>,
    #[serde(default)]
    rejects: Vec<Spanned<String>>,
}

/// `[[variant]]`: a text variant of a row that another file has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoneVariantSpec {
    code: Spanned<u16>,
    id: Spanned<String>,
    replaces: Option<Spanned<String>>,
    says: Vec<Spanned<String>>,
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    #[serde(default = "specific")]
    weight: Weight,
    description: Option<String>,
    advice: Option<String>,
    #[serde(default)]
    accepts: Vec<Spanned<String>>,
    #[serde(default)]
    rejects: Vec<Spanned<String>>,
}

/// `[[status]]`: an enhanced status code `x.y.z` or `x.y.*` with an outcome for each class digit that has a meaning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusSpec {
    code: Spanned<String>,
    replaces: Option<Spanned<String>>,
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

/// A row as overlays see it: one for each code that a file's row answers for, and one for each text variant.
struct LayerRow {
    id: String,
    /// The name that it shares with the other digits' rows of one status: `x.1.1`.
    shared: Option<String>,
    place: Range<usize>,
    replaces: Option<Spanned<String>>,
    answer: AnswerSpec,
    what: What,
}

enum What {
    Row { key: Key, at_most: Option<Class>, description: String, reference: String },
    Variant(Box<VariantText>),
}

struct VariantText {
    code: ReplyCode,
    says: Vec<Spanned<String>>,
    description: Option<String>,
    accepts: Vec<Spanned<String>>,
    rejects: Vec<Spanned<String>>,
}

/// What all rows say, whatever they answer for.
struct AnswerSpec {
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    weight: Weight,
    advice: Option<String>,
}

impl Row for LayerRow {
    fn id(&self) -> (&str, Range<usize>) {
        (&self.id, self.place.clone())
    }

    fn replaces(&self) -> Option<&Spanned<String>> {
        self.replaces.as_ref()
    }

    fn is_called(&self, id: &str) -> bool {
        self.id == id || self.shared.as_deref() == Some(id)
    }
}

impl DigitSpec {
    fn into_row(self, file: &TableFile) -> Result<LayerRow, TableError> {
        let Self { code, replaces, reason, class, fault, because, weight, at_most, description, advice, reference } =
            self;
        let (digit, place) = (*code.get_ref(), code.span());
        if !(2..=5).contains(&digit) {
            return Err(file.refuse(&place, &format!("`{digit}` is no first digit of a code; expected 2, 3, 4 or 5")));
        }
        let key = Key::Digit(digit);
        let answer = AnswerSpec { reason, class, fault, because, weight, advice };
        let what = What::Row { key, at_most, description, reference };
        Ok(LayerRow { id: key.to_string(), shared: None, place, replaces, answer, what })
    }
}

impl ReplySpec {
    fn into_rows(self, file: &TableFile, rows: &mut Vec<LayerRow>) -> Result<(), TableError> {
        let Self { code, replaces, reason, class, fault, because, weight, description, advice, reference, variant } =
            self;
        let reply = reply_code(file, &code)?;
        let key = Key::Reply(reply);
        let answer = AnswerSpec { reason, class, fault, because, weight, advice };
        let what = What::Row { key, at_most: None, description, reference };
        rows.push(LayerRow { id: key.to_string(), shared: None, place: code.span(), replaces, answer, what });
        rows.extend(variant.into_iter().map(|variant| variant.into_row(reply)));
        Ok(())
    }
}

impl VariantSpec {
    fn into_row(self, code: ReplyCode) -> LayerRow {
        let Self { id, replaces, says, reason, class, fault, because, weight, description, advice, accepts, rejects } =
            self;
        let answer = AnswerSpec { reason, class, fault, because, weight, advice };
        let what = What::Variant(Box::new(VariantText { code, says, description, accepts, rejects }));
        LayerRow { place: id.span(), id: id.into_inner(), shared: None, replaces, answer, what }
    }
}

impl LoneVariantSpec {
    fn into_row(self, file: &TableFile) -> Result<LayerRow, TableError> {
        let Self {
            code,
            id,
            replaces,
            says,
            reason,
            class,
            fault,
            because,
            weight,
            description,
            advice,
            accepts,
            rejects,
        } = self;
        let variant = VariantSpec {
            id,
            replaces,
            says,
            reason,
            class,
            fault,
            because,
            weight,
            description,
            advice,
            accepts,
            rejects,
        };
        Ok(variant.into_row(reply_code(file, &code)?))
    }
}

impl StatusSpec {
    fn into_rows(self, file: &TableFile, rows: &mut Vec<LayerRow>) -> Result<(), TableError> {
        let (code, place) = (self.code.get_ref(), self.code.span());
        let Some((subject, detail)) = subject_and_detail(code) else {
            let problem = format!("`{code}` is no status; expected \"x.SUBJECT.DETAIL\" or \"x.SUBJECT.*\"");
            return Err(file.refuse(&place, &problem));
        };
        let before = rows.len();
        for (class, outcome) in [(2, self.success), (4, self.transient), (5, self.permanent)] {
            let Some(outcome) = outcome else { continue };
            let key = Key::Status { class, subject, detail };
            let OutcomeSpec { reason, class, fault, because, weight, advice } = outcome;
            let (weight, advice) = (weight.unwrap_or(self.weight), advice.or_else(|| self.advice.clone()));
            let (description, reference) = (self.description.clone(), self.reference.clone());
            rows.push(LayerRow {
                id: key.to_string(),
                shared: Some(code.clone()),
                place: place.clone(),
                replaces: self.replaces.clone(),
                answer: AnswerSpec { reason, class, fault, because, weight, advice },
                what: What::Row { key, at_most: None, description, reference },
            });
        }
        if rows.len() == before {
            return Err(file.refuse(&place, &format!("{code} says nothing; expected an outcome for 2, 4 or 5")));
        }
        Ok(())
    }
}

fn reply_code(file: &TableFile, code: &Spanned<u16>) -> Result<ReplyCode, TableError> {
    ReplyCode::new(*code.get_ref()).ok_or_else(|| {
        file.refuse(&code.span(), &format!("`{}` is no reply code; expected 200 to 599", code.get_ref()))
    })
}

/// Rows on their way to a table.
struct TableBuilder {
    reasons: Reasons,
    rows: BTreeMap<Key, CodeRow>,
    examples: Vec<Example>,
}

impl TableBuilder {
    fn build(mut self, mut rows: Vec<Placed<LayerRow>>, last: &TableFile) -> Result<CodeTable, TableError> {
        // The digits first: the rows are held against their limits. The variants last: they belong to rows.
        let rank = |placed: &Placed<LayerRow>| match &placed.row.what {
            What::Row { key: Key::Digit(_), .. } => 0,
            What::Row { .. } => 1,
            What::Variant(_) => 2,
        };
        rows.sort_by_key(rank);
        let mut phrases = Vec::new();
        for Placed { file, row } in rows {
            match row.what {
                What::Row { key, at_most, description, reference } => {
                    let limit = if matches!(key, Key::Digit(_)) { at_most } else { self.limit(key) };
                    let (judgement, advice) = self.judge(&file, limit, &row.answer)?;
                    let AnswerSpec { because, weight, .. } = row.answer;
                    let rule = format!("codes:{key}").into();
                    let (file, line) = (file.name.clone(), file.line(row.place.start));
                    let variants = Vec::new();
                    let row = CodeRow {
                        code: key,
                        rule,
                        judgement,
                        because,
                        weight,
                        at_most,
                        description,
                        advice,
                        reference,
                        variants,
                        file,
                        line,
                    };
                    self.rows.insert(key, row);
                }
                What::Variant(text) => self.variant(&file, row.id, &row.place, row.answer, *text, &mut phrases)?,
            }
        }
        if let Some(digit) = [2, 4, 5].into_iter().find(|digit| !self.rows.contains_key(&Key::Digit(*digit))) {
            let problem = format!("no [[digit]] row for {digit}: 2, 4 and 5 each need one, for codes that have no row");
            return Err(last.refuse(&(0..0), &problem));
        }
        Ok(CodeTable::new(self.reasons, self.rows, self.examples))
    }

    fn variant(
        &mut self,
        file: &Arc<TableFile>,
        id: String,
        place: &Range<usize>,
        answer: AnswerSpec,
        text: VariantText,
        phrases: &mut Vec<PlacedPhrase>,
    ) -> Result<(), TableError> {
        let VariantText { code, says, description, accepts, rejects } = text;
        let key = Key::Reply(code);
        if id.strip_prefix(&key.to_string()).is_none_or(|rest| !rest.starts_with('.') || rest.len() < 2) {
            let problem = format!("`{id}` is no id of a variant of {key}; expected `{key}.` and a word or words");
            return Err(file.refuse(place, &problem));
        }
        let (judgement, advice) = self.judge(file, self.limit(key), &answer)?;
        reachable(file, place, code, &says, phrases)?;
        if file.is_own() && accepts.is_empty() {
            let problem = format!("`{id}` has no example: name in `accepts` a reply that it decides on");
            return Err(file.refuse(place, &problem));
        }
        let examples = [(&accepts, Expected::Accepts), (&rejects, Expected::Rejects)];
        for (text, expected) in examples.into_iter().flat_map(|(texts, e)| texts.iter().map(move |text| (text, e))) {
            let (row, text, place) = (id.clone(), text.get_ref().clone(), text.span());
            self.examples.push(Example { file: Arc::clone(file), place, row, expected, text });
        }
        let row = self.rows.get_mut(&key).ok_or_else(|| {
            file.refuse(place, &format!("the variant `{id}` has no [[reply]] row for {code} that it could belong to"))
        })?;
        let plain = |texts: Vec<Spanned<String>>| texts.into_iter().map(Spanned::into_inner).collect();
        row.variants.push(Variant {
            rule: format!("codes:{id}"),
            id,
            says: plain(says),
            judgement,
            because: answer.because,
            weight: answer.weight,
            description: description.unwrap_or_else(|| row.description.clone()),
            advice,
            accepts: plain(accepts),
            rejects: plain(rejects),
            file: file.name.clone(),
            line: file.line(place.start),
        });
        Ok(())
    }

    fn judge(
        &self,
        file: &TableFile,
        limit: Option<Class>,
        answer: &AnswerSpec,
    ) -> Result<(Judgement, String), TableError> {
        let AnswerSpec { reason, class, fault, because, advice, .. } = answer;
        if let (Some(class), Some(limit)) = (class, limit)
            // Class sorts from the worst to the best.
            && *class < limit
        {
            let problem = format!("class `{class}` can't be reached: codes with this digit have at_most = \"{limit}\"");
            return Err(file.refuse(&reason.span(), &problem));
        }
        let own = Deviation { class: *class, fault: *fault, because: because.as_deref() };
        let judgement = self
            .reasons
            .judgement(*reason.get_ref(), limit, &own)
            .map_err(|problem| file.refuse(&reason.span(), &problem))?;
        let advice = advice.clone().unwrap_or_else(|| self.reasons.advice(judgement, None).to_owned());
        Ok((judgement, advice))
    }

    /// The worst class that the row of the code's digit allows.
    fn limit(&self, key: Key) -> Option<Class> {
        self.rows.get(&Key::Digit(key.digit()))?.at_most
    }
}

/// A phrase of a variant that is in the table already.
struct PlacedPhrase {
    file: Arc<TableFile>,
    /// Where its variant is named: tells it from others.
    variant: Range<usize>,
    code: ReplyCode,
    phrase: Spanned<String>,
    folded: String,
}

/// Refuses a phrase that holds another one which answers first: it could never decide.
fn reachable(
    file: &Arc<TableFile>,
    variant: &Range<usize>,
    code: ReplyCode,
    says: &[Spanned<String>],
    earlier: &mut Vec<PlacedPhrase>,
) -> Result<(), TableError> {
    if says.is_empty() {
        let problem = "a variant without phrases can never answer; expected says = [\"…\"]";
        return Err(file.refuse(variant, problem));
    }
    for phrase in says {
        let own = fold(phrase.get_ref()).into_string();
        if own.len() < SHORTEST_PHRASE {
            let problem = format!("the phrase {own:?} would fit anything; expected {SHORTEST_PHRASE} letters or more");
            return Err(file.refuse(&phrase.span(), &problem));
        }
        for other in earlier.iter().filter(|other| other.code == code) {
            let here = PlacedPhrase {
                file: Arc::clone(file),
                variant: variant.clone(),
                code,
                phrase: phrase.clone(),
                folded: own.clone(),
            };
            let same_variant = Arc::ptr_eq(&other.file, file) && other.variant == *variant;
            // Within a variant the order of the phrases does not matter: the longer one is idle either way.
            let (idle, first) = if own.contains(&other.folded) {
                (&here, other)
            } else if same_variant && other.folded.contains(&own) {
                (other, &here)
            } else {
                continue;
            };
            let problem = format!(
                "the phrase {:?} can never decide: {:?} in line {} answers first",
                idle.phrase.get_ref(),
                first.phrase.get_ref(),
                first.file.line(first.phrase.span().start)
            );
            return Err(idle.file.refuse(&idle.phrase.span(), &problem));
        }
        let (file, variant, phrase) = (Arc::clone(file), variant.clone(), phrase.clone());
        earlier.push(PlacedPhrase { file, variant, code, phrase, folded: own });
    }
    Ok(())
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
        // Each needs an id of its own.
        let id = phrases.len();
        format!("{{ id = \"550.v{id}\", says = [{phrases}], reason = \"policy\" }},")
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
        CodeTable::from_files(vec![TableFile::embedded("my.toml", &with_reasons(text))]).expect_err(text).to_string()
    }

    #[test]
    fn slips_of_the_pen_are_refused_with_file_and_line() {
        const SOFT: &str = "reason = \"policy\"";
        for (head, problem) in [
            ("[[reply]\n", "my.toml:1: "),
            (
                "colour = 1\n",
                "my.toml:1: unknown field `colour`, expected one of `drop`, `reason`, `digit`, `reply`, `status`, `variant`",
            ),
            (
                &reply("550", "{ id = \"550.v\", says = [\"user unknown\"], clas = \"hard\" }"),
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
            (
                &reply("450", &variant("\"some words\"")),
                "my.toml:2: `550.v12` is no id of a variant of 450; expected `450.` and a word",
            ),
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
                    "{ id = \"450.v\", says = [\"gone for good\"],\nclass = \"hard\", reason = \"moved\", because = \"b\" }",
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
        assert_eq!(again(digit), "my.toml:25: there is a row `5` already, in my.toml:18");
        let row = "[[status]]\ncode = \"x.1.*\"\n5 = { reason = \"policy\" }\n\
                   description = \"\"\nadvice = \"\"\nreference = \"\"";
        assert_eq!(again(row), "my.toml:31: there is a row `5.1.*` already, in my.toml:25");
    }

    #[test]
    fn each_first_digit_needs_its_row() {
        assert!(refusal("").contains("no [[digit]] row for 2"));
        let without_5 = &DIGITS[..DIGITS.rfind("[[digit]]").unwrap()];
        assert_eq!(
            refusal(without_5),
            "my.toml:1: no [[digit]] row for 5: 2, 4 and 5 each need one, for codes that have no row"
        );
        assert!(refusal(&DIGITS.replace("code = 5", "code = 6")).starts_with("my.toml:18: `6` is no first digit"));
    }

    fn with_own(own: &str) -> Result<CodeTable, TableError> {
        CodeTable::from_files(vec![TableFile::embedded("my.toml", own), TableFile::embedded(EMBEDDED.0, EMBEDDED.1)])
    }

    #[test]
    fn rows_of_ones_own_are_laid_over_the_default() {
        let table = with_own(
            "drop = [\"553.rate-limited\"]\n\
             [reason.mailbox_full]\nclass = \"soft\"\nfault = \"recipient\"\nadvice = \"Wait a week.\"\n\
             [[status]]\ncode = \"x.1.1\"\nreplaces = \"5.1.1\"\n5 = { reason = \"policy\" }\n\
             description = \"d\"\nreference = \"r\"\n\
             [[variant]]\ncode = 550\nid = \"550.closed\"\nsays = [\"shop is closed\"]\nreason = \"disabled\"\n",
        )
        .unwrap();
        let row = |code: &str| table.status_row(code.parse().unwrap()).unwrap();
        assert_eq!(
            (row("5.1.1").judgement.reason, row("4.1.1").judgement.reason),
            (Reason::Policy, Reason::UserUnknown)
        );
        assert_eq!(row("5.1.1").file, "my.toml");
        assert_eq!(row("5.2.2").advice, "Wait a week.");
        let variants = |code: &str| &table.reply_row(code.parse().unwrap()).unwrap().variants;
        assert_eq!(variants("550")[0].id, "550.closed");
        assert!(variants("553").iter().all(|variant| variant.id != "553.rate-limited"));
    }

    #[test]
    fn rows_that_cannot_be_laid_over_the_default_are_refused() {
        let row = "[[reply]]\ncode = 550\nreason = \"policy\"\ndescription = \"d\"\nreference = \"r\"\n";
        for (own, problem) in [
            (row, "my.toml:2: there is a row `550` already, in config/codes.toml:"),
            ("drop = [\"560\"]", "my.toml:1: there is no row `560` to drop"),
            ("drop = [\"550\"]", "config/codes.toml:"),
            ("drop = [\"5\"]", "config/codes.toml:1: no [[digit]] row for 5"),
        ] {
            let error = with_own(own).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
        assert!(with_own(&row.replacen("reason", "replaces = \"550\"\nreason", 1)).is_ok());
    }

    #[test]
    fn a_file_of_ones_own_is_read_and_needs_examples() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.toml");
        std::fs::write(
            &path,
            "[[variant]]\ncode = 550\nid = \"550.closed\"\nsays = [\"closed\"]\nreason = \"disabled\"",
        )
        .unwrap();
        let error = CodeTable::load(&[path]).unwrap_err().to_string();
        assert!(error.contains("my.toml:3: `550.closed` has no example"), "{error}");
    }
}
