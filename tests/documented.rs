//! The documented commands, in the documented order, as the documented users: README.md and docs/operations.md are
//! followed line by line on a copy of the machine's paths.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use support::daemon::Installation;

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

/// The first block of code below a heading of docs/database.md, from its opening fence on.
fn recipe(heading: &str, fence: &str) -> &'static str {
    let (_, below) = include_str!("../docs/database.md").split_once(&format!("\n### {heading}\n")).unwrap();
    let section = below.split("\n### ").next().unwrap().split("\n## ").next().unwrap();
    section.split_once(&format!("{fence}\n")).unwrap().1.split("```").next().unwrap()
}

/// An installation with these mailboxes, on whose list stands ann@example.org.
fn with_ann_on_the_list(dir: &Path, mailboxes: &str) -> Installation {
    let bounced = Installation::new(dir, mailboxes);
    answer(&bounced, &["suppressions", "add", "ann@example.org"]);
    bounced
}

fn answer(bounced: &Installation, args: &[&str]) -> String {
    succeeds(&args.join(" "), &bounced.command(args).env_clear().output().unwrap())
}

/// docs/policy.md: its configuration and its policies can be used as they stand, and its commands work in their order.
#[test]
fn the_guide_to_the_policy_can_be_followed() {
    let guide = include_str!("../docs/policy.md");
    let fenced = |fence: &str| -> Vec<&str> {
        let below = guide.split(fence).skip(1);
        below.map(|block| block.split("```").next().unwrap()).collect()
    };
    let (settings, policies): (Vec<&str>, Vec<&str>) =
        fenced("```toml\n").into_iter().partition(|block| block.starts_with("[policy]"));
    let [settings] = settings[..] else { panic!("one names the file: {settings:?}") };
    let dir = support::directory();
    let settings = settings.replace("/etc/bounced/", "");
    let bounced = with_ann_on_the_list(dir.path(), &format!("[maildir.alarms]\npath = 'box'\n{settings}"));
    let beside = |name: &str| bounced.config().with_file_name(name);
    ["new", "cur", "tmp"].iter().for_each(|part| fs::create_dir_all(beside("box").join(part)).unwrap());
    for policy in policies {
        fs::write(beside("policy.toml"), policy).unwrap();
        let told = answer(&bounced, &["check"]);
        assert!(!told.contains("idle row") && !told.contains("warning"), "{policy}\n{told}");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_bounced")).parent().unwrap().display().to_string();
    let scripts = fenced("```sh\n");
    assert_eq!(scripts.len(), 2);
    for script in scripts {
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", script])
            .env("PATH", format!("{program}:/usr/bin:/bin"))
            .env("BOUNCED_CONFIG", bounced.config());
        succeeds(script, &shell.output().unwrap());
    }
}

/// KumoMTA is in no distribution: what it would run is at least Lua, and its query finds whom the list names.
#[tokio::test]
async fn kumomta_s_recipe_is_lua_and_its_query_fits_the_list() {
    let lua = recipe("KumoMTA", "```lua");
    let dir = support::directory();
    let installed = with_ann_on_the_list(dir.path(), "");
    let mut config = bounced::config::Config::default();
    config.database.path = installed.database();
    config.suppressions.path = installed.published();
    let list = bounced::app::List::open_existing(&config).await.unwrap();
    let domain = bounced::report::Address::parse("*@gone.example").unwrap();
    list.suppress(&[domain], &bounced::store::By::new("ann", 0)).await.unwrap();
    let query = lua.split_once("local query = '").unwrap().1.split('\'').next().unwrap().to_owned();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(installed.published()).read_only(true);
    let mut list = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    for (address, expected) in [
        ("Ann@Example.org", &["manual"][..]),
        ("bob@example.org", &[]),
        ("bob@Gone.Example", &["manual"]),
        ("ann@gone.example", &["manual"]),
        ("bob@sub.gone.example", &[]),
    ] {
        // KumoMTA binds `tostring(rcpt)` and `'*@' .. rcpt.domain`.
        let domain = format!("*@{}", address.split_once('@').unwrap().1);
        let query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(query.clone())).bind(address).bind(domain);
        let found: Vec<String> = query.fetch_all(&mut list).await.unwrap();
        assert_eq!(found, expected, "{address}");
    }
    let script = dir.path().join("policy.lua");
    fs::write(&script, lua).unwrap();
    match ["luac", "luac5.4", "luac5.3"].iter().find_map(|luac| Command::new(luac).arg("-p").arg(&script).output().ok())
    {
        Some(parsed) => assert!(parsed.status.success(), "{parsed:?}"),
        None => println!("SKIP kumomta_s_recipe_is_lua: no luac is installed"),
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys of an object and of all that lies in it.
fn keys(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => object.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            keys(value, into);
        }),
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

/// docs/classification.md names every key of `bounced classify --json`, and no other.
#[test]
fn verdicts_in_json_have_the_documented_names() {
    let mut found = BTreeSet::new();
    for args in [&["classify", "--json", "tests/mails"][..], &["classify", "--response", "550 5.1.1 User unknown"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"));
        let output = command.env_clear().args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().for_each(|line| keys(&serde_json::from_str(line).unwrap(), &mut found));
    }
    let docs = include_str!("../docs/classification.md");
    let (_, section) = docs.split_once("\n## JSON of `bounced classify --json`\n").unwrap();
    let section = section.split("\nA file is an mbox").next().unwrap();
    let is_name = |word: &String| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let mut documented: BTreeSet<_> = quoted(section).into_iter().filter(is_name).collect();
    assert!(documented.remove("none"), "the value of a rule");
    assert_eq!(found, documented);
}

/// The columns of the export stand in docs/database.md in their order.
#[test]
fn the_list_in_csv_has_the_documented_columns() {
    let dir = support::directory();
    let bounced = with_ann_on_the_list(dir.path(), "");
    let exported = answer(&bounced, &["suppressions", "export", "--format", "csv"]);
    let columns = exported.lines().next().unwrap();
    let docs = include_str!("../docs/database.md");
    let (_, sentence) = docs.split_once("The columns of the CSV are ").unwrap();
    let documented: Vec<_> = sentence.split(". ").next().unwrap().split('`').skip(1).step_by(2).collect();
    assert_eq!(columns.split(',').collect::<Vec<_>>(), documented);
}

/// docs/database.md has a row for every program whose list is taken over.
#[test]
fn every_program_whose_list_is_taken_over_stands_in_the_guide() {
    let (_, table) = include_str!("../docs/database.md").split_once("\n| `--from` | Files |\n|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let documented: Vec<String> = rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect();
    let known = bounced::import::Form::ALL.iter().map(|form| form.as_str());
    assert_eq!(documented, known.collect::<Vec<_>>());
}

/// docs/operations.md has a row for every name of a mailbox in `bounced status --json`.
#[test]
fn the_status_in_json_has_the_documented_names() {
    let dir = support::directory();
    let bounced = with_ann_on_the_list(dir.path(), "[maildir.box]\npath = 'box'\n");
    // Nobody has read the mailbox: that is told by the exit code, too.
    let answer = bounced.command(&["status", "--json"]).env_clear().output().unwrap().stdout;
    let parts: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&answer).unwrap();
    let docs = include_str!("../docs/operations.md");
    let (_, table) = docs.split_once("| Name | Value |\n|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let documented: BTreeSet<_> = rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect();
    assert_eq!(parts[0].keys().cloned().collect::<BTreeSet<_>>(), documented);
}

/// docs/database.md's columns of the view `suppression_list` are the keys of its JSON.
#[test]
fn the_list_in_json_has_the_documented_names() {
    let docs = include_str!("../docs/database.md");
    let (_, table) = docs.split_once("\n### `suppression_list`\n").unwrap();
    let rows = table.split("\n### ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let names = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(',').map(|name| name.trim().trim_matches('`').to_owned()));
    let documented: BTreeSet<String> = names.collect();

    let dir = support::directory();
    let bounced = with_ann_on_the_list(dir.path(), "");
    let rows: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&answer(&bounced, &["suppressions", "list", "--json"])).unwrap();
    assert_eq!(rows[0]["domain"], "example.org");
    assert_eq!(rows[0].keys().cloned().collect::<BTreeSet<_>>(), documented);
}
