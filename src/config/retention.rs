//! `[retention]`: how long what was read is kept. Erases nothing itself.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, fmt::friendly::SpanParser};
use serde::{Deserialize, Deserializer, de::Error};

/// `[retention]`: each counts from when the message was received; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// What others wrote about a bounce or a complaint: the words of mail servers and of mails.
    #[serde(deserialize_with = "time")]
    pub diagnostics: Option<Duration>,
    /// Who bounced and who complained, with all that is known of it.
    #[serde(deserialize_with = "time")]
    pub bounces: Option<Duration>,
    /// That there was a message, with its bounces and complaints.
    #[serde(deserialize_with = "time")]
    pub messages: Option<Duration>,
}

impl Retention {
    /// Refuses times that would never come into force, because what they are for is gone before.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let outlives = |part: Option<Duration>, whole: Option<Duration>| part.zip(whole).is_some_and(|(p, w)| p > w);
        if outlives(self.bounces, self.messages) {
            return Some(
                "bounces is longer than messages, and bounces go with their message; make it as short, or shorter",
            );
        }
        if outlives(self.diagnostics, self.bounces.or(self.messages)) {
            return Some("diagnostics is longer than what is kept of a bounce; make it as short, or shorter");
        }
        None
    }

    /// Whether anything is ever erased.
    #[must_use]
    pub fn is_for_ever(&self) -> bool {
        *self == Self::default()
    }
}

/// `90d`, `18 months` is none: months differ.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let time = days_or_less(&String::deserialize(deserializer)?);
    time.map(Some).ok_or_else(|| D::Error::custom("expected a time above 0 in days or less, such as 90d or 36h"))
}

/// A time above 0.
pub(super) fn days_or_less(text: &str) -> Option<Duration> {
    let days = |span: Span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
    let time = SpanParser::new().parse_span(text).ok().and_then(days).and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_and_less_and_none_outlives_what_it_belongs_to() {
        let read = |text: &str| toml::from_str::<Retention>(text).map_err(|error| error.to_string());
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!(read("bounces = \"90d\"").unwrap(), Retention { bounces: days(90), ..Retention::default() });
        assert_eq!(read("diagnostics = \"48h\"").unwrap().diagnostics, days(2));
        for wrong in ["0d", "-3d", "2 months", "1y", "90", "", "for ever"] {
            let error = read(&format!("messages = \"{wrong}\"")).unwrap_err();
            assert!(error.contains("such as 90d"), "{wrong}: {error}");
        }
        for (text, is_wrong) in [
            ("bounces = \"90d\"\nmessages = \"90d\"\ndiagnostics = \"90d\"", false),
            ("bounces = \"90d\"\nmessages = \"89d\"", true),
            ("diagnostics = \"91d\"\nbounces = \"90d\"", true),
            ("diagnostics = \"91d\"\nmessages = \"90d\"", true),
            ("diagnostics = \"91d\"\nbounces = \"92d\"\nmessages = \"93d\"", false),
        ] {
            assert_eq!(read(text).unwrap().contradiction().is_some(), is_wrong, "{text}");
        }
    }
}
