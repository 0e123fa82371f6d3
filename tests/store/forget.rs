//! Whoever is forgotten leaves no name behind, and is known all the same.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bounced::{
    app::{self, Forgetting, List},
    clock::Moment,
    config::Config,
    report::Address,
    store::{By, Erased, Forgotten, LogReading, StoreError, WithoutNote},
    suppression::{Origin, Suppression},
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::fixture::{DAY, Fixture, HARD, SOFT, START, complaint, entry};

const NOW: i64 = START + 100 * DAY;

fn by() -> By<'static> {
    By::new("tester", NOW)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn ann() -> Address {
    address("ann@example.org")
}

fn config(f: &Fixture) -> Config {
    let mut config = Config::default();
    config.database.path = f.database();
    config.suppressions.path = f.path("suppressions.db");
    config
}

/// A dump of all tables: what nobody finds here, nobody is told.
async fn dump(f: &Fixture) -> String {
    let mut all = String::new();
    for table in [
        "message",
        "bounce",
        "complaint",
        "suppression",
        "held",
        "allowed",
        "alive",
        "event",
        "total_by_domain",
        "cursor",
        "mail_log_queue",
        "forgetting",
    ] {
        let columns: Vec<(String,)> = f
            .rows_of(&format!("SELECT name FROM pragma_table_info('{table}') WHERE type IN ('TEXT', 'INTEGER')"))
            .await;
        let columns: Vec<String> = columns.into_iter().map(|(name,)| format!("'{name}', {name}")).collect();
        let rows: Vec<(String,)> = f.rows_of(&format!("SELECT json_object({}) FROM {table}", columns.join(", "))).await;
        rows.iter().for_each(|(row,)| all.push_str(&format!("{table} {row}\n")));
    }
    all
}

fn lines<'a>(dump: &'a str, what: &str) -> Vec<&'a str> {
    dump.lines().filter(|line| line.contains(what)).collect()
}

async fn forget(f: &Fixture, addresses: &[Address]) -> (Vec<Erased>, u64) {
    let list = List::open_existing(&config(f)).await.unwrap();
    let (persons, texts) = list.forget(addresses, &by(), &|_| {}).await.unwrap();
    list.close().await;
    (persons.into_iter().map(|person| person.erased).collect(), texts)
}

#[tokio::test]
async fn what_waits_in_a_mail_servers_queue_loses_the_address_and_does_not_get_it_back() {
    let f = Fixture::new().await;
    let waiting = |who: &str| format!(r#"{{"recipient":"{who}","outbound":true}}"#);
    let message = format!(
        r#"{{"since":5,"sender":"news@example.net","deferred":{{"ann@example.org":{},"bob@example.org":{}}}}}"#,
        waiting("Ann@Example.org"),
        waiting("bob@example.org")
    );
    let reading = |cursor: &str| LogReading {
        cursor: cursor.to_owned(),
        queue: vec![("A1".to_owned(), Some(message.clone())), ("B2".to_owned(), Some("{}".to_owned()))],
        ..LogReading::default()
    };
    f.store.vouch_from(NOW).await.unwrap();
    f.store.commit_log("mx", &reading("7")).await.unwrap();
    let queue = async || f.rows_of::<(String,)>("SELECT message FROM mail_log_queue ORDER BY queue_id").await;
    assert_eq!(queue().await, [(message.clone(),), ("{}".to_owned(),)]);
    assert_eq!(forget(&f, &[ann()]).await.1, 1, "a text of another row");
    let without = queue().await;
    assert!(!without[0].0.to_lowercase().contains("ann@"), "{without:?}");
    assert!(["bob@example.org", "news@example.net"].iter().all(|left| without[0].0.contains(left)), "{without:?}");
    // Whoever reads the log remembers, and writes it again.
    f.store.commit_log("mx", &reading("9")).await.unwrap();
    assert_eq!(queue().await, without);
    let (cursor, queue) = f.store.log_resume("mx").await.unwrap().unwrap();
    assert_eq!((cursor.as_str(), queue.len()), ("9", 2));
}

#[tokio::test]
async fn rows_events_and_totals_lose_the_address() {
    let f = Fixture::new().await;
    // On the list twice over, taken off, allowed, and on it again; each is an event that leads to the one before.
    f.commit(&[
        entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD)]),
        complaint(2, START, &["ann@example.org"]),
    ])
    .await;
    f.store.suppress(&[ann()], &By { note: Some("on the phone"), ..by() }).await.unwrap();
    f.store.allow(&[ann()], &by()).await.unwrap();
    f.store.disallow(&[ann()], &by()).await.unwrap();
    f.store.suppress(&[ann()], &by()).await.unwrap();
    f.commit(&[entry(3, START + DAY, &[("ann@example.org", SOFT)])]).await;
    let (of_ann, of_bob) = (
        f.value::<i64>("SELECT count(*) FROM event WHERE address = 'ann@example.org'").await,
        lines(&dump(&f).await, "bob@example.org").len(),
    );
    assert!(of_ann >= 6, "{}", dump(&f).await);

    let (erased, _) = forget(&f, &[ann(), address("nobody@example.net")]).await;
    assert_eq!(erased[1], Erased::default());
    // With the one that took it off the list.
    assert_eq!(erased[0], Erased { bounces: 2, complaints: 1, events: of_ann as u64 + 1 });
    let left = dump(&f).await;
    assert_eq!(lines(&left, "ann@"), [""; 0]);
    assert_eq!(lines(&left, "bob@example.org").len(), of_bob, "{left}");
    assert_eq!(lines(&left, "on the phone"), [""; 0]);
    assert_eq!(f.value::<i64>("SELECT bounces FROM total_by_domain").await, 1);
    let events = "SELECT count(*) FROM event WHERE kind = 'forgotten' AND actor IS NOT NULL AND recorded IS NOT NULL";
    assert_eq!(f.value::<i64>(events).await, of_ann + 1 + 2);
    for (who, expected) in [
        ("ann@example.org", Some(Forgotten { at: NOW, suppressed: true })),
        ("nobody@example.net", Some(Forgotten { at: NOW, suppressed: false })),
        ("bob@example.org", None),
    ] {
        assert_eq!(f.store.forgotten(&address(who)).await.unwrap(), expected, "{who}");
    }
}

