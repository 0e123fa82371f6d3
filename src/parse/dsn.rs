//! The machine-readable part of a DSN -> [`Draft`] (RFC 3464; RFC 6533 for internationalised ones).
//! Reads what the fields say and tolerates how real programs write them; refuses to judge.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{
    Draft, MOST_RECIPIENTS,
    blocks::MOST_ABOUT,
    failed,
    fields::{self, field_name, has_status_fields, names_recipient},
    general::{self, found},
    kinds::{self, Carried},
    mime::{Mail, Part},
    passage::Passage,
    reply::{self, Certainty},
    tables::Tables,
    words::{Role, Words},
};
use crate::{
    codes::{EnhancedStatusCode, ReplyCode},
    report::{Action, Address, Evidence, Excerpt, Finding, Location, Original, Recipient},
    text::{address_of, addresses, is_same_mailbox, organisation, split_lines, unescaped},
};

/// Reads the delivery-status parts of a mail; `None` when there is none that names a recipient or an outcome.
pub(super) fn read(mail: &Mail<'_>, original: &Original, tables: &Tables) -> Option<Draft> {
    let mut draft = Draft::default();
    for part in mail.parts.iter().filter(|p| is_status_part(p)) {
        read_part(own_text(part), &tables.words, &mut draft);
    }
    if draft.recipients.is_empty() {
        return None;
    }
    forget_answers_to_others(&mut draft.recipients);
    let human = mail.texts().find(|p| !p.has_status_fields()).or_else(|| mail.texts().next());
    let words = human.map(|p| before_fields(p.words()).clipped(general::MOST_WORDS)).unwrap_or_default();
    trace(words.text, tables, &mut draft.recipients);
    name_the_nameless(mail, original, words.text, tables, &mut draft.recipients);
    add_words(words, &mut draft.recipients, &tables.words);
    let is_delayed = |r: &Recipient| r.action == Action::Delayed;
    if draft.recipients.iter().any(is_delayed) && kinds::gave_up(words, &tables.words) {
        // QUIRK: OpenSMTPD and nullmailer report their final expiry as "delayed".
        let delayed = draft.recipients.iter_mut().filter(|r| is_delayed(r));
        delayed.for_each(|r| (r.action, r.action_because) = (Action::Failed, None));
    }
    draft.recipients.iter_mut().for_each(|recipient| settle_codes(recipient, &tables.words));
    Some(draft)
}

/// The fields of RFC 3464 in a mail.
pub(super) struct Fields {
    /// Where they stand.
    pub carried: Carried,
    /// The first of those that name a recipient.
    pub first: Evidence,
}

/// Finds them without reading them.
pub(super) fn find_fields(mail: &Mail<'_>) -> Option<Fields> {
    let of = |part: &Part<'_>, carried| {
        let mut lines = own_text(part).lines();
        let names = |line: &Passage<'_>| field_name(line.text.trim_start()).is_some_and(names_recipient);
        let line = lines.find(names).unwrap_or_default();
        let first = line.excerpt(&Location::TextPart).evidence(0..line.text.len());
        Fields { carried, first }
    };
    let typed = mail.parts.iter().find(|p| p.has_report_type()).map(|part| of(part, Carried::Part));
    // The fields of a returned message are not this mail's.
    let own = |p: &Part<'_>| !p.is_human() || p.original().is_none() || has_status_fields(own_text(p).text);
    let untyped = || mail.parts.iter().find(|p| is_status_part(p) && own(p));
    typed.or_else(|| untyped().map(|part| of(part, Carried::Text)))
}

/// The first field that names a recipient among words that are quoted.
pub(super) fn shown_fields(mail: &Mail<'_>) -> Option<Evidence> {
    let line = mail.texts().flat_map(|part| Passage::of_part(part).lines()).find(|line| {
        let unquoted = line.text.trim_start_matches([' ', '>', '|']);
        unquoted.len() < line.text.len() && field_name(unquoted).is_some_and(names_recipient)
    })?;
    Some(line.excerpt(&Location::PassedOn).evidence(0..line.text.len()))
}

/// QUIRK: a report mislabelled as text may have the returned message behind it.
pub(super) fn own_text<'m>(part: &'m Part<'m>) -> Passage<'m> {
    if part.is_human() { part.words() } else { Passage::of_part(part) }
}

fn is_status_part(part: &Part<'_>) -> bool {
    part.has_report_type() || (part.message.is_empty() && part.has_status_fields())
}

