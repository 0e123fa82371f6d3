//! All rows that answer to words, the phrases as well as the text variants of the code table, in one index: from a
//! text, read once, to the rows that fit it. Knows nothing of mails and files, and nothing of what outranks what.

use std::{cell::LazyCell, iter, net::IpAddr, ops::Range, sync::OnceLock};

use aho_corasick::AhoCorasick;
use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::{
    Rank,
    doubts::{DoubtWords, Doubts, overlap},
    shapes::{GapWords, Order, Reach, Term, together},
};
use crate::{
    codes::{Class, EnhancedStatusCode, Fault, Judgement, Reason, ReplyCode, Variant},
    text::{Address, Asides, IN_REPLY_TO, Index, fold, folded, is_same_mailbox, is_under},
};

/// Shorter phrases would fit almost any text.
const SHORTEST: usize = 4;

/// A noun that stands for any address: "joe@example.org does not exist".
const ADDRESS: &str = "(address)";

/// Patterns that are found in most replies, and rules that they call for.
const USUAL_HITS: usize = 40;

/// Shorter nouns and predicates say nothing, even in company.
const SHORTEST_WORD: usize = 2;

/// A row that answers to words.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// What names the row in its table.
    pub id: String,
    /// What names it in verdicts: `phrases:ID`, `codes:550.user-unknown`.
    pub name: String,
    pub table: RuleTable,
    /// What the row says.
    pub judgement: Judgement,
    /// How much it is worth.
    pub rank: Rank,
    /// What a person should do about it, where the row says more than its reason.
    pub advice: String,
    /// Whether it speaks of the sender, a host or the message: then nothing that is said is held against the recipient.
    pub of_another: bool,
    /// Whether its words stand around those of the server, and are heard whatever the server said.
    pub frame: bool,
    pub conditions: Conditions,
}

/// The table that a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuleTable {
    /// The phrases: the row answers wherever its conditions hold.
    Phrases,
    /// A text variant of the code table: of those of one code, the first that fits answers for the code.
    Codes { reply: ReplyCode },
}

/// When a rule fits. Numbers are those of patterns in the index.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub scope: Option<usize>,
    pub says: Vec<usize>,
    pub words: Vec<usize>,
    pub shapes: Vec<Shape>,
    pub with: Vec<usize>,
    /// Each entry with the words that it stands for.
    pub unless: Vec<Vec<usize>>,
    pub status: Vec<StatusFilter>,
    pub reply: Vec<ReplyCode>,
}

/// A shape, its words by number.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub about: NumberSet,
    pub says: NumberSet,
    pub between: usize,
    pub order: Order,
}

/// Numbers of words or patterns, a bit each: every word of a text is looked up in many shapes.
#[derive(Debug, Clone, Default)]
pub(super) struct NumberSet(Vec<u64>);

impl NumberSet {
    /// An empty one with room for numbers below this one.
    fn below(most: usize) -> Self {
        Self(vec![0; most.div_ceil(Self::BITS)])
    }

    const BITS: usize = u64::BITS as usize;

    fn has(&self, number: usize) -> bool {
        self.0.get(number / Self::BITS).is_some_and(|bits| bits >> (number % Self::BITS) & 1 == 1)
    }

    /// Whether it was not there before.
    fn insert(&mut self, number: usize) -> bool {
        let bits = &mut self.0[number / Self::BITS];
        let before = *bits;
        *bits |= 1 << (number % Self::BITS);
        *bits != before
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let mut words = self.0.iter().enumerate();
        let (mut number, mut bits) = (0, 0);
        iter::from_fn(move || {
            while bits == 0 {
                let (n, next) = words.next()?;
                (number, bits) = (n * Self::BITS, *next);
            }
            let lowest = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            Some(number + lowest)
        })
    }
}

