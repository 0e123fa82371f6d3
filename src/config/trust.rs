//! `[trust]`: how far a bounce must be believed before it puts anybody onto the list, and by what our own mail servers are
//! known. Believes nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    parse::OwnServers,
    policy::{Demand, Demands, is_archive},
    report::Trust,
    source::parsed,
    text::SubmissionHost,
};

/// `[trust]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustSettings {
    /// What a bounce, a complaint or a sign of life must be for it to change the list by itself.
    #[serde(deserialize_with = "level")]
    pub required: Option<Trust>,
    /// From when on, in seconds since 1970-01-01 UTC: whatever was received before that is believed.
    #[serde(deserialize_with = "day")]
    pub since: Option<i64>,
    /// Names by which our own mail servers call themselves; none: what this machine is called.
    pub servers: Vec<String>,
    /// From which nothing comes but what our own programs submit.
    pub submission_hosts: Vec<SubmissionHost>,
    /// Users whose name Exim puts down for a bounce that it makes.
    pub local_users: Vec<String>,
    /// Whether our server hands mail on by LMTP.
    pub skip_lmtp: bool,
    /// What holds for single mailboxes.
    pub mailbox: BTreeMap<String, MailboxTrust>,
}

/// `[trust.mailbox.NAME]`: what is left out is as in `[trust]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailboxTrust {
    /// See [`TrustSettings::required`].
    #[serde(deserialize_with = "level")]
    pub required: Option<Trust>,
    /// See [`TrustSettings::since`].
    #[serde(deserialize_with = "day")]
    pub since: Option<i64>,
}

impl Default for TrustSettings {
    fn default() -> Self {
        let OwnServers { names: servers, submission_hosts, local_users, skip_lmtp, .. } = OwnServers::default();
        let mailbox = BTreeMap::new();
        Self { required: None, since: None, servers, submission_hosts, local_users, skip_lmtp, mailbox }
    }
}

impl TrustSettings {
    /// By what our own servers are known, with the header fields into which they put whom a mail is delivered to.
    #[must_use]
    pub fn own_servers(&self, delivered_to: Vec<String>) -> OwnServers {
        let Self { servers, submission_hosts, local_users, skip_lmtp, .. } = self.clone();
        let names = if servers.is_empty() {
            vec![rustix::system::uname().nodename().to_string_lossy().into_owned()]
        } else {
            servers
        };
        OwnServers { names, submission_hosts, local_users, skip_lmtp, delivered_to }
    }

    /// What is demanded, where some mailboxes are read by the daemon.
    #[must_use]
    pub(super) fn demands(&self, read: impl Fn(&str) -> bool) -> Demands {
        let demand = |required: Option<Trust>, since: Option<i64>| Demand { at_least: required, since };
        let mailboxes = self.mailbox.iter().map(|(name, own)| {
            // Whoever speaks of all mailboxes does not say that the mails of an archive tell their age truly.
            let since = if is_archive(name) && !read(name) { None } else { self.since };
            (name.clone(), demand(own.required.or(self.required), own.since.or(since)))
        });
        let everywhere = demand(self.required, self.since);
        Demands { vouching_since: None, everywhere, mailboxes: mailboxes.collect(), no_archives: BTreeSet::new() }
    }
}

/// `auto`, or a level.
fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Trust>, D::Error> {
    let expected = "\"auto\", or a level in quotation marks such as \"local\"";
    let word = parsed(deserializer, expected, |word| Some(word.to_owned()))?;
    if word == "auto" {
        return Ok(None);
    }
    word.parse().map(Some).map_err(|error| D::Error::custom(format!("{error}, auto")))
}

/// The beginning of a day, in UTC.
fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    // TOML has dates of its own, without quotation marks.
    let expected = "a day in quotation marks such as \"2026-12-01\"";
    let text = parsed(deserializer, expected, |text| Some(text.to_owned()))?;
    let start = text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
    let start =
        start.map_err(|_| D::Error::custom(format!("`{text}` is no day; expected one such as \"2026-12-01\"")))?;
    Ok(Some(start.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TrustSettings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_mailbox_that_says_nothing_is_held_to_what_holds_everywhere() {
        let trust = read(
            "required = \"matched\"\nsince = \"2026-12-01\"\n[mailbox.old]\nrequired = \"unverified\"\n\
             [mailbox.late]\nsince = \"2027-01-01\"\n[mailbox.archive]\n[mailbox.archive-2026]\nsince = \"2027-01-01\"\n\
             [mailbox.archive-box]",
        );
        let demands = trust.unwrap().demands(|name| name == "archive-box");
        let told = |demand: &Demand| (demand.at_least, demand.since);
        let (december, january) = (Some(1_796_083_200), Some(1_798_761_600));
        assert_eq!(told(&demands.everywhere), (Some(Trust::Matched), december));
        assert_eq!(told(&demands.mailboxes["old"]), (Some(Trust::Unverified), december));
        assert_eq!(told(&demands.mailboxes["late"]), (Some(Trust::Matched), january));
        assert_eq!(told(&demands.mailboxes["archive"]), (Some(Trust::Matched), None));
        assert_eq!(told(&demands.mailboxes["archive-2026"]), (Some(Trust::Matched), january));
        assert_eq!(told(&demands.mailboxes["archive-box"]), (Some(Trust::Matched), december));
        assert_eq!(read("required = \"auto\"").unwrap(), TrustSettings::default());
    }

    #[test]
    fn what_is_no_level_no_day_and_no_address_is_refused() {
        for (text, problem) in [
            ("required = \"high\"", "expected one of: unverified, local, matched, verified, auto"),
            ("since = \"tomorrow\"", "`tomorrow` is no day; expected one such as \"2026-12-01\""),
            ("since = 2026-12-01", "expected a day in quotation marks such as \"2026-12-01\""),
            ("required = 1", "expected \"auto\", or a level in quotation marks"),
            ("submission_hosts = [\"192.0.2\"]", "expected an address (192.0.2.1), a network"),
            ("[mailbox.a]\nrequired = \"some\"", "expected one of"),
            ("[mailbox.a]\ntrust = \"local\"", "unknown field `trust`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_server_that_nobody_names_is_called_as_its_machine() {
        assert_eq!(TrustSettings::default().own_servers(Vec::new()).names.len(), 1);
        assert_eq!(read("servers = [\"a.example\"]").unwrap().own_servers(Vec::new()).names, ["a.example"]);
    }
}