/// A remote may be a domain of one person's own: then its name goes, and that of a domain of others stays.
#[tokio::test]
async fn the_hours_of_a_remote_that_is_her_own_domain_are_gone() {
    let f = Fixture::new().await;
    let all = ["ann@ann.example", "ann@example.org", "bob@sub.example.org", "eve@mail.eve.example"];
    let mut message = entry(1, START, &all.map(|name| (name, HARD)));
    message.report.recipients.iter_mut().for_each(|recipient| recipient.remote_mta = None);
    f.commit(&[message]).await;
    f.execute(
        "INSERT INTO alarm (kind, about, words, raised) VALUES ('burst', 'ann.example', 'ann.example', 1),
         ('own_fault', 'ann.example blocked', 'ann.example', 1), ('own_fault', 'example.org blocked', 'example.org', 1),
         ('silent', 'ann.example.box', 'a mailbox', 1)",
    )
    .await;
    let remotes = "SELECT remote FROM dead_by_hour WHERE remote <> '' ORDER BY remote";
    let left = async || f.rows::<(String,)>(remotes).await.into_iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(left().await, ["ann.example", "eve.example", "example.org"]);
    // He is on no list any more, and his bounce is known.
    f.store.release(&[address("bob@sub.example.org")], &by()).await.unwrap();
    forget(&f, &[address("ann@ann.example"), ann(), address("eve@mail.eve.example")]).await;
    assert_eq!(left().await, ["example.org"], "bob is at a domain of that organisation");
    let alarms: Vec<(String,)> = f.rows("SELECT about FROM alarm ORDER BY about").await;
    assert_eq!(alarms.into_iter().map(|row| row.0).collect::<Vec<_>>(), ["ann.example.box", "example.org blocked"]);
    forget(&f, &[address("bob@sub.example.org")]).await;
    assert_eq!(left().await, [""; 0]);
}

#[tokio::test]
async fn texts_of_others_lose_the_address_and_keep_what_is_not_hers() {
    let f = Fixture::new().await;
    let mut others = entry(1, START, &[("bob@example.org", HARD), ("joann@example.org", HARD)]);
    let said = &mut others.report.recipients[0];
    said.diagnostic = Some("550 no such user ANN@Example.org here".into());
    others.report.message_id = Some("bounce-ann=example.org-17@lists.example".to_owned());
    f.commit(&[others, complaint(2, START, &["joann@example.org"])]).await;
    f.store
        .suppress(&[address("eve@example.org")], &By { note: Some("sister of ann@example.org."), ..by() })
        .await
        .unwrap();
    f.execute(
        "UPDATE complaint SET words = 'To: Ann <ann@example.org>, joann@example.org';
         UPDATE bounce SET forwarded_to = 'ann@example.org', campaign = 'for ann@example.org' WHERE position = 1",
    )
    .await;
    let (_, texts) = forget(&f, &[ann()]).await;
    // A diagnostic and its copy on the list, a Message-ID, a complaint, a note and its event, a mailbox, a campaign.
    assert_eq!(texts, 8, "{}", dump(&f).await);
    let judged_again = "SELECT group_concat(address, ' ') FROM bounce WHERE evidence IS NOT NULL";
    assert_eq!(
        f.rows::<(Option<String>,)>(judged_again).await,
        [(None,)],
        "a part of what was said gives another verdict"
    );
    let left = dump(&f).await.to_lowercase().replace("joann@", "").replace("joann=", "");
    assert!(!left.contains("ann@") && !left.contains("ann="), "{left}");
    let joann = f.value::<String>("SELECT diagnostic FROM bounce WHERE address = 'joann@example.org'").await;
    assert!(joann.contains("<joann@example.org>"), "{joann}");
    assert_eq!(f.value::<i64>("SELECT count(*) FROM total_by_campaign WHERE campaign LIKE '%ann%'").await, 0);
}

