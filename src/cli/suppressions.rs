//! `bounced suppressions`: who is not to be mailed any more, why, and the person's last word on it.

mod allow;
mod check;
mod filters;
mod history;
mod import;

use std::{
    future,
    io::{self, BufWriter, Write},
    pin::Pin,
};

use clap::{Args, Subcommand, ValueEnum};
use filters::Filters;
pub(super) use filters::when;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use import::Import;

use super::{
    Exit, Failure, Globals,
    actor::actor,
    addresses::named_or_domains,
    block_on,
    columns::{ADDRESS, padded},
    terminal::{Colours, printable, write_json},
};
use crate::{
    app::List,
    clock::now,
    config::Config,
    report::Address,
    store::{By, ListSelection, Listed, StoreError, TakenOff},
    suppression::Origin,
};

/// Show the suppression list, say why an address is on it, and change it by hand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced suppressions check ann@example.org bob@example.org
  bounced suppressions history ann@example.org
  bounced suppressions add --note 'asked on the phone' ann@example.org
  bounced suppressions add '*@gone.example'    all of it, no subdomains
  bounced suppressions remove gone.txt         one address a line
  bounced suppressions allow '*@example.net'   nothing but you suppresses them
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
    #[command(after_help = "Examples:
  bounced suppressions list
  bounced suppressions list --domain example.org --origin hard --since 30d
  bounced suppressions list --expiring 7d
  bounced suppressions list --limit 50 --after ann@example.org
  bounced suppressions list --json | jq -r '.[].address'")]
    List {
        /// Addresses or domains (`*@example.org`), files with one a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE")]
        addresses: Vec<String>,
        #[command(flatten)]
        filters: Filters,
        /// A JSON array, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Say whether addresses are on the list, by themselves or with all of their domain, and why, and whether they wait
    /// for you, are allowed or forgotten; exit code 0 when all are on the list, 1 when one is not.
    #[command(after_help = "Examples:
  bounced suppressions check ann@example.org
  bounced suppressions check ann@example.org bob@example.org --json
  grep -o '[^ ]*@example.org' users | bounced suppressions check -")]
    Check {
        /// Addresses or domains (`*@example.org`), files with one a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required = true)]
        addresses: Vec<String>,
        /// One JSON object a line; `{"address": …, "suppressed": false}` when it is not on the list.
        #[arg(long)]
        json: bool,
    },
    /// Say what happened to addresses: each change with its time, who made it, and the bounces that caused it. Exit code
    /// 1 when nothing is known of one.
    #[command(after_help = "Examples:
  bounced suppressions history ann@example.org
  bounced suppressions history ann@example.org --json | jq .changes")]
    History {
        /// Addresses or domains (`*@example.org`), files with one a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required = true)]
        addresses: Vec<String>,
        /// One JSON object a line, for each address.
        #[arg(long)]
        json: bool,
    },
    /// Put addresses on the list by hand; no policy takes them off again.
    #[command(after_help = "Examples:
  bounced suppressions add --note 'asked on the phone' ann@example.org
  bounced suppressions add '*@gone.example'    all of it, no subdomains
  bounced suppressions add gone.txt            one address a line")]
    Add {
        /// Addresses or domains (`*@example.org`), files with one a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required = true)]
        addresses: Vec<String>,
        /// Why, for whoever asks later.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        store: NewStore,
    },
    /// Take addresses off the list; no mail received before puts them back, and bounces are counted anew. What waits
    /// about them waits no longer. Exit code 1 when there is nothing of either.
    #[command(after_help = "Examples:
  bounced suppressions remove ann@example.org
  bounced suppressions remove --note 'mailbox was emptied' ann@example.org
  bounced suppressions remove gone.txt    one address a line")]
    Remove {
        /// Addresses or domains (`*@example.org`), files with one a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required = true)]
        addresses: Vec<String>,
        /// Why, for whoever asks later.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        store: NewStore,
    },
    /// Name addresses and domains that no bounce, complaint or import puts on the list; who is on it leaves it.
    #[command(after_help = "Examples:
  bounced suppressions allow ann@example.org
  bounced suppressions allow --note 'our own' '*@example.net'
  bounced suppressions allow --list
  bounced suppressions allow --remove bob@example.org")]
    Allow {
        /// Addresses or domains (`*@example.org`), files with one a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE", required_unless_present = "list")]
        addresses: Vec<String>,
        /// Why, for whoever asks later.
        #[arg(long)]
        note: Option<String>,
        /// Take them off the allow list again; exit code 1 when one is not on it.
        #[arg(long)]
        remove: bool,
        /// Print the allow list; exit code 1 when nobody is on it.
        #[arg(long, conflicts_with_all = ["addresses", "note", "remove"])]
        list: bool,
        /// With --list one JSON object a line.
        #[arg(long, requires = "list")]
        json: bool,
        #[command(flatten)]
        store: NewStore,
    },
    /// Print the list for other programs, or of it those that you name.
    #[command(after_help = "Examples:
  bounced suppressions export > list.txt
  bounced suppressions export --format csv > list.csv
  bounced suppressions export --format json ann@example.org")]
    Export {
        /// Addresses or domains (`*@example.org`), files with one a line, or `-` for standard input.
        #[arg(value_name = "ADDRESS|FILE")]
        addresses: Vec<String>,
        /// In which form.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// For whoever changes the list, or records what does.
#[derive(Debug, Args)]
pub(super) struct NewStore {
    /// Let the database replace published lists that were made from another one, as `bounced run --accept-new-store` does:
    /// once, by hand, and in no configuration of a mail server.
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
        if let Task::Add { store, .. } | Task::Remove { store, .. } | Task::Allow { store, .. } = &task {
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

fn rows<'a>(list: &'a List, arguments: &[String], selection: &ListSelection) -> Result<Rows<'a>, Failure> {
    if arguments.is_empty() {
        return Ok(Box::pin(list.rows(selection)));
    }
    if *selection != ListSelection::default() {
        return Err(Failure::new(Exit::Usage, "name addresses, or say which by options, not both"));
    }
    let addresses = named_or_domains(arguments)?;
    let found = stream::iter(addresses).then(move |address| async move { list.row(&address).await });
    Ok(Box::pin(found.try_filter_map(|row| future::ready(Ok(row)))))
}

impl Task {
    async fn run(self, config: &Config, out: &mut impl Write) -> Result<Exit, Failure> {
        // What is named wrongly is told before a store is made.
        let addresses = match &self {
            Self::Check { addresses, .. }
            | Self::History { addresses, .. }
            | Self::Add { addresses, .. }
            | Self::Remove { addresses, .. }
            | Self::Allow { addresses, .. } => named_or_domains(addresses)?,
            Self::List { .. } | Self::Export { .. } => Vec::new(),
        };
        // Adding may well be the first thing that happens to a store; the rest would only answer for a wrong path.
        let list = match self {
            Self::Add { .. } | Self::Allow { list: false, remove: false, .. } => List::open(config).await?,
            Self::Remove { .. } | Self::Allow { list: false, remove: true, .. } => List::open_existing(config).await?,
            Self::List { .. }
            | Self::Check { .. }
            | Self::History { .. }
            | Self::Export { .. }
            | Self::Allow { .. } => List::open_to_read(config).await?,
        };
        let (actor, now, everything) = (actor(), now(), ListSelection::default());
        let exit = match self {
            Self::List { addresses: only, filters, json: false } => {
                table(rows(&list, &only, &filters.selection())?, out).await?
            }
            Self::List { addresses: only, filters, json: true } => {
                json_array(rows(&list, &only, &filters.selection())?, out).await?
            }
            Self::Export { addresses: only, format: Format::Json } => {
                json_array(rows(&list, &only, &everything)?, out).await?
            }
            Self::Export { addresses: only, format: Format::Txt } if only.is_empty() => plain(&list, out).await?,
            Self::Export { addresses: only, format: Format::Txt } => {
                plain_of(rows(&list, &only, &everything)?, out).await?
            }
            Self::Export { addresses: only, format: Format::Csv } => csv(rows(&list, &only, &everything)?, out).await?,
            Self::Check { json, .. } => check::tell(&list, &addresses, json, out).await?,
            Self::History { json, .. } => history::tell(&list, &addresses, json, out).await?,
            Self::Allow { list: true, json, .. } => allow::show(&list, json, out).await?,
            Self::Allow { note, remove, .. } => {
                let by = By { note: note.as_deref(), ..By::new(&actor, now) };
                if remove {
                    allow::disallow(&list, &addresses, &by, out).await?
                } else {
                    allow::allow(&list, &addresses, &by, out).await?
                }
            }
            Self::Add { note, .. } => {
                let by = By { note: note.as_deref(), ..By::new(&actor, now) };
                let are_new = list.suppress(&addresses, &by).await?;
                for (address, new) in addresses.iter().zip(are_new) {
                    let was = if new { "is suppressed now" } else { "was suppressed already, and stays so by hand" };
                    writeln!(out, "{} {was}", address.normalised())?;
                }
                Exit::Yes
            }
            Self::Remove { note, .. } => {
                let mut exit = Exit::Yes;
                let by = By { note: note.as_deref(), ..By::new(&actor, now) };
                let taken_off = list.release(&addresses, &by).await?;
                for (address, taken_off) in addresses.iter().zip(taken_off) {
                    if taken_off == TakenOff::default() {
                        exit = Exit::No;
                    }
                    let whole = list.covering(address).await?.map(|row| row.address);
                    writeln!(out, "{} {}", address.normalised(), became(address, taken_off, whole.as_deref()))?;
                }
                exit
            }
        };
        list.close().await;
        Ok(exit)
    }
}

/// What has become of an address that a person took off the list, where `whole` is an entry of all of its domain.
fn became(address: &Address, TakenOff { entry, waiting }: TakenOff, whole: Option<&str>) -> String {
    const SO: &str = "no mail received before now puts it there, and bounces are counted anew";
    match (entry, waiting, whole) {
        (true, _, Some(whole)) => {
            format!("is suppressed still, with all of its domain, by the entry {whole}; its own entry is off the list")
        }
        (false, true, Some(whole)) => {
            format!("is suppressed with all of its domain, by the entry {whole}, and waits no longer")
        }
        (false, false, Some(whole)) => format!("is suppressed with all of its domain, by the entry {whole}"),
        (true, _, None) if address.local_part() == "*" => {
            "is off the list; addresses of the domain with entries of their own stay on it".to_owned()
        }
        (true, _, None) => format!("is off the list; {SO}"),
        (false, true, None) => format!("was not on the list, and waits no longer; {SO}"),
        (false, false, None) => "is not on the list".to_owned(),
    }
}

/// The columns of the longest origin.
pub(super) const ORIGIN: usize = 9;

async fn table(mut rows: Rows<'_>, out: &mut impl Write) -> Result<Exit, Failure> {
    let colours = Colours::of(&io::stdout());
    while let Some(row) = rows.try_next().await? {
        // What a person says stands for whatever was there before.
        let is_by_hand = row.origin == Origin::Manual.as_str();
        let [policy, rule] = [&row.policy, &row.rule].map(|why| why.as_deref().filter(|_| !is_by_hand));
        let note = row.note.as_deref();
        let why = [policy, rule, note].into_iter().flatten().collect::<Vec<_>>().join("  ");
        let reason = row.reason.as_deref().unwrap_or("-");
        let address = padded(&printable(&row.address), ADDRESS);
        let until = row.expires.as_ref().map(|until| format!("until {until}  ")).unwrap_or_default();
        let (origin, why) = (colours.class(&row.origin, ORIGIN), printable(&why));
        writeln!(out, "{address} {origin} {reason:<14} {}  {until}{why}", row.since)?;
    }
    Ok(Exit::Yes)
}

/// The whole list, of which nothing but the addresses is read.
async fn plain(list: &List, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut pages = list.entries();
    while let Some(entries) = pages.try_next().await? {
        for entry in entries {
            write_line(&entry.address, out)?;
        }
    }
    Ok(Exit::Yes)
}

async fn plain_of(mut rows: Rows<'_>, out: &mut impl Write) -> Result<Exit, Failure> {
    while let Some(row) = rows.try_next().await? {
        write_line(&row.address, out)?;
    }
    Ok(Exit::Yes)
}

/// An address (RFC 5321 §4.1.2: it may begin with `#`) on a line of its own, where `#` begins a note.
fn write_line(address: &str, out: &mut impl Write) -> io::Result<()> {
    if address.starts_with('#') { writeln!(out, "<{address}>") } else { writeln!(out, "{address}") }
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
            "policy",
            "expires",
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
            row.policy.as_ref(),
            row.expires.as_ref(),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cli::addresses::or_domain,
        import::{self, Found, Row},
    };

    proptest! {
        #[test]
        fn an_exported_line_is_read_as_its_address_by_whoever_takes_lines(
            texts in prop::collection::vec("(#|\"|\\[|\\{|'|=|\\*|%)?[!-~]{0,6}(\" \")?[!-~]{0,6}@(example|[a-z]{1,3}\\.example)", 1..20),
        ) {
            let addresses = texts.iter().filter_map(|text| Some(Address::parse(text)?.normalised().to_owned()));
            let addresses: Vec<String> = addresses.filter(|address| or_domain(address).is_ok()).collect();
            let mut exported = Vec::new();
            for address in &addresses {
                write_line(address, &mut exported).unwrap();
            }
            let text = String::from_utf8(exported.clone()).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let named: Vec<String> = lines.map(|line| or_domain(line).unwrap().normalised().to_owned()).collect();
            prop_assert_eq!(&named, &addresses);
            let import::Import { form, records } = import::Import::open(exported.as_slice(), None).unwrap();
            let imported = records.map(|found| match found {
                Ok(Found::Record(record)) => match form.row(&record, 0) {
                    Row::Entry(entry) => entry.address.normalised().to_owned(),
                    other => format!("{other:?}"),
                },
                other => format!("{other:?}"),
            });
            prop_assert_eq!(imported.collect::<Vec<_>>(), addresses);
        }
    }

    #[test]
    fn an_address_that_looks_like_a_note_is_exported_in_brackets() {
        let mut out = Vec::new();
        for address in ["#x@example.org", "x#@example.org", "*@example.org"] {
            write_line(address, &mut out).unwrap();
        }
        assert_eq!(out, b"<#x@example.org>\nx#@example.org\n*@example.org\n");
    }
}
