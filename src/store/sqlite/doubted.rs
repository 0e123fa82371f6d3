//! The table `doubted`: what nobody vouched for when it was read, and what becomes of it once it is known that we sent the
//! message of which it speaks, to nobody else. What is decided then is what a commit decides, of a mail that is read late.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use data_encoding::HEXLOWER;
use sqlx::{FromRow, SqliteConnection};

use super::{
    SqliteStore, brake,
    commit::{Column, histories, known_failures, outdo},
    events, json, list, parsed,
    reclassify::{StoredBounce, brought_by, stored_bounces},
    sent::{alone, in_queue, vouching},
};
use crate::{
    codes::Class,
    policy::{Case, Policy, brake::hour_of},
    report::{Action, Address, Recipient, Trust, Verdict},
    store::{
        Committed, EventKind, Raised, StoreError,
        failures::Telling,
        list_changes::List,
        plan::{DAEMON, NewBounce, NewSign, Plan},
        sent::{CLOCKS, Salt, Vouching},
    },
    suppression::Sign,
};

/// How many rows are asked about in one transaction.
const AT_ONCE: u32 = 500;

/// Stands with each change of the list that comes of it.
const NOTE: &str = "known by now: we sent the message, and to nobody else";

/// The kinds of rows that are no sign of life.
const BOUNCE: &str = "bounce";
const COMPLAINT: &str = "complaint";

/// What may be asked about now: its message is known, and has left the mail server.
macro_rules! due {
    ($what:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM doubted AS d WHERE d.due <= ?1 AND NOT ",
            in_queue!("d.message_id"),
            " ORDER BY d.due LIMIT ?2"
        )
    };
}

/// A row of `doubted`.
#[derive(Debug, FromRow)]
struct Doubted {
    message_id: String,
    recipient: Vec<u8>,
    kind: String,
    row: i64,
    address: Option<String>,
    at: i64,
}

/// What becomes one: Message-ID, hashes of the message and of the recipient, kind, row, address and time.
type NewDoubted<'a> = (&'a str, [String; 2], &'a str, i64, Option<&'a str>, i64);

/// Keeps what of a commit nobody vouches for as far as the sent log may. What it tells of already is asked about as soon as
/// the message has left the mail server: no line tells of it again.
pub(super) async fn note(tx: &mut SqliteConnection, plan: &Plan<'_>, salt: &Salt) -> Result<(), sqlx::Error> {
    let mut rows: Vec<NewDoubted<'_>> = Vec::new();
    for NewBounce { id, judged, recipient, trust, .. } in &plan.bounces {
        if let (Some(message_id), Some(address)) = (&judged.report.original.message_id, &recipient.address)
            && *trust < Trust::Matched
        {
            rows.push((message_id, hashes(salt, message_id, address), BOUNCE, *id, None, judged.received));
        }
    }
    for new in plan.complaints.iter().filter(|new| new.trust < Trust::Matched) {
        if let Some(message_id) = &new.judged.report.original.message_id {
            let hashes = hashes(salt, message_id, &new.complainer.value);
            rows.push((message_id, hashes, COMPLAINT, new.id, None, new.judged.received));
        }
    }
    for (sign, judged) in &plan.doubted {
        let author = judged.report.author.as_ref().map(|author| &author.value);
        if let (Some(message_id), Some(author), Some(message)) =
            (&judged.report.provenance.in_reply_to, author, sign.message)
            && matches!(sign.sign, Sign::AutoReply | Sign::OwnMail)
        {
            let hashes = hashes(salt, message_id, author);
            rows.push((message_id, hashes, sign.sign.as_str(), message, Some(sign.address), sign.at));
        }
    }
    insert(tx, &rows, None).await
}

/// The hashes of a message and of its recipient, as `sent` has them.
fn hashes(salt: &Salt, message_id: &str, recipient: &Address) -> [String; 2] {
    [salt.message(message_id), salt.recipient(message_id, recipient)].map(|hash| HEXLOWER.encode(&hash))
}

