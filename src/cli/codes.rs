//! `bounced codes [CODE]`: the code table, or the row that answers for one code.
//! Knows only how rows are shown; what they say is the table's.

use std::io::{self, Write};

use serde_json::json;

use super::{
    Exit, Failure, Globals,
    columns::{self, paragraph, quoted},
    terminal::json_line,
};
use crate::codes::{CodeRow, CodeTable, EnhancedStatusCode, Judgement, ReplyCode, Variant, Weight};

/// Print the code table, or explain one code: what it means, what its texts change, and which row answers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced codes
  bounced codes 5.1.1
  bounced codes 4.2.x --json")]
pub struct Codes {
    /// A reply code (550), one of its text variants (550.user-unknown), an enhanced status code (4.2.2), or a group of
    /// codes (5, 5xx, 5.1, 5.x.x, x.1.1); verdicts name them as `codes:CODE`.
    code: Option<String>,
    /// One JSON object a row.
    #[arg(long)]
    json: bool,
}

impl Codes {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let judge = globals.judge_with_examples()?;
        Ok(run(&self, judge.classifier().codes(), &mut io::stdout().lock())?)
    }
}

/// Answers on `out`; [`Exit::No`] when no row answers.
///
/// # Errors
/// `out` can't be written.
pub fn run(args: &Codes, table: &CodeTable, out: &mut impl Write) -> io::Result<Exit> {
    let given = args.code.as_deref().unwrap_or_default();
    let asked = given.strip_prefix("codes:").unwrap_or(given);
    if let Some((row, variant)) = table.variant(asked) {
        if args.json {
            json_line(out, variant)?;
        } else {
            paragraph(out, "", &format!("{asked}  {}", variant.description))?;
            paragraph(out, "", &format!("Answers in place of {} where the reply's text has one of these:", row.code))?;
            explain_variant(out, variant)?;
        }
        return Ok(Exit::Yes);
    }
    let rows: Vec<&CodeRow> = if let Some(row) = table.rows().find(|row| *row.rule == *given) {
        vec![row]
    } else if let Ok(reply) = asked.parse::<ReplyCode>() {
        table.reply_row(reply).into_iter().collect()
    } else if let Ok(status) = asked.parse::<EnhancedStatusCode>() {
        table.status_row(status).into_iter().collect()
    } else {
        table.rows().filter(|row| fits(asked, &row.code.to_string())).collect()
    };
    match rows[..] {
        [] if args.json => json_line(out, &json!({ "code": asked, "rule": null }))?,
        [] => writeln!(out, "No row answers `{asked}`.")?,
        _ if args.json => rows.iter().try_for_each(|row| json_line(out, row))?,
        [row] => explain(out, asked, row)?,
        _ => list(out, &rows)?,
    }
    Ok(if rows.is_empty() { Exit::No } else { Exit::Yes })
}

/// Whether a code belongs to a group: `5`, `5xx`, `5.1`, `5.1.*`, `5.x.x`, `x.1.1`, or nothing for all.
fn fits(group: &str, code: &str) -> bool {
    let wild = |part: &str| matches!(part, "x" | "y" | "z" | "*");
    let group = group.to_ascii_lowercase();
    if group.contains('.') {
        let (wanted, own) = (group.split('.'), code.split('.'));
        wanted.clone().count() <= own.clone().count()
            && wanted.zip(own).all(|(wanted, own)| wild(wanted) || wanted == own)
    } else {
        let digit = |own: &str| own.bytes().all(|byte| byte.is_ascii_digit());
        let (wanted, own) = (group.split_terminator("").skip(1), code.split_terminator("").skip(1));
        group.len() <= code.len() && wanted.zip(own).all(|(wanted, own)| wild(wanted) && digit(own) || wanted == own)
    }
}

