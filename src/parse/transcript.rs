//! Sendmail's transcript of a session -> the lines that speak of each recipient. What the remote server said goes
//! before the line in which Sendmail sums it up: its "User unknown" follows any refusal. Refuses to know what the words
//! mean.

use std::{collections::HashMap, ops::Range};

use super::words::{Role, Words};
use crate::text::split_lines;

/// A transcript among the words of a program.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// Where it stands, without its heading.
    pub range: Range<usize>,
    /// The lines that speak of each recipient, in the order in which they were asked for.
    pub of_each: Vec<Vec<Range<usize>>>,
    /// Those that speak of nobody who was asked for: of all who have no lines of their own.
    pub of_nobody: Vec<Range<usize>>,
    /// What stands at the end: `Message could not be delivered for 5 days`.
    pub of_all: Vec<Range<usize>>,
}

impl Transcript {
    /// Of the lines that speak of each, those outside the transcript, and then what the transcript says. Where it has
    /// lines of nobody's own, it says the same of all that it said.
    pub fn share_out(self, of_each: Vec<Vec<Range<usize>>>) -> Vec<Vec<Range<usize>>> {
        let Self { range, of_each: own, of_nobody, of_all } = self;
        if of_each.len() > 1 && own.iter().all(Vec::is_empty) {
            return of_each;
        }
        let shared = |(lines, mut own): (Vec<Range<usize>>, Vec<Range<usize>>)| {
            if own.is_empty() {
                own.clone_from(&of_nobody);
            }
            let before = lines.iter().map(|l| l.start..l.end.min(range.start)).filter(|l| !l.is_empty());
            let behind = lines.iter().map(|l| l.start.max(range.end)..l.end).filter(|l| !l.is_empty());
            before.chain(own).chain(of_all.iter().cloned()).chain(behind).collect()
        };
        of_each.into_iter().zip(own).map(shared).collect()
    }
}

/// The code and the words in which Sendmail sums up.
type Summary<'t> = (&'t str, &'t str);

/// One line of it.
enum Line<'t> {
    /// `>>> RCPT To:<anna@example.org>`
    Command,
    /// `<<< 550 5.7.1 no`
    Refusal,
    /// `550 5.1.1 <anna@example.org>... User unknown`: whom Sendmail speaks of, and what it says.
    Closing {
        whom: &'t str,
        says: (&'t str, &'t str),
    },
    /// `554 5.0.0 Service unavailable`
    Own,
    Other,
}

impl<'t> Line<'t> {
    fn of(line: &'t str) -> Self {
        // Whoever passes it on may indent all of it.
        let line = line.trim();
        let code =
            line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | ' ')).len();
        let (code, rest) = line.split_at(code);
        if line.starts_with(">>>") {
            Self::Command
        } else if line.strip_prefix("<<<").is_some_and(|said| said.trim_start().starts_with(['4', '5'])) {
            Self::Refusal
        } else if let Some((whom, said)) = rest.split_once("... ")
            && !whom.is_empty()
            && !whom.contains(char::is_whitespace)
        {
            Self::Closing { whom: whom.trim_matches(['<', '>']), says: (code, said) }
        } else if code.starts_with(['4', '5']) && code.len() > "550".len() {
            Self::Own
        } else {
            Self::Other
        }
    }
}

/// The transcript of a text, with the lines that speak of each of `wanted` (normalised addresses). One pass.
pub(super) fn read(text: &str, wanted: &[&str], words: &Words) -> Option<Transcript> {
    let range = find(text, words)?;
    let mut reader = Reader::new(wanted);
    let mut start = range.start;
    for line in split_lines(&text[range.clone()]) {
        let end = start + line.len();
        reader.read(&Line::of(line), start..end);
        start = end;
    }
    let of_all = if reader.refused { Vec::new() } else { std::mem::take(&mut reader.open) };
    reader.flush();
    let Reader { of_each, of_nobody, .. } = reader;
    Some(Transcript { range, of_each, of_nobody, of_all })
}

