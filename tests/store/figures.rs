//! How much was sent and what became of it, counted by hand; and alarms, which begin once and end once.

use bounced::{
    codes::{Class, Fault, Judgement, Reason},
    message::Reading,
    policy::{
        Policy,
        alarms::{AlarmChanges, AlarmKind, AlarmName, NewAlarm, Telling},
    },
    report::{Address, Trust, Trusts},
    store::{EventKind, Figures, FiguresBy, FiguresTable, Sent},
};

use crate::fixture::{BLOCKED, DAY, Fixture, HARD, MAILBOX, SOFT, START, complaint, entry};

fn sent(number: u32, recipient: &str, at: i64, provider: &str, is_delivered: bool) -> Sent {
    Sent {
        at,
        message_id: Some(format!("sent-{number}@example.org")),
        recipient: Address::parse(recipient).unwrap(),
        provider: provider.to_owned(),
        campaign: Some(format!("campaign-{}", number % 3)),
        is_delivered,
    }
}

/// Two days: on the first three messages are sent, on the second one.
async fn filled() -> Fixture {
    let f = Fixture::new().await;
    let messages = [
        sent(1, "ann@example.org", START, "example.org", true),
        sent(2, "bob@example.com", START, "big.example", true),
        sent(3, "eve@example.com", START, "big.example", false),
        sent(4, "ann@example.org", START + DAY, "example.org", false),
    ];
    f.store.record_sent(&messages, START + DAY).await.unwrap();
    let mut batch = vec![
        entry(1, START, &[("ann@example.org", HARD)]),
        entry(2, START, &[("bob@example.com", SOFT)]),
        entry(3, START + DAY, &[("eve@example.com", BLOCKED), ("dan@example.com", SOFT)]),
        complaint(4, START + DAY, &["carl@example.org"]),
    ];
    for judged in &mut batch[1..3] {
        judged.report.recipients.iter_mut().for_each(|one| one.remote_mta = Some("mx.big.example".into()));
    }
    f.commit(&batch).await;
    f
}

async fn figures(f: &Fixture, by: FiguresBy, since: i64, limit: u32) -> FiguresTable {
    f.store.figures(by, since, limit).await.unwrap()
}

fn named(table: &FiguresTable) -> Vec<(&str, [u64; 6])> {
    table.rows.iter().map(|row| (row.name.as_str(), numbers(row.figures))).collect()
}

fn numbers(figures: Figures) -> [u64; 6] {
    let Figures { sent, delivered, hard, soft, blocked, complaints } = figures;
    [sent, delivered, hard, soft, blocked, complaints]
}

#[tokio::test]
async fn figures_are_those_counted_by_hand() {
    let f = filled().await;
    let first = START - START % DAY;
    let day = |n: i64| jiff::Timestamp::from_second(START + n * DAY).unwrap().to_string()[..10].to_owned();
    let by_day = figures(&f, FiguresBy::Day, first, 10).await;
    assert_eq!(named(&by_day), [(day(1).as_str(), [1, 0, 0, 1, 1, 1]), (day(0).as_str(), [3, 2, 1, 1, 0, 0])]);
    assert_eq!((numbers(by_day.total), by_day.left_out), ([4, 2, 1, 2, 1, 1], 0));
    let by_domain = figures(&f, FiguresBy::Domain, first, 10).await;
    let of_com = [2, 1, 0, 2, 1, 0];
    assert_eq!(named(&by_domain), [("example.com", of_com), ("example.org", [2, 1, 1, 0, 0, 1])]);
    let by_provider = figures(&f, FiguresBy::Provider, first, 10).await;
    let refused_elsewhere = ("server1.example", [0, 0, 1, 0, 0, 0]);
    assert_eq!(named(&by_provider), [("big.example", of_com), ("example.org", [2, 1, 0, 0, 0, 1]), refused_elsewhere]);
    assert_eq!(by_provider.total, by_day.total);
    let by_campaign = figures(&f, FiguresBy::Campaign, first, 10).await;
    assert_eq!(
        named(&by_campaign),
        [("campaign-1", [2, 1, 1, 0, 0, 1]), ("campaign-0", [1, 0, 0, 1, 1, 0]), ("campaign-2", [1, 1, 0, 1, 0, 0]),]
    );
    for (by, limit) in [(FiguresBy::Domain, 1), (FiguresBy::Provider, 2)] {
        let cut = figures(&f, by, first, limit).await;
        assert_eq!((cut.rows.len(), cut.left_out), (limit as usize, 1));
        assert_eq!(cut.total, by_day.total, "what is left out counts");
    }
    assert_eq!(named(&figures(&f, FiguresBy::Day, first + DAY, 10).await).len(), 1);
    assert_eq!(figures(&f, FiguresBy::Day, first + 9 * DAY, 10).await, FiguresTable::default());
}

