//! What docs/phrases.md, docs/codes.md, docs/formats.md and docs/policy.md tell a mail administrator to do, done.

use std::{fs, path::Path};

use assert_cmd::Command;

const PHRASES: &str = include_str!("../docs/phrases.md");
const CODES: &str = include_str!("../docs/codes.md");
const FORMATS: &str = include_str!("../docs/formats.md");
const POLICY: &str = include_str!("../docs/policy.md");
const REPLY: &str = "550 Sorry, the parrot has gone to another perch";

/// The first block of a guide that begins so.
fn block(guide: &'static str, start: &str) -> &'static str {
    let blocks = guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.starts_with(start)).expect(start)
}

fn bounced(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::cargo_bin("bounced").expect("the binary is built with the tests");
    let output =
        command.env("BOUNCED_CONFIG", directory.join("bounced.toml")).args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("it is text"))
}

#[test]
fn a_phrase_of_ones_own_is_added_as_the_guide_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let row = block(PHRASES, "[[phrase]]");
    let configuration = block(PHRASES, "[phrases]").replace("/etc/bounced/", "");
    fs::write(directory.path().join("bounced.toml"), configuration).expect("written");
    let write = |text: &str| fs::write(directory.path().join("phrases.toml"), text).expect("written");
    let classify = || bounced(directory.path(), &["classify", "--response", REPLY]).1;

    write("");
    assert!(!classify().contains("parrots.gone"));
    write(row);
    let told = classify();
    assert!(told.contains("phrases:parrots.gone") && told.contains("hard"), "{told}");
    let (code, shown) = bounced(directory.path(), &["phrases", "parrots.gone"]);
    assert_eq!(code, Some(0), "{shown}");
    for part in ["gone to another perch", "phrases.toml:2", "moved", REPLY, "The sender has gone"] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }

    // An example that does not come out as it stands there is refused with its line.
    write(&row.replace("accepts = [\"550 Sorry", "accepts = [\"550 User unknown\", \"550 Sorry"));
    let (code, refused) = bounced(directory.path(), &["phrases"]);
    assert_eq!(code, Some(78), "{refused}");
    assert!(
        refused.contains("phrases.toml:7: `parrots.gone` accepts \"550 User unknown\", but `phrases:"),
        "{refused}"
    );
    write(&row.replace("unless = [\"sender\"]\n", ""));
    let (_, refused) = bounced(directory.path(), &["phrases"]);
    assert!(refused.contains("phrases.toml:7: `parrots.gone` rejects"), "{refused}");

    // A built-in row is taken away.
    write("drop = [\"google.rate\"]");
    assert_eq!(bounced(directory.path(), &["phrases", "google.rate"]).0, Some(1));
}

/// A directory with a configuration that names `NAME.toml`, and that file.
fn place(configuration: &str, name: &str, rows: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("bounced.toml"), configuration.replace("/etc/bounced/", "")).expect("written");
    fs::write(directory.path().join(name), rows).expect("written");
    directory
}

#[test]
fn rows_of_ones_own_are_laid_over_the_code_table_as_the_guide_says() {
    let directory = place(block(CODES, "[codes]"), "codes.toml", block(CODES, "drop = "));
    let shown = |code: &str| bounced(directory.path(), &["codes", code]).1;
    for (code, part) in [
        ("550.closed", "disabled"),
        ("5.1.1", "Our own relay says so"),
        ("552.mailbox-full", "Write to the customer's other address."),
        ("553.rate-limited", "No row answers"),
    ] {
        assert!(shown(code).contains(part), "{code}: {}", shown(code));
    }
    let (_, told) = bounced(directory.path(), &["classify", "--response", "550 this shop is closed"]);
    assert!(told.contains("disabled"), "{told}");
}

/// The rows that explain the form of the table are rows that the program has, and may take their places.
#[test]
fn the_rows_that_the_guide_to_the_codes_shows_are_accepted() {
    for (start, replaces) in [("[[reply]]", "552"), ("[[status]]", "x.1.1"), ("[[digit]]", "4")] {
        let row = block(CODES, start).replace("weight =", &format!("replaces = \"{replaces}\"\nweight ="));
        let row = row.replace("4 = { reason", &format!("replaces = \"{replaces}\"\n4 = {{ reason"));
        let row = row.replace(
            "[[reply.variant]]\nid = \"552.too-big\"",
            "[[reply.variant]]\nid = \"552.too-big\"\nreplaces = \"552.too-big\"\naccepts = [\"552 message size\"]",
        );
        let directory = place(block(CODES, "[codes]"), "codes.toml", &row);
        let (code, told) = bounced(directory.path(), &["codes"]);
        assert_eq!(code, Some(0), "{told}");
        assert!(row.contains("replaces"), "{row}");
    }
}

