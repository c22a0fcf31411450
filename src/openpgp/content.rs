//! Writes what is in the encrypted container: one literal packet (RFC 9580, section 5.9), which may be in a compressed
//! one (section 5.6).

use flate2::write::ZlibEncoder;
use flate2::Compression;

use std::io::{self, Write};

use super::packet::tag;
use super::partial_body::PartialBody;

/// ZLIB (RFC 9580, section 9.4).
const ZLIB: u8 = 2;
/// The lowest level that compresses. Base64 gets no smaller by higher ones, and they take five times as long.
const LEVEL: Compression = Compression::new(1);

/// Writes the bytes that are written to it into the literal packet.
pub enum Content<W: Write> {
    /// As they are.
    Plain(PartialBody<W>),
    /// Compressed.
    Compressed(PartialBody<ZlibEncoder<PartialBody<W>>>),
}

impl<W: Write> Content<W> {
    /// Begins the packets.
    ///
    /// # Errors
    ///
    /// Returns the error of `out`.
    pub fn new(compress: bool, out: W) -> io::Result<Self> {
        let mut content = if compress {
            let mut compressed = PartialBody::new(tag::COMPRESSED, out);
            compressed.write_all(&[ZLIB])?;
            Self::Compressed(PartialBody::new(tag::LITERAL, ZlibEncoder::new(compressed, LEVEL)))
        } else {
            Self::Plain(PartialBody::new(tag::LITERAL, out))
        };
        // RFC 9580, section 5.9: binary, no file name, no date
        content.write_all(&[b'b', 0, 0, 0, 0, 0])?;
        Ok(content)
    }

    /// Ends the packets. Returns `out`.
    ///
    /// # Errors
    ///
    /// Returns the error of `out`.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(literal) => literal.finish(),
            Self::Compressed(literal) => literal.finish()?.finish()?.finish(),
        }
    }
}

impl<W: Write> Write for Content<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(literal) => literal.write(data),
            Self::Compressed(literal) => literal.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
