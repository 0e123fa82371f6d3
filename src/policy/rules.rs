//! config/policy.toml and files of one's own over it -> rules, each of which can be what it says. Knows no address.

use std::{collections::BTreeSet, fmt, marker::PhantomData, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{CaseKind, alarms, brake, enough::Asked, span::Span};
use crate::{
    codes::{Class, Fault, Reason},
    report::Trust,
    suppression::HISTORY_DAYS,
    tables::{self, IdleRow, Layer, OwnRow, Placed, TableError, TableFile, named_row},
    text::{Address, count, grouped},
};

/// What stands in one file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    drop: Vec<Spanned<String>>,
    #[serde(default, rename = "rule")]
    rules: Vec<RuleRow>,
    #[serde(default)]
    pub(super) brake: brake::Keys,
    #[serde(default)]
    pub(super) alarms: alarms::Keys,
}

/// A row as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRow {
    id: Spanned<String>,
    replaces: Option<Spanned<String>>,
    #[serde(default)]
    kind: CaseKind,
    #[serde(default, deserialize_with = "class")]
    class: Option<Class>,
    #[serde(default, deserialize_with = "words")]
    reasons: Vec<Reason>,
    #[serde(default, deserialize_with = "words")]
    fault: Vec<Fault>,
    #[serde(default, deserialize_with = "words")]
    domain: Vec<Domain>,
    #[serde(default, deserialize_with = "words")]
    mailbox: Vec<String>,
    #[serde(default, deserialize_with = "words")]
    trust: Vec<Trust>,
    count: Option<Number>,
    within: Option<Span>,
    spread: Option<Span>,
    spacing: Option<Span>,
    #[serde(rename = "for")]
    lasts: Lasts,
    because: Option<String>,
}

named_row!(RuleRow);

/// One row of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What names it.
    pub id: String,
    /// Why it is as it is, for people.
    pub because: Option<String>,
    pub(super) asked: Asked,
    pub(super) lasts: Lasts,
    scope: Scope,
}

/// What a rule is for. Where a list is empty, everything fits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    kind: CaseKind,
    class: Option<Class>,
    reasons: Vec<Reason>,
    /// Never empty in a rule for bounces.
    faults: Vec<Fault>,
    domains: Vec<String>,
    mailboxes: Vec<String>,
    trusts: Vec<Trust>,
}

/// How long an entry lasts that a rule makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lasts {
    /// It makes none.
    Never,
    /// The first time, the second time …; `None` for good.
    For(Vec<Option<Span>>),
}

/// What a rule looks at of a bounce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub class: Class,
    pub reason: Reason,
    pub fault: Fault,
    pub domain: &'a str,
    pub mailbox: Option<&'a str>,
    pub trust: Trust,
}

impl Rule {
    /// Whether it is for such a bounce.
    pub(super) fn fits_bounce(&self, seen: Seen<'_>) -> bool {
        let scope = &self.scope;
        scope.kind == CaseKind::Bounce
            && seen.class != Class::Success
            && scope.class.is_none_or(|class| class == seen.class)
            && any_or(&scope.reasons, |reason| *reason == seen.reason)
            && scope.faults.contains(&seen.fault)
            && scope.is_for(seen.domain, seen.mailbox, seen.trust)
    }

    /// Whether it is for a complaint by somebody of that domain, read in that mailbox, that is to be believed so far.
    pub(super) fn fits_complaint(&self, domain: &str, mailbox: &str, trust: Trust) -> bool {
        self.scope.kind == CaseKind::Complaint && self.scope.is_for(domain, Some(mailbox), trust)
    }

    /// Whether it matters to it where a bounce was read.
    pub(super) const fn asks_mailbox(&self) -> bool {
        !self.scope.mailboxes.is_empty()
    }

    /// Where the bounces are read that it is for, by the names of mailboxes; anywhere where there are none.
    #[must_use]
    pub fn mailboxes(&self) -> &[String] {
        &self.scope.mailboxes
    }

    /// The longest time between the first and the last bounce that it counts together; `None` where one is enough.
    #[must_use]
    pub fn looks_back(&self) -> Option<Span> {
        (!self.asked.is_one()).then(|| Span::of_seconds(self.asked.within))
    }

