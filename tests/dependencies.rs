//! Cargo.toml names what the program uses and nothing else: each dependency stands in a path of src/, each
//! dev-dependency in one of tests/ or benches/. Reads sources as text, so that it needs no tool.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{fs, path::Path};

/// The Rust sources below a directory, as one text.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    text
}

/// Whether `name::` stands in it, as a word of its own.
fn names(text: &str, krate: &str) -> bool {
    let path = format!("{}::", krate.replace('-', "_"));
    text.match_indices(&path)
        .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[test]
fn every_dependency_is_used_where_it_is_declared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.toml")).unwrap()).unwrap();
    let below = |directories: &[&str]| directories.iter().map(|d| sources(&root.join(d))).collect::<String>();
    let mut unused = Vec::new();
    // A dev-dependency may serve the unit tests, which stand in src/.
    for (table, directories) in [("dependencies", &["src"][..]), ("dev-dependencies", &["src", "tests", "benches"])] {
        let sources = below(directories);
        let declared = manifest[table].as_table().unwrap().keys();
        unused.extend(declared.filter(|krate| !names(&sources, krate)).map(|krate| format!("{table}: {krate}")));
    }
    assert!(unused.is_empty(), "declared and not used: {unused:?}");
}
