//! `bounced import`: the mails of archives, recorded as of the time when they arrived.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::UNIX_EPOCH,
};

use indicatif::ProgressBar;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Failure, Globals,
    exit::complain,
    input::{self, Input},
    judge_with_keys,
    receive::name_problem,
    run::{Wish, Wishes},
    suppressions::NewStore,
    terminal::{count, grouped, long_task, printable, show_reading},
};
use crate::{
    app::{HandedOver, Intake, Judge, Tally},
    clock::now,
    config::Config,
    policy::{self, DAY},
};

/// Record the mails of archives: mbox files, Maildirs, single mails, also packed by gzip.
///
/// Each mail counts as of the time when it arrived, as its topmost Received field says, else its Date, and never later than
/// now: bounces of ten years ago suppress whom the policy still suppresses for them today. What is on record already counts
/// no more, so an import that was stopped is begun again and goes on where it was: Ctrl-C (SIGINT) and SIGTERM finish
/// the part in hand and publish it, exit code 75; another one a second or more later ends it at once. The mails stay as
/// they are. For the lists of other programs there is `bounced suppressions import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced import Inbox                  an mbox file
  bounced import /var/mail/bounces/     a Maildir, or whatever lies below
  zcat -f bounce.eml | bounced import -")]
pub struct Import {
    /// Mail files, mbox files, directories (searched through all levels), or `-` for standard input; what gzip packed is
    /// unpacked.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Under which name they are recorded, `archive` or `archive-` and more: rules and [trust.mailbox] may speak of it.
    #[arg(long, value_name = "NAME", default_value = Config::ARCHIVE)]
    mailbox: String,
    #[command(flatten)]
    store: NewStore,
}

/// So many mails are recorded together, or those that have so many octets.
const AT_ONCE: (usize, usize) = (500, 8 << 20);

impl Import {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let mut config = globals.config()?;
        config.suppressions.accept_new_store = self.store.accept;
        if let Some(problem) = self.name_problem(&config) {
            return Err(Failure::new(Exit::Usage, problem));
        }
        let judge = judge_with_keys(&config)?;
        let runtime = tokio::runtime::Runtime::new();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Software, format_args!("can't start: {error}")))?;
        let ended = runtime.block_on(self.run(&config, judge));
        // Whatever still runs does nothing that anybody waits for.
        runtime.shutdown_background();
        ended
    }

    /// Why nothing can be recorded under the name.
    fn name_problem(&self, config: &Config) -> Option<String> {
        let Self { mailbox, .. } = self;
        // By the name it stays known that these mails say themselves when they came.
        let strange = || format!("--mailbox {mailbox}: expected `archive`, or a name such as archive-2016");
        name_problem(config, mailbox).or_else(|| (!policy::is_archive(mailbox)).then(strange))
    }

    async fn run(&self, config: &Config, judge: Judge) -> Result<Exit, Failure> {
        let stop = stop_on_signals()
            .map_err(|error| Failure::new(Exit::Software, format_args!("can't listen to signals: {error}")))?;
        let input::Found { files, skipped, empty } = input::files(&self.paths);
        // A path that nobody can read is no reason to give the lists up.
        let named = || files.iter().filter(|path| *path != Path::new("-"));
        if self.store.accept
            && let Some((path, error)) = named().find_map(|path| Some((path, input::text(path).err()?)))
        {
            let shown = path.display().to_string();
            let what = format_args!("{}: can't read it: {error}; nothing was changed", printable(&shown));
            return Err(Failure::new(Exit::Input, what));
        }
        let mut archive = Archive {
            intake: Intake::open(config, judge, &self.mailbox, now()).await?,
            bar: long_task(files.iter().map(|file| input::octets(file)).sum()),
            waiting: Vec::new(),
            octets: 0,
            tally: Tally::default(),
            stop,
        };
        show_reading(&archive.bar);
        let mut exit = Exit::Yes;
        let mut no_mail = Vec::new();
        for path in files.iter().filter(|path| !is_unfinished(path)) {
            if archive.stop.is_cancelled() {
                break;
            }
            let problem = match archive.read(path).await? {
                Ok(true) => continue,
                Ok(false) if !self.paths.contains(path) => {
                    no_mail.push(path);
                    continue;
                }
                Ok(false) => "no mail".to_owned(),
                Err(error) => format!("can't read it: {error}"),
            };
            // The rest goes on; the exit code tells at the end.
            let name = printable(&path.display().to_string());
            archive.bar.suspend(|| complain(&format!("{name}: {problem}")));
            exit = Exit::Input;
        }
        let is_stopped = archive.stop.is_cancelled();
        archive.record().await?;
        let Archive { intake, bar, tally, .. } = archive;
        bar.finish_and_clear();
        for (path, why) in &skipped {
            complain(&format!("{}: skipped, {why}", printable(&path.display().to_string())));
        }
        if let Some(first) = no_mail.first() {
            let files = count(no_mail.len() as u64, "file");
            complain(&format!("passed over {files} without mail: {}", one_of(first, no_mail.len())));
            // Where nothing else lay, another place was meant.
            if tally.new + tally.duplicates == 0 {
                exit = Exit::Input;
            }
        }
        for directory in empty {
            complain(&format!("{}: no mail in it", printable(&directory.display().to_string())));
            exit = Exit::Input;
        }
        writeln!(io::stdout(), "{}", told(&tally))?;
        let published = intake.publish().await;
        intake.close().await;
        published?;
        if is_stopped {
            let recorded = count(tally.new as u64, "mail");
            return Err(Failure::new(Exit::Later, format_args!("stopped; {recorded} recorded; start it again")));
        }
        Ok(exit)
    }
}

