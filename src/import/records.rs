//! A text in lines, a table with or without a header, or JSON -> records: named values. Each is of bounded length, so
//! that a quote that nobody closed does not take a whole file into memory.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt,
    io::{self, BufRead, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::Value;

use super::json::{Element, Elements};
use crate::report::Address;

/// In octets: no entry of anybody's list is nearly as long.
pub(super) const LONGEST: usize = 256 * 1024;

/// So much of a file is looked at to find out what it is.
const HEAD: u64 = 64 * 1024;

/// Where so many entries that are none come first, nobody looks for one among the rest.
const MOST_BAD_AHEAD: usize = 100;

/// The name of the one value of a line; nothing in a file is called so.
pub(super) const WHOLE_LINE: &str = "(line)";

/// Named values, and the line of the file where they begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counted from 1.
    pub line: u64,
    kind: Kind,
    names: Arc<[String]>,
    values: Vec<String>,
}

impl Record {
    /// How the file is written that it is from.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The value of that name, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.iter().position(|known| known == name)?;
        self.values.get(at).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The names as they are compared: lower case, letters and digits, and a dot between an object and what is in it.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

/// What comes next in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A record.
    Record(Record),
    /// What is none, and stands alone: the next one may be right.
    Bad {
        /// Where it begins.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// Where a file breaks off: what stands behind is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The line.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value a line; `#` starts a note.
    Lines,
    /// Values between these.
    Table(u8),
    Json,
}

/// A file whose beginning was looked at.
#[derive(Debug)]
pub(super) struct Start<S> {
    head: Vec<u8>,
    rest: S,
}

impl<S: BufRead> Start<S> {
    pub(super) fn of(mut source: S) -> io::Result<Self> {
        let mut head = Vec::new();
        source.by_ref().take(HEAD).read_to_end(&mut head)?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is UTF-16; save it as UTF-8"));
        }
        if head.starts_with("\u{feff}".as_bytes()) {
            head.drain(..3);
        }
        Ok(Self { head, rest: source })
    }

    /// The first line that says something.
    fn first_line(&self) -> Cow<'_, str> {
        let mut lines = self.head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let line = lines.find(|line| !line.is_empty() && !line.starts_with(b"#")).unwrap_or_default();
        String::from_utf8_lossy(line)
    }

    pub(super) fn is_json(&self) -> bool {
        let line = self.first_line();
        // RFC 5322 §3.2.3: an address may begin with a brace.
        line.starts_with(['{', '[']) && address(&line).is_none()
    }

    pub(super) fn kind(&self) -> Kind {
        if self.is_json() {
            return Kind::Json;
        }
        let line = self.first_line();
        let count = |delimiter: &u8| line.bytes().filter(|b| b == delimiter).count();
        let most = [b',', b';', b'\t'].into_iter().rev().max_by_key(count).filter(|delimiter| count(delimiter) > 0);
        most.filter(|_| address(&line).is_none()).map_or(Kind::Lines, Kind::Table)
    }
}

/// A bare address, or one in angle brackets behind a name.
pub(super) fn address(text: &str) -> Option<Address> {
    let text = text.trim();
    let bracketed = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')).map(|(_, address)| address);
    Address::parse(bracketed.unwrap_or(text))
}

/// `EmailAddress`, `email_address`, `Email Address` -> `emailaddress`
fn compared(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || *c == '.').flat_map(char::to_lowercase).collect()
}

type Source<S> = io::Chain<Cursor<Vec<u8>>, S>;

/// The records of a file.
pub struct Records<S> {
    reader: Reader<S>,
    /// What was read already, to find out what the file is.
    ahead: VecDeque<Result<Found, Broken>>,
    is_over: bool,
}

impl<S> fmt::Debug for Records<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

enum Reader<S> {
    Lines(Lines<S>),
    Table(Box<Table<S>>),
    Json(Json<S>),
}

impl<S: BufRead> Records<S> {
    pub(super) fn new(start: Start<S>, kind: Kind) -> Self {
        let source = Cursor::new(start.head).chain(start.rest);
        let reader = match kind {
            Kind::Lines => Reader::Lines(Lines { source, line: 0, names: [WHOLE_LINE.to_owned()].into() }),
            Kind::Table(delimiter) => Reader::Table(Box::new(Table::new(source, delimiter))),
            Kind::Json => Reader::Json(Json { elements: Elements::new(source), names: Arc::default() }),
        };
        Self { reader, ahead: VecDeque::new(), is_over: false }
    }

    /// The first record that is one; it and what stands before it come once more from the iterator.
    pub(super) fn first(&mut self) -> Result<Option<&Record>, Broken> {
        while let Some(found) = self.read() {
            let is_bad = matches!(found, Ok(Found::Bad { .. })) && self.ahead.len() < MOST_BAD_AHEAD;
            self.ahead.push_back(found);
            if !is_bad {
                break;
            }
        }
        match self.ahead.back() {
            None => Ok(None),
            Some(Ok(Found::Record(record))) => Ok(Some(record)),
            Some(Err(broken)) => Err(broken.clone()),
            Some(Ok(Found::Bad { line, what })) => Err(Broken { line: *line, what: what.clone() }),
        }
    }

    fn read(&mut self) -> Option<Result<Found, Broken>> {
        if self.is_over {
            return None;
        }
        let found = match &mut self.reader {
            Reader::Lines(lines) => lines.next(),
            Reader::Table(table) => table.next(),
            Reader::Json(json) => json.next(),
        };
        self.is_over = !matches!(found, Ok(Some(_)));
        found.transpose()
    }
}

impl<S: BufRead> Iterator for Records<S> {
    type Item = Result<Found, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.ahead.pop_front().or_else(|| self.read())
    }
}

