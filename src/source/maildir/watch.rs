//! inotify(7) on the directories of a Maildir: names that appeared there. The kernel keeps them, so many and no more,
//! until somebody asks. On a network file system it knows only of what this machine did.

use std::{collections::BTreeMap, mem::MaybeUninit, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::{self, Errno},
};
use tokio::io::unix::AsyncFd;

use super::files::{Maildir, Name, Stamps};

/// Two directories that are watched. Nothing is asked of what already lies in them.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
    /// By the number of the part in the Maildir.
    watched: Vec<i32>,
    /// Which directories these are, whatever they are called by now.
    pub stamps: Stamps,
}

/// What happened since the last question.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// What appeared, and whether it did so whole.
    pub names: BTreeMap<Name, Appeared>,
    /// Not everything was told: only a listing does.
    pub overflowed: bool,
    /// A directory was moved or removed, and nothing is heard of what lies under its name now.
    pub ended: bool,
}

impl Noticed {
    /// Whether there is anything to look at.
    pub(super) fn is_something(&self) -> bool {
        !self.names.is_empty() || self.overflowed || self.ended
    }
}

/// How a file came to be where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Appeared {
    /// It was made there or linked: whoever makes it may still be writing.
    Made,
    /// It was renamed, or whoever wrote it has closed it; or nobody knows.
    Whole,
}

impl Watch {
    pub(super) fn new(maildir: &Maildir) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // A delivery is a rename or a link (with qmail and Postfix); copies are made in place and closed.
        let appears = WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::CLOSE_WRITE;
        let flags = appears | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        let add = |part: &Path| inotify::add_watch(&inotify, part, flags);
        let watched = maildir.parts().iter().map(|part| add(part)).collect::<io::Result<_>>()?;
        #[expect(
            deprecated,
            reason = "an OwnedFd is open as long as it is there, and what replaces this is unsafe code"
        )]
        let inotify = AsyncFd::new(inotify).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(Self { inotify, watched, stamps: maildir.stamps() })
    }

    /// Returns when something may have happened.
    pub(super) async fn happens(&self) {
        match self.inotify.readable().await {
            // Cleared before it is read, so that what comes meanwhile counts as new.
            Ok(mut ready) => ready.clear_ready(),
            // The runtime is going down.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes what the kernel has kept.
    pub(super) fn noticed(&self) -> Noticed {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut noticed = Noticed::default();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return noticed,
                Err(Errno::INTR) => continue,
                Err(_) => {
                    noticed.ended = true;
                    return noticed;
                }
            };
            let what = event.events();
            noticed.overflowed |= what.contains(ReadFlags::QUEUE_OVERFLOW);
            noticed.ended |= what
                .intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED);
            let part = self.watched.iter().position(|watched| *watched == event.wd());
            let name = event.file_name().and_then(|name| name.to_str().ok());
            if let (Some(part), Some(name)) = (part, name)
                && let Some(name) = Name::new(name, part)
            {
                let whole = what.intersects(ReadFlags::MOVED_TO | ReadFlags::CLOSE_WRITE);
                let appeared = noticed.names.entry(name).or_insert(Appeared::Made);
                *appeared = (*appeared).max(if whole { Appeared::Whole } else { Appeared::Made });
            }
        }
    }
}
