//! A recipient -> what a store keeps of it beside its columns, as JSON, and back: enough to judge it again by other
//! tables. Knows nothing of SQL and of what a verdict is.

use std::{borrow::Cow, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Action, Address, Evidence, Excerpt, Finding, Location, Recipient, evidence::StoredPiece};

/// In octets; a report whose words need more is not kept, and keeps the verdict that it got.
const LONGEST: usize = 16 * 1024;

/// A recipient as a store has it.
#[derive(Debug, Clone, Copy)]
pub struct StoredRecipient<'a> {
    /// What became of the message.
    pub action: Action,
    /// As the mail wrote it.
    pub address_given: Option<&'a str>,
    /// Whether that is an address as it stands.
    pub is_address: bool,
    /// The words of the refusing server.
    pub diagnostic: Option<&'a str>,
    /// The server that refused.
    pub remote_mta: Option<&'a str>,
    /// The other mailbox that the report speaks of.
    pub forwarded_to: Option<&'a str>,
    /// What [`Recipient::to_store`] made of it.
    pub evidence: &'a str,
}

/// What no column holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ours: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refuses_sender: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    status_is_made_up: bool,
    /// Where its domain is another one than that of the address.
    #[serde(rename = "final", default, skip_serializing_if = "Option::is_none")]
    final_recipient: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<Code<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replies: Vec<Code<'a>>,
    /// Where the pieces of the diagnostic stood, whose text is a column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    diagnostic: Vec<StoredPiece<'a>>,
    /// The text around it, where it is another one. Where there are several, the diagnostic stands between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    text: Vec<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<StoredPiece<'a>>,
    /// What says that delivery is still tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trying: Option<StoredEvidence<'a>>,
}

/// A code and where it stood.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Code<'a> {
    /// At this octet of the diagnostic.
    InDiagnostic(Cow<'a, str>, usize),
    /// At this octet of the text around it.
    InText(Cow<'a, str>, (), usize),
    /// Alone in such a place, in this line.
    Alone(Cow<'a, str>, Cow<'a, str>, Option<u32>),
    /// Among these words.
    Among(Cow<'a, str>, Cow<'a, str>, Option<u32>, Cow<'a, str>),
}

/// A place, its line, and the words that stand there.
#[derive(Debug, Serialize, Deserialize)]
struct StoredEvidence<'a>(Cow<'a, str>, Option<u32>, Cow<'a, str>);

impl<'a> StoredEvidence<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        Self(evidence.location.to_string().into(), evidence.line, evidence.words.as_str().into())
    }

    fn evidence(self) -> Evidence {
        let Self(location, line, words) = self;
        Evidence { location: Location::named(&location), range: 0..words.len(), line, words: words.into_owned() }
    }
}

impl<'a> Code<'a> {
    fn of<T: ToString>(finding: &'a Finding<T>, diagnostic: &Excerpt, text: &Excerpt) -> Self {
        let code = finding.value.to_string();
        let found_in = |excerpt: &Excerpt| {
            let mut places = excerpt.as_str().match_indices(&code).map(|(at, _)| at);
            places.find(|&at| excerpt.evidence(at..at + code.len()).is_alike(&finding.evidence))
        };
        if let Some(at) = found_in(diagnostic) {
            return Self::InDiagnostic(code.into(), at);
        }
        if let Some(at) = found_in(text) {
            return Self::InText(code.into(), (), at);
        }
        let StoredEvidence(location, line, words) = StoredEvidence::of(&finding.evidence);
        if words == code { Self::Alone(words, location, line) } else { Self::Among(code.into(), location, line, words) }
    }

    /// `None` where it is no such code, or stood in another text.
    fn finding<T: FromStr>(self, diagnostic: &Excerpt, text: &Excerpt) -> Option<Finding<T>> {
        let at = |excerpt: &Excerpt, code: &str, at: usize| {
            excerpt.as_str().get(at..).filter(|rest| rest.starts_with(code))?;
            Some(excerpt.evidence(at..at + code.len()))
        };
        let (evidence, code) = match self {
            Self::InDiagnostic(code, octet) => (at(diagnostic, &code, octet)?, code),
            Self::InText(code, (), octet) => (at(text, &code, octet)?, code),
            Self::Alone(code, location, line) => (StoredEvidence(location, line, code.clone()).evidence(), code),
            Self::Among(code, location, line, words) => (StoredEvidence(location, line, words).evidence(), code),
        };
        Some(Finding { value: code.parse().ok()?, evidence })
    }
}

impl Recipient {
    /// What has to be kept beside the columns for the same verdict once more; `None` where no table has a say in it, and
    /// where it would be too long.
    #[must_use]
    pub fn to_store(&self) -> Option<String> {
        match self.action {
            Action::Failed | Action::Delayed => {}
            Action::Delivered | Action::Relayed | Action::Expanded => return None,
        }
        let none = Excerpt::default();
        let diagnostic = self.diagnostic.as_ref().unwrap_or(&none);
        // The same words once more would be nothing new.
        let around = Some(self.text.on_one_line()).filter(|text| text.as_str() != diagnostic.as_str());
        let around = around.unwrap_or_default();
        let domain = |address: &str| address.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let given = self.address_given().and_then(domain);
        let says_more = |address: &&str| domain(address).is_some_and(|domain| Some(domain) != given);
        let text = match around.as_str().split_once(diagnostic.as_str()).filter(|_| !diagnostic.is_empty()) {
            Some((before, behind)) => vec![before.into(), behind.into()],
            None => Some(around.as_str()).filter(|text| !text.is_empty()).map(Cow::from).into_iter().collect(),
        };
        let stored = Stored {
            ours: self.is_ours,
            refuses_sender: self.refuses_sender,
            status_is_made_up: self.status_is_made_up,
            final_recipient: self.final_recipient.as_deref().filter(says_more).map(Cow::from),
            statuses: self.statuses.iter().map(|status| Code::of(status, diagnostic, &around)).collect(),
            replies: self.replies.iter().map(|reply| Code::of(reply, diagnostic, &around)).collect(),
            diagnostic: diagnostic.to_store(),
            text,
            pieces: around.to_store(),
            trying: self.action_because.as_ref().filter(|_| self.action == Action::Delayed).map(StoredEvidence::of),
        };
        let json = serde_json::to_string(&stored).expect("its keys are texts");
        Some(json).filter(|json| json.len() <= LONGEST)
    }
}

