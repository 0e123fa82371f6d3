//! The IMAP source against a real Dovecot.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/dovecot.rs"]
mod dovecot;

use bounced::{
    message::{Disposition, Locator, Message, Resume},
    source::{ImapSettings, Source, imap::ImapSource},
};
use dovecot::{Dovecot, PASSWORD, USER};

/// Settings for implicit TLS, with these TOML lines added or put in place of the usual ones.
fn settings(server: &Dovecot, changes: &str) -> ImapSettings {
    let mut table: toml::Table = toml::from_str(&format!(
        "host = 'localhost'\nport = {}\nuser = '{USER}'\nca_file = '{}'\npoll = '30s'",
        server.imaps,
        server.ca_file().display()
    ))
    .unwrap();
    let secret = server.dir.path().join("secret");
    std::fs::write(&secret, format!("{PASSWORD}\n")).unwrap();
    table.insert("password".into(), toml::Table::from_iter([("file".into(), secret.to_str().unwrap().into())]).into());
    table.extend(toml::from_str::<toml::Table>(changes).unwrap());
    ImapSettings { name: "test".into(), ..table.try_into().unwrap() }
}

fn source(server: &Dovecot, changes: &str) -> ImapSource {
    ImapSource::new(settings(server, changes))
}

fn processed(messages: &[Message]) -> Vec<(Locator, Disposition)> {
    messages.iter().map(|message| (message.locator.clone(), Disposition::Processed)).collect()
}

fn subjects(messages: &[Message]) -> Vec<String> {
    let subject = |message: &Message| {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)).unwrap_or_default()
    };
    messages.iter().map(subject).collect()
}

fn mail(subject: &str) -> String {
    format!("From: <>\nSubject: {subject}\n\nNobody here.\n")
}

#[tokio::test]
async fn committed_messages_are_moved_and_the_rest_is_untouched() {
    let Some(server) = Dovecot::start() else { return };
    for subject in ["one", "two", "three"] {
        server.deliver(&mail(subject));
    }
    let mut source = source(&server, "");
    source.open(Resume::default()).await.unwrap();
    let messages = source.fetch().await.unwrap();
    assert_eq!(subjects(&messages), ["one", "two", "three"]);
    assert!(source.fetch().await.unwrap().is_empty());
    let mut done = processed(&messages);
    done[1].1 = Disposition::Untouched;
    source.settle(&done).await.unwrap();
    source.settle(&done).await.expect("settling twice is no error");
    source.close().await;
    assert_eq!((server.count("INBOX"), server.count("Processed")), (1, 2));
    assert_eq!(server.doveadm(&["fetch", "flags", "mailbox", "INBOX"]).trim(), "flags:");
    assert!(server.doveadm(&["mailbox list", "-s"]).contains("Processed"));
}