/// They are asked about from `due` on; without that, at once where the message is known to have been sent to the recipient.
async fn insert(tx: &mut SqliteConnection, rows: &[NewDoubted<'_>], due: Option<i64>) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO doubted (message_id, recipient, kind, row, address, at, due)
         SELECT j.value ->> 0, unhex(j.value ->> '$[1][1]'), j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5,
                coalesce(?2, (SELECT j.value ->> 5 FROM sent AS s
                              WHERE s.message = unhex(j.value ->> '$[1][0]')
                                AND s.recipient = unhex(j.value ->> '$[1][1]')))
         FROM json_each(?1) AS j WHERE true
         ON CONFLICT (message_id, recipient, kind, row) DO UPDATE SET due = excluded.due",
    )
    .bind(json(&rows)?)
    .bind(due)
    .execute(tx)
    .await
    .map(drop)
}

/// These messages, each with the hash of a recipient, are known to have been sent: what speaks of them is asked about from
/// `due` on.
pub(super) async fn ask_from(tx: &mut SqliteConnection, pairs: &[(&str, String)], due: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE doubted SET due = min(coalesce(due, ?2), ?2)
         WHERE (message_id, recipient) IN (SELECT value ->> 0, unhex(value ->> 1) FROM json_each(?1))",
    )
    .bind(json(&pairs)?)
    .bind(due)
    .execute(tx)
    .await
    .map(drop)
}

