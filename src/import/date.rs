//! Dates as programs write them -> seconds since 1970-01-01 UTC.

use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};

/// Above this a number counts milliseconds: as seconds it would be the year 5138.
const MILLISECONDS: i64 = 100_000_000_000;

/// `None` where it can't be read. What names no zone is UTC, as the exports are that name none.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let whole: i64 = text.split('.').next()?.parse().ok()?;
        return Some(if whole >= MILLISECONDS { whole / 1000 } else { whole }).filter(|seconds| *seconds > 0);
    }
    // `2011-10-21 11:02:55 UTC`, and Go's `2011-10-21 11:02:55.5 +0000 UTC`
    let (bare, is_utc) = ["UTC", "GMT"]
        .iter()
        .find_map(|zone| text.strip_suffix(zone))
        .map_or((text, false), |bare| (bare.trim_end(), true));
    let timestamp = || {
        let joined = match bare.rsplit_once(' ') {
            Some((moment, zone)) if zone.starts_with(['+', '-']) => [moment, zone].concat(),
            _ => bare.to_owned(),
        };
        joined.parse::<Timestamp>().ok()
    };
    let civil = || TimeZone::UTC.to_timestamp(bare.parse::<DateTime>().ok()?).ok();
    let mail = || {
        let zoned = if is_utc { [bare, " +0000"].concat() } else { bare.to_owned() };
        Some(rfc2822::parse(&zoned).ok()?.timestamp())
    };
    let found = timestamp().or_else(civil).or_else(mail)?.as_second();
    Some(found).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_the_exports_write_them() {
        const MOMENT: i64 = 1_319_194_975;
        for text in [
            "1319194975",
            "1319194975.250",
            "1319194975250",
            "2011-10-21T11:02:55Z",
            "2011-10-21T11:02:55.25+00:00",
            "2011-10-21T13:02:55+02:00",
            "2011-10-21 13:02:55+02",
            "2011-10-21 11:02:55",
            "2011-10-21 11:02:55 UTC",
            "2011-10-21 11:02:55.25 +0000 UTC",
            "Fri, 21 Oct 2011 11:02:55 UTC",
            "Fri, 21 Oct 2011 11:02:55 GMT",
            "Fri, 21 Oct 2011 13:02:55 +0200",
        ] {
            assert_eq!(seconds(text), Some(MOMENT), "{text}");
        }
        assert_eq!(seconds("2011-10-21"), Some(1_319_155_200));
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in
            ["", "yesterday", "10/21/2011", "2011-13-01", "0", "-5", "99999999999999999999", "0000-00-00 00:00:00"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
