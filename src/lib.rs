//! `bounced` reads bounce messages, tells who did not get what and why, sorts each failed recipient hard or
//! soft by a code table, and keeps a suppression list. See docs/architecture.md for the floors.

pub mod app;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod codes;
pub mod config;
pub mod daemon;
mod files;
pub mod follower;
pub mod import;
pub mod maillog;
pub mod message;
pub mod parse;
pub mod policy;
pub mod redact;
pub mod report;
pub mod source;
pub mod store;
pub mod suppression;
pub mod tables;
pub mod text;
pub mod verp;
