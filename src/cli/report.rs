//! `bounced report`: how much was sent, what became of it, and what is wrong with it.

use std::io::{self, Write};

use clap::{
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};

use super::{
    Exit, Failure, Globals, block_on,
    columns::{columns, padded},
    suppressions::when,
    terminal::{grouped, json_line, printable, width},
};
use crate::{
    app::{self, MailReport, ReportLine, ShownAlarm},
    store::FiguresBy,
};

/// Say how much was sent, how much of it was delivered, bounced and complained of, and which alarms there are.
///
/// Rates are parts of what was sent, as far as a mail log or `bounced sent import` tells of it; `-` where fewer than 50
/// messages were ([alarms] rate_least in the policy). Blocked are bounces that have their cause in the sender or the
/// message. docs/report.md has more.
///
/// With --json one object: {"since", "by", "alarms": [{"alarm", "about", "words", "raised", "cleared"}], "lines":
/// [{"name", "sent", "delivered", "hard", "soft", "blocked", "complaints", "delivered_rate", "hard_rate", "soft_rate",
/// "blocked_rate", "complaint_rate"}, …], "left_out", "total"}, times in seconds since 1970-01-01 UTC, rates between 0
/// and 1, or null.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bounced report
  bounced report --since 7d --by provider
  bounced report --by campaign --json | jq '.lines[].hard_rate'")]
pub struct Report {
    /// From this day on: a date, a time, or how long ago.
    #[arg(long, value_name = "WHEN", default_value = "30d", value_parser = when)]
    since: i64,
    /// By what the lines are told apart.
    #[arg(long, default_value = "day", value_parser = by())]
    by: FiguresBy,
    /// At most so many lines: the newest days, or those of which most was sent.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = value_parser!(u32).range(1..))]
    limit: u32,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

fn by() -> impl TypedValueParser<Value = FiguresBy> {
    PossibleValuesParser::new(FiguresBy::ALL.iter().map(|by| by.as_str())).try_map(|word| word.parse::<FiguresBy>())
}

impl Report {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let (config, judge) = (globals.config()?, globals.judge()?);
        let report = block_on(async { Ok(app::report(&config, &judge, self.by, self.since, self.limit).await?) })?;
        let mut out = io::stdout().lock();
        if self.json {
            json_line(&mut out, &report)?;
        } else {
            // Elsewhere each line stays whole, for whoever looks for one.
            write(&report, width().unwrap_or(usize::MAX), &mut out)?;
        }
        Ok(Exit::Yes)
    }
}

/// So many columns names have at least, whatever the figures need.
const LEAST_ROOM: usize = 16;

/// Writes the report in so many columns, as far as its figures fit into them.
fn write(report: &MailReport, width: usize, out: &mut impl Write) -> io::Result<()> {
    for alarm in &report.alarms {
        write_alarm(alarm, out)?;
    }
    let heads = ["sent", "delivered", "hard", "soft", "blocked", "complaints"].map(str::to_owned);
    let head = (report.by.to_string(), heads);
    let (lines, total): (Vec<_>, _) = (report.lines.iter().map(cells).collect(), cells(&report.total));
    // No wider than what stands in them: few terminals have many columns.
    let all = || lines.iter().chain([&head, &total]);
    let widths: [usize; 6] =
        std::array::from_fn(|n| all().map(|(_, figures)| columns(&figures[n])).max().unwrap_or_default());
    // Where a name leaves no room for its figures, they stand below it.
    let room = width.saturating_sub(widths.iter().map(|width| 2 + width).sum()).max(LEAST_ROOM);
    let first = all().map(|(name, _)| columns(name)).filter(|columns| *columns <= room).max().unwrap_or_default();
    let row = |(name, figures): &Cells| {
        let figures = figures.iter().zip(widths).map(|(figure, width)| format!("  {figure:>width$}"));
        let figures = figures.collect::<String>();
        match columns(name) > room {
            true => format!("{name}\n{}{figures}", padded("", first)),
            false => format!("{}{figures}", padded(name, first)),
        }
    };
    writeln!(out, "{}", row(&head))?;
    lines.iter().try_for_each(|line| writeln!(out, "{}", row(line)))?;
    if report.left_out > 0 {
        writeln!(out, "and {} more: --limit", grouped(report.left_out))?;
    }
    writeln!(out, "{}", row(&total))
}

/// A line of the report as text: its name and its figures.
type Cells = (String, [String; 6]);

/// As `bounced status` shows it, too.
pub(super) fn write_alarm(alarm: &ShownAlarm, out: &mut impl Write) -> io::Result<()> {
    let time = |at: i64| jiff::Timestamp::from_second(at).unwrap_or_default();
    let over = alarm.cleared.map_or_else(String::new, |at| format!(", over since {}", time(at)));
    let state = if alarm.cleared.is_none() { "ALARM" } else { "over" };
    let words = printable(&alarm.words);
    writeln!(out, "{state:<6} {}: {words} (since {}{over})", alarm.alarm, time(alarm.raised))
}

fn cells(line: &ReportLine) -> Cells {
    let name = match line.name.as_deref() {
        None => "all",
        Some("") => "(not known)",
        Some(name) => name,
    };
    let part = |number: u64, rate: Option<f64>| {
        let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0));
        format!("{} {rate:>7}", grouped(number))
    };
    let figures = &line.figures;
    let figures = [
        grouped(figures.sent),
        grouped(figures.delivered),
        part(figures.hard, line.hard_rate),
        part(figures.soft, line.soft_rate),
        part(figures.blocked, line.blocked_rate),
        part(figures.complaints, line.complaint_rate),
    ];
    (printable(name), figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Figures;

    fn line(name: Option<&str>, sent: u64) -> ReportLine {
        ReportLine {
            name: name.map(str::to_owned),
            figures: Figures { sent, delivered: sent, ..Figures::default() },
            delivered_rate: None,
            hard_rate: Some(1.0),
            soft_rate: None,
            blocked_rate: None,
            complaint_rate: Some(0.001),
        }
    }

    fn written(names: &[&str], width: usize) -> String {
        let report = MailReport {
            since: 0,
            by: FiguresBy::Campaign,
            alarms: Vec::new(),
            lines: names.iter().map(|name| line(Some(name), 1_234)).collect(),
            left_out: 0,
            total: line(None, 5_678),
        };
        let mut out = Vec::new();
        write(&report, width, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn figures_stand_in_columns_whatever_the_names_are() {
        let long = "spring-sale-".repeat(8);
        for width in [80, 120, usize::MAX] {
            for names in [&[][..], &["a", "", "日本語の月刊", "e\u{301}te\u{301}"], &["a", &long]] {
                let told = written(names, width);
                let (figures, alone): (Vec<&str>, Vec<&str>) = told.lines().partition(|line| line.contains("  "));
                assert_eq!(alone.len(), usize::from(names.contains(&&*long) && width < 160), "{told}");
                assert!(alone.iter().all(|name| *name == long), "{told}");
                assert_eq!(figures.len(), 2 + names.len(), "{told}");
                let ends = |line: &&str| columns(line);
                assert!(figures.iter().map(ends).all(|end| end == columns(figures[0]) && end <= width), "{told}");
            }
        }
        assert!(written(&["日本語の月刊"], 80).contains("日本語の月刊  "), "it fits");
    }
}
