//! A notice that advises its reader and quotes servers -> where the servers' answers stand in it, and whose they are.
//! Refuses to know what they say.
//!
//! Exchange and Microsoft 365 write such notices in the language of whoever reads them, so only the form counts.
//! An answer
//!
//! - begins with a code in quotes (`Remote Server returned '550 5.1.1 …'`) or behind a number sign
//!   (`#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##`), or
//! - stands below a line that names a host and ends in a colon (`mx.example.org gave this error:`), or in that line.
//!
//! It goes on to the next blank line, and is the answer to whom it names, else to those who are listed above it. What
//! else the notice says is advice: it speaks of all that may have happened.

use std::{collections::HashMap, ops::Range};

use super::reply::QUOTES;
use crate::{
    codes::begins_with_code,
    text::{Address, addresses, host_names, split_lines},
};

/// An answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its lines.
    pub range: Range<usize>,
    /// What names the host that gave it.
    pub announcement: Option<Announcement>,
}

/// Words that say which host gave an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    /// The words, up to the colon.
    pub range: Range<usize>,
    /// The host among them.
    pub host: Range<usize>,
}

/// What the answers of a text tell of one address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    /// These are his.
    Answers(Vec<&'a Answer>),
    /// They answer for him and others and contradict each other: nobody knows which is his.
    Contradiction,
    /// Nothing.
    Nothing,
}

/// The answers of a text.
#[derive(Debug)]
pub(super) struct Answers {
    /// In the order of the text.
    all: Vec<Answer>,
    /// The numbers of those that answer for one address alone, for each of those that were asked for.
    own: Vec<Vec<usize>>,
    /// Of those that answer for several.
    shared: Vec<Vec<usize>>,
    contradicted: Vec<bool>,
}

impl Answers {
    /// What is told of an address, by its number.
    pub fn of(&self, address: usize) -> Told<'_> {
        let answers = |numbers: &[usize]| Told::Answers(numbers.iter().map(|&n| &self.all[n]).collect());
        match (self.own[address].as_slice(), self.shared[address].as_slice()) {
            ([], _) if self.contradicted[address] => Told::Contradiction,
            ([], []) => Told::Nothing,
            ([], shared) => answers(shared),
            (own, _) => answers(own),
        }
    }

    /// Whether what begins here is a part of an answer.
    pub fn has(&self, at: usize) -> bool {
        let next = self.all.partition_point(|answer| answer.range.end <= at);
        self.all.get(next).is_some_and(|answer| answer.range.start <= at)
    }
}

/// The answers that a text quotes to `wanted` (normalised addresses); where it lists nobody else, the only one gets all
/// of them. `None` where it quotes none, and where one stands above the list of those whom it answers for. Linear.
pub(super) fn read(text: &str, wanted: &[&str]) -> Option<Answers> {
    // Most texts quote none.
    if !split_lines(text).map(str::trim).any(|line| announcing(line, 0).is_some() || quotes_code(line)) {
        return None;
    }
    let mut reader = Reader::new(text, wanted);
    let mut start = 0;
    for line in split_lines(text) {
        let end = start + line.len();
        reader.read(line, start..end);
        start = end;
    }
    reader.close();
    reader.end_list();
    let Reader { mut answers, of_nobody, lists_wanted, lists_others, .. } = reader;
    if wanted.len() == 1 && !(lists_wanted && lists_others) {
        (answers.own[0], answers.contradicted[0]) = ((0..answers.all.len()).collect(), false);
        return Some(answers).filter(|answers| !answers.all.is_empty());
    }
    let agree = say_the_same(text, &answers.all, &of_nobody);
    (of_nobody.len() < answers.all.len() || !agree).then_some(answers)
}

/// What the lines above lead up to.
enum Open {
    Nothing,
    /// A host was named whose answer follows.
    Announced(Announcement),
    /// An answer, and the numbers of those whom it names.
    Answer(Answer, Vec<usize>),
}

