//! `bounced run`: signals and log lines around [`daemon::run`].

use std::{
    env,
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{Exit, Failure, Globals, log};
use crate::daemon::{self, Control, DaemonError};

/// Watch the configured mailboxes until told to stop.
///
/// SIGTERM and SIGINT finish the batches in flight and end the process, another one a second or more later ends it at
/// once; SIGHUP reads the tables anew: codes, phrases, kinds, formats, words, policy, newly named files included. The log
/// goes to standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced check --connect && bounced run
  bounced --config ./bounced.toml run
  BOUNCED__LOG__LEVEL=debug BOUNCED__LOG__FORMAT=json bounced run")]
pub struct Run {
    /// Let the database replace published lists that were made from another one, or from a later state of it: after a
    /// backup was restored, or to begin anew. What only they list is dropped.
    #[arg(long)]
    accept_new_store: bool,
}

impl Run {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        share_heaps();
        let mut config = globals.config()?;
        config.suppressions.accept_new_store = self.accept_new_store;
        let lines = log::start(&config.log);
        let failed = |error| Failure::new(Exit::Software, format_args!("can't start: {error}"));
        let runtime = tokio::runtime::Runtime::new().map_err(failed)?;
        let ended = runtime.block_on(async {
            let (reload, reloads) = mpsc::channel(1);
            let stop = CancellationToken::new();
            let control = Control { stop: stop.clone(), reload: reloads };
            tokio::spawn(Signals::listen().map_err(failed)?.pass_on(stop, reload, lines.clone()));
            daemon::run(config, control).await?;
            Ok(Exit::Yes)
        });
        // A thread that is still busy with a mail or the disk does nothing that the next start does not do again.
        runtime.shutdown_timeout(LAST_THREADS);
        ended
    }
}

/// How long the end waits for them.
const LAST_THREADS: Duration = Duration::from_millis(500);

/// Has all threads share two heaps, by beginning anew with glibc's MALLOC_ARENA_MAX: it is read once, at the start.
/// Else each of a dozen threads reserves 64 MB of address space, and keeps what it freed to itself: where memory is
/// limited the daemon would run into the limit with most of it unused. Where it can't begin anew it goes on as it is.
fn share_heaps() {
    const VARIABLE: &str = "MALLOC_ARENA_MAX";
    let mut arguments = env::args_os();
    if let (None, Some(name), Ok(program)) = (env::var_os(VARIABLE), arguments.next(), env::current_exe()) {
        let error = Command::new(program).arg0(name).args(arguments).env(VARIABLE, "2").exec();
        tracing::debug!("can't begin anew with {VARIABLE}: {error}");
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let exit = match error {
            DaemonError::Store(error) => return error.into(),
            DaemonError::NothingToRead(_) | DaemonError::Tables(_) | DaemonError::Keys(_) => Exit::Config,
            DaemonError::Refused(_) => Exit::Refused,
            DaemonError::Died(_) => Exit::Software,
        };
        Self::new(exit, error)
    }
}

/// A terminal and a script around the process, or timeout(1), often send two signals where one is meant.
const ONE_WISH: Duration = Duration::from_secs(1);

/// Tells the first wish that the process ends from the next.
#[derive(Default)]
pub(super) struct Wishes(Option<Instant>);

/// What a signal means that asks for the end.
pub(super) enum Wish {
    /// To finish what is in hand.
    End,
    /// The same, said twice.
    Same,
    /// To end at once.
    AtOnce,
}

impl Wishes {
    pub(super) fn heard(&mut self) -> Wish {
        match self.0 {
            None => {
                self.0 = Some(Instant::now());
                Wish::End
            }
            Some(first) if first.elapsed() < ONE_WISH => Wish::Same,
            Some(_) => Wish::AtOnce,
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn pass_on(mut self, stop: CancellationToken, reload: mpsc::Sender<()>, lines: log::Waiting) {
        let mut wishes = Wishes::default();
        loop {
            let (name, kind) = tokio::select! {
                _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate()),
                _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
                _ = self.hangup.recv() => {
                    // Full means that a reload is already due, and it will read the newest file.
                    let _ = reload.try_send(());
                    continue;
                }
            };
            match wishes.heard() {
                Wish::End => {
                    tracing::info!("{name}: finishing the batches in flight");
                    stop.cancel();
                }
                Wish::Same => {}
                Wish::AtOnce => {
                    tracing::warn!("{name} again: ending at once");
                    lines.finish();
                    std::process::exit(128 + kind.as_raw_value());
                }
            }
        }
    }
}
