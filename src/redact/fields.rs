//! Header blocks and the fields of reports -> the same fields with other names in them. Names of fields, structure
//! and dates stay; refuses to know MIME parts and encodings of bodies.

use super::{
    coding::{decode_words, encode_words},
    names::is_telling_boundary,
    scan::{OtherWords, Scanner},
};

/// Whose fields they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields {
    /// The mail's own: its subject may be a program's sentence.
    Own,
    /// Those of the returned message.
    Returned,
    /// Those of a delivery report: unknown ones may be a server's words.
    Report,
}

/// What a field carries.
#[derive(Clone, Copy)]
enum Carries {
    /// Nothing private.
    Structure,
    /// Structure, and perhaps the name of a file.
    Parameters,
    /// Mailboxes with their display names.
    Mailboxes,
    Subject,
    /// A mail server's words.
    Report,
    /// The name of a host behind its type.
    Host,
    /// The name of a list (RFC 2919).
    List,
    /// Anything.
    Other,
}

impl Carries {
    fn of(name: &str, fields: Fields) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "mime-version"
            | "content-transfer-encoding"
            | "date"
            | "arrival-date"
            | "last-attempt-date"
            | "will-retry-until"
            | "feedback-type"
            | "resent-date"
            | "x-powermta-bouncecategory" => Self::Structure,
            "content-type" | "content-disposition" => Self::Parameters,
            "from"
            | "to"
            | "cc"
            | "bcc"
            | "reply-to"
            | "sender"
            | "errors-to"
            | "resent-from"
            | "resent-to"
            | "apparently-to"
            | "disposition-notification-to" => Self::Mailboxes,
            "subject" | "thread-topic" => Self::Subject,
            "reporting-mta" | "remote-mta" | "received-from-mta" | "dsn-gateway" => Self::Host,
            "list-id" => Self::List,
            "action" | "status" | "content-description" | "diagnostic-code" | "x-notes" | "x-supplementary-info" => {
                Self::Report
            }
            "x-display-name" | "original-envelope-id" => Self::Other,
            _ if fields == Fields::Report => Self::Report,
            _ => Self::Other,
        }
    }
}

