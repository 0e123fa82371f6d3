//! What a server says when it does not do what it was asked -> how long to leave it alone. The one table of that; knows
//! nothing of connections.

use super::response::{Condition, Status};

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It passes by itself: try again soon, and then less and less often.
    Soon,
    /// The server counts connections, octets or failures over minutes: each attempt before they are over makes it worse.
    Minutes,
    /// It stays until a person mends it.
    Person,
}

use Patience::{Minutes, Person, Soon};

/// Response codes of RFC 5530 and RFC 9051 §7.1, and of servers that have their own. They weigh more than words.
const CODES: [(&str, Patience); 15] = [
    ("UNAVAILABLE", Soon),
    ("INUSE", Soon),
    ("SERVERBUG", Soon),
    ("LIMIT", Minutes),
    ("OVERQUOTA", Minutes),
    // Gmail and Yahoo.
    ("THROTTLED", Minutes),
    ("AUTHENTICATIONFAILED", Person),
    ("AUTHORIZATIONFAILED", Person),
    ("EXPIRED", Person),
    ("PRIVACYREQUIRED", Person),
    ("CONTACTADMIN", Person),
    ("NOPERM", Person),
    ("NONEXISTENT", Person),
    ("CANNOT", Person),
    ("CORRUPTION", Person),
];

/// Words that stand in the text of servers that give no code, in lower case; the first row that fits decides.
const WORDS: [(&str, Patience); 9] = [
    // Exchange Online after a login that was right, while it moves the mailbox or takes too many sessions.
    ("authenticated but not connected", Minutes),
    ("request is throttled", Minutes),
    ("rate limit", Minutes),
    // Gmail: "Too many simultaneous connections"; Courier: "Too many connections".
    ("too many", Minutes),
    ("maximum number of connections", Minutes),
    ("bandwidth limit", Minutes),
    ("server unavailable", Soon),
    ("temporar", Soon),
    ("try again later", Soon),
];

/// How long to wait after this.
pub(super) fn patience(said: &Condition) -> Patience {
    let by_code = CODES.iter().find(|(code, _)| *code == said.keyword());
    let text = said.text.to_lowercase();
    let by_words = || WORDS.iter().find(|(words, _)| text.contains(words));
    // RFC 9051 §7.1.5: who says goodbye may be greeted again.
    let otherwise = if said.status == Status::Bye { Soon } else { Person };
    by_code.or_else(by_words).map_or(otherwise, |(_, patience)| *patience)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{
        super::response::{Response, parse},
        *,
    };

    #[test]
    fn each_answer_gets_the_patience_that_it_needs() {
        for (line, expected) in [
            ("A1 NO [UNAVAILABLE] Temporary authentication failure", Soon),
            ("A1 NO [INUSE] Mailbox in use", Soon),
            ("A1 NO [SERVERBUG] This should not happen", Soon),
            ("A1 NO [LIMIT] AUTHENTICATE Rate limit hit", Minutes),
            ("A1 NO [OVERQUOTA] Quota exceeded", Minutes),
            ("A1 NO [THROTTLED] Account exceeded command or bandwidth limits", Minutes),
            ("A1 BAD User is authenticated but not connected.", Minutes),
            ("A1 BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds", Minutes),
            ("A1 NO [ALERT] Too many simultaneous connections. (Failure)", Minutes),
            ("* BYE [ALERT] Maximum number of connections from user+IP exceeded", Minutes),
            ("* BYE [LIMIT] Too many sessions", Minutes),
            ("* BYE [UNAVAILABLE] Server shutting down", Soon),
            ("* BYE Disconnected for inactivity.", Soon),
            ("* BYE Account exceeded bandwidth limits", Minutes),
            ("A1 NO Server Unavailable. 15", Soon),
            ("A1 NO Temporarily locked", Soon),
            ("A1 NO [AUTHENTICATIONFAILED] Too many attempts, try again later", Person),
            ("A1 NO [AUTHORIZATIONFAILED] not yours", Person),
            ("A1 NO [EXPIRED] password expired", Person),
            ("A1 NO [PRIVACYREQUIRED] no", Person),
            ("A1 NO [CONTACTADMIN] blocked", Person),
            ("A1 NO [NOPERM] no", Person),
            ("A1 NO [NONEXISTENT] no such folder", Person),
            ("A1 NO [CANNOT] no", Person),
            ("A1 NO [CORRUPTION] index", Person),
            ("A1 NO [ALERT] Please log in via your web browser (Failure)", Person),
            ("A1 NO Login failed", Person),
            ("A1 BAD what?", Person),
        ] {
            let condition = match parse(&Bytes::copy_from_slice(line.as_bytes())) {
                Response::Done(_, condition) | Response::Condition(condition) => condition,
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(patience(&condition), expected, "{line}");
        }
    }
}
