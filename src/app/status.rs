//! How each configured mailbox fares, and whether that is well.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::StatVfsMountFlags;
use serde::Serialize;

use super::{
    ShownAlarm,
    beside::{Untold, untold},
};
use crate::{
    clock::Moment,
    codes::words,
    config::Config,
    files::directory_of,
    follower::{Followers, Trouble},
    message::Place,
    report::Trust,
    store::{
        HandedOverTotal, MailboxDaemons, MailboxStatus, PendingAnswer, PendingMessage, ShownDaemon, Store, StoreError,
    },
    text::grouped,
};

/// A fault that has lasted so long, in seconds, no longer looks like a passing one.
const LASTING: i64 = 3600;

/// A mailbox that failed so often in a row is in trouble, however recently it was read before.
const MOST_FAILURES: i64 = 5;

/// What a server refused so often in a row is no passing fault of its own.
const MOST_REFUSALS: i64 = 3;

/// A daemon that was not heard of for so many seconds is gone, or does nothing.
const LONGEST_SILENCE: u64 = 60;

/// New messages may be recorded so many seconds after their arrival before that counts as lagging behind.
const MOST_LAG: i64 = 24 * 3600;

/// Whoever recorded his last message longer ago than so many seconds has caught up.
const STILL_READING: i64 = 300;

/// How one mailbox fares.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MailboxHealth {
    /// Whether nothing is wrong with it.
    pub healthy: bool,
    /// What is wrong, for people; a word each for programs.
    pub wrong: Vec<Wrong>,
    /// How many seconds ago it was last read successfully; `None` when it never was, or nobody can tell.
    pub age: Option<u64>,
    /// What is being done with it.
    pub state: MailboxState,
    /// The daemon that reads it, if one does.
    pub reader: Option<ShownDaemon>,
    /// Daemons that wait to take over, longest first.
    pub standby: Vec<ShownDaemon>,
    /// What the store knows of it.
    #[serde(flatten)]
    pub status: MailboxStatus,
    /// Its messages that could not be read yet.
    pub waiting: Vec<PendingMessage>,
}

words! {
    /// What is being done with a mailbox.
    MailboxState {
        /// A daemon reads it.
        Reading = "reading",
        /// The last attempt failed, and the next one comes.
        Retrying = "retrying",
        /// It refuses, and only a person can mend that: a password, a certificate, a folder. It is asked again all the same.
        NeedsPerson = "needs_person",
        /// No daemon reads it.
        Unread = "unread",
    }
}

words! {
    /// What can be wrong with a mailbox.
    Wrong {
        /// It was not read successfully for longer than allowed.
        Stale = "stale",
        /// It failed several times in a row, or so that the database could not be told.
        Failing = "failing",
        /// It refuses again and again, and only a person can mend that.
        NeedsPerson = "needs_person",
        /// What arrives is recorded long after.
        Lagging = "lagging",
        /// A message can't be read for long, and nobody has said that he knows.
        Pending = "pending",
        /// The process died over a message more than once, and nobody has said that he knows.
        SetAside = "set_aside",
        /// Recorded messages can't be moved or flagged for long.
        Unsettled = "unsettled",
    }
}

/// Nothing can be written to the disk of a directory: it is full, or about to be, or mounted so that it is only read.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct UnwritableDisk {
    /// The directory.
    pub disk: PathBuf,
    /// What it means, and what to do.
    pub failure: String,
}

words! {
    /// What can be wrong with those who asked to be forgotten.
    Forgetting {
        /// Nobody can tell who they are: the daemon does not start.
        Key = "key",
        /// A `forget` was killed, or has not come to its end yet.
        Unfinished = "unfinished",
    }
}

/// Not everybody is forgotten as he asked.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Unforgotten {
    /// What is wrong.
    pub forget: Forgetting,
    /// What it means, and what to do.
    pub failure: String,
}

/// How an installation fares.
#[derive(Debug)]
pub struct Status {
    /// Every configured mailbox, in the order of the configuration.
    pub mailboxes: Vec<MailboxHealth>,
    /// What commands were handed: nobody waits for more of it.
    pub handed_over: Vec<HandedOverTotal>,
    /// The published lists that do not follow the database.
    pub troubles: Vec<Trouble>,
    /// The directories of the database and the lists that have no room left, or can't be written.
    pub unwritable: Vec<UnwritableDisk>,
    /// What is wrong with those who asked to be forgotten.
    pub unforgotten: Vec<Unforgotten>,
    /// How many addresses wait for a person.
    pub held: u64,
    /// The mailboxes where anybody is believed who can write to them, and the names of what was handed over likewise.
    pub believed: Vec<String>,
    /// The alarms that last.
    pub alarms: Vec<ShownAlarm>,
}

