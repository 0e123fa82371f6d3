//! The Maildir source against real files, friendly and hostile ones.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/dovecot.rs"]
mod dovecot;

use std::{
    collections::HashSet,
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex},
    time::{Duration, SystemTime},
};

use bounced::{
    message::{Batch, Disposition, Pending, Place, Resume, Retry, Unrecorded},
    source::{Source, SourceError, maildir::MaildirSource},
};
use dovecot::deliver;
use tempfile::TempDir;
use tokio::time::timeout;

/// Generous: only a test that fails waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// An empty Maildir.
fn maildir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    ["new", "cur", "tmp"].iter().for_each(|part| fs::create_dir(dir.path().join(part)).unwrap());
    dir
}

fn source(dir: &TempDir, changes: &str) -> MaildirSource {
    let poll = if changes.contains("poll") { "" } else { "poll = '10ms'" };
    let settings = format!("path = '{}'\n{poll}\n{changes}", dir.path().display());
    MaildirSource::new("test", toml::from_str(&settings).unwrap())
}

async fn opened(dir: &TempDir, changes: &str) -> MaildirSource {
    let mut source = source(dir, changes);
    source.open(Resume { unrecorded: but_for(&RECORDED), ..Resume::default() }).await.unwrap();
    source
}

/// What the tests have recorded, each of its own mailbox: no place is in two of them.
static RECORDED: LazyLock<Mutex<HashSet<Place>>> = LazyLock::new(Mutex::default);

fn but_for(recorded: &'static Mutex<HashSet<Place>>) -> Unrecorded {
    Unrecorded::told_by(move |places| {
        let recorded = recorded.lock().unwrap();
        let unrecorded = places.into_iter().filter(|place| !recorded.contains(place)).collect();
        Box::pin(std::future::ready(Ok(unrecorded)))
    })
}

/// As if these were recorded by an earlier run, and nothing else.
fn all_but(recorded: &[Place]) -> Unrecorded {
    but_for(Box::leak(Box::new(Mutex::new(recorded.iter().cloned().collect()))))
}

async fn refusal(dir: &TempDir, changes: &str) -> String {
    match source(dir, changes).open(Resume::default()).await {
        Err(SourceError::Refused(line)) => line,
        other => panic!("{other:?}"),
    }
}

/// The unique parts of the names of the files.
fn keys(batch: &Batch) -> Vec<&str> {
    batch.messages.iter().map(|message| message.place.as_str().split('/').next().unwrap()).collect()
}

/// Records a batch, and says what is to become of it.
fn processed(batch: &Batch) -> Vec<(Place, Disposition)> {
    RECORDED.lock().unwrap().extend(batch.messages.iter().map(|message| message.place.clone()));
    batch.messages.iter().map(|message| (message.place.clone(), Disposition::Processed)).collect()
}