/// Where it stands: behind its heading, up to the next one.
fn find(text: &str, words: &Words) -> Option<Range<usize>> {
    let mut at = 0;
    let mut begin = None;
    for line in split_lines(text) {
        let is_heading = line.trim_start().starts_with("---");
        match begin {
            Some(begin) if is_heading => return Some(begin..at),
            None if is_heading && words.have(Role::BeginsTranscript, line) => begin = Some(at + line.len()),
            _ => {}
        }
        at += line.len();
    }
    Some(begin?..text.len())
}

/// Gathers lines until Sendmail says whom they were about.
struct Reader<'t> {
    /// Normalised addresses, and the local parts by which Sendmail calls its own users.
    index: HashMap<&'t str, usize>,
    of_each: Vec<Vec<Range<usize>>>,
    of_nobody: Vec<Range<usize>>,
    open: Vec<Range<usize>>,
    /// Whether the open lines hold a refusal by the remote server.
    refused: bool,
    /// Whether they hold words of Sendmail's own: it has told how the attempt ended.
    told: bool,
    /// What closed the last lines, and those lines, where a refusal stood among them.
    last: Option<(Summary<'t>, Vec<Range<usize>>)>,
}

impl<'t> Reader<'t> {
    fn new(wanted: &[&'t str]) -> Self {
        let mut index = HashMap::new();
        for (i, address) in wanted.iter().enumerate() {
            let local = address.rsplit_once('@').map_or(*address, |(local, _)| local);
            index.entry(local).or_insert(i);
        }
        // Who is called in full comes first.
        index.extend(wanted.iter().enumerate().map(|(i, address)| (*address, i)));
        Self {
            index,
            of_each: vec![Vec::new(); wanted.len()],
            of_nobody: Vec::new(),
            open: Vec::new(),
            refused: false,
            told: false,
            last: None,
        }
    }

    fn read(&mut self, line: &Line<'t>, range: Range<usize>) {
        match line {
            // Whatever was said before, nobody was named for it.
            Line::Command if self.refused || self.told => {
                self.flush();
                self.open.push(range);
            }
            Line::Refusal => {
                self.refused = true;
                self.open.push(range);
            }
            // A refusal that is summed up without a name.
            Line::Own if self.refused => self.flush(),
            Line::Closing { whom, says } => self.close(whom, *says, range),
            Line::Own => {
                self.told = true;
                self.open.push(range);
            }
            Line::Command | Line::Other => self.open.push(range),
        }
    }

    fn close(&mut self, whom: &str, says: Summary<'t>, line: Range<usize>) {
        let mut lines = std::mem::take(&mut self.open);
        // One refusal of the message is summed up for one recipient after the other.
        match self.last.take_if(|last| lines.is_empty() && last.0 == says) {
            Some(repeated) => {
                lines.clone_from(&repeated.1);
                self.last = Some(repeated);
            }
            None if self.refused => self.last = Some((says, lines.clone())),
            None => {
                lines.push(line);
                self.last = None;
            }
        }
        (self.refused, self.told) = (false, false);
        match self.index.get(whom.to_lowercase().as_str()) {
            // What was tried last is how it ended.
            Some(&i) => self.of_each[i] = lines,
            None => self.of_nobody.append(&mut lines),
        }
    }

    fn flush(&mut self) {
        self.of_nobody.append(&mut self.open);
        (self.refused, self.told) = (false, false);
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of each.
    fn said(text: &str, wanted: &[&str]) -> Vec<String> {
        let text = format!(
            "Sorry.\n   ----- Transcript of session follows -----\n{text}   ----- Unsent message follows -----\n"
        );
        let transcript = read(&text, wanted, &Words::embedded()).unwrap();
        let joined = |lines: &Vec<Range<usize>>| lines.iter().map(|line| &text[line.clone()]).collect::<String>();
        transcript.of_each.iter().chain([&transcript.of_nobody]).map(joined).collect()
    }

    #[test]
    fn a_refusal_goes_before_what_sendmail_makes_of_it() {
        let of = said(
            ">>> DATA\n<<< 550-5.7.1 no\n<<< 550 5.7.1 spam\n550 5.1.1 <a@x.example>... User unknown\n<<< 503 Need RCPT\n",
            &["a@x.example"],
        );
        assert_eq!(of, [">>> DATA\n<<< 550-5.7.1 no\n<<< 550 5.7.1 spam\n", "<<< 503 Need RCPT\n"]);
    }

    #[test]
    fn an_indented_transcript_is_read_alike() {
        let of = said("  >>> DATA\n  <<< 550 spam\n  550 5.1.1 <a@x.example>... User unknown\n", &["a@x.example"]);
        assert_eq!(of[0], "  >>> DATA\n  <<< 550 spam\n");
    }

    #[test]
    fn where_nobody_was_asked_sendmail_speaks_for_itself() {
        let local = "550 5.1.1 <a@x.example>... User unknown\n";
        assert_eq!(said(local, &["a@x.example"])[0], local);
        let by_name = "550 5.1.1 Anna... User unknown\n";
        assert_eq!(said(by_name, &["anna@x.example"])[0], by_name);
    }

    #[test]
    fn the_lines_above_are_those_of_the_recipient() {
        let text = "421 x.example (smtp)... Deferred: reset\n554 <a@x.example>... Remote protocol error\n\
                    While talking to y.example:\n>>> RCPT To:<b@y.example>\n<<< 550 nobody\n550 <b@y.example>... User unknown\n";
        let of = said(text, &["b@y.example", "a@x.example"]);
        assert_eq!(of[0], "While talking to y.example:\n>>> RCPT To:<b@y.example>\n<<< 550 nobody\n");
        assert_eq!(of[1], "421 x.example (smtp)... Deferred: reset\n554 <a@x.example>... Remote protocol error\n");
    }

    #[test]
    fn a_refusal_of_the_message_is_everybodys_whose_summary_says_the_same() {
        let text = ">>> DATA\n<<< 550 spam\n550 <a@x.example>... User unknown\n550 <b@x.example>... User unknown\n\
                    550 <c@y.example>... Host unknown\n";
        let of = said(text, &["a@x.example", "b@x.example", "c@y.example"]);
        assert_eq!(of[..2], [">>> DATA\n<<< 550 spam\n", ">>> DATA\n<<< 550 spam\n"]);
        assert_eq!(of[2], "550 <c@y.example>... Host unknown\n");
    }

    #[test]
    fn the_last_attempt_counts() {
        let text = "<a@x.example>... Deferred: reset\n451 reply: read error from x.example.\n>>> DATA\n<<< 550 nobody\n550 <a@x.example>... User unknown\n";
        assert_eq!(said(text, &["a@x.example"])[0], ">>> DATA\n<<< 550 nobody\n");
    }

    #[test]
    fn the_end_is_everybodys() {
        let text = "<a@x.example>... Deferred: Connection refused\nMessage could not be delivered for 5 days\n";
        let text = format!("----- Transcript of session follows -----\n{text}");
        let transcript = read(&text, &["a@x.example"], &Words::embedded()).unwrap();
        let lines = transcript.share_out(vec![vec![0..text.len()]]).pop().unwrap();
        assert_eq!(lines.into_iter().map(|line| &text[line]).collect::<String>(), text);
    }

    #[test]
    fn what_nobody_is_named_for_is_nobodys() {
        let text = ">>> DATA\n<<< 554 spam\n554 5.0.0 Service unavailable\n... while talking to y.example:\n\
                    >>> RCPT To:<b@y.example>\n<<< 550 nobody\n550 <b@y.example>... User unknown\n";
        let of = said(text, &["a@x.example", "b@y.example"]);
        assert_eq!(of[0], "");
        assert_eq!(of[1], "... while talking to y.example:\n>>> RCPT To:<b@y.example>\n<<< 550 nobody\n");
        assert_eq!(of[2], ">>> DATA\n<<< 554 spam\n");
    }
}
