//! What a mail is before anybody reads its recipients: reports told apart from what else lands in a bounce
//! mailbox. [`Mail`] in, a kind and the line that speaks for it out; refuses to know recipients and codes.
//!
//! Structure decides where a standard gives it (RFC 3464, 5965, 8098). Everything else is weighed: signs in From,
//! Return-Path, Subject, other fields and text add up, and the heaviest kind wins. The words and their weights
//! are data ([`signs`], config/kinds.toml).

mod list_owner;
mod prove;
mod signs;

use std::{cell::OnceCell, ops::Range, sync::Arc};

pub(super) use signs::Signs;
use signs::{Area, At, For, Normalised, RowArea, Scale, Sender, Sign};

use super::{
    mime::{Field, Mail, Part},
    original::Returned,
    passage::Passage,
    passed_on,
    words::{Role, Words},
};
use crate::{
    report::{Address, Evidence, Finding, Kind, Location},
    text::{addresses, fold_words},
};

/// Why a mail may be of a kind.
#[derive(Debug, Clone)]
pub(super) struct Likeness {
    /// The kind, and the line that speaks for it most.
    pub kind: Finding<Kind>,
    /// Whether the mail's own subject says so. That is believed even of a report that names nobody and gives no code.
    pub subject_says_so: bool,
    /// `kinds:ID` of the row that speaks for it most.
    pub rule: Option<Arc<str>>,
    /// The format that a row names which speaks for it.
    pub format: Option<Arc<str>>,
}

/// What speaks for a mail's kind. Weighing reads all of the mail, so it is done once and only where structure does
/// not decide.
pub(super) struct MailKind<'m> {
    mail: &'m Mail<'m>,
    returned: &'m Returned<'m>,
    signs: &'m Signs,
    weighed: OnceCell<Weighed>,
}

/// What the signs of a mail amount to.
#[derive(Debug)]
struct Weighed {
    likeness: Option<Likeness>,
    sender: Sender,
    /// Whether its header alone is that of a delivery report.
    headed_as_report: bool,
    /// The line at which a message begins that a person passes on.
    passed_on: Option<Evidence>,
}

/// Where the report stands that a mail carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// In a part of the type that RFC 3464 gives it.
    Part,
    /// As fields or as a whole mail among the words.
    Text,
    /// In a mail that is attached.
    Attached,
}

impl<'m> MailKind<'m> {
    pub(super) const fn of(mail: &'m Mail<'m>, returned: &'m Returned<'m>, signs: &'m Signs) -> Self {
        Self { mail, returned, signs, weighed: OnceCell::new() }
    }

    /// What is certainly no delivery report: automatic replies, complaints, read receipts, challenges, ordinary mail.
    pub(super) fn other_mail(&self) -> Option<Finding<Kind>> {
        by_structure(self.mail, self.returned).or_else(|| {
            if self.mail.parts.iter().any(Part::has_report_type) && self.answers_for(Carried::Part) {
                return None;
            }
            self.weighed(|kind| !is_report(kind)).map(|likeness| likeness.kind)
        })
    }

    /// Why a mail without a DSN part may be a delivery report, and of which kind; `None` when nothing speaks for it.
    pub(super) fn report_likeness(&self) -> Option<Likeness> {
        self.weighed(is_report)
    }

    /// Whether the mail was sent to report what stands in it. Persons quote, forward and attach reports on mail of
    /// theirs, newsletters and manuals print them: those say nothing of ours.
    pub(super) fn answers_for(&self, report: Carried) -> bool {
        if report == Carried::Part && self.mail.content_type == "multipart/report" {
            return true;
        }
        let Weighed { sender, headed_as_report, .. } = self.weigh();
        match (sender, report) {
            (Sender::Server, _) => true,
            (Sender::Desk | Sender::Person, _) => false,
            (Sender::Untold | Sender::Program, Carried::Part) | (Sender::Program, Carried::Attached) => true,
            (Sender::Untold | Sender::Program, Carried::Text | Carried::Attached) => *headed_as_report,
        }
    }

