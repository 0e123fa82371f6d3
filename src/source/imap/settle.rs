//! UIDs of committed messages -> what the configuration wants of them. Each step can be repeated: after a crash the
//! same messages are settled again, and some are gone already. What the server refuses for one message holds up no
//! other.

use tracing::{info, warn};

use super::{
    connection::Connection,
    patience::{Patience, patience},
    response::{Condition, Response, Status},
    search::uid_search,
    settings::ImapSettings,
    words,
};
use crate::source::{After, Settings, SourceError};

/// So often a refused set is halved to find the messages that the refusal is about. Where everything is refused, as on
/// a full disk, it costs no more commands than these.
const MOST_HALVINGS: usize = 24;

/// The commands that settle messages on this server.
pub(super) enum SettleCommands {
    Move {
        target: Target,
        by: Mover,
    },
    /// The flags, in parentheses.
    Flag(String),
    Leave,
    /// Nothing can be settled for now.
    Unable(Obstacle),
}

/// What became of messages that were to be settled.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Those that could not be, and why.
    pub failed: Vec<(u32, String)>,
    /// How many were not there any more.
    pub vanished: usize,
}

/// Why nothing can be settled.
pub(super) struct Obstacle {
    /// With what to do about it.
    pub why: String,
    /// The server says that it is for now.
    pub passes: bool,
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
    /// Finds out what the server and the folder permit, and creates the folder to move to unless somebody `only_looks`.
    pub(super) async fn prepare(
        connection: &mut Connection,
        mailbox: &str,
        settings: &ImapSettings,
        read_only: bool,
        permanent_flags: Option<&str>,
        only_looks: bool,
    ) -> Result<Self, SourceError> {
        let unable = |why: &str| Ok(Self::Unable(Obstacle { why: why.to_owned(), passes: false }));
        if read_only && settings.after != After::Leave {
            return unable("the folder is read-only; get write access, or set after = \"leave\"");
        }
        if let Some(why) = settings.contradiction() {
            return unable(&why);
        }
        match &settings.after {
            After::Leave => Ok(Self::Leave),
            After::Flag => {
                // RFC 9051 §7.1: without PERMANENTFLAGS every flag can be set; `\*` permits new keywords.
                let keyword = permanent_flags
                    .is_none_or(|flags| flags.contains(r"\*") || flags.to_ascii_lowercase().contains("$bounced"));
                Ok(Self::Flag(if keyword { r"(\Seen $Bounced)" } else { r"(\Seen)" }.into()))
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
                let target = Target::new(mailbox, target);
                let ready = if only_looks { Ok(()) } else { ensure_folder(connection, &target).await? };
                Ok(match ready {
                    Ok(()) => Self::Move { target, by },
                    Err(obstacle) => Self::Unable(obstacle),
                })
            }
        }
    }

    /// Settles these messages, given in ascending order. Those that are gone are no error.
    pub(super) async fn carry_out(&self, connection: &mut Connection, uids: &[u32]) -> Result<Settled, SourceError> {
        let (mut failed, mut vanished, mut halvings) = (Vec::new(), 0, 0);
        let mut groups = vec![uids];
        while let Some(group) = groups.pop() {
            let why = match self.attempt(connection, group).await? {
                Ok(gone) => {
                    vanished += gone;
                    continue;
                }
                Err(why) => why,
            };
            if group.len() > 1 && halvings < MOST_HALVINGS {
                halvings += 1;
                let (first, second) = group.split_at(group.len() / 2);
                groups.extend([second, first]);
            } else {
                failed.extend(group.iter().map(|uid| (*uid, why.clone())));
            }
        }
        // What was refused as a whole may have been moved in part: the parts that are missing then did not vanish.
        Ok(Settled { failed, vanished: if halvings == 0 { vanished } else { 0 } })
    }