impl SqliteStore {
    pub(in crate::store) async fn raise_due(&self, policy: &Policy, now: i64) -> Result<Option<Raised>, StoreError> {
        if !self.is_any_due(now).await? {
            return Ok(None);
        }
        let raised = async {
            let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            let raised = raise_some(&mut tx, policy, now).await?;
            tx.commit().await?;
            Ok(raised)
        };
        raised.await.map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn is_any_due(&self, now: i64) -> Result<bool, StoreError> {
        let any: Result<Option<i64>, _> =
            sqlx::query_scalar(due!("1")).bind(now).bind(1).fetch_optional(&self.readers).await;
        any.map(|any| any.is_some()).map_err(|error| self.error(error))
    }

    pub(in crate::store) async fn ask_again(&self, since: i64, now: i64) -> Result<(), StoreError> {
        self.doubt_again(since, now).await.map_err(|error| self.error(error))
    }

    /// What matches a message that was sent by now, whatever this table says of it: earlier versions kept nothing in it.
    async fn doubt_again(&self, since: i64, now: i64) -> Result<(), sqlx::Error> {
        let Some(Vouching { salt, .. }) = vouching(&self.readers).await? else { return Ok(()) };
        let first: Option<i64> = sqlx::query_scalar("SELECT min(at) FROM sent").fetch_one(&self.readers).await?;
        let Some(first) = first else { return Ok(()) };
        for (kind, select) in [
            (
                BOUNCE,
                "SELECT b.at, b.id, b.address, b.original_message_id FROM bounce AS b
                 WHERE (b.at, b.id) > (?1, ?2) AND b.trust IN ('unverified', 'local') AND b.address IS NOT NULL
                   AND b.original_message_id IS NOT NULL ORDER BY b.at, b.id LIMIT ?3",
            ),
            (
                COMPLAINT,
                "SELECT c.at, c.id, c.address, c.original_message_id FROM complaint AS c
                 WHERE (c.at, c.id) > (?1, ?2) AND c.trust IN ('unverified', 'local')
                   AND c.original_message_id IS NOT NULL ORDER BY c.at, c.id LIMIT ?3",
            ),
        ] {
            let mut behind = (since.max(first - CLOCKS), 0);
            loop {
                let rows: Vec<(i64, i64, String, String)> =
                    sqlx::query_as(select).bind(behind.0).bind(behind.1).bind(AT_ONCE).fetch_all(&self.readers).await?;
                let Some(&(at, id, ..)) = rows.last() else { break };
                behind = (at, id);
                let ids: BTreeSet<&str> = rows.iter().map(|(_, _, _, message_id)| message_id.as_str()).collect();
                let ids: Vec<&str> = ids.into_iter().collect();
                let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
                let alone = alone(&mut tx, &ids, &salt).await?;
                let found = rows.iter().filter_map(|(at, id, address, message_id)| {
                    let address = Address::parse(address)?;
                    let is_his = alone.get(message_id)?.vouches(&salt.recipient(message_id, &address), *at);
                    is_his.then(|| (message_id.as_str(), hashes(&salt, message_id, &address), kind, *id, None, *at))
                });
                insert(&mut tx, &found.collect::<Vec<_>>(), Some(now)).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }
}

/// A bounce that is believed now.
struct Believed {
    row: StoredBounce,
    recipient: Recipient,
    verdict: Verdict,
    /// Whether the policy lets it count.
    counts: bool,
    told_before: bool,
    /// Whether something may come of it that did not when it was recorded.
    is_news: bool,
}

/// A complaint that is believed now.
struct Complained {
    id: i64,
    message: i64,
    at: i64,
    address: Address,
    mailbox: String,
}

/// A sign of life that is believed now.
struct Lives {
    message: i64,
    at: i64,
    address: Address,
    sign: Sign,
    mailbox: String,
}

/// What is learned of an address, by the message that said it.
enum Learned<'a> {
    Case { case: Case<'a>, remote: Option<String> },
    Sign(&'a Address, NewSign<'a>),
}

/// `None` where nothing can be known of what we send: what is due stays, and whoever asks on would ask for ever.
async fn raise_some(tx: &mut SqliteConnection, policy: &Policy, now: i64) -> Result<Option<Raised>, sqlx::Error> {
    let Some(Vouching { since, salt }) = vouching(&mut *tx).await? else { return Ok(None) };
    let policy = &*policy.vouching_since(Some(since));
    let due: Vec<Doubted> = sqlx::query_as(due!("d.message_id, d.recipient, d.kind, d.row, d.address, d.at"))
        .bind(now)
        .bind(AT_ONCE)
        .fetch_all(&mut *tx)
        .await?;
    let keys: Vec<_> = due.iter().map(|d| (&d.message_id, HEXLOWER.encode(&d.recipient), &d.kind, d.row)).collect();
    sqlx::query(
        "DELETE FROM doubted WHERE (message_id, recipient, kind, row) IN
         (SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3 FROM json_each(?1))",
    )
    .bind(json(&keys)?)
    .execute(&mut *tx)
    .await?;
    let ids: BTreeSet<&str> = due.iter().map(|doubted| doubted.message_id.as_str()).collect();
    let alone = alone(tx, &ids.into_iter().collect::<Vec<_>>(), &salt).await?;
    let is_his = |d: &Doubted| alone.get(&d.message_id).is_some_and(|sent| sent.vouches(&d.recipient, d.at));
    let ours: Vec<&Doubted> = due.iter().filter(|d| is_his(d)).collect();
    let rows_of = |kind: &str| ours.iter().filter(|d| d.kind == kind).map(|d| d.row).collect::<Vec<_>>();
    let bounces = believe_bounces(tx, &rows_of(BOUNCE), policy).await?;
    let complaints = believe_complaints(tx, &rows_of(COMPLAINT)).await?;
    let signs = signs(tx, &ours).await?;
    let count = (bounces.len() + complaints.len() + signs.len()) as u64;
    let changes = learn(tx, policy, &bounces, &complaints, &signs).await?;
    Ok(Some(Raised { count, changes }))
}

/// Raises bounces, and says of each failure again which report of it counts.
async fn believe_bounces(
    tx: &mut SqliteConnection,
    ids: &[i64],
    policy: &Policy,
) -> Result<Vec<Believed>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<StoredBounce> = sqlx::query_as(stored_bounces!(
        "FROM json_each(?1) AS i JOIN bounce AS b ON b.id = i.value JOIN message AS m ON m.id = b.message
         WHERE b.trust IN ('unverified', 'local') ORDER BY b.id"
    ))
    .bind(json(&ids)?)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE bounce SET trust = 'matched'
         WHERE id IN (SELECT value FROM json_each(?1)) AND trust IN ('unverified', 'local')",
    )
    .bind(json(&ids)?)
    .execute(&mut *tx)
    .await?;
    let failure_of = |row: &StoredBounce| {
        let failed = row.action == Action::Failed.as_str();
        row.address.clone().zip(row.original_message_id.clone()).filter(|_| failed)
    };
    let pairs: BTreeSet<(String, String)> = rows.iter().filter_map(failure_of).collect();
    let pairs = pairs.iter().map(|(address, id)| (address.as_str(), id.as_str())).collect();
    let mut failures = known_failures(tx, &pairs, policy, &ids.iter().copied().collect()).await?;
    let mut believed: Vec<Believed> = Vec::new();
    let mut outdone: HashSet<i64> = HashSet::new();
    for row in rows {
        let before: Trust = parsed(&row.trust)?;
        let meets = |trust| policy.demands.are_met(Some(&row.mailbox), row.at, trust);
        let (recipient, verdict) = row.as_recorded()?;
        let case = Case::of_bounce(&row.mailbox, row.at, row.id, &recipient, &verdict, Trust::Matched);
        let counts = case.is_some_and(|case| policy.counts(&case));
        let is_believed = meets(Trust::Matched);
        let telling = Telling { bounce: row.id, class: verdict.class, counts, is_believed };
        let told = failure_of(&row).filter(|_| !row.told_before).map(|failure| failures.tell(failure, telling));
        let told_before = row.told_before || told == Some(None);
        outdone.extend(told.flatten().into_iter().flatten());
        let is_news = is_believed && !(meets(before) && row.counts);
        believed.push(Believed { recipient, verdict, counts, told_before, is_news, row });
    }
    for one in &mut believed {
        one.told_before |= outdone.contains(&one.row.id);
        one.counts &= !one.told_before;
    }
    let changed: Vec<(i64, bool)> =
        believed.iter().filter(|one| one.counts != one.row.counts).map(|one| (one.row.id, one.counts)).collect();
    sqlx::query("UPDATE bounce SET counts = j.value ->> 1 FROM json_each(?1) AS j WHERE bounce.id = j.value ->> 0")
        .bind(json(&changed)?)
        .execute(&mut *tx)
        .await?;
    outdone.extend(believed.iter().filter(|one| one.told_before).map(|one| one.row.id));
    outdo(tx, &outdone.into_iter().collect::<Vec<_>>()).await?;
    Ok(believed)
}

async fn believe_complaints(tx: &mut SqliteConnection, ids: &[i64]) -> Result<Vec<Complained>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, i64, i64, String, String)> = sqlx::query_as(
        "SELECT c.id, c.message, c.at, c.address, m.mailbox
         FROM json_each(?1) AS i JOIN complaint AS c ON c.id = i.value JOIN message AS m ON m.id = c.message
         WHERE c.trust IN ('unverified', 'local') ORDER BY c.id",
    )
    .bind(json(&ids)?)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE complaint SET trust = 'matched'
         WHERE id IN (SELECT value FROM json_each(?1)) AND trust IN ('unverified', 'local')",
    )
    .bind(json(&ids)?)
    .execute(tx)
    .await?;
    let read = |(id, message, at, address, mailbox): (i64, i64, i64, String, String)| {
        Some(Complained { id, message, at, address: Address::parse(&address)?, mailbox })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Signs of life whose message is still on record.
async fn signs(tx: &mut SqliteConnection, ours: &[&Doubted]) -> Result<Vec<Lives>, sqlx::Error> {
    let signs = || ours.iter().filter(|d| d.address.is_some());
    let messages: Vec<i64> = signs().map(|d| d.row).collect();
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mailboxes: Vec<(i64, String)> =
        sqlx::query_as("SELECT m.id, m.mailbox FROM json_each(?1) AS i JOIN message AS m ON m.id = i.value")
            .bind(json(&messages)?)
            .fetch_all(tx)
            .await?;
    let mailboxes: HashMap<i64, String> = mailboxes.into_iter().collect();
    let mut all = Vec::new();
    for Doubted { kind, row, address, at, .. } in signs() {
        let address = address.as_deref().and_then(Address::parse);
        if let (Some(mailbox), Some(address)) = (mailboxes.get(row), address) {
            all.push(Lives { message: *row, at: *at, address, sign: parsed(kind)?, mailbox: mailbox.clone() });
        }
    }
    Ok(all)
}

/// Decides about the list as if all this was read now.
async fn learn(
    tx: &mut SqliteConnection,
    policy: &Policy,
    bounces: &[Believed],
    complaints: &[Complained],
    signs: &[Lives],
) -> Result<Committed, sqlx::Error> {
    let mut learned: Vec<(i64, Learned<'_>)> = Vec::new();
    for Believed { row, recipient, verdict, counts, is_news, .. } in bounces {
        let Some(case) = Case::of_bounce(&row.mailbox, row.at, row.id, recipient, verdict, Trust::Matched) else {
            continue;
        };
        if !is_news {
            continue;
        }
        if recipient.action == Action::Delivered {
            let (at, sign, message) = (row.at, Sign::Delivered, Some(row.message));
            let sign = NewSign { address: case.address.normalised(), at, sign, message };
            learned.push((row.message, Learned::Sign(case.address, sign)));
        } else if *counts {
            let remote = || {
                let remote_mta = recipient.remote_mta.as_deref();
                policy.brake.remote(case.address.domain(), remote_mta, row.reporting_mta.as_deref())
            };
            let remote = (verdict.class == Class::Hard).then(remote);
            learned.push((row.message, Learned::Case { case, remote }));
        }
    }
    let believed = |mailbox: &str, at| policy.demands.are_met(Some(mailbox), at, Trust::Matched);
    for Complained { id, message, at, address, mailbox } in complaints {
        if believed(mailbox, *at) {
            let case = Case::of_complaint(mailbox, *at, *id, address, Trust::Matched);
            learned.push((*message, Learned::Case { case, remote: None }));
        }
    }
    for Lives { message, at, address, sign, mailbox } in signs {
        if believed(mailbox, *at) {
            let sign = NewSign { address: address.normalised(), at: *at, sign: *sign, message: Some(*message) };
            learned.push((*message, Learned::Sign(address, sign)));
        }
    }
    if learned.is_empty() {
        return Ok(Committed::default());
    }
    learned.sort_by_key(|(message, _)| *message);
    let addresses: BTreeMap<&str, &str> =
        learned.iter().map(|(_, one)| (one.address().normalised(), one.address().domain())).collect();
    let oldest = learned.iter().map(|(_, one)| one.at()).min().unwrap_or_default();
    let column = if policy.asks_mailbox() { Column::Mailbox } else { Column::Nothing };
    let mut known = histories(tx, &addresses, oldest, column).await?;
    // They are read now.
    let news: HashSet<i64> = bounces.iter().filter(|one| one.is_news).map(|one| one.row.id).collect();
    for known in known.values_mut() {
        known.history.past.retain(|past| !news.contains(&past.bounce));
    }
    let mut touched: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
    for (_, one) in &learned {
        if let Learned::Case { case, remote: Some(remote) } = one {
            *touched.entry(remote.clone()).or_default().entry(hour_of(case.at)).or_default() += 1;
        }
    }
    let hours = brake::hours(tx, &touched, &policy.brake).await?;
    let mut list = List::new(known, events::last_revision(&mut *tx).await?, DAEMON);
    let mut room: HashMap<i64, u32> = HashMap::new();
    for (message, one) in learned {
        match one {
            Learned::Case { case, remote } => {
                let left = match room.entry(message) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        let brought = brought_by(&mut *tx, message).await?;
                        place.insert(policy.most_per_message.saturating_sub(brought))
                    }
                };
                list.learn(policy, &case, remote, message, left);
            }
            Learned::Sign(address, sign) => list.revive(address, sign),
        }
    }
    let (changes, mut told) = list.finish_braked(&policy.brake, hours);
    // What ran out by itself has no note.
    for event in told.iter_mut().filter(|event| event.kind != EventKind::Expired) {
        event.note = Some(NOTE);
    }
    list::write(tx, changes, &told, &policy.brake).await
}

impl<'a> Learned<'a> {
    const fn address(&self) -> &'a Address {
        match self {
            Self::Case { case, .. } => case.address,
            Self::Sign(address, _) => address,
        }
    }

    const fn at(&self) -> i64 {
        match self {
            Self::Case { case, .. } => case.at,
            Self::Sign(_, sign) => sign.at,
        }
    }
}
