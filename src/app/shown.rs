//! Which recipients of a report are shown, and as what; the same for people and for programs.

use crate::report::{Action, Kind, Recipient, Report, Verdict};

/// The recipients of one report with their verdicts, in the order of the mail.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Whom the report is about.
    pub recipients: Vec<(&'a Recipient, &'a Verdict)>,
    /// Whom the mail reached, although the report tells of a failure or a delay: nobody to worry about.
    pub reached: Vec<(&'a Recipient, &'a Verdict)>,
}

impl<'a> Shown<'a> {
    /// Sorts the recipients of a report. In a success report those whom the mail reached are what it is about.
    #[must_use]
    pub fn new(report: &'a Report, verdicts: &'a [Verdict]) -> Self {
        let reached = |recipient: &Recipient| {
            report.kind != Kind::Delivered && !matches!(recipient.action, Action::Failed | Action::Delayed)
        };
        let judged = report.recipients.iter().zip(verdicts);
        let (reached, recipients) = judged.partition(|(recipient, _)| reached(recipient));
        Self { recipients, reached }
    }
}
