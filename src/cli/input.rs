//! File names, directories, mbox files and `-` -> mails, or lines, one after the other. Memory holds one of them,
//! whatever the length of its file; what is longer than anybody reads of one mail is passed over, and what goes on for
//! ever is refused.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use crate::parse::MOST_OCTETS;

/// One mail and the name by which to speak of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// The path as given plus what was found below; `PATH#2` is the second mail of an mbox; `-` standard input.
    pub name: String,
    /// The bytes, at most [`MOST_OCTETS`] of them.
    pub bytes: Vec<u8>,
    /// How many octets it has in all.
    pub size: u64,
    /// SHA-256 of what is longer than that; `None` where nothing is.
    pub rest: Option<[u8; 32]>,
    /// So many lines of its body look as if another mail of the mbox began there, and were taken for text.
    pub doubtful: u64,
}

/// What lies at and below the given paths, in order of the names.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What may be mail. A path that can't be read stays in the list: reading it gives the error.
    pub files: Vec<PathBuf>,
    /// What is none, and why.
    pub skipped: Vec<(PathBuf, &'static str)>,
    /// Directories that were named and hold no mail.
    pub empty: Vec<PathBuf>,
}

/// Looks through all levels of the directories among the paths.
pub(super) fn files(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        let before = found.files.len();
        walk(path, &mut found);
        if found.files.len() == before {
            found.empty.push(path.clone());
        }
    }
    found
}

fn walk(path: &Path, found: &mut Found) {
    // A link below a directory could lead round in a circle; one that was named is followed.
    if !path.is_dir() {
        found.files.push(path.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(path) else {
        found.files.push(path.to_owned());
        return;
    };
    let mut below: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    below.sort();
    for entry in below {
        let why = if entry.is_symlink() && entry.is_dir() {
            "a link to a directory"
        } else if is_endless(&entry) {
            "neither a file nor a directory"
        } else if !entry.is_dir() && is_index(&entry) {
            "what a mail server notes about a mailbox"
        } else {
            walk(&entry, found);
            continue;
        };
        found.skipped.push((entry, why));
    }
}

/// A FIFO, a socket or a device below a directory is no mail, and reading it may never end. One that was named is
/// read: `bounced classify <(command)` names a FIFO.
fn is_endless(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// What Dovecot, Courier and others keep beside the mails of a Maildir or an mbox. In `new` and `cur` every file is
/// mail.
fn is_index(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path.parent().and_then(Path::file_name).unwrap_or_default();
    let starts = ["dovecot-", "dovecot.", "courierimap", "courierpop3", ".imap.index", "cyrus."];
    let names = ["dovecot", "subscriptions", "maildirfolder", "maildirsize", "maildirshared", ".subscriptions"];
    let ends = [".cache", ".lock"];
    directory != "new"
        && directory != "cur"
        && (names.contains(&&*name)
            || starts.iter().any(|start| name.starts_with(start))
            || ends.iter().any(|end| name.ends_with(end)))
}

/// The mails of one file, or of standard input; or, of `PATH#2`, the second alone. An error is the last that comes.
pub(super) fn mails(path: &Path) -> Box<dyn Iterator<Item = io::Result<Input>> + Send> {
    let bar = ProgressBar::hidden();
    let Some((mbox, number)) = numbered(path) else { return Box::new(watched_mails(path, &bar)) };
    let mut given = 0;
    for mail in watched_mails(&mbox, &bar) {
        given += 1;
        if given == number || mail.is_err() {
            return Box::new(std::iter::once(mail));
        }
    }
    let problem = format!("it has no mail {number}, the last is {given}");
    Box::new(std::iter::once(Err(io::Error::new(io::ErrorKind::NotFound, problem))))
}

/// `box#2`, unless there is a file of that name -> `box`, 2
fn numbered(path: &Path) -> Option<(PathBuf, usize)> {
    let (mbox, number) = path.to_str()?.rsplit_once('#')?;
    let number = number.parse().ok().filter(|number| *number > 0)?;
    (path.symlink_metadata().is_err() && Path::new(mbox).exists()).then(|| (mbox.into(), number))
}

/// One mail, whatever it begins with.
pub(super) fn one(source: impl BufRead) -> io::Result<Input> {
    let lines = Lines { source: Ahead::of(source), begins_line: true };
    Mails { name: "-".to_owned(), lines, is_mbox: false, given: 0, next: None }.read(Vec::new())
}

/// The mails of one file, or of standard input, and a bar shows how far it is read. An error is the last that comes.
pub(super) fn watched_mails(path: &Path, bar: &ProgressBar) -> impl Iterator<Item = io::Result<Input>> + Send + use<> {
    let (mails, error) = match open(path, bar) {
        Ok(mails) => (Some(mails), None),
        Err(error) => (None, Some(Err(error))),
    };
    mails.into_iter().flatten().chain(error)
}

fn open(path: &Path, bar: &ProgressBar) -> io::Result<Mails<Box<dyn BufRead + Send>>> {
    Mails::of(path.display().to_string(), watched(path, bar)?, may_be_mbox(path))
}

/// How long a file is; 0 of what is none, as nobody knows how long standard input is.
pub(super) fn octets(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| if file.is_file() { file.len() } else { 0 })
}

/// What a file holds, or standard input, unpacked where it is packed.
pub(super) fn text(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    watched(path, &ProgressBar::hidden())
}

/// The same, and a bar shows how far a file is read.
pub(super) fn watched(path: &Path, progress: &ProgressBar) -> io::Result<Box<dyn BufRead + Send>> {
    if path == Path::new("-") {
        return unpacked(BufReader::new(io::stdin()));
    }
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    unpacked(BufReader::new(progress.wrap_read(file)))
}

/// What else packs files, by the octets with which its files begin.
const OTHER_PACKERS: &[(&str, &[u8])] =
    &[("bzip2", b"BZh"), ("xz", b"\xfd7zXZ\0"), ("zstd", b"\x28\xb5\x2f\xfd"), ("zip", b"PK\x03\x04")];

/// What gzip packed (RFC 1952 §2.3.1: it begins with these octets, and no mail does) comes out piece by piece, so that
/// memory holds no more of it than of any other mail. What others packed is refused: unread, it would pass for a mail.
fn unpacked(mut source: impl BufRead + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let start = source.fill_buf()?;
    let is_packed = start.starts_with(&[0x1f, 0x8b, 8]);
    if let Some((packer, _)) = OTHER_PACKERS.iter().find(|(_, octets)| start.starts_with(octets)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("packed by {packer}: unpack it first")));
    }
    Ok(if is_packed { Box::new(BufReader::new(MultiGzDecoder::new(source))) } else { Box::new(source) })
}

