//! What this reader makes of a server's octets, for whoever holds it against another one: fuzz/src/lib.rs. The session
//! reads by the same two functions.

use bytes::BytesMut;
use tokio_util::codec::Decoder;

use super::{
    response::{Condition, Fetched, Response, Status, parse},
    wire::Wire,
};

/// A response, as far as it concerns a reader of mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// `OK`, `NO`, `BAD`, `BYE` or `PREAUTH`, with the tag of the command that it ends.
    Condition(Option<String>, &'static str),
    /// `+`
    Continue,
    /// What the server can do, in upper case.
    Capability(Vec<String>),
    /// What was found.
    Search(Vec<u32>),
    /// How many messages there are.
    Exists(u32),
    /// One message less.
    Expunge,
    /// About one message.
    Fetch {
        /// UID.
        uid: Option<u32>,
        /// RFC822.SIZE.
        size: Option<u64>,
        /// INTERNALDATE in seconds since 1970.
        received: Option<i64>,
        /// `BODY[]`, perhaps cut.
        body: Option<Vec<u8>>,
    },
    /// Anything else.
    Other,
}

/// The first response in these octets, and how many it takes; `None` where none is complete or it is too long.
#[must_use]
pub fn hear(octets: &[u8]) -> Option<(Heard, usize)> {
    let mut buffer = BytesMut::from(octets);
    let response = Wire::after_login(octets.len()).decode(&mut buffer).ok().flatten()?;
    let of = |Condition { status, .. }| match status {
        Status::Ok => "OK",
        Status::No => "NO",
        Status::Bad => "BAD",
        Status::Bye => "BYE",
        Status::Preauth => "PREAUTH",
    };
    let heard = match parse(&response) {
        Response::Done(tag, condition) => Heard::Condition(Some(tag), of(condition)),
        Response::Condition(condition) => Heard::Condition(None, of(condition)),
        Response::Continue(_) => Heard::Continue,
        Response::Capability(list) => Heard::Capability(list),
        Response::Search(uids) => Heard::Search(uids),
        Response::Exists(count) => Heard::Exists(count),
        Response::Expunge => Heard::Expunge,
        Response::Fetch(Fetched { uid, size, received, body }) => {
            Heard::Fetch { uid, size, received, body: body.map(|body| body.to_vec()) }
        }
        Response::Other => Heard::Other,
    };
    Some((heard, octets.len() - buffer.len()))
}
