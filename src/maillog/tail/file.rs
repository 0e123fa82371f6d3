//! A log file, followed through rotation: by renaming (the old file is read to its end first) and by copying and
//! truncating (the rest is read from the copy), packed by gzip or not. What it was is known by its inode and by octets
//! of it.

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
use tokio::{task::spawn_blocking, time::sleep_until};

use super::{BATCH_OCTETS, Lines, LogError, cut::cut, foreign_cursor, packed::Packed};
use crate::{
    clock::{next_tick, ticks},
    files::{Quiet, directory_of},
};

/// How often to look for new lines.
const POLL: Duration = Duration::from_secs(1);

/// Whoever writes may hold on to a file that was renamed for so long after the last line.
const LINGER: Duration = Duration::from_secs(3);

/// No rotation leaves the name without a file for so long.
const GONE: Duration = Duration::from_secs(60);

/// So many octets at the start, and before the place, tell one log from another.
pub(super) const COMPARED: usize = 1024;

/// A file that is followed.
#[derive(Debug)]
pub struct FileTail {
    /// Away while it reads; whoever drops that loses it.
    session: Option<Session>,
    /// Whether it was read to its end.
    quiet: Quiet,
}

impl FileTail {
    pub(super) fn open(path: &Path, cursor: Option<&str>) -> Result<Self, LogError> {
        let place = cursor.map(|cursor| cursor.parse().map_err(|()| foreign_cursor())).transpose()?;
        let session = Session { path: path.to_owned(), opened: None, place, rotated: None, gone: None, lost: None };
        // A file that was there before is only being rotated.
        if session.place.is_none() {
            open(path).map_err(|error| refusal(path, &error))?;
        }
        Ok(Self { session: Some(session), quiet: Quiet::default() })
    }

    pub(super) async fn next(&mut self) -> Result<Lines, LogError> {
        loop {
            let interrupted = || LogError::Lost("reading was interrupted".to_owned());
            let mut session = self.session.take().ok_or_else(interrupted)?;
            let began = tokio::time::Instant::now();
            if self.quiet.look([session.path.as_path()], began) {
                self.session = Some(session);
            } else {
                let (session, polled, gone) = spawn_blocking(move || {
                    let now = Instant::now();
                    let polled = session.poll(now);
                    let gone = session.is_gone(now);
                    (session, polled, gone)
                })
                .await
                .map_err(|_| interrupted())?;
                let polled = polled.map_err(|error| refusal(&session.path, &error))?;
                self.quiet.note_asked(polled.is_none() && session.is_at_rest(), began);
                let path = self.session.insert(session).path.display();
                if let Some(lines) = polled {
                    return Ok(lines);
                }
                if gone {
                    return Err(LogError::Gone(format!("{path} was there and is gone; it is waited for")));
                }
            }
            sleep_until(next_tick(ticks(), POLL)).await;
        }
    }
}

/// How far the file was read that a cursor stands for.
pub(super) fn offset(cursor: &str) -> Option<u64> {
    cursor.parse().ok().map(|place: Place| place.offset)
}

