//! An anonymised copy gives the same verdict as the mail it was made from, and names nobody who is named there.
//! Over every mail of the project with LF and CRLF, and over labelled mail beside the checkout where there is some.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/line_ends.rs"]
mod line_ends;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant},
};

use assert_cmd::Command;
use bounced::{
    app::Judge,
    redact::{Keep, differences, redact},
};
use line_ends::with_line_ends;
use mail_parser::{Message, MessageParser, PartType, decoders::html::html_to_text};
use proptest::prelude::*;
use regex::Regex;

static JUDGE: LazyLock<Judge> = LazyLock::new(Judge::embedded);
static KEEP: LazyLock<Keep> = LazyLock::new(|| JUDGE.keep());

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, found),
            false if path.extension().is_none_or(|e| e == "eml") => found.push(path),
            false => {}
        }
    }
}

fn mails() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for dir in ["tests/mails", "scripts/samples"] {
        files_below(&root.join(dir), &mut found);
    }
    assert!(found.len() > 50, "only {} mails", found.len());
    found.sort();
    found
}

/// Everything that a person or a program can read in a mail: its bytes, its decoded fields and its decoded parts.
fn visible(raw: &[u8]) -> String {
    let mut seen = String::from_utf8_lossy(raw).into_owned();
    if let Some(message) = MessageParser::default().parse(raw) {
        add_visible(&message, &mut seen);
    }
    seen
}

fn add_visible(message: &Message<'_>, seen: &mut String) {
    for part in &message.parts {
        for header in &part.headers {
            if let Some(text) = header.value().as_text() {
                seen.push_str(&format!("\n{text}"));
            }
            for mailbox in header.value().as_address().into_iter().flat_map(|a| a.iter()) {
                seen.push_str(&format!("\n{} <{}>", mailbox.name().unwrap_or(""), mailbox.address().unwrap_or("")));
            }
        }
        seen.push('\n');
        match &part.body {
            PartType::Text(text) => seen.push_str(text),
            PartType::Html(html) => seen.push_str(&html_to_text(html)),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => seen.push_str(&String::from_utf8_lossy(bytes)),
            PartType::Message(inner) => add_visible(inner, seen),
            PartType::Multipart(_) => {}
        }
    }
}

static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"([\pL\pN][\pL\pN._+=-]{0,63})@((?:[\pL\pN_-]+\.)+[\pL]{2,})").unwrap());
static IP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^\d.])((?:\d{1,3}\.){3}\d{1,3})(?:[^\d.]|$)").unwrap());
static HOST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?mi)^(?:Reporting-MTA|Remote-MTA):\s*dns\s*;\s*([\w-]+(?:\.[\w-]+)+)").unwrap());
static FIELD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^[\w-]+:").unwrap());
/// What copies are made of.
static MADE_UP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(anon\d+|x+|example|.*\.example|(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+|127\..*|0\.0\.0\.0)$")
        .unwrap()
});

/// What must not be in a copy, in lower case.
fn secrets(raw: &[u8]) -> BTreeSet<String> {
    let text = visible(raw).to_lowercase();
    let mut secrets = BTreeSet::new();
    let telling = |word: &str| word.chars().count() >= 3 && !KEEP.word(word);
    for address in ADDRESS.captures_iter(&text) {
        let (local, host) = (&address[1], &address[2]);
        if local.chars().any(char::is_alphabetic)
            && local.split(|c: char| !c.is_alphanumeric()).any(telling)
            && !KEEP.sender(local)
        {
            secrets.insert(local.to_owned());
            secrets.insert(format!("{local}@{host}"));
        }
        if !KEEP.is_public(host) {
            secrets.insert(host.to_owned());
        }
    }
    for ip in IP.captures_iter(&text) {
        let octets: Vec<u16> = ip[1].split('.').map(|o| o.parse().unwrap()).collect();
        if octets.iter().all(|&o| o < 256) {
            secrets.insert(ip[1].to_owned());
        }
    }
    let hosts = HOST.captures_iter(&text).map(|host| host[1].to_owned());
    secrets.extend(hosts.filter(|host| !KEEP.is_public(host)));
    for subject in JUDGE.judge(raw).0.original.subject.iter() {
        let words = subject.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
        secrets.extend(words.filter(|w| telling(w) && w.chars().any(char::is_alphabetic)));
    }
    // Names of fields stay.
    let names: BTreeSet<&str> = FIELD.find_iter(&text).flat_map(|name| name.as_str().split(['-', ':'])).collect();
    secrets.retain(|s| !MADE_UP.is_match(s) && !names.contains(s.as_str()));
    secrets
}

