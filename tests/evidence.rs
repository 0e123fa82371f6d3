//! Evidence leads back: the line of the mail that it names holds, once decoded, the words that it cites.

#[path = "support/line_ends.rs"]
mod line_ends;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
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
    cited.extend(report.complainers.iter().map(|complainer| complainer.evidence.clone()));
    cited.extend(report.author.iter().map(|author| author.evidence.clone()));
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
        // What is encoded begins here and may go on below: behind a soft line break, or as far as its length needs.
        let soft = from.iter().take_while(|line| line.trim_ascii_end().ends_with(b"=")).count();
        let quoted = from[..from.len().min(soft + 1)].join(&b'\n');
        let needed = evidence.words.len() / 40 + 2;
        let base64 = from[..from.len().min(needed)].join(&b'\n');
        let decoded =
            [Some(from[0].to_vec()), quoted_printable_decode(&quoted), base64_decode(from[0]), base64_decode(&base64)];
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

/// What of a mail leads astray, and how much of it has a line.
#[derive(Default)]
struct Found {
    cited: usize,
    with_line: usize,
    wrong: Vec<String>,
}

impl Found {
    fn look(&mut self, what: &str, mail: &[u8]) {
        static JUDGE: LazyLock<Judge> = LazyLock::new(Judge::embedded);
        let (report, verdicts) = JUDGE.judge(mail);
        let lines = Lines::of(mail);
        // The lines of HTML are not those of its text.
        let html = mail.windows(9).any(|w| w.eq_ignore_ascii_case(b"text/html"));
        for evidence in cited(&report, &verdicts) {
            self.cited += 1;
            self.with_line += usize::from(evidence.line.is_some());
            if !html && !lines.hold(&evidence) {
                let line = String::from_utf8_lossy(lines.0[evidence.line.unwrap_or(1) as usize - 1]);
                self.wrong.push(format!("{what}: {evidence:?}\n   line {line:?}"));
            }
        }
    }

    fn judge(self, least: usize) {
        let Self { cited, with_line, wrong } = self;
        assert!(with_line > least && with_line * 10 > cited * 9, "{with_line} of {cited} have a line");
        assert!(wrong.is_empty(), "{} of {cited} lead astray:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn the_line_holds_the_words() {
    let mut found = Found::default();
    for (path, mail) in mails() {
        for (ends, mail) in with_line_ends(&mail) {
            // With CR alone the mail is one line to whoever counts.
            if ends != "CR" {
                found.look(&format!("{} ({ends})", path.display()), &mail);
            }
        }
    }
    found.judge(10_000);
}

/// The octets of a part, encoded as mail programs do it.
fn encodings(octets: &str) -> [(&'static str, String); 2] {
    let base64: Vec<String> =
        BASE64.encode(octets).as_bytes().chunks(76).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
    let (mut quoted, mut column) = (String::new(), 0);
    for &byte in octets.as_bytes() {
        match byte {
            b'\n' => quoted.push('\n'),
            b'!'..=b'<' | b'>'..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("={byte:02X}")),
        }
        column = if byte == b'\n' { 0 } else { column + 1 };
        if column > 20 {
            quoted.push_str("=\n");
            column = 0;
        }
    }
    [("base64", base64.join("\n") + "\n"), ("quoted-printable", quoted)]
}

/// The mail with its report part, or all of its text where it has no parts, encoded.
fn encoded(mail: &str) -> Option<[String; 2]> {
    let report = mail.find("\nContent-Type: message/delivery-status").map(|at| at + 1);
    let head = match report {
        Some(start) => start,
        None if mail.to_ascii_lowercase().contains("\ncontent-t") => return None,
        None => 0,
    };
    let body = head + mail[head..].find("\n\n")? + 2;
    let end = if report.is_some() { body + mail[body..].find("\n--")? } else { mail.len() };
    let headers = mail[head..body - 1].to_owned();
    if report.is_some() && headers.to_ascii_lowercase().contains("transfer-encoding") {
        return None;
    }
    Some(encodings(&mail[body..end]).map(|(name, octets)| {
        let (before, behind) = (&mail[..head], &mail[end..]);
        let typed = if report.is_some() { "" } else { "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" };
        format!("{before}{headers}{typed}Content-Transfer-Encoding: {name}\n\n{octets}{behind}")
    }))
}

#[test]
fn the_line_holds_the_words_that_are_encoded_in_it() {
    let (mut found, mut seen) = (Found::default(), 0);
    for (path, mail) in mails() {
        let Ok(mail) = String::from_utf8(mail) else { continue };
        for mail in encoded(&mail.replace("\r\n", "\n")).into_iter().flatten() {
            found.look(&path.display().to_string(), &mail.clone().into_bytes());
            found.look(&format!("{} (CRLF)", path.display()), mail.replace('\n', "\r\n").as_bytes());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} mails were encoded");
    found.judge(10_000);
}

#[test]
fn a_phrase_cites_its_own_line() {
    let mail = b"From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n\n\
        Your message could not be delivered.\n\n<anna@example.org>:\n550-We looked for it\n\
        550-and the mailbox is full\n550 so try again later\n";
    let (_, verdicts) = Judge::embedded().judge(mail);
    let winner = verdicts[0].winner.as_ref().expect("a row decides");
    assert!(winner.rule.starts_with("phrases:"), "{}", winner.rule);
    assert_eq!((winner.evidence.line, winner.evidence.words.as_str()), (Some(8), "550-and the mailbox is full"));
}
