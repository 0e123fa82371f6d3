//! A table's files -> [`CodeTable`]. Whatever could hide a slip of the pen is refused with file and line: doubles, rows
//! and phrases that can never answer, classes beyond a digit's limit. What a file may say at all is known to `file`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use toml::Spanned;

use super::{
    Class, CodeRow, CodeTable, Deviation, Judgement, Meaning, Reason, Reasons,
    file::{self, AnswerSpec, LayerRow, VariantText, What},
    reachable::Phrases,
    table::{Key, Variant},
};
use crate::tables::{Embedded, Example, Placed, TableError, TableFile, embedded, overlay};

/// The default table.
const EMBEDDED: Embedded = embedded!("codes");

impl CodeTable {
    /// The table that comes with the program: config/codes.toml.
    #[must_use]
    pub fn embedded() -> Self {
        Self::load(&[]).expect("the tests read the embedded table")
    }

    /// The table that comes with the program, with files laid over it, the strongest first.
    ///
    /// # Errors
    /// A file can't be read, or a row in it can't be meant as it is written.
    pub fn load(files: &[PathBuf]) -> Result<Self, TableError> {
        Self::from_files(&Self::files(files)?)
    }

    /// Files of one's own, the strongest first, and the one that comes with the program.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn files(own: &[PathBuf]) -> Result<Vec<Arc<TableFile>>, TableError> {
        TableFile::read_all(own, EMBEDDED)
    }

    /// The table that some files make together, the strongest first.
    ///
    /// # Errors
    /// A row in them can't be meant as it is written.
    pub fn from_files(files: &[Arc<TableFile>]) -> Result<Self, TableError> {
        let mut meanings: BTreeMap<Reason, Meaning> = BTreeMap::new();
        let mut said_anew = BTreeSet::new();
        let (mut layers, mut dropped) = (Vec::new(), Vec::new());
        for file in files {
            let (own, layer) = file::read(file)?;
            for (reason, meaning) in own {
                if file.is_own() {
                    said_anew.insert(reason);
                }
                // The strongest file's word counts.
                meanings.entry(reason).or_insert(meaning);
            }
            dropped.extend(layer.drop.iter().map(|id| (Arc::clone(file), id.clone())));
            layers.push(layer);
        }
        let last = files.last().expect("a table has a file");
        let reasons = Reasons::new(meanings, said_anew).map_err(|missing| {
            last.refuse(
                &(0..0),
                &format!("there is no [reason.{missing}]: each reason needs its class, fault and advice"),
            )
        })?;
        Builder { reasons, dropped, rows: BTreeMap::new(), phrases: Phrases::default(), examples: Vec::new() }
            .build(overlay(layers)?, last)
    }
}

/// Rows on their way to a table.
struct Builder {
    reasons: Reasons,
    /// Rows that files took away, and where they say so.
    dropped: Vec<(Arc<TableFile>, Spanned<String>)>,
    rows: BTreeMap<Key, CodeRow>,
    phrases: Phrases,
    examples: Vec<Example>,
}

impl Builder {
    fn build(mut self, mut rows: Vec<Placed<LayerRow>>, last: &TableFile) -> Result<CodeTable, TableError> {
        // The digits first: the rows are held against their limits. The variants last: they belong to rows.
        let rank = |placed: &Placed<LayerRow>| match &placed.row.what {
            What::Row { key: Key::Digit(_), .. } => 0,
            What::Row { .. } => 1,
            What::Variant(_) => 2,
        };
        rows.sort_by_key(rank);
        for Placed { file, row } in rows {
            match row.what {
                What::Row { key, at_most, description, reference } => {
                    let limit = if matches!(key, Key::Digit(_)) { at_most } else { self.limit(key) };
                    let (judgement, advice) = self.judge(&file, limit, &row.answer)?;
                    let AnswerSpec { because, weight, .. } = row.answer;
                    let rule = format!("codes:{key}").into();
                    let (file, line) = (file.name.clone(), file.line(row.place.start));
                    let variants = Vec::new();
                    let row = CodeRow {
                        code: key,
                        rule,
                        judgement,
                        because,
                        weight,
                        at_most,
                        description,
                        advice,
                        reference,
                        variants,
                        file,
                        line,
                    };
                    self.rows.insert(key, row);
                }
                What::Variant(text) => self.variant(&file, row.id, &row.place, row.answer, *text)?,
            }
        }
        if let Some(digit) = [2, 4, 5].into_iter().find(|digit| !self.rows.contains_key(&Key::Digit(*digit))) {
            let needed = "2, 4 and 5 each need one, for codes that have no row";
            return Err(self.dropped(&digit.to_string()).map_or_else(
                || last.refuse(&(0..0), &format!("no [[digit]] row for {digit}: {needed}")),
                |(file, at)| file.refuse(&at, &format!("the [[digit]] row {digit} can't be dropped: {needed}")),
            ));
        }
        Ok(CodeTable::new(self.reasons, self.rows, self.examples))
    }