/// Every way to read one word out of a text: bare, with dots and hyphens, as an address.
fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for inside in ["", "._-", "._-+=", "._-+=@"] {
        let pieces = text.split(|c: char| !(c.is_alphanumeric() || inside.contains(c)));
        words.extend(pieces.map(|p| p.trim_matches(['.', '-', '_', '+', '=']).to_lowercase()));
    }
    words
}

fn leaks(raw: &[u8], copy: &[u8]) -> Vec<String> {
    let words = words(&visible(copy));
    secrets(raw).into_iter().filter(|secret| words.contains(secret)).collect()
}

#[test]
fn copies_of_the_projects_mails_give_the_same_verdict_and_name_nobody() {
    let mut wrong = Vec::new();
    let mut hidden = 0;
    for path in mails() {
        for (ends, mail) in with_line_ends(&fs::read(&path).unwrap()) {
            let copy = redact(&mail, &KEEP);
            let differ = differences(&JUDGE.judge(&mail), &JUDGE.judge(&copy));
            // A CR-only mail is one line to every other reader.
            let leaked = if ends == "CR" { Vec::new() } else { leaks(&mail, &copy) };
            hidden += secrets(&mail).len();
            if !differ.is_empty() || !leaked.is_empty() {
                wrong.push(format!("{} ({ends}): {differ:?}, leaks {leaked:?}", path.display()));
            }
        }
    }
    assert!(hidden > 500, "only {hidden} secrets were looked for");
    assert!(wrong.is_empty(), "{} copies are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_copy_of_a_copy_gives_the_same_verdict() {
    for path in mails() {
        let mail = fs::read(&path).unwrap();
        let copy = redact(&mail, &KEEP);
        let again = redact(&copy, &KEEP);
        let differ = differences(&JUDGE.judge(&mail), &JUDGE.judge(&again));
        assert!(differ.is_empty(), "{}: {differ:?}", path.display());
        assert!(leaks(&mail, &again).is_empty(), "{}", path.display());
    }
}

/// The share of labelled mails whose copies give the same verdict, and what leaks from any of them.
fn measure(name: &str, least: f64) {
    let shared = std::env::var_os("SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let dir = shared.join(name).join("messages");
    if !dir.is_dir() {
        // No server that could be installed: labelled mail lies beside the checkout or not.
        println!("SKIP {name}: there is no {}", dir.display());
        return;
    }
    let mut files = Vec::new();
    files_below(&dir, &mut files);
    let mut changed = 0;
    let mut leaky = Vec::new();
    for path in &files {
        let mail = fs::read(path).unwrap();
        let copy = redact(&mail, &KEEP);
        let differ = differences(&JUDGE.judge(&mail), &JUDGE.judge(&copy));
        if !differ.is_empty() {
            changed += 1;
            println!("{}: {}", path.display(), differ.join("; "));
        }
        let leaked = leaks(&mail, &copy);
        if !leaked.is_empty() {
            leaky.push(format!("{}: {leaked:?}", path.display()));
        }
    }
    println!("{name}: {} copies leak", leaky.len());
    let same = 1.0 - f64::from(changed) / files.len() as f64;
    println!("{name}: {:.2} % of {} copies give the same verdict", same * 100.0, files.len());
    assert!(leaky.is_empty(), "{} copies leak:\n{}", leaky.len(), leaky.join("\n"));
    assert!(same >= least, "{same} of the copies keep their verdict");
}

/// Words, codes and signs of which bounces are made, in any order.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(vec![
        "\r\n",
        "\n",
        "\r",
        "\n\n",
        " ",
        "\t",
        ":",
        ";",
        "=",
        "@",
        "<",
        ">",
        "\"",
        "(",
        ")",
        "--b",
        "--b--",
        "=?utf-8?B?",
        "?=",
        "=?utf-8?q?=C3=BC?=",
        "Subject",
        "From",
        "To",
        "anna",
        "anna@example.org",
        "\"a b\"@",
        "\\x{FC}",
        "192.0.2.1",
        "::1",
        "mx.example.org",
        "Content-Type: multipart/report; boundary=b",
        "Content-Type: message/rfc822",
        "Content-Type: text/html",
        "Content-Transfer-Encoding: base64",
        "Content-Transfer-Encoding: quoted-printable",
        "Content-Type: text/plain; charset=iso-2022-jp",
        "550 5.1.1",
        "İ",
        "ẞ",
        "邮箱",
        "&#64;",
        "://",
        "+",
        "%",
        "AbC12345",
        "RmluYWw=",
        "=3D",
        "=\n",
        "Return-Path: <>\nReceived: x\nMessage-ID: y\n",
    ]);
    prop::collection::vec(fragment, 0..60).prop_map(|all| all.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), text in fragments()) {
        let _ = redact(&bytes, &KEEP);
        let _ = redact(&text, &KEEP);
    }
}

