//! A text -> whether the fields of a delivery-status part stand in it (RFC 3464). Refuses to read them.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Whether a field names a recipient.
pub(super) fn names_recipient(name: &str) -> bool {
    ["Final-Recipient", "Original-Recipient"].iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// What stands in the names of both; most texts have it nowhere, and need not be read line by line.
static OF_RECIPIENT: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let builder = AhoCorasick::builder().ascii_case_insensitive(true).build(["nal-recipient"]);
    builder.expect("one literal compiles")
});

/// QUIRK: scanners and lists relabel the report part as text; the fields themselves are unmistakable.
pub(super) fn has_status_fields(text: &str) -> bool {
    if !OF_RECIPIENT.is_match(text) {
        return false;
    }
    let (mut recipient, mut outcome) = (false, false);
    for name in text.split('\n').filter_map(field_name) {
        let is = |names: &[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n));
        recipient |= names_recipient(name);
        outcome |= is(&["Action", "Status", "Diagnostic-Code"]);
        if recipient && outcome {
            return true;
        }
    }
    false
}

/// The name of a `Name: value` line. A folded line such as " said: 550" has a blank in front or inside; one before
/// the colon is RFC 822's obsolete form (RFC 5322 §4.5).
pub(super) fn field_name(line: &str) -> Option<&str> {
    let name = leading_name(line);
    let fits = name.len() <= 50 && name.starts_with(|c: char| c.is_ascii_alphabetic());
    (fits && line[name.len()..].trim_start_matches([' ', '\t']).starts_with(':')).then_some(name)
}

/// What a line begins with that may be the name of a field.
pub(super) fn leading_name(line: &str) -> &str {
    let end = line.bytes().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
    &line[..end.unwrap_or(line.len())]
}

/// What stands before and behind the colon of a field in any language.
pub(super) fn field(line: &str) -> Option<(&str, &str)> {
    if line.is_ascii() { line.split_once(':') } else { line.split_once([':', '：']) }
}
