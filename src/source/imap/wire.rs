//! Octets from an IMAP server -> whole responses, literals included. Refuses what is too long before it is buffered,
//! and knows nothing of what a response means.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::text::grouped;

/// The most octets of one response outside of its literals. The longest honest one is the answer to SEARCH: 11 octets a
/// message at most.
const LONGEST_LINE: usize = 8 << 20;

/// The most octets of one response before the login: greetings, capabilities and refusals are short.
const LONGEST_BEFORE_LOGIN: usize = 64 << 10;

/// The most literals in one response: what is asked for of a message has one.
const MOST_LITERALS: usize = 64;

/// Cuts the stream into responses (RFC 9051 §7), without their last CRLF.
#[derive(Debug)]
pub(super) struct Wire {
    /// The most octets of lines in one response.
    longest_line: usize,
    /// The most octets of literals in one response.
    largest_literal: usize,
    /// Octets of literals in the present response, and their number.
    literals: (usize, usize),
    /// Where the present line begins in the buffer; beyond its end while a literal is still arriving.
    line: usize,
    /// How far the present line was searched for its end.
    searched: usize,
}

impl Wire {
    /// For a server that nobody has logged in to.
    pub(super) const fn before_login() -> Self {
        Self::new(LONGEST_BEFORE_LOGIN, LONGEST_BEFORE_LOGIN)
    }

    /// Refuses responses with more than `largest_literal` octets of literals.
    pub(super) const fn after_login(largest_literal: usize) -> Self {
        Self::new(LONGEST_LINE, largest_literal)
    }

    const fn new(longest_line: usize, largest_literal: usize) -> Self {
        Self { longest_line, largest_literal, literals: (0, 0), line: 0, searched: 0 }
    }

    /// Refuses a response whose lines, all together, are too long. `end` is how far they reach in the buffer.
    fn check_lines(&self, end: usize) -> io::Result<()> {
        let limit = self.longest_line;
        if end - self.literals.0 > limit {
            Err(too_long(format!("a line of more than {} octets", grouped(limit as u64))))
        } else {
            Ok(())
        }
    }
}

impl Decoder for Wire {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
        while self.searched < buffer.len() {
            let Some(end) = memchr::memchr(b'\n', &buffer[self.searched..]).map(|n| self.searched + n) else {
                self.searched = buffer.len();
                return self.check_lines(self.searched).map(|()| None);
            };
            self.check_lines(end)?;
            let line = &buffer[self.line..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match literal(line).filter(|_| self.line > 0 || may_hold_literal(line)) {
                Some(length) => {
                    self.literals = (self.literals.0.saturating_add(length), self.literals.1 + 1);
                    if self.literals.1 > MOST_LITERALS {
                        return Err(too_long(format!("more than {MOST_LITERALS} literals in one response")));
                    }
                    if self.literals.0 > self.largest_literal {
                        let limit = self.largest_literal;
                        return Err(too_long(format!(
                            "a literal of {} octets where {} were expected at most",
                            grouped(length as u64),
                            grouped(limit as u64)
                        )));
                    }
                    self.line = end + 1 + length;
                    self.searched = self.line;
                    buffer.reserve(self.line.saturating_sub(buffer.len()));
                }
                None => {
                    let length = self.line + line.len();
                    let mut response = buffer.split_to(end + 1).freeze();
                    response.truncate(length);
                    *self = Self::new(self.longest_line, self.largest_literal);
                    return Ok(Some(response));
                }
            }
        }
        Ok(None)
    }
}

/// RFC 9051 §4.3: `{123}` ends the line before a literal; also `{123+}` and the `~{123}` of RFC 3516.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let digits = &line[memchr::memrchr(b'{', line)? + 1..];
    let digits = std::str::from_utf8(digits.strip_suffix(b"+").unwrap_or(digits)).ok()?;
    // A number too big for usize is the most oversize literal of all.
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().unwrap_or(usize::MAX))
}

