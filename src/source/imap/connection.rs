//! A connection to an IMAP server: TCP, TLS, commands and their answers, each with a time limit. Knows nothing of
//! batches and dispositions; see the parent module.

use std::{io, os::fd::AsFd, time::Duration};

use futures::StreamExt;
use rustix::net::sockopt;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::codec::FramedRead;
use tracing::trace;

use super::{
    alerts::Alerts,
    patience::{Patience, patience},
    response::{Condition, Response, Status, parse},
    settings::ImapSettings,
    wire::Wire,
};
use crate::{
    source::{
        Progress, Secret, SourceError, Timeouts,
        tls::{self, Stream, Tls},
    },
    text::grouped,
};

/// Read ahead this much: small messages then arrive many to a system call.
const READ_AHEAD: usize = 64 << 10;

/// Octets of all responses to one command, besides what its messages may be: the answer to SEARCH about four million.
const LONGEST_ANSWER: u64 = 64 << 20;

/// Octets a second below which a response that arrives is not waited for.
const SLOWEST: u64 = 512;

/// One connection; dropping it closes the socket.
pub(super) struct Connection {
    io: FramedRead<Box<dyn Stream>, Wire>,
    /// `user at host:port`, for every line that tells of trouble.
    who: String,
    timeouts: Timeouts,
    progress: Progress,
    alerts: Alerts,
    is_logged_in: bool,
    /// Octets that the server may still send in answer to the present command.
    allowance: u64,
    largest_literal: usize,
    last_tag: u32,
    capabilities: Vec<String>,
    /// IDLE was sent: the server takes nothing but DONE.
    idling: bool,
    /// How many messages the selected folder holds.
    exists: u32,
    /// The folder has grown since somebody set this to false.
    pub(super) has_grown: bool,
    /// UIDVALIDITY of the selected folder.
    pub(super) uid_validity: Option<u32>,
    /// The server has said which messages it moved (RFC 4315).
    pub(super) gives_copyuid: bool,
}

/// How an IDLE ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Idled {
    /// The folder has grown, or the time is over.
    Over,
    /// The server wants no IDLE.
    Refused,
}

impl Connection {
    /// Connects, negotiates TLS as configured and reads the greeting.
    pub(super) async fn open(
        settings: &ImapSettings,
        progress: &Progress,
        alerts: &Alerts,
    ) -> Result<(Self, Status), SourceError> {
        let port = settings.port();
        let who = format!("{} at {}:{port}", settings.user, settings.host());
        let limit = settings.timeouts.connect;
        progress.until(limit);
        let until = Instant::now() + limit;
        let tcp = timeout_at(until, TcpStream::connect((settings.host(), port)))
            .await
            .unwrap_or_else(|late| Err(late.into()));
        let tcp = tcp.map_err(|error| tls::unreachable(&who, &error))?;
        timeout_at(until, Self::negotiate(tcp, settings, &who, progress, alerts))
            .await
            .unwrap_or_else(|_| Err(settings.tls.silence(&who, limit)))
    }

    async fn negotiate(
        tcp: TcpStream,
        settings: &ImapSettings,
        who: &str,
        progress: &Progress,
        alerts: &Alerts,
    ) -> Result<(Self, Status), SourceError> {
        let lost = |error: io::Error| tls::unreachable(who, &error);
        tcp.set_nodelay(true).map_err(lost)?;
        keep_alive(&tcp);
        let private = tcp.peer_addr().map_err(lost)?.ip().is_loopback() || settings.insecure;
        let tcp: Box<dyn Stream> = Box::new(tcp);
        let handshake = |tcp| {
            tls::handshake(
                tcp,
                settings.host(),
                settings.ca_file.as_deref(),
                settings.certificate.as_deref(),
                who,
                tls::NO_TLS_OF_MAILBOX,
            )
        };
        let mut connection = match settings.tls {
            Tls::Implicit => Self::new(handshake(tcp).await?, settings, who, progress, alerts),
            Tls::StartTls => {
                let tcp = Self::new(tcp, settings, who, progress, alerts).start_tls().await?;
                // Nothing that was said before TLS is believed: this is a new connection, greeted already.
                return Ok((Self::new(handshake(tcp).await?, settings, who, progress, alerts), Status::Ok));
            }
            Tls::Plain if private => Self::new(tcp, settings, who, progress, alerts),
            Tls::Plain => {
                return Err(SourceError::Refused(format!(
                    "{who}: tls = \"plain\" would show the password to everyone on the way; set tls to \"implicit\" or \
                     \"starttls\", or accept the risk with insecure = true"
                )));
            }
        };
        let greeting = connection.greeting().await?;
        Ok((connection, greeting))
    }

