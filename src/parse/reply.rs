//! Text -> reply codes and enhanced status codes that a server's words carry (RFC 5321 §4.2, RFC 2034).
//! One pass, no regular expressions; refuses to know what the codes mean.

use super::words::{Role, Words};
use crate::codes::{EnhancedStatusCode, ReplyCode, begins_with_code, status_length};

/// Subjects above 7 are not registered (RFC 3463 §2): in running text such a number is a version or an address.
const HIGHEST_SUBJECT: u16 = 7;

/// Every enhanced status code of class 4 or 5 in a text, with its byte offset. Versions, dates and IP addresses
/// that look alike are passed over.
fn statuses<'t>(text: &'t str, words: &'t Words) -> impl Iterator<Item = (usize, EnhancedStatusCode)> + 't {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'4', b'5', bytes).filter_map(move |at| {
        let before = at.checked_sub(1).map(|i| bytes[i]);
        // QUIRK: OpenSMTPD glues the lines of a reply together without a space: "due to domain's5.7.26 DMARC".
        let glued = before.is_some_and(|b| b.is_ascii_digit() || matches!(b, b'.' | b'/' | b'_' | b'v' | b'V'));
        if glued || bytes.get(at + 1) != Some(&b'.') {
            return None;
        }
        let len = status_length(&bytes[at..])?;
        let code: EnhancedStatusCode = text.get(at..at + len)?.parse().ok()?;
        let is_version = || words.have(Role::BeforeVersion, &last_word(&text[..at]));
        (code.subject() <= HIGHEST_SUBJECT && !is_version() && !is_in_address(bytes, at, at + len))
            .then_some((at, code))
    })
}

/// The word right before something, in lower case; empty where there is none.
fn last_word(before: &str) -> String {
    let before = before.trim_end();
    before[before.trim_end_matches(char::is_alphabetic).len()..].to_lowercase()
}

/// Whether octets are a part of an address: `<test-5.1.1@example.org>`.
fn is_in_address(text: &[u8], start: usize, end: usize) -> bool {
    let ends = |b: &&u8| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+' | b'='));
    text[end..].iter().take(LONGEST_PATH).find(ends) == Some(&b'@')
        || text[..start].iter().rev().take(LONGEST_PATH).find(ends) == Some(&b'@')
}

/// Whether a text begins with a reply code of success and a word or an enhanced status code: `250 2.1.5 Ok`.
pub(super) fn begins_with_success(text: &str) -> bool {
    // Asked at every address of a line: nothing behind its first octets may be looked at.
    matches!(text.as_bytes(), [b'2', b'5', b'0'..=b'9', b' ' | b'-', ..])
        && (text[4..].starts_with("2.") || text[4..].starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Whether it begins with an enhanced status code, or with a reply code and one: `size: 552 bytes` has none.
pub(super) fn begins_with_status(text: &str) -> bool {
    begins_with_code(text) && (status_follows(text, 0) || status_follows(text, "550 ".len()))
}

/// How sure it is that three digits are a reply code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// Surrounded by words: it may be a count or a port.
    Weak,
    /// At the start of a line, after a colon or bracket, or said to be a code.
    Strong,
    /// Followed by an enhanced status code.
    Paired,
    /// That, and where a reply begins: at the start of a line or behind a colon; or quoted from the remote server.
    Quoted,
}

/// Every possible reply code of class 4 or 5 in a text, with its byte offset.
pub(super) fn replies<'t>(text: &'t str, words: &'t Words) -> impl Iterator<Item = (usize, ReplyCode, Certainty)> + 't {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'4', b'5', bytes).filter_map(move |at| {
        let before = at.checked_sub(1).map(|i| bytes[i]);
        if before.is_some_and(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'@' | b'+' | b',' | b'$')
        }) {
            return None;
        }
        let code: ReplyCode = text.get(at..at + 3)?.parse().ok()?;
        let after = &bytes[at + 3..];
        let ends = match after.first() {
            None => true,
            Some(b'-') => {
                !after.get(1).is_some_and(u8::is_ascii_alphanumeric)
                    || status_follows(text, at + 4)
                    || after.get(1).is_some_and(u8::is_ascii_alphabetic)
            }
            Some(b'.') => !after.get(1).is_some_and(u8::is_ascii_digit),
            Some(b) => {
                b.is_ascii_whitespace()
                    || after.starts_with(NO_BREAK_SPACE)
                    || matches!(
                        b,
                        b':' | b';' | b',' | b')' | b']' | b'>' | b'#' | b'"' | b'\'' | b'_' | b'/' | b'=' | b'('
                    )
            }
        };
        if !ends || !code.is_in_use() {
            return None;
        }
        // Sendmail puts its own code before an address and the remote server's behind it: `554 <a@b>... 550 text`.
        let quoted = text[..at].ends_with("... ");
        let certainty = if quoted || (status_follows(text, at + 4) && begins_reply(&text[..at])) {
            Certainty::Quoted
        } else if status_follows(text, at + 4) {
            Certainty::Paired
        } else if (starts_reply(&text[..at], words)
            || address_follows(after)
            || script_changes(&text[..at], after)
            || quotes_words(after))
            && !counts_something(after, words)
        {
            Certainty::Strong
        } else {
            Certainty::Weak
        };
        Some((at, code, certainty))
    })
}

