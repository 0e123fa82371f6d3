//! What lands in a bounce mailbox, told apart: `tests/mails/kinds/KIND_NAME.eml` says by its name what it is.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/line_ends.rs"]
mod line_ends;

use std::{fs, path::Path};

use bounced::{
    parse::{Options, parse},
    report::{Action, Kind},
};
use line_ends::with_line_ends;

const KINDS: [Kind; 6] =
    [Kind::Bounce, Kind::Delayed, Kind::Delivered, Kind::AutoReply, Kind::Complaint, Kind::NotBounce];

/// Every mail of the directory with the kind that its name states.
fn mails() -> Vec<(String, Kind, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails/kinds");
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mails: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "eml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let stated = |kind: &&Kind| name.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with('_'));
            let kind = *KINDS.iter().find(stated).unwrap_or_else(|| panic!("{name} states no kind"));
            (name, kind, fs::read(&path).unwrap())
        })
        .collect();
    assert!(mails.len() >= 60, "only {} mails found", mails.len());
    mails
}

#[test]
fn every_mail_is_what_its_name_states_whatever_its_line_ends() {
    let options = Options::default();
    let mut wrong = Vec::new();
    for (name, stated, mail) in mails() {
        for (ends, mail) in with_line_ends(&mail) {
            let report = parse(&mail, &options);
            if report.kind != stated {
                let because = &report.kind_because;
                wrong.push(format!(
                    "{name} ({ends}): {} by {}: {}",
                    report.kind, because.evidence.location, because.evidence.words
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} mails misread:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_bounce_names_who_failed_and_nothing_else_does() {
    let options = Options::default();
    for (name, stated, mail) in mails() {
        let report = parse(&mail, &options);
        let failed: Vec<_> = report.recipients.iter().filter(|r| r.action == Action::Failed).collect();
        if stated == Kind::Bounce {
            let addresses: Vec<_> = failed.iter().filter_map(|r| r.address.as_ref()).map(|a| a.normalised()).collect();
            assert_eq!(addresses, ["bob@example.com"], "{name}");
        } else {
            assert!(failed.is_empty(), "{name} yields {failed:?}");
        }
    }
}

#[test]
fn every_kind_is_known_with_several_mails() {
    let mails = mails();
    for kind in KINDS {
        let count = mails.iter().filter(|(_, stated, _)| *stated == kind).count();
        assert!(count >= 2, "{kind}: {count} mails");
    }
}