/// QUIRK: a report that lost its MIME structure has the words and the fields in one text.
fn before_fields(words: Passage<'_>) -> Passage<'_> {
    let begins = fields::begin_at(words.text).unwrap_or(words.text.len());
    words.slice(0..begins)
}

/// One recipient's fields as they come in.
#[derive(Default)]
struct Group {
    recipient: Recipient,
    action: Option<Finding<Action>>,
    actual_recipient: Option<String>,
    any: bool,
    named: bool,
}

impl Group {
    /// QUIRK: blank lines within the fields of one recipient. What stands behind them is his if it names nobody and says
    /// nothing twice; or if it gives the other name of one of whom nothing is said yet.
    fn goes_on_with(&self, behind: &Self) -> bool {
        let (has, adds) = (self.outcome(), behind.outcome());
        let gives_the_other_name = has == [false; 4]
            && self.recipient.final_recipient.is_none()
            && behind.recipient.original_recipient.is_none();
        let says_twice = has.into_iter().zip(adds).any(|(has, adds)| has && adds);
        self.named && !says_twice && (!behind.named || gives_the_other_name)
    }

    /// Which of the fields are there that say what became of the message.
    const fn outcome(&self) -> [bool; 4] {
        let Recipient { statuses, replies, remote_mta, diagnostic, .. } = &self.recipient;
        let status = !statuses.is_empty() || !replies.is_empty();
        [self.action.is_some(), status, remote_mta.is_some(), diagnostic.is_some()]
    }

    /// Takes in what a blank line parted from it.
    fn take_in(&mut self, behind: Self) {
        let (all, more) = (&mut self.recipient, behind.recipient);
        all.final_recipient = all.final_recipient.take().or(more.final_recipient);
        all.statuses.extend(more.statuses);
        all.replies.extend(more.replies);
        all.remote_mta = all.remote_mta.take().or(more.remote_mta);
        all.diagnostic = all.diagnostic.take().or(more.diagnostic);
        all.text.append(&more.text);
        self.action = self.action.take().or(behind.action);
        self.actual_recipient = self.actual_recipient.take().or(behind.actual_recipient);
    }
}

fn read_part(part: Passage<'_>, words: &Words, draft: &mut Draft) {
    let (mut last, mut group) = (Group::default(), Group::default());
    each_field(part, |field| {
        let Some(name) = field.name else {
            close(&mut group, &mut last, draft);
            return;
        };
        // QUIRK: some programs write the groups without a blank line between them.
        if name.eq_ignore_ascii_case("Final-Recipient") && group.recipient.final_recipient.is_some() {
            close(&mut group, &mut last, draft);
        }
        read_field(name, &field, words, &mut group, draft);
    });
    close(&mut group, &mut last, draft);
    finish(last, draft);
}

/// Puts what stands before a blank line to the group before it, or begins another one with it.
fn close(group: &mut Group, last: &mut Group, draft: &mut Draft) {
    let group = std::mem::take(group);
    if !group.any {
        return;
    }
    if last.goes_on_with(&group) {
        last.take_in(group);
    } else {
        finish(std::mem::replace(last, group), draft);
    }
}

/// A field, or with no name the blank line behind a group.
pub(super) struct Field<'m> {
    /// Its name, as written.
    pub name: Option<&'m str>,
    /// Its first line, name and all.
    line: Passage<'m>,
    /// What stands in its first line behind the colon.
    first: Passage<'m>,
    /// The folded lines.
    more: Vec<Passage<'m>>,
}

impl<'m> Field<'m> {
    /// Its value on one line.
    fn value(&self) -> Cow<'m, str> {
        self.more.iter().fold(Cow::Borrowed(self.first.text), |all, line| all + " " + line.text)
    }

    /// Its value on one line, with the lines that it was folded into.
    pub fn excerpt(&self, name: impl Into<Cow<'static, str>>) -> Excerpt {
        let location = Location::Field(name.into());
        let mut value = self.first.excerpt(&location);
        for line in &self.more {
            value.push_between(' ');
            value.append(&line.excerpt(&location));
        }
        value
    }

    fn evidence(&self, name: &'static str) -> Evidence {
        let value = self.excerpt(name);
        value.evidence(0..value.as_str().len())
    }
}

