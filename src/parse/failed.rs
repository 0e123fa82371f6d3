//! The words of a bounce -> the addresses that failed, by where they stand. Refuses to know codes and causes.
//!
//! The failed addresses of one report all stand in the same way: alone at the start of a line, behind `RCPT TO:`,
//! or behind a word such as "recipient". So every address of the text is put down with its position, and one
//! position is believed. An address to which one may write for help is nobody's recipient.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    fields::field,
    general::MOST_WORDS,
    mime::Mail,
    reply::begins_with_success,
    tables::Tables,
    words::{Role, Words},
};
use crate::{
    codes::begins_with_code,
    report::{Address, Original},
    text::{addresses, fold},
};

/// A failed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// The one that we mailed.
    pub mailed: Address,
    /// The one that the text goes on to speak of: where `mailed` was forwarded to, else `mailed` itself.
    pub shown: Address,
    /// What stands in place of the one that `mailed` was forwarded to, where the text keeps it to itself.
    pub hidden: Option<String>,
}

impl Failed {
    fn new(address: Address) -> Self {
        Self { mailed: address.clone(), shown: address, hidden: None }
    }
}

/// Where an address stands, the surest position first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Position {
    /// At the start of a line, or behind the label with which a program announces a failed address.
    Head,
    /// In an SMTP command of a transcript.
    Command,
    /// Behind a word such as "to" or "user".
    Announced,
    /// Before words that say that it failed.
    Judged,
    /// In the summary of the returned header: `To: …`.
    Summary,
    /// Anywhere else.
    Elsewhere,
}

/// The addresses of a text, each position apart.
#[derive(Default)]
struct Mentions {
    found: Vec<(Position, Address)>,
    /// Addresses of ours at the head of a line: somebody mails himself.
    own: Vec<Address>,
    /// Whether a line begins with somebody who can't be one of ours: what stands in angle brackets and is no address,
    /// or whoever writes bounces.
    names_nobody_of_ours: bool,
    /// Addresses of those who write and answer for bounces, where the text says that they failed.
    services: Vec<(Position, Address)>,
    /// Normalised addresses that the text lists as delivered or still being tried.
    not_failed: HashSet<String>,
    /// What the text says about forwarding: normalised address -> the one that was mailed.
    origin: Origins,
    /// The same, where it keeps to itself to whom: normalised address that was mailed -> what stands there.
    hidden: HashMap<String, String>,
}

/// Normalised address -> the one that was mailed and forwarded to it.
pub(super) type Origins = HashMap<String, Address>;

impl Mentions {
    fn at(&self, position: Position) -> Vec<Failed> {
        distinct(self.found.iter().filter(|(p, _)| *p == position).map(|(_, a)| self.traced(a.clone())))
    }

    /// Forgets whom the text tells apart from those who failed. In a warning that is everybody: then nobody goes.
    fn forget_not_failed(&mut self) {
        let has_not_failed = |a: &Address| self.not_failed.contains(a.normalised());
        if self.found.iter().any(|(position, a)| *position < Position::Summary && !has_not_failed(a)) {
            self.found.retain(|(_, a)| !has_not_failed(a));
        }
    }

    fn traced(&self, shown: Address) -> Failed {
        let mailed = self.origin.get(shown.normalised()).unwrap_or(&shown).clone();
        let hidden = self.hidden.get(shown.normalised()).cloned();
        Failed { mailed, shown, hidden }
    }
}

/// The failed addresses of a bounce, by the surest sign that it offers. Only where the report speaks of `one` recipient
/// may that be the one whom the original was addressed to, without another word of him.
pub(super) fn find(mail: &Mail<'_>, original: &Original, words: &str, one: bool, tables: &Tables) -> Vec<Failed> {
    let mut mailed = addresses_in(&original.to);
    let mentions = mentions(words, &mailed, &own_addresses(mail, original), tables);
    let listed: Vec<Failed> = mail
        .headers_named("X-Failed-Recipients")
        .flat_map(|field| field[..field.floor_char_boundary(MOST_WORDS)].split(','))
        .filter_map(Address::parse)
        .map(|shown| mentions.traced(shown))
        .collect();
    if !listed.is_empty() {
        return distinct(listed.into_iter());
    }
    if mailed.is_empty() {
        mailed.extend(mentions.at(Position::Summary).into_iter().map(|f| f.mailed));
    }
    let sure = [Position::Head, Position::Command, Position::Announced].map(|position| mentions.at(position));
    let knows = |list: &&Vec<Failed>| list.iter().any(|f| mailed.contains(&f.mailed));
    if let Some(list) = sure.iter().find(knows).or_else(|| sure.iter().find(|list| !list.is_empty())) {
        return list.clone();
    }
    let screen_names = screen_names(mail, words);
    if !screen_names.is_empty() {
        return screen_names;
    }
    let judged = mentions.at(Position::Judged);
    if mailed.is_empty() && !judged.is_empty() {
        return judged;
    }
    let elsewhere = distinct(judged.into_iter().chain(mentions.at(Position::Elsewhere)));
    let known: Vec<Failed> = elsewhere.iter().filter(|f| mailed.contains(&f.mailed)).cloned().collect();
    if !known.is_empty() {
        return known;
    }
    // Where no header is returned, the summary among the words stands for it.
    let only = || mailed.first().filter(|_| mailed.len() == 1 && original.to.is_empty()).cloned();
    // Who is named in a way that nobody can read is not the one whom the returned message names.
    let names_another = mentions.names_nobody_of_ours || !mentions.own.is_empty();
    let recipient = original.recipient.clone().or_else(only).filter(|_| one && !names_another);
    let named = last_resorts(mail, &mailed, recipient, words);
    match (named.as_slice(), elsewhere.as_slice()) {
        ([], [_]) => elsewhere,
        ([], _) => mentions.own.into_iter().take(1).map(Failed::new).collect(),
        _ => named.into_iter().map(Failed::new).collect(),
    }
}

