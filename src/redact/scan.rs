//! Text -> the same text with other names in it. One pass over the characters; refuses to know MIME and headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    keep::{Keep, is_host_char},
    names::{Names, SHORTEST},
};
use crate::text::{is_address_label, is_unspaced, unescaped};

/// What becomes of words that are no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherWords {
    /// They stay: a mail server speaks, and its words may be what was misread.
    Stay,
    /// Only those of the tables stay: somebody else speaks.
    OfTables,
}

/// Replaces names in one text after the other.
pub(super) struct Scanner<'k> {
    /// What stays.
    pub keep: &'k Keep,
    /// What was named so far.
    pub names: Names,
    /// How many bounces around this one.
    pub depth: u8,
}

/// RFC 6590: what stands where a local part was made unreadable.
const REDACTED: &str = "redacted";

/// RFC 5321 §4.5.3.1.1, with the quotes.
const LONGEST_QUOTED: usize = 66;

impl Scanner<'_> {
    /// The text with other names.
    pub fn text(&mut self, text: &str, words: OtherWords) -> String {
        let mut out = String::with_capacity(text.len());
        self.chunks(text, words, false, &mut out);
        out
    }

    /// HTML with other names; tags keep theirs.
    pub fn html(&mut self, text: &str, words: OtherWords) -> String {
        let mut out = String::with_capacity(text.len());
        self.chunks(&without_references(text), words, true, &mut out);
        out
    }

    fn chunks(&mut self, text: &str, words: OtherWords, html: bool, out: &mut String) {
        let mut rest = text;
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            if c == '"'
                && let Some(local) = quoted_local_part(rest)
            {
                // With and without quotes it is one mailbox.
                let name = self.names.user(local.trim_matches('"'), self.keep);
                out.extend(["\"", &name, "\""]);
                rest = &rest[local.len()..];
                // The domain follows behind its @.
                before = c;
                continue;
            }
            if is_delimiter(c) {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                before = c;
                continue;
            }
            let end = rest.find(is_delimiter).unwrap_or(rest.len());
            let (chunk, after) = rest.split_at(end);
            let tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-');
            if html && before == '<' && chunk.chars().all(tag) {
                out.push_str(chunk);
            } else {
                self.chunk(chunk, words, out);
            }
            rest = after;
            before = ' ';
        }
    }

    /// What stands between blanks, brackets and commas.
    fn chunk(&mut self, chunk: &str, words: OtherWords, out: &mut String) {
        if let Some((scheme, rest)) = chunk.split_once("://") {
            self.atom(scheme, words, out);
            out.push_str("://");
            let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            self.chunk(host, words, out);
            // Links carry what identifies a message or a reader.
            return self.atom(path, OtherWords::OfTables, out);
        }
        if let Some(ip) = ipv6(chunk) {
            let name = self.names.ip(IpAddr::V6(ip));
            let at = chunk.len() - chunk.to_ascii_lowercase().trim_start_matches("ipv6:").len();
            out.push_str(&chunk[..at]);
            return out.push_str(&name);
        }
        for (n, part) in chunk.split(':').enumerate() {
            if n > 0 {
                out.push(':');
            }
            self.atom(part, words, out);
        }
    }

    fn atom(&mut self, atom: &str, words: OtherWords, out: &mut String) {
        let mut rest = atom;
        // Each address takes the domain behind its @, and what follows is looked at on its own.
        while let Some(at) = memchr::memchr(b'@', rest.as_bytes()) {
            let (sentence, local) = rest[..at].split_at(local_part_start(&rest[..at]));
            if !sentence.is_empty() {
                self.atom(sentence, words, out);
            }
            let bare = local.trim_start_matches(DECORATION);
            out.push_str(&local[..local.len() - bare.len()]);
            let domain = &rest[at + 1..];
            let domain = &domain[..domain_length(domain)];
            let host = domain.trim_end_matches(['.', '-']);
            let hidden = self.keep.tables.is_redacted("", host);
            let name = if hidden { REDACTED.to_owned() } else { self.local_part(bare) };
            out.push_str(&name);
            out.push('@');
            if !host.is_empty() {
                let name = self.host(&decoded(host));
                out.push_str(&name);
            }
            out.push_str(&domain[host.len()..]);
            rest = &rest[at + 1 + domain.len()..];
        }
        while !rest.is_empty() {
            let start = rest.find(is_host_char).unwrap_or(rest.len());
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find(|c| !is_host_char(c)).unwrap_or(rest.len());
            self.run(&rest[..end], words, out);
            rest = &rest[end..];
        }
    }

    /// A local part with all that mail systems put into one: tags, senders and recipients of VERP and SRS, routes.
    fn local_part(&mut self, local: &str) -> String {
        let local = decoded(local);
        if local.is_empty() || self.keep.sender(&local) {
            return local;
        }
        if !local.contains(SEPARATORS) {
            return self.user(&local);
        }
        let mut out = String::with_capacity(local.len());
        let mut rest = local.as_str();
        loop {
            let end = rest.find(SEPARATORS).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(end);
            let value = after.strip_prefix('=').map(|v| &v[..v.find(SEPARATORS).unwrap_or(v.len())]);
            let labels = value.is_some() && is_label(piece);
            if labels || piece.len() < SHORTEST {
                out.push_str(piece);
            } else if self.is_host(piece) {
                out.push_str(&self.host(piece));
            } else if let (Some(true), Some((list, user))) = (value.map(|v| self.is_host(v)), piece.rsplit_once('-')) {
                // VERP: list-anna=mail.example.org@lists.example.com
                out.push_str(&self.user(list));
                out.push('-');
                out.push_str(&self.user(user));
            } else {
                out.push_str(&self.user(piece));
            }
            let Some(separator) = after.chars().next() else { return out };
            out.push(separator);
            rest = &after[separator.len_utf8()..];
        }
    }

    /// A person's name, or a program's: the words by which tables know one stay.
    fn user(&mut self, local: &str) -> String {
        // Whoever reports has made it unreadable: it must be nobody's in the copy, too.
        if self.keep.tables.is_redacted(local, "") {
            return REDACTED.to_owned();
        }
        if !self.keep.like_sender(&format!("{local}@")) {
            return self.names.user(local, self.keep);
        }
        self.pieces(
            local,
            |c| !c.is_alphanumeric(),
            |names, piece, keep| {
                if keep.word(piece) || piece.len() < SHORTEST { piece.to_owned() } else { names.user(piece, keep) }
            },
        )
    }

    /// Letters, digits, dots, hyphens and underscores.
    fn run(&mut self, run: &str, words: OtherWords, out: &mut String) {
        let bare = run.trim_matches(['.', '-']);
        let start = run.len() - run.trim_start_matches(['.', '-']).len();
        out.push_str(&run[..start]);
        let name = if bare.is_empty() {
            String::new()
        } else if let Some(user) = self.names.known_user(bare).filter(|_| !self.keep.word(bare)) {
            user.to_owned()
        } else if let Ok(ip) = bare.parse::<Ipv4Addr>() {
            self.names.ip(IpAddr::V4(ip))
        } else if self.is_host(bare) {
            self.host(bare)
        } else {
            let labels: Vec<String> = bare.split('.').map(|label| self.label(label, words)).collect();
            labels.join(".")
        };
        out.push_str(&name);
        out.push_str(&run[start + bare.len()..]);
    }

    fn label(&mut self, label: &str, words: OtherWords) -> String {
        let known = |piece: &str| piece.len() >= SHORTEST && self.keep.word(piece);
        if is_id(label) && !label.split(['-', '_']).any(known) {
            return self.names.id(label);
        }
        if let Some(user) = self.names.known_user(label).filter(|_| !self.keep.word(label)) {
            return user.to_owned();
        }
        let (mut out, mut rest) = (String::with_capacity(label.len()), label);
        while let Some(first) = rest.chars().next() {
            let kind = Script::of(first);
            let end = rest.find(|c| Script::of(c) != kind).unwrap_or(rest.len());
            match kind {
                Script::Mark => out.push_str(&rest[..end]),
                Script::Spaced => out.push_str(&self.word(&rest[..end], words)),
                Script::Unspaced => self.unspaced(&rest[..end], words, &mut out),
            }
            rest = &rest[end..];
        }
        out
    }

    fn word(&mut self, word: &str, words: OtherWords) -> String {
        let long = word.chars().nth(SHORTEST - 1).is_some();
        if !long || self.keep.word(word) {
            return word.to_owned();
        }
        if is_id(word) {
            return self.names.id(word);
        }
        if let Some(user) = self.names.known_user(word) {
            return user.to_owned();
        }
        let number = word.len() <= LONGEST_CODE && word.bytes().all(|b| b.is_ascii_digit());
        if self.names.hides(word) || (words == OtherWords::OfTables && !number) {
            masked(word)
        } else {
            word.to_owned()
        }
    }

    fn unspaced(&mut self, text: &str, words: OtherWords, out: &mut String) {
        if words == OtherWords::Stay && !self.names.hides(text) {
            return out.push_str(text);
        }
        let mut at = 0;
        for phrase in self.keep.phrases_in(text) {
            out.push_str(&masked(&text[at..phrase.start]));
            out.push_str(&text[phrase.clone()]);
            at = phrase.end;
        }
        out.push_str(&masked(&text[at..]));
    }

    /// What becomes of a host: the names of providers and blocklists stay.
    pub fn host(&mut self, host: &str) -> String {
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return self.names.ip(IpAddr::V4(ip));
        }
        if host.len() <= LONGEST_HOST
            && let Some(start) = self.keep.public_suffix(&host.to_ascii_lowercase())
        {
            // QUIRK: providers put their customers' names and the addresses that they list in front.
            let own = self.pieces(&host[..start], |c| !c.is_alphanumeric(), |_, piece, keep| customer(piece, keep));
            return own + &host[start..];
        }
        if !host.contains('.') && (self.keep.word(host) || host.len() < SHORTEST) {
            return host.to_owned();
        }
        self.names.host(host, self.keep)
    }

    fn is_host(&self, text: &str) -> bool {
        if text.len() > LONGEST_HOST {
            return false;
        }
        let lower = text.to_lowercase();
        let Some((labels, top)) = lower.rsplit_once('.') else { return false };
        if labels.split('.').any(str::is_empty) || !labels.split('.').any(|l| l.len() > 1) {
            return false;
        }
        if self.names.knows_host(&lower) || self.keep.public_suffix(&lower).is_some() {
            return true;
        }
        let letters = top.starts_with("xn--") || top.chars().all(char::is_alphabetic);
        // "failed.Please" and "Data.QuotaExceededException" have no blank where one belongs, or none at all.
        let as_given = text.rsplit_once('.').map_or("", |(_, top)| top);
        let one_case = !as_given.chars().any(char::is_uppercase) || !as_given.chars().any(char::is_lowercase);
        let known = self.keep.top_level(top);
        // Three words of the tables and a top level, `mx.mail.example`, are rather a host than two sentences without
        // blanks.
        let short = !known || !labels.contains('.');
        let sentence = short && labels.split(['.', '-', '_']).all(|l| self.keep.word(l));
        letters && top.chars().count() > 1 && !sentence && (known || (one_case && !self.keep.word(top)))
    }

    fn pieces(
        &mut self,
        text: &str,
        separates: impl Fn(char) -> bool,
        mut replace: impl FnMut(&mut Names, &str, &Keep) -> String,
    ) -> String {
        let mut out = String::with_capacity(text.len());
        for piece in text.split_inclusive(&separates) {
            let bare = piece.trim_end_matches(&separates);
            if !bare.is_empty() {
                out.push_str(&replace(&mut self.names, bare, self.keep));
            }
            out.push_str(&piece[bare.len()..]);
        }
        out
    }
}

