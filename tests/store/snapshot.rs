//! The constant database that mail servers read follows the store, whatever happens in between.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::Command,
};

use bounced::{
    app,
    config::Config,
    follower::Followers,
    report::Address,
    store::{Entry, Store, StoreError},
    suppression::Origin,
};
use futures::TryStreamExt;

use crate::{
    cdb,
    fixture::{Fixture, HARD, SOFT, START, by, entry},
};

impl Fixture {
    /// A configuration of this store and of lists in the same directory.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.database.path = self.database();
        config.suppressions.path = self.path("suppressions.db");
        config
    }

    pub fn followers(&self) -> Followers {
        Followers::configured(&self.config())
    }

    fn cdb(&self) -> PathBuf {
        self.path("suppressions.cdb")
    }

    fn inode(&self) -> u64 {
        fs::metadata(self.cdb()).unwrap().ino()
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[tokio::test]
async fn each_change_makes_a_whole_new_file_with_both_forms_of_a_domain() {
    let f = Fixture::new().await;
    let followers = f.followers();
    followers.start(&f.store).await.unwrap();
    assert!(cdb::records(&f.cdb()).is_some_and(|records| records.len() == 1), "its own key and nobody");
    let mut before = f.inode();
    f.commit(&[entry(1, START, &[("Ann@Example.org", HARD), ("Bob@Bücher.example", HARD)])]).await;
    f.store.suppress(&[address("eve@example.org")], &by(START)).await.unwrap();
    followers.follow(&f.store).await.unwrap();
    let records = cdb::records(&f.cdb()).unwrap();
    let expected = [
        ("ann@example.org", "user_unknown"),
        ("bob@bücher.example", "user_unknown"),
        ("bob@xn--bcher-kva.example", "user_unknown"),
        ("eve@example.org", "manual"),
    ];
    assert_eq!(cdb::addresses(&f.cdb()), expected.map(|(address, _)| address));
    for (address, reason) in expected {
        assert_eq!(records[address], format!("REJECT 5.1.1 Recipient is on our suppression list: {reason}"));
    }
    assert_ne!(f.inode(), before);
    before = f.inode();

    fs::set_permissions(f.cdb(), fs::Permissions::from_mode(0o604)).unwrap();
    f.store.release(&[address("ann@example.org")], &by(START)).await.unwrap();
    followers.follow(&f.store).await.unwrap();
    assert_eq!(cdb::addresses(&f.cdb()), expected[1..].iter().map(|(address, _)| *address).collect::<Vec<_>>());
    assert_ne!(f.inode(), before);
    assert_eq!(fs::metadata(f.cdb()).unwrap().mode() & 0o777, 0o604, "as the old one");
}

/// Nothing names them any more, so that a list which was busy meanwhile has to find it out.
#[tokio::test]
async fn who_was_forgotten_leaves_both_lists() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD), ("bob@example.org", HARD)])]).await;
    f.followers().start(&f.store).await.unwrap();
    f.execute(
        "DELETE FROM suppression WHERE address = 'ann@example.org';
         DELETE FROM event WHERE address = 'ann@example.org';
         INSERT INTO event (at, kind) VALUES (0, 'forgotten')",
    )
    .await;
    f.followers().follow(&f.store).await.unwrap();
    assert_eq!(cdb::addresses(&f.cdb()), ["bob@example.org"]);
    let listed: String = f.value_of("suppressions.db", "SELECT group_concat(email) FROM suppression").await;
    assert_eq!(listed, "bob@example.org");
}

#[tokio::test]
async fn a_list_that_did_not_change_is_not_written_again() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    f.followers().start(&f.store).await.unwrap();
    let before = f.inode();
    let batch: Vec<_> = (10..1_510).map(|uid| entry(uid, START, &[(&format!("u{uid}@example.org"), SOFT)])).collect();
    f.commit(&batch).await;
    f.followers().follow(&f.store).await.unwrap();
    f.followers().start(&f.store).await.unwrap();
    assert_eq!(f.inode(), before);
}

#[tokio::test]
async fn a_damaged_file_is_made_anew_and_kept_aside() {
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    f.followers().start(&f.store).await.unwrap();
    let whole = fs::read(f.cdb()).unwrap();
    let cut = &whole[..whole.len() - 1];
    for damaged in [cut, b"Not a database, but somebody's notes. ".repeat(100).as_slice()] {
        fs::write(f.cdb(), damaged).unwrap();
        f.followers().follow(&f.store).await.unwrap();
        assert_eq!(cdb::addresses(&f.cdb()), ["ann@example.org"]);
        assert!(fs::read(f.path("suppressions.cdb.damaged")).unwrap() == damaged);
    }
    fs::write(f.cdb(), "").unwrap();
    f.followers().follow(&f.store).await.unwrap();
    assert_eq!(cdb::addresses(&f.cdb()), ["ann@example.org"], "nothing can be lost with an empty file");
}

