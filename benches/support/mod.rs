//! The mails that are measured, and what is measured on them.

use std::{fs, hint::black_box, path::Path};

use bounced::app::Judge;

/// Reads and judges each of them.
pub fn judge_all(judge: &Judge, mails: &[Vec<u8>]) {
    for mail in mails {
        black_box(judge.judge(black_box(mail)));
    }
}

/// Every sample mail of the project; `BOUNCED_BENCH_MAILS` names another directory.
pub fn mails() -> Vec<Vec<u8>> {
    let mut mails = Vec::new();
    match std::env::var_os("BOUNCED_BENCH_MAILS") {
        Some(directory) => collect(Path::new(&directory), &mut mails),
        None => {
            for directory in ["tests/mails", "scripts/samples"] {
                collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut mails);
            }
        }
    }
    assert!(!mails.is_empty(), "no sample mail was found");
    mails
}

fn collect(directory: &Path, mails: &mut Vec<Vec<u8>>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            collect(&path, mails);
        } else if path.extension().is_some_and(|e| e == "eml") {
            mails.extend(fs::read(path));
        }
    }
}