/// File names in a directory, sorted.
fn names(dir: &TempDir, part: &str) -> Vec<String> {
    let files = fs::read_dir(dir.path().join(part)).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn processed_messages_are_moved_and_the_rest_is_untouched() {
    let dir = maildir();
    let [one, two] = ["one", "two"].map(|text| deliver(dir.path(), text));
    let seen = deliver(dir.path(), "three");
    let from = dir.path().join("new").join(&seen);
    fs::rename(from, dir.path().join("cur").join(format!("{seen}:2,RS"))).unwrap();
    let mut source = opened(&dir, "").await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(keys(&batch), [&one, &two, &seen]);
    assert_eq!((batch.messages[0].body.as_ref(), batch.messages[0].size), (b"one".as_slice(), 3));
    let age = jiff::Timestamp::now().as_second() - batch.messages[0].received;
    assert!((-5..600).contains(&age), "{age}");
    let mut done = processed(&batch);
    done[1].1 = Disposition::Untouched;
    source.settle(&done).await.unwrap();
    source.settle(&done).await.expect("what is moved already is no error");
    assert_eq!(names(&dir, "new"), [two]);
    assert_eq!(names(&dir, ".Processed/cur"), [format!("{one}:2,"), format!("{seen}:2,RS")]);
    assert!(names(&dir, "cur").is_empty());
    assert!(source.fetch().await.unwrap().messages.is_empty(), "what was handed out is not handed out again");
}

#[tokio::test]
async fn flagged_messages_are_marked_as_seen_and_left_ones_stay_as_they_are() {
    for (after, part, flags) in [("leave", "new", ""), ("flag", "cur", ":2,S")] {
        let dir = maildir();
        let name = deliver(dir.path(), "one");
        let mut source = opened(&dir, &format!("after = '{after}'")).await;
        let batch = source.fetch().await.unwrap();
        source.settle(&processed(&batch)).await.unwrap();
        assert_eq!(names(&dir, part), [name + flags]);
        assert!(source.fetch().await.unwrap().messages.is_empty());
    }
}

#[tokio::test]
async fn an_earlier_run_is_continued_and_its_unsettled_messages_are_settled() {
    let dir = maildir();
    let [one, two, three] = ["one", "two", "three"].map(|text| deliver(dir.path(), text));
    // Another program has marked it since.
    fs::rename(dir.path().join("new").join(&one), dir.path().join("cur").join(format!("{one}:2,S"))).unwrap();
    let batch = opened(&dir, "batch = 2").await.fetch().await.unwrap();
    let places: Vec<Place> = batch.messages.into_iter().map(|message| message.place).collect();
    let resume = Resume { unrecorded: all_but(&places), ..Resume::default() };
    for _ in 0..2 {
        let mut source = source(&dir, "");
        source.open(resume.clone()).await.unwrap();
        let left = [(places[0].clone(), Disposition::Processed), (Place::new("gone"), Disposition::Processed)];
        source.settle(&left).await.unwrap();
        assert_eq!(names(&dir, ".Processed/cur"), [format!("{one}:2,S")]);
        assert_eq!(keys(&source.fetch().await.unwrap()), [&three]);
    }
    assert_eq!(names(&dir, "new"), [two, three]);
}

#[tokio::test]
async fn two_files_of_one_name_are_both_read_and_none_is_overwritten() {
    for (after, folder) in [("flag", "cur"), ("{ move = 'Processed' }", ".Processed/cur")] {
        let dir = maildir();
        let name = deliver(dir.path(), "one");
        fs::write(dir.path().join("cur").join(format!("{name}:2,S")), "another").unwrap();
        let mut source = opened(&dir, &format!("after = {}", if after == "flag" { "'flag'" } else { after })).await;
        let batch = source.fetch().await.unwrap();
        assert_eq!(keys(&batch), [&name, &name]);
        assert!(source.settle(&processed(&batch)).await.unwrap().is_empty());
        let files = names(&dir, folder);
        let contents: HashSet<_> =
            files.iter().map(|file| fs::read_to_string(dir.path().join(folder).join(file)).unwrap()).collect();
        assert_eq!(contents, HashSet::from(["one".to_owned(), "another".to_owned()]), "{files:?}");
        assert_eq!((files.len(), names(&dir, "new").len()), (2, 0), "{files:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_used_again_hides_no_message() {
    let dir = maildir();
    let name = deliver(dir.path(), "one");
    let mut source = opened(&dir, "").await;
    let batch = source.fetch().await.unwrap();
    source.settle(&processed(&batch)).await.unwrap();
    fs::write(dir.path().join("new").join(&name), "two").unwrap();
    assert_eq!(source.fetch().await.unwrap().messages[0].body.as_ref(), b"two");
    // After the next start as well.
    let unrecorded = all_but(&[batch.messages[0].place.clone()]);
    source.open(Resume { unrecorded, ..Resume::default() }).await.unwrap();
    let batch = source.fetch().await.unwrap();
    assert_eq!(batch.messages[0].body.as_ref(), b"two");
    source.settle(&processed(&batch)).await.unwrap();
    assert_eq!(names(&dir, ".Processed/cur").len(), 2);
}

#[tokio::test]
async fn no_file_is_from_the_future() {
    let dir = maildir();
    let name = deliver(dir.path(), "one");
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    fs::File::options().write(true).open(dir.path().join("new").join(name)).unwrap().set_modified(tomorrow).unwrap();
    let batch = opened(&dir, "").await.fetch().await.unwrap();
    assert!(batch.messages[0].received <= jiff::Timestamp::now().as_second());
}

#[tokio::test]
async fn a_message_that_another_program_moves_meanwhile_is_found_again() {
    let dir = maildir();
    let [one, two] = ["one", "two"].map(|text| deliver(dir.path(), text));
    let mut source = opened(&dir, "batch = 1").await;
    assert_eq!(keys(&source.fetch().await.unwrap()), [&one]);
    // Listed under its old name by now.
    fs::rename(dir.path().join("new").join(&two), dir.path().join("cur").join(format!("{two}:2,"))).unwrap();
    assert!(source.fetch().await.unwrap().messages.is_empty());
    timeout(LIMIT, source.wait()).await.unwrap().unwrap();
    let batch = source.fetch().await.unwrap();
    assert_eq!(keys(&batch), [&two]);
    // And moved again between reading and settling.
    fs::rename(dir.path().join("cur").join(format!("{two}:2,")), dir.path().join("cur").join(format!("{two}:2,F")))
        .unwrap();
    source.settle(&processed(&batch)).await.unwrap();
    assert_eq!(names(&dir, ".Processed/cur"), [format!("{two}:2,F")]);
}

#[tokio::test]
async fn a_delivery_ends_the_wait() {
    let dir = maildir();
    let mut source = opened(&dir, "").await;
    for text in ["one", "two"] {
        assert!(source.fetch().await.unwrap().messages.is_empty());
        let name = deliver(dir.path(), text);
        let found = timeout(LIMIT, async {
            loop {
                source.wait().await.unwrap();
                let batch = source.fetch().await.unwrap();
                if !batch.messages.is_empty() {
                    break batch;
                }
            }
        });
        assert_eq!(keys(&found.await.unwrap()), [&name]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_leaves_the_time_stamp_as_it_was_ends_the_wait() {
    let dir = maildir();
    let mut source = opened(&dir, "").await;
    let new = fs::File::open(dir.path().join("new")).unwrap();
    // As on a file server whose clock is ahead: whatever was listed, this directory changed a moment ago.
    let changed = SystemTime::now() + LIMIT;
    new.set_modified(changed).unwrap();
    assert!(source.fetch().await.unwrap().messages.is_empty());
    let name = deliver(dir.path(), "one");
    new.set_modified(changed).unwrap();
    timeout(LIMIT, source.wait()).await.expect("it is looked at once more").unwrap();
    assert_eq!(keys(&source.fetch().await.unwrap()), [&name]);
}

#[tokio::test]
async fn batches_are_bounded_by_number_and_octets_and_messages_are_cut() {
    let dir = maildir();
    for _ in 0..6 {
        deliver(dir.path(), &"x".repeat(6 << 20));
    }
    let mut source = opened(&dir, "max_message = 2500000\nbatch = 5").await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(batch.messages.len(), 4, "with these the 8 MiB are full");
    assert!(batch.messages.iter().all(|m| m.body.len() == 2_500_000 && m.size == 6 << 20));
    drop(source);
    let mut source = opened(&dir, "batch = 5\nmax_message = 10").await;
    assert_eq!(source.fetch().await.unwrap().messages.len(), 5);
    assert_eq!(source.fetch().await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn a_batch_is_settled_although_the_next_was_fetched_before() {
    let dir = maildir();
    let expected = [deliver(dir.path(), "one"), deliver(dir.path(), "two")];
    let mut source = opened(&dir, "batch = 1").await;
    let first = source.fetch().await.unwrap();
    let second = source.fetch().await.unwrap();
    for batch in [&first, &second] {
        assert!(keys(batch).iter().all(|key| expected.iter().any(|name| name == key)));
        assert!(source.fetch().await.unwrap().messages.is_empty(), "neither comes again");
        source.settle(&processed(batch)).await.unwrap();
    }
    let moved = ["new", "cur"].map(|part| fs::read_dir(dir.path().join(".Processed").join(part)).unwrap().count());
    assert_eq!(moved.iter().sum::<usize>(), 2);
}

#[tokio::test]
async fn only_delivered_regular_files_are_read() {
    let dir = maildir();
    let good = deliver(dir.path(), "good");
    let new = dir.path().join("new");
    fs::write(dir.path().join("secret"), "not for you").unwrap();
    symlink(dir.path().join("secret"), new.join("1.link")).unwrap();
    symlink("/dev/zero", new.join("1.endless")).unwrap();
    symlink("/nonexistent", new.join("1.dangling")).unwrap();
    fs::create_dir(new.join("1.directory")).unwrap();
    assert!(Command::new("mkfifo").arg(new.join("1.fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(new.join("1.socket")).unwrap();
    fs::write(new.join(".hidden"), "x").unwrap();
    fs::write(dir.path().join("tmp/1.unfinished"), "x").unwrap();
    let mut source = opened(&dir, "").await;
    let batch = timeout(LIMIT, source.fetch()).await.expect("a FIFO blocks nobody").unwrap();
    assert_eq!(keys(&batch), [&good]);
}

#[tokio::test]
async fn what_becomes_a_link_after_it_was_listed_is_not_followed() {
    let dir = maildir();
    let [_, two, three] = ["one", "two", "three"].map(|text| deliver(dir.path(), text));
    let mut source = opened(&dir, "batch = 1").await;
    source.fetch().await.unwrap();
    let replaced = dir.path().join("new").join(two);
    fs::remove_file(&replaced).unwrap();
    symlink("/etc/passwd", &replaced).unwrap();
    assert_eq!(keys(&source.fetch().await.unwrap()), [&three]);
}

#[tokio::test]
async fn what_becomes_a_fifo_after_it_was_listed_blocks_nobody_and_is_no_message() {
    let dir = maildir();
    let [_, two, three] = ["one", "two", "three"].map(|text| deliver(dir.path(), text));
    let mut source = opened(&dir, "batch = 1").await;
    source.fetch().await.unwrap();
    let replaced = dir.path().join("new").join(two);
    fs::remove_file(&replaced).unwrap();
    assert!(Command::new("mkfifo").arg(&replaced).status().unwrap().success());
    // A reader that waits for a writer gets one, so that a failure here ends.
    let writer = std::thread::spawn({
        let (replaced, limit) = (replaced.clone(), Duration::from_secs(5));
        move || {
            std::thread::park_timeout(limit);
            fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(replaced).is_ok()
        }
    });
    let batch = source.fetch().await.unwrap();
    writer.thread().unpark();
    assert!(!writer.join().unwrap(), "nobody waited for what a FIFO would bring");
    assert_eq!(keys(&batch), [&three]);
}

#[tokio::test]
async fn a_name_too_long_for_flags_does_not_stop_the_rest() {
    let dir = maildir();
    fs::write(dir.path().join("new").join("1".repeat(255)), "x").unwrap();
    let name = deliver(dir.path(), "two");
    let mut source = opened(&dir, "").await;
    let batch = source.fetch().await.unwrap();
    assert_eq!(batch.messages.len(), 2);
    assert_eq!(source.settle(&processed(&batch)).await.unwrap(), [], "trying again would not help");
    assert_eq!(names(&dir, ".Processed/cur"), [format!("{name}:2,")]);
}

#[tokio::test]
async fn what_is_no_maildir_and_what_is_no_folder_name_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let line = refusal(&empty, "").await;
    assert!(line.contains("no readable Maildir") && line.contains(&empty.path().display().to_string()), "{line}");
    let dir = maildir();
    for name in ["../elsewhere", "a/b", ".", ".."] {
        let line = refusal(&dir, &format!("after = {{ move = '{name}' }}")).await;
        assert!(line.contains("can't move to a folder called"), "{line}");
    }
    let outside: Vec<PathBuf> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(outside.len(), 3, "{outside:?}");
}

#[tokio::test]
async fn a_folder_that_disappears_is_made_again_and_one_that_can_not_be_holds_up_nothing() {
    let dir = maildir();
    deliver(dir.path(), "one");
    let mut source = opened(&dir, "").await;
    let batch = source.fetch().await.unwrap();
    fs::remove_dir_all(dir.path().join(".Processed")).unwrap();
    fs::write(dir.path().join(".Processed"), "a file in its place").unwrap();
    let failed = source.settle(&processed(&batch)).await.unwrap();
    assert!(failed.len() == 1 && failed[0].1.contains(".Processed"), "{failed:?}");
    let two = deliver(dir.path(), "two");
    assert_eq!(keys(&source.fetch().await.unwrap()), [&two], "reading goes on");
    fs::remove_file(dir.path().join(".Processed")).unwrap();
    assert!(source.settle(&processed(&batch)).await.unwrap().is_empty());
    assert_eq!(names(&dir, ".Processed/cur").len(), 1);
    assert!(!Path::new(&dir.path().join("new/one")).exists());
}

#[tokio::test]
async fn a_file_that_can_not_be_read_holds_up_no_other_and_is_tried_again() {
    let dir = maildir();
    let [one, two] = ["one", "two"].map(|text| deliver(dir.path(), text));
    let first = opened(&dir, "batch = 1").await.fetch().await.unwrap().messages.remove(0).place;
    let pending = |place: &Place, next_try| {
        let retry = Retry { first_failed: 0, tries: 2, next_try, why: "input/output error".into() };
        Pending { place: place.clone(), retry }
    };
    let soon = jiff::Timestamp::now().as_second() + 3_600;
    let mut source = source(&dir, "");
    let resume = Resume { pending: vec![pending(&first, soon), pending(&Place::new("gone"), 0)], ..Resume::default() };
    source.open(resume).await.unwrap();
    let batch = source.fetch().await.unwrap();
    assert_eq!((keys(&batch), &batch.reading.gone), (vec![&*two], &vec![Place::new("gone")]));
    source.open(Resume { pending: vec![pending(&first, 0)], ..Resume::default() }).await.unwrap();
    assert_eq!(keys(&source.fetch().await.unwrap()), [&one]);
    assert_eq!(keys(&source.fetch().await.unwrap()), [&two]);
}

/// Waits until something is new, and fetches it.
async fn next(source: &mut MaildirSource) -> Batch {
    let found = timeout(LIMIT, async {
        loop {
            source.wait().await.unwrap();
            let batch = source.fetch().await.unwrap();
            if !batch.messages.is_empty() {
                return batch;
            }
        }
    });
    found.await.expect("it is told, and nobody looks by himself within an hour")
}

#[tokio::test]
async fn a_delivery_is_told_however_it_is_made() {
    let dir = maildir();
    let path = |name: &str| dir.path().join(name);
    let mut source = opened(&dir, "poll = '1h'").await;
    assert!(source.fetch().await.unwrap().messages.is_empty());

    // With one name too many for a moment, as Postfix and qmail do it.
    fs::write(path("tmp/1.linked"), "linked").unwrap();
    fs::hard_link(path("tmp/1.linked"), path("new/1.linked")).unwrap();
    assert_eq!(next(&mut source).await.messages[0].body.as_ref(), b"linked");
    fs::remove_file(path("tmp/1.linked")).unwrap();

    fs::write(path("tmp/2.renamed"), "renamed").unwrap();
    fs::rename(path("tmp/2.renamed"), path("cur/2.renamed:2,S")).unwrap();
    assert_eq!(next(&mut source).await.messages[0].body.as_ref(), b"renamed");

    let mut copy = fs::File::create(path("new/3.copied")).unwrap();
    copy.write_all(b"half").unwrap();
    timeout(LIMIT, source.wait()).await.expect("it is there").unwrap();
    assert!(source.fetch().await.unwrap().messages.is_empty(), "and still being written");
    copy.write_all(b" and half").unwrap();
    drop(copy);
    assert_eq!(next(&mut source).await.messages[0].body.as_ref(), b"half and half");
}

#[tokio::test]
async fn a_link_right_after_the_write_is_a_delivery_although_its_time_does_not_tell() {
    let dir = maildir();
    let mut source = opened(&dir, "poll = '1h'").await;
    assert!(source.fetch().await.unwrap().messages.is_empty());
    // As memory and fast disks do it: written, linked and unlinked within one tick of the clock.
    let mut expected: HashSet<String> = (0..20).map(|n| format!("{n}.linked")).collect();
    for name in &expected {
        let (tmp, new) = (dir.path().join("tmp").join(name), dir.path().join("new").join(name));
        fs::write(&tmp, name).unwrap();
        fs::hard_link(&tmp, new).unwrap();
        fs::remove_file(&tmp).unwrap();
    }
    while !expected.is_empty() {
        for key in keys(&next(&mut source).await) {
            assert!(expected.remove(key), "each comes once");
        }
    }
}

#[tokio::test]
async fn what_another_program_renames_before_it_is_settled_is_settled_under_its_new_name() {
    let dir = maildir();
    let one = deliver(dir.path(), "one");
    let mut source = opened(&dir, "poll = '1h'").await;
    let batch = source.fetch().await.unwrap();
    fs::rename(dir.path().join("new").join(&one), dir.path().join("cur").join(format!("{one}:2,F"))).unwrap();
    assert!(source.fetch().await.unwrap().messages.is_empty(), "it is the same");
    assert!(source.settle(&processed(&batch)).await.unwrap().is_empty());
    assert_eq!(names(&dir, ".Processed/cur"), [format!("{one}:2,F")]);
}

#[tokio::test]
async fn a_watch_that_lost_something_lists_everything() {
    let dir = maildir();
    let mut source = opened(&dir, "poll = '1h'").await;
    assert!(source.fetch().await.unwrap().messages.is_empty());
    let Ok(most) = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events") else { return };
    fs::write(dir.path().join("new/1.busy"), "busy").unwrap();
    let places = ["cur/1.busy", "new/1.busy"].map(|place| dir.path().join(place));
    for n in 0..most.trim().parse().unwrap() {
        fs::rename(&places[(n + 1) % 2], &places[n % 2]).unwrap();
    }
    let name = deliver(dir.path(), "one");
    let batch = source.fetch().await.unwrap();
    assert_eq!(keys(&batch), ["1.busy", &name]);
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let dir = maildir();
    let mut source = opened(&dir, "poll = '1h'").await;
    assert!(source.fetch().await.unwrap().messages.is_empty());
    for turn in ["first", "second"] {
        fs::rename(dir.path().join("new"), dir.path().join(turn)).unwrap();
        fs::create_dir(dir.path().join("new")).unwrap();
        for _ in 0..2 {
            let name = deliver(dir.path(), turn);
            assert_eq!(keys(&next(&mut source).await), [&name]);
        }
    }
}

#[tokio::test]
async fn the_records_are_asked_only_after_what_lies_there_and_then_after_what_is_new() {
    let dir = maildir();
    let old = dir.path().join("cur");
    (0..2_345).for_each(|n| fs::write(old.join(format!("{n}.old:2,S")), "old").unwrap());
    let asked: &Mutex<Vec<usize>> = Box::leak(Box::default());
    let unrecorded = Unrecorded::told_by(move |mut places| {
        asked.lock().unwrap().push(places.len());
        places.retain(|place| !place.as_str().contains(".old/"));
        Box::pin(std::future::ready(Ok(places)))
    });
    let mut source = source(&dir, "poll = '1h'\nafter = 'leave'");
    source.open(Resume { unrecorded, ..Resume::default() }).await.unwrap();
    assert!(source.fetch().await.unwrap().messages.is_empty());
    assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), [1_000, 1_000, 345]);
    for _ in 0..3 {
        let name = deliver(dir.path(), "new");
        assert_eq!(keys(&next(&mut source).await), [&name]);
    }
    assert_eq!(*asked.lock().unwrap(), [1, 1, 1]);
}

#[tokio::test]
async fn records_that_can_not_be_asked_now_are_asked_again() {
    let dir = maildir();
    deliver(dir.path(), "one");
    let mut source = source(&dir, "");
    let unrecorded = Unrecorded::told_by(|_| Box::pin(std::future::ready(Err("locked".to_owned()))));
    source.open(Resume { unrecorded, ..Resume::default() }).await.unwrap();
    assert!(matches!(source.fetch().await, Err(SourceError::Lost(why)) if why == "locked"));
}
