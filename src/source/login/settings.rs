//! `token = { … }` in the section of a mailbox. Opens nothing.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::source::{self, SecretSource};

/// Where access tokens come from.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenSource {
    /// Somebody else makes them, as a broker on this machine; asked anew at every login.
    Given(SecretSource),
    /// They are asked for by the application itself (RFC 6749 §4.4): no person, no refresh token.
    Application(Client),
    /// They are asked for with the key of a service account (RFC 7523 §2.1).
    ServiceAccount {
        /// The JSON file that the provider gave for its key.
        file: PathBuf,
        /// What is not as the provider's row says.
        endpoints: Endpoints,
    },
    /// They are made from a refresh token (RFC 6749 §6), which `bounced login` gets.
    Refresh {
        /// The file with the refresh token; written whenever the provider gives a new one.
        file: PathBuf,
        /// Who asks.
        client: Client,
    },
}

/// The application as the provider knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// Its public name.
    pub id: String,
    /// Its secret, where it has one.
    pub secret: Option<SecretSource>,
    /// In place of a secret: a PEM file with certificate and private key, RSA (RFC 7523 §2.2).
    pub certificate: Option<PathBuf>,
    /// What is not as the provider's row says.
    pub endpoints: Endpoints,
}

/// Where to ask and for what, where the provider's row does not say it or says it wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Microsoft's tenant.
    pub tenant: Option<String>,
    /// Where tokens are made.
    pub token: Option<String>,
    /// Where a person consents.
    pub authorize: Option<String>,
    /// Where a code for another device is asked for.
    pub device: Option<String>,
    /// What is asked for.
    pub scope: Option<String>,
    /// A PEM file with the authorities to trust instead of the system's, for these servers.
    pub ca_file: Option<PathBuf>,
}

/// The keys as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    command: Option<String>,
    file: Option<PathBuf>,
    env: Option<String>,
    credential: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretSource>,
    certificate: Option<PathBuf>,
    service_account: Option<PathBuf>,
    refresh_token: Option<PathBuf>,
    tenant: Option<String>,
    token_url: Option<String>,
    authorize_url: Option<String>,
    device_url: Option<String>,
    scope: Option<String>,
    ca_file: Option<PathBuf>,
}

/// What tells where tokens come from, for whoever wrote something else.
const WAYS: &str = "{ command = \"…\" } (or file, env, credential), { client_id, client_secret or certificate }, \
                    { service_account = \"FILE\" }, or { client_id, refresh_token = \"FILE\" }, one of these";

impl<'de> Deserialize<'de> for TokenSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys: Keys = source::keys(deserializer, WAYS)?;
        let endpoints = Endpoints {
            tenant: keys.tenant,
            token: keys.token_url,
            authorize: keys.authorize_url,
            device: keys.device_url,
            scope: keys.scope,
            ca_file: keys.ca_file,
        };
        let given = [
            keys.command.map(SecretSource::Command),
            keys.file.map(SecretSource::File),
            keys.env.map(SecretSource::Env),
            keys.credential.map(SecretSource::Credential),
        ];
        let mut given: Vec<SecretSource> = given.into_iter().flatten().collect();
        let with_client = keys.client_secret.is_some() || keys.certificate.is_some();
        let client = keys.client_id.map(|id| Client {
            id,
            secret: keys.client_secret,
            certificate: keys.certificate,
            endpoints: endpoints.clone(),
        });
        match (given.pop(), keys.service_account, client, keys.refresh_token) {
            (Some(source), None, None, None)
                if given.is_empty() && !with_client && endpoints == Endpoints::default() =>
            {
                Ok(Self::Given(source))
            }
            (None, Some(file), None, None) if !with_client => Ok(Self::ServiceAccount { file, endpoints }),
            (None, None, Some(client), _) if client.secret.is_some() && client.certificate.is_some() => {
                Err(D::Error::custom("token has client_secret and certificate; keep one of them"))
            }
            (None, None, Some(client), Some(file)) => Ok(Self::Refresh { file, client }),
            (None, None, Some(client), None) if with_client => Ok(Self::Application(client)),
            (None, None, Some(_), None) => Err(D::Error::custom(
                "token has client_id alone: add client_secret or certificate (application), or refresh_token (a file \
                 for what `bounced login` gets)",
            )),
            _ => Err(D::Error::custom(format!("expected {WAYS}"))),
        }
    }
}

impl TokenSource {
    /// The paths in it.
    pub(crate) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Given(source) => source.path_mut().into_iter().collect(),
            Self::Application(client) => client.paths_mut(),
            Self::ServiceAccount { file, endpoints } => [file].into_iter().chain(&mut endpoints.ca_file).collect(),
            Self::Refresh { file, client } => [file].into_iter().chain(client.paths_mut()).collect(),
        }
    }

    /// What is said of it where people look at a configuration.
    #[must_use]
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Given(_) => "with a token that is handed over",
            Self::Application(_) => "with tokens of the application",
            Self::ServiceAccount { .. } => "with tokens of a service account",
            Self::Refresh { .. } => "with tokens of a person's consent",
        }
    }
}

impl Client {
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let secret = self.secret.as_mut().and_then(SecretSource::path_mut);
        secret.into_iter().chain(&mut self.certificate).chain(&mut self.endpoints.ca_file).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TokenSource, String> {
        #[derive(Deserialize)]
        struct Section {
            token: TokenSource,
        }
        toml::from_str::<Section>(&format!("token = {text}"))
            .map(|section| section.token)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn the_keys_tell_the_way() {
        assert_eq!(
            read("{ command = 'oama access b' }"),
            Ok(TokenSource::Given(SecretSource::Command("oama access b".into())))
        );
        let application = read("{ tenant = 't', client_id = 'c', client_secret = { env = 'S' } }").unwrap();
        assert!(matches!(&application, TokenSource::Application(client) if client.id == "c"), "{application:?}");
        let mut refresh = read("{ client_id = 'c', refresh_token = 'r', certificate = 'p', ca_file = 'a' }").unwrap();
        assert_eq!(refresh.paths_mut(), ["r", "p", "a"]);
        let mut account = read("{ service_account = 'k' }").unwrap();
        assert_eq!(account.paths_mut(), ["k"]);
    }

    #[test]
    fn what_tells_no_way_or_two_is_refused_without_its_values() {
        for (text, expected) in [
            ("{}", "one of these"),
            ("'geheim'", "expected { command ="),
            ("7", "expected { command ="),
            ("{ command = 'geheim', env = 'geheim' }", "one of these"),
            ("{ command = 'geheim', scope = 'geheim' }", "one of these"),
            ("{ service_account = 'geheim', client_id = 'geheim' }", "one of these"),
            ("{ client_id = 'geheim' }", "`bounced login`"),
            ("{ client_id = 'c', client_secret = { file = 'geheim' }, certificate = 'geheim' }", "keep one"),
            ("{ client_id = 'c', client_secret = 'geheim' }", "not the secret itself"),
            ("{ refresh_token = 'geheim' }", "one of these"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(expected) && !refused.contains("geheim"), "{text}: {refused}");
        }
    }
}
