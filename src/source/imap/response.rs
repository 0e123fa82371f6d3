//! One whole response of an IMAP server -> [`Response`]. Reads what this client asks for and calls the rest
//! [`Response::Other`]: nothing that a server sends is an error, a panic, or a recursion here.

use bytes::Bytes;
use jiff::Timestamp;

/// A response, as far as it concerns a reader of mail.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Response {
    /// The answer to the command of this tag.
    Done(String, Condition),
    /// `* OK`, `* NO`, `* BAD`, `* BYE`, `* PREAUTH`.
    Condition(Condition),
    /// `+`: the server waits for more. In a login the text is a challenge: it may hold what nobody else is to know, so
    /// it is logged nowhere.
    Continue(Bytes),
    /// What the server can do, in upper case.
    Capability(Vec<String>),
    /// The UIDs that a UID SEARCH found.
    Search(Vec<u32>),
    /// How many messages the folder holds now.
    Exists(u32),
    /// One message less.
    Expunge,
    /// What was asked about one message.
    Fetch(Fetched),
    /// Anything else.
    Other,
}

/// RFC 9051 §7.1: how a command ended, or what the server wants known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub status: Status,
    /// What stands in brackets, with its first word in upper case: `UIDVALIDITY 7`; or empty.
    pub code: String,
    /// The text for people, safe to print.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bad,
    Bye,
    Preauth,
}

/// RFC 9051 §7.5.2: those data of a message that were in the response.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fetched {
    pub uid: Option<u32>,
    /// RFC822.SIZE.
    pub size: Option<u64>,
    /// INTERNALDATE in seconds since 1970.
    pub received: Option<i64>,
    /// `BODY[]`, perhaps cut.
    pub body: Option<Bytes>,
}

impl Condition {
    /// The first word of the code: `NONEXISTENT`, or empty.
    pub(super) fn keyword(&self) -> &str {
        self.code.split(' ').next().unwrap_or_default()
    }

    /// The rest of the code when its first word is `keyword`.
    pub(super) fn argument(&self, keyword: &str) -> Option<&str> {
        self.code.strip_prefix(keyword)?.strip_prefix(' ')
    }

    /// What there is to repeat to a person.
    pub(super) fn said(&self) -> &str {
        if self.text.is_empty() { &self.code } else { &self.text }
    }
}

/// Reads one response.
pub(super) fn parse(response: &Bytes) -> Response {
    let mut words = response.splitn(3, |b| *b == b' ');
    let (tag, first, rest) =
        (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match tag {
        b"*" => untagged(response, first, rest).unwrap_or(Response::Other),
        [b'+', ..] => Response::Continue(response.slice(1..)),
        _ => condition(first, rest).map_or(Response::Other, |c| Response::Done(printable(tag), c)),
    }
}

fn untagged(response: &Bytes, first: &[u8], rest: &[u8]) -> Option<Response> {
    if let Some(condition) = condition(first, rest) {
        return Some(Response::Condition(condition));
    }
    if let Some(number) = number::<u32>(first) {
        return match rest.to_ascii_uppercase().as_slice().split(|b| *b == b' ').next()? {
            b"EXISTS" => Some(Response::Exists(number)),
            b"EXPUNGE" => Some(Response::Expunge),
            b"FETCH" => fetched(response.slice_ref(rest)).map(Response::Fetch),
            _ => None,
        };
    }
    let words = rest.split(|b| *b == b' ').filter(|word| !word.is_empty());
    match first.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => Some(Response::Capability(words.map(|w| printable(w).to_ascii_uppercase()).collect())),
        b"SEARCH" => Some(Response::Search(words.filter_map(number).collect())),
        _ => None,
    }
}

fn condition(status: &[u8], rest: &[u8]) -> Option<Condition> {
    let status = match status.to_ascii_uppercase().as_slice() {
        b"OK" => Status::Ok,
        b"NO" => Status::No,
        b"BAD" => Status::Bad,
        b"BYE" => Status::Bye,
        b"PREAUTH" => Status::Preauth,
        _ => return None,
    };
    let bracketed = rest.strip_prefix(b"[").and_then(|r| Some(r.split_at(memchr::memchr(b']', r)?)));
    let (code, text) = bracketed.map_or((&b""[..], rest), |(code, text)| (code, &text[1..]));
    let code = printable(code);
    let (word, argument) = code.split_once(' ').unwrap_or((&code, ""));
    let code = format!("{} {argument}", word.to_ascii_uppercase()).trim_end().to_owned();
    Some(Condition { status, code, text: printable(text).trim().to_owned() })
}

