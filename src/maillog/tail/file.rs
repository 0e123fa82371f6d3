//! A log file, followed through rotation: by renaming (the old file is read to its end first) and by copying and
//! truncating (the rest is read from the copy). What it was is known by its inode and by octets of it.

use std::{
    ffi::OsStr,
    fmt, fs,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::{task::spawn_blocking, time::sleep};

use super::{BATCH_OCTETS, Lines, LogError, cut::cut, foreign_cursor};
use crate::files::directory_of;

/// How often to look for new lines.
const POLL: Duration = Duration::from_secs(1);

/// Whoever writes may hold on to a file that was renamed for so long after the last line.
const LINGER: Duration = Duration::from_secs(3);

/// So many octets at the start, and before the place, tell one log from another.
const COMPARED: usize = 1024;

/// A file that is followed.
#[derive(Debug)]
pub struct FileTail {
    /// Away while it reads; whoever drops that loses it.
    session: Option<Session>,
}

impl FileTail {
    pub(super) fn open(path: &Path, cursor: Option<&str>) -> Result<Self, LogError> {
        let place = cursor.map(|cursor| cursor.parse().map_err(|()| foreign_cursor())).transpose()?;
        let session = Session { path: path.to_owned(), opened: None, place, rotated: None, lost: None };
        // A file that was there before is only being rotated.
        if session.place.is_none() {
            open(path).map_err(|error| session.refusal(&error))?;
        }
        Ok(Self { session: Some(session) })
    }

    pub(super) async fn next(&mut self) -> Result<Lines, LogError> {
        loop {
            let interrupted = || LogError::Lost("reading was interrupted".to_owned());
            let mut session = self.session.take().ok_or_else(interrupted)?;
            let (session, polled) = spawn_blocking(move || {
                let polled = session.poll(Instant::now());
                (session, polled)
            })
            .await
            .map_err(|_| interrupted())?;
            let polled = polled.map_err(|error| session.refusal(&error))?;
            self.session = Some(session);
            if let Some(lines) = polled {
                return Ok(lines);
            }
            sleep(POLL).await;
        }
    }
}

/// How far a file was read, and what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    offset: u64,
    /// Of its first octets.
    first: Print,
    /// Of the octets before the offset.
    before: Print,
    /// When it was written to last, in nanoseconds since 1970-01-01 UTC.
    modified: i128,
    /// Whether a line goes on behind the offset whose start was given out.
    in_line: bool,
}

/// A digest of so many octets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Print {
    length: usize,
    digest: String,
}

impl Print {
    fn of(octets: &[u8]) -> Self {
        let digest = Sha256::digest(octets);
        Self { length: octets.len(), digest: HEXLOWER.encode(&digest[..8]) }
    }

    /// Whether these octets of the file are the same.
    fn is_at(&self, file: &File, offset: u64) -> io::Result<bool> {
        if self.length == 0 {
            return Ok(true);
        }
        let mut octets = vec![0; self.length];
        match file.read_exact_at(&mut octets, offset) {
            Ok(()) => Ok(Self::of(&octets) == *self),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Place {
    fn at_start_of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            offset: 0,
            first: Print::default(),
            before: Print::default(),
            modified: modified(metadata),
            in_line: false,
        }
    }

    fn is_of(&self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }

    /// Whether what was read stands in that file, too.
    fn is_in(&self, file: &File) -> io::Result<bool> {
        let before = self.offset - self.before.length as u64;
        Ok(file.metadata()?.len() >= self.offset && self.first.is_at(file, 0)? && self.before.is_at(file, before)?)
    }

    /// Further on in the same file.
    fn advance(&mut self, file: &File, octets: u64) -> io::Result<()> {
        self.offset += octets;
        let length = usize::try_from(self.offset).unwrap_or(COMPARED).min(COMPARED);
        let print = |from: u64| {
            let mut octets = vec![0; length];
            file.read_exact_at(&mut octets, from).map(|()| Print::of(&octets))
        };
        if self.first.length < length {
            self.first = print(0)?;
        }
        self.before = print(self.offset - length as u64)?;
        self.modified = modified(&file.metadata()?);
        Ok(())
    }
}

fn modified(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// `file DEVICE INODE OFFSET LENGTH:DIGEST LENGTH:DIGEST MODIFIED`, with `+` where a line goes on.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, inode, offset, first, before, modified, in_line } = self;
        write!(f, "file {device} {inode} {offset} {}:{}", first.length, first.digest)?;
        write!(f, " {}:{} {modified}{}", before.length, before.digest, if *in_line { " +" } else { "" })
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn number<N: FromStr>(word: Option<&str>) -> Result<N, ()> {
            word.and_then(|word| word.parse().ok()).ok_or(())
        }
        let print = |word: Option<&str>| {
            let (length, digest) = word.and_then(|word| word.split_once(':')).ok_or(())?;
            let length = number(Some(length)).ok().filter(|length| *length <= COMPARED).ok_or(())?;
            Ok(Print { length, digest: digest.to_owned() })
        };
        let mut words = text.strip_prefix("file ").ok_or(())?.split(' ');
        let (device, inode, offset) = (number(words.next())?, number(words.next())?, number(words.next())?);
        let (first, before) = (print(words.next())?, print(words.next())?);
        let (modified, in_line) = (number(words.next())?, words.next() == Some("+"));
        let is_whole = before.length as u64 <= offset && words.next().is_none();
        is_whole.then_some(Self { device, inode, offset, first, before, modified, in_line }).ok_or(())
    }
}

