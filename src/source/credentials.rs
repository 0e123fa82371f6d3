//! Where a password or another secret comes from -> the secret, which is in no log line and in no error. Knows no protocol.

use std::{
    fs, io,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::{
    io::AsyncReadExt,
    process::{ChildStdout, Command},
    time::timeout,
};
use tracing::warn;

use super::SourceError;

/// The longest secret, an access token of somebody in many groups; more is a file taken for a secret by mistake.
const LONGEST: u64 = 16 << 10;

/// Where a password or another secret comes from; it is read anew at every login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Env(String),
    /// The first line that this command, run by `/bin/sh -c`, writes to its standard output before it ends.
    Command(String),
    /// The first line of this file in `$CREDENTIALS_DIRECTORY`, where systemd lays what `LoadCredential=` names
    /// (systemd.exec(5)).
    Credential(String),
}

/// What stands there instead may be the password itself, so no error repeats it.
impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            file: Option<PathBuf>,
            env: Option<String>,
            command: Option<String>,
            credential: Option<String>,
        }
        let one = super::keys(deserializer, WAYS).ok().and_then(|Keys { file, env, command, credential }| {
            let mut given = [
                file.map(Self::File),
                env.map(Self::Env),
                command.map(Self::Command),
                credential.map(Self::Credential),
            ]
            .into_iter()
            .flatten();
            given.next().filter(|_| given.next().is_none())
        });
        one.ok_or_else(|| D::Error::custom(format!("expected {WAYS}, not the secret itself")))
    }
}

const WAYS: &str = "{ file = \"…\" }, { env = \"…\" }, { command = \"…\" } or { credential = \"…\" }";

/// Text that is not to be printed: its Debug is masked and its memory wiped.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text, for whoever sends it to the one that is to know it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What a server said, without this secret: some repeat what they were sent. A very short one is no part of a word.
    #[must_use]
    pub fn mask(&self, said: &str) -> String {
        let secret = self.expose();
        let is_masked = |at: usize| {
            let (before, behind) = (said[..at].chars().next_back(), said[at + secret.len()..].chars().next());
            secret.len() >= SHORT || ![before, behind].into_iter().flatten().any(char::is_alphanumeric)
        };
        let mut masked = String::new();
        let mut end = 0;
        for (at, found) in said.match_indices(secret).filter(|(at, found)| !found.is_empty() && is_masked(*at)) {
            masked.push_str(&said[end..at]);
            masked.push_str("***");
            end = at + found.len();
        }
        masked + &said[end..]
    }
}

/// What has fewer octets stands within many a word by chance.
const SHORT: usize = 4;

impl SecretSource {
    /// The file, if it is one.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) | Self::Command(_) | Self::Credential(_) => None,
        }
    }

    /// Fetches the secret, which people call `what` (`password`, `token`), for `mailbox`; or says why it can't and what
    /// to do. A command may take as long as `limit`.
    ///
    /// # Errors
    /// One line for people, without the secret: [`SourceError::Lost`] where a command hangs, which may do better later.
    pub async fn fetch(&self, what: &str, mailbox: &str, limit: Duration) -> Result<Secret, SourceError> {
        let text = match self {
            Self::File(file) => read_file(file, what, mailbox),
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} holds no {what}; set it, or change `{what}`")),
            Self::Command(command) => match timeout(limit, run(command)).await {
                Ok(done) => done.map_err(|error| format!("the {what} command failed: {error}; try it by hand")),
                Err(_) => return Err(SourceError::Lost(format!("the {what} command took longer than {limit:?}"))),
            },
            Self::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(directory) => read_file(&Path::new(&directory).join(name), what, mailbox),
                None => Err(format!(
                    "there is no credential `{name}`: systemd hands it over where the service has \
                     LoadCredential={name}:FILE"
                )),
            },
        };
        let text = text.map_err(SourceError::Refused)?;
        match text.lines().next() {
            None | Some("") => Err(SourceError::Refused(format!("the {what} is empty; check `{what}`"))),
            Some(secret) => Ok(Secret::new(secret.to_owned())),
        }
    }
}

fn read_file(file: &Path, what: &str, mailbox: &str) -> Result<String, String> {
    let read = || {
        let open = fs::File::open(file)?;
        if open.metadata()?.permissions().mode() & 0o004 != 0 {
            warn!(mailbox, file = %file.display(), "every user of this machine can read the {what} file; chmod 600 it");
        }
        let mut text = String::new();
        open.take(LONGEST + 1).read_to_string(&mut text)?;
        within_limit(text.as_bytes())?;
        Ok(text)
    };
    read().map_err(|error: io::Error| format!("can't read the {what} file {}: {error}", file.display()))
}

