//! A text -> whether the fields of a delivery-status part stand in it (RFC 3464). Refuses to read them.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::text::split_lines;

/// What the clauses of a Received field begin with (RFC 5321 §4.4).
pub(super) const CLAUSES: [&str; 6] = ["from", "by", "via", "with", "id", "for"];

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
    let indent = indent(text);
    for name in text.split('\n').filter_map(|line| field_name(line.strip_prefix(indent).unwrap_or(line))) {
        let is = |names: &[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n));
        recipient |= names_recipient(name);
        outcome |= is(&["Action", "Status", "Diagnostic-Code"]);
        if recipient && outcome {
            return true;
        }
    }
    false
}

/// Where in a text they begin, indented or not.
pub(super) fn begin_at(text: &str) -> Option<usize> {
    let mut at = 0;
    split_lines(text).find_map(|line| {
        let start = at;
        at += line.len();
        field_name(line.trim_start()).is_some_and(opens_fields).then_some(start)
    })
}

/// QUIRK: the blanks that whoever copied the fields put before each of them.
pub(super) fn indent(text: &str) -> &str {
    let fields = begin_at(text).map_or("", |at| &text[at..]);
    &fields[..fields.len() - fields.trim_start_matches([' ', '\t']).len()]
}

/// Whether the fields of a message or of a recipient begin with a field of that name.
fn opens_fields(name: &str) -> bool {
    name.eq_ignore_ascii_case("Reporting-MTA") || names_recipient(name)
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
