//! Holds rows against their own examples: each is read as a mail log's reply would be, and judged.

use super::Judge;
use crate::{
    parse,
    report::{Recipient, Verdict},
    tables::{self, Example, TableError},
};

/// What an example may begin with where the row wants to know who is speaking: `from mx.example.org: 550 no`.
const FROM: &str = "from ";

impl Judge {
    /// Holds the examples that are `asked` for against the tables.
    ///
    /// # Errors
    /// An example does not come out as its row says.
    pub(super) fn prove(&self, asked: impl Fn(&Example) -> bool) -> Result<(), TableError> {
        tables::prove(self.classifier.examples().filter(|example| asked(example)), |example| {
            let verdict = self.judge_example(&example.text);
            (self.classifier.decides(example, &verdict), verdict.rule)
        })
    }

    /// The verdict on an example.
    pub(super) fn judge_example(&self, text: &str) -> Verdict {
        self.classifier.judge_recipient(&self.example(text), None)
    }

    /// An example as a mail log's reply.
    fn example(&self, text: &str) -> Recipient {
        let host =
            text.strip_prefix(FROM).and_then(|rest| rest.split_once(": ")).filter(|(host, _)| !host.contains(' '));
        let mut recipient = parse::response(host.map_or(text, |(_, words)| words), &self.options.tables);
        recipient.remote_mta = host.map(|(host, _)| host.to_owned());
        recipient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::judge::TableFiles, classify::Phrase, config::Config};

    #[test]
    fn each_row_of_the_tables_does_what_its_examples_say() {
        let judge = Judge::with_examples(&Config::default()).unwrap();
        judge.prove(|_| true).unwrap();
        let accepted = judge.classifier.examples().filter(|example| example.expected == tables::Expected::Accepts);
        let accepted: std::collections::HashSet<&str> = accepted.map(|example| example.row.as_str()).collect();
        let variants = judge.classifier.codes().rows().flat_map(|row| &row.variants).map(|variant| &variant.id);
        let rows = judge.classifier.phrases().iter().map(|row| &row.id).chain(variants);
        let without: Vec<_> = rows.filter(|id| !accepted.contains(id.as_str())).collect();
        assert!(without.is_empty(), "rows without an example: {without:?}");
    }

    #[test]
    fn without_their_examples_the_tables_say_the_same() {
        let with = Judge::with_examples(&Config::default()).unwrap();
        let without = Judge::embedded();
        assert_eq!(without.classifier.examples().count(), 0);
        let phrases = with.classifier.phrases().iter().cloned();
        let phrases = phrases.map(|row| Phrase { accepts: Vec::new(), rejects: Vec::new(), ..row });
        let (phrases, others) = (phrases.collect::<Vec<_>>(), without.classifier.phrases());
        assert_eq!(serde_json::to_value(phrases).unwrap(), serde_json::to_value(others).unwrap());
        let files = TableFiles::read(&Config::default()).unwrap();
        let parse::TableFiles { kinds, formats, words } = &files.parse;
        for file in [kinds, formats, words, &files.codes, &files.phrases].into_iter().flatten() {
            let mut table: toml::Value = file.parse::<toml::Table>().unwrap().into();
            assert!(remove_examples(&mut table) > 10, "{}", file.name);
            assert_eq!(
                toml::Value::from(file.without_examples().parse::<toml::Table>().unwrap()),
                table,
                "{}",
                file.name
            );
        }
    }

    /// How many were there.
    fn remove_examples(value: &mut toml::Value) -> usize {
        match value {
            toml::Value::Array(values) => values.iter_mut().map(remove_examples).sum(),
            toml::Value::Table(table) => {
                let own = ["accepts", "rejects"].into_iter().filter_map(|key| table.remove(key)).count();
                own + table.iter_mut().map(|(_, value)| remove_examples(value)).sum::<usize>()
            }
            _ => 0,
        }
    }

    #[test]
    fn each_condition_of_a_row_keeps_a_line_of_its_rejects_away() {
        let judge = Judge::with_examples(&Config::default()).unwrap();
        let idle = judge.classifier.idle_conditions(|text| judge.example(text));
        assert!(idle.is_empty(), "nothing would miss these:\n{}", idle.join("\n"));
    }
}
