//! The IMAP source against a real Dovecot.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/dovecot.rs"]
mod dovecot;

use std::{fs, time::Duration};

use bounced::{
    message::{Batch, Disposition, Place, Resume},
    source::{
        Source, SourceError,
        imap::{ImapSettings, ImapSource},
    },
};
use dovecot::{Dovecot, PASSWORD, USER};
use tokio::time::timeout;

/// Generous: only a test that fails waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Settings for implicit TLS, with these TOML lines added or put in place of the usual ones.
fn settings(server: &Dovecot, changes: &str) -> ImapSettings {
    let mut table: toml::Table = toml::from_str(&format!(
        "host = 'localhost'\nport = {}\nuser = '{USER}'\nca_file = '{}'\npoll = '10m'",
        server.imaps,
        server.ca_file().display()
    ))
    .unwrap();
    let secret = server.dir.path().join("secret");
    fs::write(&secret, format!("{PASSWORD}\n")).unwrap();
    table.insert("password".into(), toml::Table::from_iter([("file".into(), secret.to_str().unwrap().into())]).into());
    table.extend(toml::from_str::<toml::Table>(changes).unwrap());
    table.try_into().unwrap()
}

async fn opened(server: &Dovecot, changes: &str) -> ImapSource {
    let mut source = ImapSource::new("test", settings(server, changes));
    source.open(Resume::default()).await.unwrap();
    source
}

/// The one line that opening is refused with.
async fn refusal(server: &Dovecot, changes: &str) -> String {
    match ImapSource::new("test", settings(server, changes)).open(Resume::default()).await {
        Err(SourceError::Refused(line)) => {
            assert!(!line.contains('\n') && line.contains(USER) && !line.contains("wörd"), "{line}");
            line
        }
        other => panic!("{other:?}"),
    }
}

fn processed(batch: &Batch) -> Vec<(Place, Disposition)> {
    batch.messages.iter().map(|message| (message.place.clone(), Disposition::Processed)).collect()
}

fn subjects(batch: &Batch) -> Vec<String> {
    let subject = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)).unwrap_or_default()
    };
    batch.messages.iter().map(|message| subject(&message.body)).collect()
}

fn mail(subject: &str) -> String {
    format!("From: <>\nSubject: {subject}\n\nNobody here.\n")
}

fn deliver_all(server: &Dovecot, subjects: &[&str]) {
    subjects.iter().for_each(|subject| server.deliver(&mail(subject)));
}

#[tokio::test]
async fn whoever_only_looks_makes_no_folder() {
    let Some(server) = Dovecot::start() else { return };
    let mut source = ImapSource::new("test", settings(&server, ""));
    source.open(Resume { only_looks: true, ..Resume::default() }).await.unwrap();
    source.close().await;
    assert!(!server.doveadm(&["mailbox list"]).contains("Processed"));
}

#[tokio::test]
async fn processed_messages_are_moved_and_the_rest_is_untouched() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one", "two", "three"]);
    let mut source = opened(&server, "").await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(subjects(&batch), ["one", "two", "three"]);
    assert_eq!(batch.messages[0].body.as_ref(), mail("one").replace('\n', "\r\n").as_bytes());
    let now = jiff::Timestamp::now().as_second();
    assert!((now - 600..=now + 600).contains(&batch.messages[0].received), "{}", batch.messages[0].received);
    assert!(source.fetch().await.unwrap().messages.is_empty());
    let mut done = processed(&batch);
    done[1].1 = Disposition::Untouched;
    source.settle(&done).await.unwrap();
    source.settle(&done).await.expect("what is moved already is no error");
    source.close().await;
    assert_eq!((server.count("INBOX"), server.count("Processed")), (1, 2));
    assert_eq!(server.doveadm(&["fetch", "flags", "mailbox", "INBOX"]).trim(), "flags:");
    assert!(server.doveadm(&["mailbox list", "-s"]).contains("Processed"), "the new folder is subscribed to");
}

