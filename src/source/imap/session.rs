//! One selected folder: which messages there are, how many to ask for at once, and when to look again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    alerts::Alerts,
    connection::{Connection, Idled},
    copies::{self, Fingerprint},
    login::login,
    response::{Condition, Fetched, Response, Status},
    search::uid_search,
    settings::ImapSettings,
    settle::{Obstacle, SettleCommands, Settled, remove},
    uid::Uid,
    words,
};
use crate::{
    clock::now,
    message::{Disposition, Message, Place, Resume},
    source::{Progress, SourceError, login::Login, settings::BATCH_OCTETS},
    text,
};

/// Sizes and dates are asked for this many messages at once.
pub(super) const WINDOW: usize = 1000;

/// So many octets of the end of a message that was cut.
const TAIL: u64 = 4096;

/// RFC 2177: an IDLE is renewed within 29 minutes.
const LONGEST_IDLE: Duration = Duration::from_secs(28 * 60);

/// A server that is polled often may still take so long to answer.
const SHORTEST_PROOF: Duration = Duration::from_secs(10);

/// How often it is looked for messages that were passed over by mistake.
const RECONCILIATION: Duration = Duration::from_secs(6 * 3600);

/// So many doubtful places are given out at once.
const DOUBTS_AT_ONCE: usize = 5000;

/// So many messages that SEARCH insists upon, and of which FETCH knows nothing, may be true of a broken folder; more
/// are a lie.
const MOST_PHANTOMS: usize = 100;

/// So many messages are asked for one by one, all in vain, before the fault is the server's and not theirs.
const VAIN_ATTEMPTS: usize = 3;

/// So many messages of the same size and Message-ID are compared octet by octet, for each that is looked for.
const MOST_CANDIDATES: usize = 5;

/// A folder that is selected, on a connection that is logged in.
pub(super) struct Session {
    connection: Connection,
    mailbox: String,
    settle_commands: SettleCommands,
    uid_validity: u32,
    /// Every message up to this UID was handed out or is gone, but for those that are pending. SEARCH alone never
    /// moves it: only what FETCH knows of counts, so that a wrong answer hides nothing.
    cursor: u32,
    /// Seen but not yet measured, ascending.
    found: VecDeque<u32>,
    /// Measured but not yet read, ascending.
    measured: VecDeque<Measured>,
    /// What is still to be compared with the store, ascending.
    doubts: Vec<u32>,
    next_reconciliation: Instant,
    settings: ImapSettings,
    max_message: u32,
    progress: Progress,
    poll: Duration,
    idle: bool,
}

/// A folder, just selected.
struct Selected {
    uid_validity: u32,
    uid_next: Option<u32>,
    settle_commands: SettleCommands,
}

impl Selected {
    async fn select(
        connection: &mut Connection,
        mailbox: &str,
        settings: &ImapSettings,
        only_looks: bool,
    ) -> Result<Self, SourceError> {
        let (mut permanent_flags, mut uid_next) = (None, None);
        let selected = connection
            .run(&[format!("SELECT {}", words::folder(&settings.folder))], |response| {
                if let Response::Condition(condition) = response {
                    permanent_flags =
                        condition.argument("PERMANENTFLAGS").map(str::to_owned).or(permanent_flags.take());
                    uid_next = condition.argument("UIDNEXT").and_then(|n| n.parse::<u32>().ok()).or(uid_next);
                }
            })
            .await?
            .remove(0);
        if selected.status != Status::Ok {
            let what = format!("the folder {} can't be opened", settings.folder);
            return Err(connection.failure(&selected, &what, "create it, or correct folder"));
        }
        let Some(uid_validity) = connection.uid_validity else {
            return Err(connection.lost("the server keeps no UIDs for this folder; another program must fetch it"));
        };
        let read_only = selected.keyword() == "READ-ONLY";
        let flags = permanent_flags.as_deref();
        let settle_commands =
            SettleCommands::prepare(connection, mailbox, settings, read_only, flags, only_looks).await?;
        Ok(Self { uid_validity, uid_next, settle_commands })
    }
}

/// What is known of a message before it is read; what the server did not say is absent.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub uid: u32,
    /// FETCH knows of it, not only SEARCH.
    known: bool,
    size: Option<u64>,
    received: Option<i64>,
}

/// A batch, read.
pub(super) struct Read {
    pub messages: Vec<Message>,
    /// Those that are there and did not come, and what the server said.
    pub withheld: Vec<(u32, String)>,
}

