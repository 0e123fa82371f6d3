//! File and environment -> [`Config`], or one line that names file, line, key and what was expected.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use config::{Environment, File, FileFormat};

use super::{Config, DEFAULT_FILE, Mailbox, TABLE_SECTIONS};
use crate::{tables::in_words, text::is_unseen};

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {}: {error}; name another with --config (/dev/null: defaults only)", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file says something that makes no sense.
    #[error("{}:{line}: {key}{message}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// `[section] key: `, or empty where the error has no key.
        key: String,
        /// What was found and what was expected.
        message: String,
    },
    /// A BOUNCED__ variable says something that makes no sense.
    #[error("environment variable {variable}: {message}")]
    Environment {
        /// Its name; or BOUNCED__SECTION__KEY where it is not known.
        variable: String,
        /// What was found and what was expected.
        message: String,
    },
    /// The values make no sense together.
    #[error("{file}: {message}")]
    Values {
        /// The file, or `configuration` where there is none.
        file: String,
        /// What is wrong and what to do.
        message: String,
    },
}

impl Config {
    /// Reads `file`, or [`DEFAULT_FILE`] if it is there, then the environment.
    ///
    /// # Errors
    /// When the file can't be read, or anything in it or in the environment is unknown or senseless.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = "this is not UTF-8; save the file in that encoding".to_owned();
                return Err(ConfigError::Values { file: path.display().to_string(), message });
            }
            Err(error) => return Err(ConfigError::Unreadable { file: path.into(), error }),
        };
        // `config` coerces silently and knows no lines; toml is strict and does. What the file leaves out the
        // environment may add, so "missing" counts only where the layers together still miss it.
        let strict = text.as_deref().map_or(Ok(()), |text| match toml::from_str::<Self>(text) {
            Ok(_) => Ok(()),
            Err(error) => Err((error.message().starts_with("missing field"), in_file(path, text, &error))),
        });
        if let Err((false, error)) = strict {
            return Err(error);
        }
        let mut config = layered(text.as_deref()).map_err(|error| match strict {
            Err((_, error)) => error,
            Ok(()) => in_environment(&error),
        })?;
        if text.is_some() {
            config.anchor(path.parent().unwrap_or(Path::new("")));
            config.file = Some(path.into());
        }
        config.validate(text.as_deref())?;
        Ok(config)
    }

    /// What types can't say.
    fn validate(&self, text: Option<&str>) -> Result<(), ConfigError> {
        let complain = |message: String| {
            let file = self.file.as_ref().map_or_else(|| "configuration".into(), |f| f.display().to_string());
            Err(ConfigError::Values { file, message })
        };
        // What the environment says has no line.
        let complain_at = |line: Option<usize>, key: String, message: &str| match (&self.file, line) {
            (Some(file), Some(line)) => {
                Err(ConfigError::File { file: file.clone(), line, key, message: message.to_owned() })
            }
            _ => complain(format!("{key}{message}")),
        };
        let complain_of = |section: &str, key: &str, message: &str| {
            complain_at(line_of(text, section, Some(key)), format!("[{section}] {key}: "), message)
        };
        // The message begins with the key, or speaks of several.
        let complain_in =
            |section: &str, message: &str| complain_at(line_of(text, section, None), format!("[{section}] "), message);
        if self.suppressions.most_per_message == 0 {
            return complain_of("suppressions", "most_per_message", "0, expected 1 or more");
        }
        let cdb_path = self.suppressions.cdb_path();
        let files = [
            ("[database] path", &self.database.path),
            ("[suppressions] path", &self.suppressions.path),
            ("[suppressions] cdb_path", &cdb_path),
        ];
        for (n, (key, path)) in files.iter().enumerate() {
            if let Some((other, _)) = files[..n].iter().find(|(_, other)| other == path) {
                return complain(format!("{other} and {key} are the same file, {}; give each its own", path.display()));
            }
        }
        if let Some((key, problem)) = self.retention.contradiction() {
            return complain_of("retention", key, problem);
        }
        if let Some(problem) = self.verp.contradiction() {
            return complain_in("verp", &problem);
        }
        let mut sections = HashMap::new();
        let mut claimed = HashMap::new();
        for Mailbox { section, name, settings } in self.mailboxes() {
            if name.trim().is_empty() || name.contains(is_unseen) {
                return complain(format!("[{section}.{name:?}]: a mailbox needs a name that can be read"));
            }
            if let Some(problem) = settings.contradiction() {
                return complain_in(&format!("{section}.{name}"), &problem);
            }
            if let Some(claim) = settings.claims()
                && let Some(other) = claimed.insert(claim.clone(), (section, name))
            {
                let (other_section, other) = other;
                return complain(format!(
                    "[{other_section}.{other}] and [{section}.{name}] both have {claim}; only one can have it"
                ));
            }
            if let Some(other) = sections.insert(name, section) {
                return complain(format!(
                    "[{other}.{name}] and [{section}.{name}] have one name; each mailbox needs its own"
                ));
            }
        }
        let is_known = |name: &str| sections.contains_key(name) || Self::is_handed_over(name);
        if let Some(name) = self.trust.mailbox.keys().find(|name| !is_known(name)) {
            return complain_in(
                &format!("trust.mailbox.{name}"),
                "is for a mailbox that is not configured: correct NAME",
            );
        }
        let mut on_stdin: Option<&String> = None;
        for (name, log) in &self.mail_log {
            if name.trim().is_empty() || name.contains(is_unseen) {
                return complain(format!("[mail_log.{name:?}]: a mail log needs a name that can be read"));
            }
            if let Some(problem) = log.contradiction() {
                return complain_in(&format!("mail_log.{name}"), &problem);
            }
            if let Some(section) = sections.get(name.as_str()) {
                return complain(format!(
                    "[{section}.{name}] and [mail_log.{name}] have one name; a mail log needs its own"
                ));
            }
            if log.stdin
                && let Some(other) = on_stdin.replace(name)
            {
                return complain(format!("[mail_log.{other}] and [mail_log.{name}] both read standard input"));
            }
        }
        // A word that is no level would be taken for a part of the program, and all others would fall silent.
        let known = |word: &str| {
            word.is_empty() || word.contains(['=', ':', '[']) || word.parse::<tracing::metadata::LevelFilter>().is_ok()
        };
        if let Some(word) = self.log.level.split(',').map(str::trim).find(|word| !known(word)) {
            let level = &self.log.level;
            let problem = format!("`{level}`: `{word}` is none of error, warn, info, debug and trace");
            return complain_of("log", "level", &problem);
        }
        let complain_of_level = |error| complain_of("log", "level", &format!("`{}`: {error}", self.log.level));
        tracing_subscriber::EnvFilter::try_new(&self.log.level).map_or_else(complain_of_level, |_| Ok(()))
    }
}

