//! Whether the daemon could work with a configuration: each part is tried, nothing is read and nothing is changed.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    pin::Pin,
};

use super::{Halt, mail_log::try_log, open::permit_new_store, status::is_there};
use crate::{
    clock::Moment,
    config::{Config, Mailbox},
    follower::{FollowerFile, Followers, Update},
    message::Resume,
    policy::{Policy, Span},
    source::{MailboxVisitor, Source},
    store::{MailboxDaemons, Store, StoreError},
};

/// What to say of the first file that a configured mailbox can't do without and that is not there or holds something else.
#[must_use]
pub fn unusable_file(config: &Config) -> Option<String> {
    config.mailboxes().into_iter().find_map(|Mailbox { section, name, settings }| {
        let problem = settings.unusable_file()?;
        Some(format!("[{section}.{name}] {problem}; give the file that is meant"))
    })
}

/// What the rules of a policy can't do with this configuration, a line each: it can be used all the same.
#[must_use]
pub fn doubts(config: &Config, policy: &Policy) -> Vec<String> {
    let mut doubts = Vec::new();
    let kept = config.retention.of_bounces();
    for rule in &*policy.rules {
        for mailbox in rule.mailboxes().iter().filter(|name| !config.reads(name) && !Config::is_handed_over(name)) {
            doubts.push(format!(
                "rule `{}` is for the mailbox `{mailbox}`, and none of that name is configured",
                rule.id
            ));
        }
        let looks_back = rule.looks_back().map(Span::seconds).unwrap_or_default().unsigned_abs();
        if let Some(kept) = kept.map(|kept| kept.as_secs()).filter(|&kept| kept < looks_back) {
            let [within, kept] = [looks_back, kept].map(|seconds| Span::of_seconds(seconds.cast_signed()));
            doubts.push(format!(
                "rule `{}` counts bounces within {within}, and [retention] keeps them for {kept}: it may never find enough",
                rule.id
            ));
        }
    }
    doubts
}

/// Since when the database, which is there, can tell our own mail from what strangers write (seconds since 1970-01-01 UTC);
/// `None` while it can't.
///
/// # Errors
/// See [`StoreError`].
pub async fn vouching_since(config: &Config) -> Result<Option<i64>, StoreError> {
    let store = Store::open_to_read(&config.database.path).await?;
    let since = store.vouching_since().await;
    store.close().await;
    since
}

/// What the published lists are called, and where they lie.
#[must_use]
pub fn published_lists(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let followers = Followers::configured(config);
    followers.files().into_iter().map(|FollowerFile { name, path, .. }| (name, path.to_owned())).collect()
}

/// Tries the store, the published lists, every mailbox and every mail log at `now`, and tells `told` of each in turn: what
/// there is to say of it, or why it can't be used.
pub async fn try_out(config: &Config, now: Moment, mut told: impl FnMut(&str, Result<Option<String>, Halt>)) {
    let mut tell = |part: &str, tried: Result<(), Halt>| told(part, tried.map(|()| None));
    tell("database", try_store(config).await.map_err(Halt::from));
    for FollowerFile { name, path, update } in Followers::configured(config).files() {
        let tried = match update {
            Update::InPlace => writable(path),
            Update::Anew => makeable(path),
        };
        tell(name, tried.map_err(Halt::from));
    }
    for (name, login) in Logins::of(config, now).await {
        tell(&name, login.await);
    }
    for (name, settings) in &config.mail_log {
        told(name, try_log(settings, now.wall).await.map(Some).map_err(Halt::from));
    }
}

/// Tries whether the mailbox of this name opens at `now`. Nothing is changed in it.
///
/// # Errors
/// Why it does not.
pub async fn try_mailbox(config: &Config, name: &str, now: Moment) -> Result<(), Halt> {
    for (found, login) in Logins::of(config, now).await {
        if found == name {
            login.await?;
        }
    }
    Ok(())
}