/// An archive on its way into the store.
struct Archive {
    intake: Intake,
    bar: ProgressBar,
    waiting: Vec<HandedOver>,
    octets: usize,
    tally: Tally,
    /// Somebody wants an end.
    stop: CancellationToken,
}

impl Archive {
    /// Reads a file to its end, to where it can't be read any more, or until somebody wants an end; false where it holds
    /// no mail.
    async fn read(&mut self, path: &Path) -> Result<io::Result<bool>, Failure> {
        let written = written(path);
        let mut is_known = false;
        let mut mails = read_apart(path, &self.bar);
        let mut doubtful = 0;
        let ended = loop {
            let mail = tokio::select! {
                biased;
                () = self.stop.cancelled() => break Ok(true),
                mail = mails.recv() => mail,
            };
            let Some(mail) = mail else { break Ok(is_known) };
            let Input { bytes, size, rest, doubtful: more, .. } = match mail {
                Ok(mail) => mail,
                Err(error) => break Err(error),
            };
            doubtful += more;
            if size == 0 {
                continue;
            }
            // In an mbox what follows is mail, too, however it begins.
            if !is_known && !input::begins_as_mail(&bytes) {
                return Ok(Ok(false));
            }
            is_known = true;
            self.octets += bytes.len();
            self.waiting.push(HandedOver::archived(bytes, size, rest, written, now()));
            if self.waiting.len() >= AT_ONCE.0 || self.octets >= AT_ONCE.1 {
                self.record().await?;
            }
        };
        if doubtful > 0 {
            let (name, lines) = (path.display().to_string(), count(doubtful, "line"));
            let look = if doubtful == 1 { "looks" } else { "look" };
            self.bar.suspend(|| {
                complain(&format!(
                    "{}: {lines} within mails {look} like the beginning of another mail, and count as text: no blank \
                     line before, or no header behind",
                    printable(&name)
                ));
            });
        }
        Ok(ended)
    }

    /// Records what waits.
    async fn record(&mut self) -> Result<(), Failure> {
        let mut mails = std::mem::take(&mut self.waiting);
        self.octets = 0;
        mails.sort_by_key(|mail| mail.received);
        let day = |mail: &HandedOver| mail.received.div_euclid(DAY);
        while let Some(first) = mails.first().map(day) {
            // What one day leads to may be over before the next: whoever is on the list doesn't come onto it.
            let later = mails.split_off(mails.partition_point(|mail| day(mail) == first));
            let recorded = self.intake.record(std::mem::replace(&mut mails, later), now()).await;
            let recorded = recorded.map_err(|error| {
                error.and("what was recorded until then stays recorded; the same command does the rest")
            })?;
            self.tally.add(recorded);
        }
        Ok(())
    }
}

/// The mails of a file, read by a thread of its own: standard input may be silent for ever, and whoever wants an end gets it
/// all the same.
fn read_apart(path: &Path, bar: &ProgressBar) -> mpsc::Receiver<io::Result<Input>> {
    let (give, take) = mpsc::channel(1);
    let (path, bar) = (path.to_owned(), bar.clone());
    thread::spawn(move || {
        for mail in input::watched_mails(&path, &bar) {
            if give.blocking_send(mail).is_err() {
                break;
            }
        }
    });
    take
}

/// Is cancelled by the first SIGINT or SIGTERM; another one a second or more later ends the process.
fn stop_on_signals() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let mut wishes = Wishes::default();
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            match wishes.heard() {
                Wish::End => told.cancel(),
                Wish::Same => {}
                Wish::AtOnce => std::process::exit(128 + kind.as_raw_value()),
            }
        }
    });
    Ok(stop)
}

/// When a file was written: the latest time at which its mails can have arrived. Of standard input nobody knows.
fn written(path: &Path) -> i64 {
    let modified = fs::metadata(path).ok().filter(fs::Metadata::is_file).and_then(|file| file.modified().ok());
    let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_else(now)
}

/// A mail that is still being delivered into a Maildir lies in its `tmp`.
fn is_unfinished(path: &Path) -> bool {
    let Some(directory) = path.parent().filter(|directory| directory.ends_with("tmp")) else { return false };
    ["new", "cur"].iter().all(|sub| directory.with_file_name(sub).is_dir())
}

/// The first of so many files, by its name.
fn one_of(first: &Path, all: usize) -> String {
    let name = printable(&first.display().to_string()).to_string();
    if all == 1 { name } else { format!("{name} and others") }
}

fn told(Tally { new, duplicates, kinds, suppressed }: &Tally) -> String {
    // Of those that were known some are judged all the same, and most are not.
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{} {kind}", grouped(*count as u64))).collect();
    format!(
        "{}: {} new, {} known already; judged now: {}; suppressed: {}",
        count((new + duplicates) as u64, "mail"),
        grouped(*new as u64),
        grouped(*duplicates as u64),
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") },
        count(*suppressed as u64, "address")
    )
}
