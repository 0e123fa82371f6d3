//! Text -> the one form in which the words of tables and of mails are compared, and the way back to where a word
//! stands. Knows no words.

use std::{borrow::Cow, ops::Range};

use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

/// A text in the form in which words are compared.
#[derive(Debug, Clone)]
pub struct Folded<'t> {
    given: &'t str,
    text: String,
    steps: Vec<Step>,
}

/// From here on the folded text and the given one run side by side, octet for octet.
#[derive(Debug, Clone, Copy)]
struct Step {
    folded: usize,
    given: usize,
}

/// Lower case, without accents (programs drop them, "Empfanger", and people forget them), typographic quotes and
/// dashes plain, letters and signs of one meaning made one (Unicode's NFKD), every run of white space one blank.
#[must_use]
pub fn fold(text: &str) -> Folded<'_> {
    let mut folded = Folded { given: text, text: String::with_capacity(text.len()), steps: Vec::new() };
    folded.push_part(0..text.len());
    folded.without_last_blank()
}

/// The same, without the way back; what has that form already, as most words of the tables have, is not copied.
#[must_use]
pub fn folded(text: &str) -> Cow<'_, str> {
    // As if a blank stood before it: it must neither begin nor end with one.
    let mut before = b' ';
    let is_folded = text.bytes().chain([b' ']).all(|byte| {
        let stays = matches!(byte, b'!'..=b'@' | b'['..=b'~') || (byte == b' ' && before != b' ');
        before = byte;
        stays
    });
    if is_folded { Cow::Borrowed(text) } else { Cow::Owned(fold(text).into_string()) }
}

/// A text that may hold a reply of several lines, as if it were one of one line: `550-5.1.1 No such 550 5.1.1 user` is
/// `550 5.1.1 no such user`.
#[must_use]
pub fn fold_reply(text: &str) -> Folded<'_> {
    let mut folded = Folded { given: text, text: String::with_capacity(text.len()), steps: Vec::new() };
    let mut from = 0;
    for mark in marks_of_lines(text) {
        folded.push_part(from..mark.start);
        folded.push(' ', mark.start);
        from = mark.end;
    }
    folded.push_part(from..text.len());
    folded.without_last_blank()
}

/// What tells that a reply has several lines (RFC 5321 §4.2.1), in the order of the text: the dash behind its code, and the
/// code and status that each further line begins with.
fn marks_of_lines(text: &str) -> Vec<Range<usize>> {
    let mut marks = Vec::new();
    let Some(first) = memchr::memchr_iter(b'-', text.as_bytes()).find_map(|at| opens_reply(text, at)) else {
        return marks;
    };
    let dash = |code: usize| code + CODE..code + CODE + 1;
    marks.push(dash(first));
    let mut open = Some(&text[first..first + CODE]);
    let mut from = first + CODE;
    while let Some(blank) = text[from..].find([' ', '\n']) {
        let start = from + blank + 1;
        from = start;
        let Some(code) = text.get(start..start + CODE).filter(|code| is_code(code)) else { continue };
        let behind = &text[start + CODE..];
        let goes_on = behind.starts_with('-');
        if open == Some(code) && (goes_on || behind.is_empty() || behind.starts_with([' ', '\n'])) {
            let rest = if goes_on { &behind[1..] } else { behind.trim_start() };
            marks.push(start..text.len() - behind_status(rest).len());
            open = open.filter(|_| goes_on);
        } else if goes_on {
            marks.push(dash(start));
            open = Some(code);
        }
    }
    marks
}

/// Octets of a reply code.
const CODE: usize = 3;

/// RFC 5321 §4.2.1: 4yz or 5yz. Others say nothing that is weighed.
fn is_code(code: &str) -> bool {
    code.starts_with(['4', '5']) && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where the code of a reply that goes on begins, if that is what stands before a dash.
fn opens_reply(text: &str, dash: usize) -> Option<usize> {
    let start = dash.checked_sub(CODE)?;
    let is_word = !text.get(..start)?.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '-'));
    (is_word && is_code(&text[start..dash])).then_some(start)
}

/// What stands behind an enhanced status code (RFC 2034 §4), where the text begins with one, and behind its blanks.
fn behind_status(text: &str) -> &str {
    let end = text.find([' ', '\n']).unwrap_or(text.len());
    let mut parts = text[..end].split('.');
    let is_status =
        parts.by_ref().take(3).filter(|part| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty()).count() == 3;
    if is_status && parts.next().is_none() { text[end..].trim_start() } else { text }
}

/// In octets: words of ASCII with single blanks between, at the start of a text.
fn plain_words(text: &[u8]) -> usize {
    let mut before = b' ';
    let ends = |byte: &u8| {
        let goes_on = byte.is_ascii_graphic() || (*byte == b' ' && before != b' ');
        before = *byte;
        !goes_on
    };
    let end = text.iter().position(ends).unwrap_or(text.len());
    text[..end].strip_suffix(b" ").map_or(end, <[u8]>::len)
}