    /// The line at which a message begins that a person passes on; `None` where weighing was not needed, too.
    pub(super) fn passed_on(&self) -> Option<Evidence> {
        self.weighed.get()?.passed_on.clone()
    }

    /// What rows decided what is no delivery report.
    pub(super) fn likeness_of_other(&self) -> Option<&Likeness> {
        self.weighed.get()?.likeness.as_ref().filter(|likeness| !is_report(likeness.kind.value))
    }

    fn weighed(&self, wanted: impl Fn(Kind) -> bool) -> Option<Likeness> {
        self.weigh().likeness.clone().filter(|found| wanted(found.kind.value))
    }

    fn weigh(&self) -> &Weighed {
        self.weighed.get_or_init(|| weigh(self.mail, self.returned, self.signs))
    }
}

/// Whether the words of a report say that its program has stopped trying, whatever its Action field says.
pub(super) fn gave_up(words: Passage<'_>, table: &Words) -> bool {
    let mut normalised = Normalised::default();
    normalised.push(words.clipped(MOST_TEXT), table);
    table.gave_up(&normalised.text)
}

fn is_report(kind: Kind) -> bool {
    matches!(kind, Kind::Bounce | Kind::Delayed | Kind::Delivered)
}

/// Feedback reports (RFC 5965), also mislabelled ones, and disposition notifications (RFC 8098).
fn by_structure(mail: &Mail<'_>, returned: &Returned<'_>) -> Option<Finding<Kind>> {
    let part = |wanted: &str| mail.parts.iter().find(|p| p.content_type == wanted);
    let reports = |wanted: &str| mail.content_type == "multipart/report" && mail.report_type == wanted;
    let feedback = part("message/feedback-report");
    if feedback.is_some() || reports("feedback-report") {
        // RFC 5965 §7.3 has one type that takes a complaint back.
        let pardoned = feedback.is_some_and(|p| p.text.to_ascii_lowercase().contains("feedback-type: not-spam"));
        let kind = if pardoned { Kind::NotBounce } else { Kind::Complaint };
        return Some(of_structure(mail, kind, "feedback-report"));
    }
    let receipt = part("message/disposition-notification").is_some() || reports("disposition-notification");
    if receipt && !mail.words.have(Role::Refused, &words(mail, returned, false, true).words.text) {
        return Some(of_structure(mail, Kind::NotBounce, "disposition-notification"));
    }
    // RFC 8460 §5.3.
    reports("tlsrpt").then(|| of_structure(mail, Kind::NotBounce, "tlsrpt"))
}

/// A kind that the mail's Content-Type, or that of one of its parts, gives.
fn of_structure(mail: &Mail<'_>, kind: Kind, report_type: &str) -> Finding<Kind> {
    let own = mail.field("Content-Type").filter(|_| mail.report_type == report_type).map(Field::evidence);
    let evidence = own.unwrap_or_else(|| Evidence::of_structure(format!("a part of it is a {report_type}")));
    Finding { value: kind, evidence }
}

/// So much text is looked at: a program says what it has to say in its first lines.
const MOST_TEXT: usize = 6 * 1024;
/// So many text parts are looked at; a scanner's or a list's banner may stand first.
const MOST_PARTS: usize = 3;

/// The heaviest kind, if it is heavy enough, with its best line.
fn weigh<'m>(mail: &'m Mail<'m>, returned: &Returned<'_>, signs: &Signs) -> Weighed {
    let (OwnWords { words, passed_on }, tally) = tally(mail, returned, signs);
    let evidence = |spot| match spot {
        Spot::Header(field) => field.evidence(),
        Spot::Text(offset) => words.evidence(offset),
        Spot::Returned(part) => Evidence {
            location: Location::Original,
            range: 0..0,
            line: part.line_of(part.words().text.len()),
            words: "the mail returns a message".to_owned(),
        },
    };
    let likeness = tally.verdict(signs, || mail.words.gave_up(&words.text), evidence);
    let passed_on = passed_on.map(|line| line.excerpt(&Location::PassedOn).evidence(0..line.text.len()));
    Weighed { likeness, sender: tally.sender, headed_as_report: tally.headed_as_report, passed_on }
}

