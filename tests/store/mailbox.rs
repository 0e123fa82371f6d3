//! How each mailbox fares.

use bounced::store::Heartbeat;

use crate::fixture::{Fixture, HARD, MAILBOX, START, entry};

#[tokio::test]
async fn status_tells_when_a_mailbox_was_last_read_and_why_it_is_not() {
    let f = Fixture::new().await;
    assert!(f.store.status().await.unwrap().is_empty());
    f.store.heartbeat(MAILBOX, START, Heartbeat::Read).await.unwrap();
    f.commit(&[entry(1, START - 5, &[("ann@example.org", HARD)])]).await;
    f.store.heartbeat("other", START + 1, Heartbeat::Failed("wrong password")).await.unwrap();
    f.store.heartbeat(MAILBOX, START + 2, Heartbeat::Failed("connection lost")).await.unwrap();

    let status = f.store.status().await.unwrap();
    assert_eq!(status.len(), 2);
    let (one, other) = (&status[0], &status[1]);
    assert_eq!(
        (one.read_at, one.failed_at, one.failure.as_deref()),
        (Some(START), Some(START + 2), Some("connection lost"))
    );
    assert_eq!((one.messages, one.bounces, one.newest, one.unsettled), (1, 1, Some(START - 5), 1));
    assert_eq!((other.read_at, other.failure.as_deref()), (None, Some("wrong password")));

    f.store.heartbeat(MAILBOX, START + 3, Heartbeat::Read).await.unwrap();
    let one = &f.store.status().await.unwrap()[0];
    assert_eq!((one.read_at, one.failed_at, &one.failure), (Some(START + 3), None, &None));
}