    /// Whether what it is for suppresses nobody.
    #[must_use]
    pub const fn says_never(&self) -> bool {
        matches!(self.lasts, Lasts::Never)
    }

    /// Whether an entry that it makes lasts for good from the first time on.
    pub(super) fn is_for_good(&self) -> bool {
        self.lasts == Lasts::For(vec![None])
    }

    /// How long an entry lasts, where so many before it ran out; `None` for good.
    pub(super) fn lasts_after(&self, ran_out: usize) -> Option<Span> {
        match &self.lasts {
            Lasts::Never => None,
            Lasts::For(times) => times.get(ran_out).or(times.last()).copied().flatten(),
        }
    }
}

/// As `bounced check` prints it: `2 hard bounces (bad_domain) within 60 days, the first and the last at least 24 hours
/// apart: for good`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { kind, class, reasons, faults, domains, mailboxes, trusts } = &self.scope;
        let what = match (kind, class) {
            (CaseKind::Complaint, _) => "complaint".to_owned(),
            (CaseKind::Bounce, Some(class)) => format!("{class} bounce"),
            (CaseKind::Bounce, None) => "bounce".to_owned(),
        };
        f.write_str(&count(self.asked.count.into(), &what))?;
        let mut only = Vec::new();
        if !reasons.is_empty() {
            only.push(list(reasons));
        }
        if *kind == CaseKind::Bounce && *faults != [Fault::Recipient] {
            only.push(format!("fault {}", list(faults)));
        }
        if !domains.is_empty() {
            only.push(format!("at {}", list(domains)));
        }
        if !mailboxes.is_empty() {
            only.push(format!("read in {}", list(mailboxes)));
        }
        if !trusts.is_empty() {
            only.push(list(trusts));
        }
        if !only.is_empty() {
            write!(f, " ({})", only.join("; "))?;
        }
        let Asked { within, spread, spacing, .. } = self.asked;
        if !self.asked.is_one() {
            write!(f, " within {}", Span::of_seconds(within))?;
        }
        if spread > 0 {
            write!(f, ", the first and the last at least {} apart", Span::of_seconds(spread))?;
        }
        if spacing > 0 {
            write!(f, ", those within {} counted once", Span::of_seconds(spacing))?;
        }
        match &self.lasts {
            Lasts::Never => f.write_str(": never"),
            Lasts::For(times) => {
                let told = times.iter().map(|time| time.map_or("for good".to_owned(), |span| span.to_string()));
                let first = if times.first().is_some_and(Option::is_some) { "for " } else { "" };
                write!(f, ": {first}{}", told.collect::<Vec<_>>().join(", then "))
            }
        }
    }
}

fn list<T: fmt::Display>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn any_or<T>(all: &[T], fits: impl Fn(&T) -> bool) -> bool {
    all.is_empty() || all.iter().any(fits)
}

impl Scope {
    fn is_for(&self, domain: &str, mailbox: Option<&str>, trust: Trust) -> bool {
        any_or(&self.domains, |of| of == domain)
            && any_or(&self.mailboxes, |of| Some(of.as_str()) == mailbox)
            && any_or(&self.trusts, |of| *of == trust)
    }

    /// Whether everything that fits the other fits this one, too.
    fn covers(&self, other: &Self) -> bool {
        fn all_of<T: PartialEq>(all: &[T], others: &[T]) -> bool {
            all.is_empty() || (!others.is_empty() && others.iter().all(|one| all.contains(one)))
        }
        self.kind == other.kind
            && (self.class.is_none() || self.class == other.class)
            && all_of(&self.reasons, &other.reasons)
            && all_of(&self.faults, &other.faults)
            && all_of(&self.domains, &other.domains)
            && all_of(&self.mailboxes, &other.mailboxes)
            && all_of(&self.trusts, &other.trusts)
    }
}

/// One's own files, and below them the one that comes with the program.
///
/// # Errors
/// A file can't be read.
pub(super) fn files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
    TableFile::read_all(own, tables::embedded!("policy"))
}

