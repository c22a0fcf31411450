//! The message as it came.

use std::io::{self, Read, Seek};

/// Largest message, in bytes: what fits a literal packet with a length of four bytes (RFC 9580, section 4.2.1.3).
pub const MAX_BYTES: u64 = 4 << 30;

/// A message that can be read more than once.
pub trait Original: Read {
    /// Goes back to the first byte.
    fn rewind(&mut self) -> io::Result<()>;
}

impl<T: Read + Seek> Original for T {
    fn rewind(&mut self) -> io::Result<()> {
        Seek::rewind(self)
    }
}
