//! The daemon as an LMTP server: a real Postfix that is set up as docs/receive.md says, and clients of the tests' own.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    beside::Server,
    daemon::Installation,
    database, free_port, hand_over,
    postfix::{BOUNCE_DOMAIN, Postfix, hand_in},
    recipe, until,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
};

const SOON: Duration = Duration::from_secs(60);
const SAMPLE: &str = include_str!("../scripts/samples/postfix-user-unknown.eml");

/// A bounce of `anna{n}@customer{n}.example`.
fn bounce(n: usize) -> String {
    let mail = SAMPLE.replace("anna", &format!("anna{n}")).replace("Message-Id: <", &format!("Message-Id: <{n}."));
    mail.replace("customer.example", &format!("customer{n}.example")).replace('\n', "\r\n")
}

async fn recorded(bounced: &Installation) -> (i64, i64) {
    let file = bounced.database();
    let messages = database::count(&file, "SELECT count(*) FROM message").await;
    (messages, database::count(&file, "SELECT count(*) FROM bounce").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_hands_each_bounce_over_by_lmtp_exactly_once_however_often_the_daemon_is_killed() {
    let test = "postfix_hands_each_bounce_over_by_lmtp_exactly_once_however_often_the_daemon_is_killed";
    if let Some(why) = Postfix::missing() {
        return support::skip(test, why);
    }
    const COUNT: usize = 60;
    let dir = support::directory();
    let port = free_port();
    let bounced = Installation::new(dir.path(), &format!("[lmtp.server]\nlisten = \"127.0.0.1:{port}\"\n"));
    let postfix = Postfix::start(dir.path(), free_port(), &[], free_port()).await;
    let transport =
        recipe("Postfix, by LMTP")[0].replace("2424", &port.to_string()).replace("news.example", BOUNCE_DOMAIN);
    postfix.add("", "", &transport);

    let daemon = bounced.run();
    for n in 0..COUNT {
        let to = format!("bounce+k1.{n}.a.b@{BOUNCE_DOMAIN}");
        postfix.hand_in("", &to, &bounce(n)).await.unwrap();
    }
    daemon.kill();
    for wait in [0, 7, 15, 30, 60, 90, 130, 200] {
        let daemon = bounced.run();
        let listens = async || TcpStream::connect(("127.0.0.1", port)).await.ok();
        until("it listens", SOON, listens).await;
        // The moment is the point of it.
        tokio::time::sleep(Duration::from_millis(wait)).await;
        daemon.kill();
    }
    let daemon = bounced.run();
    let count = i64::try_from(COUNT).unwrap();
    until("each is on record and the queue is empty", SOON, async || {
        (postfix.is_empty() && recorded(&bounced).await.0 >= count).then_some(())
    })
    .await;
    assert_eq!(recorded(&bounced).await, (count, count));
    let log = postfix.log();
    assert!(!log.contains("status=bounced") && log.matches("250 2.0.0 Recorded").count() >= COUNT, "{log}");
    until("all is settled", SOON, async || {
        (database::count(&bounced.database(), "SELECT count(*) FROM unsettled").await == 0).then_some(())
    })
    .await;
    let status = bounced.command(&["status"]).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    assert!(daemon.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn exim_hands_bounces_over_by_a_socket_and_by_a_port_and_keeps_what_nobody_takes() {
    let test = "exim_hands_bounces_over_by_a_socket_and_by_a_port_and_keeps_what_nobody_takes";
    let dir = support::directory();
    let port = free_port();
    let bounced = Installation::new(
        dir.path(),
        &format!(
            "[lmtp.socket]\nlisten = \"unix:lmtp.sock\"\nmode = \"0666\"\n[lmtp.port]\nlisten = \"127.0.0.1:{port}\"\n\
             [verp]\nkeys = \"keys\"\naddress = \"bounce@news.example\"\n"
        ),
    );
    assert!(bounced.command(&["verp", "keygen"]).output().unwrap().status.success());
    let socket = bounced.config().with_file_name("lmtp.sock");
    let [by_socket, by_port] = recipe("Exim, by LMTP")[..] else { panic!("two transports") };
    let by_socket = by_socket.replace("/run/bounced/lmtp.sock", socket.to_str().unwrap());
    let by_port = by_port.replace("2424", &port.to_string());
    for (way, transport) in [("socket", by_socket), ("port", by_port)] {
        let own = dir.path().join(way);
        fs::create_dir(&own).unwrap();
        let exim = match Server::exim_with(&own, recipe("Exim, as a command")[0], &transport).await {
            Ok(exim) => exim,
            Err(why) => return support::skip(test, &why),
        };
        let send = async |n: usize| {
            let signed = bounced.command(&["verp", "sign", &format!("anna{n}@customer{n}.example")]).output().unwrap();
            let to = String::from_utf8(signed.stdout).unwrap();
            hand_in(exim.port, "", to.trim(), &bounce(n)).await.unwrap();
        };
        let first = if way == "socket" { 0 } else { 10 };
        send(first).await;
        let log = async || fs::read_to_string(own.join("logs/mainlog")).ok();
        until("it is put off", SOON, async || log().await?.contains(" == ").then_some(())).await;
        let daemon = bounced.run();
        for n in first + 1..first + 10 {
            send(n).await;
        }
        let count = first as i64 + 10;
        until("each is on record and the queue is empty", SOON, async || {
            (exim.exim_is_empty() && recorded(&bounced).await.0 >= count).then_some(())
        })
        .await;
        assert_eq!(recorded(&bounced).await, (count, count));
        let log = log().await.unwrap();
        assert!(!log.contains(" ** ") && log.matches(" => ").count() == 10, "{log}");
        assert!(daemon.terminate().await.success());
    }
    let trusts: Vec<(String, String)> = database::rows(
        &bounced.database(),
        "SELECT DISTINCT mailbox, trust FROM bounce JOIN message ON message.id = message ORDER BY mailbox",
    )
    .await;
    let verified = |way: &str| (way.to_owned(), "verified".to_owned());
    assert_eq!(trusts, [verified("port"), verified("socket")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_locked_a_message_is_asked_for_again() {
    let dir = support::directory();
    let bounced = Installation::new(dir.path(), "[lmtp.server]\nlisten = \"unix:lmtp.sock\"\nmode = \"0666\"\n");
    let socket = bounced.config().with_file_name("lmtp.sock");
    let daemon = bounced.run();
    until("it listens", SOON, async || UnixStream::connect(&socket).await.ok()).await;
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
    let check = bounced.command(&["check", "--connect"]).output().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(
        check.status.success() && said.contains("LMTP at unix:") && said.contains("ok              server"),
        "{said}"
    );

    let options = SqliteConnectOptions::new().filename(bounced.database());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let connect = async || UnixStream::connect(&socket).await.unwrap();
    let two = ["bounce@news.example", "other@news.example"];
    for reply in hand_over(connect().await, &two, &bounce(0)).await {
        assert!(reply.starts_with("451 4.3.0"), "{reply}");
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(recorded(&bounced).await, (0, 0));
    until("it is taken", SOON, async || {
        let mut stream = BufReader::new(connect().await);
        stream.write_all(b"LHLO x\r\nMAIL FROM:<>\r\nQUIT\r\n").await.unwrap();
        let mut lines = stream.lines();
        let mut is_taken = false;
        while let Ok(Some(line)) = lines.next_line().await {
            is_taken |= line.starts_with("250 2.1.0");
        }
        is_taken.then_some(())
    })
    .await;
    for reply in hand_over(connect().await, &two, &bounce(0)).await {
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    assert_eq!(recorded(&bounced).await, (1, 1));
    // Its answer was lost, so it comes once more.
    hand_over(connect().await, &two, &bounce(0)).await;
    assert_eq!(recorded(&bounced).await, (1, 1));

    assert!(daemon.terminate().await.success());
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_are_all_heard_and_a_signed_recipient_is_believed() {
    let dir = support::directory();
    let port = free_port();
    let bounced = Installation::new(
        dir.path(),
        &format!(
            "[lmtp.server]\nlisten = \"127.0.0.1:{port}\"\nconnections = 50\n[verp]\nkeys = \"keys\"\naddress = \"bounce@news.example\"\n\
             [trust]\nsince = \"2020-01-01\"\n"
        ),
    );
    assert!(bounced.command(&["verp", "keygen"]).output().unwrap().status.success());
    let daemon = bounced.run();
    let connect = async || TcpStream::connect(("127.0.0.1", port)).await.ok();
    until("it listens", SOON, connect).await;
    let clients: Vec<_> = (0..40)
        .map(|n| {
            let signed = bounced.command(&["verp", "sign", &format!("anna{n}@customer{n}.example")]).output().unwrap();
            let to = String::from_utf8(signed.stdout).unwrap();
            tokio::spawn(async move {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                hand_over(stream, &[to.trim()], &bounce(n)).await
            })
        })
        .collect();
    for client in clients {
        assert!(client.await.unwrap()[0].starts_with("250"));
    }
    assert_eq!(recorded(&bounced).await, (40, 40));
    let trusts: Vec<(String,)> = database::rows(&bounced.database(), "SELECT DISTINCT trust FROM bounce").await;
    assert_eq!(trusts, [("verified".to_owned(),)]);
    assert!(daemon.terminate().await.success());
}
