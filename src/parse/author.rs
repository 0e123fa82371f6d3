//! A mail that reports on nothing -> the address that wrote it: somebody reads there, or a machine answers for him.
//! Refuses to say whether that is so, and to choose where From leaves a choice.

use super::mime::Mail;
use crate::{
    report::{Address, Finding},
    text::address_of,
};

/// Who wrote the mail itself: the one mailbox of its one From (RFC 5322 §3.6.2). Where that names several, or another
/// address stands in the display name, as mailing lists and help desks write it, nobody did.
pub(super) fn of(mail: &Mail<'_>) -> Option<Finding<Address>> {
    let mut fields = mail.fields().iter().filter(|field| field.name.eq_ignore_ascii_case("From"));
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    let value = address_of(field.value()).filter(|alone| Address::parse(&mail.from).as_ref() == Some(alone))?;
    let evidence = field.evidence_of(value.given());
    Some(Finding { value, evidence })
}

#[cfg(test)]
mod tests {
    use crate::{
        parse::{Options, parse},
        report::Kind,
    };

    /// The kind of a mail and who is said to have written it, with the line that says so.
    fn author(mail: &str) -> (Kind, Option<(String, Option<u32>)>) {
        let report = parse(mail.as_bytes(), &Options::default());
        (report.kind, report.author.map(|one| (one.value.normalised().to_owned(), one.evidence.line)))
    }

    #[test]
    fn a_mail_is_its_authors_where_from_leaves_no_choice() {
        for (from, expected) in [
            ("From: ann@example.org", Some(2)),
            ("From: Ann <Ann@Example.org>", Some(2)),
            ("from: \"Doe, Ann\" <ann@example.org>", Some(2)),
            ("From: =?utf-8?Q?Ann_Gr=C3=BCn?= <ann@example.org>", Some(2)),
            ("From: ann@example.org (Ann Doe)", Some(2)),
            ("From: A very long name that is folded\n <ann@example.org>", Some(3)),
            ("From: Ann <ann@example.org>, Bob <bob@example.org>", None),
            ("From: ann@example.org\nFrom: bob@example.org", None),
            ("From: ann@example.org\nFrom: ann@example.org", None),
            ("From: \"bob@example.net via Talk\" <ann@example.org>", None),
            ("From: Undisclosed:;", None),
            ("From: Ann", None),
            ("From: <>", None),
            ("X-From: ann@example.org", None),
        ] {
            let mail = format!("Subject: Lunch?\n{from}\nTo: news@letters.example\n\nToday at noon?\n");
            let expected = expected.map(|line| ("ann@example.org".to_owned(), Some(line)));
            assert_eq!(author(&mail), (Kind::NotBounce, expected), "{from}");
        }
    }

    #[test]
    fn an_automatic_answer_is_its_authors_and_a_report_is_nobodys() {
        let from = "From: Ann <ann@example.org>\nTo: news@letters.example\n";
        let away = format!("{from}Auto-Submitted: auto-replied\nSubject: Out of office\n\nBack on Monday.\n");
        assert_eq!(author(&away), (Kind::AutoReply, Some(("ann@example.org".to_owned(), Some(1)))));
        let report = |action: &str| {
            format!(
                "{from}Subject: Report\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\
                 Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n\
                 Final-Recipient: rfc822; ann@example.org\nAction: {action}\nStatus: 5.1.1\n--b--\n"
            )
        };
        for (action, kind) in [("failed", Kind::Bounce), ("delayed", Kind::Delayed), ("delivered", Kind::Delivered)] {
            assert_eq!(author(&report(action)), (kind, None));
        }
        let complaint = format!(
            "{from}Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\
             Content-Type: message/feedback-report\n\nFeedback-Type: abuse\n--b--\n"
        );
        assert_eq!(author(&complaint), (Kind::Complaint, None));
    }

    #[test]
    fn who_passes_a_bounce_on_wrote_the_mail_and_nobody_wrote_the_bounce() {
        let mail = "From: Ann <ann@example.org>\nTo: help@letters.example\nSubject: Fwd: what is this?\n\
                    Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
                    Hello, I got this when I wrote to Bob. What can I do?\n\nAnn\n--b\nContent-Type: message/rfc822\n\n\
                    From: MAILER-DAEMON@mx.example.org\nTo: ann@example.org\nSubject: Undelivered Mail\n\
                    Content-Type: multipart/report; report-type=delivery-status; boundary=c\n\n--c\n\
                    Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n\
                    Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n--c--\n--b--\n";
        assert_eq!(author(mail), (Kind::NotBounce, Some(("ann@example.org".to_owned(), Some(1)))));
    }
}