/// One line a row, and one for each of its text variants.
fn list(out: &mut impl Write, rows: &[&CodeRow]) -> io::Result<()> {
    line(out, "code", ["class", "reason", "fault", "weight"], "description")?;
    for row in rows {
        let mut entry = |code: &str, judgement: Judgement, weight: Weight, description: &str| {
            let Judgement { class, reason, fault } = judgement;
            line(out, code, [class.as_str(), reason.as_str(), fault.as_str(), weight.as_str()], description)
        };
        let code = row.code.to_string();
        entry(&code, row.judgement, row.weight, &row.description)?;
        for variant in &row.variants {
            entry(&variant.id, variant.judgement, variant.weight, &variant.description)?;
        }
    }
    Ok(())
}

fn line(
    out: &mut impl Write,
    code: &str,
    [class, reason, fault, weight]: [&str; 4],
    description: &str,
) -> io::Result<()> {
    columns::line(out, &format!("{code:<23} {class:<7} {reason:<15} {fault:<9} {weight:<8} {description}"))
}

/// Everything that a row says.
fn explain(out: &mut impl Write, asked: &str, row: &CodeRow) -> io::Result<()> {
    paragraph(out, "", &format!("{asked}  {}", row.description))?;
    if asked != row.code.to_string() {
        paragraph(out, "", &format!("{asked} has no row of its own; the more general row {} answers.", row.code))?;
    }
    writeln!(out)?;
    answer(out, "  ", row.judgement, row.weight, &row.advice)?;
    because(out, "  because    ", row.because.as_deref())?;
    if let Some(class) = row.at_most {
        paragraph(out, "  limit      ", &format!("no code with this first digit is judged worse than {class}"))?;
    }
    paragraph(out, "  reference  ", &row.reference)?;
    paragraph(out, "  rule       ", &row.rule)?;
    paragraph(out, "  from       ", &format!("{}:{}", row.file, row.line))?;
    if !row.variants.is_empty() {
        writeln!(out, "\nThe first of these that is found in the reply's text answers instead:")?;
    }
    for variant in &row.variants {
        explain_variant(out, variant)?;
    }
    Ok(())
}

/// Everything that a text variant says.
fn explain_variant(out: &mut impl Write, variant: &Variant) -> io::Result<()> {
    writeln!(out)?;
    paragraph(out, "  ", &quoted(&variant.says))?;
    paragraph(out, "    meaning    ", &variant.description)?;
    answer(out, "    ", variant.judgement, variant.weight, &variant.advice)?;
    because(out, "    because    ", variant.because.as_deref())?;
    for reply in &variant.accepts {
        paragraph(out, "    decides    ", reply)?;
    }
    for reply in &variant.rejects {
        paragraph(out, "    not on     ", reply)?;
    }
    paragraph(out, "    rule       ", &variant.rule)?;
    paragraph(out, "    from       ", &format!("{}:{}", variant.file, variant.line))
}

/// Why class or fault are not those that follow from the reason.
fn because(out: &mut impl Write, head: &str, because: Option<&str>) -> io::Result<()> {
    because.map_or(Ok(()), |because| paragraph(out, head, because))
}

