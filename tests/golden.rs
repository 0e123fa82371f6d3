//! Golden mails: every `tests/mails/**/NAME.eml` is read and compared with the `NAME.json` beside it, with LF,
//! CRLF, CR-only and CR CR LF line ends alike. `UPDATE=1 cargo test --test golden` writes the JSON anew: read the diff.

#[path = "support/line_ends.rs"]
mod line_ends;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bounced::{
    app::Judge,
    codes::Reason,
    report::{Action, Address, Evidence, Finding, Kind, Recipient, Report, StoredRecipient, Verdict},
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
    // Of automatic answers and what is no report only.
    if let Some(author) = &report.author {
        stated["author"] = json!(author.value.given());
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

/// Of a verdict what a store has columns for.
fn as_stored(verdict: &Verdict) -> Value {
    let Verdict { class, reason, fault, status, reply, rule, conflict, winner, lowered, forwarded, .. } = verdict;
    let place = |evidence: &Evidence| json!([evidence.location, evidence.line, evidence.words]);
    let lowered = lowered.as_ref().map(|lowered| (lowered.from, lowered.evidence.as_ref().map(place)));
    let winner = winner.as_ref().map(|winner| place(&winner.evidence));
    json!([class, reason, fault, status, reply, rule, conflict, winner, lowered, forwarded])
}

#[test]
fn what_is_stored_of_a_recipient_gives_the_same_verdict() {
    let judge = Judge::embedded();
    let (mut judged, mut wrong) = (0, Vec::new());
    for path in mails() {
        let (report, verdicts) = judge.judge(&fs::read(&path).unwrap());
        for (recipient, verdict) in report.recipients.iter().zip(&verdicts) {
            let fails = matches!(recipient.action, Action::Failed | Action::Delayed);
            let evidence = recipient.to_store();
            assert_eq!(evidence.is_some(), fails, "{}", path.display());
            let Some(evidence) = evidence else { continue };
            judged += 1;
            let stored = StoredRecipient {
                action: recipient.action,
                address_given: recipient.address_given(),
                is_address: recipient.address.is_some(),
                diagnostic: recipient.diagnostic.as_ref().map(|diagnostic| diagnostic.as_str()),
                remote_mta: recipient.remote_mta.as_deref(),
                forwarded_to: recipient.forwarded_to.as_deref(),
                evidence: &evidence,
            };
            let Some(restored) = stored.recipient() else {
                wrong.push(format!("{}: can't be read: {evidence}", path.display()));
                continue;
            };
            assert_eq!((&restored.address, restored.is_ours), (&recipient.address, recipient.is_ours));
            let again = judge.classifier().judge_recipient(&restored, report.reporting_mta.as_deref());
            if as_stored(&again) != as_stored(verdict) {
                wrong.push(format!(
                    "{}\n  {evidence}\n  first {}\n  again {}",
                    path.display(),
                    as_stored(verdict),
                    as_stored(&again)
                ));
            }
        }
    }
    assert!(judged > 100, "no recipient is there to be judged again");
    assert!(wrong.is_empty(), "{} verdicts differ:\n{}", wrong.len(), wrong.join("\n"));
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
