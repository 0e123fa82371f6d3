//! One client from its greeting to its end (RFC 2033): commands in, replies out, and messages handed over. A message is
//! answered when it is known what became of it, and not before.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{body::Body, command::Command};

/// What is longer is no mail that anybody sends, and is refused; in octets.
pub(super) const LARGEST: u64 = 256 << 20;

/// In octets; far more than a command needs (RFC 5321 §4.5.3.1.4).
const LONGEST_LINE: usize = 4_096;

/// So many lines that make no sense, and so many commands that lead to no message, are taken from one client.
const MOST_MISTAKES: u32 = 20;
const MOST_IDLE_COMMANDS: u32 = 1_000;

/// So long a client waits at most to hear what became of a message: clients wait for ten minutes (RFC 5321 §4.5.3.2.6).
/// What is recorded later is known when it comes again.
const ANSWER: Duration = Duration::from_secs(120);

/// The last words at the daemon's end.
const GOODBYE: &str = "421 4.3.2 bounced is stopping";

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is on record.
    Recorded,
    /// It is not, and may come again; for this reason.
    Later(&'static str),
}

/// Why messages are not taken now.
pub(super) const BUSY: &str = "The database can't be written now";
pub(super) const STOPPING: &str = "bounced is stopping";
pub(super) const SET_ASIDE: &str = "bounced died over this message, which is tried again later";

/// A message, and who waits to hear of it.
#[derive(Debug)]
pub(super) struct Handed {
    pub body: Vec<u8>,
    pub rest: Option<[u8; 32]>,
    pub size: u64,
    pub recipients: Vec<String>,
    pub answer: oneshot::Sender<Answer>,
}

/// What all clients of a listener have in common.
#[derive(Debug)]
pub(super) struct Desk {
    /// The mailbox, by its name in the configuration.
    pub mailbox: String,
    pub host: String,
    pub max_message: usize,
    pub recipients: usize,
    pub timeout: Duration,
    pub handed: mpsc::Sender<Handed>,
    /// Whether somebody takes messages now.
    pub is_open: Arc<AtomicBool>,
    pub stopping: CancellationToken,
}

/// Speaks with one client to its end.
///
/// # Errors
/// The connection broke.
pub(super) async fn speak(stream: impl AsyncRead + AsyncWrite, desk: Arc<Desk>) -> io::Result<()> {
    let (read, write) = tokio::io::split(stream);
    let mut client = Client {
        read: BufReader::new(read),
        write,
        replies: Vec::new(),
        patience: desk.timeout,
        desk: Arc::clone(&desk),
    };
    client.reply(&format!("220 {} LMTP bounced", desk.host));
    let last = client.commands().await?;
    client.reply(last);
    client.send().await
}

struct Client<S> {
    read: BufReader<ReadHalf<S>>,
    write: WriteHalf<S>,
    /// Those that are not sent yet: RFC 2920 §3.2 wants them together.
    replies: Vec<u8>,
    patience: Duration,
    desk: Arc<Desk>,
}

/// A line of a client, or why there is none.
enum Line {
    Whole(Vec<u8>),
    TooLong,
    /// The client is gone.
    End,
    /// It has said nothing for too long.
    Late,
    Stopping,
}

/// What was said about the next message.
#[derive(Debug, Default)]
struct Envelope {
    sender: Option<String>,
    recipients: Vec<String>,
}

impl Envelope {
    /// Whether a command brings the message nearer.
    const fn is_led_on_by(&self, command: &Command) -> bool {
        self.sender.is_some() && matches!(command, Command::Rcpt { .. })
    }
}

