//! Whether a file that is changed in place is as its last writer left it: the start of the machine in which it was
//! written, before which nobody waited for the disk, and a mark that lies beside it while a process writes. Knows
//! nothing of what the file holds.

use std::{
    env, fs,
    fs::{File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::files::{companion_of, directory_of, give_to_owner_of_directory};

/// Lies beside a file as long as a process writes into it, who holds it locked, and stays there when that process dies.
#[derive(Debug)]
pub(super) struct Mark(PathBuf);

/// A process writes. Dropped, it leaves the mark behind: what was written is not known.
#[derive(Debug)]
pub(super) struct Writing {
    path: PathBuf,
    mark: File,
}

impl Mark {
    pub(super) fn of(file: &Path) -> Self {
        Self(companion_of(file, "-writing"))
    }

    /// Before anything is written; `None` while another process has not taken its own mark away.
    pub(super) fn set(&self) -> io::Result<Option<Writing>> {
        loop {
            let mark = match File::create_new(&self.0) {
                // Of another user perhaps: a lock asks for no permission to write. A link that leads nowhere would be made
                // and opened in vain for ever.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(&self.0)
                }
                // Root may die over it, and the daemon has to find that out.
                made => made.inspect(|mark| give_to_owner_of_directory(mark, &self.0)),
            };
            let mark = match mark {
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory_of(&self.0).exists() => {
                    continue;
                }
                found => found?,
            };
            match mark.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
                // Else it was taken away before it was locked.
                Ok(()) if mark.metadata()?.nlink() > 0 => return Ok(Some(Writing { path: self.0.clone(), mark })),
                Ok(()) => {}
            }
        }
    }

    /// Whether a process died while it wrote.
    pub(super) fn is_left(&self) -> bool {
        File::open(&self.0)
            .is_ok_and(|mark| mark.try_lock().is_ok() && mark.metadata().is_ok_and(|metadata| metadata.nlink() > 0))
    }
}

impl Writing {
    /// When all is written, or nothing.
    pub(super) fn end(self) -> io::Result<()> {
        // Whoever made the file anew has perhaps taken it away, and another one has set his.
        let is_ours = fs::metadata(&self.path).is_ok_and(|found| {
            self.mark.metadata().is_ok_and(|ours| (found.dev(), found.ino()) == (ours.dev(), ours.ino()))
        });
        if is_ours { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

/// Tells this start of the machine from any other: what was written since can be read, whether it is on the disk or
/// not. `None` where nobody says. The unit hides the kernel's own word, and passes systemd's (deploy/bounced.service).
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
    fn a_mark_stays_when_its_writer_dies_and_is_left_to_one_who_lives() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Mark::of(&dir.path().join("list")), Mark::of(&dir.path().join("list")));
        let lies_there = || fs::read_dir(dir.path()).unwrap().count() == 1;
        assert!(!one.is_left());
        let writing = one.set().unwrap().expect("nobody writes");
        assert!(lies_there() && !two.is_left() && two.set().unwrap().is_none(), "he lives");
        drop(writing);
        assert!(lies_there() && two.is_left());
        two.set().unwrap().expect("he died").end().unwrap();
        assert!(!lies_there() && !one.is_left());
    }

    #[test]
    fn a_link_in_the_place_of_a_mark_is_an_error_and_no_reason_to_wait() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::of(&dir.path().join("list"));
        std::os::unix::fs::symlink(dir.path().join("nowhere/mark"), &mark.0).unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || said.send(mark.set().is_err()));
        assert!(heard.recv_timeout(std::time::Duration::from_secs(30)).unwrap());
    }

    #[test]
    fn a_mark_that_root_leaves_is_the_daemons() {
        let dir = tempfile::tempdir().unwrap();
        const DAEMON: u32 = 65_534;
        if std::os::unix::fs::chown(dir.path(), Some(DAEMON), None).is_err() {
            println!("SKIP: only root can give files away");
            return;
        }
        let mark = Mark::of(&dir.path().join("list"));
        drop(mark.set().unwrap());
        assert_eq!(fs::metadata(&mark.0).unwrap().uid(), DAEMON);
    }

    #[test]
    fn many_writers_have_a_mark_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let (mark, inside) = (Mark::of(&dir.path().join("list")), std::sync::atomic::AtomicU32::new(0));
        let work = || {
            for _ in 0..200 {
                let writing = loop {
                    match mark.set().unwrap() {
                        Some(writing) => break writing,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                writing.end().unwrap();
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert!(!mark.is_left());
    }
}
