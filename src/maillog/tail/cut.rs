//! Octets as they come -> whole lines. A half line waits, and one that is longer than a batch is cut.

use super::{BATCH_LINES, BATCH_OCTETS};

/// What to do with octets that follow each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// So many stand before the lines and are passed over.
    pub skipped: usize,
    /// So many are lines.
    pub lines: usize,
    /// Whether the end of a line that was cut follows.
    pub in_line: bool,
}

/// Finds the lines at the start of `octets`, which hold a batch at most. With `in_line` the end of a line comes first that
/// was given out already.
pub(super) fn cut(octets: &[u8], in_line: bool) -> Cut {
    let is_full = octets.len() >= BATCH_OCTETS;
    let mut skipped = 0;
    if in_line {
        match memchr::memchr(b'\n', octets) {
            Some(end) => skipped = end + 1,
            None => return Cut { skipped: octets.len(), lines: 0, in_line: true },
        }
    }
    // A writer that does not append leaves a hole in front of itself when a file is truncated under it.
    skipped += octets[skipped..].iter().take_while(|octet| **octet == 0).count();
    let rest = &octets[skipped..];
    match memchr::memchr_iter(b'\n', rest).take(BATCH_LINES).last() {
        Some(end) => Cut { skipped, lines: end + 1, in_line: false },
        None if is_full && skipped == 0 => Cut { skipped, lines: rest.len(), in_line: true },
        None => Cut { skipped, lines: 0, in_line: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_cut() {
        for (octets, in_line, skipped, lines, goes_on) in [
            ("", false, 0, 0, false),
            ("half", false, 0, 0, false),
            ("one\ntwo\nhalf", false, 0, 8, false),
            ("end\none\nhalf", true, 4, 4, false),
            ("still no end", true, 12, 0, true),
            ("\0\0\0one\n", false, 3, 4, false),
            ("\0\0\0", false, 3, 0, false),
        ] {
            assert_eq!(cut(octets.as_bytes(), in_line), Cut { skipped, lines, in_line: goes_on }, "{octets:?}");
        }
    }

    #[test]
    fn a_line_longer_than_a_batch_is_one_line() {
        let mut octets = vec![b'x'; BATCH_OCTETS];
        assert_eq!(cut(&octets, false), Cut { skipped: 0, lines: BATCH_OCTETS, in_line: true });
        octets[10] = b'\n';
        assert_eq!(cut(&octets, false), Cut { skipped: 0, lines: 11, in_line: false });
        assert_eq!(cut(&octets, true), Cut { skipped: 11, lines: 0, in_line: false });
    }

    #[test]
    fn a_batch_has_so_many_lines() {
        let octets = "\n".repeat(BATCH_LINES + 5);
        assert_eq!(cut(octets.as_bytes(), false), Cut { skipped: 0, lines: BATCH_LINES, in_line: false });
    }
}
