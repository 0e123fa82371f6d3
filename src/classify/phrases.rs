//! The phrase table: config/phrases.toml and files of one's own -> rows, as people see them, and the rules that they
//! are. Knows nothing of mails, and nothing of what outranks what beyond a row's own strength.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    path::PathBuf,
    slice,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    Rank,
    rules::{Builder, Conditions, Rule, RuleTable, Scope, Shape, StatusFilter},
    shapes::Order,
};
use crate::{
    codes::{Class, Deviation, Fault, Judgement, Reason, Reasons, ReplyCode},
    tables::{Embedded, Example, Layer, Placed, TableError, TableFile, embedded, named_row, overlay},
    text::folded,
};

const EMBEDDED: Embedded = embedded!("phrases");

/// What may lie between noun and predicate at most: more is another thought.
const FARTHEST: usize = 200;

/// Shorter ones are part of other words.
const SHORTEST_DENIAL: usize = 4;

/// How much a phrase is worth against a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Beats vague codes only.
    #[default]
    Generic,
    /// Leaves no doubt: beats a specific enhanced status code.
    Unmistakable,
}

/// Whom a refusal may speak of instead of the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Other {
    /// The envelope sender, its domain or the author.
    Sender,
    /// The host that sends.
    Host,
    /// The message: its headers, its form.
    Message,
}

/// A row of the table, as it is written.
#[derive(Debug, Clone, Serialize)]
pub struct Phrase {
    /// Names the row.
    pub id: String,
    /// What names the row in verdicts: `phrases:ID`.
    pub rule: String,
    /// What the row says.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Why class or fault deviate from what follows from the reason.
    pub because: Option<String>,
    /// How much it is worth.
    pub strength: Strength,
    /// Of whom it speaks, where that is not the recipient: then nothing in the text is held against the recipient.
    pub speaks_of: Option<Other>,
    /// Whether its words stand around those of the server and say which command was refused: then they are heard even
    /// where the server's own words leave no doubt.
    pub frame: bool,
    /// Who has to be speaking.
    pub scope: Option<String>,
    /// One of these is in the text …
    pub says: Vec<String>,
    /// … or one of these, as whole words …
    pub words: Vec<String>,
    /// … or one of these shapes …
    pub shapes: Vec<ShapeText>,
    /// … and all of these …
    pub with: Vec<String>,
    /// … and none of these.
    pub unless: Vec<String>,
    /// The enhanced status is one of these.
    pub status: Vec<String>,
    /// The reply code is one of these.
    pub reply: Vec<String>,
    /// The language of the words.
    pub lang: Option<String>,
    /// Who writes them.
    pub source: Option<String>,
    /// Replies and lines on which the row decides.
    pub accepts: Vec<String>,
    /// Replies and lines on which it does not.
    pub rejects: Vec<String>,
    /// What a person should do about it.
    pub advice: String,
    /// The file that the row stands in.
    pub file: String,
    /// The line of its id.
    pub line: usize,
}

