//! PGP/MIME (RFC 3156): an encrypted message has a control part and a part with the ciphertext.

use std::io::{self, Write};

use super::crypto::random_hex;
use super::encryptor::{Container, Encryptor};
use crate::certs::choose::RecipientKeys;
use crate::envelope::{Addressee, Envelope, Seal};
use crate::error::Result;
use crate::sink::Sink;

/// The PGP/MIME format, for the recipients of one message.
pub struct PgpMime {
    recipients: Vec<RecipientKeys>,
    container: Container,
    compress: bool,
    boundary: String,
}

impl PgpMime {
    /// Prepares a message for `recipients`, compressed or not.
    ///
    /// # Errors
    ///
    /// Fails if the recipients have no container in common, or if the random number generator of the system
    /// does.
    pub fn new(recipients: Vec<RecipientKeys>, compress: bool) -> Result<Self> {
        let container = Container::that_all_read(&recipients)?;
        Ok(Self { recipients, container, compress, boundary: random_hex()? })
    }
}

impl Envelope for PgpMime {
    type Seal<'w, W: Write + Send + 'w> = Body<'w, W>;

    fn format(&self) -> &'static str {
        "pgp-mime"
    }

    fn addressees(&self) -> Vec<Addressee<'_>> {
        let addressees = self.recipients.iter();
        addressees.map(|r| Addressee { fingerprint: &r.fingerprint, expired: r.expired.is_some() }).collect()
    }

    fn content_fields(&self) -> String {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n \
             boundary=\"{}\"\r\n",
            self.boundary
        )
    }

    /// Writes the control part and the header of the part with the ciphertext.
    fn open<'w, W: Write + Send + 'w>(&'w self, mut out: W) -> Result<Body<'w, W>> {
        let boundary = &self.boundary;
        let begin = format!(
            "--{boundary}\r\n\
             Content-Type: application/pgp-encrypted\r\n\
             Content-Description: PGP/MIME version identification\r\n\
             \r\n\
             Version: 1\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
             Content-Description: OpenPGP encrypted message\r\n\
             Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\
             \r\n"
        );
        out.put(begin.as_bytes())?;
        let message = Encryptor::new(&self.recipients, self.container, self.compress, out)?;
        Ok(Body { message, end: format!("\r\n--{boundary}--\r\n") })
    }
}

/// Encrypts the bytes that are written to it into the second part.
pub struct Body<'w, W: Write + Send + 'w> {
    message: Encryptor<'w, W>,
    /// The closing boundary, written after the ciphertext.
    end: String,
}

impl<W: Write + Send> Write for Body<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.message.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.message.flush()
    }
}

impl<W: Write + Send> Seal<W> for Body<'_, W> {
    fn finish(self) -> Result<W> {
        let mut out = self.message.finish()?;
        out.put(self.end.as_bytes())?;
        Ok(out)
    }
}
