//! `bounced status`: how each mailbox fares, for people and for health checks.

use std::{
    io::{self, Write},
    time::Duration,
};

use jiff::SignedDuration;
use serde::Serialize;

use super::{
    Exit, Failure, Globals, block_on,
    report::write_alarm,
    terminal::{count, grouped, json_line, printable},
};
use crate::{
    app::{self, MailboxHealth, MailboxState, ShownAlarm, Unforgotten, UnwritableDisk, Wrong},
    clock::Moment,
    follower::Trouble,
    store::{HandedOverTotal, MailboxStatus},
};

/// Say how each mailbox fares; exit with 1 when something is wrong with one, a published list does not follow the
/// database, a disk has no room or can't be written, or somebody is not forgotten as he asked.
///
/// Wrong is a mailbox that was not read for long (stale), failed several times in a row or so that the database could
/// not be told (failing), refuses again and again, which only a person can mend (needs_person), is read a day behind
/// (lagging), holds messages that can't be read for an hour (pending) or over which the process died twice (set_aside),
/// or can't be told for an hour what was recorded (unsettled). `bounced retry` and `bounced ack` answer for messages.
///
/// With --json one array: [{"mailbox", "healthy", "wrong", "state", "reader", "standby", "age", "read_at", "failed_at",
/// "failure", "failures", "next_try", "messages", "bounces", "newest", "lag", "unsettled", "pending", "waiting":
/// [{"place", "why", "tries", "next_try", …}], …}], times in seconds since 1970-01-01 UTC; behind them {"handed_over",
/// "healthy", "messages", "bounces", "newest"} for each name under which `bounced receive` or `import` recorded mails;
/// {"list", "healthy", "failure"} for each published list that does not follow the database, {"disk", "healthy",
/// "failure"} for each directory that has no room or can't be written, {"forget": "key" or "unfinished", "healthy",
/// "failure"} where those who asked to be forgotten are not, {"alarm", "healthy", "about", "words", "raised",
/// "cleared"} for each alarm that lasts (`bounced report`), and last {"held", "healthy", "believed"}: how many
/// addresses wait for a person, and the mailboxes (and names of what was handed over) where anybody is believed who can
/// write to them.
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
    HandedOver {
        healthy: bool,
        #[serde(flatten)]
        total: &'a HandedOverTotal,
    },
    List {
        healthy: bool,
        #[serde(flatten)]
        trouble: &'a Trouble,
    },
    Disk {
        healthy: bool,
        #[serde(flatten)]
        unwritable: &'a UnwritableDisk,
    },
    Forget {
        healthy: bool,
        #[serde(flatten)]
        unforgotten: &'a Unforgotten,
    },
    Alarm {
        healthy: bool,
        #[serde(flatten)]
        alarm: &'a ShownAlarm,
    },
    Held {
        healthy: bool,
        held: u64,
        believed: &'a [String],
    },
}

