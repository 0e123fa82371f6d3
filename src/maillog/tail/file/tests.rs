//! A log that is rotated under whoever reads it.

use std::{io::Write, time::SystemTime};

use flate2::{Compression, write::GzEncoder};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

#[test]
fn who_may_not_read_a_log_is_told_which_group_may() {
    let told = |kind: io::ErrorKind| refusal(Path::new("/var/log/mail.log"), &kind.into()).to_string();
    let denied = told(io::ErrorKind::PermissionDenied);
    assert!(denied.contains("/var/log/mail.log can't be read") && denied.contains("adm on Debian"), "{denied}");
    assert!(!told(io::ErrorKind::NotFound).contains("group"));
}

#[test]
fn rotated_files_are_known_by_their_names_and_the_later_ones_among_them() {
    let path = Path::new("/var/log/mail.log");
    let of = |name: &str| rotation(path, OsStr::new(name));
    let in_order = [
        ["mail.log.10", "mail.log.2", "mail.log.1"],
        ["mail.log-20251231", "mail.log-20261125", "mail.log-20261126"],
        ["mail.log-2026-11-25", "mail.log-2026-11-26", "mail.log-2026-12-01"],
        ["mail-20261125.log", "mail-20261126.log", "mail-20261201.log"],
    ];
    for names in in_order {
        let ages = names.map(|name| of(name).unwrap().age);
        assert!(ages.is_sorted_by(|one, other| one < other), "{names:?} {ages:?}");
        for name in names {
            let packed = Rotation { is_packed: true, ..of(name).unwrap() };
            assert_eq!(of(&format!("{name}.gz")), Some(packed), "{name}");
        }
    }
    for name in [
        "mail.log",
        "mail.log.gz",
        "mail.log.1.xz",
        "mail.log.bak",
        "mail.log.",
        "mail.log1",
        "mail.err",
        "xmail.log.1",
        "mail.log.1~",
    ] {
        assert_eq!(of(name), None, "{name}");
    }
    assert!(rotation(Path::new("mainlog"), OsStr::new("mainlog.1")).is_some());
}

#[test]
fn a_place_survives_being_written_down() {
    let print = |octets: &[u8]| Print::of(octets);
    let place = Place {
        device: 64769,
        inode: 17,
        offset: 4711,
        first: print(b"x"),
        before: print(b"yz"),
        modified: 1_795_800_000_123_456_789,
        in_line: true,
    };
    assert_eq!(place.to_string().parse(), Ok(place.clone()));
    let start = Place { offset: 0, first: Print::default(), before: Print::default(), in_line: false, ..place };
    assert_eq!(start.to_string().parse(), Ok(start));
    for text in
        ["", "file", "file 1 2 3", "s=1;i=2", "file 1 2 3 9999:x 0: 5", "file 1 2 3 0: 9:x 5", "file 1 2 3 0: 0: 5 + 6"]
    {
        assert_eq!(text.parse::<Place>(), Err(()), "{text:?}");
    }
}

