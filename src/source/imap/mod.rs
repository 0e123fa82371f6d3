//! An IMAP folder as a [`Source`]. This floor knows what to do when a message or a connection fails again and again;
//! the session below it knows the folder, the connection below that the server. None knows what a bounce is.
//!
//! The wire is read by a few hundred lines of this project's own and not by a crate: what a server sends can bring
//! the crates at hand down (a nested BODYSTRUCTURE overflows the stack and aborts the process), they take a FETCH
//! that failed half-way for a complete one, and they log the password at their trace level.

mod alerts;
mod connection;
mod copies;
mod heard;
mod login;
mod narrow;
mod outstanding;
mod patience;
mod pending;
mod response;
mod rivals;
mod search;
mod session;
mod settings;
mod settle;
mod uid;
mod wire;
mod words;

use alerts::Alerts;
pub use heard::{Heard, hear};
use narrow::Portion;
use outstanding::Settling;
use pending::PendingUids;
use rivals::Rivals;
use session::{One, Session, WINDOW};
pub use settings::ImapSettings;
use tracing::error;
use uid::Uid;

use super::{Progress, Source, SourceError, login::Login};
use crate::{
    clock::now,
    message::{Batch, Cursor, Disposition, Message, Place, Reading, Resume},
};

/// Reads one IMAP folder.
pub struct ImapSource {
    mailbox: String,
    settings: ImapSettings,
    login: Login,
    /// Absent before `open` and after an error: a conversation that broke off in the middle can't be continued.
    session: Option<Session>,
    /// Messages in the next batch at most.
    bodies: Portion,
    /// Messages to ask sizes and dates of at once.
    sizes: Portion,
    /// What could not be read yet.
    pending: PendingUids,
    /// Whom the last failure points at. One that fails alone for the second time is pending; the first may be a server
    /// that just went away.
    suspect: Option<u32>,
    /// The last batch was about a pending message: new mail comes next.
    retried: bool,
    progress: Progress,
    /// What is known of messages that could not be moved or flagged.
    settling: Settling,
    rivals: Rivals,
    alerts: Alerts,
}

impl ImapSource {
    fn session(&mut self) -> Result<&mut Session, SourceError> {
        self.session.as_mut().ok_or_else(|| SourceError::Lost("not connected".to_owned()))
    }

    /// After an error the session is dropped, and with it the socket.
    fn checked<T>(&mut self, result: Result<T, SourceError>) -> Result<T, SourceError> {
        if result.is_err() {
            self.session = None;
        }
        result
    }

    /// This message failed with nothing else asked for, or with nothing else answered.
    fn blame(&mut self, uid: u32, why: &str) {
        if self.suspect == Some(uid) {
            self.pending.failed(uid, now(), why);
        }
        self.suspect = Some(uid);
    }

    /// Pending messages that are due and new ones take turns: neither waits for the other.
    async fn next_batch(&mut self) -> Result<Batch, SourceError> {
        if !std::mem::take(&mut self.retried)
            && let Some(uid) = self.pending.due(now())
        {
            return self.retry(uid).await;
        }
        let batch = self.read_new().await?;
        match self.pending.due(now()) {
            Some(uid) if batch.is_empty() => self.retry(uid).await,
            _ => Ok(batch),
        }
    }

    /// Reads one pending message.
    async fn retry(&mut self, uid: u32) -> Result<Batch, SourceError> {
        self.retried = true;
        match self.session()?.read_one(uid).await {
            Ok(One::Came(message)) => {
                self.pending.remove(uid);
                Ok(self.batch(vec![message]))
            }
            Ok(One::Gone) => {
                self.pending.gone(uid);
                Ok(self.batch(Vec::new()))
            }
            Ok(One::Withheld(why)) => {
                self.pending.failed(uid, now(), &why);
                Ok(self.batch(Vec::new()))
            }
            Err(error) => {
                self.pending.failed(uid, now(), &error.to_string());
                Err(error)
            }
        }
    }

    /// The next messages that nobody has seen yet.
    async fn read_new(&mut self) -> Result<Batch, SourceError> {
        let mut searched = false;
        loop {
            let (most, sizes) = (self.bodies.get(), self.sizes.get());
            let pending = &self.pending;
            let session = self.session.as_mut().ok_or_else(|| SourceError::Lost("not connected".to_owned()))?;
            let next = session.next(most);
            if next.is_empty() {
                if session.is_drained() {
                    if searched {
                        return Ok(self.batch(Vec::new()));
                    }
                    session.search(|uid| pending.contains(uid)).await?;
                    searched = true;
                }
                let window = session.window(sizes);
                match session.measure(&window).await {
                    Ok(()) if !window.is_empty() => self.sizes.answered(),
                    Ok(()) => {}
                    Err(error) => {
                        self.sizes.failed(window.len());
                        if let [uid] = window[..] {
                            self.blame(uid, &error.to_string());
                        }
                        return Err(error);
                    }
                }
                continue;
            }
            let read = match session.read(&next).await {
                Ok(read) => read,
                Err((alone, error)) => {
                    self.bodies.failed(next.len());
                    if let Some(uid) = alone {
                        self.blame(uid, &error.to_string());
                    }
                    return Err(error);
                }
            };
            if let (true, Some((uid, why))) = (read.messages.is_empty(), read.withheld.first()) {
                // Nothing came at all: most likely that is no matter of these messages.
                let error = session.withheld(*uid, why);
                self.blame(*uid, why);
                return Err(error);
            }
            self.bodies.answered();
            let now = now();
            read.withheld.iter().for_each(|(uid, why)| self.pending.failed(*uid, now, why));
            // All of them were expunged by somebody else: there may be more behind.
            if !read.messages.is_empty() || !read.withheld.is_empty() {
                return Ok(self.batch(read.messages));
            }
        }
    }

