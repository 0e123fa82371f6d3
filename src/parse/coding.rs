//! Content-Transfer-Encoding: how the bytes of a part are hidden, and the bytes behind it. Knows no parts.

use mail_parser::{
    Encoding,
    decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode},
};

/// Content-Transfer-Encoding (RFC 2045 §6), as far as it hides the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// 7bit, 8bit, binary.
    Plain,
    /// quoted-printable.
    QuotedPrintable,
    /// base64.
    Base64,
}

impl Coding {
    pub(super) const fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::None => Self::Plain,
            Encoding::QuotedPrintable => Self::QuotedPrintable,
            Encoding::Base64 => Self::Base64,
        }
    }

    /// The bytes behind it; `None` where there is nothing to decode, or not like this.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Plain => None,
            Self::QuotedPrintable => quoted_printable_decode(bytes),
            Self::Base64 => base64_decode(bytes),
        }
    }
}
