//! `bounced phrases [ID]`: the phrases, or one of them: what it looks for, what it means, and its examples.
//! Knows only how rows are shown; what they say is the table's.

use std::io::{self, Write};

use serde_json::json;

use super::{
    Exit, Failure, Globals,
    columns::{self, paragraph, quoted},
    terminal::json_line,
};
use crate::{
    classify::{Order, Phrase, Strength},
    codes::Judgement,
};

/// Print the phrases by which texts are judged, or explain one: its words, exceptions, meaning and examples.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced phrases
  bounced phrases user.unknown
  bounced phrases google --json")]
pub struct Phrases {
    /// The row's id, as verdicts name it (`phrases:ID`), or the beginning of several: google, user.
    id: Option<String>,
    /// One JSON object a row.
    #[arg(long)]
    json: bool,
}

impl Phrases {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let judge = globals.judge_with_examples()?;
        Ok(run(&self, judge.classifier().phrases(), &mut io::stdout().lock())?)
    }
}

/// Answers on `out`; [`Exit::No`] when there is no such row.
fn run(args: &Phrases, table: &[Phrase], out: &mut impl Write) -> io::Result<Exit> {
    let asked = args.id.as_deref().unwrap_or_default();
    let asked = asked.strip_prefix("phrases:").unwrap_or(asked);
    let rows: Vec<&Phrase> = match table.iter().find(|row| row.id == asked) {
        Some(row) => vec![row],
        None => table.iter().filter(|row| row.id.starts_with(asked)).collect(),
    };
    match rows[..] {
        [] if args.json => json_line(out, &json!({ "id": asked, "rule": null }))?,
        [] => writeln!(out, "There is no phrase `{asked}`.")?,
        _ if args.json => rows.iter().try_for_each(|row| json_line(out, row))?,
        [row] => explain(out, row)?,
        _ => list(out, &rows)?,
    }
    Ok(if rows.is_empty() { Exit::No } else { Exit::Yes })
}

/// One line a row, in the order in which they are asked.
fn list(out: &mut impl Write, rows: &[&Phrase]) -> io::Result<()> {
    columns::line(out, &format!("{:<28} {:<7} {:<15} {:<9} says", "id", "class", "reason", "fault"))?;
    for row in rows {
        let Judgement { class, reason, fault } = row.judgement;
        let shapes = row.shapes.iter().flat_map(|shape| &shape.says).map(|says| format!("… {says}"));
        let says = row.says.iter().chain(&row.words).cloned().chain(shapes).next().unwrap_or_default();
        columns::line(out, &format!("{:<28} {class:<7} {reason:<15} {fault:<9} {says}", row.id))?;
    }
    Ok(())
}

/// Everything that a row says.
fn explain(out: &mut impl Write, row: &Phrase) -> io::Result<()> {
    let Judgement { class, reason, fault } = row.judgement;
    writeln!(out, "{}\n", row.id)?;
    let rank = match (&row.scope, row.strength) {
        (Some(scope), _) => format!("the word of [scope.{scope}]: goes before all codes"),
        (None, Strength::Unmistakable) => "unmistakable: goes before all codes".into(),
        (None, Strength::Generic) => "generic: goes before codes that cover many things".into(),
    };
    let fields = [
        ("class", Some(class.as_str())),
        ("reason", Some(reason.as_str())),
        ("fault", Some(fault.as_str())),
        ("because", row.because.as_deref()),
        ("worth", Some(&rank)),
        ("advice", Some(&row.advice)),
        ("source", row.source.as_deref()),
    ];
    for (name, text) in fields {
        text.map_or(Ok(()), |text| paragraph(out, &format!("  {name:<9}  "), text))?;
    }
    paragraph(out, "  rule       ", &row.rule)?;
    paragraph(out, "  from       ", &format!("{}:{}", row.file, row.line))?;
    words(out, "One of these is said:", &row.says)?;
    words(out, if row.says.is_empty() { "One of these words is said:" } else { "Or one of these words:" }, &row.words)?;
    for shape in &row.shapes {
        let order = match shape.order {
            Order::AboutFirst => "and behind it, in one sentence",
            Order::SaysFirst => "and in front of it, in one sentence",
            Order::Either => "and before or behind it, in one sentence",
        };
        let or = if row.says.is_empty() && row.words.is_empty() { "This" } else { "Or this" };
        writeln!(out, "\n{or} is spoken of:")?;
        paragraph(out, "  ", &quoted(&shape.about))?;
        writeln!(out, "{order} and with at most {} characters between them:", shape.between)?;
        paragraph(out, "  ", &quoted(&shape.says))?;
    }
    words(out, "And all of these:", &row.with)?;
    words(out, "And none of these:", &row.unless)?;
    words(out, "And the enhanced status is one of these:", &row.status)?;
    words(out, "And the reply code is one of these:", &row.reply)?;
    lines(out, "It decides on these:", &row.accepts)?;
    lines(out, "And not on these:", &row.rejects)
}

fn words(out: &mut impl Write, head: &str, phrases: &[String]) -> io::Result<()> {
    if phrases.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{head}")?;
    paragraph(out, "  ", &quoted(phrases))
}

fn lines(out: &mut impl Write, head: &str, replies: &[String]) -> io::Result<()> {
    if replies.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{head}")?;
    replies.iter().try_for_each(|reply| paragraph(out, "  ", reply))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Classifier;

    fn answer_to(id: Option<&str>, json: bool) -> (Exit, String) {
        let mut out = Vec::new();
        let classifier = Classifier::embedded();
        let exit = run(&Phrases { id: id.map(str::to_owned), json }, classifier.phrases(), &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_row_is_explained_with_its_words_and_its_file() {
        for id in ["google.rate", "phrases:google.rate"] {
            let (exit, text) = answer_to(Some(id), false);
            assert_eq!(exit, Exit::Yes);
            for part in ["rate_limited", "receiving mail at a rate that", "phrases:google.rate", "config/phrases.toml:"]
            {
                assert!(text.contains(part), "{part} is missing in:\n{text}");
            }
        }
    }

    #[test]
    fn all_rows_are_listed_in_their_order_or_those_of_a_group() {
        let classifier = Classifier::embedded();
        let (exit, text) = answer_to(None, false);
        assert_eq!((exit, text.lines().count()), (Exit::Yes, 1 + classifier.phrases().len()));
        let (_, text) = answer_to(Some("google."), true);
        let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(rows.len() > 3 && rows.iter().all(|row| row["id"].as_str().unwrap().starts_with("google.")));
        assert_eq!(rows[0]["class"], "soft");
        assert_eq!(answer_to(Some("mars"), false), (Exit::No, "There is no phrase `mars`.\n".to_owned()));
    }
}
