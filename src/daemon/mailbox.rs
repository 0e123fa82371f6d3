//! One mailbox for as long as the daemon lives: opens it, drains it, waits, and comes back after every failure.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{leases::Leases, told::Told};
use crate::{
    app::{Begun, Halt, Judged, Recorded, Recorder, Tally},
    clock::{Moment, now},
    message::Batch,
    source::{Backoff, PATIENCE, Progress, Source, SourceError},
    store::{Failure, Heartbeat, StoreError},
    text::{self, grouped},
};

/// The first and the longest wait before a lost connection or a busy database is tried again: a server that is back is
/// found soon, and one connection in half a minute hurts none.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A server that wants to be left alone is: what it counts, connections or octets, it counts over minutes.
const LATER_RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));
/// A mailbox that refuses needs a person; until one comes it is asked now and then, not hammered.
const REFUSED_RETRY: Duration = Duration::from_secs(300);
/// One that worked before may only refuse for a while, as a server does that can't reach its list of users.
const REFUSED_AFTER_WORKING: (Duration, Duration) = (Duration::from_secs(10), REFUSED_RETRY);
/// How often the store is told that a mailbox was read: `bounced status` need not know it to the second.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// How long a mailbox may still take to answer, and how long saying goodbye to it may take, when told to stop.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long the store may take over a batch.
const STORE_PATIENCE: Duration = Duration::from_secs(300);

/// What a mailbox's task waits for: its two sides work at once, and each has its own mark.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits {
    /// For the mailbox.
    source: Progress,
    /// For the store, or for the next attempt.
    own: Progress,
}

impl Waits {
    /// Whether neither takes longer than was announced.
    pub(super) fn are_on_time(&self) -> bool {
        self.source.is_on_time() && self.own.is_on_time()
    }
}

/// How the first attempt to open a mailbox ended.
#[derive(Debug)]
pub(super) enum FirstAttempt {
    /// It can be read, or perhaps later.
    Going,
    /// A retry can't help, the text says what does.
    Refused { mailbox: String, why: String },
}

/// The task of one mailbox.
pub(super) struct Watch<S> {
    mailbox: String,
    source: S,
    recorder: Arc<Recorder>,
    leases: Arc<Leases>,
    stop: CancellationToken,
    /// Whoever waits for the first attempt; `None` once it has heard.
    supervisor: Option<mpsc::Sender<FirstAttempt>>,
    backoff: Backoff,
    later: Backoff,
    refused: Backoff,
    told: Told,
    last_heartbeat: Option<Instant>,
    tally: Tally,
    waits: Waits,
}

impl<S: Source> Watch<S> {
    pub(super) fn new(
        mailbox: &str,
        mut source: S,
        recorder: Arc<Recorder>,
        leases: Arc<Leases>,
        stop: CancellationToken,
        supervisor: mpsc::Sender<FirstAttempt>,
    ) -> Self {
        let waits = Waits::default();
        source.report_to(waits.source.clone());
        Self {
            mailbox: mailbox.to_owned(),
            source,
            recorder,
            leases,
            stop,
            supervisor: Some(supervisor),
            backoff: Backoff::new(RETRY.0, RETRY.1),
            later: Backoff::new(LATER_RETRY.0, LATER_RETRY.1),
            told: Told::default(),
            refused: Backoff::new(REFUSED_AFTER_WORKING.0, REFUSED_AFTER_WORKING.1),
            last_heartbeat: None,
            tally: Tally::default(),
            waits,
        }
    }

    /// For a watchdog, which must not believe in a mailbox that hangs.
    pub(super) fn waits(&self) -> Waits {
        self.waits.clone()
    }

