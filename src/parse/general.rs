//! The general text reader: a bounce that is no DSN, whichever program wrote it -> [`Draft`].
//! Gives each failed address its own lines, and takes the codes out of them; refuses to judge.

use super::{
    Draft,
    failed::{self, Failed},
    finding,
    formats::Bounce,
    mime::{Mail, Part, unfold},
    reply, text,
};
use crate::report::{Action, Address, Kind, Recipient};

/// Reads a report-like mail; `None` when it names nobody and gives no code.
pub(super) fn read(bounce: &Bounce<'_>, words: &str) -> Option<Draft> {
    let mut recipients = recipients(words, &failed::find(bounce.mail, bounce.original, words));
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
    Some(Draft { kind: Some(bounce.likeness.clone()), reporting_mta: None, recipients })
}

/// The program's own words: the first text part that has any before the returned message.
pub(super) fn words_of<'m>(mail: &'m Mail<'_>) -> &'m str {
    let words = mail.texts().map(Part::words).find(|w| !w.trim().is_empty()).unwrap_or("");
    text::without_footer(text::clip(words, MOST_WORDS))
}

/// Octets of a program's own words that are read: room for a thousand recipients.
pub(super) const MOST_WORDS: usize = 256 * 1024;

/// One recipient for each failed address, with its own lines. All of the words go to the only one, and to all of
/// them where no address has a line of its own: the cause stands above or below the list.
fn recipients(words: &str, failed: &[Failed]) -> Vec<Recipient> {
    let wanted: Vec<&str> = failed.iter().map(|f| f.shown.normalised()).collect();
    let mut blocks = match failed {
        [_] => vec![String::new()],
        _ => text::blocks(words, &wanted),
    };
    if blocks.iter().all(|block| text::names_only(block)) {
        blocks.fill(text::clip(words.trim(), text::MOST_ABOUT).to_owned());
    }
    let recipient = |(failed, text): (&Failed, String)| Recipient {
        address: Some(failed.mailed.clone()),
        final_recipient: Some(failed.shown.given().to_owned()).filter(|_| failed.shown != failed.mailed),
        text,
        ..Recipient::default()
    };
    failed.iter().zip(blocks).map(recipient).collect()
}

/// Takes the codes and the diagnostic out of a recipient's lines.
pub(super) fn read_codes(recipient: &mut Recipient) {
    let words = &recipient.text;
    let line_at = |at: usize| {
        let start = words[..at].rfind('\n').map_or(0, |i| i + 1);
        unfold(words[start..].lines().next().unwrap_or(""))
    };
    let reply = reply::final_reply(words);
    let status = reply::status_beside(words, reply);
    if recipient.diagnostic.is_none() {
        let code_at = reply.map(|r| r.0).or(status.map(|s| s.0));
        let said = code_at.map_or_else(|| own_lines(recipient), |at| words[at..].to_owned());
        let paragraph = said.split("\n\n").next().unwrap_or(&said);
        recipient.diagnostic = Some(unfold(text::clip(paragraph, MOST_DIAGNOSTIC))).filter(|d| !d.is_empty());
    }
    recipient.replies.extend(reply.map(|(at, code)| finding(code, "text part", line_at(at))));
    recipient.statuses.extend(status.map(|(at, code)| finding(code, "text part", line_at(at))));
}

/// Where no code shows the server's words: the lines that name the recipient, else all.
fn own_lines(recipient: &Recipient) -> String {
    let words = &recipient.text;
    let shown = recipient.final_recipient.as_deref().and_then(Address::parse).or_else(|| recipient.address.clone());
    let own = shown.and_then(|address| text::blocks(words, &[address.normalised()]).pop());
    own.filter(|block| !text::names_only(block)).unwrap_or_else(|| words.clone())
}

/// Octets of a diagnostic that are kept.
const MOST_DIAGNOSTIC: usize = 2000;
