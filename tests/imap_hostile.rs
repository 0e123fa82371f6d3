//! The IMAP source against servers that break, lie, or attack: a script in place of a server.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    io::Write,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use bounced::{
    message::{Batch, Cursor, Disposition, Pending, Place, Resume, Retry},
    source::{
        Source, SourceError,
        imap::{ImapSettings, ImapSource},
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const PASSWORD: &str = "Correct-Horse";

/// Generous: only a test that fails waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// What the script wants sent for a command; `TAG` stands for the command's tag. `None`: as a well-behaved server with
/// two messages, UID 1 and 2.
type Script = Box<dyn FnMut(&str) -> Option<Reply> + Send>;

enum Reply {
    Say(Vec<u8>),
    SayAndClose(Vec<u8>),
}

fn say(text: &str) -> Option<Reply> {
    Some(Reply::Say(text.into()))
}

fn say_and_close(text: &str) -> Option<Reply> {
    Some(Reply::SayAndClose(text.into()))
}

struct Server {
    port: u16,
    /// Every line that clients sent, without its tag; `EOF` when one closed.
    heard: mpsc::UnboundedReceiver<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Listens on loopback; one client at a time, and the script goes on from client to client.
    async fn start(greeting: &'static str, mut script: impl FnMut(&str) -> Option<Reply> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut script: Script = Box::new(move |line| script(line));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that goes away in the middle is what some tests are about.
                let _ = serve(stream, greeting, &mut script, &tell).await;
                let _ = tell.send("EOF".into());
            }
        });
        Self { port, heard, task }
    }

    fn source(&self) -> ImapSource {
        self.source_with("")
    }

    fn source_with(&self, changes: &str) -> ImapSource {
        let mut table: toml::Table = toml::from_str(&format!(
            "host = '127.0.0.1'\nport = {}\ntls = 'plain'\nuser = 'bounces'\npassword = {{ command = 'echo {PASSWORD}' }}\n\
             max_message = 100000\ntimeouts = {{ response = '10s' }}",
            self.port
        ))
        .unwrap();
        table.extend(toml::from_str::<toml::Table>(changes).unwrap());
        ImapSource::new("test", table.try_into().unwrap())
    }

    async fn opened(&self) -> ImapSource {
        let mut source = self.source();
        source.open(Resume::default()).await.unwrap();
        source
    }

    /// What clients have sent so far that begins like this. Whatever was answered is among it.
    fn heard(&mut self, start: &str) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.heard.try_recv().ok());
        lines.filter(|line| line.starts_with(start)).collect()
    }

    /// Waits until a client sends a line that begins like this.
    async fn hears(&mut self, start: &str) {
        let wanted = async { while !self.heard.recv().await.unwrap().starts_with(start) {} };
        timeout(LIMIT, wanted).await.unwrap_or_else(|_| panic!("the client never said {start}"));
    }
}

async fn serve(
    mut stream: TcpStream,
    greeting: &str,
    script: &mut Script,
    tell: &mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    write.write_all(format!("{greeting}\r\n").as_bytes()).await?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let (tag, command) = line.split_once(' ').unwrap_or(("", &line));
        let _ = tell.send(command.to_owned());
        let reply = script(command).unwrap_or_else(|| Reply::Say(behave(command).into()));
        let (Reply::Say(text) | Reply::SayAndClose(text)) = &reply;
        // Only the head of a long reply is text.
        let (head, rest) = text.split_at(text.len().min(4000));
        write.write_all(String::from_utf8_lossy(head).replace("TAG", tag).as_bytes()).await?;
        write.write_all(rest).await?;
        if matches!(reply, Reply::SayAndClose(_)) {
            break;
        }
    }
    Ok(())
}

fn behave(command: &str) -> String {
    let data = match command.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["CAPABILITY", ..] => "* CAPABILITY IMAP4rev1 MOVE UIDPLUS IDLE",
        ["SELECT", ..] => "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] stable",
        ["UID", "SEARCH"] if command.contains("UID 1:") => "* SEARCH 1 2",
        ["UID", "SEARCH"] if command.ends_with("UID 1") => "* SEARCH 1",
        // RFC 9051 §6.4.9: `3:*` matches the last message, 2.
        ["UID", "SEARCH"] => "* SEARCH 2",
        ["UID", "FETCH"] if command.contains("SIZE") => {
            "* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 5)"
        }
        ["UID", "FETCH"] => return fetch_bodies(command),
        ["DONE", ..] | [""] => return String::new(),
        _ => "* OK [X-NOTHING] to say",
    };
    format!("{data}\r\nTAG OK done\r\n")
}

/// The bodies of those of the messages 1 and 2 that were asked for.
fn fetch_bodies(command: &str) -> String {
    let set = command.split(' ').nth(2).unwrap_or_default();
    let one = if set.starts_with('1') { "* 1 FETCH (UID 1 BODY[]<0> {5}\r\nfirst)\r\n" } else { "" };
    let two = if set.contains('2') { "* 2 FETCH (UID 2 BODY[]<0> {5}\r\nsecon)\r\n" } else { "" };
    format!("{one}{two}TAG OK done\r\n")
}

fn wants_bodies(command: &str) -> bool {
    command.starts_with("UID FETCH") && command.contains("BODY")
}

/// The UIDs of a batch, which reaches as far as its last message.
fn uids(batch: &Batch) -> Vec<u32> {
    let last = batch.messages.last().map(|message| message.place.as_str());
    assert_eq!(batch.reading.cursor.as_ref().map(Cursor::as_str), last);
    let uid = |place: &Place| place.as_str().split_once(':').unwrap().1.parse().unwrap();
    batch.messages.iter().map(|message| uid(&message.place)).collect()
}

fn assert_lost<T: std::fmt::Debug>(result: Result<T, SourceError>, why: &str) {
    let Err(SourceError::Lost(line)) = result else { panic!("{result:?}") };
    assert!(line.contains(why) && line.contains("bounces at 127.0.0.1:"), "{line}");
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, SourceError>, why: &str) {
    let Err(SourceError::Refused(line)) = result else { panic!("{result:?}") };
    assert!(line.contains(why) && line.contains("bounces at 127.0.0.1:"), "{line}");
}

