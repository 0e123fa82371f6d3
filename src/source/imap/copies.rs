//! A message that may have been moved -> whether the other folder holds its copy. A server that was killed in the
//! middle of MOVE or COPY has perhaps copied it and not taken it away. Knows nothing of folders and connections.

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
    fn criteria(&self) -> String {
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

/// RFC 2683 §3.2.1.5: a server takes lines of 8,000 octets; this leaves room for the command around the criteria.
const LONGEST_CRITERIA: usize = 7_800;

/// SEARCH criteria that find all of them, in as few searches as lines of a bearable length allow.
pub(super) fn criteria(prints: &[&Fingerprint]) -> Vec<String> {
    let mut searches = Vec::new();
    let (mut together, mut octets) = (Vec::new(), 0);
    for one in prints.iter().map(|print| print.criteria()) {
        let more = one.len() + "OR () ".len();
        if octets + more > LONGEST_CRITERIA && !together.is_empty() {
            searches.push(any_of(&together));
            (together, octets) = (Vec::new(), 0);
        }
        octets += more;
        together.push(one);
    }
    searches.extend((!together.is_empty()).then(|| any_of(&together)));
    searches
}

/// RFC 9051 §6.4.4: OR has two sides. Halved and halved again it nests no deeper than a server can bear.
fn any_of(criteria: &[String]) -> String {
    match criteria {
        [one] => format!("({one})"),
        _ => {
            let (first, second) = criteria.split_at(criteria.len() / 2);
            format!("OR {} {}", any_of(first), any_of(second))
        }
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

    #[test]
    fn many_are_searched_at_once_in_lines_that_a_server_takes() {
        let prints: Vec<_> = (1..=500).map(|size| Fingerprint::of(size, b"Subject: x\r\n\r\n")).collect();
        let prints: Vec<_> = prints.iter().collect();
        assert!(criteria(&[]).is_empty());
        assert_eq!(criteria(&prints[..1]), ["(UNDELETED LARGER 0 SMALLER 2)"]);
        let two = "OR (UNDELETED LARGER 0 SMALLER 2) (UNDELETED LARGER 1 SMALLER 3)";
        assert_eq!(criteria(&prints[..2]), [two]);
        let all = criteria(&prints);
        assert!((2..=4).contains(&all.len()) && all.iter().all(|one| one.len() <= LONGEST_CRITERIA), "{}", all.len());
        assert_eq!(all.iter().map(|one| one.matches('(').count()).sum::<usize>(), 500);
        for one in &all {
            assert_eq!(one.matches("OR ").count(), one.matches('(').count() - 1, "OR has two sides");
        }
    }
}
