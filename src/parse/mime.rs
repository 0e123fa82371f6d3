//! Bytes -> [`Mail`]: the headers and the leaf parts that bounce readers look at. With coding, layout and walk the only
//! file that knows mail-parser; it refuses to know what a bounce is.
//!
//! Hostile input is cut before mail-parser decodes it: size, and the depth of nested messages (mail-parser 0.11
//! drops them recursively, and copies those that are encoded once for each level: a few thousand of them would
//! overflow the stack or take all memory).

use std::{borrow::Cow, cell::OnceCell, sync::LazyLock};

use aho_corasick::AhoCorasick;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use mail_parser::{
    Addr, Encoding, Header, HeaderName, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType,
    decoders::{base64::base64_decode, html::html_to_text},
};

use super::{
    coding::Coding,
    fields,
    lines::{Lines, Numbering, Sent, Shape},
    passage::Passage,
    returned,
    walk::{PartKind, kind_of_part, type_name},
    words::Words,
};
use crate::{
    report::{Evidence, Excerpt, Location},
    text::split_lines,
};

/// Nested messages beyond this many are cut off; a bounce of a bounce of a bounce has three.
const MOST_NESTED: usize = 40;
/// A mail of so many bytes has no room for as many nested messages as would hurt.
const SMALL: usize = 32 * 1024;
/// Leaf parts beyond this many are not looked at; reports have two to five.
const MOST_PARTS: usize = 100;

/// A mail as the bounce readers see it.
#[derive(Debug)]
pub struct Mail<'a> {
    /// By which words it is read.
    pub(super) words: &'a Words,
    /// Subject, decoded (RFC 2047), white space folded.
    pub subject: String,
    /// Address of the first From mailbox; empty for `MAILER-DAEMON <>` and absent ones.
    pub from: String,
    /// Display name of the first From mailbox, or the whole raw field where it is no mailbox.
    pub from_name: String,
    /// Addresses of To.
    pub to: Vec<String>,
    /// Message-ID without angle brackets.
    pub message_id: Option<String>,
    /// Date in seconds since 1970-01-01 UTC.
    pub date: Option<i64>,
    /// Content-Type of the whole mail, `type/subtype`, lower case; empty when absent.
    pub content_type: String,
    /// The report-type parameter of multipart/report (RFC 6522 §3), lower case.
    pub report_type: String,
    /// Header fields in order.
    headers: Vec<Field<'a>>,
    /// Leaf parts in document order. A returned message is one part with its bytes.
    pub parts: Vec<Part<'a>>,
}

/// A header field; few of the many that a mail has are ever looked at, so the value is unfolded on demand.
#[derive(Debug)]
pub struct Field<'a> {
    /// The name, as written.
    pub name: Cow<'a, str>,
    raw: &'a [u8],
    sent: Sent<'a>,
    /// The octet at which it begins.
    at: usize,
    unfolded: OnceCell<String>,
}

impl Field<'_> {
    /// The value, unfolded, as written.
    #[must_use]
    pub fn value(&self) -> &str {
        self.unfolded.get_or_init(|| on_one_line(&legible_octets(self.raw)))
    }

    /// Whether a word stands in the value as it was sent, in whatever letter case.
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        let word = word.as_bytes();
        self.raw.windows(word.len().max(1)).any(|window| window.eq_ignore_ascii_case(word))
    }

    /// Where it stands.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let value = self.value();
        Evidence {
            location: Location::Header(self.name.clone().into_owned().into()),
            range: 0..value.len(),
            line: self.sent.line_of(self.at),
            words: value.to_owned(),
        }
    }

    /// Where words of its value stand, with the line of a folded field that has them; where all of it stands, if they
    /// do not stand there as they are.
    #[must_use]
    pub fn evidence_of(&self, words: &str) -> Evidence {
        let Some(start) = self.value().find(words) else { return self.evidence() };
        let location = Location::Header(self.name.clone().into_owned().into());
        let first = self.sent.breaks_before(self.at);
        let mut value = Excerpt::default();
        let mut at = 0;
        for (n, line) in split_lines(&legible_octets(self.raw)).enumerate() {
            value.push(&location, line, at, self.sent.numbering.line(first + n));
            at += line.len();
        }
        let range = start..start + words.len();
        Evidence { range: range.clone(), ..value.on_one_line().evidence(range) }
    }
}

