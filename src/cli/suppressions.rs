//! `bounced suppressions`: who is not to be mailed any more, why, and the person's last word on it.

use std::{
    future,
    io::{self, BufWriter, Write},
    pin::Pin,
};

use clap::{Args, Subcommand, ValueEnum};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{
    Exit, Failure, Globals,
    actor::actor,
    addresses::named,
    block_on,
    import::Import,
    terminal::{Colours, json_line, printable, write_json},
};
use crate::{
    app::List,
    clock::now,
    config::Config,
    report::Address,
    store::{By, Listed, StoreError},
};

/// Show the suppression list, say why an address is on it, and change it by hand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced suppressions check ann@example.org bob@example.org
  bounced suppressions add --note 'asked on the phone' ann@example.org
  bounced suppressions remove gone.txt    one address a line, or # and a note
  bounced suppressions export --format csv > list.csv
  grep -o '[^ ]*@example.org' users | bounced suppressions check -")]
pub struct Suppressions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Task(Task),
    Import(Import),
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print every address on the list and what put it there, or of those that you name.
    List {
        /// Addresses, files with one address a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE")]
        addresses: Vec<String>,
        /// A JSON array, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Say whether addresses are on the list, and why; exit code 0 when all are, 1 when one is not.
    Check {
        /// Addresses, files with one address a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required = true)]
        addresses: Vec<String>,
        /// One JSON object a line; `{"address": …, "suppressed": false}` when it is not on the list.
        #[arg(long)]
        json: bool,
    },
    /// Put addresses on the list by hand; no policy takes them off again.
    Add {
        /// Addresses, files with one address a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required = true)]
        addresses: Vec<String>,
        /// Why, for whoever asks later.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        store: NewStore,
    },
    /// Take addresses off the list; only a hard bounce received from now on puts them back. Exit code 1 when one is
    /// not on the list.
    Remove {
        /// Addresses, files with one address a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required = true)]
        addresses: Vec<String>,
        #[command(flatten)]
        store: NewStore,
    },
    /// Print the list for other programs, or of it those that you name.
    Export {
        /// Addresses, files with one address a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE")]
        addresses: Vec<String>,
        /// In which form.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// For whoever changes the list.
#[derive(Debug, Args)]
pub(super) struct NewStore {
    /// Let the database replace published lists that were made from another one, as `bounced run` does.
    #[arg(long = "accept-new-store")]
    pub(super) accept: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// One address a line.
    #[default]
    Txt,
    /// With a header line; a cell that a spreadsheet would take for a formula starts with an apostrophe.
    Csv,
    /// An array, one object a line.
    Json,
}

impl Suppressions {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let task = match self.command {
            Command::Import(import) => return import.execute(globals),
            Command::Task(task) => task,
        };
        let mut config = globals.config()?;
        if let Task::Add { store, .. } | Task::Remove { store, .. } = &task {
            config.suppressions.accept_new_store = store.accept;
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let exit = block_on(task.run(&config, &mut out))?;
        out.flush()?;
        Ok(exit)
    }
}

/// The rows of the list, or those of the addresses that somebody named.
type Rows<'a> = Pin<Box<dyn Stream<Item = Result<Listed, StoreError>> + 'a>>;

fn rows<'a>(list: &'a List, arguments: &[String]) -> Result<Rows<'a>, Failure> {
    if arguments.is_empty() {
        return Ok(Box::pin(list.rows()));
    }
    let addresses = named(arguments)?;
    let found = stream::iter(addresses).then(move |address| async move { list.row(&address).await });
    Ok(Box::pin(found.try_filter_map(|row| future::ready(Ok(row)))))
}

