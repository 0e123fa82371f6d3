//! Text in columns, as `bounced codes` and `bounced phrases` print it. Knows nothing of what it says.

use std::io::{self, Write};

/// Lines are kept within this many columns.
pub(super) const WIDTH: usize = 100;

/// Text that breaks between words and goes on below its own beginning. A no-break space becomes a blank.
pub(super) fn paragraph(out: &mut impl Write, head: &str, text: &str) -> io::Result<()> {
    paragraph_within(WIDTH, out, head, text)
}

/// The same within so many columns; a longer word is not broken.
pub(super) fn paragraph_within(width: usize, out: &mut impl Write, head: &str, text: &str) -> io::Result<()> {
    let mut line = head.to_owned();
    for (n, word) in text.split(' ').enumerate() {
        if n > 0 && line.chars().count() + 1 + word.chars().count() > width {
            writeln!(out, "{}", line.replace('\u{a0}', " "))?;
            line = " ".repeat(head.chars().count());
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