/// Whether the database can be used, and whether it is the one that the published lists were made from. One that is not
/// there yet is not made: it would belong to whoever checks, not to whoever runs.
async fn try_store(config: &Config) -> Result<(), StoreError> {
    let path = &config.database.path;
    if path.metadata().map_or(true, |metadata| metadata.len() == 0) {
        permit_new_store(config).await?;
        writable(path)?;
        return makeable(path);
    }
    let store = Store::open_to_read(path).await?;
    // Without it the daemon does not start.
    let permitted = store.check_key().await;
    let permitted = permitted.and(Followers::configured(config).permit(&store).await);
    store.close().await;
    permitted?;
    writable(path)?;
    // SQLite makes its companions beside it.
    makeable(path)
}

/// Whether the file can be written, or made.
fn writable(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return File::options().append(true).open(path).map(drop).map_err(|error| cannot(path, &error));
    }
    makeable(path)
}

/// Whether a file can be made in its place. What bears the name of the probe is never opened: it may be a link that
/// somebody put there.
fn makeable(path: &Path) -> Result<(), StoreError> {
    let mut probe = path.as_os_str().to_owned();
    probe.push(format!(".check-{}", std::process::id()));
    let made = File::options().write(true).create_new(true).open(&probe);
    made.and_then(|_| std::fs::remove_file(&probe)).map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unusable(format!(
        "{} can't be written: {error}; check the directory and its permissions",
        path.display()
    ))
}

type Login = Pin<Box<dyn Future<Output = Result<(), Halt>>>>;

/// What is still to be tried, by the names of the mailboxes.
struct Logins {
    /// Mailboxes that a daemon reads meanwhile.
    read: Vec<String>,
    all: Vec<(String, Login)>,
}

impl Logins {
    async fn of(config: &Config, now: Moment) -> Vec<(String, Login)> {
        // What is wrong with the database is told where it is tried.
        let read = read_at(config, now).await.unwrap_or_default();
        let mut logins = Self { read, all: Vec::new() };
        config.visit_mailboxes(&mut logins);
        logins.all
    }
}

/// The mailboxes of which daemons have the lease at `now`.
async fn read_at(config: &Config, now: Moment) -> Result<Vec<String>, StoreError> {
    if !config.database.path.exists() {
        return Ok(Vec::new());
    }
    let store = Store::open_to_read(&config.database.path).await?;
    let daemons = store.daemons().await;
    store.close().await;
    let is_read = |one: &MailboxDaemons| one.reader.as_ref().is_some_and(|reader| is_there(reader, now));
    Ok(daemons?.into_iter().filter(is_read).map(|one| one.mailbox).collect())
}

impl MailboxVisitor for Logins {
    fn visit<S: Source>(&mut self, name: &str, settings: &S::Settings) {
        let is_read = self.read.iter().any(|read| read == name);
        self.all.push((name.to_owned(), Box::pin(log_in(S::new(name, settings.clone()), is_read))));
    }
}

async fn log_in(mut source: impl Source, is_read: bool) -> Result<(), Halt> {
    let opened = source.open(Resume { only_looks: true, is_read, ..Resume::default() }).await;
    source.close().await;
    Ok(opened?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_published_list_is_tried_as_it_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.path = dir.path().join("bounced.db");
        config.suppressions.path = dir.path().join("list.db");
        config.suppressions.cdb_path = Some(dir.path().join("list.cdb"));
        let tried = async |config: &Config| {
            let mut told = Vec::new();
            try_out(config, Moment::now(), |part, tried| told.push((part.to_owned(), tried.is_ok()))).await;
            told.retain(|(part, _)| part != "database");
            told
        };
        let of = |list, cdb| [("published list".to_owned(), list), ("published cdb".to_owned(), cdb)];
        assert_eq!(tried(&config).await, of(true, true), "they are not there yet");
        // Nobody writes into a directory.
        std::fs::create_dir(&config.suppressions.path).unwrap();
        assert_eq!(tried(&config).await, of(false, true));
        config.suppressions.cdb_path = Some(dir.path().join("missing/list.cdb"));
        assert_eq!(tried(&config).await, of(false, false));
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is made but for a moment");
    }
}
