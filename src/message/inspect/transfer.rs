//! Decodes a Content-Transfer-Encoding (RFC 2045, section 6) in chunks.

use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::DecodePaddingMode;
use base64::Engine;

use super::plain::Plain;

/// The base64 digits that are decoded at once, in groups of four: a call for each group would be slow. The first are
/// fewer, because they mostly show that a part is not encrypted, and the rest is not read then.
const DIGITS: usize = 4096;
const FIRST_DIGITS: usize = 64;
/// Shortest line of base64 that may be followed by another, in digits. Programs write lines of 60 to 76;
/// shorter ones could be the words of a text.
const SHORTEST_LINE: usize = 40;
/// Most blanks and empty lines in a body: more than programs write, and too few to hide much of a text.
const MAX_BLANKS: usize = 4096;

/// Decodes one body.
pub enum Transfer {
    /// 7bit, 8bit, binary, or no encoding.
    Identity,
    /// base64, section 6.8.
    Base64(Base64),
    /// quoted-printable, section 6.7.
    QuotedPrintable(QuotedPrintable),
}

impl Transfer {
    /// Creates the decoder for the encoding called `name`, in lower case.
    pub fn new(name: Option<&[u8]>) -> Result<Self, Plain> {
        match name {
            None | Some(b"" | b"7bit" | b"8bit" | b"binary") => Ok(Self::Identity),
            Some(b"base64") => Ok(Self::Base64(Base64::default())),
            Some(b"quoted-printable") => Ok(Self::QuotedPrintable(QuotedPrintable::default())),
            Some(_) => Err(Plain),
        }
    }

    /// Decodes the next bytes and appends the result to `out`.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Plain> {
        match self {
            Self::Identity => out.extend_from_slice(bytes),
            Self::Base64(decoder) => {
                // Section 6.8 has decoders ignore all characters outside of the alphabet. They could be a
                // text, so they are refused here.
                for &byte in bytes {
                    decoder.text(byte, out)?;
                }
            }
            Self::QuotedPrintable(decoder) => decoder.decode(bytes, out)?,
        }
        Ok(())
    }

    /// Decodes the remaining bytes.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Plain> {
        match self {
            Self::Base64(decoder) => decoder.finish(out),
            Self::Identity | Self::QuotedPrintable(_) => Ok(()),
        }
    }
}

/// Decodes base64 in lines as programs write them: all of the same length, except the last. If digits and
/// white space could stand anywhere, they could be a text.
#[derive(Default)]
pub struct Base64 {
    digits: Vec<u8>,
    /// True if the first digits have been decoded.
    begun: bool,
    padding: usize,
    /// The length of the first line, and of the current line so far.
    first_line: Option<usize>,
    line: usize,
    /// `line_ended`: white space has ended the current line. `ended`: the last line has been read.
    line_ended: bool,
    ended: bool,
    blanks: usize,
}

impl Base64 {
    /// Reads the next byte of the text.
    pub fn text(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Plain> {
        match byte {
            b'\n' => self.end_of_line(),
            b'\r' => Ok(()),
            b' ' | b'\t' => {
                self.line_ended = true;
                self.blank()
            }
            _ if self.line_ended || self.ended => Err(Plain),
            digit => {
                self.line += 1;
                self.digit(digit, out)
            }
        }
    }

    fn digit(&mut self, digit: u8, out: &mut Vec<u8>) -> Result<(), Plain> {
        match digit {
            b'=' if self.padding < 2 => self.padding += 1,
            _ if self.padding > 0 || !is_digit(digit) => return Err(Plain),
            _ => self.digits.push(digit),
        }
        if self.digits.len() == if self.begun { DIGITS } else { FIRST_DIGITS } {
            self.begun = true;
            self.flush(out)?;
        }
        Ok(())
    }

    fn end_of_line(&mut self) -> Result<(), Plain> {
        let length = std::mem::take(&mut self.line);
        self.line_ended = false;
        if length == 0 {
            // Empty lines are allowed before the first line and after the last one.
            self.ended |= self.first_line.is_some();
            return self.blank();
        }
        let first = *self.first_line.get_or_insert(length);
        self.ended |= length < first || length < SHORTEST_LINE;
        if length > first {
            Err(Plain)
        } else {
            Ok(())
        }
    }

    fn blank(&mut self) -> Result<(), Plain> {
        self.blanks += 1;
        if self.blanks > MAX_BLANKS {
            Err(Plain)
        } else {
            Ok(())
        }
    }

    /// Decodes the remaining digits.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Plain> {
        if self.digits.len() % 4 == 1 {
            // One digit has six bits, too few for a byte. Some old programs left such a digit over; none of
            // them padded it.
            if self.padding > 0 {
                return Err(Plain);
            }
            self.digits.pop();
        }
        self.flush(out)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Plain> {
        let config = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true);
        GeneralPurpose::new(&STANDARD, config).decode_vec(&self.digits, out).map_err(|_| Plain)?;
        self.digits.clear();
        Ok(())
    }
}

