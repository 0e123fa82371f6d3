//! A batch of messages -> rows, the published list, and a mailbox that knows what became of each message.
//!
//! The order is what keeps everything exactly once: rows first, then the published list, then the mailbox, and only
//! then the note that the mailbox has been told. A crash between any two repeats the later steps, which does no harm.
//! Nobody waits for the list longer than a moment: what a reader holds up, or what takes longer, is published by
//! [`Recorder::keep_published`], and by the next start after a crash.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Judge, Load, beside::Notes, in_order, report};
use crate::{
    clock::Moment,
    config::Config,
    follower::Followers,
    maillog::LogError,
    message::{Batch, Disposition, Message, Pending, Place, Reading, Retry, Unrecorded, Unsettled},
    policy::alarms::{AlarmChanges, NewAlarm},
    report::{Evidence, Finding, Kind, Report, Trusts, Verdict},
    source::{Source, SourceError},
    store::{BrakedRemote, Committed, Death, Heartbeat, JudgedMessage, Raised, Store, StoreError, TablesVersion},
    suppression::Suppression,
    text::count,
};

/// How many messages a mailbox is told of at once, of those that it could not be told of before. Each may have to be
/// looked for in the other folder, and new mail waits meanwhile.
const SETTLED_AT_ONCE: u32 = 50;

/// Everything between a mailbox and the files: shared by all mailboxes of a process.
#[derive(Debug)]
pub struct Recorder {
    judge: RwLock<Arc<Judge>>,
    pub(super) store: Store,
    pub(super) followers: Followers,
    publishes: Publishes,
    /// Tells the followers that there is something to carry over.
    changed: watch::Sender<()>,
    processed: Vec<Kind>,
    /// Of each mailbox, the messages that were being read when the last process died, and are not read yet.
    suspects: Mutex<HashMap<String, HashSet<Place>>>,
    /// Of each mailbox, why messages could not be settled, as the log has it, and since when.
    said: Mutex<HashMap<String, (String, i64)>>,
    /// How mailboxes fare that the store could not be told of.
    untold: Mutex<Notes>,
}

/// When what changes on the list is carried to the followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publishes {
    /// With each change, or as soon as that is possible.
    Soon,
    /// When the caller asks for it.
    WhenAsked,
}

/// Seconds after which the log tells once more why messages can't be settled.
const SAY_AGAIN: i64 = 3_600;

/// One commit records so many recipients, and those of the messages that are judged beside the last of these: what a
/// thousand of them say takes some megabytes.
const MOST_RECIPIENTS: usize = 2_000;

/// So many octets of messages are judged at once, or one message that has more. Who would bring as many recipients as a
/// message may has to write about this much.
const MOST_OCTETS_AT_ONCE: usize = 128 * 1024;

/// Messages whose rows are committed, and of which their mailbox has not heard yet. Only [`Recorder::record`] makes one
/// with messages in it: a message marked done before its rows exist would be lost.
#[derive(Debug, Default)]
#[must_use = "what is not settled now is settled only after the next start"]
pub struct Recorded(Vec<(Place, Disposition)>);

impl Recorded {
    /// Nothing is to be settled.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what was recorded behind it.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Messages that are judged next, and are noted as such: should the process die, it was over one of these.
#[derive(Debug, Default)]
pub struct Begun {
    group: Vec<Message>,
    /// The rest of their batch, and how far all of it reaches.
    behind: Batch,
}

/// Messages that are judged, and of which nothing is recorded yet.
#[derive(Debug, Default)]
pub struct Judged {
    messages: Vec<JudgedMessage>,
    reading: Reading,
}

impl Judged {
    /// Nothing is to be recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.reading.pending.is_empty() && self.reading.gone.is_empty()
    }
}

/// Why a batch was not finished. Whatever was not settled is found again by the next [`Recorder::open`].
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The store or the published list failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mailbox failed.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A log that is away is looked for again, as a mailbox is.
impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        Self::Source(match error {
            LogError::Refused(why) => SourceError::Refused(why),
            LogError::Lost(why) | LogError::Gone(why) => SourceError::Lost(why),
        })
    }
}

/// What became of one or several batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages recorded for the first time.
    pub new: usize,
    /// Messages that had been recorded before.
    pub duplicates: usize,
    /// All of them, by kind.
    pub kinds: BTreeMap<Kind, usize>,
    /// Addresses that went onto the suppression list.
    pub suppressed: usize,
}

impl Recorder {
    /// Brings the published list up to date, `now` in seconds since 1970-01-01 UTC. No mailbox is touched yet.
    ///
    /// # Errors
    /// The store can't be written; a published list was made from another store, or can't be written although nothing was
    /// ever recorded.
    pub async fn new(config: &Config, judge: Judge, store: Store, now: i64) -> Result<Self, StoreError> {
        if config.vouches() {
            store.vouch_from(now).await?;
        }
        let followers = Followers::configured(config);
        match followers.start(&store).await {
            // All of a list can be made again: where bounces were recorded before, they are recorded on.
            Err(error @ StoreError::Unusable(_)) if store.newest_revision().await? > 0 => {
                tracing::error!("{error}; messages are read all the same");
            }
            started => started?,
        }
        Ok(Self::of(config, judge, store, followers, Publishes::Soon))
    }

