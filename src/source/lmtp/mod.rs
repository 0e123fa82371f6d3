//! Mail servers that hand mail over by LMTP (RFC 2033), as a [`Source`]: what they hand over comes with the next batch, and
//! they hear when it is settled what became of it. So many clients share one commit. Nothing is kept here: a message that
//! nobody has settled is still with its sender, who tries again. Knows nothing of bounces.

mod body;
mod command;
mod listener;
mod session;
mod settings;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use data_encoding::HEXLOWER;
pub use settings::{Listen, LmtpSettings};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::{
    listener::{Listener, try_out},
    session::{Answer, BUSY, Handed, SET_ASIDE, STOPPING},
};
use super::{
    Source, SourceError,
    settings::{BATCH_OCTETS, batch},
};
use crate::{
    clock::now,
    message::{Batch, Disposition, Message, Place, Reading, Resume, Retry},
};

/// How often it is looked whether clients still find us.
const POLL: Duration = Duration::from_secs(30);

/// Takes what is handed over at one place.
#[derive(Debug)]
pub struct LmtpSource {
    mailbox: String,
    settings: LmtpSettings,
    counter: Option<Counter>,
}

/// Where messages come in, and who waits for an answer.
#[derive(Debug)]
struct Counter {
    listener: Listener,
    handed: mpsc::Receiver<Handed>,
    /// Whether clients may hand over.
    is_open: Arc<AtomicBool>,
    /// Taken off the channel, and in no batch yet.
    next: VecDeque<Handed>,
    /// Who waits for which message; of one that came twice, both.
    waiting: HashMap<Place, Vec<oneshot::Sender<Answer>>>,
    /// The process died over these.
    pending: HashMap<Place, Retry>,
}

impl Counter {
    /// Nobody waits for what is not on record now: who handed it over has it still.
    fn send_away(&mut self, why: &'static str) {
        while let Ok(handed) = self.handed.try_recv() {
            self.next.push_back(handed);
        }
        let waiting = self.waiting.drain().flat_map(|(_, waiting)| waiting);
        for answer in waiting.chain(self.next.drain(..).map(|handed| handed.answer)) {
            // A client that is gone tries again anyway.
            let _ = answer.send(Answer::Later(why));
        }
    }

    /// The next message that is not under way already; `None` where there is none.
    fn next_message(&mut self) -> Option<Message> {
        loop {
            let handed = self.next.pop_front().or_else(|| self.handed.try_recv().ok())?;
            let Handed { body, rest, size, recipients, answer } = handed;
            let message = Message {
                place: Place::new(""),
                received: now(),
                size,
                body: body.into(),
                rest,
                delivered_to: recipients,
            };
            // A client that tries again finds what was noted of the same message.
            let place = Place::new(HEXLOWER.encode(&message.sha256()));
            if self.pending.get(&place).is_some_and(|retry| !retry.is_due(now())) {
                let _ = answer.send(Answer::Later(SET_ASIDE));
                continue;
            }
            self.pending.remove(&place);
            let waiting = self.waiting.entry(place.clone()).or_default();
            waiting.push(answer);
            if waiting.len() == 1 {
                return Some(Message { place, ..message });
            }
        }
    }
}

impl LmtpSource {
    fn counter(&mut self) -> Result<&mut Counter, SourceError> {
        self.counter.as_mut().ok_or_else(|| SourceError::Lost("not open".to_owned()))
    }
}

impl Source for LmtpSource {
    type Settings = LmtpSettings;

    fn new(mailbox: &str, settings: Self::Settings) -> Self {
        Self { mailbox: mailbox.to_owned(), settings, counter: None }
    }

    fn describe(place: &Place) -> String {
        format!("SHA-256 {}", place.as_str())
    }

    async fn open(&mut self, resume: Resume) -> Result<(), SourceError> {
        if resume.only_looks {
            return try_out(&self.settings.listen, resume.is_read).await;
        }
        // Who still waits waits for what was not recorded.
        self.put_off();
        let counter = match self.counter.take() {
            Some(counter) => counter,
            None => {
                let (sender, handed) = mpsc::channel(self.settings.connections);
                let is_open = Arc::new(AtomicBool::new(false));
                let open = Arc::clone(&is_open);
                let listener = Listener::start(&self.mailbox, &self.settings, resume.worked, sender, open).await?;
                let (next, waiting, pending) = Default::default();
                Counter { listener, handed, is_open, next, waiting, pending }
            }
        };
        let pending = resume.pending.into_iter().map(|one| (one.place, one.retry)).collect();
        counter.is_open.store(true, Relaxed);
        self.counter = Some(Counter { pending, ..counter });
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Batch, SourceError> {
        let counter = self.counter()?;
        let (mut messages, mut octets) = (Vec::new(), 0);
        while messages.len() < batch()
            && octets < BATCH_OCTETS
            && let Some(message) = counter.next_message()
        {
            octets += message.body.len() as u64;
            messages.push(message);
        }
        Ok(Batch { messages, reading: Reading::default() })
    }

    async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<Vec<(Place, String)>, SourceError> {
        let counter = self.counter()?;
        // Of what an earlier run recorded nobody waits for an answer: who did not hear it tries again.
        for answer in done.iter().filter_map(|(place, _)| counter.waiting.remove(place)).flatten() {
            let _ = answer.send(Answer::Recorded);
        }
        Ok(Vec::new())
    }

    fn put_off(&mut self) {
        if let Some(counter) = &mut self.counter {
            counter.is_open.store(false, Relaxed);
            counter.send_away(BUSY);
        }
    }

    fn reread(&mut self, places: Vec<Place>) {
        if let Some(counter) = &mut self.counter {
            places.iter().for_each(|place| drop(counter.pending.remove(place)));
        }
    }

    async fn wait(&mut self) -> Result<(), SourceError> {
        let counter = self.counter()?;
        if !counter.next.is_empty() {
            return Ok(());
        }
        match timeout(POLL, counter.handed.recv()).await {
            Ok(Some(handed)) => counter.next.push_back(handed),
            Ok(None) => {
                self.counter = None;
                return Err(SourceError::Lost("nobody listens any more".to_owned()));
            }
            Err(_) if !counter.listener.can_be_found() => {
                let lost = format!("{} was taken away, and is made anew", self.settings.listen);
                self.close().await;
                return Err(SourceError::Lost(lost));
            }
            Err(_) => {}
        }
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(mut counter) = self.counter.take() {
            counter.is_open.store(false, Relaxed);
            counter.send_away(STOPPING);
            counter.listener.stop().await;
        }
    }
}

#[cfg(test)]
mod tests;