/// One message, asked for alone.
pub(super) enum One {
    Came(Message),
    /// There is no such message.
    Gone,
    /// It is there and did not come; what the server said.
    Withheld(String),
}

impl Session {
    /// Connects, logs in and selects the folder.
    pub(super) async fn open(
        mailbox: &str,
        settings: &ImapSettings,
        account: &mut Login,
        resume: &Resume,
        progress: &Progress,
        alerts: &Alerts,
    ) -> Result<Self, SourceError> {
        let (mut connection, greeting) = Connection::open(settings, progress, alerts).await?;
        if greeting == Status::Preauth {
            connection.ask_capabilities().await?;
        } else {
            // The password may come from a command, a token from a client secret that does, and from its own server.
            progress.until(3 * settings.timeouts.connect);
            login(&mut connection, &settings.user, account).await?;
        }
        connection.expect_messages();
        let Selected { uid_validity, uid_next, settle_commands } =
            Selected::select(&mut connection, mailbox, settings, resume.only_looks).await?;
        if let (SettleCommands::Unable(Obstacle { why, passes }), false) = (&settle_commands, resume.worked) {
            return Err(if *passes { connection.lost(why) } else { connection.refused(why) });
        }
        let cursor = match resume.cursor.as_ref().and_then(|cursor| Uid::read(cursor.as_str())) {
            Some(Uid { validity, uid }) if validity == uid_validity => believable(mailbox, uid, uid_next),
            Some(Uid { validity: known, .. }) => {
                info!(mailbox, known, uid_validity, "UIDVALIDITY changed: the folder is read anew");
                0
            }
            None => 0,
        };
        let idle = settings.idle && connection.can("IDLE");
        info!(mailbox, folder = %settings.folder, after_uid = cursor, idle, "folder opened");
        Ok(Self {
            connection,
            mailbox: mailbox.to_owned(),
            settle_commands,
            uid_validity,
            cursor,
            found: VecDeque::new(),
            measured: VecDeque::new(),
            doubts: Vec::new(),
            next_reconciliation: Instant::now(),
            settings: settings.clone(),
            max_message: settings.max_message,
            progress: progress.clone(),
            poll: settings.poll,
            idle,
        })
    }

    pub(super) const fn uid_validity(&self) -> u32 {
        self.uid_validity
    }

    /// How far the folder is read; `None` before the first message.
    pub(super) fn cursor(&self) -> Option<Uid> {
        (self.cursor > 0).then(|| self.uid(self.cursor))
    }

    /// Nothing that was found is left to be read.
    pub(super) fn is_drained(&self) -> bool {
        self.found.is_empty() && self.measured.is_empty()
    }

    /// The next messages to read, `most` at most and of bounded size together. They stay next until they were read.
    pub(super) fn next(&self, most: usize) -> Vec<Measured> {
        let mut octets = 0;
        let fits = |message: &&Measured| {
            let limit = u64::from(self.max_message);
            octets += message.size.map_or(limit, |size| size.min(limit));
            octets <= BATCH_OCTETS
        };
        let next: Vec<_> = self.measured.iter().take(most).take_while(fits).cloned().collect();
        // One message alone may be larger than a batch if the configuration says so.
        if next.is_empty() { self.measured.iter().take(1).cloned().collect() } else { next }
    }

