//! One line of a client -> [`Command`] (RFC 2033 §4, RFC 5321 §4.1). Knows nothing of what goes before.

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Lhlo,
    Mail { sender: String, size: Option<u64> },
    Rcpt { recipient: String },
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

/// Why a line is no command: the reply that it gets.
pub(super) type Refusal = &'static str;

/// So long may an address be, in octets: more than any (RFC 5321 §4.5.3.1) by far.
const LONGEST_ADDRESS: usize = 1_000;

impl Command {
    /// `line` is without its end.
    pub(super) fn read(line: &[u8]) -> Result<Self, Refusal> {
        let text = String::from_utf8_lossy(line);
        let (verb, argument) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
        let argument = argument.trim();
        match verb.to_ascii_uppercase().as_str() {
            "LHLO" if argument.is_empty() => Err("501 5.5.4 LHLO wants a name"),
            "LHLO" => Ok(Self::Lhlo),
            "MAIL" => Self::mail(argument),
            "RCPT" => Self::rcpt(argument),
            "DATA" if argument.is_empty() => Ok(Self::Data),
            "RSET" if argument.is_empty() => Ok(Self::Rset),
            "QUIT" if argument.is_empty() => Ok(Self::Quit),
            "DATA" | "RSET" | "QUIT" => Err("501 5.5.4 Nothing is expected behind it"),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Vrfy),
            // RFC 2033 §4.1: whoever takes us for an SMTP server must not go on.
            "HELO" | "EHLO" => Err("500 5.5.1 This is LMTP: say LHLO"),
            _ => Err("500 5.5.2 Unknown command"),
        }
    }

    fn mail(argument: &str) -> Result<Self, Refusal> {
        let (sender, parameters) = path(argument, "FROM:").ok_or("501 5.5.4 Expected MAIL FROM:<ADDRESS>")?;
        let mut size = None;
        for parameter in parameters.split_ascii_whitespace() {
            match parameter.to_ascii_uppercase().as_str() {
                "BODY=7BIT" | "BODY=8BITMIME" | "SMTPUTF8" => {}
                other => {
                    let number = other.strip_prefix("SIZE=").ok_or("555 5.5.4 Unknown parameter")?;
                    size = Some(number.parse().map_err(|_| "501 5.5.4 SIZE wants a number")?);
                }
            }
        }
        Ok(Self::Mail { sender: sender.to_owned(), size })
    }

    fn rcpt(argument: &str) -> Result<Self, Refusal> {
        let (recipient, parameters) = path(argument, "TO:").ok_or("501 5.5.4 Expected RCPT TO:<ADDRESS>")?;
        if recipient.is_empty() {
            return Err("501 5.1.3 A recipient has an address");
        }
        if !parameters.is_empty() {
            return Err("555 5.5.4 Unknown parameter");
        }
        Ok(Self::Rcpt { recipient: recipient.to_owned() })
    }
}

/// The address between angle brackets, and what stands behind them.
fn path<'a>(argument: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let begins = argument.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    let rest = argument.get(word.len()..).filter(|_| begins)?.trim_start().strip_prefix('<')?;
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = rest.find(|c: char| {
        let is_end = c == '>' && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        is_end
    })?;
    let (address, behind) = (&rest[..end], &rest[end + 1..]);
    let is_address = address.len() <= LONGEST_ADDRESS && !address.chars().any(char::is_control);
    (is_address && (behind.is_empty() || behind.starts_with(' '))).then_some((address, behind.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(sender: &str, size: Option<u64>) -> Result<Command, Refusal> {
        Ok(Command::Mail { sender: sender.to_owned(), size })
    }

    fn rcpt(recipient: &str) -> Result<Command, Refusal> {
        Ok(Command::Rcpt { recipient: recipient.to_owned() })
    }

    #[test]
    fn what_clients_say_is_understood() {
        for (line, command) in [
            ("LHLO mx.example.org", Ok(Command::Lhlo)),
            ("lhlo [127.0.0.1]", Ok(Command::Lhlo)),
            ("MAIL FROM:<>", mail("", None)),
            ("mail from:<a@b.example> SIZE=1024 BODY=8BITMIME SMTPUTF8", mail("a@b.example", Some(1024))),
            ("MAIL FROM: <a@b.example> body=7bit", mail("a@b.example", None)),
            ("RCPT TO:<bounce+k1.1.a.b@news.example>", rcpt("bounce+k1.1.a.b@news.example")),
            ("RCPT TO:<\"a > b\"@x.example>", rcpt("\"a > b\"@x.example")),
            ("RCPT TO:<\"a \\\" > b\"@x.example>", rcpt("\"a \\\" > b\"@x.example")),
            ("RCPT TO:<jürgen@x.example>", rcpt("jürgen@x.example")),
            ("DATA ", Ok(Command::Data)),
            ("RSET", Ok(Command::Rset)),
            ("NOOP whatever", Ok(Command::Noop)),
            ("VRFY ann", Ok(Command::Vrfy)),
            ("QUIT", Ok(Command::Quit)),
        ] {
            assert_eq!(Command::read(line.as_bytes()), command, "{line}");
        }
    }

    #[test]
    fn what_nobody_understands_is_refused_with_its_code() {
        let long = format!("RCPT TO:<{}@x.example>", "a".repeat(LONGEST_ADDRESS));
        for (line, code) in [
            ("LHLO", "501"),
            ("EHLO mx.example.org", "500 5.5.1"),
            ("HELO mx.example.org", "500 5.5.1"),
            ("MAIL", "501"),
            ("MAIL FROM:a@b.example", "501"),
            ("MAIL FROM:<a@b.example", "501"),
            ("MAIL FROM:<a@b.example>SIZE=1", "501"),
            ("MAIL FROM:<a@b.example> SIZE=x", "501"),
            ("MAIL FROM:<a@b.example> AUTH=<>", "555"),
            ("MAIL FROM:<a\u{7}@b.example>", "501"),
            ("RCPT TO:<>", "501 5.1.3"),
            ("RCPT TO:<a@b.example> NOTIFY=NEVER", "555"),
            (&long, "501"),
            ("DATA now", "501"),
            ("BDAT 100", "500 5.5.2"),
            ("", "500 5.5.2"),
            ("GET / HTTP/1.1", "500 5.5.2"),
        ] {
            let refusal = Command::read(line.as_bytes()).unwrap_err();
            assert!(refusal.starts_with(code), "{line}: {refusal}");
        }
        assert!(Command::read(b"\xff\xfe").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(proptest::num::u8::ANY, 0..200), verb in "(MAIL FROM:|RCPT TO:|LHLO |)<?") {
            drop(Command::read(&[verb.as_bytes(), &line].concat()));
        }
    }
}
