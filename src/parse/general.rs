//! The general text reader: a bounce that is no DSN and that no format knows -> [`Draft`].
//! Finds the failed addresses by where they stand, and each one's lines; refuses to judge.

use super::{
    Draft, finding,
    formats::Bounce,
    mime::unfold,
    reply::{self, Certainty},
    text,
};
use crate::report::{Action, Address, Finding, Kind, Recipient};

/// Reads a report-like mail; `None` when it names nobody and gives no code.
pub(super) fn read(bounce: &Bounce<'_>) -> Option<Draft> {
    let words = words_of(bounce);
    let addresses = failed_addresses(bounce, words);
    let mut recipients = recipients(words, &addresses);
    if recipients.is_empty() {
        recipients.push(Recipient { text: text::clip(words, text::MOST_ABOUT).to_owned(), ..Recipient::default() });
    }
    recipients.iter_mut().for_each(read_codes);
    let told = recipients.iter().any(|r| r.address.is_some() || r.reply().is_some() || r.status().is_some());
    if !told && bounce.likeness.place != "Subject" {
        return None;
    }
    let action = match bounce.likeness.value {
        Kind::Delayed => Action::Delayed,
        Kind::Delivered => Action::Delivered,
        _ => Action::Failed,
    };
    for recipient in &mut recipients {
        recipient.action = Some(action);
    }
    let kind = Finding { value: bounce.likeness.value, ..bounce.likeness.clone() };
    Some(Draft { kind: Some(kind), reporting_mta: None, recipients })
}

/// The program's own words: the first text part that has any before the returned message.
pub(super) fn words_of<'m>(bounce: &Bounce<'m>) -> &'m str {
    bounce.mail.texts().map(|t| text::split(t).words).find(|w| !w.trim().is_empty()).unwrap_or("")
}

/// One recipient for each address, with its own lines; all of them when there is one address only.
pub(super) fn recipients(words: &str, addresses: &[Address]) -> Vec<Recipient> {
    let wanted: Vec<&str> = addresses.iter().map(Address::normalised).collect();
    let blocks = match addresses {
        [_] => vec![text::clip(words.trim(), text::MOST_ABOUT).to_owned()],
        _ => text::blocks(words, &wanted),
    };
    let recipient = |(address, text): (&Address, String)| Recipient {
        address: Some(address.clone()),
        text,
        ..Recipient::default()
    };
    addresses.iter().zip(blocks).map(recipient).collect()
}

/// Takes the codes and the diagnostic out of a recipient's lines.
pub(super) fn read_codes(recipient: &mut Recipient) {
    let words = &recipient.text;
    let line_at = |at: usize| {
        let start = words[..at].rfind('\n').map_or(0, |i| i + 1);
        unfold(words[start..].lines().next().unwrap_or(""))
    };
    let reply = reply::best_reply(words, Certainty::Strong);
    let status = reply::best_status(words);
    if recipient.diagnostic.is_none() {
        let from = reply.map(|r| r.0).into_iter().chain(status.map(|s| s.0)).min();
        let text = from.map_or(words.as_str(), |at| &words[at..]);
        let paragraph = text.split("\n\n").next().unwrap_or(text);
        recipient.diagnostic = Some(unfold(text::clip(paragraph, MOST_DIAGNOSTIC))).filter(|d| !d.is_empty());
    }
    recipient.replies.extend(reply.map(|(at, code)| finding(code, "text part", line_at(at))));
    recipient.statuses.extend(status.map(|(at, code)| finding(code, "text part", line_at(at))));
}

/// Octets of a diagnostic that are kept.
const MOST_DIAGNOSTIC: usize = 2000;

/// Local parts that belong to whoever writes bounces, not to whom we mail.
const SERVICE: &[&str] = &[
    "postmaster",
    "mailer-daemon",
    "mailerdaemon",
    "abuse",
    "hostmaster",
    "support",
    "helpdesk",
    "help",
    "noc",
    "dnsadmin",
];

