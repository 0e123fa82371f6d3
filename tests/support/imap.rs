//! A few words of IMAP, for tests that look at a mailbox or fill it beside the program.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection that is logged in.
pub struct Imap {
    stream: BufReader<TcpStream>,
    last_tag: u32,
}

impl Imap {
    /// To a server on loopback that permits a login in the clear.
    pub async fn login(port: u16, user: &str, password: &str) -> io::Result<Self> {
        let stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
        let mut this = Self { stream, last_tag: 0 };
        this.line().await?;
        let said = this.say(&format!("LOGIN \"{user}\" {{{}}}", password.len()), Some(password.as_bytes())).await?;
        let done = said.last().is_some_and(|end| end.contains(" OK"));
        if done { Ok(this) } else { Err(io::Error::other(format!("{user}: {said:?}"))) }
    }

    /// What the server says to a command; the last line is how it ended.
    pub async fn ask(&mut self, command: &str) -> Vec<String> {
        self.say(command, None).await.expect("the server is there")
    }

    /// The same, and it must end well.
    pub async fn command(&mut self, command: &str) -> Vec<String> {
        let said = self.ask(command).await;
        assert!(said.last().is_some_and(|end| end.contains(" OK")), "{command}: {said:?}");
        said
    }

    /// Delivers a message to a folder.
    pub async fn append(&mut self, folder: &str, message: &str) {
        let command = format!("APPEND \"{folder}\" {{{}}}", message.len());
        let said = self.say(&command, Some(message.as_bytes())).await.expect("the server is there");
        assert!(said.last().is_some_and(|end| end.contains(" OK")), "{said:?}");
    }

    /// How many messages a folder holds; none where there is no such folder.
    pub async fn count(&mut self, folder: &str) -> usize {
        let said = self.ask(&format!("STATUS \"{folder}\" (MESSAGES)")).await;
        let counted = said.iter().find_map(|line| line.split_once("(MESSAGES ")?.1.strip_suffix(")")?.parse().ok());
        counted.unwrap_or(0)
    }

    /// How many of them nobody has marked as deleted.
    pub async fn count_undeleted(&mut self, folder: &str) -> usize {
        self.command(&format!("EXAMINE \"{folder}\"")).await;
        let said = self.command("SEARCH UNDELETED").await;
        self.command("UNSELECT").await;
        said.iter().filter_map(|line| line.strip_prefix("* SEARCH")).map(|found| found.split_whitespace().count()).sum()
    }

    async fn say(&mut self, command: &str, literal: Option<&[u8]>) -> io::Result<Vec<String>> {
        self.last_tag += 1;
        let tag = format!("T{} ", self.last_tag);
        self.stream.write_all(format!("{tag}{command}\r\n").as_bytes()).await?;
        let mut said = Vec::new();
        loop {
            let line = self.line().await?;
            match literal {
                Some(octets) if line.starts_with('+') => {
                    self.stream.write_all(octets).await?;
                    self.stream.write_all(b"\r\n").await?;
                }
                _ => said.push(line.clone()),
            }
            if line.starts_with(&tag) {
                return Ok(said);
            }
        }
    }

    /// A line, with the literals in it left out.
    async fn line(&mut self) -> io::Result<String> {
        let mut whole = String::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let length = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')?.1.parse::<usize>().ok());
            whole.push_str(&line);
            let Some(length) = length else { return Ok(whole) };
            self.stream.read_exact(&mut vec![0; length]).await?;
        }
    }
}
