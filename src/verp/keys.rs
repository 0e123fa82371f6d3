//! The text of a key file -> keys, which sign addresses and verify tokens.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::Date;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use super::{Form, LAST_DAY, LONGEST_ID, MAC_OCTETS, NO_ID, Refusal, Token, VerpError, is_id, is_key_name};
use crate::text::Address;

/// Signed with each address, so that a key that serves for something else as well signs nothing by that.
const SCHEME: &str = "bounced-verp-1";

/// Of a new key. RFC 2104 §3 asks for no fewer than SHA-256 gives, 32; base32 writes 40 without padding.
pub const SECRET_OCTETS: usize = 40;

/// What the characters of a secret may be: eight are five octets, so that none needs padding. RFC 2104 §2 hashes keys of
/// more than 64 octets first, which not everybody who signs by hand thinks of.
const SECRET_CHARACTERS: std::ops::RangeInclusive<usize> = 32..=96;

/// The keys of a file, in its order.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

struct Key {
    kid: String,
    secret: SecretSlice<u8>,
    /// The last day on which it verifies anything. Such a key signs nothing.
    until: Option<i64>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.kid)
    }
}

/// Why a key file is refused. It quotes nothing of the file but the names of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {what}")]
pub struct KeysError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong and what was expected.
    pub what: String,
}

impl Keys {
    /// Reads a key file: a key a line, as `KID SECRET` or `KID SECRET until YYYY-MM-DD`; what follows a `#` is a comment.
    ///
    /// # Errors
    /// A line is of another form, or names a key a second time.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let key = Key::read(&words).and_then(|key| match keys.has(&key.kid) {
                true => Err(format!("a key {} stands above already", key.kid)),
                false => Ok(key),
            });
            keys.0.push(key.map_err(|what| KeysError { line: number, what })?);
        }
        Ok(keys)
    }

    /// The name of the key that signs: the last one that has no end.
    #[must_use]
    pub fn signs(&self) -> Option<&str> {
        self.signing().map(|key| key.kid.as_str())
    }

    /// Their names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.kid.as_str())
    }

    /// A name for a new key.
    #[must_use]
    pub fn free_name(&self) -> String {
        let mut names = (self.0.len() + 1..).map(|number| format!("k{number}"));
        names.find(|name| !self.has(name)).expect("there are more numbers than keys")
    }

    /// Whether one of them is called so.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.names().any(|name| name == kid)
    }

    /// The envelope sender for one recipient, with an id of the sender's own, or an empty one, and the day of today.
    ///
    /// # Errors
    /// No key signs, or id, day or length are beyond what the form permits.
    pub fn sign(&self, recipient: &Address, id: &str, day: i64, form: &Form) -> Result<String, VerpError> {
        let key = self.signing().ok_or(VerpError::NoKey)?;
        if id == NO_ID || !(id.is_empty() || is_id(id)) {
            return Err(VerpError::Unfit(format!(
                "the id `{id}` is none: up to {LONGEST_ID} of a-z, 0-9, _ and -, and not `{NO_ID}` alone"
            )));
        }
        if !(0..=LAST_DAY).contains(&day) {
            return Err(VerpError::Unfit(format!(
                "{day} is no day: days are counted from 1970-01-01, up to {LAST_DAY}"
            )));
        }
        let id = if id.is_empty() { NO_ID } else { id }.to_owned();
        let mut mac = [0; MAC_OCTETS];
        mac.copy_from_slice(&key.hash(day, &id, recipient).finalize().into_bytes()[..MAC_OCTETS]);
        Token { kid: key.kid.clone(), day, id, mac }.write(form)
    }

    /// Whether one of them has signed the token for this recipient, at most `days` before `today`; both in days, `today`
    /// since 1970-01-01.
    ///
    /// # Errors
    /// Why it is worth nothing. Whether it is genuine is asked first, and found out in constant time.
    pub fn verify(&self, token: &Token, recipient: &Address, today: i64, days: i64) -> Result<(), Refusal> {
        let key = self.0.iter().find(|key| key.kid == token.kid).ok_or(Refusal::UnknownKey)?;
        let hash = key.hash(token.day, &token.id, recipient);
        hash.verify_truncated_left(&token.mac).map_err(|_| Refusal::Wrong)?;
        let age = today.saturating_sub(token.day);
        // Somewhere else it may be tomorrow already.
        if age < -1 {
            return Err(Refusal::NotYet);
        }
        if age > days || key.until.is_some_and(|until| today > until) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    fn signing(&self) -> Option<&Key> {
        self.0.iter().rfind(|key| key.until.is_none())
    }
}

impl Key {
    fn read(words: &[&str]) -> Result<Self, String> {
        let (kid, secret, until) = match *words {
            [kid, secret] => (kid, secret, None),
            [kid, secret, "until", date] => (kid, secret, Some(date)),
            _ => return Err("expected `KID SECRET` or `KID SECRET until YYYY-MM-DD`".to_owned()),
        };
        if !is_key_name(kid) {
            return Err("the name of a key is up to 8 of a-z and 0-9".to_owned());
        }
        let octets = BASE32_NOPAD.decode(secret.to_ascii_uppercase().as_bytes()).ok();
        let octets = octets.filter(|_| SECRET_CHARACTERS.contains(&secret.len()) && secret.len().is_multiple_of(8));
        let octets = octets.ok_or_else(|| {
            let (least, most) = (SECRET_CHARACTERS.start(), SECRET_CHARACTERS.end());
            format!("the secret of {kid} is not {least} to {most} characters of base32 (A-Z, 2-7), a multiple of 8")
        })?;
        let until = until.map(|date| date.parse().map(day_number));
        let until = until.transpose().map_err(|_| format!("the end of {kid} is no day, as 2026-12-31 is one"))?;
        Ok(Self { kid: kid.to_owned(), secret: octets.into(), until })
    }

    /// RFC 2104 with SHA-256. No part but the recipient, which is the last, can hold a `|`: no two texts are the same.
    fn hash(&self, day: i64, id: &str, recipient: &Address) -> Hmac<Sha256> {
        let text = format!("{SCHEME}|{}|{day}|{id}|{}", self.kid, recipient.normalised());
        Hmac::new_from_slice(self.secret.expose_secret()).expect("a key of any length will do").chain_update(text)
    }
}

/// In days since 1970-01-01.
fn day_number(date: Date) -> i64 {
    date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24
}

/// The line of a key file that holds a new key; `None` where no key can be called so.
#[must_use]
pub fn key_line(kid: &str, secret: &[u8; SECRET_OCTETS]) -> Option<String> {
    is_key_name(kid).then(|| format!("{kid} {}\n", BASE32_NOPAD.encode(secret)))
}
