//! What the readers of TOML say of a value -> the same in the words of who wrote it. They name types of a program, which
//! nobody knows who only wrote a file.

/// One line for people.
#[must_use]
pub fn in_words(said: &str) -> String {
    let said = said.trim_end().replace('\n', ", ");
    let strip = |start: &str| said.strip_prefix(start);
    if let Some(key) = strip("unknown field ") {
        return format!("unknown key {key}");
    }
    if let Some(word) = strip("unknown variant ") {
        return format!("unknown word {word}");
    }
    // The environment is read by another reader.
    if let Some((_, word)) = strip("enum ").and_then(|said| said.split_once(" does not have variant constructor ")) {
        return format!("unknown word `{word}`");
    }
    if let Some(key) = strip("missing field ") {
        return format!("the key {key} is missing");
    }
    if said == "duplicate key" {
        return "this key stands here a second time".to_owned();
    }
    if said == "wanted string or table" {
        return "expected a word in quotation marks".to_owned();
    }
    let wrong = strip("invalid type: ").or_else(|| strip("invalid value: "));
    match wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        Some((value, kind)) => format!("found {}, expected {}", found(value), expected(kind)),
        None => said,
    }
}

fn found(value: &str) -> String {
    if let Some((kind, shown)) = value.strip_suffix('`').and_then(|value| value.split_once('`')) {
        return match kind.trim_end() {
            "boolean" => shown.to_owned(),
            _ => format!("the number {shown}"),
        };
    }
    match value {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        other => other.strip_prefix("string ").unwrap_or(other).to_owned(),
    }
}

fn expected(kind: &str) -> &str {
    match kind {
        "u8" | "an unsigned 8 bit integer" => "a whole number from 0 to 255",
        "u16" | "an unsigned 16 bit integer" => "a whole number from 0 to 65535",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "u32" | "an unsigned 32 bit integer" => "a whole number from 0 to 4294967295",
        "u64" | "usize" | "an unsigned 64 bit integer" => "a whole number, 0 or more",
        "i64" | "an integer" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false, without quotation marks",
        "a string" => "text in quotation marks",
        "path string" => "a path in quotation marks",
        "a sequence" => "a list such as [\"…\"]",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table of keys",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {
        #[expect(dead_code, reason = "only errors matter")]
        word: Word,
        #[expect(dead_code, reason = "only errors matter")]
        small: Option<u8>,
        #[expect(dead_code, reason = "only errors matter")]
        port: Option<NonZeroU16>,
        #[expect(dead_code, reason = "only errors matter")]
        most: Option<usize>,
        #[expect(dead_code, reason = "only errors matter")]
        yes: Option<bool>,
        #[expect(dead_code, reason = "only errors matter")]
        path: Option<PathBuf>,
        #[expect(dead_code, reason = "only errors matter")]
        text: Option<String>,
        #[expect(dead_code, reason = "only errors matter")]
        list: Option<Vec<String>>,
        #[expect(dead_code, reason = "only errors matter")]
        table: Option<BTreeMap<String, Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {}

    #[test]
    fn what_a_reader_says_names_no_type_of_a_program() {
        for (text, words) in [
            ("word = 'one'\nsmall = 256", "found the number 256, expected a whole number from 0 to 255"),
            ("word = 'one'\nsmall = '7'", "found \"7\", expected a whole number from 0 to 255"),
            ("word = 'one'\nport = 0", "found the number 0, expected a whole number from 1 to 65535"),
            ("word = 'one'\nmost = -1", "found the number -1, expected a whole number, 0 or more"),
            ("word = 'one'\nmost = 1.5", "found the number 1.5, expected a whole number, 0 or more"),
            ("word = 'one'\nyes = 'no'", "found \"no\", expected true or false, without quotation marks"),
            ("word = 'one'\npath = true", "found true, expected a path in quotation marks"),
            ("word = 'one'\ntext = ['a']", "found a list, expected text in quotation marks"),
            ("word = 'one'\ntext = {}", "found a table, expected text in quotation marks"),
            ("word = 'one'\nlist = ', expected u8'", "found \", expected u8\", expected a list such as [\"…\"]"),
            ("word = 'one'\ntable = 1", "found the number 1, expected a table"),
            ("word = 'one'\n[table]\na = 1", "found the number 1, expected a table of keys"),
            ("word = 'six'", "unknown word `six`, expected `one` or `two`"),
            ("word = true", "expected a word in quotation marks"),
            ("wort = 'one'", "unknown key `wort`, expected one of"),
            ("small = 1", "the key `word` is missing"),
            ("small = 1\nsmall = 2", "this key stands here a second time"),
            ("small = ", "string values must be quoted, expected literal string"),
        ] {
            let said = toml::from_str::<Keys>(text).unwrap_err();
            let said = in_words(said.message());
            assert!(said.starts_with(words) && !said.contains('\n'), "{text}: {said}");
        }
    }

    #[test]
    fn the_reader_of_the_environment_is_put_into_words_too() {
        for (said, words) in [
            ("enum Tls does not have variant constructor ssl", "unknown word `ssl`"),
            (
                "invalid type: 64-bit unsigned integer `99999`, expected an unsigned 16 bit integer",
                "found the number 99999, expected a whole number from 0 to 65535",
            ),
        ] {
            assert_eq!(in_words(said), words);
        }
    }
}
