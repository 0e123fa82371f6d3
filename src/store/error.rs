//! Why a store did not serve, for people and for whoever may try again.

/// Why a database did not serve; the two variants are the two things that a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Locked, or the disk is full: nothing was written, so back off and try again.
    #[error("{0}")]
    Busy(String),
    /// A retry can't help: damaged, not writable, not ours. The text says what to do.
    #[error("{0}")]
    Unusable(String),
}