#[tokio::test]
async fn an_earlier_run_is_continued_and_its_unsettled_messages_are_settled() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one", "two"]);
    let mut source = opened(&server, "batch = 1").await;
    let first = source.fetch().await.unwrap();
    assert_eq!(subjects(&first), ["one"]);
    drop(source);
    let resume = Resume { cursor: first.reading.cursor.clone(), ..Resume::default() };
    assert!(resume.cursor.is_some());
    for _ in 0..2 {
        let mut source = ImapSource::new("test", settings(&server, ""));
        source.open(resume.clone()).await.unwrap();
        source.settle(&processed(&first)).await.expect("the second time, the message is moved already");
        assert_eq!(subjects(&source.fetch().await.unwrap()), ["two"]);
    }
    assert_eq!((server.count("INBOX"), server.count("Processed")), (1, 1));
}

#[tokio::test]
async fn another_uidvalidity_starts_again_and_settles_nothing_of_the_old() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one", "two"]);
    let mut source = opened(&server, "").await;
    let before = source.fetch().await.unwrap();
    source.close().await;
    let (validity, _) = before.messages[1].place.as_str().split_once(':').unwrap();
    let validity = (validity.parse::<u32>().unwrap() + 1).to_string();
    server.doveadm(&["mailbox update", "--uid-validity", &validity, "INBOX"]);
    source.open(Resume { cursor: before.reading.cursor.clone(), ..Resume::default() }).await.unwrap();
    source.settle(&processed(&before)).await.unwrap();
    let after = source.fetch().await.unwrap();
    assert_eq!(subjects(&after), ["one", "two"]);
    assert!(after.messages.iter().all(|m| m.place.as_str().starts_with(&format!("{validity}:"))));
    assert_eq!(server.count("INBOX"), 2);
}

#[tokio::test]
async fn without_move_messages_are_copied_and_only_they_are_expunged() {
    let Some(server) = Dovecot::with("imap_capability = IMAP4rev1 UIDPLUS IDLE AUTH=PLAIN") else { return };
    deliver_all(&server, &["one", "two", "three"]);
    let mut source = opened(&server, "").await;
    let batch = source.fetch().await.unwrap();
    // Somebody else's: it is marked as deleted and waits for somebody to expunge it.
    server.doveadm(&["flags add", r"\Deleted", "mailbox", "INBOX", "subject", "three"]);
    let done = processed(&batch);
    source.settle(&done[..2]).await.unwrap();
    source.settle(&done[..2]).await.unwrap();
    assert_eq!((server.count("INBOX"), server.count("Processed")), (1, 2));
}

#[tokio::test]
async fn without_uidplus_messages_are_copied_once_and_stay_marked_as_deleted() {
    let Some(server) = Dovecot::with("imap_capability = IMAP4rev1 IDLE AUTH=PLAIN") else { return };
    deliver_all(&server, &["one", "two"]);
    let mut source = opened(&server, "").await;
    let batch = source.fetch().await.unwrap();
    source.settle(&processed(&batch)).await.unwrap();
    source.settle(&processed(&batch)).await.unwrap();
    assert_eq!((server.count("INBOX"), server.count("Processed")), (2, 2));
    // A new reader doesn't see what is marked as deleted.
    assert!(opened(&server, "").await.fetch().await.unwrap().messages.is_empty());
}

#[tokio::test]
async fn flagged_messages_stay_seen_and_marked_and_left_ones_stay_as_they_are() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one"]);
    for (after, expected) in [("leave", "flags:"), ("flag", "flags: \\Seen $Bounced")] {
        let mut source = opened(&server, &format!("after = '{after}'")).await;
        let batch = source.fetch().await.unwrap();
        source.settle(&processed(&batch)).await.unwrap();
        source.close().await;
        assert_eq!(server.doveadm(&["fetch", "flags", "mailbox", "INBOX"]).trim(), expected);
    }
}

