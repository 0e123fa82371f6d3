//! A mail -> an anonymised copy that says the same about deliveries: addresses, names, hosts and numbers replaced,
//! each always by the same; codes, structure and mail servers' sentences kept. Refuses to judge: what the tables
//! look for comes in as [`Keep`].

mod coding;
mod compare;
mod fields;
mod keep;
mod names;
mod scan;

pub use compare::differences;
pub use keep::Keep;

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use coding::{Decoded, base64_lines, quoted_printable};
use fields::Fields;
use names::{Names, is_telling_boundary};
use scan::{OtherWords, Scanner};

use crate::parse::{self, Block, Coding, Layout, Span, Tables};

/// An anonymised copy. What the reader never looks at is left out: attachments, the returned message's body, and
/// everything beyond the size that is read.
#[must_use]
pub fn redact(raw: &[u8], keep: &Keep) -> Vec<u8> {
    let raw = &raw[..raw.len().min(parse::MOST_OCTETS)];
    if let Some(lines) = parse::without_doubled_cr(raw) {
        return redact_lines(&lines, keep);
    }
    let Some(lines) = parse::from_cr_only(raw) else { return redact_lines(raw, keep) };
    let mut copy = redact_lines(&lines, keep);
    copy.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b'\r');
    copy
}

fn redact_lines(raw: &[u8], keep: &Keep) -> Vec<u8> {
    let mut scanner = Scanner { keep, names: Names::default(), depth: 0 };
    // Some programs call a recipient by the local part alone: only who reads the mail knows that it is one.
    let options = parse::Options {
        campaign_headers: Vec::new(),
        most_octets: parse::MOST_OCTETS,
        own: parse::OwnServers::default(),
        tables: Arc::clone(&keep.tables),
    };
    let report = parse::parse(raw, &options);
    let recipients = report.recipients.iter().filter_map(|recipient| recipient.address.as_ref());
    for address in recipients.chain(report.complainers.iter().map(|complainer| &complainer.value)) {
        scanner.text(address.given(), OtherWords::Stay);
    }
    // A name may stand alone before the field that tells that it is one: the first copy only collects.
    scanner.mail(raw, Fields::Own);
    scanner.mail(raw, Fields::Own)
}

