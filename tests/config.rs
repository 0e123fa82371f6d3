//! The reference file is the documentation of the configuration, so it must not drift from the code.

use std::path::Path;

use bounced::config::Config;

#[test]
fn the_reference_file_shows_the_defaults() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bounced.toml");
    let loaded = Config::load(Some(&reference)).expect("the reference is valid");
    assert_eq!(Config { file: None, ..loaded }, Config::default());
    let text = std::fs::read_to_string(reference).expect("it was read");
    for (table, _) in Config::default().tables() {
        assert!(text.contains(&format!("\n[{table}]\n")), "the reference shows [{table}]");
    }
}

#[test]
fn the_mailboxes_of_the_reference_show_the_defaults() {
    // A key is `#key`, a sentence is `# A sentence`.
    let keys = include_str!("../config/bounced.toml").lines().filter_map(|line| line.strip_prefix('#'));
    let keys: Vec<&str> = keys.filter(|line| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase())).collect();
    let needed = ["[", "host", "user", "password", "path", "format", "listen"];
    let no_default = [
        "file",
        "port",
        "ca_file",
        "diagnostics",
        "bounces",
        "messages",
        "keys",
        "address",
        "provider",
        "token",
        "mechanism",
        "certificate",
        "journal_directory",
        // Of a port there is none.
        "mode",
    ];
    let read = |keep: &dyn Fn(&str) -> bool| {
        let lines: Vec<&str> =
            keys.iter().copied().filter(|line| keep(line.split(' ').next().unwrap_or(line))).collect();
        toml::from_str::<Config>(&lines.join("\n")).expect("every key exists")
    };
    let all = read(&|key| !no_default.contains(&key));
    let least = read(&|key| key.starts_with('[') || needed.contains(&key));
    // What is said where nothing is configured names every section that a mailbox can stand in.
    let sections = Config::default().reads_nothing().expect("nothing is read");
    let sections: Vec<&str> = sections.split('[').skip(1).filter_map(|rest| rest.split(".NAME]").next()).collect();
    for section in &sections {
        let shown = keys.iter().filter(|key| key.starts_with(&format!("[{section}.")));
        assert_eq!(shown.count(), 1, "the reference shows one [{section}.NAME]");
    }
    assert!(sections.contains(&"imap") && sections.contains(&"mail_log"), "{sections:?}");
    assert_eq!(all, least);
    read(&|key| key != "file");
}
