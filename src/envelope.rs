//! The trait of a format in which mail is encrypted.

use std::io::Write;

use crate::error::Result;

/// A certificate that the message is encrypted to, as the marker field names it.
#[derive(Clone, Copy, Debug)]
pub struct Addressee<'a> {
    /// The fingerprint, in upper case hex.
    pub fingerprint: &'a str,
    /// True if the certificate has expired.
    pub expired: bool,
}

/// A format, with the recipients of one message.
pub trait Envelope {
    /// The writer for the body of the outer message.
    type Seal<'w, W: Write + Send + 'w>: Seal<W>
    where
        Self: 'w;

    /// Returns the word for this format in the marker field.
    fn format(&self) -> &'static str;

    /// Returns the certificates, at least one.
    fn addressees(&self) -> Vec<Addressee<'_>>;

    /// Returns the header fields that describe the body of the outer message, each with its line end.
    fn content_fields(&self) -> String;

    /// Begins the body of the outer message. The bytes that are written to the result are encrypted.
    ///
    /// # Errors
    ///
    /// Fails if the crypto library does, or if `out` cannot be written.
    fn open<'w, W: Write + Send + 'w>(&'w self, out: W) -> Result<Self::Seal<'w, W>>;
}

/// The body of the outer message, while it is written.
pub trait Seal<W>: Write {
    /// Ends the body. Returns `out`.
    ///
    /// # Errors
    ///
    /// The errors of [`Envelope::open`].
    fn finish(self) -> Result<W>;
}
