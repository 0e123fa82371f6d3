//! The list of another program into ours: read, judged where its refusals have to be, and put onto the list as a whole.
//! All cores read, and no more of the file is in memory than a few pieces of it. Servers repeat themselves: a refusal is
//! judged once for all the rows that quote it.

use std::{
    collections::{BTreeMap, HashMap},
    io::BufRead,
    iter,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::mpsc, task};

use super::{Judge, Load, in_order};
use crate::{
    codes::{EnhancedStatusCode, Fault, Reason, ReplyCode},
    import::{About, Broken, Entry, Form, Found, Import, Left, Record, Row, Since},
    policy::Never,
    report::Verdict,
    store::{Imported, Importing, StoreError},
    suppression::Suppression,
};

/// What is known beside a file.
#[derive(Debug)]
pub struct Importer {
    judge: Judge,
    never: Never,
    now: i64,
    /// What the judge said of refusals, by their words; at most [`REFUSALS`] of them.
    refusals: Mutex<HashMap<String, RefusedFor>>,
}

/// So many refusals are kept. Those that name their address or a number of their own never come again.
const REFUSALS: usize = 4_096;

/// Longer ones hardly come twice, and would take memory.
const LONGEST_REFUSAL: usize = 500;

/// What a verdict on a refusal says of its row.
#[derive(Debug, Clone)]
struct RefusedFor {
    fault: Fault,
    /// Whether the server meant to be asked again.
    is_temporary: bool,
    /// Reason and rule, unless nobody can tell.
    why: Option<(Reason, String)>,
}

impl RefusedFor {
    fn of(verdict: Verdict) -> Self {
        let is_temporary = is_temporary(&verdict);
        let why = (verdict.reason != Reason::Undetermined).then_some((verdict.reason, verdict.rule));
        Self { fault: verdict.fault, is_temporary, why }
    }
}

/// What stood in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows that name somebody who is not to be mailed.
    pub entries: u64,
    /// Rows that name somebody for another reason, and for which.
    pub left: BTreeMap<Left, u64>,
    /// Rows that name whom the configuration never lets be suppressed.
    pub never: u64,
    /// Entries whose date can't be read: they begin now.
    pub undated: u64,
    /// The first rows that can't be understood: their lines, and why.
    pub bad: Vec<(u64, String)>,
    /// How many they are in all.
    pub bad_rows: u64,
    /// Where the file breaks off.
    pub broken: Option<Broken>,
}

/// So many bad rows are told one by one.
const BAD_ROWS_TOLD: usize = 20;

/// What an import is about, for whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportStage {
    /// The file is read.
    Reading,
    /// So many entries are held against the list, and written.
    Writing(u64),
    /// The published lists are written.
    Publishing,
}

/// What to do with a file that has bad rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRows {
    /// Nothing of it is taken.
    Refuse,
    /// The others are taken.
    Skip,
}

impl Contents {
    /// Whether anything of the file may come onto the list.
    #[must_use]
    pub const fn is_acceptable(&self, bad_rows: BadRows) -> bool {
        self.broken.is_none() && (self.bad_rows == 0 || matches!(bad_rows, BadRows::Skip))
    }

    /// Adds what stands in a piece, and gives its entries.
    fn count(&mut self, piece: Piece) -> Vec<Suppression> {
        let mut entries = Vec::with_capacity(piece.len());
        for (line, judged) in piece {
            match judged {
                Judged::Entry(entry, since) => {
                    self.entries += 1;
                    self.undated += u64::from(since == Since::Unread);
                    entries.push(*entry);
                }
                Judged::Never => self.never += 1,
                Judged::Left(left) => *self.left.entry(left).or_default() += 1,
                Judged::Bad(what) => {
                    self.bad_rows += 1;
                    if self.bad.len() < BAD_ROWS_TOLD {
                        self.bad.push((line, what));
                    }
                }
                Judged::Broken(broken) => self.broken = Some(broken),
            }
        }
        entries
    }
}

/// A file, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedFile {
    /// What stood in it.
    pub contents: Contents,
    /// What became of its entries, or would; `None` where it was refused.
    pub imported: Option<Imported>,
}

