//! A Maildir as a [`Source`]: files in `new` and `cur`, oldest name first. Trusts nothing that lies in them: only
//! regular files are opened, and only so much of them is read. Knows nothing of bounces.
//!
//! What is new is told by a watch, name by name, and costs what those cost. The whole is listed at the start, where the
//! watch lost something, and as a safety net when the directories changed, which is all there is without a watch.
//! Either way the names come in chunks before whoever keeps the records: nothing of what was read is remembered here
//! once it is settled.

mod files;
mod settings;
mod watch;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use files::{Destination, Found, Maildir, MessageFile, Name, STILL, Stamps};
pub use settings::MaildirSettings;
use tokio::{task::spawn_blocking, time::timeout};
use tracing::info;
use watch::{Appeared, Watch};

use super::{After, PATIENCE, Progress, Source, SourceError, settings::BATCH_OCTETS};
use crate::{
    clock::now,
    message::{Batch, Disposition, Message, Pending, Place, Reading, Resume, Retry, Unrecorded},
};

/// A directory that changed less than this before it was listed may have changed again without a new time stamp:
/// some file systems count in whole seconds.
const RACY: Duration = Duration::from_secs(2);

/// So many names are kept at most; a listing that has more is made again behind the last of them.
const MOST_NAMES: usize = 100_000;

/// So many names are looked at, and asked after, at once.
const CHUNK: usize = 1_000;

/// A listing that changed directories alone ask for takes so small a part of the time: of a mailbox that keeps a
/// million messages it takes a second or two.
const REST_WATCHED: u32 = 1_000;
/// The same where nothing else tells what is new.
const REST: u32 = 10;

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
    unrecorded: Unrecorded,
    /// What could not be read, or killed the process that read it, and when it is tried again.
    pending: HashMap<Place, Retry>,
    /// Nobody has looked at these yet.
    names: BTreeMap<Name, Appeared>,
    /// Somebody may still have been writing these when they were looked at, and when that was: looked at once more.
    unfinished: VecDeque<(Instant, Name)>,
    /// Looked at, and asked after right now.
    asked: Vec<MessageFile>,
    /// They come next, oldest first: nothing is recorded of them.
    unread: VecDeque<MessageFile>,
    /// The files of messages that were read and are not settled.
    under_way: HashMap<Place, PathBuf>,
    /// `None` where there can't be one.
    watch: Option<Watch>,
    /// Whether it was said that there is none.
    said: bool,
    listing: Option<Listing>,
    /// Whether the next listing has a reason of its own.
    is_due: bool,
    /// When somebody last glanced at the directories.
    glanced: Instant,
    /// See [`MOST_NAMES`].
    most_names: usize,
}

/// The last listing.
#[derive(Debug)]
struct Listing {
    stamps: Stamps,
    at: SystemTime,
    ended: Instant,
    took: Duration,
    /// The last name that it took, where there are others behind.
    goes_on_behind: Option<Name>,
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
        let mut session = self.session.take().ok_or_else(not_open)?;
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

    fn session(&mut self) -> Result<&mut Session, SourceError> {
        self.session.as_mut().ok_or_else(not_open)
    }
}

fn not_open() -> SourceError {
    SourceError::Lost("not open".to_owned())
}

impl Session {
    /// Finds out what there is to look at, where nothing is left of what was found before. Gives the places that were
    /// pending and hold no message any more.
    fn find(&mut self, settings: &MaildirSettings) -> Result<Vec<Place>, SourceError> {
        // Where mail arrives all the time nobody waits so long, and the watch tells no more than it does elsewhere. A
        // listing that goes on comes to its end first.
        if !self.goes_on() && self.glanced.elapsed() >= settings.poll {
            self.glance();
        }
        let mut gone = Vec::new();
        if !self.unread.is_empty() || !self.names.is_empty() {
            return Ok(gone);
        }
        if self.pending_is_due() {
            gone = self.find_pending()?;
        }
        self.notice();
        while let Some((_, name)) = self.unfinished.pop_front_if(|(since, _)| since.elapsed() >= STILL) {
            self.names.entry(name).or_insert(Appeared::Made);
        }
        if self.is_due || self.goes_on() {
            self.list(settings)?;
        }
        Ok(gone)
    }

