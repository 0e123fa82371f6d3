//! What every floor needs to know of words: the one form in which they are compared, addresses, and what stands where.
//! Knows no mail, and no words but the labels of addresses and the frame around a reply.

mod address;
mod addresses;
mod asides;
mod count;
mod fold;
mod host;
mod index;
mod labels;
mod lines;
mod mailbox;
mod script;
mod unseen;

pub use address::Address;
pub use addresses::{address_of, addresses, unescaped};
pub use asides::{Asides, BEHIND_REPLY, IN_REPLY_TO, SAID, host_names, is_under};
pub use count::{count, grouped};
pub use fold::{Folded, fold, fold_reply, fold_words, folded};
pub use host::SubmissionHost;
pub use index::Index;
pub use labels::is_address_label;
pub use lines::split_lines;
pub use mailbox::{host_form, is_internal, is_same_mailbox, organisation};
pub use script::is_unspaced;
pub use unseen::{is_unseen, printable};
