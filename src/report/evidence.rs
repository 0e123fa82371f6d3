//! Where in a mail something stands. Evidence is made once, where the bytes are read, and carried from there to the
//! row in the database and to the screen; nobody above searches the mail again.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{Deserialize, Serialize, Serializer};

use crate::text::split_lines;

/// A place that words can stand in. What it is called is for people: nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A header field of the mail.
    Header(Cow<'static, str>),
    /// A field of the delivery-status part (RFC 3464).
    Field(Cow<'static, str>),
    /// The words of the program that wrote the mail.
    TextPart,
    /// The SMTP dialogue that such a program quotes among its words.
    Transcript,
    /// The returned original message.
    Original,
    /// A header field of the returned original message.
    OriginalHeader(Cow<'static, str>),
    /// A message that somebody quotes, forwards or attaches.
    PassedOn,
    /// How the mail is put together, or what several parts of it amount to.
    Structure,
    /// An SMTP reply that came without a mail.
    Reply,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header(name) | Self::Field(name) => name,
            Self::OriginalHeader(name) => return write!(f, "{name} of the returned message"),
            Self::TextPart => "text part",
            Self::Transcript => "transcript",
            Self::Original => "returned message",
            Self::PassedOn => "passed on by somebody else",
            Self::Structure => "whole mail",
            Self::Reply => "reply",
        })
    }
}

impl Location {
    /// A place by what it is called. A field of the header is taken for one of the delivery-status part: they are called
    /// alike.
    pub(super) fn named(name: &str) -> Self {
        let fixed = [Self::TextPart, Self::Transcript, Self::Original, Self::PassedOn, Self::Structure, Self::Reply];
        fixed.into_iter().find(|place| place.to_string() == name).unwrap_or_else(|| {
            match name.strip_suffix(" of the returned message") {
                Some(field) => Self::OriginalHeader(field.to_owned().into()),
                None => Self::Field(name.to_owned().into()),
            }
        })
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where something was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The header, field or part.
    pub location: Location,
    /// The octets of it, in the decoded part or in the value of the header.
    pub range: Range<usize>,
    /// The line of the mail as it was sent, counted from 1; `None` where no line says it.
    pub line: Option<u32>,
    /// That line, decoded, so that a person can see what is meant.
    pub words: String,
}

impl Evidence {
    /// What no single line of the mail says.
    #[must_use]
    pub fn of_structure(words: impl Into<String>) -> Self {
        Self { location: Location::Structure, range: 0..0, line: None, words: words.into() }
    }

    /// Whether it tells a person the same.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.line == other.line && self.words == other.words && self.location == other.location
    }
}

/// A value and where in the mail it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding<T> {
    /// What was read.
    pub value: T,
    /// Where.
    pub evidence: Evidence,
}

/// Text taken out of a mail that knows where each piece of it stood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    /// In the order of the text.
    pieces: Vec<Piece>,
}

/// A stretch of an excerpt that stands in the mail as it stands here. It ends where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Where it begins in the excerpt.
    at: usize,
    /// Where it begins in the header or part.
    from: usize,
    /// The line of the mail.
    line: Option<u32>,
    /// Whether it begins a line of the header or part rather than going on with one.
    begins_line: bool,
    location: Location,
}