/// In UTF-8.
const NO_BREAK_SPACE: &[u8] = "\u{a0}".as_bytes();

fn status_follows(text: &str, at: usize) -> bool {
    let Some(rest) = text.get(text.floor_char_boundary(at)..) else { return false };
    let rest = rest.trim_start_matches([' ', '\u{a0}', '#', '(', '[', '<', '-', '\'', '"']);
    let bytes = rest.as_bytes();
    bytes.len() >= 5 && matches!(bytes[0], b'4' | b'5') && bytes[1] == b'.' && status_length(bytes).is_some()
}

/// `退信原因：地址不存在 550 User not found`: words in a script of their own lead up to a server's.
fn script_changes(before: &str, after: &[u8]) -> bool {
    let caseless = |c: char| c.is_alphabetic() && !c.is_lowercase() && !c.is_uppercase();
    matches!(after, [b' ', letter, ..] if letter.is_ascii_alphabetic()) && before.trim_end().ends_with(caseless)
}

/// QUIRK: IronPort puts what the server said in quotes: `5.3.0 - Other mail system problem 552-'Mailbox is full'`.
fn quotes_words(after: &[u8]) -> bool {
    matches!(after, [b'-', b'\'' | b'"', ..])
}

/// Whether the enhanced status code at an offset is what the reporting server makes of an answer, at another one, that has
/// none: IronPort writes `5.1.0 - Unknown address error 550-'no'`, Exchange `#5.5.0 smtp;550 no`.
pub(super) fn is_summary((at, status): (usize, EnhancedStatusCode), answer: usize, text: &str) -> bool {
    let of_exchange = || is_filler(status) && text[..answer].ends_with("smtp;");
    let quoted = || quotes_words(&text.as_bytes()[answer + 3..]);
    at < answer && !status_follows(text, answer + 4) && (quoted() || of_exchange())
}

/// Whether Exchange says no more with it than that the other server refused.
pub(super) fn is_filler(status: EnhancedStatusCode) -> bool {
    Some(status) == EnhancedStatusCode::new(5, 5, 0)
}

/// Where such an answer begins behind IronPort's own words.
pub(super) fn quoted_at(text: &str, words: &Words) -> Option<usize> {
    // Few answers have such a mark.
    if !(text.contains("-'") || text.contains("-\"")) || !begins_with_code(text) {
        return None;
    }
    replies(text, words).map(|(at, ..)| at).find(|at| quotes_words(&text.as_bytes()[at + 3..]))
}

/// `550 anna@example.org... No such user`, `550 <anna@example.org> unknown`.
fn address_follows(after: &[u8]) -> bool {
    let Some(b' ') = after.first() else { return false };
    let word: &[u8] = &after[1..after.len().min(LONGEST_PATH)];
    let word = word.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    word.contains(&b'@')
}

/// RFC 5321 §4.5.3.1.3, with a blank.
const LONGEST_PATH: usize = 257;

