//! A log on standard input, and what `journalctl` says. There is no going back in a pipe.

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{BATCH_OCTETS, Lines, LogError, cut::cut};

/// Whole lines out of a pipe.
pub(super) struct Pipe<R> {
    input: R,
    /// What came and was not given out.
    octets: Vec<u8>,
    in_line: bool,
    has_ended: bool,
}

/// How much is asked for at once.
const CHUNK: usize = 64 * 1024;

impl<R: AsyncRead + Unpin> Pipe<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, octets: Vec::new(), in_line: false, has_ended: false }
    }

    /// The lines that have come, as soon as there are some; `None` at the end. Whoever drops the future loses nothing.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            let cut = cut(&self.octets[..self.octets.len().min(BATCH_OCTETS)], self.in_line);
            self.in_line = cut.in_line;
            self.octets.drain(..cut.skipped);
            if cut.lines > 0 {
                let rest = self.octets.split_off(cut.lines);
                return Ok(Some(std::mem::replace(&mut self.octets, rest)));
            }
            if self.has_ended {
                let last = std::mem::take(&mut self.octets);
                return Ok((!last.is_empty()).then_some(last));
            }
            let before = self.octets.len();
            self.octets.reserve(CHUNK);
            // Into the buffer itself: what was read before a future is dropped is there.
            let mut chunk = (&mut self.input).take(CHUNK as u64);
            self.has_ended = chunk.read_buf(&mut self.octets).await? == 0;
            debug_assert!(self.octets.len() <= before + CHUNK);
        }
    }
}

impl<R> fmt::Debug for Pipe<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("octets", &self.octets.len()).finish_non_exhaustive()
    }
}

/// Standard input.
#[derive(Debug)]
pub struct PipeTail {
    pipe: Pipe<tokio::io::Stdin>,
}

impl PipeTail {
    pub(super) fn of_stdin() -> Self {
        Self { pipe: Pipe::new(tokio::io::stdin()) }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Lines>, LogError> {
        let read = self.pipe.next().await;
        let octets = read.map_err(|error| LogError::Lost(format!("standard input can't be read: {error}")))?;
        Ok(octets.map(|octets| Lines { octets, cursor: String::new(), lost: None }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn lines_come_when_they_are_whole_and_the_last_one_at_the_end() {
        let (mut write, read) = tokio::io::duplex(64);
        let mut pipe = Pipe::new(read);
        write.write_all(b"one\ntwo\nha").await.unwrap();
        assert_eq!(pipe.next().await.unwrap(), Some(b"one\ntwo\n".to_vec()));
        // Nothing is lost with a future that is dropped.
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), pipe.next()).await;
        assert!(waits.is_err());
        write.write_all(b"lf\nlast").await.unwrap();
        assert_eq!(pipe.next().await.unwrap(), Some(b"half\n".to_vec()));
        drop(write);
        assert_eq!(pipe.next().await.unwrap(), Some(b"last".to_vec()));
        assert_eq!(pipe.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_its_rest_passed_over() {
        let long = [vec![b'x'; 3 * BATCH_OCTETS], b"y\nnext\n".to_vec()].concat();
        let mut pipe = Pipe::new(&long[..]);
        assert_eq!(pipe.next().await.unwrap().map(|octets| octets.len()), Some(BATCH_OCTETS));
        assert_eq!(pipe.next().await.unwrap(), Some(b"next\n".to_vec()));
        assert_eq!(pipe.next().await.unwrap(), None);
    }
}