    fn variant(
        &mut self,
        file: &Arc<TableFile>,
        id: String,
        place: &Range<usize>,
        answer: AnswerSpec,
        text: VariantText,
    ) -> Result<(), TableError> {
        let VariantText { code, says, description, accepts, rejects } = text;
        let key = Key::Reply(code);
        if id.strip_prefix(&key.to_string()).is_none_or(|rest| !rest.starts_with('.') || rest.len() < 2) {
            let problem = format!("`{id}` is no id of a variant of {key}; expected `{key}.` and a word or words");
            return Err(file.refuse(place, &problem));
        }
        let (judgement, advice) = self.judge(file, self.limit(key), &answer)?;
        self.phrases.add(file, place, code, &says)?;
        self.examples.extend(Example::of_row(file, (&id, place), &accepts, &rejects)?);
        if !self.rows.contains_key(&key) {
            return Err(self.dropped(&key.to_string()).map_or_else(
                || {
                    let problem = format!("the variant `{id}` has no [[reply]] row for {code} that it could belong to");
                    file.refuse(place, &problem)
                },
                |(dropper, at)| {
                    let problem =
                        format!("`{code}` can't be dropped while its variant `{id}` is there; drop that, too");
                    dropper.refuse(&at, &problem)
                },
            ));
        }
        let row = self.rows.get_mut(&key).expect("looked up above");
        let plain = |texts: Vec<Spanned<String>>| texts.into_iter().map(Spanned::into_inner).collect();
        row.variants.push(Variant {
            rule: format!("codes:{id}"),
            id,
            says: plain(says),
            judgement,
            because: answer.because,
            weight: answer.weight,
            description: description.unwrap_or_else(|| row.description.clone()),
            advice,
            accepts: plain(accepts),
            rejects: plain(rejects),
            file: file.name.clone(),
            line: file.line(place.start),
        });
        Ok(())
    }

    fn judge(
        &self,
        file: &TableFile,
        limit: Option<Class>,
        answer: &AnswerSpec,
    ) -> Result<(Judgement, String), TableError> {
        let AnswerSpec { reason, class, fault, because, advice, .. } = answer;
        if let (Some(class), Some(limit)) = (class, limit)
            // Class sorts from the worst to the best.
            && *class < limit
        {
            let problem = format!("class `{class}` can't be reached: codes with this digit have at_most = \"{limit}\"");
            return Err(file.refuse(&reason.span(), &problem));
        }
        let own = Deviation { class: *class, fault: *fault, because: because.as_deref(), is_own: file.is_own() };
        let judgement = self
            .reasons
            .judgement(*reason.get_ref(), limit, &own)
            .map_err(|problem| file.refuse(&reason.span(), &problem))?;
        let advice = advice.clone().unwrap_or_else(|| self.reasons.advice(judgement, None).to_owned());
        Ok((judgement, advice))
    }

    /// The worst class that the row of the code's digit allows.
    fn limit(&self, key: Key) -> Option<Class> {
        self.rows.get(&Key::Digit(key.digit()))?.at_most
    }

