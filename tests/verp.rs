//! docs/verp.md: its vectors, its snippets in their own languages, its Exim, and the commands that it names.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use bounced::{
    report::Address,
    verp::{Delimiter, Form, Keys, Token},
};
use support::beside::{self, Server};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(60);

const GUIDE: &str = include_str!("../docs/verp.md");

/// The first block of code below a heading, from its opening fence on.
fn block(heading: &str, fence: &str) -> &'static str {
    let (_, below) = GUIDE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading} is there"));
    let section = below.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    section.split_once(&format!("{fence}\n")).unwrap().1.split("```").next().unwrap()
}

/// A row of the table of vectors.
struct Vector {
    kid: &'static str,
    day: i64,
    id: &'static str,
    recipient: String,
    signed_for: String,
    sender: String,
}

fn vectors() -> Vec<Vector> {
    let (_, table) = GUIDE.split_once("\n## Test vectors\n").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| k"));
    let vectors: Vec<_> = rows
        .map(|row| {
            // A bar within a cell has a backslash before it.
            let row = row.replace("\\|", "\0");
            let cells: Vec<String> =
                row.split('|').map(|cell| cell.trim().trim_matches('`').replace('\0', "|")).collect();
            let [_, kid, day, id, recipient, signed_for, sender, _] = cells.try_into().unwrap();
            let (kid, id) = (String::leak(kid), String::leak(id));
            Vector { kid, day: day.parse().unwrap(), id, recipient, signed_for, sender }
        })
        .collect();
    assert!(vectors.len() >= 10, "the table is there");
    vectors
}

/// The key file of the guide with one key that signs.
fn key_line(kid: &str) -> &'static str {
    let line = block("## Keys", "```text").lines().find(|line| line.starts_with(kid)).unwrap();
    line.split(" until").next().unwrap()
}

fn secret(kid: &str) -> &'static str {
    key_line(kid).split_once(' ').unwrap().1
}

#[test]
fn the_vectors_of_the_guide_are_true() {
    let guide = Keys::parse(block("## Keys", "```text")).unwrap();
    assert_eq!((guide.names().collect::<Vec<_>>(), guide.signs()), (vec!["k1", "k2"], Some("k2")));
    for vector in vectors() {
        let Vector { kid, day, id, recipient, signed_for, sender } = vector;
        let delimiter = if sender.starts_with("bounce-") { Delimiter::Hyphen } else { Delimiter::Plus };
        let form = Form::new(&Address::parse("bounce@news.example").unwrap(), delimiter).unwrap();
        let recipient = Address::parse(&recipient).unwrap();
        assert_eq!(recipient.normalised(), signed_for);
        let keys = Keys::parse(key_line(kid)).unwrap();
        assert_eq!(keys.sign(&recipient, id, day, &form).as_ref(), Ok(&sender));
        let token = Token::read(&sender, delimiter).unwrap();
        assert_eq!(guide.verify(&token, &recipient, day, 30), Ok(()), "{sender}");
    }
}

/// What the snippets are to sign, and what they are to refuse.
fn for_snippets() -> (Vec<Vector>, [(&'static str, &'static str); 5]) {
    let is_for_them = |v: &Vector| v.signed_for == v.recipient.to_ascii_lowercase() && v.sender.starts_with("bounce+");
    let signed: Vec<_> = vectors().into_iter().filter(|v| v.recipient.is_ascii() && is_for_them(v)).collect();
    assert!(signed.len() >= 6);
    let refused = [
        ("info@bücher.example", "c42"),
        ("Jörg@example.org", "c42"),
        ("ann@example.org", "C42"),
        ("ann@example.org", "a.b"),
        ("ann@example.org", "abcdefghijklmnopqrstu"),
    ];
    (signed, refused)
}