/// A file that is named as a single mail, or lies where a Maildir keeps its mails, is one, whatever it quotes; `-` and all
/// others (`Inbox`, `anna.meier`, `bounces.2016`) may be either.
fn may_be_mbox(path: &Path) -> bool {
    let is_packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    let inner = path.with_extension("");
    let is_of_maildir = path.parent().is_some_and(|directory| directory.ends_with("new") || directory.ends_with("cur"));
    let named = if is_packed { &inner } else { path };
    !(is_of_maildir || named.extension().is_some_and(|e| e.eq_ignore_ascii_case("eml")))
}

/// A source of which some was read ahead.
struct Ahead<S> {
    read: Cursor<Vec<u8>>,
    source: S,
}

impl<S: BufRead> Ahead<S> {
    fn of(source: S) -> Self {
        Self { read: Cursor::default(), source }
    }

    /// What comes next, as far as there is so much; it is read again.
    fn peek(&mut self, most: usize) -> io::Result<&[u8]> {
        let begun = usize::try_from(self.read.position()).unwrap_or(usize::MAX);
        let mut read = std::mem::take(&mut self.read).into_inner();
        read.drain(..begun.min(read.len()));
        let missing = most.saturating_sub(read.len()) as u64;
        let more = (&mut self.source).take(missing).read_to_end(&mut read);
        self.read = Cursor::new(read);
        more?;
        let read = self.read.get_ref();
        Ok(&read[..read.len().min(most)])
    }
}

impl<S: BufRead> Read for Ahead<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let octets = self.read.read(into)?;
        if octets > 0 { Ok(octets) } else { self.source.read(into) }
    }
}

impl<S: BufRead> BufRead for Ahead<S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read.fill_buf()?.is_empty() { self.source.fill_buf() } else { self.read.fill_buf() }
    }

    fn consume(&mut self, octets: usize) {
        // Whoever has seen what was read ahead takes of that.
        if self.read.fill_buf().is_ok_and(<[u8]>::is_empty) {
            self.source.consume(octets)
        } else {
            self.read.consume(octets)
        }
    }
}

