//! What golden files leave out of a reading, or cannot hold: the returned original, wrappers, reports in odd company.

#![allow(clippy::unwrap_used, reason = "a test may")]

use bounced::{
    app::Judge,
    report::{Action, Excerpt, Kind, Location, Original, Report},
};

/// The original as a bounce returns it, behind whatever other messages hang on the bounce.
fn returned(messages: &[&str]) -> Original {
    let mut mail =
        "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n\
                    Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
                    --b\n\nCould not be delivered.\n\n--b\nContent-Type: message/delivery-status\n\n\
                    Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; bob@example.com\nAction: failed\n\
                    Status: 5.1.1\n\n"
            .to_owned();
    messages.iter().for_each(|message| mail.push_str(&format!("--b\nContent-Type: message/rfc822\n\n{message}\n\n")));
    mail.push_str("--b--\n");
    Judge::embedded().judge(mail.as_bytes()).0.original
}

#[test]
fn a_campaign_is_named_by_the_header_that_stands_first_in_the_list() {
    let headers = "From: news@lists.example.org\nFeedback-ID: feedback\nX-Campaign: campaign\nX-Job-Id: job";
    assert_eq!(returned(&[headers]).campaign.as_deref(), Some("campaign"));
    assert_eq!(
        returned(&["From: news@lists.example.org\nFeedback-ID: feedback"]).campaign.as_deref(),
        Some("feedback")
    );
    assert_eq!(returned(&["From: news@lists.example.org\nX-Mailer: tool"]).campaign, None);
}

#[test]
fn the_last_message_is_the_original() {
    let original = returned(&["From: a@example.org\nMessage-ID: <note>", "From: b@example.org\nMessage-ID: <news>"]);
    assert_eq!(original.message_id.as_deref(), Some("news"));
}

#[test]
fn an_original_without_to_went_to_its_cc() {
    let to = |fields: &str| returned(&[&format!("From: news@lists.example.org\n{fields}")]).to;
    assert_eq!(to("Cc: bob@example.com"), ["bob@example.com"]);
    assert_eq!(to("To: anna@example.com\nCc: bob@example.com"), ["anna@example.com"]);
}

#[test]
fn a_list_is_named_by_its_identifier_alone() {
    let list = |value: &str| returned(&[&format!("From: news@lists.example.org\nList-Id: {value}")]).list_id;
    assert_eq!(list("Spring news <spring.lists.example.org>").as_deref(), Some("spring.lists.example.org"));
    assert_eq!(list("spring.lists.example.org").as_deref(), Some("spring.lists.example.org"));
}

/// Whoever looks for a report in the mailbox finds the mail that came, not what hangs on it.
#[test]
fn a_wrapped_bounce_goes_by_the_wrappers_message_id() {
    let bounce = "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n\
                  Message-ID: <inside@mx.example.org>\n\n<bob@example.com>: 550 5.1.1 no such user\n";
    let mail = format!(
        "Return-Path: <>\nFrom: anna@lists.example.org\nSubject: Fwd: see this\nMessage-ID: <outside@lists.example.org>\n\
         Content-Type: multipart/mixed; boundary=b\n\n--b\n\nSee below.\n\n--b\nContent-Type: message/rfc822\n\n{bounce}\n--b--\n"
    );
    let report = Judge::embedded().judge(mail.as_bytes()).0;
    assert_eq!(report.recipients.len(), 1);
    assert_eq!(report.message_id.as_deref(), Some("outside@lists.example.org"));
}

#[test]
fn a_report_is_read_whatever_surrounds_it() {
    let mail = "From: bob@example.com\nSubject: Automatic reply: Spring news\nPrecedence: auto_reply\nX-Autoreply: yes\n\
                Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nThank you.\n\n\
                --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.com\n\n\
                Final-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 5.1.1\n--b--\n";
    let (report, verdicts) = Judge::embedded().judge(mail.as_bytes());
    assert_eq!((report.kind, verdicts.len()), (Kind::Bounce, 1));
}

#[test]
fn json_that_is_no_notification_has_no_words_to_read() {
    let json = "{\"text\": \"\nHi. This is the qmail-send program at mx.example.org.\n<ann@example.org>:\n550 user unknown\"}\n";
    let kind = |mail: &str| Judge::embedded().judge(mail.as_bytes()).0.kind;
    assert_eq!(kind(&format!("Content-Type: text/plain\n\n{json}")), Kind::Bounce, "in a mail they count");
    assert_eq!(kind(json), Kind::NotBounce);
}

/// A report with these words and these fields of one recipient.
fn report(words: &str, fields: &str) -> Report {
    let mail = format!(
        "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\n\n{words}\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n{fields}\n\n\
         --b\nContent-Type: text/rfc822-headers\n\nFrom: news@shop.example\nTo: anna@example.com\n\n--b--\n"
    );
    Judge::embedded().judge(mail.as_bytes()).0
}

#[test]
fn an_action_that_nobody_knows_is_a_failure() {
    let report = report("Sorry.", "Final-Recipient: rfc822; bob@example.com\nAction: gone astray\nStatus: 5.1.1");
    assert_eq!((report.kind, report.recipients[0].action), (Kind::Bounce, Action::Failed));
}

#[test]
fn what_is_no_address_is_not_the_one_whom_the_original_names() {
    let report = report("Sorry.", "Final-Recipient: rfc822; a@b@example.com\nAction: failed\nStatus: 5.1.1");
    assert_eq!((report.recipients.len(), &report.recipients[0].address), (1, &None));
}

#[test]
fn what_the_remote_server_said_is_found_in_the_transcript_and_says_so() {
    let words = "   ----- Transcript of session follows -----\n... while talking to mx.example.com.:\n\
                 >>> RCPT To:<bob@example.com>\n<<< 550 5.1.1 no such user\n550 5.1.1 <bob@example.com>... User unknown";
    let report = report(words, "Final-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 5.1.1");
    let said = report.recipients[0].diagnostic.as_ref().map(Excerpt::evidence_of_start).unwrap();
    assert_eq!((said.location, said.words.as_str()), (Location::Transcript, "550 5.1.1 no such user"));
}

#[test]
fn a_report_without_fields_says_why_its_recipients_failed() {
    let mail = "From: MAILER-DAEMON@mx.example.org\nSubject: Delivery failed\n\n<bob@example.com>: 550 no such user\n";
    let because = Judge::embedded().judge(mail.as_bytes()).0.recipients.remove(0).action_because.unwrap();
    assert_eq!((because.location.to_string().as_str(), because.line), ("Subject", Some(2)));
}

/// Only what tells of a failure or a delay is looked for in what a program passes on.
#[test]
fn an_automatic_answer_that_a_program_passes_on_is_none_of_the_mailbox() {
    let mail = |attached: &str| {
        format!(
            "Return-Path: <>\nFrom: list-owner@lists.example.org\nSubject: uncaught post\nMIME-Version: 1.0\n\
             Content-Type: multipart/mixed; boundary=b\n\n--b\n\nThe attached message was received.\n\n\
             --b\nContent-Type: message/rfc822\n\n{attached}\n--b--\n"
        )
    };
    let away = "From: bob@example.com\nAuto-Submitted: auto-replied\nSubject: Out of office\n\nBack on Monday.\n";
    let report = |mail: String| Judge::embedded().judge(mail.as_bytes()).0;
    assert_eq!(report(mail(away)).kind, Kind::NotBounce);
    let bounce = include_str!("../scripts/samples/postfix-user-unknown.eml");
    assert_eq!(report(mail(bounce)).kind, Kind::Bounce);
}
