//! Whether a file that is changed in place is as its last writer left it: the start of the machine in which it was written,
//! before which nobody waited for the disk, and a mark that lies beside it while a process writes. Knows nothing of what
//! the file holds.

use std::{
    env, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Lies beside a file as long as a process writes into it, and stays there when that process dies.
#[derive(Debug)]
pub(super) struct Mark(PathBuf);

impl Mark {
    pub(super) fn of(file: &Path) -> Self {
        let mut path = file.as_os_str().to_owned();
        path.push("-writing");
        Self(path.into())
    }

    /// Before anything is written.
    pub(super) fn set(&self) -> io::Result<()> {
        match File::create_new(&self.0) {
            // Of another user perhaps, so that it can't be opened.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
    }

    /// When all is written, or nothing.
    pub(super) fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.exists()
    }
}

/// Tells this start of the machine from any other: what was written since can be read, whether it is on the disk or not.
/// `None` where nobody says. The unit hides the kernel's own word, and passes systemd's (deploy/bounced.service).
pub(super) fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let found = BOOT.get_or_init(|| {
        let said =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().or_else(|| env::var("BOUNCED_BOOT_ID").ok());
        // The one writes it with hyphens, the other without.
        let id: String = said?.chars().filter(char::is_ascii_alphanumeric).collect();
        (!id.is_empty()).then_some(id)
    });
    found.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_until_it_is_cleared_whoever_set_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        let (one, two) = (Mark::of(&file), Mark::of(&file));
        assert!(!one.is_set());
        one.set().unwrap();
        two.set().unwrap();
        assert!(one.is_set() && !file.exists());
        two.clear().unwrap();
        one.clear().unwrap();
        assert!(!one.is_set());
    }
}
