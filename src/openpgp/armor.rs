//! Writes ASCII armor (RFC 9580, section 6.2) for mail: lines of 64 digits that end in CR LF.

use base64_simd::STANDARD;
use crc::{Crc, Digest, Table, CRC_24_OPENPGP};

use std::io::{self, Write};

use crate::base64_lines::Base64Lines;
use crate::error::Unwritable;
use crate::sink::Sink;

/// As GnuPG writes it. RFC 9580 allows up to 76 digits.
const DIGITS: usize = 64;

// RFC 9580, section 6.1
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_24_OPENPGP);

/// Armors the bytes that are written to it, as a PGP MESSAGE.
pub struct ArmorWriter<W> {
    lines: Base64Lines<W, DIGITS>,
    crc: Digest<'static, u32, Table<16>>,
}

impl<W: Write> ArmorWriter<W> {
    /// Creates a writer on top of `inner`. The BEGIN line is written with the first lines of data.
    pub fn new(inner: W) -> Self {
        let lines = Base64Lines::new(inner, b"-----BEGIN PGP MESSAGE-----\r\n\r\n");
        Self { lines, crc: CRC.digest() }
    }

    /// Writes the remaining lines, the checksum and the END line. RFC 9580 no longer asks for the checksum,
    /// but GnuPG before 2.5.4 rejects armor without it.
    ///
    /// # Errors
    ///
    /// Returns the error of the inner writer.
    pub fn finish(self) -> Result<W, Unwritable> {
        let mut inner = self.lines.finish().map_err(Unwritable)?;
        let [_, crc @ ..] = self.crc.finalize().to_be_bytes();
        let end = format!("={}\r\n-----END PGP MESSAGE-----\r\n", STANDARD.encode_to_string(crc));
        inner.put(end.as_bytes())?;
        Ok(inner)
    }
}

impl<W: Write> Write for ArmorWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = self.lines.write(data)?;
        self.crc.update(&data[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Computes the checksum of the armor: CRC-24 (RFC 9580, section 6.1.1).
pub fn checksum(data: &[u8]) -> u32 {
    CRC.checksum(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn sequoia_reads_it_at_every_length() {
        use sequoia_openpgp::armor;
        const BLOCK: usize = Base64Lines::<Vec<u8>, DIGITS>::BLOCK;
        for length in (0..200).chain([BLOCK - 1, BLOCK, BLOCK + 1, 200_000]) {
            let data: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            for chunk in [1, 47, 48, 49, length.max(1)] {
                let mut text = Vec::new();
                let mut writer = ArmorWriter::new(&mut text);
                data.chunks(chunk).for_each(|c| writer.write_all(c).unwrap());
                writer.finish().unwrap();
                let mode = armor::ReaderMode::Tolerant(Some(armor::Kind::Message));
                let mut read = Vec::new();
                armor::Reader::from_bytes(&text, mode).read_to_end(&mut read).unwrap();
                assert!(read == data, "length {length} in chunks of {chunk}");
                assert!(text
                    .split(|&b| b == b'\n')
                    .all(|l| l.is_empty() || (l.ends_with(b"\r") && l.len() <= 65)));
            }
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(checksum(b"123456789"), 0x21_cf02); // the check value of CRC-24/OPENPGP
    }
}
