//! `bounced suppressions import`: whole files or none, nothing lifted, and what was exported comes back.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use bounced::{policy::Policy, report::Address, store::Store};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use crate::{
    cdb,
    fixture::{DAY, Fixture, HARD, MAILBOX, START, by, complaint, entry},
};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

impl Fixture {
    /// A file in the fixture's directory, imported with these options: exit code, what was answered, what was complained.
    fn import(&self, content: &[u8], options: &[&str]) -> (i32, String, String) {
        let file = self.path("list");
        fs::write(&file, content).unwrap();
        told(&self.suppressions(&[&["import", file.to_str().unwrap()], options].concat()))
    }

    /// `address origin reason since note` of the whole list.
    async fn listed(&self) -> Vec<String> {
        let rows: Vec<(String,)> = self
            .rows(
                "SELECT concat_ws(' ', address, origin, coalesce(reason, '-'), at, coalesce(note, '-'))
                 FROM suppression_list ORDER BY address",
            )
            .await;
        rows.into_iter().map(|(row,)| row).collect()
    }
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn nothing_on_the_list_is_lifted_and_allowed_addresses_stay_off_it() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("hard@a.example", HARD)])]).await;
    f.execute(
        "INSERT INTO suppression (address, domain, origin, reason, policy, since, expires) VALUES
         ('angry@a.example', 'a.example', 'complaint', NULL, 'complaint', 1767225600, NULL), ('soft@a.example', 'a.example', 'soft', 'mailbox_full', 'full', 1767225600, 4102444800)",
    )
    .await;
    let policy = Policy { most_per_message: 0, ..Policy::default() };
    let too_many = entry(3, START, &[("held@a.example", HARD)]);
    f.store.commit(MAILBOX, &[too_many], &bounced::message::Reading::default(), &policy).await.unwrap();
    f.store.suppress(&[address("hand@a.example")], &by(START + DAY)).await.unwrap();
    f.store.suppress(&[address("gone@a.example")], &by(START + DAY)).await.unwrap();
    f.store.release(&[address("gone@a.example")], &by(START + 2 * DAY)).await.unwrap();
    f.store.allow(&[address("vip@a.example"), address("*@ally.example")], &by(START + DAY)).await.unwrap();

    let file = "email,created_at\n"; // Nobody's, unless it says more.
    assert_eq!(f.import(file.as_bytes(), &[]).0, 0, "and empty");
    let file = "{\"items\":[
        {\"address\":\"hard@a.example\",\"code\":\"550\",\"error\":\"no\",\"created_at\":\"2020-01-01T00:00:00Z\"},
        {\"address\":\"Soft@a.example\",\"code\":\"550\",\"error\":\"5.1.1 User unknown\",\"created_at\":\"2020-01-01T00:00:00Z\"},
        {\"address\":\"held@a.example\",\"code\":\"550\",\"error\":\"5.2.1 disabled\",\"created_at\":\"2020-01-01T00:00:00Z\"},
        {\"address\":\"hand@a.example\",\"code\":\"607\",\"error\":\"complained\",\"created_at\":\"2020-01-01T00:00:00Z\"},
        {\"address\":\"hard@a.example\",\"code\":\"607\",\"error\":\"complained\",\"created_at\":\"2021-01-01T00:00:00Z\"},
        {\"address\":\"angry@a.example\",\"code\":\"550\",\"error\":\"no\",\"created_at\":\"2020-01-01T00:00:00Z\"},
        {\"address\":\"gone@a.example\",\"code\":\"550\",\"error\":\"no\",\"created_at\":\"2020-01-01T00:00:00Z\"},
        {\"address\":\"vip@a.example\",\"code\":\"550\",\"error\":\"no\",\"created_at\":\"2020-01-01T00:00:00Z\"},
        {\"address\":\"bob@ally.example\",\"code\":\"550\",\"error\":\"no\",\"created_at\":\"2020-01-01T00:00:00Z\"}
    ]}";
    let before = f.listed().await;
    let answer = "mailgun: 2 addresses are new to the list; 2 on it with less to say, and replaced; 2 on it already; \
                  1 named more than once; 2 left out: on the allow list\n";
    let (code, said, complained) = f.import(file.as_bytes(), &["--dry-run"]);
    assert_eq!((code, complained.as_str()), (0, ""));
    assert!(said.ends_with(&answer.replace(" are ", " would be ")), "{said}");
    assert_eq!(f.listed().await, before, "nothing was changed");

    let (code, said, complained) = f.import(file.as_bytes(), &["--note", "moved house"]);
    assert_eq!((code, complained.as_str()), (0, ""));
    assert!(said.ends_with(answer), "{said}");
    assert_eq!(
        f.listed().await,
        [
            "angry@a.example complaint - 1767225600 -",
            "gone@a.example import - 1577836800 moved house",
            "hand@a.example manual - 1767312000 -",
            "hard@a.example complaint - 1609459200 moved house",
            "held@a.example import disabled 1577836800 moved house",
            "soft@a.example import user_unknown 1577836800 moved house",
        ]
    );
    assert_eq!(f.value::<i64>("SELECT count(*) FROM held").await, 0, "what waited about it is answered");
    let expires: Option<i64> = f.value("SELECT expires FROM suppression WHERE address = 'soft@a.example'").await;
    assert_eq!(expires, None);

    // Each change leads to the one before it, and says whose it is.
    let events: Vec<(String, i64, bool, bool)> = f
        .rows(
            "SELECT e.address, s.revision = e.revision, e.before IS NOT NULL AND b.address = e.address,
                    e.actor <> '' AND e.recorded IS NOT NULL AND e.note = 'moved house'
             FROM event AS e JOIN suppression AS s ON s.address = e.address LEFT JOIN event AS b ON b.revision = e.before
             WHERE e.kind = 'suppressed' AND e.note IS NOT NULL ORDER BY e.revision",
        )
        .await;
    let events: Vec<_> = events.iter().map(|(address, own, led, told)| (address.as_str(), *own, *led, *told)).collect();
    assert_eq!(
        events,
        [
            ("gone@a.example", 1, true, true),
            ("hard@a.example", 1, true, true),
            ("held@a.example", 1, true, true),
            ("soft@a.example", 1, false, true),
        ]
    );
    let published: Vec<String> = f.listed().await.iter().map(|row| row.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(cdb::addresses(&f.path("suppressions.cdb")), published);

    // Once more, and there is nothing left to do.
    let newest = f.store.newest_revision().await.unwrap();
    assert!(f.import(file.as_bytes(), &[]).1.contains("0 addresses are new to the list; 6 on it already"));
    assert_eq!(f.store.newest_revision().await.unwrap(), newest);

    // Whoever signs up as `*@gmail.com` somewhere does not take all of it with him.
    for other in
        ["address,code,error\n*@big.example,550,no\n", "address,code,error\n\"\"\"*\"\"@big.example\",550,no\n"]
    {
        let (code, _, complained) = f.import(other.as_bytes(), &["--from", "mailgun"]);
        assert!(code != 0 && complained.contains("all of a domain"), "{other}: {code} {complained}");
    }
    assert_eq!(f.import(b"*@a.example\n", &[]).0, 0);
    assert_eq!(f.import(b"*@big.example\n", &[]).0, 0);
    let domains: Vec<(String,)> = f.rows("SELECT address FROM suppression WHERE address LIKE '*@%'").await;
    assert_eq!(domains, [("*@big.example".to_owned(),)], "vip@a.example is allowed");
}

#[tokio::test]
async fn a_file_with_a_bad_row_is_refused_as_a_whole_unless_bad_rows_may_be_left_out() {
    let f = Fixture::new().await;
    let mut file = String::from("ann@example.org,BOUNCE\n");
    (0..25).for_each(|n| file.push_str(&format!("nobody {n},BOUNCE\n")));
    file.push_str("bob@example.org,COMPLAINT\n");
    let (code, said, complained) = f.import(file.as_bytes(), &[]);
    assert_eq!((code, said.as_str()), (66, ""));
    let lines: Vec<_> = complained.lines().collect();
    assert_eq!(lines.len(), 21, "{complained}");
    assert!(lines[0].ends_with("list, line 2: `nobody 0` is no mail address"), "{complained}");
    assert!(lines[19].contains(", line 21: ") && lines[20].contains("25 bad rows; --skip-bad takes the others"));
    assert!(f.listed().await.is_empty());

    let (code, said, complained) = f.import(file.as_bytes(), &["--skip-bad"]);
    assert!(code == 0 && said.ends_with("ses: 2 addresses are new to the list\n"), "{said}");
    assert!(complained.ends_with("25 bad rows left out\n"), "{complained}");

    // What breaks off may have lost anything.
    let (code, _, complained) =
        f.import(b"[{\"emailAddress\":\"eve@example.org\",\"reason\":\"BOUNCE\"},", &["--skip-bad"]);
    assert!(code == 66 && complained.contains("nothing of it was imported: line 1: the JSON ends in"), "{complained}");
    // Subscribers are not those who left.
    let (code, _, complained) = f.import(b"email,name\neve@example.org,Eve\n", &[]);
    assert!(code == 66 && complained.contains("no program is known to write"), "{complained}");
    assert_eq!(f.listed().await.len(), 2);

    // One file's fault is not another's.
    let good = f.path("good");
    fs::write(&good, "eve@example.org\n").unwrap();
    let bad = f.path("missing");
    let output = f.suppressions(&["import", bad.to_str().unwrap(), good.to_str().unwrap()]);
    let (code, said, complained) = told(&output);
    assert!(code == 66 && complained.contains("missing: can't read it") && said.contains("text: 1 address is new"));
    assert_eq!(f.listed().await.len(), 3);
}

#[tokio::test]
async fn what_says_nothing_of_the_address_is_left_out() {
    let f = Fixture::new().await;
    // SendGrid's bounces and blocks have the same fields.
    let file = "[{\"created\":1500000000,\"email\":\"gone@a.example\",\"reason\":\"550 5.1.1 User unknown\",\"status\":\"5.1.1\"},
        {\"created\":1500000000,\"email\":\"odd@a.example\",\"reason\":\"550 xyzzy\",\"status\":\"5.0.0\"},
        {\"created\":1500000000,\"email\":\"b1@a.example\",\"reason\":\"550 5.7.1 Message rejected as spam\",\"status\":\"5.7.1\"},
        {\"created\":1500000000,\"email\":\"b2@a.example\",\"reason\":\"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org\",\"status\":\"5.7.1\"},
        {\"created\":1500000000,\"email\":\"b3@a.example\",\"reason\":\"unable to get mx info\",\"status\":\"4.0.0\"}]";
    let (code, said, _) = f.import(file.as_bytes(), &[]);
    assert_eq!(code, 0);
    assert!(
        said.ends_with("sendgrid: 2 addresses are new to the list; 1 left out: soft bounces; 2 left out: refused for the message or its sender, not for the address\n"),
        "{said}"
    );
    let rows = f.listed().await;
    assert!(rows[0].starts_with("gone@a.example import user_unknown 1500000000 from "), "{rows:?}");
    assert!(rows[1].starts_with("odd@a.example import "), "{rows:?}");
    // So have those of Mailgun; a code without words is an answer, too.
    let file = "address,code,error,created_at\n\
        dead@m.example,550,5.1.1 User unknown,2020-01-01T00:00:00Z\n\
        full@m.example,552,5.2.2 mailbox full,2020-01-01T00:00:00Z\n\
        spam@m.example,550,5.7.1 Message rejected as spam,2020-01-01T00:00:00Z\n\
        spam2@m.example,550,5.7.1 Message rejected as spam,2020-01-01T00:00:00Z\n\
        big@m.example,552,5.3.4 Message size exceeds fixed maximum message size,2020-01-01T00:00:00Z\n\
        later@m.example,450,4.2.0 try again later,2020-01-01T00:00:00Z\n\
        again@m.example,605,Not delivering to previously bounced address,2020-01-01T00:00:00Z\n\
        code@m.example,421,,2020-01-01T00:00:00Z\n";
    let (code, said, _) = f.import(file.as_bytes(), &[]);
    assert_eq!(code, 0);
    assert!(
        said.ends_with("mailgun: 3 addresses are new to the list; 2 left out: soft bounces; 3 left out: refused for the message or its sender, not for the address\n"),
        "{said}"
    );
    let listed: Vec<_> = f.listed().await.into_iter().filter(|row| row.contains("@m.example")).collect();
    let begins =
        ["again@m.example import ", "dead@m.example import user_unknown ", "full@m.example import mailbox_full "];
    assert!(listed.iter().zip(begins).all(|(row, begin)| row.starts_with(begin)), "{listed:?}");
    let row: serde_json::Value =
        serde_json::from_slice(&f.suppressions(&["check", "gone@a.example", "--json"]).stdout).unwrap();
    assert_eq!((&row["rule"], &row["diagnostic"]), (&"phrases:user.unknown".into(), &"550 5.1.1 User unknown".into()));

    let mut never = Command::new(env!("CARGO_BIN_EXE_bounced"));
    fs::write(f.path("config"), "[suppressions]\nnever = [\"@ours.example\", \"me@b.example\"]\n").unwrap();
    fs::write(f.path("list"), "a@ours.example\n*@ours.example\nme@b.example\n*@b.example\nyou@b.example\n").unwrap();
    never.args(["--config", f.path("config").to_str().unwrap(), "suppressions", "import"]).arg(f.path("list"));
    never.env("BOUNCED__DATABASE__PATH", f.database()).env("BOUNCED__SUPPRESSIONS__PATH", f.path("suppressions.db"));
    let (code, said, complained) = told(&never.output().unwrap());
    assert_eq!((code, complained.as_str()), (0, ""));
    assert!(
        said.ends_with("1 address is new to the list; 4 left out: never to be suppressed, says the configuration\n")
    );
}

#[tokio::test]
async fn a_copy_of_a_list_says_what_the_list_says() {
    let f = Fixture::new().await;
    f.execute(
        "INSERT INTO suppression (address, domain, origin, reason, rule, policy, diagnostic, since, expires, note) VALUES
         ('a@a.example', 'a.example', 'soft', 'mailbox_full', 'codes:5.2.2', 'mailbox-full', '552 5.2.2 full', 1767225600, 4102444800, NULL),
         ('b@a.example', 'a.example', 'soft', 'undetermined', NULL, 'undetermined', '450 =later', 1767225601, NULL, NULL),
         ('c@a.example', 'a.example', 'hard', 'user_unknown', 'codes:5.1.1', 'hard', '=550 no', 1767225602, NULL, NULL),
         ('d@a.example', 'a.example', 'complaint', NULL, NULL, 'complaint', NULL, 1767225603, NULL, NULL),
         ('e@a.example', 'a.example', 'manual', NULL, NULL, NULL, NULL, 1767225604, NULL, '-asked'),
         ('f@a.example', 'a.example', 'import', 'disabled', 'phrases:user.disabled', NULL, '550 off', 1767225605, NULL, 'from old.csv'),
         ('*@gone.example', 'gone.example', 'manual', NULL, NULL, NULL, NULL, 1767225606, NULL, NULL)",
    )
    .await;
    for format in ["json", "csv"] {
        let export = ["export", "--format", format];
        let exported = f.suppressions(&export).stdout;
        let to = tempfile::tempdir().unwrap();
        suppressions(to.path(), &["import", "-"], &exported);
        let back = suppressions(to.path(), &export, b"");
        assert_eq!(String::from_utf8(back).unwrap(), String::from_utf8(exported).unwrap());
        let history = suppressions(to.path(), &["history", "a@a.example"], b"");
        assert!(String::from_utf8(history).unwrap().contains("from -"), "whence it came is told there");
    }
}

/// `bounced suppressions` on a store in a directory, with standard input.
fn suppressions(directory: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bounced"))
        .args(["--config", "/dev/null", "suppressions"])
        .args(args)
        .env("BOUNCED__DATABASE__PATH", directory.join("bounced.db"))
        .env("BOUNCED__SUPPRESSIONS__PATH", directory.join("suppressions.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    output.stdout
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Addresses that are hard to write down.
fn any_address() -> impl Strategy<Value = String> {
    let local = prop_oneof![
        Just("*".to_owned()),
        Just("'=cmd".to_owned()),
        "[a-z0-9+='%!/?^_`{|}~.-]{1,12}",
        "[a-zäöü邮]{1,4}",
        "\"[a-z ,;'=@]{1,8}\"",
    ];
    let domain = prop_oneof![Just("example.org"), Just("bücher.example"), Just("[192.0.2.1]"), Just("a_b.example")];
    (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    /// Whose list is exported and imported elsewhere is suppressed there for the same reason since the same day.
    #[test]
    fn what_was_exported_comes_back(
        list in prop::collection::vec((any_address(), prop::option::of("[=+@'a-z\",;\n-]{1,8}"), 0..3_u8), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let from = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let store = Store::open(&from.path().join("bounced.db")).await.unwrap();
            for (uid, (text, note, how)) in (1..).zip(&list) {
                let Some(address) = Address::parse(text) else { continue };
                let note = note.as_deref().map(str::trim).filter(|note| !note.is_empty());
                match how {
                    0 => drop(store.suppress(&[address], &bounced::store::By { note, ..by(START) }).await.unwrap()),
                    1 => {
                        let complaint = complaint(uid, START + i64::from(uid), &[text]);
                        store.commit(MAILBOX, &[complaint], &bounced::message::Reading::default(), &Policy::default()).await.unwrap();
                    }
                    _ => {
                        let hard = entry(uid, START + i64::from(uid), &[(text, HARD)]);
                        store.commit(MAILBOX, &[hard], &bounced::message::Reading::default(), &Policy::default()).await.unwrap();
                    }
                }
            }
            store.close().await;
        });
        let json = suppressions(from.path(), &["export", "--format", "json"], b"");
        let rows = |json: &[u8], columns: &[&str]| -> Vec<serde_json::Value> {
            let rows: Vec<serde_json::Value> = serde_json::from_slice(json).unwrap();
            let chosen = |row: &serde_json::Value| columns.iter().map(|column| row[*column].clone()).collect();
            rows.iter().map(chosen).collect()
        };
        for (format, columns) in [
            ("json", &["address", "at", "origin", "reason", "rule", "policy", "diagnostic", "note"][..]),
            ("csv", &["address", "at", "origin", "reason", "rule", "policy", "diagnostic"]),
            ("txt", &["address"]),
        ] {
            let exported = suppressions(from.path(), &["export", "--format", format], b"");
            let to = tempfile::tempdir().unwrap();
            suppressions(to.path(), &["import", "-"], &packed(&exported));
            let back = suppressions(to.path(), &["export", "--format", "json"], b"");
            prop_assert_eq!(rows(&back, columns), rows(&json, columns), "{}", format);
        }
    }
}
