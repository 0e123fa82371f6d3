//! Where bounces lie: the contract between a mailbox and whoever records what it holds. Knows nothing of bounces and of
//! databases.
//!
//! The order is fixed: [`Source::open`], then for each batch [`Source::fetch`], the caller's commit and
//! [`Source::settle`], and [`Source::wait`] when a fetch came back empty. The next two batches may be fetched before
//! one is settled. Each message has a state of its own: one that can't be read or settled now holds up no other.

mod backoff;
mod credentials;
mod http;
pub mod login;
mod progress;
mod settings;
mod tls;

use std::{future::Future, time::Duration};

pub use backoff::Backoff;
pub use credentials::{Secret, SecretSource};
pub use progress::Progress;
pub use settings::{After, Settings, Timeouts};
pub(crate) use settings::{HOST, is_host, is_word, keys, parsed};
pub use tls::Tls;

use crate::message::{Batch, Disposition, Place, Resume};

/// The one list of sources: each is a module of this floor, called like its section of the configuration, with a
/// [`Source`] of this name. Whoever needs something for each of them hands in a macro.
macro_rules! sources {
    ($for_each:ident) => {
        $for_each! {
            imap::ImapSource,
            maildir::MaildirSource,
            pop3::Pop3Source,
            lmtp::LmtpSource,
        }
    };
}
pub(crate) use sources;

macro_rules! modules {
    ($($module:ident::$source:ident),+ $(,)?) => { $(pub mod $module;)+ };
}
sources!(modules);

/// Why a mailbox did not answer; each variant is a thing that a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A retry can't help: wrong password, missing folder, bad certificate. The text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The connection is gone or the server is busy: back off and try again.
    #[error("{0}")]
    Lost(String),
    /// The server answers and wants to be left alone for minutes: each attempt before that makes it worse.
    #[error("{0}")]
    Later(String),
}

/// How long a call to a [`Source`] may last that says nothing else.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A mailbox that yields messages and is told, after the commit, what became of them.
///
/// Every method may be dropped at an await point (stop signal); the next call on a fresh `open` must then find
/// everything that was not settled.
pub trait Source: Send + Sized + 'static {
    /// What the configuration says about one mailbox of this kind.
    type Settings: Settings + Clone;

    /// Nothing is opened yet. `mailbox` is its name in the configuration, in the log and in the database.
    fn new(mailbox: &str, settings: Self::Settings) -> Self;

    /// Where to say before each wait how long it may last. The caller has announced [`PATIENCE`] for every call: a
    /// source that never waits longer need not say so.
    fn report_to(&mut self, _: Progress) {}

    /// A place in words for people.
    fn describe(place: &Place) -> String;

    /// Connects, and looks where the last run left the mailbox.
    fn open(&mut self, resume: Resume) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// The next batch, oldest first, at most the configured number of messages; empty when there is none now. What was
    /// fetched since the last `open` does not come again, unless it was settled and is not recorded.
    fn fetch(&mut self) -> impl Future<Output = Result<Batch, SourceError>> + Send;

    /// Carries out the dispositions, and says of which messages that failed, and why: those are brought again later.
    /// Called only after the rows of these messages are committed.
    ///
    /// An error means that the mailbox must be opened anew, and that nothing is known of any of them.
    fn settle(
        &mut self,
        done: &[(Place, Disposition)],
    ) -> impl Future<Output = Result<Vec<(Place, String)>, SourceError>> + Send;

    /// What was fetched and is not settled is not recorded now: whoever waits for it may hear so. It comes again after the
    /// next `open`.
    fn put_off(&mut self) {}

    /// Now and then, some places that lie before the cursor and hold messages; most times none. Whichever of them the
    /// store knows nothing of was passed over by mistake: the caller hands those to [`Source::reread`]. Called only
    /// when nothing is under way.
    fn doubtful(&mut self) -> impl Future<Output = Result<Vec<Place>, SourceError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// These places come with the next batches, those that wait for another try as well.
    fn reread(&mut self, _: Vec<Place>) {}

    /// What a person should know and mend, although reading goes on.
    fn complaint(&self) -> Option<String> {
        None
    }

    /// Returns when there may be something new, or when the poll interval has passed.
    fn wait(&mut self) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Says goodbye. Errors at this point change nothing.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// Somebody who wants to do something with every mailbox of a configuration, whatever its source.
pub trait MailboxVisitor {
    /// Comes to the mailbox `name`, which an `S` reads.
    fn visit<S: Source>(&mut self, name: &str, settings: &S::Settings);
}