#[tokio::test]
async fn what_the_sender_or_the_message_is_to_blame_for_is_blocked_and_stays_so_when_it_is_counted_anew() {
    let f = Fixture::new().await;
    let to_blame = |class, fault| Judgement { class, reason: Reason::Spam, fault };
    let judged = [
        (to_blame(Class::Hard, Fault::Content), [0, 0, 1]),
        (to_blame(Class::Soft, Fault::Sender), [0, 0, 2]),
        (to_blame(Class::Hard, Fault::Unknown), [1, 0, 2]),
        (to_blame(Class::Soft, Fault::Network), [1, 1, 2]),
    ];
    let total = async || {
        let total = figures(&f, FiguresBy::Day, 0, 10).await.total;
        [total.hard, total.soft, total.blocked]
    };
    for (uid, (judgement, expected)) in (1..).zip(judged) {
        f.commit(&[entry(uid, START, &[("ann@example.org", judgement)])]).await;
        assert_eq!(total().await, expected, "{judgement:?}");
    }
    f.execute(include_str!("../../scripts/recount.sql")).await;
    assert_eq!(total().await, [1, 1, 2]);
}

#[tokio::test]
async fn views_for_people_have_the_same_figures() {
    let f = filled().await;
    type Row = (i64, i64, i64, i64, i64, i64);
    let of = |view: &str, name: &str| {
        format!("SELECT sent, delivered, hard, soft, blocked, complaints FROM {view} ORDER BY {name}")
    };
    let rows: Vec<Row> = f.rows_of(&of("figures_by_day", "at")).await;
    assert_eq!(rows, [(3, 2, 1, 1, 0, 0), (1, 0, 0, 1, 1, 1)]);
    let rows: Vec<Row> = f.rows_of(&of("figures_by_domain", "domain")).await;
    assert_eq!(rows, [(2, 1, 0, 2, 1, 0), (2, 1, 1, 0, 0, 1)]);
    let rows: Vec<Row> = f.rows_of(&of("figures_by_campaign", "campaign")).await;
    assert_eq!(rows, [(1, 0, 0, 1, 1, 0), (2, 1, 1, 0, 0, 1), (1, 1, 0, 1, 0, 0)]);
    let rows: Vec<Row> = f.rows_of(&of("figures_by_provider", "provider")).await;
    assert_eq!(rows, [(2, 1, 0, 2, 1, 0), (2, 1, 0, 0, 0, 1), (0, 0, 1, 0, 0, 0)]);
    let times: Vec<(i64,)> = f.rows("SELECT at FROM figures_by_day ORDER BY at").await;
    assert_eq!(times[0].0, START - START % DAY);
}

#[tokio::test]
async fn a_failure_of_which_another_report_has_told_is_counted_once() {
    let f = Fixture::new().await;
    f.store.vouch_from(START - 1).await.unwrap();
    let of_one_message = |uid, format: &str, trust| {
        let mut one = entry(uid, START, &[("ann@example.org", HARD)]);
        one.report.original.message_id = Some("sent@example.org".into());
        one.report.format = format.to_owned().into();
        let address = one.report.recipients[0].address.clone().unwrap();
        one.trusts.raise(&address, trust);
        one
    };
    let policy = Policy::default().vouching_since(Some(START - 1)).into_owned();
    let told = [("rfc3464", Trust::Unverified, 1), ("postfix-log", Trust::Verified, 1), ("rfc3464", Trust::Matched, 1)];
    for (uid, (format, trust, expected)) in (1..).zip(told) {
        f.store.commit(MAILBOX, &[of_one_message(uid, format, trust)], &Reading::default(), &policy).await.unwrap();
        let total = figures(&f, FiguresBy::Day, 0, 10).await.total;
        assert_eq!(total.hard, expected, "what nobody believes keeps nothing else from being counted");
        assert_eq!(f.value::<i64>("SELECT sum(bounces) FROM bounces_by_day").await.unsigned_abs(), expected);
    }
    f.execute("DELETE FROM bounce WHERE id = 3").await;
    assert_eq!(figures(&f, FiguresBy::Day, 0, 10).await.total.hard, 1, "it was in no figure");
}

