//! What in a folded text is not the refusing server's words: the frame that the reporting MTA puts around them, and the
//! names of addresses, hosts and links. Knows no words but those of the frame.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::AhoCorasick;

use super::addresses::address_ranges;

/// With what the reporting MTA says which command was refused (Postfix smtp_trouble.c).
pub const IN_REPLY_TO: &str = "(in reply to ";
/// With what the reporting MTA begins the words of the server, behind its name.
pub const SAID: &str = " said: ";
/// What the reporting MTA goes on with behind the words of the server: Postfix, and qmail-remote.
pub const BEHIND_REPLY: [&str; 2] = [IN_REPLY_TO, "giving up on "];

/// Octets of a host name with its address.
const LONGEST_FRAME: usize = 300;

/// A host's name and its address, where a blank is between them.
const MOST_NAMES: usize = 2;

/// Where a folded text holds something else than words about the delivery:
///
/// - addresses, the domains of the parties to a delivery, and links: `over.quota@spam.example` is a mailbox and not its
///   state;
/// - the reporting MTA's frame, `host mx.example.org[192.0.2.1] said: … (in reply to RCPT TO command)`: phrases that tell
///   who is meant by words such as "host" and "command" would trip over it.
///
/// A host name that is nobody's domain may be a blocklist's: only what stands wholly inside it is passed over, as in
/// the name of the command, and a sentence that goes on without a blank ("user unknown.Please") is none.
#[derive(Debug, Default)]
pub struct Asides {
    /// Nothing is to be found in these, not even in part.
    names: Vec<Range<usize>>,
    /// Nothing is to be found in these that does not reach out of them.
    hosts: Vec<Range<usize>>,
    /// Those of the names that are addresses, in the order of the text.
    addresses: Vec<Range<usize>>,
}

impl Asides {
    /// Those of a folded text. `domains` are those of the parties, folded; the domains of the addresses in the text
    /// are taken for theirs as well, and so is what stands one level above a host.
    #[must_use]
    pub fn find(text: &str, domains: &[String]) -> Self {
        // Sendmail goes on behind three dots, some of its kin without a blank: `anna@example.org...User unknown`.
        let before_dots = |at: Range<usize>| at.start..at.start + text[at.clone()].find("..").unwrap_or(at.len());
        let mut ranges: Vec<_> = address_ranges(text).map(before_dots).filter(|at| !at.is_empty()).collect();
        let addresses = ranges.clone();
        let addressed = ranges.iter().filter_map(|range| text[range.clone()].rsplit_once('@'));
        let mut parties: Vec<&str> = addressed.map(|(_, domain)| domain).take(MOST_PARTIES).collect();
        parties.extend(domains.iter().map(String::as_str));
        ranges.extend(links_and_frames(text));
        let above: Vec<_> = parties.iter().filter_map(|host| host.split_once('.')).map(|(_, above)| above).collect();
        parties.extend(above);
        parties.retain(|domain| domain.contains('.'));
        parties.sort_unstable();
        parties.dedup();
        if !parties.is_empty() {
            let is_theirs = |host: &Range<usize>| parties.iter().any(|domain| is_under(&text[host.clone()], domain));
            ranges.extend(names_with_dots(text).filter(is_theirs));
        }
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup_by(|next, last| {
            let meets = next.start <= last.end;
            last.end = if meets { last.end.max(next.end) } else { last.end };
            meets
        });
        let mut hosts: Vec<_> = host_names(text).chain(commands(text)).collect();
        hosts.sort_unstable_by_key(|range| range.start);
        Self { addresses, names: ranges, hosts }
    }

    /// Without the addresses that are not wanted; nothing is to be found in them all the same.
    #[must_use]
    pub fn of_addresses(mut self, text: &str, wanted: impl Fn(&str) -> bool) -> Self {
        self.addresses.retain(|at| wanted(&text[at.clone()]));
        self
    }

    /// Where addresses stand, in the order of the text.
    #[must_use]
    pub fn addresses(&self) -> &[Range<usize>] {
        &self.addresses
    }

