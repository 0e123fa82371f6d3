//! x
mod support;
use support::{postfix::{Delivery, Postfix, BOUNCE_DOMAIN}, sink::{Script, Sink, Stage}};
use std::time::Duration;


#[tokio::test(flavor = "multi_thread")]
async fn trial() {
    let dir = tempfile::Builder::new().prefix("bounced-e2e").permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let mut script = Script::default();
    for line in std::fs::read_to_string("/tmp/w-proof/script").unwrap().lines() {
        let (key, reply) = line.split_once(' ').unwrap();
        script.answer(Stage::Rcpt, key, &reply.replace("|", "\n"));
    }
    let sink = Sink::start(script).await;
    let refuse = Sink::start(Script::refusing("554 mx1.strict.example ESMTP not accepting connections from 192.0.2.25, see https://blocklist.example/192.0.2.25")).await;
    let mail = dir.path().join("mail");
    let p = Postfix::start(dir.path(), sink.port, &[("strict.example".into(), refuse.port)], Delivery::Maildir { dir: &mail, owner: (1000, 1000) }).await;
    std::fs::write("/tmp/w-proof/port", format!("{}\n{}\n", p.port, dir.path().display())).unwrap();
    let _ = p.log();
    while std::path::Path::new("/tmp/w-proof/port").exists() { tokio::time::sleep(Duration::from_millis(200)).await; }
}
