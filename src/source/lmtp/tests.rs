use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    task::JoinHandle,
};

use super::*;
use crate::message::{Disposition, Pending};

fn source(path: &Path) -> LmtpSource {
    let settings = format!("listen = 'unix:{}'\nconnections = 3\nmode = '0600'", path.display());
    LmtpSource::new("local", toml::from_str(&settings).unwrap())
}

async fn open(path: &Path) -> LmtpSource {
    let mut source = source(path);
    source.open(Resume::default()).await.unwrap();
    source
}

/// Hands a message over; gives the last reply.
fn hand_over(path: &Path, text: &str) -> JoinHandle<String> {
    let (path, text) = (path.to_owned(), text.to_owned());
    tokio::spawn(async move {
        let mut stream = BufReader::new(UnixStream::connect(path).await.unwrap());
        let all = format!("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n{text}\r\n.\r\n");
        stream.write_all(all.as_bytes()).await.unwrap();
        let (mut line, mut codes) = (String::new(), 0);
        // Greeting, six lines of LHLO, MAIL, RCPT, DATA, and what became of it.
        while codes < 11 {
            line.clear();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                break;
            }
            codes += 1;
        }
        line
    })
}

async fn batch_of(source: &mut LmtpSource, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.len() < count {
        source.wait().await.unwrap();
        messages.extend(source.fetch().await.unwrap().messages);
    }
    messages
}

#[tokio::test]
async fn many_clients_share_a_batch_and_each_hears_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    let mut source = open(&path).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(source.fetch().await.unwrap().is_empty());
    // The same twice, as of a client that has given up a connection and tries again.
    let clients = [hand_over(&path, "one"), hand_over(&path, "two"), hand_over(&path, "two")];
    let messages = batch_of(&mut source, 2).await;
    assert_eq!((messages.len(), &messages[0].delivered_to[..]), (2, &["a@x.example".to_owned()][..]));
    // Both of one are there, or will hear of it when it comes.
    while source.counter.as_ref().unwrap().waiting.values().map(Vec::len).sum::<usize>() < 3 {
        source.wait().await.unwrap();
        assert!(source.fetch().await.unwrap().is_empty(), "it is under way");
    }
    let done: Vec<_> = messages.into_iter().map(|one| (one.place, Disposition::Untouched)).collect();
    assert_eq!(source.settle(&done).await.unwrap(), []);
    for client in clients {
        assert!(client.await.unwrap().starts_with("250"));
    }
    // What an earlier run recorded is settled without anybody who waits.
    source.settle(&[(Place::new("of another run"), Disposition::Processed)]).await.unwrap();
    source.close().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn what_was_fetched_and_not_recorded_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    let mut source = open(&path).await;
    let client = hand_over(&path, "one");
    let first = batch_of(&mut source, 1).await;
    source.put_off();
    assert!(client.await.unwrap().starts_with("451 4.3.0"));
    source.open(Resume::default()).await.unwrap();
    let client = hand_over(&path, "one");
    let second = batch_of(&mut source, 1).await;
    assert_eq!(first[0].place, second[0].place);
    // Fetched or not: at the end nobody hears that it was recorded.
    let other = hand_over(&path, "two");
    source.wait().await.unwrap();
    source.close().await;
    for client in [client, other] {
        assert!(client.await.unwrap().starts_with("451 4.3.0"));
    }
}

#[tokio::test]
async fn what_the_process_died_over_waits_for_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    let mut source = open(&path).await;
    let client = hand_over(&path, "deadly");
    let place = batch_of(&mut source, 1).await.remove(0).place;
    source.put_off();
    client.await.unwrap();
    let pending = vec![Pending { place: place.clone(), retry: Retry::after_death(None, now(), "died") }];
    source.open(Resume { pending, ..Resume::default() }).await.unwrap();
    let client = hand_over(&path, "deadly");
    source.wait().await.unwrap();
    assert!(source.fetch().await.unwrap().is_empty());
    assert!(client.await.unwrap().contains("bounced died over this message"));
    // A person wants it to be tried.
    source.reread(vec![place]);
    let client = hand_over(&path, "deadly");
    assert_eq!(batch_of(&mut source, 1).await.len(), 1);
    drop(client);
}