struct Reader<'t> {
    text: &'t str,
    /// Numbers of normalised addresses.
    index: HashMap<&'t str, usize>,
    answers: Answers,
    /// Answers above any list.
    of_nobody: Vec<usize>,
    open: Open,
    /// Those whom the last list names, whether it names anybody else, and the answers below it.
    listed: Vec<usize>,
    with_others: bool,
    answers_to_listed: Vec<usize>,
    /// Whether the list may go on.
    lists: bool,
    /// Whether any list names one of those who were asked for, and whether any names somebody else.
    lists_wanted: bool,
    lists_others: bool,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, wanted: &[&'t str]) -> Self {
        let of_each = || vec![Vec::new(); wanted.len()];
        let contradicted = vec![false; wanted.len()];
        Self {
            text,
            index: wanted.iter().enumerate().map(|(i, address)| (*address, i)).collect(),
            answers: Answers { all: Vec::new(), own: of_each(), shared: of_each(), contradicted },
            of_nobody: Vec::new(),
            open: Open::Nothing,
            listed: Vec::new(),
            with_others: false,
            answers_to_listed: Vec::new(),
            lists: false,
            lists_wanted: false,
            lists_others: false,
        }
    }

    fn read(&mut self, line: &str, range: Range<usize>) {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            if matches!(self.open, Open::Answer(..)) {
                self.close();
            }
            return;
        }
        let found: Vec<_> = addresses(line).collect();
        let mut named: Vec<_> =
            found.iter().filter_map(|(_, address)| self.index.get(address.normalised()).copied()).collect();
        if is_list(line, &found) {
            self.close();
            self.list(&named, found.len() > named.len());
            return;
        }
        let start = range.start + (line.len() - line.trim_start().len());
        if let Some(Announcing { announcement, answer }) = announcing(trimmed, start) {
            self.close();
            self.open = match answer {
                Some(at) => Open::Answer(Answer { range: at..range.end, announcement: Some(announcement) }, named),
                None => Open::Announced(announcement),
            };
            return;
        }
        if self.begins_anothers(&found, &named) {
            self.close();
        }
        match &mut self.open {
            // Sendmail and Courier show the dialogue with a host, and who said what in it.
            Open::Announced(_) if trimmed.starts_with(">>>") || trimmed.starts_with("<<<") => self.open = Open::Nothing,
            Open::Announced(announcement) => {
                self.open = Open::Answer(Answer { range, announcement: Some(announcement.clone()) }, named);
            }
            Open::Answer(answer, names) => {
                answer.range.end = range.end;
                names.append(&mut named);
            }
            Open::Nothing if quotes_code(trimmed) => {
                self.open = Open::Answer(Answer { range, announcement: None }, named)
            }
            Open::Nothing if named.is_empty() => self.lists = false,
            Open::Nothing => {
                self.end_list();
                self.list(&named, false);
                self.lists = false;
            }
        }
    }

    /// Whether a line within an answer begins with somebody whom that does not name: it speaks of him.
    fn begins_anothers(&self, found: &[(Range<usize>, Address)], named: &[usize]) -> bool {
        let Open::Answer(_, names) = &self.open else { return false };
        let begins = found.first().is_some_and(|(range, _)| range.start <= 1);
        begins && !names.is_empty() && named.first().is_some_and(|first| !names.contains(first))
    }

    /// A line that lists addresses.
    fn list(&mut self, named: &[usize], with_others: bool) {
        if !self.lists || self.listed.len() >= MOST_SHARING {
            self.end_list();
        }
        self.listed.extend(named);
        self.with_others |= with_others;
        self.lists = true;
        self.lists_wanted |= !named.is_empty();
        self.lists_others |= with_others;
    }

    /// Where an answer ends.
    fn close(&mut self) {
        let Open::Answer(answer, mut named) = std::mem::replace(&mut self.open, Open::Nothing) else { return };
        let number = self.answers.all.len();
        self.answers.all.push(answer);
        self.lists = false;
        named.sort_unstable();
        named.dedup();
        match (named.as_slice(), self.listed.as_slice()) {
            ([], []) if self.with_others => {}
            ([], []) => self.of_nobody.push(number),
            ([], _) => self.answers_to_listed.push(number),
            (named, _) => named.iter().take(MOST_SHARING).for_each(|&i| self.answers.own[i].push(number)),
        }
    }

    /// Where a list and the answers to it end.
    fn end_list(&mut self) {
        self.lists = false;
        let with_others = std::mem::take(&mut self.with_others);
        let (mut listed, numbers) = (std::mem::take(&mut self.listed), std::mem::take(&mut self.answers_to_listed));
        listed.sort_unstable();
        listed.dedup();
        if let ([one], false) = (listed.as_slice(), with_others) {
            self.answers.own[*one].extend(numbers);
        } else if say_the_same(self.text, &self.answers.all, &numbers) {
            // Once will do.
            let once = numbers.first();
            listed.into_iter().for_each(|i| self.answers.shared[i].extend(once));
        } else {
            listed.into_iter().for_each(|i| self.answers.contradicted[i] = true);
        }
    }
}

