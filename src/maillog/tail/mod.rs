//! A mail server's log as it grows -> its lines in batches, and after each batch a cursor from which to go on. What is read
//! and not kept comes again. Knows nothing of what a line says.

mod cut;
mod file;
mod journal;
mod packed;
mod pipe;

use std::path::PathBuf;

use serde::Deserialize;

use self::{file::FileTail, journal::JournalTail, pipe::PipeTail};
use super::Format;
use crate::text::SubmissionHost;

/// `[mail_log.NAME]`: a log of a mail server. One of `path`, `journal` and `stdin` says where it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Whose log it is.
    pub format: Format,
    /// The file, followed through rotation.
    pub path: Option<PathBuf>,
    /// Whether it is in the journal of systemd.
    #[serde(default)]
    pub journal: bool,
    /// Where that journal lies, if it is not this machine's own.
    pub journal_directory: Option<PathBuf>,
    /// Whether it comes on standard input.
    #[serde(default)]
    pub stdin: bool,
    /// Addresses, networks and names, beside this machine, from which our own programs send without a password.
    #[serde(default)]
    pub submission_hosts: Vec<SubmissionHost>,
}

impl LogSettings {
    /// Where the log is, in words for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let whose = match self.format {
            Format::Postfix => "Postfix",
            Format::Exim => "Exim",
        };
        match &self.path {
            Some(path) => format!("{whose} in {}", path.display()),
            None if self.journal => match &self.journal_directory {
                Some(directory) => format!("{whose} in the journal of {}", directory.display()),
                None => format!("{whose} in the journal"),
            },
            None => format!("{whose} on standard input"),
        }
    }

    /// What can never work, in one line with what to do.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let places = usize::from(self.path.is_some()) + usize::from(self.journal) + usize::from(self.stdin);
        if places != 1 {
            return Some("give one of path = \"…\", journal = true and stdin = true".to_owned());
        }
        let is_idle = self.journal_directory.is_some() && !self.journal;
        is_idle.then(|| {
            "journal_directory says where a journal lies: give journal = true with it, or leave it out".to_owned()
        })
    }

    /// Where reading goes on behind a cursor, in words for people.
    #[must_use]
    pub fn goes_on(&self, cursor: Option<&str>) -> String {
        match cursor {
            _ if self.stdin => "as it comes".to_owned(),
            None => "from its start".to_owned(),
            Some(cursor) => file::offset(cursor).map_or_else(
                || "behind the last entry that was read".to_owned(),
                |offset| format!("behind octet {offset}"),
            ),
        }
    }

    /// Its last lines, at most so many; `None` of standard input, which can be read but once.
    ///
    /// # Errors
    /// Where it can't be read.
    pub async fn last_lines(&self, most: usize) -> Result<Option<Lines>, LogError> {
        match &self.path {
            Some(path) => file::last_lines(path, most).map(Some),
            None if self.journal => journal::last_lines(self.journal_directory.as_deref(), most).await.map(Some),
            None => Ok(None),
        }
    }

    /// The paths in it: relative ones start at the directory of the configuration file.
    pub(crate) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.path.iter_mut().chain(&mut self.journal_directory)
    }
}

/// Why a log can't be read; the variants are the things that a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A retry can't help. The text says what to do.
    #[error("{0}")]
    Refused(String),
    /// It may be there later: open it anew then.
    #[error("{0}")]
    Lost(String),
    /// It is away for long, which is told once: ask on.
    #[error("{0}")]
    Gone(String),
}

/// A batch of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    octets: Vec<u8>,
    /// Where reading goes on behind them.
    pub cursor: String,
    /// What was there and can't be read any more, for people.
    pub lost: Option<String>,
}

impl Lines {
    /// One line after the other, without line ends; there may be none.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let octets = self.octets.strip_suffix(b"\n").unwrap_or(&self.octets);
        octets.split(|octet| *octet == b'\n').filter(|line| !line.is_empty())
    }
}

/// A batch ends at so many octets or lines.
const BATCH_OCTETS: usize = 1 << 20;
const BATCH_LINES: usize = 10_000;

/// A log that is being read.
#[derive(Debug)]
pub enum Tail {
    /// A file.
    File(FileTail),
    /// The journal of systemd.
    Journal(JournalTail),
    /// Standard input.
    Pipe(PipeTail),
}

impl Tail {
    /// Goes on behind `cursor`; without one, from the start of what is there.
    ///
    /// # Errors
    /// Where it can't be read. A file that is not there yet is waited for.
    pub fn open(settings: &LogSettings, cursor: Option<&str>) -> Result<Self, LogError> {
        if let Some(contradiction) = settings.contradiction() {
            return Err(LogError::Refused(contradiction));
        }
        match &settings.path {
            Some(path) => FileTail::open(path, cursor).map(Self::File),
            None if settings.journal => {
                JournalTail::open(settings.journal_directory.as_deref(), cursor).map(Self::Journal)
            }
            None => Ok(Self::Pipe(PipeTail::of_stdin())),
        }
    }

    /// The next lines, as soon as there are some; `None` where there will never be any. Whoever drops the future loses
    /// nothing but has to open the log anew.
    ///
    /// # Errors
    /// See [`LogError`].
    pub async fn next(&mut self) -> Result<Option<Lines>, LogError> {
        match self {
            Self::File(tail) => tail.next().await.map(Some),
            Self::Journal(tail) => tail.next().await.map(Some),
            Self::Pipe(tail) => tail.next().await,
        }
    }
}

/// A cursor of another kind of place than the log is in now.
fn foreign_cursor() -> LogError {
    LogError::Refused(
        "it was read from another place until now, and which lines are the same is not known: give the log another name, \
         and what is there is read from the start"
            .to_owned(),
    )
}
