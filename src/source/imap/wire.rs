//! Octets from an IMAP server -> whole responses, literals included. Refuses what is too long before it is buffered,
//! and knows nothing of what a response means.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// The longest line. The longest honest one is the answer to SEARCH: 11 octets a message at most.
const LONGEST_LINE: usize = 8 << 20;

/// Cuts the stream into responses (RFC 9051 §7), without their last CRLF.
#[derive(Debug)]
pub(super) struct Wire {
    /// The most octets of literals in one response.
    largest_literal: usize,
    /// Octets of literals in the present response.
    literals: usize,
    /// Where the present line begins in the buffer; beyond its end while a literal is still arriving.
    line: usize,
    /// How far the present line was searched for its end.
    searched: usize,
}

impl Wire {
    /// Refuses responses with more than `largest_literal` octets of literals.
    pub(super) fn new(largest_literal: usize) -> Self {
        Self { largest_literal, literals: 0, line: 0, searched: 0 }
    }
}

impl Decoder for Wire {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
        while self.searched < buffer.len() {
            let Some(end) = memchr::memchr(b'\n', &buffer[self.searched..]).map(|n| self.searched + n) else {
                self.searched = buffer.len();
                return if self.searched - self.line > LONGEST_LINE {
                    Err(too_long(format!("a line of more than {LONGEST_LINE} octets")))
                } else {
                    Ok(None)
                };
            };
            let line = &buffer[self.line..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match literal(line).filter(|_| self.line > 0 || may_hold_literal(line)) {
                Some(length) => {
                    self.literals = self.literals.saturating_add(length);
                    if self.literals > self.largest_literal {
                        let limit = self.largest_literal;
                        return Err(too_long(format!(
                            "a literal of {length} octets where {limit} were expected at most"
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
                    *self = Self::new(self.largest_literal);
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
        let (mut wire, mut buffer, mut found) = (Wire::new(1000), BytesMut::new(), Vec::new());
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
    fn an_endless_line_is_refused() {
        assert!(decode(&vec![b'x'; LONGEST_LINE], 65536).unwrap().is_empty());
        assert!(decode(&vec![b'x'; LONGEST_LINE + 2], 65536).is_err());
    }
}
