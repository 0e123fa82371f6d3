//! The programs whose files are read: the fields by which each is known, and what their words mean. Adding one adds its
//! shapes here and its name to [`Form`].

use super::{
    About, Entry, Form, Left, Record, Row, Since, date,
    records::{Kind, WHOLE_LINE, address},
};
use crate::{report::Address, suppression::Origin};

/// What a word of a file makes of its row.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Suppressed,
    Complained,
    /// As our own list says: its copy says no less.
    As(Origin),
    /// A bounce, or a block that says nothing of the address.
    BounceOrBlock,
    Left(Left),
}

use Fate::{As, BounceOrBlock, Complained, Suppressed};

/// The fields of one kind of file.
#[derive(Debug)]
struct Shape {
    form: Form,
    /// A record with all of these, …
    needs: &'static [&'static str],
    /// … and, where they are few, with no others than these, is of this shape.
    only: Option<&'static [&'static str]>,
    address: &'static str,
    since: &'static str,
    /// The field that decides, what its words mean, and what the others mean; `None`: they are errors.
    decides: Option<(&'static str, &'static [(&'static str, Fate)])>,
    otherwise: Option<Fate>,
    /// The parts of the refusal, as a server would say it.
    refusal: &'static [&'static str],
    note: &'static str,
}

const NONE: Shape = Shape {
    form: Form::Text,
    needs: &[],
    only: None,
    address: "email",
    since: "",
    decides: None,
    otherwise: None,
    refusal: &[],
    note: "",
};

/// From the top: the first that fits.
const SHAPES: &[Shape] = &[
    Shape { needs: &[WHOLE_LINE], address: WHOLE_LINE, otherwise: Some(Suppressed), ..NONE },
    Shape {
        form: Form::Bounced,
        needs: &["address", "origin", "since"],
        address: "address",
        since: "since",
        decides: Some((
            "origin",
            &[
                ("complaint", Complained),
                ("hard", As(Origin::Hard)),
                ("soft", As(Origin::Soft)),
                ("manual", As(Origin::Manual)),
                ("import", Suppressed),
            ],
        )),
        refusal: &["diagnostic"],
        note: "note",
        ..NONE
    },
    // https://documentation.mailgun.com/docs/mailgun/user-manual/suppressions
    Shape {
        form: Form::Mailgun,
        needs: &["address", "code", "error"],
        address: "address",
        since: "createdat",
        // Mailgun's own code for who complained. What a server refused for the message stands here as well.
        decides: Some(("code", &[("607", Complained)])),
        otherwise: Some(BounceOrBlock),
        refusal: &["code", "error"],
        ..NONE
    },
    Shape {
        form: Form::Mailgun,
        needs: &["address", "tags"],
        address: "address",
        since: "createdat",
        decides: Some(("tags", &[("*", Suppressed)])),
        otherwise: Some(Fate::Left(Left::OneTopic)),
        ..NONE
    },
    Shape {
        form: Form::Mailgun,
        needs: &["address", "tag"],
        address: "address",
        since: "createdat",
        decides: Some(("tag", &[("*", Suppressed)])),
        otherwise: Some(Fate::Left(Left::OneTopic)),
        ..NONE
    },
    Shape {
        form: Form::Mailgun,
        needs: &["address", "createdat"],
        only: Some(&["address", "createdat", "count"]),
        address: "address",
        since: "createdat",
        otherwise: Some(Complained),
        ..NONE
    },
    // https://docs.aws.amazon.com/ses/latest/dg/sending-email-suppression-list.html
    Shape {
        form: Form::Ses,
        needs: &["emailaddress", "reason"],
        address: "emailaddress",
        since: "lastupdatetime",
        decides: Some(("reason", &[("bounce", Suppressed), ("complaint", Complained)])),
        note: "reason",
        ..NONE
    },
    // https://postmarkapp.com/developer/api/suppressions-api
    Shape {
        form: Form::Postmark,
        needs: &["emailaddress", "suppressionreason"],
        address: "emailaddress",
        since: "createdat",
        decides: Some((
            "suppressionreason",
            &[("hardbounce", Suppressed), ("spamcomplaint", Complained), ("manualsuppression", Suppressed)],
        )),
        note: "suppressionreason",
        ..NONE
    },
    // https://www.twilio.com/docs/sendgrid/ui/sending-email/suppressions: bounces and blocks have the same fields.
    Shape {
        form: Form::Sendgrid,
        needs: &["email", "created", "reason", "status"],
        since: "created",
        otherwise: Some(BounceOrBlock),
        refusal: &["status", "reason"],
        ..NONE
    },
    Shape {
        form: Form::Sendgrid,
        needs: &["email", "created", "reason"],
        since: "created",
        otherwise: Some(Suppressed),
        refusal: &["reason"],
        ..NONE
    },
    Shape {
        form: Form::Sendgrid,
        needs: &["email", "created", "ip"],
        since: "created",
        otherwise: Some(Complained),
        ..NONE
    },
    Shape { form: Form::Sendgrid, needs: &["email", "groupid"], otherwise: Some(Fate::Left(Left::OneTopic)), ..NONE },
    Shape {
        form: Form::Sendgrid,
        needs: &["email", "created"],
        only: Some(&["email", "created"]),
        since: "created",
        otherwise: Some(Suppressed),
        ..NONE
    },
    // https://developers.brevo.com/reference/get-transac-blocked-contacts
    Shape { form: Form::Brevo, needs: &["email", "blockedat", "reason.code"], note: "reason.code", ..BREVO },
    Shape {
        form: Form::Brevo,
        needs: &["email", "blockedat", "reason"],
        decides: Some(("reason", BREVO_REASONS)),
        note: "reason",
        ..BREVO
    },
    Shape {
        form: Form::Brevo,
        needs: &["email", "emailblacklisted"],
        decides: Some(("emailblacklisted", YES)),
        otherwise: Some(Fate::Left(Left::NotSuppressed)),
        ..NONE
    },
    // https://listmonk.app/docs/apis/bounces/, and the export of its subscribers
    Shape {
        form: Form::Listmonk,
        needs: &["email", "type", "subscriberuuid"],
        since: "createdat",
        decides: Some(("type", &[("hard", Suppressed), ("complaint", Complained), ("soft", Fate::Left(Left::Soft))])),
        ..NONE
    },
    Shape {
        form: Form::Listmonk,
        needs: &["email", "uuid", "status"],
        since: "updatedat",
        decides: Some(("status", &[("blocklisted", Suppressed), ("blacklisted", Suppressed)])),
        otherwise: Some(Fate::Left(Left::NotSuppressed)),
        ..NONE
    },
    // Its export of subscribers, and the tables phplist_user_blacklist and phplist_user_blacklist_data.
    Shape {
        form: Form::Phplist,
        needs: &["email", "blacklisted"],
        decides: Some(("blacklisted", YES)),
        otherwise: Some(Fate::Left(Left::NotSuppressed)),
        ..NONE
    },
    Shape {
        form: Form::Phplist,
        needs: &["email", "added"],
        only: Some(&["email", "added", "reason", "name", "data"]),
        since: "added",
        otherwise: Some(Suppressed),
        note: "reason",
        ..NONE
    },
];

const YES: &[(&str, Fate)] = &[("1", Suppressed), ("yes", Suppressed), ("true", Suppressed)];

const BREVO_REASONS: &[(&str, Fate)] = &[
    ("hardbounce", Suppressed),
    ("contactflaggedasspam", Complained),
    ("adminblocked", Suppressed),
    ("unsubscribedviaemail", Suppressed),
    ("unsubscribedviama", Suppressed),
    ("unsubscribedviaapi", Suppressed),
];

const BREVO: Shape =
    Shape { form: Form::Brevo, since: "blockedat", decides: Some(("reason.code", BREVO_REASONS)), ..NONE };

impl Shape {
    fn fits(&self, record: &Record) -> bool {
        let has = |name: &&str| record.names().iter().any(|known| known == name);
        let no_other =
            |only: &[&str]| record.names().iter().all(|known| only.contains(&known.as_str()) || known.is_empty());
        self.needs.iter().all(has) && self.only.is_none_or(no_other)
    }

    /// What the row says becomes of its address.
    fn fate(&self, record: &Record) -> Result<Fate, String> {
        let Some((field, words)) = self.decides else {
            return self.otherwise.ok_or_else(|| "it does not say what it is".to_owned());
        };
        let given = record.get(field).unwrap_or_default();
        let compared: String = given.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
        let known = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&compared)).map(|(_, fate)| *fate);
        known.or(self.otherwise).ok_or_else(|| format!("`{}` is no {field} that is known", cut(given, 40)))
    }
}

