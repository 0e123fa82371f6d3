//! `bounced forget`: what a person may ask for who wants to be known no longer.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, Failure, Globals, actor::actor, addresses::named, block_on, terminal::count};
use crate::{
    app::{ForgetStage, ForgottenPerson, List},
    clock::now,
    config::Config,
    store::By,
};

/// Erase all that is known of addresses, and keep a keyed hash of each.
///
/// They leave the suppression list and the published lists; their bounces, complaints and history are erased, and so is
/// what other rows say of them. What still comes of them is recorded without address and text, and nothing puts them onto
/// a list again. The hash needs the key, a file beside the database: keep a copy of both. What was killed midway is
/// finished by the next one. Exit code 1 where --undo finds one that was not forgotten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced forget ann@example.org
  bounced forget left.txt                  one address a line, or # and a note
  bounced forget --finish                  what was killed midway
  bounced suppressions check ann@example.org
  bounced forget --undo ann@example.org    she is back, and wants mail")]
pub struct Forget {
    /// Addresses, files with one address a line, or `-` for standard input.
    #[arg(value_name = "ADDRESS|FILE", required_unless_present = "finish")]
    addresses: Vec<String>,
    /// Know them again from now on; what was erased stays so.
    #[arg(long)]
    undo: bool,
    /// Do what is left where one was killed midway; `bounced status` tells that there is something.
    #[arg(long, conflicts_with = "undo")]
    finish: bool,
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
            let bar = progress();
            let forgotten = list.forget(&addresses, &By::new(&actor, now()), &|stage| show(&bar, stage)).await;
            bar.finish_and_clear();
            let (persons, texts) = forgotten?;
            if persons.is_empty() {
                writeln!(out, "nothing is left to finish")?;
                list.close().await;
                return Ok(exit);
            }
            for ForgottenPerson { address, erased } in persons {
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

/// On standard error, when a person waits there.
fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// What is going on, and since when; how far it is where that can be told.
fn show(bar: &ProgressBar, stage: ForgetStage) {
    let template = match stage {
        ForgetStage::Erasing => "1/4 {spinner} taking them off the lists, {elapsed}",
        ForgetStage::Searching(rows, of) => {
            bar.set_length(of);
            bar.set_position(rows);
            "2/4 {bar:30} {pos} of {len} rows searched, {elapsed}"
        }
        ForgetStage::Rewriting => "3/4 {spinner} writing the database anew, {elapsed}",
        ForgetStage::Publishing => "4/4 {spinner} writing the published lists, {elapsed}",
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
}
