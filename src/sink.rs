//! A writer whose errors are [`Unwritable`], so that `?` turns them into the right [`crate::error::Error`].

use std::io::Write;

use crate::error::Unwritable;

/// A destination for an encrypted message, or for its payload.
pub trait Sink {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// Returns the error of the writer.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Unwritable>;
}

impl<W: Write + ?Sized> Sink for W {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Unwritable> {
        self.write_all(bytes).map_err(Unwritable)
    }
}
