//! The returned original message -> [`Original`]: from a message part, a header block part, or the text behind
//! the bounce's own words.

use std::{borrow::Cow, cell::OnceCell};

use super::{
    lines::{Numbering, Sent},
    mime,
    mime::{Field, Mail, Part},
    passage::Passage,
    words::{Role, Words},
};
use crate::{
    report::{Address, Original},
    text::{addresses, fold},
};

/// A header block is at most this long; what follows is body that nobody here reads.
const MOST_HEADER_OCTETS: usize = 64 * 1024;

/// What a mail returns of the original. It is read once, and only where somebody asks for it.
pub(super) struct Returned<'m> {
    mail: &'m Mail<'m>,
    campaign_headers: &'m [String],
    original: OnceCell<Original>,
}

impl<'m> Returned<'m> {
    pub(super) const fn of(mail: &'m Mail<'m>, campaign_headers: &'m [String]) -> Self {
        Self { mail, campaign_headers, original: OnceCell::new() }
    }

    pub(super) fn original(&self) -> &Original {
        self.original.get_or_init(|| find(self.mail, self.campaign_headers))
    }
}

fn find(mail: &Mail<'_>, campaign_headers: &[String]) -> Original {
    let Some(carrier) = Carrier::of(mail) else { return Original::default() };
    // Nothing of it is evidence here: its lines don't matter.
    let header = carrier.look(mail.words, || Numbering::WHOLE, |header| Some(read(header, campaign_headers)));
    header.unwrap_or_default()
}

/// Reads the header of the returned message where its lines matter; `None` where there is none.
pub(super) fn with_header<T>(mail: &Mail<'_>, look: impl FnOnce(&Mail<'_>) -> Option<T>) -> Option<T> {
    let carrier = Carrier::of(mail)?;
    carrier.look(mail.words, || carrier.numbering(), look)
}

/// What carries the returned message.
enum Carrier<'m> {
    /// A part of its own.
    Part(&'m Part<'m>),
    /// The words of a part.
    Words(Quoted<'m>),
}

impl<'m> Carrier<'m> {
    fn of(mail: &'m Mail<'m>) -> Option<Self> {
        let last = |fits: fn(&Part<'_>) -> bool| mail.parts.iter().rev().find(|part| fits(part));
        let is_header =
            |p: &Part<'_>| p.content_type.ends_with("rfc822-headers") || p.content_type == "message/global-headers";
        let part = last(|p| !p.message.is_empty()).or_else(|| last(is_header));
        part.map(Self::Part).or_else(|| quoted(mail).map(Self::Words))
    }

    /// Has the header of the returned message looked at; `None` where there is none.
    fn look<T>(
        &self,
        words: &Words,
        numbering: impl FnOnce() -> Numbering,
        look: impl FnOnce(&Mail<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Self::Part(part) = self
            && let Some(header) = part.header()
        {
            return look(header);
        }
        let sent = Sent { bytes: self.bytes(), numbering: &numbering() };
        look(&mime::read_header_block(sent, MOST_HEADER_OCTETS, words)?)
    }

    /// What it carries, blank lines in front included.
    fn raw(&self) -> &[u8] {
        match self {
            Self::Part(part) if part.message.is_empty() => part.text.as_bytes(),
            Self::Part(part) => &part.message,
            Self::Words(quoted) => quoted.text.as_bytes(),
        }
    }

    fn bytes(&self) -> &[u8] {
        self.raw().trim_ascii_start()
    }

    /// The lines of the mail that have these bytes.
    fn numbering(&self) -> Numbering {
        let whole = match self {
            Self::Part(part) => part.numbering().clone(),
            Self::Words(quoted) => quoted.numbering(),
        };
        let sent = Sent { bytes: self.raw(), numbering: &whole };
        whole.behind(sent.breaks_before(self.raw().len() - self.bytes().len()))
    }
}

/// A message among the words of a text part.
pub(super) struct Quoted<'m> {
    /// The message, without what stands before each of its lines.
    pub text: Cow<'m, str>,
    /// Where it was taken from: all of it, or line by line.
    taken_from: Vec<Passage<'m>>,
}

impl<'m> Quoted<'m> {
    fn of_lines(lines: Vec<Passage<'m>>) -> Self {
        let text = lines.iter().map(|line| line.text).collect::<Vec<_>>().join("\n");
        Self { text: text.into(), taken_from: lines }
    }

    /// The lines of the mail that carry it.
    pub fn numbering(&self) -> Numbering {
        let lines: Vec<Passage<'m>> = match self.taken_from[..] {
            [whole] => whole.lines().collect(),
            _ => self.taken_from.clone(),
        };
        Numbering::Each(lines.into_iter().filter_map(Passage::line).collect())
    }
}

