//! Who logs in to a mail server, and with what: a password, a token or a certificate. Knows the mechanisms and the token
//! servers, and nothing of what is done once somebody is logged in.

mod consent;
mod loopback;
mod oauth;
mod provider;
mod sasl;
mod settings;
mod tokens;

use std::{path::PathBuf, time::Duration};

pub use consent::{Asked, Consent, DeviceCode};
pub use loopback::Loopback;
pub(crate) use provider::Offer;
pub use provider::Provider;
pub(crate) use sasl::Exchange;
pub use sasl::Mechanism;
pub use settings::{Client, Endpoints, TokenSource};
use tokens::Tokens;

use super::{Secret, SecretSource, SourceError};

/// What is spoken to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 9051.
    Imap,
    /// RFC 1939.
    Pop3,
}

/// All that the section of a mailbox says about logging in.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The mailbox's name in the configuration.
    pub mailbox: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whose mailbox it is.
    pub user: String,
    /// The server.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The preset, where one is named.
    pub provider: Option<Provider>,
    /// The mechanism, where one is named.
    pub mechanism: Option<Mechanism>,
    /// Where the password comes from.
    pub password: Option<SecretSource>,
    /// Where tokens come from.
    pub token: Option<TokenSource>,
    /// The PEM file with client certificate and key.
    pub certificate: Option<PathBuf>,
    /// How long a command may take that gives a secret, and a token server.
    pub limit: Duration,
}

/// The host that is set, or the provider's; empty where none is known.
pub(super) fn host(set: Option<&str>, provider: Option<Provider>, protocol: Protocol) -> &str {
    set.or_else(|| provider?.host(protocol)).unwrap_or_default()
}

/// The paths in what a mailbox on a server says about logging in.
pub(super) fn paths_mut<'a>(
    password: &'a mut Option<SecretSource>,
    token: &'a mut Option<TokenSource>,
    files: [&'a mut Option<PathBuf>; 2],
) -> Vec<&'a mut PathBuf> {
    let password = password.as_mut().and_then(SecretSource::path_mut);
    let token = token.as_mut().map(TokenSource::paths_mut).unwrap_or_default();
    password.into_iter().chain(token).chain(files.into_iter().flatten()).collect()
}

/// How to go on.
pub(crate) enum Way {
    /// By SASL.
    Sasl(Exchange),
    /// By the protocol's own command for passwords.
    Password(Secret),
}

impl Account {
    /// What can never work, in one line with what to do.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let Self { password, token, certificate, mechanism, .. } = self;
        if self.host.is_empty() {
            return Some("needs host, or a provider that has one".into());
        }
        let with_password = matches!(mechanism, Some(Mechanism::Plain | Mechanism::Login));
        let with_token = matches!(mechanism, Some(Mechanism::XOAuth2 | Mechanism::OAuthBearer));
        let problem = match (password, token) {
            (Some(_), Some(_)) => "has password and token; keep one of them",
            (None, None) if certificate.is_none() => {
                "needs password or token (docs/oauth2.md), or certificate for a server that asks for nothing more"
            }
            (Some(_), None) if with_token => "has a mechanism for tokens and a password; set token instead",
            (None, Some(_)) if with_password => "has a mechanism for passwords and a token; set password instead",
            (None, None) if with_password || with_token => "has a mechanism that a certificate alone does not serve",
            (_, _) if *mechanism == Some(Mechanism::External) && certificate.is_none() => {
                "has the mechanism external, which needs certificate"
            }
            (_, Some(token)) => return tokens::contradiction(self.provider, token),
            _ => return None,
        };
        Some(problem.into())
    }

    /// How it logs in, in words for people, with a comma before them; nothing where it is by password, as ever.
    pub(crate) fn describe(&self) -> String {
        match (&self.token, &self.password) {
            (Some(token), _) => format!(", {}", token.describe()),
            (None, Some(_)) => String::new(),
            (None, None) => ", with a certificate".into(),
        }
    }

    /// `user at host:port`, for every line that tells of trouble.
    #[must_use]
    pub fn who(&self) -> String {
        format!("{} at {}:{}", self.user, self.host, self.port)
    }

    /// The command by which a person consents anew.
    fn login_command(&self) -> String {
        format!("bounced login {}", self.mailbox)
    }

    fn refused(&self, why: &str) -> SourceError {
        SourceError::Refused(format!("{}: {why}", self.who()))
    }

    fn lost(&self, why: &str) -> SourceError {
        SourceError::Lost(format!("{}: {why}", self.who()))
    }

    /// An error of another server, as one of this mailbox.
    fn told(&self, error: SourceError) -> SourceError {
        match error {
            SourceError::Refused(why) => self.refused(&why),
            SourceError::Lost(why) => self.lost(&why),
            SourceError::Later(why) => SourceError::Later(format!("{}: {why}", self.who())),
        }
    }
}

/// Logs in to one mailbox, again and again.
pub(crate) struct Login {
    account: Account,
    tokens: Tokens,
}

impl Login {
    /// Nothing is asked for yet.
    pub(crate) fn new(account: Account) -> Self {
        Self { account, tokens: Tokens::default() }
    }

    /// Gets what proves who logs in, which may take a while; empty where a certificate does.
    ///
    /// # Errors
    /// One line for people, without a secret: [`SourceError::Lost`] where a token server may do better later.
    pub(crate) async fn secret(&mut self) -> Result<Secret, SourceError> {
        let account = &self.account;
        if let Some(source) = &account.token {
            self.tokens.get(account, source).await
        } else if let Some(source) = &account.password {
            let secret = source.fetch("password", &account.mailbox, account.limit).await;
            secret.map_err(|error| account.told(error))
        } else {
            Ok(Secret::new(String::new()))
        }
    }

    /// How to show the secret to a server that has announced `offered`.
    pub(crate) fn way(&self, secret: Secret, offered: &[Mechanism]) -> Way {
        let account = &self.account;
        let best = |mechanisms: &[Mechanism]| mechanisms.iter().copied().find(|one| offered.contains(one));
        let mechanism = if account.token.is_some() {
            // One that is known is used whether or not it is announced: Yandex does not announce its own.
            let known = account.mechanism.or_else(|| account.provider?.row().mechanism);
            Some(known.or(best(&[Mechanism::OAuthBearer])).unwrap_or(Mechanism::XOAuth2))
        } else if account.password.is_some() {
            account.mechanism.or(best(&[Mechanism::Plain, Mechanism::Login]))
        } else {
            Some(Mechanism::External)
        };
        match mechanism {
            Some(mechanism) => Way::Sasl(Exchange::new(mechanism, &account.user, &secret, &account.host, account.port)),
            None => Way::Password(secret),
        }
    }

    /// What to do about a login that the server refused for good. A token that has served before is given up first:
    /// with a new one it may work.
    pub(crate) fn refused(&mut self) -> Refusal {
        if self.account.token.is_some() {
            return if self.tokens.refused() { Refusal::TryAgain } else { Refusal::Advice(TOKEN_ADVICE) };
        }
        let password = self.account.provider.and_then(|provider| provider.row().password.as_deref());
        Refusal::Advice(password.unwrap_or("check user and password"))
    }
}

/// A token was made, and is not taken: the fault lies between the two servers.
const TOKEN_ADVICE: &str = "the token was made, but the mail server does not take it: check user, scope and the \
                            application's right to this mailbox (docs/oauth2.md)";

/// What a refused login comes to.
pub(crate) enum Refusal {
    /// The next attempt brings another token.
    TryAgain,
    /// A person has to do this.
    Advice(&'static str),
}
