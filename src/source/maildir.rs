//! A Maildir as a [`Source`]: files in `new` and `cur`, oldest name first. Trusts nothing that lies in them: only
//! regular files are opened, and only so much of them is read. Knows nothing of bounces.

mod files;
mod settings;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use files::{Destination, Maildir, MessageFile};
pub use settings::MaildirSettings;
use tokio::task::spawn_blocking;
use tracing::info;

use super::{After, PATIENCE, Progress, Source, SourceError, settings::BATCH_OCTETS};
use crate::{
    clock::now,
    message::{Batch, Disposition, Message, Pending, Place, Reading, Resume, Retry},
};

/// A directory that changed less than this before it was listed may have changed again without a new time stamp:
/// some file systems count in whole seconds.
const RACY: Duration = Duration::from_secs(2);

/// Reads one Maildir.
#[derive(Debug)]
pub struct MaildirSource {
    mailbox: String,
    settings: MaildirSettings,
    session: Option<Session>,
    progress: Progress,
}

/// What is known of an open Maildir.
#[derive(Debug)]
struct Session {
    maildir: Maildir,
    destination: Destination,
    /// What needs no second look.
    known: HashSet<Place>,
    /// What could not be read, or killed the process that read it, and when it is tried again.
    pending: HashMap<Place, Retry>,
    /// Listed but not read, oldest first.
    unread: VecDeque<MessageFile>,
    /// The files of messages when they were read; until they are settled.
    paths: HashMap<Place, PathBuf>,
    /// When the directories changed last, as of the last listing, and when that was.
    last_listing: Option<([Option<SystemTime>; 2], SystemTime)>,
}

/// What a glance at the directories says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Changed,
    /// They changed too shortly before they were listed to be sure.
    Unsure,
    Quiet,
}

impl MaildirSource {
    /// Does file work where it may block; the session comes back unless it failed or the caller gave up.
    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Session, &MaildirSettings) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let mut session = self.session.take().ok_or_else(|| SourceError::Lost("not open".to_owned()))?;
        let settings = self.settings.clone();
        let (session, done) = spawn_blocking(move || {
            let done = work(&mut session, &settings)?;
            Ok((session, done))
        })
        .await
        .map_err(|error| SourceError::Lost(format!("reading stopped: {error}")))??;
        self.session = Some(session);
        Ok(done)
    }
}

impl Session {
    fn fetch(&mut self, settings: &MaildirSettings) -> Result<Batch, SourceError> {
        let mut reading = Reading::default();
        if self.unread.is_empty() {
            self.last_listing = Some((self.maildir.changed(), SystemTime::now()));
            let now = now();
            let waits = |place: &Place| self.pending.get(place).is_some_and(|retry| !retry.is_due(now));
            let mut there = HashSet::new();
            let wanted = self.maildir.list(|place| {
                if self.pending.contains_key(place) {
                    there.insert(place.clone());
                }
                !self.known.contains(place) && !waits(place)
            })?;
            self.unread = wanted.into();
            reading.gone.extend(self.pending.keys().filter(|place| !there.contains(place)).cloned());
            reading.gone.iter().for_each(|place| {
                self.pending.remove(place);
            });
        }
        let (mut messages, mut octets) = (Vec::new(), 0);
        while messages.len() < settings.batch.max(1) && octets < BATCH_OCTETS {
            let Some(MessageFile { place, path }) = self.unread.pop_front() else { break };
            let read = match files::read(&path, settings.max_message) {
                Ok(Some(read)) => read,
                // Somebody moved or removed it meanwhile. Under its new name it is listed again.
                Ok(None) => continue,
                // One unreadable file must not stop the rest.
                Err(error) => {
                    let retry = Retry::after(self.pending.get(&place), now(), error.to_string());
                    self.pending.insert(place.clone(), retry.clone());
                    reading.pending.push(Pending { place, retry });
                    continue;
                }
            };
            self.pending.remove(&place);
            octets += read.body.len() as u64;
            self.known.insert(place.clone());
            self.paths.insert(place.clone(), path);
            messages.push(Message {
                place,
                received: read.modified,
                size: read.size,
                body: read.body.into(),
                rest: read.rest,
            });
        }
        Ok(Batch { messages, reading })
    }

    /// Whether something that could not be read is to be tried again.
    fn is_due(&self) -> bool {
        let now = now();
        self.pending.values().any(|retry| retry.is_due(now))
    }

    /// Compares the directories with what they were when they were listed.
    fn look(&self) -> Look {
        let Some((then, at)) = self.last_listing else { return Look::Changed };
        if self.is_due() {
            return Look::Changed;
        }
        let now = self.maildir.changed();
        let settled = |time: &SystemTime| at.duration_since(*time).is_ok_and(|age| age >= RACY);
        match then == now {
            false => Look::Changed,
            true if now.iter().flatten().all(settled) => Look::Quiet,
            true => Look::Unsure,
        }
    }