impl From<Vec<usize>> for NumberSet {
    fn from(numbers: Vec<usize>) -> Self {
        let mut set = Self::below(numbers.iter().max().map_or(0, |most| most + 1));
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

/// For each number of one kind, numbers of another, all of them in one piece of memory.
#[derive(Debug)]
struct Groups {
    /// Where in `numbers` each group ends and the next one begins.
    ends: Vec<usize>,
    numbers: Vec<usize>,
}

impl Groups {
    /// Groups of pairs, the order within each that of the pairs.
    fn of(groups: usize, pairs: &[(usize, usize)]) -> Self {
        let mut ends = vec![0; groups];
        pairs.iter().for_each(|&(group, _)| ends[group] += 1);
        let mut start = 0;
        // Each is where the next number of its group goes, and so it ends as the end of its group.
        for end in &mut ends {
            start += *end;
            *end = start - *end;
        }
        let mut numbers = vec![0; pairs.len()];
        for &(group, number) in pairs {
            numbers[ends[group]] = number;
            ends[group] += 1;
        }
        Self { ends, numbers }
    }

    fn of_number(&self, group: usize) -> &[usize] {
        let start = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.numbers[start..self.ends[group]]
    }
}

/// `5.7.1`, `5.1.*` or `x.1.1`.
#[derive(Debug, Clone)]
pub(super) struct StatusFilter {
    class: Option<u8>,
    subject: u16,
    detail: Option<u16>,
}

impl StatusFilter {
    pub(super) fn parse(text: &str) -> Option<Self> {
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

/// By what a speaker is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// Domains of its hosts, lower case.
    pub hosts: Vec<String>,
    /// Patterns of what only this speaker writes.
    pub texts: Vec<usize>,
}

/// Who says the text that is looked up, and with which codes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Speaker<'a> {
    /// Hosts that may have said it, lower case: remote-MTA, reporting-MTA, the host that the text names.
    pub hosts: &'a [String],
    /// The enhanced status code beside the text.
    pub status: Option<EnhancedStatusCode>,
    /// The reply code beside the text.
    pub reply: Option<ReplyCode>,
    /// Whom it may be said of: another address is no noun for them. Empty where nobody knows.
    pub recipients: &'a [Address],
}

impl Speaker<'_> {
    /// Whether an address of the text is that of the recipient.
    pub(super) fn speaks_of(&self, shown: &str) -> bool {
        let is_his = |address: Address| self.recipients.iter().any(|own| is_same_mailbox(own, &address));
        self.recipients.is_empty() || Address::parse(shown).is_some_and(is_his)
    }
}

/// A rule that fits a text.
#[derive(Debug, Clone)]
pub(super) struct Fit<'r> {
    pub rule: &'r Rule,
    /// Where in the text the words stand that called for it.
    pub range: Range<usize>,
    /// Whether the words offer it beside another class: "does not exist or is full".
    pub is_alternative: bool,
    /// Whether it speaks of the recipient and is said of what may be: "if the user does not exist".
    pub is_conditional: bool,
    /// Whether its words only look as if they spoke of the recipient: "not an invalid user", "unknown user rate",
    /// `rule "user unknown"`, "unknown host 192.0.2.1".
    pub is_of_nobody: bool,
}

impl<'r> Fit<'r> {
    const fn new(rule: &'r Rule, range: Range<usize>) -> Self {
        Self { rule, range, is_alternative: false, is_conditional: false, is_of_nobody: false }
    }

    fn is_hard(&self) -> bool {
        self.rule.judgement.class == Class::Hard
    }

    /// Whether it is a hard phrase, kept away by its exceptions, that would say the same as a text variant: these words
    /// prove nothing beside those of the exception.
    fn takes_back(&self, variant: &Fit<'_>) -> bool {
        self.is_hard()
            && self.rule.table == RuleTable::Phrases
            && self.range.start <= variant.range.start
            && variant.range.end <= self.range.end
    }

    /// Whether it is hard, and its words leave open whether it is so.
    pub(super) fn proves_nothing(&self) -> bool {
        self.is_hard() && (self.is_alternative || self.is_conditional || self.is_of_nobody)
    }
}

/// What was found in a text.
#[derive(Debug)]
pub(super) struct Matches<'t> {
    text: &'t str,
    /// The patterns that are there.
    has: NumberSet,
    /// The patterns that are there and where each first ends.
    first_ends: Vec<(usize, usize)>,
    /// The words that are there and where they stand, by their ends.
    words: Vec<(usize, Range<usize>)>,
    /// The rules that a phrase or a predicate calls for, in the order of the tables.
    called: Vec<usize>,
}

