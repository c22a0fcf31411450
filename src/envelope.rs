//! What an encrypted message consists of, whatever the format in which it is encrypted.

use std::io::Write;

use crate::error::Result;

/// A certificate that a message is encrypted to, as the marker field names it.
#[derive(Clone, Copy, Debug)]
pub struct Addressee<'a> {
    /// The fingerprint, in upper case hex.
    pub fingerprint: &'a str,
    /// Whether the certificate has expired.
    pub expired: bool,
}

/// One of the formats in which mail is encrypted, with the recipients of one message.
pub trait Envelope {
    /// What writes the body of the outer message.
    type Seal<'w, W: Write + Send + 'w>: Seal<W>
    where
        Self: 'w;

    /// The word for the format in the marker field.
    fn format(&self) -> &'static str;

    /// The certificates, at least one.
    fn addressees(&self) -> Vec<Addressee<'_>>;

    /// The header fields that describe the body of the outer message, each with its line end.
    fn content_fields(&self) -> String;

    /// Begins the body of the outer message. What is written to the result is encrypted.
    ///
    /// # Errors
    ///
    /// The crypto library fails, or `out` cannot be written.
    fn open<'w, W: Write + Send + 'w>(&'w self, out: W) -> Result<Self::Seal<'w, W>>;
}

/// A body that is being encrypted.
pub trait Seal<W>: Write {
    /// Ends the body, and gives back what it was written to.
    ///
    /// # Errors
    ///
    /// As [`Envelope::open`].
    fn finish(self) -> Result<W>;
}