/// A leaf of the MIME tree.
#[derive(Debug)]
pub struct Part<'a> {
    /// `type/subtype`, lower case; `text/plain` when absent.
    pub content_type: String,
    /// Decoded text, lines ended by `\n`; HTML already turned into text. Empty for returned messages.
    pub text: Cow<'a, str>,
    /// Bytes of a returned message (message/rfc822 and message/global).
    pub message: Cow<'a, [u8]>,
    /// Its header, where it was read together with the mail around it.
    header: Option<Box<Mail<'a>>>,
    lines: Lines<'a>,
    words: &'a Words,
    /// Where the returned original begins in the text; found once, asked for by several readers.
    original_at: OnceCell<Option<usize>>,
    has_status_fields: OnceCell<bool>,
}

impl<'a> Mail<'a> {
    /// One that says nothing.
    pub(super) const fn empty(words: &'a Words) -> Self {
        Self {
            words,
            subject: String::new(),
            from: String::new(),
            from_name: String::new(),
            to: Vec::new(),
            message_id: None,
            date: None,
            content_type: String::new(),
            report_type: String::new(),
            headers: Vec::new(),
            parts: Vec::new(),
        }
    }
}

impl Mail<'_> {
    /// The first field of that name (case-insensitive), unfolded, as written.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.field(name).map(Field::value)
    }

    /// The first field of that name (case-insensitive).
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field<'_>> {
        self.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Every field in order.
    #[must_use]
    pub fn fields(&self) -> &[Field<'_>] {
        &self.headers
    }

    /// Every field of that name.
    pub fn headers_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(Field::value)
    }

    /// The texts of all readable parts that are not machine-readable reports.
    pub fn texts(&self) -> impl Iterator<Item = &Part<'_>> {
        self.parts.iter().filter(|p| p.is_human() && !p.text.trim().is_empty())
    }
}

impl<'a> Part<'a> {
    fn of_text(content_type: String, text: Cow<'a, str>, lines: Lines<'a>, words: &'a Words) -> Self {
        Self::of(content_type, text, Cow::Borrowed(&[]), lines, words)
    }

    fn of_message(content_type: String, message: Cow<'a, [u8]>, lines: Lines<'a>, words: &'a Words) -> Self {
        Self::of(content_type, Cow::Borrowed(""), message, lines, words)
    }

    const fn of(
        content_type: String,
        text: Cow<'a, str>,
        message: Cow<'a, [u8]>,
        lines: Lines<'a>,
        words: &'a Words,
    ) -> Self {
        let (original_at, has_status_fields) = (OnceCell::new(), OnceCell::new());
        Self { content_type, text, message, header: None, lines, words, original_at, has_status_fields }
    }

    /// The header of the returned message that it is, if it was read together with the mail around it.
    pub(super) fn header(&self) -> Option<&Mail<'a>> {
        self.header.as_deref()
    }

    /// Whether no blank lines stand before the returned message.
    fn begins_with_header(&self) -> bool {
        self.message.first().is_some_and(|octet| !octet.is_ascii_whitespace())
    }

    /// The program's own words: the text up to the returned original.
    #[must_use]
    pub(super) fn words(&self) -> Passage<'_> {
        Passage::of_part(self).slice(0..self.original_at().unwrap_or(self.text.len()))
    }

    /// The line of the mail in which an offset of the text stands.
    #[must_use]
    pub fn line_of(&self, offset: usize) -> Option<u32> {
        self.lines.line_of(&self.text, offset)
    }

    /// The lines of the mail that carry the returned message.
    pub(super) fn numbering(&self) -> &Numbering {
        self.lines.numbering()
    }

    /// The returned original behind the words.
    pub(super) fn original(&self) -> Option<Passage<'_>> {
        self.original_at().map(|at| Passage::of_part(self).slice(at..self.text.len()))
    }

    fn original_at(&self) -> Option<usize> {
        *self.original_at.get_or_init(|| returned::begins_at(&self.text, self.words))
    }

    /// Whether the fields of RFC 3464 stand in its text, whatever its type.
    pub(super) fn has_status_fields(&self) -> bool {
        *self.has_status_fields.get_or_init(|| fields::has_status_fields(&self.text))
    }

    /// The machine-readable part of a report, by its type (RFC 3464 §2.1, RFC 6533 §4).
    pub(super) fn has_report_type(&self) -> bool {
        self.content_type.ends_with("delivery-status")
    }

    /// text/plain, text/html and the like, but no header block and no report.
    #[must_use]
    pub fn is_human(&self) -> bool {
        self.content_type.starts_with("text/") && !self.content_type.ends_with("rfc822-headers")
    }
}