/// Who wrote a file that begins with this record.
pub(super) fn recognised(first: &Record, named: Option<Form>) -> Option<Form> {
    let mut shapes = SHAPES.iter().filter(|shape| named.is_none_or(|form| form == shape.form || is_of_nobody(shape)));
    shapes.find(|shape| shape.fits(first)).map(|shape| named.unwrap_or(shape.form))
}

/// One address a line is what anybody may write.
const fn is_of_nobody(shape: &Shape) -> bool {
    matches!(shape.form, Form::Text)
}

pub(super) fn row(form: Form, record: &Record, now: i64) -> Row {
    let mut shapes = SHAPES.iter().filter(|shape| shape.form == form || is_of_nobody(shape));
    let Some(shape) = shapes.find(|shape| shape.fits(record)) else {
        return Row::Bad(format!("{form} writes no entry with these fields: {}", record.names().join(", ")));
    };
    let fate = match shape.fate(record) {
        Ok(Fate::Left(left)) => return Row::Left(left),
        Ok(fate) => fate,
        Err(what) => return Row::Bad(what),
    };
    let is_guarded = form == Form::Bounced && matches!(record.kind(), Kind::Table(_));
    let cell = |name: &str| record.get(name).map(|text| if is_guarded { unguarded(text) } else { text });
    let Some(given) = cell(shape.address) else { return Row::Bad("the address is missing".to_owned()) };
    let Some(address) = address(given) else { return Row::Bad(format!("`{}` is no mail address", cut(given, 80))) };
    if is_pattern(&address) {
        return Row::Bad(format!("`{}` is a pattern: only `*@domain` stands for others", cut(given, 80)));
    }
    // Anybody may sign up under such an address, and a provider's list may hold it: all of a domain is meant by people
    // alone.
    if address.local_part() == "*" && !(given.trim().starts_with("*@") && matches!(form, Form::Bounced | Form::Text)) {
        return Row::Bad(format!(
            "`{}` would be all of a domain, which {form} can't mean; add it by hand if you do",
            cut(given, 80)
        ));
    }
    let is_ours = form == Form::Bounced;
    let expires = cell("expires").filter(|_| is_ours).map(date::seconds);
    match expires {
        Some(None) => return Row::Bad("it ends at a time that can't be read".to_owned()),
        Some(Some(end)) if end <= now => return Row::Left(Left::Expired),
        _ => {}
    }
    let since = match cell(shape.since).map(date::seconds) {
        None => Since::Absent,
        Some(None) => Since::Unread,
        Some(Some(at)) => Since::Given(at.min(now)),
    };
    let text = |name| cell(name).map(|text| cut(text, LONGEST_TEXT).to_owned());
    Row::Entry(Box::new(Entry {
        address,
        origin: match fate {
            Complained => Origin::Complaint,
            As(origin) => origin,
            Suppressed | BounceOrBlock | Fate::Left(_) => Origin::Import,
        },
        // A word of a later version is none of ours.
        reason: cell("reason").filter(|_| is_ours).and_then(|word| word.parse().ok()),
        rule: text("rule").filter(|_| is_ours),
        policy: text("policy").filter(|_| is_ours),
        diagnostic: refusal(shape.refusal, cell),
        // Whose word it is.
        note: text(shape.note).map(|note| if is_ours { note } else { format!("{form}: {note}") }),
        since,
        expires: expires.flatten(),
        about: if matches!(fate, BounceOrBlock) { About::AddressOrMessage } else { About::Address },
    }))
}

