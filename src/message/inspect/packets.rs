//! An encrypted OpenPGP message, told by its packets (RFC 9580, section 10.3): any markers and
//! padding, at least one encrypted session key, then one encrypted container that reaches to the end.

use super::plain::Plain;
use crate::openpgp::packet::{new_format_length, tag, BodyLength, Header, NotAPacket, LONGEST_HEADER};

/// Largest encrypted session key, in bytes: those of post-quantum algorithms take some thousand.
const MAX_SESSION_KEY: u64 = 32 << 10;
/// Most encrypted session keys of one message, and their size together.
const MAX_SESSION_KEYS: usize = 128;
const MAX_SESSION_KEY_BYTES: u64 = 256 << 10;
/// What a marker packet holds (section 5.8).
const MARKER: &[u8] = b"PGP";

/// Looks at packets as they come by.
#[derive(Default)]
pub struct Packets {
    state: State,
    /// A header or length field of which there is only the beginning.
    partial_header: Vec<u8>,
    session_keys: usize,
    session_key_bytes: u64,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// At a packet header.
    #[default]
    Header,
    /// So many bytes into a marker packet.
    Marker(usize),
    /// In a packet whose content does not matter, with so many bytes to go.
    Skip(u64),
    /// At the first byte of the container, its version or (SED) ciphertext.
    ContainerStart(u8, BodyLength),
    /// In the container.
    Container(BodyLength),
    /// At a length field within the container.
    ContainerLength,
    /// Behind the container.
    End,
}

impl Packets {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Plain> {
        while !bytes.is_empty() {
            let taken = self.step(bytes)?;
            bytes = bytes.get(taken..).ok_or(Plain)?;
        }
        Ok(())
    }

    /// Whether it was complete.
    pub fn finish(self) -> Result<(), Plain> {
        match self.state {
            State::End | State::Container(BodyLength::ToEnd) => Ok(()),
            _ => Err(Plain),
        }
    }

    /// Takes some bytes, and says how many.
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

/// How many of `bytes` belong to `left`, and how much is left then.
fn take(bytes: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken, left - taken as u64)
}
