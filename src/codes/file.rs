//! The form of a table's file: TOML -> the rows that it says, one for each code and each text variant. Refuses what is
//! no code; whether the rows make a table together is another's to say, see `build`.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use serde::Deserialize;
use toml::Spanned;

use super::{Class, EnhancedStatusCode, Fault, Key, Meaning, Reason, ReplyCode, Weight};
use crate::tables::{Layer, Row, TableError, TableFile};

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
    variant: Vec<VariantSpec>,
}

/// What one file says about reasons, and its rows.
pub(super) fn read(file: &Arc<TableFile>) -> Result<(BTreeMap<Reason, Meaning>, Layer<LayerRow>), TableError> {
    let File { drop, reason, digit, reply, status, variant } = file.parse()?;
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
        rows.push(spec.alone(file)?);
    }
    Ok((reason, Layer { file: Arc::clone(file), rows, drop }))
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

/// `[[reply.variant]]`: a text variant of the row above it; or `[[variant]]`: one of a row that another file has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantSpec {
    /// A lone one says to which reply code it belongs.
    code: Option<Spanned<u16>>,
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
pub(super) struct LayerRow {
    pub id: String,
    /// The name that it shares with the other digits' rows of one status: `x.1.1`.
    pub shared: Option<String>,
    pub place: Range<usize>,
    pub replaces: Option<Spanned<String>>,
    pub answer: AnswerSpec,
    pub what: What,
}

pub(super) enum What {
    Row { key: Key, at_most: Option<Class>, description: String, reference: String },
    Variant(Box<VariantText>),
}

pub(super) struct VariantText {
    pub code: ReplyCode,
    pub says: Vec<Spanned<String>>,
    pub description: Option<String>,
    pub accepts: Vec<Spanned<String>>,
    pub rejects: Vec<Spanned<String>>,
}

/// What all rows say, whatever they answer for.
pub(super) struct AnswerSpec {
    pub reason: Spanned<Reason>,
    pub class: Option<Class>,
    pub fault: Option<Fault>,
    pub because: Option<String>,
    pub weight: Weight,
    pub advice: Option<String>,
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
        for variant in variant {
            rows.push(variant.below(file, reply)?);
        }
        Ok(())
    }
}

impl VariantSpec {
    /// Of the `[[reply]]` row that it stands below.
    fn below(self, file: &TableFile, reply: ReplyCode) -> Result<LayerRow, TableError> {
        if let Some(code) = &self.code {
            let problem =
                format!("the variant belongs to the [[reply]] row {reply} that it stands below; leave `code` out");
            return Err(file.refuse(&code.span(), &problem));
        }
        Ok(self.of(reply))
    }

    /// Of the reply code that it names.
    fn alone(self, file: &TableFile) -> Result<LayerRow, TableError> {
        let Some(code) = &self.code else {
            let problem =
                format!("the variant `{}` has no `code`: name the reply code that it belongs to", self.id.get_ref());
            return Err(file.refuse(&self.id.span(), &problem));
        };
        let reply = reply_code(file, code)?;
        Ok(self.of(reply))
    }

    fn of(self, code: ReplyCode) -> LayerRow {
        let Self {
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
            ..
        } = self;
        let answer = AnswerSpec { reason, class, fault, because, weight, advice };
        let what = What::Variant(Box::new(VariantText { code, says, description, accepts, rejects }));
        LayerRow { place: id.span(), id: id.into_inner(), shared: None, replaces, answer, what }
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

/// `x.1.10` -> 1, 10; `x.1.*` -> 1, any.
fn subject_and_detail(code: &str) -> Option<(u16, Option<u16>)> {
    let rest = code.strip_prefix("x.")?;
    let (subject, detail) = rest.split_once('.')?;
    let wild = detail == "*";
    let probe: EnhancedStatusCode = format!("5.{subject}.{}", if wild { "0" } else { detail }).parse().ok()?;
    Some((probe.subject(), (!wild).then(|| probe.detail())))
}
