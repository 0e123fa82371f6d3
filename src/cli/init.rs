//! `bounced init`: some answers -> a configuration with its comments, and whether it works.

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
    source::{
        HOST, is_host, is_word,
        login::{Offer, Protocol, Provider},
    },
};

/// Ask where the bounces lie and how to log in, write a commented configuration of the answers, and try it.
///
/// An empty answer takes what stands in brackets. The answers may come from a file or a pipe, one a line. A password or
/// another secret is asked for nowhere: it stays in a file of its own, or comes from a command. Of a provider whose servers
/// are known (microsoft365, gmail and others) only what it needs is asked; docs/oauth2.md says where to find it. A
/// configuration that is there already stays, unless it is the sample that comes with bounced.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo bounced init
  sudo bounced init --provider gmail --no-connect
  bounced --config ./bounced.toml init --pop3 --no-connect
  bounced --config ./bounced.toml init --no-connect < answers.txt")]
pub struct Init {
    /// Who has the mailbox, such as microsoft365 or gmail; without this it is asked for.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Read the mailbox by POP3 in place of IMAP.
    #[arg(long)]
    pop3: bool,
    /// Replace a configuration that is there already.
    #[arg(long)]
    force: bool,
    /// Do not try the mailbox.
    #[arg(long)]
    no_connect: bool,
}

/// The reference that the installation copies, in which no mailbox is configured yet.
const SAMPLE: &str = include_str!("../../config/bounced.toml");

/// What a person answered, as it was typed; or what is offered.
#[derive(Debug, Clone)]
struct Answers {
    protocol: Protocol,
    /// By the command line; then the place is not asked for.
    provider: Option<Provider>,
    place: String,
    user: String,
    /// By which of the provider's offers to log in.
    offer: String,
    tenant: String,
    client_id: String,
    client_secret: String,
    service_account: String,
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
        let unwritable = |error: io::Error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "make its directory, or name another file by --config",
                _ => "run this as root, or name another file by --config",
            };
            Failure::new(Exit::Io, format!("can't write {}: {error}; {advice}", path.display()))
        };
        // Not after all the questions.
        drop(Replacement::begin(&path, None).map_err(unwritable)?);
        let is_person = io::stdin().is_terminal();
        let mut answers = self.answers()?;
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
        let needs_consent = answers.offer() == Some(Offer::Consent);
        if needs_consent {
            let (user, file) = match &globals.config {
                Some(file) => (String::new(), format!(" --config {}", file.display())),
                None => ("sudo -u bounced ".to_owned(), String::new()),
            };
            let next = format!("{user}bounced{file} login bounces, then {user}bounced{file} check --connect");
            writeln!(io::stdout(), "next            {next}")?;
        }
        let written = Globals { config: Some(path) };
        Check { connect: !self.no_connect && !needs_consent }.execute(&written)
    }

    /// What is known before anything is asked.
    fn answers(&self) -> Result<Answers, Failure> {
        let provider = self.provider.as_deref().map(|name| {
            let unknown =
                || format!("--provider {name}: expected one of {}; for others leave it out", Provider::names());
            Provider::meant(name).ok_or_else(|| Failure::new(Exit::Usage, unknown()))
        });
        let protocol = if self.pop3 { Protocol::Pop3 } else { Protocol::Imap };
        Ok(Answers::new(protocol, provider.transpose()?))
    }
}

/// What is wrong with the answers: the file and its lines are ours.
fn problem(error: ConfigError) -> String {
    match error {
        ConfigError::File { key, message, .. } => format!("{key}{message}"),
        ConfigError::Values { message, .. } => message,
        error @ (ConfigError::Unreadable { .. } | ConfigError::Environment { .. }) => error.to_string(),
    }
}

