//! Rows of one's own that do nothing any more, because the tables of the program have come to say the same. Knows
//! nothing of what a row says: whoever reads the table tells what becomes of a row's examples.

use std::sync::Arc;

use toml::Spanned;

use super::{TableError, TableFile};

/// A row of one's own.
#[derive(Debug, Clone)]
pub struct OwnRow<E> {
    /// The file that it stands in.
    pub file: String,
    /// The line of its name.
    pub line: usize,
    /// Its name.
    pub id: String,
    /// What the row is about: its examples, for instance.
    pub about: E,
}

impl<E> OwnRow<E> {
    /// A row of this file with that name.
    pub fn new(file: &TableFile, id: &Spanned<String>, about: E) -> Self {
        Self { file: file.name.clone(), line: file.line(id.span().start), id: id.get_ref().clone(), about }
    }
}

/// A row of one's own without which the tables give the same answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleRow {
    /// The file that it stands in.
    pub file: String,
    /// The line of its name.
    pub line: usize,
    /// Its name.
    pub id: String,
}

/// Which of these rows of a table the answers would not miss. `load` makes the table of its files, and `answer` says what
/// it makes of what a row is about.
///
/// # Errors
/// The table is refused as it is.
pub fn idle_rows<T, E, A: PartialEq>(
    files: &[Arc<TableFile>],
    load: impl Fn(&[Arc<TableFile>]) -> Result<T, TableError>,
    rows: impl IntoIterator<Item = OwnRow<E>>,
    answer: impl Fn(&T, &E) -> A,
) -> Result<Vec<IdleRow>, TableError> {
    let table = load(files)?;
    let mut idle = Vec::new();
    for OwnRow { file: name, line, id, about } in rows {
        let without = files.iter().map(|file| if file.name == name { file.without(&id) } else { Arc::clone(file) });
        // A table that can't do without the row needs it.
        let Ok(without) = load(&without.collect::<Vec<_>>()) else { continue };
        if answer(&table, &about) == answer(&without, &about) {
            idle.push(IdleRow { file: name, line, id });
        }
    }
    Ok(idle)
}
