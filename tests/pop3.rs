//! The POP3 source against a real Dovecot.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/dovecot.rs"]
mod dovecot;

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path, sync::Arc, sync::Mutex, time::Duration};

use bounced::{
    message::{Batch, Cursor, Disposition, Place, Resume, Unrecorded},
    source::{
        Source, SourceError,
        pop3::{Pop3Settings, Pop3Source},
    },
};
use dovecot::{Dovecot, PASSWORD, USER};

/// A Dovecot that speaks POP3, and its ports: STLS and implicit TLS.
struct Server {
    dovecot: Dovecot,
    pop3: u16,
    pop3s: u16,
}

fn server() -> Option<Server> {
    if !Path::new("/usr/lib/dovecot/pop3-login").exists() {
        assert!(std::env::var_os("BOUNCED_TEST_NO_SKIP").is_none(), "dovecot-pop3d must be installed here");
        println!("skipped: dovecot-pop3d is not installed");
        return None;
    }
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [pop3, pop3s] = sockets.map(|socket| socket.local_addr().unwrap().port());
    let dovecot = Dovecot::with(&format!(
        "protocols = imap pop3\nservice pop3-login {{\n  chroot =\n  inet_listener pop3 {{\n    address = 127.0.0.1\n    port = {pop3}\n  }}\n  \
         inet_listener pop3s {{\n    address = 127.0.0.1\n    port = {pop3s}\n    ssl = yes\n  }}\n}}\n"
    ))?;
    Some(Server { dovecot, pop3, pop3s })
}

impl Server {
    fn settings(&self, changes: &str) -> Pop3Settings {
        let secret = self.dovecot.dir.path().join("secret");
        fs::write(&secret, format!("{PASSWORD}\n")).unwrap();
        let mut table: toml::Table = toml::from_str(&format!(
            "host = 'localhost'\nport = {}\nuser = '{USER}'\nca_file = '{}'\npassword = {{ file = '{}' }}\npoll = '50ms'",
            self.pop3s,
            self.dovecot.ca_file().display(),
            secret.display()
        ))
        .unwrap();
        table.extend(toml::from_str::<toml::Table>(changes).unwrap());
        table.try_into().unwrap()
    }

    fn deliver(&self, subjects: &[&str]) {
        subjects.iter().for_each(|subject| self.dovecot.deliver(&mail(subject)));
    }
}

fn mail(subject: &str) -> String {
    format!(
        "Received: by mx.example.org; Thu, 01 Jan 2026 00:00:00 +0000\nFrom: <>\nSubject: {subject}\n\n.\n..two dots\nNobody here.\n"
    )
}

/// What is on record, as the store would tell it.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<BTreeSet<String>>>, Arc<Mutex<Option<Cursor>>>);

impl Records {
    fn resume(&self) -> Resume {
        let records = self.clone();
        let unrecorded = Unrecorded::told_by(move |places| {
            let known = records.0.lock().unwrap().clone();
            Box::pin(async move { Ok(places.into_iter().filter(|place| !known.contains(place.as_str())).collect()) })
        });
        Resume { unrecorded, cursor: self.1.lock().unwrap().clone(), ..Resume::default() }
    }

    fn commit(&self, batch: &Batch) -> Vec<(Place, Disposition)> {
        let mut known = self.0.lock().unwrap();
        if let Some(cursor) = &batch.reading.cursor {
            *self.1.lock().unwrap() = Some(cursor.clone());
        }
        known.extend(batch.messages.iter().map(|message| message.place.as_str().to_owned()));
        batch.messages.iter().map(|message| (message.place.clone(), Disposition::Processed)).collect()
    }
}

fn subjects(batch: &Batch) -> Vec<String> {
    let subject = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)).unwrap_or_default()
    };
    batch.messages.iter().map(|message| subject(&message.body)).collect()
}

async fn opened(settings: Pop3Settings, records: &Records) -> Pop3Source {
    let mut source = Pop3Source::new("test", settings);
    source.open(records.resume()).await.unwrap();
    source
}

