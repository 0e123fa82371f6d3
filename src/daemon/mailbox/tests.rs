//! One mailbox as the daemon watches it, with a script in its place.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Mutex, PoisonError},
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::{super::lock::Lock, *};
use crate::{
    app::Judge,
    clock::Moment,
    config::Config,
    message::{Disposition, Message, Place, Reading, Resume},
    source::maildir::MaildirSettings,
    store::{Holder, Store},
};

const MAILBOX: &str = "box";
/// Nothing is there already.
static NOTHING: AtomicBool = AtomicBool::new(false);

/// What the mailbox answers, in order; where nothing is left it never answers.
#[derive(Default)]
struct Script {
    fetches: VecDeque<Result<Batch, SourceError>>,
    waits: VecDeque<Result<(), SourceError>>,
    settled: Vec<usize>,
    hangs: bool,
    complaint: Option<String>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Scripted {
    type Settings = MaildirSettings;

    fn new(_: &str, _: MaildirSettings) -> Self {
        Self::default()
    }

    fn describe(place: &Place) -> String {
        place.as_str().to_owned()
    }

    async fn open(&mut self, _: Resume) -> Result<(), SourceError> {
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Batch, SourceError> {
        let next = self.script().fetches.pop_front();
        match next {
            Some(fetched) => fetched,
            None => {
                self.script().hangs = true;
                pending().await
            }
        }
    }

    async fn settle(&mut self, done: &[(Place, Disposition)]) -> Result<Vec<(Place, String)>, SourceError> {
        self.script().settled.push(done.len());
        Ok(Vec::new())
    }

    async fn wait(&mut self) -> Result<(), SourceError> {
        let next = self.script().waits.pop_front();
        match next {
            Some(waited) => waited,
            None => pending().await,
        }
    }

    fn complaint(&self) -> Option<String> {
        self.script().complaint.clone()
    }

    async fn close(&mut self) {}
}

struct Fixture {
    _dir: TempDir,
    store: Store,
    recorder: Arc<Recorder>,
    source: Scripted,
    stop: CancellationToken,
    attempts: mpsc::Receiver<FirstAttempt>,
    watch: Watch<Scripted>,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.path = dir.path().join("bounced.db");
        config.suppressions.path = dir.path().join("list.db");
        let store = Store::open(&config.database.path).await.unwrap();
        let recorder = Arc::new(Recorder::new(&config, Judge::embedded(), store.clone(), 0).await.unwrap());
        let (source, stop) = (Scripted::default(), CancellationToken::new());
        let (supervisor, attempts) = mpsc::channel(1);
        let lock = Lock::open(&config.database.path).unwrap();
        let leases = Leases::new(&config, &recorder, store.clone(), lock, [MAILBOX.to_owned()]);
        leases.turn(false).await.unwrap();
        let watch =
            Watch::new(MAILBOX, source.clone(), Arc::clone(&recorder), Arc::new(leases), stop.clone(), supervisor);
        Self { _dir: dir, store, recorder, source, stop, attempts, watch }
    }

    /// Records messages, and settles none.
    async fn record(&self, batch: Batch) {
        let begun = self.recorder.begin(MAILBOX, batch).await.unwrap();
        let (judged, left) = self.recorder.judge::<Scripted>(MAILBOX, begun).await;
        assert!(left.is_empty());
        drop(self.recorder.record::<Scripted>(MAILBOX, judged, 0).await.unwrap());
    }

    /// Opens the mailbox, which fails at the end of what it answers; says how long is waited before the next attempt.
    async fn wait_after(&mut self, fetches: impl IntoIterator<Item = Result<Batch, SourceError>>) -> Duration {
        self.source.script().fetches.extend(fetches);
        let halt = self.watch.session().await.expect_err("the script ends with an error");
        self.watch.failed(halt).await.unwrap()
    }
}

fn lost<T>() -> Result<T, SourceError> {
    Err(SourceError::Lost("the connection broke".into()))
}

/// One mail that nobody bounced.
fn mail(place: &str) -> Result<Batch, SourceError> {
    let body = format!("From: ann@example.com\nMessage-ID: <{place}@example.com>\n\nHello.\n").into_bytes();
    let message = Message {
        place: Place::new(place),
        received: 0,
        size: body.len() as u64,
        body: body.into(),
        rest: None,
        delivered_to: Vec::new(),
    };
    Ok(Batch { messages: vec![message], reading: Reading::default() })
}

#[tokio::test]
async fn what_opening_has_settled_is_not_settled_again() {
    let mut fixture = Fixture::new().await;
    // Recorded, and then the process was killed.
    fixture.record(mail("1").unwrap()).await;
    fixture.wait_after([lost()]).await;
    assert_eq!(fixture.source.script().settled, [1]);
    assert_eq!(fixture.store.unsettled(MAILBOX, now(), 9).await.unwrap(), []);
    fixture.wait_after([lost()]).await;
    assert_eq!(fixture.source.script().settled, [1]);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_settled_in_portions_and_new_mail_comes_between() {
    let mut fixture = Fixture::new().await;
    let messages = (0..120).flat_map(|n| mail(&n.to_string()).unwrap().messages).collect();
    let batch = Batch { messages, reading: Reading::default() };
    // Recorded, and then the process was killed.
    fixture.record(batch).await;
    let nothing = || Ok(Batch::default());
    fixture.source.script().waits.extend([Ok(()), Ok(()), Ok(())]);
    fixture.wait_after([mail("new"), nothing(), nothing(), nothing(), lost()]).await;
    assert_eq!(
        fixture.source.script().settled,
        [50, 1, 50, 20],
        "and nobody waits for new mail before all of it is done"
    );
    assert_eq!(fixture.store.unsettled(MAILBOX, now(), 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_mailbox_that_only_opens_is_tried_less_and_less_often() {
    let mut fixture = Fixture::new().await;
    for longest in [1, 2, 4, 8, 16, 30, 30] {
        let (wait, longest) = (fixture.wait_after([lost()]).await, Duration::from_secs(longest));
        assert!(wait <= longest && wait >= longest / 2, "{wait:?} of {longest:?}");
    }
}

#[tokio::test]
async fn a_mailbox_that_worked_is_tried_again_soon() {
    let mut fixture = Fixture::new().await;
    let soon = RETRY.0;
    for _ in 0..5 {
        fixture.wait_after([lost()]).await;
    }
    // It was read to its end, and then there was something to wait for.
    fixture.source.script().waits.push_back(Ok(()));
    assert!(fixture.wait_after([Ok(Batch::default()), lost()]).await <= soon);
    for _ in 0..5 {
        fixture.wait_after([lost()]).await;
    }
    // It never came to its end, but a batch was settled.
    let mails = ["1", "2", "3", "4"].map(mail);
    assert!(fixture.wait_after(mails.into_iter().chain([lost()])).await <= soon);
    // A batch that was recorded and not settled proves only that the mailbox can be read.
    for _ in 0..5 {
        fixture.wait_after([lost()]).await;
    }
    assert!(fixture.wait_after([mail("5"), lost()]).await > soon);
}

#[tokio::test]
async fn how_a_mailbox_fares_is_told_to_the_store() {
    let mut fixture = Fixture::new().await;
    fixture.source.script().waits.push_back(lost());
    fixture.wait_after([Ok(Batch::default())]).await;
    let status = fixture.store.status().await.unwrap().remove(0);
    assert!(status.read_at.is_some());
    assert_eq!(status.failure.as_deref(), Some("the connection broke"));
}

#[tokio::test]
async fn a_mailbox_that_does_not_answer_is_left_soon_after_the_stop() {
    let mut fixture = Fixture::new().await;
    tokio::time::pause();
    let (recorder, stop) = (Arc::clone(&fixture.recorder), fixture.stop.clone());
    let mut turn = Box::pin(turn(&recorder, MAILBOX, &mut fixture.source, Recorded::default(), &stop, &NOTHING));
    assert!(futures::poll!(&mut turn).is_pending());
    let stopped = tokio::time::Instant::now();
    fixture.stop.cancel();
    let ended = tokio::time::timeout(2 * GOODBYE, turn).await.expect("it is not waited for without end");
    assert!(matches!(ended, Ok(Fetched::Abandoned)));
    assert_eq!(stopped.elapsed().as_secs(), GOODBYE.as_secs(), "it had the time to answer");
}

#[tokio::test]
async fn told_to_stop_nothing_more_is_asked_for() {
    let mut fixture = Fixture::new().await;
    fixture.source.script().fetches.push_back(mail("1"));
    fixture.stop.cancel();
    let ended =
        turn(&fixture.recorder, MAILBOX, &mut fixture.source, Recorded::default(), &fixture.stop, &NOTHING).await;
    assert!(matches!(ended, Ok(Fetched::Stopped)));
    assert_eq!(fixture.source.script().fetches.len(), 1);
}

#[tokio::test]
async fn a_connection_lost_at_first_is_no_refusal() {
    let mut fixture = Fixture::new().await;
    fixture.watch.failed(Halt::Source(SourceError::Lost("away".into()))).await.unwrap();
    assert!(matches!(fixture.attempts.try_recv(), Ok(FirstAttempt::Going)));

    let mut fixture = Fixture::new().await;
    for _ in 0..2 {
        let refused = Halt::Source(SourceError::Refused("wrong password".into()));
        assert_eq!(fixture.watch.failed(refused).await.unwrap(), REFUSED_RETRY);
    }
    assert!(matches!(fixture.attempts.try_recv(), Ok(FirstAttempt::Refused { why, .. }) if why == "wrong password"));
    assert!(fixture.attempts.try_recv().is_err(), "only the first attempt is told");
}

#[tokio::test]
async fn a_database_that_can_not_be_used_ends_the_watch_and_a_busy_one_is_waited_for() {
    let mut fixture = Fixture::new().await;
    let unusable = Halt::Store(StoreError::Unusable("damaged".into()));
    assert!(matches!(fixture.watch.failed(unusable).await, Err(StoreError::Unusable(_))));
    assert!(fixture.watch.failed(Halt::Store(StoreError::Busy("locked".into()))).await.unwrap() <= RETRY.0);
}

#[tokio::test]
async fn a_mailbox_that_hangs_is_noticed_and_one_that_announces_its_wait_is_not() {
    let Fixture { watch, source, _dir, .. } = Fixture::new().await;
    let waits = watch.waits();
    let announced = waits.source.clone();
    let task = tokio::spawn(watch.run());
    // It never answers, as a source that forgot its time limit.
    while !source.script().hangs {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(PATIENCE).await;
    assert!(waits.are_on_time());
    tokio::time::advance(Duration::from_secs(120)).await;
    assert!(!waits.are_on_time());
    announced.until(Duration::from_secs(29 * 60));
    tokio::time::advance(Duration::from_secs(28 * 60)).await;
    assert!(waits.are_on_time(), "an IDLE");
    task.abort();
}

#[tokio::test]
async fn a_mailbox_that_worked_before_and_refuses_now_is_asked_less_and_less_often() {
    let mut fixture = Fixture::new().await;
    // By an earlier run.
    fixture.store.heartbeat(MAILBOX, Moment { wall: 5, uptime: 5 }, Heartbeat::Read).await.unwrap();
    for longest in [10, 20, 40, 80, 160, 300, 300] {
        let refused = Halt::Source(SourceError::Refused("login failed".into()));
        let (wait, longest) = (fixture.watch.failed(refused).await.unwrap(), Duration::from_secs(longest));
        assert!(wait <= longest && wait >= longest / 2, "{wait:?} of {longest:?}");
    }
    assert!(matches!(fixture.attempts.try_recv(), Ok(FirstAttempt::Going)), "no reason to give up");
    let status = fixture.store.status().await.unwrap().remove(0);
    assert_eq!(status.failure.as_deref(), Some("login failed"));
}

#[tokio::test]
async fn what_a_person_should_mend_is_told_although_reading_goes_on() {
    let mut fixture = Fixture::new().await;
    fixture.source.script().complaint = Some("two at once".into());
    fixture.watch.heartbeat(true).await.unwrap();
    let status = fixture.store.status().await.unwrap().remove(0);
    assert!(status.read_at.is_some());
    assert_eq!(status.failure.as_deref(), Some("two at once"));
}

#[tokio::test]
async fn a_mailbox_whose_mail_is_fetched_and_not_recorded_counts_as_unread_whatever_the_cause() {
    let mut fixture = Fixture::new().await;
    // Recorded, settled, and nothing more is there.
    fixture.source.script().waits.push_back(lost());
    fixture.wait_after([mail("1"), Ok(Batch::default()), Ok(Batch::default())]).await;
    let read_at = fixture.store.status().await.unwrap()[0].read_at;
    assert!(read_at.is_some());

    let mut fixture = Fixture::new().await;
    for attempt in 1..=3 {
        fixture.wait_after([mail(&attempt.to_string()), lost()]).await;
        let status = fixture.store.status().await.unwrap().remove(0);
        assert_eq!((status.read_at, status.failures), (None, attempt), "{status:?}");
    }
}

#[tokio::test]
async fn the_next_batch_is_judged_while_this_one_is_committed_and_the_last_one_waits_for_nobody() {
    let mut fixture = Fixture::new().await;
    let options = SqliteConnectOptions::new().filename(fixture._dir.path().join("bounced.db"));
    let mut file = SqliteConnection::connect_with(&options).await.unwrap();
    let probe = "CREATE TABLE probe (place TEXT, under_way TEXT);
                 CREATE TRIGGER probe AFTER INSERT ON message BEGIN
                     INSERT INTO probe SELECT NEW.place, group_concat(place) FROM attempt WHERE under_way = 1;
                 END";
    sqlx::raw_sql(probe).execute(&mut file).await.unwrap();
    fixture.source.script().fetches.extend([mail("1"), mail("2"), mail("3")]);
    // Behind the third it never answers.
    let hangs = tokio::time::timeout(Duration::from_secs(60), async {
        let mut session = Box::pin(fixture.watch.session());
        loop {
            let recorded: i64 = sqlx::query_scalar("SELECT count(*) FROM probe").fetch_one(&mut file).await.unwrap();
            if recorded == 3 {
                return;
            }
            assert!(futures::poll!(&mut session).is_pending());
            tokio::task::yield_now().await;
        }
    });
    hangs.await.expect("all three are recorded");
    let seen: Vec<(String, String)> =
        sqlx::query_as("SELECT place, under_way FROM probe").fetch_all(&mut file).await.unwrap();
    let expected = [("1", "2"), ("2", "3"), ("3", "3")].map(|(one, other)| (one.to_owned(), other.to_owned()));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_was_read_and_is_dropped_is_nobodys_death() {
    let fixture = Fixture::new().await;
    let options = SqliteConnectOptions::new().filename(fixture._dir.path().join("bounced.db"));
    let mut file = SqliteConnection::connect_with(&options).await.unwrap();
    let fails = "CREATE TRIGGER fails BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::raw_sql(fails).execute(&mut file).await.unwrap();
    fixture.source.script().fetches.extend([mail("1"), mail("2"), mail("3"), lost()]);
    fixture.watch.run().await.expect_err("nothing can be recorded");
    assert_eq!(
        fixture.store.deaths(MAILBOX, 0).await.unwrap(),
        [],
        "whoever kills the process now kills it over no message"
    );
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is_left_alone_for_minutes_and_is_no_refusal() {
    let mut fixture = Fixture::new().await;
    for longest in [60, 120, 240, 300, 300] {
        let later = Halt::Source(SourceError::Later("too many connections".into()));
        let (wait, longest) = (fixture.watch.failed(later).await.unwrap(), Duration::from_secs(longest));
        assert!(wait <= longest && wait >= longest / 2, "{wait:?} of {longest:?}");
    }
    assert!(matches!(fixture.attempts.try_recv(), Ok(FirstAttempt::Going)));
    let status = fixture.store.status().await.unwrap().remove(0);
    assert!(status.next_try.is_some_and(|next| next >= now() + 100) && !status.needs_person, "{status:?}");
    let refused = Halt::Source(SourceError::Refused("wrong password".into()));
    fixture.watch.failed(refused).await.unwrap();
    assert!(fixture.store.status().await.unwrap()[0].needs_person);
}

#[tokio::test]
async fn whoever_is_overtaken_lets_go_and_reads_on_when_the_mailbox_is_his_again() {
    let mut fixture = Fixture::new().await;
    let (store, other) = (fixture.store.clone(), Holder { id: "other".into(), name: "elsewhere".into() });
    let seen = store.leases().await.unwrap().remove(0);
    let beside = Store::open_existing(&fixture._dir.path().join("bounced.db")).await.unwrap();
    assert!(beside.take_lease(MAILBOX, Some(&seen), &other, false, Moment::now()).await.unwrap());
    fixture.source.script().fetches.extend([mail("1"), mail("2")]);
    let halt = fixture.watch.session().await.expect_err("it is another's");
    assert!(matches!(halt, Halt::Store(StoreError::Overtaken(_))), "{halt}");
    assert_eq!(store.status().await.unwrap().len(), 0, "nothing is said of it");
    // It is read to its end, and waited for.
    fixture.source.script().fetches = [Ok(Batch::default())].into();

    let (leases, stop) = (Arc::clone(&fixture.watch.leases), fixture.stop.clone());
    let (kept, until) = (Arc::clone(&leases), stop.clone());
    let keeper = tokio::spawn(async move { kept.keep(&until).await });
    let (mut attempts, source) = (fixture.attempts, fixture.source.clone());
    let watch = tokio::spawn(fixture.watch.run());
    assert!(matches!(attempts.recv().await, Some(FirstAttempt::Going)), "the others need not wait");
    while leases.have(MAILBOX).is_some() {
        tokio::task::yield_now().await;
    }
    let nothing = || Ok(Batch::default());
    source.script().fetches.extend([mail("1"), mail("2"), nothing(), nothing(), nothing()]);
    beside.release_leases(&other).await.unwrap();
    while source.script().settled.iter().sum::<usize>() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    watch.await.unwrap().unwrap();
    keeper.await.unwrap().unwrap();
}