/// Runs a snippet for every vector. `call` makes of recipient, id, key's name, secret and day the lines that print what
/// the function gives.
fn check(language: &str, program: &[&str], script: &str, call: impl Fn([&str; 5]) -> String) {
    let version = Command::new(program[0]).args(&program[1..]).arg("--version").output();
    // dash knows no such option.
    if version.is_err() {
        support::skip(&format!("the snippet for {language}"), &format!("{} is not installed", program[0]));
        return;
    }
    let dir = support::directory();
    let file = dir.path().join("snippet");
    let run = |recipient: &str, id: &str, kid: &str, day: i64| {
        let call = call([recipient, id, kid, secret(kid), &day.to_string()]);
        fs::write(&file, format!("{script}\n{call}\n")).unwrap();
        Command::new(program[0]).args(&program[1..]).arg(&file).output().unwrap()
    };
    let (signed, refused) = for_snippets();
    for Vector { kid, day, id, recipient, sender, .. } in signed {
        let output = run(&recipient, id, kid, day);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(printed.trim_end_matches('\n'), sender, "{language}: {output:?}");
    }
    for (recipient, id) in refused {
        let output = run(recipient, id, "k1", 20_783);
        assert!(!output.status.success() && output.stdout.is_empty(), "{language}, {recipient} {id}: {output:?}");
    }
}

/// A text as JSON writes it, which Python and JavaScript read as well.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn in_single_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn the_snippet_for_php_signs_as_we_do() {
    let script = format!("<?php\n{}", block("### PHP", "```php"));
    check("PHP", &["php", "-d", "display_errors=stderr", "-f"], &script, |[recipient, id, kid, secret, day]| {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "\\'"));
        let [recipient, id, kid, secret] = [recipient, id, kid, secret].map(quoted);
        format!("echo signed_sender({recipient}, {id}, {kid}, {secret}, {day}), \"\\n\";")
    });
}

#[test]
fn the_snippet_for_python_signs_as_we_do() {
    check("Python", &["python3"], block("### Python", "```python"), |[recipient, id, kid, secret, day]| {
        let [recipient, id, kid, secret] = [recipient, id, kid, secret].map(json);
        format!("print(signed_sender({recipient}, {id}, {kid}, {secret}, {day}))")
    });
}

#[test]
fn the_snippet_for_node_signs_as_we_do() {
    check("Node", &["node"], block("### Node", "```js"), |[recipient, id, kid, secret, day]| {
        let [recipient, id, kid, secret] = [recipient, id, kid, secret].map(json);
        format!("console.log(signedSender({recipient}, {id}, {kid}, {secret}, {day}));")
    });
}

#[test]
fn the_snippet_for_the_shell_signs_as_we_do() {
    let call = |values: [&str; 5]| format!("signed_sender {}", values.map(in_single_quotes).join(" "));
    if Command::new("openssl").arg("version").output().is_err() {
        support::skip("the snippet for the shell", "openssl is not installed");
        return;
    }
    for shell in [&["dash"][..], &["bash", "--posix"]] {
        check(shell[0], shell, block("### Shell", "```sh"), call);
    }
}

/// The day is today unless somebody says otherwise.
#[test]
fn a_snippet_signs_for_today() {
    let script = format!("{}\nsigned_sender ann@example.org '' k2 {}", block("### Shell", "```sh"), secret("k2"));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    if Command::new("openssl").arg("version").output().is_err() {
        support::skip("a_snippet_signs_for_today", "openssl is not installed");
        return;
    }
    let token = Token::read(printed.trim_end(), Delimiter::Plus).unwrap();
    let today = bounced::clock::now() / 86_400;
    let keys = Keys::parse(key_line("k2")).unwrap();
    assert_eq!(keys.verify(&token, &Address::parse("ann@example.org").unwrap(), today, 1), Ok(()));
}

