//! What all tables (codes, phrases, kinds, formats, words) have in common: TOML files with errors that name file and
//! line, files of one's own laid over the one that comes with the program, and rows that prove themselves by examples.
//! Knows nothing of what a row says.

mod examples;
mod idle;
mod outline;
mod overlay;
mod wording;

use std::{
    borrow::Cow,
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

pub use examples::{Example, Expected, prove};
pub use idle::{IdleRow, OwnRow, idle_rows};
pub(crate) use overlay::named_row;
pub use overlay::{Layer, Placed, Row, overlay};
use serde::de::DeserializeOwned;
pub use wording::in_words;

use crate::text::printable;

/// Why a table was refused, in one line: file, line, what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TableError(String);

/// A table that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// Where it lies in the source tree.
    pub name: &'static str,
    /// What stands in it.
    pub text: &'static str,
    /// Where its rows stand, without their examples.
    pub outline: &'static [u8],
}

/// The [`Embedded`] table of a name.
macro_rules! embedded {
    ($name:literal) => {
        $crate::tables::Embedded {
            name: concat!("config/", $name, ".toml"),
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/", $name, ".toml")),
            outline: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".outline")),
        }
    };
}
pub(crate) use embedded;

/// Octets of a file of one's own: sixty times those of the largest table that comes with the program.
const LARGEST: u64 = 32 << 20;

/// One file of a table.
#[derive(Debug, Clone)]
pub struct TableFile {
    /// Its path: names it in errors and in answers to "where is this row?".
    pub name: String,
    text: Cow<'static, str>,
    own: bool,
    /// The row that is read as if it did not stand there.
    left_out: Option<String>,
    /// Where its rows stand; only one that comes with the program has it.
    outline: Option<&'static [u8]>,
    /// Whether the examples of its rows are read.
    has_examples: bool,
    /// Where its lines end; nothing is counted before somebody asks.
    ends: OnceLock<Vec<usize>>,
}

impl TableFile {
    /// A table that comes with the program.
    #[must_use]
    pub fn embedded(Embedded { name, text, outline }: Embedded) -> Arc<Self> {
        Arc::new(Self { outline: Some(outline), ..Self::new(name.to_owned(), text.into(), false) })
    }

