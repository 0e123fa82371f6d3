//! Which part of the suppression list is asked for.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::{SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};

use crate::{
    cli::addresses::{domain, or_domain},
    clock::now,
    codes::Reason,
    store::ListSelection,
    suppression::Origin,
};

/// What is said together has to fit together.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which of them")]
pub(super) struct Filters {
    /// Those of this domain.
    #[arg(long, value_parser = domain)]
    domain: Option<String>,
    /// Those that came onto the list in this way.
    #[arg(long, value_parser = one_of::<Origin>(Origin::ALL.iter().map(|origin| origin.as_str())))]
    origin: Option<Origin>,
    /// Those with this reason, as `user_unknown`.
    #[arg(long, hide_possible_values = true, value_parser = one_of::<Reason>(Reason::ALL.iter().map(|reason| reason.as_str())))]
    reason: Option<Reason>,
    /// Those on the list since then or later: a date, a time such as 2026-11-01T12:00:00Z, or how long ago, as 30d.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<i64>,
    /// Those whose time is over within this time, as 7d.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expiring: Option<i64>,
    /// At most so many, in the order of the addresses.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Those behind this address: with --limit the page behind the one that ended with it.
    #[arg(long, value_name = "ADDRESS", value_parser = normalised)]
    after: Option<String>,
}

impl Filters {
    pub(super) fn selection(&self) -> ListSelection {
        ListSelection {
            domain: self.domain.clone(),
            origin: self.origin,
            reason: self.reason,
            since: self.since,
            expiring: self.expiring.map(|within| now() + within),
            after: self.after.clone(),
            limit: self.limit,
        }
    }
}

/// A word of a fixed set.
fn one_of<T>(words: impl Iterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words.collect::<Vec<_>>()).try_map(|word| word.parse::<T>())
}

fn normalised(text: &str) -> Result<String, String> {
    or_domain(text).map(|address| address.normalised().to_owned())
}

/// How long, in seconds; a day has 24 hours.
fn seconds(text: &str) -> Result<i64, String> {
    let span = text.parse::<jiff::Span>().ok();
    let length = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let length = length.map(|length| length.as_secs()).filter(|seconds| *seconds >= 0);
    length.ok_or_else(|| "expected a time such as 12h or 30d".to_owned())
}

/// A moment, in seconds since 1970-01-01 UTC.
pub(in crate::cli) fn when(text: &str) -> Result<i64, String> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|begins| begins.timestamp());
    if let Some(moment) = text.parse::<Timestamp>().ok().or_else(day) {
        return Ok(moment.as_second());
    }
    let wrong = |_| "expected a date such as 2026-11-01, a time such as 2026-11-01T12:00:00Z, or 30d".to_owned();
    seconds(text).map(|ago| now() - ago).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_how_long_ago() {
        assert_eq!(when("2026-01-01"), Ok(1_767_225_600));
        assert_eq!(when("2026-01-01T02:00:00+02:00"), Ok(1_767_225_600));
        let week = when("7d").unwrap();
        assert!((now() - 7 * 86_400 - week).abs() < 5, "{week}");
        for text in ["yesterday", "-7d", "2026-13-01", "1 month", ""] {
            assert!(when(text).is_err(), "{text}");
        }
        assert_eq!((seconds("90m"), seconds("2w")), (Ok(5_400), Ok(1_209_600)));
    }
}
