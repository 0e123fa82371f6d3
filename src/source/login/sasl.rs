//! A secret and a mechanism -> what is said to prove who logs in (RFC 4422). Pure: no connection, no clock.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{source::Secret, text::printable};

/// How it is proved to a mail server who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// A password (RFC 4616).
    Plain,
    /// A password in two steps, as servers ask for that know no PLAIN (draft-murchison-sasl-login).
    Login,
    /// An access token in the form that Google made up and Microsoft asks for.
    XOAuth2,
    /// An access token (RFC 7628).
    OAuthBearer,
    /// The client certificate of the TLS connection (RFC 4422 appendix A).
    External,
}

impl Mechanism {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Plain, Self::Login, Self::XOAuth2, Self::OAuthBearer, Self::External];

    /// As servers announce it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::External => "EXTERNAL",
        }
    }
}

/// One exchange: what is said first, and what to each challenge.
#[derive(Debug)]
pub(crate) struct Exchange {
    mechanism: Mechanism,
    /// What is still to be said, in base64, the next last.
    lines: Vec<Secret>,
    /// All that nobody may print.
    secrets: Vec<Secret>,
    /// The error that the server put into a challenge.
    error: Option<String>,
}

impl Exchange {
    /// Prepares to log in as `user`, with a password, a token or (EXTERNAL) an empty secret. `host` and `port` are
    /// those of the server, as OAUTHBEARER names them.
    pub(crate) fn new(mechanism: Mechanism, user: &str, secret: &Secret, host: &str, port: u16) -> Self {
        let word = secret.expose();
        let texts = match mechanism {
            Mechanism::Plain => vec![format!("\0{user}\0{word}")],
            Mechanism::Login => vec![word.to_owned(), user.to_owned()],
            Mechanism::XOAuth2 => vec![format!("user={user}\x01auth=Bearer {word}\x01\x01")],
            Mechanism::OAuthBearer => {
                // RFC 5801 §4: what separates the parts of this header is written otherwise.
                let user = user.replace('=', "=3D").replace(',', "=2C");
                vec![format!("n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {word}\x01\x01")]
            }
            Mechanism::External => vec![user.to_owned()],
        };
        let lines: Vec<Secret> = texts.into_iter().map(|text| Secret::new(BASE64_STANDARD.encode(text))).collect();
        let mut secrets = Vec::new();
        if mechanism != Mechanism::External {
            secrets.extend(lines.iter().rev().skip(usize::from(mechanism == Mechanism::Login)).cloned());
            secrets.extend((!word.is_empty()).then(|| secret.clone()));
        }
        Self { mechanism, lines, secrets, error: None }
    }

    /// What the mechanism is called.
    pub(crate) const fn name(&self) -> &'static str {
        self.mechanism.name()
    }

    /// What may stand behind the command already (RFC 4959), where the server permits it.
    pub(crate) fn initial(&mut self) -> Option<Secret> {
        // RFC 4422 §5: LOGIN has no initial response; the server begins.
        (self.mechanism != Mechanism::Login).then(|| self.lines.pop()).flatten()
    }

    /// What is said to this challenge, in base64 as the challenge is; `None`: the exchange should have been over.
    pub(crate) fn answer(&mut self, challenge: &str) -> Option<Secret> {
        if let Some(line) = self.lines.pop() {
            return Some(line);
        }
        // Both token mechanisms tell the error in a challenge, and fail once that was answered.
        let answer = match self.mechanism {
            Mechanism::XOAuth2 => "",
            Mechanism::OAuthBearer => "AQ==",
            _ => return None,
        };
        if self.error.is_some() {
            return None;
        }
        let error = BASE64_STANDARD.decode(challenge.trim()).unwrap_or_default();
        let error: String = String::from_utf8_lossy(&error).chars().take(300).collect();
        self.error = Some(printable(&error));
        Some(Secret::new(answer.to_owned()))
    }

    /// What the server gave as the reason, as far as it did.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.as_deref().filter(|error| !error.is_empty()).map(|error| self.mask(error))
    }

    /// What a server said, without what it was sent.
    pub(crate) fn mask(&self, said: &str) -> String {
        self.secrets.iter().fold(said.to_owned(), |said, secret| secret.mask(&said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(mechanism: Mechanism, user: &str, secret: &str) -> Exchange {
        Exchange::new(mechanism, user, &Secret::new(secret.into()), "imap.example.org", 993)
    }

    fn decoded(secret: Option<Secret>) -> String {
        String::from_utf8(BASE64_STANDARD.decode(secret.expect("something is said").expose()).unwrap()).unwrap()
    }

    #[test]
    fn each_mechanism_says_what_its_document_shows() {
        // RFC 4616 §4, RFC 7628 §4.1, developers.google.com/gmail/imap/xoauth2-protocol.
        assert_eq!(decoded(exchange(Mechanism::Plain, "tim", "tanstaaftanstaaf").initial()), "\0tim\0tanstaaftanstaaf");
        assert_eq!(
            exchange(Mechanism::XOAuth2, "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
                .initial()
                .unwrap()
                .expose(),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0\
             Q2cBAQ=="
        );
        assert_eq!(
            decoded(exchange(Mechanism::OAuthBearer, "a=b,c@example.com", "T").initial()),
            "n,a=a=3Db=2Cc@example.com,\x01host=imap.example.org\x01port=993\x01auth=Bearer T\x01\x01"
        );
        assert_eq!(decoded(exchange(Mechanism::External, "u", "").initial()), "u");
        let mut login = exchange(Mechanism::Login, "u", "p");
        assert!(login.initial().is_none());
        assert_eq!(decoded(login.answer("VXNlcm5hbWU6")), "u");
        assert_eq!(decoded(login.answer("UGFzc3dvcmQ6")), "p");
        assert!(login.answer("").is_none());
    }

    #[test]
    fn without_an_initial_response_it_is_said_to_the_first_challenge() {
        let mut plain = exchange(Mechanism::Plain, "u", "p");
        assert_eq!(decoded(plain.answer("")), "\0u\0p");
        assert!(plain.answer("").is_none());
    }

    #[test]
    fn the_error_in_a_challenge_is_answered_once_and_kept() {
        let error = r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#;
        for (mechanism, answer) in [(Mechanism::XOAuth2, ""), (Mechanism::OAuthBearer, "AQ==")] {
            let mut exchange = exchange(mechanism, "u", "T");
            exchange.initial().unwrap();
            assert_eq!(exchange.answer(&BASE64_STANDARD.encode(error)).unwrap().expose(), answer);
            assert!(exchange.answer("").is_none());
            assert_eq!(exchange.error().unwrap(), error.replace('T', "***").as_str());
        }
    }

    #[test]
    fn nothing_secret_is_repeated() {
        let mut exchange = exchange(Mechanism::Login, "user", "hunter2");
        let said = format!("NO user hunter2 {}", BASE64_STANDARD.encode("hunter2"));
        assert_eq!(exchange.mask(&said), "NO user *** ***");
        assert!(!format!("{exchange:?}").contains("hunter2"));
        exchange.answer("");
        assert_eq!(exchange.mask(&said), "NO user *** ***");
    }
}
