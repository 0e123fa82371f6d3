//! The tables' words -> [`Keep`]: what a copy must not lose. Refuses to know mails.

use std::{collections::HashSet, sync::Arc};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::{
    parse::Tables,
    text::{fold, is_unspaced},
};

/// What stays in an anonymised copy, since the verdict may hang on it or since it says nothing about anybody.
#[derive(Debug)]
pub struct Keep {
    /// Folded words of the tables.
    words: HashSet<String>,
    /// Folded beginnings of words that the tables know with any ending.
    stems: HashSet<String>,
    /// Octets of the longest of them.
    longest_stem: usize,
    /// Hosts that the tables name: providers, blocklists, their help pages.
    hosts: HashSet<String>,
    /// The last labels of these hosts.
    top_levels: HashSet<String>,
    /// Names and local parts of programs.
    senders: HashSet<String>,
    /// The same, and the matcher that finds them inside of others.
    sender_parts: AhoCorasick,
    /// Phrases in scripts without blanks between words.
    unspaced: AhoCorasick,
    /// By which a mail is taken apart.
    pub(super) tables: Arc<Tables>,
}

/// Top levels of hosts that the tables don't name.
const TOP_LEVELS: &[&str] = &[
    "com",
    "net",
    "org",
    "edu",
    "gov",
    "mil",
    "int",
    "arpa",
    "info",
    "biz",
    "name",
    "local",
    "lan",
    "internal",
    "intern",
    "corp",
    "home",
    "localdomain",
    "example",
    "test",
    "invalid",
];

impl Keep {
    /// What the tables look for: sentences and hosts; `senders` are the names and local parts by which
    /// they know a program; `tables` take a mail apart.
    #[must_use]
    pub fn new<'a>(sentences: impl Iterator<Item = &'a str>, senders: &'a [String], tables: Arc<Tables>) -> Self {
        let mut words = HashSet::new();
        let mut hosts = HashSet::new();
        let mut stems = HashSet::new();
        let mut unspaced = Vec::new();
        for sentence in sentences.chain(senders.iter().map(String::as_str)) {
            if sentence.contains('*') {
                let open = sentence.split_whitespace().filter_map(|word| word.strip_suffix('*'));
                let stem =
                    |word: &str| fold(word.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or(word)).into_string();
                // A shorter one would keep the names that begin with it.
                stems.extend(open.map(stem).filter(|stem| stem.len() >= SHORTEST_STEM));
            }
            words.extend(fold(sentence).as_str().split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
            hosts.extend(
                sentence.split(|c: char| !is_host_char(c)).filter(|h| looks_like_host(h)).map(str::to_lowercase),
            );
            if sentence.chars().any(is_unspaced) {
                unspaced.push(sentence.replace('*', ""));
            }
        }
        let last = |host: &String| host.rsplit('.').next().unwrap_or("").to_owned();
        let top_levels = hosts.iter().map(last).chain(TOP_LEVELS.iter().map(|&t| t.to_owned())).collect();
        let compiled = |words: &[String]| {
            let builder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(words);
            builder.expect("the tables are far below the automaton's limits")
        };
        Self {
            tables,
            words,
            longest_stem: stems.iter().map(String::len).max().unwrap_or(0),
            stems,
            hosts,
            top_levels,
            senders: senders.iter().map(|s| s.trim_end_matches('@').to_owned()).collect(),
            sender_parts: compiled(senders),
            unspaced: compiled(&unspaced),
        }
    }

    /// Whether the tables have this word.
    #[must_use]
    pub fn word(&self, word: &str) -> bool {
        let word = fold(word).into_string();
        let ends = word.char_indices().map(|(end, _)| end).skip(1).take_while(|&end| end <= self.longest_stem);
        let mut starts = ends.map(|end| &word[..end]);
        self.words.contains(&word) || starts.any(|start| self.stems.contains(start))
    }

    /// Whether the tables name this host or one above it.
    #[must_use]
    pub fn is_public(&self, host: &str) -> bool {
        self.public_suffix(&host.to_lowercase()).is_some()
    }

    /// Where the public part of a host begins: `mx1.` of `mx1.google.com` is not public, all of `mail.ru` is.
    pub(super) fn public_suffix(&self, host: &str) -> Option<usize> {
        let starts = std::iter::once(0).chain(host.match_indices('.').map(|(dot, _)| dot + 1));
        starts.take(MOST_LABELS).find(|&start| self.hosts.contains(&host[start..]))
    }

    /// Whether a host can end like this.
    pub(super) fn top_level(&self, label: &str) -> bool {
        self.top_levels.contains(label) || (label.len() == 2 && label.bytes().all(|b| b.is_ascii_lowercase()))
    }

    /// Whether this is the name or the local part of a program.
    #[must_use]
    pub fn sender(&self, name: &str) -> bool {
        self.senders.contains(&name.to_lowercase())
    }

    /// Whether a local part or a name has that of a program in it.
    pub(super) fn like_sender(&self, name: &str) -> bool {
        self.sender_parts.is_match(&name.to_lowercase())
    }

    /// The phrases of a text without blanks, as byte ranges in order.
    pub(super) fn phrases_in<'t>(&'t self, text: &'t str) -> impl Iterator<Item = std::ops::Range<usize>> + 't {
        self.unspaced.find_iter(text).map(|found| found.range())
    }
}

/// In octets.
const SHORTEST_STEM: usize = 4;

/// RFC 1035 §2.3.4: 255 octets hold no more labels.
const MOST_LABELS: usize = 127;

pub(super) fn is_host_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

fn looks_like_host(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    labels.len() >= 2
        && labels.iter().all(|l| !l.is_empty())
        && labels.last().is_some_and(|l| l.len() >= 2 && l.bytes().all(|b| b.is_ascii_alphabetic()))
}