    /// One that stands in a test, as if it came with the program.
    #[cfg(test)]
    pub(crate) fn of_test(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self::new(name.to_owned(), text.to_owned().into(), false))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, is no regular file, too large, or no text.
    pub fn read(path: &Path) -> Result<Arc<Self>, TableError> {
        let name = path.display().to_string();
        let refused = |problem: &dyn fmt::Display| TableError(format!("{name}: can't read the table: {problem}"));
        // To open a pipe, or to read a device, may never end.
        let about = fs::metadata(path).map_err(|err| refused(&err))?;
        if !about.is_file() {
            return Err(refused(&"it is no regular file; name a file with rows in it"));
        }
        if about.len() > LARGEST {
            return Err(refused(&format!("it has {} octets, and a table has {LARGEST} at most", about.len())));
        }
        let bytes = fs::read(path).map_err(|err| refused(&err))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Arc::new(Self::new(name, text.into(), true))),
            Err(err) => {
                let at = err.utf8_error().valid_up_to();
                let read = Self::new(name, String::from_utf8_lossy(err.as_bytes()).into_owned().into(), true);
                Err(read.refuse(&(at..at), "this is not UTF-8; save the file in that encoding"))
            }
        }
    }

    /// One's own files, the strongest first, and below them the one that comes with the program.
    ///
    /// # Errors
    /// A file can't be read, or is no text.
    pub fn read_all(own: &[PathBuf], embedded: Embedded) -> Result<Vec<Arc<Self>>, TableError> {
        let mut all = own.iter().map(|path| Self::read(path)).collect::<Result<Vec<_>, _>>()?;
        all.push(Self::embedded(embedded));
        Ok(all)
    }

    const fn new(name: String, text: Cow<'static, str>, own: bool) -> Self {
        Self { name, text, own, left_out: None, outline: None, has_examples: true, ends: OnceLock::new() }
    }

    /// The same file, read as if a row did not stand in it.
    #[must_use]
    pub fn without(&self, id: &str) -> Arc<Self> {
        Arc::new(Self { left_out: Some(id.to_owned()), ..self.clone() })
    }

    /// The same file, read without the examples of its rows. They are half of it, and whoever judges never asks for
    /// them: what comes with the program is proved by its tests. One's own stays as it is.
    #[must_use]
    pub fn without_examples(&self) -> Arc<Self> {
        Arc::new(Self { has_examples: self.outline.is_none(), ..self.clone() })
    }

    /// Whether its rows are read with their examples.
    #[must_use]
    pub const fn has_examples(&self) -> bool {
        self.has_examples
    }

    /// What stands in it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is one that somebody laid over the table that comes with the program.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.own
    }

    /// Its text as rows.
    ///
    /// # Errors
    /// It is no TOML, or says what the table has no place for.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, TableError> {
        if let Some(outline) = self.outline.filter(|_| !self.has_examples) {
            match outline::read(&self.text, outline) {
                Ok(rows) => return Ok(rows),
                // A slip in the table is told below, with its place.
                Err(err) => debug_assert!(toml::from_str::<T>(&self.text).is_err(), "{}: {err}", self.name),
            }
        }
        toml::from_str(&self.text).map_err(|err| {
            let (place, problem) = (err.span().unwrap_or_default(), in_words(err.message()));
            match self.key(place.start).filter(|_| !err.message().contains(" field `")) {
                Some(key) => self.refuse(&place, &format!("{key}: {problem}")),
                None => self.refuse(&place, &problem),
            }
        })
    }

    /// The key whose value stands at an offset.
    fn key(&self, offset: usize) -> Option<&str> {
        // A list may have begun some lines above.
        let (before, value) = self.text.get(..offset)?.rsplit_once('=')?;
        if self.text[offset..].starts_with('{') {
            return None;
        }
        let key = before.rsplit(['\n', '{', ',']).next()?.trim();
        let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        let is_of_key = |c: char| c.is_alphanumeric() || "_-.@".contains(c);
        let is_list = value.trim().is_empty() || value.trim_start().starts_with('[');
        (is_list && !bare.is_empty() && bare.chars().all(is_of_key)).then_some(bare)
    }

    /// The line that an offset stands in, counted from 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        // Asked for each of thousands of rows and examples.
        let ends = self.ends.get_or_init(|| memchr::memchr_iter(b'\n', self.text.as_bytes()).collect());
        1 + ends.partition_point(|&end| end < offset)
    }

    /// What is wrong at a place of the file, as an error.
    #[must_use]
    pub fn refuse(&self, place: &Range<usize>, problem: &str) -> TableError {
        TableError(format!("{}:{}: {}", self.name, self.line(place.start), printable(&problem.replace('\n', "; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = TableFile::read(Path::new("/nowhere/my.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/my.toml: can't read the table: "), "{error}");
        for endless in ["/dev/zero", "/"] {
            let error = TableFile::read(Path::new(endless)).unwrap_err().to_string();
            assert!(error.contains("it is no regular file"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        fs::File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        let error = TableFile::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("it has 33554433 octets, and a table has 33554432 at most"), "{error}");
    }

    #[test]
    fn a_file_in_another_encoding_is_refused_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.toml");
        fs::write(&path, b"# one\n\nsays = [\"\xfcberf\xfcllt\"]\n").unwrap();
        let error = TableFile::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("my.toml:3: this is not UTF-8; save the file in that encoding"), "{error}");
    }

    #[test]
    fn errors_name_file_and_line_and_fit_one_line() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Numbers {
            #[expect(dead_code, reason = "only its errors matter")]
            number: u8,
        }
        for (text, problem) in [
            ("\nnumber = 1\ncolour = 2", "t.toml:3: unknown key `colour`, expected `number`"),
            ("number = \"x\"", "t.toml:1: number: found \"x\", expected a whole number from 0 to 255"),
            ("number = [\n  \"a\",\n]", "t.toml:1: number: found a list, expected a whole number from 0 to 255"),
            ("number = [\n", "t.toml:1: "),
        ] {
            let error = TableFile::of_test("t.toml", text).parse::<Numbers>().unwrap_err().to_string();
            assert!(error.starts_with(problem) && !error.contains('\n'), "{error}");
        }
    }
}