/// Parses only the fields that [`Mail`] has; a mail's many Received fields would cost as much as all of them. Where the
/// others stand is known all the same.
static PARSER: LazyLock<MessageParser> =
    LazyLock::new(|| MessageParser::new().with_minimal_headers().with_message_ids().default_header_ignore());

/// Reads a mail; `None` for what has no header at all. At most `most` bytes are looked at.
#[must_use]
pub(super) fn read<'a>(sent: Sent<'a>, most: usize, words: &'a Words) -> Option<Mail<'a>> {
    let sent = Sent { bytes: within_bounds(sent.bytes, most), ..sent };
    let message = PARSER.parse(sent.bytes)?;
    let mut mail = Mail::empty(words);
    read_headers(&message, sent, &mut mail);
    collect_parts(message, sent, &mut mail);
    Some(mail)
}

/// The readable prefix: at most `most` bytes, and nothing that nests deeper than mail-parser can bear.
pub(super) fn within_bounds(raw: &[u8], most: usize) -> &[u8] {
    static NESTED: LazyLock<AhoCorasick> = LazyLock::new(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(["message/rfc822", "message/global", "multipart/digest"])
            .expect("three short literals compile")
    });
    let raw = &raw[..raw.len().min(most)];
    if raw.len() <= SMALL {
        return raw;
    }
    match NESTED.find_iter(raw).nth(MOST_NESTED) {
        Some(cut) => &raw[..cut.start()],
        None => &raw[..bearable(raw)],
    }
}

/// Where to cut nested messages that no search for their usual spelling finds (`message (a comment)/rfc822`), and
/// encoded ones: the first is read for [`SMALL`] bytes. Asks mail-parser itself, with decoding switched off.
fn bearable(raw: &[u8]) -> usize {
    static UNDECODED: LazyLock<MessageParser> = LazyLock::new(|| {
        let types = MessageParser::new().header_content_type(HeaderName::ContentType);
        types.default_header_ignore()
    });
    let mut pending: Vec<Message<'_>> = UNDECODED.parse(raw).into_iter().collect();
    let (mut cut, mut nested) = (raw.len(), 0);
    // A list and no recursion: dropping them must not be what it guards against.
    while let Some(message) = pending.pop() {
        for part in message.parts {
            if may_be_message(&part) && part.headers.iter().any(|h| is_encoding(h, raw)) {
                cut = cut.min(part.offset_body as usize + SMALL);
            }
            if let PartType::Message(inner) = part.body {
                nested += 1;
                if nested == MOST_NESTED {
                    cut = cut.min(part.offset_header as usize);
                }
                pending.push(inner);
            }
        }
    }
    cut
}

/// A part without a type is a message, too, within multipart/digest (RFC 2046 §5.1.5).
fn may_be_message(part: &MessagePart<'_>) -> bool {
    part.content_type().is_none_or(|t| t.ctype() == "message")
}

/// RFC 2045 §6.1: anything but the three encodings that leave the octets as they are.
fn is_encoding(header: &Header<'_>, raw: &[u8]) -> bool {
    let value = raw.get(header.offset_start as usize..header.offset_end as usize).unwrap_or_default().trim_ascii();
    let as_it_is = [&b""[..], b"7bit", b"8bit", b"binary"].iter().any(|e| value.eq_ignore_ascii_case(e));
    header.name == HeaderName::ContentTransferEncoding && !as_it_is
}

