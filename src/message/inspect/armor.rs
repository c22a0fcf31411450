//! One armored OpenPGP message (RFC 9580, section 6) with nothing but white space around it.

use super::openpgp::OpenPgp;
use super::transfer::{is_digit, Base64};
use super::Plain;

const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
const END: &[u8] = b"-----END PGP MESSAGE-----";
/// Longest line besides data, and largest armor header: they are no place for a message.
const MOST_LINE: usize = 512;
const MOST_HEADERS: usize = 2048;

/// Looks at text as it comes by.
#[derive(Default)]
pub struct Armor {
    state: State,
    /// The line so far, where lines matter.
    line: Vec<u8>,
    header_bytes: usize,
    base64: Base64,
    decoded: Vec<u8>,
    message: OpenPgp,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// White space in front of the armor.
    #[default]
    Before,
    /// Armor headers: `Version: ...`.
    Headers,
    /// At the beginning of a line of data.
    LineStart,
    /// Within a line of data.
    Data,
    /// In the checksum (`=njUN`); it is not checked, the message has a better one.
    Checksum,
    /// In the END line.
    End,
    /// White space behind the armor.
    After,
}

impl Armor {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Plain> {
        for &byte in bytes {
            self.byte(byte)?;
        }
        self.flush()
    }

    /// Whether there was nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.state == State::Before && self.line.trim_ascii().is_empty()
    }

    /// Whether it was a complete encrypted message.
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
                b if b.is_ascii_whitespace() => State::LineStart,
                _ => State::Data,
            };
        }
        match self.state {
            State::LineStart => Ok(()),
            State::Data if is_digit(byte) || byte == b'=' => {
                self.base64.decode(std::iter::once(byte), &mut self.decoded)
            }
            State::Data if byte == b'\n' => {
                self.state = State::LineStart;
                Ok(())
            }
            State::Data if byte.is_ascii_whitespace() => Ok(()),
            State::Data => Err(Plain),
            _ if byte == b'\n' => self.end_of_line(),
            _ if self.line.len() < MOST_LINE => {
                self.line.push(byte);
                Ok(())
            }
            _ => Err(Plain),
        }
    }

    fn end_of_line(&mut self) -> Result<(), Plain> {
        let line = self.line.trim_ascii();
        self.state = match self.state {
            State::Before if line.is_empty() => State::Before,
            State::Before if line == BEGIN => State::Headers,
            State::Headers if line.is_empty() => State::LineStart,
            State::Headers if line.contains(&b':') && self.header_bytes < MOST_HEADERS => State::Headers,
            State::Checksum if line.len() == 5 => State::LineStart,
            // The padding of the data, wrapped onto a line of its own.
            State::Checksum if matches!(line, b"=" | b"==") => State::LineStart,
            State::End if line == END => State::After,
            State::After if line.is_empty() => State::After,
            state @ (State::LineStart | State::Data) => state,
            _ => return Err(Plain),
        };
        self.header_bytes += self.line.len();
        self.line.clear();
        Ok(())
    }
}