    /// Whether a part of the text is to be passed over.
    #[must_use]
    pub fn hide(&self, part: &Range<usize>) -> bool {
        let at = |asides: &[Range<usize>]| {
            let next = asides.partition_point(|aside| aside.end <= part.start);
            asides.get(next).cloned()
        };
        at(&self.names).is_some_and(|name| name.start < part.end)
            || at(&self.hosts).is_some_and(|host| host.start <= part.start && part.end <= host.end)
    }
}

/// A text that names more parties than these is nobody's reply.
const MOST_PARTIES: usize = 16;

/// Whether a host is named as the domain is or lies under it.
#[must_use]
pub fn is_under(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Labels with single dots between, in any script.
fn names_with_dots(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let dot = from + memchr::memchr(b'.', &text.as_bytes()[from..])?;
            let start = from + text[from..dot].trim_end_matches(is_of_host).len();
            let mut end = dot;
            while let Some(label) = text[end..].strip_prefix('.') {
                let length = label.find(|c| !is_of_host(c)).unwrap_or(label.len());
                if length == 0 {
                    break;
                }
                end += 1 + length;
            }
            from = end.max(dot + 1);
            if start < dot && dot < end {
                return Some(start..end);
            }
        }
    })
}

/// The command that names the recipient: `after RCPT TO:<anna@example.org>: … not found` does not say that she isn't.
fn commands(text: &str) -> impl Iterator<Item = Range<usize>> {
    memchr::memmem::find_iter(text.as_bytes(), RCPT_TO).map(|at| at..at + RCPT_TO.len() - " to".len())
}

const RCPT_TO: &str = "rcpt to";

/// What looks like a host name: labels with dots between, the last one short and of letters.
pub fn host_names(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let dot = from + memchr::memchr(b'.', &text.as_bytes()[from..])?;
            let start = from + text[from..dot].trim_end_matches(is_of_ascii_host).len();
            let length = text[start..].find(|c: char| c != '.' && !is_of_ascii_host(c)).unwrap_or(text.len() - start);
            from = start + length;
            let name = text[start..from].trim_end_matches(['.', '-']);
            let last = name.rsplit_once('.').map_or("", |(_, last)| last);
            if (2..=LONGEST_TOP).contains(&last.len()) && last.bytes().all(|b| b.is_ascii_alphabetic()) {
                return Some(start..start + name.len());
            }
        }
    })
}

/// Of top-level domains that hosts are really named with, `.example` among them; what is longer is rather a word, or
/// the end of an error's name (`RESOLVER.ADR.RecipNotFound`).
const LONGEST_TOP: usize = 7;

/// Chinese and Japanese sentences go on without a blank before a name.
fn is_of_ascii_host(c: char) -> bool {
    c.is_ascii() && is_of_host(c)
}

fn is_of_host(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

/// What links and the frame are known by.
static SIGNS: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(["://", "www.", SAID, IN_REPLY_TO]).expect("four short literals compile"));

/// Links and the frame around a reply: `https://example.org/user-unknown`, `host … said: ` and every `(in reply to …)`.
fn links_and_frames(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut is_inside = true;
    SIGNS.find_iter(text).filter_map(move |sign| match sign.pattern().as_usize() {
        0 | 1 => {
            let start = text[..sign.start()].trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
            let rest = text[sign.end()..].char_indices().take(LONGEST_LINK);
            let mut ends = rest.filter(|&(_, c)| c.is_whitespace() || "<>\"'()[]".contains(c));
            Some(start..ends.next().map_or(text.len(), |(end, _)| sign.end() + end))
        }
        // Only the first: what a server quotes in turn are its words.
        2 if std::mem::take(&mut is_inside) => {
            let host = text[..sign.start()].rfind("host ").filter(|host| sign.start() - host < LONGEST_FRAME)?;
            // More words are somebody's: `host mx.example.org: 550 … (callback said: …)`.
            let named = text[host + "host ".len()..sign.start()].split(' ').count();
            (named <= MOST_NAMES).then_some(host..sign.end())
        }
        3 => Some(sign.start()..sign.end() + text[sign.end()..].find(')')? + 1),
        _ => None,
    })
}