#[tokio::test]
async fn what_ends_a_fetch_early_is_a_lost_connection_and_yields_nothing() {
    let endless = [b"* ".as_slice(), &vec![b'x'; 9 << 20]].concat();
    let cases: [(&str, Vec<u8>); 6] = [
        ("a literal of 419,430,400 octets", b"* 1 FETCH (UID 1 BODY[] {419430400}\r\nabc".to_vec()),
        ("a literal of 1,000,000,000,000 octets", b"* 1 FETCH (UID 1 BODY[] {1000000000000}\r\nabc".to_vec()),
        ("a line of more than", endless),
        ("goodbye: shutting down", b"* 1 FETCH (UID 1 BODY[] {5}\r\nfirst)\r\n* BYE shutting down\r\n".to_vec()),
        ("the server closed", b"* 1 FETCH (UID 1 BODY[] {5}\r\nfirst)\r\n".to_vec()),
        ("the connection broke", b"* 1 FETCH (UID 1 BODY[] {5}\r\nfi".to_vec()),
    ];
    for (why, reply) in cases {
        let server = Server::start("* OK hello", move |command| {
            wants_bodies(command).then(|| Reply::SayAndClose(reply.clone()))
        })
        .await;
        assert_lost(server.opened().await.fetch().await, why);
    }
}

#[tokio::test]
async fn a_refused_fetch_is_no_empty_one() {
    let server =
        Server::start("* OK hello", |command| wants_bodies(command).then(|| say("TAG NO disk on fire\r\n")).flatten())
            .await;
    assert_lost(server.opened().await.fetch().await, "the message with UID 1; it said: disk on fire");
}

/// The UIDs that a batch gives to the store as pending.
fn pending(batch: &Batch) -> Vec<u32> {
    let uid = |pending: &Pending| pending.place.as_str().split_once(':').unwrap().1.parse().unwrap();
    batch.reading.pending.iter().map(uid).collect()
}

fn cursor(batch: &Batch) -> Option<&str> {
    batch.reading.cursor.as_ref().map(Cursor::as_str)
}

#[tokio::test]
async fn a_message_that_does_not_come_is_pending_and_holds_up_none_behind_it() {
    // Answers OK and leaves out a message that is there, or says NO to it and stops there.
    for end in ["OK done", "NO [UNAVAILABLE] storage is away"] {
        let script = move |command: &str| match command {
            _ if command.ends_with("UID 1:*") => say("* SEARCH 1 2 3\r\nTAG OK done\r\n"),
            "UID SEARCH UID 2" => say("* SEARCH 2\r\nTAG OK done\r\n"),
            "UID SEARCH UID 2:3" => say("* SEARCH 2 3\r\nTAG OK done\r\n"),
            _ if command.contains("SIZE") && command.contains("1:3") => {
                say("* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 5)\r\n\
                     * 3 FETCH (UID 3 RFC822.SIZE 5)\r\nTAG OK done\r\n")
            }
            _ if wants_bodies(command) && command.contains("UID FETCH 2 ") => say(&format!("TAG {end}\r\n")),
            _ if wants_bodies(command) && command.contains("UID FETCH 3 ") => {
                say("* 3 FETCH (UID 3 BODY[]<0> {5}\r\nthird)\r\nTAG OK done\r\n")
            }
            _ if wants_bodies(command) && end.starts_with("OK") => {
                say("* 3 FETCH (UID 3 BODY[] {5}\r\nthird)\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nfirst)\r\nTAG OK done\r\n")
            }
            _ if wants_bodies(command) => say(&format!("* 1 FETCH (UID 1 BODY[] {{5}}\r\nfirst)\r\nTAG {end}\r\n")),
            _ => None,
        };
        let server = Server::start("* OK hello", script).await;
        let mut source = server.opened().await;
        let batch = source.fetch().await.unwrap();
        assert_eq!((uids(&batch), pending(&batch)), (vec![1, 3], vec![2]), "{end}");
    }
}

#[tokio::test]
async fn a_pending_message_is_read_when_it_is_due_and_forgotten_when_it_is_gone() {
    let due = |uid: u32, next_try| {
        let retry = Retry { first_failed: 0, tries: 3, next_try, why: "UNAVAILABLE".into() };
        Pending { place: Place::new(format!("7:{uid}")), retry }
    };
    let script = |command: &str| match command {
        _ if command.starts_with("UID FETCH 5 ") => say("TAG OK done\r\n"),
        "UID SEARCH UID 5" => say("* SEARCH\r\nTAG OK done\r\n"),
        _ if command.starts_with("UID FETCH 1 ") => {
            say("* 1 FETCH (UID 1 RFC822.SIZE 5 BODY[]<0> {5}\r\nfirst)\r\nTAG OK done\r\n")
        }
        _ => None,
    };
    let mut server = Server::start("* OK hello", script).await;
    let mut source = server.source();
    let resume = Resume {
        cursor: Some(Cursor::new("7:9")),
        pending: vec![due(1, 0), due(5, 1), due(7, i64::MAX)],
        ..Resume::default()
    };
    source.open(resume).await.unwrap();
    let one = source.fetch().await.unwrap();
    assert_eq!((one.messages[0].place.as_str(), cursor(&one)), ("7:1", Some("7:9")), "the cursor never goes back");
    let gone = source.fetch().await.unwrap();
    assert_eq!((gone.reading.gone, cursor(&one)), (vec![Place::new("7:5")], Some("7:9")));
    let asked = server.heard("UID FETCH");
    assert!(asked.iter().all(|line| line.contains(" 1 ") || line.contains(" 5 ")), "7 is not due: {asked:?}");
}

#[tokio::test]
async fn a_message_that_ends_the_connection_stands_alone_soon_and_becomes_pending() {
    // The server drops the connection whenever message 1 is asked for: for its body, or for its size already.
    for deadly in ["BODY", "SIZE"] {
        let server = Server::start("* OK hello", move |command| {
            let asks_for_one = command.starts_with("UID FETCH 1") && command.contains(deadly);
            if asks_for_one { say_and_close("") } else { None }
        })
        .await;
        let mut source = server.source();
        let mut lost = 0;
        let found = loop {
            source.open(Resume::default()).await.unwrap();
            match source.fetch().await {
                Ok(batch) => break batch,
                Err(error) => assert!(matches!(error, SourceError::Lost(_)), "{error}"),
            }
            lost += 1;
            assert!(lost < 5, "still at it");
        };
        assert_eq!((uids(&found), pending(&found)), (vec![2], vec![1]), "{deadly}");
        assert!(found.reading.pending[0].retry.why.contains("closed"), "{found:?}");
    }
}