/// A configuration with the section of the guide, and no key yet.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: support::directory() };
        let section = block("## Turn it on", "```toml").replace("/var/lib/bounced/", "");
        let section: String = section.lines().map(|line| format!("{}\n", line.trim())).collect();
        place.configure(&section);
        place
    }

    fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("bounced.toml")
    }

    fn keys(&self) -> PathBuf {
        self.dir.path().join("verp.keys")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"));
        command.env_clear().arg("--config").arg(self.config()).arg("verp").args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// What it prints, all being well.
    fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it complains of, and prints nothing.
    fn complains(&self, args: &[&str], exit: i32) -> String {
        let output = self.run(args);
        assert!(output.status.code() == Some(exit) && output.stdout.is_empty(), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_made_for_their_owner_alone_and_a_new_one_signs() {
    let place = Place::new();
    // Who makes them for the daemon is root.
    let is_root = chown(place.dir.path(), Some(65_534), Some(65_534)).is_ok();
    let path = place.keys().display().to_string();
    assert_eq!(place.says(&["keygen"]), format!("k1 stands in {path} and signs from now on\n"));
    assert_eq!(mode(&place.keys()), 0o600);
    assert_eq!(fs::metadata(place.keys()).unwrap().uid() == 65_534, is_root);
    let old = place.says(&["sign", "Ann@Example.org"]);
    assert!(old.starts_with("bounce+k1.") && old.ends_with("@news.example\n"), "{old}");

    // A line that somebody wrote without its end, and a mode that lets a group sign.
    let text = fs::read_to_string(place.keys()).unwrap();
    fs::write(place.keys(), format!("# ours\n{}", text.trim_end())).unwrap();
    fs::set_permissions(place.keys(), fs::Permissions::from_mode(0o640)).unwrap();
    let told = place.says(&["keygen", "--id", "2027a"]);
    assert!(told.contains("2027a stands in") && told.contains("\nk1: verify what they have signed;"), "{told}");
    let both = fs::read_to_string(place.keys()).unwrap();
    assert!(both.starts_with(&format!("# ours\n{}2027a ", text)) && both.ends_with('\n'), "{both}");
    assert_eq!(mode(&place.keys()), 0o640);
    let new = place.says(&["sign", "ann@example.org"]);
    assert!(new.starts_with("bounce+2027a."), "{new}");
    for sent in [old, new] {
        let told = place.says(&["verify", sent.trim_end(), "ann@example.org"]);
        assert!(told.starts_with("yes: ") && told.contains(" has signed it for ann@example.org on 2"), "{told}");
    }

    let complaint = place.complains(&["keygen", "--id", "k1"], 78);
    assert!(complaint.contains("there is a key k1 already"), "{complaint}");
    let complaint = place.complains(&["keygen", "--id", "K-3"], 78);
    assert!(complaint.contains("no key can be called `K-3`"), "{complaint}");
    fs::write(place.keys(), format!("{both}nonsense\n")).unwrap();
    let complaint = place.complains(&["keygen"], 78);
    assert!(complaint.contains("verp.keys:4: expected `KID SECRET`"), "{complaint}");
    assert!(complaint.contains("; mend the line, or take it out"), "{complaint}");
    assert_eq!(fs::read_to_string(place.keys()).unwrap(), format!("{both}nonsense\n"), "nothing was added");
}

#[tokio::test]
async fn keys_that_are_made_at_once_have_names_of_their_own() {
    let place = Place::new();
    place.says(&["keygen"]);
    // Somebody is about to write the second key.
    let mut held = fs::File::options().append(true).open(place.keys()).unwrap();
    held.lock().unwrap();
    let mut other = place.command(&["keygen"]).stdout(Stdio::null()).spawn().unwrap();
    let waits = format!(" {} ", other.id());
    support::until("the other one waits, or is done", SOON, async || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let is_waiting = locks.lines().any(|line| line.contains("->") && line.contains(&waits));
        (is_waiting || other.try_wait().unwrap().is_some()).then_some(())
    })
    .await;
    writeln!(held, "{}", key_line("k2")).unwrap();
    drop(held);
    assert!(other.wait().unwrap().success());
    let keys = Keys::parse(&fs::read_to_string(place.keys()).unwrap()).unwrap();
    assert_eq!(keys.names().collect::<Vec<_>>(), ["k1", "k2", "k3"]);
}

#[test]
fn a_full_disk_leaves_no_half_of_a_key() {
    let place = Place::new();
    place.says(&["keygen"]);
    let before = fs::read_to_string(place.keys()).unwrap();
    // No file may grow above that: what is written ends within the second key.
    let limit = format!("--fsize={}", before.len() + 20);
    let bounced = place.command(&["keygen"]);
    let mut limited = Command::new("prlimit");
    limited.args([&limit, "--", "sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let output = limited.arg(bounced.get_program()).args(bounced.get_args()).output();
    let Ok(output) = output else {
        support::skip("a_full_disk_leaves_no_half_of_a_key", "there is no prlimit");
        return;
    };
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert_eq!(fs::read_to_string(place.keys()).unwrap(), before);
}

#[test]
fn an_answer_is_yes_for_the_recipient_whom_it_was_signed_for_and_else_no() {
    let place = Place::new();
    fs::write(place.keys(), block("## Keys", "```text")).unwrap();
    let sent = place.says(&["sign", "--day", "20783", "--id", "c42", "ann@example.org", "bob@example.org"]);
    let [ann, bob] = sent.lines().collect::<Vec<_>>().try_into().unwrap();
    let expected = "yes: k2 has signed it for ann@example.org on 2026-11-26, id c42\n";
    let k9 = ann.replace("+k2.", "+k9.");
    let tampered = ann.replace(".c42.", ".c43.");
    for (address, recipient, day, expected) in [
        (ann, "Ann@Example.ORG", "20813", expected),
        (ann, "ann@example.org", "20814", "no: it has expired\n"),
        (ann, "ann@example.org", "20781", "no: its day is still to come\n"),
        (
            bob,
            "ann@example.org",
            "20783",
            "no: the key that it names has not signed this day and id for this recipient\n",
        ),
        (
            &tampered,
            "ann@example.org",
            "20783",
            "no: the key that it names has not signed this day and id for this recipient\n",
        ),
        (&k9, "ann@example.org", "20783", "no: the key that it names is not in the file\n"),
        (
            "bounce+ann=example.org@news.example",
            "ann@example.org",
            "20783",
            "no: it is no address with a token, as `bounced verp sign` prints them\n",
        ),
    ] {
        let output = place.run(&["verify", "--day", day, address, recipient]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
        assert_eq!(output.status.code(), Some(i32::from(!expected.starts_with("yes"))));
    }
}

/// A mailer keeps it running, and writes the next recipient when it has read the answer to the last.
#[test]
fn standard_input_is_answered_line_by_line() {
    let place = Place::new();
    fs::write(place.keys(), block("## Keys", "```text")).unwrap();
    let mut command = place.command(&["sign", "--day", "20783", "--id", "c42", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut recipients = child.stdin.take().unwrap();
    let mut senders = BufReader::new(child.stdout.take().unwrap()).lines();
    for recipient in ["ann@example.org", "bob@example.org", "ann@example.org"] {
        writeln!(recipients, "{recipient}").unwrap();
        let sender = senders.next().unwrap().unwrap();
        let told = place.says(&["verify", "--day", "20783", &sender, recipient]);
        assert!(told.starts_with("yes: k2 "), "{told}");
    }
    // What can't be signed has an empty answer: each other one still stands at its recipient's line.
    writeln!(recipients, "nobody\nbob@example.org\nann@").unwrap();
    drop(recipients);
    let rest: Vec<_> = senders.map(Result::unwrap).collect();
    assert!(rest.len() == 3 && rest[0].is_empty() && rest[1].contains('@') && rest[2].is_empty(), "{rest:?}");
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{complaint}");
    assert!(complaint.contains("-, line 4: expected one mail address"), "{complaint}");
    assert!(complaint.contains("-, line 6: ") && complaint.lines().count() == 2, "{complaint}");
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let place = Place::new();
    let complaint = place.complains(&["sign", "ann@example.org"], 78);
    let expected = "verp.keys: No such file or directory (os error 2); `bounced verp keygen` makes it";
    assert!(complaint.contains(expected), "{complaint}");
    let complaint = place.complains(&["keygen", "--id", "K-3"], 78);
    assert!(complaint.contains("no key can be called `K-3`") && !place.keys().exists(), "nothing is made: {complaint}");
    for (content, expected) in [(Some(&[0xff][..]), "it is no key file"), (None, "(os error 21); name a file")] {
        match content {
            Some(content) => fs::write(place.keys(), content).unwrap(),
            None => {
                fs::remove_file(place.keys()).unwrap();
                fs::create_dir(place.keys()).unwrap();
            }
        }
        let complaint = place.complains(&["sign", "ann@example.org"], 78);
        assert!(complaint.contains("[verp] keys /") && complaint.contains(expected), "{complaint}");
    }
    fs::remove_dir(place.keys()).unwrap();
    fs::write(place.keys(), "# none\n").unwrap();
    let complaint = place.complains(&["sign", "ann@example.org"], 78);
    assert!(complaint.contains("it holds no key; `bounced verp keygen` makes one"), "{complaint}");
    fs::write(place.keys(), format!("{} until 2027-01-01\n", key_line("k1"))).unwrap();
    let complaint = place.complains(&["sign", "ann@example.org"], 78);
    assert!(complaint.contains("no key signs"), "{complaint}");

    fs::write(place.keys(), block("## Keys", "```text")).unwrap();
    for (args, expected) in [
        (&["sign", "nobody"][..], "`nobody`: expected one mail address"),
        (&["sign", "--id", "C42", "ann@example.org"], "the id `C42` is none"),
        (&["sign", "--day", "1000000", "ann@example.org"], "1000000 is no day"),
        (&["verify", "bounce@news.example", "nobody"], "`nobody`: expected one mail address"),
    ] {
        let complaint = place.complains(args, 2);
        assert!(complaint.contains(expected), "{complaint}");
    }
    let long = fs::read_to_string(place.config()).unwrap().replace("bounce@", &format!("{}@", "b".repeat(29)));
    place.configure(&long);
    let complaint = place.complains(&["sign", "--id", "c42424242", "ann@example.org"], 2);
    assert!(complaint.contains("has more than 64 octets before the @"), "{complaint}");

    place.configure("");
    let complaint = place.complains(&["sign", "ann@example.org"], 78);
    assert!(complaint.contains("write keys and address below [verp]"), "{complaint}");
    let complaint = place.complains(&["keygen"], 78);
    assert!(
        complaint.contains("write keys = \"/var/lib/bounced/verp.keys\" and the address below [verp]"),
        "{complaint}"
    );
}

#[test]
fn the_check_tells_which_key_signs_and_who_can_read_it() {
    let place = Place::new();
    let section = fs::read_to_string(place.config()).unwrap();
    place.configure(&format!("[maildir.box]\npath = \"box\"\n{section}"));
    let check = || {
        let mut command = place.command(&[]);
        let args: Vec<_> = command.get_args().take(2).map(ToOwned::to_owned).collect();
        command = Command::new(env!("CARGO_BIN_EXE_bounced"));
        command.env_clear().args(args).arg("check").output().unwrap()
    };
    assert_eq!(check().status.code(), Some(78), "there is no key file");
    fs::write(place.keys(), block("## Keys", "```text")).unwrap();
    for (mode, expected) in [
        (0o640, "verp            bounce+TOKEN@news.example counts 30 days; k2 signs, k1, k2 verify\n"),
        (0o644, "k1, k2 verify; every user of this machine can read the keys: chmod o-r the file\n"),
    ] {
        fs::set_permissions(place.keys(), fs::Permissions::from_mode(mode)).unwrap();
        let output = check();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains(expected), "{output:?}");
    }
}

/// Answers yes to whatever a mail server says, for some messages, and tells their envelopes: sender and recipient.
async fn envelopes(listener: &TcpListener, messages: usize) -> Vec<(String, String)> {
    let (mut found, mut sender) = (Vec::new(), String::new());
    while found.len() < messages {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let mut lines = tokio::io::BufReader::new(read).lines();
        write.write_all(b"220 mx.example\r\n").await.unwrap();
        let mut is_data = false;
        while let Ok(Some(line)) = lines.next_line().await {
            let path = || line.split_once('<').unwrap().1.strip_suffix('>').expect(&line).to_owned();
            let reply = match line.get(..4) {
                _ if is_data && line != "." => continue,
                Some("MAIL") => {
                    sender = path();
                    "250 ok"
                }
                Some("RCPT") => {
                    found.push((sender.clone(), path()));
                    "250 ok"
                }
                Some("DATA") => "354 go on",
                Some("QUIT") => "221 bye",
                _ => "250 ok",
            };
            is_data = reply.starts_with("354");
            write.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        }
    }
    found.sort();
    found
}

/// Submits a message to a mail server, from and to the arguments.
async fn submit(port: u16, sender: &str, recipients: &[&str]) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(read).lines();
    let recipients = recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>"));
    let commands = ["HELO client.example".to_owned(), format!("MAIL FROM:<{sender}>")].into_iter().chain(recipients);
    for command in
        [String::new()].into_iter().chain(commands).chain(["DATA".to_owned(), "Subject: x\r\n\r\nx\r\n.".to_owned()])
    {
        if !command.is_empty() {
            write.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        }
        let reply = lines.next_line().await.unwrap().unwrap();
        assert!(reply.starts_with(['2', '3']), "{command}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exim_signs_what_it_delivers() {
    let place = Place::new();
    fs::write(place.keys(), block("## Keys", "```text")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let program = format!("{} --config {}", env!("CARGO_BIN_EXE_bounced"), place.config().display());
    let transport = block("## Exim", "```").replace("/usr/local/bin/bounced", &program);
    let transport = transport.trim_end();
    // Who signs is Exim's user, to whom the guide gives the file by his group.
    fs::set_permissions(place.keys(), fs::Permissions::from_mode(0o644)).unwrap();
    let config = format!(
        "exim_path = PROGRAM\nprimary_hostname = mx.example\nkeep_environment =\nhost_lookup =\nrfc1413_query_timeout = 0s\n\
         tls_advertise_hosts =\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = PORT\nacl_smtp_rcpt = rcpt\n\
         begin acl\nrcpt:\n  accept\nbegin routers\nall:\n  driver = manualroute\n  transport = remote_smtp\n  \
         route_list = * 127.0.0.1::{port} byname\n  self = send\nbegin transports\n{transport}\nbegin retry\n* * F,1h,1s\n"
    );
    let exim = match Server::start(&beside::EXIM, place.dir.path(), &config).await {
        Ok(exim) => exim,
        Err(why) => return support::skip("exim_signs_what_it_delivers", &why),
    };
    // A letter to several, of whom some have names that a shell would stumble over; and mail of somebody else.
    let named = ["ann@example.org", "-o'hara+x@example.org", "\"a b$(id) `x`\"@example.org"];
    submit(exim.port, "bounce@news.example", &named).await;
    submit(exim.port, "Bounce@News.example", &["bob@example.org"]).await;
    submit(exim.port, "someone@news.example", &["cid@example.org"]).await;
    submit(exim.port, "", &["dan@example.org"]).await;
    let came = timeout(SOON, envelopes(&listener, 6)).await.unwrap();
    let keys = Keys::parse(block("## Keys", "```text")).unwrap();
    let today = bounced::clock::now() / 86_400;
    for (sender, recipient) in &came {
        match recipient.as_str() {
            "cid@example.org" => assert_eq!(sender, "someone@news.example"),
            "dan@example.org" => assert_eq!(sender, ""),
            recipient => {
                let token = Token::read(sender, Delimiter::Plus).unwrap_or_else(|| panic!("{sender} for {recipient}"));
                let recipient = Address::parse(recipient).unwrap();
                assert_eq!(keys.verify(&token, &recipient, today, 1), Ok(()), "{sender} for {recipient:?}");
            }
        }
    }
    // Where it can't be signed it is not held back.
    fs::write(place.keys(), "# none\n").unwrap();
    submit(exim.port, "bounce@news.example", &["ann@example.org"]).await;
    let came = timeout(SOON, envelopes(&listener, 1)).await.unwrap();
    assert_eq!(came, [("bounce@news.example".to_owned(), "ann@example.org".to_owned())]);
}
