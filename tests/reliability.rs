//! docs/reliability.md names what shows each promise: a test or a line of the soak that is gone shows nothing.

use std::{collections::BTreeSet, fs, path::Path};

/// All Rust code below a directory.
fn code(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            code(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).expect("code is text"));
        }
    }
}

#[test]
fn whatever_shows_a_promise_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = include_str!("../docs/reliability.md");
    let soak = include_str!("../scripts/soak");
    let mut tests = String::new();
    ["src", "tests", "fuzz/tests"].iter().for_each(|directory| code(&root.join(directory), &mut tests));

    // Names of tests are claims and have many words.
    let names: BTreeSet<_> =
        document.split('`').filter(|word| word.matches('_').count() >= 3 && !word.contains(' ')).collect();
    assert!(names.len() > 50, "{names:?}");
    let is_test = |name: &&str| !tests.contains(&format!("fn {name}("));
    let gone: Vec<_> = names.into_iter().filter(is_test).collect();
    assert!(gone.is_empty(), "no such tests: {gone:?}");

    let rows = document.lines().filter(|line| line.starts_with('|') && line.contains("**soak**"));
    let lines: Vec<_> =
        rows.flat_map(|row| row.split_once("**soak**").expect("it has one").1.split('"').skip(1).step_by(2)).collect();
    assert!(lines.len() > 10, "{lines:?}");
    let gone: Vec<_> = lines.into_iter().filter(|line| !soak.contains(line)).collect();
    assert!(gone.is_empty(), "no such lines: {gone:?}");
}
