//! Configuration: defaults in code, then a TOML file, then BOUNCED__ environment variables -> [`Config`].
//! config/bounced.toml is the commented reference; unknown keys are refused.

mod load;
mod retention;
mod trust;
mod verp;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub use load::ConfigError;
pub use retention::Retention;
use serde::Deserialize;
pub use trust::{MailboxTrust, TrustSettings};
pub use verp::Verp;

use crate::{
    maillog::LogSettings,
    message::Place,
    parse,
    policy::{self, Demands, MOST_PER_MESSAGE, Never},
    report::Kind,
    source::{self, MailboxVisitor, Settings, Source},
};

/// Where the configuration lies when nobody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/bounced/bounced.toml";

/// The one list of tables over which files can be laid: each is a section of the configuration with `files`.
macro_rules! tables {
    ($for_each:ident! { $($more:tt)* }) => {
        $for_each! {
            [
                /// Files laid over the code table.
                codes,
                /// Files laid over the phrases.
                phrases,
                /// Files laid over the signs that tell a mail's kind.
                kinds,
                /// Files laid over the formats.
                formats,
                /// Files laid over the words around addresses, codes and returned messages.
                words,
                /// Files laid over the rules of who is suppressed.
                policy,
            ]
            $($more)*
        }
    };
}

