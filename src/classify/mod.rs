//! Report + tables -> verdicts. Knows nothing of MIME, mailboxes or databases, and decides nothing by itself:
//! every judgement is a row's, and this floor only weighs rows against each other.

mod doubts;
mod phrases;
mod rules;
mod shapes;

use std::{path::PathBuf, sync::Arc};

pub use phrases::{Phrase, ShapeText, Strength};
pub use shapes::Order;

use self::{
    phrases::Phrases,
    rules::{Builder, Fit, Rule, RuleTable, Rules, Speaker},
};
use crate::{
    codes::{
        Class, CodeRow, CodeTable, EnhancedStatusCode, Fault, Judgement, Key, Meaning, Reason, Weight, begins_with_code,
    },
    report::{
        Action, Address, Candidate, Evidence, Excerpt, Finding, Forwarded, Location, Lowered, Recipient, Report,
        Verdict,
    },
    tables::{Example, Expected, TableError, TableFile},
    text::{Asides, fold, fold_reply, host_form},
};

/// What a row's word is worth, the weakest first. The order is the policy: see docs/classification.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// What is said of nobody who could be meant; it never decides.
    OfNobody,
    /// What would be said of the recipient, where the words speak of somebody else or offer something else as well.
    NoProof,
    /// A status of x.0.0, which says no more than its class digit: often the reporting MTA's filler beside a reply
    /// code.
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

impl Rank {
    /// Of a row of the phrases.
    const fn of_phrase(scoped: bool, strength: Strength) -> Self {
        match (scoped, strength) {
            (true, _) => Self::ProviderPhrase,
            (false, Strength::Unmistakable) => Self::UnmistakablePhrase,
            (false, Strength::Generic) => Self::GenericPhrase,
        }
    }

    /// Of a text variant of a reply code.
    const fn of_variant(weight: Weight) -> Self {
        match weight {
            Weight::Specific => Self::Reply,
            Weight::Vague => Self::GenericPhrase,
        }
    }

    /// Of a row of the code table that answers for an enhanced status code.
    const fn of_status(weight: Weight, bare: bool) -> Self {
        match weight {
            Weight::Specific => Self::Status,
            Weight::Vague if bare => Self::Bare,
            Weight::Vague => Self::VagueStatus,
        }
    }

    /// Of a row of the code table that answers for a reply code, whatever the words beside it say.
    const fn of_reply(weight: Weight) -> Self {
        match weight {
            Weight::Specific => Self::Reply,
            Weight::Vague => Self::VagueReply,
        }
    }
}

/// A candidate on the scales.
#[derive(Debug)]
struct Weighed<'t> {
    rank: Rank,
    /// What its row advises.
    advice: &'t str,
    /// Whether its row speaks of the sender, a host or the message.
    of_another: bool,
    /// Whether its row says which command was refused.
    frame: bool,
    candidate: Candidate,
}

impl Weighed<'_> {
    fn is_hard(&self) -> bool {
        self.candidate.judgement.class == Class::Hard
    }
}

/// Judges recipients by the code table and the phrases.
#[derive(Debug)]
pub struct Classifier {
    codes: CodeTable,
    phrases: Phrases,
    /// The phrases and the code table's text variants, to be found in texts.
    rules: Rules,
}

impl Classifier {
    /// A classifier with the tables that come with the program.
    #[must_use]
    pub fn embedded() -> Self {
        Self::load(&[], &[]).expect("the tests read the embedded tables")
    }

    /// A classifier with the tables that come with the program, and files laid over them, the strongest first.
    ///
    /// # Errors
    /// A file can't be read or is refused; the text names file and line.
    pub fn load(codes: &[PathBuf], phrases: &[PathBuf]) -> Result<Self, TableError> {
        Self::new(CodeTable::load(codes)?, &Self::phrase_files(phrases)?)
    }