    fn new(stream: Box<dyn Stream>, settings: &ImapSettings, who: &str, progress: &Progress, alerts: &Alerts) -> Self {
        Self {
            io: FramedRead::with_capacity(stream, Wire::before_login(), READ_AHEAD),
            who: who.into(),
            timeouts: settings.timeouts.clone(),
            progress: progress.clone(),
            alerts: alerts.clone(),
            is_logged_in: false,
            allowance: LONGEST_ANSWER,
            largest_literal: READ_AHEAD.max(settings.max_message as usize),
            last_tag: 0,
            capabilities: Vec::new(),
            idling: false,
            exists: 0,
            has_grown: false,
            uid_validity: None,
            gives_copyuid: false,
        }
    }

    /// RFC 9051 §7.1: the greeting is OK, PREAUTH or BYE.
    async fn greeting(&mut self) -> Result<Status, SourceError> {
        match self.next().await? {
            Response::Condition(greeting) => Ok(greeting.status),
            // Once in a while every proxy says something else for a moment.
            _ => Err(self.lost("this is no IMAP server, or a broken one; check host, port and tls")),
        }
    }

    /// Logged in: from now on messages are asked for.
    pub(super) fn expect_messages(&mut self) {
        *self.io.decoder_mut() = Wire::after_login(self.largest_literal);
        self.is_logged_in = true;
    }

    /// Another folder is going to be selected.
    pub(super) fn forget_folder(&mut self) {
        (self.uid_validity, self.exists) = (None, 0);
    }

    /// Another exchange begins, which is to be over within `limit`.
    fn begin(&mut self, limit: Duration) {
        self.progress.until(limit);
        self.allowance = LONGEST_ANSWER.saturating_add(2 * self.largest_literal as u64);
    }

    /// RFC 9051 §6.2.1; gives the socket back, ready for the handshake.
    async fn start_tls(mut self) -> Result<Box<dyn Stream>, SourceError> {
        // RFC 9051 §6.2.1: logged in already, there is no STARTTLS. An attacker on the way greets like that.
        if self.greeting().await? == Status::Preauth {
            return Err(self.refused("the server skips STARTTLS by greeting with PREAUTH; set tls = \"implicit\""));
        }
        let answer = self.command("STARTTLS").await?;
        if answer.status != Status::Ok {
            return Err(self.failure(
                &answer,
                "STARTTLS was refused",
                "set tls = \"implicit\" and the port (often 993)",
            ));
        }
        if !self.io.read_buffer().is_empty() {
            return Err(
                self.refused("plain text followed STARTTLS, as from an attacker on the way; set tls = \"implicit\"")
            );
        }
        Ok(self.io.into_inner())
    }

    /// Runs one command whose data nobody needs.
    pub(super) async fn command(&mut self, command: &str) -> Result<Condition, SourceError> {
        Ok(self.run(&[command.to_owned()], |_| ()).await?.remove(0))
    }

    /// Sends all `commands` at once; hands their untagged responses to `each` and returns how each of them ended.
    ///
    /// # Errors
    /// [`SourceError::Lost`] when the server says BYE, closes, sends what is too long, or takes too long.
    pub(super) async fn run(
        &mut self,
        commands: &[String],
        each: impl FnMut(Response) + Send,
    ) -> Result<Vec<Condition>, SourceError> {
        self.run_within(self.timeouts.command, commands, each).await
    }

    async fn run_within(
        &mut self,
        limit: Duration,
        commands: &[String],
        mut each: impl FnMut(Response) + Send,
    ) -> Result<Vec<Condition>, SourceError> {
        self.begin(limit);
        let work = async {
            let mut lines = String::new();
            let mut tags = Vec::with_capacity(commands.len());
            for command in commands {
                trace!(server = self.who, command);
                tags.push(self.tag());
                lines.push_str(&format!("{} {command}\r\n", tags[tags.len() - 1]));
            }
            self.send(lines.as_bytes()).await?;
            // RFC 9051 §5.5: commands that can't affect each other may be answered in any order.
            let mut ends = vec![None; tags.len()];
            while ends.contains(&None) {
                match self.next().await? {
                    Response::Done(tag, end) => {
                        if let Some(n) = tags.iter().position(|t| *t == tag) {
                            ends[n] = Some(end);
                        }
                    }
                    response => each(response),
                }
            }
            Ok(ends.into_iter().flatten().collect())
        };
        match timeout(limit, work).await {
            Ok(ends) => ends,
            Err(_) => Err(self.lost(format!("a command was not done within {limit:?}"))),
        }
    }

