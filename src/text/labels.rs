//! config/labels.toml -> whether a word before an equals sign is a label of the address behind it. Knows no addresses.

use std::sync::LazyLock;

use serde::Deserialize;

/// Labels of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    says: Vec<String>,
    #[serde(rename = "source")]
    _source: String,
    /// Texts with such a label, for the tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests alone read them"))]
    accepts: Vec<String>,
    /// Texts that look alike, for the tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests alone read them"))]
    rejects: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    label: Vec<Row>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("../../config/labels.toml")).expect("the tests read config/labels.toml")
});

/// Whether this is one of the labels that stand before an address with an equals sign.
#[must_use]
pub fn is_address_label(text: &str) -> bool {
    TABLE.label.iter().flat_map(|row| &row.says).any(|label| text.eq_ignore_ascii_case(label))
}

#[cfg(test)]
mod tests {
    use super::{super::addresses, *};

    fn found(text: &str) -> Vec<String> {
        addresses(text).map(|(_, address)| address.given().to_owned()).collect()
    }

    #[test]
    fn every_label_is_none_of_the_address_and_nothing_else_is_left_out() {
        for row in &TABLE.label {
            for label in &row.says {
                let times = TABLE.label.iter().flat_map(|row| &row.says).filter(|other| *other == label).count();
                assert_eq!((times, label.to_ascii_lowercase()), (1, label.clone()));
                assert_eq!(found(&format!("{label}=anna@example.org")), ["anna@example.org"]);
            }
            assert!(!row.accepts.is_empty() && !row.rejects.is_empty(), "{:?}: a row proves itself", row.says);
            for text in &row.accepts {
                assert_eq!(found(text), ["anna@example.org"], "{text}");
            }
            for text in &row.rejects {
                assert_ne!(found(text), ["anna@example.org"], "{text}");
            }
        }
    }
}
