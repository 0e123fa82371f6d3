//! Mail -> [`Report`]. Knows nothing of hard or soft; see classify.
//!
//! The order: what is certainly no delivery report ([`kinds`]), the DSN part ([`dsn`]), the general text reader
//! ([`general`]) for programs that write none. Which program it was, and the sentences that only it writes, are
//! rows of a table ([`formats`]).

mod dsn;
mod failed;
mod formats;
mod general;
mod kinds;
mod layout;
mod mime;
mod original;
mod reply;
mod text;

pub use layout::{Block, Coding, Layout, Span, is_bounce};
pub use mime::from_cr_only;

use crate::report::{Finding, Kind, Recipient, Report};

/// What the caller decides about reading.
#[derive(Debug, Clone)]
pub struct Options {
    /// Headers of the returned original that name a campaign, in order of preference.
    pub campaign_headers: Vec<String>,
    /// At most this many octets of a mail are read.
    pub most_octets: usize,
}

impl Default for Options {
    fn default() -> Self {
        let headers = [
            "X-Listmonk-Campaign",
            "X-Campaign-Id",
            "X-CampaignID",
            "X-Campaign",
            "X-Mailgun-Tag",
            "X-MC-Tags",
            "X-Job-Id",
            "X-SES-Configuration-Set",
            "X-Mailing-Id",
            "Feedback-ID",
        ];
        Self { campaign_headers: headers.map(str::to_owned).to_vec(), most_octets: 10 * 1024 * 1024 }
    }
}

/// What one reader made of a mail.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// The kind, where the format says more than the recipients' actions do.
    kind: Option<Finding<Kind>>,
    reporting_mta: Option<String>,
    recipients: Vec<Recipient>,
}

/// Reads one mail. Never fails: what is no report is a [`Report`] that says so.
#[must_use]
pub fn parse(raw: &[u8], options: &Options) -> Report {
    match from_cr_only(raw) {
        Some(mended) => parse_lines(&mended, options, 0),
        None => parse_lines(raw, options, 0),
    }
}

/// Reads one SMTP reply on its own (`550 5.1.1 User unknown`), as if a report had quoted it.
#[must_use]
pub fn response(text: &str) -> Recipient {
    let mut recipient = Recipient { text: text::clip(text, text::MOST_ABOUT).to_owned(), ..Recipient::default() };
    general::read_codes(&mut recipient);
    // The whole reply is the diagnostic, whatever stands before its code.
    recipient.diagnostic = Some(mime::unfold(&recipient.text)).filter(|words| !words.is_empty());
    recipient
}

/// The words that this floor looks for in mails, so that others can leave them alone.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// Sentences and words of bounces, auto-replies and the like.
    pub sentences: Vec<String>,
    /// Names and local parts of those who write them.
    pub senders: Vec<String>,
}

/// Every word that reading a mail depends on.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let mut vocabulary = kinds::vocabulary();
    vocabulary.sentences.extend(formats::Formats::embedded().sentences().map(str::to_owned));
    vocabulary.sentences.extend(text::sentences().chain(failed::sentences()).map(|&s| s.to_owned()));
    vocabulary.senders.extend(failed::SERVICE.iter().map(|&s| s.to_owned()));
    vocabulary
}

/// Where in a text the returned original begins, header and all; `None` where there is none.
#[must_use]
pub fn returned_in(text: &str) -> Option<usize> {
    text::original_at(text)
}

/// An mbox file's separator line is no header.
#[must_use]
pub fn without_envelope(raw: &[u8]) -> &[u8] {
    if !raw.starts_with(b"From ") {
        return raw;
    }
    memchr::memchr(b'\n', raw).map_or(raw, |end| &raw[end + 1..])
}

/// A bounce forwarded as an attachment is read through this many wrappers.
const DEEPEST_WRAPPER: u8 = 3;

fn parse_lines(raw: &[u8], options: &Options, depth: u8) -> Report {
    let Some(mail) = mime::read(without_envelope(raw), options.most_octets) else {
        return Report::of_nobody(finding(Kind::NotBounce, "header", "the mail has no header"));
    };
    let mut report = read_mail(&mail, options);
    if depth < DEEPEST_WRAPPER && (report.kind == Kind::NotBounce || says_nothing(&report)) {
        // A bounce wrapped by a person, a list or a scanner, or quoted in the text of another bounce.
        let attached = mail.parts.iter().filter(|p| !p.message.is_empty()).map(|p| p.message.as_ref());
        let quoted = original::quoted(&mail).filter(|_| report.kind != Kind::NotBounce);
        let forwarded = original::forwarded(&mail).filter(|_| report.kind == Kind::NotBounce);
        let texts = quoted.as_deref().into_iter().chain(forwarded.as_deref()).map(str::as_bytes);
        let inner = attached.chain(texts).map(|m| parse_lines(m, options, depth + 1));
        if let Some(inner) = inner.into_iter().find(|r| matches!(r.kind, Kind::Bounce | Kind::Delayed)) {
            report = inner;
        }
    }
    report.message_id = mail.message_id.clone();
    report.date = mail.date;
    report
}

/// Words without a failed address and without a code: a wrapper's, perhaps.
fn says_nothing(report: &Report) -> bool {
    let silent = |r: &Recipient| {
        let named = text::addresses(&r.text).any(|(_, a)| Some(&a) == r.address.as_ref());
        let forwarded = r.final_recipient.is_some();
        !named && !forwarded && r.status().is_none() && r.reply().is_none()
    };
    report.format != "rfc3464" && report.recipients.iter().all(silent)
}

fn read_mail(mail: &mime::Mail<'_>, options: &Options) -> Report {
    let standing = kinds::Standing::of(mail);
    if let Some(kind) = standing.other_mail() {
        return Report::of_nobody(kind);
    }
    let original = original::find(mail, options);
    let found = dsn::read(mail, &original).map(|draft| ("rfc3464", draft)).or_else(|| {
        let words = general::words_of(mail);
        let bounce = formats::Bounce { mail, original: &original, likeness: &standing.report_likeness()? };
        let program = formats::Formats::embedded().recognise(mail, words);
        general::read(&bounce, words).map(|draft| (program.unwrap_or("text"), draft))
    });
    let Some((format, draft)) = found else {
        return Report::of_nobody(finding(Kind::NotBounce, "whole mail", "nothing in it reports on a delivery"));
    };
    let kind_because = draft.kind.unwrap_or_else(|| kind_of(&draft.recipients));
    Report {
        kind: kind_because.value,
        kind_because,
        format,
        reporting_mta: draft.reporting_mta,
        message_id: None,
        date: None,
        recipients: draft.recipients,
        original,
    }
}

/// One failure makes a bounce; else one delay a delay notice; else it is a success report.
fn kind_of(recipients: &[Recipient]) -> Finding<Kind> {
    use crate::report::Action::{Delayed, Failed};
    let has = |action| recipients.iter().any(|r| r.action() == action);
    let (kind, line) = if has(Failed) || recipients.is_empty() {
        (Kind::Bounce, "a recipient failed")
    } else if has(Delayed) {
        (Kind::Delayed, "a recipient is delayed and none failed")
    } else {
        (Kind::Delivered, "every recipient was delivered, relayed or expanded")
    };
    finding(kind, "Action", line)
}

fn finding<T>(value: T, place: &'static str, line: impl Into<String>) -> Finding<T> {
    Finding { value, place, line: line.into() }
}
