//! Offsets of decoded text -> lines of the mail as it was sent, counted from 1. Nothing is counted before somebody
//! asks; refuses to know what the text says.

use std::{cell::OnceCell, ops::Range};

use super::coding::Coding;

/// Which lines of the mail the lines of some bytes are.
#[derive(Debug, Clone)]
pub(super) enum Numbering {
    /// They follow one another from this one on.
    From(u32),
    /// They were decoded, or had marks in front: each has a number of its own.
    Each(Vec<u32>),
}

impl Numbering {
    /// A mail as it was sent.
    pub const WHOLE: Self = Self::From(1);

    /// The number of a line counted from 0; the last one for those behind the end.
    pub fn line(&self, n: usize) -> Option<u32> {
        match self {
            Self::From(first) => first.checked_add(u32::try_from(n).ok()?),
            Self::Each(lines) => lines.get(n).or(lines.last()).copied(),
        }
    }

    /// Without the first `n` lines.
    pub fn behind(&self, n: usize) -> Self {
        match self {
            Self::From(_) => self.line(n).map_or(Self::Each(Vec::new()), Self::From),
            Self::Each(lines) => Self::Each(lines.get(n..).unwrap_or_default().to_vec()),
        }
    }
}

/// Bytes that are read as a mail, and the lines that they have in the mail as it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Their lines.
    pub numbering: &'a Numbering,
}

impl Sent<'_> {
    /// The line in which an octet stands.
    pub fn line_of(&self, octet: usize) -> Option<u32> {
        self.numbering.line(self.breaks_before(octet))
    }

    /// How many lines end before an octet.
    pub fn breaks_before(&self, octet: usize) -> usize {
        line_breaks(self.bytes.get(..octet).unwrap_or(self.bytes))
    }
}

/// How the lines of a part's text come from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Line for line, behind this coding.
    Lines(Coding),
    /// The text has lines of its own (HTML): all of them come from the first line of the bytes.
    Reflowed,
}

/// The lines of one part's text.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    sent: Sent<'a>,
    body: Range<usize>,
    shape: Shape,
    numbering: OnceCell<Numbering>,
    /// Where the text's lines end.
    ends: OnceCell<Vec<usize>>,
}

impl<'a> Lines<'a> {
    /// Of a part whose body takes these octets.
    pub const fn new(sent: Sent<'a>, body: Range<usize>, shape: Shape) -> Self {
        Self { sent, body, shape, numbering: OnceCell::new(), ends: OnceCell::new() }
    }

    /// The line in which an offset of the part's text stands.
    pub fn line_of(&self, text: &str, offset: usize) -> Option<u32> {
        if self.shape == Shape::Reflowed {
            return self.sent.line_of(self.body.start);
        }
        let ends = self.ends.get_or_init(|| memchr::memchr_iter(b'\n', text.as_bytes()).collect());
        self.numbering().line(ends.partition_point(|&end| end < offset))
    }

    /// The lines of the decoded bytes.
    pub fn numbering(&self) -> &Numbering {
        self.numbering.get_or_init(|| {
            let bytes = self.sent.bytes.get(self.body.clone()).unwrap_or_default();
            let outer = self.sent.numbering.behind(self.sent.breaks_before(self.body.start));
            let coding = if let Shape::Lines(coding) = self.shape { coding } else { Coding::Plain };
            let begins = match coding {
                Coding::Plain if !has_lone_returns(bytes) => return outer,
                Coding::Plain => line_begins(bytes.iter().scan(0, |line, &byte| {
                    let at = *line;
                    *line += usize::from(byte == b'\n');
                    Some((byte, at))
                })),
                Coding::QuotedPrintable => line_begins(quoted_printable(bytes)),
                Coding::Base64 => line_begins(base64(bytes)),
            };
            Numbering::Each(begins.into_iter().filter_map(|n| outer.line(n)).collect())
        })
    }
}