/// Words that stand before the address that failed, lower case, without trailing blanks.
const ANNOUNCE: &[&str] = &[
    "rcpt to:",
    "to:",
    "recipient:",
    "recipients:",
    "recipient",
    "recipient address:",
    "address:",
    "user:",
    "user",
    "mailbox:",
    "mailbox",
    "addressee:",
    "delivery to",
    "deliver to",
    "delivered to",
    "delivered to:",
    "message to",
    "mail to",
    "email to",
    "e-mail to",
    "account",
    "account:",
    "smtp;",
    "rfc822;",
    "utf-8;",
    "address",
    "sent to",
    "reach",
    "empfänger:",
    "empfänger",
    "an:",
    "destinataire",
    "destinataire :",
    "destinatario:",
    "destinatário:",
    "адресат:",
    "宛先:",
    "收件人:",
    "收件人：",
];

/// The addresses that failed, by the surest sign that the mail offers.
fn failed_addresses(bounce: &Bounce<'_>, words: &str) -> Vec<Address> {
    let mut failed: Vec<Address> = Vec::new();
    for field in bounce.mail.headers_named("X-Failed-Recipients") {
        failed.extend(field.split(',').filter_map(Address::parse));
    }
    if !failed.is_empty() {
        return distinct(failed);
    }
    let mailed: Vec<Address> = bounce.original.to.iter().filter_map(|a| Address::parse(a)).collect();
    let own = own_addresses(bounce);
    let (mut strong, mut weak) = (Vec::new(), Vec::new());
    for line in words.lines() {
        let lower = line.trim_start().get(..11).unwrap_or("").to_ascii_lowercase();
        if lower.starts_with("message-id") || lower.starts_with("from:") || lower.starts_with("in-reply-to") {
            continue;
        }
        for (range, address) in text::addresses(line) {
            let local = address.normalised().split('@').next().unwrap_or("");
            if own.contains(&address.normalised().to_owned()) && !mailed.contains(&address) {
                continue;
            }
            if SERVICE.contains(&local) && !mailed.contains(&address) {
                continue;
            }
            if is_announced(&line[..range.start]) { &mut strong } else { &mut weak }.push(address);
        }
    }
    let (strong, weak) = (distinct(strong), distinct(weak));
    let known = |list: &[Address]| -> Vec<Address> { list.iter().filter(|a| mailed.contains(a)).cloned().collect() };
    for sure in [known(&strong), strong.clone(), known(&weak)] {
        if !sure.is_empty() {
            return sure;
        }
    }
    match (weak.as_slice(), mailed.as_slice()) {
        ([_], _) => weak,
        (_, [_]) => mailed,
        _ => Vec::new(),
    }
}

/// In characters, with brackets and blanks.
const LONGEST_ANNOUNCEMENT: usize = 60;

fn is_announced(before: &str) -> bool {
    // Only the last words count; a line may be as long as the mail.
    let tail = before.char_indices().rev().nth(LONGEST_ANNOUNCEMENT).map_or(0, |(i, _)| i);
    let before = before[tail..]
        .trim_end_matches(|c: char| {
            c.is_whitespace() || matches!(c, '<' | '"' | '\'' | '(' | '[' | '«' | '“' | '„' | ':')
        })
        .trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '-' | '>' | '|' | '•' | '·' | '#'));
    if before.is_empty() {
        return true;
    }
    let lower = before.to_lowercase();
    ANNOUNCE.iter().any(|a| lower.ends_with(a.trim_end_matches(':')))
}

/// Who we are: the addresses that the bounce was sent to and that the original came from.
fn own_addresses(bounce: &Bounce<'_>) -> Vec<String> {
    let mail = bounce.mail;
    let ids = [&mail.message_id, &bounce.original.message_id].into_iter().flatten();
    mail.to
        .iter()
        .chain(std::iter::once(&mail.from))
        .chain(&bounce.original.from)
        .chain(ids)
        .filter_map(|a| Address::parse(a))
        .map(|a| a.normalised().to_owned())
        .collect()
}

fn distinct(addresses: Vec<Address>) -> Vec<Address> {
    let mut seen = std::collections::HashSet::new();
    addresses.into_iter().filter(|a| seen.insert(a.normalised().to_owned())).collect()
}
