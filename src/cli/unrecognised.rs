//! `bounced unrecognised`: mails that look like reports and name nobody, for a person to look at.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use super::{
    Exit, Failure, Globals, block_on,
    exit::complain,
    retry::unknown_mailbox,
    terminal::{count, json_line, printable},
};
use crate::{
    app,
    config::Config,
    message::{Message, Place},
    policy::is_archive,
    store::Unrecognised as Kept,
};

/// List mails that look like reports and name nobody; exit code 1 when there are none.
///
/// Of these the database keeps where they were read, and no more. With --export they are looked for in their mailboxes,
/// also in the folder that they were moved to, and copied for your eyes alone; nothing is changed there. What came by
/// LMTP, through a command or from an archive lies in no mailbox: hand it over again. `bounced explain` shows why
/// nobody is found in a mail, and `bounced retry --unrecognised` reads them again by other tables. What was recorded
/// before there was this command is not listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced unrecognised
  bounced unrecognised --json bounces | jq .place
  bounced unrecognised --export copies && bounced classify copies")]
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
            let kept = unrecognised_of(&config, self.mailbox.as_deref()).await?;
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

/// Those of one mailbox, or of all; a name under which nothing was ever read is a mistake.
pub(super) async fn unrecognised_of(config: &Config, mailbox: Option<&str>) -> Result<Vec<Kept>, Failure> {
    let kept = app::unrecognised(config, mailbox).await?;
    match mailbox {
        Some(asked) if kept.is_empty() && !is_known(config, asked) => Err(unknown_mailbox(config, asked)),
        _ => Ok(kept),
    }
}

fn is_known(config: &Config, name: &str) -> bool {
    name == Config::PIPE || is_archive(name) || is_mailbox(config, name)
}

fn is_mailbox(config: &Config, name: &str) -> bool {
    config.mailboxes().iter().any(|mailbox| mailbox.name == name)
}

/// Says of which mails nobody can look for, and why.
pub(super) fn tell_out_of_reach(config: &Config, kept: &[Kept]) {
    let nowhere = kept.iter().filter(|one| one.lies_nowhere()).count();
    if nowhere > 0 {
        let (mails, lie, them) = (
            count(nowhere as u64, "mail"),
            if nowhere == 1 { "lies" } else { "lie" },
            if nowhere == 1 { "it" } else { "them" },
        );
        complain(&format!(
            "{mails} came by LMTP, through a command or from an archive and {lie} in no mailbox: hand {them} over again"
        ));
    }
    let mut gone: BTreeMap<&str, u64> = BTreeMap::new();
    for one in kept.iter().filter(|one| !one.lies_nowhere() && !is_mailbox(config, &one.mailbox)) {
        *gone.entry(&one.mailbox).or_default() += 1;
    }
    for (mailbox, mails) in gone {
        complain(&format!(
            "{}: is not configured any more; its {} can't be looked for",
            printable(mailbox),
            count(mails, "mail")
        ));
    }
}

async fn export(config: &Config, kept: &[Kept], directory: &Path) -> Result<Exit, Failure> {
    let cannot = |error: io::Error| {
        Failure::new(
            Exit::Io,
            format_args!("can't write into {}: {error}", printable(&directory.display().to_string())),
        )
    };
    // Bounces tell of strangers.
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(cannot)?;
    let (mut written, mut problem) = (HashSet::new(), None);
    let failed = app::look_for(config, kept, |one, Message { body, .. }| {
        let name = format!("{}.eml", &HEXLOWER.encode(&one.sha256)[..16]);
        match write(&directory.join(name), &body) {
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
    tell_out_of_reach(config, kept);
    let missing = kept.iter().filter(|one| !one.lies_nowhere() && !written.contains(&one.id)).count();
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

/// Writes a copy that its owner alone may read, in the place of an earlier one. Who wrote the mail knows its name, and may
/// have laid a link there.
fn write(path: &Path, body: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(body),
    }
}