#[tokio::test]
async fn a_folder_may_have_any_name() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one"]);
    let name = r#"Erledigt & "zurück" 日本"#;
    let mut source = opened(&server, &format!("after = {{ move = '{name}' }}")).await;
    let batch = source.fetch().await.unwrap();
    source.settle(&processed(&batch)).await.unwrap();
    assert_eq!(server.count(name), 1);
    // Deleted while the source is connected: it is created again.
    server.doveadm(&["mailbox delete", "-s", name]);
    deliver_all(&server, &["two"]);
    timeout(LIMIT, source.wait()).await.unwrap().unwrap();
    let batch = source.fetch().await.unwrap();
    source.settle(&processed(&batch)).await.unwrap();
    assert_eq!(server.count(name), 1);
}

#[tokio::test]
async fn large_messages_are_cut_and_a_portion_is_bounded() {
    let Some(server) = Dovecot::start() else { return };
    let large = format!("{}{}", mail("large"), "x\n".repeat(4 << 20));
    for _ in 0..4 {
        server.deliver(&large);
    }
    let other = format!("{}y\n", large.strip_suffix("x\n").unwrap());
    server.deliver(&other);
    // All in one second, whatever writing them took: a Maildir's INTERNALDATE is the time of the file.
    for file in fs::read_dir(server.maildir().join("new")).unwrap() {
        let file = fs::File::options().append(true).open(file.unwrap().path()).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    }
    let mut source = opened(&server, "max_message = 2500000").await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(batch.messages.len(), 3, "four would have been more than 8 MiB");
    let wire = large.len() + large.matches('\n').count();
    assert!(batch.messages.iter().all(|m| m.body.len() == 2_500_000 && m.size == wire as u64));
    let rest = source.fetch().await.unwrap().messages;
    // As long, arrived in the same second, and different only where nothing is kept.
    assert!(rest[0].sha256() == batch.messages[0].sha256() && rest[0].sha256() != rest[1].sha256());
    assert_eq!(rest.len(), 2);
}

#[tokio::test]
async fn thousands_of_messages_come_in_batches_once_each() {
    let Some(server) = Dovecot::start() else { return };
    let expected: Vec<String> = (0..2500).map(|n| format!("number {n}")).collect();
    expected.iter().for_each(|subject| server.deliver(&mail(subject)));
    // Gaps in the UIDs make sets that need more than one command.
    server.doveadm(&["expunge", "mailbox", "INBOX", "subject", "7"]);
    let mut source = opened(&server, "batch = 600").await;
    let mut found = Vec::new();
    loop {
        let batch = source.fetch().await.unwrap();
        assert!(batch.messages.len() <= 600);
        if batch.messages.is_empty() {
            break;
        }
        found.extend(subjects(&batch));
    }
    assert!(found.iter().eq(expected.iter().filter(|subject| !subject.contains('7'))));
}

#[tokio::test]
async fn a_batch_is_settled_although_the_next_was_fetched_before() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one", "two"]);
    let mut source = opened(&server, "batch = 1").await;
    let first = source.fetch().await.unwrap();
    let second = source.fetch().await.unwrap();
    assert_eq!((subjects(&first), subjects(&second)), (vec!["one".to_owned()], vec!["two".to_owned()]));
    source.settle(&processed(&first)).await.unwrap();
    assert!(source.fetch().await.unwrap().messages.is_empty(), "neither comes again");
    source.settle(&processed(&second)).await.unwrap();
    assert_eq!((server.count("INBOX"), server.count("Processed")), (0, 2));
}

#[tokio::test]
async fn idle_sees_a_new_message() {
    let Some(server) = Dovecot::start() else { return };
    // The poll interval is ten minutes: only IDLE can end the wait.
    let mut source = opened(&server, "").await;
    for subject in ["one", "two"] {
        assert!(source.fetch().await.unwrap().messages.is_empty());
        let (waited, ()) = tokio::join!(timeout(LIMIT, source.wait()), async { server.deliver(&mail(subject)) });
        waited.expect("IDLE tells of it").unwrap();
        assert_eq!(subjects(&source.fetch().await.unwrap()), [subject]);
    }
}

#[tokio::test]
async fn where_there_is_no_idle_the_folder_is_polled() {
    let Some(server) = Dovecot::with("imap_capability = IMAP4rev1 MOVE AUTH=PLAIN") else { return };
    let mut source = opened(&server, "poll = '10ms'").await;
    server.deliver(&mail("one"));
    let found = timeout(LIMIT, async {
        loop {
            source.wait().await.unwrap();
            let batch = source.fetch().await.unwrap();
            if !batch.messages.is_empty() {
                break subjects(&batch);
            }
        }
    });
    assert_eq!(found.await.unwrap(), ["one"]);
}