/// Whether a reply begins behind these words, and no remark within a sentence: `(550 5.1.1)`.
fn begins_reply(before: &str) -> bool {
    let line = before.trim_end_matches([' ', '\t']);
    line.is_empty()
        || line.ends_with(['\n', ':', ';', '#', '<', '-', '\'', '"', '：', '「', '『', '“', '„', '‘', '‚', '«'])
}

/// What opens a quotation; Swedes and Finns open it with the mark that closes it.
pub(super) const QUOTES: [char; 11] = ['\'', '"', '“', '„', '‘', '‚', '«', '「', '『', '”', '’'];

/// Whether what stands before three digits announces a reply code.
fn starts_reply(before: &str, words: &Words) -> bool {
    let line = before.trim_end_matches([' ', '\t']);
    let Some(last) = line.bytes().last() else { return true };
    // MDaemon marks what the server said in a transcript: `<-- 550 text`.
    if line.ends_with(['：', '（', '，', '。'])
        || line.ends_with(QUOTES)
        || line.ends_with("<--")
        || matches!(last, b'\n' | b':' | b';' | b'>' | b'<' | b'(' | b'[' | b'#' | b'=' | b'|')
        || ends_with_bracketed_number(line)
        || ends_with_address(line)
    {
        return true;
    }
    let tail = line.char_indices().rev().nth(15).map_or(line, |(i, _)| &line[i..]).to_ascii_lowercase();
    words.have(Role::AnnouncesReply, &tail)
}

/// `anna@example.org  550 unknown user`.
fn ends_with_address(line: &str) -> bool {
    line.bytes().rev().take(LONGEST_PATH).take_while(|b| !b.is_ascii_whitespace()).any(|b| b == b'@')
}

/// `mx.example.org [192.0.2.1] 550`, and Exchange 5.5's `(000B09B6) 550`.
fn ends_with_bracketed_number(line: &str) -> bool {
    let Some(inside) = line.strip_suffix([')', ']']) else { return false };
    let mut number = inside.bytes().rev().take(LONGEST_IP + 1).take_while(|b| !matches!(b, b'(' | b'['));
    let (mut octets, mut digits) = (0, 0);
    let fits = number.all(|b| {
        octets += 1;
        digits += usize::from(b.is_ascii_digit());
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b':')
    });
    fits && digits > 0 && octets <= LONGEST_IP
}

/// An IPv6 address in full.
const LONGEST_IP: usize = 39;

/// "500 characters", "450 KB": a number, not a code.
fn counts_something(after: &[u8], words: &Words) -> bool {
    let letters = after.iter().skip(1).take_while(|b| b.is_ascii_alphabetic()).take(12);
    words.have(Role::Counted, &letters.map(|b| char::from(b.to_ascii_lowercase())).collect::<String>())
}

/// The best reply code of a text: the first of the greatest certainty, at least `least`.
pub(super) fn best_reply(text: &str, least: Certainty, words: &Words) -> Option<(usize, ReplyCode)> {
    best_ranked(replies(text, words).filter(|found| found.2 >= least), |_, certainty| certainty)
}

/// The reply code that ended the delivery, in a transcript: a failure before an earlier deferral.
pub(super) fn final_reply(transcript: &str, words: &Words) -> Option<(usize, ReplyCode)> {
    let sure = replies(transcript, words).filter(|found| found.2 > Certainty::Weak);
    best_ranked(sure, |code, certainty| (code.class_digit() == 5 && !is_consequence(code), certainty))
}

/// Whether this is what a server says to DATA after it has answered every RCPT: the cause stands before it.
pub(super) const fn is_consequence(code: ReplyCode) -> bool {
    code.get() == 503
}

/// Whether it refuses a command and no message: 500 to 504 (RFC 5321 §4.2.2).
pub(super) const fn is_of_syntax(code: ReplyCode) -> bool {
    matches!(code.get(), 500..=504)
}

/// Whether an enhanced status code that stands at an offset is that of the consequence of a refusal.
pub(super) fn is_of_consequence(text: &str, at: usize) -> bool {
    text[..at].trim_end_matches([' ', '-']).ends_with("503")
}