    /// The file that took a row away, and where it says so.
    fn dropped(&self, id: &str) -> Option<(&TableFile, Range<usize>)> {
        let (file, place) = self.dropped.iter().find(|(_, dropped)| dropped.get_ref() == id)?;
        Some((file, place.span()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = r#"
[[digit]]
code = 2
reason = "delivered"
description = "Success"
advice = "None."
reference = "RFC 3463"

[[digit]]
code = 4
reason = "deferred"
at_most = "soft"
description = "Transient"
advice = "Wait."
reference = "RFC 3463"

[[digit]]
code = 5
reason = "undetermined"
description = "Permanent"
advice = "Read."
reference = "RFC 3463"
"#;

    /// A row in one line, so that a case's line numbers can be read off.
    fn reply(code: &str, variants: &str) -> String {
        format!(
            "reply = [{{ code = {code}, reason = \"policy\", description = \"d\", \
             advice = \"a\", reference = \"r\", variant = [\n{variants}\n] }}]"
        )
    }

    fn variant(phrases: &str) -> String {
        // Each needs an id of its own.
        let id = phrases.len();
        format!("{{ id = \"550.v{id}\", says = [{phrases}], reason = \"policy\" }},")
    }

    fn status(code: &str, outcomes: &str) -> String {
        format!(
            "status = [{{ code = \"{code}\",\n{outcomes} description = \"d\", advice = \"a\", reference = \"r\" }}]"
        )
    }

    /// The reasons of the table that comes with the program, placed last so that lines can be counted.
    fn with_reasons(text: &str) -> String {
        let reasons = EMBEDDED.text.split("\n\n").filter(|block| block.starts_with("[reason."));
        reasons.fold(text.to_owned(), |text, reason| format!("{text}\n{reason}\n"))
    }

    fn refusal(text: &str) -> String {
        CodeTable::from_files(&[TableFile::of_test("my.toml", &with_reasons(text))]).expect_err(text).to_string()
    }

    #[test]
    fn slips_of_the_pen_are_refused_with_file_and_line() {
        const SOFT: &str = "reason = \"policy\"";
        for (head, problem) in [
            ("[[reply]\n", "my.toml:1: "),
            (
                "colour = 1\n",
                "my.toml:1: unknown key `colour`, expected one of `drop`, `reason`, `digit`, `reply`, `status`, `variant`",
            ),
            (
                &reply("550", "{ id = \"550.v\", says = [\"user unknown\"], clas = \"hard\" }"),
                "my.toml:2: unknown key `clas`",
            ),
            (
                &reply("550", "").replace("reason", "class = \"sof\", reason"),
                "my.toml:1: class: unknown word `sof`, expected one of `hard`, `soft`, `success`",
            ),
            (
                &reply("550", "").replace("reason", "class = \"hard\", reason"),
                "my.toml:1: this deviates from what follows from `policy` (soft, fault sender); add because = ",
            ),
            (
                &reply("550", "").replace("reason", "class = \"soft\", reason"),
                "my.toml:1: class `soft` follows from the reason `policy`: leave it out",
            ),
            (
                &reply("550", "").replace("reason", "fault = \"sender\", reason"),
                "my.toml:1: fault `sender` follows from the reason `policy`: leave it out",
            ),
            (
                &reply("550", "").replace("reason", "because = \"b\", reason"),
                "my.toml:1: `because` tells why a row deviates",
            ),
            (
                &reply("550", "").replace("policy", "police"),
                "my.toml:1: reason: unknown word `police`, expected one of `user_unknown`",
            ),
            (&reply("550", "").replace("advice", "advise"), "my.toml:1: unknown key `advise`"),
            (&reply("\"550\"", ""), "my.toml:1: code: found \"550\", expected a whole number from 0 to 65535"),
            (&reply("600", ""), "my.toml:1: `600` is no reply code; expected 200 to 599"),
            (
                &reply("450", &variant("\"some words\"")),
                "my.toml:2: `550.v12` is no id of a variant of 450; expected `450.` and a word",
            ),
            (
                &reply("550", &variant("\"some words\"").replace("id =", "code = 550, id =")),
                "my.toml:2: the variant belongs to the [[reply]] row 550 that it stands below; leave `code` out",
            ),
            (&reply("550", &variant("")), "my.toml:2: a variant without phrases can never answer"),
            (&reply("550", &variant("\" no \"")), "my.toml:2: the phrase \"no\" would fit anything"),
            (
                &reply("550", &format!("{}\n\n{}", variant("\"user unknown\""), variant("\"Local  User unknown\""))),
                "my.toml:4: the phrase \"Local  User unknown\" can never decide: \"user unknown\" in line 2 answers first",
            ),
            (
                &reply("550", &variant("\"local user unknown\",\n\"user unknown\"")),
                "my.toml:2: the phrase \"local user unknown\" can never decide: \"user unknown\" in line 3 answers first",
            ),
            (
                &reply(
                    "450",
                    "{ id = \"450.v\", says = [\"gone for good\"],\nclass = \"hard\", reason = \"moved\", because = \"b\" }",
                ),
                "my.toml:3: class `hard` can't be reached: codes with this digit have at_most = \"soft\"",
            ),
            (
                &status("5.1.1", &format!("5 = {{ {SOFT} }},")),
                "my.toml:1: `5.1.1` is no status; expected \"x.SUBJECT.DETAIL\"",
            ),
            (&status("x.1.1000", &format!("5 = {{ {SOFT} }},")), "my.toml:1: `x.1.1000` is no status"),
            (&status("x.1.1", ""), "my.toml:1: x.1.1 says nothing; expected an outcome for 2, 4 or 5"),
            (&status("x.1.1", &format!("3 = {{ {SOFT} }},")), "my.toml:2: unknown key `3`"),
            (
                &status("x.1.1", "4 = { class = \"hard\", reason = \"policy\", because = \"b\" },"),
                "my.toml:2: class `hard` can't be reached",
            ),
        ] {
            let found = refusal(&format!("{head}\n{DIGITS}"));
            assert!(found.starts_with(problem), "\nexpected {problem}\n   found {found}");
            assert!(!found.contains('\n'), "{found}");
        }
    }

    #[test]
    fn doubles_are_refused_with_both_places() {
        let again = |row: &str| refusal(&format!("{DIGITS}\n{row}\n{row}"));
        let digit = &DIGITS[DIGITS.rfind("[[digit]]").unwrap()..];
        assert_eq!(again(digit), "my.toml:25: there is a row `5` already, in my.toml:18");
        let row = "[[status]]\ncode = \"x.1.*\"\n5 = { reason = \"policy\" }\n\
                   description = \"\"\nadvice = \"\"\nreference = \"\"";
        assert_eq!(again(row), "my.toml:31: there is a row `5.1.*` already, in my.toml:25");
    }

    #[test]
    fn each_first_digit_needs_its_row() {
        assert!(refusal("").contains("no [[digit]] row for 2"));
        let without_5 = &DIGITS[..DIGITS.rfind("[[digit]]").unwrap()];
        assert_eq!(
            refusal(without_5),
            "my.toml:1: no [[digit]] row for 5: 2, 4 and 5 each need one, for codes that have no row"
        );
        assert!(refusal(&DIGITS.replace("code = 5", "code = 6")).starts_with("my.toml:18: `6` is no first digit"));
    }

    fn with_own(own: &str) -> Result<CodeTable, TableError> {
        CodeTable::from_files(&[TableFile::of_test("my.toml", own), TableFile::embedded(EMBEDDED)])
    }

    #[test]
    fn rows_of_ones_own_are_laid_over_the_default() {
        let table = with_own(
            "drop = [\"553.rate-limited\"]\n\
             [reason.mailbox_full]\nclass = \"soft\"\nfault = \"recipient\"\nadvice = \"Wait a week.\"\n\
             [[status]]\ncode = \"x.1.1\"\nreplaces = \"5.1.1\"\n5 = { reason = \"policy\" }\n\
             description = \"d\"\nreference = \"r\"\n\
             [[variant]]\ncode = 550\nid = \"550.closed\"\nsays = [\"shop is closed\"]\nreason = \"disabled\"\n",
        )
        .unwrap();
        let row = |code: &str| table.status_row(code.parse().unwrap()).unwrap();
        assert_eq!(
            (row("5.1.1").judgement.reason, row("4.1.1").judgement.reason),
            (Reason::Policy, Reason::UserUnknown)
        );
        assert_eq!(row("5.1.1").file, "my.toml");
        assert_eq!(row("5.2.2").advice, "Wait a week.");
        let variants = |code: &str| &table.reply_row(code.parse().unwrap()).unwrap().variants;
        assert_eq!(variants("550")[0].id, "550.closed");
        assert!(variants("553").iter().all(|variant| variant.id != "553.rate-limited"));
    }

    #[test]
    fn rows_that_cannot_be_laid_over_the_default_are_refused() {
        let row = "[[reply]]\ncode = 550\nreason = \"policy\"\ndescription = \"d\"\nreference = \"r\"\n";
        for (own, problem) in [
            (row, "my.toml:2: there is a row `550` already, in config/codes.toml:"),
            ("drop = [\"560\"]", "my.toml:1: there is no row `560` to drop"),
            (
                "\ndrop = [\"550\"]",
                "my.toml:2: `550` can't be dropped while its variant `550.sender-rejected` is there",
            ),
            ("\ndrop = [\"5\"]", "my.toml:2: the [[digit]] row 5 can't be dropped: 2, 4 and 5 each need one"),
            (
                "[[variant]]\nid = \"550.a\"\nsays = [\"some words\"]\nreason = \"policy\"",
                "my.toml:2: the variant `550.a` has no `code`",
            ),
            (
                "[[variant]]\ncode = 560\nid = \"560.a\"\nsays = [\"some words\"]\nreason = \"policy\"",
                "my.toml:3: the variant `560.a` has no [[reply]] row for 560",
            ),
        ] {
            let error = with_own(own).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
        assert!(with_own(&row.replacen("reason", "replaces = \"550\"\nreason", 1)).is_ok());
    }

    #[test]
    fn a_file_of_ones_own_is_read_and_needs_examples() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.toml");
        std::fs::write(
            &path,
            "[[variant]]\ncode = 550\nid = \"550.closed\"\nsays = [\"closed\"]\nreason = \"disabled\"",
        )
        .unwrap();
        let error = CodeTable::load(&[path]).unwrap_err().to_string();
        assert!(error.contains("my.toml:3: `550.closed` has no example"), "{error}");
    }
}