/// A log that is written, rotated and read. What a reader has given out counts once its cursor is kept.
struct Bench {
    dir: TempDir,
    session: Session,
    /// What is kept: the lines, and the cursor behind them.
    kept: (Vec<String>, Option<String>),
    now: Instant,
    /// Lines written so far, and the seconds of the last change of any file: file systems may not tell moments apart.
    written: Vec<String>,
    ticks: u64,
    lost: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mail.log"), "").unwrap();
        let session = Self::session(&dir, None);
        Self {
            dir,
            session,
            kept: (Vec::new(), None),
            now: Instant::now(),
            written: Vec::new(),
            ticks: 0,
            lost: Vec::new(),
        }
    }

    fn session(dir: &TempDir, cursor: Option<&str>) -> Session {
        FileTail::open(&dir.path().join("mail.log"), cursor).unwrap().session.unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&mut self, octets: &[u8]) {
        let path = self.file("mail.log");
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(octets).unwrap();
        self.tick(&file);
    }

    fn tick(&mut self, file: &File) {
        self.ticks += 1;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + self.ticks)).unwrap();
    }

    fn write(&mut self, lines: usize) {
        for _ in 0..lines {
            let line = format!("line {} of many", self.written.len());
            self.append(format!("{line}\n").as_bytes());
            self.written.push(line);
        }
    }

    fn shift(&self) {
        for (number, packed) in (1..40).rev().flat_map(|number| [(number, ""), (number, ".gz")]) {
            let from = self.file(&format!("mail.log.{number}{packed}"));
            if from.exists() {
                fs::rename(from, self.file(&format!("mail.log.{}{packed}", number + 1))).unwrap();
            }
        }
    }

    /// As gzip and logrotate do it: the packed file has the time of the other one.
    fn pack(&mut self, name: &str) {
        let plain = self.file(name);
        let Ok(octets) = fs::read(&plain) else { return };
        let packed = File::create(self.file(&format!("{name}.gz"))).unwrap();
        let mut encoder = GzEncoder::new(packed, Compression::fast());
        encoder.write_all(&octets).unwrap();
        let packed = encoder.finish().unwrap();
        packed.set_modified(fs::metadata(&plain).unwrap().modified().unwrap()).unwrap();
        fs::remove_file(plain).unwrap();
    }

    fn rename(&mut self) {
        self.shift();
        if self.file("mail.log").exists() {
            fs::rename(self.file("mail.log"), self.file("mail.log.1")).unwrap();
        }
    }

    fn copy_and_truncate(&mut self) {
        self.shift();
        if self.file("mail.log").exists() {
            fs::copy(self.file("mail.log"), self.file("mail.log.1")).unwrap();
            let copy = File::options().append(true).open(self.file("mail.log.1")).unwrap();
            self.tick(&copy);
            let truncated = File::create(self.file("mail.log")).unwrap();
            self.tick(&truncated);
        }
    }

    /// Reads once; what is read is kept, or the reader is killed before and begins anew.
    fn poll(&mut self, survives: bool) -> bool {
        self.now += POLL;
        let Some(lines) = self.session.poll(self.now).unwrap() else { return false };
        if !survives {
            self.restart();
            return true;
        }
        self.kept.0.extend(lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()));
        self.kept.1 = Some(lines.cursor);
        self.lost.extend(lines.lost);
        true
    }

    fn restart(&mut self) {
        self.session = Self::session(&self.dir, self.kept.1.as_deref());
    }

    /// Reads until nothing comes any more.
    fn drain(&mut self) {
        let mut silent = 0;
        while silent < 5 {
            silent = if self.poll(true) { 0 } else { silent + 1 };
        }
    }

    fn is_read(&mut self) {
        self.drain();
        assert_eq!(self.kept.0, self.written);
        assert_eq!(self.lost, Vec::<String>::new());
    }
}

#[test]
fn a_renamed_file_is_finished_first() {
    let mut bench = Bench::new();
    bench.write(3);
    bench.drain();
    bench.write(2);
    bench.rename();
    // Its writer still has it, and there is a new one already.
    fs::write(bench.file("mail.log"), "new\n").unwrap();
    let mut old = File::options().append(true).open(bench.file("mail.log.1")).unwrap();
    assert!(bench.poll(true) && !bench.poll(true));
    old.write_all(b"late\n").unwrap();
    bench.drain();
    bench.written.extend(["late", "new"].map(str::to_owned));
    bench.is_read();
}

#[test]
fn what_was_written_before_a_truncation_is_read_from_the_copy() {
    for kills in [false, true] {
        let mut bench = Bench::new();
        bench.write(3);
        bench.drain();
        bench.write(2);
        bench.copy_and_truncate();
        // Shorter than before, and longer.
        bench.write(if kills { 2 } else { 20 });
        if kills {
            bench.restart();
        }
        bench.is_read();
    }
}

#[test]
fn whatever_was_rotated_while_nobody_read_is_read_in_its_order() {
    let mut bench = Bench::new();
    bench.write(3);
    bench.drain();
    for _ in 0..3 {
        bench.write(2);
        bench.rename();
    }
    bench.write(1);
    bench.restart();
    bench.is_read();
}

#[test]
fn a_half_line_waits_and_the_last_one_of_a_file_is_read_as_it_is() {
    let mut bench = Bench::new();
    bench.append(b"whole\nhal");
    bench.drain();
    assert_eq!(bench.kept.0, ["whole"]);
    bench.append(b"f\nlast");
    bench.rename();
    bench.append(b"new\n");
    bench.drain();
    assert_eq!(bench.kept.0, ["whole", "half", "last", "new"]);
}

#[test]
fn what_was_packed_by_gzip_meanwhile_is_read() {
    for is_copied in [false, true] {
        let mut bench = Bench::new();
        bench.write(3);
        bench.drain();
        // Half of a file, whole ones, and one that is packed while it is being read.
        for _ in 0..3 {
            bench.write(2);
            if is_copied { bench.copy_and_truncate() } else { bench.rename() }
        }
        bench.pack("mail.log.3");
        bench.pack("mail.log.2");
        bench.write(1);
        bench.restart();
        bench.poll(true);
        bench.restart();
        bench.poll(true);
        bench.pack("mail.log.1");
        bench.is_read();
    }
}

