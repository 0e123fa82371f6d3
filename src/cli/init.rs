//! `bounced init`: five answers -> a configuration with its comments, and whether it works.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{self, Path, PathBuf},
};

use super::{Exit, Failure, Globals, check::Check, exit::complain};
use crate::{
    config::{Config, ConfigError, DEFAULT_FILE},
    files::Replacement,
};

/// Ask five questions, write a commented configuration of the answers, and try it.
///
/// An empty answer takes what stands in brackets. The answers may come from a file or a pipe, one a line. A password is
/// asked for nowhere: it stays in a file of its own, or comes from a command. A configuration that is there already
/// stays, unless it is the sample that comes with bounced.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo bounced init
  bounced --config ./bounced.toml init
  bounced --config ./bounced.toml init --no-connect < answers.txt")]
pub struct Init {
    /// Replace a configuration that is there already.
    #[arg(long)]
    force: bool,
    /// Do not try the mailbox.
    #[arg(long)]
    no_connect: bool,
}

/// The reference that the installation copies, in which no mailbox is configured yet.
const SAMPLE: &str = include_str!("../../config/bounced.toml");

/// What a person answered, as it was typed.
#[derive(Debug, Clone)]
struct Answers {
    place: String,
    user: String,
    password: String,
    after: String,
    directory: String,
}

impl Init {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let path = globals.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        if path.exists() && !self.force && fs::read_to_string(&path).map_or(true, |there| there != SAMPLE) {
            return Err(Failure::new(
                Exit::Usage,
                format!("{} is there already; --force replaces it, --config FILE names another", path.display()),
            ));
        }
        let unwritable = |error: io::Error| Failure::new(Exit::Io, format!("can't write {}: {error}", path.display()));
        // Not after five questions.
        drop(Replacement::begin(&path, None).map_err(unwritable)?);
        let is_person = io::stdin().is_terminal();
        let mut answers = Answers::default();
        loop {
            answers.ask(&mut io::stdin().lock(), &mut io::stderr().lock(), is_person)?;
            let new = Replacement::begin(&path, None).map_err(unwritable)?;
            let written = new.file().and_then(|mut file| file.write_all(answers.configuration().as_bytes()));
            written.map_err(unwritable)?;
            match Config::load(Some(new.temporary())) {
                Ok(_) => {
                    new.commit().map_err(unwritable)?;
                    break;
                }
                Err(error) if is_person => complain(&format!("{}; once more:", problem(error))),
                Err(error) => {
                    return Err(Failure::new(Exit::Config, format!("{}; nothing was written", problem(error))));
                }
            }
        }
        writeln!(io::stdout(), "written         {}", path.display())?;
        let written = Globals { config: Some(path) };
        Check { connect: !self.no_connect }.execute(&written)
    }
}

/// What is wrong with the answers: the file and its lines are ours.
fn problem(error: ConfigError) -> String {
    match error {
        ConfigError::File { key, message, .. } => format!("{key}{message}"),
        ConfigError::Values { message, .. } => message,
        error @ (ConfigError::Unreadable { .. } | ConfigError::Environment(_)) => error.to_string(),
    }
}

/// A path as it was typed -> the same from wherever it is read: paths in a configuration start at its own directory.
fn absolute(typed: &str) -> String {
    let home = typed.strip_prefix("~/").zip(env::var_os("HOME")).map(|(below, home)| Path::new(&home).join(below));
    let typed = home.unwrap_or_else(|| typed.into());
    path::absolute(&typed).unwrap_or(typed).display().to_string()
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            place: String::new(),
            user: String::new(),
            password: "/etc/bounced/password".to_owned(),
            after: "Processed".to_owned(),
            directory: "/var/lib/bounced".to_owned(),
        }
    }
}

impl Answers {
    /// What was answered before is offered again. Answers that nobody types are shown, so that the questions can be
    /// read.
    fn ask(&mut self, answers: &mut impl BufRead, questions: &mut impl Write, is_person: bool) -> Result<(), Failure> {
        let mut ask = |question: &str, answer: &mut String| -> Result<(), Failure> {
            let offered = if answer.is_empty() { String::new() } else { format!(" [{answer}]") };
            write!(questions, "{question}{offered}: ")?;
            questions.flush()?;
            let mut typed = String::new();
            let is_over = answers.read_line(&mut typed)? == 0;
            let typed = typed.trim();
            if !is_person || is_over {
                writeln!(questions, "{typed}")?;
            }
            if is_over {
                return Err(Failure::new(Exit::Usage, format!("there is no answer to: {question}")));
            }
            if !typed.is_empty() {
                typed.clone_into(answer);
            }
            if answer.is_empty() {
                return Err(Failure::new(Exit::Usage, format!("an answer is needed to: {question}")));
            }
            Ok(())
        };
        ask("IMAP server that has the bounces, or the path of a Maildir", &mut self.place)?;
        if !is_path(&self.place) {
            ask("User there", &mut self.user)?;
            ask("File that holds the password, or `command: …` that prints it", &mut self.password)?;
        }
        ask("Folder for bounces that are recorded, or `flag`, or `leave`", &mut self.after)?;
        ask("Directory for the database and the suppression list", &mut self.directory)
    }

