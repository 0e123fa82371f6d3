//! Values with texts of strangers on their way to a terminal, a file or another program.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::text::is_unseen;
pub(super) use crate::text::printable;

/// Writes a value as JSON on one line, without a line end. What a reader would not see is escaped (RFC 8259 §7), so
/// that the line is as safe on a terminal as it is right for a program.
pub(super) fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut Serializer::with_formatter(out, Escaping))?)
}

/// The same with a line end.
pub(super) fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    write_json(out, value)?;
    writeln!(out)
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, unseen)) = rest.char_indices().find(|(_, c)| is_unseen(*c)) {
            out.write_all(&rest.as_bytes()[..at])?;
            unseen.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))?;
            rest = &rest[at + unseen.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_value_and_shows_what_is_unseen() {
        let hostile = "a\u{1b}\n\"\\\u{9b}\u{202e}b\u{e0001}é";
        let mut line = Vec::new();
        write_json(&mut line, &[hostile]).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.chars().all(|c| !is_unseen(c)), "{line}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&line).unwrap(), [hostile]);
    }
}
