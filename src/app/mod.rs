//! The use cases: what the daemon, the command line and whatever door comes next ask for. It knows every floor below
//! and wires them; it knows no arguments, no terminal and no signals, and asks no clock: the time comes in.

pub mod beside;
mod check;
mod cores;
mod forget;
mod import;
mod intake;
mod judge;
mod list;
mod login;
mod mail_log;
mod open;
mod reclassify;
mod record;
mod report;
mod retention;
mod sent;
mod shown;
mod signer;
mod status;
mod unrecognised;
mod witnesses;

pub use check::{doubts, published_lists, try_mailbox, try_out, unusable_file, vouching_since};
pub use cores::{Load, in_order};
pub use forget::{ForgetStage, ForgottenPerson};
pub use import::{BadRows, Contents, ImportStage, ImportedFile, Importer};
pub use intake::{HandedOver, Intake};
pub use judge::{Judge, TableFiles};
pub use list::{List, Standing};
pub use login::consent;
pub use mail_log::MailLog;
pub use open::open_store;
pub use reclassify::Reclassification;
pub use record::{Begun, Halt, Judged, Recorded, Recorder, Tally};
pub use report::{MailReport, ReportLine, ShownAlarm, report};
pub use retention::{Outdated, erase_hours, erase_outdated};
pub use sent::{Believed, SentFile, believe_sent, record_sent};
pub use shown::Shown;
pub use signer::{NewKey, Signer, add_key};
pub use status::{
    Forgetting, HOW_TO_DOUBT, MailboxHealth, MailboxState, Status, Unforgotten, UnwritableDisk, Wrong, answer_pending,
    believed_by_anybody, status,
};
pub use unrecognised::{ReadAgain, look_for, read_again, unrecognised};
pub use witnesses::{Vouched, Witnesses};