impl<S: AsyncRead + AsyncWrite> Client<S> {
    /// Carries out commands; gives the reply that ends it all.
    async fn commands(&mut self) -> io::Result<&'static str> {
        let (mut greeted, mut envelope) = (false, Envelope::default());
        let (mut mistakes, mut idle) = (0, 0);
        loop {
            let line = match self.line().await? {
                Line::Whole(line) => Command::read(&line),
                Line::TooLong => Err("500 5.5.2 Line too long"),
                Line::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                Line::Late => return Ok("421 4.4.2 You have said nothing for too long"),
                Line::Stopping => return Ok(GOODBYE),
            };
            let command = match line {
                Ok(command) => command,
                Err(refusal) => {
                    mistakes += 1;
                    if mistakes > MOST_MISTAKES {
                        return Ok("421 4.7.0 Too many mistakes");
                    }
                    self.reply(refusal);
                    continue;
                }
            };
            // What a message has of recipients is limited by itself, and a client that hears 421 comes again with all
            // of them.
            idle += u32::from(!envelope.is_led_on_by(&command));
            if idle > MOST_IDLE_COMMANDS {
                return Ok("421 4.7.0 Too many commands and no message");
            }
            match command {
                Command::Lhlo => {
                    (greeted, envelope) = (true, Envelope::default());
                    self.greet();
                }
                Command::Mail { .. } | Command::Rcpt { .. } | Command::Data if !greeted => {
                    self.reply("503 5.5.1 Say LHLO first");
                }
                Command::Mail { .. } if envelope.sender.is_some() => {
                    self.reply("503 5.5.1 There is a sender already");
                }
                Command::Mail { size: Some(size), .. } if size > LARGEST => self.reply("552 5.3.4 Too large"),
                Command::Mail { .. } if !self.desk.is_open.load(Relaxed) => self.reply(&format!("451 4.3.0 {BUSY}")),
                Command::Mail { sender, .. } => {
                    envelope = Envelope { sender: Some(sender), recipients: Vec::new() };
                    self.reply("250 2.1.0 Ok");
                }
                Command::Rcpt { .. } if envelope.sender.is_none() => self.reply("503 5.5.1 Say MAIL first"),
                Command::Rcpt { .. } if envelope.recipients.len() >= self.desk.recipients => {
                    // RFC 5321 §4.5.3.1.10: the client sends the message to the others once more.
                    self.reply("452 4.5.3 Too many recipients");
                }
                Command::Rcpt { recipient } => {
                    envelope.recipients.push(recipient);
                    self.reply("250 2.1.5 Ok");
                }
                // RFC 2033 §4.2: with no recipient there is nothing to answer for.
                Command::Data if envelope.recipients.is_empty() => self.reply("503 5.5.1 There is no recipient"),
                Command::Data => {
                    self.reply("354 End with a dot alone in its line");
                    let Some(refused) = self.message(std::mem::take(&mut envelope)).await? else {
                        (idle, mistakes) = (0, 0);
                        continue;
                    };
                    return Ok(refused);
                }
                Command::Rset => {
                    envelope = Envelope::default();
                    self.reply("250 2.0.0 Ok");
                }
                Command::Noop => self.reply("250 2.0.0 Ok"),
                // RFC 5321 §3.5.3
                Command::Vrfy => self.reply("252 2.5.0 It is taken all the same"),
                Command::Quit => return Ok("221 2.0.0 Bye"),
            }
        }
    }

    fn greet(&mut self) {
        let lines = ["PIPELINING", &format!("SIZE {LARGEST}"), "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8"];
        self.reply(&format!("250-{}", self.desk.host));
        for (number, line) in lines.iter().enumerate() {
            self.reply(&format!("250{}{line}", if number + 1 < lines.len() { '-' } else { ' ' }));
        }
    }

    /// Takes a message, and tells what became of it, for each recipient on its own; or gives the reply that ends it all.
    async fn message(&mut self, Envelope { sender, recipients }: Envelope) -> io::Result<Option<&'static str>> {
        self.send().await?;
        let give_up = Instant::now() + self.patience;
        // RFC 5321 §4.4: who delivers for good puts the sender on top.
        let top = format!("Return-Path: <{}>\r\n", sender.unwrap_or_default());
        let mut body = Body::new(top.as_bytes(), self.desk.max_message);
        loop {
            let octets = tokio::select! {
                octets = self.read.fill_buf() => octets?,
                () = self.desk.stopping.cancelled() => return Ok(Some(GOODBYE)),
                () = sleep_until(give_up) => return Ok(Some("421 4.4.2 The message takes too long")),
            };
            if octets.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (end, taken) = (body.add(octets), octets.len());
            self.read.consume(end.unwrap_or(taken));
            if end.is_some() {
                break;
            }
        }
        let size = body.size();
        let reply = if size > LARGEST {
            "552 5.3.4 Too large".to_owned()
        } else {
            let (body, rest) = body.finish();
            match self.hand_over(body, rest, size, recipients.clone()).await {
                Answer::Recorded => "250 2.0.0 Recorded".to_owned(),
                Answer::Later(why) => format!("451 4.3.0 {why}"),
            }
        };
        recipients.iter().for_each(|_| self.reply(&reply));
        Ok(None)
    }

    async fn hand_over(&self, body: Vec<u8>, rest: Option<[u8; 32]>, size: u64, recipients: Vec<String>) -> Answer {
        if !self.desk.is_open.load(Relaxed) {
            return Answer::Later(BUSY);
        }
        let (answer, answered) = oneshot::channel();
        let handed = Handed { body, rest, size, recipients, answer };
        // There is room for one of each client.
        if self.desk.handed.send(handed).await.is_err() {
            return Answer::Later(STOPPING);
        }
        match timeout(ANSWER, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Answer::Later(STOPPING),
            Err(_) => Answer::Later(BUSY),
        }
    }

    /// The next line, without its end.
    async fn line(&mut self) -> io::Result<Line> {
        // Whoever has sent more than one command at once hears the replies to all of them at once.
        if self.read.buffer().is_empty() || self.replies.len() > LONGEST_LINE {
            self.send().await?;
        }
        let give_up = Instant::now() + self.patience;
        let (mut line, mut too_long) = (Vec::new(), false);
        loop {
            let octets = tokio::select! {
                octets = self.read.fill_buf() => octets?,
                () = self.desk.stopping.cancelled() => return Ok(Line::Stopping),
                () = sleep_until(give_up) => return Ok(Line::Late),
            };
            if octets.is_empty() {
                return Ok(Line::End);
            }
            let end = memchr::memchr(b'\n', octets);
            let text = &octets[..end.unwrap_or(octets.len())];
            too_long |= line.len() + text.len() > LONGEST_LINE;
            if !too_long {
                line.extend_from_slice(text);
            }
            let taken = end.map_or(octets.len(), |end| end + 1);
            self.read.consume(taken);
            if end.is_some() {
                line.truncate(line.strip_suffix(b"\r").unwrap_or(&line).len());
                return Ok(if too_long { Line::TooLong } else { Line::Whole(line) });
            }
        }
    }

    fn reply(&mut self, reply: &str) {
        self.replies.extend_from_slice(reply.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    async fn send(&mut self) -> io::Result<()> {
        let sent = timeout(self.patience, async {
            self.write.write_all(&self.replies).await?;
            self.write.flush().await
        });
        sent.await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
        self.replies.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