/// So many addresses may share one answer.
const MOST_SHARING: usize = 64;

fn say_the_same(text: &str, answers: &[Answer], numbers: &[usize]) -> bool {
    let words = |n: &usize| text[answers[*n].range.clone()].split_whitespace();
    numbers.windows(2).all(|two| words(&two[0]).eq(words(&two[1])))
}

/// A line that says nothing but who is meant: addresses, and names before addresses in brackets.
fn is_list(line: &str, found: &[(Range<usize>, Address)]) -> bool {
    let mut at = 0;
    let named = !found.is_empty()
        && found.iter().all(|(range, _)| {
            let before = line.get(at..range.start).unwrap_or_default();
            at = range.end;
            let name = before.trim_end().trim_end_matches("mailto:");
            let is_name = name.ends_with(['(', '<', '[']) && !name.contains([':', '.', '：', '。']);
            is_name || name.bytes().all(|b| b.is_ascii_punctuation() || b.is_ascii_whitespace())
        });
    named && !line[at..].contains(char::is_alphanumeric) && !line.trim_end().ends_with([':', '：'])
}

/// A line that announces an answer.
struct Announcing {
    announcement: Announcement,
    /// Where the answer begins, if not below the line.
    answer: Option<usize>,
}

/// `mx.example.org gave this error:`, `Der Server mx.example.org meldet:`; in one line with the answer only where the
/// host stands first and words follow it. `host mx.example.org [192.0.2.1]:` is what a program says of its own attempt,
/// and the words around it tell what it attempted.
fn announcing(line: &str, start: usize) -> Option<Announcing> {
    let ends = line.strip_suffix([':', '：']);
    let colon = match ends {
        Some(_) if line.len() <= LONGEST_ANNOUNCEMENT => None,
        Some(_) => return None,
        None if !begins_with_host(line) => return None,
        None => Some(line[..line.floor_char_boundary(LONGEST_ANNOUNCEMENT)].find([':', '：'])?),
    };
    let before = ends.unwrap_or(&line[..colon.unwrap_or_default()]);
    if before.contains(['@', '/', '[', ':', '：']) || begins_with_code(line) {
        return None;
    }
    let host = host_names(before).find(|host| host.len() >= SHORTEST_HOST)?;
    let at = |range: Range<usize>| start + range.start..start + range.end;
    let announcement = Announcement { range: at(0..before.len()), host: at(host.clone()) };
    let Some(colon) = colon else { return Some(Announcing { announcement, answer: None }) };
    let says = before[host.end..].chars().filter(|c| c.is_alphabetic()).count();
    let answer = colon + line[colon..].chars().next().map_or(1, char::len_utf8);
    let names_who = || is_list(&line[answer..], &addresses(&line[answer..]).collect::<Vec<_>>());
    let is_one = host.start == 0
        && says >= SHORTEST_PREDICATE
        && !before.contains('(')
        && line[answer..].starts_with(char::is_whitespace)
        && !names_who();
    is_one.then_some(Announcing { announcement, answer: Some(start + answer) })
}

