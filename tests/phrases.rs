//! What servers say -> what it means: the phrases and the codes together, on sentences known to be said.

use bounced::{app::Judge, codes::Judgement};

const CASES: &str = include_str!("phrases.txt");
const ROWS: &str = include_str!("rows.txt");

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

/// What each row says stands a second time in tests/rows.txt, so that a row that is lost, or says something else, is
/// noticed: its own examples would go, or be judged otherwise, with it.
#[test]
fn each_row_says_what_it_is_known_to_say() {
    let judge = Judge::embedded();
    let told = |rule: &str, Judgement { class, reason, fault }: Judgement| format!("{rule} {class} {reason} {fault}");
    let tables = judge.classifier();
    let codes = tables.codes().rows().flat_map(|row| {
        let variants = row.variants.iter().map(|variant| told(&format!("codes:{}", variant.id), variant.judgement));
        [told(&row.rule, row.judgement)].into_iter().chain(variants)
    });
    let phrases = tables.phrases().iter().map(|row| told(&row.rule, row.judgement));
    let rows: Vec<String> = codes.chain(phrases).collect();
    let known: Vec<&str> = ROWS.lines().filter(|line| !line.starts_with('#')).collect();
    let new = rows.iter().filter(|row| !known.contains(&row.as_str()));
    let gone = known.iter().filter(|row| !rows.iter().any(|other| other == *row));
    let (new, gone): (Vec<_>, Vec<_>) = (new.collect(), gone.collect());
    assert!(new.is_empty() && gone.is_empty(), "tests/rows.txt lacks {new:#?} and still has {gone:#?}");
}