#[tokio::test]
async fn what_comes_of_the_forgotten_is_recorded_without_them() {
    let f = Fixture::new().await;
    forget(&f, &[ann(), address("bob@xn--bcher-kva.example")]).await;
    let mut both = entry(1, START, &[("Ann@example.org", HARD), ("eve@example.org", HARD)]);
    both.report.recipients[1].diagnostic = Some("550 5.1.1 forwarded to bob@Bücher.example: unknown".into());
    let mut given = entry(2, START, &[("zoe@example.org", HARD)]);
    given.report.recipients[0].address = None;
    given.report.recipients[0].final_recipient = Some("rfc822; ann@example.org".to_owned());
    let committed = f.commit(&[both, given, complaint(3, START, &["ann@example.org", "max@example.org"])]).await;
    let suppressed: Vec<_> = committed.suppressed.iter().map(|one| one.address.as_str()).collect();
    assert!(!suppressed.contains(&"ann@example.org") && suppressed.contains(&"eve@example.org"), "{suppressed:?}");
    let left = dump(&f).await.to_lowercase();
    assert!(!left.contains("ann@") && !left.contains("bob@"), "{left}");
    assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 3);
    assert_eq!(f.value::<i64>("SELECT count(*) FROM complaint").await, 1);
    let whose = "SELECT group_concat(coalesce(address, '?') || (diagnostic IS NULL) || (words IS NULL)) FROM bounce";
    assert_eq!(f.value::<String>(whose).await, "?11,eve@example.org11,?11");
    assert_eq!(
        f.value::<i64>("SELECT count(*) FROM bounce WHERE evidence IS NOT NULL").await,
        0,
        "none can be judged again"
    );

    for refused in [f.store.suppress(&[ann()], &by()).await.map(drop), f.store.allow(&[ann()], &by()).await.map(drop)] {
        let Err(StoreError::Refused(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("forget --undo ann@example.org"), "{why}");
    }
    let import = async |is_dry: bool| {
        let mut importing = f.store.import().await.unwrap();
        let entries = ["ann@example.org", "kim@example.org"].map(|address| Suppression {
            address: address.to_owned(),
            origin: Origin::Import,
            reason: None,
            rule: None,
            policy: None,
            diagnostic: None,
            since: NOW,
            expires: None,
            note: None,
            causes: Vec::new(),
        });
        importing.add(&entries).await.unwrap();
        let imported =
            if is_dry { importing.compare().await } else { importing.finish(&by(), WithoutNote::Stays).await }.unwrap();
        (imported.new, imported.forgotten)
    };
    assert_eq!((import(true).await, import(false).await), ((1, 1), (1, 1)));
    assert!(!dump(&f).await.contains("ann@"));

    assert_eq!(f.store.recall(&[ann(), address("eve@example.org")]).await.unwrap(), [true, false]);
    f.store.suppress(&[ann()], &by()).await.unwrap();
}

#[tokio::test]
async fn a_list_that_was_put_back_from_a_copy_does_not_name_them_again() {
    let f = Fixture::new().await;
    f.store.suppress(&[ann(), address("bob@example.org")], &by()).await.unwrap();
    let list = List::open(&config(&f)).await.unwrap();
    list.suppress(&[address("eve@example.org")], &by()).await.unwrap();
    let published = f.path("suppressions.db");
    let cdb = f.path("suppressions.cdb");
    let beside = |file: &Path, ending: &str| PathBuf::from(format!("{}{ending}", file.display()));
    for file in [&published, &cdb] {
        fs::copy(file, beside(file, ".copy")).unwrap();
        fs::copy(file, beside(file, ".damaged")).unwrap();
    }
    list.forget(&[ann()], &by(), &|_| {}).await.unwrap();
    for file in [&published, &cdb] {
        fs::rename(beside(file, ".copy"), file).unwrap();
        assert!(!beside(file, ".damaged").exists());
    }
    list.suppress(&[address("max@example.org")], &by()).await.unwrap();
    list.close().await;
    let emails = "SELECT group_concat(email, ' ') FROM (SELECT email FROM suppression ORDER BY email)";
    assert_eq!(
        f.value_of::<String>("suppressions.db", emails).await,
        "bob@example.org eve@example.org max@example.org"
    );
    let octets = fs::read(cdb).unwrap();
    assert!(!octets.windows(4).any(|window| window == b"ann@") && octets.windows(4).any(|window| window == b"max@"));
}