struct Lines<S> {
    source: Source<S>,
    line: u64,
    names: Arc<[String]>,
}

impl<S: BufRead> Lines<S> {
    fn next(&mut self) -> Result<Option<Found>, Broken> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.line += 1;
            let line = self.line;
            let broken = |error| Broken { line, what: format!("can't read it: {error}") };
            let read = self.source.by_ref().take(LONGEST as u64).read_until(b'\n', &mut bytes).map_err(broken)?;
            if read == LONGEST && !bytes.ends_with(b"\n") {
                return Err(Broken { line, what: format!("a line of more than {} KiB", LONGEST >> 10) });
            }
            let text = bytes.trim_ascii();
            if read == 0 {
                return Ok(None);
            }
            // The header of a table of one column.
            let is_header = line == 1 && !text.contains(&b'@') && forms_address(text);
            if !text.is_empty() && !text.starts_with(b"#") && !is_header {
                let values = vec![String::from_utf8_lossy(text).into_owned()];
                return Ok(Some(Found::Record(Record {
                    line,
                    kind: Kind::Lines,
                    names: Arc::clone(&self.names),
                    values,
                })));
            }
        }
    }
}

/// Whether it is what a column of addresses is called.
fn forms_address(text: &[u8]) -> bool {
    ["email", "emailaddress", "address"].contains(&compared(&String::from_utf8_lossy(text)).as_str())
}

/// Gives no more than one record may have, until that is granted anew.
struct Bounded<S> {
    source: S,
    left: Arc<AtomicUsize>,
}

impl<S: Read> Read for Bounded<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Relaxed);
        if left == 0 {
            let what = format!("a row of more than {} KiB: a quote is not closed", LONGEST >> 10);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let most = buffer.len().min(left);
        let read = self.source.read(&mut buffer[..most])?;
        self.left.store(left - read, Relaxed);
        Ok(read)
    }
}

struct Table<S> {
    reader: csv::Reader<Bounded<Source<S>>>,
    delimiter: u8,
    left: Arc<AtomicUsize>,
    names: Arc<[String]>,
    row: ByteRecord,
}

impl<S: BufRead> Table<S> {
    fn new(source: Source<S>, delimiter: u8) -> Self {
        let left = Arc::new(AtomicUsize::new(LONGEST));
        let bounded = Bounded { source, left: Arc::clone(&left) };
        let mut builder = ReaderBuilder::new();
        // The reader's own guess takes a CR for an end, too, and counts the row behind it a line too low.
        let reader = builder
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(bounded);
        Self { reader, delimiter, left, names: Arc::default(), row: ByteRecord::new() }
    }

    fn next(&mut self) -> Result<Option<Found>, Broken> {
        loop {
            self.left.store(LONGEST, Relaxed);
            let line = self.reader.position().line();
            let is_there = self.reader.read_byte_record(&mut self.row).map_err(|error| {
                let what = match error.into_kind() {
                    csv::ErrorKind::Io(error) => format!("can't read it: {error}"),
                    other => format!("can't read it: {other:?}"),
                };
                Broken { line, what }
            })?;
            if !is_there {
                return Ok(None);
            }
            let line = self.row.position().map_or(line, csv::Position::line);
            let values: Vec<_> = self.row.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
            if values.iter().all(|value| value.trim().is_empty()) {
                continue;
            }
            if self.names.is_empty() {
                // SES takes and gives a table without a header.
                if address(&values[0]).is_some() {
                    self.names = ["emailaddress", "reason"].map(str::to_owned).into();
                } else {
                    self.names = values.iter().map(|name| compared(name)).collect();
                    continue;
                }
            }
            if values.len() > self.names.len() {
                let what = format!("{} cells, where the first line has {}", values.len(), self.names.len());
                return Ok(Some(Found::Bad { line, what }));
            }
            return Ok(Some(Found::Record(Record {
                line,
                kind: Kind::Table(self.delimiter),
                names: Arc::clone(&self.names),
                values,
            })));
        }
    }
}

struct Json<S> {
    elements: Elements<Source<S>>,
    /// Of the record before: the next has the same, mostly.
    names: Arc<[String]>,
}

impl<S: BufRead> Json<S> {
    fn next(&mut self) -> Result<Option<Found>, Broken> {
        let Some(Element { line, text }) = self.elements.next()? else { return Ok(None) };
        let value: Value = match serde_json::from_slice(&text) {
            Ok(value) => value,
            // Its own line and column are those within the entry.
            Err(_) => return Ok(Some(Found::Bad { line, what: "this is no JSON".to_owned() })),
        };
        let mut pairs = Vec::new();
        match value {
            Value::String(text) => pairs.push((WHOLE_LINE.to_owned(), text)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    flatten(compared(&name), value, &mut pairs);
                }
            }
            _ => return Ok(Some(Found::Bad { line, what: "expected an object".to_owned() })),
        }
        let (names, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        if *names != *self.names {
            self.names = names.into();
        }
        Ok(Some(Found::Record(Record { line, kind: Kind::Json, names: Arc::clone(&self.names), values })))
    }
}

/// `{"reason": {"code": "x"}}` -> `reason.code`, `x`; what lies deeper nobody asks for.
fn flatten(name: String, value: Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !name.contains('.') => {
            for (below, value) in fields {
                flatten(format!("{name}.{}", compared(&below)), value, pairs);
            }
        }
        Value::Array(values) => {
            let texts: Vec<_> = values.into_iter().filter_map(text).collect();
            pairs.push((name, texts.join(",")));
        }
        // A field that is empty is there all the same: it tells who wrote the file.
        other => pairs.push((name, text(other).unwrap_or_default())),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