#[tokio::test]
async fn what_is_left_is_read_once_as_it_lies_there() {
    let Some(server) = server() else { return };
    server.deliver(&["one", "two", "three"]);
    let records = Records::default();
    let mut source = opened(server.settings("batch = 2"), &records).await;
    let first = source.fetch().await.unwrap();
    assert_eq!(subjects(&first), ["one", "two"]);
    assert_eq!(first.messages[0].body.as_ref(), mail("one").replace('\n', "\r\n").as_bytes());
    assert_eq!(
        (first.messages[0].received, first.messages[0].size),
        (1_767_225_600, first.messages[0].body.len() as u64)
    );
    // The next is fetched before this one is on record.
    let second = source.fetch().await.unwrap();
    assert_eq!(subjects(&second), ["three"]);
    // Whoever starts anew before all of it is read must not take what waits for new.
    assert!(first.reading.cursor.is_none() && second.reading.cursor.is_some());
    assert!(source.fetch().await.unwrap().messages.is_empty(), "all of it is under way");
    for batch in [&first, &second] {
        assert!(source.settle(&records.commit(batch)).await.unwrap().is_empty());
    }
    assert!(source.fetch().await.unwrap().is_empty());
    // New mail shows after a wait, in a session of its own; nobody else was locked out meanwhile.
    server.deliver(&["four"]);
    source.wait().await.unwrap();
    let fourth = source.fetch().await.unwrap();
    assert_eq!(subjects(&fourth), ["four"]);
    // It was not there before, whatever its header says.
    assert!(fourth.messages[0].received > 1_780_000_000, "{}", fourth.messages[0].received);
    source.close().await;
    // Whoever starts anew finds what is not on record, and that alone.
    let mut source = opened(server.settings(""), &records).await;
    let fourth = source.fetch().await.unwrap();
    assert_eq!(subjects(&fourth), ["four"]);
    assert!(fourth.messages[0].received > 1_780_000_000, "{}", fourth.messages[0].received);
    source.close().await;
    assert_eq!(server.dovecot.count("INBOX"), 4);
}

#[tokio::test]
async fn what_is_committed_is_deleted_and_nothing_else() {
    let Some(server) = server() else { return };
    server.deliver(&["one", "two", "three"]);
    let records = Records::default();
    let mut source = opened(server.settings("after = 'delete'\nbatch = 1"), &records).await;
    let first = source.fetch().await.unwrap();
    let second = source.fetch().await.unwrap();
    assert_eq!(source.settle(&records.commit(&first)).await.unwrap(), []);
    assert_eq!(server.dovecot.count("INBOX"), 2, "it is gone once settle says so");
    // The numbers are others now.
    let third = source.fetch().await.unwrap();
    assert_eq!(subjects(&third), ["three"]);
    let mut done = records.commit(&third);
    done[0].1 = Disposition::Untouched;
    done.extend(records.commit(&second));
    assert_eq!(source.settle(&done).await.unwrap(), []);
    assert!(source.fetch().await.unwrap().is_empty());
    source.close().await;
    let left = fs::read_dir(server.dovecot.maildir().join("cur")).unwrap();
    let left = left.chain(fs::read_dir(server.dovecot.maildir().join("new")).unwrap());
    let left: Vec<String> = left.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(left.len() == 1 && left[0].contains("Subject: three"), "{left:?}");
}