#[tokio::test]
async fn a_constant_database_of_somebody_else_is_refused_and_left_alone() {
    let f = Fixture::new().await;
    // Tables without a slot, behind no record.
    let theirs: Vec<u8> = [2_048_u32, 0].iter().cycle().take(512).flat_map(|number| number.to_le_bytes()).collect();
    fs::write(f.cdb(), &theirs).unwrap();
    let error = f.followers().start(&f.store).await.expect_err("refused");
    assert!(matches!(&error, StoreError::Unusable(text) if text.contains("belongs to something else")), "{error}");
    assert!(fs::read(f.cdb()).unwrap() == theirs);
}

/// Both lists, as they lie there.
fn lists(f: &Fixture) -> [Vec<u8>; 2] {
    ["suppressions.db", "suppressions.cdb"].map(|name| fs::read(f.path(name)).unwrap_or_default())
}

#[tokio::test]
async fn what_another_store_or_a_later_state_published_is_replaced_only_when_a_person_says_so() {
    for kept in ["suppressions.db", "suppressions.cdb"] {
        for restored in [false, true] {
            let f = Fixture::new().await;
            f.store.suppress(&[address("ann@example.org")], &by(START)).await.unwrap();
            f.store.close().await;
            let backup = fs::read(f.database()).unwrap();
            let store = Store::open(&f.database()).await.unwrap();
            store.suppress(&[address("bob@example.org")], &by(START)).await.unwrap();
            f.followers().start(&store).await.unwrap();
            store.close().await;
            // One list alone is reason enough.
            let gone = ["suppressions.cdb", "suppressions.db"].into_iter().find(|name| *name != kept).unwrap();
            fs::remove_file(f.path(gone)).unwrap();
            let before = lists(&f);

            let store = if restored {
                fs::write(f.database(), backup).unwrap();
                Store::open(&f.database()).await.unwrap()
            } else {
                let other = Store::open(&f.path("other.db")).await.unwrap();
                other.suppress(&[address("eve@example.org")], &by(START)).await.unwrap();
                other
            };
            let error = f.followers().start(&store).await.expect_err("refused");
            let words = if restored { "is newer" } else { "from another database" };
            assert!(
                matches!(&error, StoreError::Foreign(text)
                    if text.contains(kept) && text.contains(words) && text.contains("--accept-new-store")),
                "{error}"
            );
            assert!(lists(&f) == before, "nothing was touched, the missing one neither");
            // While the daemon runs, the one that is missing may be made; the other stays.
            let error = f.followers().follow(&store).await.expect_err("refused");
            assert!(matches!(error, StoreError::Foreign(_)), "{error}");
            let at = usize::from(kept == "suppressions.cdb");
            assert!(lists(&f)[at] == before[at]);
            assert_eq!(f.followers().troubles(&store, START).await.unwrap().len(), 1);

            let mut config = f.config();
            config.suppressions.accept_new_store = true;
            let accepting = Followers::configured(&config);
            accepting.start(&store).await.unwrap();
            let expected = if restored { "ann@example.org" } else { "eve@example.org" };
            assert_eq!(cdb::addresses(&f.cdb()), [expected]);
            let listed: String = f.value_of("suppressions.db", "SELECT group_concat(email) FROM suppression").await;
            assert_eq!(listed, expected);
            assert!(f.followers().troubles(&store, START).await.unwrap().is_empty());

            // Once: what is put there later is asked about again.
            store.release(&[address(expected)], &by(START)).await.unwrap();
            fs::write(f.path(kept), &before[at]).unwrap();
            assert!(matches!(accepting.follow(&store).await, Err(StoreError::Foreign(_))));
        }
    }
}