/// `FETCH (name value name value …)`, and nothing behind: where an announced length is wrong, what follows is a piece of
/// some mail.
fn fetched(response: Bytes) -> Option<Fetched> {
    let mut fetched = Fetched::default();
    let mut rest = response.slice(memchr::memchr(b'(', &response)? + 1..);
    loop {
        rest = rest.slice(rest.iter().position(|b| *b != b' ')?..);
        if let Some(behind) = rest.strip_prefix(b")") {
            return behind.iter().all(u8::is_ascii_whitespace).then_some(fetched);
        }
        let name = take_name(&mut rest)?;
        let value = take_value(&mut rest)?;
        match name.as_slice() {
            b"UID" => fetched.uid = number(&value?),
            b"RFC822.SIZE" => fetched.size = number(&value?),
            b"INTERNALDATE" => fetched.received = value.as_deref().and_then(internal_date),
            // `BODY[]`, or `BODY[]<0>` where only a part was asked for.
            name if name.starts_with(b"BODY[]") => fetched.body = value,
            _ => {}
        }
    }
}

/// The next name in upper case.
fn take_name(rest: &mut Bytes) -> Option<Vec<u8>> {
    let length = memchr::memchr(b' ', rest)?;
    let name = rest[..length].to_ascii_uppercase();
    *rest = rest.slice(length + 1..);
    Some(name)
}

/// The next value, without quotes; `Some(None)` for NIL and for lists; `None` when it breaks off.
fn take_value(rest: &mut Bytes) -> Option<Option<Bytes>> {
    // A list is passed over with all that it holds; counted, not recursed into: a server may nest without end.
    let mut depth = 0_usize;
    loop {
        let skipped = rest.iter().position(|b| *b != b' ' || depth == 0)?;
        let value = match rest.get(skipped)? {
            b'(' => {
                depth += 1;
                *rest = rest.slice(skipped + 1..);
                continue;
            }
            b')' if depth > 0 => {
                depth -= 1;
                *rest = rest.slice(skipped + 1..);
                None
            }
            b'"' => {
                let mut escaped = false;
                let length = rest[skipped + 1..].iter().position(|b| {
                    let end = *b == b'"' && !escaped;
                    escaped = *b == b'\\' && !escaped;
                    end
                })?;
                let value = rest.slice(skipped + 1..skipped + 1 + length);
                *rest = rest.slice(skipped + length + 2..);
                Some(unescaped(value))
            }
            b'{' | b'~' => {
                let open = skipped + memchr::memchr(b'{', &rest[skipped..])? + 1;
                let close = open + memchr::memchr(b'}', &rest[open..])?;
                let start = close + memchr::memchr(b'\n', &rest[close..])? + 1;
                let digits = rest[open..close].strip_suffix(b"+").unwrap_or(&rest[open..close]);
                let end = start.checked_add(number(digits)?).filter(|end| *end <= rest.len())?;
                let value = rest.slice(start..end);
                *rest = rest.slice(end..);
                Some(value)
            }
            _ => {
                let ends = |b: &u8| matches!(b, b' ' | b')') || (depth > 0 && *b == b'(');
                let length = rest[skipped..].iter().position(ends)?;
                let value = rest.slice(skipped..skipped + length);
                *rest = rest.slice(skipped + length..);
                (!value.eq_ignore_ascii_case(b"NIL")).then_some(value)
            }
        };
        if depth == 0 {
            return Some(value);
        }
    }
}

/// RFC 9051 §4.3: in a quoted string `\` stands before `"` and `\`.
fn unescaped(value: Bytes) -> Bytes {
    if memchr::memchr(b'\\', &value).is_none() {
        return value;
    }
    let mut escaped = false;
    let plain = value.iter().copied().filter(|b| {
        escaped = *b == b'\\' && !escaped;
        !escaped
    });
    plain.collect()
}

