//! A complaint -> who complained, and the line that says so: feedback reports (RFC 5965), Microsoft's and Yahoo's among
//! them, and whatever else returns the message. Refuses to guess: an address that was made unreadable, that is the
//! sender's or the list's, or that leaves a choice is nobody's; and refuses to know what follows.

use std::collections::HashSet;

use super::{
    MOST_RECIPIENTS, dsn, failed,
    fields::field_name,
    mime::{Field, Mail, Part},
    original,
    passage::Passage,
    words::{Role, Words},
};
use crate::{
    report::{Address, Evidence, Excerpt, Finding, Location, Original},
    text::address_of,
};

/// Who complained, each once.
#[derive(Debug, Default)]
pub(super) struct Complainers {
    pub named: Vec<Finding<Address>>,
    /// How many more are named than one mail may put on record.
    pub left_out: usize,
    known: HashSet<String>,
}

impl Complainers {
    pub fn add(&mut self, one: Finding<Address>) {
        if self.named.len() >= MOST_RECIPIENTS {
            self.left_out += 1;
        } else if self.known.insert(one.value.normalised().to_owned()) {
            self.named.push(one);
        }
    }

    pub fn but_for(mut self, others: &Others<'_>) -> Self {
        self.named.retain(|one| !others.have(&one.value));
        self
    }
}

/// Who can't have complained.
pub(super) struct Others<'m> {
    words: &'m Words,
    original: &'m Original,
    /// Where complaints are sent to, and the envelope sender of the message where the report gives it; normalised.
    ours: HashSet<String>,
    /// The Feedback-Type says that a machine wrote the report by itself.
    everybody: bool,
}

impl<'m> Others<'m> {
    pub fn of(mail: &'m Mail<'m>, original: &'m Original, feedback_type: Option<&str>) -> Self {
        let nobody = |kind: &str| mail.words.have(Role::NobodyComplained, &kind.trim().to_lowercase());
        let addressed = mail.to.iter().filter_map(|to| Address::parse(to));
        Self {
            words: mail.words,
            original,
            ours: addressed.map(|to| to.normalised().to_owned()).collect(),
            everybody: feedback_type.is_some_and(nobody),
        }
    }

    /// Whether an address is the sender's, the list's or that of whoever takes the complaints; or nobody's any more.
    pub fn have(&self, address: &Address) -> bool {
        self.everybody
            || self.original.is_ours(address)
            || self.ours.contains(address.normalised())
            || is_redacted(address.local_part(), address.domain(), self.words)
    }
}

/// Who complained of the message that a mail returns. What the report states goes before what we wrote into our own
/// envelope sender, that before what a server put down in the returned header, and To comes last.
pub(super) fn find(mail: &Mail<'_>, original: &Original) -> Complainers {
    let feedback = Feedback::read(mail);
    let mut others = Others::of(mail, original, feedback.kind.as_deref());
    others.ours.extend(feedback.mail_from.iter().map(|sender| sender.value.normalised().to_owned()));
    let named = feedback.named.but_for(&others);
    if !named.named.is_empty() {
        return named;
    }
    let may_be = |one: &Finding<Address>| !others.have(&one.value);
    let of_sender = feedback.mail_from.as_ref().and_then(from_verp).filter(may_be);
    let of_field = || fields(mail, Role::NamesComplainer).map(|(address, field)| of_mail(address, field)).find(may_be);
    let of_returned = || original::with_header(mail, |header| in_header(header, &others));
    let one = of_sender.or_else(of_field).or_else(of_returned);
    Complainers { named: one.into_iter().collect(), ..Complainers::default() }
}

/// Whom the header of the returned message tells of.
fn in_header(header: &Mail<'_>, others: &Others<'_>) -> Option<Finding<Address>> {
    let may_be = |address: &Address| !others.have(address);
    let stated = fields(header, Role::NamesComplainer).find(|(address, _)| may_be(address));
    let return_path = || {
        let field = header.field("Return-Path")?;
        let sender = of_returned(address_of(field.value())?, field);
        from_verp(&sender).filter(|one| may_be(&one.value))
    };
    let stamped = || {
        let stamps: Vec<_> = fields(header, Role::Stamps).filter(|(address, _)| may_be(address)).collect();
        let (first, _) = stamps.first()?;
        // Those of several mailboxes were forwarded from one to the other, and don't say to which of them we wrote.
        let agree = stamps.iter().all(|(address, _)| address.normalised() == first.normalised());
        stamps.into_iter().next().filter(|_| agree)
    };
    let found = |(address, field)| of_returned(address, field);
    let stated = stated.map(found).or_else(return_path).or_else(|| stamped().map(found));
    stated.or_else(|| original::recipient(header, |address| !may_be(address)).map(found))
}

