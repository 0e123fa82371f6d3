//! An IMAP folder as a [`Source`]. This floor knows what to do when a message or a connection fails again and again;
//! the session below it knows the folder, the connection below that the server. None knows what a bounce is.
//!
//! The wire is read by a few hundred lines of this project's own and not by a crate: what a server sends can bring
//! the crates at hand down (a nested BODYSTRUCTURE overflows the stack and aborts the process), they take a FETCH
//! that failed half-way for a complete one, and they log the password at their trace level.

mod connection;
mod login;
mod response;
mod search;
mod session;
mod settings;
mod settle;
mod uid;
mod wire;
mod words;

use session::Session;
pub use settings::{ImapSettings, Timeouts};
use tracing::warn;
use uid::Uid;

use super::{Source, SourceError};
use crate::message::{Batch, Cursor, Disposition, Message, Place, Resume};

/// After this many vain attempts to read one message, with reconnections between, it is passed over.
const MOST_ATTEMPTS: u32 = 4;

/// Reads one IMAP folder.
pub struct ImapSource {
    mailbox: String,
    settings: ImapSettings,
    /// Absent before `open` and after an error: a conversation that broke off in the middle can't be continued.
    session: Option<Session>,
    /// Messages in the next batch at most. Halved when a batch brings the connection down, until the message that does
    /// it stands alone; doubled again when one comes through.
    most: usize,
    /// UID of the first message that could not be read, and how often that was tried.
    unreadable: (u32, u32),
}

impl ImapSource {
    fn session(&mut self) -> Result<&mut Session, SourceError> {
        self.session.as_mut().ok_or_else(|| SourceError::Lost(format!("{}: not connected", self.mailbox)))
    }

    /// After an error the session is dropped, and with it the socket.
    fn checked<T>(&mut self, result: Result<T, SourceError>) -> Result<T, SourceError> {
        if result.is_err() {
            self.session = None;
        }
        result
    }

    fn note_unreadable(&mut self, uid: u32) {
        let attempts = if self.unreadable.0 == uid { self.unreadable.1 } else { 0 };
        self.unreadable = (uid, attempts + 1);
    }

    async fn next_batch(&mut self) -> Result<Batch, SourceError> {
        loop {
            let (most, (unreadable, attempts)) = (self.most, self.unreadable);
            let session = self.session()?;
            let next = session.next(most).await?;
            let Some(first) = next.first().map(|message| message.uid) else { return Ok(Batch::default()) };
            if first == unreadable && attempts >= MOST_ATTEMPTS {
                session.pass_over(first);
                warn!(mailbox = self.mailbox, uid = first, "can't be read, passed over; it stays in the folder");
                continue;
            }
            match session.read(&next).await {
                Ok(read) => {
                    self.most = (self.most * 2).min(self.settings.batch.max(1));
                    match read.stuck {
                        Some((uid, why)) if read.messages.is_empty() => {
                            self.note_unreadable(uid);
                            return Err(self.session()?.unreadable(uid, &why));
                        }
                        // All of them were expunged by somebody else: there may be more behind.
                        None if read.messages.is_empty() => {}
                        _ => return Ok(batch(read.messages)),
                    }
                }
                Err(error) => {
                    if next.len() == 1 {
                        self.note_unreadable(first);
                    }
                    self.most = (next.len() / 2).max(1);
                    return Err(error);
                }
            }
        }
    }
}

/// The cursor is the last message that came, so it never steps over one that did not.
fn batch(messages: Vec<Message>) -> Batch {
    let cursor = messages.last().map(|last| Cursor::new(last.place.as_str()));
    Batch { messages, cursor }
}

impl Source for ImapSource {
    type Settings = ImapSettings;

    fn new(mailbox: &str, settings: ImapSettings) -> Self {
        let most = settings.batch.max(1);
        Self { mailbox: mailbox.to_owned(), settings, session: None, most, unreadable: (0, 0) }
    }

    fn describe(place: &Place) -> String {
        Uid::read(place.as_str()).map_or_else(|| place.as_str().to_owned(), |uid| uid.to_string())
    }

    async fn open(&mut self, resume: Resume) -> Result<(), SourceError> {
        self.session = None;
        self.session = Some(Session::open(&self.mailbox, &self.settings, resume).await?);
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Batch, SourceError> {
        let result = self.next_batch().await;
        self.checked(result)
    }

    async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<(), SourceError> {
        let result = self.session()?.settle(done).await;
        self.checked(result)
    }

    async fn wait(&mut self) -> Result<(), SourceError> {
        let result = self.session()?.wait().await;
        self.checked(result)
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}
