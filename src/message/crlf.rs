//! Writes line ends as CR LF, the canonical form that PGP/MIME encrypts (RFC 3156, section 4).

use std::io::{self, Write};

use crate::error::Unwritable;
use crate::sink::Sink;

/// The bytes that are collected before they are written on. Where each line end is replaced, there would be
/// two writes for each line otherwise.
const BUFFER: usize = 64 << 10;

/// Adds a CR to every LF that lacks one. No other byte is changed.
pub struct CrlfWriter<W> {
    inner: W,
    last: u8,
    buffer: Vec<u8>,
}

impl<W: Write> CrlfWriter<W> {
    /// Creates a writer on top of `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, last: 0, buffer: Vec::new() }
    }

    /// Writes the collected bytes to the inner writer.
    ///
    /// # Errors
    ///
    /// Returns the error of the inner writer.
    pub fn finish(mut self) -> Result<(), Unwritable> {
        self.inner.put(&self.buffer)
    }

    fn add(&mut self, data: &[u8]) -> io::Result<()> {
        if self.buffer.len() + data.len() > BUFFER {
            self.inner.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        if data.len() > BUFFER {
            return self.inner.write_all(data);
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }
}

impl<W: Write> Write for CrlfWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        for lf in memchr::memchr_iter(b'\n', data) {
            let before = if lf == 0 { self.last } else { data[lf - 1] };
            if before != b'\r' {
                self.add(&data[written..lf])?;
                self.add(b"\r\n")?;
                written = lf + 1;
            }
        }
        self.add(&data[written..])?;
        self.last = data.last().copied().unwrap_or(self.last);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_line_feeds_change() {
        let rows: [(&[&[u8]], &[u8]); 5] = [
            (&[b"a\nb\r\nc"], b"a\r\nb\r\nc"),
            (&[b"a\r", b"\nb"], b"a\r\nb"),
            (&[b"a", b"\n", b"\n"], b"a\r\n\r\n"),
            (&[b"\n"], b"\r\n"),
            (&[b"\0\r\r\n\xff\r"], b"\0\r\r\n\xff\r"),
        ];
        for (chunks, expected) in rows {
            let mut out = Vec::new();
            let mut writer = CrlfWriter::new(&mut out);
            chunks.iter().for_each(|c| writer.write_all(c).unwrap());
            writer.finish().unwrap();
            assert_eq!(out, expected);
        }
    }
}
