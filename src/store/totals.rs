//! The rows of a commit -> how many there are of each kind, summed up before anything is written: a batch changes each
//! total once, however many of its rows are alike.

use std::collections::BTreeMap;

use super::plan::{NewBounce, NewMessage};
use crate::{
    codes::{Class, Fault, Reason},
    policy::DAY,
    report::{Action, Address, Kind},
};

/// What a commit adds to each total, in the order of their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals<'a> {
    /// Failed recipients of a day (the second in which it begins), of a class, a reason and a fault.
    pub by_day: BTreeMap<(i64, &'static str, &'static str, &'static str), i64>,
    /// Failed recipients of a domain.
    pub by_domain: BTreeMap<&'a str, OfDomain>,
    /// Failed recipients of a campaign, of a class and a reason.
    pub by_campaign: BTreeMap<(&'a str, &'static str, &'static str), i64>,
    /// Failed recipients of a day, of a domain, a provider and a campaign; empty where something is not known.
    pub failed: BTreeMap<(i64, &'a str, &'a str, &'a str), Failed>,
}

/// What is counted of those who failed on a day.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    pub hard: i64,
    pub soft: i64,
    /// The cause lies in the sender or the message, whatever the class.
    pub blocked: i64,
}

/// What is counted of a domain.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct OfDomain {
    pub bounces: i64,
    pub hard: i64,
    pub soft: i64,
    pub bad_domain: i64,
    pub sender_fault: i64,
}

impl<'a> Totals<'a> {
    pub(super) fn of(bounces: &'a [NewBounce<'_>]) -> Self {
        let mut totals = Self::default();
        for NewBounce { judged, recipient, verdict, told_before, provider, .. } in bounces {
            if recipient.action != Action::Failed || *told_before {
                continue;
            }
            let (class, reason, fault) = (verdict.class, verdict.reason, verdict.fault);
            let day = judged.received - judged.received % DAY;
            *totals.by_day.entry((day, class.as_str(), reason.as_str(), fault.as_str())).or_default() += 1;
            if let Some(address) = &recipient.address {
                let of = totals.by_domain.entry(address.domain()).or_default();
                of.bounces += 1;
                of.hard += i64::from(class == Class::Hard);
                of.soft += i64::from(class == Class::Soft);
                of.bad_domain += i64::from(reason == Reason::BadDomain);
                of.sender_fault += i64::from(fault == Fault::Sender);
            }
            if let Some(campaign) = &judged.report.original.campaign {
                *totals.by_campaign.entry((campaign, class.as_str(), reason.as_str())).or_default() += 1;
            }
            let domain = recipient.address.as_ref().map(Address::domain);
            let of = [domain, provider.as_deref(), judged.report.original.campaign.as_deref()];
            let [domain, provider, campaign] = of.map(Option::unwrap_or_default);
            let failed = totals.failed.entry((day, domain, provider, campaign)).or_default();
            let is_blocked = matches!(fault, Fault::Sender | Fault::Content);
            failed.hard += i64::from(!is_blocked && class == Class::Hard);
            failed.soft += i64::from(!is_blocked && class == Class::Soft);
            failed.blocked += i64::from(is_blocked);
        }
        totals
    }
}

/// What a commit adds to the totals of its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OfMailbox {
    pub messages: i64,
    pub bounces: i64,
    /// When the newest of them was received.
    pub newest: i64,
    /// When the last of them was received.
    pub last: i64,
}

impl OfMailbox {
    /// `None` where there are none.
    pub(super) fn of(messages: &[NewMessage<'_>]) -> Option<Self> {
        let received = |new: &NewMessage<'_>| new.judged.received;
        let bounces = messages.iter().filter(|new| new.judged.report.kind == Kind::Bounce);
        Some(Self {
            messages: messages.iter().map(|_| 1).sum(),
            bounces: bounces.map(|_| 1).sum(),
            newest: messages.iter().map(received).max()?,
            last: messages.last().map(received)?,
        })
    }
}