impl StoredRecipient<'_> {
    /// The recipient, as far as a verdict depends on it; `None` where that is not what was stored, because somebody
    /// took the words of the server away, for instance.
    #[must_use]
    pub fn recipient(&self) -> Option<Recipient> {
        let stored: Stored<'_> = serde_json::from_str(self.evidence).ok()?;
        let address = self.address_given.filter(|_| self.is_address).map(Address::parse);
        if address == Some(None) {
            return None;
        }
        let said = self.diagnostic.unwrap_or_default();
        let diagnostic = Excerpt::from_store(said.to_owned(), &stored.diagnostic)?;
        let around = Excerpt::from_store(stored.text.join(said), &stored.pieces)?;
        let statuses: Option<_> = stored.statuses.into_iter().map(|code| code.finding(&diagnostic, &around)).collect();
        let replies: Option<_> = stored.replies.into_iter().map(|code| code.finding(&diagnostic, &around)).collect();
        Some(Recipient {
            original_recipient: self.address_given.filter(|_| address.is_none()).map(str::to_owned),
            address: address.flatten(),
            is_ours: stored.ours,
            refuses_sender: stored.refuses_sender,
            status_is_made_up: stored.status_is_made_up,
            final_recipient: stored.final_recipient.map(Cow::into_owned),
            forwarded_to: self.forwarded_to.map(str::to_owned),
            action: self.action,
            action_because: stored.trying.map(StoredEvidence::evidence),
            statuses: statuses?,
            replies: replies?,
            remote_mta: self.remote_mta.map(str::to_owned),
            text: if around.is_empty() { diagnostic.clone() } else { around },
            diagnostic: self.diagnostic.map(|_| diagnostic),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient() -> Recipient {
        let mut diagnostic = Excerpt::default();
        diagnostic.push(&Location::Field("Diagnostic-Code".into()), "550 5.1.1 no such user", 6, Some(20));
        let mut text = Excerpt::default();
        text.push(&Location::TextPart, "Sorry.\n", 0, Some(4));
        text.push(&Location::TextPart, "5.7.1 and 550 5.1.1 no such user", 7, Some(5));
        let code = |value: &str, evidence| Finding { value: value.parse().unwrap(), evidence };
        Recipient {
            address: Address::parse("Bob@a.example"),
            final_recipient: Some("rfc822;bob@b.example".to_owned()),
            statuses: vec![code("5.1.1", diagnostic.evidence(4..9)), code("5.7.1", text.evidence(7..12))],
            replies: vec![Finding { value: "550".parse().unwrap(), evidence: Evidence::of_structure("by two") }],
            diagnostic: Some(diagnostic),
            text,
            ..Recipient::default()
        }
    }

    fn stored<'a>(evidence: &'a str, diagnostic: Option<&'a str>) -> StoredRecipient<'a> {
        StoredRecipient {
            action: Action::Failed,
            address_given: Some("Bob@a.example"),
            is_address: true,
            diagnostic,
            remote_mta: None,
            forwarded_to: None,
            evidence,
        }
    }

    /// What stands in databases of users: another form needs another reader.
    #[test]
    fn evidence_is_kept_in_this_form() {
        let evidence = recipient().to_store().unwrap();
        assert_eq!(
            evidence,
            r#"{"final":"rfc822;bob@b.example","statuses":[["5.1.1",4],["5.7.1",null,7]],"replies":[["550","whole mail",null,"by two"]],"diagnostic":[[0,20,"Diagnostic-Code"]],"text":["Sorry. 5.7.1 and ",""],"pieces":[[0,4,"text part"],[7,5]]}"#
        );
        let again = stored(&evidence, Some("550 5.1.1 no such user")).recipient().unwrap();
        assert_eq!(again.to_store().unwrap(), evidence);
        assert_eq!(again.text.as_str(), "Sorry. 5.7.1 and 550 5.1.1 no such user");
        assert_eq!(again.statuses[1].evidence.line, Some(5));
    }

    #[test]
    fn what_was_taken_away_is_not_judged_again() {
        let evidence = recipient().to_store().unwrap();
        for diagnostic in [None, Some(""), Some("550")] {
            assert!(stored(&evidence, diagnostic).recipient().is_none(), "{diagnostic:?}");
        }
        for damaged in ["", "{", "{\"colour\":1}", &evidence.replace("5.1.1", "5.1")] {
            assert!(stored(damaged, Some("550 5.1.1 no such user")).recipient().is_none(), "{damaged}");
        }
    }

    #[test]
    fn who_did_not_fail_and_who_needs_too_many_words_is_not_kept() {
        let delivered = Recipient { action: Action::Delivered, ..recipient() };
        assert_eq!(delivered.to_store(), None);
        let words = "word ".repeat(LONGEST / 5);
        assert_eq!(Recipient { text: words.as_str().into(), ..recipient() }.to_store(), None);
    }
}
