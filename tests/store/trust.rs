//! Who is believed: what strangers write waits once it can be known what we sent, and what matches that does not.

use bounced::{
    app::{HandedOver, Judge, Outdated, Witnesses, erase_outdated},
    config::{Config, Retention},
    message::Reading,
    policy::{Demand, Demands, Policy},
    report::{Action, Address, Evidence, Finding, Kind, Trust, Trusts},
    store::{Committed, HeldAnswer, HeldSelection, JudgedMessage, LogReading, Sent},
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, by, complaint, entry};

const ANN: &str = "ann@example.org";
const BOB: &str = "bob@example.net";

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn sent(message_id: &str, recipient: &str, at: i64) -> Sent {
    Sent {
        at,
        message_id: Some(message_id.to_owned()),
        recipient: address(recipient),
        provider: address(recipient).domain().to_owned(),
        campaign: None,
        is_delivered: false,
    }
}

/// As the daemon does it.
async fn record(f: &Fixture, batch: Vec<JudgedMessage>, demands: Demands) -> Committed {
    let policy = Policy { demands, ..Policy::default() };
    f.store.commit(MAILBOX, &batch, &Reading::default(), &policy).await.unwrap()
}

fn believed(mut one: JudgedMessage, trust: Trust) -> JudgedMessage {
    one.trusts = Trusts::in_everything(trust);
    one
}

/// A report of the message that has this Message-ID.
fn about(mut one: JudgedMessage, message_id: &str) -> JudgedMessage {
    one.report.original.message_id = Some(message_id.to_owned());
    one
}

async fn listed(f: &Fixture) -> Vec<String> {
    let rows: Vec<(String,)> = f.rows("SELECT address FROM suppression ORDER BY address").await;
    rows.into_iter().map(|(address,)| address).collect()
}

async fn waiting(f: &Fixture) -> Vec<(String, String)> {
    f.rows("SELECT address, why FROM held ORDER BY address").await
}

#[tokio::test]
async fn anybody_is_believed_until_it_can_be_known_what_we_sent() {
    let f = Fixture::new().await;
    record(&f, vec![entry(1, START, &[(ANN, HARD)])], Demands::default()).await;
    assert_eq!(listed(&f).await, [ANN]);
    f.store.vouch_from(START + DAY).await.unwrap();
    assert_eq!(f.store.vouch_from(START + 9 * DAY).await.unwrap(), START + DAY, "the first time counts");
    // Received before.
    record(&f, vec![entry(2, START + DAY - 1, &[("early@example.org", HARD)])], Demands::default()).await;
    let done = record(&f, vec![entry(3, START + DAY, &[(BOB, HARD)])], Demands::default()).await;
    assert_eq!((done.suppressed.len(), done.held), (0, 1));
    assert_eq!(listed(&f).await, [ANN, "early@example.org"]);
    assert_eq!(waiting(&f).await, [(BOB.to_owned(), "unverified".to_owned())]);
    let all: Vec<(String, String)> = f.rows("SELECT address, trust FROM bounce ORDER BY id").await;
    assert!(all.iter().all(|(_, trust)| trust == "unverified"));
}

#[tokio::test]
async fn a_forged_report_of_a_thousand_suppresses_none_and_a_person_may_still_say_yes() {
    let f = Fixture::new().await;
    f.store.record_sent(&[sent("real@news.example", ANN, START)], START).await.unwrap();
    let victims: Vec<String> = (0..1_000).map(|n| format!("victim{n}@example.org")).collect();
    let named: Vec<_> = victims.iter().map(|victim| (victim.as_str(), HARD)).collect();
    // It knows the Message-ID of a message that went to Ann.
    record(&f, vec![about(entry(1, START + 1, &named), "real@news.example")], Demands::default()).await;
    assert_eq!(listed(&f).await, [] as [&str; 0]);
    assert_eq!(waiting(&f).await.len(), 1_000);
    let selection =
        HeldSelection { addresses: Some(vec!["victim7@example.org".to_owned()]), ..HeldSelection::default() };
    f.store.answer_held(&selection, HeldAnswer::Approve, &by(START + 2)).await.unwrap();
    assert_eq!(listed(&f).await, ["victim7@example.org"]);
}