/// QUIRK: AOL calls its own users by their bare screen names, one an indented line or in angle brackets.
fn screen_names(mail: &Mail<'_>, words: &str) -> Vec<Failed> {
    let from = Address::parse(&mail.from).filter(|from| mail.words.have(Role::NamesWithoutDomain, from.domain()));
    let Some(from) = from else { return Vec::new() };
    let is_name = |name: &str| {
        (3..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'))
    };
    let listed = words.lines().map(bracketed_or_indented).filter(|name| is_name(name));
    distinct(listed.filter_map(|name| Address::parse(&format!("{name}@{}", from.domain()))).map(Failed::new))
}

/// What stands alone in a line, in angle brackets or indented; else nothing.
fn bracketed_or_indented(line: &str) -> &str {
    match line.trim().strip_prefix('<').and_then(|inside| inside.strip_suffix('>')) {
        Some(inside) => inside,
        None if line.starts_with([' ', '\t']) => line.trim(),
        None => "",
    }
}

/// Where the words give no address: those whose local part the words name (GroupWise writes `anna (user unknown)`); the
/// one that the original was delivered to; the one in our own envelope sender (VERP).
fn last_resorts(mail: &Mail<'_>, mailed: &[Address], recipient: Option<Address>, words: &str) -> Vec<Address> {
    let spoken: HashSet<String> = words
        .split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | ':' | '"' | '\''))
        .map(|word| word.trim_end_matches('.').to_lowercase())
        .collect();
    let named: Vec<Address> = mailed.iter().filter(|a| spoken.contains(a.local_part())).cloned().collect();
    if !named.is_empty() {
        return named;
    }
    if let Some(recipient) = recipient {
        return vec![recipient];
    }
    let stamped = ["Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To"];
    let delivered = stamped.iter().filter_map(|name| mail.header(name)).map(str::to_owned);
    delivered.chain(mail.to.iter().cloned()).find_map(|own| from_verp(&own)).into_iter().collect()
}

/// `bounces+anna=mail.example.org@shop.example` and `list-anna=mail.example.org@shop.example` were made for
/// `anna@mail.example.org` (cr.yp.to/proto/verp.txt; the form with `+` is Postfix's and Mailman's). Where several hyphens
/// or a number before it leave open where the name begins, nobody is named; ezmlm puts `-return-` and a number before it.
pub(super) fn from_verp(own: &str) -> Option<Address> {
    let (local, _) = own.trim().trim_matches(['<', '>']).rsplit_once('@')?;
    let (before, domain) = local.rsplit_once('=')?;
    if !domain.contains('.') {
        return None;
    }
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    let user = match (before.split_once('+'), before.split_once("-return-")) {
        (Some((_, user)), _) => Some(user).filter(|user| !user.split_once('-').is_some_and(|(n, _)| is_number(n)))?,
        (None, Some((_, behind))) => behind.split_once('-').filter(|(number, _)| is_number(number))?.1,
        (None, None) => {
            // The tag of BATV (draft-levine-smtp-batv) is none of it.
            let name = before.rsplit_once('=').map_or(before, |(_, name)| name);
            name.split_once('-').map(|(_, user)| user).filter(|user| !user.contains('-'))?
        }
    };
    Address::parse(&format!("{user}@{domain}"))
}

