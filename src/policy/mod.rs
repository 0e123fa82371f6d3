//! A verdict and what is known of its address -> whether the address goes onto the suppression list, and for how long.
//! The rules are rows of config/policy.toml ([`rules`]), explained in docs/policy.md. Pure: the time and the history
//! come in. Knows nothing of mail or SQL.

pub mod alarms;
pub mod brake;
mod enough;
mod rules;
mod span;
mod trust;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use alarms::Alarms;
use brake::Brake;
pub use rules::Rule;
use rules::Seen;
use serde::Deserialize;
pub use span::{DAY, HOUR, Span};
pub use trust::{ARCHIVE, Demand, Demands, is_archive};

use crate::{
    codes::{Class, words},
    report::{Action, Address, Recipient, Trust, Verdict},
    suppression::{History, Origin, Past, Suppression},
    tables::{IdleRow, TableError, TableFile},
};

words! {
    /// What a policy is asked about.
    #[derive(Default)]
    CaseKind {
        /// A recipient failed.
        #[default]
        Bounce = "bounce",
        /// A person complained.
        Complaint = "complaint",
    }
}

/// What a policy is asked about: one failed recipient, or one complaint.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Which of the two.
    pub kind: CaseKind,
    /// The mailbox that it was read in, by its name in the configuration.
    pub mailbox: &'a str,
    /// When it was received, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Its row, in `bounce` or in `complaint`.
    pub row: i64,
    /// Who failed, or complained.
    pub address: &'a Address,
    /// Of a bounce.
    pub recipient: Option<&'a Recipient>,
    /// Of a bounce.
    pub verdict: Option<&'a Verdict>,
    /// How far it can be believed.
    pub trust: Trust,
}

impl<'a> Case<'a> {
    /// A recipient that a report speaks of, if it has an address.
    #[must_use]
    pub fn of_bounce(
        mailbox: &'a str,
        at: i64,
        row: i64,
        recipient: &'a Recipient,
        verdict: &'a Verdict,
        trust: Trust,
    ) -> Option<Self> {
        let address = recipient.address.as_ref()?;
        let (recipient, verdict) = (Some(recipient), Some(verdict));
        Some(Self { kind: CaseKind::Bounce, mailbox, at, row, address, recipient, verdict, trust })
    }

    /// Somebody who complained.
    #[must_use]
    pub const fn of_complaint(mailbox: &'a str, at: i64, row: i64, address: &'a Address, trust: Trust) -> Self {
        Self { kind: CaseKind::Complaint, mailbox, at, row, address, recipient: None, verdict: None, trust }
    }

    /// How an entry comes onto the list that is made of it.
    fn origin(&self) -> Origin {
        match self.verdict.map(|verdict| verdict.class) {
            None => Origin::Complaint,
            Some(Class::Hard) => Origin::Hard,
            Some(Class::Soft | Class::Success) => Origin::Soft,
        }
    }
}

/// Who is suppressed by bounces and complaints, when, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The first that fits answers.
    pub rules: Arc<[Rule]>,
    /// How many addresses one message may put onto the list; more are held for a person to look at, since whoever
    /// can write to the bounce address could empty a list with one mail.
    pub most_per_message: u32,
    /// Whom nothing but a person suppresses.
    pub never: Never,
    /// When verdicts wait instead of being believed at once.
    pub brake: Arc<Brake>,
    /// When something is wrong with the mail that we send.
    pub alarms: Arc<Alarms>,
    /// How far a bounce must be believed before it suppresses.
    pub demands: Demands,
}

/// See [`Policy::most_per_message`].
pub const MOST_PER_MESSAGE: u32 = 50;

static EMBEDDED: LazyLock<Policy> = LazyLock::new(|| {
    let policy = Policy::files(&[]).and_then(|files| Policy::from_files(&files));
    policy.expect("the tests read the policy that comes with the program")
});

impl Default for Policy {
    fn default() -> Self {
        Self::embedded()
    }
}

/// Addresses and whole domains that are never suppressed by themselves: those of the sender, above all.
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

    /// Whether it is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.domains.is_empty()
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn holds(&self, address: &Address) -> bool {
        self.addresses.contains(address.normalised()) || self.domains.contains(address.domain())
    }
}

/// `*@example.org, ann@example.net`: the domains first.
impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domains = self.domains.iter().map(|domain| format!("*@{domain}"));
        f.write_str(&domains.chain(self.addresses.iter().cloned()).collect::<Vec<_>>().join(", "))
    }
}

impl TryFrom<Vec<String>> for Never {
    type Error = PolicyError;