/// The value of the field that says how long the body is, as mail servers that quote no separators write it (mboxcl).
fn content_length(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at_checked(b"Content-Length:".len())?;
    if !name.eq_ignore_ascii_case(b"Content-Length:") {
        return None;
    }
    str::from_utf8(value).ok()?.trim().parse().ok().filter(|octets| *octets <= MOST_OCTETS)
}

/// The mails of one source; an mbox (RFC 4155) is taken apart at its separators, but for those within a body whose length
/// leads exactly to the next, or to the end.
struct Mails<S> {
    name: String,
    lines: Lines<Ahead<S>>,
    is_mbox: bool,
    /// So many mails were given.
    given: usize,
    /// The line that begins the next mail; `None` behind the last.
    next: Option<Vec<u8>>,
}

impl<S: BufRead> Mails<S> {
    fn of(name: String, source: S, may_be_mbox: bool) -> io::Result<Self> {
        let mut lines = Lines { source: Ahead::of(source), begins_line: true };
        let (mut blank, mut line) = (Vec::new(), Vec::new());
        // An mbox whose first mail was cut out by hand begins with what stood between the two.
        while lines.read(&mut line)? && is_blank(&line) && blank.len() < MOST_BLANK {
            blank.append(&mut line);
        }
        let is_mbox = may_be_mbox && line.starts_with(b"From ");
        let first = if is_mbox { line } else { [blank, line].concat() };
        Ok(Self { name, lines, is_mbox, given: 0, next: Some(first) })
    }

    fn read(&mut self, mut mail: Vec<u8>) -> io::Result<Input> {
        let most = MOST_OCTETS;
        let mut line = Vec::new();
        let mut blank_before = false;
        let mut length = mail.len() as u64;
        let mut rest: Option<Sha256> = None;
        // The length that the header gives its body, and how much of a body whose length is right is to come.
        let (mut is_header, mut said, mut whole) = (self.is_mbox, None, 0_usize);
        let mut doubtful = 0;
        loop {
            line.clear();
            let begins = self.lines.begins_line;
            if !self.lines.read(&mut line)? {
                break;
            }
            if self.is_mbox && begins && whole == 0 && !is_header && is_separator(&line) {
                if blank_before && self.lines.begin_header()? {
                    self.next = Some(line);
                    break;
                }
                doubtful += 1;
            }
            length += line.len() as u64;
            if length > LONGEST {
                return Err(endless("mail"));
            }
            whole = whole.saturating_sub(line.len());
            if is_header && begins {
                said = said.or_else(|| content_length(&line));
                is_header = !is_blank(&line);
                if let Some(octets) = said.filter(|_| !is_header) {
                    whole = if self.lines.ends_body(octets)? { octets } else { 0 };
                }
            }
            blank_before = begins && is_blank(&line);
            let (kept, cut) = line.split_at(line.len().min(most.saturating_sub(mail.len())));
            mail.extend_from_slice(kept);
            if !cut.is_empty() {
                rest.get_or_insert_default().update(cut);
            }
        }
        self.given += 1;
        // An mbox of one mail is spoken of by its file's name.
        let alone = self.given == 1 && self.next.is_none();
        let name = if alone { self.name.clone() } else { format!("{}#{}", self.name, self.given) };
        let rest = rest.map(|rest| rest.finalize().into());
        Ok(Input { name, bytes: mail, size: length, rest, doubtful })
    }
}

impl<S: BufRead> Iterator for Mails<S> {
    type Item = io::Result<Input>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.next.take()?;
        Some(self.read(first))
    }
}

/// Whether a file that begins so holds mail: a header line, or what separates the mails of an mbox, stands before the first
/// blank line (RFC 5322 §2.1). Databases and pictures have a NUL before they have anything of that form. A notification that
/// was saved as SNS delivers it (`{ "Type" : …`) is mail without a header.
pub(super) fn begins_as_mail(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"{") && memchr::memmem::find(bytes, b"Type\"").is_some() {
        return true;
    }
    let is_empty = |line: &&[u8]| matches!(*line, b"" | b"\r");
    let lines = bytes.split(|b| *b == b'\n').skip_while(is_empty);
    lines
        .take_while(|line| !is_empty(line) && !line.contains(&0))
        .any(|line| line.starts_with(b"From ") || is_field(line))
}