    /// Files of phrases of one's own, the strongest first, and the one that comes with the program.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn phrase_files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
        phrases::files(own)
    }

    /// A classifier with this code table and the phrases of these files, the strongest first.
    ///
    /// # Errors
    /// A phrase is refused; the text names file and line.
    pub fn new(codes: CodeTable, phrases: &[Arc<TableFile>]) -> Result<Self, TableError> {
        let mut builder = Builder::default();
        let phrases = phrases::read(phrases, codes.reasons(), &mut builder)?;
        for row in codes.rows() {
            if let Key::Reply(reply) = row.code {
                row.variants.iter().for_each(|variant| builder.variant(reply, variant));
            }
        }
        Ok(Self { codes, phrases, rules: builder.build() })
    }

    /// The code table.
    #[must_use]
    pub const fn codes(&self) -> &CodeTable {
        &self.codes
    }

    /// The phrases, in the order in which they answer.
    #[must_use]
    pub fn phrases(&self) -> &[Phrase] {
        self.phrases.rows()
    }

    /// What the tables look for in the words of a server.
    pub fn vocabulary(&self) -> impl Iterator<Item = String> {
        self.rules.vocabulary()
    }

    /// The examples in the rows of both tables.
    pub fn examples(&self) -> impl Iterator<Item = &Example> {
        self.phrases.examples.iter().chain(self.codes.examples())
    }

    /// Whether the row of an example decides, when this is the verdict on its text. A text variant decides when it is
    /// its code's answer and the verdict is the variant's: a phrase that says the same may well go before it.
    #[must_use]
    pub fn decides(&self, example: &Example, verdict: &Verdict) -> bool {
        let Some(rule) = self.rules.iter().find(|rule| rule.id == example.row) else { return false };
        let mut candidates = verdict.winner.iter().chain(&verdict.outranked);
        match rule.table {
            RuleTable::Phrases => verdict.winner.as_ref().is_some_and(|winner| winner.rule == rule.name),
            RuleTable::Codes { .. } => {
                let Judgement { class, reason, fault } = rule.judgement;
                let alike = (verdict.class, verdict.reason, verdict.fault) == (class, reason, fault);
                candidates.any(|c| c.rule == rule.name) && (alike || example.expected == Expected::Rejects)
            }
        }
    }

    /// The conditions of phrases without which none of the row's own `rejects` would be read otherwise: nothing would
    /// miss them. `read` makes of an example what a mail log's reply would be.
    #[cfg(test)]
    pub(crate) fn idle_conditions(&self, read: impl Fn(&str) -> Recipient) -> Vec<String> {
        let mut idle = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.table == RuleTable::Phrases) {
            let rejects = self.phrases.examples.iter().filter(|e| e.row == rule.id && e.expected == Expected::Rejects);
            let rejects: Vec<Recipient> = rejects.map(|example| read(&example.text)).collect();
            for (name, without) in self.rules.without_each_condition(rule) {
                let fits = |recipient: &Recipient| {
                    let none = Excerpt::default();
                    let words = recipient.diagnostic.as_ref().unwrap_or(&none);
                    let hosts = hosts(recipient, None, words.as_str());
                    let (status, reply) = (recipient.status(), recipient.reply());
                    let speaker = Speaker { hosts: &hosts, status, reply, recipients: &[] };
                    let folded = fold_reply(words.as_str());
                    let asides = Asides::find(folded.as_str(), &hosts);
                    self.rules.fit(&without, &self.rules.read(folded.as_str(), &asides), &speaker).is_some()
                };
                if !rejects.iter().any(fits) {
                    idle.push(format!("{}: {name}", rule.id));
                }
            }
        }
        idle
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
        weighed.sort_by_key(|weighed| std::cmp::Reverse(weighed.rank));
        let (conflict, limit) = self.limit(recipient, weighed.first().map(|weighed| weighed.rank));
        let best = weighed.first().filter(|weighed| weighed.rank > Rank::OfNobody);
        let (own_advice, is_decided) = (best.map(|best| (best.candidate.judgement.class, best.advice)), best.is_some());
        let mut candidates = weighed.into_iter().map(|weighed| weighed.candidate);
        let winner = if is_decided { candidates.next() } else { None };
        let (mut judgement, rule) = match &winner {
            Some(winner) => (winner.judgement, winner.rule.clone()),
            None => unexplained(recipient.action),
        };
        let lowered = limit.filter(|l| judgement.class == Class::Hard && l.at_most != Class::Hard).map(|limit| {
            judgement.class = limit.at_most;
            Lowered { from: Class::Hard, digit: limit.digit, evidence: limit.evidence.cloned() }
        });
        let forwarded = recipient.forwarded_to.clone().map(|to| Forwarded { to, judgement });
        if forwarded.is_some() && judgement.class == Class::Hard {
            // Dead is where the address forwards to; it may reach others all the same.
            let Meaning { class, fault, .. } = *self.codes.reasons().meaning(Reason::ForwardingFailed);
            judgement = Judgement { class, reason: Reason::ForwardingFailed, fault };
        }
        let Judgement { class, reason, fault } = judgement;
        Verdict {
            class,
            reason,
            fault,
            status: recipient.status(),
            reply: recipient.reply(),
            rule,
            conflict,
            advice: self.codes.reasons().advice(judgement, own_advice).to_owned(),
            winner,
            lowered,
            forwarded,
            outranked: candidates.collect(),
        }
    }

    fn candidates(&self, recipient: &Recipient, reporting_mta: Option<&str>) -> Vec<Weighed<'_>> {
        let mut found = Vec::new();
        let mut variants = Vec::new();
        let none = Excerpt::default();
        let diagnostic = recipient.diagnostic.as_ref().unwrap_or(&none);
        let hosts = hosts(recipient, reporting_mta, diagnostic.as_str());
        let given = recipient.address.iter().map(Address::given);
        let addresses = given.chain(recipient.final_recipient.as_deref());
        let domains =
            addresses.filter_map(|address| address.rsplit_once('@')).map(|(_, domain)| fold(domain).into_string());
        let reporting = reporting_mta.map(host_form);
        let parties: Vec<String> = domains.chain(hosts.iter().cloned()).chain(reporting).collect();
        let others = [&recipient.final_recipient, &recipient.forwarded_to].into_iter().flatten();
        let others = others.filter_map(|other| Address::parse(other));
        let recipients: Vec<Address> = recipient.address.iter().cloned().chain(others).collect();
        let (status, reply) = (recipient.status(), recipient.reply());
        let speaker = Speaker { hosts: &hosts, status, reply, recipients: &recipients };
        self.listen(diagnostic, Heard::All, &parties, &speaker, &mut found, &mut variants);
        let is_explained = found.iter().any(|weighed| weighed.rank == Rank::OfNobody);
        if recipient.text.as_str() != diagnostic.as_str() {
            // The text variants of a code are asked for the words beside it only.
            let mut others = Vec::new();
            let variants = if diagnostic.is_empty() { &mut variants } else { &mut others };
            let said = found.len();
            // Where the server's own words leave no doubt, the text around the recipient is asked for the command
            // alone; and where its answer is quoted: what stands around it is said of any, save in a field of the
            // report's own.
            let certain = found.iter().any(|weighed| weighed.rank >= Rank::UnmistakablePhrase);
            let judged = || matches!(recipient.text.evidence(0..0).location, Location::Field(_));
            let heard =
                if certain || (is_answer(diagnostic.as_str()) && !judged()) { Heard::Frames } else { Heard::All };
            self.listen(&recipient.text, heard, &parties, &speaker, &mut found, variants);
            if !diagnostic.is_empty() {
                // Advice speaks of all that may be; what the server said goes before it.
                let open = found[said..].iter_mut().filter(|w| w.candidate.judgement.reason == Reason::Undetermined);
                open.for_each(|weighed| weighed.rank = weighed.rank.min(Rank::GenericPhrase));
            }
            // A scanner's footer speaks of viruses and spam, a notice of its own being temporary; a status that means
            // one thing says what became of the recipient.
            let mut rows = telling(&recipient.statuses).iter().filter_map(|status| self.codes.status_row(status.value));
            if rows.any(|row| row.weight == Weight::Specific) {
                let around = found[said..].iter_mut();
                let around = around.filter(|w| w.candidate.judgement.fault != Fault::Recipient && !w.frame);
                around.for_each(|weighed| {
                    weighed.rank = weighed.rank.min(Rank::GenericPhrase);
                    weighed.of_another = false;
                });
            }
        }
        let phrases = found.len();
        for (n, status) in telling(&recipient.statuses).iter().enumerate() {
            if let Some(row) = self.codes.status_row(status.value) {
                let is_bare = status.value.is_bare() || (n == 0 && recipient.status_is_made_up);
                let weight = if is_bare { Weight::Vague } else { row.weight };
                found.push(weigh_code(Rank::of_status(weight, is_bare), row, &status.evidence));
            }
        }
        for reply in &recipient.replies {
            let answers_for =
                |fit: &&Fit<'_>| matches!(fit.rule.table, RuleTable::Codes { reply: code } if code == reply.value);
            if let Some(fit) = variants.iter().find(answers_for) {
                found.push(weigh_rule(fit, reply.evidence.clone()));
            } else if let Some(row) = self.codes.reply_row(reply.value) {
                found.push(weigh_code(Rank::of_reply(row.weight), row, &reply.evidence));
            }
        }
        // What only looks as if it spoke of the recipient is what the code means: "5.1.1 user unknown to whitelist".
        if is_explained {
            let codes = found[phrases..].iter_mut().filter(|weighed| weighed.is_hard());
            codes.for_each(|weighed| weighed.rank = weighed.rank.min(Rank::NoProof));
        }
        // The Action field comes first: a code of success does not say why a delivery failed.
        found.retain(|weighed| weighed.candidate.judgement.class != Class::Success);
        let least = if recipient.refuses_sender {
            Some(Rank::OfNobody)
        } else {
            found.iter().any(|weighed| weighed.of_another).then_some(Rank::NoProof)
        };
        if let Some(least) = least {
            let hard = found.iter_mut().filter(|weighed| weighed.is_hard());
            hard.for_each(|weighed| weighed.rank = weighed.rank.min(least));
        }
        found
    }

    /// Finds out which rules fit a text: phrases go on the scales, text variants of codes are put aside.
    fn listen<'t>(
        &'t self,
        text: &Excerpt,
        heard: Heard,
        parties: &[String],
        speaker: &Speaker<'_>,
        found: &mut Vec<Weighed<'t>>,
        variants: &mut Vec<Fit<'t>>,
    ) {
        if text.is_empty() {
            return;
        }
        let folded = fold_reply(text.as_str());
        // Few texts have a frame, and reading a text for all rows is dear.
        if heard == Heard::Frames && !self.rules.may_frame(folded.as_str()) {
            return;
        }
        let asides = Asides::find(folded.as_str(), parties);
        let asides = asides.of_addresses(folded.as_str(), |shown| speaker.speaks_of(shown));
        for fit in self.rules.fits(&self.rules.read(folded.as_str(), &asides), speaker) {
            match fit.rule.table {
                _ if heard == Heard::Frames && !fit.rule.frame => {}
                RuleTable::Phrases => {
                    let evidence = text.evidence(folded.origin_of(fit.range.clone()));
                    let mut weighed = weigh_rule(&fit, evidence);
                    if fit.is_of_nobody {
                        weighed.rank = Rank::OfNobody;
                    } else if fit.is_conditional && fit.proves_nothing() {
                        weighed.rank = Rank::NoProof;
                    } else if fit.is_alternative {
                        // What may as well be something else proves nothing, whatever the code beside it says; what
                        // leaves no doubt elsewhere in the text goes before the dead one of the two.
                        let dead = weighed.is_hard();
                        weighed.rank = if dead { Rank::Status } else { weighed.rank.max(Rank::UnmistakablePhrase) };
                        let Meaning { class, fault, ref advice, .. } =
                            *self.codes.reasons().meaning(Reason::Undetermined);
                        weighed.candidate.judgement = Judgement { class, reason: Reason::Undetermined, fault };
                        weighed.advice = advice;
                    } else if fit.is_conditional {
                        // "If the mailbox is full, try later" is advice beside the reason.
                        weighed.rank = weighed.rank.min(Rank::GenericPhrase);
                    }
                    found.push(weighed);
                }
                RuleTable::Codes { .. } if fit.proves_nothing() => {}
                RuleTable::Codes { .. } => variants.push(fit),
            }
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
        let is_made_up = |s: &Finding<EnhancedStatusCode>| s.value.is_bare() || recipient.status_is_made_up;
        let status = recipient.statuses.first().filter(|s| reply.is_none() || !is_made_up(s));
        let digits =
            [status.map(|s| (s.value.class_digit(), &s.evidence)), reply.map(|r| (r.value.class_digit(), &r.evidence))];
        let conflict = matches!(digits, [Some((a, _)), Some((b, _))] if a != b);
        let limit = digits.into_iter().flatten().find_map(|(digit, evidence)| limit(digit, Some(evidence)));
        // In a conflict the weaker signal never suppresses, unless the words leave no doubt.
        let beyond_doubt = conflict && best >= Some(Rank::UnmistakablePhrase);
        (conflict, limit.filter(|_| !beyond_doubt))
    }
}

