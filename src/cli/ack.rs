//! `bounced ack`: a person knows of messages that can't be read.

use super::{Exit, Failure, Globals, retry::Which};
use crate::store::PendingAnswer;

/// Say that you know of messages that can't be read: they don't make `bounced status` fail any longer, and are tried
/// again now and then all the same. Exit code 1 when there are none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced ack                   all that wait now
  bounced ack bounces 7:4711    one message of the mailbox `bounces`")]
pub struct Ack {
    #[command(flatten)]
    which: Which,
}

impl Ack {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        self.which.answer(globals, PendingAnswer::Acknowledge, "known to you")
    }
}
