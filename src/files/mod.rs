//! What every file of ours needs: its directory, the names of those beside it, an owner who can open it again, a way
//! to be replaced as a whole, and whether it changed. Knows nothing of what files hold.

mod quiet;
mod replace;

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

pub(crate) use quiet::Quiet;
pub(crate) use replace::{Replacement, keep_damaged};

/// The directory that a file lies in, or is to lie in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path of a file that lies beside another one and is called like it, with an ending of its own.
pub(crate) fn companion_of(path: &Path, ending: &str) -> PathBuf {
    let mut companion = path.as_os_str().to_owned();
    companion.push(ending);
    companion.into()
}

/// A file that root makes, as by a command before the first start, is for the user whose directory it lies in.
pub(crate) fn give_to_owner_of_directory(made: &File, path: &Path) {
    if let Ok(directory) = fs::metadata(directory_of(path)) {
        // Only root may give files away; whoever may not keeps its own.
        let _ = fchown(made, Some(directory.uid()), Some(directory.gid()));
    }
}
