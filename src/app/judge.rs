//! Bytes -> Report -> Verdicts, and the policy that they are held against, by the tables of the configuration; the same
//! for daemon, command line and tests.

mod files;
mod proof;

use std::sync::{Arc, OnceLock};

use super::Signer;
use crate::{
    classify::Classifier,
    codes::CodeTable,
    config::Config,
    parse,
    policy::{DAY, Policy},
    redact::Keep,
    report::{Address, Kind, Recipient, Report, Trust, Trusts, Verdict},
    store::TablesVersion,
    tables::TableError,
    verp::Token,
};

pub use files::TableFiles;

/// Reads and judges mails; the same for daemon, command line, tests and benchmarks.
#[derive(Debug)]
pub struct Judge {
    options: parse::Options,
    classifier: Classifier,
    policy: Policy,
    /// Knows what came to an envelope sender of ours.
    signer: Option<Signer>,
    files: TableFiles,
    /// Made when first asked for: for one verdict nobody asks.
    version: OnceLock<Arc<TablesVersion>>,
}

impl Judge {
    /// As the configuration says: its tables, or those that come with the program.
    ///
    /// # Errors
    /// A table can't be read or is refused, or a row of one's own does not do what its examples say; the text names
    /// file and line.
    pub fn new(config: &Config) -> Result<Self, TableError> {
        Self::of(TableFiles::read(config)?.without_examples(), config)
    }

    /// The same for whoever shows the tables: it has the examples of all phrases and codes.
    ///
    /// # Errors
    /// As for [`Judge::new`].
    pub fn with_examples(config: &Config) -> Result<Self, TableError> {
        Self::of(TableFiles::read(config)?, config)
    }

    fn of(files: TableFiles, config: &Config) -> Result<Self, TableError> {
        let options = parse::Options {
            campaign_headers: config.report.campaign_headers.clone(),
            most_octets: parse::MOST_OCTETS,
            own: config.trust.own_servers(config.verp.delivered_to.clone()),
            tables: Arc::new(parse::Tables::of_files(&files.parse)?),
        };
        let classifier = Classifier::new(CodeTable::from_files(&files.codes)?, &files.phrases)?;
        let mut policy = Policy::from_files(&files.policy)?;
        policy.most_per_message = config.suppressions.most_per_message;
        policy.never = config.suppressions.never.clone();
        policy.demands = config.demands();
        let judge = Self { options, classifier, policy, signer: None, files, version: OnceLock::new() };
        judge.prove(|example| example.file.is_own())?;
        Ok(judge)
    }

    /// The same, which also believes what came to envelope senders that are signed with the keys of the configuration.
    ///
    /// # Errors
    /// As for [`Signer::configured`].
    pub fn with_keys(self, config: &Config) -> Result<Self, String> {
        Ok(self.with_signer(Signer::configured(config)?))
    }

    /// The same with these keys.
    pub(super) fn with_signer(self, signer: Option<Signer>) -> Self {
        Self { signer, ..self }
    }

    /// Whether it is for this envelope sender that an address has its signature.
    pub(super) fn is_signature(&self, sender: &str, trusts: &Trusts, address: &Address) -> bool {
        let token = self.signer.as_ref().and_then(|signer| signer.token(sender));
        token.zip(trusts.signature(address)).is_some_and(|(token, signature)| token.digest() == signature.digest)
    }

    /// With the tables that come with the program.
    #[must_use]
    pub fn embedded() -> Self {
        Self::new(&Config::default()).expect("the tests read the embedded tables")
    }

    /// Which tables these are, and which policy.
    #[must_use]
    pub fn version(&self) -> &Arc<TablesVersion> {
        self.version.get_or_init(|| self.files.version(&self.policy).into())
    }

    /// Reads one mail and judges every recipient that it reports on; verdicts are parallel to the recipients.
    #[must_use]
    pub fn judge(&self, raw: &[u8]) -> (Report, Vec<Verdict>) {
        let report = parse::parse(raw, &self.options);
        let verdicts = self.classifier.judge(&report);
        (report, verdicts)
    }

    /// How far what a report says can be believed that was received at that time (seconds since 1970-01-01 UTC), by what
    /// the mail brings along; the store knows more.
    #[must_use]
    pub fn trusts(&self, report: &Report, received: i64) -> Trusts {
        // What somebody writes himself is no report of our server's.
        let reports = !matches!(report.kind, Kind::AutoReply | Kind::NotBounce);
        let local = reports && report.provenance.made_here.is_some();
        let mut trusts = Trusts::in_everything(if local { Trust::Local } else { Trust::Unverified });
        let Some(signer) = &self.signer else { return trusts };
        let tokens = report.provenance.delivered_to.iter().filter_map(|to| signer.token(&to.value));
        let tokens: Vec<Token> = tokens.collect();
        let signing = |address: &Address| {
            tokens.iter().find(|token| signer.verify(token, address, received.div_euclid(DAY)).is_ok())
        };
        for (address, token) in report.addresses().filter_map(|address| Some((address, signing(address)?))) {
            trusts.sign(address, signer.signature(token));
        }
        trusts
    }

    /// What an anonymised copy of a mail must keep for the same verdict.
    #[must_use]
    pub fn keep(&self) -> Keep {
        let tables = &self.options.tables;
        let parse::Vocabulary { sentences, senders } = tables.vocabulary();
        let words: Vec<String> = self.classifier.vocabulary().collect();
        Keep::new(words.iter().chain(&sentences).map(String::as_str), &senders, Arc::clone(tables))
    }

    /// The tables by which it judges.
    #[must_use]
    pub const fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Who is suppressed, and for how long.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// One SMTP reply on its own, of nobody yet.
    pub(super) fn reply(&self, text: &str) -> Recipient {
        parse::response(text, &self.options.tables)
    }

    /// Judges one SMTP reply on its own, as a mail log has it.
    #[must_use]
    pub fn judge_response(&self, text: &str) -> Verdict {
        self.read_response(text).1
    }

    /// The same, with what was read of the reply.
    #[must_use]
    pub fn read_response(&self, text: &str) -> (Recipient, Verdict) {
        let recipient = self.reply(text);
        let verdict = self.classifier.judge_recipient(&recipient, None);
        (recipient, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Evidence, Finding};

    #[test]
    fn our_own_server_is_believed_where_it_reports_and_not_what_a_person_writes_there() {
        let judge = Judge::embedded();
        for (kind, trust) in [
            (Kind::Bounce, Trust::Local),
            (Kind::Delivered, Trust::Local),
            (Kind::AutoReply, Trust::Unverified),
            (Kind::NotBounce, Trust::Unverified),
        ] {
            let evidence = Evidence::of_structure("a test");
            let mut report = Report::of_nobody(Finding { value: kind, evidence: evidence.clone() });
            report.provenance.made_here = Some(evidence);
            assert_eq!(judge.trusts(&report, 0).of(None), trust, "{kind:?}");
        }
    }
}
