//! One mail that is shown to a person -> how far it can be believed and what vouches for it, as far as the keys and the
//! database of this machine tell. Changes nothing.

use std::collections::HashSet;

use serde::Serialize;

use super::{HandedOver, Judge, Signer};
use crate::{
    config::Config,
    message::{Disposition, Message},
    report::{Address, Report, Trust, Trusts, Verdict},
    store::{JudgedMessage, Store},
};

/// What can vouch for a mail.
#[derive(Debug)]
pub struct Witnesses {
    judge: Judge,
    store: Option<Store>,
    /// Why what came to signed envelope senders, or what was sent, can't be known; a line for each, and none where neither
    /// is configured nor noted.
    pub missing: Vec<String>,
}

/// How far what a mail says of an address can be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vouched {
    /// The normalised address.
    pub address: String,
    /// The level.
    pub trust: Trust,
    /// What gave it.
    pub because: String,
}

impl Witnesses {
    /// Asks for the keys and the database of the configuration; what can't be read is missing.
    pub async fn open(config: &Config, judge: Judge) -> Self {
        let mut missing = Vec::new();
        let signer = Signer::configured(config).unwrap_or_else(|error| {
            missing.push(error);
            None
        });
        let is_keyless = signer.is_none() && missing.is_empty();
        // What was sent; else whether that was never noted, and why it can't be known.
        let sent = match Store::open_to_read(&config.database.path).await {
            Ok(store) => match store.vouching_since().await {
                Ok(Some(_)) => Ok(store),
                Ok(None) => Err((true, "the database does not know yet what was sent".to_owned())),
                Err(error) => Err((false, error.to_string())),
            },
            Err(error) => Err((!config.database.path.exists(), error.to_string())),
        };
        // Where nobody signs and nobody notes what was sent, nothing is missing.
        let is_used = !is_keyless || !matches!(sent, Err((true, _)));
        if is_keyless && is_used {
            missing.push("no keys are configured ([verp] keys)".to_owned());
        }
        let store = sent.map_err(|(_, why)| missing.extend(is_used.then_some(why))).ok();
        Self { judge: judge.with_signer(signer), store, missing }
    }

    /// Reads and judges a mail.
    #[must_use]
    pub fn judge(&self, raw: &[u8]) -> (Report, Vec<Verdict>) {
        self.judge.judge(raw)
    }

    /// How far what a mail says of each address could be believed if it came when it was received.
    pub async fn vouch(&mut self, mail: HandedOver, report: &Report, verdicts: &[Verdict]) -> Vec<Vouched> {
        // On record it is known by the same digest, whether it was handed over or read.
        let mail = Message::from(mail);
        let trusts = self.judge.trusts(report, mail.received);
        let message = JudgedMessage {
            sha256: mail.sha256(),
            place: mail.place,
            received: mail.received,
            size: mail.size,
            report: report.clone(),
            verdicts: verdicts.to_vec(),
            trusts: trusts.clone(),
            tables: Default::default(),
            disposition: Disposition::Untouched,
        };
        let known = match &self.store {
            Some(store) => store.trusts(&message).await.unwrap_or_else(|error| {
                self.missing.push(error.to_string());
                trusts.clone()
            }),
            None => trusts.clone(),
        };
        let mut named = HashSet::new();
        let addresses = report.addresses().filter(|address| named.insert(address.normalised()));
        let vouched = |address: &Address| Vouched {
            address: address.normalised().to_owned(),
            trust: known.of(Some(address)),
            because: self.because(report, address, &trusts, &known),
        };
        addresses.map(vouched).collect()
    }

    /// What gave the level; `before` is what the mail says by itself, `known` what the store adds and takes.
    fn because(&self, report: &Report, address: &Address, before: &Trusts, known: &Trusts) -> String {
        let used = if before.signature(address).is_some() && known.signature(address).is_none() {
            "; a mail on record has used its signed envelope sender (perhaps this one, with other line ends)"
        } else {
            ""
        };
        let why = match known.of(Some(address)) {
            Trust::Verified => {
                let signed =
                    report.provenance.delivered_to.iter().find(|to| self.judge.is_signature(&to.value, known, address));
                let to = signed.map(|to| format!(": {}, {}", to.value, to.evidence.location)).unwrap_or_default();
                format!("it came to the envelope sender that was signed for this address{to}")
            }
            Trust::Matched => {
                let original = report.original.message_id.as_deref();
                let id = original.or(report.provenance.in_reply_to.as_deref()).unwrap_or_default();
                format!("message {id} went to this address and to nobody else")
            }
            Trust::Local => {
                let line = report.provenance.made_here.as_ref().and_then(|evidence| evidence.line);
                let line = line.map(|line| format!(" (Received, line {line})")).unwrap_or_default();
                format!("our own mail server made it{line}")
            }
            Trust::Unverified => "anybody may have written it".to_owned(),
        };
        why + used
    }
}
