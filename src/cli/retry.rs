//! `bounced retry`: messages that could not be read are tried again now.

use std::io::{self, Write};

use super::{Exit, Failure, Globals, block_on, terminal::count};
use crate::{app, message::Place, store::PendingAnswer};

/// Try messages again now that could not be read, or that were set aside; exit code 1 when there are none.
///
/// A daemon that runs takes them up when it looks at the mailbox next; else the next start does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced status                what waits, and why
  bounced retry                 all of it
  bounced retry bounces 7:4711  one message of the mailbox `bounces`")]
pub struct Retry {
    #[command(flatten)]
    which: Which,
}

/// Which messages, of those that could not be read.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Those of this mailbox; without it all.
    mailbox: Option<String>,
    /// This one of the mailbox, as `bounced status` names it.
    place: Option<String>,
}

impl Which {
    /// Answers for them, and prints how many they are.
    pub(super) fn answer(self, globals: &Globals, answer: PendingAnswer, became: &str) -> Result<Exit, Failure> {
        let config = globals.config()?;
        if let Some(asked) = &self.mailbox
            && !config.mailboxes().iter().any(|mailbox| mailbox.name == asked)
        {
            let names: Vec<_> = config.mailboxes().iter().map(|mailbox| mailbox.name).collect();
            let what = format_args!("no mailbox is called `{asked}`; there are: {}", names.join(", "));
            return Err(Failure::new(Exit::Usage, what));
        }
        let place = self.place.map(Place::new);
        let answered = app::answer_pending(&config, self.mailbox.as_deref(), place.as_ref(), answer);
        let answered = block_on(async { Ok(answered.await?) })?;
        let are = if answered == 1 { "is" } else { "are" };
        writeln!(io::stdout(), "{} {are} {became}", count(answered, "message"))?;
        Ok(if answered > 0 { Exit::Yes } else { Exit::No })
    }
}

impl Retry {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        self.which.answer(globals, PendingAnswer::Retry, "tried again")
    }
}
