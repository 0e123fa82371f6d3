//! The documented commands, in the documented order, as the documented users: README.md and docs/operations.md are
//! followed line by line on a copy of the machine's paths.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

/// Stands in for the user `bounced`: `nobody` of Debian.
const DAEMON: &str = "65534";
/// Anybody else.
const PERSON: &str = "65500";

/// The shell blocks below a heading of the same text, up to the next one of its rank.
fn blocks(text: &str, heading: &str) -> Vec<String> {
    let (_, below) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading} is there"));
    let section = below.split("\n## ").next().unwrap();
    section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// What the documents call, where a test can't have it: it notes the call.
const SHIMS: [(&str, &str); 4] = [
    (
        "sudo",
        "case $1 in -u) shift 2; exec setpriv --reuid=DAEMON --regid=DAEMON --clear-groups \"$@\";; *) exec \"$@\";; esac",
    ),
    ("useradd", "echo useradd \"$@\" >> CALLS"),
    ("systemctl", "echo systemctl \"$@\" >> CALLS"),
    ("cargo", "echo cargo \"$@\" >> CALLS"),
];

/// A machine's paths below a directory that every user may enter.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// `None`, with a line that says so, where the test may not act for other users.
    fn new(test: &str) -> Option<Self> {
        let can = Command::new("setpriv").args(["--reuid", PERSON, "--clear-groups", "true"]).status();
        if !can.is_ok_and(|status| status.success()) {
            support::skip(test, "only root can act for other users");
            return None;
        }
        let dir = support::directory();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let machine = Self { dir };
        for directory in ["shims", "usr/local/bin", "etc/systemd/system", "var/lib", "usr/local/share"] {
            fs::create_dir_all(machine.path(directory)).unwrap();
        }
        for (name, what) in SHIMS {
            let shim = machine.path("shims").join(name);
            let calls = machine.path("calls");
            let what = what.replace("DAEMON", DAEMON).replace("CALLS", calls.to_str().unwrap());
            fs::write(&shim, format!("#!/bin/sh\n{what}\n")).unwrap();
            fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Some(machine)
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.dir.path().join(below)
    }

    /// The text with this machine's paths and users.
    fn here(&self, text: &str) -> String {
        let root = self.dir.path().to_str().unwrap();
        text.replace("target/release/bounced", env!("CARGO_BIN_EXE_bounced"))
            .replace("/usr/local/", &format!("{root}/usr/local/"))
            .replace("/etc/", &format!("{root}/etc/"))
            .replace("/var/lib/", &format!("{root}/var/lib/"))
            .replace("-o bounced -g bounced", &format!("-o {DAEMON} -g {DAEMON}"))
            .replace("-g bounced", &format!("-g {DAEMON}"))
    }

    /// Runs a block to its end, as somebody; a password is typed where it asks for one.
    fn run(&self, who: &[&str], block: &str) -> Output {
        let path = format!(
            "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
            self.path("shims").display(),
            self.path("usr/local/bin").display()
        );
        let typed = self.path("typed");
        fs::write(&typed, "secret\n").unwrap();
        let all = [who, &["sh", "-eu", "-c", block]].concat();
        Command::new(all[0])
            .args(&all[1..])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", path)
            .env("BOUNCED_CONFIG", self.path("etc/bounced/bounced.toml"))
            .stdin(fs::File::open(&typed).unwrap())
            .output()
            .unwrap()
    }

    fn mode(&self, below: &str) -> u32 {
        fs::metadata(self.path(below)).unwrap().permissions().mode() & 0o777
    }
}

fn succeeds(what: &str, output: &Output) -> String {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{what}\n{text}");
    text
}

/// What a person writes instead of the sample's mailbox: a Maildir, which needs no server.
fn configure(machine: &Machine) {
    let maildir = machine.path("var/lib/mail");
    for part in ["new", "cur", "tmp"] {
        fs::create_dir_all(maildir.join(part)).unwrap();
    }
    succeeds("chown", &Command::new("chown").args(["-R", DAEMON]).arg(&maildir).output().unwrap());
    let sample = fs::read_to_string(machine.path("etc/bounced/bounced.toml")).unwrap();
    let written = format!("{}\n[maildir.bounces]\npath = '{}'\n", machine.here(&sample), maildir.display());
    fs::write(machine.path("etc/bounced/bounced.toml"), written).unwrap();
}

