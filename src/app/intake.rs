//! Mails that lie in no mailbox -> rows and the published lists, for commands: beside a daemon or without one. Whoever
//! handed a mail over keeps it until it is on record, and may hand it over again: it is known by its bytes.

use std::{borrow::Cow, collections::HashSet, mem};

use data_encoding::HEXLOWER;

use super::{Judge, Recorder, Tally, beside, open_store};
use crate::{
    config::Config,
    message::{self, Message, Place},
    store::{Store, StoreError},
};

/// A mail that was handed over to a command.
#[derive(Debug, Default)]
pub struct HandedOver {
    /// Its bytes, as far as anybody reads them.
    pub bytes: Vec<u8>,
    /// Its size in octets.
    pub size: u64,
    /// Tells what was cut off; `None` where nothing was.
    pub rest: Option<[u8; 32]>,
    /// When it was received, in seconds since 1970-01-01 UTC.
    pub received: i64,
    /// The addresses that it came to, as far as whoever hands it over says so.
    pub delivered_to: Vec<String>,
}

impl HandedOver {
    /// A mail out of an archive, which arrived when its header says; where it does not, at that time. Never later than `now`
    /// (seconds since 1970-01-01 UTC, both): what comes from the future would outdo what a person says today.
    #[must_use]
    pub fn archived(bytes: Vec<u8>, size: u64, rest: Option<[u8; 32]>, undated: i64, now: i64) -> Self {
        let received = message::arrival(&without_mbox_form(&bytes)).unwrap_or(undated).min(now);
        Self { bytes, size, rest, received, delivered_to: Vec::new() }
    }
}

impl From<HandedOver> for Message {
    fn from(HandedOver { bytes, size, rest, received, delivered_to }: HandedOver) -> Self {
        let body = without_mbox_form(&bytes);
        let size = size - (bytes.len() - body.len()) as u64;
        let body = &*body;
        let message = Self { place: Place::new(""), received, size, body: body.into(), rest, delivered_to };
        // Wherever it comes from: what is handed over again is at the same place.
        Self { place: Place::new(HEXLOWER.encode(&message.sha256())), ..message }
    }
}

/// What mbox files put around a mail (RFC 4155) is none of the mail's, and whoever delivers it again may write another time
/// into it: the line that it begins with, the blank one behind it, and what keeps its lines from beginning like that.
fn without_mbox_form(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(end) = bytes.strip_prefix(b"From ").and_then(|rest| memchr::memchr(b'\n', rest)) else {
        return Cow::Borrowed(bytes);
    };
    let mail = &bytes[b"From ".len() + end + 1..];
    let mail = [b"\r\n\r\n".as_slice(), b"\n\n"]
        .iter()
        .find_map(|blank| Some(&mail[..mail.strip_suffix(*blank)?.len() + blank.len() / 2]))
        .unwrap_or(mail);
    let is_quoted = |line: &[u8]| {
        let name = line.iter().position(|octet| *octet != b'>').unwrap_or(0);
        name > 0 && line[name..].starts_with(b"From ")
    };
    let mut plain = Vec::with_capacity(mail.len());
    for line in mail.split_inclusive(|octet| *octet == b'\n') {
        plain.extend_from_slice(if is_quoted(line) { &line[1..] } else { line });
    }
    Cow::Owned(plain)
}

/// Records mails under the name of a mailbox that nobody reads.
#[derive(Debug)]
pub struct Intake {
    recorder: Recorder,
    mailbox: String,
    /// Whether no daemon does it.
    publishes: bool,
}

