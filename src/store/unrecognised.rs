//! Messages that look like reports and name nobody.

use data_encoding::HEXLOWER;
use serde::Serialize;

/// One of them, as far as it is kept: the mail itself is where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unrecognised {
    /// Its row.
    #[serde(skip)]
    pub id: i64,
    /// Where it was read.
    pub mailbox: String,
    /// Where it lay there, in the form of the source that read it.
    pub place: String,
    /// SHA-256 of its bytes.
    #[serde(skip)]
    pub sha256: [u8; 32],
    /// When it was received, in seconds since 1970-01-01 UTC.
    pub received: i64,
    /// What it looks like.
    pub kind: String,
    /// The program that wrote it, as far as it is known.
    pub format: String,
    /// Its Message-ID.
    pub message_id: Option<String>,
    /// Its size in octets.
    pub size: i64,
}

impl Unrecognised {
    /// Whether it lies in no mailbox, because it came by LMTP or to a command: it is named by its bytes then.
    #[must_use]
    pub fn lies_nowhere(&self) -> bool {
        self.place == HEXLOWER.encode(&self.sha256)
    }
}
