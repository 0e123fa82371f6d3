//! What a mail is before anybody reads its recipients: reports told apart from what else lands in a bounce mailbox.

use super::{finding, mime::Mail};
use crate::report::{Finding, Kind};

/// What is certainly no delivery report: automatic replies, complaints, read receipts, challenges, ordinary mail.
pub(super) fn other_mail(mail: &Mail<'_>) -> Option<Finding<Kind>> {
    if mail.content_type == "multipart/report" {
        match mail.report_type.as_str() {
            "feedback-report" => return Some(finding(Kind::Complaint, "Content-Type", "report-type=feedback-report")),
            "disposition-notification" => {
                return Some(finding(Kind::NotBounce, "Content-Type", "report-type=disposition-notification"));
            }
            _ => {}
        }
    }
    None
}

/// Why a mail without a DSN part may be a delivery report, and of which kind; `None` when nothing speaks for it.
pub(super) fn report_likeness(mail: &Mail<'_>) -> Option<Finding<Kind>> {
    let from = mail.from.to_ascii_lowercase();
    let from_name = mail.from_name.to_ascii_lowercase();
    if ["mailer-daemon", "postmaster", "mail delivery"].iter().any(|w| from.contains(w) || from_name.contains(w)) {
        return Some(finding(Kind::Bounce, "From", mail.from.clone()));
    }
    None
}