/// The original as it stands behind the words of a text part.
pub(super) fn quoted<'m>(mail: &'m Mail<'m>) -> Option<Quoted<'m>> {
    mail.texts().find_map(Part::original).map(without_indent)
}

/// A report that is forwarded as quoted text, unquoted from its first header line on. Only one with the fields of a
/// DSN counts: people quote much, and a quoted opinion is no report.
pub(super) fn forwarded<'m>(mail: &'m Mail<'m>) -> Option<Quoted<'m>> {
    if !mail.words.have(Role::Forwards, fold(&mail.subject).as_str()) {
        return None;
    }
    let part = mail.texts().find(|p| p.text.contains("\n> ") && p.text.contains("Final-Recipient:"))?;
    let unquoted = Passage::of_part(part).lines().filter_map(|line| Some(line.behind(">")?.without_start(" ")));
    let lines: Vec<Passage<'m>> = unquoted.skip_while(|line| !line.text.starts_with("From:")).collect();
    (!lines.is_empty()).then(|| Quoted::of_lines(lines))
}

/// fml and others indent the original: blanks before its first line are taken off every line.
fn without_indent(original: Passage<'_>) -> Quoted<'_> {
    let indent = &original.text[..original.text.len() - original.text.trim_start_matches([' ', '\t']).len()];
    if indent.is_empty() {
        return Quoted { text: original.text.into(), taken_from: vec![original] };
    }
    Quoted::of_lines(original.lines().map(|line| line.without_start(indent)).collect())
}

fn read(mail: &Mail<'_>, campaign_headers: &[String]) -> Original {
    let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    let mut original = Original {
        recipient: None,
        senders: senders(mail),
        message_id: mail.message_id.clone(),
        from: some(&mail.from),
        subject: some(&mail.subject),
        list_id: mail.header("List-Id").and_then(|v| {
            let inner = v.rsplit_once('<').map_or(v, |(_, id)| id);
            some(inner.trim_end_matches('>').trim())
        }),
        campaign: campaign_headers.iter().find_map(|name| mail.header(name).and_then(some)),
        to: Vec::new(),
    };
    original.recipient = recipient(mail, |address| original.is_ours(address)).map(|(address, _)| address);
    original.to.clone_from(&mail.to);
    original
}

/// Header fields of the returned message that name who sent it or the list that passed it on.
const OF_SENDERS: &[&str] = &[
    "From",
    "Sender",
    "Reply-To",
    "Return-Path",
    "Errors-To",
    "List-Post",
    "List-Owner",
    "X-BeenThere",
    "Mailing-List",
    "X-Mailing-List",
];

/// The addresses of those who sent the returned message, normalised.
fn senders(mail: &Mail<'_>) -> Vec<String> {
    let fields = OF_SENDERS.iter().flat_map(|name| mail.headers_named(name));
    let named = fields.flat_map(|field| addresses(field).take(MOST_SENDERS));
    let mut all: Vec<String> = named.map(|(_, address)| address.normalised().to_owned()).take(MOST_SENDERS).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A stranger may name thousands.
const MOST_SENDERS: usize = 50;

/// Whom the message was delivered to. To names the list where a list passed it on, and the sender himself where
/// everybody else stood in Bcc; servers may note for whom they took it (RFC 5321 §4.4), one hop after the other.
///
/// Comes with the field that tells it; `is_other` says of whom it can't be told.
pub(super) fn recipient<'m>(
    header: &'m Mail<'_>,
    is_other: impl Fn(&Address) -> bool,
) -> Option<(Address, &'m Field<'m>)> {
    let named = |names: &'static [&str]| {
        header.fields().iter().filter(|field| names.iter().any(|name| field.name.eq_ignore_ascii_case(name)))
    };
    let mut addressed = named(&["To", "Cc"]);
    let to = match (&header.to[..], addressed.next(), addressed.next()) {
        ([to], Some(field), None) => Address::parse(to).filter(|to| !is_other(to)).map(|to| (to, field)),
        _ => None,
    };
    let noted = named(&["Received"]).filter_map(|field| Some((received_for(field.value())?, field)));
    let mut noted: Vec<(Address, &Field<'_>)> = noted.take(MOST_HOPS).collect();
    noted.retain(|(address, _)| !is_other(address));
    let same = |a: &Address, b: &Address| a.normalised() == b.normalised();
    match to {
        Some((to, field)) if noted.is_empty() || noted.iter().any(|(one, _)| same(one, &to)) => Some((to, field)),
        _ => noted.first().filter(|(first, _)| noted.iter().all(|(one, _)| same(one, first))).cloned(),
    }
}

/// RFC 5321 §6.3 has a server take so many Received fields for a loop.
const MOST_HOPS: usize = 100;

/// `… for <anna@example.org>; Fri, …`
fn received_for(field: &str) -> Option<Address> {
    let (_, behind) = field.rsplit_once(" for ")?;
    Address::parse(behind.split([';', ' ']).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Options;

    fn original(header: &str) -> Original {
        let options = Options::default();
        let header = format!("{header}To: anna@example.org\nSubject: News\n");
        let header = mime::read_header_block(sent(header.as_bytes()), MOST_HEADER_OCTETS, &options.tables.words);
        read(&header.expect("a header"), &[])
    }

    #[test]
    fn the_recipient_is_told_by_to_or_by_the_server_that_took_it() {
        for header in [
            "",
            "List-Id: News <news.lists.example.com>\nList-Unsubscribe: <https://example.com/u>\n",
            "Received: from a by b (Postfix) with ESMTP id 1\n\tfor <Anna@example.org>; Fri, 2 Jan 2026 00:00:00 +0000\n",
        ] {
            let recipient = original(header).recipient.map(|address| address.normalised().to_owned());
            assert_eq!(recipient.as_deref(), Some("anna@example.org"), "{header}");
        }
        for header in [
            "List-Post: <mailto:anna@example.org>\n",
            "List-Id: <anna.example.org>\n",
            "From: Anna <anna@example.org>\n",
            "X-BeenThere: anna@example.org\n",
            "To: bob@example.org\n",
            "Received: by b for <carl@example.net>; Fri, 2 Jan\nReceived: by a for <dora@example.net>; Fri, 2 Jan\n",
        ] {
            assert_eq!(original(header).recipient, None, "{header}");
        }
        for header in [
            "Received: from a by b with ESMTP for <carl@example.net>; Fri, 2 Jan 2026 00:00:00 +0000\n",
            "Received: by b for <carl@example.net>; Fri, 2 Jan\nList-Id: <anna.example.org>\n\
             Received: by a for <anna@example.org>; Fri, 2 Jan\n",
        ] {
            assert_eq!(original(header).recipient, Address::parse("carl@example.net"), "{header}");
        }
        // Forwarded: whom we mailed stands at an earlier hop.
        let forwarded =
            "Received: by b for <a@example.net>; Fri, 2 Jan\nReceived: by a for <anna@example.org>; Fri, 2 Jan\n";
        assert_eq!(original(forwarded).recipient, Address::parse("anna@example.org"));
    }

    #[test]
    fn senders_are_all_who_sent_it_and_the_list() {
        let header = "From: News <news@example.com>\nSender: Ops@example.com\nReturn-Path: <b@example.com>\n\
                      List-Post: <mailto:list@example.com>\nX-Other: carl@example.net\n";
        assert_eq!(
            original(header).senders,
            ["b@example.com", "list@example.com", "news@example.com", "ops@example.com"]
        );
    }

    fn sent(bytes: &[u8]) -> Sent<'_> {
        Sent { bytes, numbering: &Numbering::WHOLE }
    }

    #[test]
    fn what_is_returned_is_the_original_and_not_the_bounce() {
        let samples = [
            include_str!("../../scripts/samples/postfix-spam.eml"),
            // Here only the headers are returned.
            include_str!("../../scripts/samples/postfix-delivered.eml"),
        ];
        for (sample, message_id) in samples.into_iter().zip(["david.2026", "receipt.2026"]) {
            for mail in [sample.to_owned(), sample.replace('\n', "\r\n")] {
                let options = Options::default();
                let mail = mime::read(sent(mail.as_bytes()), options.most_octets, &options.tables.words).unwrap();
                let original = find(&mail, &options.campaign_headers);
                assert_eq!(original.message_id, Some(format!("{message_id}@lists.example.org")));
                assert_eq!(original.list_id.as_deref(), Some("news.lists.example.org"));
                assert_eq!(original.campaign.as_deref(), Some("spring-2026"));
            }
        }
    }

    #[test]
    fn a_quoted_report_is_read_when_it_was_forwarded_and_not_when_it_was_answered() {
        let quoted = "> From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.org>\n> Subject: Returned mail\n>\n\
                      > Final-Recipient: rfc822; anna@customer.example\n> Action: failed\n> Status: 5.1.1\n";
        let (words, options) = (Words::embedded(), Options::default());
        for (prefix, forwarded_is_some) in [("Fwd: ", true), ("WG: ", true), ("Re: ", false)] {
            let raw = format!(
                "Return-Path: <>\nFrom: bob@example.org\nSubject: {prefix}Returned mail\n\nSee below.\n\n{quoted}"
            );
            let mail = mime::read(sent(raw.as_bytes()), 10_000, &words).unwrap();
            assert_eq!(forwarded(&mail).is_some(), forwarded_is_some, "{prefix}");
            let report = super::super::parse(raw.as_bytes(), &options);
            let failed: Vec<_> = report.recipients.iter().filter_map(|r| r.address.as_ref()).collect();
            assert_eq!(failed.len(), usize::from(forwarded_is_some), "{prefix}");
        }
    }
}