#[tokio::test]
async fn a_server_that_gives_nothing_at_all_is_waited_for_and_not_blamed_on_every_message() {
    let mut server =
        Server::start("* OK hello", |command| wants_bodies(command).then(|| say("TAG NO away\r\n")).flatten()).await;
    let mut source = server.source();
    for _ in 0..2 {
        source.open(Resume::default()).await.unwrap();
        assert_lost(source.fetch().await, "UID 1; it said: away");
    }
    server.heard("");
    source.open(Resume::default()).await.unwrap();
    assert_lost(source.fetch().await, "UID 2; it said: away");
}

#[tokio::test]
async fn a_message_that_only_search_knows_of_hides_none_that_comes_later() {
    for phantom in [900, u32::MAX] {
        let mut arrived = false;
        let script = move |command: &str| match command {
            "UID SEARCH UNDELETED UID 1:*" => say(&format!("* SEARCH 1 2 {phantom}\r\nTAG OK done\r\n")),
            "UID SEARCH UNDELETED UID 3:*" => {
                arrived = true;
                say("* SEARCH 3\r\nTAG OK done\r\n")
            }
            _ if command.starts_with("UID SEARCH UID ") => say("* SEARCH\r\nTAG OK done\r\n"),
            _ if arrived && wants_bodies(command) => say("* 3 FETCH (UID 3 BODY[]<0> {5}\r\nthird)\r\nTAG OK done\r\n"),
            _ if arrived && command.contains("SIZE") => say("* 3 FETCH (UID 3 RFC822.SIZE 5)\r\nTAG OK done\r\n"),
            _ => None,
        };
        let server = Server::start("* OK hello", script).await;
        let mut source = server.opened().await;
        assert_eq!(uids(&source.fetch().await.unwrap()), [1, 2]);
        assert_eq!(uids(&source.fetch().await.unwrap()), [3], "{phantom}");
    }
}

#[tokio::test]
async fn a_cursor_that_is_beyond_uidnext_is_not_believed() {
    let script = |command: &str| match command {
        _ if command.starts_with("SELECT") => say("* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 2] x\r\nTAG OK done\r\n"),
        _ => None,
    };
    let mut server = Server::start("* OK hello", script).await;
    let mut source = server.source();
    source.open(Resume { cursor: Some(Cursor::new("7:900")), ..Resume::default() }).await.unwrap();
    source.fetch().await.unwrap();
    assert_eq!(server.heard("UID SEARCH UNDELETED"), ["UID SEARCH UNDELETED UID 2:*"]);
}

#[tokio::test]
async fn what_lies_before_the_cursor_is_doubted_once_and_read_when_nobody_knows_of_it() {
    let script = |command: &str| match command {
        "UID SEARCH UNDELETED UID 1:2" => say("* SEARCH 1 2 77\r\nTAG OK done\r\n"),
        _ => None,
    };
    let server = Server::start("* OK hello", script).await;
    let mut source = server.source();
    source.open(Resume { cursor: Some(Cursor::new("7:2")), ..Resume::default() }).await.unwrap();
    assert!(source.fetch().await.unwrap().is_empty());
    let mut doubtful = source.doubtful().await.unwrap();
    assert_eq!(doubtful, ["7:1", "7:2"].map(Place::new));
    assert!(source.doubtful().await.unwrap().is_empty());
    source.reread(doubtful.split_off(1));
    let batch = source.fetch().await.unwrap();
    assert_eq!((uids(&batch), cursor(&batch)), (vec![2], Some("7:2")));
}

#[tokio::test]
async fn a_refused_idle_becomes_polling() {
    let mut server = Server::start("* OK hello", |command| match command {
        "IDLE" => say("TAG NO not today\r\n"),
        _ => None,
    })
    .await;
    let mut source = server.source_with("poll = '1ms'");
    source.open(Resume::default()).await.unwrap();
    source.fetch().await.unwrap();
    for _ in 0..2 {
        timeout(LIMIT, source.wait()).await.unwrap().unwrap();
        server.hears("NOOP").await;
    }
}

#[tokio::test]
async fn what_arrived_before_idle_is_not_waited_for() {
    // The announcement comes with the answer to another command; IDLE would not repeat it.
    let server = Server::start("* OK hello", |command| match command {
        _ if wants_bodies(command) => say("* 3 EXISTS\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nfirst)\r\n* 2 FETCH (UID 2 BODY[] {5}\r\nsecon)\r\nTAG OK done\r\n"),
        _ => None,
    })
    .await;
    let mut source = server.source_with("poll = '1h'");
    source.open(Resume::default()).await.unwrap();
    assert_eq!(uids(&source.fetch().await.unwrap()), [1, 2]);
    timeout(LIMIT, source.wait()).await.expect("the third message is news").unwrap();
}

