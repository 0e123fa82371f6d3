//! `bounced classify` and `bounced explain` as scripts and people use them.

use std::{fs, path::Path};

use assert_cmd::Command;
use serde_json::Value;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/samples");

fn bounced() -> Command {
    let mut command = Command::cargo_bin("bounced").expect("the binary is built with the tests");
    command.env_remove("BOUNCED_CONFIG");
    command
}

fn json_lines(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn the_default_table_holds_what_was_promised() {
    let promised = [
        ("550 mailbox unavailable", "hard"),
        ("550 5.1.1 User unknown", "hard"),
        ("551 User not local", "hard"),
        ("550 Relaying prohibited", "soft"),
        ("550 5.7.1 Message refused as spam", "soft"),
        ("550 5.2.2 Mailbox full", "soft"),
        ("452 Requested action not taken: insufficient system storage", "soft"),
        ("452 Too many messages", "soft"),
        ("552 Requested mail action aborted: exceeded storage allocation", "soft"),
        ("557 Too many duplicate messages", "soft"),
        ("572 Relay not authorized", "soft"),
        ("421 Service not available, closing transmission channel", "soft"),
    ];
    let input: String = promised.iter().map(|(reply, _)| format!("{reply}\n")).collect();
    let output = bounced().args(["classify", "--response", "-"]).write_stdin(input).assert().success();
    let lines = json_lines(&output.get_output().stdout);
    assert_eq!(lines.len(), promised.len());
    for (line, (reply, class)) in lines.iter().zip(promised) {
        assert_eq!(line["response"], reply, "answers come in the order of the questions");
        assert_eq!(line["class"], class, "{line}");
    }
}

#[test]
fn a_complaint_names_who_complained_with_the_place_that_says_so() {
    let mails = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails/complaints");
    let [named, returned, hidden] =
        ["arf-several", "arf-received-for", "arf-redacted"].map(|name| mails.join(name).with_extension("eml"));
    let output = bounced().args(["classify", "--json"]).args([&named, &returned, &hidden]).assert().success();
    let lines = json_lines(&output.get_output().stdout);
    for line in &lines {
        assert_eq!((&line["kind"], &line["recipients"]), (&"complaint".into(), &serde_json::json!([])));
    }
    let first = serde_json::json!({
        "address": "anna@example.com", "field": "Original-Rcpt-To", "line": 22, "words": "<anna@example.com>",
    });
    assert_eq!((&lines[0]["complainers"][0], lines[0]["complainers"].as_array().unwrap().len()), (&first, 4));
    assert_eq!(lines[1]["complainers"][0]["field"], "Received of the returned message");
    assert_eq!(lines[2].get("complainers"), None);

    let text = |command: &str, mail: &Path| {
        let output = bounced().arg(command).arg(mail).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    let lines = text("classify", &named);
    let columns: Vec<&str> = lines.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns[..6], ["complaint", "-", "-", "-", "-", "anna@example.com"]);
    assert_eq!((lines.lines().count(), columns[7]), (4, "[Original-Rcpt-To]"));
    assert!(text("classify", &hidden).starts_with("complaint  "));
    let told = "complaint by anna@example.com — Received of the returned message, line 29: “for <anna@example.com>;";
    assert!(text("explain", &returned).contains(told));
    assert!(text("explain", &hidden).contains("complaint by nobody whom the mail names"));
}

#[test]
fn one_json_line_a_mail_has_the_documented_fields() {
    let file = format!("{SAMPLES}/postfix-mailbox-full.eml");
    let output = bounced().args(["classify", "--json", &file]).assert().success();
    let lines = json_lines(&output.get_output().stdout);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["file"], file.as_str());
    assert_eq!(lines[0]["kind"], "bounce");
    let recipient = lines[0]["recipients"][0].as_object().expect("a recipient");
    for field in ["address", "status", "reply", "class", "reason", "fault", "rule", "diagnostic"] {
        assert!(recipient.contains_key(field), "{field} is missing");
    }
    assert_eq!(recipient["reason"], "mailbox_full");
    assert_eq!(recipient["class"], "soft");
}