#[tokio::test]
async fn starttls_and_plain_to_loopback_work_too() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one"]);
    for tls in ["starttls", "plain"] {
        let mut source = opened(&server, &format!("tls = '{tls}'\nport = {}", server.imap)).await;
        assert_eq!(source.fetch().await.unwrap().messages.len(), 1, "{tls}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let Some(server) = Dovecot::start() else { return };
    fs::write(server.dir.path().join("wrong"), "not the wörd").unwrap();
    let wrong = format!("password = {{ file = '{}' }}", server.dir.path().join("wrong").display());
    let line = refusal(&server, &wrong).await;
    assert!(
        line.contains("login failed") && line.contains("localhost:") && line.contains("check user and password"),
        "{line}"
    );
}

#[tokio::test]
async fn the_password_may_come_from_a_command_and_a_failing_command_is_refused() {
    let Some(server) = Dovecot::start() else { return };
    fs::write(server.dir.path().join("pass"), format!("{PASSWORD}\nuser: x\n")).unwrap();
    let command = |command: &str| format!("password = {{ command = '{command}' }}");
    opened(&server, &command(&format!("cat {}/pass", server.dir.path().display()))).await;
    let line = refusal(&server, &command("exit 3")).await;
    assert!(line.contains("exit status: 3"), "{line}");
    let line = refusal(&server, &command("true")).await;
    assert!(line.contains("the password is empty"), "{line}");
    let line = refusal(&server, "password = { env = 'BOUNCED_TEST_NOT_SET' }").await;
    assert!(line.contains("BOUNCED_TEST_NOT_SET"), "{line}");
    let line = refusal(&server, "password = { file = '/nonexistent/password' }").await;
    assert!(line.contains("/nonexistent/password"), "{line}");
}

#[tokio::test]
async fn a_certificate_from_elsewhere_or_for_another_name_is_refused() {
    let Some(server) = Dovecot::start() else { return };
    dovecot::certificate(server.dir.path(), "other", "localhost");
    let other = server.dir.path().join("other.pem");
    let line = refusal(&server, &format!("ca_file = '{}'", other.display())).await;
    assert!(line.contains("certificate was not accepted") && line.contains("ca_file"), "{line}");
    // The certificate is made out to localhost.
    let line = refusal(&server, "host = '127.0.0.1'").await;
    assert!(line.contains("certificate was not accepted"), "{line}");
    let line = refusal(&server, "ca_file = '/nonexistent/ca.pem'").await;
    assert!(line.contains("/nonexistent/ca.pem"), "{line}");
    let key = server.dir.path().join("dovecot.key");
    let line = refusal(&server, &format!("ca_file = '{}'", key.display())).await;
    assert!(line.contains("no certificate"), "{line}");
    let settings = settings(&server, &format!("tls = 'implicit'\nport = {}", server.imap));
    let other_port = ImapSource::new("test", settings).open(Resume::default()).await;
    assert!(
        matches!(&other_port, Err(SourceError::Lost(line)) if line.contains("does not speak TLS")),
        "{other_port:?}"
    );
    let turned = format!("tls = 'starttls'\nport = {}\ntimeouts = {{ connect = '1s' }}", server.imaps);
    let turned = self::settings(&server, &turned);
    let silent = ImapSource::new("test", turned).open(Resume::default()).await;
    assert!(matches!(&silent, Err(SourceError::Lost(line)) if line.contains("set tls = \"implicit\"")), "{silent:?}");
}

#[tokio::test]
async fn a_missing_folder_is_refused() {
    let Some(server) = Dovecot::start() else { return };
    let line = refusal(&server, "folder = 'Bounces'").await;
    assert!(line.contains("the folder Bounces can't be opened") && line.contains("create it"), "{line}");
    let line = refusal(&server, "after = { move = 'inbox' }").await;
    assert!(line.contains("name another"), "{line}");
}

#[tokio::test]
async fn a_server_that_stops_is_lost_and_found_again_when_it_is_back() {
    let Some(mut server) = Dovecot::start() else { return };
    deliver_all(&server, &["one"]);
    let mut source = opened(&server, "").await;
    assert_eq!(source.fetch().await.unwrap().messages.len(), 1);
    let (waited, ()) = tokio::join!(timeout(LIMIT, source.wait()), async { server.stop() });
    assert!(matches!(waited.unwrap(), Err(SourceError::Lost(_))));
    assert!(matches!(source.fetch().await, Err(SourceError::Lost(_))), "without open there is nothing to fetch from");
    assert!(matches!(source.open(Resume::default()).await, Err(SourceError::Lost(_))), "it is still away");
    server.restart();
    source.open(Resume::default()).await.unwrap();
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["one"]);
}

