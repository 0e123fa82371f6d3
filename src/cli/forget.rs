//! `bounced forget`: what a person may ask for who wants to be known no longer.

use std::io::{self, Write};

use super::{Exit, Failure, Globals, actor::actor, addresses::named, block_on, terminal::count};
use crate::{app::List, clock::now, config::Config, store::By};

/// Erase all that is known of addresses, and keep a keyed hash of each.
///
/// They leave the suppression list and the published lists; their bounces, complaints and history are erased, and so is
/// what other rows say of them. What still comes of them is recorded without address and text, and nothing puts them onto
/// a list again. The hash needs the key, a file beside the database: keep a copy of both. Exit code 1 where --undo finds
/// one that was not forgotten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced forget ann@example.org
  bounced forget left.txt                  one address a line, or # and a note
  bounced suppressions check ann@example.org
  bounced forget --undo ann@example.org    she is back, and wants mail")]
pub struct Forget {
    /// Addresses, files with one address a line, or `-` for standard input.
    #[arg(value_name = "ADDRESS|FILE", required = true)]
    addresses: Vec<String>,
    /// Know them again from now on; what was erased stays so.
    #[arg(long)]
    undo: bool,
}

/// What no command of ours can erase.
const OUT_OF_REACH: &str =
    "Out of reach, and yours to erase: mails in the mailboxes and in the folders that they were moved to, the
log, backups of the database, and whatever others made of the published lists.";

impl Forget {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        block_on(self.run(&globals.config()?, &mut io::stdout().lock()))
    }

    async fn run(self, config: &Config, out: &mut impl Write) -> Result<Exit, Failure> {
        let addresses = named(&self.addresses)?;
        let list = List::open_existing(config).await?;
        let mut exit = Exit::Yes;
        if self.undo {
            for (address, was_forgotten) in addresses.iter().zip(list.recall(&addresses).await?) {
                let is = if was_forgotten {
                    "is known again from now on"
                } else {
                    exit = Exit::No;
                    "was not forgotten"
                };
                writeln!(out, "{} {is}", address.normalised())?;
            }
        } else {
            let actor = actor();
            let (erased, texts) = list.forget(&addresses, &By::new(&actor, now())).await?;
            for (address, erased) in addresses.iter().zip(erased) {
                let rows = [
                    count(erased.bounces, "bounce"),
                    count(erased.complaints, "complaint"),
                    count(erased.events, "change"),
                ];
                writeln!(out, "{} is forgotten; erased: {}", address.normalised(), rows.join(", "))?;
            }
            writeln!(out, "Elsewhere erased: {}\n\n{OUT_OF_REACH}", count(texts, "text"))?;
        }
        list.close().await;
        Ok(exit)
    }
}