    /// Returns when told to stop, or with an error that no retry mends.
    pub(super) async fn run(mut self) -> Result<(), StoreError> {
        while let Err(halt) = self.session().await {
            self.summarise();
            self.source.put_off();
            if let Halt::Store(StoreError::Overtaken(_)) = halt {
                self.leases.overtaken(&self.mailbox);
                let _ = tokio::time::timeout(GOODBYE, self.source.close()).await;
                continue;
            }
            // What was read is dropped, and read again: whoever ends the process meanwhile does so over none of it.
            // Where that can't be noted, nothing is lost but time.
            let _ = self.recorder.let_go(&self.mailbox).await;
            self.waits.source.rest();
            self.waits.own.until(STORE_PATIENCE);
            let wait = self.failed(halt).await?;
            self.waits.own.until(wait);
            if self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                break;
            }
        }
        self.summarise();
        let _ = tokio::time::timeout(GOODBYE, self.source.close()).await;
        Ok(())
    }

    /// From opening the mailbox to the stop signal. Only waiting is interrupted; a batch that has begun is finished.
    async fn session(&mut self) -> Result<(), Halt> {
        let (stop, waits) = (self.stop.clone(), self.waits.clone());
        waits.own.rest();
        let lost = match self.leases.have(&self.mailbox) {
            Some(lost) => lost,
            None => {
                waits.source.rest();
                self.tell_supervisor(FirstAttempt::Going).await;
                match stop.run_until_cancelled(self.leases.wait_for(&self.mailbox)).await {
                    Some(lost) => lost,
                    None => return Ok(()),
                }
            }
        };
        waits.source.until(PATIENCE);
        match stop.run_until_cancelled(self.recorder.open(&self.mailbox, &mut self.source)).await {
            Some(opened) => opened?,
            None => return Ok(()),
        }
        self.tell_supervisor(FirstAttempt::Going).await;
        // What the last run could not settle, or died over.
        self.recorder.settle_due(&self.mailbox, &mut self.source, now()).await?;
        // What was fetched and is judged next; what is judged and not recorded; what is recorded and not settled.
        let mut waiting = VecDeque::<Batch>::new();
        let (mut judged, mut recorded) = (Judged::default(), Recorded::default());
        loop {
            let settles = !recorded.is_empty();
            waits.own.until(STORE_PATIENCE);
            let begun = self.recorder.begin(&self.mailbox, waiting.pop_front().unwrap_or_default()).await?;
            // The two sides take about as long as each other: while one batch is judged and the one before is
            // committed, the mailbox hears of the one before that and gives the next.
            waits.source.until(PATIENCE);
            let has_next = AtomicBool::new(!waiting.is_empty());
            let (fetched, stored) = tokio::join!(
                at_rest(
                    &waits.source,
                    turn(&self.recorder, &self.mailbox, &mut self.source, recorded, &stop, &has_next),
                ),
                at_rest(&waits.own, store::<S>(&self.recorder, &self.mailbox, judged, begun, &has_next)),
            );
            let stored = stored?;
            self.tally.add(stored.tally);
            (judged, recorded) = (stored.judged, stored.recorded);
            waiting.push_front(stored.left);
            match fetched? {
                Fetched::Batch(batch) => waiting.push_back(batch),
                Fetched::Stopped => {
                    let (tally, last) = self.recorder.record::<S>(&self.mailbox, judged, now()).await?;
                    self.tally.add(tally);
                    recorded.add(last);
                    self.recorder.settle(&self.mailbox, &mut self.source, recorded, now()).await?;
                    if settles {
                        self.heartbeat(false).await?;
                    }
                    return Ok(());
                }
                Fetched::Abandoned => return Ok(()),
            }
            waiting.retain(|batch| !batch.is_empty());
            let idle = waiting.is_empty() && judged.is_empty() && recorded.is_empty();
            // What was only fetched may fail to be recorded or moved, again and again.
            let succeeds = idle || settles;
            if succeeds {
                self.heartbeat(idle).await?;
            }
            waits.source.until(PATIENCE);
            if idle && !self.catch_up().await? {
                waits.source.until(PATIENCE);
                match stop.run_until_cancelled(lost.run_until_cancelled(self.source.wait())).await {
                    Some(Some(waited)) => waited?,
                    // The next write would be refused.
                    Some(None) => return Err(StoreError::overtaken(&self.mailbox).into()),
                    None => return Ok(()),
                }
            }
            // Not sooner: a mailbox that opens but then always fails must not be hammered.
            if succeeds {
                self.refused.reset();
                self.later.reset();
                self.backoff.reset();
                if let Some((failures, span)) = self.told.works() {
                    let span = SignedDuration::from_secs(span.as_secs().cast_signed());
                    tracing::info!(mailbox = self.mailbox, failures, "read again after {span:#}");
                }
            }
        }
    }

    /// With nothing new to read: what could not be settled, and what was passed over. Says whether there may be more of
    /// it; new mail comes first then.
    async fn catch_up(&mut self) -> Result<bool, Halt> {
        Ok(self.recorder.settle_due(&self.mailbox, &mut self.source, now()).await?
            || self.recorder.reconcile(&self.mailbox, &mut self.source).await?)
    }

    /// Says what failed and how long to wait before the next attempt.
    async fn failed(&mut self, halt: Halt) -> Result<Duration, StoreError> {
        self.last_heartbeat = None;
        let (why, wait) = match halt {
            Halt::Store(
                error @ (StoreError::Unusable(_)
                | StoreError::Foreign(_)
                | StoreError::Refused(_)
                | StoreError::Replaced(_)),
            ) => {
                self.note(&error.to_string(), None, false).await;
                return Err(error);
            }
            Halt::Store(StoreError::Overtaken(why)) => (why, Some(Duration::ZERO)),
            Halt::Source(SourceError::Refused(why)) => (why, None),
            Halt::Source(SourceError::Later(why)) => (why, Some(self.later.next_wait())),
            Halt::Store(StoreError::Busy(why)) | Halt::Source(SourceError::Lost(why)) => {
                (why, Some(self.backoff.next_wait()))
            }
        };
        // A store that does not know will be asked again.
        let worked = self.recorder.worked(&self.mailbox).await.unwrap_or(true);
        let needs_person = wait.is_none();
        let (wait, is_first_refusal) = match wait {
            Some(wait) => (wait, false),
            None if worked => (self.refused.next_wait(), false),
            None => (REFUSED_RETRY, self.supervisor.is_some()),
        };
        self.note(&why, Some(wait), needs_person).await;
        let (mailbox, seconds) = (&self.mailbox, wait.as_secs().max(1));
        if is_first_refusal {
            // Told by whoever supervises, as the reason to give up or as an error line.
            self.told.failed(&why);
            self.tell_supervisor(FirstAttempt::Refused { mailbox: self.mailbox.clone(), why }).await;
            return Ok(wait);
        }
        match (self.told.failed(&why), needs_person) {
            (false, _) => tracing::debug!(mailbox, "{why}; trying again in {seconds} s"),
            (true, false) => tracing::warn!(mailbox, "{why}; trying again in {seconds} s, and then until it works"),
            (true, true) if worked => {
                tracing::error!(mailbox, "{why}; it worked before, trying again in {seconds} s, and then now and then");
            }
            (true, true) => tracing::error!(mailbox, "{why}; trying again in {seconds} s, and then now and then"),
        }
        self.tell_supervisor(FirstAttempt::Going).await;
        Ok(wait)
    }

    /// The log tells the person already; where the store can't be told, it is noted beside it.
    async fn note(&mut self, why: &str, wait: Option<Duration>, needs_person: bool) {
        let next_try = wait.map(|wait| now().saturating_add_unsigned(wait.as_secs()));
        let failure = Heartbeat::Failed(Failure { why, next_try, needs_person });
        let _ = self.recorder.heartbeat(&self.mailbox, Moment::now(), failure).await;
    }

    async fn tell_supervisor(&mut self, attempt: FirstAttempt) {
        if let Some(supervisor) = self.supervisor.take() {
            // Nobody listens any more when the daemon stops.
            let _ = supervisor.send(attempt).await;
        }
    }

    /// Notes now and then that the mailbox was read; at the end of a run of batches it also says what they held.
    async fn heartbeat(&mut self, idle: bool) -> Result<(), StoreError> {
        let due = self.last_heartbeat.is_none_or(|last| last.elapsed() >= HEARTBEAT_INTERVAL);
        if idle || due {
            self.summarise();
        }
        if due {
            self.recorder.heartbeat(&self.mailbox, Moment::now(), Heartbeat::Read).await?;
            if let Some(why) = self.source.complaint() {
                let failure = Heartbeat::Failed(Failure { why: &why, next_try: None, needs_person: false });
                self.recorder.heartbeat(&self.mailbox, Moment::now(), failure).await?;
            }
            self.last_heartbeat = Some(Instant::now());
        }
        Ok(())
    }

    /// One line for what was read since the last one, none for nothing.
    fn summarise(&mut self) {
        let Tally { new, duplicates, kinds, suppressed } = std::mem::take(&mut self.tally);
        if new + duplicates > 0 {
            let kinds: Vec<String> =
                kinds.iter().map(|(kind, count)| format!("{} {kind}", grouped(*count as u64))).collect();
            tracing::info!(
                mailbox = self.mailbox,
                new,
                duplicates,
                suppressed,
                "read {}: {}",
                text::count((new + duplicates) as u64, "message"),
                kinds.join(", ")
            );
        }
    }
}

