//! `[maildir.NAME]` in the configuration. Opens nothing and checks nothing but the words.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::source::{After, Settings, settings};

/// A Maildir. Only `path` must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of its own: [maildir.NAME]")]
pub struct MaildirSettings {
    /// The directory that holds `new`, `cur` and `tmp`.
    pub path: PathBuf,
    /// What happens to a message once its rows are committed.
    #[serde(default)]
    pub after: After,
    /// How often to look whether something was delivered of which nobody told.
    #[serde(default = "half_minute", deserialize_with = "settings::time")]
    pub poll: Duration,
    /// The most messages in one batch; a batch also ends at 8 MiB.
    #[serde(default = "settings::batch", deserialize_with = "settings::some")]
    pub batch: usize,
    /// The most octets to read of one message.
    #[serde(default = "settings::max_message", deserialize_with = "settings::some")]
    pub max_message: u32,
}

impl Settings for MaildirSettings {
    fn describe(&self) -> String {
        format!("Maildir {}", self.path.display())
    }

    fn becomes(&self) -> String {
        self.after.describe()
    }

    fn folders(&self) -> Vec<Self> {
        let moved = match &self.after {
            After::Move(name) => Some(self.path.join(format!(".{}", name.trim_start_matches('.')))),
            After::Flag | After::Leave => None,
        };
        let there = moved.filter(|path| path.exists());
        let folder = |path| Self { path, after: After::Leave, ..self.clone() };
        [self.path.clone()].into_iter().chain(there).map(folder).collect()
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        vec![&mut self.path]
    }
}

fn half_minute() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_makes_a_maildir() {
        let settings: MaildirSettings = toml::from_str("path = '/var/mail/bounces'\nafter = 'flag'").unwrap();
        assert_eq!((settings.after, settings.batch), (After::Flag, 500));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let refused = toml::from_str::<MaildirSettings>("path = '/m'\npol = '1s'").unwrap_err();
        assert!(refused.message().contains("unknown field `pol`"), "{refused}");
    }
}