/// The rules of files, the strongest first.
///
/// # Errors
/// A row is refused; the text names file and line.
pub(super) fn of_files(files: &[Arc<TableFile>]) -> Result<Vec<Rule>, TableError> {
    let mut layers = Vec::new();
    for file in files {
        let File { drop, rules, .. } = file.parse()?;
        layers.push(Layer { file: Arc::clone(file), rows: rules, drop });
    }
    let mut rules: Vec<(Arc<TableFile>, Rule)> = Vec::new();
    for Placed { file, row } in tables::overlay(layers)? {
        let place = row.id.span();
        let id = row.id.get_ref().clone();
        let refuse = |problem: &str| file.refuse(&place, &format!("`{id}` {problem}"));
        let rule = row.check().map_err(|problem| refuse(&problem))?;
        // One's own rows may well hide those that come with the program.
        let hides = |(of, before): &&(Arc<TableFile>, Rule)| Arc::ptr_eq(of, &file) && before.scope.covers(&rule.scope);
        if let Some((_, before)) = rules.iter().find(hides) {
            return Err(refuse(&format!("can never answer: `{}` above it fits all that it is for", before.id)));
        }
        rules.push((file, rule));
    }
    Ok(rules.into_iter().map(|(_, rule)| rule).collect())
}

/// Rows of one's own without which each bounce and each complaint would be answered alike, and counted together with the
/// same others.
///
/// # Errors
/// A row is refused; the text names file and line.
pub(super) fn idle_rows(files: &[Arc<TableFile>]) -> Result<Vec<IdleRow>, TableError> {
    let mut own = Vec::new();
    for file in files.iter().filter(|file| file.is_own()) {
        let rows = file.parse::<File>()?.rules;
        own.extend(rows.into_iter().map(|row| OwnRow::new(file, &row.id, ())));
    }
    let places = Places::named_by(&of_files(files)?);
    tables::idle_rows(files, of_files, own, |rules, ()| places.answers(rules))
}

/// The domains and mailboxes that make a difference to some rule, and one of each that makes none to any.
struct Places {
    domains: BTreeSet<String>,
    mailboxes: BTreeSet<String>,
}

impl Places {
    fn named_by(rules: &[Rule]) -> Self {
        // No domain and no mailbox has this name.
        let other = || std::iter::once(String::new());
        Self {
            domains: rules.iter().flat_map(|rule| rule.scope.domains.clone()).chain(other()).collect(),
            mailboxes: rules.iter().flat_map(|rule| rule.scope.mailboxes.clone()).chain(other()).collect(),
        }
    }

    /// For whatever can come there: what the rule that answers asks and does, and with which it is counted together first.
    fn answers(&self, rules: &[Rule]) -> Vec<Option<(Asked, Lasts, usize)>> {
        let places = self.domains.iter().flat_map(|domain| self.mailboxes.iter().map(move |mailbox| (domain, mailbox)));
        let of_each = |(domain, mailbox)| Trust::ALL.iter().map(move |&trust| (domain, mailbox, trust));
        let found = places.flat_map(of_each).flat_map(|(domain, mailbox, trust): (&String, &String, _)| {
            let complaint = rules.iter().position(|rule| rule.fits_complaint(domain, mailbox, trust));
            let judgements = Class::ALL.iter().flat_map(|&class| {
                let of_each = move |&reason| Fault::ALL.iter().map(move |&fault| (class, reason, fault));
                Reason::ALL.iter().flat_map(of_each)
            });
            let bounces = judgements.map(move |(class, reason, fault)| {
                let seen = Seen { class, reason, fault, domain, mailbox: Some(mailbox), trust };
                rules.iter().position(|rule| rule.fits_bounce(seen))
            });
            std::iter::once(complaint).chain(bounces)
        });
        let mut first = vec![None; rules.len()];
        let mut answer = |place: usize, rule: usize| {
            let Rule { asked, lasts, .. } = &rules[rule];
            // Where one is enough nothing is counted together.
            let together = if asked.is_one() { 0 } else { *first[rule].get_or_insert(place) };
            (*asked, lasts.clone(), together)
        };
        // What no rule is for is answered as if one said never.
        let found = found.map(|rule| rule.filter(|&rule| !rules[rule].says_never()));
        found.enumerate().map(|(place, rule)| rule.map(|rule| answer(place, rule))).collect()
    }
}

