//! Password source -> an authenticated connection. The password is in no log line and in no error.

use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};
use tracing::warn;

use super::{
    connection::Connection,
    response::{Condition, Status},
    words::quoted,
};
use crate::source::{ImapSettings, PasswordSource, SourceError};

/// The longest password; more is a file taken for a password by mistake.
const LONGEST: u64 = 4096;

/// Logs in by the first way that the server offers: AUTHENTICATE PLAIN (RFC 4616), LOGIN.
pub(super) async fn login(connection: &mut Connection, settings: &ImapSettings) -> Result<(), SourceError> {
    let password = password(settings).await.map_err(|why| connection.refused(why))?;
    let secret = password.expose_secret();
    let message = SecretString::from(BASE64_STANDARD.encode(format!("\0{}\0{secret}", settings.user)));
    connection.ask_capabilities().await?;
    let end = if connection.can("AUTH=PLAIN") {
        connection.converse("AUTHENTICATE PLAIN", &[message.expose_secret()]).await?
    } else if connection.can("LOGINDISABLED") {
        return Err(connection.refused("the server permits no password here; set tls to \"implicit\" or \"starttls\""));
    } else if [settings.user.as_str(), secret].iter().any(|s| !s.bytes().all(|b| (b' '..=b'~').contains(&b))) {
        return Err(connection
            .refused("the server offers no AUTH=PLAIN, and LOGIN takes plain ASCII only; change the password"));
    } else {
        let command = SecretString::from(format!("LOGIN {} {}", quoted(&settings.user), quoted(secret)));
        connection.converse(command.expose_secret(), &[]).await?
    };
    if end.status == Status::Ok {
        return connection.ask_capabilities().await;
    }
    // Whatever the server repeats, the password isn't printed.
    let text = end.text.replace(message.expose_secret(), "***").replace(secret, "***");
    let end = Condition { text, code: end.keyword().to_owned(), ..end };
    Err(connection.failure(&end, "login failed", "check user and password"))
}

/// Fetches the password, or says why it can't.
async fn password(settings: &ImapSettings) -> Result<SecretString, String> {
    let text = match &settings.password {
        PasswordSource::File(file) => read_file(file, &settings.name)
            .map_err(|error| format!("can't read the password file {}: {error}", file.display()))?,
        PasswordSource::Env(name) => std::env::var(name)
            .map_err(|_| format!("the environment variable {name} holds no password; set it, or change `password`"))?,
        PasswordSource::Command(command) => timeout(settings.timeouts.connect, run(command))
            .await
            .map_err(|_| format!("the password command took longer than {:?}", settings.timeouts.connect))?
            .map_err(|error| format!("the password command failed: {error}; try it by hand"))?,
    };
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err("the password is empty; check `password`".into());
    }
    Ok(SecretString::from(password))
}

fn read_file(file: &Path, mailbox: &str) -> std::io::Result<String> {
    let open = fs::File::open(file)?;
    if open.metadata()?.permissions().mode() & 0o004 != 0 {
        warn!(mailbox, file = %file.display(), "every user of this machine can read the password file; chmod 600 it");
    }
    let mut text = String::new();
    open.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

async fn run(command: &str) -> std::io::Result<String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut text = String::new();
    let output = child.stdout.take().expect("stdout was piped just above");
    output.take(LONGEST).read_to_string(&mut text).await?;
    let status = child.wait().await?;
    if status.success() { Ok(text) } else { Err(std::io::Error::other(status.to_string())) }
}