fn line_breaks(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// Carriage returns that end a line by themselves.
fn has_lone_returns(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'))
}

/// Decoded bytes, each with the line that carries it -> the line in which each decoded line begins.
fn line_begins(bytes: impl Iterator<Item = (u8, usize)>) -> Vec<usize> {
    let mut begins = Vec::new();
    let (mut begin, mut after_return, mut last) = (true, false, 0);
    for (byte, line) in bytes {
        last = line;
        // The second half of CRLF ends nothing.
        if byte == b'\n' && after_return {
            after_return = false;
            continue;
        }
        if begin {
            begins.push(line);
        }
        after_return = byte == b'\r';
        begin = matches!(byte, b'\r' | b'\n');
    }
    if begin {
        begins.push(last);
    }
    begins
}

/// RFC 2045 §6.7, as patiently as mail-parser: blanks may stand between `=` and the end of the line.
fn quoted_printable(bytes: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let (mut at, mut line) = (0, 0);
    std::iter::from_fn(move || {
        loop {
            let byte = *bytes.get(at)?;
            at += 1;
            match byte {
                b'=' => {
                    let rest = &bytes[at..];
                    let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
                    if rest.get(blanks) == Some(&b'\n') {
                        at += blanks + 1;
                        line += 1;
                    } else if let Some(decoded) =
                        rest.get(..2).and_then(|hex| Coding::QuotedPrintable.decode(&[b"=", hex].concat()))
                    {
                        at += 2;
                        return Some((*decoded.first()?, line));
                    }
                }
                b'\n' => {
                    line += 1;
                    return Some((byte, line - 1));
                }
                b'\r' => {}
                _ => return Some((byte, line)),
            }
        }
    })
}

/// RFC 2045 §6.8.
fn base64(bytes: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let (mut line, mut bits, mut held) = (0, 0u32, 0u32);
    bytes.iter().filter_map(move |&byte| {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'\n' => {
                line += 1;
                return None;
            }
            b'=' => {
                bits = 0;
                return None;
            }
            _ => return None,
        };
        held = held << 6 | u32::from(digit);
        bits += 6;
        (bits >= 8).then(|| {
            bits -= 8;
            ((held >> bits) as u8, line)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(coding: Coding, body: &str) -> Vec<u32> {
        let mail = format!("Subject: x\n\n{body}");
        let sent = Sent { bytes: mail.as_bytes(), numbering: &Numbering::WHOLE };
        let lines = Lines::new(sent, 12..mail.len(), Shape::Lines(coding));
        (0..6).map(|n| lines.numbering().line(n).unwrap()).collect()
    }

    #[test]
    fn decoded_lines_have_the_line_that_carries_them() {
        assert_eq!(begins(Coding::Plain, "a\r\nb\r\nc"), [3, 4, 5, 6, 7, 8]);
        assert_eq!(begins(Coding::Plain, "a\rb\r\n\nc"), [3, 3, 4, 5, 5, 5]);
        assert_eq!(begins(Coding::QuotedPrintable, "a=\nb\n\nc= \r\n=C3=A4\r\nd"), [3, 5, 6, 8, 8, 8]);
        assert_eq!(begins(Coding::QuotedPrintable, "a=0D=0Ab=0Ac\nd"), [3, 3, 3, 4, 4, 4]);
        // "one\ntwo\n\nthree"
        assert_eq!(begins(Coding::Base64, "b25l\nCnR3\nbwoK\ndGhy\nZWU=\n"), [3, 4, 5, 6, 6, 6]);
    }

    #[test]
    fn a_line_end_belongs_to_the_line_that_it_ends() {
        let mail = b"Subject: x\n\nab\n\nc\n";
        let sent = Sent { bytes: mail, numbering: &Numbering::WHOLE };
        let lines = Lines::new(sent, 12..mail.len(), Shape::Lines(Coding::Plain));
        let of_each: Vec<_> = (0..6).map(|offset| lines.line_of("ab\n\nc\n", offset).unwrap()).collect();
        assert_eq!(of_each, [3, 3, 3, 4, 5, 5]);
    }
}
