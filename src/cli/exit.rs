//! Exit codes: the answers 0 and 1, clap's 2, and above them the codes of sysexits.h.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use super::terminal::{count, printable};
use crate::{
    app::Halt,
    source::SourceError,
    store::{BrakedRemote, StoreError},
};

/// How the process ends. The numbers are documented in docs/operations.md and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or the answer is yes.
    Yes = 0,
    /// The answer is no: no such code, not suppressed, not healthy.
    No = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The same, for mail servers (EX_USAGE).
    Misused = 64,
    /// A mail that nobody can ever read (EX_DATAERR).
    Data = 65,
    /// An input file can't be read (EX_NOINPUT).
    Input = 66,
    /// A mailbox can't be reached now (EX_UNAVAILABLE).
    Unavailable = 69,
    /// A part of the daemon died: a bug (EX_SOFTWARE).
    Software = 70,
    /// A database or an output can't be used: path, permission, corruption (EX_IOERR).
    Io = 74,
    /// Busy or full: the same command may succeed later (EX_TEMPFAIL).
    Later = 75,
    /// A mailbox refused: password, certificate, folder; or a mail server may not use the database (EX_NOPERM).
    Refused = 77,
    /// The configuration, the code table or the phrases are wrong, or files don't belong together and a person must say
    /// which one counts (EX_CONFIG).
    Config = 78,
}

/// The table of exit codes at the foot of `bounced --help`.
pub(super) const HELP: &str = "\
Exit codes:
   0  done, or the answer is yes
   1  the answer is no
   2  wrong command line
  64  the same, of `receive`
  65  a mail that can't ever be read
  66  an input file can't be read
  69  a mailbox can't be reached now
  70  a part of the daemon died: a bug
  74  a database or an output can't be used
  75  busy or full: try again later
  77  a mailbox refused: password, certificate, folder;
      `receive` may not use the database
  78  the configuration or a table is wrong, or the
      published list belongs to another database";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command stopped: one line that says what to do, and the exit code.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    /// `text` becomes `bounced: TEXT` on standard error.
    #[must_use]
    pub fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, text: text.to_string() }
    }

    /// The same of one mailbox among several.
    pub(super) fn of(self, mailbox: &str) -> Self {
        Self { text: format!("{mailbox}: {}", self.text), ..self }
    }

    /// Prints the line and gives the code.
    pub(super) fn report(self) -> ExitCode {
        if self.exit != Exit::Yes {
            complain(&self.text);
        }
        self.exit.into()
    }
}

/// Prints `bounced: TEXT` on standard error. A reader that is gone is no reason to panic, and one that doesn't read is
/// waited for a moment only: the exit code tells as well.
pub(super) fn complain(text: &str) {
    let line = format!("bounced: {text}\n");
    let (written, done) = mpsc::channel();
    thread::spawn(move || {
        let _ = io::stderr().write_all(line.as_bytes());
        let _ = written.send(());
    });
    let _ = done.recv_timeout(Duration::from_secs(1));
}

/// Says of providers that called more addresses dead within an hour than can be true what became of these.
pub(super) fn complain_of_brake(braked: &[BrakedRemote]) {
    for BrakedRemote { remote, held, taken_back } in braked {
        let (remote, held) = (printable(remote), count(*held as u64, "address"));
        let off = match taken_back {
            0 => String::new(),
            more => format!(", and {} taken off the list again for that", count(*more as u64, "address")),
        };
        complain(&format!(
            "{remote} called more addresses dead within an hour than can be true: {held} put into `bounced review list`{off}"
        ));
    }
}

/// Whether trying again helps decides the code; the text names the file.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::Busy(_) => Exit::Later,
            StoreError::Unusable(_) => Exit::Io,
            StoreError::Foreign(_) => Exit::Config,
            StoreError::Refused(_) => Exit::No,
            StoreError::Replaced(_) | StoreError::Overtaken(_) => Exit::Later,
        };
        Self::new(exit, error)
    }
}

impl From<Halt> for Failure {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Store(error) => error.into(),
            Halt::Source(error @ SourceError::Refused(_)) => Self::new(Exit::Refused, error),
            Halt::Source(error @ (SourceError::Lost(_) | SourceError::Later(_))) => Self::new(Exit::Unavailable, error),
        }
    }
}

/// Writing the answer failed. A reader that closed the pipe (`| head`) has what it wanted.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::BrokenPipe { Exit::Yes } else { Exit::Io };
        Self::new(exit, format_args!("can't write the answer: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::DaemonError;

    #[test]
    fn every_failure_has_the_code_that_scripts_and_systemd_act_upon() {
        let text = || "why".to_owned();
        let failures: [(Failure, u8); 18] = [
            (StoreError::Busy(text()).into(), 75),
            (StoreError::Unusable(text()).into(), 74),
            (StoreError::Foreign(text()).into(), 78),
            (StoreError::Replaced(text()).into(), 75),
            (StoreError::Overtaken(text()).into(), 75),
            (StoreError::Refused(text()).into(), 1),
            (Halt::Store(StoreError::Busy(text())).into(), 75),
            (Halt::Store(StoreError::Unusable(text())).into(), 74),
            (Halt::Source(SourceError::Lost(text())).into(), 69),
            (Halt::Source(SourceError::Later(text())).into(), 69),
            (Halt::Source(SourceError::Refused(text())).into(), 77),
            (DaemonError::NothingToRead(text()).into(), 78),
            (DaemonError::Store(StoreError::Busy(text())).into(), 75),
            (DaemonError::Store(StoreError::Unusable(text())).into(), 74),
            (DaemonError::Refused(text()).into(), 77),
            (DaemonError::Died(text()).into(), 70),
            (io::Error::from(io::ErrorKind::StorageFull).into(), 74),
            // `bounced … | head` has what it wanted.
            (io::Error::from(io::ErrorKind::BrokenPipe).into(), 0),
        ];
        for (failure, code) in failures {
            assert_eq!(failure.exit as u8, code, "{failure:?}");
        }
    }

    #[test]
    fn the_help_names_every_code() {
        use Exit::{Config, Data, Input, Io, Later, Misused, No, Refused, Software, Unavailable, Usage, Yes};
        let all = [Yes, No, Usage, Misused, Data, Input, Unavailable, Software, Io, Later, Refused, Config];
        assert_eq!(all.map(|exit| exit as u8), [0, 1, 2, 64, 65, 66, 69, 70, 74, 75, 77, 78], "they never change");
        for exit in all {
            let code = format!(" {} ", exit as u8);
            assert!(HELP.replace('\n', " ").contains(&code), "{exit:?}");
        }
    }
}