/// Hands out field by field, folded lines with the field that they belong to. One at a time: a stranger may send
/// hundreds of thousands.
pub(super) fn each_field<'m>(part: Passage<'m>, mut read: impl FnMut(Field<'m>)) {
    let mut open: Option<Field<'m>> = None;
    let indent = fields::indent(part.text);
    for line in part.lines() {
        let line = line.without_start(indent);
        let blank = line.text.trim().is_empty();
        let next = match (field_name(line.text).filter(|_| !blank), &mut open) {
            (Some(name), _) => {
                let colon = line.text.find(':').unwrap_or(0);
                let first = line.slice(colon + 1..line.text.len()).trimmed();
                Field { name: Some(name), line, first, more: Vec::new() }
            }
            _ if blank => Field { name: None, line, first: line.trimmed(), more: Vec::new() },
            (None, Some(field)) => {
                // QUIRK: continuation lines of a reply often lack the leading blank.
                field.more.push(line.trimmed());
                continue;
            }
            (None, None) => continue,
        };
        open.replace(next).into_iter().for_each(&mut read);
        // Nothing goes on behind a blank line.
        open.take_if(|field| field.name.is_none()).into_iter().for_each(&mut read);
    }
    open.into_iter().for_each(read);
}

/// The fields that are read (RFC 3464 §2.2 and §2.3), and those that programs add.
const FIELDS: [&str; 11] = [
    "Reporting-MTA",
    "Original-Recipient",
    "Final-Recipient",
    "X-Actual-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "X-Notes",
    "X-Supplementary-Info",
    "X-PowerMTA-BounceCategory",
];

fn read_field(name: &str, field: &Field<'_>, words: &Words, group: &mut Group, draft: &mut Draft) {
    let recipient = &mut group.recipient;
    let some = |v: &str| (!v.is_empty()).then(|| v.to_owned());
    let Some(known) = FIELDS.iter().find(|known| known.eq_ignore_ascii_case(name)) else { return };
    let value = field.value();
    match *known {
        "Reporting-MTA" => draft.reporting_mta = some(after_type(&value)),
        "Original-Recipient" => {
            recipient.original_recipient = some(&value);
            group.named = true;
        }
        "Final-Recipient" => {
            recipient.final_recipient = some(&value);
            group.named = true;
        }
        "X-Actual-Recipient" => group.actual_recipient = some(&value),
        "Action" => {
            group.action = action(&value, words).map(|value| Finding { value, evidence: field.evidence("Action") });
        }
        "Status" => read_status(&value, field, recipient),
        "Remote-MTA" => recipient.remote_mta = some(after_type(&value)),
        "Diagnostic-Code" => {
            let words = field.excerpt("Diagnostic-Code");
            let typed = value.len() - after_type(&value).len();
            add_diagnostic(&words.slice(typed..value.len()), recipient);
        }
        // Domino's own words; Diagnostic-Code is often empty or generic beside them.
        "X-Notes" => add_diagnostic(&field.excerpt("X-Notes"), recipient),
        "X-Supplementary-Info" => add_diagnostic(&field.excerpt("X-Supplementary-Info"), recipient),
        // PowerMTA's own judgement, such as bad-mailbox: phrases know it by the name of the field.
        "X-PowerMTA-BounceCategory" => {
            recipient.text.append(&field.line.excerpt(&Location::Field("X-PowerMTA-BounceCategory".into())));
            recipient.text.push_between('\n');
        }
        _ => return,
    }
    group.any |= *known != "Reporting-MTA";
}

fn add_diagnostic(words: &Excerpt, recipient: &mut Recipient) {
    if words.is_empty() {
        return;
    }
    let diagnostic = recipient.diagnostic.get_or_insert_default();
    if !diagnostic.is_empty() {
        diagnostic.push_between(' ');
    }
    diagnostic.append(&words.clipped(MOST_ABOUT.saturating_sub(diagnostic.as_str().len())));
}

/// RFC 3464 §2.1.2: `type ; value`. The type is often missing, so only one that is a single word counts.
pub(super) fn after_type(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, rest)) if kind.trim().len() <= 20 && !kind.trim().contains([' ', '@']) => rest.trim(),
        _ => value,
    }
}

/// RFC 3464 §2.3.3; comments and synonyms that programs really use are understood.
fn action(value: &str, words: &Words) -> Option<Action> {
    let word: String =
        value.trim().chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let has = |role| words.have(role, &word);
    match word.as_str() {
        "failed" => Some(Action::Failed),
        "delayed" => Some(Action::Delayed),
        "delivered" => Some(Action::Delivered),
        "relayed" => Some(Action::Relayed),
        "expanded" => Some(Action::Expanded),
        _ if has(Role::Failed) => Some(Action::Failed),
        _ if has(Role::Delayed) => Some(Action::Delayed),
        _ if has(Role::Delivered) => Some(Action::Delivered),
        _ => None,
    }
}