fn read_headers<'a>(message: &Message<'a>, sent: Sent<'a>, mail: &mut Mail<'a>) {
    let root = message.root_part();
    mail.headers = root
        .headers
        .iter()
        .map(|h| Field {
            name: header_name(&h.name),
            raw: sent.bytes.get(h.offset_start as usize..h.offset_end as usize).unwrap_or_default(),
            sent,
            at: h.offset_field as usize,
            unfolded: OnceCell::new(),
        })
        .collect();
    mail.subject = on_one_line(message.subject().unwrap_or(""));
    if let Some(addr) = message.from().and_then(|a| a.first()) {
        mail.from = addr.address().unwrap_or("").to_owned();
        mail.from_name = addr.name().unwrap_or("").to_owned();
    }
    if mail.from.is_empty() && mail.from_name.is_empty() {
        mail.from_name = mail.header("From").unwrap_or("").to_owned();
    }
    mail.to = addresses(message.to());
    mail.message_id = message.message_id().map(str::to_owned);
    mail.date = message.date().map(mail_parser::DateTime::to_timestamp);
    if let Some(content_type) = root.content_type() {
        mail.content_type = type_name(content_type);
        mail.report_type = content_type.attribute("report-type").unwrap_or("").to_ascii_lowercase();
    }
}

fn header_name<'a>(name: &HeaderName<'a>) -> Cow<'a, str> {
    match name {
        HeaderName::Other(name) => name.clone(),
        known => Cow::Borrowed(known.as_static_str()),
    }
}

fn addresses(field: Option<&mail_parser::Address<'_>>) -> Vec<String> {
    field.map(|a| a.iter().filter_map(Addr::address).map(str::to_owned).collect()).unwrap_or_default()
}

fn collect_parts<'a>(message: Message<'a>, sent: Sent<'a>, mail: &mut Mail<'a>) {
    for part in message.parts.into_iter().take(MOST_PARTS) {
        if let Some(part) = leaf(part, sent, mail.words) {
            mail.parts.push(part);
        }
    }
}

fn leaf<'a>(mut part: MessagePart<'a>, sent: Sent<'a>, words: &'a Words) -> Option<Part<'a>> {
    if let Some(decoded) = truncated_base64(&part) {
        (part.body, part.encoding) = (PartType::Text(decoded.into()), Encoding::Base64);
    }
    let (kind, content_type) = kind_of_part(&part);
    let span = part.offset_body as usize..part.offset_end as usize;
    let unencoded = sent.bytes.get(span.clone()).filter(|_| part.encoding == Encoding::None);
    let shape = Shape::Lines(Coding::of(part.encoding));
    let lines = |shape| Lines::new(sent, span.clone(), shape);
    match (kind, part.body) {
        (PartKind::Multipart | PartKind::Unread, _) | (_, PartType::Multipart(_)) => None,
        (_, PartType::Message(inner)) => {
            // Where it lies in a copy, the lines of the mail are not to be had this way.
            let header = matches!(inner.raw_message, Cow::Borrowed(_)).then(|| header_of(&inner, sent, words));
            let message = match inner.raw_message {
                // mail-parser gives a message that is not encoded the bytes of the whole mail around it.
                Cow::Borrowed(whole) => whole.get(span.clone()).unwrap_or_default().into(),
                decoded => decoded,
            };
            let mut part = Part::of_message(content_type, message, lines(shape), words);
            part.header = header.filter(|_| part.begins_with_header()).map(Box::new);
            Some(part)
        }
        (PartKind::ReturnedMessage, PartType::Text(text)) => {
            Some(Part::of_message(content_type, text.into_owned().into_bytes().into(), lines(shape), words))
        }
        (PartKind::ReturnedMessage, PartType::Binary(bytes) | PartType::InlineBinary(bytes)) => {
            Some(Part::of_message(content_type, bytes, lines(shape), words))
        }
        (_, PartType::Html(text) | PartType::Text(text)) => {
            let text = legible(text, unencoded);
            if content_type == "text/html" {
                return Some(Part::of_text(content_type, from_html(&text).into(), lines(Shape::Reflowed), words));
            }
            Some(Part::of_text(content_type, plain(text), lines(shape), words))
        }
        (_, PartType::Binary(bytes) | PartType::InlineBinary(bytes)) => {
            Some(Part::of_text(content_type, plain(lossy(bytes)), lines(shape), words))
        }
    }
}

