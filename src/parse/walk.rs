//! A part of a mail's MIME tree -> what it is: asked by those who read bounces (mime) and by those who copy them
//! (layout), so that both see the same parts. Knows no words and decodes nothing.

use mail_parser::{ContentType, MessagePart, MimeHeaders, PartType};

/// What a part is to whoever reads a bounce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    /// It only holds others.
    Multipart,
    /// A message that mail-parser has taken apart.
    Message,
    /// QUIRK: an encoded or broken message/rfc822, which mail-parser leaves as text or octets.
    ReturnedMessage,
    /// Text, also that of a report: message/delivery-status is octets to mail-parser.
    Text,
    /// Attachments: of no use to anybody here.
    Unread,
}

/// What a part is, and its content type: `type/subtype`, lower case, `text/plain` where none is given.
pub(super) fn kind_of_part(part: &MessagePart<'_>) -> (PartKind, String) {
    let declared = part.content_type().map(type_name);
    // QUIRK: a multipart whose boundaries were lost on the way is a leaf, and its text is all there is.
    let name = declared.filter(|name| !name.starts_with("multipart/")).unwrap_or_else(|| "text/plain".to_owned());
    let readable = name.starts_with("text/") || name.starts_with("message/");
    let kind = match &part.body {
        PartType::Multipart(_) => PartKind::Multipart,
        PartType::Message(_) => PartKind::Message,
        PartType::Html(_) => PartKind::Text,
        _ if matches!(name.as_str(), "message/rfc822" | "message/global") => PartKind::ReturnedMessage,
        PartType::Text(_) => PartKind::Text,
        PartType::Binary(_) | PartType::InlineBinary(_) if readable => PartKind::Text,
        PartType::Binary(_) | PartType::InlineBinary(_) => PartKind::Unread,
    };
    (kind, name)
}

/// `type/subtype`, lower case.
pub(super) fn type_name(content_type: &ContentType<'_>) -> String {
    let (kind, subtype) = (content_type.ctype(), content_type.subtype());
    let mut name = [kind, if subtype.is_some() { "/" } else { "" }, subtype.unwrap_or("")].concat();
    name.make_ascii_lowercase();
    name
}
