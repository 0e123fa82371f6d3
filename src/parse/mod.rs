//! Mail -> [`Report`]. Knows nothing of hard or soft; see classify.
//!
//! The order: what is certainly no delivery report ([`kinds`]), the DSN part ([`dsn`]), the general text reader
//! ([`general`]) for programs that write none. Which program it was, and the sentences that only it writes, are
//! rows of a table ([`formats`]).

mod answers;
mod author;
mod blocks;
mod coding;
mod complaint;
mod dsn;
mod failed;
mod fields;
mod formats;
mod general;
mod kinds;
mod layout;
mod lines;
mod mime;
mod original;
mod passage;
mod passed_on;
mod provenance;
mod reply;
mod returned;
mod ses;
mod tables;
mod transcript;
mod walk;
mod words;

pub use coding::Coding;
use kinds::Carried;
pub use layout::{Block, Layout, Span, is_bounce};
use lines::{Numbering, Sent};
pub use mime::{from_cr_only, without_doubled_cr};
pub use provenance::OwnServers;
pub use tables::{TableFiles, Tables};

use std::sync::Arc;

use crate::{
    report::{Address, Evidence, Excerpt, Finding, Kind, Location, Provenance, Recipient, Report},
    text::addresses,
};

/// What the caller decides about reading.
#[derive(Debug, Clone)]
pub struct Options {
    /// Headers of the returned original that name a campaign, in order of preference.
    pub campaign_headers: Vec<String>,
    /// At most this many octets of a mail are read.
    pub most_octets: usize,
    /// What is known of our own mail servers.
    pub own: OwnServers,
    /// By which words a mail is read.
    pub tables: Arc<Tables>,
}

/// Octets of one mail that are read when nobody says otherwise.
pub const MOST_OCTETS: usize = 10 * 1024 * 1024;

/// Headers that name a campaign, as bulk senders and mailing tools write them.
#[must_use]
pub fn campaign_headers() -> Vec<String> {
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
    headers.map(str::to_owned).to_vec()
}

impl Default for Options {
    fn default() -> Self {
        let tables = Arc::new(Tables::embedded());
        Self { campaign_headers: campaign_headers(), most_octets: MOST_OCTETS, own: OwnServers::default(), tables }
    }
}

/// What one reader made of a mail.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// The kind, where the format says more than the recipients' actions do.
    kind: Option<Finding<Kind>>,
    kind_rule: Option<Arc<str>>,
    reporting_mta: Option<String>,
    recipients: Vec<Recipient>,
    complainers: complaint::Complainers,
    /// Recipients beyond [`MOST_RECIPIENTS`].
    left_out: usize,
}

/// A mail reports on at most so many recipients, a hundred times what RFC 5321 §4.5.3.1.8 has every server accept;
/// more are only counted, because a stranger writes as many as he likes and each takes memory and rows.
const MOST_RECIPIENTS: usize = 10_000;

/// Reads one mail. Never fails: what is no report is a [`Report`] that says so.
#[must_use]
pub fn parse(raw: &[u8], options: &Options) -> Report {
    match without_doubled_cr(raw).or_else(|| from_cr_only(raw)) {
        Some(mended) => parse_lines(&mended, &Numbering::WHOLE, options, 0),
        None => parse_lines(raw, &Numbering::WHOLE, options, 0),
    }
}