/// Where a reply that stands at an offset without a word is said again with its words: `Status code: 550 5.1.10`, and
/// below it `Reported error: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; …`.
pub(super) fn said_in_full(text: &str, at: usize) -> usize {
    let line = |at: usize| text[at..].lines().next().unwrap_or_default();
    let codes = |c: char| c.is_ascii_digit() || matches!(c, '.' | ' ' | '-' | '#');
    let length = line(at).find(|c| !codes(c)).unwrap_or_else(|| line(at).len());
    let (bare, behind) = line(at).split_at(length);
    let bare = bare.trim_end_matches(|c: char| !c.is_ascii_digit());
    if bare.len() < "550 5.1.1".len() || behind.contains(char::is_alphanumeric) {
        return at;
    }
    let end = at + bare.len();
    let mut again = text[end..].match_indices(bare).map(|(i, _)| end + i);
    again.find(|&again| line(again)[bare.len()..].trim_start().starts_with(char::is_alphabetic)).unwrap_or(at)
}

/// The first of those that rank highest.
fn best_ranked<R: PartialOrd>(
    found: impl Iterator<Item = (usize, ReplyCode, Certainty)>,
    rank: impl Fn(ReplyCode, Certainty) -> R,
) -> Option<(usize, ReplyCode)> {
    let mut best: Option<(usize, ReplyCode, R)> = None;
    for (at, code, certainty) in found {
        let rank = rank(code, certainty);
        if best.as_ref().is_none_or(|b| rank > b.2) {
            best = Some((at, code, rank));
        }
    }
    best.map(|(at, code, _)| (at, code))
}

/// The enhanced status code that belongs to a reply code of the text: the one behind it, else the best of its
/// class, else the best of all.
pub(super) fn status_beside(
    text: &str,
    reply: Option<(usize, ReplyCode)>,
    words: &Words,
) -> Option<(usize, EnhancedStatusCode)> {
    let best = || best_status(text, words);
    let Some((at, code)) = reply else { return best() };
    let is_cause = |at: &usize| is_consequence(code) || !is_of_consequence(text, *at);
    let behind = status_follows(text, at + 4).then(|| statuses(&text[at + 4..], words).next()).flatten();
    behind
        .map(|(i, status)| (at + 4 + i, status))
        .filter(|(_, status)| !status.is_bare())
        .or_else(|| {
            statuses(text, words).find(|(at, s)| s.class_digit() == code.class_digit() && !s.is_bare() && is_cause(at))
        })
        .or_else(|| best().filter(|(at, s)| s.is_bare() || is_cause(at)))
}

/// The best enhanced status code of a text: one that follows a reply code before others, one that says more than
/// its class digit before `x.0.0`, and the first among equals.
pub(super) fn best_status(text: &str, words: &Words) -> Option<(usize, EnhancedStatusCode)> {
    let paired: Vec<usize> =
        replies(text, words).filter(|r| r.2 >= Certainty::Paired).map(|(at, ..)| at).take(MOST_PAIRS).collect();
    let follows_reply = |at: usize| paired.iter().any(|&reply| (reply + 4..=reply + 8).contains(&at));
    let rank = |&(at, code): &(usize, EnhancedStatusCode)| (code.is_bare(), !follows_reply(at));
    statuses(text, words).take(MOST_PAIRS).min_by_key(rank)
}

/// More codes than this in one text are a transcript whose first lines tell enough.
const MOST_PAIRS: usize = 32;