#[tokio::test]
async fn a_missing_database_is_not_made_where_a_list_would_be_lost() {
    let f = Fixture::new().await;
    f.followers().start(&f.store).await.unwrap();
    f.store.close().await;
    fs::remove_file(f.database()).unwrap();
    let store = app::open_store(&f.config()).await.expect("nobody is listed");
    f.followers().start(&store).await.expect("a list of nobody can follow any store");
    store.suppress(&[address("ann@example.org")], &by(START)).await.unwrap();
    f.followers().follow(&store).await.unwrap();
    store.close().await;

    for kept in ["suppressions.db", "suppressions.cdb"] {
        let list = fs::read(f.path(kept)).unwrap();
        ["bounced.db", "suppressions.db", "suppressions.cdb"].iter().for_each(|name| {
            fs::remove_file(f.path(name)).ok();
        });
        for content in [list.as_slice(), &list[..list.len() / 2]] {
            fs::write(f.path(kept), content).unwrap();
            let error = app::open_store(&f.config()).await.expect_err("the list would be lost");
            assert!(
                matches!(&error, StoreError::Foreign(text) if text.contains(kept) && text.contains("is missing")),
                "{error}"
            );
            assert!(!f.database().exists());
        }
        // For the other list's turn.
        fs::remove_file(f.path(kept)).unwrap();
        let store = Store::open(&f.database()).await.unwrap();
        store.suppress(&[address("ann@example.org")], &by(START)).await.unwrap();
        f.followers().follow(&store).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn postfix_reads_the_constant_database_as_the_docs_say() {
    let Ok(true) = Command::new("postconf")
        .arg("-m")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).lines().any(|map| map == "cdb"))
    else {
        return println!("skipped: no Postfix with cdb tables here");
    };
    let f = Fixture::new().await;
    f.commit(&[entry(1, START, &[("Ann@Example.org", HARD), ("bob@bücher.example", HARD)])]).await;
    f.followers().start(&f.store).await.unwrap();

    let documented = "check_recipient_access cdb:/var/lib/bounced/suppressions,";
    for doc in [include_str!("../../docs/database.md"), include_str!("../../README.md")] {
        assert!(doc.contains(documented));
    }
    // A configuration of its own: the machine's may not exist.
    fs::write(f.path("main.cf"), "compatibility_level = 3.6\n").unwrap();
    let table = format!("cdb:{}", f.path("suppressions").display());
    let look_up = |address: &str| {
        let output =
            Command::new("postmap").arg("-c").arg(f.path("")).args(["-f", "-q", address, &table]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for address in ["ann@example.org", "bob@bücher.example", "bob@xn--bcher-kva.example"] {
        assert_eq!(look_up(address), "REJECT 5.1.1 Recipient is on our suppression list: user_unknown\n", "{address}");
    }
    assert_eq!(look_up("eve@example.org"), "");
    assert_eq!(look_up("bounced"), "");
}

#[tokio::test]
async fn a_list_that_lacks_what_was_recorded_minutes_ago_is_told() {
    let f = Fixture::new().await;
    let followers = f.followers();
    f.commit(&[entry(1, START, &[("ann@example.org", HARD)])]).await;
    followers.start(&f.store).await.unwrap();
    // It was received long ago, and is recorded now.
    f.commit(&[entry(2, START, &[("bob@example.org", HARD)]), entry(3, START, &[("carl@example.org", SOFT)])]).await;
    let recorded: i64 = f.value("SELECT max(recorded) FROM event").await;
    assert!(followers.troubles(&f.store, recorded + 299).await.unwrap().is_empty(), "a list takes its time");
    let late = followers.troubles(&f.store, recorded + 300).await.unwrap();
    let [cdb, database] = ["suppressions.cdb", "suppressions.db"].map(|name| f.path(name));
    assert_eq!(late.iter().map(|trouble| &trouble.list).collect::<Vec<_>>(), [&database, &cdb]);
    assert!(late.iter().all(|trouble| trouble.failure.contains("minutes behind the database")), "{late:?}");
    followers.follow(&f.store).await.unwrap();
    assert!(followers.troubles(&f.store, i64::MAX).await.unwrap().is_empty());
    // What changes nothing on a list is no reason to write it.
    f.commit(&[entry(4, START, &[("carl@example.org", SOFT)])]).await;
    assert!(followers.troubles(&f.store, i64::MAX).await.unwrap().is_empty());
    f.store.release(&[address("bob@example.org")], &by(START)).await.unwrap();
    let recorded: i64 = f.value("SELECT max(recorded) FROM event").await;
    assert_eq!(followers.troubles(&f.store, recorded + 300).await.unwrap().len(), 2);
    for list in [&cdb, &database] {
        fs::remove_file(list).unwrap();
        fs::create_dir(list).unwrap();
    }
    let blocked = followers.troubles(&f.store, recorded).await.unwrap();
    assert!(blocked.len() == 2 && blocked.iter().all(|it| it.failure.contains("is a directory")), "{blocked:?}");
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_whole() {
    let f = Fixture::new().await;
    assert_eq!(f.store.entries().try_concat().await.unwrap(), []);
    // One more than two pages, and odd characters.
    f.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10001)
         INSERT INTO suppression (address, domain, origin, reason, since)
         SELECT format('%s%d@example.org', iif(n % 2, 'ü\"', 'a'), n), 'example.org', iif(n % 3, 'hard', 'manual'),
                iif(n % 3, 'user_unknown', NULL), n FROM n",
    )
    .await;
    let entries = f.store.entries().try_concat().await.unwrap();
    assert_eq!(entries.len(), 10_001);
    assert!(entries.is_sorted_by(|a, b| a.address < b.address), "each one once");
    for Entry { address, origin, reason, since } in entries {
        let start = if since % 2 == 1 { "ü\"" } else { "a" };
        assert_eq!(address, format!("{start}{since}@example.org"));
        let expected = if since % 3 == 0 { (Origin::Manual, None) } else { (Origin::Hard, Some("user_unknown")) };
        assert_eq!((origin, reason.as_deref()), expected);
    }
}
