//! `bounced review`: the addresses that one message too many brought, or one provider too fast, or anybody may have
//! named, or that are on the list and live, and a person's word on them.

use std::io::{self, BufWriter, Write};

use clap::{Args, Subcommand};
use futures::TryStreamExt;

use super::{
    Exit, Failure, Globals,
    actor::actor,
    addresses::{domain, named},
    block_on,
    columns::{ADDRESS, padded},
    suppressions::ORIGIN,
    terminal::{Colours, count, json_line, printable},
};
use crate::{
    app::List,
    clock::now,
    store::{Answered, By, HeldAnswer, HeldSelection},
};

/// Look at what waits for you, and decide about it: addresses of which one message named too many or one provider called too
/// many dead at once, those of which anybody may have written, and addresses that are on the list for good and show
/// signs of life.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced review list                       what waits, message by message
  bounced review approve ann@example.org bob@example.org
  bounced review approve --message 17       that message is genuine
  bounced review approve --provider gmail.com   no outage: they are dead
  bounced review reject --domain example.org")]
pub struct Review {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print what waits; exit code 1 when nothing does.
    #[command(after_help = "Examples:
  bounced review list
  bounced review list --domain example.org --json")]
    List {
        #[command(flatten)]
        which: Which,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Put addresses onto the list; those that are on it and live are taken off.
    #[command(after_help = "Examples:
  bounced review approve --message 17
  bounced review approve --note 'they are gone' ann@example.org")]
    Approve {
        #[command(flatten)]
        which: Which,
        /// Everything that waits.
        #[arg(long, conflicts_with_all = ["addresses", "message", "domain", "provider"])]
        all: bool,
        /// Why, for whoever asks later.
        #[arg(long)]
        note: Option<String>,
    },
    /// Leave it as it is: off the list stays off, and only a hard bounce received from now on puts it there; who is on it
    /// and lives stays on it.
    #[command(after_help = "Examples:
  bounced review reject --domain example.org
  bounced review reject --all --note 'an outage of theirs'")]
    Reject {
        #[command(flatten)]
        which: Which,
        /// Everything that waits.
        #[arg(long, conflicts_with_all = ["addresses", "message", "domain", "provider"])]
        all: bool,
        /// Why, for whoever asks later.
        #[arg(long)]
        note: Option<String>,
    },
}

/// What is said together has to fit together.
#[derive(Debug, Args)]
struct Which {
    /// Addresses, files with one address a line, or `-` for standard input.
    #[arg(value_name = "ADDRESS|FILE")]
    addresses: Vec<String>,
    /// The number of a message, as `bounced review list` shows it.
    #[arg(long, value_name = "NUMBER")]
    message: Option<i64>,
    /// The domain of the addresses.
    #[arg(long, value_parser = domain)]
    domain: Option<String>,
    /// The provider that called too many dead at once, as `bounced review list` shows it.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

impl Which {
    fn selection(&self) -> Result<HeldSelection, Failure> {
        let addresses = (!self.addresses.is_empty()).then(|| named(&self.addresses)).transpose()?;
        Ok(HeldSelection {
            addresses: addresses.map(|all| all.iter().map(|address| address.normalised().to_owned()).collect()),
            domain: self.domain.clone(),
            message: self.message,
            remote: self.provider.clone(),
        })
    }

    /// Nothing said is not everything meant.
    fn chosen(&self, all: bool) -> Result<HeldSelection, Failure> {
        let selection = self.selection()?;
        if !all && selection == HeldSelection::default() {
            let what = "say which: addresses, --message NUMBER, --domain DOMAIN, --provider NAME, or --all";
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(selection)
    }
}

impl Review {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        // What is named wrongly is told before anything is opened.
        let selection = self.task.selection()?;
        let mut out = BufWriter::new(io::stdout().lock());
        let exit = block_on(async {
            let list = match self.task {
                Task::List { .. } => List::open_to_read(&config).await?,
                Task::Approve { .. } | Task::Reject { .. } => List::open_existing(&config).await?,
            };
            let exit = self.task.run(selection, &list, &mut out).await?;
            list.close().await;
            Ok(exit)
        })?;
        out.flush()?;
        Ok(exit)
    }
}

impl Task {
    /// Which addresses are meant.
    fn selection(&self) -> Result<HeldSelection, Failure> {
        match self {
            Self::List { which, .. } => which.selection(),
            Self::Approve { which, all, .. } | Self::Reject { which, all, .. } => which.chosen(*all),
        }
    }