/// RFC 3463 §3.5: an expiry (x.4.7) that quotes the last answer of the remote server: `554 4.4.7 Message
/// expired: unable to deliver in 840 minutes.<421 4.4.2 Connection timed out>`. The quoted answer is the cause.
pub(super) fn cause_of_expiry<'t>(text: &'t str, words: &Words) -> Option<&'t str> {
    let (_, first) = statuses(text, words).next()?;
    if (first.subject(), first.detail()) != (4, 7) {
        return None;
    }
    let quoted = replies(text, words).filter(|r| r.2 >= Certainty::Paired).nth(1)?;
    Some(&text[quoted.0..])
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static WORDS: LazyLock<Words> = LazyLock::new(Words::embedded);

    fn codes(text: &str) -> (Option<String>, Option<String>) {
        let reply = best_reply(text, Certainty::Strong, &WORDS).map(|(_, c)| c.to_string());
        (reply, best_status(text, &WORDS).map(|(_, c)| c.to_string()))
    }

    #[test]
    fn a_text_begins_with_success() {
        for text in ["250 2.1.5 Ok", "250-2.0.0 Ok", "250 OK", "251 user not local; will forward"] {
            assert!(begins_with_success(text), "{text}");
        }
        for text in ["", "250", "250 550 messages", "2500 OK", "220 hello", "25x OK", "550 no"] {
            assert!(!begins_with_success(text), "{text}");
        }
    }

    #[test]
    fn a_reply_is_read_where_its_words_stand() {
        for (text, words) in [
            ("550 5.1.10\n\nError: 550 5.1.10 NotFound", "550 5.1.10 NotFound"),
            ("550 5.1.10.\nError: 550 5.1.10\n550 5.1.10 NotFound", "550 5.1.10 NotFound"),
            ("550 5.1.10 no\n550 5.1.10 NotFound", "550 5.1.10 no\n550 5.1.10 NotFound"),
            ("550 5.1.1\n550 5.1.10 NotFound", "550 5.1.1\n550 5.1.10 NotFound"),
            ("550\n550 no", "550\n550 no"),
            ("550 5.1.10", "550 5.1.10"),
        ] {
            assert_eq!(&text[said_in_full(text, 0)..], words, "{text}");
        }
    }

    #[test]
    fn codes_are_found_in_servers_words() {
        for (text, reply, status) in [
            ("550 5.1.1 User unknown", Some("550"), Some("5.1.1")),
            ("550-5.1.1 The account\n550 5.1.1 does not exist", Some("550"), Some("5.1.1")),
            ("550 #5.1.0 Address rejected", Some("550"), Some("5.1.0")),
            (
                "host mx.example.org[192.0.2.1] said: 452 4.2.2 Mailbox full (in reply to RCPT TO command)",
                Some("452"),
                Some("4.2.2"),
            ),
            ("Remote host said: 550 Requested action not taken", Some("550"), None),
            ("<<< 554 no such user", Some("554"), None),
            ("(reason: 550 Host unknown)", Some("550"), None),
            ("error code 554", Some("554"), None),
            ("5.7.1 Message refused", None, Some("5.7.1")),
            ("550 5.0.0 (5.2.2) full", Some("550"), Some("5.2.2")),
            ("5.1.0 - Unknown address error 550-'5.7.1 Access denied'", Some("550"), Some("5.7.1")),
            ("5.3.0 - Other mail system problem 552-\"5.2.2 Mailbox full\"", Some("552"), Some("5.2.2")),
            ("5.3.0 - Other mail system problem 552-'Mailbox full'", Some("552"), Some("5.3.0")),
            ("554 <a@example.org>... 550 Host unknown", Some("550"), None),
            ("a@example.org: [192.0.2.5], 550 a@example.org... No such user", Some("550"), None),
            ("421-4.7.28 rate limited", Some("421"), Some("4.7.28")),
            ("550-Mailbox unknown", Some("550"), None),
            ("550\u{a0}5.1.1\u{a0}user unknown", Some("550"), Some("5.1.1")),
            ("退信原因：地址不存在 550 User not found", Some("550"), None),
        ] {
            assert_eq!(codes(text), (reply.map(str::to_owned), status.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_no_codes_are_passed_over() {
        for text in [
            "mx 5.1.1.2 refused",
            "Exim/4.6.3",
            "version 4.3.2",
            "550 messages waiting",
            "还有 550 messages",
            "共有 550 封",
            "port 465",
            "1,550 KB",
            "id 4.10.12345",
            "<test-5.1.1-a@example.org>... Deferred",
            "anna@mail-5.1.1.example.org",
        ] {
            assert_eq!(codes(text), (None, None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[45.0-9 \\-#:a-zé\n]{0,60}") {
            let _ = codes(&text);
            let _ = replies(&text, &WORDS).count();
        }
    }
}
