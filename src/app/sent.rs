//! What a mailer says that it has sent -> the store, chunk by chunk.

use std::io::BufRead;

use super::{Judge, List};
use crate::{
    config::Config,
    import::{Broken, Found, Records, SentRow},
    store::{Sent, StoreError},
};

/// So many rows are kept at once.
const AT_ONCE: usize = 5_000;

/// What stood in a file, and what came of it.
#[derive(Debug, Default)]
pub struct SentFile {
    /// Rows that could be read.
    pub rows: u64,
    /// Those of them that were not known.
    pub new: u64,
    /// Rows that could not be read.
    pub bad: u64,
    /// Where the file breaks off.
    pub broken: Option<Broken>,
    /// Whether it was not known before what we send, so that from now on not everybody is believed any more.
    pub doubts_begin: bool,
}

/// Keeps what a file says was sent, at `now` (seconds since 1970-01-01 UTC); of each row that can't be read `told` hears the
/// line and what is wrong. What is kept stays, whatever comes behind it.
///
/// # Errors
/// See [`StoreError`].
pub async fn record_sent(
    config: &Config,
    judge: &Judge,
    records: Records<impl BufRead>,
    now: i64,
    mut told: impl FnMut(u64, &str),
) -> Result<SentFile, StoreError> {
    let list = List::open(config).await?;
    let store = &list.store;
    let was_known = store.vouching_since().await?.is_some();
    let mut file = SentFile::default();
    let mut chunk = Vec::new();
    for found in records {
        let (line, row) = match found {
            Ok(Found::Record(record)) => (record.line, SentRow::read(&record)),
            Ok(Found::Bad { line, what }) => (line, Err(what)),
            Err(broken) => {
                file.broken = Some(broken);
                break;
            }
        };
        match row {
            Ok(SentRow { at, message_id, recipient, campaign }) => {
                let provider = judge.policy().brake.remote(recipient.domain(), None, None);
                let message_id = Some(message_id);
                chunk.push(Sent { at, message_id, recipient, provider, campaign, is_delivered: false });
                file.rows += 1;
            }
            Err(what) => {
                file.bad += 1;
                told(line, &what);
            }
        }
        if chunk.len() == AT_ONCE {
            file.new += store.record_sent(&chunk, now).await?;
            chunk.clear();
        }
    }
    if !chunk.is_empty() {
        file.new += store.record_sent(&chunk, now).await?;
    }
    list.close().await;
    file.doubts_begin = !was_known && file.rows > 0 && config.trust.demands().wait_for_vouching();
    Ok(file)
}

/// Believes bounces, complaints and signs of life that were read before it was known that the messages of which they speak
/// are ours, and publishes what that changes; says how many they were. Not before all files are read: who else got a message
/// may stand in the last line.
///
/// # Errors
/// As for [`List::suppress`].
pub async fn believe_sent(config: &Config, judge: &Judge) -> Result<u64, StoreError> {
    let list = List::open(config).await?;
    let count = raise_all(&list, judge).await?;
    if count > 0 {
        list.publish().await?;
    }
    list.close().await;
    Ok(count)
}

pub(super) async fn raise_all(list: &List, judge: &Judge) -> Result<u64, StoreError> {
    let mut count = 0;
    while let Some(raised) = list.store.raise_due(judge.policy(), i64::MAX).await? {
        count += raised.count;
    }
    Ok(count)
}
