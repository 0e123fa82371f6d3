//! `bounced classify`: mails or SMTP replies in, verdicts out, for people and for scripts.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    iter,
    mem::ManuallyDrop,
    ops::ControlFlow,
    path::PathBuf,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    Exit, Failure, Globals,
    columns::padded,
    exit::complain,
    input::{self, Input},
    terminal::{Colours, count, json_line, printable},
};
use crate::{
    app::{Judge, Load, Shown, in_order},
    codes::{Class, EnhancedStatusCode, Fault, Judgement, Reason, ReplyCode},
    report::{Action, Address, Evidence, Excerpt, Finding, Kind, Recipient, Report, Verdict},
};

/// Judge bounce messages without a mailbox or a database.
///
/// Each mail gives one line for each recipient, or with --json one JSON line for each mail: {"file", "kind",
/// "recipients": [{"address", "action", "status", "reply", "class", "reason", "fault", "rule", "diagnostic"}]}, and
/// "delivered": [address, …] where there are such. A recipient whose mail was forwarded to another mailbox has
/// "forwarded": {"to", "class", "reason", "fault"}, the verdict on that one. Who complained, as far as a complaint
/// tells, stands in "complainers": [{"address", "field", "line", "words"}] with the place that says so.
///
/// Whom the mail reached, although the report tells of a failure of others, is told apart: a line that begins with
/// `delivered`, `relayed` or `expanded`, and in JSON only an address in "delivered".
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced classify bounce.eml
  bounced classify --json /var/mail/bounces/ | jq .
  bounced classify --response '550 5.1.1 User unknown'
  grep -o 'said: .*' /var/log/mail.log | bounced classify --response -")]
pub struct Classify {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Judge this SMTP reply instead of mails; `-` reads one reply a line from standard input. Output is JSON lines.
    #[arg(long, value_name = "TEXT", conflicts_with = "paths")]
    response: Option<String>,
    /// Mail files, mbox files, directories (searched through all levels), or `-` for standard input; what gzip packed
    /// is unpacked.
    #[arg(value_name = "PATH", required_unless_present = "response")]
    paths: Vec<PathBuf>,
}

/// One mail's line.
#[derive(Serialize)]
struct MailLine<'a> {
    file: &'a str,
    kind: Kind,
    recipients: Vec<RecipientLine<'a>>,
    /// Those of a failure or delay report whom the mail reached all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delivered: Vec<&'a str>,
    /// Who complained, and what says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    complainers: Vec<ComplainerLine<'a>>,
}

#[derive(Serialize)]
struct ComplainerLine<'a> {
    address: &'a str,
    field: String,
    line: Option<u32>,
    words: &'a str,
}

impl<'a> From<&'a Finding<Address>> for ComplainerLine<'a> {
    fn from(Finding { value, evidence }: &'a Finding<Address>) -> Self {
        let Evidence { location, line, words, .. } = evidence;
        Self { address: value.given(), field: location.to_string(), line: *line, words }
    }
}

#[derive(Serialize)]
struct RecipientLine<'a> {
    address: Option<&'a str>,
    action: Action,
    #[serde(flatten)]
    verdict: VerdictFields<'a>,
    diagnostic: Option<&'a str>,
}

#[derive(Serialize)]
struct ResponseLine<'a> {
    response: &'a str,
    #[serde(flatten)]
    verdict: VerdictFields<'a>,
}

/// The fields that mails and replies have in common.
#[derive(Serialize)]
struct VerdictFields<'a> {
    status: Option<EnhancedStatusCode>,
    reply: Option<ReplyCode>,
    class: Class,
    reason: Reason,
    fault: Fault,
    rule: &'a str,
    /// The other mailbox that the report speaks of, and the verdict on that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded: Option<ForwardedFields<'a>>,
}

#[derive(Serialize)]
struct ForwardedFields<'a> {
    to: &'a str,
    #[serde(flatten)]
    judgement: Judgement,
}

impl<'a> From<&'a Verdict> for VerdictFields<'a> {
    fn from(verdict: &'a Verdict) -> Self {
        let Verdict { status, reply, class, reason, fault, rule, forwarded, .. } = verdict;
        let forwarded = forwarded.as_ref().map(|f| ForwardedFields { to: &f.to, judgement: f.judgement });
        Self { status: *status, reply: *reply, class: *class, reason: *reason, fault: *fault, rule, forwarded }
    }
}

