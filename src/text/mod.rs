//! What every floor needs to know of words: the one form in which they are compared, addresses, and what stands where.
//! Knows no mail, no table and no word of its own.

mod address;
mod addresses;
mod fold;
mod mask;

pub use address::Address;
pub use addresses::addresses;
pub use fold::{Folded, fold, fold_words};