/// RFC 9051 §9, date-time: ` 7-Feb-2026 01:02:03 +0000`, the day padded with a space.
fn internal_date(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim_start();
    Timestamp::strptime("%d-%b-%Y %H:%M:%S %z", text).ok().map(Timestamp::as_second)
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A server's words end up in log lines: no control characters, and no end of them.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(2000).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Response {
        parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn conditions_keep_their_code_and_text() {
        let Response::Done(tag, no) = read("A7 no [unavailable] try\tlater\x1b[31m") else { panic!() };
        assert_eq!((tag.as_str(), no.status, no.keyword()), ("A7", Status::No, "UNAVAILABLE"));
        assert_eq!(no.text, "try later [31m");
        let Response::Condition(ok) = read("* OK [UIDVALIDITY 77] fine") else { panic!() };
        assert_eq!(ok.argument("UIDVALIDITY"), Some("77"));
        let Response::Condition(ok) = read("* OK [ALERT]\u{e9}t\u{e9}") else { panic!() };
        assert_eq!((ok.keyword(), ok.text.as_str()), ("ALERT", "\u{e9}t\u{e9}"));
        let Response::Done(_, bare) = read("A1 OK") else { panic!() };
        assert_eq!((bare.code.as_str(), bare.text.as_str()), ("", ""));
    }

    #[test]
    fn untagged_data_is_read_and_the_unknown_is_other() {
        assert_eq!(read("* SEARCH 2 84 882 "), Response::Search(vec![2, 84, 882]));
        assert_eq!(read("* SEARCH"), Response::Search(vec![]));
        assert_eq!(read("* 23 EXISTS"), Response::Exists(23));
        assert_eq!(read("* 23 EXPUNGE"), Response::Expunge);
        assert_eq!(read("* CAPABILITY IMAP4rev1 Move"), Response::Capability(vec!["IMAP4REV1".into(), "MOVE".into()]));
        assert_eq!(read("+ idling now"), Response::Continue(" idling now".into()));
        assert_eq!(read("+"), Response::Continue(Bytes::new()));
        for other in ["", "*", "* ", "* XYZZY 1 2", "* 4294967296 EXISTS", "* 1 FETCH", "A1", "A1 MAYBE"] {
            assert_eq!(read(other), Response::Other, "{other:?}");
        }
    }

    #[test]
    fn a_message_is_read_in_any_order_with_unknown_items_between() {
        let expected = Fetched {
            uid: Some(9),
            size: Some(5_000_000_000),
            received: Some(1_770_426_123),
            body: Some(Bytes::from_static(b"a)\r\n\"b")),
        };
        for text in [
            "* 3 FETCH (UID 9 RFC822.SIZE 5000000000 INTERNALDATE \" 7-Feb-2026 01:02:03 +0000\" BODY[] {6}\r\na)\r\n\"b)",
            "* 3 FETCH (BODY[]<0> {6}\r\na)\r\n\"b FLAGS (\\Seen (a \")\" {2}\r\n)) x)) X-NEW nil \
             INTERNALDATE \"07-Feb-2026 02:02:03 +0100\" uid 9 rfc822.size 5000000000)",
        ] {
            assert_eq!(read(text), Response::Fetch(expected.clone()), "{text}");
        }
    }

    #[test]
    fn a_body_may_be_a_quoted_string() {
        let Response::Fetch(fetched) = read(r#"* 1 FETCH (UID 9 BODY[] "a \"b\" \\ c" X 1)"#) else { panic!() };
        assert_eq!(fetched.body.as_deref(), Some(&br#"a "b" \ c"#[..]));
    }

    #[test]
    fn a_message_whose_announced_length_is_wrong_is_none() {
        let read = |announced: usize| read(&format!("* 1 FETCH (UID 9 BODY[] {{{announced}}}\r\nall-(of-it)-is-here)"));
        assert!(matches!(read(19), Response::Fetch(_)));
        for wrong in (0..30).filter(|announced| *announced != 19) {
            assert_eq!(read(wrong), Response::Other, "{wrong}");
        }
    }

    #[test]
    fn what_crashes_other_readers_is_harmless() {
        let nil = Fetched { uid: Some(1), ..Fetched::default() };
        assert_eq!(read("* 1 FETCH (UID 1 INTERNALDATE NIL BODY[] NIL)"), Response::Fetch(nil.clone()));
        let deep = format!("* 1 FETCH (UID 1 BODYSTRUCTURE {}{} X 1)", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(read(&deep), Response::Fetch(nil));
        assert_eq!(read(&format!("* 1 FETCH (UID 1 BODYSTRUCTURE {}", "(".repeat(100_000))), Response::Other);
    }

    proptest! {
        #[test]
        fn nothing_a_server_sends_panics(
            text in "(\\* |A1 |\\+ )?(1 )?(OK|NO|FETCH \\()?[ -~\\r\\n]{0,40}(BODY\\[\\] |UID )?[(){}\"\\\\~ 0-9a\u{e9}\\[\\]]{0,40}"
        ) {
            parse(&Bytes::from(text));
        }
    }
}
