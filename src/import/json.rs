//! JSON -> the objects of the list in it, one after the other: an array, one object a line, or the answer of an API, page
//! behind page, whose list stands below a name. Memory holds one object; what stands beside the list is passed over.

use std::io::BufRead;

use super::records::{Broken, LONGEST};

/// The names below which answers keep their list.
const LISTS: [&str; 6] =
    ["items", "Suppressions", "SuppressedDestinationSummaries", "contacts", "results", "recipient_emails"];

/// An element of the list, and the line in which it begins.
pub(super) struct Element {
    pub line: u64,
    /// An object or a string.
    pub text: Vec<u8>,
}

/// Where the next element is looked for.
enum State {
    /// Between texts: any number of them may stand in a file.
    Outside,
    /// In a list, below so many objects.
    List(usize),
}

pub(super) struct Elements<S> {
    source: S,
    line: u64,
    state: State,
}

/// What an object turned out to be.
enum Object {
    /// As a whole.
    Whole(Vec<u8>),
    /// The list in it begins, below so many objects.
    Opens(usize),
}

impl<S: BufRead> Elements<S> {
    pub(super) const fn new(source: S) -> Self {
        Self { source, line: 1, state: State::Outside }
    }

    fn broken(&self, what: impl Into<String>) -> Broken {
        Broken { line: self.line, what: what.into() }
    }

    fn byte(&mut self) -> Result<Option<u8>, Broken> {
        let next = match self.source.fill_buf() {
            Ok(buffer) => buffer.first().copied(),
            Err(error) => return Err(self.broken(format!("can't read it: {error}"))),
        };
        if let Some(byte) = next {
            self.source.consume(1);
            self.line += u64::from(byte == b'\n');
        }
        Ok(next)
    }

    fn byte_of_more(&mut self) -> Result<u8, Broken> {
        self.byte()?.ok_or_else(|| self.broken("the JSON ends in the middle"))
    }

    pub(super) fn next(&mut self) -> Result<Option<Element>, Broken> {
        loop {
            let Some(byte) = self.byte()? else {
                return match self.state {
                    State::Outside => Ok(None),
                    State::List(_) => Err(self.broken("the JSON ends in the middle")),
                };
            };
            if byte.is_ascii_whitespace() || byte == b',' {
                continue;
            }
            let line = self.line;
            match (byte, &self.state) {
                (b'[', State::Outside) => self.state = State::List(0),
                (b'{', State::Outside) => match self.object(true)? {
                    Object::Whole(text) => return Ok(Some(Element { line, text })),
                    Object::Opens(below) => self.state = State::List(below),
                },
                (b'{', State::List(_)) => match self.object(false)? {
                    Object::Whole(text) => return Ok(Some(Element { line, text })),
                    Object::Opens(_) => unreachable!("no list is looked for"),
                },
                (b'"', State::List(_)) => {
                    let mut text = vec![byte];
                    self.string(&mut text)?;
                    return Ok(Some(Element { line, text }));
                }
                (b']', State::List(below)) => {
                    let below = *below;
                    self.close(below)?;
                    self.state = State::Outside;
                }
                _ => return Err(self.broken("expected a JSON list of objects")),
            }
        }
    }

    /// The rest of a string behind its first quote.
    fn string(&mut self, text: &mut Vec<u8>) -> Result<(), Broken> {
        loop {
            let byte = self.byte_of_more()?;
            self.push(text, byte)?;
            match byte {
                b'"' => return Ok(()),
                b'\\' => {
                    let escaped = self.byte_of_more()?;
                    self.push(text, escaped)?;
                }
                _ => {}
            }
        }
    }

    fn push(&self, text: &mut Vec<u8>, byte: u8) -> Result<(), Broken> {
        if text.len() >= LONGEST {
            return Err(self.broken(format!("an entry of more than {} KiB", LONGEST >> 10)));
        }
        text.push(byte);
        Ok(())
    }

