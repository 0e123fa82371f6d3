//! Records <-> a constant database (https://cr.yp.to/cdb/cdb.txt): a file that is written once and then only read.
//! Knows nothing of what the records mean. Read by positions and never mapped into memory: a file that somebody cuts
//! short must not end the process.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};

/// Position and length of 256 hash tables, which lie behind the records.
const HEADER: u32 = 256 * 8;

/// Writes a new file from its start.
pub(super) struct Writer {
    out: BufWriter<File>,
    at: u32,
    /// Hash and position of each record, by the low octet of the hash.
    tables: Vec<Vec<(u32, u32)>>,
}

impl Writer {
    /// `file` is empty.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        out.write_all(&[0; HEADER as usize])?;
        Ok(Self { out, at: HEADER, tables: vec![Vec::new(); 256] })
    }

    /// Adds a record; of two with one key a look-up finds the first.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let lengths = [octets(key.len())?, octets(value.len())?];
        let hash = hash(key);
        self.tables[(hash & 0xff) as usize].push((hash, self.at));
        self.at = grown(self.at, 8 + key.len() + value.len())?;
        for length in lengths {
            self.out.write_all(&length.to_le_bytes())?;
        }
        self.out.write_all(key)?;
        self.out.write_all(value)
    }

    /// Writes the tables, and the header last.
    pub(super) fn finish(mut self) -> io::Result<File> {
        let mut header = Vec::with_capacity(HEADER as usize);
        for records in &self.tables {
            let slots = records.len() * 2;
            header.extend(self.at.to_le_bytes());
            header.extend(octets(slots)?.to_le_bytes());
            let mut table = vec![(0, 0); slots];
            for record in records {
                let mut slot = (record.0 >> 8) as usize % slots;
                // Half of the slots stay free.
                while table[slot].1 != 0 {
                    slot = (slot + 1) % slots;
                }
                table[slot] = *record;
            }
            for (hash, at) in table {
                self.out.write_all(&hash.to_le_bytes())?;
                self.out.write_all(&at.to_le_bytes())?;
            }
            self.at = grown(self.at, slots * 8)?;
        }
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// The value of a key. [`io::ErrorKind::InvalidData`] when the file is no whole constant database.
pub(super) fn look_up(file: &File, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let tables = tables(file)?;
    let hash = hash(key);
    let (start, slots) = tables[(hash & 0xff) as usize];
    for step in 0..slots {
        let slot = ((hash >> 8) % slots + step) % slots;
        let (found, at) = pair(file, start + u64::from(slot) * 8)?;
        if at == 0 {
            break;
        }
        if found != hash {
            continue;
        }
        let (key_length, length) = pair(file, u64::from(at))?;
        let (value_at, records_end) = (u64::from(at) + 8 + u64::from(key_length), tables[0].0);
        if value_at + u64::from(length) > records_end {
            return Err(damaged());
        }
        if key_length as usize == key.len() && read(file, u64::from(at) + 8, key.len())? == key {
            return read(file, value_at, length as usize).map(Some);
        }
    }
    Ok(None)
}

/// Position and slots of each table. They follow each other up to the end of the file, so that one that was cut short
/// or is something else is found out here.
fn tables(file: &File) -> io::Result<Vec<(u64, u32)>> {
    let header = read(file, 0, HEADER as usize)?;
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four octets"));
    let tables: Vec<_> = (0..256).map(|table| (u64::from(number(table * 8)), number(table * 8 + 4))).collect();
    let mut expected = tables[0].0.max(u64::from(HEADER));
    for (start, slots) in &tables {
        if *start != expected {
            return Err(damaged());
        }
        expected += u64::from(*slots) * 8;
    }
    if expected == file.metadata()?.len() { Ok(tables) } else { Err(damaged()) }
}

fn pair(file: &File, at: u64) -> io::Result<(u32, u32)> {
    let octets = read(file, at, 8)?;
    let number = |from: usize| u32::from_le_bytes(octets[from..from + 4].try_into().expect("four octets"));
    Ok((number(0), number(4)))
}

fn read(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; length];
    match file.read_exact_at(&mut octets, at) {
        Ok(()) => Ok(octets),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged()),
        Err(error) => Err(error),
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no whole constant database")
}

fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5_381, |hash: u32, octet| hash.wrapping_mul(33) ^ u32::from(*octet))
}

fn octets(count: usize) -> io::Result<u32> {
    u32::try_from(count).map_err(|_| too_big())
}

fn grown(at: u32, by: usize) -> io::Result<u32> {
    octets(by).and_then(|by| at.checked_add(by).ok_or_else(too_big))
}

fn too_big() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "a constant database holds 4 GiB at most")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path, process::Command};

    use proptest::prelude::*;

    use super::*;

    fn written(path: &Path, records: &[(Vec<u8>, Vec<u8>)]) -> File {
        let mut writer = Writer::new(File::create(path).unwrap()).unwrap();
        records.iter().for_each(|(key, value)| writer.add(key, value).unwrap());
        writer.finish().unwrap();
        File::open(path).unwrap()
    }

    /// Whether Postfix reads this kind of file here.
    fn postmap() -> bool {
        let maps = Command::new("postconf").arg("-m").output().map(|output| output.stdout).unwrap_or_default();
        let there = String::from_utf8_lossy(&maps).lines().any(|map| map == "cdb");
        if !there {
            println!("skipped: no Postfix with cdb tables here");
        }
        there
    }

    proptest! {
        #[test]
        fn every_record_is_found_again_and_nothing_else(
            records in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..12),
                                                  proptest::collection::vec(any::<u8>(), 0..300)), 0..600),
            other in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let file = written(&dir.path().join("x.cdb"), &records);
            let mut first = BTreeMap::new();
            for (key, value) in &records {
                first.entry(key).or_insert(value);
            }
            for (key, value) in &first {
                prop_assert_eq!(look_up(&file, key).unwrap(), Some((*value).clone()));
            }
            prop_assert_eq!(look_up(&file, &other).unwrap(), first.get(&other).map(|value| (*value).clone()));
        }

        #[test]
        fn a_file_that_is_cut_short_or_garbled_is_damaged_or_answers_and_never_panics(
            cut in 0..3_000_usize, at in 0..3_000_usize, octet in any::<u8>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.cdb");
            let records: Vec<_> = (0..20).map(|n| (format!("key{n}").into_bytes(), b"value".to_vec())).collect();
            written(&path, &records);
            let whole = fs::read(&path).unwrap();
            if cut < whole.len() {
                fs::write(&path, &whole[..cut]).unwrap();
                let error = look_up(&File::open(&path).unwrap(), b"key1").expect_err("cut short");
                prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            }
            let mut garbled = whole;
            let at = at % garbled.len();
            garbled[at] = octet;
            fs::write(&path, &garbled).unwrap();
            let _ = look_up(&File::open(&path).unwrap(), b"key1");
        }
    }

    #[test]
    fn postfix_finds_the_records() {
        if !postmap() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("main.cf"), "compatibility_level = 3.6\n").unwrap();
        let path = dir.path().join("x.cdb");
        let record = |n: usize| (format!("u{n}@example.org").into_bytes(), format!("REJECT {n}").into_bytes());
        written(&path, &(0..5_000).map(record).collect::<Vec<_>>());
        let table = format!("cdb:{}", dir.path().join("x").display());
        for n in (0..5_000).step_by(499).chain([5_000]) {
            let key = format!("u{n}@example.org");
            let output = Command::new("postmap").arg("-c").arg(dir.path()).args(["-q", &key, &table]).output().unwrap();
            let expected = if n < 5_000 { format!("REJECT {n}\n") } else { String::new() };
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{key}: {output:?}");
        }
    }
}
