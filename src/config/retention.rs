//! `[retention]`: how long what was read is kept. Erases nothing itself.

use std::{fmt, time::Duration};

use jiff::{Span, SpanRelativeTo, fmt::friendly::SpanParser};
use serde::{Deserialize, Deserializer};

use crate::{policy, source::parsed};

/// `[retention]`: each counts from when the message was received; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
    /// What we sent, and to whom; counted from when it was sent.
    #[serde(deserialize_with = "time")]
    pub sent: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { diagnostics: None, bounces: None, messages: None, sent: Some(Duration::from_secs(30 * 24 * 60 * 60)) }
    }
}

impl Retention {
    /// The key of a time that would never come into force, because what it is for is gone before, and what is wrong.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let outlives = |part: Option<Duration>, whole: Option<Duration>| part.zip(whole).is_some_and(|(p, w)| p > w);
        if outlives(self.bounces, self.messages) {
            let problem = "longer than messages, and bounces go with their message; make it as short, or shorter";
            return Some(("bounces", problem));
        }
        if outlives(self.diagnostics, self.bounces.or(self.messages)) {
            return Some(("diagnostics", "longer than what is kept of a bounce; make it as short, or shorter"));
        }
        None
    }

    /// For how long it is known who bounced; `None` for ever.
    #[must_use]
    pub fn of_bounces(&self) -> Option<Duration> {
        self.bounces.into_iter().chain(self.messages).min()
    }
}

/// As `bounced check` prints it.
impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |time: Option<Duration>| {
            let seconds = time.map(|time| time.as_secs().cast_signed());
            seconds.map_or("for ever".to_owned(), |seconds| policy::Span::of_seconds(seconds).to_string())
        };
        let [diagnostics, bounces, messages, sent] =
            [self.diagnostics, self.bounces, self.messages, self.sent].map(told);
        write!(f, "diagnostics {diagnostics}, bounces {bounces}, messages {messages}, what was sent {sent}")
    }
}

/// `90d`, `18 months` is none: months differ.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let expected = "a time above 0 in days or less, such as \"90d\" or \"36h\"";
    parsed(deserializer, expected, |text| days_or_less(text).map(Some))
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
            assert!(error.contains("such as \"90d\""), "{wrong}: {error}");
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
