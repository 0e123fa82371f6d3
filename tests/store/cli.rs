//! `bounced suppressions`, through the program.

use std::process::{Command, Output};

use bounced::{
    codes::Class,
    report::{Evidence, Forwarded, Lowered},
};

use crate::fixture::{DAY, Fixture, HARD, SOFT, START, entry};

impl Fixture {
    /// `bounced suppressions` on this store.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"));
        command
            .args(["--config", "/dev/null", "suppressions"])
            .args(args)
            .env("BOUNCED__DATABASE__PATH", self.database())
            .env("BOUNCED__SUPPRESSIONS__PATH", self.path("suppressions.db"));
        command
    }

    /// Runs it.
    pub fn suppressions(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn answer(&self, args: &[&str], code: i32) -> String {
        let output = self.suppressions(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(code > 1 || stderr.is_empty(), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str], code: i32) -> serde_json::Value {
        serde_json::from_str(&self.answer(args, code)).unwrap()
    }

    async fn published(&self) -> String {
        let addresses = "SELECT coalesce(group_concat(email), '') FROM suppression";
        self.value_of("suppressions.db", addresses).await
    }
}

#[tokio::test]
async fn a_suppressed_address_leads_to_its_mail_its_rule_and_its_reason() {
    let f = Fixture::new().await;
    f.commit(&[entry(42, START, &[("ann@example.org", HARD)])]).await;
    let text = f.answer(&["check", "Ann@Example.ORG"], 0);
    for words in [
        "ann@example.org is suppressed since 2026-01-01T00:00:00Z (hard: user_unknown)",
        "codes:user_unknown",
        "550 5.1.1",
        "field       Diagnostic-Code, line 17",
        "words       smtp; 550 5.1.1 no",
        "more        bounced codes user_unknown; bounced explain FILE",
        "42@mx.example.org",
        "bounces",
        "7:42",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // A mailbox that is configured says in words where the mail is.
    let mailbox = [("HOST", "mx"), ("USER", "u"), ("PASSWORD__ENV", "P")];
    let mut command = f.command(&["check", "ann@example.org"]);
    command.envs(mailbox.map(|(key, value)| (format!("BOUNCED__IMAP__BOUNCES__{key}"), value)));
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("UID 42 (UIDVALIDITY 7)"), "{text}");
    let row = f.json(&["check", "ann@example.org", "--json"], 0);
    assert_eq!((&row["suppressed"], &row["origin"], &row["place"]), (&true.into(), &"hard".into(), &"7:42".into()));
    assert_eq!((&row["since"], &row["bounced"]), (&"2026-01-01T00:00:00Z".into(), &"2026-01-01T00:00:00Z".into()));
    let list = f.json(&["list", "--json"], 0);
    assert_eq!(list[0]["words"], "smtp; 550 5.1.1 no");
    assert!(f.answer(&["list"], 0).starts_with("ann@example.org "));
}

#[tokio::test]
async fn what_lowered_the_deciding_verdict_is_shown() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (0..5)
        .map(|n| {
            let mut one = entry(n, START + i64::from(n) * 4 * DAY, &[("ann@example.org", SOFT)]);
            let evidence = Evidence { line: Some(9), ..Evidence::of_structure("4.1.1") };
            let to = "old@example.net".to_owned();
            one.verdicts[0].forwarded = Some(Forwarded { to, judgement: HARD });
            one.verdicts[0].lowered = Some(Lowered { from: Class::Hard, digit: 4, evidence: Some(evidence) });
            one
        })
        .collect();
    f.commit(&batch).await;
    let text = f.answer(&["check", "ann@example.org"], 0);
    assert!(text.contains("lowered     from hard, line 9: 4.1.1"), "{text}");
    assert!(text.contains("forwarded   to old@example.net, hard · user_unknown"), "{text}");
    let row = f.json(&["check", "ann@example.org", "--json"], 0);
    let lowered = ["lowered_from", "lowered_line", "lowered_words"].map(|column| row[column].clone());
    assert_eq!(serde_json::json!(lowered), serde_json::json!(["hard", 9, "4.1.1"]));
    let forwarded = ["to", "class", "reason", "fault"].map(|column| row[format!("forwarded_{column}")].clone());
    assert_eq!(
        serde_json::json!(forwarded),
        serde_json::json!(["old@example.net", "hard", "user_unknown", "recipient"])
    );
    assert!(f.answer(&["add", "bob@example.org"], 0).starts_with("bob@example.org is suppressed"));
    let text = f.answer(&["check", "bob@example.org"], 0);
    assert!(!text.contains("more") && !text.contains("lowered"), "nothing led to it but a person: {text}");
}