#[tokio::test]
async fn unknown_responses_are_passed_over() {
    let noise = "* XYZZY (((( \"x\r\n* 5 GLITTER {3}\r\nabc\r\n* OK [ALERT]\u{e9}t\u{e9}\r\n* 1 FETCH (FLAGS (\\Seen))\r\n\
                 * 1 FETCH (UID 1 INTERNALDATE NIL BODYSTRUCTURE ((((((((\r\n\r\n+ ?\r\n* 99999999999 EXISTS\r\n";
    let server = Server::start("* OK hello", move |command| {
        if command.starts_with("AUTHENTICATE") || command == "DONE" {
            return None;
        }
        Some(Reply::Say(format!("{noise}{}", behave(command)).into_bytes()))
    })
    .await;
    let mut source = server.opened().await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(uids(&batch), [1, 2]);
    let done: Vec<_> = batch.messages.into_iter().map(|m| (m.place, Disposition::Processed)).collect();
    source.settle(&done).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_is_lost_in_time() {
    let server = Server::start("* OK hello", |command| command.starts_with("UID").then(|| say("")).flatten()).await;
    let mut source = server.source_with("timeouts = { response = '50ms' }");
    source.open(Resume::default()).await.unwrap();
    assert_lost(timeout(LIMIT, source.fetch()).await.unwrap(), "no answer within 50ms");
}

#[tokio::test]
async fn a_server_that_talks_without_end_is_lost_in_time() {
    let chatter = "* OK still here\r\n".repeat(1000);
    let server = Server::start("* OK hello", move |command| {
        command.starts_with("UID").then(|| Reply::Say(chatter.clone().into_bytes()))
    })
    .await;
    let mut source = server.source_with("timeouts = { command = '100ms' }");
    source.open(Resume::default()).await.unwrap();
    assert_lost(timeout(LIMIT, source.fetch()).await.unwrap(), "not done within 100ms");
}

/// Says something every 20 ms, for ever, once a client has sent a line that begins with `at`; until then it behaves.
async fn chatterbox(at: &'static str) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        if !at.is_empty() {
            write.write_all(b"* OK hello\r\n").await.unwrap();
            while let Some(line) = lines.next_line().await.unwrap() {
                let (tag, command) = line.split_once(' ').unwrap_or(("", &line));
                if command.starts_with(at) || line.starts_with(at) {
                    break;
                }
                let reply =
                    if command == "IDLE" { "+ idling\r\n".to_owned() } else { behave(command).replace("TAG", tag) };
                write.write_all(reply.as_bytes()).await.unwrap();
            }
        }
        let word: &[u8] = if at.is_empty() { b"*" } else { b"* OK wait\r\n" };
        while write.write_all(word).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    (port, task)
}

#[tokio::test]
async fn no_exchange_is_held_open_by_small_talk() {
    // Where each line comes in time, and the end never does. At the greeting not even a line ends.
    for (at, why) in [
        ("", "within 300ms"),
        ("CAPABILITY", "not done within"),
        ("LOGIN", "no end of the login within"),
        ("SELECT", "not done within"),
        ("STATUS", "not done within"),
        ("UID SEARCH", "not done within"),
        ("IDLE", "IDLE did not begin within"),
        ("DONE", "IDLE did not end within"),
    ] {
        let (port, task) = chatterbox(at).await;
        let settings: ImapSettings = toml::from_str(&format!(
            "host = '127.0.0.1'\nport = {port}\ntls = 'plain'\nuser = 'bounces'\npassword = {{ command = 'echo x' }}\n\
             poll = '1ms'\ntimeouts = {{ connect = '300ms', response = '300ms', command = '300ms' }}"
        ))
        .unwrap();
        let mut source = ImapSource::new("test", settings);
        let work = async {
            source.open(Resume::default()).await?;
            source.fetch().await?;
            source.wait().await
        };
        assert_lost(timeout(LIMIT, work).await.unwrap(), why);
        task.abort();
    }
}

