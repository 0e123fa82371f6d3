//! Text in columns, as `bounced codes` and `bounced phrases` print it. Knows nothing of what it says.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// Lines are kept within this many columns.
pub(super) const WIDTH: usize = 100;

/// How many columns a text takes: some characters take two, and some none.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// A text with blanks behind it, so that what follows stands in one column. Longer text stays whole.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{:blanks$}", "", blanks = width.saturating_sub(columns(text)))
}

/// So many columns an address has in a list; few are longer.
pub(super) const ADDRESS: usize = 40;

/// Text that breaks between words and goes on below its own beginning. A no-break space becomes a blank.
pub(super) fn paragraph(out: &mut impl Write, head: &str, text: &str) -> io::Result<()> {
    paragraph_within(WIDTH, out, head, text)
}

/// The same within so many columns; a longer word is not broken.
pub(super) fn paragraph_within(width: usize, out: &mut impl Write, head: &str, text: &str) -> io::Result<()> {
    let mut line = head.to_owned();
    for (n, word) in text.split(' ').enumerate() {
        if n > 0 && columns(&line) + 1 + columns(word) > width {
            writeln!(out, "{}", line.replace('\u{a0}', " "))?;
            line = " ".repeat(columns(head));
        } else if n > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{}", line.replace('\u{a0}', " "))
}

/// `"user unknown", "no such user"`: a phrase is never broken.
pub(super) fn quoted(phrases: &[String]) -> String {
    let quoted: Vec<String> = phrases.iter().map(|phrase| format!("\"{}\"", phrase.replace(' ', "\u{a0}"))).collect();
    quoted.join(", ")
}

/// One line, cut where it is too long.
pub(super) fn line(out: &mut impl Write, text: &str) -> io::Result<()> {
    match text.char_indices().nth(WIDTH) {
        None => writeln!(out, "{}", text.trim_end()),
        Some(_) => writeln!(out, "{}…", text.chars().take(WIDTH - 1).collect::<String>().trim_end()),
    }
}
