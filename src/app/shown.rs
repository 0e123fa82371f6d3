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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Evidence, Finding};

    #[test]
    fn whom_the_mail_reached_stands_apart_unless_the_report_is_about_them() {
        let all = Action::ALL.iter().map(|&action| Recipient { action, ..Recipient::default() }).collect();
        let evidence = Evidence::of_structure("");
        let report = Report { recipients: all, ..Report::of_nobody(Finding { value: Kind::Bounce, evidence }) };
        let verdicts = vec![crate::app::Judge::embedded().judge_response("550"); report.recipients.len()];
        let actions = |of: &[(&Recipient, &Verdict)]| of.iter().map(|(r, _)| r.action).collect::<Vec<_>>();
        for (kind, reached) in [(Kind::Bounce, 3), (Kind::Delayed, 3), (Kind::Delivered, 0)] {
            let report = Report { kind, ..report.clone() };
            let shown = Shown::new(&report, &verdicts);
            assert_eq!(shown.reached.len(), reached, "{kind}");
            assert_eq!(shown.recipients.len(), report.recipients.len() - reached, "{kind}");
            if reached > 0 {
                assert_eq!(actions(&shown.recipients), [Action::Failed, Action::Delayed]);
            }
        }
    }
}