#[tokio::test]
async fn a_response_that_drips_is_given_up_and_a_slow_one_that_flows_is_not() {
    for (octets, arrives) in [(1, false), (200, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.split();
            write.write_all(b"* OK hello\r\n").await.unwrap();
            let mut lines = BufReader::new(read).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                let (tag, command) = line.split_once(' ').unwrap();
                if !wants_bodies(command) {
                    write.write_all(behave(command).replace("TAG", tag).as_bytes()).await.unwrap();
                    continue;
                }
                let body = format!("* 1 FETCH (UID 1 BODY[]<0> {{12000}}\r\n{})\r\n", "x".repeat(12_000));
                let answer = body + &fetch_bodies("UID FETCH 2 x").replace("TAG", tag);
                for piece in answer.into_bytes().chunks(octets) {
                    if write.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        let settings: ImapSettings = toml::from_str(&format!(
            "host = '127.0.0.1'\nport = {port}\ntls = 'plain'\nuser = 'bounces'\npassword = {{ command = 'echo x' }}\n\
             timeouts = {{ connect = '20s', response = '500ms', command = '20s' }}"
        ))
        .unwrap();
        let mut source = ImapSource::new("test", settings);
        source.open(Resume::default()).await.unwrap();
        let fetched = timeout(LIMIT, source.fetch()).await.unwrap();
        if arrives {
            assert_eq!(uids(&fetched.unwrap()), [1, 2]);
        } else {
            assert_lost(fetched, "octets of an answer within");
        }
        task.abort();
    }
}

#[tokio::test]
async fn what_takes_memory_without_end_is_lost() {
    let literals = format!("* 1 FETCH (UID 1{}", " X {0}\r\n".repeat(100_000));
    let server = {
        let literals = literals.clone();
        Server::start("* OK hello", move |command| {
            wants_bodies(command).then(|| Reply::SayAndClose(literals.clone().into_bytes()))
        })
        .await
    };
    assert_lost(server.opened().await.fetch().await, "literals in one response");
    // Before the login much less is believed.
    let server = Server::start("* OK hello", move |command| {
        (command == "CAPABILITY").then(|| Reply::SayAndClose(format!("* X {}\r\n", "y".repeat(70_000)).into_bytes()))
    })
    .await;
    assert_lost(server.source().open(Resume::default()).await, "a line of more than 65,536");
    // Many small responses are as bad as a large one.
    let noise = "* 5 EXISTS\r\n".repeat(8 << 20);
    let server = Server::start("* OK hello", move |command| {
        command.starts_with("UID SEARCH").then(|| Reply::SayAndClose(noise.clone().into_bytes()))
    })
    .await;
    assert_lost(server.opened().await.fetch().await, "much more than was asked for");
}

#[tokio::test]
async fn a_search_that_fails_is_no_empty_folder() {
    let server = Server::start("* OK hello", |command| {
        command.starts_with("UID SEARCH").then(|| say("TAG NO [SERVERBUG] index broken\r\n")).flatten()
    })
    .await;
    assert_lost(server.opened().await.fetch().await, "index broken");
}

#[tokio::test]
async fn a_changed_uidvalidity_is_noticed_in_the_middle() {
    let server = Server::start("* OK hello", |command| match command {
        _ if wants_bodies(command) => say("* OK [UIDVALIDITY 8] new folder, same name\r\nTAG OK done\r\n"),
        _ => None,
    })
    .await;
    assert_lost(server.opened().await.fetch().await, "UIDVALIDITY changed");
}

#[tokio::test]
async fn a_login_that_may_work_later_is_lost_and_any_other_is_refused() {
    for (reply, lost) in [
        ("TAG NO [UNAVAILABLE] Temporary authentication failure.", true),
        ("TAG NO [INUSE] busy", true),
        ("* BYE overloaded\r\nTAG NO x", true),
        ("TAG NO [AUTHENTICATIONFAILED] no", false),
        ("TAG NO wrong", false),
        ("TAG BAD LOGIN disabled", false),
    ] {
        let server = Server::start("* OK hello", move |command| {
            command.starts_with("LOGIN").then(|| say(&format!("{reply}\r\n"))).flatten()
        })
        .await;
        let result = server.source().open(Resume::default()).await;
        if lost { assert_lost(result, "") } else { assert_refused(result, "login failed") }
    }
}

#[tokio::test]
async fn a_server_that_wants_patience_is_left_alone_wherever_it_says_so_and_is_no_refusal() {
    for (at, reply) in [
        ("LOGIN", "TAG NO [LIMIT] Too many connections."),
        ("LOGIN", "TAG NO [ALERT] Too many simultaneous connections. (Failure)"),
        ("LOGIN", "* BYE [THROTTLED] later\r\nTAG NO x"),
        ("CAPABILITY", "* BYE [LIMIT] too many sessions"),
        // Exchange Online, after a login that was right.
        ("SELECT", "TAG BAD User is authenticated but not connected."),
        ("SELECT", "TAG NO [OVERQUOTA] no"),
        ("UID SEARCH", "TAG BAD User is authenticated but not connected."),
        ("UID FETCH", "* BYE [LIMIT] enough for today"),
        ("IDLE", "* BYE [LIMIT] too many sessions"),
    ] {
        let script = move |command: &str| command.starts_with(at).then(|| say(&format!("{reply}\r\n"))).flatten();
        let server = Server::start("* OK hello", script).await;
        let mut source = server.source();
        let whole = async {
            source.open(Resume::default()).await?;
            source.fetch().await?;
            source.wait().await
        };
        let Err(SourceError::Later(line)) = timeout(LIMIT, whole).await.unwrap() else { panic!("{at}: {reply}") };
        assert!(line.starts_with("bounces at 127.0.0.1:"), "{line}");
    }
}

#[tokio::test]
async fn a_connection_that_is_dead_is_noticed_within_two_polls() {
    for idle in [true, false] {
        // Nothing is answered once it waits, and nothing is closed: as when the other machine has lost its power.
        let mut server = Server::start("* OK hello", move |command| match command {
            "CAPABILITY" if !idle => say("* CAPABILITY IMAP4rev1 MOVE UIDPLUS\r\nTAG OK done\r\n"),
            "IDLE" => say("+ idling\r\n"),
            "DONE" | "NOOP" => say(""),
            _ => None,
        })
        .await;
        let mut source = server.source_with("poll = '30s'\ntimeouts = { response = '5m' }");
        source.open(Resume::default()).await.unwrap();
        source.fetch().await.unwrap();
        server.heard("");
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        // Whatever time passes, passes at once.
        let error = source.wait().await.unwrap_err();
        assert!(matches!(&error, SourceError::Lost(why) if why.contains("within 30s")), "{error}");
        assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
        tokio::time::resume();
        assert_eq!(server.heard(if idle { "DONE" } else { "NOOP" }).len(), 1);
    }
}

#[tokio::test]
async fn an_idle_is_renewed_before_a_server_may_end_it() {
    let mut server = Server::start("* OK hello", |command| match command {
        "IDLE" => say("+ idling\r\n"),
        _ => None,
    })
    .await;
    let mut source = server.source_with("poll = '3h'");
    source.open(Resume::default()).await.unwrap();
    source.fetch().await.unwrap();
    let mut wait = Box::pin(source.wait());
    while server.heard("IDLE").is_empty() {
        let _ = timeout(Duration::from_millis(5), &mut wait).await;
    }
    let _ = timeout(Duration::from_millis(50), &mut wait).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let _ = wait.await;
    // RFC 2177: at least every 29 minutes.
    let idled = began.elapsed();
    assert!(idled > Duration::from_secs(20 * 60) && idled < Duration::from_secs(29 * 60), "{idled:?}");
}

#[tokio::test]
async fn what_a_server_wants_a_person_to_know_is_in_the_log_once() {
    let log = log();
    let server = Server::start("* OK hello", |command| match command {
        _ if command.starts_with("UID SEARCH") => {
            Some(Reply::Say(format!("* OK [ALERT] the disk is nearly full\r\n{}", behave(command)).into_bytes()))
        }
        _ => None,
    })
    .await;
    let mut source = server.source();
    for _ in 0..2 {
        source.open(Resume::default()).await.unwrap();
        source.fetch().await.unwrap();
    }
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<_> = lines.lines().filter(|line| line.contains("the disk is nearly full")).collect();
    assert!(told.len() == 1 && told[0].contains("WARN") && told[0].contains("mailbox=\"test\""), "{told:?}");
}

#[tokio::test]
async fn a_settle_that_is_refused_has_its_reason_and_keeps_the_connection() {
    for (reply, why) in [
        ("TAG NO [OVERQUOTA] full", "(full); make room"),
        ("TAG NO oops", "oops"),
        ("TAG NO [NOPERM] no", "get the right to do it"),
    ] {
        let server = Server::start("* OK hello", move |command| {
            command.starts_with("UID MOVE").then(|| say(&format!("{reply}\r\n"))).flatten()
        })
        .await;
        let mut source = server.opened().await;
        let failed = source.settle(&processed(&[1])).await.unwrap();
        assert_eq!(failed[0].0, Place::new("7:1"));
        assert!(failed[0].1.contains("can't move") && failed[0].1.contains(why), "{failed:?}");
        assert_eq!(uids(&source.fetch().await.unwrap()), [1, 2], "reading goes on");
    }
}

#[tokio::test]
async fn one_message_that_can_not_be_settled_holds_up_no_other() {
    let moves_40 = |command: &str| {
        let Some(set) = command.strip_prefix("UID MOVE ") else { return false };
        set.split(' ').next().unwrap().split(',').any(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            (first.parse().unwrap()..=last.parse().unwrap()).contains(&40)
        })
    };
    let mut server =
        Server::start("* OK hello", move |command| moves_40(command).then(|| say("TAG NO can't\r\n")).flatten()).await;
    let mut source = server.opened().await;
    server.heard("");
    let all: Vec<u32> = (1..=100).collect();
    let failed = source.settle(&processed(&all)).await.unwrap();
    assert_eq!(failed.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>(), ["7:40"]);
    assert!(server.heard("UID MOVE").len() < 20);

    // Where everything is refused the server is not asked about each.
    let mut server = Server::start("* OK hello", move |command| {
        command.starts_with("UID MOVE").then(|| say("TAG NO [OVERQUOTA] full\r\n")).flatten()
    })
    .await;
    let mut source = server.opened().await;
    server.heard("");
    assert_eq!(source.settle(&processed(&all)).await.unwrap().len(), 100);
    assert!(server.heard("UID MOVE").len() < 60);
}

#[tokio::test]
async fn reading_goes_on_while_settling_breaks_the_connection() {
    let server =
        Server::start("* OK hello", |command| command.starts_with("UID MOVE").then(|| say_and_close("")).flatten())
            .await;
    let mut source = server.opened().await;
    assert_lost(source.settle(&processed(&[1])).await, "closed");
    source.open(Resume::default()).await.unwrap();
    let failed = source.settle(&processed(&[1, 2])).await.unwrap();
    assert!(failed.len() == 2 && failed[0].1.contains("closed"), "not tried again so soon: {failed:?}");
    assert_eq!(uids(&source.fetch().await.unwrap()), [1, 2]);
}

#[tokio::test]
async fn a_folder_whose_rights_were_lost_is_read_and_settled_when_they_are_back() {
    let mut selected = 0;
    let mut server = Server::start("* OK hello", move |command| match command {
        _ if command.starts_with("SELECT") => {
            selected += 1;
            let end = if selected < 3 { "READ-ONLY" } else { "READ-WRITE" };
            say(&format!("* OK [UIDVALIDITY 7] x\r\nTAG OK [{end}] done\r\n"))
        }
        _ => None,
    })
    .await;
    let mut source = server.source();
    source.open(Resume { worked: true, ..Resume::default() }).await.unwrap();
    assert_eq!(uids(&source.fetch().await.unwrap()), [1, 2]);
    let failed = source.settle(&processed(&[1])).await.unwrap();
    assert!(failed[0].1.contains("read-only"), "{failed:?}");
    server.heard("");
    assert!(source.settle(&processed(&[1])).await.unwrap().is_empty());
    assert_eq!(server.heard("UID MOVE").len(), 1);
}

#[tokio::test]
async fn messages_that_vanish_under_our_hands_again_and_again_tell_of_a_second_daemon() {
    // Of each two messages that are moved the server finds one, and of the last two none.
    for (after, vanishes) in [("", true), ("after = 'leave'", false)] {
        let mut moves = 0;
        let server = Server::start("* OK hello", move |command| {
            moves += usize::from(command.starts_with("UID MOVE"));
            match command {
                _ if !command.starts_with("UID MOVE") => None,
                _ if moves < 3 => say("* OK [COPYUID 9 1 5] moved\r\n* 1 EXPUNGE\r\nTAG OK done\r\n"),
                _ => say("TAG OK nothing to move\r\n"),
            }
        })
        .await;
        let mut source = server.source_with(after);
        source.open(Resume::default()).await.unwrap();
        for attempt in 0..3 {
            assert_eq!(source.complaint(), None, "{attempt}");
            source.reread(["7:1", "7:2"].map(Place::new).into());
            assert_eq!(uids(&source.fetch().await.unwrap()), [1, 2]);
            assert!(source.settle(&processed(&[1, 2])).await.unwrap().is_empty());
        }
        assert_eq!(source.complaint().is_some_and(|why| why.contains("second bounced")), vanishes);
    }
}

#[tokio::test]
async fn a_message_that_was_copied_before_the_server_died_is_not_copied_again() {
    // Message 1 lies in the other folder already; of message 2 there is one of equal size and other octets.
    let mut examined = false;
    let both = "UID SEARCH OR (UNDELETED HEADER Message-ID \"<1@x>\" LARGER 19 SMALLER 21) \
                (UNDELETED HEADER Message-ID \"<2@x>\" LARGER 19 SMALLER 21)";
    let script = move |command: &str| {
        match command.split(' ').next().unwrap() {
            "EXAMINE" => examined = true,
            "SELECT" => examined = false,
            _ => {}
        }
        match command {
            _ if command.starts_with("EXAMINE") => say("* 9 EXISTS\r\n* OK [UIDVALIDITY 99] x\r\nTAG OK done\r\n"),
            "UID SEARCH UID 1:2" => say("* SEARCH 1 2\r\nTAG OK done\r\n"),
            _ if examined && command == both => say("* SEARCH 8 9\r\nTAG OK done\r\n"),
            _ if wants_bodies(command) => {
                let uid = command.split(' ').nth(2).unwrap();
                let body = match uid {
                    "1" | "8" => "Message-ID: <1@x>\n\na",
                    "2" => "Message-ID: <2@x>\n\nb",
                    _ => "Message-ID: <2@x>\n\nc",
                };
                say(&format!("* 1 FETCH (UID {uid} RFC822.SIZE 20 BODY[]<0> {{20}}\r\n{body})\r\nTAG OK done\r\n"))
            }
            _ => None,
        }
    };
    let mut server = Server::start("* OK hello", script).await;
    let mut source = server.source();
    source.open(Resume { cursor: Some(Cursor::new("7:2")), worked: true, ..Resume::default() }).await.unwrap();
    server.heard("");
    assert!(source.settle(&processed(&[1, 2])).await.unwrap().is_empty());
    let said: Vec<_> = server.heard("").into_iter().filter(|line| !line.starts_with("UID FETCH")).collect();
    assert_eq!(said.iter().filter(|line| line.contains("SEARCH") && line.contains("HEADER")).count(), 1, "one for all");
    let changes: Vec<_> = said.iter().filter(|line| !line.contains("SEARCH")).map(String::as_str).collect();
    assert_eq!(
        changes,
        [
            "EXAMINE \"Processed\"",
            "SELECT \"INBOX\"",
            "STATUS \"Processed\" (UIDVALIDITY)",
            "UID STORE 1 +FLAGS.SILENT (\\Deleted)",
            "UID EXPUNGE 1",
            "UID MOVE 1:2 \"Processed\"",
        ]
    );
}

/// Places in the folder that the script shows, whose UIDVALIDITY is 7.
fn processed(uids: &[u32]) -> Vec<(Place, Disposition)> {
    uids.iter().map(|uid| (Place::new(format!("7:{uid}")), Disposition::Processed)).collect()
}

#[tokio::test]
async fn what_an_earlier_run_left_is_settled_and_reading_goes_on_behind_it() {
    let mut server = Server::start("* OK hello", |_| None).await;
    let mut unsettled = processed(&[1, 4, 2]);
    unsettled.push((Place::new("7:3"), Disposition::Untouched));
    // Of the folder that had this name before, and of the Maildir that had it before that.
    unsettled.push((Place::new("6:9"), Disposition::Processed));
    unsettled.push((Place::new("1767225600.M1P2.host"), Disposition::Processed));
    let mut source = server.source();
    source.open(Resume { cursor: Some(Cursor::new("7:4")), ..Resume::default() }).await.unwrap();
    source.settle(&unsettled).await.unwrap();
    let moved = server.heard("UID MOVE");
    assert_eq!(moved, ["UID MOVE 1:2,4 \"Processed\""]);
    server.heard("");
    assert!(source.fetch().await.unwrap().messages.is_empty(), "`5:*` shows the last message, although it is old");
    assert_eq!(server.heard("UID SEARCH"), ["UID SEARCH UNDELETED UID 5:*"]);
}

#[tokio::test]
async fn a_cursor_of_another_folder_or_source_is_not_believed() {
    for cursor in ["6:4", "1767225600.M1P2.host", ""] {
        let server = Server::start("* OK hello", |_| None).await;
        let mut source = server.source();
        source.open(Resume { cursor: Some(Cursor::new(cursor)), ..Resume::default() }).await.unwrap();
        assert_eq!(uids(&source.fetch().await.unwrap()), [1, 2], "{cursor}");
    }
}

#[tokio::test]
async fn each_server_is_asked_to_settle_as_it_can() {
    type Case = (&'static str, &'static str, &'static [&'static str]);
    let cases: [Case; 5] = [
        ("MOVE UIDPLUS", "after = { move = 'Done' }", &["UID MOVE 1:2 \"Done\""]),
        (
            "UIDPLUS",
            "after = { move = 'Done' }",
            &[
                "UID SEARCH UNDELETED UID 1:2",
                "UID COPY 1:2 \"Done\"",
                "UID STORE 1:2 +FLAGS.SILENT (\\Deleted)",
                "UID EXPUNGE 1:2",
            ],
        ),
        // A plain EXPUNGE would take what others have marked, too.
        (
            "IDLE",
            "after = { move = 'Done' }",
            &["UID SEARCH UNDELETED UID 1:2", "UID COPY 1:2 \"Done\"", "UID STORE 1:2 +FLAGS.SILENT (\\Deleted)"],
        ),
        ("MOVE", "after = 'flag'", &["UID STORE 1:2 +FLAGS.SILENT (\\Seen $Bounced)"]),
        ("MOVE", "after = 'leave'", &[]),
    ];
    for (capabilities, after, expected) in cases {
        let mut server = Server::start("* OK hello", move |command| match command {
            "CAPABILITY" => say(&format!("* CAPABILITY IMAP4rev1 {capabilities}\r\nTAG OK done\r\n")),
            _ => None,
        })
        .await;
        let mut source = server.source_with(after);
        source.open(Resume::default()).await.unwrap();
        source.fetch().await.unwrap();
        server.heard("");
        assert!(source.settle(&processed(&[2, 1])).await.unwrap().is_empty());
        assert_eq!(server.heard(""), expected, "{capabilities} {after}");
    }
}

