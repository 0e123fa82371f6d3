//! One selected folder: which messages there are, how many to ask for at once, and when to look again.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    connection::{Connection, Idled},
    login::login,
    response::{Condition, Fetched, Response, Status},
    search::uid_search,
    settings::ImapSettings,
    settle::SettleCommands,
    uid::Uid,
    words,
};
use crate::{
    message::{Disposition, Message, Place, Resume},
    source::{SourceError, settings::BATCH_OCTETS},
};

/// Sizes and dates are asked for this many messages at once.
const WINDOW: usize = 1000;

/// RFC 2177: an IDLE is renewed within 29 minutes.
const LONGEST_IDLE: Duration = Duration::from_secs(28 * 60);

/// A folder that is selected, on a connection that is logged in.
pub(super) struct Session {
    connection: Connection,
    mailbox: String,
    settle_commands: SettleCommands,
    uid_validity: u32,
    /// The highest UID that was seen.
    seen: u32,
    /// Seen but not yet measured, ascending.
    found: VecDeque<u32>,
    /// Measured but not yet read, ascending.
    measured: VecDeque<Measured>,
    max_message: u32,
    poll: Duration,
    idle: bool,
}

/// What is known of a message before it is read; what the server did not say is absent.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub uid: u32,
    size: Option<u64>,
    received: Option<i64>,
}

/// A batch, read.
pub(super) struct Read {
    pub messages: Vec<Message>,
    /// The first message that is there and did not come, and what the server said. None behind it is in `messages`:
    /// whoever commits up to the last of them must not step over this one.
    pub stuck: Option<(u32, String)>,
}

impl Session {
    /// Connects, logs in, selects the folder and settles what an earlier run left.
    pub(super) async fn open(mailbox: &str, settings: &ImapSettings, resume: Resume) -> Result<Self, SourceError> {
        let (mut connection, greeting) = Connection::open(settings).await?;
        if greeting == Status::Preauth {
            connection.ask_capabilities().await?;
        } else {
            login(&mut connection, mailbox, settings).await?;
        }
        let mut permanent_flags = None;
        let selected = connection
            .run(&[format!("SELECT {}", words::folder(&settings.folder))], |response| {
                if let Response::Condition(condition) = response {
                    permanent_flags =
                        condition.argument("PERMANENTFLAGS").map(str::to_owned).or(permanent_flags.take());
                }
            })
            .await?
            .remove(0);
        if selected.status != Status::Ok {
            let what = format!("the folder {} can't be opened", settings.folder);
            return Err(connection.failure(&selected, &what, "create it, or correct folder"));
        }
        let Some(uid_validity) = connection.uid_validity else {
            return Err(connection.refused("the server keeps no UIDs for this folder; another program must fetch it"));
        };
        let read_only = selected.keyword() == "READ-ONLY";
        let flags = permanent_flags.as_deref();
        let settle_commands = SettleCommands::prepare(&mut connection, mailbox, settings, read_only, flags).await?;
        let seen = match resume.cursor.and_then(|cursor| Uid::read(cursor.as_str())) {
            Some(Uid { validity, uid }) if validity == uid_validity => uid,
            Some(Uid { validity: known, .. }) => {
                info!(mailbox, known, uid_validity, "UIDVALIDITY changed: the folder is read anew");
                0
            }
            None => 0,
        };
        let idle = settings.idle && connection.can("IDLE");
        info!(mailbox, folder = settings.folder, after_uid = seen, idle, "folder opened");
        let mut session = Self {
            connection,
            mailbox: mailbox.to_owned(),
            settle_commands,
            uid_validity,
            seen,
            found: VecDeque::new(),
            measured: VecDeque::new(),
            max_message: settings.max_message,
            poll: settings.poll,
            idle,
        };
        session.settle(&resume.unsettled).await?;
        Ok(session)
    }

    /// The next messages to read, `most` at most and of bounded size together. They stay next until they were read or
    /// passed over.
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<Measured>, SourceError> {
        if self.measured.is_empty() {
            if self.found.is_empty() {
                self.search().await?;
            }
            self.measure().await?;
        }
        let mut octets = 0;
        let fits = |message: &&Measured| {
            let limit = u64::from(self.max_message);
            octets += message.size.map_or(limit, |size| size.min(limit));
            octets <= BATCH_OCTETS
        };
        let next: Vec<_> = self.measured.iter().take(most).take_while(fits).cloned().collect();
        // One message alone may be larger than a batch if the configuration says so.
        Ok(if next.is_empty() { self.measured.iter().take(1).cloned().collect() } else { next })
    }

