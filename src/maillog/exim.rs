//! Lines of Exim's main log: what `MESSAGE-ID FLAG ADDRESS …` says.

use std::borrow::Cow;

use super::{Ambiguous, Became, Event, Origin, Outcome, Said, Way};
use crate::codes::{EnhancedStatusCode, ReplyCode};

/// Reads what stands behind the time. Through syslog there is a host and a program first, and often the time again.
pub(super) fn read<'l>(
    line: &'l str,
    mut stamp: impl FnMut(&'l str) -> Option<(i64, &'l str)>,
) -> Result<Option<Said<'l>>, Ambiguous> {
    let mut rest = line;
    if let Some(logged) = through_syslog(rest) {
        rest = stamp(logged).map_or(logged, |(_, rest)| rest);
    }
    // log_selector = +pid
    if let Some((pid, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] "))
        && pid.bytes().all(|digit| digit.is_ascii_digit())
    {
        rest = after;
    }
    let Some((id, rest)) = rest.split_once(' ') else { return Ok(None) };
    if !is_message_id(id) {
        return Ok(None);
    }
    let event = match rest.split_once(' ') {
        Some(("<=", rest)) => came(rest),
        Some(("=>" | "->" | ">>", rest)) => became(rest, Outcome::Delivered)?.map(Event::Became),
        Some(("**", rest)) => became(rest, Outcome::Failed)?.map(Event::Became),
        Some(("==", rest)) => became(rest, Outcome::Deferred)?.map(Event::Became),
        // An ACL: `warn logwrite = header X-Campaign: $h_x-campaign:`
        Some(("header", rest)) => {
            rest.split_once(':').map(|(name, value)| Event::Header { name, value: lines(value, "") })
        }
        _ => (rest == "Completed" || rest.starts_with("Completed ")).then_some(Event::Left),
    };
    Ok(event.map(|event| Said { id, event }))
}

/// `mx exim[1234]: …`, `mx exim4: …`
fn through_syslog(line: &str) -> Option<&str> {
    let (_, tagged) = line.split_once(' ')?;
    let (tag, rest) = tagged.strip_prefix("exim")?.split_once(": ")?;
    (!tag.contains(' ')).then_some(rest)
}

/// `1xWcZP-0006Hw-2S`, and since 4.97 `1rGpVy-000000005Fl-0001`.
fn is_message_id(id: &str) -> bool {
    let mut parts = id.split('-').map(|part| part.bytes().all(|b| b.is_ascii_alphanumeric()).then_some(part.len()));
    let lengths = (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next());
    matches!(lengths, (Some(6), Some(6), Some(2), None) | (Some(6), Some(11), Some(4), None))
}

/// `SENDER H=name (helo) [192.0.2.1] U=ident P=esmtpsa A=plain:ann S=325 id=… T="…"`. Sender, helo, ident, id and
/// subject are chosen by whoever sends.
fn came(rest: &str) -> Option<Event<'_>> {
    let quoted = rest.strip_prefix('"').map_or(Some(0), |rest| Some(1 + end_of_quotes(rest)? + 1))?;
    let (sender, fields) = rest.split_at(quoted + rest[quoted..].find(' ')?);
    let origin = if fields.contains(" H=") { client_of(fields) } else { local(fields) };
    // `id*=` is one that Exim has made.
    let behind = &fields[fields.find(" S=").unwrap_or(fields.len())..];
    let message_id = [" id=", " id*="].iter().find_map(|key| behind.split_once(key));
    Some(Event::Came {
        origin,
        sender: Some(if sender == "<>" { "" } else { sender }),
        message_id: message_id.and_then(|(_, rest)| rest.split(' ').next()),
    })
}

/// ` U=user P=local S=…`: handed in by a program, unless Exim itself reports (`R=`).
fn local(fields: &str) -> Origin<'static> {
    let (user, fields) = fields.trim_start().split_once(' ').unwrap_or_default();
    let is_local = user.starts_with("U=") && (fields.starts_with("P=local ") || fields.starts_with("P=local-"));
    if is_local { Origin::Local } else { Origin::Unknown }
}

fn client_of(fields: &str) -> Origin<'_> {
    // A name or a subject of somebody's own making may hold these as well: then nobody knows which are Exim's.
    if [" H=", " P="].iter().any(|key| fields.matches(key).count() > 1) {
        return Origin::Unknown;
    }
    let host = fields.strip_prefix(" H=").and_then(|host| host.split_once(" P="));
    let Some((host, fields)) = host else { return Origin::Unknown };
    if host.contains(" U=") || host.matches(") [").count() > 1 {
        return Origin::Unknown;
    }
    // With `incoming_interface` the address of ours follows.
    let host = host.split(" I=[").next().unwrap_or_default();
    let Some((name, address)) = host.rsplit_once('[') else { return Origin::Unknown };
    let address = address.split(']').next().unwrap_or_default();
    let protocol = fields.split(' ').next().unwrap_or_default();
    if matches!(protocol, "esmtpa" | "esmtpsa" | "utf8esmtpa" | "utf8esmtpsa") {
        return Origin::Authenticated;
    }
    // Round brackets hold what the client says of itself.
    let name = name.split('(').next().unwrap_or_default().trim_end();
    Origin::Client { name: Some(name).filter(|name| !name.is_empty()), address }
}