/// A report that anybody may have written and one that is believed tell of the same failure: of the two the latter
/// counts, on the list, in figures and in the views.
#[tokio::test]
async fn what_a_stranger_said_first_keeps_nothing_from_being_counted_and_counts_nothing_twice() {
    for stranger_first in [true, false] {
        for at_once in [true, false] {
            let f = Fixture::new().await;
            f.store.vouch_from(START).await.unwrap();
            let mut batch = [1, 2].map(|uid| entry(uid, START, &[("ann@example.org", SOFT)]));
            batch[1].report.original.message_id = batch[0].report.original.message_id.clone();
            batch[usize::from(stranger_first)].trusts = Trusts::in_everything(Trust::Local);
            if at_once {
                f.commit(&batch).await;
            } else {
                for one in batch {
                    f.commit(&[one]).await;
                }
            }
            let counts: Vec<(String, bool, bool)> =
                f.rows("SELECT trust, counts, told_before FROM bounce ORDER BY trust").await;
            let expected = [("local".to_owned(), true, false), ("unverified".to_owned(), false, true)];
            assert_eq!(counts, expected, "{stranger_first} {at_once}");
            let total = figures(&f, FiguresBy::Day, 0, 10).await.total;
            assert_eq!(total.soft, 1, "{stranger_first} {at_once}");
            assert_eq!(
                f.value::<i64>("SELECT sum(bounces) FROM bounces_by_day").await,
                1,
                "{stranger_first} {at_once}"
            );
        }
    }
}

fn name(kind: AlarmKind, about: &str) -> AlarmName {
    AlarmName { kind, about: about.to_owned() }
}

#[tokio::test]
async fn an_alarm_is_raised_once_and_cleared_once() {
    let f = Fixture::new().await;
    let one = name(AlarmKind::Burst, "gmail.com");
    let raise = AlarmChanges {
        raised: vec![NewAlarm { name: one.clone(), words: "many wait".into() }],
        ..AlarmChanges::default()
    };
    let clear = AlarmChanges { cleared: vec![one.clone()], ..AlarmChanges::default() };
    let change = async |changes: &AlarmChanges, at| f.store.change_alarms(changes, at).await.unwrap();
    let nothing = AlarmChanges::default();
    assert_eq!(change(&clear, 9).await, nothing);
    assert_eq!(change(&raise, 10).await, raise);
    assert_eq!(change(&raise, 11).await, nothing);
    let open = f.store.alarms(i64::MAX).await.unwrap();
    assert_eq!((open.len(), &open[0].name, open[0].raised, open[0].cleared), (1, &one, 10, None));
    assert_eq!(change(&clear, 20).await, clear);
    assert_eq!(change(&clear, 21).await, nothing);
    assert!(f.store.alarms(21).await.unwrap().is_empty());
    assert_eq!(f.store.alarms(20).await.unwrap()[0].cleared, Some(20));
    assert_eq!(change(&raise, 30).await, raise, "it begins anew");
    let all = f.store.alarms(0).await.unwrap();
    assert_eq!(all.iter().map(|alarm| alarm.raised).collect::<Vec<_>>(), [30, 10], "those that last first");
    let events = f.store.events_after(0, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.alarm, event.at)).collect();
    let (raised, cleared) = (EventKind::AlarmRaised, EventKind::AlarmCleared);
    let [second, first] = [0, 1].map(|n: usize| Some(all[n].id));
    assert_eq!(told, [(raised, first, 10), (cleared, first, 20), (raised, second, 30)]);
}

#[tokio::test]
async fn an_alarm_changes_no_list() {
    let f = filled().await;
    let newest = f.store.newest_revision().await.unwrap();
    let alarm = NewAlarm { name: name(AlarmKind::Silent, MAILBOX), words: "nothing".into() };
    f.store.change_alarms(&AlarmChanges { raised: vec![alarm], ..AlarmChanges::default() }, START).await.unwrap();
    assert!(!f.store.list_changed_since(newest).await.unwrap());
    assert_eq!(f.store.first_change_since(newest).await.unwrap(), None);
    let changes = f.store.changes_after(newest, 10).await.unwrap();
    assert_eq!((changes.events, changes.revision, changes.is_unnamed), (1, newest + 1, false));
    assert!(changes.addresses.is_empty());
}

