//! Holds rows against their own examples: each is read as a mail log's reply would be, and judged.

use super::Judge;
use crate::{
    parse,
    report::Verdict,
    tables::{self, Example, TableError},
};

/// What an example may begin with where the row wants to know who is speaking: `from mx.example.org: 550 no`.
const FROM: &str = "from ";

impl Judge {
    /// Holds the examples that are `asked` for against the tables.
    ///
    /// # Errors
    /// An example does not come out as its row says.
    pub(super) fn prove(&self, asked: impl Fn(&Example) -> bool) -> Result<(), TableError> {
        tables::prove(self.classifier.examples().filter(|example| asked(example)), |example| {
            let verdict = self.judge_example(&example.text);
            (self.classifier.decides(example, &verdict), verdict.rule)
        })
    }

    /// The verdict on an example.
    fn judge_example(&self, text: &str) -> Verdict {
        let host =
            text.strip_prefix(FROM).and_then(|rest| rest.split_once(": ")).filter(|(host, _)| !host.contains(' '));
        let mut recipient = parse::response(host.map_or(text, |(_, words)| words), &self.options.tables);
        recipient.remote_mta = host.map(|(host, _)| host.to_owned());
        self.classifier.judge_recipient(&recipient, None)
    }
}