/// `ADDRESS <ORIGINAL> F=<…> R=… T=… H=mx.example [192.0.2.1] C="…"`, or with `: words` at the end.
fn became(rest: &str, outcome: Outcome) -> Result<Option<Became<'_>>, Ambiguous> {
    let (to, original, rest) = addressed(rest)?;
    let (fields, words) = match outcome {
        Outcome::Delivered => (rest, confirmation(rest)),
        Outcome::Failed | Outcome::Deferred => match rest.split_once(": ") {
            // Nothing was tried, and the last answer counts.
            Some((_, words)) if words.starts_with("retry time not reached") => return Ok(None),
            Some((fields, words)) => (fields, Some(words)),
            None => (rest, None),
        },
    };
    let field = |key: &str| Some(fields.split_once(key)?.1.split(' ').next().unwrap_or_default());
    let (host, transport) = (field(" H="), field(" T="));
    let leads_nowhere = to.starts_with(['|', '/', ':']);
    let way = match (host, transport) {
        _ if leads_nowhere => Way::Here,
        (_, Some(transport)) if transport.to_ascii_lowercase().contains("lmtp") => Way::Here,
        (Some(_), _) => Way::Smtp,
        (None, _) if outcome == Outcome::Delivered => Way::Here,
        (None, _) => Way::Untried,
    };
    // log_selector = +deliver_time +queue_time
    let words = words.map(|words| [" DT=", " QT="].iter().fold(words, |words, key| without_last(words, key)));
    let text = words.map(|words| lines(words, "\n"));
    Ok(Some(Became {
        to,
        original,
        outcome,
        status: words.and_then(status),
        remote_mta: host.filter(|host| !host.starts_with('[')),
        queued_as: None,
        way,
        gives_up: words == Some("retry timeout exceeded"),
        text,
    }))
}

/// Whom it is for, whom it was for before an alias, and what follows.
///
/// Exim writes an address without the quotes that it had, and the one with them behind it. Whoever chooses such an
/// address could make up all that follows, so both must be the same, and nothing else may look like it.
fn addressed(rest: &str) -> Result<(&str, Option<&str>, &str), Ambiguous> {
    if let Some(at) = rest.find(" <\"") {
        let (to, given) = (&rest[..at], &rest[at + 2..]);
        if given.contains(" <\"") {
            return Err(Ambiguous);
        }
        let end = end_of_quotes(&given[1..]).ok_or(Ambiguous)?;
        let (local, domain) = given.split_at(1 + end + 1);
        let (domain, after) = domain.strip_prefix('@').and_then(|rest| rest.split_once('>')).ok_or(Ambiguous)?;
        let bare = [&unescaped(&local[1..=end]), "@", domain].concat();
        if !to.eq_ignore_ascii_case(&bare) {
            return Err(Ambiguous);
        }
        return Ok((&given[..local.len() + 1 + domain.len()], None, after));
    }
    // The command of a pipe has blanks.
    let blank = if rest.starts_with(['|', '/']) { rest.find(" <") } else { rest.find(' ') };
    let (to, _) = rest.split_at(blank.unwrap_or(rest.len()));
    let to = to.strip_suffix(':').unwrap_or(to);
    let mut rest = &rest[to.len()..];
    // log_selector = +all_parents
    if let Some((_, after)) = rest.strip_prefix(" (").and_then(|parents| parents.split_once(") <")) {
        rest = &rest[rest.len() - after.len() - " <".len()..];
    }
    match rest.strip_prefix(" <").and_then(|rest| rest.split_once('>')) {
        Some((original, rest)) => Ok((to, Some(original), rest)),
        None => Ok((to, None, rest)),
    }
}

/// Line ends stand as `\n`.
fn lines<'l>(text: &'l str, end: &str) -> Cow<'l, str> {
    if text.contains("\\n") { text.replace("\\n", end).into() } else { text.into() }
}

/// Where the quotes end that a text begins within.
fn end_of_quotes(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at),
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

/// RFC 5321 §4.1.2: a quoted-pair stands for its second character.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// Without a last field, if it is one without blanks.
fn without_last<'l>(words: &'l str, key: &str) -> &'l str {
    match words.rsplit_once(key) {
        Some((words, value)) if !value.contains(' ') => words,
        _ => words,
    }
}

/// `C="250 OK"`
fn confirmation(fields: &str) -> Option<&str> {
    let (_, words) = fields.split_once(" C=\"")?;
    Some(words.split('"').next().unwrap_or_default())
}

/// The enhanced status code behind the first reply code (RFC 2034).
fn status(words: &str) -> Option<EnhancedStatusCode> {
    let code = |word: &str| word.split(' ').next().and_then(|code| code.parse().ok());
    let replies = words.match_indices(['2', '4', '5']).filter(|(at, _)| *at == 0 || words[..*at].ends_with(": "));
    let mut behind = replies.filter_map(|(at, _)| {
        let (reply, rest) = words[at..].split_at_checked(3)?;
        reply.parse::<ReplyCode>().ok()?;
        code(rest.strip_prefix([' ', '-'])?)
    });
    behind.next()
}
