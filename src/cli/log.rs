//! Where the daemon's log lines go: standard error, in the form that the configuration asks for.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Once a process; later calls change nothing.
pub(super) fn start(log: &Log) {
    // A refused certificate is told once, with what to do, by whoever opened the connection.
    let filter = format!("rustls_platform_verifier=off,{}", log.level);
    let filter = EnvFilter::try_new(filter).expect("the configuration was validated");
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    let colours = || stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // An error here says that somebody else logs already.
    let _ = match log.format {
        LogFormat::Auto => builder.with_ansi(colours()).try_init(),
        LogFormat::Pretty => builder.with_ansi(true).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