    /// Settles these messages in portions, and says which could not be. Reading never waits for it: while the server
    /// answers with a broken connection, it is not asked.
    async fn settle_all(&mut self, uids: &[u32]) -> Result<Vec<(u32, String)>, SourceError> {
        let (portions, mut failed) = match self.settling.plan(uids) {
            Ok(plan) => plan,
            Err(why) => return Ok(uids.iter().map(|uid| (*uid, why.clone())).collect()),
        };
        for portion in portions {
            let doubtful = self.settling.doubtful(&portion);
            let session = self.session()?;
            let settled = async {
                if !doubtful.is_empty() {
                    session.finish_moves(&doubtful).await?;
                }
                session.settle(&portion).await
            };
            match settled.await {
                Ok(settled) => {
                    // What an earlier connection read may have been moved by that one.
                    if doubtful.is_empty() && settled.vanished > 0 && self.rivals.noticed() {
                        error!(mailbox = self.mailbox, "{}", Rivals::complaint(&self.settings.folder));
                    }
                    self.settling.answered(&portion, &settled.failed);
                    failed.extend(settled.failed);
                }
                Err(error) => {
                    self.settling.broke(&portion, &error.to_string());
                    return Err(error);
                }
            }
        }
        Ok(failed)
    }

    /// With what became of pending messages since the last one.
    fn batch(&mut self, messages: Vec<Message>) -> Batch {
        let (pending, gone) = self.pending.take_news();
        self.settling.read(messages.iter().filter_map(|message| Uid::read(message.place.as_str())).map(|uid| uid.uid));
        // The store knows as much when there is nothing to commit.
        let moved = !messages.is_empty() || !pending.is_empty();
        let cursor = self.session.as_ref().filter(|_| moved).and_then(Session::cursor);
        let cursor = cursor.map(|uid| Cursor::new(uid.place().as_str()));
        Batch { messages, reading: Reading { cursor, pending, gone } }
    }
}

impl Source for ImapSource {
    type Settings = ImapSettings;

    fn new(mailbox: &str, settings: ImapSettings) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            session: None,
            bodies: Portion::new(settings.batch),
            sizes: Portion::new(WINDOW),
            pending: PendingUids::default(),
            suspect: None,
            retried: false,
            progress: Progress::default(),
            settling: Settling::new(settings.batch),
            rivals: Rivals::default(),
            alerts: Alerts::new(mailbox),
            login: Login::new(settings.log_in_as(mailbox)),
            settings,
        }
    }

    fn report_to(&mut self, progress: Progress) {
        self.progress = progress;
    }

    fn describe(place: &Place) -> String {
        Uid::read(place.as_str()).map_or_else(|| place.as_str().to_owned(), |uid| uid.to_string())
    }

    async fn open(&mut self, resume: Resume) -> Result<(), SourceError> {
        self.session = None;
        let Self { mailbox, settings, login, progress, alerts, .. } = self;
        let session = Session::open(mailbox, settings, login, &resume, progress, alerts).await?;
        self.pending.resume(session.uid_validity(), resume.pending);
        self.settling.resume(session.uid_validity());
        self.session = Some(session);
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Batch, SourceError> {
        let result = self.next_batch().await;
        self.checked(result)
    }

    async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<Vec<(Place, String)>, SourceError> {
        let uids = self.session()?.to_settle(done);
        let validity = self.session()?.uid_validity();
        let result = self.settle_all(&uids).await;
        let failed = self.checked(result)?;
        // Nothing is done about the others.
        let others = done.iter().filter(|(_, disposition)| *disposition == Disposition::Untouched);
        self.settling.forget(others.filter_map(|(place, _)| Uid::read(place.as_str())).map(|uid| uid.uid));
        Ok(failed.into_iter().map(|(uid, why)| (Uid { validity, uid }.place(), why)).collect())
    }

    async fn doubtful(&mut self) -> Result<Vec<Place>, SourceError> {
        let result = self.session()?.doubtful().await;
        let doubtful = self.checked(result)?;
        let session = self.session()?;
        Ok(doubtful.into_iter().map(|uid| session.uid(uid).place()).collect())
    }

    fn reread(&mut self, places: Vec<Place>) {
        if let Some(session) = &mut self.session {
            let ours = places.iter().filter_map(|place| Uid::read(place.as_str()));
            let ours = ours.filter(|uid| uid.validity == session.uid_validity()).map(|uid| uid.uid);
            session.reread(ours.filter(|uid| !self.pending.ask(*uid)).collect());
        }
    }

    fn complaint(&self) -> Option<String> {
        self.rivals.are_there().then(|| Rivals::complaint(&self.settings.folder))
    }

    async fn wait(&mut self) -> Result<(), SourceError> {
        let due = self.pending.until_next(now());
        let result = self.session()?.wait(due).await;
        self.checked(result)
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}
