//! Several files, one table: the rows of one's own files stand before those that come with the program, may take the
//! place of one of them (`replaces = "id"`), and a file may take some away (`drop = ["id"]`).

use std::{collections::HashMap, mem, ops::Range, sync::Arc};

use toml::Spanned;

use super::{TableError, TableFile};

/// A row of a table, as far as laying files over each other needs to know it.
pub trait Row {
    /// What names the row, and where it says so.
    fn id(&self) -> (&str, Range<usize>);

    /// The row of a file below whose place it takes.
    fn replaces(&self) -> Option<&Spanned<String>>;

    /// Whether `id` means this row: its own name, or one that it shares with its kin.
    fn is_called(&self, id: &str) -> bool {
        self.id().0 == id
    }
}

/// Makes a [`Row`] of a struct whose fields `id` and `replaces` are what the file says under these keys.
macro_rules! named_row {
    ($row:ty) => {
        impl $crate::tables::Row for $row {
            fn id(&self) -> (&str, std::ops::Range<usize>) {
                (self.id.get_ref(), self.id.span())
            }

            fn replaces(&self) -> Option<&toml::Spanned<String>> {
                self.replaces.as_ref()
            }
        }
    };
}
pub(crate) use named_row;

/// What one file adds to a table and takes away.
#[derive(Debug)]
pub struct Layer<R> {
    /// The file itself.
    pub file: Arc<TableFile>,
    /// Its rows, in its order.
    pub rows: Vec<R>,
    /// Rows of the files below that shall be gone.
    pub drop: Vec<Spanned<String>>,
}

/// A row, and the file that it stands in.
#[derive(Debug)]
pub struct Placed<R> {
    /// The file.
    pub file: Arc<TableFile>,
    /// The row.
    pub row: R,
}

/// One table out of several files, the strongest first; the last one is the one that comes with the program.
///
/// # Errors
/// A row that is to be replaced or dropped is in no file below, two rows have one name, or a name is none.
pub fn overlay<R: Row>(layers: Vec<Layer<R>>) -> Result<Vec<Placed<R>>, TableError> {
    let mut table: Vec<Placed<R>> = Vec::new();
    for Layer { file, mut rows, drop } in layers.into_iter().rev() {
        rows.retain(|row| file.left_out.as_deref() != Some(row.id().0));
        for id in &drop {
            if !table.iter().any(|below| below.row.is_called(id.get_ref())) {
                return Err(file.refuse(&id.span(), &no_such_row(id.get_ref(), "drop")));
            }
        }
        if let Some(row) = rows.iter().find(|row| !is_id(row.id().0)) {
            let (id, place) = row.id();
            let problem =
                format!("`{id}` is no id; expected lower-case letters, digits, and `.`, `_`, `-` between them");
            return Err(file.refuse(&place, &problem));
        }
        table.retain(|below| !drop.iter().any(|id| below.row.is_called(id.get_ref())));
        table = laid_over(&file, rows, table)?;
    }
    let mut places: HashMap<&str, &Placed<R>> = HashMap::new();
    for placed in &table {
        let (id, span) = placed.row.id();
        if let Some(other) = places.insert(id, placed) {
            // Rows of one file stand in its order, and those of a stronger one come first: complain about the stronger.
            let same_file = Arc::ptr_eq(&placed.file, &other.file);
            let (this, that) = if same_file { (placed, other) } else { (other, placed) };
            let line = that.file.line(that.row.id().1.start);
            let hint = if same_file { String::new() } else { format!("; say replaces = \"{id}\" to take its place") };
            let place = if same_file { span } else { this.row.id().1 };
            let problem = format!("there is a row `{id}` already, in {}:{line}{hint}", that.file.name);
            return Err(this.file.refuse(&place, &problem));
        }
    }
    Ok(table)
}

