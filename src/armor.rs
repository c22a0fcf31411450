//! ASCII armor (RFC 9580, section 6.2) as it is needed in mail: lines of 64 digits that end in CR LF.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

use std::io::{self, Write};

/// Bytes of data in a line, and the digits that they become.
const LINE: usize = 48;
const DIGITS: usize = 64;
/// How much text is written at once.
const BUFFER: usize = 64 << 10;

/// Armors what is written to it as a PGP MESSAGE.
pub struct ArmorWriter<W> {
    inner: W,
    /// Data that does not fill a line yet.
    partial: Vec<u8>,
    text: Vec<u8>,
    crc: u32,
}

impl<W: Write> ArmorWriter<W> {
    /// Writes the armor to `inner`, beginning with its first line.
    pub fn new(inner: W) -> Self {
        let mut text = Vec::with_capacity(BUFFER + DIGITS + 2);
        text.extend_from_slice(b"-----BEGIN PGP MESSAGE-----\r\n\r\n");
        Self { inner, partial: Vec::with_capacity(LINE), text, crc: CRC_INIT }
    }

    /// Writes what is left, the checksum and the last line. The checksum is optional by now, but
    /// GnuPG before 2.5.4 stumbles over armor without it.
    ///
    /// # Errors
    ///
    /// Those of the writer below.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(&line)?;
        }
        let [_, crc @ ..] = self.crc.to_be_bytes();
        let end = format!("={}\r\n-----END PGP MESSAGE-----\r\n", STANDARD.encode(crc));
        self.text.extend_from_slice(end.as_bytes());
        self.inner.write_all(&self.text)?;
        self.inner.flush()
    }

    fn line(&mut self, data: &[u8]) -> io::Result<()> {
        let start = self.text.len();
        self.text.resize(start + DIGITS, 0);
        let digits = STANDARD.encode_slice(data, &mut self.text[start..]).map_err(io::Error::other)?;
        self.text.truncate(start + digits);
        self.text.extend_from_slice(b"\r\n");
        if self.text.len() >= BUFFER {
            self.inner.write_all(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }
}

impl<W: Write> Write for ArmorWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.crc = crc24(self.crc, data);
        let missing = if self.partial.is_empty() { 0 } else { LINE - self.partial.len() };
        let (head, rest) = data.split_at(missing.min(data.len()));
        self.partial.extend_from_slice(head);
        if self.partial.len() == LINE {
            let line = std::mem::take(&mut self.partial);
            self.line(&line)?;
        }
        let lines = rest.chunks_exact(LINE);
        self.partial.extend_from_slice(lines.remainder());
        for line in lines {
            self.line(line)?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The checksum of some data: CRC-24 (RFC 9580, section 6.1.1).
pub fn checksum(data: &[u8]) -> u32 {
    crc24(CRC_INIT, data)
}

const CRC_INIT: u32 = 0x00b7_04ce;
const CRC_POLYNOMIAL: u32 = 0x0086_4cfb;

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u32) << 16;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x0080_0000 != 0 { CRC_POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[i] = crc & 0x00ff_ffff;
        i += 1;
    }
    table
};

fn crc24(crc: u32, data: &[u8]) -> u32 {
    data.iter()
        .fold(crc, |crc, &byte| ((crc << 8) & 0x00ff_ffff) ^ CRC_TABLE[((crc >> 16) as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn sequoia_reads_it_at_every_length() {
        use sequoia_openpgp::armor;
        for length in (0..200).chain([BUFFER - 1, BUFFER, BUFFER + 1, 200_000]) {
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