/// Passes a session on to the server, and hangs up in place of the command `cut`, so many times.
async fn cutter(to: u16, cut: &'static str, mut times: usize) -> u16 {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let (said, mut hears) = client.into_split();
            let (mut answers, mut asks) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut hears).await });
            let mut lines = BufReader::new(said).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with(cut) && times > 0 {
                    times -= 1;
                    break;
                }
                asks.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_session_that_breaks_off_deletes_nothing_and_all_comes_again() {
    let Some(server) = server() else { return };
    for cut in ["RETR 2", "DELE 2", "QUIT"] {
        server.deliver(&["one", "two"]);
        let records = Records::default();
        let port = cutter(server.pop3, cut, 1).await;
        let settings = server.settings(&format!("after = 'delete'\ntls = 'plain'\nport = {port}"));
        let mut source = opened(settings, &records).await;
        let first = source.fetch().await;
        if cut == "RETR 2" {
            assert!(matches!(first, Err(SourceError::Lost(_))), "{first:?}");
            source.open(records.resume()).await.unwrap();
        }
        let batch = if cut == "RETR 2" { source.fetch().await.unwrap() } else { first.unwrap() };
        assert_eq!(batch.messages.len(), 2, "{cut}");
        let done = records.commit(&batch);
        if cut != "RETR 2" {
            assert!(matches!(source.settle(&done).await, Err(SourceError::Lost(_))), "{cut}");
            assert_eq!(server.dovecot.count("INBOX"), 2, "{cut}");
            // It comes again, and is known by its octets.
            source.open(records.resume()).await.unwrap();
            let again = source.fetch().await.unwrap();
            assert_eq!(subjects(&again), ["one", "two"], "{cut}");
        }
        assert_eq!(source.settle(&done).await.unwrap(), [], "{cut}");
        assert_eq!(server.dovecot.count("INBOX"), 0, "{cut}");
    }
}

#[tokio::test]
async fn a_message_over_which_the_connection_breaks_twice_holds_up_no_other() {
    let Some(server) = server() else { return };
    server.deliver(&["one", "two"]);
    let records = Records::default();
    let port = cutter(server.pop3, "RETR 1", 2).await;
    let mut source = opened(server.settings(&format!("tls = 'plain'\nport = {port}")), &records).await;
    for _ in 0..2 {
        let broken = source.fetch().await;
        assert!(matches!(broken, Err(SourceError::Lost(_))), "{broken:?}");
        source.open(records.resume()).await.unwrap();
    }
    let batch = source.fetch().await.unwrap();
    assert_eq!((subjects(&batch), batch.reading.pending.len()), (vec!["two".to_owned()], 1));
}

#[tokio::test]
async fn what_the_server_does_not_delete_at_the_end_is_not_settled() {
    let mut says = with_messages(&[("1", "Subject: one\r\n\r\nx\r\n.\r\n")]);
    says.extend(["+OK\r\n", "-ERR some messages not removed\r\n"].map(|says| says.as_bytes().to_vec()));
    let mut source = before(says).await;
    source.open(Resume::default()).await.unwrap();
    let batch = source.fetch().await.unwrap();
    let failed = source.settle(&Records::default().commit(&batch)).await.unwrap();
    assert!(
        matches!(&failed[..], [(place, why)] if place.as_str() == "1" && why.contains("not removed")),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_batch_of_large_messages_ends_before_its_time() {
    let Some(server) = server() else { return };
    let large = |subject: &str| format!("{}{}", mail(subject), format!("{}\n", "x".repeat(990)).repeat(5 << 10));
    ["one", "two", "three"].iter().for_each(|subject| server.dovecot.deliver(&large(subject)));
    let mut source = opened(server.settings("max_message = 6000000"), &Records::default()).await;
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["one", "two"]);
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["three"]);
}

#[tokio::test]
async fn a_long_message_is_cut_and_told_from_another_with_the_same_beginning() {
    let Some(server) = server() else { return };
    // Between them a line of more than is read at once, with a dot where the pieces meet.
    let line = format!("{}.{}\n", "x".repeat(8 << 10), "y".repeat(10));
    let long = |end: &str| format!("{}{}{line}{end}\n", mail("long"), format!("{}\n", "x".repeat(70)).repeat(500));
    for end in ["one end", "another end"] {
        server.dovecot.deliver(&long(end));
    }
    let mut source = opened(server.settings("max_message = 1000"), &Records::default()).await;
    let batch = source.fetch().await.unwrap();
    let [one, other] = &batch.messages[..] else { panic!("{batch:?}") };
    assert_eq!((one.body.len(), one.size), (1000, long("one end").replace('\n', "\r\n").len() as u64));
    assert_eq!(one.body, other.body);
    assert_ne!(one.sha256(), other.sha256());
    source.close().await;
    // What says nowhere when it came has just come.
    server.dovecot.deliver("Subject: bare\n\nNobody here.\n");
    let mut source = opened(server.settings(""), &Records::default()).await;
    let batch = source.fetch().await.unwrap();
    let bare = batch.messages.iter().find(|message| message.size < 100).unwrap();
    assert!(bare.received > 1_780_000_000, "{}", bare.received);
}