#[test]
fn rows_of_ones_own_for_kinds_formats_and_words_are_read_as_the_guide_says() {
    let configuration = block(FORMATS, "[kinds]");
    let directory = place(configuration, "kinds.toml", block(FORMATS, "[[sign]]"));
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    write("formats.toml", block(FORMATS, "[[format]]"));
    write("words.toml", block(FORMATS, "[[words]]"));
    write("desk.eml", "From: MAILER-DAEMON@desk.example\nSubject: Re: Your ticket with Example: 4711\n\nThank you.\n");
    let gate = "Return-Path: <>\nFrom: gate@example.com\nSubject: Undeliverable\n\nThis is the gate of Example.\n\n";
    write("gate.eml", &format!("{gate}Not reached: bob@example.com\n550 User unknown\n"));
    let explain =
        |mail: &str| bounced(directory.path(), &["explain", directory.path().join(mail).to_str().expect("text")]).1;
    let (desk, gate) = (explain("desk.eml"), explain("gate.eml"));
    assert!(desk.contains("auto_reply") && desk.contains("kinds:our.desk"), "{desk}");
    assert!(gate.contains("ourgate") && gate.contains("bob@example.com"), "{gate}");

    for (name, row, example, problem) in [
        ("kinds.toml", "[[sign]]", "accepts = [\"Subject: A", "`our.desk` accepts \"Subject: A"),
        ("formats.toml", "[[format]]", "accepts = [\"A", "`ourgate` accepts \"A"),
        ("words.toml", "[[words]]", "accepts = [\"a", "`our.parcel` accepts \"a"),
    ] {
        let row = block(FORMATS, row);
        let (_, rest) = row.split_once("accepts = [\"").expect("an example");
        let line = row.lines().position(|line| line.starts_with("accepts")).expect("an example") + 1;
        write(
            name,
            &row.replace(&format!("accepts = [\"{}", &rest[..1]), &format!("{example} letter\", \"{}", &rest[..1])),
        );
        let (code, told) = bounced(directory.path(), &["check"]);
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains(&format!("{name}:{line}: {problem} letter\"")), "{told}");
        write(name, row);
    }
}

/// Rows of the program that deviate from what followed before are no mistake of whoever says it anew.
#[test]
fn what_follows_from_a_reason_can_be_said_anew() {
    for (reason, class, fault) in
        [("disabled", "soft", "recipient"), ("filtered", "soft", "sender"), ("filtered", "soft", "recipient")]
    {
        let row = format!("[reason.{reason}]\nclass = \"{class}\"\nfault = \"{fault}\"\nadvice = \"Ask them.\"\n");
        let directory = place(block(CODES, "[codes]"), "codes.toml", &row);
        let (code, told) = bounced(directory.path(), &["codes", "550"]);
        assert_eq!(code, Some(0), "{told}");
        let own = "[[variant]]\ncode = 550\nid = \"550.toy\"\nsays = [\"some toy\"]\naccepts = [\"550 some toy\"]\n";
        let repeats = format!("{row}{own}reason = \"{reason}\"\nfault = \"{fault}\"\nbecause = \"b\"\n");
        fs::write(directory.path().join("codes.toml"), repeats).expect("written");
        let (code, told) = bounced(directory.path(), &["codes", "550"]);
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains(&format!("codes.toml:10: fault `{fault}` follows from the reason `{reason}`")), "{told}");
    }
}

