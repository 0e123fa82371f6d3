//! A text -> its lines, ends included. Not the standard library's: each reader goes through all lines of a mail, and
//! looking for line ends character by character was a twentieth of what judging takes.

/// The lines of a text, each with its end; those of the standard library and of a passage come without.
pub fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest.as_bytes()).map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_those_of_the_standard_library(text in "[a\r\n\u{85}é]{0,12}") {
            prop_assert!(split_lines(&text).eq(text.split_inclusive('\n')));
        }
    }
}
