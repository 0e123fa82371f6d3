//! Whatever a mail looks like: nothing panics, the good parts are kept, and the meaning does not depend on what
//! happened to the mail on its way. Time and memory stay in proportion to its size.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bounced::{
    app::Judge,
    codes::{Class, EnhancedStatusCode, Reason, ReplyCode},
    report::{Action, Kind, Recipient, Report, Verdict},
};
use proptest::prelude::*;

static JUDGE: LazyLock<Judge> = LazyLock::new(Judge::embedded);
static MAILS: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures);

/// A mail of the project, with LF line ends.
struct Fixture {
    path: PathBuf,
    mail: Vec<u8>,
}

fn fixtures() -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["tests/mails", "scripts/samples"] {
        collect(&root.join(directory), &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 100, "only {} mails found", found.len());
    found
}

fn collect(directory: &Path, found: &mut Vec<Fixture>) {
    for path in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "eml") {
            let mail = fs::read(&path).expect("a readable mail").into_iter().filter(|&b| b != b'\r').collect();
            found.push(Fixture { path, mail });
        }
    }
}

/// What a mail comes to, for each recipient.
#[derive(Debug, PartialEq)]
struct Meaning {
    kind: Kind,
    recipients: Vec<Said>,
}

/// What it says of one recipient.
#[derive(Debug, PartialEq)]
struct Said {
    address: Option<String>,
    action: Action,
    class: Class,
    reason: Reason,
    status: Option<EnhancedStatusCode>,
    reply: Option<ReplyCode>,
}

fn meaning(mail: &[u8]) -> Meaning {
    let (report, verdicts) = checked(mail);
    let of = |(r, v): (&Recipient, &Verdict)| {
        let address = r.address.as_ref().map(|a| a.normalised().to_owned());
        Said { address, action: r.action, class: v.class, reason: v.reason, status: v.status, reply: v.reply }
    };
    Meaning { kind: report.kind, recipients: report.recipients.iter().zip(&verdicts).map(of).collect() }
}

/// Reads and judges a mail, and holds what is true of every mail.
fn checked(mail: &[u8]) -> (Report, Vec<Verdict>) {
    let (report, verdicts) = JUDGE.judge(mail);
    assert_eq!(verdicts.len(), report.recipients.len(), "one verdict for each recipient");
    for (recipient, verdict) in report.recipients.iter().zip(&verdicts) {
        let fails = recipient.action == Action::Failed;
        assert!(!fails || report.kind == Kind::Bounce, "a {:?} has a failed recipient", report.kind);
        match recipient.action {
            Action::Failed => assert_ne!(verdict.class, Class::Success),
            Action::Delayed => assert_eq!(verdict.class, Class::Soft),
            Action::Delivered | Action::Relayed | Action::Expanded => assert_eq!(verdict.class, Class::Success),
        }
    }
    (report, verdicts)
}

/// Reads every bounce of the fixtures that `fits` anew, as `claim` does where it can, and names all that change
/// their meaning by it.
fn every_bounce(fits: impl Fn(&Fixture) -> bool, claim: impl Fn(&Fixture) -> Option<Meaning>) {
    let (mut seen, mut wrong) = (0, Vec::new());
    for fixture in MAILS.iter().filter(|f| fits(f)) {
        let bare = meaning(&fixture.mail);
        if bare.kind != Kind::Bounce {
            continue;
        }
        let Some(read) = claim(fixture) else { continue };
        if read != bare {
            wrong.push(format!("{}\n  bare {bare:?}\n  read {read:?}", fixture.path.display()));
        }
        seen += 1;
    }
    assert!(seen > 15, "only {seen} fixtures fit");
    assert!(wrong.is_empty(), "{} of {seen} changed their meaning:\n{}", wrong.len(), wrong.join("\n"));
}

fn text_of(mail: &[u8]) -> String {
    String::from_utf8_lossy(mail).into_owned()
}

/// Wraps a mail as message/rfc822 into a mail with these words before and behind it.
fn wrapped(header: &str, words: &str, mail: &[u8], behind: &str) -> Vec<u8> {
    let top = format!(
        "{header}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_wrap\"\n\n--=_wrap\n\
         Content-Type: text/plain; charset=utf-8\n\n{words}\n--=_wrap\nContent-Type: message/rfc822\n\n"
    );
    let end = format!("\n{behind}--=_wrap--\n");
    [top.as_bytes(), mail, end.as_bytes()].concat()
}

