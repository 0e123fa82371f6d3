//! Files that follow a store: each reads through the store's interface what happened since the last time, and remembers
//! for itself how far it has come. Whatever a follower holds can be made anew from the store, so that a crash, a lost
//! or damaged file or a late start is no loss. What it never does by itself is to forget: a file that was made from
//! another store, or from a later state of this one, is left alone until a person decides. Knows no mail and no rule.

mod cdb;
mod mark;
mod traces;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use aho_corasick::AhoCorasick;
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{next_tick, ticks},
    config::Config,
    files::Quiet,
    report::Address,
    store::{Store, StoreError, sqlite::file::BUSY_TIMEOUT},
};

/// How often the files are looked at for the changes of others; the store is asked when one has changed.
const ASK: Duration = Duration::from_secs(1);

/// How long a busy file is left to its readers before a command tries again.
const BUSY_WAIT: Duration = Duration::from_millis(250);

/// A failure that lasts is said again after so long.
const SAY_AGAIN: Duration = Duration::from_secs(300);

/// A list that lacks what was recorded so many seconds ago does not follow: making one of millions of addresses anew
/// takes less, the rest before it included.
const MOST_BEHIND: i64 = 300;

/// A reader may hold a file for a moment; what lasts longer is worth a line.
const BUSY_TURNS: u32 = 3;

/// What all followers do.
trait Follower {
    /// What people call its file.
    const NAME: &'static str;

    /// How it changes its file.
    const UPDATE: Update;

    /// How many times as long as a turn took the next one waits.
    const REST: u32;

    /// How long it rests at least, so that changes that come one after the other are carried over together.
    const SPACING: Duration;

    /// The one that the configuration asks for; nothing is opened yet.
    fn configured(config: &Config) -> Self;

    /// Its file.
    fn path(&self) -> &Path;

    /// What the file says of itself; `None` where nothing can be lost: it is missing, empty or damaged.
    async fn state(&self) -> Result<Option<FileState>, StoreError>;

    /// Makes the file equal to what the store says.
    async fn start(&self, store: &Store) -> Result<(), StoreError>;

    /// Carries over what happened since the last time.
    async fn follow(&self, store: &Store) -> Result<Turn, StoreError>;

    /// The same for whoever can't wait: `false` when it was left to the next turn.
    async fn follow_at_once(&self, store: &Store) -> bool;

    /// Rids its file of what entries have left that are gone. One that is made anew with each change holds nothing else.
    async fn leave_no_traces(&self, _: &AhoCorasick) -> Result<(), StoreError> {
        Ok(())
    }
}

/// How a follower changes its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// It writes into it.
    InPlace,
    /// It makes a new one each time.
    Anew,
}

/// The file of a follower, for whoever shows or tries it.
#[derive(Debug, Clone, Copy)]
pub struct FollowerFile<'a> {
    /// What people call it.
    pub name: &'static str,
    /// Where it lies.
    pub path: &'a Path,
    /// How the follower changes it.
    pub update: Update,
}

/// What a turn has left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// All was carried over.
    Complete,
    /// Something happened meanwhile.
    More,
}

/// What a follower's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileState {
    /// The store that it was made from.
    store: String,
    /// How far it has come.
    revision: i64,
    /// Whether it lists nobody, so that nothing is lost with it.
    empty: bool,
}

impl FileState {
    /// Whether the file may be changed to what this store says.
    fn permits(&self, path: &Path, store: &str, newest: i64) -> Result<(), StoreError> {
        let what = if self.empty {
            return Ok(());
        } else if self.store != store {
            "was made from another database".to_owned()
        } else if self.revision > newest {
            format!("is newer ({}) than the database ({newest})", self.revision)
        } else {
            return Ok(());
        };
        Err(StoreError::Foreign(format!(
            "published list {} {what}, and is left as it is; put the right database back, or let this one replace the \
             list, once, with --accept-new-store of `bounced run`, or without a mailbox of `bounced receive` or \
             `bounced import`",
            path.display()
        )))
    }
}

