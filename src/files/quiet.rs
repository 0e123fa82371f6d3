//! Whether files changed since somebody asked what they say, so that an idle process asks nobody.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use tokio::time::Instant;

/// Two changes within some milliseconds may have the same time: what looks the same for so long is the same.
const SETTLED: Duration = Duration::from_millis(500);

/// Device, number, size and last change of a file.
type Look = (u64, u64, u64, i64, i64);

/// Whether the files say that nothing can have happened.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// What they looked like, and since when.
    seen: Option<(Vec<Option<Look>>, Instant)>,
    /// Whether all was asked that could be in files that look so.
    is_known: bool,
}

impl Quiet {
    /// Looks at the files at `now`; says whether nothing happened since all was known.
    pub(crate) fn look<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>, now: Instant) -> bool {
        let look = |path: &Path| {
            let found = path.metadata().ok()?;
            Some((found.dev(), found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
        };
        let looks: Vec<_> = files.into_iter().map(look).collect();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != looks) {
            self.seen = Some((looks, now));
            self.is_known = false;
        }
        self.is_known
    }

    /// Notes whether `all` was asked that there is, from `began` on, after the look. What was asked right after a change may
    /// lack another one.
    pub(crate) fn note_asked(&mut self, all: bool, began: Instant) {
        self.is_known = all && self.seen.as_ref().is_some_and(|(_, since)| began - *since >= SETTLED);
    }
}