    /// Sends a command, and to each challenge what `answer` makes of it. Unlike [`Self::run`] it logs nothing: both are
    /// secret.
    pub(super) async fn converse(
        &mut self,
        command: &str,
        mut answer: impl FnMut(&str) -> Option<Secret> + Send,
    ) -> Result<Condition, SourceError> {
        let limit = self.timeouts.response;
        self.begin(limit);
        let work = async {
            let tag = self.tag();
            self.send(format!("{tag} {command}\r\n").as_bytes()).await?;
            loop {
                match self.next().await? {
                    Response::Done(done, end) if done == tag => return Ok(end),
                    Response::Continue(challenge) => {
                        let said = answer(String::from_utf8_lossy(&challenge).trim());
                        // RFC 9051 §6.2.2: `*` cancels; this exchange should have been over.
                        let line = said.as_ref().map_or("*", Secret::expose);
                        self.send(format!("{line}\r\n").as_bytes()).await?;
                    }
                    _ => {}
                }
            }
        };
        match timeout(limit, work).await {
            Ok(end) => end,
            Err(_) => Err(self.lost(format!("no end of the login within {limit:?}"))),
        }
    }

    /// RFC 2177: waits until the folder grows, `limit` at most.
    /// What follows must come within `proof`, or the connection is dead.
    pub(super) async fn idle(&mut self, limit: Duration, proof: Duration) -> Result<Idled, SourceError> {
        let (tag, response) = (self.tag(), self.timeouts.response);
        self.begin(response);
        self.idling = true;
        let start = async {
            self.send(format!("{tag} IDLE\r\n").as_bytes()).await?;
            loop {
                match self.next().await? {
                    Response::Continue(_) => return Ok(true),
                    Response::Done(done, _) if done == tag => return Ok(false),
                    _ => {}
                }
            }
        };
        match timeout(response, start).await {
            Ok(begun) => {
                if !begun? {
                    self.idling = false;
                    return Ok(Idled::Refused);
                }
            }
            Err(_) => return Err(self.lost(format!("IDLE did not begin within {response:?}"))),
        }
        self.begin(limit);
        let growth = async {
            while !self.has_grown {
                if let Response::Done(..) = self.receive().await? {
                    return Ok(Idled::Refused);
                }
            }
            Ok(Idled::Over)
        };
        let idled = timeout(limit, growth).await.unwrap_or(Ok(Idled::Over))?;
        if idled == Idled::Over {
            self.begin(proof);
            let end = async {
                self.send(b"DONE\r\n").await?;
                self.idling = false;
                while !matches!(self.next().await?, Response::Done(done, _) if done == tag) {}
                Ok(())
            };
            match timeout(proof, end).await {
                Ok(ended) => ended?,
                Err(_) => return Err(self.lost(format!("IDLE did not end within {proof:?}"))),
            }
        }
        self.idling = false;
        Ok(idled)
    }

    /// Some servers show new messages to NOOP only; and one that does not answer is dead.
    pub(super) async fn prove_alive(&mut self, limit: Duration) -> Result<(), SourceError> {
        self.run_within(limit, &["NOOP".to_owned()], |_| ()).await.map(drop)
    }

    /// Says goodbye in whatever state the connection is, and doesn't insist on an answer.
    pub(super) async fn close(mut self) {
        let goodbye = async {
            if self.idling {
                self.send(b"DONE\r\n").await?;
            }
            self.command("LOGOUT").await
        };
        let _ = timeout(Duration::from_secs(2), goodbye).await;
    }

    /// Asks anew what the server can do: after the login it is more than before.
    pub(super) async fn ask_capabilities(&mut self) -> Result<(), SourceError> {
        let mut capabilities = None;
        let keep = |response| {
            if let Response::Capability(list) = response {
                capabilities = Some(list);
            }
        };
        let end = self.run_within(self.timeouts.response, &["CAPABILITY".into()], keep).await?.remove(0);
        // RFC 9051 §6.1.1: there is an answer. Whoever took one that got lost for none of them would leave messages
        // behind that a server with MOVE moves.
        if capabilities.is_none() && end.status == Status::Ok {
            return Err(self.lost("the server did not say what it can do"));
        }
        self.capabilities = capabilities.unwrap_or_default();
        Ok(())
    }