/// A published list that can't follow the store, for people and health checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Its file.
    pub list: PathBuf,
    /// Why, and what to do.
    pub failure: String,
}

/// The one list of followers: each is a module of this floor with a struct of the same name that is a [`Follower`].
macro_rules! followers {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        $(mod $module; pub use $module::$name;)+

        /// Everybody who follows the store of an installation.
        #[derive(Debug, Clone)]
        pub struct Followers {
            accepts_new_store: bool,
            $($module: $name),+
        }

        impl Followers {
            /// Those that the configuration asks for; nothing is opened yet.
            #[must_use]
            pub fn configured(config: &Config) -> Self {
                Self {
                    accepts_new_store: config.suppressions.accept_new_store,
                    $($module: Follower::configured(config)),+
                }
            }

            /// Their files.
            #[must_use]
            pub fn files(&self) -> Vec<FollowerFile<'_>> {
                vec![$(FollowerFile {
                    name: <$name as Follower>::NAME,
                    path: Follower::path(&self.$module),
                    update: <$name as Follower>::UPDATE,
                }),+]
            }

            /// Makes each one equal to what the store says. For the start of the daemon. One that is
            /// busy is left to [`Followers::keep_up`].
            ///
            /// # Errors
            /// [`StoreError::Foreign`] when one holds what this store never said, unless the configuration accepts that;
            /// then none is changed. [`StoreError::Unusable`] when one can't be written.
            pub async fn start(&self, store: &Store) -> Result<(), StoreError> {
                $(match permits(&self.$module, store).await {
                    // From here on this store tells another story than the one that the list was made from.
                    Err(StoreError::Foreign(_)) if self.accepts_new_store => store.renew_id().await?,
                    done => done.map(drop)?,
                })+
                $(match self.$module.start(store).await {
                    Err(StoreError::Busy(why)) => tracing::warn!("{why}; trying again"),
                    done => done?,
                })+
                Ok(())
            }

            /// Carries over what happened since the last time. For a command, which waits for a busy file.
            ///
            /// # Errors
            /// As for [`Followers::start`]; the others are carried on all the same.
            pub async fn follow(&self, store: &Store) -> Result<(), StoreError> {
                // Parts of two databases would be taken for one.
                store.check_in_place()?;
                // Side by side: a long list takes each of them seconds.
                let ($($module,)+) = tokio::join!($(follow_to_the_end(&self.$module, store)),+);
                let done = Ok(());
                $(let done = done.and($module);)+
                done
            }

            /// Carries over what can be within a moment; the rest is for [`Followers::keep_up`].
            pub async fn follow_at_once(&self, store: &Store) {
                if store.check_in_place().is_err() {
                    return;
                }
                $(if !self.$module.follow_at_once(store).await {
                    tracing::debug!(list = %self.$module.path().display(), "published a little later");
                })+
            }

            /// Rids all files of what they still say of addresses that left the list, once that was carried over.
            ///
            /// # Errors
            /// As for [`Followers::start`].
            pub async fn leave_no_traces(&self, addresses: &[Address]) -> Result<(), StoreError> {
                let names = traces::names(addresses);
                $(
                    self.$module.leave_no_traces(&names).await?;
                    let file = self.$module.path();
                    traces::erase_damaged(file, &names).map_err(|error| file_error(file, &error))?;
                )+
                Ok(())
            }

            /// Carries over, until told to stop, what happens in the store: at once when `changed` says so, and now and
            /// then for the changes of others. Whatever fails is said and tried again, and holds nobody up.
            ///
            /// # Errors
            /// [`StoreError::Replaced`] alone.
            pub async fn keep_up(
                &self,
                store: &Store,
                changed: &watch::Sender<()>,
                stop: &CancellationToken,
            ) -> Result<(), StoreError> {
                tokio::try_join!($(keep_up(&self.$module, store, changed.subscribe(), ticks(), stop)),+).map(drop)
            }

            /// Whether all of them may carry over what this store says.
            ///
            /// # Errors
            /// Why the first one may not: [`StoreError::Foreign`] when it holds what this store never said.
            pub async fn permit(&self, store: &Store) -> Result<(), StoreError> {
                $(permits(&self.$module, store).await?;)+
                Ok(())
            }

            /// Those that do not follow this store, as of `now` (seconds since 1970-01-01 UTC).
            ///
            /// # Errors
            /// The store can't be read.
            pub async fn troubles(&self, store: &Store, now: i64) -> Result<Vec<Trouble>, StoreError> {
                let mut troubles = Vec::new();
                $(if let Some(failure) = trouble(&self.$module, store, now).await? {
                    troubles.push(Trouble { list: self.$module.path().to_owned(), failure });
                })+
                Ok(troubles)
            }

            /// A file that lists somebody, for whoever is about to make a new store.
            pub async fn list_that_would_be_lost(&self) -> Option<PathBuf> {
                $(
                    let file = self.$module.path();
                    let lists_nobody = match self.$module.state().await {
                        Ok(Some(held)) => held.empty,
                        // What can't be read may hold anything.
                        Ok(None) | Err(_) => file.metadata().map_or(true, |metadata| metadata.len() == 0),
                    };
                    if !lists_nobody {
                        return Some(file.to_owned());
                    }
                )+
                None
            }
        }
    };
}