/// In characters; whoever writes longer ones gets what stands behind it passed over, too.
const LONGEST_LINK: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asides<'t>(text: &'t str, domains: &[&str]) -> Vec<&'t str> {
        let domains: Vec<_> = domains.iter().map(|domain| (*domain).to_owned()).collect();
        Asides::find(text, &domains).names.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn the_frame_stands_aside() {
        for (text, expected) in [
            (
                "host mx.example.org[192.0.2.1] said: 550 no such user (in reply to rcpt to command)",
                &["host mx.example.org[192.0.2.1] said: ", "(in reply to rcpt to command)"][..],
            ),
            ("host mx refused to talk to me: 554 no", &[]),
            ("550 no (in reply to", &[]),
            ("host mx.example.org (192.0.2.1) said: 550 no", &["host mx.example.org (192.0.2.1) said: "]),
            ("host mx: 550 no (callback said: no such user)", &[]),
            ("he said: no", &[]),
        ] {
            assert_eq!(asides(text, &[]), expected);
        }
    }

    #[test]
    fn addresses_domains_of_the_parties_and_links_stand_aside() {
        for (text, domains, expected) in [
            ("550 <user.unknown@spam.example> no", &[][..], &["user.unknown@spam.example"][..]),
            ("550 \"mailbox full\"@a.example: no", &[], &["\"mailbox full\"@a.example"]),
            (
                "a@spam.example: mx.spam.example and spam.example.",
                &[],
                &["a@spam.example", "mx.spam.example", "spam.example"],
            ),
            (
                "a@in.spam.example: mx.spam.example, in.spam.example",
                &[],
                &["a@in.spam.example", "mx.spam.example", "in.spam.example"],
            ),
            ("listed by zen.spamhaus.org", &["spam.example"], &[]),
            ("no spam.example, nospam.example, spam.example.org", &["spam.example"], &["spam.example"]),
            (
                "see https://a.example/user-unknown?x (www.full.example) now",
                &[],
                &["https://a.example/user-unknown?x", "www.full.example"],
            ),
            ("unknown user at localhost", &["localhost"], &[]),
            ("@ @@ a@", &[], &["@", "@@", "a@"]),
            ("a@spam.example...user unknown", &[], &["a@spam.example"]),
        ] {
            assert_eq!(asides(text, domains), expected, "{text}");
        }
    }

    #[test]
    fn words_inside_a_host_name_are_hidden_and_those_beside_it_are_not() {
        for (text, word, hidden) in [
            ("550 user-not-found.example: listed", "user-not-found", true),
            ("client mx.mailbox-full.example[192.0.2.1]", "mailbox-full", true),
            ("550 user unknown.please check", "user unknown", false),
            ("resolver.adr.recipientnotfound; no", "recipientnotfound", false),
            ("550 5.1.1 unknown", "unknown", false),
            ("after rcpt to:<a@a.example>: 550 unknown", "rcpt", true),
            ("after rcpt to:<a@a.example>: 550 unknown", "after rcpt to", false),
            ("550 rcpt a@a.example unknown", "rcpt", false),
        ] {
            let at = text.find(word).expect(word);
            assert_eq!(Asides::find(text, &[]).hide(&(at..at + word.len())), hidden, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_hidden_where_it_shares_a_character_with_a_name_or_lies_inside_a_host(
            text in "[a-b@. ]{0,24}",
            at in 0_usize..24,
            len in 1_usize..6,
        ) {
            let asides = Asides::find(&text, &["a.b".into()]);
            let part = at.min(text.len())..(at + len).min(text.len());
            prop_assume!(!part.is_empty());
            let shared = asides.names.iter().any(|name| name.clone().any(|i| part.contains(&i)));
            let inside = asides.hosts.iter().any(|host| part.clone().all(|i| host.contains(&i)));
            prop_assert_eq!(asides.hide(&part), shared || inside);
        }
    }
}