/// RFC 1035 §2.3.4.
const LONGEST_HOST: usize = 255;
/// Longer numbers may be somebody's.
const LONGEST_CODE: usize = 4;

/// What stands before an address in running text without being part of it.
const DECORATION: &[char] = &['\'', '`', '*', '|', '=', '{', '#', '\u{2018}', '\u{2019}'];
/// What mail systems put between the pieces of a local part.
const SEPARATORS: &[char] = &['+', '=', '%', '/', '!', '#'];
/// What stands before an equals sign in a local part and is nobody's name: labels, and the tags of SRS.
fn is_label(piece: &str) -> bool {
    is_address_label(piece) || ["rfc822", "srs0", "srs1"].iter().any(|l| piece.eq_ignore_ascii_case(l))
}

/// How the words of a script are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Mark,
    Spaced,
    Unspaced,
}

impl Script {
    fn of(c: char) -> Self {
        match c {
            c if is_unspaced(c) => Self::Unspaced,
            c if c.is_alphanumeric() => Self::Spaced,
            _ => Self::Mark,
        }
    }
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || "<>()[],;\"!?\u{ab}\u{bb}\u{201c}\u{201d}\u{201e}\u{3000}".contains(c)
        || ('\u{3001}'..='\u{3020}').contains(&c)
        || "，。；：（）！？「」『』【】".contains(c)
}

