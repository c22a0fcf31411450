//! A CMS object (S/MIME, RFC 8551) that is encrypted: told by its content type, never by a label.

use super::plain::Plain;

/// id-envelopedData, RFC 5652, section 6.1: 1.2.840.113549.1.7.3
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// id-ct-authEnvelopedData, RFC 5083, section 2.1: 1.2.840.113549.1.9.16.1.23
const AUTH_ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17];

/// Enough bytes for all that is looked at.
const PREFIX: usize = 40;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const EXPLICIT_0: u8 = 0xa0;
const INTEGER: u8 = 0x02;
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

    /// Checks the beginning of a ContentInfo (RFC 5652, section 3) with an EnvelopedData or AuthEnvelopedData in
    /// it, down to where the recipients begin; the size of the whole, if the object says it.
    fn check_prefix(&self) -> Result<Option<u64>, Plain> {
        let mut der = Der { data: &self.prefix, at: 0 };
        let end = der.constructed(SEQUENCE)?;
        let oid = der.primitive(OBJECT_IDENTIFIER)?;
        // Both reach to the end, if they and the whole say where that is.
        let content_ends = [der.constructed(EXPLICIT_0)?, der.constructed(SEQUENCE)?];
        let version = der.primitive(INTEGER)?;
        let recipients = der.byte()?;
        let is_encrypted = oid == ENVELOPED_DATA || oid == AUTH_ENVELOPED_DATA;
        // In front of the recipients there may be something about the originator, [0].
        let is_complete = matches!(version, [0..=4]) && matches!(recipients, SET | EXPLICIT_0);
        let ends_agree = end.is_none_or(|end| content_ends.iter().flatten().all(|inner| *inner == end));
        if is_encrypted && is_complete && ends_agree {
            Ok(end)
        } else {
            Err(Plain)
        }
    }
}

/// Reads BER (X.690, section 8.1).
struct Der<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Der<'a> {
    fn byte(&mut self) -> Result<u8, Plain> {
        let byte = *self.data.get(self.at).ok_or(Plain)?;
        self.at += 1;
        Ok(byte)
    }

    /// Enters a value; where it ends, counted from the beginning, or `None` if its length is indefinite.
    fn constructed(&mut self, tag: u8) -> Result<Option<u64>, Plain> {
        if self.byte()? != tag {
            return Err(Plain);
        }
        let length = match self.byte()? {
            0x80 => return Ok(None),
            short @ 0..=0x7f => u64::from(short),
            long @ 0x81..=0x84 => {
                let mut length = 0;
                for _ in 0x80..long {
                    length = length << 8 | u64::from(self.byte()?);
                }
                length
            }
            _ => return Err(Plain),
        };
        Ok(Some(self.at as u64 + length))
    }

    /// The bytes of a short value.
    fn primitive(&mut self, tag: u8) -> Result<&'a [u8], Plain> {
        let end = self.constructed(tag)?.and_then(|end| usize::try_from(end).ok()).ok_or(Plain)?;
        let bytes = self.data.get(self.at..end).ok_or(Plain)?;
        self.at = end;
        Ok(bytes)
    }
}
