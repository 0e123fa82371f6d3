//! `192.0.2.1`, `192.0.2.0/24` or `app.example.org` -> hosts from which our own programs send. Looks up nothing.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Deserializer, de::Error};

/// A network, an address or a name from which our own programs send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionHost {
    /// An address and how many of its bits count.
    Network(IpAddr, u8),
    /// The name that a mail server has looked up for the address, in lower case.
    Name(String),
}

impl SubmissionHost {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = bits_of(address);
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
            return Some(Self::Network(address, bits));
        }
        let is_name = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
        // All digits and dots is an address that went wrong.
        let is_address = text.chars().all(|c| c.is_ascii_digit() || c == '.');
        (is_name && !is_address).then(|| Self::Name(text.to_lowercase()))
    }

    /// Whether it is the one of this address, for which the mail server has looked up this name.
    #[must_use]
    pub fn has(&self, name: Option<&str>, address: Option<IpAddr>) -> bool {
        let is_within = |own: u128, address: u128, free: u32| (own ^ address).checked_shr(free).unwrap_or(0) == 0;
        match (self, address) {
            (Self::Name(own), _) => name.is_some_and(|name| name.eq_ignore_ascii_case(own)),
            (Self::Network(IpAddr::V4(own), bits), Some(IpAddr::V4(address))) => {
                is_within(u32::from(*own).into(), u32::from(address).into(), 32 - u32::from(*bits))
            }
            (Self::Network(IpAddr::V6(own), bits), Some(IpAddr::V6(address))) => {
                is_within((*own).into(), address.into(), 128 - u32::from(*bits))
            }
            _ => false,
        }
    }
}

const fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// As the configuration has it.
impl fmt::Display for SubmissionHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address, bits) if *bits == bits_of(*address) => address.fmt(f),
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for SubmissionHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(
                "expected an address (192.0.2.1), a network (192.0.2.0/24) or a host name (app.example.org)",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_shown_as_it_is_written_and_has_what_lies_within_it() {
        let (inside, outside) = (Some("192.0.2.7".parse().unwrap()), Some("192.0.3.7".parse().unwrap()));
        for (text, has) in [
            ("192.0.2.7", [true, false]),
            ("192.0.2.0/24", [true, false]),
            ("0.0.0.0/0", [true, true]),
            ("192.0.3.7/32", [false, true]),
            ("2001:db8::/32", [false, false]),
            ("app.example.org", [false, false]),
        ] {
            let host = SubmissionHost::parse(text).unwrap();
            assert_eq!(host.to_string(), text.trim_end_matches("/32").replace("2001:db8::", "2001:db8::/32"));
            assert_eq!([inside, outside].map(|address| host.has(None, address)), has, "{text}");
        }
        let name = SubmissionHost::parse("App.example.org").unwrap();
        assert!(name.has(Some("APP.example.org"), inside) && !name.has(Some("example.org"), inside));
        for text in ["", "192.0.2.7/33", "192.0.2", "a b", "192.0.2.7/x", "host/24"] {
            assert_eq!(SubmissionHost::parse(text), None, "{text}");
        }
    }
}