followers! {
    published::Published,
    snapshot::Snapshot,
}

/// How far a follower's file has come.
enum Reached {
    /// There is none, or it is damaged.
    Nothing,
    /// It can't be read now.
    Unknown,
    Revision(i64),
}

/// How far a follower has come that may carry over what this store says. A file that can't be read now says nothing
/// against that.
async fn permits(follower: &impl Follower, store: &Store) -> Result<Reached, StoreError> {
    match follower.state().await {
        // The file is read first: what is committed meanwhile only makes the store newer.
        Ok(Some(held)) => {
            held.permits(follower.path(), &store.id().await?, store.newest_revision().await?)?;
            Ok(Reached::Revision(held.revision))
        }
        Ok(None) => Ok(Reached::Nothing),
        Err(StoreError::Busy(_)) => Ok(Reached::Unknown),
        Err(error) => Err(error),
    }
}

/// Why a file does not say what the store does, where that shows.
async fn trouble(follower: &impl Follower, store: &Store, now: i64) -> Result<Option<String>, StoreError> {
    let path = follower.path().display();
    if follower.path().is_dir() {
        return Ok(Some(format!(
            "published list {path} is a directory; move it away, or name another file in [suppressions]"
        )));
    }
    match permits(follower, store).await {
        Ok(Reached::Nothing) if store.newest_revision().await? > 0 => Ok(Some(format!(
            "published list {path} is missing or damaged, and no daemon has made it anew; its log says why not"
        ))),
        // One that can't be read now is asked after the next time.
        Ok(Reached::Nothing | Reached::Unknown) => Ok(None),
        Ok(Reached::Revision(revision)) => {
            let behind = store.first_change_since(revision).await?.map_or(0, |since| now - since);
            Ok((behind >= MOST_BEHIND).then(|| {
                format!(
                    "published list {path} is {} minutes behind the database; the daemon that keeps it does not run, \
                     or its log says why not",
                    behind / 60
                )
            }))
        }
        Err(error) => Ok(Some(error.to_string())),
    }
}

async fn follow_to_the_end(follower: &impl Follower, store: &Store) -> Result<(), StoreError> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match follower.follow(store).await {
            Ok(Turn::Complete) => return Ok(()),
            // Somebody changes it all the time, and publishes it as well.
            Ok(Turn::More) if Instant::now() >= give_up => return Ok(()),
            Ok(Turn::More) => {}
            Err(StoreError::Busy(_)) if Instant::now() < give_up => sleep(BUSY_WAIT).await,
            Err(error) => return Err(error),
        }
    }
}