/// QUIRK: old programs send 8-bit and ISO-2022-JP text without saying so, and mail-parser then reads it as UTF-8.
/// Where that left marks of damage, the charset is guessed from the bytes as they were sent.
fn legible<'a>(text: Cow<'a, str>, unencoded: Option<&[u8]>) -> Cow<'a, str> {
    let damaged = text.contains('\u{fffd}') || text.contains("\u{1b}$");
    let Some(bytes) = unencoded.filter(|_| damaged) else { return text };
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(&bytes[..bytes.len().min(MOST_GUESSED)], true);
    let (decoded, _, _) = detector.guess(None, Utf8Detection::Allow).decode(bytes);
    Cow::Owned(decoded.into_owned())
}

/// Octets from which a charset is guessed.
const MOST_GUESSED: usize = 16 * 1024;

/// QUIRK: of a mail that was cut within base64, mail-parser gives the characters; what they say is UTF-8 mostly.
fn truncated_base64(part: &MessagePart<'_>) -> Option<String> {
    let PartType::Text(text) = &part.body else { return None };
    let encoded =
        part.is_encoding_problem && part.content_transfer_encoding().is_some_and(|e| e.eq_ignore_ascii_case("base64"));
    let digits = || text.bytes().filter(|b| !b.is_ascii_whitespace());
    let whole: Vec<u8> = encoded.then(|| digits().take(digits().count() / 4 * 4).collect())?;
    base64_decode(&whole).map(|octets| String::from_utf8_lossy(&octets).into_owned())
}

/// QUIRK: nor does it keep the lines and blanks of preformatted text, in which many programs show a report.
fn with_breaks(html: &str) -> Cow<'_, str> {
    static MATCHER: LazyLock<AhoCorasick> = LazyLock::new(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(["</pre", "<pre>", "<pre "])
            .expect("short literals compile")
    });
    const CLOSES: usize = 0;
    let mut out = String::new();
    let (mut at, mut within) = (0, false);
    for tag in MATCHER.find_iter(html) {
        push_text(&html[at..tag.start()], within, &mut out);
        if within {
            out.push_str("<br>");
        }
        (at, within) = (tag.start(), tag.pattern().as_usize() != CLOSES);
    }
    if at == 0 && !within {
        return html.into();
    }
    push_text(&html[at..], within, &mut out);
    out.into()
}

/// Some HTML; where it is preformatted, with elements and references in place of line ends and blanks.
fn push_text(html: &str, preformatted: bool, out: &mut String) {
    if !preformatted {
        out.push_str(html);
        return;
    }
    let (mut within_tag, mut before) = (false, ' ');
    for c in html.chars() {
        match c {
            '\n' if !within_tag => out.push_str("<br>"),
            ' ' | '\t' if !within_tag && before.is_whitespace() => out.push_str("&nbsp;"),
            _ => out.push(c),
        }
        within_tag = c == '<' || (within_tag && c != '>');
        before = c;
    }
}

/// QUIRK: mail-parser's reading of HTML puts nothing between the cells of a table, ends no line with a `</div>` and no
/// paragraph with a `</p>`, and leaves `&nbsp;` what it is: in `550&nbsp;User&nbsp;unknown` it is a blank.
fn from_html(html: &str) -> String {
    static MATCHER: LazyLock<AhoCorasick> = LazyLock::new(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(ENDS.map(|(tag, _)| tag))
            .expect("short literals compile")
    });
    let html = with_breaks(html);
    let is_line = has_empty_paragraph(&html);
    let ended = ENDS.map(|(tag, ended)| if is_line && tag == "</p>" { tag } else { ended });
    html_to_text(&MATCHER.replace_all(&html, &ended)).replace('\u{a0}', " ")
}

/// Whether a paragraph stands for a blank line: then every other one is a line, as Outlook and web mailers write them.
fn has_empty_paragraph(html: &str) -> bool {
    static MATCHER: LazyLock<AhoCorasick> = LazyLock::new(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build([">&nbsp;</p>", ">\u{a0}</p>", "><br></p>", "><br/></p>", "><br /></p>", "><o:p>&nbsp;</o:p></p>"])
            .expect("short literals compile")
    });
    let opens = |tag: &str| tag.get(..2).is_some_and(|name| name.eq_ignore_ascii_case("<p"));
    let begins = |end: usize| html[..end].rfind('<').map(|start| &html[start..end]);
    MATCHER.find_iter(html).any(|empty| begins(empty.start()).is_some_and(opens))
}

