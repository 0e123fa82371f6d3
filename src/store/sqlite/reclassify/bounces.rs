//! Rows of `bounce` with the verdicts that today's tables give them.

use std::borrow::Cow;

use serde_json::json;
use sqlx::{FromRow, SqliteConnection};

use super::super::{json, parsed, verdict::VerdictColumns};
use crate::{
    codes::Class,
    policy::{Case, Policy},
    report::{Address, Recipient, StoredRecipient, Trust, Verdict},
    store::{Anew, Differences, Judged},
};

/// A row of `bounce`, as far as a verdict depends on it or is kept in it.
#[derive(Debug, FromRow)]
pub(in crate::store::sqlite) struct StoredBounce {
    pub id: i64,
    pub message: i64,
    pub at: i64,
    pub action: String,
    pub address_given: Option<String>,
    pub address: Option<String>,
    pub class: String,
    pub reason: String,
    pub fault: String,
    pub counts: bool,
    pub diagnostic: Option<String>,
    pub remote_mta: Option<String>,
    pub reporting_mta: Option<String>,
    pub original_message_id: Option<String>,
    pub rule: String,
    pub field: Option<String>,
    pub line: Option<i64>,
    pub words: Option<String>,
    pub lowered_from: Option<String>,
    pub lowered_line: Option<i64>,
    pub lowered_words: Option<String>,
    pub forwarded_to: Option<String>,
    pub forwarded_class: Option<String>,
    pub forwarded_reason: Option<String>,
    pub forwarded_fault: Option<String>,
    pub conflict: bool,
    pub tables: Option<i64>,
    pub evidence: Option<String>,
    pub trust: String,
    pub told_before: bool,
    pub mailbox: String,
    pub recorded: i64,
}

/// The columns of [`StoredBounce`], once for both queries.
macro_rules! stored_bounces {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.message, b.at, b.action, b.address_given, b.address, b.class, b.reason, b.fault, b.counts, \
             b.diagnostic, b.remote_mta, b.reporting_mta, b.original_message_id, b.rule, b.field, b.line, b.words, b.lowered_from, \
             b.lowered_line, b.lowered_words, b.forwarded_to, b.forwarded_class, b.forwarded_reason, b.forwarded_fault, \
             b.conflict, b.tables, b.evidence, b.trust, b.told_before, m.mailbox, m.recorded ",
            $rest
        )
    };
}
pub(in crate::store::sqlite) use stored_bounces;

impl StoredBounce {
    fn columns(&self) -> VerdictColumns<'_> {
        VerdictColumns {
            class: &self.class,
            reason: &self.reason,
            fault: &self.fault,
            rule: &self.rule,
            field: self.field.as_deref().map(Cow::Borrowed),
            line: self.line,
            words: self.words.as_deref(),
            lowered_from: self.lowered_from.as_deref(),
            lowered_line: self.lowered_line,
            lowered_words: self.lowered_words.as_deref(),
            forwarded_class: self.forwarded_class.as_deref(),
            forwarded_reason: self.forwarded_reason.as_deref(),
            forwarded_fault: self.forwarded_fault.as_deref(),
            conflict: self.conflict,
        }
    }

    fn judged(&self) -> Result<Judged, sqlx::Error> {
        let (class, reason, fault) = (parsed(&self.class)?, parsed(&self.reason)?, parsed(&self.fault)?);
        Ok(Judged { class, reason, fault })
    }

    /// The recipient and the verdict that its tables give him now; `None` where not enough is stored.
    fn judge(&self, anew: &Anew<'_>) -> Result<Option<(Recipient, Verdict)>, sqlx::Error> {
        let stored = self.stored()?;
        Ok(stored.and_then(|stored| (anew.judge)(&stored, self.reporting_mta.as_deref())))
    }

    fn stored(&self) -> Result<Option<StoredRecipient<'_>>, sqlx::Error> {
        let Some(evidence) = &self.evidence else { return Ok(None) };
        Ok(Some(StoredRecipient {
            action: parsed(&self.action)?,
            address_given: self.address_given.as_deref(),
            is_address: self.address.is_some(),
            diagnostic: self.diagnostic.as_deref(),
            remote_mta: self.remote_mta.as_deref(),
            forwarded_to: self.forwarded_to.as_deref(),
            evidence,
        }))
    }

    /// The recipient as he was read, and the verdict that he got.
    pub fn as_recorded(&self) -> Result<(Recipient, Verdict), sqlx::Error> {
        let (bare, verdict) = self.as_it_is()?;
        Ok((self.stored()?.and_then(|stored| stored.recipient()).unwrap_or(bare), verdict))
    }

    /// The recipient and the verdict that he got, as far as a policy asks for them.
    fn as_it_is(&self) -> Result<(Recipient, Verdict), sqlx::Error> {
        let Judged { class, reason, fault } = self.judged()?;
        let recipient = Recipient {
            address: self.address_given.as_deref().and_then(Address::parse),
            action: parsed(&self.action)?,
            // Whoever is ours does not count, and counts are asked no more here.
            is_ours: !self.counts,
            diagnostic: self.diagnostic.as_deref().map(Into::into),
            remote_mta: self.remote_mta.clone(),
            ..Recipient::default()
        };
        let verdict = Verdict {
            class,
            reason,
            fault,
            status: None,
            reply: None,
            rule: self.rule.clone(),
            conflict: self.conflict,
            advice: String::new(),
            winner: None,
            lowered: None,
            forwarded: None,
            outranked: Vec::new(),
        };
        Ok((recipient, verdict))
    }
}

