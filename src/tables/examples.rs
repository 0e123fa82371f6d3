//! A row proves itself: it decides on each of its examples in `accepts`, and on none of those in `rejects`.

use std::{ops::Range, sync::Arc};

use toml::Spanned;

use super::{TableError, TableFile};

/// What a row says about one of its examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The row decides.
    Accepts,
    /// Another row decides, or none.
    Rejects,
}

/// A text in a server's words, and what the row that it stands in makes of it.
#[derive(Debug, Clone)]
pub struct Example {
    /// The file of the row.
    pub file: Arc<TableFile>,
    /// Where in it the example stands.
    pub place: Range<usize>,
    /// The row's name.
    pub row: String,
    /// What the row says about the text.
    pub expected: Expected,
    /// The text.
    pub text: String,
}

impl Example {
    /// The examples of a row that is named, and named at that place.
    ///
    /// # Errors
    /// A row of one's own has none on which it decides.
    pub fn of_row(
        file: &Arc<TableFile>,
        (id, named): (&str, &Range<usize>),
        accepts: &[Spanned<String>],
        rejects: &[Spanned<String>],
    ) -> Result<Vec<Self>, TableError> {
        // What comes with the program is proved by its tests.
        if file.is_own() && accepts.is_empty() {
            let problem = format!("`{id}` has no example: name in `accepts` a reply that it decides on");
            return Err(file.refuse(named, &problem));
        }
        let example = |text: &Spanned<String>, expected| Self {
            file: Arc::clone(file),
            place: text.span(),
            row: id.to_owned(),
            expected,
            text: text.get_ref().clone(),
        };
        let accepted = accepts.iter().map(|text| example(text, Expected::Accepts));
        Ok(accepted.chain(rejects.iter().map(|text| example(text, Expected::Rejects))).collect())
    }
}

/// Holds examples against the table that they stand in: `decides` tells whether the row of the example decides on its
/// text, and the name of the row that does.
///
/// # Errors
/// The first example that does not come out as it stands there.
pub fn prove<'a>(
    examples: impl IntoIterator<Item = &'a Example>,
    decides: impl Fn(&Example) -> (bool, String),
) -> Result<(), TableError> {
    for example in examples {
        let (wins, winner) = decides(example);
        let Example { row, text, .. } = example;
        let problem = match (example.expected, wins) {
            (Expected::Accepts, false) => format!("`{row}` accepts \"{text}\", but `{winner}` decides"),
            (Expected::Rejects, true) => format!("`{row}` rejects \"{text}\", but decides on it"),
            (Expected::Accepts, true) | (Expected::Rejects, false) => continue,
        };
        return Err(example.file.refuse(&example.place, &problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_that_comes_out_otherwise_is_refused_with_its_line() {
        let file = TableFile::of_test("my.toml", "\n\n\n");
        let example =
            |expected| Example { file: Arc::clone(&file), place: 2..2, row: "a".into(), expected, text: "no".into() };
        let tell = |expected, wins| prove(&[example(expected)], |_| (wins, "b".into())).map_err(|err| err.to_string());
        assert_eq!(tell(Expected::Accepts, true), Ok(()));
        assert_eq!(tell(Expected::Rejects, false), Ok(()));
        assert_eq!(tell(Expected::Accepts, false).unwrap_err(), "my.toml:3: `a` accepts \"no\", but `b` decides");
        assert_eq!(tell(Expected::Rejects, true).unwrap_err(), "my.toml:3: `a` rejects \"no\", but decides on it");
    }
}