impl RuleRow {
    /// The row as a rule, or what is wrong with it.
    fn check(self) -> Result<Rule, String> {
        let Self { id, kind, class, reasons, mut fault, domain, mailbox, trust: trusts, lasts, because, .. } = self;
        let asks = self.count.is_some() || self.within.is_some() || self.spread.is_some() || self.spacing.is_some();
        if kind == CaseKind::Complaint {
            if class.is_some() || !reasons.is_empty() || !fault.is_empty() {
                return Err("is for complaints, which have no class, reasons and fault: leave them out".to_owned());
            }
            if asks {
                return Err(
                    "is for complaints, of which one is enough: leave count, within, spread and spacing out".to_owned()
                );
            }
        } else if fault.is_empty() {
            fault.push(Fault::Recipient);
        }
        if lasts == Lasts::Never && asks {
            return Err("never suppresses: leave count, within, spread and spacing out".to_owned());
        }
        let asked = asked(self.count.map(|Number(count)| count), self.within, self.spread, self.spacing)?;
        let domains = domain.into_iter().map(|Domain(domain)| domain).collect();
        let scope = Scope { kind, class, reasons, faults: fault, domains, mailboxes: mailbox, trusts };
        Ok(Rule { id: id.into_inner(), because, asked, lasts, scope })
    }
}

/// Bounces that a rule may ask for at most: more say nothing, and are slow to count.
const MOST: u32 = 1_000;

/// What a rule asks for, if that can be.
fn asked(
    number: Option<u32>,
    within: Option<Span>,
    spread: Option<Span>,
    spacing: Option<Span>,
) -> Result<Asked, String> {
    let number = number.unwrap_or(1);
    if !(1..=MOST).contains(&number) {
        return Err(format!("has count {}, expected 1 to {}", grouped(number.into()), grouped(MOST.into())));
    }
    let seconds = |span: Option<Span>| span.map_or(0, Span::seconds);
    let asked = Asked { count: number, within: seconds(within), spread: seconds(spread), spacing: seconds(spacing) };
    if asked.is_one() {
        return if asked.within + asked.spread + asked.spacing > 0 {
            Err("is satisfied with one bounce: leave within, spread and spacing out, or say count".to_owned())
        } else {
            Ok(asked)
        };
    }
    let Some(within) = within else {
        return Err(format!("asks for {number} bounces: say within what time, as within = \"60d\""));
    };
    let longest = Span::days(HISTORY_DAYS);
    if within > longest {
        return Err(format!("has within {within}, expected at most {longest}: nothing older is looked at"));
    }
    if let Some(spread) = spread.filter(|&spread| spread > within) {
        return Err(format!("has spread {spread}, expected at most within ({within})"));
    }
    if asked.spacing.saturating_mul(i64::from(number) - 1) > asked.within {
        return Err(format!(
            "can never suppress: {number} bounces, each counted {} after the one before, don't fit within {within}",
            Span::of_seconds(asked.spacing)
        ));
    }
    Ok(asked)
}

/// A domain in the form of normalised addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Domain(pub(super) String);

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = Address::parse(&format!("anybody@{text}")).filter(|_| !text.contains('@'));
        address
            .map(|address| Self(address.domain().to_owned()))
            .ok_or_else(|| format!("`{text}` is no domain; expected one, as example.org"))
    }
}

/// The class of a bounce of which somebody has failed.
fn class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Class>, D::Error> {
    let word = String::deserialize(deserializer)?;
    let class = word.parse().ok().filter(|class| *class != Class::Success);
    class.map(Some).ok_or_else(|| de::Error::custom(format!("`{word}` fails nobody; expected hard or soft")))
}

/// A whole number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) u32);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl de::Visitor<'_> for Written {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number without quotes, as 3")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
                u32::try_from(number).map(Number).map_err(wrong)
            }
        }

        deserializer.deserialize_i64(Written)
    }
}

/// A whole number that has to be 1 to `most`, or the one before where the file says nothing of it.
///
/// # Errors
/// It is not; the text names file and line.
pub(super) fn number(
    file: &TableFile,
    key: &str,
    value: Option<&Spanned<Number>>,
    before: u32,
    most: u32,
) -> Result<u32, TableError> {
    match value {
        Some(value) if !(1..=most).contains(&value.get_ref().0) => {
            let expected = if most == u32::MAX { "1 or more".to_owned() } else { format!("1 to {most}") };
            Err(file.refuse(&value.span(), &format!("{key} is {}, expected {expected}", value.get_ref().0)))
        }
        value => Ok(value.map_or(before, |value| value.get_ref().0)),
    }
}

