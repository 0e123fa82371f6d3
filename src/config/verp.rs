//! `[verp]`: whose envelope senders are signed, and where bounces to them are found. Reads no key.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::retention::days_or_less;
use crate::{
    parse,
    source::parsed,
    text::Address,
    verp::{Delimiter, Form},
};

/// `[verp]`: signed envelope senders.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verp {
    /// The file with the keys; `None` where nothing is signed.
    pub keys: Option<PathBuf>,
    /// The address that takes the bounces.
    #[serde(deserialize_with = "address")]
    pub address: Option<Address>,
    /// What stands between its local part and the token.
    pub delimiter: Delimiter,
    /// How long after it was signed a token counts: whole days.
    #[serde(deserialize_with = "time")]
    pub valid: Duration,
    /// The header fields in which our own server puts down to which address it has delivered.
    pub delivered_to: Vec<String>,
}

const DAY: u64 = 24 * 60 * 60;

impl Default for Verp {
    fn default() -> Self {
        Self {
            keys: None,
            address: None,
            delimiter: Delimiter::Plus,
            // A queue gives up after five days, a second one behind it after five more; some answer weeks later.
            valid: Duration::from_secs(30 * DAY),
            delivered_to: parse::OwnServers::default().delivered_to,
        }
    }
}

impl Verp {
    /// How many days a token counts.
    #[must_use]
    pub const fn valid_days(&self) -> i64 {
        (self.valid.as_secs() / DAY).cast_signed()
    }

    /// Where signed bounces come to.
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        Form::new(self.address.as_ref()?, self.delimiter)
    }

    /// Refuses what can never work, in one line with what to do.
    pub(super) fn contradiction(&self) -> Option<String> {
        if let Some(address) = self.address.as_ref().filter(|_| self.form().is_none()) {
            return Some(format!(
                "address {}: no token fits behind its local part; take one in ASCII, without quotes, of at most {} octets",
                address.given(),
                Form::LONGEST_PREFIX
            ));
        }
        let is_field = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if let Some(name) = self.delivered_to.iter().find(|name| !is_field(name)) {
            return Some(format!("delivered_to: {name:?} is no name of a header field"));
        }
        let what = match (&self.keys, &self.address) {
            (Some(_), None) => "keys is given and address is not: name the address that takes the bounces",
            (None, Some(_)) => {
                "address is given and keys is not: name the file of the keys; `bounced verp keygen` makes it"
            }
            (Some(_), Some(_)) if self.delivered_to.is_empty() => {
                "delivered_to is empty: name the header field in which your server puts down whom a mail came to"
            }
            _ => return None,
        };
        Some(what.to_owned())
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    parsed(deserializer, "a mail address, such as \"bounce@news.example\"", |text| Address::parse(text).map(Some))
}

/// Days are what a token counts in.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let is_whole = |time: &Duration| time.as_secs().is_multiple_of(DAY);
    parsed(deserializer, "whole days, such as \"30d\"", |text| days_or_less(text).filter(is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_and_an_address_to_which_a_token_can_be_added_are_asked_for() {
        let read = |text: &str| toml::from_str::<Verp>(text).map_err(|error| error.to_string());
        let verp = read("valid = \"48h\"\ndelimiter = \"-\"\naddress = \"Bounce@News.example\"").unwrap();
        let form = Form { prefix: "bounce".into(), delimiter: Delimiter::Hyphen, domain: "news.example".into() };
        assert_eq!((verp.valid_days(), verp.form()), (2, Some(form)));
        assert_eq!((Verp::default().valid_days(), Verp::default().form()), (30, None));
        for wrong in ["36h", "0d", "1 month", "30"] {
            assert!(read(&format!("valid = \"{wrong}\"")).unwrap_err().contains("such as \"30d\""), "{wrong}");
        }
        assert!(read("address = \"bounce\"").unwrap_err().contains("such as \"bounce@news.example\""));
        assert!(read("delimiter = \"=\"").unwrap_err().contains("delimiter"));
    }

    #[test]
    fn what_can_never_work_is_refused() {
        let both = "keys = \"keys\"\naddress = \"bounce@news.example\"\n";
        let long = format!("address = \"{}@news.example\"", "b".repeat(40));
        for (text, expected) in [
            ("", ""),
            (both, ""),
            ("keys = \"keys\"", "keys is given and address is not"),
            ("address = \"bounce@news.example\"", "address is given and keys is not"),
            (&format!("{both}delivered_to = []"), "delivered_to is empty"),
            ("delivered_to = []", ""),
            (&format!("{both}delivered_to = [\"Delivered-To:\"]"), "delivered_to: \"Delivered-To:\" is no name"),
            (&format!("{both}delivered_to = [\"\"]"), "delivered_to: \"\" is no name"),
            (&long, "address bbbb"),
            ("keys = \"keys\"\naddress = '\"b b\"@news.example'", "address \"b b\"@news.example: no token fits"),
        ] {
            let problem = toml::from_str::<Verp>(text).unwrap().contradiction().unwrap_or_default();
            assert!(problem.starts_with(expected) && problem.is_empty() == expected.is_empty(), "{text}: {problem}");
        }
    }
}