/// How the installation fares `now`; a mailbox that was last read successfully longer than `max_age` ago is stale.
///
/// # Errors
/// See [`StoreError`]; a store that was never made is one.
pub async fn status(config: &Config, max_age: Duration, now: Moment) -> Result<Status, StoreError> {
    let store = Store::open_to_read(&config.database.path).await?;
    let (known, waiting, held) = (store.status().await?, store.pending().await?, store.held_count().await?);
    let daemons = store.daemons().await?;
    let troubles = Followers::configured(config).troubles(&store, now.wall).await?;
    let unforgotten = unforgotten(&store).await;
    // A mailbox that was just configured may have the name of what was handed over.
    let is_configured = |name: &str| config.mailboxes().iter().any(|mailbox| mailbox.name == name);
    let mut handed_over = store.handed_over().await?;
    handed_over.retain(|one| !is_configured(&one.mailbox) && !config.mail_log.contains_key(&one.mailbox));
    let believed = believed_by_anybody(config, &store, &handed_over).await?;
    let alarms = store.alarms(i64::MAX).await?.into_iter().map(ShownAlarm::from).collect();
    store.close().await;
    // A mail log fares as a mailbox does, and has none of its faults but that it can't be read.
    let names = config.mailboxes().into_iter().map(|mailbox| mailbox.name);
    let names = names.chain(config.mail_log.keys().map(String::as_str));
    let unwritable = unwritable_disks(config, room);
    let untold = untold(&config.database.path);
    let has_lease = |name: &str| config.mail_log.get(name).is_none_or(|log| !log.stdin);
    let names = names.map(|name| (name, has_lease(name)));
    let mailboxes = health(names, known, &untold, &waiting, daemons, max_age, now);
    Ok(Status { mailboxes, handed_over, troubles, unwritable, unforgotten: unforgotten?, held, believed, alarms })
}

async fn unforgotten(store: &Store) -> Result<Vec<Unforgotten>, StoreError> {
    let key =
        store.check_key().await.err().map(|error| Unforgotten { forget: Forgetting::Key, failure: error.to_string() });
    let begun = store.begun_to_forget().await?.len() as u64;
    let unfinished = (begun > 0).then(|| Unforgotten {
        forget: Forgetting::Unfinished,
        failure: format!(
            "{} not forgotten to the end; unless `bounced forget` is running, `bounced forget --finish` does what is left",
            if begun == 1 { "1 address is".to_owned() } else { format!("{} addresses are", grouped(begun)) }
        ),
    });
    Ok(key.into_iter().chain(unfinished).collect())
}

/// What a mailbox lacks where anybody is believed, and what to do.
pub const HOW_TO_DOUBT: &str = "whoever can write to it can take anybody off your lists: sign envelope senders ([verp]) or \
                                tell what you send (bounced sent import); docs/trust.md";

/// The mailboxes where anybody is believed who can write to them, and the names of what was handed over likewise.
///
/// # Errors
/// See [`StoreError`].
pub async fn believed_by_anybody(
    config: &Config,
    store: &Store,
    handed_over: &[HandedOverTotal],
) -> Result<Vec<String>, StoreError> {
    let mut demands = config.demands();
    demands.vouching_since = store.vouching_since().await?;
    let names = config.mailboxes().into_iter().map(|mailbox| mailbox.name);
    let names = names.chain(handed_over.iter().map(|one| one.mailbox.as_str()));
    Ok(names.filter(|name| demands.of(name) == Trust::Unverified).map(str::to_owned).collect())
}

/// So much room, in octets, the database may take for itself before it hands it back: 4,000 pages of its log.
const ENOUGH_ROOM: u64 = 16 << 20;