/// A path as it was typed -> the same from wherever it is read: paths in a configuration start at its own directory.
fn absolute(typed: &str) -> String {
    let home = typed.strip_prefix("~/").zip(env::var_os("HOME")).map(|(below, home)| Path::new(&home).join(below));
    let typed = home.unwrap_or_else(|| typed.into());
    path::absolute(&typed).unwrap_or(typed).display().to_string()
}

/// Where questions are shown and answers come from.
struct Dialogue<'a, A, Q> {
    answers: &'a mut A,
    questions: &'a mut Q,
    is_person: bool,
}

impl<A: BufRead, Q: Write> Dialogue<'_, A, Q> {
    /// What was answered before is offered again. A person whose answer has a `problem` is asked once more. Answers that
    /// nobody types are shown, so that the questions can be read.
    fn ask(
        &mut self,
        question: &str,
        answer: &mut String,
        problem: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Failure> {
        let offered = if answer.is_empty() { String::new() } else { format!(" [{answer}]") };
        loop {
            write!(self.questions, "{question}{offered}: ")?;
            self.questions.flush()?;
            let mut typed = String::new();
            let is_over = self.answers.read_line(&mut typed)? == 0;
            let typed = typed.trim();
            if !self.is_person || is_over {
                writeln!(self.questions, "{typed}")?;
            }
            if is_over {
                return Err(Failure::new(Exit::Usage, format!("there is no answer to: {question}")));
            }
            let given = if typed.is_empty() { answer.as_str() } else { typed };
            let (exit, problem) = match given {
                "" => (Exit::Usage, Some(format!("an answer is needed to: {question}"))),
                given => (Exit::Config, problem(given).map(|problem| format!("`{given}`: {problem}"))),
            };
            match problem {
                None => {
                    *answer = given.to_owned();
                    return Ok(());
                }
                // Whoever asks has standard error to himself: what somebody else writes there would come behind the answers.
                Some(problem) if self.is_person => writeln!(self.questions, "bounced: {problem}")?,
                Some(problem) => return Err(Failure::new(exit, format!("{problem}; nothing was written"))),
            }
        }
    }

    /// One of some words.
    fn choose(&mut self, question: &str, answer: &mut String, words: &[&str]) -> Result<(), Failure> {
        if !words.contains(&answer.as_str()) {
            words[0].clone_into(answer);
        }
        let all = words.join(", ");
        let problem = |given: &str| (!words.contains(&given)).then(|| format!("expected one of {all}"));
        self.ask(&format!("{question}: {all}"), answer, problem)
    }

    /// A name that people can read.
    fn name(&mut self, question: &str, answer: &mut String) -> Result<(), Failure> {
        self.ask(question, answer, |given| (!is_word(given)).then(|| "expected characters that can be read".to_owned()))
    }

    /// Where a secret lies: a file, or a command that prints it.
    fn secret(&mut self, question: &str, answer: &mut String) -> Result<(), Failure> {
        let problem = |given: &str| {
            let is_empty = given.strip_prefix(COMMAND).is_some_and(|command| command.trim().is_empty());
            is_empty.then(|| "the command is missing".to_owned())
        };
        self.ask(question, answer, problem)
    }
}

impl Answers {
    fn new(protocol: Protocol, provider: Option<Provider>) -> Self {
        Self {
            protocol,
            provider,
            place: provider.map(Provider::name).unwrap_or_default().to_owned(),
            user: String::new(),
            offer: String::new(),
            tenant: String::new(),
            client_id: String::new(),
            client_secret: String::new(),
            service_account: "/etc/bounced/google.json".to_owned(),
            password: "/etc/bounced/password".to_owned(),
            after: match protocol {
                Protocol::Imap => "Processed".to_owned(),
                Protocol::Pop3 => "leave".to_owned(),
            },
            directory: "/var/lib/bounced".to_owned(),
        }
    }

    /// The provider, by the command line or by the first answer.
    fn provider(&self) -> Option<Provider> {
        self.provider.or_else(|| Provider::named(&self.place))
    }