/// Puts down every address of the words with its position.
fn mentions(words: &str, mailed: &[Address], own: &HashSet<String>, tables: &Tables) -> Mentions {
    let mut mentions = Mentions::default();
    let mut previous = "";
    let mut in_the_rest = false;
    let mut paragraph = None;
    let mut shown = LastShown::default();
    let mut list = List::default();
    let mut lines = words.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            paragraph = None;
        }
        if line.trim_start().starts_with("-----") {
            in_the_rest = lists_the_rest(line, &tables.words);
        } else if line.trim_end().ends_with(':') {
            in_the_rest = heads_reached(line, &tables.words);
        }
        shown.goes_on_to(line);
        if begins_with_no_address(line) && header_of(line, &tables.words).is_none() {
            mentions.names_nobody_of_ours = true;
        }
        let header = if line.contains('@') { header_of(line, &tables.words) } else { None };
        // What follows is somebody's signature.
        if line.trim_end() == "--" && !mentions.found.is_empty() {
            break;
        }
        list.begin_line();
        if !matches!(header, Some(Header::Other)) {
            let mut is_first = true;
            for (range, address) in addresses(line) {
                let before = tail(&line[..range.start]);
                let said = said(before);
                let known = mailed.contains(&address);
                let is_named = is_first && is_name_of(line, &range);
                if tables.words.have(Role::CameFrom, &said) {
                    match shown.behind(&line[..range.start], previous) {
                        Behind::Address(shown) => {
                            mentions.origin.insert(shown, address);
                            continue;
                        }
                        // Of a program or a file of the recipient's own nobody needs to know.
                        Behind::Hidden(text) if !text.contains(['|', '/']) => {
                            mentions.hidden.insert(address.normalised().to_owned(), text);
                        }
                        Behind::Hidden(_) => {}
                    }
                    mentions.found.push((Position::Head, address));
                    continue;
                }
                let rest = Rest::of(line, range.end, lines.peek().copied());
                // The link of a name, or of one who failed, asks nobody to write.
                let asked = match before.strip_suffix("mailto:") {
                    Some(before) if is_named || rest.says_failed(&tables.words) => before,
                    _ => list.behind_last(before, &line[..range.start], &tables.words),
                };
                let joined = list.joined(&line[..range.start], &rest, &tables.words);
                let position = match (&header, joined) {
                    (Some(_), _) => Position::Summary,
                    (None, Some(Position::Elsewhere)) if rest.says_failed(&tables.words) => {
                        list.found(&mut mentions).for_each(|(position, _)| *position = Position::Judged);
                        Position::Judged
                    }
                    (None, Some(position)) => position,
                    (None, None) => match position_behind(&said, tables) {
                        Position::Elsewhere if is_named && !is_service(&address, &tables.words) => Position::Head,
                        // `…: no such user; bob@example.org: …`: what stands in front is said of another.
                        _ if begins_clause(before, &tables.words) && rest.says_failed(&tables.words) => {
                            Position::Judged
                        }
                        Position::Elsewhere if rest.says_failed(&tables.words) => Position::Judged,
                        Position::Elsewhere if heads_failed(before, &tables.words) => Position::Judged,
                        position => position,
                    },
                };
                let position = match (position, &paragraph) {
                    (Position::Head, Some(opened))
                        if is_first && joined.is_none() && is_quoted_by(opened, line, before) =>
                    {
                        Position::Elsewhere
                    }
                    (Position::Head, None) => {
                        paragraph = Opened::by(line, &range);
                        Position::Head
                    }
                    (position, _) => position,
                };
                is_first = false;
                if joined.is_none() {
                    list.begin(&said, mentions.found.len(), &tables.words);
                }
                list.add(&address, position, range.end);
                if position == Position::Head {
                    shown.put(&address, line);
                }
                if list.was_reached || rest.says_reached(&tables.words) {
                    mentions.not_failed.extend(list.members.drain(..));
                }
                if in_the_rest {
                    mentions.not_failed.insert(address.normalised().to_owned());
                }
                if known {
                    mentions.found.push((position, address));
                } else if own.contains(address.normalised()) {
                    if position == Position::Head {
                        mentions.own.push(address);
                    }
                } else if is_service(&address, &tables.words) {
                    mentions.names_nobody_of_ours |= position == Position::Command || is_bracketed_head(line, &range);
                    let told = match position {
                        Position::Head => Opened::by(line, &range).is_some_and(|opened| opened.says),
                        // Where the returned message tells whom it was for, it is none of these.
                        Position::Announced | Position::Judged => {
                            mailed.is_empty() && !is_contact(previous, before, &tables.words)
                        }
                        position => position == Position::Command,
                    };
                    if told {
                        mentions.services.push((position, address));
                    }
                } else {
                    // Who goes on with a list is whatever its first one is.
                    if joined.is_none() {
                        list.is_contact = is_contact(previous, asked, &tables.words);
                    }
                    if !list.is_contact {
                        mentions.found.push((position, address));
                    }
                }
            }
        }
        list.end_line(line, &tables.words);
        previous = line;
    }
    mentions.forget_not_failed();
    // The mail of such a desk may fail like any other: where the words name nobody else, they speak of it.
    if mentions.found.iter().all(|(position, _)| *position > Position::Judged) {
        mentions.found.append(&mut mentions.services);
    }
    mentions
}

/// Who was forwarded to whom, by the words of a report.
pub(super) fn origins(words: &str, tables: &Tables) -> Origins {
    let mut origins = Origins::new();
    let mut shown = LastShown::default();
    for line in words.lines() {
        shown.goes_on_to(line);
        for (range, address) in addresses(line) {
            let said = said(tail(&line[..range.start]));
            if !tables.words.have(Role::CameFrom, &said) {
                if position_behind(&said, tables) == Position::Head {
                    shown.put(&address, line);
                }
            } else if let Some((shown, _)) = &shown.0 {
                origins.insert(shown.clone(), address);
            }
        }
    }
    origins
}