/// Whether a line may begin with the name of a host: most lines don't, and need no closer look.
fn begins_with_host(line: &str) -> bool {
    let of_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let length = line.bytes().take(LONGEST_ANNOUNCEMENT).take_while(|&b| of_host(b)).count();
    length >= SHORTEST_HOST && line[..length - 1].contains('.')
}

/// In octets.
const LONGEST_ANNOUNCEMENT: usize = 200;
/// Shorter ones are abbreviations: `p.ej.:`
const SHORTEST_HOST: usize = 6;
/// In letters: 给出了
const SHORTEST_PREDICATE: usize = 3;

/// `Remote Server returned '550 5.1.1 …'`, `#550 5.1.1 …##`, `#< #5.1.1 smtp;550 …> #SMTP#`.
fn quotes_code(line: &str) -> bool {
    if let Some(marked) = line.strip_prefix('#') {
        return begins_with_code(marked.trim_start_matches([' ', '<', '#']));
    }
    memchr::memchr2_iter(b'4', b'5', line.as_bytes())
        .any(|at| line[..at].trim_end_matches(' ').ends_with(QUOTES) && begins_with_code(&line[at..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANN: &str = "ann@a.example";
    const BOB: &str = "bob@a.example";

    /// What is told of each, answers with their hosts: `mx.a.example > no; 550 no`, `?` for a contradiction.
    fn told(text: &str, wanted: &[&str]) -> Vec<String> {
        let Some(answers) = read(text, wanted) else { return Vec::new() };
        let one = |answer: &&Answer| {
            let host = answer.announcement.as_ref().map_or(String::new(), |a| format!("{} > ", &text[a.host.clone()]));
            host + text[answer.range.clone()].trim()
        };
        let told = |i| match answers.of(i) {
            Told::Answers(answers) => answers.iter().map(one).collect::<Vec<_>>().join("; "),
            Told::Contradiction => "?".into(),
            Told::Nothing => String::new(),
        };
        (0..wanted.len()).map(told).collect()
    }

    #[test]
    fn an_answer_is_known_by_its_form() {
        for (text, answer) in [
            ("mx.a.example gave this error:\nno", "mx.a.example > no"),
            ("mx.a.example gave this error:\n\nno\nno\n\nadvice", "mx.a.example > no\nno"),
            ("Der Server mx.a.example meldet:\nno", "mx.a.example > no"),
            ("mx.a.exampleでこのエラー:\nno", "mx.a.example > no"),
            ("mx.a.example 给出了此错误：\nno", "mx.a.example > no"),
            ("mx.a.example gave this error: no", "mx.a.example > no"),
            ("advice\nRemote Server returned '550 no'", "Remote Server returned '550 no'"),
            ("advice\n« 5.1.1 no »", "« 5.1.1 no »"),
            ("#550 5.1.1 no##", "#550 5.1.1 no##"),
            ("#< #5.1.1 smtp;550 no> #SMTP#", "#< #5.1.1 smtp;550 no> #SMTP#"),
        ] {
            assert_eq!(told(text, &[ANN]), [answer], "{text}");
        }
    }

    #[test]
    fn what_looks_alike_is_no_answer() {
        for text in [
            "550 5.1.1 no",
            "Generating server: mx.a.example",
            "host mx.a.example [192.0.2.1]:\n550 no",
            "550 mx.a.example:\nno",
            "mx.a.example: no",
            "v2.10.3 at mx.a.example gave this error: no",
            "mx.a.example: error:\nno",
            "www.a.example/help:\nno",
            "p.ej.:\nno",
            "ann@a.example:\nno",
            "while talking to mx.a.example:\n>>> DATA\n<<< 550 no",
            "mx.a.example refused:\nAnn (ann@a.example)",
            "mx.a.example refused these addresses: ann@a.example",
            "mx.a.example gave this error:\n",
            "the '550' of 550",
            "'250 ok'",
        ] {
            assert_eq!(told(text, &[ANN]), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn an_answer_is_of_those_who_are_listed_above_it() {
        for (text, of_ann, of_bob) in [
            ("ann@a.example\nx\n\n'550 a'\n\nbob@a.example\nx\n\n'550 b'", "'550 a'", "'550 b'"),
            ("ann@a.example\nbob@a.example\n\nx\n\n'550 a'", "'550 a'", "'550 a'"),
            ("ann@a.example, bob@a.example\n\n'550 a'\n\n'550 a'", "'550 a'", "'550 a'"),
            ("Ann (ann@a.example)\nBob <bob@a.example>\n'550 a'", "'550 a'", "'550 a'"),
            ("ann@a.example\nx\nbob@a.example\n'550 b'", "", "'550 b'"),
            ("x ann@a.example x\n'550 a'\n\nx bob@a.example x\n'550 b'", "'550 a'", "'550 b'"),
            ("<ann@a.example> '550 a'\n<bob@a.example> '550 b'", "<ann@a.example> '550 a'", "<bob@a.example> '550 b'"),
            ("<ann@a.example> '550 a'\n<bob@a.example> b", "<ann@a.example> '550 a'", ""),
            // Whom it names, it is of.
            ("ann@a.example\nbob@a.example\n'550 <bob@a.example> b'", "", "'550 <bob@a.example> b'"),
            // What stands below an address and a colon is of that one alone.
            ("bob@a.example\nann@a.example:\n'550 a'", "'550 a'", ""),
            // Own answers go before shared ones.
            ("ann@a.example\nbob@a.example\n'550 x'\n\nbob@a.example\n'550 b'", "'550 x'", "'550 b'"),
            ("ann@a.example\nbob@a.example\n'550 a'\n\n'550 b'", "?", "?"),
            ("ann@a.example\nbob@a.example\n'550 a'\n\n'550 b'\n\nann@a.example\n'550 c'", "'550 c'", "?"),
            // One above the list may be of all; of two nobody knows.
            ("'550 a'\n\n'550 b'\n\nann@a.example\nbob@a.example", "", ""),
            // Somebody else is listed between.
            ("ann@a.example\nx\neve@a.example\n'550 e'\n\nbob@a.example\n'550 b'", "", "'550 b'"),
        ] {
            assert_eq!(told(text, &[ANN, BOB]), [of_ann, of_bob], "{text}");
        }
        assert_eq!(told("'550 a'\n\nann@a.example\nbob@a.example", &[ANN, BOB]), Vec::<String>::new());
    }

    #[test]
    fn the_only_recipient_gets_no_answer_to_somebody_else() {
        for (text, of_ann) in [
            ("eve@a.example\n'550 e'\n\nann@a.example\n'550 a'", "'550 a'"),
            ("eve@a.example\nann@a.example\n'550 e'\n\n'550 a'", "?"),
            ("'550 a'\n\nann@a.example\n\n'550 b'", "'550 a'; '550 b'"),
            ("eve@a.example\n'550 e'", "'550 e'"),
            ("eve@a.example\n'550 e'\n\nann@a.example\nx", ""),
        ] {
            assert_eq!(told(text, &[ANN]), [of_ann], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(
            text in "(ann@a.example|bob@a.example|eve@a.example|mx.a.example x:|'550 |#5.1.1|[ \n():,x：é])*",
        ) {
            let _ = told(&text, &[ANN, BOB]);
            let _ = told(&text, &[ANN]);
            let _ = told(&text, &[]);
        }
    }
}
