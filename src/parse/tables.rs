//! The tables by which mails are read, as one value: the signs of kinds, the formats of programs, and the words around
//! addresses, codes and returned messages. Made once and handed to whoever reads; refuses to read a mail.

use std::{path::PathBuf, sync::Arc};

use super::{
    Vocabulary, complaint,
    formats::Formats,
    kinds::Signs,
    words::{Role, Words},
};
use crate::{
    tables::{IdleRow, TableError, TableFile},
    text::fold,
};

/// The files of the tables: those of one's own, the strongest first, and the one that comes with the program.
#[derive(Debug, Clone)]
pub struct TableFiles {
    /// Signs of kinds.
    pub kinds: Vec<Arc<TableFile>>,
    /// Formats of programs.
    pub formats: Vec<Arc<TableFile>>,
    /// Words around addresses, codes and returned messages.
    pub words: Vec<Arc<TableFile>>,
}

impl TableFiles {
    /// With these files of one's own.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(kinds: &[PathBuf], formats: &[PathBuf], words: &[PathBuf]) -> Result<Self, TableError> {
        Ok(Self { kinds: Signs::files(kinds)?, formats: Formats::files(formats)?, words: Words::files(words)? })
    }

    /// The same for whoever only reads mails: what comes with the program is read without its examples.
    #[must_use]
    pub fn without_examples(&self) -> Self {
        let Self { kinds, formats, words } = self;
        let bare = |files: &[Arc<TableFile>]| files.iter().map(|file| file.without_examples()).collect();
        Self { kinds: bare(kinds), formats: bare(formats), words: bare(words) }
    }

    /// Rows of one's own without which every one of their examples would be read alike; each with the name of its table.
    ///
    /// # Errors
    /// A row is refused; the text names file and line.
    pub fn idle_rows(&self) -> Result<Vec<(&'static str, IdleRow)>, TableError> {
        let words = Words::of_files(&self.words)?;
        let kinds = Signs::idle_rows(&self.kinds, &words)?.into_iter().map(|row| ("kinds", row));
        let formats = Formats::idle_rows(&self.formats)?.into_iter().map(|row| ("formats", row));
        let words = Words::idle_rows(&self.words)?.into_iter().map(|row| ("words", row));
        Ok(kinds.chain(formats).chain(words).collect())
    }
}

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
        let files = TableFiles::read(&[], &[], &[]).expect("no file is read");
        Self::of_files(&files).expect("the tests read the tables that come with the program")
    }

    /// The rows of these files.
    ///
    /// # Errors
    /// A row is refused; the text names file and line.
    pub fn of_files(files: &TableFiles) -> Result<Self, TableError> {
        let words = Words::of_files(&files.words)?;
        let kinds = Signs::of_files(&files.kinds, &words)?;
        Ok(Self { kinds, formats: Formats::of_files(&files.formats)?, words })
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
