//! A verdict as it stands in the columns of `bounce`: when it is recorded, and when it is judged anew.

use std::borrow::Cow;

use crate::report::Verdict;

/// The columns of `bounce` that a verdict fills, but for the codes, which are those of the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerdictColumns<'v> {
    pub class: &'v str,
    pub reason: &'v str,
    pub fault: &'v str,
    pub rule: &'v str,
    pub field: Option<Cow<'v, str>>,
    pub line: Option<i64>,
    pub words: Option<&'v str>,
    pub lowered_from: Option<&'v str>,
    pub lowered_line: Option<i64>,
    pub lowered_words: Option<&'v str>,
    pub forwarded_class: Option<&'v str>,
    pub forwarded_reason: Option<&'v str>,
    pub forwarded_fault: Option<&'v str>,
    pub conflict: bool,
}

impl<'v> From<&'v Verdict> for VerdictColumns<'v> {
    fn from(verdict: &'v Verdict) -> Self {
        // Of what decided, even where the mail's codes then allowed nothing as bad as it says.
        let evidence = verdict.winner.as_ref().map(|winner| &winner.evidence);
        let lowered = verdict.lowered.as_ref();
        let lowered_by = lowered.and_then(|lowered| lowered.evidence.as_ref());
        let forwarded = verdict.forwarded.as_ref().map(|forwarded| &forwarded.judgement);
        Self {
            class: verdict.class.as_str(),
            reason: verdict.reason.as_str(),
            fault: verdict.fault.as_str(),
            rule: &verdict.rule,
            field: evidence.map(|evidence| evidence.location.to_string().into()),
            line: evidence.and_then(|evidence| evidence.line).map(Into::into),
            words: evidence.map(|evidence| evidence.words.as_str()),
            lowered_from: lowered.map(|lowered| lowered.from.as_str()),
            lowered_line: lowered_by.and_then(|evidence| evidence.line).map(Into::into),
            lowered_words: lowered_by.map(|evidence| evidence.words.as_str()),
            forwarded_class: forwarded.map(|judgement| judgement.class.as_str()),
            forwarded_reason: forwarded.map(|judgement| judgement.reason.as_str()),
            forwarded_fault: forwarded.map(|judgement| judgement.fault.as_str()),
            conflict: verdict.conflict,
        }
    }
}
