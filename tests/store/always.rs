//! The published lists equal the store's list after any sequence of changes, kills and followers that break off.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Duration,
};

use bounced::{report::Address, store::By};
use proptest::prelude::*;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::{sleep, timeout};

use crate::{
    cdb,
    fixture::{DAY, Fixture, HARD, SOFT, START, entry},
};

/// Few, so that they meet each other; with a domain, and of each form that has a second one.
const ADDRESSES: [&str; 8] = [
    "ann@example.org",
    "bob@example.org",
    "carl@gone.example",
    "*@gone.example",
    "dora@bücher.example",
    "*@bücher.example",
    "\"e f\"@example.org",
    "*@tot.bücher.example",
];

/// More than are written under one lock.
const MANY: usize = 700;

#[derive(Debug, Clone)]
enum Step {
    Add(usize),
    Remove(usize),
    Allow(usize),
    Disallow(usize),
    Bounce(usize, bool),
    /// The time of what bounces brought is over.
    Expire,
    AddMany,
    RemoveMany,
    /// A turn of all followers.
    Follow,
    /// One that is dropped after so many microseconds.
    Dropped(u64),
    /// A command that is killed after so many microseconds while it changes and publishes many.
    Killed(bool, u64),
    /// The next start of the daemon.
    Start,
}

fn step() -> impl Strategy<Value = Step> {
    let address = || 0..ADDRESSES.len();
    prop_oneof![
        3 => address().prop_map(Step::Add),
        3 => address().prop_map(Step::Remove),
        1 => address().prop_map(Step::Allow),
        1 => address().prop_map(Step::Disallow),
        1 => Just(Step::Expire),
        2 => (address(), any::<bool>()).prop_map(|(address, hard)| Step::Bounce(address, hard)),
        1 => Just(Step::AddMany),
        1 => Just(Step::RemoveMany),
        2 => Just(Step::Follow),
        2 => (0..20_000_u64).prop_map(Step::Dropped),
        2 => (any::<bool>(), 0..120_000_u64).prop_map(|(adds, after)| Step::Killed(adds, after)),
        1 => Just(Step::Start),
    ]
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn many() -> Vec<Address> {
    (0..MANY).map(|n| address(&format!("u{n:03}@{}.example", n % 7))).collect()
}

impl Fixture {
    async fn take(&self, number: u32, step: &Step) {
        let at = START + i64::from(number) * DAY;
        let by = &By::new("ann", at);
        match step {
            // One that is allowed is refused, and so is the allowing of one whose domain is suppressed.
            Step::Add(one) => drop(self.store.suppress(&[address(ADDRESSES[*one])], by).await),
            Step::Remove(one) => drop(self.store.release(&[address(ADDRESSES[*one])], by).await.unwrap()),
            Step::Allow(one) => drop(self.store.allow(&[address(ADDRESSES[*one])], by).await),
            Step::Disallow(one) => drop(self.store.disallow(&[address(ADDRESSES[*one])], by).await.unwrap()),
            Step::Expire => {
                self.execute("UPDATE suppression SET expires = since + 3 * 86400 WHERE origin <> 'manual'").await;
                self.store.expire(at).await.unwrap();
            }
            Step::Bounce(one, hard) => {
                let judgement = if *hard { HARD } else { SOFT };
                self.commit(&[entry(number, at, &[(ADDRESSES[*one], judgement)])]).await;
            }
            Step::AddMany => drop(self.store.suppress(&many(), by).await.unwrap()),
            Step::RemoveMany => drop(self.store.release(&many(), by).await.unwrap()),
            Step::Follow => self.followers().follow(&self.store).await.unwrap(),
            Step::Dropped(after) => {
                // Whether it came to its end does not matter.
                let _ = timeout(Duration::from_micros(*after), self.followers().follow(&self.store)).await;
            }
            Step::Killed(adds, after) => {
                std::fs::write(
                    self.path("bounced.toml"),
                    format!(
                        "[database]\npath = '{}'\n[suppressions]\npath = '{}'\n",
                        self.database().display(),
                        self.path("suppressions.db").display()
                    ),
                )
                .unwrap();
                let names: Vec<_> = many().iter().map(|one| one.normalised().to_owned()).collect();
                std::fs::write(self.path("many"), names.join("\n")).unwrap();
                let mut command = Command::new(env!("CARGO_BIN_EXE_bounced"))
                    .args(["suppressions", if *adds { "add" } else { "remove" }])
                    .arg(self.path("many"))
                    .arg("--config")
                    .arg(self.path("bounced.toml"))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                sleep(Duration::from_micros(*after)).await;
                command.kill().unwrap();
                command.wait().unwrap();
            }
            Step::Start => self.followers().start(&self.store).await.unwrap(),
        }
    }

    /// What the store's list says must be published: under each form of the address, why and since when.
    async fn expected(&self) -> BTreeMap<String, (String, String, i64)> {
        let rows: Vec<(String, String, String, i64)> =
            self.rows("SELECT address, origin, coalesce(reason, origin), since FROM suppression").await;
        let forms = |(address, origin, reason, since): (String, String, String, i64)| {
            let (local, domain) = address.rsplit_once('@').unwrap();
            let second = format!("{local}@{}", idna::domain_to_unicode(domain).0);
            [address, second].map(|form| (form, (origin.clone(), reason.clone(), since)))
        };
        rows.into_iter().flat_map(forms).collect()
    }

    async fn sqlite_list(&self) -> BTreeMap<String, (String, String, i64)> {
        let options = SqliteConnectOptions::new().filename(self.path("suppressions.db")).read_only(true);
        let mut list = SqliteConnection::connect_with(&options).await.unwrap();
        let rows: Vec<(String, String, String, i64)> =
            sqlx::query_as("SELECT email, origin, reason, since FROM suppression").fetch_all(&mut list).await.unwrap();
        rows.into_iter().map(|(email, origin, reason, since)| (email, (origin, reason, since))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_published_lists_equal_the_list_after_any_changes_and_kills(steps in proptest::collection::vec(step(), 1..16)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let f = Fixture::new().await;
            f.followers().start(&f.store).await.unwrap();
            for (number, step) in (1..).zip(steps.iter().chain([&Step::Follow])) {
                f.take(number, step).await;
                if !matches!(step, Step::Follow | Step::Start) {
                    continue;
                }
                let expected = f.expected().await;
                prop_assert_eq!(&f.sqlite_list().await, &expected);
                let records = cdb::records(&f.path("suppressions.cdb")).expect("a whole file");
                let of_nobody = |key: &str| key.starts_with('\0');
                let records: BTreeMap<_, _> = records.into_iter().filter(|(key, _)| !of_nobody(key)).collect();
                let refusal = |form: &String, reason: &String| {
                    (form.clone(), format!("REJECT 5.1.1 Recipient is on our suppression list: {reason}"))
                };
                let expected: BTreeMap<_, _> =
                    expected.iter().map(|(form, (_, reason, _))| refusal(form, reason)).collect();
                prop_assert_eq!(&records, &expected);
            }
            Ok(())
        })?;
    }
}
