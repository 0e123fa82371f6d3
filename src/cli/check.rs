//! `bounced check`: what `bounced run` would do, without doing it.

use std::{
    fmt,
    io::{self, Write},
};

use super::{
    Exit, Failure, Globals, block_on,
    columns::{columns, paragraph_within},
    terminal::{count, printable, width},
};
use crate::{
    app::{self, Halt, Judge, Signer, TableFiles},
    clock::Moment,
    config::{Config, DEFAULT_FILE, Mailbox},
    policy::{Demands, Policy},
    report::Trust,
    tables::IdleRow,
};

/// Validate the configuration and say what `bounced run` would do with it.
///
/// Rows of your own tables that do nothing (any more) are named: the built-in ones give the same answers without them. So
/// are rules of the policy that can do nothing with this configuration: for a mailbox that is not there, or that count
/// bounces for longer than these are kept.
///
/// Where no mailbox and no mail log is configured it says so: `bounced receive` and `bounced import` work all the same.
///
/// A database that is there is looked into. With --connect it is found out as well whether it can be written and whether the
/// published lists were made from it; it logs in to each mailbox, and says of each mail log how many of its last lines are
/// understood. No message is read or changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced check
  bounced --config ./bounced.toml check --connect")]
pub struct Check {
    /// Try the database, the published lists, each mailbox and each mail log.
    #[arg(long)]
    pub(super) connect: bool,
}

impl Check {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        let judge = Judge::new(&config).map_err(|error| Failure::new(Exit::Config, error))?;
        let mut described = Vec::new();
        describe(&config, judge.policy(), &vouching(&config)?, &mut described)?;
        show(&String::from_utf8_lossy(&described))?;
        let signer = Signer::configured(&config).map_err(|error| Failure::new(Exit::Config, error))?;
        let signed =
            signer.map_or_else(|| "no keys: no envelope sender is signed".to_owned(), |signer| signer.describe());
        show(&labelled("verp", signed))?;
        let idle = TableFiles::read(&config).and_then(|files| files.idle_rows());
        for (table, IdleRow { file, line, id }) in idle.map_err(|error| Failure::new(Exit::Config, error))? {
            let why = "does nothing: without it the table of";
            show(&labelled("idle row", format_args!("{file}:{line}: `{id}` {why} {table} gives the same answers")))?;
        }
        for doubt in app::doubts(&config, judge.policy()) {
            show(&labelled("warning", printable(&doubt)))?;
        }
        if let Some(problem) = app::unusable_file(&config) {
            return Err(Failure::new(Exit::Config, problem));
        }
        if let Some(advice) = config.reads_nothing() {
            // Without a file another one may be meant.
            if config.file.is_none() {
                return Err(Failure::new(Exit::Config, advice));
            }
            let nothing = "nothing: only `bounced receive` and `bounced import` can bring mail, and \
                           `bounced run` would not start";
            show(&labelled("watched", format_args!("{nothing}: {}", printable(&advice))))?;
        }
        if self.connect { block_on(connect(&config)) } else { Ok(Exit::Yes) }
    }
}

/// So many columns a label has, with the blank behind it.
const LABEL: usize = 16;

/// A label, and a text in the column behind it.
fn labelled(label: &str, text: impl fmt::Display) -> String {
    format!("{label:<LABEL$}{text}")
}

/// Prints lines of a label and a text. On a terminal they are as wide as it is; elsewhere each stays whole, for whoever
/// looks for one.
fn show(lines: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let width = width().unwrap_or(usize::MAX);
    lines.lines().try_for_each(|line| match line.split_at_checked(LABEL) {
        Some((label, text)) if columns(line) > width => paragraph_within(width, &mut out, label, text),
        _ => writeln!(out, "{line}"),
    })
}

/// Since when the database can tell our own mail from what strangers write, and that in words.
struct Vouching {
    since: Option<i64>,
    words: String,
}

fn vouching(config: &Config) -> Result<Vouching, Failure> {
    if !config.database.path.exists() {
        return Ok(Vouching { since: None, words: "the database is not there yet".to_owned() });
    }
    Ok(match block_on(async { Ok(app::vouching_since(config).await) })? {
        Ok(Some(since)) => {
            let day = jiff::Timestamp::from_second(since).unwrap_or_default();
            let words = format!("the database knows since {day} what is ours: what was received before is believed");
            Vouching { since: Some(since), words }
        }
        Ok(None) => Vouching { since: None, words: "the database does not know what is ours".to_owned() },
        // --connect tells it as a failure.
        Err(error) => Vouching { since: None, words: format!("what the database knows can't be read: {error}") },
    })
}