/// RFC 3464 §2.3.4. QUIRK: comments behind it, and reply codes in its place.
fn read_status(value: &str, field: &Field<'_>, recipient: &mut Recipient) {
    let first = value.trim().trim_start_matches('#').split([' ', '(', ';', ',']).next().unwrap_or("");
    let evidence = || field.evidence("Status");
    if let Ok(code) = first.parse::<EnhancedStatusCode>() {
        recipient.statuses.push(Finding { value: code, evidence: evidence() });
    } else if let Ok(code) = first.parse::<ReplyCode>() {
        recipient.replies.push(Finding { value: code, evidence: evidence() });
    }
}

fn finish(mut group: Group, draft: &mut Draft) {
    // The per-message fields form a group of their own (RFC 3464 §2.1): it names no recipient and no outcome.
    let outcome = group.action.is_some() || !group.recipient.statuses.is_empty();
    if !group.any || !(group.named || outcome) {
        return;
    }
    if draft.recipients.len() >= MOST_RECIPIENTS {
        draft.left_out += 1;
        return;
    }
    let r = &mut group.recipient;
    (r.action, r.action_because) = match (group.action, r.statuses.first()) {
        (Some(action), _) => (action.value, Some(action.evidence)),
        // QUIRK: an Action field that is missing or can't be read; a success code still tells it from a failure.
        (None, Some(status)) if status.value.class_digit() == 2 => (Action::Delivered, Some(status.evidence.clone())),
        (None, _) => (Action::default(), None),
    };
    r.address = [&r.original_recipient, &r.final_recipient, &group.actual_recipient]
        .into_iter()
        .find_map(|field| field.as_deref().and_then(address));
    let actual = group.actual_recipient.as_deref().and_then(address);
    let host = draft.reporting_mta.as_deref();
    let led_to = actual.filter(|actual| r.address.as_ref().is_some_and(|mailed| leads_to(mailed, actual, host)));
    r.forwarded_to = led_to.map(|actual| actual.given().to_owned());
    draft.recipients.push(group.recipient);
}

/// Whether Sendmail's aliases led from the address that we mailed to another mailbox. It delivers to its own users under
/// the name of its host.
fn leads_to(mailed: &Address, actual: &Address, host: Option<&str>) -> bool {
    let own_user = host.is_some_and(|host| host.eq_ignore_ascii_case(actual.domain()));
    !(is_same_mailbox(mailed, actual) || (own_user && mailed.local_part() == actual.local_part()))
}

/// The mailbox that a report speaks of, where it is another than the one that we mailed.
pub(super) fn forwarded_to(recipient: &Recipient) -> Option<String> {
    let mailed = recipient.address.as_ref()?;
    let last = recipient.final_recipient.as_deref().and_then(address)?;
    (!is_same_mailbox(mailed, &last)).then(|| last.given().to_owned())
}

/// The mailbox of another organisation that the server's answer speaks of: one that forwards a message while it takes it
/// passes on the answer that it got. Under the same local part, or at the same organisation, it calls the same one by
/// another name.
pub(super) fn refused_behind(recipient: &Recipient, at_senders: impl Fn(&Address) -> bool) -> Option<String> {
    let mailed = recipient.address.as_ref()?;
    let other = recipient.answered_for_another().filter(|other| !at_senders(other))?;
    let [own, others] = [mailed, &other].map(|address| organisation(address.domain()));
    let moved = own.is_some() && others.is_some() && own != others;
    (moved && mailed.local_part() != other.local_part()).then(|| other.given().to_owned())
}

/// The address in an Original-Recipient or Final-Recipient field.
pub(super) fn address(field: &str) -> Option<Address> {
    let (kind, value) = field.split_once(';').unwrap_or(("", field));
    // QUIRK: Exchange and others omit the "rfc822;" prefix.
    let value = if kind.contains('@') { field } else { value }.trim();
    let decoded =
        if kind.trim().eq_ignore_ascii_case("utf-8") { unescaped(value, |_| true) } else { from_xtext(value) };
    address_of(&decoded)
}

/// RFC 3461 §4: `+HEX`. QUIRK: RFC 3464 wants it decoded already, and `bob+4a@` is a fine address; so only codes
/// of the characters that an MTA must encode are decoded.
fn from_xtext(value: &str) -> String {
    if value.contains("+40") || value.contains("+2B") || value.contains("+3D") {
        return value.replace("+40", "@").replace("+3D", "=").replace("+2B", "+");
    }
    value.to_owned()
}

