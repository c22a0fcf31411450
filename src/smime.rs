//! S/MIME (RFC 8551): an encrypted message is one part, of enveloped data in base64.

use std::io::{self, Write};

use crate::base64_lines::Base64Lines;
use crate::certs::x509::Recipient;
use crate::envelope::{Addressee, Envelope, Seal};
use crate::error::{Error, Reason, Result, Unwritable};
use crate::log::printable;
use crate::openssl::cms::EnvelopedData;
use crate::openssl::x509::X509;
use crate::sink::Sink;

/// The digits of a line (RFC 2045, section 6.8).
const DIGITS: usize = 76;
/// The plaintext that is encrypted at once, in bytes. OpenSSL makes an octet string of each 4 KiB, or of what it gets if
/// that is less, so that small pieces would make a larger message.
const PIECE: usize = 16 << 10;

/// The S/MIME format, for the recipients of one message.
pub struct Smime {
    recipients: Vec<Recipient>,
}

impl Smime {
    /// Prepares a message for `recipients`.
    pub fn new(recipients: Vec<Recipient>) -> Self {
        Self { recipients }
    }
}

impl Envelope for Smime {
    type Seal<'w, W: Write + Send + 'w> = Body<W>;

    fn format(&self) -> &'static str {
        "s-mime"
    }

    fn addressees(&self) -> Vec<Addressee<'_>> {
        let addressees = self.recipients.iter();
        addressees.map(|r| Addressee { fingerprint: &r.fingerprint, expired: r.expired.is_some() }).collect()
    }

    fn content_fields(&self) -> String {
        "MIME-Version: 1.0\r\n\
         Content-Type: application/pkcs7-mime; smime-type=enveloped-data;\r\n name=\"smime.p7m\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"smime.p7m\"\r\n"
            .into()
    }

    fn open<'w, W: Write + Send + 'w>(&'w self, out: W) -> Result<Body<W>> {
        let certs: Vec<&X509> = self.recipients.iter().map(|r| &*r.cert).collect();
        let message = EnvelopedData::new(&certs).map_err(failed)?;
        Ok(Body { plain: Vec::new(), message, encrypted: Vec::new(), lines: Base64Lines::new(out, b"") })
    }
}

/// Encrypts the bytes that are written to it.
pub struct Body<W> {
    /// Bytes that are not encrypted yet.
    plain: Vec<u8>,
    message: EnvelopedData,
    encrypted: Vec<u8>,
    lines: Base64Lines<W, DIGITS>,
}

impl<W: Write> Body<W> {
    /// Encrypts what has waited.
    fn encrypt_waiting(&mut self) -> io::Result<()> {
        let mut plain = std::mem::take(&mut self.plain);
        self.encrypt(&plain)?;
        plain.clear();
        self.plain = plain;
        Ok(())
    }

    fn encrypt(&mut self, plain: &[u8]) -> io::Result<()> {
        let done = self.message.write(plain, &mut self.encrypted);
        done.map_err(|why| io::Error::other(in_words(&why)))?;
        self.lines.write_all(&self.encrypted)?;
        self.encrypted.clear();
        Ok(())
    }
}

impl<W: Write> Write for Body<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.plain.is_empty() && data.len() >= PIECE {
            self.encrypt(&data[..PIECE])?;
            return Ok(PIECE);
        }
        if self.plain.len() == PIECE {
            self.encrypt_waiting()?;
        }
        let taken = &data[..data.len().min(PIECE - self.plain.len())];
        self.plain.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Seal<W> for Body<W> {
    fn finish(mut self) -> Result<W> {
        self.encrypt_waiting().map_err(Unwritable)?;
        self.message.finish(&mut self.encrypted).map_err(failed)?;
        self.lines.put(&self.encrypted)?;
        Ok(self.lines.finish().map_err(Unwritable)?)
    }
}

fn failed(why: String) -> Error {
    Error::new(Reason::CryptoFailed, in_words(&why))
}

fn in_words(why: &str) -> String {
    format!("the crypto library failed: {}", printable(why))
}