/// Fields that name somebody are not longer: RFC 5322 §2.1.1 gives a line 998 octets. Evidence quotes the line, and a
/// stranger may write many addresses into a long one.
const LONGEST_VALUE: usize = 998;

/// The header fields that have this role, each with the one address that it begins with: times and servers may follow.
fn fields<'m>(mail: &'m Mail<'_>, role: Role) -> impl Iterator<Item = (Address, &'m Field<'m>)> {
    let with_role = move |field: &&Field<'_>| mail.words.have(role, &field.name.to_ascii_lowercase());
    mail.fields().iter().filter(with_role).filter_map(|field| {
        let value = Some(field.value()).filter(|value| value.len() <= LONGEST_VALUE)?;
        let first = || dsn::address(value.split([';', ' ']).next()?);
        Some((dsn::address(value).or_else(first)?, field))
    })
}

fn of_mail(address: Address, field: &Field<'_>) -> Finding<Address> {
    let evidence = field.evidence_of(address.given());
    Finding { value: address, evidence }
}

fn of_returned(address: Address, field: &Field<'_>) -> Finding<Address> {
    let location = Location::OriginalHeader(field.name.clone().into_owned().into());
    let Finding { value, evidence } = of_mail(address, field);
    Finding { value, evidence: Evidence { location, ..evidence } }
}

/// `bounce+anna=example.org@shop.example` was sent to `anna@example.org`. Senders put numbers and words of their own in
/// front of the name (`bounces+17-x-anna=…`, `list-return-17-anna=…`): then nothing tells where it begins.
fn from_verp(sender: &Finding<Address>) -> Option<Finding<Address>> {
    let address = failed::from_verp(sender.value.given())?;
    let plain = sender.value.local_part().contains('+') && !address.local_part().contains(['+', '-', '=']);
    plain.then(|| Finding { value: address, evidence: sender.evidence.clone() })
}

/// What the machine-readable part says.
#[derive(Default)]
struct Feedback {
    named: Complainers,
    /// Original-Mail-From.
    mail_from: Option<Finding<Address>>,
    /// Feedback-Type.
    kind: Option<String>,
}

impl Feedback {
    fn read(mail: &Mail<'_>) -> Self {
        let mut feedback = Self::default();
        let Some(part) = mail.parts.iter().find(|part| is_feedback(part)) else { return feedback };
        dsn::each_field(dsn::own_text(part), |field| {
            let Some(name) = field.name else { return };
            let value = field.excerpt(name.to_owned());
            if value.as_str().len() > LONGEST_VALUE {
                return;
            }
            let lower = name.to_ascii_lowercase();
            if mail.words.have(Role::NamesComplainer, &lower) {
                feedback.add_named(&value);
            } else if lower == "original-mail-from" {
                let evidence = value.evidence(0..value.as_str().len());
                feedback.mail_from = address_of(value.as_str()).map(|value| Finding { value, evidence });
            } else if lower == "feedback-type" {
                feedback.kind = Some(value.as_str().to_owned());
            }
        });
        feedback
    }

    /// QUIRK: several addresses in one field, which RFC 5965 §3.2 wants to be repeated instead.
    fn add_named(&mut self, value: &Excerpt) {
        let text = value.as_str();
        let pieces = if dsn::address(text).is_some() { vec![text] } else { text.split(',').collect() };
        let mut at = 0;
        for piece in pieces {
            if let Some(address) = dsn::address(piece) {
                let (start, octets) =
                    piece.find(address.given()).map_or((0, piece.len()), |start| (start, address.given().len()));
                let evidence = value.evidence(at + start..at + start + octets);
                self.named.add(Finding { value: address, evidence });
            }
            at += piece.len() + 1;
        }
    }
}

/// QUIRK: the part may have lost its type on the way.
fn is_feedback(part: &Part<'_>) -> bool {
    let has_type = |own: Passage<'_>| {
        own.lines().any(|line| field_name(line.text).is_some_and(|name| name.eq_ignore_ascii_case("Feedback-Type")))
    };
    part.content_type == "message/feedback-report" || (part.message.is_empty() && has_type(dsn::own_text(part)))
}

/// Whether an address was made unreadable (RFC 6590): by words of the table, by a mask or by a digest.
pub(super) fn is_redacted(local_part: &str, domain: &str, words: &Words) -> bool {
    let is_word = |piece: &str| words.have(Role::Redacted, &piece.to_lowercase());
    local_part.split(|c: char| !c.is_alphanumeric()).chain(domain.split('.')).any(is_word)
        || is_masked(local_part)
        || is_digest(local_part)
}

