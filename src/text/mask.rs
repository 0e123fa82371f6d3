//! What must not be looked at is taken out of a folded text; the rest still knows where it stands.

use std::ops::Range;

use super::{Folded, fold};

const IN_REPLY_TO: &str = "(in reply to ";
const SAID: &str = " said: ";

/// Octets of a host name with its address.
const LONGEST_FRAME: usize = 300;

impl Folded<'_> {
    /// Takes the reporting MTA's own frame off, so that only the refusing server's words are left:
    /// `host mx.example.org[192.0.2.1] said: 550 no such user (in reply to RCPT TO command)` (Postfix smtp_trouble.c).
    /// Phrases that tell who is meant by words such as "host" and "command" would trip over it.
    #[must_use]
    pub fn without_frames(mut self) -> Self {
        let replies = replies(self.as_str());
        if !replies.is_empty() {
            self.replace(&replies);
        }
        let text = self.as_str();
        let host = text.find(SAID).and_then(|said| {
            let host = text[..said].rfind("host ").filter(|host| said - host < LONGEST_FRAME)?;
            Some(host..said + SAID.len())
        });
        if let Some(host) = host {
            self.replace(&[(host, "")]);
        }
        self
    }

    /// Puts `x` for the local parts of addresses: `over.quota@example.org` names a mailbox and not its state.
    #[must_use]
    pub fn without_local_parts(mut self, addresses: &[&str]) -> Self {
        for address in addresses {
            let address = fold(address).into_string();
            let Some((local, _)) = address.rsplit_once('@') else { continue };
            let found = self.as_str().match_indices(&address).map(|(at, _)| (at..at + local.len(), "x"));
            let found: Vec<_> = found.collect();
            if !found.is_empty() {
                self.replace(&found);
            }
        }
        self
    }
}

/// Every `(in reply to …)`, with the blanks before it.
fn replies(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(IN_REPLY_TO) {
        let at = from + at;
        let Some(end) = text[at..].find(')') else { break };
        let start = from + text[from..at].trim_end().len();
        from = at + end + 1;
        found.push((start..from, ""));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_taken_off() {
        for (framed, words) in [
            ("host mx.example.org[192.0.2.1] said: 550 no such user (in reply to rcpt to command)", "550 no such user"),
            ("<a@x>: host mx refused to talk to me: 554 no", "<a@x>: host mx refused to talk to me: 554 no"),
            ("550 no (in reply to", "550 no (in reply to"),
            ("he said: no", "he said: no"),
        ] {
            assert_eq!(fold(framed).without_frames().as_str(), words);
        }
    }

    #[test]
    fn what_is_left_knows_where_it_stands() {
        let given = "Host  MX said: 550 <Mailbox.Full@x.org>  No (in reply to RCPT TO command) such user";
        let folded = fold(given).without_frames().without_local_parts(&["mailbox.full@x.org"]);
        assert_eq!(folded.as_str(), "550 <x@x.org> no such user");
        for (word, origin) in [("550", "550"), ("x.org", "x.org"), ("no", "No"), ("such user", "such user")] {
            let at = folded.as_str().find(word).expect(word);
            assert_eq!(&given[folded.origin_of(at..at + word.len())], origin);
        }
    }
}
