//! Text of strangers on its way to a terminal.

/// Without control characters: they could rewrite what stands on the screen, or worse.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        let hostile = "a\u{1b}[2J\r\n\t\u{9b}31m\u{7f}\u{0}é";
        assert_eq!(printable(hostile), "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}31m\u{fffd}\u{fffd}é");
    }
}