#[tokio::test]
async fn a_report_of_a_message_that_went_to_one_is_believed_of_him_alone() {
    let f = Fixture::new().await;
    let messages = [
        sent("to-ann@news.example", ANN, START),
        sent("to-both@news.example", ANN, START),
        sent("to-both@news.example", BOB, START),
    ];
    assert_eq!(f.store.record_sent(&messages, START).await.unwrap(), 3);
    assert_eq!(f.store.record_sent(&messages, START).await.unwrap(), 0, "known");
    let hard = |uid, to: &str, id: &str| about(entry(uid, START + 1, &[(to, HARD)]), id);
    record(&f, vec![hard(1, ANN, "to-both@news.example"), hard(2, BOB, "to-ann@news.example")], Demands::default())
        .await;
    assert_eq!(listed(&f).await, [] as [&str; 0]);
    record(&f, vec![hard(3, "Ann@Example.org", "to-ann@news.example")], Demands::default()).await;
    assert_eq!(listed(&f).await, [ANN], "she waited and is believed now");
    assert_eq!(waiting(&f).await, [(BOB.to_owned(), "unverified".to_owned())]);
    let trusts: Vec<(String,)> = f.rows("SELECT trust FROM bounce ORDER BY id").await;
    assert_eq!(trusts.iter().map(|(t,)| t.as_str()).collect::<Vec<_>>(), ["unverified", "unverified", "matched"]);
}

#[tokio::test]
async fn soft_bounces_that_anybody_may_have_written_do_not_count_with_those_that_are_believed() {
    let f = Fixture::new().await;
    f.store.vouch_from(START).await.unwrap();
    let soft = |n: u32, trust| believed(entry(n, START + 4 * i64::from(n) * DAY, &[(ANN, SOFT)]), trust);
    for n in 0..5 {
        let trust = if n == 2 { Trust::Unverified } else { Trust::Local };
        record(&f, vec![soft(n, trust)], Demands::default()).await;
    }
    assert_eq!(listed(&f).await, [] as [&str; 0], "four of five are believed");
    assert_eq!(waiting(&f).await, [(ANN.to_owned(), "unverified".to_owned())], "by all five she would be on it");
    record(&f, vec![soft(5, Trust::Local)], Demands::default()).await;
    assert_eq!(listed(&f).await, [ANN]);
}

#[tokio::test]
async fn complaints_and_signs_of_life_are_believed_no_sooner() {
    let f = Fixture::new().await;
    f.store.record_sent(&[sent("to-ann@news.example", ANN, START)], START).await.unwrap();
    record(&f, vec![complaint(1, START, &[BOB])], Demands::default()).await;
    assert_eq!((listed(&f).await, waiting(&f).await.len()), (Vec::new(), 1));
    record(&f, vec![about(complaint(2, START + 1, &[ANN]), "to-ann@news.example")], Demands::default()).await;
    assert_eq!(listed(&f).await, [ANN]);
    let reached = |uid, trust| {
        let mut one = believed(entry(uid, START + 2, &[(BOB, SOFT)]), trust);
        one.report.kind = Kind::Delivered;
        one.report.recipients[0].action = Action::Delivered;
        one
    };
    record(&f, vec![reached(3, Trust::Unverified)], Demands::default()).await;
    assert_eq!(waiting(&f).await.len(), 1, "anybody can say that he lives");
    let written = |uid, answers: &str| {
        let mut one = entry(uid, START + 3, &[]);
        one.report.kind = Kind::AutoReply;
        one.report.author = Some(Finding { value: address(ANN), evidence: Evidence::of_structure("From") });
        one.report.provenance.in_reply_to = Some(answers.to_owned());
        one
    };
    record(&f, vec![written(4, "other@news.example")], Demands::default()).await;
    assert_eq!(f.value::<i64>("SELECT count(*) FROM alive").await, 0);
    record(&f, vec![written(5, "to-ann@news.example"), reached(6, Trust::Local)], Demands::default()).await;
    let alive: Vec<(String,)> = f.rows("SELECT address FROM alive ORDER BY address").await;
    assert_eq!(alive, [(ANN.to_owned(),), (BOB.to_owned(),)]);
    assert_eq!(waiting(&f).await, [], "the complaint that anybody may have written is answered by the delivery");
}

#[tokio::test]
async fn what_waits_for_another_reason_is_not_replaced_by_what_a_stranger_writes() {
    let f = Fixture::new().await;
    f.store.vouch_from(START).await.unwrap();
    let crowd: Vec<String> = (0..51).map(|n| format!("user{n}@example.org")).collect();
    let named: Vec<_> = crowd.iter().map(|user| (user.as_str(), HARD)).collect();
    record(&f, vec![believed(entry(1, START, &named), Trust::Verified)], Demands::default()).await;
    assert_eq!(waiting(&f).await, [("user50@example.org".to_owned(), "flood".to_owned())]);
    record(&f, vec![entry(2, START + 1, &[("user50@example.org", HARD)])], Demands::default()).await;
    assert_eq!(waiting(&f).await, [("user50@example.org".to_owned(), "flood".to_owned())]);
}

