//! The command line: arguments in, text or JSON out, and an exit code that scripts and systemd can act upon.
//! Knows no rules of its own; every answer comes from the floors below.

mod actor;
mod addresses;
mod columns;
mod exit;
mod input;
mod log;
mod terminal;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser};
pub use exit::{Exit, Failure};

use crate::{app::Judge, config::Config};

/// The one list of commands: each is a module of this floor with its arguments as a struct of the same name.
/// The struct's docstring is its help text.
macro_rules! commands {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        $(mod $module;)+

        #[derive(clap::Subcommand)]
        enum Command { $($name($module::$name)),+ }

        impl Command {
            fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
                match self { $(Self::$name(command) => command.execute(globals)),+ }
            }
        }
    };
}

commands! {
    run::Run,
    receive::Receive,
    import::Import,
    check::Check,
    login::Login,
    status::Status,
    report::Report,
    retry::Retry,
    unrecognised::Unrecognised,
    ack::Ack,
    classify::Classify,
    codes::Codes,
    phrases::Phrases,
    explain::Explain,
    redact::Redact,
    suppressions::Suppressions,
    review::Review,
    delivered::Delivered,
    forget::Forget,
    verp::Verp,
    sent::Sent,
    reclassify::Reclassify,
    init::Init,
    completions::Completions,
    manual::Manual,
}

const EXAMPLES: &str = "\
Examples:
  bounced classify bounce.eml            what one mail says, judged
  bounced explain bounce.eml             why it was judged so
  bounced redact bounce.eml > copy.eml   a copy without names, for a report
  bounced codes 5.1.1                    what a code means and what to do
  bounced phrases user.unknown           which words lead to a verdict
  bounced check --connect                try the configuration
  bounced run                            watch the mailboxes
  bounced receive < bounce.eml           record one mail, as a mail server does
  bounced import Inbox                   record the mails of an archive
  bounced suppressions check ann@example.org";

/// Reads bounce messages, sorts each failed recipient hard or soft, and keeps a suppression list.
#[derive(Parser)]
#[command(version, after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command may ask for.
#[derive(Debug, Default, clap::Args)]
pub struct Globals {
    /// Configuration file [default: the one that BOUNCED_CONFIG names, else /etc/bounced/bounced.toml if it is there, else
    /// the built-in defaults].
    /// BOUNCED__SECTION__KEY variables override what it says.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Names the configuration where the command line does not; read here and not by clap, which would show the file as an
/// argument in each line of usage.
const CONFIG_VARIABLE: &str = "BOUNCED_CONFIG";

impl Globals {
    /// The configuration, read anew on each call.
    ///
    /// # Errors
    /// [`Exit::Config`] with the file, the line, the key and what was expected.
    pub fn config(&self) -> Result<Config, Failure> {
        Config::load(self.config.as_deref()).map_err(|e| Failure::new(Exit::Config, e))
    }

    /// The judge that the configuration asks for, its own tables held against their examples.
    ///
    /// # Errors
    /// [`Exit::Config`] with the file, the line and what was expected.
    pub fn judge(&self) -> Result<Judge, Failure> {
        Judge::new(&self.config()?).map_err(|e| Failure::new(Exit::Config, e))
    }

    /// The same with the examples of every row.
    ///
    /// # Errors
    /// As for [`Globals::judge`].
    pub fn judge_with_examples(&self) -> Result<Judge, Failure> {
        Judge::with_examples(&self.config()?).map_err(|e| Failure::new(Exit::Config, e))
    }
}

/// The judge for mails that go on record: it knows the keys by which they are believed.
fn judge_with_keys(config: &Config) -> Result<Judge, Failure> {
    let judge = Judge::new(config).map_err(|error| Failure::new(Exit::Config, error))?;
    judge.with_keys(config).map_err(|error| Failure::new(Exit::Config, error))
}

/// Runs what is asynchronous in a short command.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Software, format_args!("can't start: {error}")))?;
    let done = runtime.block_on(future);
    // Nobody waits for somebody who still reads from a terminal.
    runtime.shutdown_background();
    done
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    run_with(std::env::args_os())
}

/// One clear line on standard error for whatever went wrong, and the exit code.
fn run_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let understood = command().try_get_matches_from(&args);
    let mut cli = match understood.and_then(|found| Cli::from_arg_matches(&found)) {
        Ok(cli) => cli,
        // Help and version are "errors" to clap; it knows which stream and code they want.
        Err(asked) => {
            return match asked.print().and_then(|()| io::stdout().flush()) {
                Err(unwritten) if !asked.use_stderr() => Failure::from(unwritten).report(),
                // A mail server asks, which knows the codes of sysexits.h alone.
                _ if asked.use_stderr() && names_receive(&args) => Exit::Misused.into(),
                _ if asked.use_stderr() => Exit::Usage.into(),
                _ => Exit::Yes.into(),
            };
        }
    };
    let named = std::env::var_os(CONFIG_VARIABLE).filter(|named| !named.is_empty());
    cli.globals.config = cli.globals.config.or_else(|| named.map(PathBuf::from));
    match cli.command.execute(&cli.globals) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

/// The command line; its help is as wide as the terminal, and 80 columns where there is none.
fn command() -> clap::Command {
    let command = Cli::command();
    if io::stdout().is_terminal() || io::stderr().is_terminal() { command } else { command.term_width(80) }
}

/// Whether the command is `receive`, as far as a wrong command line can be understood.
fn names_receive(args: &[OsString]) -> bool {
    let understood = Cli::command().ignore_errors(true).try_get_matches_from(args);
    understood.is_ok_and(|found| found.subcommand_name() == Some("receive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// A command and all below it.
    fn all(command: clap::Command) -> Vec<clap::Command> {
        let below: Vec<_> = command.get_subcommands().cloned().flat_map(all).collect();
        std::iter::once(command).chain(below).collect()
    }

    #[test]
    fn help_wraps_between_words_and_loses_none() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for command in all(Cli::command()) {
            let render = |width: usize| command.clone().term_width(width).render_long_help().to_string();
            let (narrow, wide) = (render(72), render(0));
            assert_eq!(words(&narrow), words(&wide), "{}", command.get_name());
        }
        let narrow = Cli::command().term_width(72).render_long_help().to_string();
        let before_examples = narrow.split("Examples:").next().unwrap_or_default();
        assert!(before_examples.lines().all(|line| line.chars().count() <= 72), "{narrow}");
    }

    /// An example that is broken can't be pasted.
    #[test]
    fn examples_fit_a_terminal_of_eighty_columns() {
        for command in all(Cli::command()) {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in examples.lines().filter(|line| line.contains("bounced ")) {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
        }
    }
}