impl Intake {
    /// Opens the store at `now` (seconds since 1970-01-01 UTC), and makes it when it is missing: a mail may come before the
    /// daemon ever ran.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Foreign`] also where a published list was made from another store.
    pub async fn open(config: &Config, judge: Judge, mailbox: &str, now: i64) -> Result<Self, StoreError> {
        let path = &config.database.path;
        let store = if path.exists() { Store::open_existing(path).await? } else { open_store(config).await? };
        if config.vouches() && store.vouching_since().await?.is_none() {
            store.vouch_from(now).await?;
        }
        let recorder = Recorder::of_command(config, judge, store);
        let publishes = !beside::daemon_runs(path);
        // Whatever else is wrong with a list is no reason to record nothing: all of it can be made again.
        if publishes {
            let (followers, store) = (&recorder.followers, &recorder.store);
            let accepts = config.suppressions.accept_new_store;
            let permitted = if accepts { followers.start(store).await } else { followers.permit(store).await };
            if let Err(error @ StoreError::Foreign(_)) = permitted {
                return Err(error);
            }
        }
        Ok(Self { recorder, mailbox: mailbox.to_owned(), publishes })
    }

    /// Records mails at `now` (seconds since 1970-01-01 UTC). What was recorded before, or is there twice, counts as a
    /// duplicate. When this returns they are on record, whatever happens to the machine.
    ///
    /// # Errors
    /// See [`StoreError`]; some of them may be recorded then, and can be handed over again.
    pub async fn record(&self, mails: Vec<HandedOver>, now: i64) -> Result<Tally, StoreError> {
        let store = &self.recorder.store;
        let mut messages: Vec<Message> = mails.into_iter().map(Message::from).collect();
        let handed_over = messages.len();
        let places: Vec<Place> = messages.iter().map(|message| message.place.clone()).collect();
        // Those that retention has erased since are known by their places alone.
        let mut unread: HashSet<Place> = store.unrecorded(&self.mailbox, places.clone()).await?.into_iter().collect();
        // The tables of today may find somebody in those.
        unread.extend(store.naming_nobody(&self.mailbox, &places).await?);
        messages.retain(|message| unread.contains(&message.place));
        let known = handed_over - messages.len();
        if known > 0 {
            // Whoever recorded them may have been killed before he noted that nobody has to be told.
            store.settled(&self.mailbox, &places).await?;
        }
        let mut tally = self.recorder.take_in(&self.mailbox, messages, now).await?;
        tally.duplicates += known;
        // What is written into a file that was replaced is lost.
        store.check_in_place()?;
        Ok(tally)
    }

    /// Carries to the published lists what was recorded, unless a daemon does it.
    ///
    /// # Errors
    /// See [`StoreError`]; what is recorded stays recorded, and is published with the next change.
    pub async fn publish(&self) -> Result<(), StoreError> {
        if self.publishes { self.recorder.publish().await } else { Ok(()) }
    }

    /// Closes the store. The tables are not taken apart: the process ends with them, and that would be a tenth of what a
    /// start takes.
    pub async fn close(&self) {
        self.recorder.close().await;
        mem::forget(self.recorder.judge_in_force());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Message {
        HandedOver { bytes: bytes.to_vec(), size: bytes.len() as u64, ..HandedOver::default() }.into()
    }

    #[test]
    fn a_mail_is_the_same_whenever_it_is_delivered() {
        let mail = message(b"Subject: x\n\nFrom here on\n");
        for postmark in ["From MAILER-DAEMON Thu Nov 26 10:00:00 2026\n", "From a Fri Nov 27 10:00:00 2026\r\n"] {
            let delivered = message(&[postmark.as_bytes(), b"Subject: x\n\nFrom here on\n"].concat());
            assert_eq!((delivered.sha256(), &delivered.place, delivered.size), (mail.sha256(), &mail.place, mail.size));
        }
        let quoted = message(b"From a Thu Nov 26 10:00:00 2026\n>From a\n>>From b\n > From c\n\n");
        assert_eq!(&*quoted.body, b"From a\n>From b\n > From c\n");
        assert_ne!(message(b"From: a\n\nSubject: x\n\nFrom here on\n").place, mail.place);
        assert_eq!(message(b"From without an end").size, 19);
    }
}
