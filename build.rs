//! Lays down an outline of each table that comes with the program: where its keys and values stand, so that a program
//! that starts need not read TOML first. Its form is told, and read again, in src/tables/outline.rs.

use std::{env, fs, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

const TABLES: [&str; 6] = ["codes", "formats", "kinds", "phrases", "policy", "words"];

/// Examples: judging needs none, and they are half of a table.
const LEFT_OUT: [&str; 2] = ["accepts", "rejects"];

fn main() {
    let out = env::var("OUT_DIR").expect("cargo names it");
    println!("cargo::rerun-if-changed=build.rs");
    for table in TABLES {
        let path = format!("config/{table}.toml");
        println!("cargo::rerun-if-changed={path}");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let rows = DeTable::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut outline = Outline { text: &text, octets: Vec::new() };
        outline.table(&rows);
        let place = Path::new(&out).join(format!("{table}.outline"));
        fs::write(&place, outline.octets).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    }
}

struct Outline<'t> {
    text: &'t str,
    octets: Vec<u8>,
}

impl Outline<'_> {
    fn table(&mut self, table: &Spanned<DeTable<'_>>) {
        self.head(b'{', table);
        let kept = || table.get_ref().iter().filter(|(key, _)| !LEFT_OUT.contains(&key.get_ref().as_ref()));
        self.number(kept().count());
        for (key, value) in kept() {
            self.string(key);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(&Spanned::new(value.span(), table.clone())),
            DeValue::Array(values) => {
                self.head(b'[', value);
                self.number(values.len());
                values.iter().for_each(|value| self.value(value));
            }
            DeValue::String(text) => self.string(&Spanned::new(value.span(), text.clone())),
            DeValue::Integer(_) => self.head(b'1', value),
            DeValue::Boolean(_) => self.head(b'?', value),
            DeValue::Float(_) | DeValue::Datetime(_) => panic!("no table has {value:?}"),
        }
    }

    /// Most strings stand in the text as they are, between quotation marks or without.
    fn string<T: AsRef<str>>(&mut self, string: &Spanned<T>) {
        let (span, text) = (string.span(), string.get_ref().as_ref());
        if &self.text[span.clone()] == text {
            self.head(b'=', string);
        } else if self.text[span.start + 1..span.end - 1] == *text {
            self.head(b'"', string);
        } else {
            self.head(b'\\', string);
            self.number(text.len());
            self.octets.extend(text.bytes());
        }
    }

    fn head<T>(&mut self, kind: u8, value: &Spanned<T>) {
        let span = value.span();
        self.octets.push(kind);
        self.number(span.start);
        self.number(span.len());
    }

    /// Seven bits an octet, the lowest first; the eighth tells that more follow.
    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.octets.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.octets.push(number as u8);
    }
}
