//! UIDs of committed messages -> what the configuration wants of them. Each step can be repeated: after a crash the
//! same messages are settled again, and some are gone already.

use tracing::{info, warn};

use super::{
    connection::Connection,
    response::{Condition, Status},
    search::uid_search,
    settings::ImapSettings,
    words,
};
use crate::source::{After, SourceError};

/// The commands that settle messages on this server.
pub(super) enum SettleCommands {
    Move {
        folder: String,
        by: Mover,
    },
    /// The flags, in parentheses.
    Flag(String),
    Leave,
}

/// What the server can do about moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mover {
    /// RFC 6851.
    Move,
    /// COPY, `\Deleted`, UID EXPUNGE (RFC 4315).
    CopyExpunge,
    /// COPY and `\Deleted`. A plain EXPUNGE would remove what others have marked as deleted, too.
    CopyDelete,
}

impl SettleCommands {
    /// Finds out what the server and the folder permit, and creates the folder to move to.
    pub(super) async fn prepare(
        connection: &mut Connection,
        mailbox: &str,
        settings: &ImapSettings,
        read_only: bool,
        permanent_flags: Option<&str>,
    ) -> Result<Self, SourceError> {
        if read_only && settings.after != After::Leave {
            return Err(connection.refused("the folder is read-only; get write access, or set after = \"leave\""));
        }
        match &settings.after {
            After::Leave => Ok(Self::Leave),
            After::Flag => {
                // RFC 9051 §7.1: without PERMANENTFLAGS every flag can be set; `\*` permits new keywords.
                let keyword = permanent_flags
                    .is_none_or(|flags| flags.contains(r"\*") || flags.to_ascii_lowercase().contains("$bounced"));
                Ok(Self::Flag(if keyword { r"(\Seen $Bounced)" } else { r"(\Seen)" }.into()))
            }
            After::Move(target) if target.eq_ignore_ascii_case(&settings.folder) => {
                Err(connection.refused("after moves messages into the folder that is read; name another"))
            }
            After::Move(target) => {
                let by = match (connection.can("MOVE"), connection.can("UIDPLUS")) {
                    (true, _) => Mover::Move,
                    (false, true) => Mover::CopyExpunge,
                    (false, false) => Mover::CopyDelete,
                };
                if by == Mover::CopyDelete {
                    warn!(
                        mailbox,
                        "the server has neither MOVE nor UIDPLUS: processed messages are copied to {target} and stay \
                         behind marked as deleted, until a mail program expunges the folder"
                    );
                }
                let folder = words::folder(target);
                ensure_folder(connection, &folder, target).await?;
                Ok(Self::Move { folder, by })
            }
        }
    }

    /// Settles these messages, given in ascending order. Those that are gone are no error.
    pub(super) async fn carry_out(&self, connection: &mut Connection, uids: &[u32]) -> Result<(), SourceError> {
        for set in words::uid_sets(uids) {
            match self {
                Self::Leave => {}
                Self::Flag(flags) => {
                    step(connection, &format!("UID STORE {set} +FLAGS.SILENT {flags}"), "flag").await?
                }
                Self::Move { folder, by: Mover::Move } => {
                    transfer(connection, &format!("UID MOVE {set} {folder}"), folder).await?;
                }
                Self::Move { folder, by } => {
                    // What is marked as deleted was copied before the last crash.
                    let uncopied = uid_search(connection, &format!("UNDELETED UID {set}")).await?;
                    for set in words::uid_sets(&uncopied) {
                        transfer(connection, &format!("UID COPY {set} {folder}"), folder).await?;
                        step(connection, &format!(r"UID STORE {set} +FLAGS.SILENT (\Deleted)"), "mark").await?;
                    }
                    if *by == Mover::CopyExpunge {
                        step(connection, &format!("UID EXPUNGE {set}"), "expunge").await?;
                    }
                }
            }
        }
        Ok(())
    }
}

async fn ensure_folder(connection: &mut Connection, folder: &str, target: &str) -> Result<(), SourceError> {
    if connection.command(&format!("STATUS {folder} (UIDVALIDITY)")).await?.status == Status::Ok {
        return Ok(());
    }
    let created = connection.command(&format!("CREATE {folder}")).await?;
    if created.status != Status::Ok && created.keyword() != "ALREADYEXISTS" {
        let advice = "create it, or correct after (some servers want INBOX. before the name)";
        return Err(connection.failure(&created, &format!("the folder {target} can't be created"), advice));
    }
    info!(folder = target, "created the folder for processed messages");
    // A folder without subscription works; it is only hidden from some mail programs.
    connection.command(&format!("SUBSCRIBE {folder}")).await.map(drop)
}

/// MOVE or COPY; creates the folder again if somebody has deleted it since.
async fn transfer(connection: &mut Connection, command: &str, folder: &str) -> Result<(), SourceError> {
    let end = connection.command(command).await?;
    // RFC 9051 §6.4.7
    if end.keyword() != "TRYCREATE" {
        return judge(connection, &end, "move");
    }
    ensure_folder(connection, folder, folder).await?;
    step(connection, command, "move").await
}

async fn step(connection: &mut Connection, command: &str, what: &str) -> Result<(), SourceError> {
    let end = connection.command(command).await?;
    judge(connection, &end, what)
}

/// The rows are committed and a repetition is harmless: only what the server calls forbidden is final.
fn judge(connection: &Connection, end: &Condition, what: &str) -> Result<(), SourceError> {
    let what = format!("can't {what} processed messages");
    match (end.status, end.keyword()) {
        (Status::Ok, _) => Ok(()),
        (_, "NOPERM" | "CANNOT" | "READ-ONLY") => {
            Err(connection.failure(end, &what, "get the right to do it, or change after"))
        }
        _ => Err(connection.lost(format!("{what}: {}", end.text))),
    }
}