/// Octets of a diagnostic or a note.
const LONGEST_TEXT: usize = 2_000;

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Whether it stands for others, and not for a whole domain.
fn is_pattern(address: &Address) -> bool {
    address.domain().contains('*') || (address.local_part().contains('*') && address.local_part() != "*")
}

/// A spreadsheet's guard before a cell that it would take for a formula, as our export writes it.
fn unguarded(cell: &str) -> &str {
    let bare = cell.trim_start_matches('\'');
    if bare.starts_with(['=', '+', '-', '@']) { cell.strip_prefix('\'').unwrap_or(cell) } else { cell }
}

/// Code, status and words as one reply; what the words begin with themselves is not said twice.
fn refusal<'a>(parts: &[&str], cell: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let (words, codes) = parts.split_last()?;
    // A code alone is an answer, too.
    let words = cell(words).unwrap_or_default();
    let has_code = words.get(..3).is_some_and(|start| start.bytes().all(|b| b.is_ascii_digit()));
    let codes: Vec<_> =
        codes.iter().filter_map(|code| cell(code)).filter(|code| !has_code && !words.starts_with(code)).collect();
    let whole = if codes.is_empty() { words.to_owned() } else { format!("{} {words}", codes.join(" ")) };
    let whole = cut(whole.trim_end(), LONGEST_TEXT);
    (!whole.is_empty()).then(|| whole.to_owned())
}
