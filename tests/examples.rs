//! Every command's help has examples, and each of them does what it says when it is pasted into a shell.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod support;

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::until;

const BOUNCED: &str = env!("CARGO_BIN_EXE_bounced");

/// The words of each command, with its examples.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut left = vec![Vec::<String>::new()];
    while let Some(words) = left.pop() {
        let help = Command::new(BOUNCED).args(&words).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let below = help.split("\nCommands:\n").nth(1).map_or("", |rest| rest.split("\n\n").next().unwrap());
        // A description that is too long goes on in a line that is indented deeper.
        let names = below.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        let names = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help");
        left.extend(names.map(|name| [words.as_slice(), &[name.to_owned()]].concat()));
        let examples = help.split("\nExamples:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap();
        found.push((words.join(" "), examples.lines().map(|line| command(line).to_owned()).collect()));
    }
    found
}

/// An example without the words behind it that say what it does.
fn command(line: &str) -> &str {
    line.trim().split("   ").next().unwrap().split("  ").next().unwrap().trim_end()
}

/// A place in which all examples work: `bounced` in the path, a configuration with a mailbox, a database that knows the
/// addresses that examples name, and the files. Paths that begin at the root begin here instead.
struct Place {
    dir: tempfile::TempDir,
}

const CONFIGURATION: &str = "[database]\npath = \"bounced.db\"\n[suppressions]\npath = \"suppressions.db\"\n\
                             most_per_message = 2\n[maildir.bounces]\npath = \"var/mail/bounces\"\nafter = \"leave\"\n";

/// `ANN`, as the mailbox of an example has it.
fn report(number: u32, addresses: &[&str]) -> String {
    let recipients: String = addresses
        .iter()
        .map(|one| {
            format!("\nFinal-Recipient: rfc822; {one}\nAction: failed\nDiagnostic-Code: smtp; 550 5.1.1 No such user\n")
        })
        .collect();
    format!(
        "From: MAILER-DAEMON@mx.example.net\nMessage-ID: <{number}@mx.example.net>\nSubject: Undelivered\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\
         Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n{recipients}\n--b--\n"
    )
}

