//! `bounced reclassify`: the stored bounces, judged by today's tables and policy.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, IsTerminal, Write},
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Exit, Failure, Globals,
    actor::actor,
    block_on,
    columns::{ADDRESS, padded},
    exit::complain_of_brake,
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
        let mut report = Report::new(BufWriter::new(io::stdout().lock()), self.json);
        block_on(self.judge(&config, &judge, &mut report))?;
        report.finish(self.dry_run)?;
        Ok(Exit::Yes)
    }

    async fn judge(&self, config: &Config, judge: &Judge, report: &mut Report<impl Write>) -> Result<(), Failure> {
        let list = if self.dry_run { List::open_to_read(config).await? } else { List::open_existing(config).await? };
        let actor = actor();
        let by = By { actor: &actor, note: self.note.as_deref(), at: now() };
        let asked = Reclassification { since: self.since, by, dry_run: self.dry_run };
        let bar = progress(list.bounces(self.since).await?);
        let mut written = Ok(());
        let told = |differences: Differences| {
            bar.inc(differences.bounces);
            bar.suspend(|| complain_of_brake(&differences.braked));
            if written.is_ok() {
                written = report.add(differences);
            }
        };
        let done = list.reclassify(judge, &asked, told).await;
        bar.finish_and_clear();
        list.close().await;
        done?;
        Ok(written?)
    }
}

/// So many addresses of each kind are named on the screen.
const MOST_SHOWN: usize = 50;

/// What was found by now. However long the list is, it keeps no more of it than the screen is to show.
struct Report<W> {
    out: W,
    /// Whether each address is written as it is found, within one object.
    is_json: bool,
    /// All but the addresses.
    sums: Differences,
    /// By the kind of change: how many addresses, and the first of them.
    kinds: BTreeMap<Kind, (u64, Vec<ListDifference>)>,
    /// Whether an address was written.
    has_begun: bool,
}

impl<W: Write> Report<W> {
    fn new(out: W, is_json: bool) -> Self {
        Self { out, is_json, sums: Differences::default(), kinds: BTreeMap::new(), has_begun: false }
    }

    fn add(&mut self, mut differences: Differences) -> io::Result<()> {
        for one in std::mem::take(&mut differences.list) {
            if self.is_json {
                self.out.write_all(if self.has_begun { b"," } else { b"{\"list\":[" })?;
                self.has_begun = true;
                write_json(&mut self.out, &as_json(&one))?;
                continue;
            }
            let (count, shown) = self.kinds.entry(Kind::of(&one)).or_default();
            *count += 1;
            if shown.len() < MOST_SHOWN {
                shown.push(one);
            }
        }
        self.sums.add(differences);
        Ok(())
    }

    fn finish(&mut self, dry_run: bool) -> io::Result<()> {
        if self.is_json { self.end_json() } else { self.tell(dry_run) }?;
        self.out.flush()
    }

    fn end_json(&mut self) -> io::Result<()> {
        let Differences { bounces, left, verdicts, otherwise_explained, believed, .. } = &self.sums;
        let judged = |judged: &Judged| json!({ "class": judged.class, "reason": judged.reason, "fault": judged.fault });
        let verdicts = verdicts
            .iter()
            .map(|((was, is), bounces)| json!({ "before": judged(was), "after": judged(is), "bounces": bounces }));
        let out = &mut self.out;
        out.write_all(if self.has_begun { b"]" } else { b"{\"list\":[]" })?;
        let sums = [
            ("verdicts", Value::Array(verdicts.collect())),
            ("bounces", json!(bounces)),
            ("left", json!(left)),
            ("otherwise_explained", json!(otherwise_explained)),
            ("believed", json!(believed)),
        ];
        for (key, value) in sums {
            write!(out, ",\"{key}\":")?;
            write_json(out, &value)?;
        }
        out.write_all(b"}\n")
    }

    fn tell(&mut self, dry_run: bool) -> io::Result<()> {
        let out = &mut self.out;
        let Differences { bounces, left, verdicts, otherwise_explained, believed, .. } = &self.sums;
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
        if *believed > 0 {
            writeln!(out, "{:>10}  believed by now: about messages that are known to be yours", grouped(*believed))?;
        }
        for (kind, (of_kind, shown)) in &self.kinds {
            let (sign, what) = kind.words();
            writeln!(out, "{what}: {}", count(*of_kind, "address"))?;
            for one in shown {
                let told = one.after.as_ref().or(one.before.as_ref()).map(describe).unwrap_or_default();
                let why = one.held.map(|why| format!(" ({why})")).unwrap_or_default();
                writeln!(out, "  {sign} {} {told}{why}", padded(&printable(&one.address), ADDRESS))?;
            }
            if *of_kind > shown.len() as u64 {
                writeln!(out, "  … --json names all of them")?;
            }
        }
        if dry_run {
            writeln!(out, "nothing was changed")?;
        }
        Ok(())
    }
}

/// What becomes of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Added,
    Ended,
    Replaced,
    Held,
    LetGo,
}

impl Kind {
    const fn of(one: &ListDifference) -> Self {
        match (&one.before, &one.after) {
            _ if one.held.is_some() => Self::Held,
            (None, Some(_)) => Self::Added,
            (Some(_), None) => Self::Ended,
            (Some(_), Some(_)) => Self::Replaced,
            (None, None) => Self::LetGo,
        }
    }

    const fn words(self) -> (char, &'static str) {
        match self {
            Self::Added => ('+', "onto the list"),
            Self::Ended => ('-', "off the list"),
            Self::Replaced => ('~', "another entry"),
            Self::Held => ('?', "held for your word, see `bounced review list`"),
            Self::LetGo => ('-', "no longer held"),
        }
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

fn as_json(one: &ListDifference) -> Value {
    let listed = |listed: &Option<ListedAs>| {
        listed.as_ref().map(|listed| {
            let ListedAs { origin, reason, policy, expires } = listed;
            json!({ "origin": origin, "reason": reason, "policy": policy, "expires": expires.map(moment) })
        })
    };
    let ListDifference { address, before, after, waited, held } = one;
    json!({ "address": address, "before": listed(before), "after": listed(after), "was_held": waited, "held": held })
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