impl Status {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        let now = Moment::now();
        let status = block_on(async { Ok(app::status(&config, self.max_age, now).await?) })?;
        let app::Status { mailboxes, handed_over, troubles, unwritable, unforgotten, held, believed, alarms } = status;
        let mut out = io::stdout().lock();
        if self.json {
            let handed_over = handed_over.iter().map(|total| Part::HandedOver { healthy: true, total });
            let lists = troubles.iter().map(|trouble| Part::List { healthy: false, trouble });
            let disks = unwritable.iter().map(|unwritable| Part::Disk { healthy: false, unwritable });
            let forgotten = unforgotten.iter().map(|unforgotten| Part::Forget { healthy: false, unforgotten });
            // The mail may be in trouble; what reads it is not.
            let alarms = alarms.iter().map(|alarm| Part::Alarm { healthy: true, alarm });
            let last = [Part::Held { healthy: true, held, believed: &believed }];
            let parts: Vec<_> = mailboxes
                .iter()
                .map(Part::Mailbox)
                .chain(handed_over)
                .chain(lists)
                .chain(disks)
                .chain(forgotten)
                .chain(alarms)
                .chain(last)
                .collect();
            json_line(&mut out, &parts)?;
        } else {
            if mailboxes.is_empty() {
                writeln!(out, "no mailbox and no mail log is configured")?;
            }
            mailboxes.iter().try_for_each(|mailbox| write(mailbox, now.wall, &mut out))?;
            for HandedOverTotal { mailbox, messages, bounces, newest } in &handed_over {
                let (messages, bounces) = (count(whole(*messages), "message"), count(whole(*bounces), "bounce"));
                let newest = newest.map(|newest| format!("; the newest arrived {} ago", span(now.wall - newest)));
                let newest = newest.unwrap_or_default();
                writeln!(
                    out,
                    "ok     {}: handed over to a command; {messages}, {bounces}{newest}",
                    printable(mailbox)
                )?;
            }
            let others = unwritable.iter().map(|disk| &disk.failure).chain(unforgotten.iter().map(|one| &one.failure));
            let failures = troubles.iter().map(|trouble| &trouble.failure).chain(others);
            failures.into_iter().try_for_each(|failure| writeln!(out, "WRONG  {}", printable(failure)))?;
            alarms.iter().try_for_each(|alarm| write_alarm(alarm, &mut out))?;
            if held > 0 {
                let wait = if held == 1 { "waits" } else { "wait" };
                writeln!(out, "{} {wait} for you: bounced review list", count(held, "address"))?;
            }
            for mailbox in &believed {
                writeln!(out, "{}: {}", printable(mailbox), app::HOW_TO_DOUBT)?;
            }
        }
        let is_well = troubles.is_empty() && unwritable.is_empty() && unforgotten.is_empty();
        let healthy = is_well && mailboxes.iter().all(|mailbox| mailbox.healthy);
        Ok(if healthy { Exit::Yes } else { Exit::No })
    }
}

fn write(health: &MailboxHealth, now: i64, out: &mut impl Write) -> io::Result<()> {
    let MailboxStatus { mailbox, read_at, failure, failures, next_try, messages, bounces, unsettled, .. } =
        &health.status;
    let wrong: Vec<String> = health.wrong.iter().map(|wrong| wrong.as_str().to_uppercase()).collect();
    let state = if health.healthy { "ok".to_owned() } else { wrong.join(" ") };
    let read = match (read_at, health.age) {
        (None, _) => "never read".to_owned(),
        (_, Some(age)) => format!("read {} ago", span(age.try_into().unwrap_or(i64::MAX))),
        (_, None) => "read nobody knows when, the clock was set back".to_owned(),
    };
    let (messages, bounces) = (count(whole(*messages), "message"), count(whole(*bounces), "bounce"));
    write!(out, "{state:<6} {mailbox}: {read}; {messages}, {bounces}")?;
    if health.wrong.contains(&Wrong::Lagging) {
        write!(out, ", the last one recorded {} after its arrival", span(health.status.lag.unwrap_or(0)))?;
    }
    if *unsettled > 0 {
        write!(out, ", {} not settled yet", grouped(whole(*unsettled)))?;
    }
    if let Some(failure) = failure {
        let times =
            if *failures > 1 { format!(", {} in a row", count(whole(*failures), "time")) } else { String::new() };
        write!(out, "; last attempt failed{times}: {}", printable(failure))?;
        if let (Some(next), MailboxState::Retrying | MailboxState::NeedsPerson) = (next_try, health.state) {
            write!(out, "; the next one in {}", span(next - now))?;
        }
    }
    if health.state == MailboxState::Unread {
        write!(out, "; no daemon reads it")?;
    }
    writeln!(out)?;
    for one in &health.standby {
        let reader = health.reader.as_ref().map_or("nobody now", |reader| reader.daemon.as_str());
        writeln!(out, "       {} waits to take over from {}", printable(&one.daemon), printable(reader))?;
    }
    for one in &health.waiting {
        let (next, known) = (span(one.next_try - now), if one.acknowledged { ", known to you" } else { "" });
        // The place as `bounced retry` and `bounced ack` take it.
        let (place, why, tries) = (printable(&one.place), printable(&one.why), count(whole(one.tries), "attempt"));
        writeln!(out, "       message {place} could not be read ({tries}, the next in {next}{known}): {why}")?;
    }
    Ok(())
}

/// The store counts in what SQL counts in.
fn whole(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
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
