//! Writes packets whose size is not known when they begin (RFC 9580, section 4.2.1.4).

use std::io::{self, Write};

/// The size of a partial body (RFC 9580, section 4.2.1.4), as a power of two: 64 KiB, so that its headers
/// cost nothing and its buffer is small. 512 bytes is the least that the RFC allows.
const PARTIAL_BITS: u8 = 16;

/// Writes a packet of unknown size in partial bodies. The last body has an ordinary length.
pub struct PartialBody<W: Write> {
    inner: W,
    /// The first byte of the packet, until it has been written.
    header: Option<u8>,
    body: Vec<u8>,
}

impl<W: Write> PartialBody<W> {
    /// Begins a packet of the type `tag`.
    pub fn new(tag: u8, inner: W) -> Self {
        Self { inner, header: Some(0xc0 | tag), body: Vec::new() }
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.header.take().map_or(Ok(()), |header| self.inner.write_all(&[header]))
    }

    /// Writes the last body. Returns the inner writer.
    ///
    /// # Errors
    ///
    /// Returns the error of the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_header()?;
        // RFC 9580, section 4.2.1.3: the length field of five bytes, which fits all lengths
        let length = u32::try_from(self.body.len()).map_err(io::Error::other)?;
        self.inner.write_all(&[0xff])?;
        self.inner.write_all(&length.to_be_bytes())?;
        self.inner.write_all(&self.body)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for PartialBody<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // The buffer is written only when more follows, because the last body must not be partial.
        if self.body.len() == 1 << PARTIAL_BITS && !data.is_empty() {
            self.write_header()?;
            self.inner.write_all(&[0xe0 | PARTIAL_BITS])?;
            self.inner.write_all(&self.body)?;
            self.body.clear();
        }
        let taken = data.len().min((1 << PARTIAL_BITS) - self.body.len());
        self.body.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