/// One word, or a list of some; left out it means any.
fn words<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    words_or(deserializer, "expected at least one word; left out: any")
}

/// The same, where an empty list is refused in other words.
fn words_or<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
    empty: &'static str,
) -> Result<Vec<T>, D::Error> {
    struct Words<T>(&'static str, PhantomData<T>);

    impl<'de, T: FromStr<Err: fmt::Display>> de::Visitor<'de> for Words<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word or a list of words")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            Ok(vec![text.parse().map_err(E::custom)?])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut all: A) -> Result<Vec<T>, A::Error> {
            let mut words = Vec::new();
            while let Some(text) = all.next_element::<String>()? {
                words.push(text.parse().map_err(de::Error::custom)?);
            }
            if words.is_empty() { Err(de::Error::custom(self.0)) } else { Ok(words) }
        }
    }

    deserializer.deserialize_any(Words(empty, PhantomData))
}

impl<'de> Deserialize<'de> for Lasts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let empty = "expected \"forever\", \"never\", a time as \"30d\", or a list of rising times";
        let times: Vec<Time> = words_or(deserializer, empty)?;
        let refuse = |problem: &str| Err(de::Error::custom(problem));
        if times == [Time::Never] {
            return Ok(Self::Never);
        }
        if times.contains(&Time::Never) {
            return refuse("`never` stands alone");
        }
        if !times.is_sorted_by(|one, next| one < next) {
            return refuse("each time is to last longer than the one before");
        }
        Ok(Self::For(times.into_iter().map(Time::span).collect()))
    }
}

/// One word of `for`; they sort from the shortest to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Time {
    Never,
    For(Span),
    Forever,
}

