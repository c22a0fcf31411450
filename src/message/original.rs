//! The message as the host received it.

use std::io::{self, Read, Seek};

/// Largest message, in bytes: a literal packet has no more in a length field of four bytes (RFC 9580, section
/// 4.2.1.3), so readers meet no larger one elsewhere.
pub const MAX_BYTES: u64 = 4 << 30;

/// A message that can be read several times.
pub trait Original: Read {
    /// Goes back to the first byte.
    fn rewind(&mut self) -> io::Result<()>;
}

impl<T: Read + Seek> Original for T {
    fn rewind(&mut self) -> io::Result<()> {
        Seek::rewind(self)
    }
}
