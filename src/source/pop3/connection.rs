//! A connection to a POP3 server (RFC 1939): TCP, TLS, commands and their answers, each with a time limit. Knows nothing
//! of batches and dispositions.

use std::io;

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tracing::trace;

use super::settings::Pop3Settings;
use crate::{
    source::{
        Progress, Secret, SourceError, Timeouts,
        login::{Exchange, Login, Mechanism, Refusal, Way},
        tls::{self, Stream, Tls},
    },
    text::printable,
};

/// The most octets of a status line (RFC 2449 §4 permits 512), or of a line of a listing; what is longer is an attack or a
/// fault.
const LONGEST_LINE: usize = 8 << 10;

/// The most lines of a listing: messages of a mailbox.
const MOST_LINES: usize = 2_000_000;

/// One connection; dropping it closes the socket, and the server then deletes nothing (RFC 1939 §6).
pub(super) struct Connection {
    io: BufReader<Box<dyn Stream>>,
    who: String,
    timeouts: Timeouts,
    progress: Progress,
    capabilities: Vec<String>,
    is_logged_in: bool,
}

/// A message, as it came.
pub(super) struct Retrieved {
    pub body: Vec<u8>,
    pub size: u64,
    /// Of what was not kept.
    pub rest: Option<[u8; 32]>,
}

impl Connection {
    /// Connects, negotiates TLS as configured, and logs in.
    pub(super) async fn open(
        settings: &Pop3Settings,
        login: &mut Login,
        progress: &Progress,
    ) -> Result<Self, SourceError> {
        let account = settings.log_in_as("");
        let (who, limit) = (account.who(), settings.timeouts.connect);
        progress.until(limit);
        let until = Instant::now() + limit;
        let tcp = timeout_at(until, TcpStream::connect((&*account.host, settings.port())));
        let tcp = tcp.await.unwrap_or_else(|late| Err(late.into()));
        let tcp = tcp.map_err(|error| tls::unreachable(&who, &error))?;
        let mut this = timeout_at(until, Self::negotiate(tcp, settings, &account.host, &who, progress))
            .await
            .unwrap_or_else(|_| Err(settings.tls.silence(&who, limit)))?;
        // The password may come from a command, a token from a client secret that does, and from its own server.
        let limit = 3 * limit;
        progress.until(limit);
        match timeout(limit, this.log_in(login, &settings.user)).await {
            Ok(done) => done.map(|()| this),
            Err(_) => Err(SourceError::Lost(format!("{who}: no end of the login within {limit:?}"))),
        }
    }

    async fn negotiate(
        tcp: TcpStream,
        settings: &Pop3Settings,
        host: &str,
        who: &str,
        progress: &Progress,
    ) -> Result<Self, SourceError> {
        let lost = |error: io::Error| tls::unreachable(who, &error);
        tcp.set_nodelay(true).map_err(lost)?;
        let private = tcp.peer_addr().map_err(lost)?.ip().is_loopback() || settings.insecure;
        let handshake = |tcp| {
            tls::handshake(
                tcp,
                host,
                settings.ca_file.as_deref(),
                settings.certificate.as_deref(),
                who,
                tls::NO_TLS_OF_MAILBOX,
            )
        };
        let tcp: Box<dyn Stream> = Box::new(tcp);
        let new = |stream| Self {
            io: BufReader::new(stream),
            who: who.to_owned(),
            timeouts: settings.timeouts.clone(),
            progress: progress.clone(),
            capabilities: Vec::new(),
            is_logged_in: false,
        };
        match settings.tls {
            Tls::Implicit => {
                let mut this = new(handshake(tcp).await?);
                this.greeting().await?;
                Ok(this)
            }
            Tls::StartTls => {
                let mut plain = new(tcp);
                plain.greeting().await?;
                plain.command("STLS").await?.map_err(|said| {
                    plain.refused(format!("STLS was refused ({said}); set tls = \"implicit\" and the port (often 995)"))
                })?;
                // RFC 2595 §4: nothing that was said before TLS is believed.
                if !plain.io.buffer().is_empty() {
                    return Err(plain
                        .refused("plain text followed STLS, as from an attacker on the way; set tls = \"implicit\""));
                }
                Ok(new(handshake(plain.io.into_inner()).await?))
            }
            Tls::Plain if private => {
                let mut this = new(tcp);
                this.greeting().await?;
                Ok(this)
            }
            Tls::Plain => Err(SourceError::Refused(format!(
                "{who}: tls = \"plain\" would show the password to everyone on the way; set tls to \"implicit\" or \
                 \"starttls\", or accept the risk with insecure = true"
            ))),
        }
    }

    async fn greeting(&mut self) -> Result<(), SourceError> {
        match self.status().await? {
            Ok(_) => Ok(()),
            Err(said) => Err(self.lost(format!("the server greets with an error: {said}"))),
        }
    }

