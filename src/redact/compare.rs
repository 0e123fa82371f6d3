//! Two readings -> what differs between them, as far as a person who reports a misread cares. Names may differ.

use crate::report::{Recipient, Report, Verdict};

/// What two readings disagree on, one sentence each; empty when they agree on kind, number of recipients and
/// complainers and, for each recipient, action, class, reason, fault, status and reply.
#[must_use]
pub fn differences(one: &(Report, Vec<Verdict>), other: &(Report, Vec<Verdict>)) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, one: String, other: String| {
        if one != other {
            found.push(format!("{what}: {one} became {other}"));
        }
    };
    compare("kind", one.0.kind.to_string(), other.0.kind.to_string());
    compare("recipients", one.1.len().to_string(), other.1.len().to_string());
    let [before, after] = [one, other].map(|(report, _)| report.complainers.len().to_string());
    compare("complainers", before, after);
    let of = |(report, verdicts): &(Report, Vec<Verdict>)| -> Vec<_> {
        report.recipients.iter().zip(verdicts).map(|(recipient, verdict)| answers(recipient, verdict)).collect()
    };
    for (n, (one, other)) in of(one).into_iter().zip(of(other)).enumerate() {
        for ((what, one), (_, other)) in one.into_iter().zip(other) {
            compare(&format!("recipient {}, {what}", n + 1), one, other);
        }
    }
    found
}

fn answers(recipient: &Recipient, verdict: &Verdict) -> [(&'static str, String); 6] {
    let none = || "none".to_owned();
    [
        ("action", recipient.action.to_string()),
        ("class", verdict.class.to_string()),
        ("reason", verdict.reason.to_string()),
        ("fault", verdict.fault.to_string()),
        ("status", verdict.status.map_or_else(none, |c| c.to_string())),
        ("reply", verdict.reply.map_or_else(none, |c| c.to_string())),
    ]
}