#[tokio::test]
async fn an_answer_that_got_lost_does_not_say_that_the_server_can_do_nothing() {
    let mut asked = 0;
    let script = move |command: &str| match command {
        "CAPABILITY" => {
            asked += 1;
            (asked == 2).then(|| say("* CAPABILITX IMAP4rev1 MOVE UIDPLUS\r\nTAG OK done\r\n")).flatten()
        }
        _ => None,
    };
    let mut server = Server::start("* OK hello", script).await;
    let mut source = server.source_with("after = { move = 'Done' }");
    assert_lost(source.open(Resume::default()).await, "did not say what it can do");
    source.open(Resume::default()).await.unwrap();
    source.fetch().await.unwrap();
    server.heard("");
    assert!(source.settle(&processed(&[1])).await.unwrap().is_empty());
    assert_eq!(server.heard("UID MOVE").len(), 1);
}

#[tokio::test]
async fn where_the_folder_takes_no_keywords_messages_are_only_marked_as_seen() {
    for (permanent, flags) in [
        (r"(\Answered \Seen)", r"(\Seen)"),
        (r"(\Seen \*)", r"(\Seen $Bounced)"),
        (r"(\Seen $bounced)", r"(\Seen $Bounced)"),
    ] {
        let mut server = Server::start("* OK hello", move |command| {
            let select = format!("* OK [UIDVALIDITY 7] x\r\n* OK [PERMANENTFLAGS {permanent}] x\r\nTAG OK done\r\n");
            command.starts_with("SELECT").then(|| say(&select)).flatten()
        })
        .await;
        let mut source = server.source_with("after = 'flag'");
        source.open(Resume::default()).await.unwrap();
        source.settle(&processed(&[1])).await.unwrap();
        assert_eq!(server.heard("UID"), [format!("UID STORE 1 +FLAGS.SILENT {flags}")]);
    }
}

