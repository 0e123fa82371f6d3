//! imap-codec as an oracle: what it accepts, our own reader of IMAP responses reads alike. It accepts less than real servers
//! send, so it can't take our reader's place; what it accepts it reads by the grammar of RFC 9051.

use bounced::source::imap::{Heard, hear};
use imap_codec::{
    ResponseCodec,
    decode::Decoder,
    imap_types::{
        fetch::MessageDataItem,
        response::{Data, Response, Status, StatusKind},
    },
};

/// Panics where imap-codec accepts the first response and our reader takes it for something else. Says how many octets it
/// takes; `None` where imap-codec refuses it.
pub fn agree(octets: &[u8]) -> Option<usize> {
    let (rest, response) = ResponseCodec::new().decode(octets).ok()?;
    let taken = octets.len() - rest.len();
    let expected = heard(&response)?;
    let found = hear(octets);
    assert_eq!(found, Some((expected, taken)), "{:?}", String::from_utf8_lossy(&octets[..taken]));
    Some(taken)
}

/// The same in our reader's words; `None` for what can't be compared.
fn heard(response: &Response<'_>) -> Option<Heard> {
    let word = |kind: &StatusKind| match kind {
        StatusKind::Ok => "OK",
        StatusKind::No => "NO",
        StatusKind::Bad => "BAD",
    };
    Some(match response {
        Response::CommandContinuationRequest(_) => Heard::Continue,
        Response::Status(Status::Untagged(body)) => Heard::Condition(None, word(&body.kind)),
        Response::Status(Status::Tagged(tagged)) => {
            Heard::Condition(Some(tagged.tag.as_ref().to_owned()), word(&tagged.body.kind))
        }
        Response::Status(Status::Bye(_)) => Heard::Condition(None, "BYE"),
        Response::Data(Data::Capability(list)) => {
            Heard::Capability(list.as_ref().iter().map(|one| one.to_string().to_ascii_uppercase()).collect())
        }
        Response::Data(Data::Search(uids)) => Heard::Search(uids.iter().map(|uid| uid.get()).collect()),
        Response::Data(Data::Exists(count)) => Heard::Exists(*count),
        Response::Data(Data::Expunge(_)) => Heard::Expunge,
        Response::Data(Data::Fetch { items, .. }) => fetch(items.as_ref()),
        // Nothing that we ask for.
        Response::Data(_) => Heard::Other,
    })
}

fn fetch(items: &[MessageDataItem<'_>]) -> Heard {
    let (mut uid, mut size, mut received, mut body) = (None, None, None, None);
    for item in items {
        match item {
            MessageDataItem::Uid(number) => uid = Some(number.get()),
            MessageDataItem::Rfc822Size(octets) => size = Some((*octets).into()),
            MessageDataItem::InternalDate(date) => received = Some(date.as_ref().timestamp()),
            MessageDataItem::BodyExt { section: None, data, .. } => {
                body = data.0.as_ref().map(|data| data.as_ref().to_vec());
            }
            _ => {}
        }
    }
    Heard::Fetch { uid, size, received, body }
}
