//! Any octets as a mail: nothing panics, and what is read never contradicts itself.
#![no_main]

use std::sync::LazyLock;

use bounced::{
    app::Judge,
    codes::Class,
    report::{Action, Kind},
};
use libfuzzer_sys::fuzz_target;

static JUDGE: LazyLock<Judge> = LazyLock::new(Judge::embedded);

fuzz_target!(|mail: &[u8]| {
    let (report, verdicts) = JUDGE.judge(mail);
    assert_eq!(verdicts.len(), report.recipients.len(), "one verdict for each recipient");
    // No recipient takes less than an address of three octets.
    assert!(report.recipients.len() <= 1 + mail.len() / 3, "recipients out of nothing");
    assert_eq!(report.kind, report.kind_because.value);
    let fails = |kind| kind == Kind::Bounce;
    for (recipient, verdict) in report.recipients.iter().zip(&verdicts) {
        assert!(fails(report.kind) || recipient.action != Action::Failed, "{:?} fails", report.kind);
        match recipient.action {
            Action::Failed => assert_ne!(verdict.class, Class::Success, "a failure is no success"),
            Action::Delayed => assert_eq!(verdict.class, Class::Soft, "what may still arrive is soft"),
            Action::Delivered | Action::Relayed | Action::Expanded => {
                assert_eq!(verdict.class, Class::Success, "what arrived is a success");
            }
        }
        assert!(!verdict.rule.is_empty(), "every verdict names its rule");
    }
});
