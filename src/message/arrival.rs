//! The header of a mail -> when it arrived, for mails that lie in no mailbox that knows it.

use mail_parser::{DateTime, HeaderName, MessageParser};

/// When the server that delivered a mail received it: the time of its topmost stamp (RFC 5321 §4.4), else when it was sent;
/// in seconds since 1970-01-01 UTC. `None` where the header does not say, or says what can't be.
#[must_use]
pub fn arrival(raw: &[u8]) -> Option<i64> {
    let message = MessageParser::default().parse_headers(raw)?;
    let of = |name| {
        let field = message.root_part().headers.iter().find(|field| field.name == name)?;
        let value = raw.get(field.offset_start as usize..field.offset_end as usize)?;
        let value = String::from_utf8_lossy(value);
        // Of a stamp the time is the last.
        let date = DateTime::parse_rfc822(value.rsplit(';').next()?.trim())?;
        Some(date.to_timestamp()).filter(|at| date.is_valid() && *at >= FIRST_MAIL)
    };
    of(HeaderName::Received).or_else(|| of(HeaderName::Date))
}

/// 1971-01-01: what claims to be older has lost its date on the way.
const FIRST_MAIL: i64 = 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_stamp_says_when_a_mail_arrived_and_else_its_date() {
        let (stamp, date) = ("Tue, 1 Mar 2016 10:00:00 +0100", "Mon, 29 Feb 2016 23:00:00 -0500");
        let (at_stamp, at_date) = (Some(1_456_822_800), Some(1_456_804_800));
        let older = "Received: from a by b; Thu, 1 Jan 2015 00:00:00 +0000";
        for (header, expected) in [
            (format!("Return-Path: <>\nReceived: from x by y\n\tid 7; {stamp}\n{older}\nDate: {date}"), at_stamp),
            (format!("Date: {date}\nSubject: x"), at_date),
            (format!("Received: from x by y\nDate: {date}"), at_date),
            (format!("Received: by y; whenever\nDate: {date}"), at_date),
            (format!("Received: by y; Thu, 1 Jan 1970 00:00:00 +0000\nDate: {date}"), at_date),
            ("Date: tomorrow\nSubject: x".to_owned(), None),
            ("Date: Mon, 99 Foo 2016 99:99:99 +9999".to_owned(), None),
            ("Subject: x".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(arrival(format!("{header}\n\n{stamp}\n").as_bytes()), expected, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "(Received: [ -~é;]{0,60}\n|Date: [ -~é]{0,40}\n|[ -~]{0,40}\n){0,6}") {
            let _ = arrival(header.as_bytes());
        }
    }
}
