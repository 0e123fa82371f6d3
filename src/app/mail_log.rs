//! Lines of our own mail server's log -> bounces, signs of life, and what was sent. Knows nothing of files and of rotation.
//!
//! The order is what keeps everything exactly once: bounces and signs first, which change nothing when they are told twice,
//! and then what was sent together with how far the log is read. A crash between them repeats the former.

use std::{collections::BTreeMap, sync::Arc};

use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::{Judge, Recorder};
use crate::{
    maillog::{Delivery, Format, Lines, LogError, LogSettings, Outcome, Reader, ReaderSettings},
    message::{Disposition, Place, Reading},
    report::{Action, Address, Evidence, Finding, Kind, Original, Recipient, Report, Trust, Trusts},
    store::{JudgedMessage, LogReading, Sent, StoreError},
};

/// So many failures are committed at once.
const AT_ONCE: usize = 2_000;

/// A mail log, and what is known of the messages that are on their way.
#[derive(Debug)]
pub struct MailLog {
    name: String,
    format: Format,
    reader: Reader,
    recorder: Arc<Recorder>,
}

impl MailLog {
    /// Takes up a log where the last run left it; says where its lines go on, `None` where none was ever read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn resume(
        name: &str,
        settings: &LogSettings,
        campaign_headers: &[String],
        recorder: &Arc<Recorder>,
    ) -> Result<(Self, Option<String>), StoreError> {
        let known = recorder.store.log_resume(name).await?;
        let mut reader = reader(settings, campaign_headers);
        let (cursor, queue) = known.unzip();
        let queued = queue.unwrap_or_default().into_iter();
        // Of what can't be read any more less is known, as of what was sent before the log began.
        reader.load(queued.filter_map(|(id, queued)| Some((id, serde_json::from_str(&queued).ok()?))));
        let (name, format) = (name.to_owned(), settings.format);
        Ok((Self { name, format, reader, recorder: Arc::clone(recorder) }, cursor))
    }

    /// Records at `now` (seconds since 1970-01-01 UTC) what the next lines say, and that they are read.
    ///
    /// # Errors
    /// See [`StoreError`]; [`MailLog::resume`] goes before the next attempt with the same lines.
    pub async fn record(self, lines: &Arc<Lines>, now: i64) -> Result<Self, StoreError> {
        let Self { name, format, mut reader, recorder } = self;
        let (lines_read, cursor) = (Arc::clone(lines), lines.cursor.clone());
        let judge = recorder.judge_in_force();
        let log = name.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (mut deliveries, mut count, unread) = (Vec::new(), 0, reader.unread());
            for line in lines_read.iter() {
                reader.line(line, now, &mut deliveries);
                count += 1;
            }
            let skipped = reader.unread() - unread;
            let told_at = deliveries.iter().map(|delivery| delivery.at).max();
            // What went into a mailbox here, or is somebody else's, says nothing of our lists, but that somebody else knows
            // the message.
            let elsewhere = deliveries.iter().filter(|one| !(one.ours && one.outbound));
            let elsewhere: Vec<_> = elsewhere.filter_map(|one| Some((one.message_id.clone()?, one.at))).collect();
            deliveries.retain(|one| one.ours && one.outbound);
            let steps = steps(deliveries, |failed| judged(&judge, &log, format, failed));
            (reader, steps, elsewhere, count, skipped, told_at)
        });
        let (mut reader, steps, elsewhere, count, skipped, told_at) =
            read.await.expect("nobody aborts the task, and the reader does not panic");
        for unremembered in reader.take_unremembered() {
            tracing::warn!(mail_log = name, "{unremembered}");
        }
        tracing::debug!(mail_log = name, lines = count, skipped, "read");
        let judge = recorder.judge_in_force();
        let policy = judge.policy();
        let mut sent = Vec::new();
        for Step { bounces, delivered, rows } in steps {
            for some in bounces.chunks(AT_ONCE) {
                let committed = recorder.store.commit(&name, some, &Reading::default(), policy).await?;
                recorder.tell_of(&name, some, &committed, |place| place.as_str().to_owned()).await?;
                // There is no mail that would have to be moved.
                let places: Vec<Place> = some.iter().map(|one| one.place.clone()).collect();
                recorder.store.settled(&name, &places).await?;
            }
            let signs: Vec<_> = delivered.values().map(|(address, at)| (address, *at)).collect();
            if recorder.store.note_delivered(&signs).await?.ended > 0 {
                recorder.publish_soon().await;
            }
            sent.extend(rows);
        }
        for one in &mut sent {
            one.provider = policy.brake.remote(one.recipient.domain(), Some(&one.provider), None);
        }
        let queue = reader.take_changes().into_iter().map(|(id, queued)| {
            (id, queued.map(|queued| serde_json::to_string(&queued).expect("it is a map of texts and numbers")))
        });
        let queue = queue.collect();
        let reading = LogReading { cursor, lines: count, skipped, read_at: now, told_at, queue, sent, elsewhere };
        recorder.store.commit_log(&name, &reading).await?;
        recorder.raise_due(&name, now).await?;
        Ok(Self { name, format, reader, recorder })
    }
}

