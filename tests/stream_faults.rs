//! One whole session with small mails, from the greeting to the last message that is moved, through a proxy that cuts the
//! stream at an octet, lets it stall, closes half of it, or changes an octet that is no mail's own. What the connection
//! after that finds must be recorded once and moved once. CI tries some octets, scripts/faults all of them.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    collections::HashSet,
    fmt, fs,
    io::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bounced::{
    app::{Halt, Judge, Recorder},
    clock::now,
    config::Config,
    source::{
        Source,
        imap::{ImapSettings, ImapSource},
    },
    store::{PendingAnswer, Store},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{
    cyrus::{self, Cyrus},
    database,
    dovecot::{self, Dovecot},
    imap::Imap,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    FromServer,
    ToServer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Both ends lose the connection.
    Cut,
    /// Nothing comes through any more, either way, and nobody is told.
    Stall,
    /// This way ends, the other goes on.
    Halve,
    /// One bit of an octet is another: digits and letters become their neighbours.
    Neighbour,
    /// The octet is no ASCII any more.
    Garbage,
}

/// What is changed in what a client says may move another mail than it wanted: nobody can mend that.
const KINDS: [(Way, Fault); 8] = [
    (Way::FromServer, Fault::Cut),
    (Way::FromServer, Fault::Stall),
    (Way::FromServer, Fault::Halve),
    (Way::FromServer, Fault::Neighbour),
    (Way::FromServer, Fault::Garbage),
    (Way::ToServer, Fault::Cut),
    (Way::ToServer, Fault::Stall),
    (Way::ToServer, Fault::Halve),
];

#[derive(Debug, Clone, Copy)]
struct Case {
    way: Way,
    fault: Fault,
    /// Before this octet of the stream, or to it.
    at: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {}", self.way, self.fault, self.at)
    }
}

/// Where in a server's stream the mails' own octets are.
#[derive(Default)]
struct Literals {
    line: Vec<u8>,
    left: usize,
}

impl Literals {
    /// Takes the next octet; says whether it is a mail's own.
    fn is_mail(&mut self, octet: u8) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return true;
        }
        self.line.push(octet);
        if octet == b'\n' {
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
            let length = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')?.1.parse().ok());
            self.left = length.unwrap_or(0);
        }
        false
    }
}

/// What the proxy has seen and done.
#[derive(Default)]
struct Seen {
    /// The fault that the next connection gets.
    armed: Mutex<Option<Case>>,
    /// The session came so far.
    struck: AtomicBool,
    /// How many octets went either way on the last connection.
    lengths: Mutex<[usize; 2]>,
}

/// Listens on a port of its own and passes on to another.
async fn proxy(to: u16, seen: Arc<Seen>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
            let case = seen.armed.lock().unwrap().take();
            tokio::spawn(pass_on(client, server, case, Arc::clone(&seen)));
        }
    });
    port
}

/// How one way of a connection ended.
enum End {
    Closed,
    Cut,
    Stall,
}

async fn pass_on(client: TcpStream, server: TcpStream, case: Option<Case>, seen: Arc<Seen>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    *seen.lengths.lock().unwrap() = [0; 2];
    let down = pump(&mut from_server, &mut to_client, Way::FromServer, case, &seen);
    let up = pump(&mut from_client, &mut to_server, Way::ToServer, case, &seen);
    let ended = {
        tokio::pin!(down, up);
        // Where one way has ended well, the other goes on until it ends as well.
        tokio::select! {
            end = &mut down => if let End::Closed = end { up.await } else { end },
            end = &mut up => if let End::Closed = end { down.await } else { end },
        }
    };
    if let End::Stall = ended {
        // Until the client gives up.
        let mut waste = [0; 1024];
        while from_client.read(&mut waste).await.is_ok_and(|read| read > 0) {}
    }
}

