//! `bounced suppressions`, through the program.

use std::process::{Command, Output};

use bounced::{
    codes::Class,
    message::Reading,
    policy::Policy,
    report::{Evidence, Forwarded, Lowered},
};

use crate::fixture::{DAY, Fixture, HARD, MAILBOX, SOFT, START, entry};

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

#[tokio::test]
async fn a_history_tells_of_each_change_who_made_it_and_which_bounces_caused_it() {
    let f = Fixture::new().await;
    let batch: Vec<_> =
        (0..5).map(|n| entry(n, START + i64::from(n) * 4 * DAY, &[("ann@example.org", SOFT)])).collect();
    f.commit(&batch).await;
    f.commit(&[entry(9, START + 20 * DAY, &[("ann@example.org", HARD)])]).await;
    let mut remove = f.command(&["remove", "ann@example.org", "--note", "wrote to us"]);
    assert!(remove.env("SUDO_USER", "eve").output().unwrap().status.success());
    f.answer(&["add", "ann@example.org"], 0);

    let told = f.json(&["history", "ann@example.org", "--json"], 0);
    let changes = told["changes"].as_array().unwrap();
    let kinds: Vec<_> =
        changes.iter().map(|change| (&change["kind"], &change["origin"])).map(|(a, b)| format!("{a} {b}")).collect();
    let expected = ["suppressed soft", "suppressed hard", "released hard", "suppressed manual"];
    assert_eq!(
        kinds,
        expected.map(|kind| kind.split(' ').map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" "))
    );
    let of = |n: usize| changes[n]["causes"].as_array().unwrap();
    assert_eq!([1, 2, 3].map(|n| of(n).len()), [1, 0, 0]);
    assert_eq!(of(0).last().unwrap()["received"], "2026-01-17T00:00:00Z");
    assert_eq!((&of(1)[0]["reason"], &of(1)[0]["message_id"]), (&"user_unknown".into(), &"9@mx.example.org".into()));
    assert_eq!((&changes[0]["actor"], &changes[2]["actor"]), (&"bounced".into(), &"eve".into()));
    assert_eq!((&changes[2]["note"], &told["suppressed"]), (&"wrote to us".into(), &true.into()));

    let text = f.answer(&["history", "ann@example.org"], 0);
    for words in
        ["hard user_unknown", "<9@mx.example.org>", "released    hard, by eve: wrote to us", "now: suppressed since"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(f.json(&["history", "bob@example.org", "--json"], 1)["changes"], serde_json::json!([]));
}

/// In whatever order they are read: what decided is the last that was received.
#[tokio::test]
async fn an_entry_is_told_by_the_last_bounce_that_was_received() {
    let f = Fixture::new().await;
    for n in [4, 2, 3, 1, 0] {
        let mut one = entry(n, START + i64::from(n) * 4 * DAY, &[("ann@example.org", SOFT)]);
        one.verdicts[0].rule = format!("codes:{n}");
        f.commit(&[one]).await;
    }
    let row = f.json(&["check", "ann@example.org", "--json"], 0);
    assert_eq!((&row["since"], &row["bounced"]), (&"2026-01-17T00:00:00Z".into(), &"2026-01-17T00:00:00Z".into()));
    assert_eq!(
        (&row["rule"], &row["reason"], &row["place"]),
        (&"codes:4".into(), &"mailbox_full".into(), &"7:4".into())
    );
    assert!(row["diagnostic"].is_string(), "{row}");
    let told = f.json(&["history", "ann@example.org", "--json"], 0);
    let causes = told["changes"][0]["causes"].as_array().unwrap().iter();
    let received: Vec<_> = causes.map(|cause| cause["received"].as_str().unwrap()).collect();
    assert_eq!(received.len(), 5);
    assert!(received.is_sorted(), "{received:?}");
    assert_eq!(told["changes"][0]["at"], row["since"]);
}