    /// Takes over what the watch has noticed; whether there is anything.
    fn notice(&mut self) -> bool {
        let Some(watch) = &self.watch else { return false };
        let noticed = watch.noticed();
        let is_something = noticed.is_something();
        self.is_due |= noticed.overflowed || noticed.ended;
        if noticed.ended {
            self.watch = None;
        }
        for (name, appeared) in noticed.names {
            let known = self.names.entry(name).or_insert(appeared);
            *known = appeared.max(*known);
        }
        is_something
    }

    /// Lists everything, or what lies behind the end of a listing that was too long.
    fn list(&mut self, settings: &MaildirSettings) -> Result<(), SourceError> {
        let began = Instant::now();
        let stamps = self.maildir.stamps();
        let inodes = |stamps: &Stamps| stamps.map(|stamp| stamp.map(|(device, inode, _)| (device, inode)));
        if self.watch.as_ref().is_none_or(|watch| inodes(&watch.stamps) != inodes(&stamps)) {
            self.watch = self.begin_watch(settings);
        }
        let behind = match self.listing.take() {
            Some(last) if !self.is_due => Some(last),
            _ => None,
        };
        let (stamps, at) = behind.as_ref().map_or((stamps, SystemTime::now()), |last| (last.stamps, last.at));
        let last = behind.and_then(|last| last.goes_on_behind);
        let (names, more) = self.maildir.names(self.most_names, |name| last.as_ref().is_none_or(|last| name > last))?;
        let goes_on_behind = names.last().filter(|_| more).cloned();
        for name in names {
            self.names.entry(name).or_insert(Appeared::Whole);
        }
        self.listing = Some(Listing { stamps, at, ended: Instant::now(), took: began.elapsed(), goes_on_behind });
        self.is_due = false;
        Ok(())
    }

    fn begin_watch(&mut self, settings: &MaildirSettings) -> Option<Watch> {
        let watch = Watch::new(&self.maildir);
        if let Err(error) = &watch
            && !std::mem::replace(&mut self.said, true)
        {
            let (mailbox, path, poll) = (&self.maildir.mailbox, settings.path.display(), settings.poll);
            info!(mailbox, %path, "can't be watched ({error}), is looked at every {poll:?} instead");
        }
        watch.ok()
    }

    /// Whether the last listing has more names than were kept.
    fn goes_on(&self) -> bool {
        self.listing.as_ref().is_some_and(|listing| listing.goes_on_behind.is_some())
    }

    /// Looks at some of the names, and gives the places that are to be asked after.
    fn look_at_names(&mut self) -> Result<Vec<Place>, SourceError> {
        while self.asked.len() < CHUNK
            && self.unread.is_empty()
            && let Some((name, appeared)) = self.names.pop_first()
        {
            let MessageFile { place, path } = match self.maildir.file(&name, appeared)? {
                Found::Message(file) => file,
                Found::Unfinished => {
                    self.unfinished.push_back((Instant::now(), name));
                    continue;
                }
                Found::Nothing => continue,
            };
            if let Some(known) = self.under_way.get_mut(&place) {
                *known = path;
            } else if !self.pending.contains_key(&place) {
                self.asked.push(MessageFile { place, path });
            }
        }
        Ok(self.asked.iter().map(|file| file.place.clone()).collect())
    }

    /// Of those that were asked after these are to be read.
    fn answered(&mut self, unrecorded: Vec<Place>) {
        let unrecorded: HashSet<Place> = unrecorded.into_iter().collect();
        let asked = std::mem::take(&mut self.asked);
        self.unread.extend(asked.into_iter().filter(|file| unrecorded.contains(&file.place)));
    }

