//! What the command line says when something is wrong: one line on standard error that says what to do, and the exit
//! code of docs/operations.md.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::PathBuf, process::Output};

use assert_cmd::Command;
use bounced::{
    clock::Moment,
    store::{Failure, Heartbeat, Store},
};
use tempfile::TempDir;

/// A directory with a configuration and an empty Maildir.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: TempDir::new().unwrap() };
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(place.path("box").join(part)).unwrap();
        }
        place.configure(
            "[database]\npath = 'bounced.db'\n[suppressions]\npath = 'list.db'\n[maildir.box]\npath = 'box'\n",
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("bounced.toml"), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"));
        command.env_clear().arg("--config").arg(self.path("bounced.toml"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// The single line on standard error that is no log line.
    fn complaint(&self, args: &[&str], exit: i32) -> String {
        complaint(&self.run(args), exit)
    }
}

fn complaint(output: &Output, exit: i32) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{error}");
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("bounced: ")).collect();
    assert_eq!(lines.len(), 1, "one clear line: {error}");
    lines[0].to_owned()
}

fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"));
    command.env_clear();
    command
}

#[test]
fn a_configuration_with_a_mistake_is_refused_with_file_line_and_key() {
    for (text, line, expected) in [
        ("[database]\npth = 'x'", 2, "[database] pth: unknown key `pth`, expected `path`"),
        ("[databse]\npath = 'x'", 1, "[databse]: unknown key `databse`, expected one of `database`"),
        (
            "# a\n[suppressions]\nmost_per_message = 'five'",
            3,
            "[suppressions] most_per_message: found \"five\", expected a whole number",
        ),
        (
            "[suppressions]\nmost_per_message = '5'",
            2,
            "[suppressions] most_per_message: found \"5\", expected a whole number from 0",
        ),
        (
            "[suppressions]\nsoft_count = 5",
            2,
            "[suppressions] soft_count: soft bounces are counted by the rules of the policy",
        ),
        (
            "[suppressions]\n\nsoft_min_days = 5",
            3,
            "[suppressions] soft_min_days: soft bounces are counted by the rules",
        ),
        (
            "[suppressions]\nsoft_window_days=5",
            2,
            "[suppressions] soft_window_days: soft bounces are counted by the rules",
        ),
        (
            "[imap.a]\nhost = 'h'\nuser = 'a'\npassword = 'open sesame'",
            4,
            "[imap.a] password: expected { file = \"…\" }, { env = \"…\" }, { command = \"…\" } or { credential = \"…\" }, not",
        ),
        ("[log]\nformat = 'xml'", 2, "[log] format: unknown word `xml`, expected one of `auto`, `pretty`, `json`"),
        ("[report]\nprocessed = ['bounces']", 2, "[report] processed: unknown word `bounces`"),
        ("[log]\nlevel = 'info", 2, "[log] level: "),
        ("[imap.a]\nhost = 'mail.example.org'\nuser = 'a'", 1, "[imap.a] needs password or token"),
        ("[imap.a]\nhost = 'h'\nuser = 'a'\npassword = { env = 'P' }\ntls = 'ssl'", 5, "[imap.a] tls: unknown word"),
        ("[maildir.a]\npath = '/m'\npol = '1s'", 3, "[maildir.a] pol: unknown key `pol`"),
        (
            "[maildir.a]\npath = '/m'\npoll = '0s'",
            3,
            "[maildir.a] poll: expected a time above 0 such as \"30s\" or \"5m\"",
        ),
        ("[maildir.a]\npath = '/m'\nbatch = 0", 3, "[maildir.a] batch: expected at least 1"),
        ("[maildir.a]\npath = '/m'\nmax_message = 0", 3, "[maildir.a] max_message: expected at least 1"),
        ("[maildir.a]\npath = '/m'\nafter = { move = ' ' }", 3, "[maildir.a] after: expected a name"),
        (
            "[maildir.a]\npath = '/m'\nafter = 'move'",
            3,
            "[maildir.a] after: which folder? expected { move = \"FOLDER\" }",
        ),
        (
            "[maildir.a]\npath = '/m'\nafter = 'delete'",
            3,
            "found \"delete\", expected { move = \"FOLDER\" }, \"flag\" or",
        ),
        ("[maildir.a]\npath = '/m'\nafter = {}", 3, "[maildir.a] after: the key `move` is missing"),
        ("[maildir.a]\npath = '/m'\npoll = 5", 3, "poll: found the number 5, expected a time above 0 such as \"30s\""),
        ("[maildir]\npath = '/m'", 2, "[maildir] path: found \"/m\", expected a table of its own: [maildir.NAME]"),
        ("[imap.a]\ntimeouts = '5s'", 2, "timeouts: found \"5s\", expected a table such as { connect = \"30s\""),
        ("[imap.a]\nidle = 'yes'", 2, "idle: found \"yes\", expected true or false"),
        ("[imap.a]\nuser = 'a'\ntoken = 'open sesame'", 3, "[imap.a] token: expected { command = "),
        ("[suppressions]\nnever = 'a@x.example'", 2, "never: found \"a@x.example\", expected a list"),
        ("[retention]\nmessages = 30", 2, "messages: found the number 30, expected a time above 0 in days or less"),
        ("\n[verp]\nkeys = 'keys'", 2, "[verp] keys is given and address is not"),
        ("[mail_log.mx]\nformat = 'postfix'", 1, "[mail_log.mx] "),
        ("[trust.mailbox.b]\nrequired = 'local'", 1, "[trust.mailbox.b] is for a mailbox that is not configured"),
        ("[imap.a]\nport = 0", 2, "[imap.a] port: found the number 0, expected a whole number from 1 to 65535"),
        ("[imap.a]\nhost = ''", 2, "[imap.a] host: expected a host name or an address"),
        ("[imap.a]\nhost = 'imaps://mail.example.org'", 2, "[imap.a] host: expected a host name or an address"),
        ("[imap.a]\nhost = 'mail.example.org:993'", 2, "its port is a key of its own"),
        ("[imap.a]\nhost = '::1'\nuser = ''", 3, "[imap.a] user: expected a name"),
        ("[imap.a]\nfolder = \"a\\nb\"", 2, "[imap.a] folder: expected a name, without line ends"),
        ("[imap.a]\ntimeouts = { connect = '0s' }", 2, "expected a time above 0"),
        ("[pop3.a]\nhost = 'h'", 1, "[pop3.a]: the key `user` is missing"),
        ("[imap.a]\nuser = 'u'\npassword = { env = 'P' }", 1, "[imap.a] needs host, or a provider"),
        (
            "[imap.a]\nprovider = 'hotmail'\nuser = 'u'",
            2,
            "[imap.a] provider: unknown provider `hotmail`, expected one of",
        ),
        (
            "[imap.a]\nprovider = 'gmail'\nuser = 'u'\ntoken = { client_id = 'c' }",
            4,
            "[imap.a] token: token has client_id",
        ),
        (
            "[imap.a]\nprovider = 'gmail'\nuser = 'u'\ntoken = { command = 'c' }\nmechanism = 'plain'",
            1,
            "set password instead",
        ),
        (
            "[imap.a]\nprovider = 'microsoft365'\nuser = 'u'\ntoken = { client_id = 'c', refresh_token = 'r' }",
            1,
            "[imap.a] token needs tenant",
        ),
        (
            "[imap.a]\nprovider = 'yahoo'\nuser = 'u'\ntoken = { client_id = 'c', refresh_token = 'r' }",
            1,
            "set password: Yahoo takes an app password",
        ),
        (
            "[pop3.a]\nhost = 'h'\nuser = 'u'\ntoken = { client_id = 'c', client_secret = { env = 'S' } }",
            1,
            "[pop3.a] token needs token_url",
        ),
        (
            "[imap.a]\nhost = 'h'\nuser = 'u'\ntoken = { service_account = 'k', token_url = 'http://192.0.2.1/t' }",
            1,
            "token_url http://192.0.2.1/t: secrets go over https:// only",
        ),
        ("[jmap.a]\nhost = 'h'", 1, "[jmap.a]: unknown key `jmap`"),
        ("[[mailbox]]\ntype = 'imap'", 1, "unknown key `mailbox`, expected one of"),
    ] {
        let place = Place::new();
        place.configure(text);
        let complaint = place.complaint(&["check"], 78);
        let start = format!("bounced: {}:{line}: ", place.path("bounced.toml").display());
        assert!(complaint.starts_with(&start) && complaint.contains(expected), "{complaint}");
        assert!(!complaint.contains("sesame"), "{complaint}");
    }
}

