//! A person who consents -> a refresh token in its file. In a browser (RFC 8252, RFC 7636), or on another device
//! (RFC 8628).

use std::{io, path::PathBuf, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    Account, Client, Provider, TokenSource,
    oauth::{self, DEVICE_GRANT, Granted},
    tokens::{Room, lock, post, secrets_of, token_url, url, with_client},
};
use crate::{
    clock::now,
    source::{Secret, SourceError},
};

/// RFC 8628 §3.2: how often it is asked where the server does not say it, and how much longer after `slow_down`.
const USUAL_INTERVAL: Duration = Duration::from_secs(5);

/// Who names no interval, or none to speak of, is not asked in a hurry.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// How long a code for a device may take at most, whatever the server says.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The way that errors of a consent are told in.
const WAY: &str = "login";

/// A consent that is asked for.
pub struct Consent {
    account: Account,
    client: Client,
    file: PathBuf,
}

/// A consent that is given in a browser.
pub struct Asked {
    consent: Consent,
    /// What the person opens.
    pub url: String,
    redirect: String,
    state: String,
    verifier: Secret,
}

/// A consent that is given on another device.
pub struct DeviceCode {
    consent: Consent,
    /// What the person opens there.
    pub url: String,
    /// What the person types there.
    pub code: String,
    device_code: Secret,
    until: Instant,
    interval: Duration,
}

impl Consent {
    /// For the mailbox of this account.
    ///
    /// # Errors
    /// [`SourceError::Refused`] where its tokens need nobody's consent.
    pub fn new(account: Account) -> Result<Self, SourceError> {
        match &account.token {
            Some(TokenSource::Refresh { file, client }) => {
                Ok(Self { client: client.clone(), file: file.clone(), account })
            }
            _ => Err(account.refused(
                "nobody has to consent here: `bounced login` is for mailboxes whose token has client_id and \
                 refresh_token",
            )),
        }
    }

    /// Whether all is there that is needed once a person has consented: who asks, and where to keep what is given.
    ///
    /// # Errors
    /// What is missing, before anybody is asked for anything.
    pub async fn prepare(&self) -> Result<(), SourceError> {
        let Self { account, client, file } = self;
        let url = token_url(account, &client.endpoints)?;
        let needs_secret = client.endpoints.token.is_none() && account.provider.is_some_and(Provider::needs_secret);
        if needs_secret && client.secret.is_none() && client.certificate.is_none() {
            return Err(account.refused("token needs client_secret, where a person consents as well (docs/oauth2.md)"));
        }
        with_client(account, client, &url, Vec::new()).await?;
        Room::begin(file).map(drop).map_err(|error| self.no_room(&error))
    }

    fn no_room(&self, error: &io::Error) -> SourceError {
        self.account.refused(&format!("the refresh token can't be kept in {}: {error}", self.file.display()))
    }

    /// Where the browser is sent back to, when somebody listens at `port` of this machine.
    #[must_use]
    pub fn redirect(&self, port: u16) -> String {
        let known = self.account.provider.and_then(|provider| provider.row().redirect.as_deref());
        known.unwrap_or("http://127.0.0.1:{port}/").replace("{port}", &port.to_string())
    }

