//! config/words.toml -> [`Words`]: the words by which a bounce is read, each with its role. Answers whether a text
//! has the words of a role; refuses to know where the text came from and what follows from it.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use aho_corasick::{AhoCorasick, Anchored, Input, StartKind};
use serde::Deserialize;
use toml::Spanned;

use crate::{
    codes::words,
    tables::{self, IdleRow, Layer, OwnRow, Placed, TableError, TableFile},
    text::fold_words,
};

words! {
    /// What words do. How they must stand follows from it.
    Role {
        /// The last word before an address that failed.
        BeforeRecipient = "before_recipient",
        /// The word between two addresses of one list.
        JoinsRecipients = "joins_recipients",
        /// What stands directly behind a list of addresses that failed.
        SaidToFail = "said_to_fail",
        /// What stands directly behind an address that the message reached.
        SaidToBeReached = "said_to_be_reached",
        /// Stands before an address that the message reached.
        AnnouncesReached = "announces_reached",
        /// A line that heads a list of those whom the message reached, without its colon.
        HeadsReached = "heads_reached",
        /// A domain whose own reports call its users by their local parts alone.
        NamesWithoutDomain = "names_without_domain",
        /// The local part of somebody who writes or answers for bounces.
        Service = "service",
        /// Asks to write to the address that follows, or names who wrote.
        AsksToWrite = "asks_to_write",
        /// A sentence that asks is over here: the address behind it failed.
        OutcomeEndsRequest = "outcome_ends_request",
        /// Stands before an address that was forwarded to the one above it.
        CameFrom = "came_from",
        /// The heading of a list of those who did not fail.
        ListsTheRest = "lists_the_rest",
        /// The heading of the SMTP dialogue that Sendmail quotes.
        BeginsTranscript = "begins_transcript",
        /// A header field that says whom the returned message was for.
        NamesRecipient = "names_recipient",
        /// A header field whose addresses are nobody's recipient.
        NamesOther = "names_other",
        /// A field of a complaint, or of the message that it returns, that says who complained.
        NamesComplainer = "names_complainer",
        /// A header field in which a server puts down whose mailbox a message lies in.
        Stamps = "stamps",
        /// A Feedback-Type of a report that nobody's complaint led to.
        NobodyComplained = "nobody_complained",
        /// Stands where an address, or a part of it, was made unreadable.
        Redacted = "redacted",
        /// The start of a line that announces the returned message.
        BeginsOriginal = "begins_original",
        /// The start of a line behind which nothing but the returned message stands, with a header or without.
        EndsWords = "ends_words",
        /// The same, anywhere in a short line.
        MentionsOriginal = "mentions_original",
        /// A header field with which a returned message begins.
        OpensOriginal = "opens_original",
        /// A header field that no mere summary of a message has.
        ProvesTravel = "proves_travel",
        /// What mail programs call the subject, where they quote a message.
        NamesSubject = "names_subject",
        /// The start of the line that mail programs put above a message which a person passes on.
        PassesOn = "passes_on",
        /// Says in a line above a quoted message who wrote it.
        Attributes = "attributes",
        /// What stands beside a list's name in the address of its owner.
        ListOwner = "list_owner",
        /// The start of a subject that a person forwards.
        Forwards = "forwards",
        /// The prefix of an answered or forwarded subject.
        Answers = "answers",
        /// Stands directly before a reply code.
        AnnouncesReply = "announces_reply",
        /// What three digits count that are no reply code.
        Counted = "counted",
        /// Stands directly before the number of a version, which may look like an enhanced status code.
        BeforeVersion = "before_version",
        /// An Action that means failed.
        Failed = "failed",
        /// An Action that means delayed.
        Delayed = "delayed",
        /// An Action that means delivered.
        Delivered = "delivered",
        /// The program has stopped trying.
        GaveUp = "gave_up",
        /// The program goes on trying.
        GoesOn = "goes_on",
        /// A receipt that refuses the message.
        Refused = "refused",
        /// Says nothing of anybody: a redacted copy keeps it.
        Kept = "kept",
    }
}

/// Where in a text the words must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// They are the text.
    Whole,
    /// At its start.
    Start,
    /// At its end.
    End,
    /// Anywhere.
    Within,
}