    /// For a command, beside a daemon or without one: nobody died over what it reads, and it publishes when it asks for it.
    pub(super) fn of_command(config: &Config, judge: Judge, store: Store) -> Self {
        Self::of(config, judge, store, Followers::configured(config), Publishes::WhenAsked)
    }

    fn of(config: &Config, judge: Judge, store: Store, followers: Followers, publishes: Publishes) -> Self {
        Self {
            judge: RwLock::new(Arc::new(judge)),
            store,
            followers,
            publishes,
            changed: watch::Sender::new(()),
            processed: config.report.processed.clone(),
            suspects: Mutex::default(),
            said: Mutex::default(),
            untold: Mutex::new(Notes::new(&config.database.path)),
        }
    }

    /// Begins to read a mailbox that another process read before, and finds out at `now` (seconds since 1970-01-01 UTC)
    /// over which messages that one died, if it did.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take_over(&self, config: &Config, mailbox: &str, died: bool, now: i64) -> Result<(), StoreError> {
        if !died {
            return self.store.nobody_died(mailbox).await;
        }
        let mut suspects = HashSet::new();
        for Death { place, set_aside, .. } in self.store.deaths(mailbox, now).await? {
            if set_aside {
                let place = config.describe_place(mailbox, &place);
                tracing::error!(mailbox, place, "bounced died over this message again; it is set aside for now");
            }
            suspects.insert(place);
        }
        if !suspects.is_empty() {
            let count = suspects.len();
            tracing::warn!(mailbox, count, "bounced died while it read messages; they are read one at a time now");
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(mailbox.to_owned(), suspects);
        }
        Ok(())
    }

    /// Batches that begin from now on are judged by this one.
    pub fn replace_judge(&self, judge: Judge) {
        *self.judge.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(judge);
    }

    pub(super) fn judge_in_force(&self) -> Arc<Judge> {
        Arc::clone(&self.judge.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes at `at` how reading a mailbox went. A failure of which the store can't be told is noted beside it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn heartbeat(&self, mailbox: &str, at: Moment, beat: Heartbeat<'_>) -> Result<(), StoreError> {
        let told = self.store.heartbeat(mailbox, at, beat).await;
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        match (&told, beat) {
            (Ok(()), _) => untold.clear(mailbox),
            // How it fares is told by another daemon.
            (Err(StoreError::Overtaken(_)), _) => untold.clear(mailbox),
            (Err(_), Heartbeat::Failed(failure)) => untold.add(mailbox, at.wall, failure.why),
            // The caller meets the error as the next failure.
            (Err(_), Heartbeat::Read) => {}
        }
        told
    }

    /// Carries to the followers what is recorded and what others change in the store, and makes again what is missing,
    /// until told to stop.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] alone: whatever else fails is tried again.
    pub async fn keep_published(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        self.followers.keep_up(&self.store, &self.changed, stop).await
    }

    /// Takes off the list whose time is over at `now` (seconds since 1970-01-01 UTC).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire(&self, now: i64) -> Result<(), StoreError> {
        let ended = self.store.expire(now).await?;
        if ended > 0 {
            self.changed.send_replace(());
            tracing::info!("off the list because their time is over: {}", count(ended, "address"));
        }
        Ok(())
    }

    /// Raises and clears alarms as of `now` (seconds since 1970-01-01 UTC), where these mailboxes and mail logs are read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn watch(&self, names: &[String], now: i64) -> Result<(), StoreError> {
        let judge = self.judge_in_force();
        let AlarmChanges { raised, cleared } = report::watch(&self.store, judge.policy(), names, now).await?;
        for NewAlarm { name, words } in raised {
            tracing::warn!(alarm = %name.kind, about = name.about, "{words}");
        }
        for name in cleared {
            tracing::info!(alarm = %name.kind, about = name.about, "the alarm is over");
        }
        Ok(())
    }

    /// For how many seconds it matters how many addresses a remote called dead.
    #[must_use]
    pub fn brake_memory(&self) -> i64 {
        self.judge_in_force().policy().brake.reach().0
    }

    /// Carries the last changes to the followers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn publish(&self) -> Result<(), StoreError> {
        self.followers.follow(&self.store).await
    }

    /// Whether a mailbox was ever read: by this run or an earlier one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn worked(&self, mailbox: &str) -> Result<bool, StoreError> {
        Ok(self.store.resume(mailbox).await?.worked)
    }

    /// Opens a mailbox where the last run left it.
    ///
    /// # Errors
    /// The store can't be read, or the mailbox can't be opened.
    pub async fn open(&self, mailbox: &str, source: &mut impl Source) -> Result<(), Halt> {
        let mut resume = self.store.resume(mailbox).await?;
        let (store, name): (_, Arc<str>) = (self.store.clone(), mailbox.into());
        resume.unrecorded = Unrecorded::told_by(move |places| {
            let (store, name) = (store.clone(), Arc::clone(&name));
            Box::pin(async move { store.unrecorded(&name, places).await.map_err(|error| error.to_string()) })
        });
        Ok(source.open(resume).await?)
    }

    /// Tells the mailbox once more what became of messages of which it could not be told before, at `now` (seconds
    /// since 1970-01-01 UTC). Says whether there were any.
    ///
    /// # Errors
    /// See [`Halt`].
    pub async fn settle_due(&self, mailbox: &str, source: &mut impl Source, now: i64) -> Result<bool, Halt> {
        let due = self.store.unsettled(mailbox, now, SETTLED_AT_ONCE).await?;
        let any = !due.is_empty();
        self.tell(mailbox, source, due, now).await?;
        Ok(any)
    }

    /// Finds what was passed over by mistake, and what a person wants to be tried again; says whether there was any: it
    /// comes with the next batches.
    ///
    /// # Errors
    /// See [`Halt`].
    pub async fn reconcile(&self, mailbox: &str, source: &mut impl Source) -> Result<bool, Halt> {
        let asked = self.store.asked_again(mailbox).await?;
        if !asked.is_empty() {
            source.reread(asked);
            return Ok(true);
        }
        loop {
            let doubtful = source.doubtful().await?;
            if doubtful.is_empty() {
                return Ok(false);
            }
            let lost = self.store.unrecorded(mailbox, doubtful).await?;
            if !lost.is_empty() {
                tracing::warn!(mailbox, "passed over by mistake and read now: {}", count(lost.len() as u64, "message"));
                source.reread(lost);
                return Ok(true);
            }
        }
    }

    /// Notes what is read and judged next of a mailbox: all of a batch, or a part of it. What was judged before may
    /// still have to be recorded.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn begin(&self, mailbox: &str, batch: Batch) -> Result<Begun, StoreError> {
        let Batch { messages, reading } = batch;
        let mut left = VecDeque::from(messages);
        let group = self.next_group(mailbox, &mut left);
        let places: Vec<&Place> = group.iter().map(|message| &message.place).collect();
        if !places.is_empty() {
            self.store.attempt(mailbox, &places).await?;
        }
        Ok(Begun { group, behind: Batch { messages: left.into(), reading } })
    }

    /// Judges what was begun of a mailbox that `S` reads; what is left of the batch comes back, and is begun next.
    pub async fn judge<S: Source>(&self, mailbox: &str, begun: Begun) -> (Judged, Batch) {
        let Begun { group, behind: Batch { messages: behind, reading } } = begun;
        if group.is_empty() {
            return (Judged { messages: Vec::new(), reading }, Batch::default());
        }
        let (judged, mut left) = self.judge_some(mailbox, group, S::describe).await;
        left.extend(behind);
        // The mailbox is read as far as the batch reaches when the last of it is recorded.
        if left.is_empty() {
            (Judged { messages: judged, reading }, Batch::default())
        } else {
            (Judged { messages: judged, reading: Reading::default() }, Batch { messages: left, reading })
        }
    }

    /// Records at `now` (seconds since 1970-01-01 UTC) what was judged of a mailbox that `S` reads. Runs to its end once
    /// begun: drop it only with the process.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing of it is recorded then.
    pub async fn record<S: Source>(
        &self,
        mailbox: &str,
        judged: Judged,
        now: i64,
    ) -> Result<(Tally, Recorded), StoreError> {
        if judged.is_empty() {
            return Ok(Default::default());
        }
        let Judged { messages: judged, reading } = judged;
        for Pending { place, retry } in &reading.pending {
            let (place, Retry { tries, next_try, why, .. }) = (S::describe(place), retry);
            tracing::warn!(mailbox, place, tries, next_try, "a message can't be read yet, is tried again: {why}");
        }
        for place in &reading.gone {
            tracing::info!(mailbox, place = S::describe(place), "a message could not be read and is no longer there");
        }
        let tally = self.commit(mailbox, &judged, &reading, now, S::describe).await?;
        Ok((tally, Recorded(judged.into_iter().map(|one| (one.place, one.disposition)).collect())))
    }

    /// Judges messages that lie in no mailbox, and records them at `now` (seconds since 1970-01-01 UTC). There is nobody who
    /// would have to be told what became of them.
    ///
    /// # Errors
    /// See [`StoreError`]; some of them may be recorded then.
    pub(super) async fn take_in(&self, mailbox: &str, messages: Vec<Message>, now: i64) -> Result<Tally, StoreError> {
        let describe = |place: &Place| place.as_str().to_owned();
        let (mut left, mut all) = (messages, Tally::default());
        while !left.is_empty() {
            let (judged, rest) = self.judge_some(mailbox, left, describe).await;
            all.add(self.commit(mailbox, &judged, &Reading::default(), now, describe).await?);
            let places: Vec<Place> = judged.into_iter().map(|one| one.place).collect();
            self.store.settled(mailbox, &places).await?;
            left = rest;
        }
        Ok(all)
    }

    async fn commit(
        &self,
        mailbox: &str,
        judged: &[JudgedMessage],
        reading: &Reading,
        now: i64,
        describe: fn(&Place) -> String,
    ) -> Result<Tally, StoreError> {
        let judge = self.judge_in_force();
        let committed = self.store.commit(mailbox, judged, reading, judge.policy()).await?;
        let over = end_what_is_over(&self.store, &committed, now).await?;
        let tally = self.tell_of(mailbox, judged, &committed, describe).await?;
        Ok(Tally { suppressed: tally.suppressed - over, ..tally })
    }

    /// Believes what speaks of messages that are known by `now` (seconds since 1970-01-01 UTC) to be ours, as `source` has
    /// told: a mail log, or a file of what was sent.
    ///
    /// # Errors
    /// See [`StoreError`]; what is left is believed the next time.
    pub async fn raise_due(&self, source: &str, now: i64) -> Result<(), StoreError> {
        let judge = self.judge_in_force();
        while let Some(Raised { count, changes }) = self.store.raise_due(judge.policy(), now).await? {
            if count > 0 {
                tracing::info!(source, count, "believed now: we sent the messages of which these speak");
            }
            end_what_is_over(&self.store, &changes, now).await?;
            self.tell_of(source, &[], &changes, |place| place.as_str().to_owned()).await?;
        }
        Ok(())
    }

    /// Nothing of a mailbox is read any more, and nobody died over it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn let_go(&self, mailbox: &str) -> Result<(), StoreError> {
        self.store.attempt(mailbox, &[]).await
    }

    /// The messages to read next: all, or one alone where the process died over it or beside it.
    fn next_group(&self, mailbox: &str, left: &mut VecDeque<Message>) -> Vec<Message> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(suspects) = suspects.get_mut(mailbox) else { return left.drain(..).collect() };
        let innocent = left.iter().take_while(|message| !suspects.contains(&message.place)).count();
        if innocent > 0 {
            return left.drain(..innocent).collect();
        }
        let alone: Vec<_> = left.pop_front().into_iter().collect();
        alone.iter().for_each(|message| {
            suspects.remove(&message.place);
        });
        alone
    }

    /// Carries a change of the list to the followers, now or as soon as that is possible.
    pub(super) async fn publish_soon(&self) {
        if self.publishes == Publishes::WhenAsked {
            return;
        }
        self.followers.follow_at_once(&self.store).await;
        self.changed.send_replace(());
    }

    /// Publishes and logs what a commit changed.
    pub(super) async fn tell_of(
        &self,
        mailbox: &str,
        judged: &[JudgedMessage],
        committed: &Committed,
        describe: fn(&Place) -> String,
    ) -> Result<Tally, StoreError> {
        if !committed.suppressed.is_empty() || committed.ended > 0 {
            self.publish_soon().await;
        }
        for Suppression { address, origin, rule, .. } in &committed.suppressed {
            tracing::info!(mailbox, address, origin = origin.as_str(), rule, "suppressed");
        }
        for BrakedRemote { remote, held, taken_back } in &committed.braked {
            tracing::warn!(
                mailbox,
                provider = remote,
                held,
                taken_back,
                "a provider called more addresses dead within an hour than can be true: they wait, and those of them that \
                 were suppressed before are off the list again"
            );
        }
        if committed.held > 0 {
            let held = committed.held;
            tracing::warn!(mailbox, held, "something waits for a person: bounced review list");
        }
        for one in judged.iter().filter(|one| one.report.left_out > 0) {
            let (place, left_out) = (describe(&one.place), one.report.left_out);
            tracing::warn!(mailbox, place, left_out, "a message names more recipients than are put on record");
        }
        let mut kinds = BTreeMap::new();
        judged.iter().for_each(|one| *kinds.entry(one.report.kind).or_default() += 1);
        let Committed { new, duplicates, ref suppressed, .. } = *committed;
        Ok(Tally { new, duplicates, kinds, suppressed: suppressed.len() })
    }

    /// Tells the mailbox what became of a batch, and the store that it was told, at `now` (seconds since 1970-01-01
    /// UTC).
    ///
    /// # Errors
    /// See [`Halt`].
    pub async fn settle(
        &self,
        mailbox: &str,
        source: &mut impl Source,
        recorded: Recorded,
        now: i64,
    ) -> Result<(), Halt> {
        let done = recorded.0.into_iter().map(|(place, disposition)| Unsettled { place, disposition, retry: None });
        self.tell(mailbox, source, done.collect(), now).await
    }

    async fn tell(
        &self,
        mailbox: &str,
        source: &mut impl Source,
        unsettled: Vec<Unsettled>,
        now: i64,
    ) -> Result<(), Halt> {
        if unsettled.is_empty() {
            return Ok(());
        }
        // A mail that is moved away is gone for good; so must its rows be here for good.
        self.store.check_in_place()?;
        let done: Vec<_> = unsettled.iter().map(|one| (one.place.clone(), one.disposition)).collect();
        let failed: HashMap<Place, String> = source.settle(&done).await?.into_iter().collect();
        let (mut settled, mut put_off) = (Vec::new(), Vec::new());
        for Unsettled { place, retry, .. } in unsettled {
            match failed.get(&place) {
                Some(why) => put_off.push((place, Retry::after(retry.as_ref(), now, why))),
                None => settled.push(place),
            }
        }
        if let Some((_, retry)) = put_off.first() {
            let (count, tries, why) = (put_off.len(), retry.tries, &retry.why);
            if self.is_news(mailbox, why, now) {
                tracing::warn!(mailbox, count, tries, "recorded messages stay where they are for now: {why}");
            } else {
                tracing::debug!(mailbox, count, tries, "so do these: {why}");
            }
        }
        self.store.put_off(mailbox, &put_off).await?;
        Ok(self.store.settled(mailbox, &settled).await?)
    }

    /// Whether the log lacks this reason: while a mailbox settles nothing, each batch has the same.
    fn is_news(&self, mailbox: &str, why: &str, now: i64) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let known = said.get(mailbox).is_some_and(|(last, at)| last == why && (0..SAY_AGAIN).contains(&(now - at)));
        if !known {
            said.insert(mailbox.to_owned(), (why.to_owned(), now));
        }
        !known
    }

    /// Closes the store.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Judges messages until what they say takes as much memory as one commit may, and gives back the rest. All cores
    /// do it, on threads of their own, so that other mailboxes are not held up.
    async fn judge_some(
        &self,
        mailbox: &str,
        messages: Vec<Message>,
        describe: fn(&Place) -> String,
    ) -> (Vec<JudgedMessage>, Vec<Message>) {
        let judge = self.judge_in_force();
        let (mailbox, processed) = (mailbox.to_owned(), self.processed.clone());
        let judged = tokio::task::spawn_blocking(move || {
            let mut messages = messages.into_iter();
            let (mut judged, mut recipients) = (Vec::new(), 0);
            let load = Load { most: MOST_OCTETS_AT_ONCE, of: |message: &Message| message.body.len() };
            let tables = judge.version();
            let work = |message| {
                let (read, trusts) = (|raw: &[u8]| judge.judge(raw), |report: &Report, at| judge.trusts(report, at));
                judge_one(read, trusts, tables, &mailbox, &processed, message, describe)
            };
            let waited = in_order(&mut messages, load, work, |one| {
                recipients += one.verdicts.len();
                judged.push(one);
                if recipients < MOST_RECIPIENTS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            (judged, waited.into_iter().chain(messages).collect())
        });
        judged.await.expect("a panic over a message is caught there, and nobody aborts the task")
    }
}

/// What old bounces lead to may be over already at `now` (seconds since 1970-01-01 UTC): takes that off the list again, and
/// says how much of the change it was.
pub(super) async fn end_what_is_over(store: &Store, change: &Committed, now: i64) -> Result<usize, StoreError> {
    let is_over = |new: &&Suppression| new.expires.is_some_and(|expires| expires <= now);
    let over = change.suppressed.iter().filter(is_over).count();
    if over > 0 {
        store.expire(now).await?;
    }
    Ok(over)
}

fn judge_one(
    read: impl Fn(&[u8]) -> (Report, Vec<Verdict>),
    trusts: impl Fn(&Report, i64) -> Trusts,
    tables: &Arc<TablesVersion>,
    mailbox: &str,
    processed: &[Kind],
    message: Message,
    describe: fn(&Place) -> String,
) -> JudgedMessage {
    let (mut report, verdicts) = read_patiently(read, mailbox, &message, describe);
    let envelope = message
        .delivered_to
        .iter()
        .map(|to| Finding { value: to.clone(), evidence: Evidence::of_structure("the envelope") });
    report.provenance.delivered_to.extend(envelope);
    let disposition = if processed.contains(&report.kind) { Disposition::Processed } else { Disposition::Untouched };
    let sha256 = message.sha256();
    let Message { place, received, size, .. } = message;
    let trusts = trusts(&report, received);
    let tables = Arc::clone(tables);
    JudgedMessage { place, sha256, received, size, report, verdicts, trusts, tables, disposition }
}

/// One bad message must neither stop the run nor come back for ever: a bug in a reader costs this message's verdict,
/// which is recorded, and leaves it untouched in its mailbox.
fn read_patiently(
    read: impl Fn(&[u8]) -> (Report, Vec<Verdict>),
    mailbox: &str,
    message: &Message,
    describe: fn(&Place) -> String,
) -> (Report, Vec<Verdict>) {
    catch_unwind(AssertUnwindSafe(|| read(&message.body))).unwrap_or_else(|_| {
        let place = describe(&message.place);
        tracing::warn!(mailbox, place, "this message can't be read, a bug in bounced; left untouched");
        let because = Finding { value: Kind::NotBounce, evidence: Evidence::of_structure("the reader failed") };
        (Report::of_nobody(because), Vec::new())
    })
}

impl Tally {
    /// Adds what became of another batch.
    pub fn add(&mut self, other: Self) {
        self.new += other.new;
        self.duplicates += other.duplicates;
        other.kinds.into_iter().for_each(|(kind, count)| *self.kinds.entry(kind).or_default() += count);
        self.suppressed += other.suppressed;
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        message::{Cursor, Resume},
        report::Address,
        source::maildir::MaildirSettings,
    };

    /// A mailbox that remembers what it was told, and fails when it is to.
    #[derive(Default)]
    struct Fake {
        fails: bool,
        resumed: Resume,
        settled: Vec<(Place, Disposition)>,
        refuses: Vec<&'static str>,
        doubtful: Vec<Place>,
        reread: Vec<Place>,
    }

    impl Fake {
        fn refuses(&self, place: &Place) -> bool {
            self.refuses.contains(&place.as_str())
        }

        fn answer(&self) -> Result<(), SourceError> {
            if self.fails { Err(SourceError::Lost("gone".to_owned())) } else { Ok(()) }
        }
    }

    impl Source for Fake {
        type Settings = MaildirSettings;

        fn new(_: &str, _: Self::Settings) -> Self {
            Self::default()
        }

        fn describe(place: &Place) -> String {
            place.as_str().to_owned()
        }

        async fn open(&mut self, resume: Resume) -> Result<(), SourceError> {
            self.resumed = resume;
            self.answer()
        }

        async fn fetch(&mut self) -> Result<Batch, SourceError> {
            Ok(Batch::default())
        }

        async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<Vec<(Place, String)>, SourceError> {
            self.answer()?;
            let (refused, settled): (Vec<_>, Vec<_>) = done.iter().cloned().partition(|(place, _)| self.refuses(place));
            self.settled.extend(settled);
            Ok(refused.into_iter().map(|(place, _)| (place, "quota".to_owned())).collect())
        }

        async fn doubtful(&mut self) -> Result<Vec<Place>, SourceError> {
            Ok(std::mem::take(&mut self.doubtful))
        }

        fn reread(&mut self, places: Vec<Place>) {
            self.reread = places;
        }

        async fn wait(&mut self) -> Result<(), SourceError> {
            Ok(())
        }

        async fn close(&mut self) {}
    }

    struct Fixture {
        recorder: Recorder,
        config: Config,
        dir: TempDir,
    }

    impl Fixture {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut config = Config::default();
            config.database.path = dir.path().join("bounced.db");
            config.suppressions.path = dir.path().join("suppressions.db");
            let store = Store::open(&config.database.path).await.unwrap();
            Self { recorder: Recorder::new(&config, Judge::embedded(), store, 0).await.unwrap(), config, dir }
        }

        /// Records one bounce and one mail that is none.
        async fn record(&self) -> (Tally, Recorded) {
            let bounce: &[u8] = include_bytes!("../../scripts/samples/postfix-user-unknown.eml");
            let mails = [("bounce", bounce), ("letter", b"Subject: Lunch?\n\nAt noon?\n")];
            let messages = mails.map(|(place, body)| Message {
                place: Place::new(place),
                received: 1_767_225_600,
                size: body.len() as u64,
                body: body.into(),
                rest: None,
                delivered_to: Vec::new(),
            });
            self.record_all(Batch { messages: messages.into(), reading: Reading::default() }).await.unwrap()
        }

        /// One step after the other.
        async fn record_all(&self, mut batch: Batch) -> Result<(Tally, Recorded), StoreError> {
            let mut all = (Tally::default(), Recorded::default());
            loop {
                let begun = self.recorder.begin("box", batch).await?;
                let (judged, left) = self.recorder.judge::<Fake>("box", begun).await;
                let (tally, recorded) = self.recorder.record::<Fake>("box", judged, 0).await?;
                all.0.add(tally);
                all.1.add(recorded);
                if left.messages.is_empty() {
                    return Ok(all);
                }
                batch = left;
            }
        }

        /// Which places are still to be settled.
        async fn unsettled(&self) -> Vec<String> {
            let unsettled = self.recorder.store.unsettled("box", i64::MAX, 9).await.unwrap();
            unsettled.iter().map(|one| one.place.as_str().to_owned()).collect()
        }

        async fn published(&self) -> i64 {
            let options = SqliteConnectOptions::new().filename(&self.config.suppressions.path);
            let mut file = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query_scalar("SELECT count(*) FROM suppression").fetch_one(&mut file).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_an_earlier_run_left_is_noted_as_settled_only_when_the_mailbox_was_told() {
        let f = Fixture::new().await;
        drop(f.record().await);
        let mut source = Fake { fails: true, ..Fake::default() };
        assert!(matches!(f.recorder.settle_due("box", &mut source, 5).await, Err(Halt::Source(_))));
        assert_eq!(f.unsettled().await, ["bounce", "letter"]);

        source.fails = false;
        f.recorder.open("box", &mut source).await.unwrap();
        assert!(f.recorder.settle_due("box", &mut source, 5).await.unwrap());
        let left = [(Place::new("bounce"), Disposition::Processed), (Place::new("letter"), Disposition::Untouched)];
        assert_eq!(source.settled, left);
        assert!(f.unsettled().await.is_empty());
        assert!(!f.recorder.settle_due("box", &mut source, 5).await.unwrap());
        let asked = ["letter", "new", "bounce"].map(Place::new).into();
        assert_eq!(source.resumed.unrecorded.of(asked).await.unwrap(), [Place::new("new")]);
    }

    #[tokio::test]
    async fn an_event_about_a_message_has_its_text_and_the_place_each_under_its_own_name() {
        let f = Fixture::new().await;
        let path = f.dir.path().join("log");
        let file = Arc::new(std::fs::File::create(&path).unwrap());
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(file).finish();
        let logging = tracing::subscriber::set_default(subscriber);
        let pending = vec![Pending { place: Place::new("7:1"), retry: Retry::after(None, 5, "no") }];
        let reading = Reading { pending, gone: vec![Place::new("7:2")], ..Reading::default() };
        drop(f.record_all(Batch { messages: Vec::new(), reading }).await.unwrap());
        drop(logging);
        let log = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        for (line, place) in lines.iter().zip([r#""place":"7:1""#, r#""place":"7:2""#]) {
            assert!(line.contains(place) && line.matches(r#""message":"#).count() == 1, "{line}");
        }
    }

    #[tokio::test]
    async fn what_the_mailbox_refuses_to_settle_waits_alone_and_is_tried_again() {
        let f = Fixture::new().await;
        let (_, recorded) = f.record().await;
        let mut source = Fake { refuses: vec!["bounce"], ..Fake::default() };
        f.recorder.settle("box", &mut source, recorded, 1_000).await.unwrap();
        assert_eq!(source.settled.len(), 1);
        let news =
            [("box", "quota", 4_599), ("other", "quota", 4_599), ("box", "rights", 4_599), ("box", "rights", 8_199)];
        let news = news.map(|(mailbox, why, now)| f.recorder.is_news(mailbox, why, now));
        assert_eq!(news, [false, true, true, true], "what lasts is said once an hour");
        assert_eq!(f.unsettled().await, ["bounce"]);
        assert!(!f.recorder.settle_due("box", &mut source, 1_009).await.unwrap(), "not so soon");
        assert!(f.recorder.settle_due("box", &mut source, 1_010).await.unwrap());
        let retry = f.recorder.store.unsettled("box", i64::MAX, 9).await.unwrap().remove(0).retry.unwrap();
        assert_eq!((retry.tries, retry.first_failed, retry.why.as_str()), (2, 1_000, "quota"));
        source.refuses.clear();
        assert!(f.recorder.settle_due("box", &mut source, 2_000).await.unwrap());
        assert!(f.unsettled().await.is_empty());
    }

    #[tokio::test]
    async fn a_message_of_which_the_store_knows_nothing_is_read_again() {
        let f = Fixture::new().await;
        let _ = f.record().await;
        let mut source = Fake { doubtful: vec![Place::new("bounce")], ..Fake::default() };
        assert!(!f.recorder.reconcile("box", &mut source).await.unwrap());
        source.doubtful = ["bounce", "lost", "letter"].map(Place::new).into();
        assert!(f.recorder.reconcile("box", &mut source).await.unwrap());
        assert_eq!(source.reread, [Place::new("lost")]);
    }

    #[tokio::test]
    async fn the_mailbox_is_told_first_and_then_the_store_that_it_was() {
        let f = Fixture::new().await;
        let (_, recorded) = f.record().await;
        let mut source = Fake { fails: true, ..Fake::default() };
        assert!(f.recorder.settle("box", &mut source, recorded, 5).await.is_err());
        assert_eq!(f.unsettled().await.len(), 2);

        let (tally, recorded) = f.record().await;
        assert_eq!((tally.new, tally.duplicates), (0, 2));
        source.fails = false;
        f.recorder.settle("box", &mut source, recorded, 5).await.unwrap();
        assert_eq!(source.settled.len(), 2);
        assert!(f.unsettled().await.is_empty());
    }

    #[tokio::test]
    async fn what_is_suppressed_is_published_before_the_mailbox_hears_of_it() {
        let f = Fixture::new().await;
        assert_eq!(f.published().await, 0, "made at the start");
        let (tally, _recorded) = f.record().await;
        assert_eq!((tally.suppressed, f.published().await), (1, 1));
    }

    #[tokio::test]
    async fn what_others_changed_is_published_with_the_last_changes() {
        let f = Fixture::new().await;
        f.recorder
            .store
            .suppress(&[Address::parse("anna@example.org").unwrap()], &crate::store::By::new("test", 5))
            .await
            .unwrap();
        assert_eq!(f.published().await, 0);
        f.recorder.publish().await.unwrap();
        assert_eq!(f.published().await, 1);
    }

    #[tokio::test]
    async fn of_an_archive_all_is_recorded_however_much_one_commit_holds() {
        let f = Fixture::new().await;
        let tally = f.recorder.take_in("archive", long_reports().messages, 0).await.unwrap();
        assert_eq!(tally.new, 5);
    }

    /// Five reports that take more than one commit, and the mailbox read up to the last.
    fn long_reports() -> Batch {
        let group = |n: u32| format!("Final-Recipient: rfc822; a{n}@example.org\nAction: failed\nStatus: 5.1.1\n\n");
        let mail = |number: u32| {
            let groups: String = (0..1_500).map(|n| group(number * 10_000 + n)).collect();
            format!(
                "Subject: failed\nMIME-Version: 1.0\n\
                 Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
                 --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n{groups}--b--\n"
            )
        };
        let messages = (1..=5).map(|number| {
            let body = mail(number).into_bytes();
            let place = Place::new(number.to_string());
            // Not all within an hour: that would be an outage.
            let received = 5 + 7_200 * i64::from(number);
            Message {
                place,
                received,
                size: body.len() as u64,
                body: body.into(),
                rest: None,
                delivered_to: Vec::new(),
            }
        });
        let reading = Reading { cursor: Some(Cursor::new("5")), ..Reading::default() };
        Batch { messages: messages.collect(), reading }
    }

    #[tokio::test]
    async fn a_batch_that_breaks_off_is_not_read_up_to_its_end() {
        let f = Fixture::new().await;
        let options = SqliteConnectOptions::new().filename(&f.config.database.path);
        let mut file = SqliteConnection::connect_with(&options).await.unwrap();
        let third_fails = "CREATE TRIGGER third_fails BEFORE INSERT ON message \
                           WHEN (SELECT count(*) FROM message) >= 2 BEGIN SELECT RAISE(ABORT, 'no'); END";
        sqlx::raw_sql(third_fails).execute(&mut file).await.unwrap();
        assert!(f.record_all(long_reports()).await.is_err());
        assert_eq!((f.unsettled().await.len(), f.recorder.store.resume("box").await.unwrap().cursor), (2, None));
    }

    #[tokio::test]
    async fn what_takes_much_memory_is_committed_in_pieces_and_read_up_to_its_end_with_the_last() {
        let f = Fixture::new().await;
        let describe = |place: &Place| place.as_str().to_owned();
        let (judged, rest) = f.recorder.judge_some("box", long_reports().messages, describe).await;
        assert_eq!((judged.len(), rest.len()), (2, 3), "the second brings more than one commit takes");
        let (tally, recorded) = f.record_all(long_reports()).await.unwrap();
        assert_eq!((tally.new, tally.kinds.get(&Kind::Bounce), recorded.0.len()), (5, Some(&5), 5));
        // One message suppresses so many, whatever it is committed with.
        assert_eq!(tally.suppressed, 5 * 50);
        assert_eq!(f.recorder.store.resume("box").await.unwrap().cursor, Some(Cursor::new("5")));
        assert!(f.recorder.store.deaths("box", 0).await.unwrap().is_empty(), "nothing is under way any more");
    }

    #[tokio::test]
    async fn what_was_under_way_at_a_death_is_read_alone_and_what_killed_twice_is_not_read_at_all() {
        let f = Fixture::new().await;
        let store = &f.recorder.store;
        let places = ["bounce", "letter"].map(Place::new);
        store.attempt("box", &[&places[0], &places[1]]).await.unwrap();
        let recorder = Recorder::new(&f.config, Judge::embedded(), store.clone(), 0).await.unwrap();
        recorder.take_over(&f.config, "box", true, 0).await.unwrap();
        let message = |place: &str| Message {
            place: Place::new(place),
            received: 5,
            size: 9,
            body: place.as_bytes().into(),
            rest: None,
            delivered_to: Vec::new(),
        };
        let mut left: VecDeque<_> = ["a", "b", "bounce", "letter", "c", "d"].map(message).into();
        let mut groups = Vec::new();
        while !left.is_empty() {
            let group = recorder.next_group("box", &mut left);
            groups.push(group.iter().map(|message| message.place.as_str().to_owned()).collect::<Vec<_>>().join(" "));
        }
        assert_eq!(groups, ["a b", "bounce", "letter", "c d"]);

        for _ in 0..2 {
            store.attempt("box", &[&places[0]]).await.unwrap();
            recorder.take_over(&f.config, "box", true, 1_000).await.unwrap();
        }
        let pending = store.resume("box").await.unwrap().pending;
        assert_eq!(pending.iter().map(|one| one.place.as_str()).collect::<Vec<_>>(), ["bounce"]);
        let health = store.status().await.unwrap();
        assert!(health.is_empty(), "the mailbox was never tried");
    }

    #[test]
    fn a_panic_over_a_message_costs_its_verdict_and_leaves_it_where_it_is() {
        let body = b"Subject: x".as_slice();
        let message = Message {
            place: Place::new("7:1"),
            received: 5,
            size: 10,
            body: body.into(),
            rest: None,
            delivered_to: Vec::new(),
        };
        let describe = |place: &Place| place.as_str().to_owned();
        let sha256 = message.sha256();
        let tables = Arc::default();
        let read = |_: &[u8]| panic!("a bug in a reader");
        let trusts = |_: &Report, _| Trusts::default();
        let judged = judge_one(read, trusts, &tables, "box", &[Kind::Bounce], message, describe);
        assert_eq!((judged.report.kind, judged.report.recipients.len()), (Kind::NotBounce, 0));
        assert!(judged.verdicts.is_empty() && judged.disposition == Disposition::Untouched);
        assert_eq!((judged.place, judged.sha256), (Place::new("7:1"), sha256));
    }
}