async fn pump(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, way: Way, case: Option<Case>, seen: &Seen) -> End {
    let (mut passed, mut literals, mut buffer) = (0, Literals::default(), vec![0; 16 << 10]);
    let case = case.filter(|case| case.way == way);
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return End::Closed;
        };
        let octets = &mut buffer[..read];
        let at = case.and_then(|case| case.at.checked_sub(passed)).filter(|at| *at < read);
        let is_mail: Vec<bool> = octets.iter().map(|octet| literals.is_mail(*octet)).collect();
        passed += read;
        seen.lengths.lock().unwrap()[way as usize] = passed;
        if let (Some(at), Some(Case { fault, .. })) = (at, case) {
            seen.struck.store(true, Ordering::Relaxed);
            match fault {
                Fault::Neighbour if !is_mail[at] => octets[at] ^= 1,
                Fault::Garbage if !is_mail[at] => octets[at] |= 0x80,
                Fault::Neighbour | Fault::Garbage => {}
                Fault::Cut | Fault::Stall | Fault::Halve => {
                    let _ = to.write_all(&octets[..at]).await;
                    if fault != Fault::Halve {
                        return if fault == Fault::Cut { End::Cut } else { End::Stall };
                    }
                    let _ = to.shutdown().await;
                    // Whoever still talks is not told that nobody listens.
                    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                    return End::Closed;
                }
            }
        }
        if to.write_all(octets).await.is_err() {
            return End::Closed;
        }
    }
}

/// What the sample begins with where SEED names nothing else: each run tries the same octets. scripts/faults tries all.
const SAMPLE: u64 = 7;
/// Faults that a run tries with each server where it does not try all.
const SAMPLED: usize = 30;

/// A server, and all that reads it.
struct Bench {
    name: &'static str,
    port: u16,
    user: &'static str,
    password: &'static str,
    seen: Arc<Seen>,
    beside: Imap,
    dir: tempfile::TempDir,
    recorder: Recorder,
    store: Store,
    mails: usize,
}

const MAILBOX: &str = "bounces";
/// In each session.
const MAILS: usize = 2;
const RECORDED: &str = "SELECT count(*) FROM message";

impl Bench {
    async fn new(name: &'static str, port: u16, user: &'static str, password: &'static str) -> Self {
        let dir = support::directory();
        let mut config = Config::default();
        config.database.path = dir.path().join("bounced.db");
        config.suppressions.path = dir.path().join("suppressions.db");
        let store = Store::open(&config.database.path).await.unwrap();
        let recorder = Recorder::new(&config, Judge::embedded(), store.clone(), now()).await.unwrap();
        let beside = Imap::login(port, user, password).await.unwrap();
        let seen = Arc::new(Seen::default());
        let port = proxy(port, Arc::clone(&seen)).await;
        Self { name, port, user, password, seen, beside, dir, recorder, store, mails: 0 }
    }

    fn source(&self) -> ImapSource {
        let secret = self.dir.path().join("secret");
        fs::write(&secret, self.password).unwrap();
        let settings: ImapSettings = toml::from_str(&format!(
            "host = '127.0.0.1'\nport = {}\ntls = 'plain'\nuser = '{}'\npassword = {{ file = '{}' }}\n\
             timeouts = {{ connect = '2s', response = '700ms', command = '2s' }}",
            self.port,
            self.user,
            secret.display()
        ))
        .unwrap();
        ImapSource::new(MAILBOX, settings)
    }

    async fn deliver(&mut self) {
        for _ in 0..MAILS {
            self.mails += 1;
            // All as long as each other: an octet has the same place in each session.
            let n = format!("{:06}", self.mails);
            let mail = format!(
                "From: MAILER-DAEMON@mx.example\r\nMessage-ID: <{n}@mx.example>\r\nSubject: Undelivered Mail Returned to \
                 Sender\r\n\r\n<anna{n}@c{n}.example>: host mx said: 550 5.1.1 User unknown\r\n"
            );
            self.beside.append("INBOX", &mail).await;
        }
    }