impl Matches<'_> {
    fn has(&self, pattern: usize) -> bool {
        self.has.has(pattern)
    }

    /// Where a pattern first ends.
    fn first_end(&self, pattern: usize) -> Option<usize> {
        self.first_ends.iter().find(|(other, _)| *other == pattern).map(|(_, end)| *end)
    }

    /// Where a word first stands.
    fn place(&self, word: usize) -> Option<&Range<usize>> {
        self.words.iter().find(|(other, _)| *other == word).map(|(_, range)| range)
    }

    /// Whether one of several words is there.
    fn has_any(&self, words: &NumberSet) -> bool {
        self.words.iter().any(|(word, _)| words.has(*word))
    }

    /// The places of several words, by their ends.
    fn places(&self, words: &NumberSet) -> Vec<Range<usize>> {
        self.words.iter().filter(|(word, _)| words.has(*word)).map(|(_, range)| range.clone()).collect()
    }
}

/// Rules, compiled.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    scopes: Vec<Scope>,
    words: Vec<Term>,
    /// The one of the words that is any address.
    address: Option<usize>,
    /// Every phrase, and of every word what it begins with.
    patterns: Index,
    /// The patterns that tell who speaks.
    of_scopes: NumberSet,
    /// For each pattern, the rules whose `says` it is.
    sayings: Groups,
    /// For each pattern, the words that begin with it.
    beginnings: Groups,
    /// For each word, the rules of whose shapes it is a predicate.
    predicates: Groups,
    /// What leaves open whether an address is dead.
    doubts: Doubts,
    /// States of an address that lives: "full".
    living: NumberSet,
    /// Which words between a noun and what is said tell that they don't belong together.
    gap_words: GapWords,
    /// What stands in every text for which a frame row may fit; made by the first who asks.
    frames: OnceLock<AhoCorasick>,
}

impl Rules {
    /// Every rule, in the order of the tables.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// What is looked for: phrases, words and hosts, all folded.
    pub(super) fn vocabulary(&self) -> impl Iterator<Item = String> {
        let hosts = self.scopes.iter().flat_map(|scope| scope.hosts.iter().cloned());
        let words = self.words.iter().map(Term::to_string);
        self.patterns.patterns().iter().cloned().chain(words).chain(hosts)
    }

    /// Whether a row may fit a folded text that says which command was refused.
    pub(super) fn may_frame(&self, text: &str) -> bool {
        let patterns = self.patterns.patterns();
        let of_frame = |rule: &Rule| {
            let Conditions { says, words, shapes, .. } = &rule.conditions;
            let of_shape = shapes.iter().flat_map(|shape| shape.says.iter());
            let heads = of_shape.chain(words.iter().copied()).map(|word| self.words[word].head());
            heads.chain(says.iter().map(|&pattern| patterns[pattern].as_str())).collect::<Vec<_>>()
        };
        let frames = self.frames.get_or_init(|| {
            let frames = self.rules.iter().filter(|rule| rule.frame).flat_map(of_frame);
            AhoCorasick::new(frames).expect("a few words compile")
        });
        frames.is_match(text)
    }