    async fn log_in(&mut self, login: &mut Login, user: &str) -> Result<(), SourceError> {
        let secret = login.secret().await?;
        // RFC 2449 §5: servers that know no CAPA know no SASL either.
        if self.command("CAPA").await?.is_ok() {
            let mut capabilities = Vec::new();
            self.lines(|line| capabilities.push(line.to_ascii_uppercase())).await?;
            self.capabilities = capabilities;
        }
        let sasl = self.capabilities.iter().find_map(|line| line.strip_prefix("SASL "));
        let announced = |mechanism: &Mechanism| {
            sasl.is_some_and(|names| names.split_whitespace().any(|name| name == mechanism.name()))
        };
        let offered: Vec<Mechanism> = Mechanism::ALL.into_iter().filter(announced).collect();
        let (end, error) = match login.way(secret, &offered) {
            Way::Sasl(exchange) => self.authenticate(exchange).await?,
            Way::Password(password) => (self.user_and_pass(user, &password).await?, None),
        };
        let Err(said) = end else {
            self.is_logged_in = true;
            return Ok(());
        };
        // RFC 2449 §8, RFC 3206 §4: what passes.
        if said.starts_with("[LOGIN-DELAY]") {
            return Err(SourceError::Later(format!("{}: login failed: {said}", self.who)));
        }
        if ["[IN-USE]", "[SYS/TEMP]"].iter().any(|code| said.starts_with(code)) {
            return Err(self.lost(format!("login failed: {said}")));
        }
        let said = error.map_or_else(|| said.clone(), |error| format!("{said} {error}"));
        Err(match login.refused() {
            Refusal::TryAgain => self.lost(format!("login failed ({said}); a new token may do")),
            Refusal::Advice(advice) => self.refused(format!("login failed ({said}); {advice}")),
        })
    }

    /// RFC 5034. The initial response always goes into a line of its own: Microsoft asks for that, and a command line
    /// has room for 255 octets only.
    async fn authenticate(
        &mut self,
        mut exchange: Exchange,
    ) -> Result<(Result<String, String>, Option<String>), SourceError> {
        self.send(&format!("AUTH {}", exchange.name())).await?;
        loop {
            let line = self.line().await?;
            let Some(challenge) = line.strip_prefix('+').filter(|rest| !rest.starts_with("OK")) else {
                let end = self.read_status(&line)?;
                return Ok((end.map_err(|said| exchange.mask(&said)), exchange.error()));
            };
            let Some(answer) = exchange.answer(challenge.trim()) else {
                // RFC 5034 §4: `*` cancels; this exchange should have been over.
                self.send("*").await?;
                let end = self.status().await?;
                return Ok((end.map_err(|said| exchange.mask(&said)), exchange.error()));
            };
            self.send(answer.expose()).await?;
        }
    }

    async fn user_and_pass(&mut self, user: &str, password: &Secret) -> Result<Result<String, String>, SourceError> {
        if [user, password.expose()].iter().any(|word| word.contains(['\r', '\n', '\0'])) {
            return Err(self.refused("user or password holds a line end; correct it"));
        }
        self.send(&format!("USER {user}")).await?;
        let known = self.status().await?;
        if known.is_err() {
            return Ok(known);
        }
        self.send(&format!("PASS {}", password.expose())).await?;
        Ok(self.status().await?.map_err(|said| password.mask(&said)))
    }

    /// The messages of the mailbox: their numbers in this session, and the names that they keep (RFC 1939 §7).
    pub(super) async fn names(&mut self) -> Result<Vec<(u32, String)>, SourceError> {
        if let Err(said) = self.command("UIDL").await? {
            return Err(self.refused(format!(
                "the server does not name its messages (UIDL: {said}), so nobody can tell which are new; use IMAP"
            )));
        }
        let mut names = Vec::new();
        self.lines(|line| {
            let mut words = line.split_ascii_whitespace();
            if let (Some(number), Some(name)) = (words.next().and_then(|n| n.parse().ok()), words.next()) {
                names.push((number, name.to_owned()));
            }
        })
        .await?;
        Ok(names)
    }

    /// Reads a message, of which `most` octets are kept. `Err`: the server does not give it, and why.
    pub(super) async fn retrieve(&mut self, number: u32, most: u32) -> Result<Result<Retrieved, String>, SourceError> {
        if let Err(said) = self.command(&format!("RETR {number}")).await? {
            return Ok(Err(said));
        }
        let limit = self.timeouts.command;
        match timeout(limit, self.body(most as usize)).await {
            Ok(read) => read.map(Ok),
            Err(_) => Err(self.lost(format!("message {number} was not there within {limit:?}"))),
        }
    }