    fn configuration(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let directory = absolute(&self.directory);
        let file = |name: &str| quoted(&Path::new(&directory).join(name).display().to_string());
        let mut text = format!(
            "# Configuration of bounced, made by `bounced init`. config/bounced.toml and docs/configuration.md have every key.\n\n\
             [database]\n# SQLite file with everything that was seen; made when missing.\npath = {}\n\n\
             [suppressions]\n# The published list, for tools that want SQL. For mail servers the same list lies beside it as a\n\
             # constant database, with the ending .cdb.\npath = {}\n\n",
            file("bounced.db"),
            file("suppressions.db"),
        );
        let section = if is_path(&self.place) {
            let path = quoted(&absolute(&self.place));
            format!("# The directory that holds new, cur and tmp.\n[maildir.bounces]\npath = {path}\n")
        } else {
            let password = match self.password.strip_prefix("command:") {
                Some(command) => format!("{{ command = {} }}", quoted(command.trim())),
                None => format!("{{ file = {} }}", quoted(&absolute(&self.password))),
            };
            format!(
                "[imap.bounces]\nhost = {}\nuser = {}\n# The first line counts; it is read anew at each login.\n\
                 password = {password}\n# TLS from the start; or \"starttls\".\ntls = \"implicit\"\n",
                quoted(&self.place),
                quoted(&self.user)
            )
        };
        text.push_str(&section);
        let after = match self.after.as_str() {
            kept @ ("flag" | "leave") => quoted(kept),
            folder => format!("{{ move = {} }}", quoted(folder)),
        };
        // Writing into a string does not fail.
        let _ = writeln!(text, "# What becomes of a bounce once its rows are written.\nafter = {after}");
        text
    }
}

/// A host has no slash; a URL is refused as a host.
fn is_path(place: &str) -> bool {
    place.starts_with('.') || place.contains('/') && !place.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn asked(typed: &str) -> Result<Answers, Failure> {
        let mut answers = Answers::default();
        answers.ask(&mut typed.as_bytes(), &mut Vec::new(), false).map(|()| answers)
    }

    fn configured(typed: &str) -> (Config, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bounced.toml");
        let text = asked(typed).unwrap().configuration();
        fs::write(&path, &text).unwrap();
        (Config::load(Some(&path)).unwrap(), text)
    }

    #[test]
    fn what_was_answered_is_what_is_configured() {
        let (config, text) = configured("mail.example.org\nbob\ncommand: pass \"mail\"\nDone\n/srv/b\n");
        assert_eq!(config.database.path, Path::new("/srv/b/bounced.db"));
        assert_eq!(config.suppressions.path, Path::new("/srv/b/suppressions.db"));
        let mailbox = config.mailboxes().remove(0);
        assert!(mailbox.settings.describe().contains("bob at mail.example.org:993"), "{text}");
        assert!(mailbox.settings.becomes().contains("Done"), "{text}");
        assert!(text.contains("command = 'pass \"mail\"'"), "{text}");

        let (config, text) = configured("/var/mail/b\nleave\n\n");
        assert_eq!(config.database.path, Path::new("/var/lib/bounced/bounced.db"));
        assert!(
            text.contains("[maildir.bounces]\npath = \"/var/mail/b\"") && text.contains("after = \"leave\""),
            "{text}"
        );
    }

    #[test]
    fn a_path_means_the_same_wherever_the_configuration_lies() {
        for (place, is) in [("mail/box", true), ("./box", true), ("/box", true), ("mx.example.org", false)] {
            assert_eq!(is_path(place), is, "{place}");
        }
        assert!(!is_path("imaps://mx.example.org"), "refused as a host");
        let here = env::current_dir().unwrap();
        assert_eq!(Path::new(&absolute("mail/box")), here.join("mail/box"));
        assert_eq!(Path::new(&absolute("~/box")), Path::new(&env::var_os("HOME").unwrap_or("~".into())).join("box"));
        let (_, text) = configured("./box\nflag\n.\n");
        assert!(text.contains(&format!("path = \"{}\"", here.join("bounced.db").display())), "{text}");
    }

    #[test]
    fn a_question_without_an_answer_is_named() {
        for answers in ["", "\n", "mail.example.org\n", "mail.example.org\n\n"] {
            assert!(asked(answers).is_err(), "{answers:?}");
        }
    }
}
