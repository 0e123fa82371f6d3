//! An SMTP server that answers as it is told: a script of replies in, a list of accepted recipients out.
//! Knows nothing of bounces.

use std::{collections::HashMap, io, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Where in the dialogue (RFC 5321 §3.3) a scripted reply is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Instead of the greeting, for every connection.
    Connect,
    /// In answer to MAIL FROM, looked up by what follows the `+` in the sender's local part.
    Mail,
    /// In answer to RCPT TO, looked up by the recipient.
    Rcpt,
    /// After the final dot, looked up by the first recipient.
    Data,
}

/// What to answer: stage and key lead to a reply, of several lines where it holds `\n`. Whoever is not listed is
/// accepted.
#[derive(Debug, Default)]
pub struct Script {
    greeting: Option<String>,
    replies: HashMap<(Stage, String), String>,
}

impl Script {
    /// Refuses every connection with `greeting`.
    pub fn refusing(greeting: &str) -> Self {
        Self { greeting: Some(greeting.to_owned()), replies: HashMap::new() }
    }

    /// Adds one reply.
    pub fn answer(&mut self, stage: Stage, key: &str, reply: &str) {
        let earlier = self.replies.insert((stage, key.to_owned()), reply.to_owned());
        assert!(earlier.is_none(), "two replies for {stage:?} {key}");
    }

    fn reply(&self, stage: Stage, key: &str) -> &str {
        self.replies.get(&(stage, key.to_owned())).map_or("250 2.0.0 Ok", String::as_str)
    }
}

/// A running sink on a free loopback port; ends when dropped.
pub struct Sink {
    /// The port on 127.0.0.1.
    pub port: u16,
    accepted: watch::Receiver<Vec<String>>,
    listener: JoinHandle<()>,
}

impl Sink {
    /// Binds a free port and begins to answer.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (accept, accepted) = watch::channel(Vec::new());
        let (script, accept) = (Arc::new(script), Arc::new(accept));
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, accept) = (Arc::clone(&script), Arc::clone(&accept));
                // A client that hangs up in mid-dialogue is its own affair.
                tokio::spawn(async move { serve(stream, &script, &accept).await.ok() });
            }
        });
        Self { port, accepted, listener }
    }

    /// Waits until a message for `recipient` was accepted.
    pub async fn accepted(&self, recipient: &str) {
        let has = |seen: &Vec<String>| seen.iter().any(|r| r == recipient);
        self.accepted.clone().wait_for(has).await.expect("the sink runs as long as it is held");
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(stream: TcpStream, script: &Script, accept: &watch::Sender<Vec<String>>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut recipients: Vec<String> = Vec::new();
    let mut reply = script.greeting.as_deref().unwrap_or("220 sink.example ESMTP");
    loop {
        write.write_all(format!("{}\r\n", reply.replace('\n', "\r\n")).as_bytes()).await?;
        // RFC 5321 §3.8: 421 announces the end of the connection.
        if reply.starts_with("421") {
            return Ok(());
        }
        let Some(line) = lines.next_line().await? else { return Ok(()) };
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        reply = match verb.as_str() {
            "QUIT" => "221 2.0.0 Bye",
            _ if script.greeting.is_some() => "503 5.5.1 Only QUIT is welcome here",
            "EHLO" => "250-sink.example\n250-8BITMIME\n250-SMTPUTF8\n250 ENHANCEDSTATUSCODES",
            "MAIL" => {
                recipients.clear();
                let key =
                    path(&line).split_once('+').and_then(|(_, rest)| rest.split_once('@')).map_or("", |(key, _)| key);
                script.reply(Stage::Mail, key)
            }
            "RCPT" => {
                let reply = script.reply(Stage::Rcpt, path(&line));
                if reply.starts_with('2') {
                    recipients.push(path(&line).to_owned());
                }
                reply
            }
            "DATA" if recipients.is_empty() => "554 5.5.1 No valid recipients",
            "DATA" => {
                write.write_all(b"354 End data with <CR><LF>.<CR><LF>\r\n").await?;
                while lines.next_line().await?.is_some_and(|line| line != ".") {}
                let reply = script.reply(Stage::Data, &recipients[0]);
                if reply.starts_with('2') {
                    accept.send_modify(|seen| seen.append(&mut recipients));
                }
                reply
            }
            _ => "250 2.0.0 Ok",
        };
    }
}

/// What stands between the angle brackets of a MAIL or RCPT command.
fn path(command: &str) -> &str {
    command.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path)
}
