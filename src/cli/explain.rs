//! `bounced explain`: one verdict, taken apart for a person: which line of the mail, which row, what lost.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use serde_json::json;

use super::{
    Exit, Failure, Globals, block_on,
    input::{self, Input},
    terminal::{Colours, grouped, json_line, printable},
};
use crate::{
    app::{HandedOver, Shown, Vouched, Witnesses},
    clock::now,
    codes::Judgement,
    report::{Candidate, Evidence, Finding, Forwarded, Kind, Recipient, Report, Verdict},
};

/// Show how a verdict came about: the lines of the mail, the rows of the tables, and what lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced explain bounce.eml
  bounced explain - < bounce.eml
  bounced explain Inbox#2                      the second mail of an mbox
  bounced explain --json bounce.eml
  bounced explain --response '550 5.1.1 User unknown'")]
pub struct Explain {
    /// Explain this SMTP reply instead of a mail.
    #[arg(long, value_name = "TEXT", conflicts_with = "path")]
    response: Option<String>,
    /// One JSON object a mail: {"file", "report", "verdicts", "trust": [{"address", "trust", "because"}], "missing"}.
    #[arg(long, conflicts_with = "response")]
    json: bool,
    /// The mail, `MBOX#2` for the second of an mbox, or `-` for standard input.
    #[arg(value_name = "FILE", required_unless_present = "response")]
    path: Option<PathBuf>,
}

impl Explain {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let judge = globals.judge()?;
        let mut out = io::stdout().lock();
        if let Some(text) = &self.response {
            let (recipient, verdict) = judge.read_response(text);
            explain_recipient("(an SMTP reply names no address)", &recipient, &verdict, &mut out)?;
        }
        let Some(path) = self.path else { return Ok(Exit::Yes) };
        let unreadable =
            |e: io::Error| Failure::new(Exit::Input, format_args!("{}: can't read it: {e}", path.display()));
        let config = globals.config()?;
        block_on(async {
            let mut witnesses = Witnesses::open(&config, judge).await;
            for mail in input::mails(&path) {
                let mail = mail.map_err(unreadable)?;
                let (report, verdicts) = witnesses.judge(&mail.bytes);
                let Input { name, bytes, size, rest, .. } = mail;
                let mail = HandedOver { bytes, size, rest, received: now(), delivered_to: Vec::new() };
                let vouched = witnesses.vouch(mail, &report, &verdicts).await;
                if self.json {
                    let (trust, missing) = (vouched, &witnesses.missing);
                    let line = json!({
                        "file": name, "report": report, "verdicts": verdicts, "trust": trust, "missing": missing
                    });
                    json_line(&mut out, &line)?;
                } else {
                    explain(&name, &report, &verdicts, &vouched, &mut out)?;
                    if !witnesses.missing.is_empty() && !vouched.is_empty() {
                        writeln!(
                            out,
                            "\n  who is believed is not known in full: {}",
                            printable(&witnesses.missing.join("; "))
                        )?;
                    }
                }
            }
            Ok(Exit::Yes)
        })
    }
}

fn explain(
    name: &str,
    report: &Report,
    verdicts: &[Verdict],
    vouched: &[Vouched],
    out: &mut impl Write,
) -> io::Result<()> {
    let because = &report.kind_because;
    writeln!(out, "{}", printable(name))?;
    let because = &because.evidence;
    writeln!(out, "  kind      {} — {}: {}", report.kind, place(because), quote(&because.words))?;
    if let Some(rule) = &report.kind_rule {
        writeln!(out, "  sign      {rule}")?;
    }
    writeln!(out, "  format    {}", report.format)?;
    let original = &report.original;
    let about =
        [("reporter", &report.reporting_mta), ("original", &original.message_id), ("campaign", &original.campaign)];
    for (label, value) in about {
        if let Some(value) = value {
            writeln!(out, "  {label:<9} {}", printable(value))?;
        }
    }
    if let Some(Finding { value, evidence }) = &report.author {
        writeln!(out, "  author    {} — {}: {}", printable(value.given()), place(evidence), quote(&evidence.words))?;
    }
    for to in &report.provenance.delivered_to {
        writeln!(out, "  came to   {} — {}", printable(&to.value), place(&to.evidence))?;
    }
    if let Some(made_here) = &report.provenance.made_here {
        writeln!(out, "  made here — {}: {}", place(made_here), quote(&made_here.words))?;
    }
    for Vouched { address, trust, because } in vouched {
        writeln!(out, "  trust     {trust} for {}: {}", printable(address), printable(because))?;
    }
    let Shown { recipients, reached } = Shown::new(report, verdicts);
    for complainer in &report.complainers {
        let Finding { value, evidence } = complainer;
        let (address, words) = (printable(value.given()), quote(&evidence.words));
        writeln!(out, "  complaint by {address} — {}: {words}", place(evidence))?;
    }
    if report.kind == Kind::Complaint && report.complainers.is_empty() {
        writeln!(out, "  complaint by nobody whom the mail names: hidden by whoever reports, or not told at all")?;
    }
    for (recipient, _) in reached {
        writeln!(out, "  reached   {} ({})", printable(given(recipient)), recipient.action)?;
    }
    for (recipient, verdict) in recipients {
        explain_recipient(given(recipient), recipient, verdict, out)?;
    }
    if report.left_out > 0 {
        let complaint = report.kind == Kind::Complaint;
        let (who, done) = if complaint { ("complainers", "recorded") } else { ("recipients", "judged") };
        writeln!(out, "\n  and {} more {who}, which are counted and not {done}", grouped(report.left_out as u64))?;
    }
    Ok(())
}