    /// Reads `ann@example.org` and, for a whole domain, `@example.org` or `*@example.org`.
    fn try_from(entries: Vec<String>) -> Result<Self, PolicyError> {
        let mut never = Self::default();
        for entry in entries {
            // A domain is read as an address in it, so that it takes the form in which domains are compared.
            let whole = entry.strip_prefix("*@").or_else(|| entry.strip_prefix('@'));
            let whole = whole.map(|domain| format!("anybody@{domain}"));
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

/// What is no address and no domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

/// How many bounces an entry names that led to it; those between the first and the last ones are left out.
const MOST_CAUSES: usize = 100;

impl Policy {
    /// The rules that come with the program.
    #[must_use]
    pub fn embedded() -> Self {
        EMBEDDED.clone()
    }

    /// The rules of one's own files before those that come with the program.
    ///
    /// # Errors
    /// A file can't be read, or a row is refused; the text names file and line.
    pub fn load(files: &[PathBuf]) -> Result<Self, TableError> {
        Self::from_files(&Self::files(files)?)
    }

    /// One's own files, and below them the one that comes with the program.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
        rules::files(own)
    }

    /// The rules of these files, the strongest first.
    ///
    /// # Errors
    /// A row is refused; the text names file and line.
    pub fn from_files(files: &[Arc<TableFile>]) -> Result<Self, TableError> {
        let (brake, alarms) = (Arc::new(brake::of_files(files)?), Arc::new(alarms::of_files(files)?));
        let rules = rules::of_files(files)?.into();
        let (never, demands) = (Never::default(), Demands::default());
        Ok(Self { rules, most_per_message: MOST_PER_MESSAGE, never, brake, alarms, demands })
    }

    /// Rows of one's own that change nothing.
    ///
    /// # Errors
    /// A row is refused; the text names file and line.
    pub fn idle_rows(files: &[Arc<TableFile>]) -> Result<Vec<IdleRow>, TableError> {
        rules::idle_rows(files)
    }

    /// The one gate before every suppression: who failed, or complained, is somebody, none of the sender's own
    /// addresses and none that is never suppressed, and a rule is for it. What does not pass it never suppresses and is
    /// no part of a history. The store keeps the answer with each bounce, so that no query repeats it.
    #[must_use]
    pub fn counts(&self, case: &Case<'_>) -> bool {
        self.rule(case).is_some()
    }

    /// Whether a [`Past`] has to say where it was read.
    #[must_use]
    pub fn asks_mailbox(&self) -> bool {
        self.demands.asks_mailbox() || self.rules.iter().any(Rule::asks_mailbox)
    }

    /// Whether a bounce or a complaint suppresses, and for how long.
    ///
    /// Only what [`Policy::counts`] can, and what is believed. What outranks it on the list stays as it is, and what a
    /// person took off it returns only by what was received after that.
    #[must_use]
    pub fn decide(&self, history: &History, case: &Case<'_>) -> Option<Suppression> {
        let believed = |mailbox: Option<&str>, at, trust| self.demands.are_met(mailbox, at, trust);
        if !believed(Some(case.mailbox), case.at, case.trust) {
            return None;
        }
        self.decide_by(history, case, |past| believed(past.mailbox.as_deref(), past.at, past.trust))
    }

    /// What [`Policy::decide`] answered if everybody was believed.
    #[must_use]
    pub fn decide_if_true(&self, history: &History, case: &Case<'_>) -> Option<Suppression> {
        if self.demands.are_none() {
            return self.decide(history, case);
        }
        self.decide_by(history, case, |_| true)
    }

    /// The same policy, where it is known since when our own mail can be told from what strangers write.
    #[must_use]
    pub fn vouching_since(&self, since: Option<i64>) -> Cow<'_, Self> {
        if since == self.demands.vouching_since {
            return Cow::Borrowed(self);
        }
        let demands = Demands { vouching_since: since, ..self.demands.clone() };
        Cow::Owned(Self { demands, ..self.clone() })
    }

    fn decide_by(
        &self,
        history: &History,
        case: &Case<'_>,
        is_believed: impl Fn(&Past) -> bool,
    ) -> Option<Suppression> {
        let rule = self.rule(case)?;
        let origin = case.origin();
        let outranked = history.entry.is_some_and(|entry| entry.origin.rank() >= origin.rank());
        if history.allowed || outranked || case.at < counts_from(rule, origin, history) {
            return None;
        }
        let (since, causes) = self.enough(rule, origin, history, case, is_believed)?;
        // Bounces may be read in any order: the last that was received decides, and not the last that was read.
        let decisive = causes.last().filter(|&&row| row != case.row);
        let decisive = decisive.and_then(|row| history.past.iter().find(|past| past.bounce == *row));
        let reset = history.released_at.max(history.alive_at);
        let ran_out = history.expired.iter().filter(|&&at| reset.is_none_or(|reset| at > reset)).count();
        let expires = rule.lasts_after(ran_out).map(|span| since.saturating_add(span.seconds()));
        // What outranks an entry never ends before it.
        let expires = match history.entry {
            Some(entry) => expires.zip(entry.expires).map(|(new, old)| new.max(old)),
            None => expires,
        };
        // Of one that was recorded before the store knows these.
        let (verdict, recipient) = if decisive.is_none() { (case.verdict, case.recipient) } else { (None, None) };
        Some(Suppression {
            address: case.address.normalised().to_owned(),
            origin,
            reason: decisive.map(|past| past.reason).or_else(|| case.verdict.map(|verdict| verdict.reason)),
            rule: verdict.map(|verdict| verdict.rule.clone()),
            policy: Some(rule.id.clone()),
            diagnostic: recipient.and_then(|recipient| recipient.diagnostic.as_ref()).map(ToString::to_string),
            since,
            expires,
            note: None,
            causes,
        })
    }

    /// The rule that answers, unless it says never.
    fn rule(&self, case: &Case<'_>) -> Option<&Rule> {
        // No mail is sent to `*`: on the list it means everybody at the domain, and no bounce may say that.
        if self.never.holds(case.address) || case.address.local_part() == "*" {
            return None;
        }
        let domain = case.address.domain();
        let rule = match case.recipient.zip(case.verdict) {
            None => self.rules.iter().find(|rule| rule.fits_complaint(domain, case.mailbox, case.trust)),
            Some((recipient, _)) if recipient.is_ours || recipient.action != Action::Failed => None,
            Some((_, &Verdict { class, reason, fault, .. })) => {
                let (mailbox, trust) = (Some(case.mailbox), case.trust);
                self.rule_of(Seen { class, reason, fault, domain, mailbox, trust })
            }
        };
        rule.filter(|rule| !rule.says_never())
    }

    fn rule_of(&self, seen: Seen<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits_bounce(seen))
    }