/// The mail's own words, and everything that speaks for a kind.
fn tally<'m>(mail: &'m Mail<'m>, returned: &Returned<'_>, signs: &Signs) -> (OwnWords<'m>, Tally<'m>) {
    let mut tally = Tally::default();
    add_sender(mail, signs, &mut tally);
    add_fields(mail, signs, &mut tally);
    add_subject(mail, signs, &mut tally);
    tally.headed_as_report = tally.sum(|speaks_for| Family::of(speaks_for) == Family::Report) >= signs.scale.enough;
    // What stands below a server's own line may look like the header of a message that it quotes.
    let words = words(mail, returned, tally.sender != Sender::Server, !tally.is_of_responder());
    for (sign, range) in signs.find(RowArea::Text, &words.words.text) {
        tally.add(Area::Text, sign, Spot::Text(range.start));
    }
    let returns = |p: &Part<'_>| !p.message.is_empty() || p.content_type.ends_with("headers") || p.original().is_some();
    if let Some(part) = mail.parts.iter().find(|p| returns(p)) {
        let weight = signs.scale.returned_message;
        let (at, sender) = (At::Anywhere, Sender::Untold);
        let sign = Sign { row: None, speaks_for: For::Report, weight, at, sender, to_members: false };
        tally.add(Area::Parts, sign, Spot::Returned(part));
    }
    (words, tally)
}

/// What a sign was found in.
#[derive(Debug, Clone, Copy)]
enum Spot<'m> {
    Header(&'m Field<'m>),
    /// An offset of the normalised text.
    Text(usize),
    Returned(&'m Part<'m>),
}

/// What a mail says itself.
#[derive(Default)]
struct OwnWords<'m> {
    /// The first words of its own texts.
    words: Normalised<'m>,
    /// The line at which a message begins that a person passes on.
    passed_on: Option<Passage<'m>>,
}

/// The first words of the mail's own texts, without what they quote or return; and without what a person passes on,
/// where one may have written it. The rest of the subject is another mail's where it `names_another`.
fn words<'m>(mail: &'m Mail<'m>, returned: &Returned<'_>, may_be_a_person: bool, names_another: bool) -> OwnWords<'m> {
    let mut own = own_words(mail, may_be_a_person);
    // `Undeliverable: Your parcel` and `Your message "Your parcel" did not reach bob@example.com`.
    let named = mail.subject.split_once(':').map(|(_, rest)| rest);
    let named = named.filter(|_| names_another && !may_be_a_person);
    for subject in named.into_iter().chain(returned.original().subject.as_deref()) {
        let subject = fold_words(subject.trim());
        if subject.len() >= SHORTEST_SUBJECT {
            own.words.blank(&subject);
        }
    }
    own
}

/// In octets: shorter ones may be words of any sentence.
const SHORTEST_SUBJECT: usize = 8;

fn own_words<'m>(mail: &'m Mail<'m>, may_be_a_person: bool) -> OwnWords<'m> {
    let mut own = OwnWords::default();
    for part in mail.texts().take(MOST_PARTS) {
        let room = MOST_TEXT.saturating_sub(own.words.text.len());
        let said = part.words().clipped(room);
        let Some(at) = may_be_a_person.then(|| passed_on::begins_at(said.text, mail.words)).flatten() else {
            own.words.push(said, mail.words);
            continue;
        };
        own.words.push(said.slice(0..at), mail.words);
        own.passed_on = said.slice(at..said.text.len()).trimmed().lines().next();
        break;
    }
    own
}

