//! The general text reader: a bounce that is no DSN, whichever program wrote it -> [`Draft`].
//! Gives each failed address its own lines, and takes the codes out of them; refuses to judge.

use std::ops::Range;

use super::{
    Draft, MOST_RECIPIENTS,
    answers::{self, Answer, Told},
    blocks::{MOST_ABOUT, blocks, names_only},
    failed::{self, Failed},
    kinds::Likeness,
    mime::{Mail, Part},
    passage::Passage,
    reply,
    tables::Tables,
    transcript,
    words::{Role, Words},
};
use crate::{
    report::{Action, Address, Excerpt, Finding, Kind, Location, Original, Recipient},
    text::{fold, split_lines},
};

/// A mail that looks like a delivery report.
pub(super) struct Bounce<'m> {
    /// The mail.
    pub mail: &'m Mail<'m>,
    /// What is known of the returned original.
    pub original: &'m Original,
    /// Why it looks like a report.
    pub likeness: &'m Likeness,
}

/// Reads a report-like mail; `None` when it names nobody and gives no code.
pub(super) fn read(bounce: &Bounce<'_>, words: Passage<'_>, tables: &Tables) -> Option<Draft> {
    let mut failed = failed::find(bounce.mail, bounce.original, words.text, true, tables);
    let left_out = failed.len().saturating_sub(MOST_RECIPIENTS);
    failed.truncate(MOST_RECIPIENTS);
    let mut recipients = recipients(words, &failed, &tables.words);
    if recipients.is_empty() {
        recipients.push(Recipient { text: about(words), ..Recipient::default() });
    }
    recipients.iter_mut().for_each(|recipient| read_codes(recipient, &tables.words));
    let told = recipients.iter().any(|r| r.address.is_some() || r.reply().is_some() || r.status().is_some());
    let Likeness { kind, subject_says_so, rule, .. } = bounce.likeness;
    if !told && !subject_says_so {
        return None;
    }
    let action = match kind.value {
        Kind::Delayed => Action::Delayed,
        Kind::Delivered => Action::Delivered,
        _ => Action::Failed,
    };
    for recipient in &mut recipients {
        recipient.action = action;
        recipient.action_because = Some(kind.evidence.clone());
    }
    Some(Draft { kind: Some(kind.clone()), kind_rule: rule.clone(), recipients, left_out, ..Draft::default() })
}

/// The program's own words: the first text part that has any before the returned message.
pub(super) fn words_of<'m>(mail: &'m Mail<'m>) -> Passage<'m> {
    let words = mail.texts().map(Part::words).find(|w| !w.text.trim().is_empty()).unwrap_or_default();
    let words = words.clipped(MOST_WORDS);
    words.slice(0..without_footer(words.text).len())
}

/// Without the footer that Mailman and its kin put below what passes through a list: a long line of underscores and
/// a few lines that name the list.
fn without_footer(words: &str) -> &str {
    let ruled = |line: &&str| line.len() >= SHORTEST_RULE && line.bytes().all(|b| b == b'_');
    let mut end = words.len();
    for line in words.rsplit('\n').take(LONGEST_FOOTER) {
        end = end.saturating_sub(line.len() + 1);
        if Some(line.trim()).as_ref().is_some_and(ruled) {
            return words.get(..end).unwrap_or(words);
        }
    }
    words
}

/// In octets; Mailman draws 47, Exchange 32 above the details for administrators.
const SHORTEST_RULE: usize = 40;
/// In lines, the rule included.
const LONGEST_FOOTER: usize = 8;

/// As much of a recipient's words as is kept.
fn about(words: Passage<'_>) -> Excerpt {
    words.clipped(MOST_ABOUT).excerpt(&Location::TextPart)
}

/// In octets, where several recipients share the words.
const MOST_ABOUT_ALL: usize = 1024 * 1024;

/// Octets of a program's own words that are read: room for some thousand recipients.
pub(super) const MOST_WORDS: usize = 256 * 1024;

/// One recipient for each failed address, with its own lines. All of the words go to the only one, and to all of
/// them where no address has a line of its own: the cause stands above or below the list.
fn recipients(words: Passage<'_>, failed: &[Failed], table: &Words) -> Vec<Recipient> {
    let wanted: Vec<&str> = failed.iter().map(|f| f.shown.normalised()).collect();
    let mut said = words_of_each(words, &wanted, table);
    if said.iter().all(|said| !said.of_answers && names_only(said.text.as_str())) {
        let most = MOST_ABOUT.min(MOST_ABOUT_ALL / failed.len().max(1));
        said.fill(Said { text: about(words.trimmed().clipped(most)), ..Said::default() });
    }
    let recipient = |(failed, said): (&Failed, Said)| Recipient {
        address: Some(failed.mailed.clone()),
        final_recipient: Some(failed.shown.given().to_owned()).filter(|_| failed.shown != failed.mailed),
        forwarded_to: failed.hidden.clone(),
        remote_mta: said.host,
        text: said.text,
        ..Recipient::default()
    };
    failed.iter().zip(said).map(recipient).collect()
}

/// What the words of a mail say of one address.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// The lines that speak of it; where the mail quotes servers' answers to it, these alone.
    pub text: Excerpt,
    /// The host that answered, where the mail names it.
    pub host: Option<String>,
    /// Whether the mail quotes answers: then nothing else in it is the cause.
    of_answers: bool,
}

