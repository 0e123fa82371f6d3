//! Bytes <-> text and back without loss: charsets, base64, quoted-printable, encoded words. Refuses to know what
//! the text says.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::parse::Coding;

/// RFC 2045 §6.7 and §6.8: no encoded line is longer.
const LONGEST_LINE: usize = 76;

/// Text that can be turned into bytes again as it came from them.
pub(super) struct Decoded {
    /// The text.
    pub text: String,
    charset: Charset,
}

#[derive(Clone, Copy)]
enum Charset {
    Known(&'static Encoding),
    /// Each byte is the character of the same number, whatever it was meant to be.
    Bytes,
}

impl Decoded {
    /// Reads bytes in the charset that they are said to be in, if they are.
    pub fn read(bytes: &[u8], label: Option<&str>) -> Self {
        let labelled = label.and_then(|l| Encoding::for_label(l.trim().as_bytes()));
        // QUIRK: what is labelled as ASCII, or not at all, is often UTF-8.
        let ascii = label.is_none_or(|l| l.to_ascii_lowercase().contains("ascii"));
        let charset = labelled.filter(|_| !ascii).unwrap_or(UTF_8);
        match charset.decode_without_bom_handling_and_without_replacement(bytes) {
            Some(text) if Self::write_as(charset, &text) == bytes => {
                Self { text: text.into_owned(), charset: Charset::Known(charset) }
            }
            _ => Self { text: bytes.iter().map(|&b| char::from(b)).collect(), charset: Charset::Bytes },
        }
    }

    /// The bytes of a changed text.
    pub fn write(&self, text: &str) -> Vec<u8> {
        match self.charset {
            Charset::Known(charset) => Self::write_as(charset, text),
            Charset::Bytes => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
        }
    }

    fn write_as(charset: &'static Encoding, text: &str) -> Vec<u8> {
        // Browsers never write UTF-16, so the crate doesn't.
        if charset == UTF_16LE {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else if charset == UTF_16BE {
            text.encode_utf16().flat_map(u16::to_be_bytes).collect()
        } else {
            charset.encode(text).0.into_owned()
        }
    }
}

/// base64 in lines (RFC 2045 §6.8).
pub(super) fn base64_lines(bytes: &[u8], line_end: &str) -> String {
    let mut out = String::with_capacity(bytes.len() * 3 / 2);
    for line in bytes.chunks(LONGEST_LINE / 4 * 3) {
        BASE64.encode_string(line, &mut out);
        out.push_str(line_end);
    }
    out
}

/// Quoted-printable (RFC 2045 §6.7); line ends stay as they are.
pub(super) fn quoted_printable(bytes: &[u8], line_end: &str) -> String {
    let mut out = String::with_capacity(bytes.len() * 5 / 4);
    let mut column = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if matches!(byte, b'\n' | b'\r') {
            out.push(char::from(byte));
            column = 0;
            continue;
        }
        let ends_line = matches!(bytes.get(at + 1), None | Some(b'\r' | b'\n'));
        let plain = (byte.is_ascii_graphic() && byte != b'=') || (matches!(byte, b' ' | b'\t') && !ends_line);
        let width = if plain { 1 } else { 3 };
        if column + width >= LONGEST_LINE {
            out.push('=');
            out.push_str(line_end);
            column = 0;
        }
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("={byte:02X}"));
        }
        column += width;
    }
    out
}

/// Text with its encoded words (RFC 2047) decoded; `None` where there are none.
pub(super) fn decode_words(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut found) = (text, false);
    while let Some(start) = rest.find("=?") {
        let Some((word, length)) = encoded_word(&rest[start..]) else {
            let shown = start + "=?".len();
            out.push_str(&rest[..shown]);
            rest = &rest[shown..];
            continue;
        };
        // §6.2: white space between two encoded words is not shown.
        let between = &rest[..start];
        if !(found && between.trim().is_empty()) {
            out.push_str(between);
        }
        out.push_str(&word);
        found = true;
        rest = &rest[start + length..];
    }
    out.push_str(rest);
    found.then_some(out)
}

/// The word that the text begins with, and its length while encoded.
fn encoded_word(text: &str) -> Option<(String, usize)> {
    let mut parts = text.get(2..)?.splitn(3, '?');
    let (charset, coding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if charset.len() > LONGEST_LINE || coding.len() != 1 {
        return None;
    }
    // QUIRK: many programs write words longer than the 75 octets of §2.
    let encoded = &rest[..rest.find("?=")?];
    let bytes = match coding {
        "b" | "B" => Coding::Base64.decode(encoded.as_bytes())?,
        "q" | "Q" => Coding::QuotedPrintable.decode(encoded.replace('_', " ").as_bytes())?,
        _ => return None,
    };
    let charset = charset.split('*').next();
    let length = "=?".len() + charset.map_or(0, |_| text[2..].len() - rest.len()) + encoded.len() + "?=".len();
    Some((Decoded::read(&bytes, charset).text, length))
}

/// The other way round; blanks at both ends stay outside.
pub(super) fn encode_words(text: &str) -> String {
    if text.is_ascii() && !text.contains("=?") {
        return text.to_owned();
    }
    let bare = text.trim();
    let start = text.len() - text.trim_start().len();
    let mut words = Vec::new();
    let mut rest = bare;
    while !rest.is_empty() {
        // §2: 75 octets, of which 12 are the frame; base64 turns 45 octets into 60.
        let mut end = rest.len().min(45);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        words.push(format!("=?utf-8?B?{}?=", BASE64.encode(&rest[..end])));
        rest = &rest[end..];
    }
    format!("{}{}{}", &text[..start], words.join(" "), &text[start + bare.len()..])
}