/// QUIRK: nullmailer gives each recipient the answer that one of them got. One that several have and that names some of
/// them is theirs alone; of the others the mail does not say why they failed.
fn forget_answers_to_others(recipients: &mut [Recipient]) {
    let mut answers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, recipient) in recipients.iter().enumerate() {
        if let Some(diagnostic) = &recipient.diagnostic {
            answers.entry(diagnostic.as_str()).or_default().push(i);
        }
    }
    let mut not_theirs = Vec::new();
    for (answer, given_to) in answers.into_iter().filter(|(_, given_to)| given_to.len() > 1) {
        let named: HashSet<String> = addresses(answer).map(|(_, address)| address.normalised().to_owned()).collect();
        let is_named = |i: &usize| names(&recipients[*i]).any(|name| named.contains(name.normalised()));
        let (theirs, others): (Vec<usize>, Vec<usize>) = given_to.into_iter().partition(is_named);
        if !theirs.is_empty() {
            not_theirs.extend(others);
        }
    }
    for i in not_theirs {
        let recipient = &mut recipients[i];
        (recipient.diagnostic, recipient.statuses, recipient.replies) = (None, Vec::new(), Vec::new());
    }
}

/// QUIRK: without Original-Recipient, only the words tell whom we mailed: `(generated from board@example.org)`.
fn trace(words: &str, tables: &Tables, recipients: &mut [Recipient]) {
    if recipients.iter().all(|r| r.original_recipient.is_some()) {
        return;
    }
    let origins = failed::origins(words, tables);
    for recipient in recipients.iter_mut().filter(|r| r.original_recipient.is_none()) {
        let mailed = recipient.address.as_ref().and_then(|shown| origins.get(shown.normalised()));
        recipient.address = mailed.cloned().or(recipient.address.take());
    }
}

/// Every address by which the fields of a recipient call it.
fn names(recipient: &Recipient) -> impl Iterator<Item = Address> {
    let fields = [&recipient.original_recipient, &recipient.final_recipient].into_iter().flatten();
    fields.filter_map(|field| address(field)).chain(recipient.address.clone())
}

/// QUIRK: a group without an address: the mail names it elsewhere.
fn name_the_nameless(mail: &Mail<'_>, original: &Original, words: &str, tables: &Tables, recipients: &mut [Recipient]) {
    let known: Vec<Address> = recipients.iter().filter_map(|r| r.address.clone()).collect();
    let only = recipients.len() == 1;
    let mut nameless = recipients.iter_mut().filter(|r| r.address.is_none() && r.address_given().is_none());
    let (Some(recipient), None) = (nameless.next(), nameless.next()) else { return };
    let elsewhere = failed::find(mail, original, words, only, tables).into_iter().map(|f| f.mailed);
    recipient.address = elsewhere.into_iter().find(|a| !known.contains(a));
}

/// Gives each recipient what the human part says of it: Sendmail's DSN has only the first line of a reply.
fn add_words(words: Passage<'_>, recipients: &mut [Recipient], table: &Words) {
    let names: Vec<String> = recipients
        .iter()
        .map(|r| {
            let led_to =
                r.forwarded_to.as_deref().filter(|led_to| words.text.contains(led_to)).and_then(Address::parse);
            let named = led_to.or_else(|| r.final_recipient.as_deref().and_then(address)).or_else(|| r.address.clone());
            named.map_or_else(String::new, |a| a.normalised().to_owned())
        })
        .collect();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    for (recipient, said) in recipients.iter_mut().zip(general::words_of_each(words, &wanted, table)) {
        recipient.text.append(&said.text);
        recipient.remote_mta = recipient.remote_mta.take().or(said.host);
    }
}

