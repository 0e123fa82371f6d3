//! The long-running service: watches every mailbox until it is told to stop.
//! Knows no signals and no terminals; the caller brings a [`Control`].

mod leases;
mod lock;
mod mail_log;
mod mailbox;
mod publish;
mod retention;
mod systemd;
mod told;
mod upkeep;

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    leases::Leases,
    lock::Lock,
    mailbox::{FirstAttempt, Waits, Watch},
};
use crate::{
    app::{self, Judge, Recorder},
    clock::now,
    config::Config,
    source::{MailboxVisitor, Source},
    store::{Store, StoreError},
    tables::TableError,
};

/// How long each step of a stop may take, which makes less than ten seconds in all. The batches in flight are finished;
/// what takes longer, as with a database that somebody else keeps locked, is found again at the next start.
const GRACE: Duration = Duration::from_secs(6);
/// The lists that were not published with the last batch.
const LAST_PUBLISHING: Duration = Duration::from_secs(2);
/// The leases, and the database; its file is whole at any time.
const CLOSING: Duration = Duration::from_millis(500);

/// What the caller can tell a running daemon.
#[derive(Debug)]
pub struct Control {
    /// Finish the batches in flight and return.
    pub stop: CancellationToken,
    /// Each message reads anew by what mails are judged: the configuration and the tables that it names. When one of them
    /// is refused the old ones stay.
    pub reload: mpsc::Receiver<()>,
}

/// Why the daemon gave up. Whatever a retry can mend is retried instead.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Neither a mailbox nor a mail log.
    #[error("{0}")]
    NothingToRead(String),
    /// The code table or the phrases are refused.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// The keys of signed envelope senders can't be read.
    #[error("{0}")]
    Keys(String),
    /// The database or the published list can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every mailbox refused at the first attempt, and there is no mail log: each one's text.
    #[error("{0}")]
    Refused(String),
    /// A part of the daemon died: a bug.
    #[error("{0}; this is a bug, please report it")]
    Died(String),
}

/// Watches every mailbox and every mail log of `config` until `control.stop` is cancelled.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run(config: Config, mut control: Control) -> Result<(), DaemonError> {
    if let Some(advice) = config.reads_nothing() {
        return Err(DaemonError::NothingToRead(advice));
    }
    let count = config.mailboxes().len();
    let judge = Judge::new(&config)?.with_keys(&config).map_err(DaemonError::Keys)?;
    let lock = Lock::open(&config.database.path)?;
    let Some(opened) = control.stop.clone().run_until_cancelled(open(&config, judge)).await else {
        lock.note_stop();
        return Ok(());
    };
    let (store, recorder) = opened?;
    let recorder = Arc::new(recorder);
    let names: Vec<String> = config.mailboxes().into_iter().map(|mailbox| mailbox.name.to_owned()).collect();
    let names: Vec<String> = names.into_iter().chain(config.mail_log.keys().cloned()).collect();
    // Standard input has one reader in any case.
    let is_stdin = |name: &String| config.mail_log.get(name).is_some_and(|log| log.stdin);
    let leased = names.iter().filter(|name| !is_stdin(name)).cloned();
    let leases = Arc::new(Leases::new(&config, &recorder, store.clone(), lock, leased));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        database = %config.database.path.display(),
        suppressions = %config.suppressions.path.display(),
        cdb = %config.suppressions.cdb_path().display(),
        mailboxes = count,
        mail_logs = config.mail_log.len(),
        "started"
    );
    // What is free is taken before any mailbox is opened: the first attempt tells whether a mailbox refuses.
    match control.stop.run_until_cancelled(leases.turn(false)).await {
        Some(taken) => taken?,
        None => {
            leases.note_stop();
            return Ok(());
        }
    }

    let mut watches = Watches {
        recorder: &recorder,
        leases: &leases,
        stop: &control.stop,
        tasks: JoinSet::new(),
        waits: Vec::new(),
        attempts: mpsc::channel(count.max(1)),
    };
    config.visit_mailboxes(&mut watches);
    let Watches { mut tasks, waits, attempts: (_, mut attempts), .. } = watches;
    for (name, settings) in &config.mail_log {
        tasks.spawn(mail_log::follow(
            name.clone(),
            settings.clone(),
            config.report.campaign_headers.clone(),
            Arc::clone(&recorder),
            Arc::clone(&leases),
            control.stop.clone(),
        ));
    }
    let (kept, until) = (Arc::clone(&leases), control.stop.clone());
    tasks.spawn(async move { kept.keep(&until).await });
    tasks.spawn(publish::follow(Arc::clone(&recorder), control.stop.clone()));
    tasks.spawn(upkeep::keep(Arc::clone(&recorder), control.stop.clone()));
    tasks.spawn(upkeep::watch(Arc::clone(&recorder), names, upkeep::looks(control.stop.clone())));
    tasks.spawn(retention::keep(Arc::clone(&recorder), store, config.retention, control.stop.clone()));

    let ended = supervise(&config, &recorder, &mut control, &mut tasks, &waits, &mut attempts).await;
    systemd::stopping();
    control.stop.cancel();
    let in_flight = tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
    if in_flight.is_err() {
        tracing::warn!("stopped in the middle of a batch that took too long; it is read again at the next start");
        tasks.shutdown().await;
    }
    // The lists that take their time must not wait for the next start.
    match tokio::time::timeout(LAST_PUBLISHING, recorder.publish()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("{error}; published at the next start"),
        Err(_) => tracing::warn!("the last changes are published at the next start"),
    }
    if ended.is_ok() {
        leases.note_stop();
        if !matches!(tokio::time::timeout(CLOSING, leases.release()).await, Ok(Ok(()))) {
            tracing::debug!("the leases were not given back in time, and run out");
        }
    }
    if tokio::time::timeout(CLOSING, recorder.close()).await.is_err() {
        tracing::debug!("the database was not closed in time");
    }
    tracing::info!("stopped");
    ended
}

