//! Evidence leads back: the line of the mail that it names holds, once decoded, the words that it cites.

#[path = "support/line_ends.rs"]
mod line_ends;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bounced::{
    app::Judge,
    report::{Evidence, Report, Verdict},
};
use line_ends::with_line_ends;
use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};

fn mails() -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut directories = vec![root.join("tests/mails"), root.join("scripts/samples")];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "eml") {
                found.push((path.clone(), fs::read(path).expect("a readable mail")));
            }
        }
    }
    assert!(found.len() > 100, "only {} mails found", found.len());
    found
}

/// Everything that a reading cites.
fn cited(report: &Report, verdicts: &[Verdict]) -> Vec<Evidence> {
    let mut cited = vec![report.kind_because.evidence.clone()];
    for recipient in &report.recipients {
        cited.extend(recipient.action_because.clone());
        cited.extend(recipient.statuses.iter().map(|f| f.evidence.clone()));
        cited.extend(recipient.replies.iter().map(|f| f.evidence.clone()));
        for text in recipient.diagnostic.iter().chain([&recipient.text]) {
            let words = text.as_str();
            let starts = words.char_indices().filter(|(at, _)| !words[..*at].ends_with(char::is_alphanumeric));
            cited.extend(
                starts
                    .step_by(5)
                    .filter(|(_, c)| c.is_alphanumeric())
                    .map(|(at, c)| text.evidence(at..at + c.len_utf8())),
            );
        }
    }
    for verdict in verdicts {
        let lowered = verdict.lowered.iter().filter_map(|l| l.evidence.clone());
        cited.extend(verdict.winner.iter().chain(&verdict.outranked).map(|c| c.evidence.clone()).chain(lowered));
    }
    cited
}

/// The lines of a mail as it was sent.
struct Lines<'m>(Vec<&'m [u8]>);

impl<'m> Lines<'m> {
    fn of(mail: &'m [u8]) -> Self {
        Self(mail.split(|&b| b == b'\n').collect())
    }

    /// Whether the line says, once decoded, what is cited from it: at least the first word.
    fn hold(&self, evidence: &Evidence) -> bool {
        let (Some(line), Some(word)) = (evidence.line, evidence.words.split_whitespace().next()) else { return true };
        let from = &self.0[line as usize - 1..];
        // What is encoded may begin here and go on in the next line.
        let here = [from[0], b"\n", from.get(1).copied().unwrap_or_default()].concat();
        let decoded =
            [Some(from[0].to_vec()), quoted_printable_decode(&here), base64_decode(from[0]), base64_decode(&here)];
        let charsets = [
            "utf-8",
            "iso-2022-jp",
            "iso-8859-1",
            "koi8-r",
            "windows-1251",
            "gbk",
            "big5",
            "euc-kr",
            "euc-jp",
            "shift_jis",
        ];
        let charsets = charsets.map(|label| encoding_rs::Encoding::for_label(label.as_bytes()).expect(label));
        decoded.iter().flatten().any(|bytes| charsets.iter().any(|charset| charset.decode(bytes).0.contains(word)))
    }
}

#[test]
fn the_line_holds_the_words() {
    let judge = Judge::embedded();
    let (mut seen, mut with_line, mut wrong) = (0, 0, Vec::new());
    for (path, mail) in mails() {
        for (ends, mail) in with_line_ends(&mail) {
            if ends == "CR" {
                continue;
            }
            let (report, verdicts) = judge.judge(&mail);
            let lines = Lines::of(&mail);
            // The lines of HTML are not those of its text.
            let html = mail.windows(9).any(|w| w.eq_ignore_ascii_case(b"text/html"));
            for evidence in cited(&report, &verdicts) {
                seen += 1;
                with_line += usize::from(evidence.line.is_some());
                if !html && !lines.hold(&evidence) {
                    let line = &lines.0[evidence.line.unwrap_or(1) as usize - 1];
                    let line = String::from_utf8_lossy(line);
                    wrong.push(format!("{} ({ends}): {evidence:?}\n   line {line:?}", path.display()));
                }
            }
        }
    }
    assert!(with_line > 10_000 && with_line * 10 > seen * 9, "{with_line} of {seen} have a line");
    assert!(wrong.is_empty(), "{} of {seen} lead astray:\n{}", wrong.len(), wrong.join("\n"));
}