/// `Subject: …`, also with a blank before the colon, as old programs wrote it.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|b| *b == b':') else { return false };
    let name = line[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// So many octets of blank lines may stand before the first mail of an mbox.
const MOST_BLANK: usize = 64 * 1024;

/// Whatever is longer, in octets, is no mail and no reply, and may never end: `/dev/zero` does not.
const LONGEST: u64 = 256 << 20;

fn endless(what: &str) -> io::Error {
    let limit = LONGEST >> 20;
    io::Error::new(io::ErrorKind::FileTooLarge, format!("a {what} of more than {limit} MiB; nothing behind it is read"))
}

/// A line of a text, as far as anybody reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Without its end.
    pub bytes: Vec<u8>,
    /// Whether it goes on behind that.
    pub is_cut: bool,
}

/// The lines of a text; an error is the last that comes.
pub(super) fn lines(source: impl BufRead) -> impl Iterator<Item = io::Result<Line>> {
    let mut lines = Some(Lines { source, begins_line: true });
    std::iter::from_fn(move || {
        let read = lines.as_mut()?.whole().transpose();
        if !matches!(read, Some(Ok(_))) {
            lines = None;
        }
        read
    })
}

/// Lines in pieces of bounded length.
struct Lines<S> {
    source: S,
    /// Whether the next piece begins a line.
    begins_line: bool,
}

impl<S: BufRead> Lines<Ahead<S>> {
    /// Whether a body that begins here and is so long ends where the next mail of an mbox begins, or where all ends.
    fn ends_body(&mut self, octets: usize) -> io::Result<bool> {
        let seen = self.source.peek(octets + LONGEST_SEPARATOR)?;
        let Some((body, mut behind)) = seen.split_at_checked(octets) else { return Ok(false) };
        let mut is_parted = body.is_empty() || body.ends_with(b"\n\n") || body.ends_with(b"\n\r\n");
        for blank in [b"\n".as_slice(), b"\r\n"] {
            while let Some(rest) = behind.strip_prefix(blank) {
                (behind, is_parted) = (rest, true);
            }
        }
        let line = behind.split_inclusive(|octet| *octet == b'\n').next().unwrap_or_default();
        Ok(line.is_empty() || is_parted && is_separator(line))
    }

    /// Whether a header field comes next (RFC 5322 §2.2), or an earlier separator that was quoted, as before a header.
    fn begin_header(&mut self) -> io::Result<bool> {
        let seen = self.source.peek(LONGEST_HEADER_LINE)?;
        let line = seen.split(|octet| *octet == b'\n').next().unwrap_or_default();
        Ok(is_field(line) || line.starts_with(b">From "))
    }
}

impl<S: BufRead> Lines<S> {
    /// Adds the next line, or so much of it as fits in a piece; false at the end.
    fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        let octets = (&mut self.source).take(LONGEST_PIECE).read_until(b'\n', line)?;
        self.begins_line = line.ends_with(b"\n");
        Ok(octets > 0)
    }

    /// The next line, cut where it is longer than a piece; `None` at the end.
    fn whole(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        if !self.read(&mut bytes)? {
            return Ok(None);
        }
        let mut is_cut = false;
        let mut length = 0;
        let mut rest = Vec::new();
        while !self.begins_line && self.read(&mut rest)? {
            is_cut |= !matches!(rest.as_slice(), b"\n" | b"\r\n");
            length += rest.len() as u64;
            if length > LONGEST {
                return Err(endless("line"));
            }
            rest.clear();
        }
        let end = bytes.strip_suffix(b"\n").map_or(bytes.len(), |line| line.strip_suffix(b"\r").unwrap_or(line).len());
        bytes.truncate(end);
        Ok(Some(Line { bytes, is_cut }))
    }
}

/// In octets; no separator and no SMTP reply is nearly as long.
const LONGEST_PIECE: u64 = 64 * 1024;

/// In octets; a line of a header is no longer (RFC 5322 §2.1.1).
const LONGEST_HEADER_LINE: usize = 998;

/// In octets, with blank lines before it.
const LONGEST_SEPARATOR: usize = 4_096;