#[tokio::test]
async fn what_alarms_go_by_is_counted() {
    let f = filled().await;
    let now = START + DAY + 60;
    let doubted = f.store.alarm_facts(&Policy::default(), &[], now).await.unwrap();
    assert_eq!(doubted.own_faults.len(), 0, "anybody may have written it");
    f.execute("UPDATE bounce SET trust = 'local'").await;
    let facts = f.store.alarm_facts(&Policy::default(), &[MAILBOX.to_owned(), "new".to_owned()], now).await.unwrap();
    let faults: Vec<_> = facts
        .own_faults
        .iter()
        .map(|fault| (fault.provider.as_str(), fault.reason.as_str(), fault.within_day, fault.before, fault.last))
        .collect();
    assert_eq!(faults, [("big.example", "blocked", 1, 0, START + DAY)]);
    assert_eq!((facts.sent, facts.hard), (1, 0), "the rest is more than a day old");
    let silent = |name: &str, last| Telling { name: name.to_owned(), last, ..Telling::default() };
    assert_eq!(facts.tellings, [silent(MAILBOX, Some(START + DAY)), silent("new", None)]);
    let later = f.store.alarm_facts(&Policy::default(), &[MAILBOX.to_owned()], now + 5 * DAY).await.unwrap();
    let telling = &later.tellings[0];
    assert_eq!((telling.messages, telling.longest), (4, DAY));
    assert_eq!((later.own_faults[0].within_day, later.own_faults[0].before), (0, 1));
}

#[tokio::test]
async fn who_waits_for_a_remote_that_errs_is_counted() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (0..250)
        .map(|n| {
            let mut one = entry(n, START, &[(&format!("a{n}@example.org"), HARD)]);
            one.report.recipients[0].remote_mta = Some("mx.big.example".into());
            one
        })
        .collect();
    f.store.commit(MAILBOX, &batch, &Reading::default(), &Policy::default()).await.unwrap();
    let facts = f.store.alarm_facts(&Policy::default(), &[], START).await.unwrap();
    assert_eq!(facts.outages, [("big.example".to_owned(), 250)]);
}

#[tokio::test]
async fn the_command_tells_rates_where_enough_was_sent_and_alarms_first() {
    let f = filled().await;
    let many: Vec<_> = (10..110).map(|n| sent(n, "joe@many.example", START, "many.example", true)).collect();
    f.store.record_sent(&many, START).await.unwrap();
    f.commit(&[entry(5, START, &[("joe@many.example", HARD), ("jim@many.example", HARD)])]).await;
    let alarm = NewAlarm { name: name(AlarmKind::HardRate, "warning"), words: "too many".into() };
    f.store.change_alarms(&AlarmChanges { raised: vec![alarm], ..AlarmChanges::default() }, START).await.unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
        command.args(["--config", "/dev/null"]).args(arguments).env("BOUNCED__DATABASE__PATH", f.database());
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["report", "--since", "2026-01-01", "--by", "domain"]);
    let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], "ALARM hard_rate: too many (since 2026-01-01T00:00:00Z)");
    assert_eq!(lines[1], "domain sent delivered hard soft blocked complaints");
    assert_eq!(lines[2], "many.example 100 100 2 2.00 % 0 0.00 % 0 0.00 % 0 0.00 %");
    assert_eq!(lines[3], "example.com 2 1 0 - 2 - 1 - 0 -");
    assert_eq!(lines.last().unwrap(), "all 104 102 3 2.88 % 2 1.92 % 1 0.96 % 1 0.96 %");
    let json: serde_json::Value =
        serde_json::from_str(&run(&["report", "--since", "2026-01-01", "--by", "domain", "--json"])).unwrap();
    assert_eq!(json["lines"][0]["hard_rate"], 0.02);
    assert_eq!((&json["lines"][1]["sent"], &json["lines"][1]["hard_rate"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!((&json["alarms"][0]["alarm"], &json["alarms"][0]["cleared"]), (&"hard_rate".into(), &().into()));
    assert!(run(&["status"]).contains("ALARM  hard_rate: too many"));
    assert_eq!(run(&["report", "--since", "2026-01-01T12:00:00Z", "--by", "domain"]), text, "a day is told as a whole");
}
