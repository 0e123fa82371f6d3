//! Bytes -> Report -> Verdicts, by the tables of the configuration; the same for daemon, command line and tests.

use std::sync::Arc;

use crate::{
    classify::{Classifier, LoadError},
    config::Config,
    parse,
    redact::Keep,
    report::{Recipient, Report, Verdict},
};

/// Reads and judges mails; the same for daemon, command line, tests and benchmarks.
#[derive(Debug)]
pub struct Judge {
    options: parse::Options,
    classifier: Classifier,
}

impl Judge {
    /// As the configuration says: its tables, or those that come with the program.
    ///
    /// # Errors
    /// A table can't be read or is refused; the text names file and line.
    pub fn new(config: &Config) -> Result<Self, LoadError> {
        let options = parse::Options {
            campaign_headers: config.report.campaign_headers.clone(),
            most_octets: parse::MOST_OCTETS,
            tables: Arc::new(parse::Tables::load(&config.kinds.files, &config.formats.files)?),
        };
        let classifier = Classifier::load(config.codes.file.as_deref(), config.phrases.file.as_deref())?;
        Ok(Self { options, classifier })
    }

    /// With the tables that come with the program.
    #[must_use]
    pub fn embedded() -> Self {
        Self { options: parse::Options::default(), classifier: Classifier::embedded() }
    }

    /// Reads one mail and judges every recipient that it reports on; verdicts are parallel to the recipients.
    #[must_use]
    pub fn judge(&self, raw: &[u8]) -> (Report, Vec<Verdict>) {
        let report = parse::parse(raw, &self.options);
        let verdicts = self.classifier.judge(&report);
        (report, verdicts)
    }

    /// What an anonymised copy of a mail must keep for the same verdict.
    #[must_use]
    pub fn keep(&self) -> Keep {
        let tables = &self.options.tables;
        let parse::Vocabulary { sentences, senders } = tables.vocabulary();
        let sentences = self.classifier.vocabulary().chain(sentences.iter().map(String::as_str));
        Keep::new(sentences, &senders, Arc::clone(tables))
    }

    /// What a person should do about this recipient's codes, by the code table.
    #[must_use]
    pub fn advice(&self, recipient: &Recipient) -> Option<&str> {
        let codes = self.classifier.codes();
        let status = recipient.status().filter(|s| !s.is_bare()).and_then(|s| codes.status_row(s));
        let row = status.or_else(|| codes.reply_row(recipient.reply()?))?;
        Some(row.advice.as_str())
    }

    /// Judges one SMTP reply on its own, as a mail log has it.
    #[must_use]
    pub fn judge_response(&self, text: &str) -> Verdict {
        self.classifier.judge_recipient(&parse::response(text, &self.options.tables), None)
    }
}