/// The words of a table in the form in which they are compared. A blank at either end stays: a word ends there.
#[must_use]
pub fn fold_words(words: &str) -> String {
    let blank = |is_there: bool| if is_there { " " } else { "" };
    let start = blank(words.starts_with(char::is_whitespace));
    [start, &folded(words), blank(words.ends_with(char::is_whitespace))].concat()
}

impl Folded<'_> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text alone.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }

    /// Where in the given text that stands which is at an offset of the folded one.
    #[must_use]
    pub fn origin(&self, offset: usize) -> usize {
        let step = self.steps.partition_point(|step| step.folded <= offset).checked_sub(1);
        let Step { folded, given } = step.map_or(Step { folded: 0, given: 0 }, |i| self.steps[i]);
        self.given.floor_char_boundary(given + offset - folded)
    }

    /// What of the given text became a part of the folded one.
    #[must_use]
    pub fn origin_of(&self, range: Range<usize>) -> Range<usize> {
        let start = self.origin(range.start);
        // What was left out behind the last character is none of it.
        let last = self.origin(range.end.saturating_sub(1).max(range.start));
        let end = last + if self.given[last..].is_empty() { 0 } else { cluster(&self.given[last..]).len() };
        start..if range.is_empty() { start } else { end }
    }

    /// A part of the given text.
    fn push_part(&mut self, part: Range<usize>) {
        let (text, mut at) = (self.given, part.start);
        while let Some(&byte) = text.as_bytes()[..part.end].get(at) {
            // Most of most texts are plain words: they are copied whole.
            let words = plain_words(&text.as_bytes()[at..part.end]);
            if words > 0 {
                self.push_words(&text[at..at + words], at);
                at += words;
            } else if byte.is_ascii() {
                self.push(char::from(byte), at);
                at += 1;
            } else {
                let cluster = cluster(&text[at..]);
                self.push_cluster(cluster, at);
                at += cluster.len();
            }
        }
    }

    fn without_last_blank(mut self) -> Self {
        if self.text.ends_with(' ') {
            self.text.pop();
        }
        self
    }

    /// What is pushed next stands at an offset of the given text.
    fn step(&mut self, given: usize) {
        let folded = self.text.len();
        let last = self.steps.last().copied().unwrap_or(Step { folded: 0, given: 0 });
        if last.given + (folded - last.folded) != given {
            self.steps.push(Step { folded, given });
        }
    }

    /// Letters, digits and signs of ASCII, with single blanks between.
    fn push_words(&mut self, words: &str, given: usize) {
        self.step(given);
        let start = self.text.len();
        self.text.push_str(words);
        self.text[start..].make_ascii_lowercase();
    }

    fn push(&mut self, c: char, given: usize) {
        if c.is_whitespace() {
            if self.text.is_empty() || self.text.ends_with(' ') {
                return;
            }
            self.step(given);
            self.text.push(' ');
        } else {
            self.step(given);
            self.text.push(c);
        }
    }

    /// A character beyond ASCII with the marks that belong to it.
    fn push_cluster(&mut self, cluster: &str, given: usize) {
        let Some(c) = cluster.chars().next() else { return };
        if let Some(plain) = plain(c) {
            plain.chars().for_each(|plain| self.push(plain, given));
        } else if cluster.len() == c.len_utf8() && stays(c) {
            self.push(c, given);
        } else {
            for c in cluster.nfkd().flat_map(char::to_lowercase).filter(|&c| !is_accent(c)).nfc() {
                match plain(c) {
                    Some(plain) => plain.chars().for_each(|plain| self.push(plain, given)),
                    None => self.push(c, given),
                }
            }
        }
    }
}