impl Time {
    const fn span(self) -> Option<Span> {
        match self {
            Self::For(span) => Some(span),
            Self::Never | Self::Forever => None,
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "forever" => Ok(Self::Forever),
            _ => text.parse().map(Self::For).map_err(|error| format!("{error}, \"forever\" or \"never\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Result<Vec<Rule>, String> {
        let own = texts.iter().enumerate().map(|(n, text)| TableFile::of_test(&format!("{n}.toml"), text));
        let embedded = TableFile::embedded(tables::embedded!("policy"));
        of_files(&own.chain([embedded]).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    fn embedded() -> Vec<Rule> {
        of_files(&files(&[]).unwrap()).unwrap()
    }

    fn told(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(|rule| format!("{}: {rule}", rule.id)).collect()
    }

    #[test]
    fn the_policy_that_comes_with_the_program_is_the_documented_one() {
        assert_eq!(
            told(&embedded()),
            [
                "complaint: 1 complaint: for good",
                "bad-domain: 2 hard bounces (bad_domain) within 60 days, the first and the last at least 24 hours apart: \
                 for good",
                "hard: 1 hard bounce: for good",
                "mailbox-full: 5 soft bounces (mailbox_full) within 60 days, the first and the last at least 14 days \
                 apart, those within 12 hours counted once: for 30 days, then 90 days, then for good",
                "forwarding-failed: 3 soft bounces (forwarding_failed) within 60 days, the first and the last at least 14 \
                 days apart, those within 12 hours counted once: for 30 days, then 90 days, then for good",
                "undetermined: 8 soft bounces (undetermined; fault recipient, unknown) within 120 days, the first and the \
                 last at least 30 days apart, those within 12 hours counted once: for 30 days, then 90 days, then for good",
                "soft: 8 soft bounces within 120 days, the first and the last at least 30 days apart, those within 12 \
                 hours counted once: for 30 days, then 90 days, then for good",
            ]
        );
        assert!(embedded().iter().all(|rule| rule.because.is_some()), "each row says why");
    }

    #[test]
    fn files_of_ones_own_add_replace_and_drop_rows() {
        let own = r#"
            drop = ["undetermined"]
            [[rule]]
            id = "patience"
            domain = ["Example.ORG", "bücher.example"]
            mailbox = "news"
            fault = ["unknown", "network"]
            for = "never"
            [[rule]]
            id = "full"
            replaces = "mailbox-full"
            class = "soft"
            reasons = "mailbox_full"
            count = 2
            within = "90m"
            for = "24h"
        "#;
        let all = told(&rules(&[own]).unwrap());
        assert_eq!(
            all[0],
            "patience: 1 bounce (fault unknown, network; at example.org, xn--bcher-kva.example; read in news): never"
        );
        let full = all.iter().find(|told| told.starts_with("full:")).map(String::as_str);
        assert_eq!(full, Some("full: 2 soft bounces (mailbox_full) within 90 minutes: for 24 hours"));
        let ids = |told: &[String]| told.iter().filter_map(|told| told.split(':').next()).collect::<Vec<_>>().join(" ");
        let expected = ids(&told(&embedded())).replace("mailbox-full", "full").replace(" undetermined", "");
        assert_eq!(ids(&all), format!("patience {expected}"));
    }

    #[test]
    fn a_row_that_cannot_be_is_refused_with_file_and_line() {
        let soft = "class = 'soft'\nfor = 'forever'\n";
        for (row, problem) in [
            ("for = 'never'\ncolour = 1", "3: unknown key `colour`"),
            ("class = 'soft'", "0: the key `for` is missing"),
            ("for = 'a year'", "2: for: `a year` is no length of time; expected days, hours or minutes, as \"30d\""),
            ("for = 7", "2: for: found the number 7, expected a word or a list of words"),
            ("for = ['30d', 'never']", "2: for: `never` stands alone"),
            ("for = ['forever', '30d']", "2: for: each time is to last longer than the one before"),
            ("for = ['30d', '30d']", "2: for: each time is to last longer than the one before"),
            ("for = ['forever', 'forever']", "2: for: each time is to last longer than the one before"),
            ("for = 'forever'\nreasons = 'gone'", "3: reasons: `gone` is unknown; expected one of: user_unknown"),
            ("for = 'forever'\ndomain = 'a@b.example'", "3: domain: `a@b.example` is no domain"),
            ("for = 'forever'\ndomain = '*.example'", "3: domain: `*.example` is no domain"),
            ("for = 'forever'\nclass = 'success'", "3: class: `success` fails nobody; expected hard or soft"),
            ("for = 'forever'\nclass = 'medium'", "3: class: `medium` fails nobody; expected hard or soft"),
            ("for = 'forever'\ncount = '3'", "3: count: found \"3\", expected a whole number without quotes"),
            ("for = 'forever'\ncount = -3", "3: count: found the number -3, expected a whole number"),
            ("for = []", "2: for: expected \"forever\", \"never\", a time"),
            ("for = '0d'", "2: for: `0d` is no time at all; expected days, hours or minutes"),
            ("for = 'forever'\nreasons = []", "3: reasons: expected at least one word; left out: any"),
            ("for = 'forever'\nwithin = 3", "3: within: found the number 3, expected days, hours or minutes"),
            ("for = 'forever'\nkind = 'mail'", "3: kind: unknown word `mail`, expected `bounce` or `complaint`"),
            ("for = 'forever'\nkind = 'complaint'\nclass = 'hard'", "1: `a` is for complaints, which have no class"),
            ("for = 'forever'\nkind = 'complaint'\nreasons = 'spam'", "1: `a` is for complaints, which have no class"),
            ("for = 'forever'\nkind = 'complaint'\nfault = 'sender'", "1: `a` is for complaints, which have no class"),
            ("for = 'forever'\nkind = 'complaint'\ncount = 2", "1: `a` is for complaints, of which one is enough"),
            ("for = 'never'\ncount = 2", "1: `a` never suppresses: leave count"),
            (&format!("{soft}count = 0"), "1: `a` has count 0, expected 1 to 1,000"),
            (&format!("{soft}count = 1001\nwithin = '400d'"), "1: `a` has count 1,001, expected 1 to 1,000"),
            (&format!("{soft}spacing = '1h'"), "1: `a` is satisfied with one bounce"),
            (&format!("{soft}count = 2"), "1: `a` asks for 2 bounces: say within what time"),
            (&format!("{soft}count = 2\nwithin = '401d'"), "1: `a` has within 401 days, expected at most 400 days"),
            (
                &format!("{soft}count = 2\nwithin = '30d'\nspread = '31d'"),
                "1: `a` has spread 31 days, expected at most within (30 days)",
            ),
            (
                &format!("{soft}count = 3\nwithin = '47h'\nspacing = '24h'"),
                "1: `a` can never suppress: 3 bounces, each counted 24 hours after the one before, don't fit within 47 hours",
            ),
        ] {
            let error = rules(&[&format!("[[rule]]\nid = 'a'\n{row}")]).expect_err(row);
            // The rows above begin in the third line of the file, which they call 2.
            let (line, problem) = problem.split_once(':').unwrap();
            let expected = format!("0.toml:{}:{problem}", line.parse::<usize>().unwrap() + 1);
            assert!(error.starts_with(&expected), "{error} instead of {expected}");
        }
        for row in ["count = 2\nwithin = '400d'", "count = 3\nwithin = '48h'\nspacing = '24h'\nspread = '48h'"] {
            assert!(rules(&[&format!("[[rule]]\nid = 'a'\n{soft}{row}")]).is_ok(), "{row}");
        }
    }

    #[test]
    fn a_row_of_ones_own_without_which_all_is_answered_alike_is_idle() {
        let directory = tempfile::tempdir().unwrap();
        let full =
            "class = 'soft'\nreasons = 'mailbox_full'\ncount = 5\nspread = '14d'\nwithin = '60d'\nspacing = '12h'\n";
        let graded = "for = ['30d', '90d', 'forever']";
        for (row, idle) in [
            (format!("{full}{graded}"), true),
            (format!("{full}{graded}\nreplaces = 'mailbox-full'"), true),
            (format!("{full}{graded}\ndomain = 'a.example'"), false),
            (format!("{full}for = ['30d', 'forever']"), false),
            (format!("{}{graded}", full.replace("14d", "15d")), false),
            // Its bounces would be counted together with others.
            (format!("{full}{graded}").replace("mailbox_full", "disabled"), false),
            ("fault = 'network'\nfor = 'never'".to_owned(), true),
            ("fault = ['network', 'recipient']\nfor = 'never'".to_owned(), false),
            ("kind = 'complaint'\nfor = 'forever'".to_owned(), true),
            ("class = 'hard'\nreasons = 'moved'\nfor = 'forever'".to_owned(), true),
            ("kind = 'complaint'\nfor = 'never'\nmailbox = 'a'".to_owned(), false),
        ] {
            let path = directory.path().join("own.toml");
            std::fs::write(&path, format!("\n[[rule]]\nid = 'a'\n{row}")).unwrap();
            let found = idle_rows(&files(&[path]).unwrap()).unwrap();
            let found: Vec<_> = found.iter().map(|row| (row.id.as_str(), row.line)).collect();
            assert_eq!(found, if idle { vec![("a", 3)] } else { vec![] }, "{row}");
        }
    }

    #[test]
    fn a_row_that_another_one_of_its_file_hides_is_refused() {
        for (above, below, hidden) in [
            ("class = 'soft'", "class = 'soft'\nreasons = 'disabled'", true),
            ("class = 'soft'", "class = 'hard'", false),
            ("class = 'soft'", "", false),
            ("", "class = 'soft'", true),
            ("reasons = ['moved', 'disabled']", "reasons = 'moved'", true),
            ("reasons = 'moved'", "reasons = ['moved', 'disabled']", false),
            ("reasons = 'moved'", "", false),
            ("", "fault = 'network'", false),
            ("fault = ['network', 'recipient']", "fault = 'network'", true),
            ("domain = 'a.example'", "", false),
            ("domain = 'a.example'", "domain = 'a.example'\nclass = 'hard'", true),
            ("mailbox = 'a'", "", false),
            ("mailbox = 'a'", "mailbox = 'a'", true),
            ("", "kind = 'complaint'", false),
            ("kind = 'complaint'", "kind = 'complaint'\ndomain = 'a.example'", true),
        ] {
            let row = |id: &str, row: &str| format!("[[rule]]\nid = '{id}'\nfor = 'forever'\n{row}\n");
            let read = rules(&[&(row("a", above) + &row("b", below))]);
            let expected = "`b` can never answer: `a` above it fits all that it is for";
            assert_eq!(read.is_err_and(|error| error.ends_with(expected)), hidden, "{above} {below}");
        }
    }
}