    /// Reads a folded text, past what stands aside in it.
    pub(super) fn read<'t>(&self, text: &'t str, asides: &Asides) -> Matches<'t> {
        let mut has = NumberSet::below(self.patterns.patterns().len());
        let (mut first_ends, mut words) = (Vec::with_capacity(USUAL_HITS), Vec::with_capacity(USUAL_HITS));
        let mut called = Vec::with_capacity(USUAL_HITS);
        self.patterns.find(text, |pattern, range| {
            if asides.hide(&range) && !self.is_heard_in_asides(pattern) {
                return;
            }
            if has.insert(pattern) {
                first_ends.push((pattern, range.end));
                called.extend_from_slice(self.sayings.of_number(pattern));
            }
            for &word in self.beginnings.of_number(pattern) {
                if let Some(end) = self.words[word].end(text, range.start) {
                    called.extend_from_slice(self.predicates.of_number(word));
                    words.push((word, range.start..end));
                }
            }
        });
        called.sort_unstable();
        called.dedup();
        words.extend(self.address.iter().flat_map(|&word| asides.addresses().iter().map(move |at| (word, at.clone()))));
        words.sort_unstable_by_key(|(_, range)| (range.end, range.start));
        Matches { text, has, first_ends, words, called }
    }

    /// Whether a pattern is looked for in what stands aside, too: it is part of a name or of the frame itself, or tells
    /// who speaks.
    fn is_heard_in_asides(&self, pattern: usize) -> bool {
        let text = &self.patterns.patterns()[pattern];
        text.contains(['.', '/', '@', '#', '=']) || text.contains(IN_REPLY_TO) || self.of_scopes.has(pattern)
    }

    /// The rules that fit, in the order of the tables, and behind them what is one of several alternatives though its
    /// exceptions keep it away.
    pub(super) fn fits(&self, found: &Matches<'_>, speaker: &Speaker<'_>) -> Vec<Fit<'_>> {
        let called = found.called.iter().map(|&rule| &self.rules[rule]);
        let said = called.filter_map(|rule| self.said(rule, found, speaker));
        let (excepted, mut fits): (Vec<_>, Vec<_>) = said.partition(|fit| is_excepted(fit.rule, found));
        for fit in fits.iter_mut().filter(|fit| fit.is_hard() || fit.rule.judgement.fault == Fault::Recipient) {
            fit.is_conditional = self.doubts.is_conditional(&found.text[..fit.range.start]);
        }
        for fit in fits.iter_mut().filter(|fit| fit.is_hard()) {
            fit.is_of_nobody = self.doubts.is_of_nobody(found.text, &fit.range)
                || (fit.rule.table != RuleTable::Phrases && excepted.iter().any(|phrase| phrase.takes_back(fit)))
                || (fit.rule.judgement.reason == Reason::BadDomain && names_client(&found.text[fit.range.end..]));
        }
        let (hard, others): (Vec<_>, Vec<_>) = (0..fits.len()).partition(|&n| fits[n].is_hard());
        // A text variant answers for one code only: what is soft by another code is no alternative.
        let soft =
            |n: &usize| fits[*n].rule.judgement.class == Class::Soft && fits[*n].rule.table == RuleTable::Phrases;
        let soft: Vec<_> = others.into_iter().filter(soft).collect();
        // Few texts have a hard part, and only these ask.
        let living = LazyCell::new(|| found.places(&self.living));
        let listed_with =
            |part: &Range<usize>| living.iter().find(|state| self.doubts.are_listed(found.text, part, state));
        for &one in &hard {
            for &other in &soft {
                if self.doubts.alternate(found.text, &fits[one].range, &fits[other].range) {
                    (fits[one].is_alternative, fits[other].is_alternative) = (true, true);
                }
            }
            if self.doubts.or_something_else(&found.text[fits[one].range.end..]) {
                fits[one].is_alternative = true;
            }
            if let Some(state) = listed_with(&fits[one].range) {
                fits[one].is_alternative = true;
                for &of_state in &soft {
                    fits[of_state].is_alternative |= overlap(&fits[of_state].range, state);
                }
            }
        }
        // Other words of the same alternative: "unknown local" of "unknown local part or filtered".
        let alternatives = hard.iter().filter(|&&n| fits[n].is_alternative).map(|&n| fits[n].range.clone());
        let alternatives: Vec<_> = alternatives.collect();
        for n in hard {
            let range = fits[n].range.clone();
            fits[n].is_alternative |= alternatives.iter().any(|at| overlap(at, &range));
        }
        // Words of an exception may be the alternative itself: "user unknown or temporarily out of reach" is nothing that
        // a code beside it could prove.
        let offers = |fit: &Fit<'_>| {
            fit.is_hard()
                && fit.rule.table == RuleTable::Phrases
                && !self.doubts.is_conditional(&found.text[..fit.range.start])
                && (self.doubts.or_something_else(&found.text[fit.range.end..]) || listed_with(&fit.range).is_some())
        };
        let offered = excepted.into_iter().filter(offers).map(|fit| Fit { is_alternative: true, ..fit });
        fits.extend(offered);
        fits
    }

    /// A rule without each of its conditions in turn, and what that condition is.
    #[cfg(test)]
    pub(super) fn without_each_condition(&self, rule: &Rule) -> Vec<(String, Rule)> {
        let mut all = Vec::new();
        let mut without = |name: String, change: &dyn Fn(&mut Conditions)| {
            let mut other = rule.clone();
            change(&mut other.conditions);
            all.push((name, other));
        };
        let Conditions { scope, with, unless, status, reply, .. } = &rule.conditions;
        for (n, entry) in unless.iter().enumerate() {
            let words: Vec<_> = entry.iter().take(3).map(|&p| self.patterns.patterns()[p].as_str()).collect();
            without(format!("unless {}", words.join(", ")), &|c| drop(c.unless.remove(n)));
        }
        for (n, &pattern) in with.iter().enumerate() {
            without(format!("with {}", self.patterns.patterns()[pattern]), &|c| {
                c.with.remove(n);
            });
        }
        if scope.is_some() {
            without("scope".to_owned(), &|c| c.scope = None);
        }
        if !status.is_empty() {
            without("status".to_owned(), &|c| c.status.clear());
        }
        if !reply.is_empty() {
            without("reply".to_owned(), &|c| c.reply.clear());
        }
        all
    }

    /// Whether a rule fits.
    #[cfg(test)]
    pub(super) fn fit<'r>(&self, rule: &'r Rule, found: &Matches<'_>, speaker: &Speaker<'_>) -> Option<Fit<'r>> {
        self.said(rule, found, speaker).filter(|_| !is_excepted(rule, found))
    }

    /// Whether a rule fits but for its exceptions.
    fn said<'r>(&self, rule: &'r Rule, found: &Matches<'_>, speaker: &Speaker<'_>) -> Option<Fit<'r>> {
        let Conditions { scope, says, words, shapes, with, unless: _, status, reply } = &rule.conditions;
        let holds = (status.is_empty() || speaker.status.is_some_and(|s| status.iter().any(|f| f.fits(s))))
            && (reply.is_empty() || speaker.reply.is_some_and(|r| reply.contains(&r)))
            && with.iter().all(|&p| found.has(p))
            && scope.is_none_or(|s| self.scopes[s].holds(found, speaker));
        if !holds {
            return None;
        }
        let of_phrase = || {
            let &pattern = says.iter().find(|&&pattern| found.has(pattern))?;
            let end = found.first_end(pattern)?;
            Some(end - self.patterns.patterns()[pattern].len()..end)
        };
        let of_word = || words.iter().find_map(|&word| found.place(word)).cloned();
        // Which command was refused is told around the answer; that an address is dead is the server's own sentence.
        let hard = rule.judgement.class == Class::Hard;
        let reach = if hard { Reach::Answer { words: &self.gap_words } } else { Reach::Report };
        let of_shape = |shape: &Shape| {
            // Most shapes that are called have one of the two only.
            if !(found.has_any(&shape.about) && found.has_any(&shape.says)) {
                return None;
            }
            let (about, says) = (found.places(&shape.about), found.places(&shape.says));
            together(found.text, &about, &says, shape.order, shape.between, reach)
        };
        let range = of_phrase().or_else(of_word).or_else(|| shapes.iter().find_map(of_shape))?;
        Some(Fit::new(rule, range))
    }
}

