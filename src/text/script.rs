//! Scripts that put no blanks between words: there a word ends where another script begins, and nowhere else. Knows no
//! words.

/// Whether a character is of a script that puts no blanks between words, or that hangs particles on its words.
#[must_use]
pub const fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}'       // Thai, Lao
        | '\u{1000}'..='\u{109f}'   // Burmese
        | '\u{1780}'..='\u{17ff}'   // Khmer
        | '\u{2e80}'..='\u{9fff}'   // Han and its radicals, kana
        | '\u{ac00}'..='\u{d7af}'   // Hangul
        | '\u{f900}'..='\u{faff}'   // Han, for compatibility
        | '\u{ff66}'..='\u{ff9f}'   // kana of half the width
        | '\u{20000}'..='\u{2ffff}' // Han, further planes
    )
}
