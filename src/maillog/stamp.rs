//! The time at the start of a log line: RFC 3339, syslog's without a year (RFC 3164 §4.1.2), and Exim's.

use jiff::{civil::DateTime, tz::TimeZone};

const DAY: i64 = 24 * 60 * 60;

/// Reads times, and remembers the last one: thousands of lines have the same.
#[derive(Debug)]
pub(super) struct Stamps {
    zone: TimeZone,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    text: String,
    /// The year of a time without one depends on it, and it stands still for a while.
    now: i64,
    at: i64,
}

/// How long `now` may move before a time without a year is read anew.
const FRESH: i64 = 600;

impl Stamps {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, last: None }
    }

    /// The time, in seconds since 1970-01-01 UTC, and what stands behind it and a blank. What lies in the future by more
    /// than a day is said to be `now`: somebody's clock was wrong.
    pub(super) fn take<'l>(&mut self, line: &'l str, now: i64) -> Option<(i64, &'l str)> {
        let length = extent(line)?;
        let (text, rest) = line.split_at_checked(length)?;
        let rest = rest.strip_prefix(' ')?;
        if let Some(last) = &self.last
            && last.text == text
            && (now - last.now).abs() < FRESH
        {
            return Some((last.at, rest));
        }
        let at = read(text, &self.zone, now)?;
        let at = if at > now.saturating_add(DAY) { now } else { at };
        match &mut self.last {
            Some(last) => {
                text.clone_into(&mut last.text);
                (last.now, last.at) = (now, at);
            }
            None => self.last = Some(Last { text: text.to_owned(), now, at }),
        }
        Some((at, rest))
    }
}

/// How many octets of a line are its time.
fn extent(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    if bytes.first()?.is_ascii_alphabetic() {
        return (bytes.get(3) == Some(&b' ') && bytes.get(9) == Some(&b':')).then_some("Nov 26 16:41:21".len());
    }
    match bytes.get("2026-11-26".len())? {
        b'T' => line.find(' '),
        b' ' => {
            let bare = "2026-11-26 ".len() + line.get("2026-11-26 ".len()..)?.find(' ')?;
            // `log_timezone` of Exim.
            let zone = line.get(bare + 1..bare + 1 + "+0100".len());
            let is_zone =
                |zone: &str| zone.starts_with(['+', '-']) && zone[1..].bytes().all(|digit| digit.is_ascii_digit());
            Some(if zone.is_some_and(is_zone) { bare + 1 + "+0100".len() } else { bare })
        }
        _ => None,
    }
}

fn number<N: std::str::FromStr>(text: &str, from: usize, length: usize) -> Option<N> {
    // `+1` would be a number, too.
    text.get(from..from + length).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

fn clock(text: &str) -> Option<(i8, i8, i8)> {
    let has_colons = text.as_bytes().get(2) == Some(&b':') && text.as_bytes().get(5) == Some(&b':');
    let second: i8 = number(text, 6, 2)?;
    // A leap second.
    has_colons.then_some((number(text, 0, 2)?, number(text, 3, 2)?, second.min(59)))
}

fn read(text: &str, zone: &TimeZone, now: i64) -> Option<i64> {
    if text.as_bytes().first()?.is_ascii_alphabetic() {
        return read_without_year(text, zone, now);
    }
    let (hour, minute, second) = clock(text.get(11..)?)?;
    let bytes = text.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(text, 0, 4)?, number(text, 5, 2)?, number(text, 8, 2)?);
    let civil = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let behind = text.get(19..)?;
    let behind = behind.strip_prefix('.').map_or(behind, |more| more.trim_start_matches(|c: char| c.is_ascii_digit()));
    match behind.trim_start() {
        "" if bytes[10] == b' ' => at(civil, zone),
        "Z" => at(civil, &TimeZone::UTC),
        offset => {
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            let digits = offset.strip_prefix(['+', '-'])?;
            let hours: i64 = number(digits, 0, 2)?;
            let minutes: i64 = number(digits.get(2..)?.trim_start_matches(':'), 0, 2)?;
            Some(at(civil, &TimeZone::UTC)? - sign * (hours * 60 + minutes) * 60)
        }
    }
}

/// `Nov 26 16:41:21`: the last time that it was so and a day.
fn read_without_year(text: &str, zone: &TimeZone, now: i64) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = i8::try_from(MONTHS.iter().position(|name| text.get(..3) == Some(name))? + 1).ok()?;
    let day = text.get(4..6)?.trim_start();
    let day = number(day, 0, day.len())?;
    let (hour, minute, second) = clock(text.get(7..)?)?;
    let latest = now.saturating_add(DAY);
    let this_year = jiff::Timestamp::from_second(latest).ok()?.to_zoned(zone.clone()).year();
    // The 29th of February is not there in each.
    (this_year - 8..=this_year)
        .rev()
        .filter_map(|year| at(DateTime::new(year, month, day, hour, minute, second, 0).ok()?, zone))
        .find(|at| *at <= latest)
}