/// Does the work, and notes that nothing of it is awaited any more.
async fn at_rest<T>(mark: &Progress, work: impl Future<Output = T>) -> T {
    let done = work.await;
    mark.rest();
    done
}

/// How the mailbox's side of a turn ended.
enum Fetched {
    /// The next messages, or none.
    Batch(Batch),
    /// Told to stop; nothing was asked for.
    Stopped,
    /// Told to stop while the mailbox took too long to answer: it can't be told anything until it is opened again.
    Abandoned,
}

/// What the store's side of a turn did.
struct Stored {
    tally: Tally,
    recorded: Recorded,
    /// Recorded in the next turn.
    judged: Judged,
    /// Of the batch that was begun; judged next.
    left: Batch,
}

/// Records what is judged, and judges what was begun. That is recorded in the next turn, beside the judging of what
/// comes next; at once where nothing does.
async fn store<S: Source>(
    recorder: &Recorder,
    mailbox: &str,
    judged: Judged,
    begun: Begun,
    has_next: &AtomicBool,
) -> Result<Stored, StoreError> {
    let (done, (judged, left)) =
        tokio::join!(recorder.record::<S>(mailbox, judged, now()), recorder.judge::<S>(mailbox, begun));
    let (mut tally, mut recorded) = done?;
    if has_next.load(Relaxed) || !left.is_empty() {
        return Ok(Stored { tally, recorded, judged, left });
    }
    let (more, last) = recorder.record::<S>(mailbox, judged, now()).await?;
    tally.add(more);
    recorded.add(last);
    Ok(Stored { tally, recorded, judged: Judged::default(), left })
}

/// Settles what was recorded and fetches what comes next, unless there is something already.
async fn turn(
    recorder: &Recorder,
    mailbox: &str,
    source: &mut impl Source,
    recorded: Recorded,
    stop: &CancellationToken,
    has_next: &AtomicBool,
) -> Result<Fetched, Halt> {
    recorder.settle(mailbox, source, recorded, now()).await?;
    if stop.is_cancelled() {
        return Ok(Fetched::Stopped);
    }
    if has_next.load(Relaxed) {
        return Ok(Fetched::Batch(Batch::default()));
    }
    tokio::select! {
        batch = source.fetch() => {
            let batch = batch?;
            has_next.store(!batch.is_empty(), Relaxed);
            Ok(Fetched::Batch(batch))
        }
        () = async { stop.cancelled().await; tokio::time::sleep(GOODBYE).await } => Ok(Fetched::Abandoned),
    }
}

#[cfg(test)]
mod tests;
