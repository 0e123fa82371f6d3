//! A constant database as its readers see it (https://cr.yp.to/cdb/cdb.txt).

use std::{collections::BTreeMap, fs, path::Path};

/// All records of a whole file, in the order of their keys; `None` when there is no file or it is not whole.
pub fn records(path: &Path) -> Option<BTreeMap<String, String>> {
    let file = fs::read(path).ok()?;
    let number = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?) as usize);
    let (end, mut at) = (number(0)?, 2_048);
    let slots: usize = (0..256).map(|table| number(table * 8 + 4)).sum::<Option<usize>>()?;
    if end + slots * 8 != file.len() {
        return None;
    }
    let mut records = BTreeMap::new();
    while at < end {
        let (key, value) = (number(at)?, number(at + 4)?);
        let text = |from: usize, length: usize| String::from_utf8(file.get(from..from + length)?.to_vec()).ok();
        records.insert(text(at + 8, key)?, text(at + 8 + key, value)?);
        at += 8 + key + value;
    }
    // Each record has two slots.
    (records.len() * 2 == slots).then_some(records)
}

/// The addresses among the keys; empty when the file is not whole.
pub fn addresses(path: &Path) -> Vec<String> {
    records(path).unwrap_or_default().into_keys().filter(|key| !key.starts_with('\0')).collect()
}
