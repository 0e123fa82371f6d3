//! The command line: arguments in, text or JSON out, and an exit code that scripts and systemd can act upon.
//! Knows no rules of its own; every answer comes from the floors below.

mod columns;
mod exit;
mod input;
mod log;
mod terminal;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::Parser;
pub use exit::{Exit, Failure};

use crate::{app::Judge, config::Config, report::Address};

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
    check::Check,
    status::Status,
    retry::Retry,
    ack::Ack,
    classify::Classify,
    codes::Codes,
    phrases::Phrases,
    explain::Explain,
    redact::Redact,
    suppressions::Suppressions,
    review::Review,
    init::Init,
    completions::Completions,
    manual::Manual,
}

const EXAMPLES: &str = "\
Examples:
  bounced classify bounce.eml            what one mail says, judged
  bounced explain bounce.eml             why it was judged so
  bounced redact bounce.eml > copy.eml   a copy without names, to report a misread
  bounced codes 5.1.1                    what a code means and what to do
  bounced phrases user.unknown           which words lead to a verdict
  bounced check --connect                try the configuration
  bounced run                            watch the mailboxes
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
    /// Configuration file [default: /etc/bounced/bounced.toml if it is there, else the built-in defaults].
    /// BOUNCED__SECTION__KEY variables override what it says.
    #[arg(long, short, global = true, env = "BOUNCED_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

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
}

/// An argument that is a mail address, alone, behind `mailto:`, or in angle brackets behind a name.
fn address(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let is_link = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("mailto:"));
    let text = if is_link { &text[7..] } else { text };
    if is_link && text.contains(['%', '?', ',']) {
        return Err("expected nothing but an address behind mailto:, e.g. mailto:ann@example.org".to_owned());
    }
    let text = if text.ends_with('>') { text.rsplit_once('<').map_or(text, |(_, address)| address) } else { text };
    let address = Address::parse(text).ok_or_else(|| "expected one mail address, e.g. ann@example.org".to_owned())?;
    if address.local_part().contains('*') {
        return Err("a pattern is no address: the list holds single addresses, so name each of them".to_owned());
    }
    Ok(address)
}

/// Runs what is asynchronous in a short command.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Software, format_args!("can't start: {error}")))?.block_on(future)
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    run_with(std::env::args_os())
}

/// One clear line on standard error for whatever went wrong, and the exit code.
fn run_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help and version are "errors" to clap; it knows which stream and code they want.
        Err(error) => error.exit(),
    };
    match cli.command.execute(&cli.globals) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn an_address_is_understood_as_people_write_it_or_refused() {
        for text in [
            "ann@example.org",
            "mailto:ann@example.org",
            "MAILTO:Ann@Example.ORG",
            "Ann B. <ann@example.org>",
            "<ann@example.org>",
        ] {
            assert_eq!(address(text).map(|a| a.normalised().to_owned()), Ok("ann@example.org".to_owned()), "{text}");
        }
        for text in
            ["*@example.org", "@example.org", "mailto:ann@example.org?subject=x", "a@example.org,b@example.org", "Ann"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
