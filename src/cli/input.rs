//! File names, directories, mbox files and `-` -> mails, one after the other; memory holds one file at a time.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// One mail and the name by which to speak of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// The path as given plus what was found below; `PATH#2` is the second mail of an mbox; `-` standard input.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The files below the given paths, in order of their names. A path that can't be read stays in the list: reading it
/// gives the error.
pub(super) fn files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        walk(path, &mut files);
    }
    files
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    // A link below a directory could lead round in a circle; one that was named is followed.
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(path) else {
        files.push(path.to_owned());
        return;
    };
    let mut below: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    below.sort();
    for entry in below {
        if entry.is_symlink() && entry.is_dir() {
            continue;
        }
        walk(&entry, files);
    }
}

/// The mails of one file.
///
/// # Errors
/// The file can't be read.
pub(super) fn mails(path: &Path) -> io::Result<Vec<Input>> {
    let name = path.display().to_string();
    let bytes = if name == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        bytes
    } else {
        fs::read(path)?
    };
    let starts = if may_be_mbox(path) { mbox_starts(&bytes) } else { Vec::new() };
    if starts.len() < 2 {
        return Ok(vec![Input { name, bytes }]);
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let mails = starts.iter().zip(ends).enumerate();
    Ok(mails
        .map(|(n, (&from, to))| Input { name: format!("{name}#{}", n + 1), bytes: bytes[from..to].to_vec() })
        .collect())
}

/// A file named as a single mail is one, whatever it quotes; `-` and names such as `Inbox` may be either.
fn may_be_mbox(path: &Path) -> bool {
    path.extension().is_none_or(|e| e.eq_ignore_ascii_case("mbox") || e.eq_ignore_ascii_case("mbx"))
}

/// Where the mails of an mbox file begin (RFC 4155); empty for a file that is none.
fn mbox_starts(bytes: &[u8]) -> Vec<usize> {
    if !bytes.starts_with(b"From ") {
        return Vec::new();
    }
    let mut starts = vec![0];
    for at in memchr::memmem::find_iter(bytes, b"\nFrom ") {
        let line = &bytes[at + 1..];
        let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
        let after_blank = bytes[..at].ends_with(b"\n") || bytes[..at].ends_with(b"\n\r");
        if after_blank && has_time(line) {
            starts.push(at + 1);
        }
    }
    starts
}

/// A separator line carries a time of day; a sentence that begins with "From" hardly ever does.
fn has_time(line: &[u8]) -> bool {
    line.windows(5).any(|w| w[2] == b':' && [w[0], w[1], w[3], w[4]].iter().all(|b| b.is_ascii_digit() || *b == b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mbox_is_taken_apart_at_its_separators() {
        let mbox = b"From a@x Mon Nov 23 10:00:00 2026\nSubject: 1\n\nFrom here on\n\nFrom b@x Mon Nov 23 10:00:01 2026\nSubject: 2\n\nb\n";
        let starts = mbox_starts(mbox);
        assert_eq!(starts.len(), 2);
        assert!(mbox[starts[1]..].starts_with(b"From b@x"));
        assert!(mbox_starts(b"Subject: 1\n\nFrom b@x Mon Nov 23 10:00:01 2026\n").is_empty());
    }
}