/// Noun and predicate of one sentence, as they are written.
#[derive(Debug, Clone, Serialize)]
pub struct ShapeText {
    /// What the sentence is about.
    pub about: Vec<String>,
    /// What it says of it.
    pub says: Vec<String>,
    /// How many characters lie between at most.
    pub between: usize,
    /// Which of the two stands first.
    pub order: Order,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    drop: Vec<Spanned<String>>,
    #[serde(default)]
    or: Vec<Spanned<String>>,
    #[serde(default)]
    or_else: Vec<Spanned<String>>,
    #[serde(default)]
    or_same: Vec<Spanned<String>>,
    #[serde(default)]
    living: Vec<Spanned<String>>,
    #[serde(default, rename = "if")]
    conditions: Vec<Spanned<String>>,
    #[serde(default)]
    denials: Vec<Spanned<String>>,
    #[serde(default)]
    named: Vec<Spanned<String>>,
    #[serde(default)]
    whose: Vec<Spanned<String>>,
    #[serde(default)]
    others: Vec<Spanned<String>>,
    #[serde(default)]
    instead: Vec<Spanned<String>>,
    #[serde(default)]
    prepositions: Vec<Spanned<String>>,
    #[serde(default)]
    auxiliaries: Vec<Spanned<String>>,
    #[serde(default)]
    before_answer: Vec<Spanned<String>>,
    #[serde(default)]
    list: BTreeMap<String, Spanned<Vec<String>>>,
    #[serde(default)]
    scope: BTreeMap<String, Spanned<ScopeSpec>>,
    #[serde(default)]
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PhraseSpec {
    id: Spanned<String>,
    replaces: Option<Spanned<String>>,
    scope: Option<Spanned<String>>,
    #[serde(default)]
    says: Vec<Spanned<String>>,
    #[serde(default)]
    words: Vec<Spanned<String>>,
    #[serde(default)]
    with: Vec<Spanned<String>>,
    #[serde(default)]
    unless: Vec<Spanned<String>>,
    #[serde(default)]
    shapes: Vec<ShapeSpec>,
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
    speaks_of: Option<Other>,
    #[serde(default)]
    frame: bool,
    lang: Option<String>,
    source: Option<String>,
    #[serde(default)]
    accepts: Vec<Spanned<String>>,
    #[serde(default)]
    rejects: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapeSpec {
    about: Vec<Spanned<String>>,
    says: Vec<Spanned<String>>,
    between: Spanned<usize>,
    order: Order,
}

named_row!(PhraseSpec);

/// The scopes by name: their number, and where they stand.
type Scopes = HashMap<String, (usize, Arc<TableFile>, Range<usize>)>;

/// Words that rows share: the name of a list, and what `@name` stands for.
type Lists = BTreeMap<String, Vec<String>>;

/// Files of one's own, the strongest first, and the one that comes with the program.
pub(super) fn files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
    TableFile::read_all(own, EMBEDDED)
}

/// All rows of the phrase table and what they are proved by.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    /// The rows, in their order.
    rows: Vec<Row>,
    /// The same as people see them; made for the first who asks, and judging asks for none.
    shown: OnceLock<Vec<Phrase>>,
    /// Their examples.
    pub examples: Vec<Example>,
}

/// A row as it is read, and what follows from its reason.
#[derive(Debug)]
struct Row {
    placed: Placed<PhraseSpec>,
    judgement: Judgement,
    advice: String,
}

impl Phrases {
    /// The rows, in their order.
    pub(super) fn rows(&self) -> &[Phrase] {
        self.shown.get_or_init(|| self.rows.iter().map(phrase).collect())
    }
}

