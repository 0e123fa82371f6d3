//! A verdict and what is known of its address -> whether the address goes onto the suppression list.
//! Pure: the time and the history come in. Knows nothing of mail or SQL.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    codes::{Class, Fault},
    report::{Action, Address, Recipient, Verdict},
    suppression::{HISTORY_DAYS, History, Origin, Suppression},
};

const DAY: i64 = 86_400;

/// Who is suppressed by bounces, and when. A hard one whose fault is the recipient's does it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How many soft bounces it takes.
    pub soft_count: u32,
    /// How many days must lie between the first and the last of them, so that one bad week suppresses nobody.
    pub soft_min_days: u32,
    /// How many days may lie between the first and the last of them at most.
    pub soft_window_days: u32,
    /// How many addresses one message may put onto the list; more are held for a person to look at, since whoever
    /// can write to the bounce address could empty a list with one mail.
    pub most_per_message: u32,
    /// Whom no bounce suppresses.
    pub never: Never,
}

impl Default for Policy {
    fn default() -> Self {
        Self { soft_count: 5, soft_min_days: 14, soft_window_days: 60, most_per_message: 50, never: Never::default() }
    }
}

/// Addresses and whole domains that bounces never suppress: those of the sender, above all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Never {
    addresses: BTreeSet<String>,
    domains: BTreeSet<String>,
}

impl Never {
    /// Whether an entry of this address, or of all of its domain (`*@example.org`), suppressed one of these.
    #[must_use]
    pub fn forbids(&self, entry: &Address) -> bool {
        let is_in_domain =
            |address: &String| address.rsplit_once('@').is_some_and(|(_, domain)| domain == entry.domain());
        self.holds(entry) || (entry.local_part() == "*" && self.addresses.iter().any(is_in_domain))
    }

    fn holds(&self, address: &Address) -> bool {
        self.addresses.contains(address.normalised()) || self.domains.contains(address.domain())
    }
}

impl TryFrom<Vec<String>> for Never {
    type Error = PolicyError;

    /// Reads `ann@example.org` and, for a whole domain, `@example.org`.
    fn try_from(entries: Vec<String>) -> Result<Self, PolicyError> {
        let mut never = Self::default();
        for entry in entries {
            // A domain is read as an address in it, so that it takes the form in which domains are compared.
            let whole = entry.strip_prefix('@').map(|domain| format!("anybody@{domain}"));
            let Some(address) = Address::parse(whole.as_deref().unwrap_or(&entry)) else {
                return Err(PolicyError(format!("`{entry}` is no address and no @domain")));
            };
            if whole.is_some() {
                never.domains.insert(address.domain().to_owned());
            } else {
                never.addresses.insert(address.normalised().to_owned());
            }
        }
        Ok(never)
    }
}

/// A policy that could never suppress, or would read farther back than the history reaches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

impl Policy {
    /// Refuses numbers that contradict each other.
    ///
    /// # Errors
    /// The text names the key and what was expected.
    pub fn check(&self) -> Result<(), PolicyError> {
        let refuse = |text: String| Err(PolicyError(text));
        if self.most_per_message == 0 {
            return refuse("most_per_message is 0, expected 1 or more".to_owned());
        }
        if self.soft_count == 0 {
            return refuse("soft_count is 0, expected 1 or more".to_owned());
        }
        if self.soft_window_days == 0 || self.soft_window_days > HISTORY_DAYS {
            return refuse(format!("soft_window_days is {}, expected 1 to {HISTORY_DAYS}", self.soft_window_days));
        }
        if self.soft_min_days > self.soft_window_days {
            return refuse(format!(
                "soft_min_days is {}, expected at most soft_window_days ({})",
                self.soft_min_days, self.soft_window_days
            ));
        }
        Ok(())
    }

