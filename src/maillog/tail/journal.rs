//! The journal of systemd, through `journalctl`: each entry becomes a line as syslog would have written it.

use std::{ffi::OsStr, io, path::Path, process::Stdio};

use serde::Deserialize;
use tokio::process::{Child, ChildStdout, Command};

use super::{Lines, LogError, foreign_cursor, pipe::Pipe};

/// The program that is asked.
const JOURNALCTL: &str = "journalctl";

/// syslog's facility `mail` (RFC 5424 §6.2.1), to which both servers write.
const MAIL: &str = "SYSLOG_FACILITY=2";

/// What mostly is missing where it does not answer.
const RIGHTS: &str = "; to read the journal the user that runs bounced needs the group systemd-journal";

const CURSOR: &str = "journal ";

/// A journal that is followed. The program ends with it.
#[derive(Debug)]
pub struct JournalTail {
    child: Child,
    entries: Pipe<ChildStdout>,
}

impl JournalTail {
    pub(super) fn open(directory: Option<&Path>, cursor: Option<&str>) -> Result<Self, LogError> {
        let mut command = asked(directory);
        command.args(["--follow", "--no-tail"]);
        if let Some(cursor) = cursor {
            let cursor = cursor.strip_prefix(CURSOR).ok_or_else(foreign_cursor)?;
            command.arg(format!("--after-cursor={cursor}"));
        }
        let mut child = command.spawn().map_err(|error| not_started(&error))?;
        let output = child.stdout.take().ok_or_else(|| LogError::Lost(format!("{JOURNALCTL} says nothing")))?;
        Ok(Self { child, entries: Pipe::new(output) })
    }

    pub(super) async fn next(&mut self) -> Result<Lines, LogError> {
        loop {
            let read = self.entries.next().await;
            let read = read.map_err(|error| LogError::Lost(format!("{JOURNALCTL} can't be read: {error}")))?;
            let Some(entries) = read else {
                let status =
                    self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(LogError::Lost(format!("{JOURNALCTL} has ended: {status}{RIGHTS}")));
            };
            if let Some(lines) = lines(&entries) {
                return Ok(lines);
            }
        }
    }
}

/// The question for mail, of which the entries come as JSON.
fn asked(directory: Option<&Path>) -> Command {
    let mut command = Command::new(JOURNALCTL);
    command.args(["--output=json", "--all", "--no-pager", "--quiet", MAIL]);
    command.args(directory.map(|directory| [OsStr::new("--directory"), directory.as_os_str()]).into_iter().flatten());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

fn not_started(error: &io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::NotFound => LogError::Refused(format!("{JOURNALCTL} is not installed: use path = \"…\"")),
        _ => LogError::Lost(format!("{JOURNALCTL} can't be started: {error}")),
    }
}

/// The last entries, as lines.
pub(super) async fn last_lines(directory: Option<&Path>, most: usize) -> Result<Lines, LogError> {
    let asked = asked(directory).arg(format!("--lines={most}")).stderr(Stdio::piped()).spawn();
    let answered = asked.map_err(|error| not_started(&error))?.wait_with_output().await;
    let output = answered.map_err(|error| LogError::Lost(format!("{JOURNALCTL} can't be read: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let advice = if why.contains("ermission") { RIGHTS } else { "" };
        return Err(LogError::Lost(format!("{JOURNALCTL} has failed: {}{advice}", why.trim())));
    }
    Ok(lines(&output.stdout).unwrap_or_else(|| Lines { octets: Vec::new(), cursor: String::new(), lost: None }))
}

/// What matters of an entry. Whoever logs chooses the message and the identifier; the rest is the journal's.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    microseconds: String,
    #[serde(rename = "MESSAGE")]
    message: Option<Text>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Text>,
    #[serde(rename = "_PID")]
    pid: Option<String>,
    #[serde(rename = "_HOSTNAME")]
    host: Option<String>,
}

/// What is no UTF-8, or has control characters, comes as octets; what comes twice as a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Octets(Vec<u8>),
    Several(Vec<Text>),
}

impl Text {
    /// On one line, so that nobody makes up a second one.
    fn on_one_line(&self) -> String {
        let text = match self {
            Self::Plain(text) => text.clone(),
            Self::Octets(octets) => String::from_utf8_lossy(octets).into_owned(),
            Self::Several(texts) => texts.first().map(Self::on_one_line).unwrap_or_default(),
        };
        text.replace(['\n', '\r', '\0'], " ")
    }
}

/// Entries, one in a line, as lines of syslog with a cursor behind them; `None` where none could be read.
fn lines(entries: &[u8]) -> Option<Lines> {
    let (mut octets, mut cursor) = (Vec::new(), None);
    for entry in entries.split(|octet| *octet == b'\n') {
        let Ok(entry) = serde_json::from_slice::<Entry>(entry) else { continue };
        let at = entry.microseconds.parse().ok().and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
        if let (Some(at), Some(message)) = (at, &entry.message) {
            let identifier = entry.identifier.as_ref().map(Text::on_one_line).unwrap_or_default();
            let (host, pid) = (entry.host.as_deref().unwrap_or("-"), entry.pid.as_deref().unwrap_or("0"));
            let line = format!("{at:.0} {host} {identifier}[{pid}]: {}\n", message.on_one_line());
            octets.extend_from_slice(line.as_bytes());
        }
        cursor = Some([CURSOR, &entry.cursor].concat());
    }
    cursor.map(|cursor| Lines { octets, cursor, lost: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_becomes_a_line_of_syslog() {
        // As systemd 252 writes them.
        let entries = br#"{"__CURSOR":"s=1;i=a","__REALTIME_TIMESTAMP":"1795711281123456","_HOSTNAME":"mx","SYSLOG_IDENTIFIER":"postfix/smtp","_PID":"77","MESSAGE":"5BFD198E0EA: to=<ann@one.example>"}
{"__CURSOR":"s=1;i=b","__REALTIME_TIMESTAMP":"1795711282000000","_HOSTNAME":"mx","SYSLOG_IDENTIFIER":"exim","_PID":"78","MESSAGE":[97,10,255,98]}
{"__CURSOR":"s=1;i=c","__REALTIME_TIMESTAMP":"1795711282000000","_HOSTNAME":"mx","MESSAGE":null}
{"half
"#;
        let lines = lines(entries).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&lines.octets),
            "2026-11-26T16:41:21Z mx postfix/smtp[77]: 5BFD198E0EA: to=<ann@one.example>\n2026-11-26T16:41:22Z mx exim[78]: a \
             \u{fffd}b\n"
        );
        assert_eq!(lines.cursor, "journal s=1;i=c");
        assert_eq!(super::lines(b"\n{}\n"), None);
    }
}
