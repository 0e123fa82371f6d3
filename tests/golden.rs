//! Golden mails: every `tests/mails/**/NAME.eml` is read and compared with the `NAME.json` beside it, with LF,
//! CRLF and CR-only line ends alike. `UPDATE=1 cargo test --test golden` writes the JSON anew: read the diff.

#[path = "support/line_ends.rs"]
mod line_ends;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bounced::{
    app::Judge,
    codes::Reason,
    report::{Address, Finding, Kind, Recipient, Report, Verdict},
};
use line_ends::with_line_ends;
use serde_json::{Value, json};

/// What a golden file states about a mail. Whoever adds an answer adds a line here and runs with `UPDATE=1`.
fn stated((report, verdicts): &(Report, Vec<Verdict>)) -> Value {
    let mut stated = json!({
        "kind": report.kind,
        "format": report.format,
        "recipients": report.recipients.iter().zip(verdicts).map(stated_of).collect::<Vec<_>>(),
    });
    // Of complaints only.
    if report.kind == Kind::Complaint {
        let complainer = |one: &Finding<Address>| json!({ "address": one.value.given(), "by": one.evidence.location });
        stated["complainers"] = report.complainers.iter().map(complainer).collect();
    }
    stated
}

fn stated_of((recipient, verdict): (&Recipient, &Verdict)) -> Value {
    let mut stated = json!({
        "address": recipient.address.as_ref().map(|a| a.given()),
        "action": recipient.action,
        "status": recipient.status(),
        "reply": recipient.reply(),
        "diagnostic": recipient.diagnostic,
        "class": verdict.class,
        "reason": verdict.reason,
        "fault": verdict.fault,
    });
    // Of few mails only.
    if let Some(forwarded) = &verdict.forwarded {
        stated["forwarded"] = json!(forwarded);
    }
    stated
}

fn mails_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            mails_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "eml") {
            found.push(path);
        }
    }
}

fn mails() -> Vec<PathBuf> {
    let mut found = Vec::new();
    mails_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails"), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no golden mail found");
    found
}

#[test]
fn every_golden_mail_reads_as_stated_whatever_its_line_ends() {
    let judge = Judge::embedded();
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for path in mails() {
        let expected_path = path.with_extension("json");
        for (ends, mail) in with_line_ends(&fs::read(&path).unwrap()) {
            let read = stated(&judge.judge(&mail));
            if update && ends == "CRLF" {
                fs::write(&expected_path, format!("{}\n", serde_json::to_string_pretty(&read).unwrap())).unwrap();
            }
            let expected = fs::read_to_string(&expected_path)
                .unwrap_or_else(|e| panic!("{}: {e}; run with UPDATE=1", expected_path.display()));
            let expected: Value = serde_json::from_str(&expected).unwrap();
            if read != expected {
                wrong.push(format!("{} ({ends})\n  stated {expected}\n  read   {read}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} readings differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_golden_file_has_lost_its_mail() {
    for mail in mails() {
        let dir = mail.parent().unwrap();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.expect("a readable directory").path();
            if path.extension().is_some_and(|e| e == "json") {
                assert!(path.with_extension("eml").exists(), "{} has no mail", path.display());
            }
        }
    }
}

#[test]
fn every_reason_has_a_golden_mail() {
    let judge = Judge::embedded();
    let mails = mails();
    let told: Vec<Reason> =
        mails.iter().flat_map(|path| judge.judge(&fs::read(path).unwrap()).1).map(|verdict| verdict.reason).collect();
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !told.contains(reason)).collect();
    assert!(missing.is_empty(), "no golden mail is judged {missing:?}");
}