#[tokio::test]
async fn a_message_expunged_by_somebody_else_is_no_error() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one", "two", "three"]);
    let mut source = opened(&server, "batch = 1").await;
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["one"]);
    // The source has found all three by now.
    server.doveadm(&["expunge", "mailbox", "INBOX", "subject", "two"]);
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["three"]);
}

#[tokio::test]
async fn messages_that_somebody_else_moves_under_our_hands_are_no_error() {
    let Some(server) = Dovecot::start() else { return };
    deliver_all(&server, &["one", "two", "three", "four"]);
    let mut source = opened(&server, "batch = 2").await;
    let first = source.fetch().await.unwrap();
    assert_eq!(subjects(&first), ["one", "two"]);
    server.doveadm(&["mailbox create", "Elsewhere"]);
    // One that is to be moved, and one that is to be read next.
    for subject in ["one", "three"] {
        server.doveadm(&["move", "Elsewhere", "mailbox", "INBOX", "subject", subject]);
    }
    assert!(source.settle(&processed(&first)).await.unwrap().is_empty());
    let second = source.fetch().await.unwrap();
    assert_eq!(subjects(&second), ["four"]);
    source.settle(&processed(&second)).await.unwrap();
    assert_eq!((server.count("INBOX"), server.count("Processed"), server.count("Elsewhere")), (0, 2, 2));
}