impl Place {
    async fn new() -> Self {
        let place = Self { dir: support::directory() };
        for directory in
            ["bin", "etc/bounced", "var/mail/bounces/new", "var/mail/bounces/cur", "var/mail/bounces/tmp", "var/log"]
        {
            fs::create_dir_all(place.path(directory)).unwrap();
        }
        for directory in ["bash-completion/completions", "zsh/site-functions", "fish/vendor_completions.d"] {
            fs::create_dir_all(place.path("usr/share").join(directory)).unwrap();
        }
        fs::create_dir_all(place.path("usr/local/share/man/man1")).unwrap();
        std::os::unix::fs::symlink(BOUNCED, place.path("bin/bounced")).unwrap();
        // `sudo -u bounced COMMAND`: nobody becomes anybody here.
        place.write("bin/sudo", "#!/bin/sh\n[ \"$1\" = -u ] && shift 2\nexec \"$@\"\n");
        fs::set_permissions(place.path("bin/sudo"), fs::Permissions::from_mode(0o755)).unwrap();
        let bounce = report(1, &["ann@example.org"]);
        place.write("bounced.toml", CONFIGURATION);
        place.write(
            "etc/bounced/bounced.toml",
            &CONFIGURATION
                .replace("\"bounced", "\"../../bounced")
                .replace("\"supp", "\"../../supp")
                .replace("\"var", "\"../../var"),
        );
        place.write("bounce.eml", &bounce);
        place.write(
            "Inbox",
            &format!("From a Thu Nov 26 12:00:00 2026\n{bounce}\nFrom b Thu Nov 26 12:00:00 2026\n{bounce}\n"),
        );
        place.write("gone.txt", "# gone\nann@example.org\nbob@example.org\n");
        place.write("left.txt", "ann@example.org\n");
        place.write(
            "mailgun-bounces.csv",
            "address,code,error,created_at\ncid@example.org,550,No such user,2026-11-01T12:00:00Z\n",
        );
        place.write(
            "campaign.csv",
            "Time,Message-ID,Recipient,Campaign\n2026-11-26T12:00:00Z,<1@news.example>,ann@example.org,c42\n",
        );
        place.write("ses.json", "{\"SuppressedDestinationSummaries\": [{\"EmailAddress\": \"cid@example.org\", \"Reason\": \"BOUNCE\", \"LastUpdateTime\": \"2026-11-01T12:00:00Z\"}]}\n");
        assert!(Command::new("gzip").arg("-k").arg(place.path("gone.txt")).status().unwrap().success());
        place.write("users", "1 ann@example.org\n2 bob@example.org\n");
        place.write("var/log/mail.log", "postfix/smtp[1]: to=<a@b.example>, (host mx said: 550 5.1.1 User unknown)\n");
        // One of the two waits in each of these messages, and the number of the last one is 17.
        for number in 1..=17 {
            let names =
                [format!("a{number}@example.org"), format!("b{number}@example.org"), format!("c{number}@example.org")];
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            place.write(&format!("var/mail/bounces/new/{number}"), &report(100 + number, &names));
        }
        let mut daemon = place.shell("bounced run", None);
        until("the mails are read", Duration::from_secs(60), async || {
            let read =
                Command::new("sqlite3").arg(place.path("bounced.db")).arg("SELECT count(*) FROM message").output();
            (read.unwrap().stdout == b"17\n").then_some(())
        })
        .await;
        Command::new("kill").args(["--", &format!("-{}", daemon.id())]).status().unwrap();
        assert!(daemon.wait().unwrap().success());
        assert_eq!(place.run("bounced suppressions add ann@example.org bob@example.org", None).0, Some(0));
        assert_eq!(place.run("bounced suppressions allow eve@example.net", None).0, Some(0));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A fresh copy, as each example may change what it finds.
    fn copy(&self) -> Self {
        let dir = support::directory();
        let to = dir.path().join("place");
        assert!(Command::new("cp").arg("-a").arg(self.dir.path()).arg(&to).status().unwrap().success());
        for entry in fs::read_dir(&to).unwrap() {
            let entry = entry.unwrap();
            fs::rename(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        fs::remove_dir(&to).unwrap();
        Self { dir }
    }

    fn shell(&self, line: &str, input: Option<&str>) -> std::process::Child {
        let root = self.dir.path().display();
        let line = line.replace(" /", &format!(" {root}/"));
        let path = format!("{}:{}", self.path("bin").display(), env::var("PATH").unwrap());
        let (out, said) = (self.path("stdout"), self.path("stderr"));
        let mut shell = Command::new("bash")
            // SIGTERM reaches the program; the shell waits for it and ends as it does.
            .args(["-o", "pipefail", "-c", &format!("trap : TERM\n{line}")])
            .current_dir(self.dir.path())
            .env("PATH", path)
            .env("BOUNCED_CONFIG", self.path("etc/bounced/bounced.toml"))
            .env("BOUNCED__LOG__LEVEL", "info")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(out).unwrap())
            .stderr(fs::File::create(said).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        // A program that asks for no input may have ended.
        let mut stdin = shell.stdin.take().unwrap();
        stdin.write_all(input.unwrap_or_default().as_bytes()).ok();
        shell
    }

    /// Runs a line to its end, or stops it when it says that it is started; its exit code and what it said.
    fn run(&self, line: &str, input: Option<&str>) -> (Option<i32>, String) {
        let mut shell = self.shell(line, input);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut told = false;
        loop {
            let said = fs::read_to_string(self.path("stderr")).unwrap();
            if let Some(status) = shell.try_wait().unwrap() {
                return (status.code(), said);
            }
            if !told && line.contains("bounced") && line.contains(" run") && said.contains("started") {
                told = Command::new("kill").args(["--", &format!("-{}", shell.id())]).status().unwrap().success();
            }
            if Instant::now() > deadline {
                Command::new("kill").args(["-9", "--", &format!("-{}", shell.id())]).status().unwrap();
                panic!("{line} does not end: {said}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What an example wants to find beside what all do.
fn prepare(place: &Place, line: &str) -> Option<String> {
    if line.contains(" init") {
        // It asks, and makes the configuration.
        fs::remove_file(place.path("bounced.toml")).unwrap();
        fs::remove_file(place.path("etc/bounced/bounced.toml")).unwrap();
        let root = place.dir.path().display();
        let answers = if line.contains("--pop3") {
            format!("mail.example.org\nbounces\n\n\n{root}\n")
        } else if line.contains("--provider gmail") {
            format!("bounces@gmail.com\n\n\nleave\n{root}\n")
        } else {
            format!("{root}/var/mail/bounces\nleave\n{root}\n")
        };
        place.write("answers.txt", &answers);
        return Some(answers);
    }
    if line.contains("redact -") || line.contains("explain -") {
        return Some(fs::read_to_string(place.path("bounce.eml")).unwrap());
    }
    if line.contains("review") {
        // These are the ones that wait.
        let sql = "INSERT OR REPLACE INTO held (address, domain, why, origin, reason, message, remote, since)
                   SELECT value, 'example.org', 'flood', 'hard', 'user_unknown', 17, 'gmail.com', 1
                   FROM json_each('[\"ann@example.org\", \"bob@example.org\"]');
                   DELETE FROM suppression WHERE address IN ('ann@example.org', 'bob@example.org');";
        assert!(Command::new("sqlite3").arg(place.path("bounced.db")).arg(sql).status().unwrap().success());
    }
    if line.contains("ack") || line.contains("retry") {
        let sql = "INSERT INTO pending (mailbox, place, first_failed, tries, next_try, why)
                   VALUES ('bounces', '7:4711', 1, 1, 1, 'it is an example');";
        assert!(Command::new("sqlite3").arg(place.path("bounced.db")).arg(sql).status().unwrap().success());
    }
    if line.contains("unrecognised") {
        let sql = "UPDATE message SET names_nobody = 1 WHERE id = 17";
        assert!(Command::new("sqlite3").arg(place.path("bounced.db")).arg(sql).status().unwrap().success());
    }
    if line.contains(" verp ") {
        let section = "[verp]\nkeys = 'KEYS'\naddress = 'bounce@news.example'\n";
        let section = section.replace("KEYS", place.path("verp.keys").to_str().unwrap());
        for file in ["bounced.toml", "etc/bounced/bounced.toml"] {
            place.write(file, &format!("{}{section}", fs::read_to_string(place.path(file)).unwrap()));
        }
        assert_eq!(place.run("bounced verp keygen", None).0, Some(0));
    }
    if line.contains("forget --undo") {
        assert_eq!(place.run("bounced forget ann@example.org", None).0, Some(0));
    }
    if line.contains("allow --remove") {
        assert_eq!(place.run("bounced suppressions allow ann@example.org bob@example.org", None).0, Some(0));
    }
    None
}

fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        support::skip(&format!("examples with {program}"), "it is not installed");
    }
    there
}

#[tokio::test]
async fn every_command_has_examples_and_each_of_them_works() {
    if !is_there("sqlite3") {
        return;
    }
    let has_jq = is_there("jq");
    let commands = commands();
    assert!(commands.len() > 25, "{commands:?}");
    let place = Place::new().await;
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (command, examples) in &commands {
        let own = format!("bounced {command}");
        if !examples.iter().any(|line| line.contains(own.trim()))
            && !examples.iter().any(|line| is_with_options(line, command))
        {
            wrong.push(format!("{own} --help has no example of it: {examples:?}"));
        }
        for line in examples.iter().filter(|line| seen.insert((*line).clone())) {
            // A person has to consent; tests/oauth2.rs plays that person for each of them.
            if line.contains("bounced login") || line.contains("| jq") && !has_jq {
                continue;
            }
            let copy = place.copy();
            let input = prepare(&copy, line);
            let (code, said) = copy.run(line, input.as_deref());
            if code != Some(0) {
                let out = fs::read_to_string(copy.path("stdout")).unwrap_or_default();
                wrong.push(format!("{line}: exit code {code:?}\n{said}{out}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen.len() > 60, "{seen:#?}");
}

/// Options of the program may stand before the command.
fn is_with_options(line: &str, command: &str) -> bool {
    line.contains("bounced --config") && line.contains(&format!(" {command}"))
}

#[test]
fn an_example_ends_where_its_explanation_begins() {
    for (line, expected) in [
        ("  bounced review list                  what waits", "bounced review list"),
        ("  bounced retry bounces 7:4711  one message", "bounced retry bounces 7:4711"),
        ("  bounced check", "bounced check"),
    ] {
        assert_eq!(command(line), expected);
    }
    assert!(Path::new(BOUNCED).exists());
}
