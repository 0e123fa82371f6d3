//! What every floor needs to know of words: the one form in which they are compared, addresses, and what stands where.
//! Knows no mail, no table and no word of its own.

mod address;
mod addresses;
mod asides;
mod count;
mod fold;
mod host;
mod index;
mod lines;
mod mailbox;
mod script;
mod unseen;

pub use address::Address;
pub use addresses::{address_of, addresses, is_address_label, unescaped};
pub use asides::{Asides, BEHIND_REPLY, IN_REPLY_TO, host_names, is_under};
pub use count::{count, grouped};
pub use fold::{Folded, fold, fold_reply, fold_words};
pub use host::SubmissionHost;
pub use index::Index;
pub use lines::split_lines;
pub use mailbox::{host_form, is_internal, is_same_mailbox, organisation};
pub use script::is_unspaced;
pub use unseen::{is_unseen, printable};