impl Role {
    const fn stand(self) -> Stand {
        match self {
            Self::SaidToFail
            | Self::SaidToBeReached
            | Self::BeginsOriginal
            | Self::EndsWords
            | Self::PassesOn
            | Self::Forwards => Stand::Start,
            Self::CameFrom | Self::AnnouncesReached | Self::AnnouncesReply => Stand::End,
            Self::AsksToWrite
            | Self::Attributes
            | Self::OutcomeEndsRequest
            | Self::ListsTheRest
            | Self::BeginsTranscript
            | Self::MentionsOriginal
            | Self::GaveUp
            | Self::GoesOn
            | Self::Refused => Stand::Within,
            _ => Stand::Whole,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    drop: Vec<Spanned<String>>,
    #[serde(default)]
    words: Vec<WordRow>,
}

/// Words that do the same for the same reason.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WordRow {
    id: Spanned<String>,
    replaces: Option<Spanned<String>>,
    role: Role,
    says: Vec<String>,
    /// Who writes them: for the reader of the table.
    #[serde(rename = "source")]
    _source: Option<String>,
    /// Texts on which the row speaks.
    #[serde(default)]
    accepts: Vec<Spanned<String>>,
    /// Texts that look alike and on which no row of its role must.
    #[serde(default)]
    rejects: Vec<Spanned<String>>,
}

tables::named_row!(WordRow);

impl WordRow {
    /// What can never be found, or proves nothing.
    fn check(&self, file: &TableFile) -> Result<(), String> {
        if self.says.is_empty() {
            return Err("has no words in `says` and can never be found".into());
        }
        if self.accepts.is_empty() && file.has_examples() {
            return Err("has no example in `accepts`".into());
        }
        can_be_found(&self.says)
    }
}

/// Refuses words that no text, lower case and with single blanks, can have.
pub(super) fn can_be_found(words: &[String]) -> Result<(), String> {
    let is_lower = |word: &str| {
        if word.is_ascii() { !word.bytes().any(|b| b.is_ascii_uppercase()) } else { word.to_lowercase() == word }
    };
    let lost = |word: &&String| word.trim().is_empty() || !is_lower(word) || word.contains("  ");
    match words.iter().find(lost) {
        Some(word) => Err(format!("can never find {word:?}: words are lower case, with single blanks")),
        None => Ok(()),
    }
}

/// The compiled table.
#[derive(Debug, Clone)]
pub(super) struct Words {
    rows: Vec<WordRow>,
    /// One matcher a role, in the order of [`Role::ALL`].
    matchers: Vec<Matcher>,
}

/// The words of one role, as the table writes them and folded: those within long texts are found in any case.
#[derive(Debug, Clone)]
enum Matcher {
    Whole(foldhash::HashSet<String>),
    End(Vec<String>),
    Start(Within),
    Within(Within),
}

/// Words that are found in long texts.
#[derive(Debug, Clone)]
struct Within {
    words: Vec<String>,
    /// Made by the first who asks: a reply asks for few of them.
    compiled: OnceLock<Compiled>,
}

#[derive(Debug, Clone)]
struct Compiled {
    automaton: AhoCorasick,
    /// For each octet, whether words begin with it: few lines of a mail begin with one of those.
    begins: [bool; 256],
}

impl Within {
    const fn of(words: Vec<String>) -> Self {
        Self { words, compiled: OnceLock::new() }
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            let automaton = AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .start_kind(StartKind::Both)
                .build(&self.words)
                .expect("a few hundred words are far fewer than 2^31");
            let mut begins = [false; 256];
            for octet in self.words.iter().filter_map(|word| word.bytes().next()) {
                begins[usize::from(octet.to_ascii_lowercase())] = true;
                begins[usize::from(octet.to_ascii_uppercase())] = true;
            }
            Compiled { automaton, begins }
        })
    }

    fn begin(&self, text: &str) -> bool {
        let Compiled { automaton, begins } = self.compiled();
        let may = text.bytes().next().is_some_and(|octet| begins[usize::from(octet)]);
        may && automaton.is_match(Input::new(text).anchored(Anchored::Yes))
    }

    fn stand_in(&self, text: &str) -> bool {
        self.compiled().automaton.is_match(text)
    }
}

