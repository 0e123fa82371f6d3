//! Key, day, id and recipient -> an envelope sender that nobody else can make, and back. Opens no file, asks no clock;
//! refuses to know what a bounce that comes to such an address is worth.
//!
//! A bounce has no sender who could be held to his word (RFC 5321 §4.5.5), so each message leaves with an envelope sender
//! of its own: whoever answers to it has seen that message. docs/verp.md has the form, for programs that sign themselves.

mod keys;

use std::fmt;

use data_encoding::BASE32_NOPAD;
pub use keys::{Keys, KeysError, SECRET_OCTETS, key_line};
use sha2::{Digest, Sha256};

use crate::{codes::words, text::Address};

/// RFC 5321 §4.5.3.1.1.
pub const LONGEST_LOCAL_PART: usize = 64;

/// Of the name of a key.
const LONGEST_KEY_NAME: usize = 8;

/// Of the sender's own id.
const LONGEST_ID: usize = 20;

/// Some 2,700 years: a day has at most six digits.
const LAST_DAY: i64 = 999_999;

/// 80 bits: sixteen characters of base32, with none of their bits to spare.
const MAC_OCTETS: usize = 10;

/// Stands for the id where there is none: two dots in a row are no local part (RFC 5321 §4.1.2).
const NO_ID: &str = "-";

words! {
    /// What stands between the address that takes the bounces and the token.
    Delimiter {
        /// The usual one.
        Plus = "+",
        /// qmail's, and where forms of a website refuse the other.
        Hyphen = "-",
    }
}

/// Where bounces are to come: `PREFIX+TOKEN@DOMAIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The local part of the address that takes them.
    pub prefix: String,
    /// What separates it from the token.
    pub delimiter: Delimiter,
    /// The domain of that address.
    pub domain: String,
}

impl Form {
    /// The most octets that the local part of the address may have, so that a token without an id fits behind it:
    /// `+K.999999.-.` and sixteen characters, with a key's name as long as it may be.
    pub const LONGEST_PREFIX: usize = LONGEST_LOCAL_PART - "+kkkkkkkk.999999.-.".len() - MAC_OCTETS * 8 / 5;

    /// `None` where the local part of the address can't stand before a token: it is quoted, not in ASCII, or too long.
    #[must_use]
    pub fn new(address: &Address, delimiter: Delimiter) -> Option<Self> {
        let (prefix, domain) = (address.local_part().to_owned(), address.domain().to_owned());
        let fits = prefix.is_ascii() && !prefix.contains('"') && prefix.len() <= Self::LONGEST_PREFIX;
        fits.then_some(Self { prefix, delimiter, domain })
    }
}

/// Why an address can't be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerpError {
    /// Id, day or address are beyond what the form permits: which, and what to take instead.
    #[error("{0}")]
    Unfit(String),
    /// A key is needed.
    #[error("no key signs: each has an end, or there is none; `bounced verp keygen` makes one")]
    NoKey,
}

words! {
    /// Why a token does not authorise a recipient.
    Refusal {
        /// It names a key that is not there, or not any more.
        UnknownKey = "unknown_key",
        /// It is not what the key gives for this day, id and recipient.
        Wrong = "wrong",
        /// It is genuine, and its day still to come.
        NotYet = "not_yet",
        /// It is genuine, and too old; or the time of its key is over.
        Expired = "expired",
    }
}

impl Refusal {
    /// The same in words for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::UnknownKey => "the key that it names is not in the file",
            Self::Wrong => "the key that it names has not signed this day and id for this recipient",
            Self::NotYet => "its day is still to come",
            Self::Expired => "it has expired",
        }
    }
}

/// What of an address is signed, and the signature: `KID.DAY.ID.MAC`. It may be anybody's work: [`Keys::verify`] tells.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    kid: String,
    day: i64,
    /// As it stands there.
    id: String,
    mac: [u8; MAC_OCTETS],
}

/// Whoever has the signature can send bounces in the name of its recipient for as long as it is valid.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}.{}.{}.…)", self.kid, self.day, self.id)
    }
}

impl Token {
    /// The token of an address; `None` where it is of another form. Capitals or not: some servers change them.
    #[must_use]
    pub fn read(address: &str, delimiter: Delimiter) -> Option<Self> {
        let address = Address::parse(address)?;
        let local_part = address.local_part();
        if local_part.len() > LONGEST_LOCAL_PART {
            return None;
        }
        // From behind: the prefix may have dots of its own, and the id the delimiter.
        let mut parts = local_part.rsplitn(4, '.');
        let (mac, id, day, head) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (prefix, kid) = head.rsplit_once(delimiter.as_str())?;
        if prefix.is_empty() || !is_key_name(kid) || !is_id(id) {
            return None;
        }
        let day = day_of(day)?;
        let mac = BASE32_NOPAD.decode(mac.to_ascii_uppercase().as_bytes()).ok()?.try_into().ok()?;
        Some(Self { kid: kid.to_owned(), day, id: id.to_owned(), mac })
    }

    /// The name of the key that has signed it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When it was signed, in days since 1970-01-01.
    #[must_use]
    pub const fn day(&self) -> i64 {
        self.day
    }

    /// The sender's own id, for instance of the campaign.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        Some(self.id.as_str()).filter(|id| *id != NO_ID)
    }

    /// What makes it the same one, however somebody wrote it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let Self { kid, day, id, mac } = self;
        Sha256::new().chain_update(format!("{kid}.{day}.{id}.")).chain_update(mac).finalize().into()
    }

    fn write(&self, form: &Form) -> Result<String, VerpError> {
        let mac = BASE32_NOPAD.encode(&self.mac).to_ascii_lowercase();
        let Form { prefix, delimiter, domain } = form;
        let Self { kid, day, id, .. } = self;
        let local_part = format!("{prefix}{delimiter}{kid}.{day}.{id}.{mac}");
        if local_part.len() > LONGEST_LOCAL_PART {
            return Err(VerpError::Unfit(format!(
                "`{local_part}` has more than {LONGEST_LOCAL_PART} octets before the @ (RFC 5321 §4.5.3.1.1); take a shorter id \
                 or address"
            )));
        }
        Ok(format!("{local_part}@{domain}"))
    }
}

/// Written in one way alone: what is signed is the number, and a second way would be another address for it.
fn day_of(digits: &str) -> Option<i64> {
    let day: i64 = digits.parse().ok()?;
    ((0..=LAST_DAY).contains(&day) && day.to_string() == digits).then_some(day)
}

fn is_key_name(name: &str) -> bool {
    (1..=LONGEST_KEY_NAME).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit())
}

fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'_' | b'-'))
}

#[cfg(test)]
mod tests;