fn install_as_documented(test: &str, document: &str, heading: &str) {
    let Some(machine) = Machine::new(test) else { return };
    let mut blocks = blocks(document, heading).into_iter();
    let install = machine.here(&blocks.next().unwrap());
    succeeds(&install, &machine.run(&["env"], &install));
    configure(&machine);
    for block in blocks {
        let block = machine.here(&block);
        let said = succeeds(&block, &machine.run(&["env"], &block));
        assert!(!block.contains("check --connect") || said.contains("ok              bounces"), "{said}");
    }
    let calls = fs::read_to_string(machine.path("calls")).unwrap();
    assert!(calls.contains("useradd --system") && calls.contains("systemctl enable --now bounced"), "{calls}");
    assert_eq!(machine.mode("etc/bounced/password"), 0o640);
    // Afterwards anybody can judge a mail and look up a code, and nobody else reads the database.
    let person = ["setpriv", "--reuid", PERSON, "--regid", PERSON, "--clear-groups"];
    for command in
        ["bounced codes 550", "bounced classify scripts/samples", "bounced classify --response '550 no such user'"]
    {
        succeeds(command, &machine.run(&person, command));
    }
    let refused = machine.run(&person, "bounced suppressions add ann@example.org");
    assert_eq!(refused.status.code(), Some(74), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn the_readme_installs_a_service() {
    install_as_documented("the_readme_installs_a_service", include_str!("../README.md"), "## Install as a service");
}

#[test]
fn the_operations_guide_installs_a_service() {
    let guide = include_str!("../docs/operations.md");
    let heading = guide.lines().find(|line| line.starts_with("## ")).unwrap();
    install_as_documented("the_operations_guide_installs_a_service", guide, heading);
}

/// The queries of README.md's section on them, as the user whom it names.
#[test]
fn the_readme_asks_the_list() {
    let Some(machine) = Machine::new("the_readme_asks_the_list") else { return };
    let readme = include_str!("../README.md");
    for block in blocks(readme, "## Install as a service").into_iter().take(1) {
        let block = machine.here(&block);
        succeeds(&block, &machine.run(&["env"], &block));
    }
    configure(&machine);
    let daemon = ["setpriv", "--reuid", DAEMON, "--regid", DAEMON, "--clear-groups"];
    succeeds("add", &machine.run(&daemon, "bounced suppressions add anna@example.org"));
    let has_sqlite = Path::new("/usr/bin/sqlite3").exists();
    for line in blocks(readme, "## Query").join("").lines() {
        let line = machine.here(line);
        if line.starts_with("sqlite3") && !has_sqlite {
            support::skip("the_readme_asks_the_list", "there is no sqlite3");
            continue;
        }
        let output = machine.run(&daemon, &line);
        // No mailbox was read yet, which `status` tells.
        let expected = if line == "bounced status" { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// docs/database.md's columns of the view `suppression_list` are the keys of its JSON.
#[test]
fn the_list_in_json_has_the_documented_names() {
    let docs = include_str!("../docs/database.md");
    let (_, table) = docs.split_once("\n### `suppression_list`\n").unwrap();
    let rows = table.split("\n### ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let names = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(',').map(|name| name.trim().trim_matches('`').to_owned()));
    let documented: std::collections::BTreeSet<String> = names.collect();

    let dir = support::directory();
    let config = dir.path().join("bounced.toml");
    fs::write(&config, "[database]\npath = 'bounced.db'\n[suppressions]\npath = 'list.db'\n").unwrap();
    let run = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_bounced")).env_clear().arg("--config").arg(&config).args(args).output();
        succeeds(&args.join(" "), &output.unwrap())
    };
    run(&["suppressions", "add", "ann@example.org"]);
    let rows: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&run(&["suppressions", "list", "--json"])).unwrap();
    assert_eq!(rows[0]["domain"], "example.org");
    assert_eq!(rows[0].keys().cloned().collect::<std::collections::BTreeSet<_>>(), documented);
}