const SCANNER: &str = "Received: from scan.example.org by mx.example.org; Tue, 3 Mar 2026 10:00:00 +0000\n\
    From: Mail Scanner <scanner@example.org>\nTo: bounces@lists.example.org\n\
    Subject: [scanned] Undelivered Mail Returned to Sender\nMessage-ID: <scan.1@example.org>\n";

const FORWARDED: &str = "Return-Path: <>\nFrom: Anna Example <anna@shop.example>\nTo: bounces@lists.example.org\n\
    Subject: Fwd: Undelivered Mail Returned to Sender\nMessage-ID: <fwd.1@shop.example>\n";

/// The fixtures that are mails of their own: a wrapper around a wrapper is another matter.
fn is_bare(fixture: &Fixture) -> bool {
    fixture.path.parent().is_some_and(|directory| !directory.ends_with("robust"))
}

fn has_report(fixture: &Fixture) -> bool {
    is_bare(fixture) && text_of(&fixture.mail).contains("\nContent-Type: message/delivery-status")
}

#[test]
fn a_bounce_forwarded_as_an_attachment_means_the_same() {
    every_bounce(is_bare, |f| Some(meaning(&wrapped(FORWARDED, "See below, please take care of it.\n", &f.mail, ""))));
}

#[test]
fn a_bounce_that_a_person_forwards_as_an_attachment_is_none() {
    let by_hand = FORWARDED.replace("<>", "<anna@shop.example>");
    for subject in ["Fwd: Undelivered Mail Returned to Sender", "Undelivered Mail Returned to Sender", "Yours?"] {
        let header = by_hand.replace("Fwd: Undelivered Mail Returned to Sender", subject);
        for fixture in MAILS.iter().filter(|fixture| is_bare(fixture)) {
            let read = meaning(&wrapped(&header, "See below, please take care of it.\n", &fixture.mail, ""));
            assert!(!matches!(read.kind, Kind::Bounce | Kind::Delayed), "{} under {subject}", fixture.path.display());
        }
    }
}

#[test]
fn a_bounce_wrapped_by_a_scanner_means_the_same() {
    let footer = "--=_wrap\nContent-Type: text/plain\n\n-- \nThis mail was scanned for viruses by example.org.\n";
    every_bounce(is_bare, |f| Some(meaning(&wrapped(SCANNER, "The message below was scanned.\n", &f.mail, footer))));
}

#[test]
fn a_bounce_with_a_footer_means_the_same() {
    every_bounce(has_report, |f| {
        let mail = text_of(&f.mail);
        let end = mail.trim_end().rfind("\n--")?;
        let boundary = mail[end + 1..].trim_end().strip_suffix("--")?;
        let footer = format!(
            "\n{boundary}\nContent-Type: text/plain\n\n-- \nnews mailing list\nhttps://lists.example.org/news\n"
        );
        Some(meaning(format!("{}{footer}{}", &mail[..end], &mail[end..]).as_bytes()))
    });
}

/// The mail with its report part re-written by `rewrite`, which gets the part's fields.
fn with_report(mail: &[u8], rewrite: impl Fn(&str) -> String) -> Option<Vec<u8>> {
    let mail = text_of(mail);
    let start = mail.find("\nContent-Type: message/delivery-status")? + 1;
    let body = start + mail[start..].find("\n\n")? + 2;
    if mail[start..body].to_ascii_lowercase().contains("transfer-encoding") {
        return None;
    }
    let end = body + mail[body..].find("\n--")?;
    Some([&mail[..start], &rewrite(&mail[body..end]), &mail[end..]].concat().into_bytes())
}

#[test]
fn an_encoded_report_means_the_same() {
    every_bounce(has_report, |f| {
        let mail = with_report(&f.mail, |fields| {
            let lines: Vec<String> =
                BASE64.encode(fields).as_bytes().chunks(76).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
            let typed = "Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n";
            format!("{typed}{}\n", lines.join("\n"))
        })?;
        Some(meaning(&mail))
    });
    every_bounce(has_report, |f| {
        let mail = with_report(&f.mail, |fields| {
            let mut encoded = String::new();
            for &byte in fields.as_bytes() {
                match byte {
                    b'\n' => encoded.push('\n'),
                    b' '..=b'~' if byte != b'=' => encoded.push(char::from(byte)),
                    _ => encoded.push_str(&format!("={byte:02X}")),
                }
                if encoded.len() - encoded.rfind('\n').map_or(0, |i| i + 1) > 70 {
                    encoded.push_str("=\n");
                }
            }
            format!("Content-Type: message/delivery-status\nContent-Transfer-Encoding: quoted-printable\n\n{encoded}")
        })?;
        Some(meaning(&mail))
    });
}