async fn keep_up<F: Follower>(
    follower: &F,
    store: &Store,
    mut changed: watch::Receiver<()>,
    ticks: Instant,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut failures = Failures::default();
    let mut rested = Instant::now();
    let mut more = false;
    let (mut quiet, mut list) = (Quiet::default(), Quiet::default());
    // How far the store had come when all of it was carried over.
    let mut reached = None;
    loop {
        let wait = async {
            // The sender is whoever awaits this; it can't be gone.
            let told =
                timeout_at(if more { Instant::now() } else { next_tick(ticks, ASK) }, changed.changed()).await.is_ok();
            sleep_until(rested).await;
            told
        };
        let Some(told) = stop.run_until_cancelled(wait).await else { return Ok(()) };
        let began = Instant::now();
        let is_untouched = list.look([follower.path()], began);
        let is_quiet = quiet.look(store.files().iter().map(PathBuf::as_path), began);
        let is_idle = is_untouched && !told && !more && failures.in_a_row == 0;
        if is_quiet && is_idle {
            continue;
        }
        // A store that was moved, or whose log was deleted, does not look as it did.
        store.check_in_place()?;
        let newest = if is_idle { store.newest_revision().await.ok() } else { None };
        // What changed is none of a follower's business: somebody has renewed a lease, or read a mailbox.
        if newest.is_some() && newest == reached {
            quiet.note_asked(true, began);
            continue;
        }
        let turn = follower.follow(store).await;
        let mut rest = (began.elapsed() * F::REST).max(F::SPACING);
        more = matches!(turn, Ok(Turn::More));
        let is_complete = matches!(turn, Ok(Turn::Complete));
        reached = newest.filter(|_| is_complete);
        quiet.note_asked(is_complete, began);
        list.note_asked(is_complete, began);
        failures.note(follower.path(), turn.err());
        if failures.in_a_row > 0 {
            rest = rest.max(ASK);
        }
        rested = Instant::now() + rest;
    }
}

/// What is said of a file that can't follow: once, again when it lasts, and that it is over.
#[derive(Default)]
struct Failures {
    in_a_row: u32,
    said: Option<(String, Instant)>,
}

impl Failures {
    fn note(&mut self, path: &Path, failed: Option<StoreError>) {
        let Some(error) = failed else {
            self.in_a_row = 0;
            if self.said.take().is_some() {
                tracing::info!("published list {} follows the database again", path.display());
            }
            return;
        };
        self.in_a_row += 1;
        let text = error.to_string();
        let due = self.said.as_ref().is_none_or(|(said, at)| *said != text || at.elapsed() >= SAY_AGAIN);
        match error {
            StoreError::Busy(_) if self.in_a_row < BUSY_TURNS => return,
            _ if !due => return,
            StoreError::Busy(why) => tracing::warn!("{why}; nothing else waits for it"),
            error => tracing::error!("{error}"),
        }
        self.said = Some((text, Instant::now()));
    }
}

/// What went wrong with a file that is no database, as one line with what to do.
fn file_error(path: &Path, error: &io::Error) -> StoreError {
    let file = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Unusable(format!(
            "published list {file} cannot be written; give the user that runs bounced write permission on its directory"
        )),
        io::ErrorKind::NotFound => StoreError::Unusable(format!(
            "published list {file} cannot be made: its directory does not exist; create it"
        )),
        // A full disk among others: it passes.
        _ => StoreError::Busy(format!("published list {file} cannot be written: {error}; trying again helps")),
    }
}