    /// Whether the bounces for which the rule answers are enough, with the one at hand among them: when they were, and
    /// which. Messages may be read in any order.
    fn enough(
        &self,
        rule: &Rule,
        origin: Origin,
        history: &History,
        case: &Case<'_>,
        is_believed: impl Fn(&Past) -> bool,
    ) -> Option<(i64, Vec<i64>)> {
        if rule.asked.is_one() {
            // A complaint has no bounce.
            let causes = if case.kind == CaseKind::Bounce { vec![case.row] } else { Vec::new() };
            return Some((case.at, causes));
        }
        let from = counts_from(rule, origin, history);
        let is_counted = |past: &&Past| {
            let &Past { class, reason, fault, trust, ref mailbox, .. } = *past;
            let (domain, mailbox) = (case.address.domain(), mailbox.as_deref());
            let seen = Seen { class, reason, fault, domain, mailbox, trust };
            past.at >= from && is_believed(past) && self.rule_of(seen) == Some(rule)
        };
        let past = history.past.iter().filter(is_counted).map(|past| (past.at, past.bounce));
        let mut all: Vec<(i64, i64)> = past.chain([(case.at, case.row)]).collect();
        all.sort_unstable();
        let this = all.binary_search(&(case.at, case.row)).expect("it was put there");
        let times: Vec<i64> = all.iter().map(|&(at, _)| at).collect();
        let found = rule.asked.first_enough(&times, this)?;
        let since = times[found.end - 1];
        let mut causes: Vec<i64> = all[found].iter().map(|&(_, row)| row).collect();
        causes.drain(1..causes.len().saturating_sub(MOST_CAUSES - 1).max(1));
        Some((since, causes))
    }
}

/// From when on bounces count. Counting begins anew with a person who takes the address off the list; with a sign of life,
/// unless one bounce is enough and no soft one; and with the end of an entry, where the rule may have made it.
fn counts_from(rule: &Rule, origin: Origin, history: &History) -> i64 {
    let says_it_alone = rule.asked.is_one() && origin != Origin::Soft;
    let alive = history.alive_at.filter(|_| !says_it_alone).map(|at| at + 1);
    let expired = history.expired.iter().copied().max().filter(|_| !rule.is_for_good());
    history.released_at.max(alive).max(expired).unwrap_or(i64::MIN)
}

#[cfg(test)]
mod tests;
