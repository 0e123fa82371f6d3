//! Report + tables -> verdicts. Knows nothing of MIME, mailboxes or databases, and decides nothing by itself:
//! every judgement is a row's, and this floor only weighs rows against each other.

mod fold;
mod phrases;

use std::path::Path;

pub use fold::fold;
pub use phrases::{Phrases, PhrasesError, Speaker, Strength};

use crate::{
    codes::{Answer, Class, CodeTable, Fault, Judgement, Reason, TableError, Weight},
    report::{Action, Address, Candidate, Evidence, Excerpt, Lowered, Recipient, Report, Verdict},
};

/// What a row's word is worth, the weakest first. The order is the policy: see docs/classification.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A status of x.0.0, which says no more than its class digit: often the reporting MTA's filler beside a reply code.
    Bare,
    /// A row that says no more than "undetermined".
    Undetermined,
    /// A reply code that covers many things: bare 550.
    VagueReply,
    /// A status that covers many things: 5.7.1.
    VagueStatus,
    /// A phrase that beats vague codes only.
    GenericPhrase,
    /// A reply code that means one thing, or with the text variant of its row.
    Reply,
    /// An enhanced status code that means one thing.
    Status,
    /// A phrase that leaves no doubt.
    UnmistakablePhrase,
    /// The provider's own phrase.
    ProviderPhrase,
}

/// Judges recipients by the code table and the phrases.
#[derive(Debug)]
pub struct Classifier {
    codes: CodeTable,
    phrases: Phrases,
}