#[test]
fn a_packed_file_that_was_read_before_it_was_packed_is_not_read_again_whatever_its_time() {
    let mut bench = Bench::new();
    bench.write(3);
    bench.drain();
    bench.write(2);
    bench.rename();
    bench.write(1);
    assert!(bench.poll(true));
    // While it is being packed there are both.
    fs::write(bench.file("mail.log.1.gz"), "").unwrap();
    assert!(!bench.poll(true));
    bench.pack("mail.log.1");
    let packed = File::options().append(true).open(bench.file("mail.log.1.gz")).unwrap();
    bench.tick(&packed);
    bench.is_read();
}

#[test]
fn a_large_packed_log_is_read_in_batches_and_gone_on_with_after_a_kill() {
    let mut bench = Bench::new();
    bench.append(b"begun\n");
    bench.drain();
    let lines: Vec<String> = (0..3 * BATCH_OCTETS / 20).map(|n| format!("a line {n:012}")).collect();
    bench.append((lines.join("\n") + "\n").as_bytes());
    bench.rename();
    bench.pack("mail.log.1");
    bench.append(b"new\n");
    for survives in [true, false, true, false, true, false] {
        bench.restart();
        bench.poll(survives);
    }
    bench.drain();
    assert_eq!(bench.kept.0.len(), lines.len() + 2);
    assert_eq!(bench.kept.0[1..=lines.len()], lines);
    assert_eq!((bench.kept.0.last().unwrap().as_str(), bench.lost.len()), ("new", 0));
}

#[test]
fn what_can_t_be_unpacked_is_told_and_reading_goes_on() {
    for is_begun in [false, true] {
        let mut bench = Bench::new();
        bench.write(3);
        bench.drain();
        bench.write(2000);
        bench.rename();
        bench.pack("mail.log.1");
        let packed = bench.file("mail.log.1.gz");
        let octets = fs::read(&packed).unwrap();
        fs::write(&packed, if is_begun { &octets[..octets.len() / 2] } else { b"no gzip" }).unwrap();
        bench.write(1);
        bench.restart();
        bench.drain();
        assert_eq!(bench.kept.0.last().unwrap(), "line 2003 of many");
        let lost = bench.lost.join(" ");
        assert!(lost.contains("can't be unpacked behind octet"), "{lost}");
        assert_eq!(lost.contains("mail.log: the file that was read up to octet 45 is gone"), !is_begun, "{lost}");
        assert_eq!(bench.kept.0.len() > 500, is_begun, "{}", bench.kept.0.len());
        let read = &bench.kept.0[..bench.kept.0.len() - 1];
        assert!(read == &bench.written[..read.len()], "{:?}", read.last());
    }
}

#[test]
fn what_another_program_has_packed_is_told() {
    let mut bench = Bench::new();
    bench.write(3);
    bench.drain();
    bench.write(2);
    bench.rename();
    fs::rename(bench.file("mail.log.1"), bench.file("mail.log.1.xz")).unwrap();
    fs::write(bench.file("mail.log.1.xz"), "packed").unwrap();
    bench.write(1);
    bench.restart();
    bench.drain();
    assert_eq!(bench.kept.0.last().unwrap(), "line 5 of many");
    assert_eq!((bench.kept.0.len(), bench.lost.len()), (4, 1));
    assert!(bench.lost[0].contains("mail.log: the file that was read up to octet 45 is gone"), "{:?}", bench.lost);
}

#[test]
fn rotated_files_of_one_time_are_read_in_the_order_of_their_names() {
    for is_restarted in [false, true] {
        let mut bench = Bench::new();
        bench.write(3);
        bench.drain();
        for _ in 0..12 {
            bench.write(2);
            bench.rename();
        }
        bench.write(1);
        for number in 1..=12 {
            let rotated = File::options().append(true).open(bench.file(&format!("mail.log.{number}"))).unwrap();
            rotated.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_100)).unwrap();
        }
        if is_restarted {
            bench.restart();
        }
        bench.is_read();
    }
}

#[test]
fn a_file_system_with_another_number_changes_nothing() {
    for rotate in [|_: &mut Bench| (), Bench::rename, Bench::copy_and_truncate] {
        let mut bench = Bench::new();
        bench.write(3);
        bench.drain();
        let cursor = bench.kept.1.take().unwrap();
        let place: Place = cursor.parse().unwrap();
        bench.kept.1 = Some(Place { device: place.device + 1, inode: place.inode + 7, ..place }.to_string());
        bench.write(2);
        rotate(&mut bench);
        bench.write(2);
        bench.restart();
        bench.is_read();
    }
}