/// Where the elements of HTML end, and what mail-parser reads as such an end.
const ENDS: [(&str, &str); 10] = [
    ("</td>", " </td>"),
    ("</th>", " </th>"),
    ("</tr>", "<br></tr>"),
    ("</li>", "<br></li>"),
    ("</div>", "<br></div>"),
    ("</p>", "</p><br>"),
    ("</h1>", "<br><br></h1>"),
    ("</h2>", "<br><br></h2>"),
    ("</h3>", "<br><br></h3>"),
    ("</h4>", "<br><br></h4>"),
];

fn lossy(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(b) => legible_octets(b),
        Cow::Owned(b) => Cow::Owned(legible_octets(&b).into_owned()),
    }
}

/// UTF-8, with marks where it is none; what is whole is not looked at octet by octet.
fn legible_octets(octets: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(octets).map_or_else(|_| String::from_utf8_lossy(octets), Cow::Borrowed)
}

/// CRLF and lone CR become LF, and a no-break space a blank; without a byte order mark.
fn plain(text: Cow<'_, str>) -> Cow<'_, str> {
    if !(text.contains('\r') || text.contains('\u{a0}') || text.starts_with('\u{feff}')) {
        return text;
    }
    let bare = text.trim_start_matches('\u{feff}');
    Cow::Owned(bare.replace("\r\n", "\n").replace('\r', "\n").replace('\u{a0}', " "))
}

/// Joins the lines of a folded field and trims it (RFC 5322 §2.2.3).
#[must_use]
pub fn on_one_line(text: &str) -> String {
    joined(text.split_ascii_whitespace(), text.len())
}

/// The words with one blank between; together with the blanks they take no more than so many octets.
pub(super) fn joined<'t>(words: impl Iterator<Item = &'t str>, octets: usize) -> String {
    let mut out = String::with_capacity(octets);
    for word in words {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// CR-only mail (old Macintosh programs) with its line ends made LF; `None` when it is not of that kind. Who delivers it may
/// have put lines of his own before it.
#[must_use]
pub fn from_cr_only(raw: &[u8]) -> Option<Vec<u8>> {
    let start = &raw[..raw.len().min(SMALL)];
    let first = memchr::memchr(b'\r', start)?;
    if raw.get(first + 1) == Some(&b'\n') {
        return None;
    }
    let is_lone = |at: &usize| raw.get(at + 1) != Some(&b'\n');
    let lone = memchr::memchr_iter(b'\r', raw).filter(is_lone).count();
    if memchr::memchr_iter(b'\n', raw).count() >= lone {
        return None;
    }
    Some(raw.iter().enumerate().map(|(at, &b)| if b == b'\r' && is_lone(&at) { b'\n' } else { b }).collect())
}

/// QUIRK: where CRLF went through a program that makes CRLF of each LF, lines end with CR CR LF. With one CR each; `None`
/// where the first lines don't end so.
#[must_use]
pub fn without_doubled_cr(raw: &[u8]) -> Option<Vec<u8>> {
    let mut ends = memchr::memchr_iter(b'\n', raw).take(FIRST_LINES);
    ends.any(|end| raw[..end].ends_with(b"\r\r")).then(|| {
        let is_doubled = |at: usize| raw[at] == b'\r' && raw.get(at + 1) == Some(&b'\r');
        (0..raw.len()).filter(|&at| !is_doubled(at)).map(|at| raw[at]).collect()
    })
}

/// An mbox file's separator, and what a server put before the mail.
const FIRST_LINES: usize = 4;

/// The headers of a returned message, read from its bytes: subject and addresses decoded.
#[must_use]
pub(super) fn read_header_block<'a>(sent: Sent<'a>, most: usize, words: &'a Words) -> Option<Mail<'a>> {
    let sent = Sent { bytes: &sent.bytes[..sent.bytes.len().min(most)], ..sent };
    PARSER.parse_headers(sent.bytes).map(|message| header_of(&message, sent, words))
}

fn header_of<'a>(message: &Message<'a>, sent: Sent<'a>, words: &'a Words) -> Mail<'a> {
    let mut mail = Mail::empty(words);
    read_headers(message, sent, &mut mail);
    if mail.to.is_empty() {
        mail.to = addresses(message.cc());
    }
    // A Message-ID that is no msg-id still identifies the message.
    if mail.message_id.is_none()
        && let Some(HeaderValue::Text(id)) = message.header(HeaderName::MessageId)
    {
        mail.message_id = Some(id.trim_matches(['<', '>', ' ']).to_owned());
    }
    mail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preformatted_text_keeps_its_lines() {
        for (html, text) in [
            (
                "<p>Sorry.</p>\n<pre class='a'>550 no\n  to: <b>bob</b></pre>\nBye\nbye",
                "Sorry.\n550 no\n  to: bob\nBye bye",
            ),
            ("<PRE>a\nb", "a\nb"),
            ("<preface>a\nb</preface>", "a b"),
        ] {
            let read = from_html(html);
            let lines: Vec<&str> = read.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            assert_eq!(lines.join("\n"), text, "{html}");
        }
    }

    #[test]
    fn paragraphs_are_lines_where_an_empty_one_is_a_blank_line() {
        for (html, text) in [
            ("<p>to bob</p><p>550 no</p><p>&nbsp;</p><p>to ann</p>", "to bob|550 no||to ann"),
            (
                "<P class=a>to bob</P>\n<P class=a>550 no</P><P class=a><o:p>&nbsp;</o:p></P><P>to ann</P>",
                "to bob|550 no||to ann",
            ),
            ("<p>to bob</p><p>550 no</p><p><br></p><p>to ann</p>", "to bob|550 no||to ann"),
            ("<p>to bob</p><p>550 no<b>x</b><br></p><p>to ann</p>", "to bob||550 nox||to ann"),
        ] {
            let read = from_html(html);
            let lines: Vec<&str> = read.trim().lines().map(str::trim).collect();
            let mut lines = lines.join("|");
            while lines.contains("|||") {
                lines = lines.replace("|||", "||");
            }
            assert_eq!(lines, text, "{html}");
        }
    }

    #[test]
    fn unseen_marks_are_read_past() {
        assert_eq!(plain("\u{feff}550\u{a0}no\r\nbye\r".into()), "550 no\nbye\n");
        assert_eq!(plain("550 no\n".into()), "550 no\n");
    }

    #[test]
    fn line_ends_are_mended() {
        let mend = |raw: &str| {
            let mended = without_doubled_cr(raw.as_bytes()).or_else(|| from_cr_only(raw.as_bytes()));
            mended.map(|mended| String::from_utf8(mended).expect("text"))
        };
        for (raw, mended) in [
            ("From: a\rTo: b\r\rHi\r", "From: a\nTo: b\n\nHi\n"),
            ("Return-Path: <>\nFrom: a\rTo: b\r\rHi\r", "Return-Path: <>\nFrom: a\nTo: b\n\nHi\n"),
            ("From: a\r\r\nTo: b\r\r\n\r\r\nHi\r\r\n", "From: a\r\nTo: b\r\n\r\nHi\r\n"),
            ("From x\nFrom: a\r\r\n\r\r\nHi\r\r\n", "From x\nFrom: a\r\n\r\nHi\r\n"),
        ] {
            assert_eq!(mend(raw).as_deref(), Some(mended), "{raw:?}");
        }
        for raw in ["", "From: a\n\nHi\n", "From: a\r\n\r\nHi\r\n", "From: a\n\nHi\rthere\n"] {
            assert_eq!(mend(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn text_without_a_charset_is_legible() {
        let words = Words::embedded();
        let texts = [
            ("ISO-2022-JP", "宛先が見つかりません。メールボックスが存在しません。"),
            ("windows-1251", "Почтовый ящик переполнен. Сообщение не может быть доставлено получателю."),
            ("KOI8-R", "Пользователь не найден, сообщение не доставлено. Почтовый ящик не существует."),
            ("GBK", "收件人邮箱不存在，您的邮件无法送达。"),
        ];
        for (charset, text) in texts {
            let encoding = encoding_rs::Encoding::for_label(charset.as_bytes()).expect(charset);
            let mut raw = b"From: MAILER-DAEMON@example.org\nSubject: failure notice\n\n".to_vec();
            raw.extend_from_slice(&encoding.encode(text).0);
            let mail = read(Sent { bytes: &raw, numbering: &Numbering::WHOLE }, 10_000, &words).expect("a mail");
            assert_eq!(mail.parts[0].text.trim(), text, "{charset}");
        }
    }
}
