//! A file that is complete before anybody sees it: written beside the old one under another name, then renamed over it.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use super::{companion_of, directory_of, give_to_owner_of_directory};

/// The new file; goes away again when it is dropped.
#[derive(Debug)]
pub(crate) struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Replacement {
    /// Begins a file that is to lie at `path`, with the mode, owner and group of the first of these that is there:
    /// `path` itself, then `model`.
    pub(crate) fn begin(path: &Path, model: Option<&Path>) -> io::Result<Self> {
        sweep(path);
        let (temporary, file) = loop {
            let temporary = companion_of(path, &format!("{MARK}{:08x}", rand::random::<u32>()));
            // create_new is O_EXCL: a link that somebody put there is not followed.
            let file = File::options().read(true).write(true).create_new(true).mode(0o644).open(&temporary)?;
            // The lock says that somebody works on it; the kernel lets go of it even after `kill -9`. Before it was
            // locked, whoever tidied up at this moment may have taken it for one that is left behind.
            let is_swept = matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || file.metadata()?.nlink() == 0;
            if !is_swept {
                break (temporary, file);
            }
        };
        let this = Self { path: path.to_owned(), temporary, file };
        if let Some(like) = [Some(path), model].into_iter().flatten().find_map(|path| fs::symlink_metadata(path).ok())
            && like.is_file()
            // Somebody's look-up of a list that was not there yet makes an empty one of his own.
            && like.len() > 0
        {
            // Only root may give files away; whoever may not keeps its own. The group first: it may clear mode bits.
            let _ = fchown(&this.file, None, Some(like.gid()));
            let _ = fchown(&this.file, Some(like.uid()), None);
            this.file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o777))?;
        } else {
            give_to_owner_of_directory(&this.file, path);
        }
        Ok(this)
    }

    /// Where it lies until it is complete.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// The file as it is written; begins at its start.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Makes it last and puts it into its place. Waits for the disk.
    pub(crate) fn commit(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        File::open(directory_of(&self.path))?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Once renamed, it is not there any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Keeps what lies at `path` under another name as well, for a person to look at.
pub(crate) fn keep_damaged(path: &Path) -> io::Result<PathBuf> {
    let kept = companion_of(path, ".damaged");
    match fs::remove_file(&kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Not every file system has hard links.
    fs::hard_link(path, &kept).or_else(|_| fs::rename(path, &kept))?;
    Ok(kept)
}

/// Between the name of the file and a random number.
const MARK: &str = ".new-";

/// Removes what killed processes have left.
fn sweep(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let mut start = OsString::from(name);
    start.push(MARK);
    let Ok(entries) = fs::read_dir(directory_of(path)) else { return };
    for entry in entries.flatten() {
        // Locked until it is gone: whoever has just made it sees by that that it is taken from him.
        let left = || {
            let regular = entry.file_type().is_ok_and(|kind| kind.is_file());
            let file = regular.then(|| File::open(entry.path()).ok()).flatten()?;
            file.try_lock().is_ok().then_some(file)
        };
        let name = entry.file_name();
        // What follows the mark is a number: a file beside such a one belongs to whoever writes that.
        if name.len() == start.len() + 8
            && name.as_encoded_bytes().starts_with(start.as_encoded_bytes())
            && let Some(_locked) = left()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_new_file_has_the_mode_of_the_old_one_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (path, model) = (dir.path().join("list"), dir.path().join("model"));
        fs::write(&model, "a list").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for expected in [0o640, 0o604] {
            let like = if path.exists() { &path } else { &model };
            fs::set_permissions(like, fs::Permissions::from_mode(expected)).unwrap();
            let replacement = Replacement::begin(&path, Some(&model)).unwrap();
            replacement.file().unwrap().write_all(b"new").unwrap();
            replacement.commit().unwrap();
            assert_eq!((mode(&path), &*fs::read(&path).unwrap()), (expected, &b"new"[..]));
        }
        drop(Replacement::begin(&path, None).unwrap());
        assert_eq!(names(dir.path()), ["list", "model"]);
    }

    #[test]
    fn many_that_tidy_up_at_once_take_nothing_from_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::thread::scope(|scope| {
            let work = || (0..100).try_for_each(|_| Replacement::begin(&path, None)?.commit());
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        assert_eq!(names(dir.path()), ["list"]);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_another_one_writes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        File::create(companion_of(&path, ".new-00000001")).unwrap();
        let other = Replacement::begin(&path, None).unwrap();
        drop(Replacement::begin(&path, None).unwrap());
        assert_eq!(names(dir.path()), [other.temporary().file_name().unwrap().to_str().unwrap()]);
    }
}
