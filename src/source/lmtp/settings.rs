//! `[lmtp.NAME]` in the configuration. Opens nothing and checks nothing but the words.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::source::{Settings, settings};

/// Where mail servers hand mail over by LMTP (RFC 2033). Only `listen` must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of its own: [lmtp.NAME]")]
pub struct LmtpSettings {
    /// Where they find us: `unix:` and the path of a socket, or an address with its port.
    pub listen: Listen,
    /// Allows an address that others can reach: LMTP asks nobody who he is.
    #[serde(default)]
    pub insecure: bool,
    /// Who may connect to the socket: the mode of its file, which belongs to whoever runs the daemon; `None`: its group.
    #[serde(default, deserialize_with = "octal")]
    pub mode: Option<u32>,
    /// The most octets to read of one message.
    #[serde(default = "settings::max_message", deserialize_with = "settings::some")]
    pub max_message: u32,
    /// The most connections at once; each may have a message in memory.
    #[serde(default = "connections", deserialize_with = "settings::some")]
    pub connections: usize,
    /// The most recipients of one message.
    #[serde(default = "recipients", deserialize_with = "settings::some")]
    pub recipients: usize,
    /// How long to wait for the next command, and for all of a message.
    #[serde(default = "five_minutes", deserialize_with = "settings::time")]
    pub timeout: Duration,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A socket of this machine.
    Unix(PathBuf),
    /// An address and its port.
    Tcp(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "\"unix:\" and a path, or an address and a port: \"unix:/run/bounced/lmtp.sock\", \
                        \"127.0.0.1:2424\", \"[::1]:2424\"";
        settings::parsed(deserializer, expected, |text| {
            let path = text.strip_prefix("unix:").filter(|path| !path.is_empty());
            path.map(|path| Self::Unix(path.into())).or_else(|| text.parse().ok().map(Self::Tcp))
        })
    }
}

impl Settings for LmtpSettings {
    fn describe(&self) -> String {
        format!("LMTP at {}", self.listen)
    }

    fn becomes(&self) -> String {
        "taken over from whoever hands them over".to_owned()
    }

    fn claims(&self) -> Option<String> {
        Some(format!("listen = \"{}\"", self.listen))
    }

    fn contradiction(&self) -> Option<String> {
        let Listen::Tcp(address) = self.listen else { return None };
        if self.mode.is_some() {
            return Some("mode: it is for the file of a socket, and a port has none; remove it".to_owned());
        }
        if address.port() == 25 {
            return Some("listen: port 25 is for SMTP, and LMTP must not be spoken there (RFC 2033 §5)".to_owned());
        }
        let is_reached_from_here_alone = address.ip().to_canonical().is_loopback();
        (!is_reached_from_here_alone && !self.insecure).then(|| {
            format!(
                "listen: whoever can reach {address} could hand bounces over; name a loopback address or a Unix socket, or \
                 allow it by insecure = true"
            )
        })
    }

    fn folders(&self) -> Vec<Self> {
        Vec::new()
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match &mut self.listen {
            Listen::Unix(path) => vec![path],
            Listen::Tcp(_) => Vec::new(),
        }
    }
}

/// A mode as chmod(1) has it: `"0660"`.
fn octal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    settings::parsed(deserializer, "a mode such as \"0660\"", |text| {
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777).map(Some)
    })
}

fn connections() -> usize {
    20
}

fn recipients() -> usize {
    100
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LmtpSettings, String> {
        let settings = toml::from_str::<LmtpSettings>(text).map_err(|error| error.message().to_owned())?;
        settings.contradiction().map_or(Ok(settings), Err)
    }

    #[test]
    fn a_place_to_listen_is_enough() {
        let socket = read("listen = 'unix:run/lmtp.sock'").unwrap();
        assert_eq!((socket.listen, socket.mode), (Listen::Unix("run/lmtp.sock".into()), None));
        for address in ["127.0.0.1:24", "[::1]:2424", "[::ffff:127.0.0.1]:24"] {
            assert_eq!(read(&format!("listen = '{address}'")).unwrap().listen.to_string(), address);
        }
        assert!(read("listen = '0.0.0.0:24'\ninsecure = true").is_ok());
        assert_eq!(read("listen = 'unix:s'\nmode = '777'").unwrap().mode, Some(0o777));
    }

    #[test]
    fn what_others_can_reach_and_what_makes_no_sense_is_refused() {
        for (text, problem) in [
            ("listen = '0.0.0.0:24'", "insecure = true"),
            ("listen = '[::]:24'", "insecure = true"),
            ("listen = '192.0.2.1:24'", "insecure = true"),
            ("listen = '127.0.0.1:25'", "port 25 is for SMTP"),
            ("listen = '/run/lmtp.sock'", "expected \"unix:\""),
            ("listen = 'unix:'", "expected \"unix:\""),
            ("listen = 'localhost:24'", "expected \"unix:\""),
            ("listen = '127.0.0.1:24'\nmode = '0660'", "a port has none"),
            ("listen = '127.0.0.1:24'\nmode = '0888'", "expected a mode"),
            ("listen = '127.0.0.1:24'\nmode = '1777'", "expected a mode"),
            ("listen = '127.0.0.1:24'\nconnections = 0", "expected at least 1"),
            ("listen = '127.0.0.1:24'\nuser = 'a'", "unknown field `user`"),
            ("", "missing field `listen`"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(problem), "{text}: {refused}");
        }
    }
}
