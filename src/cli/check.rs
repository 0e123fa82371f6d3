//! `bounced check`: what `bounced run` would do, without doing it.

use std::io::Write;

use super::{Exit, Failure, Globals};

/// Validate the configuration and say what `bounced run` would do with it.
#[derive(Debug, clap::Args)]
pub struct Check {}

impl Check {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        writeln!(std::io::stdout(), "{config:?}")?;
        Ok(Exit::Yes)
    }
}
