//! Access tokens for one mailbox: asked for before they are needed, kept in memory until they run out.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{
    Account, Client, Endpoints, Provider, TokenSource,
    oauth::{self, ASSERTION_TYPE, Granted, JWT_GRANT, Signer},
};
use crate::{
    clock::now,
    files::{Replacement, companion_of, give_to_owner_of_directory},
    source::{Secret, SourceError, http},
};

/// A token that runs out within so many seconds is not used for another login.
const RESERVE_SECONDS: i64 = 600;

/// How often it is looked whether another program is done with a token.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The file of a refresh token.
#[derive(Serialize, Deserialize)]
struct Kept {
    refresh_token: String,
    /// When it came, in seconds since 1970.
    since: i64,
}

/// What one mailbox holds.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    granted: Option<Granted>,
    /// The token that was given last had been used for a login before.
    is_reused: bool,
    /// A refresh token that the provider called invalid, how often, and what it said of it.
    dead: Option<(Secret, u32, String)>,
}

/// So often it is asked whether a refresh token is really dead; then a person is waited for.
const DOUBTS: u32 = 2;

impl Tokens {
    /// A token for the next login.
    pub(super) async fn get(&mut self, account: &Account, source: &TokenSource) -> Result<Secret, SourceError> {
        if let Some(granted) = &self.granted
            && granted.until - now() > RESERVE_SECONDS
        {
            self.is_reused = true;
            return Ok(granted.token.clone());
        }
        (self.is_reused, self.granted) = (false, None);
        let granted = match source {
            TokenSource::Given(given) => {
                let token = given.fetch("token", &account.mailbox, account.limit).await;
                return token.map_err(|error| account.told(error));
            }
            TokenSource::Application(client) => of_application(account, client).await?,
            TokenSource::ServiceAccount { file, endpoints } => of_service_account(account, file, endpoints).await?,
            TokenSource::Refresh { file, client } => of_refresh_token(account, file, client, &mut self.dead).await?,
        };
        Ok(self.granted.insert(granted).token.clone())
    }

    /// The server did not take the token. Whether another one may do better.
    pub(super) fn refused(&mut self) -> bool {
        self.granted = None;
        self.is_reused
    }
}

async fn of_application(account: &Account, client: &Client) -> Result<Granted, SourceError> {
    let url = token_url(account, &client.endpoints)?;
    let scope = client.endpoints.scope.as_deref();
    let scope = scope.or_else(|| account.provider?.row().app_scope.as_deref()).unwrap_or_default();
    let form = vec![("grant_type", Secret::new("client_credentials".into())), ("scope", Secret::new(scope.into()))];
    let form = with_client(account, client, &url, form).await?;
    ask(account, &url, form, &client.endpoints, "client_credentials").await
}

async fn of_service_account(account: &Account, file: &Path, endpoints: &Endpoints) -> Result<Granted, SourceError> {
    #[derive(Deserialize)]
    struct Key {
        client_email: String,
        private_key: String,
        private_key_id: Option<String>,
        token_uri: Option<String>,
    }
    let wrong = |why: &str| account.refused(&format!("service_account {}: {why}", file.display()));
    let text = fs::read(file).map_err(|error| wrong(&error.to_string()))?;
    let key: Key = serde_json::from_slice(&text)
        .map_err(|_| wrong("this is not the JSON file of a service account's key; make a new key"))?;
    let url = match &key.token_uri {
        Some(url) if endpoints.token.is_none() => url.clone(),
        _ => token_url(account, endpoints)?,
    };
    let scope = endpoints.scope.as_deref();
    let scope = scope.or_else(|| account.provider?.row().app_scope.as_deref());
    let signer = Signer::of_account(&key.private_key, key.private_key_id.as_deref()).map_err(wrong)?;
    let assertion = signer.assertion(&key.client_email, &account.user, &url, scope, now());
    let form =
        vec![("grant_type", Secret::new(JWT_GRANT.into())), ("assertion", assertion.map_err(|why| wrong(&why))?)];
    ask(account, &url, form, endpoints, "service_account").await
}

