//! `bounced review`: the addresses that one message too many brought, and a person's word on them.

use std::io::{self, BufWriter, Write};

use clap::{Args, Subcommand};
use futures::TryStreamExt;

use super::{
    Exit, Failure, Globals, address, block_on,
    terminal::{count, json_line, printable},
};
use crate::{
    app::List,
    clock::now,
    report::Address,
    store::{HeldAnswer, HeldSelection},
};

/// Look at the addresses that wait for you because one message named too many, and decide about them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced review list                       what waits, message by message
  bounced review approve --message 17       that message is genuine
  bounced review reject --domain example.org")]
pub struct Review {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print what waits; exit code 1 when nothing does.
    List {
        #[command(flatten)]
        which: Which,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Put addresses onto the list.
    Approve {
        #[command(flatten)]
        which: Which,
        /// Everything that waits.
        #[arg(long)]
        all: bool,
    },
    /// Keep addresses off the list; only a hard bounce received from now on puts them there.
    Reject {
        #[command(flatten)]
        which: Which,
        /// Everything that waits.
        #[arg(long)]
        all: bool,
    },
}

/// What is said together has to fit together.
#[derive(Debug, Args)]
struct Which {
    /// One address.
    #[arg(value_parser = address)]
    address: Option<Address>,
    /// The number of a message, as `bounced review list` shows it.
    #[arg(long, value_name = "NUMBER")]
    message: Option<i64>,
    /// The domain of the addresses.
    #[arg(long, value_parser = domain)]
    domain: Option<String>,
}

fn domain(text: &str) -> Result<String, String> {
    let address = Address::parse(&format!("anybody@{}", text.trim_start_matches('@')));
    address.map(|address| address.domain().to_owned()).ok_or_else(|| "expected a domain, e.g. example.org".to_owned())
}

impl Which {
    fn selection(&self) -> HeldSelection {
        HeldSelection {
            address: self.address.as_ref().map(|address| address.normalised().to_owned()),
            domain: self.domain.clone(),
            message: self.message,
        }
    }

    /// Nothing said is not everything meant.
    fn chosen(&self, all: bool) -> Result<HeldSelection, Failure> {
        let selection = self.selection();
        if !all && selection == HeldSelection::default() {
            let what = "say which: an address, --message NUMBER, --domain DOMAIN, or --all";
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(selection)
    }
}

impl Review {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        let mut out = BufWriter::new(io::stdout().lock());
        let exit = block_on(async {
            let list = match self.task {
                Task::List { .. } => List::open_to_read(&config).await?,
                Task::Approve { .. } | Task::Reject { .. } => List::open_existing(&config).await?,
            };
            let exit = self.task.run(&list, &mut out).await?;
            list.close().await;
            Ok(exit)
        })?;
        out.flush()?;
        Ok(exit)
    }
}

impl Task {
    async fn run(self, list: &List, out: &mut impl Write) -> Result<Exit, Failure> {
        let (selection, answer, became) = match self {
            Self::List { which, json } => return show(list, &which.selection(), json, out).await,
            Self::Approve { which, all } => (which.chosen(all)?, HeldAnswer::Approve, "suppressed now"),
            Self::Reject { which, all } => (which.chosen(all)?, HeldAnswer::Reject, "kept off the list"),
        };
        let answered = list.answer_held(&selection, answer, now()).await?;
        let are = if answered == 1 { "is" } else { "are" };
        writeln!(out, "{} {are} {became}", count(answered, "address"))?;
        Ok(if answered > 0 { Exit::Yes } else { Exit::No })
    }
}

/// A heading for each message, and below it what it says of whom.
async fn show(list: &List, selection: &HeldSelection, json: bool, out: &mut impl Write) -> Result<Exit, Failure> {
    let (mut rows, mut exit, mut before) = (list.held(selection), Exit::No, None);
    while let Some(row) = rows.try_next().await? {
        exit = Exit::Yes;
        if json {
            json_line(out, &row)?;
            continue;
        }
        if before != Some(row.message) {
            let number = row.message.map_or_else(|| "(erased)".to_owned(), |number| number.to_string());
            let mailbox = row.mailbox.as_deref().unwrap_or("-");
            let id = row.message_id.as_deref().unwrap_or("without Message-ID");
            writeln!(out, "message {number}, received {} in {mailbox}, {}", row.since, printable(id))?;
            before = Some(row.message);
        }
        let [reason, rule] = [&row.reason, &row.rule].map(|value| value.as_deref().unwrap_or("-"));
        writeln!(out, "  {:<40} {:<6} {reason:<14} {}", printable(&row.address), row.origin, printable(rule))?;
    }
    Ok(exit)
}