#[test]
fn a_report_mislabelled_as_text_means_the_same() {
    every_bounce(has_report, |f| {
        Some(meaning(&with_report(&f.mail, |fields| format!("Content-Type: text/plain\n\n{fields}"))?))
    });
}

#[test]
fn line_ends_change_no_verdict() {
    for fixture in MAILS.iter() {
        let lines = || fixture.mail.split(|&b| b == b'\n');
        let crlf = meaning(&lines().collect::<Vec<_>>().join(&b"\r\n"[..]));
        let cr = meaning(&lines().collect::<Vec<_>>().join(&b"\r"[..]));
        let lf = meaning(&fixture.mail);
        assert_eq!(lf, crlf, "{} with CRLF", fixture.path.display());
        assert_eq!(lf, cr, "{} with CR", fixture.path.display());
    }
}

#[test]
fn truncated_mails_are_survived() {
    for fixture in MAILS.iter() {
        let step = (fixture.mail.len() / 12).max(1);
        for end in (0..fixture.mail.len()).step_by(step) {
            checked(&fixture.mail[..end]);
        }
    }
}

fn three_recipients(broken: &str) -> String {
    let mut mail = "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n\
                    Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
                    --b\n\nCould not be delivered.\n\n--b\nContent-Type: message/delivery-status\n\n\
                    Reporting-MTA: dns; mx.example.org\n"
        .to_owned();
    for name in ["anna", "broken", "carl"] {
        let group = format!(
            "\nFinal-Recipient: rfc822; {name}@example.org\nAction: failed\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550 5.1.1 User unknown\n"
        );
        mail.push_str(if name == "broken" { broken } else { &group });
    }
    mail + "\n--b--\n"
}

#[test]
fn one_broken_recipient_of_three_keeps_the_others() {
    for broken in [
        "",
        "\n",
        "\nFinal-Recipient:\nAction:\nStatus:\n",
        "\nFinal-Recipient: rfc822; @@@@\nAction: failed\nStatus: five\n",
        "\nFinal-Recipient; broken@example.org\nAction failed\n",
        "\nFinal-Recipient: rfc822; broken\nAction: \0\0\nStatus: 9.9.9\nDiagnostic-Code\n",
        "\nStatus: 5.1.1\n",
        "\n\u{fffd}\u{fffd}: \u{1}\n : \n",
        "\nFinal-Recipient: utf-8; \\x{110000}\\x{\\x{e4\nAction: failed\n",
    ] {
        let read = meaning(three_recipients(broken).as_bytes());
        assert_eq!(read.kind, Kind::Bounce, "{broken:?}");
        for name in ["anna@example.org", "carl@example.org"] {
            let hard = read.recipients.iter().any(|r| r.address.as_deref() == Some(name) && r.class == Class::Hard);
            assert!(hard, "{name} is lost beside {broken:?}: {read:?}");
        }
    }
}

#[test]
fn a_success_code_without_an_action_is_no_failure() {
    let mail = three_recipients("\nFinal-Recipient: rfc822; broken@example.org\nAct\0ion: del\nStatus: 2.0.0\n");
    let read = meaning(mail.as_bytes());
    assert_eq!((read.recipients[1].action, read.recipients[1].class), (Action::Delivered, Class::Success));
    // A failure stays one, whatever the code beside it says.
    let mail = three_recipients("\nFinal-Recipient: rfc822; broken@example.org\nAction: failed\nStatus: 2.0.0\n");
    let read = meaning(mail.as_bytes());
    assert_eq!((read.recipients[1].action, read.recipients[1].class), (Action::Failed, Class::Soft));
}