/// What the tables of the program have come to say, too, need not be said once more.
#[test]
fn check_names_the_rows_of_ones_own_that_do_nothing_any_more() {
    let tables = ["codes", "phrases", "kinds", "formats", "words"];
    let configuration = tables.map(|table| format!("[{table}]\nfiles = [\"{table}.toml\"]\n")).concat();
    let directory = place(&configuration, "codes.toml", "");
    let check = |rows: [&str; 5]| {
        for (table, rows) in tables.iter().zip(rows) {
            fs::write(directory.path().join(format!("{table}.toml")), rows).expect("written");
        }
        let (code, told) = bounced(directory.path(), &["check"]);
        // It lacks a mailbox, and nothing else, which is no mistake: mails may be handed over.
        assert!(code == Some(0) && told.contains("no mailbox and no mail log is configured"), "{told}");
        let idle = told.lines().filter_map(|line| line.strip_prefix("idle row")).map(str::trim);
        idle.map(|line| line.rsplit('/').next().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    // What the guides advise does something.
    let guides = [
        block(CODES, "drop = "),
        block(PHRASES, "[[phrase]]"),
        block(FORMATS, "[[sign]]"),
        block(FORMATS, "[[format]]"),
        block(FORMATS, "[[words]]"),
    ];
    assert_eq!(check(guides), [""; 0]);
    let idle = check([
        "[[status]]\ncode = \"x.1.77\"\nweight = \"vague\"\nadvice = \"Read the text.\"\n\
         5 = { reason = \"undetermined\", fault = \"recipient\", because = \"b\" }\n\
         description = \"d\"\nreference = \"r\"\n\n\
         [[variant]]\ncode = 550\nid = \"550.ours\"\nsays = [\"no such user in our house\"]\nreason = \"user_unknown\"\n\
         accepts = [\"550 no such user in our house\"]\n",
        "[[phrase]]\nid = \"ours.full\"\nsays = [\"mailbox is full of ours\"]\nreason = \"mailbox_full\"\n\
         strength = \"unmistakable\"\naccepts = [\"552 mailbox is full of ours\"]\n",
        "[[sign]]\nid = \"ours\"\nin = \"Subject\"\nfor = \"auto_reply\"\nweight = 2\nat = \"start\"\nsays = [\"absent\"]\n\
         accepts = [\"Subject: Absent\"]\n",
        "[[format]]\nid = \"qmail\"\nreplaces = \"qmail\"\nsigns = [\"this is the qmail-send program at\"]\n\
         accepts = [\"Hi. This is the qmail-send program at mx.example.org.\"]\n",
        "[[words]]\nid = \"service.ours\"\nrole = \"service\"\nsays = [\"postmaster\"]\naccepts = [\"postmaster\"]\n",
    ]);
    let expected = [
        "codes.toml:2: `5.1.77` does nothing: without it the table of codes gives the same answers",
        "codes.toml:11: `550.ours` does nothing: without it the table of codes gives the same answers",
        "phrases.toml:2: `ours.full` does nothing: without it the table of phrases gives the same answers",
        "kinds.toml:2: `ours` does nothing: without it the table of kinds gives the same answers",
        "formats.toml:2: `qmail` does nothing: without it the table of formats gives the same answers",
        "words.toml:2: `service.ours` does nothing: without it the table of words gives the same answers",
    ];
    assert_eq!(idle, expected);
}

#[test]
fn rules_of_ones_own_are_laid_over_the_policy_as_the_guide_says() {
    let rules = block(POLICY, "# The mailboxes of our own");
    let directory = place(block(POLICY, "[policy]"), "policy.toml", rules);
    let check = || bounced(directory.path(), &["check"]).1;
    let told = check();
    for part in [
        "suppresses      colleagues: 1 bounce (at corp.example, lab.corp.example): never\n",
        "                alarms: 3 hard bounces (read in alarms) within 14 days, the first and the last at least 2 days \
         apart, those within 6 hours counted once: for 7 days, then 30 days\n",
        "                mailbox-full: 10 soft bounces (mailbox_full) within 120 days",
        "                at most 50 addresses a message\n",
        "policy.toml, over the built-in\n",
    ] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
    assert!(!told.contains("idle row"), "{told}");

    let write = |text: &str| fs::write(directory.path().join("policy.toml"), text).expect("written");
    write(
        "[[rule]]\nid = \"mine\"\nclass = \"hard\"\nfor = \"forever\"\nreasons = \"moved\"\n[[rule]]\nid = \"all\"\nkind = \"complaint\"\nfor = \"forever\"\n",
    );
    let told = check();
    assert!(told.contains("policy.toml:7: `all` does nothing: without it the table of policy"), "{told}");
    assert!(told.contains("policy.toml:2: `mine` does nothing"), "{told}");
    write("[[rule]]\nid = \"mine\"\nclass = \"hard\"\nfor = \"a year\"\n");
    let (code, refused) = bounced(directory.path(), &["check"]);
    assert_eq!(code, Some(78), "{refused}");
    assert!(refused.contains("policy.toml:4: for: `a year` is no length of time"), "{refused}");
}
