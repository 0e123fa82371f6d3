//! The files of a Maildir (<https://cr.yp.to/proto/maildir.html>) and of its folders (Maildir++). Blocks.

use std::{
    collections::{BinaryHeap, HashSet},
    fs::{self, DirBuilder, DirEntry, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::watch::Appeared;
use crate::{
    clock::now,
    message::Place,
    source::{After, SourceError},
};

/// The directories that hold delivered messages; what lies in `tmp` is still being written.
const DELIVERED: [&str; 2] = ["new", "cur"];

/// One directory with `new`, `cur` and `tmp`.
#[derive(Debug)]
pub(super) struct Maildir {
    /// What the log calls it.
    pub mailbox: String,
    path: PathBuf,
}

/// What a file is called, and in which of the directories. Names begin with the time of delivery: the oldest is the
/// least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    name: Box<str>,
    /// The number of the directory in [`DELIVERED`].
    part: usize,
}

impl Name {
    /// `None` for what is no message.
    pub(super) fn new(name: &str, part: usize) -> Option<Self> {
        (!name.starts_with('.')).then(|| Self { name: name.into(), part })
    }

    /// The part that stays when a file is renamed or flagged.
    pub(super) fn unique(&self) -> &str {
        unique(&self.name)
    }
}

/// Which directory it is, and when it changed; `None` where it can't be seen.
pub(super) type Stamp = Option<(u64, u64, SystemTime)>;
/// Of `new` and `cur`.
pub(super) type Stamps = [Stamp; 2];

/// One message file.
#[derive(Debug)]
pub(super) struct MessageFile {
    /// See [`place`].
    pub place: Place,
    pub path: PathBuf,
}

/// What lies under a name.
pub(super) enum Found {
    Message(MessageFile),
    /// Whoever makes it may still be writing.
    Unfinished,
    /// It is gone, or no message.
    Nothing,
}

/// What was read of a file.
pub(super) struct Contents {
    pub body: Vec<u8>,
    pub size: u64,
    /// Seconds since 1970; never in the future.
    pub modified: i64,
    /// SHA-256 of what the body does not hold; `None` where it holds all.
    pub rest: Option<[u8; 32]>,
}

/// Where a message goes that is settled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// This directory, the `cur` of another folder.
    Folder(PathBuf),
    /// The `cur` of its own folder, with the flag S, for seen.
    Seen,
    /// It stays as it is.
    Unchanged,
}

impl Maildir {
    pub(super) fn new(mailbox: &str, path: PathBuf) -> Self {
        Self { mailbox: mailbox.to_owned(), path }
    }

    /// Checks that this is a Maildir, and says where its messages go.
    pub(super) fn destination(&self, after: &After) -> Result<Destination, SourceError> {
        for part in self.parts() {
            // Listing tells at once what reading would run into later.
            fs::read_dir(&part).map_err(|error| trouble("this is no readable Maildir:", &part, &error))?;
        }
        match after {
            After::Leave => Ok(Destination::Unchanged),
            After::Flag => Ok(Destination::Seen),
            After::Move(name) => {
                let name = name.trim_start_matches('.');
                if name.is_empty() || name.contains(['/', '\0']) {
                    let path = self.path.display();
                    return Err(SourceError::Refused(format!(
                        "{path}: after can't move to a folder called {name:?}; Maildir folders are called like \
                         Processed or Bounces.Done"
                    )));
                }
                Ok(Destination::Folder(self.path.join(format!(".{name}")).join("cur")))
            }
        }
    }

