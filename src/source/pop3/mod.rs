//! A POP3 mailbox as a [`Source`] (RFC 1939). The server locks the mailbox while a session is open and deletes nothing
//! before the session ends: so one is ended after each batch of which something is to be deleted, and whenever there is
//! nothing to read. Which messages are new is asked of whoever keeps the records, by the names that the server gives
//! them (UIDL). Knows nothing of bounces.

mod connection;
mod settings;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use connection::{Connection, Retrieved};
pub use settings::{AfterPop3, Pop3Settings};
use tracing::info;

use super::{PATIENCE, Progress, Source, SourceError, login::Login, settings::BATCH_OCTETS};
use crate::{
    clock::now,
    message::{Batch, Cursor, Disposition, Message, Pending, Place, Reading, Resume, Retry, Unrecorded, arrival},
};

/// So many names are asked after at once.
const CHUNK: usize = 1_000;

/// So many messages of one name are looked at: identical copies, if the server keeps to the rules.
const MOST_COPIES: usize = 100;

/// Another message that has the name of this one; no name holds a blank (RFC 1939 §7).
fn copy_of(place: &Place, number: usize) -> Place {
    Place::new(format!("{} {number}", place.as_str()))
}

/// The name that the server has given.
fn original(place: &Place) -> Place {
    Place::new(place.as_str().split(' ').next().unwrap_or_default())
}

/// Reads one POP3 mailbox.
pub struct Pop3Source {
    mailbox: String,
    settings: Pop3Settings,
    login: Login,
    progress: Progress,
    /// Absent while nobody needs the server.
    session: Option<Session>,
    unrecorded: Unrecorded,
    /// Nothing is recorded of these: they come next.
    unread: VecDeque<Unread>,
    /// When the mailbox was listed last; absent before the first time.
    looked: Option<i64>,
    /// Read and not settled, and how many of each name.
    under_way: HashMap<Place, usize>,
    /// What could not be read, and when it is tried again.
    pending: HashMap<Place, Retry>,
    /// Messages that are recorded and still lie there, and how many of each name: nobody has to be asked of them again.
    recorded: HashMap<Place, usize>,
    /// Names that the server gives to several messages that differ. Which of them is which nobody can tell later, so they
    /// are read and never deleted.
    ambiguous: HashSet<Place>,
    /// Of those the store has not heard.
    news: Vec<Pending>,
    /// Over this one the connection broke the last time. One that it breaks over again is pending.
    suspect: Option<Place>,
}

/// A message that nobody has read.
struct Unread {
    place: Place,
    /// It was not there at this time, in seconds since 1970. Its header may say anything: whoever sent it may have written
    /// what stands there, so it dates no mail back to before it came.
    not_before: i64,
}

/// A connection that is logged in, and the numbers that the messages have in it. One name may stand for several
/// messages, if they are the same (RFC 1939 §7).
struct Session {
    connection: Connection,
    numbers: HashMap<Place, Vec<u32>>,
}

impl Pop3Source {
    /// Logs in and lists the mailbox, where nobody is logged in.
    async fn session(&mut self) -> Result<&mut Session, SourceError> {
        if self.session.is_none() {
            let mut connection = Connection::open(&self.settings, &mut self.login, &self.progress).await?;
            let mut numbers: HashMap<Place, Vec<u32>> = HashMap::new();
            for (number, name) in connection.names().await? {
                numbers.entry(Place::new(name)).or_default().push(number);
            }
            self.recorded.retain(|place, _| numbers.contains_key(place));
            self.ambiguous.retain(|place| numbers.contains_key(place));
            self.unread.retain(|unread| numbers.contains_key(&unread.place));
            self.session = Some(Session { connection, numbers });
        }
        self.session.as_mut().ok_or_else(|| SourceError::Lost("not connected".to_owned()))
    }

    /// What lies there and nobody here has looked at, oldest first.
    fn fresh(&self, session: &Session) -> Vec<Place> {
        let unread = self.unread.iter().map(|unread| &unread.place);
        let waits: HashSet<&Place> = unread.chain(self.under_way.keys()).chain(self.pending.keys()).collect();
        let is_recorded = |place: &Place, now: usize| self.recorded.get(place).is_some_and(|known| now <= *known);
        let is_fresh = |place: &Place, numbers: &Vec<u32>| !waits.contains(place) && !is_recorded(place, numbers.len());
        let fresh = session.numbers.iter().filter(|(place, numbers)| is_fresh(place, numbers));
        // Names say nothing of age; numbers rise with it.
        let mut fresh: Vec<(&Vec<u32>, &Place)> = fresh.map(|(place, numbers)| (numbers, place)).collect();
        fresh.sort_unstable_by_key(|(numbers, _)| numbers.first());
        fresh.into_iter().map(|(_, place)| place.clone()).collect()
    }

