//! A connection -> the same, logged in. The password is in no log line and in no error.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    connection::Connection,
    response::{Condition, Status},
    settings::ImapSettings,
    words::quoted,
};
use crate::source::{Secret, SourceError};

/// Logs in by the first way that the server offers: AUTHENTICATE PLAIN (RFC 4616), LOGIN.
pub(super) async fn login(
    connection: &mut Connection,
    mailbox: &str,
    settings: &ImapSettings,
) -> Result<(), SourceError> {
    let fetched = settings.password.fetch(mailbox, settings.timeouts.connect).await;
    let password = fetched.map_err(|why| connection.refused(why))?;
    let plain = Secret::new(BASE64_STANDARD.encode(format!("\0{}\0{}", settings.user, password.expose())));
    connection.ask_capabilities().await?;
    let end = if connection.can("AUTH=PLAIN") {
        connection.converse("AUTHENTICATE PLAIN", &[plain.expose()]).await?
    } else if connection.can("LOGINDISABLED") {
        return Err(connection.refused("the server permits no password here; set tls to \"implicit\" or \"starttls\""));
    } else if [settings.user.as_str(), password.expose()].iter().any(|s| !s.bytes().all(|b| (b' '..=b'~').contains(&b)))
    {
        return Err(connection
            .refused("the server offers no AUTH=PLAIN, and LOGIN takes plain ASCII only; change the password"));
    } else {
        let command = Secret::new(format!("LOGIN {} {}", quoted(&settings.user), quoted(password.expose())));
        connection.converse(command.expose(), &[]).await?
    };
    if end.status == Status::Ok {
        return connection.ask_capabilities().await;
    }
    // Whatever the server repeats, the password isn't printed.
    let text = password.mask(&plain.mask(&end.text));
    let end = Condition { text, code: end.keyword().to_owned(), ..end };
    Err(connection.failure(&end, "login failed", "check user and password"))
}
