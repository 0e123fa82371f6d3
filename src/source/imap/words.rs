//! How a client writes: UID sets, quoted strings, folder names.

use base64::{Engine, alphabet, engine::GeneralPurpose, engine::general_purpose::NO_PAD};

/// RFC 2683 §3.2.1.5 advises lines of 1,000 octets at most; this leaves room for the command around the set.
const LONGEST_SET: usize = 900;

/// RFC 3501 §5.1.3: `,` in place of `/`, and no padding.
const MODIFIED_BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::IMAP_MUTF7, NO_PAD);

/// Ascending UIDs as sequence sets (`3:5,9`), each short enough for one command.
pub(super) fn uid_sets(uids: &[u32]) -> Vec<String> {
    let mut sets: Vec<String> = Vec::new();
    for run in uids.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        let (first, last) = (run[0], run[run.len() - 1]);
        let range = if first == last { first.to_string() } else { format!("{first}:{last}") };
        match sets.last_mut() {
            Some(set) if set.len() + 1 + range.len() <= LONGEST_SET => {
                set.push(',');
                set.push_str(&range);
            }
            _ => sets.push(range),
        }
    }
    sets
}

/// How many UIDs a sequence set names; what is no number counts as nothing.
pub(super) fn count(set: &str) -> usize {
    let number = |text: &str| text.parse::<u32>().ok();
    let ranges = set.split(',').filter_map(|range| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        Some(number(first)?.abs_diff(number(last)?) as usize + 1)
    });
    ranges.fold(0, usize::saturating_add)
}

/// RFC 9051 §4.3: a quoted string. The caller has refused CR, LF, NUL and 8-bit text.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// A folder name as IMAP4rev1 wants it (RFC 3501 §5.1.3): modified UTF-7, quoted.
pub(super) fn folder(name: &str) -> String {
    let plain = |c: char| (' '..='~').contains(&c);
    let mut encoded = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| plain(c) != plain(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        if plain(first) {
            encoded.push_str(&run.replace('&', "&-"));
        } else {
            let utf16: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            encoded.push('&');
            MODIFIED_BASE64.encode_string(utf16, &mut encoded);
            encoded.push('-');
        }
        rest = after;
    }
    quoted(&encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_ranges_and_long_sets_are_split() {
        assert_eq!(uid_sets(&[3, 4, 5, 9, u32::MAX]), ["3:5,9,4294967295"]);
        assert!(uid_sets(&[]).is_empty());
        let every_other: Vec<u32> = (1..2000).map(|n| n * 2).collect();
        let sets = uid_sets(&every_other);
        assert!(sets.len() > 1 && sets.iter().all(|set| set.len() <= LONGEST_SET));
        assert_eq!(sets.join(",").split(',').count(), every_other.len());
        assert_eq!((count(&uid_sets(&[3, 4, 5, 9])[0]), count("7:4"), count("*"), count("")), (4, 4, 0, 0));
    }

    #[test]
    fn folder_names_are_quoted_and_encoded() {
        for (name, written) in [
            ("INBOX", r#""INBOX""#),
            (r#"a "b\"#, r#""a \"b\\""#),
            ("R&D", r#""R&-D""#),
            // The example of RFC 3501 §5.1.3.
            ("~peter/mail/台北/日本語", r#""~peter/mail/&U,BTFw-/&ZeVnLIqe-""#),
            ("Unzustellbar ü", r#""Unzustellbar &APw-""#),
        ] {
            assert_eq!(folder(name), written);
        }
    }
}
