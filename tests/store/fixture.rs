//! Own-written judged messages, and a store in a directory of its own.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, process::Command};

use bounced::{
    codes::{Class, Fault, Judgement, Reason},
    message::{Cursor, Disposition, Place, Reading},
    policy::Policy,
    report::{
        Action, Address, Candidate, Evidence, Finding, Kind, Location, Original, Provenance, Recipient, Report, Trusts,
        Verdict,
    },
    store::{By, Committed, JudgedMessage, Store},
    suppression::{Origin, Suppression},
};
use sha2::{Digest, Sha256};
use sqlx::{
    Connection, Decode, FromRow, Sqlite, SqliteConnection, Type,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tempfile::TempDir;

/// 2026-01-01T00:00:00Z.
pub const START: i64 = 1_767_225_600;
pub const DAY: i64 = 86_400;
pub const MAILBOX: &str = "bounces";

/// A person, at a time.
pub const fn by(at: i64) -> By<'static> {
    By::new("ann", at)
}

/// The mailbox is read up to here.
pub fn up_to(cursor: &str) -> Reading {
    Reading { cursor: Some(Cursor::new(cursor)), ..Reading::default() }
}

pub struct Fixture {
    dir: TempDir,
    pub store: Store,
}

impl Fixture {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bounced.db")).await.unwrap();
        Self { dir, store }
    }

    /// The store's file.
    pub fn database(&self) -> PathBuf {
        self.path("bounced.db")
    }

    /// A path in the fixture's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn commit(&self, entries: &[JudgedMessage]) -> Committed {
        self.store.commit(MAILBOX, entries, &Reading::default(), &Policy::default()).await.unwrap()
    }

    /// The places that are to be settled, in their order.
    pub async fn unsettled(&self, mailbox: &str) -> Vec<String> {
        let unsettled = self.store.unsettled(mailbox, i64::MAX, u32::MAX).await.unwrap();
        unsettled.iter().map(|one| one.place.as_str().to_owned()).collect()
    }

    /// One value from the store.
    pub async fn value<T>(&self, sql: &'static str) -> T
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + Send + Unpin + 'static,
    {
        self.value_of("bounced.db", sql).await
    }

    /// One value from a database in the fixture's directory.
    pub async fn value_of<T>(&self, name: &str, sql: &'static str) -> T
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + Send + Unpin + 'static,
    {
        let options = SqliteConnectOptions::new().filename(self.path(name));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    /// Rows from the store.
    pub async fn rows<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let options = SqliteConnectOptions::new().filename(self.database());
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
    }

    /// Rows of a statement that is made of others.
    pub async fn rows_of<T>(&self, sql: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let options = SqliteConnectOptions::new().filename(self.database());
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
    }

    /// Changes the store behind its back.
    pub async fn execute(&self, sql: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.database());
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
}

/// The id of a user without rights, for a process of its own; only root can start one.
pub fn nobody() -> Option<u32> {
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        println!("skipped: only root can act as another user");
    }
    root.then_some(65_534)
}

/// SQLite's own shell.
pub fn sqlite3() -> Option<&'static str> {
    let there = Command::new("sqlite3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: no sqlite3 shell here");
    }
    there.then_some("sqlite3")
}

pub const HARD: Judgement = Judgement { class: Class::Hard, reason: Reason::UserUnknown, fault: Fault::Recipient };
pub const SOFT: Judgement = Judgement { class: Class::Soft, reason: Reason::MailboxFull, fault: Fault::Recipient };
pub const BLOCKED: Judgement = Judgement { class: Class::Soft, reason: Reason::Blocked, fault: Fault::Sender };

pub const GONE: Judgement = Judgement { class: Class::Hard, reason: Reason::BadDomain, fault: Fault::Recipient };

/// A message with UID `uid`, received `received`, about these recipients, whom a server of its own has refused: none calls
/// too many dead.
pub fn entry(uid: u32, received: i64, recipients: &[(&str, Judgement)]) -> JudgedMessage {
    let verdicts = recipients.iter().map(|(_, judgement)| verdict(*judgement)).collect();
    let recipients = recipients.iter().map(|(address, judgement)| recipient(uid, address, *judgement)).collect();
    JudgedMessage {
        tables: std::sync::Arc::default(),
        place: Place::new(format!("7:{uid}")),
        sha256: Sha256::digest(format!("message {uid}")).into(),
        received,
        size: 2_048,
        report: report(uid, recipients),
        verdicts,
        trusts: Trusts::default(),
        disposition: Disposition::Processed,
    }
}

/// A message with UID `uid`, received `received`, by which these people complain.
pub fn complaint(uid: u32, received: i64, complainers: &[&str]) -> JudgedMessage {
    let mut one = entry(uid, received, &[]);
    let evidence = |address: &str| Evidence {
        location: Location::Field("Original-Rcpt-To".into()),
        range: 1..address.len() + 1,
        line: Some(23),
        words: format!("<{address}>"),
    };
    let named = |address: &&str| Finding { value: Address::parse(address).unwrap(), evidence: evidence(address) };
    one.report.kind = Kind::Complaint;
    one.report.complainers = complainers.iter().map(named).collect();
    one
}

fn report(uid: u32, recipients: Vec<Recipient>) -> Report {
    Report {
        kind: Kind::Bounce,
        kind_because: Finding { value: Kind::Bounce, evidence: Evidence::of_structure("multipart/report") },
        format: "rfc3464".into(),
        kind_rule: None,
        reporting_mta: Some("mx.example.org".to_owned()),
        message_id: Some(format!("{uid}@mx.example.org")),
        date: None,
        recipients,
        complainers: Vec::new(),
        author: None,
        left_out: 0,
        provenance: Provenance::default(),
        original: Original {
            message_id: Some(format!("original-{uid}@example.org")),
            campaign: Some(format!("campaign-{}", uid % 3)),
            ..Original::default()
        },
    }
}

fn recipient(uid: u32, address: &str, judgement: Judgement) -> Recipient {
    Recipient {
        address: Address::parse(address),
        action: Action::Failed,
        remote_mta: Some(format!("mx.server{uid}.example")),
        diagnostic: Some(format!("550 5.0.0 <{address}>: {}", judgement.reason).as_str().into()),
        ..Recipient::default()
    }
}

pub fn verdict(judgement: Judgement) -> Verdict {
    let rule = format!("codes:{}", judgement.reason);
    Verdict {
        class: judgement.class,
        reason: judgement.reason,
        fault: judgement.fault,
        status: "5.1.1".parse().ok(),
        reply: "550".parse().ok(),
        rule: rule.clone(),
        conflict: false,
        advice: String::new(),
        winner: Some(Candidate {
            rule,
            judgement,
            evidence: Evidence {
                location: Location::Field("Diagnostic-Code".into()),
                range: 0..5,
                line: Some(17),
                words: "smtp; 550 5.1.1 no".to_owned(),
            },
        }),
        lowered: None,
        forwarded: None,
        outranked: Vec::new(),
    }
}

/// An entry as the list of another program brings it.
pub fn imported(address: &str) -> Suppression {
    Suppression {
        address: address.to_owned(),
        origin: Origin::Import,
        reason: None,
        rule: None,
        policy: None,
        diagnostic: None,
        since: START,
        expires: None,
        note: None,
        causes: Vec::new(),
    }
}
