//! The two kinds of number that a mail server answers with, as types that cannot be wrong.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// A text that is no reply code or enhanced status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {expected}")]
pub struct ParseCodeError {
    text: String,
    expected: &'static str,
}

/// SMTP reply code, 200 to 599 (RFC 5321 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// The code, when it lies in 200 to 599 and its second digit in 0 to 9 (RFC 5321 §4.2 knows 0 to 5;
    /// 557 and 572 of the field's older tables are in use beyond that).
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// First digit: 2, 3, 4 or 5.
    #[must_use]
    pub const fn class_digit(self) -> u8 {
        (self.0 / 100) as u8
    }

    /// Whether its second digit is one of those that servers use: 0 to 5 (RFC 5321 §4.2), or 7 (572).
    pub(crate) const fn is_in_use(self) -> bool {
        matches!((self.0 / 10) % 10, 0..=5 | 7)
    }
}

impl FromStr for ReplyCode {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseCodeError { text: text.to_owned(), expected: "reply code (three digits, 200 to 599)" };
        if text.len() != 3 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        text.parse().ok().and_then(Self::new).ok_or_else(bad)
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for ReplyCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Enhanced status code `class.subject.detail` (RFC 3463 §2): class 2, 4 or 5; subject and detail 0 to 999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedStatusCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedStatusCode {
    /// The code, when class is 2, 4 or 5 and the other parts are below 1000.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        if matches!(class, 2 | 4 | 5) && subject < 1000 && detail < 1000 {
            Some(Self { class, subject, detail })
        } else {
            None
        }
    }

    /// 2 success, 4 persistent transient failure, 5 permanent failure (RFC 3463 §3.1).
    #[must_use]
    pub const fn class_digit(self) -> u8 {
        self.class
    }

    /// What the code is about: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy.
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The precise condition within the subject.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// `x.0.0` says no more than its class digit.
    #[must_use]
    pub const fn is_bare(self) -> bool {
        self.subject == 0 && self.detail == 0
    }
}

impl FromStr for EnhancedStatusCode {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseCodeError {
            text: text.to_owned(),
            expected: "enhanced status code (class.subject.detail, class 2, 4 or 5)",
        };
        let mut parts = text.split('.');
        let mut part = |max_len: usize| -> Option<u16> {
            let p = parts.next()?;
            if p.is_empty() || p.len() > max_len || !p.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            p.parse().ok()
        };
        let (class, subject, detail) = (part(1).ok_or_else(bad)?, part(3).ok_or_else(bad)?, part(3).ok_or_else(bad)?);
        if parts.next().is_some() {
            return Err(bad());
        }
        u8::try_from(class).ok().and_then(|class| Self::new(class, subject, detail)).ok_or_else(bad)
    }
}

impl fmt::Display for EnhancedStatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl Serialize for EnhancedStatusCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a text begins with an enhanced status code or a reply code of class 4 or 5, as the answer of a server that
/// refuses does.
pub(crate) fn begins_with_code(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_status = || bytes.len() >= 5 && bytes[1] == b'.' && status_length(bytes).is_some();
    let is_reply = || {
        let code = text.get(..3).filter(|_| matches!(bytes.get(3), None | Some(b' ' | b'-' | b':' | b'#')));
        code.and_then(|code| code.parse::<ReplyCode>().ok()).is_some_and(ReplyCode::is_in_use)
    };
    matches!(bytes.first(), Some(b'4' | b'5')) && (is_status() || is_reply())
}

/// Length of `d.ddd.ddd` at the start, when it ends there and does not go on as an IP address.
pub(crate) fn status_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let subject = digits(2);
    let detail_at = 2 + subject + 1;
    if !(1..=3).contains(&subject) || bytes.get(detail_at - 1) != Some(&b'.') {
        return None;
    }
    let detail = digits(detail_at);
    let end = detail_at + detail;
    let goes_on = match bytes.get(end) {
        Some(b'.') => bytes.get(end + 1).is_some_and(u8::is_ascii_digit),
        Some(b) => *b == b'_' || (b.is_ascii_lowercase() && detail == 3),
        None => false,
    };
    ((1..=3).contains(&detail) && !goes_on).then_some(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_status_survives_printing(class in prop::sample::select(vec![2u8, 4, 5]), s in 0u16..1000, d in 0u16..1000) {
            let code = EnhancedStatusCode::new(class, s, d).expect("in range");
            prop_assert_eq!(code.to_string().parse(), Ok(code));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            if let Ok(code) = text.parse::<EnhancedStatusCode>() {
                prop_assert!(matches!(code.class_digit(), 2 | 4 | 5));
            }
            if let Ok(code) = text.parse::<ReplyCode>() {
                prop_assert_eq!(code.to_string(), text);
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "5", "5.1", "5.1.1.1", "3.1.1", "5..1", "5.1.1000", "5.1.x", "55.1.1"] {
            assert!(text.parse::<EnhancedStatusCode>().is_err(), "{text}");
        }
        for text in ["", "55", "199", "600", "5500", "5x0"] {
            assert!(text.parse::<ReplyCode>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_begins_with_a_code() {
        for text in ["550 5.1.1 no", "550-no", "4.2.2 full", "5.1.10", "550", "550: no", "550#5.1.0 no"] {
            assert!(begins_with_code(text), "{text}");
        }
        for text in ["", "5", "5.", "5.1", "5500 no", "250 ok", "550.1", "590 no", "2.0.0 ok", "no 550", "550é"] {
            assert!(!begins_with_code(text), "{text}");
        }
    }
}
