//! The phrase table: config/phrases.toml -> rows, and from a text to the rows that speak of it.
//! Knows nothing of mails, and nothing of what outranks what beyond a row's own strength.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    path::Path,
    sync::Arc,
};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use regex::Regex;
use serde::Deserialize;
use toml::Spanned;

use super::fold::{fold, unframe};
use crate::codes::{Class, Deviation, EnhancedStatusCode, Fault, Judgement, Reason, Reasons, ReplyCode};

const EMBEDDED: (&str, &str) = ("config/phrases.toml", include_str!("../../config/phrases.toml"));

/// Shorter phrases would fit almost any text.
const SHORTEST: usize = 4;

/// Why the phrases were refused, in one line: file, line, what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PhrasesError(String);

/// How much a phrase is worth against a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Beats vague codes only.
    #[default]
    Generic,
    /// Leaves no doubt: beats a specific enhanced status code.
    Unmistakable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    scope: HashMap<String, ScopeSpec>,
    phrase: Vec<PhraseSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpec {
    #[serde(default)]
    remote_mta: Vec<String>,
    #[serde(default)]
    text: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhraseSpec {
    id: Spanned<String>,
    scope: Option<Spanned<String>>,
    #[serde(default)]
    says: Vec<Spanned<String>>,
    #[serde(default)]
    with: Vec<Spanned<String>>,
    #[serde(default)]
    unless: Vec<Spanned<String>>,
    #[serde(default, rename = "shapes")]
    _shapes: Vec<ShapeSpec>,
    pattern: Option<Spanned<String>>,
    #[serde(default)]
    status: Vec<Spanned<String>>,
    #[serde(default)]
    reply: Vec<Spanned<String>>,
    reason: Spanned<Reason>,
    class: Option<Class>,
    fault: Option<Fault>,
    because: Option<String>,
    #[serde(default)]
    strength: Strength,
    #[serde(default, rename = "accepts")]
    _accepts: Vec<String>,
    #[serde(default, rename = "rejects")]
    _rejects: Vec<String>,
    #[serde(rename = "lang")]
    _lang: Option<String>,
    #[serde(rename = "source")]
    _source: Option<String>,
}

/// Noun and predicate of one sentence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapeSpec {
    #[serde(rename = "about")]
    _about: Vec<String>,
    #[serde(rename = "says")]
    _says: Vec<String>,
    #[serde(rename = "between")]
    _between: usize,
    #[serde(rename = "order")]
    _order: Order,
}

/// Which of the two stands first.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    AboutFirst,
    SaysFirst,
    Either,
}

/// One row, its literals as numbers of the matcher's patterns.
#[derive(Debug)]
struct Row {
    rule: Arc<str>,
    judgement: Judgement,
    strength: Strength,
    scope: Option<usize>,
    with: Vec<usize>,
    unless: Vec<usize>,
    pattern: Option<Regex>,
    status: Vec<StatusFilter>,
    reply: Vec<ReplyCode>,
}

/// `5.7.1`, `5.1.*` or `x.1.1`.
#[derive(Debug)]
struct StatusFilter {
    class: Option<u8>,
    subject: u16,
    detail: Option<u16>,
}

impl StatusFilter {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "x" => None,
            digit => Some(digit.parse().ok().filter(|d| matches!(d, 2 | 4 | 5))?),
        };
        let subject = parts.next()?.parse().ok()?;
        let detail = match parts.next()? {
            "*" => None,
            detail => Some(detail.parse().ok()?),
        };
        parts.next().is_none().then_some(Self { class, subject, detail })
    }

    fn fits(&self, code: EnhancedStatusCode) -> bool {
        self.class.is_none_or(|c| c == code.class_digit())
            && self.subject == code.subject()
            && self.detail.is_none_or(|d| d == code.detail())
    }
}

#[derive(Debug)]
struct Scope {
    hosts: Vec<String>,
    texts: Vec<usize>,
}

/// Who says the text that is looked up, and with which codes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Speaker<'a> {
    /// Hosts that may have said it, lower case: remote-MTA, reporting-MTA, the host that the text names.
    pub hosts: &'a [String],
    /// The enhanced status code beside the text.
    pub status: Option<EnhancedStatusCode>,
    /// The reply code beside the text.
    pub reply: Option<ReplyCode>,
    /// Addresses whose local parts say nothing: `over.quota@example.org` names a mailbox, not its state.
    pub addresses: &'a [&'a str],
}

