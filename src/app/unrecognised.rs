//! Messages that look like reports and name nobody -> the mails themselves, as far as they still lie in their
//! mailboxes; and the same read again by the tables of today. Nothing is moved or changed in a mailbox.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
};

use super::{Judge, Recorder, Tally};
use crate::{
    config::Config,
    message::{Message, Place, Resume},
    source::{MailboxVisitor, Settings, Source, SourceError},
    store::{Store, StoreError, Unrecognised},
};

/// The messages that look like reports and name nobody, of one mailbox or of all.
///
/// # Errors
/// See [`StoreError`].
pub async fn unrecognised(config: &Config, mailbox: Option<&str>) -> Result<Vec<Unrecognised>, StoreError> {
    let store = Store::open_to_read(&config.database.path).await?;
    let found = store.unrecognised(mailbox).await;
    store.close().await;
    found
}

/// Looks for mails in the mailboxes that they were read from, in all their folders, and hands over each that is there.
/// Says which mailboxes could not be looked through, and why.
pub async fn look_for(
    config: &Config,
    wanted: &[Unrecognised],
    mut found: impl FnMut(&Unrecognised, Message) + Send,
) -> Vec<(String, SourceError)> {
    let mut by_mailbox: BTreeMap<&str, HashMap<[u8; 32], &Unrecognised>> = BTreeMap::new();
    for one in wanted {
        by_mailbox.entry(&one.mailbox).or_default().insert(one.sha256, one);
    }
    let mut folders = Folders(Vec::new());
    config.visit_mailboxes(&mut folders);
    let mut failed = Vec::new();
    for (mailbox, mut folder) in folders.0 {
        let left = by_mailbox.get_mut(mailbox.as_str()).filter(|left| !left.is_empty());
        let Some(left) = left else { continue };
        let mut take = |message: Message| {
            if let Some(one) = left.remove(&message.sha256()) {
                found(one, message);
            }
            !left.is_empty()
        };
        if let Err(error) = folder.look_through(&mut take).await {
            failed.push((mailbox, error));
        }
    }
    failed
}

/// What became of messages that were read again.
#[derive(Debug, Default)]
pub struct ReadAgain {
    /// Those that name somebody now, and what came of that.
    pub tally: Tally,
    /// Those that were read, and name nobody still.
    pub as_before: u64,
    /// Those that are left for another time: together they are too long.
    pub left: u64,
    /// The mailboxes that could not be looked through, and why.
    pub failed: Vec<(String, SourceError)>,
}

/// So many octets of messages are kept until all are found.
const MOST_OCTETS: usize = 64 << 20;

/// Reads messages again that named nobody, and records those that name somebody by the tables of today, at `now`
/// (seconds since 1970-01-01 UTC), as of the time when they were received.
///
/// # Errors
/// See [`StoreError`]; some of them may be recorded then.
pub async fn read_again(
    config: &Config,
    judge: Judge,
    wanted: &[Unrecognised],
    now: i64,
) -> Result<ReadAgain, StoreError> {
    let mut again = ReadAgain::default();
    let mut readable: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    let mut octets = 0;
    let find = |one: &Unrecognised, message: Message| {
        if octets >= MOST_OCTETS {
            again.left += 1;
        } else if judge.judge(&message.body).0.names_nobody() {
            again.as_before += 1;
        } else {
            octets += message.body.len();
            let message = Message { place: Place::new(&*one.place), received: one.received, ..message };
            readable.entry(one.mailbox.clone()).or_default().push(message);
        }
    };
    let failed = look_for(config, wanted, find).await;
    again.failed = failed;
    let store = Store::open_existing(&config.database.path).await?;
    let recorder = Recorder::of_command(config, judge, store);
    for (mailbox, messages) in readable {
        again.tally.add(recorder.take_in(&mailbox, messages, now).await?);
    }
    recorder.publish().await?;
    recorder.close().await;
    Ok(again)
}

/// Every folder of every mailbox, with the mailbox's name.
struct Folders(Vec<(String, Box<dyn Folder>)>);

impl MailboxVisitor for Folders {
    fn visit<S: Source>(&mut self, name: &str, settings: &S::Settings) {
        for folder in settings.folders() {
            self.0.push((name.to_owned(), Box::new(S::new(name, folder))));
        }
    }
}

/// A folder that can be looked through.
trait Folder: Send {
    /// Hands over one message after the other until nobody wants more.
    fn look_through<'a>(
        &'a mut self,
        take: &'a mut (dyn FnMut(Message) -> bool + Send),
    ) -> Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send + 'a>>;
}

impl<S: Source> Folder for S {
    fn look_through<'a>(
        &'a mut self,
        take: &'a mut (dyn FnMut(Message) -> bool + Send),
    ) -> Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send + 'a>> {
        Box::pin(async move {
            self.open(Resume { only_looks: true, ..Resume::default() }).await?;
            'folder: loop {
                let batch = self.fetch().await?;
                if batch.messages.is_empty() {
                    break;
                }
                for message in batch.messages {
                    if !take(message) {
                        break 'folder;
                    }
                }
            }
            self.close().await;
            Ok(())
        })
    }
}
