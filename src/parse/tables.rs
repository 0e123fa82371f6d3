//! The tables by which mails are read, as one value: the signs of kinds, the formats of programs, and the words around
//! addresses, codes and returned messages. Made once and handed to whoever reads; refuses to read a mail.

use std::path::PathBuf;

use super::{
    Vocabulary, complaint,
    formats::Formats,
    kinds::Signs,
    words::{Role, Words},
};
use crate::{tables::TableError, text::fold};

/// What reading a mail depends on.
#[derive(Debug)]
pub struct Tables {
    pub(super) kinds: Signs,
    pub(super) formats: Formats,
    pub(super) words: Words,
}

impl Tables {
    /// Those that come with the program.
    #[must_use]
    pub fn embedded() -> Self {
        Self::load(&[], &[], &[]).expect("the tests read the tables that come with the program")
    }

    /// The rows of one's own files before those that come with the program.
    ///
    /// # Errors
    /// A file can't be read or is refused; the text names file and line.
    pub fn load(kinds: &[PathBuf], formats: &[PathBuf], words: &[PathBuf]) -> Result<Self, TableError> {
        let words = Words::load(words)?;
        Ok(Self { kinds: Signs::load(kinds, &words)?, formats: Formats::load(formats)?, words })
    }

    /// Whether mail programs call the subject so, where they quote a message.
    #[must_use]
    pub fn name_subject(&self, field: &str) -> bool {
        self.words.have(Role::NamesSubject, fold(field).as_str())
    }

    /// Whether an address was made unreadable by whoever reports with it.
    #[must_use]
    pub fn is_redacted(&self, local_part: &str, domain: &str) -> bool {
        complaint::is_redacted(local_part, domain, &self.words)
    }

    /// Every word that reading a mail depends on.
    #[must_use]
    pub fn vocabulary(&self) -> Vocabulary {
        let Vocabulary { mut sentences, mut senders } = self.kinds.vocabulary();
        sentences.extend(self.formats.sentences().map(str::to_owned));
        sentences.extend(self.words.sentences().map(str::to_owned));
        senders.extend(self.words.services().map(str::to_owned));
        Vocabulary { sentences, senders }
    }
}