/// A row that speaks of a text.
#[derive(Debug, Clone)]
pub struct Spoken {
    /// `phrases:ID`.
    pub rule: Arc<str>,
    /// What the row says.
    pub judgement: Judgement,
    /// How much it is worth.
    pub strength: Strength,
    /// Whether it is the provider's own phrase.
    pub scoped: bool,
}

/// All phrases, compiled into one linear-time matcher.
#[derive(Debug)]
pub struct Phrases {
    rows: Vec<Row>,
    scopes: Vec<Scope>,
    matcher: AhoCorasick,
    /// For each pattern of the matcher, the rows that it may call.
    calls: Vec<Vec<usize>>,
    /// The matcher's patterns.
    literals: Vec<String>,
}

impl Phrases {
    /// The phrases that come with the program: config/phrases.toml.
    #[must_use]
    pub fn embedded(reasons: &Reasons) -> Self {
        Self::from_toml(EMBEDDED.1, EMBEDDED.0, reasons).expect("the tests read the embedded phrases")
    }

    /// Reads phrases from a file.
    ///
    /// # Errors
    /// The file can't be read, or the phrases in it are refused.
    pub fn load(path: &Path, reasons: &Reasons) -> Result<Self, PhrasesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|err| PhrasesError(format!("{}: can't read the phrases: {err}", path.display())))?;
        Self::from_toml(&text, &path.display().to_string(), reasons)
    }

    /// Reads phrases from TOML text; `file` names it in errors.
    ///
    /// # Errors
    /// Unknown keys, words and scopes, bad codes and patterns, phrases that are too short, ids used twice.
    pub fn from_toml(text: &str, file: &str, reasons: &Reasons) -> Result<Self, PhrasesError> {
        let refuse = |span: Range<usize>, what: &str| {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            PhrasesError(format!("{file}:{line}: {what}"))
        };
        let parsed: File =
            toml::from_str(text).map_err(|e| refuse(e.span().unwrap_or_default(), e.message().trim_end()))?;
        Builder::default().build(parsed, reasons, &refuse)
    }

    /// What the rows look for: phrases (folded), hosts of scopes, and the patterns as they are written.
    pub fn vocabulary(&self) -> impl Iterator<Item = &str> {
        let hosts = self.scopes.iter().flat_map(|scope| &scope.hosts).map(String::as_str);
        let patterns = self.rows.iter().filter_map(|row| row.pattern.as_ref()).map(Regex::as_str);
        self.literals.iter().map(String::as_str).chain(hosts).chain(patterns)
    }

    /// Every row that speaks of the text, in the order of the file.
    #[must_use]
    pub fn find(&self, text: &str, speaker: &Speaker<'_>) -> Vec<Spoken> {
        let folded = without_names(unframe(fold(text)), speaker.addresses);
        let mut present = vec![false; self.calls.len()];
        let mut called = Vec::new();
        for found in self.matcher.find_overlapping_iter(&folded) {
            let pattern = found.pattern().as_usize();
            if !std::mem::replace(&mut present[pattern], true) {
                called.extend_from_slice(&self.calls[pattern]);
            }
        }
        called.sort_unstable();
        called.dedup();
        called
            .into_iter()
            .map(|row| &self.rows[row])
            .filter(|row| self.applies(row, &folded, &present, speaker))
            .map(|row| Spoken {
                rule: Arc::clone(&row.rule),
                judgement: row.judgement,
                strength: row.strength,
                scoped: row.scope.is_some(),
            })
            .collect()
    }

    fn applies(&self, row: &Row, folded: &str, present: &[bool], speaker: &Speaker<'_>) -> bool {
        let fits = |list: &[StatusFilter]| list.iter().any(|f| speaker.status.is_some_and(|s| f.fits(s)));
        (row.status.is_empty() || fits(&row.status))
            && (row.reply.is_empty() || speaker.reply.is_some_and(|r| row.reply.contains(&r)))
            && row.with.iter().all(|&p| present[p])
            && !row.unless.iter().any(|&p| present[p])
            && row.scope.is_none_or(|s| self.scopes[s].holds(present, speaker))
            && row.pattern.as_ref().is_none_or(|p| p.is_match(folded))
    }
}