    /// The one gate before every suppression: the recipient failed, by its own fault, and is none of the sender's own
    /// addresses. What does not pass it never suppresses and is no part of a history.
    #[must_use]
    pub fn counts(&self, case: &Case<'_>) -> bool {
        let Some((recipient, verdict)) = case.recipient.zip(case.verdict) else { return true };
        (recipient.action, verdict.fault) == (Action::Failed, Fault::Recipient)
            && !recipient.is_ours
            && !self.never.holds(case.address)
    }
    /// Whether a rule asks in which mailbox a bounce was read.
    #[must_use]
    pub const fn asks_mailbox(&self) -> bool {
        false
    }

    /// Whether a bounce or a complaint puts its address onto the list. What a person decided stands.
    #[must_use]
    pub fn decide(&self, history: &History, case: &Case<'_>) -> Option<Suppression> {
        if !self.counts(case) {
            return None;
        }
        let verdict = case.verdict?;
        let origin = match (verdict.class, history.entry.map(|e| e.origin)) {
            (Class::Hard, None | Some(Origin::Soft))
                if history.released_at.is_none_or(|released| case.at >= released) =>
            {
                Origin::Hard
            }
            (Class::Soft, None) if history.released_at.is_none() => {
                let times =
                    history.past.iter().filter(|p| p.class == Class::Soft).map(|p| p.at).chain([case.at]).collect();
                self.enough_soft(times, case.at).then_some(Origin::Soft)?
            }
            _ => return None,
        };
        Some(Suppression {
            address: case.address.normalised().to_owned(),
            origin,
            reason: Some(verdict.reason),
            rule: Some(verdict.rule.clone()),
            policy: None,
            diagnostic: case.recipient.and_then(|r| r.diagnostic.as_ref()).map(ToString::to_string),
            since: case.at,
            expires: None,
            note: None,
            causes: vec![case.row],
        })
    }

    /// Whether soft bounces at `times`, with the one at `at` among them, are enough: as many as it takes within
    /// one window that holds `at`, far enough apart. Messages may be read in any order.
    fn enough_soft(&self, mut times: Vec<i64>, at: i64) -> bool {
        let (least, most) = (i64::from(self.soft_min_days) * DAY, i64::from(self.soft_window_days) * DAY);
        times.sort_unstable();
        let mut first = 0;
        times.iter().enumerate().any(|(last, &end)| {
            while end - times[first] > most {
                first += 1;
            }
            let start = times[first];
            let count = u32::try_from(last - first + 1).unwrap_or(u32::MAX);
            (start..=end).contains(&at) && end - start >= least && count >= self.soft_count
        })
    }
}

/// What a policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseKind {
    /// A recipient who was not reached.
    Bounce,
    /// Somebody who complained.
    Complaint,
}

/// One bounce or complaint.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Which of them.
    pub kind: CaseKind,
    /// Where it was read.
    pub mailbox: &'a str,
    /// When it was received, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Its row, in `bounce` or in `complaint`.
    pub row: i64,
    /// Whom it is about.
    pub address: &'a Address,
    /// What the report says; `None` for a complaint.
    pub recipient: Option<&'a Recipient>,
    /// The judgement on that; `None` for a complaint.
    pub verdict: Option<&'a Verdict>,
}

impl<'a> Case<'a> {
    /// One recipient of a report; `None` where the report does not say whom it is about.
    #[must_use]
    pub fn of_bounce(
        mailbox: &'a str,
        at: i64,
        row: i64,
        recipient: &'a Recipient,
        verdict: &'a Verdict,
    ) -> Option<Self> {
        Some(Self {
            kind: CaseKind::Bounce,
            mailbox,
            at,
            row,
            address: recipient.address.as_ref()?,
            recipient: Some(recipient),
            verdict: Some(verdict),
        })
    }
    /// Somebody who complained.
    #[must_use]
    pub const fn of_complaint(mailbox: &'a str, at: i64, row: i64, address: &'a Address) -> Self {
        Self { kind: CaseKind::Complaint, mailbox, at, row, address, recipient: None, verdict: None }
    }
}
