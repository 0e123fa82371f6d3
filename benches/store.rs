//! Batches of judged messages into SQLite, in messages a second, and a long list into its published files:
//! `cargo bench --bench store`. `BOUNCED_STORE=FILE cargo bench --bench store commit_new` commits into a store that is
//! there, as `scripts/bench-large --keep` leaves it, and leaves the rows in it.

use std::{
    env,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use bounced::{
    codes::{Class, Fault, Judgement, Reason},
    config::Config,
    follower::Followers,
    message::{Cursor, Disposition, Place, Reading},
    policy::Policy,
    report::{
        Action, Address, Candidate, Evidence, Finding, Kind, Location, Original, Provenance, Recipient, Report, Trusts,
        Verdict,
    },
    store::{By, JudgedMessage, Store},
};
use divan::{Bencher, counter::ItemsCount};
use sha2::{Digest, Sha256};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// New messages, one recipient each; half of them hard, so that the suppression list grows as well.
#[divan::bench(args = [1, 100, 500, 1_000])]
fn commit_new(bencher: Bencher<'_, '_>, batch: u32) {
    let bench = Bench::of(env::var_os("BOUNCED_STORE").map(PathBuf::from));
    let mut next = unused();
    bencher
        .counter(ItemsCount::new(batch))
        .with_inputs(move || {
            next += batch;
            (next - batch..next).map(entry).collect::<Vec<_>>()
        })
        .bench_local_refs(|entries| bench.commit(entries));
}

/// Messages that are recorded already: what a replay costs.
#[divan::bench]
fn commit_replayed(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let entries: Vec<_> = (0..1_000).map(entry).collect();
    bench.commit(&entries);
    bencher.counter(ItemsCount::new(entries.len())).bench_local(|| bench.commit(&entries));
}

/// One address more on a list of so many: until both published lists say so.
#[divan::bench(args = [1_000, 1_000_000], sample_count = 5, sample_size = 1)]
fn publish(bencher: Bencher<'_, '_>, addresses: u32) {
    let bench = Bench::new();
    bench.fill(addresses);
    let mut config = Config::default();
    config.suppressions.path = bench.dir.path().join("suppressions.db");
    let followers = Followers::configured(&config);
    bench.runtime.block_on(followers.start(&bench.store)).expect("lists");
    let mut next = 0;
    bencher
        .counter(ItemsCount::new(addresses))
        .with_inputs(move || {
            next += 1;
            Address::parse(&format!("new{next}@example.org")).expect("an address")
        })
        .bench_local_values(|address| {
            bench.runtime.block_on(async {
                bench
                    .store
                    .suppress(std::slice::from_ref(&address), &By::new("test", 1_767_225_600))
                    .await
                    .expect("suppressed");
                followers.follow(&bench.store).await.expect("published");
            });
        });
}

struct Bench {
    runtime: Runtime,
    store: Store,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::of(None)
    }

    fn of(file: Option<PathBuf>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let runtime = Runtime::new().expect("a runtime");
        let file = file.unwrap_or_else(|| dir.path().join("bounced.db"));
        let store = runtime.block_on(Store::open(&file)).expect("a store");
        Self { runtime, store, dir }
    }

    /// A list as years of bounces leave it, without the bounces.
    fn fill(&self, addresses: u32) {
        let path = self.dir.path().join("bounced.db");
        let filled = async {
            let mut database = SqliteConnection::connect(&path.display().to_string()).await?;
            sqlx::query(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
                 INSERT INTO suppression (address, domain, origin, reason, rule, diagnostic, since)
                 SELECT format('user%d@domain%d.example', n, n % 50000), format('domain%d.example', n % 50000),
                        'hard', 'user_unknown', 'codes:5.1.1',
                        format('550 5.1.1 <user%d@domain%d.example>: Recipient address rejected', n, n % 50000),
                        1767225600
                 FROM n",
            )
            .bind(addresses)
            .execute(&mut database)
            .await?;
            database.close().await
        };
        self.runtime.block_on(filled).expect("a long list");
    }

    fn commit(&self, entries: &[JudgedMessage]) {
        let reading = Reading { cursor: Some(Cursor::new("1:1")), ..Reading::default() };
        let policy = Policy::default();
        let committed = self.store.commit("bench", entries, &reading, &policy);
        divan::black_box(self.runtime.block_on(committed).expect("a commit"));
    }
}

/// The first of a million numbers that no earlier run has used: what a kept store knows would be no new message.
fn unused() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    (seconds % 4_000) as u32 * 1_000_000
}

fn entry(uid: u32) -> JudgedMessage {
    let (class, reason) =
        if uid.is_multiple_of(2) { (Class::Hard, Reason::UserUnknown) } else { (Class::Soft, Reason::MailboxFull) };
    let judgement = Judgement { class, reason, fault: Fault::Recipient };
    let address = format!("user{uid}@domain{}.example", uid % 500);
    let line =
        format!("smtp; 550 5.1.1 <{address}>: Recipient address rejected: User unknown in local recipient table");
    let evidence = Evidence {
        location: Location::Field("Diagnostic-Code".into()),
        range: 0..line.len(),
        line: Some(42),
        words: line.clone(),
    };
    JudgedMessage {
        tables: std::sync::Arc::default(),
        place: Place::new(format!("1:{}", uid + 1)),
        sha256: Sha256::digest(uid.to_le_bytes()).into(),
        received: 1_767_225_600 + i64::from(uid),
        size: 3_000,
        report: Report {
            kind: Kind::Bounce,
            kind_because: Finding { value: Kind::Bounce, evidence: Evidence::of_structure("multipart/report") },
            format: "rfc3464".into(),
            kind_rule: None,
            reporting_mta: Some("mail.example.org".to_owned()),
            message_id: Some(format!("2026010{uid}.ABCDEF@mail.example.org")),
            date: None,
            recipients: vec![Recipient {
                address: Address::parse(&address),
                action: Action::Failed,
                remote_mta: Some(format!("mx.domain{}.example", uid % 500)),
                diagnostic: Some(line.as_str().into()),
                ..Recipient::default()
            }],
            complainers: Vec::new(),
            author: None,
            left_out: 0,
            provenance: Provenance::default(),
            original: Original { message_id: Some(format!("{uid}@news.example.org")), ..Original::default() },
        },
        verdicts: vec![Verdict {
            class,
            reason,
            fault: Fault::Recipient,
            status: "5.1.1".parse().ok(),
            reply: "550".parse().ok(),
            rule: "codes:5.1.1".to_owned(),
            conflict: false,
            advice: String::new(),
            winner: Some(Candidate { rule: "codes:5.1.1".to_owned(), judgement, evidence }),
            lowered: None,
            forwarded: None,
            outranked: Vec::new(),
        }],
        trusts: Trusts::default(),
        disposition: Disposition::Processed,
    }
}