fn answer(out: &mut impl Write, indent: &str, judgement: Judgement, weight: Weight, advice: &str) -> io::Result<()> {
    let weight_means = match weight {
        Weight::Vague => "vague: any fitting phrase knows better",
        Weight::Specific => "specific: the code means one thing",
    };
    let Judgement { class, reason, fault } = judgement;
    let fields = [("class", class.as_str()), ("reason", reason.as_str()), ("fault", fault.as_str())];
    for (name, text) in fields.into_iter().chain([("weight", weight_means), ("advice", advice)]) {
        paragraph(out, &format!("{indent}{name:<9}  "), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::{super::columns::WIDTH, *};

    static TABLE: LazyLock<CodeTable> = LazyLock::new(CodeTable::embedded);

    fn answer_to(code: Option<&str>, json: bool) -> (Exit, String) {
        let mut out = Vec::new();
        let args = Codes { code: code.map(str::to_owned), json };
        let exit = run(&args, &TABLE, &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_code_is_explained_with_its_texts_and_its_row() {
        for (code, parts) in [
            (
                "550",
                &["soft", "codes:550", "RFC 5321", "\"relaying prohibited\"", "user_unknown", "Remove the address."][..],
            ),
            (
                "550.user-unknown",
                &["in place of 550 where", "\"no such user\"", "hard", "codes:550.user-unknown", "config/codes.toml:"],
            ),
            ("codes:550.user-unknown", &["in place of 550 where"]),
            ("4.2.2", &["Mailbox full", "mailbox_full", "codes:4.2.2"]),
            ("5.1.999", &["has no row of its own", "codes:5.1.*"]),
            ("599", &["has no row of its own", "codes:5"]),
        ] {
            let (exit, text) = answer_to(Some(code), false);
            assert_eq!(exit, Exit::Yes, "{code}");
            for part in parts {
                assert!(text.contains(part), "{code} lacks {part}:\n{text}");
            }
        }
    }

    #[test]
    fn what_no_row_answers_is_said_so() {
        for code in ["550.closed", "999", "600", "399", "3.1.1", "5.1.1.1", "8.x.x", "mailbox", "5..1", "é"] {
            assert_eq!(answer_to(Some(code), false), (Exit::No, format!("No row answers `{code}`.\n")));
            assert_eq!(answer_to(Some(code), true).0, Exit::No);
        }
    }

    #[test]
    fn a_group_lists_its_rows() {
        for (group, inside, outside) in [
            ("5", &["5", "550", "5.1.*", "5.1.1"][..], &["450", "4.1.1"][..]),
            ("5xx", &["500", "572"], &["5", "421", "5.1.1"]),
            ("55x", &["550", "557"], &["521", "5.1.1"]),
            ("5.1", &["5.1.*", "5.1.1", "5.1.10"], &["5", "5.2.1", "4.1.1", "551"]),
            ("5.1.*", &["5.1.*", "5.1.10"], &["5.2.1", "4.1.1"]),
            ("5.x.x", &["5.0.0", "5.7.30"], &["5", "550", "4.1.1"]),
            ("X.1.1", &["4.1.1", "5.1.1"], &["5.1.10", "5.1.*"]),
        ] {
            let (exit, text) = answer_to(Some(group), true);
            assert_eq!(exit, Exit::Yes, "{group}");
            for code in inside {
                assert!(text.contains(&format!("\"code\":\"{code}\"")), "{group} lacks {code}:\n{text}");
            }
            for code in outside {
                assert!(!text.contains(&format!("\"code\":\"{code}\"")), "{group} holds {code}:\n{text}");
            }
        }
    }

    #[test]
    fn the_table_shows_every_row_and_variant_within_the_width() {
        let (exit, text) = answer_to(None, false);
        let entries: usize = TABLE.rows().map(|row| 1 + row.variants.len()).sum();
        assert_eq!((exit, text.lines().count()), (Exit::Yes, 1 + entries));
        let explained = TABLE.rows().map(|row| answer_to(Some(&row.code.to_string()), false).1);
        for line in explained.chain([text]).collect::<String>().lines() {
            assert!(line.chars().count() <= WIDTH && line.trim_end() == line, "{line:?}");
        }
    }

    #[test]
    fn json_gives_one_object_a_row() {
        let (_, text) = answer_to(None, true);
        assert_eq!(text.lines().count(), TABLE.rows().count());
        let row: serde_json::Value = serde_json::from_str(&answer_to(Some("552"), true).1).unwrap();
        assert_eq!((&row["code"], &row["class"], &row["rule"]), (&json!("552"), &json!("soft"), &json!("codes:552")));
        assert_eq!(row["variants"][0]["says"][0], "user unknown");
    }

    #[test]
    fn every_rule_that_a_verdict_can_name_is_looked_up_by_it() {
        for row in TABLE.rows() {
            let rules =
                std::iter::once(row.rule.to_string()).chain(row.variants.iter().map(|variant| variant.rule.clone()));
            for rule in rules {
                let (exit, text) = answer_to(Some(&rule), true);
                let found: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!((exit, &found["rule"]), (Exit::Yes, &json!(rule)));
            }
        }
    }
}