    /// How many messages have this name now, as far as anybody knows.
    fn count(&self, place: &Place) -> usize {
        self.session.as_ref().and_then(|session| session.numbers.get(place)).map_or(1, Vec::len)
    }

    /// The places that were pending and hold no message any more.
    fn take_gone(&mut self) -> Vec<Place> {
        let Some(session) = &self.session else { return Vec::new() };
        let is_there = |place: &Place| session.numbers.contains_key(place);
        let gone: Vec<Place> = self.pending.keys().filter(|place| !is_there(place)).cloned().collect();
        self.pending.retain(|place, _| is_there(place));
        gone
    }

    /// Finds out what of the mailbox is to be read.
    async fn find(&mut self) -> Result<(), SourceError> {
        self.session().await?;
        let fresh = self.session.as_ref().map(|session| self.fresh(session)).unwrap_or_default();
        for chunk in fresh.chunks(CHUNK) {
            let unrecorded: HashSet<Place> = match self.settings.after {
                AfterPop3::Leave => self.unrecorded.of(chunk.to_vec()).await.map_err(SourceError::Lost)?,
                // The name of what was deleted may be given again (RFC 1939 §7): that it is on record says nothing.
                AfterPop3::Delete => chunk.to_vec(),
            }
            .into_iter()
            .collect();
            let not_before = self.looked.unwrap_or(0);
            for place in chunk.iter().cloned() {
                if unrecorded.contains(&place) {
                    self.unread.push_back(Unread { place, not_before });
                } else {
                    let count = self.count(&place);
                    self.recorded.insert(place, count);
                }
            }
        }
        let now = now();
        self.looked = Some(now);
        let due = self.pending.iter().filter(|(_, retry)| retry.is_due(now));
        let due = due.map(|(place, retry)| Unread { place: place.clone(), not_before: retry.first_failed });
        self.unread.extend(due.collect::<Vec<_>>());
        Ok(())
    }

    /// Reads some of what is to be read, and notes what can't be.
    async fn read(&mut self, reading: &mut Reading) -> Result<Vec<Message>, SourceError> {
        let (mut messages, mut octets) = (Vec::new(), 0);
        while messages.len() < self.settings.batch.max(1) && octets < BATCH_OCTETS {
            let Some(Unread { place, not_before }) = self.unread.pop_front() else { break };
            let numbers = self.session().await?.numbers.get(&place).cloned().unwrap_or_default();
            let (mut copies, mut refused) = (Vec::<Message>::new(), None);
            for number in numbers.iter().take(MOST_COPIES) {
                let read = match self.retrieve(*number, &place).await? {
                    Ok(read) => read,
                    Err(why) => {
                        refused = Some(why);
                        break;
                    }
                };
                let name = if copies.is_empty() { place.clone() } else { copy_of(&place, copies.len()) };
                let message = Message {
                    place: name,
                    received: arrival(&read.body).unwrap_or(i64::MAX).max(not_before).min(now()),
                    size: read.size,
                    body: read.body.into(),
                    rest: read.rest,
                    delivered_to: Vec::new(),
                };
                if copies.iter().all(|copy| copy.sha256() != message.sha256()) {
                    copies.push(message);
                }
            }
            // One that can't be had must not stop the rest.
            if let Some(why) = refused {
                let retry = Retry::after(self.pending.get(&place), now(), why);
                self.pending.insert(place.clone(), retry.clone());
                reading.pending.push(Pending { place, retry });
                continue;
            }
            self.pending.remove(&place);
            if copies.len() > 1 || numbers.len() > MOST_COPIES {
                self.ambiguous.insert(place.clone());
            }
            self.under_way.insert(place, numbers.len());
            octets += copies.iter().map(|copy| copy.body.len() as u64).sum::<u64>();
            messages.extend(copies);
        }
        Ok(messages)
    }

    /// Reads one message. `Err`: the server does not give it, and why.
    async fn retrieve(&mut self, number: u32, place: &Place) -> Result<Result<Retrieved, String>, SourceError> {
        let most = self.settings.max_message;
        let retrieved = self.session().await?.connection.retrieve(number, most).await;
        if let Err(error) = &retrieved {
            if self.suspect.as_ref() == Some(place) {
                let retry = Retry::after(self.pending.get(place), now(), error.to_string());
                self.pending.insert(place.clone(), retry.clone());
                self.news.push(Pending { place: place.clone(), retry });
            }
            self.suspect = Some(place.clone());
        }
        retrieved
    }

    async fn next_batch(&mut self) -> Result<Batch, SourceError> {
        if self.unread.is_empty() {
            self.find().await?;
        }
        let pending = std::mem::take(&mut self.news);
        let mut reading = Reading { gone: self.take_gone(), pending, ..Reading::default() };
        let messages = self.read(&mut reading).await?;
        if self.unread.is_empty() {
            // Whoever starts anew is to know since when it was looked at; what is still unread may be older.
            reading.cursor = self.looked.map(|at| Cursor::new(at.to_string()));
        }
        Ok(Batch { messages, reading })
    }

