//! `bounced unrecognised`: mails that look like reports and name nobody, for a person to look at.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use super::{
    Exit, Failure, Globals, block_on,
    exit::complain,
    terminal::{count, json_line, printable},
};
use crate::{
    app,
    message::{Message, Place},
    store::Unrecognised as Kept,
};

/// List mails that look like reports and name nobody; exit code 1 when there are none.
///
/// Of these the database keeps where they were read, and no more. With --export they are looked for in their mailboxes, also in the
/// folder that they were moved to, and copied; nothing is changed there. What came by LMTP, through a command or from an
/// archive lies in no mailbox. `bounced explain` shows why nobody is found in a mail, and `bounced retry --unrecognised`
/// reads them again by other tables. What was recorded before there was this command is not listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced unrecognised
  bounced unrecognised --json bounces | jq .place
  bounced unrecognised --export copies && bounced explain copies/*.eml")]
pub struct Unrecognised {
    /// Those of this mailbox; without it all.
    mailbox: Option<String>,
    /// Copy the mails themselves into this directory, which is made when missing.
    #[arg(long, value_name = "DIRECTORY")]
    export: Option<PathBuf>,
    /// One JSON object a line: {"mailbox", "place", "received", "kind", "format", "message_id", "size"}.
    #[arg(long)]
    json: bool,
}

impl Unrecognised {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let config = globals.config()?;
        block_on(async {
            let kept = app::unrecognised(&config, self.mailbox.as_deref()).await?;
            let mut out = io::stdout().lock();
            for one in &kept {
                if self.json {
                    json_line(&mut out, one)?;
                    continue;
                }
                let Kept { mailbox, place, received, kind, format, .. } = one;
                let received = Timestamp::from_second(*received).unwrap_or_default();
                let place = config.describe_place(mailbox, &Place::new(place.as_str()));
                let (mailbox, place) = (printable(mailbox), printable(&place));
                writeln!(out, "{received}  {kind:<9} {format:<12} {mailbox} {place}")?;
            }
            if kept.is_empty() {
                return Ok(Exit::No);
            }
            match &self.export {
                Some(directory) => export(&config, &kept, directory).await,
                None => Ok(Exit::Yes),
            }
        })
    }
}

async fn export(config: &crate::config::Config, kept: &[Kept], directory: &Path) -> Result<Exit, Failure> {
    let cannot = |error: io::Error| {
        Failure::new(
            Exit::Io,
            format_args!("can't write into {}: {error}", printable(&directory.display().to_string())),
        )
    };
    fs::create_dir_all(directory).map_err(cannot)?;
    let (mut written, mut problem) = (HashSet::new(), None);
    let failed = app::look_for(config, kept, |one, Message { body, .. }| {
        let name = format!("{}.eml", &HEXLOWER.encode(&one.sha256)[..16]);
        match File::create(directory.join(name)).and_then(|mut file| file.write_all(&body)) {
            Ok(()) => drop(written.insert(one.id)),
            Err(error) => problem = Some(error),
        }
    })
    .await;
    if let Some(error) = problem {
        return Err(cannot(error));
    }
    for (mailbox, error) in &failed {
        complain(&format!("{}: {error}", printable(mailbox)));
    }
    let missing = kept.iter().filter(|one| !written.contains(&one.id)).count();
    if missing > 0 {
        complain(&format!("{} not found in any mailbox that could be looked through", count(missing as u64, "mail")));
    }
    complain(&format!(
        "{} copied to {}",
        count(written.len() as u64, "mail"),
        printable(&directory.display().to_string())
    ));
    Ok(if !failed.is_empty() {
        Exit::Unavailable
    } else if missing > 0 {
        Exit::Input
    } else {
        Exit::Yes
    })
}