    /// How many were not there any more. The inner error is what the server says against it; it may have settled some
    /// of them.
    async fn attempt(&self, connection: &mut Connection, uids: &[u32]) -> Result<Result<usize, String>, SourceError> {
        let mut vanished = 0;
        for set in words::uid_sets(uids) {
            let done = match self {
                Self::Leave => Ok(0),
                Self::Unable(obstacle) => Err(obstacle.why.clone()),
                Self::Flag(flags) => {
                    step(connection, &format!("UID STORE {set} +FLAGS.SILENT {flags}"), "flag").await?.map(|()| 0)
                }
                Self::Move { target, by: Mover::Move } => {
                    let moved = transfer(connection, &format!("UID MOVE {set}"), target).await?;
                    moved.map(|moved| moved.map_or(0, |moved| words::count(&set).saturating_sub(moved)))
                }
                Self::Move { target, by } => copy_and_remove(connection, &set, target, *by).await?,
            };
            match done {
                Ok(gone) => vanished += gone,
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(vanished))
    }
}

/// The folder to move to.
pub(super) struct Target {
    /// As the server wants it.
    pub(super) folder: String,
    /// As the configuration has it, for people.
    name: String,
    /// Whose messages they are, for the log.
    mailbox: String,
}

impl Target {
    fn new(mailbox: &str, name: &str) -> Self {
        Self { folder: words::folder(name), name: name.to_owned(), mailbox: mailbox.to_owned() }
    }
}

async fn copy_and_remove(
    connection: &mut Connection,
    set: &str,
    target: &Target,
    by: Mover,
) -> Result<Result<usize, String>, SourceError> {
    // What is marked as deleted was copied before the last crash.
    let uncopied = uid_search(connection, &format!("UNDELETED UID {set}")).await?;
    for set in words::uid_sets(&uncopied) {
        let copied = transfer(connection, &format!("UID COPY {set}"), target).await?;
        if let Err(why) = copied {
            return Ok(Err(why));
        }
        let marked = step(connection, &format!(r"UID STORE {set} +FLAGS.SILENT (\Deleted)"), "mark").await?;
        if let Err(why) = marked {
            return Ok(Err(why));
        }
    }
    let vanished = words::count(set).saturating_sub(uncopied.len());
    Ok(match by {
        Mover::CopyExpunge => step(connection, &format!("UID EXPUNGE {set}"), "expunge").await?.map(|()| vanished),
        Mover::Move | Mover::CopyDelete => Ok(vanished),
    })
}

/// Takes messages away that lie in the other folder already.
pub(super) async fn remove(connection: &mut Connection, uids: &[u32]) -> Result<(), SourceError> {
    for set in words::uid_sets(uids) {
        let marked = step(connection, &format!(r"UID STORE {set} +FLAGS.SILENT (\Deleted)"), "mark").await?;
        if marked.is_ok() && connection.can("UIDPLUS") {
            // What is refused now is refused again when the messages are settled next.
            let _ = step(connection, &format!("UID EXPUNGE {set}"), "expunge").await?;
        }
    }
    Ok(())
}

async fn ensure_folder(
    connection: &mut Connection,
    Target { folder, name, mailbox }: &Target,
) -> Result<Result<(), Obstacle>, SourceError> {
    if connection.command(&format!("STATUS {folder} (UIDVALIDITY)")).await?.status == Status::Ok {
        return Ok(Ok(()));
    }
    let created = connection.command(&format!("CREATE {folder}")).await?;
    if created.status != Status::Ok && created.keyword() != "ALREADYEXISTS" {
        let said = created.said();
        let why = format!(
            "the folder {name} can't be created ({said}); create it, or correct after (some servers want INBOX. before \
             the name)"
        );
        return Ok(Err(Obstacle { why, passes: patience(&created) != Patience::Person }));
    }
    info!(mailbox, folder = %name, "created the folder for processed messages");
    // A folder without subscription works; it is only hidden from some mail programs.
    connection.command(&format!("SUBSCRIBE {folder}")).await.map(|_| Ok(()))
}

/// MOVE or COPY; creates the folder again if somebody has deleted it since. Says how many messages the server has
/// moved, if it says so.
async fn transfer(
    connection: &mut Connection,
    command: &str,
    target: &Target,
) -> Result<Result<Option<usize>, String>, SourceError> {
    let command = format!("{command} {}", target.folder);
    let (end, moved) = counted(connection, &command).await?;
    // RFC 9051 §6.4.7
    if end.keyword() != "TRYCREATE" {
        return Ok(judge(&end, "move").map(|()| moved));
    }
    Ok(match ensure_folder(connection, target).await? {
        Ok(()) => {
            let (end, moved) = counted(connection, &command).await?;
            judge(&end, "move").map(|()| moved)
        }
        Err(obstacle) => Err(obstacle.why),
    })
}

/// RFC 6851 §4.3: COPYUID comes before the end of a MOVE, or in it. A server that has given one and now gives none has
/// moved nothing.
async fn counted(connection: &mut Connection, command: &str) -> Result<(Condition, Option<usize>), SourceError> {
    let of =
        |condition: &Condition| condition.argument("COPYUID").and_then(|data| data.split(' ').nth(1)).map(words::count);
    let mut moved = None;
    let commands = [command.to_owned()];
    let ends = connection.run(&commands, |response| {
        if let Response::Condition(condition) = response {
            moved = of(&condition).or(moved);
        }
    });
    let end = ends.await?.remove(0);
    let moved = of(&end).or(moved);
    connection.gives_copyuid |= moved.is_some();
    let none = connection.gives_copyuid.then_some(0);
    Ok((end, moved.or(none)))
}

async fn step(connection: &mut Connection, command: &str, what: &str) -> Result<Result<(), String>, SourceError> {
    Ok(judge(&connection.command(command).await?, what))
}

fn judge(end: &Condition, what: &str) -> Result<(), String> {
    let said = end.said();
    match (end.status, end.keyword()) {
        (Status::Ok, _) => Ok(()),
        (_, "NOPERM" | "CANNOT" | "READ-ONLY") => {
            Err(format!("can't {what} processed messages ({said}); get the right to do it, or change after"))
        }
        (_, "OVERQUOTA") => Err(format!("can't {what} processed messages ({said}); make room, or change after")),
        _ => Err(format!("can't {what} processed messages: {said}")),
    }
}
