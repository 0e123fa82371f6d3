//! An IMAP folder as a [`Source`]. This floor knows what to do when a message or a connection fails again and again;
//! the session below it knows the folder, the connection below that the server. None knows what a bounce is.
//!
//! The wire is read by a few hundred lines of this project's own and not by a crate: what a server sends can bring
//! the crates at hand down (a nested BODYSTRUCTURE overflows the stack and aborts the process), they take a FETCH
//! that failed half-way for a complete one, and they log the password at their trace level.

mod connection;
mod login;
mod response;
mod session;
mod settle;
mod tls;
mod uid;
mod wire;
mod words;

use session::Session;
use tracing::warn;
use uid::Uid;

use super::{ImapSettings, Source, SourceError};
use crate::message::{Batch, Cursor, Disposition, Message, Place, Resume};

/// After this many vain attempts to read one message, with reconnections between, it is passed over.
const STRIKES: u32 = 4;

/// Reads one IMAP folder.
pub struct ImapSource {
    settings: ImapSettings,
    /// Absent before `open` and after an error: what is half said can't be continued.
    session: Option<Session>,
    /// Messages in the next portion at most. Halved when a portion brings the connection down, until the message
    /// that does it stands alone; doubled again when one comes through.
    portion: usize,
    /// UID of the first message that could not be read, and how often that was.
    strikes: (u32, u32),
}

impl ImapSource {
    /// Nothing is connected yet.
    pub fn new(settings: ImapSettings) -> Self {
        let portion = settings.batch.max(1);
        Self { settings, session: None, portion, strikes: (0, 0) }
    }

    fn session(&mut self) -> Result<&mut Session, SourceError> {
        let name = &self.settings.name;
        self.session.as_mut().ok_or_else(|| SourceError::Lost(format!("{name}: not connected")))
    }

    /// After an error the session is dropped, and with it the socket.
    fn checked<T>(&mut self, result: Result<T, SourceError>) -> Result<T, SourceError> {
        if result.is_err() {
            self.session = None;
        }
        result
    }

    fn strike(&mut self, uid: u32) {
        self.strikes = if self.strikes.0 == uid { (uid, self.strikes.1 + 1) } else { (uid, 1) };
    }

    async fn next_portion(&mut self) -> Result<Batch, SourceError> {
        loop {
            let (most, (struck, strikes)) = (self.portion, self.strikes);
            let session = self.session()?;
            let portion = session.portion(most).await?;
            let Some(first) = portion.first().map(|envelope| envelope.uid) else { return Ok(Batch::default()) };
            if first == struck && strikes >= STRIKES {
                session.pass_over(first);
                warn!(mailbox = self.settings.name, uid = first, "can't be read, passed over; it stays in the folder");
                continue;
            }
            match session.read(&portion).await {
                Ok(read) => {
                    self.portion = (self.portion * 2).min(self.settings.batch.max(1));
                    match read.stuck {
                        Some((uid, why)) if read.messages.is_empty() => {
                            self.strike(uid);
                            return Err(self.session()?.unreadable(uid, &why));
                        }
                        // All of them were expunged by somebody else: there may be more behind.
                        None if read.messages.is_empty() => {}
                        _ => return Ok(batch(read.messages)),
                    }
                }
                Err(error) => {
                    if portion.len() == 1 {
                        self.strike(first);
                    }
                    self.portion = (portion.len() / 2).max(1);
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
    fn describe(place: &Place) -> String {
        Uid::read(place.as_str()).map_or_else(|| place.as_str().to_owned(), |uid| uid.to_string())
    }

    async fn open(&mut self, resume: Resume) -> Result<(), SourceError> {
        self.session = None;
        self.session = Some(Session::open(&self.settings, resume).await?);
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Batch, SourceError> {
        let result = self.next_portion().await;
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