/// The failed address whose entry the reader is in (normalised), and how far its line is indented.
#[derive(Default)]
struct LastShown(Option<(String, usize)>);

/// Whom an address was forwarded to.
enum Behind {
    /// Normalised.
    Address(String),
    /// What stands there instead.
    Hidden(String),
}

impl LastShown {
    fn put(&mut self, address: &Address, line: &str) {
        self.0 = Some((address.normalised().to_owned(), indent(line)));
    }

    /// An entry ends at a blank line and where the next one begins; brackets below it belong to it.
    fn goes_on_to(&mut self, line: &str) {
        self.0.take_if(|(_, at)| {
            line.trim().is_empty()
                || (indent(line) <= *at && !line.contains('@') && !line.trim_start().starts_with('('))
        });
    }

    /// `before` stands before the address that was mailed, and `previous` is the line above.
    fn behind(&self, before: &str, previous: &str) -> Behind {
        match &self.0 {
            Some((address, _)) => Behind::Address(address.clone()),
            None => {
                let here = before.rsplit_once('(').map_or("", |(here, _)| here.trim());
                let text = if here.is_empty() { previous.trim() } else { here };
                Behind::Hidden(text.trim_matches(['<', '>', ':']).to_owned())
            }
        }
    }
}

/// QUIRK: Exchange lists whom it knows by name: `Ann Berg (ann@example.org)` and nothing else in the line, or
/// `Ann Berg<mailto:ann@example.org>` and perhaps a time.
fn is_name_of(line: &str, address: &Range<usize>) -> bool {
    let (before, behind) = (line[..address.start].trim(), line[address.end..].trim());
    // Whoever signs has angle brackets around his own address.
    let name = match before.strip_suffix("mailto:") {
        Some(before) => before.strip_suffix(['<', '[']).filter(|_| is_time(behind.trim_start_matches(['>', ']']))),
        None => before.strip_suffix('(').filter(|_| behind == ")"),
    };
    name.is_some_and(|name| {
        name.len() <= LONGEST_NAME
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '\'' | '.' | ','))
    })
}

/// ` on 26.11.2026 10:01`, or nothing.
fn is_time(behind: &str) -> bool {
    let behind = behind.trim();
    behind.is_empty() || (behind.len() <= LONGEST_NAME && behind.ends_with(|c: char| c.is_ascii_digit() || c == 'M'))
}

/// In octets.
const LONGEST_NAME: usize = 64;

/// A line that begins with a failed address, and what follows up to the next blank line.
struct Opened {
    indent: usize,
    /// Whether it says something of the address, or announces that.
    says: bool,
}

impl Opened {
    /// A code in front of the address is an answer, and opens nothing: `550 5.1.1 <anna@example.org>... User unknown`.
    fn by(line: &str, address: &Range<usize>) -> Option<Self> {
        let behind = line[address.end..].trim_start_matches('>').trim();
        let opens = !line[..address.start].contains(|c: char| c.is_ascii_digit());
        opens.then(|| Self { indent: indent(line), says: !behind.is_empty() })
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether an address at the head of a line stands in the words of a server that the line above has begun to quote:
/// they go on with a code, or further to the right. They may name the sender, or the same recipient in another
/// spelling.
fn is_quoted_by(opened: &Opened, line: &str, before: &str) -> bool {
    before.contains(|c: char| c.is_ascii_digit()) || (opened.says && indent(line) > opened.indent)
}

/// `<a@b@example.org>:`, `<root>:`, `550 5.1.1 <root>... User unknown`, `550 root... User unknown`
fn begins_with_no_address(line: &str) -> bool {
    let named = behind_codes(line);
    let bracketed = named.strip_prefix('<').and_then(|named| named.split_once('>'));
    let has_code = || line.trim_start().len() > named.len();
    let Some((inside, behind)) = bracketed.or_else(|| has_code().then(|| named.split_once("..."))?) else {
        return false;
    };
    // Without a domain it is a recipient only where the reason follows: `<html>` is none.
    let is_word = || !inside.is_empty() && !inside.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '/'));
    let is_local = || is_word() && (bracketed.is_none() || behind.starts_with([':', '.']));
    (inside.contains('@') || is_local()) && addresses(line).next().is_none()
}

/// `<postmaster@example.org>: …`: a report about it. Without brackets or a reason it may be whoever signs.
fn is_bracketed_head(line: &str, address: &Range<usize>) -> bool {
    let head = &line[..address.start];
    behind_codes(head) == "<" && [">:", ">."].iter().any(|behind| line[address.end..].starts_with(behind))
}

/// Without the blanks and codes at the head of a line.
fn behind_codes(line: &str) -> &str {
    line.trim_start_matches(|c: char| c.is_whitespace() || c.is_ascii_digit() || matches!(c, '.' | '-' | '#'))
}

/// Sendmail 8 before it wrote DSNs: `----- The following addresses had transient non-fatal errors -----` and
/// `… had successful delivery notifications -----` stand beside the list of those who failed.
fn lists_the_rest(heading: &str, words: &Words) -> bool {
    words.have(Role::ListsTheRest, fold(tail(heading)).as_str())
}