    /// Creates the folder to move to.
    pub(super) fn make(&self, destination: &Destination) -> Result<(), SourceError> {
        let Destination::Folder(cur) = destination else { return Ok(()) };
        for part in ["tmp", "new", "cur"].map(|part| cur.with_file_name(part)) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&part)
                .map_err(|error| trouble("can't create the folder for processed messages:", &part, &error))?;
        }
        // Maildir++: tells delivery agents that this is a folder and no mailbox of its own.
        let mark = cur.with_file_name("maildirfolder");
        File::create(&mark).map(drop).map_err(|error| trouble("can't write", &mark, &error))
    }

    /// Where delivered messages lie.
    pub(super) fn parts(&self) -> [PathBuf; 2] {
        DELIVERED.map(|part| self.path.join(part))
    }

    /// The names that are `wanted`, sorted, at most so many, and whether there are others behind them. No file is
    /// looked at.
    pub(super) fn names(
        &self,
        most: usize,
        mut wanted: impl FnMut(&Name) -> bool,
    ) -> Result<(Vec<Name>, bool), SourceError> {
        let (mut found, mut more) = (BinaryHeap::new(), false);
        for (part, path) in self.parts().iter().enumerate() {
            let listing = fs::read_dir(path).and_then(|files| {
                for file in files {
                    let file = file?;
                    // A name that is no UTF-8 was made by no delivery agent. Links and directories are a trap.
                    let Ok(name) = file.file_name().into_string() else { continue };
                    let Some(name) = Name::new(&name, part) else { continue };
                    if !wanted(&name) || !is_file(&file)? {
                        continue;
                    }
                    found.push(name);
                    if found.len() > most {
                        found.pop();
                        more = true;
                    }
                }
                Ok(())
            });
            listing.map_err(|error| trouble("can't list", path, &error))?;
        }
        Ok((found.into_sorted_vec(), more))
    }

    /// What lies under this name. What was only just made may still be written, and is no message before that is over.
    pub(super) fn file(&self, name: &Name, appeared: Appeared) -> Result<Found, SourceError> {
        let path = self.path.join(DELIVERED[name.part]).join(&*name.name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => Ok(Found::Nothing),
            Ok(metadata) if appeared == Appeared::Made && !is_finished(&metadata) => Ok(Found::Unfinished),
            Ok(metadata) => Ok(Found::Message(MessageFile { place: place(&name.name, &metadata), path })),
            // Somebody moved or removed it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(trouble("can't look at", &path, &error)),
        }
    }

    /// The files of these places, whatever they are called by now.
    pub(super) fn find(&self, places: &HashSet<&Place>) -> Result<Vec<MessageFile>, SourceError> {
        let uniques: HashSet<&str> = places.iter().map(|place| describe(place)).collect();
        let (names, _) = self.names(usize::MAX, |name| uniques.contains(name.unique()))?;
        let mut found = Vec::new();
        for name in names {
            if let Found::Message(file) = self.file(&name, Appeared::Whole)?
                && places.contains(&file.place)
            {
                found.push(file);
            }
        }
        Ok(found)
    }

    /// What `new` and `cur` are, and when they changed.
    pub(super) fn stamps(&self) -> Stamps {
        self.parts().map(|part| {
            let metadata = fs::metadata(part).ok()?;
            Some((metadata.dev(), metadata.ino(), metadata.modified().ok()?))
        })
    }

    /// Moves or flags one message; false when it is not where it was.
    pub(super) fn settle(&self, file: &MessageFile, destination: &Destination) -> Result<bool, SourceError> {
        let Some(name) = file.path.file_name().and_then(|name| name.to_str()) else { return Ok(false) };
        let target = match destination {
            Destination::Folder(cur) => cur.join(with_flag(name, None)),
            Destination::Seen => self.path.join("cur").join(with_flag(name, Some('S'))),
            Destination::Unchanged => return Ok(true),
        };
        match rename_beside(&file.path, &target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => match target.parent().is_some_and(Path::exists) {
                true => Ok(false),
                // Opening makes it again.
                false => Err(SourceError::Lost(format!("the folder of {} is gone", target.display()))),
            },
            Err(error) if error.kind() == ErrorKind::InvalidFilename => {
                warn!(
                    mailbox = self.mailbox,
                    path = %file.path.display(),
                    "the name is too long for flags, so the message stays where it is"
                );
                Ok(true)
            }
            Err(error) => Err(trouble("can't move a message to", &target, &error)),
        }
    }

    /// Makes renames last: a power cut may otherwise undo them, and the messages are looked at again.
    pub(super) fn sync(&self, destination: &Destination) -> Result<(), SourceError> {
        let target = match destination {
            Destination::Folder(cur) => Some(cur.clone()),
            Destination::Seen => None,
            Destination::Unchanged => return Ok(()),
        };
        for directory in target.into_iter().chain(self.parts()) {
            File::open(&directory)
                .and_then(|directory| directory.sync_all())
                .map_err(|error| trouble("can't sync", &directory, &error))?;
        }
        Ok(())
    }
}

/// Where that is not known from the listing it is looked up, and somebody may have moved or removed the file meanwhile.
fn is_file(file: &DirEntry) -> io::Result<bool> {
    match file.file_type() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        kind => Ok(kind?.is_file()),
    }
}

/// How long nobody has written into a file that is taken for finished.
pub(super) const STILL: Duration = Duration::from_secs(2);

