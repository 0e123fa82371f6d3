//! Who asked to be forgotten: the key by which only a hash of an address is kept, the forms in which texts name an
//! address, and judged messages -> the same without those whom nobody is to remember. Knows no SQL.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;

use super::JudgedMessage;
use crate::{
    files::{directory_of, give_to_owner_of_directory},
    report::{Excerpt, Recipient, Verdict},
    text::addresses,
};

/// Somebody who asked to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Whether the address was on the suppression list then.
    pub suppressed: bool,
}

/// What was erased of an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows of its bounces.
    pub bounces: u64,
    /// Rows of its complaints.
    pub complaints: u64,
    /// Changes of its entry, which name nobody any more.
    pub events: u64,
}

/// Without it nobody can find out by trying addresses whose hashes they are: it lies in a file of its own.
#[derive(Clone)]
pub(super) struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads it.
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        let digits = fs::read_to_string(file)?;
        let digits = digits.trim_end();
        let octet = |n: usize| digits.get(2 * n..2 * n + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let octets: Option<Vec<u8>> = (0..32).map(octet).collect();
        let key = octets.filter(|_| digits.len() == 64).and_then(|octets| octets.try_into().ok());
        key.map(Self)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not hold 64 hexadecimal digits"))
    }

    /// Makes a new one where there is none, for the owner of the directory alone. Waits for the disk: what is hashed
    /// with a key that is lost is nobody's hash.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        let key = Self(rand::random());
        let digits = HEXLOWER.encode(&key.0);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        give_to_owner_of_directory(&file, path);
        let written = writeln!(file, "{digits}").and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(path);
        }
        written?;
        File::open(directory_of(path))?.sync_all()?;
        Ok(key)
    }

    /// RFC 2104 with SHA-256, of the form for look-ups.
    pub(super) fn hash(&self, address: &str) -> [u8; 32] {
        let mut hash = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length will do");
        hash.update(address.as_bytes());
        hash.finalize().into_bytes().into()
    }

    /// Stands among the hashes: what no address has, so that a key tells whether it is theirs.
    pub(super) fn own_hash(&self) -> [u8; 32] {
        self.hash("")
    }
}

/// How texts name some addresses, whatever stands around them and however they are written in capitals.
#[derive(Debug, Clone)]
pub(super) struct Forms {
    forms: Vec<Form>,
    words: Vec<Words>,
}

#[derive(Debug, Clone)]
struct Form {
    text: String,
    within: Within,
}

/// What a form stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// A text: what goes on in front or behind is another address.
    Text,
    /// An address by VERP: dashes may stand around it that are none of its own.
    Verp,
    /// An address by SRS: another domain follows.
    Srs,
}

/// What a text that names an address surely contains, in lower case: words of ASCII alone, so that SQL can look for them.
/// Empty where the address has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Words(String, String);

/// The longest run of ASCII letters and digits.
fn longest_word(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.max_by_key(|word| word.len()).unwrap_or_default().to_ascii_lowercase()
}

impl Forms {
    /// Of addresses in the form for look-ups.
    pub(super) fn of<'a>(all: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut forms, mut words) = (Vec::new(), Vec::new());
        for address in all {
            let Some((local, domain)) = address.rsplit_once('@') else { continue };
            let bare = local.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
            // Quotes that are not needed, and VERP and SRS without those that are.
            let locals = [local.to_owned(), bare.map_or_else(|| format!("\"{local}\""), str::to_owned)];
            let mut domains = vec![domain.to_owned()];
            if domain.contains("xn--") {
                domains.push(idna::domain_to_unicode(domain).0);
            }
            for domain in domains {
                let wanted = Words(longest_word(local), longest_word(&domain));
                if !words.contains(&wanted) {
                    words.push(wanted);
                }
                for local in &locals {
                    for (text, within) in [
                        (format!("{local}@{domain}"), Within::Text),
                        (format!("{local}={domain}"), Within::Verp),
                        (format!("{domain}={local}@"), Within::Srs),
                    ] {
                        // In JSON.
                        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
                        if escaped != text {
                            forms.push(Form { text: compared(&escaped).into_owned(), within });
                        }
                        forms.push(Form { text: compared(&text).into_owned(), within });
                    }
                }
            }
        }
        Self { forms, words }
    }

    /// What a text has to contain to name one of them: for each the words of one.
    pub(super) fn words(&self) -> &[Words] {
        &self.words
    }

    /// Whether a text names one of them, and not somebody whose address only contains it.
    pub(super) fn are_in(&self, text: &str) -> bool {
        let text = compared(text);
        self.forms.iter().any(|form| form.is_in(&text))
    }
}