#[tokio::test]
async fn a_mailbox_may_ask_for_more_and_from_a_day_on() {
    let f = Fixture::new().await;
    let strict = Demand { at_least: Some(Trust::Verified), since: Some(START + DAY) };
    let demands = Demands { mailboxes: [(MAILBOX.to_owned(), strict)].into(), ..Demands::default() };
    let hard = |uid, at, to: &str, trust| believed(entry(uid, at, &[(to, HARD)]), trust);
    let batch = vec![
        hard(1, START + DAY - 1, "before@example.org", Trust::Unverified),
        hard(2, START + DAY, "local@example.org", Trust::Local),
        hard(3, START + DAY, "matched@example.org", Trust::Matched),
        hard(4, START + DAY, "verified@example.org", Trust::Verified),
    ];
    record(&f, batch, demands).await;
    assert_eq!(listed(&f).await, ["before@example.org", "verified@example.org"]);
}

#[tokio::test]
async fn what_was_sent_too_long_ago_matches_nothing_any_more() {
    let f = Fixture::new().await;
    f.store
        .record_sent(&[sent("old@news.example", ANN, START), sent("new@news.example", BOB, START + DAY)], START)
        .await
        .unwrap();
    let erased = erase_outdated(&f.store, &Retention::default(), START + 30 * DAY + 1, &CancellationToken::new()).await;
    assert_eq!(erased.unwrap(), Outdated { sent: 1, ..Outdated::default() });
    let at = START + 30 * DAY + 1;
    let late = vec![
        about(entry(1, at, &[(ANN, HARD)]), "old@news.example"),
        about(entry(2, at, &[(BOB, HARD)]), "new@news.example"),
    ];
    record(&f, late, Demands::default()).await;
    assert_eq!(listed(&f).await, [BOB]);
    assert_eq!(f.value::<i64>("SELECT sum(sent) FROM sent_by_day").await, 2, "how much it was stays");
}

#[tokio::test]
async fn a_delivery_shows_no_life_where_mail_comes_back_after_it_was_taken() {
    let f = Fixture::new().await;
    f.store.vouch_from(START).await.unwrap();
    let soft = |uid: u32, day: i64| believed(entry(uid, START + day * DAY, &[(ANN, SOFT)]), Trust::Local);
    for n in 0..5 {
        let day = 4 * i64::from(n);
        f.store.note_delivered(&[(&address(ANN), START + day * DAY - 60)]).await.unwrap();
        record(&f, vec![soft(n + 1, day)], Demands::default()).await;
    }
    assert_eq!(listed(&f).await, [ANN], "it was taken each time, and came back each time");
    record(&f, vec![entry(9, START + 20 * DAY, &[(BOB, HARD)])], Demands::default()).await;
    f.store.note_delivered(&[(&address(BOB), START + 21 * DAY)]).await.unwrap();
    assert_eq!(waiting(&f).await, [(BOB.to_owned(), "unverified".to_owned())], "nor does it answer what waits");
}

#[tokio::test]
async fn what_was_put_off_and_is_delivered_later_is_sent_once_and_delivered_once() {
    let f = Fixture::new().await;
    let (off, delivered) =
        (sent("1@news.example", ANN, START), |one: &Sent| Sent { is_delivered: true, ..one.clone() });
    for rows in [vec![off.clone()], vec![off.clone(), delivered(&off), delivered(&off)], vec![delivered(&off), off]] {
        f.store.record_sent(&rows, START).await.unwrap();
    }
    let counted: Vec<(i64, i64)> = f.rows("SELECT sent, delivered FROM sent_by_day").await;
    assert_eq!(counted, [(1, 1)]);
}