    async fn run(self, selection: HeldSelection, list: &List, out: &mut impl Write) -> Result<Exit, Failure> {
        let (answer, note) = match self {
            Self::List { json, .. } => return show(list, &selection, json, out).await,
            Self::Approve { note, .. } => (HeldAnswer::Approve, note),
            Self::Reject { note, .. } => (HeldAnswer::Reject, note),
        };
        let actor = actor();
        let by = By { note: note.as_deref(), ..By::new(&actor, now()) };
        let answered = list.answer_held(&selection, answer, &by).await?;
        // Approving puts some onto the list and takes others off it: each is told by itself.
        let Answered { suppressed, released, unchanged } = answered;
        for (number, what) in
            [(suppressed, "on the list now"), (released, "off the list now"), (unchanged, "as before")]
        {
            if number > 0 {
                writeln!(out, "{} {what}", count(number, "address"))?;
            }
        }
        if answered.all() > 0 {
            return Ok(Exit::Yes);
        }
        writeln!(out, "nothing of that waits")?;
        Ok(Exit::No)
    }
}

/// `2026-01-31T12`: as much of a time as names its hour.
const UP_TO_THE_HOUR: usize = 13;

/// What is shown under one heading.
#[derive(PartialEq)]
enum Group {
    Message(Option<i64>),
    Hour(String, String),
}

/// A heading for each message, and for each hour in which a provider called too many dead; below it who it is.
async fn show(list: &List, selection: &HeldSelection, json: bool, out: &mut impl Write) -> Result<Exit, Failure> {
    let (mut rows, mut exit, mut before) = (list.held(selection), Exit::No, None);
    let colours = Colours::of(&io::stdout());
    while let Some(row) = rows.try_next().await? {
        exit = Exit::Yes;
        if json {
            json_line(out, &row)?;
            continue;
        }
        let hour = row.since.get(..UP_TO_THE_HOUR).unwrap_or_default().to_owned();
        let group = row
            .remote
            .clone()
            .filter(|_| row.is_of_an_outage())
            .map_or(Group::Message(row.message), |remote| Group::Hour(remote, hour));
        if before.as_ref() != Some(&group) {
            if let Group::Hour(remote, hour) = &group {
                writeln!(out, "{} called too many dead, received from {hour}:00Z on", printable(remote))?;
            } else if row.is_of_life() && row.message.is_none() {
                writeln!(out, "told at {} that mail was delivered", row.since)?;
            } else {
                let number = row.message.map_or_else(|| "(erased)".to_owned(), |number| number.to_string());
                let mailbox = row.mailbox.as_deref().unwrap_or("-");
                let id = row.message_id.as_deref().unwrap_or("without Message-ID");
                writeln!(out, "message {number}, received {} in {mailbox}, {}", row.since, printable(id))?;
            }
            before = Some(group);
        }
        let [reason, rule] = [&row.reason, &row.rule].map(|value| value.as_deref().unwrap_or("-"));
        let origin = colours.class(&row.origin, ORIGIN);
        let why = if row.is_of_life() {
            "  lives: approving takes it off the list"
        } else if row.is_unverified() {
            "  anybody may have written it"
        } else {
            ""
        };
        let address = padded(&printable(&row.address), ADDRESS);
        writeln!(out, "  {address} {origin} {reason:<14} {}{why}", printable(rule))?;
    }
    Ok(exit)
}