#[test]
fn that_a_log_is_gone_is_told_once_and_that_it_is_back_as_well() {
    for is_restarted in [false, true] {
        let mut bench = Bench::new();
        bench.write(3);
        bench.drain();
        fs::remove_file(bench.file("mail.log")).unwrap();
        if is_restarted {
            bench.restart();
        }
        let start = bench.now;
        let told = |bench: &mut Bench, seconds| {
            bench.now = start + Duration::from_secs(seconds);
            let polled = bench.session.poll(bench.now).unwrap();
            (bench.session.is_gone(bench.now), polled.map(|lines| lines.iter().count()))
        };
        let seen = [0, 59, 60, 61, 1000].map(|second| told(&mut bench, second));
        assert_eq!(seen.map(|(is_gone, _)| is_gone), [false, false, true, false, false]);
        assert_eq!(seen.map(|(_, lines)| lines), [None; 5]);
        // An empty file is back, too; and the next one that goes is told of anew.
        File::create(bench.file("mail.log")).unwrap();
        assert_eq!(told(&mut bench, 1001), (false, Some(0)));
        assert_eq!(told(&mut bench, 1002), (false, None));
        fs::remove_file(bench.file("mail.log")).unwrap();
        assert_eq!([1010, 1075, 1080].map(|second| told(&mut bench, second).0), [false, true, false]);
    }
}

#[test]
fn a_truncation_without_a_copy_is_told_and_reading_goes_on() {
    let mut bench = Bench::new();
    bench.write(3);
    bench.drain();
    File::create(bench.file("mail.log")).unwrap();
    bench.drain();
    assert_eq!(bench.lost.len(), 1);
    bench.written.clear();
    bench.kept.0.clear();
    bench.write(2);
    bench.drain();
    assert_eq!(bench.kept.0, bench.written);
}

#[test]
fn a_file_that_is_away_for_a_while_is_waited_for() {
    let mut bench = Bench::new();
    bench.write(3);
    bench.drain();
    bench.rename();
    bench.restart();
    bench.drain();
    bench.write(2);
    bench.is_read();
}

#[test]
fn a_hole_and_a_line_without_end_lose_nothing_else() {
    let mut bench = Bench::new();
    bench.append(&[0; 5000]);
    bench.append(b"one\n");
    bench.append(&vec![b'x'; BATCH_OCTETS + 10]);
    bench.poll(true);
    bench.poll(true);
    // Whoever goes on within the long line does not take its end for a line.
    bench.restart();
    bench.append(b"end\ntwo\n");
    bench.drain();
    let lengths: Vec<_> = bench.kept.0.iter().map(String::len).collect();
    assert_eq!(lengths, [3, BATCH_OCTETS, 3]);
    assert_eq!(bench.kept.0[2], "two");
}

#[test]
fn what_is_no_file_is_refused_and_what_is_not_there_may_come() {
    let dir = tempfile::tempdir().unwrap();
    let refused = FileTail::open(dir.path(), None).unwrap_err();
    assert!(matches!(&refused, LogError::Refused(text) if text.contains("stdin = true")), "{refused}");
    let absent = FileTail::open(&dir.path().join("mail.log"), None).unwrap_err();
    assert!(matches!(absent, LogError::Lost(_)), "{absent}");
    let foreign = FileTail::open(&dir.path().join("mail.log"), Some("journal s=1;i=2")).unwrap_err();
    assert!(matches!(foreign, LogError::Refused(_)), "{foreign}");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(usize),
    Rename,
    CopyAndTruncate,
    Pack(usize),
    Read,
    KilledReading,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1usize..4).prop_map(Step::Write),
        1 => Just(Step::Rename),
        1 => Just(Step::CopyAndTruncate),
        2 => (1usize..5).prop_map(Step::Pack),
        4 => Just(Step::Read),
        1 => Just(Step::KilledReading),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..30)
}

proptest! {
    #[test]
    fn each_line_is_read_once_and_in_its_order_whatever_happens_to_the_file(steps in steps()) {
        let mut bench = Bench::new();
        // Begun, so that there is a cursor.
        bench.write(1);
        bench.drain();
        for step in steps {
            match step {
                Step::Write(lines) => bench.write(lines),
                Step::Rename => bench.rename(),
                Step::CopyAndTruncate => bench.copy_and_truncate(),
                Step::Pack(number) => bench.pack(&format!("mail.log.{number}")),
                Step::Read => drop(bench.poll(true)),
                Step::KilledReading => drop(bench.poll(false)),
                Step::Restart => bench.restart(),
            }
        }
        bench.is_read();
    }
}