/// Puts `x` for the local parts of the given addresses in a folded text.
fn without_names(mut folded: String, addresses: &[&str]) -> String {
    for address in addresses {
        let folded_address = fold(address);
        let Some((_, domain)) = folded_address.rsplit_once('@') else { continue };
        if folded.contains(&folded_address) {
            folded = folded.replace(&folded_address, &format!("x@{domain}"));
        }
    }
    folded
}

impl Scope {
    fn holds(&self, present: &[bool], speaker: &Speaker<'_>) -> bool {
        let under = |host: &str, domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.texts.iter().any(|&p| present[p])
            || speaker.hosts.iter().any(|host| self.hosts.iter().any(|domain| under(host, domain)))
    }
}

/// A file on its way to the compiled form.
#[derive(Default)]
struct Builder {
    literals: HashMap<String, usize>,
    patterns: Vec<String>,
    calls: Vec<Vec<usize>>,
}

impl Builder {
    fn build(
        mut self,
        file: File,
        reasons: &Reasons,
        refuse: &impl Fn(Range<usize>, &str) -> PhrasesError,
    ) -> Result<Phrases, PhrasesError> {
        let mut names = HashMap::new();
        let mut scopes = Vec::new();
        for (name, spec) in file.scope {
            names.insert(name, scopes.len());
            let hosts = spec.remote_mta.iter().map(|h| h.to_lowercase()).collect();
            scopes.push(Scope { hosts, texts: self.literals(&spec.text, refuse)? });
        }
        let mut ids = HashSet::new();
        let mut rows = Vec::with_capacity(file.phrase.len());
        for spec in file.phrase {
            let span = spec.id.span();
            let id = spec.id.into_inner();
            if !ids.insert(id.clone()) {
                return Err(refuse(span, &format!("the id `{id}` is used twice; ids name the rule and must differ")));
            }
            let scope = match &spec.scope {
                None => None,
                Some(name) => Some(*names.get(name.get_ref()).ok_or_else(|| {
                    refuse(name.span(), &format!("there is no [scope.{}] in this file", name.get_ref()))
                })?),
            };
            if spec.says.is_empty() {
                return Err(refuse(span, &format!("`{id}` has no phrase in `says` and can never answer")));
            }
            for pattern in self.literals(&spec.says, refuse)? {
                self.calls[pattern].push(rows.len());
            }
            let own = Deviation { class: spec.class, fault: spec.fault, because: spec.because.as_deref() };
            let judgement = reasons
                .judgement(*spec.reason.get_ref(), None, &own)
                .map_err(|problem| refuse(spec.reason.span(), &problem))?;
            rows.push(Row {
                rule: format!("phrases:{id}").into(),
                judgement,
                strength: spec.strength,
                scope,
                with: self.literals(&spec.with, refuse)?,
                unless: self.literals(&spec.unless, refuse)?,
                pattern: spec.pattern.as_ref().map(|p| compile(p, refuse)).transpose()?,
                status: parsed(&spec.status, StatusFilter::parse, "a status such as 5.7.1, 5.1.* or x.1.1", refuse)?,
                reply: parsed(&spec.reply, |t| t.parse().ok(), "a reply code such as 550", refuse)?,
            });
        }
        let matcher = AhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .build(&self.patterns)
            .map_err(|e| refuse(0..0, &format!("the phrases are too many to compile: {e}")))?;
        Ok(Phrases { rows, scopes, matcher, calls: self.calls, literals: self.patterns })
    }

