//! The store, the suppression policy over it and the published list, on real SQLite files.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod always;
mod at_once;
mod brake;
#[path = "../support/cdb.rs"]
mod cdb;
mod cli;
mod commit;
mod complaints;
mod doubted;
mod errors;
mod events;
mod figures;
mod fixture;
mod forget;
mod import;
mod life;
mod mailbox;
mod migration;
mod published;
mod queries;
mod reclassify;
mod retention;
mod review;
mod snapshot;
mod totals;
mod trust;