async fn of_refresh_token(
    account: &Account,
    file: &Path,
    client: &Client,
    dead: &mut Option<(Secret, u32, String)>,
) -> Result<Granted, SourceError> {
    let url = token_url(account, &client.endpoints)?;
    // Whoever else renews it at this moment, as `bounced check --connect`, would make this one worthless.
    let _lock = lock(file, account.limit).await.map_err(|why| account.lost(&why))?;
    let kept = read_kept(file).map_err(|why| account.refused(&format!("{why}; run `{}`", account.login_command())))?;
    let refresh = Secret::new(kept.refresh_token);
    dead.take_if(|(of, ..)| of.expose() != refresh.expose());
    if let Some((_, DOUBTS.., why)) = dead {
        return Err(SourceError::Refused(why.clone()));
    }
    // A provider that gives a new one takes the old one for stolen when it comes again: without room for the new one nobody
    // is asked.
    let cannot = |error| account.lost(&format!("a new refresh token can't be kept in {}: {error}", file.display()));
    let room = Room::begin(file).map_err(cannot)?;
    let form = vec![("grant_type", Secret::new("refresh_token".into())), ("refresh_token", refresh.clone())];
    let form = with_client(account, client, &url, form).await?;
    let answer = post(account, &url, &form, &client.endpoints).await?;
    let granted = match oauth::read(&answer, now(), &secrets_of(form)) {
        Ok(granted) => granted,
        Err(denied) => {
            let is_dead = denied.error == "invalid_grant";
            let error = account.told(denied.explain(&url, "refresh_token", &account.login_command()));
            if let (true, SourceError::Refused(why)) = (is_dead, &error) {
                let times = dead.as_ref().map_or(0, |(_, times, _)| *times);
                *dead = Some((refresh, times + 1, why.clone()));
            }
            return Err(error);
        }
    };
    *dead = None;
    if let Some(new) = granted.refresh.as_ref().filter(|new| new.expose() != refresh.expose()) {
        room.keep(new).map_err(cannot)?;
    }
    Ok(granted)
}

/// The form, and who asks: RFC 6749 §2.3.1, RFC 7523 §2.2.
pub(super) async fn with_client<'a>(
    account: &Account,
    client: &Client,
    url: &str,
    mut form: Vec<(&'a str, Secret)>,
) -> Result<Vec<(&'a str, Secret)>, SourceError> {
    form.push(("client_id", Secret::new(client.id.clone())));
    if let Some(secret) = &client.secret {
        let secret = secret.fetch("client_secret", &account.mailbox, account.limit).await;
        form.push(("client_secret", secret.map_err(|error| account.told(error))?));
    }
    if let Some(file) = &client.certificate {
        let signer = Signer::of_certificate(file).map_err(|why| account.refused(&why))?;
        let assertion = signer.assertion(&client.id, &client.id, url, None, now());
        form.push(("client_assertion_type", Secret::new(ASSERTION_TYPE.into())));
        form.push(("client_assertion", assertion.map_err(|why| account.refused(&why))?));
    }
    Ok(form)
}

async fn ask(
    account: &Account,
    url: &str,
    form: Vec<(&str, Secret)>,
    endpoints: &Endpoints,
    way: &str,
) -> Result<Granted, SourceError> {
    let answer = post(account, url, &form, endpoints).await?;
    let secrets = secrets_of(form);
    oauth::read(&answer, now(), &secrets)
        .map_err(|denied| account.told(denied.explain(url, way, &account.login_command())))
}

/// What of a form nobody may print.
pub(super) fn secrets_of(form: Vec<(&str, Secret)>) -> Vec<Secret> {
    const SECRET: &[&str] =
        &["client_secret", "client_assertion", "assertion", "refresh_token", "code", "code_verifier", "device_code"];
    form.into_iter().filter(|(name, _)| SECRET.contains(name)).map(|(_, value)| value).collect()
}

pub(super) async fn post(
    account: &Account,
    url: &str,
    form: &[(&str, Secret)],
    endpoints: &Endpoints,
) -> Result<http::Answer, SourceError> {
    let fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.expose())).collect();
    let answer = http::post_form(url, &fields, endpoints.ca_file.as_deref(), account.limit).await;
    answer.map_err(|error| account.told(error))
}

pub(super) fn token_url(account: &Account, endpoints: &Endpoints) -> Result<String, SourceError> {
    url(account, endpoints, endpoints.token.as_deref(), |provider| provider.row().token.as_deref(), "token_url")
}