/// Reads one SMTP reply on its own (`550 5.1.1 User unknown`), as if a report had quoted it. The lines of a reply may
/// stand in one, as Exim writes them into its log: `550-No such user\n550 here`.
#[must_use]
pub fn response(text: &str, tables: &Tables) -> Recipient {
    let text = text[..text.floor_char_boundary(blocks::MOST_ABOUT)].replace("\\n", " \n");
    let text = Excerpt::from(text.as_str());
    // The whole reply is the diagnostic, whatever stands before its code.
    let diagnostic = Some(text.on_one_line()).filter(|words| !words.is_empty());
    let mut recipient = Recipient { text, diagnostic, ..Recipient::default() };
    general::read_codes(&mut recipient, &tables.words);
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

/// Where in a text the returned original begins, header and all; `None` where there is none.
#[must_use]
pub fn returned_in(text: &str, tables: &Tables) -> Option<usize> {
    returned::begins_at(text, &tables.words)
}

/// An mbox file's separator line is no header, nor is white space before it, which filters and hand-made copies leave.
#[must_use]
pub fn without_envelope(raw: &[u8]) -> &[u8] {
    let bare = without_white_space(raw);
    if !bare.starts_with(b"From ") {
        return bare;
    }
    memchr::memchr(b'\n', bare).map_or(raw, |end| without_white_space(&bare[end + 1..]))
}

/// White space and a byte order mark.
fn without_white_space(raw: &[u8]) -> &[u8] {
    let raw = raw.trim_ascii_start();
    raw.strip_prefix("\u{feff}".as_bytes()).unwrap_or(raw).trim_ascii_start()
}

/// A bounce forwarded as an attachment is read through this many wrappers.
const DEEPEST_WRAPPER: u8 = 3;

fn parse_lines(raw: &[u8], numbering: &Numbering, options: &Options, depth: u8) -> Report {
    let bytes = without_envelope(raw);
    let lines_before = raw[..raw.len() - bytes.len()].iter().filter(|b| **b == b'\n').count();
    let numbering = if lines_before > 0 { &numbering.behind(lines_before) } else { numbering };
    let sent = Sent { bytes, numbering };
    let headed = ses::with_header(sent);
    let sent = headed.as_ref().map_or(sent, |(bytes, numbering)| Sent { bytes, numbering });
    let Some(mail) = mime::read(sent, options.most_octets, &options.tables.words) else {
        return nobody("the mail has no header");
    };
    let returned = original::Returned::of(&mail, &options.campaign_headers);
    let kind_of_mail = kinds::MailKind::of(&mail, &returned, &options.tables.kinds);
    let Reading { mut report, by_fields } = read_mail(&mail, &returned, &kind_of_mail, &options.tables);
    if depth < DEEPEST_WRAPPER && (report.kind == Kind::NotBounce || !(by_fields || says_something(&report))) {
        // A bounce wrapped by a list or a scanner, or quoted in the text of another bounce; or one that a person shows.
        let read = |message: &[u8], numbering: &Numbering| {
            Some(parse_lines(message, numbering, options, depth + 1)).filter(|r| is_failure_or_delay(r.kind))
        };
        let attached = mail.parts.iter().filter(|p| !p.message.is_empty());
        let attached = attached.filter_map(|p| Some((Carried::Attached, read(&p.message, p.numbering())?)));
        let text = if report.kind == Kind::NotBounce { original::forwarded(&mail) } else { original::quoted(&mail) };
        let text = text.into_iter().filter_map(|t| Some((Carried::Text, read(t.text.as_bytes(), &t.numbering())?)));
        if let Some((carried, inner)) = attached.chain(text).next() {
            report = if kind_of_mail.answers_for(carried) { inner } else { passed_on(inner.kind_because.evidence) };
        }
    }
    report.message_id = mail.message_id.clone();
    report.date = mail.date;
    // Of the mail around it: what it carries, strangers wrote.
    if depth == 0 {
        report.provenance = provenance::of(&mail, &options.own, report.kind);
    }
    if matches!(report.kind, Kind::AutoReply | Kind::NotBounce) {
        report.author = author::of(&mail);
    }
    report
}

const fn is_failure_or_delay(kind: Kind) -> bool {
    matches!(kind, Kind::Bounce | Kind::Delayed)
}

/// What is said of a mail that carries a report which it does not answer for.
fn passed_on(evidence: Evidence) -> Report {
    let evidence = Evidence { location: Location::PassedOn, ..evidence };
    Report::of_nobody(Finding { value: Kind::NotBounce, evidence })
}

/// Whether words name a failed address or give a code; those of a wrapper don't. A complaint says enough: it may well
/// be of a bounce.
fn says_something(report: &Report) -> bool {
    report.kind == Kind::Complaint
        || report.recipients.iter().any(|r| {
            let named = addresses(r.text.as_str()).any(|(_, a)| Some(&a) == r.address.as_ref());
            let forwarded = r.final_recipient.is_some();
            let quotes_a_host = r.remote_mta.is_some();
            named || forwarded || quotes_a_host || r.status().is_some() || r.reply().is_some()
        })
}

/// What one mail says, whatever is attached to it.
struct Reading {
    report: Report,
    /// Whether it has the fields of RFC 3464, which leave no doubt that it is a report of its own.
    by_fields: bool,
}

fn read_mail(
    mail: &mime::Mail<'_>,
    returned: &original::Returned<'_>,
    kind_of_mail: &kinds::MailKind<'_>,
    tables: &Tables,
) -> Reading {
    if let Some(kind) = kind_of_mail.other_mail() {
        let mut report = Report::of_nobody(kind);
        if let Some(likeness) = kind_of_mail.likeness_of_other() {
            report.kind_rule.clone_from(&likeness.rule);
            report.format = likeness.format.clone().unwrap_or(report.format);
        }
        if report.kind == Kind::Complaint {
            read_complaint(mail, returned, tables, &mut report);
        }
        return Reading { report, by_fields: false };
    }
    if let Some(dsn::Fields { carried, first }) = dsn::find_fields(mail)
        && !kind_of_mail.answers_for(carried)
    {
        return Reading { report: passed_on(first), by_fields: true };
    }
    let original = returned.original();
    let of_fields = dsn::read(mail, original, tables);
    let by_fields = of_fields.is_some();
    let of_fields = of_fields.map(|draft| ("rfc3464".into(), draft));
    let of_ses = || ses::read(mail, &tables.words).map(|draft| (SES.into(), draft));
    let found = of_fields.or_else(of_ses).or_else(|| {
        let words = general::words_of(mail);
        let bounce = general::Bounce { mail, original, likeness: &kind_of_mail.report_likeness()? };
        let program = tables.formats.recognise(mail, words.text);
        general::read(&bounce, words, tables).map(|draft| (program.unwrap_or_else(|| "text".into()), draft))
    });
    let Some((format, draft)) = found else {
        let passed_on_fields = || dsn::shown_fields(mail);
        let report = match kind_of_mail.passed_on().or_else(passed_on_fields) {
            Some(evidence) => passed_on(evidence),
            None => nobody("nothing in it reports on a delivery"),
        };
        return Reading { report, by_fields };
    };
    let kind_because = draft.kind.unwrap_or_else(|| kind_of(&draft.recipients));
    let mut recipients = draft.recipients;
    for recipient in &mut recipients {
        let address = recipient.address.as_ref().map(Address::normalised);
        recipient.forwarded_to = dsn::forwarded_to(recipient).or_else(|| recipient.forwarded_to.take());
        recipient.is_ours = address.is_some_and(|address| original.senders.iter().any(|sender| sender == address));
        let came_to = |address: &Address| mail.to.iter().any(|to| Address::parse(to).as_ref() == Some(address));
        let is_senders = |address: &Address| original.is_ours(address) || came_to(address);
        recipient.refuses_sender = !recipient.is_ours && recipient.is_answer_to(is_senders);
        if recipient.forwarded_to.is_none() {
            let at_senders =
                |address: &Address| original.senders.iter().chain(&mail.to).any(|own| is_at(own, address.domain()));
            recipient.forwarded_to = dsn::refused_behind(recipient, at_senders);
        }
    }
    let report = Report {
        kind: kind_because.value,
        kind_because,
        format,
        kind_rule: draft.kind_rule,
        reporting_mta: draft.reporting_mta,
        message_id: None,
        date: None,
        recipients,
        complainers: draft.complainers.named,
        author: None,
        provenance: Provenance::default(),
        left_out: draft.left_out + draft.complainers.left_out,
        original: original.clone(),
    };
    Reading { report, by_fields }
}

/// Whether an address is at a domain.
fn is_at(address: &str, domain: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(_, at)| at.eq_ignore_ascii_case(domain))
}

