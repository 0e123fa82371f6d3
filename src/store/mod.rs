//! Judged messages -> rows, and the suppression list with everything that happened to it. Knows nothing of mail formats
//! and of rules; whether a bounce suppresses its address is the policy's answer.
//!
//! Nothing above this floor knows which database it is. Times are seconds since 1970-01-01 UTC.

mod brake;
mod error;
mod event;
mod failures;
mod figures;
mod forgotten;
mod history;
mod import;
mod lease;
mod list;
mod list_changes;
mod mailbox;
mod plan;
mod reclassify;
mod retention;
mod review;
mod sent;
pub(crate) mod sqlite;
mod tokens;
mod totals;
mod unrecognised;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

pub use error::StoreError;
pub use event::{Changes, Event, EventKind};
pub use figures::{Alarm, Figures, FiguresBy, FiguresOf, FiguresTable};
pub use forgotten::{Erased, Forgotten};
use futures::Stream;
pub use history::{AddressHistory, Alive, Cause, PastChange};
pub use import::{Imported, Importing, WithoutNote};
pub use lease::{Holder, Lease, MailboxDaemons, ShownDaemon};
pub use list::{Allowed, By, Entry, ListSelection, Listed, NewlyAllowed, Revived, TakenOff};
pub use mailbox::{Failure, HandedOverTotal, Heartbeat, MailboxStatus, PendingAnswer, PendingMessage};
pub use plan::JudgedMessage;
pub use reclassify::{Anew, Differences, JudgeAnew, Judged, ListDifference, ListedAs, Progress, TablesVersion};
pub use retention::Records;
pub use review::{Answered, Held, HeldAnswer, HeldSelection};
pub use sent::{LogReading, LogStatus, Sent};
use sqlite::SqliteStore;
pub use unrecognised::Unrecognised;

use crate::{
    clock::Moment,
    message::{Place, Reading, Resume, Retry, Unsettled},
    policy::{
        Policy,
        alarms::{AlarmChanges, AlarmFacts},
    },
    report::{Address, Trusts},
    suppression::Suppression,
};

/// The database of one installation. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// An SQLite file.
    Sqlite(SqliteStore),
}

/// A message that was being read when the process died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Where it lies in its mailbox.
    pub place: Place,
    /// How often the process died while this message was read and no other.
    pub deaths: u32,
    /// Whether that was too often: it is pending now, and tried again slowly.
    pub set_aside: bool,
}

/// What a commit changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Messages recorded for the first time.
    pub new: usize,
    /// Messages that were recorded before, or twice in the batch.
    pub duplicates: usize,
    /// What waits for a person now.
    pub held: usize,
    /// Entries whose time was over, or that a sign of life ended.
    pub ended: usize,
    /// Addresses that went onto the suppression list, or whose entry was replaced by one that says more.
    pub suppressed: Vec<Suppression>,
    /// Remotes that called more addresses dead than can be true.
    pub braked: Vec<BrakedRemote>,
}

/// What became of things that nobody had vouched for when they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raised {
    /// How many bounces, complaints and signs of life are believed now.
    pub count: u64,
    /// What that changed.
    pub changes: Committed,
}

/// A remote that called more addresses dead within an hour than can be true, as far as one commit goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrakedRemote {
    /// Its name, as `bounced review` has it.
    pub remote: String,
    /// How many addresses wait instead of coming onto the list.
    pub held: usize,
    /// How many more went onto it before, and are taken off it again.
    pub taken_back: usize,
}