impl Task {
    async fn run(self, config: &Config, out: &mut impl Write) -> Result<Exit, Failure> {
        // What is named wrongly is told before a store is made.
        let addresses = match &self {
            Self::Check { addresses, .. } | Self::Add { addresses, .. } | Self::Remove { addresses, .. } => {
                named(addresses)?
            }
            Self::List { .. } | Self::Export { .. } => Vec::new(),
        };
        // Adding may well be the first thing that happens to a store; the rest would only answer for a wrong path.
        let list = match self {
            Self::Add { .. } => List::open(config).await?,
            Self::Remove { .. } => List::open_existing(config).await?,
            Self::List { .. } | Self::Check { .. } | Self::Export { .. } => List::open_to_read(config).await?,
        };
        let exit = match self {
            Self::List { addresses: only, json: false } => table(rows(&list, &only)?, out).await?,
            Self::List { addresses: only, json: true } | Self::Export { addresses: only, format: Format::Json } => {
                json_array(rows(&list, &only)?, out).await?
            }
            Self::Export { addresses: only, format: Format::Txt } if only.is_empty() => plain(&list, out).await?,
            Self::Export { addresses: only, format: Format::Txt } => plain_of(rows(&list, &only)?, out).await?,
            Self::Export { addresses: only, format: Format::Csv } => csv(rows(&list, &only)?, out).await?,
            Self::Check { json, .. } => {
                let mut exit = Exit::Yes;
                for address in &addresses {
                    if check(&list, address, json, out).await? == Exit::No {
                        exit = Exit::No;
                    }
                }
                exit
            }
            Self::Add { note, .. } => {
                let are_new =
                    list.suppress(&addresses, &By { note: note.as_deref(), ..By::new(&actor(), now()) }).await?;
                for (address, new) in addresses.iter().zip(are_new) {
                    let was = if new { "is suppressed now" } else { "was suppressed already, and stays so by hand" };
                    writeln!(out, "{} {was}", address.normalised())?;
                }
                Exit::Yes
            }
            Self::Remove { .. } => {
                let mut exit = Exit::Yes;
                let were_listed = list.release(&addresses, &By::new(&actor(), now())).await?;
                for (address, was_listed) in addresses.iter().zip(were_listed) {
                    let is = if was_listed {
                        "is off the list; only a hard bounce received from now on puts it back"
                    } else {
                        exit = Exit::No;
                        "is not on the list"
                    };
                    writeln!(out, "{} {is}", address.normalised())?;
                }
                exit
            }
        };
        list.close().await;
        Ok(exit)
    }
}

async fn table(mut rows: Rows<'_>, out: &mut impl Write) -> Result<Exit, Failure> {
    let colours = Colours::of(&io::stdout());
    while let Some(row) = rows.try_next().await? {
        let why = row.rule.as_deref().or(row.note.as_deref()).unwrap_or_default();
        let reason = row.reason.as_deref().unwrap_or("-");
        let address = printable(&row.address);
        writeln!(
            out,
            "{address:<40} {} {reason:<14} {}  {}",
            colours.class(&row.origin, 6),
            row.since,
            printable(why)
        )?;
    }
    Ok(Exit::Yes)
}

/// The whole list, of which nothing but the addresses is read.
async fn plain(list: &List, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut pages = list.entries();
    while let Some(entries) = pages.try_next().await? {
        for entry in entries {
            writeln!(out, "{}", entry.address)?;
        }
    }
    Ok(Exit::Yes)
}

async fn plain_of(mut rows: Rows<'_>, out: &mut impl Write) -> Result<Exit, Failure> {
    while let Some(row) = rows.try_next().await? {
        writeln!(out, "{}", row.address)?;
    }
    Ok(Exit::Yes)
}

async fn json_array(mut rows: Rows<'_>, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut before = "[\n";
    while let Some(row) = rows.try_next().await? {
        write!(out, "{before}")?;
        write_json(out, &row)?;
        before = ",\n";
    }
    writeln!(out, "{}", if before == "[\n" { "[]" } else { "\n]" })?;
    Ok(Exit::Yes)
}

async fn csv(mut rows: Rows<'_>, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut writer = csv::Writer::from_writer(out);
    let written = |error: csv::Error| Failure::from(io::Error::from(error));
    writer
        .write_record([
            "address",
            "origin",
            "reason",
            "since",
            "rule",
            "status",
            "reply",
            "diagnostic",
            "note",
            "mailbox",
            "message_id",
        ])
        .map_err(written)?;
    while let Some(row) = rows.try_next().await? {
        let reply = row.reply.map(|reply| reply.to_string());
        let cells = [
            Some(&row.address),
            Some(&row.origin),
            row.reason.as_ref(),
            Some(&row.since),
            row.rule.as_ref(),
            row.status.as_ref(),
            reply.as_ref(),
            row.diagnostic.as_ref(),
            row.note.as_ref(),
            row.mailbox.as_ref(),
            row.message_id.as_ref(),
        ];
        writer.write_record(cells.map(|cell| cell.map_or(String::new(), |text| no_formula(text)))).map_err(written)?;
    }
    writer.flush()?;
    Ok(Exit::Yes)
}

