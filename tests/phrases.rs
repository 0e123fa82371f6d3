//! What servers say -> what it means: the phrases and the codes together, on sentences known to be said.

use bounced::{
    app::Judge,
    codes::{EnhancedStatusCode, Judgement, ReplyCode},
};

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

/// RFC 5321 §4.2.1: where a server breaks its reply into lines says nothing, as little as the frame of who reports it.
#[test]
fn a_reply_is_judged_alike_in_any_lines_and_frames() {
    let judge = Judge::embedded();
    let told = |text: &str| {
        let verdict = judge.judge_response(text);
        (verdict.class, verdict.reason)
    };
    let mut broken = 0;
    for (_, text) in CASES.lines().filter_map(|line| line.split_once(" | ")) {
        let Some((code, said)) = text.split_once(' ').filter(|(code, _)| code.parse::<ReplyCode>().is_ok()) else {
            continue;
        };
        let status = said.split(' ').next().filter(|word| word.parse::<EnhancedStatusCode>().is_ok());
        let (status, said) = status.map_or(("", said), |status| said.split_at(status.len() + 1));
        let half = said.floor_char_boundary(said.len() / 2);
        let Some(blank) = said[half..].find(' ').map(|at| half + at) else { continue };
        let (first, last) = (&said[..blank], &said[blank + 1..]);
        if text.contains("\\n") || said.contains(code) {
            continue; // Broken into lines already.
        }
        let expected = told(text);
        let lines = format!("{code}-{status}{first}\\n{code} {status}{last}");
        assert_eq!(told(&lines), expected, "{lines}");
        for frame in ["smtp; ", "<<< ", "mx.example.net answered\\n"] {
            assert_eq!(told(&format!("{frame}{text}")), expected, "{frame}{text}");
        }
        broken += 1;
    }
    assert!(broken > 300, "only {broken} replies were broken");
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
