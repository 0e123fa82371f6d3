//! `bounced manual`: the manual pages of all commands, made from what `--help` says.

use std::path::PathBuf;

use clap::CommandFactory;

use super::{Cli, Exit, Failure, Globals};

/// Write the manual pages of all commands into a directory.
///
/// For those who make packages, and whoever installs by hand: bounced(1), bounced-run(1) and so on, for this version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced manual /usr/local/share/man/man1")]
pub struct Manual {
    /// Where they are to lie; the directory must be there.
    directory: PathBuf,
}

impl Manual {
    pub(super) fn execute(self, _: &Globals) -> Result<Exit, Failure> {
        clap_mangen::generate_to(Cli::command(), &self.directory).map_err(|error| {
            Failure::new(Exit::Io, format!("can't write manual pages into {}: {error}", self.directory.display()))
        })?;
        Ok(Exit::Yes)
    }
}