impl Scanner<'_> {
    /// A whole mail; of a returned one only the header.
    fn mail(&mut self, raw: &[u8], fields: Fields) -> Vec<u8> {
        let envelope = raw.len() - parse::without_envelope(raw).len();
        let mut copy = self.bytes(&raw[..envelope], None, |scanner, text| scanner.text(text, OtherWords::OfTables));
        let raw = self.with_other_boundaries(&raw[envelope..]);
        let Some(layout) = Layout::read(&raw, raw.len(), &self.keep.tables) else {
            copy.extend(self.bytes(&raw, None, |scanner, text| scanner.text(text, OtherWords::Stay)));
            return copy;
        };
        let crlf = memchr::memchr(b'\n', &raw).is_some_and(|at| raw[..at].ends_with(b"\r"));
        let line_end = if crlf { "\r\n" } else { "\n" };
        let mut at = 0;
        for span in &layout.spans {
            copy.extend(self.between(&raw[at..span.range.start], &layout));
            copy.extend(self.span(span, &raw[span.range.clone()], fields, line_end));
            at = span.range.end;
        }
        copy.extend(self.between(&raw[at..layout.end], &layout));
        copy
    }

    /// Boundaries are made of host names, times and serial numbers; all of them get names of their own.
    fn with_other_boundaries(&mut self, raw: &[u8]) -> Vec<u8> {
        let mut boundaries = Layout::read(raw, raw.len(), &self.keep.tables).unwrap_or_default().boundaries;
        boundaries.retain(|b| is_telling_boundary(b));
        let names: Vec<String> = boundaries.iter().map(|b| self.names.boundary(b)).collect();
        let matcher = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&boundaries);
        matcher.map_or_else(|_| raw.to_vec(), |matcher| matcher.replace_all_bytes(raw, &names))
    }

    fn span(&mut self, span: &Span, raw: &[u8], fields: Fields, line_end: &str) -> Vec<u8> {
        let bytes = span.decoded.as_deref().unwrap_or(raw);
        let copy = match &span.block {
            Block::Header => self.bytes(bytes, None, |scanner, text| scanner.fields(text, fields)),
            Block::ReturnedHeader => self.bytes(bytes, None, |scanner, text| scanner.fields(text, Fields::Returned)),
            Block::ReturnedMessage => self.bytes(bytes, None, |scanner, text| scanner.returned(text)),
            Block::Text { content_type, charset } => {
                self.bytes(bytes, charset.as_deref(), |scanner, text| scanner.part(content_type, text))
            }
            Block::Unread => return Vec::new(),
        };
        match span.coding {
            _ if copy == bytes => raw.to_vec(),
            Coding::Plain => copy,
            Coding::QuotedPrintable => quoted_printable(&copy, line_end).into_bytes(),
            Coding::Base64 => base64_lines(&copy, line_end).into_bytes(),
        }
    }

    /// Boundaries stay; what some programs write before the first one is text.
    fn between(&mut self, raw: &[u8], layout: &Layout) -> Vec<u8> {
        let separates = |line: &[u8]| {
            let boundary = line.strip_prefix(b"--").map(<[u8]>::trim_ascii_end);
            let boundary = boundary.map(|b| b.strip_suffix(b"--").unwrap_or(b));
            boundary.is_some_and(|b| layout.boundaries.iter().any(|known| known.as_bytes() == b))
        };
        let line = |scanner: &mut Self, line: &[u8]| {
            if separates(line) {
                line.to_vec()
            } else {
                scanner.bytes(line, None, |scanner, text| scanner.text(text, OtherWords::OfTables))
            }
        };
        raw.split_inclusive(|&b| b == b'\n').flat_map(|l| line(self, l)).collect()
    }

    fn bytes(&mut self, raw: &[u8], charset: Option<&str>, change: impl FnOnce(&mut Self, &str) -> String) -> Vec<u8> {
        let decoded = Decoded::read(raw, charset);
        decoded.write(&change(self, &decoded.text))
    }

    /// The text of one part.
    fn part(&mut self, content_type: &str, text: &str) -> String {
        match content_type {
            "text/html" => self.html(text, OtherWords::Stay),
            "text/rfc822-headers" | "message/global-headers" => self.fields(text, Fields::Returned),
            "text/plain" | "text/delivery-status" => self.prose(text),
            _ if content_type.starts_with("message/") => self.fields(text, Fields::Report),
            _ => self.text(text, OtherWords::OfTables),
        }
    }

    /// A program's own words, and behind them, perhaps, the returned message.
    fn prose(&mut self, text: &str) -> String {
        let (own, returned) = text.split_at(parse::returned_in(text, &self.keep.tables).unwrap_or(text.len()));
        let mut out = String::with_capacity(text.len());
        for line in own.split_inclusive('\n') {
            let quoted = line.trim_start().starts_with(['>', '|']);
            let line = match subject_line(line, &self.keep.tables) {
                Some(at) => {
                    let (label, subject) = line.split_at(at);
                    label.to_owned() + &self.value("Subject", subject, Fields::Returned)
                }
                None if quoted => self.text(line, OtherWords::OfTables),
                None => self.text(line, OtherWords::Stay),
            };
            out.push_str(&line);
        }
        out + &self.returned(returned)
    }

    /// A returned message as text: its header stays, its body goes. Some programs indent it.
    fn returned(&mut self, text: &str) -> String {
        let start = text.len() - text.trim_start().len();
        let indent = &text[text[..start].rfind('\n').map_or(0, |at| at + 1)..start];
        if indent.is_empty() {
            return self.unindented(text);
        }
        let bare: String = text.split_inclusive('\n').map(|line| line.strip_prefix(indent).unwrap_or(line)).collect();
        let lines = self.unindented(&bare);
        lines
            .split_inclusive('\n')
            .map(|line| if line.trim().is_empty() { line.to_owned() } else { format!("{indent}{line}") })
            .collect()
    }

    fn unindented(&mut self, text: &str) -> String {
        let blank = |line: &&str| line.trim().is_empty();
        let leading: usize = text.split_inclusive('\n').take_while(blank).map(str::len).sum();
        let (leading, message) = text.split_at(leading);
        if self.depth < DEEPEST && parse::is_bounce(message.as_bytes(), &self.keep.tables) {
            // A bounce that another one quotes is read like one that came by itself.
            self.depth += 1;
            let copy = self.mail(message.as_bytes(), Fields::Own);
            self.depth -= 1;
            return format!("{leading}{}", Decoded::read(&copy, None).text);
        }
        let fields: usize = message.split_inclusive('\n').take_while(|l| !blank(l)).map(str::len).sum();
        let end = message[fields..].split_inclusive('\n').next().unwrap_or("");
        format!("{leading}{}{end}", self.fields(&message[..fields], Fields::Returned))
    }
}

/// A bounce within a bounce is read through this many wrappers.
const DEEPEST: u8 = 3;

/// Where the value begins in a line such as `Subject: …` or `> Betreff: …`.
fn subject_line(line: &str, tables: &Tables) -> Option<usize> {
    let (label, value) = line.split_once([':', '：'])?;
    let name = label.trim_matches(|c: char| c.is_whitespace() || matches!(c, '>' | '|' | '*'));
    tables.name_subject(name).then(|| line.len() - value.len())
}
