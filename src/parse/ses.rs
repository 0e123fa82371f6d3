//! The JSON with which Amazon SES tells of bounces, complaints and deliveries, as SNS mails it -> [`Draft`]
//! (docs.aws.amazon.com/ses, notification contents). Refuses to judge: what SES itself makes of a bounce is left out.

use serde::Deserialize;

use super::{
    Draft, MOST_RECIPIENTS,
    complaint::{Complainers, Others},
    dsn,
    lines::{Numbering, Sent},
    mime::{Mail, Part},
    words::Words,
};
use crate::report::{Action, Address, Evidence, Excerpt, Finding, Kind, Location, Original, Recipient};

/// What is read of a notification. Event publishing calls its kind by another name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    #[serde(alias = "eventType")]
    notification_type: String,
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
    delivery: Option<Delivery>,
    mail: Option<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    #[serde(default)]
    bounced_recipients: Vec<Bounced>,
    #[serde(rename = "reportingMTA")]
    reporting_mta: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounced {
    email_address: String,
    status: Option<String>,
    diagnostic_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    /// Those of the domain that reports: where that hides who complained, SES names all to whom it was sent there.
    #[serde(default)]
    complained_recipients: Vec<Complained>,
    complaint_feedback_type: Option<String>,
}

impl Complaint {
    fn is_taken_back(&self) -> bool {
        self.complaint_feedback_type.as_deref() == Some("not-spam")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complained {
    email_address: String,
}

/// The message that it is about.
#[derive(Deserialize)]
struct Message {
    source: Option<String>,
}

#[derive(Deserialize)]
struct Delivery {
    #[serde(default)]
    recipients: Vec<String>,
}

/// What SNS puts around it, unless it is told to deliver raw messages.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
}

/// Reads a notification; `None` where the mail is none.
pub(super) fn read(mail: &Mail<'_>, table: &Words) -> Option<Draft> {
    mail.texts().find_map(|part| {
        let notification = notification(&part.text)?;
        let words = Evidence::of_structure(&*notification.notification_type);
        let line = line_of(part, &notification.notification_type);
        let because = Evidence { location: Location::TextPart, line, ..words };
        let kind = match &*notification.notification_type {
            "Bounce" => Kind::Bounce,
            // As in a feedback report (RFC 6430).
            "Complaint" if notification.complaint.as_ref().is_some_and(Complaint::is_taken_back) => Kind::NotBounce,
            "Complaint" => Kind::Complaint,
            "Delivery" => Kind::Delivered,
            _ => return None,
        };
        let mut draft = Draft { kind: Some(Finding { value: kind, evidence: because.clone() }), ..Draft::default() };
        if let Some(bounce) = notification.bounce.filter(|_| kind == Kind::Bounce) {
            draft.reporting_mta = bounce.reporting_mta.map(|mta| dsn::after_type(&mta).to_owned());
            draft.left_out = bounce.bounced_recipients.len().saturating_sub(MOST_RECIPIENTS);
            let some = bounce.bounced_recipients.into_iter().take(MOST_RECIPIENTS);
            draft.recipients = some.map(|one| bounced(one, part, table)).collect();
        }
        if let Some(complaint) = notification.complaint.filter(|_| kind == Kind::Complaint) {
            let source = notification.mail.and_then(|sent| sent.source);
            draft.complainers = complained(&complaint, source.as_deref(), mail, part);
        }
        if let Some(delivery) = notification.delivery.filter(|_| kind == Kind::Delivered) {
            let reached = |address: String| Recipient {
                address: dsn::address(&address),
                action: Action::Delivered,
                ..Recipient::default()
            };
            draft.left_out = delivery.recipients.len().saturating_sub(MOST_RECIPIENTS);
            draft.recipients = delivery.recipients.into_iter().take(MOST_RECIPIENTS).map(reached).collect();
        }
        for recipient in &mut draft.recipients {
            recipient.action_because = Some(because.clone());
        }
        Some(draft)
    })
}

/// QUIRK: a notification that was saved as SNS delivers it has no mail around it. Gives it a header, and each of its lines
/// the number that it has there.
pub(super) fn with_header(raw: Sent<'_>) -> Option<(Vec<u8>, Numbering)> {
    if !raw.bytes.starts_with(b"{") {
        return None;
    }
    // Of other JSON nobody knows what its words report on.
    notification(std::str::from_utf8(raw.bytes).ok()?)?;
    let lines = [0, 0].into_iter().chain(0..=raw.breaks_before(raw.bytes.len()));
    let numbers = lines.filter_map(|line| raw.numbering.line(line)).collect();
    Some(([&b"Content-Type: text/plain; charset=utf-8\n\n"[..], raw.bytes].concat(), Numbering::Each(numbers)))
}

/// SNS takes 256 KiB; its escapes and what it puts around it come on top.
const LONGEST: usize = 1024 * 1024;

/// In octets.
const LONGEST_BANNER: usize = 1024;

/// The first JSON value of a text; SNS writes a footer below it, and a gateway its banner above.
fn notification(text: &str) -> Option<Notification> {
    let text = text.trim_start();
    // Cheap for all other mail.
    let begins = |start: &str| if start.starts_with('{') { Some(0) } else { Some(start.find("\n{")? + 1) };
    let text = &text[begins(&text[..text.floor_char_boundary(LONGEST_BANNER)])?..];
    if text.len() > LONGEST {
        return None;
    }
    let first = |text: &str| serde_json::Deserializer::from_str(text).into_iter::<Notification>().next()?.ok();
    first(text).or_else(|| {
        let envelope = serde_json::Deserializer::from_str(text).into_iter::<Envelope>().next()?.ok()?;
        first(&envelope.message)
    })
}

/// The line in which a value stands; where JSON's escapes hide it, the one in which all of it begins.
fn line_of(part: &Part<'_>, value: &str) -> Option<u32> {
    part.line_of(part.text.find(value).or_else(|| part.text.find('{'))?)
}

fn complained(complaint: &Complaint, source: Option<&str>, mail: &Mail<'_>, part: &Part<'_>) -> Complainers {
    let source = source.and_then(dsn::address);
    let original =
        Original { senders: source.iter().map(|a| a.normalised().to_owned()).collect(), ..Original::default() };
    let others = Others::of(mail, &original, complaint.complaint_feedback_type.as_deref());
    // The message's own list of recipients may stand in front. Each stands behind the one before.
    let mut at = part.text.find("complainedRecipients").unwrap_or(0);
    let mut found = true;
    let mut complainers = Complainers::default();
    for Complained { email_address: given } in &complaint.complained_recipients {
        if let Some(address) = dsn::address(given) {
            // JSON's escapes may hide one, and then the next ones are not looked for.
            let next = if found { part.text[at..].find(given.as_str()) } else { None };
            (at, found) = (at + next.unwrap_or(0), next.is_some());
            let line = part.line_of(at);
            let words = Excerpt::of(&Location::Field("emailAddress".into()), given, 0, |_| line);
            complainers.add(Finding { value: address, evidence: words.evidence(0..given.len()) });
        }
    }
    complainers.but_for(&others)
}

fn bounced(one: Bounced, part: &Part<'_>, table: &Words) -> Recipient {
    let field = |name: &'static str, value: &str| {
        let line = line_of(part, value);
        Excerpt::of(&Location::Field(name.into()), value, 0, |_| line)
    };
    let mut recipient = Recipient {
        address: dsn::address(&one.email_address),
        final_recipient: Some(one.email_address).filter(|given| Address::parse(given).is_none()),
        ..Recipient::default()
    };
    if let Some(status) = one.status {
        let evidence = field("status", &status).evidence(0..status.len());
        recipient.statuses.extend(status.trim().parse().ok().map(|value| Finding { value, evidence }));
    }
    let said = one.diagnostic_code.map(|said| field("diagnosticCode", dsn::after_type(&said)).on_one_line());
    recipient.diagnostic = said.filter(|said| !said.is_empty());
    dsn::settle_codes(&mut recipient, table);
    recipient
}
