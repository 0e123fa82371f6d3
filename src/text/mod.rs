//! What every floor needs to know of words: the one form in which they are compared, addresses, and what stands where.
//! Knows no mail, no table and no word of its own.

mod address;
mod addresses;
mod fold;
mod mask;
mod unseen;

pub use address::Address;
pub use addresses::{address_of, addresses};
pub use fold::{Folded, fold, fold_words};
pub use unseen::{is_unseen, printable};