#[test]
fn a_person_is_asked_for_consent_only_where_it_can_be_kept_and_used() {
    let place = Place::new();
    fs::write(place.path("secret"), "s\n").unwrap();
    let secret = |file: &str| format!(", client_secret = {{ file = '{file}' }}");
    for (secret, kept, args, expected) in [
        (String::new(), "token", &["login", "g"][..], "token needs client_secret"),
        (secret("nowhere"), "token", &["login", "g"], "nowhere"),
        (secret("secret"), "no/such/token", &["login", "g"], "the refresh token can't be kept in"),
        (secret("secret"), "token", &["login", "g", "--device"], "use --browser or --paste"),
    ] {
        place.configure(&format!(
            "[imap.g]\nprovider = 'gmail'\nuser = 'u'\ntoken = {{ client_id = 'c'{secret}, refresh_token = \
             '{kept}' }}"
        ));
        let output = place.run(args);
        let told = complaint(&output, 77);
        assert!(told.contains(expected) && !told.contains("app password"), "{told}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_report_of_no_lines_is_refused() {
    let output = Place::new().run(&["report", "--limit", "0"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("'0'") && error.contains("--limit"), "{error}");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        (
            "[suppressions]\nmost_per_message = 0",
            "bounced.toml:2: [suppressions] most_per_message: 0, expected 1 or more",
        ),
        (
            "[retention]\nbounces = '9d'\n\ndiagnostics = '10d'",
            "bounced.toml:4: [retention] diagnostics: longer than what is kept of a bounce",
        ),
        ("[database]\npath = 'a'\n[suppressions]\npath = 'a'", "the same file"),
        ("[log]\nlevel = 'loud,,='", "bounced.toml:2: [log] level: `loud,,=`"),
        (
            "[maildir.a]\npath = '/m'\npoll = 'banana'",
            "[maildir.a] poll: expected a time above 0 such as \"30s\" or \"5m\"",
        ),
        ("[maildir.'']\npath = '/m'", "[maildir.\"\"]: a mailbox needs a name that can be read"),
        (
            "[imap.a]\nhost = 'h'\nuser = 'u'\npassword = { env = 'P' }\nafter = { move = 'inbox' }",
            "[imap.a] after moves messages to the folder that is read, INBOX; name another",
        ),
        (
            "[imap.a]\nhost = 'h'\nuser = 'u'\npassword = { env = 'P' }\nca_file = '/nowhere/ca.pem'",
            "[imap.a] can't use ca_file /nowhere/ca.pem: ",
        ),
        (
            "[imap.a]\nhost = 'h'\nuser = 'u'\ncertificate = 'bounced.toml'",
            "bounced.toml: it holds no certificate in PEM form",
        ),
        (
            "[lmtp.a]\nlisten = '127.0.0.1:2424'\n[lmtp.b]\nlisten = '127.0.0.1:2424'",
            "[lmtp.a] and [lmtp.b] both have listen = \"127.0.0.1:2424\"; only one can have it",
        ),
        ("[log]\nlevel = 'info,loud'", "`loud` is none of error, warn, info, debug and trace"),
        ("[log]\nlevel = 'info,bounced::source=loud'", "bounced.toml:2: [log] level: `info,bounced::source=loud`"),
        ("[maildir.a]\npath = '/m'\n[imap.a]\nhost = 'h'\nuser = 'u'\npassword = { env = 'P' }", "have one name"),
    ] {
        let place = Place::new();
        place.configure(text);
        let complaint = place.complaint(&["check"], 78);
        assert!(complaint.contains(expected), "{complaint}");
    }
}

/// What `bounced check` prints of the policy, and what it doubts.
#[test]
fn a_check_tells_the_whole_policy_and_what_of_it_can_do_nothing() {
    let place = Place::new();
    let own =
        "[[rule]]\nid = 'alarms'\nmailbox = ['alarm', 'box']\nclass = 'hard'\nfor = 'never'\n[brake]\nleast = 50\n";
    fs::write(place.path("own.toml"), own).unwrap();
    let mailbox = "[maildir.box]\npath = 'box'\n";
    let configure = |retention: &str| {
        place.configure(&format!(
            "[suppressions]\nnever = ['ann@own.example', '@Own.example']\n[policy]\nfiles = ['own.toml']\n[trust]\n\
             submission_hosts = ['10.1.0.0/16', 'app.example.org', '192.0.2.7']\n{mailbox}{retention}"
        ));
        let output = place.run(&["check"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = configure("[retention]\nbounces = '90d'\n");
    for line in [
        "suppresses      alarms: 1 hard bounce",
        "never           *@own.example, ann@own.example",
        "brake           more than 50 addresses",
        "alarms          own_fault: 5 refusals of a provider within a day for a fault of ours, and none in 30 days before",
        "                hard_rate: more than 2.0 % or 5.0 % hard bounces of what was sent in a day, 200 messages at least",
        "                silent: nothing told for 24 hours and 3 times the longest silence in 30 days, of 20 messages",
        "report          rates from 50 messages sent on",
        "                campaigns by X-Listmonk-Campaign, ",
        "trust           our mail servers: ",
        "                submission hosts: 10.1.0.0/16, app.example.org, 192.0.2.7",
        "                local users: Debian-exim, exim, mail, mailnull; hops by LMTP are passed over",
        "                delivered to: Delivered-To, X-Original-To, Envelope-To",
        "                the database is not there yet",
        "verp            no keys: no envelope sender is signed",
        "retention       diagnostics for ever, bounces 90 days, messages for ever",
        "warning         rule `alarms` is for the mailbox `alarm`, and none of that name is configured",
        "warning         rule `soft` counts bounces within 120 days, and [retention] keeps them for 90 days",
    ] {
        assert!(told.lines().any(|told| told.starts_with(line)), "{line}: {told}");
    }
    assert_eq!(told.matches("warning ").count(), 3, "as many as rules look back so far: {told}");
    let told = configure("[retention]\nmessages = '120d'\n");
    assert_eq!(told.matches("warning ").count(), 1, "{told}");
}

#[test]
fn the_environment_overrides_the_file_and_is_as_strict() {
    let place = Place::new();
    let with = |name: &str, value: &str| place.command().arg("check").env(name, value).output().unwrap();

    let output = with("BOUNCED__DATABASE__PATH", "/elsewhere/bounced.db");
    assert!(String::from_utf8_lossy(&output.stdout).contains("/elsewhere/bounced.db"), "{output:?}");
    let output = with("BOUNCED__REPORT__PROCESSED", "bounce,complaint");
    assert!(String::from_utf8_lossy(&output.stdout).contains("bounce, complaint: moved"), "{output:?}");
    let output = with("BOUNCED__WORDS__FILES", "a.toml,b.toml");
    assert!(String::from_utf8_lossy(&output.stderr).contains("a.toml: can't read the table"), "{output:?}");
    let output = with("BOUNCED__MAILDIR__OTHER__PATH", "/007");
    assert!(String::from_utf8_lossy(&output.stdout).contains("other: Maildir /007"), "{output:?}");

    let complaint_of = |name: &str, value: &str| complaint(&with(name, value), 78);
    place.configure("[imap.a]\nhost = 'h'\nuser = 'u'");
    for (name, value, expected) in [
        ("DATABSE__PATH", "x", "BOUNCED__SECTION__KEY: unknown key `databse`"),
        (
            "SUPPRESSIONS__MOST_PER_MESSAGE",
            "five",
            "BOUNCED__SUPPRESSIONS__MOST_PER_MESSAGE: found \"five\", expected a whole",
        ),
        (
            "IMAP__A__PORT",
            "99999",
            "BOUNCED__IMAP__A__PORT: found the number 99999, expected a whole number from 0 to 65535",
        ),
        ("IMAP__A__TLS", "ssl", "BOUNCED__IMAP__A__TLS: unknown word `ssl`"),
        ("IMAP__A__AFTER", "move", "BOUNCED__IMAP__A__AFTER: which folder?"),
        ("IMAP__A__PASSWORD", "geheim", "BOUNCED__IMAP__A__PASSWORD: expected { file = "),
        ("IMAP__A__PASSWORD", "file", "BOUNCED__IMAP__A__PASSWORD: expected { file = "),
        ("IMAP__A__TOKEN", "geheim", "BOUNCED__IMAP__A__TOKEN: expected { command = "),
    ] {
        let complaint = complaint_of(&format!("BOUNCED__{name}"), value);
        assert!(complaint.contains(expected) && !complaint.contains("geheim"), "{complaint}");
    }
}

#[test]
fn what_never_ends_is_told_and_the_rest_is_judged() {
    let place = Place::new();
    fs::write(place.path("b.eml"), "From: MAILER-DAEMON@a.example\nSubject: failure\n\n550 User unknown\n").unwrap();
    let output = bare().args(["classify", "/dev/zero"]).arg(place.path("b.eml")).output().unwrap();
    let (told, judged) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(told.contains("/dev/zero: can't read it: a mail of more than 256 MiB"), "{told}");
    assert!(judged.contains("b.eml") && !judged.contains("/dev/zero"), "{judged}");
    assert_eq!(output.status.code(), Some(66));

    let long = format!("550 {}\n550 User unknown\n", "x".repeat(100_000));
    let output = bare().args(["classify", "--response", "-"]).write_stdin(long).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("standard input, line 1: too long for a reply"), "{told}");
    let judged = String::from_utf8_lossy(&output.stdout);
    assert!(judged.lines().count() == 2 && judged.contains("user_unknown"), "{judged}");
    assert_eq!(output.status.code(), Some(66));
}

#[test]
fn what_the_file_leaves_out_the_environment_may_add() {
    let place = Place::new();
    place.configure("[imap.a]\nhost = 'mail.example.org'\npassword = { env = 'P' }");
    let output = place.command().arg("check").env("BOUNCED__IMAP__A__USER", "bounces").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("a: bounces at mail.example.org:993 (TLS)"), "{output:?}");
}

#[test]
fn a_configuration_that_is_not_there_is_an_error_only_when_it_was_named() {
    let place = Place::new();
    let output = bare().args(["--config", "/nonexistent/bounced.toml", "check"]).output().unwrap();
    assert!(complaint(&output, 78).contains("/nonexistent/bounced.toml"));
    fs::remove_file(place.path("bounced.toml")).unwrap();
    assert!(place.complaint(&["run"], 78).contains("--config"));
    assert_eq!(bare().args(["codes", "550"]).output().unwrap().status.code(), Some(0));
}

#[test]
fn a_daemon_without_a_mailbox_says_where_to_add_one() {
    let place = Place::new();
    place.configure("");
    let complaint = place.complaint(&["run"], 78);
    assert!(complaint.contains("[imap.NAME]"), "{complaint}");
}

#[test]
fn a_setup_that_is_handed_its_mails_is_checked_and_shown() {
    let place = Place::new();
    place.configure("[database]\npath = 'bounced.db'\n[suppressions]\npath = 'list.db'\n");
    let told = |args: &[&str]| {
        let output = place.run(args);
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        told
    };
    assert!(told(&["check"]).contains("only `bounced receive` and `bounced import` can bring mail"));
    let bounce = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/samples/postfix-user-unknown.eml");
    told(&["import", bounce]);
    let checked = told(&["check", "--connect"]);
    assert!(
        checked.contains("ok              database") && checked.contains("ok              published list"),
        "{checked}"
    );
    let status = told(&["status"]);
    assert!(status.contains("archive: handed over to a command; 1 message, 1 bounce; the newest"), "{status}");
    assert!(status.contains("archive: whoever can write to it") && !status.contains("pipe"), "{status}");
    let json: serde_json::Value = serde_json::from_str(&told(&["status", "--json"])).unwrap();
    assert_eq!((&json[0]["handed_over"], &json[0]["messages"]), (&"archive".into(), &1.into()));
    // What is missing is told by its exit code.
    fs::remove_file(place.path("bounced.db")).unwrap();
    assert!(place.complaint(&["check", "--connect"], 78).contains("--accept-new-store"));
}

#[test]
fn a_table_with_a_mistake_is_refused_with_file_and_line() {
    let place = Place::new();
    for (section, row) in [("codes", "[[reply]]\ncode = 'x'"), ("phrases", "[[phrase]]\nidd = 'x'")] {
        let mut config = fs::read_to_string(place.path("bounced.toml")).unwrap();
        config.push_str(&format!("[{section}]\nfiles = ['{section}.toml']\n"));
        place.configure(&config);
        fs::write(place.path(&format!("{section}.toml")), row).unwrap();
        for command in [&["run"][..], &["check"], &["classify", "x"]] {
            let complaint = place.complaint(command, 78);
            assert!(complaint.contains(&format!("{section}.toml:")), "{complaint}");
        }
        fs::write(place.path(&format!("{section}.toml")), "").unwrap();
    }
}

#[test]
fn rows_of_ones_own_stand_before_those_of_the_program() {
    let place = Place::new();
    let mut config = fs::read_to_string(place.path("bounced.toml")).unwrap();
    config.push_str("[kinds]\nfiles = ['kinds.toml']\n[formats]\nfiles = ['formats.toml']\n");
    place.configure(&config);
    let sign = "[[sign]]\nid = 'our.desk'\nin = 'Subject'\nat = 'start'\nfor = 'auto_reply'\nweight = 12\n\
                says = ['ticket']\naccepts = ['Subject: Ticket 4711']\n";
    let format = "[[format]]\nid = 'ourgate'\nlabels = ['not reached']\nsigns = ['this is the gate']\n\
                  accepts = ['This is the gate.']\n";
    fs::write(place.path("kinds.toml"), sign).unwrap();
    fs::write(place.path("formats.toml"), format).unwrap();
    let mail = |subject: &str| {
        format!(
            "From: MAILER-DAEMON@gate.example\nSubject: {subject}\n\nThis is the gate.\nNot reached: bob@example.com\n550 no\n"
        )
    };
    let explained = |subject: &str| {
        fs::write(place.path("a.eml"), mail(subject)).unwrap();
        let path = place.path("a.eml");
        String::from_utf8(place.run(&["explain", path.to_str().unwrap()]).stdout).unwrap()
    };
    let desk = explained("Ticket 4711");
    assert!(desk.contains("auto_reply") && desk.contains("kinds:our.desk"), "{desk}");
    let bounce = explained("Undelivered mail");
    assert!(bounce.contains("ourgate") && bounce.contains("bob@example.com"), "{bounce}");
    assert!(bounce.contains("kinds:subject.failed.en"), "{bounce}");
    for (file, text) in [("kinds.toml", sign), ("formats.toml", format)] {
        fs::write(
            place.path(file),
            text.replace("accepts", "rejects = ['Subject: Ticket', 'This is the gate.']\naccepts"),
        )
        .unwrap();
        for command in [&["run"][..], &["check"], &["classify", "x"]] {
            let complaint = place.complaint(command, 78);
            assert!(complaint.contains(&format!("{file}:")) && complaint.contains("rejects"), "{complaint}");
        }
        fs::write(place.path(file), text).unwrap();
    }
}

#[test]
fn a_database_that_cant_be_used_is_named_with_what_to_do() {
    // Root may write anywhere, so these are paths that nobody can write.
    let place = Place::new();
    fs::create_dir(place.path("directory")).unwrap();
    fs::write(place.path("corrupt.db"), "This is no database, but long enough to be taken for one at first sight.")
        .unwrap();
    fs::write(place.path("file"), "").unwrap();
    for (path, expected) in [
        ("nowhere/bounced.db", "nowhere/bounced.db"),
        ("directory", "is a directory"),
        ("corrupt.db", "is damaged or no SQLite database"),
        ("file/bounced.db", "file/bounced.db"),
        ("/proc/bounced.db", "/proc/bounced.db"),
    ] {
        // A damaged list is made anew.
        let list = (path != "corrupt.db").then_some("BOUNCED__SUPPRESSIONS__PATH");
        for key in ["BOUNCED__DATABASE__PATH"].into_iter().chain(list) {
            let output = place.command().arg("run").env(key, path).output().unwrap();
            let complaint = complaint(&output, 74);
            assert!(complaint.contains(expected), "{key}={path}: {complaint}");
        }
        let output =
            place.command().args(["check", "--connect"]).env("BOUNCED__DATABASE__PATH", path).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{path}: {output:?}");
    }
}

#[test]
fn a_mailbox_that_is_not_there_is_refused() {
    let place = Place::new();
    fs::remove_dir_all(place.path("box")).unwrap();
    for command in [&["run"][..], &["check", "--connect"]] {
        let complaint = place.complaint(command, 77);
        assert!(complaint.contains("box"), "{complaint}");
    }
}

#[test]
fn a_mailbox_that_cant_be_reached_now_is_no_refusal_and_the_others_are_tried_as_well() {
    let place = Place::new();
    // A port of our own on which nobody listens any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = [("HOST", "127.0.0.1".to_owned()), ("PORT", port.to_string()), ("TLS", "plain".into())]
        .into_iter()
        .chain([("USER", "u".into()), ("PASSWORD__ENV", "X".into())])
        .map(|(key, value)| (format!("BOUNCED__IMAP__AWAY__{key}"), value));
    let output = place.command().args(["check", "--connect"]).envs(away).output().unwrap();
    let complaint = complaint(&output, 69);
    assert!(complaint.contains(&format!("u at 127.0.0.1:{port}: can't connect")), "{complaint}");
    let parts = String::from_utf8(output.stdout).unwrap();
    assert!(parts.contains("FAILED          away\nok              box\n"), "{parts}");
}

#[test]
fn checking_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.run(&["check", "--connect"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut left: Vec<_> = fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["bounced.toml", "box"]);
    assert!(!place.path("box/.Processed").exists(), "the folder to move to is the daemon's to make");
}

#[test]
fn status_without_a_database_says_so() {
    let place = Place::new();
    let complaint = place.complaint(&["status"], 74);
    assert!(complaint.contains("does not exist"), "{complaint}");
}

#[tokio::test]
async fn status_says_which_mailbox_is_stale_and_exits_with_1_for_one_that_is() {
    let place = Place::new();
    let read_ago = async |seconds: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let store = Store::open(&place.path("bounced.db")).await.unwrap();
        store.heartbeat("box", Moment { wall: now - seconds, uptime: i64::MAX }, Heartbeat::Read).await.unwrap();
        store.close().await;
    };
    let status = |args: &[&str], exit| {
        let output = place.run(&[&["status"], args].concat());
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    Store::open(&place.path("bounced.db")).await.unwrap().close().await;
    let never = status(&[], 1);
    assert!(
        never.starts_with(
            "STALE  box: never read; 0 messages, 0 bounces; no daemon reads it\nbox: whoever can write to it can take"
        ),
        "{never}"
    );
    read_ago(600).await;
    assert!(status(&[], 0).starts_with("ok     box: read 10m"));
    assert!(status(&["--max-age", "9m"], 1).starts_with("STALE  box: read 10m"));
    let json: serde_json::Value = serde_json::from_str(&status(&["--max-age", "9m", "--json"], 1)).unwrap();
    assert_eq!((&json[0]["mailbox"], &json[0]["healthy"]), (&"box".into(), &false.into()));
    place.configure(
        "[database]\npath = 'bounced.db'\n[suppressions]\npath = 'list.db'\n[maildir.box]\npath = 'box'\n\
         [maildir.another]\npath = 'box'\n",
    );
    assert!(status(&[], 1).contains("STALE  another: never read"), "one that is well hides none that is not");
    read_ago(1_200).await;
    assert!(status(&[], 1).starts_with("STALE"), "15 minutes, when nobody says otherwise");

    // What a server said is a stranger's text.
    let store = Store::open(&place.path("bounced.db")).await.unwrap();
    let failure = Failure { why: "no\u{1b}[2J", ..Failure::default() };
    store.heartbeat("box", Moment { wall: 0, uptime: 0 }, Heartbeat::Failed(failure)).await.unwrap();
    store.close().await;
    let text = status(&[], 1);
    assert!(text.contains("last attempt failed: no\\u{1b}[2J"), "{text}");
    place.configure("[database]\npath = 'bounced.db'\n[suppressions]\npath = 'list.db'\n");
    assert_eq!(
        status(&[], 0),
        "no mailbox and no mail log is configured\n",
        "one that is configured no more is nobody's worry"
    );
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
    let output = command.args(["codes", "550"]).env_clear().stdout(full).output().unwrap();
    assert!(complaint(&output, 74).contains("can't write the answer"));
}

#[test]
fn suppressions_answer_by_their_exit_code() {
    let place = Place::new();
    let ann = "ann@example.org";
    for (args, exit) in [
        (&["list"][..], 74),
        (&["remove", ann], 74),
        (&["add", ann], 0),
        (&["add", ann], 0),
        (&["check", ann], 0),
        (&["check", ann, "--json"], 0),
        (&["list"], 0),
        (&["list", "--json"], 0),
        (&["export"], 0),
        (&["remove", ann], 0),
        (&["remove", ann], 1),
        (&["check", ann], 1),
        (&["check", ann, "--json"], 1),
        (&["list"], 0),
        (&["export"], 0),
        (&["check", "ann"], 2),
    ] {
        let output = place.run(&[&["suppressions"], args].concat());
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {output:?}");
    }
}

#[test]
fn every_command_has_a_help_text() {
    let help = String::from_utf8(bare().arg("--help").output().unwrap().stdout).unwrap();
    assert!(help.contains("Exit codes:") && help.contains("Examples:"), "{help}");
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> =
        commands.lines().filter(|l| !l.starts_with("   ")).filter_map(|l| l.split_whitespace().next()).collect();
    assert!(names.len() >= 8, "{names:?}");
    // Longer descriptions go on in lines that are indented deeper.
    for line in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        assert!(line.split_whitespace().count() > 1, "no description: {line}");
    }
    for name in names.into_iter().filter(|name| *name != "help") {
        assert_eq!(bare().args([name, "--help"]).output().unwrap().status.code(), Some(0), "{name}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    for args in [&[][..], &["runn"], &["status", "--max-age", "soon"], &["classify"]] {
        assert_eq!(bare().args(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_database_is_private_and_the_published_list_is_public() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    assert_eq!(place.run(&["suppressions", "add", "ann@example.org"]).status.code(), Some(0));
    let others = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o007;
    assert_eq!((others("bounced.db"), others("list.db")), (0, 4));
}

#[test]
fn links_beside_the_database_are_not_followed() {
    let place = Place::new();
    let victim = place.path("victim");
    fs::write(&victim, "precious").unwrap();
    for name in ["bounced.db.check", "bounced.db.lock"] {
        std::os::unix::fs::symlink(&victim, place.path(name)).unwrap();
    }
    assert_eq!(place.run(&["check"]).status.code(), Some(0));
    let refusal = place.complaint(&["run"], 74);
    assert!(refusal.contains("bounced.db.lock"), "{refusal}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn a_check_that_is_stopped_takes_its_password_command_along() {
    let place = Place::new();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pid = place.path("pid");
    let command = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
    place.configure(&format!(
        "[database]\npath = 'bounced.db'\n[suppressions]\npath = 'list.db'\n[imap.box]\nhost = '127.0.0.1'\n\
         port = {}\ntls = 'plain'\nuser = 'bob'\npassword = {{ command = '{command}' }}\n",
        server.local_addr().unwrap().port()
    ));
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"))
        .arg("--config")
        .arg(place.path("bounced.toml"))
        .args(["check", "--connect"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (mut connection, _) = server.accept().unwrap();
    std::io::Write::write_all(&mut connection, b"* OK ready\r\n").unwrap();
    let child = loop {
        match fs::read_to_string(&pid) {
            Ok(child) => break child.trim().to_owned(),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    let sent = std::process::Command::new("kill").args(["-INT", &check.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(check.wait().unwrap().code(), Some(75));
    // Nobody may have waited for it yet.
    let lives = || fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while lives() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn the_list_takes_many_addresses_files_and_standard_input() {
    let place = Place::new();
    fs::write(place.path("gone.txt"), "# gone\nAnn B. <ann@example.org>\n\nmailto:bob@example.org\n").unwrap();
    let file = place.path("gone.txt").display().to_string();
    let told = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        place.complaint(&["suppressions", "add", "eve@example.org", "a*@example.org"], 2).contains("the one pattern")
    );
    assert!(!place.path("bounced.db").exists(), "nothing was done");
    assert_eq!(told(&place.run(&["suppressions", "add", &file, "cid@example.org"])).lines().count(), 3);
    let input = "ann@example.org\neve@example.org\n";
    let check = |args: &[&str]| place.command().args(args).write_stdin(input).output().unwrap();
    let checked = check(&["suppressions", "check", "-"]);
    assert_eq!(
        (checked.status.code(), told(&checked).lines().last()),
        (Some(1), Some("eve@example.org is not on the list"))
    );
    assert_eq!(told(&check(&["suppressions", "export", "-"])), "ann@example.org\n");
    assert_eq!(told(&check(&["suppressions", "list", "--json", "bob@example.org"])).matches("\"address\"").count(), 1);
    let nobody = place.command().args(["suppressions", "export", "-"]).write_stdin("").output().unwrap();
    assert_eq!(told(&nobody), "", "nobody named is not everybody meant");
    fs::write(place.path("gone.txt"), "ann@example.org\nann\n").unwrap();
    assert!(place.complaint(&["suppressions", "remove", &file], 66).contains("line 2: expected one mail address"));
    assert_eq!(told(&place.run(&["suppressions", "export"])).lines().count(), 3);
    let removed = place.run(&["suppressions", "remove", "ann@example.org", "eve@example.org"]);
    assert_eq!((removed.status.code(), told(&removed).lines().count()), (Some(1), 2));
}

#[test]
fn each_shell_gets_completions_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = bare().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && ["suppressions", "explain"].iter().all(|name| script.contains(name)),
            "{shell}"
        );
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let place = Place::new();
    let directory = place.path("man1");
    let missing = place.complaint(&["manual", directory.to_str().unwrap()], 74);
    assert!(missing.contains("man1"), "{missing}");
    fs::create_dir(&directory).unwrap();
    assert!(place.run(&["manual", directory.to_str().unwrap()]).status.success());
    for (page, says) in
        [("bounced", "exit codes"), ("bounced-run", "watch"), ("bounced-suppressions-add", "standard input")]
    {
        let text = fs::read_to_string(directory.join(format!("{page}.1"))).unwrap().to_lowercase();
        assert!(text.contains(".sh name") && text.contains(says), "{page}\n{text}");
    }
}

#[test]
fn five_answers_make_a_configuration_that_works() {
    let place = Place::new();
    fs::remove_file(place.path("bounced.toml")).unwrap();
    let maildir = place.path("box");
    let answers = format!("{}\nleave\n{}\n", maildir.display(), place.dir.path().display());
    let said = place.command().arg("init").write_stdin(answers.clone()).output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success() && out.contains("ok              bounces"), "{out}");
    let again = place.command().arg("init").write_stdin(answers).output().unwrap();
    assert!(complaint(&again, 2).contains("--force"));
    let nothing = place.command().args(["init", "--force"]).write_stdin("").output().unwrap();
    assert!(complaint(&nothing, 2).contains("IMAP server"));
    assert!(
        fs::read_to_string(place.path("bounced.toml")).unwrap().contains("maildir.bounces"),
        "it is left as it was"
    );
}

#[test]
fn the_answers_of_a_provider_make_a_configuration_that_passes_check() {
    let place = Place::new();
    let directory = place.dir.path().display().to_string();
    for (arguments, answers, said) in [
        (&["--provider", "microsoft365"][..], "b@example.org\n\nT\nC\n\n\n", "outlook.office365.com:993"),
        (
            &["--pop3"],
            "gmail\nb@example.org\nconsent\nC\n\ndelete\n",
            "bounced.toml login bounces, then bounced --config",
        ),
        (&["--provider", "gmail"], "b@example.org\nservice-account\n\n\n", "imap.gmail.com:993"),
    ] {
        let mut command = place.command();
        let init = command.args(["init", "--force", "--no-connect"]).args(arguments);
        let output = init.write_stdin(format!("{answers}{directory}\n")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains(said), "{arguments:?} {output:?}");
        assert!(place.run(&["check"]).status.success(), "{arguments:?}");
    }
    let unknown = place.command().args(["init", "--force", "--provider", "outlook"]).output().unwrap();
    assert!(complaint(&unknown, 2).contains("expected one of microsoft365, gmail"));
}

#[test]
fn help_is_as_wide_as_a_small_terminal_and_shows_no_file_that_the_environment_names() {
    let configured = |arguments: &[&str]| bare().env("BOUNCED_CONFIG", "/nonexistent/b.toml").args(arguments).output();
    for command in [&["--help"][..], &["status", "--help"], &["verp", "sign", "--help"]] {
        let help = String::from_utf8(configured(command).unwrap().stdout).unwrap();
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|columns| columns <= 80) && !help.contains("nonexistent"), "{help}");
    }
    let unknown = String::from_utf8(configured(&["status", "--unknown"]).unwrap().stderr).unwrap();
    assert!(unknown.contains("Usage: bounced status") && !unknown.contains("--config"), "{unknown}");
    let obeyed = configured(&["check"]).unwrap();
    assert!(complaint(&obeyed, 78).contains("/nonexistent/b.toml"));
}

#[test]
fn a_report_is_no_wider_than_what_it_says_and_explain_misses_nothing_that_nobody_configured() {
    let place = Place::new();
    let mail = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/samples/postfix-mailbox-full.eml");
    let explained = |place: &Place| String::from_utf8(place.run(&["explain", mail]).stdout).unwrap();
    assert!(!explained(&place).contains("not known in full"));
    assert!(place.run(&["suppressions", "add", "ann@example.org"]).status.success());
    assert!(!explained(&place).contains("not known in full"), "the database is there, and knows of nothing sent");
    let report = String::from_utf8(place.run(&["report"]).stdout).unwrap();
    assert!(report.lines().all(|line| line.chars().count() <= 80), "{report}");
    let config = fs::read_to_string(place.path("bounced.toml")).unwrap();
    let keys = "[verp]\nkeys = 'keys'\naddress = 'bounces@example.org'\n";
    place.configure(&format!("{config}{keys}"));
    assert!(explained(&place).contains("who is believed is not known in full"));
}

/// Every command that prints, and a list with somebody on it.
fn printing(place: &Place) -> Vec<Vec<String>> {
    assert!(place.run(&["suppressions", "add", "ann@example.org"]).status.success());
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/samples/postfix-mailbox-full.eml");
    let commands = [
        "status",
        "status --json",
        "check",
        "suppressions list",
        "suppressions list --json",
        "suppressions export",
        "suppressions export --format csv",
        "suppressions check ann@example.org",
        "suppressions check nobody@example.org --json",
        "suppressions add bob@example.org",
        "suppressions remove eve@example.org",
        "review approve --all",
        "retry",
        "ack",
        "codes",
        "codes --json",
        "codes 550",
        "codes nothing",
        "phrases",
        "phrases --json",
        "phrases nothing",
        "classify SAMPLE",
        "classify --json SAMPLE",
        "classify --response 550",
        "explain SAMPLE",
        "explain --response 550",
        "redact SAMPLE",
        "completions zsh",
        "help",
        "--help",
        "--version",
        "suppressions --help",
    ];
    let words = |command: &str| command.split(' ').map(|word| word.replace("SAMPLE", sample)).collect();
    commands.into_iter().map(words).collect()
}

/// As `bounced … | head` closes it.
#[test]
fn a_pipe_that_is_closed_is_no_failure_and_says_nothing() {
    let place = Place::new();
    for args in printing(&place) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
        let output = command.env_clear().arg("--config").arg(place.path("bounced.toml")).args(&args).stdout(writer);
        let output = output.stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn an_answer_that_can_not_be_written_is_told() {
    let place = Place::new();
    for args in printing(&place) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bounced"));
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.env_clear().arg("--config").arg(place.path("bounced.toml")).args(&args).stdout(full);
        let output = output.stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert!(complaint(&output, 74).contains("can't write the answer"), "{args:?}");
    }
}

#[test]
fn what_waits_is_answered_for_by_many_addresses_files_and_standard_input() {
    let place = Place::new();
    assert!(place.run(&["suppressions", "add", "ann@example.org"]).status.success());
    for (args, code) in [(&["a@example.org", "b@example.org"][..], 1), (&["-"], 1), (&["gone"], 2), (&[], 2)] {
        let args = [&["review", "approve"], args].concat();
        let output = place.command().args(&args).write_stdin("c@example.org\n").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    }
    assert!(place.complaint(&["review", "reject", "gone"], 2).contains("or a file of them that is there"));
}

/// So that no more is in memory than of any other mail, however much was packed.
#[test]
fn what_gzip_packed_is_read_in_bounded_memory() {
    let place = Place::new();
    // 100 MB, of which the first 10 MiB are read.
    let pack = "(printf 'From: MAILER-DAEMON@a.example\\nSubject: failure\\n\\n550 User unknown\\n'; \
                yes 'nothing else' | head -c 100000000) | gzip -1 > long.gz";
    let packed = std::process::Command::new("sh").args(["-c", pack]).current_dir(place.dir.path()).status().unwrap();
    assert!(packed.success());
    // The program itself and its tables take most of it; on one core, since each thread reserves some for itself.
    let classify = format!(
        "one=$(taskset -cp $$ | sed 's/.*: //; s/[,-].*//'); ulimit -v 140000; exec taskset -c $one '{}' classify long.gz",
        env!("CARGO_BIN_EXE_bounced")
    );
    let output = std::process::Command::new("sh").args(["-c", &classify]).current_dir(place.dir.path()).output();
    let output = output.unwrap();
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.starts_with("bounce ") && out.contains("long.gz"), "{out} {told}");
}

#[test]
fn init_replaces_the_sample_and_writes_nothing_of_what_can_not_work() {
    let place = Place::new();
    place.configure(include_str!("../config/bounced.toml"));
    let answer = |answers: &str| place.command().arg("init").write_stdin(answers).output().unwrap();
    let told = complaint(&answer("imaps://mail.example.org\nbob\n\n\n\n"), 78);
    assert!(told.contains("expected a host name") && told.contains("nothing was written"), "{told}");
    // Each answer may be right, and all of them can't.
    let refused = answer("mail.example.org\nbob\n\ninbox\n\n");
    let told = complaint(&refused, 78);
    assert!(told.contains("after moves messages to the folder that is read"), "{told}");
    assert!(told.contains("nothing was written"), "{told}");
    let asked = String::from_utf8_lossy(&refused.stderr);
    assert!(asked.contains("User there: bob\n"), "each question has a line: {asked}");
    assert_eq!(
        fs::read_to_string(place.path("bounced.toml")).unwrap(),
        include_str!("../config/bounced.toml"),
        "it is left as it was"
    );
    let maildir = format!("{}\n\n{}\n", place.path("box").display(), place.dir.path().display());
    assert!(answer(&maildir).status.success(), "the sample holds nothing of anybody's");
    assert!(complaint(&answer(&maildir), 2).contains("--force"));

    let nowhere = place.path("nowhere/bounced.toml");
    let output = bare().arg("--config").arg(&nowhere).arg("init").write_stdin(maildir).output().unwrap();
    let told = complaint(&output, 74);
    assert!(told.contains("can't write") && !String::from_utf8_lossy(&output.stderr).contains("IMAP server"), "{told}");
}
