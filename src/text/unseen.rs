//! Characters that a reader doesn't see as what they are: they steer a terminal, turn the direction of what stands
//! around them, or take no room at all, so that one text can pass for another.

/// Whether a character is one of those: controls (C0, C1, DEL), line and paragraph separators, and the invisible ones
/// of Unicode's Default_Ignorable_Code_Point and Bidi_Control (UAX #44), but for the variation selectors of emoji.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with each of them written as Rust and many others write it: `\n`, `\u{202e}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal_or_hides() {
        for (hostile, shown) in [
            ("a\u{1b}[2J\r\n\t\u{9b}31m\u{7f}\u{0}é", "a\\u{1b}[2J\\r\\n\\t\\u{9b}31m\\u{7f}\\u{0}é"),
            ("ann\u{202e}gpj.exe\u{200b}\u{feff}", "ann\\u{202e}gpj.exe\\u{200b}\\u{feff}"),
            ("日本語 ñ ❤\u{fe0f}", "日本語 ñ ❤\u{fe0f}"),
        ] {
            assert_eq!(printable(hostile), shown);
        }
    }
}
