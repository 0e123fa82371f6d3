//! The configuration -> the files of all tables by which mails are read and judged; which of one's own rows do nothing
//! any more, and a name for all of them together.

use std::sync::{Arc, OnceLock};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::Judge;
use crate::{
    classify::Classifier,
    codes::CodeTable,
    config::Config,
    parse,
    policy::Policy,
    store::TablesVersion,
    tables::{IdleRow, OwnRow, TableError, TableFile, idle_rows},
};

/// The files of each table: those of one's own, the strongest first, and the one that comes with the program.
#[derive(Debug, Clone)]
pub struct TableFiles {
    pub(super) parse: parse::TableFiles,
    pub(super) codes: Vec<Arc<TableFile>>,
    pub(super) phrases: Vec<Arc<TableFile>>,
    pub(super) policy: Vec<Arc<TableFile>>,
}

impl TableFiles {
    /// Those that the configuration names.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(config: &Config) -> Result<Self, TableError> {
        Ok(Self {
            parse: parse::TableFiles::read(&config.kinds.files, &config.formats.files, &config.words.files)?,
            codes: CodeTable::files(&config.codes.files)?,
            phrases: Classifier::phrase_files(&config.phrases.files)?,
            policy: Policy::files(&config.policy.files)?,
        })
    }

    /// The same for whoever only judges: what comes with the program is read without its examples.
    pub(super) fn without_examples(self) -> Self {
        let bare = |files: &[Arc<TableFile>]| files.iter().map(|file| file.without_examples()).collect();
        let Self { parse, codes, phrases, policy } = self;
        let (codes, phrases, policy) = (bare(&codes), bare(&phrases), bare(&policy));
        Self { parse: parse.without_examples(), codes, phrases, policy }
    }

    /// A name for all of them together with a policy. What the files are called makes no difference.
    pub(super) fn version(&self, policy: &Policy) -> TablesVersion {
        let version = env!("CARGO_PKG_VERSION");
        let mut hash = Sha256::new();
        hash.update(version);
        // The policy gives no verdict.
        let Self { parse: parse::TableFiles { kinds, formats, words }, codes, phrases, policy: _ } = self;
        for table in [kinds, formats, words, codes, phrases] {
            // No text has such an octet.
            hash.update([0xff]);
            for file in table {
                hash.update([0xfe]);
                hash.update(file.text());
            }
        }
        hash.update([0xff]);
        // Its rules, whatever they were read from, and what the configuration says beside them.
        hash.update(format!("{policy:?}"));
        TablesVersion { digest: HEXLOWER.encode(&hash.finalize()), version }
    }

    /// Rows of one's own that do nothing: without them each of their examples, or each of their codes, would come out
    /// alike. Each with the name of its table.
    ///
    /// # Errors
    /// A table is refused; the text names file and line.
    pub fn idle_rows(&self) -> Result<Vec<(&'static str, IdleRow)>, TableError> {
        let read =
            parse::Options { tables: Arc::new(parse::Tables::of_files(&self.parse)?), ..parse::Options::default() };
        let judge = |codes: &[Arc<TableFile>], phrases: &[Arc<TableFile>]| {
            let classifier = Classifier::new(CodeTable::from_files(codes)?, phrases)?;
            let (options, files) = (read.clone(), self.clone());
            let (policy, signer) = (Policy::embedded(), None);
            Ok(Judge { options, classifier, policy, signer, files, version: OnceLock::new() })
        };
        let verdicts = |judge: &Judge, examples: &Vec<String>| {
            let verdicts = examples.iter().map(|example| judge.judge_example(example));
            verdicts.map(|verdict| (verdict.class, verdict.reason, verdict.fault, verdict.advice)).collect::<Vec<_>>()
        };
        let Judge { classifier, .. } = judge(&self.codes, &self.phrases)?;
        let mut idle: Vec<(&'static str, IdleRow)> = Vec::new();

        let rows = classifier.codes().rows().filter(|row| is_own(&self.codes, &row.file)).map(|row| OwnRow {
            file: row.file.clone(),
            line: row.line,
            id: row.code.to_string(),
            about: row.code,
        });
        let answer = |table: &CodeTable, code: &_| {
            table.answer(*code).map(|row| (row.judgement, row.weight, row.at_most, row.advice.clone()))
        };
        let found = idle_rows(&self.codes, CodeTable::from_files, rows, answer)?;
        idle.extend(found.into_iter().map(|row| ("codes", row)));

        let variants = classifier.codes().rows().flat_map(|row| &row.variants);
        let rows = variants.filter(|row| is_own(&self.codes, &row.file)).map(|row| OwnRow {
            file: row.file.clone(),
            line: row.line,
            id: row.id.clone(),
            about: [row.accepts.clone(), row.rejects.clone()].concat(),
        });
        let found = idle_rows(&self.codes, |codes| judge(codes, &self.phrases), rows, verdicts)?;
        idle.extend(found.into_iter().map(|row| ("codes", row)));

        let rows = classifier.phrases().iter().filter(|row| is_own(&self.phrases, &row.file)).map(|row| OwnRow {
            file: row.file.clone(),
            line: row.line,
            id: row.id.clone(),
            about: [row.accepts.clone(), row.rejects.clone()].concat(),
        });
        let found = idle_rows(&self.phrases, |phrases| judge(&self.codes, phrases), rows, verdicts)?;
        idle.extend(found.into_iter().map(|row| ("phrases", row)));

        idle.extend(self.parse.idle_rows()?);
        idle.extend(Policy::idle_rows(&self.policy)?.into_iter().map(|row| ("policy", row)));
        Ok(idle)
    }
}

fn is_own(files: &[Arc<TableFile>], name: &str) -> bool {
    files.iter().any(|file| file.is_own() && file.name == name)
}
