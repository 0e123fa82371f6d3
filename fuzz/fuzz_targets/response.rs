//! Any text as one SMTP reply: nothing panics, and the verdict agrees with what was read.
#![no_main]

use std::sync::LazyLock;

use bounced::{
    app::Judge,
    parse::{self, Tables},
};
use libfuzzer_sys::fuzz_target;

static JUDGE: LazyLock<Judge> = LazyLock::new(Judge::embedded);
static TABLES: LazyLock<Tables> = LazyLock::new(Tables::embedded);

fuzz_target!(|text: &str| {
    let recipient = parse::response(text, &TABLES);
    let verdict = JUDGE.judge_response(text);
    assert_eq!((verdict.status, verdict.reply), (recipient.status(), recipient.reply()));
    assert!(recipient.statuses.iter().all(|s| matches!(s.value.class_digit(), 2 | 4 | 5)));
    assert!(!verdict.rule.is_empty(), "every verdict names its rule");
    assert_eq!(verdict, JUDGE.judge_response(text), "the same text, the same verdict");
});
