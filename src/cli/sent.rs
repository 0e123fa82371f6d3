//! `bounced sent`: a mailer says what it has sent, so that bounces of it can be told from forged ones.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Exit, Failure, Globals, block_on,
    exit::{complain, complain_of_brake},
    input,
    terminal::{count, grouped, json_line, long_task, printable, show_reading},
};
use crate::{
    app::{self, Believed, SentFile},
    clock::now,
    import,
};

/// Told once, with the first file.
const DOUBTS_BEGIN: &str = "from now on, bounces that anybody may have written put nobody onto the list by themselves: \
                            they wait in `bounced review list` (docs/trust.md; [trust] required)";

/// Tell what was sent: bounces of that are believed (docs/trust.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced sent import campaign.csv")]
pub struct Sent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Import(Import),
}

/// Keep hashes of what a file says was sent, and count it.
///
/// CSV has a first line with the names of its columns, in any order: time (RFC 3339, or seconds since 1970-01-01),
/// message_id and recipient, and campaign if you like. NDJSON has one object a line with the same names. A row that
/// can't be read is told by its line; the others are kept all the same. What is kept already counts once, so a file can
/// be read again.
///
/// With the first file ever, bounces begin to be asked who can have written them: what anybody may have written changes
/// nothing by itself from then on, and waits in `bounced review list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced sent import campaign.csv
  bounced sent import --json - < campaign.csv")]
struct Import {
    /// CSV or NDJSON, also packed by gzip; `-` for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// One JSON object for each file: {"file", "rows", "new", "bad", "doubts_begin"}, of which the last is true where it was
    /// not known before what you send. Where bounces of before are believed now, one more at the end: {"believed"}, how
    /// many.
    #[arg(long)]
    json: bool,
}

impl Sent {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let Command::Import(Import { files, json }) = self.command;
        let (config, judge) = (globals.config()?, globals.judge()?);
        let mut exit = Exit::Yes;
        for path in &files {
            let name = printable(&path.display().to_string());
            let bar = long_task(input::octets(path));
            show_reading(&bar);
            let opened = input::watched(path, &bar).map_err(|error| format!("can't read it: {error}"));
            let records = opened.and_then(|source| import::open_sent(source).map_err(|error| error.to_string()));
            let records = match records {
                Ok(records) => records,
                Err(error) => {
                    bar.finish_and_clear();
                    complain(&format!("{name}: {}; nothing of it was kept", printable(&error)));
                    exit = Exit::Input;
                    continue;
                }
            };
            let told = |line: u64, what: &str| complain(&format!("{name}, line {line}: {}", printable(what)));
            let done = block_on(async { Ok(app::record_sent(&config, &judge, records, now(), told).await?) });
            bar.finish_and_clear();
            let SentFile { rows, new, bad, broken, doubts_begin } = done?;
            let mut out = io::stdout().lock();
            if json {
                let told = json!({
                    "file": name, "rows": rows, "new": new, "bad": bad, "doubts_begin": doubts_begin
                });
                json_line(&mut out, &told)?;
            } else {
                writeln!(out, "{name}: {}, {} new", count(rows, "message"), grouped(new))?;
                if doubts_begin {
                    writeln!(out, "{DOUBTS_BEGIN}")?;
                }
            }
            if let Some(broken) = &broken {
                complain(&format!("{name}: {}; what stands before is kept", printable(&broken.to_string())));
            }
            if bad > 0 {
                complain(&format!("{name}: {} left out; mend them and read the file again", count(bad, "bad row")));
            }
            if bad > 0 || broken.is_some() {
                exit = Exit::Input;
            }
        }
        let done = block_on(async { Ok(app::believe_sent(&config, &judge, now()).await?) })?;
        let Believed { count: believed, braked } = done;
        complain_of_brake(&braked);
        if believed > 0 {
            let mut out = io::stdout().lock();
            if json {
                json_line(&mut out, &json!({ "believed": believed }))?;
            } else {
                let what = count(believed, "report");
                writeln!(out, "{what} that could not be believed when read can be now: about these messages")?;
            }
        }
        Ok(exit)
    }
}
