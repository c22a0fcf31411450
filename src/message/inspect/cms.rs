//! A CMS object (S/MIME, RFC 8551) that is encrypted: told by its content type, never by a label.

use super::Plain;

/// id-envelopedData, RFC 5652, section 6.1: 1.2.840.113549.1.7.3
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// id-ct-authEnvelopedData, RFC 5083, section 2.1: 1.2.840.113549.1.9.16.1.23
const AUTH_ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17];

/// Enough bytes for the outer tag and length and the content type.
const PREFIX: usize = 32;
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Looks at DER or BER as it comes by.
#[derive(Default)]
pub struct Cms {
    prefix: Vec<u8>,
    total: u64,
    /// The last two bytes.
    tail: [u8; 2],
}

impl Cms {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Plain> {
        let missing = PREFIX.saturating_sub(self.prefix.len());
        self.prefix.extend(bytes.iter().take(missing));
        for &byte in bytes.iter().skip(bytes.len().saturating_sub(2)) {
            self.tail = [self.tail[1], byte];
        }
        self.total += bytes.len() as u64;
        if self.prefix.len() == PREFIX {
            self.check_prefix().map(|_| ())
        } else {
            Ok(())
        }
    }

    /// Whether it was an encrypted object, complete and alone.
    pub fn finish(self) -> Result<(), Plain> {
        let complete = match self.check_prefix()? {
            Some(total) => self.total == total,
            // Indefinite length: it ends with end-of-contents octets (X.690, section 8.1.5).
            None => self.tail == [0, 0],
        };
        if complete {
            Ok(())
        } else {
            Err(Plain)
        }
    }

    /// Checks the content type; the size of the whole, if the object says it.
    fn check_prefix(&self) -> Result<Option<u64>, Plain> {
        let (&first, rest) = self.prefix.split_first().ok_or(Plain)?;
        let (length, size) = length(rest)?;
        let rest = rest.get(size..).ok_or(Plain)?;
        let [OBJECT_IDENTIFIER, oid_length, oid @ ..] = rest else { return Err(Plain) };
        let oid = oid.get(..usize::from(*oid_length)).ok_or(Plain)?;
        if first != SEQUENCE || !(oid == ENVELOPED_DATA || oid == AUTH_ENVELOPED_DATA) {
            return Err(Plain);
        }
        Ok(length.map(|n| n + 1 + size as u64))
    }
}

/// A BER length (X.690, section 8.1.3), `None` if indefinite, and the size of the field.
fn length(data: &[u8]) -> Result<(Option<u64>, usize), Plain> {
    let (&first, rest) = data.split_first().ok_or(Plain)?;
    match first {
        0x80 => Ok((None, 1)),
        short @ 0..=0x7f => Ok((Some(short.into()), 1)),
        0x81..=0x84 => {
            let size = usize::from(first & 0x7f);
            let digits = rest.get(..size).ok_or(Plain)?;
            Ok((Some(digits.iter().fold(0, |n, &d| n << 8 | u64::from(d))), 1 + size))
        }
        _ => Err(Plain),
    }
}
