//! `bounced delivered`: somebody who knows says that mail reached these addresses.

use std::io::{self, Write};

use super::{Exit, Failure, Globals, actor::actor, addresses::named, block_on, terminal::count};
use crate::{app::List, clock::now, store::By};

/// Say that mail has reached addresses: their soft bounces so far count no more, and entries that soft bounces made end.
///
/// Entries of hard bounces and imports stay, and wait for you in `bounced review list`; those of complaints and of a person
/// stay. Addresses of which nothing is known are passed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced delivered ann@example.org
  bounced delivered --note 'she answered' ann@example.org bob@example.org
  grep -o '[^ ]*@example.org' users | bounced delivered -")]
pub struct Delivered {
    /// Addresses, files with one address a line, or `-` for standard input.
    #[arg(value_name = "ADDRESS|FILE", required = true)]
    addresses: Vec<String>,
    /// How you know, for whoever asks later.
    #[arg(long)]
    note: Option<String>,
}

impl Delivered {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        let addresses = named(&self.addresses)?;
        let actor = actor();
        let by = By { note: self.note.as_deref(), ..By::new(&actor, now()) };
        let done = block_on(async {
            let list = List::open_existing(&config).await?;
            let done = list.revive(&addresses, &by).await?;
            list.close().await;
            Ok(done)
        })?;
        let given = addresses.len() as u64;
        let mut out = io::stdout().lock();
        writeln!(out, "{}, {} known", count(given, "address"), done.known)?;
        if done.ended > 0 {
            writeln!(out, "{} off the list", count(done.ended, "address"))?;
        }
        if done.asked > 0 {
            writeln!(out, "{} on the list for good: see `bounced review list`", count(done.asked, "address"))?;
        }
        Ok(Exit::Yes)
    }
}