    /// How the provider lets in; `None` where only a password will do.
    fn offer(&self) -> Option<Offer> {
        self.provider()?.offers().iter().copied().find(|offer| offer.name() == self.offer)
    }

    fn ask(&mut self, answers: &mut impl BufRead, questions: &mut impl Write, is_person: bool) -> Result<(), Failure> {
        let mut dialogue = Dialogue { answers, questions, is_person };
        if self.provider.is_none() {
            let question = match self.protocol {
                Protocol::Imap => "IMAP server that has the bounces, or the path of a Maildir",
                Protocol::Pop3 => "POP3 server that has the bounces",
            };
            let is_imap = self.protocol == Protocol::Imap;
            let problem = |given: &str| {
                let is_known = Provider::meant(given).is_some() || is_host(given) || is_imap && is_path(given);
                (!is_known).then(|| format!("expected {HOST}"))
            };
            dialogue.ask(&format!("{question}, or one of {}", Provider::names()), &mut self.place, problem)?;
            if let Some(provider) = Provider::meant(&self.place) {
                provider.name().clone_into(&mut self.place);
            }
        }
        if !self.is_maildir() {
            dialogue.name("User there", &mut self.user)?;
            self.ask_for_login(&mut dialogue)?;
        }
        match self.protocol {
            Protocol::Imap => {
                dialogue.name("Folder for bounces that are recorded, or `flag`, or `leave`", &mut self.after)
            }
            Protocol::Pop3 => {
                dialogue.choose("What becomes of bounces that are recorded", &mut self.after, &["leave", "delete"])
            }
        }?;
        dialogue.name("Directory for the database and the suppression list", &mut self.directory)
    }

    fn ask_for_login<A: BufRead, Q: Write>(&mut self, dialogue: &mut Dialogue<'_, A, Q>) -> Result<(), Failure> {
        let Some((provider, offers)) = self.provider().map(|one| (one, one.offers())).filter(|(_, o)| !o.is_empty())
        else {
            return dialogue.secret(PASSWORD, &mut self.password);
        };
        let names: Vec<&str> = offers.iter().map(|offer| offer.name()).collect();
        dialogue.choose("Log in by (docs/oauth2.md says what each needs)", &mut self.offer, &names)?;
        match self.offer() {
            None | Some(Offer::Password) => dialogue.secret(PASSWORD, &mut self.password),
            Some(Offer::ServiceAccount) => {
                dialogue.name("JSON file with the key of the service account", &mut self.service_account)
            }
            Some(offer @ (Offer::Application | Offer::Consent)) => {
                if provider.needs_tenant() {
                    dialogue.name("Directory (tenant) ID", &mut self.tenant)?;
                }
                dialogue.name("Client ID of the application", &mut self.client_id)?;
                let is_needed = offer == Offer::Application || provider.needs_secret();
                let (question, offered) = match is_needed {
                    true => ("File that holds the client secret", "/etc/bounced/client-secret"),
                    false => ("File that holds the client secret, or `none`", NONE),
                };
                if self.client_secret.is_empty() || is_needed && self.client_secret == NONE {
                    offered.clone_into(&mut self.client_secret);
                }
                dialogue.name(question, &mut self.client_secret)
            }
        }
    }

    fn configuration(&self) -> String {
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
        let section = if self.is_maildir() {
            let path = quoted(&absolute(&self.place));
            format!("# The directory that holds new, cur and tmp.\n[maildir.bounces]\npath = {path}\n")
        } else {
            let section = match self.protocol {
                Protocol::Imap => "imap",
                Protocol::Pop3 => "pop3",
            };
            let server = match self.provider() {
                Some(_) => {
                    format!("# Sets host, port and the servers for tokens.\nprovider = {}\n", quoted(&self.place))
                }
                None => format!("host = {}\n", quoted(&self.place)),
            };
            let tls = match self.provider() {
                Some(_) => "",
                None => "# TLS from the start; or \"starttls\".\ntls = \"implicit\"\n",
            };
            let (user, login) = (quoted(&self.user), self.login(&file("bounces.token")));
            format!("[{section}.bounces]\n{server}user = {user}\n{login}{tls}")
        };
        text.push_str(&section);
        let after = match self.after.as_str() {
            kept @ ("flag" | "leave") => quoted(kept),
            deleted if self.protocol == Protocol::Pop3 => quoted(deleted),
            folder => format!("{{ move = {} }}", quoted(folder)),
        };
        // Writing into a string does not fail.
        let _ = writeln!(text, "# What becomes of a bounce once its rows are written.\nafter = {after}");
        text
    }