/// Returns true if `b` is a base64 digit.
pub fn is_digit(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')
}

/// Decodes quoted-printable. Invalid escapes are refused, because programs read them in different ways.
#[derive(Default)]
pub struct QuotedPrintable {
    /// The bytes after an `=` whose meaning is still open, at most two.
    escape: Option<Vec<u8>>,
}

impl QuotedPrintable {
    fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Plain> {
        for &byte in bytes {
            match &mut self.escape {
                None if byte == b'=' => self.escape = Some(Vec::new()),
                None => out.push(byte),
                Some(escape) => {
                    escape.push(byte);
                    if let Some(decoded) = unescape(escape)? {
                        out.extend(decoded);
                        self.escape = None;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Decodes an escape. Returns `None` if more bytes are needed, and `Some(None)` for a soft line break.
fn unescape(escape: &[u8]) -> Result<Option<Option<u8>>, Plain> {
    match *escape {
        [b'\n'] | [b'\r', b'\n'] => Ok(Some(None)),
        [b'\r'] => Ok(None),
        [a] if a.is_ascii_hexdigit() => Ok(None),
        [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
            Ok(Some(Some((value(a) << 4) | value(b))))
        }
        _ => Err(Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(name: &[u8], data: &[u8]) -> Result<Vec<u8>, Plain> {
        let mut whole = Vec::new();
        for size in [1, 2, 3, data.len().max(1)] {
            let mut transfer = Transfer::new(Some(name))?;
            let mut out = Vec::new();
            for chunk in data.chunks(size) {
                transfer.decode(chunk, &mut out)?;
            }
            transfer.finish(&mut out)?;
            assert!(size == 1 || out == whole);
            whole = out;
        }
        Ok(whole)
    }

    #[test]
    fn encodings() {
        assert_eq!(decode(b"8bit", b"a=3D").unwrap(), b"a=3D");
        assert_eq!(decode(b"quoted-printable", b"a=3D=\r\nb=0Ac=\nd").unwrap(), b"a=b\ncd");
        assert_eq!(decode(b"quoted-printable", b"a=XY"), Err(Plain));
        assert_eq!(decode(b"base64", b"\r\naGVsbG8h\r\n\r\n").unwrap(), b"hello!");
        let lines = format!("{}\r\n{}\r\naGVs\r\n", "aGVs".repeat(15), "aGVs".repeat(15));
        assert_eq!(decode(b"base64", lines.as_bytes()).unwrap(), b"hel".repeat(31));
        for text in ["aGVs bG8h", "aGVs\nbG8h", "aGVs\n\nbG8h", "aG\nVsbG8h", " aGVs"] {
            assert_eq!(decode(b"base64", text.as_bytes()), Err(Plain), "{text}");
        }
        assert_eq!(decode(b"base64", b"aGVsbG8=\r\n").unwrap(), b"hello");
        assert_eq!(decode(b"base64", b"aGVsbG8=aGVs"), Err(Plain));
        assert_eq!(decode(b"base64", b"aGVsb").unwrap(), b"hel");
        assert_eq!(decode(b"base64", b"aGVsb=="), Err(Plain));
        assert_eq!(decode(b"x-uuencode", b""), Err(Plain));
    }
}