/// The first character with the marks that follow it: what Unicode puts together or takes apart as one.
fn cluster(text: &str) -> &str {
    let mut chars = text.char_indices().skip(1);
    let end = chars.find(|&(_, c)| c.is_ascii() || !continues(c)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

fn continues(c: char) -> bool {
    if stays(c) {
        return false;
    }
    // Tibetan vowels, and Hangul letters that stand alone or are half-width, become such marks only now.
    let becomes_another = c >= '\u{f00}';
    let first = if becomes_another { std::iter::once(c).nfkd().next().unwrap_or(c) } else { c };
    // Hangul vowels and finals, and the half-width voicing marks of Japanese, are no combining marks.
    matches!(first, '\u{1160}'..='\u{11ff}' | '\u{ff9e}' | '\u{ff9f}') || canonical_combining_class(first) != 0
}

/// Small Cyrillic letters, Han, kana and Hangul syllables: most of a text in these scripts, and always as they should be.
const fn stays(c: char) -> bool {
    matches!(c, 'а'..='и' | 'к'..='я' | 'ー' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
}

/// Accents of Latin, Greek and Cyrillic letters.
const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Signs that programs write in several ways, characters that nobody sees, and letters that Unicode holds to be
/// letters of their own.
const fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{2018}'..='\u{201b}' | '\u{b4}' | '\u{2032}' => "'",
        '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "-",
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => "",
        'ł' => "l",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ı' => "i",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_one_meaning_become_one() {
        for (text, folded) in [
            ("  User\tUnknown\r\n now ", "user unknown now"),
            ("Empfänger nicht GEFUNDEN", "empfanger nicht gefunden"),
            ("Empfa\u{308}nger", "empfanger"),
            ("n’existe pas", "n'existe pas"),
            ("Skrzynka pełna", "skrzynka pelna"),
            ("ЯЩИК Переполнен", "ящик переполнен"),
            ("GEÇERSİZ ALICI", "gecersiz alici"),
            ("メールボックス　満杯", "メールボックス 満杯"),
            ("ﾒｰﾙﾎﾞｯｸｽ", "メールボックス"),
            ("ㅁㅏㅁￂ", "마마"),
            ("ＵＳＥＲ（５５０）：unknown", "user(550):unknown"),
            ("Straße Œuvre Ærø", "strasse oeuvre aero"),
        ] {
            assert_eq!(fold(text).as_str(), folded);
        }
    }

    #[test]
    fn what_stays_would_come_out_the_same() {
        for c in ('\0'..=char::MAX).filter(|&c| stays(c)) {
            let folded = [c].into_iter().nfkd().flat_map(char::to_lowercase).filter(|c| !is_accent(*c)).nfc();
            assert!(folded.eq([c]), "{c}");
            assert_eq!((plain(c), canonical_combining_class(c)), (None, 0), "{c}");
        }
    }

    #[test]
    fn the_codes_of_further_lines_break_no_sentence() {
        for (text, folded) in [
            ("550-5.1.1 No such 550 5.1.1 user", "550 5.1.1 no such user"),
            ("550-No such\n550-user\n550 here", "550 no such user here"),
            ("said '550-5.1.1 No such 550-5.1.1 user 550 5.1.1  here'", "said '550 5.1.1 no such user here'"),
            ("550-1.2.3.4 no 550 1.2.3.4 listed", "550 1.2.3.4 no 1.2.3.4 listed"),
            ("550-no 550", "550 no"),
            ("550-no 550 such 550 user", "550 no such 550 user"),
            ("550-no 421-such 421 user", "550 no 421 such user"),
            ("550-no 551 such 5500 user 550-", "550 no 551 such 5500 user"),
            ("call 055-550-1234 or 550 no", "call 055-550-1234 or 550 no"),
            ("1-550-no 550 such", "1-550-no 550 such"),
            ("250-no 250 such", "250-no 250 such"),
            ("550 no 550 such", "550 no 550 such"),
        ] {
            assert_eq!(fold_reply(text).as_str(), folded, "{text}");
        }
        let folded = fold_reply("550-No such\n550 user");
        let at = folded.as_str().find("such user").expect("one sentence");
        assert_eq!(folded.origin_of(at..at + 9), 7..20);
    }

    #[test]
    fn words_lead_back_to_where_they_stand() {
        let given = "Die  E‑Mail an\n Größe…  ist\u{ad} „voll“";
        let folded = fold(given);
        for (word, origin) in [("e-mail", "E‑Mail"), ("grosse", "Größe"), ("ist", "ist"), ("voll", "voll")] {
            let at = folded.as_str().find(word).expect(word);
            assert_eq!(&given[folded.origin_of(at..at + word.len())], origin);
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,80}") {
            let once = fold(&text).into_string();
            prop_assert_eq!(fold(&once).into_string(), once);
        }

        #[test]
        fn with_and_without_a_way_back_it_is_the_same(text in "\\PC{0,40}|[a-cA-C.\\[~ ]{0,9}") {
            prop_assert_eq!(fold(&text).into_string(), &*folded(&text));
        }

        #[test]
        fn every_word_leads_back_to_itself(text in "([a-zA-Z]{1,9}|[äßÉł…ﾎﾞ ’\u{308}\n-]){0,40}") {
            let folded = fold(&text);
            let mut at = 0;
            for word in folded.as_str().split(' ').filter(|w| !w.is_empty()) {
                at += folded.as_str()[at..].find(word).expect("it is there");
                let origin = folded.origin_of(at..at + word.len());
                prop_assert_eq!(fold(&text[origin]).into_string(), word);
                at += word.len();
            }
        }
    }
}