    /// Reads these messages, which are at the head of the queue. An error comes with the message that was asked for
    /// alone, if it was one.
    pub(super) async fn read(&mut self, next: &[Measured]) -> Result<Read, (Option<u32>, SourceError)> {
        let uids: Vec<u32> = next.iter().map(|message| message.uid).collect();
        let alone = if let [uid] = uids[..] { Some(uid) } else { None };
        let blamed = |error| (alone, error);
        // The partial fetch makes the server keep to the limit, whatever size it reported.
        let items = format!("(UID BODY.PEEK[]<0.{}>)", self.max_message);
        let (mut bodies, mut octets) = (HashMap::<u32, Arc<[u8]>>::new(), 0);
        let mut two = None;
        let ends = self
            .fetch(&uids, &items, |uid, fetched| {
                // Twice the bound: the server understated its sizes. The rest is asked for one by one.
                if let Some(body) =
                    fetched.body.filter(|_| octets <= 2 * BATCH_OCTETS && uids.binary_search(&uid).is_ok())
                {
                    octets += body.len() as u64;
                    let before = bodies.insert(uid, body.as_ref().into());
                    two = before.filter(|before| **before != *body).map(|_| uid).or(two);
                }
            })
            .await
            .map_err(blamed)?;
        // One of them is another message, which nobody would read any more.
        if let Some(uid) = two {
            return Err(blamed(self.connection.lost(format!("the server gave two messages the UID {uid}"))));
        }
        let absent: Vec<u32> = uids.iter().copied().filter(|uid| !bodies.contains_key(uid)).collect();
        let left = self.still_there(&absent).await.map_err(blamed)?;
        let known: HashSet<u32> = next.iter().filter(|message| message.known).map(|message| message.uid).collect();
        let mut reached = known.iter().chain(bodies.keys()).copied().max().unwrap_or(0);
        let mut messages = Vec::with_capacity(bodies.len());
        for measured in next {
            if let Some(body) = bodies.remove(&measured.uid) {
                messages.push(self.message(measured, body).await.map_err(blamed)?);
            }
        }
        let mut withheld = Vec::new();
        for uid in left {
            // One that the server can't give often ends the answer about all behind it.
            let one = if alone.is_some() { None } else { Some(self.read_one(uid).await.map_err(|e| (Some(uid), e))?) };
            match one {
                Some(One::Came(message)) => {
                    reached = reached.max(uid);
                    messages.push(message);
                }
                Some(One::Gone) => {}
                Some(One::Withheld(why)) => withheld.push((uid, why)),
                None => withheld.push((uid, said(&ends))),
            }
            if messages.is_empty() && withheld.len() >= VAIN_ATTEMPTS {
                return Ok(Read { messages, withheld });
            }
        }
        messages.sort_by_key(|message| Uid::read(message.place.as_str()).map(|uid| uid.uid));
        if !messages.is_empty() || withheld.is_empty() {
            self.measured.drain(..next.len());
            self.cursor = self.cursor.max(reached);
        }
        Ok(Read { messages, withheld })
    }

    /// Reads one message, with its size and date.
    pub(super) async fn read_one(&mut self, uid: u32) -> Result<One, SourceError> {
        let items = format!("(UID RFC822.SIZE INTERNALDATE BODY.PEEK[]<0.{}>)", self.max_message);
        let (mut measured, mut body) = (Measured { uid, known: true, size: None, received: None }, None);
        let ends = self
            .fetch(&[uid], &items, |found, fetched| {
                if found == uid {
                    measured.size = fetched.size.or(measured.size);
                    measured.received = fetched.received.or(measured.received);
                    body = fetched.body.map(|body| Arc::from(body.as_ref())).or(body.take());
                }
            })
            .await?;
        Ok(match body {
            Some(body) => One::Came(self.message(&measured, body).await?),
            None if self.still_there(&[uid]).await?.is_empty() => One::Gone,
            None => One::Withheld(said(&ends)),
        })
    }

    async fn message(&mut self, measured: &Measured, body: Arc<[u8]>) -> Result<Message, SourceError> {
        let cut = body.len() as u64 >= u64::from(self.max_message);
        let rest = if cut { Some(self.rest(measured).await?) } else { None };
        Ok(Message {
            place: self.uid(measured.uid).place(),
            received: measured.received.unwrap_or_else(now),
            size: measured.size.unwrap_or(0).max(body.len() as u64),
            body,
            rest,
            delivered_to: Vec::new(),
        })
    }

    /// What tells a message that was cut from others with the same beginning: its size, the time of its arrival and its
    /// last octets.
    async fn rest(&mut self, measured: &Measured) -> Result<[u8; 32], SourceError> {
        let [size, received] = [measured.size.unwrap_or(0), measured.received.unwrap_or(0).cast_unsigned()];
        let from = size.saturating_sub(TAIL).max(self.max_message.into());
        let mut tail = None;
        self.fetch(&[measured.uid], &format!("(UID BODY.PEEK[]<{from}.{TAIL}>)"), |uid, fetched| {
            if uid == measured.uid {
                tail = fetched.body.or(tail.take());
            }
        })
        .await?;
        let known = Sha256::new().chain_update(size.to_be_bytes()).chain_update(received.to_be_bytes());
        Ok(known.chain_update(tail.unwrap_or_default()).finalize().into())
    }

    /// The error for a message that is there and did not come, as none did.
    pub(super) fn withheld(&self, uid: u32, said: &str) -> SourceError {
        self.connection.lost(format!("the server did not deliver the message with UID {uid}; it said: {said}"))
    }

