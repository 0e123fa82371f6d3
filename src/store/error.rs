//! Why a store did not serve, for people and for whoever may try again.

/// Why a database did not serve; each variant is another thing that a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Locked, or the disk is full: back off and try again.
    #[error("{0}")]
    Busy(String),
    /// A retry can't help: damaged, not writable, not ours. The text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// What lies there was made from another store or a later state of this one: it is left as it is until a person
    /// decides. The text says between what.
    #[error("{0}")]
    Foreign(String),
    /// What a person wants contradicts what he said before. The text says what to do; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The file that is open is no longer the one at its path: what is written now is lost. Opening anew helps.
    #[error("{0}")]
    Replaced(String),
    /// Another daemon has taken over the mailbox: what was read of it is dropped, and the lease is waited for.
    #[error("{0}")]
    Overtaken(String),
}

impl StoreError {
    /// See [`StoreError::Overtaken`].
    pub(crate) fn overtaken(mailbox: &str) -> Self {
        Self::Overtaken(format!("another daemon has taken over {mailbox}; nothing more of it is recorded here"))
    }

    /// The same with something more for the person: the store knows what failed, and its caller what was done before.
    #[must_use]
    pub fn and(self, more: &str) -> Self {
        let longer = |text: String| format!("{text}; {more}");
        match self {
            Self::Busy(text) => Self::Busy(longer(text)),
            Self::Unusable(text) => Self::Unusable(longer(text)),
            Self::Foreign(text) => Self::Foreign(longer(text)),
            Self::Refused(text) => Self::Refused(longer(text)),
            Self::Replaced(text) => Self::Replaced(longer(text)),
            Self::Overtaken(text) => Self::Overtaken(longer(text)),
        }
    }
}