    /// Reads these messages, which are at the head of the queue.
    pub(super) async fn read(&mut self, next: &[Measured]) -> Result<Read, SourceError> {
        let uids: Vec<u32> = next.iter().map(|message| message.uid).collect();
        // The partial fetch makes the server keep to the limit, whatever size it reported.
        let items = format!("(UID BODY.PEEK[]<0.{}>)", self.max_message);
        let (mut bodies, mut octets) = (HashMap::<u32, Arc<[u8]>>::new(), 0);
        let ends = self
            .fetch(&uids, &items, |uid, fetched| {
                // Twice the bound: the server understated its sizes. The rest comes with the next batch.
                if let Some(body) =
                    fetched.body.filter(|_| octets <= 2 * BATCH_OCTETS && uids.binary_search(&uid).is_ok())
                {
                    octets += body.len() as u64;
                    bodies.insert(uid, body.as_ref().into());
                }
            })
            .await?;
        let stuck = self.first_left(&uids, |uid| !bodies.contains_key(uid)).await?;
        let readable = next.iter().filter(|message| stuck.is_none_or(|stuck| message.uid < stuck));
        let messages: Vec<_> = readable
            .filter_map(|message| {
                let body = bodies.remove(&message.uid)?;
                Some(Message {
                    place: self.uid(message.uid).place(),
                    received: message.received.unwrap_or_else(|| Timestamp::now().as_second()),
                    size: message.size.unwrap_or(0).max(body.len() as u64),
                    body,
                })
            })
            .collect();
        let last = uids.last().copied().unwrap_or(0);
        self.measured.retain(|message| message.uid > last || stuck.is_some_and(|stuck| message.uid >= stuck));
        let said = ends.iter().find(|end| end.status != Status::Ok).map_or("nothing about it", |end| end.text.as_str());
        Ok(Read { messages, stuck: stuck.map(|uid| (uid, said.to_owned())) })
    }

    /// Forgets a message that is next.
    pub(super) fn pass_over(&mut self, uid: u32) {
        self.measured.retain(|message| message.uid != uid);
    }

    /// The error for a message that is there and did not come.
    pub(super) fn unreadable(&self, uid: u32, said: &str) -> SourceError {
        self.connection.lost(format!("the server did not deliver the message with UID {uid}; it said: {said}"))
    }

    /// Carries out the dispositions of those messages that belong to this UIDVALIDITY.
    pub(super) async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<(), SourceError> {
        let processed = done.iter().filter(|(_, disposition)| *disposition == Disposition::Processed);
        let mut uids: Vec<u32> = processed
            .filter_map(|(place, _)| Uid::read(place.as_str()))
            .filter(|uid| uid.validity == self.uid_validity)
            .map(|uid| uid.uid)
            .collect();
        uids.sort_unstable();
        uids.dedup();
        self.settle_commands.carry_out(&mut self.connection, &uids).await
    }

    /// Returns when the folder has grown, or when it is time to look.
    pub(super) async fn wait(&mut self) -> Result<(), SourceError> {
        // What arrived since the last search was announced once, and is not announced again by IDLE.
        if self.connection.has_grown {
            return Ok(());
        }
        if self.idle {
            if self.connection.idle(self.poll.min(LONGEST_IDLE)).await? == Idled::Over {
                return Ok(());
            }
            warn!(mailbox = self.mailbox, "the server refuses IDLE: looking every {:?} instead", self.poll);
            self.idle = false;
        }
        tokio::time::sleep(self.poll).await;
        // Some servers show new messages to NOOP only, not to SEARCH.
        self.connection.command("NOOP").await.map(drop)
    }

    pub(super) async fn close(self) {
        self.connection.close().await;
    }

    fn uid(&self, uid: u32) -> Uid {
        Uid { validity: self.uid_validity, uid }
    }

    /// Asks for the UIDs above those that were seen.
    async fn search(&mut self) -> Result<(), SourceError> {
        self.connection.has_grown = false;
        let Some(from) = self.seen.checked_add(1) else { return Ok(()) };
        let mut found = uid_search(&mut self.connection, &format!("UNDELETED UID {from}:*")).await?;
        // RFC 9051 §6.4.9: `n:*` means the last message even where its UID is below n.
        found.retain(|uid| *uid >= from);
        self.seen = found.last().copied().unwrap_or(self.seen);
        self.found = found.into();
        Ok(())
    }

    /// Asks for sizes and dates of the next messages found. A message about which the server says nothing is
    /// measured all the same: reading it will tell.
    async fn measure(&mut self) -> Result<(), SourceError> {
        let uids: Vec<u32> = self.found.iter().take(WINDOW).copied().collect();
        let mut known = HashMap::new();
        self.fetch(&uids, "(UID RFC822.SIZE INTERNALDATE)", |uid, fetched| {
            if uids.binary_search(&uid).is_ok() {
                known.insert(uid, (fetched.size, fetched.received));
            }
        })
        .await?;
        self.measured.extend(uids.iter().map(|&uid| {
            let (size, received) = known.get(&uid).copied().unwrap_or_default();
            Measured { uid, size, received }
        }));
        self.found.drain(..uids.len());
        Ok(())
    }

    /// One FETCH for each set of UIDs, all sent at once.
    async fn fetch(
        &mut self,
        uids: &[u32],
        items: &str,
        mut each: impl FnMut(u32, Fetched) + Send,
    ) -> Result<Vec<Condition>, SourceError> {
        let commands: Vec<_> = words::uid_sets(uids).iter().map(|set| format!("UID FETCH {set} {items}")).collect();
        self.connection
            .run(&commands, |response| {
                if let Response::Fetch(fetched) = response
                    && let Some(uid) = fetched.uid
                {
                    each(uid, fetched);
                }
            })
            .await
    }

    /// The lowest of those UIDs that did not come although the message is still there: the others were expunged by
    /// somebody else, which is no error.
    async fn first_left(&mut self, uids: &[u32], absent: impl Fn(&u32) -> bool) -> Result<Option<u32>, SourceError> {
        let absent: Vec<u32> = uids.iter().copied().filter(absent).collect();
        for set in words::uid_sets(&absent) {
            let left = uid_search(&mut self.connection, &format!("UID {set}")).await?;
            if let Some(first) = left.into_iter().find(|uid| absent.binary_search(uid).is_ok()) {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }
}