#[tokio::test]
async fn whoever_is_allowed_leaves_the_list_and_cannot_be_added() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD), ("bob@example.net", HARD)])]).await;
    let said = f.answer(&["allow", "--note", "our own", "*@Example.org", "bob@example.net"], 0);
    assert!(
        said.contains("*@example.org is allowed") && said.contains("2 addresses are off the suppression list"),
        "{said}"
    );
    assert_eq!(f.published().await, "");
    let refused = f.suppressions(&["add", "eve@example.org"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("allow --remove") && said.lines().count() == 1, "{said}");
    let told = f.json(&["history", "eve@example.org", "--json"], 0);
    assert_eq!((&told["allowed"]["address"], &told["allowed"]["note"]), (&"*@example.org".into(), &"our own".into()));
    assert!(f.answer(&["allow", "--list"], 0).starts_with("*@example.org "));
    let rows = f.answer(&["allow", "--list", "--json"], 0);
    assert_eq!(rows.lines().count(), 2);

    f.answer(&["allow", "--remove", "*@example.org", "eve@example.org"], 1);
    f.answer(&["allow", "--remove", "bob@example.net"], 0);
    assert_eq!(f.answer(&["allow", "--list"], 1), "");
    f.answer(&["add", "eve@example.org"], 0);
}

/// What waits, is allowed, is never to be suppressed or was forgotten, is said by whoever asks for one address.
#[tokio::test]
async fn an_address_is_told_of_with_all_that_is_said_of_it() {
    let f = Fixture::new().await;
    let policy = Policy { most_per_message: 1, ..Policy::default() };
    let batch = [entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD), ("cid@example.org", HARD)])];
    f.store.commit(MAILBOX, &batch, &Reading::default(), &policy).await.unwrap();
    let said = f.answer(&["check", "bob@example.org"], 1);
    assert!(
        said.starts_with("bob@example.org is not on the list\n  waits for you since 2026-01-01T00:00:00Z: "),
        "{said}"
    );
    assert!(said.contains("one message named too many addresses"), "{said}");
    assert_eq!(f.json(&["check", "bob@example.org", "--json"], 1)["waits"]["why"], "flood");
    let said = f.answer(&["history", "bob@example.org"], 0);
    assert_eq!(said.matches("one message named too many addresses").count(), 2, "the event and the state: {said}");
    // Removing and allowing say what they ended, and of which of the two there was nothing.
    let said = f.answer(&["remove", "bob@example.org", "ann@example.org", "eve@example.org"], 1);
    let said: Vec<_> = said.lines().collect();
    assert!(said[0].starts_with("bob@example.org was not on the list, and waits no longer; no mail received before"));
    assert!(said[1].starts_with("ann@example.org is off the list; no mail received before now"), "{said:?}");
    assert_eq!(said[2], "eve@example.org is not on the list");
    let said = f.answer(&["allow", "cid@example.org", "*@example.net"], 0);
    assert!(said.contains("no bounce, complaint or import") && said.contains("1 address waits no longer"), "{said}");
    assert!(!said.contains("off the suppression list"), "{said}");
    let said = f.answer(&["check", "eve@example.net"], 1);
    assert!(said.contains("\n  allowed since ") && said.contains(" by the entry *@example.net"), "{said}");
    // An own entry below that of the domain.
    f.answer(&["add", "ann@gone.example", "*@gone.example"], 0);
    let said = f.answer(&["remove", "ann@gone.example"], 0);
    assert!(said.contains("is suppressed still, with all of its domain, by the entry *@gone.example"), "{said}");
    f.answer(&["add", "ann@gone.example"], 0);
    let said = f.answer(&["remove", "*@gone.example"], 0);
    assert!(said.contains("addresses of the domain with entries of their own stay"), "{said}");
    f.answer(&["check", "ann@gone.example"], 0);
    let mut never = f.command(&["check", "ann@own.example"]);
    let said = never.env("BOUNCED__SUPPRESSIONS__NEVER", "@own.example").output().unwrap().stdout;
    assert!(
        String::from_utf8(said).unwrap().ends_with("  never suppressed but by a person, as the configuration says\n")
    );
}

#[tokio::test]
async fn a_list_is_in_columns_and_names_the_rule_of_the_policy() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    f.execute(
        "INSERT INTO suppression (address, domain, origin, policy, since)
         VALUES ('bob@example.org', 'example.org', 'complaint', 'complaint', 1)",
    )
    .await;
    assert!(
        f.answer(&["check", "bob@example.org"], 0).contains("more        bounced suppressions history bob@example.org")
    );
    f.answer(&["add", "cid@example.org", "--note", "asked"], 0);
    let list = f.answer(&["list"], 0);
    let lines: Vec<_> = list.lines().collect();
    let columns = |line: &str| line.find("Z  ").unwrap();
    assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{list}");
    let ends = ["Z  hard  codes:user_unknown", "Z  complaint", "Z  asked"];
    assert!(lines.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{list}");
}