#[tokio::test]
async fn every_way_to_encrypt_and_to_log_in_works() {
    let Some(server) = server() else { return };
    server.deliver(&["one"]);
    let stls = format!("port = {}\ntls = 'starttls'", server.pop3);
    for changes in ["", &stls, &format!("port = {}\ntls = 'plain'", server.pop3), "mechanism = 'plain'"] {
        let mut source = opened(server.settings(changes), &Records::default()).await;
        assert_eq!(subjects(&source.fetch().await.unwrap()), ["one"], "{changes}");
        source.close().await;
    }
}

#[tokio::test]
async fn what_stays_wrong_is_refused_in_one_line_that_says_what_to_do() {
    let Some(server) = server() else { return };
    let plain = format!("port = {}", server.pop3);
    for (changes, stays, expected) in [
        ("password = { command = 'echo wrong' }", true, "check user and password"),
        ("password = { file = '/nowhere' }", true, "/nowhere"),
        ("host = '127.0.0.1'", true, "certificate was not accepted"),
        (plain.as_str(), false, "does not speak TLS"),
        ("port = 1", false, "can't connect"),
    ] {
        let mut source = Pop3Source::new("test", server.settings(changes));
        let error = source.open(Resume::default()).await.unwrap_err();
        let line = error.to_string();
        assert_eq!(matches!(error, SourceError::Refused(_)), stays, "{changes}: {line}");
        assert!(line.contains(expected) && line.contains(USER) && !line.contains('\n'), "{changes}: {line}");
        assert!(!line.contains("wrong") || line.contains("port"), "{line}");
    }
}

/// A source before a server that says the first of these at once, each other one when it hears a line, and then falls
/// silent.
async fn before(says: Vec<Vec<u8>>) -> Pop3Source {
    before_each(vec![says]).await
}

/// The same, where each connection hears something else.
async fn before_each(sessions: Vec<Vec<Vec<u8>>>) -> Pop3Source {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
        for says in sessions {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            for (n, text) in says.iter().enumerate() {
                if n > 0 && !stream.read_line(&mut String::new()).await.is_ok_and(|octets| octets > 0) {
                    break;
                }
                let _ = stream.get_mut().write_all(text).await;
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    });
    let settings = toml::from_str(&format!(
        "host = '127.0.0.1'\nport = {port}\ntls = 'plain'\nuser = 'u'\npassword = {{ command = 'echo geheim' }}\n\
         after = 'delete'\nmax_message = 1000\ntimeouts = {{ response = '100ms' }}"
    ));
    Pop3Source::new("test", settings.unwrap())
}

/// How opening a mailbox of such a server fails; `|` stands between what it says.
async fn told_by(says: &str) -> String {
    let says = says.split('|').map(|text| text.as_bytes().to_vec()).collect();
    let error = before(says).await.open(Resume::default()).await.unwrap_err();
    let kind = match error {
        SourceError::Refused(_) => "refused",
        SourceError::Lost(_) => "lost",
        SourceError::Later(_) => "later",
    };
    assert!(!error.to_string().contains("geheim"), "{error}");
    format!("{kind}: {error}")
}