/// Refuses what was cut.
fn within_limit(text: &[u8]) -> io::Result<()> {
    if text.len() as u64 <= LONGEST { Ok(()) } else { Err(io::Error::other("it is longer than 16 KiB")) }
}

/// A command and all that it started, while it runs: whoever gives it up ends all of them.
struct Family(Option<Pid>);

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Where none is left there is nobody to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn run(command: &str) -> io::Result<String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // A group of its own, which ends as a whole.
        .process_group(0)
        .spawn()?;
    let mut family = Family(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let mut output = child.stdout.take().expect("stdout was piped just above");
    let mut text = Vec::new();
    let status = loop {
        within_limit(&text)?;
        tokio::select! {
            read = output.read_buf(&mut text) => if read? == 0 { break child.wait().await? },
            // What it leaves running may hold its output open for as long as it runs.
            status = child.wait() => {
                read_rest(&output, &mut text)?;
                break status?;
            }
        }
    };
    // What it leaves running when it is done, as an agent that keeps keys, is meant to run.
    family.0 = None;
    within_limit(&text)?;
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    String::from_utf8(text).map_err(|_| io::Error::other("what it printed is not UTF-8"))
}

/// What lies in the pipe already, as far as it may be a secret.
fn read_rest(output: &ChildStdout, text: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 4096];
    while within_limit(text).is_ok() {
        match rustix::io::read(output, &mut piece) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(octets) => text.extend_from_slice(&piece[..octets]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn command(text: &str) -> Result<String, String> {
        SecretSource::Command(text.into())
            .fetch("password", "test", LIMIT)
            .await
            .map(|secret| secret.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_first_line_is_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        fs::write(&file, "wörd with blanks \nuser: x\n").unwrap();
        let secret = SecretSource::File(file).fetch("password", "test", LIMIT).await.unwrap();
        assert_eq!(secret.expose(), "wörd with blanks ");
        assert_eq!(command("printf 'one\ntwo'").await.unwrap(), "one");
    }

    #[tokio::test]
    async fn what_gives_no_password_says_why() {
        assert!(command("exit 3").await.unwrap_err().contains("exit status: 3"));
        for nothing in ["true", "echo"] {
            assert!(command(nothing).await.unwrap_err().contains("the password is empty"), "{nothing}");
        }
        let missing =
            SecretSource::File("/nonexistent/password".into()).fetch("password", "test", LIMIT).await.unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/password"), "{missing}");
        let unset =
            SecretSource::Env("BOUNCED_TEST_NOT_SET".into()).fetch("password", "test", LIMIT).await.unwrap_err();
        assert!(unset.to_string().contains("BOUNCED_TEST_NOT_SET"), "{unset}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_given_up() {
        let slow =
            SecretSource::Command("exec sleep 1000".into()).fetch("password", "test", Duration::from_millis(1)).await;
        // It may do better later: a broker may ask a server that is down.
        assert!(matches!(slow, Err(SourceError::Lost(why)) if why.contains("took longer than 1ms")));
    }

    #[tokio::test]
    async fn what_a_command_leaves_running_with_its_output_open_is_waited_for_by_nobody_and_lives() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let secret = "x".repeat(9_000);
        let text = format!("sleep 1000 & echo $! > {}; echo {secret}", file.display());
        assert_eq!(command(&text).await.unwrap(), secret);
        let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).expect("it runs still");
    }

    #[tokio::test]
    async fn a_command_that_is_given_up_takes_its_children_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let text = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let child = async || {
            loop {
                match fs::read_to_string(&file) {
                    Ok(pid) => return PathBuf::from(format!("/proc/{}", pid.trim())),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        // Whoever takes it away by force may not be its parent: it stays in the table as a zombie for a moment.
        let is_alive =
            |process: &Path| fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
        let ended = async |process: PathBuf| {
            let gone = async {
                while is_alive(&process) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(LIMIT, gone).await.expect("it ends soon");
        };
        let slow = SecretSource::Command(text.clone());
        let (gave_up, process) = tokio::join!(slow.fetch("password", "test", Duration::from_secs(2)), child());
        assert!(gave_up.is_err());
        ended(process).await;

        // As a daemon that is told to stop drops what it waits for.
        fs::remove_file(&file).unwrap();
        let process = tokio::select! {
            _ = slow.fetch("password", "test", LIMIT) => panic!("it ends by no means"),
            process = child() => process,
        };
        ended(process).await;
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2".into());
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.mask("NO hunter2 is wrong, xhunter2x"), "NO *** is wrong, x***x");
        let short = Secret::new("a".into());
        assert_eq!(short.mask("a bad \"a\" at a1 and a"), "*** bad \"***\" at a1 and ***");
        assert_eq!(Secret::new(String::new()).mask("NO such"), "NO such");
    }
}