#[test]
fn truncated_base64_is_read_as_far_as_it_goes() {
    let words = "Delivery to the following recipient failed permanently:\n\n    anna@example.org\n\n\
                 550 5.1.1 no such user\n\n";
    let body = BASE64.encode(words.repeat(2));
    let mail = format!(
        "From: MAILER-DAEMON@mx.example.org\nSubject: Undeliverable\nContent-Type: multipart/mixed; boundary=b\n\n\
         --b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n{body}"
    );
    for cut in 0..5 {
        let read = meaning(&mail.as_bytes()[..mail.len() - cut]);
        assert_eq!(read.recipients.len(), 1, "{cut}: {read:?}");
        assert_eq!(read.recipients[0].address.as_deref(), Some("anna@example.org"), "{cut}");
        assert_eq!(read.recipients[0].class, Class::Hard, "{cut}");
    }
}

/// Something that happens to mails on their way.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    DropLine(usize),
    RepeatLine(usize),
    SwapLines(usize, usize),
    Insert(usize, Vec<u8>),
    Replace(usize, u8),
    Relabel(&'static str, &'static str),
    MixLineEnds(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || any::<usize>();
    let garbage = prop_oneof![
        Just(b"\0\0\0".to_vec()),
        Just(b"\xff\xfe\xc3\x28".to_vec()),
        Just(b"\x1b$B".to_vec()),
        Just(b"=?utf-8?q?=F".to_vec()),
        Just(b"\n\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..40),
    ];
    let relabel = prop_oneof![
        Just(("utf-8", "no-such-charset")),
        Just(("utf-8", "utf-16")),
        Just(("us-ascii", "iso-2022-jp")),
        Just(("boundary=", "bound=")),
        Just(("7bit", "base64")),
        Just(("8bit", "quoted-printable")),
        Just(("base64", "quoted-printable")),
        Just(("multipart/report", "multipart/digest")),
        Just(("text/plain", "message/rfc822")),
        Just(("message/delivery-status", "application/octet-stream")),
        Just((": ", ":")),
        Just(("@", "@@")),
        Just(("<", "")),
    ];
    prop_oneof![
        at().prop_map(Damage::Cut),
        at().prop_map(Damage::DropLine),
        at().prop_map(Damage::RepeatLine),
        (at(), at()).prop_map(|(a, b)| Damage::SwapLines(a, b)),
        (at(), garbage).prop_map(|(i, bytes)| Damage::Insert(i, bytes)),
        (at(), any::<u8>()).prop_map(|(i, byte)| Damage::Replace(i, byte)),
        relabel.prop_map(|(from, to)| Damage::Relabel(from, to)),
        (2usize..9).prop_map(Damage::MixLineEnds),
    ]
}

fn damaged(mail: &[u8], damage: &Damage) -> Vec<u8> {
    let mut out = mail.to_vec();
    if out.is_empty() {
        return out;
    }
    let mut lines: Vec<&[u8]> = mail.split_inclusive(|&b| b == b'\n').collect();
    let count = lines.len();
    match damage {
        Damage::Cut(at) => out.truncate(at % mail.len()),
        Damage::DropLine(at) => {
            lines.remove(at % count);
            out = lines.concat();
        }
        Damage::RepeatLine(at) => {
            lines.insert(at % count, lines[at % count]);
            out = lines.concat();
        }
        Damage::SwapLines(a, b) => {
            lines.swap(a % count, b % count);
            out = lines.concat();
        }
        Damage::Insert(at, bytes) => {
            let at = at % mail.len();
            out.splice(at..at, bytes.iter().copied());
        }
        Damage::Replace(at, byte) => out[at % mail.len()] = *byte,
        Damage::Relabel(from, to) => out = text_of(mail).replace(from, to).into_bytes(),
        Damage::MixLineEnds(every) => {
            let ended = |(i, line): (usize, &&[u8])| match (i % every, line.strip_suffix(b"\n")) {
                (0, Some(bare)) => [bare, b"\r\n"].concat(),
                (1, Some(bare)) => [bare, b"\r"].concat(),
                _ => line.to_vec(),
            };
            out = lines.iter().enumerate().flat_map(ended).collect();
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_mails_are_survived(
        which in any::<proptest::sample::Index>(),
        damages in proptest::collection::vec(damage(), 1..6),
    ) {
        let mail = &which.get(&MAILS[..]).mail;
        checked(&damages.iter().fold(mail.clone(), |mail, damage| damaged(&mail, damage)));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        checked(&bytes);
    }

    #[test]
    fn any_response_is_survived(text in "[245.0-9 \\-#:<>@a-zA-Zé日\r\n\u{0}]{0,120}") {
        let verdict = JUDGE.judge_response(&text);
        prop_assert_eq!(&verdict, &JUDGE.judge_response(&text));
    }

    #[test]
    fn any_text_is_a_code_or_none(text in "\\PC{0,12}") {
        if let Ok(code) = text.parse::<EnhancedStatusCode>() {
            prop_assert_eq!(code.to_string().parse::<EnhancedStatusCode>().ok(), Some(code));
        }
        if let Ok(code) = text.parse::<ReplyCode>() {
            prop_assert_eq!(code.to_string(), text);
        }
    }
}

/// Reads a mail that is made to hurt on a thread with the stack of a worker, and says how long it took.
fn time_of(mail: &[u8]) -> Duration {
    LazyLock::force(&JUDGE);
    let read = || {
        let start = Instant::now();
        checked(mail);
        start.elapsed()
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        worker.spawn_scoped(scope, read).expect("a thread").join().expect("no panic")
    })
}

/// Unoptimised on a busy machine; what is not in proportion takes minutes or all memory.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn deep_nesting_is_survived() {
    let encoded = |inner: &str, encoding: &str, body: String| {
        format!("Content-Type: {inner}\nContent-Transfer-Encoding: {encoding}\n\n{body}\n")
    };
    let messages = "Content-Type: message/rfc822\n\n".repeat(40_000);
    let in_base64 = || BASE64.encode("Content-Type: message/global\n\n".repeat(10_000));
    for (name, mail) in [
        ("messages", messages.clone()),
        ("messages in disguise", "C o n t e n t-Type: message (in) / (disguise) rfc822\n\n".repeat(40_000)),
        ("multiparts", "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(10_000)),
        (
            "multiparts of their own",
            (0..10_000).map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n")).collect(),
        ),
        ("digests", "Content-Type: multipart/digest; boundary=b\n\n--b\n\n".repeat(10_000)),
        ("in base64", encoded("message/rfc822", "base64", in_base64())),
        ("in base64, in disguise", encoded("message (x)/rfc822", "=?utf-8?q?base64?=", in_base64())),
        ("in quoted-printable", encoded("message/rfc822", "quoted-printable", messages)),
        (
            "in a digest",
            format!(
                "Content-Type: multipart/digest; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n{}\n",
                in_base64()
            ),
        ),
    ] {
        let took = time_of(mail.as_bytes());
        assert!(took < PATIENCE, "{name}: {took:?}");
    }
}

#[test]
fn large_and_repetitive_mails_are_survived() {
    let text = "From: MAILER-DAEMON@mx.example.org\nSubject: failure notice\n\n";
    let dsn = "From: MAILER-DAEMON@mx.example.org\nContent-Type: multipart/report; boundary=b\n\n--b\n\
               Content-Type: message/delivery-status\n\n";
    let arf = "From: fbl@example.org\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\
               Content-Type: message/feedback-report\n\nFeedback-Type: abuse\n";
    for (name, mail) in [
        ("50 MB", format!("{text}{}", "550 5.1.1 no such user\n".repeat(50 * 1024 * 1024 / 23))),
        ("headers", format!("From: a@example.org\n{}\n", "X-Failed-Recipients: a@example.org\n".repeat(60_000))),
        (
            "one line of addresses",
            format!("{text}{}", (0..400_000).map(|i| format!("a{i}@example.org, ")).collect::<String>()),
        ),
        (
            "one line of addresses without a blank",
            format!("{text}<anna@example.org>: 550 user unknown{}", "<a@b.example>".repeat(100_000)),
        ),
        (
            "groups",
            format!(
                "{dsn}{}",
                (0..100_000)
                    .map(|i| format!("Final-Recipient: rfc822; a{i}@example.org\nAction: failed\nStatus: 5.1.1\n\n"))
                    .collect::<String>()
            ),
        ),
        (
            "complaints",
            format!(
                "{arf}{}",
                (0..300_000).map(|i| format!("Original-Rcpt-To: a{i}@example.org\n")).collect::<String>()
            ),
        ),
        (
            "one complaint of many",
            format!(
                "{arf}Original-Rcpt-To: {}\n",
                (0..300_000).map(|i| format!("a{i}@example.org, ")).collect::<String>()
            ),
        ),
        (
            "a complaint to many of many",
            format!(
                "To: {}\n{arf}{}",
                "a@example.org, ".repeat(100_000),
                (0..10_000).map(|i| format!("Original-Rcpt-To: a{i}@example.org\n")).collect::<String>()
            ),
        ),
        (
            "complaints in JSON",
            format!(
                "{text}{{\"notificationType\":\"Complaint\",\"complaint\":{{\"complainedRecipients\":[{}]}}}}",
                (0..20_000)
                    .map(|i| format!("{{\"emailAddress\":\"\\u0061{i}@example.org\"}}"))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        ),
        ("half an escape", format!("{dsn}Action: failed\nFinal-Recipient: utf-8; {}\n", "\\x{".repeat(500_000))),
        (
            "one diagnostic",
            format!(
                "{dsn}Final-Recipient: rfc822; a@example.org\nAction: failed\nDiagnostic-Code: smtp; {}\n",
                "550 mailbox full, user unknown ".repeat(200_000)
            ),
        ),
    ] {
        let took = time_of(mail.as_bytes());
        assert!(took < PATIENCE, "{name}: {took:?}");
    }
}

#[test]
fn an_encoded_original_does_not_hide_the_report() {
    let original =
        format!("From: news@lists.example.org\nTo: anna@example.org\nSubject: hi\n\n{}", "text\n".repeat(40_000));
    let encoded = BASE64.encode(original);
    let group = "Final-Recipient: rfc822; anna@example.org\nAction: failed\nStatus: 5.1.1\n";
    let mail = format!(
        "From: MAILER-DAEMON@mx.example.org\nContent-Type: multipart/report; boundary=b\n\n--b\n\nSorry.\n\n--b\n\
         Content-Type: message/delivery-status\n\n{group}\n--b\nContent-Type: message/rfc822\n\
         Content-Transfer-Encoding: base64\n\n{encoded}\n--b--\n"
    );
    let (report, verdicts) = checked(mail.as_bytes());
    assert_eq!(verdicts[0].class, Class::Hard);
    assert_eq!(report.original.from.as_deref(), Some("news@lists.example.org"));
}

/// What a stranger writes as often as he likes is read as far as one message may go, and the rest is counted.
#[test]
fn a_report_about_too_many_is_read_in_part_and_says_so() {
    const MOST: usize = 10_000;
    let head = "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n";
    let report = |groups: String| {
        format!(
            "{head}MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
             --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n{groups}--b--\n"
        )
    };
    let named = |n: usize| format!("Final-Recipient: rfc822; a{n}@example.org\nAction: failed\nStatus: 5.1.1\n\n");
    let some = MOST + 500;
    for (what, mail) in [
        ("named groups", report((0..some).map(named).collect())),
        ("nameless groups", report("Status: 5.1.1\n\n".repeat(some))),
        ("lines", format!("{head}\n{}", (0..some).map(|n| format!("a{n}@b.example: no\n")).collect::<String>())),
        (
            "a header field",
            format!(
                "X-Failed-Recipients: {}\n{head}\nfailed\n",
                (0..some).map(|n| format!("a{n}@b.example")).collect::<Vec<_>>().join(",")
            ),
        ),
    ] {
        let (report, verdicts) = JUDGE.judge(mail.as_bytes());
        assert_eq!((report.recipients.len(), verdicts.len()), (MOST, MOST), "{what}");
        assert_eq!(report.left_out, 500, "{what}");
    }
    let (report, _) = JUDGE.judge(report(named(1)).as_bytes());
    assert_eq!((report.recipients.len(), report.left_out), (1, 0));
}

/// An address is what the mail gives or none: a piece of something else is somebody else's.
#[test]
fn nobody_is_named_whom_the_mail_does_not_name() {
    let long = format!("{}@example.org", "a".repeat(400));
    for given in ["a\0b@example.org", "a@b@example.org", "\u{212a}im@example.org", "ann\u{202e}@example.org", &long] {
        let dsn = format!(
            "From: MAILER-DAEMON@mx.example.org\nSubject: failed\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
             --b\nContent-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n\n\
             Reporting-MTA: dns; mx.example.org\n\n\
             Final-Recipient: utf-8; {given}\nAction: failed\nStatus: 5.1.1\n\n--b--\n"
        );
        let text = format!(
            "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n\
             Content-Type: text/plain; charset=utf-8\n\n<{given}>: 550 5.1.1 User unknown\n"
        );
        for mail in [dsn, text] {
            let (report, _) = JUDGE.judge(mail.as_bytes());
            let named: Vec<_> = report.recipients.iter().filter_map(|r| r.address.as_ref()).collect();
            assert!(named.is_empty(), "{given:?}: {named:?}");
            assert!(!report.recipients.is_empty(), "{given:?}: it is recorded all the same");
        }
    }
}

/// Whoever is named in a way that nobody can read, or is the sender himself, is not the one in To of the returned
/// message.
#[test]
fn somebody_else_is_not_taken_for_the_one_whom_the_words_name() {
    let named = |given: &str| -> Vec<String> {
        let mail = format!(
            "From: MAILER-DAEMON@mx.example.org\nTo: news@shop.example\nSubject: failure notice\n\n\
             Hi. This is the qmail-send program at mx.example.org.\n\
             I'm afraid I wasn't able to deliver your message to the following addresses.\n\n\
             {given}:\n550 5.1.1 no such user\n\n--- Below this line is a copy of the message.\n\n\
             From: news@shop.example\nTo: anna@example.org\nSubject: News\n\nHello\n"
        );
        let (report, _) = JUDGE.judge(mail.as_bytes());
        report.recipients.iter().filter_map(|r| Some(r.address.as_ref()?.normalised().to_owned())).collect()
    };
    assert_eq!(named("<anna@example.org>"), ["anna@example.org"]);
    assert_eq!(named("The recipient"), ["anna@example.org"], "the words name nobody");
    assert_eq!(named("<news@shop.example>"), ["news@shop.example"]);
    for given in ["<a\0b@example.net>", "<a@b@example.net>", "<\u{212a}im@example.net>", "<ann\u{202e}@example.net>"] {
        assert_eq!(named(given), [""; 0], "{given:?}");
    }
    // Somebody without a domain, and whoever writes bounces: he may be meant himself.
    for given in [
        "<root>",
        "550 5.1.1 <operator>... User unknown",
        "550 operator... User unknown",
        "<postmaster@mx.example.net>",
        "postmaster@mx.example.net",
        "553 <MAILER-DAEMON@mx.example.net>... Not here",
        ">>> RCPT To:<postmaster@mx.example.net>",
    ] {
        assert!(!named(given).contains(&"anna@example.org".to_owned()), "{given:?}");
    }
    // The words name him by his local part, or name nobody.
    for given in ["<anna>", "550 anna... User unknown", "<hr> Sorry", "Sorry... the recipient", "550 <<< said"] {
        assert_eq!(named(given), ["anna@example.org"], "{given:?}");
    }
}

/// To of the returned message is the recipient's only where nothing says otherwise.
#[test]
fn the_original_names_the_recipient_only_where_nothing_contradicts() {
    let report = |header: &str, groups: usize| {
        let group = "Action: failed\nStatus: 5.1.1\n\n";
        format!(
            "From: MAILER-DAEMON@mx.example.org\nSubject: failed\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
             --b\n\nOne of your messages could not be delivered.\n\n\
             --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n{}\
             --b\nContent-Type: text/rfc822-headers\n\n{header}From: news@shop.example\nSubject: News\n\n--b--\n",
            group.repeat(groups)
        )
    };
    let named = |mail: String| -> Vec<String> {
        let (report, _) = JUDGE.judge(mail.as_bytes());
        report.recipients.iter().filter_map(|r| Some(r.address.as_ref()?.normalised().to_owned())).collect()
    };
    let to = "To: anna@example.org\n";
    assert_eq!(named(report(to, 1)), ["anna@example.org"]);
    let unsubscribe = "List-Unsubscribe: <https://shop.example/u/1>\nList-Id: <news.shop.example>\n";
    assert_eq!(named(report(&format!("{unsubscribe}{to}"), 1)), ["anna@example.org"]);
    for (header, groups) in [
        (to, 2),
        ("To: anna@example.org, bob@example.net\n", 1),
        ("To: anna@example.org\nCc: bob@example.net\n", 1),
        ("List-Post: <mailto:anna@example.org>\nTo: anna@example.org\n", 1),
    ] {
        assert!(named(report(header, groups)).is_empty(), "{header} {groups}");
    }
    let noted = "Received: from a by b with ESMTP for <carl@example.net>; Mon, 2 Nov 2026 10:00:00 +0000\n";
    for to in [to, "To: anna@example.org, bob@example.net\n", "List-Id: <anna.example.org>\nTo: anna@example.org\n"] {
        assert_eq!(named(report(&format!("{noted}{to}"), 1)), ["carl@example.net"]);
    }
}