#[tokio::test]
async fn what_was_sent_is_counted_by_day_once_and_kept_as_hashes_alone() {
    let f = Fixture::new().await;
    let delivered = |one: Sent| Sent { is_delivered: true, campaign: Some("may".to_owned()), ..one };
    let messages = [
        delivered(sent("1@news.example", ANN, START)),
        delivered(sent("2@news.example", ANN, START + DAY - 1)),
        delivered(sent("3@news.example", ANN, START + DAY)),
        sent("1@news.example", BOB, START),
        Sent { message_id: None, ..sent("", BOB, START) },
    ];
    f.store.vouch_from(START).await.unwrap();
    let reading = |cursor: &str, sent: &[Sent], queue: &[(&str, Option<&str>)]| LogReading {
        cursor: cursor.to_owned(),
        lines: 10,
        skipped: 1,
        read_at: START,
        told_at: None,
        queue: queue.iter().map(|(id, text)| ((*id).to_owned(), text.map(str::to_owned))).collect(),
        sent: sent.to_vec(),
        elsewhere: Vec::new(),
    };
    assert_eq!(f.store.log_resume("mail").await.unwrap(), None);
    f.store.commit_log("mail", &reading("7", &messages, &[("A1", Some("{}")), ("B2", Some("{}"))])).await.unwrap();
    let days: Vec<(i64, String, String, i64, i64)> =
        f.rows("SELECT day, domain, campaign, sent, delivered FROM sent_by_day ORDER BY day, domain, campaign").await;
    let row = |day, domain: &str, campaign: &str, sent, delivered| {
        (day, domain.to_owned(), campaign.to_owned(), sent, delivered)
    };
    let expected = [
        row(START, "example.net", "", 2, 0),
        row(START, "example.org", "may", 2, 2),
        row(START + DAY, "example.org", "may", 1, 1),
    ];
    assert_eq!(days, expected);
    // A list of what was sent that is read in beside the log.
    assert_eq!(f.store.record_sent(&messages[..4], START).await.unwrap(), 0);
    assert_eq!(f.value::<i64>("SELECT sum(sent) FROM sent_by_day").await, 5);
    f.store.commit_log("mail", &reading("9", &[], &[("A1", None), ("B2", Some("{\"a\":1}"))])).await.unwrap();
    let queue = vec![("B2".to_owned(), "{\"a\":1}".to_owned())];
    assert_eq!(f.store.log_resume("mail").await.unwrap(), Some(("9".to_owned(), queue)));
    let status = f.store.mail_logs().await.unwrap();
    assert_eq!((status[0].lines, status[0].skipped), (20, 2));
    let files = ["bounced.db", "bounced.db-wal"].map(|name| std::fs::read(f.path(name)).unwrap());
    let file = files.concat();
    let holds = |needle: &str| file.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(!holds("1@news.example") && !holds(ANN) && holds("example.org"));
}

#[tokio::test]
async fn the_same_failure_in_the_mailbox_and_in_the_mail_log_counts_once_whichever_comes_first() {
    for log_first in [true, false] {
        for (judgement, mail_trust, counted) in
            [(HARD, Trust::Local, 1), (SOFT, Trust::Local, 1), (HARD, Trust::Unverified, 1)]
        {
            let f = Fixture::new().await;
            f.store.vouch_from(START).await.unwrap();
            let mail = believed(about(entry(1, START + DAY, &[(ANN, judgement)]), "m1@ours"), mail_trust);
            let mut log = believed(about(entry(2, START + DAY + 9, &[(ANN, judgement)]), "m1@ours"), Trust::Verified);
            log.report.format = "postfix-log".into();
            for one in if log_first { [log, mail] } else { [mail, log] } {
                record(&f, vec![one], Demands::default()).await;
            }
            let which = format!("{judgement:?} {mail_trust} {log_first}");
            assert_eq!(f.value::<i64>("SELECT count(*) FROM bounce").await, 2, "both are on record: {which}");
            assert_eq!(f.value::<i64>("SELECT sum(counts) FROM bounce").await, counted, "{which}");
            let expected: &[&str] = if judgement == HARD { &[ANN] } else { &[] };
            assert_eq!(listed(&f).await, expected, "{which}");
            let other = about(entry(3, START + 2 * DAY, &[(ANN, judgement)]), "m2@ours");
            record(&f, vec![believed(other, Trust::Local)], Demands::default()).await;
            let more = f.value::<i64>("SELECT sum(counts) FROM bounce").await - counted;
            assert_eq!(more, 1, "of another message it is another failure: {which}");
        }
    }
}

