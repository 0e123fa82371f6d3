use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
};

use super::*;

/// A client, and those whom its messages are handed to.
struct Talk {
    stream: BufReader<DuplexStream>,
    handed: mpsc::Receiver<Handed>,
    is_open: Arc<AtomicBool>,
    stopping: CancellationToken,
    session: JoinHandle<io::Result<()>>,
}

impl Talk {
    async fn begin() -> Self {
        let (sender, handed) = mpsc::channel(1);
        let (is_open, stopping) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let desk = Desk {
            mailbox: "test".into(),
            host: "here.example".to_owned(),
            max_message: 100,
            recipients: 2,
            timeout: Duration::from_secs(300),
            handed: sender,
            is_open: Arc::clone(&is_open),
            stopping: stopping.clone(),
        };
        let (client, server) = duplex(64 * 1024);
        let session = tokio::spawn(speak(server, Arc::new(desk)));
        let mut talk = Self { stream: BufReader::new(client), handed, is_open, stopping, session };
        talk.hears(&["220 here.example"]).await;
        talk
    }

    async fn says(&mut self, text: &str, replies: &[&str]) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.hears(replies).await;
    }

    async fn hears(&mut self, replies: &[&str]) {
        for reply in replies {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            assert!(line.starts_with(reply) && line.ends_with("\r\n"), "{line:?} is no {reply}");
        }
    }

    /// Up to the message.
    async fn begins_a_message(&mut self) {
        self.says(
            "LHLO x\r\n",
            &["250-", "250-PIPELINING", "250-SIZE 268435456", "250-8BITMIME", "250-ENH", "250 SMTPUTF8"],
        )
        .await;
        self.says("MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n", &["250", "250", "354"]).await;
    }

    /// Nothing more is said, and nothing heard.
    async fn ends(mut self) -> io::Result<()> {
        let mut line = String::new();
        assert_eq!(self.stream.read_line(&mut line).await.unwrap(), 0, "{line}");
        self.session.await.unwrap()
    }
}

#[tokio::test]
async fn a_message_is_handed_over_whole_and_answered_for_each_recipient_when_it_is_known_what_became_of_it() {
    let mut talk = Talk::begin().await;
    talk.says("LHLO x\r\n", &["250-", "250-", "250-", "250-", "250-", "250 "]).await;
    let all = "MAIL FROM:<b@x.example> SIZE=9\r\nRCPT TO:<a+1@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n";
    talk.says(all, &["250 2.1.0", "250 2.1.5", "250 2.1.5", "354"]).await;
    talk.says("Subject: x\r\n\r\n..dot\r\n.\r\nNOOP\r\n", &[]).await;
    let Handed { body, rest, size, recipients, answer } = talk.handed.recv().await.unwrap();
    let text = "Return-Path: <b@x.example>\r\nSubject: x\r\n\r\n.dot\r\n";
    assert_eq!((String::from_utf8(body).unwrap().as_str(), rest, size), (text, None, text.len() as u64));
    assert_eq!(recipients, ["a+1@x.example", "b@x.example"]);
    let mut line = String::new();
    let heard = timeout(Duration::from_millis(50), talk.stream.read_line(&mut line)).await;
    assert!(heard.is_err(), "nobody knows yet: {line}");
    answer.send(Answer::Recorded).unwrap();
    talk.hears(&["250 2.0.0 Recorded", "250 2.0.0 Recorded", "250 2.0.0 Ok"]).await;

    // The next one on the same connection, longer than is kept.
    talk.says("MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n", &["250", "250", "354"]).await;
    talk.says(&format!("{}\r\n.\r\n", "x".repeat(1_000)), &[]).await;
    let handed = talk.handed.recv().await.unwrap();
    assert_eq!((handed.body.len(), handed.size, handed.rest.is_some()), (100, 1_000 + 2 + 17, true));
    handed.answer.send(Answer::Later(SET_ASIDE)).unwrap();
    talk.hears(&["451 4.3.0 bounced died"]).await;
    talk.says("QUIT\r\n", &["221"]).await;
    talk.ends().await.unwrap();
}

#[tokio::test]
async fn what_is_not_on_record_is_asked_for_again() {
    let mut talk = Talk::begin().await;
    talk.begins_a_message().await;
    talk.says("x\r\n.\r\n", &[]).await;
    drop(talk.handed.recv().await.unwrap());
    talk.hears(&["451 4.3.0"]).await;
    // The database fails between DATA and the dot.
    talk.says("MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n", &["250", "250", "354"]).await;
    talk.is_open.store(false, Relaxed);
    talk.says("x\r\n.\r\n", &["451 4.3.0 The database"]).await;
    talk.says("MAIL FROM:<>\r\n", &["451 4.3.0 The database"]).await;
    talk.is_open.store(true, Relaxed);
    talk.begins_a_message().await;
    talk.says("x\r\n.\r\n", &[]).await;
    talk.handed.recv().await.unwrap().answer.send(Answer::Recorded).unwrap();
    talk.hears(&["250"]).await;
}