/// Collects the codes of the diagnostic and the words, and puts the most telling first.
pub(super) fn settle_codes(recipient: &mut Recipient, table: &Words) {
    // QUIRK: Sendmail leaves Diagnostic-Code out, or fills it with its last exchange ("221 2.0.0 Bye").
    if recipient.diagnostic.as_ref().is_none_or(|d| is_farewell(d.as_str()))
        && let Some(said) = remote_words(&recipient.text)
    {
        recipient.diagnostic = Some(said);
    }
    let mut of_diagnostic = None;
    if let Some(diagnostic) = &recipient.diagnostic {
        let words = diagnostic.as_str();
        let cause = reply::cause_of_expiry(words, table).unwrap_or(words);
        // What the cause leaves out stands in front of it.
        let before = words.len() - cause.len();
        if let Some((at, code)) = reply::best_reply(cause, Certainty::Weak, table) {
            recipient.replies.insert(0, found(diagnostic, before + at, code));
        }
        of_diagnostic = reply::best_status(cause, table).map(|(at, code)| found(diagnostic, before + at, code));
    }
    let text = &recipient.text;
    if recipient.replies.is_empty()
        && let Some((at, code)) = reply::best_reply(text.as_str(), Certainty::Strong, table)
    {
        recipient.replies.push(found(text, at, code));
    }
    let has_own_status = of_diagnostic.is_some();
    match of_diagnostic {
        // The remote server's own code stands in front: reporting MTAs shorten it or fall back to x.0.0.
        Some(status) => recipient.statuses.insert(0, status),
        None if recipient.statuses.iter().all(|s| s.value.is_bare()) => {
            let status = reply::best_status(text.as_str(), table);
            let is_cause = |at| {
                recipient.reply().is_some_and(reply::is_consequence) || !reply::is_of_consequence(text.as_str(), at)
            };
            let status = status.filter(|(at, _)| is_cause(*at));
            recipient.statuses.extend(status.map(|(at, code)| found(text, at, code)));
        }
        None => {}
    }
    most_telling_first(&mut recipient.statuses);
    let mut answer_has_none = !has_own_status && recipient.status().is_some_and(reply::is_filler);
    if let Some(diagnostic) = &mut recipient.diagnostic
        && let Some(at) = reply::quoted_at(diagnostic.as_str(), table)
    {
        *diagnostic = diagnostic.slice(at..diagnostic.as_str().len());
        answer_has_none = reply::best_status(diagnostic.as_str(), table).is_none();
    }
    let answered = recipient.reply().is_some_and(|reply| !reply::is_of_syntax(reply));
    recipient.status_is_made_up = (answer_has_none && answered)
        || recipient.status().is_some_and(|status| is_made_up(status, &recipient.text, table));
}

/// QUIRK: Sendmail makes 5.1.1 of any 550, 551 and 553 to which the remote server gave no enhanced status code.
fn is_made_up(status: EnhancedStatusCode, transcript: &Excerpt, table: &Words) -> bool {
    // Most words are no transcript.
    Some(status) == EnhancedStatusCode::new(5, 1, 1)
        && transcript.as_str().contains("<<< ")
        && remote_words(transcript).is_some_and(|said| {
            let said = said.as_str();
            MADE_OF.iter().any(|code| said.starts_with(code)) && reply::best_status(said, table).is_none()
        })
}

/// sendmail(8), usersmtp.c, smtprcptstat: EX_NOUSER.
const MADE_OF: [&str; 3] = ["550", "551", "553"];

/// A success reply that says nothing of why the recipient failed.
fn is_farewell(diagnostic: &str) -> bool {
    diagnostic.starts_with('2') && diagnostic.get(..3).is_some_and(|code| code.parse::<ReplyCode>().is_ok())
}

/// What the remote server said in Sendmail's transcript (`<<< 550 5.1.1 …`): the first failure, all its lines.
fn remote_words(transcript: &Excerpt) -> Option<Excerpt> {
    let mut said = Excerpt::default();
    let mut at = 0;
    for line in split_lines(transcript.as_str()) {
        let words = line.trim().strip_prefix("<<< ").filter(|words| words.starts_with(['4', '5']));
        // A multi-line reply repeats its code (RFC 5321 §4.2.1); what follows with another code is another reply.
        let goes_on = |words: &&str| words.get(..3).is_some_and(|code| said.as_str().starts_with(code));
        match words.filter(|words| said.is_empty() || goes_on(words)) {
            Some(words) => {
                if !said.is_empty() {
                    said.push_between(' ');
                }
                let start = at + line.trim_end().len() - words.len();
                said.append(&transcript.slice(start..start + words.len()).within(&Location::Transcript));
            }
            None if !said.is_empty() => break,
            None => {}
        }
        at += line.len();
    }
    (said.as_str().len() >= 3).then_some(said)
}

/// `x.0.0` says nothing that its class digit does not: it goes behind any other code.
fn most_telling_first(statuses: &mut [Finding<EnhancedStatusCode>]) {
    statuses.sort_by_key(|s| s.value.is_bare());
}