#[tokio::test]
async fn the_published_file_keeps_no_trace_of_those_who_left_it_long_ago() {
    let f = Fixture::new().await;
    let list = List::open(&config(&f)).await.unwrap();
    list.suppress(&[address("bob@example.org")], &by()).await.unwrap();
    // As whoever edits it leaves it.
    let options = SqliteConnectOptions::new().filename(f.path("suppressions.db"));
    let mut file = SqliteConnection::connect_with(&options).await.unwrap();
    let came_and_went = "INSERT INTO suppression VALUES ('ann@example.org', 'hard', 'user_unknown', 1);
                         DELETE FROM suppression WHERE email = 'ann@example.org'";
    sqlx::raw_sql(came_and_went).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    let is_named = || fs::read(f.path("suppressions.db")).unwrap().windows(4).any(|window| window == b"ann@");
    assert!(is_named(), "there is something to be erased");
    list.forget(&[ann()], &by(), &|_| {}).await.unwrap();
    list.close().await;
    assert!(!is_named());
    assert_eq!(f.value_of::<String>("suppressions.db", "SELECT email FROM suppression").await, "bob@example.org");
}

#[tokio::test]
async fn what_was_killed_midway_is_told_and_finished() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD)])]).await;
    f.execute("UPDATE bounce SET campaign = 'for ann@example.org'").await;
    // As far as one comes who is killed then.
    f.store.forget(&[ann()], &by()).await.unwrap();
    assert_eq!(f.store.begun_to_forget().await.unwrap(), [ann()]);
    let now = Moment { wall: NOW, uptime: 1 };
    let status = async || app::status(&config(&f), Duration::from_secs(900), now).await.unwrap().unforgotten;
    let told = status().await;
    assert!(told.len() == 1 && told[0].forget == Forgetting::Unfinished, "{told:?}");
    assert!(told[0].failure.contains("forget --finish"), "{told:?}");

    // The next one does that as well, whomever it is about.
    let (erased, _) = forget(&f, &[address("eve@example.org")]).await;
    assert_eq!((erased.len(), erased[1].bounces), (2, 1));
    assert_eq!(lines(&dump(&f).await, "ann@"), [""; 0]);
    assert_eq!((status().await, f.store.begun_to_forget().await.unwrap()), (Vec::new(), Vec::new()));
    assert_eq!(forget(&f, &[]).await, (Vec::new(), 0));
    let octets = fs::read(f.database()).unwrap();
    assert!(!octets.windows(4).any(|window| window == b"ann@"), "nor is the note to be found");

    let key = PathBuf::from(format!("{}.key", f.database().display()));
    fs::remove_file(key).unwrap();
    let told = status().await;
    assert!(told.len() == 1 && told[0].forget == Forgetting::Key, "{told:?}");
}

#[tokio::test]
async fn capitals_quotes_and_the_forms_of_programs_hide_nobody() {
    let f = Fixture::new().await;
    let texts = [
        "550 <\u{dc}NAL@Example.net> unknown",
        "550 \"Anna B\"@example.net unknown",
        "SRS0=ab12=TW=example.net=Bert@forward.example",
        "bounces+Bert=example.net@lists.example",
    ];
    let rcpts: Vec<_> = ["a@x.example", "b@x.example", "c@x.example", "d@x.example"].map(|one| (one, HARD)).into();
    let mut mail = entry(1, START, &rcpts);
    for (recipient, text) in mail.report.recipients.iter_mut().zip(texts) {
        recipient.diagnostic = Some(text.into());
    }
    f.commit(&[mail]).await;
    let left = "SELECT count(*) FROM bounce WHERE diagnostic IS NOT NULL";
    assert_eq!(f.value::<i64>(left).await, 4);
    forget(&f, &["\u{fc}nal@example.net", "\"anna b\"@example.net", "bert@example.net"].map(address)).await;
    assert_eq!(f.value::<i64>(left).await, 0, "{}", dump(&f).await);
}
