//! Where the daemon's log lines go: standard error, in the form that the configuration asks for. Nobody waits for it:
//! a log that is full, closed or read by nobody costs lines, which are counted, and nothing else.

use std::{
    fmt::Write as _,
    io::{self, Write, stderr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use serde_json::json;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::terminal::{Colours, grouped};
use crate::{
    config::{Log, LogFormat},
    text::is_unseen,
};

/// So many lines wait at most for whoever reads the log.
const MOST_WAITING: usize = 10_000;

/// Holds the lines that wait; when the last of its clones is gone they are still written, if that takes no longer than
/// a moment.
#[derive(Clone)]
#[must_use = "lines that wait are lost when the process ends without it"]
pub(super) struct Waiting(Arc<Mutex<Option<WorkerGuard>>>);

impl Waiting {
    /// Writes what waits; nothing is written after that.
    pub(super) fn finish(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Once a process; later calls change nothing.
pub(super) fn start(log: &Log) -> Waiting {
    // A refused certificate is told once, with what to do, by whoever opened the connection.
    let filter = format!("rustls_platform_verifier=off,{}", log.level);
    let filter = EnvFilter::try_new(filter).expect("the configuration was validated");
    let (lines, guard) = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_WAITING).finish(stderr());
    let writer = Lines::new(lines, log.format);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    // An error here says that somebody else logs already.
    let _ = match log.format {
        LogFormat::Auto => builder.with_ansi(Colours::of(&stderr()).are_wanted()).try_init(),
        LogFormat::Pretty => builder.with_ansi(true).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // The hook that comes with Rust writes to standard error itself, and would wait for its reader.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}; this is a bug, please report it")));
    Waiting(Arc::new(Mutex::new(Some(guard))))
}

/// Hands out a writer for each line.
struct Lines {
    lines: NonBlocking,
    dropped: ErrorCounter,
    /// Of how many dropped lines the log tells already.
    told: Arc<AtomicUsize>,
    escape: fn(char, &mut String),
    /// The line that tells how many were dropped.
    of_dropped: fn(usize) -> String,
}

impl Lines {
    fn new(lines: NonBlocking, format: LogFormat) -> Self {
        let (dropped, told) = (lines.error_counter(), Arc::default());
        match format {
            LogFormat::Json => Self { lines, dropped, told, escape: escape_json, of_dropped: of_dropped_json },
            LogFormat::Auto | LogFormat::Pretty => {
                Self { lines, dropped, told, escape: escape_text, of_dropped: of_dropped_text }
            }
        }
    }
}

const TOO_SLOW: &str = "log lines were dropped: whoever reads the log is too slow";

fn of_dropped_text(count: usize) -> String {
    format!("{:.6}  WARN {} {TOO_SLOW}\n", Timestamp::now(), grouped(count as u64))
}

fn of_dropped_json(count: usize) -> String {
    let now = Timestamp::now();
    format!("{}\n", json!({ "timestamp": format!("{now:.6}"), "level": "WARN", "message": TOO_SLOW, "dropped": count }))
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        let dropped = self.dropped.dropped_lines();
        let before = self.told.swap(dropped, Ordering::Relaxed);
        let mut line = Line { line: self.lines.clone(), escape: self.escape };
        if dropped > before {
            // Not as an event: this is one already. Where the line is dropped as well, the next one counts it.
            let _ = line.write_all((self.of_dropped)(dropped - before).as_bytes());
        }
        line
    }
}

/// One line on its way out. What strangers wrote in it, a reader shall see as what it is; control characters are the
/// formatter's matter, because colours are made of them.
struct Line {
    line: NonBlocking,
    escape: fn(char, &mut String),
}

impl Write for Line {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let hides = |c: char| is_unseen(c) && !c.is_control();
        match std::str::from_utf8(octets) {
            Ok(text) if text.contains(hides) => {
                let mut shown = String::with_capacity(2 * text.len());
                text.chars().for_each(|c| if hides(c) { (self.escape)(c, &mut shown) } else { shown.push(c) });
                self.line.write_all(shown.as_bytes())?;
            }
            _ => self.line.write_all(octets)?,
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.line.flush()
    }
}

fn escape_text(c: char, shown: &mut String) {
    shown.extend(c.escape_default());
}

/// RFC 8259 §7.
fn escape_json(c: char, shown: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(shown, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    /// A reader that takes a line only when it is told to.
    struct Slow {
        go: mpsc::Receiver<()>,
        read: mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            let _ = self.read.send(String::from_utf8_lossy(octets).into_owned());
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nobody_and_tells_later_what_it_dropped() {
        let ((go, going), (read, reading)) = (mpsc::channel(), mpsc::channel());
        let (lines, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(5).finish(Slow { go: going, read });
        let (dropped, writer) = (lines.error_counter(), Lines::new(lines, LogFormat::Auto));
        let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
        let mut seen = String::new();
        tracing::subscriber::with_default(subscriber, || {
            (0..20).for_each(|n| tracing::info!("line {n}"));
            assert!(dropped.dropped_lines() >= 10, "{}", dropped.dropped_lines());
            // The reader is back: as soon as there is room, what comes comes through.
            while !seen.contains("the last line\\u{202e}") {
                tracing::info!("the last line\u{202e}");
                go.send(()).unwrap();
                seen += &reading.recv_timeout(Duration::from_secs(60)).unwrap();
            }
        });
        drop(go);
        drop(guard);
        assert!(seen.contains("line 0") && seen.contains("log lines were dropped"), "{seen}");
    }

    #[test]
    fn what_hides_is_escaped_in_the_form_of_the_line() {
        let escaped = |escape: fn(char, &mut String)| {
            let mut shown = String::new();
            "\u{202e}\u{e0001}".chars().for_each(|c| escape(c, &mut shown));
            shown
        };
        assert_eq!(escaped(escape_text), "\\u{202e}\\u{e0001}");
        assert_eq!(escaped(escape_json), "\\u202e\\udb40\\udc01");
    }
}