/// A bounce with today's verdict, or the one that it keeps.
pub(super) struct Rejudged {
    pub row: StoredBounce,
    pub recipient: Recipient,
    pub verdict: Verdict,
    pub trust: Trust,
    /// Whether the verdict is today's.
    pub is_todays: bool,
}

impl Rejudged {
    pub fn of(row: StoredBounce, anew: &Anew<'_>, differences: &mut Differences) -> Result<Self, sqlx::Error> {
        let asked = anew.since.is_none_or(|since| row.at >= since);
        let todays = if asked { row.judge(anew)? } else { None };
        let is_todays = todays.is_some();
        if asked && matches!(row.action.as_str(), "failed" | "delayed") {
            differences.bounces += 1;
            differences.left += u64::from(!is_todays);
        }
        let (recipient, verdict) = match todays {
            Some(todays) => todays,
            None => row.as_it_is()?,
        };
        let trust = parsed(&row.trust)?;
        Ok(Self { row, recipient, verdict, trust, is_todays })
    }

    pub fn case(&self) -> Option<Case<'_>> {
        let StoredBounce { id, at, ref mailbox, .. } = self.row;
        Case::of_bounce(mailbox, at, id, &self.recipient, &self.verdict, self.trust)
    }

    /// Whose verdict it is, of a hard one.
    pub fn remote(&self, policy: &Policy) -> Option<String> {
        let (domain, StoredBounce { reporting_mta, .. }) = (self.recipient.address.as_ref()?.domain(), &self.row);
        let remote = || policy.brake.remote(domain, self.recipient.remote_mta.as_deref(), reporting_mta.as_deref());
        (self.verdict.class == Class::Hard).then(remote)
    }

    /// Whether it may lead to a suppression. Of a verdict that stays only the policy can say no.
    pub fn counts(&self, anew: &Anew<'_>) -> bool {
        self.case().is_some_and(|case| self.counts_as(anew, &case))
    }

    pub fn counts_as(&self, anew: &Anew<'_>, case: &Case<'_>) -> bool {
        !self.row.told_before && (self.is_todays || self.row.counts) && anew.policy.counts(case)
    }

    /// Notes what is different; says what the row is to hold where something is.
    pub fn difference(
        &self,
        anew: &Anew<'_>,
        differences: &mut Differences,
    ) -> Result<Option<serde_json::Value>, sqlx::Error> {
        let counts = self.counts(anew);
        if !self.is_todays {
            // Not whole: only whether it counts may have changed, by the policy.
            return Ok((counts != self.row.counts).then(|| json!([self.row.id, counts])));
        }
        let (before, after) = (self.row.columns(), VerdictColumns::from(&self.verdict));
        if (&before, self.row.counts) == (&after, counts) {
            return Ok(None);
        }
        let Verdict { class, reason, fault, .. } = self.verdict;
        let (was, is) = (self.row.judged()?, Judged { class, reason, fault });
        if was == is {
            differences.otherwise_explained += u64::from(before != after);
        } else {
            *differences.verdicts.entry((was, is)).or_default() += 1;
        }
        Ok(Some(json!([
            self.row.id,
            counts,
            after.class,
            after.reason,
            after.fault,
            after.rule,
            after.field,
            after.line,
            after.words,
            after.lowered_from,
            after.lowered_line,
            after.lowered_words,
            after.forwarded_class,
            after.forwarded_reason,
            after.forwarded_fault,
            after.conflict
        ])))
    }
}

/// Writes today's verdicts into their rows, and by which tables they were given.
pub(super) async fn write(
    tx: &mut SqliteConnection,
    changed: &[serde_json::Value],
    judged: &[i64],
    current: i64,
) -> Result<(), sqlx::Error> {
    let (whole, counts): (Vec<_>, Vec<_>) =
        changed.iter().partition(|row| row.as_array().is_some_and(|row| row.len() > 2));
    if !whole.is_empty() {
        sqlx::query(
            "UPDATE bounce SET counts = j.value ->> 1, class = j.value ->> 2, reason = j.value ->> 3,
                    fault = j.value ->> 4, rule = j.value ->> 5, field = j.value ->> 6, line = j.value ->> 7,
                    words = j.value ->> 8, lowered_from = j.value ->> 9, lowered_line = j.value ->> 10,
                    lowered_words = j.value ->> 11, forwarded_class = j.value ->> 12, forwarded_reason = j.value ->> 13,
                    forwarded_fault = j.value ->> 14, conflict = j.value ->> 15
             FROM json_each(?1) AS j WHERE bounce.id = j.value ->> 0",
        )
        .bind(json(&whole)?)
        .execute(&mut *tx)
        .await?;
    }
    if !counts.is_empty() {
        sqlx::query("UPDATE bounce SET counts = j.value ->> 1 FROM json_each(?1) AS j WHERE bounce.id = j.value ->> 0")
            .bind(json(&counts)?)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query("UPDATE bounce SET tables = ?2 WHERE id IN (SELECT value FROM json_each(?1)) AND tables IS NOT ?2")
        .bind(json(&judged)?)
        .bind(current)
        .execute(tx)
        .await
        .map(drop)
}