/// A file and how far it was read.
#[derive(Debug)]
struct Opened {
    file: File,
    place: Place,
}

impl Opened {
    fn at_start_of(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let place = Place::at_start_of(&file.metadata()?);
        Ok(Self { file, place })
    }

    /// The next whole lines.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut octets = self.rest()?;
            let cut = cut(&octets, self.place.in_line);
            if cut.skipped + cut.lines == 0 {
                return Ok(None);
            }
            self.place.in_line = cut.in_line;
            self.place.advance(&self.file, (cut.skipped + cut.lines) as u64)?;
            if cut.lines > 0 {
                octets.truncate(cut.skipped + cut.lines);
                octets.drain(..cut.skipped);
                return Ok(Some(octets));
            }
        }
    }

    /// What stands behind the place, as far as it fits in a batch.
    fn rest(&self) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len().saturating_sub(self.place.offset);
        let mut octets = vec![0; usize::try_from(length).unwrap_or(BATCH_OCTETS).min(BATCH_OCTETS)];
        let mut read = 0;
        while read < octets.len() {
            match self.file.read_at(&mut octets[read..], self.place.offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        octets.truncate(read);
        Ok(octets)
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for somebody to write.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file (stdin = true reads a pipe)"));
    }
    File::open(path)
}

/// Nothing where there is nothing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
struct Session {
    path: PathBuf,
    opened: Option<Opened>,
    /// Where reading was to go on, as long as no file is open.
    place: Option<Place>,
    /// Since when another file is there under the name.
    rotated: Option<Instant>,
    /// What is to be told with the next lines.
    lost: Option<String>,
}

impl Session {
    fn refusal(&self, error: &io::Error) -> LogError {
        let text = format!("{} can't be read: {error}", self.path.display());
        // What is no file stays none. Rights may be given.
        if error.kind() == io::ErrorKind::InvalidInput { LogError::Refused(text) } else { LogError::Lost(text) }
    }

    /// The next lines, if there are any by now.
    fn poll(&mut self, now: Instant) -> io::Result<Option<Lines>> {
        loop {
            let Some(mut opened) = self.opened.take() else {
                self.opened = self.resume()?;
                if self.opened.is_none() {
                    return Ok(None);
                }
                continue;
            };
            // It was truncated, and perhaps written again.
            if !opened.place.is_in(&opened.file)? {
                self.place = Some(opened.place);
                continue;
            }
            let mut octets = opened.read()?.unwrap_or_default();
            let mut is_next = false;
            if octets.is_empty()
                && let Some(next) = self.next_file(&opened, now)?
            {
                // Nobody will end a line that was left half.
                if !opened.place.in_line {
                    octets = opened.rest()?;
                }
                (opened, is_next) = (next, true);
            }
            let cursor = opened.place.to_string();
            self.opened = Some(opened);
            if !octets.is_empty() || self.lost.is_some() {
                return Ok(Some(Lines { octets, cursor, lost: self.lost.take() }));
            }
            if !is_next {
                return Ok(None);
            }
        }
    }