    /// RFC 1939 §3: lines, of which those that begin with a dot have one more, until a dot stands alone. Only CR LF ends a
    /// line: whoever wrote the mail may have written a lone LF, a dot and what looks like the next answer.
    async fn body(&mut self, most: usize) -> Result<Retrieved, SourceError> {
        let (mut body, mut size, mut rest) = (Vec::new(), 0_u64, None::<Sha256>);
        let (mut begins_line, mut ends_with_cr) = (true, false);
        loop {
            let piece = self.piece().await?;
            let mut text = piece.as_slice();
            if begins_line && text.first() == Some(&b'.') {
                if text == b".\r\n" {
                    break;
                }
                text = &text[1..];
            }
            begins_line = text.ends_with(b"\r\n") || (ends_with_cr && text == b"\n");
            ends_with_cr = text.last() == Some(&b'\r');
            size += text.len() as u64;
            let (kept, cut) = text.split_at(text.len().min(most.saturating_sub(body.len())));
            body.extend_from_slice(kept);
            if !cut.is_empty() {
                rest.get_or_insert_default().update(cut);
            }
        }
        Ok(Retrieved { body, size, rest: rest.map(|rest| rest.finalize().into()) })
    }

    /// Marks a message as deleted; it is gone once [`Self::quit`] was answered. `Err`: why not.
    pub(super) async fn delete(&mut self, number: u32) -> Result<Result<String, String>, SourceError> {
        self.command(&format!("DELE {number}")).await
    }

    /// Ends the session; what was marked is deleted then (RFC 1939 §6).
    pub(super) async fn quit(mut self) -> Result<Result<String, String>, SourceError> {
        self.command("QUIT").await
    }

    /// Sends a command; `Err`: the server refused, and why.
    pub(super) async fn command(&mut self, command: &str) -> Result<Result<String, String>, SourceError> {
        trace!(server = self.who, command);
        self.progress.until(self.timeouts.command);
        // Nothing was asked for yet: this is no answer, whoever wrote it.
        if self.is_logged_in && !self.io.buffer().is_empty() {
            return Err(self.lost("the server said more than it was asked for"));
        }
        self.send(command).await?;
        self.status().await
    }

    async fn send(&mut self, line: &str) -> Result<(), SourceError> {
        let limit = self.timeouts.response;
        let stream = self.io.get_mut();
        let sending = async {
            stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            stream.flush().await
        };
        match timeout(limit, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(format!("the connection broke: {error}"))),
            Err(_) => Err(self.lost(format!("the server took nothing for {limit:?}"))),
        }
    }

    async fn status(&mut self) -> Result<Result<String, String>, SourceError> {
        let line = self.line().await?;
        self.read_status(&line)
    }

    fn read_status(&self, line: &str) -> Result<Result<String, String>, SourceError> {
        let said = |rest: &str| printable(rest.trim());
        match line.split_at_checked(3) {
            Some((ok, rest)) if ok.eq_ignore_ascii_case("+OK") => Ok(Ok(said(rest))),
            _ => match line.split_at_checked(4) {
                Some((err, rest)) if err.eq_ignore_ascii_case("-ERR") => Ok(Err(said(rest))),
                // Once in a while every proxy says something else for a moment.
                _ => Err(self.lost("this is no POP3 server, or a broken one; check host, port and tls")),
            },
        }
    }

    /// The lines of a listing, to its end.
    async fn lines(&mut self, mut each: impl FnMut(&str) + Send) -> Result<(), SourceError> {
        let limit = self.timeouts.command;
        let reading = async {
            for _ in 0..MOST_LINES {
                let line = self.line().await?;
                if line == "." {
                    return Ok(());
                }
                each(line.strip_prefix('.').unwrap_or(&line));
            }
            Err(self.lost("a listing has more lines than any mailbox has messages"))
        };
        match timeout(limit, reading).await {
            Ok(read) => read,
            Err(_) => Err(self.lost(format!("a listing did not end within {limit:?}"))),
        }
    }

    /// One line without its end.
    async fn line(&mut self) -> Result<String, SourceError> {
        let mut line = self.piece().await?;
        if line.pop() != Some(b'\n') {
            return Err(self.lost("the server sent a line of more than 8 KiB"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// The rest of a line with its end, or as much of it as may stand in memory.
    async fn piece(&mut self) -> Result<Vec<u8>, SourceError> {
        let (mut piece, limit) = (Vec::new(), self.timeouts.response);
        let reading = async {
            loop {
                let arrived = self.io.fill_buf().await?;
                if arrived.is_empty() {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                let end = memchr::memchr(b'\n', arrived).map_or(arrived.len(), |at| at + 1);
                let taken = end.min(LONGEST_LINE - piece.len());
                piece.extend_from_slice(&arrived[..taken]);
                self.io.consume(taken);
                if piece.last() == Some(&b'\n') || piece.len() == LONGEST_LINE {
                    return Ok(());
                }
            }
        };
        match timeout(limit, reading).await {
            Ok(Ok(())) => Ok(piece),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.lost("the server closed the connection"))
            }
            Ok(Err(error)) => Err(self.lost(format!("the connection broke: {error}"))),
            Err(_) => Err(self.lost(format!("no answer within {limit:?}"))),
        }
    }

    pub(super) fn lost(&self, why: impl std::fmt::Display) -> SourceError {
        SourceError::Lost(format!("{}: {why}", self.who))
    }

    fn refused(&self, why: impl std::fmt::Display) -> SourceError {
        SourceError::Refused(format!("{}: {why}", self.who))
    }
}
