//! Recognises an encrypted OpenPGP message by its packets (RFC 9580, section 10.3): at least one encrypted
//! session key, with markers and padding anywhere before the container, then one encrypted container up to
//! the end.

use super::plain::Plain;
use crate::openpgp::packet::{new_format_length, tag, BodyLength, Header, NotAPacket, LONGEST_HEADER};

/// Largest encrypted session key, in bytes. Those of post-quantum algorithms have a few thousand.
const MAX_SESSION_KEY: u64 = 32 << 10;
/// Most encrypted session keys of a message, and their total size in bytes. Their content is not checked, so
/// they must not have room for much; 128 is four times what one `encrypt` accepts as recipients.
const MAX_SESSION_KEYS: usize = 128;
const MAX_SESSION_KEY_BYTES: u64 = 256 << 10;
/// The content of a marker packet (RFC 9580, section 5.8).
const MARKER: &[u8] = b"PGP";

/// Reads packets in pieces.
#[derive(Default)]
pub struct Packets {
    state: State,
    /// The beginning of a packet header or length field that continues in the next piece.
    partial_header: Vec<u8>,
    session_keys: usize,
    session_key_bytes: u64,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// At a packet header.
    #[default]
    Header,
    /// In a marker packet, after so many bytes.
    Marker(usize),
    /// In a packet whose content does not matter, before so many bytes.
    Skip(u64),
    /// At the first byte of the container: its version, or ciphertext in an SED packet.
    ContainerStart(u8, BodyLength),
    /// In the container.
    Container(BodyLength),
    /// At a length field within the container.
    ContainerLength,
    /// After the container.
    End,
}

impl Packets {
    /// Reads the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Plain> {
        while !bytes.is_empty() {
            let taken = self.step(bytes)?;
            bytes = bytes.get(taken..).ok_or(Plain)?;
        }
        Ok(())
    }

    /// Fails unless the message was complete.
    pub fn finish(self) -> Result<(), Plain> {
        match self.state {
            State::End | State::Container(BodyLength::ToEnd) => Ok(()),
            _ => Err(Plain),
        }
    }

    /// Reads some bytes, and returns how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Plain> {
        match self.state {
            State::Header => self.header(bytes),
            State::ContainerLength => self.container_length(bytes),
            State::Marker(n) => {
                if MARKER.get(n) != bytes.first() {
                    return Err(Plain);
                }
                self.state = if n + 1 == MARKER.len() { State::Header } else { State::Marker(n + 1) };
                Ok(1)
            }
            State::Skip(left) => {
                let (taken, left) = take(bytes, left);
                self.state = if left == 0 { State::Header } else { State::Skip(left) };
                Ok(taken)
            }
            State::ContainerStart(tag, length) => {
                let known = match (tag, bytes.first()) {
                    (tag::SEIPD, Some(version)) => matches!(version, 1 | 2),
                    (tag::OCB_ENCRYPTED, Some(version)) => *version == 1,
                    _ => true,
                };
                self.state = State::Container(length);
                if known {
                    Ok(0)
                } else {
                    Err(Plain)
                }
            }
            State::Container(BodyLength::ToEnd) => Ok(bytes.len()),
            State::Container(BodyLength::Full(left)) => {
                let (taken, left) = take(bytes, left);
                self.state = if left == 0 { State::End } else { State::Container(BodyLength::Full(left)) };
                Ok(taken)
            }
            State::Container(BodyLength::Partial(left)) => {
                let (taken, left) = take(bytes, left);
                self.state = if left == 0 {
                    State::ContainerLength
                } else {
                    State::Container(BodyLength::Partial(left))
                };
                Ok(taken)
            }
            State::End => Err(Plain),
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<usize, Plain> {
        let before = self.partial_header.len();
        self.partial_header.extend(bytes.iter().take(LONGEST_HEADER - before));
        let Some(header) = Header::parse(&self.partial_header).map_err(|NotAPacket| Plain)? else {
            return Ok(self.partial_header.len() - before);
        };
        self.partial_header.clear();
        self.state = match (header.tag, header.length) {
            (tag::MARKER, BodyLength::Full(3)) => State::Marker(0),
            (tag::PADDING, BodyLength::Full(n)) => skip(n),
            (tag::PKESK | tag::SKESK, BodyLength::Full(n @ 1..=MAX_SESSION_KEY)) => {
                self.session_keys += 1;
                self.session_key_bytes += n;
                if self.session_keys > MAX_SESSION_KEYS || self.session_key_bytes > MAX_SESSION_KEY_BYTES {
                    return Err(Plain);
                }
                skip(n)
            }
            (tag::SEIPD | tag::OCB_ENCRYPTED | tag::SED, length)
                if self.session_keys > 0 && length != BodyLength::Full(0) =>
            {
                State::ContainerStart(header.tag, length)
            }
            _ => return Err(Plain),
        };
        Ok(header.size - before)
    }

    fn container_length(&mut self, bytes: &[u8]) -> Result<usize, Plain> {
        let before = self.partial_header.len();
        self.partial_header.extend(bytes.iter().take(LONGEST_HEADER - 1 - before));
        let Some((length, size)) = new_format_length(&self.partial_header) else {
            return Ok(self.partial_header.len() - before);
        };
        self.partial_header.clear();
        self.state = if length == BodyLength::Full(0) { State::End } else { State::Container(length) };
        Ok(size - before)
    }
}

fn skip(length: u64) -> State {
    if length == 0 {
        State::Header
    } else {
        State::Skip(length)
    }
}

/// Returns how many of `bytes` belong to a body that has `left` bytes to come, and how many are left after
/// them.
fn take(bytes: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken, left - taken as u64)
}
