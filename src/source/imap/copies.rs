//! A message that may have been moved -> whether the other folder holds its copy. A server that was killed in the middle
//! of MOVE or COPY has perhaps copied it and not taken it away. Knows nothing of folders and connections.

use sha2::{Digest, Sha256};

use super::words;

/// What tells one message from all others.
pub(super) struct Fingerprint {
    size: u64,
    sha256: [u8; 32],
    message_id: Option<String>,
}

impl Fingerprint {
    pub(super) fn of(size: u64, body: &[u8]) -> Self {
        Self { size, sha256: Sha256::digest(body).into(), message_id: message_id(body) }
    }

    /// SEARCH criteria for it and few others.
    pub(super) fn criteria(&self) -> String {
        // RFC 9051 §6.4.4: both bounds are exclusive.
        let size = format!("LARGER {} SMALLER {}", self.size.saturating_sub(1), self.size.saturating_add(1));
        match &self.message_id {
            Some(id) => format!("UNDELETED HEADER Message-ID {} {size}", words::quoted(id)),
            None => format!("UNDELETED {size}"),
        }
    }

    pub(super) fn is_of(&self, size: u64, body: &[u8]) -> bool {
        self.size == size && self.sha256 == <[u8; 32]>::from(Sha256::digest(body))
    }
}

/// What can stand in a quoted string of the Message-ID field, if it is all on one line.
fn message_id(body: &[u8]) -> Option<String> {
    for line in body.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        let name = line.get(..11).filter(|name| name.eq_ignore_ascii_case(b"message-id:"));
        if name.is_some() {
            let id = line[11..].trim_ascii();
            let plain = !id.is_empty() && id.len() < 500 && id.iter().all(|b| (b'!'..=b'~').contains(b));
            return plain.then(|| String::from_utf8_lossy(id).into_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_searched_by_its_id_and_told_by_its_octets() {
        let body = b"Subject: x\r\nMESSAGE-ID:  <a\"b@example.org>\r\n\r\nMessage-ID: <no>\r\n";
        let print = Fingerprint::of(99, body);
        let size = "LARGER 98 SMALLER 100";
        assert_eq!(print.criteria(), format!(r#"UNDELETED HEADER Message-ID "<a\"b@example.org>" {size}"#));
        assert!(print.is_of(99, body) && !print.is_of(98, body) && !print.is_of(99, b"other"));
        for without in
            ["", "\r\nMessage-ID: <in-the-body>\r\n", "Message-ID:\r\n <folded@x>\r\n\r\n", "Message-ID: <\u{e9}>\n"]
        {
            assert_eq!(Fingerprint::of(99, without.as_bytes()).criteria(), format!("UNDELETED {size}"), "{without}");
        }
    }
}