fn add_fields<'m>(mail: &'m Mail<'m>, signs: &Signs, tally: &mut Tally<'m>) {
    let not_to_members = tally.sender == Sender::Server || list_owner::is_addressed(mail);
    for field in mail.fields() {
        let name = field.name.as_ref();
        let rows = signs.rows_of_field(name);
        if rows.is_empty() {
            continue;
        }
        let lower = field.value().to_lowercase();
        // RFC 5321 §4.5.5: the null sender stands beside a responder's fields as beside a bounce's.
        let area = if name.eq_ignore_ascii_case("Return-Path") { Area::ReturnPath } else { Area::Field };
        for sign in signs.of_field(rows, &lower) {
            if !(sign.to_members && not_to_members) {
                tally.add(area, sign, Spot::Header(field));
            }
        }
    }
}

fn add_sender<'m>(mail: &'m Mail<'m>, signs: &Signs, tally: &mut Tally<'m>) {
    let Some(field) = mail.field("From") else { return };
    tally.has_author = true;
    let mut return_address = mail.header("Return-Path").into_iter().flat_map(addresses);
    let from = Address::parse(&mail.from);
    tally.has_return_address = return_address.next().is_some_and(|(_, address)| Some(address) == from);
    let sender = match (mail.from_name.as_str(), mail.from.as_str()) {
        (name, "") => name.to_owned(),
        (name, address) => format!("{name} <{address}>"),
    };
    let normalised = Normalised::of(sender.as_str().into());
    for (sign, range) in signs.find(RowArea::From, &normalised.text) {
        if sign.at != At::Whole || range.len() == normalised.text.len() {
            tally.add(Area::From, sign, Spot::Header(field));
        }
    }
}

/// What stands at the start of a subject says what the mail is; the rest may be the subject of another mail.
fn add_subject<'m>(mail: &'m Mail<'m>, signs: &Signs, tally: &mut Tally<'m>) {
    let Some(field) = mail.field("Subject") else { return };
    let subject = Normalised::of(mail.subject.as_str().into());
    let subject = subject.text.trim_end_matches(['.', '!', ' ']);
    let (starts, answered) = starts(subject, mail.words);
    let forwarded = starts.iter().any(|start| mail.words.have(Role::Forwards, &subject[*start..]));
    if forwarded {
        tally.sender = tally.sender.max(Sender::Person);
    }
    let fits = |(sign, range): &(Sign, Range<usize>)| match sign.at {
        At::Anywhere => true,
        At::Start => starts.contains(&range.start),
        At::Whole => starts.contains(&range.start) && range.end == subject.len(),
    };
    let found: Vec<Sign> = signs.find(RowArea::Subject, subject).filter(fits).map(|(sign, _)| sign).collect();
    let opening = |sign: &&Sign| sign.at != At::Anywhere;
    let opens = found.iter().any(|s| opening(&s));
    for sign in &found {
        let family = Family::of(sign.speaks_for);
        let quoted = opens && !found.iter().filter(opening).any(|s| Family::of(s.speaks_for) == family);
        // What is answered was said by another mail; who forwards a complaint passes it on.
        let of_another = family == Family::Report || (family == Family::Complaint && !forwarded);
        if !(quoted || (answered && of_another)) {
            tally.add(Area::Subject, *sign, Spot::Header(field));
        }
    }
    tally.answered = answered;
}

/// Where a subject starts, read with and without the [tags] and reply prefixes that others put before it, and
/// whether there was such a prefix.
fn starts(subject: &str, words: &Words) -> (Vec<usize>, bool) {
    let mut starts = vec![0];
    let mut answered = false;
    let mut at = 0;
    while starts.len() < MOST_PREFIXES {
        let rest = &subject[at..];
        let close = match rest.chars().next() {
            Some('[') => rest.find(']').map(|i| i + 1),
            Some('{') => rest.find('}').map(|i| i + 1),
            Some(c) if !c.is_alphanumeric() && c != '<' => Some(c.len_utf8()),
            Some(_) => answer_prefix(rest, words).inspect(|_| answered = true).or_else(|| marked(&subject[..at], rest)),
            None => None,
        };
        let Some(close) = close else { break };
        at += close;
        at += subject[at..].len() - subject[at..].trim_start().len();
        starts.push(at);
    }
    (starts, answered)
}

