//! A mailbox of the kind maildir.

use super::{MaildirSettings, Source, SourceError};
use crate::message::{Disposition, Locator, Message, Resume};

/// Reads one mailbox.
#[derive(Debug)]
pub struct MaildirSource {
    settings: MaildirSettings,
}

impl MaildirSource {
    /// Nothing is opened yet.
    pub fn new(settings: MaildirSettings) -> Self {
        Self { settings }
    }

    fn absent<T>(&self) -> Result<T, SourceError> {
        Err(SourceError::Refused(format!("{}: this source is not built yet", self.settings.name)))
    }
}

impl Source for MaildirSource {
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
