//! `bounced reclassify`: the stored bounces, judged by today's tables and policy.

use std::io::{self, BufWriter, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Exit, Failure, Globals,
    actor::actor,
    block_on,
    suppressions::when,
    terminal::{count, grouped, printable, write_json},
};
use crate::{
    app::{Judge, List, Reclassification},
    clock::now,
    config::Config,
    store::{By, Differences, Judged, ListDifference, ListedAs},
};

/// Judge the stored bounces anew, by the tables and the policy of today, and put the suppression list right.
///
/// Prints how many verdicts change and how, and who comes onto the list, leaves it, or has another entry there. Entries
/// and releases by persons stay as they are, and so does an entry whose bounces are no longer stored. What a mail is and
/// whom it names is not read again: the mails themselves are not kept. Let a running daemon read the same tables first
/// (SIGHUP), for it goes on with its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced reclassify --dry-run             what would change
  bounced reclassify --note upgrade        change it
  bounced reclassify --since 30d --dry-run --json")]
pub struct Reclassify {
    /// Only bounces received then or later: a date, a time such as 2026-11-01T12:00:00Z, or how long ago, as 30d.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<i64>,
    /// Change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for whoever asks later.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// One JSON object, with every address whose entry changes.
    #[arg(long)]
    json: bool,
}

impl Reclassify {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        let judge = Judge::new(&config).map_err(|error| Failure::new(Exit::Config, error))?;
        let differences = block_on(self.judge(&config, &judge))?;
        let mut out = BufWriter::new(io::stdout().lock());
        if self.json {
            write_json(&mut out, &as_json(&differences))?;
        } else {
            self.tell(&differences, &mut out)?;
        }
        out.flush()?;
        Ok(Exit::Yes)
    }

    async fn judge(&self, config: &Config, judge: &Judge) -> Result<Differences, Failure> {
        let list = if self.dry_run { List::open_to_read(config).await? } else { List::open_existing(config).await? };
        let actor = actor();
        let by = By { actor: &actor, note: self.note.as_deref(), at: now() };
        let asked = Reclassification { since: self.since, by, dry_run: self.dry_run };
        let bar = progress(list.bounces(self.since).await?);
        let differences = list.reclassify(judge, &asked, |bounces| bar.inc(bounces)).await;
        bar.finish_and_clear();
        list.close().await;
        Ok(differences?)
    }

    fn tell(&self, differences: &Differences, out: &mut impl Write) -> io::Result<()> {
        let Differences { bounces, left, verdicts, otherwise_explained, list } = differences;
        writeln!(out, "{} judged anew", count(*bounces - *left, "bounce"))?;
        if *left > 0 {
            writeln!(out, "{} left as they are: too little of them is stored", count(*left, "bounce"))?;
        }
        for ((was, is), bounces) in verdicts {
            writeln!(out, "{:>10}  {was} -> {is}", grouped(*bounces))?;
        }
        if *otherwise_explained > 0 {
            writeln!(out, "{:>10}  the same by another row or another line", grouped(*otherwise_explained))?;
        }
        for (sign, what) in
            [('+', "onto the list"), ('-', "off the list"), ('~', "another entry"), ('-', "no longer held")]
        {
            let of_kind: Vec<_> = list.iter().filter(|one| kind(one) == (sign, what)).collect();
            if of_kind.is_empty() {
                continue;
            }
            writeln!(out, "{what}: {}", count(of_kind.len() as u64, "address"))?;
            for one in of_kind.iter().take(MOST_SHOWN) {
                let told = one.after.as_ref().or(one.before.as_ref()).map(describe).unwrap_or_default();
                writeln!(out, "  {sign} {:<40} {told}", printable(&one.address))?;
            }
            if of_kind.len() > MOST_SHOWN {
                writeln!(out, "  … --json names all of them")?;
            }
        }
        if self.dry_run {
            writeln!(out, "nothing was changed")?;
        }
        Ok(())
    }
}

/// So many addresses of each kind are named on the screen.
const MOST_SHOWN: usize = 50;

const fn kind(one: &ListDifference) -> (char, &'static str) {
    match (&one.before, &one.after) {
        (None, Some(_)) => ('+', "onto the list"),
        (Some(_), None) => ('-', "off the list"),
        (Some(_), Some(_)) => ('~', "another entry"),
        (None, None) => ('-', "no longer held"),
    }
}

fn describe(listed: &ListedAs) -> String {
    let reason = listed.reason.as_deref().map(|reason| format!(" {reason}")).unwrap_or_default();
    let until = listed.expires.map(|expires| format!(" until {}", moment(expires))).unwrap_or_default();
    format!("{}{reason}{until}", listed.origin)
}

fn moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |moment| moment.to_string())
}

fn as_json(differences: &Differences) -> Value {
    let Differences { bounces, left, verdicts, otherwise_explained, list } = differences;
    let judged = |judged: &Judged| json!({ "class": judged.class, "reason": judged.reason, "fault": judged.fault });
    let listed = |listed: &Option<ListedAs>| {
        listed.as_ref().map(|listed| {
            let ListedAs { origin, reason, policy, expires } = listed;
            json!({ "origin": origin, "reason": reason, "policy": policy, "expires": expires.map(moment) })
        })
    };
    let verdicts = verdicts
        .iter()
        .map(|((was, is), bounces)| json!({ "before": judged(was), "after": judged(is), "bounces": bounces }));
    let list = list.iter().map(|one| {
        let ListDifference { address, before, after, waited } = one;
        json!({ "address": address, "before": listed(before), "after": listed(after), "was_held": waited })
    });
    json!({
        "bounces": bounces,
        "left": left,
        "verdicts": verdicts.collect::<Vec<_>>(),
        "otherwise_explained": otherwise_explained,
        "list": list.collect::<Vec<_>>(),
    })
}

/// A bar on standard error, when a person waits there.
fn progress(bounces: u64) -> ProgressBar {
    if bounces < 10_000 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} bounces, {per_sec}, {eta} left")
        .expect("the template is a constant");
    ProgressBar::new(bounces).with_style(style)
}