fn describe(config: &Config, policy: &Policy, vouching: &Vouching, out: &mut impl Write) -> io::Result<()> {
    let file = config.file.as_ref().map_or_else(
        || format!("built-in defaults and the environment ({DEFAULT_FILE} is not there)"),
        |file| file.display().to_string(),
    );
    let mut line = |label: &str, text: &dyn fmt::Display| writeln!(out, "{}", labelled(label, text));
    line("configuration", &file)?;
    line("database", &config.database.path.display())?;
    for (name, path) in app::published_lists(config) {
        line(name, &path.display())?;
    }
    let mut label = "suppresses";
    for rule in &*policy.rules {
        line(label, &format_args!("{}: {rule}", rule.id))?;
        label = "";
    }
    line(label, &format_args!("at most {} a message", count(policy.most_per_message.into(), "address")))?;
    if !policy.never.is_empty() {
        line("never", &policy.never)?;
    }
    line("brake", &policy.brake)?;
    let mut label = "alarms";
    for told in policy.alarms.to_string().lines() {
        line(label, &told)?;
        label = "";
    }
    line("report", &format_args!("rates from {} sent on", count(policy.alarms.rate_least.into(), "message")))?;
    line("", &format_args!("campaigns by {}", named(&config.report.campaign_headers)))?;
    line("retention", &config.retention)?;
    for (name, table) in config.tables() {
        let own = table.files.iter().map(|file| format!("{}, over the ", file.display()));
        line(name, &format_args!("{}built-in", own.collect::<String>()))?;
    }
    let kinds: Vec<&str> = config.report.processed.iter().map(|kind| kind.as_str()).collect();
    let kinds = kinds.join(", ");
    let lmtp = if config.trust.skip_lmtp { "passed over" } else { "as any other" };
    let own = config.trust.own_servers(config.verp.delivered_to.clone());
    line("trust", &format_args!("our mail servers: {}", named(&own.names)))?;
    line("", &format_args!("submission hosts: {}", named(&own.submission_hosts)))?;
    line("", &format_args!("local users: {}; hops by LMTP are {lmtp}", named(&own.local_users)))?;
    line("", &format_args!("delivered to: {}", named(&own.delivered_to)))?;
    line("", &printable(&vouching.words))?;
    // Any day will do to tell what holds now.
    let begins = config.vouches().then_some(0);
    let demands = Demands { vouching_since: vouching.since.or(begins), ..config.demands() };
    for Mailbox { name, settings, .. } in config.mailboxes() {
        line("mailbox", &format_args!("{name}: {}; {kinds}: {}", settings.describe(), settings.becomes()))?;
        let believed = match demands.of(name) {
            Trust::Unverified => format!("{name}: as far as the configuration tells, {}", app::HOW_TO_DOUBT),
            least => format!("{name}: what is believed less than \"{least}\" waits for you in `bounced review list`"),
        };
        line("trust", &believed)?;
    }
    for (name, log) in &config.mail_log {
        line("mail log", &format_args!("{name}: {}", log.describe()))?;
    }
    Ok(())
}

fn named<T: fmt::Display>(all: &[T]) -> String {
    let names: Vec<_> = all.iter().map(|one| printable(&one.to_string()).to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Every part is tried, so that one visit finds every mistake; the first failure gives the exit code.
async fn connect(config: &Config) -> Result<Exit, Failure> {
    let mut failures = Vec::new();
    let tell = |part: &str, outcome: Result<Option<String>, Halt>| {
        let state = if outcome.is_ok() { "ok" } else { "FAILED" };
        let more = outcome.as_ref().ok().and_then(Option::as_ref).map(|more| format!(": {}", printable(more)));
        let _ = show(&labelled(state, format_args!("{part}{}", more.unwrap_or_default())));
        failures.extend(outcome.err().map(|halt| match &halt {
            // A mailbox's own words name its server or its directory.
            Halt::Source(_) => Failure::from(halt).of(part),
            Halt::Store(_) => halt.into(),
        }));
    };
    tokio::select! {
        () = app::try_out(config, Moment::now(), tell) => {}
        // A password command has a process group of its own: whoever only dies leaves it behind.
        _ = tokio::signal::ctrl_c() => return Err(Failure::new(Exit::Later, "stopped by Ctrl-C")),
    }
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(Exit::Yes) };
    for failure in failures {
        let _ = failure.report();
    }
    Err(first)
}