    /// The rest of an object behind its brace; or so much of it as stands before a list that it only wraps.
    fn object(&mut self, may_wrap: bool) -> Result<Object, Broken> {
        let mut text = vec![b'{'];
        let (mut objects, mut arrays) = (1_usize, 0_usize);
        // Where the last string begins: before a list it is its name.
        let mut name = 0;
        loop {
            let byte = self.byte_of_more()?;
            self.push(&mut text, byte)?;
            match byte {
                b'"' => {
                    name = text.len() - 1;
                    self.string(&mut text)?;
                }
                b'{' => objects += 1,
                b'[' if may_wrap && arrays == 0 && is_list(&text[name..]) => return Ok(Object::Opens(objects)),
                b'[' => arrays += 1,
                b'}' => objects -= 1,
                b']' => arrays = arrays.checked_sub(1).ok_or_else(|| self.broken("the JSON has a `]` too many"))?,
                _ => {}
            }
            if objects == 0 {
                return Ok(Object::Whole(text));
            }
        }
    }

    /// Passes over what stands behind a list in the objects around it.
    fn close(&mut self, mut objects: usize) -> Result<(), Broken> {
        while objects > 0 {
            match self.byte_of_more()? {
                b'"' => self.pass_string()?,
                b'{' => objects += 1,
                b'}' => objects -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn pass_string(&mut self) -> Result<(), Broken> {
        loop {
            match self.byte_of_more()? {
                b'"' => return Ok(()),
                b'\\' => drop(self.byte_of_more()?),
                _ => {}
            }
        }
    }
}

/// `"items": [` -> whether it is the list that the object is there for.
fn is_list(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"\"") else { return false };
    LISTS.iter().any(|list| {
        let behind = rest.strip_prefix(list.as_bytes()).and_then(|rest| rest.strip_prefix(b"\""));
        behind.is_some_and(|rest| rest.iter().all(|b| b.is_ascii_whitespace() || matches!(b, b':' | b'[')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(json: &str) -> (Vec<(u64, String)>, Option<String>) {
        let mut elements = Elements::new(json.as_bytes());
        let mut found = Vec::new();
        loop {
            match elements.next() {
                Ok(Some(Element { line, text })) => found.push((line, String::from_utf8(text).unwrap())),
                Ok(None) => return (found, None),
                Err(broken) => return (found, Some(broken.to_string())),
            }
        }
    }

    #[test]
    fn a_list_is_found_wherever_answers_keep_it() {
        for (json, lines) in [
            ("[{\"a\":1},\n{\"b\":\"]}\"}]", [1, 2]),
            ("{\"a\":1}\n{\"b\":\"]}\"}\n", [1, 2]),
            ("{\"total\": [1], \"items\" :\n [{\"a\":1},{\"b\":\"]}\"}], \"paging\": {\"next\": \"}\\\"\"}}", [2, 2]),
            ("{\"data\": {\"results\": [{\"a\":1},\n{\"b\":\"]}\"}\n], \"page\": 1}}", [1, 2]),
            ("{\"items\":[{\"a\":1}],\"paging\":{}}\n{\"items\":[{\"b\":\"]}\"}],\"paging\":{}}", [1, 2]),
        ] {
            let expected = [(lines[0], "{\"a\":1}".to_owned()), (lines[1], "{\"b\":\"]}\"}".to_owned())];
            assert_eq!(elements(json), (expected.into(), None), "{json}");
        }
        let strings = elements("{\"recipient_emails\": [\"a@b\", \"c\\\"\"]}").0;
        assert_eq!(strings, [(1, "\"a@b\"".to_owned()), (1, "\"c\\\"\"".to_owned())]);
        assert_eq!(elements("[]"), (Vec::new(), None));
        // A list of an entry is not the list.
        assert_eq!(elements("{\"lists\":[{\"id\":1}]}").0, [(1, "{\"lists\":[{\"id\":1}]}".to_owned())]);
    }

    #[test]
    fn what_breaks_off_or_never_ends_is_told_with_its_line() {
        for (json, line, words) in [
            ("[{\"a\":1},\n{\"b\":", 2, "ends in the middle"),
            ("[{\"a\":1}", 1, "ends in the middle"),
            ("{\"items\":[{\"a\":1}]", 1, "ends in the middle"),
            ("[{\"a\":1},\n[2]]", 2, "list of objects"),
            ("{\"a\":1}]", 1, "list of objects"),
            ("[{\"a\":1},{]}]", 1, "too many"),
        ] {
            let (found, error) = elements(json);
            let error = error.expect(json);
            assert!(found.len() == 1 || json.starts_with("{\"items"), "{json}");
            assert!(error.starts_with(&format!("line {line}: ")) && error.contains(words), "{json}: {error}");
        }
        let endless = format!("[{{\"a\":\"{}", "x".repeat(LONGEST));
        assert!(elements(&endless).1.expect("too long").contains("KiB"));
    }
}