#[tokio::test]
async fn servers_that_lie_stall_or_refuse_are_told_apart() {
    const LOGIN: &str = "+OK hello\r\n|+OK\r\nUIDL\r\n.\r\n|+OK\r\n|";
    for (says, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n".to_owned(), "lost: u at 127.0.0.1"),
        ("-ERR [SYS/TEMP] later\r\n".to_owned(), "lost: "),
        (format!("{LOGIN}-ERR [AUTH] geheim is wrong\r\n"), "refused: "),
        (format!("{LOGIN}-ERR [IN-USE] locked\r\n"), "lost: "),
        (format!("{LOGIN}-ERR [LOGIN-DELAY] wait\r\n"), "later: "),
        ("+OK hello\r\n|-ERR no CAPA\r\n|+OK\r\n|-ERR wrong\r\n".to_owned(), "refused: "),
        (format!("{LOGIN}+OK\r\n|-ERR no UIDL\r\n"), "refused: "),
        (format!("{LOGIN}+OK\r\n|+OK\r\n1 a\r\n"), "lost: "),
        (format!("{LOGIN}+OK\r\n+OK\r\n|1 a\r\n"), "lost: "),
        ("+OK hel".to_owned(), "lost: "),
    ] {
        let told = told_by(&says).await;
        assert!(told.starts_with(expected), "{says}: {told}");
    }
    assert!(told_by(&format!("{LOGIN}{}", "x".repeat(20_000))).await.contains("more than 8 KiB"));
    let slow = tokio::time::timeout(Duration::from_secs(30), told_by(LOGIN)).await.unwrap();
    assert!(slow.contains("no answer within"), "{slow}");
    // One that asks and asks.
    let more = "+OK\r\n|+OK\r\nSASL PLAIN\r\nUIDL\r\n.\r\n|+ \r\n|+ \r\n|+ \r\n|+ \r\n";
    let endless = tokio::time::timeout(Duration::from_secs(30), told_by(more)).await.unwrap();
    assert!(endless.starts_with("lost: "), "{endless}");
}

/// What a server says that has these messages, by their numbers and names, to somebody who reads all of them.
fn with_messages(messages: &[(&str, &str)]) -> Vec<Vec<u8>> {
    let names: String = messages.iter().enumerate().map(|(n, (name, _))| format!("{} {name}\r\n", n + 1)).collect();
    let greeting = ["+OK\r\n", "+OK\r\nUIDL\r\n.\r\n", "+OK\r\n", "+OK\r\n"].map(String::from).to_vec();
    let bodies = messages.iter().map(|(_, body)| format!("+OK\r\n{body}"));
    let says = greeting.into_iter().chain([format!("+OK\r\n{names}.\r\n")]).chain(bodies);
    says.map(String::into_bytes).collect()
}

#[tokio::test]
async fn what_stands_behind_a_lone_line_feed_is_still_the_mail() {
    let smuggled = "Subject: one\r\n\r\nx\n.\r\n+OK\nReceived: by mx.example.org; Thu, 01 Jan 2026 00:00:00 +0000\n\nforged\r\n.\r\n";
    let honest = "Subject: two\r\n\r\nx\r\n.\r\n";
    let mut source = before(with_messages(&[("1", smuggled), ("2", honest)])).await;
    source.open(Resume::default()).await.unwrap();
    let batch = source.fetch().await.unwrap();
    assert_eq!(subjects(&batch), ["one", "two"]);
    assert!(batch.messages[0].body.ends_with(b"forged\r\n"));
    // One that ends a mail so, and goes on, has said more than it was asked for.
    let short = "Subject: one\r\n\r\nx\r\n.\r\n+OK\r\nSubject: forged\r\n\r\nx\r\n.\r\n";
    let mut source = before(with_messages(&[("1", short), ("2", honest)])).await;
    source.open(Resume::default()).await.unwrap();
    assert!(matches!(source.fetch().await, Err(SourceError::Lost(_))));
}

