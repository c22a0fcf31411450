//! Recognises one armored OpenPGP message (RFC 9580, section 6) with nothing but white space around it.

use super::packets::Packets;
use super::plain::{is_space, trim, trim_wide, Plain};
use super::transfer::{is_digit, Base64};

const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
const END: &[u8] = b"-----END PGP MESSAGE-----";
/// Most bytes of armor headers, and of white space around the armor. Both are readable, so they must not have
/// room for a message; GnuPG's `Version` and `Comment` take about a hundred bytes.
const MAX_HEADERS: usize = 256;
const MAX_SPACE: usize = 4096;
/// The armor headers of RFC 9580, section 6.2.2, and RFC 4880, section 6.2.
const HEADERS: [&[u8]; 5] = [b"Version:", b"Comment:", b"Hash:", b"Charset:", b"MessageID:"];

/// Reads text byte by byte.
#[derive(Default)]
pub struct Armored {
    state: State,
    /// The current line, outside of the base64 data.
    line: Vec<u8>,
    header_bytes: usize,
    space: usize,
    base64: Base64,
    decoded: Vec<u8>,
    message: Packets,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// In white space before the armor.
    #[default]
    Before,
    /// In the armor headers, such as `Version: ...`.
    Headers,
    /// At the beginning of a line of base64.
    LineStart,
    /// Within a line of base64.
    Data,
    /// In the checksum line (`=njUN`). The checksum is not compared: the encrypted container has a better
    /// one.
    Checksum,
    /// After the checksum line.
    Checked,
    /// In the END line.
    End,
    /// In white space after the armor.
    After,
}

impl Armored {
    /// Reads the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Plain> {
        for &byte in bytes {
            self.byte(byte)?;
        }
        self.flush()
    }

    /// Returns true if nothing but white space has been read.
    pub fn is_blank(&self) -> bool {
        self.state == State::Before && trim_wide(&self.line).is_empty()
    }

    /// Returns the size of the armor headers, in bytes.
    pub fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Fails unless the text was one complete encrypted message.
    pub fn finish(mut self) -> Result<(), Plain> {
        self.end_of_line()?;
        if self.state != State::After {
            return Err(Plain);
        }
        self.base64.finish(&mut self.decoded)?;
        self.flush()?;
        self.message.finish()
    }

    fn flush(&mut self) -> Result<(), Plain> {
        self.message.feed(&self.decoded)?;
        self.decoded.clear();
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<(), Plain> {
        if self.state == State::LineStart {
            self.state = match byte {
                b'-' => State::End,
                b'=' => State::Checksum,
                _ => State::Data,
            };
        }
        // The lines around the armor have no more than its BEGIN and END besides.
        let around = matches!(self.state, State::Before | State::After);
        if around || is_space(byte) && self.state != State::Data {
            self.space += 1;
        }
        match self.state {
            _ if self.space > MAX_SPACE => Err(Plain),
            State::Data => {
                if byte == b'\n' {
                    self.state = State::LineStart;
                }
                self.base64.text(byte, &mut self.decoded)
            }
            _ if byte == b'\n' => self.end_of_line(),
            _ if self.line.len() < MAX_SPACE => {
                self.line.push(byte);
                Ok(())
            }
            _ => Err(Plain),
        }
    }

    fn end_of_line(&mut self) -> Result<(), Plain> {
        let around = matches!(self.state, State::Before | State::End | State::Checked | State::After);
        let line = if around { trim_wide(&self.line) } else { trim(&self.line) };
        self.state = match self.state {
            State::Before if line.is_empty() => State::Before,
            State::Before if line == BEGIN => State::Headers,
            State::Headers if line.is_empty() => State::LineStart,
            State::Headers if HEADERS.iter().any(|h| line.starts_with(h)) => {
                self.header_bytes += line.len();
                State::Headers
            }
            State::Checksum if matches!(line, [b'=', crc @ ..] if crc.len() == 4 && crc.iter().all(|&b| is_digit(b))) => {
                State::Checked
            }
            State::Checked if line.is_empty() => State::Checked,
            State::Checked | State::End if line == END => State::After,
            State::After if line.is_empty() => State::After,
            state @ (State::LineStart | State::Data) => state,
            _ => return Err(Plain),
        };
        self.line.clear();
        if self.header_bytes > MAX_HEADERS {
            Err(Plain)
        } else {
            Ok(())
        }
    }
}
