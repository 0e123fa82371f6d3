//! Lines of Postfix: what `postfix/DAEMON[PID]: QUEUE-ID: …` says.

use super::{Ambiguous, Became, Event, Origin, Outcome, Said, Way};

/// Reads what stands behind the time.
pub(super) fn read(line: &str) -> Result<Option<Said<'_>>, Ambiguous> {
    let Some((daemon, rest)) = program(line) else { return Ok(None) };
    let Some((id, rest)) = rest.split_once(": ") else { return Ok(None) };
    if !is_queue_id(id) {
        return Ok(None);
    }
    let event = match daemon {
        "smtpd" => came(rest),
        "pickup" => {
            rest.starts_with("uid=").then_some(Event::Came { origin: Origin::Local, sender: None, message_id: None })
        }
        "cleanup" => cleaned(rest),
        "qmgr" | "nqmgr" | "oqmgr" => queued(rest),
        "postsuper" => (rest == "removed").then_some(Event::Left),
        _ => became(daemon, rest)?.map(Event::Became),
    };
    Ok(event.map(|event| Said { id, event }))
}

/// `mx postfix/smtp[1234]: …` -> `smtp` and the rest. The first part of the name is `syslog_name`.
fn program(line: &str) -> Option<(&str, &str)> {
    let (_, tagged) = line.split_once(' ')?;
    if !tagged.starts_with("postfix") {
        return None;
    }
    let (tag, rest) = tagged.split_once(": ")?;
    let (name, _) = tag.split_once('[')?;
    Some((name.rsplit_once('/')?.1, rest))
}

/// Short ones are hexadecimal, long ones (`enable_long_queue_ids`) are not.
fn is_queue_id(id: &str) -> bool {
    (6..=24).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()) && id != "NOQUEUE"
}

/// `client=mail.example[192.0.2.1], sasl_method=PLAIN, sasl_username=ann, orig_client=…`
fn came(rest: &str) -> Option<Event<'_>> {
    let rest = rest.strip_prefix("client=")?;
    let mut fields = rest.split(", ");
    let client = fields.next()?;
    // Behind a filter (XFORWARD) it is the client that the filter has it from who counts.
    let original = fields.clone().find_map(|field| field.strip_prefix("orig_client="));
    let has_password = fields.any(|field| field.strip_prefix("sasl_username=").is_some_and(|name| !name.is_empty()));
    let origin = match original {
        None if has_password => Origin::Authenticated,
        _ => client_of(original.unwrap_or(client)),
    };
    Some(Event::Came { origin, sender: None, message_id: None })
}

/// `mail.example[192.0.2.1]`, with `:PORT` where it is logged; `unknown` where the name is not confirmed.
fn client_of(client: &str) -> Origin<'_> {
    let Some((name, address)) = client.split_once('[') else { return Origin::Unknown };
    let address = address.split(']').next().unwrap_or_default();
    let address = address.strip_prefix("IPv6:").unwrap_or(address);
    Origin::Client { name: Some(name).filter(|name| *name != "unknown"), address }
}

fn cleaned(rest: &str) -> Option<Event<'_>> {
    if let Some(message_id) = rest.strip_prefix("message-id=") {
        return Some(Event::MessageId(message_id.trim().trim_start_matches('<').trim_end_matches('>')));
    }
    // header_checks(5), INFO: `info: header NAME: VALUE from CLIENT; from=<SENDER> to=<RECIPIENT> …`
    let (name, rest) = rest.strip_prefix("info: header ")?.split_once(':')?;
    let value = &rest[..rest.rfind("; from=<")?];
    Some(Event::Header { name, value: value[..value.rfind(" from ")?].into() })
}

fn queued(rest: &str) -> Option<Event<'_>> {
    if rest == "removed" {
        return Some(Event::Left);
    }
    let (sender, rest) = address(rest.strip_prefix("from=<")?)?;
    if rest.starts_with(", status=expired") || rest.starts_with(", status=force-expired") {
        return Some(Event::Expired);
    }
    Some(Event::Sender(sender))
}

/// What stands before the closing bracket, and what behind it. Postfix quotes what needs it (RFC 5321 §4.1.2), so that a
/// bracket within quotes closes nothing.
fn address(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                bytes.next();
            }
            b'>' if !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// `to=<…>, orig_to=<…>, relay=…, delay=…, delays=…, dsn=5.1.1, status=bounced (…)`
fn became<'l>(daemon: &str, rest: &'l str) -> Result<Option<Became<'l>>, Ambiguous> {
    let Some((to, after)) = rest.strip_prefix("to=<").and_then(address) else { return Ok(None) };
    let mut rest = after;
    let mut original = None;
    if let Some((given, after)) = rest.strip_prefix(", orig_to=<").and_then(address) {
        (original, rest) = (Some(given), after);
    }
    let Some(mut rest) = rest.strip_prefix(", relay=") else { return Ok(None) };
    let Some((relay, after)) = rest.split_once(", ") else { return Ok(None) };
    rest = after;
    let mut status = None;
    let said = loop {
        if let Some(said) = rest.strip_prefix("status=") {
            break said;
        }
        let Some((field, after)) = rest.split_once(", ") else { return Ok(None) };
        if let Some(code) = field.strip_prefix("dsn=") {
            status = code.parse().ok();
        }
        rest = after;
    };
    let (word, text) = said.split_once(' ').unwrap_or((said, ""));
    let outcome = match word {
        "sent" => Outcome::Delivered,
        "bounced" => Outcome::Failed,
        // soft_bounce = yes
        "deferred" | "SOFTBOUNCE" => Outcome::Deferred,
        // Probes (address_verify_…) are no mail.
        _ => return Ok(None),
    };
    // QUIRK: with `info_log_addr_form = internal`, the default before Postfix 3.5, a bracket stands within an address as
    // it is. The true fields would follow there.
    if text.contains(">, relay=") || text.contains(">, orig_to=") {
        return Err(Ambiguous);
    }
    // A long answer loses its end (RFC 3164 §4.1 allows 1,024 octets).
    let text = text.strip_prefix('(').unwrap_or(text);
    let text = text.strip_suffix(')').unwrap_or(text);
    let way = match daemon {
        "smtp" => Way::Smtp,
        "error" | "retry" => Way::Untried,
        _ => Way::Here,
    };
    Ok(Some(Became {
        to,
        original,
        outcome,
        status,
        remote_mta: answering(text).or_else(|| host_of(relay)),
        queued_as: (outcome == Outcome::Delivered).then(|| queued_as(text)).flatten(),
        text: (!text.is_empty()).then(|| text.into()),
        way,
        gives_up: false,
    }))
}

/// `host mx.example[192.0.2.1] said: …`, `connect to mx.example[192.0.2.1]:25: …`
fn answering(text: &str) -> Option<&str> {
    let text = text.strip_prefix("delivery temporarily suspended: ").unwrap_or(text);
    let behind = ["host ", "connect to ", "lost connection with ", "conversation with "];
    let rest = behind.iter().find_map(|words| text.strip_prefix(words))?;
    host_of(&rest[..=rest.find(']')?])
}

fn host_of(relay: &str) -> Option<&str> {
    let (name, _) = relay.split_once('[')?;
    Some(name).filter(|name| !name.is_empty() && !name.contains(' '))
}

fn queued_as(text: &str) -> Option<&str> {
    let (_, id) = text.rsplit_once("queued as ")?;
    Some(id.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()).filter(|id| is_queue_id(id))
}
