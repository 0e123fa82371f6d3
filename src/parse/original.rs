//! The returned original message -> [`Original`]: from a message part, a header block part, or the text behind
//! the bounce's own words.

use super::{Options, mime, mime::Mail, text};
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
    let quoted = || mail.texts().find_map(|t| text::split(t).original).map(str::as_bytes);
    returned.or(headers).or_else(quoted).map(|raw| read(raw, options)).unwrap_or_default()
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