    /// The matcher's pattern numbers of some phrases.
    fn literals(
        &mut self,
        phrases: &[Spanned<String>],
        refuse: &impl Fn(Range<usize>, &str) -> PhrasesError,
    ) -> Result<Vec<usize>, PhrasesError> {
        let mut numbers = Vec::with_capacity(phrases.len());
        for phrase in phrases {
            let folded = fold(phrase.get_ref());
            if folded.len() < SHORTEST {
                let what =
                    format!("the phrase `{}` is too short; at least {SHORTEST} octets are needed", phrase.get_ref());
                return Err(refuse(phrase.span(), &what));
            }
            let next = self.patterns.len();
            let number = *self.literals.entry(folded.clone()).or_insert(next);
            if number == next {
                self.patterns.push(folded);
                self.calls.push(Vec::new());
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}

fn compile(
    pattern: &Spanned<String>,
    refuse: &impl Fn(Range<usize>, &str) -> PhrasesError,
) -> Result<Regex, PhrasesError> {
    Regex::new(pattern.get_ref()).map_err(|e| {
        let last = e.to_string().lines().last().unwrap_or("").trim().to_owned();
        refuse(pattern.span(), &format!("the pattern `{}` is no regular expression: {last}", pattern.get_ref()))
    })
}

fn parsed<T>(
    texts: &[Spanned<String>],
    parse: impl Fn(&str) -> Option<T>,
    expected: &str,
    refuse: &impl Fn(Range<usize>, &str) -> PhrasesError,
) -> Result<Vec<T>, PhrasesError> {
    let one = |text: &Spanned<String>| {
        parse(text.get_ref()).ok_or_else(|| refuse(text.span(), &format!("`{}` is not {expected}", text.get_ref())))
    };
    texts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::CodeTable;

    const TABLE: &str = r#"
[scope.example]
remote_mta = ["example.org"]
text = ["example postmaster"]

[[phrase]]
id = "example.gone"
scope = "example"
says = ["gone fishing"]
reason = "user_unknown"

[[phrase]]
id = "full"
says = ["mailbox full", "Postfach überfüllt"]
unless = ["not because mailbox full"]
reason = "mailbox_full"
strength = "unmistakable"

[[phrase]]
id = "coded"
says = ["access denied"]
status = ["5.4.1"]
pattern = "denied\\b"
reason = "user_unknown"
"#;

    fn rules(text: &str, speaker: &Speaker<'_>) -> Vec<String> {
        let phrases = Phrases::from_toml(TABLE, "table", CodeTable::embedded().reasons()).expect("fine");
        phrases.find(text, speaker).into_iter().map(|s| s.rule.to_string()).collect()
    }

    #[test]
    fn rows_answer_when_all_their_conditions_hold() {
        let none = Speaker::default();
        assert_eq!(rules("Das POSTFACH\n ist leer, Postfach uberfullt", &none), ["phrases:full"]);
        assert!(rules("not because mailbox full", &none).is_empty());
        assert!(rules("gone fishing", &none).is_empty());
        assert_eq!(rules("gone fishing, says Example Postmaster", &none), ["phrases:example.gone"]);
        let hosts = ["mx.example.org".to_owned()];
        assert_eq!(rules("gone fishing", &Speaker { hosts: &hosts, ..none }), ["phrases:example.gone"]);
        let hosts = ["badexample.org".to_owned()];
        assert!(rules("gone fishing", &Speaker { hosts: &hosts, ..none }).is_empty());
        assert!(rules("<mailbox.full@example.net> is not mailbox full@example.net", &none).len() == 1);
        let addresses = ["Mailbox Full@example.net"];
        assert!(rules("<mailbox full@example.net>: no", &Speaker { addresses: &addresses, ..none }).is_empty());
        assert!(rules("access denied", &none).is_empty());
        let status = "5.4.1".parse().ok();
        assert_eq!(rules("access denied", &Speaker { status, ..none }), ["phrases:coded"]);
    }

    #[test]
    fn the_embedded_phrases_are_sound() {
        assert!(!Phrases::embedded(CodeTable::embedded().reasons()).rows.is_empty());
    }

    #[test]
    fn slips_are_refused_with_file_and_line() {
        let row = |line: &str| format!("[[phrase]]\nid = \"a\"\nsays = [\"some words\"]\nreason = \"spam\"\n{line}\n");
        for (line, says) in [
            ("colour = 1", "t.toml:5: unknown field `colour`"),
            ("scope = \"mars\"", "t.toml:5: there is no [scope.mars]"),
            ("status = [\"9.1.1\"]", "t.toml:5: `9.1.1` is not a status"),
            ("pattern = \"(\"", "t.toml:5: the pattern `(` is no regular expression"),
            ("with = [\"ab\"]", "t.toml:5: the phrase `ab` is too short"),
            ("[[phrase]]\nid = \"a\"\nsays = [\"other\"]\nreason = \"spam\"", "t.toml:6: the id `a` is used twice"),
        ] {
            let error =
                Phrases::from_toml(&row(line), "t.toml", CodeTable::embedded().reasons()).expect_err(line).to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