/// What the words say of each address (normalised): all of it of the only one, else the lines that speak of each; of
/// a transcript what was said of each in it, and of a notice that quotes servers what these answered.
pub(super) fn words_of_each(words: Passage<'_>, wanted: &[&str], table: &Words) -> Vec<Said> {
    let words = words.trimmed();
    let excerpts = |lines: Vec<Range<usize>>| {
        joined(lines.into_iter().map(|line| words.slice(line).excerpt(&Location::TextPart))).clipped(MOST_ABOUT)
    };
    let of_each = if wanted.len() == 1 { vec![vec![0..words.text.len()]] } else { blocks(words.text, wanted, table) };
    if let Some(transcript) = transcript::read(words.text, wanted, table) {
        let of_each = transcript.share_out(of_each).into_iter();
        return of_each.map(|lines| Said { text: excerpts(lines), ..Said::default() }).collect();
    }
    let answers = answers::read(words.text, wanted);
    let of_answers = answers.is_some();
    let said =
        |(i, mut lines): (usize, Vec<Range<usize>>)| match answers.as_ref().map(|answers| (answers, answers.of(i))) {
            Some((_, Told::Answers(his))) => {
                let host = his.iter().find_map(|answer| Some(&answer.announcement.as_ref()?.host));
                let host = host.map(|host| words.text[host.clone()].to_owned());
                Said { text: quoted(words, &his), host, of_answers }
            }
            Some((_, Told::Contradiction)) => Said { of_answers, ..Said::default() },
            Some((answers, Told::Nothing)) => {
                if wanted.len() == 1 {
                    lines = blocks(words.text, wanted, table).pop().unwrap_or_default();
                }
                lines.retain(|line| !answers.has(line.start));
                Said { text: excerpts(lines), host: None, of_answers }
            }
            None => Said { text: excerpts(lines), ..Said::default() },
        };
    of_each.into_iter().enumerate().map(said).collect()
}

/// Answers, and then what announces them, with a blank line between: it may tell what was refused.
fn quoted(words: Passage<'_>, answers: &[&Answer]) -> Excerpt {
    let mut all = Excerpt::default();
    let announcements = answers.iter().filter_map(|answer| Some(&answer.announcement.as_ref()?.range));
    for range in answers.iter().map(|answer| &answer.range).chain(announcements) {
        let left = MOST_ABOUT.saturating_sub(all.as_str().len());
        if left == 0 {
            break;
        }
        all.append(&words.slice(range.clone()).clipped(left).excerpt(&Location::TextPart));
        all.push_between('\n');
        all.push_between('\n');
    }
    all
}

fn joined(excerpts: impl Iterator<Item = Excerpt>) -> Excerpt {
    let mut all = Excerpt::default();
    excerpts.for_each(|excerpt| all.append(&excerpt));
    all
}

/// Takes the codes and the diagnostic out of a recipient's lines.
pub(super) fn read_codes(recipient: &mut Recipient, table: &Words) {
    let words = &recipient.text;
    let reply = reply::final_reply(words.as_str(), table);
    let reply = reply.map(|(at, code)| (reply::said_in_full(words.as_str(), at), code));
    let status = reply::status_beside(words.as_str(), reply, table);
    if recipient.diagnostic.is_none() {
        // qmail and its kin put the status behind their words: `Sorry, no mailbox here by that name. (#5.1.1)`.
        let leading = status.filter(|(at, _)| !words.as_str()[..*at].ends_with("(#"));
        let code_at = reply.map(|r| r.0).or(leading.map(|s| s.0));
        let said = code_at.map_or_else(|| own_lines(recipient, table), |at| words.slice(at..words.as_str().len()));
        let paragraph = match code_at {
            Some(_) => end_of_answer(said.as_str(), table),
            None => said.as_str().find("\n\n").unwrap_or(said.as_str().len()),
        };
        let diagnostic = said.clipped(paragraph.min(MOST_DIAGNOSTIC)).on_one_line();
        recipient.diagnostic = Some(diagnostic).filter(|d| !d.is_empty());
    }
    let summed_up = status.zip(reply).is_some_and(|(status, (at, _))| reply::is_summary(status, at, words.as_str()));
    recipient.replies.extend(reply.map(|(at, code)| found(words, at, code)));
    recipient.statuses.extend(status.map(|(at, code)| found(words, at, code)));
    recipient.status_is_made_up = summed_up;
}

/// Where what a server said ends: at a blank line, or where a program goes on with a field of the message: `Sender: …`.
fn end_of_answer(said: &str, table: &Words) -> usize {
    let mut end = 0;
    for line in split_lines(said) {
        let name = line.split([':', '=']).next().filter(|name| name.len() < line.len() && name.len() <= LONGEST_NAME);
        let names_field = |name: &str| {
            let name = fold(name.trim()).into_string();
            [Role::NamesRecipient, Role::NamesOther, Role::NamesSubject].iter().any(|role| table.have(*role, &name))
        };
        if end > 0 && (line.trim().is_empty() || name.is_some_and(names_field)) {
            break;
        }
        end += line.len();
    }
    end
}

/// In octets.
const LONGEST_NAME: usize = 32;

/// A code that stands at an offset of an excerpt.
pub(super) fn found<T: ToString>(words: &Excerpt, at: usize, code: T) -> Finding<T> {
    let evidence = words.evidence(at..at + code.to_string().len());
    Finding { value: code, evidence }
}

/// Where no code shows the server's words: the lines that name the recipient, else all.
fn own_lines(recipient: &Recipient, table: &Words) -> Excerpt {
    let words = &recipient.text;
    let shown = recipient.final_recipient.as_deref().and_then(Address::parse).or_else(|| recipient.address.clone());
    let own = shown.and_then(|address| blocks(words.as_str(), &[address.normalised()], table).pop());
    let own = own.map(|lines| joined(lines.into_iter().map(|line| words.slice(line))));
    own.filter(|block| !names_only(block.as_str())).unwrap_or_else(|| words.clone())
}

/// Octets of a diagnostic that are kept.
const MOST_DIAGNOSTIC: usize = 2000;