/// Reads phrases from files, the strongest first, and adds their rules.
///
/// # Errors
/// Unknown keys, words, scopes and rows, empty words, bad codes, phrases that are too short, ids used twice, scopes that nobody uses.
pub(super) fn read(files: &[Arc<TableFile>], reasons: &Reasons, rules: &mut Builder) -> Result<Phrases, TableError> {
    let mut layers = Vec::new();
    let mut scopes: Scopes = HashMap::new();
    let mut lists = Lists::new();
    let mut list_places: HashMap<String, (Arc<TableFile>, Range<usize>)> = HashMap::new();
    let mut used = HashSet::new();
    for file in files {
        let File {
            drop,
            or,
            or_else,
            or_same,
            living,
            conditions,
            denials,
            named,
            whose,
            others,
            instead,
            prepositions,
            auxiliaries,
            before_answer,
            list,
            scope,
            phrase,
        } = file.parse()?;
        for word in &or_same {
            rules.or_same(word.get_ref()).map_err(|it| file.refuse(&word.span(), &format!("`or_same`: {it}")))?;
        }
        for word in &living {
            rules.living(word.get_ref()).map_err(|it| file.refuse(&word.span(), &format!("`living`: {it}")))?;
        }
        let doubts = &mut rules.doubts;
        doubts.or.extend(all_folded(file, "or", &or)?);
        doubts.or_else.extend(all_folded(file, "or_else", &or_else)?);
        doubts.conditions.extend(all_folded(file, "if", &conditions)?);
        doubts.denials.extend(all_folded(file, "denials", &denials)?);
        doubts.named.extend(all_folded(file, "named", &named)?);
        doubts.whose.extend(all_folded(file, "whose", &whose)?);
        doubts.others.extend(all_folded(file, "others", &others)?);
        let gap_words = &mut rules.gap_words;
        gap_words.instead.extend(all_folded(file, "instead", &instead)?);
        gap_words.prepositions.extend(all_folded(file, "prepositions", &prepositions)?);
        gap_words.auxiliaries.extend(all_folded(file, "auxiliaries", &auxiliaries)?);
        gap_words.before_answer.extend(all_folded(file, "before_answer", &before_answer)?);
        for (name, words) in list {
            let place = words.span();
            if let Some((stronger, stronger_place)) = list_places.get(&name) {
                // Rows of the weaker file would say something else unnoticed.
                let problem = format!("there is a list `{name}` in {} already; give this one another name", file.name);
                return Err(stronger.refuse(stronger_place, &problem));
            }
            if name.is_empty() || !name.chars().all(is_list_name) {
                let problem = format!("`{name}` is no name of a list: lower-case letters and `_` are");
                return Err(file.refuse(&place, &problem));
            }
            if words.get_ref().is_empty() || words.get_ref().iter().any(|word| list_in(word).is_some()) {
                let problem = format!("the list `{name}` needs words, and none of them may be another list");
                return Err(file.refuse(&place, &problem));
            }
            list_places.insert(name.clone(), (Arc::clone(file), place));
            lists.insert(name, words.into_inner());
        }
        used.extend(phrase.iter().filter_map(|row| row.scope.as_ref()).map(|name| name.get_ref().clone()));
        for (name, spec) in scope {
            let place = spec.span();
            if !used.contains(&name) {
                return Err(file.refuse(&place, &format!("[scope.{name}] is used by no row")));
            }
            let spec = spec.into_inner();
            let hosts = spec.remote_mta.iter().map(|host| host.to_lowercase()).collect();
            let texts = numbers(file, &spec.text, |text| rules.phrase(text))?;
            let number = rules.scope(Scope { hosts, texts });
            let problem = format!("there is a [scope.{name}] already, in {}; choose another name", file.name);
            if let Some((_, first, place)) = scopes.insert(name, (number, Arc::clone(file), place)) {
                return Err(first.refuse(&place, &problem));
            }
        }
        layers.push(Layer { file: Arc::clone(file), rows: phrase, drop });
    }
    let mut phrases = Phrases::default();
    for placed in overlay(layers)? {
        let Placed { file, row } = &placed;
        let when = conditions_of(file, row, &scopes, &lists, rules)?;
        let own =
            Deviation { class: row.class, fault: row.fault, because: row.because.as_deref(), is_own: file.is_own() };
        let judgement = reasons
            .judgement(*row.reason.get_ref(), None, &own)
            .map_err(|problem| file.refuse(&row.reason.span(), &problem))?;
        let advice = reasons.advice(judgement, None).to_owned();
        let id = row.id.get_ref().as_str();
        phrases.examples.extend(Example::of_row(file, (id, &row.id.span()), &row.accepts, &row.rejects)?);
        rules.rule(Rule {
            id: id.to_owned(),
            name: name_of(id),
            table: RuleTable::Phrases,
            judgement,
            rank: Rank::of_phrase(row.scope.is_some(), row.strength),
            advice: advice.clone(),
            of_another: row.speaks_of.is_some(),
            frame: row.frame,
            conditions: when,
        });
        phrases.rows.push(Row { placed, judgement, advice });
    }
    Ok(phrases)
}

