//! Lines of a mail server's log -> what became of each recipient. The reader is pure: lines, the time and what was known
//! come in as arguments; only `tail` reads files. Knows nothing of hard and soft, and of databases.

mod exim;
mod pieces;
mod postfix;
mod queue;
mod stamp;
mod tail;

use std::{borrow::Cow, net::IpAddr};

use jiff::tz::TimeZone;
use queue::Queue;
pub use queue::{Deferral, Queued, Unfinished};
pub use tail::{Lines, LogError, LogSettings, Tail};

use crate::{
    codes::{EnhancedStatusCode, words},
    text::{Address, SubmissionHost},
};

words! {
    /// Whose log it is.
    Format {
        /// Postfix, through syslog, the journal or `maillog_file`.
        Postfix = "postfix",
        /// Exim's main log, as a file or through syslog.
        Exim = "exim",
    }
}

words! {
    /// What became of one attempt to deliver.
    Outcome {
        /// The next server, or a mailbox of this one, has taken it.
        Delivered = "delivered",
        /// It will not arrive; the sender is told.
        Failed = "failed",
        /// It will be tried again.
        Deferred = "deferred",
    }
}

/// What became of a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// What the mail server calls the message.
    pub queue_id: String,
    /// Its Message-ID without angle brackets.
    pub message_id: Option<String>,
    /// The envelope sender; empty where it is the null sender.
    pub sender: Option<String>,
    /// The address that was mailed, before any alias.
    pub recipient: Address,
    /// What an alias made of it; `None` where it is the same.
    pub final_recipient: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Where the log has one.
    pub status: Option<EnhancedStatusCode>,
    /// The server that answered.
    pub remote_mta: Option<String>,
    /// What the server answered, in the words of the log.
    pub text: Option<String>,
    /// The value of the campaign header that stands first in the settings.
    pub campaign: Option<String>,
    /// Whether it went to another server by SMTP, and not into a mailbox, a program or a filter here. What failed before a
    /// server was found counts as well.
    pub outbound: bool,
    /// Whether our own programs have sent it: on this machine, with a password, or from one of the submission hosts; and
    /// not as an automatic answer, which has the null sender. What strangers sent, and an alias or a list sends on, is
    /// theirs.
    pub ours: bool,
}

/// What a reader is told.
#[derive(Debug, Clone)]
pub struct ReaderSettings {
    /// Who else sends for us.
    pub submission_hosts: Vec<SubmissionHost>,
    /// Headers that name the campaign; the first of them that is there counts.
    pub campaign_headers: Vec<String>,
    /// Of log lines that do not name theirs.
    pub zone: TimeZone,
}

/// Longer lines are cut. Neither server writes any, and what matters stands in front.
const LONGEST_LINE: usize = 16 * 1024;

/// Reads the lines of one log, in their order. What it knows of messages that are still in the queue can be kept
/// elsewhere and handed to the next one.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    settings: ReaderSettings,
    stamps: stamp::Stamps,
    queue: Queue,
    unread: u64,
    /// How many lines said something of a message.
    understood: u64,
}

impl Reader {
    /// A reader that knows of no message yet.
    #[must_use]
    pub fn new(format: Format, settings: ReaderSettings) -> Self {
        let stamps = stamp::Stamps::new(settings.zone.clone());
        Self { format, settings, stamps, queue: Queue::default(), unread: 0, understood: 0 }
    }

    /// What an earlier reader knew.
    pub fn load(&mut self, queued: impl IntoIterator<Item = (String, Queued)>) {
        self.queue.load(queued);
    }

    /// What has changed since the last call, by queue id; `None` is what has left the queue.
    pub fn take_changes(&mut self) -> Vec<(String, Option<Queued>)> {
        self.queue.take_changes()
    }

    /// How many lines were no lines of a log, could be read in two ways, or are pieces of one that is not whole.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// How many lines said something of a message.
    #[must_use]
    pub fn understood(&self) -> u64 {
        self.understood
    }

    /// What can't be told when messages expire, in words for people, since the last call.
    pub fn take_unremembered(&mut self) -> Vec<String> {
        self.queue.take_unremembered()
    }

