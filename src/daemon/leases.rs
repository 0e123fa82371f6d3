//! Which mailboxes this daemon reads, where others on the same database would read them as well: each is read by one, and
//! the others wait to take over. What decides is written in the database and refused there ([`StoreError::Overtaken`]); no
//! clock of the day is asked, and none that runs on while the machine sleeps.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard},
    time::Duration,
};

use data_encoding::HEXLOWER;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::lock::Lock;
use crate::{
    app::Recorder,
    clock::{Moment, next_tick, now, ticks},
    config::Config,
    files::Quiet,
    store::{Holder, Lease, Store, StoreError},
};

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(10);
/// A lease that was not renewed for so long is taken by whoever waits for it: after two renewals that did not come.
const RUN_OUT: Duration = Duration::from_secs(30);
/// How often those that wait ask: once for all mailboxes.
const ASK: Duration = Duration::from_secs(1);

/// How the one who had the lease before came to lose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It was told to stop, or lives and does nothing, as on a machine that was suspended: it died over no message.
    Alive,
    /// It died, perhaps over what it was reading.
    Dead,
}

/// The leases that this daemon has and wants.
pub(super) struct Leases {
    config: Config,
    recorder: Arc<Recorder>,
    store: Store,
    me: Holder,
    lock: Lock,
    /// Of each mailbox that is read here, what is cancelled once it is not ours any more; `None` while it is not.
    ours: watch::Sender<BTreeMap<String, Option<CancellationToken>>>,
    /// Somebody has noticed that a lease is gone.
    noticed: Notify,
    /// Leases of others, and since when they stand as they do.
    seen: RwLock<HashMap<String, (Lease, Instant)>>,
    /// Whether the store has changed since it was asked about them.
    quiet: Mutex<Quiet>,
    /// Of leases that are taken already, and of which the store could not be asked yet over what the one before died.
    half_taken: RwLock<HashMap<String, Before>>,
}