/// The length of a word that scanners put between marks: `***SPAM***`, `_SPAM_`.
fn marked(before: &str, subject: &str) -> Option<usize> {
    const MARKS: [char; 5] = ['*', '_', '#', '-', '='];
    let length = subject.find(MARKS).filter(|length| (1..=LONGEST_MARKED).contains(length))?;
    before.ends_with(MARKS).then_some(length)
}

/// In octets: longer ones are what the subject says.
const LONGEST_MARKED: usize = 20;

/// So many tags and prefixes are taken off.
const MOST_PREFIXES: usize = 16;

/// The length of `re:`, `re[2]:` and the like in other languages.
fn answer_prefix(subject: &str, words: &Words) -> Option<usize> {
    let colon = subject.find(':')?;
    let word = subject[..colon].trim_end();
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | '(' | ')' | '^'));
    words.have(Role::Answers, word).then_some(colon + 1)
}

/// What competes: the kinds of report stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Report,
    Complaint,
    AutoReply,
    NotBounce,
}

impl Family {
    fn of(speaks_for: For) -> Self {
        match speaks_for {
            For::Report | For::Bounce | For::Delayed | For::Delivered => Self::Report,
            For::Complaint => Self::Complaint,
            For::AutoReply => Self::AutoReply,
            For::NotBounce => Self::NotBounce,
        }
    }
}

/// The heaviest sign found for each kind in each area.
#[derive(Debug, Default)]
struct Tally<'m> {
    best: Vec<Best<'m>>,
    /// Whether the subject has a reply prefix.
    answered: bool,
    sender: Sender,
    /// Whether the header alone is that of a report.
    headed_as_report: bool,
    /// Whether it comes back to the address that it is from; a report has nowhere to come back to (RFC 5321 §4.5.5).
    has_return_address: bool,
    /// Whether it has a From at all; what was saved without its header has none.
    has_author: bool,
}

#[derive(Debug)]
struct Best<'m> {
    area: Area,
    row: Option<usize>,
    speaks_for: For,
    weight: u32,
    sender: Sender,
    spot: Spot<'m>,
}

impl<'m> Tally<'m> {
    fn add(&mut self, area: Area, sign: Sign, spot: Spot<'m>) {
        let Sign { row, speaks_for, weight, sender, .. } = sign;
        self.sender = self.sender.max(sender);
        let known = self.best.iter_mut().find(|b| b.area == area && b.speaks_for == speaks_for);
        match known {
            Some(best) if best.weight >= weight => {}
            Some(best) => (best.row, best.weight, best.sender, best.spot) = (row, weight, sender, spot),
            None => self.best.push(Best { area, row, speaks_for, weight, sender, spot }),
        }
    }

    /// Whether its fields are those of a responder, and no program is named in its From.
    fn is_of_responder(&self) -> bool {
        let has = |area, family| self.best.iter().any(|b| b.area == area && Family::of(b.speaks_for) == family);
        has(Area::Field, Family::AutoReply) && !has(Area::From, Family::Report)
    }

    /// The heaviest sign of each area that `counts`, added up.
    fn sum(&self, counts: impl Fn(For) -> bool) -> u32 {
        let areas = [Area::From, Area::ReturnPath, Area::Subject, Area::Field, Area::Text, Area::Parts];
        let heaviest = |area| {
            let of_area = self.best.iter().filter(|b| b.area == area && counts(b.speaks_for));
            of_area.map(|b| b.weight).max().unwrap_or(0)
        };
        areas.into_iter().map(heaviest).sum()
    }

    /// The family that is heaviest, if it is heavy enough.
    fn heaviest(&self, scale: Scale) -> Option<Family> {
        let weight = |family| self.sum(|speaks_for| Family::of(speaks_for) == family);
        // A report wins a tie: a real bounce must not be lost.
        let rising = [Family::NotBounce, Family::AutoReply, Family::Complaint, Family::Report];
        let possible = rising.into_iter().filter(|&family| family != Family::Report || !self.is_a_persons_own());
        let heaviest = possible.max_by_key(|&family| weight(family))?;
        let enough = match heaviest {
            Family::Report if self.may_be_written_by_hand() => scale.enough_by_hand,
            Family::Report if self.is_unsigned() => scale.enough_unsigned,
            Family::Report if self.answered => scale.enough_answered,
            _ => scale.enough,
        };
        (weight(heaviest) >= enough).then_some(heaviest)
    }

