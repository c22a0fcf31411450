//! Writing, with an error that says what it is.

use std::io::Write;

use crate::error::Unwritable;

/// Where an encrypted message, or what is to be encrypted, is written to.
pub trait Sink {
    /// Writes all of the bytes.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Unwritable>;
}

impl<W: Write + ?Sized> Sink for W {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Unwritable> {
        self.write_all(bytes).map_err(Unwritable)
    }
}