/// `b***`, `xxxx`, `---`.
fn is_masked(local_part: &str) -> bool {
    let mut spoken = local_part.chars().filter(|c| c.is_alphanumeric()).peekable();
    let nothing = spoken.peek().is_none();
    let letters = spoken.clone().count();
    !local_part.is_empty()
        && (nothing || local_part.contains('*') || (letters >= 3 && spoken.all(|c| matches!(c, 'x' | 'X'))))
}

/// As many hexadecimal digits as MD5 and the SHA family give, or base64 with its padding.
fn is_digest(local_part: &str) -> bool {
    let hexadecimal = local_part.bytes().all(|b| b.is_ascii_hexdigit());
    (hexadecimal && matches!(local_part.len(), 32 | 40 | 56 | 64 | 96 | 128)) || local_part.ends_with('=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Options, parse};

    #[test]
    fn what_was_made_unreadable_is_nobodys() {
        let words = Words::embedded();
        let digests = ["0f".repeat(16), "0F".repeat(20), "0f".repeat(32), "aGVsbG8gd29ybGQhIHRlc3QgMTI=".to_owned()];
        let local_parts =
            ["redacted", "REDACTED", "user-redacted", "[redacted]", "removed", "a***", "***", "xxx", "xx.xx", "---"];
        for local in local_parts.into_iter().chain(digests.iter().map(String::as_str)) {
            assert!(is_redacted(local, "example.com", &words), "{local}");
        }
        assert!(is_redacted("anna", "redacted.example", &words) && is_redacted("anna", "loops.invalid", &words));
        let long = "0f".repeat(17);
        for local in ["anna", "reda.cted", "removals", "x", "xx", "xxl", "maxxx", "anna=b", "a-b", "1234", &long] {
            assert!(!is_redacted(local, "unredacted.example.xxx", &words), "{local}");
        }
        assert!(!is_redacted("", "", &words));
    }

    #[test]
    fn an_envelope_sender_names_whom_it_was_made_for_where_nothing_else_is_possible() {
        let of = |sender: &str| {
            let evidence = Evidence::of_structure(sender);
            from_verp(&Finding { value: Address::parse(sender).expect(sender), evidence }).map(|one| one.value)
        };
        for sender in ["bounce+anna=example.com@letters.example", "prvs=17ab=bounce+anna=example.com@letters.example"] {
            assert_eq!(of(sender), Address::parse("anna@example.com"), "{sender}");
        }
        for sender in [
            "news@letters.example",
            "bounce+anna@letters.example",
            "bounce+17+anna=example.com@letters.example",
            "bounces+7741-a1b2-anna=example.com@letters.example",
            "bounce+anna-maria=example.com@letters.example",
            "bounces-anna=example.com@letters.example",
            "list-return-17-anna-maria=example.com@letters.example",
            "SRS0=17ab=XY=letters.example=news.letter@loops.example",
            "SRS0+17ab=XY=letters.example=news.letter@loops.example",
        ] {
            assert_eq!(of(sender), None, "{sender}");
        }
    }

    fn complaint(fields: &str) -> Vec<u8> {
        format!(
            "From: fbl@loops.example\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\
             Content-Type: message/feedback-report\n\nFeedback-Type: abuse\n{fields}\n--b--\n"
        )
        .into_bytes()
    }

    #[test]
    fn one_mail_puts_only_so_many_on_record() {
        let fields: String =
            (0..MOST_RECIPIENTS + 3).map(|n| format!("Original-Rcpt-To: <user{n}@example.com>\n")).collect();
        let report = parse(&complaint(&fields), &Options::default());
        assert_eq!((report.complainers.len(), report.left_out), (MOST_RECIPIENTS, 3));
    }

    #[test]
    fn the_evidence_is_the_address_in_its_line() {
        let mail = complaint("Original-Rcpt-To: <anna@example.com>,\n\tcarl@example.com\n");
        let report = parse(&mail, &Options::default());
        let told: Vec<_> =
            report.complainers.iter().map(|one| (&one.evidence.line, one.evidence.words.as_str())).collect();
        assert_eq!(told, [(&Some(8), "<anna@example.com>,"), (&Some(9), "carl@example.com")]);
        let part = "Feedback-Type: abuse\nOriginal-Rcpt-To: <anna@example.com>,\n\tcarl@example.com\n";
        for one in &report.complainers {
            assert_eq!(&part[one.evidence.range.clone()], one.value.given());
        }
    }
}