async fn open(config: &Config, judge: Judge) -> Result<(Store, Recorder), StoreError> {
    let store = app::open_store(config).await?;
    let recorder = Recorder::new(config, judge, store.clone(), now()).await?;
    for mailbox in app::believed_by_anybody(config, &store, &[]).await? {
        tracing::warn!(mailbox, "{}", app::HOW_TO_DOUBT);
    }
    Ok((store, recorder))
}

/// What the configuration says beside that by which mails are judged.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    AsAtTheStart,
    Changed,
}

/// The judge that the configuration asks for by now: files of tables may have been named since the start.
fn read_anew(mut config: Config) -> Result<(Judge, Rest), String> {
    let mut rest = Rest::AsAtTheStart;
    if let Some(file) = &config.file {
        let mut now = Config::load(Some(file)).map_err(|error| error.to_string())?;
        config.judge_as(&now);
        now.suppressions.accept_new_store = config.suppressions.accept_new_store;
        if now != config {
            rest = Rest::Changed;
        }
    }
    let judge = Judge::new(&config).map_err(|error| error.to_string())?.with_keys(&config)?;
    Ok((judge, rest))
}

/// The tasks on their way to be supervised.
struct Watches<'a> {
    recorder: &'a Arc<Recorder>,
    leases: &'a Arc<Leases>,
    stop: &'a CancellationToken,
    tasks: JoinSet<Result<(), StoreError>>,
    /// Of each mailbox, and its name.
    waits: Vec<(String, Waits)>,
    attempts: (mpsc::Sender<FirstAttempt>, mpsc::Receiver<FirstAttempt>),
}

impl MailboxVisitor for Watches<'_> {
    fn visit<S: Source>(&mut self, name: &str, settings: &S::Settings) {
        let source = S::new(name, settings.clone());
        let (recorder, leases) = (Arc::clone(self.recorder), Arc::clone(self.leases));
        let watch = Watch::new(name, source, recorder, leases, self.stop.clone(), self.attempts.0.clone());
        self.waits.push((name.to_owned(), watch.waits()));
        self.tasks.spawn(watch.run());
    }
}

/// Returns when the daemon is to stop: told so, or because something happened that no retry mends.
async fn supervise(
    config: &Config,
    recorder: &Recorder,
    control: &mut Control,
    tasks: &mut JoinSet<Result<(), StoreError>>,
    waits: &[(String, Waits)],
    attempts: &mut mpsc::Receiver<FirstAttempt>,
) -> Result<(), DaemonError> {
    let mut refused = Vec::new();
    let mut awaited = config.mailboxes().len();
    if awaited == 0 {
        systemd::ready();
    }
    let mut watchdog = systemd::Watchdog::new();
    loop {
        tokio::select! {
            () = control.stop.cancelled() => return Ok(()),
            Some(attempt) = attempts.recv() => {
                awaited -= 1;
                if let FirstAttempt::Refused { mailbox, why } = attempt {
                    refused.push((mailbox, why));
                }
                if awaited == 0 {
                    // One that can be read is reason enough to go on, and so is a log; the others are tried again and again.
                    if refused.len() == config.mailboxes().len() && config.mail_log.is_empty() {
                        let all: Vec<_> = refused.iter().map(|(mailbox, why)| format!("{mailbox}: {why}")).collect();
                        return Err(DaemonError::Refused(all.join("; ")));
                    }
                    for (mailbox, why) in refused.drain(..) {
                        tracing::error!(mailbox, "{why}");
                    }
                    systemd::ready();
                }
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(error) => return Err(DaemonError::Died(format!("the task of a mailbox died: {error}"))),
            },
            Some(()) = control.reload.recv() => reload(config, recorder).await,
            () = watchdog.due() => match waits.iter().find(|(_, waits)| !waits.are_on_time()) {
                None => systemd::alive(),
                Some((mailbox, _)) => tracing::error!(mailbox, "hangs; systemd is not told that all is well"),
            },
        }
    }
}

/// A table with a mistake must not stop mail from being judged: the old one stays.
async fn reload(config: &Config, recorder: &Recorder) {
    systemd::reloading();
    let owned = config.clone();
    match tokio::task::spawn_blocking(move || read_anew(owned)).await {
        Ok(Ok((judge, rest))) => {
            recorder.replace_judge(judge);
            tracing::info!("all tables read anew");
            if rest == Rest::Changed {
                tracing::warn!("the configuration says more that is new: it comes into force with a restart");
            }
        }
        Ok(Err(error)) => tracing::error!("tables not reloaded, the old ones stay in force: {error}"),
        Err(error) => tracing::error!("tables not reloaded, the old ones stay in force: {error}"),
    }
    systemd::ready();
}