impl Scope {
    fn holds(&self, found: &Matches<'_>, speaker: &Speaker<'_>) -> bool {
        self.texts.iter().any(|&p| found.has(p))
            || speaker.hosts.iter().any(|host| self.hosts.iter().any(|domain| is_under(host, domain)))
    }
}

/// Rules on their way to the index. What it refuses it says without a place; its caller knows that.
#[derive(Debug, Default)]
pub(super) struct Builder {
    rules: Vec<Rule>,
    scopes: Vec<Scope>,
    patterns: IndexSet<String, RandomState>,
    words: IndexSet<Term, RandomState>,
    living: Vec<usize>,
    /// What leaves open whether an address is dead, folded.
    pub(super) doubts: DoubtWords,
    /// What tells whether a noun and what is said behind it belong together, folded.
    pub(super) gap_words: GapWords,
}

impl Builder {
    /// Adds a rule after those that are there.
    pub(super) fn rule(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Adds a word that says no more than the alternative before it.
    pub(super) fn or_same(&mut self, word: &str) -> Result<(), String> {
        self.doubts.or_same.push(Term::new(fold(word).as_str()).ok_or_else(|| no_term(word))?);
        Ok(())
    }

    /// Adds a state of an address that lives.
    pub(super) fn living(&mut self, word: &str) -> Result<(), String> {
        let number = self.word(word)?;
        self.living.push(number);
        Ok(())
    }

    /// Adds a scope and gives its number.
    pub(super) fn scope(&mut self, scope: Scope) -> usize {
        self.scopes.push(scope);
        self.scopes.len() - 1
    }

    /// The number of a phrase.
    pub(super) fn phrase(&mut self, phrase: &str) -> Result<usize, String> {
        let folded = folded(phrase);
        if folded.len() < SHORTEST {
            return Err(format!("the phrase `{phrase}` is too short; at least {SHORTEST} octets are needed"));
        }
        Ok(self.pattern(&folded))
    }

    /// The number of a noun or a predicate.
    pub(super) fn word(&mut self, text: &str) -> Result<usize, String> {
        let folded = folded(text);
        // Lists of words stand in many rows.
        if let Some(known) = self.words.get_index_of(&*folded) {
            return Ok(known);
        }
        let words = Term::new(&folded).ok_or_else(|| no_term(text))?;
        if words.head().len() < SHORTEST_WORD {
            return Err(format!("`{text}` is too short; at least {SHORTEST_WORD} octets are needed before a `*`"));
        }
        self.pattern(words.head());
        Ok(self.words.insert_full(words).0)
    }

    fn pattern(&mut self, text: &str) -> usize {
        self.patterns.get_index_of(text).unwrap_or_else(|| self.patterns.insert_full(text.to_owned()).0)
    }

    /// Adds a text variant of a reply code.
    pub(super) fn variant(&mut self, reply: ReplyCode, variant: &Variant) {
        let says = variant.says.iter().map(|phrase| self.pattern(fold(phrase).as_str())).collect();
        self.rule(Rule {
            id: variant.id.clone(),
            name: variant.rule.clone(),
            table: RuleTable::Codes { reply },
            judgement: variant.judgement,
            rank: Rank::of_variant(variant.weight),
            advice: variant.advice.clone(),
            of_another: false,
            frame: false,
            conditions: Conditions { says, ..Conditions::default() },
        });
    }

    /// Compiles the rules.
    pub(super) fn build(self) -> Rules {
        let Self { rules, scopes, patterns, words, living, doubts, gap_words } = self;
        let (mut sayings, mut predicates) = (Vec::new(), Vec::new());
        for (number, rule) in rules.iter().enumerate() {
            sayings.extend(rule.conditions.says.iter().map(|&pattern| (pattern, number)));
            let says = rule.conditions.shapes.iter().flat_map(|shape| shape.says.iter());
            predicates.extend(says.chain(rule.conditions.words.iter().copied()).map(|word| (word, number)));
        }
        let heads = words.iter().filter_map(|word| patterns.get_index_of(word.head()));
        let beginnings: Vec<_> = heads.enumerate().map(|(number, head)| (head, number)).collect();
        let of_scopes = scopes.iter().flat_map(|scope| scope.texts.iter().copied()).collect::<Vec<_>>().into();
        Rules {
            rules,
            scopes,
            address: words.get_index_of(ADDRESS),
            sayings: Groups::of(patterns.len(), &sayings),
            beginnings: Groups::of(patterns.len(), &beginnings),
            predicates: Groups::of(words.len(), &predicates),
            words: words.into_iter().collect(),
            patterns: Index::new(patterns.into_iter().collect()),
            of_scopes,
            doubts: doubts.into(),
            living: living.into(),
            gap_words,
            frames: OnceLock::new(),
        }
    }
}

/// Whether an exception of a rule is there.
fn is_excepted(rule: &Rule, found: &Matches<'_>) -> bool {
    rule.conditions.unless.iter().flatten().any(|&pattern| found.has(pattern))
}

/// Whether the host before has no name but its address, or stands there with it: `unknown host [192.0.2.1]`, and
/// `unknown host mx.example.org [192.0.2.1]`. A domain that is not found has none.
fn names_client(behind: &str) -> bool {
    let is_mark = |c: char| matches!(c, ' ' | ':' | '[' | '(' | '<' | '"' | '\'');
    let first = behind.trim_start_matches(is_mark).split([' ', '[', ']', '(', ')', ',', ';']).next();
    let first = first.map(|word| word.trim_end_matches(['.', '"', '\'', '>', ':']));
    let is_address = |word: &str| word.parse::<IpAddr>().is_ok();
    match (first, behind.find(['[', '('])) {
        (Some(first), _) if is_address(first) => true,
        (Some(first), Some(bracket)) if first.contains('.') => {
            behind[..bracket].trim().trim_start_matches(is_mark) == first
                && behind[bracket + 1..].split([']', ')']).next().is_some_and(is_address)
        }
        _ => false,
    }
}

fn no_term(text: &str) -> String {
    format!("`{text}` is no word or words; a `*` stands at the end of a word for any ending")
}
