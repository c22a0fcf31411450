//! Reads a message line by line, in constant memory.

use std::io::{self, Read};

use crate::error::Unreadable;
use crate::message::original::MAX_BYTES;

/// The bytes that are read at once. Longer lines come in pieces; lines of mail have at most 998 bytes (RFC
/// 5322, section 2.1.1), so that few do.
const BUFFER: usize = 64 << 10;
/// The bytes that are read first. Most mail is small, and a large buffer would take longer to make than to read.
const FIRST: usize = 8 << 10;

/// Reads lines. A line that does not fit the buffer comes in several pieces.
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    total: u64,
    at_line_start: bool,
    at_end: bool,
}

/// A line with its line end, or a piece of a long line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes, at least one.
    pub bytes: &'a [u8],
    /// True if the line begins here.
    pub begins: bool,
}

impl<'a> Piece<'a> {
    /// Splits off the line end: LF, CR LF, or nothing.
    pub fn split_end(&self) -> (&'a [u8], &'a [u8]) {
        let length = match self.bytes {
            [.., b'\r', b'\n'] => self.bytes.len() - 2,
            [.., b'\n'] => self.bytes.len() - 1,
            _ => self.bytes.len(),
        };
        self.bytes.split_at(length)
    }

    /// Returns the position of the first CR that is not part of a line end. For some programs, it ends a line.
    pub fn bare_cr(&self) -> Option<usize> {
        memchr::memchr(b'\r', self.split_end().0)
    }

    /// Returns true if this is an empty line, which ends a header.
    pub fn is_empty_line(&self) -> bool {
        self.begins && matches!(self.bytes, b"\n" | b"\r\n")
    }
}

impl<R: Read> Lines<R> {
    /// Creates a reader that begins at the first byte of `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: vec![0; FIRST],
            start: 0,
            end: 0,
            total: 0,
            at_line_start: true,
            at_end: false,
        }
    }

    /// Returns the next piece, or `None` at the end of the message.
    ///
    /// # Errors
    ///
    /// Returns the error of the reader, or `TooLarge` after [`MAX_BYTES`].
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, Unreadable> {
        let line_end = loop {
            let ready = &self.buffer[self.start..self.end];
            if let Some(n) = memchr::memchr(b'\n', ready) {
                break n + 1;
            }
            if self.at_end {
                break ready.len();
            }
            // A CR at the end of the buffer may be half of a line end, which must not come in two pieces.
            let certain = ready.strip_suffix(b"\r").unwrap_or(ready).len();
            if !self.at_line_start && certain > 0 || ready.len() == BUFFER {
                break certain;
            }
            self.fill()?;
        };
        if line_end == 0 {
            return Ok(None);
        }
        let bytes = &self.buffer[self.start..self.start + line_end];
        let piece = Piece { bytes, begins: self.at_line_start };
        self.start += line_end;
        self.at_line_start = bytes.ends_with(b"\n");
        Ok(Some(piece))
    }

    /// Returns the next bytes, without regard to lines, or `None` at the end of the message.
    ///
    /// # Errors
    ///
    /// The errors of [`Lines::next_piece`].
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, Unreadable> {
        if self.start == self.end && !self.at_end {
            self.fill()?;
        }
        let bytes = &self.buffer[self.start..self.end];
        self.start = self.end;
        Ok(Some(bytes).filter(|b| !b.is_empty()))
    }

    /// Takes back the first piece, so that it is returned again. No other piece can be taken back: the buffer must not
    /// have been filled again.
    pub fn take_back(&mut self) {
        (self.start, self.at_line_start) = (0, true);
    }

    /// Returns the number of bytes that have been returned so far.
    pub fn position(&self) -> u64 {
        self.total - (self.end - self.start) as u64
    }

    fn fill(&mut self) -> Result<(), Unreadable> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.total >= FIRST as u64 {
            self.buffer.resize(BUFFER, 0);
        }
        let n = self.reader.read(&mut self.buffer[self.end..]).map_err(|why| match why.kind() {
            io::ErrorKind::TimedOut => Unreadable::TooSlow,
            _ => Unreadable::Failed(why),
        })?;
        self.at_end = n == 0;
        self.end += n;
        self.total += n as u64;
        if self.total > MAX_BYTES {
            return Err(Unreadable::TooLarge("the message", MAX_BYTES));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(data: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::new(data);
        let mut all = Vec::new();
        while let Some(piece) = lines.next_piece().unwrap() {
            all.push((piece.bytes.to_vec(), piece.begins));
        }
        all
    }

    #[test]
    fn lines_and_pieces() {
        assert_eq!(pieces(b""), []);
        assert_eq!(
            pieces(b"a\r\n\nb"),
            [(b"a\r\n".to_vec(), true), (b"\n".to_vec(), true), (b"b".to_vec(), true)]
        );
        let long = [vec![b'x'; 2 * BUFFER + 1], b"\ny\n".to_vec()].concat();
        let begins: Vec<bool> = pieces(&long).into_iter().map(|p| p.1).collect();
        assert_eq!(begins, [true, false, false, true]);
        assert_eq!(pieces(&long).into_iter().flat_map(|p| p.0).collect::<Vec<_>>(), long);
    }

    #[test]
    fn an_endless_message_ends_in_an_error() {
        let mut lines = Lines::new(io::repeat(b'x'));
        lines.total = MAX_BYTES - 1;
        let error = std::iter::from_fn(|| lines.next_piece().map(|_| ()).err().map(Some).or(Some(None)))
            .flatten()
            .next();
        assert!(matches!(error, Some(Unreadable::TooLarge(..))));
    }
}