/// What a disk that is full prevents can't be noted in the database: it is looked for.
fn unwritable_disks(config: &Config, room: impl Fn(&Path) -> Option<Room>) -> Vec<UnwritableDisk> {
    let followers = Followers::configured(config);
    let files = followers.files().into_iter().map(|list| list.path).chain([config.database.path.as_path()]);
    let directories: BTreeSet<PathBuf> = files.map(|file| directory_of(file).to_owned()).collect();
    let unwritable = directories.into_iter().filter_map(|disk| {
        let shown = disk.display();
        let failure = match room(&disk)? {
            Room::Left(ENOUGH_ROOM..) => return None,
            Room::Left(left) => format!(
                "the disk of {shown} has {} KiB left: bounces are recorded and published only when there is room; \
                 free some space",
                grouped(left / 1024)
            ),
            Room::ReadOnly => format!(
                "the disk of {shown} is mounted read-only: nothing is recorded or published; find out why (a fault of \
                 the disk, perhaps) and mount it to be written"
            ),
        };
        Some(UnwritableDisk { disk, failure })
    });
    unwritable.collect()
}

/// What may be written to a disk.
#[derive(Debug, Clone, Copy)]
enum Room {
    /// So many octets.
    Left(u64),
    ReadOnly,
}

/// What a user may still write to the disk of a directory; `None` where nobody can tell.
fn room(directory: &Path) -> Option<Room> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(Room::ReadOnly);
    }
    // Not every file system counts files.
    let has_files = disk.f_files == 0 || disk.f_favail > 0;
    Some(Room::Left(if has_files { disk.f_bavail.saturating_mul(disk.f_frsize) } else { 0 }))
}

/// A person's word about messages that could not be read: all, those of a mailbox, or one. Says how many they are.
///
/// # Errors
/// See [`StoreError`]; a store that was never made is one.
pub async fn answer_pending(
    config: &Config,
    mailbox: Option<&str>,
    place: Option<&Place>,
    answer: PendingAnswer,
) -> Result<u64, StoreError> {
    let store = Store::open_existing(&config.database.path).await?;
    let answered = store.answer_pending(mailbox, place, answer).await?;
    store.close().await;
    Ok(answered)
}

/// Of mailboxes with whether whoever reads them needs a lease. Those that are no longer configured are nobody's worry; those
/// never tried are.
fn health<'a>(
    mailboxes: impl Iterator<Item = (&'a str, bool)>,
    mut known: Vec<MailboxStatus>,
    untold: &[Untold],
    waiting: &[PendingMessage],
    mut daemons: Vec<MailboxDaemons>,
    max_age: Duration,
    now: Moment,
) -> Vec<MailboxHealth> {
    mailboxes
        .map(|(name, has_lease)| {
            let found = known.iter().position(|status| status.mailbox == name).map(|at| known.swap_remove(at));
            let mut status = found.unwrap_or_else(|| MailboxStatus::never_tried(name));
            let untold = untold.iter().find(|untold| untold.mailbox == name);
            if let Some(Untold { at, failures, why, .. }) = untold {
                status.failures += failures;
                (status.failed_at, status.failure) = (Some(*at), Some(why.clone()));
            }
            let age = status.read().and_then(|read| read.age(now));
            let wrong = wrong(&status, untold.is_some(), age, max_age, now.wall);
            let waiting = waiting.iter().filter(|one| one.mailbox == name).cloned().collect();
            let found = daemons.iter().position(|one| one.mailbox == name).map(|at| daemons.swap_remove(at));
            let (reader, mut standby) = found.map_or((None, Vec::new()), |found| (found.reader, found.standby));
            let is_there = |daemon: &ShownDaemon| is_there(daemon, now);
            let reader = reader.filter(is_there);
            standby.retain(is_there);
            // Standard input has one reader in any case, and no lease.
            let is_read = reader.is_some() || (!has_lease && age.is_some_and(|age| age <= LONGEST_SILENCE));
            if !is_read {
                // Whoever meant to try then is gone.
                status.next_try = None;
            }
            let state = match &status {
                _ if !is_read => MailboxState::Unread,
                MailboxStatus { failure: Some(_), needs_person: true, .. } => MailboxState::NeedsPerson,
                MailboxStatus { next_try: Some(_), .. } => MailboxState::Retrying,
                _ => MailboxState::Reading,
            };
            MailboxHealth { healthy: wrong.is_empty(), wrong, age, state, reader, standby, status, waiting }
        })
        .collect()
}

/// Whether a daemon was heard of lately.
pub(super) fn is_there(daemon: &ShownDaemon, now: Moment) -> bool {
    daemon.seen().age(now).is_some_and(|age| age <= LONGEST_SILENCE)
}