    /// Reads one line, and appends to `deliveries` what became of whom: of one recipient mostly, of all that were
    /// waiting where a message expires. `now` is in seconds since 1970-01-01 UTC.
    pub fn line(&mut self, line: &[u8], now: i64, deliveries: &mut Vec<Delivery>) {
        let line = String::from_utf8_lossy(&line[..line.len().min(LONGEST_LINE)]);
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return;
        }
        let Some((at, rest)) = self.stamps.take(line, now) else {
            self.unread += 1;
            return;
        };
        let mut joined = None;
        if let Some(piece) = (self.format == Format::Exim).then(|| pieces::piece(rest)).flatten() {
            let joining = pieces::join(&mut self.queue, at, &piece);
            self.unread += joining.lost;
            joined = joining.line;
            if joined.is_none() {
                return;
            }
        }
        let rest = joined.as_deref().unwrap_or(rest);
        let said = match self.format {
            Format::Postfix => postfix::read(rest),
            Format::Exim => exim::read(rest, |text| self.stamps.take(text, now)),
        };
        match said {
            Ok(Some(said)) => {
                self.understood += 1;
                self.apply(at, said, deliveries);
            }
            Ok(None) => {}
            Err(Ambiguous) => self.unread += 1,
        }
    }

    fn apply(&mut self, at: i64, Said { id, event }: Said<'_>, deliveries: &mut Vec<Delivery>) {
        match event {
            Event::Came { origin, sender, message_id } => {
                let ours = self.is_ours(&origin);
                // Postfix gives a name anew; and Exim logs headers before it says this.
                if self.format == Format::Postfix {
                    self.queue.end(id);
                }
                self.queue.change(id, at, |queued| {
                    queued.ours = ours;
                    sender.into_iter().for_each(|sender| queued.set_sender(sender));
                });
                message_id.into_iter().for_each(|message_id| self.queue.identify(id, at, message_id));
            }
            Event::MessageId(message_id) => self.queue.identify(id, at, message_id),
            Event::Header { name, value } => {
                let value = value.trim();
                let rank = self.settings.campaign_headers.iter().position(|header| header.eq_ignore_ascii_case(name));
                if let Some(rank) = rank
                    && !value.is_empty()
                {
                    self.queue.change(id, at, |queued| queued.name_campaign(value, rank));
                }
            }
            Event::Sender(sender) => {
                // Said at every attempt, and needed once.
                if self.queue.get(id).is_none_or(|queued| queued.sender.as_deref() != Some(sender)) {
                    self.queue.change(id, at, |queued| queued.set_sender(sender));
                }
            }
            Event::Became(became) => deliveries.extend(self.became(at, id, became)),
            Event::Expired => deliveries.extend(self.expired(at, id)),
            Event::Left => self.queue.end(id),
        }
    }

    fn is_ours(&self, origin: &Origin<'_>) -> bool {
        match origin {
            Origin::Local | Origin::Authenticated => true,
            Origin::Unknown => false,
            Origin::Client { name, address } => {
                let address = address.parse::<IpAddr>().ok().map(|address| address.to_canonical());
                address.is_some_and(|address| address.is_loopback())
                    || self.settings.submission_hosts.iter().any(|host| host.has(*name, address))
            }
        }
    }

    fn became(&mut self, at: i64, id: &str, became: Became<'_>) -> Option<Delivery> {
        let (recipient, final_recipient) = became.addresses()?;
        let queued = self.queue.get(id);
        let before = queued.and_then(|queued| queued.deferral(&recipient, final_recipient.as_deref()));
        let mut text = became.text.map(Cow::into_owned);
        let (mut status, mut remote_mta) = (became.status, became.remote_mta.map(str::to_owned));
        let handed_on = became.queued_as.filter(|other| self.queue.get(other).is_some());
        let outbound = match became.way {
            // A filter hands the message back under a name that is known here.
            Way::Smtp => handed_on.is_none(),
            Way::Here => false,
            Way::Untried => before.is_none_or(|before| before.outbound),
        };
        // What gives up says for how long, and not why: the last answer does.
        if became.gives_up
            && let Some(before) = before
        {
            let last = before.text.as_deref().unwrap_or_default();
            text = Some([last, ": ", text.as_deref().unwrap_or_default()].concat());
            status = status.or(before.status());
            remote_mta = remote_mta.or_else(|| before.remote_mta.clone());
        }
        let delivery = Delivery {
            at,
            queue_id: id.to_owned(),
            message_id: queued.and_then(|queued| queued.message_id.clone()),
            sender: queued.and_then(|queued| queued.sender.clone()),
            recipient,
            final_recipient,
            outcome: became.outcome,
            status,
            remote_mta,
            text,
            campaign: queued.and_then(|queued| queued.campaign.clone()),
            outbound,
            ours: queued.is_some_and(|queued| queued.ours),
        };
        match became.outcome {
            Outcome::Deferred => self.queue.defer(id, &delivery),
            Outcome::Delivered | Outcome::Failed if before.is_some() => self.queue.settle(id, &delivery),
            Outcome::Delivered | Outcome::Failed => {}
        }
        // What a filter hands back comes from this machine, and is still the stranger's who has sent it.
        if let Some(other) = handed_on.filter(|_| !delivery.ours) {
            self.queue.disown(other, at);
        }
        Some(delivery)
    }

    /// RFC 3464 §2.3.3: whoever was waiting when the mail server gives up has failed.
    fn expired(&mut self, at: i64, id: &str) -> Vec<Delivery> {
        let deferred = self.queue.take_deferred(id, at);
        let Some(queued) = self.queue.get(id) else { return Vec::new() };
        let failed = |before: Deferral| {
            Some(Delivery {
                at,
                queue_id: id.to_owned(),
                message_id: queued.message_id.clone(),
                sender: queued.sender.clone(),
                recipient: Address::parse(&before.recipient)?,
                status: before.status(),
                final_recipient: before.final_recipient,
                outcome: Outcome::Failed,
                remote_mta: before.remote_mta,
                text: before.text,
                campaign: queued.campaign.clone(),
                outbound: before.outbound,
                ours: queued.ours,
            })
        };
        deferred.into_values().filter_map(failed).collect()
    }
}

