//! What an address is spelled like says nothing of what became of it: golden mails whose addresses spell phrases get
//! the verdicts that they get otherwise.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bounced::{app::Judge, text::addresses};

/// Local parts and domains that spell what servers say.
const SPELLED: [(&str, &str); 6] = [
    ("user.unknown", "mailbox-full.example"),
    ("spam", "blocked.example"),
    ("x", "nxdomain.example"),
    ("over-quota", "user-unknown.example"),
    ("no-such-user", "blacklist.example"),
    ("account_disabled", "relay-denied.example"),
];

fn mails(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the golden mails are there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            mails(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "eml") {
            found.push(path);
        }
    }
}

/// A mail in which one recipient has another name; `None` where the mail does not show it in plain text.
fn renamed(mail: &str, address: &str, (local, domain): (&str, &str)) -> Option<String> {
    let at = addresses(mail).find(|(_, found)| found.given().eq_ignore_ascii_case(address))?.0;
    let (_, old_domain) = mail[at.clone()].rsplit_once('@')?;
    // Names that some program is known by are left alone.
    let is_free = [".example", ".test", ".invalid", "example.org", "example.com", "example.net"];
    if !is_free.iter().any(|end| old_domain.ends_with(end)) {
        return None;
    }
    let shown = &mail[at];
    // One that stands there in capitals, in quotes, or at another host, too, would be somebody else's afterwards.
    let times = |name: &str| mail.to_lowercase().matches(&name.to_lowercase()).count();
    let old_local = &shown[..shown.len() - old_domain.len() - 1];
    let others = times(&format!("{old_local}@")) + times(&format!("{old_local}\"@")) - times(shown);
    let is_one = others == 0 && times(shown) == mail.matches(shown).count();
    let everywhere = mail.replace(shown, &format!("{local}@{old_domain}")).replace(old_domain, domain);
    is_one.then_some(everywhere)
}

#[test]
fn an_address_that_spells_a_phrase_changes_no_verdict() {
    let judge = Judge::embedded();
    let judged = |raw: &[u8]| {
        let (report, verdicts) = judge.judge(raw);
        let said: Vec<_> = verdicts.iter().map(|v| (v.class, v.reason, v.fault)).collect();
        (report, said)
    };
    let mut paths = Vec::new();
    mails(Path::new("tests/mails"), &mut paths);
    let (mut tried, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in paths {
        let raw = fs::read(&path).expect("it can be read");
        let Ok(mail) = std::str::from_utf8(&raw) else { continue };
        let (report, said) = judged(&raw);
        for address in report.recipients.iter().filter_map(|recipient| recipient.address.as_ref()) {
            for spelled in SPELLED {
                let Some(other) = renamed(mail, address.given(), spelled) else { continue };
                tried.insert(path.clone());
                let (other_report, other_said) = judged(other.as_bytes());
                if (report.kind, &said) != (other_report.kind, &other_said) {
                    wrong.push(format!("{} as {spelled:?}: {said:?}, then {other_said:?}", path.display()));
                }
            }
        }
    }
    assert!(tried.len() >= 200, "only {} mails were tried", tried.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