/// In lower case and composed: accents tell people apart, and how they are encoded does not.
fn compared(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            text.to_ascii_lowercase().into()
        } else {
            text.into()
        };
    }
    text.to_lowercase().nfc().collect::<String>().into()
}

impl Form {
    fn is_in(&self, text: &str) -> bool {
        text.match_indices(&self.text).any(|(at, found)| {
            let is_verp = self.within == Within::Verp;
            let goes_on_before = text[..at]
                .chars()
                .next_back()
                .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_') || (c == '-' && !is_verp));
            let mut behind = text[at + found.len()..].chars();
            let goes_on_behind = match behind.next() {
                _ if self.within == Within::Srs => false,
                Some('-') if is_verp => false,
                // The full stop of a sentence, the dash of a bullet.
                Some('.' | '-') => behind.next().is_some_and(char::is_alphanumeric),
                Some(c) => c.is_alphanumeric() || c == '_',
                None => false,
            };
            !goes_on_before && !goes_on_behind
        })
    }
}

/// Every address that these messages would bring into the store, in the form for look-ups.
pub(super) fn named(batch: &[JudgedMessage]) -> HashSet<String> {
    let mut named = HashSet::new();
    let mut text = |text: &str| named.extend(addresses(text).map(|(_, address)| address.normalised().to_owned()));
    for judged in batch {
        let report = &judged.report;
        let original = &report.original;
        let of_message = [&report.message_id, &report.reporting_mta];
        let of_original = [&original.message_id, &original.campaign, &original.list_id];
        of_message.into_iter().chain(of_original).flatten().for_each(|said| text(said));
        for recipient in &report.recipients {
            let fields = [&recipient.original_recipient, &recipient.final_recipient, &recipient.forwarded_to];
            fields.into_iter().chain([&recipient.remote_mta]).flatten().for_each(|said| text(said));
            recipient.address.iter().for_each(|address| text(address.normalised()));
        }
        for (recipient, verdict) in report.recipients.iter().zip(&judged.verdicts) {
            what_was_said(recipient, verdict).for_each(&mut text);
            verdict.forwarded.iter().for_each(|forwarded| text(&forwarded.to));
        }
        for complainer in report.complainers.iter().chain(&report.author) {
            text(complainer.value.normalised());
            text(&complainer.evidence.words);
        }
    }
    named
}

/// The same messages without these addresses: a recipient of that address is somebody of whom nothing but the verdict is
/// known, and what others wrote goes where it names one of them.
pub(super) fn without(batch: &[JudgedMessage], forgotten: &HashSet<String>) -> Vec<JudgedMessage> {
    let forms = Forms::of(forgotten.iter().map(String::as_str));
    let mut batch = batch.to_vec();
    for judged in &mut batch {
        let report = &mut judged.report;
        let original = &mut report.original;
        for said in [&mut report.message_id, &mut report.reporting_mta].into_iter().chain([
            &mut original.message_id,
            &mut original.campaign,
            &mut original.list_id,
        ]) {
            take_out(said, &forms);
        }
        for (recipient, verdict) in report.recipients.iter_mut().zip(&mut judged.verdicts) {
            let is_one = recipient.address.as_ref().is_some_and(|address| forgotten.contains(address.normalised()))
                || recipient.address_given().is_some_and(|given| forms.are_in(given));
            take_out(&mut recipient.remote_mta, &forms);
            for said in [&mut recipient.original_recipient, &mut recipient.final_recipient, &mut recipient.forwarded_to]
            {
                said.take_if(|said| is_one || forms.are_in(said));
            }
            verdict.forwarded.take_if(|forwarded| is_one || forms.are_in(&forwarded.to));
            if is_one || what_was_said(recipient, verdict).any(|said| forms.are_in(said)) {
                silence(recipient, verdict);
            }
            if is_one {
                recipient.address = None;
            }
        }
        report.author.take_if(|author| forgotten.contains(author.value.normalised()));
        report.complainers.retain(|complainer| !forgotten.contains(complainer.value.normalised()));
        for complainer in &mut report.complainers {
            if forms.are_in(&complainer.evidence.words) {
                complainer.evidence.words.clear();
            }
        }
    }
    batch
}