/// The second form of an address, for mail servers that look up what their client wrote (RFC 6531 §3.2):
/// `bob@xn--bcher-kva.example` -> `bob@bücher.example`; `None` where that is the same.
fn with_u_labels(address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    if !domain.contains("xn--") {
        return None;
    }
    let (unicode, valid) = idna::domain_to_unicode(domain);
    (valid.is_ok() && unicode != domain).then(|| format!("{local}@{unicode}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A list whose every turn takes two seconds.
    struct Slow(AtomicU32);

    impl Follower for Slow {
        const NAME: &'static str = "slow list";
        const UPDATE: Update = Update::Anew;
        const REST: u32 = 9;
        const SPACING: Duration = Duration::ZERO;

        fn configured(_: &Config) -> Self {
            Self(AtomicU32::new(0))
        }

        fn path(&self) -> &Path {
            Path::new("slow")
        }

        async fn state(&self) -> Result<Option<FileState>, StoreError> {
            Ok(None)
        }

        async fn start(&self, _: &Store) -> Result<(), StoreError> {
            Ok(())
        }

        async fn follow(&self, _: &Store) -> Result<Turn, StoreError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(2)).await;
            Ok(Turn::More)
        }

        async fn follow_at_once(&self, _: &Store) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_list_that_takes_long_takes_a_tenth_of_the_time_and_the_first_turn_comes_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        tokio::time::pause();
        let (slow, changed, stop) =
            (Slow::configured(&Config::default()), watch::Sender::new(()), CancellationToken::new());
        let turns = || slow.0.load(Ordering::Relaxed);
        let everything = async {
            sleep(ASK / 2).await;
            assert_eq!(turns(), 0, "nothing has happened yet");
            changed.send_replace(());
            sleep(Duration::from_millis(10)).await;
            assert_eq!(turns(), 1);
            // Something changes all the time.
            for _ in 0..1_000 {
                changed.send_replace(());
                sleep(Duration::from_millis(200)).await;
            }
            stop.cancel();
        };
        let (kept, ()) = tokio::join!(keep_up(&slow, &store, changed.subscribe(), Instant::now(), &stop), everything);
        kept.unwrap();
        assert!((9..=11).contains(&turns()), "{} turns of 2 s in 200 s", turns());
    }

    #[tokio::test]
    async fn nobody_is_asked_as_long_as_no_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        let other = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        let list = dir.path().join("list");
        let mut quiet = Quiet::default();
        let mut now = Instant::now();
        let mut looks = |quiet: &mut Quiet| {
            now += ASK;
            let files = store.files();
            let is_quiet = quiet.look(files.iter().map(PathBuf::as_path).chain([list.as_path()]), now);
            if !is_quiet {
                quiet.note_asked(true, now);
            }
            is_quiet
        };
        let changes = async |what: u32| match what {
            0 => std::fs::write(&list, "edited").unwrap(),
            1 => other
                .suppress(&[Address::parse("ann@example.org").unwrap()], &crate::store::By::new("test", 0))
                .await
                .map(drop)
                .unwrap(),
            _ => std::fs::remove_file(&list).unwrap(),
        };
        for what in 0..3 {
            changes(what).await;
            assert!(!looks(&mut quiet), "{what}");
            assert!(!looks(&mut quiet), "once more, a second later");
            assert!((0..5).all(|_| looks(&mut quiet)));
        }
        quiet.note_asked(false, Instant::now());
        assert!(!looks(&mut quiet), "it failed");
    }

    #[test]
    fn only_a_list_of_somebody_from_elsewhere_or_later_is_refused() {
        let held = |store: &str, revision, empty| FileState { store: store.to_owned(), revision, empty };
        let may = |held: FileState| held.permits(Path::new("list"), "ours", 7).is_ok();
        assert!(may(held("ours", 7, false)) && may(held("ours", 3, false)));
        assert!(may(held("", 0, true)) && may(held("theirs", 3, true)) && may(held("ours", 8, true)));
        assert!(!may(held("theirs", 3, false)) && !may(held("ours", 8, false)) && !may(held("", 0, false)));
    }

    #[test]
    fn only_an_internationalised_domain_has_a_second_form() {
        assert_eq!(with_u_labels("bob@xn--bcher-kva.example").as_deref(), Some("bob@bücher.example"));
        assert_eq!(with_u_labels("*@xn--bcher-kva.example").as_deref(), Some("*@bücher.example"), "a whole domain");
        for address in ["bob@example.org", "*@example.org", "xn--bob@example.org", "bob@xn--.example", "bob"] {
            assert_eq!(with_u_labels(address), None, "{address}");
        }
    }
}
