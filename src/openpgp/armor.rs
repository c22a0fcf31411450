//! Writes ASCII armor (RFC 9580, section 6.2) for mail: lines of 64 digits that end in CR LF.

use base64_simd::{AsOut, STANDARD};
use crc::{Crc, Digest, Table, CRC_24_OPENPGP};

use std::io::{self, Write};

use crate::error::Unwritable;
use crate::sink::Sink;

/// A line of 64 digits, as GnuPG writes it, holds 48 bytes. RFC 9580 allows up to 76 digits.
const LINE: usize = 48;
const DIGITS: usize = 64;
/// The lines that are encoded and written at once. Their 24 KiB and the digits made of them stay in the
/// processor's second cache.
const LINES: usize = 512;

// RFC 9580, section 6.1
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_24_OPENPGP);

/// Armors the bytes that are written to it, as a PGP MESSAGE.
pub struct ArmorWriter<W> {
    inner: W,
    /// Bytes that are not encoded yet.
    data: Vec<u8>,
    digits: Vec<u8>,
    text: Vec<u8>,
    crc: Digest<'static, u32, Table<16>>,
}

impl<W: Write> ArmorWriter<W> {
    /// Creates a writer on top of `inner`. The BEGIN line is written with the first lines of data.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            data: Vec::new(),
            digits: Vec::new(),
            text: b"-----BEGIN PGP MESSAGE-----\r\n\r\n".to_vec(),
            crc: CRC.digest(),
        }
    }

    /// Writes the remaining lines, the checksum and the END line. RFC 9580 no longer asks for the checksum,
    /// but GnuPG before 2.5.4 rejects armor without it.
    ///
    /// # Errors
    ///
    /// Returns the error of the inner writer.
    pub fn finish(mut self) -> Result<W, Unwritable> {
        self.write_lines().map_err(Unwritable)?;
        let [_, crc @ ..] = self.crc.finalize().to_be_bytes();
        let end = format!("={}\r\n-----END PGP MESSAGE-----\r\n", STANDARD.encode_to_string(crc));
        self.inner.put(end.as_bytes())?;
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

impl<W: Write> Write for ArmorWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.data.len() == LINES * LINE {
            self.write_lines()?;
        }
        let taken = &data[..data.len().min(LINES * LINE - self.data.len())];
        self.crc.update(taken);
        self.data.extend_from_slice(taken);
        Ok(taken.len())
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
        for length in (0..200).chain([LINES * LINE - 1, LINES * LINE, LINES * LINE + 1, 200_000]) {
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