#[tokio::test]
async fn a_socket_is_replaced_when_nobody_listens_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    // As after `kill -9`.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("lmtp.sock.new")).unwrap());
    source(&path).open(Resume { only_looks: true, ..Resume::default() }).await.unwrap();
    let first = open(&path).await;
    let refusal = async |source: &mut LmtpSource| match source.open(Resume::default()).await {
        Err(SourceError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(refusal(&mut source(&path)).await.contains("somebody else listens on"));
    is_asked_for_soon(&mut source(&path)).await;
    assert!(first.counter.as_ref().unwrap().listener.can_be_found());
    // Checked beside the daemon, it is the daemon; else another program has it.
    let looks = |is_read| Resume { only_looks: true, is_read, ..Resume::default() };
    source(&path).open(looks(true)).await.unwrap();
    let Err(SourceError::Refused(why)) = source(&path).open(looks(false)).await else { panic!() };
    assert!(why.contains("somebody else listens on"), "{why}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = format!("listen = '{}'", port.local_addr().unwrap());
    let on_port = || LmtpSource::new("server", toml::from_str(&settings).unwrap());
    on_port().open(looks(true)).await.unwrap();
    let Err(SourceError::Refused(why)) = on_port().open(looks(false)).await else { panic!() };
    assert!(why.contains("somebody else listens on"), "{why}");
    drop(first);
    fs::write(&path, "mail").unwrap();
    assert!(refusal(&mut source(&path)).await.contains("is no socket"));
    assert_eq!(fs::read(&path).unwrap(), b"mail");
    assert!(refusal(&mut source(&dir.path().join("gone/lmtp.sock"))).await.contains("its directory must exist"));
    let long = dir.path().join("x".repeat(200));
    assert!(refusal(&mut source(&long)).await.contains("too long for a socket"));
}

/// Whoever is in the way of what worked before may be about to go.
async fn is_asked_for_soon(source: &mut LmtpSource) {
    let opened = source.open(Resume { worked: true, ..Resume::default() }).await;
    assert!(matches!(&opened, Err(SourceError::Lost(why)) if why.contains("somebody else listens on")), "{opened:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_asked_for_soon_where_it_was_ours() {
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = format!("listen = '{}'", somebody.local_addr().unwrap());
    let mut source = LmtpSource::new("local", toml::from_str(&settings).unwrap());
    let opened = source.open(Resume::default()).await;
    assert!(
        matches!(&opened, Err(SourceError::Refused(why)) if why.contains("somebody else listens on")),
        "{opened:?}"
    );
    is_asked_for_soon(&mut source).await;
    drop(somebody);
    source.open(Resume { worked: true, ..Resume::default() }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_socket_of_one_who_hangs_is_replaced_where_he_has_our_database_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    let hangs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // Whoever listens here is this process: it has the database open, or it hasn't.
    let Err(SourceError::Refused(why)) = source(&path).open(Resume::default()).await else { panic!() };
    assert!(why.contains("somebody else listens on"), "{why}");
    let database = fs::File::create(dir.path().join("bounced.db-shm")).unwrap();
    let source = open(&path).await;
    let mut line = String::new();
    BufReader::new(UnixStream::connect(&path).await.unwrap()).read_line(&mut line).await.unwrap();
    assert!(line.starts_with("220 "), "{line}");
    drop((source, hangs, database));
}

#[tokio::test]
async fn whoever_is_too_many_hears_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    let _source = open(&path).await;
    let greeted = async || {
        let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        (stream, line)
    };
    let mut three = Vec::new();
    for _ in 0..3 {
        let (stream, line) = greeted().await;
        assert!(line.starts_with("220"), "{line}");
        three.push(stream);
    }
    assert!(greeted().await.1.starts_with("421 4.3.2 Too many connections"));
    three.pop();
    // Its place is free as soon as it is known that it has gone.
    while !greeted().await.1.starts_with("220") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_was_taken_away_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    let mut source = open(&path).await;
    source.wait().await.unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(source.wait().await, Err(SourceError::Lost(why)) if why.contains("is made anew")));
    source.open(Resume::default()).await.unwrap();
    assert!(path.exists());
}
