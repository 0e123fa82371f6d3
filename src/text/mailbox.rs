//! Two addresses -> whether they lead to one mailbox, as far as their words tell. Refuses to ask any server.

use super::Address;

/// Whether two addresses are one mailbox: the same local part, and domains of one organisation (the Public Suffix List
/// says where one begins), or one of them no more than a host's own name. Another local part, or the same one at
/// another organisation, is somebody else's.
#[must_use]
pub fn is_same_mailbox(one: &Address, other: &Address) -> bool {
    let domains = [one.domain(), other.domain()];
    let [a, b] = domains;
    bare_local_part(one) == bare_local_part(other)
        && (a == b || domains.iter().any(|d| is_internal(d)) || is_one_organisation(a, b))
}

/// Without the quotes that some servers put around what others leave bare (`"da..me"`).
fn bare_local_part(address: &Address) -> &str {
    let local = address.local_part();
    local.strip_prefix('"').and_then(|local| local.strip_suffix('"')).unwrap_or(local)
}

fn is_one_organisation(a: &str, b: &str) -> bool {
    organisation(a).is_some_and(|organisation_of_a| organisation(b) == Some(organisation_of_a))
}

/// A host's name in the form in which such names are compared.
#[must_use]
pub fn host_form(host: &str) -> String {
    host.trim().trim_end_matches('.').to_lowercase()
}

/// The domain under which an organisation has its hosts: `example.co.uk` of `mx.example.co.uk`, by the Public Suffix
/// List.
#[must_use]
pub fn organisation(host: &str) -> Option<&str> {
    psl::domain_str(host)
}

/// Whether a domain is a host's own name without one, an IP address, or a name that only its own network knows.
#[must_use]
pub fn is_internal(domain: &str) -> bool {
    let last = domain.rsplit('.').next().unwrap_or(domain);
    !domain.contains('.') || domain.starts_with('[') || INTERNAL.contains(&last) || domain.ends_with(".home.arpa")
}

/// RFC 6762 appendix G and RFC 8375, and `internal`, which ICANN has set aside.
const INTERNAL: &[&str] =
    &["corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private"];

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let [one, other] = [one, other].map(|a| Address::parse(a).expect(a));
        assert_eq!(is_same_mailbox(&one, &other), is_same_mailbox(&other, &one), "{one:?} {other:?}");
        is_same_mailbox(&one, &other)
    }

    #[test]
    fn one_mailbox_has_many_spellings() {
        for (one, other) in [
            ("Ann@Example.ORG", "ann@example.org"),
            ("\"ann\"@example.org", "ann@example.org"),
            ("\"da..me\"@example.org", "da..me@example.org"),
            ("ann@example.org", "ann@mail2.example.org"),
            ("ann@store.example.org", "ann@mail2.example.org"),
            ("ann@example.co.uk", "ann@mx.example.co.uk"),
            ("ann@example.org", "ann@mailstore"),
            ("ann@example.org", "ann@store.local"),
            ("ann@example.org", "ann@[192.0.2.7]"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn another_name_or_another_organisation_is_another_mailbox() {
        for (one, other) in [
            ("ann@example.org", "ann.b@example.org"),
            ("ann@example.org", "ann@example.net"),
            ("ann@one.co.uk", "ann@two.co.uk"),
            ("club@example.org", "ann@mailstore"),
            ("ann@one.github.io", "ann@two.github.io"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}
