//! `bounced explain`: one verdict, taken apart for a person: which line of the mail, which row, what lost.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{Exit, Failure, Globals, classify::plain, input};
use crate::{
    pipeline::Judge,
    report::{Outcome, Recipient, Report, Verdict},
};

/// Show how a verdict came about: the lines of the mail, the rows of the tables, and what lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced explain bounce.eml
  bounced explain - < bounce.eml")]
pub struct Explain {
    /// The mail, or `-` for standard input.
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

impl Explain {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let judge = Judge::new(&globals.config()?).map_err(|e| Failure::new(Exit::Config, e))?;
        let unreadable = |e: io::Error| Failure::new(Exit::Input, format_args!("{}: can't read it: {e}", self.path.display()));
        let mut out = io::stdout().lock();
        for mail in input::mails(&self.path) {
            let mail = mail.map_err(unreadable)?;
            let (report, verdicts) = judge.judge(&mail.bytes);
            let text = String::from_utf8_lossy(&mail.bytes);
            explain(&mail.name, &text, &report, &verdicts, &judge, &mut out)?;
        }
        Ok(Exit::Yes)
    }
}

fn explain(
    name: &str,
    mail: &str,
    report: &Report,
    verdicts: &[Verdict],
    judge: &Judge,
    out: &mut impl Write,
) -> io::Result<()> {
    let because = &report.kind_because;
    writeln!(out, "{name}")?;
    writeln!(out, "  kind      {} — {}: {}", report.kind, because.place, quote(&because.line))?;
    writeln!(out, "  format    {}", report.format)?;
    let original = &report.original;
    let about = [
        ("reporter", &report.reporting_mta),
        ("original", &original.message_id),
        ("campaign", &original.campaign),
    ];
    for (label, value) in about {
        if let Some(value) = value {
            writeln!(out, "  {label:<9} {}", plain(value))?;
        }
    }
    for (recipient, verdict) in report.recipients.iter().zip(verdicts) {
        explain_recipient(mail, recipient, verdict, judge, out)?;
    }
    Ok(())
}

fn explain_recipient(
    mail: &str,
    recipient: &Recipient,
    verdict: &Verdict,
    judge: &Judge,
    out: &mut impl Write,
) -> io::Result<()> {
    let address = recipient.address.as_ref().map_or("(the mail names no address)", |a| a.given());
    writeln!(out, "\n  {}", plain(address))?;
    writeln!(out, "    verdict   {} · {} (fault: {})", verdict.class, verdict.reason, verdict.fault)?;
    writeln!(out, "    action    {}", recipient.action())?;
    for (label, value) in [("original", &recipient.original_recipient), ("final", &recipient.final_recipient)] {
        if let Some(value) = value {
            writeln!(out, "    {label:<9} {}", plain(value))?;
        }
    }
    for reply in &recipient.replies {
        writeln!(out, "    reply     {} — {}{}", reply.value, reply.place, where_stands(mail, &reply.line))?;
    }
    for status in &recipient.statuses {
        writeln!(out, "    status    {} — {}{}", status.value, status.place, where_stands(mail, &status.line))?;
    }
    if let Some(diagnostic) = &recipient.diagnostic {
        writeln!(out, "    words     {}", quote(diagnostic))?;
    }
    if verdict.conflict {
        writeln!(out, "    conflict  reply and status contradict each other: hard only if the words leave no doubt")?;
    }
    if verdict.candidates.is_empty() {
        writeln!(out, "    rule      {}: no row of the tables speaks of this", verdict.rule)?;
    }
    for candidate in &verdict.candidates {
        let mark = match candidate.outcome {
            Outcome::Won => "decided by",
            Outcome::Limited => "limited   ",
            Outcome::Outranked => "lost      ",
        };
        let j = candidate.judgement;
        writeln!(
            out,
            "    {mark} {} → {} · {} (fault: {}), from {}{}",
            candidate.rule,
            j.class,
            j.reason,
            j.fault,
            candidate.place,
            where_stands(mail, &candidate.line)
        )?;
        if candidate.outcome == Outcome::Limited {
            writeln!(out, "               a code that begins with 4 allows no worse than {}", verdict.class)?;
        }
    }
    if let Some(advice) = judge.advice(recipient) {
        writeln!(out, "    advice    {advice}")?;
    }
    Ok(())
}

/// `, line 42` when the words can be found in the mail as it was sent.
fn where_stands(mail: &str, words: &str) -> String {
    // Folded and encoded lines are not found whole; their first words usually are.
    let start: String = words.lines().next().unwrap_or("").chars().take(40).collect();
    let start = start.trim();
    if start.len() < 4 {
        return String::new();
    }
    mail.lines().position(|line| line.contains(start)).map_or_else(String::new, |n| format!(", line {}", n + 1))
}

fn quote(text: &str) -> String {
    const MOST: usize = 300;
    let shown: String = plain(text).chars().take(MOST).collect();
    let dots = if text.chars().nth(MOST).is_some() { "…" } else { "" };
    format!("“{shown}{dots}”")
}
