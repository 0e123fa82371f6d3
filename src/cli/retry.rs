//! `bounced retry`: messages that could not be read are tried again now.

use std::io::{self, Write};

use super::{
    Exit, Failure, Globals, block_on,
    exit::complain,
    judge_with_keys,
    terminal::{count, grouped, printable},
    unrecognised::{tell_out_of_reach, unrecognised_of},
};
use crate::{
    app::{self, ReadAgain},
    clock::now,
    config::Config,
    message::Place,
    store::PendingAnswer,
};

/// Try messages again now that could not be read, or that were set aside; exit code 1 when there are none.
///
/// A daemon that runs takes them up when it looks at the mailbox next; else the next start does. With --unrecognised
/// those are read again at once that looked like reports and named nobody, after an upgrade or with other tables: who
/// is named now is recorded as of the time when the mail was received. They are looked for in their mailboxes, where
/// nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced status                what waits, and why
  bounced retry                 all of it
  bounced retry bounces 7:4711  one message of the mailbox `bounces`
  bounced retry --unrecognised")]
pub struct Retry {
    #[command(flatten)]
    which: Which,
    /// Read those again that looked like reports and named nobody.
    #[arg(long, conflicts_with = "place")]
    unrecognised: bool,
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
            return Err(unknown_mailbox(&config, asked));
        }
        let place = self.place.map(Place::new);
        let answered = app::answer_pending(&config, self.mailbox.as_deref(), place.as_ref(), answer);
        let answered = block_on(async { Ok(answered.await?) })?;
        let are = if answered == 1 { "is" } else { "are" };
        writeln!(io::stdout(), "{} {are} {became}", count(answered, "message"))?;
        Ok(if answered > 0 { Exit::Yes } else { Exit::No })
    }
}

/// Nothing of that name is configured.
pub(super) fn unknown_mailbox(config: &Config, asked: &str) -> Failure {
    let names: Vec<_> = config.mailboxes().iter().map(|mailbox| mailbox.name).collect();
    let there = if names.is_empty() {
        "none is configured: add it, or name another file with --config".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Failure::new(Exit::Usage, format_args!("no mailbox is called `{}`; {there}", printable(asked)))
}

impl Retry {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        if self.unrecognised {
            return read_again(globals, self.which.mailbox.as_deref());
        }
        self.which.answer(globals, PendingAnswer::Retry, "tried again")
    }
}

fn read_again(globals: &Globals, mailbox: Option<&str>) -> Result<Exit, Failure> {
    let config = globals.config()?;
    let judge = judge_with_keys(&config)?;
    block_on(async {
        let kept = unrecognised_of(&config, mailbox).await?;
        if kept.is_empty() {
            writeln!(io::stdout(), "no message names nobody")?;
            return Ok(Exit::No);
        }
        let ReadAgain { tally, as_before, left, failed } = app::read_again(&config, judge, &kept, now()).await?;
        let read = tally.new as u64 + as_before;
        writeln!(
            io::stdout(),
            "{} of {} named nobody and {} found: {} name somebody now; suppressed: {}",
            grouped(read),
            count(kept.len() as u64, "message"),
            if read == 1 { "was" } else { "were" },
            grouped(tally.new as u64),
            count(tally.suppressed as u64, "address"),
        )?;
        if left > 0 {
            complain(&format!("{} left for another time: run this again", count(left, "message")));
        }
        tell_out_of_reach(&config, &kept);
        for (mailbox, error) in &failed {
            complain(&format!("{}: {error}", printable(mailbox)));
        }
        Ok(if !failed.is_empty() {
            Exit::Unavailable
        } else if left > 0 {
            Exit::Later
        } else {
            Exit::Yes
        })
    })
}
