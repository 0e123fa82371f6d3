//! Configuration: defaults in code, then a TOML file, then BOUNCED__ environment variables -> [`Config`].
//! config/bounced.toml is the commented reference; unknown keys are refused.

mod load;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub use load::ConfigError;
use serde::Deserialize;

use crate::{
    parse,
    policy::Policy,
    report::Kind,
    source::{ImapSettings, MaildirSettings, PasswordSource},
};

/// Where the configuration lies when nobody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/bounced/bounced.toml";

/// Everything that can be configured. Relative paths have become relative to the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file that was read; `None` when there was none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// What was seen and who failed.
    pub database: Database,
    /// Who is suppressed, and when.
    pub suppressions: Suppressions,
    /// The code table.
    pub codes: Table,
    /// The phrase table.
    pub phrases: Table,
    /// How reports are read and which are settled.
    pub report: Report,
    /// What is logged, and how.
    pub log: Log,
    /// `[imap.NAME]`: mailboxes by name, read over IMAP.
    pub imap: BTreeMap<String, ImapSettings>,
    /// `[maildir.NAME]`: mailboxes by name, read from a directory.
    pub maildir: BTreeMap<String, MaildirSettings>,
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The SQLite file; made when missing.
    pub path: PathBuf,
}

impl Default for Database {
    fn default() -> Self {
        Self { path: "/var/lib/bounced/bounced.db".into() }
    }
}

/// `[suppressions]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Suppressions {
    /// The published list: the SQLite file that mail servers read; made when missing.
    pub path: PathBuf,
    /// This many soft bounces through the recipient's fault suppress an address …
    pub soft_count: u32,
    /// … when the first and the last of them lie at least so many days apart …
    pub soft_min_days: u32,
    /// … and all lie within so many days.
    pub soft_window_days: u32,
}

impl Default for Suppressions {
    fn default() -> Self {
        let Policy { soft_count, soft_min_days, soft_window_days } = Policy::default();
        Self { path: "/var/lib/bounced/suppressions.db".into(), soft_count, soft_min_days, soft_window_days }
    }
}

impl Suppressions {
    /// The rule by which addresses are suppressed.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        let Self { soft_count, soft_min_days, soft_window_days, .. } = *self;
        Policy { soft_count, soft_min_days, soft_window_days }
    }
}

/// `[codes]` and `[phrases]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// The file that replaces the built-in table.
    pub file: Option<PathBuf>,
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    /// Headers of the returned original that name the campaign; the first that is there counts.
    pub campaign_headers: Vec<String>,
    /// The kinds that are moved or flagged as the mailbox says; others stay untouched.
    pub processed: Vec<Kind>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            campaign_headers: parse::Options::default().campaign_headers,
            processed: vec![Kind::Bounce, Kind::Delayed, Kind::Delivered],
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,bounced::source=debug`.
    pub level: String,
    /// Pretty lines, JSON lines, or pretty only on a terminal.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Colours on a terminal, plain lines elsewhere.
    Auto,
    /// Colours always.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The names of all mailboxes.
    pub fn mailboxes(&self) -> impl Iterator<Item = &str> {
        self.imap.keys().chain(self.maildir.keys()).map(String::as_str)
    }

    /// Every path that may be relative.
    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let imap = self.imap.values_mut().flat_map(|imap| {
            let password = match &mut imap.password {
                PasswordSource::File(path) => Some(path),
                PasswordSource::Env(_) | PasswordSource::Command(_) => None,
            };
            password.into_iter().chain(&mut imap.ca_file)
        });
        [&mut self.database.path, &mut self.suppressions.path]
            .into_iter()
            .chain(&mut self.codes.file)
            .chain(&mut self.phrases.file)
            .chain(self.maildir.values_mut().map(|maildir| &mut maildir.path))
            .chain(imap)
    }

    /// Relative paths start at the directory of the configuration file, whatever the working directory is.
    fn anchor(&mut self, directory: &Path) {
        self.paths_mut().for_each(|path| *path = directory.join(&*path));
    }

    /// A mailbox is called what its table is called.
    fn name_mailboxes(&mut self) {
        self.imap.iter_mut().for_each(|(name, imap)| imap.name.clone_from(name));
        self.maildir.iter_mut().for_each(|(name, maildir)| maildir.name.clone_from(name));
    }
}