    /// Those of these messages that belong to this UIDVALIDITY and are to be moved or flagged, ascending.
    pub(super) fn to_settle(&self, done: &[(Place, Disposition)]) -> Vec<u32> {
        let processed = done.iter().filter(|(_, disposition)| *disposition == Disposition::Processed);
        let mut uids: Vec<u32> = processed
            .filter_map(|(place, _)| Uid::read(place.as_str()))
            .filter(|uid| uid.validity == self.uid_validity)
            .map(|uid| uid.uid)
            .collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    /// Settles these messages.
    pub(super) async fn settle(&mut self, uids: &[u32]) -> Result<Settled, SourceError> {
        if matches!(self.settle_commands, SettleCommands::Unable(_)) {
            // Perhaps somebody has mended it by now.
            self.select_again().await?;
        }
        self.settle_commands.carry_out(&mut self.connection, uids).await
    }

    /// Of these messages nobody knows whether they were copied: takes those away whose copy is there, so that there are
    /// no two.
    pub(super) async fn finish_moves(&mut self, uids: &[u32]) -> Result<(), SourceError> {
        let SettleCommands::Move { target, .. } = &self.settle_commands else { return Ok(()) };
        let examine = format!("EXAMINE {}", target.folder);
        let mut prints = Vec::new();
        for uid in self.still_there(uids).await? {
            if let One::Came(message) = self.read_one(uid).await? {
                prints.push((uid, Fingerprint::of(message.size, &message.body)));
            }
        }
        if prints.is_empty() {
            return Ok(());
        }
        self.connection.forget_folder();
        let examined = self.connection.command(&examine).await?.status == Status::Ok;
        let copied = if examined { self.held(&prints).await? } else { Vec::new() };
        self.select_again().await?;
        if !copied.is_empty() {
            info!(
                mailbox = self.mailbox,
                count = copied.len(),
                "were copied before the connection broke; removed here"
            );
        }
        remove(&mut self.connection, &copied).await
    }

    /// Which of these messages the selected folder has.
    async fn held(&mut self, prints: &[(u32, Fingerprint)]) -> Result<Vec<u32>, SourceError> {
        let all: Vec<_> = prints.iter().map(|(_, print)| print).collect();
        let mut candidates = Vec::new();
        for criteria in copies::criteria(&all) {
            candidates.extend(uid_search(&mut self.connection, &criteria).await?);
        }
        let (mut missing, mut held): (Vec<_>, Vec<u32>) = (prints.iter().collect(), Vec::new());
        for uid in candidates.into_iter().rev().take(prints.len() * MOST_CANDIDATES) {
            if missing.is_empty() {
                break;
            }
            if let One::Came(message) = self.read_one(uid).await? {
                let (here, others) =
                    missing.into_iter().partition(|(_, print)| print.is_of(message.size, &message.body));
                held.extend(Vec::into_iter(here).map(|(uid, _)| *uid));
                missing = others;
            }
        }
        held.sort_unstable();
        Ok(held)
    }

    async fn select_again(&mut self) -> Result<(), SourceError> {
        self.connection.forget_folder();
        let selected = Selected::select(&mut self.connection, &self.mailbox, &self.settings, false).await?;
        if selected.uid_validity != self.uid_validity {
            return Err(self.connection.lost("the folder's UIDVALIDITY changed"));
        }
        self.settle_commands = selected.settle_commands;
        Ok(())
    }

    /// Returns when the folder has grown, or when it is time to look: after `limit`, too.
    pub(super) async fn wait(&mut self, limit: Option<Duration>) -> Result<(), SourceError> {
        // What arrived since the last search was announced once, and is not announced again by IDLE.
        if self.connection.has_grown {
            return Ok(());
        }
        let wait = limit.map_or(self.poll, |limit| limit.min(self.poll));
        // A connection that is dead shows by no answer to this: within two polls.
        let proof = self.settings.timeouts.response.min(self.poll.max(SHORTEST_PROOF));
        if self.idle {
            if self.connection.idle(wait.min(LONGEST_IDLE), proof).await? == Idled::Over {
                return Ok(());
            }
            warn!(mailbox = self.mailbox, "the server refuses IDLE: looking every {:?} instead", self.poll);
            self.idle = false;
        }
        self.progress.until(wait);
        tokio::time::sleep(wait).await;
        // Some servers show new messages to NOOP only, not to SEARCH.
        self.connection.prove_alive(proof).await
    }

    pub(super) async fn close(self) {
        self.connection.close().await;
    }

    pub(super) const fn uid(&self, uid: u32) -> Uid {
        Uid { validity: self.uid_validity, uid }
    }

    /// Asks for the UIDs above the cursor, but for those that are pending.
    pub(super) async fn search(&mut self, is_pending: impl Fn(u32) -> bool) -> Result<(), SourceError> {
        self.connection.has_grown = false;
        let Some(from) = self.cursor.checked_add(1) else { return Ok(()) };
        let mut found = uid_search(&mut self.connection, &format!("UNDELETED UID {from}:*")).await?;
        // RFC 9051 §6.4.9: `n:*` means the last message even where its UID is below n.
        found.retain(|uid| *uid >= from && !is_pending(*uid));
        self.found = found.into();
        Ok(())
    }

    /// The UIDs at or below the cursor, in portions, every few hours: the first time soon after the folder was opened.
    pub(super) async fn doubtful(&mut self) -> Result<Vec<u32>, SourceError> {
        if self.doubts.is_empty() && self.next_reconciliation <= Instant::now() && self.cursor > 0 {
            let cursor = self.cursor;
            self.doubts = uid_search(&mut self.connection, &format!("UNDELETED UID 1:{cursor}")).await?;
            self.doubts.retain(|uid| (1..=cursor).contains(uid));
            self.next_reconciliation = Instant::now() + RECONCILIATION;
        }
        let rest = self.doubts.len().saturating_sub(DOUBTS_AT_ONCE);
        Ok(self.doubts.split_off(rest))
    }

    /// These are read with the next batches.
    pub(super) fn reread(&mut self, mut uids: Vec<u32>) {
        uids.sort_unstable();
        self.found.extend(uids);
    }

    /// The next `most` messages found, to be measured.
    pub(super) fn window(&self, most: usize) -> Vec<u32> {
        self.found.iter().take(most).copied().collect()
    }

    /// Asks for sizes and dates of these messages, which are the first found. Where the server refuses, they are
    /// measured all the same: reading them will tell.
    pub(super) async fn measure(&mut self, window: &[u32]) -> Result<(), SourceError> {
        let mut known = HashMap::new();
        let ends = self
            .fetch(window, "(UID RFC822.SIZE INTERNALDATE)", |uid, fetched| {
                if window.binary_search(&uid).is_ok() {
                    known.insert(uid, (fetched.size, fetched.received));
                }
            })
            .await?;
        let mut there = window.to_vec();
        if ends.iter().all(|end| end.status == Status::Ok) {
            // RFC 9051 §6.4.9: FETCH passes over a UID that does not exist, without a word.
            let unknown: Vec<u32> = window.iter().copied().filter(|uid| !known.contains_key(uid)).collect();
            let claimed = self.still_there(&unknown).await?;
            if claimed.len() > MOST_PHANTOMS {
                let count = claimed.len();
                return Err(self.connection.lost(format!(
                    "SEARCH names {} that FETCH knows nothing of",
                    text::count(count as u64, "message")
                )));
            }
            there.retain(|uid| known.contains_key(uid) || claimed.binary_search(uid).is_ok());
        }
        self.measured.extend(there.into_iter().map(|uid| {
            let (size, received) = known.get(&uid).copied().unwrap_or_default();
            Measured { uid, known: known.contains_key(&uid), size, received }
        }));
        self.found.drain(..window.len());
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

    /// Those of these UIDs, given in ascending order, that the folder still holds: the others were expunged by somebody
    /// else, which is no error.
    async fn still_there(&mut self, uids: &[u32]) -> Result<Vec<u32>, SourceError> {
        let mut there = Vec::new();
        for set in words::uid_sets(uids) {
            there.extend(uid_search(&mut self.connection, &format!("UID {set}")).await?);
        }
        there.retain(|uid| uids.binary_search(uid).is_ok());
        there.sort_unstable();
        there.dedup();
        Ok(there)
    }
}

/// A cursor beyond UIDNEXT came from a wrong answer of the server, and would hide whatever comes until it is reached.
fn believable(mailbox: &str, uid: u32, uid_next: Option<u32>) -> u32 {
    match uid_next {
        Some(next) if next > 0 && uid >= next => {
            warn!(mailbox, uid, uid_next = next, "read up to a message that can't be there: going on from UIDNEXT");
            next - 1
        }
        _ => uid,
    }
}

/// What the server said to a FETCH that did not bring everything.
fn said(ends: &[Condition]) -> String {
    let bad = ends.iter().find(|end| end.status != Status::Ok);
    bad.map_or_else(|| "nothing about it".to_owned(), |end| end.text.clone())
}
