//! scripts/demo as somebody uses it who meets bounced for the first time: what it prints, what it proposes to type, and
//! that nothing stays behind however it ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use support::{database, until};

const LONG: Duration = Duration::from_secs(30);

fn script(args: &[&str]) -> Command {
    // A shell can't hear of what its parent ignores, as `nohup` does with HUP, and with INT whatever runs in the
    // background.
    let mut command = Command::new("env");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    command
        .args(["--default-signal=HUP,INT,TERM,PIPE"])
        .arg(demo)
        .args(args)
        .env("BOUNCED", env!("CARGO_BIN_EXE_bounced"))
        .stdin(Stdio::null());
    command
}

/// What the demo would install otherwise is there.
fn is_possible() -> bool {
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let missing = ["sqlite3", "openssl", "/usr/sbin/dovecot"].into_iter().find(|program| !runs(program));
    if let Some(program) = missing {
        support::skip("the demo", &format!("{program} is not installed"));
    }
    missing.is_none()
}

/// A demo that has shown everything and watches now.
struct Watching {
    script: Child,
    out: BufReader<ChildStdout>,
    said: Vec<String>,
    dir: PathBuf,
}

/// A test that fails leaves none running: what the demo has started ends with it.
impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

impl Watching {
    fn start() -> Self {
        let mut script = script(&[]).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut out = BufReader::new(script.stdout.take().unwrap());
        let mut said = Vec::new();
        loop {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "it ended: {said:?}");
            let is_last = line.starts_with("Ctrl-C ends it");
            said.push(line);
            if is_last {
                break;
            }
        }
        let look = said.iter().find(|line| line.contains("sqlite3 -readonly")).unwrap();
        let file = look.split_whitespace().find(|word| word.ends_with("/bounced.db")).unwrap();
        Self { script, out, dir: Path::new(file).parent().unwrap().to_owned(), said }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.script.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Processes that name its directory.
    fn processes(&self) -> Vec<String> {
        let name = self.dir.file_name().unwrap().to_str().unwrap();
        let command_line = |process: fs::DirEntry| {
            let text = fs::read(process.path().join("cmdline")).ok()?;
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            text.contains(name).then_some(text)
        };
        fs::read_dir("/proc").unwrap().filter_map(|process| command_line(process.ok()?)).collect()
    }

    async fn is_gone(&mut self, how: &str) {
        until(how, LONG, async || self.script.try_wait().unwrap()).await;
        until(&format!("{how}: nothing runs any more"), LONG, async || self.processes().is_empty().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_however_the_demo_ends() {
    if !is_possible() {
        return;
    }
    for signal in ["INT", "TERM", "HUP"] {
        let mut demo = Watching::start();
        assert!(!demo.processes().is_empty());
        if signal == "HUP" {
            // With its terminal goes whoever read what it says.
            demo.out = BufReader::new(Command::new("true").stdout(Stdio::piped()).spawn().unwrap().stdout.unwrap());
        }
        demo.signal(signal);
        demo.is_gone(signal).await;
        assert!(!demo.dir.exists(), "{signal}");
    }
    // Nobody can tidy up then, but nothing goes on running.
    let mut demo = Watching::start();
    demo.signal("KILL");
    demo.is_gone("KILL").await;
    fs::remove_dir_all(&demo.dir).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_demo_proposes_delivers_something_new_each_time() {
    if !is_possible() {
        return;
    }
    let mut demo = Watching::start();
    let all = demo.said.concat();
    assert!(!all.contains('\u{1b}'), "no colours in a pipe: {all}");
    // The box of a table is not broken by a line of the log.
    let boxes: Vec<bool> = demo.said.iter().map(|line| line.starts_with(['┌', '│', '├', '└'])).collect();
    let starts = boxes.windows(2).filter(|pair| pair == &[false, true]).count();
    assert_eq!(starts, demo.said.iter().filter(|line| line.starts_with('┌')).count(), "{all}");

    let file = demo.dir.join("bounced.db");
    let count = || database::count(&file, "SELECT count(DISTINCT address) FROM bounce");
    let proposal = demo.said.iter().find(|line| line.contains("/mail/new/")).unwrap().trim().to_owned();
    for _ in 0..2 {
        let before = count().await;
        assert!(Command::new("bash").args(["-c", &proposal]).status().unwrap().success(), "{proposal}");
        until("it is recorded", LONG, async || (count().await == before + 1).then_some(())).await;
    }
    demo.signal("TERM");
    demo.is_gone("TERM").await;
}

#[test]
fn help_helps_and_nothing_else() {
    let output = script(&["--help"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("--once") && !said.contains("Building"), "{said}");
    let output = script(&["--onec"]).stdout(File::create("/dev/null").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
