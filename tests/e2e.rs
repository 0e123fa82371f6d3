//! Real parts from end to end: a scripted SMTP server refuses, Postfix bounces, Dovecot keeps the bounces, the daemon
//! reads them over IMAP and TLS, and the same Postfix then refuses whom the published list names.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::FromRow;
use support::{
    cdb,
    daemon::Installation,
    database,
    postfix::{BOUNCE_DOMAIN, Postfix, UTF8_BOUNCE_DOMAIN},
    sink::{Script, Sink, Stage},
    until,
};

/// What the sink says, and what has to be made of it.
#[derive(Clone)]
struct Case {
    /// A key of the script and the local part of the recipient.
    name: &'static str,
    /// What Postfix puts into the Status field: the reply's own code, else x.0.0.
    status: &'static str,
    /// Class, reason and fault.
    judgement: &'static str,
    reply: String,
}

/// Reads a table: name | status | class reason fault | reply, with `↵` between the lines of a reply.
fn cases(table: &'static str) -> Vec<Case> {
    let case = |line: &'static str| {
        let mut cells = line.split('|').map(str::trim);
        let mut cell = || cells.next().expect("a row has four cells");
        let (name, status, judgement) = (cell(), cell(), cell());
        Case { name, status, judgement, reply: cell().replace(" ↵ ", "\n") }
    };
    table.trim().lines().map(case).collect()
}

/// Every reply code of the 2002 table that is a failure, with all its text variants, as that table words them …
const TABLE_OF_2002: &str = "
closing     | 4.0.0  | soft deferred network       | 421 Service not available, closing transmission channel
busy        | 4.0.0  | soft deferred network       | 450 Requested mail action not taken: mailbox unavailable
error       | 4.0.0  | soft system network         | 451 Requested action aborted: local error in processing
storage     | 4.0.0  | soft system network         | 452 Requested action not taken: insufficient system storage
many        | 4.0.0  | soft rate_limited sender    | 452 Too many messages
command     | 5.0.0  | soft protocol network       | 500 Syntax error, command unrecognized
argument    | 5.0.0  | soft protocol network       | 501 Syntax error in parameters or arguments
lacking     | 5.0.0  | soft protocol network       | 502 Command not implemented
sequence    | 5.0.0  | soft protocol network       | 503 Bad sequence of commands
parameter   | 5.0.0  | soft protocol network       | 504 Command parameter not implemented
nomail      | 5.0.0  | hard bad_domain recipient   | 521 Machine does not accept mail
login       | 5.0.0  | soft auth sender            | 530 Access denied
unavailable | 5.0.0  | hard user_unknown recipient | 550 Requested action not taken: mailbox unavailable
relaying    | 5.0.0  | soft relaying sender        | 550 Relaying prohibited
from        | 5.0.0  | soft sender_rejected sender | 550 From address not allowed
notlocal    | 5.0.0  | hard moved recipient        | 551 User not local; please try <moved@new.example>
denied      | 5.0.0  | soft relaying sender        | 551 Relay denied
exceeded    | 5.0.0  | soft mailbox_full recipient | 552 Requested mail action aborted: exceeded storage allocation
name        | 5.0.0  | hard bad_address recipient  | 553 Requested action not taken: mailbox name not allowed
connection  | 5.0.0  | soft rate_limited sender    | 553 Too many messages per connection
failed      | 5.0.0  | soft undetermined unknown   | 554 Transaction failed
duplicates  | 5.0.0  | soft rate_limited sender    | 557 Too many duplicate messages
relay       | 5.0.0  | soft relaying sender        | 572 Relay not authorized
";

/// … and replies as today's servers word them, with enhanced codes, several lines and other scripts.
const OF_TODAY: &str = "
unknown     | 5.1.1  | hard user_unknown recipient | 550 5.1.1 User unknown
plain       | 5.0.0  | hard user_unknown recipient | 551 User not local
spam        | 5.7.1  | soft spam sender            | 550 5.7.1 Message rejected as spam
full        | 5.2.2  | soft mailbox_full recipient | 550 5.2.2 Mailbox full
later       | 4.2.2  | soft mailbox_full recipient | 452 4.2.2 Mailbox full
grey        | 4.7.1  | soft deferred network       | 451 4.7.1 Greylisted, please try again in 300 seconds
disabled    | 5.2.1  | hard disabled recipient     | 550 5.2.1 Account disabled
lines       | 5.1.1  | hard user_unknown recipient | 550-5.1.1 The account that you tried to reach ↵ 550-5.1.1 does not exist. ↵ 550 5.1.1 Please check
gone        | 5.1.6  | hard moved recipient        | 550 5.1.6 <gone@rcpt.example> has moved
size        | 5.3.4  | soft too_big content        | 552 5.3.4 Message size exceeds fixed limit
dmarc       | 5.7.26 | soft auth sender            | 550 5.7.26 Unauthenticated mail is not accepted due to the domain's DMARC policy
müller      | 5.1.1  | hard user_unknown recipient | 550 5.1.1 Kein Benutzer
";

