//! A mailbox of the kind imap.

use super::{ImapSettings, Source, SourceError};
use crate::message::{Disposition, Locator, Message, Resume};

/// Reads one mailbox.
#[derive(Debug)]
pub struct ImapSource {
    settings: ImapSettings,
}

impl ImapSource {
    /// Nothing is opened yet.
    pub fn new(settings: ImapSettings) -> Self {
        Self { settings }
    }

    fn absent<T>(&self) -> Result<T, SourceError> {
        Err(SourceError::Refused(format!("{}: this source is not built yet", self.settings.name)))
    }
}

impl Source for ImapSource {
    async fn open(&mut self, _resume: Resume) -> Result<(), SourceError> {
        self.absent()
    }

    async fn fetch(&mut self) -> Result<Vec<Message>, SourceError> {
        self.absent()
    }

    async fn settle(&mut self, _done: &[(Locator, Disposition)]) -> Result<(), SourceError> {
        self.absent()
    }

    async fn wait(&mut self) -> Result<(), SourceError> {
        self.absent()
    }

    async fn close(&mut self) {}
}