/// Knows of no message yet.
fn reader(settings: &LogSettings, campaign_headers: &[String]) -> Reader {
    let of_reader = ReaderSettings {
        submission_hosts: settings.submission_hosts.clone(),
        campaign_headers: campaign_headers.to_vec(),
        zone: TimeZone::system(),
    };
    Reader::new(settings.format, of_reader)
}

/// So many of its last lines tell whose log it is.
const LAST: usize = 200;

/// So many lines without one word about a message are another program's.
const TELLING: u64 = 20;

/// Whether a log can be read and is what the configuration says, in words for people: how much of its end is understood.
///
/// # Errors
/// See [`LogError`]; [`LogError::Refused`] where nothing is understood.
pub(super) async fn try_log(settings: &LogSettings, now: i64) -> Result<String, LogError> {
    let Some(lines) = settings.last_lines(LAST).await? else {
        return Ok("standard input is read when the daemon runs".to_owned());
    };
    let (mut reader, mut count) = (reader(settings, &[]), 0);
    for line in lines.iter() {
        reader.line(line, now, &mut Vec::new());
        count += 1;
    }
    let understood = reader.understood();
    if understood == 0 && count >= TELLING {
        return Err(LogError::Refused(format!(
            "none of the last {count} lines of {} says anything of a message; is `format` the server that writes it?",
            settings.describe()
        )));
    }
    Ok(format!("{understood} of its last {count} lines say something of a message"))
}

/// What can be recorded at once: nobody in it fails after he was reached.
#[derive(Default)]
struct Step {
    bounces: Vec<JudgedMessage>,
    /// By address, when it was reached last.
    delivered: BTreeMap<String, (Address, i64)>,
    /// Their providers are the servers that answered, for now.
    rows: Vec<Sent>,
}

fn steps(deliveries: Vec<Delivery>, judged: impl Fn(&Delivery) -> JudgedMessage) -> Vec<Step> {
    let mut all = vec![Step::default()];
    for one in deliveries {
        let is_delivered = one.outcome == Outcome::Delivered;
        let is_failed = one.outcome == Outcome::Failed;
        let is_known = all.last().is_some_and(|step| step.delivered.contains_key(one.recipient.normalised()));
        if is_known && is_failed {
            all.push(Step::default());
        }
        let step = all.last_mut().expect("there is one from the start");
        if is_delivered {
            let key = one.recipient.normalised().to_owned();
            let last = step.delivered.entry(key).or_insert_with(|| (one.recipient.clone(), one.at));
            last.1 = last.1.max(one.at);
        } else if is_failed {
            step.bounces.push(judged(&one));
        } else if one.message_id.is_none() {
            // Each further attempt would count as another message.
            continue;
        }
        let Delivery { at, message_id, recipient, remote_mta, campaign, .. } = one;
        let provider = remote_mta.unwrap_or_default();
        // Who has not taken it yet may have read it all the same: its Message-ID is no secret between him and the others.
        step.rows.push(Sent { at, message_id, recipient, provider, campaign, is_delivered });
    }
    all
}

/// A failure as a message of its own: what is said twice has the same digest.
fn judged(judge: &Judge, log: &str, format: Format, failed: &Delivery) -> JudgedMessage {
    let Delivery { at, queue_id, recipient: address, final_recipient, status, remote_mta, text, .. } = failed;
    let text = text.as_deref().unwrap_or_default();
    let mut recipient = Recipient {
        address: Some(address.clone()),
        // Nobody takes himself off his list.
        is_ours: failed.sender.as_deref().is_some_and(|sender| sender.eq_ignore_ascii_case(address.given())),
        forwarded_to: final_recipient.clone(),
        action: Action::Failed,
        remote_mta: remote_mta.clone(),
        ..judge.reply(text)
    };
    let sender = failed.sender.as_deref().and_then(Address::parse);
    recipient.refuses_sender = !recipient.is_ours && recipient.is_answer_to(|address| sender.as_ref() == Some(address));
    // Where the server gave none, our own says what it made of it.
    if let Some(value) = status.filter(|_| recipient.statuses.is_empty()) {
        recipient.statuses.push(Finding { value, evidence: Evidence::of_structure(format!("dsn={value}")) });
    }
    let verdict = judge.classifier().judge_recipient(&recipient, None);
    let because = Finding { value: Kind::Bounce, evidence: Evidence::of_structure("a mail log") };
    let report = Report {
        format: format!("{format}-log").into(),
        recipients: vec![recipient],
        original: Original {
            message_id: failed.message_id.clone(),
            campaign: failed.campaign.clone(),
            ..Original::default()
        },
        ..Report::of_nobody(because)
    };
    let reached = final_recipient.as_deref().unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [log, queue_id, address.normalised(), reached, &at.to_string(), text] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let sha256: [u8; 32] = digest.finalize().into();
    // It names nobody, for it stays when its bounce is erased.
    let place = format!("{queue_id}/{}", HEXLOWER.encode(&sha256[..4]));
    JudgedMessage {
        place: Place::new(place),
        sha256,
        received: *at,
        size: text.len() as u64,
        report,
        verdicts: vec![verdict],
        // Nobody else writes our log.
        trusts: Trusts::in_everything(Trust::Verified),
        tables: Arc::clone(judge.version()),
        disposition: Disposition::Untouched,
    }
}
