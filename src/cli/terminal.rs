//! Values with texts of strangers on their way to a terminal, a file or another program.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

pub(super) use crate::text::{count, grouped, printable};
use crate::{codes::Class, text::is_unseen};

/// How many columns the terminal has to which standard output goes; `None` where it goes elsewhere.
pub(super) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col.into()).filter(|columns| *columns > 0)
}

/// Whether what is written may be coloured; the one place that decides it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colours(bool);

impl Colours {
    /// On a terminal, unless the user asks for none (https://no-color.org).
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        Self(stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    pub(super) const fn are_wanted(self) -> bool {
        self.0
    }

    /// `hard` in red and `soft` in yellow, followed by blanks up to a width.
    pub(super) fn class(self, class: &str, width: usize) -> String {
        let colour = if class == Class::Hard.as_str() { 31 } else { 33 };
        let is_class = [Class::Hard, Class::Soft].iter().any(|known| class == known.as_str());
        let padded = format!("{class:<width$}");
        if self.0 && is_class { format!("\u{1b}[{colour}m{padded}\u{1b}[0m") } else { padded }
    }
}

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

/// A bar on standard error, when a person waits there for so many octets to be read.
pub(super) fn long_task(octets: u64) -> ProgressBar {
    if octets < LONG || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(octets);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// So many octets take a while.
const LONG: u64 = 1 << 20;

/// Reading is all that is done.
pub(super) fn show_reading(bar: &ProgressBar) {
    let template = "{bar:30} {bytes} of {total_bytes} read, {elapsed}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_classes_are_coloured_and_only_where_it_is_wanted() {
        assert_eq!(Colours(true).class("hard", 6), "\u{1b}[31mhard  \u{1b}[0m");
        assert_eq!(Colours(true).class("manual", 6), "manual");
        assert_eq!(Colours(false).class("soft", 6), "soft  ");
    }

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
