//! A connection -> the same, logged in. What is secret is in no log line and in no error.

use super::{
    connection::Connection,
    patience::{Patience, patience},
    response::{Condition, Status},
    words::quoted,
};
use crate::source::{
    Secret, SourceError,
    login::{Exchange, Login, Mechanism, Refusal, Way},
};

/// Logs in by the way that the configuration names, else by the best that the server offers: AUTHENTICATE (RFC 9051
/// §6.2.2), LOGIN (§6.2.3). Then says who this is, where the server wants to know (RFC 2971).
pub(super) async fn login(connection: &mut Connection, user: &str, login: &mut Login) -> Result<(), SourceError> {
    let secret = login.secret().await?;
    connection.ask_capabilities().await?;
    let announced = |mechanism: &Mechanism| connection.can(&format!("AUTH={}", mechanism.name()));
    let offered: Vec<Mechanism> = Mechanism::ALL.into_iter().filter(announced).collect();
    let (end, error) = match login.way(secret, &offered) {
        Way::Sasl(exchange) => authenticate(connection, exchange).await?,
        Way::Password(password) => (login_command(connection, user, &password).await?, None),
    };
    if end.status == Status::Ok {
        connection.ask_capabilities().await?;
        if connection.can("ID") {
            let version = quoted(env!("CARGO_PKG_VERSION"));
            // Whatever it answers, nothing hangs on it.
            connection.command(&format!("ID (\"name\" \"bounced\" \"version\" {version})")).await?;
        }
        return Ok(());
    }
    if patience(&end) != Patience::Person {
        return Err(connection.failure(&end, "login failed", ""));
    }
    Err(match login.refused() {
        Refusal::TryAgain => connection.lost(format!("login failed ({}); a new token may do", end.said())),
        Refusal::Advice(advice) => {
            let end = match error {
                Some(error) => Condition { text: format!("{} {error}", end.said()), ..end },
                None => end,
            };
            connection.failure(&end, "login failed", advice)
        }
    })
}

/// How AUTHENTICATE ended, and the error that a challenge told.
async fn authenticate(
    connection: &mut Connection,
    mut exchange: Exchange,
) -> Result<(Condition, Option<String>), SourceError> {
    let mut command = format!("AUTHENTICATE {}", exchange.name());
    // RFC 4959 §3: what is empty is written `=`.
    if connection.can("SASL-IR")
        && let Some(initial) = exchange.initial()
    {
        command.push(' ');
        command.push_str(if initial.expose().is_empty() { "=" } else { initial.expose() });
    }
    let command = Secret::new(command);
    let end = connection.converse(command.expose(), |challenge| exchange.answer(challenge)).await?;
    // Whatever the server repeats, no secret is printed.
    let end = Condition { text: exchange.mask(&end.text), code: end.keyword().to_owned(), ..end };
    Ok((end, exchange.error()))
}

async fn login_command(connection: &mut Connection, user: &str, password: &Secret) -> Result<Condition, SourceError> {
    if connection.can("LOGINDISABLED") {
        return Err(connection.refused("the server permits no password here; set tls to \"implicit\" or \"starttls\""));
    }
    if [user, password.expose()].iter().any(|s| !s.bytes().all(|b| (b' '..=b'~').contains(&b))) {
        return Err(connection
            .refused("the server offers no AUTH=PLAIN, and LOGIN takes plain ASCII only; change the password"));
    }
    let command = Secret::new(format!("LOGIN {} {}", quoted(user), quoted(password.expose())));
    let end = connection.converse(command.expose(), |_| None).await?;
    Ok(Condition { text: password.mask(&end.text), code: end.keyword().to_owned(), ..end })
}