/// `"anna maria"` of `"anna maria"@example.org`.
fn quoted_local_part(text: &str) -> Option<&str> {
    let bytes = &text.as_bytes()[..text.len().min(LONGEST_QUOTED)];
    let close = memchr::memchr(b'"', &bytes[1..])? + 1;
    (text.as_bytes().get(close + 1) == Some(&b'@') && close > 1).then(|| &text[..=close])
}

/// Where the local part begins before an @: Chinese and Japanese sentences go on into it without a blank.
fn local_part_start(before: &str) -> usize {
    let mut after = '@';
    for (at, c) in before.char_indices().rev() {
        if after.is_ascii_alphanumeric() && is_unspaced(c) {
            return at + c.len_utf8();
        }
        after = c;
    }
    0
}

/// How much of a text is the domain behind an @.
fn domain_length(text: &str) -> usize {
    let (mut before, mut dotted) = ('@', false);
    for (at, c) in text.char_indices().take(LONGEST_HOST) {
        if dotted && before.is_ascii_alphanumeric() && is_unspaced(c) {
            return encoded_domain_length(&text[..at]);
        }
        dotted |= c == '.';
        before = c;
    }
    encoded_domain_length(text)
}

fn encoded_domain_length(text: &str) -> usize {
    let mut end = 0;
    loop {
        let rest = &text[end..];
        end += rest.find(|c| !is_host_char(c)).unwrap_or(rest.len());
        // RFC 6533 §3: characters that 7 bits can't carry.
        match text[end..].strip_prefix("\\x{").and_then(|hex| hex.find('}')) {
            Some(close) if close <= 6 => end += "\\x{".len() + close + 1,
            _ => return end,
        }
    }
}