#[tokio::test]
async fn check_answers_no_with_exit_code_1() {
    let f = Fixture::new().await;
    assert_eq!(f.answer(&["check", "ann@example.org"], 1), "ann@example.org is not on the list\n");
    let row = f.json(&["check", "Ann@example.org", "--json"], 1);
    assert_eq!(row, serde_json::json!({ "address": "ann@example.org", "suppressed": false }));
}

#[tokio::test]
async fn what_is_no_address_is_a_wrong_command_line() {
    let f = Fixture::new().await;
    let output = f.suppressions(&["add", "ann"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected one mail address"));
}

#[tokio::test]
async fn a_manual_entry_is_published_and_outlives_bounces() {
    let f = Fixture::new().await;
    f.answer(&["add", "Ann@Example.org", "--note", "asked by phone"], 0);
    assert_eq!(f.published().await, "ann@example.org");
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    let row = f.json(&["check", "ann@example.org", "--json"], 0);
    assert_eq!((&row["origin"], &row["note"]), (&"manual".into(), &"asked by phone".into()));
    f.answer(&["add", "ann@example.org"], 0);
    assert_eq!(f.json(&["check", "ann@example.org", "--json"], 0)["note"], "asked by phone");
}

#[tokio::test]
async fn a_removal_is_published_and_sticks_until_a_later_hard_bounce() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    f.answer(&["remove", "ann@example.org"], 0);
    assert_eq!(f.published().await, "");
    f.answer(&["remove", "ann@example.org"], 1);

    let removed: i64 = f.value("SELECT max(at) FROM event WHERE kind = 'released'").await;
    let older = f.commit(&[entry(2, removed - DAY, &[("ann@example.org", HARD)])]).await;
    assert!(older.suppressed.is_empty(), "received before the removal");
    let later = f.commit(&[entry(3, removed + DAY, &[("ann@example.org", HARD)])]).await;
    assert_eq!(later.suppressed.len(), 1);
}

#[tokio::test]
async fn exports_are_safe_to_open_and_complete() {
    let f = Fixture::new().await;
    assert_eq!(f.answer(&["export", "--format", "txt"], 0), "");
    assert_eq!(f.json(&["export", "--format", "json"], 0), serde_json::json!([]));

    let mut hostile = entry(1, START, &[("=cmd|calc@example.org", HARD), ("+1@example.org", HARD)]);
    hostile.report.recipients[0].diagnostic = Some("@SUM(1+1)".into());
    hostile.report.recipients[1].diagnostic = Some("a \"quoted\", text\u{1b}[2J".into());
    f.commit(&[hostile]).await;
    f.answer(&["add", "bob@example.org", "--note=-1"], 0);

    assert_eq!(f.answer(&["export", "--format", "txt"], 0), "+1@example.org\n=cmd|calc@example.org\nbob@example.org\n");
    let csv = f.answer(&["export", "--format", "csv"], 0);
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let header = rows.headers().unwrap().clone();
    assert_eq!(header.iter().take(4).collect::<Vec<_>>(), ["address", "origin", "reason", "since"]);
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    for cell in rows.iter().flat_map(|row| row.iter()) {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
    }
    assert_eq!(&rows[1][0], "'=cmd|calc@example.org");
    let json = f.json(&["export", "--format", "json"], 0);
    assert_eq!(json[1]["address"], "=cmd|calc@example.org");
    assert_eq!(json[1]["diagnostic"], "@SUM(1+1)");
    assert!(!f.answer(&["check", "+1@example.org"], 0).contains('\u{1b}'), "a stranger's text steers no terminal");
}

#[tokio::test]
async fn a_store_that_was_never_made_is_said_in_one_line() {
    let f = Fixture::new().await;
    let output = Command::new(env!("CARGO_BIN_EXE_bounced"))
        .args(["--config", "/dev/null", "suppressions", "check", "ann@example.org"])
        .env("BOUNCED__DATABASE__PATH", f.path("never.db"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(74), 1), "{stderr}");
    assert!(!f.path("never.db").exists());
}