    /// The lines that say how to log in; a person's consent is kept in the file of this name.
    fn login(&self, refresh_token: &str) -> String {
        let path = |file: &str| quoted(&absolute(file));
        let client = || {
            let tenant = match self.provider().is_some_and(Provider::needs_tenant) {
                true => format!("tenant = {}, ", quoted(&self.tenant)),
                false => String::new(),
            };
            let secret = match self.client_secret.as_str() {
                NONE => String::new(),
                file => format!(", client_secret = {{ file = {} }}", path(file)),
            };
            format!("{tenant}client_id = {}{secret}", quoted(&self.client_id))
        };
        let token = match self.offer() {
            None | Some(Offer::Password) => {
                let password = match self.password.strip_prefix(COMMAND) {
                    Some(command) => format!("{{ command = {} }}", quoted(command.trim())),
                    None => format!("{{ file = {} }}", path(&self.password)),
                };
                return format!("# The first line counts; it is read anew at each login.\npassword = {password}\n");
            }
            Some(Offer::Application) => client(),
            Some(Offer::ServiceAccount) => format!("service_account = {}", path(&self.service_account)),
            Some(Offer::Consent) => format!("{}, refresh_token = {refresh_token}", client()),
        };
        format!("# Tokens in place of a password: docs/oauth2.md.\ntoken = {{ {token} }}\n")
    }

    fn is_maildir(&self) -> bool {
        self.protocol == Protocol::Imap && is_path(&self.place)
    }
}

/// What is asked for where a password lets in.
const PASSWORD: &str = "File that holds the password, or `command: …` that prints it";

/// How an answer begins that is no file.
const COMMAND: &str = "command:";