/// A line that says something of a message.
struct Said<'l> {
    /// The queue id.
    id: &'l str,
    event: Event<'l>,
}

/// What a line says.
enum Event<'l> {
    /// The mail server has taken a message.
    Came { origin: Origin<'l>, sender: Option<&'l str>, message_id: Option<&'l str> },
    /// Without angle brackets.
    MessageId(&'l str),
    /// A header of the message, as the mail server was told to log it.
    Header { name: &'l str, value: Cow<'l, str> },
    /// The envelope sender.
    Sender(&'l str),
    /// An attempt to deliver.
    Became(Became<'l>),
    /// The mail server gives up whatever waits.
    Expired,
    /// It is gone from the queue.
    Left,
}

/// Who handed a message in.
enum Origin<'l> {
    /// A program on this machine.
    Local,
    /// A client that has named itself with a password.
    Authenticated,
    /// Any other client: the name that its address has, if the mail server could confirm it.
    Client { name: Option<&'l str>, address: &'l str },
    /// The mail server itself: reports, and what it sends on.
    Unknown,
}

/// How it was tried.
enum Way {
    /// By SMTP.
    Smtp,
    /// Into a mailbox, a program, over LMTP.
    Here,
    /// Not at all, or the line does not say.
    Untried,
}

struct Became<'l> {
    /// The address that the message was delivered to.
    to: &'l str,
    /// The one that was mailed, where an alias has changed it.
    original: Option<&'l str>,
    outcome: Outcome,
    status: Option<EnhancedStatusCode>,
    remote_mta: Option<&'l str>,
    text: Option<Cow<'l, str>>,
    way: Way,
    /// The name under which the next server has it, by its own words.
    queued_as: Option<&'l str>,
    /// Whether it only says that there will be no further attempt.
    gives_up: bool,
}

impl Became<'_> {
    /// Whom we mailed, and what became of that address, if it is another one.
    fn addresses(&self) -> Option<(Address, Option<String>)> {
        let Some(original) = self.original else { return Some((Address::parse(self.to)?, None)) };
        let Some(recipient) = Address::parse(original) else {
            // A user of this machine was mailed without a domain: Postfix has added one.
            let to = Address::parse(self.to)?;
            return to.local_part().eq_ignore_ascii_case(original).then_some((to, None));
        };
        let is_same = Address::parse(self.to).is_some_and(|to| to.normalised() == recipient.normalised());
        Some((recipient, (!is_same).then(|| self.to.to_owned())))
    }
}

/// A line that somebody may have made up inside an address.
struct Ambiguous;
