//! A mail address as given and in the one form that look-ups use.

use std::borrow::Cow;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use super::is_unseen;

/// A mail address (RFC 5321 §4.1.2, RFC 6531).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Address {
    given: String,
    normalised: String,
}

/// RFC 5321 §4.5.3.1.3: a path has at most 256 octets; RFC 6531 counts octets too.
const LONGEST: usize = 320;

/// RFC 1035 §2.3.4.
const LONGEST_DOMAIN: usize = 255;
const LONGEST_LABEL: usize = 63;

impl Address {
    /// Reads one bare address: `user@example.org`, angle brackets allowed around it. `None` when it is none.
    ///
    /// The local part is kept as given, quotes included; the normalised form is lower-case throughout (mail
    /// systems that tell `Bob` from `bob` are gone) with the domain as A-labels (RFC 5890). What had to be mended to
    /// become an address is none: it would be somebody else's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let given = text.trim().trim_start_matches('<').trim_end_matches('>').trim();
        if given.len() > LONGEST || passes_for_another(given) {
            return None;
        }
        let (local, domain) = given.rsplit_once('@')?;
        let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
        if local.is_empty() || (!quoted && !is_every(local, is_of_local_part)) {
            return None;
        }
        let domain = domain.trim_end_matches('.');
        let literal = domain.starts_with('[') && domain.ends_with(']');
        if domain.is_empty() || (!literal && !is_every(domain, is_of_domain)) {
            return None;
        }
        let ascii = if literal { Cow::Borrowed(domain) } else { a_labels(domain)? };
        let bare = if quoted { unquote(local) } else { local };
        // Without the full stops behind its domain.
        let given = &given[..local.len() + 1 + domain.len()];
        // Not `format!`: it would be two fifths of what reading an address costs, and a mail may have thousands.
        let mut normalised = String::with_capacity(bare.len() + 1 + ascii.len());
        normalised.push_str(bare);
        normalised.push('@');
        normalised.push_str(&ascii);
        if normalised.is_ascii() {
            normalised.make_ascii_lowercase();
        } else {
            normalised = normalised.to_lowercase();
        }
        Some(Self { given: given.to_owned(), normalised })
    }

    /// As the mail wrote it, without angle brackets.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The form for look-ups: lower case, domain as A-labels, needless quotes removed.
    #[must_use]
    pub fn normalised(&self) -> &str {
        &self.normalised
    }

    /// The local part of the normalised form.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.normalised.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// The domain of the normalised form.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.normalised.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Whether somebody may take it for another text.
fn passes_for_another(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(|c| is_unseen(c) || passes_for_ascii(c))
    }
}

/// Whether every character is one of those; octet by octet where that is enough.
fn is_every(text: &str, one: impl Fn(char) -> bool) -> bool {
    if text.is_ascii() { text.bytes().all(|byte| one(char::from(byte))) } else { text.chars().all(one) }
}

fn is_of_local_part(c: char) -> bool {
    !(c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | ',' | ':' | ';' | '"' | '@' | '\\'))
}

const fn is_of_domain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || !c.is_ascii()
}

/// A domain as A-labels (RFC 5890), not yet in lower case; `None` where a label is empty or too long (RFC 1035 §2.3.4).
fn a_labels(domain: &str) -> Option<Cow<'_, str>> {
    let mut encoded = !domain.is_ascii();
    let mut fits = domain.len() <= LONGEST_DOMAIN;
    for label in domain.as_bytes().split(|octet| *octet == b'.') {
        fits &= (1..=LONGEST_LABEL).contains(&label.len());
        encoded |= label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"));
    }
    // Most domains are plain, and IDNA is dear.
    if !encoded {
        return fits.then_some(Cow::Borrowed(domain));
    }
    // A domain that IDNA refuses (underscores, over-long labels) is still an address that somebody mailed.
    let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase());
    // Other dots than ours may have become some only now.
    let fits =
        ascii.len() <= LONGEST_DOMAIN && ascii.split('.').all(|label| (1..=LONGEST_LABEL).contains(&label.len()));
    fits.then_some(Cow::Owned(ascii))
}

/// Whether a character outside ASCII becomes one inside it when it is lower-cased or normalised, as the Kelvin sign
/// and the full-width letters do: the address with the plain letter is another one.
fn passes_for_ascii(c: char) -> bool {
    !c.is_ascii() && std::iter::once(c).nfkc().flat_map(char::to_lowercase).any(|folded| folded.is_ascii_graphic())
}

/// `"john.doe"` and `john.doe` are the same local part (RFC 5321 §4.1.2); quotes that are needed stay.
fn unquote(local: &str) -> &str {
    let inner = &local[1..local.len() - 1];
    let dot_atom = !inner.is_empty()
        && !inner.starts_with('.')
        && !inner.ends_with('.')
        && !inner.contains("..")
        && inner.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
    if dot_atom { inner } else { local }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_normalised_form() {
        for (given, normalised) in [
            ("Bob@Example.ORG", "bob@example.org"),
            ("<bob@example.org>", "bob@example.org"),
            ("\"bob\"@example.org", "bob@example.org"),
            ("\"bob smith\"@example.org", "\"bob smith\"@example.org"),
            ("bob@bücher.example", "bob@xn--bcher-kva.example"),
            ("bob@[192.0.2.1]", "bob@[192.0.2.1]"),
            ("da..me@docomo.example", "da..me@docomo.example"),
        ] {
            assert_eq!(Address::parse(given).expect(given).normalised(), normalised);
        }
    }

    #[test]
    fn other_texts_are_no_address() {
        for text in ["", "@", "bob", "bob@", "@example.org", "bob smith@example.org", "a@b c", "bob@exa\nmple.org"] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_would_have_to_be_mended_is_no_address() {
        for text in ["\u{212a}im@example.org", "kim@\u{212a}.example", "a@b@example.org", "a\0b@example.org"] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
        let long = ["a".repeat(64), "a.".repeat(127) + "ab"].map(|domain| format!("kim@{domain}.example"));
        for text in [&long[0], &long[1], "kim@example.。", "kim@。example"] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
        for text in ["ｋim@example.org", "kim@ｅxample.org", "a\u{202e}b@example.org", "a\u{200b}@example.org"] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
        for text in ["jörg@bücher.example", "Ünal@example.org", "邮箱@例え.example", "почта@пример.example"]
        {
            assert!(Address::parse(text).is_some(), "{text:?}");
        }
    }
}