/// Spreadsheets run a cell that starts like a formula, and these texts come from strangers.
fn no_formula(text: &str) -> String {
    // Behind apostrophes as well: so that whoever takes one off has the text.
    let guard = if text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{guard}{}", printable(text))
}

async fn check(list: &List, address: &Address, json: bool, out: &mut impl Write) -> Result<Exit, Failure> {
    let found = list.row(address).await?;
    let forgotten = if found.is_none() { list.forgotten(address).await? } else { None };
    let is_suppressed = found.is_some() || forgotten.is_some_and(|forgotten| forgotten.suppressed);
    let exit = if is_suppressed { Exit::Yes } else { Exit::No };
    let since = forgotten.map(|forgotten| jiff::Timestamp::from_second(forgotten.at).unwrap_or_default().to_string());
    if json {
        let mut object = found.map_or_else(|| json!({ "address": address.normalised() }), |row| json!(row));
        object["suppressed"] = json!(is_suppressed);
        if let Some(since) = since {
            object["forgotten"] = json!(since);
        }
        json_line(out, &object)?;
    } else if let Some(row) = found {
        explain(list, &row, out)?;
    } else if let Some(since) = since {
        let was = if is_suppressed { "was suppressed then" } else { "was not suppressed then" };
        writeln!(out, "{} was forgotten at {since}, and {was}", address.normalised())?;
    } else {
        writeln!(out, "{} is not on the list", address.normalised())?;
    }
    Ok(exit)
}

/// The commands that show more: what the rule is, and the whole mail taken apart.
fn more(row: &Listed) -> Vec<String> {
    // A rule is `phrases:ID`, `codes:CODE` or `codes:CODE.ID`: the table is the command that shows it.
    let rule = row.rule.as_deref().and_then(|rule| rule.split_once(':'));
    let rule = rule.filter(|(table, _)| ["codes", "phrases"].contains(table));
    let rule = rule.map(|(table, row)| format!("bounced {table} {row}"));
    let mail = row.message.map(|_| "bounced explain FILE (that mail, saved to a file)".to_owned());
    rule.into_iter().chain(mail).collect()
}

/// The way from an address back to the mail that put it on the list.
fn explain(list: &List, row: &Listed, out: &mut impl Write) -> io::Result<()> {
    let reason = row.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let origin = Colours::of(&io::stdout()).class(&row.origin, 0);
    writeln!(out, "{} is suppressed since {} ({origin}{reason})", printable(&row.address), row.since)?;
    let code = [row.reply.map(|reply| reply.to_string()), row.status.clone()].into_iter().flatten().collect::<Vec<_>>();
    let line = |line: Option<i64>| line.map(|line| format!(", line {line}")).unwrap_or_default();
    let lowered = row.lowered_from.as_ref().map(|from| {
        let words = row.lowered_words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
        format!("from {from}{}{words}", line(row.lowered_line))
    });
    let forwarded = row.forwarded_to.as_ref().map(|to| {
        let verdict = [&row.forwarded_class, &row.forwarded_reason].into_iter().flatten().map(String::as_str);
        format!("to {to}, {}", verdict.collect::<Vec<_>>().join(" · "))
    });
    for (name, value) in [
        ("note", row.note.clone()),
        ("rule", row.rule.clone()),
        ("code", Some(code.join(" "))),
        ("field", row.field.as_ref().map(|field| format!("{field}{}", line(row.line)))),
        ("words", row.words.clone()),
        ("lowered", lowered),
        ("forwarded", forwarded),
        ("diagnostic", row.diagnostic.clone()),
        ("message-id", row.message_id.clone()),
        ("received", row.bounced.clone()),
        ("mailbox", row.mailbox.clone()),
        ("place", list.describe_place(row)),
        ("more", Some(more(row).join("; "))),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            writeln!(out, "  {name:<11} {}", printable(&value))?;
        }
    }
    Ok(())
}