#[tokio::test]
async fn the_entry_of_a_domain_covers_its_addresses_and_no_others() {
    let f = Fixture::new().await;
    f.answer(&["add", "*@Gone.example", "--note", "closed"], 0);
    assert_eq!(f.published().await, "*@gone.example");
    let text = f.answer(&["check", "ann@gone.example"], 0);
    assert!(text.starts_with("ann@gone.example is suppressed with all of its domain since "), "{text}");
    let row = f.json(&["check", "ann@gone.example", "--json"], 0);
    assert_eq!((&row["address"], &row["entry"]), (&"ann@gone.example".into(), &"*@gone.example".into()));
    f.answer(&["check", "ann@sub.gone.example"], 1);
    f.answer(&["check", "ann@gone.example.org"], 1);
    let said = f.answer(&["remove", "ann@gone.example"], 1);
    assert!(said.contains("by the entry *@gone.example"), "{said}");
    let refused = f.suppressions(&["allow", "ann@gone.example"]);
    assert_eq!(refused.status.code(), Some(1));
    f.answer(&["remove", "*@gone.example"], 0);
    assert_eq!(f.published().await, "");
}

#[tokio::test]
async fn a_part_of_the_list_is_asked_for_and_comes_in_pages() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (0..7)
        .map(|n| {
            let address = format!("user{n}@{}.example", if n % 2 == 0 { "even" } else { "odd" });
            entry(n, START + i64::from(n) * DAY, &[(&address, HARD)])
        })
        .collect();
    f.commit(&batch).await;
    f.answer(&["add", "zoe@odd.example"], 0);
    f.execute(
        "UPDATE suppression SET expires = unixepoch('now', '+5 days') WHERE address = 'user1@odd.example';
         UPDATE suppression SET reason = 'disabled' WHERE address = 'user6@even.example'",
    )
    .await;
    let found = |args: &[&str]| -> String {
        let rows = f.json(&[&["list", "--json"], args].concat(), 0);
        let names = rows.as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap());
        names.map(|address| address.split('@').next().unwrap()).collect::<Vec<_>>().join(" ")
    };
    for (args, expected) in [
        (&["--domain", "odd.example"][..], "user1 user3 user5 zoe"),
        (&["--domain", "@ODD.example", "--origin", "hard"], "user1 user3 user5"),
        (&["--origin", "manual"], "zoe"),
        (&["--origin", "soft"], ""),
        (&["--reason", "user_unknown", "--domain", "even.example"], "user0 user2 user4"),
        (&["--since", "2026-01-04", "--origin", "hard"], "user3 user4 user5 user6"),
        (&["--since", "2026-01-04T00:00:01Z", "--origin", "hard"], "user4 user5 user6"),
        (&["--since", "1h"], "zoe"),
        (&["--expiring", "6d"], "user1"),
        (&["--expiring", "4d"], ""),
        (&["--limit", "2"], "user0 user1"),
        (&["--limit", "2", "--after", "user1@odd.example"], "user2 user3"),
        (&["--after", "user5@odd.example"], "user6 zoe"),
    ] {
        assert_eq!(found(args), expected, "{args:?}");
    }
    assert!(f.answer(&["list", "user1@odd.example"], 0).contains("  until 20"));
    for args in
        [&["list", "--origin", "harsh"][..], &["list", "--since", "soon"], &["list", "a@b.example", "--limit", "1"]]
    {
        assert_eq!(f.suppressions(args).status.code(), Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn what_is_said_to_be_delivered_ends_entries_that_have_an_end() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD)])]).await;
    f.execute("UPDATE suppression SET origin = 'soft', expires = 4000000000 WHERE address = 'bob@example.org'").await;
    let delivered = |args: &[&str]| {
        let command = f.command(&[]);
        let mut bounced = Command::new(command.get_program());
        bounced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = bounced.args(["--config", "/dev/null", "delivered"]).args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = delivered(&["--note", "she answered", "ann@example.org", "bob@example.org", "eve@example.org"]);
    assert_eq!(code, Some(0));
    for words in ["3 addresses, 2 known", "1 address off the list", "1 address on the list for good"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    f.answer(&["check", "bob@example.org"], 1);
    f.answer(&["check", "ann@example.org"], 0);
    let told = f.json(&["history", "bob@example.org", "--json"], 0);
    assert_eq!((&told["changes"][1]["kind"], &told["alive"]["sign"]), (&"revived".into(), &"told".into()));
    assert_eq!(told["changes"][1]["note"], "she answered");
    assert_eq!(delivered(&["*@example.org"]).0, Some(2), "a domain does not answer");
}
