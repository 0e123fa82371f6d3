//! `bounced verp`: signed envelope senders, for mailers that ask a command, and for people who wonder.

use std::{
    io::{self, Write},
    path::Path,
};

use clap::{Args, Subcommand};
use jiff::{ToSpan, civil::Date};

use super::{
    Exit, Failure, Globals,
    addresses::address,
    exit::complain,
    input,
    terminal::{count, printable},
};
use crate::{
    app::{self, Signer},
    clock::now,
    report::Address,
    verp::VerpError,
};

/// Sign envelope senders, so that nobody but whoever got a message can send a bounce that counts (docs/verp.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced verp keygen
  bounced verp sign --id c42 ann@example.org
  bounced verp verify \"$(bounced verp sign ann@example.org)\" ann@example.org")]
pub struct Verp {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(Keygen),
    Sign(Sign),
    Verify(Verify),
}

/// Add a new key to the file that the configuration names; it signs from now on, and those before it still verify.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo -u bounced bounced verp keygen
  bounced verp keygen --id 2027a")]
struct Keygen {
    /// What to call it: up to 8 of a-z and 0-9 [default: k1, k2, …].
    #[arg(long, value_name = "KID")]
    id: Option<String>,
}

/// Print an envelope sender for each recipient, one a line.
///
/// With `-` it answers each line of standard input at once, so that a mailer can keep it running. A line that can't be
/// signed gets an empty line; at the end it is told with its number, exit code 65.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced verp sign ann@example.org
  bounced verp sign --id c42 ann@example.org bob@example.org
  bounced verp sign --id c42 - < left.txt")]
struct Sign {
    /// Addresses, or `-` for standard input with one a line.
    #[arg(value_name = "RECIPIENT", required = true)]
    recipients: Vec<String>,
    /// An id of your own, for instance of the campaign: up to 20 of a-z, 0-9, _ and -.
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    #[command(flatten)]
    day: Day,
}

/// Say whether an address that a bounce came to was signed for a recipient, and still counts; exit code 1 when not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced verp verify \"$(bounced verp sign ann@example.org)\" ann@example.org")]
struct Verify {
    /// The address that the bounce came to.
    address: String,
    /// The one of which it says that it failed.
    recipient: String,
    #[command(flatten)]
    day: Day,
}

#[derive(Debug, Args)]
struct Day {
    /// As if it were this day, in days since 1970-01-01 [default: today].
    #[arg(long)]
    day: Option<i64>,
}

impl Day {
    fn number(&self) -> i64 {
        self.day.unwrap_or_else(|| now().div_euclid(24 * 60 * 60))
    }
}

impl Verp {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let mut out = io::stdout().lock();
        match self.command {
            Command::Keygen(keygen) => keygen.execute(globals, &mut out),
            Command::Sign(sign) => sign.execute(&signer(globals)?, &mut out),
            Command::Verify(verify) => verify.execute(&signer(globals)?, &mut out),
        }
    }
}

fn signer(globals: &Globals) -> Result<Signer, Failure> {
    let signer = Signer::configured(&globals.config()?).map_err(|error| Failure::new(Exit::Config, error))?;
    signer.ok_or_else(|| {
        Failure::new(Exit::Config, "the configuration names no keys: write keys and address below [verp]")
    })
}

impl Keygen {
    fn execute(self, globals: &Globals, out: &mut impl Write) -> Result<Exit, Failure> {
        let made = app::add_key(&globals.config()?, self.id.as_deref());
        let made = made.map_err(|error| Failure::new(Exit::Config, error))?;
        writeln!(out, "{} stands in {} and signs from now on", made.name, made.file.display())?;
        if !made.others.is_empty() {
            let others = made.others.join(", ");
            writeln!(out, "{others}: verify what they have signed; take them out when all of that has expired")?;
        }
        Ok(Exit::Yes)
    }
}

impl Sign {
    fn execute(self, signer: &Signer, out: &mut impl Write) -> Result<Exit, Failure> {
        let day = self.day.number();
        let sign = |recipient: &Address| signer.sign(recipient, &self.id, day);
        let mut exit = Exit::Yes;
        for argument in &self.recipients {
            if argument == "-" {
                let wrong = sign_lines(sign, out)?;
                for (number, problem) in &wrong.told {
                    complain(&format!("-, line {number}: {}", printable(problem)));
                }
                if wrong.more > 0 {
                    complain(&format!("-: and {} more", count(wrong.more, "line")));
                }
                exit = if wrong.told.is_empty() { exit } else { Exit::Data };
                continue;
            }
            let sent = sign(&recipient(argument)?).map_err(|error| match error {
                VerpError::NoKey => Failure::new(Exit::Config, error),
                VerpError::Unfit(_) => Failure::new(Exit::Usage, error),
            })?;
            writeln!(out, "{sent}")?;
        }
        Ok(exit)
    }
}

/// Lines that could not be signed.
#[derive(Default)]
struct Wrong {
    /// The number and what is wrong, of the first of them.
    told: Vec<(u64, String)>,
    /// How many there are besides.
    more: u64,
}

/// So many lines are told.
const MOST_TOLD: usize = 20;

/// Answers each line of standard input by one line, an empty one where it can't be signed.
fn sign_lines(sign: impl Fn(&Address) -> Result<String, VerpError>, out: &mut impl Write) -> Result<Wrong, Failure> {
    let unreadable = |error: io::Error| Failure::new(Exit::Input, format_args!("-: can't read it: {error}"));
    let mut wrong = Wrong::default();
    for (number, line) in (1..).zip(input::lines(input::text(Path::new("-")).map_err(unreadable)?)) {
        let line = line.map_err(unreadable)?.bytes;
        let signed = match address(&String::from_utf8_lossy(&line)).map(|recipient| sign(&recipient)) {
            Ok(Err(error @ VerpError::NoKey)) => return Err(Failure::new(Exit::Config, error)),
            Ok(signed) => signed.map_err(|error| error.to_string()),
            Err(problem) => Err(problem.to_string()),
        };
        match signed {
            Ok(sent) => writeln!(out, "{sent}")?,
            Err(problem) => {
                writeln!(out)?;
                match wrong.told.len() {
                    MOST_TOLD => wrong.more += 1,
                    _ => wrong.told.push((number, problem)),
                }
            }
        }
    }
    Ok(wrong)
}

impl Verify {
    fn execute(self, signer: &Signer, out: &mut impl Write) -> Result<Exit, Failure> {
        let recipient = recipient(&self.recipient)?;
        let Some(token) = signer.token(&self.address) else {
            writeln!(out, "no: it is no address with a token, as `bounced verp sign` prints them")?;
            return Ok(Exit::No);
        };
        if let Err(refusal) = signer.verify(&token, &recipient, self.day.number()) {
            writeln!(out, "no: {}", refusal.words())?;
            return Ok(Exit::No);
        }
        let id = token.id().map(|id| format!(", id {id}")).unwrap_or_default();
        let signed = Date::constant(1970, 1, 1).saturating_add(token.day().days());
        writeln!(out, "yes: {} has signed it for {} on {signed}{id}", token.kid(), printable(recipient.normalised()))?;
        Ok(Exit::Yes)
    }
}

/// A recipient that stands among the arguments.
fn recipient(argument: &str) -> Result<Address, Failure> {
    let wrong = |what| Failure::new(Exit::Usage, format_args!("`{}`: {what}", printable(argument)));
    address(argument).map_err(wrong)
}