/// Refused greetings, one server each. Postfix waits and gives up, so that 5yz arrives with a status of 4.x.x.
const GREETINGS: &str = "
g421        | 4.0.0  | soft deferred network       | 421 Service not available, closing transmission channel
g521        | 4.0.0  | hard bad_domain recipient   | 521 Machine does not accept mail
g554        | 4.0.0  | soft undetermined unknown   | 554 Transaction failed
g572        | 4.0.0  | soft relaying sender        | 572 Relay not authorized
";

#[derive(Debug, FromRow)]
struct Bounce {
    given: String,
    address: String,
    reply: Option<i64>,
    status: Option<String>,
    class: String,
    reason: String,
    fault: String,
    action: String,
    campaign: Option<String>,
    rule: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_said_is_what_the_rows_say_and_postfix_refuses_the_dead() {
    if let Some(why) = Postfix::missing() {
        return support::skip("e2e", why);
    }
    let lmtp = support::free_port();
    let Some(dovecot) = support::dovecot(&support::lmtp_service(lmtp)) else { return };
    let dir = support::directory();

    // Each case is said at three places of the dialogue; the domain of the recipient tells which.
    let (asked, greetings) = ([cases(TABLE_OF_2002), cases(OF_TODAY)].concat(), cases(GREETINGS));
    let mut script = Script::default();
    let mut sent: BTreeMap<String, &Case> = BTreeMap::new();
    for case in &asked {
        let at = |domain: &str| format!("{}@{domain}", case.name);
        script.answer(Stage::Rcpt, &at("rcpt.example"), &case.reply);
        script.answer(Stage::Data, &at("data.example"), &case.reply);
        // Before the recipient is named, only the sender can tell.
        script.answer(Stage::Mail, case.name, &case.reply);
        for domain in ["rcpt.example", "data.example", "mail.example"] {
            sent.insert(at(domain), case);
        }
    }
    // An address of an internationalised domain has two forms, and either may be asked for.
    let idn = cases("nobody | 5.1.1 | hard user_unknown recipient | 550 5.1.1 User unknown");
    script.answer(Stage::Rcpt, "nobody@bücher.example", &idn[0].reply);
    sent.insert("nobody@bücher.example".to_owned(), &idn[0]);
    let sink = Sink::start(script).await;
    let (mut routes, mut refusing) = (Vec::new(), Vec::new());
    for case in &greetings {
        let server = Sink::start(Script::refusing(&case.reply)).await;
        routes.push((format!("{}.example", case.name), server.port));
        sent.insert(format!("anybody@{}.example", case.name), case);
        refusing.push(server);
    }
    let postfix = Postfix::start(dir.path(), sink.port, &routes, lmtp).await;
    let bounced = Installation::new(
        dir.path(),
        &format!("{}[maildir.idn]\npath = \"{}\"\n", support::as_mailbox(&dovecot), postfix.utf8_maildir().display()),
    );
    dovecot.deliver(include_str!("../scripts/samples/a-human-reply.eml"));
    let daemon = bounced.run();

    for recipient in sent.keys() {
        let domain = if recipient.is_ascii() { BOUNCE_DOMAIN } else { UTF8_BOUNCE_DOMAIN };
        let sender = match recipient.split_once("@mail.example") {
            Some((name, _)) => format!("bounces+{name}@{domain}"),
            None => format!("bounces@{domain}"),
        };
        let accepted = postfix.submit(&sender, recipient).await;
        assert_eq!(accepted, Ok(()), "{recipient}");
    }
    let alive = "alive@rcpt.example";
    postfix.submit(&format!("bounces@{BOUNCE_DOMAIN}"), alive).await.unwrap();
    sink.accepted(alive).await;

    let bounces = until("every refusal is a row", Duration::from_secs(20), async || {
        let rows: Vec<Bounce> = database::rows(
            &bounced.database(),
            "SELECT address_given AS given, address, reply, status, class, reason, fault, action, campaign, rule FROM bounce",
        )
        .await;
        (rows.len() >= sent.len()).then_some(rows)
    });
    let bounces = bounces.await;

    let mut wrong = Vec::new();
    for bounce in &bounces {
        let Some(case) = sent.remove(&bounce.given) else {
            wrong.push(format!("{bounce:?} was never refused, or twice recorded"));
            continue;
        };
        let Bounce { reply, status, class, reason, fault, action, campaign, rule, .. } = bounce;
        let judgement = format!("{class} {reason} {fault}");
        let found = (reply.map(|code| code.to_string()), status.as_deref(), &*judgement);
        // Who refuses MAIL FROM refuses the sender, whatever he says: nobody is dead then.
        let of_sender = bounce.given.ends_with("@mail.example");
        let spared = of_sender && case.judgement.starts_with("hard");
        let judged = match rule.as_str() {
            "phrases:sender.at-mail-from" if of_sender => "soft sender_rejected sender",
            _ if spared && class == "soft" => &judgement,
            _ if spared => "soft",
            _ => case.judgement,
        };
        let expected = (Some(case.reply[..3].to_owned()), Some(case.status), judged);
        let explained = rule.starts_with("codes:") || rule.starts_with("phrases:");
        if found != expected || !explained || action != "failed" || campaign.as_deref() != Some("spring") {
            wrong.push(format!("`{}`\n  expected {expected:?}\n  found    {bounce:?}", case.reply));
        }
    }
    wrong.extend(sent.keys().map(|address| format!("{address}: no row")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // A move shows in the new folder before it has left the old one, where a letter stays: it is no bounce.
    until("every bounce is moved, and the letter is left alone", Duration::from_secs(20), async || {
        let idn = support::messages(&postfix.utf8_maildir().join(".Processed"));
        let moved = support::messages(&dovecot.maildir().join(".Processed")) + idn;
        ((moved, support::messages(&dovecot.maildir())) == (bounces.len(), 1)).then_some(())
    })
    .await;

    // A domain that is gone has to be so a day later, too.
    let is_dead =
        |bounce: &&Bounce| bounce.class == "hard" && bounce.fault == "recipient" && bounce.reason != "bad_domain";
    let dead: BTreeSet<&str> = bounces.iter().filter(is_dead).map(|bounce| &*bounce.address).collect();
    // Both published forms of each.
    let dead: BTreeSet<&str> = dead.into_iter().chain(["nobody@bücher.example"]).collect();
    assert!(dead.contains("nobody@xn--bcher-kva.example"), "recorded under its A-label");
    let published: Vec<(String,)> = until("the list is published", Duration::from_secs(20), async || {
        let rows = database::rows(&bounced.published(), "SELECT email FROM suppression").await;
        (rows.len() >= dead.len()).then_some(rows)
    })
    .await;
    assert_eq!(published.iter().map(|row| &*row.0).collect::<BTreeSet<_>>(), dead, "the dead, and nobody else");

    // The daemon still runs: its list can be read beside it.
    let listed = async || (cdb::addresses(&bounced.cdb()).len() >= dead.len()).then_some(());
    until("mail servers can read it", Duration::from_secs(20), listed).await;
    postfix.refuse_suppressed(&bounced.cdb());
    let sender = format!("news@{BOUNCE_DOMAIN}");
    // A process of Postfix that was at rest may answer once more by the old configuration.
    until("Postfix has read its configuration", Duration::from_secs(20), async || {
        postfix.submit(&sender, "unknown@rcpt.example").await.err()
    })
    .await;
    for address in [
        "unknown@rcpt.example",
        "Unknown@RCPT.example",
        "nobody@bücher.example",
        "Nobody@BÜCHER.example",
        "nobody@xn--bcher-kva.example",
    ] {
        let refused = postfix.submit(&sender, address).await.unwrap_err();
        assert!(
            refused.starts_with("554 5.1.1") && refused.contains("Recipient is on our suppression list: user_unknown"),
            "{refused}"
        );
    }
    for address in [alive, "full@rcpt.example", "spam@rcpt.example"] {
        assert_eq!(postfix.submit(&sender, address).await, Ok(()), "{address}");
    }
    assert!(daemon.terminate().await.success());
}
