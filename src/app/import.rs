//! The list of another program into ours: read, judged where its refusals have to be, and put onto the list as a whole.
//! All cores read, and no more of the file is in memory than a few pieces of it.

use std::{collections::BTreeMap, io::BufRead, iter, ops::ControlFlow, sync::Arc};

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
    /// Judges the refusals that a file quotes.
    pub judge: Judge,
    /// Whom the configuration never lets be suppressed.
    pub never: Never,
    /// In seconds since 1970-01-01 UTC.
    pub now: i64,
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
}

impl Contents {
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
        let Entry { address, origin, mut reason, mut rule, diagnostic, note, since, expires, about } = entry;
        if let Some(refusal) = diagnostic.as_deref().filter(|_| reason.is_none() && rule.is_none()) {
            let verdict = self.judge.judge_response(refusal);
            if about == About::AddressOrMessage {
                match verdict.fault {
                    Fault::Sender | Fault::Content | Fault::Network => return Judged::Left(Left::Message),
                    Fault::Recipient | Fault::Unknown if is_temporary(&verdict) => return Judged::Left(Left::Soft),
                    Fault::Recipient | Fault::Unknown => {}
                }
            }
            if verdict.reason != Reason::Undetermined {
                reason = Some(verdict.reason);
                rule = Some(verdict.rule);
            }
        }
        let begins = if let Since::Given(at) = since { at } else { self.now };
        let suppression = Suppression {
            address: address.normalised().to_owned(),
            origin,
            reason,
            rule,
            policy: None,
            diagnostic,
            since: begins,
            expires,
            note,
            causes: Vec::new(),
        };
        Judged::Entry(Box::new(suppression), since)
    }
}

/// Whether the server meant to be asked again.
fn is_temporary(verdict: &Verdict) -> bool {
    let reply = verdict.reply.map(ReplyCode::class_digit);
    let status = verdict.status.map(EnhancedStatusCode::class_digit);
    reply.or(status) == Some(4)
}
