//! Writes base64 in lines that end in CR LF.

use base64_simd::{AsOut, STANDARD};

use std::io::{self, Write};

/// The lines that are encoded and written at once. Their 24 KiB or more and the digits made of them stay in the
/// processor's second cache.
const LINES: usize = 512;

/// Encodes the bytes that are written to it, in lines of so many digits.
pub struct Base64Lines<W, const DIGITS: usize> {
    inner: W,
    /// Bytes that are not encoded yet.
    data: Vec<u8>,
    digits: Vec<u8>,
    text: Vec<u8>,
}

impl<W: Write, const DIGITS: usize> Base64Lines<W, DIGITS> {
    /// The most bytes that are encoded at once: whole lines.
    pub const BLOCK: usize = LINES * DIGITS / 4 * 3;

    /// Creates a writer on top of `inner`. `begin` is written with the first lines.
    pub fn new(inner: W, begin: &[u8]) -> Self {
        Self { inner, data: Vec::new(), digits: Vec::new(), text: begin.to_vec() }
    }

    /// Writes the remaining lines. Returns the inner writer.
    ///
    /// # Errors
    ///
    /// Returns the error of the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_lines()?;
        Ok(self.inner)
    }

    fn write_lines(&mut self) -> io::Result<()> {
        self.digits.resize(STANDARD.encoded_length(self.data.len()), 0);
        let digits = STANDARD.encode(&self.data, self.digits.as_out());
        for line in digits.chunks(DIGITS) {
            self.text.extend_from_slice(line);
            self.text.extend_from_slice(b"\r\n");
        }
        self.data.clear();
        self.inner.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

impl<W: Write, const DIGITS: usize> Write for Base64Lines<W, DIGITS> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.data.len() == Self::BLOCK {
            self.write_lines()?;
        }
        let taken = &data[..data.len().min(Self::BLOCK - self.data.len())];
        self.data.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