/// Free text for people may end in braces: only untagged data has literals.
fn may_hold_literal(line: &[u8]) -> bool {
    let word = line.strip_prefix(b"* ").and_then(|rest| rest.split(|b| *b == b' ').next());
    word.is_some_and(|word| {
        ![&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|w| w.eq_ignore_ascii_case(word))
    })
}

fn too_long(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `input` decodes to when it arrives in pieces of `step` octets.
    fn decode(input: &[u8], step: usize) -> io::Result<Vec<Bytes>> {
        let (mut wire, mut buffer, mut found) = (Wire::after_login(1000), BytesMut::new(), Vec::new());
        for piece in input.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(response) = wire.decode(&mut buffer)? {
                found.push(response);
            }
        }
        Ok(found)
    }

    #[test]
    fn responses_come_out_whole_however_they_arrive() {
        let input =
            b"* OK hi {3}\r\n* 1 FETCH (BODY[] {4}\r\na\r\nb UID 7 X {0}\r\n)\r\nA1 OK done\n* 2 EXISTS\r\nrest";
        let expected: [&[u8]; 4] =
            [b"* OK hi {3}", b"* 1 FETCH (BODY[] {4}\r\na\r\nb UID 7 X {0}\r\n)", b"A1 OK done", b"* 2 EXISTS"];
        for step in 1..input.len() + 1 {
            assert_eq!(decode(input, step).unwrap(), expected, "in pieces of {step}");
        }
    }

    #[test]
    fn an_oversize_literal_is_refused_at_its_announcement() {
        for announced in ["1001", "419430400", "99999999999999999999999"] {
            let input = format!("* 1 FETCH (BODY[] {{{announced}}}\r\n");
            assert!(decode(input.as_bytes(), 7).is_err(), "{announced}");
        }
        assert!(decode(b"* 1 FETCH (A {600}\r\n", 7).unwrap().is_empty());
        let twice = [b"* 1 FETCH (A {600}\r\n".as_slice(), &[b'x'; 600], b" B {600}\r\n"].concat();
        assert!(decode(&twice, 99).is_err(), "two literals count together");
    }

    #[test]
    fn endless_literals_are_refused_however_small_they_are() {
        let empty = format!("* 1 FETCH (UID 1{}", " X {0}\r\n".repeat(MOST_LITERALS));
        assert!(decode(empty.as_bytes(), 99).unwrap().is_empty());
        let one_more = empty + " X {0}\r\n";
        assert!(decode(one_more.as_bytes(), 99).unwrap_err().to_string().contains("literals in one response"));
        // Lines between literals are one line, as far as memory is concerned.
        let long = format!(" {} {{1}}\r\nx", "y".repeat(LONGEST_LINE / 4));
        let lines = |count: usize| format!("* 1 FETCH (UID 1{}", long.repeat(count));
        assert!(decode(lines(3).as_bytes(), 1 << 20).unwrap().is_empty());
        assert!(decode(lines(4).as_bytes(), 1 << 20).unwrap_err().to_string().contains("a line of more"));
    }

    #[test]
    fn before_the_login_everything_is_short() {
        let decode = |text: Vec<u8>| Wire::before_login().decode(&mut BytesMut::from(&text[..]));
        assert!(decode(vec![b'x'; LONGEST_BEFORE_LOGIN]).unwrap().is_none());
        assert!(decode(vec![b'x'; LONGEST_BEFORE_LOGIN + 1]).is_err());
        let ended = [vec![b'x'; LONGEST_BEFORE_LOGIN + 1], b"\r\n".to_vec()].concat();
        assert!(decode(ended).is_err(), "that it ends makes it no shorter");
        assert!(decode(format!("* X {{{}}}\r\n", LONGEST_BEFORE_LOGIN + 1).into_bytes()).is_err());
    }

    #[test]
    fn an_endless_line_is_refused() {
        assert!(decode(&vec![b'x'; LONGEST_LINE], 65536).unwrap().is_empty());
        assert!(decode(&vec![b'x'; LONGEST_LINE + 2], 65536).is_err());
    }
}