impl Matcher {
    fn of(role: Role, rows: &[WordRow]) -> Self {
        let rows = rows.iter().filter(|row| row.role == role);
        let words = rows.flat_map(|row| &row.says).flat_map(|word| [word.clone(), fold_words(word)]);
        match role.stand() {
            Stand::Whole => Self::Whole(words.collect()),
            Stand::End => Self::End(words.collect()),
            Stand::Start => Self::Start(Within::of(words.collect())),
            Stand::Within => Self::Within(Within::of(words.collect())),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Whole(words) => words.contains(text),
            Self::End(words) => words.iter().any(|word| text.ends_with(word.as_str())),
            Self::Start(words) => words.begin(text),
            Self::Within(words) => words.stand_in(text),
        }
    }
}

impl Words {
    /// The table that comes with the program.
    #[cfg(test)]
    pub(super) fn embedded() -> Self {
        let files = Self::files(&[]).expect("no file is read");
        Self::of_files(&files).expect("the tests read the table that comes with the program")
    }

    /// Files of one's own, the strongest first, and the one that comes with the program.
    ///
    /// # Errors
    /// A file can't be read.
    pub(super) fn files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
        TableFile::read_all(own, tables::embedded!("words"))
    }

    /// The rows of these files, the strongest first.
    ///
    /// # Errors
    /// Rows are refused.
    pub(super) fn of_files(files: &[Arc<TableFile>]) -> Result<Self, TableError> {
        let mut layers = Vec::new();
        for file in files {
            let File { drop, words } = file.parse()?;
            layers.push(Layer { file: Arc::clone(file), rows: words, drop });
        }
        let placed = tables::overlay(layers)?;
        for Placed { file, row } in &placed {
            row.check(file)
                .map_err(|problem| file.refuse(&row.id.span(), &format!("`{}` {problem}", row.id.get_ref())))?;
        }
        let files: Vec<Arc<TableFile>> = placed.iter().map(|placed| Arc::clone(&placed.file)).collect();
        let words = Self::of(placed.into_iter().map(|placed| placed.row).collect());
        // What comes with the program is proved by its tests.
        let own = words.rows.iter().zip(&files).filter(|(_, file)| file.is_own());
        own.into_iter().try_for_each(|(row, file)| words.prove(row, file))?;
        Ok(words)
    }

    /// Rows of one's own without which each of their examples would have words of the role all the same.
    pub(super) fn idle_rows(files: &[Arc<TableFile>]) -> Result<Vec<IdleRow>, TableError> {
        let mut own = Vec::new();
        for file in files.iter().filter(|file| file.is_own()) {
            let rows = file.parse::<File>()?.words;
            own.extend(rows.into_iter().map(|row| OwnRow::new(file, &row.id.clone(), row)));
        }
        tables::idle_rows(files, Self::of_files, own, |words, row| {
            let has = |text: &Spanned<String>| words.have(row.role, text.get_ref());
            row.accepts.iter().chain(&row.rejects).map(has).collect::<Vec<_>>()
        })
    }

    fn of(rows: Vec<WordRow>) -> Self {
        let matchers = Role::ALL.iter().map(|&role| Matcher::of(role, &rows)).collect();
        Self { rows, matchers }
    }

    /// The row speaks on each text that it accepts, and no row of its role on one that it rejects.
    fn prove(&self, row: &WordRow, file: &TableFile) -> Result<(), TableError> {
        let alone = Matcher::of(row.role, std::slice::from_ref(row));
        let id = row.id.get_ref();
        if let Some(text) = row.accepts.iter().find(|text| !alone.fits(text.get_ref())) {
            let problem = format!("`{id}` accepts {:?}, but has no words for it", text.get_ref());
            return Err(file.refuse(&text.span(), &problem));
        }
        if let Some(text) = row.rejects.iter().find(|text| self.have(row.role, text.get_ref())) {
            let problem = format!("`{id}` rejects {:?}, but words of its role stand in it", text.get_ref());
            return Err(file.refuse(&text.span(), &problem));
        }
        Ok(())
    }

    /// Whether a text, folded or lower case, has words of that role where they must stand.
    pub(super) fn have(&self, role: Role, text: &str) -> bool {
        self.matchers[role as usize].fits(text)
    }

    /// Whether a text says that nothing more will be tried.
    pub(super) fn gave_up(&self, text: &str) -> bool {
        self.have(Role::GaveUp, text) && !self.have(Role::GoesOn, text)
    }

    /// Whether a folded sentence asks to write to the address behind it.
    pub(super) fn asks_to_write(&self, sentence: &str) -> bool {
        let rest = match &self.matchers[Role::OutcomeEndsRequest as usize] {
            Matcher::Within(outcomes) => {
                outcomes.compiled().automaton.find_iter(sentence).last().map_or(0, |outcome| outcome.end())
            }
            Matcher::Whole(_) | Matcher::Start(_) | Matcher::End(_) => 0,
        };
        self.have(Role::AsksToWrite, &sentence[rest..])
    }

    /// The sentences and words of the table, but for the short ones that stand anywhere.
    pub(super) fn sentences(&self) -> impl Iterator<Item = &str> {
        let telling = [
            Role::BeforeRecipient,
            Role::NamesWithoutDomain,
            Role::AsksToWrite,
            Role::Redacted,
            Role::ListsTheRest,
            Role::BeginsOriginal,
            Role::OpensOriginal,
            Role::GaveUp,
            Role::GoesOn,
            Role::Answers,
            Role::Kept,
        ];
        telling.into_iter().flat_map(|role| self.of_role(role))
    }

    /// The local parts of those who write or answer for bounces.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.of_role(Role::Service)
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(move |row| row.role == role).flat_map(|row| &row.says).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_speaks_on_what_it_accepts_and_on_nothing_that_it_rejects() {
        let words = Words::embedded();
        // One more or one less: change the number, and say in the changelog what is read otherwise.
        assert_eq!(words.rows.len(), ROWS);
        for (n, row) in words.rows.iter().enumerate() {
            let WordRow { accepts, .. } = row;
            let id = row.id.get_ref();
            words.prove(row, &TableFile::of_test("words.toml", "")).unwrap();
            assert!(id.starts_with(row.role.as_str()) || id.starts_with("action."), "{id} tells its role");
            assert!(row._source.as_ref().is_some_and(|s| !s.is_empty()), "{id}: where is it known from?");
            let mut others = words.rows.clone();
            others.remove(n);
            let others = Matcher::of(row.role, &others);
            for text in accepts {
                assert!(!others.fits(text.get_ref()), "{id} is not needed for {text:?}");
            }
        }
        for &role in Role::ALL {
            assert!(words.of_role(role).next().is_some(), "no words for {role:?}");
        }
    }

    const ROWS: usize = 75;

    #[test]
    fn rows_of_ones_own_stand_first_and_must_prove_themselves() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("mine.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Words::of_files(&Words::files(std::slice::from_ref(&path)).unwrap()).map_err(|error| error.to_string())
        };
        let own = "[[words]]\nid = 'service.ours'\nrole = 'service'\nsays = ['gate']\n";
        let words = load(&format!("{own}accepts = ['gate']\nrejects = ['gates']")).unwrap();
        assert!(words.have(Role::Service, "gate") && words.have(Role::Service, "postmaster"));
        let without = load("drop = ['service.standard']").unwrap();
        assert!(!without.have(Role::Service, "abuse"));
        for (text, problem) in [
            (format!("{own}accepts = ['gates']"), "mine.toml:5: `service.ours` accepts \"gates\", but has no words"),
            (
                format!("{own}accepts = ['gate']\nrejects = ['postmaster']"),
                "mine.toml:6: `service.ours` rejects \"postmaster\", but words of its role",
            ),
            (format!("{own}accepts = []"), "mine.toml:2: `service.ours` has no example"),
            (
                format!("{own}accepts = ['gate']").replace("'gate'", "'Gate'"),
                "mine.toml:2: `service.ours` can never find",
            ),
            (
                format!("{own}accepts = ['gate']").replace("service.ours", "service.standard"),
                "there is a row `service.standard`",
            ),
            ("drop = ['service.nobody']".into(), "mine.toml:1: there is no row `service.nobody` to drop"),
            (own.replace("service'", "servant'"), "mine.toml:3: role: unknown word `servant`"),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn no_word_is_covered_by_another() {
        let words = Words::embedded();
        for &role in Role::ALL {
            let all: Vec<&str> = words.of_role(role).collect();
            for (n, word) in all.iter().enumerate() {
                assert_eq!(&word.to_lowercase(), word, "{word:?} is not in lower case");
                let covers = |other: &&str| match role.stand() {
                    Stand::Whole => word == other,
                    Stand::Start => word.starts_with(*other),
                    Stand::End => word.ends_with(*other),
                    Stand::Within => word.contains(*other),
                };
                let covered =
                    all.iter().enumerate().filter(|(m, other)| *m != n && covers(other)).map(|(_, o)| o).next();
                assert_eq!(covered, None, "{role:?}: {word:?} can never matter");
            }
        }
    }
}