fn conditions_of(
    file: &TableFile,
    row: &PhraseSpec,
    scopes: &Scopes,
    lists: &Lists,
    rules: &mut Builder,
) -> Result<Conditions, TableError> {
    if row.says.is_empty() && row.words.is_empty() && row.shapes.is_empty() {
        let problem =
            format!("`{}` has neither `says` nor `words` nor `shapes` and can never answer", row.id.get_ref());
        return Err(file.refuse(&row.id.span(), &problem));
    }
    let scope = match &row.scope {
        None => None,
        Some(name) => match scopes.get(name.get_ref()) {
            Some((number, ..)) => Some(*number),
            None => {
                let problem = format!("there is no [scope.{}] in this table", name.get_ref());
                return Err(file.refuse(&name.span(), &problem));
            }
        },
    };
    let mut unless = Vec::with_capacity(row.unless.len());
    for entry in &row.unless {
        unless.push(all_numbers(file, slice::from_ref(entry), lists, |text| rules.phrase(text))?);
    }
    let mut shapes = Vec::with_capacity(row.shapes.len());
    for shape in &row.shapes {
        let between = *shape.between.get_ref();
        if between > FARTHEST || shape.about.is_empty() || shape.says.is_empty() {
            let problem =
                format!("a shape needs words in `about` and in `says`, and at most {FARTHEST} `between` them");
            return Err(file.refuse(&shape.between.span(), &problem));
        }
        shapes.push(Shape {
            about: all_numbers(file, &shape.about, lists, |word| rules.word(word))?.into(),
            says: all_numbers(file, &shape.says, lists, |word| rules.word(word))?.into(),
            between,
            order: shape.order,
        });
    }
    let status = |text: &str| {
        StatusFilter::parse(text).ok_or_else(|| format!("`{text}` is not a status such as 5.7.1, 5.1.* or x.1.1"))
    };
    let reply = |text: &str| text.parse::<ReplyCode>().map_err(|_| format!("`{text}` is not a reply code such as 550"));
    Ok(Conditions {
        scope,
        says: all_numbers(file, &row.says, lists, |text| rules.phrase(text))?,
        words: all_numbers(file, &row.words, lists, |word| rules.word(word))?,
        shapes,
        with: numbers(file, &row.with, |text| rules.phrase(text))?,
        unless,
        status: numbers(file, &row.status, status)?,
        reply: numbers(file, &row.reply, reply)?,
    })
}

/// What entries amount to, with every word that they stand for.
fn all_numbers(
    file: &TableFile,
    entries: &[Spanned<String>],
    lists: &Lists,
    mut number: impl FnMut(&str) -> Result<usize, String>,
) -> Result<Vec<usize>, TableError> {
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let added = spell_out(entry.get_ref(), lists, &mut |words| number(words).map(|number| all.push(number)));
        added.map_err(|problem| file.refuse(&entry.span(), &problem))?;
    }
    Ok(all)
}

/// So many words may one entry stand for: lists multiply.
const MOST_SPELLINGS: usize = 1000;