/// `From SENDER Mon Nov 23 10:00:00 2026`: a separator carries a time of day; a sentence that begins with "From"
/// hardly ever does. In an mbox whose writer quoted nothing a stranger's sentence may, too: a header must follow.
fn is_separator(line: &[u8]) -> bool {
    let is_digit = |b: &u8| b.is_ascii_digit() || *b == b' ';
    let is_time = |w: &[u8]| w[2] == b':' && [w[0], w[1], w[3], w[4]].iter().all(is_digit);
    line.starts_with(b"From ") && line.windows(5).any(is_time)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix, process::Command};

    use flate2::{Compression, write::GzEncoder};
    use tempfile::TempDir;

    use super::*;

    const FIRST: &str =
        "From a@x Mon Nov 23 10:00:00 2026\nSubject: 1\n\nFrom here on\n\n>From b@x Mon Nov 23 10:00:01 2026\n\n";
    const SECOND: &str = "From b@x Mon Nov 23 10:00:02 2026\nSubject: 2\n\nlast";

    fn taken_apart(mbox: &[u8], may_be_mbox: bool) -> Vec<(String, String)> {
        let mails = Mails::of("box".into(), mbox, may_be_mbox).unwrap();
        mails.map(Result::unwrap).map(|mail| (mail.name, String::from_utf8(mail.bytes).unwrap())).collect()
    }

    fn pair(name: &str, mail: &str) -> (String, String) {
        (name.into(), mail.into())
    }

    #[test]
    fn an_mbox_is_taken_apart_at_its_separators_whatever_its_line_ends() {
        let both = format!("{FIRST}{SECOND}");
        assert_eq!(taken_apart(both.as_bytes(), true), [pair("box#1", FIRST), pair("box#2", SECOND)]);
        let (first, second) = (FIRST.replace('\n', "\r\n"), SECOND.replace('\n', "\r\n"));
        let both = format!("{first}{second}");
        assert_eq!(taken_apart(both.as_bytes(), true), [pair("box#1", &first), pair("box#2", &second)]);
    }

    #[test]
    fn a_separator_needs_a_blank_line_before_it_a_time_of_day_and_a_header_behind_it() {
        let forged = SECOND.lines().next().unwrap();
        for (mbox, doubtful) in [
            (FIRST.trim_end().to_owned() + "\n" + SECOND, 1),
            (format!("{FIRST}From now on, all is well\n"), 0),
            (format!("{FIRST}{forged}\n\nSubject: 2\n\n{forged}\nHe wrote: no\n{forged}"), 3),
            (format!("{FIRST}{forged}"), 1),
            (format!("{FIRST}{forged}\n: 2\n"), 1),
        ] {
            assert_eq!(taken_apart(mbox.as_bytes(), true), [pair("box", &mbox)]);
            assert_eq!(
                Mails::of("box".into(), mbox.as_bytes(), true).unwrap().next().unwrap().unwrap().doubtful,
                doubtful
            );
        }
        for begins in ["Subject: 2", "Subject\t: 2", ">From c@x Mon Nov 23 10:00:00 2026\nSubject: 2", "X-2:"] {
            let second = format!("{forged}\n{begins}\n\nlast");
            let both = format!("{FIRST}{second}");
            assert_eq!(taken_apart(both.as_bytes(), true), [pair("box#1", FIRST), pair("box#2", &second)]);
        }
    }

    #[test]
    fn a_body_of_the_length_that_its_header_says_is_whole_whatever_stands_in_it() {
        let body = "No such user\n\nFrom b@x Mon Nov 23 10:00:01 2026\nReceived: by forged\n\nlaid ready\n";
        let mail = |octets: usize| format!("From a@x Mon Nov 23 10:00:00 2026\ncontent-length: {octets}\n\n{body}");
        let right = mail(body.len());
        assert_eq!(taken_apart(right.as_bytes(), true), [pair("box", &right)], "to the end");
        let first = format!("{right}\n");
        assert_eq!(
            taken_apart(format!("{first}{SECOND}").as_bytes(), true),
            [pair("box#1", &first), pair("box#2", SECOND)]
        );
        // Whoever writes another length hides no mail, and lets none be taken for two.
        for octets in [0, 1, body.len() - 2, body.len() + 2, usize::MAX] {
            let mails = taken_apart(format!("{}\n{SECOND}", mail(octets)).as_bytes(), true);
            assert_eq!((mails.len(), mails.last()), (3, Some(&pair("box#3", SECOND))), "{octets}");
        }
        let lower = format!("From a@x Mon Nov 23 10:00:00 2026\n\nContent-Length: {}\n\n{body}\n{SECOND}", body.len());
        assert_eq!(taken_apart(lower.as_bytes(), true).len(), 3, "what stands in a body is no field");
    }

    #[test]
    fn what_does_not_begin_with_a_separator_or_is_named_as_a_mail_is_one_mail() {
        let quotes = format!("Subject: 0\n\n{FIRST}{SECOND}");
        assert_eq!(taken_apart(quotes.as_bytes(), true), [pair("box", &quotes)]);
        let both = format!("{FIRST}{SECOND}");
        assert_eq!(taken_apart(both.as_bytes(), false), [pair("box", &both)]);
        for (path, may_be) in [
            ("a.eml", false),
            ("a.mbox", true),
            ("A.MBX", true),
            ("Inbox", true),
            ("-", true),
            ("anna.meier", true),
            ("bounces.2016", true),
            ("a.eml.gz", false),
            ("a.mbox.2.gz", true),
            ("Maildir/new/1700000000.M1.host", false),
            ("Maildir/cur/1700000000.M1.host:2,S", false),
        ] {
            assert_eq!(may_be_mbox(Path::new(path)), may_be, "{path}");
        }
    }

    #[test]
    fn of_a_huge_mail_only_the_start_is_kept_and_the_next_is_found() {
        let most = MOST_OCTETS;
        let mbox = format!("{FIRST}{}\n\n{SECOND}", "x".repeat(most + 5));
        let mails = taken_apart(mbox.as_bytes(), true);
        assert_eq!((mails.len(), mails[0].1.len()), (2, most));
        assert_eq!(mails[1].1, SECOND);
    }

    #[test]
    fn an_mbox_may_begin_with_blank_lines_and_a_mail_keeps_its_own() {
        for blank in ["\n", "\r\n\n\n"] {
            let both = format!("{blank}{FIRST}{SECOND}");
            assert_eq!(taken_apart(both.as_bytes(), true), [pair("box#1", FIRST), pair("box#2", SECOND)]);
            assert_eq!(taken_apart(both.as_bytes(), false), [pair("box", &both)]);
            let mail = format!("{blank}Subject: 1\n\nFrom a@x Mon Nov 23 10:00:00 2026\n");
            assert_eq!(taken_apart(mail.as_bytes(), true), [pair("box", &mail)]);
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let endless = || BufReader::with_capacity(1 << 16, io::repeat(b'x'));
        let mails: Vec<_> = Mails::of("box".into(), endless(), true).unwrap().collect();
        assert!(matches!(&mails[..], [Err(error)] if error.to_string().starts_with("a mail of more than 256 MiB")));
        let lines: Vec<_> = lines(BufReader::new(b"550 no\n".chain(endless()))).collect();
        assert!(matches!(&lines[..], [Ok(_), Err(error)] if error.to_string().starts_with("a line of more than")));
    }

    #[test]
    fn long_lines_are_cut_and_the_next_is_found() {
        let long = usize::try_from(LONGEST_PIECE).unwrap();
        let text = format!("550 no\r\n\n{}\n{}\r\n{}\nlast", "x".repeat(long), "y".repeat(long), "z".repeat(long + 1));
        let found: Vec<_> = lines(text.as_bytes()).map(|line| line.unwrap()).collect();
        let told: Vec<_> = found.iter().map(|line| (line.bytes.len(), line.is_cut)).collect();
        assert_eq!(told, [(6, false), (0, false), (long, false), (long, false), (long, true), (4, false)]);
    }

    #[test]
    fn the_notes_of_a_mail_server_are_no_mail_but_in_new_and_cur_everything_is() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["new", "cur"] {
            fs::create_dir(path(name)).unwrap();
        }
        let mails = ["cur/dovecot.1", "new/subscriptions"];
        let notes = ["box.cache", "dovecot-uidlist", "dovecot.index.log", "maildirsize", "subscriptions"];
        for name in notes {
            fs::write(path(name), "3 V1 N2").unwrap();
        }
        assert_eq!(files(&[dir.path().to_owned()]).empty, [dir.path()], "nothing but notes");
        for name in mails {
            fs::write(path(name), "").unwrap();
        }
        let found = files(&[dir.path().to_owned()]);
        assert_eq!(found.files, mails.map(path));
        assert_eq!(found.skipped.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), notes.map(path));
        assert!(found.empty.is_empty());
    }

    fn packed(parts: &[&[u8]]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        parts.iter().for_each(|part| encoder.write_all(part).unwrap());
        encoder.finish().unwrap()
    }

    #[test]
    fn a_packed_mail_is_unpacked_as_far_as_anybody_reads_it() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("box.mbox.gz");
        fs::write(&path, packed(&[FIRST.as_bytes(), SECOND.as_bytes()])).unwrap();
        let found: Vec<_> = mails(&path).map(|mail| mail.unwrap().bytes).collect();
        assert_eq!(found, [FIRST.as_bytes(), SECOND.as_bytes()]);
        let blank = vec![b'x'; 1 << 20];
        let bomb = dir.path().join("bomb.eml.gz");
        fs::write(&bomb, packed(&vec![blank.as_slice(); 300])).unwrap();
        let error = mails(&bomb).next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("a mail of more than 256 MiB"), "{error}");
        fs::write(&bomb, &packed(&[FIRST.as_bytes()])[..20]).unwrap();
        assert!(mails(&bomb).last().unwrap().is_err(), "cut short");
    }

    #[test]
    fn what_others_packed_is_refused_by_name() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("box");
        for (packer, start) in [
            ("bzip2", &b"BZh91AY&SY"[..]),
            ("xz", b"\xfd7zXZ\0\0\x04"),
            ("zstd", b"\x28\xb5\x2f\xfd\x04"),
            ("zip", b"PK\x03\x04\x14"),
        ] {
            fs::write(&path, start).unwrap();
            let error = mails(&path).next().unwrap().unwrap_err().to_string();
            assert_eq!(error, format!("packed by {packer}: unpack it first"));
        }
    }

    #[test]
    fn a_mail_begins_with_a_header_line() {
        for mail in
            [FIRST, "\r\n\nReturn-Path: <>\r\n", "\u{feff}From x\nSubject : old\n\n", "Subject:", "{\n \"Type\" : 1}"]
        {
            assert!(begins_as_mail(mail.as_bytes()), "{mail}");
        }
        for other in
            ["", "\n\n", "SQLite format 3\0\nname: x", "some words\n\nSubject: behind", "no name : here", ": x"]
        {
            assert!(!begins_as_mail(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn one_mail_of_an_mbox_is_chosen_by_its_number() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("box"), format!("{FIRST}{SECOND}")).unwrap();
        let chosen = |name: &str| mails(&path(name)).map(|mail| mail.map(|mail| mail.bytes)).collect::<Vec<_>>();
        assert_eq!(chosen("box#2").pop().unwrap().unwrap(), SECOND.as_bytes());
        assert_eq!(chosen("box#2").len(), 1);
        let error = chosen("box#3").pop().unwrap().unwrap_err().to_string();
        assert_eq!(error, "it has no mail 3, the last is 2");
        fs::write(path("box#2"), "Subject: of that name").unwrap();
        assert_eq!(chosen("box#2").pop().unwrap().unwrap(), b"Subject: of that name");
    }

    #[test]
    fn an_empty_file_is_an_empty_mail() {
        assert_eq!(taken_apart(b"", true), [pair("box", "")]);
    }

    #[test]
    fn linked_directories_and_fifos_below_a_directory_are_passed_over() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("below")).unwrap();
        fs::write(path("below/a.eml"), "").unwrap();
        unix::fs::symlink(dir.path(), path("below/circle")).unwrap();
        unix::fs::symlink(path("below/a.eml"), path("link.eml")).unwrap();
        unix::fs::symlink(path("gone"), path("broken.eml")).unwrap();
        let _socket = unix::net::UnixListener::bind(path("socket")).unwrap();
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        let found = files(&[dir.path().to_owned()]);
        let skipped: Vec<_> = found.skipped.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(skipped, [path("below/circle"), path("fifo"), path("socket")], "told, one by one");
        assert_eq!(found.files, [path("below/a.eml"), path("broken.eml"), path("link.eml")]);
        assert_eq!(files(&[path("below/circle/below")]).files, [path("below/circle/below/a.eml")]);
        assert_eq!(files(&[path("fifo")]).files, [path("fifo")]);
    }
}