/// The keys whose values are lists, beside the `files` of each table.
const LISTS: &[&str] = &[
    "suppressions.never",
    "report.campaign_headers",
    "report.processed",
    "trust.servers",
    "trust.submission_hosts",
    "trust.local_users",
    "verp.delivered_to",
];

/// Defaults stand in the types; the environment overrides the file.
fn layered(text: Option<&str>) -> Result<Config, config::ConfigError> {
    let environment = Environment::with_prefix("BOUNCED").prefix_separator("__").separator("__");
    // Only lists are parsed: elsewhere a user named 007 would lose its zeros.
    let files = TABLE_SECTIONS.iter().map(|table| format!("{table}.files"));
    let keys: Vec<String> = LISTS.iter().map(|key| (*key).to_owned()).chain(files).collect();
    let is_list = |name: &str| {
        keys.iter().any(|key| {
            let tail = name.strip_prefix("BOUNCED__").unwrap_or_default();
            tail.eq_ignore_ascii_case(&key.replace('.', "__"))
        })
    };
    let lists = keys
        .iter()
        .fold(environment.clone().try_parsing(true).list_separator(","), |lists, key| lists.with_list_parse_key(key))
        .source(Some(std::env::vars().filter(|(name, _)| is_list(name)).collect()));
    config::Config::builder()
        .add_source(File::from_str(text.unwrap_or_default(), FileFormat::Toml))
        .add_source(environment)
        .add_source(lists)
        .build()?
        .try_deserialize()
}

/// The line of a key in its section, from 1; without a key that where the section begins.
fn line_of(text: Option<&str>, section: &str, key: Option<&str>) -> Option<usize> {
    let mut is_there = false;
    let is_key = |line: &str| line.split_once('=').is_some_and(|(found, _)| Some(found.trim()) == key);
    let mut lines = text?.lines().map(str::trim).enumerate();
    lines.find_map(|(n, line)| {
        if let Some(header) = line.strip_prefix('[') {
            is_there = header.split(']').next().is_some_and(|name| name.trim() == section);
        }
        (is_there && (key.is_none() || is_key(line))).then_some(n + 1)
    })
}

/// Keys that were, before there were rules.
const COUNTED_BY_RULES: &[&str] = &["soft_count", "soft_min_days", "soft_window_days"];

/// Adds the line and, from that line, the key. The value is left out: it may be a secret.
fn in_file(file: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let here = text.lines().nth(line - 1).unwrap_or_default().trim();
    let section = text.lines().take(line).filter(|l| l.trim_start().starts_with('[')).last().unwrap_or_default().trim();
    let key = match here.split_once('=') {
        Some((key, _)) if !key.starts_with('#') => format!("{section} {}: ", key.trim()).trim_start().to_owned(),
        _ if here.starts_with('[') => format!("{section}: "),
        _ => String::new(),
    };
    let message = if COUNTED_BY_RULES.iter().any(|old| key == format!("[suppressions] {old}: ")) {
        "soft bounces are counted by the rules of the policy now: take the key out; docs/policy.md shows how a file under \
         [policy] changes them"
            .to_owned()
    } else {
        in_words(error.message())
    };
    ConfigError::File { file: file.into(), line, key, message }
}

/// Adds the variable. The value is left out where a key's own type refuses it: it may be a secret.
fn in_environment(error: &config::ConfigError) -> ConfigError {
    let (key, said) = match error {
        config::ConfigError::Type { unexpected, expected, key, .. } => {
            (key.as_deref(), format!("invalid type: {unexpected}, expected {expected}"))
        }
        config::ConfigError::At { error, key, .. } => (key.as_deref(), error.to_string()),
        other => (None, other.to_string()),
    };
    // `report.processed[0]`: the whole list is one variable.
    let key = key.map(|key| key.split('[').next().unwrap_or(key));
    let variable = key.map_or_else(
        || "BOUNCED__SECTION__KEY".to_owned(),
        |key| format!("BOUNCED__{}", key.to_uppercase().replace('.', "__")),
    );
    ConfigError::Environment { variable, message: in_words(&said) }
}