fn wrong(status: &MailboxStatus, is_untold: bool, age: Option<u64>, max_age: Duration, now: i64) -> Vec<Wrong> {
    let lasts = |since: Option<i64>| since.is_some_and(|since| now - since >= LASTING);
    // Where the first start finds a full mailbox, nobody was late.
    let lags = |recorded: i64| {
        let lag = status.lag.unwrap_or(0);
        now - recorded < STILL_READING && lag > MOST_LAG && status.begun.is_none_or(|begun| recorded - lag >= begun)
    };
    let all = [
        (age.is_none_or(|age| age > max_age.as_secs()), Wrong::Stale),
        (status.failures >= MOST_FAILURES || is_untold, Wrong::Failing),
        (status.needs_person && status.failures >= MOST_REFUSALS, Wrong::NeedsPerson),
        (status.recorded.is_some_and(lags), Wrong::Lagging),
        (lasts(status.pending_since), Wrong::Pending),
        (status.set_aside > 0, Wrong::SetAside),
        (lasts(status.unsettled_since), Wrong::Unsettled),
    ];
    all.into_iter().filter_map(|(is, wrong)| is.then_some(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn read(mailbox: &str, ago: i64) -> MailboxStatus {
        let read_uptime = Some(500_000 - ago);
        MailboxStatus { read_at: Some(NOW - ago), read_uptime, ..MailboxStatus::never_tried(mailbox) }
    }

    #[test]
    fn whatever_is_wrong_for_long_is_told() {
        let ok = || read("box", 900);
        let cases = [
            (ok(), &[][..]),
            (read("box", 901), &[Wrong::Stale]),
            (MailboxStatus::never_tried("box"), &[Wrong::Stale]),
            // The clock was set back since.
            (MailboxStatus { read_at: Some(NOW + 5_000), ..ok() }, &[]),
            (MailboxStatus { read_at: Some(NOW + 5_000), ..read("box", 901) }, &[Wrong::Stale]),
            (MailboxStatus { failures: 4, failure: Some("no".into()), ..ok() }, &[]),
            (MailboxStatus { failures: 5, failure: Some("no".into()), ..ok() }, &[Wrong::Failing]),
            (MailboxStatus { pending_since: Some(NOW - 3_599), unsettled_since: Some(NOW - 3_599), ..ok() }, &[]),
            (
                MailboxStatus { pending_since: Some(NOW - 3_600), unsettled_since: Some(NOW - 3_600), ..ok() },
                &[Wrong::Pending, Wrong::Unsettled],
            ),
            (MailboxStatus { failures: 2, needs_person: true, ..ok() }, &[]),
            (MailboxStatus { failures: 3, needs_person: true, ..ok() }, &[Wrong::NeedsPerson]),
            (MailboxStatus { set_aside: 1, ..ok() }, &[Wrong::SetAside]),
            (MailboxStatus { recorded: Some(NOW - 299), lag: Some(86_401), ..ok() }, &[Wrong::Lagging]),
            (MailboxStatus { recorded: Some(NOW - 299), lag: Some(86_400), ..ok() }, &[]),
            (
                MailboxStatus { recorded: Some(NOW), lag: Some(86_401), begun: Some(NOW - 86_401), ..ok() },
                &[Wrong::Lagging],
            ),
            // It lay there before there was anybody to read it.
            (MailboxStatus { recorded: Some(NOW), lag: Some(86_401), begun: Some(NOW - 86_400), ..ok() }, &[]),
            (MailboxStatus { recorded: Some(NOW - 300), lag: Some(86_401), ..ok() }, &[]),
        ];
        let now = Moment { wall: NOW, uptime: 500_000 };
        for (status, expected) in cases {
            let found = health(
                [("box", true)].into_iter(),
                vec![status.clone()],
                &[],
                &[],
                Vec::new(),
                Duration::from_secs(900),
                now,
            );
            assert_eq!((&found[0].wrong[..], found[0].healthy), (expected, expected.is_empty()), "{status:?}");
        }
    }

    #[test]
    fn the_state_says_whether_a_daemon_reads_it_and_what_it_waits_for() {
        let now = Moment { wall: NOW, uptime: 500_000 };
        let daemon = |silent: i64| ShownDaemon {
            daemon: "mx1, process 7".into(),
            seen_at: NOW - silent,
            seen_uptime: 500_000 - silent,
        };
        let of = |has_lease, reader: Option<i64>, standby: &[i64], status: MailboxStatus| {
            let standby = standby.iter().map(|silent| daemon(*silent)).collect();
            let daemons = MailboxDaemons { mailbox: "box".into(), reader: reader.map(daemon), standby };
            let names = [("box", has_lease)].into_iter();
            let mut all = health(names, vec![status], &[], &[], vec![daemons], Duration::from_secs(900), now);
            let one = all.remove(0);
            (one.state, one.reader.is_some(), one.standby.len())
        };
        let failed = |next_try, needs_person| MailboxStatus {
            failure: Some("no".into()),
            failures: 1,
            next_try,
            needs_person,
            ..read("box", 300)
        };
        for (has_lease, reader, standby, status, expected) in [
            (true, Some(60), &[0, 60, 61][..], read("box", 300), (MailboxState::Reading, true, 2)),
            (true, Some(61), &[], read("box", 3), (MailboxState::Unread, false, 0)),
            (false, None, &[], read("box", 61), (MailboxState::Unread, false, 0)),
            (false, None, &[], read("box", 3), (MailboxState::Reading, false, 0)),
            // It was given back.
            (true, None, &[], read("box", 3), (MailboxState::Unread, false, 0)),
            (true, Some(0), &[], failed(Some(NOW + 5), false), (MailboxState::Retrying, true, 0)),
            (true, Some(0), &[], failed(Some(NOW + 5), true), (MailboxState::NeedsPerson, true, 0)),
            // A complaint, and reading goes on.
            (true, Some(0), &[], failed(None, false), (MailboxState::Reading, true, 0)),
        ] {
            assert_eq!(
                of(has_lease, reader, standby, status.clone()),
                expected,
                "{has_lease} {reader:?} {standby:?} {status:?}"
            );
        }
    }

    #[test]
    fn what_the_database_could_not_be_told_is_wrong_at_once() {
        let untold =
            |mailbox: &str| Untold { mailbox: mailbox.to_owned(), at: NOW, failures: 1, why: "no room".into() };
        let now = Moment { wall: NOW, uptime: 500_000 };
        let names = ["box", "new", "fine"].map(|name| (name, true)).into_iter();
        let known = vec![MailboxStatus { failures: 1, ..read("box", 3) }, read("fine", 3)];
        let found =
            health(names, known, &[untold("box"), untold("new")], &[], Vec::new(), Duration::from_secs(900), now);
        let told = |at: usize| (found[at].status.failures, found[at].status.failure.as_deref(), &found[at].wrong[..]);
        assert_eq!(told(0), (2, Some("no room"), &[Wrong::Failing][..]));
        assert_eq!(told(1), (1, Some("no room"), &[Wrong::Stale, Wrong::Failing][..]));
        assert_eq!(told(2), (0, None, &[][..]));
    }

    #[test]
    fn a_disk_without_room_is_told_once_for_each_directory() {
        let mut config = Config::default();
        config.database.path = "/data/bounced.db".into();
        config.suppressions.path = "/lists/suppressions.db".into();
        let with = |left: Option<Room>| {
            let elsewhere = Some(Room::Left(1 << 30));
            let full = unwritable_disks(&config, |disk| if disk == Path::new("/data") { left } else { elsewhere });
            full.into_iter().map(|full| full.disk.display().to_string()).collect::<Vec<_>>()
        };
        for bad in [Room::Left((16 << 20) - 1), Room::Left(0), Room::ReadOnly] {
            assert_eq!(with(Some(bad)), ["/data"], "{bad:?}");
        }
        assert!(with(Some(Room::Left(16 << 20))).is_empty() && with(None).is_empty());
        let all = unwritable_disks(&config, |_| Some(Room::Left(0)));
        assert_eq!(all.len(), 2, "two lists in one directory are told once");
    }

    #[test]
    fn only_what_is_configured_is_asked_after() {
        let waiting = |mailbox: &str| PendingMessage {
            mailbox: mailbox.to_owned(),
            place: "7:1".to_owned(),
            first_failed: 0,
            tries: 1,
            next_try: 0,
            why: "no".to_owned(),
            acknowledged: false,
        };
        let (known, now) = (vec![read("gone", 0), read("fresh", 0)], Moment { wall: NOW, uptime: 500_000 });
        let waiting = [waiting("gone"), waiting("fresh")];
        let names = ["fresh", "new"].map(|name| (name, true)).into_iter();
        let found = health(names, known, &[], &waiting, Vec::new(), Duration::from_secs(900), now);
        let found: Vec<_> = found.iter().map(|m| (m.status.mailbox.as_str(), m.healthy, m.waiting.len())).collect();
        assert_eq!(found, [("fresh", true, 1), ("new", false, 0)]);
    }
}
