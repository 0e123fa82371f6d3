//! Alarms as the daemon raises and clears them, by mails that are read and times that are told.

use futures::stream::iter;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::{
    app::Judge,
    config::Config,
    message::{Batch, Message, Place, Reading},
    report::Address,
    source::maildir::MaildirSource,
    store::{By, EventKind, HeldAnswer, HeldSelection, Sent, Store},
};

const MAILBOX: &str = "bounces";
/// A clock hour begins.
const START: i64 = 1_767_225_600;
const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
const DEAD: &str = "550 5.1.1 User unknown";
const REFUSED: &str = "554 5.7.1 Service unavailable; client [192.0.2.25] blocked using blocklist.example";

/// A database; each daemon over it is one that was started anew.
struct Fixture {
    _dir: TempDir,
    config: Config,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.path = dir.path().join("bounced.db");
        config.suppressions.path = dir.path().join("list.db");
        let store = Store::open(&config.database.path).await.unwrap();
        Self { _dir: dir, config, store }
    }

    async fn daemon(&self) -> Arc<Recorder> {
        Arc::new(Recorder::new(&self.config, Judge::embedded(), self.store.clone(), START).await.unwrap())
    }

    /// Reads bounces of what was sent to these numbers, a second apart.
    async fn read(&self, numbers: std::ops::Range<i64>, reply: &str, at: i64) {
        let message = |number| {
            let body = bounce(number, reply).into_bytes();
            let (size, received) = (body.len() as u64, at + number);
            Message {
                place: Place::new(number.to_string()),
                received,
                size,
                body: body.into(),
                rest: None,
                delivered_to: Vec::new(),
            }
        };
        let batch = Batch { messages: numbers.map(message).collect(), reading: Reading::default() };
        let recorder = self.daemon().await;
        let begun = recorder.begin(MAILBOX, batch).await.unwrap();
        let (judged, left) = recorder.judge::<MaildirSource>(MAILBOX, begun).await;
        assert!(left.is_empty());
        drop(recorder.record::<MaildirSource>(MAILBOX, judged, at).await.unwrap());
    }

    /// What two looks at that time change, between which the daemon was started anew: `+` is raised, `-` is cleared.
    async fn changed(&self, at: i64) -> Vec<String> {
        let before = self.store.newest_revision().await.unwrap();
        for _ in 0..2 {
            watch(self.daemon().await, vec![MAILBOX.to_owned()], iter([at, at])).await.unwrap();
        }
        let events = self.store.events_after(before, 100).await.unwrap();
        let alarms = self.store.alarms(0).await.unwrap();
        let open = self.store.alarms(i64::MAX).await.unwrap();
        let mut changed: Vec<String> = Vec::new();
        for event in events {
            assert_eq!((event.at, event.actor.as_deref()), (at, Some("bounced")));
            let alarm = alarms.iter().find(|alarm| Some(alarm.id) == event.alarm).unwrap();
            let (sign, is_open) = match event.kind {
                EventKind::AlarmRaised => ("+", true),
                EventKind::AlarmCleared => ("-", false),
                other => panic!("{other} is no alarm"),
            };
            assert_eq!(open.contains(alarm), is_open);
            changed.push(format!("{sign}{} {}", alarm.name.kind, alarm.name.about));
        }
        changed.sort();
        changed
    }
}

fn recipient(number: i64) -> String {
    format!("reader{number}@big.example")
}

fn bounce(number: i64, reply: &str) -> String {
    let (to, status) = (recipient(number), &reply[4..9]);
    format!(
        "From: MAILER-DAEMON@lists.example.org\nMessage-ID: <bounce-{number}@lists.example.org>\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\
         Content-Type: message/delivery-status\n\nReporting-MTA: dns; lists.example.org\n\n\
         Final-Recipient: rfc822; {to}\nAction: failed\nStatus: {status}\nRemote-MTA: dns; mx.big.example\n\
         Diagnostic-Code: smtp; {reply}\n\n--b\nContent-Type: text/rfc822-headers\n\n\
         Message-ID: <sent-{number}@lists.example.org>\nTo: {to}\n\n--b--\n"
    )
}

#[tokio::test]
async fn each_alarm_is_raised_once_and_cleared_once_however_often_the_daemon_is_started() {
    let f = Fixture::new().await;
    let sent = |number: i64| Sent {
        at: START,
        message_id: Some(format!("sent-{number}@lists.example.org")),
        recipient: Address::parse(&recipient(number)).unwrap(),
        provider: "big.example".into(),
        campaign: None,
        is_delivered: false,
    };
    f.store.record_sent(&(0..400).map(sent).collect::<Vec<_>>(), START - DAY).await.unwrap();
    assert_eq!(f.changed(START).await, [""; 0], "all is well");

    f.read(0..5, REFUSED, START).await;
    f.read(5..220, DEAD, START).await;
    let all = ["+burst big.example", "+hard_rate stop", "+own_fault big.example blocked"];
    assert_eq!(f.changed(START + HOUR).await, all);
    let open = f.store.alarms(i64::MAX).await.unwrap();
    assert!(open.iter().any(|alarm| alarm.words.ends_with("(`bounced codes 5.7.1` tells what to do)")), "{open:?}");
    assert_eq!(f.changed(START + 2 * HOUR).await, [""; 0]);

    let over = ["+silent bounces", "-hard_rate stop"];
    assert_eq!(f.changed(START + DAY + HOUR).await, over);
    f.read(220..221, DEAD, START + DAY + 2 * HOUR).await;
    assert_eq!(f.changed(START + DAY + 3 * HOUR).await, ["-silent bounces"]);
    let (all, ann) = (HeldSelection::default(), By::new("ann", START + 2 * DAY));
    f.store.answer_held(&all, HeldAnswer::Reject, &ann).await.unwrap();
    assert_eq!(f.changed(START + 2 * DAY).await, ["-burst big.example"]);
    assert_eq!(f.changed(START + 4 * DAY).await, ["-own_fault big.example blocked"]);
    assert!(f.store.alarms(i64::MAX).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn alarms_are_looked_for_every_five_minutes_until_the_stop() {
    let stop = CancellationToken::new();
    let (mut looks, began) = (pin!(looks(stop.clone())), Instant::now());
    for n in 1..=3 {
        assert!(looks.next().await.is_some());
        assert_eq!(began.elapsed().as_secs(), n * 300);
    }
    stop.cancel();
    assert_eq!(looks.next().await, None);
}
