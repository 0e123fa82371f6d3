//! Real mail servers that ask the published lists as docs/database.md says: they refuse whom the lists name, by address
//! and by domain, and nobody else; while the lists are written, and after an entry has gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod support;

use std::{fs, path::Path, time::Duration};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{
    beside::{self, Server},
    cdb,
    daemon::{Installation, Place},
    database, free_port,
    postfix::Postfix,
    until,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const SOON: Duration = Duration::from_secs(60);

/// How many bounces the daemon publishes while the servers ask.
const BOUNCES: usize = 150;

impl Place {
    fn add(&self, addresses: &[&str]) {
        self.succeeds("add", addresses);
    }

    fn remove(&self, address: &str) {
        self.succeeds("remove", &[address]);
    }

    fn succeeds(&self, what: &str, addresses: &[&str]) {
        let done = self.bounced.command(&[&["suppressions", what], addresses].concat()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// An entry for a time, which is over.
    async fn end(&self, address: &str) {
        let options = SqliteConnectOptions::new().filename(self.bounced.database());
        let mut database = SqliteConnection::connect_with(&options).await.unwrap();
        let ended = sqlx::query("UPDATE suppression SET expires = unixepoch() - 1 WHERE address = ?1").bind(address);
        assert_eq!(ended.execute(&mut database).await.unwrap().rows_affected(), 1);
        database.close().await.unwrap();
    }
}

/// A mail server that asks the lists.
enum MailServer {
    Postfix(Postfix),
    Exim(Server),
    /// Reads the list when it is told to, with this documented script.
    OpenSmtpd(Server, String),
}

impl MailServer {
    fn port(&self) -> u16 {
        match self {
            Self::Postfix(postfix) => postfix.port(),
            Self::Exim(server) | Self::OpenSmtpd(server, ..) => server.port,
        }
    }

    /// Whether it takes addresses outside ASCII (RFC 6531), and quoted ones.
    fn takes_all_addresses(&self) -> bool {
        !matches!(self, Self::OpenSmtpd(..))
    }

    /// The one that does not look by itself is told.
    fn tell(&self) {
        let Self::OpenSmtpd(server, script) = self else { return };
        let run = server.command("sh").args(["-euc", script]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&[run.stdout, run.stderr].concat()));
    }

    /// Whether it refuses each of these recipients for good, asked in one session.
    async fn refuses(&self, recipients: &[&str]) -> Vec<bool> {
        let replies = self.replies(recipients).await;
        let refused = |(recipient, reply): (&&str, &String)| {
            let suppressed = match self {
                Self::OpenSmtpd(..) => reply.starts_with("550 Invalid recipient"),
                _ => {
                    reply.starts_with("55")
                        && reply.contains("5.1.1")
                        && reply.contains("Recipient is on our suppression list: ")
                }
            };
            assert!(suppressed || reply.starts_with("250"), "{recipient}: {reply}");
            suppressed
        };
        recipients.iter().zip(&replies).map(refused).collect()
    }

    async fn replies(&self, recipients: &[&str]) -> Vec<String> {
        let (read, mut write) = TcpStream::connect(("127.0.0.1", self.port())).await.unwrap().into_split();
        let mut lines = BufReader::new(read).lines();
        let utf8 = if recipients.iter().all(|recipient| recipient.is_ascii()) { "" } else { " SMTPUTF8" };
        let mut commands = vec![
            String::new(),
            "EHLO client.example\r\n".to_owned(),
            format!("MAIL FROM:<news@client.example>{utf8}\r\n"),
        ];
        commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")));
        let mut replies = Vec::new();
        for command in commands {
            write.write_all(command.as_bytes()).await.unwrap();
            let reply = loop {
                let line = lines.next_line().await.unwrap().expect("the server answers");
                if line.as_bytes().get(3) != Some(&b'-') {
                    break line;
                }
            };
            assert!(command.starts_with("RCPT") || reply.starts_with('2'), "{command}{reply}");
            replies.push(reply);
        }
        replies.split_off(3)
    }

    /// Waits until it answers so: a process of it that was at rest may answer once more by what it knew.
    async fn comes_to(&self, expected: &[(&str, bool)]) {
        self.tell();
        let (recipients, expected): (Vec<_>, Vec<_>) = expected.iter().copied().unzip();
        let mut last = Vec::new();
        until(&format!("{recipients:?} are {expected:?}"), SOON, async || {
            last = self.refuses(&recipients).await;
            (last == expected).then_some(())
        })
        .await;
    }
}

/// What the list holds at first, and whom a server has to refuse then.
const LISTED: [&str; 5] =
    ["ann@example.org", "\"an n\"@example.org", "bob@bücher.example", "*@gone.example", "*@tot.bücher.example"];
const REFUSED: [(&str, bool); 15] = [
    ("ann@example.org", true),
    ("Ann@EXAMPLE.org", true),
    ("bob@example.org", false),
    ("bob@gone.example", true),
    ("Bob@GONE.Example", true),
    ("ann+tag@gone.example", true),
    ("bob@sub.gone.example", false),
    ("bob@sub.sub.gone.example", false),
    ("bob@ungone.example", false),
    ("bob@gone.example.org", false),
    ("gone.example@example.net", false),
    ("bob@xn--bcher-kva.example", true),
    ("carl@xn--bcher-kva.example", false),
    ("carl@tot.xn--bcher-kva.example", true),
    ("carl@sub.tot.xn--bcher-kva.example", false),
];
const OF_ALL_KINDS: [(&str, bool); 8] = [
    ("bob@bücher.example", true),
    ("BOB@BÜCHER.example", true),
    ("carl@bücher.example", false),
    ("carl@tot.bücher.example", true),
    ("Carl@Tot.BÜCHER.example", true),
    ("carl@sub.tot.bücher.example", false),
    ("\"an n\"@example.org", true),
    ("\"x@gone.example\"@example.net", false),
];

/// What each server is put through.
async fn refuses_whom_the_list_names(place: &Place, server: &MailServer) {
    let steady = [REFUSED.as_slice(), if server.takes_all_addresses() { &OF_ALL_KINDS } else { &[] }].concat();
    server.comes_to(&steady).await;

    // Never a wrong answer while the daemon writes.
    let daemon = place.bounced.run();
    let (recipients, expected): (Vec<_>, Vec<_>) = steady.iter().copied().unzip();
    let is_listed = async || {
        let rows = database::count(&place.bounced.published(), "SELECT count(*) FROM suppression").await;
        let records = cdb::addresses(&place.bounced.cdb()).len();
        usize::try_from(rows).unwrap() == BOUNCES + 7 && records == BOUNCES + 7
    };
    let mut sent = 0;
    loop {
        (sent..BOUNCES.min(sent + 5)).for_each(|n| place.bounce(n));
        sent = BOUNCES.min(sent + 5);
        server.tell();
        assert_eq!(server.refuses(&recipients).await, expected, "{recipients:?}");
        if sent == BOUNCES && is_listed().await {
            break;
        }
    }
    let newest = format!("anna{}@customer.example", BOUNCES - 1);
    server.comes_to(&[("anna0@customer.example", true), (&newest, true), ("anna@customer.example", false)]).await;

    // Taken off by a person, and put on again.
    place.remove("ann@example.org");
    server.comes_to(&[("ann@example.org", false), ("bob@gone.example", true)]).await;
    place.add(&["ann@example.org"]);
    place.remove("*@gone.example");
    server.comes_to(&[("ann@example.org", true), ("bob@gone.example", false)]).await;
    // Whoever stands there himself as well stays.
    place.add(&["*@gone.example", "carl@gone.example"]);
    server.comes_to(&[("carl@gone.example", true), ("bob@gone.example", true)]).await;
    place.remove("*@gone.example");
    server.comes_to(&[("carl@gone.example", true), ("bob@gone.example", false)]).await;
    assert!(daemon.terminate().await.success());

    // Whose time is over, as the daemon finds out at its next start.
    place.end("ann@example.org").await;
    server.comes_to(&[("ann@example.org", true), ("carl@gone.example", true)]).await;
    let daemon = place.bounced.run();
    until("its time is over", SOON, async || {
        (cdb::addresses(&place.bounced.cdb()).iter().all(|address| address != "ann@example.org")).then_some(())
    })
    .await;
    server.comes_to(&[("ann@example.org", false), ("carl@gone.example", true)]).await;
    assert!(daemon.terminate().await.success());
}

/// The first block of code below a heading of docs/database.md that opens with this fence.
fn recipe(heading: &str, fence: &str) -> &'static str {
    let (_, below) = include_str!("../docs/database.md").split_once(&format!("\n### {heading}\n")).unwrap();
    below.split_once(&format!("{fence}\n")).unwrap().1.split("```").next().unwrap()
}

async fn postfix_with(test: &str, look_up: impl Fn(&Postfix, &Installation)) {
    if let Some(why) = Postfix::missing() {
        return support::skip(test, why);
    }
    let place = Place::new();
    place.add(&LISTED);
    let postfix = Postfix::start(place.dir.path(), free_port(), &[], free_port()).await;
    look_up(&postfix, &place.bounced);
    refuses_whom_the_list_names(&place, &MailServer::Postfix(postfix)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_refuses_whom_the_constant_database_names() {
    let look_up = |postfix: &Postfix, bounced: &Installation| postfix.refuse_suppressed(&bounced.cdb());
    postfix_with("postfix_refuses_whom_the_constant_database_names", look_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_refuses_whom_the_sqlite_list_names() {
    let look_up = |postfix: &Postfix, bounced: &Installation| postfix.refuse_suppressed_by_sql(&bounced.published());
    postfix_with("postfix_refuses_whom_the_sqlite_list_names", look_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exim_refuses_whom_the_list_names() {
    let place = Place::new();
    place.add(&LISTED);
    let recipe = recipe("Exim", "```");
    let recipe = recipe.replace("/var/lib/bounced/suppressions.cdb", &place.bounced.cdb().display().to_string());
    let config = format!(
        "primary_hostname = mx.example\nkeep_environment =\nhost_lookup =\nrfc1413_query_timeout = 0s\n\
         tls_advertise_hosts =\nsmtputf8_advertise_hosts = *\nlocal_interfaces = 127.0.0.1\n\
         daemon_smtp_ports = PORT\nacl_smtp_rcpt = rcpt\nbegin acl\nrcpt:\n{recipe}\n  accept\n"
    );
    match Server::start(&beside::EXIM, place.dir.path(), &config).await {
        Ok(exim) => refuses_whom_the_list_names(&place, &MailServer::Exim(exim)).await,
        Err(why) => support::skip("exim_refuses_whom_the_list_names", &why),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opensmtpd_refuses_whom_the_list_names() {
    let place = Place::new();
    place.add(&LISTED);
    let mail = place.dir.path().join("mail");
    fs::create_dir(&mail).unwrap();
    // As long as nobody is on the list.
    fs::write(mail.join("suppressed"), "@nobody.invalid\n").unwrap();
    let here = |recipe: &str| recipe.replace("/etc/mail", mail.to_str().unwrap());
    let rules = here(recipe("OpenSMTPD", "`/etc/mail/smtpd.conf`, before the other rules:\n\n```"));
    let config = format!(
        "{rules}listen on 127.0.0.1 port PORT hostname mx.example\naction \"out\" relay host smtp://127.0.0.1:9\n\
         match from any for any action \"out\"\n"
    );
    let opensmtpd = match Server::start(&beside::OPENSMTPD, place.dir.path(), &config).await {
        Ok(opensmtpd) => opensmtpd,
        Err(why) => return support::skip("opensmtpd_refuses_whom_the_list_names", &why),
    };
    let programs = Path::new(env!("CARGO_BIN_EXE_bounced")).with_file_name("");
    let path = format!("{}:/run:/usr/bin:/bin", programs.display());
    let config = format!("export PATH={path} BOUNCED_CONFIG={}\n", place.bounced.config().display());
    let script = config + &here(recipe("OpenSMTPD", "```sh"));
    refuses_whom_the_list_names(&place, &MailServer::OpenSmtpd(opensmtpd, script)).await;
}