/// Every address that messages in a mail server's queue name, in the form for look-ups.
pub(super) fn named_in_queue<'m>(messages: impl IntoIterator<Item = &'m str>) -> HashSet<String> {
    let mut named = HashSet::new();
    for message in messages {
        let mut left: Vec<Value> = serde_json::from_str(message).into_iter().collect();
        while let Some(value) = left.pop() {
            match value {
                Value::String(said) => {
                    named.extend(addresses(&said).map(|(_, address)| address.normalised().to_owned()));
                }
                Value::Object(map) => left.extend(map.into_iter().flat_map(|(key, value)| [key.into(), value])),
                _ => {}
            }
        }
    }
    named
}

/// A message in a mail server's queue without what names them: its own fields, and whole recipients. `None` where
/// nothing does.
pub(super) fn without_names(message: &str, forms: &Forms) -> Option<String> {
    if !forms.are_in(message) {
        return None;
    }
    let mut message: Map<String, Value> = serde_json::from_str(message).unwrap_or_default();
    leave_unnamed(&mut message, forms);
    Some(Value::from(message).to_string())
}

fn leave_unnamed(map: &mut Map<String, Value>, forms: &Forms) {
    let is_named = |value: &Value| value.as_str().is_some_and(|said| forms.are_in(said));
    map.retain(|key, value| {
        let is_person = value.as_object().is_some_and(|fields| fields.values().any(is_named));
        if let Value::Object(fields) = value {
            leave_unnamed(fields, forms);
        }
        !forms.are_in(key) && !is_person && !is_named(value)
    });
}

fn take_out(said: &mut Option<String>, forms: &Forms) {
    said.take_if(|said| forms.are_in(said));
}

/// Whatever the verdict on a recipient rests on.
fn what_was_said<'a>(recipient: &'a Recipient, verdict: &'a Verdict) -> impl Iterator<Item = &'a str> {
    let codes = recipient.statuses.iter().map(|status| &status.evidence);
    let codes = codes.chain(recipient.replies.iter().map(|reply| &reply.evidence));
    let lowered = verdict.lowered.as_ref().and_then(|lowered| lowered.evidence.as_ref());
    let decided = verdict.winner.as_ref().map(|winner| &winner.evidence);
    let words = codes.chain(decided).chain(lowered).map(|evidence| evidence.words.as_str());
    words.chain(recipient.diagnostic.as_ref().map(Excerpt::as_str)).chain([recipient.text.as_str()])
}