fn explain_recipient(address: &str, recipient: &Recipient, verdict: &Verdict, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n  {}", printable(address))?;
    if recipient.address.is_none() && recipient.address_given().is_some() {
        writeln!(out, "    address   not one that can be mailed as it stands, so it never comes onto the list")?;
    }
    if recipient.is_ours {
        writeln!(out, "    ours      the returned message came from it, so it never comes onto the list")?;
    }
    let class = Colours::of(&io::stdout()).class(verdict.class.as_str(), 0);
    writeln!(out, "    verdict   {class} · {} (fault: {})", verdict.reason, verdict.fault)?;
    let because = recipient.action_because.as_ref().map(|e| format!(" — {}", place(e))).unwrap_or_default();
    writeln!(out, "    action    {}{because}", recipient.action)?;
    for (label, value) in [("original", &recipient.original_recipient), ("final", &recipient.final_recipient)] {
        if let Some(value) = value {
            writeln!(out, "    {label:<9} {}", printable(value))?;
        }
    }
    for reply in &recipient.replies {
        writeln!(out, "    reply     {} — {}", reply.value, place(&reply.evidence))?;
    }
    for status in &recipient.statuses {
        writeln!(out, "    status    {} — {}", status.value, place(&status.evidence))?;
    }
    if let Some(diagnostic) = &recipient.diagnostic {
        writeln!(out, "    words     {}", quote(diagnostic.as_str()))?;
    }
    if verdict.conflict {
        writeln!(out, "    conflict  reply and status contradict each other: hard only if the words leave no doubt")?;
    }
    match &verdict.winner {
        Some(winner) => explain_candidate("decided by", winner, out)?,
        None => writeln!(out, "    rule      {}: no row of the tables speaks of this", verdict.rule)?,
    }
    if let Some(lowered) = &verdict.lowered {
        let by = lowered.evidence.as_ref().map(|e| format!(" — {}", place(e))).unwrap_or_default();
        let (class, digit) = (verdict.class, lowered.digit);
        writeln!(out, "    lowered    to {class}: a code that begins with {digit} allows no worse{by}")?;
    }
    if let Some(Forwarded { to, judgement: Judgement { class, reason, fault } }) = &verdict.forwarded {
        writeln!(out, "    forwarded  to {}, and that one is {class} · {reason} (fault: {fault})", printable(to))?;
    }
    for candidate in &verdict.outranked {
        explain_candidate("lost      ", candidate, out)?;
    }
    writeln!(out, "    advice    {}", verdict.advice)
}

fn given(recipient: &Recipient) -> &str {
    recipient.address_given().unwrap_or("(the mail names no address)")
}

fn explain_candidate(mark: &str, candidate: &Candidate, out: &mut impl Write) -> io::Result<()> {
    let Candidate { rule, judgement, evidence } = candidate;
    let (class, reason, fault) = (judgement.class, judgement.reason, judgement.fault);
    let words = quote(&evidence.words);
    writeln!(out, "    {mark} {rule} → {class} · {reason} (fault: {fault}), from {}: {words}", place(evidence))
}

/// `Diagnostic-Code, line 42`.
fn place(evidence: &Evidence) -> String {
    let line = evidence.line.map(|line| format!(", line {line}")).unwrap_or_default();
    printable(&format!("{}{line}", evidence.location))
}

fn quote(text: &str) -> String {
    const MOST: usize = 300;
    let shown: String = printable(text).chars().take(MOST).collect();
    let dots = if text.chars().nth(MOST).is_some() { "…" } else { "" };
    format!("“{shown}{dots}”")
}