#[tokio::test]
async fn a_file_of_what_was_sent_says_what_is_wrong_with_its_rows_and_the_first_one_that_doubts_begin() {
    let f = Fixture::new().await;
    let (file, message) = (f.path("sent.csv"), "time,message_id,recipient\n2026-01-01T00:00:00Z,");
    let rows = format!("{message}<1@ours>,ann@example.org\n1767225600,<>,bob@example.org\n1767225600,2@ours,nobody\n");
    let rows = format!("{rows}2126-01-01T00:00:00Z,3@ours,bob@example.org\n");
    std::fs::write(&file, rows).unwrap();
    let import = |settings: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
        command.args(["--config", "/dev/null", "sent", "import"]).args(settings).arg(&file);
        let output = command.env("BOUNCED__DATABASE__PATH", f.database()).output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [told, complaint] = import(&[]);
    assert!(told.contains("sent.csv: 1 message, 1 new\nfrom now on, bounces that anybody may have written"), "{told}");
    assert!(complaint.contains("sent.csv, line 3: message_id <> is empty\n"), "{complaint}");
    assert!(complaint.contains("sent.csv, line 4: recipient nobody is no address\n"), "{complaint}");
    assert!(complaint.contains("sent.csv, line 5: time 2126-01-01T00:00:00Z is in the future\n"), "{complaint}");
    let [told, _] = import(&["--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["new"], &told["bad"], &told["doubts_begin"]), (&0.into(), &3.into(), &false.into()));
    std::fs::write(&file, "2026-01-01T00:00:00Z,4@ours,ann@example.org\n2026-01-01T00:00:00Z,5@ours,bob@example.org\n")
        .unwrap();
    let [told, complaint] = import(&[]);
    let expected = "sent.csv: the first line names no column time, message_id, recipient; nothing of it was kept\n";
    assert!(told.is_empty() && complaint.ends_with(expected), "{told}{complaint}");
    std::fs::write(&file, format!("{message}<1@ours>,ann@example.org\n")).unwrap();

    // Where nothing is demanded, nothing begins.
    let f = Fixture::new().await;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
    command.args(["--config", "/dev/null", "sent", "import", "--json"]).arg(&file);
    command.env("BOUNCED__DATABASE__PATH", f.database()).env("BOUNCED__TRUST__REQUIRED", "unverified");
    let told: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!((&told["new"], &told["doubts_begin"]), (&1.into(), &false.into()));
}

#[tokio::test]
async fn explain_knows_a_mail_that_is_on_record_and_says_of_its_double_no_more_than_is_known() {
    const SAMPLE: &str = include_str!("../../scripts/samples/postfix-user-unknown.eml");
    let f = Fixture::new().await;
    let (config, file) = (f.path("bounced.toml"), f.path("m.eml"));
    let path = |name: &str| f.path(name).display().to_string();
    let text = format!(
        "[database]\npath = \"{}\"\n[suppressions]\npath = \"{}\"\n[verp]\nkeys = \"{}\"\naddress = \"bounce@news.example\"\n",
        path("bounced.db"),
        path("suppressions.db"),
        path("keys")
    );
    std::fs::write(&config, text).unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
        command.arg("--config").arg(&config).args(args).stdin(std::fs::File::open(&file).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let explained = |mail: &str| {
        std::fs::write(&file, mail).unwrap();
        let told: serde_json::Value = serde_json::from_str(&run(&["explain", "--json", "-"])).unwrap();
        let trust = &told["trust"][0];
        format!("{}: {}", trust["trust"].as_str().unwrap(), trust["because"].as_str().unwrap())
    };
    std::fs::write(&file, "").unwrap();
    run(&["verp", "keygen"]);
    for (id, beyond) in [("short", 0), ("long", 11 << 20)] {
        let signed = run(&["verp", "sign", "--id", id, "anna@customer.example"]);
        let mail = SAMPLE.replacen("To: bounces+anna@lists.example.org", &format!("To: {}", signed.trim()), 2);
        let mail = mail + &"and more of it\n".repeat(beyond / 15);
        std::fs::write(&file, &mail).unwrap();
        run(&["receive"]);
        let told = explained(&mail);
        assert!(told.starts_with("verified: ") && !told.contains("has used"), "{id}: {told}");
        let told = explained(&mail.replace('\n', "\r\n"));
        let used = "; a mail on record has used its signed envelope sender (perhaps this one, with other line ends)";
        assert!(!told.starts_with("verified") && told.ends_with(used), "{id}: {told}");
    }
}

#[tokio::test]
async fn explain_says_of_each_address_once_how_far_it_can_be_believed() {
    let f = Fixture::new().await;
    let mut config = Config::default();
    config.database.path = f.database();
    let JudgedMessage { report, verdicts, .. } =
        entry(1, START, &[(ANN, HARD), (BOB, HARD), ("Ann@Example.org", SOFT)]);
    let mut witnesses = Witnesses::open(&config, Judge::new(&config).unwrap()).await;
    let vouched = witnesses.vouch(HandedOver::default(), &report, &verdicts).await;
    assert_eq!(vouched.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), [ANN, BOB]);
}