/// The verdict stays, and nothing is left by which it could be given again: a part of what was said might give another.
fn silence(recipient: &mut Recipient, verdict: &mut Verdict) {
    recipient.diagnostic = None;
    recipient.text = Excerpt::default();
    recipient.statuses.clear();
    recipient.replies.clear();
    recipient.action_because = None;
    verdict.winner = None;
    verdict.outranked.clear();
    if let Some(lowered) = &mut verdict.lowered {
        lowered.evidence = None;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_hash_is_hmac_sha256() {
        // RFC 4231 §4.2 has a key of 20 octets, which are the same key with zeros behind.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hash: String = Key(key).hash("Hi There").iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hash, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn a_message_in_the_queue_loses_whoever_is_named_and_nobody_else() {
        let message = r#"{"since":5,"message_id":"x@news.example","sender":"Ann@example.org","ours":true,"deferred":{
            "ann@example.org":{"recipient":"Ann@Example.org","outbound":true},
            "\"a b\"@example.org":{"recipient":"\"a b\"@example.org","outbound":true},
            "team@example.org ann@example.org":{"recipient":"team@example.org","final_recipient":"ann@example.org","outbound":true},
            "bob@example.org":{"recipient":"bob@example.org","text":"for bob","outbound":true},
            "joann@example.org":{"recipient":"joann@example.org","outbound":true},
            "carl@example.org":{"recipient":"carl@example.org","text":"ask ann@example.org","outbound":true}}}"#;
        assert_eq!(named_in_queue([message, "", "7"]).len(), 7);
        let left = without_names(message, &Forms::of(["ann@example.org", "\"a b\"@example.org"])).unwrap();
        let expected = r#"{"since":5,"message_id":"x@news.example","ours":true,"deferred":{
            "bob@example.org":{"recipient":"bob@example.org","text":"for bob","outbound":true},
            "joann@example.org":{"recipient":"joann@example.org","outbound":true}}}"#;
        let [left, expected] = [&left, expected].map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(left, expected);
        assert_eq!(without_names(message, &Forms::of(["nobody@example.org"])), None);
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = Key::make(&path).unwrap();
        assert_eq!(Key::read(&path).unwrap().0, key.0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Key::make(&path).is_err(), "never over another");
        for wrong in ["", "00", &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            fs::write(&path, wrong).unwrap();
            assert!(Key::read(&path).is_err(), "{wrong}");
        }
        assert!(!format!("{key:?}").contains(char::is_numeric));
    }

    #[test]
    fn a_text_names_an_address_however_it_is_written_and_not_one_that_contains_it() {
        let all = ["ann@example.org", "bob@xn--bcher-kva.example", "\"a b\"@example.org", "\u{fc}nal@example.net"];
        let forms = Forms::of(all);
        for text in [
            "ann@example.org",
            "550 5.1.1 <Ann@Example.ORG>: Recipient address rejected",
            "RCPT TO:<ann@example.org>.",
            "mail to ann@example.org.",
            "bounces+ann=example.org@lists.example",
            "bounces-ann=example.org@lists.example",
            "bounces-ann=example.org-17@lists.example",
            "SMTP=ann@example.org",
            "SRS0=46ab=TW=Example.org=Ann@forward.example",
            "SRS1=x1=first.example==46ab=TW=example.org=ann@second.example",
            "550 <\"ann\"@example.org>",
            "\\\"ann\\\"@example.org",
            "bounce-a b=example.org@lists.example",
            "\u{dc}NAL@example.net",
            "u\u{308}nal@example.net",
            "x=example.net=\u{fc}nal@forward.example",
            "bob@Bücher.example",
            "bob@xn--bcher-kva.example",
            r#"{"text":"\"A b\"@example.org"}"#,
        ] {
            assert!(forms.are_in(text), "{text}");
            let lower = text.to_ascii_lowercase();
            let has = |Words(local, domain): &Words| lower.contains(local) && lower.contains(domain);
            assert!(forms.words().iter().any(has), "SQL finds it: {text}");
        }
        for text in [
            "",
            "joann@example.org",
            "mary-ann@example.org",
            "mary.ann@example.org",
            "ann@example.org.example",
            "ann@example.orgs",
            "ann@example.org-x.example",
            "ann at example.org",
            "SRS0=46ab=TW=sub.example.org=ann@forward.example",
            "SRS0=46ab=TW=example.org=joann@forward.example",
            // Another person, who may be on the list.
            "unal@example.net",
        ] {
            assert!(!forms.are_in(text), "{text}");
        }
    }
}