/// Who complained, and of what.
fn read_complaint(mail: &mime::Mail<'_>, returned: &original::Returned<'_>, tables: &Tables, report: &mut Report) {
    report.original = returned.original().clone();
    let complainers = match ses::read(mail, &tables.words) {
        Some(draft) => {
            report.format = SES.into();
            report.kind_because = draft.kind.unwrap_or_else(|| report.kind_because.clone());
            report.kind = report.kind_because.value;
            draft.complainers
        }
        None => complaint::find(mail, &report.original),
    };
    (report.complainers, report.left_out) = (complainers.named, complainers.left_out);
}

fn nobody(because: &str) -> Report {
    Report::of_nobody(Finding { value: Kind::NotBounce, evidence: Evidence::of_structure(because) })
}

/// The format of what [`ses`] reads.
const SES: &str = "amazonses";

/// One failure makes a bounce; else one delay a delay notice; else it is a success report.
fn kind_of(recipients: &[Recipient]) -> Finding<Kind> {
    use crate::report::Action::{Delayed, Failed};
    let with = |action| recipients.iter().find(|r| r.action == action);
    let (kind, recipient, otherwise) = match (with(Failed), with(Delayed)) {
        (Some(failed), _) => (Kind::Bounce, Some(failed), "a recipient failed"),
        (None, Some(delayed)) => (Kind::Delayed, Some(delayed), "a recipient is delayed and none failed"),
        (None, None) if recipients.is_empty() => (Kind::Bounce, None, "it reports on nobody"),
        (None, None) => (Kind::Delivered, recipients.first(), "every recipient was reached"),
    };
    let because = recipient.and_then(|r| r.action_because.clone());
    Finding { value: kind, evidence: because.unwrap_or_else(|| Evidence::of_structure(otherwise)) }
}