/// The URL that is set, or the provider's with its tenant.
pub(super) fn url(
    account: &Account,
    endpoints: &Endpoints,
    set: Option<&str>,
    known: impl Fn(Provider) -> Option<&'static str>,
    key: &str,
) -> Result<String, SourceError> {
    known_url(account.provider, endpoints, set, known, key).map_err(|why| account.refused(&why))
}

fn known_url(
    provider: Option<Provider>,
    endpoints: &Endpoints,
    set: Option<&str>,
    known: impl Fn(Provider) -> Option<&'static str>,
    key: &str,
) -> Result<String, String> {
    if let Some(set) = set {
        return Ok(set.to_owned());
    }
    let Some(known) = provider.and_then(known) else {
        let password = provider.and_then(|provider| provider.row().password.as_deref());
        let instead = password.map(|advice| format!("; or set password: {advice}")).unwrap_or_default();
        return Err(format!("token needs {key}, or a provider that has one{instead}"));
    };
    match &endpoints.tenant {
        None if known.contains("{tenant}") => {
            Err("token needs tenant (the directory's ID; `consumers` for outlook.com)".to_owned())
        }
        tenant => Ok(known.replace("{tenant}", tenant.as_deref().unwrap_or_default())),
    }
}

/// Why no token can ever come from there, in one line with what to do.
pub(super) fn contradiction(provider: Option<Provider>, source: &TokenSource) -> Option<String> {
    let endpoints = match source {
        TokenSource::Given(_) => return None,
        TokenSource::Application(client) | TokenSource::Refresh { client, .. } => &client.endpoints,
        TokenSource::ServiceAccount { endpoints, .. } => endpoints,
    };
    // The file of a service account's key names its token server itself.
    if !matches!(source, TokenSource::ServiceAccount { .. }) {
        let known = |provider: Provider| provider.row().token.as_deref();
        if let Err(why) = known_url(provider, endpoints, endpoints.token.as_deref(), known, "token_url") {
            return Some(why);
        }
    }
    [("token_url", &endpoints.token), ("device_url", &endpoints.device)].into_iter().find_map(|(key, url)| {
        let url = url.as_deref()?;
        let why = http::usable(url).err()?;
        Some(format!("{key} {url}: {why}"))
    })
}

/// Only one at a time renews a refresh token, or puts another in its place.
pub(super) async fn lock(file: &Path, limit: Duration) -> Result<File, String> {
    let path = companion_of(file, ".lock");
    let cannot = |error: io::Error| format!("can't lock {}: {error}", path.display());
    let held = File::options().create(true).append(true).open(&path).map_err(cannot)?;
    give_to_owner_of_directory(&held, &path);
    let until = Instant::now() + limit;
    loop {
        match held.try_lock() {
            Ok(()) => return Ok(held),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_POLL).await,
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another program renews the token of {} for longer than {limit:?}",
                    file.display()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
    }
}

fn read_kept(file: &Path) -> Result<Kept, String> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err("nobody has consented yet".into()),
        Err(error) => return Err(format!("can't read the refresh token in {}: {error}", file.display())),
    };
    serde_json::from_slice(&text).map_err(|_| format!("{} holds no refresh token", file.display()))
}

/// Where a refresh token can be kept, whatever else fills the disk meanwhile.
pub(super) struct Room(Replacement);

impl Room {
    /// The longest file of a token.
    const OCTETS: usize = 16 << 10;

    pub(super) fn begin(file: &Path) -> io::Result<Self> {
        let replacement = Replacement::begin(file, None)?;
        let mut writer = replacement.file()?;
        writer.set_permissions(fs::Permissions::from_mode(0o600))?;
        writer.write_all(&[b' '; Self::OCTETS])?;
        writer.sync_data()?;
        Ok(Self(replacement))
    }

    /// Keeps it, for its owner alone; it is on the disk when this returns.
    pub(super) fn keep(self, refresh: &Secret) -> io::Result<()> {
        let kept = Kept { refresh_token: refresh.expose().to_owned(), since: now() };
        let text = format!("{}\n", serde_json::to_string(&kept)?);
        let mut writer = self.0.file()?;
        writer.seek(SeekFrom::Start(0))?;
        writer.write_all(text.as_bytes())?;
        writer.set_len(text.len() as u64)?;
        self.0.commit()
    }
}