/// The answer of who has no such file.
const NONE: &str = "none";

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A host has no slash; a URL is refused as a host.
fn is_path(place: &str) -> bool {
    place.starts_with('.') || place.contains('/') && !place.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn init(provider: &str, pop3: bool) -> Init {
        let provider = Some(provider.to_owned()).filter(|name| !name.is_empty());
        Init { provider, pop3, force: false, no_connect: true }
    }

    fn asked(init: &Init, typed: &str) -> Result<Answers, Failure> {
        let mut answers = init.answers()?;
        answers.ask(&mut typed.as_bytes(), &mut Vec::new(), false).map(|()| answers)
    }

    fn configured_by(init: &Init, typed: &str) -> (Config, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bounced.toml");
        let text = asked(init, typed).unwrap().configuration();
        fs::write(&path, &text).unwrap();
        (Config::load(Some(&path)).unwrap_or_else(|error| panic!("{error}\n{text}")), text)
    }

    fn configured(typed: &str) -> (Config, String) {
        configured_by(&init("", false), typed)
    }

    #[test]
    fn of_a_provider_is_asked_what_it_needs() {
        for (provider, pop3, typed, line) in [
            (
                "microsoft365",
                false,
                "b@x\n\nT\nC\n\n\n\n",
                r#"token = { tenant = "T", client_id = "C", client_secret = { file = "/etc/bounced/client-secret" } }"#,
            ),
            (
                "microsoft365",
                true,
                "b@x\nconsent\nT\nC\n\ndelete\n/srv/b\n",
                r#"token = { tenant = "T", client_id = "C", refresh_token = "/srv/b/bounces.token" }"#,
            ),
            ("gmail", false, "b@x\n\n\n\n\n", r#"password = { file = "/etc/bounced/password" }"#),
            ("gmail", false, "b@x\nservice-account\n/k.json\n\n\n", r#"token = { service_account = "/k.json" }"#),
            (
                "gmail",
                true,
                "b@x\nconsent\nC\n/s\n\n/srv/b\n",
                r#"token = { client_id = "C", client_secret = { file = "/s" }, refresh_token = "/srv/b/bounces.token" }"#,
            ),
            ("yahoo", false, "b@x\ncommand: pass\n\n\n", r#"password = { command = "pass" }"#),
        ] {
            let section = if pop3 { "[pop3.bounces]" } else { "[imap.bounces]" };
            let (_, text) = configured_by(&init(provider, pop3), typed);
            let provider_line = format!("provider = \"{provider}\"\nuser = \"b@x\"\n");
            for part in [section, &provider_line, line] {
                assert!(text.contains(part), "{part}\n{text}");
            }
            // Its name is an answer, too.
            assert_eq!(configured_by(&init("", pop3), &format!("{provider}\n{typed}")).1, text);
        }
        let (_, text) = configured_by(&init("", true), "mail.example.org\nbob\n\ndelete\n\n");
        assert!(text.contains("[pop3.bounces]\nhost =") && text.contains("after = \"delete\""), "{text}");
        for (provider, typed) in [("nobody", ""), ("gmail", "b@x\nby-post\n"), ("microsoft365", "b@x\npassword\n")] {
            assert!(asked(&init(provider, false), typed).is_err(), "{provider}");
        }
        assert!(asked(&init("gmail", true), "b@x\n\n\nProcessed\n").is_err(), "POP3 has no folders");
    }

    #[test]
    fn what_can_never_be_right_is_told_at_its_own_question() {
        for (pop3, typed, asked_for, problem) in [
            (false, "imaps://mail.example.org\nbob\n", 1, "`imaps://mail.example.org`: expected a host name"),
            (false, "mail example\nbob\n", 1, "`mail example`: expected a host name"),
            (true, "/var/mail/b\nbob\n", 1, "`/var/mail/b`: expected a host name"),
            (false, "mx.example\nbob\ncommand:  \nDone\n", 3, "`command:`: the command is missing"),
            (false, "mx.example\nb\u{7}b\npw\n", 2, "expected characters that can be read"),
            (false, "gmail\nbob\nby-post\n", 3, "`by-post`: expected one of password, service-account, consent"),
        ] {
            let init = init("", pop3);
            let (mut answers, mut questions) = (init.answers().unwrap(), Vec::new());
            let refused = answers.ask(&mut typed.as_bytes(), &mut questions, false).unwrap_err();
            assert!(format!("{refused:?}").contains(problem), "{typed}: {refused:?}");
            assert_eq!(String::from_utf8(questions).unwrap().lines().count(), asked_for, "{typed}");
        }
        // A person is asked once more, and what was typed wrong is not offered.
        let mut answers = init("", false).answers().unwrap();
        let mut questions = Vec::new();
        let typed = "\nmail example\nGMail\nbob\n\ncommand:\n/pw\n\n\n";
        answers.ask(&mut typed.as_bytes(), &mut questions, true).unwrap();
        assert_eq!((answers.place.as_str(), answers.password.as_str()), ("gmail", "/pw"));
        let told = String::from_utf8(questions).unwrap();
        assert!(!told.contains("[mail example]"), "{told}");
        assert!(told.contains("bounced: `command:`: the command is missing\nFile that holds the password"), "{told}");
        let line = "provider = \"gmail\"\n";
        assert!(configured_by(&init("Gmail", false), "b@x\n\n\n\n\n").1.contains(line), "in any case");
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
            assert!(asked(&init("", false), answers).is_err(), "{answers:?}");
        }
    }
}
