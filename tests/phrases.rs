//! What servers say -> what it means: the phrases and the codes together, on sentences known to be said.

use std::collections::HashSet;

use bounced::app::Judge;

const CASES: &str = include_str!("phrases.txt");
const BY_ROW: &str = include_str!("phrases_by_row.txt");

#[test]
fn what_servers_say_is_understood() {
    let judge = Judge::embedded();
    let cases = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut count, mut wrong) = (0, Vec::new());
    for case in cases {
        let (expected, text) = case.split_once(" | ").expect("`class reason | text`");
        let verdict = judge.judge_response(text);
        let judged = format!("{} {}", verdict.class, verdict.reason);
        if judged != expected && verdict.class.as_str() != expected {
            wrong.push(format!("{text}\n    expected {expected}, judged {judged} by {}", verdict.rule));
        }
        count += 1;
    }
    assert!(count > 400, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} misread:\n{}", wrong.len(), wrong.join("\n"));
}

/// A row that nothing would miss proves nothing: taking it away, or one of its exceptions, has to be noticed.
#[test]
fn each_row_decides_on_its_examples_and_on_no_exception() {
    let judge = Judge::embedded();
    let table: toml::Table = include_str!("../config/phrases.toml").parse().expect("the table is TOML");
    let rows = table["phrase"].as_array().expect("rows");
    let ids = rows.iter().map(|row| row["id"].as_str().expect("each row has an id"));
    let mut unproved: HashSet<&str> = ids.collect();
    let known = unproved.clone();
    let mut wrong = Vec::new();
    for line in BY_ROW.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (row, text) = line.split_once(" | ").expect("`ID | text` or `not ID | text`");
        let (id, expected) = row.strip_prefix("not ").map_or((row, true), |id| (id, false));
        let rule = judge.judge_response(text).rule;
        let decides = rule.strip_prefix("phrases:") == Some(id);
        if decides != expected || !known.contains(id) {
            wrong.push(format!("{line}\n    decided by {rule}"));
        }
        if decides && expected {
            unproved.remove(id);
        }
    }
    assert!(wrong.is_empty(), "{} examples come out otherwise:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unproved.is_empty(), "rows without an example on which they decide: {unproved:?}");
}