#[tokio::test]
async fn a_folder_that_somebody_deleted_is_made_again() {
    let mut tried = false;
    let mut server = Server::start("* OK hello", move |command| match command {
        _ if command.starts_with("UID MOVE") && !std::mem::replace(&mut tried, true) => {
            say("TAG NO [TRYCREATE] there is no such folder\r\n")
        }
        _ if command.starts_with("STATUS") => say("TAG NO [NONEXISTENT] no such folder\r\n"),
        _ => None,
    })
    .await;
    let mut source = server.opened().await;
    source.fetch().await.unwrap();
    server.heard("");
    assert!(source.settle(&processed(&[1])).await.unwrap().is_empty());
    let said = server.heard("");
    assert_eq!(said.first(), said.last());
    assert!(said.iter().any(|line| line.starts_with("CREATE")), "{said:?}");
}

#[tokio::test]
async fn a_read_only_folder_is_refused_unless_messages_are_left() {
    let script = |command: &str| match command {
        _ if command.starts_with("SELECT") => say("* OK [UIDVALIDITY 7] x\r\nTAG OK [READ-ONLY] look, don't touch\r\n"),
        _ => None,
    };
    let server = Server::start("* OK hello", script).await;
    assert_refused(server.source().open(Resume::default()).await, "read-only");
    server.source_with("after = 'leave'").open(Resume::default()).await.unwrap();
}