fn at(civil: DateTime, zone: &TimeZone) -> Option<i64> {
    Some(zone.to_ambiguous_zoned(civil).compatible().ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in(zone: &str, line: &str, now: &str) -> Option<(String, String)> {
        let zone = TimeZone::get(zone).expect("the zone is known");
        let now: jiff::Timestamp = now.parse().expect("a time");
        let (at, rest) = Stamps::new(zone).take(line, now.as_second()).map(|(at, rest)| (at, rest.to_owned()))?;
        Some((jiff::Timestamp::from_second(at).expect("in range").to_string(), rest))
    }

    #[test]
    fn every_form_of_time_is_read() {
        for (line, at) in [
            ("2026-11-26T16:41:21+00:00 mx x", "2026-11-26T16:41:21Z"),
            ("2026-11-26T16:41:21.123456+01:00 mx x", "2026-11-26T15:41:21Z"),
            ("2026-11-26T16:41:21Z mx x", "2026-11-26T16:41:21Z"),
            ("2026-11-26T16:41:21-0330 mx x", "2026-11-26T20:11:21Z"),
            ("2026-11-26T23:59:60Z mx x", "2026-11-26T23:59:59Z"),
            ("Nov 26 16:41:21 mx x", "2026-11-26T15:41:21Z"),
            ("Nov  6 16:41:21 mx x", "2026-11-06T15:41:21Z"),
            ("Jul 26 16:41:21 mx x", "2026-07-26T14:41:21Z"),
            // Next year's, or last year's: a log from before.
            ("Dec 31 23:59:59 mx x", "2025-12-31T22:59:59Z"),
            ("Nov 27 12:00:00 mx x", "2026-11-27T11:00:00Z"),
            ("Feb 29 12:00:00 mx x", "2024-02-29T11:00:00Z"),
            ("2026-11-26 16:41:21 mx x", "2026-11-26T15:41:21Z"),
            ("2026-11-26 16:41:21.123 mx x", "2026-11-26T15:41:21Z"),
            ("2026-11-26 16:41:21 +0300 mx x", "2026-11-26T13:41:21Z"),
            ("2026-11-26 16:41:21.123 -0100 mx x", "2026-11-26T17:41:21Z"),
            // The hour that there is twice, and the one that there is not.
            ("2026-10-25 02:30:00 mx x", "2026-10-25T00:30:00Z"),
            ("2026-03-29 02:30:00 mx x", "2026-03-29T01:30:00Z"),
            // A clock that was wrong.
            ("2036-11-26T16:41:21Z mx x", "2026-11-26T17:00:00Z"),
        ] {
            let expected = Some((at.to_owned(), "mx x".to_owned()));
            assert_eq!(read_in("Europe/Berlin", line, "2026-11-26T17:00:00Z"), expected, "{line}");
        }
    }

    #[test]
    fn other_texts_are_no_time() {
        for line in [
            "",
            "x",
            "Nov",
            "Nov 26",
            "Nov 26 16:41:21",
            "Nov 36 16:41:21 mx",
            "Nox 26 16:41:21 mx",
            "Nov 26 16:61:21 mx",
            "Nov 26 16x41:21 mx",
            "2026-11-26",
            "2026-11-26T16:41:21 mx",
            "2026-13-26 16:41:21 mx",
            "2026-11-26 +6:41:21 mx",
            "2026x11-26T16:41:21Z mx",
            "2026-11-26Tx mx",
            "é026-11-26T16:41:21Z mx",
            "Nov é6 16:41:21 mx",
        ] {
            assert_eq!(read_in("UTC", line, "2026-11-26T17:00:00Z"), None, "{line}");
        }
    }

    #[test]
    fn the_year_does_not_stand_still() {
        let mut stamps = Stamps::new(TimeZone::UTC);
        let now = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_second();
        let line = "Jan  1 00:00:10 mx";
        let read = stamps.take(line, now("2026-01-01T00:00:20Z")).map(|(at, _)| at);
        assert_eq!(read, Some(now("2026-01-01T00:00:10Z")));
        let read = stamps.take(line, now("2027-01-01T00:00:20Z")).map(|(at, _)| at);
        assert_eq!(read, Some(now("2027-01-01T00:00:10Z")));
    }
}
