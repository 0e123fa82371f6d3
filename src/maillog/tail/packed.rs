//! A rotated log that gzip has packed. It is read from its start, for there is no other way into it, and in bounded memory.

use std::{
    fs::File,
    io::{self, BufReader, Read},
};

use flate2::bufread::MultiGzDecoder;

use super::file::COMPARED;

/// How much is unpacked at once.
const CHUNK: usize = 64 * 1024;

/// An open one: what was asked for last, and what stands a little before that, is at hand.
pub(super) struct Packed {
    unpacked: MultiGzDecoder<BufReader<File>>,
    /// The octets at its start.
    first: Vec<u8>,
    /// Those from `base` on, as far as they were unpacked.
    window: Vec<u8>,
    base: u64,
    has_ended: bool,
    /// Why no more of it can be unpacked, though it goes on.
    broken: Option<String>,
}

impl Packed {
    pub(super) fn new(file: File) -> Self {
        Self {
            unpacked: MultiGzDecoder::new(BufReader::new(file)),
            first: Vec::new(),
            window: Vec::new(),
            base: 0,
            has_ended: false,
            broken: None,
        }
    }

    /// The file as it lies on the disk.
    pub(super) fn file(&self) -> &File {
        self.unpacked.get_ref().get_ref()
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// What stands at `from`, as far as there is so much. Of what lies further back than the last call by more than
    /// [`COMPARED`] only the start is known.
    pub(super) fn octets(&mut self, from: u64, most: usize) -> Vec<u8> {
        let until = from + most as u64;
        while self.base + (self.window.len() as u64) < until && !self.has_ended {
            self.forget_before(from.saturating_sub(COMPARED as u64));
            self.unpack();
        }
        let (octets, base) = if from < self.base { (&self.first, 0) } else { (&self.window, self.base) };
        let start = usize::try_from(from - base).unwrap_or(octets.len()).min(octets.len());
        octets[start..octets.len().min(start.saturating_add(most))].to_vec()
    }

    fn forget_before(&mut self, offset: u64) {
        let gone = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.window.len());
        self.window.drain(..gone);
        self.base += gone as u64;
    }

    fn unpack(&mut self) {
        let before = self.window.len();
        // Not more: a few octets of a file can stand for gigabytes.
        let read = (&mut self.unpacked).take(CHUNK as u64).read_to_end(&mut self.window);
        let new = &self.window[before..];
        self.has_ended = new.is_empty() || read.is_err();
        let missing = COMPARED.saturating_sub(self.first.len()).min(new.len());
        self.first.extend_from_slice(&new[..missing]);
        self.broken = read.err().map(|error: io::Error| error.to_string());
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("base", &self.base).field("broken", &self.broken).finish_non_exhaustive()
    }
}