/// The configuration has a section for each table and for each source. They are fields like any other, so that a wrong
/// key in one of them is refused with its line.
macro_rules! config {
    ([$($(#[$doc:meta])+ $table:ident),+ $(,)?] $($section:ident::$source:ident),+ $(,)?) => {
        /// Everything that can be configured. Relative paths have become relative to the configuration file.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            /// The file that was read; `None` when there was none.
            #[serde(skip)]
            pub file: Option<PathBuf>,
            /// What was seen and who failed.
            pub database: Database,
            /// Where the published lists lie, and whom nothing puts there.
            pub suppressions: Suppressions,
            /// How long what was read is kept.
            pub retention: Retention,
            /// How far a bounce must be believed, and by what.
            pub trust: TrustSettings,
            $($(#[$doc])+ pub $table: Overlay,)+
            /// How reports are read and which are settled.
            pub report: Report,
            /// Signed envelope senders.
            pub verp: Verp,
            /// What is logged, and how.
            pub log: Log,
            /// `[mail_log.NAME]`: logs of our own mail servers by name.
            pub mail_log: BTreeMap<String, LogSettings>,
            $(
                #[doc = concat!("`[", stringify!($section), ".NAME]`: mailboxes by name.")]
                pub $section: BTreeMap<String, <source::$section::$source as Source>::Settings>,
            )+
        }

        /// The sections that a table has.
        const TABLE_SECTIONS: &[&str] = &[$(stringify!($table)),+];

        /// The sections that a mailbox can stand in.
        const MAILBOX_SECTIONS: &[&str] = &[$(concat!("[", stringify!($section), ".NAME]")),+];

        impl Config {
            /// Every mailbox, source by source.
            #[must_use]
            pub fn mailboxes(&self) -> Vec<Mailbox<'_>> {
                let mut all: Vec<Mailbox<'_>> = Vec::new();
                $(
                    let section = stringify!($section);
                    all.extend(self.$section.iter().map(|(name, settings)| Mailbox { section, name, settings }));
                )+
                all
            }

            /// Leads `visitor` to every mailbox, in the same order.
            pub fn visit_mailboxes(&self, visitor: &mut impl MailboxVisitor) {
                $(
                    for (name, settings) in &self.$section {
                        visitor.visit::<source::$section::$source>(name, settings);
                    }
                )+
            }

            /// A place in a mailbox, in words for people; as it is when the mailbox is no longer configured.
            #[must_use]
            pub fn describe_place(&self, mailbox: &str, place: &Place) -> String {
                $(
                    if self.$section.contains_key(mailbox) {
                        return source::$section::$source::describe(place);
                    }
                )+
                place.as_str().to_owned()
            }

            /// Every table, by the name of its section.
            pub fn tables(&self) -> impl Iterator<Item = (&'static str, &Overlay)> {
                TABLE_SECTIONS.iter().copied().zip([$(&self.$table),+])
            }

            /// The files of one's own of every table.
            fn table_files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
                [$(&mut self.$table),+].into_iter().flat_map(|table| &mut table.files)
            }

            /// Takes over from another configuration all by which mails are judged, and nothing else.
            pub fn judge_as(&mut self, other: &Self) {
                $(self.$table = other.$table.clone();)+
                self.report.campaign_headers.clone_from(&other.report.campaign_headers);
                self.suppressions.most_per_message = other.suppressions.most_per_message;
                self.suppressions.never = other.suppressions.never.clone();
                self.trust = other.trust.clone();
            }

            fn mailbox_paths_mut(&mut self) -> Vec<&mut PathBuf> {
                let mut all = Vec::new();
                $(all.extend(self.$section.values_mut().flat_map(Settings::paths_mut));)+
                all
            }
        }
    };
}

macro_rules! config_with_sources {
    ($($sources:tt)+) => { tables!(config! { $($sources)+ }); };
}
source::sources!(config_with_sources);

/// One mailbox of the configuration.
#[derive(Clone, Copy)]
pub struct Mailbox<'a> {
    /// The section that names its source.
    pub section: &'static str,
    /// What it is called in the log and in the database. Renaming it forgets what was read.
    pub name: &'a str,
    /// What is said about it.
    pub settings: &'a dyn Settings,
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
    /// The published list as an SQLite file, for tools that want SQL; made when missing.
    pub path: PathBuf,
    /// The published list as a constant database, for mail servers; `None`: beside `path`, with the ending `.cdb`.
    pub cdb_path: Option<PathBuf>,
    /// Whether this database may take over a published list that another one made. Never from a file: it would hold for
    /// ever.
    #[serde(skip)]
    pub accept_new_store: bool,
    /// One message puts at most so many addresses onto the list; more are held for a person.
    pub most_per_message: u32,
    /// Addresses, and `@domain` for whole domains, that nothing but a person suppresses.
    pub never: Never,
}

impl Default for Suppressions {
    fn default() -> Self {
        Self {
            path: "/var/lib/bounced/suppressions.db".into(),
            cdb_path: None,
            accept_new_store: false,
            most_per_message: MOST_PER_MESSAGE,
            never: Never::default(),
        }
    }
}

impl Suppressions {
    /// Where the constant database lies.
    #[must_use]
    pub fn cdb_path(&self) -> PathBuf {
        self.cdb_path.clone().unwrap_or_else(|| self.path.with_extension("cdb"))
    }
}

/// The section of a table: `[codes]`, `[phrases]` …
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overlay {
    /// Files whose rows stand before those of the table that comes with the program, the strongest first.
    pub files: Vec<PathBuf>,
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
            campaign_headers: parse::campaign_headers(),
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
    /// The mailbox of mails that a mail server hands to a command.
    pub const PIPE: &str = "pipe";

    /// The mailbox of mails that come from archives.
    pub const ARCHIVE: &str = policy::ARCHIVE;

    /// Whether the daemon reads a mailbox or a mail log of this name.
    #[must_use]
    pub fn reads(&self, name: &str) -> bool {
        self.mailboxes().iter().any(|mailbox| mailbox.name == name) || self.mail_log.contains_key(name)
    }

    /// Whether commands record under this name what is handed to them.
    #[must_use]
    pub fn is_handed_over(name: &str) -> bool {
        name == Self::PIPE || policy::is_archive(name)
    }

    /// What a bounce, a complaint or a sign of life must be, mailbox by mailbox.
    #[must_use]
    pub fn demands(&self) -> Demands {
        let mailboxes = self.mailboxes().into_iter().map(|mailbox| mailbox.name);
        let read = mailboxes.chain(self.mail_log.keys().map(String::as_str));
        let no_archives = read.filter(|name| policy::is_archive(name)).map(str::to_owned).collect();
        Demands { no_archives, ..self.trust.demands(|name| self.reads(name)) }
    }

    /// Whether it says by what our own mail can be told from what strangers write.
    #[must_use]
    pub fn vouches(&self) -> bool {
        self.verp.keys.is_some() || !self.mail_log.is_empty()
    }

    /// What to do when nothing is configured that could be read, no mailbox and no mail log; `None` when something is.
    #[must_use]
    pub fn reads_nothing(&self) -> Option<String> {
        let file = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE)).display();
        let sections = MAILBOX_SECTIONS.join(" or ");
        (self.mailboxes().is_empty() && self.mail_log.is_empty()).then(|| {
            format!(
                "no mailbox and no mail log is configured; add {sections} or [mail_log.NAME] to {file}, let `bounced \
                 init` write it, or name another file with --config"
            )
        })
    }

    /// Relative paths start at the directory of the configuration file, whatever the working directory is.
    fn anchor(&mut self, directory: &Path) {
        let anchor = |path: &mut PathBuf| *path = directory.join(&*path);
        [&mut self.database.path, &mut self.suppressions.path]
            .into_iter()
            .chain(&mut self.suppressions.cdb_path)
            .chain(&mut self.verp.keys)
            .chain(self.mail_log.values_mut().flat_map(LogSettings::paths_mut))
            .for_each(anchor);
        self.table_files_mut().for_each(anchor);
        self.mailbox_paths_mut().into_iter().for_each(anchor);
    }
}
