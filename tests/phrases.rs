//! What servers say -> what it means: the phrases and the codes together, on sentences known to be said.

use bounced::app::Judge;

const CASES: &str = include_str!("phrases.txt");

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