#[tokio::test]
async fn messages_are_not_moved_into_the_folder_that_is_read() {
    let server = Server::start("* OK hello", |_| None).await;
    let mut source = server.source_with("after = { move = 'inbox' }");
    assert_refused(source.open(Resume::default()).await, "name another");
}

#[tokio::test]
async fn starttls_can_neither_be_skipped_nor_smuggled_past() {
    type Case = (&'static str, fn(&str) -> Option<Reply>, &'static str);
    let cases: [Case; 3] = [
        ("* OK hello", |_| say("TAG BAD what?\r\n"), "STARTTLS was refused"),
        ("* PREAUTH welcome", |_| None, "PREAUTH"),
        ("* OK hello", |_| say("TAG OK go ahead\r\n* OK trust me\r\n"), "plain text followed STARTTLS"),
    ];
    for (greeting, script, why) in cases {
        let mut server = Server::start(greeting, script).await;
        let mut source = server.source_with("tls = 'starttls'");
        assert_refused(source.open(Resume::default()).await, why);
        drop(source);
        // Nothing but STARTTLS was said in the clear, and not even that to the first that misbehaved.
        while let Ok(line) = server.heard.try_recv() {
            assert!(["STARTTLS", "EOF"].contains(&line.as_str()), "{line}");
        }
    }
}

#[tokio::test]
async fn a_garbled_greeting_or_handshake_may_be_a_better_one_next_time() {
    for (greeting, tls, why) in [
        ("HTTP/1.1 400 Bad Request", "plain", "no IMAP server"),
        ("HTTP/1.1 400 Bad Request", "starttls", "no IMAP server"),
        ("* OK hello, and not a word of TLS", "implicit", "does not speak TLS"),
    ] {
        let server = Server::start(greeting, |_| None).await;
        let mut source = server.source_with(&format!("tls = '{tls}'"));
        assert_lost(source.open(Resume::default()).await, why);
    }
    let server = Server::start("* OK hello", |command| {
        command.starts_with("SELECT").then(|| say("* 2 EXISTS\r\nTAG OK done\r\n")).flatten()
    })
    .await;
    assert_lost(server.source().open(Resume::default()).await, "no UIDs");
}

#[tokio::test]
async fn plain_text_goes_to_loopback_only() {
    // A connected UDP socket sends nothing; it only tells which of our own addresses leads out.
    let out =
        std::net::UdpSocket::bind("0.0.0.0:0").and_then(|s| s.connect("192.0.2.1:9").and_then(|()| s.local_addr()));
    let Some(address) = out.ok().map(|a| a.ip()).filter(|ip| !ip.is_loopback()) else {
        println!("skipped: this machine has only loopback");
        return;
    };
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings =
        format!("host = '{address}'\nport = {port}\ntls = 'plain'\nuser = 'bounces'\npassword = {{ env = 'X' }}");
    let settings: ImapSettings = toml::from_str(&settings).unwrap();
    let refused = ImapSource::new("test", settings).open(Resume::default()).await;
    assert!(matches!(&refused, Err(SourceError::Refused(line)) if line.contains("insecure = true")), "{refused:?}");
}

#[tokio::test]
async fn dropping_or_closing_a_source_closes_the_socket() {
    let mut server = Server::start("* OK hello", |command| match command {
        "IDLE" => say("+ idling\r\n"),
        _ => None,
    })
    .await;
    let source = server.opened().await;
    drop(source);
    server.hears("EOF").await;
    // A stop signal drops the wait in the middle of IDLE.
    let mut source = server.source_with("poll = '1h'");
    source.open(Resume::default()).await.unwrap();
    source.fetch().await.unwrap();
    tokio::select! {
        waited = source.wait() => panic!("{waited:?}"),
        () = server.hears("IDLE") => {}
    }
    source.close().await;
    // Within IDLE a server takes nothing else.
    server.hears("DONE").await;
    server.hears("LOGOUT").await;
    server.hears("EOF").await;
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What all tests of this file log.
fn log() -> Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        let fmt = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE);
        tracing::subscriber::set_global_default(fmt.with_writer(move || writer.clone()).finish()).unwrap();
        log
    });
    LOG.clone()
}

#[tokio::test]
async fn the_password_is_in_no_log_line_and_in_no_error() {
    let log = log();
    for mechanism in ["LOGIN", "AUTHENTICATE"] {
        let server = Server::start("* OK hello", move |command| match command {
            "CAPABILITY" if mechanism == "AUTHENTICATE" => say("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK done\r\n"),
            "AUTHENTICATE PLAIN" => say("+ \r\n"),
            // A server that repeats what it was sent. The line with the secret of AUTHENTICATE has no space in it.
            _ if command.starts_with("LOGIN") => say(&format!("TAG NO bad command {command}\r\n")),
            _ if command.ends_with("==") || command.starts_with("AG") => say(&format!("A2 NO bad {command}\r\n")),
            _ => None,
        })
        .await;
        let Err(error) = server.source().open(Resume::default()).await else { panic!("it was let in") };
        assert!(matches!(error, SourceError::Refused(_)) && error.to_string().contains("***"), "{error:?}");
        // PASSWORD, and bounces + PASSWORD as AUTHENTICATE PLAIN sends it.
        for secret in [PASSWORD, "AGJvdW5jZXMAQ29ycmVjdC1Ib3JzZQ"] {
            assert!(!format!("{error:?}").contains(secret), "{error:?}");
            let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(logged.contains("CAPABILITY") && !logged.contains(secret), "{logged}");
        }
    }
}