#[tokio::test]
async fn half_a_message_is_handed_to_nobody() {
    let mut talk = Talk::begin().await;
    talk.begins_a_message().await;
    talk.says("Subject: x\r\n\r\nhalf", &[]).await;
    let Talk { stream, mut handed, session, .. } = talk;
    drop(stream);
    assert!(handed.recv().await.is_none());
    assert_eq!(session.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_nothing_is_heard_is_asked_for_again() {
    let mut talk = Talk::begin().await;
    talk.begins_a_message().await;
    let began = Instant::now();
    talk.says("x\r\n.\r\n", &["451 4.3.0"]).await;
    assert_eq!(began.elapsed().as_secs(), ANSWER.as_secs());
}

#[tokio::test]
async fn commands_in_a_wrong_order_are_refused_and_change_nothing() {
    let mut talk = Talk::begin().await;
    talk.says("MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\nEHLO x\r\n", &["503", "503", "503", "500 5.5.1"]).await;
    talk.says("LHLO x\r\n", &["250-", "250-", "250-", "250-", "250-", "250 "]).await;
    talk.says(
        "RCPT TO:<a@x.example>\r\nDATA\r\nMAIL FROM:<>\r\nDATA\r\nMAIL FROM:<>\r\n",
        &["503", "503", "250", "503", "503"],
    )
    .await;
    talk.says("RSET\r\nRCPT TO:<a@x.example>\r\nVRFY a\r\n", &["250", "503", "252"]).await;
    talk.says("MAIL FROM:<> SIZE=268435457\r\nMAIL FROM:<>\r\n", &["552 5.3.4", "250"]).await;
    talk.says("RCPT TO:<a@x.example>\r\n".repeat(3).as_str(), &["250", "250", "452 4.5.3"]).await;
    talk.says(&format!("NOOP {}\r\nNOOP\r\n", "x".repeat(100_000)), &["500 5.5.2", "250"]).await;
    talk.says("DATA\r\n", &["354"]).await;
    talk.says("x\r\n.\r\n", &[]).await;
    let handed = talk.handed.recv().await.unwrap();
    assert_eq!(handed.recipients, ["a@x.example", "a@x.example"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_or_one_octet_a_minute_is_sent_away() {
    let began = Instant::now();
    let mut silent = Talk::begin().await;
    silent.hears(&["421 4.4.2"]).await;
    silent.ends().await.unwrap();
    for in_message in [false, true] {
        let mut drips = Talk::begin().await;
        if in_message {
            drips.begins_a_message().await;
        }
        for _ in 0..5 {
            drips.says("x", &[]).await;
            tokio::time::sleep(Duration::from_secs(61)).await;
        }
        drips.hears(&["421 4.4.2"]).await;
        drips.ends().await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(1_000));
}

#[tokio::test]
async fn whoever_makes_mistakes_without_end_is_sent_away() {
    for (line, code, most) in [
        ("GET /\r\n", "500", MOST_MISTAKES),
        ("NOOP\r\n", "250", MOST_IDLE_COMMANDS),
        ("RCPT TO:<a@x.example>\r\n", "503", MOST_IDLE_COMMANDS),
    ] {
        let mut talk = Talk::begin().await;
        for _ in 0..most {
            talk.says(line, &[code]).await;
        }
        talk.says(line, &["421 4.7.0"]).await;
        talk.ends().await.unwrap();
    }
}

#[tokio::test]
async fn a_message_for_many_comes_through_however_many_they_are() {
    let mut talk = Talk::begin().await;
    talk.says("LHLO x\r\n", &["250-", "250-", "250-", "250-", "250-", "250 "]).await;
    talk.says("MAIL FROM:<>\r\n", &["250"]).await;
    talk.says("RCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n", &["250", "250"]).await;
    for _ in 0..=MOST_IDLE_COMMANDS {
        talk.says("RCPT TO:<c@x.example>\r\n", &["452 4.5.3"]).await;
    }
    talk.says("DATA\r\n", &["354"]).await;
    talk.says("x\r\n.\r\n", &[]).await;
    assert_eq!(talk.handed.recv().await.unwrap().recipients, ["a@x.example", "b@x.example"]);
}

#[tokio::test]
async fn at_the_end_all_are_told() {
    let mut idle = Talk::begin().await;
    idle.stopping.cancel();
    idle.hears(&["421 4.3.2"]).await;
    idle.ends().await.unwrap();
    let mut writing = Talk::begin().await;
    writing.begins_a_message().await;
    writing.says("Subject: x\r\n", &[]).await;
    writing.stopping.cancel();
    writing.hears(&["421 4.3.2"]).await;
    writing.ends().await.unwrap();
}
