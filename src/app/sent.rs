//! What a mailer says that it has sent -> the store, chunk by chunk.

use std::io::BufRead;

use super::{Judge, List, record::end_what_is_over};
use crate::{
    config::Config,
    import::{Broken, Found, Records, SentRow},
    store::{BrakedRemote, Raised, Sent, StoreError},
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
            Ok(Found::Record(record)) => (record.line, SentRow::read(&record, now)),
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
    file.doubts_begin = !was_known && file.rows > 0 && config.demands().wait_for_vouching();
    Ok(file)
}

/// What could not be believed when it was read, and is believed now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Believed {
    /// How many bounces, complaints and signs of life.
    pub count: u64,
    /// Remotes that called more addresses dead than can be true, each once.
    pub braked: Vec<BrakedRemote>,
}

/// Believes bounces, complaints and signs of life that were read before it was known that the messages of which they speak
/// are ours, and publishes at `now` (seconds since 1970-01-01 UTC) what that changes. Not before all files are read:
/// who else got a message may stand in the last line.
///
/// # Errors
/// As for [`List::suppress`].
pub async fn believe_sent(config: &Config, judge: &Judge, now: i64) -> Result<Believed, StoreError> {
    let list = List::open(config).await?;
    // Whoever may not write the published list can say what he sent all the same.
    let believed = if list.store.is_any_due(i64::MAX).await? {
        list.change_in_parts(now, raise_all(&list, judge, now)).await?
    } else {
        Believed::default()
    };
    list.close().await;
    Ok(believed)
}

pub(super) async fn raise_all(list: &List, judge: &Judge, now: i64) -> Result<Believed, StoreError> {
    let mut believed = Believed::default();
    while let Some(Raised { count, changes }) = list.store.raise_due(judge.policy(), i64::MAX).await? {
        end_what_is_over(&list.store, &changes, now).await?;
        believed.count += count;
        for BrakedRemote { remote, held, taken_back } in changes.braked {
            match believed.braked.iter_mut().find(|one| one.remote == remote) {
                Some(one) => {
                    one.held += held;
                    one.taken_back += taken_back;
                }
                None => believed.braked.push(BrakedRemote { remote, held, taken_back }),
            }
        }
    }
    Ok(believed)
}
