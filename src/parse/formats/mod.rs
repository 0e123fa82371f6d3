//! Programs that write bounces without a DSN part: one file each, registered by one line in [`FORMATS`].
//! Each takes a mail that looks like a report and answers `None` unless it is sure that its program wrote it.

use super::{Draft, mime::Mail};
use crate::report::{Finding, Kind, Original};

/// A mail that looks like a delivery report.
pub(super) struct Bounce<'m> {
    /// The mail.
    pub mail: &'m Mail<'m>,
    /// What is known of the returned original.
    pub original: &'m Original,
    /// Why it looks like a report.
    pub likeness: &'m Finding<Kind>,
}

/// One format: its name in [`crate::report::Report::format`], and its reader.
type Format = (&'static str, fn(&Bounce<'_>) -> Option<Draft>);

/// Every format, the most particular first.
const FORMATS: &[Format] = &[];

/// The first format that knows the mail.
pub(super) fn read(bounce: &Bounce<'_>) -> Option<(&'static str, Draft)> {
    FORMATS.iter().find_map(|(name, read)| read(bounce).map(|draft| (*name, draft)))
}
