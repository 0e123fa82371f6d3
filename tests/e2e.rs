//! x
mod support;
use support::{postfix::{Delivery, Postfix, BOUNCE_DOMAIN}, sink::{Script, Sink, Stage}};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn trial() {
    let dir = tempfile::Builder::new().prefix("bounced-e2e").permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let mut script = Script::default();
    script.answer(Stage::Rcpt, "dead", "550 5.1.1 User unknown");
    script.answer(Stage::Rcpt, "busy", "450 mailbox busy");
    script.answer(Stage::Rcpt, "closing", "421 closing");
    script.answer(Stage::Mail, "mail", "503 Bad sequence");
    script.answer(Stage::Data, "data", "554-5.7.1 Transaction failed\n554 5.7.1 really");
    script.answer(Stage::Rcpt, "müller", "551 User not local");
    let sink = Sink::start(script).await;
    let refuse = Sink::start(Script::refusing("521 no mail here")).await;
    let mail = dir.path().join("mail");
    let p = Postfix::start(dir.path(), sink.port, &[("refusing.example".into(), refuse.port)], Delivery::Maildir { dir: &mail, owner: (1000, 1000) }).await;
    for r in ["dead", "busy", "closing", "mail", "data", "müller", "alive"] {
        let rr = if r == "müller" { "mueller" } else { r };
        p.submit(&format!("bounces+{rr}@{BOUNCE_DOMAIN}"), &format!("{r}@customer.example")).await.unwrap();
    }
    p.submit(&format!("bounces+ref@{BOUNCE_DOMAIN}"), "a@refusing.example").await.unwrap();
    sink.accepted("alive@customer.example").await;
    let new = mail.join("bounces/new");
    let n = support::until("bounces", Duration::from_secs(20), async || { let n = std::fs::read_dir(&new).ok()?.count(); (n == 7).then_some(n) });
    let _ = tokio::time::timeout(Duration::from_secs(15), n).await;
    println!("{}", p.log());
    for f in std::fs::read_dir(&new).unwrap() { println!("=====\n{}", String::from_utf8_lossy(&std::fs::read(f.unwrap().path()).unwrap())); }
}