    /// The file in which reading goes on; `None` as long as there is none.
    fn resume(&mut self) -> io::Result<Option<Opened>> {
        let Some(place) = &self.place else { return if_there(Opened::at_start_of(&self.path)) };
        let current = if_there(open(&self.path))?;
        let metadata = current.as_ref().map(File::metadata).transpose()?;
        let others = self.others()?;
        // By its inode, whatever it is called by now; else a copy, by what stands in it.
        let renamed = others.iter().filter(|other| place.is_of(&other.metadata));
        let copies = others.iter().filter(|other| other.is_rotated && place.offset > 0);
        let candidates = renamed.chain(copies).filter_map(|other| open(&other.path).ok());
        for file in current
            .filter(|_| metadata.as_ref().is_some_and(|current| place.is_of(current)))
            .into_iter()
            .chain(candidates)
        {
            if place.is_in(&file)? {
                let metadata = file.metadata()?;
                let place = Place { device: metadata.dev(), inode: metadata.ino(), ..place.clone() };
                self.place = None;
                return Ok(Some(Opened { file, place }));
            }
        }
        let next = oldest_after(place.modified, &others).map_or(&self.path, |other| &other.path);
        let next = if_there(Opened::at_start_of(next))?;
        if next.is_some() {
            self.lost = Some(format!(
                "{}: the file that was read up to octet {} is gone or has changed; what it had behind that is lost",
                self.path.display(),
                place.offset
            ));
            self.place = None;
        }
        Ok(next)
    }

    /// The file that was begun after this one, once nobody writes into this one any more.
    fn next_file(&mut self, opened: &Opened, now: Instant) -> io::Result<Option<Opened>> {
        let current = if_there(fs::metadata(&self.path))?;
        if current.as_ref().is_some_and(|current| opened.place.is_of(current)) {
            self.rotated = None;
            return Ok(None);
        }
        let others = self.others()?;
        let (path, expected) = match oldest_after(modified(&opened.file.metadata()?), &others) {
            Some(other) => (&other.path, &other.metadata),
            None => {
                let Some(current) = current.as_ref().filter(|current| current.len() > 0) else { return Ok(None) };
                if now.duration_since(*self.rotated.get_or_insert(now)) < LINGER {
                    return Ok(None);
                }
                (&self.path, current)
            }
        };
        // It may have been renamed just now; then it is found the next time.
        let next = if_there(Opened::at_start_of(path))?.filter(|next| next.place.is_of(expected));
        if next.is_some() {
            self.rotated = None;
        }
        Ok(next)
    }

    /// What lies beside the file.
    fn others(&self) -> io::Result<Vec<Other>> {
        let mut others = Vec::new();
        for entry in fs::read_dir(directory_of(&self.path))? {
            let entry = entry?;
            let path = entry.path();
            let Some(metadata) = if_there(fs::metadata(&path)).ok().flatten() else { continue };
            if metadata.is_file() && path.file_name() != self.path.file_name() {
                let is_rotated = is_rotated(&self.path, &entry.file_name());
                others.push(Other { path, metadata, is_rotated });
            }
        }
        Ok(others)
    }
}

/// A file in the same directory.
#[derive(Debug)]
struct Other {
    path: PathBuf,
    metadata: Metadata,
    /// Whether it is called as the log is after its rotation.
    is_rotated: bool,
}

/// Of the rotated files that were written to after that moment the first.
fn oldest_after(moment: i128, others: &[Other]) -> Option<&Other> {
    let after = others.iter().filter(|other| other.is_rotated && modified(&other.metadata) > moment);
    after.min_by_key(|other| modified(&other.metadata))
}

/// `mail.log` -> `mail.log.1`, `mail.log-20261126`, `mail-20261126.log`; not what is compressed, and no other file.
fn is_rotated(path: &Path, name: &OsStr) -> bool {
    let (Some(own), Some(name)) = (path.file_name().and_then(OsStr::to_str), name.to_str()) else { return false };
    let is_number = |rest: &str| {
        rest.strip_prefix(['.', '-']).is_some_and(|number| {
            number.starts_with(|c: char| c.is_ascii_digit())
                && number.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '_'))
        })
    };
    let behind = name.strip_prefix(own).is_some_and(is_number);
    // logrotate's `extension`
    let within = || {
        let (stem, extension) = own.rsplit_once('.')?;
        name.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.').map(is_number)
    };
    behind || within().unwrap_or(false)
}

#[cfg(test)]
mod tests;