/// Addresses that a sentence or a line names one after the other: what is said of one is said of all.
#[derive(Default)]
struct List {
    /// Normalised, as far as nothing is known of what became of them.
    members: Vec<String>,
    /// Of the last one; `None` where no list goes on.
    position: Option<Position>,
    /// Where the last one ends in its line.
    end: usize,
    /// What the line above leaves open.
    left: Left,
    /// How many were found before its first one.
    first_found: usize,
    /// Whether nothing stands before the first.
    opens_sentence: bool,
    /// Whether words before it say that they have the message.
    was_reached: bool,
    /// Whether words before it ask to write to them.
    is_contact: bool,
}

/// What must stand between the end of a line and an address that goes on with its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Left {
    /// Nothing: the line above ends within a list (`anna@example.org,`).
    Separated,
    /// A word that joins: the line above ends with an address.
    #[default]
    Ended,
}

impl List {
    const fn begin_line(&mut self) {
        self.end = 0;
    }

    fn end_line(&mut self, line: &str, words: &Words) {
        // What stands anywhere leads on to nobody: `Dear anna@example.org,`.
        let rest = self.position.filter(|position| self.end > 0 && *position != Position::Elsewhere);
        match rest.map(|_| &line[self.end..]) {
            Some(rest) if word_of(rest).is_empty() => {
                self.left = if rest.contains(COMMAS) { Left::Separated } else { Left::Ended };
            }
            Some(rest) if is_joint(rest, words) => self.left = Left::Separated,
            _ => self.position = None,
        }
    }

    /// The position of an address that goes on with the list; `before` stands before it in its line, and `rest` behind it.
    fn joined(&self, before: &str, rest: &Rest<'_>, words: &Words) -> Option<Position> {
        let position = self.position?;
        // In scripts without blanks between words, one address may be found within another.
        let between = before.get(self.end..)?;
        let fits = match (self.end, self.left) {
            (0, Left::Separated) => word_of(between).is_empty() || is_joint(between, words),
            (0, Left::Ended) => is_joint(between, words),
            // `… and bob@example.org has received it`: more is said of the second, and not that he failed.
            // With nothing before it, both have: `anna@example.org and bob@example.org have received it`.
            _ => {
                let both_reached = || self.opens_sentence && rest.says_reached(words);
                is_separator(between) || (is_joint(between, words) && (rest.joins(words) || both_reached()))
            }
        };
        fits.then_some(position)
    }

    /// Begins anew behind what is said before an address.
    /// What may ask to write to an address: not the words before the one in front of it, where a word leads over from that
    /// one to whom it failed to reach, as in `message from anna@example.org to bob@example.org`.
    fn behind_last<'t>(&self, before: &'t str, line: &'t str, words: &Words) -> &'t str {
        let between = line.get(self.end..).filter(|_| self.end > 0).map(word_of);
        match between {
            Some(word) if words.have(Role::BeforeRecipient, &fold(word).into_string()) => word,
            _ => before,
        }
    }

    fn begin(&mut self, said: &str, found: usize, words: &Words) {
        self.members.clear();
        self.first_found = found;
        self.opens_sentence = said.is_empty();
        self.was_reached = words.have(Role::AnnouncesReached, said);
        self.is_contact = false;
    }

    /// Its members among all that were found.
    fn found<'f>(&self, mentions: &'f mut Mentions) -> impl Iterator<Item = &'f mut (Position, Address)> {
        mentions.found.iter_mut().skip(self.first_found)
    }

    fn add(&mut self, address: &Address, position: Position, end: usize) {
        self.members.push(address.normalised().to_owned());
        (self.position, self.end) = (Some(position), end);
    }
}

/// What stands behind an address: in its line, else in the next.
struct Rest<'t> {
    /// Without marks in front.
    text: &'t str,
    /// Whether it stands in the next line.
    wrapped: bool,
}

impl<'t> Rest<'t> {
    fn of(line: &'t str, end: usize, next: Option<&'t str>) -> Self {
        let behind = |text: &'t str| {
            text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '>' | '"' | '\'' | ')' | ']'))
        };
        let here = behind(&line[end..]);
        Self { text: if here.is_empty() { behind(next.unwrap_or_default()) } else { here }, wrapped: here.is_empty() }
    }

    fn have(&self, role: Role, words: &Words) -> bool {
        words.have(role, self.text)
    }

    /// Whether it says that the message reached the address, by words or by a code of success.
    fn says_reached(&self, words: &Words) -> bool {
        let said = self.said();
        let clause = &said[..said.find(['.', ',', ';', ')', '|', '\n']).unwrap_or(said.len())];
        self.have(Role::SaidToBeReached, words)
            || begins_with_success(said)
            || (clause.len() <= LONGEST_SENTENCE && words.have(Role::HeadsReached, fold(clause.trim()).as_str()))
    }

    /// Whether it says that the address failed, by words or by a code.
    fn says_failed(&self, words: &Words) -> bool {
        words.have(Role::SaidToFail, self.said()) || begins_with_code(self.said())
    }

    /// Without the marks that lead over to it: `anna@example.org -> failed`.
    fn said(&self) -> &'t str {
        self.text.trim_start_matches([' ', ':', '-', '=', '>', '|', '(', '→'])
    }

    /// Whether it leaves an address to the list before it: it says nothing of this one alone.
    fn joins(&self, words: &Words) -> bool {
        let ends = self.text.chars().next().is_none_or(|c| ".:;!?(：；。！？（".contains(c));
        let because = || words.have(Role::SaidToFail, self.text.trim_start_matches([',', '，', ' ']));
        ends || because() || (self.wrapped && !self.says_reached(words))
    }
}

