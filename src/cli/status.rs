//! `bounced status`: how each mailbox fares, for people and for health checks.

use std::{
    io::{self, Write},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Exit, Failure, Globals, block_on};
use crate::{
    config::Mailbox,
    store::{MailboxStatus, Store},
};

/// Say when each mailbox was last read; exit with 1 when one is stale.
///
/// With --json one array: [{"mailbox", "healthy", "read_at", "failed_at", "failure", "messages", "bounces", "newest",
/// "unsettled"}], times in seconds since 1970-01-01 UTC.
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

#[derive(Serialize)]
struct Line {
    healthy: bool,
    #[serde(flatten)]
    status: MailboxStatus,
}

impl Status {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        let mut known = block_on(async {
            let store = Store::open_existing(&config.database.path).await?;
            let status = store.status().await?;
            store.close().await;
            Ok(status)
        })?;
        let now = Timestamp::now().as_second();
        let oldest = now.saturating_sub_unsigned(self.max_age.as_secs());
        // Mailboxes that are no longer configured are nobody's worry; those never tried are.
        let lines: Vec<Line> = config
            .mailboxes()
            .into_iter()
            .map(|Mailbox { name, .. }| {
                let found = known.iter().position(|status| status.mailbox == name).map(|at| known.swap_remove(at));
                let status = found.unwrap_or_else(|| never_tried(name));
                Line { healthy: status.read_at.is_some_and(|at| at >= oldest), status }
            })
            .collect();
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, &lines).map_err(io::Error::from)?;
            writeln!(out)?;
        } else if lines.is_empty() {
            writeln!(out, "no mailbox is configured")?;
        } else {
            lines.iter().try_for_each(|line| line.write(now, &mut out))?;
        }
        Ok(if lines.iter().all(|line| line.healthy) { Exit::Yes } else { Exit::No })
    }
}

impl Line {
    fn write(&self, now: i64, out: &mut impl Write) -> io::Result<()> {
        let MailboxStatus { mailbox, read_at, failure, messages, bounces, unsettled, .. } = &self.status;
        let state = if self.healthy { "ok" } else { "STALE" };
        let read = read_at.map_or_else(|| "never read".into(), |at| format!("read {} ago", span(now - at)));
        write!(out, "{state:<6} {mailbox}: {read}; {messages} messages, {bounces} bounces")?;
        if *unsettled > 0 {
            write!(out, ", {unsettled} not settled yet")?;
        }
        if let Some(failure) = failure {
            write!(out, "; last attempt failed: {failure}")?;
        }
        writeln!(out)
    }
}

fn never_tried(mailbox: &str) -> MailboxStatus {
    MailboxStatus {
        mailbox: mailbox.to_owned(),
        read_at: None,
        failed_at: None,
        failure: None,
        messages: 0,
        bounces: 0,
        newest: None,
        unsettled: 0,
    }
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