/// A piece of an excerpt, as a store keeps it: where it begins in the excerpt, its line of the mail, and the place that
/// it stands in where that is not the one of the piece before. Where it stands in that place no store has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredPiece<'a> {
    /// Begins a line in the same place.
    Line(usize, Option<u32>),
    /// Begins a line.
    LineIn(usize, Option<u32>, Cow<'a, str>),
    /// Goes on with one; the last entry tells it from the one above.
    GoesOn(usize, Option<u32>, Option<Cow<'a, str>>, ()),
}

impl Excerpt {
    /// Where its pieces stand.
    pub(super) fn to_store(&self) -> Vec<StoredPiece<'_>> {
        let before = std::iter::once(None).chain(self.pieces.iter().map(|piece| Some(&piece.location)));
        let stored = |(piece, before): (&Piece, Option<&Location>)| {
            let location = (before != Some(&piece.location)).then(|| piece.location.to_string().into());
            match (piece.begins_line, location) {
                (true, None) => StoredPiece::Line(piece.at, piece.line),
                (true, Some(location)) => StoredPiece::LineIn(piece.at, piece.line, location),
                (false, location) => StoredPiece::GoesOn(piece.at, piece.line, location, ()),
            }
        };
        self.pieces.iter().zip(before).map(stored).collect()
    }

    /// A text and where its pieces stood; `None` where they are of another text.
    pub(super) fn from_store(text: String, stored: &[StoredPiece<'_>]) -> Option<Self> {
        let mut location = Location::Structure;
        let mut pieces = Vec::with_capacity(stored.len());
        for piece in stored {
            let (at, line, named, begins_line) = match piece {
                StoredPiece::Line(at, line) => (*at, *line, None, true),
                StoredPiece::LineIn(at, line, named) => (*at, *line, Some(named), true),
                StoredPiece::GoesOn(at, line, named, ()) => (*at, *line, named.as_ref(), false),
            };
            if at >= text.len() || !text.is_char_boundary(at) {
                return None;
            }
            location = named.map_or(location, |name| Location::named(name));
            pieces.push(Piece { at, from: at, line, begins_line, location: location.clone() });
        }
        Some(Self { text, pieces }).filter(|excerpt| excerpt.pieces.is_sorted_by_key(|piece| piece.at))
    }

    /// Lines that stand one below the other from offset `from` of a header or part on. `line_of` is asked for the
    /// line of the mail in which an offset stands.
    #[must_use]
    pub fn of(location: &Location, text: &str, from: usize, line_of: impl Fn(usize) -> Option<u32>) -> Self {
        let pieces = Vec::with_capacity(1 + memchr::memchr_iter(b'\n', text.as_bytes()).count());
        let mut excerpt = Self { text: String::with_capacity(text.len()), pieces };
        let mut at = 0;
        for line in split_lines(text) {
            excerpt.push(location, line, from + at, line_of(from + at));
            at += line.len();
        }
        excerpt
    }

    /// Adds text that stands at offset `from` of a header or part, in that line of the mail.
    pub fn push(&mut self, location: &Location, text: &str, from: usize, line: Option<u32>) {
        if !text.is_empty() {
            let at = self.text.len();
            self.pieces.push(Piece { at, from, line, begins_line: true, location: location.clone() });
            self.text.push_str(text);
        }
    }

    /// Adds another excerpt.
    pub fn append(&mut self, other: &Self) {
        let before = self.text.len();
        self.pieces.extend(other.pieces.iter().map(|p| Piece { at: p.at + before, ..p.clone() }));
        self.text.push_str(&other.text);
    }

    /// Adds what the mail does not have: a blank or a line end between pieces.
    pub fn push_between(&mut self, between: char) {
        self.text.push(between);
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// A part of it. The range must lie on characters.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut slice = Self { text: self.text[range.clone()].to_owned(), pieces: Vec::new() };
        if !slice.text.is_empty() {
            let first = self.piece_at(range.start);
            let within = self.pieces.iter().skip(first).take_while(|p| p.at < range.end);
            slice.pieces = within.map(|p| p.moved_on(range.start.saturating_sub(p.at), range.start)).collect();
        }
        slice
    }

    /// The same, as it is found in a place of another name.
    #[must_use]
    pub fn within(mut self, location: &Location) -> Self {
        self.pieces.iter_mut().for_each(|piece| piece.location = location.clone());
        self
    }

    /// Without blanks and line ends at both ends.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start..(start + self.text.trim().len()))
    }

    /// At most `most` octets of it, cut at a character.
    #[must_use]
    pub fn clipped(&self, most: usize) -> Self {
        self.slice(0..self.text.floor_char_boundary(most))
    }

    /// Every run of white space one blank, and none at both ends (RFC 5322 §2.2.3 for folded fields).
    #[must_use]
    pub fn on_one_line(&self) -> Self {
        let mut joined = Self { text: String::with_capacity(self.text.len()), pieces: Vec::new() };
        let mut piece = 0;
        // The piece that the last word stood in, and by how much the text in front of it has shrunk.
        let mut last = None;
        for range in words(&self.text) {
            if !joined.text.is_empty() {
                joined.text.push(' ');
            }
            let shrunk = range.start - joined.text.len();
            while self.pieces.get(piece + 1).is_some_and(|next| next.at <= range.start) {
                piece += 1;
            }
            if let Some(here) = self.pieces.get(piece).filter(|_| last != Some((piece, shrunk))) {
                let goes_on = last.is_some_and(|(before, _)| before == piece);
                let mut moved = here.moved_on(range.start - here.at, shrunk);
                moved.begins_line = here.begins_line && !goes_on;
                joined.pieces.push(moved);
            }
            // A word may go on into further pieces.
            while let Some(next) = self.pieces.get(piece + 1).filter(|next| next.at < range.end) {
                joined.pieces.push(next.moved_on(0, shrunk));
                piece += 1;
            }
            last = Some((piece, shrunk));
            joined.text.push_str(&self.text[range]);
        }
        joined
    }

    /// Where a part of the text stands in the mail: the line that it begins in and those that it reaches into.
    #[must_use]
    pub fn evidence(&self, range: Range<usize>) -> Evidence {
        if self.pieces.is_empty() {
            return Evidence::of_structure(self.text.as_str());
        }
        let first = self.piece_at(range.start);
        let last = self.piece_at(range.end.saturating_sub(1).max(range.start));
        let Piece { at, from, ref location, .. } = self.pieces[first];
        let start = from + range.start.saturating_sub(at);
        let end = Some(&self.pieces[last]).filter(|p| p.location == *location).map(|p| p.from + range.end - p.at);
        // Lines of the mail: from the piece that begins the first to the one that begins the line after the last.
        let begins = (0..=first).rev().find(|&i| self.pieces[i].begins_line).unwrap_or(0);
        let ends = self.pieces[last + 1..].iter().find(|p| p.begins_line).map_or(self.text.len(), |p| p.at);
        let given = &self.text[self.pieces[begins].at..ends];
        let mut line = String::with_capacity(given.len());
        for word in words(given) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&given[word]);
        }
        Evidence {
            location: location.clone(),
            range: start..end.filter(|&end| end >= start).unwrap_or(start + range.len()),
            line: self.pieces[first].line,
            words: line,
        }
    }

    /// Where all of it stands, with the words of its first line.
    #[must_use]
    pub fn evidence_of_start(&self) -> Evidence {
        self.evidence(0..self.text.len().min(1))
    }

    /// The number of the piece that an offset lies in.
    fn piece_at(&self, offset: usize) -> usize {
        self.pieces.partition_point(|p| p.at <= offset).saturating_sub(1)
    }
}

