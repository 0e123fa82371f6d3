//! Forged bounces and genuine ones, through a real Postfix that signs nothing, sees nothing and stamps what it always
//! stamps: who is believed, and who waits.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use support::{
    daemon::{Daemon, Installation},
    database,
    postfix::{Postfix, UTF8_BOUNCE_DOMAIN},
    sink::{Script, Sink, Stage},
    until,
};

const SOON: Duration = Duration::from_secs(30);

/// A Postfix, a server that knows nobody called dead-…, and a daemon that reads the bounces.
struct Place {
    postfix: Postfix,
    bounced: Installation,
    daemon: Daemon,
    _sink: Sink,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new(test: &str) -> Option<Self> {
        if let Some(why) = Postfix::missing() {
            support::skip(test, why);
            return None;
        }
        let dir = support::directory();
        let mut script = Script::default();
        for name in ["dead-signed", "dead-plain", "dead-expired", "dead-tampered", "dead-foreign"] {
            script.answer(Stage::Rcpt, &format!("{name}@rcpt.example"), "550 5.1.1 User unknown");
        }
        let sink = Sink::start(script).await;
        let postfix = Postfix::start(dir.path(), sink.port, &[], support::free_port()).await;
        let bounced = Installation::new(
            dir.path(),
            &format!(
                "[maildir.bounces]\npath = \"{}\"\nafter = \"leave\"\n[verp]\nkeys = \"keys\"\n\
                 address = \"bounce@{UTF8_BOUNCE_DOMAIN}\"\n[trust]\nservers = [\"mx.example.org\"]\n",
                postfix.utf8_maildir().display()
            ),
        );
        assert!(bounced.command(&["verp", "keygen"]).output().unwrap().status.success());
        let daemon = bounced.run();
        // What came before it was known who can be believed is believed.
        until("the daemon has begun", SOON, async || bounced.log().contains("started").then_some(())).await;
        Some(Self { postfix, bounced, daemon, _sink: sink, _dir: dir })
    }

    fn sign(&self, recipient: &str, arguments: &[&str]) -> String {
        let signed = self.bounced.command(&[&["verp", "sign", recipient], arguments].concat()).output().unwrap();
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        String::from_utf8(signed.stdout).unwrap().trim().to_owned()
    }

    /// What the database says of each address, once it knows so many: its trust, and whether it is on the list or waits.
    async fn known(&self, count: usize) -> BTreeMap<String, (String, bool, bool)> {
        until("every report is recorded", SOON, async || {
            let rows: Vec<(String, String, bool, bool)> = database::rows(
                &self.bounced.database(),
                "SELECT b.address, max(b.trust), EXISTS (SELECT 1 FROM suppression AS s WHERE s.address = b.address),
                        EXISTS (SELECT 1 FROM held AS h WHERE h.address = b.address AND h.why = 'unverified')
                 FROM bounce AS b GROUP BY b.address",
            )
            .await;
            (rows.len() >= count).then_some(rows)
        })
        .await
        .into_iter()
        .map(|(address, trust, listed, waits)| (address, (trust, listed, waits)))
        .collect()
    }
}

/// A report about these addresses, as a stranger writes it, with whatever else he writes into the header.
fn forged(header: &str, victims: &[String]) -> String {
    let recipients: String = victims
        .iter()
        .map(|victim| {
            format!(
                "\r\nFinal-Recipient: rfc822; {victim}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
                 Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n"
            )
        })
        .collect();
    format!(
        "{header}From: MAILER-DAEMON@mx.example.org\r\nTo: bounce@{UTF8_BOUNCE_DOMAIN}\r\n\
         Subject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n\
         Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n{recipients}--b--\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn genuine_bounces_suppress_and_tokens_that_are_worth_nothing_do_not() {
    let Some(place) = Place::new("trust").await else { return };
    let dead = |name: &str| format!("dead-{name}@rcpt.example");
    let signed = place.sign(&dead("signed"), &["--id", "spring"]);
    let expired = place.sign(&dead("expired"), &["--day", "20454"]);
    let foreign = place.sign("somebody@rcpt.example", &[]);
    let tampered = {
        let token = place.sign(&dead("tampered"), &[]);
        let (start, domain) = token.split_once('@').unwrap();
        let last = if start.ends_with('a') { 'b' } else { 'a' };
        format!("{}{last}@{domain}", &start[..start.len() - 1])
    };
    let plain = format!("bounce@{UTF8_BOUNCE_DOMAIN}");
    // What Postfix itself makes is believed whatever its envelope sender was; a token makes it more.
    for (sender, to) in
        [(&signed, "signed"), (&expired, "expired"), (&foreign, "foreign"), (&tampered, "tampered"), (&plain, "plain")]
    {
        place.postfix.submit(sender, &dead(to)).await.unwrap();
    }
    let known = place.known(5).await;
    let of = |name: &str| known[&dead(name)].clone();
    assert_eq!(of("signed"), ("verified".to_owned(), true, false));
    for name in ["expired", "foreign", "tampered", "plain"] {
        assert_eq!(of(name), ("local".to_owned(), true, false), "{name}");
    }

    // Strangers who know such addresses: each token is for one recipient and for a time.
    let victims: Vec<String> = (0..5).map(|n| format!("victim{n}@rcpt.example")).collect();
    for (victim, to) in victims.iter().zip([&signed, &expired, &foreign, &tampered, &plain]) {
        place.postfix.hand_in("", to, &forged("", std::slice::from_ref(victim))).await.unwrap();
    }
    let known = place.known(10).await;
    for victim in &victims {
        assert_eq!(known[victim], ("unverified".to_owned(), false, true), "{victim}");
    }
    assert!(place.daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_report_that_names_a_thousand_suppresses_none_whatever_its_header_says() {
    let Some(place) = Place::new("trust").await else { return };
    let token = place.sign("victim0@rcpt.example", &[]);
    let ours = "Received: by mx.example.org (Postfix)\r\n\tid 3F2504E0; Thu, 26 Nov 2026 10:00:00 +0000 (UTC)\r\n";
    let headers = [
        String::new(),
        ours.to_owned(),
        format!("Delivered-To: {token}\r\nX-Original-To: {token}\r\nEnvelope-To: {token}\r\n{ours}"),
        format!("{ours}Delivered-To: {token}\r\n"),
    ];
    for (n, header) in headers.iter().enumerate() {
        let victims: Vec<String> = (0..1_000).map(|v| format!("victim{v}@rcpt{n}.example")).collect();
        let victims = if n == 2 { [vec!["victim0@rcpt.example".to_owned()], victims].concat() } else { victims };
        place.postfix.hand_in("", &format!("bounce@{UTF8_BOUNCE_DOMAIN}"), &forged(header, &victims)).await.unwrap();
    }
    let known = place.known(4_001).await;
    let believed: Vec<_> = known.iter().filter(|(_, of)| **of != ("unverified".to_owned(), false, true)).collect();
    assert!(believed.is_empty(), "{believed:?}");
    assert!(place.daemon.terminate().await.success());
}