#[tokio::test]
async fn messages_of_one_name_that_differ_are_all_read_and_none_is_deleted() {
    let (one, two) = ("Subject: one\r\n\r\nx\r\n.\r\n", "Subject: two\r\n\r\nx\r\n.\r\n");
    let mut source = before(with_messages(&[("7", one), ("7", two)])).await;
    source.open(Resume::default()).await.unwrap();
    let batch = source.fetch().await.unwrap();
    assert_eq!(subjects(&batch), ["one", "two"]);
    assert_ne!(batch.messages[0].place, batch.messages[1].place);
    // It would be silence that answers a DELE.
    assert_eq!(source.settle(&Records::default().commit(&batch)).await.unwrap(), []);
    assert!(source.complaint().unwrap().contains("one name"));
    // Copies are one message.
    let mut source = before(with_messages(&[("7", one), ("7", one)])).await;
    source.open(Resume::default()).await.unwrap();
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["one"]);
    assert!(source.complaint().is_none());
    // One more of a name that is known is new.
    let mut source = before_each(vec![with_messages(&[("7", one)]), with_messages(&[("7", one), ("7", two)])]).await;
    source.open(Resume::default()).await.unwrap();
    let batch = source.fetch().await.unwrap();
    source.settle(&[(batch.messages[0].place.clone(), Disposition::Untouched)]).await.unwrap();
    source.open(Resume::default()).await.unwrap();
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["one", "two"]);
    // Nobody looks at more than a hundred of them, and none goes unseen.
    let mut source = before(with_messages(&[("7", one); 101])).await;
    source.open(Resume::default()).await.unwrap();
    let batch = source.fetch().await.unwrap();
    assert_eq!(subjects(&batch), ["one"]);
    assert_eq!(source.settle(&Records::default().commit(&batch)).await.unwrap(), []);
    assert!(source.complaint().is_some());
}

#[tokio::test]
async fn a_name_that_is_given_again_after_a_deletion_is_another_message() {
    let records = Records::default();
    records.0.lock().unwrap().insert("1".into());
    let mut source = before(with_messages(&[("1", "Subject: new\r\n\r\nx\r\n.\r\n")])).await;
    source.open(records.resume()).await.unwrap();
    // Another process, or a connection that broke, has read whatever had this name: nothing is deleted unseen.
    assert_eq!(source.settle(&[(Place::new("1"), Disposition::Processed)]).await.unwrap(), []);
    assert_eq!(subjects(&source.fetch().await.unwrap()), ["new"]);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 40, ..Default::default() })]

    #[test]
    fn whatever_a_server_says_each_step_ends_and_memory_is_bounded(
        says in proptest::collection::vec(
            proptest::sample::select(vec![
                "+OK\r\n", "+OK\r\n", "+OK\r\n", "-ERR\r\n", "-ERR [IN-USE] x\r\n", ".\r\n", ".\r\n", "..\r\n", "\r\n", "\n",
                "1 a\r\n", "2 b\r\n2 b\r\n", "4294967296 c\r\n", "UIDL\r\n", "SASL PLAIN LOGIN\r\n", "+ \r\n", "+", "\u{0}\u{feff}ß",
                "Received: x; Thu, 01 Jan 2026 00:00:00 +0000\r\n\r\n",
            ]),
            0..40,
        ),
        long in 0..20_000_usize,
    ) {
        let mut lines = b"+OK\r\n+OK\r\nUIDL\r\n.\r\n+OK\r\n+OK\r\n+OK\r\n".to_vec();
        lines.extend(says.concat().into_bytes());
        lines.extend(vec![b'x'; long]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut source = before(vec![lines]).await;
            let steps = async {
                source.open(Resume::default()).await.ok()?;
                let batch = source.fetch().await.ok()?;
                for message in &batch.messages {
                    assert!(message.body.len() <= 1000);
                }
                let done: Vec<_> = batch.messages.iter().map(|m| (m.place.clone(), Disposition::Processed)).collect();
                source.settle(&done).await.ok()
            };
            tokio::time::timeout(Duration::from_secs(60), steps).await.expect("every step ends");
        });
    }
}