    /// Asks for a consent in a browser, which is sent back to `redirect`.
    ///
    /// # Errors
    /// [`SourceError::Refused`] where it is not known where to ask.
    pub fn ask(self, redirect: String) -> Result<Asked, SourceError> {
        let Self { account, client, .. } = &self;
        let set = client.endpoints.authorize.as_deref();
        let base =
            url(account, &client.endpoints, set, |provider| provider.row().authorize.as_deref(), "authorize_url")?;
        let (state, verifier) = (oauth::unguessable(), Secret::new(oauth::unguessable()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("client_id", &client.id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", &redirect)
            .append_pair("scope", &self.scope())
            .append_pair("state", &state)
            .append_pair("code_challenge", &oauth::challenge(verifier.expose()))
            .append_pair("code_challenge_method", "S256")
            .append_pair("login_hint", &account.user);
        if let Some(provider) = account.provider {
            query.extend_pairs(&provider.row().extra);
        }
        let url = format!("{base}{}{}", if base.contains('?') { '&' } else { '?' }, query.finish());
        Ok(Asked { consent: self, url, redirect, state, verifier })
    }

    /// Asks for a code that is typed on another device.
    ///
    /// # Errors
    /// [`SourceError::Refused`] where the provider has no such codes or refuses, [`SourceError::Lost`] where it may do
    /// better later.
    pub async fn ask_device(self) -> Result<DeviceCode, SourceError> {
        #[derive(Deserialize)]
        struct Fields {
            device_code: String,
            user_code: String,
            #[serde(alias = "verification_url")]
            verification_uri: String,
            expires_in: Option<u64>,
            interval: Option<u64>,
        }
        let Self { account, client, .. } = &self;
        let endpoints = &client.endpoints;
        let known = |provider: Provider| provider.row().device.as_deref();
        if endpoints.device.is_none() && account.provider.and_then(known).is_none() {
            return Err(account.refused(
                "no server is known that gives codes for other devices, and Gmail has none that let mail be read: use \
                 --browser or --paste, or set device_url",
            ));
        }
        let url = url(account, endpoints, endpoints.device.as_deref(), known, "device_url")?;
        let form = vec![("scope", Secret::new(self.scope()))];
        let form = with_client(account, client, &url, form).await?;
        let answer = post(account, &url, &form, endpoints).await?;
        let fields: Fields = match serde_json::from_slice(&answer.body) {
            Ok(fields) if answer.status < 300 => fields,
            _ => {
                let denied = oauth::read(&answer, now(), &secrets_of(form)).err();
                let why = denied.map(|denied| denied.explain(&url, WAY, &account.login_command()));
                return Err(account.told(
                    why.unwrap_or_else(|| SourceError::Lost(format!("{url}: it gave a token in place of a code"))),
                ));
            }
        };
        let lasts = fields.expires_in.map_or(LONGEST_WAIT, Duration::from_secs).min(LONGEST_WAIT);
        Ok(DeviceCode {
            url: fields.verification_uri,
            code: fields.user_code,
            device_code: Secret::new(fields.device_code),
            until: Instant::now() + lasts,
            interval: fields
                .interval
                .map_or(USUAL_INTERVAL, Duration::from_secs)
                .clamp(SHORTEST_INTERVAL, LONGEST_WAIT),
            consent: self,
        })
    }

    fn scope(&self) -> String {
        let known = self.account.provider.and_then(|provider| provider.scope(self.account.protocol));
        self.client.endpoints.scope.as_deref().or(known).unwrap_or_default().to_owned()
    }

    /// Asks for the token; the refresh token that comes with it is kept.
    async fn redeem(&self, form: Vec<(&str, Secret)>) -> Result<Result<(), oauth::Denied>, SourceError> {
        let Self { account, client, file } = self;
        let url = token_url(account, &client.endpoints)?;
        let form = with_client(account, client, &url, form).await?;
        let answer = post(account, &url, &form, &client.endpoints).await?;
        let Granted { refresh, .. } = match oauth::read(&answer, now(), &secrets_of(form)) {
            Ok(granted) => granted,
            Err(denied) => return Ok(Err(denied)),
        };
        let Some(refresh) = refresh else {
            return Err(account.refused(
                "consent was given, but the provider gave no refresh token: scope must ask for offline_access, or what \
                 the provider calls it",
            ));
        };
        // A daemon that renews the old one just now would put it back.
        let _lock = lock(file, account.limit).await.map_err(|why| account.refused(&why))?;
        Room::begin(file).and_then(|room| room.keep(&refresh)).map_err(|error| self.no_room(&error))?;
        Ok(Ok(()))
    }

    fn told(&self, denied: oauth::Denied) -> SourceError {
        match token_url(&self.account, &self.client.endpoints) {
            Ok(url) => self.account.told(denied.explain(&url, WAY, &self.account.login_command())),
            Err(error) => error,
        }
    }
}

impl Asked {
    /// Whether this query answers what was asked (RFC 6749 §10.12).
    pub(super) fn is_answer(&self, query: &str) -> bool {
        form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "state" && value == self.state)
    }

    /// Reads where the browser was sent back to, as a whole URL or its query. The code in it is redeemed, and the
    /// refresh token kept.
    ///
    /// # Errors
    /// What is wrong with the URL, or why no token was given.
    pub async fn redeem(&self, sent_back: &str) -> Result<(), SourceError> {
        let Self { consent, redirect, verifier, .. } = self;
        let query = sent_back.trim().split_once('?').map_or(sent_back.trim(), |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        if !self.is_answer(query) {
            return Err(consent.account.refused(
                "this is no answer to what was asked; open the URL that was printed last, and copy it whole",
            ));
        }
        let value_of = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
        };
        if let Some(error) = value_of("error") {
            return Err(consent.told(oauth::Denied::by_browser(error, value_of("error_description"))));
        }
        let Some(code) = value_of("code").filter(|code| !code.is_empty()) else {
            return Err(consent.account.refused("the URL holds no code; copy it whole"));
        };
        let form = vec![
            ("grant_type", Secret::new("authorization_code".into())),
            ("code", Secret::new(code)),
            ("redirect_uri", Secret::new(redirect.clone())),
            ("code_verifier", verifier.clone()),
        ];
        consent.redeem(form).await?.map_err(|denied| consent.told(denied))
    }
}

impl DeviceCode {
    /// Waits until the person has consented; the refresh token is kept.
    ///
    /// # Errors
    /// Why no token was given; also when nobody consented in time.
    pub async fn redeem(mut self) -> Result<(), SourceError> {
        loop {
            sleep(self.interval).await;
            let form =
                vec![("grant_type", Secret::new(DEVICE_GRANT.into())), ("device_code", self.device_code.clone())];
            let denied = match self.consent.redeem(form).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(denied)) => Some(denied),
                // RFC 8628 §3.5: after a lost answer it is asked more slowly.
                Err(SourceError::Lost(_)) => None,
                Err(refused) => return Err(refused),
            };
            match denied {
                Some(denied) if denied.error == "authorization_pending" => {}
                Some(denied) if denied.error == "slow_down" => self.interval += USUAL_INTERVAL,
                None => self.interval += USUAL_INTERVAL,
                Some(denied) => return Err(self.consent.told(denied)),
            }
            if Instant::now() >= self.until {
                return Err(self.consent.account.refused("the code ran out before anybody consented; try again"));
            }
        }
    }
}
