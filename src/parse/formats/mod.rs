//! Programs that write bounces without a DSN part. What tells them apart and what stands before their failed
//! addresses is data ([`table`], config/formats.toml); the general text reader reads them all.

mod table;

pub(super) use table::Formats;

use super::{kinds::Likeness, mime::Mail};
use crate::report::Original;

/// A mail that looks like a delivery report.
pub(super) struct Bounce<'m> {
    /// The mail.
    pub mail: &'m Mail<'m>,
    /// What is known of the returned original.
    pub original: &'m Original,
    /// Why it looks like a report.
    pub likeness: &'m Likeness,
}