/// Of a file that was made in its place each change so far was a write. One that was written elsewhere and linked has
/// another name still, or had one taken away since; but within some milliseconds a link has the same time as the write.
fn is_finished(metadata: &Metadata) -> bool {
    let written = (metadata.mtime(), metadata.mtime_nsec());
    let is_still = |written: SystemTime| written.elapsed().is_ok_and(|since| since >= STILL);
    metadata.nlink() > 1
        || (metadata.ctime(), metadata.ctime_nsec()) != written
        || metadata.modified().is_ok_and(is_still)
}

/// Reads at most `limit` octets of a regular file; `None` when it is gone, or something else has taken its place.
pub(super) fn read(path: &Path, limit: u32) -> Result<Option<Contents>, SourceError> {
    // Between listing and opening the name may have become a link (ELOOP) or a FIFO (which would block without
    // NONBLOCK).
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ELOOP) => {
            return Ok(None);
        }
        Err(error) => return Err(trouble("can't read", path, &error)),
    };
    let contents = file.metadata().and_then(|meta| {
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let mut body = Vec::new();
        let mut rest = None;
        if meta.is_file() {
            let mut file = file.take(limit.into());
            file.read_to_end(&mut body)?;
            rest = digest(file.into_inner())?;
        }
        // Whoever delivered it may have set any time: a message from the future would outdo what a person says today.
        let modified = i64::try_from(modified).unwrap_or(i64::MAX).min(now());
        Ok(meta.is_file().then_some(Contents { body, size: meta.len(), modified, rest }))
    });
    contents.map_err(|error| trouble("can't read", path, &error))
}

/// SHA-256 of what is left to read; `None` where nothing is.
fn digest(mut file: impl Read) -> io::Result<Option<[u8; 32]>> {
    let (mut hash, mut buffer, mut any) = (Sha256::new(), vec![0; 64 * 1024], false);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(any.then(|| hash.finalize().into()));
        }
        any = true;
        hash.update(&buffer[..read]);
    }
}

/// The unique part of a file name, size and time: whoever renames a file or flags it keeps them, and a name that is
/// used once more hides no other message.
fn place(name: &str, metadata: &Metadata) -> Place {
    let (size, seconds, nanoseconds) = (metadata.size(), metadata.mtime(), metadata.mtime_nsec());
    Place::new(format!("{}/{size}.{seconds}.{nanoseconds:09}", unique(name)))
}

/// A place in words for people: the unique part of the name, which holds no slash.
pub(super) fn describe(place: &Place) -> &str {
    place.as_str().split('/').next().unwrap_or_default()
}

/// `1.a:2,S` -> `1.a`
fn unique(name: &str) -> &str {
    name.split_once(":2,").map_or(name, |(unique, _)| unique)
}

/// How many names are tried for a message whose own is taken.
const MOST_NAMES: u32 = 1_000;

/// Renames a file. Where another one lies at the target, which no delivery agent does, it comes beside it.
fn rename_beside(from: &Path, target: &Path) -> io::Result<()> {
    if from == target {
        return Ok(());
    }
    let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut done = rename_to_free(from, target);
    for number in 1..=MOST_NAMES {
        if done.as_ref().err().is_none_or(|error| error.kind() != ErrorKind::AlreadyExists) {
            break;
        }
        let unique = unique(name);
        done = rename_to_free(from, &target.with_file_name(format!("{unique}_{number}{}", &name[unique.len()..])));
    }
    done
}

/// Renames a file, and fails where the target is there.
fn rename_to_free(from: &Path, target: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, target, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::symlink_metadata(target) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, target),
        },
        done => Ok(done?),
    }
}

/// The name for `cur`: with the info part, its flags in alphabetical order.
fn with_flag(name: &str, flag: Option<char>) -> String {
    let (unique, flags) = name.split_once(":2,").unwrap_or((name, ""));
    let mut flags: Vec<char> = flags.chars().chain(flag).collect();
    flags.sort_unstable();
    flags.dedup();
    format!("{unique}:2,{}", flags.into_iter().collect::<String>())
}

/// A disk that is full or away may come back; what is not there or not permitted stays so until somebody acts.
fn trouble(what: &str, path: &Path, error: &io::Error) -> SourceError {
    let text = format!("{what} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::CrossesDevices => {
            SourceError::Refused(format!("{text}; correct path and permissions"))
        }
        _ => SourceError::Lost(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_added_in_order_and_once() {
        for (name, expected) in
            [("1.a", "1.a:2,S"), ("1.a:2,", "1.a:2,S"), ("1.a:2,RT", "1.a:2,RST"), ("1.a:2,S", "1.a:2,S")]
        {
            assert_eq!(with_flag(name, Some('S')), expected);
            assert_eq!(unique(name), "1.a");
        }
        assert_eq!(with_flag("1.a", None), "1.a:2,");
    }
}