impl Classify {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        // The process ends with the tables, and to take them apart would be a tenth of what its start takes.
        let judge = ManuallyDrop::new(globals.judge()?);
        let mut out = io::BufWriter::new(io::stdout().lock());
        let exit = match &self.response {
            Some(text) if text == "-" => judge_lines(&judge, io::stdin().lock(), &mut out)?,
            Some(text) => write_response(&judge, text, &mut out).map(|()| Exit::Yes)?,
            None => self.judge_files(&judge, &mut out)?,
        };
        out.flush()?;
        Ok(exit)
    }

    fn judge_files(&self, judge: &Judge, out: &mut impl Write) -> Result<Exit, Failure> {
        let input::Found { files, skipped, empty } = input::files(&self.paths);
        let progress = progress(files.len());
        let mut exit = Exit::Yes;
        let mut sum = Sum::default();
        let mut written = Ok(());
        let steps = files.into_iter().flat_map(steps);
        in_order(
            steps,
            LOAD,
            |step| self.judge_step(judge, step),
            |told| {
                match told {
                    // What was judged beside the last that could be written.
                    Told::Answer(..) if written.is_err() => {}
                    Told::Answer(text, of_one) => {
                        sum.add(&of_one);
                        written = out.write_all(&text);
                    }
                    Told::Unreadable(path, error) => {
                        // The rest goes on; the exit code tells at the end.
                        progress.suspend(|| complain(&format!("{}: can't read it: {error}", path.display())));
                        exit = Exit::Input;
                    }
                    Told::EndOfFile => progress.inc(1),
                }
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        written?;
        progress.finish_and_clear();
        // What was said before the answers end would stand among them on a terminal.
        out.flush()?;
        for directory in empty {
            complain(&format!("{}: no mail in it", printable(&directory.display().to_string())));
        }
        for (path, why) in &skipped {
            complain(&format!("{}: skipped, {why}", printable(&path.display().to_string())));
        }
        if self.paths.iter().any(|path| path.is_dir()) {
            complain(&sum.told());
        }
        Ok(exit)
    }

    fn judge_step(&self, judge: &Judge, step: Step) -> Told {
        match step {
            Step::Mail(mail) => {
                let (report, verdicts) = judge.judge(&mail.bytes);
                let shown = Shown::new(&report, &verdicts);
                let sum = Sum::of(&shown);
                let mut text = Vec::new();
                self.write_mail(&mail.name, &report, shown, &mut text).expect("memory takes what is written");
                Told::Answer(text, sum)
            }
            Step::Unreadable(path, error) => Told::Unreadable(path, error),
            Step::EndOfFile => Told::EndOfFile,
        }
    }

    fn write_mail(&self, file: &str, report: &Report, shown: Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        let Shown { recipients, reached } = shown;
        if self.json {
            let recipients = recipients.iter().map(|(recipient, verdict)| recipient_line(recipient, verdict)).collect();
            let delivered = reached.iter().filter_map(|(recipient, _)| given(recipient)).collect();
            let complainers = report.complainers.iter().map(ComplainerLine::from).collect();
            return json_line(out, &MailLine { file, kind: report.kind, recipients, delivered, complainers });
        }
        for Finding { value, evidence } in &report.complainers {
            let (kind, address, file) = (report.kind, padded(&printable(value.given()), ADDRESS), printable(file));
            let no_verdict = format_args!("{:<7} {:<15} {:<3} {:<7}", "-", "-", "-", "-");
            writeln!(out, "{kind:<10} {no_verdict} {address} {file}  [{}]", printable(&evidence.location.to_string()))?;
        }
        if report.recipients.is_empty() && report.complainers.is_empty() {
            return writeln!(out, "{:<10} {}", report.kind, printable(file));
        }
        for (recipient, verdict) in recipients {
            write_recipient(report.kind.as_str(), recipient, verdict, file, out)?;
        }
        for (recipient, verdict) in reached {
            write_recipient(recipient.action.as_str(), recipient, verdict, file, out)?;
        }
        Ok(())
    }
}

/// What is found in the files, one after the other.
enum Step {
    Mail(Input),
    Unreadable(PathBuf, io::Error),
    EndOfFile,
}

/// What is said of it.
enum Told {
    Answer(Vec<u8>, Sum),
    Unreadable(PathBuf, io::Error),
    EndOfFile,
}

/// So many octets of mails are judged at once, and their answers wait for those before them; each counts for something,
/// however short it is.
const LOAD: Load<Step> = Load {
    most: 4 << 20,
    of: |step| match step {
        Step::Mail(mail) => 4096 + mail.bytes.len(),
        Step::Unreadable(..) | Step::EndOfFile => 4096,
    },
};

fn steps(path: PathBuf) -> impl Iterator<Item = Step> {
    let mails = input::mails(&path).map(move |mail| match mail {
        Ok(mail) => Step::Mail(mail),
        Err(error) => Step::Unreadable(path.clone(), error),
    });
    mails.chain(iter::once(Step::EndOfFile))
}

/// What became of mails together.
#[derive(Default)]
struct Sum {
    mails: u64,
    without_recipients: u64,
    hard: u64,
    soft: u64,
}

impl Sum {
    /// Of one mail.
    fn of(shown: &Shown<'_>) -> Self {
        let count = |class| shown.recipients.iter().filter(|(_, verdict)| verdict.class == class).count() as u64;
        let without_recipients = u64::from(shown.recipients.is_empty());
        Self { mails: 1, without_recipients, hard: count(Class::Hard), soft: count(Class::Soft) }
    }

    fn add(&mut self, other: &Self) {
        self.mails += other.mails;
        self.without_recipients += other.without_recipients;
        self.hard += other.hard;
        self.soft += other.soft;
    }

    fn told(&self) -> String {
        let recipients = |number: u64, class: Class| count(number, &format!("{class} recipient"));
        let (hard, soft) = (recipients(self.hard, Class::Hard), recipients(self.soft, Class::Soft));
        let (mails, others) = (count(self.mails, "mail"), count(self.without_recipients, "mail"));
        format!("{mails}: {hard}, {soft}, {others} that report on nobody")
    }
}

/// Beside all that is said of one it has fewer columns than in a list.
const ADDRESS: usize = 32;

/// One line; the first word is the kind of the report, or what became of the mail where it reached the recipient.
fn write_recipient(
    word: &str,
    recipient: &Recipient,
    verdict: &Verdict,
    file: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let or_dash = |code: Option<String>| code.unwrap_or_else(|| "-".to_owned());
    writeln!(
        out,
        "{word:<10} {} {:<15} {:<3} {:<7} {} {}  [{}]",
        Colours::of(&io::stdout()).class(verdict.class.as_str(), 7),
        verdict.reason,
        or_dash(verdict.reply.map(|c| c.to_string())),
        or_dash(verdict.status.map(|c| c.to_string())),
        padded(&printable(given(recipient).unwrap_or("(no address)")), ADDRESS),
        printable(file),
        verdict.rule,
    )
}

fn given(recipient: &Recipient) -> Option<&str> {
    recipient.address_given()
}

fn recipient_line<'a>(recipient: &'a Recipient, verdict: &'a Verdict) -> RecipientLine<'a> {
    RecipientLine {
        address: given(recipient),
        action: recipient.action,
        verdict: verdict.into(),
        diagnostic: recipient.diagnostic.as_ref().map(Excerpt::as_str),
    }
}

fn judge_lines(judge: &Judge, input: impl BufRead, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut exit = Exit::Yes;
    for (n, line) in input::lines(input).enumerate() {
        // The rest goes on; the exit code tells at the end.
        let mut tell = |problem: &str| {
            complain(&format!("standard input, line {}: {problem}", n + 1));
            exit = Exit::Input;
        };
        match line {
            Ok(line) => {
                if line.is_cut {
                    tell("too long for a reply; only its first 64 KiB are judged");
                }
                write_response(judge, &String::from_utf8_lossy(&line.bytes), out)?;
            }
            Err(error) => tell(&format!("can't read it: {error}")),
        }
    }
    Ok(exit)
}

fn write_response(judge: &Judge, text: &str, out: &mut impl Write) -> io::Result<()> {
    let verdict = judge.judge_response(text);
    let line = ResponseLine { response: text, verdict: (&verdict).into() };
    json_line(out, &line)
}

/// A bar on standard error, when a person waits there and the answers go elsewhere.
fn progress(files: usize) -> ProgressBar {
    if files < 100 || !io::stderr().is_terminal() || io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} mails, {per_sec}, {eta} left")
        .expect("the template is a constant");
    ProgressBar::new(files as u64).with_style(style)
}
