//! Cargo.toml names what the program uses and nothing else: each dependency stands in a path of src/, each
//! dev-dependency in one of tests/ or benches/. And each module of src/ knows only those that stand below it in the
//! picture of docs/architecture.md. Reads sources as text, so that it needs no tool.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The Rust sources below a directory, or the one of a module that has none.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    if let Ok(entries) = fs::read_dir(path) {
        entries.for_each(|entry| all.extend(files(&entry.unwrap().path())));
    } else if path.is_file() && path.extension().is_some_and(|e| e == "rs") {
        all.push(path.to_owned());
    }
    all
}

/// The Rust sources below a directory, as one text.
fn sources(directory: &Path) -> String {
    files(directory).iter().map(|file| fs::read_to_string(file).unwrap()).collect()
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

/// The floors of docs/architecture.md from the ground up: each knows only those before it, and none beside it.
const FLOORS: [&[&str]; 13] = [
    &["clock", "files", "text"],
    &["tables"],
    &["codes"],
    &["message", "report"],
    &["suppression"],
    MIDDLE,
    &["store"],
    &["redact"],
    &["config"],
    &["follower"],
    &["app"],
    &["daemon"],
    &["cli"],
];

/// They stand side by side, ...
const MIDDLE: &[&str] = &["classify", "import", "maillog", "parse", "policy", "source", "verp"];

/// ... and whoever stands on one of them knows none of the others. Those above know all that they please.
const STAND_ON_ONE: [(&str, &str); 2] = [("store", "policy"), ("redact", "parse")];

/// Which modules of this crate a source names, comments and tests left out.
fn modules_named(source: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let code = source.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let mut named = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let line = code[..at].rsplit('\n').next().unwrap();
        if line.trim_start().starts_with("//") {
            continue;
        }
        let behind = &code[at + path.len()..];
        let name = |text: &str| text.len() - text.trim_start_matches(is_of_name).len();
        let Some(list) = behind.strip_prefix('{') else {
            named.insert(&behind[..name(behind)]);
            continue;
        };
        let (mut depth, mut begins) = (1_usize, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                _ if begins && is_of_name(c) => {
                    named.insert(&list[at..at + name(&list[at..])]);
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

#[test]
fn each_floor_knows_only_those_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all: BTreeSet<&str> = FLOORS.concat().into_iter().collect();
    let listed = fs::read_to_string(src.join("lib.rs")).unwrap();
    let modules = listed.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    let modules: BTreeSet<&str> = modules.map(|module| module.trim_end_matches(';')).collect();
    assert_eq!(all, modules, "each module has its floor");
    let mut wrong = Vec::new();
    for (n, floor) in FLOORS.iter().enumerate() {
        for module in *floor {
            let mut below = FLOORS[..n].concat();
            if let Some((_, one)) = STAND_ON_ONE.iter().find(|(name, _)| name == module) {
                below.retain(|other| other == one || !MIDDLE.contains(other));
            }
            let own = [files(&src.join(module)), files(&src.join(format!("{module}.rs")))].concat();
            assert!(!own.is_empty(), "{module} has sources");
            for file in own.iter().filter(|file| !file.ends_with("tests.rs")) {
                let source = fs::read_to_string(file).unwrap();
                let known = modules_named(&source).into_iter().filter(|name| all.contains(name) && name != module);
                let above = known.filter(|name| !below.contains(name));
                wrong.extend(above.map(|name| format!("{} knows {name}", file.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_are_found_in_every_form_of_a_path() {
    let source =
        "use crate::{\n    app::{self, report},\n    text,\n};\nfn f() -> crate::store::Id {}\n/// [`crate::cli`]\n";
    assert_eq!(modules_named(source).into_iter().collect::<Vec<_>>(), ["app", "store", "text"]);
}