#[test]
fn whom_the_mail_reached_is_no_recipient_of_a_failure() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mails/formats/exchange/expanded-failed-delayed.eml");
    let output = bounced().args(["classify", "--json", file]).assert().success();
    let line = &json_lines(&output.get_output().stdout)[0];
    let recipients = line["recipients"].as_array().expect("a list").iter();
    let listed: Vec<_> = recipients.map(|r| (r["address"].as_str(), r["action"].as_str())).collect();
    let expected = [("dd@mx-test.example", "failed"), ("late@mx-test.example", "delayed")];
    assert_eq!(listed, expected.map(|(address, action)| (Some(address), Some(action))));
    assert_eq!(line["delivered"], serde_json::json!(["ok@mx-test.example"]));

    // People see the same, with a word of its own for whom it reached.
    let output = bounced().args(["classify", file]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let words = |line: &str| line.split_whitespace().next().map(str::to_owned);
    assert_eq!(text.lines().filter_map(words).collect::<Vec<_>>(), ["bounce", "bounce", "expanded"], "{text}");
    let last = text.lines().last().expect("three lines");
    assert!(last.contains(" success ") && last.contains("ok@mx-test.example"), "{text}");
    let output = bounced().args(["explain", file]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("  reached   ok@mx-test.example (expanded)\n"), "{text}");
    assert_eq!(text.matches("    verdict ").count(), 2, "{text}");
}

#[test]
fn what_strangers_wrote_does_not_steer_the_terminal() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a\u{1b}[2Jb.eml");
    let sample = fs::read_to_string(format!("{SAMPLES}/postfix-user-unknown.eml")).expect("a sample");
    let hostile =
        sample.replace("rfc822; anna", "rfc822; \u{1b}]0;anna").replace("rfc822;anna", "rfc822;\u{1b}]0;anna");
    assert_ne!(hostile, sample, "the sample names anna");
    fs::write(&file, hostile).expect("written");
    for command in ["classify", "explain"] {
        let output = bounced().arg(command).arg(&file).assert().success();
        let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
        assert!(text.contains("a\\u{1b}[2Jb.eml"), "{command}: {text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{command}: {text:?}");
    }
    fs::write(&file, "Subject: hello\n\nno bounce\n").expect("written");
    let output = bounced().arg("classify").arg(&file).assert().success();
    assert!(!output.get_output().stdout.contains(&0x1b));
}

#[test]
fn a_directory_is_walked_and_one_unreadable_path_stops_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let below = directory.path().join("a/b");
    fs::create_dir_all(&below).expect("made");
    fs::copy(format!("{SAMPLES}/postfix-user-unknown.eml"), below.join("1.eml")).expect("copied");
    let missing = directory.path().join("missing.eml");
    let output = bounced().args(["classify", "--json"]).arg(&missing).arg(directory.path()).assert().code(66);
    let (stdout, stderr) = (&output.get_output().stdout, String::from_utf8_lossy(&output.get_output().stderr));
    let lines = json_lines(stdout);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["file"], below.join("1.eml").display().to_string());
    assert_eq!(stderr.lines().filter(|line| line.contains("can't read")).count(), 1, "{stderr}");
    assert!(stderr.contains(&missing.display().to_string()), "{stderr}");
}

#[test]
fn every_mail_of_an_mbox_is_judged() {
    let mail = |name: &str| fs::read_to_string(format!("{SAMPLES}/{name}.eml")).expect("a sample");
    let separator = "From MAILER-DAEMON Mon Nov 23 10:00:00 2026\n";
    let mbox = format!("{separator}{}\n{separator}{}", mail("postfix-user-unknown"), mail("out-of-office"));
    let output = bounced().args(["classify", "--json", "-"]).write_stdin(mbox).assert().success();
    let lines = json_lines(&output.get_output().stdout);
    let told: Vec<_> = lines.iter().map(|l| (l["file"].as_str().unwrap(), l["kind"].as_str().unwrap())).collect();
    assert_eq!(told, [("-#1", "bounce"), ("-#2", "auto_reply")]);
}