impl Piece {
    /// The piece from its octet `skipped` on, `shift` octets nearer to the start of the excerpt.
    fn moved_on(&self, skipped: usize, shift: usize) -> Self {
        Self { at: self.at + skipped - shift, from: self.from + skipped, ..self.clone() }
    }
}

/// The ranges of the words between white space.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        at += bytes[at..].iter().position(|b| !b.is_ascii_whitespace())?;
        let start = at;
        at += bytes[at..].iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len() - at);
        Some(start..at)
    })
}

/// A reply that came without a mail.
impl From<&str> for Excerpt {
    fn from(text: &str) -> Self {
        Self::of(&Location::Reply, text, 0, |_| None)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Excerpt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excerpt(text: &str) -> Excerpt {
        let line_of = |at: usize| u32::try_from(1 + text[..at].matches('\n').count()).ok();
        Excerpt::of(&Location::TextPart, text, 0, line_of)
    }

    fn evidence(excerpt: &Excerpt, words: &str) -> Evidence {
        let at = excerpt.as_str().find(words).expect(words);
        excerpt.evidence(at..at + words.len())
    }

    #[test]
    fn words_have_the_line_that_they_stand_in() {
        let found = evidence(&excerpt("Sorry.\n\n550  No such\n   user here\nBye\n").on_one_line(), "user");
        assert_eq!((found.line, found.words.as_str()), (Some(4), "user here"));
        let found = evidence(&excerpt("Sorry.\n550  No such\n   user here\nBye").on_one_line(), "such user");
        assert_eq!((found.line, found.words.as_str()), (Some(2), "550 No such user here"));
    }

    #[test]
    fn what_is_put_together_keeps_its_places() {
        let mut both = Excerpt::default();
        both.push(&Location::Field("Diagnostic-Code".into()), "550 no", 20, Some(7));
        both.push_between(' ');
        both.push(&Location::Field("X-Notes".into()), "such user", 40, Some(9));
        let found = evidence(&both, "user");
        assert_eq!((found.location.to_string().as_str(), found.range, found.line), ("X-Notes", 45..49, Some(9)));
        assert_eq!(evidence(&both, "550").words, "550 no");
    }

    #[test]
    fn places_of_another_text_are_none_of_this_one() {
        let stored = |at| Excerpt::from_store("é no".to_owned(), &[StoredPiece::Line(at, Some(1))]);
        assert!([0, 2, 4].map(|at| stored(at).is_some()).iter().all(|known| *known));
        assert!([1, 5, 6].map(|at| stored(at).is_none()).iter().all(|unknown| *unknown));
    }

    proptest! {
        #[test]
        fn joining_slicing_and_trimming_keep_the_octets(text in "[a-cé \n\t]{0,40}", cut in 0usize..40) {
            let whole = excerpt(&text);
            let cut = text.floor_char_boundary(cut.min(text.len()));
            for part in [whole.on_one_line(), whole.slice(cut..text.len()).on_one_line(), whole.trimmed(),
                         whole.slice(0..cut).trimmed().on_one_line()] {
                for (at, c) in part.as_str().char_indices().filter(|(_, c)| !c.is_whitespace()) {
                    let found = part.evidence(at..at + c.len_utf8());
                    prop_assert_eq!(&text[found.range.clone()], c.to_string());
                    let line = 1 + text[..found.range.start].matches('\n').count();
                    prop_assert_eq!(found.line, u32::try_from(line).ok());
                    prop_assert!(found.words.contains(c) && !found.words.contains('\n'));
                }
            }
        }
    }
}