    /// Says which could not be moved or flagged, and why.
    fn settle(&mut self, done: &[(Place, Disposition)]) -> Vec<(Place, String)> {
        let (mut lost, mut failed) = (HashSet::new(), Vec::new());
        for (place, disposition) in done {
            let path = self.paths.remove(place);
            if *disposition == Disposition::Untouched || self.destination == Destination::Unchanged {
                continue;
            }
            let file = path.map(|path| MessageFile { place: place.clone(), path });
            match file.map(|file| self.maildir.settle(&file, &self.destination)) {
                Some(Ok(true)) => {}
                Some(Err(error)) => failed.push((place.clone(), error.to_string())),
                // Read by an earlier run, or renamed by another program since.
                Some(Ok(false)) | None => {
                    lost.insert(place);
                }
            }
        }
        let found = if lost.is_empty() { Ok(Vec::new()) } else { self.maildir.list(|place| lost.contains(place)) };
        match found {
            Ok(files) => failed.extend(files.into_iter().filter_map(|file| {
                let error = self.maildir.settle(&file, &self.destination).err()?;
                Some((file.place, error.to_string()))
            })),
            Err(error) => failed.extend(lost.into_iter().map(|place| (place.clone(), error.to_string()))),
        }
        match self.maildir.sync(&self.destination) {
            Ok(()) => failed,
            Err(error) => done.iter().map(|(place, _)| (place.clone(), error.to_string())).collect(),
        }
    }

    /// Like [`Self::settle`], with a second attempt after the folder was made again.
    fn settle_patiently(&mut self, done: &[(Place, Disposition)], after: &After) -> Vec<(Place, String)> {
        let failed = self.settle(done);
        if failed.is_empty() {
            return failed;
        }
        let destination = self.maildir.destination(after);
        match destination.and_then(|destination| self.maildir.make(&destination).map(|()| destination)) {
            Ok(destination) => {
                self.destination = destination;
                let failed: HashSet<Place> = failed.into_iter().map(|(place, _)| place).collect();
                let again: Vec<_> = done.iter().filter(|(place, _)| failed.contains(place)).cloned().collect();
                self.settle(&again)
            }
            Err(error) => failed.into_iter().map(|(place, _)| (place, error.to_string())).collect(),
        }
    }
}

impl Source for MaildirSource {
    type Settings = MaildirSettings;

    const ASKS_FOR_KNOWN: bool = true;

    fn new(mailbox: &str, settings: MaildirSettings) -> Self {
        Self { mailbox: mailbox.to_owned(), settings, session: None, progress: Progress::default() }
    }

    fn report_to(&mut self, progress: Progress) {
        self.progress = progress;
    }

    fn describe(place: &Place) -> String {
        files::describe(place).to_owned()
    }

    async fn open(&mut self, resume: Resume) -> Result<(), SourceError> {
        let maildir = Maildir::new(&self.mailbox, self.settings.path.clone());
        self.session = Some(Session {
            maildir,
            destination: Destination::Unchanged,
            known: resume.known,
            pending: resume.pending.into_iter().map(|Pending { place, retry }| (place, retry)).collect(),
            unread: VecDeque::new(),
            paths: HashMap::new(),
            last_listing: None,
        });
        let only_looks = resume.only_looks;
        self.blocking(move |session, settings| {
            let destination = session.maildir.destination(&settings.after)?;
            if !only_looks {
                session.maildir.make(&destination)?;
            }
            session.destination = destination;
            Ok(())
        })
        .await?;
        info!(mailbox = self.mailbox, path = %self.settings.path.display(), "Maildir opened");
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Batch, SourceError> {
        self.blocking(Session::fetch).await
    }

    async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<Vec<(Place, String)>, SourceError> {
        let done = done.to_vec();
        self.blocking(move |session, settings| Ok(session.settle_patiently(&done, &settings.after))).await
    }

    fn reread(&mut self, places: Vec<Place>) {
        for place in &places {
            let pending = self.session.as_mut().and_then(|session| session.pending.get_mut(place));
            pending.into_iter().for_each(|retry| retry.next_try = 0);
        }
    }

    async fn wait(&mut self) -> Result<(), SourceError> {
        loop {
            let look = self.blocking(|session, _| Ok(session.look())).await?;
            if look == Look::Changed {
                return Ok(());
            }
            self.progress.until(self.settings.poll);
            tokio::time::sleep(self.settings.poll).await;
            self.progress.until(PATIENCE);
            if look == Look::Unsure {
                return Ok(());
            }
        }
    }

    async fn close(&mut self) {
        self.session = None;
    }
}