impl Leases {
    /// None is taken yet. `names` are the mailboxes and mail logs that are read.
    pub(super) fn new(
        config: &Config,
        recorder: &Arc<Recorder>,
        store: Store,
        lock: Lock,
        names: impl IntoIterator<Item = String>,
    ) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let id = HEXLOWER.encode(&rand::random::<[u8; 16]>());
        let me = Holder { id, name: format!("{host}, process {}", std::process::id()) };
        Self {
            config: config.clone(),
            recorder: Arc::clone(recorder),
            store,
            me,
            lock,
            ours: watch::Sender::new(names.into_iter().map(|name| (name, None)).collect()),
            noticed: Notify::new(),
            seen: RwLock::default(),
            quiet: Mutex::default(),
            half_taken: RwLock::default(),
        }
    }

    /// Whether this mailbox is ours now; what is given is cancelled when it is not any more.
    pub(super) fn have(&self, mailbox: &str) -> Option<CancellationToken> {
        self.ours.borrow().get(mailbox).cloned().flatten()
    }

    /// Waits until this mailbox is ours.
    pub(super) async fn wait_for(&self, mailbox: &str) -> CancellationToken {
        let mut ours = self.ours.subscribe();
        loop {
            if let Some(lost) = self.have(mailbox) {
                return lost;
            }
            // The sender is ours, and lives as long.
            let _ = ours.changed().await;
        }
    }

    /// The store has refused something, since another daemon has this mailbox.
    pub(super) fn overtaken(&self, mailbox: &str) {
        if self.lose(mailbox) {
            self.noticed.notify_one();
        }
    }

    /// Renews what is ours and takes what is free, until told to stop.
    ///
    /// # Errors
    /// See [`StoreError`]; a store that is busy is asked again.
    pub(super) async fn keep(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut renewal = Instant::now();
        loop {
            let waiting = self.waiting();
            let next = if waiting.is_empty() { renewal } else { renewal.min(next_tick(ticks(), ASK)) };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.noticed.notified() => {}
                () = sleep_until(next) => {}
            }
            let due = Instant::now() >= renewal;
            match self.turn(due).await {
                Ok(()) if due => renewal = next_tick(ticks(), RENEWAL),
                Ok(()) => {}
                // Long before it runs out.
                Err(StoreError::Busy(why)) => {
                    tracing::debug!("leases are looked after in a moment: {why}");
                    renewal = Instant::now() + ASK;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what is free, and renews what is ours where that is due or others should see a change.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn turn(&self, due: bool) -> Result<(), StoreError> {
        if due {
            // Whoever looks for the lock wants to know whether a daemon runs.
            self.lock.take();
        }
        let waiting = self.waiting();
        let mut changed = false;
        let asked = Instant::now();
        if !waiting.is_empty() && (due || !self.is_quiet(asked)) {
            let leases = self.store.leases().await?;
            for mailbox in &waiting {
                changed |= self.try_take(mailbox, &leases).await?;
            }
            self.quiet.lock().unwrap_or_else(PoisonError::into_inner).note_asked(true, asked);
        }
        if due || changed {
            let held = self.store.renew_leases(&self.me, self.lock.is_held(), &self.waiting(), Moment::now()).await?;
            let believed: Vec<String> = self.ours.borrow().keys().cloned().collect();
            for mailbox in believed.iter().filter(|mailbox| !held.contains(mailbox)) {
                self.lose(mailbox);
            }
        }
        Ok(())
    }

    /// Gives back what is ours; whoever waits takes it at once.
    ///
    /// # Errors
    /// See [`StoreError`]; the leases run out then, or end with the lock.
    pub(super) async fn release(&self) -> Result<(), StoreError> {
        self.store.release_leases(&self.me).await
    }

    /// This daemon ends because it was told to.
    pub(super) fn note_stop(&self) {
        self.lock.note_stop();
    }

    /// Whether no lease can be free that was not when the store was asked last.
    fn is_quiet(&self, now: Instant) -> bool {
        let files = self.store.files();
        let looks_so =
            self.quiet.lock().unwrap_or_else(PoisonError::into_inner).look(files.iter().map(PathBuf::as_path), now);
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let runs_out = seen.values().any(|(_, since)| since.elapsed() >= RUN_OUT);
        let had_lock = self.lock.is_held();
        looks_so && !runs_out && had_lock == self.lock.take()
    }

    fn waiting(&self) -> Vec<String> {
        self.ours.borrow().iter().filter(|(_, lost)| lost.is_none()).map(|(mailbox, _)| mailbox.clone()).collect()
    }

    /// Says whether others should see a change: it was taken, or is waited for from now on.
    async fn try_take(&self, mailbox: &str, leases: &[Lease]) -> Result<bool, StoreError> {
        let lease = leases.iter().find(|lease| lease.mailbox == mailbox);
        let (unchanged, is_news) = self.observe(mailbox, lease);
        let has_lock = self.lock.take();
        let lock = Locked { is_ours: has_lock, last_was_stopped: self.lock.last_was_stopped() };
        let Some(before) = free(lease, leases.is_empty(), &self.me, lock, unchanged) else {
            if is_news {
                let by = lease.map_or("one of an earlier version", |lease| lease.daemon.as_str());
                tracing::info!(mailbox, by, "another daemon reads this mailbox; waiting to take over");
            }
            return Ok(is_news);
        };
        if !self.store.take_lease(mailbox, lease, &self.me, has_lock, Moment::now()).await? {
            return Ok(false);
        }
        // From now on the lease tells of us alone: what is known of the one before is kept until it is counted.
        let before = *self.half_taken().entry(mailbox.to_owned()).or_insert(before);
        self.recorder.take_over(&self.config, mailbox, before == Before::Dead, now()).await?;
        self.half_taken().remove(mailbox);
        let waited = self.seen.write().unwrap_or_else(PoisonError::into_inner).remove(mailbox).is_some();
        // After a clean stop and start there is nobody from whom to take anything.
        let was_given_back = |lease: &Lease| is_news && lease.owner.is_none();
        if let Some(Lease { daemon: from, .. }) = lease.filter(|lease| waited && !was_given_back(lease)) {
            tracing::info!(mailbox, from, "took over this mailbox");
        }
        self.ours.send_modify(|ours| {
            ours.insert(mailbox.to_owned(), Some(CancellationToken::new()));
        });
        Ok(waited)
    }

    fn half_taken(&self) -> RwLockWriteGuard<'_, HashMap<String, Before>> {
        self.half_taken.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long this lease stands as it does, and whether it was waited for before.
    fn observe(&self, mailbox: &str, lease: Option<&Lease>) -> (Duration, bool) {
        let Some(lease) = lease else { return (Duration::ZERO, false) };
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = !seen.contains_key(mailbox);
        let since = match seen.get(mailbox) {
            Some((known, since)) if known == lease => *since,
            _ => Instant::now(),
        };
        seen.insert(mailbox.to_owned(), (lease.clone(), since));
        (since.elapsed(), is_news)
    }

    /// Says whether that is news.
    fn lose(&self, mailbox: &str) -> bool {
        let mut token = None;
        self.ours.send_modify(|ours| token = ours.get_mut(mailbox).and_then(Option::take));
        let Some(token) = token else { return false };
        tracing::warn!(
            mailbox,
            "another daemon has taken over this mailbox: what was read of it and is not recorded is left to it"
        );
        token.cancel();
        true
    }
}

/// What is known of the lock beside the database.
#[derive(Debug, Clone, Copy)]
struct Locked {
    is_ours: bool,
    /// Whoever had it before was told to stop.
    last_was_stopped: bool,
}

/// Whether a lease may be taken that was not renewed for so long, and what became of whoever had it.
fn free(lease: Option<&Lease>, is_first: bool, me: &Holder, lock: Locked, unchanged: Duration) -> Option<Before> {
    let by_lock = if lock.last_was_stopped { Before::Alive } else { Before::Dead };
    match lease {
        // A daemon of an earlier version has no leases, and the lock.
        None if lock.is_ours => Some(by_lock),
        None if is_first => None,
        None => Some(Before::Alive),
        Some(lease) if lease.owner.as_deref().is_none_or(|owner| owner == me.id) => Some(Before::Alive),
        // Only one has it at a time, and the kernel takes it from the dead.
        Some(lease) if lock.is_ours && lease.holds_lock => Some(by_lock),
        Some(lease) if unchanged >= RUN_OUT => Some(if lease.holds_lock { Before::Alive } else { Before::Dead }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

    use super::*;
    use crate::{app::Judge, message::Place};

    #[tokio::test]
    async fn a_death_is_counted_also_where_the_store_could_not_count_it_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.path = dir.path().join("bounced.db");
        config.suppressions.path = dir.path().join("list.db");
        let store = Store::open(&config.database.path).await.unwrap();
        let dead = Holder { id: "dead".into(), name: "here".into() };
        let started = Lock::open(&config.database.path).unwrap();
        assert!(store.take_lease("box", None, &dead, started.is_held(), Moment::now()).await.unwrap());
        store.attempt("box", &[&Place::new("7:1")]).await.unwrap();
        drop(started);

        let mut file =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&config.database.path)).await.unwrap();
        let fails = "CREATE TRIGGER fails BEFORE UPDATE ON attempt BEGIN SELECT RAISE(ABORT, 'not now'); END";
        file.execute(fails).await.unwrap();
        let recorder = Arc::new(Recorder::new(&config, Judge::embedded(), store.clone(), 0).await.unwrap());
        let lock = Lock::open(&config.database.path).unwrap();
        let leases = Leases::new(&config, &recorder, store.clone(), lock, ["box".to_owned()]);
        assert!(leases.turn(false).await.is_err() && leases.have("box").is_none());
        file.execute("DROP TRIGGER fails").await.unwrap();
        leases.turn(false).await.unwrap();
        assert!(leases.have("box").is_some());
        let deaths: i64 = sqlx::query_scalar("SELECT deaths FROM attempt").fetch_one(&mut file).await.unwrap();
        assert_eq!(deaths, 1);
    }

    #[test]
    fn a_lease_is_free_when_it_was_given_back_or_its_owner_is_dead_or_silent_for_long() {
        let me = Holder { id: "me".into(), name: "here".into() };
        let of = |owner: Option<&str>, holds_lock| {
            let owner = owner.map(str::to_owned);
            Lease { mailbox: "box".into(), token: 1, owner, daemon: "there".into(), holds_lock, renewals: 7 }
        };
        let locked = |is_ours, last_was_stopped| Locked { is_ours, last_was_stopped };
        let (theirs, ours, stopped) = (locked(false, false), locked(true, false), locked(true, true));
        let soon = RUN_OUT - Duration::from_millis(1);
        let (alive, dead) = (Some(Before::Alive), Some(Before::Dead));
        for (what, lease, is_first, lock, unchanged, expected) in [
            ("the first", None, true, ours, soon, dead),
            ("the first after a stop", None, true, stopped, soon, alive),
            ("beside an earlier version", None, true, theirs, RUN_OUT, None),
            ("a mailbox more", None, false, theirs, soon, alive),
            ("given back", Some(of(None, true)), false, theirs, soon, alive),
            ("our own", Some(of(Some("me"), false)), false, theirs, soon, alive),
            ("killed", Some(of(Some("it"), true)), false, ours, Duration::ZERO, dead),
            ("stopped, and the database did not hear", Some(of(Some("it"), true)), false, stopped, soon, alive),
            ("at work", Some(of(Some("it"), true)), false, theirs, soon, None),
            ("at work without the lock", Some(of(Some("it"), false)), false, ours, soon, None),
            ("asleep", Some(of(Some("it"), true)), false, theirs, RUN_OUT, alive),
            ("silent, and nobody knows why", Some(of(Some("it"), false)), false, ours, RUN_OUT, dead),
        ] {
            assert_eq!(free(lease.as_ref(), is_first, &me, lock, unchanged), expected, "{what}");
        }
    }
}