/// Which rows are asked about a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    All,
    /// Those that say which command was refused.
    Frames,
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

/// The hosts that may have spoken: remote-MTA, where there is none the reporting-MTA, and what Postfix and qmail-remote name
/// in the text.
fn hosts(recipient: &Recipient, reporting_mta: Option<&str>, diagnostic: &str) -> Vec<String> {
    let named = diagnostic.find("host ").map(|at| &diagnostic[at + "host ".len()..]);
    let named = named.and_then(|rest| rest.split([' ', '[', ':', '(', ',']).next());
    let mta = recipient.remote_mta.as_deref().or(reporting_mta);
    [mta, named].into_iter().flatten().map(host_form).collect()
}

/// The first status that says more than its class digit is the remote server's: what stands behind it is a summary.
fn telling(statuses: &[Finding<EnhancedStatusCode>]) -> &[Finding<EnhancedStatusCode>] {
    let length = if statuses.first().is_some_and(|first| !first.value.is_bare()) { 1 } else { statuses.len() };
    &statuses[..length]
}

/// Whether words are a server's answer: they begin with a code, and say something. Of an answer of several lines Sendmail
/// gives the first alone, and that it goes on; what it writes itself, `550 <anna@example.org>... Can't create output`, sums
/// up what stands above.
fn is_answer(said: &str) -> bool {
    let words = said.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | ' ' | '#'));
    let codes = &said[..said.len() - words.len()];
    let goes_on = || codes.get(..4).filter(|code| code.ends_with('-')).map(|code| code.replace('-', " "));
    let is_cut = || goes_on().is_some_and(|last| !words.starts_with(['\'', '"']) && !words.contains(&last));
    let sums_up = || words.split_whitespace().next().is_some_and(|word| word.contains('@') && word.ends_with("..."));
    begins_with_code(said) && words.contains(char::is_alphabetic) && !is_cut() && !sums_up()
}

