//! What a file still says of addresses that it is to know no longer: octets in, yes or no out. Knows nothing of how files
//! keep their rows.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use aho_corasick::AhoCorasick;

use super::with_u_labels;
use crate::{files::companion_of, report::Address};

/// Finds these addresses in both of their forms, however they are written in capitals.
pub(super) fn names(addresses: &[Address]) -> AhoCorasick {
    let plain = addresses.iter().map(|address| address.normalised().to_owned());
    let forms = plain.chain(addresses.iter().filter_map(|address| with_u_labels(address.normalised())));
    let names = AhoCorasick::builder().ascii_case_insensitive(true).build(forms);
    names.expect("a person names far fewer than 2^31 octets of addresses")
}

/// Whether any of them stands in a file; one that is not there holds none. No connection of this process may have a
/// database open that is looked at: to close the file would give up its locks.
pub(super) fn are_in(file: &Path, names: &AhoCorasick) -> io::Result<bool> {
    match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        opened => names.stream_find_iter(opened?).next().transpose().map(|found| found.is_some()),
    }
}

/// Erases the damaged file that was kept for a person to look at, where it names one of them.
pub(super) fn erase_damaged(file: &Path, names: &AhoCorasick) -> io::Result<()> {
    let kept = companion_of(file, ".damaged");
    if are_in(&kept, names)? {
        fs::remove_file(&kept)?;
        tracing::warn!("{} names somebody who is to be forgotten, and is erased", kept.display());
    }
    Ok(())
}
