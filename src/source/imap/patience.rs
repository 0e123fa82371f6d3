//! What a server says when it does not do what it was asked -> how long to leave it alone, by config/patience.toml. Knows
//! nothing of connections.

use std::sync::LazyLock;

use serde::Deserialize;

use super::response::{Condition, Status};

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Patience {
    /// It passes by itself: try again soon, and then less and less often.
    Soon,
    /// The server counts connections, octets or failures over minutes: each attempt before they are over makes it worse.
    Minutes,
    /// It stays until a person mends it.
    Person,
}

/// A row: what is said, as its response code or as words in its text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    says: String,
    patience: Patience,
    /// Whole lines of servers, for the tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests alone read them"))]
    examples: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    code: Vec<Row>,
    words: Vec<Row>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../config/patience.toml")).expect("the tests read config/patience.toml")
});

/// How long to wait after this.
pub(super) fn patience(said: &Condition) -> Patience {
    // RFC 9051 §7.1.5: who says goodbye may be greeted again.
    let otherwise = if said.status == Status::Bye { Patience::Soon } else { Patience::Person };
    deciding(said).map_or(otherwise, |row| row.patience)
}

/// The row that fits; codes weigh more than words.
fn deciding(said: &Condition) -> Option<&'static Row> {
    let text = said.text.to_lowercase();
    let by_words = || TABLE.words.iter().find(|row| text.contains(&row.says));
    TABLE.code.iter().find(|row| row.says == said.keyword()).or_else(by_words)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{
        super::response::{Response, parse},
        *,
    };

    fn condition(line: &str) -> Condition {
        match parse(&Bytes::copy_from_slice(line.as_bytes())) {
            Response::Done(_, condition) | Response::Condition(condition) => condition,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn each_answer_gets_the_patience_that_it_needs() {
        for row in TABLE.code.iter().chain(&TABLE.words) {
            assert!(!row.examples.is_empty(), "{}: a row proves itself by an example", row.says);
            for line in &row.examples {
                let condition = condition(line);
                let decides = deciding(&condition).unwrap_or_else(|| panic!("{line}: no row fits"));
                assert!(std::ptr::eq(decides, row), "{line}: `{}` decides, not `{}`", decides.says, row.says);
                assert_eq!(patience(&condition), row.patience, "{line}");
            }
        }
        for (line, expected) in [
            ("* BYE Disconnected for inactivity.", Patience::Soon),
            ("A1 NO [ALERT] Please log in via your web browser (Failure)", Patience::Person),
            ("A1 NO Login failed", Patience::Person),
            ("A1 BAD what?", Patience::Person),
        ] {
            assert!(deciding(&condition(line)).is_none(), "{line}");
            assert_eq!(patience(&condition(line)), expected, "{line}");
        }
    }
}