/// A row that says no more than "undetermined" is worth little, whatever it is.
fn worth(rank: Rank, judgement: Judgement) -> Rank {
    if judgement.reason == Reason::Undetermined { rank.min(Rank::Undetermined) } else { rank }
}

fn weigh_rule<'t>(fit: &Fit<'t>, evidence: Evidence) -> Weighed<'t> {
    let Rule { rank, judgement, ref name, ref advice, of_another, frame, .. } = *fit.rule;
    let candidate = Candidate { rule: name.clone(), judgement, evidence };
    Weighed { rank: worth(rank, judgement), advice, of_another, frame, candidate }
}

fn weigh_code<'t>(rank: Rank, row: &'t CodeRow, evidence: &Evidence) -> Weighed<'t> {
    let candidate = Candidate { rule: row.rule.to_string(), judgement: row.judgement, evidence: evidence.clone() };
    // A code that means one thing and blames the sender leaves the recipient out of it: 5.1.8, 5.7.25, 535.
    let of_another = rank >= Rank::Reply && row.judgement.fault == Fault::Sender;
    Weighed { rank: worth(rank, row.judgement), advice: &row.advice, of_another, frame: false, candidate }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_summary_and_advice_go_behind_what_was_said() {
        let class = |statuses: &[&str], diagnostic: &str, text: &str| {
            let evidence = || Evidence::of_structure("test");
            let recipient = Recipient {
                statuses: statuses
                    .iter()
                    .map(|s| Finding { value: s.parse().unwrap(), evidence: evidence() })
                    .collect(),
                replies: vec![Finding { value: "550".parse().unwrap(), evidence: evidence() }],
                diagnostic: Some(diagnostic.into()),
                text: text.into(),
                ..Recipient::default()
            };
            Classifier::embedded().judge_recipient(&recipient, None).class
        };
        assert_eq!(class(&["5.7.1", "5.1.1"], "550 sorry", "550 sorry"), Class::Soft);
        assert_eq!(class(&["5.0.0", "5.1.1"], "550 sorry", "550 sorry"), Class::Hard);
        let advice = "The address does not exist or may not be used.";
        assert_eq!(class(&[], "mailbox unavailable", advice), Class::Hard);
    }

    #[test]
    fn a_provider_that_reports_what_another_server_answered_does_not_speak() {
        let rule = |remote_mta: Option<&str>| {
            let recipient = Recipient {
                remote_mta: remote_mta.map(str::to_owned),
                diagnostic: Some("550 relay not permitted".into()),
                ..Recipient::default()
            };
            Classifier::embedded().judge_recipient(&recipient, Some("googlemail.com")).rule
        };
        assert_eq!(rule(Some("mx.a.example")), "phrases:relaying");
        assert_eq!(rule(Some("aspmx.l.google.com")), "phrases:google.login");
        assert_eq!(rule(None), "phrases:google.login");
    }

    #[test]
    fn what_is_said_of_others_or_with_if_and_or_is_no_proof() {
        let table = Classifier::embedded();
        for (status, diagnostic, around, expected) in [
            // A code that blames the sender.
            ("5.1.8", "550 5.1.8 no such domain", "", "soft sender_rejected"),
            ("5.1.1", "550 5.1.1 no such domain", "", "hard bad_domain"),
            // One of two.
            ("5.1.1", "550 5.1.1 user unknown or access denied", "", "soft undetermined"),
            ("5.1.1", "550 5.1.1 user unknown or you have no rights", "", "soft undetermined"),
            ("", "550 unknown local part or filtered", "", "soft undetermined"),
            ("", "553 mailbox syntax or you have no rights", "", "soft undetermined"),
            ("", "550 unknown mailbox or not for you. User unknown", "", "hard user_unknown"),
            ("", "550 mailbox unavailable", "The address does not exist or may not be used.", "hard user_unknown"),
            ("", "550 no such user or alias (in reply to RCPT TO command)", "", "hard user_unknown"),
            ("5.1.1", "511 5.1.1 unknown address or alias: anna@example.org", "", "hard user_unknown"),
            ("5.1.1", "550 5.1.1 unknown address or anna@example.org refuses", "", "soft undetermined"),
            ("", "550 no such user or alias Giving up on 192.0.2.1.", "", "hard user_unknown"),
            ("", "550 user unknown or misspelt. Access denied", "", "hard user_unknown"),
            ("", "550 mailbox unavailable or it is not yours", "", "soft undetermined"),
            ("", "550 Write to us if unsure. User unknown", "", "hard user_unknown"),
            // What only looks like it is what the code means, too.
            ("5.1.1", "550 5.1.1 the file <anna@example.org> does not exist", "", "soft undetermined"),
            ("", "550 the file <anna@example.org> does not exist", "", "soft undetermined"),
            // Whose name stands with its address is a client, not the domain that is not found.
            ("", "550 unknown host mx.example.org [192.0.2.1]", "", "soft undetermined"),
            ("", "550 unknown host example.org, says mx.example.net [192.0.2.1]", "", "hard bad_domain"),
            // What keeps a phrase away keeps away the text variant of the same words.
            ("", "550 user unknown temporarily", "", "soft undetermined"),
            // A host's name is no noun.
            ("", "550 unknown host filter.example.org", "", "hard bad_domain"),
            ("", "550 unknown host filter", "", "soft policy"),
            // Under a condition, which begins with a word of its own.
            ("", "550 no delivery if the user does not exist", "", "soft undetermined"),
            ("", "550 sent notif user unknown", "", "hard user_unknown"),
            // What a scanner writes below.
            ("5.1.1", "550", "Passed by our content filter.", "hard user_unknown"),
            ("5.7.1", "550", "Stopped by our content filter.", "soft content"),
            // Around an answer that says something.
            ("5.7.1", "550 5.7.1 sorry", "Stopped by our content filter.", "soft policy"),
        ] {
            let evidence = || Evidence::of_structure("test");
            let status = status.parse().ok().map(|value| Finding { value, evidence: evidence() });
            let recipient = Recipient {
                statuses: status.into_iter().collect(),
                replies: vec![Finding { value: diagnostic[..3].parse().unwrap(), evidence: evidence() }],
                diagnostic: Some(diagnostic.into()),
                text: if around.is_empty() { diagnostic } else { around }.into(),
                ..Recipient::default()
            };
            let Verdict { class, reason, .. } = table.judge_recipient(&recipient, None);
            assert_eq!(format!("{class} {reason}"), expected, "{diagnostic} {around}");
        }
    }

    #[test]
    fn an_answer_begins_with_its_code_and_is_whole() {
        for said in [
            "550 no",
            "550 5.1.1 <a@x.example> no",
            "550 ... no",
            "5.1.1 no",
            "550-no\n550 here",
            "550-'no'",
            "550-no 550 here",
        ] {
            assert!(is_answer(said), "{said}");
        }
        for said in ["", "550", "550 5.1.1", "no", "250 ok", "550-no", "550-5.1.1 no", "550 <a@x.example>... no"] {
            assert!(!is_answer(said), "{said}");
        }
    }

    /// What the default table must say, whoever edits it.
    #[test]
    fn the_code_table_alone_judges_replies_by_their_words() {
        let table = Classifier::new(CodeTable::embedded(), &[]).unwrap();
        for (code, text, rule, judgement) in [
            ("550", "mailbox unavailable", "codes:550.mailbox-unavailable", "hard user_unknown recipient"),
            ("550", "5.1.1 <a@example.org>: User\r\n unknown", "codes:550.user-unknown", "hard user_unknown recipient"),
            ("550", "Relaying prohibited", "codes:550.relaying", "soft relaying sender"),
            ("550", "From address not allowed", "codes:550.sender-rejected", "soft sender_rejected sender"),
            (
                "550",
                "Sender address rejected: User unknown",
                "codes:550.sender-rejected",
                "soft sender_rejected sender",
            ),
            ("550", "", "codes:550", "soft undetermined recipient"),
            ("550", "go away", "codes:550", "soft undetermined recipient"),
            ("551", "User not local; please try <b@example.net>", "codes:551.moved", "hard moved recipient"),
            ("551", "User not local - Relay denied", "codes:551.relaying", "soft relaying sender"),
            ("551", "", "codes:551", "soft undetermined recipient"),
            ("552", "exceeded storage allocation", "codes:552.mailbox-full", "soft mailbox_full recipient"),
            ("552", "mailbox not found", "codes:552.user-unknown", "hard user_unknown recipient"),
            ("552", "Message size exceeds fixed limit", "codes:552.too-big", "soft too_big content"),
            ("553", "mailbox name not allowed", "codes:553.bad-address", "hard bad_address recipient"),
            ("553", "Too many messages per connection", "codes:553.rate-limited", "soft rate_limited sender"),
            ("553", "", "codes:553", "soft undetermined recipient"),
            ("554", "Transaction failed", "codes:554", "soft undetermined unknown"),
            ("556", "", "codes:556", "hard bad_domain recipient"),
            ("557", "Too many duplicate messages", "codes:557", "soft rate_limited sender"),
            ("572", "Relay not authorized", "codes:572", "soft relaying sender"),
            ("525", "", "codes:525", "hard disabled recipient"),
            ("530", "Access denied", "codes:530.auth", "soft auth sender"),
            ("421", "Service not available", "codes:421", "soft deferred network"),
            ("421", "Too many connections", "codes:421.rate-limited", "soft rate_limited sender"),
            ("450", "User unknown", "codes:450.user-unknown", "soft user_unknown recipient"),
            ("452", "insufficient system storage", "codes:452", "soft system network"),
            ("452", "Too many messages", "codes:452.rate-limited", "soft rate_limited sender"),
            ("599", "", "codes:5", "soft undetermined unknown"),
        ] {
            let recipient = Recipient {
                replies: vec![Finding { value: code.parse().unwrap(), evidence: Evidence::of_structure("test") }],
                diagnostic: Some(text.into()),
                ..Recipient::default()
            };
            let verdict = table.judge_recipient(&recipient, None);
            let found = format!("{} {} {}", verdict.class, verdict.reason, verdict.fault);
            assert_eq!((&*verdict.rule, &*found), (rule, judgement), "{code} {text}");
        }
    }

    /// The order of the ranks, where no phrase has a say.
    #[test]
    fn text_variants_answer_for_their_code_and_for_the_words_beside_it() {
        let table = Classifier::new(CodeTable::embedded(), &[]).unwrap();
        for (status, reply, diagnostic, text, rule) in [
            ("5.7.1", "550", "user unknown", "", "codes:550.user-unknown"),
            ("5.7.1", "550", "mailbox unavailable", "", "codes:550.mailbox-unavailable"),
            ("5.2.2", "550", "user unknown", "", "codes:5.2.2"),
            ("5.7.1", "556", "no", "", "codes:556"),
            ("5.2.2", "556", "no", "", "codes:5.2.2"),
            ("5.7.1", "550", "no", "", "codes:5.7.1"),
            ("", "553", "", "mailbox name not allowed", "codes:553.bad-address"),
            ("", "553", "no", "mailbox name not allowed", "codes:553"),
            ("", "554", "sender rejected", "", "codes:554"),
        ] {
            let recipient = Recipient {
                statuses: status
                    .parse()
                    .into_iter()
                    .map(|value| Finding { value, evidence: Evidence::of_structure("") })
                    .collect(),
                replies: vec![Finding { value: reply.parse().unwrap(), evidence: Evidence::of_structure("") }],
                diagnostic: Some(diagnostic.into()).filter(|words: &Excerpt| !words.is_empty()),
                text: text.into(),
                ..Recipient::default()
            };
            assert_eq!(table.judge_recipient(&recipient, None).rule, rule, "{status} {reply} {diagnostic} {text}");
        }
    }

    #[test]
    fn what_is_said_of_another_address_is_not_said_of_the_recipient() {
        let table = Classifier::embedded();
        for (shown, class) in [
            ("ann@example.org", Class::Hard),
            ("ann@mx.example.org", Class::Hard),
            ("bob@example.org", Class::Soft),
            ("postmaster@news.example", Class::Soft),
        ] {
            let recipient = Recipient {
                address: Address::parse("ann@example.org"),
                diagnostic: Some(format!("550 {shown} does not exist").as_str().into()),
                ..Recipient::default()
            };
            assert_eq!(table.judge_recipient(&recipient, None).class, class, "{shown}");
        }
    }

    #[test]
    fn the_first_variant_from_the_top_answers_wherever_its_words_stand() {
        let table = Classifier::new(CodeTable::embedded(), &[]).unwrap();
        for text in ["Mailbox full; sender rejected", "sender rejected; mailbox full"] {
            let recipient = Recipient {
                replies: vec![Finding { value: "550".parse().unwrap(), evidence: Evidence::of_structure("test") }],
                diagnostic: Some(text.into()),
                ..Recipient::default()
            };
            assert_eq!(table.judge_recipient(&recipient, None).reason, Reason::SenderRejected, "{text}");
        }
    }
}
