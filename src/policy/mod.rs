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
    /// addresses. What does not pass it never suppresses and is no part of a history. The store keeps the answer with
    /// each bounce, so that no query repeats it.
    #[must_use]
    pub fn counts(&self, recipient: &Recipient, fault: Fault) -> bool {
        (recipient.action, fault) == (Action::Failed, Fault::Recipient)
            && !recipient.is_ours
            && !recipient.address.as_ref().is_some_and(|address| self.never.holds(address))
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

/// Whether a verdict received at `at` (seconds since 1970-01-01 UTC) suppresses its recipient.
///
/// Only what [`Policy::counts`] can suppress. What a person decided stands: a manual entry is
/// left alone, and an address taken off the list returns only by a hard bounce received after that.
#[must_use]
pub fn decide(
    policy: &Policy,
    history: &History,
    recipient: &Recipient,
    verdict: &Verdict,
    at: i64,
) -> Option<Suppression> {
    let address = recipient.address.as_ref()?;
    if !policy.counts(recipient, verdict.fault) {
        return None;
    }
    let origin = match (verdict.class, history.suppressed) {
        (Class::Hard, None | Some(Origin::Soft)) if history.released_at.is_none_or(|released| at >= released) => {
            Origin::Hard
        }
        (Class::Soft, None) if history.released_at.is_none() => {
            let times = history.soft.iter().copied().chain([at]).collect();
            policy.enough_soft(times, at).then_some(Origin::Soft)?
        }
        _ => return None,
    };
    Some(Suppression {
        address: address.normalised().to_owned(),
        origin,
        reason: Some(verdict.reason),
        rule: Some(verdict.rule.clone()),
        diagnostic: recipient.diagnostic.as_ref().map(ToString::to_string),
        since: at,
        note: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codes::Reason, report::Address};

    const NOW: i64 = 1_800_000_000;

    fn recipient(action: Action) -> Recipient {
        Recipient { address: Address::parse("Ann@example.org"), action, ..Recipient::default() }
    }

    fn verdict(class: Class, fault: Fault) -> Verdict {
        Verdict {
            class,
            reason: Reason::UserUnknown,
            fault,
            status: None,
            reply: None,
            rule: "codes:550".to_owned(),
            conflict: false,
            advice: String::new(),
            winner: None,
            lowered: None,
            forwarded: None,
            outranked: Vec::new(),
        }
    }

    fn origin(history: &History, class: Class, fault: Fault) -> Option<Origin> {
        decide(&Policy::default(), history, &recipient(Action::Failed), &verdict(class, fault), NOW).map(|s| s.origin)
    }

    fn soft_on(days: &[i64]) -> History {
        History { soft: days.iter().map(|day| NOW + day * DAY).collect(), ..History::default() }
    }

    #[test]
    fn one_hard_bounce_suppresses_the_normalised_address() {
        let found = decide(
            &Policy::default(),
            &History::default(),
            &recipient(Action::Failed),
            &verdict(Class::Hard, Fault::Recipient),
            NOW,
        );
        let found = found.expect("suppressed");
        assert_eq!((found.address.as_str(), found.origin, found.since), ("ann@example.org", Origin::Hard, NOW));
        assert_eq!((found.reason, found.rule.as_deref()), (Some(Reason::UserUnknown), Some("codes:550")));
    }

    #[test]
    fn a_failure_through_the_recipients_own_fault_counts_and_nothing_else() {
        for &action in Action::ALL {
            for &fault in Fault::ALL {
                let expected = action == Action::Failed && fault == Fault::Recipient;
                assert_eq!(Policy::default().counts(&recipient(action), fault), expected, "{action} {fault}");
            }
        }
    }

    #[test]
    fn addresses_of_ones_own_never_count() {
        let never = |entries: &[&str]| Never::try_from(entries.iter().map(|&e| e.to_owned()).collect::<Vec<_>>());
        for (entries, counts) in [
            (&["bob@example.org", "@example.net"][..], true),
            (&["ANN@example.org"], false),
            (&["@Example.ORG"], false),
            (&["@org"], true),
        ] {
            let policy = Policy { never: never(entries).unwrap(), ..Policy::default() };
            assert_eq!(policy.counts(&recipient(Action::Failed), Fault::Recipient), counts, "{entries:?}");
        }
        let ours = Recipient { is_ours: true, ..recipient(Action::Failed) };
        assert!(!Policy::default().counts(&ours, Fault::Recipient));
        let error = never(&["ann@example.org", "example.org"]).unwrap_err().to_string();
        assert!(error.contains("`example.org`"), "{error}");
    }

    #[test]
    fn only_the_recipients_own_fault_suppresses() {
        for &fault in Fault::ALL {
            let expected = (fault == Fault::Recipient).then_some(Origin::Hard);
            assert_eq!(origin(&History::default(), Class::Hard, fault), expected, "{fault}");
            let expected = (fault == Fault::Recipient).then_some(Origin::Soft);
            assert_eq!(origin(&soft_on(&[-20, -15, -10, -5]), Class::Soft, fault), expected, "{fault}");
        }
    }

    #[test]
    fn only_a_failed_action_suppresses() {
        for &action in Action::ALL {
            let verdict = verdict(Class::Hard, Fault::Recipient);
            let found = decide(&Policy::default(), &History::default(), &recipient(action), &verdict, NOW);
            assert_eq!(found.is_some(), action == Action::Failed, "{action}");
        }
    }

    #[test]
    fn a_recipient_without_address_suppresses_nobody() {
        let verdict = verdict(Class::Hard, Fault::Recipient);
        assert_eq!(decide(&Policy::default(), &History::default(), &Recipient::default(), &verdict, NOW), None);
    }

    #[test]
    fn soft_bounces_suppress_by_number_within_the_window_and_far_enough_apart() {
        for (days, enough) in [
            (&[-20, -15, -10, -5][..], true),
            (&[-20, -15, -10], false),
            (&[-14, -3, -2, -1], true),
            (&[-13, -3, -2, -1], false),
            (&[-60, -30, -20, -10], true),
            (&[-61, -30, -20, -10], false),
            (&[-200, -100, -60, -30, -20, -10], true),
            // Read in another order: the verdict at hand is the first or in the middle.
            (&[20, 15, 10, 5], true),
            (&[-10, 10, 5, -5], true),
            (&[-90, -85, -80, -75, -71, 70, 75, 80, 85, 90], false),
        ] {
            let found = origin(&soft_on(days), Class::Soft, Fault::Recipient);
            assert_eq!(found, enough.then_some(Origin::Soft), "{days:?}");
        }
    }

    #[test]
    fn a_removal_sticks_until_a_hard_bounce_received_later() {
        let removed = |seconds: i64| History { released_at: Some(NOW + seconds), ..soft_on(&[-20, -15, -10, -5]) };
        assert_eq!(origin(&removed(60), Class::Hard, Fault::Recipient), None, "older than the removal");
        assert_eq!(origin(&removed(0), Class::Hard, Fault::Recipient), Some(Origin::Hard), "in the same second");
        assert_eq!(origin(&removed(-60), Class::Hard, Fault::Recipient), Some(Origin::Hard));
        assert_eq!(origin(&removed(-60), Class::Soft, Fault::Recipient), None);
    }

    #[test]
    fn what_is_on_the_list_changes_only_from_soft_to_hard() {
        for (listed, class, expected) in [
            (Origin::Soft, Class::Hard, Some(Origin::Hard)),
            (Origin::Soft, Class::Soft, None),
            (Origin::Hard, Class::Hard, None),
            (Origin::Hard, Class::Soft, None),
            (Origin::Manual, Class::Hard, None),
            (Origin::Manual, Class::Soft, None),
        ] {
            let history = History { suppressed: Some(listed), ..soft_on(&[-20, -15, -10, -5]) };
            assert_eq!(origin(&history, class, Fault::Recipient), expected, "{listed} {class}");
        }
    }

    #[test]
    fn contradicting_numbers_are_refused() {
        for policy in [
            Policy::default(),
            Policy { soft_count: 1, soft_min_days: 1, soft_window_days: 1, ..Policy::default() },
            Policy { soft_window_days: HISTORY_DAYS, ..Policy::default() },
        ] {
            assert_eq!(policy.check(), Ok(()));
        }
        for (policy, key) in [
            (Policy { most_per_message: 0, ..Policy::default() }, "most_per_message"),
            (Policy { soft_count: 0, ..Policy::default() }, "soft_count"),
            (Policy { soft_window_days: 401, ..Policy::default() }, "soft_window_days"),
            (Policy { soft_window_days: 0, soft_min_days: 0, ..Policy::default() }, "soft_window_days"),
            (Policy { soft_min_days: 61, ..Policy::default() }, "soft_min_days"),
        ] {
            let error = policy.check().expect_err(key).to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