/// Reads a file to its end and lays its entries ready, unless it is refused.
pub(super) async fn lay_ready<S: BufRead + Send + 'static>(
    file: Import<S>,
    importer: Arc<Importer>,
    importing: &mut Importing,
    bad_rows: BadRows,
) -> Result<Contents, StoreError> {
    let (pieces, mut arriving) = mpsc::channel(PIECES);
    let reader = task::spawn_blocking(move || read(file, &importer, &pieces));
    let mut contents = Contents::default();
    while let Some(piece) = arriving.recv().await {
        let entries = contents.count(piece);
        if contents.is_acceptable(bad_rows) {
            importing.add(&entries).await?;
        }
    }
    // It ends when nobody listens, and a panic of it is ours.
    reader.await.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()));
    Ok(contents)
}

/// Rows that are handed on together.
type Piece = Vec<(u64, Judged)>;

/// So many wait for the store.
const PIECES: usize = 4;

/// So many rows are read by one core at a time.
const ROWS: usize = 500;

fn read<S: BufRead + Send>(file: Import<S>, importer: &Importer, pieces: &mpsc::Sender<Piece>) {
    let Import { form, mut records } = file;
    let chunks = iter::from_fn(move || {
        let chunk: Vec<_> = records.by_ref().take(ROWS).collect();
        (!chunk.is_empty()).then_some(chunk)
    });
    let load = Load { most: 16, of: |_: &Vec<_>| 1 };
    let work = |chunk: Vec<_>| chunk.into_iter().map(|found| importer.judged(form, found)).collect::<Piece>();
    in_order(chunks, load, work, |piece| match pieces.blocking_send(piece) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    });
}

/// What a row comes to.
enum Judged {
    Entry(Box<Suppression>, Since),
    Never,
    Left(Left),
    Bad(String),
    Broken(Broken),
}

impl Importer {
    /// `judge` judges the refusals that a file quotes, `never` says whom the configuration never lets be suppressed; `now`
    /// in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn new(judge: Judge, never: Never, now: i64) -> Self {
        Self { judge, never, now, refusals: Mutex::default() }
    }

    fn refusal(&self, words: &str) -> RefusedFor {
        let refusals = || self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = refusals().get(words) {
            return known.clone();
        }
        let refusal = RefusedFor::of(self.judge.judge_response(words));
        if words.len() <= LONGEST_REFUSAL {
            let mut refusals = refusals();
            if refusals.len() >= REFUSALS {
                // Those that are told often are there again at once.
                refusals.clear();
            }
            refusals.insert(words.to_owned(), refusal.clone());
        }
        refusal
    }

    fn judged(&self, form: Form, found: Result<Found, Broken>) -> (u64, Judged) {
        match found {
            Err(broken) => (broken.line, Judged::Broken(broken)),
            Ok(Found::Bad { line, what }) => (line, Judged::Bad(what)),
            Ok(Found::Record(record)) => (record.line, self.row(form, &record)),
        }
    }

    fn row(&self, form: Form, record: &Record) -> Judged {
        match form.row(record, self.now) {
            Row::Bad(what) => Judged::Bad(what),
            Row::Left(left) => Judged::Left(left),
            Row::Entry(entry) if self.never.forbids(&entry.address) => Judged::Never,
            Row::Entry(entry) => self.entry(*entry),
        }
    }

    /// An entry whose refusal is judged by our own tables, unless whoever exported it said by which rule it was.
    fn entry(&self, entry: Entry) -> Judged {
        let Entry { address, origin, mut reason, mut rule, policy, diagnostic, note, since, expires, about } = entry;
        if let Some(words) = diagnostic.as_deref().filter(|_| reason.is_none() && rule.is_none()) {
            let refusal = self.refusal(words);
            if about == About::AddressOrMessage {
                if refusal.is_temporary {
                    return Judged::Left(Left::Soft);
                }
                match refusal.fault {
                    Fault::Sender | Fault::Content | Fault::Network => return Judged::Left(Left::Message),
                    Fault::Recipient | Fault::Unknown => {}
                }
            }
            (reason, rule) = refusal.why.unzip();
        }
        let begins = if let Since::Given(at) = since { at } else { self.now };
        let suppression = Suppression {
            address: address.normalised().to_owned(),
            origin,
            reason,
            rule,
            policy,
            diagnostic,
            since: begins,
            expires,
            note,
            causes: Vec::new(),
        };
        Judged::Entry(Box::new(suppression), since)
    }
}

fn is_temporary(verdict: &Verdict) -> bool {
    let reply = verdict.reply.map(ReplyCode::class_digit);
    let status = verdict.status.map(EnhancedStatusCode::class_digit);
    reply.or(status) == Some(4)
}