    /// Reads until nothing is left, as the daemon does, however often that takes.
    async fn drain(&mut self) -> Result<(), String> {
        let mut source = self.source();
        let mut why = String::new();
        for attempt in 0..25 {
            if attempt > 0 {
                // Whatever waits is due.
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(700)).await;
                tokio::time::resume();
                self.store.answer_pending(None, None, PendingAnswer::Retry).await.unwrap();
            }
            match self.session(&mut source, now() + 30_000 * attempt).await {
                // An answer to SEARCH that got lost hides what came until the daemon looks the next time.
                Ok(()) if self.left().await == 0 && self.count(RECORDED).await == self.mails => {
                    source.close().await;
                    return Ok(());
                }
                Ok(()) => why = format!("{} left, {} recorded", self.left().await, self.count(RECORDED).await),
                Err(Halt::Source(error)) => why = error.to_string(),
                Err(Halt::Store(error)) => return Err(error.to_string()),
            }
        }
        Err(format!("never done: {why}"))
    }

    async fn session(&self, source: &mut ImapSource, now: i64) -> Result<(), Halt> {
        let recorder = &self.recorder;
        recorder.open(MAILBOX, source).await?;
        recorder.settle_due(MAILBOX, source, now).await?;
        loop {
            let mut batch = source.fetch().await?;
            while !batch.is_empty() {
                let begun = recorder.begin(MAILBOX, batch).await?;
                let (judged, left) = recorder.judge::<ImapSource>(MAILBOX, begun).await;
                let (_, recorded) = recorder.record::<ImapSource>(MAILBOX, judged, now).await?;
                recorder.settle(MAILBOX, source, recorded, now).await?;
                batch = left;
                if batch.is_empty() {
                    batch = source.fetch().await?;
                }
            }
            if !recorder.settle_due(MAILBOX, source, now).await? && !recorder.reconcile(MAILBOX, source).await? {
                return Ok(());
            }
        }
    }

    async fn count(&self, query: &'static str) -> usize {
        usize::try_from(database::count(&self.dir.path().join("bounced.db"), query).await).unwrap()
    }

    async fn left(&self) -> usize {
        self.count("SELECT (SELECT count(*) FROM unsettled) + (SELECT count(*) FROM pending)").await
    }

    /// Says what is wrong after a session with this fault, and whether the session came so far.
    async fn survives(&mut self, case: Option<Case>) -> Result<bool, String> {
        if self.mails.is_multiple_of(500) {
            // A long folder is slow.
            self.beside.ask("DELETE \"Processed\"").await;
        }
        let before = (self.count(RECORDED).await, self.beside.count("Processed").await);
        self.deliver().await;
        *self.seen.armed.lock().unwrap() = case;
        self.seen.struck.store(false, Ordering::Relaxed);
        let drained = self.drain().await;
        // What is marked as deleted is as good as gone, where a changed word hides that the server can expunge it.
        let after = (
            self.count(RECORDED).await,
            self.beside.count("Processed").await,
            self.beside.count_undeleted("INBOX").await,
        );
        let each_once = "SELECT count(*) FROM (SELECT address FROM bounce GROUP BY address HAVING count(*) = 1)";
        let found = (drained, after, self.count(each_once).await);
        if found == (Ok(()), (before.0 + MAILS, before.1 + MAILS, 0), self.mails) {
            return Ok(self.seen.struck.load(Ordering::Relaxed));
        }
        Err(format!("{}: {found:?}, after {before:?} and {} mails", self.name, self.mails))
    }

    /// Begins anew after a session that went wrong.
    async fn reset(self, port: u16) -> Self {
        let mut bench = Self::new(self.name, port, self.user, self.password).await;
        bench.beside.command("SELECT INBOX").await;
        bench.beside.command("STORE 1:* +FLAGS (\\Deleted)").await;
        bench.beside.command("EXPUNGE").await;
        bench.beside.command("UNSELECT").await;
        // Its mails are the same as those that come now.
        bench.beside.ask("DELETE \"Processed\"").await;
        bench
    }

    /// How many octets go either way in a session without a fault.
    async fn lengths(&mut self) -> [usize; 2] {
        // The first one makes the folder.
        for _ in 0..2 {
            self.survives(None).await.unwrap();
        }
        *self.seen.lengths.lock().unwrap()
    }

    /// So many octets, those that [`SAMPLE`] or SEED chooses.
    async fn sample(&mut self, most: usize) {
        let seed = std::env::var("SEED").map_or(SAMPLE, |seed| seed.parse().expect("SEED is a number"));
        println!("{}: to repeat these faults: SEED={seed}", self.name);
        let mut random = StdRng::seed_from_u64(seed);
        let lengths = self.lengths().await;
        let mut struck = 0;
        for tried in 0..most {
            let (way, fault) = KINDS[tried % KINDS.len()];
            let case = Case { way, fault, at: random.random_range(0..lengths[way as usize]) };
            match self.survives(Some(case)).await {
                Ok(came) => struck += usize::from(came),
                Err(why) => panic!("{case}: {why}"),
            }
        }
        println!("{}: {most} faults at random, {struck} struck", self.name);
        assert!(2 * struck >= most, "{struck} of {most}");
    }

    /// All octets that are not in the list of those done, and whose line begins as FAULTS_ONLY says.
    async fn all(mut self, port: u16) -> Vec<String> {
        let list = std::env::var("FAULTS_DONE").map_or_else(|_| self.dir.path().join("done"), PathBuf::from);
        let known = fs::read_to_string(&list).unwrap_or_default();
        let known: HashSet<&str> = known.lines().collect();
        let mut done = fs::File::options().create(true).append(true).open(&list).expect("FAULTS_DONE can be written");
        let only = std::env::var("FAULTS_ONLY").unwrap_or_default();
        let lengths = self.lengths().await;
        let mut failures = Vec::new();
        for (way, fault) in KINDS {
            let mut tried = 0;
            for at in 0..lengths[way as usize] {
                let case = Case { way, fault, at };
                let line = format!("{} {case}", self.name);
                if known.contains(line.as_str()) || !line.starts_with(&only) {
                    continue;
                }
                match self.survives(Some(case)).await {
                    Ok(_) => writeln!(done, "{line}").unwrap(),
                    Err(why) => {
                        println!("FAILED {case}: {why}");
                        failures.push(format!("{case}: {why}"));
                        self = self.reset(port).await;
                        self.lengths().await;
                    }
                }
                tried += 1;
            }
            println!("{} {way:?} {fault:?}: {tried} of {} octets", self.name, lengths[way as usize]);
        }
        failures
    }
}