/// Why tables could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The code table was refused.
    #[error(transparent)]
    Codes(#[from] TableError),
    /// The phrases were refused.
    #[error(transparent)]
    Phrases(#[from] PhrasesError),
    /// Kinds or formats were refused.
    #[error(transparent)]
    Reading(#[from] crate::tables::TableError),
}

impl Classifier {
    /// A classifier with these tables.
    #[must_use]
    pub const fn new(codes: CodeTable, phrases: Phrases) -> Self {
        Self { codes, phrases }
    }

    /// A classifier with the tables that come with the program.
    #[must_use]
    pub fn embedded() -> Self {
        let codes = CodeTable::embedded();
        let phrases = Phrases::embedded(codes.reasons());
        Self::new(codes, phrases)
    }

    /// A classifier with the given files in place of the tables that come with the program.
    ///
    /// # Errors
    /// A file can't be read or is refused; the text names file and line.
    pub fn load(codes: Option<&Path>, phrases: Option<&Path>) -> Result<Self, LoadError> {
        let codes = codes.map_or_else(|| Ok(CodeTable::embedded()), CodeTable::load)?;
        let phrases = match phrases {
            None => Phrases::embedded(codes.reasons()),
            Some(file) => Phrases::load(file, codes.reasons())?,
        };
        Ok(Self::new(codes, phrases))
    }

    /// The code table.
    #[must_use]
    pub const fn codes(&self) -> &CodeTable {
        &self.codes
    }

    /// What the tables look for in the words of a server.
    pub fn vocabulary(&self) -> impl Iterator<Item = &str> {
        let variants = self.codes.rows().flat_map(|row| &row.variants).flat_map(|variant| &variant.says);
        self.phrases.vocabulary().chain(variants.map(String::as_str))
    }

    /// One verdict for each recipient of a report, in its order.
    #[must_use]
    pub fn judge(&self, report: &Report) -> Vec<Verdict> {
        report.recipients.iter().map(|r| self.judge_recipient(r, report.reporting_mta.as_deref())).collect()
    }

    /// The verdict on one recipient.
    #[must_use]
    pub fn judge_recipient(&self, recipient: &Recipient, reporting_mta: Option<&str>) -> Verdict {
        let mut weighed = match recipient.action {
            Action::Failed | Action::Delayed => self.candidates(recipient, reporting_mta),
            Action::Delivered | Action::Relayed | Action::Expanded => Vec::new(),
        };
        // Stable: within a rank the order of the evidence and of the files decides.
        weighed.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let best = weighed.first().map(|(rank, _)| *rank);
        let (conflict, limit) = self.limit(recipient, best);
        let mut candidates = weighed.into_iter().map(|(_, candidate)| candidate);
        let winner = candidates.next();
        let (mut judgement, rule) = match &winner {
            Some(winner) => (winner.judgement, winner.rule.clone()),
            None => unexplained(recipient.action),
        };
        let lowered = limit.filter(|l| judgement.class == Class::Hard && l.at_most != Class::Hard).map(|limit| {
            judgement.class = limit.at_most;
            Lowered { from: Class::Hard, digit: limit.digit, evidence: limit.evidence.cloned() }
        });
        let Judgement { class, reason, fault } = judgement;
        Verdict {
            class,
            reason,
            fault,
            status: recipient.status(),
            reply: recipient.reply(),
            rule,
            conflict,
            advice: None,
            winner,
            lowered,
            outranked: candidates.collect(),
        }
    }

    fn candidates(&self, recipient: &Recipient, reporting_mta: Option<&str>) -> Vec<(Rank, Candidate)> {
        let mut found = Vec::new();
        let none = Excerpt::default();
        let diagnostic = recipient.diagnostic.as_ref().unwrap_or(&none);
        let hosts = hosts(recipient, reporting_mta, diagnostic.as_str());
        let mut addresses: Vec<&str> = recipient.address.iter().map(Address::given).collect();
        addresses.extend(recipient.final_recipient.as_deref().map(|f| f.rsplit([';', ' ']).next().unwrap_or(f)));
        let speaker =
            Speaker { hosts: &hosts, status: recipient.status(), reply: recipient.reply(), addresses: &addresses };
        self.add_phrases(diagnostic, &speaker, &mut found);
        // The text around the recipient is asked only where the server's own words leave a doubt.
        if !found.iter().any(|(rank, _)| *rank >= Rank::UnmistakablePhrase)
            && recipient.text.as_str() != diagnostic.as_str()
        {
            self.add_phrases(&recipient.text, &speaker, &mut found);
        }
        for status in &recipient.statuses {
            if let Some(answer) = self.codes.status(status.value) {
                let rank = match answer.weight {
                    Weight::Specific => Rank::Status,
                    Weight::Vague if status.value.is_bare() => Rank::Bare,
                    Weight::Vague => Rank::VagueStatus,
                };
                found.push(weigh(rank, answer, status.evidence.clone()));
            }
        }
        let words = if diagnostic.is_empty() { &recipient.text } else { diagnostic }.as_str();
        for reply in &recipient.replies {
            if let Some(answer) = self.codes.reply(reply.value, words) {
                let rank = match (answer.variant, answer.weight) {
                    (_, Weight::Specific) => Rank::Reply,
                    (true, Weight::Vague) => Rank::GenericPhrase,
                    (false, Weight::Vague) => Rank::VagueReply,
                };
                found.push(weigh(rank, answer, reply.evidence.clone()));
            }
        }
        // The Action field comes first: a code of success does not say why a delivery failed.
        found.retain(|(_, candidate)| candidate.judgement.class != Class::Success);
        found
    }

    fn add_phrases(&self, text: &Excerpt, speaker: &Speaker<'_>, found: &mut Vec<(Rank, Candidate)>) {
        if text.is_empty() {
            return;
        }
        for spoken in self.phrases.find(text.as_str(), speaker) {
            let rank = match (spoken.scoped, spoken.strength) {
                (true, _) => Rank::ProviderPhrase,
                (false, Strength::Unmistakable) => Rank::UnmistakablePhrase,
                (false, Strength::Generic) => Rank::GenericPhrase,
            };
            let answer =
                Answer { rule: spoken.rule, judgement: spoken.judgement, weight: Weight::Specific, variant: true };
            found.push(weigh(rank, answer, text.evidence(0..text.as_str().len())));
        }
    }

    /// Whether the recipient's codes contradict each other, and the worst class that their first digits allow.
    fn limit<'r>(&self, recipient: &'r Recipient, best: Option<Rank>) -> (bool, Option<Limit<'r>>) {
        let limit = |digit, evidence| self.codes.at_most(digit).map(|at_most| Limit { at_most, digit, evidence });
        if recipient.action == Action::Delayed {
            return (false, limit(4, recipient.action_because.as_ref()));
        }
        // A bare x.0.0 beside a reply code is the reporting MTA's filler (Exim writes 5.0.0 for an expired 451).
        let reply = recipient.replies.first();
        let status = recipient.statuses.first().filter(|s| !s.value.is_bare() || reply.is_none());
        let digits =
            [status.map(|s| (s.value.class_digit(), &s.evidence)), reply.map(|r| (r.value.class_digit(), &r.evidence))];
        let conflict = matches!(digits, [Some((a, _)), Some((b, _))] if a != b);
        let limit = digits.into_iter().flatten().find_map(|(digit, evidence)| limit(digit, Some(evidence)));
        // In a conflict the weaker signal never suppresses, unless the words leave no doubt.
        let beyond_doubt = conflict && best >= Some(Rank::UnmistakablePhrase);
        (conflict, limit.filter(|_| !beyond_doubt))
    }
}

/// The worst class that a first digit allows.
struct Limit<'r> {
    at_most: Class,
    digit: u8,
    evidence: Option<&'r Evidence>,
}

