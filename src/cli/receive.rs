//! `bounced receive`: one mail from a mail server, which hears by the exit code whether it is on record.

use std::{
    io::{self, Read},
    path::Path,
};

use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{
    Exit, Failure, Globals, block_on,
    exit::complain,
    input::{self, Input},
    judge_with_keys,
    suppressions::NewStore,
};
use crate::{
    app::{HandedOver, Intake},
    clock::now,
    config::Config,
    files::directory_of,
    store::StoreError,
    text::is_unseen,
};

/// Take one mail from standard input, as Postfix, Exim, procmail and Sieve hand it to a command.
///
/// It is judged and recorded, and addresses are suppressed, like a mail of a mailbox. The exit code is 0 when that is on
/// disk: the mail may be thrown away then. 75 says that the mail server should try again later. A mail that is handed over
/// twice counts once. docs/receive.md shows what to write into the configuration of each mail server, so that it keeps the
/// mail whatever fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced receive < bounce.eml
  bounced receive --recipient bounce+k1.1.c42.x@news.example < bounce.eml")]
pub struct Receive {
    /// Whom the mail server delivers the mail to: signed envelope senders are read from it (docs/verp.md).
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    recipient: Vec<String>,
    /// Under which name it is recorded: rules and [trust.mailbox] may speak of it.
    #[arg(long, value_name = "NAME", default_value = Config::PIPE)]
    mailbox: String,
    #[command(flatten)]
    store: NewStore,
}

impl Receive {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let mut config = globals.config()?;
        let Self { recipient, mailbox, store } = self;
        config.suppressions.accept_new_store = store.accept;
        if let Some(problem) = name_problem(&config, &mailbox) {
            return Err(Failure::new(Exit::Misused, problem));
        }
        let judge = judge_with_keys(&config)?;
        let Input { bytes, size, rest, .. } = read(io::stdin())?;
        let now = now();
        let delivered_to = recipient.into_iter().filter(|address| !address.is_empty()).collect();
        let mail = HandedOver { bytes, size, rest, received: now, delivered_to };
        let failed = |error| failure(&config.database.path, error);
        block_on(async {
            let intake = Intake::open(&config, judge, &mailbox, now).await.map_err(failed)?;
            intake.record(vec![mail], now).await.map_err(failed)?;
            // The mail is on record, and the lists can be made again: nothing of this is a reason to keep it.
            if let Err(error) = intake.publish().await {
                complain(&error.to_string());
            }
            intake.close().await;
            Ok(Exit::Yes)
        })
    }
}

/// Why nothing can be recorded under a name.
pub(super) fn name_problem(config: &Config, mailbox: &str) -> Option<String> {
    if mailbox.trim().is_empty() || mailbox.contains(is_unseen) {
        return Some(format!("--mailbox {mailbox:?}: expected a name that can be read"));
    }
    config
        .reads(mailbox)
        .then(|| format!("--mailbox {mailbox}: `bounced run` reads something of that name; give another one"))
}

fn read(source: impl Read + Send) -> Result<Input, Failure> {
    let mail = input::one(io::BufReader::new(source)).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => Failure::new(Exit::Data, error),
        _ => Failure::new(Exit::Later, format_args!("can't read standard input: {error}")),
    })?;
    if mail.size == 0 {
        return Err(Failure::new(Exit::Data, "there is no mail on standard input"));
    }
    Ok(if mail.rest.is_none() { with_line_feeds(mail) } else { mail })
}

/// Dovecot's Sieve ends lines by CR LF and stores them with LF: of a command that was killed behind the commit it keeps
/// the mail, which must be known in the inbox.
fn with_line_feeds(mail: Input) -> Input {
    let lines = || mail.bytes.split_inclusive(|octet| *octet == b'\n');
    if !lines().all(|line| line.ends_with(b"\r\n") || !line.ends_with(b"\n")) {
        return mail;
    }
    let ended: Vec<[&[u8]; 2]> =
        lines().map(|line| line.strip_suffix(b"\r\n").map_or([line, b""], |line| [line, b"\n"])).collect();
    let bytes = ended.concat().concat();
    Input { size: bytes.len() as u64, bytes, ..mail }
}

/// A mail server keeps the mail only where it hears that trying again helps. It does, as soon as a person has mended what
/// no retry mends.
fn failure(database: &Path, error: StoreError) -> Failure {
    let exit = match error {
        StoreError::Foreign(_) => Exit::Config,
        StoreError::Unusable(_) if is_forbidden(database) => Exit::Refused,
        StoreError::Unusable(_)
        | StoreError::Busy(_)
        | StoreError::Replaced(_)
        | StoreError::Overtaken(_)
        | StoreError::Refused(_) => Exit::Later,
    };
    Failure::new(exit, error)
}

/// Whether another user could write the database, or make it. It is not opened: closing it would drop the locks of the store
/// that is open.
fn is_forbidden(database: &Path) -> bool {
    [database, directory_of(database)].iter().any(|path| access(*path, Access::WRITE_OK) == Err(Errno::ACCESS))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use rustix::fs::{FlockOperation, fcntl_lock};

    use super::*;

    #[test]
    fn asking_who_may_write_the_database_drops_no_lock_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bounced.db");
        let database = fs::File::create(&path).unwrap();
        fcntl_lock(&database, FlockOperation::NonBlockingLockExclusive).unwrap();
        let inode = format!(":{} ", database.metadata().unwrap().ino());
        let is_locked = || fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains(&inode));
        assert!(is_locked() && !is_forbidden(&path) && is_locked());
    }
}