/// `b\x{FC}cher` is `bücher` (RFC 6533 §3). Signs stay as they are: the copy must not be taken apart otherwise.
fn decoded(text: &str) -> String {
    unescaped(text, char::is_alphanumeric)
}

fn ipv6(chunk: &str) -> Option<Ipv6Addr> {
    let lower = chunk.to_ascii_lowercase();
    let bare = lower.trim_start_matches("ipv6:");
    (bare.len() > "::".len() && bare.len() < 46).then(|| bare.parse().ok()).flatten()
}

/// Letters and digits so mixed that no word is like it, or a number as long as a telephone's.
fn is_id(text: &str) -> bool {
    let count = |of: fn(&u8) -> bool| text.bytes().filter(of).count();
    let (digits, letters) = (count(u8::is_ascii_digit), count(u8::is_ascii_alphabetic));
    if !text.is_ascii() || digits == 0 || digits + letters < 7 {
        return false;
    }
    let mixed = |piece: &str| piece.is_empty() || piece.bytes().any(|b| b.is_ascii_digit());
    let guid = digits + letters >= 16 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    letters == 0 && text.len() == digits
        || (digits + letters > 7 && letters > 0 && (guid || text.split(['-', '_']).all(mixed)))
}

/// A label of a provider's host: its own words stay, a customer's go.
fn customer(piece: &str, keep: &Keep) -> String {
    let letters = piece.trim_end_matches(|c: char| c.is_ascii_digit());
    if keep.word(piece) || keep.word(letters) || piece.len() < SHORTEST { piece.to_owned() } else { masked(piece) }
}

/// As long as before, and without meaning.
fn masked(word: &str) -> String {
    word.chars().map(|c| if c.is_numeric() { '0' } else { 'x' }).collect()
}

/// `&#64;` is `@`: numeric references to what addresses consist of.
fn without_references(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find("&#") {
        out.push_str(&rest[..at]);
        let reference = &rest[at + 2..];
        let end = reference.bytes().take(8).position(|b| b == b';');
        let number = end.and_then(|end| match reference[..end].strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => reference[..end].parse().ok(),
        });
        let c = number.and_then(char::from_u32).filter(|&c| c.is_alphanumeric() || "@._-+=".contains(c));
        match (end, c) {
            (Some(end), Some(c)) => {
                out.push(c);
                rest = &reference[end + 1..];
            }
            _ => {
                out.push_str("&#");
                rest = reference;
            }
        }
    }
    out + rest
}