    /// Deletes these, which is true only once the server has said so at the end of the session.
    async fn delete(&mut self, places: &[Place]) -> Result<Vec<(Place, String)>, SourceError> {
        let session = self.session().await?;
        let (mut failed, mut marked) = (Vec::new(), Vec::new());
        for place in places {
            for number in session.numbers.get(place).cloned().unwrap_or_default() {
                match session.connection.delete(number).await? {
                    Ok(_) => marked.push(place.clone()),
                    Err(why) => failed.push((place.clone(), why)),
                }
            }
        }
        if !marked.is_empty()
            && let Some(session) = self.session.take()
            && let Err(why) = session.connection.quit().await?
        {
            // RFC 1939 §6: some may be gone and some not.
            failed.extend(marked.into_iter().map(|place| (place, why.clone())));
        }
        failed.dedup_by(|(one, _), (other, _)| one == other);
        Ok(failed)
    }

    /// After an error the session is dropped, and with it the socket.
    fn checked<T>(&mut self, result: Result<T, SourceError>) -> Result<T, SourceError> {
        if result.is_err() {
            self.session = None;
        }
        self.progress.until(PATIENCE);
        result
    }

    /// How long until something pending is due, and no longer than the poll interval.
    fn rest(&self) -> Duration {
        let now = now();
        let next = self.pending.values().map(|retry| Duration::from_secs((retry.next_try - now).max(1).unsigned_abs()));
        next.fold(self.settings.poll, Duration::min)
    }
}

impl Source for Pop3Source {
    type Settings = Pop3Settings;

    fn new(mailbox: &str, settings: Pop3Settings) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            login: Login::new(settings.log_in_as(mailbox)),
            settings,
            progress: Progress::default(),
            session: None,
            unrecorded: Unrecorded::default(),
            unread: VecDeque::new(),
            looked: None,
            under_way: HashMap::new(),
            pending: HashMap::new(),
            recorded: HashMap::new(),
            ambiguous: HashSet::new(),
            news: Vec::new(),
            suspect: None,
        }
    }

    fn report_to(&mut self, progress: Progress) {
        self.progress = progress;
    }

    fn describe(place: &Place) -> String {
        place.as_str().to_owned()
    }

    async fn open(&mut self, resume: Resume) -> Result<(), SourceError> {
        self.session = None;
        self.unrecorded = resume.unrecorded;
        self.looked = resume.cursor.and_then(|cursor| cursor.as_str().parse().ok()).max(self.looked);
        self.unread.clear();
        self.under_way.clear();
        for Pending { place, retry } in resume.pending {
            self.pending.entry(place).or_insert(retry);
        }
        let opened = self.session().await.map(|session| session.numbers.len());
        let messages = self.checked(opened)?;
        info!(mailbox = self.mailbox, messages, "POP3 mailbox opened");
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Batch, SourceError> {
        let batch = self.next_batch().await;
        self.checked(batch)
    }

    async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<Vec<(Place, String)>, SourceError> {
        let mut places = Vec::new();
        for (place, disposition) in done {
            let place = original(place);
            let count = self.under_way.remove(&place);
            let goes = *disposition == Disposition::Processed && self.settings.after == AfterPop3::Delete;
            match count {
                Some(_) if goes && !self.ambiguous.contains(&place) => places.push(place),
                // An earlier connection has read it, and by now its name may be that of another message: whatever is there
                // comes again, and is known by its octets.
                None if goes => {}
                _ => {
                    let count = count.unwrap_or_else(|| self.count(&place));
                    self.recorded.insert(place, count);
                }
            }
        }
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let failed = self.delete(&places).await;
        self.checked(failed)
    }

    fn reread(&mut self, places: Vec<Place>) {
        for place in places {
            let place = original(&place);
            self.recorded.remove(&place);
            if let Some(retry) = self.pending.get_mut(&place) {
                retry.next_try = 0;
            }
        }
    }

    fn complaint(&self) -> Option<String> {
        let some = !self.ambiguous.is_empty();
        some.then(|| {
            "the server gives one name (UIDL) to several messages that differ: they are read, and not deleted; use IMAP"
                .into()
        })
    }

    async fn wait(&mut self) -> Result<(), SourceError> {
        // Others may want the mailbox, and new mail shows in a new session only.
        if let Some(session) = self.session.take() {
            let _ = session.connection.quit().await;
        }
        let rest = self.rest();
        self.progress.until(rest);
        tokio::time::sleep(rest).await;
        self.progress.until(PATIENCE);
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = tokio::time::timeout(Duration::from_secs(2), session.connection.quit()).await;
        }
    }
}
