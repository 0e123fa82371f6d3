//! The suppression list -> a constant database that mail servers read without a lock.
//!
//! Each change makes a new file, which is complete when it is renamed over the old one: no reader ever waits, finds
//! half a list or depends on a living daemon. It knows which store it follows and up to which revision, under a key
//! that no address can be. Two processes that rename at once may leave the older file behind; whoever renamed last
//! looks at the store once more and is told that there is more to do.

use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;

use super::{
    FileState, Follower, Turn, Update,
    cdb::{self, Writer},
    file_error, with_u_labels,
};
use crate::{
    config::Config,
    files::{Replacement, keep_damaged},
    store::{Entry, Store, StoreError},
};

/// The key of what the file says of itself. Its octet 0 is in no address and in nothing else that a mail server asks
/// for.
const OWN_KEY: &[u8] = b"\0bounced";

/// The file that mail servers read.
#[derive(Debug, Clone)]
pub struct Snapshot {
    path: PathBuf,
    /// Whose mode and owner a new file takes.
    model: PathBuf,
    /// Whether the file may be replaced even though another store made it: once, by the start that was asked to.
    accepts: Arc<AtomicBool>,
}

/// What lies at the path.
enum Found {
    Nothing,
    Ours(FileState),
    /// Somebody else's constant database.
    Theirs,
    Damaged,
}

impl Follower for Snapshot {
    const NAME: &'static str = "published cdb";
    const UPDATE: Update = Update::Anew;
    // A tenth of the time at most.
    const REST: u32 = 9;
    const SPACING: Duration = Duration::ZERO;

    fn configured(config: &Config) -> Self {
        Self {
            path: config.suppressions.cdb_path(),
            model: config.suppressions.path.clone(),
            accepts: Arc::new(AtomicBool::new(config.suppressions.accept_new_store)),
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    async fn state(&self) -> Result<Option<FileState>, StoreError> {
        match self.found()? {
            Found::Ours(held) => Ok(Some(held)),
            Found::Nothing | Found::Damaged => Ok(None),
            Found::Theirs => Err(StoreError::foreign_file(&self.path)),
        }
    }

    async fn start(&self, store: &Store) -> Result<(), StoreError> {
        self.follow(store).await.map(drop)
    }

    async fn follow(&self, store: &Store) -> Result<Turn, StoreError> {
        let turn = self.carry_over(store).await?;
        self.accepts.store(false, Ordering::Relaxed);
        Ok(turn)
    }

    async fn follow_at_once(&self, _: &Store) -> bool {
        // A long list takes longer than a moment.
        false
    }
}

impl Snapshot {
    async fn carry_over(&self, store: &Store) -> Result<Turn, StoreError> {
        let id = store.id().await?;
        let found = self.found()?;
        let newest = store.newest_revision().await?;
        match found {
            Found::Theirs => return Err(StoreError::foreign_file(&self.path)),
            Found::Ours(held) if held.store == id && held.revision <= newest => {
                if held.revision == newest || !store.list_changed_since(held.revision).await? {
                    return Ok(Turn::Complete);
                }
            }
            Found::Ours(held) if !self.accepts.load(Ordering::Relaxed) => held.permits(&self.path, &id, newest)?,
            Found::Damaged => {
                let kept = keep_damaged(&self.path).map_err(|error| file_error(&self.path, &error))?;
                tracing::warn!(
                    "published list {} was damaged and is made anew; what was there is kept as {}",
                    self.path.display(),
                    kept.display()
                );
            }
            Found::Ours(_) | Found::Nothing => {}
        }
        self.build(store, &id, newest).await?;
        Ok(if store.list_changed_since(newest).await? { Turn::More } else { Turn::Complete })
    }

    fn found(&self) -> Result<Found, StoreError> {
        match self.look() {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Found::Damaged),
            Err(error) => Err(file_error(&self.path, &error)),
        }
    }

    fn look(&self) -> io::Result<Found> {
        // A pipe in its place must not hold anybody up.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Found::Nothing);
        }
        let Some(own) = cdb::look_up(&file, OWN_KEY)? else { return Ok(Found::Theirs) };
        let held = String::from_utf8(own).ok().and_then(|own| {
            let mut words = own.split(' ');
            let store = words.next()?.to_owned();
            let revision = words.next()?.parse().ok()?;
            Some(FileState { store, revision, empty: words.next()? == "0" })
        });
        held.map(Found::Ours).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    async fn build(&self, store: &Store, id: &str, revision: i64) -> Result<(), StoreError> {
        let failed = |error: io::Error| file_error(&self.path, &error);
        let replacement = Replacement::begin(&self.path, Some(&self.model)).map_err(failed)?;
        let mut writer = Writer::new(replacement.file().map_err(failed)?).map_err(failed)?;
        let mut written = 0_u64;
        let mut pages = store.entries();
        while let Some(page) = pages.try_next().await? {
            for entry in &page {
                add(&mut writer, entry).map_err(failed)?;
            }
            written += page.len() as u64;
            tokio::task::yield_now().await;
        }
        writer.add(OWN_KEY, format!("{id} {revision} {written}").as_bytes()).map_err(failed)?;
        // The disk may take long.
        let finished = tokio::task::spawn_blocking(move || writer.finish().and_then(|_| replacement.commit()));
        finished.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }
}

/// Both forms of an internationalised domain: a mail server looks up what its client wrote (RFC 6531 §3.2).
fn add(writer: &mut Writer, entry: &Entry) -> io::Result<()> {
    let reason = entry.reason.as_deref().unwrap_or(entry.origin.as_str());
    // Not `format!`: it would be a good part of what a long list costs.
    let value = ["REJECT 5.1.1 Recipient is on our suppression list: ", reason].concat();
    writer.add(entry.address.as_bytes(), value.as_bytes())?;
    match with_u_labels(&entry.address) {
        Some(address) => writer.add(address.as_bytes(), value.as_bytes()),
        None => Ok(()),
    }
}