impl Store {
    /// Opens the database, makes it when it is missing (but not its directory), brings its tables up to date, and lets
    /// others read it while it is written. For who keeps it open.
    ///
    /// # Errors
    /// See [`StoreError`]; the text names the path and says what to do.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        SqliteStore::open(path).await.map(Self::Sqlite)
    }

    /// Opens a database that is there, and brings its tables up to date. For commands: they have nothing to say about a
    /// store that was never made, and leave it to others how it is read.
    ///
    /// # Errors
    /// Besides those of [`Store::open`]: [`StoreError::Unusable`] when there is no such database.
    pub async fn open_existing(path: &Path) -> Result<Self, StoreError> {
        SqliteStore::open_existing(path).await.map(Self::Sqlite)
    }

    /// Opens the database for whoever only asks: nothing is made or mended, no writer is waited for, and no permission
    /// to write is needed. What changes a store fails on this one.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Unusable`] when there is no such database, or one of another version.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        SqliteStore::open_to_read(path).await.map(Self::Sqlite)
    }

    /// Finishes what is under way and closes the database: what [`Store::open`] opened is one file afterwards that can
    /// be read alone, unless others have it open.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
        }
    }

    /// Gives the store another id: whatever followed it before follows it no more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn renew_id(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.renew_id().await,
        }
    }

    /// Whether the database at its path is still the one that is open. Asked before a mail is moved away: what is
    /// written into a file that was deleted or replaced is lost.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] when it is not.
    pub fn check_in_place(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.check_in_place(),
        }
    }

    /// The files that change with each commit.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        match self {
            Self::Sqlite(store) => store.files(),
        }
    }

    /// Tells this store from any other.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn id(&self) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(store) => store.id().await,
        }
    }

    /// Notes that these messages of a mailbox, and no others of it, are about to be read. The commit that records a
    /// message takes its note away.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attempt(&self, mailbox: &str, places: &[&Place]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.attempt(mailbox, places).await,
        }
    }

    /// The messages of a mailbox that were being read when the last process that read it ended; none where it ended
    /// well. A message that was read alone at two deaths is pending from now on (`now` in seconds since 1970-01-01 UTC).
    /// For whoever begins to read it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn deaths(&self, mailbox: &str, now: i64) -> Result<Vec<Death>, StoreError> {
        match self {
            Self::Sqlite(store) => store.deaths(mailbox, now).await,
        }
    }

    /// The last process that read a mailbox was told to end, and did not die over the messages that it was reading.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn nobody_died(&self, mailbox: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.nobody_died(mailbox).await,
        }
    }

    /// All leases that there are, or were and are given back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        match self {
            Self::Sqlite(store) => store.leases().await,
        }
    }

    /// Takes the lease of a mailbox, which is still as it was `seen`; `false` where it is not. From then on nothing is
    /// written for this mailbox by this store once somebody else has taken it ([`StoreError::Overtaken`]).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take_lease(
        &self,
        mailbox: &str,
        seen: Option<&Lease>,
        by: &Holder,
        holds_lock: bool,
        at: Moment,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.take_lease(mailbox, seen, by, holds_lock, at).await,
        }
    }

    /// Renews the leases of a daemon, and shows what it waits for; says which mailboxes it has.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn renew_leases(
        &self,
        by: &Holder,
        holds_lock: bool,
        waits_for: &[String],
        at: Moment,
    ) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(store) => store.renew_leases(by, holds_lock, waits_for, at).await,
        }
    }

    /// Gives back all leases of a daemon that was told to end.
    ///
    /// # Errors
    /// See [`StoreError`]; they run out then.
    pub async fn release_leases(&self, by: &Holder) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.release_leases(by).await,
        }
    }

    /// Which daemons read the mailboxes, and which ones wait, in the order of the mailboxes' names.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn daemons(&self) -> Result<Vec<MailboxDaemons>, StoreError> {
        match self {
            Self::Sqlite(store) => store.daemons().await,
        }
    }

    /// Records a batch, what the policy draws from it, the events, and how far the mailbox is read, all or nothing.
    ///
    /// A message that was recorded before (by its SHA-256) adds no rows, unless it named nobody then and names somebody
    /// now; its place still counts as unsettled until [`Store::settled`]. So the same batch may be committed again
    /// after any crash.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is written then.
    pub async fn commit(
        &self,
        mailbox: &str,
        batch: &[JudgedMessage],
        reading: &Reading,
        policy: &Policy,
    ) -> Result<Committed, StoreError> {
        match self {
            Self::Sqlite(store) => store.commit(mailbox, batch, reading, policy).await,
        }
    }

    /// Notes at `now` that our own mail can be told from what strangers write, if that is new; says since when.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn vouch_from(&self, now: i64) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(store) => store.vouch_from(now).await,
        }
    }

    /// Since when our own mail can be told from what strangers write; `None` while it can't.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn vouching_since(&self) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(store) => store.vouching_since().await,
        }
    }

    /// How far a message could be believed if it were recorded now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn trusts(&self, judged: &JudgedMessage) -> Result<Trusts, StoreError> {
        match self {
            Self::Sqlite(store) => store.trusts(judged).await,
        }
    }

    /// Believes what speaks of messages of which it is known by `now` (seconds since 1970-01-01 UTC) that we sent them, and
    /// decides about it as about a mail that is read late; some at a time, `None` where there is nothing left.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn raise_due(&self, policy: &Policy, now: i64) -> Result<Option<Raised>, StoreError> {
        match self {
            Self::Sqlite(store) => store.raise_due(policy, now).await,
        }
    }

    /// Whether [`Store::raise_due`] has anything to decide about at `now` (seconds since 1970-01-01 UTC).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn is_any_due(&self, now: i64) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.is_any_due(now).await,
        }
    }

    /// Looks for what [`Store::raise_due`] may believe at `now` among all bounces and complaints received since then; both
    /// in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ask_again(&self, since: i64, now: i64) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.ask_again(since, now).await,
        }
    }

    /// Keeps what was sent, at `now`, as keyed hashes, and counts what was not known yet; says how much that was.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is kept then.
    pub async fn record_sent(&self, sent: &[Sent], now: i64) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.record_sent(sent, now).await,
        }
    }

    /// How far a mail log was read, and what was known then of messages on their way, by their queue IDs.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn log_resume(&self, name: &str) -> Result<Option<(String, Vec<(String, String)>)>, StoreError> {
        match self {
            Self::Sqlite(store) => store.log_resume(name).await,
        }
    }

    /// Keeps what a mail log told together with how far it was read. [`Store::vouch_from`] goes before.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is kept then.
    pub async fn commit_log(&self, name: &str, reading: &LogReading) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.commit_log(name, reading).await,
        }
    }

    /// How far each mail log was read that ever was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn mail_logs(&self) -> Result<Vec<LogStatus>, StoreError> {
        match self {
            Self::Sqlite(store) => store.mail_logs().await,
        }
    }

    /// What an earlier run left of a mailbox; [`Store::unrecorded`] tells what else it left.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn resume(&self, mailbox: &str) -> Result<Resume, StoreError> {
        match self {
            Self::Sqlite(store) => store.resume(mailbox).await,
        }
    }

    /// Which of these places nothing is known of: no message is recorded there, and none is pending.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unrecorded(&self, mailbox: &str, places: Vec<Place>) -> Result<Vec<Place>, StoreError> {
        match self {
            Self::Sqlite(store) => store.unrecorded(mailbox, places).await,
        }
    }

    /// Messages that are committed but perhaps not settled, and are due at `now` (seconds since 1970-01-01 UTC): those
    /// that wait longest, at most `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unsettled(&self, mailbox: &str, now: i64, limit: u32) -> Result<Vec<Unsettled>, StoreError> {
        match self {
            Self::Sqlite(store) => store.unsettled(mailbox, now, limit).await,
        }
    }

    /// Notes that these messages could not be settled, and when that is tried again.
    ///
    /// # Errors
    /// See [`StoreError`]; they are due at once then.
    pub async fn put_off(&self, mailbox: &str, failed: &[(Place, Retry)]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.put_off(mailbox, failed).await,
        }
    }

    /// Notes that these messages were moved, flagged or left alone, as they were to be.
    ///
    /// # Errors
    /// See [`StoreError`]; they are settled once more after the next start then, which does no harm.
    pub async fn settled(&self, mailbox: &str, done: &[Place]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.settled(mailbox, done).await,
        }
    }

    /// Notes at `at` how reading a mailbox went.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn heartbeat(&self, mailbox: &str, at: Moment, beat: Heartbeat<'_>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.heartbeat(mailbox, at, beat).await,
        }
    }

    /// The messages that could not be read yet, mailbox by mailbox, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pending(&self) -> Result<Vec<PendingMessage>, StoreError> {
        match self {
            Self::Sqlite(store) => store.pending().await,
        }
    }

    /// A person's word about messages that could not be read: all, those of a mailbox, or one. Says how many they are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn answer_pending(
        &self,
        mailbox: Option<&str>,
        place: Option<&Place>,
        answer: PendingAnswer,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.answer_pending(mailbox, place, answer).await,
        }
    }

    /// The messages of a mailbox that a person wants to be tried again now; each is told once.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn asked_again(&self, mailbox: &str) -> Result<Vec<Place>, StoreError> {
        match self {
            Self::Sqlite(store) => store.asked_again(mailbox).await,
        }
    }

    /// The messages that look like reports and name nobody, of one mailbox or of all, mailbox by mailbox, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unrecognised(&self, mailbox: Option<&str>) -> Result<Vec<Unrecognised>, StoreError> {
        match self {
            Self::Sqlite(store) => store.unrecognised(mailbox).await,
        }
    }

    /// Which of these places of a mailbox hold messages that look like reports and name nobody.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn naming_nobody(&self, mailbox: &str, places: &[Place]) -> Result<Vec<Place>, StoreError> {
        match self {
            Self::Sqlite(store) => store.naming_nobody(mailbox, places).await,
        }
    }

    /// How each mailbox fares that was ever tried, in the order of their names.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn status(&self) -> Result<Vec<MailboxStatus>, StoreError> {
        match self {
            Self::Sqlite(store) => store.status().await,
        }
    }

    /// What was recorded under each name that nobody ever read as a mailbox or a log.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn handed_over(&self) -> Result<Vec<HandedOverTotal>, StoreError> {
        match self {
            Self::Sqlite(store) => store.handed_over().await,
        }
    }

    /// The suppression list with everything that led to it, in the order of the addresses, page by page, so that a long
    /// one needs no memory and holds nobody up. An entry that changes meanwhile comes as it was before or as it is
    /// after.
    pub fn suppressions(
        &self,
        selection: &ListSelection,
    ) -> impl Stream<Item = Result<Listed, StoreError>> + Send + Unpin + use<'_> {
        match self {
            Self::Sqlite(store) => store.suppressions(selection),
        }
    }

    /// Everything that happened to one address, or to the entry of a whole domain.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(&self, address: &Address) -> Result<AddressHistory, StoreError> {
        match self {
            Self::Sqlite(store) => store.history(address).await,
        }
    }

    /// The row of one address, if it is on the list.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn suppression(&self, address: &Address) -> Result<Option<Listed>, StoreError> {
        match self {
            Self::Sqlite(store) => store.suppression(address).await,
        }
    }

    /// When the first change of the list behind this revision was made, in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn first_change_since(&self, revision: i64) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(store) => store.first_change_since(revision).await,
        }
    }

    /// The entries in force, many at once in the order of their addresses, and nothing that led to them. One that
    /// changes meanwhile comes as it was before or as it is after.
    pub fn entries(&self) -> impl Stream<Item = Result<Vec<Entry>, StoreError>> + Send + Unpin + '_ {
        match self {
            Self::Sqlite(store) => store.entries(),
        }
    }

    /// Whether the list has more entries than so many; no more of them are looked at.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn has_more_entries_than(&self, most: u32) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.has_more_entries_than(most).await,
        }
    }

    /// The entries of these addresses, as far as they have one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn entries_of(&self, addresses: &BTreeSet<String>) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Sqlite(store) => store.entries_of(addresses).await,
        }
    }

    /// Puts addresses, or whole domains (`*@example.org`), on the list because a person says so, all or none; says of
    /// each whether it is new. An entry that a bounce made becomes manual and keeps its evidence.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Refused`] where one of them is allowed.
    pub async fn suppress(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<bool>, StoreError> {
        match self {
            Self::Sqlite(store) => store.suppress(addresses, by).await,
        }
    }

    /// Takes addresses off the list because a person says so, all or none, and what waits about them; says of each what
    /// that ended. Bounces received before then do not put it back, and are counted no more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn release(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<TakenOff>, StoreError> {
        match self {
            Self::Sqlite(store) => store.release(addresses, by).await,
        }
    }

    /// Whom nothing but a person's word is to suppress: addresses, or whole domains (`*@example.org`), all or none.
    /// Whoever of them is on the list leaves it, and whoever waits to come there waits no longer; says how many.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Refused`] where all of the domain of an address is suppressed.
    pub async fn allow(&self, addresses: &[Address], by: &By<'_>) -> Result<NewlyAllowed, StoreError> {
        match self {
            Self::Sqlite(store) => store.allow(addresses, by).await,
        }
    }

    /// The row of the allow list that covers an address: its own, or else that of all of its domain.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn allowing(&self, address: &Address) -> Result<Option<Allowed>, StoreError> {
        match self {
            Self::Sqlite(store) => store.allowing(address).await,
        }
    }

    /// Takes addresses off the allow list; says of each whether it was on it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn disallow(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<bool>, StoreError> {
        match self {
            Self::Sqlite(store) => store.disallow(addresses, by).await,
        }
    }

    /// The allow list in the order of its addresses.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn allowed(&self) -> Result<Vec<Allowed>, StoreError> {
        match self {
            Self::Sqlite(store) => store.allowed().await,
        }
    }

    /// Mail reached these addresses, as somebody knows who says so: their soft bounces are counted no more, and entries
    /// that soft ones made end. Of an address of which nothing is known nothing is kept.
    ///
    /// # Errors
    /// See [`StoreError`]; some of them may be noted then.
    pub async fn revive(&self, addresses: &[Address], by: &By<'_>) -> Result<Revived, StoreError> {
        match self {
            Self::Sqlite(store) => store.revive(addresses, by).await,
        }
    }

    /// Our own mail server has handed mail to whoever takes it for these addresses, each at a time: what
    /// [`Store::revive`] changes, on better grounds. Said twice it changes nothing more.
    ///
    /// # Errors
    /// See [`StoreError`]; some of them may be noted then.
    pub async fn note_delivered(&self, deliveries: &[(&Address, i64)]) -> Result<Revived, StoreError> {
        match self {
            Self::Sqlite(store) => store.note_delivered(deliveries).await,
        }
    }

    /// Takes off the list whose time is over at `now` (seconds since 1970-01-01 UTC); says how many these are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire(&self, now: i64) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.expire(now).await,
        }
    }

    /// Begins to take over the list of another program. Nothing else is written by this process until that ends.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn import(&self) -> Result<Importing, StoreError> {
        match self {
            Self::Sqlite(store) => store.import().await.map(Importing::Sqlite),
        }
    }

    /// The addresses that wait for a person, message by message.
    pub fn held(&self, selection: &HeldSelection) -> impl Stream<Item = Result<Held, StoreError>> + Send + Unpin + '_ {
        match self {
            Self::Sqlite(store) => store.held(selection),
        }
    }

    /// What waits about one address.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn held_of(&self, address: &Address) -> Result<Option<Held>, StoreError> {
        match self {
            Self::Sqlite(store) => store.held_of(address).await,
        }
    }

    /// How many addresses wait for a person.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn held_count(&self) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.held_count().await,
        }
    }

    /// Does with what waits what it waits for, or leaves it as it is. Of what is rejected only a hard bounce received
    /// then or later makes an entry. Says what became of how many.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn answer_held(
        &self,
        selection: &HeldSelection,
        answer: HeldAnswer,
        by: &By<'_>,
    ) -> Result<Answered, StoreError> {
        match self {
            Self::Sqlite(store) => store.answer_held(selection, answer, by).await,
        }
    }

    /// Judges some stored bounces anew and makes of the list what it would have become; says what is different, `None` at
    /// the end. Begins with [`Progress::default`], and goes on where the last call has left it.
    ///
    /// # Errors
    /// See [`StoreError`]; of these bounces nothing is changed then.
    pub async fn reclassify(
        &self,
        anew: &Anew<'_>,
        progress: &mut Progress,
    ) -> Result<Option<Differences>, StoreError> {
        match self {
            Self::Sqlite(store) => store.reclassify(anew, progress).await,
        }
    }

    /// How many recipients failed by what was received on the day of `since` or later, about: so many
    /// [`Store::reclassify`] judges.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn bounces(&self, since: Option<i64>) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.bounces(since).await,
        }
    }

    /// Erases at most `limit` rows of each kind that are older than `time` (seconds since 1970-01-01 UTC), the oldest
    /// first; says how many they were. None are left when it says 0.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is erased then.
    pub async fn erase_before(&self, records: Records, time: i64, limit: u32) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.erase_before(records, time, limit).await,
        }
    }

    /// Takes away what others wrote from entries of the list that are older than `time`: of at most `limit` behind an
    /// address, in the order of the addresses. Says whose they were; none are left behind the last when it is nobody.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn erase_texts_of_entries(&self, time: i64, behind: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(store) => store.erase_texts_of_entries(time, behind, limit).await,
        }
    }

    /// Takes addresses off the list, with an event that still names each, and keeps a keyed hash of each: from now on
    /// whatever is recorded of them is recorded without them. What is known of them stays until it is erased.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is done then.
    pub async fn forget(&self, addresses: &[Address], by: &By<'_>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.forget(addresses, by).await,
        }
    }

    /// Erases what was recorded of forgotten addresses, and says of each how much that was.
    ///
    /// # Errors
    /// See [`StoreError`]; what was erased stays so.
    pub async fn erase_persons(&self, addresses: &[Address], by: &By<'_>) -> Result<Vec<Erased>, StoreError> {
        match self {
            Self::Sqlite(store) => store.erase_persons(addresses, by).await,
        }
    }

    /// Erases each text of any row that names one of these addresses; says how many they were. Reads the whole store;
    /// `searched` hears how many rows of how many.
    ///
    /// # Errors
    /// See [`StoreError`]; what was erased stays so.
    pub async fn erase_names(
        &self,
        addresses: &[Address],
        searched: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.erase_names(addresses, searched).await,
        }
    }

    /// Whom somebody began to forget, without coming to the end.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn begun_to_forget(&self) -> Result<Vec<Address>, StoreError> {
        match self {
            Self::Sqlite(store) => store.begun_to_forget().await,
        }
    }

    /// Nothing of these addresses is left anywhere; nor of the note that somebody began to forget them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn all_is_forgotten(&self, addresses: &[Address]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.all_is_forgotten(addresses).await,
        }
    }

    /// Whether the key is there without which nobody can tell who was forgotten. What opens a store to write asks that.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Unusable`] when it can't be read, and is needed.
    pub async fn check_key(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.check_key().await,
        }
    }

    /// Has the files hold nothing but what the store says. Writes all of it anew.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leave_no_traces(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.leave_no_traces().await,
        }
    }

    /// Whether an address was forgotten.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Unusable`] when the key can't be read.
    pub async fn forgotten(&self, address: &Address) -> Result<Option<Forgotten>, StoreError> {
        match self {
            Self::Sqlite(store) => store.forgotten(address).await,
        }
    }

    /// Ends that addresses are forgotten; says of each whether it was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn recall(&self, addresses: &[Address]) -> Result<Vec<bool>, StoreError> {
        match self {
            Self::Sqlite(store) => store.recall(addresses).await,
        }
    }

    /// What happened after a revision, in order, at most `limit` events.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn events_after(&self, revision: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        match self {
            Self::Sqlite(store) => store.events_after(revision, limit).await,
        }
    }

    /// What the next `limit` events after a revision changed on the suppression list.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn changes_after(&self, revision: i64, limit: u32) -> Result<Changes, StoreError> {
        match self {
            Self::Sqlite(store) => store.changes_after(revision, limit).await,
        }
    }

    /// Whether an address went onto the suppression list, changed there or left it after a revision.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list_changed_since(&self, revision: i64) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.list_changed_since(revision).await,
        }
    }

    /// The revision of the last event; 0 before the first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn newest_revision(&self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(store) => store.newest_revision().await,
        }
    }

    /// How much was sent since a day began (seconds since 1970-01-01 UTC), and what became of it: at most `limit` rows, of
    /// the newest days or of those that have most.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn figures(&self, by: FiguresBy, since: i64, limit: u32) -> Result<FiguresTable, StoreError> {
        match self {
            Self::Sqlite(store) => store.figures(by, since, limit).await,
        }
    }

    /// What there is to be alarmed about at `now` (seconds since 1970-01-01 UTC), where mailboxes and mail logs of these
    /// names are read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn alarm_facts(&self, policy: &Policy, names: &[String], now: i64) -> Result<AlarmFacts, StoreError> {
        match self {
            Self::Sqlite(store) => store.alarm_facts(policy, names, now).await,
        }
    }

    /// The alarms that last, and behind them those that were over at `since` (seconds since 1970-01-01 UTC) or later; of
    /// each the newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn alarms(&self, since: i64) -> Result<Vec<Alarm>, StoreError> {
        match self {
            Self::Sqlite(store) => store.alarms(since).await,
        }
    }

    /// Raises and clears alarms at `now` (seconds since 1970-01-01 UTC); says which that were not raised or cleared before.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is written then.
    pub async fn change_alarms(&self, changes: &AlarmChanges, now: i64) -> Result<AlarmChanges, StoreError> {
        match self {
            Self::Sqlite(store) => store.change_alarms(changes, now).await,
        }
    }
}