/// Whether a text can name a row: rules are shown, stored and typed. `5.1.*` is a name of the code table's own.
fn is_id(text: &str) -> bool {
    let text = text.strip_suffix(".*").unwrap_or(text);
    let ends_well = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    ends_well(text.chars().next())
        && ends_well(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
}

/// The rows of a file over those of the files below it.
fn laid_over<R: Row>(file: &Arc<TableFile>, rows: Vec<R>, below: Vec<Placed<R>>) -> Result<Vec<Placed<R>>, TableError> {
    // For each row below: whether it is still there, and those that stand in its place.
    let mut slots: Vec<(bool, Vec<Placed<R>>, Placed<R>)> =
        below.into_iter().map(|row| (true, Vec::new(), row)).collect();
    let mut first = Vec::new();
    for row in rows {
        let Some(id) = row.replaces() else {
            first.push(Placed { file: Arc::clone(file), row });
            continue;
        };
        let mut place = None;
        for (slot, (stays, _, old)) in slots.iter_mut().enumerate() {
            if old.row.is_called(id.get_ref()) {
                *stays = false;
                place.get_or_insert(slot);
            }
        }
        let place = place.ok_or_else(|| file.refuse(&id.span(), &no_such_row(id.get_ref(), "replace")))?;
        slots[place].1.push(Placed { file: Arc::clone(file), row });
    }
    for (stays, mut instead, old) in slots {
        first.extend(mem::take(&mut instead));
        first.extend(stays.then_some(old));
    }
    Ok(first)
}

fn no_such_row(id: &str, purpose: &str) -> String {
    format!("there is no row `{id}` to {purpose} in the tables below this file")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Fruit {
        id: Spanned<String>,
        replaces: Option<Spanned<String>>,
    }

    named_row!(Fruit);

    #[derive(Deserialize)]
    struct Fruits {
        #[serde(default)]
        fruit: Vec<Fruit>,
        #[serde(default)]
        drop: Vec<Spanned<String>>,
    }

    fn names(files: &[&str]) -> Result<String, String> {
        let layer = |(n, text): (usize, &&str)| {
            let file = TableFile::of_test(&format!("{n}.toml"), text);
            let Fruits { fruit, drop } = file.parse().unwrap();
            Layer { file, rows: fruit, drop }
        };
        let table = overlay(files.iter().enumerate().map(layer).collect()).map_err(|err| err.to_string())?;
        Ok(table
            .iter()
            .map(|placed| format!("{} {}", placed.file.name, placed.row.id.get_ref()))
            .collect::<Vec<_>>()
            .join(", "))
    }

    const BELOW: &str = "[[fruit]]\nid = \"apple\"\n[[fruit]]\nid = \"pear\"\n[[fruit]]\nid = \"plum\"";

    #[test]
    fn own_rows_stand_first_and_take_the_places_that_they_ask_for() {
        let own = "[[fruit]]\nid = \"fig\"\n[[fruit]]\nid = \"pear\"\nreplaces = \"pear\"";
        assert_eq!(names(&[own, BELOW]).unwrap(), "0.toml fig, 1.toml apple, 0.toml pear, 1.toml plum");
        let dropping = "drop = [\"apple\", \"fig\"]";
        assert_eq!(names(&[dropping, own, BELOW]).unwrap(), "1.toml pear, 2.toml plum");
    }

    #[test]
    fn unknown_double_and_odd_rows_are_refused_with_their_line() {
        for (own, problem) in [
            ("\ndrop = [\"fig\"]", "0.toml:2: there is no row `fig` to drop in the tables below this file"),
            ("[[fruit]]\nid = \"fig\"\nreplaces = \"date\"", "0.toml:3: there is no row `date` to replace"),
            (
                "[[fruit]]\nid = \"pear\"",
                "0.toml:2: there is a row `pear` already, in 1.toml:4; say replaces = \"pear\" to take its place",
            ),
            ("[[fruit]]\nid = \"\"", "0.toml:2: `` is no id; expected lower-case letters"),
            ("[[fruit]]\nid = \"Fig\"", "0.toml:2: `Fig` is no id"),
            ("[[fruit]]\nid = \"fig tree\"", "0.toml:2: `fig tree` is no id"),
            ("[[fruit]]\nid = \"fig.\"", "0.toml:2: `fig.` is no id"),
            ("[[fruit]]\nid = \"fig\"\n[[fruit]]\nid = \"fig\"", "0.toml:4: there is a row `fig` already, in 0.toml:2"),
        ] {
            let error = names(&[own, BELOW]).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