/// `Successfully delivered to:` above a list of addresses.
pub(super) fn heads_reached(line: &str, words: &Words) -> bool {
    let heading = line.trim().trim_end_matches(':');
    line.trim_end().ends_with(':')
        && heading.len() <= LONGEST_SENTENCE
        && words.have(Role::HeadsReached, fold(heading).as_str())
}

/// `These users are unknown here:` before an address in the same line.
fn heads_failed(before: &str, words: &Words) -> bool {
    let Some(heading) = before.trim_end_matches([' ', '<', '"']).strip_suffix([':', '：']) else { return false };
    let heading = fold(heading).into_string();
    let sentence = heading.rsplit(". ").next().unwrap_or_default();
    let mut starts = sentence.match_indices(' ').map(|(at, _)| at + 1);
    starts.any(|at| words.have(Role::SaidToFail, &sentence[at..]))
}

/// `a@example.org, b@example.org` have the same position.
pub(super) fn is_separator(between: &str) -> bool {
    between.len() < LONGEST_SEPARATOR && word_of(between).is_empty()
}

/// `a@example.org and b@example.org` may have it.
pub(super) fn is_joint(between: &str, words: &Words) -> bool {
    between.trim().len() < LONGEST_SEPARATOR && words.have(Role::JoinsRecipients, &fold(word_of(between)).into_string())
}

/// In octets.
const LONGEST_SEPARATOR: usize = 10;

/// What parts those whom a list names.
pub(super) const COMMAS: [char; 5] = [',', ';', '、', '，', '；'];

/// What stands between two addresses, without the marks around it.
fn word_of(between: &str) -> &str {
    between.trim_matches(|c: char| c.is_whitespace() || COMMAS.contains(&c) || matches!(c, '<' | '>' | '"' | '\''))
}

/// A line of the returned header, quoted or summarised among the words.
enum Header {
    To,
    Other,
}

/// Whether a line is a header field that carries addresses, in the languages that Exchange and Outlook write.
fn header_of(line: &str, words: &Words) -> Option<Header> {
    let (name, _) = field(line.trim_start_matches([' ', '\t', '>', '|', '*']))?;
    let name = fold(name).into_string();
    if words.have(Role::NamesRecipient, &name) {
        return Some(Header::To);
    }
    // `<<< MAIL From:` of a transcript, too.
    (words.have(Role::NamesOther, &name) || name.ends_with("mail from")).then_some(Header::Other)
}

/// Whether an address stands behind the end of another clause, and no type of address: `rfc822; anna@example.org`.
fn begins_clause(before: &str, words: &Words) -> bool {
    let clause = before.trim_end();
    let last = clause.trim_end_matches(';').rsplit(char::is_whitespace).next().unwrap_or_default();
    clause.len() < before.len() && clause.ends_with(';') && !words.have(Role::BeforeRecipient, &last.to_lowercase())
}

/// The words before an address, folded, without the blanks, brackets, quotes and colons between.
fn said(before: &str) -> String {
    let said = before.trim_end_matches(|c: char| {
        c.is_whitespace() || matches!(c, '<' | '"' | '\'' | '`' | '(' | '[' | '«' | '“' | '„' | ':' | '：' | '=' | ';')
    });
    fold(said).into_string()
}

/// The last part of a line: as much as one sentence needs, and no more, for a line may be as long as the mail.
fn tail(line: &str) -> &str {
    line.char_indices().rev().nth(LONGEST_SENTENCE - 1).map_or(line, |(i, _)| &line[i..])
}

/// In characters.
const LONGEST_SENTENCE: usize = 80;

/// The position of an address behind such words.
fn position_behind(said: &str, tables: &Tables) -> Position {
    let head = said.trim_start_matches(|c: char| !c.is_alphanumeric());
    // `550 5.1.1 <anna@example.org>... User unknown` says it at the head, too.
    if head.split_whitespace().all(|w| w.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'#'))) {
        return Position::Head;
    }
    if head.ends_with("rcpt to") {
        return Position::Command;
    }
    if tables.formats.ends_with_label(head) {
        return Position::Head;
    }
    let last = head.rsplit(|c: char| c.is_whitespace() || c == ':').next().unwrap_or("");
    if tables.words.have(Role::BeforeRecipient, last) { Position::Announced } else { Position::Elsewhere }
}