/// Twice the size may take twice the time; four times would be an attack on whoever redacts.
#[test]
fn the_time_is_linear_in_the_size() {
    let head = "From: a@example.org\nSubject: x\nContent-Type: text/plain\n\n";
    for unit in [
        "a",
        "@",
        "a@",
        "a.",
        "a+",
        "=?",
        "\"",
        "<",
        ":",
        "::",
        "://",
        "\\x{",
        "&#",
        "\n>",
        "a@b.example,\n",
        "=?utf-8?q?a?= ",
        "Subject: a b c\n",
        "--\n",
        "Subject: x\nReceived: y\n\n",
    ] {
        let took = |size: usize| {
            let mail = head.to_owned() + &unit.repeat(size / unit.len());
            let header = format!("From: {}\n\n", unit.repeat(size / unit.len()));
            let start = Instant::now();
            let _ = redact(mail.as_bytes(), &KEEP);
            let _ = redact(header.as_bytes(), &KEEP);
            start.elapsed()
        };
        // A busy machine may stall one measurement, not three.
        let linear = || took(80_000) < took(10_000) * 8 * 3 + Duration::from_millis(200);
        assert!((0..3).any(|_| linear()), "{unit:?}: eight times the size takes far more than eight times as long");
    }
}

const BOUNCE: &str = "\
From: Mail Delivery System <MAILER-DAEMON@mx.shop.example.net>
To: Anna Petersen <anna.petersen@shop.example.net>
Subject: Undelivered: Geheimer Bericht
Message-ID: <4Kq7093xZ2@mx.shop.example.net>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=\"4Kq7093xZ2.17/mx.shop.example.net\"

--4Kq7093xZ2.17/mx.shop.example.net
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

@BASE64@
--4Kq7093xZ2.17/mx.shop.example.net
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.shop.example.net

Final-Recipient: rfc822; bert@firm.example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <bert@firm.example.com>: User unknown, says Zanzibar
--4Kq7093xZ2.17/mx.shop.example.net
Content-Type: message/rfc822

From: =?utf-8?Q?Anna_Petersen?= <anna.petersen@shop.example.net>
To: Bert <bert@firm.example.com>
Subject: =?utf-8?B?R2VoZWltZXIgQmVyaWNodA==?=

Kaufen Sie jetzt.
--4Kq7093xZ2.17/mx.shop.example.net--
";