    /// Whether the server can do this; in upper case.
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }

    /// The server said NO or BAD to something without which nothing goes on.
    pub(super) fn failure(&self, end: &Condition, what: &str, advice: &str) -> SourceError {
        let said = end.said();
        match patience(end) {
            Patience::Person => self.refused(format!("{what} ({said}); {advice}")),
            Patience::Soon | Patience::Minutes => self.put_off(end, format!("{what}: {said}")),
        }
    }

    /// The server said something that ends this connection, and no person can help.
    pub(super) fn put_off(&self, said: &Condition, why: impl std::fmt::Display) -> SourceError {
        match patience(said) {
            Patience::Minutes => SourceError::Later(format!("{}: {why}", self.who)),
            Patience::Soon | Patience::Person => self.lost(why),
        }
    }

    pub(super) fn lost(&self, why: impl std::fmt::Display) -> SourceError {
        SourceError::Lost(format!("{}: {why}", self.who))
    }

    pub(super) fn refused(&self, why: impl std::fmt::Display) -> SourceError {
        SourceError::Refused(format!("{}: {why}", self.who))
    }

    fn tag(&mut self) -> String {
        self.last_tag = self.last_tag.wrapping_add(1);
        format!("A{}", self.last_tag)
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), SourceError> {
        let limit = self.timeouts.response;
        let stream = self.io.get_mut();
        let sending = async {
            stream.write_all(octets).await?;
            stream.flush().await
        };
        match timeout(limit, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(format!("the connection broke: {error}"))),
            Err(_) => Err(self.lost(format!("the server took nothing for {limit:?}"))),
        }
    }

    /// The next response. A large one on a slow line may take longer than the time for a response, as long as enough of
    /// it arrives within each such time.
    async fn next(&mut self) -> Result<Response, SourceError> {
        let limit = self.timeouts.response;
        loop {
            let before = self.io.read_buffer().len();
            if let Ok(response) = timeout(limit, self.receive()).await {
                return response;
            }
            let arrived = (self.io.read_buffer().len() - before) as u64;
            if arrived == 0 {
                return Err(self.lost(format!("no answer within {limit:?}")));
            }
            if arrived < SLOWEST.saturating_mul(limit.as_secs().max(1)) {
                return Err(self.lost(format!("only {} octets of an answer within {limit:?}", grouped(arrived))));
            }
        }
    }

    /// The next response, however long it takes; what it tells about connection and folder is noted.
    async fn receive(&mut self) -> Result<Response, SourceError> {
        let response = match self.io.next().await {
            Some(Ok(response)) => {
                // The line end counts, too: empty responses must not be free.
                let octets = response.len() as u64 + 2;
                let Some(rest) = self.allowance.checked_sub(octets) else {
                    return Err(self.lost("the server sent much more than was asked for"));
                };
                self.allowance = rest;
                parse(&response)
            }
            Some(Err(error)) => return Err(self.lost(format!("the connection broke: {error}"))),
            None => return Err(self.lost("the server closed the connection")),
        };
        match &response {
            Response::Condition(bye) if bye.status == Status::Bye => {
                return Err(self.put_off(bye, format!("the server said goodbye: {}", bye.said())));
            }
            Response::Condition(condition) => {
                // Before the login a server may repeat the password; why it refuses that stands in the error.
                if condition.keyword() == "ALERT" && self.is_logged_in {
                    self.alerts.tell(&condition.text);
                }
                let validity = condition.argument("UIDVALIDITY").and_then(|n| n.parse().ok());
                if validity.is_some() && self.uid_validity.is_some_and(|known| Some(known) != validity) {
                    return Err(self.lost("the folder's UIDVALIDITY changed"));
                }
                self.uid_validity = validity.or(self.uid_validity);
            }
            Response::Exists(exists) => {
                self.has_grown |= *exists > self.exists;
                self.exists = *exists;
            }
            Response::Expunge => self.exists = self.exists.saturating_sub(1),
            _ => {}
        }
        Ok(response)
    }
}

/// A connection on which nothing is said for long must not be forgotten by a router on the way, and one whose other end is
/// gone must end. Where the system can't do that, the time limits of each exchange tell.
fn keep_alive(tcp: &TcpStream) {
    let tcp = tcp.as_fd();
    let set = || {
        sockopt::set_socket_keepalive(tcp, true)?;
        sockopt::set_tcp_keepidle(tcp, Duration::from_secs(60))?;
        sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(15))?;
        sockopt::set_tcp_keepcnt(tcp, 4)
    };
    if let Err(error) = set() {
        trace!("no keepalive: {error}");
    }
}