/// Whether an address belongs to whoever writes bounces, not to whom we mail.
pub(super) fn is_service(address: &Address, words: &Words) -> bool {
    words.have(Role::Service, address.local_part())
}

/// Whether the words before an address ask to write there. `previous` is the line above, for a wrapped sentence.
fn is_contact(previous: &str, before: &str, words: &Words) -> bool {
    let wrapped = previous.trim_end();
    // A sentence or a label that ended says nothing about the next line.
    let ended = wrapped.ends_with(['.', ':', '!', '-', '*']) || wrapped.contains('@');
    let joined = if ended { "" } else { wrapped };
    let asked = format!("{} {before}", tail(joined));
    let asked = fold(&asked).into_string();
    words.asks_to_write(&asked)
}

/// Who we are: the addresses that the bounce was sent to and that the original came from. Message-IDs, too, look
/// like addresses of ours.
fn own_addresses(mail: &Mail<'_>, original: &Original) -> HashSet<String> {
    let ids = [&mail.message_id, &original.message_id].into_iter().flatten();
    let own = mail.to.iter().chain([&mail.from]).chain(&original.from).chain(ids);
    own.filter_map(|a| Address::parse(a)).map(|a| a.normalised().to_owned()).collect()
}

fn addresses_in(list: &[String]) -> Vec<Address> {
    list.iter().filter_map(|a| Address::parse(a)).collect()
}

