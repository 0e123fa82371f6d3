//! One mail log for as long as the daemon lives: opens it, follows it, and comes back after every failure. What is
//! wrong with it holds up nothing else.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{leases::Leases, told::Told};
use crate::{
    app::{MailLog, Recorder},
    clock::{Moment, now},
    maillog::{Lines, LogError, LogSettings, Tail},
    source::Backoff,
    store::{Failure, Heartbeat, StoreError},
};

/// The first and the longest wait before what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often the store is told that a log is read in which nothing is written.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// Returns when told to stop, at the end of standard input, or with an error that no retry mends.
pub(super) async fn follow(
    name: String,
    settings: LogSettings,
    campaign_headers: Vec<String>,
    recorder: Arc<Recorder>,
    leases: Arc<Leases>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let (backoff, told) = (Backoff::new(RETRY.0, RETRY.1), Told::default());
    let (is_told, missing) = (false, None);
    let mut follower =
        Follower { name, settings, campaign_headers, recorder, leases, stop, backoff, told, is_told, missing };
    loop {
        match follower.leased().await {
            Err(StoreError::Overtaken(_)) => follower.leases.overtaken(&follower.name),
            Ok(Err(why)) => {
                if !follower.wait(&why.to_string()).await? {
                    return Ok(());
                }
            }
            Ok(Ok(())) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

struct Follower {
    name: String,
    settings: LogSettings,
    campaign_headers: Vec<String>,
    recorder: Arc<Recorder>,
    leases: Arc<Leases>,
    stop: CancellationToken,
    backoff: Backoff,
    told: Told,
    /// Whether the log says which one is read, and from where.
    is_told: bool,
    /// Why there is nothing to read, where there was before.
    missing: Option<String>,
}

impl Follower {
    /// One session as long as this daemon is the one that reads the log.
    async fn leased(&mut self) -> Result<Result<(), LogError>, StoreError> {
        // Nobody else can read it.
        if self.settings.stdin {
            return self.session().await;
        }
        let (leases, stop) = (Arc::clone(&self.leases), self.stop.clone());
        let Some(lost) = stop.run_until_cancelled(leases.wait_for(&self.name)).await else { return Ok(Ok(())) };
        match lost.run_until_cancelled(self.session()).await {
            Some(ended) => ended,
            None => Err(StoreError::overtaken(&self.name)),
        }
    }

    /// From opening the log to the stop signal, which interrupts waiting and reading alone: what was read is recorded. Where
    /// another daemon has taken the log, all of it is dropped midway: the store refuses it.
    async fn session(&mut self) -> Result<Result<(), LogError>, StoreError> {
        let Some((mut log, cursor)) = self.resume().await? else { return Ok(Ok(())) };
        let mut tail = match Tail::open(&self.settings, cursor.as_deref()) {
            Ok(tail) => tail,
            Err(error) => return Ok(Err(error)),
        };
        if !std::mem::replace(&mut self.is_told, true) {
            let (log, from) = (self.settings.describe(), self.settings.goes_on(cursor.as_deref()));
            tracing::info!(mail_log = self.name, "reads {log} {from}");
        }
        self.missing = None;
        self.beat(Heartbeat::Read).await?;
        let stop = self.stop.clone();
        loop {
            let lines = match stop.run_until_cancelled(self.next(&mut tail)).await {
                None => return Ok(Ok(())),
                Some(read) => match read? {
                    Ok(Some(lines)) => Arc::new(lines),
                    Ok(None) => return Ok(Ok(())),
                    Err(LogError::Gone(why)) => {
                        tracing::warn!(mail_log = self.name, "{why}");
                        self.beat(Heartbeat::Failed(Failure { why: &why, ..Failure::default() })).await?;
                        self.missing = Some(why);
                        continue;
                    }
                    Err(error) => return Ok(Err(error)),
                },
            };
            if self.missing.take().is_some() {
                tracing::info!(mail_log = self.name, "is there again");
                self.beat(Heartbeat::Read).await?;
            }
            if let Some(lost) = &lines.lost {
                tracing::error!(mail_log = self.name, "{lost}");
            }
            let Some(next) = self.record(log, &lines).await? else { return Ok(Ok(())) };
            log = next;
            self.backoff.reset();
            if self.told.works().is_some() {
                tracing::info!(mail_log = self.name, "read again");
            }
        }
    }

    /// The next lines; while there are none the store hears that the log is read.
    async fn next(&self, tail: &mut Tail) -> Result<Result<Option<Lines>, LogError>, StoreError> {
        let mut next = Box::pin(tail.next());
        loop {
            tokio::select! {
                lines = &mut next => return Ok(lines),
                () = sleep(HEARTBEAT_INTERVAL) => {
                    let missing = |why| Heartbeat::Failed(Failure { why, ..Failure::default() });
                    self.beat(self.missing.as_deref().map_or(Heartbeat::Read, missing)).await?;
                }
            }
        }
    }

    /// Records lines, however often that takes: from standard input they come once. `None` when told to stop meanwhile.
    async fn record(&mut self, mut log: MailLog, lines: &Arc<Lines>) -> Result<Option<MailLog>, StoreError> {
        loop {
            match log.record(lines, now()).await {
                Ok(log) => return Ok(Some(log)),
                Err(StoreError::Busy(why)) => {
                    if !self.wait(&why).await? {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
            let Some((again, cursor)) = self.resume().await? else { return Ok(None) };
            log = again;
            // It was recorded after all; standard input has no place in which to go on.
            if cursor.as_ref() == Some(&lines.cursor) && !self.settings.stdin {
                return Ok(Some(log));
            }
        }
    }

    /// `None` when told to stop meanwhile.
    async fn resume(&mut self) -> Result<Option<(MailLog, Option<String>)>, StoreError> {
        loop {
            match MailLog::resume(&self.name, &self.settings, &self.campaign_headers, &self.recorder).await {
                Err(StoreError::Busy(why)) => {
                    if !self.wait(&why).await? {
                        return Ok(None);
                    }
                }
                resumed => return resumed.map(Some),
            }
        }
    }

    /// Tells why the log is not read, and waits; says whether to try again.
    async fn wait(&mut self, why: &str) -> Result<bool, StoreError> {
        let wait = self.backoff.next_wait();
        let seconds = wait.as_secs().max(1);
        if self.told.failed(why) {
            tracing::warn!(mail_log = self.name, "{why}; trying again in {seconds} s, and then until it works");
        } else {
            tracing::debug!(mail_log = self.name, "{why}; trying again in {seconds} s");
        }
        let next_try = Some(now().saturating_add_unsigned(wait.as_secs()));
        self.beat(Heartbeat::Failed(Failure { why, next_try, needs_person: false })).await?;
        Ok(self.stop.run_until_cancelled(sleep(wait)).await.is_some())
    }

    /// What the store can't be told now it is told later.
    async fn beat(&self, beat: Heartbeat<'_>) -> Result<(), StoreError> {
        match self.recorder.heartbeat(&self.name, Moment::now(), beat).await {
            Err(StoreError::Busy(_)) => Ok(()),
            told => told,
        }
    }
}