#[test]
fn all_cores_answer_and_the_answers_come_in_the_order_of_the_mails() {
    let dir = tempfile::tempdir().unwrap();
    let bounce = fs::read_to_string(format!("{SAMPLES}/postfix-user-unknown.eml")).expect("a sample");
    // Short ones overtake long ones, unless somebody sees to it.
    let mail = |n: usize| {
        format!("From x@example.org Mon Nov 23 10:00:00 2026\n{bounce}{}\n\n", "word ".repeat(n % 7 * 9_999))
    };
    fs::write(dir.path().join("a"), (1..=150).map(mail).collect::<String>()).unwrap();
    for n in 100..250 {
        fs::write(dir.path().join(format!("b{n}.eml")), mail(n).split_once('\n').unwrap().1).unwrap();
    }
    let output = bounced().args(["classify", "--json"]).arg(dir.path()).assert().success();
    let path = |name: String| dir.path().join(name).display().to_string();
    let expected = (1..=150).map(|n| path(format!("a#{n}"))).chain((100..250).map(|n| path(format!("b{n}.eml"))));
    let told = json_lines(&output.get_output().stdout);
    assert!(told.iter().map(|line| line["file"].as_str().unwrap()).eq(expected), "{told:?}");
    assert!(told.iter().all(|line| line["recipients"][0]["class"] == "hard"), "{told:?}");
}

#[test]
fn explain_names_the_line_the_row_and_what_lost() {
    let file = Path::new(SAMPLES).join("postfix-mailbox-full.eml");
    let output = bounced().arg("explain").arg(&file).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let mail = fs::read_to_string(&file).expect("the sample");
    for part in
        ["kind      bounce", "decided by", "lost ", "Diagnostic-Code, line ", "soft · mailbox_full (fault: recipient)"]
    {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let line: usize = text
        .split("Diagnostic-Code, line ")
        .nth(1)
        .and_then(|rest| rest.lines().next()?.trim().parse().ok())
        .expect("a line number");
    assert!(mail.lines().nth(line - 1).is_some_and(|l| l.contains("552") || l.contains("452")), "line {line}");
}

/// Exim and others put a filler 5.0.0 beside whatever the server answered: its advice, "read the text", helps nobody.
#[test]
fn advice_is_on_the_code_that_says_something() {
    let mails = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mails/weighing");
    for (mail, advice) in
        [("filler-says-less-than-the-reply", "Remove the address."), ("conflict-and-no-doubt", "Remove the address.")]
    {
        let output = bounced().arg("explain").arg(format!("{mails}/{mail}.eml")).assert().success();
        let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
        let given = text.lines().find_map(|line| line.trim().strip_prefix("advice")).map(str::trim);
        assert_eq!(given, Some(advice), "{mail}:\n{text}");
    }
}

#[test]
fn explain_names_the_line_that_lowered_a_verdict() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mails/weighing/no-conflict-is-limited.eml");
    let output = bounced().args(["explain", file]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let mail = fs::read_to_string(file).expect("the mail");
    let line = 1 + mail.lines().position(|line| line.starts_with("Diagnostic-Code: smtp; 450")).expect("a diagnostic");
    let lowered =
        format!("lowered    to soft: a code that begins with 4 allows no worse — Diagnostic-Code, line {line}\n");
    assert!(text.contains(&lowered), "{text}");
}

#[test]
fn a_directory_ends_with_a_summary_on_standard_error() {
    let directory = tempfile::TempDir::new().expect("there is room");
    let run = |args: &[&str]| {
        let output = bounced().args(args).arg(directory.path()).assert().success();
        String::from_utf8(output.get_output().stderr.clone()).expect("it is text")
    };
    assert!(run(&["classify"]).contains("no mail in it"));
    fs::copy(format!("{SAMPLES}/postfix-mailbox-full.eml"), directory.path().join("one.eml")).expect("there is room");
    fs::write(directory.path().join("subscriptions"), "INBOX").expect("there is room");
    let told = run(&["classify", "--json"]);
    assert!(told.contains("subscriptions: skipped, what a mail server notes about a mailbox"), "{told}");
    assert!(told.ends_with("1 mail: 0 hard recipients, 1 soft recipient, 0 mails that report on nobody\n"), "{told}");
}

#[test]
fn a_reply_alone_is_explained_by_its_rows() {
    let output = bounced().args(["explain", "--response", "550 5.1.1 User unknown"]).assert().success();
    let told = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(told.contains("hard · user_unknown") && told.contains("decided by"), "{told}");
}