    /// Reads some of what is to be read, and notes what can't be.
    fn read(&mut self, settings: &MaildirSettings) -> Batch {
        let (mut messages, mut reading, mut octets) = (Vec::new(), Reading::default(), 0);
        while messages.len() < settings.batch.max(1) && octets < BATCH_OCTETS {
            let Some(MessageFile { place, path }) = self.unread.pop_front() else { break };
            let read = match files::read(&path, settings.max_message) {
                Ok(Some(read)) => read,
                // Somebody moved or removed it meanwhile. Under its new name it is found again.
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
            self.under_way.insert(place.clone(), path);
            messages.push(Message {
                place,
                received: read.modified,
                size: read.size,
                body: read.body.into(),
                rest: read.rest,
                delivered_to: Vec::new(),
            });
        }
        Batch { messages, reading }
    }

    /// Whether something that could not be read is to be tried again.
    fn pending_is_due(&self) -> bool {
        let now = now();
        self.pending.values().any(|retry| retry.is_due(now))
    }

    /// Finds the files of what is pending; those that are due come next. Gives the places that hold no message any
    /// more.
    fn find_pending(&mut self) -> Result<Vec<Place>, SourceError> {
        let found = self.maildir.find(&self.pending.keys().collect())?;
        let there: HashSet<&Place> = found.iter().map(|file| &file.place).collect();
        let gone: Vec<Place> = self.pending.keys().filter(|place| !there.contains(place)).cloned().collect();
        gone.iter().for_each(|place| {
            self.pending.remove(place);
        });
        let now = now();
        let is_due = |file: &MessageFile| self.pending.get(&file.place).is_some_and(|retry| retry.is_due(now));
        self.unread.extend(found.into_iter().filter(is_due));
        Ok(gone)
    }

    /// Whether there is something to fetch without a look at the directories.
    fn has_more(&mut self) -> bool {
        self.notice();
        let is_still = self.unfinished.front().is_some_and(|(since, _)| since.elapsed() >= STILL);
        let has_names = !self.unread.is_empty() || !self.names.is_empty() || is_still;
        has_names || self.is_due || self.goes_on() || self.pending_is_due()
    }

    /// What no watch tells: that of another machine on a network file system.
    fn glance(&mut self) {
        self.is_due |= self.look() != Look::Quiet;
        self.glanced = Instant::now();
    }

    /// Compares the directories with what they were when they were listed.
    fn look(&self) -> Look {
        let Some(listing) = &self.listing else { return Look::Changed };
        if !self.rest().is_zero() {
            return Look::Quiet;
        }
        let now = self.maildir.stamps();
        let settled = |time: SystemTime| listing.at.duration_since(time).is_ok_and(|age| age >= RACY);
        match listing.stamps == now {
            false => Look::Changed,
            true if now.iter().flatten().all(|(.., time)| settled(*time)) => Look::Quiet,
            true => Look::Unsure,
        }
    }

    /// How long the next listing has to wait that has no reason but changed directories.
    fn rest(&self) -> Duration {
        let times = if self.watch.is_some() { REST_WATCHED } else { REST };
        self.listing.as_ref().map_or(Duration::ZERO, |last| (last.took * times).saturating_sub(last.ended.elapsed()))
    }

    /// How long to wait for the watch.
    fn until_next_look(&self, poll: Duration) -> Duration {
        let now = now();
        let next_try =
            self.pending.values().map(|retry| Duration::from_secs((retry.next_try - now).max(0).unsigned_abs()));
        let still = self.unfinished.front().map(|(since, _)| STILL.saturating_sub(since.elapsed()));
        next_try.chain(still).fold(poll.saturating_sub(self.glanced.elapsed()), Duration::min)
    }

    /// Returns when the watch has noticed something; never where there is none.
    async fn hears(&mut self) {
        while let Some(watch) = &self.watch {
            watch.happens().await;
            if self.notice() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Says which could not be moved or flagged, and why.
    fn settle(&mut self, done: &[(Place, Disposition)]) -> Vec<(Place, String)> {
        let (mut lost, mut failed) = (HashSet::new(), Vec::new());
        for (place, disposition) in done {
            let path = self.under_way.remove(place);
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
        let found = if lost.is_empty() { Ok(Vec::new()) } else { self.maildir.find(&lost) };
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
        self.session = Some(Session {
            maildir: Maildir::new(&self.mailbox, self.settings.path.clone()),
            destination: Destination::Unchanged,
            unrecorded: resume.unrecorded,
            pending: resume.pending.into_iter().map(|Pending { place, retry }| (place, retry)).collect(),
            names: BTreeMap::new(),
            unfinished: VecDeque::new(),
            asked: Vec::new(),
            unread: VecDeque::new(),
            under_way: HashMap::new(),
            watch: None,
            said: false,
            listing: None,
            is_due: true,
            glanced: Instant::now(),
            most_names: MOST_NAMES,
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
        let gone = self.blocking(Session::find).await?;
        loop {
            let session = self.session()?;
            if session.unread.is_empty() && session.names.is_empty() {
                return Ok(Batch { reading: Reading { gone, ..Reading::default() }, ..Batch::default() });
            }
            let asked = self.blocking(|session, _| session.look_at_names()).await?;
            let session = self.session()?;
            let unrecorded = session.unrecorded.of(asked).await.map_err(SourceError::Lost)?;
            session.answered(unrecorded);
            let mut batch = self.blocking(|session, settings| Ok(session.read(settings))).await?;
            if !batch.is_empty() {
                batch.reading.gone = gone;
                return Ok(batch);
            }
        }
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
        // What happened until now a watch has told.
        if self.session()?.watch.is_none() {
            let look = self.blocking(|session, _| Ok(session.look())).await?;
            self.session()?.is_due |= look == Look::Changed;
        }
        let poll = self.settings.poll;
        let session = self.session()?;
        if session.has_more() {
            return Ok(());
        }
        let wait = session.until_next_look(poll);
        self.progress.until(wait);
        let heard = timeout(wait, self.session()?.hears()).await;
        self.progress.until(PATIENCE);
        if heard.is_err() && !self.session()?.has_more() {
            self.blocking(|session, _| {
                session.glance();
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.session = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A Maildir with these messages in `new`, and a source that has opened it.
    async fn opened(names: &[&str]) -> (tempfile::TempDir, MaildirSource) {
        let dir = tempfile::tempdir().unwrap();
        ["new", "cur", "tmp"].iter().for_each(|part| fs::create_dir(dir.path().join(part)).unwrap());
        names.iter().for_each(|name| fs::write(dir.path().join("new").join(name), "old").unwrap());
        let settings = format!("path = '{}'\npoll = '10ms'\nbatch = 2\nafter = 'leave'", dir.path().display());
        let mut source = MaildirSource::new("test", toml::from_str(&settings).unwrap());
        source.open(Resume::default()).await.unwrap();
        (dir, source)
    }

    async fn fetched(source: &mut MaildirSource) -> Vec<String> {
        let batch = source.fetch().await.unwrap();
        batch.messages.iter().map(|message| MaildirSource::describe(&message.place)).collect()
    }

    /// Delivers what no watch tells, as another machine does on a network file system.
    fn deliver_untold(dir: &tempfile::TempDir, source: &mut MaildirSource, name: &str) {
        fs::write(dir.path().join("new").join(name), "new").unwrap();
        let session = source.session().unwrap();
        let _ = session.watch.as_ref().map(Watch::noticed);
        session.listing.as_mut().unwrap().took = Duration::ZERO;
    }

    #[tokio::test]
    async fn without_a_watch_looking_finds_what_is_new() {
        let (dir, mut source) = opened(&[]).await;
        assert!(fetched(&mut source).await.is_empty());
        source.session().unwrap().watch = None;
        deliver_untold(&dir, &mut source, "1");
        source.wait().await.unwrap();
        assert_eq!(fetched(&mut source).await, ["1"]);
    }

    #[tokio::test]
    async fn what_a_watch_does_not_tell_is_found_by_looking_at_last() {
        let (dir, mut source) = opened(&[]).await;
        assert!(fetched(&mut source).await.is_empty());
        assert!(source.session().unwrap().watch.is_some());
        deliver_untold(&dir, &mut source, "1");
        source.wait().await.unwrap();
        assert_eq!(fetched(&mut source).await, ["1"]);
    }

    #[tokio::test]
    async fn without_a_watch_a_delivery_in_the_second_of_a_listing_is_found() {
        let (dir, mut source) = opened(&[]).await;
        let new = fs::File::open(dir.path().join("new")).unwrap();
        // As on a file server whose clock is ahead: whatever was listed, this directory changed a moment ago.
        let changed = SystemTime::now() + Duration::from_secs(3600);
        new.set_modified(changed).unwrap();
        assert!(fetched(&mut source).await.is_empty());
        deliver_untold(&dir, &mut source, "1");
        source.session().unwrap().watch = None;
        new.set_modified(changed).unwrap();
        timeout(Duration::from_secs(60), source.wait()).await.expect("it is looked at once more").unwrap();
        assert_eq!(fetched(&mut source).await, ["1"]);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_read_again_when_it_is_due_and_not_before() {
        let (_dir, mut source) = opened(&["1", "2"]).await;
        let place = source.fetch().await.unwrap().messages.remove(0).place;
        source.open(Resume::default()).await.unwrap();
        // No file has such a name: to open it fails whoever asks.
        source.session().unwrap().unread.push_back(MessageFile { place: place.clone(), path: "new/\0".into() });
        let batch = source.fetch().await.unwrap();
        assert_eq!(batch.reading.pending.iter().map(|pending| &pending.place).collect::<Vec<_>>(), [&place]);
        assert_eq!(fetched(&mut source).await, ["2"]);
        let session = source.session().unwrap();
        session.pending.values_mut().for_each(|retry| retry.next_try = 0);
        assert_eq!(fetched(&mut source).await, ["1"]);
    }

    #[tokio::test]
    async fn a_directory_that_has_the_number_of_the_one_before_it_is_watched_all_the_same() {
        let (dir, mut source) = opened(&[]).await;
        assert!(fetched(&mut source).await.is_empty());
        let new = dir.path().join("new");
        fs::remove_dir(&new).unwrap();
        fs::create_dir(&new).unwrap();
        let session = source.session().unwrap();
        session.watch.as_mut().unwrap().stamps = session.maildir.stamps();
        assert!(fetched(&mut source).await.is_empty());
        fs::write(new.join("1"), "new").unwrap();
        assert!(source.session().unwrap().watch.as_ref().unwrap().noticed().is_something());
    }

    #[tokio::test]
    async fn it_is_found_although_others_come_all_the_time() {
        let (dir, mut source) = opened(&[]).await;
        assert!(fetched(&mut source).await.is_empty());
        assert!(source.session().unwrap().watch.is_some());
        deliver_untold(&dir, &mut source, "untold");
        for n in 1..=500 {
            fs::write(dir.path().join(format!("new/{n}")), "told").unwrap();
            source.wait().await.unwrap();
            // The daemon, too, waits only when nothing is left.
            for _ in 0..2 {
                if fetched(&mut source).await.contains(&"untold".to_owned()) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("nobody looks");
    }

    #[tokio::test]
    async fn more_names_than_are_kept_come_one_part_after_the_other_and_each_once() {
        let (dir, mut source) = opened(&["1", "2", "3", "4", "5", "6", "7"]).await;
        source.session().unwrap().most_names = 3;
        let mut all = Vec::new();
        for _ in 0..5 {
            all.extend(fetched(&mut source).await);
            assert!(source.session().unwrap().names.len() <= 3);
        }
        // It comes before the end of the list, while that is still gone through.
        fs::write(dir.path().join("new/0"), "new").unwrap();
        while !source.session().unwrap().names.is_empty() || source.session().unwrap().has_more() {
            all.extend(fetched(&mut source).await);
        }
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    }

    /// Long ago, so that nobody can doubt it.
    fn age(dir: &tempfile::TempDir) {
        for part in ["new", "cur"] {
            let part = fs::File::open(dir.path().join(part)).unwrap();
            part.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        }
    }

    #[tokio::test]
    async fn a_quiet_mailbox_is_not_listed_again_and_again() {
        let (dir, mut source) = opened(&["1"]).await;
        age(&dir);
        assert_eq!(fetched(&mut source).await, ["1"]);
        let listed = |source: &mut MaildirSource| source.session().unwrap().listing.as_ref().unwrap().at;
        let at = listed(&mut source);
        for watched in [true, false] {
            if !watched {
                source.session().unwrap().watch = None;
            }
            for _ in 0..3 {
                source.wait().await.unwrap();
                assert!(fetched(&mut source).await.is_empty());
            }
        }
        assert_eq!(listed(&mut source), at);
    }

    #[tokio::test]
    async fn a_listing_that_takes_long_rests_long() {
        let (dir, mut source) = opened(&[]).await;
        assert!(fetched(&mut source).await.is_empty());
        age(&dir);
        let session = source.session().unwrap();
        session.listing.as_mut().unwrap().took = Duration::ZERO;
        assert_eq!(session.look(), Look::Changed);
        session.listing.as_mut().unwrap().took = Duration::from_secs(2);
        assert_eq!(session.look(), Look::Quiet);
        assert!(session.rest() > Duration::from_secs(1_900));
        session.watch = None;
        assert!(session.rest() <= Duration::from_secs(20) && session.look() == Look::Quiet);
        assert_eq!(session.until_next_look(Duration::from_secs(10)).as_secs_f32().round(), 10.0);
        let retry = Retry { first_failed: 0, tries: 1, next_try: now(), why: String::new() };
        session.pending.insert(Place::new("1/1"), retry);
        assert!(session.until_next_look(Duration::from_secs(10)).is_zero(), "what is due does not wait for it");
    }
}
