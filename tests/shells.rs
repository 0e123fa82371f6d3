//! The command line in real shells and on a real terminal: completions, and `bounced init` as a person answers it.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Whether a shell is there; few machines have all of them.
fn has(shell: &str) -> bool {
    let there = Command::new(shell).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        println!("SKIP completions of {shell}: it is not installed");
    }
    there
}

/// A directory with the program on its own, so that its name is `bounced`, and the completions of a shell in a file.
fn place(shell: &str, file: &str) -> tempfile::TempDir {
    let dir = support::directory();
    let output = Command::new(env!("CARGO_BIN_EXE_bounced")).args(["completions", shell]).output().unwrap();
    assert!(output.status.success());
    fs::write(dir.path().join(file), output.stdout).unwrap();
    dir
}

fn said(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What is typed, and among what it must find how it may go on.
const TYPED: [(&str, &str); 4] = [
    ("bounced sup", "suppressions"),
    ("bounced suppressions ex", "export"),
    ("bounced suppressions export --fo", "--format"),
    ("bounced classify --j", "--json"),
];

#[test]
fn bash_completes_commands_and_options() {
    if !has("bash") {
        return;
    }
    let dir = place("bash", "bounced");
    for (typed, expected) in TYPED {
        let words: Vec<&str> = typed.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let script = format!(
            "source ./bounced; COMP_LINE='{typed}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({typed}); COMP_CWORD={}
             complete -p bounced | grep -q _bounced || exit 9
             _bounced bounced '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let bash = Command::new("bash").args(["--norc", "-c", &script]).current_dir(dir.path()).output().unwrap();
        assert!(said(&bash).lines().any(|line| line == expected), "{typed}: {bash:?}");
    }
}

#[test]
fn fish_completes_commands_and_options() {
    if !has("fish") {
        return;
    }
    let dir = place("fish", "bounced.fish");
    for (typed, expected) in TYPED {
        let script = format!("source ./bounced.fish; complete -C '{typed}'");
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", &script]).current_dir(dir.path()).env("HOME", dir.path());
        let fish = fish.output().unwrap();
        // The word, a tab, and what it does.
        assert!(said(&fish).lines().any(|line| line.split('\t').next() == Some(expected)), "{typed}: {fish:?}");
    }
}

/// zsh completes in its line editor alone, so it gets a terminal of its own to type into.
#[test]
fn zsh_completes_commands_and_options() {
    if !has("zsh") {
        return;
    }
    let dir = place("zsh", "_bounced");
    for (typed, expected) in TYPED {
        // compinit passes over a directory that is called `.`.
        let script = format!(
            "zmodload zsh/zpty; TERM=dumb zpty shell zsh -f -i
             zpty -w shell 'fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=0; echo rea\"\"dy'
             zpty -r -m shell said $'*\\nready*' || exit 8
             zpty -n -w shell '{typed}'$'\\t\\t'
             zpty -r -m shell said '*{expected}*'
             print -r -- \"${{said//$'\\0'}}\"; zpty -d shell"
        );
        let zsh = Command::new("timeout").args(["30", "zsh", "-f", "-c", &script]).current_dir(dir.path()).output();
        let zsh = zsh.unwrap();
        assert!(String::from_utf8_lossy(&zsh.stdout).contains(expected), "{typed}: {zsh:?}");
    }
}

/// Runs `bounced init` on a terminal; what is typed there, and what the terminal shows in the end.
fn init_on_a_terminal(config: &Path, typed: &str) -> Option<(Option<i32>, String)> {
    let command = format!("'{}' init --config '{}'", env!("CARGO_BIN_EXE_bounced"), config.display());
    let script = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut script) = script else {
        support::skip("bounced init on a terminal", "script(1) is not installed");
        return None;
    };
    // Kept open: the end of what is typed is not the end of the terminal.
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all(typed.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    drop(keyboard);
    Some((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_answers_five_questions_and_the_mailbox_can_be_read() {
    let dir = support::directory();
    let config = dir.path().join("bounced.toml");
    // A wrong answer is asked for again, at once.
    let mailbox = dir.path().join("mail/box");
    let typed = format!("https://mail.example.org\n{}\nleave\n{}\n", mailbox.display(), dir.path().display());
    for part in ["new", "cur", "tmp"] {
        fs::create_dir_all(mailbox.join(part)).unwrap();
    }
    let Some((code, shown)) = init_on_a_terminal(&config, &typed) else { return };
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("`https://mail.example.org`: expected a host name"), "{shown}");
    assert!(shown.contains("ok              bounces"), "{shown}");

    let Some(dovecot) = support::dovecot("") else { return };
    let section = support::as_mailbox(&dovecot);
    let value = |key: &str| {
        let (_, rest) = section.split_once(&format!("{key} = ")).unwrap();
        rest.lines().next().unwrap().trim_matches('"').to_owned()
    };
    let password = value("password").split('"').nth(1).unwrap().to_owned();
    let config = dir.path().join("imap.toml");
    let typed = format!("localhost\n{}\n{password}\n\n{}\n", value("user"), dir.path().display());
    let (code, shown) = init_on_a_terminal(&config, &typed).unwrap();
    // The questions know no ports and no authorities of one's own: nobody answers at the port that is usual, or
    // another.
    assert!(code == Some(69) || code == Some(77), "{code:?} {shown}");
    let written = fs::read_to_string(&config).unwrap();
    let line = |key: &str| format!("{key} = \"{}\"\n", value(key));
    let more = format!("port = {}\n{}tls = ", value("port"), line("ca_file"));
    fs::write(&config, written.replace("tls = ", &more)).unwrap();
    let checked =
        Command::new(env!("CARGO_BIN_EXE_bounced")).arg("--config").arg(&config).args(["check", "--connect"]).output();
    let told = said(&checked.unwrap());
    assert!(told.contains("ok              bounces"), "{told}");
}