const fn is_list_name(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// Where an entry first names a list: the `@` and the end of the name.
fn list_in(entry: &str) -> Option<Range<usize>> {
    let at = memchr::memchr_iter(b'@', entry.as_bytes()).find(|&at| at == 0 || entry[..at].ends_with(' '))?;
    let name = &entry[at + 1..];
    Some(at..at + 1 + name.find(|c: char| !(is_list_name(c) || c.is_alphanumeric())).unwrap_or(name.len()))
}

/// Hands out an entry with each of the words in place of `@name`: `@be full` is "is full", "was full" … and one that
/// names no list as it is.
fn spell_out(entry: &str, lists: &Lists, add: &mut dyn FnMut(&str) -> Result<(), String>) -> Result<(), String> {
    let (mut parts, mut rest, mut count) = (Vec::new(), entry, 1);
    while let Some(named) = list_in(rest) {
        let name = &rest[named.start + 1..named.end];
        let words = lists.get(name).ok_or_else(|| format!("there is no list `{name}` in this table"))?;
        count *= words.len();
        if count > MOST_SPELLINGS {
            return Err(format!("`{entry}` stands for more than {MOST_SPELLINGS} phrases; name fewer lists in it"));
        }
        parts.push((&rest[..named.start], words.as_slice()));
        rest = &rest[named.end..];
    }
    if parts.is_empty() { add(entry) } else { spell_parts(&parts, rest, &mut String::new(), add) }
}

/// Hands out what is spelled already with each of the words of the parts behind it, and at the end the rest.
fn spell_parts(
    parts: &[(&str, &[String])],
    rest: &str,
    spelled: &mut String,
    add: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let len = spelled.len();
    let Some(((before, words), parts)) = parts.split_first() else {
        spelled.push_str(rest);
        add(spelled)?;
        spelled.truncate(len);
        return Ok(());
    };
    for word in *words {
        spelled.push_str(before);
        spelled.push_str(word);
        spell_parts(parts, rest, spelled, add)?;
        spelled.truncate(len);
    }
    Ok(())
}

/// What each text amounts to; what is refused is given its place.
fn numbers<T>(
    file: &TableFile,
    texts: &[Spanned<String>],
    mut number: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, TableError> {
    let one = |text: &Spanned<String>| number(text.get_ref()).map_err(|problem| file.refuse(&text.span(), &problem));
    texts.iter().map(one).collect()
}

/// Words of a list at the head of a file, as texts are compared with them.
fn all_folded(file: &TableFile, key: &str, words: &[Spanned<String>]) -> Result<Vec<String>, TableError> {
    let one = |word: &Spanned<String>| {
        let folded = folded(word.get_ref());
        let problem = if folded.trim().is_empty() {
            format!("`{key}` has a word without letters, which would fit everywhere; take it out")
        } else if folded.contains('*') {
            format!("`{key}`: `*` stands for no ending here; write each out instead of `{}`", word.get_ref())
        } else if key == "denials" && folded.len() < SHORTEST_DENIAL {
            format!("`{key}`: `{}` would deny almost anything; write {SHORTEST_DENIAL} octets or more", word.get_ref())
        } else {
            return Ok(folded.into_owned());
        };
        Err(file.refuse(&word.span(), &problem))
    };
    words.iter().map(one).collect()
}

/// What names a row in verdicts.
fn name_of(id: &str) -> String {
    format!("phrases:{id}")
}

fn phrase(Row { placed: Placed { file, row }, judgement, advice }: &Row) -> Phrase {
    let plain = |texts: &[Spanned<String>]| texts.iter().map(|text| text.get_ref().clone()).collect::<Vec<_>>();
    let shape = |shape: &ShapeSpec| ShapeText {
        about: plain(&shape.about),
        says: plain(&shape.says),
        between: *shape.between.get_ref(),
        order: shape.order,
    };
    let id = row.id.get_ref().clone();
    Phrase {
        rule: name_of(&id),
        id,
        judgement: *judgement,
        because: row.because.clone(),
        strength: row.strength,
        speaks_of: row.speaks_of,
        frame: row.frame,
        scope: row.scope.as_ref().map(|name| name.get_ref().clone()),
        says: plain(&row.says),
        words: plain(&row.words),
        shapes: row.shapes.iter().map(shape).collect(),
        with: plain(&row.with),
        unless: plain(&row.unless),
        status: plain(&row.status),
        reply: plain(&row.reply),
        lang: row.lang.clone(),
        source: row.source.clone(),
        accepts: plain(&row.accepts),
        rejects: plain(&row.rejects),
        advice: advice.clone(),
        file: file.name.clone(),
        line: file.line(row.id.span().start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        classify::rules::{Rules, Speaker},
        codes::CodeTable,
        text::Asides,
    };

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
with = ["recipient", "by name"]
status = ["5.4.1"]
reason = "user_unknown"

[[phrase]]
id = "shaped"
says = ["no box here"]
shapes = [{ about = ["kutija*", "box"], says = ["ne postoji"], between = 20, order = "about_first" }]
reason = "user_unknown"
"#;

    fn compiled(table: &str) -> Result<Rules, TableError> {
        let mut builder = Builder::default();
        read(&[TableFile::of_test("t.toml", table)], CodeTable::embedded().reasons(), &mut builder)?;
        Ok(builder.build())
    }

    fn fitting(text: &str, speaker: &Speaker<'_>) -> Vec<(String, String)> {
        let rules = compiled(TABLE).unwrap();
        let fits = rules.fits(&rules.read(text, &Asides::default()), speaker);
        fits.into_iter().map(|fit| (fit.rule.id.clone(), text[fit.range].to_owned())).collect()
    }

    #[test]
    fn rows_fit_when_all_their_conditions_hold() {
        let nobody = Speaker::default();
        let hosts = ["mx.example.org".to_owned()];
        let others = ["badexample.org".to_owned()];
        let with_status = |status: &str| Speaker { status: status.parse().ok(), ..nobody };
        let coded = with_status("5.4.1");
        for (text, speaker, expected) in [
            ("das postfach ist leer, postfach uberfullt", nobody, Some(("full", "postfach uberfullt"))),
            ("not because mailbox full", nobody, None),
            ("gone fishing", nobody, None),
            ("gone fishing, says example postmaster", nobody, Some(("example.gone", "gone fishing"))),
            ("gone fishing", Speaker { hosts: &hosts, ..nobody }, Some(("example.gone", "gone fishing"))),
            ("gone fishing", Speaker { hosts: &others, ..nobody }, None),
            ("recipient by name: access denied", nobody, None),
            ("access denied", coded, None),
            ("recipient: access denied", coded, None),
            ("recipient by name: access denied", coded, Some(("coded", "access denied"))),
            ("recipient by name: access denied", with_status("5.4.2"), None),
            ("recipient by name: access denied", with_status("5.5.1"), None),
            ("recipient by name: access denied", with_status("4.4.1"), None),
            ("sorry, no box here", nobody, Some(("shaped", "no box here"))),
            ("sorry, kutijama se ne postoji", nobody, Some(("shaped", "kutijama se ne postoji"))),
            ("kutija. ne postoji", nobody, None),
        ] {
            let expected: Vec<_> = expected.iter().map(|(id, words)| ((*id).to_owned(), (*words).to_owned())).collect();
            assert_eq!(fitting(text, &speaker), expected, "{text}");
        }
    }

    #[test]
    fn slips_are_refused_with_file_and_line() {
        let row = |line: &str| format!("[[phrase]]\nid = \"a\"\nsays = [\"some words\"]\nreason = \"spam\"\n{line}\n");
        for (line, says) in [
            ("colour = 1", "t.toml:5: unknown key `colour`"),
            ("scope = \"mars\"", "t.toml:5: there is no [scope.mars]"),
            ("[scope.mars]\ntext = [\"martian\"]", "t.toml:5: [scope.mars] is used by no row"),
            ("status = [\"9.1.1\"]", "t.toml:5: `9.1.1` is not a status"),
            ("reply = [\"5.1.1\"]", "t.toml:5: `5.1.1` is not a reply code"),
            ("with = [\"ab\"]", "t.toml:5: the phrase `ab` is too short"),
            ("words = [\"x*\"]", "t.toml:5: `x*` is too short"),
            ("class = \"hard\"", "t.toml:4: this deviates from what follows from `spam`"),
            (
                "shapes = [{ about = [\"box\"], says = [\"fu*ll\"], between = 9, order = \"either\" }]",
                "t.toml:5: `fu*ll` is no word or words",
            ),
            (
                "shapes = [{ about = [\"box\"], says = [\"full\"], between = 999, order = \"either\" }]",
                "t.toml:5: a shape needs words",
            ),
            (
                "[[phrase]]\nid = \"a\"\nsays = [\"other\"]\nreason = \"spam\"",
                "t.toml:6: there is a row `a` already, in t.toml:2",
            ),
            ("[list]\na = [\"@a x\"]", "t.toml:6: the list `a` needs words, and none of them may be another list"),
            ("[list]\na = []", "t.toml:6: the list `a` needs words"),
            ("[list]\nA2 = [\"x\"]", "t.toml:6: `A2` is no name of a list"),
            ("unless = [\"@nobody said\"]\n", "t.toml:5: there is no list `nobody`"),
            ("[[phrase]]\nid = \"b\"\nreason = \"spam\"", "t.toml:6: `b` has neither `says` nor `words` nor `shapes`"),
        ] {
            let error = compiled(&row(line)).expect_err(line).to_string();
            assert!(error.starts_with(says), "{error}");
        }
        for (head, says) in [
            ("or = [\"oder\", \" \"]", "t.toml:1: `or` has a word without letters"),
            ("if = [\"\"]", "t.toml:1: `if` has a word without letters"),
            ("instead = [\n\"polic*\"]", "t.toml:2: `instead`: `*` stands for no ending here; write each out"),
            ("denials = [\"no\"]", "t.toml:1: `denials`: `no` would deny almost anything"),
            ("or_same = [\"\"]", "t.toml:1: `or_same`: "),
            ("living = [\"x\"]", "t.toml:1: `living`: "),
        ] {
            let error = compiled(&format!("{head}\n{}", row(""))).expect_err(head).to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
