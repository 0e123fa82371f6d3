//! `bounced init`: five answers -> a configuration with its comments, and whether it works.

use std::{
    fmt::Write as _,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
};

use super::{Exit, Failure, Globals, check::Check};
use crate::{config::DEFAULT_FILE, files::Replacement};

/// Ask five questions, write a commented configuration of the answers, and try it.
///
/// An empty answer takes what stands in brackets. The answers may come from a file or a pipe, one a line. A password is
/// asked for nowhere: it stays in a file of its own, or comes from a command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo bounced init
  bounced --config ./bounced.toml init
  printf '%s\\n' mail.example.org bounces@example.org '' '' '' | bounced --config ./bounced.toml init --no-connect")]
pub struct Init {
    /// Replace a configuration that is there already.
    #[arg(long)]
    force: bool,
    /// Do not try the mailbox.
    #[arg(long)]
    no_connect: bool,
}

/// What a person answered.
struct Answers {
    source: Source,
    after: String,
    directory: PathBuf,
}

/// From where bounces are read.
enum Source {
    Imap { host: String, user: String, password: String },
    Maildir { path: String },
}

impl Init {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let path = globals.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        if path.exists() && !self.force {
            return Err(Failure::new(
                Exit::Usage,
                format!("{} is there already; --force replaces it, --config FILE names another", path.display()),
            ));
        }
        let answers = Answers::ask(&mut io::stdin().lock(), &mut io::stderr().lock())?;
        write(&path, &answers.configuration())
            .map_err(|error| Failure::new(Exit::Io, format!("can't write {}: {error}", path.display())))?;
        writeln!(io::stdout(), "written         {}", path.display())?;
        let written = Globals { config: Some(path) };
        Check { connect: !self.no_connect }.execute(&written)
    }
}

/// Whoever reads it meanwhile finds the old one, or all of the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = Replacement::begin(path, None)?;
    new.file()?.write_all(text.as_bytes())?;
    new.commit()
}

impl Answers {
    fn ask(answers: &mut impl BufRead, questions: &mut impl Write) -> Result<Self, Failure> {
        let mut ask = |question: &str, default: &str| -> Result<String, Failure> {
            let offered = if default.is_empty() { String::new() } else { format!(" [{default}]") };
            write!(questions, "{question}{offered}: ")?;
            questions.flush()?;
            let mut answer = String::new();
            if answers.read_line(&mut answer)? == 0 {
                writeln!(questions)?;
                return Err(Failure::new(Exit::Usage, format!("there is no answer to: {question}")));
            }
            match (answer.trim(), default) {
                ("", "") => Err(Failure::new(Exit::Usage, format!("an answer is needed to: {question}"))),
                ("", default) => Ok(default.to_owned()),
                (answer, _) => Ok(answer.to_owned()),
            }
        };
        let place = ask("IMAP server that has the bounces, or the path of a Maildir", "")?;
        let source = if place.starts_with(['/', '.']) {
            Source::Maildir { path: place }
        } else {
            let user = ask("User there", "")?;
            let password =
                ask("File that holds the password, or `command: …` that prints it", "/etc/bounced/password")?;
            Source::Imap { host: place, user, password }
        };
        let after = ask("Folder for bounces that are recorded, or `flag`, or `leave`", "Processed")?;
        let directory = ask("Directory for the database and the suppression list", "/var/lib/bounced")?.into();
        Ok(Self { source, after, directory })
    }

    fn configuration(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let file = |name: &str| quoted(&self.directory.join(name).display().to_string());
        let mut text = format!(
            "# Configuration of bounced, made by `bounced init`. config/bounced.toml and docs/configuration.md have every key.\n\n\
             [database]\n# SQLite file with everything that was seen; made when missing.\npath = {}\n\n\
             [suppressions]\n# The published list, for tools that want SQL. For mail servers the same list lies beside it as a\n\
             # constant database, with the ending .cdb.\npath = {}\n\n",
            file("bounced.db"),
            file("suppressions.db"),
        );
        let section = match &self.source {
            Source::Imap { host, user, password } => {
                let password = match password.strip_prefix("command:") {
                    Some(command) => format!("{{ command = {} }}", quoted(command.trim())),
                    None => format!("{{ file = {} }}", quoted(password)),
                };
                format!(
                    "[imap.bounces]\nhost = {}\nuser = {}\n# The first line counts; it is read anew at each login.\n\
                     password = {password}\n# TLS from the start; or \"starttls\".\ntls = \"implicit\"\n",
                    quoted(host),
                    quoted(user)
                )
            }
            Source::Maildir { path } => {
                format!("# The directory that holds new, cur and tmp.\n[maildir.bounces]\npath = {}\n", quoted(path))
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn configured(answers: &str) -> (Config, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bounced.toml");
        let answers = Answers::ask(&mut answers.as_bytes(), &mut Vec::new()).unwrap();
        write(&path, &answers.configuration()).unwrap();
        (Config::load(Some(&path)).unwrap(), answers.configuration())
    }

    #[test]
    fn what_was_answered_is_what_is_configured() {
        let (config, text) = configured("mail.example.org\nbob\ncommand: pass \"mail\"\nDone\n/srv/b\n");
        assert_eq!(config.database.path, Path::new("/srv/b/bounced.db"));
        assert_eq!(config.suppressions.path, Path::new("/srv/b/suppressions.db"));
        let mailbox = config.mailboxes().remove(0);
        assert!(mailbox.settings.describe().contains("bob at mail.example.org:993"), "{text}");
        assert!(mailbox.settings.after().describe().contains("Done"), "{text}");
        assert!(text.contains("command = 'pass \"mail\"'"), "{text}");

        let (config, text) = configured("/var/mail/b\nleave\n\n");
        assert_eq!(config.database.path, Path::new("/var/lib/bounced/bounced.db"));
        assert!(
            text.contains("[maildir.bounces]\npath = \"/var/mail/b\"") && text.contains("after = \"leave\""),
            "{text}"
        );
    }

    #[test]
    fn a_question_without_an_answer_is_named() {
        for answers in ["", "\n", "mail.example.org\n", "mail.example.org\n\n"] {
            assert!(Answers::ask(&mut answers.as_bytes(), &mut Vec::new()).is_err(), "{answers:?}");
        }
    }
}
