//! `bounced check`: what `bounced run` would do, without doing it.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    pin::Pin,
};

use super::{Exit, Failure, Globals, block_on};
use crate::{
    config::{Config, DEFAULT_FILE, Mailbox},
    message::Resume,
    app::Judge,
    source::{MailboxVisitor, Source, SourceError},
    store::Store,
};

/// Validate the configuration and say what `bounced run` would do with it.
///
/// With --connect it also opens the database and logs in to each mailbox; no message is read or changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced check
  bounced --config ./bounced.toml check --connect")]
pub struct Check {
    /// Open the database and log in to each mailbox.
    #[arg(long)]
    connect: bool,
}

impl Check {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        Judge::new(&config).map_err(|error| Failure::new(Exit::Config, error))?;
        describe(&config, &mut io::stdout().lock())?;
        if let Some(advice) = config.lacks_mailbox() {
            return Err(Failure::new(Exit::Config, advice));
        }
        if self.connect { block_on(connect(&config)) } else { Ok(Exit::Yes) }
    }
}

fn describe(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let file = config.file.as_ref().map_or_else(
        || format!("built-in defaults and the environment ({DEFAULT_FILE} is not there)"),
        |file| file.display().to_string(),
    );
    let table = |file: &Option<_>| file.as_ref().map_or_else(|| "built-in".into(), |f: &std::path::PathBuf| f.display().to_string());
    let policy = config.suppressions.policy();
    writeln!(out, "configuration   {file}")?;
    writeln!(out, "database        {}", config.database.path.display())?;
    writeln!(out, "published list  {}", config.suppressions.path.display())?;
    writeln!(
        out,
        "suppresses      hard bounces at once; {} soft ones within {} days, at least {} days apart",
        policy.soft_count, policy.soft_window_days, policy.soft_min_days
    )?;
    writeln!(out, "code table      {}", table(&config.codes.file))?;
    writeln!(out, "phrases         {}", table(&config.phrases.file))?;
    let kinds: Vec<&str> = config.report.processed.iter().map(|kind| kind.as_str()).collect();
    let kinds = kinds.join(", ");
    for Mailbox { name, settings, .. } in config.mailboxes() {
        writeln!(out, "mailbox         {name}: {}; {kinds}: {}", settings.describe(), settings.after().describe())?;
    }
    Ok(())
}

/// Every part is tried, so that one visit finds every mistake; the first failure gives the exit code.
async fn connect(config: &Config) -> Result<Exit, Failure> {
    let mut failures = Vec::new();
    failures.extend(tell("database", open_store(&config.database.path).await));
    failures.extend(tell("published list", writable(&config.suppressions.path)));
    let mut logins = Logins::default();
    config.visit_mailboxes(&mut logins);
    for (name, login) in logins.0 {
        failures.extend(tell(&name, login.await));
    }
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(Exit::Yes) };
    for failure in failures {
        let _ = failure.report();
    }
    Err(first)
}

fn tell(part: &str, outcome: Result<(), Failure>) -> Option<Failure> {
    let _ = writeln!(io::stdout(), "{:<15} {part}", if outcome.is_ok() { "ok" } else { "FAILED" });
    outcome.err()
}

/// A database that is not there yet is not made: it would belong to whoever checks, not to whoever runs.
async fn open_store(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        Store::open_existing(path).await?.close().await;
        Ok(())
    } else {
        writable(path)
    }
}

/// Whether the file can be written, or made.
fn writable(path: &Path) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        let text = format!("{} can't be written: {error}; check the directory and its permissions", path.display());
        Failure::new(Exit::Io, text)
    };
    if path.exists() {
        return File::options().append(true).open(path).map(drop).map_err(cannot);
    }
    let mut probe = path.as_os_str().to_owned();
    probe.push(".check");
    File::create(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(cannot)
}

type Login = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// What is still to be tried, by the names of the mailboxes.
#[derive(Default)]
struct Logins(Vec<(String, Login)>);

impl MailboxVisitor for Logins {
    fn visit<S: Source>(&mut self, name: &str, settings: &S::Settings) {
        self.0.push((name.to_owned(), Box::pin(log_in(S::new(name, settings.clone())))));
    }
}

async fn log_in(mut source: impl Source) -> Result<(), Failure> {
    let opened = source.open(Resume::default()).await;
    source.close().await;
    opened.map_err(|error| {
        let exit = match error {
            SourceError::Refused(_) => Exit::Refused,
            SourceError::Lost(_) => Exit::Unavailable,
        };
        Failure::new(exit, error)
    })
}