#[tokio::test]
async fn a_folder_that_is_deleted_under_our_hands_is_refused_until_it_is_there_again_and_then_read_anew() {
    let Some(server) = Dovecot::start() else { return };
    let folder = "Bounces";
    let deliver = |subject| {
        let maildir = server.maildir().join(format!(".{folder}"));
        dovecot::deliver(&maildir, &mail(subject));
    };
    server.doveadm(&["mailbox create", folder]);
    deliver("one");
    let mut source = opened(&server, &format!("folder = '{folder}'\npoll = '200ms'")).await;
    let first = source.fetch().await.unwrap();
    assert_eq!(subjects(&first), ["one"]);
    server.doveadm(&["mailbox delete", folder]);
    // Neither moved nor read any more, and the connection ends or the server says so.
    let ended = timeout(LIMIT, async {
        loop {
            source.settle(&processed(&first)).await?;
            source.wait().await?;
            source.fetch().await?;
        }
    });
    let ended: Result<(), SourceError> = ended.await.expect("it is noticed");
    assert!(matches!(ended, Err(SourceError::Lost(_))), "{ended:?}");
    let resume = || Resume { cursor: first.reading.cursor.clone(), worked: true, ..Resume::default() };
    let gone = source.open(resume()).await;
    assert!(matches!(&gone, Err(SourceError::Refused(why)) if why.contains("can't be opened")), "{gone:?}");

    // A folder of that name has another UIDVALIDITY.
    server.doveadm(&["mailbox create", folder]);
    deliver("two");
    source.open(resume()).await.unwrap();
    let second = source.fetch().await.unwrap();
    assert_eq!(subjects(&second), ["two"]);
    assert!(source.settle(&processed(&second)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_quota_that_is_full_holds_up_no_reading_and_settling_goes_on_when_there_is_room() {
    let limit = if dovecot::is_2_4() {
        "mail_plugins {\nquota = yes\n}\nquota \"User quota\" {\nquota_storage_size = 1M\n}"
    } else {
        "mail_plugins = quota\nplugin {\nquota = maildir:User quota\nquota_rule = *:storage=1M\n}"
    };
    // Who moves needs no more room; who copies does.
    let Some(server) = Dovecot::with(&format!("imap_capability = IMAP4rev1 UIDPLUS IDLE AUTH=PLAIN\n{limit}")) else {
        return;
    };
    // Two fit, and three don't.
    let large = |subject: &str| format!("{}{}", mail(subject), format!("{}\n", "x".repeat(75)).repeat(5_500));
    ["one", "two"].iter().for_each(|subject| server.deliver(&large(subject)));
    let mut source = opened(&server, "").await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(subjects(&batch), ["one", "two"]);
    let done = &processed(&batch)[..1];
    let failed = source.settle(done).await.unwrap();
    assert!(failed.len() == 1 && failed[0].1.contains("make room"), "{failed:?}");
    // Room is made, and new mail comes.
    server.doveadm(&["expunge", "mailbox", "INBOX", "subject", "two"]);
    deliver_all(&server, &["three"]);
    timeout(LIMIT, source.wait()).await.unwrap().unwrap();
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["three"]);
    assert!(source.settle(done).await.unwrap().is_empty());
    assert_eq!((server.count("INBOX"), server.count("Processed")), (1, 1));
}

#[tokio::test]
async fn a_folder_that_may_only_be_read_is_refused_unless_messages_are_left() {
    let rights = if dovecot::is_2_4() {
        "mail_plugins {\nacl = yes\n}\nacl_driver = vfile"
    } else {
        "mail_plugins = acl\nplugin {\nacl = vfile\n}"
    };
    let Some(server) = Dovecot::with(rights) else { return };
    deliver_all(&server, &["one"]);
    fs::write(server.maildir().join("dovecot-acl"), "owner lr\n").unwrap();
    let line = refusal(&server, "").await;
    assert!(line.contains("read-only") && line.contains("leave"), "{line}");
    let mut source = opened(&server, "after = 'leave'").await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(subjects(&batch), ["one"]);
    assert!(source.settle(&processed(&batch)).await.unwrap().is_empty());
    assert_eq!(server.count("INBOX"), 1);
}

#[tokio::test]
async fn a_server_that_asks_for_the_password_in_two_steps_gets_it() {
    let Some(server) = Dovecot::with("auth_mechanisms = login\n") else { return };
    for mechanism in ["", "mechanism = 'login'"] {
        opened(&server, mechanism).await.close().await;
    }
    // One that it does not offer is used all the same where it is configured, and the refusal told.
    assert!(refusal(&server, "mechanism = 'plain'").await.contains("login failed"));
}

#[tokio::test]
async fn a_client_certificate_alone_logs_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, USER);
    let key = rcgen::KeyPair::generate().unwrap();
    let signed = params.self_signed(&key).unwrap();
    let (authority, both) = (dir.path().join("authority.pem"), dir.path().join("client.pem"));
    fs::write(&authority, signed.pem()).unwrap();
    fs::write(&both, signed.pem() + &key.serialize_pem()).unwrap();
    let Some(server) = Dovecot::with(&format!(
        "auth_mechanisms = external\nssl_ca = <{}\nssl_verify_client_cert = yes\nssl_require_crl = no\n\
         auth_ssl_username_from_cert = yes\npassdb {{\n  driver = static\n  args = nopassword=y\n}}\n",
        authority.display()
    )) else {
        return;
    };
    let with = |certificate: &std::path::Path| {
        let settings = settings(&server, &format!("certificate = '{}'", certificate.display()));
        ImapSettings { password: None, ..settings }
    };
    let mut source = ImapSource::new("test", with(&both));
    source.open(Resume::default()).await.unwrap();
    source.close().await;
    match ImapSource::new("test", with(&authority)).open(Resume::default()).await {
        Err(SourceError::Refused(line)) => assert!(line.contains("takes certificate and key"), "{line}"),
        other => panic!("{other:?}"),
    }
}
