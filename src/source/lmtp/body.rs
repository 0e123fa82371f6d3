//! What stands between DATA and the final dot -> the message (RFC 5321 §4.5.2). Keeps so much of it as is read, and tells
//! apart what was cut.

use sha2::{Digest, Sha256};

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Body {
    kept: Vec<u8>,
    most: usize,
    size: u64,
    rest: Option<Sha256>,
    at: At,
}

/// Where in a line the last octet left off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    /// Behind the dot that begins a line: it ends the message or is none of it.
    Dot,
    /// The same, and a CR.
    DotCr,
    Middle,
    Cr,
}

impl Body {
    /// Begins with these octets, and keeps `most` in all.
    pub(super) fn new(begins: &[u8], most: usize) -> Self {
        let mut body = Self { kept: Vec::new(), most, size: 0, rest: None, at: At::Start };
        body.keep(begins);
        body
    }

    /// Takes octets off the wire; says how many of them belong to the message with its end, where the end is among them.
    pub(super) fn add(&mut self, octets: &[u8]) -> Option<usize> {
        let mut text = Vec::with_capacity(octets.len() + 1);
        let mut end = None;
        for (number, &octet) in octets.iter().enumerate() {
            // Only CR LF ends a line: whoever took a lone LF for one would find mails in mails.
            self.at = match (self.at, octet) {
                (At::Start, b'.') => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (At::DotCr, b'\n') => {
                    end = Some(number + 1);
                    break;
                }
                (before, octet) => {
                    if before == At::DotCr {
                        text.push(b'\r');
                    }
                    text.push(octet);
                    match (before, octet) {
                        (_, b'\r') => At::Cr,
                        (At::Cr | At::DotCr, b'\n') => At::Start,
                        _ => At::Middle,
                    }
                }
            };
        }
        self.keep(&text);
        end
    }

    fn keep(&mut self, text: &[u8]) {
        self.size += text.len() as u64;
        let (kept, cut) = text.split_at(text.len().min(self.most.saturating_sub(self.kept.len())));
        self.kept.extend_from_slice(kept);
        if !cut.is_empty() {
            self.rest.get_or_insert_default().update(cut);
        }
    }

    /// How many octets it has so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What is kept, and what tells the rest from another; `None` where there is none.
    pub(super) fn finish(self) -> (Vec<u8>, Option<[u8; 32]>) {
        (self.kept, self.rest.map(|rest| rest.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of it, however it is cut into pieces; and what stands behind its end.
    fn read(wire: &str) -> Option<(String, String)> {
        let mut all = Vec::new();
        for piece in 1..=wire.len() {
            let mut body = Body::new(b"", 100);
            let mut taken = 0;
            let mut ended = None;
            for octets in wire.as_bytes().chunks(piece) {
                if let Some(end) = body.add(octets) {
                    ended = Some(taken + end);
                    break;
                }
                taken += octets.len();
            }
            let text = String::from_utf8(body.finish().0).unwrap();
            all.push(ended.map(|end| (text, wire[end..].to_owned())));
        }
        assert!(all.iter().all(|one| *one == all[0]), "{wire:?}: {all:?}");
        all.remove(0)
    }

    #[test]
    fn a_dot_alone_in_its_line_ends_a_message_and_others_are_taken_away_where_they_were_added() {
        for (wire, text, behind) in [
            (".\r\n", "", ""),
            ("a\r\n.\r\nRSET\r\n", "a\r\n", "RSET\r\n"),
            ("..\r\n.\r\n", ".\r\n", ""),
            ("...\r\n.b\r\n.\r\n", "..\r\nb\r\n", ""),
            // Nothing but CR LF ends a line.
            ("a\n.\nb\r\n.\n\r\n.\r\n", "a\n.\nb\r\n\n\r\n", ""),
            ("a\r.\r\n.\r\n", "a\r.\r\n", ""),
            (".\r\r\n.\r\n", "\r\r\n", ""),
            (".\rx\r\n.\r\n", "\rx\r\n", ""),
            ("\r\r\n.\r\n", "\r\r\n", ""),
        ] {
            assert_eq!(read(wire), Some((text.to_owned(), behind.to_owned())), "{wire:?}");
        }
        for wire in ["a\r\n.\r", "a.\r\n", "a\n.\r\n", "."] {
            assert_eq!(read(wire), None, "{wire:?}");
        }
    }

    #[test]
    fn what_is_cut_is_told_apart() {
        let cut = |wire: &[u8]| {
            let mut body = Body::new(b"ab", 4);
            assert_eq!(body.add(wire), Some(wire.len()));
            let size = body.size();
            let (kept, rest) = body.finish();
            (kept, rest.is_some(), size, rest)
        };
        assert_eq!(cut(b"\r\n.\r\n"), (b"ab\r\n".to_vec(), false, 4, None));
        let (one, other) = (cut(b"cdx\r\n.\r\n"), cut(b"cdy\r\n.\r\n"));
        assert_eq!((one.0.as_slice(), one.1, one.2), (b"abcd".as_slice(), true, 7));
        assert_ne!(one.3, other.3);
    }
}