/// A bounce with its words in base64, as some programs send them.
fn bounce() -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let words = "<bert@firm.example.com>: host mx.firm.example.com[198.18.7.9] said: 550 5.1.1 User unknown\n";
    BOUNCE.replace("@BASE64@", &STANDARD.encode(words)).into_bytes()
}

#[test]
fn names_go_consistently_and_codes_and_words_of_servers_stay() {
    let copy = redact(&bounce(), &KEEP);
    let seen = visible(&copy).to_lowercase();
    for gone in
        ["anna", "petersen", "bert", "firm", "shop", "geheimer", "bericht", "4kq7093xz2", "198.18.7.9", "kaufen"]
    {
        assert!(!seen.contains(gone), "{gone} is in {seen}");
    }
    for kept in ["550 5.1.1", "user unknown, says zanzibar", "mail delivery system", "] said: "] {
        assert!(seen.contains(kept), "{kept} is not in {seen}");
    }
    let (report, _) = JUDGE.judge(&copy);
    let address = report.recipients[0].address.as_ref().unwrap().given();
    assert!(report.original.to.iter().any(|to| to == address), "one address has two names: {seen}");
    assert!(seen.matches(address).count() >= 4, "{seen}");
}

/// A server may greet by name, and quote a subject; its other words stay.
#[test]
fn names_and_subjects_go_wherever_a_server_says_them() {
    let mail = BOUNCE
        .replace("To: Bert <", "To: Dr. Bert Quittenbaum <")
        .replace("User unknown, says Zanzibar", "User unknown, says Zanzibar: Frau PETERSEN to Quittenbaum: Geheimer");
    let seen = visible(&redact(mail.as_bytes(), &KEEP)).to_lowercase();
    for gone in ["petersen", "quittenbaum", "geheimer"] {
        assert!(!seen.contains(gone), "{gone} is in {seen}");
    }
    assert!(seen.contains("user unknown, says zanzibar: frau "), "{seen}");

    let mail =
        BOUNCE.replace("To: Bert <", "To: 李小龙 <").replace("User unknown, says Zanzibar", "User unknown 李小龙 不在");
    let seen = visible(&redact(mail.as_bytes(), &KEEP));
    assert!(!seen.contains("李小龙") && seen.contains("不在"), "{seen}");
}

#[test]
fn the_command_writes_the_copy_and_tells_whether_the_verdict_is_the_same() {
    let command = || Command::new(env!("CARGO_BIN_EXE_bounced"));
    let output = command().env_clear().args(["redact", "-"]).write_stdin(bounce()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, redact(&bounce(), &KEEP));
    assert!(output.stderr.is_empty(), "{output:?}");
    let missing = command().env_clear().args(["redact", "/nonexistent"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(66));
}

/// The verdict hangs on the name of a host that no table names.
#[test]
fn a_copy_that_gives_another_verdict_is_written_and_told() {
    let mail = String::from_utf8(bounce()).unwrap().replace("5.1.1", "5.0.0");
    // A link's last part may be a message's or a reader's, and goes; here it says which list the sender is on.
    let mail = mail.replace("User unknown, says Zanzibar", "see https://firm.example.com/why#BL000001");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"));
    let output = command.env_clear().args(["redact", "-"]).write_stdin(mail.clone()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the copy gives another verdict: recipient 1, "), "{error}");
    assert_eq!(output.stdout, redact(mail.as_bytes(), &KEEP));
}

#[test]
#[ignore = "needs labelled mail beside the checkout: .ci/run"]
fn copies_of_labelled_mails_keep_their_verdicts() {
    measure("corpus", 0.97);
}

#[test]
#[ignore = "needs labelled mail beside the checkout: .ci/run"]
fn copies_of_mail_servers_own_bounces_keep_their_verdicts() {
    // Some of these servers answer as the local part tells them to: without its words, the copy says less.
    measure("lab", 0.96);
}