fn distinct(failed: impl Iterator<Item = Failed>) -> Vec<Failed> {
    let mut seen = HashSet::new();
    failed.filter(|f| seen.insert(f.mailed.normalised().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static TABLES: LazyLock<Tables> = LazyLock::new(Tables::embedded);

    #[test]
    fn verp_senders_name_the_recipient() {
        for (own, recipient) in [
            ("bounces+anna=mail.example.org@shop.example", "anna@mail.example.org"),
            ("list-return-12-anna=mail.example.org@shop.example", "anna@mail.example.org"),
            ("bounces+anna-maria=mail.example.org@shop.example", "anna-maria@mail.example.org"),
            ("list-return-12-anna-maria=mail.example.org@shop.example", "anna-maria@mail.example.org"),
            ("list-anna=mail.example.org@shop.example", "anna@mail.example.org"),
            // With a tag of BATV (draft-levine-smtp-batv) before it.
            ("prvs=4242abcdef=bounces+anna=mail.example.org@shop.example", "anna@mail.example.org"),
            ("prvs=4242abcdef=list-return-12-anna=mail.example.org@shop.example", "anna@mail.example.org"),
        ] {
            assert_eq!(from_verp(own).expect(own).given(), recipient);
        }
        for own in [
            "news@shop.example",
            "a=b@shop.example",
            // `anna-maria`, `maria` of the list `bounce-anna`, or number 17 of it.
            "bounce-anna-maria=mail.example.org@shop.example",
            "bounce-17-anna=mail.example.org@shop.example",
            "bounces+17-a1b2-anna=mail.example.org@shop.example",
            "list-return-anna-maria=mail.example.org@shop.example",
            "prvs=4242abcdef=bounces@shop.example",
            "bounce+k1.20783.c42.t5ewmb3ia5hcg5i6@shop.example",
        ] {
            assert_eq!(from_verp(own), None, "{own}");
        }
    }

    #[test]
    fn addresses_have_their_position() {
        let tables = Tables::embedded();
        for (before, position) in [
            ("", Position::Head),
            ("  <", Position::Head),
            (" - ", Position::Head),
            ("550 5.1.1 <", Position::Head),
            (">>> RCPT To:<", Position::Command),
            ("<-- RCPT TO: ", Position::Command),
            ("Failed to deliver to '", Position::Head),
            ("c=US;a= ;p=example;dda:SMTP=", Position::Head),
            ("The message to ", Position::Announced),
            ("Mailbox of ", Position::Elsewhere),
        ] {
            assert_eq!(position_behind(&said(before), &tables), position, "{before:?}");
        }
    }

    #[test]
    fn the_second_of_a_sentence_failed_where_nothing_more_is_said_of_him() {
        let tables = Tables::embedded();
        for (behind, failed) in [
            ("", 2),
            (": user unknown", 2),
            (".", 2),
            (" (user unknown)", 2),
            (".\nUser unknown", 2),
            ("\nUser unknown", 2),
            (" has received it.", 1),
            ("\nhas received it.", 1),
            (", our postmaster, was told.", 1),
            (" and carol@example.org got it.", 1),
        ] {
            let line = format!("It could not be delivered to <ann@example.org> and bob@example.org{behind}");
            let mentions = mentions(&line, &[], &HashSet::new(), &tables);
            let (position, _) = mentions.found[0];
            assert_eq!(mentions.at(position).len(), failed, "{line}");
        }
    }

    /// Whom a text without a header says to have failed.
    fn failed_by(text: &str) -> Vec<String> {
        let words = Words::embedded();
        let failed = find(&Mail::empty(&words), &Original::default(), text, true, &TABLES);
        failed.iter().map(|f| f.mailed.local_part().to_owned()).collect()
    }

    #[test]
    fn whom_a_sentence_names_beside_each_other_failed_together() {
        for text in [
            "The following recipients failed: ann@example.org, bob@example.org",
            "Delivery to ann@example.org and bob@example.org failed because they are unknown.",
            "Your message to ann@example.org and bob@example.org could not be delivered.",
            "Users ann@example.org and bob@example.org do not exist.",
            "ann@example.org and bob@example.org could not be reached",
            "Errors: ann@example.org 550 User unknown; bob@example.org 552 Mailbox full; carl@example.org: delivered",
            "Not delivered: ann@example.org (550 User unknown), bob@example.org (552 Mailbox full)",
            "The message from ann@example.net to ann@example.org and bob@example.org could not be delivered.",
            "İletiniz ann@example.org ve bob@example.org adreslerine teslim edilemedi.",
            "ann@example.org and bob@example.org do not exist.\n-- \ncarl@example.org",
            "Mailbox of ann@example.org is full. Mailbox of bob@example.org is full.",
            "Neither ann@example.org nor bob@example.org could be reached: both users are unknown.",
            "Not delivered to ann@example.org and bob@example.org, because they are unknown.",
            "您的邮件无法送达 ann@example.org 和 bob@example.org：收件人不存在。",
            "次の宛先に配信できませんでした：ann@example.org、bob@example.org",
            "A levele nem kézbesíthető a következő címzetteknek: ann@example.org és bob@example.org. A felhasználók nem léteznek.",
            "Not delivered to ann@example.org,\n    bob@example.org",
            "Not delivered to ann@example.org\nand bob@example.org",
            "Not delivered to ann@example.org and\nbob@example.org",
            "Ihre Nachricht an ann@example.org und bob@example.org konnte nicht zugestellt werden",
            "Votre message à ann@example.org et bob@example.org n'a pas pu être remis",
            "ann@example.org と bob@example.org に配信できませんでした",
            "Delivery failed. The following users are unknown here: ann@example.org, bob@example.org",
            "Die folgenden Nutzer sind hier unbekannt: <ann@example.org>, <bob@example.org>",
        ] {
            assert_eq!(failed_by(text), ["ann", "bob"], "{text}");
        }
    }

    #[test]
    fn whom_a_text_says_to_be_reached_did_not_fail() {
        for text in [
            "Your message was delivered to bob@example.org and carl@example.org. Delivery to ann@example.org failed.",
            "Mail to ann@example.org failed (user unknown); mail to bob@example.org was delivered.",
            "bob@example.org has received it. The mailbox of ann@example.org is full.",
            "bob@example.org and carl@example.org have received it. Not delivered to ann@example.org.",
            "Votre message a bien été remis à bob@example.org, mais ann@example.org n'existe pas.",
        ] {
            assert_eq!(failed_by(text), ["ann"], "{text}");
        }
        // Who is denied to be reached, and a greeting that ends with a comma.
        assert_eq!(
            failed_by("It has not been delivered to ann@example.org and was not delivered to bob@example.org."),
            ["ann", "bob"]
        );
        assert_eq!(failed_by("Dear bob@example.org,\nann@example.org could not be reached."), ["ann"]);
        assert_eq!(failed_by("It was delivered to ann@example.org"), ["ann"]);
        // What a sentence before the heading's says is not said by it.
        let copies = "Some users are unknown. Copies went here: ann@example.org, bob@example.org";
        assert_eq!(failed_by(copies), Vec::<String>::new());
    }

    #[test]
    fn a_line_may_be_the_name_of_an_address() {
        for (line, is_name) in [
            ("Ann Berg (ann@example.org)", true),
            ("  O'Neil, Zoë (zoe@example.org) ", true),
            ("Ann Berg<mailto:ann@example.org>", true),
            ("Ann Berg <mailto:ann@example.org> on 11/26/2026 10:01 AM", true),
            ("Questions? Ann Berg<mailto:ann@example.org>", false),
            ("Ann Berg<mailto:ann@example.org> answers them", false),
            ("Ann Berg <ann@example.org>", false),
            ("Write to Ann: (ann@example.org)", false),
            ("Ann: (ann@example.org)", false),
            ("Ann Berg (ann@example.org) is away", false),
        ] {
            let (range, _) = addresses(line).next().expect(line);
            assert_eq!(is_name_of(line, &range), is_name, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_survived(words in "[a@.<>=\"' \n:;é收件人-]{0,80}") {
            let mentions = mentions(&words, &[], &HashSet::new(), &TABLES);
            prop_assert!(mentions.at(Position::Head).len() <= words.matches('@').count());
        }
    }

    #[test]
    fn a_help_desk_is_no_recipient() {
        let words = Words::embedded();
        assert!(is_contact("", "For help please reply to <", &words));
        assert!(is_contact("If you think this is wrong, contact", "", &words));
        assert!(!is_contact("Please contact your administrator.", "<", &words));
        assert!(!is_contact(
            "This is an automatic reply to say that mail could not be delivered",
            "to the address <",
            &words
        ));
    }
}