    /// Whether it comes from an address that takes answers, and nothing but its subject, its words or a mail that it
    /// attaches is that of a report. Words above a returned message are a program's.
    fn may_be_written_by_hand(&self) -> bool {
        let returns = self.has_of_report(Area::Parts) && self.has_of_report(Area::Text);
        self.has_return_address && self.sender <= Sender::Person && !(self.is_a_programs() || returns)
    }

    /// Whether a person sent it from an address that takes answers, and nothing of its header is that of a report but
    /// the subject: what he pastes, with the returned message or without it, was a report to him.
    fn is_a_persons_own(&self) -> bool {
        self.has_return_address && self.sender == Sender::Person && !self.is_a_programs()
    }

    /// Whether From or another field is that of a program that reports; of `noreply` and `root` is anything, and at
    /// `postmaster` a person may sit.
    fn is_a_programs(&self) -> bool {
        let by_program = |b: &Best<'_>| b.area.is_header() && Family::of(b.speaks_for) == Family::Report;
        let may_be_a_persons = |b: &Best<'_>| b.area == Area::From && b.sender == Sender::Program;
        self.best.iter().any(|b| by_program(b) && b.sender != Sender::Untold && !may_be_a_persons(b))
    }

    /// Whether it has an author, and nothing of its header but the subject, nor a mail that it returns, is that of a report.
    fn is_unsigned(&self) -> bool {
        let elsewhere = |b: &Best<'_>| b.area.is_header() || b.area == Area::Parts;
        self.has_author && !self.best.iter().any(|b| elsewhere(b) && Family::of(b.speaks_for) == Family::Report)
    }

    fn has_of_report(&self, area: Area) -> bool {
        self.best.iter().any(|b| b.area == area && Family::of(b.speaks_for) == Family::Report)
    }

    fn kind(&self, scale: Scale, gave_up: impl FnOnce() -> bool) -> Option<Kind> {
        Some(match self.heaviest(scale)? {
            Family::Report => self.kind_of_report(scale, gave_up),
            Family::Complaint => Kind::Complaint,
            Family::AutoReply => Kind::AutoReply,
            Family::NotBounce => Kind::NotBounce,
        })
    }

    fn verdict(
        &self,
        signs: &Signs,
        gave_up: impl FnOnce() -> bool,
        evidence: impl FnOnce(Spot<'m>) -> Evidence,
    ) -> Option<Likeness> {
        let heaviest = self.heaviest(signs.scale)?;
        let kind = self.kind(signs.scale, gave_up)?;
        let for_it = || self.best.iter().filter(|b| Family::of(b.speaks_for) == heaviest);
        // A subject is the line that a person looks for; one that a person may have written proves little alone.
        let by_program = for_it().any(|b| b.area.is_header());
        let best = for_it().max_by_key(|b| (by_program == (b.area == Area::Subject), b.weight))?;
        Some(Likeness {
            kind: Finding { value: kind, evidence: evidence(best.spot) },
            subject_says_so: best.area == Area::Subject,
            rule: best.row.map(|row| signs.rule(row)),
            format: for_it().find_map(|b| signs.format(b.row?)),
        })
    }

    fn kind_of_report(&self, scale: Scale, gave_up: impl FnOnce() -> bool) -> Kind {
        let weight = |wanted: For| self.sum(|speaks_for| speaks_for == wanted);
        let failed = weight(For::Bounce);
        let delayed = scale.rather_than_failure * weight(For::Delayed);
        let delivered = scale.rather_than_failure * weight(For::Delivered);
        if delivered > failed.max(delayed) {
            Kind::Delivered
        } else if delayed > 0 && delayed >= failed && !gave_up() {
            Kind::Delayed
        } else {
            Kind::Bounce
        }
    }
}