/// The last whole lines of a file.
pub(super) fn last_lines(path: &Path, most: usize) -> Result<Lines, LogError> {
    let read = || {
        let mut content = open(path)?;
        let length = content.metadata()?.len();
        let from = length.saturating_sub(BATCH_OCTETS as u64);
        let octets = content.octets(from, BATCH_OCTETS)?;
        let end = memchr::memrchr(b'\n', &octets).map_or(0, |end| end + 1);
        // The newest first: behind the line end in front of them all, or at the start of the file.
        let start = memchr::memrchr_iter(b'\n', &octets[..end]).nth(most).map(|end| end + 1);
        let start =
            start.or_else(|| if from > 0 { memchr::memchr(b'\n', &octets).map(|end| end + 1) } else { Some(0) });
        Ok(Lines { octets: octets[start.unwrap_or(end)..end].to_vec(), cursor: String::new(), lost: None })
    };
    read().map_err(|error| refusal(path, &error))
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

    /// Whether these octets of a log are the same.
    fn is_at(&self, content: &mut Content, offset: u64) -> io::Result<bool> {
        Ok(self.length == 0 || Self::of(&content.octets(offset, self.length)?) == *self)
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

    /// Whether what was read stands there, too.
    fn is_in(&self, content: &mut Content) -> io::Result<bool> {
        let before = self.offset - self.before.length as u64;
        Ok(self.first.is_at(content, 0)? && self.before.is_at(content, before)?)
    }

    /// Further on in the same file.
    fn advance(&mut self, content: &mut Content, octets: u64) -> io::Result<()> {
        self.offset += octets;
        let length = usize::try_from(self.offset).unwrap_or(COMPARED).min(COMPARED);
        if self.first.length < length {
            self.first = Print::of(&content.octets(0, length)?);
        }
        self.before = Print::of(&content.octets(self.offset - length as u64, length)?);
        self.modified = modified(&content.metadata()?);
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

/// What stands in a file.
#[derive(Debug)]
enum Content {
    Plain(File),
    Packed(Box<Packed>),
}

impl Content {
    fn metadata(&self) -> io::Result<Metadata> {
        match self {
            Self::Plain(file) => file.metadata(),
            Self::Packed(packed) => packed.file().metadata(),
        }
    }

    /// What stands at `from`, as far as there is so much.
    fn octets(&mut self, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Packed(packed) => return Ok(packed.octets(from, most)),
        };
        let length = file.metadata()?.len().saturating_sub(from);
        let mut octets = vec![0; usize::try_from(length).unwrap_or(most).min(most)];
        let mut read = 0;
        while read < octets.len() {
            match file.read_at(&mut octets[read..], from + read as u64) {
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

/// A file and how far it was read.
#[derive(Debug)]
struct Opened {
    content: Content,
    place: Place,
}

impl Opened {
    fn at_start_of(content: Content) -> io::Result<Self> {
        let place = Place::at_start_of(&content.metadata()?);
        Ok(Self { content, place })
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
            self.place.advance(&mut self.content, (cut.skipped + cut.lines) as u64)?;
            if cut.lines > 0 {
                octets.truncate(cut.skipped + cut.lines);
                octets.drain(..cut.skipped);
                return Ok(Some(octets));
            }
        }
    }

    /// What stands behind the place, as far as it fits in a batch.
    fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.content.octets(self.place.offset, BATCH_OCTETS)
    }

    /// What can't be read of it, once its end was reached.
    fn loss(&self) -> Option<String> {
        let Content::Packed(packed) = &self.content else { return None };
        let why = packed.broken()?;
        Some(format!(
            "a packed log can't be unpacked behind octet {}: {why}; what it had there is lost",
            self.place.offset
        ))
    }
}

fn refusal(path: &Path, error: &io::Error) -> LogError {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that runs bounced needs a group that may read it (adm on Debian)"
        }
        _ => "",
    };
    let text = format!("{} can't be read: {error}{advice}", path.display());
    // What is no file stays none. Rights may be given.
    if error.kind() == io::ErrorKind::InvalidInput { LogError::Refused(text) } else { LogError::Lost(text) }
}

fn open(path: &Path) -> io::Result<Content> {
    // Opening a pipe would wait for somebody to write.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file (stdin = true reads a pipe)"));
    }
    File::open(path).map(Content::Plain)
}

/// Nothing where there is nothing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Debug, Clone, Copy)]
struct Gone {
    since: Instant,
    is_told: bool,
}

#[derive(Debug)]
struct Session {
    path: PathBuf,
    opened: Option<Opened>,
    /// Where reading was to go on, as long as no file is open.
    place: Option<Place>,
    /// Since when another file is there under the name.
    rotated: Option<Instant>,
    /// Since when no file is there under the name.
    gone: Option<Gone>,
    /// What is to be told with the next lines.
    lost: Option<String>,
}

impl Session {
    /// Whether nothing is to be done as long as nobody writes into the file of this name.
    fn is_at_rest(&self) -> bool {
        // A file that was renamed may be written to for a while.
        let is_current = |opened: &Opened| fs::metadata(&self.path).is_ok_and(|found| opened.place.is_of(&found));
        self.opened.as_ref().is_some_and(is_current)
            && self.rotated.is_none()
            && self.gone.is_none()
            && self.lost.is_none()
    }

    /// Whether it is time to tell that no file is there, which is done once.
    fn is_gone(&mut self, now: Instant) -> bool {
        if self.path.exists() {
            // That it is back is told by the next lines.
            self.gone.take_if(|gone| !gone.is_told);
            return false;
        }
        let gone = self.gone.get_or_insert(Gone { since: now, is_told: false });
        let is_time = !gone.is_told && now.duration_since(gone.since) >= GONE;
        gone.is_told |= is_time;
        is_time
    }

    /// The next lines, if there are any by now; none where a file is there that was told to be gone.
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
            if !opened.place.is_in(&mut opened.content)? {
                self.place = Some(opened.place);
                continue;
            }
            let mut octets = opened.read()?.unwrap_or_default();
            let mut is_next = false;
            if octets.is_empty()
                && let Some(next) = self.next_file(&opened, now)?
            {
                let loss = opened.loss();
                // Nobody will end a line that was left half.
                if !opened.place.in_line && loss.is_none() {
                    octets = opened.rest()?;
                }
                let losses: Vec<_> = self.lost.take().into_iter().chain(loss).collect();
                self.lost = (!losses.is_empty()).then(|| losses.join("; "));
                (opened, is_next) = (next, true);
            }
            let cursor = opened.place.to_string();
            self.opened = Some(opened);
            let is_back = self.gone.take_if(|gone| gone.is_told && self.path.exists()).is_some();
            if !octets.is_empty() || self.lost.is_some() || is_back {
                return Ok(Some(Lines { octets, cursor, lost: self.lost.take() }));
            }
            if !is_next {
                return Ok(None);
            }
        }
    }

    /// The file in which reading goes on; `None` as long as there is none.
    fn resume(&mut self) -> io::Result<Option<Opened>> {
        let current = if_there(open(&self.path))?;
        let Some(place) = &self.place else { return current.map(Opened::at_start_of).transpose() };
        let others = self.others()?;
        // By its inode, whatever it is called by now; else by what stands in it: a file system that is mounted anew may have
        // another number, and a copy is another file.
        let is_begun = place.offset > 0;
        let is_same = |content: &Content| content.metadata().is_ok_and(|metadata| place.is_of(&metadata));
        let (same, like) =
            current.map_or(
                (None, None),
                |current| if is_same(&current) { (Some(current), None) } else { (None, Some(current)) },
            );
        let renamed = others.iter().filter(|other| place.is_of(&other.metadata));
        let copies = others.iter().filter(|other| other.rotation.is_some() && is_begun);
        let candidates = same
            .into_iter()
            .chain(renamed.filter_map(|other| other.open().ok()))
            .chain(like.filter(|_| is_begun))
            .chain(copies.filter_map(|other| other.open().ok()));
        for mut content in candidates {
            if place.is_in(&mut content)? {
                let metadata = content.metadata()?;
                let place = Place { device: metadata.dev(), inode: metadata.ino(), ..place.clone() };
                self.place = None;
                return Ok(Some(Opened { content, place }));
            }
        }
        let next = match Self::begun_after((place.modified, i128::MAX), place, &others)? {
            Some((next, _)) => Some(next),
            None => if_there(open(&self.path))?.map(Opened::at_start_of).transpose()?,
        };
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
        let here = others.iter().find(|other| opened.place.is_of(&other.metadata)).map(Other::order);
        let here = here.map_or_else(|| Ok((modified(&opened.content.metadata()?), i128::MAX)), Ok::<_, io::Error>)?;
        let (next, expected) = match Self::begun_after(here, &opened.place, &others)? {
            Some((next, expected)) => (Some(next), expected.clone()),
            None => {
                let Some(current) = current.filter(|current| current.len() > 0) else { return Ok(None) };
                if now.duration_since(*self.rotated.get_or_insert(now)) < LINGER {
                    return Ok(None);
                }
                (if_there(open(&self.path))?.map(Opened::at_start_of).transpose()?, current)
            }
        };
        // It may have been renamed just now; then it is found the next time.
        let next = next.filter(|next| next.place.is_of(&expected));
        if next.is_some() {
            self.rotated = None;
        }
        Ok(next)
    }

    /// Of the rotated files behind one in their order the first, but for those that begin as it does: they are it.
    fn begun_after<'o>(
        here: (i128, i128),
        place: &Place,
        others: &'o [Other],
    ) -> io::Result<Option<(Opened, &'o Metadata)>> {
        let is_being_packed =
            |other: &Other| other.is_packed() && others.iter().any(|plain| plain.path == other.path.with_extension(""));
        let mut after: Vec<&Other> =
            others.iter().filter(|other| other.rotation.is_some() && other.order() > here).collect();
        after.sort_by_key(|other| other.order());
        for other in after.into_iter().filter(|other| !is_being_packed(other)) {
            let Some(mut content) = if_there(other.open())? else { continue };
            if place.first.length == 0 || !place.first.is_at(&mut content, 0)? {
                return Opened::at_start_of(content).map(|opened| Some((opened, &other.metadata)));
            }
        }
        Ok(None)
    }

    /// What lies beside the file.
    fn others(&self) -> io::Result<Vec<Other>> {
        let mut others = Vec::new();
        for entry in fs::read_dir(directory_of(&self.path))? {
            let entry = entry?;
            let path = entry.path();
            let Some(metadata) = if_there(fs::metadata(&path)).ok().flatten() else { continue };
            if metadata.is_file() && path.file_name() != self.path.file_name() {
                let rotation = rotation(&self.path, &entry.file_name());
                others.push(Other { path, metadata, rotation });
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
    /// Where it is called as the log is after its rotation.
    rotation: Option<Rotation>,
}

impl Other {
    /// By the time of the last change, and by the names where several have the same.
    fn order(&self) -> (i128, i128) {
        (modified(&self.metadata), self.rotation.as_ref().map_or(i128::MAX, |rotation| rotation.age))
    }

    fn is_packed(&self) -> bool {
        self.rotation.as_ref().is_some_and(|rotation| rotation.is_packed)
    }

    fn open(&self) -> io::Result<Content> {
        let file = File::open(&self.path)?;
        Ok(if self.is_packed() { Content::Packed(Box::new(Packed::new(file))) } else { Content::Plain(file) })
    }
}

/// What the name of a rotated log says.
#[derive(Debug, PartialEq, Eq)]
struct Rotation {
    /// The later one is the larger one.
    age: i128,
    /// By gzip.
    is_packed: bool,
}

/// `mail.log` -> `mail.log.1`, `mail.log-20261126`, `mail-20261126.log`, each with `.gz` or without; no other file, and not
/// what other programs have packed.
fn rotation(path: &Path, name: &OsStr) -> Option<Rotation> {
    let (own, name) = (path.file_name()?.to_str()?, name.to_str()?);
    let (name, is_packed) = name.strip_suffix(".gz").map_or((name, false), |name| (name, true));
    let age = |rest: &str| {
        let number = rest.strip_prefix(['.', '-'])?;
        let is_number = number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '_'));
        let digits: String = number.chars().filter(char::is_ascii_digit).take(30).collect();
        let age: i128 = digits.parse().ok()?;
        // A date grows, and a count starts with the last one.
        is_number.then_some(if digits.len() >= SHORTEST_DATE { age } else { -age })
    };
    let behind = name.strip_prefix(own).and_then(age);
    // logrotate's `extension`
    let within = || {
        let (stem, extension) = own.rsplit_once('.')?;
        name.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.').and_then(age)
    };
    behind.or_else(within).map(|age| Rotation { age, is_packed })
}

/// `261126`
const SHORTEST_DATE: usize = 6;

#[cfg(test)]
mod tests;
