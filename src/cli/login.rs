//! `bounced login`: a person consents, in a browser or on another device; the refresh token is kept.

use std::{
    io::{self, BufRead, Write},
    num::NonZeroU16,
    time::Duration,
};

use tokio::time::timeout;

use super::{Exit, Failure, Globals, block_on, retry::unknown_mailbox, terminal::printable};
use crate::{
    app::{self, Halt},
    clock::Moment,
    config::Config,
    source::{
        SourceError,
        login::{Consent, Loopback},
    },
};

/// Let a person consent that bounced reads a mailbox, and keep the refresh token.
///
/// For mailboxes whose section has token = { client_id = "…", refresh_token = "FILE" } (docs/oauth2.md). Run it as the user
/// that the daemon runs as, so that the daemon can read and renew the file. A running daemon takes the new token with its
/// next attempt.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo -u bounced bounced login bounces             a browser on this machine
  sudo -u bounced bounced login bounces --device    any other device
  sudo -u bounced bounced login bounces --paste     no browser here, no codes")]
pub struct Login {
    /// The mailbox, by its name in the configuration.
    mailbox: String,
    #[command(flatten)]
    how: How,
    /// The port at which the browser is awaited; without it any that is free.
    #[arg(long, value_name = "PORT", conflicts_with = "device")]
    port: Option<NonZeroU16>,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct How {
    /// A browser on this machine, or one whose port leads here (ssh -L). This is the default.
    #[arg(long)]
    browser: bool,
    /// A code that is typed on another device; some administrators block it.
    #[arg(long)]
    device: bool,
    /// A browser anywhere: the address that it ends at is pasted here.
    #[arg(long)]
    paste: bool,
}

/// How long a person may take in the browser.
const PATIENCE: Duration = Duration::from_secs(900);

/// Where the browser is sent back to when nobody listens: it shows an error, and the address is what counts.
const PASTED_PORT: u16 = 8765;

impl Login {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        block_on(async {
            tokio::select! {
                done = self.log_in(&config) => done,
                _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Later, "stopped by Ctrl-C")),
            }
        })
    }

    async fn log_in(&self, config: &Config) -> Result<Exit, Failure> {
        let mailboxes = config.mailboxes();
        let mailbox = mailboxes.iter().find(|mailbox| mailbox.name == self.mailbox);
        let mailbox = mailbox.ok_or_else(|| unknown_mailbox(config, &self.mailbox))?;
        let consent = app::consent(mailbox).map_err(|why| Failure::new(Exit::Config, why))?;
        // Not after a person has done their part.
        consent.prepare().await.map_err(|error| Failure::from(Halt::from(error)))?;
        let port = self.port.map(NonZeroU16::get);
        let granted = if self.how.device {
            with_device(consent).await
        } else if self.how.paste {
            with_paste(consent, port.unwrap_or(PASTED_PORT)).await
        } else {
            with_browser(consent, port).await
        };
        granted.map_err(|error| Failure::from(Halt::from(error)))?;
        say("consent was given; trying the mailbox")?;
        app::try_mailbox(config, &self.mailbox, Moment::now()).await?;
        say(&format!("ok: {} opens", self.mailbox))?;
        Ok(Exit::Yes)
    }
}

fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(Failure::from)
}

/// What can't be said to a person can't be done by one.
fn tell(lines: &str) -> Result<(), SourceError> {
    let mut out = io::stdout();
    writeln!(out, "{lines}").and_then(|()| out.flush()).map_err(|error| SourceError::Lost(error.to_string()))
}

async fn with_browser(consent: Consent, port: Option<u16>) -> Result<(), SourceError> {
    let cannot = |error: io::Error| {
        let at = port.map_or_else(String::new, |port| format!(" at port {port}"));
        SourceError::Refused(format!("can't listen{at} on this machine: {error}; name another --port, or use --paste"))
    };
    let loopback = Loopback::bind(port).await.map_err(cannot)?;
    let redirect = consent.redirect(loopback.port());
    let asked = consent.ask(redirect)?;
    let port = loopback.port();
    tell(&format!(
        "Open this in a browser on this machine, and consent:\n\n  {}\n\nA browser elsewhere gets here by `ssh -L \
         {port}:127.0.0.1:{port}`; without, use --paste. Waiting …",
        asked.url
    ))?;
    timeout(PATIENCE, loopback.redeem(&asked))
        .await
        .unwrap_or_else(|_| Err(SourceError::Refused(format!("nobody consented within {PATIENCE:?}; try again"))))
}

async fn with_device(consent: Consent) -> Result<(), SourceError> {
    let asked = consent.ask_device().await?;
    tell(&format!(
        "Open {} on any device, and type this code:\n\n  {}\n\nWaiting …",
        printable(&asked.url),
        printable(&asked.code)
    ))?;
    asked.redeem().await
}

async fn with_paste(consent: Consent, port: u16) -> Result<(), SourceError> {
    let redirect = consent.redirect(port);
    let asked = consent.ask(redirect)?;
    tell(&format!(
        "Open this in any browser, and consent:\n\n  {}\n\nThe browser ends at an address of this machine and says that it \
         can't reach it. Copy that address\nfrom the browser, paste it here and press Enter:",
        asked.url
    ))?;
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = line.await.map_err(io::Error::other).and_then(|line| line);
    asked.redeem(&line.map_err(|error| SourceError::Lost(format!("standard input: {error}")))?).await
}
