//! What docs/phrases.md tells a mail administrator to do, done.

use std::{fs, path::Path};

use assert_cmd::Command;

const GUIDE: &str = include_str!("../docs/phrases.md");
const REPLY: &str = "550 Sorry, the parrot has gone to another perch";

/// The first block of the guide that begins so.
fn block(start: &str) -> &'static str {
    let blocks = GUIDE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.starts_with(start)).expect(start)
}

fn bounced(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::cargo_bin("bounced").expect("the binary is built with the tests");
    let output =
        command.env("BOUNCED_CONFIG", directory.join("bounced.toml")).args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("it is text"))
}

#[test]
fn a_phrase_of_ones_own_is_added_as_the_guide_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let row = block("[[phrase]]");
    let configuration = block("[phrases]").replace("/etc/bounced/", "");
    fs::write(directory.path().join("bounced.toml"), configuration).expect("written");
    let write = |text: &str| fs::write(directory.path().join("phrases.toml"), text).expect("written");
    let classify = || bounced(directory.path(), &["classify", "--response", REPLY]).1;

    write("");
    assert!(!classify().contains("parrots.gone"));
    write(row);
    let told = classify();
    assert!(told.contains("phrases:parrots.gone") && told.contains("hard"), "{told}");
    let (code, shown) = bounced(directory.path(), &["phrases", "parrots.gone"]);
    assert_eq!(code, Some(0), "{shown}");
    for part in ["gone to another perch", "phrases.toml:2", "moved", REPLY, "The sender has gone"] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }

    // An example that does not come out as it stands there is refused with its line.
    write(&row.replace("accepts = [\"550 Sorry", "accepts = [\"550 User unknown\", \"550 Sorry"));
    let (code, refused) = bounced(directory.path(), &["phrases"]);
    assert_eq!(code, Some(78), "{refused}");
    assert!(
        refused.contains("phrases.toml:7: `parrots.gone` accepts \"550 User unknown\", but `phrases:"),
        "{refused}"
    );
    write(&row.replace("unless = [\"sender\"]\n", ""));
    let (_, refused) = bounced(directory.path(), &["phrases"]);
    assert!(refused.contains("phrases.toml:7: `parrots.gone` rejects"), "{refused}");

    // A built-in row is taken away.
    write("drop = [\"google.rate\"]");
    assert_eq!(bounced(directory.path(), &["phrases", "google.rate"]).0, Some(1));
}
