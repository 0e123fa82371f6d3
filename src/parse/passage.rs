//! Words of a mail that know where they stand: what readers cut their excerpts from. Refuses to read them.

use std::ops::Range;

use super::mime::Part;
use crate::{
    report::{Excerpt, Location},
    text::split_lines,
};

/// A stretch of a part's text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passage<'m> {
    /// Its words.
    pub text: &'m str,
    /// The part, and where in its text the words begin; `None` for words that no part has.
    origin: Option<(&'m Part<'m>, usize)>,
}

impl<'m> Passage<'m> {
    /// All of a part's text.
    pub fn of_part(part: &'m Part<'m>) -> Self {
        Self { text: &part.text, origin: Some((part, 0)) }
    }

    /// A part of it. The range must lie on characters.
    pub fn slice(self, range: Range<usize>) -> Self {
        let origin = self.origin.map(|(part, at)| (part, at + range.start));
        Self { text: &self.text[range], origin }
    }

    /// Without blanks and line ends at both ends.
    pub fn trimmed(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start..(start + self.text.trim().len()))
    }

    /// At most `most` octets, cut at a character.
    pub fn clipped(self, most: usize) -> Self {
        self.slice(0..self.text.floor_char_boundary(most))
    }

    /// What stands behind `start`, if it begins with it.
    pub fn behind(self, start: &str) -> Option<Self> {
        self.text.starts_with(start).then(|| self.slice(start.len()..self.text.len()))
    }

    /// Without `start`, where it begins with it.
    pub fn without_start(self, start: &str) -> Self {
        self.behind(start).unwrap_or(self)
    }

    /// The line of the mail in which it begins.
    pub fn line(self) -> Option<u32> {
        let (part, at) = self.origin?;
        part.line_of(at)
    }

    /// Its lines, without their line ends.
    pub fn lines(self) -> impl Iterator<Item = Self> {
        let mut at = 0;
        split_lines(self.text).map(move |line| {
            let start = at;
            at += line.len();
            self.slice(start..start + line.trim_end_matches('\n').len())
        })
    }

    /// Its words with the places where they stand.
    pub fn excerpt(self, location: &Location) -> Excerpt {
        let (part, from) = self.origin.unzip();
        Excerpt::of(location, self.text, from.unwrap_or(0), |at| part?.line_of(at))
    }
}

/// Words that no part has: a header's value, or what a test makes up.
impl<'m> From<&'m str> for Passage<'m> {
    fn from(text: &'m str) -> Self {
        Self { text, origin: None }
    }
}
