//! `bounced completions`: what a shell needs to complete the arguments of this program.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Cli, Exit, Failure, Globals};

/// Print a script with which a shell completes commands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced completions bash > /usr/share/bash-completion/completions/bounced
  bounced completions zsh > /usr/share/zsh/site-functions/_bounced
  bounced completions fish > /usr/share/fish/vendor_completions.d/bounced.fish")]
pub struct Completions {
    /// The shell that is to read it.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(self, _: &Globals) -> Result<Exit, Failure> {
        // Made in memory first: the generator would panic where a reader has closed the pipe.
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "bounced", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Exit::Yes)
    }
}