impl Scanner<'_> {
    /// A block of fields, folded lines and blank lines included.
    pub fn fields(&mut self, block: &str, fields: Fields) -> String {
        let mut out = String::with_capacity(block.len());
        let mut lines = block.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            let name = line.split_once(':').map(|(name, _)| name).filter(|n| is_name(n.trim_end()));
            let Some(name) = name else {
                out.push_str(&self.text(line, OtherWords::Stay));
                continue;
            };
            let mut value = line[name.len() + 1..].to_owned();
            while let Some(folded) = lines.next_if(|l| l.starts_with([' ', '\t']) && !l.trim().is_empty()) {
                value.push_str(folded);
            }
            out.push_str(name);
            out.push(':');
            out.push_str(&self.value(name.trim_end(), &value, fields));
        }
        out
    }

    /// The value of a field, from the colon to the end of its last line.
    pub fn value(&mut self, name: &str, value: &str, fields: Fields) -> String {
        let bare = value.trim_end_matches(['\r', '\n']);
        let end = &value[bare.len()..];
        let own = match Carries::of(name, fields) {
            Carries::Structure => bare.to_owned(),
            Carries::Parameters => self.parameters(bare),
            Carries::Mailboxes => self.mailboxes(bare),
            Carries::Subject => self.subject(bare, fields),
            Carries::Report => self.words(bare, OtherWords::Stay),
            Carries::Host => self.mta(bare),
            Carries::List => self.list_id(bare),
            Carries::Other => self.words(bare, OtherWords::OfTables),
        };
        own + end
    }

    /// Unstructured text, encoded words read and written again (RFC 2047).
    fn words(&mut self, value: &str, words: OtherWords) -> String {
        match decode_words(value) {
            Some(decoded) => encode_words(&self.text(&decoded, words)),
            None => self.text(value, words),
        }
    }

    /// `type/subtype; name="file name"`: what names a file is private, and a boundary that nobody uses.
    fn parameters(&mut self, value: &str) -> String {
        let private = |key: &str, value: &str| match key.trim().to_ascii_lowercase().as_str() {
            "boundary" => is_telling_boundary(value.trim().trim_matches('"')),
            key => key.contains("name"),
        };
        let mut out = String::with_capacity(value.len());
        for parameter in value.split_inclusive(';') {
            match parameter.split_once('=') {
                Some((key, file)) if private(key, file) => {
                    out.push_str(key);
                    out.push('=');
                    out.push_str(&self.words(file, OtherWords::OfTables));
                }
                _ => out.push_str(parameter),
            }
        }
        out
    }

    /// `News <news.lists.example.org>`: a list's own address, and no recipient's, is `news@lists.example.org`.
    fn list_id(&mut self, value: &str) -> String {
        let begins = value.rfind('<').map_or(value.len() - value.trim_start().len(), |open| open + 1);
        let (before, id) = value.split_at(begins);
        let bare = id.trim_end_matches(|c: char| c == '>' || c.is_whitespace());
        let known = bare.split_once('.').and_then(|(list, host)| Some((self.names.known_user(list)?.to_owned(), host)));
        match known.filter(|(_, host)| self.names.knows_host(host)) {
            Some((list, host)) => {
                let (before, host) = (self.words(before, OtherWords::OfTables), self.host(host));
                format!("{before}{list}.{host}{}", &id[bare.len()..])
            }
            None => self.words(value, OtherWords::OfTables),
        }
    }

    /// RFC 3464 §2.1.2: `dns; host`. A host without a dot is known by its place alone.
    fn mta(&mut self, value: &str) -> String {
        let (kind, host) = value.rsplit_once(';').map_or(("", value), |(kind, host)| (kind, host));
        let bare = host.trim();
        let semicolon = if kind.is_empty() { "" } else { ";" };
        if bare.is_empty() || bare.contains(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))) {
            return format!("{kind}{semicolon}{}", self.text(host, OtherWords::Stay));
        }
        let blanks = &host[..host.len() - host.trim_start().len()];
        format!("{kind}{semicolon}{blanks}{}", self.host(bare))
    }

    /// The subject of the returned message goes as a whole. What the mail's own subject repeats of it, too.
    fn subject(&mut self, value: &str, fields: Fields) -> String {
        let encoded = decode_words(value);
        let decoded = encoded.as_deref().unwrap_or(value).split_whitespace().collect::<Vec<_>>().join(" ");
        if decoded.is_empty() {
            return value.to_owned();
        }
        if fields == Fields::Returned
            && let Some(name) = self.names.subject(&decoded, self.keep)
        {
            return format!(" {name}");
        }
        let known = self.names.subjects();
        let mut out = String::new();
        let mut rest = decoded.as_str();
        while let Some((at, subject, name)) = first_of(&known, rest) {
            out.push_str(&self.text(&rest[..at], OtherWords::OfTables));
            out.push_str(name);
            rest = &rest[at + subject.len()..];
        }
        out.push_str(&self.text(rest, OtherWords::OfTables));
        if out.is_ascii() || encoded.is_none() { format!(" {out}") } else { encode_words(&format!(" {out}")) }
    }

    /// A list of mailboxes (RFC 5322 §3.4).
    fn mailboxes(&mut self, value: &str) -> String {
        let mut out = String::with_capacity(value.len());
        for mailbox in split_mailboxes(value) {
            match mailbox.find('<') {
                Some(open) => {
                    let (name, address) = mailbox.split_at(open);
                    out.push_str(&self.display_name(name));
                    out.push_str(&self.text(address, OtherWords::OfTables));
                }
                None => out.push_str(&self.text(mailbox, OtherWords::OfTables)),
            }
        }
        out
    }

    fn display_name(&mut self, raw: &str) -> String {
        let decoded = decode_words(raw);
        let text = decoded.as_deref().unwrap_or(raw);
        let name = text.trim().trim_matches(['"', '\'', ',', ';']).trim();
        if name.is_empty() {
            return raw.to_owned();
        }
        if name.contains('@') || self.keep.like_sender(name) {
            let kept = self.text(text, OtherWords::OfTables);
            let unchanged = kept == text;
            return if unchanged { raw.to_owned() } else { decoded.map_or(kept.clone(), |_| encode_words(&kept)) };
        }
        let person = self.names.person(name, self.keep);
        match decoded {
            Some(_) => format!(" {person} "),
            None => raw.replacen(name, &person, 1),
        }
    }
}

/// A field name of RFC 5322 §2.2.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 76 && name.bytes().all(|b| b.is_ascii_graphic())
}

/// The first place where one of the subjects stands, the longest if several begin there.
fn first_of<'s>(known: &'s [(String, String)], text: &str) -> Option<(usize, &'s str, &'s str)> {
    let found = known.iter().filter_map(|(subject, name)| Some((text.find(subject)?, subject.as_str(), name.as_str())));
    found.min_by_key(|(at, subject, _)| (*at, std::cmp::Reverse(subject.len())))
}

/// Splits behind commas that stand outside of quotes, comments and angle brackets.
fn split_mailboxes(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut comment, mut angle) = (false, 0u32, false);
    value.split_inclusive(move |c| {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => comment += 1,
            ')' if !quoted => comment = comment.saturating_sub(1),
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            _ => {}
        }
        matches!(c, ',' | ';') && !quoted && comment == 0 && !angle
    })
}
