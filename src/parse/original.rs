//! The returned original message -> [`Original`]: from a message part, a header block part, or the text behind
//! the bounce's own words.

use std::borrow::Cow;

use super::{
    Options, mime,
    mime::{Mail, Part},
};
use crate::report::Original;

/// A header block is at most this long; what follows is body that nobody here reads.
const MOST_HEADER_OCTETS: usize = 64 * 1024;

/// What the mail returns of the original.
pub(super) fn find(mail: &Mail<'_>, options: &Options) -> Original {
    let returned = mail.parts.iter().rev().find(|p| !p.message.is_empty()).map(|p| p.message.as_ref());
    let headers = mail
        .parts
        .iter()
        .rev()
        .find(|p| p.content_type.ends_with("rfc822-headers") || p.content_type == "message/global-headers")
        .map(|p| p.text.as_bytes());
    match returned.or(headers) {
        Some(raw) => read(raw, options),
        None => quoted(mail).map(|text| read(text.as_bytes(), options)).unwrap_or_default(),
    }
}

/// The original as it stands behind the words of a text part.
pub(super) fn quoted<'m>(mail: &'m Mail<'_>) -> Option<Cow<'m, str>> {
    mail.texts().find_map(Part::original).map(without_indent)
}

/// fml and others indent the original: blanks before its first line are taken off every line.
fn without_indent(original: &str) -> Cow<'_, str> {
    let indent = &original[..original.len() - original.trim_start_matches([' ', '\t']).len()];
    if indent.is_empty() {
        return original.into();
    }
    let line = |line: &str| line.strip_prefix(indent).unwrap_or(line).to_owned();
    original.lines().map(line).collect::<Vec<_>>().join("\n").into()
}

fn read(raw: &[u8], options: &Options) -> Original {
    let start = raw.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
    let Some(mail) = mime::read_header_block(&raw[start..], MOST_HEADER_OCTETS) else {
        return Original::default();
    };
    let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    Original {
        message_id: mail.message_id.clone(),
        from: some(&mail.from),
        subject: some(&mail.subject),
        list_id: mail.header("List-Id").and_then(|v| {
            let inner = v.rsplit_once('<').map_or(v, |(_, id)| id);
            some(inner.trim_end_matches('>').trim())
        }),
        campaign: options.campaign_headers.iter().find_map(|name| mail.header(name).and_then(some)),
        to: mail.to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_returned_is_the_original_and_not_the_bounce() {
        let samples = [
            include_str!("../../scripts/samples/postfix-spam.eml"),
            // Here only the headers are returned.
            include_str!("../../scripts/samples/postfix-delivered.eml"),
        ];
        for (sample, message_id) in samples.into_iter().zip(["david.2026", "receipt.2026"]) {
            for mail in [sample.to_owned(), sample.replace('\n', "\r\n")] {
                let options = Options::default();
                let original = find(&mime::read(mail.as_bytes(), options.most_octets).unwrap(), &options);
                assert_eq!(original.message_id, Some(format!("{message_id}@lists.example.org")));
                assert_eq!(original.list_id.as_deref(), Some("news.lists.example.org"));
                assert_eq!(original.campaign.as_deref(), Some("spring-2026"));
            }
        }
    }
}
