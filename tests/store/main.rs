//! The store, the suppression policy over it and the published list, on real SQLite files.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod commit;
mod fixture;
mod published;
