//! What follows from a reason: class, fault, and what a person should do. The `[reason.NAME]` tables of
//! config/codes.toml. Knows nothing of codes and texts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Class, Fault, Judgement, Reason};

/// What follows from one reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meaning {
    /// Hard, soft or success, where a row does not say otherwise.
    pub class: Class,
    /// Whose fault, where a row does not say otherwise.
    pub fault: Fault,
    /// What a person should do about it.
    pub advice: String,
    /// What to do where a hard reason is judged soft: a temporary code, or a row that says so.
    pub advice_if_soft: Option<String>,
}

/// What follows from each reason.
#[derive(Debug, Clone, Default)]
pub struct Reasons {
    meanings: BTreeMap<Reason, Meaning>,
    /// Those whose meaning one's own file gives.
    said_anew: BTreeSet<Reason>,
}

/// What a row says beside its reason, where it deviates from what follows.
#[derive(Debug, Clone, Copy)]
pub struct Deviation<'a> {
    /// The row's own class.
    pub class: Option<Class>,
    /// The row's own fault.
    pub fault: Option<Fault>,
    /// Why it deviates.
    pub because: Option<&'a str>,
    /// Whether somebody laid the row over those that come with the program.
    pub is_own: bool,
}

impl Reasons {
    /// The reasons, when every one has its meaning; else the first that has none. Of those `said_anew` one's own file
    /// gives the meaning.
    ///
    /// # Errors
    /// The reason that is missing.
    pub fn new(meanings: BTreeMap<Reason, Meaning>, said_anew: BTreeSet<Reason>) -> Result<Self, Reason> {
        match Reason::ALL.iter().find(|reason| !meanings.contains_key(reason)) {
            Some(missing) => Err(*missing),
            None => Ok(Self { meanings, said_anew }),
        }
    }

    /// What follows from the reason.
    #[must_use]
    pub fn meaning(&self, reason: Reason) -> &Meaning {
        &self.meanings[&reason]
    }

    /// What a row says: its reason's class (no worse than `limit`) and fault, unless it says otherwise and why.
    ///
    /// # Errors
    /// What to change, where a row repeats what follows anyway, or deviates without a word.
    pub fn judgement(&self, reason: Reason, limit: Option<Class>, own: &Deviation<'_>) -> Result<Judgement, String> {
        let Meaning { class, fault, .. } = *self.meaning(reason);
        // Class sorts from the worst to the best.
        let class = limit.map_or(class, |limit| class.max(limit));
        // A row of the program may well deviate from the program's meaning to what one's own file has made of it.
        let may_repeat = !own.is_own && self.said_anew.contains(&reason);
        if own.class == Some(class) && !may_repeat {
            return Err(format!("class `{class}` follows from the reason `{reason}`: leave it out"));
        }
        if own.fault == Some(fault) && !may_repeat {
            return Err(format!("fault `{fault}` follows from the reason `{reason}`: leave it out"));
        }
        match (own.class.is_some() || own.fault.is_some(), own.because) {
            (true, None) => Err(format!(
                "this deviates from what follows from `{reason}` ({class}, fault {fault}); add because = \"why\""
            )),
            (false, Some(_)) => Err(format!(
                "`because` tells why a row deviates from what follows from `{reason}`, but it names no other class or fault"
            )),
            _ => Ok(Judgement { class: own.class.unwrap_or(class), reason, fault: own.fault.unwrap_or(fault) }),
        }
    }

    /// What a person should do about a judgement; `row` is the deciding row's own advice for the class it gave.
    #[must_use]
    pub fn advice<'a>(&'a self, judgement: Judgement, row: Option<(Class, &'a str)>) -> &'a str {
        let meaning = self.meaning(judgement.reason);
        match (row, &meaning.advice_if_soft) {
            (Some((class, advice)), _) if class == judgement.class => advice,
            (_, Some(advice)) if judgement.class != meaning.class => advice,
            _ => &meaning.advice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::CodeTable;

    #[test]
    fn every_reason_needs_its_meaning() {
        let table = CodeTable::embedded();
        let all = &table.reasons().meanings;
        for &missing in Reason::ALL {
            let others = all.iter().filter(|(reason, _)| **reason != missing);
            let others = others.map(|(reason, meaning)| (*reason, meaning.clone())).collect();
            assert_eq!(Reasons::new(others, BTreeSet::new()).err(), Some(missing));
        }
    }
}
