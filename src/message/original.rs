//! The message as the host received it.

use std::io::{self, Read, Seek};

/// Largest message, in bytes: as much as a length field of four bytes can tell (RFC 9580, section 4.2.1.3), which is
/// what readers are used to.
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