/// Small changes to what a private Dovecot can do.
const WITHOUT_MOVE: &str = "imap_capability = IMAP4rev1 UIDPLUS IDLE AUTH=PLAIN";

/// Each server that is to be had, and no other.
async fn benches(only: Option<&str>, mut each: impl AsyncFnMut(Bench, u16)) {
    for (name, extra) in [("dovecot", ""), ("dovecot-without-move", WITHOUT_MOVE)] {
        if only.is_none_or(|only| only == name)
            && let Some(server) = support::dovecot(extra)
        {
            each(Bench::new(name, server.imap, dovecot::USER, dovecot::PASSWORD).await, server.imap).await;
            drop::<Dovecot>(server);
        }
    }
    if only.is_none_or(|only| only == "cyrus") {
        match Cyrus::start().await {
            Ok(server) => each(Bench::new("cyrus", server.port, cyrus::USER, "any").await, server.port).await,
            Err(why) => support::skip("faults in the stream of Cyrus", &why),
        }
    }
}

#[tokio::test]
async fn whatever_happens_to_the_stream_each_message_is_recorded_once_and_moved_once() {
    benches(None, async |mut bench, _| bench.sample(SAMPLED).await).await;
}

#[tokio::test]
#[ignore = "hours: scripts/faults"]
async fn every_octet() {
    let only = std::env::var("FAULTS_SERVER").ok();
    let mut failures = Vec::new();
    benches(only.as_deref(), async |bench, port| failures.extend(bench.all(port).await)).await;
    assert!(failures.is_empty(), "{failures:#?}");
}
