//! `30d`, `24h`, `90m` -> a length of time, and the words that people read. Knows no clock.

use std::{fmt, str::FromStr};

use serde::{Deserialize, de};

use crate::text::count;

/// A length of time, in whole seconds; longer than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

const MINUTE: i64 = 60;
/// In seconds.
pub const HOUR: i64 = 60 * MINUTE;
/// In seconds.
pub const DAY: i64 = 24 * HOUR;

/// A hundred years: what is to last longer lasts for ever.
const LONGEST: i64 = 36_525 * DAY;

/// How it is written.
const EXPECTED: &str = "days, hours or minutes, as \"30d\", \"24h\", \"90m\"";

impl Span {
    /// So many days.
    #[must_use]
    pub const fn days(days: u32) -> Self {
        Self(days as i64 * DAY)
    }

    /// So many seconds, of which there are some.
    #[must_use]
    pub const fn of_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no length of time; expected {EXPECTED}");
        let units = [('d', DAY), ('h', HOUR), ('m', MINUTE)];
        let (number, unit) = units
            .iter()
            .find_map(|&(letter, unit)| Some((text.strip_suffix(letter)?, unit)))
            .filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(refuse)?;
        let seconds = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(refuse)?;
        match seconds {
            0 => Err(format!("`{text}` is no time at all; expected {EXPECTED}")),
            ..=LONGEST => Ok(Self(seconds)),
            _ => Err(format!("`{text}` is longer than a hundred years; expected {EXPECTED}")),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl de::Visitor<'_> for Written {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Written)
    }
}

/// `30 days`, `24 hours`, `90 minutes`: a single day is told in hours.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            seconds if seconds % DAY == 0 && seconds > DAY => (DAY, "day"),
            seconds if seconds % HOUR == 0 => (HOUR, "hour"),
            _ => (MINUTE, "minute"),
        };
        f.write_str(&count((self.0 / unit).unsigned_abs(), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_told() {
        for (text, seconds, told) in [
            ("30d", 2_592_000, "30 days"),
            ("1d", 86_400, "24 hours"),
            ("24h", 86_400, "24 hours"),
            ("48h", 172_800, "2 days"),
            ("1h", 3_600, "1 hour"),
            ("90m", 5_400, "90 minutes"),
            ("36525d", LONGEST, "36,525 days"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.seconds(), span.to_string().as_str()), (seconds, told), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for (text, problem) in [
            ("30", "is no length of time"),
            ("d", "is no length of time"),
            ("30 d", "is no length of time"),
            ("-1d", "is no length of time"),
            ("+1d", "is no length of time"),
            ("1w", "is no length of time"),
            ("", "is no length of time"),
            ("99999999999999999999d", "is no length of time"),
            ("9223372036854775807d", "is no length of time"),
            ("0h", "is no time at all"),
            ("36526d", "is longer than a hundred years"),
        ] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
