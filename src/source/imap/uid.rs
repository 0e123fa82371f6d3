//! How this source writes places, and cursors, which are the place of the last message: `UIDVALIDITY:UID`. Nobody else
//! reads them.

use std::fmt;

use crate::message::Place;

/// RFC 9051 §2.3.1.1: a UID means a message only together with its UIDVALIDITY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uid {
    pub validity: u32,
    pub uid: u32,
}

impl Uid {
    /// `None` for what this source did not write: a mailbox of this name was once of another kind.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (validity, uid) = text.split_once(':')?;
        Some(Self { validity: validity.parse().ok()?, uid: uid.parse().ok()? })
    }

    pub(super) fn place(self) -> Place {
        Place::new(format!("{}:{}", self.validity, self.uid))
    }
}

/// In words for people.
impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UID {} (UIDVALIDITY {})", self.uid, self.validity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let uid = Uid { validity: u32::MAX, uid: 7 };
        assert_eq!(Uid::read(uid.place().as_str()), Some(uid));
        for other in ["", "7", "7:", ":7", "1767225600.M1P2.host", "7:4294967296", "a:1"] {
            assert_eq!(Uid::read(other), None, "{other}");
        }
    }
}
