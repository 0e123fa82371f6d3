//! `bounced redact`: a copy of a bounce that may be shown to others, and whether it still gives the same verdict.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{Exit, Failure, Globals, exit::complain, input};
use crate::redact;

/// Write a copy of a bounce without the addresses, names and hosts in it, to report a misread.
#[derive(Debug, clap::Args)]
#[command(after_help = "The copy goes to standard output. Exit code 1: the copy is written, but the verdict on it \
differs; standard error says how.
Words that people wrote may be left in it: read it before you send it.

Examples:
  bounced redact bounce.eml > copy.eml
  bounced redact - < bounce.eml | bounced explain -")]
pub struct Redact {
    /// The mail, or `-` for standard input.
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

impl Redact {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let judge = globals.judge()?;
        let keep = judge.keep();
        let unreadable =
            |e: io::Error| Failure::new(Exit::Input, format_args!("{}: can't read it: {e}", self.path.display()));
        let mut out = io::stdout().lock();
        let mut exit = Exit::Yes;
        for mail in input::mails(&self.path) {
            let mail = mail.map_err(unreadable)?;
            let copy = redact::redact(&mail.bytes, &keep);
            out.write_all(&copy)?;
            for difference in redact::differences(&judge.judge(&mail.bytes), &judge.judge(&copy)) {
                complain(&format!("{}: the copy gives another verdict: {difference}", mail.name));
                exit = Exit::No;
            }
        }
        out.flush()?;
        Ok(exit)
    }
}
