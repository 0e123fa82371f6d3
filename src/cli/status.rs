//! `bounced status`: how each mailbox fares, for people and for health checks.

use std::{
    io::{self, Write},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    Exit, Failure, Globals, block_on,
    terminal::{printable, write_json},
};
use crate::{
    app::{self, MailboxHealth},
    follower::Trouble,
    store::MailboxStatus,
};

/// Say when each mailbox was last read; exit with 1 when one is stale, or a published list can't follow the database.
///
/// With --json one array: [{"mailbox", "healthy", "read_at", "failed_at", "failure", "messages", "bounces", "newest",
/// "unsettled", "pending"}], times in seconds since 1970-01-01 UTC; behind them {"list", "healthy", "failure"} for each
/// published list that can't follow the database.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced status
  bounced status --max-age 1h --json | jq '.[] | select(.healthy | not)'")]
pub struct Status {
    /// One JSON array.
    #[arg(long)]
    json: bool,
    /// A mailbox that was last read successfully longer ago than this is not healthy.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    max_age: Duration,
}

/// One object of the array.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Mailbox(&'a MailboxHealth),
    List {
        healthy: bool,
        #[serde(flatten)]
        trouble: &'a Trouble,
    },
}

impl Status {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        let now = Timestamp::now().as_second();
        let mailboxes = block_on(async { Ok(app::status(&config, self.max_age, now).await?) })?;
        let troubles = block_on(async { Ok(app::list_troubles(&config).await?) })?;
        let mut out = io::stdout().lock();
        if self.json {
            let lists = troubles.iter().map(|trouble| Part::List { healthy: false, trouble });
            let parts: Vec<_> = mailboxes.iter().map(Part::Mailbox).chain(lists).collect();
            write_json(&mut out, &parts)?;
            writeln!(out)?;
        } else if mailboxes.is_empty() {
            writeln!(out, "no mailbox is configured")?;
        } else {
            mailboxes.iter().try_for_each(|mailbox| write(mailbox, now, &mut out))?;
        }
        if !self.json {
            troubles.iter().try_for_each(|trouble| writeln!(out, "WRONG  {}", printable(&trouble.failure)))?;
        }
        Ok(if troubles.is_empty() && mailboxes.iter().all(|mailbox| mailbox.healthy) { Exit::Yes } else { Exit::No })
    }
}

fn write(health: &MailboxHealth, now: i64, out: &mut impl Write) -> io::Result<()> {
    let MailboxStatus { mailbox, read_at, failure, messages, bounces, unsettled, pending, .. } = &health.status;
    let state = if health.healthy { "ok" } else { "STALE" };
    let read = read_at.map_or_else(|| "never read".into(), |at| format!("read {} ago", span(now - at)));
    write!(out, "{state:<6} {mailbox}: {read}; {messages} messages, {bounces} bounces")?;
    if *unsettled > 0 {
        write!(out, ", {unsettled} not settled yet")?;
    }
    if *pending > 0 {
        write!(out, ", {pending} not readable yet")?;
    }
    if let Some(failure) = failure {
        write!(out, "; last attempt failed: {}", printable(failure))?;
    }
    writeln!(out)
}

/// `90` -> `1m 30s`
fn span(seconds: i64) -> String {
    format!("{:#}", SignedDuration::from_secs(seconds.max(0)))
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "expected a time such as 90s, 15m or 2h".to_owned())
}