/// The verdict where no row has anything to say; unknown is an honest answer.
fn unexplained(action: Action) -> (Judgement, String) {
    let (class, reason, rule) = match action {
        Action::Failed => (Class::Soft, Reason::Undetermined, "none"),
        Action::Delayed => (Class::Soft, Reason::Deferred, "action:delayed"),
        Action::Delivered => (Class::Success, Reason::Delivered, "action:delivered"),
        Action::Relayed => (Class::Success, Reason::Delivered, "action:relayed"),
        Action::Expanded => (Class::Success, Reason::Delivered, "action:expanded"),
    };
    (Judgement { class, reason, fault: Fault::Unknown }, rule.to_owned())
}

/// The hosts that may have spoken: remote-MTA, reporting-MTA, and what Postfix and qmail-remote name in the text.
fn hosts(recipient: &Recipient, reporting_mta: Option<&str>, diagnostic: &str) -> Vec<String> {
    let named = diagnostic.find("host ").map(|at| &diagnostic[at + "host ".len()..]);
    let named = named.and_then(|rest| rest.split([' ', '[', ':', '(', ',']).next());
    let all = [recipient.remote_mta.as_deref(), reporting_mta, named];
    all.into_iter().flatten().map(|host| host.trim().trim_end_matches('.').to_lowercase()).collect()
}

fn weigh(rank: Rank, answer: Answer, evidence: Evidence) -> (Rank, Candidate) {
    let rank = if answer.judgement.reason == Reason::Undetermined { rank.min(Rank::Undetermined) } else { rank };
    (rank, Candidate { rule: answer.rule.to_string(), judgement: answer.judgement, evidence })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Finding;

    fn rule(status: &str, reply: &str, diagnostic: &str) -> String {
        fn finding<T>(value: T) -> Vec<Finding<T>> {
            vec![Finding { value, evidence: Evidence::of_structure("test") }]
        }
        let recipient = Recipient {
            statuses: finding(status.parse().unwrap()),
            replies: finding(reply.parse().unwrap()),
            diagnostic: Some(diagnostic.into()),
            ..Recipient::default()
        };
        Classifier::embedded().judge_recipient(&recipient, None).rule
    }

    #[test]
    fn a_filler_status_says_less_than_the_reply_beside_it() {
        assert_eq!(rule("4.0.0", "452", "452 insufficient system storage"), "codes:452");
        assert_eq!(rule("5.0.0", "554", "554 Transaction failed"), "codes:554");
        assert_eq!(rule("5.1.1", "554", "554 5.1.1 Transaction failed"), "codes:5.1.1");
    }
}
