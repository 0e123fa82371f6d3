//! Bytes -> [`Layout`]: which stretches of a mail are header, text, returned message or attachment, for those who
//! write a changed copy. Sees the same parts as mime ([`super::walk`]); refuses to change or judge anything.

use std::ops::Range;

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::{
    coding::Coding,
    failed, mime,
    tables::Tables,
    walk::{PartKind, kind_of_part, type_name},
    words::Words,
};
use crate::report::Address;

/// The stretches of a mail that have a meaning; what lies between them are boundaries and line ends.
#[derive(Debug, Default)]
pub struct Layout {
    /// In the order of the mail, without overlaps.
    pub spans: Vec<Span>,
    /// The boundaries between MIME parts.
    pub boundaries: Vec<String>,
    /// Everything from here on is never read.
    pub end: usize,
}

/// One stretch of a mail.
#[derive(Debug)]
pub struct Span {
    /// Where it lies.
    pub range: Range<usize>,
    /// What it is.
    pub block: Block,
    /// How it is encoded.
    pub coding: Coding,
    /// Its bytes, where the coding hides them.
    pub decoded: Option<Vec<u8>>,
}

/// What a stretch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A header block of the mail itself or of one of its parts, with the blank line behind it.
    Header,
    /// The header block of a returned message.
    ReturnedHeader,
    /// Text that is read.
    Text {
        /// `type/subtype`, lower case.
        content_type: String,
        /// As the part names it.
        charset: Option<String>,
    },
    /// A returned message whose bytes are encoded or broken.
    ReturnedMessage,
    /// What nobody reads: attachments, and the body of the returned message.
    Unread,
}

impl Layout {
    /// Takes a mail apart; `None` for what has no header at all. At most `most` octets are looked at.
    #[must_use]
    pub fn read(raw: &[u8], most: usize, tables: &Tables) -> Option<Self> {
        let raw = mime::within_bounds(raw, most);
        let message = MessageParser::default().parse(raw)?;
        let mut layout = Self { end: raw.len(), ..Self::default() };
        layout.add_message(&message, raw, is_dsn(&message), Block::Header, &tables.words);
        layout.spans.sort_by_key(|s| s.range.start);
        let mut end = 0;
        layout.spans.retain(|span| {
            let fits = span.range.start >= end && span.range.end >= span.range.start;
            end = if fits { span.range.end } else { end };
            fits
        });
        Some(layout)
    }

    fn add_message(&mut self, message: &Message<'_>, raw: &[u8], in_report: bool, header: Block, words: &Words) {
        for (n, part) in message.parts.iter().enumerate() {
            let block = if n == 0 { header.clone() } else { Block::Header };
            self.add(part.offset_header..part.offset_body, raw, block, Coding::Plain);
            self.add_body(part, raw, in_report, words);
        }
    }

    fn add_body(&mut self, part: &MessagePart<'_>, raw: &[u8], in_report: bool, words: &Words) {
        let (kind, content_type) = kind_of_part(part);
        let body = part.offset_body..part.offset_end;
        let coding = Coding::of(part.encoding);
        let attribute = |name| part.content_type().and_then(|c| c.attribute(name)).map(str::to_owned);
        if let (PartType::Message(inner), Coding::Plain) = (&part.body, coding)
            && let Some(root) = inner.parts.first()
        {
            if !in_report && carries_report(inner, words) {
                // A bounce that somebody forwarded is read like one that came by itself.
                self.add_message(inner, raw, is_report(inner, words), Block::Header, words);
            } else {
                self.add(root.offset_header..root.offset_body, raw, Block::ReturnedHeader, Coding::Plain);
                self.add(root.offset_body..part.offset_end, raw, Block::Unread, Coding::Plain);
            }
            return;
        }
        let block = match kind {
            PartKind::Multipart => {
                self.boundaries.extend(attribute("boundary"));
                return;
            }
            PartKind::Message | PartKind::ReturnedMessage => Block::ReturnedMessage,
            PartKind::Text => Block::Text { content_type, charset: attribute("charset") },
            PartKind::Unread => Block::Unread,
        };
        self.add(body, raw, block, coding);
    }

    fn add(&mut self, range: Range<u32>, raw: &[u8], block: Block, coding: Coding) {
        let range = range.start as usize..(range.end as usize).min(raw.len());
        let Some(bytes) = raw.get(range.clone()) else { return };
        let decoded = coding.decode(bytes);
        let coding = if decoded.is_some() { coding } else { Coding::Plain };
        self.spans.push(Span { range, block, coding, decoded });
    }
}

/// Whether a message that another one carries is itself a bounce, by its header.
#[must_use]
pub fn is_bounce(raw: &[u8], tables: &Tables) -> bool {
    MessageParser::default().parse_headers(raw).is_some_and(|message| is_report(&message, &tables.words))
}

/// Whether a message is a bounce rather than the message that a bounce returns.
fn is_report(message: &Message<'_>, words: &Words) -> bool {
    let from = message.from().and_then(|a| a.first()).and_then(|a| a.address()).and_then(Address::parse);
    is_dsn(message)
        || message.header("X-Failed-Recipients").is_some()
        || from.is_some_and(|a| failed::is_service(&a, words))
}

/// Whether a message is a bounce, or has one attached. mail-parser has bounded how deep.
fn carries_report(message: &Message<'_>, words: &Words) -> bool {
    let attached =
        |part: &MessagePart<'_>| matches!(&part.body, PartType::Message(inner) if carries_report(inner, words));
    is_report(message, words) || message.parts.iter().any(attached)
}

/// RFC 6522: what such a message carries is the one that it returns.
fn is_dsn(message: &Message<'_>) -> bool {
    let content_type = message.parts.first().and_then(|root| root.content_type()).map(type_name);
    content_type.is_some_and(|t| t == "multipart/report")
}
